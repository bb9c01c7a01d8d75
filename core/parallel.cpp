// The only parallel region of the library. Exceptions must not leave it (that would end the process), so each
// block's is caught inside.
#include "core/parallel.h"

#include <omp.h>
#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <limits>
#include <memory>

#include "core/check.h"

namespace norma {
namespace {

constexpr int most_threads = 1024;

std::atomic<bool> forked{false};

// Made at first use, so that a process which forks before it uses the library keeps its threads.
std::atomic<int>& thread_count() {
  static std::atomic<int> count = [] {
    pthread_atfork(nullptr, nullptr, [] { forked.store(true, std::memory_order_relaxed); });
    return std::clamp(omp_get_max_threads(), 1, most_threads);
  }();
  return count;
}

// Keeps the exception of the lowest block. Blocks below it always run, so which one is rethrown does not
// depend on threads.
class FirstException {
 public:
  bool skips(std::int64_t index) const { return index > lowest_.load(std::memory_order_relaxed); }

  void take(std::int64_t index) {
#pragma omp critical(norma_first_exception)
    if (index < lowest_.load(std::memory_order_relaxed)) {
      lowest_.store(index, std::memory_order_relaxed);
      exception_ = std::current_exception();
    }
  }

  void rethrow() const {
    if (exception_) std::rethrow_exception(exception_);
  }

 private:
  std::atomic<std::int64_t> lowest_{std::numeric_limits<std::int64_t>::max()};
  std::exception_ptr exception_;
};

// The blocks [next, end) of a thread, from which others take as well once they have none of their own left.
// On a line of the cache of its own.
struct alignas(64) Share {
  std::atomic<std::int64_t> next;
  std::int64_t end;
};

class Shares {
 public:
  Shares(std::int64_t blocks, int threads) : threads_(threads) {
    if (threads > few) many_ = std::make_unique<Share[]>(static_cast<std::size_t>(threads));
    share_ = threads > few ? many_.get() : few_;
    for (std::int64_t i = 0; i < threads; ++i) {
      share_[i].next.store(blocks * i / threads, std::memory_order_relaxed);
      share_[i].end = blocks * (i + 1) / threads;
    }
  }
  /// Calls run(block) for all blocks of this thread, then for what is left of the others'.
  template <class Run>
  void run_from(int thread, const Run& run) {
    for (int i = 0; i < threads_; ++i) {
      Share& share = share_[(thread + i) % threads_];
      while (true) {
        const std::int64_t block = share.next.fetch_add(1, std::memory_order_relaxed);
        if (block >= share.end) break;
        run(block);
      }
    }
  }

 private:
  static constexpr int few = 16;
  int threads_;
  Share few_[few];
  std::unique_ptr<Share[]> many_;
  Share* share_;
};

}  // namespace

void set_num_threads(int threads) {
  NORMA_CHECK(threads >= 1 && threads <= most_threads, "set_num_threads: needs 1 to ", most_threads, ", got ",
              threads);
  thread_count().store(threads, std::memory_order_relaxed);
}

int num_threads() {
  const int threads = thread_count().load(std::memory_order_relaxed);
  return detail::after_fork() ? 1 : threads;
}

int threads_here() { return omp_in_parallel() ? 1 : num_threads(); }

namespace detail {

bool after_fork() { return forked.load(std::memory_order_relaxed); }

void parallel_blocks(std::int64_t n, std::int64_t block, BlockBody body, void* context) {
  NORMA_ASSERT(block > 0);
  if (n <= 0) return;
  const std::int64_t blocks = (n - 1) / block + 1;
  const auto run = [=](std::int64_t index) {
    const std::int64_t begin = index * block;
    body(context, begin, begin + std::min(block, n - begin));
  };
  const int threads = blocks == 1 ? 1 : static_cast<int>(std::min<std::int64_t>(blocks, threads_here()));
  if (threads == 1) {
    for (std::int64_t index = 0; index < blocks; ++index) run(index);
    return;
  }
  FirstException first;
  Shares shares(blocks, threads);
#pragma omp parallel num_threads(threads)
  shares.run_from(omp_get_thread_num(), [&](std::int64_t index) {
    if (first.skips(index)) return;
    try {
      run(index);
    } catch (...) {
      first.take(index);
    }
  });
  first.rethrow();
}

}  // namespace detail
}  // namespace norma
