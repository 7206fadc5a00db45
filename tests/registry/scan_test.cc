// SPDX-License-Identifier: Apache-2.0
// Discovery: order, shadowing, and every refusal that needs no loading.
#include <elf.h>
#include <unistd.h>

#include <cstring>

#include "test_util.h"

namespace tg::registry {
namespace {

// Rewrites the manifest beside a library and cuts the embedded one's section name, so that only the new one counts.
void replace_manifest(const fs::path& library, const std::string& name, const std::string& text) {
  std::string bytes = read_file(library);
  size_t at = bytes.find("tg_manifest");
  ASSERT_NE(at, std::string::npos);
  for (; at != std::string::npos; at = bytes.find("tg_manifest", at)) bytes[at] = 'x';
  write_file(library, bytes);
  write_file(library.parent_path() / (name + ".plugin.json"), text);
}
std::string manifest_of(const std::string& name) {
  return read_file(fs::path(TEST_PLUGIN_DIR) / (name + ".plugin.json"));
}
std::string replaced(std::string text, const std::string& what, const std::string& with) {
  const size_t at = text.find(what);
  EXPECT_NE(at, std::string::npos) << what;
  return text.replace(at, what.size(), with);
}

TEST(Scan, FindsAGoodPlugin) {
  TempDir dir;
  const fs::path library = install("t_good", dir.path());
  for (const std::string& place : {dir.path().string(), library.string(), (dir / "t_good.plugin.json").string()}) {
    const auto found = scan(only({place}));
    ASSERT_EQ(found.size(), 1u) << place;
    EXPECT_EQ(found[0].status, Status::kFound) << found[0].reason;
    EXPECT_EQ(found[0].reason, "");
    EXPECT_EQ(found[0].library, library);
    EXPECT_EQ(found[0].source, Source::kExplicit);
    EXPECT_EQ(found[0].manifest->kernels.size(), 3u);
    EXPECT_TRUE(found[0].notes.empty());
  }
}

TEST(Scan, EmbeddedManifestSuffices) {
  TempDir dir;
  install("t_good", dir.path(), false);
  const auto found = scan(only({dir.path()}));
  ASSERT_EQ(found.size(), 1u);
  EXPECT_TRUE(found[0].usable()) << found[0].reason;
  EXPECT_TRUE(found[0].manifest_file.empty());
  EXPECT_EQ(found[0].manifest->name, "t_good");
}

TEST(Scan, NamesAreSortedAndNothingElseIsLookedAt) {
  TempDir dir;
  for (const char* name : {"t_noisy", "t_good", "t_devices"}) install(name, dir.path());
  write_file(dir / "readme.txt", "x");
  write_file(dir / "libother.so", "x");
  write_file(dir / "libtengen_Upper.so", "x");
  const auto found = scan(only({dir.path()}));
  ASSERT_EQ(found.size(), 3u);
  EXPECT_EQ(found[0].name, "t_devices");
  EXPECT_EQ(found[1].name, "t_good");
  EXPECT_EQ(found[2].name, "t_noisy");
}

TEST(Scan, OrderOfPlacesAndShadowing) {
  TempDir dir;
  for (const char* place : {"explicit", "env1", "env2", "extra", "data/tengen/plugins"}) install("t_good", dir / place);
  const ScopedEnv path("TENGEN_PLUGIN_PATH", (dir / "env1").string() + ":" + (dir / "env2").string());
  const ScopedEnv data("XDG_DATA_HOME", (dir / "data").string());
  ScanOptions o;
  o.paths = {(dir / "explicit").string()};
  o.extra_dirs = {(dir / "extra").string()};
  o.system = false;
  auto found = scan(o);
  ASSERT_EQ(found.size(), 5u);
  const Source order[] = {Source::kExplicit, Source::kEnvironment, Source::kEnvironment, Source::kExtra, Source::kUser};
  for (size_t i = 0; i < 5; ++i) {
    EXPECT_EQ(found[i].source, order[i]);
    EXPECT_EQ(found[i].status, i ? Status::kShadowed : Status::kFound) << found[i].reason;
  }
  EXPECT_NE(found[1].reason.find((dir / "explicit").string()), std::string::npos) << found[1].reason;
  o.environment = o.user = false;
  found = scan(o);
  EXPECT_EQ(found.size(), 2u);
}

TEST(Scan, ABrokenCopyDoesNotHideAGoodOne) {
  TempDir dir;
  install("t_good", dir / "a");
  write_file(dir / "a/libtengen_t_good.so", "garbage");
  install("t_good", dir / "b");
  const auto found = scan(only({dir / "a", dir / "b"}));
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found[0].status, Status::kNotALibrary);
  EXPECT_EQ(found[1].status, Status::kFound) << found[1].reason;
}

TEST(Scan, SameLibraryTwice) {
  TempDir dir;
  install("t_good", dir / "a");
  fs::create_directory(dir / "b");
  fs::create_symlink(dir / "a/libtengen_t_good.so", dir / "b/libtengen_t_good.so");
  const auto found = scan(only({dir / "a", dir / "b"}));
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found[1].status, Status::kShadowed);
  EXPECT_NE(found[1].reason.find("the same library"), std::string::npos);
}

TEST(Scan, ADirectoryNamedTwiceIsSearchedOnce) {
  TempDir dir;
  install("t_good", dir / "a");
  fs::create_directory_symlink(dir / "a", dir / "b");
  ScanOptions o = only({dir / "a", dir / "b", (dir / "a").string() + "/"});
  o.extra_dirs = {(dir / "a").string()};
  const auto found = scan(o);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_TRUE(found[0].usable()) << found[0].reason;
}

TEST(Scan, WorkingDirectoryIsNeverSearched) {
  TempDir dir;
  install("t_good", dir.path());
  const fs::path before = fs::current_path();
  fs::current_path(dir.path());
  std::vector<Candidate> found;
  {
    const ScopedEnv path("TENGEN_PLUGIN_PATH", ".::");
    ScanOptions o;
    o.user = o.system = false;
    found = scan(o);
  }
  fs::current_path(before);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_FALSE(found[0].usable());
  EXPECT_NE(found[0].reason.find("relative"), std::string::npos) << found[0].reason;
}

TEST(Scan, AbsentPlaces) {
  const auto found = scan(only({"/nonexistent/dir"}));
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].reason, "/nonexistent/dir does not exist");
  const ScopedEnv data("XDG_DATA_HOME", "/nonexistent");
  ScanOptions o;
  o.environment = o.system = false;
  EXPECT_TRUE(scan(o).empty()) << "the user's directory need not exist";
}

TEST(Scan, Refusals) {
  struct Case {
    const char* why;
    std::function<void(const fs::path& dir, const fs::path& library)> damage;
    Status status;
    const char* reason;
  };
  const std::string good = manifest_of("t_good");
  const Case cases[] = {
      {"garbage", [](auto&, auto& so) { write_file(so, std::string(100, 'x')); }, Status::kNotALibrary,
       "is not an ELF file"},
      {"no library", [](auto&, auto& so) { fs::remove(so); }, Status::kNotALibrary,
       "has no library libtengen_t_good.so"},
      {"library is a directory", [](auto&, auto& so) { fs::remove(so), fs::create_directory(so); },
       Status::kNotALibrary, "is not a regular file"},
      {"an executable type",
       [](auto&, auto& so) {
         std::string b = read_file(so);
         b[16] = ET_EXEC;
         write_file(so, b);
       },
       Status::kNotALibrary, "not a shared library"},
      {"another machine",
       [](auto&, auto& so) {
         std::string b = read_file(so);
         b[18] = char(native_machine() == EM_AARCH64 ? EM_X86_64 : EM_AARCH64);
         write_file(so, b);
       },
       Status::kWrongMachine, "it is built for"},
      {"no query",
       [](auto&, auto& so) {
         std::string b = read_file(so);
         for (size_t at = b.find("tg_plugin_query"); at != std::string::npos; at = b.find("tg_plugin_query", at))
           b[at] = 'x';
         write_file(so, b);
       },
       Status::kNotALibrary, "does not export tg_plugin_query"},
      {"two manifests",
       [&](auto& dir, auto&) { write_file(dir / "t_good.plugin.json", replaced(good, "1.0.0", "1.0.1")); },
       Status::kBadManifest, "differs from the manifest embedded"},
      {"bad manifest", [](auto& dir, auto&) { write_file(dir / "t_good.plugin.json", "{"); }, Status::kBadManifest,
       "expected valid JSON"},
      {"no manifest at all",
       [&](auto& dir, auto& so) {
         replace_manifest(so, "t_good", "");
         fs::remove(dir / "t_good.plugin.json");
       },
       Status::kBadManifest, "there is no manifest"},
      {"manifest of another name",
       [&](auto&, auto& so) { replace_manifest(so, "t_good", replaced(good, "\"t_good\"", "\"other\"")); },
       Status::kBadManifest, "the manifest's name is 'other'"},
      {"another ABI",
       [&](auto&, auto& so) {
         replace_manifest(
             so, "t_good",
             replaced(good, "{\"min\": \"0.9\", \"max\": \"0.9\"}", "{\"min\": \"0.7\", \"max\": \"0.8\"}"));
       },
       Status::kWrongAbi, "built for ABI 0.7 to 0.8, this Tengen speaks 0.9"},
      {"CPU features",
       [&](auto&, auto& so) {
         replace_manifest(
             so, "t_good",
             replaced(good, "\"kernels\"",
                      std::string("\"cpu\": {\"") + cpu_architecture() + "\": [\"hyperdrive\"]}, \"kernels\""));
       },
       Status::kMissingCpu, "hyperdrive"},
      {"file writable by others", [](auto&, auto& so) { chmod(so.c_str(), 0666); }, Status::kUnsafe,
       "is writable by every user"},
      {"directory writable by others", [](auto& dir, auto&) { chmod(dir.c_str(), 0777); }, Status::kUnsafe,
       "is writable by every user"},
      {"manifest writable by others", [](auto& dir, auto&) { chmod((dir / "t_good.plugin.json").c_str(), 0646); },
       Status::kUnsafe, "t_good.plugin.json is writable by every user"},
      {"a directory above writable by others", [](auto& dir, auto&) { chmod(dir.parent_path().c_str(), 0777); },
       Status::kUnsafe, "above is writable by every user"},
      {"a sticky directory writable by others", [](auto& dir, auto&) { chmod(dir.c_str(), 01777); }, Status::kUnsafe,
       "is writable by every user"},
      {"manifest linked from a directory writable by others",
       [](auto& dir, auto&) {
         fs::create_directory(dir / "open");
         fs::rename(dir / "t_good.plugin.json", dir / "open/x.json");
         fs::create_symlink(dir / "open/x.json", dir / "t_good.plugin.json");
         chmod((dir / "open").c_str(), 0777);
       },
       Status::kUnsafe, "open is writable by every user"},
      {"link out of a directory writable by others",
       [](auto& dir, auto& so) {
         fs::create_directory(dir / "real");
         fs::rename(so, dir / "real/libtengen_t_good.so");
         fs::create_symlink(dir / "real/libtengen_t_good.so", so);
         chmod(dir.c_str(), 0777);
       },
       Status::kUnsafe, "is writable by every user"},
  };
  for (const Case& c : cases) {
    TempDir dir;
    const fs::path place = dir / "above/p";
    const fs::path library = install("t_good", place);
    c.damage(place, library);
    const auto found = scan(only({place}));
    for (const char* d : {"above", "above/p"}) chmod((dir / d).c_str(), 0755);
    ASSERT_EQ(found.size(), 1u) << c.why;
    EXPECT_EQ(found[0].status, c.status) << c.why << ": " << to_string(found[0].status) << ": " << found[0].reason;
    EXPECT_NE(found[0].reason.find(c.reason), std::string::npos) << c.why << ": " << found[0].reason;
  }
}

TEST(Scan, AStickyDirectoryHigherUpWillDo) {
  TempDir dir;
  install("t_good", dir / "above/p");
  chmod((dir / "above").c_str(), 01777);
  const auto found = scan(only({dir / "above/p"}));
  ASSERT_EQ(found.size(), 1u);
  EXPECT_TRUE(found[0].usable()) << found[0].reason;
}

TEST(Scan, WhatAPluginBringsAlongCounts) {
  TempDir dir;
  install("t_companion", dir / "p");
  fs::copy_file(fs::path(TEST_PLUGIN_DIR) / "libtg_companion.so", dir / "p/libtg_companion.so");
  const fs::path companion = dir / "p/libtg_companion.so";
  EXPECT_EQ(origin_dependencies(dir / "p/libtengen_t_companion.so"), std::vector<fs::path>{companion});
  EXPECT_TRUE(origin_dependencies(install("t_good", dir / "q")).empty());
  chmod(companion.c_str(), 0755);
  EXPECT_EQ(scan(only({dir / "p"}))[0].reason, "");
  chmod(companion.c_str(), 0757);
  const auto found = scan(only({dir / "p"}));
  EXPECT_EQ(found[0].status, Status::kUnsafe);
  EXPECT_NE(found[0].reason.find("libtg_companion.so is writable"), std::string::npos) << found[0].reason;
}

TEST(Scan, CpuFeaturesOfOtherArchitecturesDoNotMatter) {
  TempDir dir;
  const fs::path library = install("t_good", dir.path());
  replace_manifest(
      library, "t_good",
      replaced(manifest_of("t_good"), "\"kernels\"", "\"cpu\": {\"pdp11\": [\"hyperdrive\"]}, \"kernels\""));
  const auto found = scan(only({dir.path()}));
  ASSERT_EQ(found.size(), 1u);
  EXPECT_TRUE(found[0].usable()) << found[0].reason;
}

}  // namespace
}  // namespace tg::registry
