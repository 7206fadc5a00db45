// SPDX-License-Identifier: Apache-2.0
// Levels of grad, jvp and vmap, and the tensors on them, for tengen.func.
#include "transform/transform.h"

#include "call.h"

namespace tg::py {
namespace {

PyObject* open(PyObject*, PyObject* args) {  // (kind, size, randomness, id or 0) -> level
  return guarded([&]() -> PyObject* {
    const char *kind, *randomness;
    long long size;
    unsigned long long id;
    require(PyArg_ParseTuple(args, "sLsK", &kind, &size, &randomness, &id));
    const std::string_view k = kind, r = randomness;
    Level level{k == "traced" ? Layer::traced : k == "dual" ? Layer::dual : Layer::batched};
    level.id = id;
    level.size = size;
    level.randomness = r == "same" ? Randomness::same : r == "different" ? Randomness::different : Randomness::error;
    return PyLong_FromUnsignedLongLong(open_level(level));
  });
}
uint64_t level_of_object(PyObject* o) {
  const uint64_t id = PyLong_AsUnsignedLongLong(o);
  require(!PyErr_Occurred());
  return id;
}
PyObject* close(PyObject*, PyObject* id) {
  return guarded([&]() -> PyObject* {
    close_level(level_of_object(id));
    Py_RETURN_NONE;
  });
}
PyObject* pause(PyObject*, PyObject* args) {  // (level, on) -> before
  return guarded([&]() -> PyObject* {
    unsigned long long id;
    int on;
    require(PyArg_ParseTuple(args, "Kp", &id, &on));
    Level* level = find_level(id);
    if (!level) fail(PyExc_RuntimeError, "the level is closed");
    return PyBool_FromLong(std::exchange(level->paused, on != 0));
  });
}

PyObject* wrap_on(PyObject*, PyObject* args) {  // (level, tensor, tangent or None)
  return guarded([&]() -> PyObject* {
    unsigned long long id;
    PyObject *tensor, *tangent;
    require(PyArg_ParseTuple(args, "KOO", &id, &tensor, &tangent));
    const Level* level = find_level(id);
    if (!level || !is_tensor(tensor)) fail(PyExc_TypeError, "expected an open level and a Tensor");
    const Tensor t = tensor_of(tensor);
    if (level->kind == Layer::batched) return wrap(wrap_batched(id, t));
    if (is_small_float(t.dtype()))
      fail(PyExc_TypeError, "expected tensors to compute with, got ", long_name_of(t.dtype()), "; cast them first");
    if (level->kind == Layer::dual) {
      const Tensor d = tangent == Py_None ? Tensor() : tensor_of(tangent);
      check(!d.defined() || (d.shape() == t.shape() && d.dtype() == t.dtype() && d.device() == t.device()),
            "[jvp] expected a tangent of the primal's shape ", str(t.shape()), " and dtype ", name_of(t.dtype()), ", got ",
            d.defined() ? str(d.shape()) : str(t.shape()), " and ", name_of(d.defined() ? d.dtype() : t.dtype()));
      return wrap(wrap_dual(id, t, d));
    }
    Tensor traced = wrap_traced(id, t);
    traced.impl()->requires_grad = is_inexact(t.dtype());
    return wrap(std::move(traced));
  });
}

PyObject* unwrap_on(PyObject*, PyObject* args) {  // (level, tensor) -> (value, tangent or None), or None: not on the level
  return guarded([&]() -> PyObject* {
    unsigned long long id;
    PyObject* tensor;
    require(PyArg_ParseTuple(args, "KO", &id, &tensor));
    if (!is_tensor(tensor)) fail(PyExc_TypeError, "expected a Tensor, got ", type_name(tensor));
    const Layer* l = layer_of(tensor_of(tensor));
    if (!l || l->level != id) Py_RETURN_NONE;
    const Object value = Object::take(wrap(Tensor(l->inner)));
    const Object tangent = Object::take(wrap(Tensor(l->tangent)));
    return PyTuple_Pack(2, value.get(), tangent.get());
  });
}

// The value on a level, which is taken out of all that the tensor stands for.
PyObject* strip_level(PyObject*, PyObject* args) {
  return guarded([&]() -> PyObject* {
    unsigned long long id;
    PyObject* tensor;
    require(PyArg_ParseTuple(args, "KO", &id, &tensor));
    const Tensor t = unwrap(id, tensor_of(tensor));
    strip(id, t);
    return wrap(Tensor(t));
  });
}

PyObject* layer(PyObject*, PyObject* tensor) {  // (kind, level, value) of the outermost wrapper, or None
  return guarded([&]() -> PyObject* {
    const Layer* l = is_tensor(tensor) ? layer_of(tensor_of(tensor)) : nullptr;
    if (!l) Py_RETURN_NONE;
    const char* kinds[] = {"traced", "dual", "batched"};
    const Object value = Object::take(wrap(Tensor(l->inner)));
    return Py_BuildValue("sKO", kinds[l->kind], static_cast<unsigned long long>(l->level), value.get());
  });
}

PyMethodDef functions[] = {
    {"_open_level", open, METH_VARARGS, nullptr},   {"_close_level", close, METH_O, nullptr},
    {"_pause_level", pause, METH_VARARGS, nullptr}, {"_wrap_on", wrap_on, METH_VARARGS, nullptr},
    {"_unwrap_on", unwrap_on, METH_VARARGS, nullptr}, {"_layer", layer, METH_O, nullptr},
    {"_strip_level", strip_level, METH_VARARGS, nullptr},
    {},
};

}  // namespace

void add_transform(PyObject* module) { require(PyModule_AddFunctions(module, functions) == 0); }

}  // namespace tg::py
