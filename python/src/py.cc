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

static size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t cost = std::min({row[j] + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1])});
      diagonal = row[j];
      row[j] = cost;
    }
  }
  return row[b.size()];
}

std::string nearest(std::string_view word, std::span<const std::string> names) {
  std::string best;
  size_t distance = std::max<size_t>(1, (word.size() + 2) / 3) + 1;
  for (const std::string& name : names) {
    const size_t d = edit_distance(word, name);
    if (d < distance) {
      distance = d;
      best = name;
    }
  }
  return best;
}

}  // namespace tg::py
