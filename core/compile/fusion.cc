// SPDX-License-Identifier: Apache-2.0
// Elementwise launches, one of which reads what another wrote, become one launch: the values between them need no memory.
// Map programs have exact semantics (kernel_api/ABI.md), so no bit of any result changes.
#include <algorithm>

#include "compile/program.h"

namespace tg {
namespace {

using MapProgram = MapBuilder::Program;

constexpr size_t kMostInsts = 64, kMostInputs = 24, kMostOutputs = 12;

bool same_operand(const Operand& a, const Operand& b) {
  return a.slot == b.slot && a.offset == b.offset && a.shape == b.shape && a.strides == b.strides && a.dtype == b.dtype;
}

// Two launches as one: the second reads some of what the first writes.
struct Joined {
  MapProgram program;
  std::vector<Operand*> inputs, outputs;
};

class Fusion {
 public:
  explicit Fusion(PlannedProgram& program) : p_(program), gone_(program.steps.size(), false) {
    for (size_t i = 0; i < p_.steps.size(); ++i) note(i);
  }
  void run() {
    for (size_t i = 0; i < p_.steps.size(); ++i)
      while (p_.steps[i].map && join_one(i)) {
      }
    sweep();
  }

 private:
  void note(size_t i) {
    const Step& s = p_.steps[i];
    for (const auto* list : {&s.inputs, &s.outputs})
      for (const Operand* o : *list)
        if (o) {
          if (touches_.size() <= o->slot) touches_.resize(o->slot + 1);
          touches_[o->slot].push_back(i);
        }
  }
  static bool writes(const Step& s, size_t slot) {
    return std::any_of(s.outputs.begin(), s.outputs.end(), [&](const Operand* o) { return o && o->slot == slot; });
  }

  bool join_one(size_t at) {
    const Step& second = p_.steps[at];
    for (const Operand* in : second.inputs)
      if (const size_t first = writer_before(in->slot, at); first != at && can_move(first, at) && join(first, at)) return true;
    return false;
  }
  // The step that wrote a slot last, or `at`.
  size_t writer_before(size_t slot, size_t at) const {
    for (size_t k = touches_[slot].size(); k-- > 0;) {
      const size_t i = touches_[slot][k];
      if (i < at && !gone_[i] && writes(p_.steps[i], slot)) return i;
    }
    return at;
  }
  // Nobody between them looks at what the first writes or writes what it reads.
  bool can_move(size_t first, size_t at) const {
    const Step& a = p_.steps[first];
    if (!a.map) return false;
    const auto untouched = [&](size_t slot, bool reading_is_fine) {
      return std::none_of(touches_[slot].begin(), touches_[slot].end(), [&](size_t i) {
        return i > first && i < at && !gone_[i] && (!reading_is_fine || writes(p_.steps[i], slot));
      });
    };
    return std::all_of(a.outputs.begin(), a.outputs.end(), [&](const Operand* o) { return untouched(o->slot, false); }) &&
           std::all_of(a.inputs.begin(), a.inputs.end(), [&](const Operand* o) { return untouched(o->slot, true); });
  }
  bool needed_after(size_t slot, size_t at) const {
    if (p_.slots[slot].kind != Slot::arena) return true;
    return std::any_of(touches_[slot].begin(), touches_[slot].end(), [&](size_t i) { return i > at && !gone_[i]; });
  }

  bool join(size_t first, size_t at);
  bool combine(const Step& a, const Step& b, size_t at, Joined* out) const;
  void sweep();

  PlannedProgram& p_;
  std::vector<bool> gone_;
  std::vector<std::vector<size_t>> touches_;  // by slot: steps, ascending
};

bool Fusion::combine(const Step& a, const Step& b, size_t at, Joined* out) const {
  const MapProgram &pa = *a.map, &pb = *b.map;
  if (pa.composed || pb.composed || pa.insts.size() + pb.insts.size() > kMostInsts) return false;
  const Ints& shape = b.outputs[0]->shape;
  for (const Operand* o : a.outputs)
    if (!(o->shape == shape)) return false;
  // Inputs of both, and which of the second's are results of the first.
  std::vector<size_t> from_a(pa.inputs.size()), from_b(pb.inputs.size());
  std::vector<int64_t> internal(pb.inputs.size(), -1);  // the first's output
  MapProgram& p = out->program;
  const auto input = [&](Operand* o, DType t) {
    for (size_t i = 0; i < out->inputs.size(); ++i)
      if (same_operand(*out->inputs[i], *o)) return i;
    out->inputs.push_back(o);
    p.inputs.push_back(t);
    return out->inputs.size() - 1;
  };
  for (size_t i = 0; i < pa.inputs.size(); ++i) from_a[i] = input(a.inputs[i], pa.inputs[i]);
  for (size_t i = 0; i < pb.inputs.size(); ++i) {
    for (size_t k = 0; k < a.outputs.size(); ++k) {
      if (a.outputs[k]->slot != b.inputs[i]->slot) continue;
      if (!same_operand(*a.outputs[k], *b.inputs[i])) return false;  // another view of it
      internal[i] = int64_t(k);
    }
    if (internal[i] < 0) from_b[i] = input(b.inputs[i], pb.inputs[i]);
  }
  const size_t n_in = p.inputs.size(), na = pa.insts.size(), nb = pb.insts.size();
  if (n_in > kMostInputs) return false;
  const auto add = [&](const MapProgram& q, size_t shift, size_t immediates, auto&& input_id) {
    for (tg_map_inst inst : q.insts) {
      for (size_t k = 0; k < inst.n_operands; ++k) {
        const size_t id = inst.operand[k], q_in = q.inputs.size(), q_n = q.insts.size();
        inst.operand[k] = uint16_t(id < q_in ? input_id(id) : id < q_in + q_n ? n_in + shift + id - q_in : n_in + na + nb + immediates + id - q_in - q_n);
      }
      p.insts.push_back(inst);
    }
    p.immediates.insert(p.immediates.end(), q.immediates.begin(), q.immediates.end());
  };
  add(pa, 0, 0, [&](size_t i) { return from_a[i]; });
  add(pb, na, pa.immediates.size(), [&](size_t i) { return internal[i] < 0 ? from_b[i] : n_in + size_t(pa.outputs[size_t(internal[i])]); });
  for (size_t k = 0; k < pb.outputs.size(); ++k) {
    p.outputs.push_back(int64_t(na) + pb.outputs[k]);
    p.output_dtypes.push_back(pb.output_dtypes[k]);
    out->outputs.push_back(b.outputs[k]);
  }
  for (size_t k = 0; k < pa.outputs.size(); ++k) {
    const size_t slot = a.outputs[k]->slot;
    if (writes(b, slot)) {  // written over by the second: gone, where it is just the same place
      if (std::none_of(b.outputs.begin(), b.outputs.end(), [&](const Operand* o) { return same_operand(*o, *a.outputs[k]) || (o->slot == slot && o->offset == a.outputs[k]->offset && o->shape == a.outputs[k]->shape && o->strides == a.outputs[k]->strides); }))
        return false;
      continue;
    }
    if (!needed_after(slot, at)) continue;
    p.outputs.push_back(pa.outputs[k]);
    p.output_dtypes.push_back(pa.output_dtypes[k]);
    out->outputs.push_back(a.outputs[k]);
  }
  if (p.outputs.size() > kMostOutputs) return false;
  p.results = p.output_dtypes;
  // An element is read before it is written, and no element by another's place.
  for (const Operand* i : out->inputs)
    for (const Operand* o : out->outputs)
      if (i->slot == o->slot && !(i->offset == o->offset && i->shape == o->shape && i->strides == o->strides && size_of(i->dtype) == size_of(o->dtype))) return false;
  for (size_t i = 0; i < out->outputs.size(); ++i)
    for (size_t j = 0; j < i; ++j)
      if (out->outputs[i]->slot == out->outputs[j]->slot) return false;
  return true;
}

bool contiguous(const Operand& o) {
  const Ints dense = contiguous_strides(o.shape);
  for (size_t i = 0; i < o.shape.size(); ++i)
    if (o.shape[i] != 1 && o.strides[i] != dense[i]) return false;
  return true;
}

bool Fusion::join(size_t first, size_t at) {
  Step &a = p_.steps[first], &b = p_.steps[at];
  if (a.plan->device != b.plan->device || a.attrs.size() != 1 || b.attrs.size() != 1) return false;
  Joined joined;
  if (!combine(a, b, at, &joined)) return false;
  const size_t n_a = a.words[0].size();
  if (n_a != a.map->immediates.size() || b.words[0].size() != b.map->immediates.size()) return false;
  MapShape place{b.outputs[0]->shape, {}};
  for (const Operand* o : joined.inputs) place.strides.push_back(o->strides);
  const auto plan = select_map(b.plan->device, "fused", joined.program, place);
  if (plan->stages.size() != 1 || plan->program.insts.size() != joined.program.insts.size()) return false;
  const uint64_t packed = plan->stages[0].packed;
  for (size_t i = 0; i < joined.inputs.size() && i < 32; ++i)
    if ((packed >> i & 1) && !contiguous(*joined.inputs[i])) return false;
  for (size_t i = 0; i < joined.outputs.size() && i < 32; ++i)
    if ((packed >> (32 + i) & 1) && !contiguous(*joined.outputs[i])) return false;
  // The second step becomes both.
  for (Patch& patch : p_.patches)
    if (patch.step == at) patch.word += n_a;
    else if (patch.step == first) patch.step = at;
  std::vector<uint64_t> words = a.words[0];
  words.insert(words.end(), b.words[0].begin(), b.words[0].end());
  b.words[0] = std::move(words);
  b.attrs[0].n = uint32_t(b.words[0].size());
  b.attrs[0].v.bits = b.words[0].data();
  b.name = (a.name.empty() ? a.plan->op : a.name) + std::string(" ") + (b.name.empty() ? b.plan->op : b.name);
  b.map = std::make_shared<MapProgram>(plan->program);
  b.plan = plan->stages[0].kernel;
  b.inputs = std::move(joined.inputs);
  b.outputs = std::move(joined.outputs);
  b.run.inputs_present = (uint64_t(1) << b.inputs.size()) - 1;
  b.run.outputs_wanted = (uint64_t(1) << b.outputs.size()) - 1;
  gone_[first] = true;
  for (const auto* list : {&b.inputs, &b.outputs})
    for (const Operand* o : *list) {
      auto& t = touches_[o->slot];
      const auto it = std::lower_bound(t.begin(), t.end(), at);
      if (it == t.end() || *it != at) t.insert(it, at);
    }
  return true;
}

void Fusion::sweep() {
  std::vector<size_t> place(p_.steps.size());
  std::deque<Step> left;
  for (size_t i = 0; i < p_.steps.size(); ++i) {
    place[i] = left.size();
    if (!gone_[i]) left.push_back(std::move(p_.steps[i]));
  }
  for (Patch& patch : p_.patches) patch.step = place[patch.step];
  p_.steps = std::move(left);
}

}  // namespace

void fuse_maps(PlannedProgram& program) { Fusion(program).run(); }

}  // namespace tg
