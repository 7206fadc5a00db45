// SPDX-License-Identifier: Apache-2.0
// Streams and events over the device providers' tables. Host memory has no stream: NULL, and everything is done.
#include "runtime/device.h"

namespace tg {
namespace {

// The calling thread's current stream by device index; NULL: the default one.
thread_local std::vector<Stream*> t_current;

}  // namespace

void raise_status(int32_t status, const tg_error& error, const std::string& where) {
  ErrorKind kind = ErrorKind::runtime;
  switch (status) {
    case TG_INVALID_ARGUMENT: kind = ErrorKind::value; break;
    case TG_OUT_OF_RANGE: kind = ErrorKind::index; break;
    case TG_RESOURCE_EXHAUSTED: kind = ErrorKind::memory; break;
    case TG_UNIMPLEMENTED: kind = ErrorKind::not_implemented; break;
    case TG_DEVICE_LOST: kind = ErrorKind::device_lost; break;
    default: break;
  }
  std::string text = error.message[0] ? error.message : "failed without a message";
  const bool mistake = kind == ErrorKind::value || kind == ErrorKind::index;  // the caller's
  if (const size_t end = text.find("] "); mistake && text[0] == '[' && end != text.npos)
    text.erase(0, end + 2);  // the kernel's own name
  text.insert(0, "[" + where + "] ");
  if (error.launch_id) {
    const char* op = launched_op(error.launch_id);
    text += " (launch " + std::to_string(error.launch_id);
    if (*op) text += std::string(", ") + op;
    text += ")";
  }
  if (!mistake || !error.message[0]) text += ", status " + std::to_string(status);
  throw Error(kind, text);
}

bool Stream::alive() {
  if (forked()) return false;
  std::lock_guard lock(handle_mutex_);
  return handle != nullptr;
}

void Stream::check_fork() const {
  if (forked()) [[unlikely]] device->check_usable();
}

void* Stream::living_handle(const char* what) const {
  if (!handle)
    raise(ErrorKind::runtime, "[", what, "] expected a living stream of ", device->name,
          ", got one that destroy_stream has ended; make another current with set_current_stream");
  return handle;
}

void Stream::drop_kept() {
  for (auto& kept : kept_) destroy_event(kept.first);
  kept_.clear();
}

void Stream::close() {
  if (!device->takes_back()) return;
  std::lock_guard lock(mutex);
  void* old;
  {
    std::lock_guard swap(handle_mutex_);
    old = std::exchange(handle, nullptr);
    native = nullptr;
  }
  if (!old) return;
  device->api->stream_destroy(device->instance, device->provider_index, old);
  drop_kept();
}

void Stream::sync() {
  check_fork();
  std::lock_guard lock(mutex);
  if (!handle) return;
  device->check_usable();
  tg_error error{};
  const int32_t status = device->api->stream_sync(device->instance, device->provider_index, handle, &error);
  if (status != TG_OK) {
    recover();
    device->fail(status, error, device->name);
  }
  drop_finished();
}

void Stream::recover() {
  if (device->lost || !device->takes_back()) return;
  std::lock_guard lock(mutex);
  if (!handle) return;
  const tg_device_api* api = device->api;
  tg_error error{};
  const int32_t status = api->stream_query(device->instance, device->provider_index, handle, &error);
  if (status == TG_OK || status == TG_UNAVAILABLE || status == TG_DEVICE_LOST) return;
  void *fresh = nullptr, *fresh_native = nullptr;
  if (api->stream_create(device->instance, device->provider_index, &fresh, &fresh_native, &error) != TG_OK) return;
  void* failed;
  {
    std::lock_guard swap(handle_mutex_);
    failed = std::exchange(handle, fresh);
    native = fresh_native;
  }
  api->stream_destroy(device->instance, device->provider_index, failed);  // waits: what it keeps may go afterwards
  drop_kept();
}

bool Stream::idle() {
  check_fork();
  std::lock_guard lock(handle_mutex_);
  if (!handle) return true;
  device->check_usable();
  tg_error error{};
  const int32_t status = device->api->stream_query(device->instance, device->provider_index, handle, &error);
  if (status == TG_UNAVAILABLE) return false;
  if (status != TG_OK) device->fail(status, error, device->name);
  return true;
}

void Stream::drop_finished() {
  while (!kept_.empty()) {
    Event* event = kept_.front().first;
    tg_error error{};
    if (device->api->event_query(device->instance, device->provider_index, event->handle, &error) == TG_UNAVAILABLE) return;
    destroy_event(event);
    kept_.pop_front();
  }
}

void Stream::keep_until_done(Ref<Storage> host_memory) {
  check_fork();
  std::lock_guard lock(mutex);
  if (!handle) return;
  drop_finished();
  kept_.emplace_back(record_event(this), std::move(host_memory));
}

Stream* current_stream(Device* device) {
  if (size_t(device->index) < t_current.size() && t_current[device->index]) return t_current[device->index];
  return device->default_stream();
}
void set_current_stream(Device* device, Stream* stream) {
  check(!stream || stream->device == device, "[set_current_stream] expected a stream of ", device->name);
  if (size_t(device->index) >= t_current.size()) t_current.resize(device->index + 1);
  t_current[device->index] = stream;
}
Stream* create_stream(Device* device) { return device->new_stream(); }
void destroy_stream(Stream* stream) {
  if (stream->own) stream->close();
}
Device* stream_device(const Stream* stream) { return stream->device; }
void synchronize(Stream* stream) { stream->sync(); }
bool query(Stream* stream) { return stream->idle(); }

Event* record_event(Stream* stream) {
  Device* d = stream->device;
  stream->check_fork();
  std::lock_guard lock(stream->mutex);
  if (!stream->handle) return new Event{d, nullptr};
  d->check_usable();
  tg_error error{};
  void* handle = nullptr;
  int32_t status = d->api->event_create(d->instance, d->provider_index, &handle, &error);
  if (status != TG_OK) d->fail(status, error, d->name);
  status = d->api->event_record(d->instance, d->provider_index, handle, stream->handle, &error);
  if (status != TG_OK) {
    d->api->event_destroy(d->instance, d->provider_index, handle);
    d->fail(status, error, d->name);
  }
  return new Event{d, handle};
}

void wait_event(Stream* stream, Event* event) {
  if (!event->handle) return;
  Device* d = stream->device;
  if (d != event->device) return synchronize(event);  // other devices: the host waits
  d->check_usable();
  tg_error error{};
  std::lock_guard lock(stream->mutex);
  const int32_t status = d->api->stream_wait(d->instance, d->provider_index, stream->living_handle("wait_event"), event->handle, &error);
  if (status != TG_OK) d->fail(status, error, d->name);
}

bool query(Event* event) {
  if (!event->handle) return true;
  Device* d = event->device;
  d->check_usable();
  tg_error error{};
  const int32_t status = d->api->event_query(d->instance, d->provider_index, event->handle, &error);
  if (status == TG_UNAVAILABLE) return false;
  if (status != TG_OK) d->fail(status, error, d->name);
  return true;
}

void synchronize(Event* event) {
  if (!event->handle) return;
  Device* d = event->device;
  d->check_usable();
  tg_error error{};
  const int32_t status = d->api->event_sync(d->instance, d->provider_index, event->handle, &error);
  if (status != TG_OK) d->fail(status, error, d->name);
}

void destroy_event(Event* event) {
  const Device& d = *event->device;
  if (event->handle && d.takes_back()) d.api->event_destroy(d.instance, d.provider_index, event->handle);
  delete event;
}

}  // namespace tg
