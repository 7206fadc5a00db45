// SPDX-License-Identifier: Apache-2.0
// A program in C++ that falls back hears of it, whether it calls shutdown() or not; one that does not hears nothing.
#include <gtest/gtest.h>
#include <tengen/op.h>
#include <tengen/plugins.h>
#include <tengen/runtime.h>

#include <cstdlib>

namespace tg {
namespace {

// Chaos has a row for the sum, and none for the factorization.
void work(bool factorize) {
  Device* chaos = find_device("chaos");
  const float a[] = {4, 1, 1, 3};
  const Tensor x = Tensor::from_host(a, Ints{2, 2}, DType::f32, chaos);
  float sums[4], factor[4];
  op<"add">({x, x}).to_host(sums);
  if (factorize) op<"leaf_cholesky">({x}).to_host(factor);
}

constexpr const char* kTable = "^tengen: these ran in host memory.*\n +op +device +calls.*\n +leaf_cholesky +chaos:0 +1 [^\n]*\n$";

class FallbackDeathTest : public ::testing::Test {
 protected:
  FallbackDeathTest() { GTEST_FLAG_SET(death_test_style, "threadsafe"); }  // in a process of its own, not a fork of a runtime
};

TEST_F(FallbackDeathTest, TheTableIsPrintedAtTheEnd) {
  const auto quietly = [](bool factorize, bool close) {
    set_fallback_policy(FallbackPolicy::allow);
    work(factorize);
    if (close) shutdown(), shutdown();
    std::exit(0);
  };
  EXPECT_EXIT(quietly(true, false), ::testing::ExitedWithCode(0), kTable);
  EXPECT_EXIT(quietly(true, true), ::testing::ExitedWithCode(0), kTable);
  EXPECT_EXIT(quietly(false, true), ::testing::ExitedWithCode(0), "^$");
}

}  // namespace
}  // namespace tg
