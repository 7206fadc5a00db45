// SPDX-License-Identifier: Apache-2.0
// How well the surroundings of every place of one feature map fit those of displaced places of another (Dosovitskiy et al.,
// "FlowNet", 2015).
#include "common.h"

namespace tg {
namespace {

struct Layout {
  int64_t kernel, reach, stride, step, padding;  // step: of displacements
  explicit Layout(AttrSpan a)
      : kernel(a[0].integer()), reach(a[1].integer()), stride(a[2].integer()), step(a[3].integer()), padding(a[4].integer()) {}
  int64_t side() const { return checked_add(checked_mul(2, reach / step), 1); }  // displacements on an axis
  int64_t border() const { return checked_add(reach, kernel / 2); }
};

Specs infer(const Inference& c) {
  const Shape &a = c.input(0).shape, &b = c.input(1).shape;
  c.check(a.size() == 4 && a == b, "expected a and b of one shape (N, C, H, W), got ", str(a), " and ", str(b));
  check_type(is_floating(c.input(0).dtype) && c.input(1).dtype == c.input(0).dtype, c.name(), "a and b of one floating dtype",
             c.input(1).dtype);
  const Layout l(c.attrs);
  c.check(l.kernel >= 1 && l.kernel % 2 == 1, "expected an odd kernel_size, got ", l.kernel);
  c.check(l.reach >= 0 && l.stride >= 1 && l.step >= 1 && l.padding >= 0,
          "expected strides of 1 or more, displacement and padding of 0 or more, got strides ", l.stride, " and ", l.step, ", displacement ",
          l.reach, ", padding ", l.padding);
  c.check(!a[1].is_constant() || a[1].value() > 0, "expected at least one channel, got ", str(a));
  const int64_t least = checked_mul(2, l.border()), more = checked_mul(2, l.padding);
  Shape y{a[0], Dim(l.side()) * Dim(l.side())};
  for (size_t i = 2; i < 4; ++i) {
    const Dim room = a[i] + Dim(more - least);
    c.check(!room.is_constant() || room.value() >= 1, "expected a padded size above ", least, " on spatial axis ", i - 2, ", got ",
            a[i] + Dim(more));
    y.push_back(floor_div(room + Dim(l.stride - 1), l.stride));
  }
  return one({c.input(0).dtype, y});
}

Tensors decompose(const Call& c) {
  const TensorSpec spec = infer_now(c)[0];
  const Ints shape = concrete(spec.shape);
  if (!numel(shape)) return {zeros(shape, spec.dtype, c.device)};
  const DType acc = acc_dtype(spec.dtype);
  const Layout l(c.attrs);
  const auto padded = [&](size_t i) {
    const Tensor x = c.input(i).cast(acc);
    return l.padding ? op<"pad">({x}, {Ints{0, 0, l.padding, l.padding, 0, 0, l.padding, l.padding}}) : x;
  };
  const Tensor a = padded(0), b = padded(1);
  // The elements that the kernels at all places of the result touch, displaced.
  const int64_t extent[] = {(shape[2] - 1) * l.stride + l.kernel, (shape[3] - 1) * l.stride + l.kernel};
  const auto part = [&](const Tensor& x, int64_t dy, int64_t dx) {
    const int64_t y0 = l.reach + dy, x0 = l.reach + dx;
    return slice(slice(x, 2, y0, y0 + extent[0]), 3, x0, x0 + extent[1]);
  };
  const Tensor still = part(a, 0, 0);
  std::vector<Arg> planes;
  const int64_t side = l.side(), half = side / 2;
  for (int64_t k = 0; k < side * side; ++k) {
    const Tensor moved = part(b, (k / side - half) * l.step, (k % side - half) * l.step);
    const Tensor fit = c.attr(5).boolean() ? op<"mul">({still, moved}) : op<"abs">({op<"sub">({still, moved})});
    planes.push_back(op<"mean">({fit}, {Ints{1}, true}));
  }
  const Attr axis[] = {Attr(1)};
  const Tensor y = call_one(op_named<"concat">(), planes, axis);
  return {op<"avg_pool">({y}, {Ints{l.kernel}, Ints{l.stride}}).cast(spec.dtype)};
}

}  // namespace

TG_OPS(correlation) {
  TG_OP(correlation)
      .family("vision")
      .amp(Amp::promote)
      .doc(
          "For every place of a and every displacement on a grid: the mean over channels and a window of a times the displaced b (or of "
          "the distance |a - b|). Memory: one product of x's size at a time; where gradients are recorded, two for every displacement "
          "by distance. Errors: ValueError for shapes and sizes that do not fit.")
      .input("a", "[N, C, H, W]")
      .input("b", "[N, C, H, W], a's dtype")
      .attr("kernel_size", AttrKind::integer, 1, "of the window, odd")
      .attr("max_displacement", AttrKind::integer, 1, "the largest displacement on either axis")
      .attr("stride1", AttrKind::integer, 1, "from one place of the result to the next")
      .attr("stride2", AttrKind::integer, 1, "from one displacement to the next")
      .attr("padding", AttrKind::integer, 0, "zeros around a and b")
      .attr("multiply", AttrKind::boolean, true, "products; else distances")
      .output("y", "[N, D * D, h, w], D = 2 (max_displacement // stride2) + 1: displacements row by row")
      .function_only()
      .infer(infer)
      .decompose(decompose)
      .bounds(1, "C times the window, plus three, relative to the mean of magnitudes")
      .example(
          ">>> a, b = tg.tensor([[[[1., 2., 3.]]]]), tg.tensor([[[[1., 10., 100.]]]])\n"
          ">>> tg.correlation(a, b, max_displacement=1, padding=1)[0, 3:6, 0].tolist()\n"
          "[[0.0, 2.0, 30.0], [1.0, 20.0, 300.0], [10.0, 200.0, 0.0]]");
}

}  // namespace tg
