#include "core/shape.h"

#include "core/device.h"
#include "core/dtype.h"
#include "tests/core/support.h"

using namespace norma;
using namespace norma::tests;

TEST_CASE("a shape knows its extents, rank and number of elements") {
  const Shape shape{2, 3, 4};
  CHECK(shape.rank() == 3);
  CHECK(shape.numel() == 24);
  CHECK(shape[0] == 2);
  CHECK(shape[-1] == 4);
  CHECK(Shape{}.numel() == 1);
  CHECK(Shape{0, 7}.numel() == 0);
  CHECK(shape == Shape{2, 3, 4});
  CHECK_FALSE(shape == Shape{2, 3});
  CHECK_FALSE(shape == Shape{2, 3, 5});
}

TEST_CASE("a shape is changed one extent at a time") {
  const Shape shape{2, 3, 4};
  CHECK(shape.with(-1, 9) == Shape{2, 3, 9});
  CHECK(shape.with(0, 0).numel() == 0);
  CHECK(shape.inserted(0, 5) == Shape{5, 2, 3, 4});
  CHECK(shape.inserted(-1, 5) == Shape{2, 3, 4, 5});
  CHECK(shape.inserted(1, 5) == Shape{2, 5, 3, 4});
  CHECK(shape.removed(1) == Shape{2, 4});
  CHECK(shape.removed(-1) == Shape{2, 3});
  CHECK(Shape{3}.removed(0) == Shape{});
  CHECK_THROWS_AS(shape.with(3, 1), Error);
  CHECK_THROWS_AS(shape.removed(-4), Error);
  CHECK_THROWS_AS(shape.with(0, -1), Error);
}

TEST_CASE("contiguous strides are row-major") {
  const auto strides = contiguous_strides({2, 3, 4});
  CHECK(strides[0] == 12);
  CHECK(strides[1] == 4);
  CHECK(strides[2] == 1);
}

TEST_CASE("R84 a shape whose product overflows throws") {
  CHECK_THROWS_AS((Shape{std::int64_t{1} << 40, std::int64_t{1} << 40}), Error);
  CHECK_THROWS_AS((Shape{std::int64_t{1} << 32, std::int64_t{1} << 31}), Error);
  CHECK_THROWS_AS((Shape{0, std::int64_t{1} << 40, std::int64_t{1} << 40}), Error);  // its strides overflow
  CHECK(Shape{std::int64_t{1} << 32, std::int64_t{1} << 30}.numel() == std::int64_t{1} << 62);
}

TEST_CASE("R85 negative extents and too many axes throw") {
  CHECK(contains(message_of([] { Shape{2, -1}; }), "[2, -1]"));
  CHECK(Shape{1, 1, 1, 1, 1, 1, 1, 1}.rank() == max_rank);
  CHECK_THROWS_AS((Shape{1, 1, 1, 1, 1, 1, 1, 1, 1}), Error);
  CHECK_THROWS_AS((Shape{1, 1, 1, 1, 1, 1, 1, 1}.inserted(0, 1)), Error);
}

TEST_CASE("axes count from either end, and out of range throw with the op's name") {
  CHECK(normalize_axis(2, 3, "sum") == 2);
  CHECK(normalize_axis(-3, 3, "sum") == 0);
  CHECK(message_of([] { normalize_axis(3, 3, "sum"); }) == "sum: axis 3 out of range for rank 3");
  CHECK_THROWS_AS(normalize_axis(-4, 3, "sum"), Error);
  CHECK_THROWS_AS(normalize_axis(0, 0, "sum"), Error);
}

TEST_CASE("R92 broadcasting aligns trailing axes, and throws with both shapes") {
  CHECK(broadcast_shapes({2, 1, 4}, {3, 1}, "add") == Shape{2, 3, 4});
  CHECK(broadcast_shapes({}, {3}, "add") == Shape{3});
  CHECK(broadcast_shapes({0}, {1}, "add") == Shape{0});
  CHECK(broadcast_shapes({5, 0}, {1}, "add") == Shape{5, 0});
  const std::string message = message_of([] { broadcast_shapes({2, 3}, {4, 2}, "add"); });
  CHECK(contains(message, "add"));
  CHECK(contains(message, "[2, 3]"));
  CHECK(contains(message, "[4, 2]"));
  CHECK_THROWS_AS(broadcast_shapes({0}, {2}, "add"), Error);
}

TEST_CASE("messages are made of their parts") {
  CHECK(detail::concat("x ", Shape{4, 8}, " ", f64, " ", cuda, " ", 0.1, " ", -3, " ", true, 'c') ==
        "x [4, 8] f64 cuda 0.1 -3 truec");
  CHECK(detail::concat(1e300, " ", std::int64_t{INT64_MIN}, " ", Shape{}) ==
        "1e+300 -9223372036854775808 []");
  CHECK(std::string(name(boolean)) == "bool");
  CHECK(std::string(name(reference)) == "reference");
}

TEST_CASE("a broken invariant is a Bug with file and line") {
  try {
    NORMA_ASSERT(1 + 1 == 3);
    FAIL("expected norma::Bug");
  } catch (const Bug& bug) {
    CHECK(contains(bug.what(), "tests/core/shape.cpp:"));
    CHECK(contains(bug.what(), "1 + 1 == 3"));
  }
}
