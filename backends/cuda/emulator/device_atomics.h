// Atomics and fences. Blocks run on several host threads, so these are real atomics.
#pragma once

#include <atomic>

#include "backends/cuda/emulator/device_language.h"

namespace norma::emulator {

/// *address = update(*address), in one step; returns what was there.
template <class T, class Update>
T read_modify_write(T* address, Update update) {
  std::atomic_ref<T> cell(*address);
  T old = cell.load();
  while (!cell.compare_exchange_weak(old, update(old))) {
  }
  return old;
}

}  // namespace norma::emulator

template <class T>
T atomicAdd(T* address, std::type_identity_t<T> value) {
  return norma::emulator::read_modify_write(address, [=](T old) { return static_cast<T>(old + value); });
}
template <class T>
T atomicSub(T* address, std::type_identity_t<T> value) {
  return norma::emulator::read_modify_write(address, [=](T old) { return static_cast<T>(old - value); });
}
template <class T>
T atomicMax(T* address, std::type_identity_t<T> value) {
  static_assert(std::is_integral_v<T>, "atomicMax: integers only");
  return norma::emulator::read_modify_write(address, [=](T old) { return old < value ? value : old; });
}
template <class T>
T atomicMin(T* address, std::type_identity_t<T> value) {
  static_assert(std::is_integral_v<T>, "atomicMin: integers only");
  return norma::emulator::read_modify_write(address, [=](T old) { return value < old ? value : old; });
}
template <class T>
T atomicAnd(T* address, std::type_identity_t<T> value) {
  return norma::emulator::read_modify_write(address, [=](T old) { return static_cast<T>(old & value); });
}
template <class T>
T atomicOr(T* address, std::type_identity_t<T> value) {
  return norma::emulator::read_modify_write(address, [=](T old) { return static_cast<T>(old | value); });
}
template <class T>
T atomicXor(T* address, std::type_identity_t<T> value) {
  return norma::emulator::read_modify_write(address, [=](T old) { return static_cast<T>(old ^ value); });
}
inline unsigned atomicInc(unsigned* address, unsigned limit) {
  return norma::emulator::read_modify_write(address,
                                            [=](unsigned old) { return old >= limit ? 0u : old + 1; });
}
template <class T>
T atomicExch(T* address, std::type_identity_t<T> value) {
  return std::atomic_ref<T>(*address).exchange(value);
}
/// A thread that waits for another one in a loop around this lets the other one run.
template <class T>
T atomicCAS(T* address, std::type_identity_t<T> compare, std::type_identity_t<T> value) {
  static_assert(std::is_integral_v<T>, "atomicCAS: integers only");
  T old = compare;
  if (!std::atomic_ref<T>(*address).compare_exchange_strong(old, value)) norma::emulator::yield();
  return old;
}

inline void __threadfence() { std::atomic_thread_fence(std::memory_order_seq_cst); }
inline void __threadfence_block() { __threadfence(); }
inline void __threadfence_system() { __threadfence(); }
