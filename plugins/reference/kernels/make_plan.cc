// SPDX-License-Identifier: Apache-2.0
//
// From an op's name to its kernel. Runs once per plan, so a list of names will do.

#include <cstring>

#include "common.h"

namespace tg::reference {

PlanPtr make_plan(const tg_host* host, const tg_call& call) {
  struct Family {
    const char* op;
    PlanPtr (*make)(const tg_host*, const tg_call&);
  };
  static constexpr Family kFamilies[] = {
      {"map", make_map},
      {"copy", make_copy},
      {"fill", make_fill},
      {"iota", make_iota},
      {"random", make_random},
      {"reduce", make_reduce},
      {"scan", make_scan},
      {"matmul", make_matmul},
      {"gather", make_gather},
      {"scatter", make_scatter},
      {"sort", make_sort},
      {"cholesky", make_cholesky},
      {"lu", make_lu},
      {"qr", make_qr},
      {"svd", make_svd},
      {"eig", make_eig},
      {"eigh", make_eigh},
      {"triangular_solve", make_triangular_solve},
      {"fft", make_fft},
  };
  for (const Family& family : kFamilies)
    if (std::strcmp(family.op, call.op) == 0) return family.make(host, call);
  fail(TG_UNIMPLEMENTED, "[%s] the reference kernels are those of the floor's eleven ops and the eight leaf ops",
       call.op);
}

}  // namespace tg::reference
