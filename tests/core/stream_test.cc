// SPDX-License-Identifier: Apache-2.0
// The core's asynchrony, on the chaos device: memory that the host cannot touch, streams that are late and out of order.
#include <gtest/gtest.h>
#include <tengen/autograd.h>
#include <tengen/op.h>
#include <tengen/runtime.h>

#include <numeric>
#include <random>

namespace tg {
namespace {

class Chaos : public ::testing::Test {
 protected:
  Device* device = find_device("chaos:0");
  Tensor make(const std::vector<float>& v) const { return Tensor::from_host(v.data(), Ints{int64_t(v.size())}, DType::f32, device); }
  static std::vector<float> values(const Tensor& t) {
    std::vector<float> v(t.numel());
    t.to_host(v.data());
    return v;
  }
};

TEST_F(Chaos, RoundTripWhileTheSourceDies) {
  std::mt19937 random(3);
  std::vector<Tensor> tensors;
  std::vector<std::vector<float>> expected;
  for (int i = 0; i < 100; ++i) {
    std::vector<float> v(1 + random() % 300);
    for (float& x : v) x = float(random() % 1000);
    tensors.push_back(make(v));  // v's staging copy is freed at once
    expected.push_back(v);
  }
  for (int i = 0; i < 100; ++i) EXPECT_EQ(values(tensors[i]), expected[i]);
}

TEST_F(Chaos, ChainsOfOpsWithDyingTemporaries) {
  Tensor x = make({1, 2, 3, 4});
  for (int i = 0; i < 200; ++i) x = op<"add">({op<"mul">({x, 2.0}), op<"mul">({x, -1.0})});  // x
  EXPECT_EQ(values(x), (std::vector<float>{1, 2, 3, 4}));
}

TEST_F(Chaos, StreamsAreOrderedByEvents) {
  Stream* other = create_stream(device);
  for (int i = 0; i < 30; ++i) {
    Tensor x = make(std::vector<float>(1000, 1.f));
    for (int k = 0; k < 5; ++k) x = op<"add">({x, 1.0});
    Event* ready = record_event(current_stream(device));
    wait_event(other, ready);
    set_current_stream(device, other);
    Tensor y = op<"mul">({x, 2.0});
    Event* done = record_event(other);
    set_current_stream(device, nullptr);
    x = Tensor();                                                  // freed while `other` may still read it
    Tensor noise = make(std::vector<float>(1000, -7.f));           // would reuse it
    wait_event(current_stream(device), done);
    EXPECT_EQ(values(y), std::vector<float>(1000, 12.f));
    EXPECT_EQ(values(noise)[0], -7.f);
    destroy_event(ready);
    destroy_event(done);
  }
  destroy_stream(other);
}

TEST_F(Chaos, GradientsFlow) {
  Tensor x = make({1, 2, 3}).set_requires_grad(true);
  const Tensor outs[] = {op<"sum">({op<"mul">({x, x})})};
  backward(outs);
  EXPECT_EQ(values(x.grad()), (std::vector<float>{2, 4, 6}));
  Tensor h = Tensor::from_host(std::vector<float>{5, 6, 7}.data(), Ints{3}, DType::f32, host_device()).set_requires_grad(true);
  const Tensor crossed[] = {op<"sum">({op<"mul">({h.to(device), x})})};
  backward(crossed);
  EXPECT_EQ(values(h.grad()), (std::vector<float>{1, 2, 3}));
  EXPECT_TRUE(is_host(h.grad().device()));
}

TEST_F(Chaos, AFailureIsReportedOnceAndTheDeviceGoesOn) {
  Tensor x = make({1, 2, 3});
  const int64_t wrong = 7;
  Tensor index = Tensor::from_host(&wrong, Ints{1}, DType::i64, device);
  try {
    values(op<"index_select">({x, index}, {0}));
    FAIL() << "an index outside the axis was accepted";
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::index) << e.what();
  }
  EXPECT_EQ(values(op<"add">({make({1, 2}), 1.0})), (std::vector<float>{2, 3}));
  EXPECT_NO_THROW(synchronize(device));
}

TEST_F(Chaos, MixedDevicesAreAnError) {
  Tensor x = make({1}), h = x.to(host_device());
  EXPECT_THROW(op<"add">({x, h}), Error);
}

TEST_F(Chaos, TheCoreNeverTouchesDeviceMemory) {
  // Prints, comparisons, indexing by the host all go through copies: a touch would end the process.
  Tensor x = make({4, 5, 6});
  EXPECT_EQ(op<"slice">({x}, {0, 1, 2, 1}).item(), 5);
  EXPECT_EQ(x.to(host_device()).shape(), x.shape());
  EXPECT_THROW(x.item(), Error);
}

}  // namespace
}  // namespace tg
