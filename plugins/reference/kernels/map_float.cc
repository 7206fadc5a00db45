// SPDX-License-Identifier: Apache-2.0
//
// map instructions of f32, f64, f16 and bf16.

#include "map_loops.h"

namespace tg::reference {
namespace {

// Python's %: fmod is exact; the result takes the divisor's sign.
template <class C>
C remainder(C x, C y) {
  const C r = std::fmod(x, y);
  if (r == 0) return std::copysign(r, y);
  return (r < 0) != (y < 0) ? r + y : r;
}

// The named activations, in double so that one rounding is all their error (f64 has its own libm's).
double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }
double silu(double x) { return x / (1 + std::exp(-x)); }
double softplus(double x) { return std::max(x, 0.0) + std::log1p(std::exp(-std::abs(x))); }
double gelu(double x) { return 0.5 * x * std::erfc(x * -0.70710678118654752440); }
double gelu_tanh(double x) { return 0.5 * x * (1 + std::tanh(0.79788456080286535588 * (x + 0.044715 * x * x * x))); }

template <class T>
MapLoop arithmetic(uint16_t opcode) {
  using C = compute_t<T>;
  switch (opcode) {
    case TG_MAP_NEG:
      return unary<T>([](C x) { return -x; });
    case TG_MAP_ABS:
      return unary<T>([](C x) { return std::abs(x); });
    case TG_MAP_SQRT:
      return unary<T>([](C x) { return std::sqrt(x); });
    case TG_MAP_FLOOR:
      return unary<T>([](C x) { return std::floor(x); });
    case TG_MAP_CEIL:
      return unary<T>([](C x) { return std::ceil(x); });
    case TG_MAP_ROUND:
      return unary<T>([](C x) { return std::nearbyint(x); });  // ties to even, as the FPU is set
    case TG_MAP_TRUNC:
      return unary<T>([](C x) { return std::trunc(x); });
    case TG_MAP_ADD:
      return binary<T>([](C a, C b) { return a + b; });
    case TG_MAP_SUB:
      return binary<T>([](C a, C b) { return a - b; });
    case TG_MAP_MUL:
      return binary<T>([](C a, C b) { return a * b; });
    case TG_MAP_DIV:
      return binary<T>([](C a, C b) { return a / b; });
    case TG_MAP_REM:
      return binary<T>([](C a, C b) { return remainder(a, b); });
    case TG_MAP_FMA:
      return ternary<T>([](C a, C b, C c) { return std::fma(a, b, c); });
    case TG_MAP_CLIP:
      return ternary<T>([](C x, C lo, C hi) { return smaller(larger(x, lo), hi); });
    case TG_MAP_SIGN:
      return unary<T>([](C x) { return x > 0 ? C(1) : x < 0 ? C(-1) : x; });
    case TG_MAP_RELU:
      return unary<T>([](C x) { return larger(x, C(0)); });
    case TG_MAP_RECIPROCAL:
      return unary<T>([](C x) { return 1 / x; });
    default:
      return nullptr;
  }
}

template <class T>
MapLoop transcendental(uint16_t opcode) {
  using C = compute_t<T>;
  switch (opcode) {
    case TG_MAP_EXP:
      return unary<T>([](C x) { return std::exp(x); });
    case TG_MAP_LOG:
      return unary<T>([](C x) { return std::log(x); });
    case TG_MAP_SIN:
      return unary<T>([](C x) { return std::sin(x); });
    case TG_MAP_COS:
      return unary<T>([](C x) { return std::cos(x); });
    case TG_MAP_TANH:
      return unary<T>([](C x) { return std::tanh(x); });
    case TG_MAP_ERF:
      return unary<T>([](C x) { return std::erf(x); });
    case TG_MAP_POW:
      return binary<T>([](C a, C b) { return std::pow(a, b); });
    case TG_MAP_ATAN2:
      return binary<T>([](C a, C b) { return std::atan2(a, b); });
    case TG_MAP_RSQRT:
      return unary<T>([](C x) { return 1 / std::sqrt(x); });
    case TG_MAP_EXPM1:
      return unary<T>([](C x) { return std::expm1(x); });
    case TG_MAP_LOG1P:
      return unary<T>([](C x) { return std::log1p(x); });
    case TG_MAP_EXP2:
      return unary<T>([](C x) { return std::exp2(x); });
    case TG_MAP_LOG2:
      return unary<T>([](C x) { return std::log2(x); });
    case TG_MAP_SIGMOID:
      return unary<T>([](C x) { return C(sigmoid(x)); });
    case TG_MAP_SILU:
      return unary<T>([](C x) { return C(silu(x)); });
    case TG_MAP_GELU:
      return unary<T>([](C x) { return C(gelu(x)); });
    case TG_MAP_GELU_TANH:
      return unary<T>([](C x) { return C(gelu_tanh(x)); });
    case TG_MAP_SOFTPLUS:
      return unary<T>([](C x) { return C(softplus(x)); });
    case TG_MAP_TAN:
      return unary<T>([](C x) { return std::tan(x); });
    case TG_MAP_SINH:
      return unary<T>([](C x) { return std::sinh(x); });
    case TG_MAP_COSH:
      return unary<T>([](C x) { return std::cosh(x); });
    case TG_MAP_ASIN:
      return unary<T>([](C x) { return std::asin(x); });
    case TG_MAP_ACOS:
      return unary<T>([](C x) { return std::acos(x); });
    case TG_MAP_ATAN:
      return unary<T>([](C x) { return std::atan(x); });
    case TG_MAP_LOG10:
      return unary<T>([](C x) { return std::log10(x); });
    case TG_MAP_ERFC:
      return unary<T>([](C x) { return std::erfc(x); });
    default:
      return nullptr;
  }
}

}  // namespace

MapLoop float_loop(tg_dtype dtype, uint16_t opcode) {
  return visit(dtype, [&](auto t) -> MapLoop {
    using T = typename decltype(t)::type;
    if constexpr (is_floating<T>) {
      if (MapLoop loop = common_loop<T>(opcode)) return loop;
      if (MapLoop loop = arithmetic<T>(opcode)) return loop;
      return transcendental<T>(opcode);
    } else {
      return nullptr;
    }
  });
}

}  // namespace tg::reference
