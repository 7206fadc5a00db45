// SPDX-License-Identifier: Apache-2.0
// Symbolic dimensions against plain integer arithmetic.
#include <gtest/gtest.h>
#include <tengen/dim.h>

#include <random>

namespace tg {
namespace {

int64_t value_of(void* context, const std::string& name) {
  auto* pair = static_cast<std::pair<int64_t, int64_t>*>(context);
  if (name == "n") return pair->first;
  if (name == "m") return pair->second;
  ADD_FAILURE() << "unknown symbol " << name;
  return 0;
}

TEST(Dim, ConstantsBehaveAsIntegers) {
  EXPECT_EQ((Dim(3) + Dim(4)).value(), 7);
  EXPECT_EQ((Dim(3) * Dim(4) - Dim(5)).value(), 7);
  EXPECT_EQ(floor_div(Dim(-7), 2).value(), -4);
  EXPECT_TRUE(Dim(3).is_constant());
}

TEST(Dim, AffineExpressionsAreEqualWhenTheirTermsAre) {
  const Dim n = Dim::symbol("n"), m = Dim::symbol("m");
  EXPECT_EQ(n + m, m + n);
  EXPECT_EQ(n * Dim(2) + n, n * Dim(3));
  EXPECT_EQ(n - n, Dim(0));
  EXPECT_FALSE(n == m);
  EXPECT_FALSE(n == n + Dim(1));
  EXPECT_EQ((n * Dim(2) + Dim(3)).str(), "2*n + 3");
  EXPECT_EQ(floor_div(n * Dim(4) + Dim(6), 2), n * Dim(2) + Dim(3));
  EXPECT_EQ(floor_div(n, 2), floor_div(n, 2));
  EXPECT_FALSE(floor_div(n, 2) == floor_div(n, 3));
  EXPECT_THROW(n.value(), Error);
}

TEST(Dim, EvaluationAgreesWithIntegers) {
  std::mt19937 random(1);
  std::uniform_int_distribution<int64_t> small(-9, 9), size(1, 50);
  for (int i = 0; i < 200; ++i) {
    const int64_t a = small(random), b = small(random), c = small(random);
    std::pair<int64_t, int64_t> v{size(random), size(random)};
    const Dim e = Dim::symbol("n") * Dim(a) + Dim::symbol("m") * Dim(b) + Dim(c);
    EXPECT_EQ(e.evaluate(value_of, &v), v.first * a + v.second * b + c) << e.str();
  }
}

TEST(Shape, Broadcasts) {
  const Dim n = Dim::symbol("n");
  EXPECT_EQ(broadcast("add", Shape{n, Dim(1)}, Shape{Dim(3)}), (Shape{n, Dim(3)}));
  EXPECT_EQ(broadcast("add", Shape{}, Shape{n}), Shape{n});
  EXPECT_EQ(broadcast("add", Shape{Dim(1)}, Shape{Dim(0)}), Shape{Dim(0)});
  try {
    broadcast("add", Shape{Dim(2)}, Shape{Dim(3)});
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::value);
    EXPECT_NE(std::string(e.what()).find("add"), std::string::npos);
    EXPECT_NE(std::string(e.what()).find("(3,)"), std::string::npos);
  }
}

TEST(Shape, NumelOverflowIsAnError) {
  EXPECT_EQ(numel(Ints{}), 1);
  EXPECT_EQ(numel(Ints{4, 0, int64_t(1) << 62}), 0);
  EXPECT_THROW(numel(Ints{int64_t(1) << 62, 4}), Error);
}

TEST(Dim, ArithmeticThatLeavesInt64IsAnError) {
  const Dim big(int64_t(1) << 62), n = Dim::symbol("n");
  EXPECT_EQ((big + Dim((int64_t(1) << 62) - 1)).value(), INT64_MAX);
  EXPECT_THROW(big + big, SizeOverflow);
  EXPECT_THROW(Dim(INT64_MIN) - Dim(1), SizeOverflow);
  EXPECT_THROW(big * Dim(2), SizeOverflow);
  EXPECT_THROW((n + big) + big, SizeOverflow);
  EXPECT_THROW((n * big) * Dim(2), SizeOverflow);
  EXPECT_THROW((n * big) - (n * Dim(INT64_MIN)), SizeOverflow);
  EXPECT_THROW(contiguous_strides(Ints{0, int64_t(1) << 40, int64_t(1) << 40}), SizeOverflow);
  try {
    big * Dim(4);
  } catch (const Error& e) {
    EXPECT_STREQ(e.what(), "expected sizes below 2^63, got 4611686018427387904 * 4");
    EXPECT_EQ(e.kind(), ErrorKind::value);
  }
}

TEST(Ints, GrowsPastItsRoom) {
  Ints v;
  for (int i = 0; i < 20; ++i) v.push_back(i);
  Ints copy = v, moved = std::move(v);
  EXPECT_EQ(copy, moved);
  copy.erase(3);
  copy.insert(3, 3);
  EXPECT_EQ(copy, moved);
  EXPECT_EQ(copy.size(), 20u);
}

}  // namespace
}  // namespace tg
