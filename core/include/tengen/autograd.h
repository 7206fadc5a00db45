// SPDX-License-Identifier: Apache-2.0
// Reverse-mode automatic differentiation over the op table. Gradients are ops themselves, so that a backward pass run with
// create_graph can be differentiated again.
#pragma once
#include <tengen/op.h>

namespace tg {

bool grad_enabled();
bool set_grad_enabled(bool on);  // of this thread; returns the old setting

class GradMode {  // for a scope
 public:
  explicit GradMode(bool on) : old_(set_grad_enabled(on)) {}
  ~GradMode() { set_grad_enabled(old_); }
  GradMode(const GradMode&) = delete;
  GradMode& operator=(const GradMode&) = delete;

 private:
  bool old_;
};

// Adds d(sum of outputs * grad_outputs) to the .grad of every leaf. A missing grad_output is 1 and asks for a scalar.
// The graph is freed unless keep_graph; going through a freed one raises RuntimeError, as does a saved tensor that was
// changed in place since.
void backward(std::span<const Tensor> outputs, std::span<const Tensor> grad_outputs = {}, bool keep_graph = false,
              bool create_graph = false);
// The same gradients, returned for `inputs` and not stored. An input that the outputs do not depend on gives undefined
// when allow_unused, else RuntimeError.
Tensors grad(std::span<const Tensor> outputs, std::span<const Tensor> inputs, std::span<const Tensor> grad_outputs = {},
             bool keep_graph = false, bool create_graph = false, bool allow_unused = false);

// In-place, recorded: x[view] = value, where `view` is a view of x made by basic indexing (same storage).
void assign_view(const Tensor& x, const Tensor& view, const Arg& value);

// Name of the op that made a tensor ("AddBackward"), empty for a leaf.
std::string grad_fn_name(const Tensor& t);

// A Python-defined function or hook: called with the gradient when it reaches the tensor; may return another.
using GradHook = std::function<Tensor(const Tensor&)>;
int64_t register_hook(const Tensor& t, GradHook hook);
void remove_hook(const Tensor& t, int64_t id);

}  // namespace tg
