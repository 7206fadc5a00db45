// SPDX-License-Identifier: Apache-2.0
//
// Inside the reduce family: kernels on dense elements of a compute type, one set per (kind, type), compiled once per
// instruction set (reduce_kernels.cc); reduce.cc walks the axes, reduce_arg.cc does argmax and argmin.
//
// A state is what has been reduced so far: f64 for sums and products of floats, u64 for those of integers, the type
// itself for max and min.
#ifndef TENGEN_PLUGINS_CPU_REDUCE_H_
#define TENGEN_PLUGINS_CPU_REDUCE_H_

#include <cstdint>
#include <memory>

#include "kernels/kernels.h"
#include "kernels/map.h"

namespace tg::cpu::reduce {

using map::Half;
using map::Rep;

constexpr int64_t kSegment = 4096;  // elements of a row given to a kernel at once, at most
constexpr int64_t kColumns = 512;   // columns, at most
constexpr int kStateBytes = 8;      // of one state, at most

struct Kernels {
  void (*init)(void* state, int64_t n);
  // state[0] takes in n <= kSegment elements.
  void (*row)(const void* x, int64_t n, void* state);
  // state[r] takes in the row x[r * stride + i], i < n <= kSegment, for r < rows.
  void (*rows)(const void* x, int64_t rows, int64_t stride, int64_t n, void* state);
  // state[i] takes in x[r * stride + i] for r < rows, i < n <= kColumns.
  void (*columns)(const void* x, int64_t rows, int64_t stride, int64_t n, void* state);
  // into[i] takes in from[i].
  void (*merge)(void* into, const void* from, int64_t n);
  // out[i] = the result, in the compute type.
  void (*finish)(void* out, const void* state, int64_t n);
  int64_t state_size;
};

// kind: TG_REDUCE_SUM, PROD, MAX or MIN. No kernels: init is null.
Kernels find_kernels(int kind, Rep rep);

// How the elements of a dtype are computed with. Fails for dtypes that are not real or bool.
struct Element {
  Rep rep;
  Half half;
  int64_t bytes;  // as stored
};
Element element_of(tg_dtype dtype);

std::unique_ptr<Plan> make_arg(Instance& instance, const tg_call& call, int axis, bool max);

}  // namespace tg::cpu::reduce
#endif  // TENGEN_PLUGINS_CPU_REDUCE_H_
