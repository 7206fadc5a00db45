// SPDX-License-Identifier: Apache-2.0
//
// Casts between all representations (ABI.md section 4), and the 16-bit floats: read as f32, rounded, stored.
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <tengen/kernel_api.hpp>
#include <type_traits>

#include "kernels/map.h"

// clang-format off: the order matters
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/map_cast.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/simd-inl.h"
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace tg::cpu::map::HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;
using namespace tg::cpu::HWY_NAMESPACE;

struct Bool {
  uint8_t value;
};

template <class To, class From>
HWY_INLINE To cast_one(From x) {
  if constexpr (std::is_same_v<To, Bool>) {
    if constexpr (std::is_same_v<From, Bool>) {
      return Bool{uint8_t(x.value != 0)};
    } else {
      return Bool{uint8_t(x != 0)};  // NaN != 0
    }
  } else if constexpr (std::is_same_v<From, Bool>) {
    return To(x.value != 0);
  } else if constexpr (std::is_floating_point_v<From> && std::is_integral_v<To>) {
    // 2^digits is exact in every float type; selects instead of branches let the loop vectorise.
    constexpr From kEnd = From(1) * From(uint64_t(1) << (std::numeric_limits<To>::digits - 1)) * From(2);
    constexpr From kBegin = std::is_signed_v<To> ? -kEnd : From(0);
    const From t = std::trunc(x);
    const bool high = t >= kEnd, low = !(t >= kBegin);
    const From safe = high || low ? From(0) : t;
    To r = To(safe);
    r = high ? std::numeric_limits<To>::max() : r;
    r = low ? std::numeric_limits<To>::min() : r;
    return x != x ? To(0) : r;
  } else {
    return static_cast<To>(x);
  }
}

template <class To, class From>
void cast(void* out_, const void* a_, const void*, const void*, int64_t n, uint32_t) {
  const From* a = static_cast<const From*>(a_);
  To* out = static_cast<To*>(out_);
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i) out[i] = cast_one<To>(a[i]);
}

template <class To>
Kernel cast_to(Rep from) {
  switch (from) {
    case kF32:
      return cast<To, float>;
    case kF64:
      return cast<To, double>;
    case kI64:
      return cast<To, int64_t>;
    case kI32:
      return cast<To, int32_t>;
    case kI16:
      return cast<To, int16_t>;
    case kI8:
      return cast<To, int8_t>;
    case kU64:
      return cast<To, uint64_t>;
    case kU32:
      return cast<To, uint32_t>;
    case kU16:
      return cast<To, uint16_t>;
    case kU8:
      return cast<To, uint8_t>;
    case kBool:
      return cast<To, Bool>;
    default:
      return nullptr;
  }
}

Kernel cast_lookup(Rep to, Rep from) {
  switch (to) {
    case kF32:
      return cast_to<float>(from);
    case kF64:
      return cast_to<double>(from);
    case kI64:
      return cast_to<int64_t>(from);
    case kI32:
      return cast_to<int32_t>(from);
    case kI16:
      return cast_to<int16_t>(from);
    case kI8:
      return cast_to<int8_t>(from);
    case kU64:
      return cast_to<uint64_t>(from);
    case kU32:
      return cast_to<uint32_t>(from);
    case kU16:
      return cast_to<uint16_t>(from);
    case kU8:
      return cast_to<uint8_t>(from);
    case kBool:
      return cast_to<Bool>(from);
    default:
      return nullptr;
  }
}

// ---- 16-bit floats. f32 lanes in, the 16-bit pattern in the low half of u32 lanes out, and back; integer arithmetic,
// so that every target gives the same bits.

struct Bf16 {
  template <class D, class DU, class V>
  static HWY_INLINE hn::Vec<DU> narrow(D, DU du, V v) {
    const auto u = hn::BitCast(du, v);
    const auto odd = hn::And(hn::ShiftRight<16>(u), hn::Set(du, 1u));
    const auto rounded = hn::ShiftRight<16>(hn::Add(u, hn::Add(odd, hn::Set(du, 0x7fffu))));
    const auto quiet = hn::Or(hn::ShiftRight<16>(u), hn::Set(du, 0x40u));
    return hn::IfThenElse(hn::RebindMask(du, hn::IsNaN(v)), quiet, rounded);
  }
  template <class D, class DU, class VU>
  static HWY_INLINE hn::Vec<D> widen(D d, DU, VU u) {
    return hn::BitCast(d, hn::ShiftLeft<16>(u));
  }
};

struct F16 {
  template <class D, class DU, class V>
  static HWY_INLINE hn::Vec<DU> narrow(D d, DU du, V v) {
    const auto bits = hn::BitCast(du, v);
    const auto u = hn::And(bits, hn::Set(du, 0x7fffffffu));
    const auto sign = hn::And(hn::ShiftRight<16>(bits), hn::Set(du, 0x8000u));
    const auto odd = hn::And(hn::ShiftRight<13>(u), hn::Set(du, 1u));
    const auto normal = hn::ShiftRight<13>(hn::Add(u, hn::Add(odd, hn::Set(du, 0xc8000fffu))));
    // Subnormal results: adding 0.5, whose last place is 2^-24, lets the float adder round.
    const auto half = hn::Set(d, 0.5f);
    const auto tiny = hn::Sub(hn::BitCast(du, hn::Add(hn::BitCast(d, u), half)), hn::BitCast(du, half));
    const auto nan = hn::Or(hn::Set(du, 0x7e00u), hn::And(hn::ShiftRight<13>(u), hn::Set(du, 0x3ffu)));
    const hn::RebindToSigned<DU> di;
    const auto i = hn::BitCast(di, u);
    auto r = hn::IfThenElse(hn::RebindMask(du, hn::Lt(i, hn::Set(di, 0x38800000))), tiny, normal);
    r = hn::IfThenElse(hn::RebindMask(du, hn::Gt(i, hn::Set(di, 0x477fefff))), hn::Set(du, 0x7c00u), r);
    r = hn::IfThenElse(hn::RebindMask(du, hn::Gt(i, hn::Set(di, 0x7f800000))), nan, r);
    return hn::Or(r, sign);
  }
  template <class D, class DU, class VU>
  static HWY_INLINE hn::Vec<D> widen(D d, DU du, VU u) {
    const auto sign = hn::ShiftLeft<16>(hn::And(u, hn::Set(du, 0x8000u)));
    const auto m = hn::And(u, hn::Set(du, 0x7fffu));
    // Shift into place and rescale the exponent by 2^112: exact, subnormals included.
    const auto scaled = hn::Mul(hn::BitCast(d, hn::ShiftLeft<13>(m)), hn::Set(d, 0x1p112f));
    const hn::RebindToSigned<DU> di;
    const auto special = hn::RebindMask(d, hn::Gt(hn::BitCast(di, m), hn::Set(di, 0x7bff)));
    const auto inf = hn::BitCast(d, hn::Or(hn::ShiftLeft<13>(m), hn::Set(du, 0x7f800000u)));
    return hn::BitCast(d, hn::Or(hn::BitCast(du, hn::IfThenElse(special, inf, scaled)), sign));
  }
};

template <class H>
void half_load(void* out_, const void* a_, const void*, const void*, int64_t n, uint32_t) {
  const hn::ScalableTag<float> d;
  const hn::RebindToUnsigned<decltype(d)> du;
  const hn::Rebind<uint16_t, decltype(d)> d16;
  const int64_t lanes = int64_t(hn::Lanes(d));
  const uint16_t* a = static_cast<const uint16_t*>(a_);
  float* out = static_cast<float*>(out_);
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    hn::StoreU(H::widen(d, du, hn::PromoteTo(du, hn::LoadU(d16, a + i))), d, out + i);
  }
  if (i < n) {
    const size_t rest = size_t(n - i);
    HWY_ALIGN uint16_t buffer[HWY_MAX_BYTES / 2] = {};
    for (size_t k = 0; k < rest; ++k) buffer[k] = a[i + int64_t(k)];
    store_first(H::widen(d, du, hn::PromoteTo(du, hn::LoadU(d16, buffer))), d, out + i, rest);
  }
}

template <class H>
void half_store(void* out_, const void* a_, const void*, const void*, int64_t n, uint32_t) {
  const hn::ScalableTag<float> d;
  const hn::RebindToUnsigned<decltype(d)> du;
  const hn::Rebind<uint16_t, decltype(d)> d16;
  const int64_t lanes = int64_t(hn::Lanes(d));
  const float* a = static_cast<const float*>(a_);
  uint16_t* out = static_cast<uint16_t*>(out_);
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    hn::StoreU(hn::TruncateTo(d16, H::narrow(d, du, hn::LoadU(d, a + i))), d16, out + i);
  }
  if (i < n) {
    const size_t rest = size_t(n - i);
    HWY_ALIGN uint16_t buffer[HWY_MAX_BYTES / 2];
    hn::StoreU(hn::TruncateTo(d16, H::narrow(d, du, load_first(d, a + i, rest))), d16, buffer);
    for (size_t k = 0; k < rest; ++k) out[i + int64_t(k)] = buffer[k];
  }
}

template <class H>
struct RoundTo {
  template <class D, class V>
  static HWY_INLINE V eval(D d, V v) {
    const hn::RebindToUnsigned<D> du;
    return H::widen(d, du, H::narrow(d, du, v));
  }
};

Kernel half_lookup(int what, Half h) {
  const bool f16 = h == kF16;
  switch (what) {
    case 0:
      return f16 ? half_load<F16> : half_load<Bf16>;
    case 1:
      return f16 ? half_store<F16> : half_store<Bf16>;
    default:
      return f16 ? unary<float, RoundTo<F16>> : unary<float, RoundTo<Bf16>>;
  }
}
}  // namespace
}  // namespace tg::cpu::map::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace tg::cpu::map {
HWY_EXPORT(cast_lookup);
HWY_EXPORT(half_lookup);
Kernel cast_kernel(Rep to, Rep from) { return HWY_DYNAMIC_DISPATCH(cast_lookup)(to, from); }
Kernel half_load(Half h) { return HWY_DYNAMIC_DISPATCH(half_lookup)(0, h); }
Kernel half_store(Half h) { return HWY_DYNAMIC_DISPATCH(half_lookup)(1, h); }
Kernel half_round(Half h) { return HWY_DYNAMIC_DISPATCH(half_lookup)(2, h); }
}  // namespace tg::cpu::map
#endif
