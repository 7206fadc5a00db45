// SPDX-License-Identifier: Apache-2.0
//
// map on floats: exact opcodes to the last bit, transcendental ones within ABI.md's bounds. 16-bit dtypes: unary
// opcodes over all 65536 patterns.

#include "floor_fixture.h"

namespace tg::test {
namespace {

constexpr long double kInf = std::numeric_limits<long double>::infinity();
constexpr long double kNaN = std::numeric_limits<long double>::quiet_NaN();

template <class T>
class MapFloat : public FloorTest {
 protected:
  using C = std::conditional_t<std::is_same_v<T, double>, double, float>;  // computed in

  static C compute(T x) { return C(number(x)); }

  static std::vector<T> unary_values(Random& random) {
    if constexpr (is_float16<T>) {
      std::vector<T> all(65536);
      for (size_t i = 0; i < all.size(); ++i) all[i].bits = uint16_t(i);
      return all;
    } else {
      return sample<T>(random, 2003);
    }
  }

  // All pairs (triples) of a sample, one list per operand.
  static std::vector<std::vector<T>> tuples(Random& random, size_t arity) {
    const std::vector<T> values = sample<T>(random, arity == 2 ? 90 : 53);
    std::vector<std::vector<T>> out(arity);
    const size_t side = arity == 2 ? values.size() : 53;
    const size_t n = arity == 2 ? side * side : side * side * 12;
    for (size_t i = 0; i < n; ++i) {
      out[0].push_back(values[i % side]);
      out[1].push_back(values[i / side % side]);
      if (arity == 3) out[2].push_back(values[i / side / side * 4]);
    }
    return out;
  }

  std::vector<std::vector<T>> operands(size_t arity) {
    if (arity == 1) return {unary_values(this->random)};
    return tuples(this->random, arity);
  }

  // check(x, y, z, result) for all operand tuples, in every layout.
  template <class R>
  void sweep(uint16_t opcode, size_t arity, const std::function<bool(T, T, T, R)>& check) {
    const auto lists = operands(arity);
    for (Layout layout : kLayouts) {
      std::vector<Tensor> inputs;
      for (const auto& list : lists) inputs.push_back(spread(list, layout));
      std::vector<Tensor*> pointers;
      for (Tensor& t : inputs) pointers.push_back(&t);
      Tensor y(dtype<R>, inputs[0].shape(), layout);
      int wrong = 0;
      this->each_good_row(single(opcode, pointers, y, dtype<T>), [&] {
        for (int64_t i = 0; i < y.size() && wrong < 5; ++i) {
          const T a = inputs[0].get<T>(i), b = inputs[arity > 1 ? 1 : 0].get<T>(i),
                  c = inputs[arity > 2 ? 2 : 0].get<T>(i);
          if (!check(a, b, c, y.get<R>(i))) {
            ++wrong;
            ADD_FAILURE() << "opcode " << opcode << " of " << number(a) << ", " << number(b) << ", " << number(c)
                          << ": got " << number(y.get<R>(i));
          }
        }
      });
    }
  }

  // The result is the compute type's, rounded to T.
  void exact(uint16_t opcode, size_t arity, const std::function<C(C, C, C)>& f) {
    sweep<T>(opcode, arity, [&](T a, T b, T c, T got) {
      const long double expected = nearest(f(compute(a), compute(b), compute(c)), format<T>());
      return same(number(got), expected);
    });
  }
  void comparison(uint16_t opcode, const std::function<bool(C, C)>& f) {
    sweep<boolean>(opcode, 2,
                   [&](T a, T b, T, boolean got) { return got.value == uint8_t(f(compute(a), compute(b))); });
  }
};
TYPED_TEST_SUITE(MapFloat, FloatTypes, TypeNames);

TYPED_TEST(MapFloat, ExactUnary) {
  using C = typename TestFixture::C;
  this->exact(TG_MAP_COPY, 1, [](C x, C, C) { return x; });
  this->exact(TG_MAP_NEG, 1, [](C x, C, C) { return -x; });
  this->exact(TG_MAP_ABS, 1, [](C x, C, C) { return std::fabs(x); });
  this->exact(TG_MAP_SQRT, 1, [](C x, C, C) { return std::sqrt(x); });
  this->exact(TG_MAP_FLOOR, 1, [](C x, C, C) { return std::floor(x); });
  this->exact(TG_MAP_CEIL, 1, [](C x, C, C) { return std::ceil(x); });
  this->exact(TG_MAP_TRUNC, 1, [](C x, C, C) { return std::trunc(x); });
  this->exact(TG_MAP_ROUND, 1, [](C x, C, C) { return std::isfinite(x) ? x - std::remainder(x, C(1)) : x; });
  this->exact(TG_MAP_SIGN, 1, [](C x, C, C) { return x > 0 ? C(1) : x < 0 ? C(-1) : x; });
  this->exact(TG_MAP_RELU, 1, [](C x, C, C) { return std::isnan(x) || x > 0 ? x : C(0); });
  this->exact(TG_MAP_RECIPROCAL, 1, [](C x, C, C) { return 1 / x; });
}

TYPED_TEST(MapFloat, ExactBinary) {
  using C = typename TestFixture::C;
  this->exact(TG_MAP_ADD, 2, [](C x, C y, C) { return x + y; });
  this->exact(TG_MAP_SUB, 2, [](C x, C y, C) { return x - y; });
  this->exact(TG_MAP_MUL, 2, [](C x, C y, C) { return x * y; });
  this->exact(TG_MAP_DIV, 2, [](C x, C y, C) { return x / y; });
  this->exact(TG_MAP_REM, 2, [](C x, C y, C) {
    const C r = std::fmod(x, y);
    return r != 0 && std::signbit(r) != std::signbit(y) ? C(r + y) : r;
  });
  const auto max = [](C x, C y) { return std::isnan(x) || std::isnan(y) ? C(kNaN) : x > y ? x : y; };
  const auto min = [](C x, C y) { return std::isnan(x) || std::isnan(y) ? C(kNaN) : x < y ? x : y; };
  this->exact(TG_MAP_MAX, 2, [&](C x, C y, C) { return max(x, y); });
  this->exact(TG_MAP_MIN, 2, [&](C x, C y, C) { return min(x, y); });
  this->exact(TG_MAP_CLIP, 3, [&](C x, C lo, C hi) { return min(max(x, lo), hi); });
  this->exact(TG_MAP_FMA, 3, [](C x, C y, C z) { return std::fma(x, y, z); });
}

TYPED_TEST(MapFloat, Comparisons) {
  using C = typename TestFixture::C;
  this->comparison(TG_MAP_EQ, [](C x, C y) { return !std::isnan(x) && !std::isnan(y) && !(x < y) && !(y < x); });
  this->comparison(TG_MAP_NE, [](C x, C y) { return std::isnan(x) || std::isnan(y) || x < y || y < x; });
  this->comparison(TG_MAP_LT, [](C x, C y) { return x < y; });
  this->comparison(TG_MAP_LE, [](C x, C y) { return x < y || x == y; });
}

TYPED_TEST(MapFloat, SignsOfZero) {
  using T = TypeParam;
  const std::vector<T> zeros = {element<T>(0.0L), element<T>(-0.0L)};
  const auto signs = [&](uint16_t opcode, std::vector<T> x, std::vector<T> y, bool first, bool second) {
    Tensor a = Tensor::of<T>({2}, x), b = Tensor::of<T>({2}, y.empty() ? x : y), out(dtype<T>, {2});
    this->each_good_row(
        single(opcode, y.empty() ? std::vector<Tensor*>{&a} : std::vector<Tensor*>{&a, &b}, out, dtype<T>), [&] {
          EXPECT_EQ(number(out.get<T>(0)), 0);
          EXPECT_EQ(number(out.get<T>(1)), 0);
          EXPECT_EQ(std::signbit(number(out.get<T>(0))), first) << "opcode " << opcode;
          EXPECT_EQ(std::signbit(number(out.get<T>(1))), second) << "opcode " << opcode;
        });
  };
  signs(TG_MAP_COPY, zeros, {}, false, true);
  signs(TG_MAP_NEG, zeros, {}, true, false);
  signs(TG_MAP_ABS, zeros, {}, false, false);
  signs(TG_MAP_SQRT, zeros, {}, false, true);
  signs(TG_MAP_MUL, zeros, {element<T>(-1), element<T>(1)}, true, true);
  signs(TG_MAP_REM, {element<T>(6), element<T>(-6)}, {element<T>(-3), element<T>(3)}, true, false);
}

TYPED_TEST(MapFloat, WhereKeepsBits) {
  using T = TypeParam;
  const std::vector<T> a = sample<T>(this->random, 301), b = sample<T>(this->random, 301);
  std::vector<boolean> condition = sample<boolean>(this->random, a.size());
  for (Layout layout : kLayouts) {
    Tensor c = spread(condition, layout), x = spread(a, layout), y = spread(b, layout),
           out(dtype<T>, x.shape(), layout);
    this->each_good_row(single(TG_MAP_WHERE, {&c, &x, &y}, out, dtype<T>), [&] {
      for (int64_t i = 0; i < out.size(); ++i)
        EXPECT_TRUE(same(number(out.get<T>(i)), number((c.get<boolean>(i).value ? x : y).template get<T>(i)))) << i;
    });
  }
}

// ---- transcendentals ----

// `got` within `bound` of `exact`, overflow to infinity included.
bool within(long double got, long double exact, long double bound, Format f) {
  if (std::isnan(exact)) return std::isnan(got);
  if (std::isnan(got)) return false;
  const long double largest = std::ldexp(2 - std::ldexp(1.0L, 1 - f.precision), f.max_exponent);
  if (std::isinf(got)) return std::signbit(got) == std::signbit(exact) && std::abs(exact) + bound >= largest;
  return std::abs(got - exact) <= bound;
}

struct Bound {
  uint16_t opcode;
  int arity;
  long double (*exact)(long double x, long double y);
  long double ulps;           // of the result ...
  long double absolute = 0;   // ... or in eps, if more
  bool times_x = false;       // the absolute bound in eps*|x|
  long double domain = kInf;  // |x| up to here
};

long double sigmoid(long double x) { return 1 / (1 + std::exp(-x)); }
long double gelu_tanh(long double x) {
  return x * sigmoid(2 * std::sqrt(2 / std::acos(-1.0L)) * (x + 0.044715L * x * x * x));
}

const Bound kBounds[] = {
    {TG_MAP_EXP, 1, [](long double x, long double) { return std::exp(x); }, 4},
    {TG_MAP_LOG, 1, [](long double x, long double) { return std::log(x); }, 4},
    {TG_MAP_EXP2, 1, [](long double x, long double) { return std::exp2(x); }, 4},
    {TG_MAP_LOG2, 1, [](long double x, long double) { return std::log2(x); }, 4},
    {TG_MAP_LOG10, 1, [](long double x, long double) { return std::log10(x); }, 4},
    {TG_MAP_EXPM1, 1, [](long double x, long double) { return std::expm1(x); }, 8},
    {TG_MAP_LOG1P, 1, [](long double x, long double) { return std::log1p(x); }, 8},
    {TG_MAP_SIN, 1, [](long double x, long double) { return std::sin(x); }, 4, 1, false, 32768},
    {TG_MAP_COS, 1, [](long double x, long double) { return std::cos(x); }, 4, 1, false, 32768},
    {TG_MAP_TAN, 1, [](long double x, long double) { return std::tan(x); }, 8, 0, false, 1.5L},
    {TG_MAP_TANH, 1, [](long double x, long double) { return std::tanh(x); }, 6},
    {TG_MAP_SINH, 1, [](long double x, long double) { return std::sinh(x); }, 8},
    {TG_MAP_COSH, 1, [](long double x, long double) { return std::cosh(x); }, 8},
    {TG_MAP_ASIN, 1, [](long double x, long double) { return std::asin(x); }, 6},
    {TG_MAP_ACOS, 1, [](long double x, long double) { return std::acos(x); }, 6},
    {TG_MAP_ATAN, 1, [](long double x, long double) { return std::atan(x); }, 6},
    {TG_MAP_ERF, 1, [](long double x, long double) { return std::erf(x); }, 16},
    {TG_MAP_ERFC, 1, [](long double x, long double) { return std::erfc(x); }, 0, 16},
    {TG_MAP_RSQRT, 1, [](long double x, long double) { return 1 / std::sqrt(x); }, 2},
    {TG_MAP_SIGMOID, 1, [](long double x, long double) { return sigmoid(x); }, 8},
    {TG_MAP_SILU, 1, [](long double x, long double) { return x * sigmoid(x); }, 8},
    {TG_MAP_SOFTPLUS, 1,
     [](long double x, long double) { return std::fmax(x, 0.0L) + std::log1p(std::exp(-std::fabs(x))) + (x - x); }, 8},
    {TG_MAP_GELU, 1, [](long double x, long double) { return 0.5L * x * std::erfc(-x * std::sqrt(0.5L)); }, 0, 16,
     true},
    {TG_MAP_GELU_TANH, 1, [](long double x, long double) { return gelu_tanh(x); }, 0, 16, true},
    {TG_MAP_POW, 2, [](long double x, long double y) { return std::pow(x, y); }, 16},
    {TG_MAP_ATAN2, 2, [](long double x, long double y) { return std::atan2(x, y); }, 6},
};

// Whether `got` meets the bound for operands as they are, or with subnormal ones flushed to zero.
template <class T>
bool meets(const Bound& b, long double x, long double y, long double got) {
  using C = std::conditional_t<std::is_same_v<T, double>, double, float>;
  const Format f = format<T>();
  const long double tiny = std::ldexp(1.0L, format<C>().min_exponent);
  if (std::abs(x) > b.domain) return std::isinf(x) ? std::isnan(got) : b.opcode == TG_MAP_TAN || std::abs(got) <= 1;
  const bool minus_infinity_free = b.opcode == TG_MAP_SILU || b.opcode == TG_MAP_GELU || b.opcode == TG_MAP_GELU_TANH;
  if (minus_infinity_free && x == -kInf) return std::isnan(got) || got == 0;
  for (int flush = 0; flush < 4; ++flush) {
    const long double fx = (flush & 1) && std::abs(x) < tiny ? std::copysign(0.0L, x) : x;
    const long double fy = (flush & 2) && std::abs(y) < tiny ? std::copysign(0.0L, y) : y;
    const long double exact = b.opcode == TG_MAP_SOFTPLUS && std::isinf(fx) ? std::fmax(fx, 0.0L) : b.exact(fx, fy);
    if (std::abs(exact) < tiny && got == 0) return true;
    long double bound = b.ulps * ulp(exact, format<C>());
    // sin and cos: the absolute bound holds near their zeros only
    const bool absolute =
        b.absolute > 0 && (b.opcode == TG_MAP_SIN || b.opcode == TG_MAP_COS ? std::abs(exact) < 0.25L : true);
    if (absolute)
      bound = std::fmax(bound, b.absolute * eps<C>() * (b.times_x && std::isfinite(fx) ? std::abs(fx) : 1.0L));
    if constexpr (is_float16<T>) bound += ulp(exact, f);  // the rounding to T, and 1 ulp in all where f32 is good
    if (within(got, exact, bound, f)) return true;
  }
  return false;
}

TYPED_TEST(MapFloat, TranscendentalBounds) {
  using T = TypeParam;
  for (const Bound& b : kBounds)
    this->template sweep<T>(b.opcode, size_t(b.arity), [&](T x, T y, T, T got) {
      return meets<T>(b, number(x), b.arity == 2 ? number(y) : 1, number(got));
    });
}

TYPED_TEST(MapFloat, SpecialResults) {
  using T = TypeParam;
  const auto point = [&](uint16_t opcode, std::vector<long double> x, long double expected) {
    std::vector<Tensor> inputs;
    for (long double v : x) inputs.push_back(Tensor::of<T>({1}, {element<T>(v)}));
    std::vector<Tensor*> pointers;
    for (Tensor& t : inputs) pointers.push_back(&t);
    Tensor y(dtype<T>, {1});
    this->each_good_row(single(opcode, pointers, y, dtype<T>), [&] {
      EXPECT_TRUE(same(number(y.get<T>(0)), expected))
          << "opcode " << opcode << " of " << x[0] << ": got " << number(y.get<T>(0));
    });
  };
  point(TG_MAP_EXP, {-kInf}, 0);
  point(TG_MAP_EXP, {0}, 1);
  point(TG_MAP_EXP, {kInf}, kInf);
  point(TG_MAP_LOG, {0}, -kInf);
  point(TG_MAP_LOG, {kInf}, kInf);
  point(TG_MAP_LOG, {-1}, kNaN);
  point(TG_MAP_SIN, {kInf}, kNaN);
  point(TG_MAP_COS, {-kInf}, kNaN);
  point(TG_MAP_TANH, {kInf}, 1);
  point(TG_MAP_TANH, {-kInf}, -1);
  point(TG_MAP_ERF, {-kInf}, -1);
  point(TG_MAP_SIGMOID, {-kInf}, 0);
  point(TG_MAP_SIGMOID, {kInf}, 1);
  point(TG_MAP_POW, {kNaN, 0}, 1);
  point(TG_MAP_POW, {1, kNaN}, 1);
  point(TG_MAP_POW, {-2, 3}, -8);
  point(TG_MAP_POW, {-2, 0.5L}, kNaN);
  point(TG_MAP_POW, {0, -1}, kInf);
}

}  // namespace
}  // namespace tg::test
