// Attention, forward, in tiles (the running softmax of Milakov, Gimelshein 2018, arXiv:1805.02867, used as by
// Dao et al. 2022, arXiv:2205.14135), with cap, mask and grouped heads as in backends/cpu/attention.cpp:
//   for each tile of keys: s = scale q k^T, capped, masked;  m' = max(m, s);  p = exp(s - m')
//     l = l exp(m - m') + sum(p);  acc = acc exp(m - m') + p v;  m = m'
//   y = acc / l,  lse = m + ln(l): f64 [batch, heads, q_length]
//   q [batch, heads, q_length, d]  k [batch, kv_heads, k_length, d]  v [batch, kv_heads, k_length, d_v]
// One block for a tile of queries and `width` columns of v: q and k are read again for each part of a v wider
// than that. A row that sees no key is 0, its lse -inf.
#include "backends/cuda/attention.cuh"
#include "backends/cuda/cuda_backend.h"

namespace norma {
namespace {

using namespace cuda_attention;

template <class T, int width>
__global__ void __launch_bounds__(threads, 6)
    attention_forward(Heads<T> y, double* lse, Heads<const T> q, Heads<const T> k, Heads<const T> v,
                      Rule<T> rule) {
  NORMA_DYNAMIC_SHARED(T, shared);
  const Tile<T, width> rows{shared}, others{shared + Tile<T, width>::elements};
  const Weights<T> weights{shared + 2 * Tile<T, width>::elements};

  // With causality the last tiles have most to do; they begin first.
  const std::int64_t tiles = (q.length + tile - 1) / tile, head = blockIdx.x / tiles;
  const std::int64_t first = (tiles - 1 - blockIdx.x % tiles) * tile;
  const std::int64_t b = head / q.heads, h = head % q.heads, kv_head = h / (q.heads / k.heads);
  const std::int64_t column = std::int64_t{blockIdx.y} * width;
  const Strip<const T> queries = q.strip(b, h), keys = k.strip(b, kv_head), values = v.strip(b, kv_head);

  T acc[per_thread][width / lanes] = {};
  T largest[per_thread], sum[per_thread];  // sum: of this thread's columns
#pragma unroll
  for (int i = 0; i < per_thread; ++i) largest[i] = Rule<T>::hidden, sum[i] = T(0);
  if (q.width <= width) rows.fill(queries, first, 0);
  const std::int64_t end = rule.limit(first + tile < q.length ? first + tile - 1 : q.length - 1);
  for (std::int64_t key = 0; key < end; key += tile) {
    T s[per_thread][per_thread];
    dots(s, rows, queries, first, others, keys, key);
#pragma unroll
    for (int i = 0; i < per_thread; ++i) {
      T m = largest[i], slope;
#pragma unroll
      for (int j = 0; j < per_thread; ++j) {
        s[i][j] = rule.score(s[i][j], slope, b, h, first + tile_row(i), key + tile_column(j));
        m = s[i][j] > m ? s[i][j] : m;
      }
      m = warp_max<lanes>(m);
      const T shrink = m == largest[i] ? T(1) : std::exp(largest[i] - m);
      largest[i] = m;
      sum[i] *= shrink;
#pragma unroll
      for (T& value : acc[i]) value *= shrink;
#pragma unroll
      for (int j = 0; j < per_thread; ++j) {
        const T p = s[i][j] == Rule<T>::hidden ? T(0) : std::exp(s[i][j] - m);
        sum[i] += p;
        weights.set(i, j, p);
      }
    }
    const bool finite = others.fill(values, key, column);
    add_weighted(acc, weights, others, end - key, !finite);
  }

  T factor[per_thread];
#pragma unroll
  for (int i = 0; i < per_thread; ++i) {
    const double total = warp_sum<lanes>(static_cast<double>(sum[i]));
    factor[i] = total == 0 ? T(0) : static_cast<T>(1 / total);
    const std::int64_t row = first + tile_row(i);
    if (blockIdx.y == 0 && tile_column(0) == 0 && row < q.length)
      lse[head * q.length + row] = static_cast<double>(largest[i]) + log(total);
  }
  store<T, width>(y.strip(b, h), first, column, acc, factor);
}

}  // namespace

bool CudaBackend::attention(View y, View lse, View q, View k, View v, View mask,
                            const AttentionOptions& options) {
  NORMA_ASSERT(lse.is_contiguous());
  for_float(q.dtype, "attention", [&]<class T>() {
    const Heads<T> out(y);
    const Heads<const T> queries(q), keys(k), values(v);
    for_width<T>(std::max(queries.width, values.width), [&]<int width>() {
      launch_tiles<T, width>(attention_forward<T, width>, 2, queries.tiles(), values.width, stream_, out,
                             static_cast<double*>(lse.data), queries, keys, values,
                             Rule<T>(q, k, mask, options));
    });
  });
  return true;
}

}  // namespace norma
