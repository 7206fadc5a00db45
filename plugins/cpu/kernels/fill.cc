// SPDX-License-Identifier: Apache-2.0
//
// The floor's `fill`: one value everywhere, by element size.
#include <algorithm>
#include <cstring>
#include <utility>

#include "kernels/axes.h"
#include "kernels/kernels.h"

namespace tg::cpu {
namespace {

constexpr int64_t kGrainBytes = 1 << 17;

class FillPlan final : public Plan {
 public:
  FillPlan(Instance& instance, const tg_call& call) : host_(instance.host) {
    const tg_dtype t = call.outputs[0]->dtype;
    bytes_ = t.bits * t.lanes / 8;
    if (bytes_ != 1 && bytes_ != 2 && bytes_ != 4 && bytes_ != 8)
      plugin::fail(TG_UNIMPLEMENTED, "[fill] expected elements of 1, 2, 4 or 8 bytes, got %d bits", t.bits * t.lanes);
  }

  void run(const tg_run& r) override {
    if (r.n_attrs < 1 || r.attrs[0].kind != TG_ATTR_BITS || r.attrs[0].n < 1)
      plugin::fail(TG_INVALID_ARGUMENT, "[fill] expected run attribute 0 to be one value's bits");
    const uint64_t bits = r.attrs[0].v.bits[0];
    switch (bytes_) {
      case 1:
        return fill(r, uint8_t(bits));
      case 2:
        return fill(r, uint16_t(bits));
      case 4:
        return fill(r, uint32_t(bits));
      default:
        return fill(r, bits);
    }
  }

 private:
  template <class T>
  void fill(const tg_run& r, T value) const {
    const tg_tensor& y = *r.outputs[0];
    T* to = plugin::data<T>(y);
    Axes<1> axes(y.ndim, y.shape, {y.strides});
    axes.at_least_one();
    constexpr int64_t kGrain = kGrainBytes / int64_t(sizeof(T));
    const int last = axes.rank - 1;
    const int64_t inner = axes.inner(), step = axes.step[0][last];
    const auto row = [&](T* at, int64_t n) {
      if (step == 1) {
        std::fill_n(at, n, value);
      } else {
        for (int64_t i = 0; i < n; ++i) at[i * step] = value;
      }
    };
    if (last == 0) {
      plugin::parallel_for(host_, inner, kGrain, r.threads,
                           [&](int64_t begin, int64_t end) { row(to + begin * step, end - begin); });
    } else {
      plugin::parallel_for(
          host_, axes.count(last), std::max<int64_t>(1, kGrain / inner), r.threads, [&](int64_t begin, int64_t end) {
            axes.walk(last, begin, end, [&](const int64_t(&offset)[1]) { row(to + offset[0], inner); });
          });
    }
  }

  const tg_host* host_;
  int bytes_;
};

}  // namespace

std::unique_ptr<Plan> make_fill(Instance& instance, const tg_call& call) {
  return std::make_unique<FillPlan>(instance, call);
}

}  // namespace tg::cpu
