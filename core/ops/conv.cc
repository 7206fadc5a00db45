// SPDX-License-Identifier: Apache-2.0
// Convolution and its gradients, over any number of spatial axes. The meaning is a sum over the kernel's taps, each an
// accumulating matrix product on views.
#include "fused_activation.h"
#include "window.h"

namespace tg {
namespace {

constexpr const char* kStrideDoc = "one step, or one for every spatial axis";
constexpr const char* kPaddingDoc =
    "zeros around x: one size, one for every spatial axis, or all begins and then all ends";
constexpr const char* kDilationDoc = "distance of the taps: one, or one for every spatial axis";

void canonical(std::span<const Arg> inputs, std::span<Attr> attrs) {
  const size_t d = spatial_rank(inputs);
  spread(attrs[0], d);
  spread_padding(attrs[1], d);
  spread(attrs[2], d);
}
OpBuilder window_attrs(OpBuilder o) {
  return o.family("nn")
      .attr("stride", AttrKind::ints, Ints{1}, kStrideDoc)
      .attr("padding", AttrKind::ints, Ints{0}, kPaddingDoc)
      .attr("dilation", AttrKind::ints, Ints{1}, kDilationDoc)
      .attr("groups", AttrKind::integer, 1, "channels are split into so many independent groups")
      .canonical(canonical);
}
Window window_of(AttrSpan attrs, const Ints& kernel) {
  return {kernel, attrs[0].ints(), attrs[1].ints(), attrs[2].ints()};
}
Ints kernel_of(const Shape& w) {
  Ints k;
  for (size_t i = 2; i < w.size(); ++i) k.push_back(w[i].value());
  return k;
}
void check_floats(const Inference& c, size_t other) {
  check_type(is_inexact(c.input(0).dtype), c.name(), "floats", c.input(0).dtype);
  check_type(c.input(other).dtype == c.input(0).dtype, c.name(),
             (std::string("operands of one dtype, ") + long_name_of(c.input(0).dtype)).c_str(), c.input(other).dtype);
}

// Checks x[N, C, s...] against a window and groups; the output's spatial sizes.
Shape outputs_of(const Inference& c, const Shape& x, const Window& w) {
  c.check(x.size() >= 3, "expected x of shape (N, C, spatial...), got ", str(x));
  const size_t d = x.size() - 2;
  check_window(c, w, d);
  Shape t;
  for (size_t i = 0; i < d; ++i) t.push_back(window_count(c, w, i, x[2 + i]));
  return t;
}
void check_groups(const Inference& c, Dim channels, Dim per_group, Dim outputs) {
  const int64_t g = c.attr(3).integer();
  c.check(g >= 1, "expected at least 1 group, got ", g);
  c.check(channels == per_group * Dim(g), "expected input channels ", per_group * Dim(g), " (weight's ", per_group,
          " times ", g, " groups), got ", channels);
  c.check(!outputs.is_constant() || outputs.value() % g == 0, "expected output channels divisible by groups ", g,
          ", got ", outputs);
}

Specs infer_conv(const Inference& c) {
  const Shape &x = c.input(0).shape, &w = c.input(1).shape;
  c.check(x.size() >= 3 && w.size() == x.size(),
          "expected x (N, C, spatial...) and w (O, C/groups, kernel...) of one rank, got ", str(x), " and ", str(w));
  check_groups(c, x[1], w[1], w[0]);
  check_floats(c, 1);
  c.check(!c.has(2) || c.input(2).shape == Shape{w[0]}, "expected b of shape (", w[0], ",), got ",
          str(c.has(2) ? c.input(2).shape : Shape{}));
  if (c.has(2)) check_floats(c, 2);
  check_activation(c);
  Shape y{x[0], w[0]};
  for (Dim t : outputs_of(c, x, window_of(c.attrs, kernel_of(w)))) y.push_back(t);
  return one({c.input(0).dtype, y});
}

Specs infer_backward_data(const Inference& c) {
  const Shape &dy = c.input(0).shape, &w = c.input(1).shape;
  const Ints& size = c.attr(4).ints();
  c.check(dy.size() >= 3 && w.size() == dy.size(),
          "expected dy (N, O, spatial...) and w (O, C/groups, kernel...) of one rank, got ", str(dy), " and ", str(w));
  c.check(dy[1] == w[0], "expected dy to have w's ", w[0], " output channels, got ", dy[1]);
  c.check(size.size() + 2 == dy.size(), "expected ", dy.size() - 2, " input sizes, got ", str(size));
  check_floats(c, 1);
  Shape x{dy[0], w[1] * Dim(c.attr(3).integer())};
  for (int64_t s : size) x.push_back(s);
  check_groups(c, x[1], w[1], w[0]);
  const Shape t = outputs_of(c, x, window_of(c.attrs, kernel_of(w)));
  for (size_t i = 0; i < t.size(); ++i)
    c.check(t[i] == dy[2 + i], "expected input sizes whose convolution has dy's sizes ", str(dy), ", got ", str(size),
            ", which give ", str(t));
  return one({c.input(0).dtype, x});
}

Specs infer_backward_weight(const Inference& c) {
  const Shape &x = c.input(0).shape, &dy = c.input(1).shape;
  const int64_t g = c.attr(3).integer();
  c.check(x.size() >= 3 && dy.size() == x.size(),
          "expected x (N, C, spatial...) and dy (N, O, spatial...) of one rank, got ", str(x), " and ", str(dy));
  c.check(x[0] == dy[0], "expected x and dy of one batch size, got ", x[0], " and ", dy[0]);
  c.check(g >= 1 && (!x[1].is_constant() || x[1].value() % g == 0), "expected input channels divisible by groups ", g,
          ", got ", x[1]);
  check_floats(c, 1);
  const Shape t = outputs_of(c, x, window_of(c.attrs, c.attr(4).ints()));
  for (size_t i = 0; i < t.size(); ++i)
    c.check(t[i] == dy[2 + i], "expected dy of spatial sizes ", str(t), ", got ", str(dy));
  Shape w{dy[1], floor_div(x[1], g)};
  check_groups(c, x[1], w[1], w[0]);
  for (int64_t k : c.attr(4).ints()) w.push_back(k);
  return one({c.input(0).dtype, w});
}

// [N, g*c, s...] as [N, g, s1, .., c, sD]: channels and the last spatial axis are a matrix. A view.
Tensor grouped(const Tensor& x, int64_t g) {
  const int64_t d = x.rank() - 2;
  Ints shape{x.size(0), g, x.size(1) / g}, order{0, 1};
  for (int64_t i = 0; i < d; ++i) shape.push_back(x.size(2 + i));
  for (int64_t i = 0; i + 1 < d; ++i) order.push_back(3 + i);
  order.push_back(2);
  order.push_back(2 + d);
  return op<"permute">({reshape(x, shape)}, {order});
}
Ints grouped_axes(size_t d) {
  Ints axes;
  for (size_t i = 0; i < d; ++i) axes.push_back(int64_t(i + 1 < d ? 2 + i : 2 + d));
  return axes;
}
// One tap of w[g*o, c, k...] as [1, g, 1.., o, c], spread over the batch of `like` (of grouped form).
Tensor tap_matrix(const Tensor& w, int64_t g, const Ints& tap, const Tensor& like) {
  Tensor m = w;
  for (int64_t k : tap) m = op<"select">({m}, {2, k});
  Ints shape{1, g}, all = like.shape();
  for (size_t i = 1; i < tap.size(); ++i) shape.push_back(1);
  shape.push_back(w.size(0) / g), shape.push_back(w.size(1));
  all[all.size() - 2] = w.size(0) / g, all.back() = w.size(1);
  return expand(reshape(m, shape), all);
}

Tensors decompose_conv(const Call& c) {
  const TensorSpec spec = infer_now(c)[0];
  const DType t = spec.dtype, acc = acc_dtype(t);
  const Tensor x = c.input(0).cast(acc), w = c.input(1).cast(acc);
  const int64_t g = c.attr(3).integer();
  const Window window = window_of(c.attrs, spatial_of(w.shape()));
  Tensor y = zeros(concrete(spec.shape), acc, c.device);
  const Tensor from = grouped(x, g), into = grouped(y, g);
  const Ints axes = grouped_axes(window.rank());
  if (x.numel() && y.numel())
    for_taps(window, [&](const Ints& tap) {
      Tensor a = from, z = into;
      if (tap_views(window, tap, axes, axes, &a, &z)) matmul_into(z, tap_matrix(w, g, tap, z), a);
    });
  if (c.has(2)) {
    Ints line(y.shape().size() - 1, 1);
    line[0] = y.size(1);
    y = op<"add">({y, reshape(c.input(2).cast(acc), line)});
  }
  return {activate(y, c.attr(4).integer()).cast(t)};
}

Tensors decompose_backward_data(const Call& c) {
  const TensorSpec spec = infer_now(c)[0];
  const DType t = spec.dtype, acc = acc_dtype(t);
  const Tensor dy = c.input(0).cast(acc), w = c.input(1).cast(acc);
  const int64_t g = c.attr(3).integer();
  const Window window = window_of(c.attrs, spatial_of(w.shape()));
  const Tensor dx = zeros(concrete(spec.shape), acc, c.device);
  const Tensor into = grouped(dx, g), from = grouped(dy, g);
  const Ints axes = grouped_axes(window.rank());
  if (dx.numel() && dy.numel())
    for_taps(window, [&](const Ints& tap) {
      Tensor a = into, z = from;
      if (tap_views(window, tap, axes, axes, &a, &z)) matmul_into(a, transpose(tap_matrix(w, g, tap, z)), z);
    });
  return {dx.cast(t)};
}

// dw[g, o, c] of a tap = dy[g, o, N*t] @ x[g, N*t, c]: one copy of the tap's part of x at a time.
Tensors decompose_backward_weight(const Call& c) {
  const TensorSpec spec = infer_now(c)[0];
  const DType t = spec.dtype, acc = acc_dtype(t);
  Tensor x = c.input(0).cast(acc);
  const Tensor dy = c.input(1).cast(acc);
  const int64_t g = c.attr(3).integer(), n = x.size(0), d = x.rank() - 2;
  const Window window = window_of(c.attrs, c.attr(4).ints());
  const Tensor dw = zeros(concrete(spec.shape), acc, c.device);
  if (!dw.numel() || !dy.numel()) return {dw.cast(t)};
  Ints padding{0, 0};
  for (int64_t i = 0; i < d; ++i) padding.push_back(window.padding[i]);
  padding.push_back(0), padding.push_back(0);
  for (int64_t i = 0; i < d; ++i) padding.push_back(window.padding[d + i]);
  if (*std::max_element(padding.begin(), padding.end()) > 0) x = op<"pad">({x}, {padding});
  const int64_t o = dy.size(1) / g, channels = x.size(1) / g, places = n * (dy.numel() / n / dy.size(1));
  Ints split_dy{n, g, o}, split_x{n, g, channels}, order_dy{1, 2, 0}, order_x{1, 0};
  for (int64_t i = 0; i < d; ++i) {
    split_dy.push_back(dy.size(2 + i)), split_x.push_back(x.size(2 + i));
    order_dy.push_back(3 + i), order_x.push_back(3 + i);
  }
  order_x.push_back(2);
  const Tensor left = reshape(op<"permute">({reshape(dy, split_dy)}, {order_dy}), {g, o, places});
  const Tensor from = reshape(x, split_x);
  Ints split_dw{g, o, channels};
  for (int64_t k : window.kernel) split_dw.push_back(k);
  for_taps(window, [&](const Ints& tap) {
    Tensor part = from, into = reshape(dw, split_dw);
    for (int64_t i = 0; i < d; ++i) {
      const int64_t at = tap[i] * window.dilation[i];
      part = slice(part, 3 + i, at, at + (dy.size(2 + i) - 1) * window.stride[i] + 1, window.stride[i]);
      into = op<"select">({into}, {3, tap[i]});
    }
    matmul_into(into, left, reshape(op<"permute">({part}, {order_x}), {g, places, channels}));
  });
  return {dw.cast(t)};
}

// [B, n, c, ...] as [n, B*c, ...]: the hidden axis as groups; and back.
Tensor as_groups(const Tensor& t, bool keeps_first) {
  Ints shape = t.shape();
  shape.erase(0);
  shape[keeps_first ? 1 : 0] *= t.size(0);
  return reshape(keeps_first ? transpose(t, 0, 1) : t, shape);
}
Tensor from_groups(const Tensor& t, int64_t size, bool keeps_first) {
  Ints shape = t.shape();
  shape[keeps_first ? 1 : 0] /= size;
  shape.insert(keeps_first ? 1 : 0, size);
  return keeps_first ? transpose(reshape(t, shape), 0, 1) : reshape(t, shape);
}
// The hidden axis goes into N where the weight is shared, else into the groups. Operands: data, weight (or data, data for the
// gradient of the weight, which has it in its output's channels).
Tensors batch_conv(const Batch& b) {
  const bool weight_gradient = b.op.name == "conv_backward_weight", shared = !weight_gradient && !b.batched[1] && !(b.has(2) && b.batched[2]);
  Attrs attrs(b.attrs.begin(), b.attrs.end());
  std::vector<Arg> in(b.inputs.begin(), b.inputs.end());
  if (shared) {
    Ints shape = b.shape(0);
    shape[0] *= b.size;
    in[0] = reshape(b.input(0), shape);
    const Tensor y = b.call(b.op, in, attrs)[0];
    Ints split = y.shape();
    split[0] /= b.size;
    split.insert(0, b.size);
    return {reshape(y, split)};
  }
  attrs[3] = attrs[3].integer() * b.size;
  in[0] = as_groups(b.whole(0), true);
  in[1] = as_groups(b.whole(1), weight_gradient);
  if (b.has(2)) in[2] = reshape(b.whole(2), {-1});
  return {from_groups(b.call(b.op, in, attrs)[0], b.size, !weight_gradient)};
}

}  // namespace

TG_OPS(conv) {
  window_attrs(TG_OP(conv).amp(Amp::low)
                   .kernel()
                   .keeps_layout()
                   .input("x", "[N, C, s...]")
                   .input("w", "[O, C/groups, k...]")
                   .optional_input("b", "[O]"))
      .doc(
          "Convolution (cross-correlation) over one, two or three spatial axes, then an activation. Errors: ValueError "
          "where channels, groups or sizes do not fit.")
      .attr("activation", AttrKind::integer, 0, kActivationDoc)
      .output("y", "[N, O, t...], t = floor((s + padding - dilation (k - 1) - 1) / stride) + 1")
      .infer(infer_conv)
      .decompose(decompose_conv)
      .grad([](const Backward& b) {
        Tensor g = b.grad();
        if (const int64_t activation = b.attr(4).integer())
          g = activation_gradient(g,
                                  op<"conv">({b.input(0), b.input(1), b.has(2) ? b.arg(2) : Arg()},
                                             {b.attr(0), b.attr(1), b.attr(2), b.attr(3), 0}),
                                  activation);
        Tensors out(3);
        if (b.need(0))
          out[0] = op<"conv_backward_data">({g, b.input(1)},
                                            {b.attr(0), b.attr(1), b.attr(2), b.attr(3), spatial_of(b.input_shape(0))});
        if (b.need(1))
          out[1] = op<"conv_backward_weight">(
              {b.input(0), g}, {b.attr(0), b.attr(1), b.attr(2), b.attr(3), spatial_of(b.input_shape(1))});
        if (b.need(2)) out[2] = op<"sum">({g}, {all_axes_but(g.rank(), 1), false});
        return out;
      })
      .saves(7, 0)
      .linear({{0, 2}, {1}}, "activation")
      .batch(batch_conv)
      .bounds(1, "C/groups times the kernel's size, plus one, relative to the convolution of magnitudes")
      .example(">>> tg.conv(tg.tensor([[[1., 2., 3.]]]), tg.tensor([[[1., 1.]]])).tolist()\n[[[3.0, 5.0]]]");

  window_attrs(
      TG_OP(conv_backward_data).amp(Amp::low).kernel().keeps_layout()
          .input("dy", "[N, O, t...]").input("w", "[O, C/groups, k...]"))
      .doc("The gradient of conv with respect to x; also the transposed convolution of dy.")
      .attr("size", AttrKind::ints, "spatial sizes of x")
      .output("dx", "[N, C, s...]")
      .function_only()
      .infer(infer_backward_data)
      .decompose(decompose_backward_data)
      .grad([](const Backward& b) {
        Tensors out(2);
        if (b.need(0)) out[0] = op<"conv">({b.grad(), b.input(1)}, {b.attr(0), b.attr(1), b.attr(2), b.attr(3)});
        if (b.need(1))
          out[1] = op<"conv_backward_weight">(
              {b.grad(), b.input(0)}, {b.attr(0), b.attr(1), b.attr(2), b.attr(3), spatial_of(b.input_shape(1))});
        return out;
      })
      .saves(3, 0)
      .linear({{0}, {1}})
      .batch(batch_conv)
      .bounds(1, "O/groups times the kernel's size, relative to the same sum of magnitudes")
      .example(
          ">>> tg.conv_backward_data(tg.tensor([[[1., 1.]]]), tg.tensor([[[1., 2.]]]), size=3).tolist()\n[[[1.0, 3.0, "
          "2.0]]]");

  window_attrs(TG_OP(conv_backward_weight).amp(Amp::low).kernel().input("x", "[N, C, s...]").input("dy", "[N, O, t...]"))
      .doc("The gradient of conv with respect to w.")
      .attr("kernel", AttrKind::ints, "spatial sizes of w")
      .output("dw", "[O, C/groups, k...]")
      .function_only()
      .infer(infer_backward_weight)
      .decompose(decompose_backward_weight)
      .grad([](const Backward& b) {
        Tensors out(2);
        if (b.need(0))
          out[0] = op<"conv_backward_data">({b.input(1), b.grad()},
                                            {b.attr(0), b.attr(1), b.attr(2), b.attr(3), spatial_of(b.input_shape(0))});
        if (b.need(1)) out[1] = op<"conv">({b.input(0), b.grad()}, {b.attr(0), b.attr(1), b.attr(2), b.attr(3)});
        return out;
      })
      .saves(3, 0)
      .linear({{0}, {1}})
      .batch(batch_conv)
      .bounds(1, "N times the outputs' positions, relative to the same sum of magnitudes")
      .example(
          ">>> tg.conv_backward_weight(tg.tensor([[[1., 2., 3.]]]), tg.tensor([[[1., 1.]]]), "
          "kernel=2).tolist()\n[[[3.0, 5.0]]]");
}

}  // namespace tg
