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
    const std::int64_t keys = scores_.k().length;
    const std::int64_t work =
        scores_.q().length * keys * scores_.group() * 3 * (scores_.q().width + v_.width) + 1;
    parallel_for(scores_.batch() * scores_.kv_heads(), std::max<std::int64_t>(1, attention_work / work),
                 [&](std::int64_t begin, std::int64_t end) {
                   const SerialBlas serial;
                   Work work_memory(*this);
                   for (std::int64_t task = begin; task < end; ++task) {
                     run_head(task / scores_.kv_heads(), task % scores_.kv_heads(), work_memory);
                   }
                 });
  }

 private:
  /// The factors of a head, and scores: p and ds hold those of a block of queries, slopes those of one.
  struct Work {
    explicit Work(const Backward& x)
        : keys_t(x.kernels(), x.k().matrix(x.k().data, true), x.k().width, x.k().length),
          values_t(x.kernels(), x.v_.matrix(x.v_.data, true), x.v_.width, x.v_.length),
          keys(x.kernels(), x.k().matrix(x.k().data), x.k().length, x.k().width),
          queries(x.kernels(), x.q().matrix(x.q().data), x.q().length, x.q().width),
          dys(x.kernels(), x.dy_.matrix(x.dy_.data), x.dy_.length, x.dy_.width),
          p(query_block * score_stride(x.k().length)),
          ds(query_block * score_stride(x.k().length)),
          slopes(score_stride(x.k().length)) {}
    Factor<T> keys_t, values_t, keys, queries, dys;
    Scratch<T> p, ds, slopes;
  };

  const Heads<const T>& q() const { return scores_.q(); }
  const Heads<const T>& k() const { return scores_.k(); }
  const GemmKernels* kernels() const { return scores_.kernels(); }

  void run_head(std::int64_t b, std::int64_t kv_head, Work& work) const {
    if (q().length == 0 || k().length == 0) {
      clear(dk_, b, kv_head), clear(dv_, b, kv_head);
      for (std::int64_t h = kv_head * scores_.group(); h < (kv_head + 1) * scores_.group(); ++h)
        clear(dq_, b, h);
      return;
    }
    const bool hides = scores_.is_masked();
    work.keys.set(k().matrix(k().at(b, kv_head, 0)), hides);
    work.keys_t.set(k().matrix(k().at(b, kv_head, 0), true));
    work.values_t.set(v_.matrix(v_.at(b, kv_head, 0), true));
    bool add = false;
    for (std::int64_t h = kv_head * scores_.group(); h < (kv_head + 1) * scores_.group(); ++h) {
      work.queries.set(q().matrix(q().at(b, h, 0)), hides);
      work.dys.set(dy_.matrix(dy_.at(b, h, 0)), hides);
      // From the last queries, which see all keys, so that nothing is added to what was not written yet.
      for (std::int64_t first = (q().length - 1) / query_block * query_block; first >= 0;
           first -= query_block) {
        run_block(b, h, first, work, add);
        add = true;
      }
    }
  }
  static void clear(const Heads<T>& x, std::int64_t b, std::int64_t h) {
    for (std::int64_t i = 0; i < x.length; ++i) std::fill_n(x.at(b, h, i), x.width, T(0));
  }

  void run_block(std::int64_t b, std::int64_t h, std::int64_t first, Work& work, bool add) const {
    const std::int64_t rows = std::min(query_block, q().length - first), kv_head = h / scores_.group();
    const Ends ends = scores_.ends(first, rows);
    const std::int64_t keys = ends.columns, stride = score_stride(keys);
    T *const p = work.p.data(), *const ds = work.ds.data();
    if (keys == 0) {
      for (std::int64_t r = 0; r < rows; ++r) std::fill_n(dq_.at(b, h, first + r), dq_.width, T(0));
      return;
    }
    // Scores go through the first cache where tiles make them: no more rows at a time than a tile has.
    work.keys_t.for_tiles(rows, [&](std::int64_t i, std::int64_t count) {
      run_rows(b, h, first + i, count, keys, work, p + i * stride, ds + i * stride, stride);
    });
    work.queries.multiply_transposed(ends, rows, {ds, stride}, first, add, dk_.matrix(dk_.at(b, kv_head, 0)));
    work.dys.multiply_transposed(ends, rows, {p, stride}, first, add, dv_.matrix(dv_.at(b, kv_head, 0)));
  }

  /// p, ds and dq of some rows of a block, which sees `keys` keys.
  void run_rows(std::int64_t b, std::int64_t h, std::int64_t first, std::int64_t rows, std::int64_t keys,
                Work& work, T* p, T* ds, std::int64_t stride) const {
    const Ends ends = scores_.ends(first, rows);
    const Matrix<const T> dys = dy_.matrix(dy_.at(b, h, first));
    work.keys_t.multiply_within(ends, rows, scores_.options().scale, q().matrix(q().at(b, h, first)),
                                {p, stride});
    work.values_t.multiply_within(ends, rows, 1, dys, {ds, stride});
    T means[query_block];  // sum(dy y)
    for (std::int64_t r = 0; r < rows; ++r) {
      const T *dy = dys.data + r * dys.leading, *y = y_.at(b, h, first + r);
      means[r] = static_cast<T>(block_sum<T>(v_.width, [=](std::int64_t c) { return dy[c] * y[c]; }));
    }
    for (std::int64_t r = 0; r < rows; ++r) {
      const Ends of_block{ends.first, ends.rise, keys};
      const std::int64_t end =
          std::max({work.keys.columns_read(of_block, r), work.queries.columns_read(of_block, r),
                    work.dys.columns_read(of_block, r)});
      row_gradient(b, h, first + r, ends.of(r), end, means[r], p + r * stride, ds + r * stride,
                   work.slopes.data());
    }
    work.keys.multiply(ends, rows, {ds, stride}, dq_.matrix(dq_.at(b, h, first)));
  }

  /// Scores in p become probabilities, dp in ds becomes the gradient of the products q k^T. mean: sum(dy y).
  void row_gradient(std::int64_t b, std::int64_t h, std::int64_t i, std::int64_t limit, std::int64_t end,
                    T mean, T* p, T* ds, T* slopes) const {
    const double lse = lse_[(b * scores_.heads() + h) * q().length + i];
    if (lse == -std::numeric_limits<double>::infinity()) {  // sees no key
      std::fill(p, p + end, T(0));
      std::fill(ds, ds + end, T(0));
      return;
    }
    scores_.apply_cap(p, limit, slopes);
    scores_.apply_mask(p, limit, b, h, i);
    const T scale = static_cast<T>(scores_.options().scale);
    const T high = static_cast<T>(lse), low = static_cast<T>(lse - static_cast<double>(high));
    end_row(p, limit, end), end_row(ds, limit, end);
    const std::int64_t whole = whole_lanes(limit);
    LaneVector<T> x, dx;
    for (std::int64_t j = 0; j < whole; j += vector_lanes) {
      load(x, p + j);
      load(dx, ds + j);
      x = x - high - low;
      exp_negative<T>(x);
      dx = pick(x == T(0), T(0), x * (dx - mean) * scale);
      store(p + j, x);
      store(ds + j, dx);
    }
    if (lse != lse) std::fill(p + limit, p + whole, T(0)), std::fill(ds + limit, ds + whole, T(0));
    if (scores_.options().cap > 0) {
      for (std::int64_t j = 0; j < limit; ++j) ds[j] = ds[j] == T(0) ? T(0) : ds[j] * slopes[j];
    }
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
