// SPDX-License-Identifier: Apache-2.0
//
// iota: -> y of rank 1, y[k] = start + k*step. Floats compute in double, integers wrap.

#include "common.h"

namespace tg::reference {
namespace {

template <class T>
class Iota : public plugin::Plan {
 public:
  void run(const tg_run& run) override {
    const tg_tensor& y = *run.outputs[0];
    const uint64_t* bits = attr("iota", run, 0, TG_ATTR_BITS).v.bits;
    const auto start = sum_t<T>(compute_t<T>(plugin::from_bits<T>(bits[0])));
    const auto step = sum_t<T>(compute_t<T>(plugin::from_bits<T>(bits[1])));
    T* to = data<T>(y);
    for (int64_t k = 0; k < y.shape[0]; ++k) to[k * y.strides[0]] = round_to<T>(start + sum_t<T>(k) * step);
  }
};

}  // namespace

PlanPtr make_iota(const tg_host*, const tg_call& call) {
  require_arguments(call, 0, 1);
  const tg_tensor& y = *call.outputs[0];
  if (y.ndim != 1) fail(TG_INVALID_ARGUMENT, "[iota] expected an output of rank 1, got %s", text(y).c_str());
  return visit(y.dtype, [&](auto t) -> PlanPtr {
    using T = typename decltype(t)::type;
    if constexpr (is_bool<T>) {
      fail(TG_UNIMPLEMENTED, "[iota] expected a number dtype, got bool; fill or compare instead");
    } else {
      return std::make_unique<Iota<T>>();
    }
  });
}

}  // namespace tg::reference
