// What a training run prints and writes.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdio>
#include <sstream>
#include <string>
#include <vector>

#include "core/file.h"
#include "nn/safetensors.h"

namespace norma::tests {

// What a run prints.
struct Output {
  std::FILE* file = std::tmpfile();
  ~Output() { std::fclose(file); }
  std::string text() const {
    std::string all;
    std::rewind(file);
    for (int c = 0; (c = std::fgetc(file)) != EOF;) all.push_back(static_cast<char>(c));
    return all;
  }
};

// One column of a log; the header must name it.
inline std::vector<std::string> column(const std::string& path, const std::string& name) {
  std::istringstream lines(read_file(path));
  std::vector<std::string> values;
  std::size_t place = 0;
  for (std::string line; std::getline(lines, line);) {
    std::vector<std::string> fields;
    std::istringstream stream(line + ",");
    for (std::string field; std::getline(stream, field, ',');) fields.push_back(field);
    if (values.empty()) {
      place = static_cast<std::size_t>(std::find(fields.begin(), fields.end(), name) - fields.begin());
      REQUIRE(place < fields.size());
    }
    values.push_back(fields.at(place));
  }
  values.erase(values.begin());
  return values;
}

inline std::vector<std::vector<double>> saved_values(const std::string& checkpoint) {
  std::vector<std::vector<double>> values;
  for (const auto& [name, tensor] : nn::load_safetensors(checkpoint).tensors) {
    values.push_back(tensor.to(f64).to_vector<double>());
  }
  return values;
}

}  // namespace norma::tests
