// SPDX-License-Identifier: Apache-2.0
// Mixed precision: casts the operands of a call as the op table says, then makes the call with autocast off.
#include <tengen/autocast.h>

#include <map>

#include "dispatch/call.h"

namespace tg {

namespace detail {
std::atomic<int> autocast_threads{0};
}

namespace {

thread_local Autocast t_state;

// Casts of parameters are made once per region, so that a weight used at every time step is cast once and its gradient
// comes back through one node. An entry holds its source, whose address is the key, and is of one version of it.
struct Remembered {
  Tensor source, cast;
  uint32_t version;
};
using CacheKey = std::tuple<const TensorImpl*, DType, bool>;
thread_local std::map<CacheKey, Remembered> t_cache;

Tensor cast_of(const Tensor& t, DType to) {
  if (t.dtype() == to) return t;
  if (!t_state.cache || !t.requires_grad() || !t.is_leaf()) return t.cast(to);
  const CacheKey key{t.impl(), to, grad_enabled()};
  const auto it = t_cache.find(key);
  if (it != t_cache.end() && it->second.version == t.version()) return it->second.cast;
  Tensor made = t.cast(to);
  t_cache.insert_or_assign(key, Remembered{t, made, t.version()});
  return made;
}

bool eligible(const Arg& a) {
  return a.kind == Arg::tensor && is_floating(a.t.dtype()) && a.t.dtype() != DType::f64 &&
         (t_state.kind.empty() || a.t.device()->kind == t_state.kind);
}

// The dtype that the floating operands of a call of this op are to have.
std::optional<DType> target_of(const Op& op, std::span<const Arg> inputs) {
  switch (op.amp) {
    case Amp::none:
      break;
    case Amp::f32:
      return DType::f32;
    case Amp::low:
      for (const Arg& a : inputs)  // double stays double, and so does what meets it
        if (a.kind == Arg::tensor && a.t.dtype() == DType::f64) return std::nullopt;
      return t_state.dtype;
    case Amp::promote: {
      std::optional<DType> widest;
      for (const Arg& a : inputs)
        if (a.kind == Arg::tensor && is_floating(a.t.dtype()))
          widest = widest ? promote(*widest, a.t.dtype()) : a.t.dtype();
      return widest;
    }
  }
  return std::nullopt;
}

}  // namespace

const char* amp_name(Amp amp) {
  static const char* const names[] = {"none", "low", "f32", "promote"};
  return names[size_t(amp)];
}

const Autocast& autocast() { return t_state; }

Autocast set_autocast(Autocast state) {
  check(!state.on || state.dtype == DType::f16 || state.dtype == DType::bf16,
        "[autocast] expected dtype float16 or bfloat16, got ", long_name_of(state.dtype));
  if (state.on != t_state.on) detail::autocast_threads.fetch_add(state.on ? 1 : -1, std::memory_order_relaxed);
  return std::exchange(t_state, std::move(state));
}

void clear_autocast_cache() { t_cache.clear(); }

void AutocastPause::pause() {
  Autocast off = t_state;
  off.on = false;
  paused_ = set_autocast(std::move(off));
}
void AutocastPause::resume() { set_autocast(std::move(*paused_)); }

Tensors call_autocast(const Op& op, std::span<const Arg> inputs, std::span<const Attr> attrs, Device* device,
                      uint64_t wanted) {
  // An op that is no more than its decomposition gets the rules of its parts, unless it has one of its own.
  const bool parts = op.amp == Amp::none && op.decompose && op.kernel.empty() && !op.map && !op.view && !op.grad;
  if (parts) return call_plain(op, inputs, attrs, device, wanted);
  AutocastPause pause;
  const std::optional<DType> to = target_of(op, inputs);
  if (!to) return call_plain(op, inputs, attrs, device, wanted);
  std::vector<Arg> cast(inputs.begin(), inputs.end());
  for (Arg& a : cast)
    if (eligible(a)) a.t = cast_of(a.t, *to);
  return call_plain(op, cast, attrs, device, wanted);
}

}  // namespace tg
