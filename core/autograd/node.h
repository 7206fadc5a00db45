// SPDX-License-Identifier: Apache-2.0
// The recorded graph. Internal to core and to bindings that bring functions of their own.
#pragma once
#include <tengen/autograd.h>

namespace tg {

class Node;

struct Edge {  // where a gradient goes: argument `slot` of `node`; no node: nowhere
  Ref<Node> node;
  uint32_t slot = 0;
};

// One recorded call. backward() maps gradients of its outputs to gradients for its edges.
class Node {
 public:
  virtual ~Node();
  virtual std::string name() const = 0;
  // One per edge; undefined: none. grads may be undefined where nothing flowed back.
  virtual Tensors backward(std::span<const Tensor> grads) = 0;
  virtual void release_saved() {}  // frees what was saved; a later backward raises
  virtual bool released() const { return false; }
  virtual size_t n_outputs() const { return 1; }

  void retain() { refs_.fetch_add(1, std::memory_order_relaxed); }
  bool try_retain() {  // false when the last reference is gone
    uint32_t n = refs_.load(std::memory_order_relaxed);
    while (n && !refs_.compare_exchange_weak(n, n + 1, std::memory_order_relaxed)) {
    }
    return n != 0;
  }
  void release() {
    if (refs_.fetch_sub(1, std::memory_order_acq_rel) == 1) dispose(this);
  }

  bool sole() const { return refs_.load(std::memory_order_relaxed) == 1; }

  std::vector<Edge> edges;
  std::string made_at;  // in anomaly mode: the user's line
  uint64_t sequence = next_sequence();  // later calls have higher numbers: the order of the backward pass
  std::vector<std::pair<uint32_t, std::pair<int64_t, GradHook>>> hooks;  // by output slot: (id, hook)

 private:
  static uint64_t next_sequence();
  static void dispose(Node* node);  // without recursion: graphs are deep
  std::atomic<uint32_t> refs_{1};
};

// What a transformed tensor stands for, on one level of jvp, vmap or a gradient inside them. Its memory is inner's.
struct Layer {
  enum Kind : uint8_t { traced, dual, batched } kind;
  uint64_t level;
  Tensor inner;    // batched: the hidden axis is its first
  Tensor tangent;  // dual; undefined: zero
};

struct AutogradMeta {
  Tensor grad;
  Ref<Node> grad_fn;         // of a recorded result
  uint32_t output = 0;
  Node* accumulate = nullptr;  // the leaf's sink while a graph refers to it (weak)
  Ref<TensorImpl> base;        // a recorded view: what it was made from
  uint32_t base_history = 0;   // the base's `history` at that time
  uint32_t history = 0;        // recorded in-place changes of this tensor
  std::vector<std::pair<int64_t, GradHook>> leaf_hooks;
  std::vector<std::pair<int64_t, std::function<void(const Tensor&)>>> post_hooks;  // after a leaf's .grad has grown
  std::unique_ptr<Layer> layer;  // of a transformed tensor
};
AutogradMeta& autograd_meta(const Tensor& t);

bool needs_grad(const Tensor& t);  // defined, and recorded or asked for
Edge edge_of(const Tensor& t);     // where gradients of t go
// Makes `outputs` results of `node` (slots in order; undefined and integer ones are left alone).
void set_history(std::span<const Tensor> outputs, const Ref<Node>& node);
// `level`: only inputs of this level are differentiated (0: plain tensors).
void record_call(const Op& op, std::span<const Arg> inputs, std::span<const Attr> attrs, std::span<Tensor> outputs, uint64_t level = 0);
// After an in-place write of outs[0].
void record_in_place(const Op& op, std::span<const Arg> inputs, std::span<const Attr> attrs, const Tensor& out, uint64_t level = 0);
// RuntimeError when an in-place write of `t` cannot be recorded; true when it must be.
bool check_in_place(const Op* op, const Tensor& t, bool any_input_needs_grad);
void check_writable(const char* op, const Tensor& t);  // RuntimeError for an expanded tensor
void note_view(const Tensor& base, const Tensor& view);
void check_stale(const Tensor& t, const char* op);
bool backward_done(const Tensor& t);  // some node behind t has freed what it saved

Tensor scalar_tensor(const Scalar& s, DType dtype, Device* device);  // 0-d, not recorded; s fits dtype
// Another handle of the same value on the same levels, without history.
Tensor shallow(const Tensor& t);
inline const Layer* layer_of(const Tensor& t) { return t.defined() && t.impl()->transformed ? t.impl()->autograd->layer.get() : nullptr; }
inline uint64_t level_of(const Tensor& t) {
  const Layer* l = layer_of(t);
  return l ? l->level : 0;
}

// RuntimeError for a batched tensor, whose elements are not one value: "[what] ..."
void raise_batched(const Tensor& t, const char* what);
inline void check_concrete(const Tensor& t, const char* what) {
  if (t.impl()->transformed) [[unlikely]] raise_batched(t, what);
}
// What recorded calls keep goes through pack when it is kept and through unpack when it is looked at (saved_tensors_hooks).
struct SavedHooks {
  std::function<std::shared_ptr<void>(const Tensor&)> pack;
  std::function<Tensor(void*)> unpack;
};
void push_saved_hooks(std::shared_ptr<const SavedHooks> hooks);  // of this thread
void pop_saved_hooks();
// Anomaly mode: `where` gives the user's line of the call at hand; `report` takes a message, once for every loss.
struct Anomaly {
  std::function<std::string()> where;
  std::function<void(const std::string&)> report;
};
void set_anomaly(std::shared_ptr<const Anomaly> anomaly);  // NULL: off; of the process
std::shared_ptr<const Anomaly> anomaly();
bool all_finite(const Tensor& t);
void report_loss(const Tensor& loss);  // where its NaN or inf comes from, when it has one

void record_transfer(const Tensor& from, const Tensor& to);
Tensor detach_transformed(const Tensor& t);
Tensor move_transformed(const Tensor& t, Device* device);
Tensor copy_to_device(const Tensor& t, Device* device);  // not recorded
// Sums a gradient over the axes along which `shape` was broadcast.
Tensor sum_to(const Tensor& grad, std::span<const int64_t> shape);

}  // namespace tg
