// SPDX-License-Identifier: Apache-2.0
// Map programs written as formulas: Expr is a value of a MapBuilder with operators. Numbers beside it become immediates
// of its dtype; comparisons give bools.
//
//   const Expr x{&b, in[0]};
//   return where(x < 0.0, -x, sqrt(x)).v;
#pragma once
#include <tengen/op.h>

namespace tg {

struct Expr {
  MapBuilder* b;
  MapBuilder::Value v;

  bool wide() const { return v.dtype == DType::f64; }
  Expr make(MapBuilder::Value w) const { return {b, w}; }
  Expr constant(double k) const { return make(b->immediate(k, v.dtype)); }
  Expr to(DType t) const { return make(b->cast(v, t)); }
  Expr emit(int opcode) const { return make(b->emit(opcode, v)); }
  Expr emit(int opcode, Expr o) const { return make(b->emit(opcode, v, o.v)); }
};

inline Expr operator-(Expr x) { return x.emit(TG_MAP_NEG); }
inline Expr operator!(Expr x) { return x.emit(TG_MAP_NOT); }
#define TG_EXPR_BINARY(symbol, opcode)                                                    \
  inline Expr operator symbol(Expr x, Expr y) { return x.emit(opcode, y); }               \
  inline Expr operator symbol(Expr x, double y) { return x.emit(opcode, x.constant(y)); } \
  inline Expr operator symbol(double x, Expr y) { return y.constant(x).emit(opcode, y); }
TG_EXPR_BINARY(+, TG_MAP_ADD)
TG_EXPR_BINARY(-, TG_MAP_SUB)
TG_EXPR_BINARY(*, TG_MAP_MUL)
TG_EXPR_BINARY(/, TG_MAP_DIV)
TG_EXPR_BINARY(<, TG_MAP_LT)
TG_EXPR_BINARY(<=, TG_MAP_LE)
TG_EXPR_BINARY(==, TG_MAP_EQ)
TG_EXPR_BINARY(!=, TG_MAP_NE)
TG_EXPR_BINARY(&, TG_MAP_AND)
TG_EXPR_BINARY(|, TG_MAP_OR)
TG_EXPR_BINARY(^, TG_MAP_XOR)
#undef TG_EXPR_BINARY

inline Expr where(Expr c, Expr x, Expr y) { return x.make(x.b->emit(TG_MAP_WHERE, c.v, x.v, y.v)); }
inline Expr where(Expr c, double x, Expr y) { return where(c, y.constant(x), y); }
inline Expr where(Expr c, Expr x, double y) { return where(c, x, x.constant(y)); }
inline Expr fma(Expr x, Expr y, Expr z) { return x.make(x.b->emit(TG_MAP_FMA, x.v, y.v, z.v)); }
inline Expr fma(Expr x, Expr y, double z) { return fma(x, y, x.constant(z)); }
inline Expr fma(Expr x, double y, Expr z) { return fma(x, x.constant(y), z); }
inline Expr abs(Expr x) { return x.emit(TG_MAP_ABS); }
inline Expr sqrt(Expr x) { return x.emit(TG_MAP_SQRT); }
inline Expr floor(Expr x) { return x.emit(TG_MAP_FLOOR); }
inline Expr round(Expr x) { return x.emit(TG_MAP_ROUND); }
inline Expr trunc(Expr x) { return x.emit(TG_MAP_TRUNC); }
inline Expr exp(Expr x) { return x.emit(TG_MAP_EXP); }
inline Expr log(Expr x) { return x.emit(TG_MAP_LOG); }
inline Expr log1p(Expr x) { return x.emit(TG_MAP_LOG1P); }
inline Expr sin(Expr x) { return x.emit(TG_MAP_SIN); }
inline Expr cos(Expr x) { return x.emit(TG_MAP_COS); }
inline Expr max(Expr x, Expr y) { return x.emit(TG_MAP_MAX, y); }
inline Expr max(Expr x, double y) { return x.emit(TG_MAP_MAX, x.constant(y)); }
inline Expr min(Expr x, Expr y) { return x.emit(TG_MAP_MIN, y); }
inline Expr min(Expr x, double y) { return x.emit(TG_MAP_MIN, x.constant(y)); }
inline Expr atan2(Expr y, Expr x) { return y.emit(TG_MAP_ATAN2, x); }
inline Expr is_nan(Expr x) { return x != x; }

// x is below 0, or -0; |x| with the sign of y.
inline Expr is_negative(Expr x) { return (x < 0.0) | ((x == 0.0) & (1.0 / x < 0.0)); }
inline Expr with_sign(Expr x, Expr y) { return where(is_negative(y), -abs(x), abs(x)); }

// An odd function's value from that of |x|: r with the sign of x, zeros as they are.
inline Expr odd(Expr x, Expr r) { return where(x == 0.0, x, where(x < 0.0, -r, r)); }

// 2^e of an i64 e, |e| <= 900 (f32: 127), exactly: a shifted integer to the 32nd power, and the rest.
inline Expr power_of_two(Expr e, DType t) {
  const Expr one = e.constant(1), coarse = e.emit(TG_MAP_SHR, e.constant(5));
  Expr y = one.emit(TG_MAP_SHL, coarse + 30.0).to(t) * 0x1p-30;
  for (int i = 0; i < 5; ++i) y = y * y;
  return y * one.emit(TG_MAP_SHL, e & 31.0).to(t);
}

// c[0] + c[1] x + c[2] x^2 + ..., by Horner's rule with fma.
inline Expr polynomial(Expr x, std::span<const double> c) {
  Expr y = x.constant(c.back());
  for (size_t i = c.size() - 1; i-- > 0;) y = fma(y, x, c[i]);
  return y;
}
inline Expr polynomial(Expr x, std::initializer_list<double> c) {
  return polynomial(x, std::span<const double>(c.begin(), c.size()));
}

}  // namespace tg
