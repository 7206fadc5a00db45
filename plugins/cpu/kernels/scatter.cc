// SPDX-License-Identifier: Apache-2.0
//
// The floor's `scatter`: y[.., index[.., j, ..], ..] is set to, gains, or is raised to u[.., j, ..]. Elements can meet
// only along the axis, so the other axes are shared among threads and each line keeps its order: equal results for any
// number of threads. 16-bit sums run on an f32 copy of y in the workspace, rounded once.
#include <algorithm>
#include <type_traits>

#include "kernels/axes.h"
#include "kernels/gather.h"
#include "kernels/kernels.h"

namespace tg::cpu {
namespace {

using plugin::boolean;
using plugin::compute_t;

constexpr int64_t kGrain = 16384;

// y <- y op u; Y is float where T is a 16-bit float that is being summed.
template <int kKind, class Y, class T>
void apply(Y& y, T u) {
  if constexpr (kKind == TG_SCATTER_SET) {
    y = Y(u);
  } else if constexpr (std::is_same_v<T, boolean>) {
    y = boolean(bool(y) || bool(u));
  } else if constexpr (kKind == TG_SCATTER_ADD) {
    if constexpr (std::is_integral_v<T>) {
      y = Y(uint64_t(y) + uint64_t(u));
    } else {
      y = Y(compute_t<Y>(y) + compute_t<T>(u));
    }
  } else {
    const auto a = compute_t<Y>(y);
    const auto b = compute_t<T>(u);
    if (b > a || b != b) y = Y(u);
  }
}

class ScatterPlan final : public Plan {
 public:
  ScatterPlan(Instance& instance, const tg_call& call) : host_(instance.host) {
    dtype_ = call.inputs[1]->dtype;
    axis_ = int(call.attrs[0].v.i);
    kind_ = call.n_attrs > 1 ? int(call.attrs[1].v.i) : TG_SCATTER_SET;
    wide_ = call.inputs[0]->dtype.bits == 64;
    if (!is_index(call.inputs[0]->dtype))
      plugin::fail(TG_INVALID_ARGUMENT, "[scatter] expected i32 or i64 indices, got %s",
                   plugin::dtype_name(call.inputs[0]->dtype));
    if (axis_ < 0 || axis_ >= call.inputs[1]->ndim)
      plugin::fail(TG_INVALID_ARGUMENT, "[scatter] expected an axis in [0, %d), got %d", call.inputs[1]->ndim, axis_);
    if (kind_ < TG_SCATTER_SET || kind_ > TG_SCATTER_MAX)
      plugin::fail(TG_INVALID_ARGUMENT, "[scatter] expected set, add or max, got kind %d", kind_);
    if (dtype_.code == TG_CODE_BOOL && kind_ == TG_SCATTER_ADD)
      plugin::fail(TG_UNIMPLEMENTED, "[scatter] expected set or max for bool, got add");
    plugin::visit(dtype_, [&](auto tag) {
      using T = typename decltype(tag)::type;
      through_float_ = kind_ == TG_SCATTER_ADD && plugin::is_floating<T> && sizeof(T) == 2;
    });
  }

  uint64_t workspace(const tg_run& r) override {
    return through_float_ ? uint64_t(plugin::numel(*r.outputs[0])) * sizeof(float) : 0;
  }

  void run(const tg_run& r) override {
    plugin::visit(dtype_, [&](auto tag) {
      using T = typename decltype(tag)::type;
      const tg_tensor& y = *r.outputs[0];
      if (kind_ == TG_SCATTER_SET) return go<TG_SCATTER_SET, T, T>(r, plugin::data<T>(y), y.strides);
      if (kind_ == TG_SCATTER_MAX) return go<TG_SCATTER_MAX, T, T>(r, plugin::data<T>(y), y.strides);
      if constexpr (plugin::is_floating<T> && sizeof(T) == 2) {
        add_through_float<T>(r, y);
      } else if constexpr (!std::is_same_v<T, boolean>) {
        go<TG_SCATTER_ADD, T, T>(r, plugin::data<T>(y), y.strides);
      }
    });
  }

 private:
  template <class T>
  void add_through_float(const tg_run& r, const tg_tensor& y) const {
    float* sums = reinterpret_cast<float*>(static_cast<char*>(r.workspace) + r.workspace_offset);
    int64_t dense[TG_MAX_RANK], n = 1;
    for (int d = y.ndim - 1; d >= 0; --d) {
      dense[d] = n;
      n *= y.shape[d];
    }
    Axes<2> axes(y.ndim, y.shape, {y.strides, dense});
    axes.at_least_one();
    const int last = axes.rank - 1;
    T* own = plugin::data<T>(y);
    const auto each = [&](auto&& body) {
      plugin::parallel_for(host_, axes.count(last), std::max<int64_t>(1, kGrain / axes.inner()), r.threads,
                           [&](int64_t begin, int64_t end) {
                             axes.walk(last, begin, end, [&](const int64_t(&offset)[2]) {
                               for (int64_t i = 0; i < axes.inner(); ++i) {
                                 body(own[offset[0] + i * axes.step[0][last]],
                                      sums[offset[1] + i * axes.step[1][last]]);
                               }
                             });
                           });
    };
    each([](T& stored, float& sum) { sum = float(stored); });
    go<TG_SCATTER_ADD, float, T>(r, sums, dense);
    each([](T& stored, float& sum) { stored = T(sum); });
  }

  template <int kKind, class Y, class T>
  void go(const tg_run& r, Y* to, const int64_t* y_strides) const {
    wide_ ? lines<kKind, Y, T, int64_t>(r, to, y_strides) : lines<kKind, Y, T, int32_t>(r, to, y_strides);
  }

  template <int kKind, class Y, class T, class I>
  void lines(const tg_run& r, Y* to, const int64_t* y_strides) const {
    const tg_tensor& index = *r.inputs[0];
    const tg_tensor& u = *r.inputs[1];
    const I* at = plugin::data<const I>(index);
    const T* from = plugin::data<const T>(u);
    bool skip[TG_MAX_RANK] = {};
    skip[axis_] = true;
    Axes<3> kept(u.ndim, u.shape, {y_strides, index.strides, u.strides}, skip);
    kept.at_least_one();
    const int last = kept.rank - 1;
    const int64_t m = u.shape[axis_], inner = kept.inner();
    const int64_t ya = y_strides[axis_], ia = index.strides[axis_], ua = u.strides[axis_];
    const int64_t ys = kept.step[0][last], is = kept.step[1][last], us = kept.step[2][last];
    Indices indices(r.outputs[0]->shape[axis_]);

    // Lines [c0, c1) of one row of the other axes.
    const auto row = [&](Y* y, const I* i, const T* v, int64_t c0, int64_t c1) {
      if (is == 0) {
        for (int64_t j = 0; j < m; ++j) {
          const int64_t p = indices.position(int64_t(i[j * ia]));
          if (p < 0) continue;
          Y* target = y + p * ya;
          const T* source = v + j * ua;
          if (ys == 1 && us == 1) {
            for (int64_t c = c0; c < c1; ++c) apply<kKind>(target[c], source[c]);
          } else {
            for (int64_t c = c0; c < c1; ++c) apply<kKind>(target[c * ys], source[c * us]);
          }
        }
        return;
      }
      const auto one = [&](int64_t c, int64_t j) {
        const int64_t p = indices.position(int64_t(i[c * is + j * ia]));
        if (p >= 0) apply<kKind>(y[c * ys + p * ya], v[c * us + j * ua]);
      };
      if (ua < us) {
        for (int64_t c = c0; c < c1; ++c) {
          for (int64_t j = 0; j < m; ++j) one(c, j);
        }
      } else {
        for (int64_t j = 0; j < m; ++j) {
          for (int64_t c = c0; c < c1; ++c) one(c, j);
        }
      }
    };
    // Threads share whole cache lines of columns at least.
    const int64_t grain = std::max<int64_t>(kGrain / m, 16);
    plugin::parallel_for(host_, kept.count(), grain, r.threads, [&](int64_t begin, int64_t end) {
      for (int64_t p = begin; p < end;) {
        const int64_t outer = p / inner, c0 = p - outer * inner, c1 = std::min(inner, c0 + end - p);
        kept.walk(last, outer, outer + 1,
                  [&](const int64_t(&offset)[3]) { row(to + offset[0], at + offset[1], from + offset[2], c0, c1); });
        p += c1 - c0;
      }
    });
    indices.check("scatter", axis_);
  }

  const tg_host* host_;
  tg_dtype dtype_;
  int axis_, kind_;
  bool wide_, through_float_ = false;
};

}  // namespace

std::unique_ptr<Plan> make_scatter(Instance& instance, const tg_call& call) {
  return std::make_unique<ScatterPlan>(instance, call);
}

}  // namespace tg::cpu
