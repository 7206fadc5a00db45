// SPDX-License-Identifier: Apache-2.0
//
// map on f32 and f64: transcendental functions. The common ones are vector code on Highway's math library, inside the
// bounds of kernel_api/ABI.md section 5; lanes outside a function's range, and the rare functions, go through libm one
// by one. What an element becomes never depends on its neighbours.
#include <cmath>

#include "kernels/map.h"
#include "tengen/kernel_api.h"

// clang-format off: the order matters
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/map_math.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <hwy/contrib/math/math-inl.h>

#include "kernels/simd-inl.h"
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace tg::cpu::map::HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;
using namespace tg::cpu::HWY_NAMESPACE;

// y, with the lanes of `mask` replaced by f(x).
template <class D, class V, class M, class T = hn::TFromD<D>>
HWY_INLINE V patch(D d, V x, V y, M mask, T (*f)(T)) {
  if (HWY_LIKELY(hn::AllFalse(d, mask))) return y;
  HWY_ALIGN T xs[HWY_MAX_BYTES / sizeof(T)], ys[HWY_MAX_BYTES / sizeof(T)], ms[HWY_MAX_BYTES / sizeof(T)];
  hn::Store(x, d, xs);
  hn::Store(y, d, ys);
  hn::Store(hn::IfThenElseZero(mask, hn::Set(d, T(1))), d, ms);
  for (size_t i = 0; i < hn::Lanes(d); ++i) {
    if (ms[i] != 0) ys[i] = f(xs[i]);
  }
  return hn::Load(d, ys);
}

// exp for all x: Highway's is valid up to `top`, which overflows already.
template <class D, class V, class T = hn::TFromD<D>>
HWY_INLINE V exp_all(D d, V x) {
  const auto top = hn::Set(d, sizeof(T) == 4 ? T(104) : T(800));
  return hn::IfThenElse(hn::IsNaN(x), x, hn::Exp(d, hn::Min(x, top)));
}

template <class D, class V, class T = hn::TFromD<D>>
HWY_INLINE V log_all(D d, V x) {
  const auto zero = hn::Zero(d), inf = hn::Inf(d);
  V y = hn::Log(d, x);
  y = hn::IfThenElse(hn::Eq(x, zero), hn::Neg(inf), y);
  y = hn::IfThenElse(hn::Lt(x, zero), hn::NaN(d), y);
  return hn::IfThenElse(hn::Or(hn::IsNaN(x), hn::Eq(x, inf)), x, y);
}

template <class D, class V, class T = hn::TFromD<D>>
HWY_INLINE V expm1_all(D d, V x) {
  const auto top = hn::Set(d, sizeof(T) == 4 ? T(104) : T(800));
  // Tiny x are their own result (Highway would lose -0).
  const auto tiny = hn::Lt(hn::Abs(x), hn::Set(d, sizeof(T) == 4 ? T(1e-9) : T(1e-18)));
  return hn::IfThenElse(hn::Or(hn::IsNaN(x), tiny), x, hn::Expm1(d, hn::Min(x, top)));
}

template <class D, class V, class T = hn::TFromD<D>>
HWY_INLINE V log1p_all(D d, V x) {
  const auto one = hn::Set(d, T(1)), inf = hn::Inf(d);
  V y = hn::Log1p(d, x);
  y = hn::IfThenElse(hn::Eq(x, hn::Neg(one)), hn::Neg(inf), y);
  y = hn::IfThenElse(hn::Lt(x, hn::Neg(one)), hn::NaN(d), y);
  return hn::IfThenElse(hn::Or(hn::IsNaN(x), hn::Eq(x, inf)), x, y);
}

#define TG_MATH(Name, expression)               \
  struct Name {                                 \
    template <class D, class V>                 \
    static HWY_INLINE V eval(D d, V x) {        \
      using T [[maybe_unused]] = hn::TFromD<D>; \
      return expression;                        \
    }                                           \
  };

TG_MATH(Exp, exp_all(d, x))
TG_MATH(Log, log_all(d, x))
TG_MATH(Expm1, expm1_all(d, x))
TG_MATH(Log1p, log1p_all(d, x))
TG_MATH(Log2, hn::Mul(log_all(d, x), hn::Set(d, T(1.44269504088896340736))))
TG_MATH(Log10, hn::Mul(log_all(d, x), hn::Set(d, T(0.43429448190325182765))))

template <class T>
T scalar_sin(T x) {
  return std::sin(x);
}
template <class T>
T scalar_cos(T x) {
  return std::cos(x);
}

struct Sin {
  template <class D, class V, class T = hn::TFromD<D>>
  static HWY_INLINE V eval(D d, V x) {
    const auto small = hn::Le(hn::Abs(x), hn::Set(d, T(39000)));
    const V tiny = hn::Set(d, sizeof(T) == 4 ? T(1e-5) : T(1e-9));
    const V y = hn::Sin(d, hn::IfThenElseZero(small, x));
    return patch(d, x, hn::IfThenElse(hn::Lt(hn::Abs(x), tiny), x, y), hn::Not(small), scalar_sin<T>);
  }
};

struct Cos {
  template <class D, class V, class T = hn::TFromD<D>>
  static HWY_INLINE V eval(D d, V x) {
    const auto small = hn::Le(hn::Abs(x), hn::Set(d, T(39000)));
    const V y = hn::IfThenElse(hn::Eq(x, hn::Zero(d)), hn::Set(d, T(1)), hn::Cos(d, hn::IfThenElseZero(small, x)));
    return patch(d, x, y, hn::Not(small), scalar_cos<T>);
  }
};

// (e^2|x| - 1) / (e^2|x| + 1) with x's sign; 1 beyond 20.
template <class D, class V, class T = hn::TFromD<D>>
HWY_INLINE V tanh_all(D d, V x) {
  const V a = hn::Min(hn::Abs(x), hn::Set(d, T(20)));
  const V y = hn::Expm1(d, hn::Add(a, a));
  const V r = hn::CopySignToAbs(hn::Div(y, hn::Add(y, hn::Set(d, T(2)))), x);
  return hn::IfThenElse(hn::IsNaN(x), x, r);
}
TG_MATH(Tanh, tanh_all(d, x))

// 2^x = e^(x ln 2), the product in two parts: x = n + f with |f| <= 1/2, so that f ln 2 is small; 2^n scales exactly.
struct Exp2 {
  template <class D, class V, class T = hn::TFromD<D>>
  static HWY_INLINE V eval(D d, V x) {
    const T top = sizeof(T) == 4 ? T(200) : T(1200);
    const V c = hn::Max(hn::Min(x, hn::Set(d, top)), hn::Set(d, -top));
    const V n = hn::Round(c);
    const V m = hn::Exp(d, hn::Mul(hn::Sub(c, n), hn::Set(d, T(0.69314718055994530942))));
    const hn::RebindToSigned<D> di;
    constexpr int kMantissa = sizeof(T) == 4 ? 23 : 52, kBias = sizeof(T) == 4 ? 127 : 1023;
    // n as an integer in the low bits: add a number whose last place is 1.
    const V magic = hn::Set(d, T(3) * T(int64_t(1) << (kMantissa - 1)));
    const auto k = hn::Sub(hn::BitCast(di, hn::Add(n, magic)), hn::BitCast(di, magic));
    const auto half = half_of(d, di, k);
    const auto bias = hn::Set(di, hn::TFromD<decltype(di)>(kBias));
    const V s0 = hn::BitCast(d, hn::ShiftLeft<kMantissa>(hn::Add(half, bias)));
    const V s1 = hn::BitCast(d, hn::ShiftLeft<kMantissa>(hn::Add(hn::Sub(k, half), bias)));
    return hn::IfThenElse(hn::IsNaN(x), x, hn::Mul(hn::Mul(m, s0), s1));
  }
  // k / 2 towards -inf; a 64-bit arithmetic shift is missing before AVX-512.
  template <class D, class DI, class VI>
  static HWY_INLINE VI half_of(D, DI di, VI k) {
    if constexpr (sizeof(hn::TFromD<D>) == 4) {
      return hn::ShiftRight<1>(k);
    } else {
      const hn::RebindToUnsigned<DI> du;
      const auto biased = hn::Add(hn::BitCast(du, k), hn::Set(du, uint64_t(4096)));
      return hn::Sub(hn::BitCast(di, hn::ShiftRight<1>(biased)), hn::Set(di, int64_t(2048)));
    }
  }
};

// 1 / (1 + e^-x); where e^-x overflows, 0.
TG_MATH(Sigmoid, hn::Div(hn::Set(d, T(1)), hn::Add(hn::Set(d, T(1)), exp_all(d, hn::Neg(x)))))

// x / (1 + e^-x), for x < 0 as x e^x / (1 + e^x), with e^x = h * h so that nothing is subnormal too early.
struct Silu {
  template <class D, class V, class T = hn::TFromD<D>>
  static HWY_INLINE V eval(D d, V x) {
    const V one = hn::Set(d, T(1)), a = hn::Abs(x);
    const V h = exp_all(d, hn::Mul(a, hn::Set(d, T(-0.5))));
    const V num = hn::IfThenElse(hn::Lt(x, hn::Zero(d)), hn::Mul(hn::Mul(x, h), h), x);
    return hn::Div(num, hn::MulAdd(h, h, one));
  }
};

// max(x, 0) + log1p(e^-|x|)
struct Softplus {
  template <class D, class V, class T = hn::TFromD<D>>
  static HWY_INLINE V eval(D d, V x) {
    const V tail = log1p_all(d, exp_all(d, hn::Neg(hn::Abs(x))));
    return hn::IfThenElse(hn::IsNaN(x), x, hn::Add(hn::IfThenElseZero(hn::Gt(x, hn::Zero(d)), x), tail));
  }
};

// erf in f32. Below 1, x + x*P(x^2); from 1 on, 1 - exp(-Q(|x|)), Q = -log(erfc), and 1 beyond 4. The coefficients are
// weighted minimax fits made for this file: relative error 1.2e-9 and 1.1e-9, about 1 ulp after rounding.
template <class D, class V>
HWY_INLINE V erf_f32(D d, V x) {
  const V a = hn::Abs(x), u = hn::Mul(x, x), one = hn::Set(d, 1.0f);
  V p = hn::Set(d, 7.853861461626366e-05f);
  p = hn::MulAdd(p, u, hn::Set(d, -0.0008010193705558777f));
  p = hn::MulAdd(p, u, hn::Set(d, 0.005188327748328447f));
  p = hn::MulAdd(p, u, hn::Set(d, -0.026853812858462334f));
  p = hn::MulAdd(p, u, hn::Set(d, 0.1128358542919159f));
  p = hn::MulAdd(p, u, hn::Set(d, -0.3761262595653534f));
  p = hn::MulAdd(p, u, hn::Set(d, 0.12837916707f));
  const V small = hn::MulAdd(x, p, x);
  const V c = hn::Min(a, hn::Set(d, 4.0f));
  V q = hn::Set(d, -0.00018637953326106071f);
  q = hn::MulAdd(q, c, hn::Set(d, 0.002947661792859435f));
  q = hn::MulAdd(q, c, hn::Set(d, -0.021838078275322914f));
  q = hn::MulAdd(q, c, hn::Set(d, 0.1031067818403244f));
  q = hn::MulAdd(q, c, hn::Set(d, 0.6381447911262512f));
  q = hn::MulAdd(q, c, hn::Set(d, 1.127089262008667f));
  q = hn::MulAdd(q, c, hn::Set(d, 0.00034151741419918835f));
  const V large = hn::CopySignToAbs(hn::Sub(one, hn::Exp(d, hn::Neg(q))), x);
  return hn::IfThenElse(hn::IsNaN(x), x, hn::IfThenElse(hn::Lt(a, one), small, large));
}

template <class D, class V>
HWY_INLINE V each_lane(D d, V x, double (*f)(double)) {
  HWY_ALIGN double xs[HWY_MAX_BYTES / sizeof(double)];
  hn::Store(x, d, xs);
  for (size_t i = 0; i < hn::Lanes(d); ++i) xs[i] = f(xs[i]);
  return hn::Load(d, xs);
}

template <class D, class V>
HWY_INLINE V erf_all(D d, V x) {
  if constexpr (sizeof(hn::TFromD<D>) == 4) {
    return erf_f32(d, x);
  } else {
    return each_lane(d, x, static_cast<double (*)(double)>(std::erf));
  }
}
TG_MATH(Erf, erf_all(d, x))

// x * (1 + erf(x / sqrt 2)) / 2
TG_MATH(Gelu, hn::Mul(hn::Mul(x, hn::Set(d, T(0.5))),
                      hn::Add(hn::Set(d, T(1)), erf_all(d, hn::Mul(x, hn::Set(d, T(0.70710678118654752440)))))))
// x * (1 + tanh(sqrt(2/pi) * (x + 0.044715 x^3))) / 2
TG_MATH(GeluTanh,
        hn::Mul(hn::Mul(x, hn::Set(d, T(0.5))),
                hn::Add(hn::Set(d, T(1)),
                        tanh_all(d, hn::Mul(hn::Mul(x, hn::Set(d, T(0.79788456080286535588))),
                                            hn::MulAdd(hn::Mul(x, x), hn::Set(d, T(0.044715)), hn::Set(d, T(1))))))))

// pow in f32: |x|^y = exp(y log |x|) in f64, whose error is far below f32's; sign by y's parity. Zeros, infinities,
// NaN, fractional powers of negative numbers and results near the ends of the range go through libm.
inline void pow_f32(void* out_, const void* a_, const void* b_, const void*, int64_t n, uint32_t scalars) {
#if HWY_HAVE_FLOAT64
  const hn::ScalableTag<double> d;
  const hn::Rebind<float, decltype(d)> df;
  const int64_t lanes = int64_t(hn::Lanes(d));
  const float* a = static_cast<const float*>(a_);
  const float* b = static_cast<const float*>(b_);
  float* out = static_cast<float*>(out_);
  const bool va = !(scalars & 1), vb = !(scalars & 2);
  const auto sa = hn::Set(d, double(a[0])), sb = hn::Set(d, double(b[0]));
  const auto zero = hn::Zero(d), half = hn::Set(d, 0.5), one = hn::Set(d, 1.0);
  for (int64_t i = 0; i < n; i += lanes) {
    HWY_ALIGN float xs[HWY_MAX_BYTES / 4] = {}, ys[HWY_MAX_BYTES / 4] = {}, rs[HWY_MAX_BYTES / 4];
    HWY_ALIGN double ms[HWY_MAX_BYTES / 8];
    const int64_t count = n - i < lanes ? n - i : lanes;
    auto x = sa, y = sb;
    if (count == lanes) {
      if (va) x = hn::PromoteTo(d, hn::LoadU(df, a + i));
      if (vb) y = hn::PromoteTo(d, hn::LoadU(df, b + i));
    } else {
      for (int64_t k = 0; k < count; ++k) xs[k] = a[va ? i + k : 0], ys[k] = b[vb ? i + k : 0];
      x = hn::PromoteTo(d, hn::LoadU(df, xs));
      y = hn::PromoteTo(d, hn::LoadU(df, ys));
    }
    const auto ax = hn::Abs(x);
    const auto ordinary =
        hn::And(hn::Gt(ax, zero), hn::And(hn::Lt(ax, hn::Set(d, 1e300)), hn::Lt(hn::Abs(y), hn::Set(d, 1e6))));
    const auto yc = hn::IfThenElseZero(ordinary, y);
    const auto whole = hn::Eq(hn::Round(yc), yc);
    const auto odd = hn::And(whole, hn::Ne(hn::Round(hn::Mul(yc, half)), hn::Mul(yc, half)));
    const auto t = hn::Mul(yc, hn::Log(d, hn::IfThenElse(ordinary, ax, one)));
    const auto negative = hn::Lt(x, zero);
    const auto fine = hn::And(hn::And(ordinary, hn::Lt(hn::Abs(t), hn::Set(d, 87.0))), hn::Or(hn::Gt(x, zero), whole));
    auto r = hn::Exp(d, hn::IfThenElseZero(fine, t));
    r = hn::IfThenElse(hn::And(negative, odd), hn::Neg(r), r);
    const auto narrow = hn::DemoteTo(df, r);
    if (HWY_LIKELY(count == lanes && hn::AllTrue(d, fine))) {
      hn::StoreU(narrow, df, out + i);
      continue;
    }
    hn::StoreU(narrow, df, rs);
    hn::Store(hn::IfThenElseZero(fine, one), d, ms);
    for (int64_t k = 0; k < count; ++k) {
      out[i + k] = ms[k] != 0 ? rs[k] : std::pow(a[va ? i + k : 0], b[vb ? i + k : 0]);
    }
  }
#else
  const float* a = static_cast<const float*>(a_);
  const float* b = static_cast<const float*>(b_);
  for (int64_t i = 0; i < n; ++i) {
    static_cast<float*>(out_)[i] = std::pow(a[scalars & 1 ? 0 : i], b[scalars & 2 ? 0 : i]);
  }
#endif
}

template <class T, class F>
HWY_INLINE void loop2(void* out, const void* a, const void* b, int64_t n, uint32_t scalars, F f) {
  const int64_t sa = !(scalars & 1), sb = !(scalars & 2);
  for (int64_t i = 0; i < n; ++i) {
    static_cast<T*>(out)[i] = f(static_cast<const T*>(a)[i * sa], static_cast<const T*>(b)[i * sb]);
  }
}

// The rare ones, through libm.
#define TG_LIBM(Name, function)                                                                      \
  template <class T>                                                                                 \
  void Name(void* out, const void* a, const void*, const void*, int64_t n, uint32_t) {               \
    for (int64_t i = 0; i < n; ++i) static_cast<T*>(out)[i] = function(static_cast<const T*>(a)[i]); \
  }
TG_LIBM(libm_tan, std::tan)
TG_LIBM(libm_sinh, std::sinh)
TG_LIBM(libm_cosh, std::cosh)
TG_LIBM(libm_asin, std::asin)
TG_LIBM(libm_acos, std::acos)
TG_LIBM(libm_atan, std::atan)
TG_LIBM(libm_erfc, std::erfc)

template <class T>
void libm_pow(void* out, const void* a, const void* b, const void*, int64_t n, uint32_t scalars) {
  loop2<T>(out, a, b, n, scalars, [](T x, T y) { return std::pow(x, y); });
}
template <class T>
void libm_atan2(void* out, const void* a, const void* b, const void*, int64_t n, uint32_t scalars) {
  loop2<T>(out, a, b, n, scalars, [](T x, T y) { return std::atan2(x, y); });
}

template <class T>
Kernel lookup_t(int opcode) {
  switch (opcode) {
    case TG_MAP_EXP:
      return unary<T, Exp>;
    case TG_MAP_LOG:
      return unary<T, Log>;
    case TG_MAP_SIN:
      return unary<T, Sin>;
    case TG_MAP_COS:
      return unary<T, Cos>;
    case TG_MAP_TANH:
      return unary<T, Tanh>;
    case TG_MAP_ERF:
      return unary<T, Erf>;
    case TG_MAP_POW:
      return sizeof(T) == 4 ? pow_f32 : libm_pow<T>;
    case TG_MAP_ATAN2:
      return libm_atan2<T>;
    case TG_MAP_EXPM1:
      return unary<T, Expm1>;
    case TG_MAP_LOG1P:
      return unary<T, Log1p>;
    case TG_MAP_EXP2:
      return unary<T, Exp2>;
    case TG_MAP_LOG2:
      return unary<T, Log2>;
    case TG_MAP_LOG10:
      return unary<T, Log10>;
    case TG_MAP_SIGMOID:
      return unary<T, Sigmoid>;
    case TG_MAP_SILU:
      return unary<T, Silu>;
    case TG_MAP_GELU:
      return unary<T, Gelu>;
    case TG_MAP_GELU_TANH:
      return unary<T, GeluTanh>;
    case TG_MAP_SOFTPLUS:
      return unary<T, Softplus>;
    case TG_MAP_TAN:
      return libm_tan<T>;
    case TG_MAP_SINH:
      return libm_sinh<T>;
    case TG_MAP_COSH:
      return libm_cosh<T>;
    case TG_MAP_ASIN:
      return libm_asin<T>;
    case TG_MAP_ACOS:
      return libm_acos<T>;
    case TG_MAP_ATAN:
      return libm_atan<T>;
    case TG_MAP_ERFC:
      return libm_erfc<T>;
    default:
      return nullptr;
  }
}

Kernel lookup(int opcode, Rep rep) {
  return rep == kF32 ? lookup_t<float>(opcode) : rep == kF64 ? lookup_t<double>(opcode) : nullptr;
}
}  // namespace
}  // namespace tg::cpu::map::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace tg::cpu::map {
HWY_EXPORT(lookup);
Kernel math_kernel(int opcode, Rep rep) { return HWY_DYNAMIC_DISPATCH(lookup)(opcode, rep); }
}  // namespace tg::cpu::map
#endif
