// SPDX-License-Identifier: Apache-2.0
// The life of plans and what goes with it, on a plugin without state that counts them (counting/).
#include <dlfcn.h>
#include <tengen/kernel_api.h>
#include <tengen/op.h>

#include <atomic>
#include <thread>

#include "counting/counting.h"
#include "own_process.h"

namespace tg {
namespace {

using test::in_own_process;

// Its library is loaded by the core; the same object answers here.
const counting& counts() {
  void* library = dlopen(TENGEN_COUNTING_PLUGIN, RTLD_NOW | RTLD_NOLOAD);
  if (!library) throw std::runtime_error(std::string("counting is not loaded: ") + plugins_json());
  const auto query = reinterpret_cast<tg_plugin_query_fn>(dlsym(library, "tg_plugin_query"));
  const tg_plugin* plugin = query(TG_ABI_VERSION, nullptr);
  return *static_cast<const counting*>(plugin->extension(nullptr, COUNTING_EXTENSION));
}

Tensor fill(int64_t n, Device* device = host_device(), double value = 1.5) {
  return op<"full">({}, {Ints{n}, value, DType::f32}, device);
}
std::vector<float> values(const Tensor& t) {
  std::vector<float> v(size_t(t.numel()));
  t.to_host(v.data());
  return v;
}

TEST(Plans, AreDestroyedWhenTheCacheForgetsThem) {
  in_own_process({{"TENGEN_PLUGIN", "counting"}, {"TENGEN_PLAN_CACHE", "4"}}, [] {
    fill(1);
    const counting& c = counts();
    for (int64_t n = 2; n <= 20; ++n) EXPECT_EQ(values(fill(n)), std::vector<float>(size_t(n), 1.5f));
    EXPECT_EQ(c.created[0], 20);
    EXPECT_EQ(dispatch_stats().plans_cached, 4u);
    EXPECT_EQ(c.destroyed[0], 16);
    fill(17);  // the oldest of the four is used again,
    EXPECT_EQ(c.created[0], 20);
    fill(21);  // so another one goes
    fill(17);
    EXPECT_EQ(c.created[0], 21);
    fill(18);
    EXPECT_EQ(c.created[0], 22);
    clear_plan_cache();
    EXPECT_EQ(dispatch_stats().plans_cached, 0u);
    EXPECT_EQ(c.destroyed[0], 22);
    fill(3);
    shutdown();
    EXPECT_EQ(c.destroyed[0], c.created[0]);
  });
}

TEST(Plans, OfElementwiseCallsEndWithTheRuntime) {  // each thread holds on to some
  in_own_process({{"TENGEN_PLUGIN", "counting"}}, [] {
    std::atomic<int> step{0};
    const auto negate = [] { EXPECT_EQ(values(op<"neg">({fill(3)})), std::vector<float>(3, -1.5f)); };
    negate();
    std::thread other([&] {
      negate();
      step = 1;
      while (step < 2) std::this_thread::yield();
    });
    while (step < 1) std::this_thread::yield();
    const counting& c = counts();
    EXPECT_EQ(c.created[0], 2);
    shutdown();
    EXPECT_EQ(c.destroyed[0], 2);
    step = 2;
    other.join();
    EXPECT_EQ(c.destroyed[0], 2);
  });
}

TEST(Plans, OfADeviceAreNotTouchedAfterAFork) {
  in_own_process({{"TENGEN_PLUGIN", "counting"}}, [] {
    fill(5);
    fill(5, find_device("chaos"));
    synchronize(find_device("chaos"));
    const counting& c = counts();
    ASSERT_EQ(c.created[0] + c.created[1], 2);
    const pid_t child = fork();
    if (child == 0) {
      set_num_threads(2);  // plans are made for a number of threads: all go
      _exit(c.destroyed[0] != 1 ? 2 : c.destroyed[1] != 0 ? 3 : 0);
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFEXITED(status));
    EXPECT_EQ(WEXITSTATUS(status), 0);
    clear_plan_cache();
    EXPECT_EQ(c.destroyed[1], 1);
  });
}

TEST(Plans, AbsurdScratchIsRefused) {
  in_own_process({{"TENGEN_PLUGIN", "counting"}}, [] { EXPECT_EQ(values(fill(3, host_device(), -1)), std::vector<float>(3, -1.f)); });
}

TEST(Devices, AProviderWithoutADeviceSaysSo) {
  in_own_process({}, [] {
    std::string reason;
    for (const DeviceInfo& d : devices())
      if (d.kind == "absent") {
        EXPECT_FALSE(d.usable);
        EXPECT_EQ(d.provider, "counting");
        reason = d.reason;
      }
    EXPECT_EQ(reason, "plugin counting found no such device on this machine");
    EXPECT_THROW(find_device("absent"), Error);
    EXPECT_NE(device_name(default_device()), "absent:0");
  });
}

}  // namespace
}  // namespace tg
