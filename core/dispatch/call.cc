// SPDX-License-Identifier: Apache-2.0
// One call: check, infer, find the plan, allocate, launch, record.
#include "dispatch/call.h"
#include "dispatch/capture.h"

#include <tengen/autocast.h>
#include <tengen/call_log.h>
#include <tengen/random.h>
#include "transform/transform.h"
#include "runtime/layout.h"
#include "runtime/remat.h"

#include <algorithm>
#include <cstring>

namespace tg {
namespace {

thread_local Why* t_trace = nullptr;

uint64_t hidden_wanted(const Op& op, uint64_t wanted) {
  for (size_t i = 0; i < op.outputs.size(); ++i)
    if (!op.outputs[i].hidden) wanted |= uint64_t(1) << i;
  return wanted;
}

// What the inputs ask for besides the kernel.
struct Marks {
  bool grad = false, transformed = false;
};
Marks marks_of(std::span<const Arg> inputs) {
  Marks m;
  for (const Arg& a : inputs)
    if (a.kind == Arg::tensor) {
      m.grad |= a.t.impl()->requires_grad;
      m.transformed |= a.t.impl()->transformed;
    }
  return m;
}

}  // namespace

void check_arguments(const Op& op, std::span<const Arg> inputs) {
  size_t most = op.inputs.size();
  const bool variadic = !op.inputs.empty() && op.inputs.back().variadic;
  if (inputs.size() > most && !variadic)
    raise(ErrorKind::type, "[", op.name, "] expected at most ", most, " inputs, got ", inputs.size());
  for (size_t i = 0; i < op.inputs.size(); ++i) {
    const InputSpec& s = op.inputs[i];
    if (s.optional || s.variadic) continue;
    if (i >= inputs.size() || inputs[i].kind == Arg::absent)
      raise(ErrorKind::type, "[", op.name, "] expected the argument ", s.name, ", got none");
  }
}

std::vector<WhyCandidate>* trace_step(const Op& op, std::span<const Tensor> in, const std::string& how) {
  std::string dtypes;
  for (const Tensor& t : in)
    if (t.defined()) dtypes += (dtypes.empty() ? "" : " ") + std::string(name_of(t.dtype()));
  for (WhyStep& s : t_trace->steps)
    if (s.op == op.name && s.how == how && s.dtypes == dtypes) {
      ++s.count;
      return nullptr;
    }
  t_trace->steps.push_back({op.name, dtypes, how, 1, {}});
  return &t_trace->steps.back().candidates;
}
bool tracing() { return t_trace != nullptr; }
Why* set_trace(Why* trace) { return std::exchange(t_trace, trace); }

Attrs complete_attrs(const Op& op, std::span<const Attr> attrs) {
  if (attrs.size() > op.attrs.size())
    raise(ErrorKind::type, "[", op.name, "] expected at most ", op.attrs.size(), " attributes, got ", attrs.size());
  Attrs full;
  full.reserve(op.attrs.size());
  for (size_t i = 0; i < op.attrs.size(); ++i) {
    if (i < attrs.size() && attrs[i].given()) full.push_back(attrs[i]);
    else if (op.attrs[i].default_value.given() && op.attrs[i].kind == AttrKind::dtype && op.attrs[i].default_value.dtype() == DType::f32)
      full.push_back(default_float());  // of what makes tensors
    else if (op.attrs[i].default_value.given() || op.attrs[i].optional) full.push_back(op.attrs[i].default_value);
    else raise(ErrorKind::type, "[", op.name, "] expected the attribute ", op.attrs[i].name, ", got none");
  }
  return full;
}

Device* common_device(const Op& op, std::span<const Arg> inputs, Device* device) {
  Device* found = nullptr;
  for (const Arg& a : inputs) {
    if (a.kind != Arg::tensor) continue;
    Device* d = a.t.device();
    if (found && d != found)
      raise(ErrorKind::value, "[", op.name, "] expected all tensors on one device, got ", found->name, " and ", d->name,
            "; move one with .to()");
    found = d;
  }
  return found ? found : device ? device : default_device();
}

Tensor scalar_tensor(const Scalar& s, DType dtype, Device* device) {
  GradMode off(false);
  if (is_composed(dtype) || s.range != Scalar::word) {  // more than an attribute holds
    char bytes[16];
    s.store(dtype, bytes);
    return Tensor::from_host(bytes, Ints{}, dtype, device);
  }
  return op<"full">({}, {Ints{}, s.kind == Scalar::floating ? Attr(s.f) : Attr(s.i), dtype}, device);
}

bool dense_permuted(const Tensor& t) {
  const Ints dense = strides_like(t, t.shape());
  for (int64_t i = 0; i < t.rank(); ++i)
    if (t.shape()[i] != 1 && t.strides()[i] != dense[i]) return false;
  return true;
}

Ints strides_like(const Tensor& like, std::span<const int64_t> shape) {
  Ints order;  // axes, outermost in memory first
  for (int64_t i = 0; i < like.rank(); ++i) order.push_back(i);
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return like.strides()[a] > like.strides()[b]; });
  Ints strides(shape.size(), 1);
  int64_t step = 1;
  for (size_t k = order.size(); k-- > 0;) {
    strides[order[k]] = step;
    step *= std::max<int64_t>(shape[order[k]], 1);
  }
  return strides;
}

bool same_place(const Tensor& a, const Tensor& b) {
  const auto address = [](const Tensor& t) { return static_cast<const char*>(t.storage()->data()) + t.impl()->desc.byte_offset; };
  return shares_memory(a, b) && address(a) == address(b) && a.shape() == b.shape() && a.strides() == b.strides() && a.dtype() == b.dtype();
}

Tensors as_tensors(const Op& op, std::span<const Arg> inputs, Device* device) {
  Tensors in;
  in.reserve(inputs.size());
  for (const Arg& a : inputs) {
    if (a.kind != Arg::scalar) {
      in.push_back(a.t);
      continue;
    }
    const auto beside = std::find_if(inputs.begin(), inputs.end(), [](const Arg& b) { return b.kind == Arg::tensor; });
    const DType t = beside == inputs.end() ? default_dtype(a.s.kind) : promote(beside->t.dtype(), a.s.kind);
    check_fits(op.name.c_str(), a.s, t);
    in.push_back(scalar_tensor(a.s, t, device));
  }
  return in;
}

void write_into(const Tensor& out, const Tensor& value) {
  GradMode off(false);
  const Tensor outs[] = {out};
  const Arg in[] = {value};
  call_kernel(op_named<"copy">(), in, {}, outs, out.device(), 1);
}

// ---- kernels ---------------------------------------------------------------------------------------------------------------

namespace {

// A copy that needs no kernel. False where it does.
bool copy_bytes(const Tensor& from, const Tensor& to) {
  Device* d = to.device();
  if (d->host || capturing() || !from.is_contiguous() || !to.is_contiguous() || shares_memory(from, to)) return false;
  if (tracing()) trace_step(op_named<"copy">(), {&from, 1}, d->provider->name + "/copy_on_device");
  if (NoMemory::on()) return true;
  d->check_usable();
  Stream* stream = current_stream(d);
  from.storage()->used_on(stream);
  to.storage()->used_on(stream);
  tg_error error{};
  std::lock_guard lock(stream->mutex);
  const int32_t status =
      d->api->copy_on_device(d->instance, d->provider_index, stream->handle, to.storage()->data(), to.impl()->desc.byte_offset,
                             from.storage()->data(), from.impl()->desc.byte_offset, from.nbytes(), &error);
  if (status != TG_OK) d->fail(status, error, "copy on device");
  return true;
}

// The op's decomposition. A part that finds a bad index says so in the op's name, unless users do not know that either.
Tensors decomposed(const Op& op, const Call& call) {
  try {
    return op.decompose(call);
  } catch (const Error& e) {
    const std::string text = e.what();
    const size_t end = text.find("] ");
    if (op.internal || e.kind() != ErrorKind::index || text[0] != '[' || end == text.npos) throw;
    throw Error(ErrorKind::index, "[" + op.name + text.substr(end));
  }
}

Tensors parts(const Op& op, std::span<const Tensor> inputs, std::span<const Attr> attrs, std::span<const Tensor> outs,
                  uint64_t wanted, Device* device) {
  counters().decompositions.fetch_add(1, std::memory_order_relaxed);
  Tensors results = decomposed(op, Call{op, inputs, attrs, wanted, device, outs});
  results.resize(std::max(results.size(), op.outputs.size()));  // more, where the op has any number of them
  for (size_t i = 0; i < outs.size(); ++i)
    if (outs[i].defined() && !same(outs[i], results[i])) {
      write_into(outs[i], results[i]);
      results[i] = outs[i];
    }
  return results;
}
// Under a memory limit its parts are what is remembered; the whole where they write into what it returns.
Tensors decompose(const Op& op, std::span<const Tensor> inputs, std::span<const Attr> attrs, std::span<const Tensor> outs,
                  uint64_t wanted, Device* device) {
  if (!remat::recording() || !outs.empty()) [[likely]] return parts(op, inputs, attrs, outs, wanted, device);
  const int64_t drawn = random_state().offset;
  const double start = remat::now_ns();
  Tensors results = parts(op, inputs, attrs, outs, wanted, device);
  if (random_state().offset == drawn)  // it would draw other numbers
    remat::record(op, std::vector<Arg>(inputs.begin(), inputs.end()), attrs, results, device, wanted, remat::now_ns() - start);
  return results;
}

Tensors kernel_call(const Op& op, std::span<const Arg> inputs, std::span<const Attr> attrs, std::span<const Tensor> outs,
                    Device* device, uint64_t wanted);

}  // namespace

Tensors call_kernel(const Op& op, std::span<const Arg> inputs, std::span<const Attr> attrs, std::span<const Tensor> outs,
                    Device* device, uint64_t wanted) {
  Capture* capture = capturing();
  if (!capture) [[likely]] {
    if (captures_open.load(std::memory_order_relaxed)) [[unlikely]] check_operands(op, inputs, outs);
    return kernel_call(op, inputs, attrs, outs, device, wanted);
  }
  const CapturedCall call(capture);
  Tensors results = kernel_call(op, inputs, attrs, outs, device, wanted);
  if (call.outermost()) capture->called(op, inputs, attrs, outs, results, device);
  return results;
}

namespace {
Tensors kernel_call(const Op& op, std::span<const Arg> inputs, std::span<const Attr> attrs, std::span<const Tensor> outs,
                    Device* device, uint64_t wanted) {
  const Tensors in = as_tensors(op, inputs, device);
  if (op.view) {
    Tensors out = op.view(Call{op, in, attrs, wanted, device});
    for (const Tensor& t : out)
      for (const Tensor& i : in)
        if (i.defined() && t.storage() == i.storage()) note_view(i, t);
    return out;
  }
  if (op.kernel.empty()) {
    if (tracing()) trace_step(op, in, "decomposition");
    return decompose(op, in, attrs, outs, wanted, device);
  }

  // Inputs in private layouts stay so where a row takes them.
  std::vector<LayoutContent> layouts;
  if (remat::layouts() && !remat::active() && !capturing()) [[unlikely]]
    for (size_t i = 0; i < in.size(); ++i)
      if (in[i].defined() && in[i].storage()->layout())
        if (LayoutContent c = Layouts::content(in[i]); c.layout) layouts.resize(in.size()), layouts[i] = std::move(c);
  remat::Use use(layouts.empty() ? std::span<const Tensor>(in) : std::span<const Tensor>(), outs);

  // Shapes and dtypes of the outputs.
  ensure(bool(op.infer), "op ", op.name, " has kernels but no inference");
  std::vector<TensorSpec> specs;
  specs.reserve(in.size());
  std::vector<const TensorSpec*> spec_ptrs(in.size(), nullptr);
  for (const Tensor& t : in) {
    specs.push_back(t.defined() ? TensorSpec{t.dtype(), symbolic(t.shape())} : TensorSpec{});
    if (t.defined()) spec_ptrs[specs.size() - 1] = &specs.back();
  }
  const Specs out_specs = op.infer(Inference{op, spec_ptrs, attrs});
  Tensors results(out_specs.size());
  bool all_empty = true;
  std::vector<Ints> out_shapes;
  const bool permuted = op.keeps_layout && in[0].defined() && !in[0].is_contiguous() && dense_permuted(in[0]);
  for (size_t i = 0; i < out_specs.size(); ++i) {
    out_shapes.push_back(concrete(out_specs[i].shape));
    if (i < outs.size() && outs[i].defined()) {
      check(outs[i].shape() == out_shapes[i] && outs[i].dtype() == out_specs[i].dtype, "[", op.name, "] expected an output of shape ",
            str(out_shapes[i]), " and dtype ", name_of(out_specs[i].dtype), ", got ", str(outs[i].shape()), " and ", name_of(outs[i].dtype()));
      results[i] = outs[i];
    } else if (i >= op.outputs.size() || wanted >> i & 1) {  // beyond the schema's: more of its last output
      results[i] = Tensor::empty(out_shapes[i], out_specs[i].dtype, device);
      if (permuted && int64_t(out_shapes[i].size()) == in[0].rank())
        results[i] = results[i].alias(out_shapes[i], strides_like(in[0], out_shapes[i]), 0);
    }
    if (results[i].defined() && results[i].numel()) all_empty = false;
  }
  if (all_empty) return results;
  // Calls with an empty operand never reach a plugin.
  bool empty_input = false;
  for (const Tensor& t : in) empty_input = empty_input || (t.defined() && t.numel() == 0);

  AbiAttrs abi;
  marshal(op, attrs, &abi);
  SmallVec<const tg_tensor*, 12> in_desc, out_desc;
  for (const Tensor& t : in) in_desc.push_back(t.defined() ? &t.impl()->desc : nullptr);
  for (const Tensor& t : results) out_desc.push_back(t.defined() ? &t.impl()->desc : nullptr);

  std::shared_ptr<const PlanEntry> entry;
  SmallVec<uint16_t, 12> numbers;
  for (const LayoutContent& c : layouts) numbers.push_back(c.layout);
  const bool free_results = outs.empty() && !remat::active() && !capturing();
  const auto request = [&] {
    KernelRequest q = kernel_request(op, device, in, attrs, in_desc, out_desc, abi.plan);
    q.layouts = {numbers.data(), numbers.size()};
    q.free_results = free_results;
    return q;
  };
  if (!empty_input) {
    const KernelSet& set = device->kernels(op.kernel);
    const std::string key = plan_key(op, device, set, abi, in_desc, out_desc, {numbers.data(), numbers.size()}, free_results);
    entry = PlanCache::get().find(key);
    if (!entry) {
      PlanEntry made;
      made.kernel = select_kernel(request());
      entry = PlanCache::get().insert(key, std::move(made));
    }
  }
  if (!entry || !entry->kernel) {
    if (entry && op.kernel == "copy" && copy_bytes(in[0], results[0])) return results;
    const auto composed = [](const Tensor& t) { return t.defined() && is_composed(t.dtype()); };
    const bool composes = std::any_of(in.begin(), in.end(), composed) || std::any_of(results.begin(), results.end(), composed);
    if (composes && !empty_input && !op.decompose && op.family != "leaf") {
      call_composed(op, in, attrs, results, device);
      return results;
    }
    if (op.decompose) {
      if (tracing()) trace_step(op, in, "decomposition");
      if (use.on()) use.leave(), results.clear();  // its parts pin their own, and allocate
      return decompose(op, in, attrs, outs, wanted, device);
    }
    if (empty_input) {  // a primitive over nothing: the neutral element
      for (Tensor& t : results)
        if (t.defined() && !(op.kernel == "scatter")) {
          if (op.kernel == "matmul" && attrs[0].integer()) continue;
          double value = 0;
          if (op.kernel == "reduce") {
            const int64_t kind = attrs[0].integer();
            check(kind == TG_REDUCE_SUM || kind == TG_REDUCE_PROD || kind == TG_REDUCE_ANY || kind == TG_REDUCE_ALL, "[", op.name,
                  "] expected at least one element to take a maximum or minimum of, got shape ", str(in[0].shape()));
            value = kind == TG_REDUCE_PROD || kind == TG_REDUCE_ALL ? 1 : 0;
          }
          if (op.kernel == "gather")
            raise(ErrorKind::index, "[", op.name, "] expected no index of an axis of size 0, got indices of shape ", str(in[1].shape()));
          if (is_composed(t.dtype())) {
            write_into(t, scalar_tensor(Scalar(value), t.dtype(), device).alias(t.shape(), Ints(t.shape().size(), 0), 0));
            continue;
          }
          write_into(t, call(op_named<"full">(), {}, Attrs{Attr(t.shape()), Attr(value), Attr(t.dtype())}, device)[0]);
        }
      return results;
    }
    if (tracing()) trace_step(op, in, "fallback");
    use.leave();
    return call_fallback(op, inputs, attrs, outs, device, wanted);
  }
  const KernelPlan& plan = *entry->kernel;
  const tg_kernel_row& row = plan.row.row->row;

  // Blocks go as they are where the plan takes them; what else is in a private layout is made plain.
  std::array<tg_tensor, kMaxArgs> blocks;
  size_t n_blocks = 0;
  if (!layouts.empty()) [[unlikely]]
    for (size_t i = 0; i < in.size(); ++i) {
      if (!in[i].defined()) continue;
      const ArgLayout takes = i < plan.layouts.size() ? plan.layouts[i] : ArgLayout{};
      if (takes.layout && takes.layout == layouts[i].layout) {
        ensure(takes.bytes == layouts[i].block->bytes() && n_blocks < blocks.size(), "[", op.name, "] ", plan.row.plugin->name,
               " takes ", takes.bytes, " bytes in its layout ", Layouts::tag(takes.layout).name, ", and gave ", layouts[i].block->bytes());
        blocks[n_blocks] = *in_desc[i];
        blocks[n_blocks].data = layouts[i].block->data();
        in_desc[i] = &blocks[n_blocks++];
      } else {
        layouts[i] = {};
        Layouts::plain(in[i].impl());
      }
    }
  std::vector<Ref<Storage>> made_blocks;
  for (size_t i = 0; i < results.size() && !plan.layouts.empty(); ++i) {
    const ArgLayout gives = plan.layouts[in.size() + i];
    if (!gives.layout) continue;
    ensure(n_blocks < blocks.size(), "[", op.name, "] has more results than expected");
    results[i] = Tensor();  // its memory may serve the block
    made_blocks.push_back(Storage::allocate(device, gives.bytes));
    results[i] = Layouts::make(gives.layout, made_blocks.back(), out_shapes[i], out_specs[i].dtype, device);
    blocks[n_blocks] = results[i].impl()->desc;
    blocks[n_blocks].data = made_blocks.back()->data();
    out_desc[i] = &blocks[n_blocks++];
  }

  // Contiguous where the row asks; no overlap of outputs and inputs but where the row allows it.
  Tensors temporaries;
  std::vector<std::pair<size_t, Tensor>> copy_back;
  for (size_t i = 0; i < in.size(); ++i)
    if (in[i].defined() && i < 32 && (row.packed >> i & 1) && !in[i].is_contiguous()) {
      temporaries.push_back(in[i].contiguous());
      in_desc[i] = &temporaries.back().impl()->desc;
    }
  const bool updates = op.is_floor && (op.kernel == "scatter" || (op.kernel == "matmul" && attrs[0].integer()));
  for (size_t i = 0; i < outs.size() && i < results.size(); ++i) {
    if (!outs[i].defined()) continue;
    bool replace = (row.packed >> (32 + i) & 1) && !outs[i].is_contiguous();
    for (size_t j = 0; j < in.size(); ++j) {
      if (!in[j].defined() || !shares_memory(outs[i], in[j])) continue;
      const bool exact = i < 8 && j < 8 && (row.alias >> (8 * i + j) & 1) && same_place(outs[i], in[j]);
      if (!exact) replace = true;
    }
    if (!replace) continue;
    Tensor t = Tensor::empty(out_shapes[i], outs[i].dtype(), device);
    if (updates) write_into(t, outs[i]);
    out_desc[i] = &t.impl()->desc;
    copy_back.emplace_back(i, t);
  }
  if (device->kernels(op.kernel).bakes_strides && (!temporaries.empty() || !copy_back.empty())) {
    // The plan was made for the strides of what has been replaced.
    std::vector<Arg> packed(in.begin(), in.end());
    Tensors into(outs.begin(), outs.end());
    for (size_t i = 0, k = 0; i < in.size(); ++i)
      if (in[i].defined() && in_desc[i] != &in[i].impl()->desc && !(i < layouts.size() && layouts[i].layout)) packed[i] = temporaries[k++];
    for (auto& [i, t] : copy_back) into[i] = t;
    Tensors made = call_kernel(op, packed, attrs, into, device, wanted);
    for (auto& [i, t] : copy_back) {
      write_into(results[i], t);
      made[i] = results[i];
    }
    return made;
  }
  if (tracing()) {
    if (auto* candidates = trace_step(op, in, plan.row.plugin->name + "/" + (row.name ? row.name : op.kernel)))
      select_kernel(request(), candidates);
    if (NoMemory::on()) {
      for (auto& [i, t] : copy_back) write_into(results[i], t);
      return results;
    }
  }
  if (!device->host) {
    Stream* stream = current_stream(device);
    for (const Tensor& t : in)
      if (t.defined()) t.storage()->used_on(stream);
    for (const Tensor& t : results)
      if (t.defined()) t.storage()->used_on(stream);
    for (const LayoutContent& c : layouts)
      if (c.layout) c.block->used_on(stream);
    for (const auto& b : made_blocks) b->used_on(stream);
  }
  uint64_t present = 0, want = 0;
  for (size_t i = 0; i < in_desc.size() && i < 64; ++i) present |= uint64_t(in_desc[i] != nullptr) << i;
  for (size_t i = 0; i < out_desc.size() && i < 64; ++i) want |= uint64_t(out_desc[i] != nullptr) << i;
  use.start();
  plan.run({in_desc.data(), out_desc.data(), abi.run.data(), std::min(uint32_t(in_desc.size()), plan.most_inputs),
            uint32_t(out_desc.size()), std::min(uint32_t(abi.run.size()), plan.most_attrs), present, want});
  for (auto& [i, t] : copy_back) write_into(results[i], t);
  if (use.on() && outs.empty()) [[unlikely]]
    use.record(op, std::vector<Arg>(in.begin(), in.end()), attrs, results, device, wanted);
  return results;
}

}  // namespace

Tensors remat::replay(const Op& op, std::span<const Arg> in, std::span<const Attr> attrs, Device* device, uint64_t wanted) {
  GradMode off(false);
  AutocastPause pause;
  CreationScope none(nullptr);
  CaptureScope computing(nullptr);
  return op.map ? call_map(op, in, attrs, {}, device) : call_kernel(op, in, attrs, {}, device, wanted);
}

// ---- the entry points ----------------------------------------------------------------------------------------------------------

namespace {

// Runs an op that is not a map; the gradient comes from its own rule or from the ops of its decomposition.
Tensors run(const Op& op, std::span<const Arg> inputs, std::span<const Attr> full, std::span<const Tensor> outs, Device* device,
            uint64_t wanted, bool record) {
  CreationScope none(nullptr);
  if (record && !op.grad && op.decompose && !op.view) {
    // The decomposition is what is differentiated.
    const Tensors in = as_tensors(op, inputs, device);
    Tensors results = decomposed(op, Call{op, in, full, wanted, device});
    results.resize(op.outputs.size());
    return results;
  }
  GradMode off(false);
  return call_kernel(op, inputs, full, outs, device, wanted);
}

}  // namespace

Tensors call(const Op& op, std::span<const Arg> inputs, std::span<const Attr> attrs, Device* device, uint64_t wanted) {
  if (CallLog* log = call_log_for(op)) [[unlikely]] return log->run(op, inputs, attrs, device, wanted);
  if (autocasting()) [[unlikely]] return call_autocast(op, inputs, attrs, device, wanted);
  return call_plain(op, inputs, attrs, device, wanted);
}

Tensors call_plain(const Op& op, std::span<const Arg> inputs, std::span<const Attr> attrs, Device* device, uint64_t wanted) {
  const Marks marks = marks_of(inputs);
  if (marks.transformed || (op.draws && drawn_on_level(op))) [[unlikely]]
    return call_transformed(op, inputs, attrs, device, wanted);
  const bool record = marks.grad && grad_enabled() && op.differentiable;
  const remat::Recording recording(grad_enabled());
  if (record)
    for (const Arg& a : inputs)
      if (a.kind == Arg::tensor) check_stale(a.t, op.name.c_str());
  if (op.map) {
    Tensors results = call_map(op, inputs, attrs, {}, device);
    if (record) record_call(op, inputs, op.attrs.empty() ? std::span<const Attr>() : std::span<const Attr>(complete_attrs(op, attrs)), results);
    return results;
  }
  check_arguments(op, inputs);
  Attrs full = complete_attrs(op, attrs);
  if (op.canonical) op.canonical(inputs, full);
  device = common_device(op, inputs, device);
  wanted = hidden_wanted(op, wanted);
  if (record && op.grad)
    for (size_t i = 0; i < op.outputs.size(); ++i)
      if (op.outputs[i].hidden && (op.save_outputs >> i & 1)) wanted |= uint64_t(1) << i;
  Tensors results = run(op, inputs, full, {}, device, wanted, record);
  if (record && op.grad) record_call(op, inputs, full, results);
  if (creating()) [[unlikely]] place_created(op, &results);
  return results;
}

Tensor call_one(const Op& op, std::span<const Arg> inputs, std::span<const Attr> attrs, Device* device) {
  const Marks marks = marks_of(inputs);
  if (op.map && attrs.empty() && !marks.transformed && !autocasting()) {
    const bool record = marks.grad && grad_enabled() && op.differentiable;
    if (record)
      for (const Arg& a : inputs)
        if (a.kind == Arg::tensor) check_stale(a.t, op.name.c_str());
    Tensor result;
    if (call_map_short(op, inputs, &result)) {
      if (record) record_call(op, inputs, {}, {&result, 1});
      return result;
    }
  }
  return std::move(call(op, inputs, attrs, device)[0]);
}

Tensors call_into(const Op& op, std::span<const Arg> inputs, std::span<const Attr> attrs, std::span<const Tensor> outs) {
  Marks marks = marks_of(inputs);
  for (const Tensor& t : outs)
    if (t.defined()) {
      check_writable(op.name.c_str(), t);
      marks.transformed |= t.impl()->transformed;
    }
  if (marks.transformed) [[unlikely]] return call_into_transformed(op, inputs, attrs, outs);
  const bool record = !outs.empty() && outs[0].defined() && check_in_place(&op, outs[0], marks.grad);
  Tensors results;
  Attrs full = complete_attrs(op, attrs);
  if (op.canonical) op.canonical(inputs, full);
  if (record) {
    for (const Arg& a : inputs)
      if (a.kind == Arg::tensor) check_stale(a.t, op.name.c_str());
    if (!op.grad)
      raise(ErrorKind::not_implemented, "[", op.name, "] has no in-place gradient; use the form that returns a new tensor");
  }
  {
    GradMode off(false);
    AutocastPause pause;
    check_arguments(op, inputs);
    Device* device = common_device(op, inputs, outs.empty() || !outs[0].defined() ? nullptr : outs[0].device());
    results = op.map ? call_map(op, inputs, full, outs, device)
                     : call_kernel(op, inputs, full, outs, device, hidden_wanted(op, 0));
  }
  for (const Tensor& t : outs)
    if (t.defined()) t.storage()->bump_version();
  if (record) record_in_place(op, inputs, full, outs[0]);
  return results;
}

}  // namespace tg
