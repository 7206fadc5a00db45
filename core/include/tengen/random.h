// SPDX-License-Identifier: Apache-2.0
// The global random generator: stateless Philox4x32-10 keyed by a seed, with an offset that counts the blocks of four
// words handed out. Equal seeds give equal numbers on every plugin.
#pragma once
#include <cstdint>

namespace tg {

struct PhiloxSlice {
  int64_t seed;
  int64_t offset;  // first block
};
void manual_seed(int64_t seed);
int64_t initial_seed();
PhiloxSlice take_random(int64_t n_words);  // reserves ceil(n/4) blocks
void set_random_state(PhiloxSlice state);
PhiloxSlice random_state();
// From now on this thread draws from *source, not from the generator; NULL: from the generator. Returns what was before.
PhiloxSlice* redirect_random(PhiloxSlice* source);

}  // namespace tg
