// SPDX-License-Identifier: Apache-2.0
//
// scan: running sum, product, maximum or minimum along one axis; floats run in double, each element rounded once.

#include "common.h"

namespace tg::reference {
namespace {

// What an exclusive scan begins with.
template <class T>
T lowest() {
  if constexpr (is_floating<T>) {
    return T(-std::numeric_limits<compute_t<T>>::infinity());
  } else if constexpr (is_bool<T>) {
    return T(false);
  } else {
    return std::numeric_limits<T>::min();
  }
}
template <class T>
T highest() {
  if constexpr (is_floating<T>) {
    return T(std::numeric_limits<compute_t<T>>::infinity());
  } else if constexpr (is_bool<T>) {
    return T(true);
  } else {
    return std::numeric_limits<T>::max();
  }
}

template <class T>
struct Sum {
  using Acc = sum_t<T>;
  static Acc identity() { return 0; }
  static Acc next(Acc acc, T x) { return acc + Acc(compute_t<T>(x)); }
};
template <class T>
struct Prod {
  using Acc = sum_t<T>;
  static Acc identity() { return 1; }
  static Acc next(Acc acc, T x) { return acc * Acc(compute_t<T>(x)); }
};
template <class T>
struct Max {
  using Acc = T;
  static T identity() { return lowest<T>(); }
  static T next(T acc, T x) { return larger(acc, x); }
};
template <class T>
struct Min {
  using Acc = T;
  static T identity() { return highest<T>(); }
  static T next(T acc, T x) { return smaller(acc, x); }
};

template <class T, class Fold>
class Scan : public plugin::Plan {
 public:
  Scan(const tg_host* host, int32_t axis, bool exclusive, bool reverse)
      : host_(host), axis_(axis), exclusive_(exclusive), reverse_(reverse) {}

  void run(const tg_run& run) override {
    const tg_tensor &x = *run.inputs[0], &y = *run.outputs[0];
    require_same_shape("scan", x, y);
    const int64_t n = x.shape[axis_], x_step = x.strides[axis_], y_step = y.strides[axis_];
    const T* from = data<const T>(x);
    T* to = data<T>(y);
    lines<2>(host_, run, axis_, x, {&x, &y}, [&](const int64_t(&at)[2]) {
      auto acc = Fold::identity();
      for (int64_t k = 0; k < n; ++k) {
        const int64_t i = reverse_ ? n - 1 - k : k;
        const T element = from[at[0] + i * x_step];
        const auto before = acc;
        acc = Fold::next(acc, element);
        to[at[1] + i * y_step] = rounded(exclusive_ ? before : acc);
      }
    });
  }

 private:
  static T rounded(typename Fold::Acc acc) {
    if constexpr (std::is_same_v<typename Fold::Acc, T>) {
      return acc;
    } else {
      return round_to<T>(acc);
    }
  }

  const tg_host* host_;
  int32_t axis_;
  bool exclusive_, reverse_;
};

}  // namespace

PlanPtr make_scan(const tg_host* host, const tg_call& call) {
  require_arguments(call, 1, 1);
  const tg_tensor& x = *call.inputs[0];
  require_dtype("scan", "the output", x.dtype, call.outputs[0]->dtype);
  const int64_t kind = attr("scan", call, 0, TG_ATTR_INT).v.i;
  const int32_t axis = axis_attr(call, 1, x.ndim);
  const bool exclusive = int_attr(call, 2, 0) != 0, reverse = int_attr(call, 3, 0) != 0;
  return visit(x.dtype, [&](auto t) -> PlanPtr {
    using T = typename decltype(t)::type;
    switch (kind) {
      case TG_REDUCE_SUM:
        if constexpr (!is_bool<T>) return std::make_unique<Scan<T, Sum<T>>>(host, axis, exclusive, reverse);
        break;
      case TG_REDUCE_PROD:
        if constexpr (!is_bool<T>) return std::make_unique<Scan<T, Prod<T>>>(host, axis, exclusive, reverse);
        break;
      case TG_REDUCE_MAX:
        return std::make_unique<Scan<T, Max<T>>>(host, axis, exclusive, reverse);
      case TG_REDUCE_MIN:
        return std::make_unique<Scan<T, Min<T>>>(host, axis, exclusive, reverse);
      default:
        fail(TG_UNIMPLEMENTED, "[scan] expected the kind sum, prod, max or min (0..3), got %" PRId64, kind);
    }
    fail(TG_UNIMPLEMENTED, "[scan] sum and prod expect a number dtype, got %s", dtype_name(x.dtype));
  });
}

}  // namespace tg::reference
