// SPDX-License-Identifier: Apache-2.0
// The logarithm of the gamma function and its derivatives of any order: lgamma, digamma, polygamma.
// Formulas: NIST Digital Library of Mathematical Functions (DLMF), chapters 5 and 25.
#include "map_expr.h"

#include <numbers>

namespace tg {
namespace {

constexpr double kPi = std::numbers::pi, kEuler = std::numbers::egamma;

// zeta(k) - 1, k = 2, 3, ...
constexpr double kZeta[] = {
    0.6449340668482264,    0.2020569031595943,     0.08232323371113819,   0.03692775514336993,   0.01734306198444914,
    0.008349277381922827,  0.00407735619794434,    0.0020083928260822143, 0.0009945751278180853, 0.0004941886041194645,
    0.0002460865533080483, 0.00012271334757848915, 6.124813505870483e-05, 3.058823630702049e-05, 1.528225940865187e-05,
    7.637197637899763e-06, 3.81729326499984e-06,   1.908212716553939e-06, 9.539620338727962e-07, 4.769329867878064e-07,
    2.38450502727733e-07,  1.1921992596531106e-07, 5.960818905125948e-08, 2.980350351465228e-08, 1.4901554828365043e-08,
    7.45071178983543e-09,  3.725334024788457e-09,  1.862659723513049e-09};
// Bernoulli numbers B2, B4, ...
constexpr double kBernoulli[] = {1.0 / 6,       -1.0 / 30, 1.0 / 42,      -1.0 / 30,     5.0 / 66,
                                 -691.0 / 2730, 7.0 / 6,   -3617.0 / 510, 43867.0 / 798, -174611.0 / 330};

Tensor mul(const Arg& a, const Arg& b) { return op<"mul">({a, b}); }

// pi times x's (exact) distance to the nearest integer: sin and cos of it are those of pi x but for one common sign.
Expr angle(Expr x) { return (x - round(x)) * kPi; }
Expr cot_pi(Expr x) {
  const Expr t = angle(x);
  return cos(t) / sin(t);
}

// lgamma(2 + z) for |z| <= 1/2: (1 - gamma) z + sum of (-1)^k (zeta(k) - 1) z^k / k  (DLMF 5.7.3).
Expr near_two(Expr z) {
  std::vector<double> c{0, 1 - kEuler};
  for (int k = 2; k < (z.wide() ? 30 : 14); ++k) c.push_back((k % 2 ? -1 : 1) * kZeta[k - 2] / k);
  return polynomial(z, c);
}
// Stirling's series (DLMF 5.11.1), for y >= 8.
Expr stirling(Expr y) {
  std::vector<double> c;
  for (int k = 1; k <= (y.wide() ? 10 : 5); ++k) c.push_back(kBernoulli[k - 1] / (2 * k * (2 * k - 1)));
  const Expr w = 1.0 / y;
  return (y - 0.5) * (log(y) - 1.0) + (0.5 * std::log(2 * kPi) - 0.5) + w * polynomial(w * w, c);
}
// log |Gamma(x)|. [3/2, 5/2): the series about 2. Above, up to 8: steps down to it, whose product's logarithm is added;
// further up Stirling. Below: one step up with log1p(x - 1), two steps up below 1/2. Negative: Gamma(x) Gamma(-x) = -pi
// / (x sin(pi x)).
Expr lgamma(Expr x) {
  const Expr a = abs(x);
  Expr y = a, product = a.constant(1);
  for (int i = 0; i < 6; ++i) {
    const Expr c = 2.5 <= y;
    y = where(c, y - 1.0, y);
    product = where(c, product * y, product);
  }
  const Expr half = a < 0.5, low = a < 1.5;
  const Expr z = where(half, a, where(low, a - 1.0, y - 2.0));  // exact
  const Expr step = where(half, -log(a) - log1p(a), where(low, -log1p(a - 1.0), log(product)));
  const Expr positive = where(a < 8.0, near_two(z) + step, stirling(max(a, 8.0)));
  const Expr reflected = -log(a) - log(abs(sin(angle(a))) / kPi) - positive;
  return where(abs(x) == INFINITY, INFINITY, where(x < 0.0, reflected, positive));
}

// sum of B_2k / (2k) y^-2k is ln y - 1/(2y) - psi(y) (DLMF 5.11.2); y >= 8 by steps up, psi(y) = psi(y + 1) - 1/y.
// Negative: psi(x) = psi(-x) - 1/x - pi cot(pi x).
Expr digamma(Expr x) {
  const Expr a = abs(x);
  Expr y = a, sum = a.constant(0);
  for (int i = 0; i < 8; ++i) {
    const Expr c = y < 8.0;
    sum = where(c, sum + 1.0 / y, sum);
    y = where(c, y + 1.0, y);
  }
  std::vector<double> c;
  for (int k = 1; k <= (x.wide() ? 10 : 4); ++k) c.push_back(kBernoulli[k - 1] / (2 * k));
  const Expr w = 1.0 / y, w2 = w * w;
  const Expr positive = log(y) - 0.5 * w - w2 * polynomial(w2, c) - sum;
  const Expr reflected = where(a == round(a), NAN, positive + 1.0 / a + kPi * cot_pi(a));
  return where(x == 0.0, -1.0 / x, where(x < 0.0, reflected, positive));  // psi(+-0) is -+inf
}

// |psi^(n)(a)| = n! zeta(n + 1, a) for a > 0: n + 10 terms, then Euler-Maclaurin (DLMF 25.11.5), divided by (n - 1)!.
// Negative x: (-1)^n psi^(n)(1 - x) - psi^(n)(x) = pi d^n/dx^n cot(pi x)  (DLMF 5.15.6), cot's derivatives being
// polynomials in cot: P -> -(1 + c^2) P'.
Expr polygamma(Expr x, int n) {
  const auto power = [](Expr v, int k) {
    Expr y = v;
    for (int i = 1; i < k; ++i) y = y * v;
    return y;
  };
  const auto zeta = [&](Expr a) {
    Expr sum = a.constant(0), y = a;
    for (int i = 0; i < n + 10; ++i) {
      sum = sum + 1.0 / power(y, n + 1);
      y = y + 1.0;
    }
    const Expr w = 1.0 / y, w2 = w * w;
    std::vector<double> c;
    double factor = double(n);  // (2k + n - 1)! / ((2k)! (n - 1)!)
    for (int k = 1; k <= 8; ++k) {
      factor *= k == 1 ? (n + 1) / 2.0 : double(2 * k + n - 1) * (2 * k + n - 2) / (2.0 * k * (2 * k - 1));
      c.push_back(factor * kBernoulli[k - 1]);
    }
    const Expr tail = power(w, n) * (1.0 + 0.5 * n * w + w2 * polynomial(w2, c));
    return fma(sum, double(n), tail);
  };
  double factorial = 1;
  for (int i = 2; i < n; ++i) factorial *= i;
  const double sign = n % 2 ? factorial : -factorial;
  const Expr a = where(x <= 0.0, 1.0 - x, x);
  const Expr value = where(a == INFINITY, 0.0, zeta(a));
  std::vector<double> p{0, 1};  // cot
  for (int i = 0; i < n; ++i) {
    std::vector<double> q(p.size() + 1);
    for (size_t k = 1; k < p.size(); ++k) q[k - 1] -= k * p[k], q[k + 1] -= k * p[k];
    p = q;
  }
  const Expr bend = std::pow(kPi, n + 1) * polynomial(cot_pi(x), p);
  const Expr reflected = (n % 2 ? -sign : sign) * value - bend;
  const Expr pole = n % 2 ? x.constant(INFINITY) : x.constant(NAN);
  return where(0.0 < x, sign * value, where(x == round(x), pole, where(x == -INFINITY, NAN, reflected)));
}

// Hurwitz's zeta function: ten terms (q + k)^-s, then Euler-Maclaurin at y = q + 10 (DLMF 25.11.5).
Expr zeta(Expr s, Expr q) {
  const auto power = [](Expr v, Expr e) { return v.emit(TG_MAP_POW, e); };
  Expr sum = s.constant(0);
  for (int k = 0; k < 10; ++k) sum = sum + power(q + double(k), -s);
  const Expr y = q + 10.0, w = 1.0 / y, last = power(y, -s);
  Expr term = last * w * s, tail = last * (y / (s - 1.0) + 0.5);
  double factorial = 2;
  for (int k = 1; k <= 9; ++k) {
    tail = tail + (kBernoulli[k - 1] / factorial) * term;
    term = term * ((s + double(2 * k - 1)) * w) * ((s + double(2 * k)) * w);
    factorial *= double(2 * k + 1) * (2 * k + 2);
  }
  const Expr value = sum + where(s < 500.0, tail, 0.0);
  const Expr edge = where((q <= 0.0) & (q == round(q)), q.constant(INFINITY), where(q < 0.0, NAN, value));
  return where(s == 1.0, INFINITY, where((s < 1.0) | is_nan(s), NAN, edge));
}

MapFn formula(Expr (*f)(Expr)) {
  return [f](MapBuilder& b, Values in, AttrSpan) { return back(f(computing(b, in[0])), in[0].dtype); };
}

}  // namespace

TG_OPS(gamma) {
  TG_OP(lgamma)
      .amp(Amp::f32)
      .family("elementwise")
      .doc("log |Gamma(x)|; infinite at 0 and the negative integers.")
      .input("x", "a tensor of numbers")
      .map(Promotion::common_float, formula(lgamma))
      .grad([](const Backward& b) { return Tensors{mul(b.grad(), op<"digamma">({b.arg(0)}))}; })
      .saves(1, 0)
      .bounds(
          40,
          "two logarithms of 16, relative to the terms added: |result| near 1 and 2, 1 + |log x| + |result| elsewhere")
      .example(">>> tg.lgamma(tg.tensor([1., 2.])).tolist()\n[0.0, 0.0]");
  TG_OP(digamma)
      .amp(Amp::f32)
      .family("elementwise")
      .doc("The derivative of lgamma; NaN at the negative integers.")
      .input("x", "a tensor of numbers")
      .map(Promotion::common_float, formula(digamma))
      .grad([](const Backward& b) { return Tensors{mul(b.grad(), op<"polygamma">({b.arg(0)}, {1}))}; })
      .saves(1, 0)
      .bounds(20, "eight steps, a logarithm and a series, relative to 2 + |result| + pi |cot(pi x)|")
      .example(">>> round(tg.digamma(tg.tensor([1.])).item(), 4)\n-0.5772");
  TG_OP(polygamma)
      .family("elementwise")
      .doc(
          "The n-th derivative of digamma (n = 1: trigamma), 1 <= n <= 12; n = 0 is digamma. Differentiable up to n = "
          "12. "
          "Errors: ValueError for another n.")
      .input("x", "a tensor of numbers")
      .attr("n", AttrKind::integer, "how many times digamma is differentiated")
      .map(Promotion::common_float,
           [](MapBuilder& b, Values in, AttrSpan attrs) {
             const int64_t n = attrs[0].integer();
             if (n < 0 || n > 12) raise(ErrorKind::value, "[polygamma] expected n between 0 and 12, got ", n);
             const Expr x = computing(b, in[0]);
             return back(n ? polygamma(x, int(n)) : digamma(x), in[0].dtype);
           })
      .grad([](const Backward& b) {
        return Tensors{mul(b.grad(), op<"polygamma">({b.arg(0)}, {b.attr(0).integer() + 1}))};
      })
      .saves(1, 0)
      .bounds(64, "n + 11 terms of n + 2 roundings, for negative x relative to the cotangent's part, too")
      .example(">>> round(tg.polygamma(tg.tensor([1.]), 1).item(), 4)\n1.6449");
  TG_OP(zeta)
      .amp(Amp::f32)
      .family("elementwise")
      .function_only()
      .doc("Hurwitz's zeta function, the sum over k = 0, 1, ... of (q + k)^-s: infinite at s = 1 and for q = 0, -1, ..., NaN for s < 1 and "
           "for other q below 0. Differentiable in q.")
      .input("s", "numbers above 1")
      .input("q", "numbers above 0; broadcasts with s")
      .map(Promotion::common_float,
           [](MapBuilder& b, Values in, AttrSpan) { return back(zeta(computing(b, in[0]), computing(b, in[1])), in[0].dtype); })
      .grad([](const Backward& b) {
        if (b.need(0)) raise(ErrorKind::not_implemented, "[zeta] expected a derivative in q, got one in s, which has no closed form");
        const Tensor s = op<"add">({zeros_like(b.grad()), b.arg(0)});
        return Tensors{{}, mul(b.grad(), mul(op<"neg">({s}), op<"zeta">({op<"add">({s, 1.0}), b.arg(1)})))};
      })
      .saves(3, 0)
      .bounds(64, "ten powers of 16 ulp, all positive, and a series")
      .example(">>> round(tg.special.zeta(tg.tensor([2.]), 1.0).item(), 4)\n1.6449");
}

}  // namespace tg
