// SPDX-License-Identifier: Apache-2.0
//
// cholesky: a[..., n, n] -> L with A = L L^H, info. The lower triangle of A is read; column by column.

#include "matrices.h"

namespace tg::reference {
namespace {

// 0, or the order of the first leading minor that is not positive.
template <class S>
int64_t factor(const Dense<S>& a, Dense<S>& l) {
  for (int64_t j = 0; j < a.n; ++j)
    for (int64_t i = j; i < a.n; ++i) {
      S s = a(i, j);
      for (int64_t k = 0; k < j; ++k) s -= l(i, k) * conj(l(j, k));
      if (i > j) {
        l(i, j) = s / l(j, j);
      } else if (std::real(s) > 0 && std::isfinite(std::real(s))) {
        l(j, j) = std::sqrt(std::real(s));
      } else {
        return j + 1;
      }
    }
  return 0;
}

template <class T>
class Cholesky : public plugin::Plan {
 public:
  Cholesky(const tg_host* host, const tg_call&) : host_(host) {}
  void run(const tg_run& run) override {
    each_matrix(host_, run, *run.inputs[0], [&](int64_t i) {
      const auto a = load<T>(*run.inputs[0], i);
      Dense<work_t<T>> l(a.n, a.n);
      const int64_t info = factor(a, l);
      if (run.outputs[0]) store<T>(*run.outputs[0], i, l);
      store_info(run.outputs[1], i, info);
    });
  }

 private:
  const tg_host* host_;
};

}  // namespace

PlanPtr make_cholesky(const tg_host* host, const tg_call& call) { return matrix_plan<Cholesky>(host, call, 1, 2); }

}  // namespace tg::reference
