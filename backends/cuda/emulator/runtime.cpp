// Errors, the device, functions, memory and copies of the emulated runtime. Streams and graphs: streams.cpp.
#include <cstdio>
#include <cstring>
#include <unordered_map>
#include <utility>

#include "backends/cuda/emulator/device.h"
#include "backends/cuda/emulator/memory.h"
#include "backends/cuda/emulator/state.h"
#include "backends/cuda/emulator/symbols.h"
#include "core/check.h"

namespace norma::emulator {
namespace {

struct LastError {
  cudaError_t error = cudaSuccess;
  std::string detail;
};
thread_local LastError last_error;

struct SharedLimits {
  std::mutex mutex;
  std::unordered_map<const void*, std::size_t> of_kernel;
};
SharedLimits& shared_limits() {
  static SharedLimits* const made = new SharedLimits;
  return *made;
}

}  // namespace

cudaError_t fail(cudaError_t error, std::string detail) {
  last_error = {error, std::move(detail)};
  return error;
}

std::string last_error_detail() { return last_error.detail; }

GuardedCounters& guarded_counters() {
  static GuardedCounters* const made = new GuardedCounters;
  return *made;
}

Counters counters() {
  Counters copy;
  count([&](Counters& c) { copy = c; });
  return copy;
}

void reset_counters() {
  count([](Counters& c) { c = Counters(); });
}

std::int64_t launches(std::string_view part) {
  std::int64_t total = 0;
  for (const auto& [name, times] : counters().launches)
    if (name.find(part) != std::string::npos) total += times;
  return total;
}

std::size_t shared_memory_limit(const void* kernel) {
  SharedLimits& limits = shared_limits();
  const std::lock_guard lock(limits.mutex);
  const auto found = limits.of_kernel.find(kernel);
  return found == limits.of_kernel.end() ? shared_memory : std::max(shared_memory, found->second);
}

namespace {

cudaMemcpyKind resolved(cudaMemcpyKind kind, const void* to, const void* from) {
  if (kind != cudaMemcpyDefault) return kind;
  const auto on_device = [](const void* address) {
    const Memory where = memory_at(address);
    return where == Memory::device || where == Memory::freed;
  };
  const bool to_device = on_device(to), from_device = on_device(from);
  if (to_device) return from_device ? cudaMemcpyDeviceToDevice : cudaMemcpyHostToDevice;
  return from_device ? cudaMemcpyDeviceToHost : cudaMemcpyHostToHost;
}

std::string copy_fault(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind) {
  const bool to_device = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
  const bool from_device = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
  if (std::string fault = to_device ? device_range_fault(to, bytes) : host_range_fault(to); !fault.empty())
    return "the destination " + fault;
  if (std::string fault = from_device ? device_range_fault(from, bytes) : host_range_fault(from);
      !fault.empty())
    return "the source " + fault;
  return {};
}

void count_copy(Counters& c, cudaMemcpyKind kind, std::size_t bytes) {
  const auto n = static_cast<std::int64_t>(bytes);
  if (kind == cudaMemcpyHostToDevice) ++c.copies_to_device, c.bytes_to_device += n;
  if (kind == cudaMemcpyDeviceToHost) ++c.copies_to_host, c.bytes_to_host += n;
  if (kind == cudaMemcpyDeviceToDevice) ++c.copies_on_device, c.bytes_on_device += n;
}

cudaError_t copy(const char* call, void* to, const void* from, std::size_t bytes, cudaMemcpyKind asked,
                 cudaStream_t stream) {
  return enqueue(stream, call, [=] {
    if (bytes == 0) return cudaSuccess;
    const cudaMemcpyKind kind = resolved(asked, to, from);
    if (std::string fault = copy_fault(to, from, bytes, kind); !fault.empty())
      return fail(cudaErrorInvalidValue, std::move(fault));
    count([&](Counters& c) { count_copy(c, kind, bytes); });
    std::memmove(reachable(to), reachable(from), bytes);
    return cudaSuccess;
  });
}

cudaError_t set(const char* call, void* to, int value, std::size_t bytes, cudaStream_t stream) {
  return enqueue(stream, call, [=] {
    if (bytes == 0) return cudaSuccess;
    if (std::string fault = device_range_fault(to, bytes); !fault.empty())
      return fail(cudaErrorInvalidValue, std::move(fault));
    std::memset(reachable(to), value, bytes);
    return cudaSuccess;
  });
}

cudaError_t allocate(void** address, std::size_t bytes) {
  if (address == nullptr) return fail(cudaErrorInvalidValue, "no place for the address");
  *address = nullptr;
  if (bytes == 0) return cudaSuccess;
  *address = allocate_device(bytes);
  if (*address == nullptr)
    return fail(cudaErrorMemoryAllocation, detail::concat(bytes, " bytes asked for, ", free_bytes(), " of ",
                                                          memory_limit(), " are free"));
  count([](Counters& c) { ++c.allocations; });
  return cudaSuccess;
}

cudaError_t release(void* address) {
  if (address == nullptr) return cudaSuccess;
  if (!free_device(address)) {
    std::string fault = device_range_fault(address, 0);
    return fail(cudaErrorInvalidValue,
                fault.empty() ? "the address is inside an allocation" : std::move(fault));
  }
  count([](Counters& c) { ++c.frees; });
  return cudaSuccess;
}

}  // namespace
}  // namespace norma::emulator

using namespace norma::emulator;

cudaError_t cudaGetLastError() { return std::exchange(last_error.error, cudaSuccess); }
cudaError_t cudaPeekAtLastError() { return last_error.error; }

const char* cudaGetErrorName(cudaError_t error) {
#define NORMA_EMULATOR_CASE(name) \
  case name:                      \
    return #name;
  switch (error) {
    NORMA_EMULATOR_CASE(cudaSuccess)
    NORMA_EMULATOR_CASE(cudaErrorInvalidValue)
    NORMA_EMULATOR_CASE(cudaErrorMemoryAllocation)
    NORMA_EMULATOR_CASE(cudaErrorInvalidConfiguration)
    NORMA_EMULATOR_CASE(cudaErrorInvalidDeviceFunction)
    NORMA_EMULATOR_CASE(cudaErrorNoDevice)
    NORMA_EMULATOR_CASE(cudaErrorInvalidDevice)
    NORMA_EMULATOR_CASE(cudaErrorInvalidResourceHandle)
    NORMA_EMULATOR_CASE(cudaErrorNotReady)
    NORMA_EMULATOR_CASE(cudaErrorIllegalAddress)
    NORMA_EMULATOR_CASE(cudaErrorLaunchFailure)
    NORMA_EMULATOR_CASE(cudaErrorNotSupported)
    NORMA_EMULATOR_CASE(cudaErrorStreamCaptureUnsupported)
    NORMA_EMULATOR_CASE(cudaErrorStreamCaptureInvalidated)
    NORMA_EMULATOR_CASE(cudaErrorStreamCaptureImplicit)
    NORMA_EMULATOR_CASE(cudaErrorUnknown)
  }
#undef NORMA_EMULATOR_CASE
  return "an error without a name";
}

const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "no error";
    case cudaErrorInvalidValue:
      return "invalid argument";
    case cudaErrorMemoryAllocation:
      return "out of memory";
    case cudaErrorInvalidConfiguration:
      return "invalid configuration argument";
    case cudaErrorInvalidResourceHandle:
      return "invalid resource handle";
    case cudaErrorStreamCaptureUnsupported:
      return "operation not permitted when stream is capturing";
    default:
      return cudaGetErrorName(error);
  }
}

cudaError_t cudaGetDeviceCount(int* count) {
  *count = 1;
  return cudaSuccess;
}
cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int device) {
  return device == 0 ? cudaSuccess : fail(cudaErrorInvalidDevice, "there is one device, number 0");
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  if (const cudaError_t error = cudaSetDevice(device); error != cudaSuccess) return error;
  *properties = {};
  std::snprintf(properties->name, sizeof properties->name, "CUDA emulator of Norma");
  properties->totalGlobalMem = memory_limit();
  properties->sharedMemPerBlock = shared_memory;
  properties->sharedMemPerBlockOptin = properties->sharedMemPerMultiprocessor = shared_memory_optin;
  properties->regsPerBlock = 65536;
  properties->warpSize = warpSize;
  properties->maxThreadsPerBlock = max_threads_per_block;
  const int threads[3] = {max_threads_per_block, max_threads_per_block, max_block_z};
  const int blocks[3] = {max_grid_x, max_grid_yz, max_grid_yz};
  std::memcpy(properties->maxThreadsDim, threads, sizeof threads);
  std::memcpy(properties->maxGridSize, blocks, sizeof blocks);
  properties->major = 7;
  properties->minor = 5;
  properties->multiProcessorCount = multiprocessors;
  properties->l2CacheSize = 4 << 20;
  properties->maxThreadsPerMultiProcessor = max_threads_per_multiprocessor;
  return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  cudaDeviceProp properties;
  if (const cudaError_t error = cudaGetDeviceProperties(&properties, device); error != cudaSuccess)
    return error;
  switch (attribute) {
    case cudaDevAttrMaxThreadsPerBlock:
      *value = properties.maxThreadsPerBlock;
      return cudaSuccess;
    case cudaDevAttrMaxSharedMemoryPerBlock:
      *value = static_cast<int>(properties.sharedMemPerBlock);
      return cudaSuccess;
    case cudaDevAttrWarpSize:
      *value = properties.warpSize;
      return cudaSuccess;
    case cudaDevAttrMultiProcessorCount:
      *value = properties.multiProcessorCount;
      return cudaSuccess;
    case cudaDevAttrMaxThreadsPerMultiProcessor:
      *value = properties.maxThreadsPerMultiProcessor;
      return cudaSuccess;
    case cudaDevAttrComputeCapabilityMajor:
      *value = properties.major;
      return cudaSuccess;
    case cudaDevAttrComputeCapabilityMinor:
      *value = properties.minor;
      return cudaSuccess;
    case cudaDevAttrMaxSharedMemoryPerMultiprocessor:
      *value = static_cast<int>(properties.sharedMemPerMultiprocessor);
      return cudaSuccess;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      *value = static_cast<int>(properties.sharedMemPerBlockOptin);
      return cudaSuccess;
  }
  return fail(cudaErrorInvalidValue, "no such attribute in the emulator");
}

cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = CUDART_VERSION;
  return cudaSuccess;
}
cudaError_t cudaDriverGetVersion(int* version) { return cudaRuntimeGetVersion(version); }

cudaError_t cudaFuncGetName(const char** name, const void* function) {
  *name = symbol_name(function);
  return *name != nullptr ? cudaSuccess : fail(cudaErrorInvalidDeviceFunction, "the function has no symbol");
}

cudaError_t cudaFuncSetAttribute(const void* function, cudaFuncAttribute attribute, int value) {
  if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize) return cudaSuccess;
  if (value < 0 || static_cast<std::size_t>(value) > shared_memory_optin)
    return fail(cudaErrorInvalidValue, norma::detail::concat("at most ", shared_memory_optin,
                                                             " bytes of shared memory, got ", value));
  SharedLimits& limits = shared_limits();
  const std::lock_guard lock(limits.mutex);
  limits.of_kernel[function] = static_cast<std::size_t>(value);
  return cudaSuccess;
}

cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, const void*, int threads,
                                                          std::size_t shared_bytes) {
  if (threads <= 0 || threads > max_threads_per_block)
    return fail(cudaErrorInvalidValue, "1 to 1024 threads");
  const std::size_t by_memory = shared_bytes == 0 ? 16 : shared_memory_optin / shared_bytes;
  *blocks = static_cast<int>(
      std::min(by_memory, static_cast<std::size_t>(max_threads_per_multiprocessor / threads)));
  return cudaSuccess;
}

cudaError_t cudaMalloc(void** address, std::size_t bytes) {
  if (const cudaError_t error = refuse_in_capture("cudaMalloc"); error != cudaSuccess) return error;
  return allocate(address, bytes);
}
cudaError_t cudaFree(void* address) {
  if (const cudaError_t error = refuse_in_capture("cudaFree"); error != cudaSuccess) return error;
  if (address != nullptr) count([](Counters& c) { ++c.synchronizations; });
  return release(address);
}
cudaError_t cudaMallocAsync(void** address, std::size_t bytes, cudaStream_t) {
  if (const cudaError_t error = refuse_in_capture("cudaMallocAsync"); error != cudaSuccess) return error;
  return allocate(address, bytes);
}
cudaError_t cudaFreeAsync(void* address, cudaStream_t) {
  if (const cudaError_t error = refuse_in_capture("cudaFreeAsync"); error != cudaSuccess) return error;
  return release(address);
}
cudaError_t cudaMallocHost(void** address, std::size_t bytes, unsigned) {
  *address = allocate_pinned(bytes);
  return *address != nullptr ? cudaSuccess : fail(cudaErrorMemoryAllocation, "");
}
cudaError_t cudaHostAlloc(void** address, std::size_t bytes, unsigned flags) {
  return cudaMallocHost(address, bytes, flags);
}
cudaError_t cudaFreeHost(void* address) {
  if (address == nullptr || free_pinned(address)) return cudaSuccess;
  return fail(cudaErrorInvalidValue, "the address is not one of cudaMallocHost");
}
cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total) {
  *free = free_bytes();
  *total = memory_limit();
  return cudaSuccess;
}

cudaError_t cudaMemcpy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind) {
  const cudaError_t error = copy("cudaMemcpy", to, from, bytes, kind, nullptr);
  if (error == cudaSuccess) count([](Counters& c) { ++c.synchronizations; });
  return error;
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream) {
  return copy("cudaMemcpyAsync", to, from, bytes, kind, stream);
}
cudaError_t cudaMemset(void* to, int value, std::size_t bytes) {
  return set("cudaMemset", to, value, bytes, nullptr);
}
cudaError_t cudaMemsetAsync(void* to, int value, std::size_t bytes, cudaStream_t stream) {
  return set("cudaMemsetAsync", to, value, bytes, stream);
}
