// SPDX-License-Identifier: Apache-2.0
// Elements between channels and space: pixel and channel shuffles; windows as columns (unfold) and their sum (fold).
#include "window.h"

namespace tg {
namespace {

// The factor of a shuffle, checked; x's last three axes are C, H, W.
int64_t factor_of(const Inference& c) {
  const int64_t r = c.attr(0).integer();
  c.check(r >= 1 && r < int64_t(1) << 31, "expected a factor from 1 to 2^31 - 1, got ", r);
  c.check(c.input(0).shape.size() >= 3, "expected x of shape [..., C, H, W], got ", str(c.input(0).shape));
  return r;
}
Dim divided(const Inference& c, Dim size, int64_t by, const char* what) {
  c.check(!size.is_constant() || size.value() % by == 0, "expected ", what, " divisible by ", by, ", got ", size);
  return floor_div(size, by);
}

// x[lead..., axes...] reshaped to [lead, form...], permuted by `order` (of the form's axes), then given `shape`.
Tensor rearranged(const Tensor& x, size_t axes, Ints form, Ints order, const Ints& shape) {
  int64_t lead = 1;
  for (size_t i = 0; i + axes < x.shape().size(); ++i) lead *= x.shape()[i];
  form.insert(0, lead);
  for (int64_t& o : order) ++o;
  order.insert(0, 0);
  return reshape(op<"permute">({reshape(x, form)}, {order}), shape);
}

// ---- unfold and fold ----

Window window_of(AttrSpan a) { return {a[0].ints(), a[1].ints(), a[2].ints(), a[3].ints()}; }
int64_t taps(const Window& w) { return numel(w.kernel); }

OpBuilder window_attrs(OpBuilder o) {
  return o.family("nn")
      .attr("kernel", AttrKind::ints, "the window's sizes")
      .attr("stride", AttrKind::ints, Ints{1}, "the windows' distance")
      .attr("padding", AttrKind::ints, Ints{0}, "zeros: one size, one for every axis, or all begins and then all ends")
      .attr("dilation", AttrKind::ints, Ints{1}, "distance of a window's elements");
}
void canonical(std::span<Attr> attrs, size_t d) {
  spread(attrs[0], d), spread(attrs[1], d), spread_padding(attrs[2], d), spread(attrs[3], d);
}
Shape windows(const Inference& c, const Shape& x) {
  const Window w = window_of(c.attrs);
  check_window(c, w, x.size() - 2);
  Shape t;
  for (size_t i = 0; i < w.rank(); ++i) t.push_back(window_count(c, w, i, x[2 + i]));
  return t;
}
Dim product(const Shape& s) {
  Dim n(1);
  for (const Dim& d : s) n = n * d;
  return n;
}
// cols [N, C K, L] as [N, C, K, t...].
Tensor by_taps(const Tensor& cols, const Window& w, const Ints& size) {
  Ints form{cols.size(0), cols.size(1) / taps(w), taps(w)};
  for (size_t i = 0; i < w.rank(); ++i)
    form.push_back((size[i] + w.padding[i] + w.padding[w.rank() + i] - w.extent(i)) / w.stride[i] + 1);
  return reshape(cols, form);
}
// Calls f(part of an image, part of the columns) for every tap that touches the image.
template <class F>
void each_tap(const Tensor& image, const Tensor& cols, const Window& w, F f) {
  const Ints axes = spatial_axes(w.rank());
  int64_t k = 0;
  for_taps(w, [&](const Ints& tap) {
    Tensor x = image, y = op<"select">({cols}, {2, k++});
    if (tap_views(w, tap, axes, axes, &x, &y)) f(x, y);
  });
}

}  // namespace

TG_OPS(shuffle) {
  TG_OP(pixel_shuffle)
      .family("nn")
      .doc("Moves r * r channels into r times as many rows and columns. Errors: ValueError unless r^2 divides C.")
      .input("x", "[..., C r^2, H, W]")
      .attr("factor", AttrKind::integer, "r")
      .output("y", "[..., C, H r, W r]")
      .function_only()
      .infer([](const Inference& c) {
        const int64_t r = factor_of(c);
        TensorSpec y = c.input(0);
        const size_t at = y.shape.size() - 3;
        y.shape[at] = divided(c, y.shape[at], r * r, "channels");
        y.shape[at + 1] = y.shape[at + 1] * Dim(r), y.shape[at + 2] = y.shape[at + 2] * Dim(r);
        return one(y);
      })
      .decompose([](const Call& c) {
        const Ints shape = concrete(infer_now(c)[0].shape);
        const Tensor& x = c.input(0);
        const int64_t r = c.attr(0).integer();
        return Tensors{rearranged(x, 3, {x.size(-3) / (r * r), r, r, x.size(-2), x.size(-1)}, {0, 3, 1, 4, 2}, shape)};
      })
      .bounds(0, "exact")
      .example(">>> tg.pixel_shuffle(tg.arange(4).reshape((4, 1, 1)), 2).tolist()\n[[[0, 1], [2, 3]]]");

  TG_OP(pixel_unshuffle)
      .family("nn")
      .doc(
          "Moves squares of r * r elements into channels: pixel_shuffle undone. Errors: ValueError unless r divides H "
          "and W.")
      .input("x", "[..., C, H r, W r]")
      .attr("factor", AttrKind::integer, "r")
      .output("y", "[..., C r^2, H, W]")
      .function_only()
      .infer([](const Inference& c) {
        const int64_t r = factor_of(c);
        TensorSpec y = c.input(0);
        const size_t at = y.shape.size() - 3;
        y.shape[at] = y.shape[at] * Dim(r * r);
        y.shape[at + 1] = divided(c, y.shape[at + 1], r, "rows");
        y.shape[at + 2] = divided(c, y.shape[at + 2], r, "columns");
        return one(y);
      })
      .decompose([](const Call& c) {
        const Ints shape = concrete(infer_now(c)[0].shape);
        const Tensor& x = c.input(0);
        const int64_t r = c.attr(0).integer();
        return Tensors{rearranged(x, 3, {x.size(-3), x.size(-2) / r, r, x.size(-1) / r, r}, {0, 2, 4, 1, 3}, shape)};
      })
      .bounds(0, "exact")
      .example(">>> tg.pixel_unshuffle(tg.arange(4).reshape((1, 2, 2)), 2).flatten().tolist()\n[0, 1, 2, 3]");

  TG_OP(channel_shuffle)
      .family("nn")
      .doc("Takes channels from the groups in turn. Errors: ValueError unless the groups divide the channels.")
      .input("x", "[N, C, ...]")
      .attr("groups", AttrKind::integer, "how many")
      .output("y", "x's shape")
      .function_only()
      .infer([](const Inference& c) {
        const Shape& x = c.input(0).shape;
        c.check(x.size() >= 2, "expected x of shape [N, C, ...], got ", str(x));
        c.check(c.attr(0).integer() >= 1, "expected at least 1 group, got ", c.attr(0).integer());
        divided(c, x[1], c.attr(0).integer(), "channels");
        return one(c.input(0));
      })
      .decompose([](const Call& c) {
        infer_now(c);
        const Tensor& x = c.input(0);
        const int64_t g = c.attr(0).integer();
        int64_t rest = 1;
        for (int64_t i = 2; i < x.rank(); ++i) rest *= x.size(i);
        return Tensors{rearranged(x, size_t(x.rank() - 1), {g, x.size(1) / g, rest}, {1, 0, 2}, x.shape())};
      })
      .bounds(0, "exact")
      .example(">>> tg.channel_shuffle(tg.arange(4).reshape((1, 4)), 2).tolist()\n[[0, 2, 1, 3]]");

  window_attrs(TG_OP(unfold).input("x", "[N, C, s...]"))
      .doc("The windows of an image as columns (im2col). Errors: ValueError where sizes do not fit.")
      .output("cols", "[N, C k, L]: k elements of a window, L windows")
      .function_only()
      .canonical([](std::span<const Arg> inputs, std::span<Attr> attrs) { canonical(attrs, spatial_rank(inputs)); })
      .infer([](const Inference& c) {
        const Shape& x = c.input(0).shape;
        c.check(x.size() >= 3, "expected x of shape (N, C, spatial...), got ", str(x));
        const Dim l = product(windows(c, x));
        return one({c.input(0).dtype, Shape{x[0], x[1] * Dim(taps(window_of(c.attrs))), l}});
      })
      .decompose([](const Call& c) {
        const TensorSpec spec = infer_now(c)[0];
        const Window w = window_of(c.attrs);
        const Tensor cols = zeros(concrete(spec.shape), spec.dtype, c.device);
        if (cols.numel())
          each_tap(c.input(0), by_taps(cols, w, spatial_of(c.input(0).shape())), w,
                   [](const Tensor& x, const Tensor& y) { copy_into(y, x); });
        return Tensors{cols};
      })
      .grad([](const Backward& b) {
        return Tensors{
            op<"fold">({b.grad()}, {b.attr(0), b.attr(1), b.attr(2), b.attr(3), spatial_of(b.input_shape(0))})};
      })
      .saves(0, 0)
      .bounds(0, "exact")
      .example(">>> tg.unfold(tg.tensor([[[1., 2., 3.]]]), 2).tolist()\n[[[1.0, 2.0], [2.0, 3.0]]]");

  window_attrs(TG_OP(fold).input("cols", "[N, C k, L]"))
      .doc("The sum of windows in their places (col2im), unfold's gradient. Errors: ValueError where sizes do not fit.")
      .attr("size", AttrKind::ints, "the image's spatial sizes")
      .output("x", "[N, C, size...]")
      .function_only()
      .canonical([](std::span<const Arg>, std::span<Attr> attrs) { canonical(attrs, attrs[4].ints().size()); })
      .infer([](const Inference& c) {
        const Shape& cols = c.input(0).shape;
        const Ints& size = c.attr(4).ints();
        c.check(cols.size() == 3 && !size.empty(), "expected cols [N, C k, L] and sizes of an image, got ", str(cols),
                " and ", str(size));
        Shape x{cols[0], Dim(1)};
        for (int64_t s : size) x.push_back(s);
        const Dim l = product(windows(c, x));
        c.check(l == cols[2], "expected ", l, " windows, got ", cols[2]);
        x[1] = divided(c, cols[1], taps(window_of(c.attrs)), "rows");
        return one({c.input(0).dtype, x});
      })
      .decompose([](const Call& c) {
        const TensorSpec spec = infer_now(c)[0];
        const Window w = window_of(c.attrs);
        const DType acc = acc_dtype(spec.dtype);
        const Tensor x = zeros(concrete(spec.shape), acc, c.device);
        if (c.input(0).numel())
          each_tap(x, by_taps(c.input(0).cast(acc), w, c.attr(4).ints()), w,
                   [](const Tensor& into, const Tensor& from) { add_into(into, from); });
        return Tensors{x.cast(spec.dtype)};
      })
      .grad([](const Backward& b) {
        return Tensors{op<"unfold">({b.grad()}, {b.attr(0), b.attr(1), b.attr(2), b.attr(3)})};
      })
      .saves(0, 0)
      .bounds(1, "windows that share an element, relative to the sum of magnitudes")
      .example(">>> tg.fold(tg.tensor([[[1., 2.], [2., 3.]]]), 2, size=(3,)).tolist()\n[[[1.0, 4.0, 3.0]]]");
}

}  // namespace tg
