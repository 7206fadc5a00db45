// SPDX-License-Identifier: Apache-2.0
// Optimizers that divide by what the gradient has been: Adagrad, Adadelta, RMSprop.
#include "optim.h"

namespace tg {
namespace {

std::vector<X> adagrad(const Operands& in) {
  const X p = in[0], lr = in[3], eps = in[4], weight_decay = in[5];
  const X g = ascent(in[1], in.flag(0)) + weight_decay * p;
  const X sum = in[2] + g * g;
  return {p - lr * (g / (sqrt(sum) + eps)), sum};
}

std::vector<X> adadelta(const Operands& in) {
  const X p = in[0], lr = in[4], rho = in[5], eps = in[6], weight_decay = in[7];
  const X g = ascent(in[1], in.flag(0)) + weight_decay * p;
  const X v = square_mean_of(in[2], g, rho);
  const X delta = sqrt(in[3] + eps) / sqrt(v + eps) * g;
  return {p - lr * delta, v, square_mean_of(in[3], delta, rho)};
}

// States: v, then the running mean of g when centered, then the momentum buffer.
template <bool centered, bool momentum>
std::vector<X> rmsprop(const Operands& in) {
  constexpr size_t n = 3 + centered + momentum;
  const X p = in[0], lr = in[n], alpha = in[n + 1], eps = in[n + 2], weight_decay = in[n + 3];
  const X g = ascent(in[1], in.flag(0)) + weight_decay * p;
  std::vector<X> out{p, square_mean_of(in[2], g, alpha)};
  X v = out[1];
  if (centered) {
    out.push_back(mean_of(in[3], g, alpha));
    v = v - out[2] * out[2];
  }
  X update = g / (sqrt(v) + eps);
  if (momentum) {
    update = in[n + 4] * in[n - 1] + update;
    out.push_back(update);
  }
  out[0] = p - lr * update;
  return out;
}

template <bool centered, bool momentum>
void add_rmsprop(const char* name, const char* doc) {
  OptimizerSpec s{__FILE__,
                  name,
                  doc,
                  {{"square_avg", "running mean of g^2"}},
                  {kLr, {"alpha", "share of the means that stays"}, kEps, kDecay},
                  {kMaximize},
                  16,
                  "twelve roundings, relative to |p| and the update (centered: to that of v less its difference)"};
  if (centered) s.states.push_back({"grad_avg", "running mean of g"});
  if (momentum) {
    s.states.push_back({"momentum_buffer", "momentum buffer"});
    s.numbers.push_back({"momentum", "share of the buffer that stays"});
  }
  add_optimizer(s, rmsprop<centered, momentum>);
}

}  // namespace

TG_OPS(optim_adagrad) {
  add_optimizer({__FILE__,
                 "adagrad",
                 "s += g^2; p -= lr * g / (sqrt(s) + eps).",
                 {{"sum", "sum of squares"}},
                 {kLr, kEps, kDecay},
                 {kMaximize},
                 12,
                 "nine roundings, relative to |p| + lr"},
                adagrad);
  add_optimizer(
      {__FILE__,
       "adadelta",
       "v = rho * v + (1 - rho) * g^2; d = sqrt(u + eps) / sqrt(v + eps) * g; p -= lr * d; u = rho * u + (1 - "
       "rho) * d^2.",
       {{"square_avg", "running mean of g^2"}, {"acc_delta", "running mean of d^2"}},
       {kLr, {"rho", "share of the means that stays"}, kEps, kDecay},
       {kMaximize},
       16,
       "fourteen roundings, relative to |p| and the update"},
      adadelta);
  add_rmsprop<false, false>("rmsprop", "v = alpha * v + (1 - alpha) * g^2; p -= lr * g / (sqrt(v) + eps).");
  add_rmsprop<true, false>("rmsprop_centered", "RMSprop that divides by the standard deviation: sqrt(v - mean(g)^2).");
  add_rmsprop<false, true>("rmsprop_momentum",
                           "RMSprop whose updates gather: b = momentum * b + g / (sqrt(v) + eps); p -= lr * b.");
  add_rmsprop<true, true>("rmsprop_centered_momentum", "RMSprop, centered and with momentum.");
}

}  // namespace tg
