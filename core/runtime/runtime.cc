// SPDX-License-Identifier: Apache-2.0
// The process: plugins found and loaded, devices listed, one chosen.
#include "runtime/device.h"

#include <tengen/plugins.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

namespace tg {
namespace {

struct Settings {
  registry::ScanOptions scan;
  std::string probe;
  PluginPolicy policy;
};
Settings& settings() {
  static Settings s;
  return s;
}
std::atomic<bool> g_started{false};
Runtime* g_runtime = nullptr;

std::string host_product() {
  std::string text = "host memory, ";
  return text + std::to_string(num_threads()) + " threads";
}

}  // namespace

Runtime& Runtime::get() {
  // Never destroyed: tensors may outlive every static.
  static Runtime* runtime = [] {
    g_runtime = new Runtime();
    g_started = true;
    for (auto& d : g_runtime->devices) d->forget_kernels();
    return g_runtime;
  }();
  return *runtime;
}

Runtime::Runtime() : registry([] {
  auto options = registry::ProbeOptions::from_environment();
  if (options.executable.empty() && !settings().probe.empty()) options.executable = settings().probe;
  return options;
}()) {
  host_table = make_host_table();
  devices.push_back(std::make_unique<Device>(registry::host_kind(), 0, 0));
  host = devices[0].get();
  host->host = true;
  host->domain = "host";
  host->product = host_product();
  host->provider_name = "core";
  host->memory_bytes = uint64_t(sysconf(_SC_PHYS_PAGES)) * uint64_t(sysconf(_SC_PAGE_SIZE));
  for (registry::Candidate& c : registry.scan(settings().scan)) {
    if (!c.usable()) {
      if (debug_enabled()) debug_line("plugin " + c.name + ": " + c.reason);
      continue;
    }
    registry::LoadedPlugin* plugin = registry.load(c, host_table);
    if (!plugin) {
      if (debug_enabled()) debug_line("plugin " + c.name + ": " + c.reason);
      continue;
    }
    if (plugin->brings_devices()) add_devices(plugin);
  }
  for (auto& d : devices)  // a line without a device leaves its name to one that another plugin brings
    for (auto& other : devices)
      if (other != d && other->name == d->name && !d->provider && !d->host) d->name = d->kind + "@" + d->provider_name + ":0";
  const registry::Pin pinned = registry::pin_from_environment();
  for (const std::string& pin : pinned.names)
    if (!registry.find(pin))
      std::fprintf(stderr, "tengen warning: TENGEN_PLUGIN names %s, which is not loaded; see `tengen plugins`\n", pin.c_str());
  for (const std::string& name : settings().policy.prefer)
    if (debug_enabled() && !registry.find(name)) debug_line("the plugin policy prefers " + name + ", which is not loaded");
  ranked = providers_for(*host);
  std::string names;
  for (auto* p : ranked)
    if (p->brings_kernels()) {
      bool serves = false;
      for (const auto& r : p->rows) serves = serves || (r.row.domain && std::string(r.row.domain) == "host");
      if (serves) names += (names.empty() ? "" : ", ") + p->name;
    }
  host->usable = !names.empty();
  host->reason = host->usable  ? "kernels from " + names
                 : pinned.only ? "TENGEN_PLUGIN=only:... leaves no plugin with kernels for host memory"
                               : "no plugin with kernels for host memory was found; see `tengen plugins`";
  if (pinned.only)
    for (auto& d : devices)
      if (!d->host && d->usable && !d->served_by(providers_for(*d))) {
        d->usable = false;
        d->reason = "TENGEN_PLUGIN=only:... leaves no plugin with kernels for it (its own is " + d->provider_name + ")";
      }
}

void Runtime::add_devices(registry::LoadedPlugin* plugin) {
  tg_error error{};
  uint32_t count = 0;
  const tg_device_api* api = plugin->table.devices;
  int32_t status = api->device_count(plugin->instance, &count, &error);
  error.message[sizeof error.message - 1] = 0;
  if (status != TG_OK || count == 0) {  // a line that says why there is none
    auto d = std::make_unique<Device>(plugin->manifest.devices.empty() ? plugin->name : plugin->manifest.devices[0].kind, 0,
                                      int(devices.size()));
    d->usable = false;
    d->provider_name = plugin->name;
    d->reason = status != TG_OK ? std::string("device_count failed: ") + error.message
                                : "plugin " + plugin->name + " found no such device on this machine";
    devices.push_back(std::move(d));
    return;
  }
  for (uint32_t i = 0; i < count; ++i) {
    tg_device_info info{};
    info.struct_size = sizeof info;
    status = api->device_info(plugin->instance, int32_t(i), &info, &error);
    const std::string kind = status == TG_OK && info.kind ? info.kind
                             : plugin->manifest.devices.empty() ? plugin->name : plugin->manifest.devices[0].kind;
    int same_kind = 0;
    bool other_provider = false;
    for (auto& d : devices)
      if (d->kind == kind && (d->provider || d->host)) {
        if (d->provider_name == plugin->name) ++same_kind;
        else other_provider = true;
      }
    auto d = std::make_unique<Device>(kind, same_kind, int(devices.size()));
    if (other_provider) d->name = kind + "@" + plugin->name + ":" + std::to_string(same_kind);
    d->provider = plugin;
    d->provider_name = plugin->name;
    d->api = api;
    d->instance = plugin->instance;
    d->provider_index = int32_t(i);
    d->fallback = plugin->manifest.fallback;
    if (status != TG_OK) {
      d->usable = false;
      d->reason = std::string("device_info failed: ") + error.message;
    } else {
      d->product = info.name ? info.name : "";
      d->domain = info.domain ? info.domain : kind + ":" + plugin->name + ":" + std::to_string(i);
      d->features = info.features ? info.features : "";
      d->memory_bytes = info.memory_bytes;
      d->allocator.set_alignment(std::max<uint64_t>(info.alignment, 64));
      d->native_device = info.native_device;
      d->native_context = info.native_context;
      d->reason = "driven by " + plugin->name;
    }
    devices.push_back(std::move(d));
  }
}

namespace {

registry::RankPolicy rank_policy() {
  registry::RankPolicy policy;
  registry::Pin pin = registry::pin_from_environment();
  policy.pin = std::move(pin.names);
  policy.only = pin.only;
  policy.prefer = settings().policy.prefer;
  return policy;
}

}  // namespace

std::vector<Runtime::Place> Runtime::ranking(const Device& device, const std::string& op) {
  std::vector<registry::LoadedPlugin*> loaded = registry.loaded();
  std::vector<registry::Provider> providers;
  for (auto* p : loaded) providers.push_back({p->name, p->manifest.fallback && p != device.provider});
  registry::RankPolicy policy = rank_policy();
  policy.device_provider = device.provider ? device.provider->name : "";
  const auto& measured = settings().policy.measured_ns;
  if (const auto here = measured.find(device.name); here != measured.end())
    if (const auto figures = here->second.find(op); figures != here->second.end())
      policy.measured = [&map = figures->second](const std::string& plugin) -> std::optional<double> {
        const auto it = map.find(plugin);
        return it == map.end() ? std::nullopt : std::optional(it->second);
      };
  std::vector<Place> out;
  for (auto& r : registry::rank(providers, policy)) out.push_back({loaded[r.index], std::move(r.reason), r.left_out});
  return out;
}

std::vector<registry::LoadedPlugin*> Runtime::providers_for(const Device& device) {
  std::vector<registry::LoadedPlugin*> out;
  for (const Place& p : ranking(device))
    if (!p.left_out) out.push_back(p.plugin);
  return out;
}

Device* Runtime::find(std::string_view name) {
  const std::string text(name);
  for (auto& d : devices)
    if (d->name == text || (text == d->kind && d->name == d->kind + ":0") ||
        text == d->kind + "@" + d->provider_name + d->name.substr(d->name.rfind(':'))) {  // also the first provider's
      if (!d->usable) raise(ErrorKind::value, "device ", d->name, " is not usable: ", d->reason);
      return d.get();
    }
  std::string list;
  for (auto& d : devices) list += "\n  " + d->name + (d->usable ? "  usable, " : "  not usable, ") + d->reason;
  for (const auto& c : registry.candidates())
    if (!c.usable() && c.status != registry::Status::kShadowed) list += "\n  plugin " + c.name + ": " + c.reason;
  raise(ErrorKind::value, "expected a device of this machine, got '", text, "'. There are:", list);
}

Device* Runtime::pick_default(std::string* reason) {
  if (const char* pinned = std::getenv("TENGEN_DEVICE"); pinned && *pinned) {
    Device* d = find(pinned);
    *reason = d->name + ": pinned by TENGEN_DEVICE";
    return d;
  }
  std::vector<Device*> able;
  std::vector<registry::Provider> providers;
  for (auto& d : devices)
    if (!d->host && d->usable && !d->fallback) {
      able.push_back(d.get());
      providers.push_back({d->provider_name, false});
    }
  if (!able.empty()) {  // several devices of one plugin rank alike and stay in its order
    registry::RankPolicy policy = rank_policy();
    policy.only = false;  // devices that it leaves without kernels are not usable, and so not here
    const registry::Ranked best = registry::rank(providers, policy)[0];
    Device* d = able[best.index];
    *reason = d->name + ": an accelerator, driven by plugin " + d->provider_name;
    if (able.size() > 1) *reason += "; the first of " + std::to_string(able.size()) + " (" + best.reason + ")";
    return d;
  }
  *reason = host->name + ": no accelerator is usable here; " + host->reason;
  return host;
}

Device* Runtime::default_device() {
  if (Device* d = default_.load(std::memory_order_acquire)) return d;
  std::lock_guard lock(default_mutex_);
  if (Device* d = default_.load(std::memory_order_acquire)) return d;  // another thread was first
  Device* d = pick_default(&default_reason_);
  default_ = d;
  return d;
}

std::string Runtime::default_reason() {
  Device* d = default_device();
  std::lock_guard lock(default_mutex_);
  return default_reason_.rfind(d->name + ":", 0) == 0 ? default_reason_ : d->name + ": set by set_default_device";
}

void Runtime::end() {
  if (ended_.exchange(true)) return;
  if (forked()) return;
  print_fallbacks();
  for (auto& d : devices)
    if (!d->host) {
      try {
        d->allocator.empty_cache();  // waits for all that was enqueued
      } catch (const Error& e) {
        std::fprintf(stderr, "tengen: at exit: %s\n", e.what());
      }
      d->lost = true;  // nothing may be enqueued from here on
      d->end();
    }
  end_plans();
  for (auto& d : devices) d->forget_kernels();
  registry.shutdown_all();
}

// ---- the public functions -------------------------------------------------------------------------------------------------

namespace {
uint64_t memory_free(const Device& d) {
  if (d.host) return uint64_t(std::max(0L, sysconf(_SC_AVPHYS_PAGES))) * uint64_t(sysconf(_SC_PAGE_SIZE));
  if (!d.usable || d.lost || forked() || !d.api->memory_info) return 0;
  uint64_t free = 0, total = 0;
  tg_error error{};
  return d.api->memory_info(d.instance, d.provider_index, &free, &total, &error) == TG_OK ? free : 0;
}
}  // namespace

std::vector<DeviceInfo> devices() {
  std::vector<DeviceInfo> out;
  for (auto& d : Runtime::get().devices)
    out.push_back({d->name, d->kind, d->product, d->provider_name, d->domain, d->usable, d->reason, d->memory_bytes, memory_free(*d)});
  return out;
}
Device* find_device(std::string_view name) { return Runtime::get().find(name); }
Device* default_device() { return Runtime::get().default_device(); }
void set_default_device(Device* device) { Runtime::get().set_default(device); }
Device* host_device() { return Runtime::get().host; }
const std::string& device_name(const Device* device) { return device->name; }
bool is_host(const Device* device) { return device->host; }
std::string default_device_reason() { return Runtime::get().default_reason(); }
MemoryStats memory_stats(Device* device) { return device->allocator.stats(); }
void reset_peak_memory(Device* device) { device->allocator.reset_peak(); }
void empty_cache(Device* device) { device->allocator.empty_cache(); }
void synchronize(Device* device) { device->synchronize(); }

void add_plugin_directory(const std::string& path) {
  check(!g_started, "[add_plugin_directory] expected a call before the first use of a device");
  settings().scan.extra_dirs.push_back(path);
}
void add_plugin_path(const std::string& path) {
  check(!g_started, "[add_plugin_path] expected a call before the first use of a device");
  settings().scan.paths.push_back(path);
}
void set_plugin_policy(PluginPolicy policy) {
  check(!g_started, "[set_plugin_policy] expected a call before the first use of a device");
  settings().policy = std::move(policy);
}
void set_probe_path(const std::string& executable) { settings().probe = executable; }
void shutdown() {
  if (g_started) g_runtime->end();
}

namespace {
std::string quote(const std::string& s) {
  std::string out = "\"";
  for (unsigned char c : s) {
    if (c == '"' || c == '\\') out += '\\', out += char(c);
    else if (c < 0x20) {
      char buffer[8];
      std::snprintf(buffer, sizeof buffer, "\\u%04x", c);
      out += buffer;
    } else out += char(c);
  }
  return out + "\"";
}
}  // namespace

std::vector<PluginInfo> plugins() {
  std::vector<PluginInfo> out;
  for (const auto& c : Runtime::get().registry.candidates())
    out.push_back({c.name, c.library.string(), registry::to_string(c.status), c.usable(), c.reason,
                   c.manifest ? c.manifest->vendor : "", c.manifest ? c.manifest->version : ""});
  return out;
}

std::string plugins_json() {
  std::string out = "[";
  for (const PluginInfo& p : plugins()) {
    if (out.size() > 1) out += ",";
    out += "{\"name\":" + quote(p.name) + ",\"library\":" + quote(p.library) + ",\"status\":" + quote(p.status) +
           ",\"usable\":" + (p.usable ? "true" : "false") + ",\"reason\":" + quote(p.reason) +
           ",\"vendor\":" + quote(p.vendor) + ",\"version\":" + quote(p.version) + "}";
  }
  return out + "]";
}

}  // namespace tg
