// SPDX-License-Identifier: Apache-2.0
// Manifests: every case of manifests.json, and what JSON alone can get wrong.
#include <nlohmann/json.hpp>

#include "test_util.h"

namespace tg::registry {
namespace {

using nlohmann::json;

TEST(Manifest, CasesOfTheTable) {
  const json table = json::parse(read_file(fs::path(TEST_SOURCE_DIR) / "manifests.json"));
  ASSERT_GT(table["cases"].size(), 40u);
  for (const json& test : table["cases"]) {
    json manifest = table["base"];
    manifest.merge_patch(test["patch"]);
    const std::string why = test["why"];
    try {
      parse_manifest(manifest.dump(), "toy.plugin.json");
      EXPECT_FALSE(test.contains("error")) << why << ": was accepted";
    } catch (const ManifestError& e) {
      const std::string message = e.what();
      EXPECT_TRUE(test.contains("error")) << why << ": " << message;
      EXPECT_NE(message.find(test.value("error", "?")), std::string::npos) << why << ": " << message;
      EXPECT_EQ(message.rfind("toy.plugin.json: ", 0), 0u) << message;
    }
  }
}

TEST(Manifest, ValuesArrive) {
  const Manifest m =
      parse_manifest(R"({"name": "toy", "vendor": "V", "version": "1.2.3", "licence": "MIT", "summary": "S",
    "role": "fallback", "abi": {"min": "0.9", "max": "1.2"}, "cpu": {"x86_64": ["avx2"]}, "devices": [{"kind": "toy"}],
    "kernels": [{"op": "matmul", "dtypes": "T T -> T", "bake_dims": "in1 out0", "packed": "outputs", "bake_strides": "all",
                 "alias": "out1=in2", "score": -7, "flags": "async", "max_rank": 3, "revision": 2, "layouts": "- b -> b"},
                {"op": "map", "name": "n", "dtypes": "f32|i64", "opcodes": "add erfc", "casts": "f32 u4"},
                {"op": "map", "dtypes": "f32", "opcodes": "all"}]})",
                     "f");
  EXPECT_EQ(m.abi_min, 9u);
  EXPECT_EQ(m.abi_max, (1u << 16 | 2u));
  EXPECT_TRUE(m.fallback);
  EXPECT_EQ(m.cpu.at("x86_64"), std::vector<std::string>{"avx2"});
  ASSERT_EQ(m.kernels.size(), 3u);
  const ManifestRow& r = m.kernels[0];
  EXPECT_EQ(r.name, "toy.matmul");
  EXPECT_EQ(r.bake_dims, (uint64_t(1) << 32 | 2));
  EXPECT_EQ(r.bake_strides, ~uint64_t(0));
  EXPECT_EQ(r.packed, 0xffffffff00000000u);
  EXPECT_EQ(r.alias, uint64_t(1) << 10);
  EXPECT_EQ(r.score, -7);
  EXPECT_EQ(r.flags, TG_ROW_ASYNC);
  EXPECT_EQ(r.max_rank, 3u);
  const LayoutPattern layouts = LayoutPattern::parse(r.layouts);
  EXPECT_EQ(layouts.input(0), "");
  EXPECT_EQ(layouts.input(1), "b");
  EXPECT_EQ(layouts.input(2), "") << "beyond the words";
  EXPECT_EQ(layouts.output(0), "b");
  EXPECT_EQ(r.revision, 2u);
  EXPECT_EQ(m.kernels[1].opcodes, (uint64_t(1) << TG_MAP_ADD | uint64_t(1) << TG_MAP_ERFC));
  EXPECT_EQ(m.kernels[1].casts, (uint64_t(1) << TG_DT_F32 | uint64_t(1) << TG_DT_U4));
  EXPECT_EQ(m.kernels[2].opcodes, (uint64_t(1) << TG_MAP_END) - 2);
}

std::string error_of(const std::string& text) {
  try {
    parse_manifest(text, "f.json");
  } catch (const ManifestError& e) {
    return e.what();
  }
  return "accepted";
}

TEST(Manifest, BrokenJson) {
  EXPECT_EQ(error_of(""), "f.json: line 1, column 1: expected valid JSON");
  EXPECT_EQ(error_of("{\n  \"name\": oops\n}").rfind("f.json: line 2, column ", 0), 0u)
      << error_of("{\n  \"name\": oops\n}");
  EXPECT_NE(error_of("[]").find("/: expected an object, got []"), std::string::npos);
  EXPECT_NE(error_of("{\"name\": \"a\", \"name\": \"b\"}").find("key \"name\" is given twice"), std::string::npos);
  EXPECT_NE(error_of(std::string(100000, '[')).find("nested deeper"), std::string::npos);
  EXPECT_NE(error_of("{\"name\": \"\xff\xfe\"}").find("valid JSON"), std::string::npos);
  EXPECT_NE(error_of(std::string((16u << 20) + 1, ' ')).find("16 MiB"), std::string::npos);
  EXPECT_NE(error_of(std::string("{}\0{}", 5)).find("expected valid JSON"), std::string::npos);
}

TEST(Manifest, TruncatedAnywhereIsRefused) {
  const std::string whole = read_file(fs::path(TEST_PLUGIN_DIR) / "t_good.plugin.json");
  ASSERT_EQ(error_of(whole), "accepted");
  const size_t last = whole.rfind('}');
  for (size_t n = 0; n < last; ++n) EXPECT_NE(error_of(whole.substr(0, n)), "accepted") << n;
}

TEST(Abi, Refusals) {
  const auto v = [](uint32_t major, uint32_t minor) { return major << 16 | minor; };
  EXPECT_EQ(abi_refusal(v(0, 9), v(0, 9), v(0, 9)), "");
  EXPECT_NE(abi_refusal(v(0, 8), v(0, 8), v(0, 9)), "");
  EXPECT_NE(abi_refusal(v(0, 10), v(0, 10), v(0, 9)), "");
  EXPECT_NE(abi_refusal(v(1, 0), v(1, 0), v(0, 9)), "");
  EXPECT_EQ(abi_refusal(v(1, 0), v(1, 0), v(1, 5)), "") << "an old plugin in a new host";
  EXPECT_NE(abi_refusal(v(1, 6), v(1, 6), v(1, 5)), "") << "the manifest asks for a newer host";
  EXPECT_EQ(abi_refusal(v(1, 0), v(1, 6), v(1, 5)), "") << "a new plugin that serves old hosts";
  EXPECT_NE(abi_refusal(v(0, 9), v(0, 9), v(1, 0)), "");
  EXPECT_EQ(abi_text(v(1, 12)), "1.12");
}

}  // namespace
}  // namespace tg::registry
