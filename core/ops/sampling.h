// SPDX-License-Identifier: Apache-2.0
// Reading images at places between their elements: pixels as rows of channels, so that one index gathers all channels of a
// place, and the weights of the elements around it. Differentiable in the image and in the places.
#pragma once
#include "common.h"

namespace tg::sampling {

inline Tensor mul(const Arg& a, const Arg& b) { return op<"mul">({a, b}); }
inline Tensor add(const Arg& a, const Arg& b) { return op<"add">({a, b}); }
inline Tensor sub(const Arg& a, const Arg& b) { return op<"sub">({a, b}); }
inline Tensor div(const Arg& a, const Arg& b) { return op<"div">({a, b}); }
inline Tensor both(const Tensor& a, const Tensor& b) { return op<"logical_and">({a, b}); }
inline Tensor where(const Tensor& mask, const Arg& a, const Arg& b) { return op<"where">({mask, a, b}); }
inline Tensor clipped(const Tensor& x, double low, double high) { return op<"minimum">({op<"maximum">({x, low}), high}); }
inline Tensor last_axis(const Tensor& x) { return op<"unsqueeze">({x}, {Ints{-1}}); }
inline Tensor column(const Tensor& x, int64_t i) { return op<"select">({x}, {x.rank() - 1, i}); }
inline void add_to(Tensor* total, const Tensor& x) { *total = total->defined() ? add(*total, x) : x; }
// C's round: halves away from 0.
inline Tensor rounded(const Tensor& x) { return op<"trunc">({add(x, mul(op<"sign">({x}), 0.5))}); }

// Weights of the four places around a fraction, Keys's kernel with a = -0.75.
inline Tensors cubic_weights(const Tensor& t) {
  constexpr double a = -0.75;
  const auto near = [](const Tensor& x) { return add(mul(mul(sub(mul(x, a + 2), a + 3), x), x), 1.0); };
  const auto far = [](const Tensor& x) { return sub(mul(add(mul(sub(mul(x, a), 5 * a), x), 8 * a), x), 4 * a); };
  const Tensor u = sub(1.0, t);
  return {far(add(t, 1.0)), near(t), near(u), far(add(u, 1.0))};
}

// An image number per item, from a column of floats: rounded, so that it may stand in a tensor that is differentiated.
inline Tensor image_number(const Tensor& x) { return op<"round">({x.detach()}).cast(DType::i64); }

// x [N, C, H, W] as [N H W G, C / G]: the channels of a place in G rows.
struct Pixels {
  Tensor rows;
  int64_t height, width, groups;

  explicit Pixels(const Tensor& x, int64_t groups = 1) : height(x.size(2)), width(x.size(3)), groups(groups) {
    rows = reshape(op<"permute">({x}, {Ints{0, 2, 3, 1}}), {x.size(0) * height * width * groups, x.size(1) / groups});
  }
  // Where an image's rows begin.
  Tensor start(const Tensor& image) const { return mul(image, height * width * groups); }

  // The row of an integer place, which is inside; NaN casts to anything.
  Tensor row(const Tensor& start, const Tensor& y, const Tensor& x) const {
    const auto whole = [](const Tensor& p, int64_t size) {
      return op<"maximum">({op<"minimum">({p.detach().cast(DType::i64), size - 1}), 0});
    };
    const Tensor pixel = add(mul(whole(y, height), width), whole(x, width));
    return add(groups == 1 ? pixel : mul(pixel, groups), start);
  }
  // Rows at an index of any shape: [..., C / G].
  Tensor at(const Tensor& index) const {
    Ints shape = index.shape();
    shape.push_back(rows.size(1));
    return reshape(op<"index_select">({rows, reshape(index, {index.numel()})}, {0}), shape);
  }

  // Bilinear, times a factor. y and x broadcast to all places, as start does. Outside of the image are its borders, or zeros.
  Tensor bilinear(const Tensor& start, const Tensor& y, const Tensor& x, const Tensor& factor, bool zeros) const {
    const Tensor base[] = {op<"floor">({y.detach()}), op<"floor">({x.detach()})}, part[] = {sub(y, base[0]), sub(x, base[1])};
    const int64_t size[] = {height, width};
    Tensor total;
    for (int64_t tap = 0; tap < 4; ++tap) {
      const int64_t step[] = {tap / 2, tap % 2};
      Tensor place[2], weight[2];
      for (int i = 0; i < 2; ++i) {
        const Tensor p = add(base[i], double(step[i]));
        place[i] = clipped(p, 0, double(size[i] - 1));
        weight[i] = step[i] ? part[i] : sub(1.0, part[i]);
        if (zeros) weight[i] = where(op<"eq">({place[i], p}), weight[i], 0.0);
      }
      Tensor w = mul(weight[0], weight[1]);
      if (factor.defined()) w = mul(w, factor);
      add_to(&total, mul(at(row(start, place[0], place[1])), last_axis(w)));
    }
    return total;
  }
};

// [N, h, w, C] as [N, C, h, w], dense.
inline Tensor channels_first(const Tensor& y) { return op<"permute">({y}, {Ints{0, 3, 1, 2}}).contiguous(); }

// 0, 1, ..., n - 1 along one axis of `rank`.
inline Tensor line(int64_t n, int64_t rank, int64_t axis, DType t, Device* device) {
  Ints shape(size_t(rank), 1);
  shape[axis] = n;
  return reshape(iota(n, 0, 1, t, device), shape);
}

}  // namespace tg::sampling
