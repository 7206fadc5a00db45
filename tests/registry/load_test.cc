// SPDX-License-Identifier: Apache-2.0
// Loading into this process: what a good plugin gives, and why each bad one is refused.
#include <dlfcn.h>

#include <thread>

#include "test_util.h"

namespace tg::registry {
namespace {

// The probe would keep the crashing ones out; these say what the loader itself does.
ProbeOptions unprobed() {
  ProbeOptions o;
  o.policy = ProbePolicy::kNever;
  return o;
}

struct Loaded {
  TempDir dir;  // a private copy: a plugin is opened once per process, and each test wants its own
  Registry registry;
  LoadedPlugin* plugin = nullptr;
  Candidate* candidate = nullptr;
  explicit Loaded(const std::string& name, ProbeOptions options = unprobed()) : registry(std::move(options)) {
    install(name, dir.path());
    auto& found = registry.scan(only({dir.path()}));
    if (found.size() != 1) throw std::runtime_error("expected one candidate");
    candidate = &found[0];
    plugin = registry.load(*candidate, test_host());
  }
};

TEST(Load, Good) {
  Loaded l("t_good", probe_program());
  ASSERT_TRUE(l.plugin) << l.candidate->reason;
  EXPECT_EQ(l.candidate->status, Status::kLoaded);
  EXPECT_TRUE(l.candidate->usable());
  const LoadedPlugin& p = *l.plugin;
  EXPECT_EQ(p.name, "t_good");
  EXPECT_EQ(p.abi, TG_ABI_VERSION);
  EXPECT_TRUE(p.is_open() && p.instance);
  EXPECT_EQ(p.table.kernels, &p.kernels);
  EXPECT_FALSE(p.brings_devices());
  ASSERT_EQ(p.rows.size(), 3u);
  EXPECT_EQ(p.rows_for("copy").size(), 2u);
  EXPECT_EQ(p.rows_for("copy")[0], 1u) << "best score first";
  EXPECT_TRUE(p.rows_for("softmax").empty());
  EXPECT_EQ(p.rows[2].missing_features, "no_such_feature");
  EXPECT_EQ(p.rows[0].missing_features, "");
  EXPECT_EQ(p.sha256(), sha256_file(p.library));
  EXPECT_EQ(p.extension("tg.graph/1"), nullptr);
  EXPECT_EQ(l.registry.find("t_good"), l.plugin);
  EXPECT_EQ(l.registry.loaded(), std::vector<LoadedPlugin*>{l.plugin});
  EXPECT_EQ(l.registry.load(*l.candidate, test_host()), l.plugin) << "again: the same one";
  EXPECT_EQ(dlsym(RTLD_DEFAULT, "tg_plugin_query"), nullptr) << "RTLD_LOCAL";

  l.registry.shutdown_all();
  EXPECT_EQ(l.candidate->status, Status::kClosed);
  EXPECT_FALSE(p.is_open());
  EXPECT_TRUE(l.registry.loaded().empty());
  EXPECT_EQ(l.registry.load(*l.candidate, test_host()), nullptr);
  EXPECT_NE(dlopen(p.library.c_str(), RTLD_NOLOAD | RTLD_NOW), nullptr) << "stays mapped";

  Registry second(unprobed());
  auto& found = second.scan(only({l.dir.path()}));
  EXPECT_EQ(second.load(found[0], test_host()), nullptr);
  EXPECT_NE(found[0].reason.find("opened in this process before"), std::string::npos) << found[0].reason;
}

TEST(Load, AnOlderShorterTableIsReadToItsEnd) {
  Loaded l("t_small_table");
  ASSERT_TRUE(l.plugin) << l.candidate->reason;
  EXPECT_EQ(l.plugin->table.extension, nullptr);
  EXPECT_EQ(l.plugin->extension("tg.graph/1"), nullptr);
}

TEST(Load, Devices) {
  Loaded l("t_devices");
  ASSERT_TRUE(l.plugin) << l.candidate->reason;
  EXPECT_TRUE(l.plugin->brings_devices() && l.plugin->brings_kernels());
  EXPECT_EQ(l.plugin->table.devices, &l.plugin->devices);
}

TEST(Load, Refusals) {
  const std::pair<const char*, const char*> cases[] = {
      {"t_null_query", "returned no table"},
      {"t_wild_table", "its table lies at an address that cannot be read"},
      {"t_wild_rows", "row 0 lies at an address that cannot be read"},
      {"t_huge_struct", "its table: expected a struct_size from"},
      {"t_no_plan_run", "kernels.plan_run"},
      {"t_no_kernels_table", "its table offers neither kernels nor devices"},
      {"t_no_device_functions", "devices.alloc, devices.free"},
      {"t_other_name", "calls itself 'somebody_else'"},
      {"t_other_rows", "row 0 (t_other_rows.copy) differs from the manifest in 'dtypes'"},
      {"t_other_abi", "built for ABI 0.8"},
      {"t_open_fails", "open returned status 14: no toy driver on this machine"}};
  for (const auto& [name, reason] : cases) {
    Loaded l(name);
    EXPECT_EQ(l.plugin, nullptr) << name;
    EXPECT_EQ(l.candidate->status, Status::kLoadFailed) << name;
    EXPECT_NE(l.candidate->reason.find(reason), std::string::npos) << name << ": " << l.candidate->reason;
    EXPECT_TRUE(l.registry.loaded().empty());
  }
}

TEST(Load, CrashesStayOutside) {
  for (const char* name : {"t_crash_constructor", "t_crash_query", "t_crash_open", "t_crash_shutdown", "t_exit_open"}) {
    Loaded l(name, probe_program());
    EXPECT_EQ(l.plugin, nullptr) << name;
    EXPECT_EQ(l.candidate->status, Status::kProbeFailed) << name;
    EXPECT_EQ(l.candidate->reason.rfind("tried in a subprocess, it ", 0), 0u) << l.candidate->reason;
  }
}

TEST(Load, UnusableCandidatesKeepTheirReason) {
  TempDir dir;
  write_file(dir / "libtengen_t_good.so", "garbage");
  Registry r(unprobed());
  auto& found = r.scan(only({dir.path()}));
  ASSERT_EQ(found.size(), 1u);
  const std::string reason = found[0].reason;
  EXPECT_EQ(r.load(found[0], test_host()), nullptr);
  EXPECT_EQ(found[0].reason, reason);
  EXPECT_EQ(found[0].status, Status::kNotALibrary);
}

TEST(Load, ASecondScanKeepsWhatIsLoaded) {
  Loaded l("t_good");
  ASSERT_TRUE(l.plugin);
  TempDir other;
  install("t_good", other.path());
  install("t_noisy", other.path());
  auto& found = l.registry.scan(only({l.dir.path(), other.path()}));
  ASSERT_EQ(found.size(), 3u);
  EXPECT_EQ(found[0].status, Status::kLoaded);
  EXPECT_EQ(found[1].status, Status::kShadowed);
  EXPECT_EQ(found[2].status, Status::kFound) << found[2].reason;
  EXPECT_EQ(l.registry.loaded().size(), 1u);
}

TEST(Load, FromManyThreads) {
  TempDir dir;
  install("t_good", dir.path());
  Registry r(unprobed());
  auto& found = r.scan(only({dir.path()}));
  std::vector<LoadedPlugin*> got(8);
  std::vector<std::thread> threads;
  for (auto& g : got) threads.emplace_back([&] { g = r.load(found[0], test_host()); });
  for (auto& t : threads) t.join();
  for (auto* g : got) EXPECT_TRUE(g && g == got[0]);
}

}  // namespace
}  // namespace tg::registry
