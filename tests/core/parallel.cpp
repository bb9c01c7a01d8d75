#include "core/parallel.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <mutex>
#include <set>
#include <thread>

#include "core/random.h"
#include "tests/core/support.h"

using namespace norma;
using namespace norma::tests;

TEST_CASE("parallel_for visits every index once, in the given blocks") {
  for (const int threads : {1, 2, 3, 4}) {
    const Threads scope(threads);
    for (const std::int64_t n : {0, 1, 9, 10, 11, 1000}) {
      std::vector<int> visits(static_cast<std::size_t>(n));
      std::atomic<int> wrong{0};
      parallel_for(n, 10, [&](std::int64_t begin, std::int64_t end) {
        if (begin % 10 != 0 || end != std::min(begin + 10, n)) ++wrong;
        for (std::int64_t i = begin; i < end; ++i) ++visits[static_cast<std::size_t>(i)];
      });
      CHECK(wrong == 0);
      CHECK(visits == std::vector<int>(static_cast<std::size_t>(n), 1));
    }
  }
}

// Until it holds, or ten seconds are over.
template <class Condition>
void wait_until(const Condition& condition) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (!condition() && std::chrono::steady_clock::now() < end) std::this_thread::yield();
}

TEST_CASE("parallel_for uses the threads it may") {
  const Threads scope(3);
  std::mutex mutex;
  std::set<std::thread::id> seen;
  parallel_for(30, 1, [&](std::int64_t, std::int64_t) {
    const auto all_came = [&] {
      const std::lock_guard lock(mutex);
      seen.insert(std::this_thread::get_id());
      return seen.size() == 3;
    };
    wait_until(all_came);
  });
  CHECK(seen.size() == 3);
}

TEST_CASE("a thread that is done takes over the blocks of one that is not") {
  const Threads scope(2);
  for (const std::int64_t slow : {0, 19}) {  // of the one share, of the other
    std::atomic<int> done = 0;
    bool others_were_done = false;
    parallel_for(20, 1, [&](std::int64_t block, std::int64_t) {
      if (block == slow) {
        wait_until([&] { return done == 19; });
        others_were_done = done == 19;
      }
      ++done;
    });
    CHECK(others_were_done);
    CHECK(done == 20);
  }
}

TEST_CASE("the number of threads is checked") {
  const Threads scope(2);
  CHECK(num_threads() == 2);
  for (const int threads : {0, -1, 1025}) CHECK_THROWS_AS(set_num_threads(threads), Error);
  CHECK(num_threads() == 2);
}

TEST_CASE("R94 the exception of the lowest block reaches the caller, for any number of threads") {
  for (const int threads : {1, 2, 3, 4}) {
    const Threads scope(threads);
    for (int repeat = 0; repeat < 20; ++repeat) {
      std::atomic<int> running{0};
      const std::string message = message_of([&] {
        parallel_for(100, 1, [&](std::int64_t begin, std::int64_t) {
          ++running;
          const bool fails = begin == 37 || begin == 60 || begin == 99;
          --running;
          NORMA_CHECK(!fails, "block ", begin);
        });
      });
      CHECK(message == "block 37");
      CHECK(running == 0);
    }
    std::atomic<int> blocks{0};  // usable afterwards
    parallel_for(100, 1, [&](std::int64_t, std::int64_t) { ++blocks; });
    CHECK(blocks == 100);
  }
}

TEST_CASE("R95 sums of blocks combined in order are bitwise equal for any number of threads") {
  constexpr std::int64_t n = 100000, block = 1024;
  std::vector<float> values(n);
  Generator generator(1);
  for (float& value : values) value = static_cast<float>(generator.uniform() - 0.5);
  const auto sum = [&] {
    std::vector<float> parts((n + block - 1) / block);
    parallel_for(n, block, [&](std::int64_t begin, std::int64_t end) {
      float part = 0;
      for (std::int64_t i = begin; i < end; ++i) part += values[static_cast<std::size_t>(i)];
      parts[static_cast<std::size_t>(begin / block)] = part;
    });
    float total = 0;
    for (const float part : parts) total += part;
    return total;
  };
  std::set<float> results;
  for (const int threads : {1, 2, 3, 4, 7}) {
    const Threads scope(threads);
    results.insert(sum());
  }
  CHECK(results.size() == 1);
}

TEST_CASE("R98 a parallel_for inside a parallel_for runs on the thread that calls it") {
  const Threads scope(2);
  std::atomic<std::int64_t> sum{0};
  std::atomic<int> strangers{0};
  parallel_for(4, 1, [&](std::int64_t outer, std::int64_t) {
    const auto self = std::this_thread::get_id();
    parallel_for(100, 10, [&](std::int64_t begin, std::int64_t end) {
      if (std::this_thread::get_id() != self) ++strangers;
      for (std::int64_t i = begin; i < end; ++i) sum += outer * 100 + i;
    });
  });
  CHECK(strangers == 0);
  CHECK(sum == 399 * 400 / 2);
}

TEST_CASE("R98 a parallel_for inside a user's parallel region is right and makes no threads") {
  const Threads scope(4);
  std::atomic<std::int64_t> sum{0};
  std::atomic<int> strangers{0};
#pragma omp parallel for num_threads(2)
  for (int outer = 0; outer < 4; ++outer) {
    const auto self = std::this_thread::get_id();
    parallel_for(100, 10, [&](std::int64_t begin, std::int64_t end) {
      if (std::this_thread::get_id() != self) ++strangers;
      for (std::int64_t i = begin; i < end; ++i) sum += outer * 100 + i;
    });
  }
  CHECK(strangers == 0);
  CHECK(sum == 399 * 400 / 2);
}

TEST_CASE("parallel_for may be called by several threads at once") {
  const Threads scope(2);
  std::vector<std::int64_t> sums(4);
  std::vector<std::thread> callers;
  for (std::int64_t& result : sums) {
    callers.emplace_back([&result] {
      std::atomic<std::int64_t> sum{0};
      parallel_for(1000, 10, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i) sum += i;
      });
      result = sum;
    });
  }
  for (std::thread& caller : callers) caller.join();
  CHECK(sums == std::vector<std::int64_t>(4, 499500));
}

TEST_CASE("R99 a child after fork runs on one thread and does not hang") {
  const Threads scope(2);
  parallel_for(100, 1, [](std::int64_t, std::int64_t) {});  // the pool exists now
  // Large enough for BLAS to use two threads.
  const Array a = Array::ones({256, 256}), b = Array::ones({256, 256}), c = Array::empty({256, 256});
  backend(cpu).matmul(c.view(), a.view(), b.view(), 1, 0);
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    alarm(30);  // a hang ends as a signal
    std::atomic<int> blocks{0};
    parallel_for(100, 1, [&](std::int64_t, std::int64_t) { ++blocks; });
    backend(cpu).matmul(c.view(), a.view(), b.view(), 2, 0);
    const bool right = blocks == 100 && num_threads() == 1 && detail::after_fork() && c.at({255, 255}) == 512;
    _exit(right ? 0 : 1);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
  CHECK_FALSE(detail::after_fork());
}
