// SPDX-License-Identifier: Apache-2.0
//
// One instruction of a map program over a block: packed operands, packed result, nothing overlapping. The loops are
// made from small functions of the compute type (float for 16-bit floats), each result rounded to the dtype.
#pragma once

#include "common.h"

namespace tg::reference {

using MapLoop = void (*)(const void* const* operands, void* result, int64_t n);

// The loop of an opcode for operands of that dtype; NULL where the opcode does not take it.
MapLoop float_loop(tg_dtype dtype, uint16_t opcode);    // map_float.cc
MapLoop integer_loop(tg_dtype dtype, uint16_t opcode);  // map_integer.cc; bool too
MapLoop cast_loop(tg_dtype from, tg_dtype to);          // map_cast.cc

template <class T, class R, class F>
MapLoop unary_loop(F) {
  return [](const void* const* x, void* y, int64_t n) {
    const T* __restrict a = static_cast<const T*>(x[0]);
    R* __restrict r = static_cast<R*>(y);
    for (int64_t i = 0; i < n; ++i) r[i] = R(F{}(value(a[i])));
  };
}

template <class T, class R, class F>
MapLoop binary_loop(F) {
  return [](const void* const* x, void* y, int64_t n) {
    const T* __restrict a = static_cast<const T*>(x[0]);
    const T* __restrict b = static_cast<const T*>(x[1]);
    R* __restrict r = static_cast<R*>(y);
    for (int64_t i = 0; i < n; ++i) r[i] = R(F{}(value(a[i]), value(b[i])));
  };
}

template <class T, class F>
MapLoop ternary_loop(F) {
  return [](const void* const* x, void* y, int64_t n) {
    const T* __restrict a = static_cast<const T*>(x[0]);
    const T* __restrict b = static_cast<const T*>(x[1]);
    const T* __restrict c = static_cast<const T*>(x[2]);
    T* __restrict r = static_cast<T*>(y);
    for (int64_t i = 0; i < n; ++i) r[i] = T(F{}(value(a[i]), value(b[i]), value(c[i])));
  };
}

// Results of one dtype with the operands: f takes and gives the compute type.
template <class T, class F>
MapLoop unary(F f) {
  return unary_loop<T, T>(f);
}
template <class T, class F>
MapLoop binary(F f) {
  return binary_loop<T, T>(f);
}
template <class T, class F>
MapLoop ternary(F f) {
  return ternary_loop<T>(f);
}
template <class T, class F>
MapLoop comparison(F f) {
  return binary_loop<T, boolean>(f);
}

// What all dtypes have, bool included.
template <class T>
MapLoop common_loop(uint16_t opcode) {
  using C = decltype(value(T{}));
  switch (opcode) {
    case TG_MAP_COPY:
      return [](const void* const* x, void* y, int64_t n) {
        std::copy_n(static_cast<const T*>(x[0]), n, static_cast<T*>(y));
      };
    case TG_MAP_MAX:
      return binary<T>([](C a, C b) { return larger(a, b); });
    case TG_MAP_MIN:
      return binary<T>([](C a, C b) { return smaller(a, b); });
    case TG_MAP_EQ:
      return comparison<T>([](C a, C b) { return a == b; });
    case TG_MAP_NE:
      return comparison<T>([](C a, C b) { return a != b; });
    case TG_MAP_LT:
      return comparison<T>([](C a, C b) { return a < b; });
    case TG_MAP_LE:
      return comparison<T>([](C a, C b) { return a <= b; });
    case TG_MAP_WHERE:
      return [](const void* const* x, void* y, int64_t n) {
        const boolean* __restrict condition = static_cast<const boolean*>(x[0]);
        const T* __restrict a = static_cast<const T*>(x[1]);
        const T* __restrict b = static_cast<const T*>(x[2]);
        T* __restrict r = static_cast<T*>(y);
        for (int64_t i = 0; i < n; ++i) r[i] = bool(condition[i]) ? a[i] : b[i];
      };
    default:
      return nullptr;
  }
}

}  // namespace tg::reference
