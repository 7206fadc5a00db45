// SPDX-License-Identifier: Apache-2.0
// What every file of the extension module uses: owned references, the way from C++ exceptions to Python ones, interned
// names, and the Python objects of tensors, dtypes and devices.
#pragma once
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <tengen/autograd.h>
#include <tengen/op.h>
#include <tengen/runtime.h>

#include <utility>

namespace tg::py {

// ---- references and errors ------------------------------------------------------------------------------------------

// Thrown where a Python exception is already set.
struct PythonError {};

// An owned reference, or none.
class Object {
 public:
  Object() = default;
  Object(const Object& o) : p_(Py_XNewRef(o.p_)) {}
  Object(Object&& o) noexcept : p_(std::exchange(o.p_, nullptr)) {}
  Object& operator=(Object o) noexcept {
    std::swap(p_, o.p_);
    return *this;
  }
  ~Object() { Py_XDECREF(p_); }
  PyObject* get() const { return p_; }
  PyObject* release() { return std::exchange(p_, nullptr); }
  explicit operator bool() const { return p_ != nullptr; }

  // Takes over a new reference as the C API returns it; NULL throws.
  static Object take(PyObject* p) {
    if (!p) throw PythonError();
    Object o;
    o.p_ = p;
    return o;
  }
  static Object borrow(PyObject* p) { return take(Py_XNewRef(p)); }

 private:
  PyObject* p_ = nullptr;
};

inline void require(bool ok) {
  if (!ok) throw PythonError();
}

// Sets a Python exception and throws PythonError.
template <class... Parts>
[[noreturn]] void fail(PyObject* type, const Parts&... parts) {
  PyErr_SetString(type, detail::concat(parts...).c_str());
  throw PythonError();
}

// To be called in a catch block: sets the Python exception that stands for the current C++ one.
void set_python_error() noexcept;

template <class F>
PyObject* guarded(F&& f) noexcept {
  try {
    return f();
  } catch (...) {
    set_python_error();
    return nullptr;
  }
}
template <class F>
int guarded_int(F&& f) noexcept {
  try {
    f();
    return 0;
  } catch (...) {
    set_python_error();
    return -1;
  }
}

// Lets other Python threads run for its lifetime. Nothing below it may touch a Python object.
class GilRelease {
 public:
  GilRelease() : state_(PyEval_SaveThread()) {}
  ~GilRelease() { PyEval_RestoreThread(state_); }
  GilRelease(const GilRelease&) = delete;
  GilRelease& operator=(const GilRelease&) = delete;

 private:
  PyThreadState* state_;
};
class GilAcquire {
 public:
  GilAcquire() : state_(PyGILState_Ensure()) {}
  ~GilAcquire() { PyGILState_Release(state_); }
  GilAcquire(const GilAcquire&) = delete;
  GilAcquire& operator=(const GilAcquire&) = delete;

 private:
  PyGILState_STATE state_;
};

// Drops a reference from any thread and under any lock: without the GIL it is queued, never waited for, so that a
// storage or a graph that dies inside the library cannot deadlock against a Python thread.
void decref_later(PyObject* object);

// A reference that C++ objects may hold and drop anywhere.
class SharedObject {
 public:
  explicit SharedObject(PyObject* p) : p_(Py_NewRef(p)) {}
  ~SharedObject() { decref_later(p_); }
  SharedObject(const SharedObject&) = delete;
  SharedObject& operator=(const SharedObject&) = delete;
  PyObject* get() const { return p_; }

 private:
  PyObject* p_;
};

PyObject* intern(const char* text);  // a new reference that lives for ever
inline std::string_view text_of(PyObject* unicode) {
  Py_ssize_t n;
  const char* p = PyUnicode_AsUTF8AndSize(unicode, &n);
  if (!p) throw PythonError();
  return {p, size_t(n)};
}
inline const char* type_name(PyObject* o) { return Py_TYPE(o)->tp_name; }
Object text(std::string_view s);

// ---- tensors
// ----------------------------------------------------------------------------------------------------------

struct PyTensor {
  PyObject_HEAD TensorImpl* impl;  // one count; never changes while the object lives
  PyObject* weakrefs;
};
extern PyTypeObject* tensor_type;

inline bool is_tensor(PyObject* o) { return Py_TYPE(o) == tensor_type || PyType_IsSubtype(Py_TYPE(o), tensor_type); }
inline TensorImpl* impl_of(PyObject* o) { return reinterpret_cast<PyTensor*>(o)->impl; }
inline Tensor tensor_of(PyObject* o) { return Tensor(Ref<TensorImpl>(impl_of(o))); }
// The tensor's Python object: the one that exists, or a new one. None for an undefined tensor.
PyObject* wrap(Tensor&& t);
PyObject* wrap_as(PyTypeObject* type, Tensor&& t);  // a new object of a subclass; the tensor has none yet
void add_tensor_type(PyObject* module);

// ---- dtypes and devices
// ------------------------------------------------------------------------------------------------

PyObject* dtype_object(DType t);  // borrowed
DType to_dtype(PyObject* o);      // dtype object, name, Python type, NumPy dtype; TypeError
bool to_dtype_exact(PyObject* o, DType* out);
void add_dtype_type(PyObject* module);

PyObject* device_object(Device* d);  // new reference; equal devices are one object
Device* to_device(PyObject* o);      // device object, name; None: the default device
Device* any_default_device();        // after the installed plugins are known
Device* any_host_device();
void add_device_type(PyObject* module);
void find_installed_plugins();  // entry points; once, at the first use of a device

// ---- the rest of the module
// ---------------------------------------------------------------------------------------------

extern PyObject* device_lost_error;
void add_functions(PyObject* module);  // op table
void add_construction(PyObject* module);
void add_autograd(PyObject* module);
void add_call_into(PyObject* module);
void add_autocast(PyObject* module);
void add_call_log(PyObject* module);
void add_transform(PyObject* module);
void add_custom(PyObject* module);
void add_autograd_hooks(PyObject* module);
void add_dlpack(PyObject* module);
void add_jit(PyObject* module);      // pybind11
void add_runtime(PyObject* module);  // pybind11
void add_command(PyObject* module);  // pybind11

}  // namespace tg::py
