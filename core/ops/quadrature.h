// SPDX-License-Identifier: Apache-2.0
// Numbers that formulas take from the host: Gauss-Legendre rules and Chebyshev coefficients.
#pragma once
#include <cmath>
#include <functional>
#include <numbers>
#include <utility>
#include <vector>

#include "map_expr.h"

namespace tg {

// Of [0, 1]: roots of Legendre's polynomial by Newton's method, and the weights of the integral.
struct Quadrature {
  std::vector<double> at, weight;
};
inline Quadrature gauss_legendre(int n) {
  Quadrature q;
  for (int k = 1; k <= n; ++k) {
    double x = std::cos(std::numbers::pi * (k - 0.25) / (n + 0.5)), slope = 1;
    for (int i = 0; i < 20; ++i) {
      double p = 1, before = 0;
      for (int j = 1; j <= n; ++j) before = std::exchange(p, ((2 * j - 1) * x * p - (j - 1) * before) / j);
      slope = n * (x * p - before) / (x * x - 1);
      x -= p / slope;
    }
    q.at.push_back((1 + x) / 2);
    q.weight.push_back(1 / ((1 - x * x) * slope * slope));
  }
  return q;
}

// f(t) on [-1, 1] as the sum of c_k T_k(t), interpolated at the roots of T_n; f is asked in long double.
inline std::vector<double> chebyshev(const std::function<long double(long double)>& f, int n = 64) {
  const long double pi = std::numbers::pi_v<long double>;
  std::vector<long double> value;
  for (int j = 0; j < n; ++j) value.push_back(f(std::cos(pi * (j + 0.5L) / n)));
  std::vector<double> c;
  for (int k = 0; k < n; ++k) {
    long double sum = 0;
    for (int j = 0; j < n; ++j) sum += value[size_t(j)] * std::cos(pi * k * (j + 0.5L) / n);
    c.push_back(double(sum * (k ? 2 : 1) / n));
  }
  return c;
}

// The series by Clenshaw's recurrence, up to the last coefficient that t's dtype sees.
inline Expr series(Expr t, const std::vector<double>& c) {
  double largest = 0;
  for (double k : c) largest = std::max(largest, std::fabs(k));
  size_t n = c.size();
  while (n > 1 && std::fabs(c[n - 1]) < largest * (t.wide() ? 0x1p-56 : 0x1p-27)) --n;
  const Expr twice = t + t;
  Expr y = t.constant(0), before = y;  // y_k = 2 t y_(k+1) - y_(k+2) + c_k
  for (size_t k = n; k-- > 1;) before = std::exchange(y, fma(twice, y, c[k] - before));
  return fma(t, y, c[0] - before);
}

}  // namespace tg
