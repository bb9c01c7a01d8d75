// The inverse square root of a matrix, in products only: no eigenvectors, whose derivatives have poles where
// eigenvalues meet.
#include "autograd/normalization.h"
#include "autograd/ops/rows.h"

namespace norma {

// Y = a / trace, Z = I;   T = (3 I - Z Y) / 2, Y <- Y T, Z <- T Z;   Z -> (a / trace)^(-1/2)
Tensor inverse_square_root(const Tensor& a, int iterations) {
  detail::check_floating("inverse_square_root", "a", a);
  NORMA_CHECK(a.dim() >= 2 && a.size(-1) == a.size(-2),
              "inverse_square_root: a must be [.., d, d], got shape ", a.shape());
  NORMA_CHECK(iterations >= 1, "inverse_square_root: iterations must be at least 1, got ", iterations);
  const Tensor identity = eye(a.size(-1), a.dtype(), a.device());
  const Tensor trace = (a * identity).sum({-2, -1}, keepdim);
  const auto step_of = [&](const Tensor& zy) { return identity * 1.5 - zy * 0.5; };
  Tensor y = a / trace;
  Tensor step = step_of(y), z = step;
  for (int i = 1; i < iterations; ++i) {
    y = matmul(y, step);
    step = step_of(matmul(z, y));
    z = matmul(step, z);
  }
  return z * trace.rsqrt();
}

}  // namespace norma
