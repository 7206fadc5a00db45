// SPDX-License-Identifier: Apache-2.0
//
// reduce and scan against loops over indices in long double (floats) and wrapped 64-bit arithmetic (integers).

#include "floor_fixture.h"

namespace tg::test {
namespace {

// Row-major index of `flat` in `shape` with the axes of `axes` set to 0, as a row-major number in `reduced`.
int64_t project(int64_t flat, const Shape& shape, const Shape& reduced) {
  int64_t at = 0, scale = 1;
  for (size_t i = shape.size(); i-- > 0;) {
    const int64_t index = flat % shape[i];
    flat /= shape[i];
    at += (reduced[i] == 1 ? 0 : index) * scale;
    scale *= reduced[i];
  }
  return at;
}

struct Case {
  Shape shape;
  std::vector<int64_t> axes;
};
const std::vector<Case> kCases = {
    {{}, {}},
    {{1}, {0}},
    {{7}, {0}},
    {{1000}, {0}},
    {{5, 6}, {0}},
    {{5, 6}, {1}},
    {{5, 6}, {0, 1}},
    {{5, 6}, {}},
    {{3, 4, 5}, {1}},
    {{3, 4, 5}, {0, 2}},
    {{70, 3, 33}, {0}},
    {{2, 3, 2, 2, 3, 4}, {1, 3, 5}},
    {{2, 3, 2, 2, 3, 4}, {0, 2, 4}},
    {{300, 70}, {0}},
    {{40, 600}, {1}},
};

// Elements of each group, in order.
template <class T>
std::vector<std::vector<T>> groups(const Tensor& x, const Shape& reduced) {
  std::vector<std::vector<T>> out(size_t(numel(reduced)));
  for (int64_t i = 0; i < x.size(); ++i) out[size_t(project(i, x.shape(), reduced))].push_back(x.get<T>(i));
  return out;
}

template <class T>
T largest_of(const std::vector<T>& group, bool maximum) {
  T best = group[0];
  for (T x : group) {
    if (std::isnan(number(x))) return x;
    if (maximum ? number(x) > number(best) : number(x) < number(best)) best = x;
  }
  return best;
}

template <class T>
int64_t position_of(const std::vector<T>& group, bool maximum) {
  const T best = largest_of(group, maximum);
  for (size_t i = 0; i < group.size(); ++i)
    if (same(number(group[i]), number(best))) return int64_t(i);
  return -1;
}

// The sum or product of a group and the bound on a kernel's error.
template <class T>
void check_fold(const std::vector<T>& group, bool product, T got) {
  if constexpr (is_float<T>) {
    long double value = product ? 1 : 0, size = value;
    for (T x : group) {
      value = product ? value * number(x) : value + number(x);
      size = product ? value : size + std::abs(number(x));
    }
    const long double bound =
        (long double)(group.size()) * accumulation_eps<T>() * std::abs(size) + ulp(value, format<T>());
    ASSERT_LE(std::abs(number(got) - value), bound) << group.size() << " elements";
  } else {
    uint64_t value = product ? 1 : 0;
    for (T x : group) value = product ? value * uint64_t(x) : value + uint64_t(x);
    ASSERT_EQ(got, T(value)) << group.size() << " elements";
  }
}

template <class T>
class Reduce : public FloorTest {
 protected:
  template <class R>
  void sweep(int64_t kind, bool one_axis, const std::vector<T>& pool,
             const std::function<void(const std::vector<T>&, R)>& check) {
    for (const Case& c : kCases) {
      if (one_axis && c.axes.size() != 1) continue;
      for (Layout layout : kLayouts) {
        Shape reduced = c.shape;
        for (int64_t axis : c.axes) reduced[size_t(axis)] = 1;
        Tensor x(dtype<T>, c.shape, layout), y(dtype<R>, reduced, layout);
        for (int64_t i = 0; i < x.size(); ++i) x.put(i, pool[this->random() % pool.size()]);
        const auto expected = groups<T>(x, reduced);
        this->each_good_row({"reduce", {&x}, {&y}, {Attr::integer(kind), Attr::ints(c.axes)}, {}}, [&] {
          for (int64_t i = 0; i < y.size(); ++i) {
            SCOPED_TRACE("output " + std::to_string(i));
            check(expected[size_t(i)], y.get<R>(i));
            if (testing::Test::HasFatalFailure()) return;
          }
        });
      }
    }
  }

  static std::vector<T> near_one() {  // products that stay in range
    if constexpr (is_float<T>)
      return {element<T>(1), element<T>(-1), element<T>(0.9990234375L), element<T>(1.0009765625L)};
    if constexpr (is_int<T>) return {T(1), T(3), T(5), T(-1), T(-7)};
    return {};
  }
  std::vector<T> with_nan() {
    std::vector<T> pool = small_sample<T>(this->random, 200);
    if constexpr (is_float<T>) {
      pool.push_back(element<T>(std::numeric_limits<long double>::quiet_NaN()));
      pool.push_back(element<T>(std::numeric_limits<long double>::infinity()));
      pool.push_back(element<T>(-std::numeric_limits<long double>::infinity()));
    }
    return pool;
  }
};

template <class T>
class ReduceNumbers : public Reduce<T> {};
TYPED_TEST_SUITE(ReduceNumbers, NumberTypes, TypeNames);

TYPED_TEST(ReduceNumbers, SumAndProd) {
  using T = TypeParam;
  this->template sweep<T>(TG_REDUCE_SUM, false, small_sample<T>(this->random, 100),
                          [](const std::vector<T>& group, T got) { check_fold(group, false, got); });
  this->template sweep<T>(TG_REDUCE_PROD, false, this->near_one(),
                          [](const std::vector<T>& group, T got) { check_fold(group, true, got); });
}

TYPED_TEST(ReduceNumbers, SixteenBitFloatsAccumulateWide) {
  using T = TypeParam;
  if constexpr (is_float16<T>) {
    // In the dtype itself the sum of ones stops at 2^precision.
    const int64_t n = 5000;
    Tensor x = Tensor::of<T>({n}, std::vector<T>(size_t(n), element<T>(1))), y(dtype<T>, {1});
    this->each_good_row({"reduce", {&x}, {&y}, {Attr::integer(TG_REDUCE_SUM), Attr::ints({0})}, {}},
                        [&] { EXPECT_EQ(number(y.get<T>(0)), nearest(n, format<T>())); });
  }
}

TYPED_TEST(ReduceNumbers, SumOfInfinities) {
  using T = TypeParam;
  if constexpr (is_float<T>) {
    const T inf = element<T>(std::numeric_limits<long double>::infinity()),
            minus = element<T>(-std::numeric_limits<long double>::infinity());
    Tensor x = Tensor::of<T>({2, 3}, {inf, element<T>(1), element<T>(2), inf, minus, element<T>(1)}),
           y(dtype<T>, {2, 1});
    this->each_good_row({"reduce", {&x}, {&y}, {Attr::integer(TG_REDUCE_SUM), Attr::ints({1})}, {}}, [&] {
      EXPECT_EQ(number(y.get<T>(0)), number(inf));
      EXPECT_TRUE(std::isnan(number(y.get<T>(1))));
    });
  }
}

template <class T>
class ReduceAll : public Reduce<T> {};
TYPED_TEST_SUITE(ReduceAll, AllTypes, TypeNames);

TYPED_TEST(ReduceAll, MaxMinAndTheirPositions) {
  using T = TypeParam;
  for (const auto& pool : {this->with_nan(), small_sample<T>(this->random, 50)}) {
    for (bool maximum : {true, false}) {
      this->template sweep<T>(maximum ? TG_REDUCE_MAX : TG_REDUCE_MIN, false, pool,
                              [&](const std::vector<T>& group, T got) {
                                ASSERT_TRUE(same(number(got), number(largest_of(group, maximum)))) << number(got);
                              });
      this->template sweep<int64_t>(
          maximum ? TG_REDUCE_ARGMAX : TG_REDUCE_ARGMIN, true, pool,
          [&](const std::vector<T>& group, int64_t got) { ASSERT_EQ(got, position_of(group, maximum)); });
    }
  }
}

using ReduceBool = Reduce<boolean>;

TEST_F(ReduceBool, AnyAndAll) {
  for (const std::vector<boolean>& pool :
       {std::vector<boolean>{boolean(true), boolean(true), boolean(true), boolean(false)},
        {boolean(false), boolean(false), boolean(false), boolean(true)},
        {boolean(true)},
        {boolean(false)}}) {
    for (bool any : {true, false}) {
      sweep<boolean>(any ? TG_REDUCE_ANY : TG_REDUCE_ALL, false, pool,
                     [&](const std::vector<boolean>& group, boolean got) {
                       bool expected = !any;
                       for (boolean x : group) expected = any ? expected || x.value : expected && x.value;
                       ASSERT_EQ(got.value, uint8_t(expected));
                     });
    }
  }
}

// ---- scan ----

template <class T>
class Scan : public Reduce<T> {
 protected:
  // check(elements that count for this output, in order; output)
  void scan(int64_t kind, const std::vector<T>& pool, const std::function<void(const std::vector<T>&, T)>& check) {
    for (const auto& [shape, axis] : std::vector<std::pair<Shape, int64_t>>{{{1}, 0},
                                                                            {{9}, 0},
                                                                            {{2000}, 0},
                                                                            {{4, 5}, 0},
                                                                            {{4, 5}, 1},
                                                                            {{3, 1, 4}, 1},
                                                                            {{2, 3, 2, 2, 3, 4}, 3},
                                                                            {{50, 200}, 1}}) {
      for (Layout layout : kLayouts) {
        for (int flags = 0; flags < 4; ++flags) {
          const bool exclusive = flags & 1, reverse = flags & 2;
          Tensor x(dtype<T>, shape, layout), y(dtype<T>, shape, layout);
          for (int64_t i = 0; i < x.size(); ++i) x.put(i, pool[this->random() % pool.size()]);
          int64_t step = 1;  // of the axis in row-major numbers
          for (size_t i = size_t(axis) + 1; i < shape.size(); ++i) step *= shape[i];
          const int64_t n = shape[size_t(axis)];
          const Call call{"scan",
                          {&x},
                          {&y},
                          {Attr::integer(kind), Attr::integer(axis), Attr::integer(exclusive), Attr::integer(reverse)},
                          {}};
          this->each_good_row(call, [&] {
            for (int64_t e = 0; e < x.size(); ++e) {
              const int64_t at = e / step % n, first = e - at * step;
              std::vector<T> seen;
              for (int64_t k = reverse ? n - 1 : 0; reverse ? k >= at : k <= at; k += reverse ? -1 : 1)
                if (!(exclusive && k == at)) seen.push_back(x.get<T>(first + k * step));
              SCOPED_TRACE("element " + std::to_string(e) + " exclusive " + std::to_string(exclusive) + " reverse " +
                           std::to_string(reverse));
              check(seen, y.get<T>(e));
              if (testing::Test::HasFatalFailure()) return;
            }
          });
        }
      }
    }
  }
};

template <class T>
class ScanNumbers : public Scan<T> {};
TYPED_TEST_SUITE(ScanNumbers, NumberTypes, TypeNames);

TYPED_TEST(ScanNumbers, SumAndProd) {
  using T = TypeParam;
  this->scan(TG_REDUCE_SUM, small_sample<T>(this->random, 100),
             [](const std::vector<T>& seen, T got) { check_fold(seen, false, got); });
  this->scan(TG_REDUCE_PROD, this->near_one(), [](const std::vector<T>& seen, T got) { check_fold(seen, true, got); });
}

template <class T>
class ScanAll : public Scan<T> {};
TYPED_TEST_SUITE(ScanAll, AllTypes, TypeNames);

TYPED_TEST(ScanAll, MaxAndMin) {
  using T = TypeParam;
  for (bool maximum : {true, false}) {
    this->scan(maximum ? TG_REDUCE_MAX : TG_REDUCE_MIN, this->with_nan(), [&](const std::vector<T>& seen, T got) {
      long double expected;
      if (!seen.empty()) {
        expected = number(largest_of(seen, maximum));
      } else if constexpr (is_float<T>) {
        expected =
            maximum ? -std::numeric_limits<long double>::infinity() : std::numeric_limits<long double>::infinity();
      } else if constexpr (is_bool<T>) {
        expected = !maximum;
      } else {
        expected = maximum ? std::numeric_limits<T>::min() : std::numeric_limits<T>::max();
      }
      ASSERT_TRUE(same(number(got), expected)) << "expected " << expected << ", got " << number(got);
    });
  }
}

}  // namespace
}  // namespace tg::test
