// SPDX-License-Identifier: Apache-2.0
// Elements by mask: where a mask holds, the elements there, and others put there.
#include "index.h"

namespace tg {
namespace {

// Row-major, how many True there are up to and with each element.
Tensor counted(const Tensor& mask) {
  const Tensor flat = reshape(mask, {mask.numel()}).cast(DType::boolean).cast(DType::i64);
  return op<"floor_scan">({flat}, {TG_REDUCE_SUM, int64_t(0), false, false});
}

Specs masked(const Inference& c, size_t out) {
  const Shape &x = c.input(0).shape, &mask = c.input(1).shape;
  check_type(c.input(1).dtype == DType::boolean, c.name(), "a mask of bools", c.input(1).dtype);
  const Shape s = broadcast(c.name(), x, mask);
  if (out == 0) return one({c.input(0).dtype, Shape{Dim::symbol("count_nonzero(mask)")}});
  c.check(s == x, "expected a mask that broadcasts to x's shape ", str(x), ", got ", str(mask));
  check_type(c.input(2).dtype == c.input(0).dtype, c.name(), "values of x's dtype", c.input(2).dtype);
  return one(c.input(0));
}

}  // namespace

TG_OPS(masked) {
  TG_OP(masked_select)
      .family("index")
      .doc(
          "The elements of x where the mask holds, row-major, as one axis; both broadcast to each other. Their number is "
          "data: the call waits for the device.")
      .input("x", "any tensor")
      .input("mask", "bool")
      .output("y", "[number of True]")
      .infer([](const Inference& c) { return masked(c, 0); })
      .decompose([](const Call& c) {
        infer_now(c);
        const Ints shape = concrete(broadcast("masked_select", symbolic(c.input(0).shape()), symbolic(c.input(1).shape())));
        const int64_t n = numel(shape);
        const Tensors found = ops<"nonzero_padded">({reshape(expand(c.input(1), shape), {n})});
        const Tensor at = reshape(slice(found[0], 0, 0, int64_t(found[1].item())), {-1});
        return Tensors{op<"index">({reshape(expand(c.input(0), shape), {n}), at}, {Ints{0}})};
      })
      .bounds(0, "exact")
      .example(">>> x = tg.tensor([1, 2, 3])\n>>> tg.masked_select(x, x > 1).tolist()\n[2, 3]");

  TG_OP(masked_scatter)
      .amp(Amp::promote)
      .family("index")
      .doc(
          "x with the elements of `source`, in row-major order, where the mask holds. "
          "Errors: IndexError where source has fewer elements than the mask has True.")
      .input("x", "any tensor")
      .input("mask", "bool, broadcasts to x's shape")
      .input("source", "x's dtype, at least as many elements as the mask has True")
      .infer([](const Inference& c) { return masked(c, 1); })
      .decompose([](const Call& c) {
        infer_now(c);
        const Tensor &x = c.input(0), mask = expand(c.input(1), x.shape());
        if (x.numel() == 0) return Tensors{op<"copy">({x})};
        const Tensor at =
            op<"where">({mask, reshape(op<"sub">({counted(mask), 1}), x.shape()), int64_t(0)});
        Tensor source = reshape(c.input(2), {c.input(2).numel()});
        if (source.numel() == 0) {
          if (op<"any">({mask}).item() != 0)
            raise(ErrorKind::index, "[masked_scatter] expected a source of as many elements as the mask has True, got 0");
          return Tensors{op<"copy">({x})};
        }
        return Tensors{op<"where">({mask, op<"index">({source, at}, {Ints{0}}), x})};
      })
      .bounds(0, "exact")
      .example(
          ">>> x = tg.tensor([1, 2, 3])\n>>> tg.masked_scatter(x, x > 1, tg.tensor([7, 8])).tolist()\n[1, 7, 8]");
}

}  // namespace tg
