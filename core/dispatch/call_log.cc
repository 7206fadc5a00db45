// SPDX-License-Identifier: Apache-2.0
#include <tengen/call_log.h>

namespace tg {

namespace detail {
std::atomic<int> call_logs{0};
thread_local CallLog* t_call_log = nullptr;
}  // namespace detail

CallLog::CallLog(std::vector<const Op*> ops) : wanted_(op_table().size()), outer_(detail::t_call_log) {
  for (const Op* op : ops) wanted_[size_t(op->id)] = true;
  detail::t_call_log = this;
  detail::call_logs.fetch_add(1);
}

CallLog::~CallLog() {
  detail::t_call_log = outer_;
  detail::call_logs.fetch_sub(1);
}

Tensors CallLog::run(const Op& op, std::span<const Arg> inputs, std::span<const Attr> attrs, Device* device,
                     uint64_t wanted) {
  struct Pause {
    CallLog* log = std::exchange(detail::t_call_log, nullptr);
    ~Pause() { detail::t_call_log = log; }
  } pause;
  Tensors results = call(op, inputs, attrs, device, wanted);
  Entry entry{&op, {}, {}};
  for (const Arg& a : inputs) entry.inputs.push_back(a.kind == Arg::tensor ? a.t.shape() : Ints{});
  for (const Tensor& t : results) entry.outputs.push_back(t.defined() ? t.shape() : Ints{});
  entries_.push_back(std::move(entry));
  return results;
}

}  // namespace tg
