// SPDX-License-Identifier: Apache-2.0
// Automatic mixed precision: inside a region, ops take their operands in the dtype that their row of the op table names
// (OpBuilder::amp). Off, it costs one load per call.
#pragma once
#include <tengen/op.h>

#include <atomic>
#include <optional>

namespace tg {

// Of one thread. `kind`: only tensors on devices of that kind are cast; empty: on all.
struct Autocast {
  bool on = false;
  bool cache = true;
  DType dtype = DType::bf16;
  std::string kind;
};
const Autocast& autocast();
Autocast set_autocast(Autocast state);  // returns the old one
void clear_autocast_cache();            // casts of parameters that this thread's region remembers

namespace detail {
extern std::atomic<int> autocast_threads;  // in which it is on
}
inline bool autocasting() { return detail::autocast_threads.load(std::memory_order_relaxed) > 0 && autocast().on; }

// Switches it off for a scope: what an op calls inside, and the backward pass, take the dtypes that they get.
class AutocastPause {
 public:
  AutocastPause() {
    if (autocasting()) [[unlikely]]
      pause();
  }
  ~AutocastPause() {
    if (paused_) [[unlikely]]
      resume();
  }
  AutocastPause(const AutocastPause&) = delete;
  AutocastPause& operator=(const AutocastPause&) = delete;

 private:
  void pause();
  void resume();
  std::optional<Autocast> paused_;  // what it was
};

}  // namespace tg
