// SPDX-License-Identifier: Apache-2.0
// Losses of numbers against numbers.
#include "loss.h"

#include <numbers>

namespace tg {
namespace {

using namespace loss;

// The variance of gaussian_nll_loss spread over x: of x's shape, or one for all of the last axis (which may be left
// out).
Specs infer_gaussian(const Inference& c) {
  const Shape &x = c.input(0).shape, &var = c.input(2).shape;
  Shape line = x;
  if (!line.empty()) line.pop_back();
  c.check(var == x || var.empty() || var == line ||
              (var.size() == x.size() &&
               [&] {
                 Shape kept = line;
                 kept.push_back(1);
                 return var == kept;
               }()),
          "expected variances of x's shape ", str(x), ", or one for all of the last axis, got ", str(var));
  c.check(c.attr(2).floating() > 0, "expected eps above 0, got ", c.attr(2).floating());
  return infer_pair(c);
}

}  // namespace

TG_OPS(loss_regression) {
  decompose_pair(pair(TG_OP(mse_loss), "predictions", "x's shape")
                     .doc("(x - target)^2.")
                     .example(">>> tg.mse_loss(tg.tensor([1., 2.]), tg.tensor([1., 4.])).item()\n2.0"),
                 [](const Call&, const Tensor& x, const Tensor& t) { return op<"square">({sub(x, t)}); });
  decompose_pair(pair(TG_OP(l1_loss), "predictions", "x's shape")
                     .doc("|x - target|.")
                     .example(">>> tg.l1_loss(tg.tensor([1., 2.]), tg.tensor([1., 4.])).item()\n1.0"),
                 [](const Call&, const Tensor& x, const Tensor& t) { return op<"abs">({sub(x, t)}); });
  decompose_pair(pair(TG_OP(smooth_l1_loss), "predictions", "x's shape")
                     .doc("d^2 / (2 beta) for |d| < beta, else |d| - beta / 2, with d = x - target.")
                     .attr("beta", AttrKind::floating, 1.0, "where it turns linear")
                     .infer([](const Inference& c) {
                       c.check(c.attr(1).floating() >= 0, "expected beta of 0 or more, got ", c.attr(1).floating());
                       return infer_pair(c);
                     })
                     .example(">>> tg.smooth_l1_loss(tg.tensor([1., 3.]), tg.tensor([0., 0.])).item()\n1.5"),
                 [](const Call& c, const Tensor& x, const Tensor& t) {
                   const double beta = c.attr(1).floating();
                   const Tensor d = sub(x, t), a = op<"abs">({d});
                   if (beta == 0) return a;
                   return where(op<"lt">({a, beta}), mul(op<"square">({d}), 0.5 / beta), sub(a, beta / 2));
                 });
  decompose_pair(pair(TG_OP(huber_loss), "predictions", "x's shape")
                     .doc("d^2 / 2 for |d| <= delta, else delta (|d| - delta / 2), with d = x - target.")
                     .attr("delta", AttrKind::floating, 1.0, "where it turns linear")
                     .infer([](const Inference& c) {
                       c.check(c.attr(1).floating() > 0, "expected delta above 0, got ", c.attr(1).floating());
                       return infer_pair(c);
                     })
                     .example(">>> tg.huber_loss(tg.tensor([1., 3.]), tg.tensor([0., 0.])).item()\n1.5"),
                 [](const Call& c, const Tensor& x, const Tensor& t) {
                   const double delta = c.attr(1).floating();
                   const Tensor d = sub(x, t), a = op<"abs">({d});
                   return where(op<"le">({a, delta}), mul(op<"square">({d}), 0.5), mul(sub(a, delta / 2), delta));
                 });

  decompose_pair(
      pair(TG_OP(poisson_nll_loss), "the rate's logarithm, or the rate", "counts of x's shape")
          .doc("exp(x) - target x, or x - target log(x + eps) of rates; `full` adds Stirling's approximation of "
               "log(target!) where the target is above 1.")
          .attr("log_input", AttrKind::boolean, true, "x is the rate's logarithm")
          .attr("full", AttrKind::boolean, false, "with the term of the target alone")
          .attr("eps", AttrKind::floating, 1e-8, "keeps the logarithm of a rate of 0 finite")
          .example(">>> tg.poisson_nll_loss(tg.tensor([0.]), tg.tensor([3.])).item()\n1.0"),
      [](const Call& c, const Tensor& x, const Tensor& t) {
        const bool log_input = c.attr(1).boolean();
        const Tensor y =
            log_input ? sub(op<"exp">({x}), mul(t, x)) : sub(x, mul(t, op<"log">({add(x, c.attr(3).floating())})));
        if (!c.attr(2).boolean()) return y;
        const Tensor large = op<"gt">({t, 1.0}), safe = where(large, t, 1.0), log_t = op<"log">({safe});
        const Tensor stirling = add(sub(mul(safe, log_t), safe), mul(add(log_t, std::log(2 * std::numbers::pi)), 0.5));
        return add(y, where(large, stirling, 0.0));
      });

  decompose(
      reducing(TG_OP(gaussian_nll_loss)
                   .input("x", "means")
                   .input("target", "x's shape")
                   .input("var", "variances: x's shape, or one for all of the last axis"))
          .doc("(log v + (x - target)^2 / v) / 2 with v = max(var, eps); gradients pass that maximum as if it were not "
               "there. `full` adds log(2 pi) / 2.")
          .attr("full", AttrKind::boolean, false, "with the constant term")
          .attr("eps", AttrKind::floating, 1e-6, "least variance")
          .infer(infer_gaussian)
          .example(">>> tg.gaussian_nll_loss(tg.tensor([1.]), tg.tensor([3.]), tg.tensor([1.])).item()\n2.0"),
      [](const Call& c, DType acc) {
        const Tensor x = c.input(0).cast(acc), t = c.input(1).cast(acc);
        Tensor var = c.input(2).cast(acc);
        if (var.rank() && var.rank() < x.rank()) var = op<"unsqueeze">({var}, {Ints{-1}});
        // v + (max(v, eps) - v), the bracket without a gradient.
        const Tensor fixed = var.detach();
        var = where(op<"lt">({fixed, c.attr(2).floating()}), add(sub(var, fixed), c.attr(2).floating()), var);
        const Tensor y = mul(add(op<"log">({var}), div(op<"square">({sub(x, t)}), var)), 0.5);
        return c.attr(1).boolean() ? add(y, 0.5 * std::log(2 * std::numbers::pi)) : y;
      });
}

}  // namespace tg
