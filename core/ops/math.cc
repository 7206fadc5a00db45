// SPDX-License-Identifier: Apache-2.0
// Elementwise functions of one operand: roots, exponentials, logarithms, trigonometry, rounding.
#include "common.h"

#include <numbers>

namespace tg {
namespace {

using Gradient = Tensor (*)(const Backward&);

Tensor mul(const Arg& a, const Arg& b) { return op<"mul">({a, b}); }
Tensor square(const Arg& x) { return op<"mul">({x, x}); }
Tensor one_minus_square(const Arg& x) { return op<"sub">({1.0, square(x)}); }

// `saved_input`: the gradient looks at the operand, else at the result.
void unary(OpBuilder o, const char* doc, int opcode, Promotion p, bool saved_input, Gradient g, double bound,
           const char* why, const char* example) {
  o.family("elementwise")
      .doc(doc)
      .input("x", "a tensor of numbers")
      .map(p, [opcode](MapBuilder& b, Values in, AttrSpan) { return b.emit(opcode, in[0]); })
      .grad([g](const Backward& b) { return Tensors{g(b)}; })
      .saves(saved_input ? 1 : 0, saved_input ? 0 : 1)
      .bounds(bound, why)
      .example(example);
}

// Rounding functions: constant between jumps.
void stepwise(OpBuilder o, const char* name, const char* doc, int opcode, const char* example) {
  o.family("elementwise")
      .doc(doc)
      .input("x", "a tensor of numbers; integers stay as they are")
      .map(Promotion::common,
           [opcode, name](MapBuilder& b, Values in, AttrSpan) {
             check_type(in[0].dtype != DType::boolean, name, "numbers", in[0].dtype);
             return is_integer(in[0].dtype) ? in[0] : b.emit(opcode, in[0]);
           })
      .grad([](const Backward& b) { return Tensors{zeros_like(b.grad())}; })
      .saves(0, 0)
      .bounds(0, "exact")
      .example(example);
}

constexpr auto kFloat = Promotion::common_float;
constexpr bool kInput = true, kOutput = false;

}  // namespace

TG_OPS(math) {
  unary(
      TG_OP(sqrt), "The square root; NaN below 0.", TG_MAP_SQRT, kFloat, kOutput,
      [](const Backward& b) {
        return op<"div">({mul(b.grad(), 0.5), b.output()});
      },
      0.5, "correctly rounded", ">>> tg.sqrt(tg.tensor([4., 9.])).tolist()\n[2.0, 3.0]");
  unary(
      TG_OP(rsqrt).amp(Amp::f32), "1 / sqrt(x).", TG_MAP_RSQRT, kFloat, kOutput,
      [](const Backward& b) { return mul(mul(b.grad(), -0.5), mul(b.output(), square(b.output()))); }, 2, "2 ulp (ABI)",
      ">>> tg.rsqrt(tg.tensor([4.])).tolist()\n[0.5]");
  unary(
      TG_OP(reciprocal).amp(Amp::f32), "1 / x.", TG_MAP_RECIPROCAL, kFloat, kOutput,
      [](const Backward& b) { return op<"neg">({mul(b.grad(), square(b.output()))}); }, 0.5, "one rounding",
      ">>> tg.reciprocal(tg.tensor([4.])).tolist()\n[0.25]");
  unary(
      TG_OP(exp).amp(Amp::f32), "e to the x.", TG_MAP_EXP, kFloat, kOutput,
      [](const Backward& b) { return mul(b.grad(), b.output()); }, 4, "4 ulp (ABI)",
      ">>> tg.exp(tg.tensor([0.])).tolist()\n[1.0]");
  unary(
      TG_OP(exp2).amp(Amp::f32), "2 to the x.", TG_MAP_EXP2, kFloat, kOutput,
      [](const Backward& b) { return mul(mul(b.grad(), b.output()), std::numbers::ln2); }, 16,
      "pow's 16 ulp where expanded (ABI)", ">>> tg.exp2(tg.tensor([3.])).tolist()\n[8.0]");
  unary(
      TG_OP(expm1).amp(Amp::f32), "exp(x) - 1, exact near 0.", TG_MAP_EXPM1, kFloat, kOutput,
      [](const Backward& b) {
        return mul(b.grad(), op<"add">({b.output(), 1.0}));
      },
      16, "8 ulp (ABI), twice where expanded", ">>> tg.expm1(tg.tensor([0.])).tolist()\n[0.0]");
  unary(
      TG_OP(log).amp(Amp::f32), "The natural logarithm; NaN below 0.", TG_MAP_LOG, kFloat, kInput,
      [](const Backward& b) {
        return op<"div">({b.grad(), b.arg(0)});
      },
      4, "4 ulp (ABI)", ">>> tg.log(tg.tensor([1.])).tolist()\n[0.0]");
  unary(
      TG_OP(log2).amp(Amp::f32), "The logarithm to base 2.", TG_MAP_LOG2, kFloat, kInput,
      [](const Backward& b) {
        return op<"div">({mul(b.grad(), std::numbers::log2e), b.arg(0)});
      },
      6, "4 ulp (ABI) and a product", ">>> tg.log2(tg.tensor([8.])).tolist()\n[3.0]");
  unary(
      TG_OP(log10).amp(Amp::f32), "The logarithm to base 10.", TG_MAP_LOG10, kFloat, kInput,
      [](const Backward& b) {
        return op<"div">({mul(b.grad(), std::numbers::log10e), b.arg(0)});
      },
      6, "4 ulp (ABI) and a product", ">>> tg.log10(tg.tensor([1.])).tolist()\n[0.0]");
  unary(
      TG_OP(log1p).amp(Amp::f32), "log(1 + x), exact near 0.", TG_MAP_LOG1P, kFloat, kInput,
      [](const Backward& b) {
        return op<"div">({b.grad(), op<"add">({b.arg(0), 1.0})});
      },
      16, "8 ulp (ABI), twice where expanded", ">>> tg.log1p(tg.tensor([0.])).tolist()\n[0.0]");
  unary(
      TG_OP(sin), "The sine of x in radians.", TG_MAP_SIN, kFloat, kInput,
      [](const Backward& b) { return mul(b.grad(), op<"cos">({b.arg(0)})); }, 4,
      "4 ulp, absolute eps where small (ABI)", ">>> tg.sin(tg.tensor([0.])).tolist()\n[0.0]");
  unary(
      TG_OP(cos), "The cosine of x in radians.", TG_MAP_COS, kFloat, kInput,
      [](const Backward& b) { return op<"neg">({mul(b.grad(), op<"sin">({b.arg(0)}))}); }, 4,
      "4 ulp, absolute eps where small (ABI)", ">>> tg.cos(tg.tensor([0.])).tolist()\n[1.0]");
  unary(
      TG_OP(tan).amp(Amp::f32), "The tangent of x in radians.", TG_MAP_TAN, kFloat, kOutput,
      [](const Backward& b) {
        return mul(b.grad(), op<"add">({square(b.output()), 1.0}));
      },
      10, "8 ulp (ABI); quotient where expanded", ">>> tg.tan(tg.tensor([0.])).tolist()\n[0.0]");
  unary(
      TG_OP(asin).amp(Amp::f32), "The angle in [-pi/2, pi/2] whose sine is x; NaN outside [-1, 1].",
      TG_MAP_ASIN, kFloat, kInput,
      [](const Backward& b) { return mul(b.grad(), op<"rsqrt">({one_minus_square(b.arg(0))})); }, 10,
      "6 ulp of the quotient's angle", ">>> tg.asin(tg.tensor([0.])).tolist()\n[0.0]");
  unary(
      TG_OP(acos).amp(Amp::f32), "The angle in [0, pi] whose cosine is x; NaN outside [-1, 1].",
      TG_MAP_ACOS, kFloat, kInput,
      [](const Backward& b) { return op<"neg">({mul(b.grad(), op<"rsqrt">({one_minus_square(b.arg(0))}))}); }, 10,
      "6 ulp of the quotient's angle", ">>> tg.acos(tg.tensor([1.])).tolist()\n[0.0]");
  unary(
      TG_OP(atan), "The angle in (-pi/2, pi/2) whose tangent is x.", TG_MAP_ATAN, kFloat, kInput,
      [](const Backward& b) {
        return op<"div">({b.grad(), op<"add">({square(b.arg(0)), 1.0})});
      },
      6, "6 ulp (ABI)", ">>> tg.atan(tg.tensor([0.])).tolist()\n[0.0]");
  unary(
      TG_OP(sinh).amp(Amp::f32), "The hyperbolic sine.", TG_MAP_SINH, kFloat, kInput,
      [](const Backward& b) { return mul(b.grad(), op<"cosh">({b.arg(0)})); }, 20,
      "8 ulp (ABI), expm1's where expanded", ">>> tg.sinh(tg.tensor([0.])).tolist()\n[0.0]");
  unary(
      TG_OP(cosh).amp(Amp::f32), "The hyperbolic cosine.", TG_MAP_COSH, kFloat, kInput,
      [](const Backward& b) { return mul(b.grad(), op<"sinh">({b.arg(0)})); }, 10, "8 ulp (ABI)",
      ">>> tg.cosh(tg.tensor([0.])).tolist()\n[1.0]");
  unary(
      TG_OP(tanh), "The hyperbolic tangent.", TG_MAP_TANH, kFloat, kOutput,
      [](const Backward& b) {
        return op<"tanh_backward">({b.grad(), b.output()});
      },
      6, "6 ulp (ABI)", ">>> tg.tanh(tg.tensor([0.])).tolist()\n[0.0]");
  unary(
      TG_OP(erf), "The error function.", TG_MAP_ERF, kFloat, kInput,
      [](const Backward& b) {
        return mul(mul(b.grad(), 2 * std::numbers::inv_sqrtpi), op<"exp">({op<"neg">({square(b.arg(0))})}));
      },
      16, "16 ulp (ABI)", ">>> tg.erf(tg.tensor([0.])).tolist()\n[0.0]");
  unary(
      TG_OP(erfc), "1 - erf(x).", TG_MAP_ERFC, kFloat, kInput,
      [](const Backward& b) {
        return mul(mul(b.grad(), -2 * std::numbers::inv_sqrtpi), op<"exp">({op<"neg">({square(b.arg(0))})}));
      },
      16, "16 eps, absolute (ABI)", ">>> tg.erfc(tg.tensor([0.])).tolist()\n[1.0]");

  TG_OP(neg)
      .family("elementwise")
      .doc("-x. Errors: TypeError for bools.")
      .input("x", "a tensor of numbers")
      .map(Promotion::common,
           [](MapBuilder& b, Values in, AttrSpan) {
             check_type(in[0].dtype != DType::boolean, "neg", "numbers (of bools, use logical_not)", in[0].dtype);
             return b.emit(TG_MAP_NEG, in[0]);
           })
      .grad([](const Backward& b) { return Tensors{op<"neg">({b.grad()})}; })
      .saves(0, 0)
      .bounds(0, "exact")
      .example(">>> tg.neg(tg.tensor([1., -2.])).tolist()\n[-1.0, 2.0]");
  TG_OP(abs)
      .family("elementwise")
      .doc("|x|, of complex numbers their modulus; its gradient at 0 is 0.")
      .input("x", "any tensor")
      .map(Promotion::common,
           [](MapBuilder& b, Values in, AttrSpan) {
             return in[0].dtype == DType::boolean ? in[0] : b.emit(TG_MAP_ABS, in[0]);
           })
      .grad([](const Backward& b) { return Tensors{mul(b.grad(), op<"sign">({b.arg(0)}))}; })
      .own_conj()
      .saves(1, 0)
      .bounds(0, "exact")
      .example(">>> tg.abs(tg.tensor([1., -2.])).tolist()\n[1.0, 2.0]");
  TG_OP(square)
      .family("elementwise")
      .doc("x * x.")
      .input("x", "any tensor")
      .map(Promotion::common,
           [](MapBuilder& b, Values in, AttrSpan) {
             return in[0].dtype == DType::boolean ? in[0] : b.emit(TG_MAP_MUL, in[0], in[0]);
           })
      .grad([](const Backward& b) { return Tensors{mul(b.grad(), mul(b.arg(0), 2.0))}; })
      .saves(1, 0)
      .bounds(0.5, "one rounding")
      .example(">>> tg.square(tg.tensor([3.])).tolist()\n[9.0]");

  TG_OP(sign)
      .family("elementwise")
      .doc("1, -1 or 0; NaN stays. Of complex numbers: x / |x|, and 0 at 0.")
      .input("x", "a tensor of numbers")
      .map(Promotion::common,
           [](MapBuilder& b, Values in, AttrSpan) {
             check_type(in[0].dtype != DType::boolean, "sign", "numbers", in[0].dtype);
             return b.emit(TG_MAP_SIGN, in[0]);
           })
      .grad([](const Backward& b) {
        if (!is_complex(b.input_dtype(0))) return Tensors{zeros_like(b.grad())};
        // of g only what turns: (g - s Re(conj(s) g)) / |x|
        const Tensor &x = b.input(0), s = op<"sign">({x}), zero = op<"eq">({x, 0.0});
        const Tensor along = mul(s, op<"real">({mul(op<"conj">({s}), b.grad())}));
        const Tensor size = op<"where">({zero, 1.0, op<"abs">({x})});
        return Tensors{op<"where">({zero, 0.0, op<"div">({op<"sub">({b.grad(), along}), size})})};
      })
      .own_conj()
      .saves(1, 0)
      .bounds(0, "exact; of complex numbers 4 roundings")
      .example(">>> tg.sign(tg.tensor([2., -2., 0.])).tolist()\n[1.0, -1.0, 0.0]");
  stepwise(TG_OP(floor), "floor", "The largest integer not above x.", TG_MAP_FLOOR,
           ">>> tg.floor(tg.tensor([1.5, -1.5])).tolist()\n[1.0, -2.0]");
  stepwise(TG_OP(ceil), "ceil", "The smallest integer not below x.", TG_MAP_CEIL,
           ">>> tg.ceil(tg.tensor([1.5, -1.5])).tolist()\n[2.0, -1.0]");
  stepwise(TG_OP(round), "round", "The nearest integer, halves to even.", TG_MAP_ROUND,
           ">>> tg.round(tg.tensor([0.5, 1.5])).tolist()\n[0.0, 2.0]");
  stepwise(TG_OP(trunc), "trunc", "x without its fraction.", TG_MAP_TRUNC,
           ">>> tg.trunc(tg.tensor([1.5, -1.5])).tolist()\n[1.0, -1.0]");
}

}  // namespace tg
