// Columns (f) and (g) of the op table: memory layouts, and subsets of inputs that require a gradient.
#include "tests/autograd/op_checks.h"

using namespace norma;
using namespace norma::tests;

TEST_SUITE_BEGIN("op table");

TEST_CASE("R9 transposed, stepped and expanded inputs and upstream gradients equal their copies") {
  for (const DType dtype : {f64, f32}) {
    for_each_row(cpu, [&](const OpRow& row) {
      if (!row.any_layout) return;
      const auto inputs = draw_inputs(row, {.dtype = dtype});
      for (const Layout layout : {Layout::transposed, Layout::stepped, Layout::expanded}) {
        CAPTURE(static_cast<int>(layout));
        const std::size_t all = inputs.size();
        for (std::size_t which = 0; which <= all; ++which) {  // one input alone, then all of them
          CAPTURE(which);
          std::vector<Tensor> strided = inputs, copies = inputs;
          for (std::size_t i = 0; i < inputs.size(); ++i) {
            if (which != all && which != i) continue;
            strided[i] = with_layout(inputs[i], layout, false);
            copies[i] = with_layout(inputs[i], layout, true);
          }
          const Tensor dy = draw_upstream(row.op(copies));
          const Outcome expected = run(row, copies, with_layout(dy, layout, true));
          CHECK(distance(run(row, strided, with_layout(dy, layout, false)), expected) <=
                tolerance(dtype) / 10);
        }
      }
    });
  }
}

TEST_CASE("every subset of inputs that require a gradient gets the same gradients") {
  for_each_row(cpu, [](const OpRow& row) {
    const Outcome full = run(row, draw_inputs(row, {}));
    for (std::uint64_t subset = 0; subset < std::uint64_t{1} << row.inputs.size(); ++subset) {
      CAPTURE(subset);
      auto inputs = draw_inputs(row, {});
      bool possible = true;
      for (std::size_t i = 0; i < inputs.size(); ++i) {
        const bool wanted = subset >> i & 1;
        possible = possible && (!wanted || row.inputs[i].differentiable());
        if (!wanted) inputs[i].set_requires_grad(false);
      }
      if (!possible) continue;
      const Outcome part = run(row, inputs);
      CHECK(distance(part.y, full.y) <= tolerance(f64));
      for (std::size_t i = 0; i < inputs.size(); ++i) {
        if (subset >> i & 1) {
          CHECK(distance(part.gradients[i], full.gradients[i]) <= tolerance(f64));
        } else {
          CHECK_FALSE(part.gradients[i].defined());
        }
      }
    }
  });
}

TEST_CASE("backward() adds what grad() returns, twice when called twice") {
  for_each_row(cpu, [](const OpRow& row) {
    const auto inputs = draw_inputs(row, {});
    const Outcome expected = run(row, inputs);
    const Tensor y = row.op(inputs);
    if (!y.requires_grad()) return;
    y.backward(draw_upstream(y), {.retain_graph = true});
    y.backward(draw_upstream(y));
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      if (!expected.gradients[i].defined()) continue;
      CHECK(distance(inputs[i].grad(), expected.gradients[i] * 2) <= tolerance(f64));
    }
  });
}

TEST_SUITE_END();
