// SPDX-License-Identifier: Apache-2.0
// Calls from several threads at once: each has its own operands or shares them, plans come and go, ops are added.
// ThreadSanitizer runs this as well (tools/check_sanitizers).
#include <gtest/gtest.h>
#include <tengen/autograd.h>
#include <tengen/op.h>
#include <tengen/runtime.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <thread>

namespace tg {

const Op& add_op(std::unique_ptr<Op> op);  // core/transform/transform.h: for bindings

namespace {

void in_threads(int n, const std::function<void(int)>& body) {
  std::atomic<int> ready{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < n; ++t)
    threads.emplace_back([&, t] {
      ++ready;
      while (ready < n) std::this_thread::yield();
      try {
        body(t);
      } catch (const std::exception& e) {
        ADD_FAILURE() << "thread " << t << ": " << e.what();
      }
    });
  for (auto& t : threads) t.join();
}

Tensor full(Ints shape, float value, Device* device = host_device()) {
  const std::vector<float> v(size_t(numel(shape)), value);
  return Tensor::from_host(v.data(), shape, DType::f32, device);
}
std::vector<float> values(const Tensor& t) {
  std::vector<float> v(size_t(t.numel()));
  t.to_host(v.data());
  return v;
}

TEST(Threads, ChooseOneDefaultDevice) {  // first in this file: the first calls of the process, where each test has its own
  Device* seen[4] = {};
  std::string reasons[4];
  in_threads(4, [&](int t) {
    if (t % 2) reasons[t] = default_device_reason(), seen[t] = default_device();
    else seen[t] = default_device(), reasons[t] = default_device_reason();
  });
  for (int t = 0; t < 4; ++t) {
    EXPECT_EQ(seen[t], seen[0]);
    EXPECT_EQ(reasons[t], reasons[0]);
    EXPECT_EQ(reasons[t].rfind(device_name(seen[0]) + ":", 0), 0u) << reasons[t];
  }
}

TEST(Threads, Dispatch) {
  std::atomic<bool> stop{false};
  std::thread forgets([&] {
    while (!stop) {
      clear_plan_cache();
      set_fallback_policy(fallback_policy());
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  });
  const Tensor shared = full({8, 8}, 2.f);
  in_threads(4, [&](int t) {
    const float v = float(t + 1);
    for (int i = 0; i < 100; ++i) {
      const Tensor x = full({8, 8}, v);
      EXPECT_EQ(values(op<"add">({x, shared})), std::vector<float>(64, v + 2));
      EXPECT_EQ(values(op<"mul">({op<"sub">({x, shared}), 3.0})), std::vector<float>(64, 3 * (v - 2)));
      EXPECT_EQ(values(op<"matmul">({x, shared})), std::vector<float>(64, 16 * v));
      EXPECT_EQ(values(op<"sum">({x}))[0], 64 * v);
      EXPECT_EQ(values(op<"add">({full({1 + i % 7, 3}, v), 1.0})), std::vector<float>(size_t(3 * (1 + i % 7)), v + 1));
    }
  });
  stop = true;
  forgets.join();
}

TEST(Threads, DispatchToADevice) {
  in_threads(3, [&](int t) {
    Device* device = find_device("chaos:" + std::to_string(t % 2));
    Stream* stream = create_stream(device);
    set_current_stream(device, stream);
    for (int i = 0; i < 20; ++i) {
      Tensor x = full({4, 4}, float(t + i), device);
      for (int k = 0; k < 3; ++k) x = op<"add">({op<"matmul">({x, full({4, 4}, 0.25f, device)}), 1.0});
      EXPECT_EQ(values(x), std::vector<float>(16, float(t + i + 3)));
    }
    set_current_stream(device, nullptr);
    destroy_stream(stream);
  });
}

TEST(Threads, RecordFromOneLeaf) {
  for (int round = 0; round < 20; ++round) {
    const Tensor leaf = full({16}, 3.f).set_requires_grad(true);
    in_threads(4, [&](int t) {
      const Tensor outs[] = {op<"sum">({op<"mul">({leaf, double(t + 1)})})};
      backward(outs);
    });
    EXPECT_EQ(values(leaf.grad()), std::vector<float>(16, 1 + 2 + 3 + 4));
  }
}

TEST(Threads, AddOpsWhileOthersLookThemUp) {
  const size_t before = op_table().size();
  in_threads(4, [&](int t) {
    for (int i = 0; i < 25; ++i) {
      if (t == 0) {
        auto made = std::make_unique<Op>(*find_op("softmax"));
        made->name = "threads_test_" + std::to_string(i);
        add_op(std::move(made));
      } else {
        EXPECT_EQ(find_op("softmax")->name, "softmax");
        EXPECT_EQ(find_op("no such op"), nullptr);
        const auto& ops = op_table();
        for (const Op* op : ops) EXPECT_EQ(ops[size_t(op->id)], op);
      }
    }
  });
  EXPECT_EQ(op_table().size(), before + 25);
  EXPECT_EQ(require_op("threads_test_24").id, int(before) + 24);
}

}  // namespace
}  // namespace tg
