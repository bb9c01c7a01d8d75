// The op table is complete: every public op, and every op that the sources record, is in it or in the short
// list of ops that have no gradient.
#include <filesystem>
#include <fstream>
#include <sstream>

#include "tests/autograd/op_checks.h"

using namespace norma;
using namespace norma::tests;

#ifndef NORMA_SOURCE_DIR
#  define NORMA_SOURCE_DIR "."
#endif

namespace {

/// Ops without a gradient and functions that are not ops; op_plain_test.cpp and tensor_test.cpp test them.
const std::set<std::string> no_gradient = {
    // creation
    "empty", "zeros", "ones", "full", "zeros_like", "ones_like", "arange", "eye", "tensor", "rand", "randn",
    "randint", "randperm", "scalar",
    // boolean and integer results
    "operator==", "operator!=", "operator<", "operator<=", "operator>", "operator>=", "logical_and",
    "logical_or", "logical_not", "isnan", "isfinite", "any", "all", "argmax", "argmin", "one_hot",
    // history, conversion, and the alias inside fused ops
    "detach", "grad", "set_requires_grad", "to", "alias"};

std::filesystem::path source(const char* path) { return std::filesystem::path(NORMA_SOURCE_DIR) / path; }

std::string read(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

/// Names of the functions that a header declares with a Tensor, or several, as their result.
std::set<std::string> declared_ops(const char* path) {
  std::set<std::string> names;
  std::istringstream lines(read(source(path)));
  for (std::string line; std::getline(lines, line);) {
    line.erase(0, line.find_first_not_of(' '));
    for (const std::string prefix : {"static ", "inline "}) {
      if (line.starts_with(prefix)) line.erase(0, prefix.size());
    }
    for (const std::string type :
         {"Tensor ", "Tensor& ", "const Tensor& ", "std::vector<Tensor> ", "std::pair<Tensor, Tensor> "}) {
      const std::size_t bracket = line.find('(');
      if (!line.starts_with(type) || bracket == std::string::npos) continue;
      const std::string name = line.substr(type.size(), bracket - type.size());
      if (name.find(' ') == std::string::npos) names.insert(name);
    }
  }
  return names;
}

/// Names that follow the calls which make graph nodes, in one source file.
std::set<std::string> recorded_ops(const std::filesystem::path& path) {
  std::set<std::string> names;
  const std::string text = read(path);
  for (const std::string call :
       {"record(", "name = ", "from_output(", "from_input(", "flat(", "choose(", "extreme(", "softmax_op("}) {
    for (std::size_t at = text.find(call); at != std::string::npos; at = text.find(call, at + 1)) {
      const std::size_t quote = text.find_first_not_of(" \n", at + call.size());
      if (quote == std::string::npos || text[quote] != '"') continue;
      names.insert(text.substr(quote + 1, text.find('"', quote + 1) - quote - 1));
    }
  }
  return names;
}

}  // namespace

TEST_SUITE_BEGIN("op table");

TEST_CASE("every public op has a row") {
  std::set<std::string> covered = no_gradient;
  for (const OpRow& row : op_table()) {
    covered.insert(row.name);
    covered.insert(row.covers.begin(), row.covers.end());
  }
  std::set<std::string> declared = declared_ops("autograd/ops.h");
  declared.merge(declared_ops("autograd/tensor.h"));
  declared.merge(declared_ops("autograd/normalization.h"));
  declared.merge(declared_ops("autograd/convolution.h"));
  CHECK(declared.size() > 120);
  CHECK(declared.contains("scaled_dot_product_attention"));
  CHECK(declared.contains("masked_fill"));
  for (const std::string& name : declared)
    CHECK_MESSAGE(covered.contains(name), name, " has no row in the op table");
  for (const std::string& name : no_gradient) {
    if (name != "alias") CHECK_MESSAGE(declared.contains(name), name, " is no longer declared");
  }
}

TEST_CASE("every op that the sources record is recorded by some row") {
  std::set<std::string> seen = no_gradient;
  for (const OpRow& row : op_table()) {
    seen.insert(row.name);  // a fused op leaves no node of its own where there is no kernel
    const auto inputs = draw_inputs(row, {});
    const Tensor y = row.op(inputs);
    collect_node_names(y, seen);
    if (!y.requires_grad()) continue;
    std::vector<Tensor> wanted;
    for (const Tensor& x : inputs) {
      if (x.requires_grad()) wanted.push_back(x);
    }
    for (const Tensor& dx :
         grad({y}, wanted, {draw_upstream(y)}, {.create_graph = true, .allow_unused = true})) {
      if (dx.defined()) collect_node_names(dx, seen);
    }
  }
  std::set<std::string> named;
  for (const auto& file : std::filesystem::directory_iterator(source("autograd/ops"))) {
    if (file.path().extension() == ".cpp") named.merge(recorded_ops(file.path()));
  }
  CHECK(named.size() > 60);
  for (const std::string& name : named)
    CHECK_MESSAGE(seen.contains(name), name, " is recorded by no row of the op table");
}

TEST_SUITE_END();
