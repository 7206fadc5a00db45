// SPDX-License-Identifier: Apache-2.0
// Losses of probabilities: of two outcomes per element, and the divergence of distributions.
#include "loss.h"

namespace tg {
namespace {

using namespace loss;

Tensor softplus(const Tensor& x) { return op<"softplus">({x}); }
Tensor weighted(const Tensor& y, const Call& c, size_t i, DType acc) {
  return c.has(i) ? mul(y, c.input(i).cast(acc)) : y;
}
Specs infer_weighted(const Inference& c) {
  check_broadcasts(c, 2, c.input(0).shape, "a weight");
  check_broadcasts(c, 3, c.input(0).shape, "a pos_weight");
  return infer_pair(c);
}
// -log(sigmoid(x)) for a target of 1, -log(sigmoid(-x)) for 0, without overflow.
Tensor binary(const Tensor& x, const Tensor& t) { return add(mul(sub(1.0, t), x), softplus(neg(x))); }

// "batchmean", besides the usual reductions: the sum over everything, divided by the first axis's size.
Specs infer_divergence(const Inference& c) {
  const std::string& r = c.attr(0).string();
  if (r != "batchmean") return infer_pair(c);
  c.check(!c.input(0).shape.empty(), "expected x of at least one axis for \"batchmean\", got ()");
  const Attr attrs[] = {Attr("sum"), c.attr(1)};
  return infer_pair(Inference{c.op, c.inputs, attrs});
}

}  // namespace

TG_OPS(loss_binary) {
  const auto binary_inputs = [](OpBuilder o, const char* x) {
    return o.input("x", x)
        .input("target", "x's shape, in [0, 1]")
        .optional_input("weight", "of the elements; broadcasts to x");
  };
  decompose(
      reducing(binary_inputs(TG_OP(binary_cross_entropy), "probabilities"))
          .doc("-weight (t log x + (1 - t) log(1 - x)); logarithms count as at least -100.")
          .infer(infer_weighted)
          .example(">>> round(tg.binary_cross_entropy(tg.tensor([0.5]), tg.tensor([1.])).item(), 4)\n0.6931"),
      [](const Call& c, DType acc) {
        const Tensor x = c.input(0).cast(acc), t = c.input(1).cast(acc);
        const Tensor a = op<"maximum">({op<"log">({x}), -100.0}), b = op<"maximum">({op<"log1p">({neg(x)}), -100.0});
        return weighted(neg(add(mul(t, a), mul(sub(1.0, t), b))), c, 2, acc);
      });

  decompose(
      reducing(binary_inputs(TG_OP(binary_cross_entropy_with_logits), "logits")
                   .optional_input("pos_weight", "factor of the term of target 1; broadcasts to x"))
          .doc("binary_cross_entropy of sigmoid(x), without overflow.")
          .infer(infer_weighted)
          .example(
              ">>> round(tg.binary_cross_entropy_with_logits(tg.tensor([0.]), tg.tensor([1.])).item(), 4)\n0.6931"),
      [](const Call& c, DType acc) {
        const Tensor x = c.input(0).cast(acc), t = c.input(1).cast(acc);
        if (!c.has(3)) return weighted(binary(x, t), c, 2, acc);
        const Tensor factor = add(mul(sub(c.input(3).cast(acc), 1.0), t), 1.0);
        return weighted(add(mul(sub(1.0, t), x), mul(factor, softplus(neg(x)))), c, 2, acc);
      });

  decompose(reducing(TG_OP(sigmoid_focal_loss).input("x", "logits").input("target", "x's shape, in [0, 1]"), "none")
                .doc("The binary cross-entropy of sigmoid(x) times (1 - p)^gamma, p the probability of the target, and "
                     "times alpha for target 1, 1 - alpha for 0 (Lin et al. 2017).")
                .attr("alpha", AttrKind::floating, 0.25, "balance of the outcomes; negative: none")
                .attr("gamma", AttrKind::floating, 2.0, "how little easy examples count")
                .infer(infer_pair)
                .example(">>> tg.sigmoid_focal_loss(tg.tensor([0.]), tg.tensor([1.]), alpha=-1, gamma=0).tolist()\n"
                         "[0.6931471824645996]"),
            [](const Call& c, DType acc) {
              const Tensor x = c.input(0).cast(acc), t = c.input(1).cast(acc);
              const double alpha = c.attr(1).floating(), gamma = c.attr(2).floating();
              Tensor y = binary(x, t);
              if (gamma != 0) {  // 1 - p, written without cancellation
                const Tensor miss = add(mul(op<"sigmoid">({x}), sub(1.0, t)), mul(op<"sigmoid">({neg(x)}), t));
                y = mul(y, gamma == 1 ? miss : gamma == 2 ? op<"square">({miss}) : op<"pow">({miss, gamma}));
              }
              return alpha < 0 ? y : mul(y, add(mul(t, 2 * alpha - 1), 1 - alpha));
            });

  decompose_pair(pair(TG_OP(soft_margin_loss), "scores", "x's shape, 1 or -1")
                     .doc("log(1 + exp(-target x)).")
                     .example(">>> round(tg.soft_margin_loss(tg.tensor([0.]), tg.tensor([1.])).item(), 4)\n0.6931"),
                 [](const Call&, const Tensor& x, const Tensor& t) { return softplus(neg(mul(t, x))); });

  decompose(
      reducing(TG_OP(multilabel_soft_margin_loss)
                   .input("x", "logits [..., C]")
                   .input("target", "x's shape, in [0, 1]")
                   .optional_input("weight", "of the classes; broadcasts to x"))
          .doc("The mean over classes (the last axis) of weight times the binary cross-entropy of sigmoid(x).")
          .infer([](const Inference& c) {
            c.check(!c.input(0).shape.empty(), "expected x of at least one axis, got ()");
            check_broadcasts(c, 2, c.input(0).shape, "a weight");
            infer_pair(c);
            Shape each = c.input(0).shape;
            each.pop_back();
            return reduced(c, each);
          })
          .example(">>> round(tg.multilabel_soft_margin_loss(tg.tensor([[0., 0.]]), tg.tensor([[1., 0.]])).item(), "
                   "4)\n0.6931"),
      [](const Call& c, DType acc) {
        const Tensor y = weighted(binary(c.input(0).cast(acc), c.input(1).cast(acc)), c, 2, acc);
        return op<"mean">({y}, {Ints{-1}, false});
      });

  // kl_div reduces in one way more than the others.
  pair(TG_OP(kl_div), "log-probabilities", "probabilities of x's shape, or their logarithms")
      .doc(
          "target (log target - x), 0 where the target is 0. Reduction \"batchmean\" divides the sum by the first "
          "axis's size.")
      .attr("log_target", AttrKind::boolean, false, "the target is given as logarithms")
      .infer(infer_divergence)
      .decompose([](const Call& c) {
        infer_now(c);
        const DType acc = acc_dtype(c.input(0).dtype());
        const Tensor x = c.input(0).cast(acc), t = c.input(1).cast(acc);
        Tensor y;
        if (c.attr(1).boolean()) {
          y = mul(op<"exp">({t}), sub(t, x));
        } else {
          const Tensor some = op<"gt">({t, 0.0}), safe = where(some, t, 1.0);
          y = where(some, mul(t, sub(op<"log">({safe}), x)), 0.0);
        }
        const std::string& r = c.attr(0).string();
        y = r == "batchmean" ? div(reduce(y, "sum"), double(x.size(0))) : reduce(y, r);
        return Tensors{y.cast(c.input(0).dtype())};
      })
      .example(">>> tg.kl_div(tg.tensor([0.]), tg.tensor([1.]), reduction='sum').item()\n0.0");
}

}  // namespace tg
