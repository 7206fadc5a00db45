// SPDX-License-Identifier: Apache-2.0
// Two kernel providers serve one device through the core: foreign, which knows the device by its native handles alone,
// brings matmul and is pinned; chaos itself brings the rest. Their launches share the streams' order.
#include <gtest/gtest.h>
#include <tengen/op.h>
#include <tengen/runtime.h>

#include <algorithm>

namespace tg {
namespace {

std::vector<std::string> winners(const char* name, std::vector<TensorSpec> inputs) {
  const Why w = why(require_op(name), inputs, {}, find_device("chaos"));
  std::vector<std::string> out;
  for (const WhyCandidate& c : w.candidates)
    if (c.chosen) out.push_back(c.plugin);
  for (const WhyStep& s : w.steps)
    if (s.how != "decomposition") out.push_back(s.how.substr(0, s.how.find('/')));
  return out;
}

bool has(const std::vector<std::string>& list, const char* name) { return std::find(list.begin(), list.end(), name) != list.end(); }

TEST(Providers, EachServesItsRows) {
  const TensorSpec square{DType::f32, {Dim(8), Dim(8)}};
  EXPECT_TRUE(has(winners("matmul", {square, square}), "foreign"));
  EXPECT_FALSE(has(winners("add", {square, square}), "foreign"));
  EXPECT_TRUE(has(winners("add", {square, square}), "chaos"));
  const TensorSpec wide{DType::f64, {Dim(8), Dim(8)}};  // foreign has f32 alone
  EXPECT_TRUE(has(winners("matmul", {wide, wide}), "chaos"));
}

TEST(Providers, LaunchesOfBothStayInOrder) {
  Device* chaos = find_device("chaos");
  const int64_t n = 24;
  std::vector<float> a(size_t(n * n)), b(a.size()), expected(a.size());
  for (size_t i = 0; i < a.size(); ++i) a[i] = float(i % 7) - 3, b[i] = float(i % 5) - 2;
  // Small integers: every order of adding gives the same bits.
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < n; ++j) {
      float sum = 0;
      for (int64_t k = 0; k < n; ++k) sum += (2 * a[size_t(i * n + k)]) * b[size_t(k * n + j)];
      expected[size_t(i * n + j)] = sum + a[size_t(i * n + j)];
    }
  const uint64_t before = dispatch_stats().fallbacks;
  const Tensor x = Tensor::from_host(a.data(), Ints{n, n}, DType::f32, chaos), y = Tensor::from_host(b.data(), Ints{n, n}, DType::f32, chaos);
  std::vector<Tensor> results;
  for (int round = 0; round < 20; ++round)  // all of it in flight at once
    results.push_back(op<"add">({op<"matmul">({op<"mul">({x, 2.0}), y}), x}));
  for (const Tensor& t : results) {
    std::vector<float> got(a.size());
    t.to_host(got.data());
    ASSERT_EQ(got, expected);
  }
  EXPECT_EQ(dispatch_stats().fallbacks, before);
}

}  // namespace
}  // namespace tg
