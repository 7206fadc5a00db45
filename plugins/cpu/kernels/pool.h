// SPDX-License-Identifier: Apache-2.0
//
// Geometry of the pooling ops: up to three spatial axes, missing ones are of size 1 in front.
#ifndef TENGEN_PLUGINS_CPU_POOL_H_
#define TENGEN_PLUGINS_CPU_POOL_H_

#include <algorithm>
#include <vector>

#include "kernels/kernels.h"

namespace tg::cpu {

// A tensor [N, C, d, h, w] with its strides.
struct Planes {
  int64_t n = 1, c = 1, size[3] = {1, 1, 1};
  int64_t n_step = 0, c_step = 0, step[3] = {0, 0, 0};

  Planes() = default;
  explicit Planes(const tg_tensor& t) : n(t.shape[0]), c(t.shape[1]), n_step(t.strides[0]), c_step(t.strides[1]) {
    for (int i = 2; i < t.ndim; ++i) {
      size[i + 3 - t.ndim] = t.shape[i];
      step[i + 3 - t.ndim] = t.strides[i];
    }
  }
  int64_t positions() const { return size[0] * size[1] * size[2]; }
};

// How windows lie over an input, per axis.
struct Window {
  int64_t kernel[3] = {1, 1, 1}, stride[3] = {1, 1, 1}, begin[3] = {0, 0, 0}, end[3] = {0, 0, 0};
  int64_t dilation[3] = {1, 1, 1};

  // Attributes kernel, stride, padding from P0 on; `dilations` may be NULL.
  Window(const tg_call& call, int rank, const tg_attr* dilations) {
    const int spatial = rank - 2;
    if (spatial < 1 || spatial > 3) {
      plugin::fail(TG_UNIMPLEMENTED, "[%s] expected 1 to 3 spatial dimensions, got %d", call.op, spatial);
    }
    if (int(call.attrs[0].n) != spatial || int(call.attrs[1].n) != spatial || int(call.attrs[2].n) != 2 * spatial) {
      plugin::fail(TG_INVALID_ARGUMENT, "[%s] expected kernel, stride and padding for %d spatial axes", call.op,
                   spatial);
    }
    for (int i = 0; i < spatial; ++i) {
      const int at = i + 3 - spatial;
      kernel[at] = call.attrs[0].v.ints[i];
      stride[at] = call.attrs[1].v.ints[i];
      begin[at] = call.attrs[2].v.ints[i];
      end[at] = call.attrs[2].v.ints[spatial + i];
      if (dilations) dilation[at] = dilations->v.ints[i];
    }
  }

  // The input position under a tap of output position o; outside the input in the padding.
  int64_t at(int axis, int64_t o, int64_t tap) const { return o * stride[axis] - begin[axis] + tap * dilation[axis]; }
};

struct Range {
  int64_t first, last;  // [first, last)
};

// The taps of output position o that lie inside an input of `size`.
inline Range taps_inside(const Window& window, int axis, int64_t o, int64_t size) {
  const int64_t start = window.at(axis, o, 0), d = window.dilation[axis];
  const int64_t first = start >= 0 ? 0 : (-start + d - 1) / d;
  const int64_t last = size <= start ? 0 : std::min(window.kernel[axis], (size - start + d - 1) / d);
  return {first, std::max(first, last)};
}

// The output positions of [0, outputs) under whose tap the input has an element.
inline Range outputs_inside(const Window& window, int axis, int64_t tap, int64_t size, int64_t outputs) {
  const int64_t start = window.at(axis, 0, tap), s = window.stride[axis];
  const int64_t first = start >= 0 ? 0 : (-start + s - 1) / s;
  const int64_t last = size <= start ? 0 : std::min(outputs, (size - start + s - 1) / s);
  return {first, std::max(first, last)};
}

constexpr int64_t kPoolChannels = 64;  // neighbouring channels handled at once

// Splits N x C into pieces of one plane, or of several neighbouring channels where these lie side by side (then the
// innermost loop runs over channels), and calls body(n, c_begin, c_end) for each, in parallel.
template <class Body>
void for_planes(const tg_host* host, int threads, const Planes& p, int64_t work_per_plane, Body&& body) {
  const int64_t block = p.c_step == 1 && p.c > 1 ? kPoolChannels : 1;
  const int64_t blocks = (p.c + block - 1) / block;
  const int64_t grain = std::max<int64_t>(1, 16384 / std::max<int64_t>(1, work_per_plane * std::min(block, p.c)));
  plugin::parallel_for(host, p.n * blocks, grain, threads, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t c = i % blocks * block;
      body(i / blocks, c, std::min(p.c, c + block));
    }
  });
}

}  // namespace tg::cpu
#endif  // TENGEN_PLUGINS_CPU_POOL_H_
