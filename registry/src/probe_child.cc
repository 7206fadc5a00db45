// SPDX-License-Identifier: Apache-2.0
//
// The part of the probe that runs in the subprocess: it does to the plugin what the host is about to do. Before each
// step it writes a line, so that the parent knows where a crash happened.
#include <sys/resource.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <nlohmann/json.hpp>

#include "internal.h"

namespace tg::registry {
namespace {

using nlohmann::json;

void say(int fd, const json& line) {
  const std::string text = line.dump(-1, ' ', true, json::error_handler_t::replace) + "\n";
  for (size_t done = 0; done < text.size();) {
    const ssize_t n = write(fd, text.data() + done, text.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) _exit(120);  // the parent has gone
    done += size_t(n);
  }
}

// A host good enough for open and shutdown.
const tg_host* probe_host() {
  static const tg_host host = [] {
    tg_host h{};
    h.struct_size = sizeof h;
    h.abi_version = TG_ABI_VERSION;
    h.log = [](int32_t, const char* message) { std::fprintf(stderr, "%s\n", message); };
    h.parallel_for = [](int64_t n, int64_t, int32_t, void (*body)(void*, int64_t, int64_t), void* context) {
      if (n > 0) body(context, 0, n);
    };
    h.scratch = [](uint64_t bytes) -> void* {
      static thread_local void* last = nullptr;
      std::free(last);
      last = bytes ? std::aligned_alloc(64, (bytes + 63) / 64 * 64) : nullptr;
      return last;
    };
    h.cache_directory = [] { return ""; };
    return h;
  }();
  return &host;
}

json list_devices(const LoadedPlugin& p) {
  json out = json::array();
  if (!p.table.devices) return out;
  uint32_t n = 0;
  tg_error error{};
  if (p.devices.device_count(p.instance, &n, &error) != TG_OK) return out;
  for (uint32_t i = 0; i < std::min(n, 256u); ++i) {
    tg_device_info info{};
    info.struct_size = sizeof info;
    if (p.devices.device_info(p.instance, int32_t(i), &info, &error) != TG_OK) continue;
    out.push_back({{"kind", info.kind ? info.kind : ""},
                   {"name", info.name ? info.name : ""},
                   {"domain", info.domain ? info.domain : ""},
                   {"memory", info.memory_bytes}});
  }
  return out;
}

}  // namespace

int probe_child(const char* library, int fd) {
  const rlimit no_core{0, 0};
  setrlimit(RLIMIT_CORE, &no_core);
  json result{{"done", true}, {"abi", 0}, {"name", ""}, {"devices", json::array()}};
  try {
    LoadedPlugin plugin;
    say(fd, {{"stage", "dlopen"}});
    tg_plugin_query_fn query;
    try {
      query = open_library(library);
    } catch (const std::exception& e) {
      result["refusal"] = e.what();
      result["transient"] = true;  // a missing dependency may be installed tomorrow
      say(fd, result);
      return 0;
    }
    say(fd, {{"stage", "query"}});
    const tg_plugin* table = query(TG_ABI_VERSION, probe_host());
    say(fd, {{"stage", "reading its table"}});
    const std::string why =
        table ? copy_table(table, plugin)
              : "its query returned no table: it cannot serve a host of ABI " + abi_text(TG_ABI_VERSION);
    if (!why.empty()) {
      result["refusal"] = why;
      say(fd, result);
      return 0;
    }
    result["abi"] = plugin.table.abi_version;
    result["name"] = plugin.name;
    say(fd, {{"stage", "open"}});
    const std::string open_error = call_open(plugin, probe_host());
    if (open_error.empty()) {
      say(fd, {{"stage", "listing its devices"}});
      result["devices"] = list_devices(plugin);
      say(fd, {{"stage", "shutdown"}});
      if (plugin.table.shutdown) plugin.table.shutdown(plugin.instance);
    } else {
      result["open_error"] = open_error;
      result["transient"] = true;
    }
  } catch (const std::exception& e) {
    result = {{"done", true}, {"exception", e.what()}};
  } catch (...) {
    result = {{"done", true}, {"exception", "of an unknown type"}};
  }
  say(fd, result);
  return 0;
}

}  // namespace tg::registry
