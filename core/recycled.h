// Memory of small objects that come and go by the thousand: nodes of the graph, states of tensors. Each
// thread keeps what it freed and hands it out again, without a lock.
#pragma once

#include <cstddef>
#include <memory>
#include <new>
#include <utility>

namespace norma {

namespace detail {

/// The free blocks of a thread, in lists by size.
class FreeBlocks {
 public:
  void* take(std::size_t bytes) {
    const std::size_t list = list_of(bytes);
    if (list >= lists || first_[list] == nullptr) return ::operator new((list + 1) * step);
    Block* const block = first_[list];
    first_[list] = block->next;
    --count_[list];
    return block;
  }
  void give_back(void* memory, std::size_t bytes) noexcept {
    const std::size_t list = list_of(bytes);
    if (list >= lists || count_[list] >= most_bytes / ((list + 1) * step) || !is_open())
      return ::operator delete(memory);
    first_[list] = new (memory) Block{first_[list]};
    ++count_[list];
  }
  /// Returns all to the system; from then on nothing is kept.
  void close() noexcept;

 private:
  struct Block {
    Block* next;
  };
  enum class State : char { unused, open, closed };
  static constexpr std::size_t lists = 16, step = 64, most_bytes = std::size_t{1} << 20;  // of a list

  static std::size_t list_of(std::size_t bytes) { return (bytes - 1) / step; }
  bool is_open() noexcept { return state_ == State::open || open(); }
  bool open() noexcept;

  Block* first_[lists] = {};
  std::size_t count_[lists] = {};
  State state_ = State::unused;
};

extern constinit thread_local FreeBlocks free_blocks;

}  // namespace detail

/// An allocator for std::allocate_shared.
template <class T>
struct Recycling {
  using value_type = T;
  Recycling() = default;
  template <class U>
  Recycling(const Recycling<U>&) {}
  T* allocate(std::size_t n) {
    static_assert(alignof(T) <= __STDCPP_DEFAULT_NEW_ALIGNMENT__);
    return static_cast<T*>(detail::free_blocks.take(n * sizeof(T)));
  }
  void deallocate(T* memory, std::size_t n) noexcept { detail::free_blocks.give_back(memory, n * sizeof(T)); }
  template <class U>
  friend bool operator==(const Recycling&, const Recycling<U>&) {
    return true;
  }
};

/// std::make_shared in such memory.
template <class T, class... Arguments>
std::shared_ptr<T> make_recycled(Arguments&&... arguments) {
  return std::allocate_shared<T>(Recycling<T>(), std::forward<Arguments>(arguments)...);
}

}  // namespace norma
