// SPDX-License-Identifier: Apache-2.0
//
// What gather and scatter share: indices and the strides of the indexed tensor.
#pragma once

#include "common.h"

namespace tg::reference {

// `index` as a position in [0, n); negative ones count from the end.
inline int64_t position(const char* op, int64_t index, int64_t n, int32_t axis) {
  if (index < -n || index >= n)
    fail(TG_OUT_OF_RANGE, "[%s] expected an index in [%" PRId64 ", %" PRId64 ") along axis %d, got %" PRId64, op, -n, n,
         axis, index);
  return index < 0 ? index + n : index;
}

// The strides of `t` with 0 along `axis`, where the index decides.
struct IndexedStrides {
  int64_t strides[TG_MAX_RANK];
  IndexedStrides(const tg_tensor& t, int32_t axis) {
    for (int32_t i = 0; i < t.ndim; ++i) strides[i] = i == axis ? 0 : t.strides[i];
  }
};

// `small` (an index, and what goes with it) and the indexed `big` agree in shape off the axis.
inline void require_agreement(const char* op, const tg_tensor& big, const tg_tensor& small, int32_t axis) {
  bool ok = big.ndim == small.ndim;
  for (int32_t i = 0; ok && i < big.ndim; ++i) ok = i == axis || big.shape[i] == small.shape[i];
  if (!ok)
    fail(TG_INVALID_ARGUMENT, "[%s] expected equal shapes off axis %d, got %s and index %s", op, axis,
         text(big).c_str(), text(small).c_str());
}

// Calls f(tag<T>, tag<Index>) for an element dtype and an index dtype.
template <class F>
PlanPtr visit_indexed(const char* op, tg_dtype element, tg_dtype index, F&& f) {
  return visit(element, [&](auto t) -> PlanPtr {
    if (index == plugin::dtype_of<int64_t>::value) return f(t, tag<int64_t>{});
    if (index == plugin::dtype_of<int32_t>::value) return f(t, tag<int32_t>{});
    fail(TG_UNIMPLEMENTED, "[%s] expected an index of dtype i32 or i64, got %s", op, dtype_name(index));
  });
}

}  // namespace tg::reference
