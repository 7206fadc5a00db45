// SPDX-License-Identifier: Apache-2.0
//
// The floor's `scan`: running sum, product, maximum or minimum along one axis. Lines are independent; where the axis is
// not the densest one, neighbouring lines run side by side. Floats accumulate in f64.
#include <algorithm>
#include <limits>
#include <type_traits>

#include "kernels/axes.h"
#include "kernels/kernels.h"

namespace tg::cpu {
namespace {

constexpr int64_t kGrain = 16384;
constexpr int64_t kWidth = 64;  // lines side by side

using plugin::boolean;

template <class T>
using value_t = std::conditional_t<std::is_same_v<T, boolean>, uint8_t, plugin::compute_t<T>>;

template <class T, int kKind>
struct Op {
  using V = value_t<T>;
  static constexpr bool kMoves = kKind == TG_REDUCE_SUM || kKind == TG_REDUCE_PROD;
  using Acc = std::conditional_t<!kMoves, V, std::conditional_t<plugin::is_floating<T>, double, uint64_t>>;
  static Acc first() {
    if constexpr (kMoves) return kKind == TG_REDUCE_PROD ? 1 : 0;
    using L = std::numeric_limits<V>;
    if constexpr (std::is_same_v<T, boolean>) return kKind == TG_REDUCE_MIN ? 1 : 0;
    if constexpr (kKind == TG_REDUCE_MAX) return plugin::is_floating<T> ? Acc(-L::infinity()) : Acc(L::lowest());
    return plugin::is_floating<T> ? Acc(L::infinity()) : Acc(L::max());
  }
  static Acc step(Acc a, T x) {
    V v;
    if constexpr (std::is_same_v<T, boolean>) {
      v = x.value;
    } else {
      v = V(x);
    }
    if constexpr (kKind == TG_REDUCE_SUM) return a + Acc(v);
    if constexpr (kKind == TG_REDUCE_PROD) return a * Acc(v);
    const bool beyond = kKind == TG_REDUCE_MAX ? Acc(v) > a : Acc(v) < a;
    return beyond || v != v ? Acc(v) : a;
  }
  static T out(Acc a) {
    if constexpr (std::is_same_v<T, boolean>) {
      return boolean(a != 0);
    } else {
      return T(V(a));
    }
  }
};

class ScanPlan final : public Plan {
 public:
  ScanPlan(Instance& instance, const tg_call& call) : host_(instance.host), dtype_(call.inputs[0]->dtype) {
    const auto attr = [&](uint32_t i) {
      return i < call.n_attrs && call.attrs[i].kind == TG_ATTR_INT ? call.attrs[i].v.i : 0;
    };
    kind_ = int(attr(0));
    axis_ = int(attr(1));
    exclusive_ = attr(2) != 0;
    reverse_ = attr(3) != 0;
    if (axis_ < 0 || axis_ >= call.inputs[0]->ndim)
      plugin::fail(TG_INVALID_ARGUMENT, "[scan] expected an axis in [0, %d), got %d", call.inputs[0]->ndim, axis_);
    if (kind_ < TG_REDUCE_SUM || kind_ > TG_REDUCE_MIN)
      plugin::fail(TG_INVALID_ARGUMENT, "[scan] expected sum, prod, max or min, got kind %d", kind_);
    if (dtype_.code == TG_CODE_BOOL && kind_ < TG_REDUCE_MAX)
      plugin::fail(TG_UNIMPLEMENTED, "[scan] expected max or min for bool, got kind %d", kind_);
    plugin::visit(dtype_, [](auto) {});
  }

  void run(const tg_run& r) override {
    plugin::visit(dtype_, [&](auto tag) {
      using T = typename decltype(tag)::type;
      if (kind_ == TG_REDUCE_MAX) return go<T, TG_REDUCE_MAX>(r);
      if (kind_ == TG_REDUCE_MIN) return go<T, TG_REDUCE_MIN>(r);
      if constexpr (!std::is_same_v<T, boolean>) {
        if (kind_ == TG_REDUCE_SUM) return go<T, TG_REDUCE_SUM>(r);
        return go<T, TG_REDUCE_PROD>(r);
      }
    });
  }

 private:
  template <class T, int kKind>
  void go(const tg_run& r) const {
    const tg_tensor& x = *r.inputs[0];
    const tg_tensor& y = *r.outputs[0];
    const T* from = plugin::data<const T>(x);
    T* to = plugin::data<T>(y);
    bool skip[TG_MAX_RANK] = {};
    skip[axis_] = true;
    Axes<2> kept(x.ndim, x.shape, {x.strides, y.strides}, skip);
    kept.at_least_one();
    const int64_t n = x.shape[axis_];
    int64_t xa = x.strides[axis_], ya = y.strides[axis_];
    if (reverse_) {
      from += (n - 1) * xa, to += (n - 1) * ya;
      xa = -xa, ya = -ya;
    }
    const int last = kept.rank - 1;
    const int64_t columns = kept.inner(), xs = kept.step[0][last], ys = kept.step[1][last];
    const int64_t tiles = (columns + kWidth - 1) / kWidth;
    const bool side_by_side = xs < x.strides[axis_];
    plugin::parallel_for(host_, kept.count(last) * tiles,
                         std::max<int64_t>(1, kGrain / (n * std::min(columns, kWidth))), r.threads,
                         [&](int64_t begin, int64_t end) {
                           for (int64_t t = begin; t < end; ++t) {
                             kept.walk(last, t / tiles, t / tiles + 1, [&](const int64_t(&offset)[2]) {
                               const int64_t j0 = t % tiles * kWidth, width = std::min(kWidth, columns - j0);
                               const T* a = from + offset[0] + j0 * xs;
                               T* b = to + offset[1] + j0 * ys;
                               if (side_by_side) {
                                 lines<T, kKind>(a, b, n, xa, ya, width, xs, ys);
                               } else {
                                 for (int64_t j = 0; j < width; ++j)
                                   lines<T, kKind>(a + j * xs, b + j * ys, n, xa, ya, 1, 0, 0);
                               }
                             });
                           }
                         });
  }

  template <class T, int kKind>
  void lines(const T* a, T* b, int64_t n, int64_t xa, int64_t ya, int64_t width, int64_t xs, int64_t ys) const {
    using O = Op<T, kKind>;
    typename O::Acc acc[kWidth];
    std::fill_n(acc, width, O::first());
    for (int64_t i = 0; i < n; ++i, a += xa, b += ya) {
      for (int64_t j = 0; j < width; ++j) {
        const auto next = O::step(acc[j], a[j * xs]);
        b[j * ys] = O::out(exclusive_ ? acc[j] : next);
        acc[j] = next;
      }
    }
  }

  const tg_host* host_;
  tg_dtype dtype_;
  int kind_, axis_;
  bool exclusive_, reverse_;
};

}  // namespace

std::unique_ptr<Plan> make_scan(Instance& instance, const tg_call& call) {
  return std::make_unique<ScanPlan>(instance, call);
}

}  // namespace tg::cpu
