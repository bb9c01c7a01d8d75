// The JSON header of a safetensors file, as it stands there: nothing is known of it but that it has the form
//   {"__metadata__": {string: string, ..}, name: {"dtype": string, "shape": [n, ..], "data_offsets": [n, n]},
//   ..}
// and that no name occurs twice.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace norma::nn::detail {

struct SafetensorsEntry {
  std::string name;
  std::optional<std::string> dtype;
  std::optional<std::vector<std::int64_t>> shape;
  std::optional<std::vector<std::int64_t>> offsets;
};

struct SafetensorsHeader {
  std::vector<SafetensorsEntry> entries;
  std::vector<std::pair<std::string, std::string>> metadata;
};

/// `file` stands for the file in messages. Throws Error on anything else.
SafetensorsHeader parse_safetensors_header(std::string_view json, const std::string& file);

/// The texts of a file. The header is checked as load_safetensors does; the tensors' bytes are not read.
std::vector<std::pair<std::string, std::string>> read_safetensors_metadata(const std::string& path);

}  // namespace norma::nn::detail
