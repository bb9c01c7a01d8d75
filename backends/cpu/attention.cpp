// Attention, forward (Vaswani et al. 2017, arXiv:1706.03762, eq. 1, with cap and mask):
//   s = scale q k^T;  s = cap tanh(s / cap);  hidden keys: s = -inf;  p = softmax(s);  y = p v
//   q [batch, heads, q_length, d]  k [batch, kv_heads, k_length, d]  v [batch, kv_heads, k_length, d_v]
//   y [batch, heads, q_length, d_v]  lse = ln(sum(exp(s))): f64 [batch, heads, q_length]
// Blocks of queries of one head are independent and run in parallel; only the scores of a few are in memory.
// Causality skips the keys that no query of the block sees. A row that sees no key is 0, its lse -inf.
#include "backends/cpu/attention.h"

#include "backends/cpu/cpu_backend.h"

namespace norma {

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

/// Largest of `count` scores, a multiple of vector_lanes; NaN is passed over.
template <class T>
T largest_score(const T* s, std::int64_t count) {
  LaneVector<T> largest = -std::numeric_limits<T>::infinity(), x;
  for (std::int64_t j = 0; j < count; j += vector_lanes) {
    load(x, s + j);
    take_larger(largest, x);
  }
  return largest_of(largest);
}

/// Scores of a row, `count` of them, a multiple of vector_lanes, to weights e^(s - largest); returns their
/// sum.
template <class T>
double weigh(T* s, std::int64_t count, T largest) {
  constexpr std::int64_t block = 32 * vector_lanes;  // 32 additions a lane, so that f32 keeps its digits
  double total = 0;
  for (std::int64_t begin = 0; begin < count; begin += block) {
    LaneVector<T> sum{}, x;
    for (std::int64_t j = begin; j < std::min(count, begin + block); j += vector_lanes) {
      load(x, s + j);
      x -= largest;
      exp_negative<T>(x);
      store(s + j, x);
      sum += x;
    }
    total += static_cast<double>(sum_of(sum));
  }
  return total;
}

template <class T>
class Forward {
 public:
  Forward(const View& y, double* lse, const View& q, const View& k, const View& v, const View& mask,
          const AttentionOptions& options)
      : scores_(q, k, mask, options), y_(y), v_(v), lse_(lse) {}

  void run() const {
    const std::int64_t length = scores_.q().length, keys = scores_.k().length;
    if (length == 0 || scores_.batch() * scores_.heads() == 0) return;
    const std::int64_t blocks = (length + query_block - 1) / query_block,
                       rows = std::min(length, query_block);
    const std::int64_t work = rows * keys * (scores_.q().width + v_.width) + 1;
    // Blocks of one head follow one another, for which its keys are packed once.
    const std::int64_t grain = std::max(attention_work / work, std::min<std::int64_t>(blocks, 4));
    parallel_for(
        scores_.batch() * scores_.heads() * blocks, grain, [&](std::int64_t begin, std::int64_t end) {
          const SerialBlas serial;
          Scratch<T> buffer(rows * score_stride(keys));
          const Heads<const T>& k = scores_.k();
          Factor<T> keys_t(scores_.kernels(), k.matrix(k.data, true), k.width, keys);
          Factor<T> values(scores_.kernels(), v_.matrix(v_.data), keys, v_.width);
          std::int64_t taken = -1;  // the head of keys and values that the factors hold
          for (std::int64_t task = begin; task < end; ++task) {
            const std::int64_t head = task / blocks, b = head / scores_.heads(), h = head % scores_.heads();
            const std::int64_t kv_head = h / scores_.group(), now = b * scores_.kv_heads() + kv_head;
            if (now != taken && keys > 0) {
              keys_t.set(k.matrix(k.at(b, kv_head, 0), true));
              values.set(v_.matrix(v_.at(b, kv_head, 0)), scores_.is_masked());
              taken = now;
            }
            const std::int64_t first = task % blocks * query_block;
            keys_t.for_tiles(std::min(query_block, length - first), [&](std::int64_t i, std::int64_t count) {
              run_rows(b, h, first + i, count, buffer.data(), keys_t, values);
            });
          }
        });
  }

 private:
  /// The scores s of these queries go through the first cache: there are no more rows than a tile has, where
  /// tiles make them.
  void run_rows(std::int64_t b, std::int64_t h, std::int64_t first, std::int64_t rows, T* s,
                const Factor<T>& keys_t, const Factor<T>& values) const {
    const Heads<const T>& q = scores_.q();
    const Ends ends = scores_.ends(first, rows);
    const std::int64_t keys = ends.columns, stride = score_stride(keys);
    double* lse = lse_ + (b * scores_.heads() + h) * q.length + first;
    if (keys > 0) {
      keys_t.multiply_within(ends, rows, scores_.options().scale, q.matrix(q.at(b, h, first)), {s, stride});
    }
    // Step by step for all rows: the processor does not wait for one row's largest score or sum.
    T largest[query_block], factor[query_block];
    double sum[query_block];
    for (std::int64_t r = 0; r < rows; ++r) {
      T* row = s + r * stride;
      const std::int64_t limit = ends.of(r);
      scores_.apply_cap(row, limit, nullptr);
      scores_.apply_mask(row, limit, b, h, first + r);
      end_row(row, limit, values.columns_read(ends, r));
      largest[r] = largest_score(row, whole_lanes(limit));
    }
    for (std::int64_t r = 0; r < rows; ++r) {
      T* row = s + r * stride;
      const std::int64_t limit = ends.of(r);
      const bool none = largest[r] == -std::numeric_limits<T>::infinity() &&
                        std::none_of(row, row + limit, [](T value) { return value != value; });
      if (none) std::fill(row, row + whole_lanes(limit), T(0));  // sees no key
      sum[r] = none ? 0 : weigh(row, whole_lanes(limit), largest[r]);
    }
    for (std::int64_t r = 0; r < rows; ++r) {
      lse[r] = sum[r] == 0 ? -infinity : static_cast<double>(largest[r]) + std::log(sum[r]);
      factor[r] = static_cast<T>(1 / sum[r]);
    }
    if (keys > 0) values.multiply(ends, rows, {s, stride}, y_.matrix(y_.at(b, h, first)));
    for (std::int64_t r = 0; r < rows; ++r) {
      T* y = y_.at(b, h, first + r);
      if (lse[r] == -infinity) {
        std::fill(y, y + v_.width, T(0));
      } else {
        for (std::int64_t j = 0; j < v_.width; ++j) y[j] *= factor[r];
      }
    }
  }

  AttentionScores<T> scores_;
  Heads<T> y_;
  Heads<const T> v_;
  double* lse_;
};

}  // namespace

bool CpuBackend::attention(View y, View lse, View q, View k, View v, View mask,
                           const AttentionOptions& options) {
  NORMA_ASSERT(lse.is_contiguous());
  for_float(q.dtype, "attention",
            [&]<class T>() { Forward<T>(y, pointer<double>(lse), q, k, v, mask, options).run(); });
  return true;
}

}  // namespace norma
