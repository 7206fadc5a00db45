// SPDX-License-Identifier: Apache-2.0
// The core when a device fails: no memory, a launch that fails, a stream that waited for it, a device that is lost; and the
// end of the runtime while tensors, streams and events live on. Chaos does on demand what others do by accident.
#include <tengen/autograd.h>
#include <tengen/memory_limit.h>
#include <tengen/op.h>

#include <atomic>
#include <thread>

#include "own_process.h"

namespace tg {
namespace {

using test::in_own_process;

Device* chaos(int index = 0) { return find_device("chaos:" + std::to_string(index)); }
Tensor make(const std::vector<float>& v, Device* device = chaos()) {
  return Tensor::from_host(v.data(), Ints{int64_t(v.size())}, DType::f32, device);
}
std::vector<float> values(const Tensor& t) {
  std::vector<float> v(size_t(t.numel()));
  t.to_host(v.data());
  return v;
}
template <class F>
std::string message_of(ErrorKind kind, F&& f) {
  try {
    f();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), kind) << e.what();
    return e.what();
  }
  ADD_FAILURE() << "expected an error";
  return "";
}
#define EXPECT_SAYS(text, part) EXPECT_NE(std::string(text).find(part), std::string::npos) << text

class On {  // a current stream
 public:
  explicit On(Stream* s) : device_(stream_device(s)) { set_current_stream(device_, s); }
  ~On() { set_current_stream(device_, nullptr); }

 private:
  Device* device_;
};

// ---- memory -----------------------------------------------------------------------------------------------------------

TEST(Memory, TheCacheIsGivenBackBeforeAnAllocationFails) {
  in_own_process({{"TENGEN_CHAOS_FAIL_ALLOC", "3"}}, [] {
    make(std::vector<float>(1000, 1.f));  // the first block, cached
    const Tensor b = make(std::vector<float>(5000, 2.f));
    const uint64_t held = memory_stats(chaos()).reserved;
    const Tensor c = make(std::vector<float>(20000, 3.f));  // no room; then there is
    EXPECT_EQ(memory_stats(chaos()).reserved, memory_stats(chaos()).current);
    EXPECT_LT(memory_stats(chaos()).reserved - held, 20000u * 4 * 9 / 8);
    EXPECT_EQ(values(b), std::vector<float>(5000, 2.f));
    EXPECT_EQ(values(c), std::vector<float>(20000, 3.f));
  });
}

TEST(Memory, ExhaustionIsAnErrorThatNamesTheDevice) {
  in_own_process({{"TENGEN_CHAOS_MEMORY", "1048576"}}, [] {
    for (int i = 1; i < 4; ++i) make(std::vector<float>(size_t(50000 + 10000 * i)));  // cached: together more than half
    EXPECT_EQ(values(make(std::vector<float>(200000, 4.f))), std::vector<float>(200000, 4.f));
    const std::string text = message_of(ErrorKind::memory, [] { Tensor::empty(Ints{1 << 20}, DType::f32, chaos()); });
    EXPECT_SAYS(text, "out of memory on chaos:0");
    EXPECT_SAYS(text, "4194304 bytes more");
    EXPECT_EQ(values(op<"add">({make({1, 2}), 1.0})), (std::vector<float>{2, 3}));
    EXPECT_EQ(values(op<"add">({make({1, 2}, chaos(1)), 1.0})), (std::vector<float>{2, 3}));
  });
}

// ---- launches ---------------------------------------------------------------------------------------------------------

TEST(Launches, AFailureNamesItsOpAndLaunch) {
  in_own_process({{"TENGEN_CHAOS_FAIL_LAUNCH", "3"}}, [] {
    const Tensor x = op<"mul">({op<"add">({make({1, 2, 3}), 1.0}), 2.0});
    EXPECT_EQ(dispatch_stats().launches, 2u);
    const Tensor y = op<"exp">({x});
    const Tensor z = op<"neg">({y});
    const std::string text = message_of(ErrorKind::runtime, [] { synchronize(chaos()); });
    EXPECT_SAYS(text, "chaos:0");
    EXPECT_SAYS(text, "(launch 3, exp)");
    EXPECT_NO_THROW(synchronize(chaos()));  // reported once
    EXPECT_EQ(values(op<"mul">({x, 1.0})), (std::vector<float>{4, 6, 8}));
  });
}

TEST(Launches, AStreamThatWaitedForAFailureFailsWithIt) {
  in_own_process({{"TENGEN_CHAOS_FAIL_LAUNCH", "1"}}, [] {
    Device* device = chaos();
    Stream *first = current_stream(device), *other = create_stream(device), *third = create_stream(device);
    const Tensor y = op<"exp">({make({1, 2, 3})});
    Event* ready = record_event(first);
    wait_event(other, ready);
    destroy_event(ready);
    Tensor skipped, fine;
    {
      const On on(other);
      skipped = op<"add">({make({1}), 1.0});
    }
    {
      const On on(third);
      fine = op<"add">({make({1}), 1.0});
      EXPECT_EQ(values(fine), std::vector<float>{2});
    }
    EXPECT_SAYS(message_of(ErrorKind::runtime, [&] { synchronize(other); }), "(launch 1, exp)");
    EXPECT_SAYS(message_of(ErrorKind::runtime, [&] { synchronize(first); }), "(launch 1, exp)");
    for (Stream* s : {first, other, third}) {
      const On on(s);
      EXPECT_EQ(values(op<"add">({make({1}), 1.0})), std::vector<float>{2});
    }
    destroy_stream(other);
    destroy_stream(third);
  });
}

// Chaos delays every task: 30 of them take a third of a second.
constexpr test::Setting kSlow[] = {{"TENGEN_CHAOS_FAIL_LAUNCH", "1"}, {"TENGEN_CHAOS_DELAY_EVERY", "1"}, {"TENGEN_CHAOS_DELAY_US", "20000"}};

// Fails the default stream and leaves late work on the one that is returned, with freed temporaries.
Stream* one_failed_one_late(Tensor* result) {
  op<"exp">({make({1, 2, 3})});
  Stream* late = create_stream(chaos());
  const On on(late);
  *result = make(std::vector<float>(100, 0.f));
  for (int i = 0; i < 30; ++i) *result = op<"add">({*result, 1.0});
  return late;
}

TEST(Launches, AllStreamsAreWaitedForThoughOneFailed) {
  in_own_process({kSlow[0], kSlow[1], kSlow[2]}, [] {
    Tensor result;
    Stream* late = one_failed_one_late(&result);
    EXPECT_SAYS(message_of(ErrorKind::runtime, [] { synchronize(chaos()); }), "(launch 1, exp)");
    EXPECT_TRUE(query(late));
    const On on(late);
    EXPECT_EQ(values(result), std::vector<float>(100, 30.f));
  });
}

TEST(Launches, CachedBlocksOfLateStreamsAreNotGivenBackEarly) {
  in_own_process({kSlow[0], kSlow[1], kSlow[2]}, [] {
    Tensor result;
    Stream* late = one_failed_one_late(&result);
    // The failure is nobody else's to report.
    EXPECT_SAYS(message_of(ErrorKind::runtime, [] { empty_cache(chaos()); }), "(launch 1, exp)");
    EXPECT_EQ(memory_stats(chaos()).reserved, memory_stats(chaos()).current);
    EXPECT_NO_THROW(synchronize(late));
    const On on(late);
    EXPECT_EQ(values(result), std::vector<float>(100, 30.f));
  });
}

TEST(Launches, EmptyingTheCacheSparesWhatOthersUseMeanwhile) {
  in_own_process({}, [] {
    std::atomic<bool> stop{false};
    std::thread worker([&] {
      Stream* own = create_stream(chaos());
      const On on(own);
      for (int round = 0; round < 40; ++round) {
        Tensor x = make(std::vector<float>(500, float(round)));
        for (int i = 0; i < 10; ++i) x = op<"add">({x, 1.0});
        EXPECT_EQ(values(x), std::vector<float>(500, float(round + 10)));
      }
      stop = true;
    });
    while (!stop) empty_cache(chaos());
    worker.join();
  });
}

TEST(Launches, ALostDeviceIsLostAlone) {
  in_own_process({{"TENGEN_CHAOS_LOSE_DEVICE", "2"}}, [] {
    const Tensor x = make({1, 2, 3});
    EXPECT_EQ(values(op<"add">({x, 1.0})), (std::vector<float>{2, 3, 4}));
    const Tensor y = op<"mul">({x, 2.0});
    const std::string text = message_of(ErrorKind::device_lost, [] { synchronize(chaos()); });
    EXPECT_SAYS(text, "chaos:0");
    EXPECT_SAYS(text, "(launch 2, mul)");
    EXPECT_SAYS(message_of(ErrorKind::device_lost, [&] { op<"add">({x, 1.0}); }), "chaos:0 was lost");
    message_of(ErrorKind::device_lost, [&] { values(y); });
    message_of(ErrorKind::device_lost, [] { make({1}); });
    message_of(ErrorKind::device_lost, [] { synchronize(chaos()); });
    const Tensor there = op<"add">({make({1, 2}, chaos(1)), 1.0});
    EXPECT_EQ(values(there), (std::vector<float>{2, 3}));
    EXPECT_EQ(values(op<"add">({there.to(host_device()), 1.0})), (std::vector<float>{3, 4}));
  });
}

// ---- streams ----------------------------------------------------------------------------------------------------------

TEST(Streams, ThatWereDestroyedTakeNoWork) {
  in_own_process({}, [] {
    Device* device = chaos();
    Stream* gone = create_stream(device);
    Event* event = record_event(current_stream(device));
    const Tensor x = make({1, 2});
    {
      const On on(gone);
      op<"add">({x, 1.0});  // x knows of the stream
      destroy_stream(gone);
      EXPECT_SAYS(message_of(ErrorKind::runtime, [&] { op<"add">({x, 1.0}); }), "[add] expected a living stream of chaos:0");
      EXPECT_SAYS(message_of(ErrorKind::runtime, [&] { values(x); }), "expected a living stream");
      EXPECT_SAYS(message_of(ErrorKind::runtime, [&] { make({1}); }), "expected a living stream");
    }
    EXPECT_SAYS(message_of(ErrorKind::runtime, [&] { wait_event(gone, event); }), "[wait_event] expected a living stream");
    EXPECT_TRUE(query(gone));
    EXPECT_NO_THROW(synchronize(gone));
    destroy_stream(gone);
    destroy_event(event);
    EXPECT_EQ(values(op<"add">({x, 1.0})), (std::vector<float>{2, 3}));
  });
}

TEST(Streams, OfTwoThreadsShareStorages) {
  in_own_process({}, [] {
    constexpr int kThreads = 3, kRounds = 60;
    std::vector<Tensor> shared;
    for (int i = 0; i < kRounds; ++i) shared.push_back(make(std::vector<float>(64, float(i))));
    synchronize(chaos());
    std::atomic<int> ready{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < kThreads; ++t)
      threads.emplace_back([&, t] {
        const std::vector<Tensor> mine = shared;
        const On on(create_stream(chaos()));
        ++ready;
        while (ready < kThreads) std::this_thread::yield();
        if (t == 0) shared.clear();  // the last reference goes in any of them
        std::vector<Tensor> results;
        for (const Tensor& x : mine) results.push_back(op<"add">({x, double(t)}));
        for (int i = 0; i < kRounds; ++i) EXPECT_EQ(values(results[size_t(i)]), std::vector<float>(64, float(i + t)));
      });
    for (auto& t : threads) t.join();
  });
}

TEST(Streams, AreAskedWhileTheyFailAndRecover) {
  in_own_process({}, [] {
    Stream* stream = current_stream(chaos());
    const Tensor x = make({1, 2, 3});
    const int64_t wrong = 7;
    const Tensor index = Tensor::from_host(&wrong, Ints{1}, DType::i64, chaos());
    std::atomic<bool> stop{false};
    std::thread asks([&] {
      while (!stop) try {
          query(stream);
          destroy_event(record_event(stream));
        } catch (const Error&) {  // the failure, seen before it is reported
        }
    });
    for (int i = 0; i < 30; ++i) {
      op<"index_select">({x, index}, {0});
      message_of(ErrorKind::index, [&] { synchronize(stream); });
    }
    stop = true;
    asks.join();
    EXPECT_EQ(values(op<"add">({x, 1.0})), (std::vector<float>{2, 3, 4}));
  });
}

// ---- the end ----------------------------------------------------------------------------------------------------------

TEST(End, TensorsStreamsAndEventsMayOutliveTheRuntime) {
  in_own_process({}, [] {
    Device* device = chaos();
    set_memory_limit(device, 64 << 20);  // what is computed is remembered, with its stream
    Stream* other = create_stream(device);
    Tensor x = make(std::vector<float>(4096, 1.f)), y = op<"exp">({op<"mul">({x, 2.0})});
    synchronize(device);
    Event* event = record_event(current_stream(device));
    set_current_stream(device, other);
    Tensor z = op<"add">({x, y});
    shutdown();
    EXPECT_SAYS(message_of(ErrorKind::runtime, [&] { op<"add">({x, 1.0}); }), "shut down");
    EXPECT_SAYS(message_of(ErrorKind::runtime, [&] { synchronize(event); }), "shut down");
    message_of(ErrorKind::runtime, [&] { create_stream(device); });
    x = y = z = Tensor();
    EXPECT_EQ(stream_device(current_stream(device)), device);
    EXPECT_TRUE(query(other));
    EXPECT_NO_THROW(synchronize(other));
    EXPECT_NO_THROW(synchronize(device));
    EXPECT_NO_THROW(empty_cache(device));
    destroy_event(event);
    destroy_event(record_event(other));
    destroy_stream(other);
    set_current_stream(device, nullptr);
  });
}

}  // namespace
}  // namespace tg
