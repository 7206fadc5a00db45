// SPDX-License-Identifier: Apache-2.0
// For ops that look at values in host memory (a status, a norm) to decide how to go on.
#pragma once
#include <tengen/tensor.h>

namespace tg {

// The tensor in memory behind the transformations that t is in: within vmap it has the values of all indices, hidden axes
// in front. What is decided from it must hold for all of them.
Tensor in_memory(const Tensor& t);

}  // namespace tg
