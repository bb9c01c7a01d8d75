#include "core/allocator.h"

#include <atomic>
#include <optional>
#include <thread>

#include "core/captured_work.h"
#include "core/sanitizer.h"
#include "tests/core/support.h"

using namespace norma;
using namespace norma::tests;

namespace {

// Starts from empty caches and leaves no cap behind.
struct CleanAllocator {
  CleanAllocator() { release_cached_memory(cpu); }
  ~CleanAllocator() { set_memory_cap(cpu, 0); }
};

thread_local Array freed_at_thread_exit;

std::int64_t asked() { return memory_stats(cpu).system_allocations; }

}  // namespace

TEST_CASE("a freed block is handed out again") {
  const CleanAllocator clean;
  for (const std::int64_t bytes : {1, 1000, 60000, 70000, 1000000, 5000000}) {
    release_cached_memory(cpu);
    const MemoryStats before = memory_stats(cpu);
    void* first = nullptr;
    {
      const Storage storage(bytes, cpu);
      first = storage.data();
      CHECK(storage.bytes() == bytes);
      CHECK(memory_stats(cpu).live_bytes >= before.live_bytes + bytes);
      CHECK(memory_stats(cpu).live_blocks == before.live_blocks + 1);
    }
    CHECK(memory_stats(cpu).live_bytes == before.live_bytes);
    CHECK(memory_stats(cpu).live_blocks == before.live_blocks);
    CHECK(memory_stats(cpu).cached_bytes >= before.cached_bytes + bytes);
    CHECK(asked() == before.system_allocations + 1);
    const Storage again(bytes, cpu);
    CHECK(again.data() == first);
    CHECK(asked() == before.system_allocations + 1);
  }
}

TEST_CASE("blocks are aligned to 64 bytes and their sizes rounded to 512 bytes") {
  const CleanAllocator clean;
  const auto taken = [](std::int64_t bytes) {
    const std::int64_t before = memory_stats(cpu).live_bytes;
    const Storage storage(bytes, cpu);
    CHECK(reinterpret_cast<std::uintptr_t>(storage.data()) % 64 == 0);
    return memory_stats(cpu).live_bytes - before;
  };
  CHECK(taken(1) == 512);
  CHECK(taken(512) == 512);
  CHECK(taken(513) == 1024);
  CHECK(taken(1 << 20) == 1 << 20);
  release_cached_memory(cpu);
  CHECK(taken((1 << 20) + 1) == (1 << 20) + 512);
  CHECK(taken((4 << 20) + 1) == (4 << 20) + 512);
}

TEST_CASE("under a cap the smallest cached block that fits is taken, if it is less than twice as large") {
  const CleanAllocator clean;
  set_memory_cap(cpu, std::int64_t{1} << 40);
  { const Storage a(10 << 20, cpu), b(12 << 20, cpu); }
  const std::int64_t before = asked();
  {
    const std::int64_t live = memory_stats(cpu).live_bytes;
    const Storage fits(8 << 20, cpu);
    CHECK(asked() == before);
    CHECK(memory_stats(cpu).live_bytes == live + (10 << 20));
  }
  const Storage too_small(4 << 20, cpu);
  CHECK(asked() == before + 1);
}

#if !NORMA_ASAN  // which watches each block of the system
TEST_CASE("large blocks are cut from free memory and joined again") {
  const CleanAllocator clean;
  { const Storage a(10 << 20, cpu), b(12 << 20, cpu); }
  const MemoryStats before = memory_stats(cpu);
  for (int round = 0; round < 2; ++round) {
    { const Storage small(4 << 20, cpu), other(5 << 20, cpu), third(6 << 20, cpu); }
    const Storage large(22 << 20, cpu);
    CHECK(memory_stats(cpu).live_bytes == before.live_bytes + (22 << 20));
    CHECK(asked() == before.system_allocations);
  }
  CHECK(memory_stats(cpu).cached_bytes == before.cached_bytes);
}
#endif

TEST_CASE("released caches go back to the system") {
  const CleanAllocator clean;
  { const Storage a(300, cpu), b(3 << 20, cpu); }
  CHECK(memory_stats(cpu).cached_bytes == 512 + (3 << 20));
  release_cached_memory(cpu);
  CHECK(memory_stats(cpu).cached_bytes == 0);
  const std::int64_t before = asked();
  const Storage again(300, cpu);
  CHECK(asked() == before + 1);
}

TEST_CASE("the peak is kept until it is reset") {
  const CleanAllocator clean;
  reset_peak_memory(cpu);
  const std::int64_t live = memory_stats(cpu).live_bytes;
  CHECK(memory_stats(cpu).peak_bytes == live);
  { const Storage a(4 << 20, cpu); }
  { const Storage b(2 << 20, cpu); }
  CHECK(memory_stats(cpu).peak_bytes == live + (4 << 20));
  reset_peak_memory(cpu);
  CHECK(memory_stats(cpu).peak_bytes == live);
}

TEST_CASE("above the cap cached blocks are dropped first, then OutOfMemory is thrown") {
  const CleanAllocator clean;
  const std::int64_t live = memory_stats(cpu).live_bytes;
  set_memory_cap(cpu, live + (10 << 20));
  { const Storage small(4 << 20, cpu); }
  {
    const Storage large(10 << 20, cpu);  // fits only without the 4 MiB in the cache
    CHECK(memory_stats(cpu).cached_bytes == 0);
    try {
      const Storage more(100, cpu);
      FAIL("expected OutOfMemory");
    } catch (const OutOfMemory& error) {
      CHECK(contains(error.what(), "cpu"));
      CHECK(contains(error.what(), "asked for 100 bytes"));
      CHECK(contains(error.what(), detail::concat(live + (10 << 20))));
    }
  }
  CHECK(memory_stats(cpu).live_bytes == live);
  set_memory_cap(cpu, 0);
  const Storage unlimited(12 << 20, cpu);
  CHECK_THROWS_AS(set_memory_cap(cpu, -1), Error);
}

TEST_CASE("R87 a request that no system can meet throws, and the library goes on") {
  const MemoryStats before = memory_stats(cpu);
  for (const std::int64_t bytes : {std::int64_t{1} << 60, INT64_MAX}) {
    CHECK_THROWS_AS(Storage(bytes, cpu), OutOfMemory);
  }
  CHECK_THROWS_AS(Array::empty({std::int64_t{1} << 58}, f32), OutOfMemory);
  CHECK(memory_stats(cpu).live_bytes == before.live_bytes);
  CHECK(memory_stats(cpu).live_blocks == before.live_blocks);
  CHECK(Array::ones({3}).at({2}) == 1);
}

TEST_CASE("R84 a shape whose bytes overflow throws before allocating") {
  const std::int64_t before = asked();
  CHECK_THROWS_AS(Array::empty({std::int64_t{1} << 61}, f64), Error);
  CHECK_THROWS_AS(Storage(-1, cpu), Error);
  CHECK(asked() == before);
}

TEST_CASE("storage of no bytes takes no memory") {
  const MemoryStats before = memory_stats(cpu);
  const Storage storage(0, cpu);
  CHECK(storage.data() == nullptr);
  CHECK(memory_stats(cpu).live_blocks == before.live_blocks);
  CHECK(memory_stats(cpu).system_allocations == before.system_allocations);
}

TEST_CASE("each device has its own counters") {
  const std::int64_t on_cpu = memory_stats(cpu).live_bytes, on_reference = memory_stats(reference).live_bytes;
  const Storage storage(512, reference);
  CHECK(memory_stats(cpu).live_bytes == on_cpu);
  CHECK(memory_stats(reference).live_bytes == on_reference + 512);
}

TEST_CASE("threads allocate and free at once without sharing a block") {
  const MemoryStats before = memory_stats(cpu);
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int number = 0; number < 4; ++number) {
    threads.emplace_back([&wrong, number] {
      for (int i = 0; i < 500; ++i) {
        const Storage storage(400 + 4000 * (i % 40), cpu);
        auto* const bytes = static_cast<unsigned char*>(storage.data());
        for (int k = 0; k < 400; ++k) bytes[k] = static_cast<unsigned char>(number);
        for (int k = 0; k < 400; ++k) wrong += bytes[k] != number;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong == 0);
  CHECK(memory_stats(cpu).live_bytes == before.live_bytes);
}

TEST_CASE("a reservation keeps the blocks of captured work apart") {
  const CleanAllocator clean;
  for (const std::int64_t bytes : {1000, 3000000}) {
    const MemoryStats before = memory_stats(cpu);
    const auto place_of_new = [&] { return Storage(bytes, cpu).data(); };
    void* const cached = place_of_new();
    void *freed = nullptr, *kept_place = nullptr;
    std::optional<Storage> kept;
    {
      MemoryReservation reservation(cpu);
      CHECK_THROWS_AS(MemoryReservation{cpu}, Error);
      freed = place_of_new();
      CHECK(freed == cached);          // what was free before serves the capture,
      CHECK(place_of_new() == freed);  // again and again
      kept_place = kept.emplace(bytes, cpu).data();
      release_cached_memory(cpu);  // leaves alone what captured work may use
      reservation.close();
      const Storage other(bytes, cpu);
      CHECK((other.data() != freed && other.data() != kept_place));
      kept.reset();
      CHECK(place_of_new() != kept_place);
      CHECK(memory_stats(cpu).reserved_bytes > before.reserved_bytes);
    }
    CHECK(memory_stats(cpu).reserved_bytes == before.reserved_bytes);
    CHECK(memory_stats(cpu).live_bytes == before.live_bytes);
    const Storage first(bytes, cpu), second(bytes, cpu), third(bytes, cpu);
    const bool found =
        first.data() == kept_place || second.data() == kept_place || third.data() == kept_place;
    CHECK(found);
    release_cached_memory(cpu);
  }
}

TEST_CASE("work is captured on cuda only") {
  bool ran = false;
  CHECK_THROWS_AS(CapturedWork(cpu, [&] { ran = true; }), Error);
  CHECK(!ran);
  CHECK_NOTHROW(MemoryReservation{cpu});
}

TEST_CASE("R80 the last reference may go in another thread or after main") {
  const std::int64_t before = memory_stats(cpu).live_bytes;
  Array x = Array::ones({1000});
  CHECK(memory_stats(cpu).live_bytes > before);
  std::thread([moved = std::move(x)] { (void)moved; }).join();
  CHECK(memory_stats(cpu).live_bytes == before);
  static Array freed_after_main;
  freed_after_main = Array::ones({3});
  freed_at_thread_exit = Array::ones({300000});
  std::thread([] { freed_at_thread_exit = Array::ones({3}); }).join();
  CHECK(freed_after_main.at({0}) == 1);
}
