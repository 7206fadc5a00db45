// SPDX-License-Identifier: Apache-2.0
// From a graph to a program: every node's call is made as eager code would make it, while this thread captures; what would
// have been launched becomes a step.
#include <algorithm>
#include <unordered_map>

#include "compile/program.h"

#include <tengen/autocast.h>
#include "dispatch/call.h"
#include "dispatch/capture.h"

namespace tg {
namespace {

class Lowering final : public Capture {
 public:
  Lowering(const Graph& graph, std::span<const std::vector<double>> numbers, LowerOptions options)
      : graph_(graph), options_(options), numbers_(numbers) {}
  std::unique_ptr<Program> run();

  void called(const Op&, std::span<const Arg>, std::span<const Attr>, std::span<const Tensor>, std::span<const Tensor>, Device*) override {}
  void launch(const KernelPlan& plan, const KernelPlan::Args& args) override;
  void fallback(const Op& op, std::span<const Arg> inputs, std::span<const Attr> attrs, std::span<const Tensor> results) override;

 private:
  static constexpr size_t kForever = ~size_t(0);
  void measure_lives();
  void define(const GraphValue* v, const Tensor& t);
  bool dead_after(const Storage* memory, size_t at) const;
  bool is_needless_copy(const GraphNode& node, size_t at) const;
  Tensor& tensor(const GraphValue* v) { return env_.at(v); }
  void add_node(const GraphNode& node, size_t at);
  Tensors make_call(const GraphNode& node, const Attrs& attrs, std::span<const Tensor> outs);
  Tensors outs_of(const GraphNode& node, size_t at);
  bool find_numbers(const GraphNode& node, const Attrs& attrs, std::span<const Tensor> outs, size_t from);
  void add_updates();
  size_t slot_of(const void* data);
  Operand* operand_of(const tg_tensor* t);
  ResultView result_of(const Tensor& t);

  const Graph& graph_;
  const LowerOptions options_;
  std::span<const std::vector<double>> numbers_;
  std::unique_ptr<PlannedProgram> made_ = std::make_unique<PlannedProgram>();
  std::unordered_map<const GraphValue*, Tensor> env_;
  std::unordered_map<const GraphValue*, size_t> last_use_;  // the node that looks at it last; kForever: results
  std::unordered_map<const Storage*, std::vector<const GraphValue*>> residents_;  // what lies in a storage
  std::unordered_map<const void*, size_t> slots_;           // by token or address
  std::vector<bool> updated_;                               // by input
  std::deque<Step> heard_;                                  // of the call at hand
};

// ---- what is alive -----------------------------------------------------------------------------------------------------

void Lowering::measure_lives() {
  for (const auto& in : graph_.inputs)
    updated_.push_back(std::any_of(graph_.updates.begin(), graph_.updates.end(), [&](const GraphUpdate& u) { return u.input == in.get(); }));
  size_t at = 0;
  for (const auto& n : graph_.nodes) {
    ++at;
    for (const GraphOperand& o : n->inputs)
      if (o.kind == Arg::tensor) last_use_[o.value] = at;
  }
  for (const GraphValue* v : graph_.outputs) last_use_[v] = kForever;
  for (const GraphGradient& g : graph_.gradients)
    if (g.value) last_use_[g.value] = kForever;
  for (const GraphUpdate& u : graph_.updates) last_use_[u.value] = kForever;
}

void Lowering::define(const GraphValue* v, const Tensor& t) {
  env_[v] = t;
  residents_[t.storage().get()].push_back(v);
}

// No value that lies in this memory is looked at after node `at`, and the memory may be written.
bool Lowering::dead_after(const Storage* memory, size_t at) const {
  for (const GraphValue* v : residents_.at(memory))
    if (const auto it = last_use_.find(v); it != last_use_.end() && it->second > at) return false;
  for (size_t k = 0; k < graph_.inputs.size(); ++k)  // an input's memory is others', but for its own update
    if (env_.at(graph_.inputs[k]->value.get()).storage().get() == memory) return updated_[k];
  return true;
}

// Where the results of a node that was an in-place call go: over the old value when nobody looks at that any more.
Tensors Lowering::outs_of(const GraphNode& node, size_t at) {
  Tensors outs(node.into.size());
  for (size_t i = 0; i < node.into.size(); ++i) {
    if (!node.into[i] || !node.outputs[i]) continue;
    const Tensor& old = tensor(node.into[i]);
    // One call for many tensors writes some before it reads others.
    const bool many = !node.op->inputs.empty() && node.op->inputs.back().variadic;
    size_t written = 0, read = 0;
    for (const GraphValue* v : node.into) written += v && tensor(v).storage() == old.storage();
    for (const GraphOperand& o : node.inputs) read += o.kind == Arg::tensor && tensor(o.value).storage() == old.storage();
    if (written == 1 && (!many || read <= 1) && dead_after(old.storage().get(), at)) {
      outs[i] = old;
      continue;
    }
    outs[i] = Tensor::empty(old.shape(), old.dtype(), old.device());
    if (dense_permuted(old)) outs[i] = outs[i].alias(old.shape(), strides_like(old, old.shape()), 0);
    if (node.op->is_floor) write_into(outs[i], old);  // may add to what is there
  }
  return outs;
}

// A copy that eager execution makes for safety, of a value that nothing can write: the value itself.
bool Lowering::is_needless_copy(const GraphNode& node, size_t at) const {
  if (node.op != &op_named<"copy">() || !node.into.empty() || !node.outputs[0]) return false;
  const Tensor& x = env_.at(node.inputs[0].value);
  if (!x.is_contiguous() || slots_.count(x.storage()->data()) == 0) return false;
  const Slot& s = made_->slots[slots_.at(x.storage()->data())];
  if (s.kind != Slot::arena || x.nbytes() != s.bytes) return false;
  const auto it = last_use_.find(node.outputs[0].get());
  return it == last_use_.end() || it->second != kForever || dead_after(x.storage().get(), at);  // results do not share memory
}

// ---- calls -------------------------------------------------------------------------------------------------------------

Tensors Lowering::make_call(const GraphNode& node, const Attrs& attrs, std::span<const Tensor> outs) {
  std::vector<Arg> in;
  for (const GraphOperand& o : node.inputs)
    in.push_back(o.kind == Arg::tensor ? Arg(tensor(o.value)) : o.kind == Arg::scalar ? Arg(o.scalar) : Arg());
  const Op& op = *node.op;
  if (op.map) return call_map(op, in, attrs, outs, node.device);
  return call_kernel(op, in, attrs, outs, node.device, node.wanted());
}

void Lowering::add_node(const GraphNode& node, size_t at) {
  if (is_needless_copy(node, at)) return define(node.outputs[0].get(), tensor(node.inputs[0].value));
  heard_.clear();
  const Tensors outs = outs_of(node, at);
  for (Step& s : heard_) made_->steps.push_back(std::move(s));
  Attrs attrs = node.attrs;
  if (node.host_call >= 0 && size_t(node.host_call) < numbers_.size())
    for (size_t i = 0; i < numbers_[size_t(node.host_call)].size(); ++i) attrs[i] = numbers_[size_t(node.host_call)][i];
  const size_t from = made_->steps.size();
  if (node.random_at >= 0) set_random_position(node.random_at);
  heard_.clear();
  Tensors results = make_call(node, attrs, outs);
  std::deque<Step> steps = std::move(heard_);
  for (Step& s : steps) made_->steps.push_back(std::move(s));
  if (node.host_call >= 0 && !find_numbers(node, attrs, outs, from)) {
    // Its kernels see something that is computed from the numbers: the call itself becomes the step.
    while (made_->steps.size() > from) made_->steps.pop_back();
    Step s;
    s.op = node.op;
    s.operands = node.inputs;
    s.call_attrs = attrs;
    s.host_call = node.host_call;
    s.run.outputs_wanted = node.wanted();
    for (const GraphOperand& o : node.inputs) s.inputs.push_back(o.kind == Arg::tensor ? operand_of(&tensor(o.value).impl()->desc) : nullptr);
    for (const Tensor& t : results) s.outputs.push_back(t.defined() ? operand_of(&t.impl()->desc) : nullptr);
    made_->steps.push_back(std::move(s));
  }
  for (size_t i = 0; i < node.outputs.size(); ++i) {
    if (!node.outputs[i]) continue;
    ensure(i < results.size() && results[i].defined(), "[", node.op->name, "] gave no result ", i, " in a graph");
    const GraphValue& v = *node.outputs[i];
    if (!(results[i].shape() == v.shape) || results[i].dtype() != v.dtype)
      raise(ErrorKind::runtime, "[graph] expected %", v.name, " to be ", name_of(v.dtype), " ", str(v.shape), ", got ", name_of(results[i].dtype()), " ",
            str(results[i].shape()), " from ", node.op->name);
    define(&v, results[i]);
  }
}

// Which words of the steps since `from` are numbers of the host call: those that change when the numbers do. False where a
// word is computed from them.
bool Lowering::find_numbers(const GraphNode& node, const Attrs& attrs, std::span<const Tensor> outs, size_t from) {
  const size_t n = size_t(node.host_call) < numbers_.size() ? numbers_[size_t(node.host_call)].size() : 0;
  Attrs other = attrs;
  std::vector<double> before(n), after(n);
  for (size_t i = 0; i < n; ++i) {
    before[i] = attrs[i].floating();
    after[i] = 1.0 + double(i + 1) / 64 + std::abs(before[i]);  // exact in every floating dtype that matters, and all different
    other[i] = after[i];
  }
  const int64_t drawn = random_position();
  const size_t patches = made_->patches.size();
  heard_.clear();
  make_call(node, other, outs);
  const std::deque<Step> again = std::move(heard_);
  made_->patches.resize(patches);
  if (random_position() != drawn || again.size() != made_->steps.size() - from) return false;
  std::vector<Patch> found;
  for (size_t k = 0; k < again.size(); ++k) {
    const Step &a = made_->steps[from + k], &b = again[k];
    if (a.plan != b.plan || a.attrs.size() != b.attrs.size()) return false;
    for (size_t j = 0; j < a.attrs.size(); ++j) {
      const auto match = [&](uint64_t x, uint64_t y, DType t, size_t word) {
        for (size_t i = 0; i < n; ++i)
          if (x == Scalar(before[i]).bits(t) && y == Scalar(after[i]).bits(t)) {
            found.push_back({Patch::number, from + k, j, word, size_t(node.host_call), i, t, 0});
            return true;
          }
        return false;
      };
      if (a.attrs[j].kind == TG_ATTR_BITS) {
        for (size_t w = 0; w < a.words[j].size(); ++w) {
          const uint64_t x = a.words[j][w], y = b.words[j][w];
          if (x != y && !match(x, y, DType::f32, w) && !match(x, y, DType::f64, w) && !match(x, y, DType::f16, w) && !match(x, y, DType::bf16, w)) return false;
        }
      } else if (a.attrs[j].kind == TG_ATTR_FLOAT) {
        const uint64_t x = a.attrs[j].v.word, y = b.attrs[j].v.word;
        if (x != y && !match(x, y, DType::f64, 0)) return false;
      }
    }
  }
  made_->patches.insert(made_->patches.end(), found.begin(), found.end());
  return true;
}

// ---- what is heard -----------------------------------------------------------------------------------------------------

size_t Lowering::slot_of(const void* data) {
  if (const auto it = slots_.find(data); it != slots_.end()) return it->second;
  Slot s;
  if (const auto it = log_.made.find(data); it != log_.made.end()) s.bytes = it->second;
  else {
    s.kind = Slot::constant;
    for (const Ref<Storage>& c : log_.constants)
      if (c->data() == data) s.held = c;
    ensure(data == nullptr || s.held, "a captured launch uses memory that nobody knows");
    if (s.held) s.bytes = s.held->bytes();
  }
  made_->slots.push_back(std::move(s));
  return slots_[data] = made_->slots.size() - 1;
}

Operand* Lowering::operand_of(const tg_tensor* t) {
  if (!t) return nullptr;
  Operand o;
  o.desc = *t;
  o.shape = Ints(t->shape, size_t(t->ndim));
  o.strides = Ints(t->strides, size_t(t->ndim));
  ensure(dtype_from_abi(t->dtype, &o.dtype), "a captured launch with an unknown dtype");
  o.slot = slot_of(t->data);
  o.offset = t->byte_offset;
  made_->operands.push_back(std::move(o));
  return &made_->operands.back();
}

void Lowering::launch(const KernelPlan& plan, const KernelPlan::Args& args) {
  Step s;
  s.plan = plan.shared_from_this();
  if (program_) s.map = std::make_shared<MapBuilder::Program>(*std::exchange(program_, nullptr));
  if (!made_->device) made_->device = plan.device;
  if (made_->device != plan.device)
    raise(ErrorKind::not_implemented, "[jit] expected work on one device, got ", plan.op, " on ", plan.device->name, " and others on ",
          made_->device->name, "; give every device a function of its own");
  for (uint32_t i = 0; i < args.n_inputs; ++i) s.inputs.push_back(operand_of(args.inputs[i]));
  for (uint32_t i = 0; i < args.n_outputs; ++i) s.outputs.push_back(operand_of(args.outputs[i]));
  const size_t step = made_->steps.size() + heard_.size();
  bool seeded = false;
  for (uint32_t i = 0; i < args.n_attrs; ++i) {
    tg_attr a = args.attrs[i];
    s.words.emplace_back();
    s.texts.emplace_back();
    switch (a.kind) {
      case TG_ATTR_BITS: s.words.back().assign(a.v.bits, a.v.bits + a.n), a.v.bits = s.words.back().data(); break;
      case TG_ATTR_INTS:
        s.words.back().assign(reinterpret_cast<const uint64_t*>(a.v.ints), reinterpret_cast<const uint64_t*>(a.v.ints) + a.n);
        a.v.ints = reinterpret_cast<const int64_t*>(s.words.back().data());
        break;
      case TG_ATTR_FLOATS:
        s.words.back().resize(a.n);
        std::memcpy(s.words.back().data(), a.v.floats, a.n * 8);
        a.v.floats = reinterpret_cast<const double*>(s.words.back().data());
        break;
      case TG_ATTR_STRING: s.texts.back() = std::string(a.v.str, a.n), a.v.str = s.texts.back().c_str(); break;
      case TG_ATTR_INT:
        if (std::exchange(seeded, false)) made_->patches.push_back({Patch::counter, step, i, 0, 0, 0, DType::i64, a.v.i});
        else if (a.v.i == kSeed) seeded = true, made_->patches.push_back({Patch::seed, step, i, 0, 0, 0, DType::i64, 0});
        break;
      default: break;
    }
    s.attrs.push_back(a);
  }
  s.run.inputs_present = args.present;
  s.run.outputs_wanted = args.wanted;
  s.run.inputs = args.inputs;
  s.run.outputs = args.outputs;
  s.run.attrs = args.attrs;
  s.run.n_inputs = args.n_inputs;
  s.run.n_outputs = args.n_outputs;
  s.run.n_attrs = args.n_attrs;
  if (const uint64_t bytes = plan.workspace(&s.run)) {
    Slot w;
    w.bytes = bytes;
    made_->slots.push_back(std::move(w));
    s.workspace = int(made_->slots.size()) - 1;
  }
  heard_.push_back(std::move(s));
}

// What no plugin does here is an eager call in every run, which moves operands to where it can be done.
void Lowering::fallback(const Op& op, std::span<const Arg> inputs, std::span<const Attr> attrs, std::span<const Tensor> results) {
  Step s;
  s.op = &op;
  s.call_attrs = Attrs(attrs.begin(), attrs.end());
  for (const Arg& a : inputs) {
    s.operands.push_back({a.kind, nullptr, a.s});
    s.inputs.push_back(a.kind == Arg::tensor ? operand_of(&a.t.impl()->desc) : nullptr);
  }
  for (size_t i = 0; i < results.size(); ++i) {
    s.outputs.push_back(results[i].defined() ? operand_of(&results[i].impl()->desc) : nullptr);
    if (results[i].defined() && i < 64) s.run.outputs_wanted |= uint64_t(1) << i;
  }
  heard_.push_back(std::move(s));
}

// ---- the whole ---------------------------------------------------------------------------------------------------------

// States get their final values.
void Lowering::add_updates() {
  std::vector<Tensor> values;
  for (const GraphUpdate& u : graph_.updates) values.push_back(tensor(u.value));
  const auto overwritten = [&](const Tensor& t, size_t own) {
    for (size_t k = 0; k < graph_.updates.size(); ++k) {
      const GraphValue* v = graph_.updates[k].input->value.get();
      if (k != own && tensor(v).storage() == t.storage() && !same_place(values[k], tensor(v))) return true;
    }
    return false;
  };
  heard_.clear();
  for (size_t k = 0; k < values.size(); ++k)  // exchanged states
    if (overwritten(values[k], k)) values[k] = op<"copy">({values[k]});
  for (const GraphValue* v : graph_.outputs) {  // results are not the program's own constants
    const auto it = slots_.find(tensor(v).storage()->data());
    if (it == slots_.end() ? log_.made.count(tensor(v).storage()->data()) == 0 : made_->slots[it->second].kind == Slot::constant) tensor(v) = op<"copy">({tensor(v)});
  }
  for (const GraphValue* v : graph_.outputs)
    if (overwritten(tensor(v), ~size_t(0))) tensor(v) = op<"copy">({tensor(v)});
  for (size_t k = 0; k < values.size(); ++k) {
    const Tensor& state = tensor(graph_.updates[k].input->value.get());
    if (!same_place(values[k], state)) write_into(state, values[k]);
  }
  for (Step& s : heard_) made_->steps.push_back(std::move(s));
  heard_.clear();
}

ResultView Lowering::result_of(const Tensor& t) {
  ResultView v;
  v.slot = slot_of(t.storage()->data());
  Slot& s = made_->slots[v.slot];
  if (s.kind == Slot::arena) {
    s.kind = Slot::result;
    s.index = made_->n_results++;
  }
  v.shape = t.shape();
  v.strides = t.strides();
  v.dtype = t.dtype();
  v.offset = t.impl()->desc.byte_offset;
  return v;
}

std::unique_ptr<Program> Lowering::run() {
  GradMode off(false);
  AutocastPause pause;
  CaptureScope scope(this);
  measure_lives();
  size_t arguments = 0;
  for (size_t i = 0; i < graph_.inputs.size(); ++i) {
    const GraphInput& in = *graph_.inputs[i];
    const GraphValue& v = *in.value;
    if (!made_->device) made_->device = in.device;
    if (in.kind == GraphInput::constant) {
      ensure(in.bound.defined(), "a constant without value");
      log_.constants.push_back(in.bound.storage());
      define(&v, in.bound);
      continue;
    }
    uint64_t extent = uint64_t(size_of(v.dtype));
    for (size_t k = 0; k < v.shape.size(); ++k) extent = v.shape[k] ? extent + uint64_t(v.shape[k] - 1) * uint64_t(in.strides[k]) * uint64_t(size_of(v.dtype)) : 0;
    // A state may be a part of its memory, of which the graph makes further views.
    if (in.bound.defined()) extent = in.bound.storage()->bytes() - in.bound.impl()->desc.byte_offset;
    const Tensor t(Ref<TensorImpl>::adopt(new TensorImpl(unbacked_storage(in.device, extent), v.dtype, v.shape, in.strides, 0)));
    Slot s;
    s.kind = in.kind == GraphInput::state ? Slot::state : Slot::argument;
    s.index = in.kind == GraphInput::state ? i : arguments++;
    s.bytes = extent;
    s.bound = in.bound;
    s.requires_grad = in.bound.defined() && in.bound.requires_grad();
    s.dtype = v.dtype, s.shape = v.shape, s.strides = in.strides;
    s.gradient_of = in.gradient_of;
    if (in.kind == GraphInput::argument) made_->arguments.push_back({v.dtype, v.shape, in.strides, in.device, v.name});
    else ensure(in.bound.defined(), "[lower] expected the state %", v.name, " to be bound to a tensor");
    made_->slots.push_back(std::move(s));
    slots_[t.storage()->data()] = made_->slots.size() - 1;
    if (updated_[i]) made_->written.push_back(made_->slots.size() - 1);
    define(&v, t);
  }
  size_t at = 0;
  for (const auto& n : graph_.nodes) add_node(*n, ++at);
  if (!made_->device) made_->device = default_device();
  add_updates();
  for (const GraphValue* v : graph_.outputs) made_->outputs.push_back(result_of(tensor(v)));
  for (const GraphGradient& g : graph_.gradients) {
    if (g.value) made_->gradients.push_back(result_of(tensor(g.value)));
    else made_->gradients.push_back({}), made_->gradients.back().defined = false;
  }
  made_->random_blocks = graph_.random_blocks;
  made_->host_calls = graph_.host_calls;
  for (size_t k = 0; k < graph_.host_calls; ++k) made_->numbers_of.push_back(k < numbers_.size() ? numbers_[k].size() : 0);
  if (options_.fuse) fuse_maps(*made_);
  made_->finish();
  return std::move(made_);
}

}  // namespace

std::unique_ptr<Program> lower(const Graph& graph, std::span<const std::vector<double>> numbers, LowerOptions options) {
  return Lowering(graph, numbers, options).run();
}

}  // namespace tg
