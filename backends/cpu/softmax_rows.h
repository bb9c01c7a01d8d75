// softmax and logsumexp of short rows, sixteen at a time (turned_rows.h).
#pragma once

#include <cmath>
#include <cstdint>

#include "backends/cpu/turned_rows.h"

namespace norma {

/// x becomes 2^64 e^x, x <= 40.
template <class T>
[[gnu::always_inline]] inline void raise_exp(LaneVector<T>& x) {
  if constexpr (sizeof(T) == 4) {
    detail::raise_exp_negative(x);
  } else {
    detail::f64_math::raise_exp_negative(x);
  }
}

/// x becomes ln x.
template <class T>
[[gnu::always_inline]] inline void log_of_lanes(LaneVector<T>& x) {
  T lane[vector_lanes];
  store(lane, x);
  for (T& value : lane) value = vector_log(value);
  load(x, lane);
}

/// top = the largest x of each row; sum = that of 2^64 e^(x - top), which stays in the place of x if `keep`.
template <class T, bool keep>
[[gnu::always_inline]] inline void raised_exp_sum(TurnedRows<T>& x, LaneVector<T>& top, LaneVector<T>& sum) {
  x.largest(top);
  x.sum(
      sum, [&](LaneVector<T> & e, std::int64_t j) __attribute__((always_inline)) {
        load(e, x.at(j));
        e -= top;
        raise_exp<T>(e);
        if constexpr (keep) store(x.at(j), e);
      });
}

template <class T>
void softmax_short_rows(std::int64_t count, std::int64_t d, T* y, const T* x, bool log) {
  using Vector = LaneVector<T>;
  TurnedRows<T> turned(count, d, x);
  Vector top, sum;
  if (log) {
    raised_exp_sum<T, false>(turned, top, sum);
    sum *= T(0x1p-64);
    log_of_lanes<T>(sum);
    turned.set([&](Vector & value, std::int64_t j) __attribute__((always_inline)) {
      load(value, turned.at(j));
      value = value - top - sum;
    });
  } else {
    raised_exp_sum<T, true>(turned, top, sum);
    const Vector scale = T(1) / sum;
    turned.set([&](Vector & value, std::int64_t j) __attribute__((always_inline)) {
      load(value, turned.at(j));
      value *= scale;
    });
  }
  turned.write(y);
}

template <class T>
void softmax_short_rows_backward(std::int64_t count, std::int64_t d, T* dx, const T* y, const T* dy,
                                 bool log) {
  using Vector = LaneVector<T>;
  const TurnedRows<T> value(count, d, y);
  TurnedRows<T> slope(count, d, dy);
  Vector sum;
  if (log) {
    slope.sum(
        sum, [&](Vector & term, std::int64_t j) __attribute__((always_inline)) { load(term, slope.at(j)); });
    slope.set([&](Vector & to, std::int64_t j) __attribute__((always_inline)) {
      Vector e;
      load(e, value.at(j));
      exp_negative<T>(e);
      load(to, slope.at(j));
      to -= e * sum;
    });
  } else {
    slope.sum(
        sum, [&](Vector & term, std::int64_t j) __attribute__((always_inline)) {
          Vector v;
          load(v, value.at(j));
          load(term, slope.at(j));
          term *= v;
        });
    slope.set([&](Vector & to, std::int64_t j) __attribute__((always_inline)) {
      Vector v;
      load(v, value.at(j));
      load(to, slope.at(j));
      to = v * (to - sum);
    });
  }
  slope.write(dx);
}

}  // namespace norma
