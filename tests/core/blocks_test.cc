// SPDX-License-Identifier: Apache-2.0
// Results in a private layout: the plugin `blocks` gives and takes them; everything else sees plain tensors, whatever way it
// comes. On the host and on chaos, where a forgotten order of streams or a block freed too early shows.
#include <gtest/gtest.h>
#include <tengen/autograd.h>
#include <tengen/memory_limit.h>
#include <tengen/op.h>
#include <tengen/runtime.h>

#include <algorithm>
#include <cmath>
#include <thread>

namespace tg {
namespace {

constexpr int64_t kRows = 5, kColumns = 7;
using Values = std::vector<float>;

Values numbers(int64_t n = kRows * kColumns) {
  Values v(static_cast<size_t>(n));
  for (size_t i = 0; i < v.size(); ++i) v[i] = float(std::sin(double(i) * 1.7) * 3);
  return v;
}
Values softmax(const Values& x, int64_t columns = kColumns) {
  Values y(x.size());
  for (size_t row = 0; row < x.size(); row += size_t(columns)) {
    double sum = 0;
    for (size_t i = row; i < row + size_t(columns); ++i) sum += std::exp(double(x[i]));
    for (size_t i = row; i < row + size_t(columns); ++i) y[i] = float(std::exp(double(x[i])) / sum);
  }
  return y;
}
Values read(const Tensor& t) {
  Values v(size_t(t.numel()));
  t.to_host(v.data());
  return v;
}
void expect_near(const Values& got, const Values& expected) {
  ASSERT_EQ(got.size(), expected.size());
  for (size_t i = 0; i < got.size(); ++i) ASSERT_NEAR(got[i], expected[i], 1e-6) << "element " << i;
}

class Blocks : public testing::TestWithParam<const char*> {
 protected:
  Device* device = find_device(GetParam());
  Tensor input() const {
    const Values v = numbers();
    return Tensor::from_host(v.data(), Ints{kRows, kColumns}, DType::f32, device);
  }
  static Tensor soft(const Tensor& x) { return op<"softmax">({x}, {-1}); }
  // softmax(x) in a block.
  Tensor block() const {
    const Tensor y = soft(input());
    EXPECT_NE(y.storage()->layout(), 0);
    EXPECT_EQ(y.storage()->data(), nullptr);
    return y;
  }
  const Values once = softmax(numbers()), twice = softmax(once);
};

TEST_P(Blocks, TwoOpsPassOneOn) {
  const uint64_t launches = dispatch_stats().launches;
  const Tensor y = block(), z = soft(y);
  EXPECT_NE(z.storage()->layout(), 0);
  EXPECT_NE(y.storage()->layout(), 0) << "the block was passed on, not made plain";
  EXPECT_EQ(dispatch_stats().launches, launches + 2);
  expect_near(read(z), twice);
  EXPECT_EQ(dispatch_stats().launches, launches + 3) << "one more to make it plain";
  EXPECT_EQ(z.storage()->layout(), 0);
  EXPECT_NE(z.storage()->data(), nullptr);
  expect_near(read(z), twice);
  EXPECT_EQ(dispatch_stats().launches, launches + 3);
  expect_near(read(soft(z)), softmax(twice));  // plain again
  expect_near(read(y), once);
}

TEST_P(Blocks, ASmallResultIsPlainAsItsPlanSays) {
  const Values v = numbers(6);
  const Tensor y = soft(Tensor::from_host(v.data(), Ints{2, 3}, DType::f32, device));
  EXPECT_EQ(y.storage()->layout(), 0);
  expect_near(read(y), softmax(v, 3));
}

TEST_P(Blocks, OtherAxesAndDtypesStayPlain) {
  EXPECT_EQ(op<"softmax">({input()}, {0}).storage()->layout(), 0);
  EXPECT_EQ(op<"softmax">({input().cast(DType::f64)}, {-1}).storage()->layout(), 0);
  const Tensor across = op<"softmax">({block()}, {0});  // the block meets a kernel that wants a plain tensor
  Values columns(once.size());
  for (int64_t c = 0; c < kColumns; ++c) {
    double sum = 0;
    for (int64_t r = 0; r < kRows; ++r) sum += std::exp(double(once[size_t(r * kColumns + c)]));
    for (int64_t r = 0; r < kRows; ++r) columns[size_t(r * kColumns + c)] = float(std::exp(double(once[size_t(r * kColumns + c)])) / sum);
  }
  expect_near(read(across), columns);
}

TEST_P(Blocks, Views) {
  Values row(once.begin() + kColumns, once.begin() + 2 * kColumns);
  expect_near(read(block().alias(Ints{kColumns}, Ints{1}, kColumns * 4)), row);
  const Tensor y = block(), t = op<"permute">({y}, {Ints{1, 0}}), flat = op<"reshape">({y}, {Ints{kRows * kColumns}});
  Values turned;
  for (int64_t c = 0; c < kColumns; ++c)
    for (int64_t r = 0; r < kRows; ++r) turned.push_back(once[size_t(r * kColumns + c)]);
  expect_near(read(t), turned);
  EXPECT_EQ(y.storage()->layout(), 0);
  expect_near(read(flat), once);  // a view that was made while its base was a block
  expect_near(read(soft(y.detach())), twice);
  const Tensor d = block().detach();
  expect_near(read(d), once);
}

TEST_P(Blocks, EveryOtherKernelSeesAPlainTensor) {
  Values plus(once), sums(size_t(kRows), 1);
  for (float& v : plus) v += 1;
  expect_near(read(op<"add">({block(), 1.0})), plus);
  expect_near(read(op<"add">({1.0, block()})), plus);
  expect_near(read(op<"sum">({block()}, {Ints{1}, false})), sums);
  expect_near(read(op<"copy">({block()})), once);
  expect_near(read(block().cast(DType::f64).cast(DType::f32)), once);
  expect_near(read(op<"concat">({block(), block()}, {0})), [&] {
    Values both(once);
    both.insert(both.end(), once.begin(), once.end());
    return both;
  }());
  const Tensor y = block();
  const Values got = read(op<"matmul">({op<"permute">({y}, {Ints{1, 0}}), y}));
  double first = 0;
  for (int64_t r = 0; r < kRows; ++r) first += double(once[size_t(r * kColumns)]) * once[size_t(r * kColumns)];
  EXPECT_NEAR(got[0], first, 1e-6);
  const Tensor c = op<"complex">({block(), block()});  // pairs of reals
  expect_near(read(op<"add">({op<"real">({c}), 0.0})), once);
  EXPECT_EQ(op<"max">({block()}, {Ints{}, false}).item(), double(*std::max_element(once.begin(), once.end())));
}

TEST_P(Blocks, InPlace) {
  const Tensor y = block();
  const Arg in[] = {y, 1.0};
  const Tensor out[] = {y};
  call_into(require_op("add"), in, {}, out);
  Values plus(once);
  for (float& v : plus) v += 1;
  expect_near(read(y), plus);
  EXPECT_EQ(y.version(), 1u);

  const Tensor z = block(), part = z.alias(Ints{kColumns}, Ints{1}, 0);  // through a view
  const Arg twice_of[] = {part, 2.0};
  const Tensor into[] = {part};
  call_into(require_op("mul"), twice_of, {}, into);
  Values first(once);
  for (int64_t i = 0; i < kColumns; ++i) first[size_t(i)] *= 2;
  expect_near(read(z), first);

  const Tensor w = block();  // as the place of softmax's own result
  const Tensor x = input();
  const Arg from[] = {x};
  const Tensor place[] = {w};
  const Attr axis[] = {Attr(-1)};
  call_into(require_op("softmax"), from, axis, place);
  expect_near(read(w), once);
}

TEST_P(Blocks, BetweenDevices) {
  Device* other = find_device(std::string_view(GetParam()) == "cpu" ? "chaos" : "cpu");
  expect_near(read(block().to(other)), once);
  expect_near(read(soft(block().to(other))), twice);
}

TEST_P(Blocks, Backward) {
  const Values v = numbers(), weights = numbers(kRows * kColumns);
  const auto gradient = [&](DType t) {
    Tensor x = Tensor::from_host(v.data(), Ints{kRows, kColumns}, DType::f32, device).cast(t);
    x.set_requires_grad(true);
    const Tensor w = Tensor::from_host(weights.data(), Ints{kRows, kColumns}, DType::f32, device).cast(t);
    const Tensor y = soft(soft(x));
    EXPECT_EQ(y.storage()->layout() != 0, t == DType::f32);
    const Tensor loss[] = {op<"sum">({op<"mul">({y, w})}, {Ints{}, false})};
    backward(loss);
    return read(x.grad().cast(DType::f32));
  };
  expect_near(gradient(DType::f32), gradient(DType::f64));  // in f64 nothing is in a block
}

TEST_P(Blocks, AMemoryLimitKeepsThemPlain) {
  set_memory_limit(device, uint64_t(1) << 30);
  EXPECT_EQ(soft(input()).storage()->layout(), 0);
  set_memory_limit(device, 0);
  const Tensor y = block();
  set_memory_limit(device, uint64_t(1) << 30);
  expect_near(read(soft(y)), twice);  // one from before
  set_memory_limit(device, 0);
}

TEST_P(Blocks, SeveralThreadsReadOne) {
  for (int round = 0; round < 20; ++round) {
    const Tensor y = block();
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i)
      threads.emplace_back([&, i] {
        expect_near(i % 2 ? read(y) : read(soft(y)), i % 2 ? once : twice);
      });
    for (auto& t : threads) t.join();
  }
}

TEST_P(Blocks, TheyAreFreedWithTheirTensors) {
  {
    const Tensor y = block();
    read(y);
  }
  synchronize(device);
  const uint64_t before = memory_stats(device).current;
  {
    const Tensor y = block(), z = soft(y);
    EXPECT_GT(memory_stats(device).current, before);
    read(z);
  }
  synchronize(device);
  EXPECT_EQ(memory_stats(device).current, before);
}

TEST_P(Blocks, WhySaysIt) {
  const TensorSpec x{DType::f32, {Dim(kRows), Dim(kColumns)}};
  const Why w = why(require_op("softmax"), {&x, 1}, std::vector<Attr>{Attr(-1)}, device);
  ASSERT_FALSE(w.candidates.empty());
  std::string chosen, other;
  for (const WhyCandidate& c : w.candidates) {
    if (c.chosen) chosen = c.kernel + ": " + c.reason;
    if (c.reason.find("layout") != std::string::npos) other = c.reason;
  }
  EXPECT_NE(chosen.find("in: chosen: ranks first; algorithm reversed"), std::string::npos) << chosen;
  EXPECT_NE(other.find("takes input 0 in its layout secret, it is plain"), std::string::npos) << other;
}

INSTANTIATE_TEST_SUITE_P(OnDevice, Blocks, testing::Values("cpu", "chaos"));

}  // namespace
}  // namespace tg
