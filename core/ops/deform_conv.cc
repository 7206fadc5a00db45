// SPDX-License-Identifier: Apache-2.0
// Convolution whose taps are moved by offsets (Dai et al., "Deformable convolutional networks", 2017) and weighted by a mask
// (Zhu et al., 2019). The meaning: for every tap, the image read at its places, times the tap's matrix.
#include "sampling.h"
#include "window.h"

namespace tg {
namespace {

using namespace sampling;

Window window_of(AttrSpan attrs, const Ints& kernel) { return {kernel, attrs[0].ints(), attrs[1].ints(), attrs[2].ints()}; }

void canonical(std::span<const Arg>, std::span<Attr> attrs) {
  spread(attrs[0], 2);
  spread_padding(attrs[1], 2);
  spread(attrs[2], 2);
}

Specs infer(const Inference& c) {
  const Shape &x = c.input(0).shape, &w = c.input(1).shape, &offset = c.input(2).shape;
  const int64_t groups = c.attr(3).integer();
  c.check(x.size() == 4 && w.size() == 4, "expected x (N, C, H, W) and w (O, C/groups, h, w), got ", str(x), " and ", str(w));
  check_type(is_floating(c.input(0).dtype), c.name(), "floats", c.input(0).dtype);
  for (size_t i = 1; i < 5; ++i)
    if (c.has(i)) check_type(c.input(i).dtype == c.input(0).dtype, c.name(), "operands of one dtype", c.input(i).dtype);
  c.check(groups >= 1, "expected at least 1 group, got ", groups);
  c.check(x[1] == w[1] * Dim(groups), "expected input channels ", w[1] * Dim(groups), " (weight's ", w[1], " times ", groups,
          " groups), got ", x[1]);
  c.check(!w[0].is_constant() || w[0].value() % groups == 0, "expected output channels divisible by groups ", groups, ", got ", w[0]);
  const Window window = window_of(c.attrs, {w[2].value(), w[3].value()});
  check_window(c, window, 2);
  const int64_t taps = checked_mul(window.kernel[0], window.kernel[1]), per_part = checked_mul(2, taps);
  const Shape y{x[0], w[0], window_count(c, window, 0, x[2]), window_count(c, window, 1, x[3])};
  c.check(offset.size() == 4 && offset[0] == y[0] && offset[2] == y[2] && offset[3] == y[3],
          "expected offsets (", y[0], ", channels, ", y[2], ", ", y[3], "), got ", str(offset));
  const bool known = offset[1].is_constant() && x[1].is_constant();
  const int64_t parts = known ? offset[1].value() / per_part : 1;
  c.check(!known || (parts >= 1 && offset[1].value() == parts * per_part && x[1].value() % parts == 0),
          "expected 2 * ", taps, " offset channels times a divisor of ", x[1], " channels, got ", offset[1]);
  if (c.has(3)) {
    const Shape& mask = c.input(3).shape;
    c.check(mask.size() == 4 && mask[0] == y[0] && mask[1] * Dim(2) == offset[1] && mask[2] == y[2] && mask[3] == y[3],
            "expected a mask of half the offsets' channels, got ", str(mask), " for offsets ", str(offset));
  }
  c.check(!c.has(4) || c.input(4).shape == Shape{w[0]}, "expected b of shape (", w[0], ",), got ",
          str(c.has(4) ? c.input(4).shape : Shape{}));
  return one({c.input(0).dtype, y});
}

Tensors decompose(const Call& c) {
  const TensorSpec spec = infer_now(c)[0];
  const Ints shape = concrete(spec.shape);
  if (!numel(shape) || !c.input(0).numel()) return {zeros(shape, spec.dtype, c.device)};
  const DType acc = acc_dtype(spec.dtype);
  const Tensor w = c.input(1).cast(acc);
  const int64_t n = shape[0], o = shape[1], h = shape[2], l = shape[3], channels = c.input(0).size(1), groups = c.attr(3).integer();
  const Window window = window_of(c.attrs, spatial_of(w.shape()));
  const int64_t taps = window.kernel[0] * window.kernel[1], parts = c.input(2).size(1) / (2 * taps);
  const Pixels pixels(c.input(0).cast(acc), parts);
  // [N, h, w, parts]: places of one tap.
  const Ints last{0, 2, 3, 1};
  const Tensor offset = reshape(c.input(2).cast(acc), {n, parts, taps, 2, h, l});
  const Tensor mask = when(c.has(3), [&] { return reshape(c.input(3).cast(acc), {n, parts, taps, h, l}); });
  const Tensor start = add(pixels.start(line(n, 4, 0, DType::i64, c.device)), line(parts, 4, 3, DType::i64, c.device));
  Tensor y;
  for_taps(window, [&](const Ints& tap) {
    const int64_t number = tap[0] * window.kernel[1] + tap[1];
    const Tensor moved = op<"select">({offset}, {2, number});
    Tensor place[2];
    for (int64_t i = 0; i < 2; ++i) {
      const Tensor at = mul(line(shape[2 + i], 4, 1 + i, acc, c.device), double(window.stride[i]));
      const Tensor still = add(at, double(tap[i] * window.dilation[i] - window.padding[i]));
      place[i] = add(op<"permute">({op<"select">({moved}, {2, i})}, {last}), still);
    }
    const Tensor factor = when(mask.defined(), [&] { return op<"permute">({op<"select">({mask}, {2, number})}, {last}); });
    const Tensor seen = pixels.bilinear(start, place[0], place[1], factor, true);  // [N, h, w, parts, C / parts]
    const Tensor columns = transpose(reshape(seen, {n * h * l, groups, channels / groups}), 0, 1);
    const Tensor matrix = op<"select">({op<"select">({w}, {3, tap[1]})}, {2, tap[0]});  // [O, C / groups]
    add_to(&y, op<"matmul">({columns, transpose(reshape(matrix, {groups, o / groups, channels / groups}))}));
  });
  y = reshape(transpose(y, 0, 1), {n, h, l, o});
  if (c.has(4)) y = add(y, c.input(4).cast(acc));
  return {channels_first(y).cast(spec.dtype)};
}

}  // namespace

TG_OPS(deform_conv) {
  TG_OP(deform_conv)
      .family("vision")
      .amp(Amp::promote)
      .doc(
          "Convolution over two axes whose taps are moved by offsets, each read bilinearly, 0 outside of x, and weighted by a mask. "
          "Differentiable in all operands. Memory: four times C elements per place of the result for one tap; where gradients are "
          "recorded, for every tap. Errors: ValueError where channels, groups or sizes do not fit.")
      .input("x", "[N, C, H, W]")
      .input("w", "[O, C/groups, kh, kw]")
      .input("offset", "[N, 2 parts kh kw, h, w]: for each part of the channels and each tap y, then x")
      .optional_input("mask", "[N, parts kh kw, h, w]")
      .optional_input("b", "[O]")
      .attr("stride", AttrKind::ints, Ints{1}, "one step, or one for every spatial axis")
      .attr("padding", AttrKind::ints, Ints{0}, "zeros around x: one size, two, or all begins and then all ends")
      .attr("dilation", AttrKind::ints, Ints{1}, "distance of the taps: one, or two")
      .attr("groups", AttrKind::integer, 1, "channels are split into so many independent groups")
      .output("y", "[N, O, h, w], sizes as conv's")
      .function_only()
      .canonical(canonical)
      .infer(infer)
      .decompose(decompose)
      .bounds(16, "C/groups times the kernel's size, and a place's rounding, relative to the sum of magnitudes times the longest axis")
      .example(
          ">>> x = tg.tensor([[[[1., 2., 3.]]]])\n"
          ">>> offset = tg.tensor([0., 0.5]).reshape(1, 2, 1, 1).expand(1, 2, 1, 3)\n"
          ">>> tg.deform_conv(x, tg.ones(1, 1, 1, 1), offset).tolist()\n[[[[1.5, 2.5, 1.5]]]]");
}

}  // namespace tg
