// SPDX-License-Identifier: Apache-2.0
// Adam and its relatives: running means of the gradient and of its square.
#include "optim.h"

namespace tg {
namespace {

std::vector<X> adam_like(const Operands& in, size_t states, bool amsgrad) {
  const size_t n = 2 + states;
  const X lr = in[n], beta1 = in[n + 1], beta2 = in[n + 2], eps = in[n + 3], correction1 = in[n + 4],
          correction2_sqrt = in[n + 5], weight_decay = in[n + 6];
  X p = in[0], g = ascent(in[1], in.flag(1));
  decay(p, g, lr, weight_decay, in.flag(0));
  const X m = mean_of(in[2], g, beta1), v = square_mean_of(in[3], g, beta2);
  const X top = amsgrad ? max(in[4], v) : v;
  const X denominator = sqrt(top) / correction2_sqrt + eps;
  p = p - lr / correction1 * (m / denominator);
  return amsgrad ? std::vector<X>{p, m, v, top} : std::vector<X>{p, m, v};
}
std::vector<X> adam(const Operands& in) { return adam_like(in, 2, false); }
std::vector<X> amsgrad(const Operands& in) { return adam_like(in, 3, true); }

std::vector<X> nadam(const Operands& in) {
  const X lr = in[4], beta1 = in[5], beta2 = in[6], eps = in[7], correction2_sqrt = in[8], weight_g = in[9],
          weight_m = in[10], weight_decay = in[11];
  X p = in[0], g = ascent(in[1], in.flag(1));
  decay(p, g, lr, weight_decay, in.flag(0));
  const X m = mean_of(in[2], g, beta1), v = square_mean_of(in[3], g, beta2);
  const X denominator = sqrt(v) / correction2_sqrt + eps;
  return {p - weight_g * (g / denominator) - weight_m * (m / denominator), m, v};
}

std::vector<X> radam(const Operands& in) {
  const X lr = in[4], beta1 = in[5], beta2 = in[6], eps = in[7], correction1 = in[8], correction2_sqrt = in[9],
          rectifier = in[10], weight_decay = in[11];
  X p = in[0], g = ascent(in[1], in.flag(1));
  decay(p, g, lr, weight_decay, in.flag(0));
  const X m = mean_of(in[2], g, beta1), v = square_mean_of(in[3], g, beta2);
  const X adaptive = rectifier * (correction2_sqrt / (sqrt(v) + eps));
  const X scale = select(less(number(lr, 0), rectifier), adaptive, number(lr, 1));
  return {p - lr * (m / correction1) * scale, m, v};
}

std::vector<X> adamax(const Operands& in) {
  const X lr = in[4], beta1 = in[5], beta2 = in[6], eps = in[7], correction1 = in[8], weight_decay = in[9];
  const X p = in[0], g = ascent(in[1], in.flag(0)) + weight_decay * p;
  const X m = mean_of(in[2], g, beta1), u = max(beta2 * in[3], abs(g) + eps);
  return {p - lr / correction1 * (m / u), m, u};
}

}  // namespace

TG_OPS(optim_adam) {
  const Named correction1{"bias_correction1", "1 - beta1^step"};
  const Named correction2{"bias_correction2_sqrt", "sqrt(1 - beta2^step)"};
  const std::vector<Named> numbers{kLr, kBeta1, kBeta2, kEps, correction1, correction2, kDecay},
      flags{kDecoupled, kMaximize};
  add_optimizer({__FILE__,
                 "adam",
                 "Adam, or AdamW when decoupled: m and v are running means of g and g^2; p -= lr / correction1 * m / "
                 "(sqrt(v) / correction2_sqrt + eps).",
                 {kM, kV},
                 numbers,
                 flags,
                 16,
                 "twelve roundings, relative to |p| + lr / correction1 * |m| / denominator"},
                adam);
  add_optimizer({__FILE__,
                 "amsgrad",
                 "Adam with the largest v so far in the denominator.",
                 {kM, kV, {"max_exp_avg_sq", "largest v so far"}},
                 numbers,
                 flags,
                 16,
                 "as adam"},
                amsgrad);
  add_optimizer(
      {__FILE__,
       "nadam",
       "Adam with Nesterov momentum: p -= (weight_g * g + weight_m * m) / (sqrt(v) / correction2_sqrt + eps); "
       "the weights hold the learning rate and the momentum schedule.",
       {kM, kV},
       {kLr,
        kBeta1,
        kBeta2,
        kEps,
        correction2,
        {"weight_g", "lr (1 - mu_t) / (1 - mu_1...mu_t)"},
        {"weight_m", "lr mu_{t+1} / (1 - mu_1...mu_{t+1})"},
        kDecay},
       flags,
       16,
       "fourteen roundings, relative to |p| and both updates"},
      nadam);
  add_optimizer(
      {__FILE__,
       "radam",
       "Rectified Adam: p -= lr * m / correction1 * r, with r = rectifier * correction2_sqrt / (sqrt(v) + eps), "
       "or 1 where the rectifier is 0 (too few steps).",
       {kM, kV},
       {kLr, kBeta1, kBeta2, kEps, correction1, correction2, {"rectifier", "the variance's, or 0"}, kDecay},
       flags,
       16,
       "fourteen roundings, relative to |p| and the update"},
      radam);
  add_optimizer({__FILE__,
                 "adamax",
                 "Adam by the infinity norm: u = max(beta2 * u, |g| + eps); p -= lr / correction1 * m / u.",
                 {kM, {"exp_inf", "decaying maximum of |g|"}},
                 {kLr, kBeta1, kBeta2, kEps, correction1, kDecay},
                 {kMaximize},
                 12,
                 "ten roundings, relative to |p| and the update"},
                adamax);
}

}  // namespace tg
