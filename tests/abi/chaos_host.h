// SPDX-License-Identifier: Apache-2.0
//
// The least of a host that can drive a device plugin: loads it, calls its tables, counts launches. Used by
// chaos_test.cc to break the rules on purpose, which Tengen's own runtime never would.
//
//   Host host({{"TENGEN_CHAOS_FAIL_LAUNCH", "2"}});
//   StreamHandle s = host.stream(0);
//   Buffer x = host.upload<float>(0, s, {1, 2, 3});
//   host.fill(s, x, 7.0f);
//   EXPECT_EQ(host.sync(s), TG_OK);
#pragma once

#include <dlfcn.h>
#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <mutex>
#include <string>
#include <tengen/kernel_api.hpp>
#include <thread>
#include <vector>

#include "chaos_ext.h"

namespace tg::test {

struct Log {
  std::mutex mutex;
  std::vector<std::string> lines;
  std::atomic<int> pool_calls{0};  // of parallel_for and scratch: never from a device's own threads
  bool contains(const std::string& text) {
    std::lock_guard lock(mutex);
    for (const auto& line : lines)
      if (line.find(text) != std::string::npos) return true;
    return false;
  }
};

inline Log& host_log() {
  static Log log;
  return log;
}

inline const tg_host* host_table() {
  static const tg_host table = {
      sizeof(tg_host),
      TG_ABI_VERSION,
      [](int32_t, const char* message) {
        std::lock_guard lock(host_log().mutex);
        host_log().lines.emplace_back(message);
      },
      [](int64_t n, int64_t, int32_t, void (*body)(void*, int64_t, int64_t), void* context) {
        ++host_log().pool_calls;
        body(context, 0, n);
      },
      [](uint64_t) -> void* {
        ++host_log().pool_calls;
        return nullptr;
      },
      [] { return ""; },
  };
  return &table;
}

inline const tg_plugin* load_table(const char* path) {
  void* library = dlopen(path, RTLD_NOW | RTLD_LOCAL);  // never closed, as plugins are
  if (!library) throw std::runtime_error(dlerror());
  const auto query = reinterpret_cast<tg_plugin_query_fn>(dlsym(library, "tg_plugin_query"));
  const tg_plugin* table = query ? query(TG_ABI_VERSION, host_table()) : nullptr;
  if (!table) throw std::runtime_error(std::string(path) + ": no table for this ABI version");
  return table;
}

struct StreamHandle {
  int device = 0;
  void* handle = nullptr;
  void* native = nullptr;
};

struct Buffer {
  int device = 0;
  void* data = nullptr;
  uint64_t bytes = 0;
};

// A tensor over a buffer; keeps its arrays.
struct View {
  std::vector<int64_t> shape, strides;
  tg_tensor tensor{};
  View(const Buffer& buffer, tg_dtype dtype, std::vector<int64_t> dims, uint64_t byte_offset = 0)
      : shape(std::move(dims)), strides(shape.size()) {
    int64_t step = 1;
    for (size_t i = shape.size(); i-- > 0; step *= shape[i]) strides[i] = step;
    tensor = {
        buffer.data, {TG_DEVICE_PLUGIN, buffer.device}, int32_t(shape.size()), dtype, shape.data(), strides.data(),
        byte_offset};
  }
  View(const View&) = delete;
};

inline tg_attr attr_int(int64_t i) {
  tg_attr a{};
  a.kind = TG_ATTR_INT;
  a.n = 1;
  a.v.i = i;
  return a;
}
inline tg_attr attr_ints(const std::vector<int64_t>& list) {
  tg_attr a{};
  a.kind = TG_ATTR_INTS;
  a.n = uint32_t(list.size());
  a.v.ints = list.data();
  return a;
}
inline tg_attr attr_bits(const std::vector<uint64_t>& words) {
  tg_attr a{};
  a.kind = TG_ATTR_BITS;
  a.n = uint32_t(words.size());
  a.v.bits = words.data();
  return a;
}
inline tg_attr attr_program(const std::vector<tg_map_inst>& program) {
  tg_attr a{};
  a.kind = TG_ATTR_PROGRAM;
  a.n = uint32_t(program.size());
  a.v.program = program.data();
  return a;
}

template <class T>
uint64_t word_of(T value) {
  uint64_t word = 0;
  std::memcpy(&word, &value, sizeof value);
  return word;
}

// Holds up whatever comes after it in a stream until it is opened. Outlives the stream's use of it.
class Gate {
 public:
  explicit Gate(const StreamHandle& stream) {
    auto* native = static_cast<tg_chaos_stream*>(stream.native);
    const auto work = [](void* self, tg_error*) -> int32_t {
      auto* gate = static_cast<Gate*>(self);
      std::unique_lock lock(gate->mutex_);
      gate->changed_.wait(lock, [&] { return gate->open_; });
      return TG_OK;
    };
    tg_error error{};
    if (native->api->enqueue(native, 0, work, nullptr, this, &error) != TG_OK) throw std::runtime_error(error.message);
  }
  void open() {
    std::lock_guard lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool open_ = false;
};

class Host {
 public:
  using Environment = std::initializer_list<std::pair<const char*, const char*>>;
  explicit Host(Environment environment = {}) {
    for (const char* name : {"MEMORY", "SEED", "DELAY_US", "DELAY_EVERY", "FAIL_LAUNCH", "FAIL_ALLOC", "LOSE_DEVICE"})
      unsetenv((std::string("TENGEN_CHAOS_") + name).c_str());
    for (const auto& [name, value] : environment) setenv(name, value, 1);
    {
      std::lock_guard lock(host_log().mutex);
      host_log().lines.clear();
    }
    plugin = load_table(TENGEN_CHAOS_PLUGIN);
    tg_error error{};
    if (plugin->open(TG_ABI_VERSION, host_table(), &instance, &error) != TG_OK) throw std::runtime_error(error.message);
  }
  ~Host() {
    for (auto& b : buffers_) d().free(instance, b.device, b.data, b.bytes);
    for (auto& s : streams_) d().stream_destroy(instance, s.device, s.handle);
    for (auto& e : events_) d().event_destroy(instance, e.first, e.second);
    plugin->shutdown(instance);
  }
  Host(const Host&) = delete;

  const tg_device_api& d() const { return *plugin->devices; }

  // ---- memory
  int32_t alloc(int device, uint64_t bytes, Buffer* out) {
    error = {};
    *out = {device, nullptr, bytes};
    return d().alloc(instance, device, bytes, &out->data, &error);
  }
  Buffer buffer(int device, uint64_t bytes) {
    Buffer b;
    if (alloc(device, bytes, &b) != TG_OK) throw std::runtime_error(error.message);
    std::lock_guard lock(mutex_);
    buffers_.push_back(b);
    return b;
  }
  void free(const Buffer& b) {
    std::lock_guard lock(mutex_);
    std::erase_if(buffers_, [&](const Buffer& other) { return other.data == b.data; });
    d().free(instance, b.device, b.data, b.bytes);
  }
  template <class T>
  Buffer upload(const StreamHandle& s, const std::vector<T>& values) {
    Buffer b = buffer(s.device, values.size() * sizeof(T));
    tg_error e{};
    if (d().copy_to_device(instance, s.device, s.handle, b.data, 0, values.data(), b.bytes, &e) != TG_OK ||
        d().stream_sync(instance, s.device, s.handle, &e) != TG_OK)
      throw std::runtime_error(e.message);
    return b;
  }
  template <class T>
  std::vector<T> download(const StreamHandle& s, const Buffer& b) {
    std::vector<T> values(b.bytes / sizeof(T));
    tg_error e{};
    if (d().copy_to_host(instance, s.device, s.handle, values.data(), b.data, 0, b.bytes, &e) != TG_OK ||
        d().stream_sync(instance, s.device, s.handle, &e) != TG_OK)
      throw std::runtime_error(e.message);
    return values;
  }

  // ---- streams and events
  StreamHandle stream(int device) {
    StreamHandle s{device};
    tg_error e{};
    if (d().stream_create(instance, device, &s.handle, &s.native, &e) != TG_OK) throw std::runtime_error(e.message);
    std::lock_guard lock(mutex_);
    streams_.push_back(s);
    return s;
  }
  void destroy(const StreamHandle& s) {
    std::erase_if(streams_, [&](const StreamHandle& other) { return other.handle == s.handle; });
    d().stream_destroy(instance, s.device, s.handle);
  }
  int32_t sync(const StreamHandle& s) {
    error = {};
    return d().stream_sync(instance, s.device, s.handle, &error);
  }
  int32_t query(const StreamHandle& s) {
    error = {};
    return d().stream_query(instance, s.device, s.handle, &error);
  }
  void* event(int device) {
    void* e = nullptr;
    EXPECT_EQ(d().event_create(instance, device, &e, &error), TG_OK);
    events_.emplace_back(device, e);
    return e;
  }
  void* record(const StreamHandle& s) {
    void* e = event(s.device);
    EXPECT_EQ(d().event_record(instance, s.device, e, s.handle, &error), TG_OK) << error.message;
    return e;
  }
  int32_t wait(const StreamHandle& s, void* e) {
    error = {};
    return d().stream_wait(instance, s.device, s.handle, e, &error);
  }
  int32_t query_event(int device, void* e) {
    error = {};
    return d().event_query(instance, device, e, &error);
  }
  int32_t sync_event(int device, void* e) {
    error = {};
    return d().event_sync(instance, device, e, &error);
  }

  // ---- kernels
  void* plan(const char* op, const std::vector<const tg_tensor*>& inputs, const std::vector<const tg_tensor*>& outputs,
             const std::vector<tg_attr>& attrs, int device = 0, const tg_plugin* provider = nullptr) {
    std::vector<tg_tensor> blind;  // data is NULL while planning
    blind.reserve(inputs.size() + outputs.size());
    std::vector<const tg_tensor*> in, out;
    for (const tg_tensor* t : inputs) in.push_back(hide(t, blind));
    for (const tg_tensor* t : outputs) out.push_back(hide(t, blind));
    tg_device_info info{};
    info.struct_size = sizeof info;
    tg_error e{};
    EXPECT_EQ(d().device_info(instance, device, &info, &e), TG_OK);
    tg_call call{};
    call.struct_size = sizeof call;
    call.op = op;
    call.op_revision = 1;
    call.n_inputs = uint32_t(in.size());
    call.n_outputs = uint32_t(out.size());
    call.n_attrs = uint32_t(attrs.size());
    call.device = device;
    call.inputs = in.data();
    call.outputs = out.data();
    call.attrs = attrs.data();
    call.inputs_present = mask(in);
    call.outputs_wanted = mask(out);
    call.native_device = info.native_device;
    call.native_context = info.native_context;
    call.threads = 1;
    void* plan = nullptr;
    const tg_plugin* p = provider ? provider : plugin;
    if (p->kernels->plan_create(provider ? nullptr : instance, &call, &plan, &e) != TG_OK)
      throw std::runtime_error(e.message);
    return plan;
  }
  // Builds a run block on the heap, passes it, and overwrites all of it before anything can have run for long.
  int32_t run(void* plan, const StreamHandle& s, const std::vector<const tg_tensor*>& inputs,
              const std::vector<const tg_tensor*>& outputs, std::vector<tg_attr> attrs = {},
              const tg_plugin* provider = nullptr, tg_error* out_error = nullptr) {
    tg_run r{};
    r.launch_id = ++launch;
    r.stream = s.handle;
    r.native_stream = s.native;
    r.inputs = inputs.data();
    r.outputs = outputs.data();
    r.attrs = attrs.data();
    r.n_inputs = uint32_t(inputs.size());
    r.n_outputs = uint32_t(outputs.size());
    r.n_attrs = uint32_t(attrs.size());
    r.inputs_present = mask(inputs);
    r.outputs_wanted = mask(outputs);
    r.threads = 1;
    const tg_kernel_api& k = *(provider ? provider : plugin)->kernels;
    tg_error* e = out_error ? out_error : &error;
    *e = {};
    uint64_t bytes = 0;
    if (k.plan_workspace) {
      EXPECT_EQ(k.plan_workspace(plan, &r, &bytes, e), TG_OK) << e->message;
    }
    if (bytes) {
      const Buffer workspace = buffer(s.device, bytes + 64);
      r.workspace = workspace.data;
      r.workspace_offset = 64;
      r.workspace_bytes = bytes;
    }
    const int32_t status = k.plan_run(plan, &r, e);
    std::memset(&r, 0xEE, sizeof r);
    for (tg_attr& a : attrs) std::memset(&a, 0xEE, sizeof a);
    return status;
  }
  void destroy_plan(void* plan) { plugin->kernels->plan_destroy(plan); }

  // One fill launch over the whole buffer.
  template <class T>
  int32_t fill(const StreamHandle& s, const Buffer& b, T value, tg_error* out_error = nullptr) {
    View y(b, plugin::dtype_of<T>::value, {int64_t(b.bytes / sizeof(T))});
    std::vector<uint64_t> words{word_of(value)};
    void* p = plan("fill", {}, {&y.tensor}, {}, s.device);
    const int32_t status = run(p, s, {}, {&y.tensor}, {attr_bits(words)}, nullptr, out_error);
    words[0] = ~uint64_t(0);
    y.shape[0] = -1;
    y.strides[0] = 1 << 20;
    y.tensor.data = nullptr;
    destroy_plan(p);  // the launch may still be queued
    return status;
  }

  const tg_plugin* plugin = nullptr;
  void* instance = nullptr;
  tg_error error{};
  std::atomic<uint64_t> launch{100};

 private:
  static const tg_tensor* hide(const tg_tensor* t, std::vector<tg_tensor>& blind) {
    if (!t) return nullptr;
    blind.push_back(*t);
    blind.back().data = nullptr;
    return &blind.back();
  }
  static uint64_t mask(const std::vector<const tg_tensor*>& list) {
    uint64_t bits = 0;
    for (size_t i = 0; i < list.size(); ++i) bits |= uint64_t(list[i] != nullptr) << i;
    return bits;
  }
  std::mutex mutex_;
  std::vector<Buffer> buffers_;
  std::vector<StreamHandle> streams_;
  std::vector<std::pair<int, void*>> events_;
};

}  // namespace tg::test
