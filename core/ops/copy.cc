// SPDX-License-Identifier: Apache-2.0
// Copies and casts.
#include "common.h"

namespace tg {

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
          "x as another dtype. Floats to integers: towards zero, saturating, NaN to 0; integers wrap; to bool: x != 0.")
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
      .doc("The same bits seen as another dtype of equal size: a view. Errors: ValueError for another size.")
      .input("x", "any tensor")
      .attr("dtype", AttrKind::dtype, "dtype of x's element size")
      .infer([](const Inference& c) {
        c.check(size_of(c.input(0).dtype) == size_of(c.attr(0).dtype()), "expected a dtype of ",
                size_of(c.input(0).dtype), " bytes, got ", long_name_of(c.attr(0).dtype()));
        check_type(c.attr(0).dtype() != DType::boolean || c.input(0).dtype == DType::boolean, c.name(),
                   "a dtype other than bool", c.attr(0).dtype());
        return one({c.attr(0).dtype(), c.input(0).shape});
      })
      .view([](const Call& c) {
        infer_now(c);
        const Tensor& x = c.input(0);
        return Tensors{Tensor(Ref<TensorImpl>::adopt(
            new TensorImpl(x.storage(), c.attr(0).dtype(), x.shape(), x.strides(), x.impl()->desc.byte_offset)))};
      })
      .no_grad()
      .batch_axes({})
      .bounds(0, "exact")
      .example(">>> tg.bitcast(tg.tensor([1.0]), tg.int32).tolist()\n[1065353216]");
}

}  // namespace tg
