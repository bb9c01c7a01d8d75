// The required kernels of the cpu backend.
#include <doctest/doctest.h>

#include "tests/backends/required_checks.h"

namespace norma::tests {

TEST_SUITE("kernels required") {
  TEST_CASE("copy converts between all dtypes and layouts") { check_copy(cpu); }
  TEST_CASE("copy transposes in tiles") { check_transposing_copy(cpu); }
  TEST_CASE("fill and where") { check_fill_and_where(cpu); }
  TEST_CASE("unary ops") { check_unary(cpu); }
  TEST_CASE("powers with special exponents") { check_powers(cpu); }
  TEST_CASE("binary ops and scalars") { check_binary(cpu); }
  TEST_CASE("NaN wins in maximum, minimum and reductions") { check_nan_wins(cpu); }
  TEST_CASE("i64 division by zero throws") { check_division_by_zero(cpu); }
  TEST_CASE("reductions over any axes and strides") { check_reductions(cpu); }
  TEST_CASE("long reductions, by rows and by columns") { check_long_reductions(cpu); }
  TEST_CASE("empty reductions") { check_empty_reductions(cpu); }
  TEST_CASE("argmax, argmin and cumsum") { check_scans(cpu); }
  TEST_CASE("gather and scatter_add") { check_gather(cpu); }
  TEST_CASE("random numbers are the same bits on both backends") { check_random(cpu); }
}

}  // namespace norma::tests
