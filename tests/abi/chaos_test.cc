// SPDX-License-Identifier: Apache-2.0
//
// The chaos device does to a host what it promises: each test breaks a rule of kernel_api.h, or meets a failure, and
// expects to be told. Gates (work that blocks a stream) make "later" certain, so no test depends on timing.

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <set>

#include "chaos_host.h"

namespace tg::test {
namespace {

constexpr tg_dtype kF32{TG_CODE_FLOAT, 32, 1};
constexpr tg_dtype kI64{TG_CODE_INT, 64, 1};

// The signal that ended a child which ran `body`; 0 if it came to its end.
template <class Body>
int signal_of(Body&& body) {
  const pid_t child = fork();
  if (child == 0) {
    signal(SIGSEGV, SIG_DFL);  // a sanitizer's handler would report instead of dying
    signal(SIGBUS, SIG_DFL);
    body();
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

bool says(const tg_error& error, const std::string& text) {
  return std::string(error.message).find(text) != std::string::npos;
}

// ---- the plugin and its memory --------------------------------------------------------------------------------------

TEST(Chaos, DescribesTwoDevices) {
  Host host({{"TENGEN_CHAOS_MEMORY", "1000000"}});
  uint32_t count = 0;
  ASSERT_EQ(host.d().device_count(host.instance, &count, nullptr), TG_OK);
  ASSERT_EQ(count, 2u);
  std::set<std::string> domains;
  std::set<void*> natives;
  for (int i = 0; i < 2; ++i) {
    tg_device_info info{};
    info.struct_size = sizeof info;
    ASSERT_EQ(host.d().device_info(host.instance, i, &info, nullptr), TG_OK);
    EXPECT_STREQ(info.kind, "chaos");
    EXPECT_EQ(info.memory_bytes, 1000000u);
    EXPECT_EQ(info.alignment, 64u);
    EXPECT_EQ(info.flags & TG_DEVICE_HOST_ACCESSIBLE, 0u);
    domains.insert(info.domain);
    natives.insert(info.native_device);
  }
  EXPECT_EQ(domains.size(), 2u);
  EXPECT_EQ(natives.size(), 2u);
  tg_device_info info{};
  EXPECT_EQ(host.d().device_info(host.instance, 2, &info, &host.error), TG_INVALID_ARGUMENT);
  tg_device_info small{};
  small.struct_size = 16;  // an older host's: nothing behind it may be written
  ASSERT_EQ(host.d().device_info(host.instance, 0, &small, nullptr), TG_OK);
  EXPECT_STREQ(small.kind, "chaos");
  EXPECT_EQ(small.name, nullptr);
}

TEST(Chaos, EveryRowIsAsynchronousAndForItsOwnDevices) {
  Host host;
  std::set<std::string> ops;
  ASSERT_GT(host.plugin->n_rows, 0u);
  for (uint32_t i = 0; i < host.plugin->n_rows; ++i) {
    EXPECT_TRUE(host.plugin->rows[i].flags & TG_ROW_ASYNC) << host.plugin->rows[i].name;
    EXPECT_EQ(host.plugin->rows[i].domain, nullptr) << host.plugin->rows[i].name;
    ops.insert(host.plugin->rows[i].op);
  }
  EXPECT_EQ(ops, (std::set<std::string>{"map", "copy", "fill", "iota", "random", "reduce", "scan", "matmul", "gather",
                                        "scatter", "sort"}));
}

TEST(Chaos, RefusesASettingThatIsNoNumber) {
  try {
    Host host({{"TENGEN_CHAOS_MEMORY", "2GiB"}});
    FAIL() << "open took 2GiB";
  } catch (const std::runtime_error& e) {
    EXPECT_NE(std::string(e.what()).find("TENGEN_CHAOS_MEMORY: expected a whole number, got '2GiB'"), std::string::npos)
        << e.what();
  }
}

TEST(ChaosMemory, HostAccessFaults) {
  Host host;
  const Buffer b = host.buffer(0, 4096);
  volatile char* p = static_cast<char*>(b.data);
  EXPECT_EQ(signal_of([] {}), 0);
  EXPECT_EQ(signal_of([&] { (void)*p; }), SIGSEGV);
  EXPECT_EQ(signal_of([&] { *p = 1; }), SIGSEGV);
  EXPECT_EQ(signal_of([&] { (void)p[4095]; }), SIGSEGV);
}

TEST(ChaosMemory, IsAlignedTo64AndPoisoned) {
  Host host;
  const StreamHandle s = host.stream(0);
  const Buffer b = host.buffer(0, 1000);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(b.data) % 128, 64u);
  for (unsigned char c : host.download<unsigned char>(s, b)) ASSERT_EQ(c, 0xCB);
}

TEST(ChaosMemory, RunsOut) {
  Host host({{"TENGEN_CHAOS_MEMORY", "100000"}});
  const Buffer first = host.buffer(0, 60000);
  Buffer second;
  EXPECT_EQ(host.alloc(0, 60000, &second), TG_RESOURCE_EXHAUSTED);
  EXPECT_TRUE(says(host.error, "60000 bytes asked, 40000 of 100000 are free")) << host.error.message;
  uint64_t free = 0, total = 0;
  ASSERT_EQ(host.d().memory_info(host.instance, 0, &free, &total, nullptr), TG_OK);
  EXPECT_EQ(free, 40000u);
  EXPECT_EQ(total, 100000u);
  host.buffer(1, 60000);  // the other device has memory of its own
  host.free(first);
  host.buffer(0, 60000);
  EXPECT_EQ(host.alloc(0, uint64_t(1) << 62, &second), TG_RESOURCE_EXHAUSTED);
  EXPECT_EQ(host.alloc(0, ~uint64_t(0), &second), TG_RESOURCE_EXHAUSTED);
}

TEST(ChaosMemory, FailsTheAllocAskedFor) {
  Host host({{"TENGEN_CHAOS_FAIL_ALLOC", "2"}});
  host.buffer(0, 64);
  Buffer b;
  EXPECT_EQ(host.alloc(0, 64, &b), TG_RESOURCE_EXHAUSTED);
  host.buffer(0, 64);  // the one after it works: a host that tries again gets on
}

TEST(ChaosMemory, FreedTwiceIsReported) {
  Host host;
  const StreamHandle s = host.stream(0);
  const Buffer b = host.buffer(0, 64);
  host.free(b);
  EXPECT_EQ(host.sync(s), TG_OK);
  host.d().free(host.instance, 0, b.data, b.bytes);
  EXPECT_TRUE(host_log().contains("freed before"));
  EXPECT_EQ(host.sync(s), TG_INTERNAL);
}

TEST(ChaosMemory, FreedWithAnotherSizeIsReported) {
  Host host;
  const StreamHandle s = host.stream(0);
  Buffer b = host.buffer(0, 64);
  b.bytes = 128;
  host.free(b);
  EXPECT_TRUE(host_log().contains("expected the size given to alloc, 64, got 128"));
  EXPECT_EQ(host.sync(s), TG_INTERNAL);
}

// ---- what a launch may refer to -------------------------------------------------------------------------------------

class ChaosArguments : public ::testing::Test {
 protected:
  // A fill of `elements` f32 at data + offset; the stream must fail, with `text` in its message.
  void expect_failure(void* data, int64_t elements, uint64_t offset, const std::string& text) {
    View y({0, data, 0}, kF32, {elements}, offset);
    const std::vector<uint64_t> words{0};
    void* plan = host.plan("fill", {}, {&y.tensor}, {});
    const StreamHandle s = host.stream(0);
    ASSERT_EQ(host.run(plan, s, {}, {&y.tensor}, {attr_bits(words)}), TG_OK);
    host.destroy_plan(plan);
    EXPECT_NE(host.sync(s), TG_OK);
    EXPECT_TRUE(says(host.error, text)) << host.error.message;
    EXPECT_EQ(host.error.launch_id, host.launch.load());
  }
  Host host;
};

TEST_F(ChaosArguments, MustBeDeviceMemory) {
  float here[4];
  expect_failure(here, 4, 0, "fill: output 0: expected memory of chaos:0, got the unknown address");
}

TEST_F(ChaosArguments, MustBeThisDevices) {
  expect_failure(host.buffer(1, 16).data, 4, 0, "expected memory of chaos:0");
}

TEST_F(ChaosArguments, MayNotBeComputedByTheHost) {
  expect_failure(static_cast<char*>(host.buffer(0, 64).data) + 16, 4, 0, "16 bytes inside a block");
}

TEST_F(ChaosArguments, MustFitTheBlock) {
  expect_failure(host.buffer(0, 64).data, 16, 4, "reaches from byte 4 to 68 of a block of 64 bytes");
}

TEST_F(ChaosArguments, MustNotBeFreed) {
  const Buffer b = host.buffer(0, 64);
  host.free(b);
  expect_failure(b.data, 16, 0, "64 bytes that was freed");
}

TEST(ChaosLaunch, FindsABlockFreedWhileItWaits) {
  Host host;
  const StreamHandle s = host.stream(0);
  const Buffer b = host.buffer(0, 64);
  Gate gate(s);
  ASSERT_EQ(host.fill(s, b, 1.0f), TG_OK);
  host.free(b);
  gate.open();
  EXPECT_EQ(host.sync(s), TG_FAILED_PRECONDITION);
  EXPECT_TRUE(says(host.error, "freed before")) << host.error.message;
}

TEST(ChaosLaunch, TellsStreamAndNativeStreamApart) {
  Host host;
  const StreamHandle s = host.stream(0), other = host.stream(0);
  EXPECT_NE(s.handle, s.native);
  const Buffer b = host.buffer(0, 64);
  EXPECT_EQ(host.fill(StreamHandle{0, s.handle, s.handle}, b, 1.0f), TG_INVALID_ARGUMENT);
  EXPECT_EQ(host.fill(StreamHandle{0, s.native, s.native}, b, 1.0f), TG_INVALID_ARGUMENT);
  EXPECT_EQ(host.fill(StreamHandle{0, s.handle, other.native}, b, 1.0f), TG_INVALID_ARGUMENT);
  EXPECT_EQ(host.fill(s, b, 1.0f), TG_OK);
  EXPECT_EQ(host.sync(s), TG_OK);
}

TEST(ChaosLaunch, CopiesTheWholeRunBlock) {
  Host host;
  const StreamHandle s = host.stream(0);
  const Buffer x = host.upload<float>(s, {1, 2, 3, 4, 5, 6}), y = host.buffer(0, 6 * 4);
  const auto vx = std::make_unique<View>(x, kF32, std::vector<int64_t>{3, 2});
  const auto vy = std::make_unique<View>(y, kF32, std::vector<int64_t>{3, 2});
  // y = x * 10 + 0.5, with immediates in the run block
  std::vector<tg_map_inst> program(2);
  program[0] = {TG_MAP_MUL, 2, kF32, {}, {0, 3, 0}, {}};
  program[1] = {TG_MAP_ADD, 2, kF32, {}, {1, 4, 0}, {}};
  std::vector<int64_t> results{1};
  void* plan = host.plan("map", {&vx->tensor}, {&vy->tensor}, {attr_program(program), attr_ints(results)});
  std::memset(program.data(), 0xEE, program.size() * sizeof program[0]);  // plan attributes end with plan_create
  results[0] = 99;
  std::vector<uint64_t> immediates{word_of(10.0f), word_of(0.5f)};
  Gate gate(s);
  ASSERT_EQ(host.run(plan, s, {&vx->tensor}, {&vy->tensor}, {attr_bits(immediates)}), TG_OK);
  immediates = {~uint64_t(0), ~uint64_t(0)};
  for (View* v : {vx.get(), vy.get()}) {
    v->shape = {1 << 20, 1 << 20};
    v->strides = {1 << 20, 7};
    std::memset(&v->tensor, 0xEE, sizeof v->tensor);
  }
  host.destroy_plan(plan);
  gate.open();
  EXPECT_EQ(host.download<float>(s, y), (std::vector<float>{10.5f, 20.5f, 30.5f, 40.5f, 50.5f, 60.5f}));
}

// ---- order ----------------------------------------------------------------------------------------------------------

TEST(ChaosStream, RunsInOrder) {
  Host host({{"TENGEN_CHAOS_DELAY_EVERY", "2"}});
  const StreamHandle s = host.stream(0);
  const Buffer b = host.buffer(0, 64);
  for (int i = 0; i < 200; ++i) ASSERT_EQ(host.fill(s, b, float(i)), TG_OK);
  EXPECT_EQ(host.download<float>(s, b), std::vector<float>(16, 199.0f));
}

TEST(ChaosStream, ReturnsBeforeTheWorkIsDone) {
  Host host;
  const StreamHandle s = host.stream(0);
  const Buffer b = host.buffer(0, 64);
  Gate gate(s);
  EXPECT_EQ(host.fill(s, b, 1.0f), TG_OK);
  EXPECT_EQ(host.query(s), TG_UNAVAILABLE);
  gate.open();
  EXPECT_EQ(host.sync(s), TG_OK);
  EXPECT_EQ(host.query(s), TG_OK);
}

TEST(ChaosStream, CopiesReadTheHostLate) {
  Host host;
  const StreamHandle s = host.stream(0);
  const Buffer b = host.buffer(0, 8);
  float source[2] = {1, 2};
  Gate gate(s);
  ASSERT_EQ(host.d().copy_to_device(host.instance, 0, s.handle, b.data, 0, source, 8, nullptr), TG_OK);
  source[0] = 3;  // against the rule; a host that does so gets the wrong result
  gate.open();
  EXPECT_EQ(host.download<float>(s, b), (std::vector<float>{3, 2}));
}

TEST(ChaosStream, CopiesWriteTheHostLate) {
  Host host;
  const StreamHandle s = host.stream(0);
  const Buffer b = host.upload<int32_t>(s, {1, 2});
  int32_t target[2] = {7, 7};
  Gate gate(s);
  ASSERT_EQ(host.d().copy_to_host(host.instance, 0, s.handle, target, b.data, 0, 8, nullptr), TG_OK);
  EXPECT_EQ(uint32_t(target[0]), 0xCBCBCBCBu);  // neither the old nor the new value
  gate.open();
  ASSERT_EQ(host.sync(s), TG_OK);
  EXPECT_EQ(target[0], 1);
  EXPECT_EQ(target[1], 2);
}

TEST(ChaosStream, CopiesHonourOffsets) {
  Host host;
  const StreamHandle s = host.stream(0);
  const Buffer a = host.upload<int32_t>(s, {1, 2, 3, 4}), b = host.upload<int32_t>(s, {0, 0, 0, 0});
  ASSERT_EQ(host.d().copy_on_device(host.instance, 0, s.handle, b.data, 8, a.data, 4, 8, nullptr), TG_OK);
  EXPECT_EQ(host.download<int32_t>(s, b), (std::vector<int32_t>{0, 0, 2, 3}));
  EXPECT_EQ(host.d().copy_on_device(host.instance, 0, s.handle, b.data, 12, a.data, 4, 8, &host.error),
            TG_OUT_OF_RANGE);
  EXPECT_TRUE(says(host.error, "copy_on_device: dst reaches from byte 12 to 20")) << host.error.message;
}

TEST(ChaosStream, OvertakesAnotherWithoutAnEvent) {
  Host host;
  const StreamHandle slow = host.stream(0), fast = host.stream(0);
  const Buffer b = host.upload<float>(fast, {1});
  Gate gate(slow);
  ASSERT_EQ(host.fill(slow, b, 2.0f), TG_OK);
  EXPECT_EQ(host.download<float>(fast, b), std::vector<float>{1});
  gate.open();
  ASSERT_EQ(host.sync(slow), TG_OK);
  EXPECT_EQ(host.download<float>(fast, b), std::vector<float>{2});
}

TEST(ChaosStream, WaitsForAnEvent) {
  Host host;
  const StreamHandle slow = host.stream(0), fast = host.stream(0);
  const Buffer b = host.upload<float>(fast, {1});
  float seen = 0;
  Gate gate(slow);
  ASSERT_EQ(host.fill(slow, b, 2.0f), TG_OK);
  void* event = host.record(slow);
  ASSERT_EQ(host.fill(slow, host.buffer(0, 4), 0.0f), TG_OK);  // after the event: not waited for
  ASSERT_EQ(host.wait(fast, event), TG_OK);
  ASSERT_EQ(host.d().copy_to_host(host.instance, 0, fast.handle, &seen, b.data, 0, 4, nullptr), TG_OK);
  std::this_thread::sleep_for(std::chrono::milliseconds(5));
  EXPECT_EQ(host.query(fast), TG_UNAVAILABLE);
  EXPECT_EQ(host.query_event(0, event), TG_UNAVAILABLE);
  gate.open();
  EXPECT_EQ(host.sync(fast), TG_OK);
  EXPECT_EQ(seen, 2.0f);
  EXPECT_EQ(host.sync_event(0, event), TG_OK);
  EXPECT_EQ(host.query_event(0, event), TG_OK);
}

TEST(ChaosStream, DelaysReorderIndependentStreams) {
  Host host({{"TENGEN_CHAOS_DELAY_EVERY", "2"}, {"TENGEN_CHAOS_DELAY_US", "2000"}});
  struct Shared {
    std::mutex mutex;
    std::vector<int> order;
  } shared;
  struct Item {
    Shared& shared;
    int id;
  };
  const StreamHandle streams[2] = {host.stream(0), host.stream(0)};
  const auto work = [](void* context, tg_error*) -> int32_t {
    auto* item = static_cast<Item*>(context);
    std::lock_guard lock(item->shared.mutex);
    item->shared.order.push_back(item->id);
    return TG_OK;
  };
  const auto release = [](void* context) { delete static_cast<Item*>(context); };
  for (int i = 0; i < 40; ++i) {
    auto* native = static_cast<tg_chaos_stream*>(streams[i % 2].native);
    ASSERT_EQ(native->api->enqueue(native, 0, work, release, new Item{shared, i}, nullptr), TG_OK);
  }
  for (const StreamHandle& s : streams) ASSERT_EQ(host.sync(s), TG_OK);
  std::vector<int> enqueued(40), even, odd;
  for (int i = 0; i < 40; ++i) enqueued[size_t(i)] = i;
  EXPECT_NE(shared.order, enqueued);
  for (int id : shared.order) (id % 2 ? odd : even).push_back(id);
  EXPECT_TRUE(std::is_sorted(even.begin(), even.end()));
  EXPECT_TRUE(std::is_sorted(odd.begin(), odd.end()));
  EXPECT_EQ(even.size() + odd.size(), 40u);
}

TEST(ChaosStream, IsUsedByOneThreadAtATime) {
  Host host;
  const StreamHandle s = host.stream(0);
  Gate gate(s);
  tg_error theirs{};
  std::atomic<bool> started{false};
  std::thread other([&] {
    started = true;
    EXPECT_EQ(host.d().stream_sync(host.instance, 0, s.handle, &theirs), TG_OK);
  });
  while (!started) std::this_thread::yield();
  int32_t status = TG_OK;  // the other thread may need a moment to get into stream_sync
  for (int i = 0; i < 2000 && status == TG_OK; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    void* unused = host.event(0);
    status = host.d().event_record(host.instance, 0, unused, s.handle, &host.error);
  }
  EXPECT_EQ(status, TG_FAILED_PRECONDITION);
  EXPECT_EQ(host.query(s), TG_UNAVAILABLE);  // allowed from any thread
  gate.open();
  other.join();
}

TEST(ChaosStream, ServesManyThreads) {
  Host host({{"TENGEN_CHAOS_DELAY_US", "5"}});
  // Each thread has a stream and an event of its own, and its stream also waits for the event of another thread.
  constexpr int kThreads = 4, kRounds = 100;
  std::vector<StreamHandle> streams;
  std::vector<Buffer> buffers;
  std::vector<void*> events;
  for (int t = 0; t < kThreads; ++t) {
    events.push_back(host.event(t % 2));
    streams.push_back(host.stream(t % 2));
    buffers.push_back(host.buffer(t % 2, 256));
  }
  std::vector<std::vector<float>> results(kThreads);
  std::vector<std::thread> threads;
  std::atomic<int> failures{0};
  for (int t = 0; t < kThreads; ++t)
    threads.emplace_back([&, t] {
      const StreamHandle& s = streams[size_t(t)];
      tg_error e{};
      for (int i = 0; i < kRounds; ++i) {
        failures += host.fill(s, buffers[size_t(t)], float(t * 1000 + i), &e) != TG_OK;
        void* data = nullptr;
        failures += host.d().alloc(host.instance, s.device, 100, &data, &e) != TG_OK;
        host.d().free(host.instance, s.device, data, 100);
        void *mine = events[size_t(t)], *theirs = events[size_t((t + 2) % kThreads)], *brief = nullptr;
        failures += host.d().event_record(host.instance, s.device, mine, s.handle, &e) != TG_OK;
        failures += host.d().stream_wait(host.instance, s.device, s.handle, theirs, &e) != TG_OK;
        const int32_t seen = host.d().event_query(host.instance, s.device, theirs, &e);
        failures += seen != TG_OK && seen != TG_UNAVAILABLE;
        failures += host.d().event_create(host.instance, s.device, &brief, &e) != TG_OK;
        failures += host.d().event_record(host.instance, s.device, brief, s.handle, &e) != TG_OK;
        host.d().event_destroy(host.instance, s.device, brief);
      }
      results[size_t(t)] = host.download<float>(s, buffers[size_t(t)]);
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(failures, 0);
  for (int t = 0; t < kThreads; ++t)
    EXPECT_EQ(results[size_t(t)], std::vector<float>(64, float(t * 1000 + kRounds - 1)));
}

// ---- failures -------------------------------------------------------------------------------------------------------

TEST(ChaosFailure, StaysAndSpreadsThroughEvents) {
  Host host({{"TENGEN_CHAOS_FAIL_LAUNCH", "2"}});
  const StreamHandle failing = host.stream(0), waiting = host.stream(0), free = host.stream(0);
  const Buffer a = host.buffer(0, 4), b = host.buffer(0, 4), c = host.buffer(0, 4);
  ASSERT_EQ(host.fill(failing, a, 1.0f), TG_OK);
  void* before = host.record(failing);
  ASSERT_EQ(host.fill(failing, a, 2.0f), TG_OK);  // the second launch: it fails, in its stream
  const uint64_t culprit = host.launch;
  ASSERT_EQ(host.fill(failing, a, 3.0f), TG_OK);  // skipped
  void* after = host.record(failing);
  ASSERT_EQ(host.wait(waiting, after), TG_OK);
  ASSERT_EQ(host.fill(waiting, b, 4.0f), TG_OK);  // skipped, too
  ASSERT_EQ(host.wait(free, before), TG_OK);
  ASSERT_EQ(host.fill(free, c, 5.0f), TG_OK);

  for (int again = 0; again < 2; ++again) {
    EXPECT_EQ(host.sync(failing), TG_INTERNAL);
    EXPECT_EQ(host.error.launch_id, culprit);
    EXPECT_TRUE(says(host.error, "fill: failure asked for by TENGEN_CHAOS_FAIL_LAUNCH")) << host.error.message;
    EXPECT_EQ(host.sync(waiting), TG_INTERNAL);
    EXPECT_EQ(host.error.launch_id, culprit);
    EXPECT_EQ(host.query(waiting), TG_INTERNAL);
    EXPECT_EQ(host.error.launch_id, culprit);
  }
  EXPECT_EQ(host.sync(free), TG_OK);
  EXPECT_EQ(host.query_event(0, before), TG_OK);
  EXPECT_EQ(host.query_event(0, after), TG_INTERNAL);

  EXPECT_EQ(host.download<float>(free, a), std::vector<float>{1});
  EXPECT_EQ(host.download<uint32_t>(free, b), std::vector<uint32_t>{0xCBCBCBCB});
  EXPECT_EQ(host.download<float>(free, c), std::vector<float>{5});

  // Nothing cures a failed stream but destruction, and events know after that; also in another thread.
  void* of_waiting = host.record(waiting);
  host.destroy(failing);
  host.destroy(waiting);
  std::thread([&] {
    tg_error e{};
    EXPECT_EQ(host.d().event_query(host.instance, 0, after, &e), TG_INTERNAL);
    EXPECT_EQ(e.launch_id, culprit);
    EXPECT_EQ(host.d().event_sync(host.instance, 0, of_waiting, &e), TG_INTERNAL);
    EXPECT_EQ(e.launch_id, culprit);
    EXPECT_EQ(host.d().event_query(host.instance, 0, before, &e), TG_OK);
    for (const StreamHandle& gone : {failing, waiting}) {
      e = {};
      EXPECT_EQ(host.d().stream_query(host.instance, 0, gone.handle, &e), TG_INTERNAL);
      EXPECT_EQ(e.launch_id, culprit);
    }
  }).join();
  const StreamHandle late = host.stream(0);  // also a wait on the event of a stream that is gone spreads the failure
  ASSERT_EQ(host.wait(late, after), TG_OK);
  EXPECT_EQ(host.sync(late), TG_INTERNAL);
  EXPECT_EQ(host.error.launch_id, culprit);
  EXPECT_EQ(host.sync(host.stream(0)), TG_OK);
}

TEST(ChaosFailure, EventsBelongToTheirDevice) {
  Host host({{"TENGEN_CHAOS_FAIL_LAUNCH", "1"}});
  const StreamHandle s = host.stream(0);
  ASSERT_EQ(host.fill(s, host.buffer(0, 4), 1.0f), TG_OK);
  void* event = host.record(s);
  const StreamHandle other = host.stream(1);
  EXPECT_EQ(host.wait(other, event), TG_INVALID_ARGUMENT);
  EXPECT_EQ(host.sync(other), TG_OK);
  EXPECT_EQ(host.sync(s), TG_INTERNAL);
}

TEST(ChaosFailure, AnIndexOutOfRangeFailsTheStream) {
  Host host;
  const StreamHandle s = host.stream(0);
  const Buffer x = host.upload<float>(s, {1, 2, 3}), index = host.upload<int64_t>(s, {0, 3}), y = host.buffer(0, 8);
  View vx(x, kF32, {3}), vi(index, kI64, {2}), vy(y, kF32, {2});
  void* plan = host.plan("gather", {&vx.tensor, &vi.tensor}, {&vy.tensor}, {attr_int(0)});
  ASSERT_EQ(host.run(plan, s, {&vx.tensor, &vi.tensor}, {&vy.tensor}), TG_OK);
  host.destroy_plan(plan);
  EXPECT_EQ(host.sync(s), TG_OUT_OF_RANGE);
  EXPECT_EQ(host.error.launch_id, host.launch.load());
}

TEST(ChaosFailure, ALostDeviceIsLostAlone) {
  Host host({{"TENGEN_CHAOS_LOSE_DEVICE", "2"}});
  const StreamHandle s0 = host.stream(0), idle = host.stream(0), s1 = host.stream(1);
  const Buffer a = host.buffer(0, 4), b = host.buffer(1, 4);
  ASSERT_EQ(host.fill(s0, a, 1.0f), TG_OK);
  ASSERT_EQ(host.sync(s0), TG_OK);
  ASSERT_EQ(host.fill(s0, a, 2.0f), TG_OK);
  EXPECT_EQ(host.sync(s0), TG_DEVICE_LOST);
  EXPECT_EQ(host.error.launch_id, host.launch.load());
  EXPECT_EQ(host.sync(idle), TG_DEVICE_LOST);
  EXPECT_EQ(host.fill(idle, a, 1.0f), TG_DEVICE_LOST);
  Buffer more;
  EXPECT_EQ(host.alloc(0, 64, &more), TG_DEVICE_LOST);
  void *handle = nullptr, *native = nullptr;
  EXPECT_EQ(host.d().stream_create(host.instance, 0, &handle, &native, nullptr), TG_DEVICE_LOST);

  ASSERT_EQ(host.fill(s1, b, 3.0f), TG_OK);
  EXPECT_EQ(host.download<float>(s1, b), std::vector<float>{3});
}

// ---- kernels that write where they must not -------------------------------------------------------------------------

struct Overrun {
  tg_chaos_stream* stream;
  Buffer buffer;
  int64_t at;   // the byte to write, of `buffer`
  char** keep;  // where to leave the address instead of writing
};

void enqueue_overrun(const StreamHandle& s, const Overrun& what) {
  auto* native = static_cast<tg_chaos_stream*>(s.native);
  const auto work = [](void* context, tg_error* error) -> int32_t {
    auto* o = static_cast<Overrun*>(context);
    void* p = nullptr;
    const int32_t status = o->stream->api->address(o->stream, o->buffer.data, 0, o->buffer.bytes, &p, error);
    if (status != TG_OK) return status;
    if (o->keep) {
      *o->keep = static_cast<char*>(p);
    } else {
      static_cast<char*>(p)[o->at] = 1;
    }
    return TG_OK;
  };
  ASSERT_EQ(native->api->enqueue(
                native, 42, work, [](void* c) { delete static_cast<Overrun*>(c); },
                new Overrun{native, what.buffer, what.at, what.keep}, nullptr),
            TG_OK);
}

TEST(ChaosCanary, AccusesTheLaunch) {
  for (const int64_t at : {-1, -64, 100, 4031}) {
    Host host;
    const StreamHandle s = host.stream(0), other = host.stream(0);
    const Buffer b = host.buffer(0, 100);
    enqueue_overrun(s, {nullptr, b, 99, nullptr});  // the last byte is ours
    ASSERT_EQ(host.sync(s), TG_OK);
    enqueue_overrun(s, {nullptr, b, at, nullptr});
    EXPECT_EQ(host.sync(s), TG_INTERNAL) << at;
    EXPECT_TRUE(says(host.error, "wrote outside a block of 100 bytes")) << host.error.message;
    EXPECT_EQ(host.error.launch_id, 42u);
    EXPECT_EQ(host.sync(other), TG_OK);
  }
}

TEST(ChaosCanary, IsCheckedAtFree) {
  Host host;
  const StreamHandle s = host.stream(0);
  const Buffer b = host.buffer(0, 100);
  char* address = nullptr;
  enqueue_overrun(s, {nullptr, b, 0, &address});
  ASSERT_EQ(host.sync(s), TG_OK);
  address[100] = 1;  // as a kernel would that goes on after its task
  EXPECT_EQ(host.sync(s), TG_OK);
  host.free(b);
  EXPECT_TRUE(host_log().contains("chaos:0 free: a kernel wrote outside a block of 100 bytes"));
  EXPECT_EQ(host.sync(s), TG_INTERNAL);
  EXPECT_EQ(host.sync(host.stream(1)), TG_OK);
}

TEST(ChaosCanary, GuardPagesFault) {
  Host host;
  const StreamHandle s = host.stream(0);
  const Buffer b = host.buffer(0, 4096 - 64);  // fills its page
  char* address = nullptr;
  enqueue_overrun(s, {nullptr, b, 0, &address});
  ASSERT_EQ(host.sync(s), TG_OK);
  volatile char* p = address;
  EXPECT_EQ(signal_of([&] { p[4095 - 64] = 1; }), 0);
  EXPECT_EQ(signal_of([&] { p[4096 - 64] = 1; }), SIGSEGV);
  EXPECT_EQ(signal_of([&] { p[-65] = 1; }), SIGSEGV);
}

TEST(ChaosExtension, ChecksItsCallers) {
  Host host;
  const StreamHandle s = host.stream(0);
  const auto* api = static_cast<const tg_chaos_api*>(host.plugin->extension(host.instance, TG_CHAOS_EXTENSION));
  ASSERT_NE(api, nullptr);
  EXPECT_EQ(host.plugin->extension(host.instance, "exp.chaos/2"), nullptr);
  const Buffer b = host.buffer(0, 64);
  void* p = nullptr;
  EXPECT_EQ(api->address(static_cast<tg_chaos_stream*>(s.native), b.data, 0, 64, &p, &host.error),
            TG_FAILED_PRECONDITION);  // not inside work
  EXPECT_EQ(api->enqueue(static_cast<tg_chaos_stream*>(s.handle), 0, nullptr, nullptr, nullptr, &host.error),
            TG_INVALID_ARGUMENT);  // the stream's handle is not its native handle
}

TEST(ChaosExtension, ForeignProviderComputesInOrder) {
  Host host;
  const tg_plugin* foreign = load_table(TENGEN_FOREIGN_PLUGIN);
  const StreamHandle s = host.stream(0);
  const Buffer a = host.buffer(0, 6 * 4), b = host.buffer(0, 6 * 4), y = host.buffer(0, 4 * 4);
  View va(a, kF32, {2, 3}), vb(b, kF32, {3, 2}), vy(y, kF32, {2, 2});
  void* plan = host.plan("matmul", {&va.tensor, &vb.tensor}, {&vy.tensor}, {attr_int(1)}, 0, foreign);
  Gate gate(s);  // own and foreign launches share the stream's order
  ASSERT_EQ(host.fill(s, a, 2.0f), TG_OK);
  ASSERT_EQ(host.fill(s, b, 3.0f), TG_OK);
  ASSERT_EQ(host.fill(s, y, 0.5f), TG_OK);
  ASSERT_EQ(host.run(plan, s, {&va.tensor, &vb.tensor}, {&vy.tensor}, {}, foreign), TG_OK) << host.error.message;
  ASSERT_EQ(host.fill(s, a, 9.0f), TG_OK);
  gate.open();
  EXPECT_EQ(host.download<float>(s, y), std::vector<float>(4, 18.5f));

  host.free(b);  // its failures are the stream's, with the launch that failed
  ASSERT_EQ(host.run(plan, s, {&va.tensor, &vb.tensor}, {&vy.tensor}, {}, foreign), TG_OK);
  const uint64_t culprit = host.launch;
  EXPECT_EQ(host.sync(s), TG_INVALID_ARGUMENT);
  EXPECT_EQ(host.error.launch_id, culprit);
  EXPECT_TRUE(says(host.error, "freed")) << host.error.message;
  foreign->kernels->plan_destroy(plan);
}

// ---- kernels: a look at each kind of argument; tests/kernels has the numbers ----------------------------------------

TEST(ChaosKernels, ComputeInTheWorkersOwnThread) {
  Host host;
  const int pool_calls = host_log().pool_calls;
  const StreamHandle s = host.stream(1);
  const Buffer a = host.upload<float>(s, {1, 2, 3, 4, 5, 6}), b = host.upload<float>(s, {1, 0, 0, 1, 1, 1}),
               y = host.upload<float>(s, {0.5f, 0.5f, 0.5f, 0.5f});
  View va(a, kF32, {2, 3}), vb(b, kF32, {3, 2}), vy(y, kF32, {2, 2});
  void* plan = host.plan("matmul", {&va.tensor, &vb.tensor}, {&vy.tensor}, {attr_int(1)}, 1);
  ASSERT_EQ(host.run(plan, s, {&va.tensor, &vb.tensor}, {&vy.tensor}), TG_OK);
  host.destroy_plan(plan);
  EXPECT_EQ(host.download<float>(s, y), (std::vector<float>{4.5f, 5.5f, 10.5f, 11.5f}));

  const Buffer values = host.buffer(1, 6 * 4), index = host.buffer(1, 6 * 8);
  View vv(values, kF32, {2, 3}), vi(index, kI64, {2, 3});
  plan = host.plan("sort", {&va.tensor}, {&vv.tensor, &vi.tensor}, {attr_int(1), attr_int(1)}, 1);
  ASSERT_EQ(host.run(plan, s, {&va.tensor}, {&vv.tensor, &vi.tensor}), TG_OK);
  EXPECT_EQ(host.download<float>(s, values), (std::vector<float>{3, 2, 1, 6, 5, 4}));
  EXPECT_EQ(host.download<int64_t>(s, index), (std::vector<int64_t>{2, 1, 0, 2, 1, 0}));
  host.destroy_plan(plan);
  plan = host.plan("sort", {&va.tensor}, {&vv.tensor, nullptr}, {attr_int(1), attr_int(0)}, 1);  // an unwanted output
  ASSERT_EQ(host.run(plan, s, {&va.tensor}, {&vv.tensor, nullptr}), TG_OK);
  EXPECT_EQ(host.download<float>(s, values), (std::vector<float>{1, 2, 3, 4, 5, 6}));
  host.destroy_plan(plan);

  // Large enough for the reference kernels to ask for threads, were they the host's.
  const Buffer big = host.buffer(1, 4 << 20), sum = host.buffer(1, 4);
  ASSERT_EQ(host.fill(s, big, 1.0f), TG_OK);
  View vbig(big, kF32, {1 << 20}), vsum(sum, kF32, {1});
  const std::vector<int64_t> axes{0};
  plan = host.plan("reduce", {&vbig.tensor}, {&vsum.tensor}, {attr_int(TG_REDUCE_SUM), attr_ints(axes)}, 1);
  ASSERT_EQ(host.run(plan, s, {&vbig.tensor}, {&vsum.tensor}), TG_OK);
  EXPECT_EQ(host.download<float>(s, sum), std::vector<float>{1 << 20});
  host.destroy_plan(plan);
  EXPECT_EQ(host_log().pool_calls, pool_calls);
}

TEST(Chaos, ShutdownCleansUpAfterTheHost) {
  {
    Host host;
    void *handle = nullptr, *native = nullptr, *event = nullptr, *data = nullptr;
    ASSERT_EQ(host.d().stream_create(host.instance, 0, &handle, &native, nullptr), TG_OK);
    ASSERT_EQ(host.d().event_create(host.instance, 0, &event, nullptr), TG_OK);
    ASSERT_EQ(host.d().alloc(host.instance, 1, 64, &data, nullptr), TG_OK);
    ASSERT_EQ(host.d().event_record(host.instance, 0, event, handle, nullptr), TG_OK);
  }
  EXPECT_TRUE(host_log().contains("left 1 streams, 1 events and 1 blocks behind"));
}

}  // namespace
}  // namespace tg::test
