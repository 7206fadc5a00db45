// SPDX-License-Identifier: Apache-2.0
// Running a program.
#include "compile/program.h"

#include <algorithm>

#include <tengen/autocast.h>

#include <tengen/random.h>

#include "compile/arena.h"
#include "dispatch/call.h"
#include "dispatch/capture.h"
#include "runtime/remat.h"

namespace tg {

void PlannedProgram::finish() {
  for (size_t i = 0; i < steps.size(); ++i) {
    Step& s = steps[i];
    const auto touch = [&](size_t slot) {
      slots[slot].first = std::min(slots[slot].first, i);
      slots[slot].last = std::max(slots[slot].last, i);
    };
    for (Operand* o : s.inputs)
      if (o) touch(o->slot);
    for (Operand* o : s.outputs)
      if (o) touch(o->slot);
    if (s.workspace >= 0) touch(size_t(s.workspace));
  }
  std::vector<ArenaBlock> blocks;
  std::vector<size_t> which;
  for (size_t i = 0; i < slots.size(); ++i)
    if (slots[i].kind == Slot::arena && slots[i].first != ~size_t(0)) {
      blocks.push_back({slots[i].bytes, slots[i].first, slots[i].last});
      which.push_back(i);
    }
  arena_size = plan_arena(blocks, std::max<uint64_t>(64, device ? device->alignment : 64));
  for (size_t i = 0; i < which.size(); ++i) slots[which[i]].offset = blocks[i].offset;
  users_.resize(slots.size());
  data_.assign(slots.size(), nullptr);
  for (Step& s : steps) {
    for (auto* list : {&s.inputs, &s.outputs})
      for (Operand* o : *list)
        if (o) users_[o->slot].push_back(o);
    for (Operand* o : s.inputs) s.in.push_back(o ? &o->desc : nullptr);
    for (Operand* o : s.outputs) s.out.push_back(o ? &o->desc : nullptr);
    s.run.inputs = s.in.data();
    s.run.outputs = s.out.data();
    s.run.attrs = s.attrs.data();
    s.run.n_inputs = uint32_t(s.in.size());
    s.run.n_outputs = uint32_t(s.out.size());
    s.run.n_attrs = uint32_t(s.attrs.size());
  }
  for (Operand& o : operands) {
    o.desc.shape = o.shape.data();
    o.desc.strides = o.strides.data();
    o.desc.byte_offset = o.offset + slots[o.slot].offset;
  }
}

bool PlannedProgram::fits() const {
  for (const Slot& s : slots)
    if (s.kind == Slot::state && !s.gradient_of.defined() &&
        !(s.bound.requires_grad() == s.requires_grad && same_kind(s)))
      return false;
  return true;
}
bool PlannedProgram::same_kind(const Slot& s) const {
  return s.bound.dtype() == s.dtype && s.bound.shape() == s.shape && s.bound.strides() == s.strides && s.bound.device() == device;
}

uint64_t PlannedProgram::result_bytes() const {
  uint64_t n = 0;
  for (const Slot& s : slots)
    if (s.kind == Slot::result) n += s.bytes;
  return n;
}
size_t PlannedProgram::launches() const {
  size_t n = 0;
  for (const Step& s : steps) n += s.plan != nullptr;
  return n;
}
size_t PlannedProgram::calls() const { return steps.size() - launches(); }

void PlannedProgram::patch(std::span<const std::vector<double>> numbers) {
  random_ = random_blocks ? take_random(random_blocks * 4) : PhiloxSlice{};
  for (const Patch& p : patches) {
    tg_attr& a = steps[p.step].attrs[p.attr];
    const int64_t word = p.source == Patch::seed ? random_.seed : random_.offset + p.base;
    switch (p.source) {
      case Patch::number: {
        const double v = numbers[p.host_call][p.index];
        if (a.kind == TG_ATTR_BITS) steps[p.step].words[p.attr][p.word] = Scalar(v).bits(p.dtype);
        else a.v.f = v;
        break;
      }
      default:
        if (a.kind == TG_ATTR_BITS) steps[p.step].words[p.attr][p.word] = uint64_t(word);
        else a.v.i = word;
    }
  }
}

Program::Results PlannedProgram::run(std::span<const Tensor> given, std::span<const std::vector<double>> numbers) {
  check(given.size() == arguments.size(), "[run] expected ", arguments.size(), " tensors, got ", given.size());
  for (size_t i = 0; i < given.size(); ++i) {
    const Argument& a = arguments[i];
    const Tensor& t = given[i];
    check(t.defined() && t.dtype() == a.dtype && t.shape() == a.shape && t.strides() == a.strides && t.device() == a.device,
          "[run] expected ", a.name, " to be ", name_of(a.dtype), " ", str(a.shape), " with strides ", str(a.strides), " on ", a.device->name,
          ", got ", t.defined() ? name_of(t.dtype()) : "none", " ", t.defined() ? std::string(str(t.shape())) : std::string());
  }
  for (const Slot& s : slots)
    check(s.kind != Slot::state || s.gradient_of.defined() || same_kind(s), "[run] expected the tensors that the graph is bound to as they were when it was made, got another dtype, shape, layout or device; make it again");
  check(numbers.size() >= host_calls, "[run] expected the numbers of ", host_calls, " host calls, got ", numbers.size());
  for (size_t k = 0; k < host_calls; ++k)
    check(numbers[k].size() == numbers_of[k], "[run] expected ", numbers_of[k], " numbers of host call ", k, ", got ", numbers[k].size());
  std::lock_guard lock(mutex_);
  GradMode off(false);
  // Memory.
  Tensors touched(given.begin(), given.end());
  for (Slot& s : slots)
    if (s.gradient_of.defined()) {
      const Tensor g = s.gradient_of.grad();
      check(g.defined() && g.shape() == s.bound.shape() && g.strides() == s.bound.strides() && g.dtype() == s.bound.dtype(),
            "[run] expected a gradient of shape ", str(s.bound.shape()), " to add to, as there was when the function was traced");
      s.bound = g;
    }
  for (const Slot& s : slots)
    if (s.kind == Slot::state) touched.push_back(s.bound);
  Tensors changed;
  for (size_t i : written) changed.push_back(slots[i].kind == Slot::argument ? given[slots[i].index] : slots[i].bound);
  // Memory that is written and also comes in by another way: the graph was made as if it were two.
  for (size_t i = 0; i < touched.size(); ++i)
    for (const Tensor& t : changed)
      check(same(t, touched[i]) ? std::count_if(touched.begin(), touched.end(), [&](const Tensor& o) { return same(o, t); }) == 1 : !shares_memory(t, touched[i]),
            "[jit] expected tensors that a function writes to have memory of their own, got one of shape ", str(t.shape()),
            " that comes in twice (as two arguments, or as an argument and from outside); give a copy");
  const remat::Use use(touched, changed);
  Ref<Storage> arena;
  if (arena_size) arena = Storage::allocate(device, arena_size);
  std::vector<Ref<Storage>> memory(slots.size());
  for (size_t i = 0; i < slots.size(); ++i) {
    const Slot& s = slots[i];
    switch (s.kind) {
      case Slot::arena: memory[i] = arena; break;
      case Slot::argument: memory[i] = given[s.index].storage(); break;
      case Slot::state: memory[i] = s.bound.storage(); break;
      case Slot::constant: memory[i] = s.held; break;
      case Slot::result: memory[i] = Storage::allocate(device, s.bytes); break;
    }
    const uint64_t start = s.kind == Slot::argument ? given[s.index].impl()->desc.byte_offset
                           : s.kind == Slot::state ? s.bound.impl()->desc.byte_offset : s.offset;
    void* data = memory[i] ? memory[i]->data() : nullptr;
    if (data == data_[i] && s.kind != Slot::argument && s.kind != Slot::state) continue;
    data_[i] = data;
    for (Operand* o : users_[i]) {
      o->desc.data = data;
      o->desc.byte_offset = start + o->offset;
    }
  }
  if (!device->host) {
    Stream* stream = current_stream(device);
    for (const Ref<Storage>& m : memory)
      if (m) m->used_on(stream);
  }
  struct Changed {  // also when a step fails
    std::vector<Ref<Storage>> storages;
    ~Changed() {
      for (const auto& s : storages) s->bump_version();
    }
  } versions;
  for (size_t i : written) versions.storages.push_back(memory[i]);
  patch(numbers);
  for (Step& s : steps) {
    if (!s.plan) {
      call(s, memory, numbers);
      continue;
    }
    if (s.workspace >= 0) {
      const Slot& w = slots[size_t(s.workspace)];
      s.run.workspace = arena->data();
      s.run.workspace_offset = w.offset;
      s.run.workspace_bytes = w.bytes;
    }
    s.plan->launch(&s.run);
  }
  const auto view = [&](const ResultView& v) {
    if (!v.defined) return Tensor();
    const Slot& s = slots[v.slot];
    const uint64_t start = s.kind == Slot::argument ? given[s.index].impl()->desc.byte_offset
                           : s.kind == Slot::state ? s.bound.impl()->desc.byte_offset : 0;
    return Tensor(Ref<TensorImpl>::adopt(new TensorImpl(memory[v.slot], v.dtype, v.shape, v.strides, start + v.offset)));
  };
  Results results;
  for (const ResultView& v : outputs) results.outputs.push_back(view(v));
  for (const ResultView& v : gradients) results.gradients.push_back(view(v));
  return results;
}

void PlannedProgram::call(const Step& s, std::span<const Ref<Storage>> memory, std::span<const std::vector<double>> numbers) {
  const auto tensor = [&](const Operand* o) {
    if (!o) return Tensor();
    return Tensor(Ref<TensorImpl>::adopt(new TensorImpl(memory[o->slot], o->dtype, o->shape, o->strides, o->desc.byte_offset)));
  };
  std::vector<Arg> in;
  for (size_t i = 0; i < s.operands.size(); ++i)
    in.push_back(s.operands[i].kind == Arg::scalar ? Arg(s.operands[i].scalar) : Arg(tensor(s.inputs[i])));
  Attrs attrs = s.call_attrs;
  if (s.host_call >= 0)
    for (size_t i = 0; i < numbers[size_t(s.host_call)].size(); ++i) attrs[i] = numbers[size_t(s.host_call)][i];
  for (size_t i = 0; i + 1 < attrs.size(); ++i)
    if (const auto* seed = std::get_if<int64_t>(&attrs[i].value()); seed && *seed == Capture::kSeed) {
      attrs[i] = random_.seed;
      attrs[i + 1] = attrs[i + 1].integer() + random_.offset;
    }
  Tensors outs;
  for (const Operand* o : s.outputs) outs.push_back(tensor(o));
  AutocastPause pause;
  if (s.op->map) call_map(*s.op, in, attrs, outs, device);
  else call_kernel(*s.op, in, attrs, outs, device, s.run.outputs_wanted);
}

std::string PlannedProgram::text() const {
  const auto operand = [&](const Operand* o) {
    if (!o) return std::string("_");
    static const char* const kinds[] = {"arena", "argument", "state", "constant", "result"};
    const Slot& s = slots[o->slot];
    return std::string(kinds[s.kind]) + " " + std::to_string(s.kind == Slot::arena ? s.offset + o->offset : s.index) + ": " + name_of(o->dtype) +
           std::string(str(o->shape));
  };
  std::string text = "arena of " + std::to_string(arena_size) + " bytes\n";
  for (const Step& s : steps) {
    std::string line = s.plan ? (s.name.empty() ? std::string(s.plan->op) : "fused " + s.name) + " by " + s.plan->row.plugin->name : "call of " + s.op->name;
    for (const Operand* o : s.inputs) line += "\n    < " + operand(o);
    for (const Operand* o : s.outputs) line += "\n    > " + operand(o);
    text += line + "\n";
  }
  return text;
}

}  // namespace tg
