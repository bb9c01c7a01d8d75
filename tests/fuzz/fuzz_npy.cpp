// Any bytes give an array or an Error; what is read can be written and read again.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "core/check.h"
#include "core/npy.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  try {
    norma::save_npy("/dev/null", norma::parse_npy(bytes, "fuzz"));
  } catch (const norma::Error&) {
  }
  return 0;
}
