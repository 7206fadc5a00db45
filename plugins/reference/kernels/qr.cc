// SPDX-License-Identifier: Apache-2.0
//
// qr: a[..., m, n] -> Q[..., m, k], R[..., k, n] by Householder reflections I - tau v v^H, v[0] = 1 (Golub & Van Loan,
// "Matrix Computations", 5.2). R has a real diagonal. Attribute 0: 1 for k = m, else k = min(m, n).

#include "matrices.h"

namespace tg::reference {
namespace {

// x -= tau v (v^H x) on columns from `column` on; v is 1 and then column k of `a` below the diagonal.
template <class S>
void reflect(const Dense<S>& a, int64_t k, double tau, Dense<S>& x, int64_t column) {
  for (int64_t j = column; j < x.n; ++j) {
    S s = x(k, j);
    for (int64_t i = k + 1; i < a.m; ++i) s += conj(a(i, k)) * x(i, j);
    s *= tau;
    x(k, j) -= s;
    for (int64_t i = k + 1; i < a.m; ++i) x(i, j) -= s * a(i, k);
  }
}

template <class T>
class Qr : public plugin::Plan {
  using S = work_t<T>;

 public:
  Qr(const tg_host* host, const tg_call& call) : host_(host), complete_(int_attr(call, 0, 0) != 0) {}
  void run(const tg_run& run) override {
    each_matrix(host_, run, *run.inputs[0], [&](int64_t b) {
      auto a = load<T>(*run.inputs[0], b);
      const int64_t steps = std::min(a.m, a.n), k = complete_ ? a.m : steps;
      std::vector<double> tau(static_cast<size_t>(steps));
      for (int64_t i = 0; i < steps; ++i) {
        tau[size_t(i)] = make_reflection(a, i);
        reflect(a, i, tau[size_t(i)], a, i + 1);
      }
      if (run.outputs[0]) {
        auto q = Dense<S>::identity(a.m, k);
        for (int64_t i = steps - 1; i >= 0; --i) reflect(a, i, tau[size_t(i)], q, 0);
        if (is_complex<T>)
          for (int64_t j = 0; j < steps; ++j)
            for (int64_t i = 0; i < a.m; ++i) q(i, j) *= phase(a(j, j));
        store<T>(*run.outputs[0], b, q);
      }
      if (run.outputs[1]) {
        Dense<S> r(k, a.n);
        for (int64_t i = 0; i < k; ++i)
          for (int64_t j = i; j < a.n; ++j)
            r(i, j) = is_complex<T> && i < steps ? a(i, j) * conj(phase(a(i, i))) : a(i, j);
        store<T>(*run.outputs[1], b, r);
      }
    });
  }

 private:
  // Makes column k zero below the diagonal, where it keeps v; returns tau. A column that is zero there stays.
  static double make_reflection(Dense<S>& a, int64_t k) {
    double size = 0, sum = 0;
    for (int64_t i = k + 1; i < a.m; ++i) size = std::max(size, std::abs(a(i, k)));
    if (size == 0) return 0;
    size = std::max(size, std::abs(a(k, k)));
    for (int64_t i = k; i < a.m; ++i) sum += std::norm(a(i, k) / size);
    const S head = a(k, k), diagonal = -phase(head) * (size * std::sqrt(sum));
    for (int64_t i = k + 1; i < a.m; ++i) a(i, k) /= head - diagonal;
    a(k, k) = diagonal;
    return std::real((diagonal - head) / diagonal);
  }

  const tg_host* host_;
  bool complete_;
};

}  // namespace

PlanPtr make_qr(const tg_host* host, const tg_call& call) { return matrix_plan<Qr>(host, call, 1, 2); }

}  // namespace tg::reference
