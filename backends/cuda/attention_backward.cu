// Attention, backward, from y and lse of the forward pass (attention.cu); every kernel computes the scores of
// its tiles again:
//   p = exp(s - lse),  dp = dy v^T,  delta = sum(dy y),  ds = p (dp - delta) (1 - tanh^2(s / cap)) scale
//   dq = ds k,  dk = ds^T q,  dv = p^T dy,  dk and dv summed over the query heads of a key head
// attention_delta: a warp for a row of dy and y. attention_dq: a block for a tile of queries, which walks the
// keys. attention_dk_dv: a block for a tile of keys, which walks the query heads and their queries in order:
// sums need no atomics. Where p is 0, ds is 0 and nothing is multiplied.
#include "backends/cuda/attention.cuh"
#include "backends/cuda/cuda_backend.h"
#include "backends/cuda/scratch.h"

namespace norma {
namespace {

using namespace cuda_attention;

constexpr int delta_rows = 4;  // warps of a block of attention_delta

/// What the backward pass keeps of a row of scores.
template <class T>
struct Row {
  T high, low, delta;  // lse = high + low
  bool sees_none;

  __device__ Row(const double* lse, const T* deltas, std::int64_t head, std::int64_t i, std::int64_t queries)
      : high(0), low(0), delta(0), sees_none(true) {
    if (i >= queries) return;
    const double value = lse[head * queries + i];
    high = static_cast<T>(value), low = static_cast<T>(value - static_cast<double>(high));
    delta = deltas[head * queries + i];
    sees_none = high == Rule<T>::hidden;
  }
  /// Score s with its slope and dp become p; returns ds.
  __device__ T gradient(T& s, T slope, T dp) const {
    s = sees_none || s == Rule<T>::hidden ? T(0) : std::exp(s - high - low);
    return s == T(0) ? T(0) : s * (dp - delta) * slope;
  }
};

template <class T>
__global__ void __launch_bounds__(32 * delta_rows)
    attention_delta(T* delta, Heads<const T> dy, Heads<const T> y, std::int64_t rows) {
  const std::int64_t row = std::int64_t{blockIdx.x} * delta_rows + threadIdx.x / 32;
  if (row >= rows) return;  // the whole warp
  const std::int64_t head = row / y.length, i = row % y.length;
  const Strip<const T> a = dy.strip(head / y.heads, head % y.heads),
                       c = y.strip(head / y.heads, head % y.heads);
  T sum = 0;
  for (std::int64_t e = threadIdx.x % 32; e < y.width; e += 32)
    sum += a.data[i * a.stride + e] * c.data[i * c.stride + e];
  const double total = warp_sum(static_cast<double>(sum));
  if (threadIdx.x % 32 == 0) delta[row] = static_cast<T>(total);
}

template <class T, int width>
__global__ void __launch_bounds__(threads)
    attention_dq(Heads<T> dq, Heads<const T> dy, const double* lse, const T* delta, Heads<const T> q,
                 Heads<const T> k, Heads<const T> v, Rule<T> rule) {
  NORMA_DYNAMIC_SHARED(T, shared);
  constexpr int elements = Tile<T, width>::elements;
  const Tile<T, width> q_rows{shared}, dy_rows{shared + elements}, others{shared + 2 * elements};
  const Weights<T> weights{shared + 3 * elements};

  const std::int64_t tiles = (q.length + tile - 1) / tile, head = blockIdx.x / tiles;
  const std::int64_t first = (tiles - 1 - blockIdx.x % tiles) * tile;
  const std::int64_t b = head / q.heads, h = head % q.heads, kv_head = h / (q.heads / k.heads);
  const std::int64_t column = std::int64_t{blockIdx.y} * width;
  const Strip<const T> queries = q.strip(b, h), dys = dy.strip(b, h), keys = k.strip(b, kv_head),
                       values = v.strip(b, kv_head);

  T acc[per_thread][width / lanes] = {};
  if (q.width <= width) q_rows.fill(queries, first, 0);
  if (v.width <= width) dy_rows.fill(dys, first, 0);
  const std::int64_t end = rule.limit(first + tile < q.length ? first + tile - 1 : q.length - 1);
  for (std::int64_t key = 0; key < end; key += tile) {
    T s[per_thread][per_thread], dp[per_thread][per_thread];
    dots(dp, dy_rows, dys, first, others, values, key);
    bool finite = dots(s, q_rows, queries, first, others, keys, key);
#pragma unroll
    for (int i = 0; i < per_thread; ++i) {
      const std::int64_t at = first + tile_row(i);
      const Row<T> row(lse, delta, head, at, q.length);
#pragma unroll
      for (int j = 0; j < per_thread; ++j) {
        T slope, p = rule.score(s[i][j], slope, b, h, at, key + tile_column(j));
        weights.set(i, j, row.gradient(p, slope, dp[i][j]));
      }
    }
    if (k.width > width)
      finite = others.fill(keys, key, column);
    else
      __syncthreads();  // others still holds the keys
    add_weighted(acc, weights, others, end - key, !finite);
  }
  T ones[per_thread];
#pragma unroll
  for (T& one : ones) one = T(1);
  store<T, width>(dq.strip(b, h), first, column, acc, ones);
}

template <class T, int width>
__global__ void __launch_bounds__(threads)
    attention_dk_dv(Heads<T> dk, Heads<T> dv, Heads<const T> dy, const double* lse, const T* delta,
                    Heads<const T> q, Heads<const T> k, Heads<const T> v, Rule<T> rule) {
  NORMA_DYNAMIC_SHARED(T, shared);
  constexpr int elements = Tile<T, width>::elements;
  const Tile<T, width> k_rows{shared}, v_rows{shared + elements}, others{shared + 2 * elements};
  const Weights<T> weights{shared + 3 * elements};

  const std::int64_t tiles = (k.length + tile - 1) / tile, kv_head = blockIdx.x / tiles % k.heads;
  const std::int64_t b = blockIdx.x / tiles / k.heads, first = blockIdx.x % tiles * tile;
  const std::int64_t column = std::int64_t{blockIdx.y} * width, group = q.heads / k.heads;
  const Strip<const T> keys = k.strip(b, kv_head), values = v.strip(b, kv_head);

  T dk_acc[per_thread][width / lanes] = {}, dv_acc[per_thread][width / lanes] = {};
  if (k.width <= width) k_rows.fill(keys, first, 0);
  if (v.width <= width) v_rows.fill(values, first, 0);
  for (std::int64_t h = kv_head * group; h < (kv_head + 1) * group; ++h) {
    const Strip<const T> queries = q.strip(b, h), dys = dy.strip(b, h);
    for (std::int64_t query = rule.first_query(first) / tile * tile; query < q.length; query += tile) {
      T s[per_thread][per_thread], ds[per_thread][per_thread];  // rows: keys, columns: queries
      dots(ds, v_rows, values, first, others, dys, query);
      bool finite = dots(s, k_rows, keys, first, others, queries, query);
#pragma unroll
      for (int j = 0; j < per_thread; ++j) {
        const std::int64_t at = query + tile_column(j);
        const Row<T> row(lse, delta, b * q.heads + h, at, q.length);
#pragma unroll
        for (int i = 0; i < per_thread; ++i) {
          T slope;
          s[i][j] = rule.score(s[i][j], slope, b, h, at, first + tile_row(i));
          ds[i][j] = row.gradient(s[i][j], slope, ds[i][j]);
          weights.set(i, j, ds[i][j]);
        }
      }
      if (q.width > width)
        finite = others.fill(queries, query, column);
      else
        __syncthreads();  // others still holds the queries
      add_weighted(dk_acc, weights, others, q.length - query, !finite);
      __syncthreads();
#pragma unroll
      for (int i = 0; i < per_thread; ++i)
#pragma unroll
        for (int j = 0; j < per_thread; ++j) weights.set(i, j, s[i][j]);
      finite = others.fill(dys, query, column);
      add_weighted(dv_acc, weights, others, q.length - query, !finite);
    }
  }
  T ones[per_thread];
#pragma unroll
  for (T& one : ones) one = T(1);
  store<T, width>(dk.strip(b, kv_head), first, column, dk_acc, ones);
  store<T, width>(dv.strip(b, kv_head), first, column, dv_acc, ones);
}

template <class T>
void backward(const View& dq, const View& dk, const View& dv, const View& dy, const View& y,
              const double* lse, const View& q, const View& k, const View& v, const Rule<T>& rule,
              cudaStream_t stream) {
  const Heads<const T> queries(q), keys(k), values(v), dys(dy), ys(y);
  const std::int64_t rows = queries.batch * queries.heads * queries.length;
  const DeviceScratch<T> scratch(rows);
  T* const delta = scratch.data();
  if (rows > 0) {
    launch(attention_delta<T>, dim3(static_cast<unsigned>((rows + delta_rows - 1) / delta_rows)),
           dim3(32 * delta_rows), 0, stream, delta, dys, ys, rows);
  }
  const std::int64_t columns = std::max(queries.width, values.width);
  for_width<T>(columns, [&]<int width>() {
    launch_tiles<T, width>(attention_dq<T, width>, 3, queries.tiles(), queries.width, stream, Heads<T>(dq),
                           dys, lse, delta, queries, keys, values, rule);
    launch_tiles<T, width>(attention_dk_dv<T, width>, 3, keys.tiles(), columns, stream, Heads<T>(dk),
                           Heads<T>(dv), dys, lse, delta, queries, keys, values, rule);
  });
}

}  // namespace

bool CudaBackend::attention_backward(View dq, View dk, View dv, View dy, View y, View lse, View q, View k,
                                     View v, View mask, const AttentionOptions& options) {
  NORMA_ASSERT(lse.is_contiguous());
  for_float(q.dtype, "attention", [&]<class T>() {
    backward<T>(dq, dk, dv, dy, y, static_cast<const double*>(lse.data), q, k, v,
                Rule<T>(q, k, mask, options), stream_);
  });
  return true;
}

}  // namespace norma
