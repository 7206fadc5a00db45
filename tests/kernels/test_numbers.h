// SPDX-License-Identifier: Apache-2.0
//
// Numbers for tests, independent of the code under test: exact values of elements as long double, rounding to a float
// format by definition, ulps, and value lists that hit the corners.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <type_traits>
#include <vector>

#include <tengen/kernel_api.hpp>

namespace tg::test {

using plugin::bfloat16;
using plugin::boolean;
using plugin::half;

// A binary float format: precision in bits (with the hidden one) and exponent range of normal numbers, 1.x * 2^e.
struct Format {
  int precision, min_exponent, max_exponent;
};
inline constexpr Format kHalf{11, -14, 15}, kBfloat{8, -126, 127}, kSingle{24, -126, 127}, kDouble{53, -1022, 1023};

template <class T>
inline constexpr bool is_float16 = std::is_same_v<T, half> || std::is_same_v<T, bfloat16>;
template <class T>
inline constexpr bool is_float = std::is_floating_point_v<T> || is_float16<T>;
template <class T>
inline constexpr bool is_bool = std::is_same_v<T, boolean>;
template <class T>
inline constexpr bool is_int = std::is_integral_v<T>;

template <class T>
constexpr Format format() {
  if constexpr (std::is_same_v<T, half>) return kHalf;
  if constexpr (std::is_same_v<T, bfloat16>) return kBfloat;
  if constexpr (std::is_same_v<T, float>) return kSingle;
  return kDouble;
}

// The distance from 1 to the next number.
template <class T>
long double eps() {
  return std::ldexp(1.0L, 1 - format<T>().precision);
}
// ... of the dtype in which sums of T accumulate.
template <class T>
long double accumulation_eps() {
  return std::is_same_v<T, double> ? eps<double>() : eps<float>();
}

// The number that the element stands for.
template <class T>
long double number(T x) {
  if constexpr (is_float16<T>) {
    const int mantissa_bits = format<T>().precision - 1;
    const int exponent_bits = 15 - mantissa_bits;
    const int exponent = (x.bits >> mantissa_bits) & ((1 << exponent_bits) - 1);
    const long double fraction = x.bits & ((1 << mantissa_bits) - 1);
    const long double sign = x.bits >> 15 ? -1 : 1;
    if (exponent == (1 << exponent_bits) - 1)
      return fraction != 0 ? std::numeric_limits<long double>::quiet_NaN()
                           : sign * std::numeric_limits<long double>::infinity();
    const int lowest = format<T>().min_exponent - mantissa_bits;
    if (exponent == 0) return sign * std::ldexp(fraction, lowest);
    return sign * std::ldexp(fraction + (1 << mantissa_bits), lowest + exponent - 1);
  } else if constexpr (is_bool<T>) {
    return x.value;
  } else {
    return static_cast<long double>(x);
  }
}

// Gap between neighbours of a format at x.
inline long double ulp(long double x, Format f) {
  if (x == 0 || !std::isfinite(x)) return std::ldexp(1.0L, f.min_exponent - f.precision + 1);
  int e;
  std::frexp(x, &e);
  return std::ldexp(1.0L, std::max(e - 1, f.min_exponent) - f.precision + 1);
}

// x to the nearest number of a format, ties to even, overflow to infinity.
inline long double nearest(long double x, Format f) {
  if (x == 0 || !std::isfinite(x)) return x;
  const long double gap = ulp(x, f);
  const long double q = x / gap;  // a power of two: exact
  long double whole = std::floor(q);
  const long double rest = q - whole;
  if (rest > 0.5L || (rest == 0.5L && std::fmod(whole, 2.0L) != 0)) whole += 1;
  const long double y = whole * gap;
  const long double limit = std::ldexp(2 - std::ldexp(1.0L, 1 - f.precision), f.max_exponent);
  if (std::abs(y) > limit) return std::copysign(std::numeric_limits<long double>::infinity(), x);
  return y == 0 ? std::copysign(0.0L, x) : y;
}

// An element from a number that the dtype holds exactly (or the nearest one).
template <class T>
T element(long double x) {
  if constexpr (is_float16<T>) {
    T out;
    if (std::isnan(x)) {
      out.bits = std::is_same_v<T, half> ? 0x7e00 : 0x7fc0;
      return out;
    }
    const long double y = nearest(x, format<T>());
    const int mantissa_bits = format<T>().precision - 1;
    const uint16_t sign = std::signbit(y) ? 0x8000 : 0;
    if (std::isinf(y)) {
      out.bits = uint16_t(sign | (std::is_same_v<T, half> ? 0x7c00 : 0x7f80));
      return out;
    }
    const long double a = std::abs(y), smallest = std::ldexp(1.0L, format<T>().min_exponent);
    if (a < smallest) {
      out.bits = uint16_t(sign | uint16_t(std::ldexp(a, mantissa_bits - format<T>().min_exponent)));
    } else {
      int e;
      const long double m = std::frexp(a, &e);  // a = m * 2^e, m in [0.5, 1)
      const int fraction = int(std::ldexp(m, mantissa_bits + 1)) - (1 << mantissa_bits);
      out.bits = uint16_t(sign | ((e - 1 - format<T>().min_exponent + 1) << mantissa_bits) | fraction);
    }
    return out;
  } else if constexpr (is_bool<T>) {
    return T(x != 0);
  } else {
    return static_cast<T>(x);
  }
}

// Floats: equal numbers, or both NaN (signs of zero and NaN payloads are the business of tests that ask for them).
inline bool same(long double a, long double b) { return a == b || (std::isnan(a) && std::isnan(b)); }

using Random = std::mt19937_64;

// Corner values of a dtype, then random ones, `count` in all (corners are never cut).
template <class T>
std::vector<T> sample(Random& random, size_t count) {
  std::vector<T> out;
  if constexpr (is_float<T>) {
    const Format f = format<T>();
    const long double big = std::ldexp(2 - eps<T>(), f.max_exponent), tiny = std::ldexp(1.0L, f.min_exponent);
    for (long double x : {0.0L,
                          0.25L,
                          0.5L,
                          1.0L,
                          1.5L,
                          2.0L,
                          2.5L,
                          3.0L,
                          3.5L,
                          100.0L,
                          127.0L,
                          128.5L,
                          255.0L,
                          256.0L,
                          32768.0L,
                          1 + eps<T>(),
                          1 - eps<T>() / 2,
                          1e-3L,
                          big,
                          big / 2,
                          tiny,
                          tiny / 2,
                          tiny * eps<T>(),
                          std::numeric_limits<long double>::infinity()}) {
      out.push_back(element<T>(x));
      out.push_back(element<T>(-x));
    }
    out.push_back(element<T>(std::numeric_limits<long double>::quiet_NaN()));
    std::uniform_real_distribution<double> wide(-20, 20), mantissa(-2, 2);
    std::uniform_int_distribution<int> exponent(-12, 12);
    while (out.size() < count) {
      out.push_back(element<T>(wide(random)));
      out.push_back(element<T>(std::ldexp(mantissa(random), exponent(random))));
    }
  } else if constexpr (is_bool<T>) {
    while (out.size() < std::max<size_t>(count, 2)) out.push_back(T(out.size() < 2 ? out.size() == 1 : (random() & 1)));
  } else {
    using Limits = std::numeric_limits<T>;
    for (T x : {Limits::min(), T(Limits::min() + 1), T(Limits::min() / 2), T(Limits::max()), T(Limits::max() - 1),
                T(Limits::max() / 2)})
      out.push_back(x);
    for (int x : {0, 1, 2, 3, 5, 7, 8, 15, 16, 31, 32, 33, 63, 64, 65, 100, 127, -1, -2, -3, -5, -7, -8, -64, -100})
      if (x >= 0 || Limits::min() < 0) out.push_back(T(x));
    while (out.size() < count) {
      out.push_back(T(random()));
      out.push_back(T(random() % 200));
    }
  }
  return out;
}

// Small numbers whose sums and products stay harmless: for reductions and matmul.
template <class T>
std::vector<T> small_sample(Random& random, size_t count) {
  std::vector<T> out;
  std::uniform_real_distribution<double> real(-2, 2);
  while (out.size() < count) {
    if constexpr (is_float<T>) {
      out.push_back(element<T>(real(random)));
    } else if constexpr (is_bool<T>) {
      out.push_back(T(random() & 1));
    } else {
      out.push_back(T(random() % 23) - T(std::is_signed_v<T> ? 11 : 0));
    }
  }
  return out;
}

}  // namespace tg::test
