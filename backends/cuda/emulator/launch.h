// Launches: a kernel with a copy of its arguments, run at once or kept in a graph.
#pragma once

#include <cuda_runtime.h>

#include <array>
#include <cstddef>
#include <initializer_list>
#include <type_traits>
#include <typeinfo>
#include <utility>
#include <vector>

#include "backends/cuda/emulator/emulator.h"

namespace norma::emulator {

/// One argument of a launch, as the search for pointers sees it.
struct Argument {
  const std::type_info* type;
  std::size_t offset;  // in Launch::values
  std::size_t bytes;
  bool is_pointer;
  bool is_struct;
};

/// Values of a launch's arguments, each at its offset. Begins at a multiple of 16.
using ArgumentValues = std::vector<std::byte>;

/// Calls the kernel for one thread.
using RunThread = void (*)(const void* kernel, const std::byte* values);

struct Launch {
  const void* kernel;
  dim3 grid, block;
  std::size_t shared_bytes;
  RunThread run;
  std::vector<Argument> arguments;
  ArgumentValues values = {};
};

/// Runs the launch, or records it when the stream is being captured, with copies of the arguments that
/// `sources` point to. Throws KernelError.
cudaError_t submit(Launch launch, cudaStream_t stream, std::initializer_list<const void*> sources);

/// The shared memory that the launch asked for, in a kernel.
void* dynamic_shared();

// One instance for each list of parameters, not for each kernel: there are hundreds of kernels.
template <class... Parameters>
struct ParameterList {
  static_assert((std::is_trivially_copyable_v<Parameters> && ...),
                "kernel parameters are copied to the device byte by byte: no references, no owning types");
  static_assert(((alignof(Parameters) <= 16) && ...), "kernel parameters are aligned to 16 bytes at most");

  static constexpr auto offsets = [] {
    constexpr std::size_t count = sizeof...(Parameters);
    constexpr std::array<std::size_t, count + 1> sizes{sizeof(Parameters)..., 0};
    constexpr std::array<std::size_t, count + 1> alignments{alignof(Parameters)..., 1};
    std::array<std::size_t, count + 1> result{};
    std::size_t end = 0;
    for (std::size_t i = 0; i < count; ++i) {
      result[i] = (end + alignments[i] - 1) / alignments[i] * alignments[i];
      end = result[i] + sizes[i];
    }
    return result;
  }();

  template <std::size_t... I>
  static void call(void (*kernel)(Parameters...), [[maybe_unused]] const std::byte* values,
                   std::index_sequence<I...>) {
    kernel(*reinterpret_cast<const std::remove_cv_t<Parameters>*>(values + offsets[I])...);
  }
  static void run(const void* kernel, const std::byte* values) {
    call(reinterpret_cast<void (*)(Parameters...)>(const_cast<void*>(kernel)), values,
         std::index_sequence_for<Parameters...>());
  }

  template <std::size_t... I>
  static std::vector<Argument> describe(std::index_sequence<I...>) {
    return {Argument{&typeid(Parameters), offsets[I], sizeof(Parameters), std::is_pointer_v<Parameters>,
                     std::is_class_v<Parameters>}...};
  }
  static cudaError_t submit(const void* kernel, dim3 grid, dim3 block, std::size_t shared_bytes,
                            cudaStream_t stream, const Parameters&... values) {
    return emulator::submit(
        {kernel, grid, block, shared_bytes, run, describe(std::index_sequence_for<Parameters...>())}, stream,
        {static_cast<const void*>(&values)...});
  }
};

template <class... Parameters, class... Arguments>
cudaError_t launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, std::size_t shared_bytes,
                   cudaStream_t stream, Arguments&&... arguments) {
  return ParameterList<Parameters...>::submit(reinterpret_cast<const void*>(kernel), grid, block,
                                              shared_bytes, stream, std::forward<Arguments>(arguments)...);
}

}  // namespace norma::emulator
