// SPDX-License-Identifier: Apache-2.0
// Functions by Chebyshev series, whose coefficients are made from integrals when first needed: the scaled complementary
// error function and the Bessel functions of the first kind of orders 0 and 1.
#include <complex>

#include "quadrature.h"

namespace tg {
namespace {

constexpr long double kPi = std::numbers::pi_v<long double>;
using Complex = std::complex<long double>;

Tensor mul(const Arg& a, const Arg& b) { return op<"mul">({a, b}); }

// exp(x^2) erfc(x) of x >= 0: the continued fraction (DLMF 7.9.1) from 2 on.
long double scaled_erfc(long double x) {
  if (x < 2) return std::exp(x * x) * std::erfc(x);
  long double t = x;
  for (int k = 200; k > 0; --k) t = x + 0.5L * k / t;
  return 1 / (std::sqrt(kPi) * t);
}

// M. M. Shepherd and J. G. Laframboise, Chebyshev approximation of (1 + 2x) exp(x^2) erfc x (1981): over t = (x - K) / (x + K).
// Below 0 it is 2 exp(x^2) less; x^2 = h^2 + (x - h)(x + h) with h^2 exact, as the exponential would show its rounding.
Expr erfcx(Expr x) {
  constexpr double K = 3.75;
  static const std::vector<double> c = chebyshev([](long double t) {
    const long double at = K * (1 + t) / (1 - t);
    return (1 + 2 * at) * scaled_erfc(at);
  });
  const Expr a = abs(x), finite = min(a, 1e30), t = (finite - K) / (finite + K);
  const Expr positive = where(a == INFINITY, 0.0, series(t, c) / (1.0 + 2.0 * finite));
  const double grid = x.wide() ? 0x1p20 : 0x1p8;
  const Expr low = min(a, 30.0), h = round(low * grid) * (1 / grid);
  const Expr e = 2.0 * (exp(h * h) * exp((low - h) * (low + h)));
  const Expr y = where(x < 0.0, where(a < 30.0, e - positive, INFINITY), positive);
  return where(is_nan(x), x, y);
}

// J_n(x), n = 0, 1, over x^n: Bessel's integral (DLMF 10.9.1) by the trapezoidal rule, which is exact for entire functions.
long double bessel_near(int n, long double x) {
  constexpr int kPoints = 64;
  long double sum = 0;
  for (int k = 0; k < kPoints; ++k) {
    const long double angle = kPi * (k + 0.5L) / kPoints;
    // J_1(x) / x is the mean of sin^2 cos(x cos)
    sum += std::cos(x * std::cos(angle)) * (n ? std::sin(angle) * std::sin(angle) : 1);
  }
  return sum / kPoints;
}
// P + iQ of H_n(x) = sqrt(2 / (pi x)) (P + iQ) exp(i (x - n pi / 2 - pi / 4)): Hankel's integral over u = s^2 (DLMF 10.17).
Complex hankel(int n, long double x) {
  constexpr long double step = 0.125L;
  Complex sum = 0;
  for (int k = -60; k <= 60; ++k) {
    const long double s = step * k, u = s * s;
    const Complex root = std::sqrt(Complex(1, u / (2 * x)));
    sum += std::exp(-u) * (n ? 2 * u * root : Complex(1) / root);
  }
  return sum * step / std::sqrt(kPi);
}

template <int n>
Expr bessel_j(Expr x) {
  // Over t = 2 (x / 8)^2 - 1 up to 8, and t = 2 (8 / x)^2 - 1 beyond, where Q has the factor 8 / x.
  static const std::vector<double> near = chebyshev([](long double t) { return bessel_near(n, 8 * std::sqrt((1 + t) / 2)); });
  const auto at = [](long double t) { return 8 / std::sqrt((1 + t) / 2); };
  static const std::vector<double> p = chebyshev([&](long double t) { return hankel(n, at(t)).real(); });
  static const std::vector<double> q = chebyshev([&](long double t) { return hankel(n, at(t)).imag() * at(t) / 8; });
  const Expr a = abs(x), low = min(a, 8.0) * 0.125, w = 8.0 / max(a, 8.0);
  Expr inner = series(2.0 * (low * low) - 1.0, near);
  if (n == 1) inner = inner * a;
  const Expr t = 2.0 * (w * w) - 1.0, safe = where(a == INFINITY, 0.0, a);
  const Expr s = sin(safe), c = cos(safe);
  // cos and sin of x - pi / 4 (or x - 3 pi / 4) times sqrt(2)
  const Expr cosine = n ? s - c : c + s, sine = n ? -(s + c) : s - c;
  const Expr outer = (series(t, p) * cosine - w * series(t, q) * sine) / sqrt(double(kPi) * max(a, 8.0));
  const Expr y = where(a <= 8.0, inner, where(a == INFINITY, 0.0, outer));
  return n ? odd(x, where(is_nan(x), x, y)) : where(is_nan(x), x, y);
}

OpBuilder function(OpBuilder o, const char* doc, Expr (*f)(Expr), double bound, const char* why) {
  return o.amp(Amp::f32)
      .function_only()
      .family("elementwise")
      .doc(doc)
      .input("x", "a tensor of real numbers")
      .map(Promotion::common_float,
           [f](MapBuilder& b, Values in, AttrSpan) {
             check_type(is_floating(in[0].dtype), b.op(), "real numbers", in[0].dtype);
             return back(f(computing(b, in[0])), in[0].dtype);
           })
      .bounds(bound, why);
}

}  // namespace

TG_OPS(bessel) {
  function(TG_OP(erfcx), "exp(x^2) erfc(x), which neither overflows nor vanishes where x is large.", erfcx, 32,
           "a Chebyshev series of 30 terms with a sum near 1, and exp's 4 ulp")
      .grad([](const Backward& b) {  // 2 x erfcx - 2 / sqrt(pi)
        const Tensor slope = op<"sub">({mul(mul(b.arg(0), 2.0), b.output()), 2 * std::numbers::inv_sqrtpi});
        return Tensors{mul(b.grad(), slope)};
      })
      .saves(1, 1)
      .example(">>> round(tg.special.erfcx(tg.tensor([100.])).item(), 6)\n0.005642");
  function(TG_OP(bessel_j0), "The Bessel function of the first kind of order 0.", bessel_j<0>, 24,
           "Chebyshev series, sin's and cos's 4 ulp, relative to 1 / sqrt(1 + |x|)")
      .grad([](const Backward& b) { return Tensors{mul(b.grad(), op<"neg">({op<"bessel_j1">({b.arg(0)})}))}; })
      .saves(1, 0)
      .example(">>> round(tg.special.bessel_j0(tg.tensor([1.])).item(), 4)\n0.7652");
  function(TG_OP(bessel_j1), "The Bessel function of the first kind of order 1.", bessel_j<1>, 24, "as bessel_j0")
      .grad([](const Backward& b) {  // j0 - j1 / x, and 1/2 at 0
        const Tensor& x = b.input(0);
        const Tensor zero = op<"eq">({x, 0.0});
        const Tensor bend = op<"sub">({op<"bessel_j0">({x}), op<"div">({b.output(), op<"where">({zero, 1.0, x})})});
        return Tensors{mul(b.grad(), op<"where">({zero, 0.5, bend}))};
      })
      .saves(1, 1)
      .example(">>> tg.special.bessel_j1(tg.tensor([0.])).tolist()\n[0.0]");
}

}  // namespace tg
