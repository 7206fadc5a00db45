// SPDX-License-Identifier: Apache-2.0
//
// The floor's `iota`: y[k] = start + k * step. Floats are computed in f64 and rounded once (16-bit ones via f32), so
// that long ranges do not drift.
#include <type_traits>

#include "kernels/kernels.h"

namespace tg::cpu {
namespace {

constexpr int64_t kGrain = 32768;

class IotaPlan final : public Plan {
 public:
  IotaPlan(Instance& instance, const tg_call& call) : host_(instance.host), dtype_(call.outputs[0]->dtype) {
    if (dtype_.code == TG_CODE_BOOL) plugin::fail(TG_UNIMPLEMENTED, "[iota] expected a number dtype, got bool");
    plugin::visit(dtype_, [](auto) {});
  }

  void run(const tg_run& r) override {
    if (r.n_attrs < 1 || r.attrs[0].kind != TG_ATTR_BITS || r.attrs[0].n < 2)
      plugin::fail(TG_INVALID_ARGUMENT, "[iota] expected run attribute 0 to hold the bits of start and step");
    const uint64_t* bits = r.attrs[0].v.bits;
    const tg_tensor& y = *r.outputs[0];
    const int64_t n = plugin::numel(y), stride = y.ndim ? y.strides[y.ndim - 1] : 1;
    plugin::visit(dtype_, [&](auto tag) {
      using T = typename decltype(tag)::type;
      if constexpr (!std::is_same_v<T, plugin::boolean>) {
        const T start = plugin::from_bits<T>(bits[0]), step = plugin::from_bits<T>(bits[1]);
        T* out = plugin::data<T>(y);
        plugin::parallel_for(host_, n, kGrain, r.threads, [&](int64_t begin, int64_t end) {
          if constexpr (plugin::is_floating<T>) {
            const double a = double(plugin::compute_t<T>(start)), s = double(plugin::compute_t<T>(step));
            for (int64_t k = begin; k < end; ++k) out[k * stride] = T(plugin::compute_t<T>(a + double(k) * s));
          } else {
            const uint64_t a = uint64_t(start), s = uint64_t(step);
            for (int64_t k = begin; k < end; ++k) out[k * stride] = T(a + uint64_t(k) * s);
          }
        });
      }
    });
  }

 private:
  const tg_host* host_;
  tg_dtype dtype_;
};

}  // namespace

std::unique_ptr<Plan> make_iota(Instance& instance, const tg_call& call) {
  return std::make_unique<IotaPlan>(instance, call);
}

}  // namespace tg::cpu
