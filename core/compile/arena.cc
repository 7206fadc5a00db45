// SPDX-License-Identifier: Apache-2.0
#include "compile/arena.h"

#include <algorithm>
#include <numeric>

namespace tg {

uint64_t plan_arena(std::vector<ArenaBlock>& blocks, uint64_t alignment) {
  const auto padded = [&](uint64_t bytes) { return (bytes + alignment - 1) / alignment * alignment; };
  std::vector<size_t> order(blocks.size());
  std::iota(order.begin(), order.end(), size_t(0));
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return blocks[a].bytes > blocks[b].bytes; });
  std::vector<size_t> placed;  // by offset
  uint64_t total = 0;
  for (size_t i : order) {
    ArenaBlock& b = blocks[i];
    uint64_t at = 0;
    for (size_t j : placed) {  // the first gap that is large enough
      const ArenaBlock& other = blocks[j];
      if (other.last < b.first || other.first > b.last) continue;
      if (at + padded(b.bytes) <= other.offset) break;
      at = std::max(at, other.offset + padded(other.bytes));
    }
    b.offset = at;
    total = std::max(total, at + padded(b.bytes));
    placed.insert(std::upper_bound(placed.begin(), placed.end(), i,
                                   [&](size_t a, size_t c) { return blocks[a].offset < blocks[c].offset; }),
                  i);
  }
  return total;
}

}  // namespace tg
