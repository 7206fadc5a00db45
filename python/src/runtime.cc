// SPDX-License-Identifier: Apache-2.0
// Devices, streams, events, memory, random state and dispatch counters: functions that nobody calls in a hot loop.
#include "py.h"

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>
#include <tengen/einsum.h>
#include <tengen/memory_limit.h>
#include <tengen/plugins.h>
#include <tengen/random.h>

#include <unordered_map>

namespace tg::py {
namespace {

namespace pb = pybind11;

// pybind11's way for an exception that is already set.
template <class F>
auto checked(F&& f) {
  try {
    return f();
  } catch (...) {
    set_python_error();
    throw pb::error_already_set();
  }
}

Device* device_of(const pb::object& o) { return to_device(o.ptr()); }
pb::object device_out(Device* d) { return pb::reinterpret_steal<pb::object>(device_object(d)); }

template <class F>
auto released(F&& f) {
  GilRelease release;
  return f();
}

// Streams whose Python object is gone, by device. They are used again and live as long as the process: memory that work
// on them has touched refers to them until it is freed.
std::unordered_map<Device*, std::vector<Stream*>>& idle_streams() {
  static auto* streams = new std::unordered_map<Device*, std::vector<Stream*>>;
  return *streams;
}

struct PyStream {
  Device* device;
  Stream* stream;
  bool owned;
  std::vector<Stream*> outer;  // current streams to go back to
  explicit PyStream(const pb::object& d) : device(device_of(d)), owned(true) {
    auto& idle = idle_streams()[device];
    if (idle.empty()) {
      stream = create_stream(device);
    } else {
      stream = idle.back();
      idle.pop_back();
    }
  }
  PyStream(Device* d, Stream* s) : device(d), stream(s), owned(false) {}
  ~PyStream() {
    if (owned) idle_streams()[device].push_back(stream);
  }
  PyStream(const PyStream&) = delete;
  PyStream& operator=(const PyStream&) = delete;
};

struct PyEvent {
  Event* event = nullptr;
  PyEvent() = default;
  ~PyEvent() { drop(); }
  PyEvent(const PyEvent&) = delete;
  PyEvent& operator=(const PyEvent&) = delete;
  void drop() {
    if (!event) return;
    try {
      destroy_event(event);
    } catch (...) {
    }
    event = nullptr;
  }
  Event* get() const {
    if (!event) raise(ErrorKind::runtime, "the event was not recorded yet; call event.record(stream)");
    return event;
  }
};

Stream* stream_or_current(const pb::object& o) {
  if (o.is_none()) return current_stream(any_default_device());
  return o.cast<PyStream&>().stream;
}

pb::list device_list() {
  find_installed_plugins();
  pb::list out;
  for (const DeviceInfo& d : released([] { return devices(); })) {
    pb::dict row;
    row["name"] = d.name;
    row["kind"] = d.kind;
    row["product"] = d.product;
    row["provider"] = d.provider;
    row["domain"] = d.domain;
    row["usable"] = d.usable;
    row["reason"] = d.reason;
    row["memory_bytes"] = d.memory_bytes;
    row["memory_free"] = d.memory_free;
    out.append(row);
  }
  return out;
}

pb::dict stats_of(Device* device) {
  const MemoryStats s = memory_stats(device);
  pb::dict out;
  out["current"] = s.current;
  out["peak"] = s.peak;
  out["reserved"] = s.reserved;
  out["allocations"] = s.allocations;
  const RematStats r = remat_stats(device);
  out["evictions"] = r.evictions;
  out["evicted_bytes"] = r.evicted_bytes;
  out["rematerialised"] = r.rematerialised;
  out["rematerialise_us"] = uint64_t(1e6 * r.seconds);
  return out;
}

FallbackPolicy policy_of(const std::string& name) {
  if (name == "error") return FallbackPolicy::error;
  if (name == "warn") return FallbackPolicy::warn;
  if (name == "allow") return FallbackPolicy::allow;
  raise(ErrorKind::value, "expected a fallback policy \"error\", \"warn\" or \"allow\", got \"", name, "\"");
}

std::string coverage_json_of() {
  std::string out = "[";
  for (const CoverageCell& c : coverage())
    out += (out.size() > 1 ? "," : "") +
           ("{\"op\":\"" + c.op + "\",\"plugin\":\"" + c.plugin + "\",\"state\":\"" + c.state + "\"}");
  return out + "]";
}

void add_devices(pb::module_& m) {
  m.def("_devices", [] { return checked([] { return device_list(); }); });
  m.def(
      "default_device", [] { return checked([] { return device_out(any_default_device()); }); },
      "The device of new tensors: the pinned one, or the best usable.");
  m.def(
      "set_default_device",
      [](const pb::object& d) { checked([&] { set_default_device(d.is_none() ? nullptr : device_of(d)); }); },
      pb::arg("device"), "Pins the default device; None goes back to the best usable.");
  m.def(
      "default_device_reason",
      [] {
        return checked([] {
          find_installed_plugins();
          return default_device_reason();
        });
      },
      "One sentence: why the default device is what it is.");
  m.def(
      "memory_stats", [](const pb::object& d) { return checked([&] { return stats_of(device_of(d)); }); },
      pb::arg("device") = pb::none(),
      "Bytes on a device: current (live storages), peak, reserved (held from the device), the number of allocations; "
      "and what a limit has cost since the start (set_memory_limit): evictions, evicted_bytes, rematerialised (calls "
      "that ran again), rematerialise_us.");
  m.def(
      "_set_memory_limit",
      [](const pb::object& d, uint64_t bytes) {
        checked([&] {
          Device* device = device_of(d);
          released([&] { set_memory_limit(device, bytes); });
        });
      });
  m.def("_memory_limit", [](const pb::object& d) { return checked([&] { return memory_limit(device_of(d)); }); });
  m.def(
      "reset_peak_memory_stats", [](const pb::object& d) { checked([&] { reset_peak_memory(device_of(d)); }); },
      pb::arg("device") = pb::none(), "Makes the peak start again from what is live now.");
  m.def(
      "empty_cache",
      [](const pb::object& d) {
        checked([&] {
          Device* device = device_of(d);
          released([&] { empty_cache(device); });
        });
      },
      pb::arg("device") = pb::none(), "Gives cached blocks back to the device.");
  m.def(
      "synchronize",
      [](const pb::object& d) {
        checked([&] {
          Device* device = device_of(d);
          released([&] { synchronize(device); });
        });
      },
      pb::arg("device") = pb::none(), "Waits for all work of a device; raises what failed there.");
  m.def(
      "set_num_threads", [](int n) { checked([&] { set_num_threads(n); }); }, pb::arg("n"),
      "Host threads that kernels may use.");
  m.def(
      "get_num_threads", [] { return num_threads(); }, "Host threads that kernels may use.");
}

void add_streams(pb::module_& m) {
  pb::class_<PyStream>(
      m, "Stream", "A queue of work on a device, run in order. `with stream:` makes it the current one of the thread.")
      .def(pb::init([](const pb::object& d) { return checked([&] { return std::make_unique<PyStream>(d); }); }),
           pb::arg("device") = pb::none())
      .def_property_readonly("device", [](const PyStream& s) { return device_out(s.device); })
      .def(
          "synchronize", [](PyStream& s) { checked([&] { released([&] { synchronize(s.stream); }); }); },
          "Waits for its work.")
      .def(
          "query", [](PyStream& s) { return checked([&] { return query(s.stream); }); },
          "True when all its work is done.")
      .def(
          "wait_event", [](PyStream& s, PyEvent& e) { checked([&] { wait_event(s.stream, e.get()); }); },
          pb::arg("event"), "Later work of this stream waits for the event.")
      .def(
          "wait_stream",
          [](PyStream& s, PyStream& other) {
            checked([&] {
              Event* e = record_event(other.stream);
              wait_event(s.stream, e);
              destroy_event(e);
            });
          },
          pb::arg("stream"), "Later work of this stream waits for what the other has now.")
      .def(
          "record_event",
          [](PyStream& s, pb::object e) {
            return checked([&] {
              if (e.is_none()) e = pb::cast(std::make_unique<PyEvent>());
              PyEvent& event = e.cast<PyEvent&>();
              event.drop();
              event.event = record_event(s.stream);
              return e;
            });
          },
          pb::arg("event") = pb::none(), "An event behind the work that the stream has now.")
      .def("__enter__",
           [](pb::object self) {
             return checked([&] {
               PyStream& s = self.cast<PyStream&>();
               s.outer.push_back(current_stream(s.device));
               set_current_stream(s.device, s.stream);
               return self;
             });
           })
      .def("__exit__", [](PyStream& s, const pb::args&) {
        checked([&] {
          if (s.outer.empty()) raise(ErrorKind::runtime, "the stream was left without being entered");
          set_current_stream(s.device, s.outer.back());
          s.outer.pop_back();
        });
      });
  pb::class_<PyEvent>(m, "Event", "A point in a stream's work that others can wait for.")
      .def(pb::init<>())
      .def(
          "record",
          [](PyEvent& e, const pb::object& stream) {
            checked([&] {
              Stream* s = stream_or_current(stream);
              e.drop();
              e.event = record_event(s);
            });
          },
          pb::arg("stream") = pb::none(), "Puts the event behind what the stream (the current one) has now.")
      .def(
          "query", [](PyEvent& e) { return checked([&] { return query(e.get()); }); }, "True when it was reached.")
      .def(
          "synchronize", [](PyEvent& e) { checked([&] { released([&] { synchronize(e.get()); }); }); },
          "Waits until it is reached.");
  m.def(
      "current_stream",
      [](const pb::object& d) {
        return checked([&] {
          Device* device = device_of(d);
          return std::make_unique<PyStream>(device, current_stream(device));
        });
      },
      pb::arg("device") = pb::none(), "The stream that this thread's work on the device goes to.");
}

void add_dispatch(pb::module_& m) {
  m.def(
      "dispatch_stats",
      [] {
        const DispatchStats s = dispatch_stats();
        pb::dict out;
        out["plans_created"] = s.plans_created;
        out["plan_hits"] = s.plan_hits;
        out["plans_cached"] = s.plans_cached;
        out["launches"] = s.launches;
        out["decompositions"] = s.decompositions;
        out["fallbacks"] = s.fallbacks;
        out["batch_loops"] = s.batch_loops;
        return out;
      },
      "Counters since the process began: plans, launches, decompositions, fallbacks, ops that vmap ran once for every index.");
  m.def(
      "clear_plan_cache", [] { clear_plan_cache(); }, "Forgets all plans.");
  m.def(
      "set_fallback_policy", [](const std::string& p) { checked([&] { set_fallback_policy(policy_of(p)); }); },
      pb::arg("policy"),
      "What happens when a device lacks a primitive: \"error\", \"warn\" (at its first call, and a table at exit) or \"allow\" (the table alone).");
  m.def(
      "get_fallback_policy",
      [] {
        switch (fallback_policy()) {
          case FallbackPolicy::error:
            return "error";
          case FallbackPolicy::warn:
            return "warn";
          default:
            return "allow";
        }
      },
      "The policy that set_fallback_policy() set.");
  m.def(
      "fallback_table",
      [] {
        pb::list out;
        for (const FallbackRow& r : fallback_table()) {
          pb::dict row;
          row["op"] = r.op;
          row["device"] = r.device;
          row["count"] = r.count;
          row["bytes"] = r.bytes;
          row["ms"] = r.ms;
          out.append(row);
        }
        return out;
      },
      "Primitives that ran on the CPU for want of a kernel: a list of dicts.");
  m.def("_einsum_path", [](const std::string& equation, const std::vector<std::vector<int64_t>>& shapes,
                           const std::string& optimize) {
    return checked([&] {
      std::vector<Shape> s;
      for (const auto& v : shapes) s.push_back(symbolic(v));
      const ContractionPath path = einsum_path(equation, s, contraction_order_named(optimize));
      return std::make_tuple(path.steps, path.flops, path.naive, path.largest);
    });
  });
  m.def("_op_table_json", [] { return op_table_json(); });
  m.def("_plugins_json", [] {
    return checked([] {
      find_installed_plugins();
      return released([] { return plugins_json(); });
    });
  });
  m.def("_coverage_json", [] {
    return checked([] {
      find_installed_plugins();
      return released([] { return coverage_json_of(); });
    });
  });
  m.def("_add_plugin_directory", [](const std::string& p) { checked([&] { add_plugin_directory(p); }); });
  m.def(
      "add_plugin_path", [](const std::string& p) { checked([&] { add_plugin_path(p); }); }, pb::arg("path"),
      "Searches a directory for plugins ahead of all others; call it before the first use of a device.");
  m.def(
      "set_plugin_policy",
      [](const std::vector<std::string>& prefer, const decltype(PluginPolicy::measured_ns)& measured_ns) {
        checked([&] { set_plugin_policy({prefer, measured_ns}); });
      },
      pb::arg("prefer") = std::vector<std::string>(), pb::arg("measured_ns") = decltype(PluginPolicy::measured_ns)(),
      "Which plugins the application wants asked first, behind the user's own TENGEN_PLUGIN: names, best first, and measured times "
      "({\"cpu:0\": {\"softmax\": {\"cpu\": 900.0}}}: device, op of the kernel rows, plugin, nanoseconds). Call it before the first use of a "
      "device.");
  m.def("_set_probe_path", [](const std::string& p) { checked([&] { set_probe_path(p); }); });
  m.def("_shutdown", [] { checked([] { released([] { shutdown(); }); }); });
}

void add_random(pb::module_& m) {
  m.def(
      "manual_seed", [](int64_t seed) { manual_seed(seed); }, pb::arg("seed"),
      "Starts the random generator again from a seed; equal seeds give equal numbers on every device.");
  m.def(
      "initial_seed", [] { return initial_seed(); }, "The seed of the random generator.");
  m.def(
      "get_rng_state",
      [] {
        const PhiloxSlice s = random_state();
        return pb::make_tuple(s.seed, s.offset);
      },
      "The random generator's state: (seed, offset).");
  m.def(
      "set_rng_state",
      [](const std::pair<int64_t, int64_t>& s) {
        set_random_state({s.first, s.second});
      },
      pb::arg("state"), "Puts the random generator into a state that get_rng_state() gave.");
}

}  // namespace

void add_runtime(PyObject* module) {
  auto m = pb::reinterpret_borrow<pb::module_>(module);
  add_devices(m);
  add_streams(m);
  add_dispatch(m);
  add_random(m);
}

}  // namespace tg::py
