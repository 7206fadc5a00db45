// SPDX-License-Identifier: Apache-2.0
//
// gather: x, index -> y of index's shape; y[.., j, ..] = x[.., index[.., j, ..], ..] along one axis.

#include "indexing.h"

namespace tg::reference {
namespace {

template <class T, class Index>
class Gather : public plugin::Plan {
 public:
  Gather(const tg_host* host, int32_t axis) : host_(host), axis_(axis) {}

  void run(const tg_run& run) override {
    const tg_tensor &x = *run.inputs[0], &index = *run.inputs[1], &y = *run.outputs[0];
    require_same_shape("gather", index, y);
    require_agreement("gather", x, index, axis_);
    const int64_t n = x.shape[axis_], step = x.strides[axis_];
    const IndexedStrides x_strides(x, axis_);
    const Walk<3> walk(y.ndim, y.shape, {x_strides.strides, index.strides, y.strides});
    const T* from = data<const T>(x);
    const Index* at = data<const Index>(index);
    T* to = data<T>(y);
    parallel_rows(host_, run, walk.outer(), walk.inner(), [&](int64_t begin, int64_t end) {
      walk.rows(begin, end, [&](const int64_t(&offset)[3]) {
        for (int64_t i = 0; i < walk.inner(); ++i) {
          const int64_t j = position("gather", at[offset[1] + i * walk.step(1)], n, axis_);
          to[offset[2] + i * walk.step(2)] = from[offset[0] + i * walk.step(0) + j * step];
        }
      });
    });
  }

 private:
  const tg_host* host_;
  int32_t axis_;
};

}  // namespace

PlanPtr make_gather(const tg_host* host, const tg_call& call) {
  require_arguments(call, 2, 1);
  const tg_tensor &x = *call.inputs[0], &index = *call.inputs[1];
  require_dtype("gather", "the output", x.dtype, call.outputs[0]->dtype);
  const int32_t axis = axis_attr(call, 0, x.ndim);
  return visit_indexed("gather", x.dtype, index.dtype, [&](auto t, auto i) -> PlanPtr {
    return std::make_unique<Gather<typename decltype(t)::type, typename decltype(i)::type>>(host, axis);
  });
}

}  // namespace tg::reference
