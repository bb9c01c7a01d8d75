// The op table: one row for each way to call a differentiable op. Everything else is generated from it: see
// op_table_*_test.cpp. To test a new op, add a row: name, sample inputs, the call.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "autograd/ops.h"

namespace norma::tests {

using Inputs = const std::vector<Tensor>&;

/// Extents that the checks choose: 3 and 5, then 1 and 5, 3 and 1, 0 and 5.
inline constexpr std::int64_t rows = -1, columns = -2;

/// One input, drawn afresh for every check. Points where an op has a kink are left out by the choice of
/// values.
struct Sample {
  enum class Values {
    normal,    // N(0, 1)
    positive,  // [0.5, 1.5)
    apart,     // all different, and away from 0 and from whole numbers
    index,     // i64 in [0, bound)
    mask       // boolean, a third of it false
  };
  Values values = Values::normal;
  std::vector<std::int64_t> extents;
  std::int64_t bound = 0;
  bool optional = false;

  bool differentiable() const { return values < Values::index; }
};

inline Sample normal(std::vector<std::int64_t> extents) {
  return {Sample::Values::normal, std::move(extents)};
}
inline Sample positive(std::vector<std::int64_t> extents) {
  return {Sample::Values::positive, std::move(extents)};
}
inline Sample apart(std::vector<std::int64_t> extents) { return {Sample::Values::apart, std::move(extents)}; }
inline Sample indices(std::vector<std::int64_t> extents, std::int64_t bound) {
  return {Sample::Values::index, std::move(extents), bound};
}
inline Sample mask(std::vector<std::int64_t> extents) { return {Sample::Values::mask, std::move(extents)}; }
inline Sample optional(Sample sample) {
  sample.optional = true;
  return sample;
}

struct OpRow {
  std::string name;
  std::vector<Sample> inputs;
  std::function<Tensor(Inputs)> op;
  std::vector<std::string> covers = {};  // further public names that this row calls
  bool any_size = true;                  // works with 0 rows and with 1 column
  bool any_layout = true;                // takes any strides
  bool row_mean = false;                 // is also checked with inputs of mean 1e4
  bool numeric = true;  // the gradient is the value's: false where parts are constants for the gradient
};

/// All rows, in the order of the parts below.
const std::vector<OpRow>& op_table();
std::vector<OpRow> elementwise_rows();
std::vector<OpRow> shape_rows();
std::vector<OpRow> reduction_rows();
std::vector<OpRow> product_rows();
std::vector<OpRow> layer_rows();
std::vector<OpRow> channel_rows();
std::vector<OpRow> convolution_rows();
std::vector<OpRow> weight_rows();
std::vector<OpRow> row_norm_rows();

}  // namespace norma::tests
