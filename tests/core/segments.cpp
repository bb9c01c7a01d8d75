#include "core/segments.h"

#include <array>
#include <map>
#include <vector>

#include "tests/core/support.h"

using namespace norma;

namespace {

// Memory that is only an address: pieces are never touched.
std::array<char, 1 << 16> memory;

std::map<void*, std::int64_t> removed_from(Segments& segments) {
  std::map<void*, std::int64_t> removed;
  segments.remove_free([&](void* data, std::int64_t bytes) { removed.emplace(data, bytes); });
  return removed;
}

}  // namespace

TEST_CASE("pieces come from what was free, the smallest that fits, else from untouched memory") {
  Segments segments;
  CHECK(segments.take(1) == nullptr);
  CHECK(segments.take_fresh(1) == nullptr);
  segments.add(memory.data(), 1000);
  CHECK(segments.take(1) == nullptr);  // free is what was given back
  char* const a = static_cast<char*>(segments.take_fresh(300));
  char* const b = static_cast<char*>(segments.take_fresh(100));
  char* const c = static_cast<char*>(segments.take_fresh(200));
  char* const d = static_cast<char*>(segments.take_fresh(400));
  CHECK((a == memory.data() && b == a + 300 && c == b + 100 && d == c + 200));
  CHECK(segments.take_fresh(1) == nullptr);
  CHECK(segments.give_back(a, true));
  CHECK(segments.give_back(c, true));
  CHECK(segments.take(150) == c);       // 200 is less than 300
  CHECK(segments.take(50) == c + 150);  // its rest
  CHECK(segments.take(301) == nullptr);
  CHECK(segments.take(300) == a);
}

TEST_CASE("free neighbours are joined on both sides, within their segment") {
  Segments segments;
  segments.add(memory.data(), 300);
  void* const a = segments.take_fresh(100);
  void* const b = segments.take_fresh(100);
  void* const c = segments.take_fresh(100);
  segments.add(memory.data() + 300, 300);  // the next segment begins where the first ends
  void* const d = segments.take_fresh(300);
  for (void* piece : {a, c, d, b}) CHECK(segments.give_back(piece, true));
  CHECK(segments.take(400) == nullptr);
  CHECK(segments.take(300) == a);
  CHECK(segments.take(300) == d);
}

TEST_CASE("pieces that stay as they are") {
  Segments segments;
  segments.add_whole(memory.data(), 1000);
  CHECK(!segments.take_at(memory.data(), 1000));  // not free
  CHECK(segments.give_back(memory.data(), false));
  std::int64_t bytes = 500;
  CHECK(segments.take_whole(bytes) == nullptr);  // twice as large is too large
  bytes = 501;
  CHECK(segments.take_whole(bytes) == memory.data());
  CHECK(bytes == 1000);
  CHECK(segments.give_back(memory.data(), false));
  CHECK(!segments.take_at(memory.data(), 999));
  CHECK(!segments.take_at(memory.data() + 1, 1000));
  CHECK(segments.take_at(memory.data(), 1000));
}

TEST_CASE("a segment goes when nothing of it is taken") {
  Segments segments;
  segments.add_whole(memory.data(), 100);
  segments.add(memory.data() + 1000, 1000);
  void* const a = segments.take_fresh(300);
  void* const b = segments.take_fresh(200);
  CHECK(segments.give_back(a, true));
  CHECK(removed_from(segments).empty());
  CHECK(segments.give_back(b, true));
  CHECK(removed_from(segments) == std::map<void*, std::int64_t>{{a, 500}});
  CHECK(segments.take_fresh(1) == nullptr);  // its untouched rest went with it
  CHECK(segments.give_back(memory.data(), true));
  CHECK(removed_from(segments) == std::map<void*, std::int64_t>{{memory.data(), 100}});
  CHECK(removed_from(segments).empty());
}
