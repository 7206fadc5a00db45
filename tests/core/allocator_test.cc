// SPDX-License-Identifier: Apache-2.0
// The caching allocator: statistics, reuse, alignment, exhaustion.
#include <gtest/gtest.h>
#include <tengen/runtime.h>
#include <tengen/op.h>

#include <cstring>
#include <set>
#include <thread>

namespace tg {
namespace {

TEST(Allocator, CountsAndReuses) {
  Device* host = host_device();
  empty_cache(host);
  const MemoryStats before = memory_stats(host);
  void* first;
  {
    Tensor t = Tensor::empty(Ints{1000}, DType::f32, host);
    first = t.storage()->data();
    EXPECT_EQ(reinterpret_cast<uintptr_t>(first) % 64, 0u);
    const MemoryStats now = memory_stats(host);
    EXPECT_GE(now.current - before.current, 4000u);
    EXPECT_LE(now.current - before.current, 4000u * 9 / 8 + 64);
    EXPECT_GE(now.peak, now.current);
    EXPECT_GE(now.reserved, now.current);
  }
  EXPECT_EQ(memory_stats(host).current, before.current);
  EXPECT_GT(memory_stats(host).reserved, before.reserved);
  Tensor again = Tensor::empty(Ints{1000}, DType::f32, host);
  EXPECT_EQ(again.storage()->data(), first);
  again = Tensor();
  empty_cache(host);
  EXPECT_EQ(memory_stats(host).reserved, before.reserved);
}

TEST(Allocator, EverySizeFits) {
  Device* host = host_device();
  for (uint64_t bytes = 1; bytes < 5000; bytes += 7) {
    Tensor t = Tensor::empty(Ints{int64_t(bytes)}, DType::u8, host);
    std::memset(t.storage()->data(), 0x5a, bytes);  // AddressSanitizer sees an overrun
    EXPECT_EQ(t.storage()->bytes(), bytes);
  }
}

TEST(Allocator, ZeroBytesIsNoMemory) {
  Tensor t = Tensor::empty(Ints{0, 5}, DType::f32, host_device());
  EXPECT_EQ(t.storage()->data(), nullptr);
  EXPECT_EQ(t.numel(), 0);
}

TEST(Allocator, ExhaustionIsAnErrorAndLeavesTheProcessUsable) {
  try {
    Tensor::empty(Ints{int64_t(1) << 45}, DType::f64, host_device());
    FAIL() << "256 TiB were allocated";
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::memory);
  }
  EXPECT_NO_THROW(Tensor::empty(Ints{16}, DType::f32, host_device()));
  EXPECT_THROW(Tensor::empty(Ints{int64_t(1) << 40, int64_t(1) << 40}, DType::f32, host_device()), Error);
  EXPECT_THROW(Tensor::empty(Ints{-1}, DType::f32, host_device()), Error);
}

TEST(Allocator, ThreadsDoNotShareLiveBlocks) {
  std::vector<std::thread> threads;
  std::atomic<int> wrong{0};
  for (int k = 0; k < 4; ++k)
    threads.emplace_back([&, k] {
      for (int i = 0; i < 500; ++i) {
        Tensor t = Tensor::empty(Ints{64 + (i * 37 + k) % 900}, DType::u8, host_device());
        auto* p = static_cast<uint8_t*>(t.storage()->data());
        std::memset(p, k + 1, t.numel());
        for (int64_t j = 0; j < t.numel(); ++j) wrong += p[j] != k + 1;
      }
    });
  for (auto& t : threads) t.join();
  EXPECT_EQ(wrong, 0);
}

}  // namespace
}  // namespace tg
