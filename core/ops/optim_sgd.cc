// SPDX-License-Identifier: Apache-2.0
// Optimizers along the gradient or its sign: SGD, averaged SGD, Lion, Rprop.
#include "optim.h"

namespace tg {
namespace {

std::vector<X> sgd(const Operands& in) {
  const X p = in[0], lr = in[3], momentum = in[4], dampening = in[5], weight_decay = in[6];
  const X g = ascent(in[1], in.flag(1)) + weight_decay * p;
  const X buffer = momentum * in[2] + (1 - dampening) * g;
  const X update = in.flag(0) ? g + momentum * buffer : buffer;
  return {p - lr * update, buffer};
}

std::vector<X> sgd_plain(const Operands& in) {
  const X p = in[0], lr = in[2], weight_decay = in[3];
  return {p - lr * (ascent(in[1], in.flag(0)) + weight_decay * p)};
}

std::vector<X> asgd(const Operands& in) {
  const X eta = in[3], lambd = in[4], mu = in[5], weight_decay = in[6];
  const X g = ascent(in[1], in.flag(0)) + weight_decay * in[0];
  const X p = in[0] * (1 - lambd * eta) - eta * g;
  const X average = select(less(mu, number(mu, 1)), in[2] + (p - in[2]) * mu, p);
  return {p, average};
}

std::vector<X> lion(const Operands& in) {
  X p = in[0], g = ascent(in[1], in.flag(0));
  const X lr = in[3], beta1 = in[4], beta2 = in[5], weight_decay = in[6];
  decay(p, g, lr, weight_decay, true);
  return {p - lr * sign(mean_of(in[2], g, beta1)), mean_of(in[2], g, beta2)};
}

std::vector<X> rprop(const Operands& in) {
  const X g = ascent(in[1], in.flag(0)), shrink = in[4], grow = in[5], least = in[6], most = in[7];
  const X zero = number(g, 0), agreement = g * in[2];
  const X turned = less(agreement, zero);
  const X factor = select(turned, shrink, select(less(zero, agreement), grow, number(g, 1)));
  const X size = min(max(in[3] * factor, least), most);
  const X used = select(turned, zero, g);  // no step, and no comparison next time, after a turn
  return {in[0] - sign(used) * size, used, size};
}

}  // namespace

TG_OPS(optim_sgd) {
  add_optimizer(
      {__FILE__,
       "sgd",
       "SGD with momentum: buffer = momentum * buffer + (1 - dampening) * (g + weight_decay * p); p -= lr * buffer, "
       "with "
       "nesterov lr * (gradient + momentum * buffer). The first gradient is undamped: dampening 0, buffer 0.",
       {{"momentum_buffer", "momentum buffer"}},
       {kLr, {"momentum", "share of the buffer that stays"}, {"dampening", "share of g that is left out"}, kDecay},
       {{"nesterov", "look ahead"}, kMaximize},
       8,
       "eight roundings, relative to |p| + lr (|g| + |buffer|)"},
      sgd);
  add_optimizer({__FILE__,
                 "sgd_plain",
                 "SGD without momentum: p -= lr * (g + weight_decay * p).",
                 {},
                 {kLr, kDecay},
                 {kMaximize},
                 4,
                 "four roundings, relative to |p| + lr |g|"},
                sgd_plain);
  add_optimizer({__FILE__,
                 "asgd",
                 "Averaged SGD: p = p * (1 - lambd * eta) - eta * g; ax += mu * (p - ax), or p itself where mu is 1.",
                 {{"ax", "the average"}},
                 {{"eta", "step size"}, {"lambd", "decay term"}, {"mu", "weight of p in the average"}, kDecay},
                 {kMaximize},
                 8,
                 "eight roundings, relative to |p| + eta |g|"},
                asgd);
  add_optimizer({__FILE__,
                 "lion",
                 "Lion: p = p * (1 - lr * weight_decay) - lr * sign(beta1 * m + (1 - beta1) * g); m = beta2 * m + (1 - "
                 "beta2) * g.",
                 {kM},
                 {kLr, kBeta1, kBeta2, kDecay},
                 {kMaximize},
                 8,
                 "seven roundings, but for the sign of a sum near 0"},
                lion);
  add_optimizer(
      {__FILE__,
       "rprop",
       "Rprop: the step of every element grows while its gradient keeps its sign, shrinks when it turns; p -= "
       "sign(g) * step.",
       {{"prev", "the last gradient"}, {"step_size", "step of every element"}},
       {{"eta_minus", "factor after a turn"},
        {"eta_plus", "factor else"},
        {"step_min", "smallest step"},
        {"step_max", "largest step"}},
       {kMaximize},
       3,
       "two roundings, relative to |p| + step"},
      rprop);
}

}  // namespace tg
