// SPDX-License-Identifier: Apache-2.0
// tengen.device (also tg.Device): a device by name, and a context in which it is the default.
#include "py.h"

#include <unordered_map>

namespace tg::py {
namespace {

struct PyDevice {
  PyObject_HEAD Device* device;
  PyObject* outer;  // list of defaults to go back to
};
PyTypeObject* device_type = nullptr;
std::unordered_map<Device*, PyObject*>& objects() {
  static auto* m = new std::unordered_map<Device*, PyObject*>;
  return *m;
}
Device* self_device(PyObject* o) { return reinterpret_cast<PyDevice*>(o)->device; }

PyObject* repr(PyObject* self) { return PyUnicode_FromFormat("device('%s')", device_name(self_device(self)).c_str()); }
PyObject* str(PyObject* self) { return PyUnicode_FromString(device_name(self_device(self)).c_str()); }

PyObject* construct(PyTypeObject*, PyObject* args, PyObject* kwargs) {
  return guarded([&]() -> PyObject* {
    if (kwargs && PyDict_GET_SIZE(kwargs)) fail(PyExc_TypeError, "device() takes no keyword arguments");
    const Py_ssize_t n = PyTuple_GET_SIZE(args);
    if (n == 2) {  // device("chaos", 0)
      const Object name =
          Object::take(PyUnicode_FromFormat("%S:%S", PyTuple_GET_ITEM(args, 0), PyTuple_GET_ITEM(args, 1)));
      return device_object(to_device(name.get()));
    }
    if (n != 1) fail(PyExc_TypeError, "device() expected a name such as \"cpu:0\", got ", n, " arguments");
    return device_object(to_device(PyTuple_GET_ITEM(args, 0)));
  });
}

PyObject* get_name(PyObject* self, void*) { return str(self); }
PyObject* get_type(PyObject* self, void*) {
  const std::string& name = device_name(self_device(self));
  const size_t colon = name.rfind(':');
  return PyUnicode_FromStringAndSize(name.data(), Py_ssize_t(colon == std::string::npos ? name.size() : colon));
}
PyObject* get_index(PyObject* self, void*) {
  const std::string& name = device_name(self_device(self));
  const size_t colon = name.rfind(':');
  return PyLong_FromLong(colon == std::string::npos ? 0 : std::atol(name.c_str() + colon + 1));
}
PyObject* get_is_host(PyObject* self, void*) { return PyBool_FromLong(is_host(self_device(self))); }

PyObject* enter(PyObject* self, PyObject*) {
  return guarded([&]() -> PyObject* {
    PyDevice* d = reinterpret_cast<PyDevice*>(self);
    const Object old = Object::take(device_object(any_default_device()));
    if (!d->outer) d->outer = Object::take(PyList_New(0)).release();
    require(PyList_Append(d->outer, old.get()) == 0);
    set_default_device(d->device);
    return Py_NewRef(self);
  });
}
PyObject* leave(PyObject* self, PyObject*) {
  return guarded([&]() -> PyObject* {
    PyDevice* d = reinterpret_cast<PyDevice*>(self);
    const Py_ssize_t n = d->outer ? PyList_GET_SIZE(d->outer) : 0;
    if (n == 0) fail(PyExc_RuntimeError, "the device context was left without being entered");
    const Object old = Object::borrow(PyList_GET_ITEM(d->outer, n - 1));
    require(PyList_SetSlice(d->outer, n - 1, n, nullptr) == 0);
    set_default_device(self_device(old.get()));
    Py_RETURN_NONE;
  });
}
PyObject* reduce(PyObject* self, PyObject*) {
  return Py_BuildValue("O(s)", device_type, device_name(self_device(self)).c_str());
}
PyObject* compare(PyObject* a, PyObject* b, int op) {
  if (op != Py_EQ && op != Py_NE) Py_RETURN_NOTIMPLEMENTED;
  bool equal;
  if (Py_TYPE(b) == device_type) {
    equal = self_device(a) == self_device(b);
  } else if (PyUnicode_Check(b)) {
    const char* text = PyUnicode_AsUTF8(b);
    if (!text) return nullptr;
    const std::string& name = device_name(self_device(a));
    equal = name == text || (name.ends_with(":0") && name.compare(0, name.size() - 2, text) == 0);
  } else {
    Py_RETURN_NOTIMPLEMENTED;
  }
  return PyBool_FromLong(equal == (op == Py_EQ));
}
Py_hash_t hash(PyObject* self) {
  const Py_hash_t h = Py_hash_t(reinterpret_cast<uintptr_t>(self_device(self)) >> 4);
  return h == -1 ? -2 : h;
}

PyGetSetDef getset[] = {
    {"name", get_name, nullptr, "\"kind:index\".", nullptr},
    {"type", get_type, nullptr, "The kind: what stands before the colon.", nullptr},
    {"kind", get_type, nullptr, "The kind: what stands before the colon.", nullptr},
    {"index", get_index, nullptr, "Number among the devices of its kind.", nullptr},
    {"is_host", get_is_host, nullptr, "Whether its memory is the process's own.", nullptr},
    {},
};
PyMethodDef methods[] = {
    {"__enter__", enter, METH_NOARGS, nullptr},
    {"__exit__", leave, METH_VARARGS, nullptr},
    {"__reduce__", reduce, METH_NOARGS, nullptr},
    {},
};
PyType_Slot slots[] = {
    {Py_tp_new, reinterpret_cast<void*>(construct)},
    {Py_tp_repr, reinterpret_cast<void*>(repr)},
    {Py_tp_str, reinterpret_cast<void*>(str)},
    {Py_tp_richcompare, reinterpret_cast<void*>(compare)},
    {Py_tp_hash, reinterpret_cast<void*>(hash)},
    {Py_tp_getset, getset},
    {Py_tp_methods, methods},
    {Py_tp_doc,
     const_cast<char*>("device(name)\n--\n\nA device, written kind:index. `with tg.device(\"cpu\"):` makes it the "
                       "default inside.")},
    {0, nullptr},
};
PyType_Spec spec = {"tengen.device", sizeof(PyDevice), 0, Py_TPFLAGS_DEFAULT, slots};

bool installed_plugins_found = false;

}  // namespace

void find_installed_plugins() {
  if (installed_plugins_found) [[likely]]
    return;
  installed_plugins_found = true;  // also when it fails: the search must not repeat itself on every call
  const Object module = Object::take(PyImport_ImportModule("tengen._plugins"));
  Object::take(PyObject_CallMethod(module.get(), "add_installed", nullptr));
}

Device* any_default_device() {
  find_installed_plugins();
  return default_device();
}
Device* any_host_device() {
  find_installed_plugins();
  return host_device();
}

PyObject* device_object(Device* d) {
  PyObject*& slot = objects()[d];
  if (!slot) {
    PyDevice* o = PyObject_New(PyDevice, device_type);
    if (!o) throw PythonError();
    o->device = d;
    o->outer = nullptr;
    slot = reinterpret_cast<PyObject*>(o);
  }
  return Py_NewRef(slot);
}

Device* to_device(PyObject* o) {
  if (Py_TYPE(o) == device_type) return self_device(o);
  if (o == Py_None) return any_default_device();
  find_installed_plugins();
  if (PyUnicode_Check(o)) return find_device(text_of(o));
  const Object shown = Object::take(PyObject_Repr(o));
  fail(PyExc_TypeError, "expected a device (tg.device(\"cpu:0\") or \"cpu:0\"), got ", text_of(shown.get()));
}

void add_device_type(PyObject* module) {
  device_type = reinterpret_cast<PyTypeObject*>(Object::take(PyType_FromSpec(&spec)).release());
  require(PyModule_AddObjectRef(module, "device", reinterpret_cast<PyObject*>(device_type)) == 0);
}

}  // namespace tg::py
