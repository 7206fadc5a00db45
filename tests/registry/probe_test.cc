// SPDX-License-Identifier: Apache-2.0
// The subprocess probe: what it reports of plugins that crash, hang, exit, print or behave; its cache.
#include <csignal>
#include <nlohmann/json.hpp>

#include "test_util.h"

#if defined(__SANITIZE_ADDRESS__)
constexpr bool kSanitized = true;  // the sanitizer turns the signal into an exit
#else
constexpr bool kSanitized = false;
#endif

namespace tg::registry {
namespace {

ProbeOptions forked(double timeout = 20) {
  ProbeOptions o;
  o.timeout_seconds = timeout;
  return o;
}

class Probe : public ::testing::TestWithParam<bool> {
 protected:
  ProbeOptions options(double timeout = 20) const { return GetParam() ? probe_program({}, timeout) : forked(timeout); }
};
INSTANTIATE_TEST_SUITE_P(Ways, Probe, ::testing::Bool(),
                         [](const auto& info) { return info.param ? std::string("program") : std::string("fork"); });

TEST_P(Probe, Good) {
  const ProbeResult r = probe(test_library("t_good"), options());
  EXPECT_TRUE(r.safe) << r.failure;
  EXPECT_EQ(r.failure + r.refusal + r.open_error, "");
  EXPECT_EQ(r.abi, TG_ABI_VERSION);
  EXPECT_EQ(r.name, "t_good");
  EXPECT_TRUE(r.devices.empty());
}

TEST_P(Probe, Devices) {
  const ProbeResult r = probe(test_library("t_devices"), options());
  ASSERT_TRUE(r.safe) << r.failure;
  ASSERT_EQ(r.devices.size(), 2u) << r.refusal << r.open_error;
  EXPECT_EQ(r.devices[1].kind, "toy");
  EXPECT_EQ(r.devices[1].name, "Toy 1");
  EXPECT_EQ(r.devices[1].domain, "toy:1");
  EXPECT_EQ(r.devices[1].memory_bytes, 4096u);
}

TEST_P(Probe, Crashes) {
  const std::pair<const char*, const char*> cases[] = {{"t_crash_constructor", "in dlopen"},
                                                       {"t_crash_query", "in query"},
                                                       {"t_crash_open", "in open"},
                                                       {"t_crash_shutdown", "in shutdown"}};
  for (const auto& [name, stage] : cases) {
    const ProbeResult r = probe(test_library(name), options());
    EXPECT_FALSE(r.safe) << name;
    EXPECT_NE(r.failure.find(stage), std::string::npos) << name << ": " << r.failure;
    if (!kSanitized) {
      EXPECT_NE(r.failure.find("signal 11"), std::string::npos) << r.failure;
    }
  }
}

TEST_P(Probe, ExitsAndHangs) {
  ProbeResult r = probe(test_library("t_exit_open"), options());
  EXPECT_FALSE(r.safe);
  EXPECT_EQ(r.failure, "ended the process with status 7 in open; it last printed: licence server not found");
  r = probe(test_library("t_hang_open"), options(0.5));
  EXPECT_FALSE(r.safe);
  EXPECT_EQ(r.failure, "did not return from open within 0.5 s; TENGEN_PROBE_TIMEOUT sets the limit");
  EXPECT_LT(r.seconds, 10);
}

TEST_P(Probe, RefusalsAreNotCrashes) {
  const std::pair<const char*, const char*> cases[] = {
      {"t_null_query", "returned no table"}, {"t_wild_table", "cannot be read"},
      {"t_wild_rows", "cannot be read"},     {"t_huge_struct", "struct_size"},
      {"t_no_plan_run", "kernels.plan_run"}, {"t_no_kernels_table", "neither kernels nor devices"},
      {"t_other_abi", "built for ABI 0.8"},  {"t_no_device_functions", "devices.alloc, "}};
  for (const auto& [name, reason] : cases) {
    const ProbeResult r = probe(test_library(name), options());
    EXPECT_TRUE(r.safe) << name << ": " << r.failure;
    EXPECT_NE(r.refusal.find(reason), std::string::npos) << name << ": " << r.refusal;
  }
  const ProbeResult r = probe(test_library("t_open_fails"), options());
  EXPECT_TRUE(r.safe);
  EXPECT_EQ(r.open_error, "open returned status 14: no toy driver on this machine");
}

TEST_P(Probe, OutputIsNotMistakenForTheReport) {
  const ProbeResult r = probe(test_library("t_noisy"), options());
  EXPECT_TRUE(r.safe) << r.failure;
  EXPECT_EQ(r.name, "t_noisy");
}

TEST_P(Probe, ProcessesLeftBehindNeitherDelayNorStay) {
  const ProbeResult r = probe(test_library("t_leaves_child"), options(20));
  EXPECT_TRUE(r.safe) << r.failure;
  EXPECT_LT(r.seconds, 10);
}

TEST_P(Probe, NotALibrary) {
  TempDir dir;
  write_file(dir / "libtengen_x.so", "garbage");
  const ProbeResult r = probe(dir / "libtengen_x.so", options());
  EXPECT_TRUE(r.safe) << r.failure;
  EXPECT_NE(r.refusal.find("the dynamic loader refused it"), std::string::npos) << r.refusal;
  EXPECT_FALSE(probe(dir / "absent.so", options()).safe);
}

TEST(ProbeProgram, Missing) {
  ProbeOptions o = probe_program();
  o.executable = "/nonexistent/tengen-probe";
  const ProbeResult r = probe(test_library("t_good"), o);
  EXPECT_FALSE(r.safe);
  EXPECT_NE(r.failure.find("cannot start"), std::string::npos) << r.failure;
}

TEST(ProbeCache, RemembersByContent) {
  TempDir dir;
  const fs::path library = install("t_good", dir / "p"), cache = dir / "c/probe.json";
  const ProbeOptions o = probe_program(cache);
  EXPECT_FALSE(probe(library, o).cached);
  EXPECT_TRUE(fs::exists(cache));
  EXPECT_EQ(fs::status(cache).permissions() & fs::perms::others_all, fs::perms::none);
  const ProbeResult again = probe(library, o);
  EXPECT_TRUE(again.cached);
  EXPECT_TRUE(again.safe);
  EXPECT_EQ(again.name, "t_good");

  fs::last_write_time(library, fs::file_time_type::clock::now() + std::chrono::hours(1));
  EXPECT_TRUE(probe(library, o).cached) << "touched: the hash still says what it is";

  std::string bytes = read_file(library);  // other content of equal size
  bytes[bytes.size() - 1] ^= 1;
  fs::remove(library);
  write_file(library, bytes);
  EXPECT_FALSE(probe(library, o).cached);
  EXPECT_TRUE(probe(library, o).cached);

  ProbeOptions always = o;
  always.policy = ProbePolicy::kAlways;
  EXPECT_FALSE(probe(library, always).cached);
  ProbeOptions never = o;
  never.policy = ProbePolicy::kNever;
  EXPECT_TRUE(probe(test_library("t_crash_open"), never).safe) << "never: the user's word";
}

TEST(ProbeCache, RemembersByWhatThePluginBringsAlong) {
  TempDir dir;
  const fs::path library = install("t_companion", dir / "p"), companion = dir / "p/libtg_companion.so";
  fs::copy_file(fs::path(TEST_PLUGIN_DIR) / "libtg_companion.so", companion);
  const ProbeOptions o = probe_program(dir / "probe.json");
  EXPECT_FALSE(known_verdict(library, o)) << "never tried";
  const ProbeResult first = probe(library, o);
  EXPECT_TRUE(first.safe && first.refusal.empty() && !first.cached) << first.failure << first.refusal;
  ASSERT_TRUE(known_verdict(library, o));
  EXPECT_TRUE(known_verdict(library, o)->safe);
  std::string bytes = read_file(companion);
  bytes[bytes.size() - 1] ^= 1;  // of the section headers' last field: still a library
  fs::remove(companion);
  write_file(companion, bytes);
  EXPECT_FALSE(known_verdict(library, o)) << "another companion";
  EXPECT_FALSE(probe(library, o).cached);
  EXPECT_TRUE(probe(library, o).cached);
}

TEST(ProbeCache, VerdictsAreKnownWithoutAnotherTry) {
  TempDir dir;
  ProbeOptions o = probe_program(dir / "probe.json", 0.5);
  for (const char* name : {"t_crash_query", "t_hang_open", "t_null_query", "t_good"}) probe(test_library(name), o);
  o.executable = "/nonexistent/tengen-probe";  // nothing may be run from here on
  const std::pair<const char*, const char*> cases[] = {{"t_crash_query", "in query"},
                                                       {"t_hang_open", "did not return from open"},
                                                       {"t_null_query", "returned no table"}};
  for (const auto& [name, reason] : cases) {
    Candidate c = scan(only({test_library(name)}))[0];
    ASSERT_TRUE(c.usable()) << c.reason;
    const auto verdict = known_verdict(c.library, o);
    ASSERT_TRUE(verdict) << name;
    take_verdict(c, *verdict);
    EXPECT_FALSE(c.usable()) << name;
    EXPECT_NE(c.reason.find(reason), std::string::npos) << name << ": " << c.reason;
  }
  Candidate good = scan(only({test_library("t_good")}))[0];
  take_verdict(good, known_verdict(good.library, o).value());
  EXPECT_EQ(good.status, Status::kFound);
  o.policy = ProbePolicy::kNever;
  EXPECT_FALSE(known_verdict(test_library("t_crash_query"), o)) << "it would be loaded untried";
}

TEST(ProbeCache, FailuresAreBelievedForADay) {
  TempDir dir;
  const fs::path cache = dir / "probe.json";
  const ProbeOptions o = probe_program(cache);
  EXPECT_FALSE(probe(test_library("t_crash_open"), o).cached);
  const ProbeResult again = probe(test_library("t_crash_open"), o);
  EXPECT_TRUE(again.cached);
  EXPECT_FALSE(again.safe);
  EXPECT_NE(again.failure, "");
  nlohmann::json j = nlohmann::json::parse(read_file(cache));
  for (auto& e : j["entries"]) e["time"] = e["time"].get<int64_t>() - 90000;
  write_file(cache, j.dump());
  EXPECT_FALSE(probe(test_library("t_crash_open"), o).cached);
}

TEST(ProbeCache, WhatTheMachineSaysTodayIsNotKept) {
  TempDir dir;
  const ProbeOptions o = probe_program(dir / "probe.json");
  for (int i = 0; i < 2; ++i) EXPECT_FALSE(probe(test_library("t_open_fails"), o).cached);
}

TEST(ProbeCache, UnusableCachesCostOneProbe) {
  TempDir dir;
  const fs::path cache = dir / "probe.json";
  const std::string junk[] = {
      "",
      "{",
      "[]",
      "null",
      "{\"format\": 1}",
      "{\"format\": 1, \"abi\": 9, \"entries\": []}",
      "{\"format\": 1, \"abi\": 9, \"entries\": {\"" + test_library("t_good").string() + "\": {}}}",
      "{\"format\": 1, \"abi\": 9, \"entries\": {\"" + test_library("t_good").string() + "\": 3}}",
      std::string(100, '\xff')};
  for (const std::string& text : junk) {
    write_file(cache, text);
    const ProbeResult r = probe(test_library("t_good"), probe_program(cache));
    EXPECT_TRUE(r.safe && !r.cached) << text;
  }
  write_file(cache, "x");
  EXPECT_TRUE(probe(test_library("t_good"), probe_program(cache / "below/a/file")).safe);
  EXPECT_TRUE(probe(test_library("t_good"), probe_program("/proc/no/such")).safe);

  // A cache that others may write is not believed.
  fs::remove(cache);
  ASSERT_TRUE(probe(test_library("t_good"), probe_program(cache)).safe);
  ASSERT_TRUE(probe(test_library("t_good"), probe_program(cache)).cached);
  chmod(cache.c_str(), 0666);
  EXPECT_FALSE(probe(test_library("t_good"), probe_program(cache)).cached);
}

TEST(ProbeOptions, FromEnvironment) {
  const ScopedEnv policy("TENGEN_PROBE", "always"), timeout("TENGEN_PROBE_TIMEOUT", "2.5"),
      program("TENGEN_PROBE_EXECUTABLE", "/x/y"), cache("XDG_CACHE_HOME", "/c");
  const ProbeOptions o = ProbeOptions::from_environment();
  EXPECT_EQ(o.policy, ProbePolicy::kAlways);
  EXPECT_EQ(o.timeout_seconds, 2.5);
  EXPECT_EQ(o.executable, "/x/y");
  EXPECT_EQ(o.cache, "/c/tengen/probe.json");
  const ScopedEnv bad("TENGEN_PROBE_TIMEOUT", "soon");
  EXPECT_EQ(ProbeOptions::from_environment().timeout_seconds, 10);
}

TEST(ProbeProgram, IgnoredChildSignalsDoNotConfuseIt) {
  struct sigaction ignore {
  }, old{};
  ignore.sa_handler = SIG_IGN;
  sigaction(SIGCHLD, &ignore, &old);
  const ProbeResult good = probe(test_library("t_good"), probe_program());
  const ProbeResult bad = probe(test_library("t_exit_open"), probe_program());
  sigaction(SIGCHLD, &old, nullptr);
  EXPECT_TRUE(good.safe) << good.failure;
  EXPECT_FALSE(bad.safe);
}

}  // namespace
}  // namespace tg::registry
