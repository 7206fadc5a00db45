// SPDX-License-Identifier: Apache-2.0
// The regularized incomplete gamma functions P(a, x) and Q(a, x) = 1 - P: the shares of the gamma distribution below and
// above x. The smaller of the two, roughly, is computed, the other is the rest.
#include "quadrature.h"

namespace tg {
namespace {

Tensor mul(const Arg& a, const Arg& b) { return op<"mul">({a, b}); }

// B_2k / (2k (2k - 1)), the rest of Stirling's series (DLMF 5.11.1), for y >= 8.
Expr stirling_rest(Expr y) {
  const Expr w = 1.0 / y;
  return w * polynomial(w * w, {1.0 / 12, -1.0 / 360, 1.0 / 1260, -1.0 / 1680, 1.0 / 1188, -691.0 / 360360, 1.0 / 156});
}

// x^a exp(-x) / Gamma(a). From a = 8 on by Stirling's series: sqrt(a / 2 pi) exp(-a (m - log1p(m))) with m = x / a - 1, which does
// not cancel: over s = m / (2 + m), log1p(m) = 2 atanh(s) and m - 2 s = m s. Below, Gamma(a) is Gamma(a + 8) / (a (a + 1) .. (a + 7)).
Expr density(Expr a, Expr x) {
  const Expr big = max(a, 8.0), m = (x - big) / big, s = m / (m + 2.0), s2 = s * s;
  std::vector<double> c;
  for (int k = 1; k < 14; ++k) c.push_back(2.0 / (2 * k + 1));
  const Expr near = m * s - s * s2 * polynomial(s2, c);
  const Expr gap = where(abs(m) < 0.4, near, m - log(x / big));
  const Expr stirling = sqrt(big * (0.5 * std::numbers::inv_pi)) * exp(-(big * gap) - stirling_rest(big));
  const Expr low = min(a, 8.0), y = low + 8.0;
  Expr product = low;
  for (int k = 1; k < 8; ++k) product = product * (low + double(k));
  const Expr log_gamma = (y - 0.5) * log(y) - y + 0.5 * std::log(2 * std::numbers::pi) + stirling_rest(y) - log(product);
  return where(a < 8.0, exp(low * log(x) - x - log_gamma), stirling);
}

// The integral over t = x e^r of t^(a-1) e^-t, over x^a e^-x: exp(a r - x (e^r - 1)) from r = 0 to where it is below e^-37, as in
// gamma_slope (random_gamma.cc).
Expr integral(Expr a, Expr x, Expr end) {
  static const Quadrature rule = gauss_legendre(32);
  Expr sum = a.constant(0);
  for (size_t i = 0; i < rule.at.size(); ++i) {
    const Expr r = end * rule.at[i];
    sum = fma(exp(a * r - x * r.emit(TG_MAP_EXPM1)), sum.constant(rule.weight[i]), sum);
  }
  return abs(end) * sum;
}

Expr share(Expr a, Expr x, bool upper) {
  const Expr scale = density(a, x);
  // x <= 8: the sum of x^n / (a (a + 1) .. (a + n)) (DLMF 8.7.1), 48 terms as 8^48 / 48! < 1e-17.
  const Expr few = min(x, 8.0);
  Expr term = 1.0 / a, sum = term;
  for (int n = 1; n < (x.wide() ? 48 : 32); ++n) {
    term = term * few / (a + double(n));
    sum = sum + term;
  }
  const Expr d = abs(a - x), far = max(x, 8.0);
  const Expr more = 37.0 - 2.0 * d, root = sqrt(more * more + 296.0 * (far + d));
  const Expr down = where(0.0 < more, (more + root) / (2.0 * (far + d)), 148.0 / (root - more));
  const Expr below = scale * where(x <= 8.0, sum, integral(a, far, -down));
  const Expr wide = 74.0 / (d + sqrt(d * d + 74.0 * x)), end = min(wide, log1p((40.0 + a * wide) / x));
  const Expr above = scale * integral(a, x, end);
  const Expr at_right = (a <= x) & (1.0 < x);
  const Expr y = upper ? where(at_right, above, 1.0 - below) : where(at_right, 1.0 - above, below);
  const double none = upper ? 1 : 0;
  const Expr ends = where(x == 0.0, none, where((x == INFINITY) | (a == 0.0), 1 - none, where(a == INFINITY, none, y)));
  const Expr bad = (a < 0.0) | (x < 0.0) | is_nan(a) | is_nan(x) | ((a == 0.0) & (x == 0.0)) | ((a == INFINITY) & (x == INFINITY));
  return where(bad, NAN, min(max(ends, 0.0), 1.0));
}

// d/dx is x^(a-1) e^-x / Gamma(a). In a it is -z F'(z) times how the logarithm of a gamma number moves with a (gamma_slope).
Tensors gradients(const Backward& b, double sign) {
  const Tensor none = zeros_like(b.grad());  // makes tensors of numbers
  const Tensor a = op<"add">({none, b.arg(0)});
  const Tensor x = op<"add">({none, b.arg(1)});
  const auto log_density = [&](const Tensor& power) {
    return op<"sub">({op<"sub">({op<"xlogy">({power, x}), x}), op<"lgamma">({a})});
  };
  Tensors out(2);
  if (b.need(0)) {
    const Tensor inside = op<"gt">({x, 0.0});
    const Tensor safe = op<"where">({inside, x, 1.0});
    const Tensor wide = a.cast(DType::f64);
    const Tensor slope = op<"gamma_slope">({op<"log">({safe.cast(DType::f64)}), wide, op<"digamma">({op<"add">({wide, 1.0})})}).cast(a.dtype());
    out[0] = op<"where">({inside, mul(mul(b.grad(), -sign), mul(slope, op<"exp">({log_density(a)}))), 0.0});
  }
  if (b.need(1)) out[1] = mul(mul(b.grad(), sign), op<"exp">({log_density(op<"sub">({a, 1.0}))}));
  return out;
}

void incomplete(OpBuilder o, const char* doc, const char* example, bool upper) {
  o.amp(Amp::f32)
      .family("elementwise")
      .function_only()
      .doc(doc)
      .input("a", "the shape, above 0")
      .input("x", "0 or more; broadcasts with a")
      .map(Promotion::common_float,
           [upper](MapBuilder& b, Values in, AttrSpan) {
             check_type(is_floating(in[0].dtype), b.op(), "real numbers", in[0].dtype);
             return back(share(computing(b, in[0]), computing(b, in[1]), upper), in[0].dtype);
           })
      .grad([upper](const Backward& b) { return gradients(b, upper ? -1 : 1); })
      .saves(3, 0)
      .bounds(256, "absolute: the rounding of a (log x - ..) grows as sqrt(80 a), the smaller share is relatively about as exact")
      .example(example);
}

}  // namespace

TG_OPS(gamma_incomplete) {
  incomplete(TG_OP(gammainc),
             "The share of the gamma distribution of shape a and rate 1 that is at most x (regularized lower incomplete gamma function). "
             "Differentiable twice in x, once in a.",
             ">>> round(tg.special.gammainc(tg.tensor([1.]), 1.0).item(), 4)\n0.6321", false);
  incomplete(TG_OP(gammaincc), "1 - gammainc(a, x), the share above x, without the loss of digits where it is small.",
             ">>> round(tg.special.gammaincc(tg.tensor([1.]), 1.0).item(), 4)\n0.3679", true);
}

}  // namespace tg
