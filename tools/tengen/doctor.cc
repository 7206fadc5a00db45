// SPDX-License-Identifier: Apache-2.0
// tengen doctor: checks the installation, line by line. Exit code 1: something must be put right.
#include <fcntl.h>
#include <tengen/op.h>
#include <tengen/plugins.h>
#include <tengen/runtime.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <set>

#include "commands.h"

namespace tg::cli {
namespace {

class Report {
 public:
  Report() : table_({{"check", "CHECK"}, {"result", "RESULT"}, {"text", "WHAT"}}) {}
  void ok(const char* check, const std::string& text) { table_.row({check, good("ok"), text}); }
  void attend(const char* check, const std::string& text) { table_.row({check, warn("note"), text}); }
  void fail(const char* check, const std::string& text) {
    table_.row({check, bad("wrong"), text});
    ++failures_;
  }
  int failures() const { return failures_; }
  const Table& table() const { return table_; }

 private:
  Table table_;
  int failures_ = 0;
};

std::string joined(const std::vector<std::string>& list, const char* separator = " ") {
  std::string out;
  for (const auto& w : list) out += (out.empty() ? "" : separator) + w;
  return out;
}

// What loading said of a plugin is the last word.
void check_plugins(Report& r, const std::vector<PluginInfo>& loaded) {
  std::vector<std::string> usable;
  for (const auto& c : list_plugins()) {
    std::string status = registry::to_string(c.status), reason = c.reason;
    bool fine = c.usable();
    for (const PluginInfo& p : loaded) {
      if (fine && !p.usable && p.library == c.library.string()) fine = false, status = p.status, reason = p.reason;
    }
    if (fine) {
      usable.push_back(c.name);
      for (const auto& note : c.notes) r.attend("plugin", c.name + ": " + note);
      for (const auto& problem : manifest_problems(c)) r.attend("plugin", c.name + ": " + problem);
    } else if (c.status != registry::Status::kShadowed) {
      r.fail("plugin", c.name + " (" + status + "): " + reason);
    }
  }
  if (usable.empty())
    r.fail("plugins", "none is usable; TENGEN_PLUGIN_PATH names directories to search, `tengen plugins` lists them");
  else
    r.ok("plugins", joined(usable, ", "));
}

void check_probe(Report& r) {
  const auto o = probe_options();
  if (o.policy == registry::ProbePolicy::kNever)
    r.attend("probe", "TENGEN_PROBE=never: a plugin that crashes takes this process with it");
  else if (o.executable.empty())
    r.attend("probe", "tengen-probe was not found; a forked child is used, in which plugins with threads may hang");
  else if (access(o.executable.c_str(), X_OK) != 0)
    r.fail("probe", o.executable.string() + " cannot be run; TENGEN_PROBE_EXECUTABLE names another");
  else
    r.ok("probe", o.executable.string());
  if (o.cache.empty()) {
    r.attend("probe cache", "neither XDG_CACHE_HOME nor HOME is set: every start tries the plugins again");
    return;
  }
  std::error_code error;
  std::filesystem::create_directories(o.cache.parent_path(), error);
  if (error || access(o.cache.parent_path().c_str(), W_OK) != 0)
    r.attend("probe cache", o.cache.parent_path().string() + " cannot be written: every start tries the plugins again");
  else
    r.ok("probe cache", o.cache.string());
}

// What must hold once the plugins are loaded: what the manifests promised, a device, the floor.
void check_runtime(Report& r) {
  const auto list = devices();
  bool usable = false;
  for (const auto& d : list) {
    usable |= d.usable;
    if (d.usable)
      r.ok("device", d.name + ": " + d.product + (d.reason.empty() ? "" : " (" + d.reason + ")"));
    else
      r.attend("device", d.name + ": " + d.reason);
  }
  if (usable) {
    default_device();
    r.ok("default", default_device_reason());
  } else {
    r.fail("device", "none is usable");
  }
  r.ok("threads",
       std::to_string(num_threads()) + " of " + std::to_string(sysconf(_SC_NPROCESSORS_ONLN)) + " processors");

  std::set<std::string> runs, all;
  for (const auto& cell : coverage()) {
    all.insert(cell.op);
    if (cell.state != "no") runs.insert(cell.op);
  }
  std::vector<std::string> nowhere;
  for (const auto& op : all) {
    if (!runs.count(op)) nowhere.push_back(op);
  }
  if (all.empty())
    r.fail("ops", "no plugin with kernels could be loaded");
  else if (!nowhere.empty())
    r.fail("ops", "no plugin can run " + joined(nowhere, ", "));
  else
    r.ok("ops", std::to_string(all.size()) + " ops, each can run somewhere");

  if (all.empty()) return;
  const Op* add = find_op("add");  // one sum, from start to end
  if (!add) return r.fail("a sum", "there is no op named add");
  const TensorSpec four{DType::f32, {Dim(4)}};
  const TensorSpec inputs[] = {four, four};
  const Why w = why(*add, inputs, {}, default_device());
  if (w.verdict == "kernel")
    r.ok("a sum", "f32 addition has a kernel on " + w.device);
  else
    r.fail("a sum", "f32 addition on " + w.device + ": " + w.verdict);
}

void check_environment(Report& r) {
  const char* names[] = {"TENGEN_PLUGIN_PATH",   "TENGEN_PLUGIN", "TENGEN_DEVICE",   "TENGEN_PROBE",
                         "TENGEN_PROBE_TIMEOUT", "TENGEN_DEBUG",  "OMP_NUM_THREADS", "GOMP_SPINCOUNT"};
  std::vector<std::string> set;
  for (const char* name : names) {
    if (const char* value = std::getenv(name); value && *value) set.push_back(std::string(name) + "=" + value);
  }
  r.ok("environment", set.empty() ? "nothing is set" : joined(set));
  const std::string probe = std::getenv("TENGEN_PROBE") ? std::getenv("TENGEN_PROBE") : "";
  if (!probe.empty() && probe != "auto" && probe != "always" && probe != "never")
    r.fail("environment", "TENGEN_PROBE: expected auto, always or never, got '" + probe + "'");
  std::set<std::string> known;
  for (const auto& c : registry::scan(scan_options())) known.insert(c.name);
  for (const auto& pin : registry::pin_from_environment().names) {
    if (!known.count(pin))
      r.fail("environment", "TENGEN_PLUGIN names '" + pin + "', but no plugin of that name was found");
  }
}

}  // namespace

int run_doctor(const Context& context) {
  prepare_core();
  Report r;
  r.ok("ABI", registry::abi_text(TG_ABI_VERSION));
  r.ok("cpu", std::string(registry::cpu_architecture()) + ": " + joined(registry::cpu_features()));
  check_environment(r);
  check_probe(r);
  std::vector<PluginInfo> loaded;
  try {
    loaded = plugins();
    check_plugins(r, loaded);
    check_runtime(r);
  } catch (const std::exception& e) {
    if (loaded.empty()) check_plugins(r, {});
    r.fail("runtime", e.what());
  }
  r.table().print(context);
  if (!context.json) {
    std::printf("\n%s\n", r.failures()
                              ? paint(context, Style::kBad, std::to_string(r.failures()) + " to put right").c_str()
                              : paint(context, Style::kGood, "all is well").c_str());
  }
  return r.failures() ? kNone : kOk;
}

}  // namespace tg::cli
