// SPDX-License-Identifier: Apache-2.0
//
// fill: -> y, every element the run attribute's bits.

#include "common.h"

namespace tg::reference {
namespace {

template <class T>
class Fill : public plugin::Plan {
 public:
  explicit Fill(const tg_host* host) : host_(host) {}

  void run(const tg_run& run) override {
    const tg_tensor& y = *run.outputs[0];
    const T value = plugin::from_bits<T>(attr("fill", run, 0, TG_ATTR_BITS).v.bits[0]);
    const Walk<1> walk(y.ndim, y.shape, {y.strides});
    T* to = data<T>(y);
    parallel_rows(host_, run, walk.outer(), walk.inner(), [&](int64_t begin, int64_t end) {
      walk.rows(begin, end, [&](const int64_t(&offset)[1]) {
        for (int64_t i = 0; i < walk.inner(); ++i) to[offset[0] + i * walk.step(0)] = value;
      });
    });
  }

 private:
  const tg_host* host_;
};

}  // namespace

PlanPtr make_fill(const tg_host* host, const tg_call& call) {
  require_arguments(call, 0, 1);
  return visit(call.outputs[0]->dtype,
               [&](auto t) -> PlanPtr { return std::make_unique<Fill<typename decltype(t)::type>>(host); });
}

}  // namespace tg::reference
