// SPDX-License-Identifier: Apache-2.0
//
// svd: a[..., m, n] -> U?, s, Vh?, info, by one-sided Jacobi rotations (Hestenes 1958): pairs of columns of A are made
// orthogonal until all are; then they are U times the singular values. Attribute 0: 1 for square U and Vh.

#include <numeric>

#include "matrices.h"

namespace tg::reference {
namespace {

constexpr double kEps = std::numeric_limits<double>::epsilon();
constexpr int kSweeps = 60;  // ten are usual

template <class S>
S dot(const Dense<S>& x, int64_t i, int64_t j) {  // of rows
  S s = 0;
  for (int64_t k = 0; k < x.n; ++k) s += x(i, k) * conj(x(j, k));
  return s;
}
template <class S>
double square(const Dense<S>& x, int64_t i) {
  return std::real(dot(x, i, i));
}
template <class S>
void rotate(Dense<S>& x, int64_t i, int64_t j, double c, double s) {
  for (int64_t k = 0; k < x.n; ++k) {
    const S a = x(i, k), b = x(j, k);
    x(i, k) = c * a - s * b;
    x(j, k) = s * a + c * b;
  }
}

// Rotates the rows of w (columns of the matrix) until they are orthogonal, and v along. Rows that are rounding errors
// of longer ones count as zero. A phase of row j first makes their product real.
template <class S>
bool orthogonalize(Dense<S>& w, Dense<S>& v) {
  double total = 0;
  for (int64_t i = 0; i < w.m; ++i) total += square(w, i);
  const double nothing = kEps * kEps * total;
  for (int sweep = 0; sweep < kSweeps; ++sweep) {
    bool done = true;
    for (int64_t i = 0; i < w.m; ++i)
      for (int64_t j = i + 1; j < w.m; ++j) {
        const double a = square(w, i), b = square(w, j);
        const S product = dot(w, i, j);
        const double c = is_complex<S> ? std::abs(product) : std::real(product);
        if (a <= nothing || b <= nothing || std::abs(c) <= kEps * std::sqrt(a) * std::sqrt(b)) continue;
        done = false;
        if (const S turn = phase(product); is_complex<S>) {
          for (int64_t k = 0; k < w.n; ++k) w(j, k) *= turn;
          for (int64_t k = 0; k < v.n; ++k) v(j, k) *= turn;
        }
        const double zeta = (b - a) / (2 * c);
        const double t = std::copysign(1, zeta) / (std::abs(zeta) + std::hypot(1, zeta)), cosine = 1 / std::hypot(1, t);
        rotate(w, i, j, cosine, cosine * t);
        rotate(v, i, j, cosine, cosine * t);
      }
    if (done) return true;
  }
  return false;
}

// Makes rows [from, end) of an otherwise orthonormal u orthonormal to the rest: unit vectors, twice projected.
template <class S>
void complete(Dense<S>& u, int64_t from) {
  for (int64_t i = from, unit = 0; i < u.m && unit < u.n; ++unit) {
    for (int64_t k = 0; k < u.n; ++k) u(i, k) = double(k == unit);
    for (int pass = 0; pass < 2; ++pass)
      for (int64_t j = 0; j < i; ++j) {
        const S s = dot(u, i, j);
        for (int64_t k = 0; k < u.n; ++k) u(i, k) -= s * u(j, k);
      }
    const double norm = std::sqrt(square(u, i));
    if (norm * norm < 0.5 / double(u.n)) continue;  // nearly inside the span: some unit vector is not
    for (int64_t k = 0; k < u.n; ++k) u(i, k) /= norm;
    ++i;
  }
}

template <class T>
class Svd : public plugin::Plan {
 public:
  Svd(const tg_host* host, const tg_call& call) : host_(host), full_(int_attr(call, 0, 0) != 0) {}

  void run(const tg_run& run) override {
    const tg_tensor *u = run.outputs[0], *s = run.outputs[1], *vh = run.outputs[2], *info = run.outputs[3];
    each_matrix(host_, run, *run.inputs[0], [&](int64_t b) {
      const auto a = load<T>(*run.inputs[0], b);
      const int64_t k = std::min(a.m, a.n);
      const bool wide = a.n > a.m;
      auto w = wide ? a : a.transposed();  // rows: the columns of the tall one of A and A^T
      auto v = Dense<work_t<T>>::identity(k, k);
      std::vector<double> sizes(size_t(k), std::nan(""));
      Dense<work_t<T>> left(full_ ? w.n : k, w.n), right(k, k);
      const double scale = w.largest();  // so that squares neither overflow nor vanish
      const bool finite = a.finite();
      if (finite && scale > 0)
        for (auto& x : w.v) x /= scale;
      const bool ok = finite && orthogonalize(w, v);
      if (ok) {
        std::vector<double> norms(static_cast<size_t>(k));
        for (int64_t i = 0; i < k; ++i) norms[size_t(i)] = std::sqrt(square(w, i));
        std::vector<int64_t> order(static_cast<size_t>(k));
        std::iota(order.begin(), order.end(), int64_t(0));
        std::stable_sort(order.begin(), order.end(),
                         [&](int64_t x, int64_t y) { return norms[size_t(x)] > norms[size_t(y)]; });
        int64_t rank = 0;
        for (int64_t i = 0; i < k; ++i) {
          const int64_t from = order[size_t(i)];
          const double norm = norms[size_t(from)];
          sizes[size_t(i)] = norm * scale;
          if (norm > double(w.n) * kEps * norms[size_t(order[0])]) ++rank;
          for (int64_t j = 0; j < w.n; ++j) left(i, j) = norm > 0 ? w(from, j) / norm : 0.0;
          for (int64_t j = 0; j < k; ++j) right(i, j) = v(from, j);
        }
        complete(left, rank);
      } else {
        std::fill(left.v.begin(), left.v.end(), std::nan(""));
        std::fill(right.v.begin(), right.v.end(), std::nan(""));
      }
      if (s) store<real_t<T>>(*s, b, sizes);
      // left diag(s) = right A^T, so A = left^T diag(s) conj(right); of the wide one right A, so A = right^H diag(s)
      // left.
      right = right.conjugate();
      if (u) store<T>(*u, b, (wide ? right : left).transposed());
      if (vh) store<T>(*vh, b, wide ? left : right);
      store_info(info, b, !ok);
    });
  }

 private:
  const tg_host* host_;
  bool full_;
};

}  // namespace

PlanPtr make_svd(const tg_host* host, const tg_call& call) { return matrix_plan<Svd>(host, call, 1, 4); }

}  // namespace tg::reference
