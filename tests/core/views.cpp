#include <algorithm>

#include "tests/core/support.h"

using namespace norma;
using namespace norma::tests;

namespace {

Array permuted(const Array& x, const std::vector<int>& axes) { return x.permute(axes); }

}  // namespace

TEST_CASE("slices clip like Python's and share storage") {
  const Array x = Array::arange(0, 10);
  const auto slice = [&](Slice range) { return integers(x.slice(0, range)); };
  CHECK(slice({}) == integers(x));
  CHECK(slice({2, 5}) == Integers{2, 3, 4});
  CHECK(slice({1, 9, 3}) == Integers{1, 4, 7});
  CHECK(slice({-3}) == Integers{7, 8, 9});
  CHECK(slice({0, -8}) == Integers{0, 1});
  CHECK(slice({-100, 100, 4}) == Integers{0, 4, 8});
  CHECK(slice({5, 3}).empty());
  CHECK(slice({10}).empty());
  CHECK(slice({9, 10, INT64_MAX}) == Integers{9});
  CHECK(slice({INT64_MIN, INT64_MAX, INT64_MAX}) == Integers{0});
  CHECK_THROWS_AS(x.slice(0, {0, 5, 0}), Error);
  CHECK_THROWS_AS(x.slice(0, {0, 5, -1}), Error);
  CHECK_THROWS_AS(x.slice(1, {}), Error);
  x.slice(0, {1, 10, 4}).fill(-1);
  CHECK(integers(x) == Integers{0, -1, 2, 3, 4, -1, 6, 7, 8, -1});
}

TEST_CASE("slices of slices") {
  const Array x = counting({4, 6}).slice(1, {1, 6, 2}).slice(0, {-2});
  CHECK(x.shape() == Shape{2, 3});
  CHECK(integers(x) == Integers{13, 15, 17, 19, 21, 23});
  CHECK_FALSE(x.is_contiguous());
}

TEST_CASE("permute and transpose reorder axes") {
  const Array x = counting({2, 3, 4});
  const Array y = permuted(x, {2, 0, -2});
  CHECK(y.shape() == Shape{4, 2, 3});
  for (std::int64_t i = 0; i < 2; ++i)
    for (std::int64_t j = 0; j < 3; ++j)
      for (std::int64_t k = 0; k < 4; ++k) CHECK(y.at({k, i, j}) == x.at({i, j, k}));
  CHECK(x.transpose(0, -1).shape() == Shape{4, 3, 2});
  CHECK(integers(counting({2, 2}).transpose(0, 1)) == Integers{0, 2, 1, 3});
  CHECK_THROWS_AS(permuted(x, {0, 1}), Error);
  CHECK_THROWS_AS(permuted(x, {0, 1, 1}), Error);
  CHECK_THROWS_AS(permuted(x, {0, 1, 3}), Error);
  CHECK_THROWS_AS(permuted(x, {0, -3, 1}), Error);
  CHECK_THROWS_AS(x.transpose(0, 3), Error);
}

TEST_CASE("expand repeats without copying") {
  const Array x = counting({3, 1});
  const Array y = x.expand({2, 3, 2});
  CHECK(y.shares_storage(x));
  CHECK(integers(y) == Integers{0, 0, 1, 1, 2, 2, 0, 0, 1, 1, 2, 2});
  CHECK(y.strides()[0] == 0);
  CHECK(y.strides()[2] == 0);
  CHECK(x.expand({3, 0}).numel() == 0);
  CHECK(Array::full({}, 4).expand({2}).to_vector<float>() == std::vector<float>{4, 4});
  const std::string message = message_of([&] { x.expand({4, 2}); });
  CHECK(contains(message, "[3, 1]"));
  CHECK(contains(message, "[4, 2]"));
  CHECK_THROWS_AS(x.expand({3}), Error);
}

TEST_CASE("squeeze and unsqueeze remove and add axes of extent 1") {
  const Array x = counting({2, 1, 3});
  CHECK(x.squeeze(1).shape() == Shape{2, 3});
  CHECK(x.squeeze(-2).is_contiguous());
  CHECK(x.squeeze(0).shape() == Shape{2, 1, 3});  // as PyTorch: nothing to remove
  CHECK(x.unsqueeze(0).shape() == Shape{1, 2, 1, 3});
  CHECK(x.unsqueeze(-1).shape() == Shape{2, 1, 3, 1});
  CHECK(integers(x.transpose(0, 2).unsqueeze(1)) == integers(x.transpose(0, 2)));
  CHECK(Array::ones({}).unsqueeze(0).shape() == Shape{1});
  CHECK_THROWS_AS(x.squeeze(3), Error);
  CHECK_THROWS_AS(x.unsqueeze(4), Error);
  CHECK_THROWS_AS(Array::ones({1, 1, 1, 1, 1, 1, 1, 1}).unsqueeze(0), Error);
}

TEST_CASE("reshape infers one extent and checks the rest") {
  const Array x = counting({2, 3, 4});
  const auto reshaped = [&](const Integers& extents) { return x.reshape(std::span(extents)).shape(); };
  CHECK(reshaped({-1}) == Shape{24});
  CHECK(reshaped({4, -1}) == Shape{4, 6});
  CHECK(reshaped({2, -1, 4}) == Shape{2, 3, 4});
  for (const Integers& extents : {Integers{5, -1}, Integers{-1, -1}, Integers{0, -1}, Integers{24, 2},
                                  Integers{-2, -12}, Integers{INT64_MAX, 2}, Integers(9, 1)}) {
    CHECK_THROWS_AS(reshaped(extents), Error);
  }
  CHECK(Array::empty({0, 3}).reshape(Integers{-1, 3}).shape() == Shape{0, 3});
  CHECK(Array::empty({0, 3}).reshape(Shape{7, 0}).shape() == Shape{7, 0});
  CHECK(Array::ones({1, 1}).reshape(Shape{}).rank() == 0);
  CHECK(Array::ones({}).reshape(Shape{1, 1}).shape() == Shape{1, 1});
}

TEST_CASE("reshape is a view where the strides allow it") {
  const Array x = counting({2, 3, 4});
  const auto is_view = [](const Array& from, const Shape& to) {
    const Array y = from.reshape(to);
    CHECK(y.shape() == to);
    CHECK(integers(y) == integers(from));
    CHECK(y.shares_storage(from) == from.can_view_as(to));
    return y.shares_storage(from);
  };
  CHECK(is_view(x, {6, 4}));
  CHECK(is_view(x, {2, 1, 12, 1}));
  CHECK(is_view(x.transpose(0, 1), {3, 2, 2, 2}));  // splits the last axis
  CHECK_FALSE(is_view(x.transpose(0, 1), {6, 4}));  // would join axes that are apart
  CHECK_FALSE(is_view(x.transpose(0, 2), {24}));
  CHECK(is_view(x.slice(2, {0, 4, 2}), {12}));     // steps of 2 throughout
  CHECK_FALSE(is_view(x.slice(2, {0, 3}), {18}));  // gaps between rows
  CHECK(is_view(x.slice(2, {0, 3}), {6, 3}));
  CHECK(is_view(x.slice(1, {1, 2}), {2, 4}));
  CHECK(is_view(x.slice(0, {1, 2}), {12}));
  CHECK(is_view(counting({3, 1}).expand({3, 4}), {3, 2, 2}));
  CHECK_FALSE(is_view(counting({3, 1}).expand({3, 4}), {12}));
  CHECK_FALSE(x.can_view_as({25}));
}

TEST_CASE("reshape of random views has the elements of the copy") {
  Generator generator(11);
  const std::vector<Shape> shapes{{36},         {6, 6},     {2, 18}, {3, 12},  {3, 2, 6},
                                  {2, 3, 3, 2}, {1, 36, 1}, {4, 9},  {9, 2, 2}};
  for (int trial = 0; trial < 300; ++trial) {
    Array x = counting({6, 8, 6});
    x = x.slice(1, {generator.below(3), 8, 1 + generator.below(3)});
    for (int k = 0; k < 2; ++k) {
      x = x.transpose(static_cast<int>(generator.below(x.rank())),
                      static_cast<int>(generator.below(x.rank())));
    }
    x = x.slice(0, {0, 6}).slice(1, {0, 2}).slice(2, {0, 3});
    const std::int64_t wanted = 36;
    if (x.numel() != wanted) continue;
    const Shape& to =
        shapes[static_cast<std::size_t>(generator.below(static_cast<std::int64_t>(shapes.size())))];
    CHECK(integers(x.reshape(to)) == integers(x));
  }
}

TEST_CASE("R83 numel, strides and offsets are 64-bit") {
  const Array x = Array::ones({1, 1}).expand({65536, 32769});
  CHECK(x.numel() == 2147549184);
  CHECK(x.at({65535, 32768}) == 1);
  CHECK(x.reshape(Integers{-1}).shape() == Shape{2147549184});
  CHECK(x.reshape(Integers{-1}).at({2147549183}) == 1);
  CHECK(x.reshape(Integers{-1}).slice(0, {1, Slice::end, 2}).numel() == 1073774592);
  const auto strides = contiguous_strides(x.shape());
  CHECK(65535 * strides[0] + 32768 * strides[1] == 2147549183);
}
