// SPDX-License-Identifier: Apache-2.0
// A test that needs the core from its start to its end, or plugins with settings of their own, has a process to itself:
// plugins are loaded once per process. The parent never touches a device, so a fork is clean.
#pragma once
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <tengen/runtime.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <functional>

namespace tg::test {

struct Setting {
  const char *name, *value;
};

inline void in_own_process(std::initializer_list<Setting> settings, const std::function<void()>& body) {
  std::fflush(nullptr);
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    for (const Setting& s : settings) setenv(s.name, s.value, 1);
    try {
      body();
      shutdown();
    } catch (const std::exception& e) {
      ADD_FAILURE() << "threw: " << e.what();
    }
    std::exit(::testing::Test::HasFailure() ? 1 : 0);  // with the destructors, and the sanitizers' last word
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status)) << "ended by signal " << WTERMSIG(status);
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

}  // namespace tg::test
