#include "backends/cuda/emulator/block.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "backends/cuda/emulator/fault.h"
#include "backends/cuda/emulator/memory.h"

constinit thread_local uint3 threadIdx = {0, 0, 0}, blockIdx = {0, 0, 0};
constinit thread_local dim3 blockDim, gridDim;

namespace norma::emulator {

constinit thread_local std::uint64_t block_serial = 0;

namespace {

constinit thread_local BlockRunner* current_runner = nullptr;

// Thrown in lanes that wait for something that will not come, to unwind them.
struct Stopped {};

}  // namespace

BlockRunner::BlockRunner() { give_signal_stack(); }

BlockRunner& BlockRunner::of_this_thread() {
  static thread_local BlockRunner runner;
  return runner;
}

BlockRunner* BlockRunner::current() { return current_runner; }

void BlockRunner::run(const Launch& launch, const std::byte* values, const std::string& name,
                      uint3 block_index, std::uint64_t seed) {
  NORMA_CHECK(current_runner == nullptr, "kernel ", name,
              ": launched by a kernel; the emulator has no nested launches");
  kernel_ = launch.kernel;
  run_thread_ = launch.run;
  values_ = values;
  name_ = &name;
  seed_ = random_ = seed;
  gridDim = launch.grid;
  blockDim = launch.block;
  blockIdx = block_index;
  ++block_serial;
  count_ = launch.block.x * launch.block.y * launch.block.z;
  done_ = 0;
  error_ = nullptr;
  stopping_ = false;
  if (lanes_.size() < count_) lanes_.resize(count_);
  for (unsigned i = 0; i < count_; ++i) {
    lanes_[i].state = State::fresh;
    lanes_[i].fiber = nullptr;
  }
  prepare_shared_memory(launch.shared_bytes);
  current_runner = this;
  run_warps();
  current_runner = nullptr;
  if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
}

// Gives every lane its turns until all are done, or none can go on.
void BlockRunner::run_warps() {
  const unsigned warps = (count_ + warp_lanes - 1) / warp_lanes;
  while (done_ < count_) {
    const Order warp_order = order();
    bool gave_way = false;
    for (unsigned i = 0; i < warp_lanes && !stopping_; ++i) {
      warp_ = warp_order[i];
      if (warp_ >= warps) continue;
      do {
        lane_order_ = order();
        position_ = 0;
        if (Lane* lane = next_lane()) host_.switch_to(enter(*lane));
      } while (!stopping_ && finish_warp_operations(warp_));
      for (unsigned lane = 0; lane < lanes_of(warp_); ++lane)
        gave_way |= lanes_[warp_ * warp_lanes + lane].state == State::ready;
    }
    if (!stopping_ && (gave_way || done_ == count_ || finish_block_barrier())) continue;
    if (!stopping_) error_ = std::make_exception_ptr(KernelError(stuck()));
    stop_all();
    return;
  }
}

unsigned BlockRunner::lanes_of(unsigned warp) const {
  return std::min(warp_lanes, count_ - warp * warp_lanes);
}

// The next lane of the turn that can run, or nullptr.
Lane* BlockRunner::next_lane() {
  const unsigned lanes = lanes_of(warp_);
  while (position_ < warp_lanes) {
    const unsigned i = lane_order_[position_++];
    if (i >= lanes) continue;
    Lane& lane = lanes_[warp_ * warp_lanes + i];
    if (lane.state == State::fresh || lane.state == State::ready) return &lane;
  }
  return nullptr;
}

// Makes the lane the running one; the fiber it runs on is to be switched to.
Fiber& BlockRunner::enter(Lane& lane) {
  if (lane.fiber == nullptr) {
    if (idle_.empty()) {
      fibers_.push_back(std::make_unique<Fiber>(&BlockRunner::fiber_main, static_cast<int>(fibers_.size())));
      idle_.push_back(fibers_.back().get());
    }
    lane.fiber = idle_.back();
    idle_.pop_back();
  }
  if (lane.state == State::fresh) {
    const auto i = static_cast<unsigned>(&lane - lanes_.data());
    const unsigned row = i < blockDim.x ? 0 : i / blockDim.x;
    lane.index = row == 0 ? uint3{i, 0, 0} : uint3{i % blockDim.x, row % blockDim.y, row / blockDim.y};
    lane.state = State::ready;
  }
  running_ = &lane;
  threadIdx = lane.index;
  return *lane.fiber;
}

// Leaves a fiber for the next lane of the turn, or for the host's loop at its end.
void BlockRunner::leave(Fiber& from) {
  Lane* const next = stopping_ ? nullptr : next_lane();
  from.switch_to(next == nullptr ? host_ : enter(*next));
}

void BlockRunner::fiber_main() {
  BlockRunner& runner = *current_runner;
  fiber_arrived(*runner.running_->fiber);
  runner.run_lanes();
}

// The life of a fiber: a lane, then the next one of the turn if that has not started, or idle until called
// again.
void BlockRunner::run_lanes() {
  while (true) {
    Lane& lane = *running_;
    try {
      run_thread_(kernel_, values_);
    } catch (const Stopped&) {
    } catch (...) {
      if (!error_) error_ = std::current_exception();
      stopping_ = true;
    }
    lane.state = State::done;
    ++done_;
    Fiber& self = *std::exchange(lane.fiber, nullptr);
    Lane* const next = stopping_ ? nullptr : next_lane();
    if (next != nullptr && next->fiber == nullptr) {
      next->fiber = &self;
      enter(*next);
      continue;
    }
    idle_.push_back(&self);
    self.switch_to(next == nullptr ? host_ : enter(*next));
  }
}

std::uint64_t BlockRunner::wait(State state, const Operation& operation) {
  Lane& lane = *running_;
  lane.state = state;
  lane.waits_for = operation;
  leave(*lane.fiber);
  if (stopping_) throw Stopped{};
  return lane.result;
}

void BlockRunner::give_way() {
  leave(*running_->fiber);  // still ready, so it gets another turn
  if (stopping_) throw Stopped{};
}

// Unwinds the lanes that have begun.
void BlockRunner::stop_all() {
  stopping_ = true;
  for (unsigned i = 0; i < count_; ++i)
    if (lanes_[i].fiber != nullptr) host_.switch_to(enter(lanes_[i]));
}

void BlockRunner::prepare_shared_memory(std::size_t bytes) {
  if (bytes > shared_capacity_) {
    shared_capacity_ = std::bit_ceil(bytes);
    shared_buffer_ = std::make_unique<unsigned char[]>(shared_capacity_ + 64);
    const auto start = reinterpret_cast<std::uintptr_t>(shared_buffer_.get());
    shared_ = shared_buffer_.get() + (64 - start % 64);
  }
  if (shared_capacity_ == 0) return;
  allow(shared_, bytes);
  std::memset(shared_, poison_byte, bytes);
  forbid(shared_ + bytes, shared_capacity_ - bytes);
}

void BlockRunner::poison_shared_variables(std::uint64_t& marker) {
  marker = block_serial;
  auto found = shared_variables_.find(&marker);
  if (found == shared_variables_.end())
    found = shared_variables_.emplace(&marker, shared_variables_of(&marker)).first;
  for (const SharedVariable& variable : found->second)
    std::memset(reinterpret_cast<char*>(&marker) + variable.offset, poison_byte, variable.bytes);
}

bool BlockRunner::is_guard(const void* address) const {
  return std::any_of(fibers_.begin(), fibers_.end(),
                     [=](const auto& fiber) { return fiber->is_guard(address); });
}

// splitmix64 (Steele, Lea, Flood 2014).
std::uint64_t BlockRunner::random() {
  std::uint64_t z = random_ += 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

Order BlockRunner::order() { return seed_ == 0 ? Order() : Order(random()); }

}  // namespace norma::emulator
