// The program's own symbol table: names of kernels, and where the static shared variables of a function lie.
// A stripped program has none; then names are addresses and static shared memory is not poisoned.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace norma::emulator {

/// The mangled name, or nullptr.
const char* symbol_name(const void* function);

/// The name without return type, parameters and anonymous namespaces, as in `norma::block_sum<float>`.
std::string readable_name(const void* function);

struct SharedVariable {
  std::ptrdiff_t offset;  // from the marker
  std::size_t bytes;
};
/// The other thread-local variables of the function that the marker stands in (device_language.h).
std::vector<SharedVariable> shared_variables_of(const void* marker);

}  // namespace norma::emulator
