// SPDX-License-Identifier: Apache-2.0
// The broken plugins of tests/abi/bad, one directory each: whatever they do, this process lives and has a sentence;
// the one named good loads.
#include "test_util.h"

namespace tg::registry {
namespace {

TEST(BadPlugins, EachCostsALineInATable) {
  const fs::path root = TEST_BAD_PLUGIN_DIR;
  ASSERT_TRUE(fs::exists(root)) << root << " was not built (tests/abi/bad)";
  std::vector<std::string> places;
  for (const auto& entry : fs::directory_iterator(root)) {
    if (entry.is_directory()) places.push_back(entry.path());
  }
  ASSERT_FALSE(places.empty()) << root;
  Registry registry(probe_program({}, 3));
  for (Candidate& c : registry.scan(only(places))) {
    const LoadedPlugin* p = registry.load(c, test_host());
    EXPECT_EQ(p != nullptr, c.name == "good") << c.name << ": " << c.reason;
    if (p) {
      EXPECT_EQ(c.status, Status::kLoaded);
      std::printf("  %-24s loaded\n", c.name.c_str());
    } else {
      EXPECT_GT(c.reason.size(), 10u) << c.name;
      std::printf("  %-24s %s: %s\n", c.name.c_str(), to_string(c.status), c.reason.c_str());
    }
  }
  registry.shutdown_all();
}

}  // namespace
}  // namespace tg::registry
