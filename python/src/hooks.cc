// SPDX-License-Identifier: Apache-2.0
// Gradient hooks that are Python functions. A hook often refers to its own tensor, which holds the hook: Python's
// collector sees this cycle through the tensor, which is tracked while it has hooks.
#include "autograd/node.h"
#include "call.h"

namespace tg::py {
namespace {

// Calls a Python function with a gradient, from a thread that may not hold the GIL.
struct HookFunction {
  std::shared_ptr<SharedObject> function;
  Tensor operator()(const Tensor& g) const {
    GilAcquire gil;
    const Object grad = Object::take(wrap(Tensor(g)));
    const Object result = Object::take(PyObject_CallOneArg(function->get(), grad.get()));
    if (result.get() == Py_None) return Tensor();
    if (!is_tensor(result.get()))
      fail(PyExc_TypeError, "expected a hook to return a Tensor or None, got ", type_name(result.get()));
    return tensor_of(result.get());
  }
};

// The node of which `impl` is the only result alive and that no later call refers to, or NULL.
Node* own_node(const TensorImpl* impl) {
  Node* node = impl->autograd->grad_fn.get();
  return node && node->sole() ? node : nullptr;
}

}  // namespace

bool has_hooks(const TensorImpl* impl) {
  const AutogradMeta* meta = impl->autograd.get();
  return meta && (!meta->leaf_hooks.empty() || (meta->grad_fn && !meta->grad_fn->hooks.empty()));
}

int visit_hooks(const TensorImpl* impl, visitproc visit, void* arg) {
  // Where anything else holds the tensor or its node, the hooks are in use whatever Python refers to.
  if (!impl->autograd || impl->use_count() != 1) return 0;
  const auto visit_hook = [&](const GradHook& hook) {
    const auto* f = hook.target<HookFunction>();
    return f && f->function.use_count() == 1 ? visit(f->function->get(), arg) : 0;
  };
  for (const auto& [id, hook] : impl->autograd->leaf_hooks)
    if (const int stop = visit_hook(hook)) return stop;
  if (const Node* node = own_node(impl))
    for (const auto& [slot, hook] : node->hooks)
      if (const int stop = visit_hook(hook.second)) return stop;
  return 0;
}

void clear_hooks(TensorImpl* impl) {
  if (!impl->autograd || impl->use_count() != 1) return;
  const auto leaf_hooks = std::move(impl->autograd->leaf_hooks);  // dropped last: their ends may run Python code
  impl->autograd->leaf_hooks.clear();
  if (Node* node = own_node(impl)) {
    const auto hooks = std::move(node->hooks);
    node->hooks.clear();
  }
}

PyObject* add_hook(PyObject* self, PyObject* function) {
  return guarded([&]() -> PyObject* {
    if (!PyCallable_Check(function)) fail(PyExc_TypeError, "expected a function as hook, got ", type_name(function));
    const int64_t id = register_hook(tensor_of(self), HookFunction{std::make_shared<SharedObject>(function)});
    if (!PyObject_GC_IsTracked(self)) PyObject_GC_Track(self);
    return PyLong_FromLongLong(id);
  });
}

PyObject* remove_hook_by_id(PyObject* self, PyObject* id) {
  return guarded([&]() -> PyObject* {
    remove_hook(tensor_of(self), to_int(id, "hook id"));
    Py_RETURN_NONE;
  });
}

}  // namespace tg::py
