// SPDX-License-Identifier: Apache-2.0
// Running maxima, minima with their places, and running logsumexp. (cumsum and cumprod: order.cc.)
#include "common.h"

namespace tg {
namespace {

int64_t axis_of(const char* op, const Attr& axis, int64_t rank) { return normalize_axis(op, axis.integer(), rank); }

// 0 .. n-1 along an axis, spread over the other ones.
Tensor places(const Ints& shape, int64_t axis, Device* device) {
  Ints line(shape.size(), 1);
  line[axis] = shape[axis];
  return expand(reshape(iota(shape[axis], 0, 1, DType::i64, device), line), shape);
}

// The place of y[i] is the last one up to i where x is y[i] (NaN once there was one): a running maximum of places.
template <int kind>
void running(OpBuilder o, const char* doc, const char* example) {
  o.family("scan")
      .doc(doc)
      .input("x", "a tensor of at least one axis")
      .attr("axis", AttrKind::integer, "the axis")
      .output("values", "x's shape and dtype")
      .output("indices", "i64, x's shape")
      .infer([](const Inference& c) {
        axis_of(c.name(), c.attr(0), int64_t(c.input(0).shape.size()));
        return Specs{c.input(0), {DType::i64, c.input(0).shape}};
      })
      .decompose([](const Call& c) {
        infer_now(c);
        const Tensor& x = c.input(0);
        const int64_t axis = axis_of(c.op.name.c_str(), c.attr(0), x.rank());
        const Tensor y = op<"floor_scan">({x}, {kind, axis, false, false});
        Tensor here = op<"eq">({x, y});
        if (is_floating(x.dtype())) here = op<"logical_or">({here, op<"isnan">({x})});
        const Tensor place = op<"where">({here, places(x.shape(), axis, x.device()), 0});
        return Tensors{y, op<"floor_scan">({place}, {TG_REDUCE_MAX, axis, false, false})};
      })
      .grad([](const Backward& b) {
        if (!b.grad(0).defined()) return Tensors{Tensor()};
        return Tensors{op<"scatter_add">({zeros_like(b.grad(0)), b.output(1), b.grad(0)}, {b.attr(0)})};
      })
      .jvp([](const Forward& f) {
        return Tensors{op<"take_along_axis">({f.tangent(0), f.output(1)}, {f.attr(0)}), Tensor()};
      })
      .saves(0, 2)
      .bounds(0, "exact")
      .example(example);
}

}  // namespace

TG_OPS(cumulative) {
  running<TG_REDUCE_MAX>(
      TG_OP(cummax),
      "The largest element up to each place along an axis, and where it is: the last of equals; NaN stays.",
      ">>> [v.tolist() for v in tg.cummax(tg.tensor([1, 3, 2, 3]), 0)]\n[[1, 3, 3, 3], [0, 1, 1, 3]]");
  running<TG_REDUCE_MIN>(
      TG_OP(cummin),
      "The smallest element up to each place along an axis, and where it is: the last of equals; NaN stays.",
      ">>> [v.tolist() for v in tg.cummin(tg.tensor([3, 1, 2, 1]), 0)]\n[[3, 1, 1, 1], [0, 1, 1, 3]]");

  // Runs of doubled length, combined by logaddexp: log2(n) passes, each element the sum of what is before it.
  TG_OP(logcumsumexp)
      .amp(Amp::f32)
      .family("scan")
      .doc("log(exp(x[0]) + ... + exp(x[i])) along an axis, without overflow. Errors: TypeError for integers.")
      .input("x", "floats of at least one axis")
      .attr("axis", AttrKind::integer, "the axis")
      .infer([](const Inference& c) {
        check_type(is_floating(c.input(0).dtype), c.name(), "floats (cast integers first)", c.input(0).dtype);
        axis_of(c.name(), c.attr(0), int64_t(c.input(0).shape.size()));
        return one(c.input(0));
      })
      .decompose([](const Call& c) {
        infer_now(c);
        const DType t = c.input(0).dtype();
        const int64_t axis = axis_of("logcumsumexp", c.attr(0), c.input(0).rank());
        Tensor y = c.input(0).cast(acc_dtype(t));
        const int64_t n = y.size(axis);
        for (int64_t d = 1; d < n; d *= 2) {
          const Tensor sums = op<"logaddexp">({slice(y, axis, d, n), slice(y, axis, 0, n - d)});
          const Arg parts[] = {slice(y, axis, 0, d), sums};
          const Attr at[] = {Attr(axis)};
          y = call_one(op_named<"concat">(), parts, at);
        }
        return Tensors{y.cast(t)};
      })
      .bounds(24, "logaddexp's, once per doubling, relative to 1 + |result| + |x|")
      .example(">>> tg.logcumsumexp(tg.tensor([1000., 0.]), 0).tolist()\n[1000.0, 1000.0]");
}

}  // namespace tg
