// SPDX-License-Identifier: Apache-2.0
// Device: streams, the kernels that can run there, failure.
#include "runtime/device.h"

#include <algorithm>

namespace tg {

Device::Device(std::string kind, int kind_index, int index)
    : kind(std::move(kind)), index(index), allocator(this) {
  name = this->kind + ":" + std::to_string(kind_index);
}
Device::~Device() = default;

void Device::check_usable() const {
  if (host) return;
  if (forked())
    raise(ErrorKind::runtime, name, " cannot be used in a forked process: start workers with forkserver or spawn");
  if (ended.load(std::memory_order_acquire))
    raise(ErrorKind::runtime, name, " cannot be used any more: the runtime was shut down (shutdown, or the end of Python)");
  if (lost.load(std::memory_order_relaxed))
    raise(ErrorKind::device_lost, name, " was lost earlier in this process; other devices go on");
}

void Device::fail(int32_t status, const tg_error& error, const std::string& where) {
  if (status == TG_DEVICE_LOST) lost = true;
  raise_status(status, error, where);
}

Stream* Device::new_stream() {
  check_usable();
  auto stream = std::make_unique<Stream>(this, true);
  if (!host) {
    tg_error error{};
    const int32_t status = api->stream_create(instance, provider_index, &stream->handle, &stream->native, &error);
    if (status != TG_OK) fail(status, error, name);
  }
  std::lock_guard lock(mutex_);
  streams_.push_back(std::move(stream));
  return streams_.back().get();
}

Stream* Device::default_stream() {
  {
    std::lock_guard lock(mutex_);
    for (auto& s : streams_)
      if (!s->own) return s.get();
  }
  Stream* s = new_stream();
  std::lock_guard lock(mutex_);
  for (auto& other : streams_)
    if (!other->own) return other.get();  // another thread was first
  s->own = false;
  return s;
}

void Device::end() {
  for (Stream* s : all_streams()) s->close();
  ended.store(true, std::memory_order_release);
}

std::vector<Stream*> Device::all_streams() {
  std::lock_guard lock(mutex_);
  std::vector<Stream*> all;
  for (auto& s : streams_) all.push_back(s.get());
  return all;
}

void Device::synchronize() {
  std::exception_ptr first;
  for (Stream* s : all_streams()) try {
      s->sync();
    } catch (const Error&) {
      if (!first) first = std::current_exception();
    }
  if (first) std::rethrow_exception(first);
}

void Device::forget_kernels() {
  std::lock_guard lock(mutex_);
  kernels_.clear();
}

namespace {

// "" when a row serves this device; else why not.
std::string domain_refusal(const Device& device, const registry::LoadedPlugin& plugin, const registry::Row& row) {
  const char* domain = row.row.domain;
  const bool own = device.provider == &plugin;
  if (!domain) return own ? "" : "is for the plugin's own devices";
  const std::string text = domain;
  if (text == device.domain) return "";
  if (text.size() > 2 && text.ends_with(":*") && text.substr(0, text.size() - 2) == device.kind && !device.host) return "";
  return "is for memory domain " + text + ", the device has " + device.domain;
}

std::string feature_refusal(const Device& device, const registry::Row& row) {
  if (device.host) return row.missing_features.empty() ? "" : "needs features that this processor lacks: " + row.missing_features;
  if (!row.row.features) return "";
  const std::string have = " " + device.features + " ";
  std::string word, missing;
  for (const char* p = row.row.features;; ++p) {
    if (*p && *p != ' ') {
      word += *p;
      continue;
    }
    if (!word.empty() && have.find(" " + word + " ") == std::string::npos) missing += " " + word;
    word.clear();
    if (!*p) break;
  }
  return missing.empty() ? "" : "needs device features that are absent:" + missing;
}

}  // namespace

bool Device::served_by(std::span<registry::LoadedPlugin* const> plugins) const {
  for (const registry::LoadedPlugin* plugin : plugins)
    for (const registry::Row& row : plugin->rows)
      if (domain_refusal(*this, *plugin, row).empty()) return true;
  return false;
}

const KernelSet& Device::kernels(const std::string& op) {
  std::lock_guard lock(mutex_);
  auto& slot = kernels_[op];
  if (slot) return *slot;
  slot = std::make_unique<KernelSet>();
  for (const Runtime::Place& place : Runtime::get().ranking(*this, op)) {
    const registry::LoadedPlugin* plugin = place.plugin;
    if (!plugin->brings_kernels()) continue;
    slot->ranks[plugin] = place.reason;
    for (uint32_t i : plugin->rows_for(op)) {
      const registry::Row& row = plugin->rows[i];
      RowRef ref{plugin, &row, i, provider == plugin};
      std::string why = domain_refusal(*this, *plugin, row);
      if (why.empty() && place.left_out) why = place.reason;
      if (why.empty()) why = feature_refusal(*this, row);
      if (!why.empty()) {
        slot->unusable.emplace_back(ref, why);
        continue;
      }
      slot->rows.push_back(ref);
      slot->layouts |= row.layouts.any();
      slot->bakes_dims |= row.row.bake_dims != 0 || row.layouts.any();
      slot->bakes_strides |= row.row.bake_strides != 0;
    }
  }
  return *slot;
}

}  // namespace tg
