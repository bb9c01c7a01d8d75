// embedding: y[r] = table[index[r]].  y: [rows, d]  table: [entries, d]  index: i64 [rows]
// Backward: dtable[index[r]] += dy[r]. Blocks of columns run in parallel, each over all rows in order, so
// equal indices are added in order whatever the number of threads.
#include "backends/cpu/cpu_backend.h"
#include "backends/cpu/rows.h"
#include "backends/indices.h"

namespace norma {

namespace {

constexpr std::int64_t column_block = 64;  // 256 bytes of f32: whole cache lines per row

template <class T>
void lookup(Rows n, T* y, const T* table, const std::int64_t* index) {
  for_each_row(n, [=](std::int64_t r) { std::copy_n(table + index[r] * n.d, n.d, y + r * n.d); });
}

template <class T>
void add_rows(Rows n, T* dtable, const T* dy, const std::int64_t* index) {
  const bool small = n.rows * n.d < block_elements;
  parallel_for(n.d, small ? n.d : column_block, [=](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = 0; r < n.rows; ++r) {
      T* to = dtable + index[r] * n.d;
      const T* from = dy + r * n.d;
      for (std::int64_t j = begin; j < end; ++j) to[j] += from[j];
    }
  });
}

}  // namespace

bool CpuBackend::embedding(View y, View table, View index) {
  check_indices(index, table.shape[0], "embedding");
  for_float(table.dtype, "embedding", [&]<class T>() {
    lookup<T>(rows_of(y), pointer<T>(y), pointer<T>(table), pointer<std::int64_t>(index));
  });
  return true;
}

bool CpuBackend::embedding_backward(View dtable, View dy, View index) {
  check_indices(index, dtable.shape[0], "embedding");
  if (dy.numel() == 0) return true;
  for_float(dy.dtype, "embedding", [&]<class T>() {
    add_rows<T>(rows_of(dy), pointer<T>(dtable), pointer<T>(dy), pointer<std::int64_t>(index));
  });
  return true;
}

}  // namespace norma
