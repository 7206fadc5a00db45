// SPDX-License-Identifier: Apache-2.0
// Copies and casts.
#include "common.h"

namespace tg {
namespace {

// Bytes seen as pairs of 4-bit integers, and the other way round.
Shape halved(const Inference& c, DType from, DType to) {
  c.check(size_of(is_packed(from) ? to : from) == 1, "expected a dtype of one byte beside ", long_name_of(is_packed(from) ? from : to),
          ", got ", long_name_of(is_packed(from) ? to : from));
  Shape s = c.input(0).shape;
  c.check(!s.empty(), "expected at least one axis, got shape ()");
  if (is_packed(to)) {
    s.back() = s.back() * Dim(2);
    return s;
  }
  c.check(!s.back().is_constant() || s.back().value() % 2 == 0, "expected a last axis of an even size, got shape ", str(s));
  s.back() = floor_div(s.back(), 2);
  return s;
}

}  // namespace

TG_OPS(copy) {
  TG_OP(copy)
      .kernel()
      .family("shape")
      .doc("A contiguous copy.")
      .input("x", "any tensor")
      .infer(same_as_first)
      .grad([](const Backward& b) { return Tensors{b.grad()}; })
      .saves(0, 0)
      .linear({{0}})
      .batch_axes({})
      .bounds(0, "exact")
      .example(">>> tg.copy(tg.tensor([1., 2.])).tolist()\n[1.0, 2.0]");

  TG_OP(cast)
      .family("elementwise")
      .doc(
          "x as another dtype. Floats to integers: towards zero, saturating, NaN to 0; integers wrap; to bool: x != 0. "
          "int4 and uint4 alike.")
      .input("x", "any tensor")
      .attr("dtype", AttrKind::dtype, "the result's dtype")
      .map(Promotion::none, [](MapBuilder& b, Values in, AttrSpan attrs) { return b.cast(in[0], attrs[0].dtype()); })
      .grad([](const Backward& b) { return Tensors{b.grad().cast(b.input_dtype(0))}; })
      .saves(0, 0)
      .bounds(0.5, "one rounding")
      .example(">>> tg.cast(tg.tensor([1.7, -1.7]), tg.int32).tolist()\n[1, -1]");

  // Bits seen as another dtype: random words (u32) as i32, which every plugin computes with.
  TG_OP(bitcast)
      .family("shape")
      .doc("The same bits seen as another dtype of equal size: a view. 4-bit integers are seen as bytes of two, the first in "
           "the low half: the last axis is half as long. Errors: ValueError for another size.")
      .input("x", "any tensor")
      .attr("dtype", AttrKind::dtype, "dtype of x's element size")
      .infer([](const Inference& c) {
        const DType from = c.input(0).dtype, to = c.attr(0).dtype();
        if (is_packed(from) != is_packed(to)) return one({to, halved(c, from, to)});
        c.check(is_packed(from) || size_of(from) == size_of(to), "expected a dtype of as many bytes as ", long_name_of(from),
                ", got ", long_name_of(to));
        check_type(c.attr(0).dtype() != DType::boolean || c.input(0).dtype == DType::boolean, c.name(),
                   "a dtype other than bool", c.attr(0).dtype());
        return one({c.attr(0).dtype(), c.input(0).shape});
      })
      .view([](const Call& c) {
        const Ints shape = concrete(infer_now(c)[0].shape);
        const Tensor& x = c.input(0);
        const bool same_axes = shape == x.shape();
        check(same_axes || x.is_contiguous(), "[bitcast] expected a contiguous tensor to pack, got strides ", str(x.strides()));
        return Tensors{Tensor(Ref<TensorImpl>::adopt(new TensorImpl(
            x.storage(), c.attr(0).dtype(), shape, same_axes ? x.strides() : contiguous_strides(shape), x.impl()->desc.byte_offset)))};
      })
      .no_grad()
      .batch_axes({})
      .bounds(0, "exact")
      .example(">>> tg.bitcast(tg.tensor([1.0]), tg.int32).tolist()\n[1065353216]");
}

}  // namespace tg
