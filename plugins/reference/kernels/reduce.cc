// SPDX-License-Identifier: Apache-2.0
//
// reduce: x -> y of x's rank with size 1 on the reduced axes. Floats accumulate in double and round once.

#include "common.h"

namespace tg::reference {
namespace {

// How one kind of reduction folds elements: an initial accumulator from the first element, the rest one by one.
template <class T>
struct Sum {
  using Acc = sum_t<T>;
  static Acc first(T x) { return Acc(compute_t<T>(x)); }
  static Acc next(Acc acc, T x) { return acc + Acc(compute_t<T>(x)); }
  static T last(Acc acc) { return round_to<T>(acc); }
};
template <class T>
struct Prod : Sum<T> {
  using Acc = sum_t<T>;
  static Acc next(Acc acc, T x) { return acc * Acc(compute_t<T>(x)); }
};
template <class T>
struct Max {
  using Acc = T;
  static Acc first(T x) { return x; }
  static Acc next(Acc acc, T x) { return larger(acc, x); }
  static T last(Acc acc) { return acc; }
};
template <class T>
struct Min : Max<T> {
  static T next(T acc, T x) { return smaller(acc, x); }
};

// The axes of x split into the kept and the reduced ones: for every kept position, a walk over the reduced ones.
struct Split {
  int32_t kept = 0, reduced = 0;
  int64_t kept_shape[TG_MAX_RANK], reduced_shape[TG_MAX_RANK];
  int64_t kept_x[TG_MAX_RANK], kept_y[TG_MAX_RANK], reduced_x[TG_MAX_RANK];
  Split(const tg_tensor& x, const tg_tensor& y, uint64_t axes) {
    for (int32_t i = 0; i < x.ndim; ++i) {
      if (axes >> i & 1) {
        reduced_shape[reduced] = x.shape[i];
        reduced_x[reduced++] = x.strides[i];
      } else {
        kept_shape[kept] = x.shape[i];
        kept_x[kept] = x.strides[i];
        kept_y[kept++] = y.strides[i];
      }
    }
  }
};

void check_shapes(const tg_tensor& x, const tg_tensor& y, uint64_t axes) {
  bool ok = x.ndim == y.ndim;
  for (int32_t i = 0; ok && i < x.ndim; ++i) ok = y.shape[i] == (axes >> i & 1 ? 1 : x.shape[i]);
  if (!ok)
    fail(TG_INVALID_ARGUMENT, "[reduce] expected an output of x's shape with 1 on the reduced axes, got %s for x %s",
         text(y).c_str(), text(x).c_str());
}

template <class T, class Fold>
class Reduce : public plugin::Plan {
 public:
  Reduce(const tg_host* host, uint64_t axes) : host_(host), axes_(axes) {}

  void run(const tg_run& run) override {
    const tg_tensor &x = *run.inputs[0], &y = *run.outputs[0];
    check_shapes(x, y, axes_);
    const Split split(x, y, axes_);
    const Walk<2> kept(split.kept, split.kept_shape, {split.kept_x, split.kept_y});
    const Walk<1> reduced(split.reduced, split.reduced_shape, {split.reduced_x});
    const T* from = data<const T>(x);
    T* to = data<T>(y);
    const int64_t per_output = reduced.outer() * reduced.inner();
    // Kept axis inside and contiguous (a column sum): fold whole rows, side by side, into a strip of accumulators.
    const bool strips = kept.inner() > 1 && kept.step(0) < reduced.step(0);
    parallel_rows(host_, run, kept.outer() * kept.inner(), per_output, [&](int64_t begin, int64_t end) {
      for_range(kept, begin, end, [&](int64_t from_offset, int64_t to_offset, int64_t n) {
        const T* row = from + from_offset;
        T* out = to + to_offset;
        if (strips) {
          fold_strips(reduced, row, kept.step(0), out, kept.step(1), n);
        } else {
          for (int64_t i = 0; i < n; ++i) out[i * kept.step(1)] = fold(reduced, row + i * kept.step(0));
        }
      });
    });
  }

 private:
  using Acc = typename Fold::Acc;

  // Positions [begin, end) of the kept walk as pieces of its innermost axis.
  template <class Piece>
  static void for_range(const Walk<2>& walk, int64_t begin, int64_t end, Piece&& piece) {
    const int64_t inner = walk.inner();
    int64_t row = begin / inner;
    walk.rows(row, (end + inner - 1) / inner, [&](const int64_t(&offset)[2]) {
      const int64_t lo = std::max(begin - row * inner, int64_t(0)), hi = std::min(end - row * inner, inner);
      piece(offset[0] + lo * walk.step(0), offset[1] + lo * walk.step(1), hi - lo);
      ++row;
    });
  }

  static T fold(const Walk<1>& walk, const T* from) {
    bool started = false;
    Acc acc{};
    walk.rows(0, walk.outer(), [&](const int64_t(&offset)[1]) {
      const T* x = from + offset[0];
      int64_t i = 0;
      if (!started) {
        acc = Fold::first(x[0]);
        started = true;
        i = 1;
      }
      for (; i < walk.inner(); ++i) acc = Fold::next(acc, x[i * walk.step(0)]);
    });
    return Fold::last(acc);
  }

  static void fold_strips(const Walk<1>& walk, const T* from, int64_t from_step, T* to, int64_t to_step, int64_t n) {
    constexpr int64_t kStrip = 256;
    Acc acc[kStrip];
    for (int64_t at = 0; at < n; at += kStrip) {
      const int64_t width = std::min(kStrip, n - at);
      bool started = false;
      walk.rows(0, walk.outer(), [&](const int64_t(&offset)[1]) {
        for (int64_t r = 0; r < walk.inner(); ++r) {
          const T* x = from + offset[0] + r * walk.step(0) + at * from_step;
          if (!started) {
            for (int64_t i = 0; i < width; ++i) acc[i] = Fold::first(x[i * from_step]);
            started = true;
          } else {
            for (int64_t i = 0; i < width; ++i) acc[i] = Fold::next(acc[i], x[i * from_step]);
          }
        }
      });
      for (int64_t i = 0; i < width; ++i) to[(at + i) * to_step] = Fold::last(acc[i]);
    }
  }

  const tg_host* host_;
  uint64_t axes_;
};

// The position of the extreme element along one axis: the first of equals, and the first NaN before all.
template <class T>
class ArgReduce : public plugin::Plan {
 public:
  ArgReduce(const tg_host* host, int32_t axis, bool maximum) : host_(host), axis_(axis), maximum_(maximum) {}

  void run(const tg_run& run) override {
    const tg_tensor &x = *run.inputs[0], &y = *run.outputs[0];
    check_shapes(x, y, uint64_t(1) << axis_);
    const int64_t n = x.shape[axis_], step = x.strides[axis_];
    const T* from = data<const T>(x);
    int64_t* to = data<int64_t>(y);
    lines<2>(host_, run, axis_, x, {&x, &y}, [&](const int64_t(&at)[2]) {
      const T* line = from + at[0];
      int64_t best = 0;
      for (int64_t i = 1; i < n && !is_nan(line[best * step]); ++i) {
        const auto a = value(line[i * step]), b = value(line[best * step]);
        if (is_nan(line[i * step]) || (maximum_ ? b < a : a < b)) best = i;
      }
      to[at[1]] = best;
    });
  }

 private:
  const tg_host* host_;
  int32_t axis_;
  bool maximum_;
};

template <class T>
PlanPtr make_typed(const tg_host* host, const tg_call& call, int64_t kind, uint64_t axes) {
  if (kind == TG_REDUCE_ARGMAX || kind == TG_REDUCE_ARGMIN) {
    if (axes == 0 || (axes & (axes - 1)))
      fail(TG_INVALID_ARGUMENT, "[reduce] argmax and argmin expect exactly one axis, got %u", call.attrs[1].n);
    require_dtype("reduce", "the output of argmax and argmin", plugin::dtype_of<int64_t>::value,
                  call.outputs[0]->dtype);
    int32_t axis = 0;
    while (!(axes >> axis & 1)) ++axis;
    return std::make_unique<ArgReduce<T>>(host, axis, kind == TG_REDUCE_ARGMAX);
  }
  require_dtype("reduce", "the output", call.inputs[0]->dtype, call.outputs[0]->dtype);
  switch (kind) {
    case TG_REDUCE_SUM:
      if constexpr (!is_bool<T>) return std::make_unique<Reduce<T, Sum<T>>>(host, axes);
      break;
    case TG_REDUCE_PROD:
      if constexpr (!is_bool<T>) return std::make_unique<Reduce<T, Prod<T>>>(host, axes);
      break;
    case TG_REDUCE_MAX:
      return std::make_unique<Reduce<T, Max<T>>>(host, axes);
    case TG_REDUCE_MIN:
      return std::make_unique<Reduce<T, Min<T>>>(host, axes);
    case TG_REDUCE_ANY:
      if constexpr (is_bool<T>) return std::make_unique<Reduce<T, Max<T>>>(host, axes);
      break;
    case TG_REDUCE_ALL:
      if constexpr (is_bool<T>) return std::make_unique<Reduce<T, Min<T>>>(host, axes);
      break;
    default:
      fail(TG_UNIMPLEMENTED, "[reduce] expected a kind in [0, 8), got %" PRId64, kind);
  }
  fail(TG_UNIMPLEMENTED, "[reduce] kind %" PRId64 " does not take dtype %s (sum, prod: numbers; any, all: bool)", kind,
       dtype_name(call.inputs[0]->dtype));
}

}  // namespace

PlanPtr make_reduce(const tg_host* host, const tg_call& call) {
  require_arguments(call, 1, 1);
  const int64_t kind = attr("reduce", call, 0, TG_ATTR_INT).v.i;
  const tg_attr& list = attr("reduce", call, 1, TG_ATTR_INTS);
  const tg_tensor& x = *call.inputs[0];
  uint64_t axes = 0;
  for (uint32_t i = 0; i < list.n; ++i) {
    const int64_t axis = list.v.ints[i];
    if (axis < 0 || axis >= x.ndim || axes >> axis)
      fail(TG_INVALID_ARGUMENT, "[reduce] expected ascending axes in [0, %d), got %" PRId64 " at place %u", x.ndim,
           axis, i);
    axes |= uint64_t(1) << axis;
  }
  return visit(x.dtype,
               [&](auto t) -> PlanPtr { return make_typed<typename decltype(t)::type>(host, call, kind, axes); });
}

}  // namespace tg::reference
