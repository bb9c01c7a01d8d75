#include "core/precision.h"

#include <atomic>
#include <cstdlib>
#include <string_view>

namespace norma {
namespace {

std::atomic<bool>& tf32() {
  static std::atomic<bool> allowed = [] {
    const char* const text = std::getenv("NORMA_CUDA_TF32");
    return text != nullptr && std::string_view(text) == "1";
  }();
  return allowed;
}

}  // namespace

void set_cuda_tf32(bool allowed) { tf32() = allowed; }
bool cuda_tf32() { return tf32(); }

}  // namespace norma
