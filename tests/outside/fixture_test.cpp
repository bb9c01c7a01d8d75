// Norma against PyTorch: values and gradients of every op and layer in f64, from a file that make_fixtures.py
// wrote. The one checked in needs no Python; NORMA_OUTSIDE_FIXTURE names another (see `make outside`).
#include "tests/outside/fixture.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <regex>

namespace norma::tests::outside {
namespace {

constexpr double tolerance = 1e-10;  // |a - b| <= tolerance * (1 + |b|)

std::string fixture_path() {
  const char* const path = std::getenv("NORMA_OUTSIDE_FIXTURE");
  return path != nullptr ? path : "tests/fixtures/outside.safetensors";
}

struct Report {
  std::size_t cases = 0, values = 0;
  std::set<std::string> names;
  double worst = 0;
  std::string worst_place = "nowhere";
};

void compare_case(const FixtureCase& one, const std::string& how, Report& report) {
  CAPTURE(one.line);
  CAPTURE(how);
  Comparison result;
  try {
    result = compare(one);
  } catch (const std::exception& error) {
    FAIL_CHECK(std::string(error.what()));
  }
  for (const Comparison::Part& part : result.parts) {
    CAPTURE(part.what);
    CHECK(part.difference <= tolerance);
    if (part.difference > report.worst) {
      report.worst = part.difference;
      report.worst_place = part.what + " of " + CaseOptions(one.line).name() + " " + how;
    }
  }
  report.values += result.parts.size();
}

/// Names that a header declares, by a pattern whose first group is the name.
void collect(std::set<std::string>& names, const std::filesystem::path& header, const char* pattern) {
  std::ifstream file(header);
  REQUIRE_MESSAGE(file.good(), "run the tests in the root of the tree; no ", header.string());
  const std::regex expression(pattern);
  std::smatch match;
  for (std::string line; std::getline(file, line);) {
    if (std::regex_search(line, match, expression)) names.insert(match[1]);
  }
}

std::set<std::string> public_names() {
  std::set<std::string> names;
  for (const char* header : {"autograd/ops.h", "autograd/normalization.h", "autograd/convolution.h"})
    collect(names, header, R"(^(?:inline )?(?:Tensor|std::pair<Tensor, Tensor>) (operator[^ (]+|\w+)\()");
  collect(
      names, "autograd/tensor.h",
      R"(^  (?:Tensor&?|const Tensor&|std::pair<Tensor, Tensor>|std::vector<Tensor>) (operator[^ (]+|\w+)\()");
  for (const auto& entry : std::filesystem::recursive_directory_iterator("nn")) {
    if (entry.path().extension() == ".h")
      collect(
          names, entry.path(),
          R"(^class (\w+)(?: final)? : public (?:Module|BatchNorm|BatchRenorm|InstanceNorm|Optimizer|Adam)\b)");
  }
  return names;
}

struct Exception {
  const char* name;
  const char* reason;
};
constexpr Exception without_case[] = {
    {"empty", "has no values"},
    {"tensor", "every input is made by it"},
    {"rand", "the numbers are Norma's own"},
    {"randn", "the numbers are Norma's own"},
    {"randint", "the numbers are Norma's own"},
    {"randperm", "the numbers are Norma's own"},
    {"grad", "every case with a gradient goes through the engine"},
    {"set_requires_grad", "every case with a gradient calls it"},
    {"AnyLayer", "make_norm, Sequential and PreNormBlock call layers through it"},
    {"ChannelsLast", "moves axes for norms that have cases"},
};

}  // namespace

TEST_CASE("outside: values and gradients are PyTorch's") {
  const std::vector<FixtureCase> cases = load_cases(fixture_path());
  Report report;
  for (const FixtureCase& one : cases) {
    compare_case(one, "by kernels", report);
    {
      const DefinitionsOnly definitions;
      compare_case(one, "by definitions", report);
    }
    ++report.cases;
    report.names.insert(CaseOptions(one.line).name());
  }
  MESSAGE("outside: ", report.cases, " cases of ", report.names.size(), " ops, layers and optimizers, ",
          report.values, " outputs and gradients compared, by kernels and by definitions; worst difference ",
          report.worst, " (", report.worst_place, "), allowed ", tolerance);
}

TEST_CASE("outside: every public op and layer has a case") {
  std::set<std::string> compared, listed;
  for (const FixtureCase& one : load_cases("tests/fixtures/outside.safetensors"))
    compared.insert(CaseOptions(one.line).name());
  for (const Row& row : rows()) {
    CAPTURE(row.name);
    CHECK_MESSAGE(listed.insert(row.name).second, "two rows of one name");
    CHECK_MESSAGE(compared.contains(row.name), "no case in the fixture: run make outside-fixture");
  }
  const std::set<std::string> names = public_names();
  CHECK(names.size() > 100);
  for (const Exception& exception : without_case) {
    CAPTURE(exception.name);
    CAPTURE(exception.reason);
    CHECK_MESSAGE(names.contains(exception.name), "is not in the headers");
    CHECK_MESSAGE(listed.insert(exception.name).second, "has a row as well");
  }
  for (const std::string& name : names) {
    CAPTURE(name);
    CHECK_MESSAGE(listed.contains(name),
                  "add a drawer to tests/outside/make_fixtures.py and a row to tests/outside/cases_*.cpp");
  }
}

TEST_CASE("outside: a wrong value, gradient, shape or dtype is seen") {
  const Tensor x = tensor({1.0, 2.0, 3.0}, f64);
  CHECK(difference(x, x) == 0);
  CHECK(difference(x, x + 1e-9) > tolerance);
  CHECK(difference(Tensor(), x) > tolerance);
  CHECK(difference(Tensor(), zeros_like(x)) == 0);
  CHECK(difference(x, x.to(f32)) > tolerance);
  CHECK(difference(x, x.reshape({3, 1})) > tolerance);
  CHECK(difference(x, tensor({1.0, 2.0, std::nan("")}, f64)) > tolerance);
  const FixtureCase wrong{.line = "square",
                          .inputs = {x},
                          .outputs = {x * x},
                          .output_gradients = {{0, ones_like(x)}},
                          .input_gradients = {{0, x * 3}}};
  const Comparison result = compare(wrong);
  REQUIRE(result.parts.size() == 2);
  CHECK(result.parts[0].difference == 0);
  CHECK(result.parts[1].difference > tolerance);
}

}  // namespace norma::tests::outside
