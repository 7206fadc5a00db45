// SPDX-License-Identifier: Apache-2.0
// Choosing a kernel, preparing it, running it, remembering it.
#include "dispatch/plan.h"

#include <cstdlib>
#include <cstring>
#include <unordered_set>
#include <utility>

#include "dispatch/capture.h"
#include "dispatch/map_program.h"
#include "runtime/layout.h"

namespace tg {

Counters& counters() {
  static Counters c;
  return c;
}
uint32_t math_mode() { return TG_MATH_DETERMINISTIC; }

// ---- KernelPlan -----------------------------------------------------------------------------------------------------------

namespace {
// Besides the cache, threads hold plans: in their front caches (call_map.cc), and while they call.
struct Living {
  std::mutex mutex;
  std::unordered_set<KernelPlan*> plans;
};
Living& living() {
  static Living& plans = *new Living();
  return plans;
}
}  // namespace

KernelPlan::KernelPlan(RowRef r, Device* device, const char* op, void* plan, uint32_t inputs, uint32_t attrs)
    : row(r), device(device), op(op), most_inputs(inputs), most_attrs(attrs), plan_(plan), api_(r.plugin->table.kernels) {
  counters().plans_created.fetch_add(1, std::memory_order_relaxed);
  std::lock_guard lock(living().mutex);
  living().plans.insert(this);
}

KernelPlan::~KernelPlan() {
  {
    std::lock_guard lock(living().mutex);
    living().plans.erase(this);
  }
  end();
}

void KernelPlan::end() {
  if (std::exchange(ended_, true)) return;
  // After a fork the device's driver may not be called any more.
  if (api_->plan_destroy && row.plugin->is_open() && (device->host || !forked())) api_->plan_destroy(plan_);
}

void KernelPlan::end_all() {
  std::lock_guard lock(living().mutex);
  for (KernelPlan* plan : living().plans) plan->end();
}

void KernelPlan::run(const Args& a) const {
  if (Capture* capture = capturing()) [[unlikely]] return capture->launch(*this, a);
  tg_run run;
  run.inputs = a.inputs;
  run.outputs = a.outputs;
  run.attrs = a.attrs;
  run.inputs_present = a.present;
  run.outputs_wanted = a.wanted;
  run.n_inputs = a.n_inputs;
  run.n_outputs = a.n_outputs;
  run.n_attrs = a.n_attrs;
  run.reserved[0] = run.reserved[1] = 0;
  run.workspace = nullptr;
  run.workspace_offset = 0;
  run.workspace_bytes = 0;
  Ref<Storage> workspace;
  if (api_->plan_workspace)
    if (const uint64_t bytes = this->workspace(&run)) {
      workspace = Storage::allocate(device, bytes);
      run.workspace = workspace->data();
      run.workspace_bytes = bytes;
    }
  launch(&run);
}

uint64_t KernelPlan::workspace(tg_run* run) const {
  if (!api_->plan_workspace) return 0;
  run->launch_id = 0;
  run->stream = run->native_stream = nullptr;
  run->threads = num_threads();
  tg_error error;  // written by the plugin on failure only
  error.message[0] = 0;
  error.launch_id = 0;
  uint64_t bytes = 0;
  if (const int32_t status = api_->plan_workspace(plan_, run, &bytes, &error); status != TG_OK) fail(status, &error);
  return bytes;
}

void KernelPlan::launch(tg_run* run) const {
  if (ended_) [[unlikely]] raise(ErrorKind::runtime, "[", op, "] cannot run any more: the runtime was shut down");
  run->launch_id = next_launch_id();
  run->threads = num_threads();
  tg_error error;
  error.message[0] = 0;
  error.launch_id = 0;
  int32_t status;
  if (device->host) [[likely]] {
    run->stream = run->native_stream = nullptr;
    status = api_->plan_run(plan_, run, &error);
  } else {
    device->check_usable();
    note_launch(run->launch_id, op);
    Stream* stream = current_stream(device);
    std::lock_guard lock(stream->mutex);
    void* handle = stream->living_handle(op);
    run->stream = row.native ? handle : nullptr;
    run->native_stream = stream->native;
    status = api_->plan_run(plan_, run, &error);
  }
  reset_scratch();
  if (status != TG_OK) [[unlikely]] fail(status, &error);
}

void KernelPlan::fail(int32_t status, tg_error* error) const {
  error->message[sizeof error->message - 1] = 0;
  if (device->host) error->launch_id = 0;
  else if (status != TG_DEVICE_LOST) current_stream(device)->recover();
  device->fail(status, *error, op);
}

// ---- selection -----------------------------------------------------------------------------------------------------------------

namespace {

std::string dtypes_text(const KernelRequest& q) {
  std::string text;
  auto add = [&](const tg_tensor* t) {
    DType d;
    text += (text.empty() || text.ends_with(' ') ? "" : " ");
    text += !t ? "-" : dtype_from_abi(t->dtype, &d) ? name_of(d) : "?";
  };
  for (auto* t : q.inputs) add(t);
  text += " ->";
  for (auto* t : q.outputs) add(t);
  return text;
}

constexpr uint64_t kOutputs = ~uint64_t(0) << 32;  // in the masks of rows

// A program and the rows of a plugin: what those that its instructions match ask for together.
struct Match {
  std::string refusal;          // "" when every instruction matches a row
  const RowRef* row = nullptr;  // of the first
  bool only_optional = true;    // opcodes that the host can expand are all that is missing
  bool too_long = false;
  uint64_t packed = 0, bake_dims = 0, bake_strides = 0;
  bool bakes() const { return bake_dims || bake_strides; }
};
Match match(const std::vector<RowRef>& rows, const registry::LoadedPlugin* plugin, const MapBuilder::Program& p, int rank) {
  Match m;
  for (const tg_map_inst& inst : p.insts) {
    bool found = false;
    std::string passed;  // a row that would do but for this
    int to = registry::dtype_position(inst.dtype);
    for (const RowRef& r : rows) {
      if (r.plugin != plugin) continue;
      const tg_kernel_row& row = r.row->row;
      // A cast is found by its operand's dtype in the row and its result's in the row's list.
      const bool cast = inst.opcode == TG_MAP_CAST;
      if (!r.row->pattern.matches_instruction(cast ? inst.from : inst.dtype)) continue;
      if (!(row.map_opcodes >> inst.opcode & 1)) continue;
      if (cast && !(row.map_casts >> to & 1)) continue;
      if (row.op_revision > 1) {
        passed = ": one implements revision " + std::to_string(row.op_revision) + " of map, this version has 1";
        continue;
      }
      if (row.max_rank && rank > int(row.max_rank)) {
        passed = " of rank " + std::to_string(rank) + ": one takes rank up to " + std::to_string(row.max_rank);
        continue;
      }
      found = true;
      if (!m.row) m.row = &r;
      if (row.map_max_insts && p.insts.size() > row.map_max_insts) m.too_long = true;
      m.packed |= row.packed | (row.bake_strides & kOutputs);  // results are contiguous where their strides are baked
      m.bake_dims |= row.bake_dims;
      m.bake_strides |= row.bake_strides;
      break;
    }
    if (found) continue;
    if (!is_optional_opcode(inst.opcode)) m.only_optional = false;
    if (m.refusal.empty()) {
      const char* name = registry::map_opcode_name(inst.opcode);
      m.refusal = std::string("has no row for ") + (name ? name : "?") + " in " + registry::dtype_name(to) + passed;
    }
  }
  return m;
}

// How much of a call a row of an older revision of the op knows: what came later is left out.
struct Known {
  uint32_t inputs, plan_attrs;
  uint32_t most_inputs = ~0u, most_run_attrs = ~0u;
};
Known known_to(const RowRef& r, const KernelRequest& q) {
  Known k{uint32_t(q.inputs.size()), uint32_t(q.attrs.size())};
  const int revision = int(r.row->row.op_revision);
  if (!q.schema || revision >= q.schema->revision) return k;
  k.most_inputs = k.most_run_attrs = 0;
  for (const InputSpec& i : q.schema->inputs) k.most_inputs += i.since <= revision;
  if (!q.schema->inputs.empty() && q.schema->inputs.back().variadic) k.most_inputs = ~0u;
  for (const AttrSpec& a : q.schema->attrs) {
    if (a.run) k.most_run_attrs += a.since <= revision;
    else k.plan_attrs -= a.since > revision;
  }
  k.inputs = std::min(k.inputs, k.most_inputs);
  return k;
}

tg_call call_for(const KernelRequest& q, const RowRef& r, const Known& known, const tg_tensor* const* args, uint64_t present,
                 uint64_t wanted) {
  tg_call call{};
  call.struct_size = sizeof call;
  call.row = r.index;
  call.op = q.kernel;
  call.op_revision = r.row->row.op_revision;
  call.math = math_mode();
  call.n_inputs = known.inputs;
  call.n_outputs = uint32_t(q.outputs.size());
  call.n_attrs = known.plan_attrs;
  call.device = q.device->provider_index;
  call.inputs = args;
  call.outputs = args + q.inputs.size();
  call.attrs = q.attrs.data();
  call.inputs_present = present;
  call.outputs_wanted = wanted;
  call.native_device = q.device->native_device;
  call.native_context = q.device->native_context;
  call.threads = num_threads();
  return call;
}

// "" when the plugin takes the call; else its reason.
std::string ask_support(const RowRef& r, const tg_call& call, int64_t* est_ns) {
  const tg_kernel_api& kernels = *r.plugin->table.kernels;
  if (!kernels.supports) return "";
  tg_support support{};
  kernels.supports(r.plugin->instance, &call, &support);
  support.reason[sizeof support.reason - 1] = 0;
  *est_ns = support.est_ns;
  if (support.ok) return "";
  return support.reason[0] ? support.reason : "refused without giving a reason (a defect of the plugin)";
}

// "" and *plan, or the reason why there is none.
std::string ask_plan(const RowRef& r, const tg_call& call, void** plan) {
  tg_error error{};
  const int32_t status = r.plugin->table.kernels->plan_create(r.plugin->instance, &call, plan, &error);
  if (status == TG_OK) return "";
  error.message[sizeof error.message - 1] = 0;
  return error.message[0] ? error.message : "plan_create failed with status " + std::to_string(status);
}

// "" when a row's private layouts fit the call; else why not.
std::string layout_refusal(const RowRef& r, const KernelRequest& q) {
  const registry::LayoutPattern& want = r.row->layouts;
  for (size_t i = 0; i < q.inputs.size(); ++i) {
    const uint16_t have = i < q.layouts.size() ? q.layouts[i] : 0;
    const std::string_view tag = want.input(i);
    if (tag.empty() && !(have && q.exact_layouts)) continue;  // the host makes a plain tensor of it
    if (have && Layouts::tag(have).plugin == r.plugin && Layouts::tag(have).name == tag) continue;
    return "takes input " + std::to_string(i) + " in its layout " + std::string(tag) + ", it is " + (have ? "in another" : "plain");
  }
  for (size_t i = 0; i < q.outputs.size(); ++i) {
    const std::string_view tag = want.output(i);
    if (tag.empty() || !q.outputs[i]) continue;
    const std::string gives = "gives output " + std::to_string(i) + " in its layout " + std::string(tag) + ", ";
    if (!q.free_results) return gives + "the call writes into a tensor that is there, or runs under a memory limit";
    bool way_back = false;
    const tg_dtype t = q.outputs[i]->dtype;
    for (const RowRef& back : q.device->kernels("reorder").rows)
      way_back = way_back || (back.plugin == r.plugin && back.row->layouts.input(0) == tag && back.row->layouts.output(0).empty() &&
                              back.row->pattern.matches({&t, 1}, {&t, 1}));
    if (!way_back) return gives + "and has no row for reorder that makes it plain";
  }
  return "";
}

// Asks a new plan for its layouts and algorithm. "" or why it cannot be used.
std::string ask_info(const RowRef& r, const KernelRequest& q, const tg_call& call, void* plan, KernelPlan* out) {
  const registry::LayoutPattern& want = r.row->layouts;
  tg_plan_info info{};
  info.struct_size = sizeof info;
  if (const auto ask = r.plugin->table.kernels->plan_info; ask && ask(plan, &info) == TG_OK) {
    if (info.algorithm) out->algorithm = info.algorithm;
  } else if (want.any()) {
    return "its row names private layouts, and it has no plan_info that tells their sizes";
  }
  if (!want.any()) return info.n_layouts ? "plan_info names private layouts, its row does not" : "";
  const size_t n = call.n_inputs + call.n_outputs;
  if (info.n_layouts != n || !info.layouts || info.layout_stride < sizeof(tg_layout))
    return "plan_info: expected the layouts of " + std::to_string(n) + " arguments, got " + std::to_string(info.n_layouts);
  std::vector<ArgLayout> made(q.inputs.size() + q.outputs.size());
  for (size_t i = 0; i < n; ++i) {
    const bool input = i < call.n_inputs;
    const size_t k = input ? i : i - call.n_inputs;
    tg_layout said;
    std::memcpy(&said, reinterpret_cast<const char*>(info.layouts) + i * info.layout_stride, sizeof said);
    const std::string_view tag = input ? want.input(k) : want.output(k);
    if (!(input ? q.inputs[k] : q.outputs[k]) || (!said.tag && (tag.empty() || !input))) continue;
    if (!said.tag || tag != said.tag || !said.bytes)
      return std::string("plan_info: ") + (input ? "input " : "output ") + std::to_string(k) + ": expected the layout " +
             (tag.empty() ? "of a plain tensor" : std::string(tag)) + " with a size, got " + (said.tag ? said.tag : "a plain one");
    made[input ? k : q.inputs.size() + k] = {Layouts::number(r.plugin, tag), said.bytes};
  }
  out->layouts = std::move(made);
  return "";
}

const char* row_name(const RowRef& r) { return r.row->row.name ? r.row->row.name : ""; }

}  // namespace

std::shared_ptr<KernelPlan> select_kernel(const KernelRequest& q, std::vector<WhyCandidate>* why) {
  const KernelSet& set = q.device->kernels(q.kernel);
  std::shared_ptr<KernelPlan> best;
  const size_t n_in = q.inputs.size(), n_out = q.outputs.size();
  // Without data, and contiguous where a row asks for it.
  std::vector<tg_tensor> plain(n_in + n_out), packed(n_in + n_out);
  std::vector<Ints> strides(n_in + n_out);
  std::vector<const tg_tensor*> args(n_in + n_out, nullptr);
  std::vector<tg_dtype> dtypes(n_in + n_out);
  uint64_t present = 0, wanted = 0;
  int rank = 0;
  for (size_t i = 0; i < n_in + n_out; ++i) {
    const tg_tensor* t = i < n_in ? q.inputs[i] : q.outputs[i - n_in];
    if (i < n_in && (t || i >= 64) && i < 64) present |= uint64_t(1) << i;
    if (i >= n_in && t && i - n_in < 64) wanted |= uint64_t(1) << (i - n_in);
    if (!t) continue;
    plain[i] = packed[i] = *t;
    plain[i].data = packed[i].data = nullptr;
    strides[i] = contiguous_strides({t->shape, size_t(t->ndim)});
    packed[i].strides = strides[i].data();
    dtypes[i] = t->dtype;
    rank = std::max(rank, t->ndim);
  }
  auto note = [&](const RowRef& r, bool ok, bool chosen, int64_t est, std::string reason) {
    if (why)
      why->push_back({r.plugin->name, row_name(r), ok, chosen, est, r.row->row.score, std::move(reason)});
    if (debug_enabled() && !chosen && !ok)
      debug_line(std::string("[") + q.op + "] " + r.plugin->name + "/" + row_name(r) + " refused: " + reason);
  };
  for (const RowRef& r : set.rows) {
    const tg_kernel_row& row = r.row->row;
    std::string reason;
    const Known known = known_to(r, q);
    if (!r.row->pattern.matches({dtypes.data(), known.inputs}, {dtypes.data() + n_in, n_out}, present, wanted, &reason)) {
      note(r, false, false, 0, reason.empty() ? "takes " + r.row->pattern.text() + ", asked " + dtypes_text(q) : reason);
      continue;
    }
    if (const int revision = int(row.op_revision); revision > q.schema->revision || revision < q.needs) {
      note(r, false, false, 0, "implements revision " + std::to_string(revision) + " of the op, " +
           (revision < q.needs ? std::string("the call uses ") + q.needed_for + " of revision " + std::to_string(q.needs)
                               : "this version has " + std::to_string(q.schema->revision)));
      continue;
    }
    if (r.row->layouts.any() || q.exact_layouts)
      if (reason = layout_refusal(r, q); !reason.empty()) {
        note(r, false, false, 0, reason);
        continue;
      }
    if (row.max_rank && rank > int(row.max_rank)) {
      note(r, false, false, 0, "takes rank up to " + std::to_string(row.max_rank) + ", asked " + std::to_string(rank));
      continue;
    }
    for (size_t i = 0; i < n_in + n_out; ++i) {
      const bool absent = !(i < n_in ? q.inputs[i] : q.outputs[i - n_in]);
      const size_t bit = i < n_in ? i : 32 + i - n_in;
      args[i] = absent ? nullptr : bit < 64 && (row.packed >> bit & 1) ? &packed[i] : &plain[i];
    }
    const tg_call call = call_for(q, r, known, args.data(), present, wanted);
    int64_t est_ns = 0;
    if (reason = ask_support(r, call, &est_ns); !reason.empty()) {
      note(r, false, false, 0, reason);
      continue;
    }
    if (best) {
      note(r, true, false, est_ns, "could run it; an earlier candidate ranks higher");
      continue;
    }
    void* plan = nullptr;
    if (reason = ask_plan(r, call, &plan); !reason.empty()) {
      note(r, false, false, 0, reason);
      continue;
    }
    auto made = std::make_shared<KernelPlan>(r, q.device, q.op, plan, known.most_inputs, known.most_run_attrs);
    if (reason = ask_info(r, q, call, plan, made.get()); !reason.empty()) {
      note(r, false, false, 0, reason);
      continue;
    }
    best = std::move(made);
    note(r, true, true, est_ns, best->algorithm.empty() ? "chosen: ranks first" : "chosen: ranks first; algorithm " + best->algorithm);
    if (debug_enabled()) debug_line(std::string("[") + q.op + "] " + q.device->name + " " + dtypes_text(q) + " -> " + r.plugin->name + "/" + (row.name ? row.name : ""));
    if (!why) return best;
  }
  if (why)
    for (const auto& [r, reason] : set.unusable) note(r, false, false, 0, reason);
  return best;
}

std::shared_ptr<MapPlan> select_map(Device* device, const char* op, MapBuilder::Program program, const MapShape& at,
                                    std::vector<WhyCandidate>* why) {
  const int rank = int(at.shape.size());
  auto result = std::make_shared<MapPlan>();
  const KernelSet& set = device->kernels("map");
  std::vector<const registry::LoadedPlugin*> plugins;
  for (const RowRef& r : set.rows)
    if (std::find(plugins.begin(), plugins.end(), r.plugin) == plugins.end()) plugins.push_back(r.plugin);
  // Shapes do not matter to polymorphic rows: any sizes of the right rank.
  const Ints any_shape(rank, 2), any_strides = contiguous_strides(any_shape), dense = contiguous_strides(at.shape);
  const size_t n_program = program.inputs.size();
  // `ids`: which values of the whole program the inputs of `p` are.
  auto plan_for = [&](const registry::LoadedPlugin* plugin, const MapBuilder::Program& p, std::span<const uint16_t> ids,
                      uint64_t* packed) -> std::shared_ptr<KernelPlan> {
    const Match m = match(set.rows, plugin, p, rank);
    const RowRef* used = m.row;
    if (!used) return nullptr;
    *packed = m.packed;
    const Ints& shape = m.bakes() ? at.shape : any_shape;
    auto desc = [&](DType t, const Ints& strides) {
      return tg_tensor{nullptr, device->host ? tg_device{TG_DEVICE_HOST, 0} : tg_device{TG_DEVICE_PLUGIN, device->index}, rank,
                       abi_dtype(t), shape.data(), strides.data(), 0};
    };
    std::vector<tg_tensor> descs;
    for (size_t i = 0; i < p.inputs.size(); ++i) {
      const bool whole = !m.bakes() || ids[i] >= n_program || (i < 32 && m.packed >> i & 1);
      descs.push_back(desc(p.inputs[i], !m.bakes() ? any_strides : whole ? dense : at.strides[ids[i]]));
    }
    for (DType t : p.output_dtypes) descs.push_back(desc(t, m.bakes() ? dense : any_strides));
    std::vector<const tg_tensor*> args;
    for (auto& d : descs) args.push_back(&d);
    tg_attr attrs[2]{};
    attrs[0].kind = TG_ATTR_PROGRAM;
    attrs[0].n = uint32_t(p.insts.size());
    attrs[0].v.program = p.insts.data();
    attrs[1].kind = TG_ATTR_INTS;
    attrs[1].n = uint32_t(p.outputs.size());
    attrs[1].v.ints = p.outputs.data();
    const KernelRequest q{device, op, "map", nullptr, 1, "", {args.data(), p.inputs.size()}, {args.data() + p.inputs.size(), p.output_dtypes.size()}, attrs};
    const uint64_t present = p.inputs.size() >= 64 ? ~uint64_t(0) : (uint64_t(1) << p.inputs.size()) - 1;
    const tg_call call = call_for(q, *used, known_to(*used, q), args.data(), present, (uint64_t(1) << p.output_dtypes.size()) - 1);
    int64_t est_ns = 0;
    void* plan = nullptr;
    std::string reason = ask_support(*used, call, &est_ns);
    if (reason.empty()) reason = ask_plan(*used, call, &plan);
    if (reason.empty()) return std::make_shared<KernelPlan>(*used, device, op, plan);
    if (why) why->push_back({plugin->name, row_name(*used), false, false, 0, used->row->row.score, reason});
    if (debug_enabled()) debug_line(std::string("[") + op + "] " + plugin->name + "/" + row_name(*used) + " refused: " + reason);
    return nullptr;
  };
  for (const registry::LoadedPlugin* plugin : plugins) {
    MapBuilder::Program p = program;
    Match m = match(set.rows, plugin, p, rank);
    if (!m.refusal.empty() && m.only_optional) {
      p = expand_program(program, [&](const tg_map_inst& inst) {
        MapBuilder::Program single;
        single.insts = {inst};
        return match(set.rows, plugin, single, rank).refusal.empty();
      });
      m = match(set.rows, plugin, p, rank);
    }
    if (!m.refusal.empty()) {
      if (why) why->push_back({plugin->name, "map", false, false, 0, 0, m.refusal});
      continue;
    }
    const RowRef* used = m.row;
    const char* name = used->row->row.name ? used->row->row.name : "";
    result->bakes_dims |= m.bakes();  // contiguous strides follow from the dims
    result->bakes_strides |= m.bake_strides != 0;
    if (!result->stages.empty()) {
      why->push_back({plugin->name, name, true, false, 0, used->row->row.score, "could run it; an earlier candidate ranks higher"});
      continue;
    }
    std::vector<MapPlan::Stage> stages;
    const size_t n_in = p.inputs.size();
    if (!m.too_long) {
      MapPlan::Stage s;
      for (size_t i = 0; i < n_in; ++i) s.inputs.push_back(uint16_t(i));
      s.kernel = plan_for(plugin, p, s.inputs, &s.packed);
      if (!s.kernel) continue;
      for (int64_t j : p.outputs) s.outputs.push_back(uint16_t(n_in + j));
      for (size_t i = 0; i < p.immediates.size(); ++i) s.immediates.push_back(uint16_t(i));
      stages.push_back(std::move(s));
    } else {  // one instruction a stage, results in temporaries
      bool ok = true;
      for (SingleInst& single : split_program(p)) {
        MapPlan::Stage s;
        s.inputs = std::move(single.inputs);
        s.kernel = plan_for(plugin, single.program, s.inputs, &s.packed);
        s.immediates = std::move(single.immediates);
        s.outputs.push_back(uint16_t(n_in + stages.size()));
        ok = s.kernel != nullptr;
        stages.push_back(std::move(s));
        if (!ok) break;
      }
      if (!ok) continue;
    }
    if (why)
      why->push_back({plugin->name, name, true, true, 0, used->row->row.score,
                      stages.size() > 1 ? "chosen: ranks first; split into " + std::to_string(stages.size()) + " calls" : "chosen: ranks first"});
    if (debug_enabled()) debug_line(std::string("[") + op + "] " + device->name + " -> " + plugin->name + "/" + name);
    result->stages = std::move(stages);
    result->program = std::move(p);
    if (!why) break;
  }
  if (why)
    for (const auto& [r, reason] : set.unusable) why->push_back({r.plugin->name, row_name(r), false, false, 0, r.row->row.score, reason});
  return result;
}

// ---- cache ----------------------------------------------------------------------------------------------------------------------

PlanCache& PlanCache::get() {
  static PlanCache& cache = []() -> PlanCache& {
    auto& c = *new PlanCache();
    const char* text = std::getenv("TENGEN_PLAN_CACHE");
    const long n = text ? std::strtol(text, nullptr, 10) : 0;
    c.capacity_ = n > 0 ? size_t(n) : 4096;
    return c;
  }();
  return cache;
}

std::shared_ptr<const PlanEntry> PlanCache::find(const std::string& key) {
  std::lock_guard lock(mutex_);
  const auto it = index_.find(key);
  if (it == index_.end()) return nullptr;
  order_.splice(order_.begin(), order_, it->second);
  counters().hits.fetch_add(1, std::memory_order_relaxed);
  return it->second->second;
}

std::shared_ptr<const PlanEntry> PlanCache::insert(const std::string& key, PlanEntry entry) {
  auto shared = std::make_shared<const PlanEntry>(std::move(entry));
  std::lock_guard lock(mutex_);
  if (const auto it = index_.find(key); it != index_.end()) return it->second->second;  // another thread was first
  order_.emplace_front(key, shared);
  index_[key] = order_.begin();
  if (order_.size() > capacity_) {
    index_.erase(order_.back().first);
    order_.pop_back();
  }
  return shared;
}

void PlanCache::clear() {
  std::lock_guard lock(mutex_);
  index_.clear();
  order_.clear();
  generation_.fetch_add(1);
}

size_t PlanCache::size() {
  std::lock_guard lock(mutex_);
  return order_.size();
}

void clear_plan_cache() { PlanCache::get().clear(); }
void end_plans() {
  clear_plan_cache();
  KernelPlan::end_all();
}
DispatchStats dispatch_stats() {
  Counters& c = counters();
  return {c.plans_created, c.hits, PlanCache::get().size(), launches(), c.decompositions, c.fallbacks,
          c.batch_loops};
}

}  // namespace tg
