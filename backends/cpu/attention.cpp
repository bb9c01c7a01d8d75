// Attention, forward (Vaswani et al. 2017, arXiv:1706.03762, eq. 1, with cap and mask):
//   s = scale q k^T;  s = cap tanh(s / cap);  hidden keys: s = -inf;  p = softmax(s);  y = p v
//   q [batch, heads, q_length, d]  k [batch, kv_heads, k_length, d]  v [batch, kv_heads, k_length, d_v]
//   y [batch, heads, q_length, d_v]  lse = ln(sum(exp(s))): f64 [batch, heads, q_length]
// Blocks of queries of one head are independent and run in parallel; only a block's scores are in memory.
// Causality skips the keys that no query of the block sees. A row that sees no key is 0, its lse -inf.
#include "backends/cpu/attention.h"

#include "backends/cpu/cpu_backend.h"

namespace norma {

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

/// Largest of `count` scores, a multiple of score_lanes.
template <class T>
T largest_of(const T* s, std::int64_t count) {
  T lanes[score_lanes];
  std::fill_n(lanes, score_lanes, -std::numeric_limits<T>::infinity());
  for (std::int64_t j = 0; j < count; j += score_lanes) {
    for (std::int64_t lane = 0; lane < score_lanes; ++lane)
      lanes[lane] = s[j + lane] > lanes[lane] ? s[j + lane] : lanes[lane];
  }
  return *std::max_element(lanes, lanes + score_lanes);
}

/// Scores of one row to weights e^(s - max), 0 from `limit` to `keys`; returns the factor that makes them
/// probabilities. There is room for whole lanes.
template <class T>
T weights_of_row(T* s, std::int64_t limit, std::int64_t keys, double& lse) {
  const std::int64_t whole = whole_lanes(limit);
  std::fill(s + limit, s + whole, -std::numeric_limits<T>::infinity());
  if (whole < keys) std::fill(s + whole, s + keys, T(0));
  const T largest = largest_of(s, whole);
  if (largest == -std::numeric_limits<T>::infinity()) {
    const bool poisoned = std::any_of(s, s + limit, [](T value) { return value != value; });
    if (!poisoned) {  // sees no key
      std::fill(s, s + limit, T(0));
      lse = -infinity;
      return T(0);
    }
  }
  const double sum =
      block_sum<T>(whole, [=](std::int64_t j) { return s[j] = vector_exp_negative(s[j] - largest); });
  lse = static_cast<double>(largest) + std::log(sum);
  return static_cast<T>(1 / sum);
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
    // Which (batch, key head) need zero weights to be skipped: 1 where something is not finite and a mask
    // hides keys.
    Scratch<bool> skip(scores_.batch() * scores_.kv_heads());
    parallel_for(scores_.batch() * scores_.kv_heads(),
                 std::max<std::int64_t>(1, block_elements / (keys * v_.width + 1)),
                 [&](std::int64_t begin, std::int64_t end) {
                   for (std::int64_t i = begin; i < end; ++i) {
                     const std::int64_t b = i / scores_.kv_heads(), h = i % scores_.kv_heads();
                     skip.data()[i] = scores_.is_masked() && !is_finite_head(v_, b, h);
                   }
                 });
    const std::int64_t blocks = (length + query_block - 1) / query_block,
                       rows = std::min(length, query_block);
    const std::int64_t work = rows * keys * (scores_.q().width + v_.width) + 1;
    parallel_for(scores_.batch() * scores_.heads() * blocks, std::max<std::int64_t>(1, attention_work / work),
                 [&](std::int64_t begin, std::int64_t end) {
                   const SerialBlas serial;
                   Scratch<T> buffer(rows * score_stride(keys));
                   for (std::int64_t task = begin; task < end; ++task) {
                     const std::int64_t head = task / blocks, b = head / scores_.heads(),
                                        h = head % scores_.heads();
                     const bool skips = skip.data()[b * scores_.kv_heads() + h / scores_.group()];
                     run_block(b, h, task % blocks * query_block, buffer.data(), skips);
                   }
                 });
  }

 private:
  void run_block(std::int64_t b, std::int64_t h, std::int64_t first, T* s, bool skips) const {
    const std::int64_t length = scores_.q().length, rows = std::min(query_block, length - first);
    const std::int64_t keys = scores_.limit(first + rows - 1), stride = score_stride(keys);
    double* lse = lse_ + (b * scores_.heads() + h) * length + first;
    if (keys > 0) scores_.products(b, h, first, rows, keys, s, stride);
    T factor[query_block];
    for (std::int64_t r = 0; r < rows; ++r) {
      T* row = s + r * stride;
      const std::int64_t limit = std::min(keys, scores_.limit(first + r));
      scores_.apply_cap(row, limit, nullptr);
      scores_.apply_mask(row, limit, b, h, first + r);
      factor[r] = weights_of_row(row, limit, keys, lse[r]);
    }
    const std::int64_t kv_head = h / scores_.group();
    if (keys > 0) {
      weighted_rows<T>(rows, v_.width, keys, {s, stride}, v_.matrix(v_.at(b, kv_head, 0)), false,
                       y_.matrix(y_.at(b, h, first)), skips);
    }
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
