// SPDX-License-Identifier: Apache-2.0
//
// The composite ops of the cpu plugin (linear, conv, pooling, normalisation, softmax) and the shapes of matmul that
// take different kernels there, against loops in double precision written from docs/design/001-op-schemas.md. A result
// may differ by accumulation length * eps of the accumulation dtype * the sum of magnitudes, and one rounding to its
// dtype.
//
//   cpu_nn_test libtengen_cpu.so
#include "cpu_nn_fixture.h"

namespace tg::test {
namespace {

TEST(CpuContract, OnePlanInManyThreads) {
  // The harness makes one plan per run; here the plan is shared, as the host's cache shares it.
  const tg_plugin& table = g_plugin->table();
  void* instance = nullptr;
  ASSERT_EQ(table.open(TG_ABI_VERSION, host::table(), &instance, nullptr), TG_OK);
  Tensor x = random(kF32, {2, 16, 12, 12}), w = random(kF32, {24, 16, 3, 3});
  Tensor plan_y = make(kF32, {2, 24, 12, 12});
  const std::vector<int64_t> one{1, 1}, pad{1, 1, 1, 1};
  const Attr list[] = {Attr::ints(one), Attr::ints(pad), Attr::ints(one), Attr::integer(1), Attr::integer(0)};
  std::vector<tg_attr> attrs;
  for (const Attr& a : list) attrs.push_back(a.view());
  const tg_tensor vx = x.view(), vw = w.view(), vy = plan_y.view();
  const tg_tensor *inputs[] = {&vx, &vw, nullptr}, *outputs[] = {&vy};
  tg_call call{};
  call.struct_size = sizeof call, call.op = "conv", call.op_revision = 1;
  call.n_inputs = 3, call.n_outputs = 1, call.n_attrs = uint32_t(attrs.size());
  call.inputs = inputs, call.outputs = outputs, call.attrs = attrs.data();
  call.inputs_present = 3, call.outputs_wanted = 1, call.threads = 2;
  void* plan = nullptr;
  ASSERT_EQ(table.kernels->plan_create(instance, &call, &plan, nullptr), TG_OK);
  const auto once = [&](Tensor& y) {
    const tg_tensor out = y.view();
    const tg_tensor* out_list[] = {&out};
    tg_run r{};
    r.inputs = inputs, r.outputs = out_list, r.inputs_present = 3, r.outputs_wanted = 1;
    r.n_inputs = 3, r.n_outputs = 1, r.threads = 2;
    uint64_t bytes = 0;
    if (table.kernels->plan_workspace(plan, &r, &bytes, nullptr) != TG_OK) return false;
    std::vector<char> workspace(bytes + 64);
    r.workspace = reinterpret_cast<void*>((reinterpret_cast<uintptr_t>(workspace.data()) + 63) / 64 * 64);
    r.workspace_bytes = bytes;
    return table.kernels->plan_run(plan, &r, nullptr) == TG_OK;
  };
  Tensor first = make(kF32, {2, 24, 12, 12});
  ASSERT_TRUE(once(first));
  std::vector<std::thread> threads;
  std::atomic<int> wrong{0};
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      Tensor y = make(kF32, {2, 24, 12, 12});
      for (int i = 0; i < 20; ++i) wrong += !once(y) || y.values<float>() != first.values<float>();
    });
  }
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(wrong, 0);
  table.kernels->plan_destroy(plan);
  table.shutdown(instance);
}

TEST(CpuContract, RefusalsSayWhy) {
  Tensor x = random(kF32, {4, 5}), w = random(kF32, {3, 6}), y = make(kF32, {4, 3});
  const Call call{"linear", {&x, &w, nullptr}, {&y}, {Attr::integer(0)}, {}};
  const Outcome outcome = g_plugin->run(call, g_plugin->candidates(call).at(0));
  EXPECT_FALSE(outcome.accepted);
  EXPECT_EQ(outcome.breach, "");
  EXPECT_NE(outcome.message.find("[linear]"), std::string::npos) << outcome.message;
}

}  // namespace
}  // namespace tg::test

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  if (argc != 2) {
    std::fprintf(stderr, "usage: %s libtengen_cpu.so\n", argv[0]);
    return 2;
  }
  tg::test::g_plugin = std::make_unique<tg::test::Plugin>(argv[1]);
  const int result = RUN_ALL_TESTS();
  tg::test::g_plugin.reset();
  return result;
}
