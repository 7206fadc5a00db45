// SPDX-License-Identifier: Apache-2.0
// Sliding windows over spatial axes, as conv and pooling use them: sizes, and for every tap of the window the part of
// the input that it touches and the part of the output that it feeds. A tap's parts are views, so nothing is unfolded.
#pragma once
#include "common.h"

namespace tg {

struct Window {
  Ints kernel, stride, padding, dilation;  // padding: all begins, then all ends
  size_t rank() const { return kernel.size(); }
  int64_t extent(size_t i) const { return checked_add(checked_mul(dilation[i], kernel[i] - 1), 1); }
};

// Brings stride, padding and dilation to full length: one number serves all axes, D paddings serve both ends.
inline void spread(Attr& a, size_t n) {
  Ints v = a.ints();
  if (v.size() == 1 && n > 1) v = Ints(n, v[0]);
  a = Attr(v);
}
inline void spread_padding(Attr& a, size_t d) {
  Ints v = a.ints();
  if (v.size() == 1) v = Ints(d, v[0]);
  if (v.size() == d)
    for (size_t i = 0; i < d; ++i) v.push_back(v[i]);
  a = Attr(v);
}
inline size_t spatial_rank(std::span<const Arg> inputs) {
  return inputs[0].kind == Arg::tensor && inputs[0].t.rank() > 2 ? size_t(inputs[0].t.rank()) - 2 : 1;
}

inline void check_window(const Inference& c, const Window& w, size_t d) {
  c.check(w.kernel.size() == d && w.stride.size() == d && w.padding.size() == 2 * d && w.dilation.size() == d,
          "expected ", d,
          " kernel sizes, strides and "
          "dilations and ",
          2 * d, " paddings (all begins, then all ends), got kernel ", str(w.kernel), ", stride ", str(w.stride),
          ", padding ", str(w.padding), ", dilation ", str(w.dilation));
  for (size_t i = 0; i < d; ++i)
    c.check(w.kernel[i] >= 1 && w.stride[i] >= 1 && w.dilation[i] >= 1 && w.padding[i] >= 0 && w.padding[d + i] >= 0,
            "expected kernel, stride and dilation of at least 1 and padding of at least 0, got kernel ", str(w.kernel),
            ", stride ", str(w.stride), ", padding ", str(w.padding), ", dilation ", str(w.dilation));
}

// How many windows fit on axis i of `size`.
inline Dim window_count(const Inference& c, const Window& w, size_t i, Dim size) {
  const Dim padded = size + Dim(w.padding[i]) + Dim(w.padding[w.rank() + i]);
  c.check(!padded.is_constant() || padded.value() >= w.extent(i),
          "expected a padded size of at least the kernel's extent ", w.extent(i), " on spatial axis ", i, ", got ",
          padded);
  return floor_div(padded - Dim(w.extent(i)), w.stride[i]) + Dim(1);
}

// Calls f(tap) for every position inside the kernel, in row-major order.
template <class F>
void for_taps(const Window& w, F f) {
  Ints tap(w.rank(), 0);
  while (true) {
    f(tap);
    size_t i = w.rank();
    while (i-- > 0) {
      if (++tap[i] < w.kernel[i]) break;
      tap[i] = 0;
      if (i == 0) return;
    }
  }
}

// For one tap and one axis: outputs first..last-1 have their tap inside the input, beginning at input index `at`.
struct TapRange {
  int64_t first, last, at;
};
inline TapRange tap_range(const Window& w, size_t i, int64_t tap, int64_t in, int64_t out) {
  const int64_t offset = tap * w.dilation[i] - w.padding[i];  // input index of output 0
  const int64_t s = w.stride[i];
  const int64_t first = offset >= 0 ? 0 : (-offset - 1) / s + 1;
  const int64_t last = std::min(out, in > offset ? (in - offset - 1) / s + 1 : 0);
  return {first, last, first < last ? first * s + offset : 0};
}

// The views of one tap; false where it touches padding only. axes_x[i] and axes_y[i] are where spatial axis i lies.
inline bool tap_views(const Window& w, const Ints& tap, const Ints& axes_x, const Ints& axes_y, Tensor* x, Tensor* y,
                      Ints* firsts = nullptr) {
  for (size_t i = 0; i < w.rank(); ++i) {
    const int64_t in = x->size(axes_x[i]), out = y->size(axes_y[i]);
    const TapRange r = tap_range(w, i, tap[i], in, out);
    if (r.first >= r.last) return false;
    *x = slice(*x, axes_x[i], r.at, r.at + (r.last - r.first - 1) * w.stride[i] + 1, w.stride[i]);
    if (r.first != 0 || r.last != out) *y = slice(*y, axes_y[i], r.first, r.last);
    if (firsts) (*firsts)[i] = r.at;
  }
  return true;
}

inline Ints spatial_axes(size_t d) {
  Ints axes;
  for (size_t i = 0; i < d; ++i) axes.push_back(int64_t(i) + 2);
  return axes;
}
inline Ints spatial_of(const Ints& shape) { return Ints(shape.data() + 2, shape.size() - 2); }

}  // namespace tg
