// The one door to threads. Work is cut into blocks of a fixed size, whatever the number of threads: results
// that are combined block by block, in order, do not depend on threads. Each thread has a share of
// neighbouring blocks, the same in every call, and one that is done before the others helps them.
#pragma once

#include <cstdint>
#include <type_traits>

namespace norma {

/// Number of threads that kernels use, in [1, 1024]. Starts as OMP_NUM_THREADS or the number of cores.
void set_num_threads(int threads);
int num_threads();
/// Those that a parallel_for called here would use at most: 1 inside a parallel region.
int threads_here();

namespace detail {
using BlockBody = void (*)(void* context, std::int64_t begin, std::int64_t end);
void parallel_blocks(std::int64_t n, std::int64_t block, BlockBody body, void* context);
/// True in a child made by fork() after threads were used: they are gone, so num_threads() is 1 for good, and
/// other thread pools (BLAS) must be kept to one thread as well.
bool after_fork();
}  // namespace detail

/// Calls body(begin, end) for the blocks [0, block), [block, 2 block), ... of [0, n), in parallel when there
/// is more than one. The first exception thrown by a block (lowest index) is rethrown here, after all have
/// stopped. Called from inside a parallel region (its own or a user's), or in a child after fork(), it runs
/// serially.
template <class Body>
void parallel_for(std::int64_t n, std::int64_t block, Body&& body) {
  detail::parallel_blocks(
      n, block,
      [](void* context, std::int64_t begin, std::int64_t end) {
        (*static_cast<std::remove_reference_t<Body>*>(context))(begin, end);
      },
      const_cast<void*>(static_cast<const void*>(&body)));
}

}  // namespace norma
