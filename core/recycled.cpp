#include "core/recycled.h"

#include "core/sanitizer.h"

namespace norma::detail {

constinit thread_local FreeBlocks free_blocks;

void FreeBlocks::close() noexcept {
  state_ = State::closed;
  for (std::size_t list = 0; list < lists; ++list) {
    while (Block* const block = first_[list]) {
      first_[list] = block->next;
      ::operator delete(block);
    }
    count_[list] = 0;
  }
}

// What is freed after the thread's other objects have ended (by static ones) goes to the system at once;
// under AddressSanitizer all does, so that uses after the end are found.
bool FreeBlocks::open() noexcept {
  if (NORMA_ASAN || state_ == State::closed) return false;
  struct Closing {
    ~Closing() { free_blocks.close(); }
  };
  state_ = State::open;
  static thread_local const Closing at_end;
  return true;
}

}  // namespace norma::detail
