// The op table on the CUDA backend, against the CPU.
#include "tests/autograd/op_checks.h"
#include "tests/cuda/device.h"

using namespace norma;
using namespace norma::tests;

TEST_SUITE_BEGIN("cuda op table" * doctest::skip(no_device()));

TEST_CASE("cuda: kernels agree with the CPU's, forward and backward, for every size and absent input") {
  for_each_row(cuda, [](const OpRow& row) {
    for (const std::uint64_t absent : absences(row)) {
      for (Setting setting : sizes(row, f64, cpu)) {
        CAPTURE(absent);
        CAPTURE(setting.rows);
        CAPTURE(setting.columns);
        setting.absent = absent;
        const Outcome expected = run(row, draw_inputs(row, setting));
        setting.device = cuda;
        for (const DType dtype : {f64, f32}) {
          CAPTURE(std::string(name(dtype)));
          setting.dtype = dtype;
          const Outcome got = run(row, draw_inputs(row, setting));
          CHECK(got.y.device() == cuda);
          CHECK(distance(got, expected) <= tolerance(dtype));
        }
      }
    }
  });
}

TEST_CASE("cuda: definitions agree with the CPU's") {
  for_each_row(cuda, [](const OpRow& row) {
    const Outcome expected = run_definition(row, draw_inputs(row, {}));
    CHECK(distance(run_definition(row, draw_inputs(row, {.device = cuda})), expected) <= tolerance(f64));
  });
}

TEST_CASE("cuda: inputs of mean 1e4") {
  for_each_row(cuda, [](const OpRow& row) {
    if (!row.row_mean) return;
    const Outcome expected = run_definition(row, draw_inputs(row, {.mean = 1e4}));
    for (const DType dtype : {f64, f32}) {
      CAPTURE(std::string(name(dtype)));
      const auto inputs = draw_inputs(row, {.dtype = dtype, .device = cuda, .mean = 1e4});
      CHECK(distance(run(row, inputs), expected) <= tolerance(dtype));
    }
  });
}

TEST_CASE("cuda: R9 transposed, stepped and expanded inputs and upstream gradients equal their copies") {
  for_each_row(cuda, [](const OpRow& row) {
    if (!row.any_layout) return;
    const auto inputs = draw_inputs(row, {.device = cuda});
    for (const Layout layout : {Layout::transposed, Layout::stepped, Layout::expanded}) {
      CAPTURE(static_cast<int>(layout));
      std::vector<Tensor> strided, copies;
      for (const Tensor& x : inputs) {
        strided.push_back(with_layout(x, layout, false));
        copies.push_back(with_layout(x, layout, true));
      }
      const Tensor dy = draw_upstream(row.op(copies));
      const Outcome expected = run(row, copies, with_layout(dy, layout, true));
      CHECK(distance(run(row, strided, with_layout(dy, layout, false)), expected) <= tolerance(f64) / 10);
    }
  });
}

TEST_CASE("cuda: second and third derivatives agree with the CPU's") {
  for_each_row(cuda, [](const OpRow& row) {
    for (const int order : {2, 3}) {
      CAPTURE(order);
      const auto expected = derivative(row, draw_inputs(row, {}), order);
      CHECK(distance(derivative(row, draw_inputs(row, {.device = cuda}), order), expected) <= tolerance(f64));
    }
  });
}

TEST_CASE("cuda: two runs give the same bits") {
  for_each_row(cuda, [](const OpRow& row) {
    const auto inputs = draw_inputs(row, {.dtype = f32, .device = cuda});
    const Outcome first = run(row, inputs), second = run(row, inputs);
    CHECK(distance(first, second) == 0);
  });
}

TEST_SUITE_END();
