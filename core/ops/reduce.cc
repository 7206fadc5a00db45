// SPDX-License-Identifier: Apache-2.0
// Sums and what is made of them: sum, prod, mean, var, std, count_nonzero, norm, logsumexp.
// `axis` is one axis or several, all by default; `keepdims` leaves them with size 1.
#include "common.h"

namespace tg {
namespace {

Ints axes_of(const Call& c) { return normalize_axes(c.op.name.c_str(), c.attr(0).ints(), c.input(0).rank()); }
Ints axes_of(const Backward& b) {
  return normalize_axes(b.op.name.c_str(), b.attr(0).ints(), int64_t(b.input_shape(0).size()));
}

// keepdims is the second attribute, or the third of the ops with a correction or an order.
bool keeps(const Op& op, AttrSpan attrs) { return attrs[op.attrs[1].name == "keepdims" ? 1 : 2].boolean(); }

Specs reduced(const Inference& c, DType t) {
  const Shape& s = c.input(0).shape;
  const Ints axes = normalize_axes(c.name(), c.attr(0).ints(), int64_t(s.size()));
  return one({t, reduced_shape(s, axes, keeps(c.op, c.attrs))});
}
// With a dtype given x is cast first.
constexpr const char* kDType = "the result's, to which x is cast first";
Specs infer_sum(const Inference& c) { return reduced(c, sum_dtype(c, 2)); }
Specs infer_magnitude(const Inference& c) {
  check_type(is_inexact(c.input(0).dtype), c.name(), "floats (cast integers first)", c.input(0).dtype);
  return reduced(c, real_dtype(c.input(0).dtype));
}
Specs infer_floating(const Inference& c) {
  check_type(is_floating(c.input(0).dtype), c.name(), "floats (cast integers first)", c.input(0).dtype);
  return reduced(c, c.input(0).dtype);
}

// y has size 1 on the axes: leave them out unless they are kept.
Tensor finish(const Call& c, const Tensor& y, const Ints& axes) {
  return keeps(c.op, c.attrs) ? y : reshape(y, reduced_shape(y.shape(), axes, false));
}
// The gradient, as if the axes had been kept.
Tensor kept(const Backward& b, const Tensor& g, const Ints& axes) {
  return reshape(g, reduced_shape(b.input_shape(0), axes, true));
}

Tensor floor_sum(const Tensor& x, const Ints& axes) { return op<"floor_reduce">({x}, {TG_REDUCE_SUM, axes}); }
Tensor mean_of(const Tensor& x, const Ints& axes) {
  return op<"div">({floor_sum(x, axes), double(count_along(x.shape(), axes))});
}

template <int kind>
Tensors sum_like(const Call& c) {
  const Ints axes = axes_of(c);
  const Tensor x = c.input(0).cast(infer_now(c)[0].dtype);
  return {finish(c, op<"floor_reduce">({x}, {kind, axes}), axes)};
}

// Divisor of a variance: n - correction, and 0 (so NaN) below that.
double degrees(const Ints& shape, const Ints& axes, double correction) {
  return std::max(0.0, double(count_along(shape, axes)) - correction);
}

Tensors decompose_norm(const Call& c) {
  infer_now(c);
  const Ints axes = axes_of(c);
  const DType t = c.input(0).dtype();
  const Tensor x = is_complex(t) ? op<"abs">({c.input(0)}) : c.input(0).cast(acc_dtype(t));
  const double p = c.attr(1).floating();
  Tensor y;
  if (std::isinf(p)) {
    y = op<"floor_reduce">({op<"abs">({x})}, {p > 0 ? TG_REDUCE_MAX : TG_REDUCE_MIN, axes});
  } else if (p == 2) {
    y = op<"sqrt">({floor_sum(op<"square">({x}), axes)});
  } else if (p == 1) {
    y = floor_sum(op<"abs">({x}), axes);
  } else if (p == 0) {
    y = floor_sum(op<"ne">({x, 0.0}).cast(x.dtype()), axes);
  } else {
    y = op<"pow">({floor_sum(op<"pow">({op<"abs">({x}), p}), axes), 1 / p});
  }
  return {finish(c, y, axes).cast(real_dtype(t))};
}

Tensors norm_gradient(const Backward& b) {
  const Ints axes = axes_of(b);
  const double p = b.attr(1).floating();
  const Tensor &x = b.input(0), g = kept(b, b.grad(), axes), y = kept(b, b.output(), axes);
  if (p == 0) return {zeros_like(x)};
  if (p == 1) return {op<"mul">({g, op<"sign">({x})})};
  if (std::isinf(p)) {
    const Tensor mask = op<"eq">({op<"abs">({x}), y}).cast(x.dtype());
    return {op<"mul">({op<"mul">({op<"div">({g, sum(mask, axes, true)}), mask}), op<"sign">({x})})};
  }
  // x |x|^(p-2) / y^(p-1), and 0 where the norm is 0.
  const Tensor zero = op<"eq">({y, 0.0}), safe = op<"where">({zero, 1.0, y});
  if (p == 2) return {op<"where">({zero, 0.0, op<"mul">({x, op<"div">({g, safe})})})};
  const Tensor at_zero = op<"eq">({x, 0.0}), magnitude = op<"where">({at_zero, 1.0, op<"abs">({x})});
  const Tensor slope = op<"mul">({op<"sign">({x}), op<"pow">({op<"div">({magnitude, safe}), p - 1})});
  return {op<"where">({op<"logical_or">({zero, at_zero}), 0.0, op<"mul">({g, slope})})};
}

OpBuilder reduction(OpBuilder o) {
  return o.family("reduction")
      .input("x", "a tensor")
      .attr("axis", AttrKind::ints, Ints{}, "one axis or several; all by default");
}
constexpr const char* kKeep = "leave the axes with size 1";

}  // namespace

TG_OPS(reduce) {
  reduction(TG_OP(sum).amp(Amp::f32))
      .doc("Sum over axes. Bools and integers sum as i64, unsigned ones as u64; 16-bit floats accumulate in f32.")
      .attr("keepdims", AttrKind::boolean, false, kKeep)
      .optional_attr("dtype", AttrKind::dtype, kDType)
      .infer(infer_sum)
      .decompose(sum_like<TG_REDUCE_SUM>)
      .grad([](const Backward& b) {
        return Tensors{expand(kept(b, b.grad(), axes_of(b)).cast(b.input_dtype(0)), b.input_shape(0))};
      })
      .saves(0, 0)
      .linear({{0}})
      .batch_axes({"axis"})
      .bounds(1, "elements summed, relative to the sum of magnitudes")
      .example(">>> tg.sum(tg.tensor([[1, 2], [3, 4]]), axis=0).tolist()\n[4, 6]");

  reduction(TG_OP(prod).amp(Amp::f32))
      .doc("Product over axes; dtypes as sum.")
      .attr("keepdims", AttrKind::boolean, false, kKeep)
      .optional_attr("dtype", AttrKind::dtype, kDType)
      .infer(infer_sum)
      .decompose(sum_like<TG_REDUCE_PROD>)
      .batch_axes({"axis"})
      .bounds(1, "elements multiplied, relative")
      .example(">>> tg.prod(tg.tensor([2, 3, 4])).item()\n24");

  reduction(TG_OP(mean))
      .doc("Mean over axes. Errors: TypeError for integers without a floating dtype.")
      .attr("keepdims", AttrKind::boolean, false, kKeep)
      .optional_attr("dtype", AttrKind::dtype, kDType)
      .infer([](const Inference& c) {
        const DType t = cast_dtype(c, 2, c.input(0).dtype);
        check_type(is_inexact(t), c.name(), "floats (cast integers first)", t);
        return reduced(c, t);
      })
      .decompose([](const Call& c) {
        const Ints axes = axes_of(c);
        const DType t = infer_now(c)[0].dtype;
        return Tensors{finish(c, mean_of(c.input(0).cast(t).cast(acc_dtype(t)), axes), axes).cast(t)};
      })
      .grad([](const Backward& b) {
        const Ints axes = axes_of(b);
        const Tensor g = op<"div">({kept(b, b.grad(), axes), double(count_along(b.input_shape(0), axes))});
        return Tensors{expand(g.cast(b.input_dtype(0)), b.input_shape(0))};
      })
      .saves(0, 0)
      .linear({{0}})
      .batch_axes({"axis"})
      .bounds(1, "elements summed plus one, relative to the mean of magnitudes")
      .example(">>> tg.mean(tg.tensor([1., 3.])).item()\n2.0");

  reduction(TG_OP(var).amp(Amp::f32))
      .doc(
          "Variance over axes: the sum of squared differences from the mean over n - correction. Errors: TypeError for "
          "integers.")
      .attr("correction", AttrKind::floating, 1.0, "1: unbiased; 0: of the population")
      .attr("keepdims", AttrKind::boolean, false, kKeep)
      .infer(infer_magnitude)
      .decompose([](const Call& c) {
        infer_now(c);
        const Ints axes = axes_of(c);
        const DType t = c.input(0).dtype();
        const Tensor x = c.input(0).cast(acc_dtype(t));
        const Tensor d = op<"sub">({x, mean_of(x, axes)});
        const auto square = [](const Tensor& v) { return op<"square">({v}); };
        const Tensor squared = is_complex(t) ? op<"add">({square(op<"real">({d})), square(op<"imag">({d}))}) : square(d);
        const Tensor y = op<"div">({floor_sum(squared, axes), degrees(x.shape(), axes, c.attr(1).floating())});
        return Tensors{finish(c, y, axes).cast(real_dtype(t))};
      })
      .grad([](const Backward& b) {
        const Ints axes = axes_of(b);
        const Tensor& x = b.input(0);
        const Tensor g = op<"mul">({kept(b, b.grad(), axes), 2 / degrees(x.shape(), axes, b.attr(1).floating())});
        return Tensors{op<"mul">({g, op<"sub">({x, op<"mean">({x}, {axes, true})})})};
      })
      .own_conj()
      .saves(1, 0)
      .batch_axes({"axis"})
      .bounds(4, "two sums and the squares, relative to the sum of squared differences")
      .example(">>> tg.var(tg.tensor([1., 3.])).item()\n2.0");

  reduction(TG_OP(std).amp(Amp::f32))
      .doc("Standard deviation over axes: the root of var. Errors: TypeError for integers.")
      .attr("correction", AttrKind::floating, 1.0, "1: unbiased; 0: of the population")
      .attr("keepdims", AttrKind::boolean, false, kKeep)
      .infer(infer_magnitude)
      .decompose([](const Call& c) {
        infer_now(c);
        const DType t = c.input(0).dtype();
        return Tensors{
            op<"sqrt">({op<"var">({c.input(0).cast(acc_dtype(t))}, {c.attr(0), c.attr(1), c.attr(2)})}).cast(real_dtype(t))};
      })
      .batch_axes({"axis"})
      .bounds(4, "as var")
      .example(">>> tg.std(tg.tensor([1., 3.]), correction=0).item()\n1.0");

  reduction(TG_OP(count_nonzero))
      .doc("How many elements are not 0, as i64.")
      .attr("keepdims", AttrKind::boolean, false, kKeep)
      .infer([](const Inference& c) { return reduced(c, DType::i64); })
      .decompose([](const Call& c) {
        infer_now(c);
        return Tensors{op<"sum">({c.input(0).cast(DType::boolean)}, {c.attr(0), c.attr(1)})};
      })
      .no_grad()
      .batch_axes({"axis"})
      .bounds(0, "exact")
      .example(">>> tg.count_nonzero(tg.tensor([0, 3, 4])).item()\n2");

  reduction(TG_OP(norm).amp(Amp::f32))
      .doc(
          "Vector norm over axes: (sum |x|^ord)^(1/ord); inf and -inf: the largest and smallest magnitude; 0: how many "
          "are not 0. "
          "Errors: TypeError for integers.")
      .attr("ord", AttrKind::floating, 2.0, "the order")
      .attr("keepdims", AttrKind::boolean, false, kKeep)
      .infer(infer_magnitude)
      .decompose(decompose_norm)
      .grad(norm_gradient)
      .own_conj()
      .saves(1, 1)
      .batch_axes({"axis"})
      .bounds(20, "elements summed, and pow's 16 ulp")
      .example(">>> tg.norm(tg.tensor([3., 4.])).item()\n5.0");

  reduction(TG_OP(logsumexp).amp(Amp::f32))
      .doc("log(sum(exp(x))) over axes, without overflow. Errors: TypeError for integers.")
      .attr("keepdims", AttrKind::boolean, false, kKeep)
      .infer(infer_floating)
      .decompose([](const Call& c) {
        infer_now(c);
        const Ints axes = axes_of(c);
        const DType t = c.input(0).dtype();
        const Tensor x = c.input(0).cast(acc_dtype(t));
        if (count_along(x.shape(), axes) == 0) return Tensors{finish(c, op<"log">({floor_sum(x, axes)}), axes).cast(t)};
        const Tensor top = op<"floor_reduce">({x}, {TG_REDUCE_MAX, axes});
        const Tensor m = op<"where">({op<"isfinite">({top}), top, 0.0});
        const Tensor y = op<"add">({op<"log">({floor_sum(op<"exp">({op<"sub">({x, m})}), axes)}), m});
        return Tensors{finish(c, y, axes).cast(t)};
      })
      .grad([](const Backward& b) {
        const Ints axes = axes_of(b);
        const Tensor y = kept(b, b.output(), axes), safe = op<"where">({op<"isfinite">({y}), y, 0.0});
        return Tensors{op<"mul">({kept(b, b.grad(), axes), op<"exp">({op<"sub">({b.input(0), safe})})})};
      })
      .saves(1, 1)
      .batch_axes({"axis"})
      .bounds(16, "elements summed, and exp and log")
      .example(">>> tg.logsumexp(tg.tensor([1000.])).item()\n1000.0");
}

}  // namespace tg
