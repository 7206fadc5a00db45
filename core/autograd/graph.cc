// SPDX-License-Identifier: Apache-2.0
// Recording: nodes, edges, saved tensors, in-place changes.
#include <unordered_set>
#include <algorithm>
#include <mutex>

#include "autograd/node.h"

namespace tg {
namespace {

thread_local bool t_enabled = true;
std::atomic<uint64_t> g_sequence{0};

Tensor conjugate(const Tensor& t) { return t.defined() && is_complex(t.dtype()) ? op<"conj">({t}) : t; }
bool recordable(DType t) { return is_inexact(t); }

// Anomaly mode.
std::atomic<bool> g_anomaly_on{false};
std::mutex g_anomaly_mutex;
std::shared_ptr<const Anomaly> g_anomaly;
std::string g_first_bad;  // the first recorded call that made NaN or inf out of finite numbers
bool g_reported = false;  // a loss is reported once for each time that the mode is switched on

void note_anomaly(Node* node, std::span<const Arg> inputs, std::span<const Tensor> outputs) {
  const auto mode = anomaly();
  if (!mode) return;
  node->made_at = mode->where();
  for (const Tensor& t : outputs)
    if (t.defined() && !all_finite(t)) {
      for (const Arg& a : inputs)
        if (a.kind == Arg::tensor && !all_finite(a.t)) return;
      std::lock_guard lock(g_anomaly_mutex);
      if (g_first_bad.empty()) g_first_bad = detail::concat("[", node->name(), "] called at ", node->made_at);
      return;
    }
}

}  // namespace

void set_anomaly(std::shared_ptr<const Anomaly> anomaly) {
  std::lock_guard lock(g_anomaly_mutex);
  g_anomaly_on = anomaly != nullptr;
  g_anomaly = std::move(anomaly);
  g_first_bad.clear();
  g_reported = false;
}
std::shared_ptr<const Anomaly> anomaly() {
  if (!g_anomaly_on.load(std::memory_order_relaxed)) return nullptr;
  std::lock_guard lock(g_anomaly_mutex);
  return g_anomaly;
}
bool all_finite(const Tensor& t) {
  Tensor memory = t;
  while (const Layer* l = layer_of(memory)) memory = Tensor(l->inner);
  if (!is_inexact(memory.dtype()) || memory.numel() == 0) return true;
  GradMode off(false);
  if (is_complex(memory.dtype())) memory = op<"view_as_real">({memory});
  return op<"all">({op<"isfinite">({memory})}).item() != 0;
}
void report_loss(const Tensor& loss) {
  const auto mode = anomaly();
  if (!mode || all_finite(loss)) return;
  std::string first;
  {
    std::lock_guard lock(g_anomaly_mutex);
    if (std::exchange(g_reported, true)) return;
    first = g_first_bad;
  }
  mode->report(detail::concat("the loss has NaN or inf", first.empty() ? "; no recorded op made it out of finite numbers" : "; first made by " + first));
}

bool grad_enabled() { return t_enabled; }
bool set_grad_enabled(bool on) { return std::exchange(t_enabled, on); }

// ---- Node ------------------------------------------------------------------------------------------------------------------

Node::~Node() = default;
uint64_t Node::next_sequence() { return g_sequence.fetch_add(1, std::memory_order_relaxed); }

void Node::dispose(Node* node) {
  thread_local std::vector<Node*>* queue = nullptr;
  if (queue) {
    queue->push_back(node);
    return;
  }
  std::vector<Node*> local{node};
  queue = &local;
  while (!local.empty()) {
    Node* n = local.back();
    local.pop_back();
    delete n;
  }
  queue = nullptr;
}

namespace {
// Threads may record from the same leaf at once: what they share of it is looked up under this lock.
std::mutex g_meta_mutex;
// Sums into .grad, by leaf.
std::mutex g_sink_mutexes[16];
std::mutex& sink_mutex(const TensorImpl* leaf) { return g_sink_mutexes[(reinterpret_cast<uintptr_t>(leaf) >> 6) % 16]; }
}  // namespace

AutogradMeta& autograd_meta(const Tensor& t) { return t.impl()->autograd.make(); }

namespace {

// The sink of a leaf: adds to its .grad.
class Accumulate final : public Node {
 public:
  explicit Accumulate(Tensor leaf) : leaf_(std::move(leaf)) {}
  ~Accumulate() override {
    std::lock_guard lock(g_meta_mutex);
    if (leaf_.impl()->autograd && leaf_.impl()->autograd->accumulate == this) leaf_.impl()->autograd->accumulate = nullptr;
  }
  std::string name() const override { return "AccumulateGrad"; }
  const Tensor& leaf() const { return leaf_; }
  Tensors backward(std::span<const Tensor> grads) override {
    Tensor g = grads[0];
    if (!g.defined()) return {};
    AutogradMeta& meta = autograd_meta(leaf_);
    std::lock_guard lock(sink_mutex(leaf_.impl()));
    if (!meta.grad.defined()) {
      // A gradient that nobody else holds is taken as it is; else the user could change another's.
      const bool sole = g.impl()->use_count() <= 2 && g.storage()->unique() && g.is_contiguous();
      meta.grad = sole && !grad_enabled() ? g.detach() : op<"copy">({g});
    } else if (grad_enabled()) {
      meta.grad = op<"add">({meta.grad, g});
    } else {
      const Arg in[] = {meta.grad, g};
      const Tensor out[] = {meta.grad};
      call_into(op_named<"add">(), in, {}, out);
    }
    return {};
  }

 private:
  Tensor leaf_;
};

thread_local std::vector<std::shared_ptr<const SavedHooks>> t_hooks;

// What saved_tensors_hooks made of a kept tensor.
struct Packed {
  std::shared_ptr<const SavedHooks> hooks;
  std::shared_ptr<void> object;
  void take(Tensor* t) {
    hooks = t_hooks.back();
    GradMode off(false);
    object = hooks->pack(shallow(*t));
    *t = Tensor();
  }
  Tensor give() const { return hooks->unpack(object.get()); }
};

// One recorded op.
class OpNode final : public Node, private Backward::SavedValues {
 public:
  // `written`: the tensor that the call has changed in place; its old content is gone.
  OpNode(const Op& op, std::span<const Arg> inputs, std::span<const Attr> attrs, uint64_t level, const TensorImpl* written = nullptr)
      : op_(op), attrs_(attrs.begin(), attrs.end()) {
    inputs_.reserve(inputs.size());
    for (size_t i = 0; i < inputs.size(); ++i) {
      const Arg& a = inputs[i];
      Input in;
      in.kind = a.kind;
      if (a.kind == Arg::scalar) in.arg = a;
      if (a.kind == Arg::tensor) {
        in.shape = a.t.shape();
        in.dtype = a.t.dtype();
        in.kept = i >= 64 || (op.save_inputs >> i & 1);
        if (in.kept) {
          in.version = a.t.version();
          if (a.t.impl() == written) --in.version;
          in.arg = a.t.impl() == written ? Arg(shallow(a.t)) : a;
          if (!t_hooks.empty()) in.packed.take(&in.arg.t);
        }
      }
      inputs_.push_back(std::move(in));
      edges.push_back(a.kind == Arg::tensor && needs_grad(a.t) && level_of(a.t) == level ? edge_of(a.t) : Edge{});
    }
  }
  std::string name() const override { return op_.name; }
  size_t n_outputs() const override { return outputs_.size(); }

  void save_outputs(std::span<const Tensor> outputs) {
    for (size_t i = 0; i < outputs.size(); ++i) {
      const Tensor& t = outputs[i];
      const bool keep = t.defined() && (op_.save_outputs >> i & 1);
      outputs_.push_back({keep ? shallow(t) : Tensor(), keep ? t.version() : 0});  // detached: a node must not hold itself
      if (keep && !t_hooks.empty()) outputs_.back().packed.take(&outputs_.back().t);
    }
  }

  Tensors backward(std::span<const Tensor> grads) override {
    if (freed_)
      raise(ErrorKind::runtime, "[", op_.name, "] backward went through this part of the graph before, and its saved tensors are freed;"
            " call backward(retain_graph=True) the first time");
    uint64_t needs = 0;
    for (size_t i = 0; i < edges.size() && i < 64; ++i) needs |= uint64_t(bool(edges[i].node)) << i;
    stale_.clear();
    // A rule is written as for reals: sums of gradients times derivatives. The gradient that we carry is that with respect to
    // the conjugate (d/d re + i d/d im), which wants conjugate derivatives: conj(conj(g) f') = g conj(f').
    Tensors turned(op_.own_conj ? 0 : grads.size());
    for (size_t i = 0; i < turned.size(); ++i) turned[i] = conjugate(grads[i]);
    Tensors result = op_.grad(Backward{op_, op_.own_conj ? grads : turned, attrs_, needs, *this});
    if (!op_.own_conj)
      for (Tensor& g : result) g = conjugate(g);
    if (!stale_.empty()) raise(ErrorKind::runtime, stale_);
    for (Output& o : outputs_) {
      o.shown = Tensor();  // it refers to this node
      if (o.packed.hooks) o.t = Tensor();
    }
    for (Input& in : inputs_)
      if (in.packed.hooks) in.arg.t = Tensor();
    result.resize(edges.size());
    for (size_t i = 0; i < result.size(); ++i) {
      if (!edges[i].node) {
        result[i] = Tensor();
        continue;
      }
      if (!result[i].defined()) continue;
      if (result[i].shape() != inputs_[i].shape) result[i] = sum_to(result[i], inputs_[i].shape);
      // the real part, where a real operand met complex ones
      if (result[i].dtype() != inputs_[i].dtype) result[i] = result[i].cast(inputs_[i].dtype);
    }
    return result;
  }

  bool released() const override { return freed_; }
  void release_saved() override {
    freed_ = true;
    for (Input& in : inputs_)
      if (in.kind == Arg::tensor) in.arg = Arg(), in.packed = {};
    for (Output& o : outputs_) o.t = Tensor(), o.packed = {};
  }

 private:
  struct Input {
    Arg::Kind kind = Arg::absent;
    bool kept = false;
    DType dtype = DType::f32;
    uint32_t version = 0;
    Ints shape;
    Arg arg;
    Packed packed = {};
  };
  struct Output {
    Tensor t;
    uint32_t version = 0;
    Tensor shown = Tensor();  // t as this node's result, during backward
    Packed packed = {};
  };

  // Noted here and raised when the rule has returned: a rule may be in the middle of a braced list.
  void check_version(const Tensor& t, uint32_t version) const {
    if (t.version() != version)
      stale_ = detail::concat("[", op_.name, "] its gradient needs a tensor of shape ", str(t.shape()),
            " that was changed in place since: expected version ", version, ", got ", t.version(),
            "; clone it before the change, or change it out of place");
  }
  const Arg& arg(size_t i) const override {
    const Input& in = inputs_[i];
    if (in.kind != Arg::tensor) return in.arg;
    ensure(in.kept, "the gradient of ", op_.name, " looks at input ", i, ", which it does not save");
    if (in.packed.hooks) {
      Arg& back = const_cast<Input&>(in).arg;
      if (!back.t.defined()) {
        back.kind = Arg::tensor;
        back.t = in.packed.give();
        if (grad_enabled() && edges[i].node) {  // it has the history of what was packed
          back.t = shallow(back.t);
          autograd_meta(back.t).grad_fn = edges[i].node;
          autograd_meta(back.t).output = edges[i].slot;
          back.t.impl()->requires_grad = true;
        }
      }
      return back;
    }
    check_version(in.arg.t, in.version);
    return in.arg;
  }
  const Tensor& output(size_t i) const override {
    const Output& o = outputs_[i];
    ensure(op_.save_outputs >> i & 1, "the gradient of ", op_.name, " looks at output ", i, ", which it does not save");
    if (o.packed.hooks) {
      if (!o.t.defined()) const_cast<Output&>(o).t = o.packed.give();
    } else {
      if (!o.t.defined()) return o.t;
      check_version(o.t, o.version);
    }
    if (!grad_enabled() || !recordable(o.t.dtype())) return o.t;
    auto& shown = const_cast<Output&>(o).shown;  // for gradients of gradients
    shown = shallow(o.t);
    autograd_meta(shown).grad_fn = Ref<Node>(const_cast<OpNode*>(this));
    autograd_meta(shown).output = uint32_t(i);
    shown.impl()->requires_grad = true;
    return shown;
  }
  Arg::Kind kind(size_t i) const override { return i < inputs_.size() ? inputs_[i].kind : Arg::absent; }
  const Ints& shape(size_t i) const override { return inputs_[i].shape; }
  DType dtype(size_t i) const override { return inputs_[i].dtype; }

  const Op& op_;
  Attrs attrs_;
  std::vector<Input> inputs_;
  std::vector<Output> outputs_;
  bool freed_ = false;
  mutable std::string stale_;
};

// To another device, and back.
class TransferNode final : public Node {
 public:
  explicit TransferNode(const Tensor& t) : from_(t.device()) { edges.push_back(edge_of(t)); }
  std::string name() const override { return "to"; }
  Tensors backward(std::span<const Tensor> grads) override {
    return {grads[0].defined() ? grads[0].to(from_) : Tensor()};
  }

 private:
  Device* from_;
};

// x[view] = value.
class AssignNode final : public Node {
 public:
  AssignNode(const Tensor& x, const Tensor& view, const Arg& value)
      : shape_(view.shape()), strides_(view.strides()),
        offset_(int64_t(view.impl()->desc.byte_offset) - int64_t(x.impl()->desc.byte_offset)), x_strides_(x.strides()) {
    edges.push_back(needs_grad(x) ? edge_of(x) : Edge{});
    const bool flows = value.kind == Arg::tensor && needs_grad(value.t);
    edges.push_back(flows ? edge_of(value.t) : Edge{});
    if (value.kind == Arg::tensor) {
      value_shape_ = value.t.shape();
      value_dtype_ = value.t.dtype();
    }
  }
  std::string name() const override { return "assign"; }
  Tensors backward(std::span<const Tensor> grads) override {
    Tensors out(2);
    const Tensor& g = grads[0];
    if (!g.defined()) return out;
    // The gradient laid out as x was, so that the view's strides fit.
    int64_t extent = 1;  // of x in its memory, gaps included
    for (size_t i = 0; i < x_strides_.size(); ++i) extent += std::max<int64_t>(g.shape()[i] - 1, 0) * x_strides_[i];
    Tensor laid = Tensor::empty(Ints{extent}, g.dtype(), g.device()).alias(g.shape(), x_strides_, 0);
    {
      GradMode off(false);
      const Arg in[] = {g};
      const Tensor into[] = {laid};
      call_into(op_named<"copy">(), in, {}, into);
    }
    const Tensor part = laid.alias(shape_, strides_, uint64_t(offset_));
    if (edges[1].node) {
      Tensor v = op<"copy">({part});
      v = sum_to(v, value_shape_);
      out[1] = v.cast(value_dtype_);
    }
    if (edges[0].node) {
      GradMode off(false);
      const Tensor zero = op<"full">({}, {shape_, 0.0, g.dtype()}, g.device());
      const Arg in[] = {zero};
      const Tensor into[] = {part};
      call_into(op_named<"copy">(), in, {}, into);
      out[0] = laid;
    }
    return out;
  }

 private:
  Ints shape_, strides_;
  int64_t offset_;
  Ints x_strides_, value_shape_;
  DType value_dtype_ = DType::f32;
};

}  // namespace

bool is_accumulate(Node* node, Tensor* leaf) {
  auto* a = dynamic_cast<Accumulate*>(node);
  if (a && leaf) *leaf = a->leaf();
  return a != nullptr;
}

bool needs_grad(const Tensor& t) { return t.defined() && t.requires_grad() && recordable(t.dtype()); }

Edge edge_of(const Tensor& t) {
  AutogradMeta& meta = autograd_meta(t);
  if (meta.grad_fn) return {meta.grad_fn, meta.output};
  std::lock_guard lock(g_meta_mutex);
  if (meta.accumulate && meta.accumulate->try_retain()) return {Ref<Node>::adopt(meta.accumulate), 0};
  auto node = Ref<Node>::adopt(new Accumulate(t));
  meta.accumulate = node.get();
  return {node, 0};
}

void set_history(std::span<const Tensor> outputs, const Ref<Node>& node) {
  for (size_t i = 0; i < outputs.size(); ++i) {
    const Tensor& t = outputs[i];
    if (!t.defined() || !recordable(t.dtype())) continue;
    AutogradMeta& meta = autograd_meta(t);
    meta.grad_fn = node;
    meta.output = uint32_t(i);
    t.impl()->requires_grad = true;
  }
}

void record_call(const Op& op, std::span<const Arg> inputs, std::span<const Attr> attrs, std::span<Tensor> outputs, uint64_t level) {
  if (!op.grad) return;
  bool any = false;
  for (const Arg& a : inputs) any = any || (a.kind == Arg::tensor && needs_grad(a.t) && level_of(a.t) == level);
  bool floating_output = false;
  for (const Tensor& t : outputs) floating_output = floating_output || (t.defined() && recordable(t.dtype()));
  if (!any || !floating_output) return;
  auto* node = new OpNode(op, inputs, attrs, level);
  auto ref = Ref<Node>::adopt(node);
  // A view op may hand back its very input; its history then belongs to a new handle.
  for (Tensor& t : outputs)
    for (const Arg& a : inputs)
      if (a.kind == Arg::tensor && t.defined() && same(a.t, t)) t = shallow(t);
  node->save_outputs(outputs);
  set_history(outputs, ref);
  if (g_anomaly_on.load(std::memory_order_relaxed)) [[unlikely]] note_anomaly(node, inputs, outputs);
}

void push_saved_hooks(std::shared_ptr<const SavedHooks> hooks) { t_hooks.push_back(std::move(hooks)); }
void pop_saved_hooks() { t_hooks.pop_back(); }

// ---- in place ------------------------------------------------------------------------------------------------------------------

bool check_in_place(const Op* op, const Tensor& t, bool any_input_needs_grad) {
  if (!grad_enabled()) return false;
  const char* name = op ? op->name.c_str() : "assignment";
  if (t.requires_grad() && t.is_leaf())
    raise(ErrorKind::runtime, "[", name, "] expected a tensor that is not a leaf requiring gradients, as writing into one would lose its"
          " history; use no_grad(), or the form that returns a new tensor");
  if (!any_input_needs_grad && !t.requires_grad()) return false;
  if (t.impl()->autograd && t.impl()->autograd->base)
    raise(ErrorKind::runtime, "[", name, "] expected a tensor that is not a recorded view; write through its base (base[index] = value), or"
          " clone the view first");
  return true;
}

void record_in_place(const Op& op, std::span<const Arg> inputs, std::span<const Attr> attrs, const Tensor& out, uint64_t level) {
  auto* node = new OpNode(op, inputs, attrs, level, out.impl());
  auto ref = Ref<Node>::adopt(node);
  const Tensor outs[] = {out};
  node->save_outputs(outs);
  set_history(outs, ref);
  ++autograd_meta(out).history;
}

void note_view(const Tensor& base, const Tensor& view) {
  if (!grad_enabled() && !base.requires_grad()) return;
  AutogradMeta& meta = autograd_meta(view);
  const AutogradMeta& from = autograd_meta(base);
  meta.base = from.base ? from.base : base.ref();
  if (meta.base.get() == view.impl()) meta.base = nullptr;
  else meta.base_history = meta.base->autograd ? meta.base->autograd->history : 0;
}

void check_stale(const Tensor& t, const char* op) {
  if (!t.defined() || !t.impl()->autograd || !t.impl()->autograd->base) return;
  const AutogradMeta& meta = *t.impl()->autograd;
  const uint32_t now = meta.base->autograd ? meta.base->autograd->history : 0;
  if (now != meta.base_history)
    raise(ErrorKind::runtime, "[", op, "] expected a current view, got one whose base was changed in place after it was made; make the view again");
}

bool backward_done(const Tensor& t) {
  std::vector<Ref<Node>> open;  // held: a leaf's sink lives as long as somebody refers to it
  std::unordered_set<const Node*> seen;
  const auto visit = [&](const Ref<Node>& n) {
    if (n && seen.insert(n.get()).second) open.push_back(n);
  };
  visit(edge_of(t).node);
  while (!open.empty()) {
    const Ref<Node> n = open.back();
    open.pop_back();
    if (n->released()) return true;
    for (const Edge& e : n->edges) visit(e.node);
  }
  return false;
}

void check_writable(const char* op, const Tensor& t) {
  for (int64_t i = 0; i < t.rank(); ++i)
    if (t.strides()[i] == 0 && t.shape()[i] > 1)
      raise(ErrorKind::runtime, "[", op, "] expected a tensor whose elements lie apart in memory, got an expanded one of shape ",
            str(t.shape()), "; clone it first");
}

void assign_view(const Tensor& x, const Tensor& view, const Arg& value) {
  check_writable("assignment", view);
  const bool any = needs_grad(x) || (value.kind == Arg::tensor && needs_grad(value.t));
  const bool record = check_in_place(nullptr, x, any) && any;
  Tensor v = value.kind == Arg::tensor ? value.t : Tensor();
  {
    GradMode off(false);
    if (value.kind == Arg::scalar) {
      if (value.s.kind == Scalar::complex && !is_complex(x.dtype()))
        raise(ErrorKind::type, "[assignment] expected a real number for a tensor of ", long_name_of(x.dtype()), ", got a complex one");
      check_fits("assignment", value.s, x.dtype());
      v = scalar_tensor(value.s, x.dtype(), x.device());
    } else {
      if (v.device() != x.device()) v = v.to(x.device());
      v = v.cast(x.dtype());
    }
    // Broadcasting, with leading axes of size 1 dropped as NumPy does.
    Ints shape = v.shape(), strides = v.strides();
    while (int64_t(shape.size()) > view.rank() && shape[0] == 1) {
      shape.erase(0);
      strides.erase(0);
    }
    Ints full(view.rank(), 0);
    bool ok = int64_t(shape.size()) <= view.rank();
    for (size_t i = 0; ok && i < shape.size(); ++i) {
      const size_t at = view.rank() - shape.size() + i;
      ok = shape[i] == view.shape()[at] || shape[i] == 1;
      full[at] = shape[i] == 1 ? 0 : strides[i];
    }
    check(ok, "[assignment] expected a value that broadcasts to shape ", str(view.shape()), ", got ", str(v.shape()));
    if (view.numel()) {
      Tensor spread = v.alias(view.shape(), full, v.impl()->desc.byte_offset);
      if (shares_memory(spread, view)) spread = op<"copy">({spread});
      const Arg in[] = {spread};
      const Tensor into[] = {view};
      call_into(op_named<"copy">(), in, {}, into);
    }
  }
  if (!record) return;
  auto node = Ref<Node>::adopt(new AssignNode(x, view, value));
  const Tensor outs[] = {x};
  set_history(outs, node);
  ++autograd_meta(x).history;
}

Tensor sum_to(const Tensor& grad, std::span<const int64_t> shape) {
  Ints axes;
  const int64_t lead = grad.rank() - int64_t(shape.size());
  for (int64_t i = 0; i < grad.rank(); ++i)
    if (i < lead || (shape[i - lead] == 1 && grad.shape()[i] != 1)) axes.push_back(i);
  Tensor g = axes.empty() ? grad : op<"sum">({grad}, {axes, true});
  if (g.shape() != Ints(shape)) g = op<"reshape">({g}, {Ints(shape)});
  return g;
}

// ---- Tensor's part ----------------------------------------------------------------------------------------------------------------

bool Tensor::is_leaf() const { return !impl_->autograd || !impl_->autograd->grad_fn; }
Tensor Tensor::grad() const { return impl_->autograd ? impl_->autograd->grad : Tensor(); }
void Tensor::set_grad(Tensor g) {
  if (g.defined())
    check(g.shape() == shape() && g.dtype() == dtype() && g.device() == device(), "[grad] expected a gradient of shape ", str(shape()),
          " and dtype ", name_of(dtype()), " on the tensor's device, got ", str(g.shape()), " and ", name_of(g.dtype()));
  autograd_meta(*this).grad = std::move(g);
}

Tensor& Tensor::set_requires_grad(bool on) {
  if (on && !recordable(dtype()))
    raise(ErrorKind::type, "[requires_grad] expected a floating or complex tensor, got ", name_of(dtype()));
  if (impl_->transformed && on && !impl_->requires_grad)
    raise(ErrorKind::runtime, "[requires_grad] expected a tensor outside of vmap, jvp and grad; inside, use tg.func.grad or tg.func.vjp");
  if (!is_leaf()) {
    if (!on) raise(ErrorKind::runtime, "[requires_grad] expected a leaf, got the result of a recorded op; use detach()");
    return *this;
  }
  impl_->requires_grad = on;
  return *this;
}

Tensor Tensor::detach() const {
  if (impl_->transformed) return detach_transformed(*this);
  return alias(shape(), strides(), impl_->desc.byte_offset);
}

Tensor Tensor::to(Device* target) const {
  if (device() == target) return *this;
  if (impl_->transformed) return move_transformed(*this, target);
  Tensor out = copy_to_device(*this, target);
  if (!same(out, *this)) record_transfer(*this, out);
  return out;
}

void record_transfer(const Tensor& from, const Tensor& to) {
  if (!grad_enabled() || !needs_grad(from)) return;
  const Tensor outs[] = {to};
  set_history(outs, Ref<Node>::adopt(new TransferNode(from)));
}

std::string grad_fn_name(const Tensor& t) {
  if (t.is_leaf()) return "";
  std::string name, out;
  name = t.impl()->autograd->grad_fn->name();
  bool upper = true;
  for (char c : name) {
    if (c == '_') upper = true;
    else out += upper ? char(std::toupper(c)) : c, upper = false;
  }
  return out + "Backward";
}

int64_t register_hook(const Tensor& t, GradHook hook) {
  static std::atomic<int64_t> next{1};
  check(t.requires_grad(), "[register_hook] expected a tensor that requires gradients");
  const int64_t id = next.fetch_add(1);
  AutogradMeta& meta = autograd_meta(t);
  if (meta.grad_fn) meta.grad_fn->hooks.push_back({meta.output, {id, std::move(hook)}});
  else meta.leaf_hooks.emplace_back(id, std::move(hook));
  return id;
}

void remove_hook(const Tensor& t, int64_t id) {
  AutogradMeta& meta = autograd_meta(t);
  if (meta.grad_fn) std::erase_if(meta.grad_fn->hooks, [&](auto& h) { return h.second.first == id; });
  std::erase_if(meta.leaf_hooks, [&](auto& h) { return h.first == id; });
}

}  // namespace tg
