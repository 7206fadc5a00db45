// SPDX-License-Identifier: Apache-2.0
// Passes that leave calls out: dead code, common subexpressions, constants. None changes a bit of any result.
#include <tengen/autocast.h>
#include <tengen/passes.h>

#include <algorithm>
#include <unordered_map>
#include <unordered_set>

#include "dispatch/call.h"

namespace tg {
namespace {

// A call that does nothing but compute its results from its operands.
bool is_pure(const GraphNode& n) { return n.random_at < 0 && n.host_call < 0 && n.into.empty() && !n.op->draws; }

std::string key_of(const GraphNode& n) {
  std::string key = n.op->name;
  key += '\n' + (n.device ? std::to_string(reinterpret_cast<uintptr_t>(n.device)) : std::string());
  for (const GraphOperand& o : n.inputs) {
    key += o.kind == Arg::absent ? "_" : o.kind == Arg::tensor ? "%" + o.value->name : std::string("=");
    if (o.kind == Arg::scalar) {
      const Scalar& s = o.scalar;
      key += std::to_string(s.kind) + "," + std::to_string(s.range);
      key.append(reinterpret_cast<const char*>(&s.i), sizeof s.i).append(reinterpret_cast<const char*>(&s.im), sizeof s.im);
    }
    key += ';';
  }
  for (const Attr& a : n.attrs) key += attr_text(a) + ";";
  return key;
}

}  // namespace

size_t remove_dead_code(Graph& graph) {
  std::unordered_set<const GraphValue*> wanted(graph.outputs.begin(), graph.outputs.end());
  for (const GraphUpdate& u : graph.updates) wanted.insert(u.value);
  for (const GraphGradient& g : graph.gradients) wanted.insert(g.value);
  size_t changes = 0;
  for (auto it = graph.nodes.rbegin(); it != graph.nodes.rend();) {
    GraphNode& n = **it;
    bool alive = false;
    for (const auto& v : n.outputs) alive = alive || (v && wanted.count(v.get()));
    if (!alive) {  // random positions are the nodes' own, so that the others draw what they drew
      it = std::make_reverse_iterator(graph.nodes.erase(std::next(it).base()));
      ++changes;
      continue;
    }
    for (size_t i = 0; i < n.outputs.size(); ++i)
      if (n.outputs[i] && !wanted.count(n.outputs[i].get()) && i < n.op->outputs.size() && n.op->outputs[i].hidden) {
        n.outputs[i] = nullptr;
        ++changes;
      }
    for (const GraphOperand& o : n.inputs) wanted.insert(o.value);
    for (const GraphValue* v : n.into) wanted.insert(v);
    ++it;
  }
  return changes;
}

namespace {

// Values whose memory a result may lie in: results, and what they are views of.
std::unordered_set<const GraphValue*> behind_results(const Graph& graph) {
  std::unordered_set<const GraphValue*> found(graph.outputs.begin(), graph.outputs.end());
  for (const GraphUpdate& u : graph.updates) found.insert(u.value);
  for (const GraphGradient& g : graph.gradients) found.insert(g.value);
  for (auto it = graph.nodes.rbegin(); it != graph.nodes.rend(); ++it)
    for (const auto& v : (*it)->outputs)
      if (v && found.count(v.get()) && ((*it)->op->view || (*it)->op->name == "copy") && !(*it)->inputs.empty()) found.insert((*it)->inputs[0].value);
  return found;
}

}  // namespace

size_t merge_common_subexpressions(Graph& graph) {
  const auto results = behind_results(graph);
  const auto is_result = [&](const GraphNode& n) {
    return std::any_of(n.outputs.begin(), n.outputs.end(), [&](const auto& v) { return v && results.count(v.get()); });
  };
  std::unordered_map<std::string, GraphNode*> known;
  size_t changes = 0;
  for (auto it = graph.nodes.begin(); it != graph.nodes.end();) {
    GraphNode& n = **it;
    if (!is_pure(n)) {
      ++it;
      continue;
    }
    const auto [found, is_new] = known.emplace(key_of(n), &n);
    if (is_new) {
      ++it;
      continue;
    }
    GraphNode& first = *found->second;
    if (is_result(n) && is_result(first)) {  // results do not share memory that they did not share
      ++it;
      continue;
    }
    for (size_t i = 0; i < n.outputs.size(); ++i) {
      if (!n.outputs[i]) continue;
      if (first.outputs.size() <= i) first.outputs.resize(i + 1);
      if (first.outputs[i]) {
        graph.replace(n.outputs[i].get(), first.outputs[i].get());
      } else {
        first.outputs[i] = std::move(n.outputs[i]);
        first.outputs[i]->producer = &first;
      }
    }
    it = graph.nodes.erase(it);
    ++changes;
  }
  return changes;
}

size_t fold_constants(Graph& graph) {
  constexpr uint64_t kLargest = 4096;  // bytes
  GradMode off(false);
  AutocastPause pause;
  std::unordered_map<const GraphValue*, Tensor> constants;
  for (const auto& in : graph.inputs)
    if (in->kind == GraphInput::constant && in->bound.defined()) constants[in->value.get()] = in->bound;
  size_t changes = 0;
  for (auto it = graph.nodes.begin(); it != graph.nodes.end();) {
    GraphNode& n = **it;
    bool fold = is_pure(n);
    for (const GraphOperand& o : n.inputs) fold = fold && (o.kind != Arg::tensor || constants.count(o.value));
    for (const auto& v : n.outputs) fold = fold && v && bytes_of(v->dtype, numel(v->shape)) <= kLargest;
    if (!fold) {
      ++it;
      continue;
    }
    std::vector<Arg> in;
    for (const GraphOperand& o : n.inputs) in.push_back(o.kind == Arg::tensor ? Arg(constants.at(o.value)) : o.kind == Arg::scalar ? Arg(o.scalar) : Arg());
    const Tensors results = n.op->map ? call_map(*n.op, in, n.attrs, {}, n.device) : call_kernel(*n.op, in, n.attrs, {}, n.device, n.wanted());
    for (size_t i = 0; i < n.outputs.size(); ++i) {
      GraphValue& v = *n.outputs[i];
      GraphInput& made = graph.add_input(GraphInput::constant, v.name, v.dtype, v.shape, results[i].strides(), results[i].device());
      made.bound = results[i];
      constants[made.value.get()] = results[i];
      graph.replace(&v, made.value.get());
    }
    it = graph.nodes.erase(it);
    ++changes;
  }
  // Constants that only other constants were made from.
  std::unordered_set<const GraphValue*> used(graph.outputs.begin(), graph.outputs.end());
  for (const auto& n : graph.nodes)
    for (const GraphOperand& o : n->inputs) used.insert(o.value);
  for (const auto& n : graph.nodes) used.insert(n->into.begin(), n->into.end());
  for (const GraphUpdate& u : graph.updates) used.insert(u.value);
  for (const GraphGradient& g : graph.gradients) used.insert(g.value);
  std::erase_if(graph.inputs, [&](const auto& input) { return input->kind == GraphInput::constant && !used.count(input->value.get()); });
  return changes;
}

}  // namespace tg
