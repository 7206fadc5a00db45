// SPDX-License-Identifier: Apache-2.0
//
// map on f32 and f64: the operations with exact results (one rounding, or none), comparisons and `where`.
#include <cmath>

#include "kernels/map.h"
#include "tengen/kernel_api.h"

// clang-format off: the order matters
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/map_float.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/simd-inl.h"
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace tg::cpu::map::HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;
using namespace tg::cpu::HWY_NAMESPACE;

#define TG_UNARY(Name, expression)                        \
  struct Name {                                           \
    template <class D, class V>                           \
    static HWY_INLINE V eval([[maybe_unused]] D d, V a) { \
      return expression;                                  \
    }                                                     \
  };
#define TG_BINARY(Name, expression)                               \
  struct Name {                                                   \
    template <class D, class V>                                   \
    static HWY_INLINE auto eval([[maybe_unused]] D d, V a, V b) { \
      return expression;                                          \
    }                                                             \
  };

TG_UNARY(Neg, hn::Xor(a, hn::SignBit(d)))
TG_UNARY(Abs, hn::Abs(a))
TG_UNARY(Sqrt, hn::Sqrt(a))
TG_UNARY(Floor, hn::Floor(a))
TG_UNARY(Ceil, hn::Ceil(a))
TG_UNARY(Round, hn::Round(a))
TG_UNARY(Trunc, hn::Trunc(a))
TG_UNARY(Rsqrt, hn::Div(hn::Set(d, 1), hn::Sqrt(a)))
TG_UNARY(Reciprocal, hn::Div(hn::Set(d, 1), a))
// x > 0 ? x : 0, where NaN stays.
TG_UNARY(Relu, hn::IfThenZeroElse(hn::Le(a, hn::Zero(d)), a))
// Zeros and NaN stay as they are.
TG_UNARY(Sign, hn::IfThenElse(hn::Ne(hn::Abs(a), hn::Zero(d)),
                              hn::IfThenElse(hn::IsNaN(a), a, hn::CopySign(hn::Set(d, 1), a)), a))

TG_BINARY(Add, hn::Add(a, b))
TG_BINARY(Sub, hn::Sub(a, b))
TG_BINARY(Mul, hn::Mul(a, b))
TG_BINARY(Div, hn::Div(a, b))
TG_BINARY(Eq, hn::Eq(a, b))
TG_BINARY(Ne, hn::Not(hn::Eq(a, b)))  // hn::Ne may be ordered: false for NaN
TG_BINARY(Lt, hn::Lt(a, b))
TG_BINARY(Le, hn::Le(a, b))
// The first NaN wins, and of equals the first.
TG_BINARY(Max, hn::IfThenElse(hn::Or(hn::IsNaN(a), hn::Ge(a, b)), a, b))
TG_BINARY(Min, hn::IfThenElse(hn::Or(hn::IsNaN(a), hn::Le(a, b)), a, b))

struct Clip {
  template <class D, class V>
  static HWY_INLINE V eval(D d, V x, V lo, V hi) {
    return Min::eval(d, Max::eval(d, x, lo), hi);
  }
};

struct Fma {
  template <class D, class V>
  static HWY_INLINE V eval(D d, V a, V b, V c) {
#if HWY_TARGET == HWY_EMU128 || HWY_TARGET == HWY_SCALAR || HWY_TARGET == HWY_SSSE3 || HWY_TARGET == HWY_SSE4
    using T = hn::TFromD<D>;  // MulAdd rounds twice here
    HWY_ALIGN T x[HWY_MAX_BYTES / sizeof(T)], y[HWY_MAX_BYTES / sizeof(T)], z[HWY_MAX_BYTES / sizeof(T)];
    hn::Store(a, d, x), hn::Store(b, d, y), hn::Store(c, d, z);
    for (size_t i = 0; i < hn::Lanes(d); ++i) x[i] = std::fma(x[i], y[i], z[i]);
    return hn::Load(d, x);
#else
    (void)d;
    return hn::MulAdd(a, b, c);
#endif
  }
};

// The sign of the divisor, as Python's %. fmod is exact, so this rounds once.
template <class T>
void rem(void* out_, const void* a_, const void* b_, const void*, int64_t n, uint32_t scalars) {
  const T* a = static_cast<const T*>(a_);
  const T* b = static_cast<const T*>(b_);
  T* out = static_cast<T*>(out_);
  const int64_t sa = !(scalars & 1), sb = !(scalars & 2);
  for (int64_t i = 0; i < n; ++i) {
    const T x = a[i * sa], y = b[i * sb];
    T r = std::fmod(x, y);
    if (r == 0) {
      r = std::copysign(r, y);
    } else if ((r < 0) != (y < 0)) {
      r += y;
    }
    out[i] = r;
  }
}

template <class T>
Kernel lookup_t(int opcode) {
  switch (opcode) {
    case TG_MAP_NEG:
      return unary<T, Neg>;
    case TG_MAP_ABS:
      return unary<T, Abs>;
    case TG_MAP_SQRT:
      return unary<T, Sqrt>;
    case TG_MAP_FLOOR:
      return unary<T, Floor>;
    case TG_MAP_CEIL:
      return unary<T, Ceil>;
    case TG_MAP_ROUND:
      return unary<T, Round>;
    case TG_MAP_TRUNC:
      return unary<T, Trunc>;
    case TG_MAP_RSQRT:
      return unary<T, Rsqrt>;
    case TG_MAP_RECIPROCAL:
      return unary<T, Reciprocal>;
    case TG_MAP_RELU:
      return unary<T, Relu>;
    case TG_MAP_SIGN:
      return unary<T, Sign>;
    case TG_MAP_ADD:
      return binary<T, Add>;
    case TG_MAP_SUB:
      return binary<T, Sub>;
    case TG_MAP_MUL:
      return binary<T, Mul>;
    case TG_MAP_DIV:
      return binary<T, Div>;
    case TG_MAP_REM:
      return rem<T>;
    case TG_MAP_MAX:
      return binary<T, Max>;
    case TG_MAP_MIN:
      return binary<T, Min>;
    case TG_MAP_EQ:
      return compare<T, Eq>;
    case TG_MAP_NE:
      return compare<T, Ne>;
    case TG_MAP_LT:
      return compare<T, Lt>;
    case TG_MAP_LE:
      return compare<T, Le>;
    case TG_MAP_FMA:
      return ternary<T, Fma>;
    case TG_MAP_CLIP:
      return ternary<T, Clip>;
    default:
      return nullptr;
  }
}

Kernel lookup(int opcode, Rep rep) {
  return rep == kF32 ? lookup_t<float>(opcode) : rep == kF64 ? lookup_t<double>(opcode) : nullptr;
}

// where(cond, x, y) on elements of T's size.
template <class T>
void select(void* out_, const void* c_, const void* x_, const void* y_, int64_t n, uint32_t scalars) {
  const hn::ScalableTag<T> d;
  const hn::Rebind<uint8_t, decltype(d)> d8;
  const int64_t lanes = int64_t(hn::Lanes(d));
  const uint8_t* c = static_cast<const uint8_t*>(c_);
  const T* x = static_cast<const T*>(x_);
  const T* y = static_cast<const T*>(y_);
  T* out = static_cast<T*>(out_);
  if ((scalars & 1) && n > 1) {  // one condition for all
    const bool yes = c[0] != 0;
    const T* from = yes ? x : y;
    const bool one = scalars & (yes ? 2u : 4u);
    for (int64_t i = 0; i < n; ++i) out[i] = from[one ? 0 : i];
    return;
  }
  const auto sx = hn::Set(d, x[0]), sy = hn::Set(d, y[0]);
  const bool vx = !(scalars & 2), vy = !(scalars & 4);
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    const auto v = vx ? hn::LoadU(d, x + i) : sx, w = vy ? hn::LoadU(d, y + i) : sy;
    hn::StoreU(hn::IfThenElse(mask_of(d, hn::LoadU(d8, c + i)), v, w), d, out + i);
  }
  if (i < n) {
    const size_t rest = size_t(n - i);
    const auto v = vx ? load_first(d, x + i, rest) : sx, w = vy ? load_first(d, y + i, rest) : sy;
    HWY_ALIGN uint8_t bytes[HWY_MAX_BYTES] = {};
    for (size_t k = 0; k < rest; ++k) bytes[k] = c[i + int64_t(k)];
    store_first(hn::IfThenElse(mask_of(d, hn::LoadU(d8, bytes)), v, w), d, out + i, rest);
  }
}

Kernel select_lookup(int size) {
  return size == 1 ? select<uint8_t> : size == 2 ? select<uint16_t> : size == 4 ? select<uint32_t> : select<uint64_t>;
}
}  // namespace
}  // namespace tg::cpu::map::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace tg::cpu::map {
HWY_EXPORT(lookup);
HWY_EXPORT(select_lookup);
Kernel float_kernel(int opcode, Rep rep) { return HWY_DYNAMIC_DISPATCH(lookup)(opcode, rep); }
Kernel select_kernel(int size) { return HWY_DYNAMIC_DISPATCH(select_lookup)(size); }
}  // namespace tg::cpu::map
#endif
