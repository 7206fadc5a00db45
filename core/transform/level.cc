// SPDX-License-Identifier: Apache-2.0
// Levels, the tensors on them, and the way of a call through them.
#include <algorithm>

#include "dispatch/call.h"
#include "transform/transform.h"

#include <tengen/whole.h>

namespace tg {
namespace {

thread_local std::vector<std::unique_ptr<Level>> t_levels;  // outermost first
thread_local uint64_t t_ceiling = ~uint64_t(0);             // levels from here on do not see the call at hand
thread_local const CreationScope* t_creating = nullptr;
std::atomic<uint64_t> g_next{1};

class Ceiling {
 public:
  explicit Ceiling(uint64_t level) : old_(std::exchange(t_ceiling, level)) {}
  ~Ceiling() { t_ceiling = old_; }

 private:
  uint64_t old_;
};

Level* innermost_batched() {
  for (size_t i = t_levels.size(); i-- > 0;)
    if (t_levels[i]->kind == Layer::batched && t_levels[i]->id < t_ceiling) return t_levels[i].get();
  return nullptr;
}

void set_layer(const Tensor& t, Layer layer) {
  autograd_meta(t).layer = std::make_unique<Layer>(std::move(layer));
  t.impl()->transformed = true;
}

// A tensor of t's memory that may have other axes.
Tensor cover(const Tensor& t, std::span<const int64_t> shape, std::span<const int64_t> strides) {
  return Tensor(Ref<TensorImpl>::adopt(new TensorImpl(t.storage(), t.dtype(), shape, strides, t.impl()->desc.byte_offset)));
}

// Tensors that outlived grad or jvp stand for their values.
Tensor current(const Op& op, Tensor t) {
  for (const Layer* l = layer_of(t); l && !find_level(l->level); l = layer_of(t)) {
    if (l->kind == Layer::batched)
      raise(ErrorKind::runtime, "[", op.name, "] expected tensors of the functions that run now, got one that was kept from a call of vmap"
            " which has returned; return it from the function instead");
    t = Tensor(l->inner);
  }
  return t;
}

// The level that a call belongs to; NULL: none any more.
Level* level_of_call(const Op& op, std::span<const Arg> inputs, std::span<const Tensor> outs) {
  uint64_t top = 0;
  for (const Arg& a : inputs)
    if (a.kind == Arg::tensor) top = std::max(top, level_of(a.t));
  for (const Tensor& t : outs) top = std::max(top, level_of(t));
  Level* level = top ? find_level(top) : nullptr;
  if (op.draws)
    if (Level* batched = innermost_batched(); batched && batched->id > top) return batched;
  return level;
}

Tensors tensors_of(std::span<const Arg> inputs, Device* device) {
  Tensors in;
  for (const Arg& a : inputs) in.push_back(a.kind == Arg::scalar ? scalar_tensor(a.s, default_dtype(a.s.kind), device) : a.t);
  return in;
}

Tensors call_traced(const Level& level, const Op& op, std::span<const Arg> inputs, std::span<const Attr> attrs, Device* device,
                    uint64_t wanted) {
  bool record = !level.paused && grad_enabled() && op.differentiable;
  if (record) {
    record = false;
    for (const Arg& a : inputs) record = record || (a.kind == Arg::tensor && level_of(a.t) == level.id && needs_grad(a.t));
  }
  if (record && !op.grad && op.decompose && !op.view && !op.map) return decompose_on(&level, op, inputs, attrs, device, wanted);
  if (record && op.grad)
    for (size_t i = 0; i < op.outputs.size(); ++i)
      if (op.outputs[i].hidden && (op.save_outputs >> i & 1)) wanted |= uint64_t(1) << i;
  std::vector<Arg> inner(inputs.begin(), inputs.end());
  for (Arg& a : inner)
    if (a.kind == Arg::tensor) {
      check_stale(a.t, op.name.c_str());
      a.t = unwrap(level.id, a.t);
    }
  Tensors results;
  {
    CreationScope none(nullptr);
    results = call(op, inner, attrs, device, wanted);
  }
  for (Tensor& t : results)
    if (t.defined() && is_inexact(t.dtype())) t = wrap_traced(level.id, t);
  if (op.view)
    for (const Tensor& t : results)
      if (t.defined() && level_of(t) == level.id && level_of(inputs[0].t) == level.id && t.storage() == inputs[0].t.storage()) note_view(inputs[0].t, t);
  if (record && op.grad) record_call(op, inputs, attrs, results, level.id);
  return results;
}

void into_traced(const Level& level, const Op& op, std::span<const Arg> inputs, std::span<const Attr> attrs, std::span<const Tensor> outs) {
  bool any = false;
  for (const Arg& a : inputs) any = any || (a.kind == Arg::tensor && level_of(a.t) == level.id && needs_grad(a.t));
  for (const Tensor& t : outs) make_traced(level.id, t, op.name.c_str());
  const bool record = !level.paused && !outs.empty() && outs[0].defined() && check_in_place(&op, outs[0], any);
  if (record && !op.grad)
    raise(ErrorKind::not_implemented, "[", op.name, "] has no in-place gradient; use the form that returns a new tensor");
  std::vector<Arg> inner(inputs.begin(), inputs.end());
  for (Arg& a : inner)
    if (a.kind == Arg::tensor) a.t = unwrap(level.id, a.t);
  Tensors into;
  for (const Tensor& t : outs) into.push_back(unwrap(level.id, t));
  CreationScope none(nullptr);
  call_into(op, inner, attrs, into);
  if (record) record_in_place(op, inputs, attrs, outs[0], level.id);
}

}  // namespace

// ---- levels ----------------------------------------------------------------------------------------------------------------

uint64_t open_level(Level level) {
  if (!level.id) level.id = g_next.fetch_add(1, std::memory_order_relaxed);
  t_levels.push_back(std::make_unique<Level>(level));
  return level.id;
}
void close_level(uint64_t id) {
  std::erase_if(t_levels, [id](auto& l) { return l->id == id; });
}
Level* find_level(uint64_t id) {
  for (size_t i = t_levels.size(); i-- > 0;)
    if (t_levels[i]->id == id) return t_levels[i].get();
  return nullptr;
}
size_t open_levels() { return t_levels.size(); }

Tensor wrap_traced(uint64_t level, const Tensor& inner) {
  Tensor t = cover(inner, inner.shape(), inner.strides());
  set_layer(t, {Layer::traced, level, inner, {}});
  return t;
}
Tensor wrap_dual(uint64_t level, const Tensor& primal, const Tensor& tangent) {
  Tensor t = cover(primal, primal.shape(), primal.strides());
  set_layer(t, {Layer::dual, level, primal, tangent});
  return t;
}
Tensor wrap_batched(uint64_t level, const Tensor& inner) {
  const auto rest = [](const Ints& v) { return std::span<const int64_t>(v.data() + 1, v.size() - 1); };
  Tensor t = cover(inner, rest(inner.shape()), rest(inner.strides()));
  set_layer(t, {Layer::batched, level, inner, {}});
  return t;
}
Tensor unwrap(uint64_t level, const Tensor& t) {
  const Layer* l = layer_of(t);
  return l && l->level == level ? l->inner : t;
}

Tensor in_memory(const Tensor& t) {
  Tensor x = t;
  while (const Layer* l = layer_of(x)) x = Tensor(l->inner);
  return x;
}

Tensor shallow(const Tensor& t) {
  const Layer* l = layer_of(t);
  Tensor copy = cover(t, t.shape(), t.strides());
  if (l) set_layer(copy, *l);
  return copy;
}
Tensor detach_transformed(const Tensor& t) {
  const Layer* l = layer_of(t);
  const Tensor inner = l->inner.detach();
  switch (l->kind) {
    case Layer::batched: return wrap_batched(l->level, inner);
    case Layer::traced: return wrap_traced(l->level, inner);
    default: return inner;
  }
}
Tensor move_transformed(const Tensor& t, Device* device) {
  const Layer* l = layer_of(t);
  const Tensor inner = l->inner.to(device);
  switch (l->kind) {
    case Layer::batched: return wrap_batched(l->level, inner);
    case Layer::dual: return wrap_dual(l->level, inner, l->tangent.defined() ? l->tangent.to(device) : Tensor());
    default: break;
  }
  Tensor out = wrap_traced(l->level, inner);
  record_transfer(t, out);
  return out;
}
void strip(uint64_t level, const Tensor& t) {
  if (!t.defined() || !t.impl()->transformed) return;
  Layer& l = *t.impl()->autograd->layer;
  if (l.inner.defined()) {
    strip(level, l.inner);
    l.inner = unwrap(level, l.inner);
  }
  strip(level, l.tangent);
  l.tangent = unwrap(level, l.tangent);
}
void raise_batched(const Tensor& t, const char* what) {
  const Layer* l = layer_of(t);
  for (; l && l->kind != Layer::batched;) l = layer_of(l->inner);
  if (!l) return;
  raise(ErrorKind::runtime, "[", what, "] expected a tensor with one value, got one of shape ", str(t.shape()), " inside vmap, which stands for ",
        l->inner.size(0), " at once; compute with tensors (tg.where instead of if), or return it and read it outside");
}

void make_traced(uint64_t level, const Tensor& t, const char* op) {
  if (level_of(t) == level || !is_inexact(t.dtype())) return;
  if (t.impl()->autograd && t.impl()->autograd->base)
    raise(ErrorKind::runtime, "[", op, "] expected a tensor that is not a view of one made outside of the differentiated function; clone it first");
  const Tensor inner = shallow(t);
  set_layer(t, {Layer::traced, level, inner, {}});
}

// ---- assignment ----------------------------------------------------------------------------------------------------------

namespace {

// x[view] = value on a traced level.
class AssignedNode final : public Node {
 public:
  AssignedNode(const Tensor& x, ViewFn view, const Arg& value) : view_(std::move(view)) {
    edges.push_back(needs_grad(x) ? edge_of(x) : Edge{});
    const bool flows = value.kind == Arg::tensor && level_of(value.t) == level_of(x) && needs_grad(value.t);
    edges.push_back(flows ? edge_of(value.t) : Edge{});
    if (flows) shape_ = value.t.shape(), dtype_ = value.t.dtype();
  }
  std::string name() const override { return "assign"; }
  Tensors backward(std::span<const Tensor> grads) override {
    const Tensor& g = grads[0];
    Tensors out(2);
    if (!g.defined()) return out;
    if (edges[1].node) out[1] = sum_to(op<"copy">({view_(g)}), shape_).cast(dtype_);
    if (edges[0].node) {
      const Tensor kept = op<"full">({}, {g.shape(), 1.0, g.dtype()}, g.device());
      assign_view(kept, view_(kept), 0.0);
      out[0] = op<"mul">({g, kept});
    }
    return out;
  }

 private:
  ViewFn view_;
  Ints shape_;
  DType dtype_ = DType::f32;
};

}  // namespace

void assign_transformed(const Tensor& x, const ViewFn& view, const Arg& value) {
  const bool tensor = value.kind == Arg::tensor;
  const uint64_t top = std::max(level_of(x), tensor ? level_of(value.t) : 0);
  if (!top) {
    Tensor part;
    {
      GradMode off(false);
      part = view(shallow(x));
    }
    return assign_view(x, part, value);
  }
  const Level* level = find_level(top);
  ensure(level != nullptr, "an assignment on a closed level");
  const Arg inner = tensor ? Arg(unwrap(top, value.t)) : value;
  if (level->kind == Layer::traced) {
    make_traced(top, x, "assignment");
    const bool any = needs_grad(x) || (tensor && level_of(value.t) == top && needs_grad(value.t));
    const bool record = !level->paused && any && check_in_place(nullptr, x, any);
    assign_transformed(unwrap(top, x), view, inner);
    if (!record) return;
    auto node = Ref<Node>::adopt(new AssignedNode(x, view, value));
    const Tensor outs[] = {x};
    set_history(outs, node);
    ++autograd_meta(x).history;
  } else if (level->kind == Layer::dual) {
    make_dual(top, x, "assignment");
    const Layer* l = tensor ? layer_of(value.t) : nullptr;
    const bool moves = l && l->level == top && l->tangent.defined();
    if (layer_of(x) && (moves || layer_of(x)->tangent.defined())) assign_transformed(held_tangent(x), view, moves ? Arg(l->tangent) : Arg(0.0));
    assign_transformed(unwrap(top, x), view, inner);
  } else {
    if (level_of(x) != top)
      raise(ErrorKind::value, "[assignment] expected a tensor of the mapped axis to write into, got one of shape ", str(x.shape()),
            " that all indices of vmap share; make it with zeros_like of a mapped tensor");
    Arg lined = inner;
    if (tensor && level_of(value.t) == top) {
      Ints axes;
      for (int64_t k = value.t.rank(); k < view(x).rank(); ++k) axes.push_back(1 + int64_t(axes.size()));
      if (!axes.empty()) lined = op<"unsqueeze">({inner.t}, {axes});
    }
    assign_transformed(unwrap(top, x), [=](const Tensor& t) { return Tensor(unwrap(top, view(wrap_batched(top, t)))); }, lined);
  }
}

// ---- creation ------------------------------------------------------------------------------------------------------------

CreationScope::CreationScope(const Level* level)
    : level_(level), old_(t_creating), outer_(level && old_ && old_->level_ && old_->level_->id < level->id ? old_ : nullptr) {
  t_creating = this;
}
CreationScope::~CreationScope() { t_creating = old_; }
bool creating() { return t_creating && t_creating->level_; }
bool creating_on(uint64_t level) {
  for (const CreationScope* s = t_creating; s && s->level_; s = s->outer_)
    if (s->level_->id == level) return true;
  return false;
}

void place_created(const Op& op, Tensors* results) {
  if (op.family != "creation" && op.kernel != "fill") return;
  std::vector<const Level*> levels;  // the outermost first
  for (const CreationScope* s = t_creating; s && s->level_; s = s->outer_) levels.insert(levels.begin(), s->level_);
  CreationScope none(nullptr);
  for (const Level* level : levels)
    for (Tensor& t : *results) {
      if (!t.defined() || t.rank() == 0 || level_of(t) >= level->id) continue;
      switch (level->kind) {
        case Layer::traced: continue;
        case Layer::dual: t = wrap_dual(level->id, t, {}); break;
        case Layer::batched: {
          Ints shape = t.shape();
          shape.insert(0, level->size);
          t = wrap_batched(level->id, tg::op<"copy">({tg::op<"expand">({t}, {shape})}));
        }
      }
    }
}

Tensors decompose_on(const Level* level, const Op& op, std::span<const Arg> inputs, std::span<const Attr> attrs, Device* device,
                     uint64_t wanted) {
  const Tensors in = tensors_of(inputs, device);
  CreationScope scope(level);
  Ceiling seen(level->id + 1);
  Tensors results = op.decompose(Call{op, in, attrs, wanted, device});
  results.resize(op.outputs.size());
  return results;
}

Tensors call_decomposed(const Op& op, std::span<const Arg> inputs, std::span<const Attr> attrs) {
  check(bool(op.decompose), "[", op.name, "] does not decompose");
  Attrs full = complete_attrs(op, attrs);
  if (op.canonical) op.canonical(inputs, full);
  Device* device = common_device(op, inputs, nullptr);
  const Tensors in = tensors_of(inputs, device);
  return op.decompose(Call{op, in, full, ~uint64_t(0), device});
}

AtHand::AtHand(std::span<const Arg> inputs, std::span<const Tensor> outputs) : inputs_(inputs), outputs_(outputs) {}

// ---- dispatch ----------------------------------------------------------------------------------------------------------------

bool drawn_on_level(const Op& op) { return op.draws && innermost_batched(); }

Tensors call_transformed(const Op& op, std::span<const Arg> given, std::span<const Attr> attrs, Device* device, uint64_t wanted) {
  std::vector<Arg> inputs(given.begin(), given.end());
  for (Arg& a : inputs)
    if (a.kind == Arg::tensor) a.t = current(op, a.t);
  const Level* level = level_of_call(op, inputs, {});
  if (!level) return call(op, inputs, attrs, device, wanted);
  check_arguments(op, inputs);
  Attrs full = complete_attrs(op, attrs);
  if (op.canonical) op.canonical(inputs, full);
  device = common_device(op, inputs, device);
  for (size_t i = 0; i < op.outputs.size(); ++i)
    if (!op.outputs[i].hidden) wanted |= uint64_t(1) << i;
  Ceiling ceiling(level->id);
  switch (level->kind) {
    case Layer::traced: return call_traced(*level, op, inputs, full, device, wanted);
    case Layer::dual: return call_forward(*level, op, inputs, full, device, wanted);
    default: return call_batched(*level, op, inputs, full, device, wanted);
  }
}

Tensors call_into_transformed(const Op& op, std::span<const Arg> given, std::span<const Attr> attrs, std::span<const Tensor> into) {
  std::vector<Arg> inputs(given.begin(), given.end());
  for (Arg& a : inputs)
    if (a.kind == Arg::tensor) a.t = current(op, a.t);
  Tensors outs;
  for (const Tensor& t : into) outs.push_back(t.defined() ? current(op, t) : t);
  const Level* level = level_of_call(op, inputs, outs);
  if (!level) return call_into(op, inputs, attrs, outs);
  check_arguments(op, inputs);
  Attrs full = complete_attrs(op, attrs);
  if (op.canonical) op.canonical(inputs, full);
  Tensors targets(outs.begin(), outs.end());
  bool missing = false;
  for (const Tensor& t : outs) missing = missing || !t.defined();
  if (missing) {  // some are new
    Tensors made = call(op, inputs, full, nullptr, 0);
    for (size_t i = 0; i < outs.size(); ++i)
      if (outs[i].defined()) {
        const Arg in[] = {made[i]};
        const Tensor into[] = {outs[i]};
        call_into(op_named<"copy">(), in, {}, into);
        made[i] = outs[i];
      }
    return made;
  }
  switch (level->kind) {
    case Layer::traced: into_traced(*level, op, inputs, full, outs); break;
    case Layer::dual: into_forward(*level, op, inputs, full, outs); break;
    default: into_batched(*level, op, inputs, full, outs);
  }
  return targets;
}

}  // namespace tg
