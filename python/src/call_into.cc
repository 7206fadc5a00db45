// SPDX-License-Identifier: Apache-2.0
// _core.call_into(name, inputs, attrs, outs): an op, internal ones too, whose outputs are written into given tensors.
// For optimizer steps, which overwrite their operands: _core.call_into("sgd_plain_step", (p, g, lr, 0.0), (False,),
// (p,)).
#include "call.h"

namespace tg::py {
namespace {

void push(AttrList& attrs, PyObject* o) {
  if (o == Py_None)
    attrs.push();
  else if (PyBool_Check(o))
    attrs.push(o == Py_True);
  else if (PyUnicode_Check(o))
    attrs.push(std::string(text_of(o)));
  else if (Scalar s; to_scalar(o, &s))
    attrs.push(to_number(o, s, "an attribute"));
  else
    attrs.push(to_ints(o, "an attribute"));
}

PyObject* into(PyObject*, PyObject* const* args, Py_ssize_t n) {
  return guarded([&]() -> PyObject* {
    if (n != 4 || !PyTuple_Check(args[1]) || !PyTuple_Check(args[2]) || !PyTuple_Check(args[3]))
      fail(PyExc_TypeError, "call_into(name, inputs, attrs, outs) expected a string and three tuples");
    const Op& op = require_op(text_of(args[0]));
    const Py_ssize_t n_inputs = PyTuple_GET_SIZE(args[1]), n_attrs = PyTuple_GET_SIZE(args[2]);
    Device* device = nullptr;
    for (Py_ssize_t i = 0; i < n_inputs && !device; ++i)
      if (PyObject* o = PyTuple_GET_ITEM(args[1], i); is_tensor(o)) device = impl_of(o)->storage->device();
    ArgList inputs{size_t(n_inputs)};
    for (size_t i = 0; i < inputs.size(); ++i) inputs.absent(i);
    for (size_t i = 0; i < inputs.size(); ++i)
      if (PyObject* o = PyTuple_GET_ITEM(args[1], Py_ssize_t(i)); o != Py_None && !inputs.set(i, o, device))
        fail(PyExc_TypeError, "[", op.name, "] expected a Tensor or a number as input ", i, ", got ", type_name(o));
    AttrList attrs;
    attrs.reserve(size_t(n_attrs));
    for (Py_ssize_t i = 0; i < n_attrs; ++i) push(attrs, PyTuple_GET_ITEM(args[2], i));
    Tensors outs;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(args[3]); ++i) {
      PyObject* o = PyTuple_GET_ITEM(args[3], i);
      if (!is_tensor(o))
        fail(PyExc_TypeError, "[", op.name, "] expected a Tensor as output ", i, ", got ", type_name(o));
      outs.push_back(tensor_of(o));
    }
    if (is_big(inputs.span())) {
      GilRelease release;
      call_into(op, inputs.span(), attrs.span(), outs);
    } else {
      call_into(op, inputs.span(), attrs.span(), outs);
    }
    Py_RETURN_NONE;
  });
}

PyMethodDef functions[] = {
    {"call_into", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(into)), METH_FASTCALL,
     "call_into(name, inputs, attrs, outs)\n--\n\nRuns an op, internal ones too, writing its outputs into given "
     "tensors."},
    {},
};

}  // namespace

void add_call_into(PyObject* module) { require(PyModule_AddFunctions(module, functions) == 0); }

}  // namespace tg::py
