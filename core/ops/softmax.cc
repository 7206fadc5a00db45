// SPDX-License-Identifier: Apache-2.0
// softmax and log_softmax along an axis, with their gradients.
#include "common.h"

namespace tg {
namespace {

CanonicalFn positive_axis(const char* op) {
  return [op](std::span<const Arg> inputs, std::span<Attr> attrs) {
    if (inputs[0].kind == Arg::tensor) attrs[0] = normalize_axis(op, attrs[0].integer(), inputs[0].t.rank());
  };
}
Specs infer(const Inference& c) {
  check_type(is_floating(c.input(0).dtype), c.name(), "floats", c.input(0).dtype);
  normalize_axis(c.name(), c.attr(0).integer(), int64_t(c.input(0).shape.size()));
  return one(c.input(0));
}
Specs infer_backward(const Inference& c) {
  c.check(c.input(0).shape == c.input(1).shape, "expected dy of y's shape ", str(c.input(1).shape), ", got ",
          str(c.input(0).shape));
  return infer(c);
}

Ints axis_of(const Call& c) { return {normalize_axis(c.op.name.c_str(), c.attr(0).integer(), c.input(0).rank())}; }
Ints axis_of(const Backward& b) { return {b.attr(0).integer()}; }
Tensor mul(const Arg& a, const Arg& b) { return op<"mul">({a, b}); }
Tensor sub(const Arg& a, const Arg& b) { return op<"sub">({a, b}); }

// x minus its maximum along the axis, in the accumulation dtype. (A row of -inf gives NaN, as 0/0.)
Tensor shifted(const Call& c) {
  const Tensor x = c.input(0).cast(acc_dtype(c.input(0).dtype()));
  return sub(x, op<"floor_reduce">({x}, {TG_REDUCE_MAX, axis_of(c)}));
}
Tensor kept_sum(const Tensor& x, const Ints& axes) { return sum(x, axes, true); }

OpBuilder forward(OpBuilder o, const char* name) {
  return o.kernel()
      .family("nn")
      .input("x", "a floating tensor of at least one axis")
      .attr("axis", AttrKind::integer, -1, "the axis")
      .canonical(positive_axis(name))
      .infer(infer);
}
OpBuilder backward(OpBuilder o) {
  return o.kernel()
      .internal()
      .family("nn")
      .input("dy", "gradient of y")
      .input("y", "what the forward op gave")
      .attr("axis", AttrKind::integer, "the axis")
      .output("dx", "gradient of x")
      .canonical(positive_axis("softmax_backward"))
      .infer(infer_backward);
}

}  // namespace

TG_OPS(softmax) {
  forward(TG_OP(softmax).amp(Amp::f32), "softmax")
      .doc("exp(x) / sum(exp(x)) along an axis, without overflow. Errors: TypeError for integers.")
      .decompose([](const Call& c) {
        if (!c.input(0).numel()) return Tensors{op<"copy">({c.input(0)})};
        const Tensor e = op<"exp">({shifted(c)});
        return Tensors{op<"div">({e, kept_sum(e, axis_of(c))}).cast(c.input(0).dtype())};
      })
      .grad([](const Backward& b) {
        return Tensors{op<"softmax_backward">({b.grad(), b.output()}, {b.attr(0)})};
      })
      .saves(0, 1)
      .jvp([](const Forward& f) { return Tensors{op<"softmax_backward">({f.tangent(0), f.output()}, {f.attr(0)})}; })
      .batch_axes({"axis"})
      .bounds(16, "exp's 4 ulp of the shifted operand, the length of the axis, a quotient")
      .example(">>> tg.softmax(tg.tensor([1., 1.]), axis=0).tolist()\n[0.5, 0.5]");

  backward(TG_OP(softmax_backward))
      .doc("y * (dy - sum(dy * y)).")
      .decompose([](const Call& c) {
        const DType acc = acc_dtype(c.input(0).dtype());
        const Tensor dy = c.input(0).cast(acc), y = c.input(1).cast(acc);
        return Tensors{mul(y, sub(dy, kept_sum(mul(dy, y), axis_of(c)))).cast(c.input(0).dtype())};
      })
      .grad([](const Backward& b) {
        const Ints axis = axis_of(b);
        const Tensor &v = b.grad(), &dy = b.input(0), &y = b.input(1);
        const Tensor inner = kept_sum(mul(dy, y), axis), outer = kept_sum(mul(v, y), axis);
        return Tensors{op<"softmax_backward">({v, y}, {b.attr(0)}),
                       b.need(1) ? sub(mul(v, sub(dy, inner)), mul(dy, outer)) : Tensor()};
      })
      .saves(3, 0)
      .batch_axes({"axis"})
      .bounds(8, "the length of the axis, relative to y * (|dy| + sum |dy y|)");

  forward(TG_OP(log_softmax).amp(Amp::f32), "log_softmax")
      .doc("log(softmax(x)) along an axis, without overflow or underflow. Errors: TypeError for integers.")
      .decompose([](const Call& c) {
        if (!c.input(0).numel()) return Tensors{op<"copy">({c.input(0)})};
        const Tensor s = shifted(c);
        return Tensors{sub(s, op<"log">({kept_sum(op<"exp">({s}), axis_of(c))})).cast(c.input(0).dtype())};
      })
      .grad([](const Backward& b) {
        return Tensors{op<"log_softmax_backward">({b.grad(), b.output()}, {b.attr(0)})};
      })
      .saves(0, 1)
      .batch_axes({"axis"})
      .bounds(16, "exp and log, the length of the axis, relative to max |x| + 1")
      .example(">>> tg.log_softmax(tg.tensor([1000., -1000.]), axis=0).tolist()\n[0.0, -2000.0]");

  backward(TG_OP(log_softmax_backward))
      .doc("dy - exp(y) * sum(dy).")
      .decompose([](const Call& c) {
        const DType acc = acc_dtype(c.input(0).dtype());
        const Tensor dy = c.input(0).cast(acc), y = c.input(1).cast(acc);
        return Tensors{sub(dy, mul(op<"exp">({y}), kept_sum(dy, axis_of(c)))).cast(c.input(0).dtype())};
      })
      .grad([](const Backward& b) {
        const Ints axis = axis_of(b);
        const Tensor &v = b.grad(), e = op<"exp">({b.input(1)}), ve = mul(v, e);
        return Tensors{sub(v, kept_sum(ve, axis)),
                       when(b.need(1), [&] { return op<"neg">({mul(ve, kept_sum(b.input(0), axis))}); })};
      })
      .saves(3, 0)
      .batch_axes({"axis"})
      .bounds(8, "the length of the axis, relative to |dy| + exp(y) sum |dy|");
}

}  // namespace tg
