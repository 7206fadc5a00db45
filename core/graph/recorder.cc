// SPDX-License-Identifier: Apache-2.0
#include "graph/recorder.h"

#include <algorithm>

#include "autograd/node.h"
#include "dispatch/call.h"

namespace tg {
namespace {

// What a tensor shows of its storage, as a key.
std::string place_key(const Tensor& t) {
  std::string key;
  const auto add = [&](const auto& v) { key.append(reinterpret_cast<const char*>(&v), sizeof v); };
  add(t.dtype());
  add(t.impl()->desc.byte_offset);
  for (int64_t d : t.shape()) add(d);
  add(int64_t(-1));
  for (int64_t d : t.strides()) add(d);
  return key;
}

bool covers(const Tensor& t) { return dense_permuted(t) && t.nbytes() == t.storage()->bytes(); }

Attrs strided_attrs(const Tensor& t, int64_t offset) {
  Attrs attrs(3);
  attrs[0] = Attr(t.shape());
  attrs[1] = Attr(t.strides());
  attrs[2] = Attr(offset);
  return attrs;
}

GraphOperand operand(GraphValue* v) { return {Arg::tensor, v, {}}; }

}  // namespace

// How a part of a buffer was made: applied again when the buffer has another value.
struct Recorder::Place {
  Tensor tensor;
  GraphValue* value = nullptr;  // NULL: not made from the current value yet
  const Op* op = nullptr;       // NULL: the base, or as_strided
  std::string parent;
  Attrs attrs;
  size_t result = 0;
};

struct Recorder::Buffer {
  Tensor base;
  std::string base_key;
  std::unordered_map<std::string, Place> places;
  int input = -1;       // of the graph, where the storage is older than the trace
  bool whole = true;    // base shows all of the storage
  bool written = false;
};

Recorder::Recorder() : graph_(std::make_unique<Graph>()) {}
Recorder::~Recorder() = default;

Recorder::Buffer& Recorder::new_buffer(const Tensor& base, GraphValue* value) {
  auto b = std::make_unique<Buffer>();
  b->base = base;
  b->base_key = place_key(base);
  b->places[b->base_key] = {base, value, nullptr, {}, {}, 0};
  return *(buffers_[base.storage().get()] = std::move(b));
}

namespace {
void check_unpacked(DType t) {
  if (is_packed(t)) raise(ErrorKind::not_implemented, "[jit] expected dtypes that graphs have, got ", long_name_of(t), "; cast to int8 outside");
}
}  // namespace

// A name of the graph's own values is a number, so one that is given begins otherwise.
std::string Recorder::unique(std::string name) {
  if (std::all_of(name.begin(), name.end(), [](unsigned char c) { return std::isdigit(c); })) name = "n" + name;
  for (char& c : name)
    if (!std::isalnum(static_cast<unsigned char>(c)) && c != '_' && c != '.') c = '_';
  std::string free = name;
  for (int i = 2; !taken_.insert(free).second; ++i) free = name + "_" + std::to_string(i);
  return free;
}

void Recorder::see(std::span<const Tensor> tensors) {
  for (const Tensor& t : tensors) value_of(t);
}

Tensor Recorder::argument(const std::string& name, const Tensor& like, bool contiguous) {
  check_unpacked(like.dtype());
  const UnbackedScope on(true);
  if (contiguous && !like.is_contiguous()) {
    const Tensor dense(Ref<TensorImpl>::adopt(new TensorImpl(unbacked_storage(like.device(), like.nbytes()), like.dtype(), like.shape(),
                                                             contiguous_strides(like.shape()), 0)));
    return argument(name, dense);
  }
  uint64_t extent = uint64_t(size_of(like.dtype()));  // bytes that its strides span
  for (int64_t i = 0; i < like.rank(); ++i) {
    if (like.size(i) == 0) extent = 0;
    else extent += uint64_t(like.size(i) - 1) * uint64_t(like.strides()[i]) * uint64_t(size_of(like.dtype()));
  }
  const Tensor t(Ref<TensorImpl>::adopt(
      new TensorImpl(unbacked_storage(like.device(), extent), like.dtype(), like.shape(), like.strides(), 0)));
  GraphInput& in = graph_->add_input(GraphInput::argument, unique(name), t.dtype(), t.shape(), t.strides(), t.device());
  new_buffer(t, in.value.get()).input = int(graph_->inputs.size()) - 1;
  kept_.push_back(t);
  return t;
}

void Recorder::name_state(const Tensor& t, std::string name) { names_.emplace(t.impl(), std::move(name)); }

int Recorder::host_call() { return pending_host_ = int(graph_->host_calls++); }

void Recorder::gradient_dropped(const Tensor& leaf) {
  for (const Leaf& l : leaves_)
    if (same(l.tensor, leaf)) return;
  leaves_.push_back({leaf, leaf.grad(), true});
}

void Recorder::note_leaf(const Tensor& t) {
  if (!t.requires_grad() || !t.is_leaf()) return;
  for (const Leaf& l : leaves_)
    if (same(l.tensor, t)) return;
  leaves_.push_back({t, t.grad(), false});
}

Recorder::Buffer& Recorder::buffer_of(const Tensor& t) {
  const auto it = buffers_.find(t.storage().get());
  if (it != buffers_.end()) return *it->second;
  if (is_unbacked(t)) {  // made by no op, as parameters of a new module are: what it holds is not defined yet
    const Tensor whole = covers(t) ? t : Tensor(Ref<TensorImpl>::adopt(new TensorImpl(
        t.storage(), t.dtype(), Ints{int64_t(t.storage()->bytes()) / size_of(t.dtype())}, Ints{1}, 0)));
    GraphNode& n = graph_->add_node(op_named<"empty">(), {}, complete_attrs(op_named<"empty">(), Attrs{Attr(whole.shape()), Attr(whole.dtype())}),
                                    {std::pair(whole.dtype(), whole.shape())}, whole.device());
    kept_.push_back(whole);
    return new_buffer(whole, n.outputs[0].get());
  }
  for (const auto& [storage, b] : buffers_)
    if (storage != t.storage().get() && shares_memory(b->base, t))
      raise(ErrorKind::not_implemented, "[jit] expected tensors that the function reaches to have memory of their own, got two of shapes ",
            str(b->base.shape()), " and ", str(t.shape()), " whose memory overlaps; give copies");
  const auto named = names_.find(t.impl());
  std::string name = named != names_.end() ? named->second : "s" + std::to_string(graph_->inputs.size());
  // What the function itself brought into memory is the same in every run.
  const bool constant = std::any_of(log_.constants.begin(), log_.constants.end(), [&](const Ref<Storage>& c) { return c == t.storage(); });
  GraphInput& in = graph_->add_input(constant ? GraphInput::constant : GraphInput::state, unique(name), t.dtype(), t.shape(), t.strides(), t.device());
  in.bound = t;
  for (const Leaf& l : leaves_)  // an accumulated gradient goes by its leaf
    if (l.tensor.grad().defined() && same(l.tensor.grad(), t)) in.gradient_of = l.tensor;
  Buffer& b = new_buffer(t, in.value.get());
  b.input = int(graph_->inputs.size()) - 1;
  b.whole = covers(t);
  return b;
}

// The value at a known place of a buffer.
GraphValue* Recorder::value_at(Buffer& b, const std::string& key) {
  Place& p = b.places.at(key);
  if (p.value) return p.value;
  GraphValue* parent = value_at(b, p.parent);
  GraphNode& n = graph_->add_node(*p.op, {operand(parent)}, p.attrs, {}, p.tensor.device());
  n.outputs.resize(p.result + 1);
  n.outputs[p.result] = std::make_unique<GraphValue>(GraphValue{graph_->fresh_name(), p.tensor.dtype(), p.tensor.shape(), &n, p.result});
  return p.value = n.outputs[p.result].get();
}

GraphValue* Recorder::value_of(const Tensor& t) {
  check_unpacked(t.dtype());
  note_leaf(t);
  Buffer& b = buffer_of(t);
  const std::string key = place_key(t);
  if (!b.places.count(key)) {
    // A view that no op made, as indexing's.
    const int64_t size = size_of(t.dtype());
    const int64_t offset = int64_t(t.impl()->desc.byte_offset) - int64_t(b.base.impl()->desc.byte_offset);
    if (t.dtype() != b.base.dtype() || offset % size != 0 || (!b.whole && offset < 0))
      raise(ErrorKind::not_implemented, "[jit] expected views of one dtype that begin within the tensor that was seen first, got ",
            name_of(t.dtype()), " ", str(t.shape()), " of the memory of ", name_of(b.base.dtype()), " ", str(b.base.shape()));
    b.places[key] = {t, nullptr, &op_named<"as_strided">(), b.base_key, strided_attrs(t, offset / size), 0};
  }
  return value_at(b, key);
}

void Recorder::assign(const Tensor& t, GraphValue* value) {
  Buffer& b = buffer_of(t);
  const std::string key = place_key(t);
  if (key != b.base_key) {
    const int64_t size = size_of(t.dtype());
    const int64_t offset = (int64_t(t.impl()->desc.byte_offset) - int64_t(b.base.impl()->desc.byte_offset)) / size;
    if (t.dtype() != b.base.dtype() || (!b.whole && offset < 0))
      raise(ErrorKind::not_implemented, "[jit] expected a write into a view of one dtype, got ", name_of(t.dtype()), " in the memory of ",
            name_of(b.base.dtype()));
    GraphValue* old = value_at(b, b.base_key);
    GraphNode& n = graph_->add_node(op_named<"as_strided_update">(), {operand(old), operand(value)}, strided_attrs(t, offset),
                                    {std::pair(b.base.dtype(), b.base.shape())}, t.device());
    n.into = {old};
    value = n.outputs[0].get();
  }
  for (auto& [k, p] : b.places) p.value = nullptr;
  b.places[b.base_key].value = value;
  b.written = true;
}

void Recorder::called(const Op& op, std::span<const Arg> inputs, std::span<const Attr> attrs, std::span<const Tensor> outs,
                      std::span<const Tensor> results, Device* device) {
  const int host = std::exchange(pending_host_, -1);
  // Results that are views of what there is, or that are their input.
  const auto known = [&](const Tensor& t) { return t.defined() && buffers_.count(t.storage().get()) != 0; };
  bool makes = false;
  for (size_t i = 0; i < results.size(); ++i) makes = makes || (i < outs.size() && outs[i].defined()) || (results[i].defined() && !known(results[i]));
  std::vector<GraphOperand> operands;
  for (const Arg& a : inputs) {
    GraphOperand o{a.kind, nullptr, a.s};
    if (a.kind == Arg::tensor) {
      if (!makes && inputs.size() == 1 && op.view) buffer_of(a.t);
      else o.value = value_of(a.t);
    }
    operands.push_back(o);
  }
  if (!makes) {
    if (inputs.size() != 1 || inputs[0].kind != Arg::tensor) return;
    value_of(inputs[0].t);
    const std::string parent = place_key(inputs[0].t);
    for (size_t i = 0; i < results.size(); ++i) {
      if (!known(results[i]) || results[i].storage() != inputs[0].t.storage()) continue;
      Buffer& b = buffer_of(results[i]);
      const std::string key = place_key(results[i]);
      if (key == parent || b.places.count(key)) continue;
      b.places[key] = {results[i], nullptr, &op, parent, Attrs(attrs.begin(), attrs.end()), i};
      kept_.push_back(results[i]);
    }
    return;
  }
  std::vector<std::optional<std::pair<DType, Ints>>> specs;
  std::vector<GraphValue*> into;
  bool writes = false;
  for (size_t i = 0; i < results.size(); ++i) {
    const bool out = i < outs.size() && outs[i].defined();
    into.push_back(out ? value_of(outs[i]) : nullptr);
    writes = writes || out;
    if (out) specs.push_back(std::pair(outs[i].dtype(), outs[i].shape()));
    else if (results[i].defined() && !known(results[i])) specs.push_back(std::pair(results[i].dtype(), results[i].shape()));
    else specs.push_back({});
  }
  for (size_t i = 0; i < results.size() && !device; ++i)
    if (results[i].defined()) device = results[i].device();
  GraphNode& n = graph_->add_node(op, std::move(operands), complete_attrs(op, attrs), std::move(specs), device);
  if (writes) n.into = std::move(into);
  n.host_call = host;
  if (random_position() != random_before()) n.random_at = random_before();
  for (size_t i = 0; i < results.size(); ++i) {
    if (!n.outputs[i]) continue;
    if (i < outs.size() && outs[i].defined()) {
      assign(outs[i], n.outputs[i].get());
      continue;
    }
    new_buffer(results[i], n.outputs[i].get());
    kept_.push_back(results[i]);
  }
}

std::unique_ptr<Graph> Recorder::finish(std::span<const Tensor> outputs) {
  graph_->random_blocks = random_position();
  for (const Tensor& t : outputs) graph_->outputs.push_back(value_of(t));
  // Gradients left behind.
  for (size_t i = 0; i < leaves_.size(); ++i) {
    const Leaf l = leaves_[i];
    const Tensor g = l.tensor.grad();
    if (g.defined() && buffers_.count(g.storage().get()) && is_unbacked(g)) graph_->gradients.push_back({l.tensor, value_of(g)});
    else if (!g.defined() && l.dropped) graph_->gradients.push_back({l.tensor, nullptr});
  }
  std::vector<Buffer*> found(graph_->inputs.size(), nullptr);
  for (const auto& [storage, b] : buffers_)
    if (b->input >= 0) found[size_t(b->input)] = b.get();
  for (Buffer* b : found)
    if (b && b->written && graph_->inputs[size_t(b->input)]->kind != GraphInput::constant)
      graph_->updates.push_back({graph_->inputs[size_t(b->input)].get(), value_at(*b, b->base_key)});
  for (const auto& [storage, b] : buffers_)
    if (b->input < 0) bases_.emplace_back(b->base, value_at(*b, b->base_key));
  buffers_.clear();
  return std::move(graph_);
}

void Recorder::restore_gradients() {
  for (const Leaf& l : leaves_)
    if (l.tensor.impl()->autograd || l.gradient.defined()) autograd_meta(l.tensor).grad = l.gradient;
}

// What only this recorder holds goes, and what hung on that, and so on; the rest is somebody's, as an optimizer's new states.
size_t Recorder::survivors() {
  std::unordered_map<const TensorImpl*, uint32_t> own;
  for (const Tensor& t : kept_) ++own[t.impl()];
  for (const auto& [base, value] : bases_) ++own[base.impl()];
  const auto ours = [&](const Tensor& t) { return t.impl()->use_count() == own[t.impl()]; };
  for (bool changed = true; changed;) {
    changed = false;
    for (size_t i = kept_.size(); i-- > 0;)
      if (ours(kept_[i])) {
        const TensorImpl* impl = kept_[i].impl();
        if (--own[impl] == 0) own.erase(impl);
        kept_[i] = std::move(kept_.back());
        kept_.pop_back();
        changed = true;
      }
    std::unordered_set<const Storage*> held;
    for (const Tensor& t : kept_) held.insert(t.storage().get());
    const size_t before = bases_.size();
    std::erase_if(bases_, [&](const auto& b) { return !held.count(b.first.storage().get()) && ours(b.first); });
    changed = changed || bases_.size() != before;
  }
  std::unordered_set<const Storage*> alive;
  for (const Tensor& t : kept_) alive.insert(t.storage().get());
  std::erase_if(bases_, [&](const auto& b) { return !alive.count(b.first.storage().get()) || !is_unbacked(b.first); });
  return bases_.size();
}

// They get memory, which every run writes.
void Recorder::keep_survivors(Graph* graph) {
  for (const auto& [base, value] : bases_) {
    back(base.storage().get());
    for (const Tensor& t : kept_)
      if (t.storage() == base.storage()) t.impl()->desc.data = base.storage()->data();
    const Tensor bound(base.ref());
    bound.impl()->desc.data = base.storage()->data();
    if (bound.nbytes() && dense_permuted(bound)) {
      GradMode off(false);
      write_into(bound, call(op_named<"full">(), {}, Attrs{Attr(bound.shape()), Attr(0.0), Attr(bound.dtype())}, bound.device())[0]);
    }
    GraphInput& in = graph->add_input(GraphInput::state, unique("made"), base.dtype(), base.shape(), base.strides(), base.device());
    in.bound = bound;
    graph->updates.push_back({&in, value});
  }
  kept_.clear();
  bases_.clear();
}

}  // namespace tg
