// Columns (a), (b), (h) and (i) of the op table: kernels against definitions and against the reference
// device, for every size and dtype, and memory.
#include "tests/autograd/op_checks.h"

using namespace norma;
using namespace norma::tests;

TEST_SUITE_BEGIN("op table");

TEST_CASE("kernels agree with definitions, forward and backward, for every size and absent input") {
  for (const Device device : {cpu, reference}) {
    for (const DType dtype : {f64, f32}) {
      CAPTURE(std::string(name(device)));
      CAPTURE(std::string(name(dtype)));
      for_each_row(device, [&](const OpRow& row) {
        for (const std::uint64_t absent : absences(row)) {
          for (Setting setting : sizes(row, dtype, device)) {
            CAPTURE(absent);
            CAPTURE(setting.rows);
            CAPTURE(setting.columns);
            setting.absent = absent;
            const Outcome kernels = run(row, draw_inputs(row, setting));
            setting.dtype = f64;  // f32 results are held against f64 definitions of the same numbers
            CHECK(distance(kernels, run_definition(row, draw_inputs(row, setting))) <= tolerance(dtype));
          }
        }
      });
    }
  }
}

TEST_CASE("cpu and reference agree, forward and backward") {
  for_each_row(reference, [](const OpRow& row) {
    for (Setting setting : sizes(row, f64, cpu)) {
      CAPTURE(setting.rows);
      CAPTURE(setting.columns);
      const Outcome fast = run(row, draw_inputs(row, setting));
      setting.device = reference;
      CHECK(distance(fast, run(row, draw_inputs(row, setting))) <= tolerance(f64));
    }
  });
}

TEST_CASE("R2 R17 inputs of mean 1e4") {
  for (const DType dtype : {f64, f32}) {
    CAPTURE(std::string(name(dtype)));
    for_each_row(cpu, [&](const OpRow& row) {
      if (!row.row_mean) return;
      Setting setting{.dtype = dtype, .mean = 1e4};
      const Outcome kernels = run(row, draw_inputs(row, setting));
      setting.dtype = f64;
      CHECK(distance(kernels, run_definition(row, draw_inputs(row, setting))) <= tolerance(dtype));
    });
  }
}

TEST_CASE("two runs give the same bits") {
  for_each_row(cpu, [](const OpRow& row) {
    const auto inputs = draw_inputs(row, {.dtype = f32});
    const Outcome first = run(row, inputs), second = run(row, inputs);
    CHECK(distance(first, second) == 0);
  });
}

TEST_SUITE_END();
