// What the columns of the op table are made of: drawing inputs, evaluating, comparing.
#pragma once

#include <doctest/doctest.h>

#include <exception>
#include <set>

#include "core/allocator.h"
#include "tests/autograd/op_table.h"

namespace norma::tests {

/// Where and how large a row is run.
struct Setting {
  DType dtype = f64;
  Device device = cpu;
  std::int64_t rows = 3, columns = 5;
  double mean = 0;           // added to the first floating input
  std::uint64_t absent = 0;  // bit i: input i, which is optional, is left out
};

/// The inputs of a row as leaves that require gradients. The numbers are the same for every dtype (f32
/// holds them exactly) and device.
std::vector<Tensor> draw_inputs(const OpRow& row, const Setting& setting);
/// A random upstream gradient: with ones, mistakes in norms cancel (a normalized row sums to zero).
Tensor draw_upstream(const Tensor& y, std::uint64_t seed = 77);

/// The result of a row and the gradients of all differentiable inputs for a random upstream gradient;
/// undefined where an input is not differentiable, absent or unused.
struct Outcome {
  Tensor y;
  std::vector<Tensor> gradients;
};
Outcome run(const OpRow& row, const std::vector<Tensor>& inputs);
Outcome run(const OpRow& row, const std::vector<Tensor>& inputs, const Tensor& dy);
Outcome run_definition(const OpRow& row, const std::vector<Tensor>& inputs);

/// Derivative of order n: n - 1 times, the gradient is contracted with random tensors. The last one's parts.
std::vector<Tensor> derivative(const OpRow& row, const std::vector<Tensor>& inputs, int order);

/// Largest |a - b| / max(1, largest |b|); equal infinities and two NaNs agree; infinite when shapes differ or
/// only one is defined. dtypes and devices may differ. An undefined gradient equals zeros.
double distance(const Tensor& a, const Tensor& b);
double distance(const std::vector<Tensor>& a, const std::vector<Tensor>& b);
double distance(const Outcome& a, const Outcome& b);

/// Relative tolerance of a dtype: f64 1e-10, f32 1e-5.
inline double tolerance(DType dtype) { return dtype == f64 ? 1e-10 : 1e-5; }

/// Every choice of absent optional inputs.
std::vector<std::uint64_t> absences(const OpRow& row);
/// The settings of column (h): default size, one row, one column, no rows.
std::vector<Setting> sizes(const OpRow& row, DType dtype, Device device);

enum class Layout { transposed, stepped, expanded };
/// The same values (expanded: the first slice along axis 0, repeated) with other strides; with `contiguous`,
/// a copy of what comes out. Undefined stays undefined.
Tensor with_layout(const Tensor& x, Layout layout, bool contiguous);

/// Names of the graph nodes behind y.
void collect_node_names(const Tensor& y, std::set<std::string>& names);

/// Calls body(row) for all rows; on each, the number of live blocks of the device must return to its value.
template <class Body>
void for_each_row(Device device, Body&& body) {
  for (const OpRow& row : op_table()) {
    CAPTURE(row.name);
    const std::int64_t before = memory_stats(device).live_blocks;
    try {
      body(row);
    } catch (const std::exception& error) {
      FAIL_CHECK(row.name, " threw: ", error.what());
    }
    CHECK_MESSAGE(memory_stats(device).live_blocks == before, row.name, " keeps memory");
  }
}

}  // namespace norma::tests
