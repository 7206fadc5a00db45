// SPDX-License-Identifier: Apache-2.0
// Random numbers of the gamma, beta and Dirichlet distributions, by rejection in a bounded number of rounds (what no
// round accepted, less than one in 10^8, gets a central value), in exactly rounded steps: a seed gives the same bits on
// every plugin.
//
// Gradients are implicit (M. Figurnov, S. Mohamed, A. Mnih, Implicit reparameterization gradients, 2018): a number z
// that keeps its place u = F(z; alpha) in the distribution moves by dz/dalpha = -(dF/dalpha) / F'(z).
#include "exact_math.h"
#include "quadrature.h"
#include "random_words.h"

namespace tg {
namespace {

constexpr int kGammaRounds = 8;  // each rejects 0.049 at most

// One round of G. Marsaglia and W. W. Tsang, A simple method for generating gamma variables (2000), which accepts more
// than 95 %: `value` above 0 was accepted before. The uniform number that decides is 1 - w. Shapes below 1 take 1 more.
MapResult gamma_round(MapBuilder& b, Values in, AttrSpan) {
  const Expr value{&b, in[0]}, alpha{&b, in[1]}, u{&b, in[2]}, v{&b, in[3]}, w{&b, in[4]};
  const Expr d = where(alpha < 1.0, alpha + 1.0, alpha) - 1.0 / 3;
  const Expr z = sqrt(2.0 * exact::exponential(u)) * exact::turn(v).cos;
  const Expr root = 1.0 + z / (3.0 * sqrt(d)), cube = root * root * root, z2 = z * z;
  const Expr slow = 0.5 * z2 + d * ((1.0 - cube) + exact::log(cube)) + exact::exponential(w);
  const Expr accepted = (0.0 < cube) & ((0.0331 * z2 * z2 < w) | (0.0 < slow));
  return where((0.0 < value) | (!accepted), value, d * cube).v;
}

// The logarithm of gamma numbers, so that small shapes do not underflow: below 1, log(1 - u) / alpha more.
Tensor drawn(const Tensor& alpha) {
  const DType t = alpha.dtype();
  Device* device = alpha.device();
  Tensor value = zeros(alpha.shape(), t, device);
  for (int i = 0; i < kGammaRounds; ++i) {
    const Tensor u = uniform01(with_lead(3, alpha.shape()), t, device);
    value = op<"gamma_round">(
        {value, alpha, op<"select">({u}, {0, 0}), op<"select">({u}, {0, 1}), op<"select">({u}, {0, 2})});
  }
  return op<"gamma_log">({value, alpha, uniform01(alpha.shape(), t, device)});
}

// d log z / d alpha of y = log z, with `next` = psi(alpha + 1). F' is z^(a-1) e^-z / Gamma(a), so with f = F / (z F'):
// * z <= 8: f = sum of t_n, t_n = z^n / (a (a+1) .. (a+n)) (DLMF 8.7.1), hence -[(y - psi(a)) f + df/da], of which the
//   parts in 1/a^2 cancel: -(y - next) sum t_n + sum t_n (1/(a+1) + .. + 1/(a+n)). 48 terms: 8^48 / 48! < 1e-17.
// * above: dF/da is the integral of (log t - psi(a)) F'(t), from 0 to z where z <= a, else the negative one from there
//   on. With t = z e^r, over s = |r|: (y - psi(a) + r) exp(a r - z (e^r - 1)), which decays at least as
//   d s + z s^2 / (2 + s), upwards d s + z s^2 / 2, with d = |a - z|: below e^-37 at `end`.
MapResult gamma_slope(MapBuilder& b, Values in, AttrSpan) {
  static const Quadrature rule = gauss_legendre(32);
  const Expr y{&b, in[0]}, a{&b, in[1]}, next{&b, in[2]};
  constexpr double kLog8 = 3 * std::numbers::ln2;

  const Expr few = exp(min(y, kLog8));
  Expr term = 1.0 / a, sum = term, harmonic = a.constant(0), rest = harmonic;
  for (int n = 1; n < 48; ++n) {
    const Expr step = 1.0 / (a + double(n));
    term = term * few * step;
    harmonic = harmonic + step;
    sum = sum + term;
    rest = fma(term, harmonic, rest);
  }
  const Expr small = rest - (y - next) * sum;

  const Expr far = max(y, kLog8), z = exp(far), centre = far - next + 1.0 / a, d = abs(a - z), low = z <= a;
  const Expr more = 37.0 - 2.0 * d, root = sqrt(more * more + 296.0 * (z + d));
  const Expr down = where(0.0 < more, (more + root) / (2.0 * (z + d)), 148.0 / (root - more));
  const Expr end = where(low, -down, 74.0 / (d + sqrt(d * d + 74.0 * z)));
  Expr integral = a.constant(0);
  for (size_t i = 0; i < rule.at.size(); ++i) {
    const Expr r = end * rule.at[i];
    const Expr density = exp(a * r - z * r.emit(TG_MAP_EXPM1));
    integral = fma((centre + r) * density, rule.weight[i], integral);
  }
  return where(y <= kLog8, small, end * integral).v;
}

Tensor slope(const Tensor& y, const Tensor& alpha) {
  const Tensor a = alpha.cast(DType::f64);
  return op<"gamma_slope">({y.cast(DType::f64), a, op<"digamma">({op<"add">({a, 1.0})})}).cast(alpha.dtype());
}

Tensor log_gamma(const Tensor& alpha) { return op<"log_standard_gamma">({alpha}); }

// The sum along the last axis by halves, in one order everywhere; it stays with size 1.
Tensor ordered_sum(Tensor x) {
  const int64_t last = x.rank() - 1;
  while (x.size(last) > 1) {
    const int64_t n = x.size(last), half = n / 2;
    const Tensor pairs = op<"add">({slice(x, last, 0, half), slice(x, last, half, 2 * half)});
    x = n % 2 ? op<"concat">({pairs, slice(x, last, n - 1, n)}, {last}) : pairs;
  }
  return x;
}
}  // namespace

TG_OPS(random_gamma) {
  random_step(TG_OP(gamma_round), "A round of Marsaglia and Tsang's method.", {"value", "alpha", "u", "v", "w"},
              gamma_round)
      .no_grad();
  random_step(TG_OP(gamma_log), "The logarithm of the accepted value, of shapes below 1 with its factor.",
              {"value", "alpha", "u"}, [](MapBuilder& b, Values in, AttrSpan) -> MapResult {
                const Expr value{&b, in[0]}, alpha{&b, in[1]}, u{&b, in[2]};
                const Expr centre = where(alpha < 1.0, alpha + 1.0, alpha) - 1.0 / 3;
                const Expr y = exact::log(where(0.0 < value, value, centre));
                const Expr small = where(alpha < 1.0, y - exact::exponential(u) / alpha, y);
                return where(alpha <= 0.0, NAN, small).v;
              })
      .no_grad();
  random_step(TG_OP(exact_logistic), "1 / (1 + exp(-x)), the same bits on every plugin.", {"x"},
              [](MapBuilder& b, Values in, AttrSpan) -> MapResult {
                return (1.0 / (exact::exp(-Expr{&b, in[0]}) + 1.0)).v;
              })
      .grad([](const Backward& b) {
        const Tensor& y = b.output();
        return Tensors{op<"mul">({b.grad(), op<"mul">({y, op<"sub">({1.0, y})})})};
      })
      .saves(0, 1);
  TG_OP(gamma_slope)
      .internal()
      .family("random")
      .doc("How the logarithm of a gamma number moves with its shape parameter. In f64.")
      .input("y", "the logarithm")
      .input("alpha", "the shape parameter")
      .input("next", "digamma(alpha + 1)")
      .map(Promotion::none, gamma_slope)
      .grad([](const Backward&) -> Tensors {
        raise(ErrorKind::not_implemented,
              "[standard_gamma] expected one derivative in the parameters (also of beta and dirichlet), got a second");
      })
      .bounds(4096, "the sums' terms are up to e^8 times the result");
  TG_OP(log_standard_gamma)
      .internal()
      .family("random")
      .doc("The logarithm of standard_gamma.")
      .input("alpha", "f32 or f64")
      .infer(random_like)
      .decompose([](const Call& c) { return Tensors{drawn(c.input(0))}; })
      .grad([](const Backward& b) { return Tensors{op<"mul">({b.grad(), slope(b.output(), b.input(0))})}; })
      .saves(1, 1)
      .jvp([](const Forward& f) { return Tensors{op<"mul">({f.tangent(0), slope(f.output(), f.input(0))})}; })
      .bounds(16, "the bits are fixed");

  TG_OP(standard_gamma)
      .family("random")
      .doc(
          "A number of the gamma distribution of each shape parameter and rate 1; NaN for a shape not above 0. "
          "Differentiable once in alpha.")
      .input("alpha", "floats above 0")
      .output("y", "alpha's shape and dtype")
      .infer(random_like)
      .decompose([](const Call& c) {
        infer_now(c);
        const DType t = c.input(0).dtype();
        return Tensors{op<"exact_exp">({log_gamma(c.input(0).cast(acc_dtype(t)))}).cast(t)};
      })
      .bounds(16, "the bits are fixed")
      .example(">>> bool((tg.standard_gamma(tg.tensor([0.5, 3.])) > 0).all())\nTrue");

  TG_OP(beta)
      .family("random")
      .doc(
          "A number of the beta distribution of each pair of parameters, in [0, 1]; NaN for one not above 0. "
          "Differentiable once.")
      .input("a", "floats above 0")
      .input("b", "floats above 0; broadcasts with a")
      .output("y", "the broadcast shape, the promoted dtype")
      .infer(random_like_both)
      .decompose([](const Call& c) {
        const TensorSpec y = infer_now(c)[0];
        const Ints shape = concrete(y.shape);
        const DType t = acc_dtype(y.dtype);
        const Tensor a = log_gamma(expand(c.input(0).cast(t), shape)), b = log_gamma(expand(c.input(1).cast(t), shape));
        return Tensors{op<"exact_logistic">({op<"sub">({a, b})}).cast(y.dtype)};
      })
      .bounds(16, "the bits are fixed")
      .example(">>> tg.beta(tg.tensor([2., 3.]), tg.tensor([1.])).shape\n(2,)");

  TG_OP(dirichlet)
      .family("random")
      .doc(
          "Shares of the last axis, with sum 1, of the Dirichlet distribution; NaN for a parameter not above 0. "
          "Differentiable once.")
      .input("alpha", "floats above 0 of at least one axis")
      .output("y", "alpha's shape and dtype")
      .infer([](const Inference& c) {
        c.check(!c.input(0).shape.empty(), "expected parameters of at least one axis, got shape ()");
        return random_like(c);
      })
      .decompose([](const Call& c) {
        infer_now(c);
        const DType t = c.input(0).dtype();
        if (c.input(0).numel() == 0) return Tensors{op<"copy">({c.input(0)})};
        const Tensor y = log_gamma(c.input(0).cast(acc_dtype(t)));
        const Tensor top = op<"floor_reduce">({y.detach()}, {TG_REDUCE_MAX, Ints{y.rank() - 1}});  // cancels
        const Tensor parts = op<"exact_exp">({op<"sub">({y, top})});
        return Tensors{op<"div">({parts, ordered_sum(parts)}).cast(t)};
      })
      .bounds(16, "the bits are fixed")
      .example(">>> round(tg.dirichlet(tg.tensor([1., 2., 3.])).sum().item(), 5)\n1.0");
}

}  // namespace tg
