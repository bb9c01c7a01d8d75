// Any bytes give an array or an Error.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "models/data/idx.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  try {
    static_cast<void>(norma::models::parse_idx_images(bytes, "fuzz"));
  } catch (const norma::Error&) {
  }
  try {
    static_cast<void>(norma::models::parse_idx_labels(bytes, "fuzz"));
  } catch (const norma::Error&) {
  }
  return 0;
}
