// SPDX-License-Identifier: Apache-2.0
// Explanations look at a call without running it: no shape is too large for one.
#include <gtest/gtest.h>
#include <tengen/call_log.h>
#include <tengen/op.h>
#include <tengen/runtime.h>

#include <algorithm>

namespace tg {
namespace {

constexpr int64_t kHuge = int64_t(1) << 20;  // squared: four tebibytes of f32

Why explain(const char* name, std::vector<Ints> shapes, std::vector<Attr> attrs = {}, const char* device = "cpu", DType t = DType::f32) {
  std::vector<TensorSpec> specs;
  for (const Ints& s : shapes) specs.push_back({t, symbolic(s)});
  return why(require_op(name), specs, attrs, find_device(device));
}
bool has_step(const Why& w, const char* op) {
  return std::any_of(w.steps.begin(), w.steps.end(), [&](const WhyStep& s) { return s.op == op; });
}

class Huge : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    Device* d = find_device(GetParam());
    reset_peak_memory(d);
    before_ = memory_stats(d);
  }
  void TearDown() override {  // nothing was taken, and what follows gets memory again
    Device* d = find_device(GetParam());
    EXPECT_EQ(memory_stats(d).peak, before_.current);
    EXPECT_EQ(memory_stats(d).reserved, before_.reserved);
    const float one = 1;
    EXPECT_EQ(op<"add">({Tensor::from_host(&one, Ints{}, DType::f32, d), 1.0}).item(), 2.0);
  }
  MemoryStats before_;
};

TEST_P(Huge, Kernels) {
  EXPECT_EQ(explain("copy", {{kHuge, kHuge}}, {}, GetParam()).verdict, "kernel");
  EXPECT_EQ(explain("add", {{kHuge, kHuge}, {kHuge}}, {}, GetParam()).verdict, "kernel");
  EXPECT_EQ(explain("permute", {{kHuge, kHuge}}, {Attr(Ints{1, 0})}, GetParam()).verdict, "view");
}

TEST_P(Huge, Decompositions) {
  const Why product = explain("matmul", {{kHuge, kHuge}, {kHuge, kHuge}}, {}, GetParam());
  EXPECT_EQ(product.verdict, "decomposition");
  EXPECT_FALSE(product.steps.empty());
  const Why w = explain("logsumexp", {{kHuge, kHuge}}, {Attr(Ints{1})}, GetParam());
  EXPECT_EQ(w.verdict, "decomposition");
  EXPECT_TRUE(has_step(w, "exp"));
  EXPECT_TRUE(has_step(w, "log"));
  for (const WhyStep& s : w.steps) EXPECT_FALSE(s.how.empty());
}

TEST_P(Huge, DecompositionsThatReadValues) {
  // How they go on depends on data: what was called so far is shown.
  const Why w = explain("multinomial", {{kHuge, 1000}}, {Attr(5)}, GetParam());
  EXPECT_EQ(w.verdict, "decomposition");
  EXPECT_TRUE(has_step(w, "all"));
  const Why e = explain("matrix_exp", {{500, 500}}, {}, GetParam());
  EXPECT_EQ(e.verdict, "decomposition");
  EXPECT_TRUE(has_step(e, "matmul"));
}

INSTANTIATE_TEST_SUITE_P(OnDevice, Huge, testing::Values("cpu", "chaos"));

TEST(Why, MistakesStayMistakes) { EXPECT_THROW(explain("logsumexp", {{4, 4}}, {Attr(Ints{7})}), Error); }

TEST(Why, ATraceOfRealCallsRunsThem) {
  Why trace;
  Why* old = set_trace(&trace);
  const float x[] = {1, 2};
  const Tensor y = op<"add">({Tensor::from_host(x, Ints{2}, DType::f32, host_device()), 1.0});
  set_trace(old);
  float got[2];
  y.to_host(got);
  EXPECT_EQ(got[1], 3);
  EXPECT_TRUE(has_step(trace, "add"));
}

}  // namespace
}  // namespace tg
