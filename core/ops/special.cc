// SPDX-License-Identifier: Apache-2.0
// Special functions of one operand: cube root, inverse hyperbolic functions, the inverse error function, sinc, logit,
// Bessel functions. All are programs of the ABI's opcodes; formulas are stated beside them.
#include "map_expr.h"

#include <numbers>

namespace tg {
namespace {

using Formula = Expr (*)(Expr);
using Gradient = Tensor (*)(const Backward&);
constexpr double kPi = std::numbers::pi, kLn2 = std::numbers::ln2;

Tensor mul(const Arg& a, const Arg& b) { return op<"mul">({a, b}); }
Tensor div(const Arg& a, const Arg& b) { return op<"div">({a, b}); }
Tensor square(const Arg& x) { return op<"mul">({x, x}); }

Expr asinh(Expr x);
Expr acosh(Expr x);
Expr atanh(Expr x);

// The inverse hyperbolic functions by the circular ones: asinh(z) = -i asin(iz), atanh(z) = -i atan(iz), and acosh(z) has
// the parts of acos(z) exchanged, with the sign of Im z.
Value of_complex(MapBuilder& b, Formula f, Value z) {
  const Expr re{&b, b.real(z)}, im{&b, b.imag(z)};
  const auto part = [&](int which, Value v) { return Expr{&b, which ? b.imag(v) : b.real(v)}; };
  if (f == asinh || f == atanh) {
    const Value w = b.emit(f == asinh ? TG_MAP_ASIN : TG_MAP_ATAN, b.pair((-im).v, re.v));
    return b.pair(part(1, w).v, (-part(0, w)).v);
  }
  check_type(f == acosh, b.op(), "real numbers", z.dtype);
  const Value w = b.emit(TG_MAP_ACOS, z);
  return b.pair(abs(part(1, w)).v, with_sign(part(0, w), im).v);
}

OpBuilder function(OpBuilder o, const char* doc, Formula f, double bound, const char* why) {
  return o.family("elementwise")
      .doc(doc)
      .input("x", "a tensor of numbers")
      .map(Promotion::common_float,
           [f](MapBuilder& b, Values in, AttrSpan) {
             if (is_complex(in[0].dtype)) return of_complex(b, f, in[0]);
             return back(f(computing(b, in[0])), in[0].dtype);
           })
      .bounds(bound, why);
}
GradFn slope(Gradient g) {
  return [g](const Backward& b) { return Tensors{g(b)}; };
}

// One Newton step on y^3 = a from y = pow(a, 1/3). Small operands are scaled by 2^48 (2^300): y^3 must not be
// subnormal.
Expr cbrt(Expr x) {
  const Expr a = abs(x), small = a < (x.wide() ? 0x1p-900 : 0x1p-100);
  const Expr s = where(small, a * (x.wide() ? 0x1p300 : 0x1p48), a);
  const Expr y = s.emit(TG_MAP_POW, s.constant(1.0 / 3));
  const Expr better = y - (y * y * y - s) / (3.0 * (y * y));
  const Expr r = where(a < INFINITY, better, a);
  return odd(x, where(small, r * (x.wide() ? 0x1p-100 : 0x1p-16), r));
}

// log1p(a + a^2 / (1 + sqrt(1 + a^2))), a = |x|; log(2 a) from 2^30 on, where the rest is below eps.
Expr asinh(Expr x) {
  const Expr a = abs(x), s = a * a;
  const Expr near = log1p(a + s / (1.0 + sqrt(1.0 + s)));
  return odd(x, where(a < 0x1p30, near, log(a) + kLn2));
}
// log1p(t + sqrt(t (t + 2))), t = x - 1, which is exact where x is small.
Expr acosh(Expr x) {
  const Expr t = x - 1.0;
  const Expr near = where(x < 0.0, log(x), log1p(t + sqrt(t * (t + 2.0))));  // the sum vanishes for large -x
  return where(x < 0x1p30, near, log(x) + kLn2);
}
// log1p(2 a / (1 - a)) / 2
Expr atanh(Expr x) {
  const Expr a = abs(x);
  return odd(x, 0.5 * log1p(2.0 * a / (1.0 - a)));
}

// M. J. Wichura, Algorithm AS 241: The Percentage Points of the Normal Distribution, Applied Statistics 37 (1988):
// PPND16 at p = 1/2 + q, where `rest` is 1/2 - q, 0 <= q < 1/2: each is exact where it is used.
Expr quantile(Expr q, Expr rest, bool far_tail) {
  const Expr r = 0.180625 - q * q;
  const Expr centre = q *
                      polynomial(r, {3.3871328727963666080e+0, 1.3314166789178437745e+2, 1.9715909503065514427e+3,
                                     1.3731693765509461125e+4, 4.5921953931549871457e+4, 6.7265770927008700853e+4,
                                     3.3430575583588128105e+4, 2.5090809287301226727e+3}) /
                      polynomial(r, {1.0, 4.2313330701600911252e+1, 6.8718700749205790830e+2, 5.3941960214247511077e+3,
                                     2.1213794301586595867e+4, 3.9307895800092710610e+4, 2.8729085735721942674e+4,
                                     5.2264952788528545610e+3});
  const Expr t = sqrt(-log(rest)), near = t - 1.6, far = t - 5.0;
  const Expr tail = polynomial(near, {1.42343711074968357734e+0, 4.63033784615654529590e+0, 5.76949722146069140550e+0,
                                      3.64784832476320460504e+0, 1.27045825245236838258e+0, 2.41780725177450611770e-1,
                                      2.27238449892691845833e-2, 7.74545014278341407640e-4}) /
                    polynomial(near, {1.0, 2.05319162663775882187e+0, 1.67638483018380384940e+0,
                                      6.89767334985100004550e-1, 1.48103976427480074590e-1, 1.51986665636164571966e-2,
                                      5.47593808499534494600e-4, 1.05075007164441684324e-9});
  Expr y = where(q <= 0.425, centre, tail);
  if (far_tail) {
    const Expr end = polynomial(far, {6.65790464350110377720e+0, 5.46378491116411436990e+0, 1.78482653991729133580e+0,
                                      2.96560571828504891230e-1, 2.65321895265761230930e-2, 1.24266094738807843860e-3,
                                      2.71155556874348757815e-5, 2.01033439929228813265e-7}) /
                     polynomial(far, {1.0, 5.99832206555887937690e-1, 1.36929880922735805310e-1,
                                      1.48753612908506148525e-2, 7.86869131145613259100e-4, 1.84631831751005468180e-5,
                                      1.42151175831644588870e-7, 2.04426310338993978564e-15});
    y = where(t <= 5.0, y, end);
  }
  return where(rest == 0.0, INFINITY, y);
}
// At p = (1 + x) / 2, over sqrt(2). f32's tails (1 - |x|) / 2 end before t = 5.
Expr erfinv(Expr x) {
  const Expr a = abs(x);
  return odd(x, quantile(0.5 * a, 0.5 * (1.0 - a), x.wide()) * (std::numbers::sqrt2 / 2));
}
Expr ndtri(Expr p) {
  const Expr q = p - 0.5, y = quantile(abs(q), min(p, 1.0 - p), true);
  return where(q < 0.0, -y, y);
}

// sin(pi x): the distance to the nearest integer is exact.
Expr sin_pi(Expr x) {
  const Expr n = round(x), s = sin((x - n) * kPi), half = 0.5 * n;
  return where(floor(half) == half, s, -s);
}
Expr sinc(Expr x) { return where(x == 0.0, 1.0, sin_pi(x) / (x * kPi)); }
// (cos(pi x) - sinc(x)) / x; below 1/2 its series, sum of (-1)^k 2k pi^(2k) x^(2k - 1) / (2k + 1)!.
Expr sinc_slope(Expr x) {
  double c[14];
  double term = 1;
  for (int k = 1; k <= 14; ++k) {
    term *= -kPi * kPi / (2.0 * k * (2 * k + 1));
    c[k - 1] = 2 * k * term;
  }
  const Expr series = x * polynomial(x * x, c);
  const Expr n = round(x), cosine = cos((x - n) * kPi), half = 0.5 * n;
  const Expr far = (where(floor(half) == half, cosine, -cosine) - sinc(x)) / x;
  return where(abs(x) < 0.5, series, far);
}

// log(x / (1 - x)); about 1/2, where the quotient is near 1, log1p((2 x - 1) / (1 - x)), whose numerator is exact.
Expr logit(Expr x) {
  const Expr rest = 1.0 - x;
  return where(abs(x - 0.5) < 0.25, log1p(2.0 * (x - 0.5) / rest), log(x / rest));
}

// Modified Bessel functions of order 0 and 1 (Abramowitz and Stegun 9.6.10, 9.7.1): the power series in (x/2)^2, all of
// whose terms are positive, and from `split` on exp(x) / sqrt(2 pi x) times the asymptotic series, of which the
// smallest term is below eps there. Scaled: times exp(-|x|).
template <int order, bool scaled = false>
Expr bessel(Expr x) {
  const Expr a = abs(x);
  const double split = x.wide() ? 20 : 10;
  const int n = x.wide() ? 56 : 28, m = x.wide() ? 36 : 18;
  std::vector<double> power(n), asymptotic(m);
  power[0] = asymptotic[0] = 1;
  for (int k = 1; k < n; ++k) power[k] = power[k - 1] / (double(k) * (k + order));
  for (int k = 1; k < m; ++k)
    asymptotic[k] = asymptotic[k - 1] * ((2.0 * k - 1) * (2.0 * k - 1) - 4 * order) / (8.0 * k);
  const Expr h = 0.5 * min(a, split);
  Expr near = polynomial(h * h, power);
  if (order == 1) near = near * h;
  Expr far = polynomial(1.0 / max(a, split), asymptotic) / sqrt(a * (2 * kPi));
  if (scaled) {
    near = near * exp(-a);
  } else {
    const Expr e = exp(0.5 * a);
    far = e * (e * far);
  }
  const Expr y = where(a == INFINITY, scaled ? 0.0 : INFINITY, where(a < split, near, far));
  const Expr safe = where(is_nan(x), x, y);
  return order == 1 ? odd(x, safe) : safe;
}
Tensor decay(const Backward& b) { return mul(op<"sign">({b.arg(0)}), b.output()); }  // of exp(-|x|)

}  // namespace

TG_OPS(special) {
  function(TG_OP(cbrt), "The cube root.", cbrt, 3, "a Newton step: its error squared, and three roundings")
      .grad(slope([](const Backward& b) { return div(b.grad(), mul(square(b.output()), 3.0)); }))
      .saves(0, 1)
      .example(">>> tg.cbrt(tg.tensor([8., -27.])).tolist()\n[2.0, -3.0]");
  function(TG_OP(asinh).amp(Amp::f32), "The inverse hyperbolic sine.", asinh, 20, "log1p's 16 and four roundings")
      .grad(slope([](const Backward& b) {
        if (is_complex(b.grad().dtype())) return div(b.grad(), op<"sqrt">({op<"add">({square(b.arg(0)), 1.0})}));
        return div(b.grad(), op<"hypot">({b.arg(0), 1.0}));
      }))
      .saves(1, 0)
      .example(">>> tg.asinh(tg.tensor([0.])).tolist()\n[0.0]");
  function(TG_OP(acosh).amp(Amp::f32), "The inverse hyperbolic cosine, 0 or more; NaN below 1.", acosh, 20,
           "log1p's 16 and four roundings")
      .grad(slope([](const Backward& b) {
        const Tensor root = mul(op<"sqrt">({op<"sub">({b.arg(0), 1.0})}), op<"sqrt">({op<"add">({b.arg(0), 1.0})}));
        return div(b.grad(), root);
      }))
      .saves(1, 0)
      .example(">>> tg.acosh(tg.tensor([1.])).tolist()\n[0.0]");
  function(TG_OP(atanh).amp(Amp::f32), "The inverse hyperbolic tangent; infinite at -1 and 1, NaN outside.", atanh, 20,
           "log1p's 16 and three roundings")
      .grad(slope([](const Backward& b) {
        return div(b.grad(), mul(op<"sub">({1.0, b.arg(0)}), op<"add">({b.arg(0), 1.0})));
      }))
      .saves(1, 0)
      .example(">>> tg.atanh(tg.tensor([0.])).tolist()\n[0.0]");
  function(TG_OP(erfinv).amp(Amp::f32), "The inverse of erf; infinite at -1 and 1, NaN outside.", erfinv, 32,
           "two polynomials of degree 7 with positive coefficients (9 roundings each), a quotient and log's 4 ulp")
      .grad(slope([](const Backward& b) {
        return mul(b.grad(), mul(op<"exp">({square(b.output())}), 0.5 / std::numbers::inv_sqrtpi));
      }))
      .saves(0, 1)
      .example(">>> tg.erfinv(tg.tensor([0., 1.])).tolist()\n[0.0, inf]");

  function(TG_OP(ndtri).amp(Amp::f32).function_only(), "The number below which the share x of the standard normal distribution lies; infinite at 0 "
           "and 1, NaN outside.", ndtri, 32, "as erfinv")
      .grad(slope([](const Backward& b) {
        const double root = std::sqrt(2 * kPi);
        return mul(b.grad(), mul(op<"exp">({mul(square(b.output()), 0.5)}), root));
      }))
      .saves(0, 1)
      .example(">>> tg.special.ndtri(tg.tensor([0., 0.5])).tolist()\n[-inf, 0.0]");

  function(TG_OP(sinc), "sin(pi x) / (pi x), and 1 at 0.", sinc, 8,
           "sin's 4 ulp and three roundings, relative to 1 / |x|")
      .grad(slope([](const Backward& b) { return mul(b.grad(), op<"sinc_slope">({b.arg(0)})); }))
      .saves(1, 0)
      .example(">>> tg.sinc(tg.tensor([0., 1.])).abs().tolist()\n[1.0, 0.0]");
  function(TG_OP(sinc_slope), "sinc's derivative.", sinc_slope, 16, "cos, sinc and two roundings, relative to 1 / |x|")
      .internal()
      .grad(slope([](const Backward& b) {  // -pi^2 sinc - 2 slope / x, and -pi^2 / 3 at 0
        const Tensor &x = b.input(0), zero = op<"eq">({x, 0.0}), safe = op<"where">({zero, 1.0, x});
        const Tensor bend = op<"sub">({mul(op<"sinc">({x}), -kPi * kPi), div(mul(op<"sinc_slope">({x}), 2.0), safe)});
        return mul(b.grad(), op<"where">({zero, -kPi * kPi / 3, bend}));
      }))
      .saves(1, 0);

  TG_OP(logit)
      .family("elementwise")
      .doc(
          "log(x / (1 - x)), the inverse of sigmoid; NaN outside [0, 1]. With eps x is first clipped to [eps, 1 - "
          "eps].")
      .input("x", "a tensor of numbers")
      .optional_attr("eps", AttrKind::floating, "the margin; none by default")
      .map(Promotion::common_float,
           [](MapBuilder& b, Values in, AttrSpan attrs) {
             Expr x = computing(b, in[0]);
             if (attrs[0].given()) {
               const double eps = attrs[0].floating();
               x = where(x < eps, eps, min(x, 1 - eps));
             }
             return back(logit(x), in[0].dtype);
           })
      .grad([](const Backward& b) {
        const Tensor &x = b.input(0), g = div(b.grad(), mul(x, op<"sub">({1.0, x})));
        if (!b.attr(0).given()) return Tensors{g};
        const double eps = b.attr(0).floating();
        const Tensor inside = op<"logical_and">({op<"ge">({x, eps}), op<"le">({x, 1 - eps})});
        return Tensors{op<"where">({inside, g, 0.0})};
      })
      .saves(1, 0)
      .bounds(20, "log1p's 16 and three roundings")
      .example(">>> tg.logit(tg.tensor([0.5])).tolist()\n[0.0]");

  function(TG_OP(i0), "The modified Bessel function of the first kind of order 0.", bessel<0>, 40,
           "Horner's rule on positive terms, each less than x/2 roundings deep, or exp's 4 ulp twice")
      .grad(slope([](const Backward& b) { return mul(b.grad(), op<"i1">({b.arg(0)})); }))
      .saves(1, 0)
      .example(">>> tg.i0(tg.tensor([0.])).tolist()\n[1.0]");
  function(TG_OP(i1), "The modified Bessel function of the first kind of order 1.", bessel<1>, 40, "as i0")
      .grad(slope([](const Backward& b) {  // i0 - i1 / x, and 1/2 at 0
        const Tensor &x = b.input(0), zero = op<"eq">({x, 0.0});
        const Tensor bend = op<"sub">({op<"i0">({x}), div(b.output(), op<"where">({zero, 1.0, x}))});
        return mul(b.grad(), op<"where">({zero, 0.5, bend}));
      }))
      .saves(1, 1)
      .example(">>> tg.i1(tg.tensor([0.])).tolist()\n[0.0]");

  function(TG_OP(i0e), "i0(x) exp(-|x|), which does not overflow.", bessel<0, true>, 48, "as i0, and exp's 4 ulp")
      .grad(slope([](const Backward& b) { return mul(b.grad(), op<"sub">({op<"i1e">({b.arg(0)}), decay(b)})); }))
      .saves(1, 1)
      .example(">>> tg.i0e(tg.tensor([0.])).tolist()\n[1.0]");
  function(TG_OP(i1e), "i1(x) exp(-|x|), which does not overflow.", bessel<1, true>, 48, "as i0e")
      .grad(slope([](const Backward& b) {  // i0e - i1e / x, and 1/2 at 0
        const Tensor &x = b.input(0), zero = op<"eq">({x, 0.0});
        const Tensor bend = op<"sub">({op<"i0e">({x}), div(b.output(), op<"where">({zero, 1.0, x}))});
        return mul(b.grad(), op<"sub">({op<"where">({zero, 0.5, bend}), decay(b)}));
      }))
      .saves(1, 1)
      .example(">>> tg.i1e(tg.tensor([0.])).tolist()\n[0.0]");
}

}  // namespace tg
