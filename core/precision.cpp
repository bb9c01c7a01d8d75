#include "core/precision.h"

#include <atomic>
#include <cstdlib>
#include <iterator>

#include "core/check.h"

namespace norma {
namespace {

constexpr std::string_view names[] = {"highest", "highest_bf16x6", "high", "medium"};

std::atomic<MatmulPrecision> precision_of_all{MatmulPrecision::highest};

std::atomic<bool>& tf32() {
  static std::atomic<bool> allowed = [] {
    const char* const text = std::getenv("NORMA_CUDA_TF32");
    return text != nullptr && std::string_view(text) == "1";
  }();
  return allowed;
}

}  // namespace

void set_matmul_precision(MatmulPrecision precision) { precision_of_all = precision; }
void set_matmul_precision(std::string_view name) { set_matmul_precision(parse_matmul_precision(name)); }
MatmulPrecision matmul_precision() { return precision_of_all; }

std::string to_string(MatmulPrecision precision) {
  return std::string(names[static_cast<std::size_t>(precision)]);
}

MatmulPrecision parse_matmul_precision(std::string_view name) {
  for (std::size_t i = 0; i < std::size(names); ++i) {
    if (name == names[i]) return static_cast<MatmulPrecision>(i);
  }
  detail::fail("matmul precision: needs highest, highest_bf16x6, high or medium, got ", name);
}

void set_cuda_tf32(bool allowed) { tf32() = allowed; }
bool cuda_tf32() {
  const MatmulPrecision precision = matmul_precision();
  return tf32() || precision == MatmulPrecision::high || precision == MatmulPrecision::medium;
}

}  // namespace norma
