// SPDX-License-Identifier: Apache-2.0
// Activations by pieces: thresholds, shrinkage, slopes that are learnt; and gated units, which halve an axis.
#include "map_expr.h"

namespace tg {
namespace {

Tensor mul(const Arg& a, const Arg& b) { return op<"mul">({a, b}); }
Tensor pick(const Tensor& mask, const Arg& a, const Arg& b) { return op<"where">({mask, a, b}); }

OpBuilder activation(OpBuilder o) {
  return o.family("activation").input("x", "a tensor of numbers; integers become f32");
}
// An elementwise formula in x, and the mask (of x) where its gradient is 1; elsewhere 0.
template <class F, class M>
OpBuilder pieces(OpBuilder o, F formula, M slope) {
  return o
      .map(Promotion::common_float,
           [formula](MapBuilder& b, Values in, AttrSpan attrs) {
             return back(formula(computing(b, in[0]), attrs), in[0].dtype);
           })
      .grad([slope](const Backward& b) { return Tensors{pick(slope(b.arg(0), b.attrs), b.grad(), 0.0)}; })
      .saves(1, 0);
}
Tensor gt(const Arg& x, double v) { return op<"gt">({x, v}); }
Tensor magnitude_above(const Arg& x, double v) { return op<"gt">({op<"abs">({x}), v}); }

Specs as_floats(const Inference& c) {
  return one({is_inexact(c.input(0).dtype) ? c.input(0).dtype : DType::f32, c.input(0).shape});
}

// ---- gated units ----

Specs infer_gated(const Inference& c) {
  TensorSpec y = c.input(0);
  check_type(is_floating(y.dtype), c.name(), "floats", y.dtype);
  const size_t axis = size_t(normalize_axis(c.name(), c.attr(0).integer(), int64_t(y.shape.size())));
  c.check(!y.shape[axis].is_constant() || y.shape[axis].value() % 2 == 0, "expected an even size along axis ", axis,
          ", got ", str(y.shape));
  y.shape[axis] = floor_div(y.shape[axis], 2);
  return one(y);
}
struct Halves {
  Tensor first, second;
  explicit Halves(const Call& c) {
    infer_now(c);
    const Tensor& x = c.input(0);
    const int64_t axis = normalize_axis(c.op.name.c_str(), c.attr(0).integer(), x.rank()), half = x.size(axis) / 2;
    first = slice(x, axis, 0, half), second = slice(x, axis, half, 2 * half);
  }
};
OpBuilder gated(OpBuilder o) {
  return o.family("activation")
      .input("x", "floats with an even size along the axis")
      .attr("axis", AttrKind::integer, -1, "the axis")
      .output("y", "half as long along the axis")
      .infer(infer_gated);
}

}  // namespace

TG_OPS(shrink) {
  pieces(
      activation(TG_OP(hardtanh))
          .doc("x clipped to [low, high]; its gradient at both ends is 0. Errors: ValueError unless low < high.")
          .attr("low", AttrKind::floating, -1.0, "lower end")
          .attr("high", AttrKind::floating, 1.0, "upper end"),
      [](Expr x, AttrSpan a) {
        const double low = a[0].floating(), high = a[1].floating();
        check(low <= high, "[hardtanh] expected low <= high, got ", low, " and ", high);
        return x.make(x.b->emit(TG_MAP_CLIP, x.v, x.constant(low).v, x.constant(high).v));
      },
      [](const Arg& x, AttrSpan a) {
        return op<"logical_and">({gt(x, a[0].floating()), op<"lt">({x, a[1].floating()})});
      })
      .bounds(1, "the rounding of an end")
      .example(">>> tg.hardtanh(tg.tensor([-3., 0.5])).tolist()\n[-1.0, 0.5]");

  pieces(
      activation(TG_OP(threshold))
          .doc("x where it is above the threshold, else `value`.")
          .attr("threshold", AttrKind::floating, "the threshold")
          .attr("value", AttrKind::floating, "what replaces the others"),
      [](Expr x, AttrSpan a) { return where(x.constant(a[0].floating()) < x, x, a[1].floating()); },
      [](const Arg& x, AttrSpan a) { return gt(x, a[0].floating()); })
      .bounds(1, "the rounding of the value")
      .example(">>> tg.threshold(tg.tensor([1., 3.]), 2.0, -1.0).tolist()\n[-1.0, 3.0]");

  pieces(
      activation(TG_OP(hardshrink))
          .doc("x where |x| is above lambd, else 0.")
          .attr("lambd", AttrKind::floating, 0.5, "the threshold"),
      [](Expr x, AttrSpan a) { return where(x.constant(a[0].floating()) < abs(x), x, 0.0); },
      [](const Arg& x, AttrSpan a) { return magnitude_above(x, a[0].floating()); })
      .bounds(0, "exact")
      .example(">>> tg.hardshrink(tg.tensor([-1., 0.2])).tolist()\n[-1.0, 0.0]");

  pieces(
      activation(TG_OP(softshrink))
          .doc("x moved by lambd towards 0, where it stays.")
          .attr("lambd", AttrKind::floating, 0.5, "how far"),
      [](Expr x, AttrSpan a) {
        const double l = a[0].floating();
        return where(x.constant(l) < x, x - l, where(x < -l, x + l, x * 0.0));
      },
      [](const Arg& x, AttrSpan a) { return magnitude_above(x, a[0].floating()); })
      .bounds(2, "two roundings, relative to |x| + lambd")
      .example(">>> tg.softshrink(tg.tensor([-1., 0.2])).tolist()\n[-0.5, 0.0]");

  activation(TG_OP(tanhshrink))
      .doc("x - tanh(x).")
      .infer(as_floats)
      .decompose([](const Call& c) {
        const Tensor x = c.input(0).cast(infer_now(c)[0].dtype);
        return Tensors{op<"sub">({x, op<"tanh">({x})})};
      })
      .bounds(9, "tanh and a difference, relative to |x|")
      .example(">>> tg.tanhshrink(tg.tensor([0.])).tolist()\n[0.0]");

  activation(TG_OP(softsign))
      .doc("x / (1 + |x|).")
      .map(Promotion::common_float,
           [](MapBuilder& b, Values in, AttrSpan) {
             const Expr x = computing(b, in[0]);
             return back(x / (1.0 + abs(x)), in[0].dtype);
           })
      .grad([](const Backward& b) {
        const Tensor d = op<"add">({op<"abs">({b.arg(0)}), 1.0});
        return Tensors{op<"div">({b.grad(), mul(d, d)})};
      })
      .saves(1, 0)
      .bounds(4, "three roundings")
      .example(">>> tg.softsign(tg.tensor([1., -3.])).tolist()\n[0.5, -0.75]");

  activation(TG_OP(celu))
      .doc("x above 0, alpha * (exp(x / alpha) - 1) below. Errors: ValueError for alpha 0.")
      .attr("alpha", AttrKind::floating, 1.0, "the limit below is -alpha")
      .map(Promotion::common_float,
           [](MapBuilder& b, Values in, AttrSpan a) {
             const double alpha = a[0].floating();
             check(alpha != 0, "[celu] expected an alpha other than 0, got 0");
             const Expr x = computing(b, in[0]);
             return back(where(x.constant(0) < x, x, (x / alpha).emit(TG_MAP_EXPM1) * alpha), in[0].dtype);
           })
      .grad([](const Backward& b) {
        const Tensor slope = op<"exp">({op<"div">({op<"minimum">({b.arg(0), 0.0}), b.attr(0).floating()})});
        return Tensors{pick(gt(b.arg(0), 0), b.grad(), mul(b.grad(), slope))};
      })
      .saves(1, 0)
      .bounds(20, "expm1, a quotient that enters it and a product, relative to |y| + |x|")
      .example(">>> tg.celu(tg.tensor([0., 2.])).tolist()\n[0.0, 2.0]");

  TG_OP(prelu)
      .amp(Amp::promote)
      .family("activation")
      .doc(
          "x above 0, weight * x below, with a weight for every channel (axis 1) or one for all. Errors: ValueError "
          "where sizes do not fit.")
      .input("x", "[N, C, ...]")
      .input("weight", "[C] or [1]")
      .output("y", "x's shape and dtype")
      .infer([](const Inference& c) {
        const TensorSpec &x = c.input(0), &w = c.input(1);
        check_type(is_floating(x.dtype) && w.dtype == x.dtype, c.name(), "x and weight of one floating dtype", w.dtype);
        const Dim channels = x.shape.size() >= 2 ? x.shape[1] : Dim(1);
        c.check(w.shape.size() <= 1 && (w.shape.empty() || w.shape[0] == Dim(1) || w.shape[0] == channels),
                "expected a weight of 1 or ", channels, " elements, got shape ", str(w.shape));
        return one(x);
      })
      .decompose([](const Call& c) {
        infer_now(c);
        const Tensor& x = c.input(0);
        Ints line(size_t(std::max<int64_t>(x.rank(), 1)), 1);
        if (x.rank() >= 2) line[1] = c.input(1).numel();
        const Tensor w = reshape(c.input(1), x.rank() ? line : Ints{});
        return Tensors{pick(gt(x, 0), x, mul(w, x))};
      })
      .bounds(1, "one rounding")
      .example(">>> tg.prelu(tg.tensor([-2., 2.]), tg.tensor([0.25])).tolist()\n[-0.5, 2.0]");

  gated(TG_OP(glu))
      .doc("a * sigmoid(b) of the two halves of an axis (Dauphin et al., 2017). Errors: ValueError for an odd size.")
      .decompose([](const Call& c) {
        const Halves h(c);
        return Tensors{mul(h.first, op<"sigmoid">({h.second}))};
      })
      .bounds(9, "sigmoid and a product")
      .example(">>> tg.glu(tg.tensor([2., 0.])).tolist()\n[1.0]");
  gated(TG_OP(swiglu))
      .doc(
          "silu(a) * b of the two halves of an axis (Shazeer, \"GLU variants\", 2020). Errors: ValueError for an odd "
          "size.")
      .decompose([](const Call& c) {
        const Halves h(c);
        return Tensors{mul(op<"silu">({h.first}), h.second)};
      })
      .bounds(17, "silu and a product")
      .example(">>> tg.swiglu(tg.tensor([0., 2.])).tolist()\n[0.0]");
  gated(TG_OP(geglu))
      .doc(
          "gelu(a) * b of the two halves of an axis (Shazeer, \"GLU variants\", 2020). Errors: ValueError for an odd "
          "size.")
      .decompose([](const Call& c) {
        const Halves h(c);
        return Tensors{mul(op<"gelu">({h.first}), h.second)};
      })
      .bounds(40, "gelu and a product, relative to |a b|")
      .example(">>> tg.geglu(tg.tensor([0., 2.])).tolist()\n[0.0]");
}

}  // namespace tg
