// SPDX-License-Identifier: Apache-2.0
//
// copy: x -> y, any strides to any strides. Bits are kept, so it goes by element size.

#include "common.h"

namespace tg::reference {
namespace {

template <class Word>
class Copy : public plugin::Plan {
 public:
  explicit Copy(const tg_host* host) : host_(host) {}

  void run(const tg_run& run) override {
    const tg_tensor &x = *run.inputs[0], &y = *run.outputs[0];
    require_same_shape("copy", x, y);
    const Walk<2> walk(y.ndim, y.shape, {x.strides, y.strides});
    const Word* from = data<const Word>(x);
    Word* to = data<Word>(y);
    parallel_rows(host_, run, walk.outer(), walk.inner(), [&](int64_t begin, int64_t end) {
      walk.rows(begin, end, [&](const int64_t(&offset)[2]) {
        const Word* a = from + offset[0];
        Word* b = to + offset[1];
        if (walk.step(0) == 1 && walk.step(1) == 1) {
          std::copy(a, a + walk.inner(), b);
        } else {
          for (int64_t i = 0; i < walk.inner(); ++i) b[i * walk.step(1)] = a[i * walk.step(0)];
        }
      });
    });
  }

 private:
  const tg_host* host_;
};

}  // namespace

PlanPtr make_copy(const tg_host* host, const tg_call& call) {
  require_arguments(call, 1, 1);
  require_dtype("copy", "the output", call.inputs[0]->dtype, call.outputs[0]->dtype);
  return visit(call.outputs[0]->dtype, [&](auto t) -> PlanPtr {
    switch (sizeof(typename decltype(t)::type)) {
      case 1:
        return std::make_unique<Copy<uint8_t>>(host);
      case 2:
        return std::make_unique<Copy<uint16_t>>(host);
      case 4:
        return std::make_unique<Copy<uint32_t>>(host);
      default:
        return std::make_unique<Copy<uint64_t>>(host);
    }
  });
}

}  // namespace tg::reference
