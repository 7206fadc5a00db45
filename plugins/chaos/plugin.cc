// SPDX-License-Identifier: Apache-2.0
//
// The chaos plugin: the C tables over Instance, Stream and Launch. Read memory.h, stream.h and launch.h for what makes
// the device unlike host memory; here calls are only checked, wrapped and handed on.

#include <algorithm>
#include <cstring>
#include <string_view>
#include <utility>

#include "device.h"
#include "kernels.h"
#include "launch.h"
#include "tg_rows.inc"

namespace tg::chaos {
namespace {

Instance& self(void* instance) { return *static_cast<Instance*>(instance); }

// ---- kernels --------------------------------------------------------------------------------------------------------

struct ChaosPlan {
  Instance& instance;
  Device& device;
  const std::string op;
  const std::shared_ptr<plugin::Plan> kernel;
};

ChaosPlan& plan_of(void* plan) { return *static_cast<ChaosPlan*>(plan); }

int32_t plan_create(void* instance, const tg_call* call, void** plan, tg_error* error) {
  return plugin::guard(error, [&] {
    Device& device = self(instance).device(call->device);
    if (call->native_device != device.native())
      plugin::fail(TG_INVALID_ARGUMENT, "chaos:%d: expected the native device of device_info, got %p", device.index(),
                   call->native_device);
    *plan = new ChaosPlan{self(instance), device, call->op, reference::make_plan(self(instance).kernel_host(), *call)};
  });
}

int32_t plan_workspace(void* plan, const tg_run* shapes, uint64_t* bytes, tg_error* error) {
  return plugin::guard(error, [&] { *bytes = plan_of(plan).kernel->workspace(*shapes); });
}

int32_t plan_run(void* plan, const tg_run* run, tg_error* error) {
  return plugin::guard(
      error,
      [&] {
        ChaosPlan& p = plan_of(plan);
        Stream& stream = p.instance.stream(p.device.index(), run->stream);
        const Stream::Use use(stream);
        if (run->native_stream != static_cast<tg_chaos_stream*>(stream.native()))
          plugin::fail(TG_INVALID_ARGUMENT, "%s: expected the native handle of the stream, got %p", p.op.c_str(),
                       run->native_stream);
        p.device.check();
        const uint64_t n = p.instance.next_launch();
        const Settings& s = p.instance.settings();
        const Launch::Fate fate = n == s.lose_device   ? Launch::kLoseDevice
                                  : n == s.fail_launch ? Launch::kFail
                                                       : Launch::kRun;
        stream.enqueue(std::make_unique<Launch>(p.device, p.op, p.kernel, *run, fate));
      },
      run->launch_id);
}

void plan_destroy(void* plan) { delete &plan_of(plan); }

constexpr tg_kernel_api kKernels = {sizeof(tg_kernel_api), 0,        nullptr,     plan_create, nullptr,
                                    plan_workspace,        plan_run, plan_destroy};

// ---- devices and memory ---------------------------------------------------------------------------------------------

int32_t device_count(void*, uint32_t* count, tg_error*) {
  *count = kDevices;
  return TG_OK;
}

int32_t device_info(void* instance, int32_t index, tg_device_info* info, tg_error* error) {
  return plugin::guard(error, [&] {
    Device& device = self(instance).device(index);
    static constexpr const char* kDomains[kDevices] = {"chaos:0", "chaos:1"};
    tg_device_info mine{};
    mine.struct_size = sizeof mine;
    mine.kind = "chaos";
    mine.name = "Chaos test device";
    mine.domain = kDomains[index];
    mine.features = "";
    mine.memory_bytes = device.memory.limit();
    mine.alignment = kAlignment;
    mine.native_device = const_cast<tg_chaos_device*>(device.native());
    mine.native_context = instance;
    // The host says in struct_size how much it can take; 0 from a host that does not.
    const uint32_t room = info->struct_size ? info->struct_size : uint32_t(sizeof mine);
    std::memcpy(info, &mine, std::min<size_t>(room, sizeof mine));
  });
}

int32_t alloc(void* instance, int32_t index, uint64_t bytes, void** data, tg_error* error) {
  return plugin::guard(error, [&] {
    Device& device = self(instance).device(index);
    device.check();
    if (self(instance).next_alloc() == self(instance).settings().fail_alloc)
      plugin::fail(TG_RESOURCE_EXHAUSTED, "chaos:%d alloc: no room for %llu bytes, as TENGEN_CHAOS_FAIL_ALLOC asks",
                   index, (unsigned long long)bytes);
    *data = device.memory.allocate(bytes);
  });
}

void free_block(void* instance, int32_t index, void* data, uint64_t bytes) {
  tg_error error{};
  const int32_t status = plugin::guard(&error, [&] {
    Device& device = self(instance).device(index);
    const std::string damage = device.memory.release(data, bytes);
    if (!damage.empty()) {
      self(instance).log(TG_LOG_ERROR, "chaos:" + std::to_string(index) + " free: " + damage);
      device.damage("free: " + damage);
    }
  });
  if (status != TG_OK) self(instance).log(TG_LOG_ERROR, error.message);
}

int32_t memory_info(void* instance, int32_t index, uint64_t* free, uint64_t* total, tg_error* error) {
  return plugin::guard(error, [&] {
    const Memory& memory = self(instance).device(index).memory;
    *total = memory.limit();
    *free = memory.limit() - memory.used();
  });
}

// ---- streams and events ---------------------------------------------------------------------------------------------

class Wait : public Task {
 public:
  explicit Wait(Event::Point point) : Task(0), point_(std::move(point)) {}
  void run() override {
    if (auto problem = point_.timeline->wait_quietly(point_.n)) throw std::move(*problem);
  }

 private:
  const Event::Point point_;
};

int32_t stream_create(void* instance, int32_t device, void** stream, void** native, tg_error* error) {
  return plugin::guard(error, [&] {
    Stream& made = self(instance).make_stream(device);
    *stream = &made;
    *native = static_cast<tg_chaos_stream*>(made.native());
  });
}

void stream_destroy(void* instance, int32_t device, void* stream) {
  tg_error error{};
  if (plugin::guard(&error, [&] { self(instance).destroy_stream(device, stream); }) != TG_OK)
    self(instance).log(TG_LOG_ERROR, error.message);
}

// A problem keeps the launch id that it began with, so it is reported past guard, not through it.
template <class Report>
int32_t reported(tg_error* error, Report&& report) {
  int32_t status = TG_OK;
  const int32_t guarded = plugin::guard(error, [&] { status = report(); });
  return guarded != TG_OK ? guarded : status;
}

int32_t stream_sync(void* instance, int32_t device, void* handle, tg_error* error) {
  return reported(error, [&] {
    Stream& stream = self(instance).stream(device, handle);
    const Stream::Use use(stream);
    const int32_t status = stream.timeline()->wait(stream.last(), error);
    if (status == TG_OK) stream.device().check();
    return status;
  });
}

int32_t stream_query(void* instance, int32_t device, void* handle, tg_error* error) {
  return reported(error, [&] {
    const Event::Point end = self(instance).end_of(device, handle);
    const int32_t status = end.timeline->query(end.n, error);
    if (status == TG_OK) self(instance).device(device).check();
    return status;
  });
}

int32_t stream_wait(void* instance, int32_t device, void* handle, void* event, tg_error* error) {
  return plugin::guard(error, [&] {
    Stream& stream = self(instance).stream(device, handle);
    const Stream::Use use(stream);
    Event::Point point = self(instance).event(device, event).point();
    if (point.timeline) stream.enqueue(std::make_unique<Wait>(std::move(point)));
  });
}

int32_t event_create(void* instance, int32_t device, void** event, tg_error* error) {
  return plugin::guard(error, [&] { *event = &self(instance).make_event(device); });
}

void event_destroy(void* instance, int32_t device, void* event) {
  tg_error error{};
  if (plugin::guard(&error, [&] { self(instance).destroy_event(device, event); }) != TG_OK)
    self(instance).log(TG_LOG_ERROR, error.message);
}

int32_t event_record(void* instance, int32_t device, void* event, void* handle, tg_error* error) {
  return plugin::guard(error, [&] {
    Stream& stream = self(instance).stream(device, handle);
    const Stream::Use use(stream);
    self(instance).event(device, event).record({stream.timeline(), stream.last()});
  });
}

int32_t event_query(void* instance, int32_t device, void* event, tg_error* error) {
  return reported(error, [&] {
    const Event::Point point = self(instance).event(device, event).point();
    return point.timeline ? point.timeline->query(point.n, error) : TG_OK;
  });
}

int32_t event_sync(void* instance, int32_t device, void* event, tg_error* error) {
  return reported(error, [&] {
    const Event::Point point = self(instance).event(device, event).point();
    return point.timeline ? point.timeline->wait(point.n, error) : TG_OK;
  });
}

// ---- copies ---------------------------------------------------------------------------------------------------------

// Both sides are touched when the stream gets there, not before.
class Copy : public Task {
 public:
  struct Side {
    BlockPtr block;  // null: host memory
    char* place;     // the host's, or the offset in the block
    char* address() const { return block ? block->address() + reinterpret_cast<uintptr_t>(place) : place; }
  };
  Copy(Side to, Side from, uint64_t bytes) : Task(0), to_(std::move(to)), from_(std::move(from)), bytes_(bytes) {}
  void run() override {
    for (Side* side : {&to_, &from_})
      if (side->block && side->block->freed())
        plugin::fail(TG_FAILED_PRECONDITION, "copy: a block of %llu bytes was freed before the copy ran",
                     (unsigned long long)side->block->bytes());
    std::memmove(to_.address(), from_.address(), bytes_);
    for (Side* side : {&to_, &from_})
      if (side->block) pins().push_back(std::move(side->block));
  }

 private:
  Side to_, from_;
  const uint64_t bytes_;
};

Copy::Side on_host(const void* p) { return {nullptr, static_cast<char*>(const_cast<void*>(p))}; }

Copy::Side on_device(Device& device, const void* data, uint64_t offset, uint64_t bytes, const char* what) {
  return {device.memory.find(data, offset, bytes, what), reinterpret_cast<char*>(offset)};
}

template <class Make>
int32_t enqueue_copy(void* instance, int32_t index, void* handle, uint64_t bytes, tg_error* error, Make&& make) {
  return plugin::guard(error, [&] {
    Stream& stream = self(instance).stream(index, handle);
    const Stream::Use use(stream);
    stream.device().check();
    if (bytes) stream.enqueue(make(stream.device()));
  });
}

int32_t copy_to_device(void* instance, int32_t index, void* stream, void* dst, uint64_t dst_offset, const void* src,
                       uint64_t bytes, tg_error* error) {
  return enqueue_copy(instance, index, stream, bytes, error, [&](Device& device) {
    return std::make_unique<Copy>(on_device(device, dst, dst_offset, bytes, "copy_to_device: dst"), on_host(src),
                                  bytes);
  });
}

int32_t copy_to_host(void* instance, int32_t index, void* stream, void* dst, const void* src, uint64_t src_offset,
                     uint64_t bytes, tg_error* error) {
  return enqueue_copy(instance, index, stream, bytes, error, [&](Device& device) {
    auto from = on_device(device, src, src_offset, bytes, "copy_to_host: src");
    std::memset(dst, kPoison, bytes);  // shows a host that looks before the copy is done
    return std::make_unique<Copy>(on_host(dst), std::move(from), bytes);
  });
}

int32_t copy_on_device(void* instance, int32_t index, void* stream, void* dst, uint64_t dst_offset, const void* src,
                       uint64_t src_offset, uint64_t bytes, tg_error* error) {
  return enqueue_copy(instance, index, stream, bytes, error, [&](Device& device) {
    return std::make_unique<Copy>(on_device(device, dst, dst_offset, bytes, "copy_on_device: dst"),
                                  on_device(device, src, src_offset, bytes, "copy_on_device: src"), bytes);
  });
}

constexpr tg_device_api kDeviceApi = {
    sizeof(tg_device_api),
    0,
    device_count,
    device_info,
    alloc,
    free_block,
    memory_info,
    stream_create,
    stream_destroy,
    stream_sync,
    stream_query,
    stream_wait,
    event_create,
    event_destroy,
    event_record,
    event_query,
    event_sync,
    copy_to_device,
    copy_to_host,
    copy_on_device,
};

// ---- the plugin -----------------------------------------------------------------------------------------------------

int32_t open_plugin(uint32_t, const tg_host* host, void** instance, tg_error* error) {
  return plugin::guard(error, [&] { *instance = new Instance(host); });
}

void shutdown_plugin(void* instance) { delete static_cast<Instance*>(instance); }

const void* extension(void*, const char* name) {
  return std::string_view(name) == TG_CHAOS_EXTENSION ? &kChaosApi : nullptr;
}

constexpr tg_plugin kPlugin = {
    sizeof(tg_plugin),     TG_ABI_VERSION, TG_PLUGIN_NAME, TG_PLUGIN_VENDOR, TG_PLUGIN_VERSION, tg_rows,   TG_N_ROWS,
    sizeof(tg_kernel_row), &kDeviceApi,    &kKernels,      open_plugin,      shutdown_plugin,   extension,
};

}  // namespace
}  // namespace tg::chaos

extern "C" const tg_plugin* tg_plugin_query(uint32_t host_abi, const tg_host*) {
  // While the major version is 0, host and plugin must agree on the minor.
  return host_abi == TG_ABI_VERSION ? &tg::chaos::kPlugin : nullptr;
}
