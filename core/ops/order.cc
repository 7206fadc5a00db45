// SPDX-License-Identifier: Apache-2.0
// Running sums and sorting.
#include "common.h"

namespace tg {
namespace {

int64_t axis_of(const char* op, const Attr& axis, int64_t rank) { return normalize_axis(op, axis.integer(), rank); }

template <int kind>
void running(OpBuilder o, const char* doc, const char* example) {
  o.family("scan")
      .doc(doc)
      .input("x", "a tensor of numbers or bools")
      .attr("axis", AttrKind::integer, "the axis")
      .optional_attr("dtype", AttrKind::dtype, "the result's, to which x is cast first")
      .infer([](const Inference& c) {
        axis_of(c.name(), c.attr(0), int64_t(c.input(0).shape.size()));
        return one({sum_dtype(c, 1), c.input(0).shape});
      })
      .decompose([](const Call& c) {
        const DType t = infer_now(c)[0].dtype;
        return Tensors{op<"floor_scan">(
            {c.input(0).cast(t)}, {kind, axis_of(c.op.name.c_str(), c.attr(0), c.input(0).rank()), false, false})};
      })
      .bounds(1, "position along the axis, relative to the magnitudes before it")
      .example(example);
}

OpBuilder sorting(OpBuilder o) {
  return o.family("order")
      .input("x", "a tensor of at least one axis")
      .attr("axis", AttrKind::integer, -1, "the axis")
      .attr("descending", AttrKind::boolean, false, "largest first");
}

}  // namespace

TG_OPS(order) {
  running<TG_REDUCE_SUM>(TG_OP(cumsum).amp(Amp::f32), "y[i] = x[0] + ... + x[i] along an axis; dtypes as sum.",
                         ">>> tg.cumsum(tg.tensor([1, 2, 3]), 0).tolist()\n[1, 3, 6]");
  running<TG_REDUCE_PROD>(
      TG_OP(cumprod).amp(Amp::f32),
      "y[i] = x[0] * ... * x[i] along an axis; dtypes as sum.",
      ">>> tg.cumprod(tg.tensor([1, 2, 3]), 0).tolist()\n[1, 2, 6]");

  sorting(TG_OP(sort))
      .doc("Sorts along an axis: the values, and where each was. Stable; NaN last.")
      .output("values", "x's shape and dtype")
      .output("indices", "i64, x's shape")
      .infer([](const Inference& c) {
        axis_of(c.name(), c.attr(0), int64_t(c.input(0).shape.size()));
        return Specs{c.input(0), {DType::i64, c.input(0).shape}};
      })
      .decompose([](const Call& c) {
        return ops<"floor_sort">({c.input(0)}, {axis_of("sort", c.attr(0), c.input(0).rank()), c.attr(1)});
      })
      .bounds(0, "exact")
      .example(">>> tg.sort(tg.tensor([3, 1, 2])).values.tolist()\n[1, 2, 3]");

  sorting(TG_OP(argsort))
      .doc("The indices that sort x along an axis. Stable; NaN last.")
      .output("indices", "i64, x's shape")
      .infer([](const Inference& c) {
        axis_of(c.name(), c.attr(0), int64_t(c.input(0).shape.size()));
        return one({DType::i64, c.input(0).shape});
      })
      .decompose([](const Call& c) {
        return Tensors{
            ops<"floor_sort">({c.input(0)}, {axis_of("argsort", c.attr(0), c.input(0).rank()), c.attr(1)})[1]};
      })
      .no_grad()
      .bounds(0, "exact")
      .example(">>> tg.argsort(tg.tensor([3, 1, 2])).tolist()\n[1, 2, 0]");

  TG_OP(topk)
      .family("order")
      .doc(
          "The k largest (or smallest) elements along an axis, in order, and where they were. NaN counts as last both "
          "ways. "
          "Errors: ValueError for k beyond the axis.")
      .input("x", "a tensor of at least one axis")
      .attr("k", AttrKind::integer, "how many")
      .attr("axis", AttrKind::integer, -1, "the axis")
      .attr("largest", AttrKind::boolean, true, "False: the smallest")
      .output("values", "size k on the axis")
      .output("indices", "i64")
      .infer([](const Inference& c) {
        TensorSpec y = c.input(0);
        Dim& n = y.shape[size_t(axis_of(c.name(), c.attr(1), int64_t(y.shape.size())))];
        const int64_t k = c.attr(0).integer();
        c.check(k >= 0 && (!n.is_constant() || k <= n.value()), "expected k between 0 and ", n, ", got ", k);
        n = k;
        return Specs{y, {DType::i64, y.shape}};
      })
      .decompose([](const Call& c) {
        infer_now(c);
        const int64_t axis = axis_of("topk", c.attr(1), c.input(0).rank());
        const Tensors sorted = ops<"floor_sort">({c.input(0)}, {axis, c.attr(2)});
        return Tensors{slice(sorted[0], axis, 0, c.attr(0).integer()), slice(sorted[1], axis, 0, c.attr(0).integer())};
      })
      .bounds(0, "exact")
      .example(">>> tg.topk(tg.tensor([3, 1, 2]), 2).values.tolist()\n[3, 2]");

  TG_OP(kthvalue)
      .family("order")
      .doc("The k-th smallest element along an axis, and its place. NaN comes last. Errors: ValueError for k beyond the axis.")
      .input("x", "a tensor of at least one axis")
      .attr("k", AttrKind::integer, "counted from 1")
      .attr("axis", AttrKind::integer, -1, "the axis")
      .attr("keepdims", AttrKind::boolean, false, "leave the axis with size 1")
      .output("values", "x's dtype")
      .output("indices", "i64")
      .infer([](const Inference& c) {
        const Shape& x = c.input(0).shape;
        const int64_t axis = axis_of(c.name(), c.attr(1), int64_t(x.size())), k = c.attr(0).integer();
        const Dim& n = x[size_t(axis)];
        c.check(k >= 1 && (!n.is_constant() || k <= n.value()), "expected k between 1 and ", n, ", got ", k);
        const Shape y = reduced_shape(x, Ints{axis}, c.attr(2).boolean());
        return Specs{{c.input(0).dtype, y}, {DType::i64, y}};
      })
      .decompose([](const Call& c) {
        const Ints shape = concrete(infer_now(c)[0].shape);
        const int64_t axis = axis_of("kthvalue", c.attr(1), c.input(0).rank()), k = c.attr(0).integer();
        const Tensors sorted = ops<"floor_sort">({c.input(0)}, {axis, false});
        return Tensors{reshape(slice(sorted[0], axis, k - 1, k), shape), reshape(slice(sorted[1], axis, k - 1, k), shape)};
      })
      .bounds(0, "exact")
      .example(">>> [v.item() for v in tg.kthvalue(tg.tensor([3, 1, 2]), 2)]\n[2, 2]");
}

}  // namespace tg
