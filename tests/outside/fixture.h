// Cases of a fixture file: how they are read, and how Norma's results are compared with what the file holds.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "tests/outside/cases.h"

namespace norma::tests::outside {

struct FixtureCase {
  std::string line;  // "name option=value ..."
  Tensors inputs, outputs;
  std::map<std::size_t, Tensor> output_gradients;  // dy, by output
  std::map<std::size_t, Tensor> input_gradients;   // expected, by input: these inputs require a gradient
};

/// Throws Error for a file that make_fixtures.py did not write.
std::vector<FixtureCase> load_cases(const std::string& path);

/// max |a - b| / (1 + |b|); infinity for other shapes, dtypes, or places of NaN and infinities, and for
/// integers and booleans that differ. An undefined a counts as zero.
double difference(const Tensor& a, const Tensor& b);

struct Comparison {
  struct Part {
    std::string what;  // "output 0", "gradient of input 1"
    double difference;
  };
  std::vector<Part> parts;
};

/// Computes the case with Norma; throws Error when there is no row of its name.
Comparison compare(const FixtureCase& expected);

}  // namespace norma::tests::outside
