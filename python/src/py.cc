// SPDX-License-Identifier: Apache-2.0
#include "py.h"

#include <tengen/linalg_error.h>

#include <mutex>
#include <new>
#include <vector>

namespace tg::py {

PyObject* device_lost_error = nullptr;
PyObject* linalg_error = nullptr;  // made by module.cc

static PyObject* exception_class(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::value:
      return PyExc_ValueError;
    case ErrorKind::type:
      return PyExc_TypeError;
    case ErrorKind::index:
      return PyExc_IndexError;
    case ErrorKind::overflow:
      return PyExc_OverflowError;
    case ErrorKind::memory:
      return PyExc_MemoryError;
    case ErrorKind::runtime:
      return PyExc_RuntimeError;
    case ErrorKind::not_implemented:
      return PyExc_NotImplementedError;
    case ErrorKind::device_lost:
      return device_lost_error;
    case ErrorKind::io:
      return PyExc_OSError;
  }
  return PyExc_RuntimeError;
}

void set_python_error() noexcept {
  try {
    throw;
  } catch (const PythonError&) {
    if (!PyErr_Occurred()) PyErr_SetString(PyExc_SystemError, "an error was reported without an exception");
  } catch (const LinalgError& e) {
    PyErr_SetString(linalg_error, e.what());
  } catch (const Error& e) {
    // A Python function that raised inside the library (a hook) left its exception set: it says more.
    if (!PyErr_Occurred()) PyErr_SetString(exception_class(e.kind()), e.what());
  } catch (const std::bad_alloc&) {
    PyErr_NoMemory();
  } catch (const std::exception& e) {
    if (!PyErr_Occurred()) PyErr_SetString(PyExc_RuntimeError, e.what());
  } catch (...) {
    PyErr_SetString(PyExc_RuntimeError, "an unknown C++ exception");
  }
}

namespace {
struct Pending {
  std::mutex mutex;  // held for a push or a swap only
  std::vector<PyObject*> objects;
  bool scheduled = false;
};
Pending& pending() {
  static auto* p = new Pending;
  return *p;
}
int drain(void*) {
  std::vector<PyObject*> dead;
  {
    std::lock_guard lock(pending().mutex);
    dead.swap(pending().objects);
    pending().scheduled = false;
  }
  for (PyObject* o : dead) Py_DECREF(o);
  return 0;
}
}  // namespace

void decref_later(PyObject* object) {
  if (!Py_IsInitialized()) return;
  if (PyGILState_Check()) {
    Py_DECREF(object);
    return;
  }
  std::lock_guard lock(pending().mutex);
  pending().objects.push_back(object);
  // When Python's own queue is full the objects wait for the next try.
  if (!pending().scheduled) pending().scheduled = Py_AddPendingCall(drain, nullptr) == 0;
}

PyObject* intern(const char* text) {
  PyObject* s = PyUnicode_InternFromString(text);
  if (!s) throw PythonError();
  return s;
}

Object text(std::string_view s) { return Object::take(PyUnicode_FromStringAndSize(s.data(), Py_ssize_t(s.size()))); }

}  // namespace tg::py
