// SPDX-License-Identifier: Apache-2.0
#include "device.h"

namespace tg::chaos {

void Device::damage(const std::string& message) {
  std::lock_guard lock(mutex_);
  if (damage_.empty()) damage_ = "chaos:" + std::to_string(index()) + ": " + message;
}

std::string Device::damage() const {
  std::lock_guard lock(mutex_);
  return damage_;
}

void Device::check() const {
  if (lost()) throw plugin::Failure(TG_DEVICE_LOST, lost_message().c_str());
  const std::string message = damage();
  if (!message.empty()) throw plugin::Failure(TG_INTERNAL, message.c_str());
}

Instance::Instance(const tg_host* host) : host_(host), devices_{{0, settings_}, {1, settings_}} {
  kernel_host_.struct_size = sizeof kernel_host_;
  kernel_host_.abi_version = TG_ABI_VERSION;
  kernel_host_.log = host ? host->log : nullptr;
  kernel_host_.cache_directory = host ? host->cache_directory : nullptr;
  kernel_host_.parallel_for = [](int64_t n, int64_t, int32_t, void (*body)(void*, int64_t, int64_t), void* context) {
    if (n > 0) body(context, 0, n);
  };
  kernel_host_.scratch = [](uint64_t bytes) { return task_scratch().allocate(bytes); };
}

Instance::~Instance() {
  size_t blocks = 0;
  for (const Device& d : devices_) blocks += d.memory.blocks();
  // Allowed, but worth knowing: a host may end with tensors alive.
  if (!streams_.empty() || !events_.empty() || blocks)
    log(TG_LOG_INFO, "chaos: the host left " + std::to_string(streams_.size()) + " streams, " +
                         std::to_string(events_.size()) + " events and " + std::to_string(blocks) + " blocks behind");
}

void Instance::log(int32_t level, const std::string& message) const {
  if (host_ && host_->log) host_->log(level, message.c_str());
}

Device& Instance::device(int32_t index) {
  if (index < 0 || index >= kDevices)
    plugin::fail(TG_INVALID_ARGUMENT, "chaos: expected a device index below %d, got %d", kDevices, index);
  return devices_[index];
}

Stream& Instance::stream(int32_t device, void* handle) {
  std::lock_guard lock(mutex_);
  const auto it = streams_.find(handle);
  if (it == streams_.end()) plugin::fail(TG_INVALID_ARGUMENT, "chaos: %p is no living stream", handle);
  if (it->second.device != device)
    plugin::fail(TG_INVALID_ARGUMENT, "chaos: expected a stream of chaos:%d, got one of chaos:%d", device,
                 it->second.device);
  return *it->second.it;
}

Event::Point Instance::end_of(int32_t device, void* handle) {
  {
    std::lock_guard lock(mutex_);
    const auto it = ended_.find(handle);
    if (it != ended_.end() && it->second.first == device) return it->second.second;
  }
  Stream& living = stream(device, handle);
  return {living.timeline(), living.last()};
}

Event& Instance::event(int32_t device, void* handle) {
  std::lock_guard lock(mutex_);
  const auto it = events_.find(handle);
  if (it == events_.end()) plugin::fail(TG_INVALID_ARGUMENT, "chaos: %p is no living event", handle);
  if (it->second.device != device)
    plugin::fail(TG_INVALID_ARGUMENT, "chaos: expected an event of chaos:%d, got one of chaos:%d", device,
                 it->second.device);
  return *it->second.it;
}

Stream& Instance::make_stream(int32_t index) {
  Device& d = device(index);
  d.check();
  std::lock_guard lock(mutex_);
  auto made = std::make_unique<Stream>(d, settings_.seed * 1000003 + ++streams_made_);
  Stream& stream = *made;
  ended_.erase(&stream);  // the address again
  streams_[&stream] = {index, std::move(made)};
  return stream;
}

void Instance::destroy_stream(int32_t index, void* handle) {
  if (!handle) return;
  stream(index, handle);
  Owned<Stream> gone;  // joined after the lock is gone
  std::lock_guard lock(mutex_);
  const auto it = streams_.find(handle);
  if (it == streams_.end()) return;
  gone = std::move(it->second);
  streams_.erase(it);
  ended_[handle] = {index, {gone.it->timeline(), gone.it->last()}};
}

Event& Instance::make_event(int32_t index) {
  device(index);
  std::lock_guard lock(mutex_);
  auto made = std::make_unique<Event>();
  Event& event = *made;
  events_[&event] = {index, std::move(made)};
  return event;
}

void Instance::destroy_event(int32_t index, void* handle) {
  if (!handle) return;
  event(index, handle);
  std::lock_guard lock(mutex_);
  events_.erase(handle);
}

}  // namespace tg::chaos
