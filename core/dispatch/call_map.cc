// SPDX-License-Identifier: Apache-2.0
// Elementwise calls: the shortest way from operands to a kernel. One plan serves all shapes of a rank; scalars are run
// attributes.
#include "dispatch/call.h"
#include "dispatch/capture.h"
#include "runtime/remat.h"

namespace tg {
namespace {

// Key of the front cache: op, device, rank, and the dtype (or scalar kind) of up to five operands.
constexpr int kFrontArgs = 5;
struct Front {
  uint64_t key = 0, generation = 0;
  std::shared_ptr<const PlanEntry> entry;
};
constexpr size_t kFrontSize = 512;
thread_local std::unique_ptr<Front[]> t_front;

Front& front_slot(uint64_t key) {
  if (!t_front) t_front.reset(new Front[kFrontSize]);
  return t_front[(key * 0x9E3779B97F4A7C15ull) >> 55];
}

uint64_t operand_code(const Arg& a) {
  return a.kind == Arg::tensor ? uint64_t(a.t.dtype()) : 24 + uint64_t(a.s.kind);
}

uint64_t front_key(const Op& op, const Device* device, size_t rank, std::span<const Arg> inputs) {
  uint64_t key = uint64_t(op.id + 1) << 40 | uint64_t(device->index) << 33 | uint64_t(rank) << 28 | uint64_t(inputs.size()) << 25;
  for (size_t i = 0; i < inputs.size(); ++i) key |= operand_code(inputs[i]) << (5 * i);
  return key;
}

uint64_t immediate_bits(const MapBuilder::Immediate& imm, std::span<const Arg> inputs) {
  if (imm.slot < 0) return imm.bits;
  const Scalar& s = inputs[imm.slot].s;
  return imm.imag ? Scalar(s.kind == Scalar::complex ? s.im : 0.0).bits(imm.dtype) : s.bits(imm.dtype);
}

// The first scalar operand that its place in the program cannot hold, or NULL.
const Scalar* misfit(const MapBuilder::Program& program, std::span<const Arg> inputs, DType* dtype) {
  for (const auto& imm : program.immediates)
    if (imm.slot >= 0 && !inputs[imm.slot].s.fits(imm.dtype)) return *dtype = imm.dtype, &inputs[imm.slot].s;
  return nullptr;
}

// NumPy broadcasting over concrete shapes.
void broadcast_into(const Op& op, Ints* out, const Ints& b) {
  if (*out == b) return;
  const size_t r = std::max(out->size(), b.size());
  Ints shape(r, 1);
  for (size_t i = 0; i < r; ++i) {
    const int64_t x = i + out->size() >= r ? (*out)[i + out->size() - r] : 1;
    const int64_t y = i + b.size() >= r ? b[i + b.size() - r] : 1;
    if (x != y && x != 1 && y != 1)
      raise(ErrorKind::value, "[", op.name, "] expected shapes that broadcast (equal sizes or 1, aligned at the right), got ",
            str(*out), " and ", str(b));
    shape[i] = x == 1 ? y : x;
  }
  *out = shape;
}

Ints broadcast_strides(const Tensor& t, const Ints& shape) {
  Ints s(shape.size(), 0);
  const size_t lead = shape.size() - t.shape().size();
  for (size_t i = 0; i < t.shape().size(); ++i)
    if (t.shape()[i] == shape[lead + i] && t.shape()[i] != 1) s[lead + i] = t.strides()[i];
  return s;
}

}  // namespace

Ints broadcast_shape(const Op& op, std::span<const Arg> inputs) {
  Ints shape;
  for (const Arg& a : inputs)
    if (a.kind == Arg::tensor) broadcast_into(op, &shape, a.t.shape());
  return shape;
}

MapShape map_shape(std::span<const Arg> inputs, const Ints& shape) {
  MapShape at{shape, {}};
  for (const Arg& a : inputs)
    if (a.kind == Arg::tensor)
      for (const Tensor& t : composing(a.t)) at.strides.push_back(t.shape() == shape ? t.strides() : broadcast_strides(t, shape));
  return at;
}

MapBuilder::Program lower_map(const Op& op, std::span<const Arg> inputs, std::span<const Attr> attrs) {
  // The promoted dtype of the operands that meet.
  std::optional<DType> common;
  const size_t first = op.promotion == Promotion::where ? 1 : 0;
  for (size_t i = first; i < inputs.size(); ++i)
    if (inputs[i].kind == Arg::tensor) common = common ? promote(*common, inputs[i].t.dtype()) : inputs[i].t.dtype();
  for (size_t i = first; i < inputs.size(); ++i)
    if (inputs[i].kind == Arg::scalar) common = common ? promote(*common, inputs[i].s.kind) : default_dtype(inputs[i].s.kind);
  DType t = common.value_or(DType::f32);
  if (op.promotion == Promotion::common_float && !is_inexact(t) && !is_small_float(t)) t = default_float();
  if (op.promotion == Promotion::common_wide && (t == DType::f16 || t == DType::bf16)) t = DType::f32;

  std::vector<DType> dtypes;
  for (const Arg& a : inputs)
    if (a.kind == Arg::tensor) dtypes.push_back(a.t.dtype());
  MapBuilder b(dtypes, op.name.c_str());
  std::vector<MapBuilder::Value> values;
  size_t k = 0;
  for (size_t i = 0; i < inputs.size(); ++i) {
    const Arg& a = inputs[i];
    DType want = t;
    if (op.promotion == Promotion::where && i == 0) want = DType::boolean;
    if (op.promotion == Promotion::none) want = a.kind == Arg::tensor ? a.t.dtype() : default_dtype(a.s.kind);
    if (a.kind == Arg::tensor) values.push_back(b.cast(b.input(k++), want));
    else values.push_back(b.run_immediate(want, int32_t(i)));
  }
  MapResult result = op.map(b, values, attrs);
  ensure(result.values.size() == op.outputs.size(), "op ", op.name, ": its program has ", result.values.size(), " results");
  for (auto& v : result.values)  // an output is the result of an instruction
    if (is_complex(v.dtype) || v.id < b.n_inputs()) v = b.emit(TG_MAP_COPY, v);
  return b.finish(result.values);
}

namespace {

// One entry serves all shapes of a rank, unless a row bakes them: then it says so, and the key goes on.
std::shared_ptr<const PlanEntry> find_map(const Op& op, Device* device, std::span<const Arg> inputs, std::span<const Attr> attrs,
                                          const Ints& shape) {
  std::string key("m");
  auto add = [&](const auto& v) { key.append(reinterpret_cast<const char*>(&v), sizeof v); };
  add(int16_t(op.id));
  add(int16_t(device->index));
  add(int32_t(num_threads()));
  key.push_back(char(shape.size()));
  for (const Arg& a : inputs) key.push_back(char(operand_code(a)));
  for (const Attr& a : attrs) {
    key.push_back(char(a.value().index()));
    std::visit(
        [&](const auto& v) {
          using T = std::decay_t<decltype(v)>;
          if constexpr (std::is_same_v<T, std::string>) key.append(v).push_back(0);
          else if constexpr (std::is_same_v<T, Ints> || std::is_same_v<T, std::vector<double>>) {
            key.push_back(char(v.size()));
            for (auto x : v) add(x);
          } else if constexpr (!std::is_same_v<T, std::monostate>) add(v);
        },
        a.value());
  }
  auto& cache = PlanCache::get();
  auto entry = cache.find(key);
  if (entry && !entry->map->bakes_dims) return entry;
  const MapShape at = map_shape(inputs, shape);
  PlanEntry made;
  const auto select = [&] { made.map = select_map(device, op.name.c_str(), lower_map(op, inputs, attrs), at); };
  if (!entry) {
    select();
    if (!made.map->bakes_dims) return cache.insert(key, std::move(made));
    auto baked = std::make_shared<MapPlan>();
    baked->bakes_dims = true;
    baked->bakes_strides = made.map->bakes_strides;
    entry = cache.insert(key, {nullptr, std::move(baked)});
  }
  key.push_back('s');
  for (int64_t n : shape) add(n);
  if (entry->map->bakes_strides)
    for (const Ints& strides : at.strides)
      for (int64_t s : strides) add(s);
  if (entry = cache.find(key); entry) return entry;
  if (!made.map) select();
  return cache.insert(key, std::move(made));
}

bool contiguous(const tg_tensor& t) {
  int64_t expect = 1;
  for (int32_t i = t.ndim - 1; i >= 0; --i) {
    if (t.shape[i] != 1 && t.strides[i] != expect) return false;
    expect *= t.shape[i];
  }
  return true;
}

// Runs stages with temporaries between them. `operands`: whose descriptions `in` has.
void run_stages(const MapPlan& plan, std::span<const Arg> operands, const tg_tensor* const* in, size_t n_in,
                std::span<const Tensor> results, std::span<const uint64_t> bits, const Ints& shape, Device* device) {
  const size_t n = plan.program.insts.size();
  std::vector<const tg_tensor*> values(n_in + n, nullptr);
  std::copy(in, in + n_in, values.begin());
  std::vector<Tensor> made(n);  // by instruction
  std::vector<Tensor> dense(n_in);
  std::vector<const Tensor*> tensors;
  for (const Arg& arg : operands)
    if (arg.kind == Arg::tensor) tensors.push_back(&arg.t);
  const auto packed = [&](uint16_t id) {  // results of stages are contiguous as they are
    if (id >= n_in || contiguous(*values[id])) return values[id];
    if (!dense[id].defined()) {
      GradMode off(false);
      const tg_tensor& t = *values[id];
      dense[id] = tg::op<"copy">({tensors[id]->alias(shape, {t.strides, shape.size()}, t.byte_offset)});
    }
    return static_cast<const tg_tensor*>(&dense[id].impl()->desc);
  };
  for (const MapPlan::Stage& s : plan.stages) {
    std::vector<const tg_tensor*> a, o;
    std::vector<uint64_t> imm;
    for (size_t i = 0; i < s.inputs.size(); ++i) a.push_back(s.packed >> i & 1 ? packed(s.inputs[i]) : values[s.inputs[i]]);
    for (uint16_t i : s.immediates) imm.push_back(bits[i]);
    for (uint16_t id : s.outputs) {
      const tg_map_inst& inst = plan.program.insts[id - n_in];
      DType t = DType::f32;
      dtype_from_abi(inst.dtype, &t);
      if (inst.opcode >= TG_MAP_EQ && inst.opcode <= TG_MAP_LE) t = DType::boolean;
      Tensor& target = made[id - n_in];
      // The last value goes straight to its place; an earlier one may not, as its place may be an operand of later stages.
      const bool last = &s == &plan.stages.back() && plan.program.outputs.size() == 1 && n_in + size_t(plan.program.outputs[0]) == id &&
                        (!(s.packed >> 32 & 1) || results[0].is_contiguous());
      target = last ? results[0] : Tensor::empty(shape, t, device);
      values[id] = &target.impl()->desc;
      o.push_back(values[id]);
    }
    tg_attr run{};
    run.kind = TG_ATTR_BITS;
    run.n = uint32_t(imm.size());
    run.v.bits = imm.data();
    s.kernel->run({a.data(), o.data(), &run, uint32_t(a.size()), uint32_t(o.size()), 1, (uint64_t(1) << a.size()) - 1,
                   (uint64_t(1) << o.size()) - 1});
  }
  for (size_t i = 0; i < plan.program.outputs.size(); ++i) {
    const Tensor& value = made[size_t(plan.program.outputs[i])];
    if (!same(value, results[i])) write_into(results[i], value);
  }
}

}  // namespace

bool call_map_short(const Op& op, std::span<const Arg> inputs, Tensor* result) {
  const size_t n = inputs.size();
  if (n == 0 || n > size_t(kFrontArgs) || n != op.inputs.size() || !op.attrs.empty() || tracing() || remat::watched() || captures_open.load(std::memory_order_relaxed)) return false;
  const TensorImpl* lead = nullptr;
  const tg_tensor* in[kFrontArgs];
  size_t n_in = 0;
  for (const Arg& a : inputs) {
    if (a.kind == Arg::scalar) continue;
    if (a.kind != Arg::tensor || !a.t.is_contiguous()) return false;
    const TensorImpl* t = a.t.impl();
    if (!lead) lead = t;
    else if (t->storage->device() != lead->storage->device() || !(t->shape == lead->shape)) return false;
    in[n_in++] = &t->desc;
  }
  if (!lead) return false;
  Device* device = lead->storage->device();
  if (!device->host) return false;
  const uint64_t key = front_key(op, device, lead->shape.size(), inputs);
  const Front& f = front_slot(key);
  if (f.key != key || f.generation != PlanCache::get().generation() || !f.entry) return false;
  const MapPlan& plan = *f.entry->map;
  const MapBuilder::Program& program = plan.program;
  const size_t n_imm = program.immediates.size();
  if (plan.stages.size() != 1 || program.composed || program.outputs.size() != 1 || plan.stages[0].packed || n_imm > 16) return false;
  DType narrow;
  if (misfit(program, inputs, &narrow)) [[unlikely]] return false;
  *result = Tensor::empty(lead->shape, program.output_dtypes[0], device);
  const tg_tensor* out[] = {&result->impl()->desc};
  if (result->storage()->bytes() == 0) return true;
  uint64_t bits[16];
  for (size_t i = 0; i < n_imm; ++i) bits[i] = immediate_bits(program.immediates[i], inputs);
  tg_attr run{};
  run.kind = TG_ATTR_BITS;
  run.n = uint32_t(n_imm);
  run.v.bits = bits;
  // Though the cache may forget the plan meanwhile, this thread's slot holds it, and a kernel in host memory calls no op.
  plan.stages[0].kernel->run({in, out, &run, uint32_t(n_in), 1, 1, (uint64_t(1) << n_in) - 1, 1});
  return true;
}

namespace {
Tensors run_map(const Op& op, const MapPlan& plan, std::span<const Arg> inputs, std::span<const Arg> scalars,
                std::span<const Tensor> outs, const Ints& shape, const Tensor& lead, bool uniform, remat::Use& use);
Tensors run_composed(const Op& op, const MapPlan& plan, std::span<const Arg> inputs, std::span<const Tensor> outs,
                     const Ints& shape, Device* device, remat::Use& use);
Tensors map_call(const Op& op, std::span<const Arg> inputs, std::span<const Attr> attrs, std::span<const Tensor> outs, Device* device);
}  // namespace

Tensors call_map(const Op& op, std::span<const Arg> inputs, std::span<const Attr> attrs, std::span<const Tensor> outs, Device* device) {
  Capture* capture = capturing();
  if (!capture) [[likely]] {
    if (captures_open.load(std::memory_order_relaxed)) [[unlikely]] check_operands(op, inputs, outs);
    return map_call(op, inputs, attrs, outs, device);
  }
  const CapturedCall call(capture);
  Tensors results = map_call(op, inputs, attrs, outs, device);
  if (call.outermost()) capture->called(op, inputs, attrs, outs, results, device);
  return results;
}

namespace {
Tensors map_call(const Op& op, std::span<const Arg> inputs, std::span<const Attr> attrs, std::span<const Tensor> outs, Device* device) {
  const size_t n = inputs.size();
  if (n > size_t(kMaxArgs) || n < size_t(op.required_inputs()) || n > op.inputs.size())
    raise(ErrorKind::type, "[", op.name, "] expected ", op.inputs.size(), " inputs, got ", n);
  if (!attrs.empty() && op.attrs[0].kind == AttrKind::dtype && inputs[0].kind == Arg::tensor &&  // cast
      (is_packed(attrs[0].dtype()) || is_packed(inputs[0].t.dtype()))) [[unlikely]] {
    const Tensor y = cast_packed(inputs[0].t, attrs[0].dtype());
    if (!outs.empty()) write_into(outs[0], y);
    return {outs.empty() ? y : outs[0]};
  }
  // Device and shape.
  const Tensor* lead = nullptr;
  bool uniform = true;  // all tensors of one shape and contiguous
  for (size_t i = 0; i < n; ++i) {
    const Arg& a = inputs[i];
    if (a.kind != Arg::tensor) {
      if (a.kind == Arg::absent) raise(ErrorKind::type, "[", op.name, "] expected the argument ", op.inputs[i].name, ", got none");
      continue;
    }
    if (!lead) {
      lead = &a.t;
      uniform = a.t.is_contiguous();
    } else {
      if (a.t.device() != lead->device()) common_device(op, inputs, device);  // raises
      uniform = uniform && a.t.shape() == lead->shape() && a.t.is_contiguous();
    }
  }
  if (!lead) {  // scalars alone: the first becomes a tensor
    std::vector<Arg> with(inputs.begin(), inputs.end());
    check_fits(op.name.c_str(), with[0].s, default_dtype(with[0].s.kind));
    with[0] = Arg(scalar_tensor(with[0].s, default_dtype(with[0].s.kind), device ? device : default_device()));
    return call_map(op, with, attrs, outs, device);
  }
  device = lead->device();
  Ints shape = lead->shape();
  if (!uniform)
    for (const Arg& a : inputs)
      if (a.kind == Arg::tensor) broadcast_into(op, &shape, a.t.shape());

  // Plan.
  std::shared_ptr<const PlanEntry> held;
  const PlanEntry* entry;
  if (op.attrs.empty() && n <= size_t(kFrontArgs) && device->index < 128) {
    const uint64_t key = front_key(op, device, shape.size(), inputs);
    Front& f = front_slot(key);
    const uint64_t generation = PlanCache::get().generation();
    if (f.key != key || f.generation != generation || !f.entry) {
      held = find_map(op, device, inputs, {}, shape);
      if (!held->map->bakes_dims) f.entry = held, f.key = key, f.generation = generation;
    } else {
      held = f.entry;
    }
    entry = held.get();
  } else {
    held = find_map(op, device, inputs, complete_attrs(op, attrs), shape);
    entry = held.get();
  }
  const MapPlan& plan = *entry->map;
  if (plan.stages.empty()) return call_fallback(op, inputs, attrs, outs, device, ~uint64_t(0));
  const MapBuilder::Program& program = plan.program;
  DType narrow;
  if (const Scalar* s = misfit(program, inputs, &narrow)) [[unlikely]] {
    if (op.promotion != Promotion::compare) check_fits(op.name.c_str(), *s, narrow);  // raises
    // An integer beyond the dtype's range is beyond every element, as 1 or -1 is beyond 0.
    const bool below = s->range == Scalar::huge ? s->f < 0 : s->range == Scalar::word && s->i < 0;
    const Arg zero(scalar_tensor(0, DType::i64, device).alias(lead->shape(), Ints(lead->shape().size(), 0), 0));
    std::vector<Arg> clear;
    for (const Arg& a : inputs) clear.push_back(a.kind == Arg::tensor ? zero : Arg(below ? -1 : 1));
    return call_map(op, clear, attrs, outs, device);
  }
  if (tracing()) [[unlikely]] {
    const RowRef& row = plan.stages[0].kernel->row;
    Tensors in;
    for (const Arg& a : inputs) in.push_back(a.t);
    if (auto* candidates = trace_step(op, in, row.plugin->name + "/" + (row.row->row.name ? row.row->row.name : "map")))
      select_map(device, op.name.c_str(), lower_map(op, inputs, complete_attrs(op, attrs)), map_shape(inputs, shape), candidates);
  }

  remat::Use use(inputs, outs);
  Tensors results = program.composed ? run_composed(op, plan, inputs, outs, shape, device, use)
                                     : run_map(op, plan, inputs, inputs, outs, shape, *lead, uniform, use);
  if (use.on() && outs.empty()) [[unlikely]] use.record(op, inputs, attrs, results, device, ~uint64_t(0));
  return results;
}

// Complex operands become two strided real ones each, 8-bit floats bytes; so do the results.
Tensors run_composed(const Op& op, const MapPlan& plan, std::span<const Arg> inputs, std::span<const Tensor> outs,
                     const Ints& shape, Device* device, remat::Use& use) {
  std::vector<Arg> parts;
  for (const Arg& a : inputs)
    if (a.kind == Arg::tensor)
      for (Tensor& t : composing(a.t)) parts.emplace_back(std::move(t));
  const size_t n = plan.program.results.size();
  Tensors results(n), copy_back(n), part_outs;
  for (size_t i = 0; i < n; ++i) {
    const DType t = plan.program.results[i];
    bool replace = true;
    if (i < outs.size() && outs[i].defined()) {
      check(outs[i].shape() == shape, "[", op.name, "] expected an output of shape ", str(shape), ", got ", str(outs[i].shape()));
      check(kind_of(t) <= kind_of(outs[i].dtype()), "[", op.name, "] expected a result that fits the dtype ", name_of(outs[i].dtype()),
            " of the tensor it is written into, got ", name_of(t));
      replace = outs[i].dtype() != t;
      for (const Arg& a : inputs)  // a program reads both parts of an element after it may have written one
        replace = replace || (a.kind == Arg::tensor && shares_memory(a.t, outs[i]));
      if (replace) copy_back[i] = outs[i];
    }
    results[i] = replace ? Tensor::empty(shape, t, device) : outs[i];
    for (Tensor& part : composing(results[i])) part_outs.push_back(std::move(part));
  }
  if (numel(shape)) run_map(op, plan, parts, inputs, part_outs, shape, parts[0].t, false, use);
  for (size_t i = 0; i < n; ++i)
    if (copy_back[i].defined()) {
      GradMode off(false);
      write_into(copy_back[i], results[i].cast(copy_back[i].dtype()));
      results[i] = copy_back[i];
    }
  return results;
}

// `scalars`: the call's own operands, whose numbers the program's immediates stand for.
Tensors run_map(const Op& op, const MapPlan& plan, std::span<const Arg> inputs, std::span<const Arg> scalars,
                std::span<const Tensor> outs, const Ints& shape, const Tensor& first, bool uniform, remat::Use& use) {
  const Tensor* lead = &first;
  Device* device = first.device();
  const size_t n = inputs.size();
  const MapBuilder::Program& program = plan.program;
  // Outputs.
  const size_t n_out = program.outputs.size();
  Tensors results(n_out);
  Tensors copy_back(outs.empty() ? 0 : n_out);
  bool keep_layout = false;
  if (!uniform && outs.empty()) {  // operands of one permuted layout give results of that layout
    keep_layout = lead->shape() == shape && !lead->is_contiguous() && dense_permuted(*lead);
    for (const Arg& a : inputs)
      if (a.kind == Arg::tensor && !(a.t.shape() == shape && a.t.strides() == lead->strides())) keep_layout = keep_layout && a.t.numel() == 1;
  }
  for (size_t i = 0; i < n_out; ++i) {
    const DType t = program.output_dtypes[i];
    if (i < outs.size() && outs[i].defined()) {
      check(outs[i].shape() == shape, "[", op.name, "] expected an output of shape ", str(shape), ", got ", str(outs[i].shape()));
      bool replace = outs[i].dtype() != t;
      for (const Arg& a : inputs)
        if (a.kind == Arg::tensor && shares_memory(a.t, outs[i]) && !same_place(a.t, outs[i])) replace = true;
      results[i] = replace ? Tensor::empty(shape, t, device) : outs[i];
      if (replace) {
        check(kind_of(t) <= kind_of(outs[i].dtype()), "[", op.name, "] expected a result that fits the dtype ", name_of(outs[i].dtype()),
              " of the tensor it is written into, got ", name_of(t));
        copy_back[i] = outs[i];
      }
    } else {
      results[i] = Tensor::empty(shape, t, device);
      if (keep_layout) results[i] = results[i].alias(shape, lead->strides(), 0);
    }
  }
  if (results[0].numel() == 0) return results;

  // Operands as the kernel sees them.
  const uint64_t packed = plan.stages.size() == 1 ? plan.stages[0].packed : 0;  // several see to it one by one
  const auto must_pack = [&](size_t i) { return i < 32 && (packed >> i & 1); };
  const tg_tensor* in[kMaxArgs];
  const tg_tensor* out[kMaxArgs];
  tg_tensor local[kMaxArgs];
  std::vector<Ints> strides;
  Tensors temporaries;
  size_t n_in = 0;
  if (uniform && !packed) [[likely]] {
    for (const Arg& a : inputs)
      if (a.kind == Arg::tensor) in[n_in++] = &a.t.impl()->desc;
  } else {
    strides.reserve(n);
    temporaries.reserve(n);
    for (const Arg& a : inputs) {
      if (a.kind != Arg::tensor) continue;
      const bool whole = a.t.shape() == shape;
      if (whole && (!must_pack(n_in) || a.t.is_contiguous())) {
        in[n_in++] = &a.t.impl()->desc;
        continue;
      }
      strides.push_back(broadcast_strides(a.t, shape));
      if (must_pack(n_in)) {
        Tensor view = a.t.alias(shape, strides.back(), a.t.impl()->desc.byte_offset);
        GradMode off(false);
        temporaries.push_back(tg::op<"copy">({view}));
        in[n_in++] = &temporaries.back().impl()->desc;
        continue;
      }
      local[n_in] = a.t.impl()->desc;
      local[n_in].ndim = int32_t(shape.size());
      local[n_in].shape = shape.data();
      local[n_in].strides = strides.back().data();
      in[n_in] = &local[n_in];
      ++n_in;
    }
  }
  for (size_t i = 0; i < n_out; ++i) {
    if ((packed >> (32 + i) & 1) && !results[i].is_contiguous()) {
      if (copy_back.empty()) copy_back.resize(n_out);
      if (!copy_back[i].defined()) copy_back[i] = results[i];
      results[i] = Tensor::empty(shape, results[i].dtype(), device);
    }
    out[i] = &results[i].impl()->desc;
  }
  uint64_t bits_local[16];
  std::vector<uint64_t> bits_heap;
  uint64_t* bits = bits_local;
  const size_t n_imm = program.immediates.size();
  if (n_imm > 16) {
    bits_heap.resize(n_imm);
    bits = bits_heap.data();
  }
  for (size_t i = 0; i < n_imm; ++i) bits[i] = immediate_bits(program.immediates[i], scalars);
  const bool look = tracing() && NoMemory::on();
  if (!device->host && !look) {
    Stream* stream = current_stream(device);
    for (const Arg& a : inputs)
      if (a.kind == Arg::tensor) a.t.storage()->used_on(stream);
    for (const Tensor& t : results) t.storage()->used_on(stream);
  }
  use.start();
  if (look) [[unlikely]] {
  } else if (plan.stages.size() == 1) [[likely]] {
    tg_attr run{};
    run.kind = TG_ATTR_BITS;
    run.n = uint32_t(n_imm);
    run.v.bits = bits;
    if (Capture* capture = capturing()) capture->set_program(&program);
    plan.stages[0].kernel->run({in, out, &run, uint32_t(n_in), uint32_t(n_out), 1, (uint64_t(1) << n_in) - 1, (uint64_t(1) << n_out) - 1});
  } else {
    run_stages(plan, inputs, in, n_in, results, {bits, n_imm}, shape, device);
  }
  for (size_t i = 0; i < copy_back.size(); ++i)
    if (copy_back[i].defined()) {
      GradMode off(false);
      write_into(copy_back[i], results[i].cast(copy_back[i].dtype()));
      results[i] = copy_back[i];
    }
  return results;
}

}  // namespace
}  // namespace tg
