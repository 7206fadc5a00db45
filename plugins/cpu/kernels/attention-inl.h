// SPDX-License-Identifier: Apache-2.0
//
// Per instruction set: rows of a tile of attention - masks, exponentials, dropout - and products of tiles.
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

// ---- products -------------------------------------------------------------------------------------------------------
// Tiles lie in the cache and b's rows are contiguous, so that nothing has to be packed as for a large product.

#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX3_DL
constexpr int kBlockRows = 8;
#elif HWY_TARGET == HWY_AVX2
constexpr int kBlockRows = 6;
#else
constexpr int kBlockRows = 4;
#endif

// y[rows, columns] (+)= a @ b for up to kRows rows and two vectors of columns; rows past the end repeat the last one.
template <int kRows, bool kWhole, class C>
HWY_INLINE void product_block(int64_t rows, int64_t columns, int64_t k, const C* HWY_RESTRICT a, int64_t a_row,
                              int64_t a_col, const C* HWY_RESTRICT b, int64_t b_row, C* HWY_RESTRICT y, int64_t y_row,
                              bool accumulate) {
  const hn::ScalableTag<C> d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const size_t first = size_t(std::clamp<int64_t>(columns, 0, lanes));
  const size_t second = size_t(std::clamp<int64_t>(columns - lanes, 0, lanes));
  const auto load = [&](const C* from, size_t n) HWY_ATTR {
    if constexpr (kWhole) return hn::LoadU(d, from);
    return n ? load_first(d, from, n) : hn::Zero(d);
  };
  const C* row[kRows];
  hn::Vec<decltype(d)> sum[kRows][2];
  for (int r = 0; r < kRows; ++r) {
    row[r] = a + std::min<int64_t>(r, rows - 1) * a_row;
    sum[r][0] = sum[r][1] = hn::Zero(d);
  }
  for (int64_t p = 0; p < k; ++p) {
    const auto b0 = load(b + p * b_row, first), b1 = load(b + p * b_row + lanes, second);
    for (int r = 0; r < kRows; ++r) {
      const auto v = hn::Set(d, row[r][p * a_col]);
      sum[r][0] = hn::MulAdd(v, b0, sum[r][0]);
      sum[r][1] = hn::MulAdd(v, b1, sum[r][1]);
    }
  }
  for (int r = 0; r < kRows && r < rows; ++r) {
    C* to = y + r * y_row;
    if (accumulate) {
      sum[r][0] = hn::Add(sum[r][0], load(to, first));
      sum[r][1] = hn::Add(sum[r][1], load(to + lanes, second));
    }
    if constexpr (kWhole) {
      hn::StoreU(sum[r][0], d, to);
      hn::StoreU(sum[r][1], d, to + lanes);
    } else {
      store_first(sum[r][0], d, to, first);
      if (second) store_first(sum[r][1], d, to + lanes, second);
    }
  }
}

template <int kRows, class C>
HWY_INLINE void product_rows(int64_t m, int64_t n, int64_t k, const C* a, int64_t a_row, int64_t a_col, const C* b,
                             int64_t b_row, C* y, int64_t y_row, bool accumulate) {
  const int64_t step = 2 * static_cast<int64_t>(hn::Lanes(hn::ScalableTag<C>()));
  for (int64_t j = 0; j < n; j += step) {
    for (int64_t i = 0; i < m; i += kRows) {
      const int64_t rows = std::min<int64_t>(kRows, m - i);
      C* const to = y + i * y_row + j;
      if (j + step <= n) {
        product_block<kRows, true>(rows, step, k, a + i * a_row, a_row, a_col, b + j, b_row, to, y_row, accumulate);
      } else {
        product_block<kRows, false>(rows, n - j, k, a + i * a_row, a_row, a_col, b + j, b_row, to, y_row, accumulate);
      }
    }
  }
}

// y[m, n] (+)= a @ b.
template <class C>
void product(int64_t m, int64_t n, int64_t k, const C* a, int64_t a_row, int64_t a_col, const C* b, int64_t b_row, C* y,
             int64_t y_row, bool accumulate) {
  if (m == 1) return product_rows<1>(m, n, k, a, a_row, a_col, b, b_row, y, y_row, accumulate);
  product_rows<kBlockRows>(m, n, k, a, a_row, a_col, b, b_row, y, y_row, accumulate);
}

// A tile of keys or values in the type of computation, its rows contiguous: where it lies, or copied into `to`.
template <class C>
struct Tile {
  const C* data;
  int64_t row;
};
template <class T, class C>
HWY_INLINE Tile<C> tile_of(const Operand& x, int64_t n, int64_t head, int64_t j0, int64_t count, int64_t width, C* to) {
  if constexpr (std::is_same_v<T, C>) {
    if (x.step[3] == 1) return {x.at<const T>(n, head, j0), x.step[2]};
  }
  for (int64_t j = 0; j < count; ++j) read_row(x.at<const T>(n, head, j0 + j), x.step[3], width, C(1), to + j * width);
  return {to, width};
}

// to[i, j] = tile[j, i], a row of kKeyTile for every feature; a few features at a time, so that lines are read once.
template <class C>
HWY_INLINE void transpose_tile(Tile<C> x, int64_t count, int64_t width, C* HWY_RESTRICT to) {
  constexpr int64_t kFeatures = 16;
  for (int64_t i0 = 0; i0 < width; i0 += kFeatures) {
    const int64_t features = std::min(kFeatures, width - i0);
    for (int64_t j = 0; j < count; ++j) {
      const C* from = x.data + j * x.row + i0;
      for (int64_t i = 0; i < features; ++i) to[(i0 + i) * kKeyTile + j] = from[i];
    }
  }
}

}  // namespace tg::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif  // TENGEN_CPU_ATTENTION_INL_H_
