// SPDX-License-Identifier: Apache-2.0
// Largest and smallest elements and where they are; any and all.
#include "common.h"

namespace tg {
namespace {

Ints axes_of(const Call& c) { return normalize_axes(c.op.name.c_str(), c.attr(0).ints(), c.input(0).rank()); }

Tensor without(const Tensor& y, const Ints& axes, bool keep) {
  return keep ? y : reshape(y, reduced_shape(y.shape(), axes, false));
}

void nonempty(const Inference& c, const Ints& axes) {
  for (int64_t a : axes)
    c.check(!(c.input(0).shape[size_t(a)] == Dim(0)), "expected at least one element along axis ", a, ", got shape ",
            str(c.input(0).shape));
}

template <int kind>
void extremum(OpBuilder o, const char* doc, const char* example) {
  o.family("reduction")
      .doc(doc)
      .input("x", "any tensor")
      .attr("axis", AttrKind::ints, Ints{}, "one axis or several; all by default")
      .attr("keepdims", AttrKind::boolean, false, "leave the axes with size 1")
      .infer([](const Inference& c) {
        const Ints axes = normalize_axes(c.name(), c.attr(0).ints(), int64_t(c.input(0).shape.size()));
        nonempty(c, axes);
        return one({c.input(0).dtype, reduced_shape(c.input(0).shape, axes, c.attr(1).boolean())});
      })
      .decompose([](const Call& c) {
        infer_now(c);
        const Ints axes = axes_of(c);
        return Tensors{without(op<"floor_reduce">({c.input(0)}, {kind, axes}), axes, c.attr(1).boolean())};
      })
      .batch_axes({"axis"})
      .bounds(0, "exact")
      .example(example);
}

// One axis, or the flattened tensor.
template <int kind>
void position(OpBuilder o, const char* doc, const char* example) {
  o.family("reduction")
      .doc(doc)
      .input("x", "any tensor")
      .optional_attr("axis", AttrKind::integer, "the axis; by default x counts as flat")
      .attr("keepdims", AttrKind::boolean, false, "leave the axis with size 1")
      .output("index", "i64")
      .infer([](const Inference& c) {
        const Shape& s = c.input(0).shape;
        Ints axes;
        if (c.attr(0).given())
          axes.push_back(normalize_axis(c.name(), c.attr(0).integer(), int64_t(s.size())));
        else
          axes = normalize_axes(c.name(), {}, int64_t(s.size()));
        nonempty(c, axes);
        return one({DType::i64, reduced_shape(s, axes, c.attr(1).boolean())});
      })
      .decompose([](const Call& c) {
        const Ints shape = concrete(infer_now(c)[0].shape);
        const bool flat = !c.attr(0).given() || c.input(0).rank() == 0;
        const Tensor x = flat ? reshape(c.input(0), {c.input(0).numel()}) : c.input(0);
        const int64_t axis = flat ? 0 : normalize_axis(c.op.name.c_str(), c.attr(0).integer(), x.rank());
        return Tensors{reshape(op<"floor_reduce">({x}, {kind, Ints{axis}}), shape)};
      })
      .no_grad()
      .batch_axes({"axis"})
      .bounds(0, "exact")
      .example(example);
}

template <int kind>
void truth(OpBuilder o, const char* doc, const char* example) {
  o.family("reduction")
      .doc(doc)
      .input("x", "any tensor")
      .attr("axis", AttrKind::ints, Ints{}, "one axis or several; all by default")
      .attr("keepdims", AttrKind::boolean, false, "leave the axes with size 1")
      .output("y", "bool")
      .infer([](const Inference& c) {
        const Ints axes = normalize_axes(c.name(), c.attr(0).ints(), int64_t(c.input(0).shape.size()));
        return one({DType::boolean, reduced_shape(c.input(0).shape, axes, c.attr(1).boolean())});
      })
      .decompose([](const Call& c) {
        const Ints axes = axes_of(c);
        return Tensors{
            without(op<"floor_reduce">({c.input(0).cast(DType::boolean)}, {kind, axes}), axes, c.attr(1).boolean())};
      })
      .no_grad()
      .batch_axes({"axis"})
      .bounds(0, "exact")
      .example(example);
}

}  // namespace

TG_OPS(extrema) {
  extremum<TG_REDUCE_MAX>(
      TG_OP(max),
      "The largest element over axes; NaN if any is. Equals share the gradient. Errors: ValueError over no elements.",
      ">>> tg.max(tg.tensor([[1, 5], [3, 4]]), axis=1).tolist()\n[5, 4]");
  extremum<TG_REDUCE_MIN>(
      TG_OP(min),
      "The smallest element over axes; NaN if any is. Equals share the gradient. Errors: ValueError over no elements.",
      ">>> tg.min(tg.tensor([[1, 5], [3, 4]]), axis=1).tolist()\n[1, 3]");
  position<TG_REDUCE_ARGMAX>(
      TG_OP(argmax),
      "Where the largest element is: the first of equals; the first NaN wins. Errors: ValueError over no elements.",
      ">>> tg.argmax(tg.tensor([1, 5, 3])).item()\n1");
  position<TG_REDUCE_ARGMIN>(
      TG_OP(argmin),
      "Where the smallest element is: the first of equals; the first NaN wins. Errors: ValueError over no elements.",
      ">>> tg.argmin(tg.tensor([4, 1, 3])).item()\n1");
  truth<TG_REDUCE_ANY>(TG_OP(any), "Whether any element is not 0; False for none.",
                       ">>> tg.any(tg.tensor([0, 2])).item()\nTrue");
  truth<TG_REDUCE_ALL>(TG_OP(all), "Whether all elements are not 0; True for none.",
                       ">>> tg.all(tg.tensor([0, 2])).item()\nFalse");
}

}  // namespace tg
