// SPDX-License-Identifier: Apache-2.0
// The affine layer, with the activation that may follow it in the same kernel.
#include "common.h"
#include "fused_activation.h"

namespace tg {
namespace {

int64_t rows_of(const Tensor& x) {
  int64_t rows = 1;
  for (int64_t i = 0; i + 1 < x.rank(); ++i) rows *= x.size(i);
  return rows;
}

Tensor apply(const Tensor& x, const Tensor& w, const Tensor& bias) {
  Tensor y = op<"matmul">({x, transpose(w)});
  return bias.defined() ? op<"add">({y, bias}) : y;
}

}  // namespace

TG_OPS(linear) {
  TG_OP(linear).amp(Amp::low)
      .kernel()
      .family("nn")
      .doc("x @ w^T + b, then an activation. Errors: ValueError where the feature sizes differ.")
      .input("x", "[..., k]")
      .input("w", "[n, k]")
      .optional_input("b", "[n]")
      .attr("activation", AttrKind::integer, 0, kActivationDoc)
      .output("y", "[..., n]")
      .infer([](const Inference& c) {
        const Shape &x = c.input(0).shape, &w = c.input(1).shape;
        c.check(w.size() == 2, "expected w of shape (n, k), got ", str(w));
        c.check(!x.empty() && x.back() == w[1], "expected x's last size to be the ", w[1], " input features of w ",
                str(w), ", got x ", str(x));
        c.check(!c.has(2) || c.input(2).shape == Shape{w[0]}, "expected b of shape (", w[0], ",), got ",
                str(c.has(2) ? c.input(2).shape : Shape{}));
        check_type(is_inexact(c.input(0).dtype), c.name(), "floats", c.input(0).dtype);
        check_type(c.input(1).dtype == c.input(0).dtype, c.name(),
                   (std::string("a weight of x's dtype ") + long_name_of(c.input(0).dtype)).c_str(), c.input(1).dtype);
        if (c.has(2))
          check_type(c.input(2).dtype == c.input(0).dtype, c.name(),
                     (std::string("a bias of x's dtype ") + long_name_of(c.input(0).dtype)).c_str(), c.input(2).dtype);
        check_activation(c);
        Shape y = x;
        y.back() = w[0];
        return one({c.input(0).dtype, y});
      })
      .decompose([](const Call& c) {
        const DType t = c.input(0).dtype(), a = acc_dtype(t);
        const Tensor y = apply(c.input(0).cast(a), c.input(1).cast(a), c.has(2) ? c.input(2).cast(a) : Tensor());
        return Tensors{activate(y, c.attr(0).integer()).cast(t)};
      })
      .grad([](const Backward& b) {
        const int64_t activation = b.attr(0).integer();
        Tensor g = b.grad();
        if (activation)
          g = activation_gradient(g, op<"linear">({b.input(0), b.input(1), b.has(2) ? b.arg(2) : Arg()}, {0}),
                                  activation);
        Tensors out(3);
        const int64_t rows = rows_of(g);
        if (b.need(0)) out[0] = op<"matmul">({g, b.input(1)});
        if (!b.need(1) && !b.need(2)) return out;
        const Tensor flat = reshape(g, {rows, g.size(-1)});
        if (b.need(1)) out[1] = op<"matmul">({transpose(flat), reshape(b.input(0), {rows, b.input(0).size(-1)})});
        if (b.need(2)) out[2] = op<"sum">({flat}, {Ints{0}, false});
        return out;
      })
      .saves(7, 0)
      .linear({{0, 2}, {1}}, "activation")
      .batch([](const Batch& b) {  // one tall product where the weights are shared
        if (b.batched[1] || (b.has(2) && b.batched[2])) return Tensors{};
        return b.call(b.op, b.inputs, b.attrs);
      })
      .bounds(1, "k + 1, relative to |x| @ |w|^T + |b|")
      .example(">>> tg.linear(tg.tensor([[1., 2.]]), tg.tensor([[3., 4.]]), tg.tensor([1.])).tolist()\n[[12.0]]");
}

}  // namespace tg
