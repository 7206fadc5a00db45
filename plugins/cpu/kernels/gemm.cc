// SPDX-License-Identifier: Apache-2.0
//
// A blocked matrix product for all dtypes. A task computes one tile of y: it copies blocks of a and b into panels
// (converted to the type of computation, so that strides and 16-bit floats cost nothing inside), and multiplies panels
// with a register-blocked kernel written in compiler vectors. Compiled once per instruction set by Highway.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/gemm.cc"
#include <hwy/foreach_target.h>
//
#include <hwy/highway.h>

#include "kernels/gemm.h"

#ifndef TENGEN_PLUGINS_CPU_GEMM_TILES_
#define TENGEN_PLUGINS_CPU_GEMM_TILES_
namespace tg::cpu {
constexpr int64_t kTileM = 96, kTileN = 192, kBlockK = 256;

struct GemmBuffers {
  alignas(64) unsigned char a[kTileM * kBlockK * 8];
  alignas(64) unsigned char b[kBlockK * kTileN * 8];
  alignas(64) unsigned char y[kTileM * kTileN * 8];
};
}  // namespace tg::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace tg::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX3_DL
constexpr int kVectorBytes = 64, kRows = 8;
#elif HWY_TARGET == HWY_AVX2
constexpr int kVectorBytes = 32, kRows = 6;
#else
constexpr int kVectorBytes = 16, kRows = 4;
#endif

// Integers wrap: they are multiplied as unsigned numbers.
template <class T>
struct Compute {
  using type = plugin::compute_t<T>;
};
template <>
struct Compute<int64_t> {
  using type = uint64_t;
};
template <>
struct Compute<int32_t> {
  using type = uint32_t;
};
template <>
struct Compute<int16_t> {
  using type = uint16_t;
};
template <>
struct Compute<int8_t> {
  using type = uint8_t;
};

// y[kRows][2 vectors] += panel of a (k x kRows) * panel of b (k x 2 vectors).
template <class C>
HWY_INLINE void Micro(int64_t k, const C* HWY_RESTRICT a, const C* HWY_RESTRICT b, C* HWY_RESTRICT y, int64_t y_row) {
  typedef C V __attribute__((vector_size(kVectorBytes), may_alias, aligned(sizeof(C))));
  constexpr int kLanes = kVectorBytes / sizeof(C);
  V sum[kRows][2];
#pragma GCC unroll 8
  for (int i = 0; i < kRows; ++i) {
    sum[i][0] = V{};
    sum[i][1] = V{};
  }
  for (int64_t p = 0; p < k; ++p) {
    const V b0 = *reinterpret_cast<const V*>(b), b1 = *reinterpret_cast<const V*>(b + kLanes);
#pragma GCC unroll 8
    for (int i = 0; i < kRows; ++i) {
      sum[i][0] += b0 * a[i];
      sum[i][1] += b1 * a[i];
    }
    a += kRows;
    b += 2 * kLanes;
  }
#pragma GCC unroll 8
  for (int i = 0; i < kRows; ++i) {
    *reinterpret_cast<V*>(y + i * y_row) += sum[i][0];
    *reinterpret_cast<V*>(y + i * y_row + kLanes) += sum[i][1];
  }
}

template <class T>
void Tiles(const Gemm& g, const T* a, const T* b, T* y, int64_t begin, int64_t end, GemmBuffers& buffers) {
  using C = typename Compute<T>::type;
  constexpr int64_t kColumns = 2 * kVectorBytes / sizeof(C);
  static_assert(kTileM % kRows == 0);
  C* const pa = reinterpret_cast<C*>(buffers.a);
  C* const pb = reinterpret_cast<C*>(buffers.b);
  C* const py = reinterpret_cast<C*>(buffers.y);
  const int64_t across = (g.n + kTileN - 1) / kTileN;
  for (int64_t tile = begin; tile < end; ++tile) {
    const int64_t i0 = tile / across * kTileM, j0 = tile % across * kTileN;
    const int64_t m = std::min(kTileM, g.m - i0), n = std::min(kTileN, g.n - j0);
    const int64_t m_up = (m + kRows - 1) / kRows * kRows, n_up = (n + kColumns - 1) / kColumns * kColumns;
    std::fill_n(py, m_up * n_up, C(0));
    for (int64_t p0 = 0; p0 < g.k; p0 += kBlockK) {
      const int64_t k = std::min(kBlockK, g.k - p0);
      for (int64_t i = 0; i < m_up; i += kRows) {
        C* to = pa + i * k;
        for (int r = 0; r < kRows; ++r) {
          const T* from = a + (i0 + i + r) * g.a_row + p0 * g.a_col;
          if (i + r < m) {
            for (int64_t p = 0; p < k; ++p) to[p * kRows + r] = C(from[p * g.a_col]);
          } else {
            for (int64_t p = 0; p < k; ++p) to[p * kRows + r] = C(0);
          }
        }
      }
      for (int64_t j = 0; j < n_up; j += kColumns) {
        C* to = pb + j * k;
        const int64_t columns = std::min(kColumns, n - j);
        const T* from = b + p0 * g.b_row + (j0 + j) * g.b_col;
        if (g.b_col == 1 && columns == kColumns) {
          for (int64_t p = 0; p < k; ++p) {
            for (int64_t c = 0; c < kColumns; ++c) to[p * kColumns + c] = C(from[p * g.b_row + c]);
          }
        } else {
          for (int64_t c = 0; c < kColumns; ++c) {
            for (int64_t p = 0; p < k; ++p) {
              to[p * kColumns + c] = c < columns ? C(from[p * g.b_row + c * g.b_col]) : C(0);
            }
          }
        }
      }
      for (int64_t j = 0; j < n_up; j += kColumns) {
        for (int64_t i = 0; i < m_up; i += kRows) Micro<C>(k, pa + i * k, pb + j * k, py + i * n_up + j, n_up);
      }
    }
    for (int64_t i = 0; i < m; ++i) {
      T* to = y + (i0 + i) * g.y_row + j0 * g.y_col;
      const C* from = py + i * n_up;
      if (g.accumulate) {
        for (int64_t j = 0; j < n; ++j) to[j * g.y_col] = T(C(C(to[j * g.y_col]) + from[j]));
      } else {
        for (int64_t j = 0; j < n; ++j) to[j * g.y_col] = T(from[j]);
      }
    }
  }
}

void GemmTiles(const Gemm& g, const void* a, const void* b, void* y, int64_t begin, int64_t end, GemmBuffers& buffers) {
  plugin::visit(g.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    if constexpr (std::is_same_v<T, plugin::boolean>) {
      plugin::fail(TG_UNIMPLEMENTED, "[matmul] expected numbers, got bool; cast the operands first");
    } else {
      Tiles<T>(g, static_cast<const T*>(a), static_cast<const T*>(b), static_cast<T*>(y), begin, end, buffers);
    }
  });
}

template <int kN>
HWY_INLINE void TinyRows(const Gemm& g, const float* a, const float* b, float* y, int64_t j, int64_t left) {
  const hn::ScalableTag<float> d;
  const auto mask = hn::FirstN(d, static_cast<size_t>(left));
  for (int64_t i = 0; i < g.m; i += kN) {
    const int64_t rows = std::min<int64_t>(kN, g.m - i);
    // Rows past the end repeat the last one, so that the loop over k has no branch.
    const float* row[kN];
    hn::Vec<decltype(d)> sum[kN];
    for (int r = 0; r < kN; ++r) {
      row[r] = a + (i + std::min<int64_t>(r, rows - 1)) * g.a_row;
      sum[r] = hn::Zero(d);
    }
    for (int64_t p = 0; p < g.k; ++p) {
      const auto v = left >= static_cast<int64_t>(hn::Lanes(d)) ? hn::LoadU(d, b + p * g.b_row + j)
                                                                : hn::MaskedLoad(mask, d, b + p * g.b_row + j);
      for (int r = 0; r < kN; ++r) sum[r] = hn::MulAdd(hn::Set(d, row[r][p * g.a_col]), v, sum[r]);
    }
    for (int r = 0; r < rows; ++r) {
      float* to = y + (i + r) * g.y_row + j;
      if (left >= static_cast<int64_t>(hn::Lanes(d))) {
        hn::StoreU(g.accumulate ? hn::Add(hn::LoadU(d, to), sum[r]) : sum[r], d, to);
      } else {
        hn::BlendedStore(g.accumulate ? hn::Add(hn::MaskedLoad(mask, d, to), sum[r]) : sum[r], mask, d, to);
      }
    }
  }
}

void GemmTiny(const Gemm& g, const float* a, const float* b, float* y) {
  const int64_t lanes = hn::Lanes(hn::ScalableTag<float>());
  for (int64_t j = 0; j < g.n; j += lanes) {
    if (g.m == 1) {
      TinyRows<1>(g, a, b, y, j, g.n - j);
    } else {
      TinyRows<4>(g, a, b, y, j, g.n - j);
    }
  }
}

}  // namespace tg::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace tg::cpu {
HWY_EXPORT(GemmTiles);
HWY_EXPORT(GemmTiny);

int64_t gemm_tiles(const Gemm& g) { return ((g.m + kTileM - 1) / kTileM) * ((g.n + kTileN - 1) / kTileN); }

void gemm_run(const Gemm& g, const void* a, const void* b, void* y, int64_t begin, int64_t end) {
  // Kept per thread: a task's panels have a fixed size, whatever the product.
  thread_local const std::unique_ptr<GemmBuffers> buffers(new GemmBuffers);
  HWY_DYNAMIC_DISPATCH(GemmTiles)(g, a, b, y, begin, end, *buffers);
}

void gemm_tiny(const Gemm& g, const float* a, const float* b, float* y) { HWY_DYNAMIC_DISPATCH(GemmTiny)(g, a, b, y); }
}  // namespace tg::cpu
#endif
