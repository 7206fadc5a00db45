// SPDX-License-Identifier: Apache-2.0
//
// Loads a plugin: probe, dlopen, query, open, in this order, with the checks of src/table.cc between them.
#include <dlfcn.h>
#include <sys/stat.h>

#include <algorithm>
#include <boost/dll/shared_library.hpp>
#include <cstring>
#include <set>

#include "internal.h"

namespace tg::registry {
namespace {

using FileId = std::pair<uint64_t, uint64_t>;

bool identify(const std::filesystem::path& file, struct stat& st) { return stat(file.c_str(), &st) == 0; }

// open runs at most once per process, whoever asks.
bool first_open(const FileId& file) {
  static std::mutex mutex;
  static std::set<FileId> opened;
  const std::lock_guard lock(mutex);
  return opened.insert(file).second;
}

}  // namespace

tg_plugin_query_fn open_library(const std::filesystem::path& library) {
  namespace dll = boost::dll;
  // Never deleted: its destructor would close the library.
  auto* handle = new dll::shared_library;
  try {
    handle->load(library, dll::load_mode::rtld_now | dll::load_mode::rtld_local);
  } catch (const std::exception& e) {
    std::string text = e.what();  // "boost::dll::shared_library::load() failed (dlerror system message: ...): code"
    const char marker[] = "dlerror system message: ";
    if (const size_t at = text.find(marker); at != std::string::npos) {
      text = text.substr(at + sizeof marker - 1);
      if (const size_t end = text.rfind("): "); end != std::string::npos) text.resize(end);
    }
    throw std::runtime_error("the dynamic loader refused it: " + text);
  }
  if (!handle->has("tg_plugin_query")) throw std::runtime_error("it does not export tg_plugin_query");
  return &handle->get<const tg_plugin*(uint32_t, const tg_host*)>("tg_plugin_query");
}

std::string call_open(LoadedPlugin& plugin, const tg_host* host) {
  if (!plugin.table.open) return "";
  tg_error error{};
  void* instance = nullptr;
  int32_t status;
  try {
    status = plugin.table.open(plugin.abi, host, &instance, &error);
  } catch (...) {
    return "open let an exception out, which no plugin may";
  }
  if (status == TG_OK) {
    plugin.instance = instance;
    return "";
  }
  const size_t n = strnlen(error.message, sizeof error.message);
  return format("open returned status %d: %s", status,
                n ? std::string(error.message, n).c_str() : "(the plugin gave no reason)");
}

const std::string& LoadedPlugin::sha256() const {
  std::call_once(sha_once_, [&] { sha_ = sha256_file(library); });
  return sha_;
}

std::span<const uint32_t> LoadedPlugin::rows_for(std::string_view op) const {
  const auto it = by_op_.find(op);
  return it == by_op_.end() ? std::span<const uint32_t>() : std::span<const uint32_t>(it->second);
}

Registry::Registry(ProbeOptions probe) : probe_(std::move(probe)) {}
Registry::~Registry() {
  // A plugin's threads may still use its tables; a leak at exit is the harmless side to err on.
  for (auto& plugin : plugins_) {
    if (plugin->is_open()) plugin.release();
  }
}

std::vector<Candidate>& Registry::scan(const ScanOptions& options) {
  std::vector<Candidate> found = tg::registry::scan(options);
  const std::lock_guard lock(mutex_);
  std::erase_if(candidates_,
                [](const Candidate& c) { return c.status != Status::kLoaded && c.status != Status::kClosed; });
  const size_t kept = candidates_.size();
  for (Candidate& c : found) {
    bool known = false;
    for (size_t i = 0; i < kept; ++i) {
      const Candidate& old = candidates_[i];
      if (old.name != c.name || !(c.usable() || c.status == Status::kShadowed)) continue;
      known |= old.library == c.library;
      c.status = Status::kShadowed;
      c.reason = "a plugin of this name is loaded already: " + old.library.string();
    }
    if (!known) candidates_.push_back(std::move(c));
  }
  return candidates_;
}

LoadedPlugin* Registry::load(Candidate& candidate, const tg_host* host) {
  const std::lock_guard lock(mutex_);
  try {
    return load_locked(candidate, host);
  } catch (const std::exception& e) {
    candidate.status = Status::kLoadFailed;
    candidate.reason = e.what();
  } catch (...) {
    candidate.status = Status::kLoadFailed;
    candidate.reason = "it let an exception of an unknown type out while it was loaded, which no plugin may";
  }
  return nullptr;
}

LoadedPlugin* Registry::load_locked(Candidate& c, const tg_host* host) {
  const auto refuse = [&](Status status, const std::string& reason) {
    c.status = status;
    c.reason = reason;
    return nullptr;
  };
  for (const auto& p : plugins_) {
    if (c.status == Status::kLoaded && p->library == c.library && p->is_open()) return p.get();
    if (c.status == Status::kFound && p->name == c.name)
      return refuse(Status::kLoadFailed, "a plugin of this name is loaded already: " + p->library.string());
  }
  if (c.status != Status::kFound || !c.manifest) return nullptr;  // the scan said why

  struct stat before, after;
  if (!identify(c.library, before)) return refuse(Status::kLoadFailed, "the library has gone since it was found");

  ProbeResult probed = probe(c.library, probe_);
  probed.open_error.clear();  // what open says today is for open to say
  take_verdict(c, probed);
  if (!c.usable()) return nullptr;

  auto plugin = std::make_unique<LoadedPlugin>();
  plugin->library = c.library;
  plugin->manifest = *c.manifest;
  const tg_plugin_query_fn query = open_library(c.library);
  Dl_info where;
  if (!dladdr(reinterpret_cast<const void*>(query), &where) || !where.dli_fname || !identify(where.dli_fname, after) ||
      before.st_dev != after.st_dev || before.st_ino != after.st_ino || before.st_size != after.st_size ||
      before.st_mtim.tv_sec != after.st_mtim.tv_sec || before.st_mtim.tv_nsec != after.st_mtim.tv_nsec) {
    return refuse(Status::kLoadFailed, "the file was replaced while it was being loaded; start again");
  }

  const tg_plugin* table = query(TG_ABI_VERSION, host);
  if (!table)
    return refuse(Status::kLoadFailed,
                  "its query returned no table: it cannot serve a host of ABI " + abi_text(TG_ABI_VERSION));
  if (const std::string why = copy_table(table, *plugin); !why.empty()) return refuse(Status::kLoadFailed, why);
  if (const std::string why = compare_with_manifest(*plugin, *c.manifest); !why.empty())
    return refuse(Status::kLoadFailed, why);
  if (!first_open({uint64_t(before.st_dev), uint64_t(before.st_ino)}))
    return refuse(Status::kLoadFailed, "it was opened in this process before; a plugin is opened once");
  if (const std::string why = call_open(*plugin, host); !why.empty()) return refuse(Status::kLoadFailed, why);

  plugin->open_ = true;
  for (uint32_t i = 0; i < plugin->rows.size(); ++i) plugin->by_op_[plugin->rows[i].row.op].push_back(i);
  for (auto& [op, rows] : plugin->by_op_) {
    std::stable_sort(rows.begin(), rows.end(),
                     [&](uint32_t a, uint32_t b) { return plugin->rows[a].row.score > plugin->rows[b].row.score; });
  }
  c.status = Status::kLoaded;
  c.reason.clear();
  plugins_.push_back(std::move(plugin));
  return plugins_.back().get();
}

std::vector<LoadedPlugin*> Registry::loaded() const {
  const std::lock_guard lock(mutex_);
  std::vector<LoadedPlugin*> out;
  for (const auto& p : plugins_) {
    if (p->is_open()) out.push_back(p.get());
  }
  return out;
}

LoadedPlugin* Registry::find(std::string_view name) const {
  const std::lock_guard lock(mutex_);
  for (const auto& p : plugins_) {
    if (p->is_open() && p->name == name) return p.get();
  }
  return nullptr;
}

void Registry::shutdown_all() {
  const std::lock_guard lock(mutex_);
  for (auto it = plugins_.rbegin(); it != plugins_.rend(); ++it) {
    LoadedPlugin& p = **it;
    if (!p.open_) continue;
    p.open_ = false;
    try {
      if (p.table.shutdown) p.table.shutdown(p.instance);
    } catch (...) {  // a plugin may not throw; at exit there is nobody left to tell
    }
    p.instance = nullptr;
  }
  for (Candidate& c : candidates_) {
    if (c.status == Status::kLoaded) {
      c.status = Status::kClosed;
      c.reason = "it has been shut down";
    }
  }
}

}  // namespace tg::registry
