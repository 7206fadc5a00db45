// SPDX-License-Identifier: Apache-2.0
// Instructions on complex values written in reals, and casts of 8-bit floats. Sources: W. Kahan, "Branch cuts for complex
// elementary functions, or much ado about nothing's sign bit" (1987); R. L. Smith, "Algorithm 116: complex division" (1962).
// Errors are relative to |result|, not to each part: a few ulp of the real functions that a formula is made of.
#include <tengen/map_expr.h>

#include <cmath>
#include <numbers>

#include "dispatch/map_program.h"

namespace tg {
namespace {

using V = MapBuilder::Value;

struct Z {
  Expr re, im;
  V value() const { return re.b->pair(re.v, im.v); }
};
Z parts(MapBuilder& b, V v) { return {{&b, b.real(v)}, {&b, b.imag(v)}}; }

Z operator+(Z x, Z y) { return {x.re + y.re, x.im + y.im}; }
Z operator-(Z x, Z y) { return {x.re - y.re, x.im - y.im}; }
Z operator-(Z x) { return {-x.re, -x.im}; }
Z operator*(Z x, Z y) { return {x.re * y.re - x.im * y.im, x.re * y.im + x.im * y.re}; }
Z operator*(Z x, double k) { return {x.re * k, x.im * k}; }
Z where(Expr c, Z x, Z y) { return {where(c, x.re, y.re), where(c, x.im, y.im)}; }
Z conj(Z x) { return {x.re, -x.im}; }
Z times_i(Z x) { return {-x.im, x.re}; }
Z over_i(Z x) { return {x.im, -x.re}; }
Z one(Z like) { return {like.re.constant(1), like.re.constant(0)}; }
Expr infinite(Expr x) { return abs(x) == INFINITY; }
Expr finite(Expr x) { return abs(x) < INFINITY; }
Expr cosine(Expr x) { return where(x == 0.0, 1.0, cos(x)); }
Expr is_zero(Z x) { return (x.re == 0.0) & (x.im == 0.0); }

// Smith's: divides by the larger part of y first, so that nothing overflows on the way.
Z operator/(Z x, Z y) {
  const Expr flat = abs(y.im) <= abs(y.re), zero = is_zero(y);
  const Expr big = where(flat, y.re, y.im), small = where(flat, y.im, y.re);
  const Expr r = where(zero, 0.0, small / big), d = where(zero, 0.0, big + small * r);
  const Expr p = where(flat, x.re, x.im), q = where(flat, x.im, x.re), im = (q - p * r) / d;
  return {(p + q * r) / d, where(flat, im, -im)};
}

// |x| without overflow: max sqrt(1 + (min / max)^2); infinite where a part is, as C99's hypot.
Expr modulus(Z x) {
  const Expr a = abs(x.re), b = abs(x.im), big = max(a, b), r = min(a, b) / big;
  const Expr y = where((big == 0.0) | is_nan(big), big, big * sqrt(r * r + 1.0));
  return where((a == INFINITY) | (b == INFINITY), a.constant(INFINITY), y);
}

// Values at infinities and NaN are those of the array API standard (C99, annex G).
Z exp(Z x) {  // exp(a) in two halves: it may overflow where exp(a) cos(b) does not
  const Expr h = exp(x.re * 0.5);
  const Expr re = h * cosine(x.im) * h, im = where(x.im == 0.0, x.im, h * sin(x.im) * h);
  const Expr vanishes = x.re == -INFINITY, turns = (x.re == INFINITY) & !finite(x.im);
  return {where(vanishes, 0.0, where(turns, INFINITY, re)), where(vanishes, 0.0, where(turns, NAN, im))};
}
Z expm1(Z x) {  // expm1(a) cos(b) - 2 sin(b / 2)^2
  const Expr s = sin(x.im * 0.5), re = x.re.emit(TG_MAP_EXPM1) * cos(x.im) - s * s * 2.0;
  return {where(infinite(x.re) & !finite(x.im), where(x.re < 0.0, -1.0, x.re), re), exp(x).im};
}

// log|x|: near |x| = 1 by log1p of |x|^2 - 1, whose larger part is exact.
Expr log_modulus(Z x) {
  const Expr a = abs(x.re), b = abs(x.im), big = max(a, b), small = min(a, b);
  const Expr near = (0.5 <= big) & (big <= 2.0);
  const Expr excess = where(near, (big - 1.0) * (big + 1.0) + small * small, 0.0);
  const Expr r = small / big, far = log(big) + log1p(r * r) * 0.5;
  const Expr finite = where((big == 0.0) | (big == INFINITY), log(big), where(near, log1p(excess) * 0.5, far));
  return where((a == INFINITY) | (b == INFINITY), a.constant(INFINITY), where(is_nan(x.re) | is_nan(x.im), x.re + x.im, finite));
}
Z log(Z x) { return {log_modulus(x), atan2(x.im, x.re)}; }
Z log1p(Z x) {  // |1 + x|^2 - 1 = a (2 + a) + b^2 for small x
  const Expr small = max(abs(x.re), abs(x.im)) < 0.5, a = x.re + 1.0;
  const Expr excess = where(small, x.re * (x.re + 2.0) + x.im * x.im, 0.0);
  return {where(small, log1p(excess) * 0.5, log_modulus({a, x.im})), atan2(x.im, a)};
}

// Kahan's: t = sqrt((|x| + |a|) / 2) is one part's magnitude, b / 2t the other; scaled by the larger part.
Z sqrt(Z x) {
  const Expr a = abs(x.re), b = abs(x.im), big = max(a, b), none = is_zero(x);
  const Expr unit = where(none, 1.0, big), p = a / unit, q = b / unit;
  const Expr t = sqrt(unit) * sqrt((p + sqrt(p * p + q * q)) * 0.5);
  const Expr u = where(none, 0.0, b / (t + t)), size = where(none, 0.0, t);
  const Expr left = is_negative(x.re);
  Z y{where(left, u, size), with_sign(where(left, size, u), x.im)};
  const Expr inf = x.re.constant(INFINITY), zero = x.re.constant(0);
  y = where(a == INFINITY, where(left, Z{where(is_nan(x.im), x.im, zero), with_sign(inf, x.im)}, Z{inf, where(is_nan(x.im), x.im, with_sign(zero, x.im))}), y);
  return where(b == INFINITY, Z{inf, x.im}, y);
}

// Real functions that are no opcodes.
Expr asinh_real(Expr x) {  // log1p(a + a^2 / (1 + sqrt(1 + a^2))); log(2a) where a^2 would overflow
  const Expr a = abs(x), huge = 1e18 < a, safe = where(huge, 1.0, a), s = safe * safe;
  const Expr y = where(huge, log(a) + std::numbers::ln2, log1p(safe + s / (sqrt(s + 1.0) + 1.0)));
  return odd(x, y);
}

Z sinh(Z x) {
  const Expr turns = ((x.re == 0.0) | infinite(x.re)) & (!finite(x.im));
  const Expr re = where(turns, x.re, x.re.emit(TG_MAP_SINH) * cosine(x.im));
  return {re, where(x.im == 0.0, x.im, x.re.emit(TG_MAP_COSH) * sin(x.im))};
}
Z cosh(Z x) {
  const Expr im = x.re.emit(TG_MAP_SINH) * sin(x.im), product = x.re * x.im;
  const Expr flat = where(finite(x.re), product, where(x.re < 0.0, -x.im, x.im)), upright = where(finite(x.im), product, x.re);
  const Expr re = where(infinite(x.re) & !finite(x.im), INFINITY, x.re.emit(TG_MAP_COSH) * cosine(x.im));
  return {re, where(x.im == 0.0, flat, where(x.re == 0.0, upright, im))};
}
// Kahan's, with t = tan(b), s = sinh(a); beyond |a| = 20 the real part is 1 to rounding.
Z tanh(Z x) {
  const Expr far = 20.0 <= abs(x.re), a = where(far, 0.0, x.re), t = x.im.emit(TG_MAP_TAN), beta = t * t + 1.0;
  const Expr s = a.emit(TG_MAP_SINH), rho = sqrt(s * s + 1.0), d = beta * s * s + 1.0;
  const Expr decay = exp(abs(x.re) * -2.0) * sin(x.im) * cos(x.im) * 4.0;
  const Expr re = where(far, with_sign(x.re.constant(1), x.re), beta * rho * s / d), im = where(far, decay, t / d);
  return {where(finite(x.im) | infinite(x.re), re, where(x.re == 0.0, x.re, NAN)),
          where(x.im == 0.0, x.im, where(infinite(x.re), with_sign(x.im.constant(0), x.im), im))};
}
// Kahan's. Beyond finite numbers: the angle, and an infinity.
Z asin(Z x) {
  const Z l = sqrt(Z{1.0 - x.re, -x.im}), r = sqrt(Z{x.re + 1.0, x.im});
  const Expr any = infinite(x.re) | infinite(x.im), re = where(any, with_sign(atan2(abs(x.re), abs(x.im)), x.re), atan2(x.re, (l * r).re));
  const Expr nan = is_nan(x.re) | is_nan(x.im);
  return {where(nan, where((x.re == 0.0), x.re, NAN), re),
          where(any, with_sign(x.im.constant(INFINITY), x.im), asinh_real((conj(l) * r).im))};
}
Z acos(Z x) {
  const Z l = sqrt(Z{1.0 - x.re, -x.im}), r = sqrt(Z{x.re + 1.0, x.im});
  const Expr any = infinite(x.re) | infinite(x.im), re = where(any, atan2(abs(x.im), x.re), atan2(l.re, r.re) * 2.0);
  const Expr nan = is_nan(x.re) | is_nan(x.im);
  return {where(nan, where(x.re == 0.0, re.constant(std::numbers::pi / 2), NAN), re),
          where(any, with_sign(x.im.constant(INFINITY), -x.im), asinh_real((conj(r) * l).im))};
}
// log1p(4a / ((1 - a)^2 + b^2)) / 4 and the angle of (1 - a)(1 + a) - b^2 + 2bi, for a >= 0; 1 / x where squares overflow.
Z atanh(Z x) {
  const Expr a = abs(x.re), b = abs(x.im), far = 1e9 < max(a, b);
  const Expr p = where(far, 0.0, a), q = where(far, 0.0, b), d = p.constant(1) - p;
  const Expr re = log1p(p * 4.0 / (d * d + q * q)) * 0.25, im = atan2(q * 2.0, d * (p + 1.0) - q * q) * 0.5;
  const Z inverse = one(x) / Z{a, b};
  const Expr any = infinite(a) | infinite(b), quarter = x.re.constant(std::numbers::pi / 2);
  return {with_sign(where(any | (a == 0.0), 0.0, where(far, inverse.re, re)), x.re),
          with_sign(where(any & !is_nan(b), quarter, where(is_nan(b), b, where(far, quarter, im))), x.im)};
}

Z pow(Z x, Z y) {  // exp(y log x); 1 for y = 0, and 0 for x = 0 with Re y > 0
  const Expr flat = is_zero(x), nothing = x.re.constant(0);
  const Z safe = where(flat, one(x), x), value = exp(y * log(safe));
  const Expr edge = where(0.0 < y.re, nothing, x.re.constant(NAN));
  const Expr edge_im = where(0.0 < y.re, nothing, x.re.constant(NAN));
  return where(is_zero(y), one(x), where(flat, Z{edge, edge_im}, value));
}

[[noreturn]] void refuse(const MapBuilder& b, DType t) {
  if (is_small_float(t) || is_packed(t))
    raise(ErrorKind::type, "[", b.op(), "] expected a dtype to compute in, got ", long_name_of(t), "; cast it first");
  raise(ErrorKind::type, "[", b.op(), "] expected real numbers, got ", long_name_of(t), "; take real(x) or abs(x)");
}

// ---- 8-bit floats (OFP8 1.0), in integer arithmetic -----------------------------------------------------------------------

struct Format {
  int mantissa, bias, top;  // top: the largest finite code
};
Format format_of(DType t) { return t == DType::f8e4m3 ? Format{3, 7, 0x7e} : Format{2, 15, 0x7b}; }

Expr decode(MapBuilder& b, V v) {
  const Format f = format_of(v.dtype);
  const Expr byte = Expr{&b, {v.id, DType::u8}}.to(DType::i64), code = byte & 127.0;
  const Expr e = code.emit(TG_MAP_SHR, code.constant(f.mantissa)), m = code & double((1 << f.mantissa) - 1);
  const Expr shift = where(e == 0.0, 1.0, e), digits = where(e == 0.0, m, m + double(1 << f.mantissa));
  const Expr size = digits.emit(TG_MAP_SHL, shift).to(DType::f32) * std::ldexp(1.0, -f.bias - f.mantissa);
  Expr y = where(code <= double(f.top), size, size.constant(NAN));
  if (f.mantissa == 2) y = where(code == 0x7c, y.constant(INFINITY), y);
  return where(127.0 < byte, -y, y);
}

// |x| is brought to [1, 2) by powers of two, counted in k (from the smallest normal number); the digits are then rounded
// to even, and carry into the exponent by themselves.
V encode(Expr x, DType t) {
  const Format f = format_of(t);
  Expr y = abs(x) * std::ldexp(1.0, f.bias - 1), k = x.constant(0);
  for (int step = f.mantissa == 2 ? 16 : 8; step; step /= 2) {
    const Expr large = std::ldexp(1.0, step) <= y;
    y = where(large, y * std::ldexp(1.0, -step), y);
    k = where(large, k + double(step), k);
  }
  const int digits = 1 << f.mantissa;
  Expr code = k * double(digits) + round(y * double(digits));
  code = where(code <= double(f.top), code, f.mantissa == 2 ? 0x7c : 0x7f);
  code = where(is_nan(x), code.constant(0x7f), code);
  const Expr bits = (code + where(is_negative(x), code.constant(128), code.constant(0))).to(DType::u8);
  return {bits.v.id, t};
}

}  // namespace

V emit_composed(MapBuilder& b, int opcode, V v) {
  if (is_small_float(v.dtype)) {
    if (opcode != TG_MAP_COPY) refuse(b, v.dtype);
    return {b.emit(TG_MAP_COPY, V{v.id, DType::u8}).id, v.dtype};
  }
  const Z x = parts(b, v);
  const auto scaled_log = [&](double k) { return (log(x) * k).value(); };
  switch (opcode) {
    case TG_MAP_COPY: return b.pair(b.emit(opcode, x.re.v), b.emit(opcode, x.im.v));
    case TG_MAP_NEG: return (-x).value();
    case TG_MAP_ABS: return modulus(x).v;
    case TG_MAP_SIGN: {  // x / |x|, halved where |x| would overflow
      const Expr m = modulus(x);
      return where(is_zero(x), one(x) - one(x), Z{x.re / m, x.im / m}).value();
    }
    case TG_MAP_SQRT: return sqrt(x).value();
    case TG_MAP_RSQRT: return (one(x) / sqrt(x)).value();
    case TG_MAP_RECIPROCAL: return (one(x) / x).value();
    case TG_MAP_EXP: return exp(x).value();
    case TG_MAP_EXP2: return exp(x * std::numbers::ln2).value();
    case TG_MAP_EXPM1: return expm1(x).value();
    case TG_MAP_LOG: return log(x).value();
    case TG_MAP_LOG2: return scaled_log(std::numbers::log2e);
    case TG_MAP_LOG10: return scaled_log(std::numbers::log10e);
    case TG_MAP_LOG1P: return log1p(x).value();
    case TG_MAP_SIGMOID: return (one(x) / (one(x) + exp(-x))).value();
    case TG_MAP_SINH: return sinh(x).value();
    case TG_MAP_COSH: return cosh(x).value();
    case TG_MAP_TANH: return tanh(x).value();
    case TG_MAP_SIN: return over_i(sinh(times_i(x))).value();
    case TG_MAP_COS: return cosh(times_i(x)).value();
    case TG_MAP_TAN: return over_i(tanh(times_i(x))).value();
    case TG_MAP_ASIN: return asin(x).value();
    case TG_MAP_ACOS: return acos(x).value();
    case TG_MAP_ATAN: return over_i(atanh(times_i(x))).value();
    default: refuse(b, v.dtype);
  }
}

V emit_composed(MapBuilder& b, int opcode, V v, V w) {
  if (!is_complex(v.dtype) || v.dtype != w.dtype) refuse(b, is_composed(v.dtype) ? v.dtype : w.dtype);
  const Z x = parts(b, v), y = parts(b, w);
  switch (opcode) {
    case TG_MAP_ADD: return (x + y).value();
    case TG_MAP_SUB: return (x - y).value();
    case TG_MAP_MUL: return (x * y).value();
    case TG_MAP_DIV: return (x / y).value();
    case TG_MAP_POW: return pow(x, y).value();
    case TG_MAP_EQ: return ((x.re == y.re) & (x.im == y.im)).v;
    case TG_MAP_NE: return ((x.re != y.re) | (x.im != y.im)).v;
    default: refuse(b, v.dtype);
  }
}

V emit_composed(MapBuilder& b, int opcode, V c, V v, V w) {
  if (opcode == TG_MAP_FMA && is_complex(v.dtype)) return (parts(b, c) * parts(b, v) + parts(b, w)).value();
  if (opcode != TG_MAP_WHERE || v.dtype != w.dtype) refuse(b, is_composed(v.dtype) ? v.dtype : w.dtype);
  if (is_small_float(v.dtype)) return {b.emit(opcode, c, V{v.id, DType::u8}, V{w.id, DType::u8}).id, v.dtype};
  return where(Expr{&b, c}, parts(b, v), parts(b, w)).value();
}

V cast_composed(MapBuilder& b, V a, DType to) {
  if (is_packed(to)) refuse(b, to);
  if (is_small_float(a.dtype)) return b.cast(decode(b, a).v, to);
  if (is_small_float(to)) {
    const V real = b.real(a);
    return encode({&b, b.cast(real, real.dtype == DType::f64 ? DType::f64 : DType::f32)}, to);
  }
  if (is_complex(to)) {
    const DType t = real_dtype(to);
    return b.pair(b.cast(b.real(a), t), is_complex(a.dtype) ? b.cast(b.imag(a), t) : b.immediate(Scalar(0.0), t));
  }
  if (to != DType::boolean) return b.cast(b.real(a), to);  // the real part, as PyTorch and NumPy
  const Z x = parts(b, a);
  return ((x.re != 0.0) | (x.im != 0.0)).v;
}

}  // namespace tg
