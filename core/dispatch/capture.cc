// SPDX-License-Identifier: Apache-2.0
#include "dispatch/capture.h"

namespace tg {
namespace {
thread_local Capture* t_capture = nullptr;
}

Capture* detail::this_threads_capture() { return t_capture; }

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
