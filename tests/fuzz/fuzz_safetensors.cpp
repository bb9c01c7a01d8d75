// Any bytes give a file or an Error; what is read can be written and read again.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "nn/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  try {
    const auto file = norma::nn::parse_safetensors(bytes, "fuzz");
    norma::nn::save_safetensors("/dev/null", file.tensors, file.metadata);
  } catch (const norma::Error&) {
  }
  return 0;
}
