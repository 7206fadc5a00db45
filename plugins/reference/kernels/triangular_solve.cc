// SPDX-License-Identifier: Apache-2.0
//
// triangular_solve: a[..., n, n], b[..., n, k] -> X of A X = B, by substitution. Attribute 0: 1 for the upper triangle;
// attribute 1: 1 where the diagonal counts as ones. The rest of A is not read.

#include "matrices.h"

namespace tg::reference {
namespace {

template <class T>
class TriangularSolve : public plugin::Plan {
 public:
  TriangularSolve(const tg_host* host, const tg_call& call)
      : host_(host), upper_(int_attr(call, 0, 0) != 0), unit_(int_attr(call, 1, 0) != 0) {}
  void run(const tg_run& run) override {
    each_matrix(host_, run, *run.inputs[0], [&](int64_t batch) {
      const auto a = load<T>(*run.inputs[0], batch);
      auto x = load<T>(*run.inputs[1], batch);
      for (int64_t step = 0; step < a.n; ++step) {
        const int64_t i = upper_ ? a.n - 1 - step : step;
        const int64_t begin = upper_ ? i + 1 : 0, end = upper_ ? a.n : i;
        for (int64_t p = begin; p < end; ++p)
          for (int64_t j = 0; j < x.n; ++j) x(i, j) -= a(i, p) * x(p, j);
        if (!unit_)
          for (int64_t j = 0; j < x.n; ++j) x(i, j) /= a(i, i);
      }
      store<T>(*run.outputs[0], batch, x);
    });
  }

 private:
  const tg_host* host_;
  bool upper_, unit_;
};

}  // namespace

PlanPtr make_triangular_solve(const tg_host* host, const tg_call& call) {
  return matrix_plan<TriangularSolve>(host, call, 2, 1);
}

}  // namespace tg::reference
