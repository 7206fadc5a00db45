// SPDX-License-Identifier: Apache-2.0
//
// argmax and argmin along one axis: the first of equals, the first NaN before all. A dense row is reduced to its
// extreme value, which is then searched for; otherwise columns keep their best value and its position side by side.
#include <algorithm>
#include <type_traits>

#include "kernels/axes.h"
#include "kernels/reduce.h"

namespace tg::cpu::reduce {
namespace {

constexpr int64_t kGrain = 16384;

// Storage as something that compares: 16-bit floats as float, bool as a byte.
template <class T>
using value_t = std::conditional_t<std::is_same_v<T, plugin::boolean>, uint8_t, plugin::compute_t<T>>;
template <class T>
value_t<T> value(T x) {
  if constexpr (std::is_same_v<T, plugin::boolean>) {
    return x.value;
  } else {
    return value_t<T>(x);
  }
}

class ArgPlan final : public Plan {
 public:
  ArgPlan(Instance& instance, const tg_call& call, int axis, bool max)
      : host_(instance.host), axis_(axis), max_(max), dtype_(call.inputs[0]->dtype) {
    if (axis < 0 || axis >= call.inputs[0]->ndim)
      plugin::fail(TG_INVALID_ARGUMENT, "[reduce] expected an axis in [0, %d), got %d", call.inputs[0]->ndim, axis);
    const Element e = element_of(dtype_);
    row_ = e.half == map::kNoHalf ? find_kernels(max ? TG_REDUCE_MAX : TG_REDUCE_MIN, e.rep) : Kernels{};
  }

  void run(const tg_run& r) override {
    plugin::visit(dtype_, [&](auto tag) {
      using T = typename decltype(tag)::type;
      max_ ? go<T, true>(r) : go<T, false>(r);
    });
  }

 private:
  // Is x to be taken instead of the best so far?
  template <bool kMax, class V>
  static bool better(V x, V best) {
    return ((kMax ? x > best : x < best) | (x != x)) & (best == best);
  }

  template <class T, bool kMax>
  void go(const tg_run& r) const {
    const tg_tensor& x = *r.inputs[0];
    const tg_tensor& y = *r.outputs[0];
    const T* from = plugin::data<const T>(x);
    int64_t* to = plugin::data<int64_t>(y);
    bool skip[TG_MAX_RANK] = {};
    skip[axis_] = true;
    Axes<2> kept(x.ndim, x.shape, {x.strides, y.strides}, skip);
    kept.at_least_one();
    const int64_t n = x.shape[axis_], step = x.strides[axis_];
    const int last = kept.rank - 1;
    const int64_t columns = kept.inner(), xs = kept.step[0][last], ys = kept.step[1][last];
    const bool side_by_side = xs < step && columns > 1;
    constexpr int64_t kWidth = 256;
    const int64_t tiles = side_by_side ? (columns + kWidth - 1) / kWidth : columns;
    const int64_t work = n * (side_by_side ? std::min(columns, kWidth) : 1);
    plugin::parallel_for(host_, kept.count(last) * tiles, std::max<int64_t>(1, kGrain / work), r.threads,
                         [&](int64_t begin, int64_t end) {
                           for (int64_t t = begin; t < end;) {
                             const int64_t outer = t / tiles, stop = std::min(end, (outer + 1) * tiles);
                             kept.walk(last, outer, outer + 1, [&](const int64_t(&offset)[2]) {
                               for (; t < stop; ++t) {
                                 const int64_t j = (t - outer * tiles) * (side_by_side ? kWidth : 1);
                                 const T* at = from + offset[0] + j * xs;
                                 int64_t* out = to + offset[1] + j * ys;
                                 if (side_by_side) {
                                   tile<T, kMax>(at, n, step, std::min(kWidth, columns - j), xs, out, ys);
                                 } else {
                                   *out = row<T, kMax>(at, n, step);
                                 }
                               }
                             });
                           }
                         });
  }

  template <class T, bool kMax>
  int64_t row(const T* x, int64_t n, int64_t step) const {
    using V = value_t<T>;
    if constexpr (sizeof(V) == sizeof(T)) {
      if (step == 1 && n >= 16) {
        V best{};
        row_.init(&best, 1);
        for (int64_t i = 0; i < n; i += kSegment) row_.row(x + i, std::min(kSegment, n - i), &best);
        if (best == best) {
          for (int64_t i = 0; i < n; ++i) {
            if (value(x[i]) == best) return i;
          }
        }
        for (int64_t i = 0; i < n; ++i) {
          if (value(x[i]) != value(x[i])) return i;
        }
      }
    }
    V best = value(x[0]);
    int64_t index = 0;
    for (int64_t i = 1; i < n; ++i) {
      const V v = value(x[i * step]);
      if (better<kMax>(v, best)) best = v, index = i;
    }
    return index;
  }

  template <class T, bool kMax>
  static void tile(const T* x, int64_t n, int64_t step, int64_t width, int64_t xs, int64_t* out, int64_t ys) {
    using V = value_t<T>;
    V best[256];
    int64_t index[256];
    for (int64_t j = 0; j < width; ++j) best[j] = value(x[j * xs]), index[j] = 0;
    for (int64_t i = 1; i < n; ++i) {
      const T* at = x + i * step;
      for (int64_t j = 0; j < width; ++j) {
        const V v = value(at[j * xs]);
        const bool take = better<kMax>(v, best[j]);
        best[j] = take ? v : best[j];
        index[j] = take ? i : index[j];
      }
    }
    for (int64_t j = 0; j < width; ++j) out[j * ys] = index[j];
  }

  const tg_host* host_;
  int axis_;
  bool max_;
  tg_dtype dtype_;
  Kernels row_;
};

}  // namespace

std::unique_ptr<Plan> make_arg(Instance& instance, const tg_call& call, int axis, bool max) {
  return std::make_unique<ArgPlan>(instance, call, axis, max);
}

}  // namespace tg::cpu::reduce
