// SPDX-License-Identifier: Apache-2.0
// Activation functions and their gradients, each one elementwise program.
#include "common.h"

#include <numbers>

namespace tg {
namespace {

Tensor mul(const Arg& a, const Arg& b) { return op<"mul">({a, b}); }
Tensor add(const Arg& a, const Arg& b) { return op<"add">({a, b}); }
Tensor sub(const Arg& a, const Arg& b) { return op<"sub">({a, b}); }
Tensor where(const Tensor& mask, const Arg& a, const Arg& b) { return op<"where">({mask, a, b}); }

// Short names inside a program.
struct P {
  MapBuilder& b;
  DType t;
  Value c(double v) const { return b.immediate(v, t); }
  Value add(Value x, Value y) const { return b.emit(TG_MAP_ADD, x, y); }
  Value sub(Value x, Value y) const { return b.emit(TG_MAP_SUB, x, y); }
  Value mul(Value x, Value y) const { return b.emit(TG_MAP_MUL, x, y); }
  Value div(Value x, Value y) const { return b.emit(TG_MAP_DIV, x, y); }
  Value lt(Value x, Value y) const { return b.emit(TG_MAP_LT, x, y); }
  Value where(Value m, Value x, Value y) const { return b.emit(TG_MAP_WHERE, m, x, y); }
  Value clip(Value x, double low, double high) const { return b.emit(TG_MAP_CLIP, x, c(low), c(high)); }
};

OpBuilder activation(OpBuilder o, const char* doc) {
  return o.family("activation").doc(doc).input("x", "a tensor of numbers; integers become f32");
}
OpBuilder backward(OpBuilder o, const char* doc, const char* second) {
  return o.internal()
      .family("activation")
      .doc(doc)
      .input("dy", "gradient of the result")
      .input(second, "what the forward op saved")
      .output("dx", "gradient of x");
}
MapFn opcode(int code) {
  return [code](MapBuilder& b, Values in, AttrSpan) { return b.emit(code, in[0]); };
}
// Phi(x) and phi(x) of the normal distribution.
Tensor normal_density(const Arg& x) {
  return mul(op<"exp">({mul(mul(x, x), -0.5)}), std::numbers::inv_sqrtpi / std::numbers::sqrt2);
}
constexpr double kTanhScale = 0.7978845608028654, kTanhCube = 0.044715;  // sqrt(2 / pi)
constexpr double kSeluScale = 1.0507009873554804934193349852946, kSeluAlpha = 1.6732632423543772848170429916717;

MapResult gelu_backward(MapBuilder& b, Values in, AttrSpan attrs) {
  const P p{b, in[0].dtype};
  const Value x = in[1];
  Value slope;
  if (attrs[0].string() == "tanh") {
    const Value x2 = p.mul(x, x);
    const Value inner = p.mul(p.c(kTanhScale), p.mul(x, p.add(p.c(1), p.mul(p.c(kTanhCube), x2))));
    const Value h = b.emit(TG_MAP_TANH, inner),
                dinner = p.mul(p.c(kTanhScale), p.add(p.c(1), p.mul(p.c(3 * kTanhCube), x2)));
    const Value left = p.mul(p.c(0.5), p.add(p.c(1), h));
    slope = p.add(left, p.mul(p.mul(p.mul(p.c(0.5), x), p.sub(p.c(1), p.mul(h, h))), dinner));
  } else {
    const Value cdf = p.mul(p.c(0.5), p.add(p.c(1), b.emit(TG_MAP_ERF, p.mul(x, p.c(std::numbers::sqrt2 / 2)))));
    const Value pdf =
        p.mul(b.emit(TG_MAP_EXP, p.mul(p.mul(x, x), p.c(-0.5))), p.c(std::numbers::inv_sqrtpi / std::numbers::sqrt2));
    slope = p.add(cdf, p.mul(x, pdf));
  }
  return p.mul(in[0], slope);
}

// The derivative of gelu's slope, in ops.
Tensor gelu_curvature(const Arg& x, const std::string& approximate) {
  if (approximate != "tanh") return mul(normal_density(x), sub(2.0, mul(x, x)));
  const Tensor x2 = mul(x, x);
  const Tensor h = op<"tanh">({mul(mul(x, add(mul(x2, kTanhCube), 1.0)), kTanhScale)});
  const Tensor d1 = mul(add(mul(x2, 3 * kTanhCube), 1.0), kTanhScale), d2 = mul(x, 6 * kTanhCube * kTanhScale);
  const Tensor sech2 = sub(1.0, mul(h, h));
  // d/dx [ (1+h)/2 + x/2 sech2 d1 ] = sech2 d1 + x/2 sech2 d2 - x h sech2 d1^2
  return mul(sech2, add(d1, mul(x, sub(mul(d2, 0.5), mul(h, mul(d1, d1))))));
}

void check_approximate(const std::string& a) {
  check(a == "none" || a == "tanh", "[gelu] expected approximate to be \"none\" or \"tanh\", got \"", a, "\"");
}

}  // namespace

TG_OPS(activation) {
  activation(TG_OP(relu), "max(x, 0); its gradient at 0 is 0.")
      .map(Promotion::common,
           [](MapBuilder& b, Values in, AttrSpan) {
             check_type(in[0].dtype != DType::boolean, "relu", "numbers", in[0].dtype);
             return b.emit(TG_MAP_RELU, in[0]);
           })
      .grad([](const Backward& b) {
        return Tensors{op<"relu_backward">({b.grad(), b.output()})};
      })
      .saves(0, 1)
      .bounds(0, "exact")
      .example(">>> tg.relu(tg.tensor([-1., 2.])).tolist()\n[0.0, 2.0]");
  backward(TG_OP(relu_backward), "dy where y > 0, else 0.", "y")
      .map(Promotion::common,
           [](MapBuilder& b, Values in, AttrSpan) {
             const P p{b, in[0].dtype};
             return p.where(p.lt(p.c(0), in[1]), in[0], p.c(0));
           })
      .grad([](const Backward& b) {
        return Tensors{op<"relu_backward">({b.grad(), b.arg(1)}), Tensor()};
      })
      .saves(2, 0)
      .bounds(0, "exact");

  activation(TG_OP(sigmoid), "1 / (1 + exp(-x)).")
      .map(Promotion::common_float, opcode(TG_MAP_SIGMOID))
      .grad([](const Backward& b) {
        return Tensors{op<"sigmoid_backward">({b.grad(), b.output()})};
      })
      .saves(0, 1)
      .bounds(8, "8 ulp (ABI)")
      .example(">>> tg.sigmoid(tg.tensor([0.])).tolist()\n[0.5]");
  backward(TG_OP(sigmoid_backward), "dy * y * (1 - y).", "y")
      .map(Promotion::common_float,
           [](MapBuilder& b, Values in, AttrSpan) {
             const P p{b, in[0].dtype};
             return p.mul(in[0], p.mul(in[1], p.sub(p.c(1), in[1])));
           })
      .grad([](const Backward& b) {
        const Arg& y = b.arg(1);
        return Tensors{op<"sigmoid_backward">({b.grad(), y}), mul(mul(b.grad(), b.arg(0)), sub(1.0, mul(y, 2.0)))};
      })
      .saves(3, 0)
      .bounds(4, "three roundings");
  backward(TG_OP(tanh_backward), "dy * (1 - y^2).", "y")
      .map(Promotion::common_float,
           [](MapBuilder& b, Values in, AttrSpan) {
             const P p{b, in[0].dtype};
             return p.mul(in[0], p.sub(p.c(1), p.mul(in[1], in[1])));
           })
      .grad([](const Backward& b) {
        const Arg& y = b.arg(1);
        return Tensors{op<"tanh_backward">({b.grad(), y}), mul(mul(b.grad(), b.arg(0)), mul(y, -2.0))};
      })
      .saves(3, 0)
      .bounds(4, "three roundings");

  activation(TG_OP(silu), "x * sigmoid(x).")
      .map(Promotion::common_float, opcode(TG_MAP_SILU))
      .grad([](const Backward& b) {
        return Tensors{op<"silu_backward">({b.grad(), b.arg(0)})};
      })
      .saves(1, 0)
      .bounds(8, "8 ulp (ABI)")
      .example(">>> tg.silu(tg.tensor([0.])).tolist()\n[0.0]");
  backward(TG_OP(silu_backward), "dy * s * (1 + x * (1 - s)), s = sigmoid(x).", "x")
      .map(Promotion::common_float,
           [](MapBuilder& b, Values in, AttrSpan) {
             const P p{b, in[0].dtype};
             const Value s = b.emit(TG_MAP_SIGMOID, in[1]);
             return p.mul(in[0], p.mul(s, p.add(p.c(1), p.mul(in[1], p.sub(p.c(1), s)))));
           })
      .grad([](const Backward& b) {
        const Arg& x = b.arg(1);
        const Tensor s = op<"sigmoid">({x}), t = sub(1.0, s);
        const Tensor curvature = mul(mul(s, t), add(mul(x, sub(1.0, mul(s, 2.0))), 2.0));
        return Tensors{op<"silu_backward">({b.grad(), x}), mul(mul(b.grad(), b.arg(0)), curvature)};
      })
      .saves(3, 0)
      .bounds(16, "sigmoid's 8 ulp and five roundings");

  activation(TG_OP(gelu),
             "x * Phi(x), Phi the normal distribution function; \"tanh\": its usual approximation. "
             "Errors: ValueError for another approximate.")
      .attr("approximate", AttrKind::string, "none", "\"none\" or \"tanh\"")
      .map(Promotion::common_float,
           [](MapBuilder& b, Values in, AttrSpan attrs) {
             check_approximate(attrs[0].string());
             return b.emit(attrs[0].string() == "tanh" ? TG_MAP_GELU_TANH : TG_MAP_GELU, in[0]);
           })
      .grad([](const Backward& b) {
        return Tensors{op<"gelu_backward">({b.grad(), b.arg(0)}, {b.attr(0)})};
      })
      .saves(1, 0)
      .bounds(16, "16 eps |x|, absolute (ABI)")
      .example(">>> tg.gelu(tg.tensor([0.])).tolist()\n[0.0]");
  backward(TG_OP(gelu_backward), "dy times gelu's slope at x.", "x")
      .attr("approximate", AttrKind::string, "none", "as gelu")
      .map(Promotion::common_float, gelu_backward)
      .grad([](const Backward& b) {
        return Tensors{op<"gelu_backward">({b.grad(), b.arg(1)}, {b.attr(0)}),
                       mul(mul(b.grad(), b.arg(0)), gelu_curvature(b.arg(1), b.attr(0).string()))};
      })
      .saves(3, 0)
      .bounds(32, "erf's 16 ulp and ten roundings, absolute");

  activation(TG_OP(relu6), "min(max(x, 0), 6).")
      .map(Promotion::common_float,
           [](MapBuilder& b, Values in, AttrSpan) {
             return P{b, in[0].dtype}.clip(in[0], 0, 6);
           })
      .grad([](const Backward& b) {
        const Tensor inside = op<"logical_and">({op<"gt">({b.arg(0), 0.0}), op<"lt">({b.arg(0), 6.0})});
        return Tensors{where(inside, b.grad(), 0.0)};
      })
      .saves(1, 0)
      .bounds(0, "exact")
      .example(">>> tg.relu6(tg.tensor([-1., 9.])).tolist()\n[0.0, 6.0]");

  activation(TG_OP(leaky_relu), "x above 0, slope * x below.")
      .attr("slope", AttrKind::floating, 0.01, "below 0")
      .map(Promotion::common_float,
           [](MapBuilder& b, Values in, AttrSpan attrs) {
             const P p{b, in[0].dtype};
             return p.where(p.lt(p.c(0), in[0]), in[0], p.mul(in[0], p.c(attrs[0].floating())));
           })
      .grad([](const Backward& b) {
        return Tensors{where(op<"gt">({b.arg(0), 0.0}), b.grad(), mul(b.grad(), b.attr(0).floating()))};
      })
      .saves(1, 0)
      .bounds(0.5, "one rounding")
      .example(">>> tg.leaky_relu(tg.tensor([-2., 2.]), slope=0.5).tolist()\n[-1.0, 2.0]");

  activation(TG_OP(elu), "x above 0, alpha * (exp(x) - 1) below.")
      .attr("alpha", AttrKind::floating, 1.0, "scale below 0")
      .map(Promotion::common_float,
           [](MapBuilder& b, Values in, AttrSpan attrs) {
             const P p{b, in[0].dtype};
             return p.where(p.lt(p.c(0), in[0]), in[0], p.mul(p.c(attrs[0].floating()), b.emit(TG_MAP_EXPM1, in[0])));
           })
      .grad([](const Backward& b) {
        const Tensor low = mul(op<"exp">({op<"minimum">({b.arg(0), 0.0})}), b.attr(0).floating());
        return Tensors{where(op<"gt">({b.arg(0), 0.0}), b.grad(), mul(b.grad(), low))};
      })
      .saves(1, 0)
      .bounds(17, "expm1 and a product")
      .example(">>> tg.elu(tg.tensor([0., 2.])).tolist()\n[0.0, 2.0]");

  activation(TG_OP(selu),
             "scale * (x above 0, alpha * (exp(x) - 1) below), with the constants that keep mean 0 and variance 1.")
      .decompose([](const Call& c) { return Tensors{mul(op<"elu">({c.input(0)}, {kSeluAlpha}), kSeluScale)}; })
      .infer([](const Inference& c) {
        return one({is_floating(c.input(0).dtype) ? c.input(0).dtype : DType::f32, c.input(0).shape});
      })
      .bounds(18, "elu and a product")
      .example(">>> tg.selu(tg.tensor([0.])).tolist()\n[0.0]");

  activation(TG_OP(hardsigmoid), "clip(x / 6 + 1/2, 0, 1).")
      .map(Promotion::common_float,
           [](MapBuilder& b, Values in, AttrSpan) {
             const P p{b, in[0].dtype};
             return p.div(p.clip(p.add(in[0], p.c(3)), 0, 6), p.c(6));
           })
      .grad([](const Backward& b) {
        return Tensors{where(op<"lt">({op<"abs">({b.arg(0)}), 3.0}), op<"div">({b.grad(), 6.0}), 0.0)};
      })
      .saves(1, 0)
      .bounds(2, "two roundings")
      .example(">>> tg.hardsigmoid(tg.tensor([0., 9.])).tolist()\n[0.5, 1.0]");

  activation(TG_OP(hardswish), "x * hardsigmoid(x).")
      .map(Promotion::common_float,
           [](MapBuilder& b, Values in, AttrSpan) {
             const P p{b, in[0].dtype};
             return p.div(p.mul(in[0], p.clip(p.add(in[0], p.c(3)), 0, 6)), p.c(6));
           })
      .grad([](const Backward& b) {
        const Tensor slope = op<"add">({op<"div">({b.arg(0), 3.0}), 0.5});
        return Tensors{
            mul(b.grad(), where(op<"le">({b.arg(0), -3.0}), 0.0, where(op<"ge">({b.arg(0), 3.0}), 1.0, slope)))};
      })
      .saves(1, 0)
      .bounds(3, "three roundings")
      .example(">>> tg.hardswish(tg.tensor([0., 9.])).tolist()\n[0.0, 9.0]");

  activation(TG_OP(softplus).amp(Amp::f32), "log(1 + exp(x)), without overflow.")
      .map(Promotion::common_float, opcode(TG_MAP_SOFTPLUS))
      .grad([](const Backward& b) { return Tensors{mul(b.grad(), op<"sigmoid">({b.arg(0)}))}; })
      .saves(1, 0)
      .bounds(24, "8 ulp (ABI); log1p's, exp's and a sum where expanded")
      .example(">>> tg.softplus(tg.tensor([100.])).tolist()\n[100.0]");

  activation(TG_OP(mish), "x * tanh(softplus(x)).")
      .infer([](const Inference& c) {
        return one({is_floating(c.input(0).dtype) ? c.input(0).dtype : DType::f32, c.input(0).shape});
      })
      .decompose([](const Call& c) { return Tensors{mul(c.input(0), op<"tanh">({op<"softplus">({c.input(0)})}))}; })
      .bounds(40, "softplus, tanh and a product")
      .example(">>> tg.mish(tg.tensor([0.])).tolist()\n[0.0]");

  activation(TG_OP(logsigmoid).amp(Amp::f32), "log(sigmoid(x)), without overflow.")
      .infer([](const Inference& c) {
        check_type(!is_composed(c.input(0).dtype), c.name(), "real numbers", c.input(0).dtype);
        return one({is_floating(c.input(0).dtype) ? c.input(0).dtype : DType::f32, c.input(0).shape});
      })
      .decompose([](const Call& c) {
        const Tensor x = c.input(0).cast(infer_now(c)[0].dtype);  // before the sign: -1 as u8 is 255
        return Tensors{op<"neg">({op<"softplus">({op<"neg">({x})})})};
      })
      .bounds(24, "softplus")
      .example(">>> tg.logsigmoid(tg.tensor([-100.])).tolist()\n[-100.0]");
}

}  // namespace tg
