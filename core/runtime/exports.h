// SPDX-License-Identifier: Apache-2.0
// Pointers to a tensor's memory that leave the library's sight. For bindings.
#pragma once
#include <tengen/tensor.h>

namespace tg::remat {

// The tensor is in memory, will not be evicted, and counts as written. Until conceal, nothing that is computed from it is
// evicted either. MemoryError.
void expose(const TensorImpl* impl);
void conceal(Storage* storage);

}  // namespace tg::remat
