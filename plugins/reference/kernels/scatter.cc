// SPDX-License-Identifier: Apache-2.0
//
// scatter: index, u -> y (updated); y[.., index[.., j, ..], ..] is set to, added or maximised with u[.., j, ..], in
// row-major order of u: one thread, so that equal indices meet in order.

#include "indexing.h"

namespace tg::reference {
namespace {

template <class T>
struct Set {
  using Acc = T;
  static T next(T, T u) { return u; }
};
template <class T>
struct Add {
  using Acc = compute_t<T>;
  static Acc next(Acc y, T u) {
    if constexpr (is_floating<T>) {
      return y + Acc(u);
    } else {
      return T(uint64_t(y) + uint64_t(u));
    }
  }
};
template <class T>
struct Max {
  using Acc = T;
  static T next(T y, T u) { return larger(y, u); }
};

template <class T, class Index, class Update>
class Scatter : public plugin::Plan {
  using Acc = typename Update::Acc;

 public:
  explicit Scatter(int32_t axis) : axis_(axis) {}

  void run(const tg_run& run) override {
    const tg_tensor &index = *run.inputs[0], &u = *run.inputs[1], &y = *run.outputs[0];
    require_same_shape("scatter", index, u);
    require_agreement("scatter", y, index, axis_);
    if constexpr (std::is_same_v<Acc, T>) {
      update(index, u, y, data<T>(y), y.strides);
    } else {
      // 16-bit floats add in f32 and round once: through a dense copy of y.
      int64_t strides[TG_MAX_RANK], n = 1;
      for (int32_t i = y.ndim - 1; i >= 0; --i) {
        strides[i] = n;
        n *= y.shape[i];
      }
      std::vector<Acc> wide(static_cast<size_t>(n));
      const Walk<2> walk(y.ndim, y.shape, {strides, y.strides});
      T* narrow = data<T>(y);
      each(walk, [&](int64_t w, int64_t at) { wide[size_t(w)] = Acc(narrow[at]); });
      update(index, u, y, wide.data(), strides);
      each(walk, [&](int64_t w, int64_t at) { narrow[at] = T(wide[size_t(w)]); });
    }
  }

 private:
  template <class Element>
  static void each(const Walk<2>& walk, Element&& element) {
    walk.rows(0, walk.outer(), [&](const int64_t(&offset)[2]) {
      for (int64_t i = 0; i < walk.inner(); ++i) element(offset[0] + i * walk.step(0), offset[1] + i * walk.step(1));
    });
  }

  void update(const tg_tensor& index, const tg_tensor& u, const tg_tensor& y, Acc* to, const int64_t* strides) const {
    const int64_t n = y.shape[axis_], step = strides[axis_];
    int64_t off_axis[TG_MAX_RANK];
    for (int32_t i = 0; i < y.ndim; ++i) off_axis[i] = i == axis_ ? 0 : strides[i];
    const Walk<3> walk(u.ndim, u.shape, {off_axis, index.strides, u.strides});
    const Index* at = data<const Index>(index);
    const T* from = data<const T>(u);
    walk.rows(0, walk.outer(), [&](const int64_t(&offset)[3]) {
      for (int64_t i = 0; i < walk.inner(); ++i) {
        const int64_t j = position("scatter", at[offset[1] + i * walk.step(1)], n, axis_);
        Acc& out = to[offset[0] + i * walk.step(0) + j * step];
        out = Update::next(out, from[offset[2] + i * walk.step(2)]);
      }
    });
  }

  int32_t axis_;
};

}  // namespace

PlanPtr make_scatter(const tg_host*, const tg_call& call) {
  require_arguments(call, 2, 1);
  const tg_tensor &index = *call.inputs[0], &u = *call.inputs[1];
  require_dtype("scatter", "the output", u.dtype, call.outputs[0]->dtype);
  const int32_t axis = axis_attr(call, 0, u.ndim);
  const int64_t kind = attr("scatter", call, 1, TG_ATTR_INT).v.i;
  return visit_indexed("scatter", u.dtype, index.dtype, [&](auto t, auto i) -> PlanPtr {
    using T = typename decltype(t)::type;
    using Index = typename decltype(i)::type;
    switch (kind) {
      case TG_SCATTER_SET:
        return std::make_unique<Scatter<T, Index, Set<T>>>(axis);
      case TG_SCATTER_ADD:
        if constexpr (!is_bool<T>) return std::make_unique<Scatter<T, Index, Add<T>>>(axis);
        fail(TG_UNIMPLEMENTED, "[scatter] add expects a number dtype, got bool; use max");
      case TG_SCATTER_MAX:
        return std::make_unique<Scatter<T, Index, Max<T>>>(axis);
      default:
        fail(TG_UNIMPLEMENTED, "[scatter] expected the kind set, add or max (0..2), got %" PRId64, kind);
    }
  });
}

}  // namespace tg::reference
