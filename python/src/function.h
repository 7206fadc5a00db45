// SPDX-License-Identifier: Apache-2.0
// How the arguments of one op's Python function are bound, and what its documentation says.
#pragma once
#include "call.h"

namespace tg::py {

struct Param {
  PyObject* name;  // interned
  std::string text;
};

struct Binding {
  const Op* op;
  bool in_place = false;
  bool plain = false;    // one output, and the inputs alone make a call
  bool gathers = false;  // the one attribute is a list of integers, which may be spelled out: x.reshape(2, 3)
  bool axis_first = false;  // (x, axis, index, ...), as PyTorch has it, is understood beside (x, index, ..., axis)
  std::string text;      // name of the function
  size_t n_inputs = 0;
  std::vector<Param> params;            // inputs, then attributes
  std::vector<size_t> visible;          // outputs
  PyTypeObject* result_type = nullptr;  // of several outputs

  std::string signature() const;  // "(x, axis=-1)"
  std::string doc() const;        // numpydoc
};

struct PyFunction {
  PyObject_HEAD vectorcallfunc call;
  const Binding* binding;
};

Object function_of(const Op& op);  // the callable of an op

}  // namespace tg::py
