// SPDX-License-Identifier: Apache-2.0
// Autocast as Python sees it: _set_autocast(on, dtype, kind, cache) gives the settings of before.
#include <tengen/autocast.h>

#include "call.h"

namespace tg::py {
namespace {

PyObject* settings(const Autocast& a) {
  return Py_BuildValue("(OOsO)", a.on ? Py_True : Py_False, dtype_object(a.dtype), a.kind.c_str(),
                       a.cache ? Py_True : Py_False);
}

PyObject* get(PyObject*, PyObject*) { return settings(autocast()); }
PyObject* set(PyObject*, PyObject* args) {
  return guarded([&]() -> PyObject* {
    int on, cache;
    PyObject* dtype;
    const char* kind;
    require(PyArg_ParseTuple(args, "pOsp", &on, &dtype, &kind, &cache));
    return settings(set_autocast({on != 0, cache != 0, to_dtype(dtype), kind}));
  });
}
PyObject* clear(PyObject*, PyObject*) {
  return guarded([&]() -> PyObject* {
    clear_autocast_cache();
    Py_RETURN_NONE;
  });
}

PyMethodDef functions[] = {
    {"_get_autocast", get, METH_NOARGS, "_get_autocast()\n--\n\n(on, dtype, device kind, cache) of this thread."},
    {"_set_autocast", set, METH_VARARGS, "_set_autocast(on, dtype, kind, cache)\n--\n\nReturns the old settings."},
    {"_clear_autocast_cache", clear, METH_NOARGS, "_clear_autocast_cache()\n--\n\nForgets remembered casts."},
    {},
};

}  // namespace

void add_autocast(PyObject* module) { require(PyModule_AddFunctions(module, functions) == 0); }

}  // namespace tg::py
