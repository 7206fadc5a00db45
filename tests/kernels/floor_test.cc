// SPDX-License-Identifier: Apache-2.0
//
// floor_test PLUGIN.so [gtest options]: the whole floor on one plugin, and the plugin's table itself.
// The path may also come from TENGEN_TEST_PLUGIN.

#include <fstream>

#include "floor_fixture.h"

namespace tg::test {

static std::string plugin_path;

Plugin& the_plugin() {
  static Plugin plugin(plugin_path);
  return plugin;
}

Require required() {
  const char* text = std::getenv("TENGEN_TEST_REQUIRE");
  const std::string word = text ? text : "floor";
  if (word == "all") return Require::all;
  if (word == "floor") return Require::floor;
  if (word == "offered") return Require::offered;
  throw std::runtime_error("TENGEN_TEST_REQUIRE: expected all, floor or offered, got " + word);
}

namespace {

TEST(PluginTable, QueryServesThisVersionAlone) {
  const tg_plugin_query_fn query = the_plugin().query();
  EXPECT_EQ(query(TG_ABI_VERSION, host::table()), &the_plugin().table()) << "query is pure: one table";
  EXPECT_EQ(query(TG_ABI_VERSION + 1, host::table()), nullptr);
  EXPECT_EQ(query(TG_ABI_VERSION - 1, host::table()), nullptr);
}

TEST(PluginTable, IsComplete) {
  const tg_plugin& table = the_plugin().table();
  EXPECT_EQ(table.struct_size, sizeof(tg_plugin));
  EXPECT_EQ(table.abi_version, TG_ABI_VERSION);
  EXPECT_EQ(table.row_stride, sizeof(tg_kernel_row));
  ASSERT_NE(table.kernels, nullptr);
  EXPECT_NE(table.kernels->plan_create, nullptr);
  EXPECT_NE(table.kernels->plan_run, nullptr);
  EXPECT_NE(table.kernels->plan_destroy, nullptr);
  const std::string name = table.name;
  EXPECT_NE(plugin_path.find("libtengen_" + name + ".so"), std::string::npos);
  for (const tg_kernel_row& row : the_plugin().rows()) {
    EXPECT_EQ(row.struct_size, sizeof(tg_kernel_row));
    EXPECT_GE(row.op_revision, 1u);
    ASSERT_NE(row.op, nullptr);
    ASSERT_NE(row.name, nullptr);
    ASSERT_NE(row.dtypes, nullptr);
    EXPECT_EQ(std::string(row.op) == "map", row.map_opcodes != 0) << row.name;
    EXPECT_EQ(row.map_opcodes >> TG_MAP_END, 0u) << row.name;
  }
}

TEST(PluginTable, ManifestLiesBesideTheLibraryAndInside) {
  const auto slurp = [](const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(file), {});
  };
  const size_t slash = plugin_path.rfind('/');
  const std::string folder = slash == std::string::npos ? "." : plugin_path.substr(0, slash);
  const std::string manifest = slurp(folder + "/" + the_plugin().table().name + ".plugin.json");
  ASSERT_FALSE(manifest.empty());
  EXPECT_NE(slurp(plugin_path).find(manifest), std::string::npos);
}

class Refusals : public FloorTest {};

TEST_F(Refusals, UnknownOpAndNonsenseAttributesHaveReasons) {
  Tensor x = Tensor::of<float>({2, 2}, {1, 2, 3, 4}), y(dtype<float>, {2, 1});
  expect_refused({"reduce", {&x}, {&y}, {Attr::integer(99), Attr::ints({1})}, {}});
  Tensor z(dtype<float>, {2, 2});
  expect_refused(map_call({&x}, {&z}, {inst(TG_MAP_NEG, dtype<float>, {0})}, {5}));
}

}  // namespace
}  // namespace tg::test

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  const char* path = std::getenv("TENGEN_TEST_PLUGIN");
  if (argc > 1) path = argv[1];
  if (!path) {
    std::fprintf(stderr, "usage: floor_test libtengen_NAME.so [gtest options]\n");
    return 2;
  }
  tg::test::plugin_path = path;
  try {
    tg::test::the_plugin();
    tg::test::required();
  } catch (const std::exception& e) {
    std::fprintf(stderr, "floor_test: %s\n", e.what());
    return 2;
  }
  return RUN_ALL_TESTS();
}
