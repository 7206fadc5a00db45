// SPDX-License-Identifier: Apache-2.0
// Autograd as Python sees it: grad modes, gradients of several outputs, and nodes whose backward is a Python function.
#include "autograd/node.h"
#include "call.h"

namespace tg::py {
namespace {

Tensors tensors_of(PyObject* sequence, const char* what, bool allow_none) {
  Tensors out;
  if (sequence == Py_None) return out;
  const Object items = Object::take(is_tensor(sequence) ? PyTuple_Pack(1, sequence) : PySequence_Tuple(sequence));
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(items.get()); ++i) {
    PyObject* o = PyTuple_GET_ITEM(items.get(), i);
    if (is_tensor(o))
      out.push_back(tensor_of(o));
    else if (o == Py_None && allow_none)
      out.emplace_back();
    else
      fail(PyExc_TypeError, "expected tensors for ", what, ", got ", type_name(o));
  }
  return out;
}

Object tuple_of(Tensors&& tensors) {
  Object t = Object::take(PyTuple_New(Py_ssize_t(tensors.size())));
  for (size_t i = 0; i < tensors.size(); ++i) PyTuple_SET_ITEM(t.get(), Py_ssize_t(i), wrap(std::move(tensors[i])));
  return t;
}

PyObject* is_grad_enabled(PyObject*, PyObject*) { return PyBool_FromLong(grad_enabled()); }
PyObject* set_grad_mode(PyObject*, PyObject* on) {
  const int truth = PyObject_IsTrue(on);
  if (truth < 0) return nullptr;
  return PyBool_FromLong(set_grad_enabled(truth));
}

// backward(outputs, grad_outputs, retain_graph, create_graph)
PyObject* run_backward(PyObject*, PyObject* args) {
  return guarded([&]() -> PyObject* {
    PyObject *outputs, *grads;
    int keep, create;
    require(PyArg_ParseTuple(args, "OOpp", &outputs, &grads, &keep, &create));
    const Tensors y = tensors_of(outputs, "outputs", false), g = tensors_of(grads, "grad_outputs", true);
    {
      GilRelease release;
      backward(y, g, keep, create);
    }
    Py_RETURN_NONE;
  });
}

// grad(outputs, inputs, grad_outputs, retain_graph, create_graph, allow_unused) -> tuple
PyObject* run_grad(PyObject*, PyObject* args) {
  return guarded([&]() -> PyObject* {
    PyObject *outputs, *inputs, *grads;
    int keep, create, unused;
    require(PyArg_ParseTuple(args, "OOOppp", &outputs, &inputs, &grads, &keep, &create, &unused));
    const Tensors y = tensors_of(outputs, "outputs", false), x = tensors_of(inputs, "inputs", false),
                  g = tensors_of(grads, "grad_outputs", true);
    Tensors result;
    {
      GilRelease release;
      result = grad(y, x, g, keep, create, unused);
    }
    return tuple_of(std::move(result)).release();
  });
}

thread_local Node* t_running = nullptr;  // the Python function whose backward runs

// A call of a Python-defined function. `backward_` takes the gradients of the outputs (a tuple; None where nothing
// flows back) and returns those of the inputs.
class PythonNode final : public Node {
 public:
  PythonNode(std::string name, PyObject* backward, size_t n_outputs)
      : name_(std::move(name)), backward_(std::make_unique<SharedObject>(backward)), n_outputs_(n_outputs) {}
  std::string name() const override { return name_; }
  size_t n_outputs() const override { return n_outputs_; }
  void release_saved() override { backward_.reset(); }
  bool released() const override { return !backward_; }

  Tensors backward(std::span<const Tensor> grads) override {
    if (!backward_)
      raise(ErrorKind::runtime, "[", name_,
            "] backward went through this part of the graph before, and its saved tensors "
            "are freed; call backward(retain_graph=True) the first time");
    GilAcquire gil;
    struct Running {
      Node* outer;
      explicit Running(Node* node) : outer(std::exchange(t_running, node)) {}
      ~Running() { t_running = outer; }
    } running(this);
    const Object function = Object::borrow(backward_->get());  // the pass may free what was saved
    const Object given = tuple_of(Tensors(grads.begin(), grads.end()));
    const Object result = Object::take(PyObject_CallOneArg(function.get(), given.get()));
    Tensors out = tensors_of(result.get(), "gradients of a Function", true);
    if (out.size() != edges.size())
      fail(PyExc_ValueError, "[", name_, "] expected backward to return ", edges.size(),
           " gradients, one per input of forward, got ", out.size());
    return out;
  }

 private:
  std::string name_;
  std::unique_ptr<SharedObject> backward_;
  size_t n_outputs_;
};

// record(name, inputs, outputs, backward): makes fresh results of a Python function part of the graph.
PyObject* record(PyObject*, PyObject* args) {
  return guarded([&]() -> PyObject* {
    const char* name;
    PyObject *inputs, *outputs, *function;
    require(PyArg_ParseTuple(args, "sOOO", &name, &inputs, &outputs, &function));
    const Tensors x = tensors_of(inputs, "inputs", true);
    const Tensors y = tensors_of(outputs, "outputs", true);
    auto node = Ref<Node>::adopt(new PythonNode(name, function, y.size()));
    for (const Tensor& t : x) node->edges.push_back(needs_grad(t) ? edge_of(t) : Edge{});
    set_history(y, node);
    Py_RETURN_NONE;
  });
}

// as_output(saved, slot): the saved output `slot` of the function whose backward runs, as its result again.
PyObject* as_output(PyObject*, PyObject* args) {
  return guarded([&]() -> PyObject* {
    PyObject* saved;
    int slot;
    require(PyArg_ParseTuple(args, "Oi", &saved, &slot));
    if (!t_running || !grad_enabled()) return Py_NewRef(saved);
    const Tensor t = tensor_of(saved).detach();
    if (is_floating(t.dtype())) {
      AutogradMeta& meta = autograd_meta(t);
      meta.grad_fn = Ref<Node>(t_running);
      meta.output = uint32_t(slot);
      t.impl()->requires_grad = true;
    }
    return wrap(Tensor(t));
  });
}

PyMethodDef functions[] = {
    {"is_grad_enabled", is_grad_enabled, METH_NOARGS,
     "is_grad_enabled()\n--\n\nWhether ops of this thread are recorded for gradients."},
    {"_set_grad_enabled", set_grad_mode, METH_O, "Sets the mode of this thread; returns the old one."},
    {"_backward", run_backward, METH_VARARGS, nullptr},
    {"_grad", run_grad, METH_VARARGS, nullptr},
    {"_record", record, METH_VARARGS, nullptr},
    {"_as_output", as_output, METH_VARARGS, nullptr},
    {},
};

}  // namespace

void add_autograd(PyObject* module) { require(PyModule_AddFunctions(module, functions) == 0); }

}  // namespace tg::py
