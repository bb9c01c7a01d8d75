// Launches: a kernel with a copy of its arguments, run at once or kept in a graph.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <memory>
#include <tuple>
#include <type_traits>
#include <typeinfo>
#include <utility>
#include <vector>

#include "backends/cuda/emulator/emulator.h"

namespace norma::emulator {

/// One argument of a launch, as the search for pointers sees it.
struct Argument {
  const std::type_info* type;
  std::size_t offset;  // in the call
  std::size_t bytes;
  bool is_pointer;
  bool is_struct;
};

struct Launch {
  const void* kernel;
  dim3 grid, block;
  std::size_t shared_bytes;
  std::shared_ptr<const void> call;                 // the kernel's address and arguments
  std::shared_ptr<void> (*copy)(const void* call);  // for one run, with pointers as the kernel may use them
  void (*run)(const void* call);                    // runs one thread
  std::vector<Argument> arguments;
};

/// Runs the launch, or records it when the stream is being captured. Throws KernelError.
cudaError_t submit(Launch launch, cudaStream_t stream);

/// The shared memory that the launch asked for, in a kernel.
void* dynamic_shared();

template <class... Parameters, class... Arguments>
cudaError_t launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, std::size_t shared_bytes,
                   cudaStream_t stream, Arguments&&... arguments) {
  static_assert((std::is_trivially_copyable_v<Parameters> && ...),
                "kernel parameters are copied to the device byte by byte: no references, no owning types");
  struct Call {
    void (*kernel)(Parameters...);
    std::tuple<Parameters...> arguments;
  };
  auto call = std::make_shared<Call>(Call{kernel, {std::forward<Arguments>(arguments)...}});
  const auto described = [&](const auto& argument) {
    using Type = std::remove_cvref_t<decltype(argument)>;
    const auto offset = reinterpret_cast<const char*>(&argument) - reinterpret_cast<const char*>(call.get());
    return Argument{&typeid(Type), static_cast<std::size_t>(offset), sizeof(Type), std::is_pointer_v<Type>,
                    std::is_class_v<Type>};
  };
  std::vector<Argument> list =
      std::apply([&](const auto&... argument) { return std::vector<Argument>{described(argument)...}; },
                 call->arguments);
  const auto copy = [](const void* data) -> std::shared_ptr<void> {
    return std::make_shared<Call>(*static_cast<const Call*>(data));
  };
  const auto run = [](const void* data) {
    const Call& c = *static_cast<const Call*>(data);
    std::apply(c.kernel, c.arguments);
  };
  return submit({reinterpret_cast<const void*>(kernel), grid, block, shared_bytes, std::move(call), copy, run,
                 std::move(list)},
                stream);
}

}  // namespace norma::emulator
