// SPDX-License-Identifier: Apache-2.0
// The extension module tengen._core. Importing it reads the op table and loads no plugin.
#include "py.h"

#include <pybind11/pybind11.h>

namespace tg::py {
extern PyObject* linalg_error;
}

PYBIND11_MODULE(_core, m) {
  using namespace tg::py;
  m.doc() = "Tengen's core: tensors, ops, autograd, devices. Use the package tengen.";
  PyObject* module = m.ptr();
  try {
    device_lost_error = PyErr_NewExceptionWithDoc(
        "tengen.DeviceLostError", "A device is gone for this process; others go on.", PyExc_RuntimeError, nullptr);
    require(device_lost_error && PyModule_AddObjectRef(module, "DeviceLostError", device_lost_error) == 0);
    linalg_error = PyErr_NewExceptionWithDoc("tengen.linalg.LinAlgError",
                                             "A matrix on which an algorithm fails: singular, not positive definite.",
                                             PyExc_RuntimeError, nullptr);
    require(linalg_error && PyModule_AddObjectRef(module, "_LinAlgError", linalg_error) == 0);
    add_dtype_type(module);
    add_device_type(module);
    add_tensor_type(module);
    add_functions(module);
    add_construction(module);
    add_autograd(module);
    add_call_into(module);
    add_autocast(module);
    add_call_log(module);
    add_transform(module);
    add_custom(module);
    add_autograd_hooks(module);
    add_dlpack(module);
    add_jit(module);
    add_runtime(module);
    add_command(module);
  } catch (...) {
    set_python_error();
    throw pybind11::error_already_set();
  }
}
