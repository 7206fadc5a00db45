// SPDX-License-Identifier: Apache-2.0
// A thread that captures computes nothing: storages made meanwhile have no memory, and what would have happened is told to
// a listener (docs/design/014-static-graphs.md). Internal to core.
#pragma once
#include <tengen/random.h>

#include "dispatch/plan.h"
#include "runtime/unbacked.h"

namespace tg {

class Capture {
 public:
  virtual ~Capture() = default;
  // A call has been made on the plain layer: after autograd, autocast and levels. `outs` as it was given (in-place calls,
  // before their version is raised). Calls within its decomposition are not told.
  virtual void called(const Op& op, std::span<const Arg> inputs, std::span<const Attr> attrs, std::span<const Tensor> outs,
                      std::span<const Tensor> results, Device* device) = 0;
  // What a plan would have run on. Pointers are valid for the call only.
  virtual void launch(const KernelPlan& plan, const KernelPlan::Args& args) = 0;
  // What would have been moved to another device, done there, and moved back.
  virtual void fallback(const Op& op, std::span<const Arg> inputs, std::span<const Attr> attrs, std::span<const Tensor> results) = 0;
  // Calls that draw random numbers see this seed, and count from 0: where the generator is when the captured work runs. In
  // run attributes the counter stands behind the seed.
  static constexpr int64_t kSeed = 0x5eed'7e57'ca97'0001;
  int64_t random_position() const { return random_.offset; }  // in blocks of four words
  int64_t random_before() const { return before_; }           // the call at hand
  void set_random_position(int64_t blocks) { random_.offset = blocks; }
  // The next launch is all of this map program; NULL: it is not.
  void set_program(const MapBuilder::Program* program) { program_ = program; }

 private:
  friend class CapturedCall;
  friend class CaptureScope;
  int depth_ = 0;
  PhiloxSlice random_{kSeed, 0};
  int64_t before_ = 0;

 protected:
  UnbackedLog log_;
  const MapBuilder::Program* program_ = nullptr;
};

namespace detail {
Capture* this_threads_capture();
}
// The thread's listener; NULL: nothing is captured.
inline Capture* capturing() {
  return captures_open.load(std::memory_order_relaxed) == 0 ? nullptr : detail::this_threads_capture();
}

// RuntimeError for an operand that a trace left behind without memory; to be asked when nothing is captured.
void check_operands(const Op& op, std::span<const Arg> inputs, std::span<const Tensor> outs);

// From now on this thread captures; NULL: it computes (within a capture: to make constants).
class CaptureScope {
 public:
  explicit CaptureScope(Capture* listener);
  ~CaptureScope();
  CaptureScope(const CaptureScope&) = delete;
  CaptureScope& operator=(const CaptureScope&) = delete;

 private:
  Capture* old_;
  UnbackedScope unbacked_;
  PhiloxSlice* random_;
};

// One call on the plain layer; the outermost is told.
class CapturedCall {
 public:
  explicit CapturedCall(Capture* c) : capture_(c) {
    if (++c->depth_ == 1) c->before_ = c->random_.offset;
  }
  ~CapturedCall() { --capture_->depth_; }
  CapturedCall(const CapturedCall&) = delete;
  CapturedCall& operator=(const CapturedCall&) = delete;
  bool outermost() const { return capture_->depth_ == 1; }

 private:
  Capture* capture_;
};

}  // namespace tg
