// SPDX-License-Identifier: Apache-2.0
//
// gather, scatter and sort.

#include "floor_fixture.h"

namespace tg::test {
namespace {

struct Case {
  Shape big;            // of x (gather) or y (scatter)
  int64_t axis, count;  // elements along the axis in the index
};
const std::vector<Case> kCases = {{{5}, 0, 8},        {{1}, 0, 3},       {{4, 3}, 0, 6},
                                  {{4, 3}, 1, 2},     {{3, 5, 2}, 1, 9}, {{2, 3, 2, 2, 3, 2}, 3, 5},
                                  {{300, 40}, 0, 500}};

Shape index_shape(const Case& c) {
  Shape s = c.big;
  s[size_t(c.axis)] = c.count;
  return s;
}

// Row-major number in `big` of element `flat` of the index's shape when it points at `j`.
int64_t target(int64_t flat, const Case& c, int64_t j) {
  const Shape small = index_shape(c);
  int64_t at = 0, scale = 1;
  for (size_t i = small.size(); i-- > 0;) {
    const int64_t index = flat % small[i];
    flat /= small[i];
    at += (int64_t(i) == c.axis ? j : index) * scale;
    scale *= c.big[i];
  }
  return at;
}

template <class T>
class Index : public FloorTest {
 protected:
  // Random indices in [-n, n), in i32 or i64; returns the positions they mean.
  template <class I>
  std::vector<int64_t> fill_index(Tensor& index, int64_t n) {
    std::vector<int64_t> positions;
    for (int64_t i = 0; i < index.size(); ++i) index.put(i, I(int64_t(this->random() % uint64_t(2 * n)) - n));
    for (int64_t i = 0; i < index.size(); ++i) positions.push_back((int64_t(index.get<I>(i)) + n) % n);
    return positions;
  }

  template <class I>
  void gather() {
    for (const Case& c : kCases) {
      for (Layout layout : kLayouts) {
        Tensor x(dtype<T>, c.big, layout), index(dtype<I>, index_shape(c), layout), y(dtype<T>, index_shape(c), layout);
        for (int64_t i = 0; i < x.size(); ++i) x.put_bits(i, is_bool<T> ? this->random() & 1 : this->random());
        const auto positions = fill_index<I>(index, c.big[size_t(c.axis)]);
        this->each_good_row({"gather", {&x, &index}, {&y}, {Attr::integer(c.axis)}, {}}, [&] {
          for (int64_t i = 0; i < y.size(); ++i) ASSERT_EQ(y.bits(i), x.bits(target(i, c, positions[size_t(i)]))) << i;
        });
      }
    }
  }

  template <class I>
  void scatter(int64_t kind) {
    for (const Case& c : kCases) {
      for (Layout layout : kLayouts) {
        Tensor y(dtype<T>, c.big, layout), index(dtype<I>, index_shape(c), layout), u(dtype<T>, index_shape(c), layout);
        const auto ys = small_sample<T>(this->random, size_t(y.size())),
                   us = small_sample<T>(this->random, size_t(u.size()));
        for (int64_t i = 0; i < y.size(); ++i) y.put(i, ys[size_t(i)]);
        for (int64_t i = 0; i < u.size(); ++i) u.put(i, us[size_t(i)]);
        if (is_float<T> && kind == TG_SCATTER_MAX)
          u.put(u.size() / 2, element<T>(std::numeric_limits<long double>::quiet_NaN()));
        const auto positions = fill_index<I>(index, c.big[size_t(c.axis)]);
        // What meets at each element of y, in order.
        std::vector<std::vector<T>> terms(size_t(y.size()));
        for (int64_t i = 0; i < y.size(); ++i) terms[size_t(i)].push_back(y.get<T>(i));
        for (int64_t i = 0; i < u.size(); ++i) terms[size_t(target(i, c, positions[size_t(i)]))].push_back(u.get<T>(i));
        this->each_good_row({"scatter", {&index, &u}, {&y}, {Attr::integer(c.axis), Attr::integer(kind)}, {}}, [&] {
          for (int64_t i = 0; i < y.size(); ++i) {
            SCOPED_TRACE("element " + std::to_string(i));
            meet(kind, terms[size_t(i)], y.get<T>(i));
            if (testing::Test::HasFatalFailure()) return;
          }
        });
      }
    }
  }

 private:
  static void meet(int64_t kind, const std::vector<T>& terms, T got) {
    if (kind == TG_SCATTER_SET) {
      ASSERT_EQ(bits_of(got), bits_of(terms.back()));
    } else if (kind == TG_SCATTER_MAX) {
      long double best = number(terms[0]);
      for (T x : terms)
        best = std::isnan(best) || std::isnan(number(x)) ? std::numeric_limits<long double>::quiet_NaN()
                                                         : std::max(best, number(x));
      ASSERT_TRUE(same(number(got), best)) << number(got) << " for " << best;
    } else if constexpr (is_float<T>) {
      long double sum = 0, size = 0;
      for (T x : terms) {
        sum += number(x);
        size += std::abs(number(x));
      }
      ASSERT_LE(std::abs(number(got) - sum), terms.size() * accumulation_eps<T>() * size + ulp(sum, format<T>()));
    } else if constexpr (is_int<T>) {
      uint64_t sum = 0;
      for (T x : terms) sum += uint64_t(x);
      ASSERT_EQ(got, T(sum));
    }
  }
};
TYPED_TEST_SUITE(Index, AllTypes, TypeNames);

TYPED_TEST(Index, Gather) {
  this->template gather<int64_t>();
  this->template gather<int32_t>();
}

TYPED_TEST(Index, Scatter) {
  for (int64_t kind : {TG_SCATTER_SET, TG_SCATTER_ADD, TG_SCATTER_MAX}) {
    if (is_bool<TypeParam> && kind == TG_SCATTER_ADD) continue;  // no sums of bool
    this->template scatter<int64_t>(kind);
    this->template scatter<int32_t>(kind);
  }
}

TYPED_TEST(Index, BroadcastIndexAndSource) {
  // Rows of a table (an embedding) and back: the index repeats along the columns.
  using T = TypeParam;
  Tensor x(dtype<T>, {6, 40}), y(dtype<T>, {3, 40}), row(dtype<T>, {6, 40}, Shape{0, 1});
  for (int64_t i = 0; i < x.size(); ++i) x.put_bits(i, is_bool<T> ? this->random() & 1 : this->random());
  for (int64_t i = 0; i < row.size(); ++i) row.put_bits(i, is_bool<T> ? this->random() & 1 : this->random());
  Tensor index(dtype<int64_t>, {3, 40}, Shape{1, 0});
  const int64_t rows[] = {4, -6, 2}, positions[] = {4, 0, 2};
  for (int64_t r = 0; r < 3; ++r) index.put(r * 40, rows[r]);
  for (Tensor* source : {&x, &row}) {
    this->each_good_row({"gather", {source, &index}, {&y}, {Attr::integer(0)}, {}}, [&] {
      for (int64_t i = 0; i < y.size(); ++i) ASSERT_EQ(y.bits(i), source->bits(positions[i / 40] * 40 + i % 40)) << i;
    });
  }
  Tensor to(dtype<T>, {6, 40});
  for (int64_t i = 0; i < to.size(); ++i) to.put_bits(i, 0);
  this->each_good_row({"scatter", {&index, &y}, {&to}, {Attr::integer(0), Attr::integer(TG_SCATTER_SET)}, {}}, [&] {
    for (int64_t i = 0; i < to.size(); ++i) {
      uint64_t expected = 0;
      for (int64_t r = 0; r < 3; ++r)
        if (positions[r] == i / 40) expected = y.bits(r * 40 + i % 40);
      ASSERT_EQ(to.bits(i), expected) << i;
    }
  });
}

class IndexErrors : public FloorTest {};

TEST_F(IndexErrors, OutOfRangeIsReportedAndTouchesNothingElse) {
  for (int64_t bad :
       {int64_t(4), int64_t(-5), std::numeric_limits<int64_t>::max(), std::numeric_limits<int64_t>::min()}) {
    Tensor x = Tensor::of<float>({4}, {1, 2, 3, 4}), index = Tensor::of<int64_t>({3}, {0, bad, 1}),
           y(dtype<float>, {3}, Layout::padded), z = Tensor::of<float>({4}, {1, 2, 3, 4}, Layout::padded),
           u = Tensor::of<float>({3}, {9, 9, 9});
    const auto check = [&](const Outcome& outcome) {
      EXPECT_EQ(outcome.status, TG_OUT_OF_RANGE);
      EXPECT_NE(outcome.message.find(std::to_string(bad)), std::string::npos) << outcome.message;
    };
    each_row({"gather", {&x, &index}, {&y}, {Attr::integer(0)}, {}}, check);
    each_row({"scatter", {&index, &u}, {&z}, {Attr::integer(0), Attr::integer(TG_SCATTER_ADD)}, {}}, check);
  }
}

// ---- sort ----

template <class T>
class Sort : public FloorTest {};
TYPED_TEST_SUITE(Sort, AllTypes, TypeNames);

// Insertion sort by definition: stable, NaN last.
template <class T>
std::vector<int64_t> sorted(const std::vector<T>& line, bool descending) {
  std::vector<int64_t> order;
  for (size_t i = 0; i < line.size(); ++i) {
    const long double x = number(line[i]);
    size_t at = order.size();
    while (at > 0) {
      const long double before = number(line[size_t(order[at - 1])]);
      const bool goes_first =
          std::isnan(before) ? !std::isnan(x) : !std::isnan(x) && (descending ? x > before : x < before);
      if (!goes_first) break;
      --at;
    }
    order.insert(order.begin() + int64_t(at), int64_t(i));
  }
  return order;
}

TYPED_TEST(Sort, StableWithNanLastBothWays) {
  using T = TypeParam;
  std::vector<T> pool = small_sample<T>(this->random, 12);  // few values: many ties
  if constexpr (is_float<T>)
    for (long double x :
         {0.0L, -0.0L, (long double)INFINITY, -(long double)INFINITY, (long double)NAN, (long double)NAN})
      pool.push_back(element<T>(x));
  if constexpr (is_int<T>) {
    pool.push_back(std::numeric_limits<T>::max());
    pool.push_back(std::numeric_limits<T>::min());
  }
  for (const auto& [shape, axis] : std::vector<std::pair<Shape, int64_t>>{
           {{1}, 0}, {{50}, 0}, {{700}, 0}, {{3, 20}, 1}, {{20, 3}, 0}, {{2, 3, 2, 7, 3, 2}, 3}}) {
    for (Layout layout : kLayouts) {
      for (bool descending : {false, true}) {
        Tensor x(dtype<T>, shape, layout), values(dtype<T>, shape, layout), index(dtype<int64_t>, shape, layout);
        for (int64_t i = 0; i < x.size(); ++i) x.put(i, pool[this->random() % pool.size()]);
        int64_t step = 1;
        for (size_t i = size_t(axis) + 1; i < shape.size(); ++i) step *= shape[i];
        const int64_t n = shape[size_t(axis)];
        std::vector<std::vector<int64_t>> orders;  // of each line
        std::vector<int64_t> firsts;
        for (int64_t e = 0; e < x.size(); ++e) {
          if (e / step % n != 0) continue;
          std::vector<T> line;
          for (int64_t k = 0; k < n; ++k) line.push_back(x.get<T>(e + k * step));
          firsts.push_back(e);
          orders.push_back(sorted(line, descending));
        }
        for (int wanted = 1; wanted <= 3; ++wanted) {
          Tensor* v = wanted & 1 ? &values : nullptr;
          Tensor* i = wanted & 2 ? &index : nullptr;
          this->each_good_row({"sort", {&x}, {v, i}, {Attr::integer(axis), Attr::integer(descending)}, {}}, [&] {
            for (size_t l = 0; l < orders.size(); ++l) {
              for (int64_t k = 0; k < n; ++k) {
                const int64_t source = orders[l][size_t(k)];
                if (i) {
                  ASSERT_EQ(i->template get<int64_t>(firsts[l] + k * step), source) << "line " << l << " place " << k;
                }
                if (v) {
                  ASSERT_EQ(v->bits(firsts[l] + k * step), x.bits(firsts[l] + source * step))
                      << "line " << l << " place " << k;
                }
              }
            }
          });
        }
      }
    }
  }
}

}  // namespace
}  // namespace tg::test
