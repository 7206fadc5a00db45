// SPDX-License-Identifier: Apache-2.0
// Work on many tensors in one call: norms and scaling of gradients, running averages of parameters.
#include "optim.h"

namespace tg {
namespace {

Tensor wide(const Tensor& t) { return t.cast(acc_dtype(t.dtype())); }
Tensor stacked(const Tensors& scalars) {
  const std::vector<Arg> in(scalars.begin(), scalars.end());
  return call_one(op_named<"stack">(), in);
}

Tensors total_norm(const Call& c) {
  infer_now(c);
  const double p = c.attr(0).floating();
  Tensors parts;
  for (const Tensor& t : c.inputs) {
    if (t.numel() == 0) continue;
    const Tensor x = wide(t);
    parts.push_back(p == 2 ? op<"sum">({op<"square">({x})}) : op<"norm">({x}, {Ints{}, p}));
  }
  if (parts.empty()) return {zeros({}, acc_dtype(c.inputs.empty() ? DType::f32 : c.inputs[0].dtype()), c.device)};
  const Tensor all = stacked(parts);
  return {p == 2 ? op<"sqrt">({op<"sum">({all})}) : op<"norm">({all}, {Ints{}, p})};
}

Tensors scaled(const Call& c) {
  return for_each_group({c.op, c.inputs.subspan(1), c.attrs, c.wanted, c.device, c.outs}, 1, 1,
                        [&](const Call&, std::span<const Tensor> in, std::span<const Tensor> outs) {
                          const Arg args[] = {in[0], c.input(0)};
                          return call_to(op_named<"scale_step">(), args, {}, outs);
                        });
}

// The last result says whether any element was not finite.
Tensors unscaled(const Call& c) {
  const size_t n = c.inputs.size();
  Tensors out, finite;
  for (size_t i = 0; i < n; ++i) {
    const Arg args[] = {c.inputs[i], c.attr(0).floating()};
    out.push_back(call_to(op_named<"scale_step">(), args, {}, c.outs.empty() ? c.outs : c.outs.subspan(i, 1))[0]);
    finite.push_back(op<"all">({op<"isfinite">({out.back()})}));
  }
  const Tensor found = op<"logical_not">({op<"all">({stacked(finite)})}).cast(DType::f32);
  out.push_back(found);
  return out;
}

Specs infer_floats(const Inference& c, size_t first) {
  Specs out;
  for (size_t i = first; i < c.inputs.size(); ++i) {
    check_type(is_floating(c.input(i).dtype), c.name(), "floats", c.input(i).dtype);
    out.push_back(c.input(i));
  }
  return out;
}

}  // namespace

TG_OPS(multi_tensor) {
  optimizer_op(__FILE__, "scale_step")
      .doc("x * factor, in x's dtype.")
      .input("x", "a floating tensor")
      .input("factor", "0-d, or a number")
      .output("y", "x's dtype")
      .map(Promotion::common_wide,
           [](MapBuilder& b, Values in, AttrSpan) {
             return MapResult(b.cast(b.emit(TG_MAP_MUL, in[0], in[1]), b.input(0).dtype));
           })
      .bounds(1, "one rounding");
  optimizer_op(__FILE__, "lerp_step")
      .doc("x + weight * (y - x), in x's dtype; y itself where the weight is 1.")
      .input("x", "a floating tensor")
      .input("y", "a floating tensor")
      .input("weight", "a number")
      .output("x", "x's dtype")
      .map(Promotion::common_wide,
           [](MapBuilder& b, Values values, AttrSpan flags) {
             const Operands in{b, values, flags};
             const X y = select(less(in[2], number(in[2], 1)), in[0] + in[2] * (in[1] - in[0]), in[1]);
             return MapResult(b.cast(y.v, b.input(0).dtype));
           })
      .bounds(3, "three roundings, relative to |x| + |y|");

  optimizer_op(__FILE__, "multi_norm")
      .kernel()
      .doc("The p-norm of all elements of all tensors together; 16-bit floats in f32.")
      .variadic_input("tensors", "floating tensors of any shapes")
      .attr("p", AttrKind::floating, 2.0, "the norm's power, or inf")
      .output("norm", "0-d")
      .infer([](const Inference& c) {
        infer_floats(c, 0);
        DType t = DType::f32;
        for (size_t i = 0; i < c.inputs.size(); ++i) t = promote(t, acc_dtype(c.input(i).dtype));
        return one({t, {}});
      })
      .decompose(total_norm)
      .bounds(2, "elements summed");
  optimizer_op(__FILE__, "multi_scale")
      .kernel()
      .doc("Every tensor times a factor.")
      .input("factor", "0-d")
      .variadic_input("tensors", "floating tensors of any shapes")
      .output("scaled", "of every tensor")
      .infer([](const Inference& c) { return infer_floats(c, 1); })
      .decompose(scaled)
      .bounds(1, "one rounding");
  optimizer_op(__FILE__, "multi_unscale")
      .kernel()
      .doc("Every tensor times a number, and whether any element of the results is not finite.")
      .variadic_input("tensors", "floating tensors of any shapes")
      .run_attr("factor", AttrKind::floating, 1.0, "a number")
      .output("scaled", "of every tensor; then found_inf, 0-d f32: 1 or 0")
      .infer([](const Inference& c) {
        Specs out = infer_floats(c, 0);
        out.push_back({DType::f32, {}});
        return out;
      })
      .decompose(unscaled)
      .bounds(1, "one rounding");
  optimizer_op(__FILE__, "multi_lerp")
      .kernel()
      .doc("x + weight * (y - x) for every pair.")
      .variadic_input("tensors", std::string(kInterleaved) + "x, y")
      .run_attr("weight", AttrKind::floating, 1.0, "a number")
      .output("x", "of every pair")
      .infer(infer_groups(2, {0}))
      .decompose([](const Call& c) {
        return for_each_group(c, 2, 1, [](const Call& k, std::span<const Tensor> in, std::span<const Tensor> outs) {
          const Arg args[] = {in[0], in[1], k.attr(0).floating()};
          return call_to(op_named<"lerp_step">(), args, {}, outs);
        });
      })
      .bounds(3, "three roundings, relative to |x| + |y|");
}

}  // namespace tg
