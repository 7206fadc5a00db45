// SPDX-License-Identifier: Apache-2.0
// The global generator: a seed and a counter.
#include <tengen/error.h>
#include <tengen/random.h>

#include <mutex>
#include <utility>

namespace tg {
namespace {
std::mutex g_mutex;
PhiloxSlice g_state{0, 0};
thread_local PhiloxSlice* t_source = nullptr;
}  // namespace

namespace {
[[noreturn]] void refuse(const char* what) {
  raise(ErrorKind::not_implemented, "[", what, "] expected a random state of the traced function itself, got another one: inside tg.jit numbers come"
        " from the global generator, where it is when the graph runs; seed it, and use generators of your own, outside");
}
}  // namespace

void manual_seed(int64_t seed) {
  if (t_source) refuse("manual_seed");
  std::lock_guard lock(g_mutex);
  g_state = {seed, 0};
}
int64_t initial_seed() {
  std::lock_guard lock(g_mutex);
  return g_state.seed;
}
PhiloxSlice take_random(int64_t n_words) {
  const auto from = [&](PhiloxSlice& state) {
    const PhiloxSlice slice = state;
    state.offset += (n_words + 3) / 4;
    return slice;
  };
  if (t_source) return from(*t_source);
  std::lock_guard lock(g_mutex);
  return from(g_state);
}
PhiloxSlice* redirect_random(PhiloxSlice* source) { return std::exchange(t_source, source); }
void set_random_state(PhiloxSlice state) {
  if (t_source) {  // back to where this trace was, as a recomputation does
    if (state.seed != t_source->seed) refuse("set_rng_state");
    *t_source = state;
    return;
  }
  std::lock_guard lock(g_mutex);
  g_state = state;
}
PhiloxSlice random_state() {
  if (t_source) return *t_source;
  std::lock_guard lock(g_mutex);
  return g_state;
}

}  // namespace tg
