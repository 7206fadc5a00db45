// SPDX-License-Identifier: Apache-2.0
// Elementwise functions of two operands beyond arithmetic: hypot, logarithms of sums, x log y, powers, steps.
#include "map_expr.h"

#include <numbers>

namespace tg {
namespace {

Tensor mul(const Arg& a, const Arg& b) { return op<"mul">({a, b}); }

OpBuilder binary(OpBuilder o) {
  return o.family("elementwise")
      .input("x", "a tensor or a number")
      .input("y", "a tensor or a number; broadcasts with x")
      .output("z", "the broadcast shape, the promoted dtype, floating");
}

MapFn formula(Expr (*f)(Expr, Expr)) {
  return [f](MapBuilder& b, Values in, AttrSpan) {
    return back(f(computing(b, in[0]), computing(b, in[1])), in[0].dtype);
  };
}

// m sqrt(1 + (n / m)^2) of the larger and the smaller magnitude: no overflow on the way. Infinite if either is.
Expr hypot(Expr x, Expr y) {
  const Expr a = abs(x), c = abs(y), m = max(a, c), r = min(a, c) / m;
  const Expr any = (a == INFINITY) | (c == INFINITY);
  return where(any, INFINITY, where(m == 0.0, m, m * sqrt(1.0 + r * r)));
}
// The larger plus log1p(exp(-distance)); equal operands, infinities too, have distance 0.
Expr logaddexp(Expr x, Expr y) {
  const Expr d = where(x == y, 0.0, abs(x - y));
  return max(x, y) + log1p(exp(-d));
}
Expr logaddexp2(Expr x, Expr y) {
  const Expr d = where(x == y, 0.0, abs(x - y));
  return max(x, y) + log1p((-d).emit(TG_MAP_EXP2)) * std::numbers::log2e;
}
Expr xlogy(Expr x, Expr y) { return where((x == 0.0) & !is_nan(y), 0.0, x * log(y)); }

// x's weight in the sum: sigmoid((x - y) scale), and 1/2 for equal infinities.
Tensors sum_gradient(const Backward& b, double scale) {
  Device* device = b.grad().device();
  const Tensor d =
      op<"where">({op<"eq">({b.arg(0), b.arg(1)}, {}, device), 0.0, op<"sub">({b.arg(0), b.arg(1)}, {}, device)});
  const Tensor e = scale == 1 ? d : mul(d, scale);
  return {when(b.need(0), [&] { return mul(b.grad(), op<"sigmoid">({e})); }),
          when(b.need(1), [&] { return mul(b.grad(), op<"sigmoid">({op<"neg">({e})})); })};
}

}  // namespace

TG_OPS(binary_math) {
  binary(TG_OP(hypot))
      .doc("sqrt(x^2 + y^2), without overflow on the way; infinite if either is. The gradient at (0, 0) is 0.")
      .map(Promotion::common_float,
           [](MapBuilder& b, Values in, AttrSpan a) {
             check_type(is_floating(in[0].dtype), "hypot", "real numbers", in[0].dtype);
             return formula(hypot)(b, in, a);
           })
      .grad([](const Backward& b) {
        const Tensor &z = b.output(), safe = op<"where">({op<"eq">({z, 0.0}), 1.0, z});
        const Tensor g = op<"div">({b.grad(), safe});
        return Tensors{when(b.need(0), [&] { return mul(g, b.arg(0)); }),
                       when(b.need(1), [&] { return mul(g, b.arg(1)); })};
      })
      .saves(3, 1)
      .bounds(3, "five roundings, two of them under the root")
      .example(">>> tg.hypot(tg.tensor([3.]), 4.0).tolist()\n[5.0]");
  binary(TG_OP(logaddexp).amp(Amp::f32))
      .doc("log(exp(x) + exp(y)), without overflow.")
      .map(Promotion::common_float, formula(logaddexp))
      .grad([](const Backward& b) { return sum_gradient(b, 1); })
      .saves(3, 0)
      .bounds(24, "log1p's 16, exp's 4 and two roundings, relative to 1 + |result|")
      .example(">>> tg.logaddexp(tg.tensor([-float('inf')]), 2.0).tolist()\n[2.0]");
  binary(TG_OP(logaddexp2).amp(Amp::f32))
      .doc("log2(2^x + 2^y), without overflow.")
      .map(Promotion::common_float, formula(logaddexp2))
      .grad([](const Backward& b) { return sum_gradient(b, std::numbers::ln2); })
      .saves(3, 0)
      .bounds(48, "log1p's 16, exp2's 16 and three roundings, times log2(e), relative to 1 + |result|")
      .example(">>> tg.logaddexp2(tg.tensor([1.]), 1.0).tolist()\n[2.0]");
  binary(TG_OP(xlogy))
      .doc("x log(y), and 0 where x is 0 (NaN where y is). Its gradient for x is 0 where x is 0 and y is not above 0.")
      .map(Promotion::common_float, formula(xlogy))
      .grad([](const Backward& b) {
        Device* device = b.grad().device();
        Tensors out(2);
        if (b.need(0)) {
          const Tensor none = op<"logical_and">({op<"eq">({b.arg(0), 0.0}), op<"le">({b.arg(1), 0.0}, {}, device)});
          const Tensor safe = op<"where">({none, 1.0, b.arg(1)});
          out[0] = mul(b.grad(), op<"log">({safe}));
        }
        if (b.need(1)) out[1] = mul(b.grad(), op<"div">({b.arg(0), b.arg(1)}));
        return out;
      })
      .saves(3, 0)
      .bounds(5, "log's 4 ulp and a product")
      .example(">>> tg.xlogy(tg.tensor([0., 2.]), tg.tensor([0., 1.])).tolist()\n[0.0, 0.0]");

  binary(TG_OP(float_power).amp(Amp::f32))
      .doc("x to the power y, computed and given in float64, or complex128 where an operand is complex.")
      .infer([](const Inference& c) {
        const bool complex = is_complex(c.input(0).dtype) || is_complex(c.input(1).dtype);
        return one({complex ? DType::c128 : DType::f64, broadcast(c.name(), c.input(0).shape, c.input(1).shape)});
      })
      .decompose([](const Call& c) {
        const DType wide = infer_now(c)[0].dtype;
        return Tensors{op<"pow">({c.input(0).cast(wide), c.input(1).cast(wide)})};
      })
      .bounds(16, "16 ulp (ABI)")
      .example(">>> tg.float_power(tg.tensor([2]), tg.tensor([-1])).tolist()\n[0.5]");

  binary(TG_OP(heaviside))
      .doc("0 below 0, 1 above, y at 0; NaN stays. The gradient reaches y alone.")
      .map(Promotion::common,
           [](MapBuilder& b, Values in, AttrSpan) {
             check_type(in[0].dtype != DType::boolean, "heaviside", "numbers", in[0].dtype);
             const Expr x{&b, in[0]}, y{&b, in[1]};
             return where(is_nan(x), x, where(x == 0.0, y, (0.0 < x).to(in[0].dtype))).v;
           })
      .grad([](const Backward& b) {
        return Tensors{when(b.need(0), [&] { return zeros_like(b.grad()); }), when(b.need(1), [&] {
                         return op<"where">({op<"eq">({b.arg(0), 0.0}, {}, b.grad().device()), b.grad(), 0.0});
                       })};
      })
      .saves(1, 0)
      .bounds(0, "exact")
      .example(">>> tg.heaviside(tg.tensor([-1., 0., 2.]), 0.5).tolist()\n[0.0, 0.5, 1.0]");

  TG_OP(isclose)
      .family("elementwise")
      .doc("|x - y| <= atol + rtol |y|; equal infinities are close, NaN is close to nothing unless equal_nan.")
      .input("x", "a tensor or a number")
      .input("y", "a tensor or a number; broadcasts with x")
      .attr("rtol", AttrKind::floating, 1e-5, "relative to y")
      .attr("atol", AttrKind::floating, 1e-8, "absolute")
      .attr("equal_nan", AttrKind::boolean, false, "NaN is close to NaN")
      .output("z", "bool, the broadcast shape")
      .map(Promotion::compare,
           [](MapBuilder& b, Values in, AttrSpan attrs) {
             const DType t = in[0].dtype, wide = size_of(t) > 2 ? DType::f64 : DType::f32;  // integers exactly
             const DType compute = is_floating(t) ? acc_dtype(t) : wide;
             const Expr x{&b, b.cast(in[0], compute)}, y{&b, b.cast(in[1], compute)};
             const Expr near = (abs(x - y) <= attrs[1].floating() + attrs[0].floating() * abs(y)) & (abs(y) < INFINITY);
             const Expr close = near | (x == y);
             return (attrs[2].boolean() ? close | (is_nan(x) & is_nan(y)) : close).v;
           })
      .no_grad()
      .bounds(0, "exact but for the roundings of both sides")
      .example(">>> tg.isclose(tg.tensor([1., 2.]), tg.tensor([1.000001, 3.])).tolist()\n[True, False]");
}

}  // namespace tg
