// SPDX-License-Identifier: Apache-2.0
// Signs, fractions, exponents and special values of floats.
#include "map_expr.h"

#include <limits>
#include <numbers>

namespace tg {
namespace {

Tensor mul(const Arg& a, const Arg& b) { return op<"mul">({a, b}); }

double largest(DType t) {
  return t == DType::f16    ? 65504.0
         : t == DType::bf16 ? 0x1.fep127
         : t == DType::f32  ? double(std::numeric_limits<float>::max())
                            : std::numeric_limits<double>::max();
}

// The sign bit; a NaN's is free, so it counts as clear.
Expr negative(Expr x) { return (x < 0.0) | ((x == 0.0) & (1.0 / x < 0.0)); }

// x 2^e by thirds of e. Beyond 2200 (f32: 340) the result is 0 or infinite anyhow.
Expr scaled(Expr x, Expr e) {
  const double most = x.wide() ? 2200 : 340;
  const Expr all = min(max(e, -most), most), one = all / 3.0, two = (all - one) / 2.0;
  const DType t = x.v.dtype;
  return x * power_of_two(one, t) * power_of_two(two, t) * power_of_two(all - one - two, t);
}

// |x| = m 2^e with m in [1/2, 1): powers of two by halves of the range.
struct Parts {
  Expr mantissa, exponent;
};
Parts parts(Expr x) {
  Expr a = abs(x), e = x.constant(0);
  const Expr whole = (a != 0.0) & (a < INFINITY);
  const auto up = [&](int s) {
    const Expr c = a < std::ldexp(1.0, 1 - s);
    a = where(c, a * std::ldexp(1.0, s), a);
    e = where(c, e - double(s), e);
  };
  const auto down = [&](int s) {
    const Expr c = std::ldexp(1.0, s) <= a;
    a = where(c, a * std::ldexp(1.0, -s), a);
    e = where(c, e + double(s), e);
  };
  const int top = x.wide() ? 512 : 64;
  for (int s = top; s > 0; s /= 2) down(s);
  up(top);
  for (int s = top; s > 0; s /= 2) up(s);
  const Expr m = where(x < 0.0, a * -0.5, a * 0.5);
  return {where(whole, m, x), where(whole, e + 1.0, 0.0)};
}

// Multiplication by a constant.
void factor(OpBuilder o, const char* doc, double k, const char* example) {
  o.family("elementwise")
      .doc(doc)
      .input("x", "a tensor of numbers")
      .map(Promotion::common_float,
           [k](MapBuilder& b, Values in, AttrSpan) { return back(computing(b, in[0]) * k, in[0].dtype); })
      .grad([k](const Backward& b) { return Tensors{mul(b.grad(), k)}; })
      .saves(0, 0)
      .bounds(1.5, "the constant's rounding and the product's")
      .example(example);
}

// A test of a value of x's own dtype; integers and bools are looked at as they are.
void test(OpBuilder o, const char* doc, Expr (*f)(Expr), bool of_floats, const char* example) {
  o.family("elementwise")
      .doc(doc)
      .input("x", "any tensor")
      .output("y", "bool")
      .map(Promotion::none,
           [f, of_floats](MapBuilder& b, Values in, AttrSpan) {
             check_type(!is_composed(in[0].dtype), b.op(), "real numbers", in[0].dtype);
             const Expr x{&b, in[0]};
             if (!is_floating(in[0].dtype)) return (of_floats || in[0].dtype == DType::boolean ? x != x : x < 0.0).v;
             return f(x).v;
           })
      .no_grad()
      .bounds(0, "exact")
      .example(example);
}

}  // namespace

TG_OPS(float_parts) {
  factor(TG_OP(deg2rad), "Degrees to radians: x pi / 180.", std::numbers::pi / 180,
         ">>> round(tg.deg2rad(tg.tensor([180.])).item(), 5)\n3.14159");
  factor(TG_OP(rad2deg), "Radians to degrees: x 180 / pi.", 180 / std::numbers::pi,
         ">>> tg.rad2deg(tg.tensor([0.])).tolist()\n[0.0]");

  test(TG_OP(signbit), "The sign bit is set: x is below 0 or -0. (A NaN has no sign here.)", negative, false,
       ">>> tg.signbit(tg.tensor([-1., 0., -0.0])).tolist()\n[True, False, True]");
  test(
      TG_OP(isposinf), "x is +inf.", [](Expr x) { return x == INFINITY; }, true,
      ">>> tg.isposinf(tg.tensor([float('inf'), -float('inf')])).tolist()\n[True, False]");
  test(
      TG_OP(isneginf), "x is -inf.", [](Expr x) { return x == -INFINITY; }, true,
      ">>> tg.isneginf(tg.tensor([float('inf'), -float('inf')])).tolist()\n[False, True]");

  TG_OP(copysign)
      .family("elementwise")
      .doc("x's magnitude with y's sign, -0 included. (A NaN counts as positive.) The gradient at x = 0 is 0.")
      .input("x", "a tensor or a number")
      .input("y", "a tensor or a number; broadcasts with x")
      .output("z", "the broadcast shape, the promoted dtype, floating")
      .map(Promotion::common_float,
           [](MapBuilder& b, Values in, AttrSpan) {
             const Expr x{&b, in[0]}, y{&b, in[1]};
             return where(negative(y), -abs(x), abs(x)).v;
           })
      .grad([](const Backward& b) {
        const Arg sign = b.arg(0).kind == Arg::scalar
                             ? Arg(double((b.arg(0).s.as_double() > 0) - (b.arg(0).s.as_double() < 0)))
                             : Arg(op<"sign">({b.arg(0)}));
        return Tensors{when(b.need(0),
                            [&] {
                              return mul(b.grad(), op<"copysign">({sign, times(sign, b.arg(1))}));
                            }),
                       when(b.need(1), [&] { return zeros_like(b.grad()); })};
      })
      .saves(3, 0)
      .bounds(0, "exact")
      .example(">>> tg.copysign(tg.tensor([1., -2.]), -0.0).tolist()\n[-1.0, -2.0]");

  TG_OP(frac)
      .family("elementwise")
      .doc("x - trunc(x). Errors: TypeError for integers and bools.")
      .input("x", "floats")
      .map(Promotion::common,
           [](MapBuilder& b, Values in, AttrSpan) {
             check_type(is_floating(in[0].dtype), "frac", "floats", in[0].dtype);
             const Expr x{&b, in[0]};
             return (x - trunc(x)).v;
           })
      .grad([](const Backward& b) { return Tensors{b.grad()}; })
      .saves(0, 0)
      .bounds(0, "exact")
      .example(">>> tg.frac(tg.tensor([1.5, -2.25])).tolist()\n[0.5, -0.25]");

  TG_OP(nan_to_num)
      .family("elementwise")
      .doc(
          "x with NaN and the infinities replaced: by `nan`, and by `posinf` and `neginf`, which are the largest and "
          "smallest number of the dtype unless given. Integers and bools stay as they are.")
      .input("x", "any tensor")
      .attr("nan", AttrKind::floating, 0.0, "instead of NaN")
      .optional_attr("posinf", AttrKind::floating, "instead of inf")
      .optional_attr("neginf", AttrKind::floating, "instead of -inf")
      .map(Promotion::common,
           [](MapBuilder& b, Values in, AttrSpan attrs) {
             check_type(!is_composed(in[0].dtype), b.op(), "real numbers", in[0].dtype);
             if (!is_floating(in[0].dtype)) return in[0];
             const Expr x{&b, in[0]};
             const double top = attrs[1].given() ? attrs[1].floating() : largest(in[0].dtype);
             const double low = attrs[2].given() ? attrs[2].floating() : -largest(in[0].dtype);
             return where(is_nan(x), attrs[0].floating(), where(x == INFINITY, top, where(x == -INFINITY, low, x))).v;
           })
      .grad([](const Backward& b) {
        return Tensors{op<"where">({op<"isfinite">({b.input(0)}), b.grad(), 0.0})};
      })
      .saves(1, 0)
      .bounds(0, "exact")
      .example(">>> tg.nan_to_num(tg.tensor([float('nan'), 1.])).tolist()\n[0.0, 1.0]");

  TG_OP(frexp)
      .family("elementwise")
      .doc("x = mantissa 2^exponent with 1/2 <= |mantissa| < 1; zeros, NaN and infinities: themselves and 0.")
      .input("x", "a tensor of numbers")
      .output("mantissa", "x's shape and dtype, floating")
      .output("exponent", "i32")
      .map(Promotion::common_float,
           [](MapBuilder& b, Values in, AttrSpan) {
             const Parts p = parts(computing(b, in[0]));
             return MapResult{back(p.mantissa, in[0].dtype), p.exponent.to(DType::i32).v};
           })
      .grad([](const Backward& b) {
        if (!b.grad(0).defined()) return Tensors{Tensor()};
        return Tensors{op<"ldexp">({b.grad(0), op<"neg">({b.output(1)})})};
      })
      .saves(0, 2)
      .bounds(0, "exact")
      .example(">>> [v.tolist() for v in tg.frexp(tg.tensor([6., 0.]))]\n[[0.75, 0.0], [3, 0]]");

  TG_OP(ldexp)
      .family("elementwise")
      .doc("x 2^exponent. Errors: TypeError for an exponent of other than integers.")
      .input("x", "a tensor of numbers")
      .input("exponent", "integers; broadcasts with x")
      .output("y", "the broadcast shape, x's dtype, floating")
      .map(Promotion::none,
           [](MapBuilder& b, Values in, AttrSpan) {
             check_type(is_integer(in[1].dtype), "ldexp", "an exponent of integers", in[1].dtype);
             const DType t = is_floating(in[0].dtype) ? in[0].dtype : DType::f32;
             const Expr x = computing(b, b.cast(in[0], t)), e{&b, b.cast(in[1], DType::i64)};
             return back(scaled(x, e), t);
           })
      .grad([](const Backward& b) {
        return Tensors{op<"ldexp">({b.grad(), b.arg(1)}), Tensor()};
      })
      .saves(2, 0)
      .bounds(1, "exact; two roundings of subnormal results")
      .example(">>> tg.ldexp(tg.tensor([1., 3.]), tg.tensor([2, -1])).tolist()\n[4.0, 1.5]");

  TG_OP(nextafter)
      .family("elementwise")
      .doc(
          "The number of the dtype next to x in the direction of y; y where they are equal. Its derivative is 1 in x, 0 in y. "
          "Errors: TypeError for integers.")
      .input("x", "floats")
      .input("y", "floats; broadcasts with x")
      .output("z", "the broadcast shape, the promoted dtype")
      .infer([](const Inference& c) {
        const DType t = promote(c.input(0).dtype, c.input(1).dtype);
        check_type(is_floating(t), c.name(), "floats", t);
        return one({t, broadcast(c.name(), c.input(0).shape, c.input(1).shape)});
      })
      .decompose([](const Call& c) {
        const TensorSpec z = infer_now(c)[0];
        const DType t = z.dtype, bits = t == DType::f64 ? DType::i64 : t == DType::f32 ? DType::i32 : DType::i16;
        const Tensor x = op<"copy">({c.input(0).cast(t)}), y = c.input(1).cast(t);
        return Tensors{op<"bitcast">({op<"next_bits">({op<"bitcast">({x}, {bits}), x, y})}, {t})};
      })
      .grad([](const Backward& b) { return Tensors{b.grad(), zeros_like(b.grad())}; })  // x and a little
      .saves(0, 0)
      .jvp_by_grad()
      .bounds(0, "exact")
      .example(">>> tg.nextafter(tg.tensor([1.]), tg.tensor([2.])).item() - 1 == 2.0 ** -23\nTrue");

  // Magnitudes of equal sign order as their bits do.
  TG_OP(next_bits)
      .internal()
      .family("elementwise")
      .doc("nextafter on the bits of x, as integers.")
      .input("bits", "x's bits")
      .input("x", "floats")
      .input("y", "floats")
      .map(Promotion::none,
           [](MapBuilder& b, Values in, AttrSpan) {
             const DType t = in[0].dtype;
             const Expr n{&b, in[0]}, x{&b, in[1]}, y{&b, in[2]};
             const int width = t == DType::i64 ? 64 : t == DType::i32 ? 32 : 16;
             const auto bits = [&](uint64_t v) { return Expr{&b, b.immediate_bits(v, t)}; };
             const uint64_t sign = uint64_t(1) << (width - 1);
             const Expr away = !((x < y) ^ (0.0 < x));  // from 0
             const Expr step = where(away, n + 1.0, n - 1.0);
             const Expr tiny = where(y < 0.0, bits(sign | 1), bits(1));
             const uint64_t quiet = t == DType::i64            ? 0x7ff8000000000000
                                    : t == DType::i32          ? 0x7fc00000
                                    : x.v.dtype == DType::bf16 ? 0x7fc0
                                                               : 0x7e00;
             const Expr next = where(x == 0.0, tiny, step);
             const Expr same = where(x == 0.0, where(negative(y), bits(sign), bits(0)), n);
             return where(is_nan(x) | is_nan(y), bits(quiet), where(x == y, same, next)).v;
           })
      .no_grad()
      .bounds(0, "exact");
}

}  // namespace tg
