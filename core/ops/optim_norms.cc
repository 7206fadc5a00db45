// SPDX-License-Identifier: Apache-2.0
// Optimizers whose step depends on norms of whole tensors: LAMB, LARS, Adafactor. Nothing waits for a norm: it stays a
// tensor on the device.
#include "optim.h"

namespace tg {
namespace {

Tensor wide(const Tensor& t) { return t.cast(acc_dtype(t.dtype())); }
Tensor norm_of(const Tensor& t) { return op<"norm">({wide(t)}); }
Tensor mean(const Tensor& x, const Ints& axes) { return op<"mean">({x}, {axes, true}); }
Tensor mul(const Arg& a, const Arg& b) { return op<"mul">({a, b}); }
// The root of the mean square; of nothing 0.
Tensor rms_of(const Tensor& t) { return mul(norm_of(t), t.numel() ? 1 / std::sqrt(double(t.numel())) : 0.0); }
// a / b where both are positive, else 1.
Tensor ratio_of(const Tensor& a, const Tensor& b) {
  const Tensor positive = op<"logical_and">({op<"gt">({a, 0.0}), op<"gt">({b, 0.0})});
  return op<"where">({positive, op<"div">({a, op<"where">({positive, b, 1.0})}), 1.0});
}

// p = p * shrink - lr * ratio * u, over p.
Tensor ratio_step(const Tensor& p, const Tensor& u, const Tensor& ratio, double lr, double shrink,
                  std::span<const Tensor> outs) {
  const Arg in[] = {p, u, ratio, lr, shrink};
  return call_to(op_named<"ratio_step">(), in, {}, outs.empty() ? outs : outs.first(1))[0];
}

Tensors lamb(const Call& c, std::span<const Tensor> in, std::span<const Tensor> outs) {
  std::vector<Arg> args(in.begin(), in.end());
  for (size_t i = 1; i < 7; ++i) args.emplace_back(c.attr(i).floating());
  Tensors into;
  if (!outs.empty()) into = {Tensor(), outs[1], outs[2]};
  const Tensors d = call_to(op_named<"lamb_direction">(), args, c.attrs.subspan(7), into);
  return {ratio_step(in[0], d[0], ratio_of(norm_of(in[0]), norm_of(d[0])), c.attr(0).floating(), 1, outs), d[1], d[2]};
}

Tensors lars(const Call& c, std::span<const Tensor> in, std::span<const Tensor> outs) {
  const double weight_decay = c.attr(2).floating(), trust = c.attr(3).floating(), eps = c.attr(4).floating();
  const Tensor w = norm_of(in[0]), g = norm_of(in[1]);
  const Tensor denominator = op<"add">({op<"add">({g, mul(w, weight_decay)}), eps});
  const Tensor positive = op<"logical_and">({op<"gt">({w, 0.0}), op<"gt">({g, 0.0})});
  const Tensor ratio = op<"where">({positive, op<"div">({mul(w, trust), denominator}), 1.0});
  const Arg args[] = {in[0], in[1], in[2], ratio, c.attr(0).floating(), c.attr(1).floating(), weight_decay};
  return call_to(op_named<"lars_step">(), args, c.attrs.subspan(5), outs);
}

Tensor write(const Tensor& value, std::span<const Tensor> outs, size_t i) {
  if (outs.empty()) return value;
  copy_into(outs[i], value.cast(outs[i].dtype()));
  return outs[i];
}
Tensor running_mean(const Tensor& state, const Tensor& x, double beta) {
  return op<"add">({mul(wide(state), beta), mul(x, 1 - beta)});
}

// States: the means of g^2 over rows and over columns when factored, else the mean of g^2.
template <bool factored>
Tensors adafactor(const Call& c, std::span<const Tensor> in, std::span<const Tensor> outs) {
  const double lr = c.attr(0).floating(), beta2 = c.attr(1).floating(), eps1 = c.attr(2).floating(),
               eps2 = c.attr(3).floating(), d = c.attr(4).floating(), shrink = c.attr(5).floating();
  const Tensor g = c.attr(6).boolean() ? op<"neg">({wide(in[1])}) : wide(in[1]), square = mul(g, g);
  Tensors out(1);
  Tensor v;
  if constexpr (factored) {
    const Tensor row = running_mean(in[2], mean(square, {-1}), beta2),
                 col = running_mean(in[3], mean(square, {-2}), beta2);
    v = op<"div">({mul(row, col), op<"maximum">({mean(row, {-2}), eps1})});
    out.push_back(write(row, outs, 1));
    out.push_back(write(col, outs, 2));
  } else {
    v = running_mean(in[2], square, beta2);
    out.push_back(write(v, outs, 1));
  }
  const Tensor u = op<"div">({g, op<"sqrt">({op<"maximum">({v, eps1 * eps1})})});
  const Tensor size = op<"maximum">({rms_of(in[0]), eps2}), clipped = op<"maximum">({mul(rms_of(u), 1 / d), 1.0});
  out[0] = ratio_step(in[0], u, op<"div">({size, clipped}), lr, shrink, outs);
  return out;
}

std::vector<X> lars_formula(const Operands& in) {
  const X p = in[0], ratio = in[3], lr = in[4], momentum = in[5], weight_decay = in[6];
  const X g = ascent(in[1], in.flag(0)) + weight_decay * p;
  const X buffer = momentum * in[2] + lr * ratio * g;
  return {p - buffer, buffer};
}

MapResult lamb_direction(MapBuilder& b, Values values, AttrSpan flags) {
  const Operands in{b, values, flags};
  const X p = in[0], g = ascent(in[1], in.flag(0)), beta1 = in[4], beta2 = in[5], eps = in[6], correction1 = in[7],
          correction2_sqrt = in[8], weight_decay = in[9];
  const X m = mean_of(in[2], g, beta1), v = square_mean_of(in[3], g, beta2);
  const X u = m / correction1 / (sqrt(v) / correction2_sqrt + eps) + weight_decay * p;
  return {u.v, b.cast(m.v, b.input(2).dtype), b.cast(v.v, b.input(3).dtype)};
}

}  // namespace

TG_OPS(optim_norms) {
  const Named correction1{"bias_correction1", "1 - beta1^step"},
      correction2{"bias_correction2_sqrt", "sqrt(1 - beta2^step)"};
  const char* const kNormBound = "the sums of the norms, relative to |p| and the update";

  optimizer_op(__FILE__, "ratio_step")
      .doc("p * shrink - lr * ratio * u.")
      .input("p", "parameter")
      .input("u", "direction")
      .input("ratio", "0-d")
      .input("lr", "a number")
      .input("shrink", "a number")
      .output("p", "p's dtype")
      .map(Promotion::common_wide,
           [](MapBuilder& b, Values values, AttrSpan flags) {
             const Operands in{b, values, flags};
             return MapResult(b.cast((in[0] * in[4] - in[3] * in[2] * in[1]).v, b.input(0).dtype));
           })
      .bounds(5, "five roundings, relative to |p| + |u|");

  OpBuilder direction = optimizer_op(__FILE__, "lamb_direction");
  direction
      .doc(
          "LAMB's direction before it is scaled: m / correction1 / (sqrt(v) / correction2_sqrt + eps) + weight_decay * "
          "p.")
      .input("p", "parameter")
      .input("g", "its gradient");
  for (const Named& n : {kM, kV, kBeta1, kBeta2, kEps, correction1, correction2, kDecay})
    direction.input(n.name, n.doc);
  direction.attr("maximize", AttrKind::boolean, false, "ascend")
      .output("u", "direction")
      .output("exp_avg", "running mean of g")
      .output("exp_avg_sq", "running mean of g^2")
      .map(Promotion::common_wide, lamb_direction)
      .bounds(16, "twelve roundings");
  multi_op({__FILE__,
            "lamb",
            "LAMB: u = Adam's direction + weight_decay * p; p -= lr * |p| / |u| * u, by norms of whole tensors.",
            {kM, kV},
            {kLr, kBeta1, kBeta2, kEps, correction1, correction2, kDecay},
            {kMaximize},
            16,
            kNormBound},
           lamb);

  OpBuilder step = optimizer_op(__FILE__, "lars_step");
  step.doc("buffer = momentum * buffer + lr * ratio * (g + weight_decay * p); p -= buffer.")
      .input("p", "parameter")
      .input("g", "its gradient")
      .input("momentum_buffer", "momentum buffer")
      .input("ratio", "0-d")
      .input("lr", "a number")
      .input("momentum", "a number")
      .input("weight_decay", "a number")
      .attr("maximize", AttrKind::boolean, false, "ascend")
      .output("p", "parameter")
      .output("momentum_buffer", "momentum buffer")
      .map(Promotion::common_wide,
           [](MapBuilder& b, Values in, AttrSpan flags) {
             const std::vector<X> r = lars_formula({b, in, flags});
             return MapResult{b.cast(r[0].v, b.input(0).dtype), b.cast(r[1].v, b.input(2).dtype)};
           })
      .bounds(8, "eight roundings, relative to |p| + lr (|g| + |buffer|)");
  multi_op(
      {__FILE__,
       "lars",
       "LARS: SGD whose rate is scaled by trust_coefficient * |p| / (|g| + weight_decay * |p| + eps) for every tensor.",
       {{"momentum_buffer", "momentum buffer"}},
       {kLr, {"momentum", "share of the buffer that stays"}, kDecay, {"trust_coefficient", "scale of the ratio"}, kEps},
       {kMaximize},
       16,
       kNormBound},
      lars);

  const std::vector<Named> numbers{{"lr", "relative step size"},  kBeta2,
                                   {"eps1", "least mean square"}, {"eps2", "least root mean square of p"},
                                   {"d", "clipping threshold"},   {"shrink", "1 - lr * weight_decay"}};
  multi_op(
      {__FILE__,
       "adafactor",
       "Adafactor with the second moment of a matrix factored into rows and columns; the step is relative to the root "
       "mean square of p, the update clipped to that of d.",
       {{"row_var", "mean of g^2 over the last axis"}, {"col_var", "mean of g^2 over the axis before"}},
       numbers,
       {kMaximize},
       24,
       kNormBound},
      adafactor<true>, 2);
  multi_op({__FILE__,
            "adafactor_vector",
            "Adafactor for tensors of less than two axes.",
            {{"variance", "mean of g^2"}},
            numbers,
            {kMaximize},
            24,
            kNormBound},
           adafactor<false>);
}

}  // namespace tg
