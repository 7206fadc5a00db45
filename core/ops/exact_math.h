// SPDX-License-Identifier: Apache-2.0
// log, exp, sin and cos as fixed sequences of exactly rounded opcodes (+ - * / fma, comparisons, where, integer
// shifts): their bits are the same on every plugin, which transcendental opcodes do not promise (ABI.md, section 5).
// For random numbers; the dtype is f32 or f64. Errors are a few ulp: the series' first dropped term is below eps / 4,
// and each step rounds once.
#pragma once
#include <numbers>

#include "map_expr.h"

namespace tg::exact {

// Coefficients of a series in x: f(0), f(1), ...
template <class F>
Expr series(Expr x, int terms, F f) {
  std::vector<double> c(static_cast<size_t>(terms));
  for (int k = 0; k < terms; ++k) c[k] = f(k);
  return polynomial(x, c);
}

// m of x = m 2^e in [1/sqrt(2), sqrt(2)), then 2 atanh(s), s = (m - 1) / (m + 1), |s| < 0.172: s^2 < 0.0295, whose 6th
// (11th) power is below the dtype's eps. `lowest`: 2^(1 - 2 lowest) bounds x from below, 2^(2 highest) from above.
inline Expr log_between(Expr x, int lowest, int highest) {
  Expr m = x, e = x.constant(0);
  for (int s = highest; s > 0; s /= 2) {
    const Expr high = std::ldexp(1.0, s) <= m;
    m = where(high, m * std::ldexp(1.0, -s), m);
    e = where(high, e + double(s), e);
  }
  for (int s = lowest; s > 0; s /= 2) {
    const Expr low = m < std::ldexp(1.0, 1 - s);
    m = where(low, m * std::ldexp(1.0, s), m);
    e = where(low, e - double(s), e);
  }
  const Expr above = std::numbers::sqrt2 <= m;
  m = where(above, m * 0.5, m);
  e = where(above, e + 1.0, e);
  const Expr s = (m - 1.0) / (m + 1.0), s2 = s * s;
  const Expr tail = s2 * series(s2, x.wide() ? 11 : 6, [](int k) { return 2.0 / (2 * k + 3); });
  // log(2) in two parts: the first has trailing zeros, so that e times it is exact.
  const double high = x.wide() ? 0x1.62e42fee00000p-1 : 0x1.62e4p-1,
               low = x.wide() ? 0x1.a39ef35793c76p-33 : 0x1.7f7d1cf79abcap-20;
  return fma(e, high, fma(s, 2.0, fma(s, tail, e * low)));
}
// log(x) of normal x; of 0: -inf, inf: inf, below 0 and NaN: NaN.
inline Expr log(Expr x) {
  const int top = x.wide() ? 512 : 64;
  const Expr y = log_between(x, top, top);
  return where(0.0 < x, where(x == INFINITY, INFINITY, y), where(x == 0.0, -INFINITY, x.constant(NAN)));
}
// -log(1 - u) >= 0 of a uniform number u in [0, 1) of 24 (f64: 48) bits.
inline Expr exponential(Expr u) { return -log_between(1.0 - u, u.wide() ? 32 : 16, 0); }

// exp(x): x = n log(2) + r, |r| <= log(2) / 2 + eps: Taylor's series, of which r^8 / 8! (r^14 / 14!) is below eps / 4.
inline Expr exp(Expr x) {
  const double most = x.wide() ? 750 : 105;
  const Expr t = min(max(x, -most), most), n = round(t * std::numbers::log2e);
  const double high = x.wide() ? 0x1.62e42fee00000p-1 : 0x1.62e4p-1,
               low = x.wide() ? 0x1.a39ef35793c76p-33 : 0x1.7f7d1cf79abcap-20;
  const Expr r = fma(n, -low, fma(n, -high, t));
  double factorial = 1;
  const Expr y = series(r, x.wide() ? 14 : 8, [&](int k) { return 1 / (factorial *= k ? k : 1); });
  const Expr i = n.to(DType::i64), half = i / 2.0;
  const Expr scaled = y * power_of_two(half, x.v.dtype) * power_of_two(i - half, x.v.dtype);
  return where(x < -most, 0.0, where(most < x, INFINITY, scaled));
}

// cos and sin of 2 pi u for u in [0, 1]: u is taken to the nearest quarter q exactly, and Taylor's series at |a| <= pi
// / 4 turned by q.
struct Turn {
  Expr cos, sin;
};
inline Turn turn(Expr u) {
  const Expr q = round(u * 4.0), a = (u - q * 0.25) * (2 * std::numbers::pi), a2 = a * a;
  const int terms = u.wide() ? 9 : 5;
  double factorial = 1;
  const Expr c =
      series(a2, terms, [&](int k) { return (k % 2 ? -1 : 1) / (factorial *= k ? (2.0 * k - 1) * (2 * k) : 1); });
  factorial = 1;
  const Expr s =
      a * series(a2, terms, [&](int k) { return (k % 2 ? -1 : 1) / (factorial *= k ? 2.0 * k * (2 * k + 1) : 1); });
  const Expr odd = (q == 1.0) | (q == 3.0);
  const Expr x = where(odd, s, c), y = where(odd, c, s);
  return {where((q == 1.0) | (q == 2.0), -x, x), where((q == 2.0) | (q == 3.0), -y, y)};
}

// log(Gamma(x)) of x >= 1: Stirling's series (DLMF 5.11.1) at y = x + 8, less the logarithm of x (x + 1) ... (x + 7).
inline Expr log_gamma(Expr x) {
  Expr product = x;
  for (int i = 1; i < 8; ++i) product = product * (x + double(i));
  const Expr y = x + 8.0, w = 1.0 / y;
  const Expr tail =
      w * polynomial(w * w, {1.0 / 12, -1.0 / 360, 1.0 / 1260, -1.0 / 1680, 1.0 / 1188, -691.0 / 360360, 1.0 / 156});
  const double constant = 0.91893853320467274178;  // log(2 pi) / 2
  return fma(y - 0.5, exact::log(y), constant - y) + tail - exact::log(product);
}

}  // namespace tg::exact
