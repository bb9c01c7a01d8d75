// Attention, backward, from y and lse of the forward pass (attention.cpp); the scores are computed again:
//   p = exp(s - lse),  dp = dy v^T,  ds = p (dp - sum(dy y)) (1 - tanh^2(s / cap)) scale
//   dq = ds k,  dk = ds^T q,  dv = p^T dy,  dk and dv summed over the query heads of a key head
// One task owns a key head: it walks its query heads and their blocks in order and adds into dk and dv, so
// that sums do not depend on threads. Where p is 0, ds is 0 and nothing is multiplied.
#include "backends/cpu/attention.h"
#include "backends/cpu/cpu_backend.h"

namespace norma {

namespace {

template <class T>
class Backward {
 public:
  Backward(const View& dq, const View& dk, const View& dv, const View& dy, const View& y, const double* lse,
           const View& q, const View& k, const View& v, const View& mask, const AttentionOptions& options)
      : scores_(q, k, mask, options), dq_(dq), dk_(dk), dv_(dv), dy_(dy), y_(y), v_(v), lse_(lse) {}

  void run() const {
    const std::int64_t keys = scores_.k().length, rows = std::min(scores_.q().length, query_block);
    const std::int64_t work =
        scores_.q().length * keys * scores_.group() * 3 * (scores_.q().width + v_.width) + 1;
    parallel_for(scores_.batch() * scores_.kv_heads(), std::max<std::int64_t>(1, attention_work / work),
                 [&](std::int64_t begin, std::int64_t end) {
                   const SerialBlas serial;
                   const std::int64_t stride = score_stride(keys);
                   Scratch<T> buffer((2 * rows + 1) * stride);
                   for (std::int64_t task = begin; task < end; ++task) {
                     run_head(task / scores_.kv_heads(), task % scores_.kv_heads(), buffer.data(),
                              rows * stride);
                   }
                 });
  }

 private:
  void run_head(std::int64_t b, std::int64_t kv_head, T* buffer, std::int64_t block_size) const {
    clear(dk_, b, kv_head);
    clear(dv_, b, kv_head);
    for (std::int64_t h = kv_head * scores_.group(); h < (kv_head + 1) * scores_.group(); ++h) {
      const bool finite = is_finite_head(scores_.k(), b, kv_head) && is_finite_head(scores_.q(), b, h) &&
                          is_finite_head(dy_, b, h);
      const bool skips = scores_.is_masked() && !finite;
      for (std::int64_t first = 0; first < scores_.q().length; first += query_block) {
        run_block(b, h, first, buffer, buffer + block_size, buffer + 2 * block_size, skips);
      }
    }
  }
  static void clear(const Heads<T>& x, std::int64_t b, std::int64_t h) {
    for (std::int64_t i = 0; i < x.length; ++i) std::fill_n(x.at(b, h, i), x.width, T(0));
  }

  /// p and ds hold rows of scores; slopes holds one.
  void run_block(std::int64_t b, std::int64_t h, std::int64_t first, T* p, T* ds, T* slopes,
                 bool skips) const {
    const Heads<const T>&q = scores_.q(), &k = scores_.k();
    const std::int64_t rows = std::min(query_block, q.length - first), kv_head = h / scores_.group();
    const std::int64_t keys = scores_.limit(first + rows - 1), stride = score_stride(keys);
    if (keys == 0) {
      for (std::int64_t r = 0; r < rows; ++r) std::fill_n(dq_.at(b, h, first + r), dq_.width, T(0));
      return;
    }
    scores_.products(b, h, first, rows, keys, p, stride);
    const Matrix<const T> dy_rows = dy_.matrix(dy_.at(b, h, first));
    gemm<T>(rows, keys, v_.width, 1, dy_rows, v_.matrix(v_.at(b, kv_head, 0), true), 0, {ds, stride});
    for (std::int64_t r = 0; r < rows; ++r)
      row_gradient(b, h, first + r, keys, p + r * stride, ds + r * stride, slopes);
    weighted_rows<T>(rows, k.width, keys, {ds, stride}, k.matrix(k.at(b, kv_head, 0)), false,
                     dq_.matrix(dq_.at(b, h, first)), skips);
    weighted_rows<T>(keys, k.width, rows, {ds, stride, true}, q.matrix(q.at(b, h, first)), true,
                     dk_.matrix(dk_.at(b, kv_head, 0)), skips);
    weighted_rows<T>(keys, v_.width, rows, {p, stride, true}, dy_rows, true,
                     dv_.matrix(dv_.at(b, kv_head, 0)), skips);
  }

  /// Scores in p become probabilities, dp in ds becomes the gradient of the products q k^T.
  void row_gradient(std::int64_t b, std::int64_t h, std::int64_t i, std::int64_t keys, T* p, T* ds,
                    T* slopes) const {
    const std::int64_t limit = std::min(keys, scores_.limit(i));
    const double lse = lse_[(b * scores_.heads() + h) * scores_.q().length + i];
    if (lse == -std::numeric_limits<double>::infinity()) {  // sees no key
      std::fill(p, p + keys, T(0));
      std::fill(ds, ds + keys, T(0));
      return;
    }
    scores_.apply_cap(p, limit, slopes);
    scores_.apply_mask(p, limit, b, h, i);
    const T *dy = dy_.at(b, h, i), *y = y_.at(b, h, i);
    const T mean = static_cast<T>(block_sum<T>(v_.width, [=](std::int64_t c) { return dy[c] * y[c]; }));
    const T scale = static_cast<T>(scores_.options().scale);
    const T high = static_cast<T>(lse), low = static_cast<T>(lse - static_cast<double>(high));
    const std::int64_t whole = whole_lanes(limit);
    std::fill(p + limit, p + whole, -std::numeric_limits<T>::infinity());
    for (std::int64_t first = 0; first < whole; first += score_lanes) {
      for (std::int64_t j = first; j < first + score_lanes; ++j) {
        p[j] = vector_exp_negative(p[j] - high - low);
        ds[j] = p[j] == T(0) ? T(0) : p[j] * (ds[j] - mean) * scale;
      }
    }
    if (scores_.options().cap > 0) {
      for (std::int64_t j = 0; j < limit; ++j) ds[j] = ds[j] == T(0) ? T(0) : ds[j] * slopes[j];
    }
    if (whole >= keys) return;
    std::fill(p + whole, p + keys, T(0));
    std::fill(ds + whole, ds + keys, T(0));
  }

  AttentionScores<T> scores_;
  Heads<T> dq_, dk_, dv_;
  Heads<const T> dy_, y_, v_;
  const double* lse_;
};

}  // namespace

bool CpuBackend::attention_backward(View dq, View dk, View dv, View dy, View y, View lse, View q, View k,
                                    View v, View mask, const AttentionOptions& options) {
  NORMA_ASSERT(lse.is_contiguous());
  for_float(q.dtype, "attention", [&]<class T>() {
    Backward<T>(dq, dk, dv, dy, y, pointer<double>(lse), q, k, v, mask, options).run();
  });
  return true;
}

}  // namespace norma
