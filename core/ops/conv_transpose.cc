// SPDX-License-Identifier: Apache-2.0
// Transposed convolution: the data gradient of the convolution that has its weight, with the sizes that PyTorch gives
// it.
#include "window.h"

namespace tg {
namespace {

struct Sizes {
  Window w;
  Ints more;  // output_padding
  Shape spatial;
};

// x's sizes against the attributes stride, padding, output_padding, groups, dilation.
Sizes sizes_of(const Inference& c) {
  const Shape &x = c.input(0).shape, &weight = c.input(1).shape;
  c.check(x.size() >= 3 && weight.size() == x.size(),
          "expected x (N, C, spatial...) and w (C, O/groups, kernel...) of one rank, got ", str(x), " and ",
          str(weight));
  const size_t d = x.size() - 2;
  Sizes s;
  for (size_t i = 0; i < d; ++i) s.w.kernel.push_back(weight[2 + i].value());
  s.w.stride = c.attr(0).ints(), s.w.padding = c.attr(1).ints(), s.w.dilation = c.attr(4).ints();
  s.more = c.attr(2).ints();
  check_window(c, s.w, d);
  c.check(s.more.size() == d, "expected ", d, " output paddings, got ", str(s.more));
  for (size_t i = 0; i < d; ++i) {
    c.check(s.more[i] >= 0 && s.more[i] < std::max(s.w.stride[i], s.w.dilation[i]),
            "expected output paddings below the stride ", str(s.w.stride), " or the dilation ", str(s.w.dilation),
            ", got ", str(s.more));
    const Dim n =
        (x[2 + i] - Dim(1)) * Dim(s.w.stride[i]) + Dim(s.w.extent(i) + s.more[i] - s.w.padding[i] - s.w.padding[d + i]);
    c.check(!n.is_constant() || n.value() >= 0, "expected paddings that leave something, got padding ",
            str(s.w.padding), " for x ", str(x));
    s.spatial.push_back(n);
  }
  return s;
}

Specs infer(const Inference& c) {
  const Sizes s = sizes_of(c);
  const TensorSpec &x = c.input(0), &w = c.input(1);
  const int64_t g = c.attr(3).integer();
  check_type(is_floating(x.dtype), c.name(), "floats", x.dtype);
  check_type(w.dtype == x.dtype && (!c.has(2) || c.input(2).dtype == x.dtype), c.name(), "operands of one dtype",
             w.dtype);
  c.check(g >= 1 && (!x.shape[1].is_constant() || x.shape[1].value() % g == 0), "expected groups that divide the ",
          x.shape[1], " channels, got ", g);
  c.check(w.shape[0] == x.shape[1], "expected w of ", x.shape[1], " input channels, got ", w.shape[0]);
  const Dim channels = w.shape[1] * Dim(g);
  c.check(!c.has(2) || c.input(2).shape == Shape{channels}, "expected b of shape (", channels, ",), got ",
          str(c.has(2) ? c.input(2).shape : Shape{}));
  Shape y{x.shape[0], channels};
  for (const Dim& n : s.spatial) y.push_back(n);
  return one({x.dtype, y});
}

Tensors decompose(const Call& c) {
  const Ints shape = concrete(infer_now(c)[0].shape);
  const size_t d = shape.size() - 2;
  // With a bias, 16-bit floats are rounded once, after it.
  const DType t = c.input(0).dtype(), compute = c.has(2) ? acc_dtype(t) : t;
  Tensor x = c.input(0).cast(compute);
  // An output padding of a stride or more reaches where another element of x would be: give it one of 0.
  Ints around(2 * shape.size(), 0);
  bool grows = false;
  for (size_t i = 0; i < d; ++i) {
    around[shape.size() + 2 + i] = c.attr(2).ints()[i] / c.attr(0).ints()[i];
    grows = grows || around[shape.size() + 2 + i] > 0;
  }
  if (grows) x = op<"pad">({x}, {around});
  Tensor y = op<"conv_backward_data">({x, c.input(1).cast(compute)},
                                      {c.attr(0), c.attr(1), c.attr(4), c.attr(3), spatial_of(shape)});
  if (c.has(2)) {
    Ints line(d + 1, 1);
    line[0] = shape[1];
    y = op<"add">({y, reshape(c.input(2).cast(compute), line)}).cast(t);
  }
  return {y};
}

}  // namespace

TG_OPS(conv_transpose) {
  TG_OP(conv_transpose)
      .amp(Amp::low)
      .family("nn")
      .doc(
          "Transposed convolution over one, two or three spatial axes: every element of x puts its multiple of the "
          "kernel into the result. Errors: ValueError where channels, groups or sizes do not fit.")
      .input("x", "[N, C, s...]")
      .input("w", "[C, O/groups, k...]")
      .optional_input("b", "[O]")
      .attr("stride", AttrKind::ints, Ints{1}, "distance of the kernels: one, or one for every spatial axis")
      .attr("padding", AttrKind::ints, Ints{0},
            "cut off: one size, one for every spatial axis, or all begins and then all ends")
      .attr("output_padding", AttrKind::ints, Ints{0}, "added at the ends: one size, or one for every spatial axis")
      .attr("groups", AttrKind::integer, 1, "channels are split into so many independent groups")
      .attr("dilation", AttrKind::ints, Ints{1}, "distance of the taps: one, or one for every spatial axis")
      .output("y", "[N, O, t...], t = (s - 1) stride - padding + dilation (k - 1) + output_padding + 1")
      .function_only()
      .canonical([](std::span<const Arg> inputs, std::span<Attr> attrs) {
        const size_t d = spatial_rank(inputs);
        spread(attrs[0], d), spread_padding(attrs[1], d), spread(attrs[2], d), spread(attrs[4], d);
      })
      .infer(infer)
      .decompose(decompose)
      .bounds(1, "C/groups times the kernel's size, plus one, relative to the same sum of magnitudes")
      .example(">>> tg.conv_transpose(tg.tensor([[[1., 2.]]]), tg.tensor([[[1., 1.]]])).tolist()\n[[[1.0, 3.0, 2.0]]]");
}

}  // namespace tg
