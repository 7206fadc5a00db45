// SPDX-License-Identifier: Apache-2.0
// Memory limits: eviction, coming back, writes, streams, threads.
#include <gtest/gtest.h>
#include <tengen/autograd.h>
#include <tengen/memory_limit.h>
#include <tengen/runtime.h>

#include <barrier>
#include <cstring>
#include <thread>

namespace tg {
namespace {

std::vector<float> values(const Tensor& t) {
  std::vector<float> v(size_t(t.numel()));
  t.to_host(v.data());
  return v;
}

// A limit a little above what is in use; evict() asks for so much that everything goes.
struct Limited {
  explicit Limited(Device* d) : device(d) { set_memory_limit(d, memory_stats(d).current + (16 << 20)); }
  ~Limited() { set_memory_limit(device, 0); }
  uint64_t evict() const {
    const uint64_t before = remat_stats(device).evictions;
    EXPECT_THROW(Tensor::empty(Ints{int64_t(memory_limit(device))}, DType::f32, device), Error);
    return remat_stats(device).evictions - before;
  }
  Device* device;
};

std::vector<Device*> usable_devices() {
  std::vector<Device*> all;
  for (const DeviceInfo& d : devices())
    if (d.usable) all.push_back(find_device(d.name));
  return all;
}

TEST(Remat, ComesBackWithItsBits) {
  for (Device* device : usable_devices()) {
    const Tensor x = op<"arange">({}, {0.0, 4096.0, 1.0, DType::f32}, device);
    const Limited limited(device);
    const Tensor y = op<"exp">({op<"mul">({x, 0.001})});
    const Tensor view = y.alias(Ints{1000, 2}, Ints{2, 1}, 400);
    const std::vector<float> expected = values(y), part = values(view);
    EXPECT_GE(limited.evict(), 1u);
    EXPECT_EQ(y.storage()->data(), nullptr);
    EXPECT_EQ(values(view), part);
    EXPECT_EQ(values(y), expected);
    EXPECT_GE(remat_stats(device).rematerialised, 2u);  // the product had died
    EXPECT_NE(y.storage()->data(), nullptr);
  }
}

TEST(Remat, OldValuesSurviveWrites) {
  for (Device* device : usable_devices()) {
    const Tensor leaf = op<"full">({}, {Ints{4096}, 2.0, DType::f32}, device);
    const Limited limited(device);
    const Tensor made = op<"add">({leaf, 1.0});
    const Tensor a = op<"mul">({leaf, 5.0}), b = op<"mul">({made, 7.0});
    limited.evict();
    for (const Tensor& t : {leaf, made}) {
      const Arg in[] = {t, 0.0};
      const Tensor out[] = {t};
      call_into(op_named<"mul">(), in, {}, out);
    }
    limited.evict();
    EXPECT_EQ(values(a), std::vector<float>(4096, 10.0f));
    EXPECT_EQ(values(b), std::vector<float>(4096, 21.0f));
    EXPECT_EQ(values(made), std::vector<float>(4096, 0.0f));
  }
}

TEST(Remat, NothingIsRememberedWithoutGradients) {
  Device* host = host_device();
  const Limited limited(host);
  GradMode off(false);
  const Tensor x = op<"full">({}, {Ints{4096}, 2.0, DType::f32}, host), y = op<"exp">({x});
  EXPECT_EQ(limited.evict(), 0u);
  EXPECT_NE(y.storage()->data(), nullptr);
}

TEST(Remat, PinnedOperandsAndTheirResultFit) {
  Device* host = host_device();
  const uint64_t block = 1 << 20;
  const Tensor x = op<"full">({}, {Ints{1 << 18}, 1.0, DType::f32}, host);
  set_memory_limit(host, memory_stats(host).current + 3 * block);
  {
    Tensors all;
    for (int i = 0; i < 20; ++i) all.push_back(op<"add">({x, double(i)}));
    for (int round = 0; round < 2; ++round)
      for (int i = 0; i + 1 < 20; ++i) {
        const Tensor sum = op<"add">({all[size_t(i)], all[size_t(i) + 1]});
        EXPECT_EQ(op<"max">({sum}).item(), 2 * i + 3);
        EXPECT_EQ(op<"min">({sum}).item(), 2 * i + 3);
      }
    EXPECT_LE(memory_stats(host).current, memory_limit(host));
  }
  set_memory_limit(host, 0);
}

TEST(Remat, ThreadsShareAndDrop) {
  Device* host = host_device();
  const Tensor x = op<"full">({}, {Ints{1 << 14}, 1.0, DType::f32}, host);
  set_memory_limit(host, memory_stats(host).current + (20 << 16));
  const uint64_t before = remat_stats(host).evictions;
  {
    Tensors shared;
    for (int i = 0; i < 8; ++i) shared.push_back(op<"add">({op<"add">({x, double(i)}), 1.0}));
    std::vector<std::thread> threads;
    std::barrier all(4);  // on a busy machine the threads may otherwise run one after another, and then all fits
    for (int t = 0; t < 4; ++t)
      threads.emplace_back([&, t] {
        Tensors own;
        for (int i = 0; i < 400; ++i) {
          if (i == 10) all.arrive_and_wait();
          const Tensor& s = shared[size_t(i + t) % 8];
          own.push_back(op<"mul">({s, 2.0}));
          if (own.size() > 6) own.erase(own.begin());
          EXPECT_EQ(op<"max">({own[size_t(i) % own.size()]}).item(), op<"min">({own[size_t(i) % own.size()]}).item());
          EXPECT_EQ(op<"max">({s}).item(), (i + t) % 8 + 2);
        }
      });
    for (std::thread& t : threads) t.join();
  }
  EXPECT_GT(remat_stats(host).evictions, before);
  set_memory_limit(host, 0);
}

TEST(Remat, StreamsAreOrdered) {
  for (Device* device : usable_devices()) {
    if (is_host(device)) continue;
    Stream* other = create_stream(device);
    const Tensor x = op<"full">({}, {Ints{1 << 14}, 1.0, DType::f32}, device);
    synchronize(device);
    {
      const Limited limited(device);
      set_current_stream(device, other);
      Tensor y = x;
      for (int i = 0; i < 20; ++i) y = op<"add">({y, 1.0});
      Event* done = record_event(other);
      set_current_stream(device, nullptr);
      wait_event(current_stream(device), done);
      destroy_event(done);
      for (int round = 0; round < 5; ++round) {
        limited.evict();
        EXPECT_EQ(values(op<"mul">({y, 2.0})), std::vector<float>(1 << 14, 42.0f));
      }
      limited.evict();
      destroy_stream(other);
      EXPECT_EQ(values(y), std::vector<float>(1 << 14, 21.0f));
    }
  }
}

}  // namespace
}  // namespace tg
