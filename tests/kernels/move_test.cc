// SPDX-License-Identifier: Apache-2.0
//
// copy, fill, iota, random.

#include <array>

#include "floor_fixture.h"

namespace tg::test {
namespace {

template <class T>
class Move : public FloorTest {};
TYPED_TEST_SUITE(Move, AllTypes, TypeNames);

const std::vector<Shape> kShapes = {{}, {1}, {5}, {3, 4}, {4, 1, 7}, {2, 3, 1, 2, 2, 3}, {130, 257}};

TYPED_TEST(Move, CopyKeepsBitsThroughAnyStrides) {
  using T = TypeParam;
  for (const Shape& shape : kShapes) {
    for (Layout from : kLayouts) {
      for (Layout to : kLayouts) {
        Tensor x(dtype<T>, shape, from), y(dtype<T>, shape, to);
        for (int64_t i = 0; i < x.size(); ++i) x.put_bits(i, is_bool<T> ? this->random() & 1 : this->random());
        this->each_good_row({"copy", {&x}, {&y}, {}, {}}, [&] {
          for (int64_t i = 0; i < x.size(); ++i) ASSERT_EQ(x.bits(i), y.bits(i)) << i;
        });
      }
    }
  }
  Tensor row(dtype<T>, {3, 5}, Shape{0, 1}), column(dtype<T>, {3, 5}, Shape{1, 0}), y(dtype<T>, {3, 5});
  for (Tensor* x : {&row, &column}) {
    for (int64_t i = 0; i < 15; ++i) x->put_bits(i, is_bool<T> ? this->random() & 1 : this->random());
    this->each_good_row({"copy", {x}, {&y}, {}, {}}, [&] {
      for (int64_t i = 0; i < 15; ++i) ASSERT_EQ(x->bits(i), y.bits(i)) << i;
    });
  }
}

TYPED_TEST(Move, Fill) {
  using T = TypeParam;
  const std::vector<T> values = sample<T>(this->random, 2);
  for (const Shape& shape : kShapes) {
    for (Layout layout : kLayouts) {
      for (T value : {values.front(), values[1], values.back()}) {
        Tensor y(dtype<T>, shape, layout);
        this->each_good_row({"fill", {}, {&y}, {}, {Attr::bits({bits_of(value)})}}, [&] {
          for (int64_t i = 0; i < y.size(); ++i) ASSERT_EQ(y.bits(i), bits_of(value)) << i;
        });
      }
    }
  }
}

template <class T>
class Iota : public FloorTest {};
TYPED_TEST_SUITE(Iota, NumberTypes, TypeNames);

TYPED_TEST(Iota, StartPlusSteps) {
  using T = TypeParam;
  const auto run = [&](T start, T step, int64_t n, Layout layout, auto&& check) {
    Tensor y(dtype<T>, {n}, layout);
    this->each_good_row({"iota", {}, {&y}, {}, {Attr::bits({bits_of(start), bits_of(step)})}}, [&] {
      for (int64_t k = 0; k < n; ++k) check(k, y.get<T>(k));
    });
  };
  for (Layout layout : {Layout::packed, Layout::padded}) {
    if constexpr (is_float<T>) {
      // Exact: small integers and halves.
      run(element<T>(-3), element<T>(0.5L), 100, layout,
          [](int64_t k, T got) { ASSERT_EQ(number(got), -3 + 0.5L * k) << k; });
      const T start = element<T>(0.1L), step = element<T>(0.0371L);
      run(start, step, 3000, layout, [&](int64_t k, T got) {
        const long double y = number(start) + k * number(step);
        const long double e = is_float16<T> ? eps<float>() : eps<T>();
        const long double rounding = is_float16<T> ? ulp(y, format<T>()) / 2 : 0;
        ASSERT_LE(std::abs(number(got) - y), e * (k * number(step) + std::abs(y)) + rounding) << k;
      });
    } else {
      const uint64_t start = uint64_t(std::numeric_limits<T>::max()) - 5;
      run(T(start), T(3), 5000, layout, [&](int64_t k, T got) { ASSERT_EQ(got, T(start + uint64_t(k) * 3)) << k; });
      if (std::is_signed_v<T>)
        run(T(7), T(-2), 300, layout, [&](int64_t k, T got) { ASSERT_EQ(got, T(7 - 2 * k)) << k; });
    }
  }
}

// ---- random ----

using Words = std::array<uint32_t, 4>;

// Philox4x32-10 from the definition in ABI.md.
Words philox(Words counter, uint32_t k0, uint32_t k1) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = 0xD2511F53ull * counter[0], b = 0xCD9E8D57ull * counter[2];
    counter = {uint32_t(b >> 32) ^ counter[1] ^ k0, uint32_t(b), uint32_t(a >> 32) ^ counter[3] ^ k1, uint32_t(a)};
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return counter;
}

TEST(Philox, TheTestsOwnMeetsThePublishedVectors) {
  EXPECT_EQ(philox({0, 0, 0, 0}, 0, 0), (Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox({~0u, ~0u, ~0u, ~0u}, ~0u, ~0u), (Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, 0xa4093822, 0x299f31d0),
            (Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

class RandomOp : public FloorTest {
 protected:
  static uint32_t word(uint64_t seed, uint64_t offset, uint64_t k) {
    const uint64_t c = offset + k / 4;
    return philox({uint32_t(c), uint32_t(c >> 32), 0, 0}, uint32_t(seed), uint32_t(seed >> 32))[k % 4];
  }
};

TEST_F(RandomOp, KnownAnswer) {
  Tensor y(dtype<uint32_t>, {4});
  each_good_row({"random", {nullptr}, {&y}, {}, {Attr::integer(0), Attr::integer(0)}}, [&] {
    EXPECT_EQ(y.values<uint32_t>(), (std::vector<uint32_t>{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  });
}

TEST_F(RandomOp, SeedsOffsetsShapesAndState) {
  const uint64_t seeds[] = {0, 1, 0x123456789abcdef0ull, ~0ull},
                 offsets[] = {0, 5, 0xfffffffeull, 0x123456789ull, ~0ull - 1};
  for (uint64_t seed : seeds) {
    for (uint64_t offset : offsets) {
      for (const Shape& shape : {Shape{}, Shape{1}, Shape{6}, Shape{3, 7}, Shape{41, 999}}) {
        Tensor y(dtype<uint32_t>, shape);
        const auto check = [&] {
          for (int64_t k = 0; k < y.size(); ++k) ASSERT_EQ(y.get<uint32_t>(k), word(seed, offset, uint64_t(k))) << k;
        };
        each_good_row({"random", {nullptr}, {&y}, {}, {Attr::integer(int64_t(seed)), Attr::integer(int64_t(offset))}},
                      check);
        Tensor state = Tensor::of<int64_t>({2}, {int64_t(seed), int64_t(offset)}, Layout::padded);
        each_good_row({"random", {&state}, {&y}, {}, {}}, check);
      }
    }
  }
}

}  // namespace
}  // namespace tg::test
