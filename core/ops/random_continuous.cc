// SPDX-License-Identifier: Apache-2.0
// Random numbers of continuous distributions with constant parameters. Each is a fixed sequence of exactly rounded
// steps on uniform numbers (exact_math.h), so that a seed gives the same bits on every plugin.
#include "exact_math.h"
#include "random_words.h"

namespace tg {
namespace {

constexpr double kPi = std::numbers::pi;

OpBuilder from_uniform(OpBuilder o, const char* doc, Expr (*f)(Expr)) {
  return o.internal()
      .family("random")
      .doc(doc)
      .input("u", "uniform in [0, 1), f32 or f64")
      .map(Promotion::none,
           [f](MapBuilder& b, Values in, AttrSpan) {
             return f({&b, in[0]}).v;
           })
      .no_grad()
      .bounds(8, "exact_math.h's few ulp");
}

// x scale + shift, then the result's dtype.
Tensor placed(Tensor x, double scale, double shift, DType t) {
  if (scale != 1) x = op<"mul">({x, scale});
  if (shift != 0) x = op<"add">({x, shift});
  return x.cast(t);
}

// Numbers of the standard normal distribution, flat and in pairs, in the accumulation dtype of t.
Tensor standard_normal(const Ints& shape, DType t, Device* device) {
  const int64_t n = numel(shape), half = (n + 1) / 2;
  const Tensor u = uniform01({2, half}, acc_dtype(t), device);
  const Tensors pair = ops<"normal_pair">({op<"select">({u}, {0, 0}), op<"select">({u}, {0, 1})});
  return reshape(slice(op<"concat">({pair[0], pair[1]}, {0}), 0, 0, n), shape);
}

// The normal distribution's quantile at p in (0, 1): M. J. Wichura, Algorithm AS 241 (1988), PPND7, of about 7 digits
// in f64, too.
Expr normal_quantile(Expr p) {
  const Expr q = p - 0.5, r = 0.180625 - q * q;
  const Expr centre = q * polynomial(r, {3.3871327179e+0, 5.0434271938e+1, 1.5929113202e+2, 5.9109374720e+1}) /
                      polynomial(r, {1.0, 1.7895169469e+1, 7.8757757664e+1, 6.7187563600e+1});
  const Expr t = sqrt(-exact::log(min(p, 1.0 - p))), near = t - 1.6, far = t - 5.0;
  const Expr tail = polynomial(near, {1.4234372777e+0, 2.7568153900e+0, 1.3067284816e+0, 1.7023821103e-1}) /
                    polynomial(near, {1.0, 7.3700164250e-1, 1.2021132975e-1});
  const Expr end = polynomial(far, {6.6579051150e+0, 3.0812263860e+0, 4.2868294337e-1, 1.7337203997e-2}) /
                   polynomial(far, {1.0, 2.4197894225e-1, 1.2258202635e-2});
  const Expr y = where(t <= 5.0, tail, end);
  return where(abs(q) <= 0.425, centre, where(q < 0.0, -y, y));
}

struct Parameters {
  const char *first, *first_doc, *second, *second_doc;
  double defaults[2];
};
// shape, two parameters, dtype; the second one must be above 0.
OpBuilder distribution(OpBuilder o, const Parameters& p) {
  return random_source(o)
      .attr(p.first, AttrKind::floating, p.defaults[0], p.first_doc)
      .attr(p.second, AttrKind::floating, p.defaults[1], p.second_doc)
      .attr("dtype", AttrKind::dtype, DType::f32, "a floating dtype")
      .infer([p](const Inference& c) {
        c.check(c.attr(2).floating() >= 0, "expected a ", p.second, " of 0 or more, got ", c.attr(2).floating());
        return random_floats(c);
      });
}

}  // namespace

TG_OPS(random_continuous) {
  // Box and Muller (1958): the radius sqrt(-2 log(1 - u)), turned by 2 pi v.
  TG_OP(normal_pair)
      .internal()
      .family("random")
      .doc("Two independent normal numbers of two uniform ones.")
      .input("u", "uniform in [0, 1)")
      .input("v", "uniform in [0, 1)")
      .output("x", "u's shape")
      .output("y", "u's shape")
      .map(Promotion::none,
           [](MapBuilder& b, Values in, AttrSpan) {
             const Expr radius = sqrt(2.0 * exact::exponential({&b, in[0]}));
             const exact::Turn turn = exact::turn({&b, in[1]});
             return MapResult{(radius * turn.cos).v, (radius * turn.sin).v};
           })
      .no_grad()
      .bounds(8, "exact_math.h's few ulp, relative to the radius");
  from_uniform(TG_OP(exponential_of), "-log(1 - u).", exact::exponential);
  from_uniform(TG_OP(cauchy_of), "tan(pi (u - 1/2)).", [](Expr u) {
    const exact::Turn turn = exact::turn(0.5 * u);  // pi u: its cotangent, negated
    return -turn.cos / max(turn.sin, u.wide() ? 0x1p-49 : 0x1p-25);
  });
  from_uniform(TG_OP(laplace_of), "The distance -log(1 - 2 |u - 1/2|) with the sign of u - 1/2.", [](Expr u) {
    const Expr upper = 0.5 <= u, w = where(upper, 2.0 * u - 1.0, 2.0 * u);
    const Expr e = exact::exponential(w);
    return where(upper, e, -e);
  });
  from_uniform(TG_OP(gumbel_of), "-log(-log(1 - u)), u = 0 counting as half a step.",
               [](Expr u) { return -exact::log(exact::exponential(max(u, u.wide() ? 0x1p-49 : 0x1p-25))); });
  random_step(TG_OP(exact_exp), "exp(x), the same bits on every plugin.", {"x"},
              [](MapBuilder& b, Values in, AttrSpan) -> MapResult {
                return exact::exp({&b, in[0]}).v;
              })
      .grad([](const Backward& b) { return Tensors{op<"mul">({b.grad(), b.output()})}; })
      .saves(0, 1);
  from_uniform(TG_OP(exact_log), "log(x), the same bits on every plugin.", exact::log);
  from_uniform(TG_OP(normal_quantile), "The normal distribution's quantile.", normal_quantile)
      .bounds(16, "AS 241's 1e-7 relative");

  distribution(TG_OP(normal), {"mean", "the mean", "std", "the standard deviation", {0, 1}})
      .doc("Normally distributed numbers (Box and Muller). Errors: ValueError for a negative std.")
      .decompose([](const Call& c) {
        const DType t = infer_now(c)[0].dtype;
        return Tensors{
            placed(standard_normal(c.attr(0).ints(), t, c.device), c.attr(2).floating(), c.attr(1).floating(), t)};
      })
      .bounds(16, "the bits are fixed; the distribution is that of 24 (f64: 48) random bits")
      .example(">>> tg.normal((2, 3)).shape\n(2, 3)");
  distribution(TG_OP(log_normal), {"mean", "of the logarithm", "std", "of the logarithm", {0, 1}})
      .doc("exp of normal numbers. Errors: ValueError for a negative std.")
      .decompose([](const Call& c) {
        const DType t = infer_now(c)[0].dtype;
        const Tensor x = standard_normal(c.attr(0).ints(), t, c.device);
        return Tensors{op<"exact_exp">({placed(x, c.attr(2).floating(), c.attr(1).floating(), x.dtype())}).cast(t)};
      })
      .bounds(16, "the bits are fixed")
      .example(">>> tg.log_normal((2, 3)).shape\n(2, 3)");
  distribution(TG_OP(cauchy), {"median", "the median", "scale", "half the distance of the quartiles", {0, 1}})
      .doc("Numbers of a Cauchy distribution. Errors: ValueError for a negative scale.")
      .decompose([](const Call& c) {
        const DType t = infer_now(c)[0].dtype;
        const Tensor x = op<"cauchy_of">({uniform01(c.attr(0).ints(), acc_dtype(t), c.device)});
        return Tensors{placed(x, c.attr(2).floating(), c.attr(1).floating(), t)};
      })
      .bounds(16, "the bits are fixed")
      .example(">>> tg.cauchy((2, 3)).shape\n(2, 3)");
  distribution(TG_OP(laplace), {"mean", "the mean", "scale", "the mean distance from it", {0, 1}})
      .doc("Numbers of a Laplace distribution. Errors: ValueError for a negative scale.")
      .decompose([](const Call& c) {
        const DType t = infer_now(c)[0].dtype;
        const Tensor x = op<"laplace_of">({uniform01(c.attr(0).ints(), acc_dtype(t), c.device)});
        return Tensors{placed(x, c.attr(2).floating(), c.attr(1).floating(), t)};
      })
      .bounds(16, "the bits are fixed")
      .example(">>> tg.laplace((2, 3)).shape\n(2, 3)");
  distribution(TG_OP(gumbel), {"mode", "the mode", "scale", "the scale", {0, 1}})
      .doc("Numbers of a Gumbel distribution. Errors: ValueError for a negative scale.")
      .decompose([](const Call& c) {
        const DType t = infer_now(c)[0].dtype;
        const Tensor x = op<"gumbel_of">({uniform01(c.attr(0).ints(), acc_dtype(t), c.device)});
        return Tensors{placed(x, c.attr(2).floating(), c.attr(1).floating(), t)};
      })
      .bounds(16, "the bits are fixed")
      .example(">>> tg.gumbel((2, 3)).shape\n(2, 3)");

  random_source(TG_OP(exponential))
      .doc("Exponentially distributed numbers of mean 1 / rate. Errors: ValueError for a rate not above 0.")
      .attr("rate", AttrKind::floating, 1.0, "one over the mean")
      .attr("dtype", AttrKind::dtype, DType::f32, "a floating dtype")
      .infer([](const Inference& c) {
        c.check(c.attr(1).floating() > 0, "expected a rate above 0, got ", c.attr(1).floating());
        return random_floats(c);
      })
      .decompose([](const Call& c) {
        const DType t = infer_now(c)[0].dtype;
        const Tensor x = op<"exponential_of">({uniform01(c.attr(0).ints(), acc_dtype(t), c.device)});
        return Tensors{placed(x, 1 / c.attr(1).floating(), 0, t)};
      })
      .bounds(16, "the bits are fixed")
      .example(">>> bool((tg.exponential((9,)) >= 0).all())\nTrue");

  // The quantile of a uniform share between those of the ends; an interval above the mean is mirrored, where shares are
  // exact.
  random_source(TG_OP(truncated_normal))
      .doc(
          "Normal numbers between low and high. Errors: ValueError for a negative std, for low not below high, and for "
          "an interval "
          "without probability (more than 37 deviations away).")
      .attr("mean", AttrKind::floating, 0.0, "of the whole distribution")
      .attr("std", AttrKind::floating, 1.0, "of the whole distribution")
      .attr("low", AttrKind::floating, -2.0, "no number is below")
      .attr("high", AttrKind::floating, 2.0, "no number is above")
      .attr("dtype", AttrKind::dtype, DType::f32, "a floating dtype")
      .infer([](const Inference& c) {
        const double mean = c.attr(1).floating(), std = c.attr(2).floating(), low = c.attr(3).floating(),
                     high = c.attr(4).floating();
        c.check(std > 0, "expected a standard deviation above 0, got ", std);
        c.check(low < high, "expected low < high, got ", low, " and ", high);
        c.check(low - mean < 37 * std && mean - high < 37 * std,
                "expected an interval within 37 deviations of the mean, got ", low, " to ", high);
        return random_floats(c);
      })
      .decompose([](const Call& c) {
        const DType t = infer_now(c)[0].dtype, compute = acc_dtype(t);
        const double mean = c.attr(1).floating(), std = c.attr(2).floating();
        double a = (c.attr(3).floating() - mean) / std, z = (c.attr(4).floating() - mean) / std;
        const bool mirrored = a > 0;
        if (mirrored) a = -(c.attr(4).floating() - mean) / std, z = -(c.attr(3).floating() - mean) / std;
        const auto share = [](double v) { return 0.5 * std::erfc(-v / std::numbers::sqrt2); };
        const double tiny = compute == DType::f64 ? 1e-300 : 1e-37;
        const Tensor u = uniform01(c.attr(0).ints(), compute, c.device);
        const Tensor p = op<"add">({op<"mul">({u, share(z) - share(a)}), std::max(share(a), tiny)});
        const Tensor x = placed(op<"normal_quantile">({p}), mirrored ? -std : std, mean, compute);
        return Tensors{op<"clip">({x, c.attr(3).floating(), c.attr(4).floating()}).cast(t)};
      })
      .bounds(16, "the bits are fixed")
      .example(">>> tg.truncated_normal((9,), low=0.0, high=1.0).max().item() <= 1\nTrue");
}

}  // namespace tg
