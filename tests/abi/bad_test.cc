// SPDX-License-Identifier: Apache-2.0
//
// The plugins of bad/ are bad in the way that they claim: a registry's test that loads them proves nothing otherwise.
// Each is tried in a child process, which reports how far it came.

#include <dlfcn.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <iterator>
#include <string>

#include <tengen/kernel_api.hpp>

namespace {

// Loads, queries and opens a plugin, and tells `out` how far it comes. noexcept: an exception ends the process, and no
// test framework catches it.
[[noreturn]] void try_plugin(const std::string& name, int out) noexcept {
  const auto say = [&](const std::string& text) { (void)!write(out, text.data(), text.size()); };
  const auto stop = [&](const std::string& text) {
    say(text);
    _exit(42);
  };
  for (int s : {SIGSEGV, SIGBUS, SIGABRT}) signal(s, SIG_DFL);
  alarm(2);
  const std::string path = std::string(TENGEN_BAD_PLUGINS) + "/" + name + "/libtengen_" + name + ".so";
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library) stop("dlopen");
  const auto query = reinterpret_cast<tg_plugin_query_fn>(dlsym(library, "tg_plugin_query"));
  if (!query) stop("dlsym");
  say("query ");
  const tg_plugin* table = query(TG_ABI_VERSION, nullptr);
  if (!table) stop("NULL");
  if (table->struct_size < sizeof *table) stop("small table");
  if (table->abi_version != TG_ABI_VERSION) stop("another ABI");
  if (!table->name) stop("no name");
  if (name != table->name) stop("another name");
  if (table->n_rows != 1) stop("other rows");
  if (table->row_stride < 40) stop("other stride");
  if (!table->kernels->plan_run) stop("no plan_run");
  say("open ");
  void* instance = nullptr;
  tg_error error{};
  if (table->open(TG_ABI_VERSION, nullptr, &instance, &error) != TG_OK) stop(error.message);
  say("loaded");
  _exit(42);
}

// How far a child process came with the plugin, and how it ended if not by its own will.
std::string fate(const std::string& name) {
  int ends[2];
  if (pipe(ends) != 0) return "no pipe";
  const pid_t child = fork();
  if (child == 0) try_plugin(name, ends[1]);
  close(ends[1]);
  std::string text;
  char c;
  while (read(ends[0], &c, 1) == 1) text += c;
  close(ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  if (WIFSIGNALED(status)) return text + "signal " + std::to_string(WTERMSIG(status));
  return WEXITSTATUS(status) == 42 ? text : text + "exit " + std::to_string(WEXITSTATUS(status));
}

std::string file(const std::string& name, const std::string& which) {
  std::ifstream in(std::string(TENGEN_BAD_PLUGINS) + "/" + name + "/" + which, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

TEST(BadPlugins, StopWhereTheySay) {
  const std::string abort = "signal " + std::to_string(SIGABRT), crash = "signal " + std::to_string(SIGSEGV),
                    hang = "signal " + std::to_string(SIGALRM);
  const std::pair<const char*, std::string> kFates[] = {
      {"good", "query open loaded"},
      {"not_elf", "dlopen"},
      {"truncated_elf", "signal " + std::to_string(SIGBUS)},  // worse than a refusal: dlopen itself crashes
      {"no_symbol", "dlsym"},
      {"abort_in_query", "query " + abort},
      {"hang_in_query", "query " + hang},
      {"exit_in_query", "query exit 0"},
      {"null_query", "query NULL"},
      {"other_abi", "query another ABI"},
      {"other_abi_hidden", "query another ABI"},
      {"name_differs", "query another name"},
      {"null_name", "query no name"},
      {"small_struct", "query small table"},
      {"rows_differ", "query other rows"},
      {"row_stride", "query other stride"},
      {"no_functions", "query no plan_run"},
      {"crash_in_open", "query open " + crash},
      {"hang_in_open", "query open " + hang},
      {"fail_in_open", "query open bad: expected a licence server, found none"},
      {"throw_in_open", "query open " + abort},
      {"cpu_feature", "query open loaded"},
      {"manifest_json", "query open loaded"},
      {"manifest_differs", "query open loaded"},
      {"no_manifest", "query open loaded"},
  };
  for (const auto& [name, expected] : kFates) EXPECT_EQ(fate(name), expected) << name;
}

TEST(BadPlugins, HaveTheManifestsTheySay) {
  const auto embedded = [](const std::string& name) {
    const std::string library = file(name, "libtengen_" + name + ".so"), text = file(name, name + ".plugin.json");
    return !text.empty() && library.find(text) != std::string::npos;
  };
  for (const char* name : {"good", "null_query", "other_abi", "name_differs", "rows_differ", "cpu_feature"})
    EXPECT_TRUE(embedded(name)) << name;
  for (const char* name : {"manifest_json", "manifest_differs", "no_manifest", "not_elf"})
    EXPECT_FALSE(embedded(name)) << name;
  EXPECT_NE(file("other_abi", "other_abi.plugin.json").find("\"min\": \"7.0\""), std::string::npos);
  EXPECT_NE(file("other_abi_hidden", "other_abi_hidden.plugin.json").find("\"min\": \"0.9\""), std::string::npos);
  EXPECT_NE(file("cpu_feature", "cpu_feature.plugin.json").find("avx4096"), std::string::npos);
  EXPECT_NE(file("manifest_differs", "manifest_differs.plugin.json").find("f64"), std::string::npos);
  EXPECT_EQ(file("no_manifest", "no_manifest.plugin.json"), "");
  EXPECT_EQ(file("no_manifest", "libtengen_no_manifest.so").find("\"vendor\""), std::string::npos);
}

}  // namespace
