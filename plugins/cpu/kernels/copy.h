// SPDX-License-Identifier: Apache-2.0
//
// The copy family's work, for other families that want an operand in another layout.
#ifndef TENGEN_PLUGINS_CPU_COPY_H_
#define TENGEN_PLUGINS_CPU_COPY_H_

#include <tengen/kernel_api.hpp>

namespace tg::cpu {

// x to y, of equal shape and of `bytes` (1, 2, 4, 8 or 16) per element.
void copy_elements(const tg_host* host, int bytes, const tg_tensor& x, const tg_tensor& y, int32_t threads);

}  // namespace tg::cpu
#endif  // TENGEN_PLUGINS_CPU_COPY_H_
