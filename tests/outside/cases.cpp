#include "tests/outside/cases.h"

#include <algorithm>
#include <cstdlib>

namespace norma::tests::outside {
namespace {

std::vector<std::string> parts_of(std::string_view text, char separator) {
  std::vector<std::string> parts;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(separator), text.size());
    parts.emplace_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return parts;
}

double number_of(const std::string& text) {
  char* end = nullptr;
  const double value = std::strtod(text.c_str(), &end);
  NORMA_CHECK(!text.empty() && *end == '\0', "outside: \"", text, "\" is not a number");
  return value;
}

template <class T>
std::vector<T> converted(const std::vector<double>& numbers) {
  std::vector<T> values;
  for (const double number : numbers) values.push_back(static_cast<T>(number));
  return values;
}

}  // namespace

CaseOptions::CaseOptions(std::string_view line) {
  for (const std::string& word : parts_of(line, ' ')) {
    if (name_.empty()) {
      name_ = word;
      continue;
    }
    const std::size_t equals = word.find('=');
    NORMA_CHECK(equals != std::string::npos, "outside: no '=' in option \"", word, "\"");
    values_.emplace_back(word.substr(0, equals), word.substr(equals + 1));
  }
}

const std::string* CaseOptions::find(std::string_view key) const {
  for (const auto& [name, value] : values_) {
    if (name == key) return &value;
  }
  return nullptr;
}

const std::string& CaseOptions::text(std::string_view key) const {
  const std::string* const value = find(key);
  NORMA_CHECK(value != nullptr, "outside: a case of ", name_, " lacks option ", key);
  return *value;
}

double CaseOptions::number(std::string_view key) const { return number_of(text(key)); }
std::int64_t CaseOptions::integer(std::string_view key) const {
  return static_cast<std::int64_t>(number(key));
}
std::vector<std::string> CaseOptions::words(std::string_view key) const { return parts_of(text(key), ','); }
std::vector<double> CaseOptions::numbers(std::string_view key) const {
  std::vector<double> values;
  for (const std::string& word : words(key)) values.push_back(number_of(word));
  return values;
}
std::vector<std::int64_t> CaseOptions::integers(std::string_view key) const {
  return converted<std::int64_t>(numbers(key));
}
std::vector<int> CaseOptions::axes(std::string_view key) const { return converted<int>(numbers(key)); }

DType CaseOptions::dtype(std::string_view key) const {
  const std::string& name = text(key);
  if (name == "f32") return f32;
  if (name == "i64") return i64;
  if (name == "bool") return boolean;
  NORMA_CHECK(name == "f64", "outside: unknown dtype ", name);
  return f64;
}

Reduction CaseOptions::reduction() const {
  const std::string& name = text("reduction");
  if (name == "none") return Reduction::none;
  if (name == "sum") return Reduction::sum;
  NORMA_CHECK(name == "mean", "outside: unknown reduction ", name);
  return Reduction::mean;
}

const std::vector<Row>& rows() {
  static const std::vector<Row> all = [] {
    std::vector<Row> joined;
    for (auto* const part : {elementwise_rows, shape_rows, sum_rows, layer_rows, channel_rows, row_norm_rows,
                             training_rows, convolution_rows}) {
      const std::vector<Row> some = part();
      joined.insert(joined.end(), some.begin(), some.end());
    }
    return joined;
  }();
  return all;
}

void take_parameters(nn::Module& module, Tensors& inputs, const CaseOptions& options) {
  module.to(f64);
  const std::vector<std::string> names = options.words("parameters");
  const std::size_t first = inputs.size() - names.size();
  nn::StateDict state;
  for (const auto& [name, buffer] : module.named_buffers()) {
    if (std::find(names.begin(), names.end(), name) == names.end()) state.emplace_back(name, buffer);
  }
  for (std::size_t i = 0; i < names.size(); ++i) state.emplace_back(names[i], inputs.at(first + i).detach());
  module.load_state_dict(state);
  const nn::StateDict parameters = module.named_parameters();
  for (std::size_t i = 0; i < names.size(); ++i) {
    for (const auto& [name, parameter] : parameters) {
      if (name == names[i]) inputs[first + i] = parameter;
    }
  }
}

}  // namespace norma::tests::outside
