// SPDX-License-Identifier: Apache-2.0
//
// lu: a[..., m, n] -> LU, pivots, info, permutation with P A = L U, by Gaussian elimination with partial pivoting. A
// zero pivot is reported and its column left as it is.

#include <numeric>

#include "matrices.h"

namespace tg::reference {
namespace {

template <class T>
class Lu : public plugin::Plan {
 public:
  Lu(const tg_host* host, const tg_call&) : host_(host) {}
  void run(const tg_run& run) override {
    each_matrix(host_, run, *run.inputs[0], [&](int64_t i) {
      auto a = load<T>(*run.inputs[0], i);
      std::vector<int64_t> pivots(size_t(std::min(a.m, a.n))), order(static_cast<size_t>(a.m));
      std::iota(order.begin(), order.end(), int64_t(0));
      const int64_t info = factor(a, pivots, order);
      if (run.outputs[0]) store<T>(*run.outputs[0], i, a);
      if (run.outputs[1]) store<int32_t>(*run.outputs[1], i, pivots);
      store_info(run.outputs[2], i, info);
      if (run.outputs[3]) store<int64_t>(*run.outputs[3], i, order);
    });
  }

 private:
  static int64_t factor(Dense<work_t<T>>& a, std::vector<int64_t>& pivots, std::vector<int64_t>& order) {
    int64_t info = 0;
    for (int64_t k = 0; k < std::min(a.m, a.n); ++k) {
      int64_t p = k;
      for (int64_t i = k + 1; i < a.m; ++i)
        if (std::abs(a(i, k)) > std::abs(a(p, k))) p = i;
      pivots[size_t(k)] = p + 1;
      if (p != k) {
        std::swap(order[size_t(p)], order[size_t(k)]);
        for (int64_t j = 0; j < a.n; ++j) std::swap(a(p, j), a(k, j));
      }
      if (a(k, k) == 0.0) {
        if (!info) info = k + 1;
        continue;
      }
      for (int64_t i = k + 1; i < a.m; ++i) {
        const auto f = a(i, k) /= a(k, k);
        for (int64_t j = k + 1; j < a.n; ++j) a(i, j) -= f * a(k, j);
      }
    }
    return info;
  }

  const tg_host* host_;
};

}  // namespace

PlanPtr make_lu(const tg_host* host, const tg_call& call) { return matrix_plan<Lu>(host, call, 1, 4); }

}  // namespace tg::reference
