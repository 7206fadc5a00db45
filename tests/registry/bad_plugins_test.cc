// SPDX-License-Identifier: Apache-2.0
// The broken plugins of tests/abi/bad, one directory each: whatever they do, this process lives and has a sentence;
// the one named good loads.
#include <map>

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
  // What the sentence must say, and the status.
  const std::map<std::string, std::pair<Status, const char*>> expected = {
      {"not_elf", {Status::kNotALibrary, "is not an ELF file"}},
      {"truncated_elf", {Status::kNotALibrary, "is not a well-formed ELF file"}},
      {"no_symbol", {Status::kNotALibrary, "does not export tg_plugin_query"}},
      {"other_abi", {Status::kWrongAbi, "built for ABI 7.0, this Tengen speaks 0.9"}},
      {"cpu_feature", {Status::kMissingCpu, "avx4096"}},
      {"manifest_json", {Status::kBadManifest, "expected valid JSON"}},
      {"manifest_differs", {Status::kBadManifest, "differs from the manifest embedded"}},
      {"no_manifest", {Status::kBadManifest, "there is no manifest"}},
      {"abort_in_query", {Status::kProbeFailed, "was killed by signal 6 (Aborted) in query"}},
      {"hang_in_query", {Status::kProbeFailed, "did not return from query within 3 s"}},
      {"exit_in_query", {Status::kProbeFailed, "ended the process with status 0 in query"}},
      {"crash_in_open", {Status::kProbeFailed, "was killed by signal 11 (Segmentation fault) in open"}},
      {"hang_in_open", {Status::kProbeFailed, "did not return from open within 3 s"}},
      {"null_query", {Status::kLoadFailed, "returned no table"}},
      {"fail_in_open", {Status::kLoadFailed, "expected a licence server, found none"}},
      {"other_abi_hidden", {Status::kLoadFailed, "built for ABI 7.0"}},
      {"name_differs", {Status::kLoadFailed, "somebody_else"}},
      {"null_name", {Status::kLoadFailed, "name"}},
      {"small_struct", {Status::kLoadFailed, "struct_size"}},
      {"rows_differ", {Status::kLoadFailed, "rows"}},
      {"row_stride", {Status::kLoadFailed, "row_stride"}},
      {"no_functions", {Status::kLoadFailed, "plan_run"}},
      {"throw_in_open", {Status::kLoadFailed, "exception"}},
  };
  size_t refused = 0;
  Registry registry(probe_program({}, 3));
  for (Candidate& c : registry.scan(only(places))) {
    const LoadedPlugin* p = registry.load(c, test_host());
    EXPECT_EQ(p != nullptr, c.name == "good") << c.name << ": " << c.reason;
    if (p) {
      EXPECT_EQ(c.status, Status::kLoaded);
      std::printf("  %-24s loaded\n", c.name.c_str());
    } else {
      ++refused;
      ASSERT_TRUE(expected.count(c.name)) << c.name << " is not in the table above";
      EXPECT_EQ(c.status, expected.at(c.name).first) << c.name << ": " << to_string(c.status) << ": " << c.reason;
      EXPECT_NE(c.reason.find(expected.at(c.name).second), std::string::npos) << c.name << ": " << c.reason;
      std::printf("  %-24s %s: %s\n", c.name.c_str(), to_string(c.status), c.reason.c_str());
    }
  }
  EXPECT_EQ(refused, expected.size());
  registry.shutdown_all();
}

}  // namespace
}  // namespace tg::registry
