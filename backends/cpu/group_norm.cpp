// y = (x - mean) * rstd * weight + bias, by the statistics of `groups` groups of neighbouring channels of
// each sample (Wu & He 2018, arXiv:1803.08494).  x, y: [n, channels, inner]  mean, rstd: f64 [n, groups]
// weight, bias: [channels].
//
// Backward, with g = dy * weight and x_hat = (x - mean) * rstd, means over a group:
//   dx = rstd * (g - mean(g) - x_hat * mean(g * x_hat)),  dweight = sum over n and inner of dy * x_hat,
//   dbias = sum of dy.
//
// A group of a sample is a contiguous run. With a long inner it is a row of planes, one for each channel;
// with a short one it is one plane, whose elements have parameters of their own. Either way: sums of the
// pieces, their combination, then the output, for a run that fits the cache one after the other.
#include <cmath>

#include "backends/cpu/channels.h"
#include "backends/cpu/cpu_backend.h"
#include "backends/cpu/moments.h"

namespace norma {

namespace {

/// Calls sum for all pieces of a run, combine(run), write for all its pieces; runs in parallel, or, when they
/// are too long for the cache, pieces in parallel.
template <class Sum, class Combine, class Write>
void for_each_run(const Planes& planes, std::int64_t runs, Sum sum, Combine combine, Write write) {
  constexpr std::int64_t cached = 65536;  // elements
  const std::int64_t length = planes.x.numel() / runs, pieces = planes.pieces() / runs;
  const std::int64_t block = std::max<std::int64_t>(1, block_elements / length);
  if (length <= cached) {
    return parallel_for(runs, block, [&](std::int64_t first, std::int64_t last) {
      for (std::int64_t r = first; r < last; ++r) {
        planes.for_pieces(r * pieces, (r + 1) * pieces, sum);
        combine(r);
        planes.for_pieces(r * pieces, (r + 1) * pieces, write);
      }
    });
  }
  planes.for_each_piece(sum);
  parallel_for(runs, 1, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t r = first; r < last; ++r) combine(r);
  });
  planes.for_each_piece(write);
}

/// Values of channels, repeated for each of their `inner` elements.
template <class T>
class Repeated {
 public:
  Repeated(const Channels& x, const T* of) : memory_(of == nullptr ? 0 : x.channels * x.inner) {
    if (of == nullptr) return;
    for (std::int64_t c = 0; c < x.channels; ++c) std::fill_n(memory_.data() + c * x.inner, x.inner, of[c]);
    data_ = memory_.data();
  }
  /// Absent when the values are; then `from` is ignored.
  const T* at(std::int64_t from) const { return data_ == nullptr ? nullptr : data_ + from; }

 private:
  Scratch<T> memory_;
  const T* data_ = nullptr;
};

struct Groups {
  Channels x;
  std::int64_t groups;
  bool is_short;  // one plane for each group

  Groups(const Channels& x_, std::int64_t groups_)
      : x(x_), groups(groups_), is_short(walks_columns(x_, false)) {}
  std::int64_t runs() const { return x.n * groups; }
  std::int64_t length() const { return x.channels / groups * x.inner; }
  Planes planes() const { return Planes(is_short ? Channels{x.n, groups, length()} : x); }
  /// The run that holds a plane of planes().
  std::int64_t run_of(std::int64_t i, std::int64_t channel) const {
    return i * groups + (is_short ? channel : channel / (x.channels / groups));
  }
};

template <class T>
void write_elements(std::int64_t d, T* y, const T* x, Centre<T> centre, T rstd, const T* weight,
                    const T* bias) {
  if (weight != nullptr && bias != nullptr) {
    for (std::int64_t k = 0; k < d; ++k) y[k] = centre(x[k]) * rstd * weight[k] + bias[k];
  } else if (weight != nullptr) {
    for (std::int64_t k = 0; k < d; ++k) y[k] = centre(x[k]) * rstd * weight[k];
  } else if (bias != nullptr) {
    for (std::int64_t k = 0; k < d; ++k) y[k] = centre(x[k]) * rstd + bias[k];
  } else {
    for (std::int64_t k = 0; k < d; ++k) y[k] = centre(x[k]) * rstd;
  }
}

template <class T>
void forward(const Groups& group, T* y, double* mean, double* rstd, const T* x, const T* weight,
             const T* bias, double eps) {
  const Planes planes = group.planes();
  Scratch<Moments> scratch(planes.pieces());
  Moments* const parts = scratch.data();
  const Repeated<T> weights(group.x, group.is_short ? weight : nullptr);
  const Repeated<T> biases(group.x, group.is_short ? bias : nullptr);
  const std::int64_t inner = planes.x.inner, each = planes.pieces() / group.runs();
  const auto start_of = [&](std::int64_t i, std::int64_t c) { return (i * planes.x.channels + c) * inner; };
  for_each_run(
      planes, group.runs(),
      [&](std::int64_t piece, std::int64_t i, std::int64_t c, std::int64_t begin, std::int64_t end) {
        parts[piece] = moments_of(x + start_of(i, c) + begin, end - begin);
      },
      [&](std::int64_t r) {
        Moments total;
        for (std::int64_t k = 0; k < each; ++k) total.add(parts[r * each + k]);
        mean[r] = total.mean;
        rstd[r] = 1 / std::sqrt(total.squares / total.count + eps);
      },
      [&](std::int64_t, std::int64_t i, std::int64_t c, std::int64_t begin, std::int64_t end) {
        const std::int64_t start = start_of(i, c) + begin, d = end - begin, r = group.run_of(i, c);
        const Centre<T> centre(mean[r]);
        const T* from = x + start;
        T* to = y + start;
        if (group.is_short) {
          return write_elements(d, to, from, centre, static_cast<T>(rstd[r]), weights.at(c * inner + begin),
                                biases.at(c * inner + begin));
        }
        const T scale = static_cast<T>(rstd[r] * (weight == nullptr ? 1 : static_cast<double>(weight[c])));
        const T shift = bias == nullptr ? T(0) : bias[c];
        for (std::int64_t k = 0; k < d; ++k) to[k] = centre(from[k]) * scale + shift;
      });
}

/// The backward pass of one call; each step has a form for long and one for short inner.
template <class T>
struct Backward {
  Groups group;
  const T *dy, *x, *weight;
  const double *mean, *rstd;

  void run(T* dx, T* dweight, T* dbias) const {
    const Planes planes = group.planes();
    Scratch<Sums> scratch(planes.pieces()), means(group.runs());
    Sums *const parts = scratch.data(), *const mean_of_run = means.data();
    const Repeated<T> weights(group.x, group.is_short ? weight : nullptr);
    const auto sum = [&](std::int64_t piece, std::int64_t i, std::int64_t c, std::int64_t begin,
                         std::int64_t end) {
      parts[piece] = sum_of(planes, i, c, begin, end, weights.at(c * planes.x.inner + begin));
    };
    const auto combine = [&](std::int64_t r) { mean_of_run[r] = combined(planes, r, parts); };
    const auto write = [&](std::int64_t, std::int64_t i, std::int64_t c, std::int64_t begin,
                           std::int64_t end) {
      write_input(planes, dx, i, c, begin, end, weights.at(c * planes.x.inner + begin),
                  mean_of_run[group.run_of(i, c)]);
    };
    if (dx != nullptr) {
      for_each_run(planes, group.runs(), sum, combine, write);
    } else if (!group.is_short) {
      planes.for_each_piece(sum);
    }
    if (dweight == nullptr && dbias == nullptr) return;
    if (!group.is_short) return write_parameters(planes, parts, dweight, dbias);
    const Columns columns(group.x, true);
    Scratch<Sums> column_parts(columns.bands() * columns.width);
    sum_columns(columns, column_parts.data());
    write_parameters(columns, column_parts.data(), dweight, dbias);
  }

  /// Sums of dy over a piece of a long plane, of g over one of a short one.
  Sums sum_of(const Planes& planes, std::int64_t i, std::int64_t c, std::int64_t begin, std::int64_t end,
              const T* weights) const {
    const std::int64_t start = (i * planes.x.channels + c) * planes.x.inner + begin;
    const std::int64_t r = group.run_of(i, c);
    const T *gradient = dy + start, *from = x + start;
    const Centre<T> centre(mean[r]);
    const T scale = static_cast<T>(rstd[r]);
    const auto sums_with = [&](auto factor) {
      const auto [a, b] = block_sums<T, 2>(end - begin, [=](std::int64_t k, auto sum) {
        const T g = factor(k) * gradient[k];
        sum(0) += g;
        sum(1) += g * (centre(from[k]) * scale);
      });
      return Sums{a, b};
    };
    if (weights != nullptr) return sums_with([=](std::int64_t k) { return weights[k]; });
    return sums_with([](std::int64_t) { return T(1); });
  }

  /// The means of g and g * x_hat over a run.
  Sums combined(const Planes& planes, std::int64_t r, const Sums* parts) const {
    const std::int64_t each = planes.pieces() / group.runs();
    Sums total, mean_of_run;
    for (std::int64_t k = r * each; k < (r + 1) * each; ++k) {
      const bool weighted = weight != nullptr && !group.is_short;
      const std::int64_t c = k / planes.cuts % planes.x.channels;
      total.add(parts[k], weighted ? static_cast<double>(weight[c]) : 1);
    }
    mean_of_run.add(total, 1 / static_cast<double>(group.length()));
    return mean_of_run;
  }

  void write_input(const Planes& planes, T* dx, std::int64_t i, std::int64_t c, std::int64_t begin,
                   std::int64_t end, const T* weights, const Sums& means) const {
    const std::int64_t start = (i * planes.x.channels + c) * planes.x.inner + begin, d = end - begin;
    const std::int64_t r = group.run_of(i, c);
    const T *gradient = dy + start, *from = x + start;
    T* to = dx + start;
    const Centre<T> centre(mean[r]);
    const T scale = static_cast<T>(rstd[r]), mean_g = static_cast<T>(means.dy),
            mean_gx = static_cast<T>(means.dy_x_hat);
    const auto value = [=](T g, std::int64_t k) {
      return scale * (g - mean_g - centre(from[k]) * scale * mean_gx);
    };
    if (weights != nullptr) {
      // In two loops, so that g is rounded as in mean(g): a group of one value has a gradient of exactly 0.
      for (std::int64_t k = 0; k < d; ++k) to[k] = gradient[k] * weights[k];
      for (std::int64_t k = 0; k < d; ++k) to[k] = value(to[k], k);
    } else {
      const T factor = weight == nullptr ? T(1) : weight[c];
      for (std::int64_t k = 0; k < d; ++k) to[k] = value(gradient[k] * factor, k);
    }
  }

  /// Sums of dy and dy * x_hat over the samples, for each column of a sample.
  void sum_columns(const Columns& columns, Sums* parts) const {
    const std::int64_t length = group.length();
    columns.for_each_tile([&, length](std::int64_t band, std::int64_t first_row, std::int64_t last_row,
                                      std::int64_t first, std::int64_t count) {
      double sum[Columns::tile] = {}, product[Columns::tile] = {};
      for (std::int64_t i = first_row; i < last_row; ++i) {
        const T *gradient = dy + i * columns.width + first, *from = x + i * columns.width + first;
        for (std::int64_t begin = 0, end = 0; begin < count; begin = end) {
          const std::int64_t g = (first + begin) / length, r = i * group.groups + g;
          end = std::min(count, (g + 1) * length - first);
          const Centre<T> centre(mean[r]);
          const T scale = static_cast<T>(rstd[r]);
          for (std::int64_t j = begin; j < end; ++j) {
            sum[j] += static_cast<double>(gradient[j]);
            product[j] += static_cast<double>(gradient[j] * (centre(from[j]) * scale));
          }
        }
      }
      Sums* to = parts + band * columns.width + first;
      for (std::int64_t j = 0; j < count; ++j) to[j] = {sum[j], product[j]};
    });
  }

  template <class Walk>
  void write_parameters(const Walk& walk, const Sums* parts, T* dweight, T* dbias) const {
    Scratch<Sums> totals(group.x.channels);
    Sums* const total = totals.data();
    std::fill_n(total, group.x.channels, Sums{});
    walk.for_each_of_channel([=](std::int64_t c, std::int64_t part) { total[c].add(parts[part]); });
    for (std::int64_t c = 0; c < group.x.channels; ++c) {
      if (dweight != nullptr) dweight[c] = static_cast<T>(total[c].dy_x_hat);
      if (dbias != nullptr) dbias[c] = static_cast<T>(total[c].dy);
    }
  }
};

}  // namespace

bool CpuBackend::group_norm(View y, View mean, View rstd, View x, View weight, View bias, std::int64_t groups,
                            double eps) {
  for_float(x.dtype, "group_norm", [&]<class T>() {
    if (x.numel() == 0) return;
    forward<T>(Groups(channels_of(x), groups), pointer<T>(y), pointer<double>(mean), pointer<double>(rstd),
               pointer<T>(x), pointer<T>(weight), pointer<T>(bias), eps);
  });
  return true;
}

bool CpuBackend::group_norm_backward(View dx, View dweight, View dbias, View dy, View x, View mean, View rstd,
                                     View weight, std::int64_t groups) {
  for_float(x.dtype, "group_norm", [&]<class T>() {
    if (x.numel() == 0) {
      if (dweight.defined()) std::fill_n(pointer<T>(dweight), x.shape[1], T(0));
      if (dbias.defined()) std::fill_n(pointer<T>(dbias), x.shape[1], T(0));
      return;
    }
    const Backward<T> backward{
        Groups(channels_of(x), groups), pointer<T>(dy),       pointer<T>(x), pointer<T>(weight),
        pointer<double>(mean),          pointer<double>(rstd)};
    backward.run(pointer<T>(dx), pointer<T>(dweight), pointer<T>(dbias));
  });
  return true;
}

}  // namespace norma
