// SPDX-License-Identifier: Apache-2.0
//
// map on integers and bool: plain loops that the compiler vectorises, once per instruction set. Meaning: ABI.md
// section 3 (overflow wraps, floored division, shifts beyond the width).
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>

#include "kernels/map.h"
#include "tengen/kernel_api.h"

// clang-format off: the order matters
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/map_int.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace tg::cpu::map::HWY_NAMESPACE {
namespace {

// Unsigned and at least as wide as int, so that nothing overflows.
template <class T>
using wide_t = std::conditional_t<(sizeof(T) < 4), uint32_t, std::make_unsigned_t<T>>;

#define TG_OP1(Name, expression)            \
  struct Name {                             \
    template <class T>                      \
    static HWY_INLINE T eval(T a) {         \
      using W [[maybe_unused]] = wide_t<T>; \
      return T(expression);                 \
    }                                       \
  };
#define TG_OP2(Name, R, expression)         \
  struct Name {                             \
    template <class T>                      \
    static HWY_INLINE R eval(T a, T b) {    \
      using W [[maybe_unused]] = wide_t<T>; \
      return R(expression);                 \
    }                                       \
  };
#define TG_OP3(Name, expression)              \
  struct Name {                               \
    template <class T>                        \
    static HWY_INLINE T eval(T a, T b, T c) { \
      using W [[maybe_unused]] = wide_t<T>;   \
      return T(expression);                   \
    }                                         \
  };

template <class T>
HWY_INLINE T div_floor(T a, T b) {
  if (b == 0) return 0;
  if constexpr (std::is_signed_v<T>) {
    if (b == T(-1)) return T(wide_t<T>(0) - wide_t<T>(a));
    const T q = T(a / b);
    return T(q - T((a % b != 0) && ((a < 0) != (b < 0))));
  } else {
    return T(a / b);
  }
}

template <class T>
HWY_INLINE T rem_floor(T a, T b) {
  if (b == 0) return 0;
  if constexpr (std::is_signed_v<T>) {
    if (b == T(-1)) return 0;
    const T r = T(a % b);
    return (r != 0 && ((r < 0) != (b < 0))) ? T(r + b) : r;
  } else {
    return T(a % b);
  }
}

template <class T>
HWY_INLINE T int_pow(T a, T b) {
  if constexpr (std::is_signed_v<T>) {
    if (b < 0) return a == 1 ? T(1) : a == T(-1) ? (b % 2 ? T(-1) : T(1)) : T(0);
  }
  wide_t<T> base = wide_t<T>(a), r = 1;
  for (std::make_unsigned_t<T> e = std::make_unsigned_t<T>(b); e; e >>= 1) {
    if (e & 1) r *= base;
    base *= base;
  }
  return T(r);
}

template <class T>
inline constexpr std::make_unsigned_t<T> kBits = sizeof(T) * 8;
template <class T>
HWY_INLINE bool in_width(T b) {
  return std::make_unsigned_t<T>(b) < kBits<T>;
}
template <class T>
HWY_INLINE T sign_of(T a) {
  if constexpr (std::is_signed_v<T>) return T((a > 0) - (a < 0));
  return T(a != 0);
}
template <class T>
HWY_INLINE T shift_right(T a, T b) {
  const int by = in_width(b) ? int(b) : int(kBits<T>) - 1;
  const T r = T(a >> by);
  return std::is_signed_v<T> || in_width(b) ? r : T(0);
}

TG_OP1(Neg, W(0) - W(a))
TG_OP1(Abs, std::is_signed_v<T>&& a < 0 ? W(0) - W(a) : W(a))
TG_OP1(Not, ~W(a))
TG_OP1(Sign, sign_of(a))
TG_OP1(Relu, a > 0 ? a : T(0))
TG_OP2(Add, T, W(a) + W(b))
TG_OP2(Sub, T, W(a) - W(b))
TG_OP2(Mul, T, W(a) * W(b))
TG_OP2(Div, T, div_floor(a, b))
TG_OP2(Rem, T, rem_floor(a, b))
TG_OP2(Pow, T, int_pow(a, b))
TG_OP2(Max, T, a < b ? b : a)
TG_OP2(Min, T, b < a ? b : a)
TG_OP2(Eq, uint8_t, a == b)
TG_OP2(Ne, uint8_t, a != b)
TG_OP2(Lt, uint8_t, a < b)
TG_OP2(Le, uint8_t, a <= b)
TG_OP2(And, T, a& b)
TG_OP2(Or, T, a | b)
TG_OP2(Xor, T, a ^ b)
TG_OP2(Shl, T, in_width(b) ? W(a) << (W(b) & (kBits<T> - 1)) : W(0))
TG_OP2(Shr, T, shift_right(a, b))
TG_OP3(Fma, W(a) * W(b) + W(c))
TG_OP3(Clip, Min::eval(Max::eval(a, b), c))
TG_OP1(NotBool, a == 0)

template <class T, class Op>
void unary(void* out_, const void* a_, const void*, const void*, int64_t n, uint32_t) {
  const T* a = static_cast<const T*>(a_);
  T* out = static_cast<T*>(out_);
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i) out[i] = Op::eval(a[i]);
}

template <class T, class Op>
void binary(void* out_, const void* a_, const void* b_, const void*, int64_t n, uint32_t scalars) {
  using R = decltype(Op::eval(T(), T()));
  const T* a = static_cast<const T*>(a_);
  const T* b = static_cast<const T*>(b_);
  R* out = static_cast<R*>(out_);
  if (scalars == 0) {
#pragma GCC ivdep
    for (int64_t i = 0; i < n; ++i) out[i] = Op::eval(a[i], b[i]);
  } else if (scalars & 1) {
    const T s = a[0];
#pragma GCC ivdep
    for (int64_t i = 0; i < n; ++i) out[i] = Op::eval(s, b[i]);
  } else {
    const T s = b[0];
#pragma GCC ivdep
    for (int64_t i = 0; i < n; ++i) out[i] = Op::eval(a[i], s);
  }
}

template <class T, class Op>
void ternary(void* out_, const void* a_, const void* b_, const void* c_, int64_t n, uint32_t scalars) {
  const T* a = static_cast<const T*>(a_);
  const T* b = static_cast<const T*>(b_);
  const T* c = static_cast<const T*>(c_);
  T* out = static_cast<T*>(out_);
  if (scalars == 6) {  // clip's usual form
    const T lo = b[0], hi = c[0];
#pragma GCC ivdep
    for (int64_t i = 0; i < n; ++i) out[i] = Op::eval(a[i], lo, hi);
    return;
  }
  const int64_t sa = !(scalars & 1), sb = !(scalars & 2), sc = !(scalars & 4);
  for (int64_t i = 0; i < n; ++i) out[i] = Op::eval(a[i * sa], b[i * sb], c[i * sc]);
}

template <class T>
Kernel lookup_t(int opcode) {
  switch (opcode) {
    case TG_MAP_NEG:
      return unary<T, Neg>;
    case TG_MAP_ABS:
      return unary<T, Abs>;
    case TG_MAP_NOT:
      return unary<T, Not>;
    case TG_MAP_SIGN:
      return unary<T, Sign>;
    case TG_MAP_RELU:
      return unary<T, Relu>;
    case TG_MAP_ADD:
      return binary<T, Add>;
    case TG_MAP_SUB:
      return binary<T, Sub>;
    case TG_MAP_MUL:
      return binary<T, Mul>;
    case TG_MAP_DIV:
      return binary<T, Div>;
    case TG_MAP_REM:
      return binary<T, Rem>;
    case TG_MAP_POW:
      return binary<T, Pow>;
    case TG_MAP_MAX:
      return binary<T, Max>;
    case TG_MAP_MIN:
      return binary<T, Min>;
    case TG_MAP_EQ:
      return binary<T, Eq>;
    case TG_MAP_NE:
      return binary<T, Ne>;
    case TG_MAP_LT:
      return binary<T, Lt>;
    case TG_MAP_LE:
      return binary<T, Le>;
    case TG_MAP_AND:
      return binary<T, And>;
    case TG_MAP_OR:
      return binary<T, Or>;
    case TG_MAP_XOR:
      return binary<T, Xor>;
    case TG_MAP_SHL:
      return binary<T, Shl>;
    case TG_MAP_SHR:
      return binary<T, Shr>;
    case TG_MAP_FMA:
      return ternary<T, Fma>;
    case TG_MAP_CLIP:
      return ternary<T, Clip>;
    default:
      return nullptr;
  }
}

Kernel lookup_bool(int opcode) {
  switch (opcode) {
    case TG_MAP_NOT:
      return unary<uint8_t, NotBool>;
    case TG_MAP_AND:
    case TG_MAP_MIN:
      return binary<uint8_t, And>;
    case TG_MAP_OR:
    case TG_MAP_MAX:
      return binary<uint8_t, Or>;
    case TG_MAP_NE:
    case TG_MAP_XOR:
      return binary<uint8_t, Xor>;
    case TG_MAP_EQ:
      return binary<uint8_t, Eq>;
    case TG_MAP_LT:
      return binary<uint8_t, Lt>;
    case TG_MAP_LE:
      return binary<uint8_t, Le>;
    default:
      return nullptr;
  }
}

Kernel lookup(int opcode, Rep rep) {
  switch (rep) {
    case kI64:
      return lookup_t<int64_t>(opcode);
    case kI32:
      return lookup_t<int32_t>(opcode);
    case kI16:
      return lookup_t<int16_t>(opcode);
    case kI8:
      return lookup_t<int8_t>(opcode);
    case kU64:
      return lookup_t<uint64_t>(opcode);
    case kU32:
      return lookup_t<uint32_t>(opcode);
    case kU16:
      return lookup_t<uint16_t>(opcode);
    case kU8:
      return lookup_t<uint8_t>(opcode);
    case kBool:
      return lookup_bool(opcode);
    default:
      return nullptr;
  }
}

template <class T>
void copy(void* out_, const void* a_, const void*, const void*, int64_t n, uint32_t scalars) {
  const T* a = static_cast<const T*>(a_);
  T* out = static_cast<T*>(out_);
  if (scalars) {
    const T s = a[0];
    for (int64_t i = 0; i < n; ++i) out[i] = s;
  } else if (out != a) {
    std::memcpy(out, a, size_t(n) * sizeof(T));
  }
}
Kernel copy_lookup(int size) {
  return size == 1 ? copy<uint8_t> : size == 2 ? copy<uint16_t> : size == 4 ? copy<uint32_t> : copy<uint64_t>;
}
}  // namespace
}  // namespace tg::cpu::map::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace tg::cpu::map {
HWY_EXPORT(lookup);
HWY_EXPORT(copy_lookup);
Kernel int_kernel(int opcode, Rep rep) { return HWY_DYNAMIC_DISPATCH(lookup)(opcode, rep); }
Kernel copy_kernel(int size) { return HWY_DYNAMIC_DISPATCH(copy_lookup)(size); }
}  // namespace tg::cpu::map
#endif
