// SPDX-License-Identifier: Apache-2.0
//
// Per instruction set: rows of a tile of attention - masks, exponentials, dropout - and its small products.
#include <hwy/highway.h>

#include <hwy/contrib/math/math-inl.h>

#include "kernels/attention.h"
#include "kernels/simd-inl.h"

#if defined(TENGEN_CPU_ATTENTION_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef TENGEN_CPU_ATTENTION_INL_H_
#undef TENGEN_CPU_ATTENTION_INL_H_
#else
#define TENGEN_CPU_ATTENTION_INL_H_
#endif

HWY_BEFORE_NAMESPACE();
namespace tg::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// to[i] = from[i * step] * factor, in the type of computation.
template <class T, class C>
HWY_INLINE void read_row(const T* from, int64_t step, int64_t n, C factor, C* to) {
  if (step == 1) {
    for (int64_t i = 0; i < n; ++i) to[i] = C(from[i]) * factor;
  } else {
    for (int64_t i = 0; i < n; ++i) to[i] = C(from[i * step]) * factor;
  }
}
template <class T, class C>
HWY_INLINE void write_row(const C* from, int64_t n, C factor, T* to, int64_t step) {
  if (step == 1) {
    for (int64_t i = 0; i < n; ++i) to[i] = T(from[i] * factor);
  } else {
    for (int64_t i = 0; i < n; ++i) to[i * step] = T(from[i] * factor);
  }
}

// Calls f(vector) and stores its result over x, whole vectors and then the rest.
template <class C, class F>
HWY_INLINE void each_vector(C* x, int64_t n, F&& f) {
  const hn::ScalableTag<C> d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) hn::StoreU(f(hn::LoadU(d, x + i), lanes), d, x + i);
  if (i < n) store_first(f(load_first(d, x + i, size_t(n - i)), n - i), d, x + i, size_t(n - i));
}

template <class C>
HWY_INLINE void scale_row(C* x, int64_t n, C factor) {
  const hn::ScalableTag<C> d;
  each_vector(x, n, [&](auto v, int64_t) HWY_ATTR { return hn::Mul(v, hn::Set(d, factor)); });
}

// The larger of `top` and the row's largest element.
template <class C>
HWY_INLINE C row_top(const C* x, int64_t n, C top) {
  const hn::ScalableTag<C> d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  auto most = hn::Set(d, top);
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) most = hn::Max(most, hn::LoadU(d, x + i));
  C result = hn::GetLane(hn::MaxOfLanes(d, most));
  for (; i < n; ++i) result = x[i] > result ? x[i] : result;
  return result;
}

// x = exp(x - shift); their sum. exp of -inf is 0, of NaN NaN.
template <class C>
HWY_INLINE C exp_row(C* x, int64_t n, C shift) {
  const hn::ScalableTag<C> d;
  const auto top = hn::Set(d, sizeof(C) == 4 ? C(104) : C(800)), s = hn::Set(d, shift);
  auto total = hn::Zero(d);
  each_vector(x, n, [&](auto v, int64_t used) HWY_ATTR {
    const auto t = hn::Sub(v, s);
    auto e = hn::IfThenElse(hn::IsNaN(t), t, hn::Exp(d, hn::Min(t, top)));
    if (used < static_cast<int64_t>(hn::Lanes(d))) e = hn::IfThenElseZero(hn::FirstN(d, size_t(used)), e);
    total = hn::Add(total, e);
    return e;
  });
  return hn::GetLane(hn::SumOfLanes(d, total));
}

// Query i of head h of image n against keys [j0, j0 + count): the mask, and -inf for what lies behind the query.
template <class C>
HWY_INLINE void mask_row(const Attention& a, int64_t n, int64_t h, int64_t i, int64_t j0, int64_t count, C* x) {
  constexpr C kNever = -std::numeric_limits<C>::infinity();
  const int64_t seen = std::clamp<int64_t>(a.visible(i) - j0, 0, count), step = a.mask.step[3];
  if (a.mask.data && a.bool_mask) {
    const uint8_t* look = a.mask.at<const uint8_t>(n, h, i, j0);
    for (int64_t j = 0; j < seen; ++j) x[j] = look[j * step] ? x[j] : kNever;
  } else if (a.mask.data) {
    const C* more = a.mask.at<const C>(n, h, i, j0);
    for (int64_t j = 0; j < seen; ++j) x[j] += more[j * step];
  }
  for (int64_t j = seen; j < count; ++j) x[j] = kNever;
}

// x times 1 / (1 - p) or 0, by the words that the schema gives these weights.
template <class C>
HWY_INLINE void drop_row(const Attention& a, int64_t n, int64_t h, int64_t i, int64_t j0, int64_t count, C* x) {
  uint32_t words[kKeyTile + 4];
  const int64_t blocks = (a.b * a.kv * a.g * a.s + 3) / 4;
  const int64_t first = (n * a.kv * a.g + h) * a.s + j0, lead = first % 4;
  a.words(uint64_t(a.seed), uint64_t(a.counter + i * blocks + first / 4), 0, count + lead, words);
  const float p = float(a.dropout);
  const C kept = a.dropout < 1 ? C(1 / (1 - a.dropout)) : C(0);
  for (int64_t j = 0; j < count; ++j) {
    const float u = float(int32_t(words[lead + j] >> 8)) * 0x1p-24f;
    x[j] *= p <= u ? kept : C(0);
  }
}

// y[m, n] (+)= a @ b, with the strides that Gemm takes.
template <class C>
HWY_INLINE void product(int64_t m, int64_t n, int64_t k, const C* a, int64_t a_row, int64_t a_col, const C* b,
                        int64_t b_row, int64_t b_col, C* y, int64_t y_row, bool accumulate) {
  const Gemm g{m, n, k, a_row, a_col, b_row, b_col, y_row, 1, accumulate, plugin::dtype_of<C>::value};
  gemm_run(g, a, b, y, 0, gemm_tiles(g));
}

// A tile of keys or values in the type of computation: where it lies already, or converted into `to`.
template <class C>
struct Tile {
  const C* data;
  int64_t row, col;
};
template <class T, class C>
HWY_INLINE Tile<C> tile_of(const Operand& x, int64_t n, int64_t head, int64_t j0, int64_t count, int64_t width, C* to) {
  if constexpr (std::is_same_v<T, C>) {
    return {x.at<const T>(n, head, j0), x.step[2], x.step[3]};
  } else {
    for (int64_t j = 0; j < count; ++j)
      read_row(x.at<const T>(n, head, j0 + j), x.step[3], width, C(1), to + j * width);
    return {to, width, 1};
  }
}

}  // namespace tg::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif  // TENGEN_CPU_ATTENTION_INL_H_
