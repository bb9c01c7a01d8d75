// The required kernels of the CUDA backend.
#include <doctest/doctest.h>

#include "tests/backends/required_checks.h"
#include "tests/cuda/device.h"

namespace norma::tests {

TEST_SUITE("cuda required" * doctest::skip(no_device())) {
  TEST_CASE("cuda: copy converts between all dtypes and layouts") { check_copy(cuda); }
  TEST_CASE("cuda: copy transposes in tiles") { check_transposing_copy(cuda); }
  TEST_CASE("cuda: fill and where") { check_fill_and_where(cuda); }
  TEST_CASE("cuda: unary ops") { check_unary(cuda); }
  TEST_CASE("cuda: powers with special exponents") { check_powers(cuda); }
  TEST_CASE("cuda: binary ops and scalars") { check_binary(cuda); }
  TEST_CASE("cuda: NaN wins in maximum, minimum and reductions") { check_nan_wins(cuda); }
  TEST_CASE("cuda: i64 division by zero throws") { check_division_by_zero(cuda); }
  TEST_CASE("cuda: reductions over any axes and strides") { check_reductions(cuda); }
  TEST_CASE("cuda: long reductions, by rows and by columns") { check_long_reductions(cuda); }
  TEST_CASE("cuda: empty reductions") { check_empty_reductions(cuda); }
  TEST_CASE("cuda: argmax, argmin and cumsum") { check_scans(cuda); }
  TEST_CASE("cuda: gather and scatter_add") { check_gather(cuda); }
  TEST_CASE("cuda: R91 products of any strides") { check_products(cuda); }
  TEST_CASE("cuda: unfold and fold of random windows") { check_windows(cuda); }
  TEST_CASE("cuda: random numbers are the same bits on both backends") { check_random(cuda); }
}

}  // namespace norma::tests
