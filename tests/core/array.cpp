#include "core/array.h"

#include <cmath>
#include <limits>

#include "tests/core/support.h"

using namespace norma;
using namespace norma::tests;

TEST_CASE("arrays are made full, counting or from values") {
  for (const Device device : {cpu, reference}) {
    CAPTURE(device);
    CHECK(Array::zeros({2, 2}, f32, device).to_vector<float>() == std::vector<float>{0, 0, 0, 0});
    CHECK(Array::full({2}, -7, i64, device).to_vector<std::int64_t>() == Integers{-7, -7});
    CHECK(Array::ones({2}, boolean, device).to_vector<bool>() == std::vector<bool>{true, true});
    CHECK(integers(Array::arange(2, 11, 3, i64, device)) == Integers{2, 5, 8});
    CHECK(integers(Array::arange(3, 0, -1, i64, device)) == Integers{3, 2, 1});
    CHECK(Array::arange(0, 1, 0.25, f64, device).to_vector<double>() ==
          std::vector<double>{0, 0.25, 0.5, 0.75});
    CHECK(Array::from(std::vector<double>{1, 2, 3}, {3, 1}, device).at({2, 0}) == 3);
    CHECK(Array::from(std::vector<bool>{true, false}, {2}, device).to_vector<bool>() ==
          std::vector<bool>{true, false});
    CHECK(Array::empty({2, 0}, f32, device).to_vector<float>().empty());
  }
  CHECK(integers(Array::arange(5, 5)).empty());
}

TEST_CASE("creation checks its arguments") {
  CHECK(contains(message_of([] { Array::from(std::vector<float>{1, 2}, {3}); }), "[3]"));
  CHECK_THROWS_AS(Array::arange(0, 1, 0), Error);
  CHECK_THROWS_AS(Array::arange(0, 1, -1), Error);
  CHECK_THROWS_AS(Array::arange(0, INFINITY), Error);
  CHECK_THROWS_AS(Array::arange(0, 1e30), Error);
  CHECK_THROWS_AS(Array::full({1}, 1e30, i64), Error);
  CHECK_THROWS_AS(Array::full({1}, NAN, i64), Error);
}

TEST_CASE("a device that is not there throws") {
  try {
    if (make_cuda_backend() != nullptr) return;
  } catch (const Error&) {  // built for CUDA, but there is no GPU here
  }
  for (const Shape& shape : {Shape{2}, Shape{0}}) {
    CHECK(contains(message_of([&] { Array::zeros(shape, f32, cuda); }), "device cuda"));
  }
}

TEST_CASE("R90 arrays of rank 0, of one element and of none") {
  const Array scalar = Array::full({}, 2.5);
  CHECK(scalar.rank() == 0);
  CHECK(scalar.item() == 2.5);
  CHECK(scalar.at({}) == 2.5);
  CHECK(scalar.is_contiguous());
  CHECK(Array::full({1, 1}, 3).item() == 3);
  const Array none = Array::empty({0, 5});
  CHECK(none.numel() == 0);
  CHECK(none.is_contiguous());
  CHECK(none.clone().shape() == Shape{0, 5});
  CHECK(none.to(f64).dtype() == f64);
  CHECK(none.to(reference).device() == reference);
  none.fill(1);
  none.copy_from(Array::ones({1}));
  CHECK_THROWS_AS(none.item(), Error);
  CHECK_THROWS_AS(Array::ones({2}).item(), Error);
}

TEST_CASE("R93 dtypes are converted by to, and bytes are never taken for another type") {
  const Array x = Array::from(std::vector<float>{-1.75f, 0, 2.5f}, {3});
  CHECK(integers(x.to(i64)) == Integers{-1, 0, 2});
  CHECK(x.to(boolean).to_vector<bool>() == std::vector<bool>{true, false, true});
  CHECK(x.to(f64).to_vector<double>() == std::vector<double>{-1.75, 0, 2.5});
  CHECK(x.to(f32).shares_storage(x));
  CHECK(contains(message_of([&] { x.to_vector<double>(); }), "f32"));
  CHECK_THROWS_AS(x.data<std::int64_t>(), Error);
  CHECK_THROWS_AS(x.data<bool>(), Error);
  std::vector<float> room(2);
  CHECK_THROWS_AS(x.copy_to(std::span(room)), Error);
}

TEST_CASE("all 64 bits of integers survive") {
  const Integers values{INT64_MIN, -1, (std::int64_t{1} << 53) + 1, INT64_MAX};
  const Array x = Array::from(values, {4});
  CHECK(integers(x) == values);
  CHECK(integers(x.clone()) == values);
  CHECK(integers(x.to(reference).to(cpu)) == values);
  CHECK(integers(x.slice(0, {0, 4, 3}).contiguous()) == Integers{INT64_MIN, INT64_MAX});
}

TEST_CASE("arrays move between devices") {
  const Array x = counting({3, 4}, f32).transpose(0, 1);
  const Array there = x.to(reference);
  CHECK(there.device() == reference);
  CHECK(there.shape() == Shape{4, 3});
  CHECK(there.to(cpu).to_vector<float>() == x.to_vector<float>());
  CHECK(x.to(cpu).shares_storage(x));
  there.copy_from(Array::full({4, 3}, 5));  // from another device
  CHECK(there.at({3, 2}) == 5);
}

TEST_CASE("copies are independent and contiguous") {
  const Array x = counting({2, 3}).transpose(0, 1);
  const Array copy = x.clone();
  CHECK(copy.is_contiguous());
  CHECK(integers(copy) == Integers{0, 3, 1, 4, 2, 5});
  CHECK(integers(copy) == integers(x));
  copy.fill(9);
  CHECK(x.at({1, 1}) == 4);
  CHECK(copy.contiguous().shares_storage(copy));
  CHECK_FALSE(x.contiguous().shares_storage(x));
}

TEST_CASE("views and detached copies share memory and version counter") {
  const Array x = Array::zeros({4, 4});
  const Array view = x.slice(0, {1, 3}).transpose(0, 1);
  const Array handle = x;
  CHECK(x.version() == 0);
  view.fill(1);
  CHECK(x.version() == 1);
  CHECK(handle.version() == 1);
  CHECK(x.at({2, 3}) == 1);
  CHECK(x.at({3, 3}) == 0);
  x.copy_from(Array::ones({4}));
  CHECK(view.version() == 2);
  x.bump_version();
  CHECK(view.version() == 3);
  CHECK(x.clone().version() == 0);
  CHECK(view.shares_storage(x));
  CHECK_FALSE(x.clone().shares_storage(x));
}

TEST_CASE("R75 a second handle shares memory and counter") {
  const Array x = Array::zeros({2});
  const Array y = x;
  y.fill(3);
  CHECK(x.at({1}) == 3);
  CHECK(x.version() == y.version());
  CHECK(x.version() == 1);
}

TEST_CASE("only a sole owner may be overwritten") {
  Array x = Array::zeros({2, 3});
  CHECK(x.is_sole_owner());
  {
    const Array view = x.transpose(0, 1);
    CHECK_FALSE(x.is_sole_owner());
  }
  CHECK(x.is_sole_owner());
  x = x.transpose(0, 1);
  CHECK_FALSE(x.is_sole_owner());
  CHECK_FALSE(Array().is_sole_owner());
}

TEST_CASE("R74 overlapping copies read as if the source was copied first") {
  for (const Device device : {cpu, reference}) {
    const Array right = Array::arange(0, 6, 1, i64, device);
    right.slice(0, {1, 6}).copy_from(right.slice(0, {0, 5}));
    CHECK(integers(right) == Integers{0, 0, 1, 2, 3, 4});
    const Array left = Array::arange(0, 6, 1, i64, device);
    left.slice(0, {0, 5}).copy_from(left.slice(0, {1, 6}));
    CHECK(integers(left) == Integers{1, 2, 3, 4, 5, 5});
    const Array square = counting({3, 3}, i64, device);
    square.copy_from(square.transpose(0, 1));
    CHECK(integers(square) == Integers{0, 3, 6, 1, 4, 7, 2, 5, 8});
    const Array self = Array::arange(0, 3, 1, i64, device);
    self.copy_from(self);
    CHECK(integers(self) == Integers{0, 1, 2});
    const Array spread = counting({2, 3}, i64, device);
    spread.copy_from(spread.slice(0, {1, 2}));
    CHECK(integers(spread) == Integers{3, 4, 5, 3, 4, 5});
  }
}

TEST_CASE("R74 a destination whose elements share memory throws") {
  const Array x = Array::zeros({3, 1});
  CHECK(contains(message_of([&] { x.expand({3, 4}).copy_from(Array::ones({3, 4})); }), "copy_from"));
  CHECK(x.version() == 0);
  x.expand({3, 1}).copy_from(Array::ones({3, 1}));
  CHECK(x.at({2, 0}) == 1);
}

TEST_CASE("overlap is told by address range, and self-overlap by strides") {
  const Array x = counting({4, 6});
  CHECK(may_overlap(x, x));
  CHECK(may_overlap(x.slice(0, {0, 2}), x.slice(0, {1, 3})));
  CHECK_FALSE(may_overlap(x.slice(0, {0, 2}), x.slice(0, {2, 4})));
  CHECK_FALSE(may_overlap(x, x.clone()));
  CHECK_FALSE(may_overlap(x.slice(0, {0, 0}), x));
  CHECK_FALSE(overlaps_itself(x.transpose(0, 1)));
  CHECK_FALSE(overlaps_itself(x.slice(1, {0, 6, 2}).transpose(0, 1)));
  CHECK_FALSE(overlaps_itself(x.unsqueeze(1)));
  CHECK(overlaps_itself(x.unsqueeze(1).expand({4, 2, 6})));
  CHECK_FALSE(overlaps_itself(Array::empty({0, 1}).expand({0, 5})));
}

TEST_CASE("copy_from broadcasts and converts") {
  const Array x = Array::zeros({2, 3});
  x.copy_from(Array::from(Integers{1, 2, 3}, {3}));
  CHECK(x.to_vector<float>() == std::vector<float>{1, 2, 3, 1, 2, 3});
  CHECK_THROWS_AS(x.copy_from(Array::zeros({2})), Error);
  CHECK_THROWS_AS(x.copy_from(Array::zeros({1, 2, 3})), Error);
}

TEST_CASE("R140 an undefined or moved-from array throws, and names the call") {
  Array moved = Array::ones({2, 3});
  const Array taken = std::move(moved);
  const Array fine = Array::ones({2, 3});
  for (const Array& x : {Array(), moved}) {
    CHECK_FALSE(x.defined());
    CHECK_FALSE(x.view_or_none().defined());
    CHECK(contains(message_of([&] { x.view(); }), "view: the array is undefined"));
    CHECK_THROWS_AS(x.device(), Error);
    CHECK_THROWS_AS(x.version(), Error);
    CHECK_THROWS_AS(x.bump_version(), Error);
    CHECK_THROWS_AS(x.data<float>(), Error);
    CHECK_THROWS_AS(x.is_contiguous(), Error);
    CHECK_THROWS_AS(x.contiguous(), Error);
    CHECK_THROWS_AS(x.clone(), Error);
    CHECK_THROWS_AS(x.to(f64), Error);
    CHECK_THROWS_AS(x.to(reference), Error);
    CHECK_THROWS_AS(x.fill(0), Error);
    CHECK_THROWS_AS(x.copy_from(fine), Error);
    CHECK_THROWS_AS(fine.copy_from(x), Error);
    CHECK_THROWS_AS(x.item(), Error);
    CHECK_THROWS_AS(x.at({0, 0}), Error);
    CHECK_THROWS_AS(x.to_vector<float>(), Error);
    CHECK_THROWS_AS(x.transpose(0, 1), Error);
    CHECK_THROWS_AS(x.permute({}), Error);
    CHECK_THROWS_AS(x.slice(0, {}), Error);
    CHECK_THROWS_AS(x.expand({2, 3}), Error);
    CHECK_THROWS_AS(x.squeeze(0), Error);
    CHECK_THROWS_AS(x.unsqueeze(0), Error);
    CHECK_THROWS_AS(x.reshape(Shape{}), Error);
    CHECK_FALSE(x.shares_storage(x));
    CHECK(x.to_string() == "undefined");
  }
  CHECK(taken.numel() == 6);
}

TEST_CASE("R141 an index out of range or of the wrong length throws in every build") {
  const Array x = counting({2, 3});
  CHECK(x.at({1, 2}) == 5);
  CHECK(x.at({-1, -3}) == 3);
  CHECK(contains(message_of([&] { x.at({0, 3}); }), "[0, 3]"));
  CHECK_THROWS_AS(x.at({2, 0}), Error);
  CHECK_THROWS_AS(x.at({-3, 0}), Error);
  CHECK_THROWS_AS(x.at({0}), Error);
  CHECK_THROWS_AS(x.at({0, 0, 0}), Error);
  CHECK_THROWS_AS(x.at({INT64_MIN, 0}), Error);
}
