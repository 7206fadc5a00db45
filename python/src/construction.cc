// SPDX-License-Identifier: Apache-2.0
// Functions that make tensors from Python data or from nothing. Those that follow from these are in
// tengen/_creation.py.
#include <cstring>

#include "call.h"

#include "runtime/unbacked.h"

namespace tg::py {
namespace {

struct Options {
  DType dtype_value{};
  const DType* dtype = nullptr;
  Device* device = nullptr;
  Options(PyObject* dtype_object, PyObject* device_object) {
    if (dtype_object && dtype_object != Py_None) {
      dtype_value = to_dtype(dtype_object);
      dtype = &dtype_value;
    }
    if (device_object && device_object != Py_None) device = to_device(device_object);
  }
  Options(const Options&) = delete;
  Options& operator=(const Options&) = delete;
};

PyObject* finish(Tensor t, int requires_grad) {
  if (requires_grad) t.set_requires_grad(true);
  return wrap(std::move(t));
}

PyObject* tensor(PyObject*, PyObject* args, PyObject* kwargs) {
  return guarded([&] {
    static const char* names[] = {"data", "dtype", "device", "requires_grad", nullptr};
    PyObject *data, *dtype = nullptr, *device = nullptr;
    int requires_grad = 0;
    require(PyArg_ParseTupleAndKeywords(args, kwargs, "O|OO$p:tensor", const_cast<char**>(names), &data, &dtype,
                                        &device, &requires_grad));
    const Options o(dtype, device);
    return finish(to_tensor(data, o.dtype, o.device), requires_grad);
  });
}

PyObject* asarray(PyObject*, PyObject* args, PyObject* kwargs) {
  return guarded([&]() -> PyObject* {
    static const char* names[] = {"data", "dtype", "device", "copy", nullptr};
    PyObject *data, *dtype = nullptr, *device = nullptr, *copy = Py_None;
    require(PyArg_ParseTupleAndKeywords(args, kwargs, "O|OO$O:asarray", const_cast<char**>(names), &data, &dtype,
                                        &device, &copy));
    const Options o(dtype, device);
    if (copy != Py_None && PyObject_IsTrue(copy) > 0) return wrap(to_tensor(data, o.dtype, o.device));
    if (is_tensor(data)) {
      Tensor t = tensor_of(data);
      if (o.device) t = t.to(o.device);
      if (o.dtype) t = t.cast(*o.dtype);
      return wrap(std::move(t));
    }
    // An array is shared where its memory serves as it is.
    const bool shareable = is_array(data) && !PyFloat_Check(data) && !PyObject_HasAttrString(data, "__tengen_copy__");
    Device* device_or_default = o.device ? o.device : any_default_device();
    if (shareable && is_host(device_or_default)) {
      PyObject* t = guarded([&] { return wrap(from_array(data, nullptr, false, o.dtype)); });
      if (t) return t;
      if (copy == Py_False || !(PyErr_ExceptionMatches(PyExc_ValueError) || PyErr_ExceptionMatches(PyExc_BufferError)))
        throw PythonError();
      PyErr_Clear();  // read-only or reversed: copied
    }
    if (copy == Py_False) fail(PyExc_ValueError, "asarray() cannot make a tensor of this without a copy");
    return wrap(to_tensor(data, o.dtype, o.device));
  });
}

PyObject* from_numpy(PyObject*, PyObject* array) {
  return guarded([&]() -> PyObject* {
    if (!is_array(array) || is_tensor(array))
      fail(PyExc_TypeError, "from_numpy() expected a NumPy array, got ", type_name(array));
    PyObject* t = guarded([&] { return wrap(from_array(array, nullptr, false, nullptr)); });
    if (!t && (PyErr_ExceptionMatches(PyExc_BufferError) || PyErr_ExceptionMatches(PyExc_ValueError))) {
      const Object flags = Object::take([&] {
        PyObject *type, *value, *trace;
        PyErr_Fetch(&type, &value, &trace);
        PyObject* f = PyObject_GetAttrString(array, "flags");
        PyObject* writeable = f ? PyObject_GetAttrString(f, "writeable") : nullptr;
        Py_XDECREF(f);
        PyErr_Restore(type, value, trace);
        return writeable ? writeable : Py_NewRef(Py_True);
      }());
      if (flags.get() == Py_False) {
        PyErr_Clear();
        fail(PyExc_ValueError,
             "from_numpy() shares memory and needs a writable array; use tg.tensor(array) for a copy");
      }
    }
    if (!t) throw PythonError();
    return t;
  });
}

// _empty(shape, dtype, device)
PyObject* empty(PyObject*, PyObject* const* args, Py_ssize_t n) {
  return guarded([&] {
    if (n != 3) fail(PyExc_TypeError, "_empty() expected 3 arguments");
    const Ints shape = to_ints(args[0], "shape");
    const DType t = args[1] == Py_None ? default_float() : to_dtype(args[1]);
    return wrap(Tensor::empty(shape, t, to_device(args[2])));
  });
}

// _full(shape, value, dtype, device)
PyObject* full(PyObject*, PyObject* const* args, Py_ssize_t n) {
  return guarded([&] {
    if (n != 4) fail(PyExc_TypeError, "_full() expected 4 arguments");
    const Ints shape = to_ints(args[0], "shape");
    Scalar s;
    Object value = Object::borrow(args[1]);
    if (is_tensor(args[1]) || (is_array(args[1]) && !PyFloat_Check(args[1])))
      value = Object::take(PyObject_CallMethod(args[1], "item", nullptr));
    if (!to_scalar(value.get(), &s)) fail(PyExc_TypeError, "expected a number to fill with, got ", type_name(args[1]));
    const DType t = args[2] == Py_None ? default_dtype(s.kind) : to_dtype(args[2]);
    Device* device = to_device(args[3]);
    if (s.kind == Scalar::complex && !is_complex(t))
      fail(PyExc_TypeError, "expected a real number to fill a tensor of ", long_name_of(t), " with, got a complex one");
    check_fits("full", s, t);
    if (is_host(device) && numel(shape) < 4096 && !making_unbacked() && !is_packed(t)) {
      for (int64_t d : shape) check(d >= 0, "[full] expected sizes of 0 or more, got shape ", str(shape));
      const Tensor y = Tensor::empty(shape, t, device);
      char bits[16];
      s.store(t, bits);
      const size_t width = size_t(size_of(t));
      char* at = static_cast<char*>(y.storage()->data());
      for (int64_t i = 0, count = y.numel(); i < count; ++i) std::memcpy(at + size_t(i) * width, bits, width);
      return wrap(Tensor(y));
    }
    Tensor y;
    {
      GilRelease release;
      y = s.kind == Scalar::complex || s.range != Scalar::word  // more than an attribute holds
              ? op<"copy">({op<"expand">({filled(s, t, device)}, {shape})})
              : op<"full">({}, {shape, s.kind == Scalar::floating ? Attr(s.f) : Attr(s.i), t}, device);
    }
    return wrap(std::move(y));
  });
}

// _from_bytes(bytes, dtype, shape, device)
PyObject* from_bytes(PyObject*, PyObject* const* args, Py_ssize_t n) {
  return guarded([&] {
    if (n != 4) fail(PyExc_TypeError, "_from_bytes() expected 4 arguments");
    const DType t = to_dtype(args[1]);
    const Ints shape = to_ints(args[2], "shape");
    Py_buffer view;
    require(PyObject_GetBuffer(args[0], &view, PyBUF_SIMPLE) == 0);
    Tensor y;
    const bool fits = numel(shape) >= 0 && uint64_t(view.len) == bytes_of(t, numel(shape));
    if (fits) y = Tensor::from_host(view.buf, shape, t, to_device(args[3]));
    const Py_ssize_t got = view.len;
    PyBuffer_Release(&view);
    if (!fits)
      fail(PyExc_ValueError, "expected bytes for shape ", str(shape), " of ", long_name_of(t), ", got ", got, " bytes");
    return wrap(std::move(y));
  });
}

#define WITH_KEYWORDS(name, function, doc) \
  { name, reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(function)), METH_VARARGS | METH_KEYWORDS, doc }
#define FAST(name, function) \
  { name, reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(function)), METH_FASTCALL, nullptr }
PyMethodDef functions[] = {
    WITH_KEYWORDS(
        "tensor", tensor,
        "tensor(data, dtype=None, device=None, *, requires_grad=False)\n--\n\n"
        "A new tensor with a copy of `data`.\n\n"
        "Parameters\n----------\n"
        "data : number, nested sequence, array or Tensor\n    Python floats become float32, ints int64, bools "
        "bool; arrays and tensors keep their dtype.\n"
        "dtype : dtype, optional\n    the element type\n"
        "device : device, optional\n    where it lives; the default device if not given\n"
        "requires_grad : bool\n    whether gradients are computed for it\n\n"
        "Returns\n-------\nTensor\n\n"
        "Raises\n------\nValueError\n    for ragged lists\nTypeError\n    for elements that are no numbers\n\n"
        "Examples\n--------\n>>> tg.tensor([[1.0, 2.0], [3.0, 4.0]]).shape\n(2, 2)\n"),
    WITH_KEYWORDS(
        "asarray", asarray,
        "asarray(data, dtype=None, device=None, *, copy=None)\n--\n\n"
        "A tensor of `data`, which shares memory with an array or tensor where it can.\n\n"
        "copy=True always copies, copy=False raises ValueError where a copy is needed.\n\n"
        "Examples\n--------\n>>> a = np.zeros(2, np.float32)\n>>> tg.asarray(a).data_ptr() == a.ctypes.data\nTrue\n"),
    {"from_numpy", from_numpy, METH_O,
     "from_numpy(array)\n--\n\nA tensor in host memory that shares the array's memory.\n\n"
     "Raises ValueError for an array that is read-only, unaligned, of foreign byte order or with negative strides, TypeError for other element types.\n"},
    FAST("_empty", empty),
    FAST("_full", full),
    FAST("_from_bytes", from_bytes),
    {},
};

}  // namespace

void add_construction(PyObject* module) { require(PyModule_AddFunctions(module, functions) == 0); }

}  // namespace tg::py
