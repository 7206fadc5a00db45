// SPDX-License-Identifier: Apache-2.0
// Building, copying, changing and checking graphs.
#include <tengen/graph.h>

#include <algorithm>
#include <unordered_map>
#include <unordered_set>

#include "dispatch/call.h"

namespace tg {

uint64_t GraphNode::wanted() const {
  uint64_t mask = 0;
  for (size_t i = 0; i < outputs.size() && i < 64; ++i) mask |= uint64_t(outputs[i] != nullptr) << i;
  return mask;
}

std::string Graph::fresh_name() { return std::to_string(next_++); }

GraphInput& Graph::add_input(GraphInput::Kind kind, std::string name, DType dtype, const Ints& shape, const Ints& strides, Device* device) {
  auto in = std::make_unique<GraphInput>();
  in->kind = kind;
  in->value = std::make_unique<GraphValue>(GraphValue{std::move(name), dtype, shape});
  in->strides = strides;
  in->device = device;
  inputs.push_back(std::move(in));
  return *inputs.back();
}

GraphNode& Graph::add_node(const Op& op, std::vector<GraphOperand> operands, Attrs attrs,
                           std::vector<std::optional<std::pair<DType, Ints>>> results, Device* device) {
  auto node = std::make_unique<GraphNode>();
  node->op = &op;
  node->inputs = std::move(operands);
  node->attrs = std::move(attrs);
  node->device = device;
  for (size_t i = 0; i < results.size(); ++i) {
    node->outputs.push_back(nullptr);
    if (results[i])
      node->outputs.back() = std::make_unique<GraphValue>(GraphValue{fresh_name(), results[i]->first, results[i]->second, node.get(), i});
  }
  nodes.push_back(std::move(node));
  return *nodes.back();
}

std::vector<GraphNode*> Graph::users(const GraphValue* value) const {
  std::vector<GraphNode*> found;
  for (const auto& n : nodes)
    for (const GraphOperand& o : n->inputs)
      if (o.value == value) {
        found.push_back(n.get());
        break;
      }
  return found;
}

void Graph::replace(GraphValue* value, GraphValue* by) {
  for (const auto& n : nodes) {
    for (GraphOperand& o : n->inputs)
      if (o.value == value) o.value = by;
    for (GraphValue*& v : n->into)
      if (v == value) v = by;
  }
  for (GraphValue*& v : outputs)
    if (v == value) v = by;
  for (GraphUpdate& u : updates)
    if (u.value == value) u.value = by;
  for (GraphGradient& g : gradients)
    if (g.value == value) g.value = by;
}

std::unique_ptr<Graph> Graph::clone() const {
  auto g = std::make_unique<Graph>();
  std::unordered_map<const GraphValue*, GraphValue*> to{{nullptr, nullptr}};
  g->name = name;
  g->host_calls = host_calls;
  g->random_blocks = random_blocks;
  g->next_ = next_;
  for (const auto& in : inputs) {
    GraphInput& made = g->add_input(in->kind, in->value->name, in->value->dtype, in->value->shape, in->strides, in->device);
    made.bound = in->bound;
    made.gradient_of = in->gradient_of;
    to[in->value.get()] = made.value.get();
  }
  for (const auto& n : nodes) {
    auto made = std::make_unique<GraphNode>();
    made->op = n->op;
    made->attrs = n->attrs;
    made->device = n->device;
    made->host_call = n->host_call;
    made->random_at = n->random_at;
    made->inputs = n->inputs;
    for (GraphOperand& o : made->inputs) o.value = to.at(o.value);
    for (const GraphValue* v : n->into) made->into.push_back(to.at(v));
    for (const auto& v : n->outputs) {
      made->outputs.push_back(v ? std::make_unique<GraphValue>(*v) : nullptr);
      if (!v) continue;
      made->outputs.back()->producer = made.get();
      to[v.get()] = made->outputs.back().get();
    }
    g->nodes.push_back(std::move(made));
  }
  for (const GraphValue* v : outputs) g->outputs.push_back(to.at(v));
  for (const GraphUpdate& u : updates) {
    size_t i = 0;
    while (inputs[i].get() != u.input) ++i;
    g->updates.push_back({g->inputs[i].get(), to.at(u.value)});
  }
  for (const GraphGradient& d : gradients) g->gradients.push_back({d.leaf, to.at(d.value)});
  return g;
}

std::pair<std::unique_ptr<Graph>, std::unique_ptr<Graph>> Graph::cut(size_t n, size_t n_arguments, size_t n_outputs, size_t* saved) const {
  auto first = clone(), second = clone();
  first->name = name + "_forward", second->name = name + "_backward";
  std::unordered_map<const GraphValue*, size_t> number;  // what the first part has: by its place among inputs and results
  std::unordered_map<std::string, GraphValue*> by_name;
  // The first part: its nodes, its arguments.
  first->nodes.resize(n);
  first->outputs.resize(n_outputs);
  first->gradients.clear();
  size_t seen = 0;
  std::erase_if(first->inputs, [&](const auto& in) { return in->kind == GraphInput::argument && seen++ >= n_arguments; });
  std::unordered_set<std::string> have;
  for (const auto& in : first->inputs) have.insert(in->value->name), by_name[in->value->name] = in->value.get();
  for (const auto& node : first->nodes)
    for (const auto& v : node->outputs)
      if (v) have.insert(v->name), by_name[v->name] = v.get();
  std::erase_if(first->updates, [&](const GraphUpdate& u) { return !have.count(u.value->name); });
  // The second: what it uses of the first becomes an argument.
  std::list<std::unique_ptr<GraphNode>> dropped;
  dropped.splice(dropped.end(), second->nodes, second->nodes.begin(), std::next(second->nodes.begin(), std::ptrdiff_t(n)));
  second->outputs.erase(second->outputs.begin(), second->outputs.begin() + std::ptrdiff_t(n_outputs));
  std::vector<std::unique_ptr<GraphInput>> old = std::move(second->inputs);
  second->inputs.clear();
  std::unordered_set<const GraphValue*> theirs;  // inputs of the second that stay inputs of their own
  size_t arguments = 0;
  std::vector<std::unique_ptr<GraphInput>> own;
  for (auto& in : old) {
    const bool forward_argument = in->kind == GraphInput::argument && arguments++ < n_arguments;
    if (forward_argument) continue;
    theirs.insert(in->value.get());
    own.push_back(std::move(in));
  }
  *saved = 0;
  std::unordered_map<const GraphValue*, GraphValue*> passed;
  const auto pass = [&](GraphValue* v) -> GraphValue* {
    if (!v || theirs.count(v) || !have.count(v->name)) return v;
    if (const auto it = passed.find(v); it != passed.end()) return it->second;
    first->outputs.push_back(by_name.at(v->name));
    const GraphInput* source = nullptr;
    for (const auto& in : first->inputs)
      if (in->value->name == v->name) source = in.get();
    GraphInput& made = second->add_input(GraphInput::argument, v->name, v->dtype, v->shape, source ? source->strides : contiguous_strides(v->shape),
                                         source ? source->device : v->producer->device);
    ++*saved;
    return passed[v] = made.value.get();
  };
  for (const auto& node : second->nodes) {
    for (GraphOperand& o : node->inputs)
      if (o.kind == Arg::tensor) o.value = pass(o.value);
    for (GraphValue*& v : node->into) v = pass(v);
  }
  for (GraphValue*& v : second->outputs) v = pass(v);
  for (auto& in : own) second->inputs.push_back(std::move(in));
  second->random_blocks = 0;  // the first part has taken them
  second->updates.clear();
  second->gradients.clear();
  return {std::move(first), std::move(second)};
}

// ---- verify ------------------------------------------------------------------------------------------------------------

namespace {

std::string spec_text(DType dtype, std::span<const int64_t> shape) {
  std::string s = std::string(name_of(dtype)) + "[";
  for (size_t i = 0; i < shape.size(); ++i) s += (i ? ", " : "") + std::to_string(shape[i]);
  return s + "]";
}

template <class... Parts>
void must(bool ok, const GraphNode* node, const Parts&... parts) {
  if (ok) [[likely]] return;
  std::string at;
  if (node) {
    for (const auto& v : node->outputs)
      if (v && at.empty()) at = "%" + v->name + " = ";
    at = " in " + at + node->op->name;
  }
  raise(ErrorKind::runtime, "[graph] expected ", parts..., at);
}

// Results are what the op infers from its operands.
void check_specs(const GraphNode& n) {
  const Op& op = *n.op;
  std::vector<TensorSpec> specs(n.inputs.size());
  std::vector<const TensorSpec*> pointers(n.inputs.size(), nullptr);
  bool scalars = false;
  for (size_t i = 0; i < n.inputs.size(); ++i) {
    scalars = scalars || n.inputs[i].kind == Arg::scalar;
    if (n.inputs[i].kind != Arg::tensor) continue;
    specs[i] = {n.inputs[i].value->dtype, symbolic(n.inputs[i].value->shape)};
    pointers[i] = &specs[i];
  }
  if (!op.infer || scalars) return;  // the op's own call checks it
  const Specs expected = op.infer(Inference{op, pointers, n.attrs});
  for (size_t i = 0; i < n.outputs.size() && i < expected.size(); ++i) {
    if (!n.outputs[i]) continue;
    const GraphValue& v = *n.outputs[i];
    const bool dtype = v.dtype == expected[i].dtype || !n.into.empty();  // a write converts
    must(dtype && symbolic(v.shape) == expected[i].shape, &n, "%", v.name, " to be ", spec_text(expected[i].dtype, concrete(expected[i].shape)),
         ", got ", spec_text(v.dtype, v.shape));
  }
}

}  // namespace

void Graph::verify() const {
  std::unordered_set<const GraphValue*> known;
  std::unordered_set<std::string> names;
  const auto define = [&](const GraphValue* v, const GraphNode* n) {
    must(names.insert(v->name).second, n, "distinct names, got %", v->name, " twice");
    for (int64_t d : v->shape) must(d >= 0, n, "sizes of 0 or more, got ", spec_text(v->dtype, v->shape));
    known.insert(v);
  };
  const auto use = [&](const GraphValue* v, const GraphNode* n) {
    must(v && known.count(v), n, "operands that come before their users, got %", v ? v->name : "?");
  };
  for (const auto& in : inputs) define(in->value.get(), nullptr);
  for (const auto& n : nodes) {
    must(n->op != nullptr, nullptr, "an op in every node");
    must(n->attrs.size() == n->op->attrs.size(), n.get(), n->op->attrs.size(), " attributes, got ", n->attrs.size());
    must(n->inputs.size() <= n->op->inputs.size() || (!n->op->inputs.empty() && n->op->inputs.back().variadic), n.get(), "at most ",
         n->op->inputs.size(), " operands, got ", n->inputs.size());
    for (const GraphOperand& o : n->inputs)
      if (o.kind == Arg::tensor) use(o.value, n.get());
    for (const GraphValue* v : n->into)
      if (v) use(v, n.get());
    check_specs(*n);
    for (size_t i = 0; i < n->outputs.size(); ++i) {
      const GraphValue* v = n->outputs[i].get();
      if (!v) continue;
      must(v->producer == n.get() && v->index == i, n.get(), "results that know their node, got %", v->name);
      define(v, n.get());
      if (i < n->into.size() && n->into[i])
        must(n->into[i]->dtype == v->dtype && n->into[i]->shape == v->shape, n.get(), "%", v->name, " to be like %", n->into[i]->name,
             ", which it is written over");
    }
  }
  for (const GraphValue* v : outputs) use(v, nullptr);
  for (const GraphGradient& g : gradients)
    if (g.value) use(g.value, nullptr);
  for (const GraphUpdate& u : updates) {
    must(std::any_of(inputs.begin(), inputs.end(), [&](const auto& in) { return in.get() == u.input && in->kind != GraphInput::constant; }), nullptr, "updates of states and arguments");
    use(u.value, nullptr);
    const GraphValue& s = *u.input->value;
    must(s.dtype == u.value->dtype && s.shape == u.value->shape, nullptr, "the update of %", s.name, " to be ", spec_text(s.dtype, s.shape),
         ", got ", spec_text(u.value->dtype, u.value->shape));
  }
}

}  // namespace tg
