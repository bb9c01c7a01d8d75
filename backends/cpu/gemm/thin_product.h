// Matrix products with few rows, or few columns, as of a vector with a matrix: each value of the large
// operand takes part in few multiply-adds, so that it is read once, where it lies.
#pragma once

#include "backends/matrices.h"

namespace norma {

/// c [m, n] = alpha * a b + beta * c.
template <class T>
struct MatrixProduct {
  ProductExtents extents;
  T alpha;
  Matrix<const T> a, b;
  T beta;
  Matrix<T> c;             // not transposed
  const T* row = nullptr;  // n values; if given, beta * row is added to each row, not beta * c
};

/// True where the product is faster this way than by OpenBLAS and by packed_product.h.
template <class T>
bool is_thin(const ProductExtents& extents);

/// All extents at least 1; beta = 0 never reads c. Runs in parallel, or on the calling thread from inside a
/// parallel loop. No result depends on the number of threads.
template <class T>
void thin_product(const MatrixProduct<T>& product);

extern template bool is_thin<float>(const ProductExtents&);
extern template bool is_thin<double>(const ProductExtents&);
extern template void thin_product(const MatrixProduct<float>&);
extern template void thin_product(const MatrixProduct<double>&);

}  // namespace norma
