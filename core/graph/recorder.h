// SPDX-License-Identifier: Apache-2.0
// Makes a graph of the calls that a thread makes while it captures. Memory becomes dataflow: every storage is a buffer with
// a current value, views are looked up by what they show of it, writes give the buffer a new value.
//
//   Recorder r;
//   Tensor x = r.argument("x", like);
//   Tensors y;
//   { CaptureScope scope(&r); y = f(x); }
//   std::unique_ptr<Graph> g = r.finish(y);
#pragma once
#include <tengen/graph.h>

#include <unordered_map>
#include <unordered_set>

#include "dispatch/capture.h"

namespace tg {

class Recorder final : public Capture {
 public:
  Recorder();
  ~Recorder() override;

  // A tensor without memory that stands for an argument like this one.
  Tensor argument(const std::string& name, const Tensor& like, bool contiguous = false);
  // Makes the values of tensors now, in front of what is recorded later.
  void see(std::span<const Tensor> tensors);
  void name_state(const Tensor& t, std::string name);  // what a tensor is called when the function reaches it
  // The next call's first `n` attributes are numbers that the function computes anew in every run.
  int host_call();
  // A leaf's .grad is about to be dropped or replaced by the function itself.
  void gradient_dropped(const Tensor& leaf);

  // What the function made: its results, updates, gradients.
  std::unique_ptr<Graph> finish(std::span<const Tensor> outputs);
  // After finish, when the function's own tensors are gone: how many buffers somebody else holds.
  size_t survivors();
  void keep_survivors(Graph* graph);  // makes them states
  size_t calls() const { return graph_ ? graph_->nodes.size() : 0; }
  // Leaves that the function has seen, as they were.
  struct Leaf {
    Tensor tensor, gradient;
    bool dropped;  // its .grad was, by the function, before anything looked at it
  };
  const std::vector<Leaf>& leaves() const { return leaves_; }
  void restore_gradients();  // as they were

  void called(const Op& op, std::span<const Arg> inputs, std::span<const Attr> attrs, std::span<const Tensor> outs,
              std::span<const Tensor> results, Device* device) override;
  void launch(const KernelPlan&, const KernelPlan::Args&) override {}
  void fallback(const Op&, std::span<const Arg>, std::span<const Attr>, std::span<const Tensor>) override {}

 private:
  struct Place;
  struct Buffer;
  Buffer& buffer_of(const Tensor& t);
  GraphValue* value_of(const Tensor& t);
  GraphValue* value_at(Buffer& b, const std::string& key);
  void assign(const Tensor& t, GraphValue* value);
  Buffer& new_buffer(const Tensor& base, GraphValue* value);
  void note_leaf(const Tensor& t);
  std::string unique(std::string name);

  std::unique_ptr<Graph> graph_;
  std::unordered_map<const Storage*, std::unique_ptr<Buffer>> buffers_;
  std::unordered_map<const TensorImpl*, std::string> names_;
  std::unordered_set<std::string> taken_;
  Tensors kept_;  // what calls gave: keeps their storages from being taken for others
  std::vector<std::pair<Tensor, GraphValue*>> bases_;  // after finish: buffers of the trace, with their last values
  std::vector<Leaf> leaves_;
  int pending_host_ = -1;
};

}  // namespace tg
