// SPDX-License-Identifier: Apache-2.0
//
// Matrix products of our own: every dtype and any strides, and the tiny products for which calling oneDNN would take
// longer than the work.
#ifndef TENGEN_PLUGINS_CPU_GEMM_H_
#define TENGEN_PLUGINS_CPU_GEMM_H_

#include "kernels/kernels.h"

namespace tg::cpu {

// y[i, j] (+)= sum over p of a[i, p] * b[p, j]; strides count elements.
struct Gemm {
  int64_t m, n, k;
  int64_t a_row, a_col, b_row, b_col, y_row, y_col;
  bool accumulate;
  tg_dtype dtype;
};

// How many tiles one product has; any split of [0, tiles) over threads computes it.
int64_t gemm_tiles(const Gemm& g);
void gemm_run(const Gemm& g, const void* a, const void* b, void* y, int64_t tile_begin, int64_t tile_end);

// f32, b_col == 1 and y_col == 1: straight from the operands, for a few thousand multiplications.
void gemm_tiny(const Gemm& g, const float* a, const float* b, float* y);

}  // namespace tg::cpu
#endif  // TENGEN_PLUGINS_CPU_GEMM_H_
