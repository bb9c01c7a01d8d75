// Memory, and the kernels that treat every element for itself.
#include "backends/elementwise.h"

#include <cstdlib>
#include <cstring>

#include "backends/distributions.h"
#include "backends/reference/element.h"
#include "backends/reference/reference_backend.h"

namespace norma {

void* ReferenceBackend::allocate(std::int64_t bytes) {
  constexpr std::int64_t alignment = 64;
  if (bytes < 0 || bytes > INT64_MAX - alignment) return nullptr;
  const std::int64_t rounded = (bytes / alignment + 1) * alignment;
  return std::aligned_alloc(alignment, static_cast<std::size_t>(rounded));
}

void ReferenceBackend::release(void* data, std::int64_t /*bytes*/) { std::free(data); }

void ReferenceBackend::upload(void* device_data, const void* host, std::int64_t bytes) {
  if (bytes > 0) std::memcpy(device_data, host, static_cast<std::size_t>(bytes));
}

void ReferenceBackend::download(void* host, const void* device_data, std::int64_t bytes) {
  if (bytes > 0) std::memcpy(host, device_data, static_cast<std::size_t>(bytes));
}

void ReferenceBackend::copy(View y, View x) {
  for_any(y.dtype, [&]<class Y>() {
    for_any(x.dtype, [&]<class X>() {
      for_each(y, [&](const Index& i) { element<Y>(y, i) = convert<Y>(element<X>(x, i)); });
    });
  });
}

void ReferenceBackend::fill(View y, double value, std::int64_t integral) {
  for_any(y.dtype, [&]<class T>() {
    const T filler = y.dtype == i64 ? convert<T>(integral) : convert<T>(value);
    for_each(y, [&](const Index& i) { element<T>(y, i) = filler; });
  });
}

void ReferenceBackend::unary(Unary op, View y, View x, double a, double b) {
  with_unary(op, [&]<Unary o>() {
    if constexpr (o == Unary::logical_not) {
      NORMA_CHECK(x.dtype == boolean, name(o), ": needs a bool tensor, got ", x.dtype);
      for_each(y, [&](const Index& i) { element<bool>(y, i) = predicate<o>(element<bool>(x, i)); });
    } else if constexpr (is_predicate(o)) {
      for_float(x.dtype, name(o), [&]<class T>() {
        for_each(y, [&](const Index& i) { element<bool>(y, i) = predicate<o>(element<T>(x, i)); });
      });
    } else if (has_integer_form(o) && x.dtype == i64) {
      if constexpr (has_integer_form(o)) {
        const auto ia = convert<std::int64_t>(std::round(a)), ib = convert<std::int64_t>(std::round(b));
        for_each(y, [&](const Index& i) {
          element<std::int64_t>(y, i) = integer_unary<o>(element<std::int64_t>(x, i), ia, ib);
        });
      }
    } else {
      for_float(x.dtype, name(o), [&]<class T>() {
        for_each(y, [&](const Index& i) {
          element<T>(y, i) = float_unary<o>(element<T>(x, i), static_cast<T>(a), static_cast<T>(b));
        });
      });
    }
  });
}

void ReferenceBackend::binary(Binary op, View y, View a, View b) {
  NORMA_CHECK(a.dtype == b.dtype, name(op), ": operands must have one dtype, got ", a.dtype, " and ",
              b.dtype);
  for_any(a.dtype, [&]<class T>() {
    with_binary(op, [&]<Binary o>() {
      constexpr bool is_bool = std::is_same_v<T, bool>;
      if constexpr (is_comparison(o) || (is_logical(o) && is_bool)) {
        for_each(
            y, [&](const Index& i) { element<bool>(y, i) = compare<o>(element<T>(a, i), element<T>(b, i)); });
      } else if constexpr (!is_logical(o) && !is_bool) {
        for_each(y, [&](const Index& i) {
          const T divisor = element<T>(b, i);
          NORMA_CHECK(o != Binary::div || a.dtype != i64 || divisor != T(0),
                      "div: division by zero of an i64 tensor");
          element<T>(y, i) = arithmetic<o>(element<T>(a, i), divisor);
        });
      } else {
        NORMA_CHECK(false, name(o), is_bool ? ": needs numbers" : ": needs bool tensors", ", got ", a.dtype);
      }
    });
  });
}

void ReferenceBackend::binary_scalar(Binary op, View y, View x, double s, bool scalar_first) {
  for_any(x.dtype, [&]<class T>() {
    T value = convert<T>(std::is_same_v<T, std::int64_t> ? std::round(s) : s);
    View scalar = x;  // x's shape, every element the same
    scalar.data = &value;
    for (int axis = 0; axis < x.rank; ++axis) scalar.strides[axis] = 0;
    binary(op, y, scalar_first ? scalar : x, scalar_first ? x : scalar);
  });
}

void ReferenceBackend::where(View y, View condition, View a, View b) {
  for_any(y.dtype, [&]<class T>() {
    for_each(y, [&](const Index& i) {
      element<T>(y, i) = element<bool>(condition, i) ? element<T>(a, i) : element<T>(b, i);
    });
  });
}

void ReferenceBackend::random(Random distribution, View y, RandomKey key, double a, double b) {
  std::int64_t count = 0;
  if (distribution == Random::bernoulli) {
    const std::uint64_t threshold = bernoulli_threshold(a);
    return for_any(y.dtype, [&]<class T>() {
      for_each(y, [&](const Index& i) { element<T>(y, i) = convert<T>(bernoulli(key, count++, threshold)); });
    });
  }
  for_float(y.dtype, "random", [&]<class T>() {
    const auto one = [&](const RandomBits& bits) -> T {
      const T low = static_cast<T>(a), high = static_cast<T>(b);
      if (distribution == Random::uniform) return uniform<T>(bits, low, high, last_below(high, low));
      if (distribution == Random::normal) return static_cast<T>(normal(bits, a, b));
      return static_cast<T>(TruncatedNormal(a, b)(bits));
    };
    for_each(y, [&](const Index& i) { element<T>(y, i) = one(random_bits(key, count++)); });
  });
}

Backend* make_reference_backend() { return new ReferenceBackend; }

}  // namespace norma
