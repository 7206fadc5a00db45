// SPDX-License-Identifier: Apache-2.0
// Random numbers whose distribution is a tensor of parameters: Poisson, binomial, multinomial; random_gamma.cc has
// gamma, beta and Dirichlet. Rejection takes a bounded number of rounds with a fixed number of words each; what no
// round accepted (less than one in 10^8) gets a central value. All steps are exactly rounded (exact_math.h), sums have
// a fixed order: a seed gives the same bits on every plugin.
#include "exact_math.h"
#include "random_words.h"

namespace tg {
namespace {

// Rejected per round at their smallest means: PTRS 0.25 and BTRS 0.3.
constexpr int kCountRounds = 16;

// The running sum along the last axis by doubling, in one order everywhere.
Tensor ordered_cumsum(Tensor x) {
  const int64_t last = x.rank() - 1, n = x.size(last);
  for (int64_t d = 1; d < n; d *= 2)
    x = op<"concat">({slice(x, last, 0, d), op<"add">({slice(x, last, d, n), slice(x, last, 0, n - d)})}, {last});
  return x;
}

// The first k whose cumulative probability reaches u: pmf(0), and pmf(k + 1) = pmf(k) ratio(k). 64 steps are enough for
// a mean below 10: the rest is below 2^-48.
template <class F>
Expr inversion(Expr u, Expr first, F ratio) {
  Expr p = first, sum = first, k = u.constant(0);
  for (int i = 0; i < 64; ++i) {
    const Expr more = sum < u;
    p = where(more, p * ratio(double(i)), p);
    sum = where(more, sum + p, sum);
    k = where(more, k + 1.0, k);
  }
  return k;
}

// W. Hörmann, The transformed rejection method for generating Poisson random variables (1993), algorithm PTRS; k below
// 0: none yet.
MapResult poisson_round(MapBuilder& b, Values in, AttrSpan) {
  const Expr value{&b, in[0]}, rate{&b, in[1]}, u = Expr{&b, in[2]} - 0.5, v = 1.0 - Expr{&b, in[3]};
  const Expr l = max(rate, 10.0), wide = fma(sqrt(l), 2.53, l.constant(0.931)),
             a = fma(wide, 0.02483, l.constant(-0.059));
  const Expr inverse = 1.1239 + 1.1328 / (wide - 3.4), vr = 0.9277 - 3.6224 / (wide - 2.0);
  const Expr us = 0.5 - abs(u), k = floor((2.0 * a / us + wide) * u + l + 0.43);
  const Expr safe = max(k, 0.0);
  const Expr left = exact::log(v * inverse / (a / (us * us) + wide));
  const Expr right = safe * exact::log(l) - l - exact::log_gamma(safe + 1.0);
  const Expr fast = (0.07 <= us) & (v <= vr), out = (k < 0.0) | ((us < 0.013) & (us < v));
  const Expr accepted = (0.0 < us) & (fast | ((!out) & (left <= right)));
  return where((0.0 <= value) | (!accepted), value, k).v;
}
MapResult poisson_last(MapBuilder& b, Values in, AttrSpan) {
  const Expr value{&b, in[0]}, rate{&b, in[1]}, u{&b, in[2]};
  const Expr small = min(rate, 10.0);
  const Expr few = inversion(u, exact::exp(-small), [&](double k) { return small / (k + 1); });
  const Expr many = where(value < 0.0, floor(rate), value);
  return where((rate < 0.0) | is_nan(rate) | (rate == INFINITY), NAN, where(rate < 10.0, few, many)).v;
}

// W. Hörmann, The generation of binomial random variates (1993), algorithm BTRS, for n p >= 10, p <= 1/2.
MapResult binomial_round(MapBuilder& b, Values in, AttrSpan) {
  const Expr value{&b, in[0]}, count{&b, in[1]}, share{&b, in[2]}, u = Expr{&b, in[3]} - 0.5, v = 1.0 - Expr{&b, in[4]};
  const Expr p0 = min(share, 1.0 - share), used = 10.0 <= count * p0;
  const Expr n = where(used, count, 20.0), p = where(used, p0, 0.5), q = 1.0 - p;
  const Expr deviation = sqrt(n * p * q), wide = fma(deviation, 2.53, n.constant(1.15));
  const Expr a = fma(wide, 0.0248, fma(p, 0.01, n.constant(-0.0873))), vr = 0.92 - 4.2 / wide;
  const Expr us = 0.5 - abs(u), k = floor((2.0 * a / us + wide) * u + n * p + 0.5);
  const Expr inside = (0.0 <= k) & (k <= n), safe = min(max(k, 0.0), n), m = floor((n + 1.0) * p);
  const Expr left = exact::log(v * ((2.83 + 5.1 / wide) * deviation) / (a / (us * us) + wide));
  const Expr right = exact::log_gamma(m + 1.0) + exact::log_gamma(n - m + 1.0) - exact::log_gamma(safe + 1.0) -
                     exact::log_gamma(n - safe + 1.0) + (safe - m) * exact::log(p / q);
  const Expr fast = (0.07 <= us) & (v <= vr);
  const Expr accepted = (0.0 < us) & inside & (fast | (left <= right));
  return where((0.0 <= value) | (!accepted), value, k).v;
}
MapResult binomial_last(MapBuilder& b, Values in, AttrSpan) {
  const Expr value{&b, in[0]}, n{&b, in[1]}, share{&b, in[2]}, u{&b, in[3]};
  const Expr p = min(share, 1.0 - share), q = 1.0 - p, r = p / q, mean = n * p;
  const Expr few = min(inversion(u, exact::exp(n * exact::log(q)), [&](double k) { return (n - k) * r / (k + 1); }), n);
  const Expr many = where(value < 0.0, floor(mean), value), k = where(mean < 10.0, few, many);
  const Expr wrong = (n < 0.0) | (share < 0.0) | (1.0 < share) | is_nan(n + share) | (n == INFINITY);
  return where(wrong, NAN, where(share <= 0.5, k, n - k)).v;
}

// What f gives for uniform numbers of f64 in k parts.
template <class F>
Tensor with_uniform(int k, const Ints& shape, Device* device, F f) {
  const Tensor u = uniform01(with_lead(k, shape), DType::f64, device);
  return f([&](int i) { return op<"select">({u}, {0, i}); });
}

}  // namespace

TG_OPS(random_discrete) {
  random_step(TG_OP(poisson_round), "A round of PTRS.", {"value", "rate", "u", "v"}, poisson_round).no_grad();
  random_step(TG_OP(poisson_last), "The accepted value; of small rates the inverse of the distribution.",
              {"value", "rate", "u"}, poisson_last)
      .no_grad();
  random_step(TG_OP(binomial_round), "A round of BTRS.", {"value", "count", "p", "u", "v"}, binomial_round)
      .no_grad();
  random_step(TG_OP(binomial_last), "The accepted value; of small means the inverse of the distribution.",
              {"value", "count", "p", "u"}, binomial_last)
      .no_grad();

  TG_OP(poisson)
      .family("random")
      .doc(
          "A number of the Poisson distribution of each rate, as a float; NaN for a negative rate. Computed in "
          "float64.")
      .input("rate", "floats of 0 or more")
      .output("y", "rate's shape and dtype")
      .no_grad()
      .infer(random_like)
      .decompose([](const Call& c) {
        infer_now(c);
        const Tensor rate = c.input(0).cast(DType::f64);
        Tensor k = full(rate.shape(), -1, DType::f64, c.device);
        for (int i = 0; i < kCountRounds; ++i)
          k = with_uniform(2, rate.shape(), c.device, [&](auto u) {
            return op<"poisson_round">({k, rate, u(0), u(1)});
          });
        k = op<"poisson_last">({k, rate, uniform01(rate.shape(), DType::f64, c.device)});
        return Tensors{k.cast(c.input(0).dtype())};
      })
      .bounds(16, "the bits are fixed")
      .example(">>> tg.poisson(tg.tensor([0.])).tolist()\n[0.0]");

  TG_OP(binomial)
      .family("random")
      .doc(
          "How many of `count` trials succeed with probability p, as a float; NaN for a negative count or p outside "
          "[0, 1]. Computed in float64.")
      .input("count", "whole numbers of 0 or more, as floats")
      .input("p", "floats in [0, 1]; broadcasts with count")
      .output("y", "the broadcast shape, the promoted dtype")
      .no_grad()
      .infer(random_like_both)
      .decompose([](const Call& c) {
        const TensorSpec y = infer_now(c)[0];
        const Ints shape = concrete(y.shape);
        const Tensor n = expand(c.input(0).cast(DType::f64), shape), p = expand(c.input(1).cast(DType::f64), shape);
        Tensor k = full(shape, -1, DType::f64, c.device);
        for (int i = 0; i < kCountRounds; ++i)
          k = with_uniform(2, shape, c.device, [&](auto u) { return op<"binomial_round">({k, n, p, u(0), u(1)}); });
        return Tensors{op<"binomial_last">({k, n, p, uniform01(shape, DType::f64, c.device)}).cast(y.dtype)};
      })
      .bounds(16, "the bits are fixed")
      .example(">>> tg.binomial(tg.tensor([5.]), tg.tensor([1.])).tolist()\n[5.0]");

  // With replacement: uniform numbers looked up in the running sum. Without: exponential numbers over the probabilities
  // race, and the first ones win (P. Efraimidis and P. Spirakis, Weighted random sampling with a reservoir, 2006).
  TG_OP(multinomial)
      .family("random")
      .doc(
          "Indices drawn with probabilities in proportion to p, as i64. Errors: ValueError for a negative or not "
          "finite p, a row of zeros, and "
          "without replacement for more samples than p has elements above 0.")
      .input("p", "floats of 0 or more, [k] or [rows, k]")
      .attr("num_samples", AttrKind::integer, "how many of each row")
      .attr("replacement", AttrKind::boolean, false, "an index may be drawn again")
      .output("index", "i64 [num_samples] or [rows, num_samples]")
      .no_grad()
      .infer([](const Inference& c) {
        TensorSpec y = c.input(0);
        check_type(is_floating(y.dtype), c.name(), "floats", y.dtype);
        c.check(y.shape.size() == 1 || y.shape.size() == 2, "expected p of one or two axes, got shape ", str(y.shape));
        c.check(c.attr(0).integer() > 0, "expected at least one sample, got ", c.attr(0).integer());
        y.shape.back() = c.attr(0).integer();
        return one({DType::i64, y.shape});
      })
      .decompose([](const Call& c) {
        const Ints shape = concrete(infer_now(c)[0].shape);
        const Tensor p = c.input(0).cast(DType::f64);
        const int64_t last = p.rank() - 1, k = p.size(last), n = c.attr(0).integer();
        const bool again = c.attr(1).boolean();
        if (numel(shape) == 0) return Tensors{zeros(shape, DType::i64, c.device)};
        const auto complain = [&](bool ok, const char* expected) {
          if (!ok)
            raise(ErrorKind::value, "[multinomial] expected ", expected, ", got shape ", str(p.shape()),
                  " with other values");
        };
        const Tensor valid = op<"logical_and">({op<"ge">({p, 0.0}), op<"lt">({p, INFINITY})});
        complain(op<"all">({valid}).item() != 0, "finite probabilities of 0 or more");
        const Tensor positive = op<"sum">({op<"gt">({p, 0.0})}, {Ints{last}, false});
        complain(
            k > 0 && op<"min">({positive}).item() >= (again ? 1 : double(n)),
            again ? "a probability above 0 in each row" : "at least num_samples probabilities above 0 in each row");
        // Of the largest one, so that no sum overflows.
        const Tensor share = op<"div">({p, op<"max">({p}, {Ints{last}, true})});
        if (!again) {
          const Tensor race = op<"div">({op<"exponential_of">({uniform01(p.shape(), DType::f64, c.device)}),
                                         op<"maximum">({share, 1e-290})});
          const Tensor times = op<"where">({op<"gt">({p, 0.0}), race, INFINITY});
          return Tensors{slice(op<"argsort">({times}, {last}), last, 0, n)};
        }
        const Tensor sums = ordered_cumsum(share), total = slice(sums, last, k - 1, k);
        const Tensor at = op<"mul">({uniform01(shape, DType::f64, c.device), total});
        // Rounding could reach the total: the last index that can be drawn is the first one there.
        const Tensor end = op<"searchsorted">({sums, total});
        return Tensors{op<"minimum">({op<"searchsorted">({sums, at}, {"right"}), end})};
      })
      .bounds(0, "the bits are fixed")
      .example(">>> tg.multinomial(tg.tensor([0., 1., 0.]), 3, replacement=True).tolist()\n[1, 1, 1]");
}

}  // namespace tg
