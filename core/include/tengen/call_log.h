// SPDX-License-Identifier: Apache-2.0
// For tools that count: which of some ops this thread called, with what shapes. Off, it costs one load per call.
//
//   CallLog log({&require_op("conv"), &require_op("matmul")});
//   ... log.take() gives the calls since the last take.
#pragma once
#include <tengen/op.h>

#include <atomic>

namespace tg {

// Calls inside of a noted call are not noted: an op counts as a whole, whether it has a kernel or decomposes.
class CallLog {
 public:
  struct Entry {
    const Op* op;
    std::vector<Ints> inputs, outputs;  // shapes; of absent ones empty
  };
  explicit CallLog(std::vector<const Op*> ops);  // from now on, in place of the thread's log (if any)
  ~CallLog();
  CallLog(const CallLog&) = delete;
  CallLog& operator=(const CallLog&) = delete;

  std::vector<Entry> take() { return std::exchange(entries_, {}); }
  bool wants(const Op& op) const { return op.id >= 0 && size_t(op.id) < wanted_.size() && wanted_[size_t(op.id)]; }
  Tensors run(const Op& op, std::span<const Arg> inputs, std::span<const Attr> attrs, Device* device, uint64_t wanted);

 private:
  std::vector<bool> wanted_;  // by op id
  std::vector<Entry> entries_;
  CallLog* outer_;
};

namespace detail {
extern std::atomic<int> call_logs;
extern thread_local CallLog* t_call_log;
}  // namespace detail
// The thread's log, if it has one that notes this op.
inline CallLog* call_log_for(const Op& op) {
  if (detail::call_logs.load(std::memory_order_relaxed) == 0) [[likely]] return nullptr;
  CallLog* log = detail::t_call_log;
  return log && log->wants(op) ? log : nullptr;
}

// Every kernel call and decomposition of this thread becomes a step of it (runtime.h: Why); NULL: no longer. Returns the
// one before.
struct Why;
Why* set_trace(Why* trace);

}  // namespace tg
