// SPDX-License-Identifier: Apache-2.0
//
// Philox words for kernels that draw inside: the same ones as the floor's `random` gives.
#ifndef TENGEN_PLUGINS_CPU_RANDOM_H_
#define TENGEN_PLUGINS_CPU_RANDOM_H_

#include <cstdint>

namespace tg::cpu {

// Words [begin, end) of the stream whose first block is `offset`, to out + begin..; begin is a multiple of 64.
using RandomWords = void (*)(uint64_t seed, uint64_t offset, int64_t begin, int64_t end, uint32_t* out);
RandomWords random_words();

}  // namespace tg::cpu
#endif  // TENGEN_PLUGINS_CPU_RANDOM_H_
