// safetensors files: a JSON header with names, dtypes, shapes and byte ranges, then the bytes. Written so
// that Python's safetensors reads them, read without trusting a byte. Format:
// huggingface.co/docs/safetensors.
//
// F32, F64, I64 and BOOL are read and written as they are; F16 and BF16 are read as f32, exactly.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "nn/module.h"

namespace norma::nn {

/// Free text beside the tensors ("__metadata__"), in order; the names differ from each other.
using Metadata = std::vector<std::pair<std::string, std::string>>;

struct SafetensorsFile {
  StateDict tensors;  // in the order of the header
  Metadata metadata;
};

/// Writes a file that is complete or not there (see AtomicFile). Tensors lie in the file by falling
/// element size, so that each is aligned. Throws Error on names that repeat, are not UTF-8 or are
/// "__metadata__", on undefined tensors, and when the file cannot be written.
void save_safetensors(const std::string& path, const StateDict& tensors, const Metadata& metadata = {});

/// Reads the whole file into memory. Throws Error naming the file, the tensor and the reason for anything
/// that the format does not allow: the byte ranges must cover the file without holes or overlap.
SafetensorsFile load_safetensors(const std::string& path);

/// The same from bytes in memory; `name` stands for the file in messages.
SafetensorsFile parse_safetensors(std::string_view bytes, const std::string& name);

/// Names of the floating tensors that hold a NaN or an infinity.
std::vector<std::string> check_finite(const StateDict& tensors);

/// The value under a name, or nullptr.
const std::string* find(const Metadata& metadata, std::string_view name);
const Tensor* find(const StateDict& tensors, std::string_view name);

}  // namespace norma::nn
