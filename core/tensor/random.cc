// SPDX-License-Identifier: Apache-2.0
// The global generator: a seed and a counter.
#include <tengen/random.h>

#include <mutex>

namespace tg {
namespace {
std::mutex g_mutex;
PhiloxSlice g_state{0, 0};
}  // namespace

void manual_seed(int64_t seed) {
  std::lock_guard lock(g_mutex);
  g_state = {seed, 0};
}
int64_t initial_seed() {
  std::lock_guard lock(g_mutex);
  return g_state.seed;
}
PhiloxSlice take_random(int64_t n_words) {
  std::lock_guard lock(g_mutex);
  const PhiloxSlice slice = g_state;
  g_state.offset += (n_words + 3) / 4;
  return slice;
}
void set_random_state(PhiloxSlice state) {
  std::lock_guard lock(g_mutex);
  g_state = state;
}
PhiloxSlice random_state() {
  std::lock_guard lock(g_mutex);
  return g_state;
}

}  // namespace tg
