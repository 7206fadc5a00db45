// SPDX-License-Identifier: Apache-2.0
//
// eigh: a[..., n, n] -> w, V?, info for Hermitian A = V diag(w) V^H, by cyclic Jacobi rotations (Golub & Van
// Loan, 8.5). The lower triangle of A is read.

#include <numeric>

#include "matrices.h"

namespace tg::reference {
namespace {

constexpr double kEps = std::numeric_limits<double>::epsilon();
constexpr int kSweeps = 60;

template <class S>
void rotate_rows(Dense<S>& x, int64_t p, int64_t q, double c, double s) {
  for (int64_t k = 0; k < x.n; ++k) {
    const S a = x(p, k), b = x(q, k);
    x(p, k) = c * a - s * b;
    x(q, k) = s * a + c * b;
  }
}
template <class S>
void rotate_columns(Dense<S>& x, int64_t p, int64_t q, double c, double s) {
  for (int64_t k = 0; k < x.m; ++k) {
    const S a = x(k, p), b = x(k, q);
    x(k, p) = c * a - s * b;
    x(k, q) = s * a + c * b;
  }
}

// Makes `a` diagonal; the rows of v become the eigenvectors. A phase of index q first makes the element to vanish real.
template <class S>
bool diagonalize(Dense<S>& a, Dense<S>& v) {
  double total = 0;
  for (S x : a.v) total += std::norm(x);
  const double small = kEps * std::sqrt(total) / double(a.n);
  for (int sweep = 0; sweep < kSweeps; ++sweep) {
    bool done = true;
    for (int64_t p = 0; p < a.n; ++p)
      for (int64_t q = p + 1; q < a.n; ++q) {
        if (std::abs(a(p, q)) <= small) continue;
        done = false;
        if (const S turn = phase(a(p, q)); is_complex<S>)
          for (int64_t k = 0; k < a.n; ++k) a(q, k) *= turn, a(k, q) *= conj(turn), v(q, k) *= conj(turn);
        const double theta = std::real(a(q, q) - a(p, p)) / (2 * std::real(a(p, q)));
        const double t = std::copysign(1, theta) / (std::abs(theta) + std::hypot(1, theta)), c = 1 / std::hypot(1, t);
        rotate_rows(a, p, q, c, c * t);
        rotate_columns(a, p, q, c, c * t);
        rotate_rows(v, p, q, c, c * t);
        a(p, q) = a(q, p) = 0;
      }
    if (done) return true;
  }
  return false;
}

template <class T>
class Eigh : public plugin::Plan {
 public:
  Eigh(const tg_host* host, const tg_call&) : host_(host) {}

  void run(const tg_run& run) override {
    each_matrix(host_, run, *run.inputs[0], [&](int64_t b) {
      auto a = load<T>(*run.inputs[0], b);
      double scale = 0;
      for (int64_t i = 0; i < a.n; ++i)
        for (int64_t j = 0; j <= i; ++j) {
          if (i == j) a(i, i) = std::real(a(i, i));
          a(j, i) = conj(a(i, j));
          scale = std::max(scale, std::abs(a(i, j)));
        }
      const bool finite = a.finite();
      if (finite && scale > 0)
        for (auto& x : a.v) x /= scale;
      auto v = Dense<work_t<T>>::identity(a.n, a.n), sorted = v;
      std::vector<double> w(size_t(a.n), std::nan(""));
      const bool ok = finite && diagonalize(a, v);
      if (ok) {
        std::vector<int64_t> order(static_cast<size_t>(a.n));
        std::iota(order.begin(), order.end(), int64_t(0));
        std::stable_sort(order.begin(), order.end(),
                         [&](int64_t x, int64_t y) { return std::real(a(x, x)) < std::real(a(y, y)); });
        for (int64_t i = 0; i < a.n; ++i) {
          const int64_t from = order[size_t(i)];
          w[size_t(i)] = std::real(a(from, from)) * scale;
          for (int64_t k = 0; k < a.n; ++k) sorted(k, i) = v(from, k);
        }
      } else {
        std::fill(sorted.v.begin(), sorted.v.end(), std::nan(""));
      }
      if (run.outputs[0]) store<real_t<T>>(*run.outputs[0], b, w);
      if (run.outputs[1]) store<T>(*run.outputs[1], b, sorted);
      store_info(run.outputs[2], b, !ok);
    });
  }

 private:
  const tg_host* host_;
};

}  // namespace

PlanPtr make_eigh(const tg_host* host, const tg_call& call) { return matrix_plan<Eigh>(host, call, 1, 3); }

}  // namespace tg::reference
