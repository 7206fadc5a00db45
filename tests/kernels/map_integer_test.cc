// SPDX-License-Identifier: Apache-2.0
//
// map on integers and bool, against 128-bit arithmetic.

#include "floor_fixture.h"

namespace tg::test {
namespace {

__extension__ typedef __int128 Wide;

Wide floor_div(Wide a, Wide b) {
  const Wide q = a / b;
  return q * b != a && (a < 0) != (b < 0) ? q - 1 : q;
}

template <class T>
T wrap_pow(T base, T exponent) {
  if (exponent < 0) return base == 1 ? T(1) : std::is_signed_v<T> && base == T(-1) ? T(exponent % 2 ? -1 : 1) : T(0);
  // Repeated squaring modulo 2^64: its low bits are those modulo 2^n.
  uint64_t result = 1, b = uint64_t(base);
  for (uint64_t e = uint64_t(exponent); e; e /= 2) {
    if (e % 2) result *= b;
    b *= b;
  }
  return T(result);
}

template <class T>
class MapInteger : public FloorTest {
 protected:
  template <class R>
  void sweep(uint16_t opcode, size_t arity,
             const std::function<std::conditional_t<is_bool<R>, bool, R>(Wide, Wide, Wide)>& expected) {
    const std::vector<T> values = sample<T>(this->random, 60);
    std::vector<std::vector<T>> lists(arity);
    const size_t side = values.size(), n = arity == 1 ? side : arity == 2 ? side * side : side * side * 8;
    for (size_t i = 0; i < n; ++i) {
      lists[0].push_back(values[i % side]);
      if (arity > 1) lists[1].push_back(values[i / side % side]);
      if (arity > 2) lists[2].push_back(values[i / side / side * 7]);
    }
    for (Layout layout : kLayouts) {
      std::vector<Tensor> inputs;
      for (const auto& list : lists) inputs.push_back(spread(list, layout));
      std::vector<Tensor*> pointers;
      for (Tensor& t : inputs) pointers.push_back(&t);
      Tensor y(dtype<R>, inputs[0].shape(), layout);
      int wrong = 0;
      this->each_good_row(single(opcode, pointers, y, dtype<T>), [&] {
        for (int64_t i = 0; i < y.size() && wrong < 5; ++i) {
          const Wide a = inputs[0].get<T>(i), b = inputs[arity > 1 ? 1 : 0].get<T>(i),
                     c = inputs[arity > 2 ? 2 : 0].get<T>(i);
          const R want = R(expected(a, b, c));
          if (y.bits(i) != bits_of(want)) {
            ++wrong;
            ADD_FAILURE() << "opcode " << opcode << " of " << (long double)a << ", " << (long double)b << ", "
                          << (long double)c << ": expected " << number(want) << ", got " << number(y.get<R>(i));
          }
        }
      });
    }
  }
};
TYPED_TEST_SUITE(MapInteger, IntegerTypes, TypeNames);

TYPED_TEST(MapInteger, Arithmetic) {
  using T = TypeParam;
  this->template sweep<T>(TG_MAP_COPY, 1, [](Wide a, Wide, Wide) { return T(a); });
  this->template sweep<T>(TG_MAP_NEG, 1, [](Wide a, Wide, Wide) { return T(-a); });
  this->template sweep<T>(TG_MAP_ABS, 1, [](Wide a, Wide, Wide) { return T(a < 0 ? -a : a); });
  this->template sweep<T>(TG_MAP_SIGN, 1, [](Wide a, Wide, Wide) { return T(a > 0 ? 1 : a < 0 ? -1 : 0); });
  this->template sweep<T>(TG_MAP_RELU, 1, [](Wide a, Wide, Wide) { return T(a > 0 ? a : 0); });
  this->template sweep<T>(TG_MAP_ADD, 2, [](Wide a, Wide b, Wide) { return T(a + b); });
  this->template sweep<T>(TG_MAP_SUB, 2, [](Wide a, Wide b, Wide) { return T(a - b); });
  this->template sweep<T>(TG_MAP_MUL, 2, [](Wide a, Wide b, Wide) { return T(uint64_t(a) * uint64_t(b)); });
  this->template sweep<T>(TG_MAP_DIV, 2, [](Wide a, Wide b, Wide) { return T(b == 0 ? 0 : floor_div(a, b)); });
  this->template sweep<T>(TG_MAP_REM, 2, [](Wide a, Wide b, Wide) { return T(b == 0 ? 0 : a - floor_div(a, b) * b); });
  this->template sweep<T>(TG_MAP_POW, 2, [](Wide a, Wide b, Wide) { return wrap_pow(T(a), T(b)); });
  this->template sweep<T>(TG_MAP_MAX, 2, [](Wide a, Wide b, Wide) { return T(a > b ? a : b); });
  this->template sweep<T>(TG_MAP_MIN, 2, [](Wide a, Wide b, Wide) { return T(a < b ? a : b); });
  this->template sweep<T>(TG_MAP_FMA, 3,
                          [](Wide a, Wide b, Wide c) { return T(uint64_t(a) * uint64_t(b) + uint64_t(c)); });
  this->template sweep<T>(TG_MAP_CLIP, 3, [](Wide x, Wide lo, Wide hi) {
    const Wide raised = x < lo ? lo : x;
    return T(raised > hi ? hi : raised);
  });
}

TYPED_TEST(MapInteger, Bits) {
  using T = TypeParam;
  constexpr int kWidth = int(sizeof(T)) * 8;
  this->template sweep<T>(TG_MAP_NOT, 1, [](Wide a, Wide, Wide) { return T(-a - 1); });
  this->template sweep<T>(TG_MAP_AND, 2, [](Wide a, Wide b, Wide) { return T(a & b); });
  this->template sweep<T>(TG_MAP_OR, 2, [](Wide a, Wide b, Wide) { return T(a | b); });
  this->template sweep<T>(TG_MAP_XOR, 2, [](Wide a, Wide b, Wide) { return T(a ^ b); });
  this->template sweep<T>(TG_MAP_SHL, 2,
                          [](Wide a, Wide b, Wide) { return b < 0 || b >= kWidth ? T(0) : T(uint64_t(a) << int(b)); });
  this->template sweep<T>(TG_MAP_SHR, 2, [](Wide a, Wide b, Wide) {
    if (b < 0 || b >= kWidth) return T(a < 0 ? -1 : 0);
    return T(floor_div(a, Wide(1) << int(b)));
  });
}

TYPED_TEST(MapInteger, Comparisons) {
  this->template sweep<boolean>(TG_MAP_EQ, 2, [](Wide a, Wide b, Wide) { return a == b; });
  this->template sweep<boolean>(TG_MAP_NE, 2, [](Wide a, Wide b, Wide) { return a != b; });
  this->template sweep<boolean>(TG_MAP_LT, 2, [](Wide a, Wide b, Wide) { return a < b; });
  this->template sweep<boolean>(TG_MAP_LE, 2, [](Wide a, Wide b, Wide) { return a <= b; });
}

TYPED_TEST(MapInteger, Where) {
  using T = TypeParam;
  const std::vector<T> a = sample<T>(this->random, 301), b = sample<T>(this->random, 301);
  for (Layout layout : kLayouts) {
    Tensor c = spread(sample<boolean>(this->random, a.size()), layout), x = spread(a, layout), y = spread(b, layout),
           out(dtype<T>, x.shape(), layout);
    this->each_good_row(single(TG_MAP_WHERE, {&c, &x, &y}, out, dtype<T>), [&] {
      for (int64_t i = 0; i < out.size(); ++i)
        EXPECT_EQ(out.get<T>(i), (c.get<boolean>(i).value ? x : y).template get<T>(i)) << i;
    });
  }
}

class MapBool : public FloorTest {};

TEST_F(MapBool, TruthTables) {
  // Operands a = 0011, b = 0101 repeated past a block; results in that order.
  const auto table = [&](uint16_t opcode, int arity, int expected) {
    for (Layout layout : kLayouts) {
      std::vector<boolean> a, b;
      for (int i = 0; i < 1204; ++i) {
        a.push_back(boolean((i & 2) != 0));
        b.push_back(boolean((i & 1) != 0));
      }
      Tensor x = Tensor::of<boolean>({4, 301}, a, layout), y = Tensor::of<boolean>({4, 301}, b, layout),
             out(dtype<boolean>, {4, 301}, layout);
      each_good_row(
          single(opcode, arity == 1 ? std::vector<Tensor*>{&x} : std::vector<Tensor*>{&x, &y}, out, dtype<boolean>),
          [&] {
            for (int i = 0; i < 1204; ++i)
              ASSERT_EQ(out.get<boolean>(i).value, expected >> (3 - i % 4) & 1) << "opcode " << opcode << " at " << i;
          });
    }
  };
  table(TG_MAP_COPY, 1, 0b0011);
  table(TG_MAP_NOT, 1, 0b1100);
  table(TG_MAP_AND, 2, 0b0001);
  table(TG_MAP_OR, 2, 0b0111);
  table(TG_MAP_XOR, 2, 0b0110);
  table(TG_MAP_MAX, 2, 0b0111);
  table(TG_MAP_MIN, 2, 0b0001);
  table(TG_MAP_EQ, 2, 0b1001);
  table(TG_MAP_NE, 2, 0b0110);
  table(TG_MAP_LT, 2, 0b0100);
  table(TG_MAP_LE, 2, 0b1101);
}

TEST_F(MapBool, Where) {
  std::vector<boolean> c, a, b;
  for (int i = 0; i < 800; ++i) {
    c.push_back(boolean((i & 4) != 0));
    a.push_back(boolean((i & 2) != 0));
    b.push_back(boolean((i & 1) != 0));
  }
  Tensor tc = Tensor::of<boolean>({800}, c), ta = Tensor::of<boolean>({800}, a), tb = Tensor::of<boolean>({800}, b),
         out(dtype<boolean>, {800});
  each_good_row(single(TG_MAP_WHERE, {&tc, &ta, &tb}, out, dtype<boolean>), [&] {
    for (int i = 0; i < 800; ++i) ASSERT_EQ(out.get<boolean>(i).value, (i & 4) ? (i & 2) / 2 : i & 1) << i;
  });
}

}  // namespace
}  // namespace tg::test
