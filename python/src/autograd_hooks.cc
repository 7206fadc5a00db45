// SPDX-License-Identifier: Apache-2.0
// Hooks of autograd that are Python functions: what is saved, leaves after accumulation, anomaly mode.
#include "autograd/node.h"
#include "call.h"

namespace tg::py {
namespace {

// A Python function called from the library, which may have let go of the GIL.
Object call_with(const std::shared_ptr<SharedObject>& function, const Tensor& t) {
  const Object given = Object::take(wrap(Tensor(t)));
  return Object::take(PyObject_CallOneArg(function->get(), given.get()));
}
std::shared_ptr<SharedObject> shared(PyObject* o) { return std::make_shared<SharedObject>(o); }

PyObject* push_hooks(PyObject*, PyObject* args) {  // (pack, unpack)
  return guarded([&]() -> PyObject* {
    PyObject *pack, *unpack;
    require(PyArg_ParseTuple(args, "OO", &pack, &unpack));
    auto hooks = std::make_shared<SavedHooks>();
    hooks->pack = [f = shared(pack)](const Tensor& t) -> std::shared_ptr<void> {
      GilAcquire gil;
      return shared(call_with(f, t).get());
    };
    hooks->unpack = [f = shared(unpack)](void* object) {
      GilAcquire gil;
      const Object t = Object::take(PyObject_CallOneArg(f->get(), static_cast<SharedObject*>(object)->get()));
      if (!is_tensor(t.get())) fail(PyExc_TypeError, "[saved_tensors_hooks] expected unpack to return a Tensor, got ", type_name(t.get()));
      return tensor_of(t.get());
    };
    push_saved_hooks(std::move(hooks));
    Py_RETURN_NONE;
  });
}
PyObject* pop_hooks(PyObject*, PyObject*) {
  pop_saved_hooks();
  Py_RETURN_NONE;
}

PyObject* add_post_hook(PyObject*, PyObject* args) {  // (leaf, function) -> id
  return guarded([&]() -> PyObject* {
    PyObject *tensor, *function;
    require(PyArg_ParseTuple(args, "OO", &tensor, &function));
    const Tensor t = tensor_of(tensor);
    check(t.requires_grad() && t.is_leaf(), "[register_post_accumulate_grad_hook] expected a leaf that requires gradients");
    static int64_t next = 0;
    autograd_meta(t).post_hooks.emplace_back(++next, [f = shared(function)](const Tensor& leaf) {
      GilAcquire gil;
      call_with(f, leaf);
    });
    return PyLong_FromLongLong(next);
  });
}
PyObject* remove_post_hook(PyObject*, PyObject* args) {  // (leaf, id)
  return guarded([&]() -> PyObject* {
    PyObject* tensor;
    long long id;
    require(PyArg_ParseTuple(args, "OL", &tensor, &id));
    std::erase_if(autograd_meta(tensor_of(tensor)).post_hooks, [id](auto& h) { return h.first == id; });
    Py_RETURN_NONE;
  });
}

PyObject* set_anomaly_mode(PyObject*, PyObject* args) {  // (where, report), or (None, None): off
  return guarded([&]() -> PyObject* {
    PyObject *where, *report;
    require(PyArg_ParseTuple(args, "OO", &where, &report));
    if (where == Py_None) {
      set_anomaly(nullptr);
      Py_RETURN_NONE;
    }
    auto mode = std::make_shared<Anomaly>();
    mode->where = [f = shared(where)] {
      GilAcquire gil;
      return std::string(text_of(Object::take(PyObject_CallNoArgs(f->get())).get()));
    };
    mode->report = [f = shared(report)](const std::string& message) {
      GilAcquire gil;
      Object::take(PyObject_CallOneArg(f->get(), text(message).get()));
    };
    set_anomaly(std::move(mode));
    Py_RETURN_NONE;
  });
}

PyMethodDef functions[] = {
    {"_push_saved_hooks", push_hooks, METH_VARARGS, nullptr},   {"_pop_saved_hooks", pop_hooks, METH_NOARGS, nullptr},
    {"_add_post_hook", add_post_hook, METH_VARARGS, nullptr},   {"_remove_post_hook", remove_post_hook, METH_VARARGS, nullptr},
    {"_set_anomaly", set_anomaly_mode, METH_VARARGS, nullptr}, {},
};

}  // namespace

void add_autograd_hooks(PyObject* module) { require(PyModule_AddFunctions(module, functions) == 0); }

}  // namespace tg::py
