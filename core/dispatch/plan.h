// SPDX-License-Identifier: Apache-2.0
// Plans: a kernel chosen and prepared for a kind of call, and the bounded cache of them. Internal to core.
#pragma once
#include <tengen/op.h>

#include <list>
#include <memory>
#include <shared_mutex>
#include <unordered_map>

#include "runtime/device.h"

namespace tg {

inline constexpr int kMaxArgs = 40;

// One kernel, ready to run any number of times, from any thread.
class KernelPlan : public std::enable_shared_from_this<KernelPlan> {
 public:
  // `inputs`, `attrs`: how many arguments and run attributes the row's revision of the op knows.
  KernelPlan(RowRef row, Device* device, const char* op, void* plan, uint32_t inputs = ~0u, uint32_t attrs = ~0u);
  ~KernelPlan();
  KernelPlan(const KernelPlan&) = delete;
  const RowRef row;
  Device* const device;
  const char* const op;
  const uint32_t most_inputs, most_attrs;
  std::vector<ArgLayout> layouts;  // of inputs, then outputs; empty: all plain
  std::string algorithm;           // for people
  struct Args {
    const tg_tensor* const* inputs;
    const tg_tensor* const* outputs;
    const tg_attr* attrs;  // run attributes
    uint32_t n_inputs, n_outputs, n_attrs;
    uint64_t present, wanted;
  };
  void run(const Args& args) const;  // or tells the thread's capture
  // The same in parts, for programs that keep the block: bytes of workspace, and the launch.
  uint64_t workspace(tg_run* run) const;
  void launch(tg_run* run) const;
  // The plugins' side of all plans, whoever still holds them: before plugins are shut down. None runs afterwards.
  static void end_all();

 private:
  void end();
  [[noreturn]] void fail(int32_t status, tg_error* error) const;
  void* plan_;
  bool ended_ = false;
  const tg_kernel_api* api_;
};

// What is asked of the plugins. Tensors as they would run; data is ignored.
struct KernelRequest {
  Device* device;
  const char* op;       // for people
  const char* kernel;   // the rows' op
  const Op* schema;     // NULL: a map program
  int needs;            // the least revision of the op that knows all that the call uses
  const char* needed_for;  // the argument or attribute that needs it
  std::span<const tg_tensor* const> inputs;   // NULL: absent
  std::span<const tg_tensor* const> outputs;  // NULL: not wanted
  std::span<const tg_attr> attrs;             // plan attributes
  std::span<const uint16_t> layouts = {};     // private ones of inputs; empty: all are plain
  bool free_results = false;                  // outputs are new tensors, so that they may be in private layouts
  bool exact_layouts = false;                 // no input may be made plain first
};

// The best kernel for a request, or NULL. `why`, if given, gets a line for every candidate, and none is skipped.
std::shared_ptr<KernelPlan> select_kernel(const KernelRequest& request, std::vector<WhyCandidate>* why = nullptr);

// Where a map program runs: looked at only by rows that bake dims or strides.
struct MapShape {
  Ints shape;
  std::vector<Ints> strides;  // of the program's inputs, by broadcast dims 0
};
// A map program on a device: usually one kernel; several where the plugin takes only short programs.
struct MapPlan {
  struct Stage {
    std::shared_ptr<KernelPlan> kernel;
    uint64_t packed = 0;              // arguments that must be contiguous, as in a row
    std::vector<uint16_t> inputs;     // value ids: program inputs and results of earlier stages
    std::vector<uint16_t> outputs;    // value ids
    std::vector<uint16_t> immediates; // indices into the program's
  };
  std::vector<Stage> stages;            // empty: no plugin takes it
  MapBuilder::Program program;          // as lowered for the plugin
  bool bakes_dims = false, bakes_strides = false;  // it, or who could have taken its place, is for one shape (and strides)
};
std::shared_ptr<MapPlan> select_map(Device* device, const char* op, MapBuilder::Program program, const MapShape& at,
                                    std::vector<WhyCandidate>* why = nullptr);

// ---- cache ------------------------------------------------------------------------------------------------------------

struct PlanEntry {
  std::shared_ptr<KernelPlan> kernel;  // NULL with no map: decompose or fall back
  std::shared_ptr<MapPlan> map;
};

// Least recently used of at most `capacity` entries (TENGEN_PLAN_CACHE, 4096).
class PlanCache {
 public:
  static PlanCache& get();
  std::shared_ptr<const PlanEntry> find(const std::string& key);
  std::shared_ptr<const PlanEntry> insert(const std::string& key, PlanEntry entry);
  void clear();
  size_t size();
  uint64_t generation() const { return generation_.load(std::memory_order_relaxed); }

 private:
  using List = std::list<std::pair<std::string, std::shared_ptr<const PlanEntry>>>;
  std::mutex mutex_;
  List order_;
  std::unordered_map<std::string, List::iterator> index_;
  size_t capacity_ = 0;
  std::atomic<uint64_t> generation_{1};
};

struct Counters {
  std::atomic<uint64_t> plans_created{0}, hits{0}, decompositions{0}, fallbacks{0}, batch_loops{0};
};
Counters& counters();
uint32_t math_mode();

}  // namespace tg
