// SPDX-License-Identifier: Apache-2.0
//
// sort: x -> values, index along one axis. Stable both ways, NaN last both ways; either output may be unwanted.

#include <numeric>

#include "common.h"

namespace tg::reference {
namespace {

template <class T>
class Sort : public plugin::Plan {
 public:
  Sort(const tg_host* host, int32_t axis, bool descending) : host_(host), axis_(axis), descending_(descending) {}

  void run(const tg_run& run) override {
    const tg_tensor& x = *run.inputs[0];
    const tg_tensor* values = run.outputs[0];
    const tg_tensor* index = run.n_outputs > 1 ? run.outputs[1] : nullptr;
    if (values) require_same_shape("sort", x, *values);
    if (index) require_same_shape("sort", x, *index);
    const int64_t n = x.shape[axis_], step = x.strides[axis_];
    const T* from = data<const T>(x);
    // An output that nobody wants is walked along as x and left alone.
    lines<3>(host_, run, axis_, x, {&x, values ? values : &x, index ? index : &x}, [&](const int64_t(&at)[3]) {
      const T* line = from + at[0];
      std::vector<int64_t> order(static_cast<size_t>(n));
      std::iota(order.begin(), order.end(), int64_t(0));
      std::stable_sort(order.begin(), order.end(),
                       [&](int64_t a, int64_t b) { return before(line[a * step], line[b * step]); });
      for (int64_t i = 0; i < n; ++i) {
        const int64_t source = order[size_t(i)];
        if (values) data<T>(*values)[at[1] + i * values->strides[axis_]] = line[source * step];
        if (index) data<int64_t>(*index)[at[2] + i * index->strides[axis_]] = source;
      }
    });
  }

 private:
  bool before(T a, T b) const {
    if (is_nan(a) || is_nan(b)) return !is_nan(a) && is_nan(b);
    return descending_ ? value(b) < value(a) : value(a) < value(b);
  }

  const tg_host* host_;
  int32_t axis_;
  bool descending_;
};

}  // namespace

PlanPtr make_sort(const tg_host* host, const tg_call& call) {
  require_arguments(call, 1, 2);
  const tg_tensor& x = *call.inputs[0];
  if (call.outputs[0]) require_dtype("sort", "the values", x.dtype, call.outputs[0]->dtype);
  if (call.outputs[1]) require_dtype("sort", "the index", plugin::dtype_of<int64_t>::value, call.outputs[1]->dtype);
  const int32_t axis = axis_attr(call, 0, x.ndim);
  const bool descending = int_attr(call, 1, 0) != 0;
  return visit(x.dtype, [&](auto t) -> PlanPtr {
    return std::make_unique<Sort<typename decltype(t)::type>>(host, axis, descending);
  });
}

}  // namespace tg::reference
