// SPDX-License-Identifier: Apache-2.0
// tengen.dtype: one Python object per element type.
#include "py.h"

namespace tg::py {
namespace {

struct PyDType {
  PyObject_HEAD DType dtype;
};
PyTypeObject* dtype_type = nullptr;
PyObject* objects[kDTypeCount];

DType self_dtype(PyObject* o) { return reinterpret_cast<PyDType*>(o)->dtype; }

PyObject* repr(PyObject* self) { return PyUnicode_FromFormat("tengen.%s", long_name_of(self_dtype(self))); }

PyObject* construct(PyTypeObject*, PyObject* args, PyObject* kwargs) {
  return guarded([&]() -> PyObject* {
    if (kwargs && PyDict_GET_SIZE(kwargs)) fail(PyExc_TypeError, "dtype() takes no keyword arguments");
    if (PyTuple_GET_SIZE(args) != 1)
      fail(PyExc_TypeError, "dtype() expected one argument, got ", PyTuple_GET_SIZE(args));
    return Py_NewRef(dtype_object(to_dtype(PyTuple_GET_ITEM(args, 0))));
  });
}

PyObject* get_name(PyObject* self, void*) { return PyUnicode_FromString(long_name_of(self_dtype(self))); }
PyObject* get_short_name(PyObject* self, void*) { return PyUnicode_FromString(name_of(self_dtype(self))); }
PyObject* get_itemsize(PyObject* self, void*) { return PyLong_FromUnsignedLongLong(bytes_of(self_dtype(self), 1)); }
PyObject* get_is_floating(PyObject* self, void*) {
  return PyBool_FromLong(is_floating(self_dtype(self)) || is_small_float(self_dtype(self)));
}
PyObject* get_is_complex(PyObject* self, void*) { return PyBool_FromLong(is_complex(self_dtype(self))); }
PyObject* get_is_signed(PyObject* self, void*) {
  const DKind k = kind_of(self_dtype(self));
  return PyBool_FromLong(k != DKind::boolean && k != DKind::unsigned_int && self_dtype(self) != DType::u4);
}
PyObject* get_eps(PyObject* self, void*) { return PyFloat_FromDouble(eps_of(self_dtype(self))); }
// The NumPy dtype; those of bfloat16 and the 8-bit floats come from the package ml_dtypes.
PyObject* get_numpy(PyObject* self, void*) {
  return guarded([&]() -> PyObject* {
    const Object numpy = Object::take(PyImport_ImportModule("numpy"));
    const DType t = self_dtype(self);
    if (t == DType::bf16 || is_small_float(t)) {
      Object ml = Object();
      PyObject* module = PyImport_ImportModule("ml_dtypes");
      if (!module) {
        PyErr_Clear();
        fail(PyExc_TypeError, "NumPy has no ", long_name_of(t), ": install the package ml_dtypes, or convert with .float() first");
      }
      ml = Object::take(module);
      const Object scalar = Object::take(PyObject_GetAttrString(ml.get(), long_name_of(t)));
      return PyObject_CallMethod(numpy.get(), "dtype", "O", scalar.get());
    }
    return PyObject_CallMethod(numpy.get(), "dtype", "s", long_name_of(t == DType::i4 ? DType::i8 : t == DType::u4 ? DType::u8 : t));
  });
}
PyObject* reduce(PyObject* self, PyObject*) {
  return Py_BuildValue("O(s)", dtype_type, long_name_of(self_dtype(self)));
}
PyObject* copy(PyObject* self, PyObject*) { return Py_NewRef(self); }

PyGetSetDef getset[] = {
    {"name", get_name, nullptr, "Long name, \"float32\".", nullptr},
    {"short_name", get_short_name, nullptr, "Short name, \"f32\".", nullptr},
    {"itemsize", get_itemsize, nullptr, "Bytes of one element; 1 for int4 and uint4, two of which share a byte (nbytes of a tensor knows).", nullptr},
    {"is_floating_point", get_is_floating, nullptr, "Whether this is a floating-point type.", nullptr},
    {"is_complex", get_is_complex, nullptr, "Whether this is a complex type.", nullptr},
    {"is_signed", get_is_signed, nullptr, "Whether negative values exist.", nullptr},
    {"eps", get_eps, nullptr, "Distance from 1 to the next number; 0 for integers.", nullptr},
    {"numpy", get_numpy, nullptr, "The numpy.dtype; bfloat16 and the 8-bit floats need the package ml_dtypes. int8 for int4, uint8 for uint4.", nullptr},
    {},
};
PyMethodDef methods[] = {
    {"__reduce__", reduce, METH_NOARGS, nullptr},
    {"__copy__", copy, METH_NOARGS, nullptr},
    {"__deepcopy__", copy, METH_O, nullptr},
    {},
};
PyType_Slot slots[] = {
    {Py_tp_new, reinterpret_cast<void*>(construct)},
    {Py_tp_repr, reinterpret_cast<void*>(repr)},
    {Py_tp_getset, getset},
    {Py_tp_methods, methods},
    {Py_tp_doc,
     const_cast<char*>("dtype(name)\n--\n\nAn element type: tg.float32 (tg.f32), tg.int64 (tg.i64), tg.bool, ...")},
    {0, nullptr},
};
PyType_Spec spec = {"tengen.dtype", sizeof(PyDType), 0, Py_TPFLAGS_DEFAULT, slots};

}  // namespace

PyObject* dtype_object(DType t) { return objects[int(t)]; }

bool to_dtype_exact(PyObject* o, DType* out) {
  if (Py_TYPE(o) != dtype_type) return false;
  *out = self_dtype(o);
  return true;
}

DType to_dtype(PyObject* o) {
  DType t;
  if (to_dtype_exact(o, &t)) return t;
  if (PyUnicode_Check(o)) return dtype_from_name(text_of(o));
  if (o == reinterpret_cast<PyObject*>(&PyFloat_Type)) return default_float();
  if (o == reinterpret_cast<PyObject*>(&PyLong_Type)) return DType::i64;
  if (o == reinterpret_cast<PyObject*>(&PyComplex_Type)) return default_dtype(Scalar::complex);
  if (o == reinterpret_cast<PyObject*>(&PyBool_Type)) return DType::boolean;
  // numpy.dtype objects and numpy scalar types
  const bool numpy_like = PyObject_HasAttrString(o, "itemsize") && !PyLong_Check(o);
  if (numpy_like) {
    const Object numpy = Object::take(PyImport_ImportModule("numpy"));
    PyObject* dtype = PyObject_CallMethod(numpy.get(), "dtype", "O", o);
    if (dtype) {
      const Object d = Object::take(dtype);
      const Object name = Object::take(PyObject_GetAttrString(d.get(), "name"));
      return dtype_from_name(text_of(name.get()));
    }
    PyErr_Clear();
  }
  const Object shown = Object::take(PyObject_Repr(o));
  fail(PyExc_TypeError, "expected a dtype (tg.float32, \"float32\", a NumPy dtype), got ", text_of(shown.get()));
}

namespace {
PyObject* get_default(PyObject*, PyObject*) { return Py_NewRef(dtype_object(default_float())); }
PyObject* set_default(PyObject*, PyObject* o) {
  return guarded([&] {
    set_default_float(to_dtype(o));
    clear_plan_cache();  // plans know which dtype a float beside integers gives
    return Py_NewRef(Py_None);
  });
}
PyMethodDef functions[] = {
    {"get_default_dtype", get_default, METH_NOARGS,
     "get_default_dtype()\n--\n\nThe dtype of Python's floats and of the functions that make tensors, unless they are told otherwise."},
    {"_set_default_dtype", set_default, METH_O, nullptr},
    {},
};
}  // namespace

void add_dtype_type(PyObject* module) {
  require(PyModule_AddFunctions(module, functions) == 0);
  dtype_type = reinterpret_cast<PyTypeObject*>(Object::take(PyType_FromSpec(&spec)).release());
  require(PyModule_AddObjectRef(module, "dtype", reinterpret_cast<PyObject*>(dtype_type)) == 0);
  for (int i = 0; i < kDTypeCount; ++i) {
    PyDType* o = PyObject_New(PyDType, dtype_type);
    require(o != nullptr);
    o->dtype = DType(i);
    objects[i] = reinterpret_cast<PyObject*>(o);
    require(PyModule_AddObjectRef(module, name_of(DType(i)), objects[i]) == 0);
    require(PyModule_AddObjectRef(module, long_name_of(DType(i)), objects[i]) == 0);
  }
}

}  // namespace tg::py
