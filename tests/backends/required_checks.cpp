#include "tests/backends/required_checks.h"

#include "tests/backends/arrays.h"
#include "tests/backends/on_device.h"
#include "tests/messages.h"

namespace norma::tests {
namespace {

/// Fewer where each round takes long.
int rounds(Device device, int all) { return is_host(device) ? all : (all + 7) / 8; }

struct WindowCase {
  Shape x, columns;
  Window window;
};

/// A window that fits, of any kernel, stride, padding and dilation; also places that lie in padding alone.
WindowCase draw_window(Maker& make) {
  for (;;) {
    WindowCase found;
    std::int64_t extent[2];
    for (int axis = 0; axis < 2; ++axis) {
      extent[axis] = 1 + make.below(9);
      found.window.kernel[axis] = 1 + make.below(4);
      found.window.stride[axis] = 1 + make.below(4);
      found.window.padding[axis] = make.below(5);
      found.window.dilation[axis] = 1 + make.below(3);
    }
    const std::int64_t rows = found.window.places(0, extent[0]), columns = found.window.places(1, extent[1]);
    if (rows < 1 || columns < 1) continue;
    const std::int64_t n = make.below(4), c = 1 + make.below(3);
    found.x = {n, c, extent[0], extent[1]};
    found.columns = {n, c * found.window.kernel[0] * found.window.kernel[1], rows * columns};
    return found;
  }
}

const DType all_dtypes[] = {f32, f64, i64, boolean};
const DType numbers[] = {f32, f64, i64};
const DType floats[] = {f32, f64};

}  // namespace

void check_copy(Device device) {
  Maker make(1);
  for (int round = 0; round < rounds(device, 60); ++round) {
    const Extents shape = make.extents(static_cast<int>(make.below(5)), 9);
    for (const DType from : all_dtypes) {
      for (const DType to : all_dtypes) {
        const Operand x = make.strided(shape, from, true);
        compare_with_reference(device, make.strided(shape, to), 0, [&](On& b, View y) { b->copy(y, b(x)); });
      }
    }
  }
}
void check_transposing_copy(Device device) {
  Maker make(2);
  for (const Extents& shape :
       {Extents{40, 100}, Extents{3, 65, 33}, Extents{64, 2, 64}, Extents{8, 17}, Extents{17, 75}}) {
    for (const DType from : all_dtypes) {
      for (const DType to : all_dtypes) {
        const Operand y = make.contiguous(shape, to);
        Operand x = make.contiguous(Extents(shape.rbegin(), shape.rend()), from);
        std::reverse(x.view.shape, x.view.shape + x.view.rank);
        std::reverse(x.view.strides, x.view.strides + x.view.rank);
        compare_with_reference(device, y, 0, [&](On& b, View out) { b->copy(out, b(x)); });
      }
    }
  }
}
void check_fill_and_where(Device device) {
  Maker make(3);
  for (int round = 0; round < rounds(device, 40); ++round) {
    const Extents shape = make.extents(static_cast<int>(make.below(5)), 8);
    for (const DType dtype : all_dtypes) {
      compare_with_reference(device, make.strided(shape, dtype), 0,
                             [&](On& b, View y) { b->fill(y, 2.5, 1LL << 53 | 1); });
      const Operand condition = make.strided(shape, boolean, true);
      const Operand a = make.strided(shape, dtype, true), c = make.strided(shape, dtype, true);
      compare_with_reference(device, make.strided(shape, dtype), 0,
                             [&](On& b, View y) { b->where(y, b(condition), b(a), b(c)); });
    }
  }
}
void check_unary(Device device) {
  Maker make(4);
  for (int op = 0; op <= static_cast<int>(Unary::is_finite); ++op) {
    const Unary unary = static_cast<Unary>(op);
    for (int round = 0; round < rounds(device, 6); ++round) {
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
          compare_with_reference(device, y, tolerance_of(dtype),
                                 [&](On& b, View out) { b->unary(unary, out, b(x), -1.5, 2); });
        } else {
          for (const Device each : {device, reference}) {
            On on(each);
            CHECK_THROWS_AS(on->unary(unary, on(y), on(x), 0, 0), Error);
          }
        }
      }
    }
  }
}
void check_powers(Device device) {
  Maker make(5);
  const Operand x = make.strided({7, 33}, f64);
  for (const double exponent : {-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0, 3.0, 4.0}) {
    compare_with_reference(device, make.contiguous({7, 33}, f64), 1e-12,
                           [&](On& b, View y) { b->unary(Unary::power, y, b(x), exponent, 0); });
  }
}
void check_binary(Device device) {
  Maker make(6);
  for (int op = 0; op <= static_cast<int>(Binary::logical_or); ++op) {
    const Binary binary = static_cast<Binary>(op);
    const bool logical = binary >= Binary::logical_and, boolean_out = binary >= Binary::equal;
    for (int round = 0; round < rounds(device, 6); ++round) {
      const Extents shape = make.extents(static_cast<int>(make.below(5)), 12);
      for (const DType dtype : all_dtypes) {
        Operand a = make.strided(shape, dtype, true), b = make.strided(shape, dtype, true);
        if (dtype == i64 && binary == Binary::div) backend(cpu).fill(b.view, 0, 3);
        const Operand y = make.strided(shape, boolean_out ? boolean : dtype);
        const bool fits = logical ? dtype == boolean : boolean_out || dtype != boolean;
        CAPTURE(op);
        if (!fits) {
          for (const Device each : {device, reference}) {
            On on(each);
            CHECK_THROWS_AS(on->binary(binary, on(y), on(a), on(b)), Error);
          }
          continue;
        }
        const double tolerance = tolerance_of(dtype);
        compare_with_reference(device, y, tolerance,
                               [&](On& k, View out) { k->binary(binary, out, k(a), k(b)); });
        for (const bool first : {false, true}) {
          if (dtype == i64 && binary == Binary::div && first) continue;
          compare_with_reference(device, y, tolerance,
                                 [&](On& k, View out) { k->binary_scalar(binary, out, k(a), 2, first); });
        }
      }
    }
  }
}
void check_nan_wins(Device device) {
  const double nan = std::nan("");
  for (const Device each : {device, reference}) {
    Backend& b = backend(each);
    const Array x = Array::from(std::vector<double>{1, nan, 3, 4, nan, 6}, {2, 3}, each);
    const Array other = Array::from(std::vector<double>{nan, 2, 2, 9, 9, 9}, {2, 3}, each);
    const Array y = Array::empty({2, 3}, f64, each);
    b.binary(Binary::maximum, y.view(), x.view(), other.view());
    CHECK((std::isnan(y.at({0, 0})) && std::isnan(y.at({0, 1})) && y.at({0, 2}) == 3 && y.at({1, 2}) == 9));
    const Array rows = Array::empty({2, 1}, f64, each), columns = Array::empty({1, 3}, f64, each);
    b.reduce(Reduce::max, rows.view(), x.view());
    b.reduce(Reduce::min, columns.view(), x.view());
    CHECK((std::isnan(rows.at({0, 0})) && std::isnan(rows.at({1, 0}))));
    CHECK((columns.at({0, 0}) == 1 && std::isnan(columns.at({0, 1})) && columns.at({0, 2}) == 3));
    const Array index = Array::empty({2, 1}, i64, each);
    b.arg_reduce(ArgReduce::argmax, index.view(), x.view(), 1);
    CHECK((index.at({0, 0}) == 1 && index.at({1, 0}) == 1));
  }
}
void check_division_by_zero(Device device) {
  for (const Device each : {device, reference}) {
    Backend& b = backend(each);
    const Array x = Array::full({3}, 5, i64, each), zero = Array::zeros({3}, i64, each);
    const Array y = Array::empty({3}, i64, each);
    const auto divide = [&] {
      b.binary(Binary::div, y.view(), x.view(), zero.view());
      b.synchronize();
    };
    CHECK_THROWS_MESSAGE_HAS(divide(), "div: division by zero of an i64 tensor");
    CHECK_THROWS_MESSAGE_HAS(b.binary_scalar(Binary::div, y.view(), x.view(), 0, false),
                             "div: division by zero of an i64 tensor");
    x.fill(static_cast<double>(INT64_MIN));
    b.binary_scalar(Binary::div, y.view(), x.view(), -1, false);
    CHECK(y.to_vector<std::int64_t>()[0] == INT64_MIN);
  }
}
void check_reductions(Device device) {
  Maker make(7);
  for (int round = 0; round < rounds(device, 150); ++round) {
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
        compare_with_reference(device, make.strided(reduced, dtype), tolerance_of(dtype) * 10,
                               [&](On& b, View y) { b->reduce(op, y, b(x)); });
      }
    }
    for (const Reduce op : {Reduce::any, Reduce::all}) {
      const Operand x = make.strided(shape, boolean, true);
      compare_with_reference(device, make.strided(reduced, boolean), 0,
                             [&](On& b, View y) { b->reduce(op, y, b(x)); });
    }
  }
}
void check_long_reductions(Device device) {
  Maker make(8);
  for (Extents shape : {Extents{3, 200000}, Extents{200000, 3}, Extents{1000, 300}, Extents{2, 5000, 40}}) {
    if (!is_host(device)) {
      for (std::int64_t& extent : shape) extent = extent > 10000 ? extent / 10 : extent;
    }
    const Operand x = make.contiguous(shape, f32);
    for (std::size_t axis = 0; axis < shape.size(); ++axis) {
      Extents reduced = shape;
      reduced[axis] = 1;
      compare_with_reference(device, make.contiguous(reduced, f32), 1e-4,
                             [&](On& b, View y) { b->reduce(Reduce::sum, y, b(x)); });
      compare_with_reference(device, make.contiguous(reduced, f32), 0,
                             [&](On& b, View y) { b->reduce(Reduce::max, y, b(x)); });
    }
  }
}
void check_empty_reductions(Device device) {
  for (const Device each : {device, reference}) {
    Backend& b = backend(each);
    const Array x = Array::empty({4, 0}, f32, each), y = Array::full({4, 1}, 7, f32, each);
    b.reduce(Reduce::sum, y.view(), x.view());
    CHECK(y.at({3, 0}) == 0);
    b.reduce(Reduce::max, y.view(), x.view());
    CHECK(y.at({0, 0}) == -INFINITY);
    const Array none = Array::empty({1, 0}, f32, each);
    b.reduce(Reduce::sum, none.view(), x.view());
  }
}
void check_scans(Device device) {
  Maker make(9);
  for (int round = 0; round < rounds(device, 60); ++round) {
    const Extents shape = make.extents(1 + static_cast<int>(make.below(4)), 9);
    const int axis = static_cast<int>(make.below(static_cast<std::int64_t>(shape.size())));
    Extents reduced = shape;
    reduced[static_cast<std::size_t>(axis)] = 1;
    for (const DType dtype : numbers) {
      const Operand x = make.strided(shape, dtype, true);
      for (const ArgReduce op : {ArgReduce::argmax, ArgReduce::argmin}) {
        compare_with_reference(device, make.strided(reduced, i64), 0,
                               [&](On& b, View y) { b->arg_reduce(op, y, b(x), axis); });
      }
      for (const bool reverse : {false, true}) {
        compare_with_reference(device, make.strided(shape, dtype), tolerance_of(dtype),
                               [&](On& b, View y) { b->cumsum(y, b(x), axis, reverse); });
      }
    }
  }
  for (const DType dtype : numbers) {  // lines side by side
    for (const bool reverse : {false, true}) {
      const Operand x = make.contiguous({3, 7, 77}, dtype);
      compare_with_reference(device, make.contiguous({3, 7, 77}, dtype), tolerance_of(dtype),
                             [&](On& b, View y) { b->cumsum(y, b(x), 1, reverse); });
    }
  }
}
void check_gather(Device device) {
  Maker make(10);
  for (int round = 0; round < rounds(device, 60); ++round) {
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
      compare_with_reference(device, make.strided(shape, dtype), 0,
                             [&](On& b, View y) { b->gather(y, b(x), b(index), at_axis, "take"); });
      compare_with_reference(device, make.strided(table, dtype), tolerance_of(dtype),
                             [&](On& b, View y) { b->scatter_add(y, b(dy), b(index), at_axis, "take"); });
    }
  }
}
void check_products(Device device) {
  Maker make(1);
  for (int round = 0; round < rounds(device, 250); ++round) {
    const Extents batch = make.extents(static_cast<int>(make.below(3)), 4);
    const std::int64_t m = 1 + make.below(12), n = 1 + make.below(12), k = 1 + make.below(12);
    const auto with = [&](std::int64_t rows, std::int64_t columns) {
      Extents shape = batch;
      shape.insert(shape.end(), {rows, columns});
      return shape;
    };
    for (const DType dtype : {f32, f64}) {
      const Operand a = make.strided(with(m, k), dtype, true), b = make.strided(with(k, n), dtype, true);
      const Operand c = make.strided(with(m, n), dtype);
      const auto compare = [&](double alpha, double beta) {
        compare_with_reference(device, c, tolerance_of(dtype) * 2,
                               [&](On& on, View y) { on->matmul(y, on(a), on(b), alpha, beta); });
      };
      compare(1, 0), compare(-0.5, 1), compare(0, 2);
    }
  }
}
void check_random(Device device) {
  const std::int64_t count = is_host(device) ? 100003 : 3001;
  for (const DType dtype : floats) {
    const RandomKey key{42, 0xFFFFFFFFFFFFFFF0u};
    const auto check = [&](Random distribution, double a, double b) {
      const auto draw = [&](Device on) {
        const Array y = Array::empty({count}, dtype, on);
        backend(on).random(distribution, y.view(), key, a, b);
        return y.to(cpu);
      };
      CHECK(same_bits(draw(device), draw(reference).to(cpu)));
    };
    check(Random::uniform, -1, 3), check(Random::normal, 2, 0.5), check(Random::bernoulli, 0.3, 0);
    check(Random::truncated_normal, -2, 2);
  }
}

void check_windows(Device device) {
  Maker make(11);
  for (int round = 0; round < rounds(device, 400); ++round) {
    const WindowCase one = draw_window(make);
    for (const DType dtype : {f32, f64}) {
      CAPTURE(round);
      const Array x = normal(one.x, dtype, 1), dy = normal(one.columns, dtype, 2);
      const auto unfold = [&](Device on) {
        const Array columns = Array::full(one.columns, 7, dtype, on);
        backend(on).unfold(columns.view(), x.to(on).view(), one.window);
        return columns.to(cpu);
      };
      const auto fold = [&](Device on) {
        const Array sum = Array::full(one.x, 8, dtype, on);
        backend(on).fold(sum.view(), dy.to(on).view(), one.window);
        return sum.to(cpu);
      };
      const Array columns = unfold(device), sum = fold(device);
      REQUIRE(same_bits(columns, unfold(reference)));
      check_close(sum, fold(reference), tolerance_of(dtype));
      if (dtype == f32) continue;
      double left = 0, right = 0;
      const std::vector<double> a = values(columns), b = values(dy), c = values(x), d = values(sum);
      for (std::size_t i = 0; i < a.size(); ++i) left += a[i] * b[i];
      for (std::size_t i = 0; i < c.size(); ++i) right += c[i] * d[i];
      CHECK(close(left, right, 1e-12, 10));
    }
  }
}

}  // namespace norma::tests
