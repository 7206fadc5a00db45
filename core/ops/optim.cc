// SPDX-License-Identifier: Apache-2.0
// Optimizer steps, each one elementwise program with several results that are written over the operands (call_into).
// What changes from step to step is a scalar operand, so that one plan serves all steps. The formulas are PyTorch's.
#include "common.h"

namespace tg {
namespace {

struct P {
  MapBuilder& b;
  DType t;
  Value c(double v) const { return b.immediate(v, t); }
  Value add(Value x, Value y) const { return b.emit(TG_MAP_ADD, x, y); }
  Value sub(Value x, Value y) const { return b.emit(TG_MAP_SUB, x, y); }
  Value mul(Value x, Value y) const { return b.emit(TG_MAP_MUL, x, y); }
  Value div(Value x, Value y) const { return b.emit(TG_MAP_DIV, x, y); }
  Value neg(Value x) const { return b.emit(TG_MAP_NEG, x); }
};

OpBuilder step(OpBuilder o) {
  return o.internal().family("optimizer").no_grad().input("p", "parameter").input("g", "its gradient");
}

MapResult sgd(MapBuilder& b, Values in, AttrSpan attrs) {
  const P e{b, in[0].dtype};
  const Value p = in[0], lr = in[3], momentum = in[4], dampening = in[5], decay = in[6];
  const bool nesterov = attrs[0].boolean(), maximize = attrs[1].boolean(), first = attrs[2].boolean();
  Value g = maximize ? e.neg(in[1]) : in[1];
  g = e.add(g, e.mul(decay, p));
  const Value buffer = first ? g : e.add(e.mul(momentum, in[2]), e.mul(e.sub(e.c(1), dampening), g));
  const Value update = nesterov ? e.add(g, e.mul(momentum, buffer)) : buffer;
  return {e.sub(p, e.mul(lr, update)), buffer};
}

// Without momentum there is no buffer.
MapResult plain_sgd(MapBuilder& b, Values in, AttrSpan attrs) {
  const P e{b, in[0].dtype};
  const Value g = attrs[0].boolean() ? e.neg(in[1]) : in[1];
  return e.sub(in[0], e.mul(in[2], e.add(g, e.mul(in[3], in[0]))));
}

MapResult adam(MapBuilder& b, Values in, AttrSpan attrs) {
  const P e{b, in[0].dtype};
  const Value lr = in[4], beta1 = in[5], beta2 = in[6], eps = in[7], correction1 = in[8], correction2_sqrt = in[9],
              decay = in[10];
  const bool decoupled = attrs[0].boolean(), maximize = attrs[1].boolean();
  Value p = in[0], g = maximize ? e.neg(in[1]) : in[1];
  if (decoupled)
    p = e.mul(p, e.sub(e.c(1), e.mul(lr, decay)));
  else
    g = e.add(g, e.mul(decay, p));
  const Value m = e.add(in[2], e.mul(e.sub(e.c(1), beta1), e.sub(g, in[2])));
  const Value v = e.add(e.mul(beta2, in[3]), e.mul(e.sub(e.c(1), beta2), e.mul(g, g)));
  const Value denominator = e.add(e.div(b.emit(TG_MAP_SQRT, v), correction2_sqrt), eps);
  return {e.sub(p, e.mul(e.div(lr, correction1), e.div(m, denominator))), m, v};
}

MapResult rmsprop(MapBuilder& b, Values in, AttrSpan attrs) {
  const P e{b, in[0].dtype};
  const Value p = in[0], lr = in[3], alpha = in[4], eps = in[5], decay = in[6];
  const Value g = e.add(attrs[0].boolean() ? e.neg(in[1]) : in[1], e.mul(decay, p));
  const Value v = e.add(e.mul(alpha, in[2]), e.mul(e.sub(e.c(1), alpha), e.mul(g, g)));
  return {e.sub(p, e.mul(lr, e.div(g, e.add(b.emit(TG_MAP_SQRT, v), eps)))), v};
}

MapResult adagrad(MapBuilder& b, Values in, AttrSpan attrs) {
  const P e{b, in[0].dtype};
  const Value p = in[0], lr = in[3], eps = in[4], decay = in[5];
  const Value g = e.add(attrs[0].boolean() ? e.neg(in[1]) : in[1], e.mul(decay, p));
  const Value s = e.add(in[2], e.mul(g, g));
  return {e.sub(p, e.mul(lr, e.div(g, e.add(b.emit(TG_MAP_SQRT, s), eps)))), s};
}

}  // namespace

TG_OPS(optim) {
  step(TG_OP(sgd_step))
      .doc(
          "SGD with momentum: buffer = momentum * buffer + (1 - dampening) * (g + weight_decay * p), or the gradient "
          "itself at first; "
          "p -= lr * buffer, with nesterov lr * (gradient + momentum * buffer).")
      .input("buffer", "momentum buffer")
      .input("lr", "a number")
      .input("momentum", "a number")
      .input("dampening", "a number")
      .input("weight_decay", "a number")
      .attr("nesterov", AttrKind::boolean, false, "look ahead")
      .attr("maximize", AttrKind::boolean, false, "ascend")
      .attr("first", AttrKind::boolean, false, "the buffer is not yet set")
      .output("p", "parameter")
      .output("buffer", "momentum buffer")
      .map(Promotion::common, sgd)
      .bounds(8, "eight roundings, relative to |p| + lr (|g| + |buffer|)");

  step(TG_OP(sgd_plain_step))
      .doc("SGD without momentum: p -= lr * (g + weight_decay * p).")
      .input("lr", "a number")
      .input("weight_decay", "a number")
      .attr("maximize", AttrKind::boolean, false, "ascend")
      .output("p", "parameter")
      .map(Promotion::common, plain_sgd)
      .bounds(4, "four roundings, relative to |p| + lr |g|");

  step(TG_OP(adam_step))
      .doc(
          "Adam, or AdamW when decoupled: m and v are running means of g and g^2; p -= lr / correction1 * m / (sqrt(v) "
          "/ correction2_sqrt + eps).")
      .input("m", "first moment")
      .input("v", "second moment")
      .input("lr", "a number")
      .input("beta1", "a number")
      .input("beta2", "a number")
      .input("eps", "a number")
      .input("bias_correction1", "1 - beta1^step")
      .input("bias_correction2_sqrt", "sqrt(1 - beta2^step)")
      .input("weight_decay", "a number")
      .attr("decoupled", AttrKind::boolean, false, "decay p itself (AdamW), not through g")
      .attr("maximize", AttrKind::boolean, false, "ascend")
      .output("p", "parameter")
      .output("m", "first moment")
      .output("v", "second moment")
      .map(Promotion::common, adam)
      .bounds(16, "twelve roundings, relative to |p| + lr / correction1 * |m| / denominator");

  step(TG_OP(rmsprop_step))
      .doc("v = alpha * v + (1 - alpha) * g^2; p -= lr * g / (sqrt(v) + eps).")
      .input("v", "running mean of squares")
      .input("lr", "a number")
      .input("alpha", "a number")
      .input("eps", "a number")
      .input("weight_decay", "a number")
      .attr("maximize", AttrKind::boolean, false, "ascend")
      .output("p", "parameter")
      .output("v", "running mean of squares")
      .map(Promotion::common, rmsprop)
      .bounds(12, "ten roundings");

  step(TG_OP(adagrad_step))
      .doc("s += g^2; p -= lr * g / (sqrt(s) + eps).")
      .input("s", "sum of squares")
      .input("lr", "a number")
      .input("eps", "a number")
      .input("weight_decay", "a number")
      .attr("maximize", AttrKind::boolean, false, "ascend")
      .output("p", "parameter")
      .output("s", "sum of squares")
      .map(Promotion::common, adagrad)
      .bounds(12, "nine roundings");
}

}  // namespace tg
