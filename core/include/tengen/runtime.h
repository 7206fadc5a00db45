// SPDX-License-Identifier: Apache-2.0
// Devices, their memory and streams, and the choice of plugins. Nothing here names a device type: kinds come from the
// providers. Host memory is a device as well, owned by the core.
#pragma once
#include <tengen/tensor.h>

#include <optional>
#include <string>
#include <vector>

namespace tg {

struct MemoryStats {
  uint64_t current = 0;    // bytes in live storages
  uint64_t peak = 0;       // highest `current` since the last reset
  uint64_t reserved = 0;   // bytes held from the device: live and cached
  uint64_t allocations = 0;  // storages allocated so far
};

struct DeviceInfo {
  std::string name;      // "kind:index"
  std::string kind;
  std::string product;
  std::string provider;  // plugin, or "core" for host memory
  std::string domain;
  bool usable = false;
  std::string reason;    // why usable, or why not
  uint64_t memory_bytes = 0;
  uint64_t memory_free = 0;  // as its provider says now; 0: unknown
};

// All devices, usable or not; loads the plugins.
std::vector<DeviceInfo> devices();
Device* find_device(std::string_view name);  // "kind" or "kind:index"; ValueError lists what there is
Device* default_device();                    // pinned, or the best usable
void set_default_device(Device* device);
Device* host_device();
const std::string& device_name(const Device* device);
bool is_host(const Device* device);
std::string default_device_reason();         // one sentence
MemoryStats memory_stats(Device* device);
void reset_peak_memory(Device* device);
void empty_cache(Device* device);            // waits for all its streams, gives cached blocks back, throws a failure of theirs
void synchronize(Device* device);            // waits for all its streams; throws a failure of theirs
void set_num_threads(int n);
int num_threads();

// ---- streams and events ----
Stream* current_stream(Device* device);                   // of the calling thread
Stream* create_stream(Device* device);
void set_current_stream(Device* device, Stream* stream);  // of the calling thread; NULL: the default one
void destroy_stream(Stream* stream);
Device* stream_device(const Stream* stream);
void synchronize(Stream* stream);
bool query(Stream* stream);                               // true: idle
struct Event;
Event* record_event(Stream* stream);
void wait_event(Stream* stream, Event* event);
bool query(Event* event);
void synchronize(Event* event);
void destroy_event(Event* event);

// ---- plugins ----
// Directories searched besides TENGEN_PLUGIN_PATH and the system's; call before the first use of a device.
void add_plugin_directory(const std::string& path);
void add_plugin_path(const std::string& path);  // ahead of all others
void set_probe_path(const std::string& executable);
std::string plugins_json();                      // what `tengen plugins --json` prints, with load status

// ---- dispatch, looked at from outside ----
struct DispatchStats {
  uint64_t plans_created = 0, plan_hits = 0, plans_cached = 0, launches = 0, decompositions = 0, fallbacks = 0, batch_loops = 0;
};
DispatchStats dispatch_stats();
void clear_plan_cache();
enum class FallbackPolicy { error, warn, allow };
void set_fallback_policy(FallbackPolicy policy);
FallbackPolicy fallback_policy();
struct FallbackRow {
  std::string op, device;
  uint64_t count, bytes;
  double ms;
};
std::vector<FallbackRow> fallback_table();

// Who would run a call, and why: every candidate row with its reason, the winner, or the decomposition.
struct WhyCandidate {
  std::string plugin, kernel;
  bool ok = false, chosen = false;
  int64_t est_ns = 0;
  int32_t score = 0;
  std::string reason;
};
struct WhyStep {                    // an op that a decomposition called
  std::string op, dtypes, how;      // how: "plugin/kernel", "decomposition", "fallback"
  int64_t count = 1;                // calls of this op, dtypes and outcome
  std::vector<WhyCandidate> candidates;  // of its first call
};
struct Why {
  std::string op, device, verdict;  // "kernel", "decomposition", "view", "fallback", "none"
  std::vector<WhyCandidate> candidates;
  std::vector<WhyStep> steps;       // of a decomposition, in the order of their first calls
};
class Op;
class Attr;
struct TensorSpec;
Why why(const Op& op, std::span<const TensorSpec> inputs, std::span<const Attr> attrs, Device* device);
// What a plugin's manifest should hear about a row of this op: "" when calls ask for such rows, else a sentence (a misspelt
// name, or an op that has no rows of its own).
std::string kernel_name_problem(std::string_view op);
struct CoverageCell {
  std::string op, plugin;
  std::string state;  // "kernel", "decomposes", "view", "no"
};
std::vector<CoverageCell> coverage();

// Ends streams and plugins; called by the package's exit hook. Idempotent.
void shutdown();

}  // namespace tg
