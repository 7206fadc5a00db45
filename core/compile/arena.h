// SPDX-License-Identifier: Apache-2.0
// Places for blocks whose lifetimes are known. Internal to core.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

namespace tg {

struct ArenaBlock {
  uint64_t bytes;
  size_t first, last;   // steps that touch it, inclusive
  uint64_t offset = 0;  // set by plan_arena
};
// Sets offsets (multiples of `alignment`) such that blocks alive at one step do not overlap; returns the arena's size. Greedy
// by size: the largest first, each at the lowest place that is free (Pisarchyk and Lee, 2020, arXiv:2001.03288).
uint64_t plan_arena(std::vector<ArenaBlock>& blocks, uint64_t alignment);

}  // namespace tg
