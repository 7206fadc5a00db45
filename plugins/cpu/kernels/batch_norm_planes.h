// SPDX-License-Identifier: Apache-2.0
//
// Batch normalisation of f32 tensors whose spatial planes are contiguous (the plain N, C, s... layout): oneDNN's
// kernels for it are not vectorised well. NULL where a call is not of that kind.
#ifndef TENGEN_PLUGINS_CPU_BATCH_NORM_PLANES_H_
#define TENGEN_PLUGINS_CPU_BATCH_NORM_PLANES_H_

#include "kernels/kernels.h"

namespace tg::cpu {

std::unique_ptr<Plan> batch_norm_planes(const Instance&, const tg_call&);
std::unique_ptr<Plan> batch_norm_infer_planes(const Instance&, const tg_call&);
std::unique_ptr<Plan> batch_norm_backward_planes(const Instance&, const tg_call&);

}  // namespace tg::cpu
#endif  // TENGEN_PLUGINS_CPU_BATCH_NORM_PLANES_H_
