// SPDX-License-Identifier: Apache-2.0
// One callable object per op of the table: tg.softmax(x, axis=-1), x.softmax(axis=-1), x.add_(y). A call binds its
// arguments by comparing interned names (inputs first, then attributes) and builds nothing on the heap.
#include "function.h"

#include "transform/transform.h"

#include <structmember.h>

#include <unordered_map>

namespace tg::py {
namespace {

constexpr size_t kMaxParams = 48;

// Other names under which arguments are known; tried in order until the op has one.
struct Alias {
  const char* name;
  const char* targets[3];
};
constexpr Alias kAliases[] = {
    {"dim", {"axis", "axes", nullptr}},          {"dims", {"axes", "axis", nullptr}},
    {"axis", {"axes", nullptr, nullptr}},        {"axes", {"axis", nullptr, nullptr}},
    {"keepdim", {"keepdims", nullptr, nullptr}}, {"size", {"shape", nullptr, nullptr}},
    {"shape", {"size", nullptr, nullptr}},       {"dim0", {"axis0", "axis1", nullptr}},
    {"dim1", {"axis1", "axis2", nullptr}},       {"dim2", {"axis2", nullptr, nullptr}},
    {"start_dim", {"start_axis", nullptr, nullptr}},
    {"end_dim", {"end_axis", nullptr, nullptr}}, {"src", {"values", nullptr, nullptr}},
    {"source", {"values", nullptr, nullptr}},    {"value", {"values", nullptr, nullptr}},
    {"indices", {"index", nullptr, nullptr}},    {"shifts", {"shift", nullptr, nullptr}},
    {"diagonal", {"k", nullptr, nullptr}},       {"unbiased", {"correction", nullptr, nullptr}},
    {"p", {"ord", nullptr, nullptr}},
};

// Arguments of PyTorch's that no op takes, and what says the same here.
struct Hint {
  const char* keyword;
  const char* way_out;
};
constexpr Hint kHints[] = {
    {"dtype", "cast the operand first: x.to(dtype)"},
};

// Arguments of PyTorch's that are a few ops more: tengen._keywords makes such a call.
struct Rewritten {
  const char *op, *keyword;
};
constexpr Rewritten kRewritten[] = {{"add", "alpha"},   {"sub", "alpha"},      {"div", "rounding_mode"},
                                    {"sort", "stable"}, {"argsort", "stable"}, {"topk", "sorted"}};

PyTypeObject* function_type = nullptr;
PyTypeObject* method_type = nullptr;

size_t index_named(const Binding& b, std::string_view name) {
  for (size_t i = 0; i < b.params.size(); ++i)
    if (b.params[i].text == name) return i;
  return b.params.size();
}

// The parameter that a keyword means, or params.size().
size_t find_param(const Binding& b, PyObject* keyword) {
  const size_t n = b.params.size();
  for (size_t i = 0; i < n; ++i)
    if (b.params[i].name == keyword) return i;
  const std::string_view word = text_of(keyword);
  if (const size_t i = index_named(b, word); i < n) return i;
  if (word == "input" && b.n_inputs > 0) return 0;
  if (word == "other" && b.n_inputs > 1) return 1;
  for (const Alias& a : kAliases)
    if (word == a.name)
      for (const char* target : a.targets)
        if (target)
          if (const size_t i = index_named(b, target); i < n) return i;
  return n;
}

[[noreturn]] void fail_keyword(const Binding& b, PyObject* keyword) {
  std::vector<std::string> known;
  for (const Param& p : b.params) known.push_back(p.text);
  const std::string_view word = text_of(keyword);
  for (const Rewritten& r : kRewritten)
    if (b.op->name == r.op && word == r.keyword) throw r;
  for (const Hint& hint : kHints)
    if (word == hint.keyword)
      fail(PyExc_TypeError, b.text, "() got an unexpected keyword argument '", word, "'; ", hint.way_out);
  const std::string near = nearest_name(word, known);
  fail(PyExc_TypeError, b.text, "() got an unexpected keyword argument '", word, "'",
       near.empty() ? "; it takes " + b.signature() : "; did you mean '" + near + "'?");
}

// Puts "softmax(): " before the message of a TypeError or an OverflowError.
void name_the_op(const Binding& b) {
  if (!PyErr_ExceptionMatches(PyExc_TypeError) && !PyErr_ExceptionMatches(PyExc_OverflowError)) return;
  PyObject *type, *value, *trace;
  PyErr_Fetch(&type, &value, &trace);
  PyErr_NormalizeException(&type, &value, &trace);
  PyObject* message = PyObject_Str(value);
  if (message) {
    PyErr_Format(type, "%s(): %U", b.text.c_str(), message);
    Py_DECREF(message);
    Py_XDECREF(type);
    Py_XDECREF(value);
    Py_XDECREF(trace);
  } else {
    PyErr_Restore(type, value, trace);
  }
}

void push_attr(AttrList& attrs, const AttrSpec& spec, PyObject* o) {
  const char* what = spec.name.c_str();
  if (!o) return attrs.push(spec.default_value);
  if (o == Py_None) {
    if (!spec.optional && !spec.default_value.given())
      fail(PyExc_TypeError, "expected a value for ", what, ", got None");
    return spec.optional ? attrs.push() : attrs.push(spec.default_value);
  }
  switch (spec.kind) {
    case AttrKind::boolean: {
      if (!PyBool_Check(o) && !PyIndex_Check(o) && !PyObject_HasAttrString(o, "__bool__"))
        fail(PyExc_TypeError, "expected True or False for ", what, ", got ", type_name(o));
      const int truth = PyObject_IsTrue(o);
      require(truth >= 0);
      return attrs.push(truth != 0);
    }
    case AttrKind::integer:
      return attrs.push(to_int(o, what));
    case AttrKind::floating: {
      Scalar s;
      if (to_scalar(o, &s)) return attrs.push(to_number(o, s, what));
      if (PyUnicode_Check(o) || PyList_Check(o) || PyTuple_Check(o))
        fail(PyExc_TypeError, "expected a number for ", what, ", got ", type_name(o));
      const double v = PyFloat_AsDouble(o);
      require(v != -1 || !PyErr_Occurred());
      return attrs.push(v);
    }
    case AttrKind::string:
      if (!PyUnicode_Check(o)) fail(PyExc_TypeError, "expected a string for ", what, ", got ", type_name(o));
      return attrs.push(std::string(text_of(o)));
    case AttrKind::ints:
      return attrs.push(to_ints(o, what));
    case AttrKind::floats: {
      if (Scalar s; to_scalar(o, &s)) return attrs.push(to_number(o, s, what).floating());
      if (is_tensor(o) && impl_of(o)->shape.empty()) return attrs.push(PyFloat_AsDouble(o));
      std::vector<double> v;
      const Object list = Object::take(PyList_Check(o) || PyTuple_Check(o) ? Py_NewRef(o) : PySequence_List(o));
      for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(list.get()); ++i) {
        v.push_back(PyFloat_AsDouble(PySequence_Fast_GET_ITEM(list.get(), i)));
        require(v.back() != -1 || !PyErr_Occurred());
      }
      return attrs.push(std::move(v));
    }
    case AttrKind::dtype:
      return attrs.push(to_dtype(o));
  }
}

[[noreturn]] void fail_input(const InputSpec& spec, PyObject* o) {
  fail(PyExc_TypeError, "expected a Tensor for ", spec.name, ", got ", type_name(o),
       PyList_Check(o) || PyTuple_Check(o) ? "; use tg.tensor(...)" : "");
}

// Inputs that ops take as tensors of no device of their own go to the device of the others.
Device* device_of_inputs(PyObject* const* given, size_t n) {
  for (size_t i = 0; i < n; ++i) {
    if (!given[i]) continue;
    if (is_tensor(given[i])) return impl_of(given[i])->storage->device();
    if (PyList_Check(given[i]) || PyTuple_Check(given[i]))
      for (Py_ssize_t k = 0; k < PySequence_Fast_GET_SIZE(given[i]); ++k)
        if (PyObject* item = PySequence_Fast_GET_ITEM(given[i], k); is_tensor(item))
          return impl_of(item)->storage->device();
  }
  return nullptr;
}

PyObject* finish(const Binding& b, Tensors&& out) {
  if (b.visible.size() == 1) return wrap(std::move(out[b.visible[0]]));
  PyObject* result = PyStructSequence_New(b.result_type);
  if (!result) throw PythonError();
  for (size_t i = 0; i < b.visible.size(); ++i) {
    PyObject* item = b.visible[i] < out.size() ? wrap(std::move(out[b.visible[i]])) : Py_NewRef(Py_None);
    PyStructSequence_SET_ITEM(result, Py_ssize_t(i), item);
  }
  return result;
}

// What a call gives besides the op's own parameters.
struct Extra {
  PyObject *out = nullptr, *device = nullptr, *requires_grad = nullptr;
};

void bind(const Binding& b, PyObject* const* args, size_t n, PyObject* keywords, PyObject** given, Extra* extra,
          Object* gathered) {
  const size_t n_params = b.params.size();
  std::fill_n(given, n_params, nullptr);
  if (n > n_params || (b.gathers && n > b.n_inputs + 1)) {
    // x.reshape(2, 3): the sizes of the one attribute, spelled out.
    const bool integers = b.gathers && n > b.n_inputs && PyLong_CheckExact(args[b.n_inputs]);
    if (!integers)
      fail(PyExc_TypeError, b.text, "() takes at most ", n_params, " positional argument", n_params == 1 ? "" : "s",
           " ", b.signature(), ", got ", n);
    *gathered = Object::take(PyTuple_New(Py_ssize_t(n - b.n_inputs)));
    for (size_t i = b.n_inputs; i < n; ++i)
      PyTuple_SET_ITEM(gathered->get(), Py_ssize_t(i - b.n_inputs), Py_NewRef(args[i]));
    std::copy_n(args, b.n_inputs, given);
    given[b.n_inputs] = gathered->get();
  } else {
    std::copy_n(args, n, given);
  }
  if (b.axis_first && n > 1 && PyLong_Check(args[1]) && (n > 2 ? is_tensor(args[2]) : keywords != nullptr)) {
    for (size_t i = 1; i < b.n_inputs; ++i) given[i] = i + 1 < n ? args[i + 1] : nullptr;
    given[b.n_inputs] = args[1];
  }
  if (!keywords) return;
  for (Py_ssize_t k = 0; k < PyTuple_GET_SIZE(keywords); ++k) {
    PyObject* keyword = PyTuple_GET_ITEM(keywords, k);
    PyObject* value = args[n + size_t(k)];
    const size_t i = find_param(b, keyword);
    if (i == n_params) {
      const std::string_view word = text_of(keyword);
      if (word == "out" && !b.in_place && b.visible.size() == 1)
        extra->out = value;
      else if (word == "device" && b.n_inputs == 0)
        extra->device = value;
      else if (word == "requires_grad" && b.n_inputs == 0)
        extra->requires_grad = value;
      else
        fail_keyword(b, keyword);
      continue;
    }
    if (given[i]) fail(PyExc_TypeError, b.text, "() got more than one value for argument '", b.params[i].text, "'");
    given[i] = value;
  }
}

PyObject* call_bound(const Binding& b, PyObject* const* given, const Extra& extra) {
  const Op& op = *b.op;
  // Inputs; a variadic one is last and spreads.
  size_t n_args = b.n_inputs;
  Object sequence;
  const bool spreads = b.n_inputs && op.inputs[b.n_inputs - 1].variadic;
  if (spreads) {
    PyObject* o = given[b.n_inputs - 1];
    if (!o) fail(PyExc_TypeError, b.text, "() missing required argument '", op.inputs[b.n_inputs - 1].name, "'");
    if (is_tensor(o) || !PySequence_Check(o) || PyUnicode_Check(o)) {
      if (is_tensor(o) || !PyIter_Check(o))
        fail(PyExc_TypeError, b.text, "(): expected a list of tensors for ", op.inputs[b.n_inputs - 1].name, ", got ",
             type_name(o));
    }
    sequence = Object::take(PySequence_Tuple(o));
    n_args = b.n_inputs - 1 + size_t(PyTuple_GET_SIZE(sequence.get()));
  }
  ArgList inputs(n_args);
  AttrList attrs;
  Device* device = nullptr;
  try {
    device = device_of_inputs(given, b.n_inputs);
    bool any_tensor = device != nullptr;
    Device* place = device;
    for (size_t i = 0; i < n_args; ++i) {
      inputs.absent(i);
      const size_t at = std::min(i, b.n_inputs - 1);
      const InputSpec& spec = op.inputs[at];
      PyObject* o = spreads && i >= b.n_inputs - 1 ? PyTuple_GET_ITEM(sequence.get(), Py_ssize_t(i - (b.n_inputs - 1)))
                                                   : given[i];
      if (!o || (o == Py_None && spec.optional)) {
        if (!spec.optional) fail(PyExc_TypeError, "missing required argument '", spec.name, "' ", b.signature());
        continue;
      }
      if (!inputs.set(i, o, place)) fail_input(spec, o);
    }
    if (!any_tensor && n_args > 0 && inputs[0].kind == Arg::scalar)  // numbers alone: the first decides the device
      inputs.own(0, to_tensor(given[0], nullptr, nullptr));
    size_t last = 0;
    for (size_t i = 0; i < op.attrs.size(); ++i)
      if (given[b.n_inputs + i]) last = i + 1;
    attrs.reserve(op.attrs.size());
    for (size_t i = 0; i < op.attrs.size(); ++i) {
      if (i >= last) {
        if (!op.attrs[i].default_value.given() && !op.attrs[i].optional)
          fail(PyExc_TypeError, "missing required argument '", op.attrs[i].name, "' ", b.signature());
        continue;
      }
      if (!given[b.n_inputs + i] && !op.attrs[i].default_value.given() && !op.attrs[i].optional)
        fail(PyExc_TypeError, "missing required argument '", op.attrs[i].name, "' ", b.signature());
      push_attr(attrs, op.attrs[i], given[b.n_inputs + i]);
    }
  } catch (const PythonError&) {
    name_the_op(b);
    throw;
  }
  if (b.in_place || extra.out) {
    PyObject* target = b.in_place ? given[0] : extra.out;
    if (!is_tensor(target)) fail(PyExc_TypeError, b.text, "(): expected a Tensor for out, got ", type_name(target));
    run_into(op, inputs.span(), attrs.span(), tensor_of(target));
    return Py_NewRef(target);
  }
  if (b.n_inputs == 0) device = to_device(extra.device ? extra.device : Py_None);
  Tensors out = run(op, inputs.span(), attrs.span(), device);
  if (extra.requires_grad && PyObject_IsTrue(extra.requires_grad) > 0) out[0].set_requires_grad(true);
  return finish(b, std::move(out));
}

PyObject* call_rewritten(PyObject* self, PyObject* const* args, Py_ssize_t n, PyObject* keywords) {
  const Object module = Object::take(PyImport_ImportModule("tengen._keywords"));
  const Object positional = Object::take(PyTuple_New(n)), named = Object::take(PyDict_New());
  for (Py_ssize_t i = 0; i < n; ++i) PyTuple_SET_ITEM(positional.get(), i, Py_NewRef(args[i]));
  for (Py_ssize_t k = 0; k < PyTuple_GET_SIZE(keywords); ++k)
    require(PyDict_SetItem(named.get(), PyTuple_GET_ITEM(keywords, k), args[n + k]) == 0);
  return Object::take(PyObject_CallMethod(module.get(), "call", "OOO", self, positional.get(), named.get())).release();
}

PyObject* vectorcall(PyObject* self, PyObject* const* args, size_t nargsf, PyObject* keywords) {
  return guarded([&]() -> PyObject* {
    const Binding& b = *reinterpret_cast<PyFunction*>(self)->binding;
    // The common case: exactly the inputs, all of them tensors.
    if (b.plain && !keywords && size_t(PyVectorcall_NARGS(nargsf)) == b.n_inputs) {
      size_t i = 0;
      while (i < b.n_inputs && Py_TYPE(args[i]) == tensor_type) ++i;
      if (i == b.n_inputs) {
        ArgList inputs(b.n_inputs);
        for (i = 0; i < b.n_inputs; ++i) inputs.borrow(i, impl_of(args[i]));
        return wrap(std::move(run(*b.op, inputs.span())[b.visible[0]]));
      }
    }
    PyObject* given[kMaxParams];
    Extra extra;
    Object gathered;
    try {
      bind(b, args, size_t(PyVectorcall_NARGS(nargsf)), keywords, given, &extra, &gathered);
    } catch (const Rewritten&) {
      return call_rewritten(self, args, PyVectorcall_NARGS(nargsf), keywords);
    }
    return call_bound(b, given, extra);
  });
}

PyObject* descr_get(PyObject* self, PyObject* object, PyObject*) {
  if (!object || object == Py_None) return Py_NewRef(self);
  return PyMethod_New(self, object);
}

// ---- documentation
// -----------------------------------------------------------------------------------------------------------

const Binding& binding_of(PyObject* self) { return *reinterpret_cast<PyFunction*>(self)->binding; }

PyObject* repr(PyObject* self) { return PyUnicode_FromFormat("<op tengen.%s>", binding_of(self).text.c_str()); }
PyObject* get_name(PyObject* self, void*) { return PyUnicode_FromString(binding_of(self).text.c_str()); }
PyObject* get_module(PyObject*, void*) { return PyUnicode_FromString("tengen"); }
PyObject* get_doc(PyObject* self, void*) {
  return guarded([&] { return text(binding_of(self).doc()).release(); });
}
PyObject* get_text_signature(PyObject* self, void*) {
  return guarded([&] { return text(binding_of(self).signature()).release(); });
}
PyObject* get_signature(PyObject* self, void*) {
  return guarded([&]() -> PyObject* {
    const Object module = Object::take(PyImport_ImportModule("tengen._signature"));
    return PyObject_CallMethod(module.get(), "signature_of", "O", self);
  });
}
PyObject* reduce(PyObject* self, PyObject*) { return get_name(self, nullptr); }

PyGetSetDef getset[] = {
    {"__name__", get_name, nullptr, nullptr, nullptr},
    {"__qualname__", get_name, nullptr, nullptr, nullptr},
    {"__module__", get_module, nullptr, nullptr, nullptr},
    {"__doc__", get_doc, nullptr, nullptr, nullptr},
    {"__text_signature__", get_text_signature, nullptr, nullptr, nullptr},
    {"__signature__", get_signature, nullptr, nullptr, nullptr},
    {},
};
PyMethodDef methods[] = {{"__reduce__", reduce, METH_NOARGS, nullptr}, {}};
PyMemberDef members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(PyFunction, call), READONLY, nullptr},
    {},
};
PyType_Slot function_slots[] = {{Py_tp_call, reinterpret_cast<void*>(PyVectorcall_Call)},
                                {Py_tp_repr, reinterpret_cast<void*>(repr)},
                                {Py_tp_getset, getset},
                                {Py_tp_methods, methods},
                                {Py_tp_members, members},
                                {0, nullptr}};
PyType_Slot method_slots[] = {{Py_tp_call, reinterpret_cast<void*>(PyVectorcall_Call)},
                              {Py_tp_repr, reinterpret_cast<void*>(repr)},
                              {Py_tp_getset, getset},
                              {Py_tp_methods, methods},
                              {Py_tp_members, members},
                              {Py_tp_descr_get, reinterpret_cast<void*>(descr_get)},
                              {0, nullptr}};
constexpr unsigned kFlags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_DISALLOW_INSTANTIATION;
PyType_Spec function_spec = {"tengen.op", sizeof(PyFunction), 0, kFlags, function_slots};
PyType_Spec method_spec = {"tengen.op_method", sizeof(PyFunction), 0, kFlags | Py_TPFLAGS_METHOD_DESCRIPTOR,
                           method_slots};

Object make(PyTypeObject* type, const Binding* b) {
  PyFunction* f = PyObject_New(PyFunction, type);
  if (!f) throw PythonError();
  f->call = vectorcall;
  f->binding = b;
  return Object::take(reinterpret_cast<PyObject*>(f));
}

// ---- ops by name, internal ones too
// ---------------------------------------------------------------------------------------------

// call(name, inputs, attrs=(), device=None) -> tuple of all outputs;  call_into(name, inputs, attrs, outs)
struct NamedCall {
  const Op& op;
  ArgList inputs;
  AttrList attrs;

  NamedCall(PyObject* const* args, Py_ssize_t n)
      : op(find(args[0])), inputs(size_t(PyTuple_GET_SIZE(expect_tuple(args[1], "inputs")))) {
    Device* device = nullptr;
    for (size_t i = 0; i < inputs.size(); ++i) {
      inputs.absent(i);
      PyObject* o = PyTuple_GET_ITEM(args[1], Py_ssize_t(i));
      if (!device && is_tensor(o)) device = impl_of(o)->storage->device();
      if (o != Py_None && !inputs.set(i, o, device))
        fail(PyExc_TypeError, op.name, ": expected tensors, numbers or None as inputs, got ", type_name(o));
    }
    if (n < 3) return;
    PyObject* values = expect_tuple(args[2], "attrs");
    const size_t count = size_t(PyTuple_GET_SIZE(values));
    if (count > op.attrs.size())
      fail(PyExc_TypeError, op.name, ": expected at most ", op.attrs.size(), " attributes, got ", count);
    attrs.reserve(count);
    for (size_t i = 0; i < count; ++i) push_attr(attrs, op.attrs[i], PyTuple_GET_ITEM(values, Py_ssize_t(i)));
  }

  static PyObject* expect_tuple(PyObject* o, const char* what) {
    if (!PyTuple_Check(o)) fail(PyExc_TypeError, "expected a tuple of ", what, ", got ", type_name(o));
    return o;
  }
  // Literals in Python code are interned: their address stands for the name.
  static const Op& find(PyObject* name) {
    static auto* known = new std::unordered_map<PyObject*, const Op*>;
    if (const auto it = known->find(name); it != known->end()) return *it->second;
    if (!PyUnicode_Check(name)) fail(PyExc_TypeError, "expected the name of an op, got ", type_name(name));
    const Op& op = require_op(text_of(name));
    if (PyUnicode_CHECK_INTERNED(name)) known->emplace(Py_NewRef(name), &op);
    return op;
  }
};

PyObject* call_by_name(PyObject*, PyObject* const* args, Py_ssize_t n) {
  return guarded([&]() -> PyObject* {
    if (n < 2 || n > 4) fail(PyExc_TypeError, "call() expected (name, inputs, attrs=(), device=None)");
    const NamedCall c(args, n);
    Device* device = n > 3 && args[3] != Py_None ? to_device(args[3])
                     : c.inputs.size() == 0      ? any_default_device()
                                                 : nullptr;
    Tensors out = run(c.op, c.inputs.span(), c.attrs.span(), device);
    Object result = Object::take(PyTuple_New(Py_ssize_t(out.size())));
    for (size_t i = 0; i < out.size(); ++i) PyTuple_SET_ITEM(result.get(), Py_ssize_t(i), wrap(std::move(out[i])));
    return result.release();
  });
}

PyObject* call_by_name_into(PyObject*, PyObject* const* args, Py_ssize_t n) {
  return guarded([&]() -> PyObject* {
    if (n != 4) fail(PyExc_TypeError, "call_into() expected (name, inputs, attrs, outs)");
    const NamedCall c(args, n);
    NamedCall::expect_tuple(args[3], "outs");
    Tensors outs;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(args[3]); ++i) {
      PyObject* o = PyTuple_GET_ITEM(args[3], i);
      if (o != Py_None && !is_tensor(o))
        fail(PyExc_TypeError, c.op.name, ": expected tensors to write into, got ", type_name(o));
      outs.push_back(o == Py_None ? Tensor() : tensor_of(o));
    }
    if (is_big(c.inputs.span())) {
      GilRelease release;
      call_into(c.op, c.inputs.span(), c.attrs.span(), outs);
    } else {
      call_into(c.op, c.inputs.span(), c.attrs.span(), outs);
    }
    Py_RETURN_NONE;
  });
}

// The meaning of an op, whatever kernels there are: for tests of kernels against it.
PyObject* call_decomposed(PyObject*, PyObject* const* args, Py_ssize_t n) {
  return guarded([&]() -> PyObject* {
    if (n != 3) fail(PyExc_TypeError, "_call_decomposed() expected (name, inputs, attrs)");
    const NamedCall c(args, n);
    Tensors out = tg::call_decomposed(c.op, c.inputs.span(), c.attrs.span());
    Object result = Object::take(PyTuple_New(Py_ssize_t(out.size())));
    for (size_t i = 0; i < out.size(); ++i) PyTuple_SET_ITEM(result.get(), Py_ssize_t(i), wrap(std::move(out[i])));
    return result.release();
  });
}

PyMethodDef named_functions[] = {
    {"_call_decomposed", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(call_decomposed)), METH_FASTCALL, nullptr},
    {"call", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(call_by_name)), METH_FASTCALL,
     "call(name, inputs, attrs=(), device=None)\n--\n\nCalls any op of the table, internal ones too; gives all its "
     "outputs."},
    {"call_into", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(call_by_name_into)), METH_FASTCALL,
     "call_into(name, inputs, attrs, outs)\n--\n\nCalls any op of the table, writing its outputs into tensors."},
    {},
};

// Bindings live as long as the process.
const Binding* make_binding(const Op& op, bool in_place) {
  auto* b = new Binding;
  b->op = &op;
  b->in_place = in_place;
  b->text = op.name + (in_place ? "_" : "");
  b->n_inputs = op.inputs.size();
  for (const InputSpec& i : op.inputs) b->params.push_back({intern(i.name.c_str()), i.name});
  for (const AttrSpec& a : op.attrs) b->params.push_back({intern(a.name.c_str()), a.name});
  ensure(b->params.size() <= kMaxParams, "op ", op.name, " has more parameters than the binder holds");
  b->plain = !in_place && b->n_inputs > 0 && !op.inputs.back().variadic;
  for (const AttrSpec& a : op.attrs) b->plain = b->plain && (a.default_value.given() || a.optional);
  b->gathers =
      op.attrs.size() == 1 && op.attrs[0].kind == AttrKind::ints && !(b->n_inputs && op.inputs.back().variadic);
  b->axis_first = op.family == "index" && b->n_inputs > 1 && !op.attrs.empty() && op.attrs[0].name == "axis";
  for (size_t i = 0; i < op.outputs.size(); ++i)
    if (!op.outputs[i].hidden) b->visible.push_back(i);
  b->plain = b->plain && b->visible.size() == 1;
  if (b->visible.size() > 1 && !in_place) {
    auto* fields = new std::vector<PyStructSequence_Field>;
    for (size_t i : b->visible) fields->push_back({op.outputs[i].name.c_str(), op.outputs[i].doc.c_str()});
    fields->push_back({nullptr, nullptr});
    auto* name = new std::string("tengen." + op.name + "_result");
    PyStructSequence_Desc desc{name->c_str(), nullptr, fields->data(), int(b->visible.size())};
    b->result_type = PyStructSequence_NewType(&desc);
    if (!b->result_type) throw PythonError();
  }
  return b;
}

}  // namespace

Object function_of(const Op& op) { return make(function_type, make_binding(op, false)); }

void add_functions(PyObject* module) {
  function_type = reinterpret_cast<PyTypeObject*>(Object::take(PyType_FromSpec(&function_spec)).release());
  method_type = reinterpret_cast<PyTypeObject*>(Object::take(PyType_FromSpec(&method_spec)).release());
  PyObject* tensor = reinterpret_cast<PyObject*>(tensor_type);
  const Object functions = Object::take(PyDict_New());
  for (const Op* op : op_table()) {
    if (op->internal) continue;
    const Binding* b = make_binding(*op, false);
    require(PyDict_SetItemString(functions.get(), op->name.c_str(), make(function_type, b).get()) == 0);
    if (!op->method || op->inputs.empty() || op->inputs[0].variadic) continue;
    auto add_method = [&](const std::string& name, const Binding* binding) {
      require(PyObject_SetAttrString(tensor, name.c_str(), make(method_type, binding).get()) == 0);
    };
    if (PyDict_GetItemString(tensor_type->tp_dict, op->name.c_str()) == nullptr) add_method(op->name, b);
    if (op->map && b->visible.size() == 1 && op->promotion != Promotion::compare &&
        PyDict_GetItemString(tensor_type->tp_dict, (op->name + "_").c_str()) == nullptr)
      add_method(op->name + "_", make_binding(*op, true));
  }
  require(PyModule_AddObjectRef(module, "ops", functions.get()) == 0);
  require(PyModule_AddFunctions(module, named_functions) == 0);
}

}  // namespace tg::py
