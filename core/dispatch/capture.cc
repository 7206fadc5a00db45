// SPDX-License-Identifier: Apache-2.0
#include "dispatch/capture.h"

namespace tg {
namespace {
thread_local Capture* t_capture = nullptr;
}

Capture* detail::this_threads_capture() { return t_capture; }

void check_operands(const Op& op, std::span<const Arg> inputs, std::span<const Tensor> outs) {
  if (making_unbacked()) return;
  const auto look = [&](const Tensor& t) {
    if (t.defined() && is_unbacked(t))
      raise(ErrorKind::runtime, "[", op.name, "] expected tensors with values, got one of shape ", str(t.shape()),
            " that was kept from inside a function while tg.jit traced it; return it from the function instead");
  };
  for (const Arg& a : inputs)
    if (a.kind == Arg::tensor) look(a.t);
  for (const Tensor& t : outs) look(t);
}

CaptureScope::CaptureScope(Capture* listener)
    : old_(std::exchange(t_capture, listener)), unbacked_(listener != nullptr, listener ? &listener->log_ : nullptr),
      random_(redirect_random(listener ? &listener->random_ : nullptr)) {
  captures_open.fetch_add(1);
}
CaptureScope::~CaptureScope() {
  captures_open.fetch_sub(1);
  redirect_random(random_);
  t_capture = old_;
}

}  // namespace tg
