// SPDX-License-Identifier: Apache-2.0
// Relatives of convolution that are sums over taps, too: weights of their own at every place, and inputs that count only
// where their region is the output's.
#include "window.h"

namespace tg {
namespace {

Window window_of(AttrSpan attrs, const Ints& kernel) { return {kernel, attrs[0].ints(), attrs[1].ints(), attrs[2].ints()}; }

void canonical(std::span<const Arg>, std::span<Attr> attrs) {
  spread(attrs[0], 2);
  spread_padding(attrs[1], 2);
  spread(attrs[2], 2);
}
OpBuilder windowed(OpBuilder o) {
  return o.family("vision")
      .amp(Amp::promote)
      .attr("stride", AttrKind::ints, Ints{1}, "one step, or one for every spatial axis")
      .attr("padding", AttrKind::ints, Ints{0}, "zeros around x: one size, two, or all begins and then all ends")
      .attr("dilation", AttrKind::ints, Ints{1}, "distance of the taps: one, or two")
      .function_only()
      .canonical(canonical);
}

// The last two axes of x with zeros around them.
Tensor padded(const Tensor& x, const Window& w) {
  if (w.padding == Ints(4, 0)) return x;
  Ints all(2 * size_t(x.rank()), 0);
  for (int64_t i = 0; i < 2; ++i) all[x.rank() - 2 + i] = w.padding[i], all[2 * x.rank() - 2 + i] = w.padding[2 + i];
  return op<"pad">({x}, {all});
}
// What one tap sees of a padded x, for outputs of h x w.
Tensor seen(Tensor x, const Window& w, const Ints& tap, int64_t h, int64_t l) {
  const int64_t size[] = {h, l};
  for (int64_t i = 0; i < 2; ++i) {
    const int64_t at = tap[i] * w.dilation[i];
    x = slice(x, x.rank() - 2 + i, at, at + (size[i] - 1) * w.stride[i] + 1, w.stride[i]);
  }
  return x;
}
void check_operands(const Inference& c, std::initializer_list<size_t> others) {
  check_type(is_floating(c.input(0).dtype), c.name(), "floats", c.input(0).dtype);
  for (size_t i : others)
    if (c.has(i)) check_type(c.input(i).dtype == c.input(0).dtype, c.name(), "operands of one dtype", c.input(i).dtype);
}
void add_to(Tensor* total, const Tensor& x) { *total = total->defined() ? op<"add">({*total, x}) : x; }

// ---- weights of their own at every place: w [groups, h, w, C/groups, kh, kw, O/groups] ----

Specs infer_local(const Inference& c) {
  const Shape &x = c.input(0).shape, &w = c.input(1).shape;
  c.check(x.size() == 4 && w.size() == 7, "expected x (N, C, H, W) and w (groups, h, w, C/groups, kh, kw, O/groups), got ", str(x),
          " and ", str(w));
  check_operands(c, {1, 2});
  c.check(x[1] == w[0] * w[3], "expected input channels ", w[0] * w[3], " (weight's ", w[3], " times ", w[0], " groups), got ", x[1]);
  const Window window = window_of(c.attrs, {w[4].value(), w[5].value()});
  check_window(c, window, 2);
  const Dim h = window_count(c, window, 0, x[2]), l = window_count(c, window, 1, x[3]);
  c.check(h == w[1] && l == w[2], "expected weights for ", h, " x ", l, " places, got ", str(w));
  const Shape y{x[0], w[0] * w[6], h, l};
  if (c.has(2)) {
    const Shape& b = c.input(2).shape;
    c.check(b == Shape{y[1]} || (b == Shape{y[1], h, l}), "expected b of shape (", y[1], ",) or (", y[1], ", ", h, ", ", l, "), got ",
            str(b));
  }
  return one({c.input(0).dtype, y});
}

Tensors decompose_local(const Call& c) {
  const TensorSpec spec = infer_now(c)[0];
  const Ints shape = concrete(spec.shape);
  if (!numel(shape) || !c.input(0).numel()) return {zeros(shape, spec.dtype, c.device)};
  const DType acc = acc_dtype(spec.dtype);
  const Tensor w = c.input(1).cast(acc);
  const int64_t n = shape[0], h = shape[2], l = shape[3], groups = w.size(0), channels = w.size(3);
  const Window window = window_of(c.attrs, {w.size(4), w.size(5)});
  const Tensor x = padded(c.input(0).cast(acc), window);
  Tensor y;
  for_taps(window, [&](const Ints& tap) {
    const Tensor part = reshape(seen(x, window, tap, h, l), {n, groups, channels, h, l});
    const Tensor rows = op<"permute">({part}, {Ints{1, 3, 4, 0, 2}});  // [groups, h, w, N, C/groups]
    const Tensor matrix = op<"select">({op<"select">({w}, {5, tap[1]})}, {4, tap[0]});
    add_to(&y, op<"matmul">({rows, matrix}));  // [groups, h, w, N, O/groups]
  });
  y = reshape(op<"permute">({y}, {Ints{3, 0, 4, 1, 2}}), shape);
  if (c.has(2)) {
    const Tensor b = c.input(2).cast(acc);
    y = op<"add">({y, b.rank() == 1 ? reshape(b, {shape[1], 1, 1}) : b});
  }
  return {y.cast(spec.dtype)};
}

// ---- regions ----

Specs infer_regions(const Inference& c) {
  const Shape &x = c.input(0).shape, &w = c.input(1).shape, &from = c.input(2).shape, &to = c.input(3).shape;
  const int64_t groups = c.attr(3).integer();
  c.check(x.size() == 4 && w.size() == 4, "expected x (N, C, H, W) and w (O, C/groups, kh, kw), got ", str(x), " and ", str(w));
  check_operands(c, {1, 4});
  c.check(groups >= 1, "expected at least 1 group, got ", groups);
  c.check(x[1] == w[1] * Dim(groups), "expected input channels ", w[1] * Dim(groups), " (weight's ", w[1], " times ", groups,
          " groups), got ", x[1]);
  c.check(!w[0].is_constant() || w[0].value() % groups == 0, "expected output channels divisible by groups ", groups, ", got ", w[0]);
  const Window window = window_of(c.attrs, {w[2].value(), w[3].value()});
  check_window(c, window, 2);
  const Shape y{x[0], w[0], window_count(c, window, 0, x[2]), window_count(c, window, 1, x[3])};
  for (size_t i = 2; i < 4; ++i) check_type(is_integer(c.input(i).dtype), c.name(), "regions of integers", c.input(i).dtype);
  c.check((from == Shape{x[0], x[2], x[3]}), "expected x's regions (", x[0], ", ", x[2], ", ", x[3], "), got ", str(from));
  c.check((to == Shape{y[0], y[2], y[3]}), "expected the result's regions (", y[0], ", ", y[2], ", ", y[3], "), got ", str(to));
  c.check(!c.has(4) || c.input(4).shape == Shape{w[0]}, "expected b of shape (", w[0], ",), got ",
          str(c.has(4) ? c.input(4).shape : Shape{}));
  return one({c.input(0).dtype, y});
}

Tensors decompose_regions(const Call& c) {
  const TensorSpec spec = infer_now(c)[0];
  const Ints shape = concrete(spec.shape);
  if (!numel(shape) || !c.input(0).numel()) return {zeros(shape, spec.dtype, c.device)};
  const DType acc = acc_dtype(spec.dtype);
  const Tensor w = c.input(1).cast(acc);
  const int64_t n = shape[0], o = shape[1], h = shape[2], l = shape[3], groups = c.attr(3).integer(), channels = w.size(1);
  const Window window = window_of(c.attrs, spatial_of(w.shape()));
  const Tensor x = padded(c.input(0).cast(acc), window), from = padded(c.input(2).cast(DType::i64), window);
  const Tensor to = c.input(3).cast(DType::i64);
  Tensor y;
  for_taps(window, [&](const Ints& tap) {
    const Tensor same = op<"unsqueeze">({op<"eq">({seen(from, window, tap, h, l), to})}, {Ints{1}});
    const Tensor part = op<"where">({same, seen(x, window, tap, h, l), 0.0});
    const Tensor matrix = op<"select">({op<"select">({w}, {3, tap[1]})}, {2, tap[0]});
    add_to(&y, op<"matmul">({reshape(matrix, {1, groups, o / groups, channels}), reshape(part, {n, groups, channels, h * l})}));
  });
  y = reshape(y, shape);
  if (c.has(4)) y = op<"add">({y, reshape(c.input(4).cast(acc), {o, 1, 1})});
  return {y.cast(spec.dtype)};
}

}  // namespace

TG_OPS(local_conv) {
  windowed(TG_OP(local_conv2d)
               .input("x", "[N, C, H, W]")
               .input("w", "[groups, h, w, C/groups, kh, kw, O/groups]")
               .optional_input("b", "[O] or [O, h, w]"))
      .doc(
          "Convolution over two axes with weights of its own at every place. Memory: one tap's part of x; where gradients are "
          "recorded, every tap's. Errors: ValueError where channels or sizes do not fit.")
      .output("y", "[N, O, h, w], sizes as conv's")
      .infer(infer_local)
      .decompose(decompose_local)
      .bounds(1, "C/groups times the kernel's size, plus one, relative to the sum of magnitudes")
      .example(
          ">>> x, w = tg.tensor([[[[1., 2.]]]]), tg.tensor([10., 100.]).reshape(1, 1, 2, 1, 1, 1, 1)\n"
          ">>> tg.local_conv2d(x, w).tolist()\n[[[[10.0, 200.0]]]]");

  windowed(TG_OP(region_restricted_conv)
               .input("x", "[N, C, H, W]")
               .input("w", "[O, C/groups, kh, kw]")
               .input("x_regions", "integers [N, H, W]")
               .input("y_regions", "integers [N, h, w]")
               .optional_input("b", "[O]"))
      .doc(
          "Convolution over two axes in which an element of x counts only where its region is the result's. Memory: one tap's part of "
          "x; where gradients are recorded, every tap's. Errors: ValueError where channels, groups or sizes do not fit.")
      .attr("groups", AttrKind::integer, 1, "channels are split into so many independent groups")
      .output("y", "[N, O, h, w], sizes as conv's")
      .infer(infer_regions)
      .decompose(decompose_regions)
      .bounds(1, "C/groups times the kernel's size, plus one, relative to the convolution of magnitudes")
      .example(
          ">>> x, r = tg.tensor([[[[1., 2., 4.]]]]), tg.tensor([[[0, 0, 1]]])\n"
          ">>> tg.region_restricted_conv(x, tg.ones(1, 1, 1, 3), r, r, padding=(0, 1)).tolist()\n[[[[3.0, 3.0, 4.0]]]]");
}

}  // namespace tg
