// SPDX-License-Identifier: Apache-2.0
//
// Per instruction set: loads and stores of a partial vector, and loops over operands. A tail goes through the same
// vector code as the rest, so that an element's result does not depend on where it lies.
#include <hwy/highway.h>

#include <cstdint>
#include <cstring>

#if defined(TENGEN_CPU_SIMD_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef TENGEN_CPU_SIMD_INL_H_
#undef TENGEN_CPU_SIMD_INL_H_
#else
#define TENGEN_CPU_SIMD_INL_H_
#endif

HWY_BEFORE_NAMESPACE();
namespace tg::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Masked memory access exists in hardware for 4 and 8 bytes from AVX2 on; elsewhere a small buffer does.
template <class T>
inline constexpr bool kMaskedAccess = HWY_ARCH_X86&& HWY_TARGET <= HWY_AVX2 && (sizeof(T) >= 4);

template <class D, class T = hn::TFromD<D>>
HWY_INLINE hn::Vec<D> load_first(D d, const T* p, size_t n) {
  if constexpr (kMaskedAccess<T>) {
    return hn::MaskedLoad(hn::FirstN(d, n), d, p);
  } else {
    HWY_ALIGN T buffer[HWY_MAX_BYTES / sizeof(T)] = {};
    for (size_t i = 0; i < n; ++i) buffer[i] = p[i];
    return hn::Load(d, buffer);
  }
}

template <class D, class T = hn::TFromD<D>>
HWY_INLINE void store_first(hn::Vec<D> v, D d, T* p, size_t n) {
  if constexpr (kMaskedAccess<T>) {
    hn::BlendedStore(v, hn::FirstN(d, n), d, p);
  } else {
    HWY_ALIGN T buffer[HWY_MAX_BYTES / sizeof(T)];
    hn::Store(v, d, buffer);
    for (size_t i = 0; i < n; ++i) p[i] = buffer[i];
  }
}

// A mask of D's lanes as bytes 0 and 1.
template <class D, class M>
HWY_INLINE hn::Vec<hn::Rebind<uint8_t, D>> bytes_of(D d, M mask) {
  const hn::RebindToUnsigned<D> du;
  constexpr int kShift = int(sizeof(hn::TFromD<D>)) * 8 - 1;
  const auto ones = hn::ShiftRight<kShift>(hn::BitCast(du, hn::VecFromMask(d, mask)));
  const hn::Rebind<uint8_t, D> d8;
  if constexpr (sizeof(hn::TFromD<D>) == 1) {
    return ones;
  } else {
    return hn::TruncateTo(d8, ones);
  }
}

// Bytes, zero or not, as a mask of D's lanes.
template <class D, class V8>
HWY_INLINE hn::Mask<D> mask_of(D d, V8 bytes) {
  const hn::RebindToUnsigned<D> du;
  if constexpr (sizeof(hn::TFromD<D>) == 1) {
    return hn::RebindMask(d, hn::Ne(bytes, hn::Zero(du)));
  } else if constexpr (sizeof(hn::TFromD<D>) == 8) {
    const hn::Rebind<uint32_t, D> d32;
    return hn::RebindMask(d, hn::Ne(hn::PromoteTo(du, hn::PromoteTo(d32, bytes)), hn::Zero(du)));
  } else {
    return hn::RebindMask(d, hn::Ne(hn::PromoteTo(du, bytes), hn::Zero(du)));
  }
}

template <class T, class Op>
void unary(void* out_, const void* a_, const void*, const void*, int64_t n, uint32_t) {
  const hn::ScalableTag<T> d;
  const int64_t lanes = int64_t(hn::Lanes(d));
  const T* a = static_cast<const T*>(a_);
  T* out = static_cast<T*>(out_);
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) hn::StoreU(Op::eval(d, hn::LoadU(d, a + i)), d, out + i);
  if (i < n) store_first(Op::eval(d, load_first(d, a + i, size_t(n - i))), d, out + i, size_t(n - i));
}

template <class T, class Op>
void binary(void* out_, const void* a_, const void* b_, const void*, int64_t n, uint32_t scalars) {
  const hn::ScalableTag<T> d;
  const int64_t lanes = int64_t(hn::Lanes(d));
  const T* a = static_cast<const T*>(a_);
  const T* b = static_cast<const T*>(b_);
  T* out = static_cast<T*>(out_);
  int64_t i = 0;
  if (scalars == 0) {
    for (; i + lanes <= n; i += lanes) {
      hn::StoreU(Op::eval(d, hn::LoadU(d, a + i), hn::LoadU(d, b + i)), d, out + i);
    }
    if (i < n) {
      const size_t rest = size_t(n - i);
      store_first(Op::eval(d, load_first(d, a + i, rest), load_first(d, b + i, rest)), d, out + i, rest);
    }
  } else if (scalars & 1) {
    const auto s = hn::Set(d, a[0]);
    for (; i + lanes <= n; i += lanes) hn::StoreU(Op::eval(d, s, hn::LoadU(d, b + i)), d, out + i);
    if (i < n) store_first(Op::eval(d, s, load_first(d, b + i, size_t(n - i))), d, out + i, size_t(n - i));
  } else {
    const auto s = hn::Set(d, b[0]);
    for (; i + lanes <= n; i += lanes) hn::StoreU(Op::eval(d, hn::LoadU(d, a + i), s), d, out + i);
    if (i < n) store_first(Op::eval(d, load_first(d, a + i, size_t(n - i)), s), d, out + i, size_t(n - i));
  }
}

// As binary, with a mask as result, stored as bool.
template <class T, class Op>
void compare(void* out_, const void* a_, const void* b_, const void*, int64_t n, uint32_t scalars) {
  const hn::ScalableTag<T> d;
  const hn::Rebind<uint8_t, decltype(d)> d8;
  const int64_t lanes = int64_t(hn::Lanes(d));
  const T* a = static_cast<const T*>(a_);
  const T* b = static_cast<const T*>(b_);
  uint8_t* out = static_cast<uint8_t*>(out_);
  const auto sa = hn::Set(d, a[0]), sb = hn::Set(d, b[0]);
  const bool va = !(scalars & 1), vb = !(scalars & 2);
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    const auto x = va ? hn::LoadU(d, a + i) : sa, y = vb ? hn::LoadU(d, b + i) : sb;
    hn::StoreU(bytes_of(d, Op::eval(d, x, y)), d8, out + i);
  }
  if (i < n) {
    const size_t rest = size_t(n - i);
    const auto x = va ? load_first(d, a + i, rest) : sa, y = vb ? load_first(d, b + i, rest) : sb;
    HWY_ALIGN uint8_t bytes[HWY_MAX_BYTES];
    hn::StoreU(bytes_of(d, Op::eval(d, x, y)), d8, bytes);
    for (size_t k = 0; k < rest; ++k) out[i + int64_t(k)] = bytes[k];
  }
}

template <class T, class Op>
void ternary(void* out_, const void* a_, const void* b_, const void* c_, int64_t n, uint32_t scalars) {
  const hn::ScalableTag<T> d;
  const int64_t lanes = int64_t(hn::Lanes(d));
  const T* a = static_cast<const T*>(a_);
  const T* b = static_cast<const T*>(b_);
  const T* c = static_cast<const T*>(c_);
  T* out = static_cast<T*>(out_);
  const auto sa = hn::Set(d, a[0]), sb = hn::Set(d, b[0]), sc = hn::Set(d, c[0]);
  const bool va = !(scalars & 1), vb = !(scalars & 2), vc = !(scalars & 4);
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    const auto x = va ? hn::LoadU(d, a + i) : sa, y = vb ? hn::LoadU(d, b + i) : sb;
    const auto z = vc ? hn::LoadU(d, c + i) : sc;
    hn::StoreU(Op::eval(d, x, y, z), d, out + i);
  }
  if (i < n) {
    const size_t rest = size_t(n - i);
    const auto x = va ? load_first(d, a + i, rest) : sa, y = vb ? load_first(d, b + i, rest) : sb;
    const auto z = vc ? load_first(d, c + i, rest) : sc;
    store_first(Op::eval(d, x, y, z), d, out + i, rest);
  }
}

}  // namespace tg::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif  // TENGEN_CPU_SIMD_INL_H_
