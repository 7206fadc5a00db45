// SPDX-License-Identifier: Apache-2.0
// Elementwise ops of three operands and more: choices, bounds, interpolation, fused products.
#include "common.h"

namespace tg {
namespace {

Tensor mul(const Arg& a, const Arg& b) { return op<"mul">({a, b}); }
Tensor where(const Tensor& mask, const Arg& a, const Arg& b) { return op<"where">({mask, a, b}); }

void numeric(const char* op, DType t) { check_type(t != DType::boolean, op, "numbers", t); }

}  // namespace

TG_OPS(ternary) {
  TG_OP(where)
      .family("elementwise")
      .doc("x where the condition holds, else y.")
      .input("condition", "bool; numbers: not 0")
      .input("x", "a tensor or a number")
      .input("y", "a tensor or a number")
      .output("z", "the broadcast shape, x and y's promoted dtype")
      .map(Promotion::where,
           [](MapBuilder& b, Values in, AttrSpan) { return b.emit(TG_MAP_WHERE, in[0], in[1], in[2]); })
      .grad([](const Backward& b) {
        return Tensors{Tensor(), b.need(1) ? where(b.input(0), b.grad(), 0.0) : Tensor(),
                       b.need(2) ? where(b.input(0), 0.0, b.grad()) : Tensor()};
      })
      .saves(1, 0)
      .bounds(0, "exact")
      .example(">>> tg.where(tg.tensor([True, False]), tg.tensor([1., 2.]), 0.0).tolist()\n[1.0, 0.0]");

  TG_OP(clip)
      .family("elementwise")
      .doc(
          "min(max(x, low), high); high where low > high; NaN if any is. The gradient is x's inside the bounds and on "
          "them, else the bound's.")
      .input("x", "a tensor")
      .input("low", "a tensor or a number; -inf for none")
      .input("high", "a tensor or a number; inf for none")
      .map(Promotion::common,
           [](MapBuilder& b, Values in, AttrSpan) {
             numeric("clip", in[0].dtype);
             return b.emit(TG_MAP_CLIP, in[0], in[1], in[2]);
           })
      .grad([](const Backward& b) {
        Tensors out(3);
        Device* device = b.grad().device();
        const Tensor below = op<"lt">({b.arg(0), b.arg(1)}, {}, device);
        const Tensor above = op<"gt">({op<"maximum">({b.arg(0), b.arg(1)}, {}, device), b.arg(2)});
        if (b.need(0)) out[0] = where(op<"logical_or">({below, above}), 0.0, b.grad());
        if (b.need(1)) out[1] = where(op<"logical_and">({below, op<"logical_not">({above})}), b.grad(), 0.0);
        if (b.need(2)) out[2] = where(above, b.grad(), 0.0);
        return out;
      })
      .saves(7, 0)
      .bounds(0, "exact")
      .example(">>> tg.clip(tg.tensor([-1., 0.5, 9.]), 0.0, 1.0).tolist()\n[0.0, 0.5, 1.0]");

  TG_OP(fma)
      .family("elementwise")
      .doc("x * y + z with one rounding.")
      .input("x", "a tensor")
      .input("y", "a tensor or a number")
      .input("z", "a tensor or a number")
      .output("w", "the broadcast shape, the promoted dtype")
      .map(Promotion::common,
           [](MapBuilder& b, Values in, AttrSpan) {
             numeric("fma", in[0].dtype);
             return b.emit(TG_MAP_FMA, in[0], in[1], in[2]);
           })
      .grad([](const Backward& b) {
        return Tensors{b.need(0) ? mul(b.grad(), b.arg(1)) : Tensor(), b.need(1) ? mul(b.grad(), b.arg(0)) : Tensor(),
                       b.grad()};
      })
      .saves(3, 0)
      .bounds(0.5, "one rounding")
      .example(">>> tg.fma(tg.tensor([2.]), 3.0, 1.0).tolist()\n[7.0]");

  TG_OP(lerp)
      .family("elementwise")
      .doc("x + weight * (y - x).")
      .input("x", "a tensor")
      .input("y", "a tensor")
      .input("weight", "a tensor or a number")
      .output("z", "the broadcast shape, the promoted dtype, floating")
      .map(Promotion::common_float,
           [](MapBuilder& b, Values in, AttrSpan) {
             return b.emit(TG_MAP_ADD, in[0], b.emit(TG_MAP_MUL, in[2], b.emit(TG_MAP_SUB, in[1], in[0])));
           })
      .grad([](const Backward& b) {
        const Arg& w = b.arg(2);
        const bool number = w.kind == Arg::scalar && w.s.kind == Scalar::complex;  // minus() sees its real part alone
        const Arg rest = number ? Arg(Scalar::of_complex(1 - w.s.f, -w.s.im)) : b.need(0) ? minus(1.0, w) : Arg();
        return Tensors{b.need(0) ? mul(b.grad(), rest) : Tensor(),
                       b.need(1) ? mul(b.grad(), b.arg(2)) : Tensor(),
                       b.need(2) ? mul(b.grad(), minus(b.arg(1), b.arg(0))) : Tensor()};
      })
      .saves(7, 0)
      .bounds(4, "three roundings, relative to |x| + |weight| (|x| + |y|)")
      .example(">>> tg.lerp(tg.tensor([0.]), tg.tensor([10.]), 0.5).tolist()\n[5.0]");

  TG_OP(addcmul)
      .family("elementwise")
      .doc("x + value * y * z.")
      .input("x", "a tensor")
      .input("y", "a tensor")
      .input("z", "a tensor")
      .input("value", "a number")
      .output("w", "the broadcast shape, the promoted dtype")
      .map(Promotion::common,
           [](MapBuilder& b, Values in, AttrSpan) {
             numeric("addcmul", in[0].dtype);
             return b.emit(TG_MAP_ADD, in[0], b.emit(TG_MAP_MUL, in[3], b.emit(TG_MAP_MUL, in[1], in[2])));
           })
      .grad([](const Backward& b) {
        const Tensor g = mul(b.grad(), b.arg(3));
        return Tensors{b.grad(), b.need(1) ? mul(g, b.arg(2)) : Tensor(), b.need(2) ? mul(g, b.arg(1)) : Tensor(),
                       b.need(3) ? mul(b.grad(), times(b.arg(1), b.arg(2))) : Tensor()};
      })
      .saves(14, 0)
      .bounds(3, "three roundings, relative to |x| + |value y z|")
      .example(">>> tg.addcmul(tg.tensor([1.]), tg.tensor([2.]), tg.tensor([3.]), 0.5).tolist()\n[4.0]");

  TG_OP(addcdiv)
      .family("elementwise")
      .doc("x + value * y / z.")
      .input("x", "a tensor")
      .input("y", "a tensor")
      .input("z", "a tensor")
      .input("value", "a number")
      .output("w", "the broadcast shape, the promoted dtype, floating")
      .map(Promotion::common_float,
           [](MapBuilder& b, Values in, AttrSpan) {
             return b.emit(TG_MAP_ADD, in[0], b.emit(TG_MAP_MUL, in[3], b.emit(TG_MAP_DIV, in[1], in[2])));
           })
      .grad([](const Backward& b) {
        const Tensor g = op<"div">({mul(b.grad(), b.arg(3)), b.arg(2)});
        const Arg q = over(b.arg(1), b.arg(2));
        return Tensors{b.grad(), g, when(b.need(2), [&] { return op<"neg">({mul(g, q)}); }),
                       b.need(3) ? mul(b.grad(), q) : Tensor()};
      })
      .saves(14, 0)
      .bounds(3, "three roundings, relative to |x| + |value y / z|")
      .example(">>> tg.addcdiv(tg.tensor([1.]), tg.tensor([3.]), tg.tensor([2.]), 2.0).tolist()\n[4.0]");

  TG_OP(masked_fill)
      .family("elementwise")
      .doc(
          "x, with `value` where the mask holds; x's dtype and shape. "
          "Errors: ValueError where the mask does not broadcast to x's shape.")
      .input("x", "a tensor")
      .input("mask", "bool, broadcasts to x's shape")
      .input("value", "a number or 0-d tensor")
      .infer([](const Inference& c) {
        c.check(broadcast(c.name(), c.input(0).shape, c.input(1).shape) == c.input(0).shape,
                "expected a mask that broadcasts to x's shape ", str(c.input(0).shape), ", got ",
                str(c.input(1).shape));
        c.check(c.input(2).shape.empty(), "expected one value, got shape ", str(c.input(2).shape));
        return one(c.input(0));
      })
      .decompose([](const Call& c) {
        infer_now(c);
        return Tensors{where(c.input(1), c.input(2), c.input(0)).cast(c.input(0).dtype())};
      })
      .bounds(0, "exact")
      .example(">>> tg.masked_fill(tg.tensor([1., 2.]), tg.tensor([True, False]), 0.0).tolist()\n[0.0, 2.0]");
}

}  // namespace tg
