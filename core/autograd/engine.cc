// SPDX-License-Identifier: Apache-2.0
// The backward pass: nodes in the reverse order of their calls, gradients added where paths meet, on the calling thread.
#include <algorithm>
#include <queue>
#include <unordered_map>
#include <unordered_set>

#include <tengen/autocast.h>

#include "autograd/node.h"

namespace tg {

bool is_accumulate(Node* node, Tensor* leaf);

namespace {

struct Pass {
  bool keep_graph, create_graph;
  // For grad(): where a gradient is wanted, and into which slot of the result. Empty: leaves accumulate.
  struct Target {
    Node* node;
    uint32_t slot;
    size_t index;
  };
  std::vector<Target> targets;
  Tensors captured;

  std::unordered_map<Node*, Tensors> pending;   // gradients that have arrived, by slot
  std::unordered_map<Node*, int> missing;       // edges into a node that have not been served
  std::unordered_set<Node*> useful;             // leads to a target
  std::vector<Ref<Node>> alive;

  void prepare(std::span<const Edge> roots);
  void add(Node* node, uint32_t slot, Tensor g);
  void run(std::span<const Edge> roots, Tensors seeds);
};

// Counts incoming edges of every reachable node, without recursion.
void Pass::prepare(std::span<const Edge> roots) {
  std::vector<Node*> stack, order;
  std::unordered_set<Node*> seen;
  for (const Edge& e : roots)
    if (e.node && seen.insert(e.node.get()).second) stack.push_back(e.node.get());
  while (!stack.empty()) {
    Node* n = stack.back();
    stack.pop_back();
    order.push_back(n);
    for (const Edge& e : n->edges) {
      if (!e.node) continue;
      ++missing[e.node.get()];
      if (seen.insert(e.node.get()).second) stack.push_back(e.node.get());
    }
  }
  if (targets.empty()) return;
  // Ascending sequence: what a node leads to comes before it. A leaf's sink is made late, so it is looked at first.
  std::sort(order.begin(), order.end(), [](Node* a, Node* b) {
    const bool la = a->edges.empty(), lb = b->edges.empty();
    return la != lb ? la : a->sequence < b->sequence;
  });
  std::unordered_set<Node*> wanted;
  for (const Target& t : targets) wanted.insert(t.node);
  for (Node* n : order) {
    bool leads = wanted.count(n) > 0;
    for (const Edge& e : n->edges) leads = leads || (e.node && useful.count(e.node.get()));
    if (leads) useful.insert(n);
  }
}

void Pass::add(Node* node, uint32_t slot, Tensor g) {
  Tensors& slots = pending[node];
  if (slots.size() <= slot) slots.resize(std::max<size_t>(slot + 1, node->n_outputs()));
  Tensor& at = slots[slot];
  if (!at.defined()) {
    at = std::move(g);
    return;
  }
  at = op<"add">({at, g});
}

// What a hook returned in place of a gradient.
const Tensor& checked(const Tensor& changed, const Tensor& grad) {
  check(changed.shape() == grad.shape() && changed.dtype() == grad.dtype() && changed.device() == grad.device(),
        "[hook] expected a gradient of shape ", str(grad.shape()), " and dtype ", name_of(grad.dtype()), ", got ", str(changed.shape()),
        " and ", name_of(changed.dtype()));
  return changed;
}

// Calls a hook. A gradient that somebody else holds (another path, a saved tensor, the user) is copied first, as the hook
// may change what it is given.
void call_hook(const GradHook& hook, Tensor* grad) {
  if (grad->impl()->use_count() > 1 || !grad->storage()->unique()) *grad = op<"copy">({*grad});
  if (Tensor changed = hook(*grad); changed.defined()) *grad = checked(changed, *grad);
}

// In anomaly mode: NaN or inf that a backward makes out of finite numbers.
void check_anomaly(const Node& node, const Tensors& grads, const Tensors& next) {
  for (const Tensor& g : grads)
    if (g.defined() && !all_finite(g)) return;
  for (size_t i = 0; i < next.size(); ++i)
    if (next[i].defined() && !all_finite(next[i]))
      raise(ErrorKind::runtime, "[backward] the gradient of [", node.name(), "] with respect to its input ", i, " has NaN or inf",
            node.made_at.empty() ? std::string("; the forward call ran before anomaly mode was on") : "; the forward call was at " + node.made_at);
}

void Pass::run(std::span<const Edge> roots, Tensors seeds) {
  prepare(roots);
  auto later = [](const Ref<Node>& a, const Ref<Node>& b) { return a->sequence < b->sequence; };
  std::priority_queue<Ref<Node>, std::vector<Ref<Node>>, decltype(later)> ready(later);
  std::unordered_set<Node*> queued;
  for (size_t i = 0; i < roots.size(); ++i) {
    if (!roots[i].node) continue;
    add(roots[i].node.get(), roots[i].slot, seeds[i]);
    if (missing[roots[i].node.get()] == 0 && queued.insert(roots[i].node.get()).second) ready.push(roots[i].node);
  }
  const auto mode = anomaly();
  while (!ready.empty()) {
    Ref<Node> node = ready.top();
    ready.pop();
    Tensors grads = std::move(pending[node.get()]);
    pending.erase(node.get());
    grads.resize(std::max(grads.size(), node->n_outputs()));
    Tensor leaf;
    const bool sink = is_accumulate(node.get(), &leaf);
    // Hooks see the whole gradient of a tensor, before it flows on.
    for (auto& [slot, hook] : std::vector(node->hooks))
      if (slot < grads.size() && grads[slot].defined()) call_hook(hook.second, &grads[slot]);
    if (sink && leaf.impl()->autograd)
      for (auto& hook : std::vector(leaf.impl()->autograd->leaf_hooks))
        if (grads[0].defined()) call_hook(hook.second, &grads[0]);
    for (const Target& t : targets)
      if (t.node == node.get()) captured[t.index] = t.slot < grads.size() ? grads[t.slot] : Tensor();
    bool flows = false;
    for (const Tensor& g : grads) flows = flows || g.defined();
    const bool compute = flows && (targets.empty() || (useful.count(node.get()) && !sink));
    Tensors next;
    if (compute) next = node->backward(grads);
    if (mode && compute && !sink) check_anomaly(*node, grads, next);
    if (sink && compute && leaf.impl()->autograd)
      for (auto& hook : std::vector(leaf.impl()->autograd->post_hooks)) hook.second(leaf);
    grads.clear();
    next.resize(node->edges.size());
    for (size_t i = 0; i < node->edges.size(); ++i) {
      const Edge& e = node->edges[i];
      if (!e.node) continue;
      if (next[i].defined()) {
        add(e.node.get(), e.slot, std::move(next[i]));
        next[i] = Tensor();
      }
      if (--missing[e.node.get()] == 0 && queued.insert(e.node.get()).second) ready.push(e.node);
    }
    if (compute && !keep_graph && !sink) node->release_saved();
  }
}

void collect(std::span<const Tensor> outputs, std::span<const Tensor> grad_outputs, std::vector<Edge>* roots, Tensors* seeds) {
  check(grad_outputs.empty() || grad_outputs.size() == outputs.size(), "[backward] expected one gradient per output, got ",
        grad_outputs.size(), " for ", outputs.size());
  for (size_t i = 0; i < outputs.size(); ++i) {
    const Tensor& t = outputs[i];
    if (!needs_grad(t))
      raise(ErrorKind::runtime, "[backward] expected an output that requires gradients, got one that no recorded op made"
            " (was it computed under no_grad(), or from tensors without requires_grad?)");
    check_stale(t, "backward");
    report_loss(t);
    Tensor g = grad_outputs.empty() ? Tensor() : grad_outputs[i];
    if (!g.defined()) {
      if (t.numel() != 1)
        raise(ErrorKind::runtime, "[backward] expected a scalar output, or a gradient for it; got shape ", str(t.shape()));
      if (is_complex(t.dtype()))
        raise(ErrorKind::runtime, "[backward] expected a real scalar output, or a gradient for it; got ", long_name_of(t.dtype()),
              "; take its real part or abs");
      GradMode off(false);
      g = op<"full">({}, {t.shape(), 1.0, t.dtype()}, t.device());
    }
    check(g.shape() == t.shape(), "[backward] expected a gradient of shape ", str(t.shape()), ", got ", str(g.shape()));
    roots->push_back(edge_of(t));
    seeds->push_back(g.dtype() == t.dtype() ? g : g.cast(t.dtype()));
  }
}

}  // namespace

void backward(std::span<const Tensor> outputs, std::span<const Tensor> grad_outputs, bool keep_graph, bool create_graph) {
  std::vector<Edge> roots;
  Tensors seeds;
  collect(outputs, grad_outputs, &roots, &seeds);
  GradMode mode(create_graph);
  AutocastPause pause;
  clear_autocast_cache();  // a pass frees the graph behind remembered casts
  Pass pass{keep_graph || create_graph, create_graph, {}, {}, {}, {}, {}, {}};
  pass.run(roots, std::move(seeds));
}

Tensors grad(std::span<const Tensor> outputs, std::span<const Tensor> inputs, std::span<const Tensor> grad_outputs, bool keep_graph,
             bool create_graph, bool allow_unused) {
  std::vector<Edge> roots;
  Tensors seeds;
  collect(outputs, grad_outputs, &roots, &seeds);
  Pass pass{keep_graph || create_graph, create_graph, {}, {}, {}, {}, {}, {}};
  pass.captured.resize(inputs.size());
  std::vector<Edge> held;
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (!needs_grad(inputs[i]))
      raise(ErrorKind::runtime, "[grad] expected inputs that require gradients, input ", i, " does not");
    held.push_back(edge_of(inputs[i]));
    pass.targets.push_back({held.back().node.get(), held.back().slot, i});
  }
  GradMode mode(create_graph);
  AutocastPause pause;
  clear_autocast_cache();  // a pass frees the graph behind remembered casts
  pass.run(roots, std::move(seeds));
  for (size_t i = 0; i < inputs.size(); ++i)
    if (!pass.captured[i].defined() && !allow_unused)
      raise(ErrorKind::runtime, "[grad] expected outputs that depend on every input, input ", i, " was not used; pass allow_unused=True");
  return std::move(pass.captured);
}

}  // namespace tg
