// SPDX-License-Identifier: Apache-2.0
//
// The families of leaf ops, by the system's LAPACK: factorize.cc.
#ifndef TENGEN_PLUGINS_CPU_KERNELS_FACTORIZE_H_
#define TENGEN_PLUGINS_CPU_KERNELS_FACTORIZE_H_

#include "kernels/kernels.h"

namespace tg::cpu {

std::unique_ptr<Plan> make_cholesky(Instance&, const tg_call&);
std::unique_ptr<Plan> make_lu(Instance&, const tg_call&);
std::unique_ptr<Plan> make_qr(Instance&, const tg_call&);
std::unique_ptr<Plan> make_svd(Instance&, const tg_call&);
std::unique_ptr<Plan> make_eigh(Instance&, const tg_call&);
std::unique_ptr<Plan> make_triangular_solve(Instance&, const tg_call&);
std::unique_ptr<Plan> make_fft(Instance&, const tg_call&);  // fft.cc: a leaf, too

}  // namespace tg::cpu
#endif  // TENGEN_PLUGINS_CPU_KERNELS_FACTORIZE_H_
