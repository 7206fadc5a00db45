// SPDX-License-Identifier: Apache-2.0
// The environment of the core's tests, however they are started: the build's plugins alone, unprobed, and one seed of
// chaos. What the user has set stays.
#include <gtest/gtest.h>

#include <cstdlib>

namespace {
TEST(Environment, IsTheTests) {  // a probe would also write into the user's cache
  EXPECT_STREQ(std::getenv("TENGEN_PROBE"), "never");
  EXPECT_STREQ(std::getenv("TENGEN_CHAOS_SEED"), "7");
}
}  // namespace

int main(int argc, char** argv) {
  setenv("TENGEN_PLUGIN_PATH", TENGEN_TEST_PLUGINS, 0);
  setenv("TENGEN_PROBE", "never", 0);
  setenv("TENGEN_CHAOS_SEED", "7", 0);
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
