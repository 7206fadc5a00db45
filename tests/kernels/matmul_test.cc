// SPDX-License-Identifier: Apache-2.0
//
// matmul against three loops: floats in long double with the bound of ABI.md, integers wrapped.

#include "floor_fixture.h"

namespace tg::test {
namespace {

struct Case {
  Shape batch;
  int64_t m, k, n;
};
const std::vector<Case> kCases = {{{}, 1, 1, 1},    {{}, 1, 7, 5},      {{}, 5, 1, 4},           {{}, 3, 4, 1},
                                  {{}, 16, 16, 16}, {{}, 17, 33, 19},   {{}, 64, 70, 65},        {{}, 130, 9, 3},
                                  {{3}, 4, 5, 6},   {{2, 3}, 5, 4, 17}, {{2, 1, 2, 3}, 3, 8, 5}, {{}, 1, 300, 70}};

template <class T>
class Matmul : public FloorTest {
 protected:
  void check(Tensor& a, Tensor& b, Tensor& y, bool add) {
    const size_t rank = y.shape().size();
    const int64_t m = y.shape()[rank - 2], n = y.shape()[rank - 1], k = a.shape()[rank - 1];
    const std::vector<T> before = y.values<T>(), av = a.values<T>(), bv = b.values<T>();
    const Call call{"matmul", {&a, &b}, {&y}, {Attr::integer(add)}, {}};
    this->each_good_row(call, [&] {
      for (int64_t e = 0; e < y.size(); ++e) {
        const int64_t batch = e / (m * n), i = e / n % m, j = e % n;
        long double sum = 0, size = 0;
        uint64_t whole = 0;
        for (int64_t p = 0; p < k; ++p) {
          const T x = av[size_t((batch * m + i) * k + p)], z = bv[size_t((batch * k + p) * n + j)];
          if constexpr (is_float<T>) {
            sum += number(x) * number(z);
            size += std::abs(number(x) * number(z));
          } else {
            whole += uint64_t(x) * uint64_t(z);
          }
        }
        const T got = y.get<T>(e);
        if constexpr (is_float<T>) {
          if (add) {
            sum += number(before[size_t(e)]);
            size += std::abs(number(before[size_t(e)]));
          }
          const long double bound = (long double)(k + 1) * accumulation_eps<T>() * size + ulp(sum, format<T>());
          ASSERT_LE(std::abs(number(got) - sum), bound) << "element " << e << " of " << m << "x" << k << "x" << n;
        } else {
          if (add) whole += uint64_t(before[size_t(e)]);
          ASSERT_EQ(got, T(whole)) << "element " << e << " of " << m << "x" << k << "x" << n;
        }
      }
    });
  }

  void fill(Tensor& t) {
    const std::vector<T> values = small_sample<T>(this->random, size_t(t.size()));
    for (int64_t i = 0; i < t.size(); ++i) t.put(i, values[size_t(i)]);
  }
};
TYPED_TEST_SUITE(Matmul, NumberTypes, TypeNames);

TYPED_TEST(Matmul, ShapesLayoutsAndBeta) {
  using T = TypeParam;
  for (const Case& c : kCases) {
    const auto shape = [&](int64_t rows, int64_t columns) {
      Shape s = c.batch;
      s.push_back(rows);
      s.push_back(columns);
      return s;
    };
    for (Layout la : kLayouts) {
      for (Layout lb : kLayouts) {
        for (bool add : {false, true}) {
          Tensor a(dtype<T>, shape(c.m, c.k), la), b(dtype<T>, shape(c.k, c.n), lb),
              y(dtype<T>, shape(c.m, c.n), add ? la : lb);
          this->fill(a);
          this->fill(b);
          this->fill(y);
          this->check(a, b, y, add);
        }
      }
    }
  }
}

TYPED_TEST(Matmul, TransposedAndBroadcastViews) {
  using T = TypeParam;
  Tensor a(dtype<T>, {4, 6, 5}, Shape{0, 1, 6}, 2), b(dtype<T>, {4, 5, 7}, Shape{35, 1, 5}, 1), y(dtype<T>, {4, 6, 7});
  this->fill(a);
  this->fill(b);
  this->fill(y);
  this->check(a, b, y, false);
  Tensor c(dtype<T>, {3, 2, 5}, Shape{10, 5, 1}), d(dtype<T>, {3, 5, 4}, Shape{0, 4, 1}),
      z(dtype<T>, {3, 2, 4}, Layout::padded);
  this->fill(c);
  this->fill(d);
  this->fill(z);
  this->check(c, d, z, true);
}

TYPED_TEST(Matmul, NothingIsSkipped) {
  using T = TypeParam;
  if constexpr (is_float<T>) {
    const T inf = element<T>(std::numeric_limits<long double>::infinity()),
            nan = element<T>(std::numeric_limits<long double>::quiet_NaN());
    const T zero = element<T>(0), one = element<T>(1);
    Tensor a = Tensor::of<T>({2, 2}, {zero, one, one, zero}), b = Tensor::of<T>({2, 3}, {inf, nan, one, one, one, one}),
           y(dtype<T>, {2, 3});
    this->each_good_row({"matmul", {&a, &b}, {&y}, {Attr::integer(0)}, {}}, [&] {
      EXPECT_TRUE(std::isnan(number(y.get<T>(0))));  // 0*inf + 1
      EXPECT_TRUE(std::isnan(number(y.get<T>(1))));
      EXPECT_EQ(number(y.get<T>(2)), 1);
      EXPECT_EQ(number(y.get<T>(3)), number(inf));
      EXPECT_TRUE(std::isnan(number(y.get<T>(4))));
      EXPECT_EQ(number(y.get<T>(5)), 1);
    });
    // beta 0 does not read y.
    Tensor dirty(dtype<T>, {2, 3});
    for (int64_t i = 0; i < 6; ++i) dirty.put(i, nan);
    Tensor c = Tensor::of<T>({2, 3}, {one, one, one, one, one, one});
    this->each_good_row({"matmul", {&a, &c}, {&dirty}, {Attr::integer(0)}, {}}, [&] {
      for (int64_t i = 0; i < 6; ++i) EXPECT_EQ(number(dirty.get<T>(i)), 1);
    });
  }
}

}  // namespace
}  // namespace tg::test
