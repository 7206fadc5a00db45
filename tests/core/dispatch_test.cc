// SPDX-License-Identifier: Apache-2.0
// Dispatch: plans are made once, layouts and aliases are handled, errors name the op.
#include <gtest/gtest.h>
#include <tengen/op.h>
#include <tengen/runtime.h>

#include <numeric>

namespace tg {
namespace {

Tensor iota(Ints shape, DType t = DType::f32) {
  std::vector<float> v(numel(shape));
  std::iota(v.begin(), v.end(), 0.f);
  return Tensor::from_host(v.data(), shape, DType::f32, host_device()).cast(t);
}
std::vector<float> values(const Tensor& t) {
  std::vector<float> v(t.numel());
  t.cast(DType::f32).to_host(v.data());
  return v;
}

TEST(Dispatch, ScalarsAreRunAttributes) {
  Tensor x = iota({5});
  op<"mul">({x, 0.5});
  const uint64_t plans = dispatch_stats().plans_created;
  for (int i = 0; i < 20; ++i) op<"mul">({x, 0.1 * i});
  EXPECT_EQ(dispatch_stats().plans_created, plans);
}

TEST(Dispatch, OneMapPlanServesAllShapesOfARank) {
  op<"add">({iota({2, 3}), iota({2, 3})});
  const uint64_t plans = dispatch_stats().plans_created;
  for (int64_t n = 1; n < 20; ++n) op<"add">({iota({n, 3}), iota({3})});
  // The operand of rank 1 arrives at the output's rank: nothing new but that key.
  EXPECT_LE(dispatch_stats().plans_created, plans + 1);
}

TEST(Dispatch, BroadcastsAndStrides) {
  Tensor a = iota({2, 3}), b = iota({3});
  EXPECT_EQ(values(op<"add">({a, b})), (std::vector<float>{0, 2, 4, 3, 5, 7}));
  Tensor t = op<"permute">({a}, {Ints{1, 0}});
  EXPECT_EQ(values(op<"add">({t, t})), (std::vector<float>{0, 6, 2, 8, 4, 10}));
  EXPECT_EQ(values(op<"sub">({10.0, b})), (std::vector<float>{10, 9, 8}));
}

TEST(Dispatch, InPlaceOnOverlappingViews) {
  // x[1:] += x[:-1], as if the right side were read first.
  Tensor x = iota({5});
  Tensor to = x.alias(Ints{4}, Ints{1}, 4), from = x.alias(Ints{4}, Ints{1}, 0);
  const Arg in[] = {to, from};
  const Tensor out[] = {to};
  call_into(op_named<"add">(), in, {}, out);
  EXPECT_EQ(values(x), (std::vector<float>{0, 1, 3, 5, 7}));
}

TEST(Dispatch, InPlaceKeepsTheDtype) {
  Tensor x = iota({3}, DType::i32);
  const Arg in[] = {x, 1.5};
  const Tensor out[] = {x};
  EXPECT_THROW(call_into(op_named<"add">(), in, {}, out), Error);
}

TEST(Dispatch, MatmulReadsTransposedViews) {
  Tensor a = iota({2, 3}), bt = op<"permute">({iota({2, 3})}, {Ints{1, 0}});
  EXPECT_EQ(values(op<"matmul">({a, bt})), (std::vector<float>{5, 14, 14, 50}));
}

TEST(Dispatch, EmptyTensorsNeverReachAPlugin) {
  Tensor e = Tensor::empty(Ints{0, 3}, DType::f32, host_device());
  EXPECT_EQ(op<"add">({e, e}).shape(), (Ints{0, 3}));
  EXPECT_EQ(values(op<"matmul">({Tensor::empty(Ints{2, 0}, DType::f32, host_device()), e})), std::vector<float>(6, 0));
  EXPECT_EQ(values(op<"sum">({e}))[0], 0);
  EXPECT_THROW(op<"max">({e}), Error);
}

TEST(Dispatch, ErrorsNameTheOpAndTheShapes) {
  try {
    op<"add">({iota({2}), iota({3})});
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::value);
    const std::string text = e.what();
    EXPECT_NE(text.find("[add]"), std::string::npos);
    EXPECT_NE(text.find("(2,)"), std::string::npos);
    EXPECT_NE(text.find("(3,)"), std::string::npos);
  }
  EXPECT_THROW(require_op("sofmax"), Error);
}

TEST(Dispatch, TheCacheCanBeCleared) {  // plan_test.cc: that it is bounded
  Tensor x = iota({4, 4});
  op<"add">({x, x});
  EXPECT_GE(dispatch_stats().plans_cached, 1u);
  clear_plan_cache();
  EXPECT_EQ(dispatch_stats().plans_cached, 0u);
  EXPECT_EQ(values(op<"add">({x, x}))[5], 10);
}

TEST(Dispatch, LaunchesAreCounted) {
  const Tensor x = iota({4, 4});
  op<"add">({x, 1.0});
  const uint64_t before = dispatch_stats().launches;
  op<"add">({x, 1.0});
  op<"matmul">({x, x});
  EXPECT_EQ(dispatch_stats().launches, before + 2);
}

TEST(Dispatch, ItemIsRealOrAnError) {
  const double pair[] = {1.5, -2.0};
  const Tensor z = Tensor::from_host(pair, Ints{}, DType::c128, host_device());
  try {
    z.item();
    FAIL() << "a complex number was returned as a real one";
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::type) << e.what();
  }
  EXPECT_EQ(op<"imag">({z}).item(), -2.0);
}

TEST(Dispatch, PermutedOperandsGiveResultsOfTheirLayout) {
  Tensor x = op<"permute">({iota({2, 3, 4})}, {Ints{0, 2, 1}});
  Tensor y = op<"mul">({x, 2.0});
  EXPECT_EQ(y.strides(), x.strides());
  EXPECT_EQ(values(y)[1], 2 * values(x)[1]);
}

TEST(Dispatch, WindowsKeepChannelsLast) {
  Tensor x = iota({2, 3, 6, 5}), w = iota({4, 3, 3, 3});
  Tensor last = op<"permute">({op<"copy">({op<"permute">({x}, {Ints{0, 2, 3, 1}})})}, {Ints{0, 3, 1, 2}});
  EXPECT_FALSE(last.is_contiguous());
  const std::initializer_list<Attr> window = {Ints{1, 1}, Ints{1, 1, 1, 1}, Ints{1, 1}, 1, 0};
  Tensor a = op<"conv">({x, w, Tensor()}, window), b = op<"conv">({last, w, Tensor()}, window);
  EXPECT_TRUE(a.is_contiguous());
  EXPECT_EQ(b.strides(), (Ints{120, 1, 20, 4}));
  EXPECT_EQ(values(a), values(b));  // small integers: exact
}

TEST(Why, NamesEveryCandidate) {
  const TensorSpec spec{DType::f32, symbolic(Ints{8, 8})};
  const TensorSpec specs[] = {spec, spec};
  const Why answer = why(require_op("add"), specs, {}, host_device());
  EXPECT_EQ(answer.verdict, "kernel");
  ASSERT_FALSE(answer.candidates.empty());
  int chosen = 0;
  for (const auto& c : answer.candidates) {
    EXPECT_FALSE(c.reason.empty());
    chosen += c.chosen;
  }
  EXPECT_EQ(chosen, 1);
}

}  // namespace
}  // namespace tg
