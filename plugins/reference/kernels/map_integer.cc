// SPDX-License-Identifier: Apache-2.0
//
// map instructions of the integers and of bool. Overflow wraps: arithmetic goes through uint64_t, whose low bits are
// those of the narrow result.

#include "map_loops.h"

namespace tg::reference {
namespace {

template <class T>
T add(T a, T b) {
  return T(uint64_t(a) + uint64_t(b));
}
template <class T>
T multiply(T a, T b) {
  return T(uint64_t(a) * uint64_t(b));
}
template <class T>
T negate(T x) {
  return T(uint64_t(0) - uint64_t(x));
}

// Towards minus infinity; 0 for a divisor of 0; min / -1 wraps to min.
template <class T>
T floor_divide(T a, T b) {
  if (b == 0) return 0;
  if constexpr (std::is_signed_v<T>) {
    if (b == T(-1)) return negate(a);
    const T quotient = T(a / b);
    return a % b != 0 && (a < 0) != (b < 0) ? T(quotient - 1) : quotient;
  } else {
    return a / b;
  }
}

// What floor_divide leaves: it has the divisor's sign.
template <class T>
T remainder(T a, T b) {
  if (b == 0) return 0;
  if constexpr (std::is_signed_v<T>) {
    if (b == T(-1)) return 0;
    const T r = T(a % b);
    return r != 0 && (r < 0) != (b < 0) ? T(r + b) : r;
  } else {
    return a % b;
  }
}

template <class T>
T power(T base, T exponent) {
  if constexpr (std::is_signed_v<T>) {
    if (exponent < 0) {
      if (base == 1) return 1;
      if (base == T(-1)) return exponent % 2 ? T(-1) : T(1);
      return 0;
    }
  }
  T result = 1;
  for (auto e = std::make_unsigned_t<T>(exponent); e != 0; e = decltype(e)(e >> 1)) {
    if (e & 1) result = multiply(result, base);
    base = multiply(base, base);
  }
  return result;
}

// A negative amount, as an unsigned number, is beyond every width too.
template <class T>
constexpr uint64_t width = sizeof(T) * 8;
template <class T>
T shift_left(T x, T amount) {
  return uint64_t(amount) < width<T> ? T(uint64_t(x) << uint64_t(amount)) : T(0);
}
template <class T>
T shift_right(T x, T amount) {
  if (uint64_t(amount) < width<T>) return T(x >> amount);
  return x < 0 ? T(-1) : T(0);
}

template <class T>
MapLoop integer(uint16_t opcode) {
  switch (opcode) {
    case TG_MAP_NEG:
      return unary<T>([](T x) { return negate(x); });
    case TG_MAP_ABS:
      return unary<T>([](T x) { return x < 0 ? negate(x) : x; });
    case TG_MAP_NOT:
      return unary<T>([](T x) { return T(~x); });
    case TG_MAP_ADD:
      return binary<T>([](T a, T b) { return add(a, b); });
    case TG_MAP_SUB:
      return binary<T>([](T a, T b) { return add(a, negate(b)); });
    case TG_MAP_MUL:
      return binary<T>([](T a, T b) { return multiply(a, b); });
    case TG_MAP_DIV:
      return binary<T>([](T a, T b) { return floor_divide(a, b); });
    case TG_MAP_REM:
      return binary<T>([](T a, T b) { return remainder(a, b); });
    case TG_MAP_POW:
      return binary<T>([](T a, T b) { return power(a, b); });
    case TG_MAP_AND:
      return binary<T>([](T a, T b) { return T(a & b); });
    case TG_MAP_OR:
      return binary<T>([](T a, T b) { return T(a | b); });
    case TG_MAP_XOR:
      return binary<T>([](T a, T b) { return T(a ^ b); });
    case TG_MAP_SHL:
      return binary<T>([](T a, T b) { return shift_left(a, b); });
    case TG_MAP_SHR:
      return binary<T>([](T a, T b) { return shift_right(a, b); });
    case TG_MAP_FMA:
      return ternary<T>([](T a, T b, T c) { return add(multiply(a, b), c); });
    case TG_MAP_CLIP:
      return ternary<T>([](T x, T lo, T hi) { return std::min(std::max(x, lo), hi); });
    case TG_MAP_SIGN:
      return unary<T>([](T x) { return x > 0 ? T(1) : x < 0 ? T(-1) : T(0); });
    case TG_MAP_RELU:
      return unary<T>([](T x) { return x < 0 ? T(0) : x; });
    default:
      return nullptr;
  }
}

MapLoop logical(uint16_t opcode) {
  switch (opcode) {
    case TG_MAP_NOT:
      return unary<boolean>([](bool x) { return !x; });
    case TG_MAP_AND:
      return binary<boolean>([](bool a, bool b) { return a && b; });
    case TG_MAP_OR:
      return binary<boolean>([](bool a, bool b) { return a || b; });
    case TG_MAP_XOR:
      return binary<boolean>([](bool a, bool b) { return a != b; });
    default:
      return nullptr;
  }
}

}  // namespace

MapLoop integer_loop(tg_dtype dtype, uint16_t opcode) {
  return visit(dtype, [&](auto t) -> MapLoop {
    using T = typename decltype(t)::type;
    if constexpr (is_floating<T>) {
      return nullptr;
    } else {
      if (MapLoop loop = common_loop<T>(opcode)) return loop;
      if constexpr (is_bool<T>) {
        return logical(opcode);
      } else {
        return integer<T>(opcode);
      }
    }
  });
}

}  // namespace tg::reference
