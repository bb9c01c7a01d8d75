// Columns (c), (d) and (e) of the op table: first and second derivatives against central differences, second
// and third derivatives of kernels against those of definitions.
#include "autograd/gradcheck.h"
#include "tests/autograd/op_checks.h"

using namespace norma;
using namespace norma::tests;

TEST_SUITE_BEGIN("op table");

TEST_CASE("R1 R3 R4 first derivatives agree with central differences, for every absent input") {
  for (const Device device : {cpu, reference}) {
    CAPTURE(std::string(name(device)));
    for_each_row(device, [&](const OpRow& row) {
      if (!row.numeric) return;
      for (const std::uint64_t absent : absences(row)) {
        const auto inputs = draw_inputs(row, {.device = device, .absent = absent});
        const GradCheckReport report = gradcheck(row.op, inputs, {.random_direction = true});
        CHECK_MESSAGE(report.passed, row.name, ": ", report.message);
      }
    });
  }
}

TEST_CASE("first derivatives agree element by element") {
  for_each_row(cpu, [&](const OpRow& row) {
    if (!row.numeric) return;
    const GradCheckReport report = gradcheck(row.op, draw_inputs(row, {.rows = 2, .columns = 3}));
    CHECK_MESSAGE(report.passed, row.name, ": ", report.message);
  });
}

TEST_CASE("R5 second derivatives agree with central differences") {
  for_each_row(cpu, [&](const OpRow& row) {
    if (!row.numeric) return;
    for (const std::uint64_t absent : absences(row)) {
      const auto inputs = draw_inputs(row, {.absent = absent});
      const GradCheckReport report = gradgradcheck(row.op, inputs, {.random_direction = true});
      CHECK_MESSAGE(report.passed, row.name, ": ", report.message);
    }
  });
}

TEST_CASE("second and third derivatives with kernels equal those of the definitions") {
  for (const Device device : {cpu, reference}) {
    for_each_row(device, [&](const OpRow& row) {
      const auto inputs = draw_inputs(row, {.device = device});
      for (const int order : {2, 3}) {
        CAPTURE(order);
        const auto kernels = derivative(row, inputs, order);
        const DefinitionsOnly definitions;
        CHECK(distance(kernels, derivative(row, inputs, order)) <= tolerance(f64));
      }
    });
  }
}

TEST_SUITE_END();
