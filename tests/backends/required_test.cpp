// The required kernels of the cpu backend against the reference backend, on random shapes and strides.
#include "tests/backends/operands.h"

namespace norma::tests {
namespace {

Backend& fast() { return backend(cpu); }
Backend& plain() { return backend(reference); }

/// Runs `call(backend, y)` on both backends with twins of y and compares.
template <class Call>
void compare(const Operand& y, double tolerance, Call&& call) {
  const Operand got = Maker::twin(y), want = Maker::twin(y);
  call(fast(), got.view);
  call(plain(), want.view);
  check_close(got.view, want.view, tolerance);
}

const DType all_dtypes[] = {f32, f64, i64, boolean};
const DType numbers[] = {f32, f64, i64};
const DType floats[] = {f32, f64};

TEST_SUITE("kernels required") {
  TEST_CASE("copy converts between all dtypes and layouts") {
    Maker make(1);
    for (int round = 0; round < 60; ++round) {
      const Extents shape = make.extents(static_cast<int>(make.below(5)), 9);
      for (const DType from : all_dtypes) {
        for (const DType to : all_dtypes) {
          const Operand x = make.strided(shape, from, true);
          compare(make.strided(shape, to), 0, [&](Backend& b, View y) { b.copy(y, x.view); });
        }
      }
    }
  }
  TEST_CASE("copy transposes in tiles") {
    Maker make(2);
    for (const Extents& shape : {Extents{40, 100}, Extents{3, 65, 33}, Extents{64, 2, 64}}) {
      const Operand y = make.contiguous(shape, f32);
      Operand x = make.contiguous(Extents(shape.rbegin(), shape.rend()), f32);
      std::reverse(x.view.shape, x.view.shape + x.view.rank);
      std::reverse(x.view.strides, x.view.strides + x.view.rank);
      compare(y, 0, [&](Backend& b, View out) { b.copy(out, x.view); });
    }
  }
  TEST_CASE("fill and where") {
    Maker make(3);
    for (int round = 0; round < 40; ++round) {
      const Extents shape = make.extents(static_cast<int>(make.below(5)), 8);
      for (const DType dtype : all_dtypes) {
        compare(make.strided(shape, dtype), 0, [&](Backend& b, View y) { b.fill(y, 2.5, 1LL << 53 | 1); });
        const Operand condition = make.strided(shape, boolean, true);
        const Operand a = make.strided(shape, dtype, true), c = make.strided(shape, dtype, true);
        compare(make.strided(shape, dtype), 0,
                [&](Backend& b, View y) { b.where(y, condition.view, a.view, c.view); });
      }
    }
  }
  TEST_CASE("unary ops") {
    Maker make(4);
    for (int op = 0; op <= static_cast<int>(Unary::is_finite); ++op) {
      const Unary unary = static_cast<Unary>(op);
      for (int round = 0; round < 6; ++round) {
        const Extents shape = make.extents(1 + static_cast<int>(make.below(4)), 12);
        for (const DType dtype : all_dtypes) {
          const bool integral = unary == Unary::neg || unary == Unary::abs || unary == Unary::sign ||
                                unary == Unary::relu || unary == Unary::affine || unary == Unary::clamp;
          const bool fits = dtype == boolean ? unary == Unary::logical_not
                            : dtype == i64   ? integral
                                             : unary != Unary::logical_not;
          const bool predicate = unary >= Unary::logical_not;
          const Operand x = make.strided(shape, dtype, true);
          const Operand y = make.strided(shape, predicate ? boolean : dtype);
          CAPTURE(op);
          if (fits) {
            compare(y, tolerance_of(dtype),
                    [&](Backend& b, View out) { b.unary(unary, out, x.view, -1.5, 2); });
          } else {
            CHECK_THROWS_AS(fast().unary(unary, y.view, x.view, 0, 0), Error);
            CHECK_THROWS_AS(plain().unary(unary, y.view, x.view, 0, 0), Error);
          }
        }
      }
    }
  }
  TEST_CASE("powers with special exponents") {
    Maker make(5);
    const Operand x = make.strided({7, 33}, f64);
    for (const double exponent : {-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0, 3.0, 4.0}) {
      compare(make.contiguous({7, 33}, f64), 1e-12,
              [&](Backend& b, View y) { b.unary(Unary::power, y, x.view, exponent, 0); });
    }
  }
  TEST_CASE("binary ops and scalars") {
    Maker make(6);
    for (int op = 0; op <= static_cast<int>(Binary::logical_or); ++op) {
      const Binary binary = static_cast<Binary>(op);
      const bool logical = binary >= Binary::logical_and, boolean_out = binary >= Binary::equal;
      for (int round = 0; round < 6; ++round) {
        const Extents shape = make.extents(static_cast<int>(make.below(5)), 12);
        for (const DType dtype : all_dtypes) {
          Operand a = make.strided(shape, dtype, true), b = make.strided(shape, dtype, true);
          if (dtype == i64 && binary == Binary::div) fast().fill(b.view, 0, 3);
          const Operand y = make.strided(shape, boolean_out ? boolean : dtype);
          const bool fits = logical ? dtype == boolean : boolean_out || dtype != boolean;
          CAPTURE(op);
          if (!fits) {
            CHECK_THROWS_AS(fast().binary(binary, y.view, a.view, b.view), Error);
            CHECK_THROWS_AS(plain().binary(binary, y.view, a.view, b.view), Error);
            continue;
          }
          const double tolerance = tolerance_of(dtype);
          compare(y, tolerance, [&](Backend& k, View out) { k.binary(binary, out, a.view, b.view); });
          for (const bool first : {false, true}) {
            if (dtype == i64 && binary == Binary::div && first) continue;
            compare(y, tolerance,
                    [&](Backend& k, View out) { k.binary_scalar(binary, out, a.view, 2, first); });
          }
        }
      }
    }
  }
  TEST_CASE("NaN wins in maximum, minimum and reductions") {
    const double nan = std::nan("");
    for (Backend* b : {&fast(), &plain()}) {
      const Array x = Array::from(std::vector<double>{1, nan, 3, 4, nan, 6}, {2, 3});
      const Array other = Array::from(std::vector<double>{nan, 2, 2, 9, 9, 9}, {2, 3}),
                  y = Array::empty({2, 3}, f64);
      b->binary(Binary::maximum, y.view(), x.view(), other.view());
      CHECK((std::isnan(y.at({0, 0})) && std::isnan(y.at({0, 1})) && y.at({0, 2}) == 3 && y.at({1, 2}) == 9));
      const Array rows = Array::empty({2, 1}, f64), columns = Array::empty({1, 3}, f64);
      b->reduce(Reduce::max, rows.view(), x.view());
      b->reduce(Reduce::min, columns.view(), x.view());
      CHECK((std::isnan(rows.at({0, 0})) && std::isnan(rows.at({1, 0}))));
      CHECK((columns.at({0, 0}) == 1 && std::isnan(columns.at({0, 1})) && columns.at({0, 2}) == 3));
      const Array index = Array::empty({2, 1}, i64);
      b->arg_reduce(ArgReduce::argmax, index.view(), x.view(), 1);
      CHECK((index.at({0, 0}) == 1 && index.at({1, 0}) == 1));
    }
  }
  TEST_CASE("i64 division by zero throws") {
    for (Backend* b : {&fast(), &plain()}) {
      const Array x = Array::full({3}, 5, i64), zero = Array::zeros({3}, i64), y = Array::empty({3}, i64);
      CHECK_THROWS_AS(b->binary(Binary::div, y.view(), x.view(), zero.view()), Error);
      CHECK_THROWS_AS(b->binary_scalar(Binary::div, y.view(), x.view(), 0, false), Error);
      x.fill(static_cast<double>(INT64_MIN));
      b->binary_scalar(Binary::div, y.view(), x.view(), -1, false);
      CHECK(y.data<std::int64_t>()[0] == INT64_MIN);
    }
  }
  TEST_CASE("reductions over any axes and strides") {
    Maker make(7);
    for (int round = 0; round < 150; ++round) {
      const Extents shape = make.extents(static_cast<int>(make.below(5)), round % 5 == 0 ? 70 : 9);
      if (std::size_t count = 1; true) {
        for (const std::int64_t extent : shape) count *= static_cast<std::size_t>(extent);
        if (count > 200000) continue;
      }
      Extents reduced = shape;
      for (std::int64_t& extent : reduced) {
        if (make.below(2) == 0) extent = 1;
      }
      for (const Reduce op : {Reduce::sum, Reduce::max, Reduce::min}) {
        for (const DType dtype : numbers) {
          const Operand x = make.strided(shape, dtype, true);
          compare(make.strided(reduced, dtype), tolerance_of(dtype) * 10,
                  [&](Backend& b, View y) { b.reduce(op, y, x.view); });
        }
      }
      for (const Reduce op : {Reduce::any, Reduce::all}) {
        const Operand x = make.strided(shape, boolean, true);
        compare(make.strided(reduced, boolean), 0, [&](Backend& b, View y) { b.reduce(op, y, x.view); });
      }
    }
  }
  TEST_CASE("long reductions, by rows and by columns") {
    Maker make(8);
    for (const Extents& shape :
         {Extents{3, 200000}, Extents{200000, 3}, Extents{1000, 300}, Extents{2, 5000, 40}}) {
      const Operand x = make.contiguous(shape, f32);
      for (std::size_t axis = 0; axis < shape.size(); ++axis) {
        Extents reduced = shape;
        reduced[axis] = 1;
        compare(make.contiguous(reduced, f32), 1e-4,
                [&](Backend& b, View y) { b.reduce(Reduce::sum, y, x.view); });
        compare(make.contiguous(reduced, f32), 0,
                [&](Backend& b, View y) { b.reduce(Reduce::max, y, x.view); });
      }
    }
  }
  TEST_CASE("empty reductions") {
    for (Backend* b : {&fast(), &plain()}) {
      const Array x = Array::empty({4, 0}, f32), y = Array::full({4, 1}, 7, f32);
      b->reduce(Reduce::sum, y.view(), x.view());
      CHECK(y.at({3, 0}) == 0);
      b->reduce(Reduce::max, y.view(), x.view());
      CHECK(y.at({0, 0}) == -INFINITY);
      const Array none = Array::empty({1, 0}, f32);
      b->reduce(Reduce::sum, none.view(), x.view());
    }
  }
  TEST_CASE("argmax, argmin and cumsum") {
    Maker make(9);
    for (int round = 0; round < 60; ++round) {
      const Extents shape = make.extents(1 + static_cast<int>(make.below(4)), 9);
      const int axis = static_cast<int>(make.below(static_cast<std::int64_t>(shape.size())));
      Extents reduced = shape;
      reduced[static_cast<std::size_t>(axis)] = 1;
      for (const DType dtype : numbers) {
        const Operand x = make.strided(shape, dtype, true);
        for (const ArgReduce op : {ArgReduce::argmax, ArgReduce::argmin}) {
          compare(make.strided(reduced, i64), 0,
                  [&](Backend& b, View y) { b.arg_reduce(op, y, x.view, axis); });
        }
        for (const bool reverse : {false, true}) {
          compare(make.strided(shape, dtype), tolerance_of(dtype),
                  [&](Backend& b, View y) { b.cumsum(y, x.view, axis, reverse); });
        }
      }
    }
  }
  TEST_CASE("gather and scatter_add") {
    Maker make(10);
    for (int round = 0; round < 60; ++round) {
      const Extents shape = make.extents(1 + static_cast<int>(make.below(4)), 9);
      const std::size_t axis = static_cast<std::size_t>(make.below(static_cast<std::int64_t>(shape.size())));
      Extents table = shape;
      table[axis] = 1 + make.below(5);
      Operand index = make.strided(shape, i64, true);
      for (std::int64_t i = 0; i < index.numel(); ++i)
        at<std::int64_t>(index.view, i) = make.below(table[axis]);
      for (const DType dtype : numbers) {
        const Operand x = make.strided(table, dtype, true), dy = make.strided(shape, dtype, true);
        const int at_axis = static_cast<int>(axis);
        compare(make.strided(shape, dtype), 0,
                [&](Backend& b, View y) { b.gather(y, x.view, index.view, at_axis, "take"); });
        compare(make.strided(table, dtype), tolerance_of(dtype),
                [&](Backend& b, View y) { b.scatter_add(y, dy.view, index.view, at_axis, "take"); });
      }
    }
  }
  TEST_CASE("random numbers are the same bits on both backends") {
    for (const DType dtype : floats) {
      const Array got = Array::empty({100003}, dtype), want = Array::empty({100003}, dtype);
      const RandomKey key{42, 0xFFFFFFFFFFFFFFF0u};
      const auto check = [&](Random distribution, double a, double b) {
        fast().random(distribution, got.view(), key, a, b);
        plain().random(distribution, want.view(), key, a, b);
        CHECK(std::memcmp(got.view().data, want.view().data,
                          static_cast<std::size_t>(100003 * size_of(dtype))) == 0);
      };
      check(Random::uniform, -1, 3), check(Random::normal, 2, 0.5), check(Random::bernoulli, 0.3, 0);
      check(Random::truncated_normal, -2, 2);
    }
  }
}

}  // namespace
}  // namespace norma::tests
