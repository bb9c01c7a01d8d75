// What the forward and backward pass of attention share: extents, heads in memory, and masked scores of a
// block of queries.
#pragma once

#include <cmath>
#include <cstring>

#include "backends/cpu/attention_factor.h"
#include "backends/cpu/scratch.h"
#include "backends/cpu/sums.h"
#include "backends/cpu/vector_math.h"
#include "backends/strided.h"
#include "core/backend.h"

namespace norma {

// Queries of a block: with 1024 keys, the 256 KiB of its scores in f32 stay in L2.
inline constexpr std::int64_t query_block = 64;
inline constexpr std::int64_t attention_work = 1 << 20;  // multiply-adds per parallel block, at least

inline std::int64_t whole_lanes(std::int64_t n) {
  return (n + vector_lanes - 1) / vector_lanes * vector_lanes;
}

/// Distance of rows of scores: whole lanes, but no multiple of 2 KiB, which would crowd into a few sets of
/// L1.
inline std::int64_t score_stride(std::int64_t keys) {
  const std::int64_t stride = whole_lanes(keys);
  return stride % 512 == 0 ? stride + vector_lanes : stride;
}

/// A view [batch, heads, length, width] whose rows have no gaps.
template <class T>
struct Heads {
  T* data;
  std::int64_t batch, head, row;  // strides
  std::int64_t length, width;

  explicit Heads(const View& view)
      : data(static_cast<T*>(view.data)),
        batch(view.strides[0]),
        head(view.strides[1]),
        row(view.strides[2]),
        length(view.shape[2]),
        width(view.shape[3]) {
    NORMA_ASSERT(view.rank == 4 && view.dtype == dtype_of<std::remove_const_t<T>>());
    NORMA_ASSERT(width <= 1 || view.strides[3] == 1 || view.numel() == 0);
    NORMA_ASSERT(length <= 1 || row >= width || view.numel() == 0);
    if (length <= 1) row = width;
  }
  T* at(std::int64_t b, std::int64_t h, std::int64_t i) const {
    return data + b * batch + h * head + i * row;
  }
  Matrix<T> matrix(T* first_row, bool transposed = false) const {
    return {first_row, std::max<std::int64_t>(1, row), transposed};
  }
};

/// The scores of one block: rows of one head against the first `keys` keys.
template <class T>
class AttentionScores {
 public:
  AttentionScores(const View& q, const View& k, const View& mask, const AttentionOptions& options)
      : q_(q),
        k_(k),
        mask_(mask),
        options_(options),
        batch_(q.shape[0]),
        heads_(q.shape[1]),
        kv_heads_(k.shape[1]) {
    NORMA_ASSERT(kv_heads_ == 0 || heads_ % kv_heads_ == 0);
    NORMA_ASSERT(!mask.defined() || mask.dtype == boolean || mask.dtype == dtype_of<T>());
  }

  std::int64_t batch() const { return batch_; }
  std::int64_t heads() const { return heads_; }
  std::int64_t kv_heads() const { return kv_heads_; }
  std::int64_t group() const { return heads_ / kv_heads_; }
  const Heads<const T>& q() const { return q_; }
  const Heads<const T>& k() const { return k_; }
  bool is_masked() const { return mask_.defined() || options_.causal; }
  const AttentionOptions& options() const { return options_; }

  /// Which keys the queries [first, first + rows) may see as far as causality goes.
  Ends ends(std::int64_t first, std::int64_t rows) const {
    if (!options_.causal) return {k_.length, 0, k_.length};
    const std::int64_t end = first + 1 + k_.length - q_.length;
    return {end, 1, std::clamp<std::int64_t>(end + rows - 1, 0, k_.length)};
  }
  /// Kernels whose tiles take the products of blocks of queries; nullptr: they are left to gemm.
  const GemmKernels* kernels() const {
    constexpr std::int64_t fewest_queries = 16;  // for which packing pays
    if (sizeof(T) != 4 || q_.length < fewest_queries) return nullptr;
    return f32_kernels({std::min(q_.length, query_block), k_.length, q_.width});
  }
  /// s = cap * tanh(s / cap); slopes, where wanted, get the derivative.
  void apply_cap(T* s, std::int64_t count, T* slopes) const {
    if (options_.cap <= 0) return;
    const T cap = static_cast<T>(options_.cap), inverse = static_cast<T>(1 / options_.cap);
    for (std::int64_t j = 0; j < count; ++j) {
      const T t = vector_tanh(s[j] * inverse);
      s[j] = cap * t;
      if (slopes != nullptr) slopes[j] = T(1) - t * t;
    }
  }
  /// Hidden keys get -inf, whatever their score was (it may be NaN).
  void apply_mask(T* s, std::int64_t count, std::int64_t b, std::int64_t h, std::int64_t i) const {
    if (!mask_.defined()) return;
    constexpr T hidden = -std::numeric_limits<T>::infinity();
    const std::int64_t row = b * mask_.strides[0] + h * mask_.strides[1] + i * mask_.strides[2];
    const std::int64_t step = mask_.strides[3];
    if (mask_.dtype == boolean) {
      const bool* mask = pointer<bool>(mask_) + row;
      for (std::int64_t j = 0; j < count; ++j) s[j] = mask[j * step] ? s[j] : hidden;
    } else {
      const T* mask = pointer<T>(mask_) + row;
      for (std::int64_t j = 0; j < count; ++j)
        s[j] = mask[j * step] == hidden ? hidden : s[j] + mask[j * step];
    }
  }

 private:
  Heads<const T> q_, k_;
  View mask_;
  AttentionOptions options_;
  std::int64_t batch_, heads_, kv_heads_;
};

/// Ends a row of scores after `limit`: to whole lanes with -inf, from there to `end` with 0.
template <class T>
void end_row(T* s, std::int64_t limit, std::int64_t end) {
  const std::int64_t whole = whole_lanes(limit);
  if (limit < whole) {
    T* const last = s + whole - vector_lanes;
    for (std::int64_t lane = 0; lane < vector_lanes; ++lane)
      last[lane] = whole - vector_lanes + lane < limit ? last[lane] : -std::numeric_limits<T>::infinity();
  }
  if (whole < end) std::fill(s + whole, s + end, T(0));
}

}  // namespace norma
