// SPDX-License-Identifier: Apache-2.0
//
// The common axes of several tensors: axes of size 1 dropped, ordered by the first tensor's strides, neighbours merged
// where all tensors allow it. Where Walk (kernel_api.hpp) keeps the given order, this finds long dense runs in any
// layout; use it where the order of elements does not matter.
#ifndef TENGEN_PLUGINS_CPU_AXES_H_
#define TENGEN_PLUGINS_CPU_AXES_H_

#include <tengen/kernel_api.hpp>

namespace tg::cpu {

template <int N>
struct Axes {
  int rank = 0;
  int64_t shape[TG_MAX_RANK];
  int64_t step[N][TG_MAX_RANK];

  // Axis i is left out where skip[i] is true.
  Axes(int32_t ndim, const int64_t* dims, const int64_t* const (&strides)[N], const bool* skip = nullptr) {
    int order[TG_MAX_RANK], n = 0;
    for (int d = 0; d < ndim; ++d) {
      if (dims[d] == 1 || (skip && skip[d])) continue;
      int at = n++;
      for (; at > 0 && strides[0][order[at - 1]] < strides[0][d]; --at) order[at] = order[at - 1];
      order[at] = d;
    }
    for (int i = 0; i < n; ++i) {
      const int d = order[i];
      bool merge = rank > 0;
      for (int k = 0; merge && k < N; ++k) merge = step[k][rank - 1] == strides[k][d] * dims[d];
      if (!merge) shape[rank++] = 1;
      shape[rank - 1] *= dims[d];
      for (int k = 0; k < N; ++k) step[k][rank - 1] = strides[k][d];
    }
  }

  // Appends an axis of size 1 where there is none.
  void at_least_one() {
    if (rank > 0) return;
    rank = 1;
    shape[0] = 1;
    for (int k = 0; k < N; ++k) step[k][0] = 1;
  }

  int64_t inner() const { return shape[rank - 1]; }
  int64_t count(int axes) const {
    int64_t n = 1;
    for (int i = 0; i < axes; ++i) n *= shape[i];
    return n;
  }
  int64_t count() const { return count(rank); }

  // Moves axis `from` to the end, the others keeping their order.
  void rotate_to_end(int from) {
    for (int i = from; i + 1 < rank; ++i) {
      std::swap(shape[i], shape[i + 1]);
      for (int k = 0; k < N; ++k) std::swap(step[k][i], step[k][i + 1]);
    }
  }

  // Calls body(offsets) for positions [begin, end) of the first `axes` axes; offsets in elements, one per tensor.
  template <class Body>
  void walk(int axes, int64_t begin, int64_t end, Body&& body) const {
    int64_t index[TG_MAX_RANK], offset[N] = {};
    int64_t rest = begin;
    for (int i = axes - 1; i >= 0; --i) {
      index[i] = rest % shape[i];
      rest /= shape[i];
      for (int k = 0; k < N; ++k) offset[k] += index[i] * step[k][i];
    }
    for (int64_t p = begin; p < end; ++p) {
      body(offset);
      for (int i = axes - 1; i >= 0; --i) {
        for (int k = 0; k < N; ++k) offset[k] += step[k][i];
        if (++index[i] < shape[i]) break;
        for (int k = 0; k < N; ++k) offset[k] -= step[k][i] * shape[i];
        index[i] = 0;
      }
    }
  }
};

}  // namespace tg::cpu
#endif  // TENGEN_PLUGINS_CPU_AXES_H_
