// SPDX-License-Identifier: Apache-2.0
// Ops written by users in Python, as ops of the table (tengen.library). Their parts are Python functions, called with the
// tensors and attributes in the order of the schema.
#include "function.h"
#include "transform/transform.h"

namespace tg::py {
namespace {

PyObject* attr_object(const Attr& a) {
  return std::visit(
      [](const auto& v) -> PyObject* {
        using T = std::decay_t<decltype(v)>;
        if constexpr (std::is_same_v<T, std::monostate>) return Py_NewRef(Py_None);
        else if constexpr (std::is_same_v<T, bool>) return PyBool_FromLong(v);
        else if constexpr (std::is_same_v<T, int64_t>) return PyLong_FromLongLong(v);
        else if constexpr (std::is_same_v<T, double>) return PyFloat_FromDouble(v);
        else if constexpr (std::is_same_v<T, std::string>) return text(v).release();
        else if constexpr (std::is_same_v<T, DType>) return Py_NewRef(dtype_object(v));
        else if constexpr (std::is_same_v<T, Ints>) return shape_tuple(v);
        else {
          Object t = Object::take(PyTuple_New(Py_ssize_t(v.size())));
          for (size_t i = 0; i < v.size(); ++i) PyTuple_SET_ITEM(t.get(), Py_ssize_t(i), PyFloat_FromDouble(v[i]));
          return t.release();
        }
      },
      a.value());
}

// The arguments of a call as a Python tuple: a variadic input is a list.
template <class At>
Object arguments(const Op& op, size_t n_inputs, std::span<const Attr> attrs, At&& tensor_at) {
  Object t = Object::take(PyTuple_New(Py_ssize_t(op.inputs.size() + attrs.size())));
  size_t slot = 0;
  for (; slot < op.inputs.size(); ++slot) {
    PyObject* item;
    if (op.inputs[slot].variadic) {
      item = PyList_New(0);
      for (size_t i = slot; i < n_inputs; ++i) {
        const Object one = Object::take(wrap(tensor_at(i)));
        PyList_Append(item, one.get());
      }
    } else {
      item = wrap(slot < n_inputs ? tensor_at(slot) : Tensor());
    }
    PyTuple_SET_ITEM(t.get(), Py_ssize_t(slot), item);
  }
  for (const Attr& a : attrs) PyTuple_SET_ITEM(t.get(), Py_ssize_t(slot++), attr_object(a));
  return t;
}

Object tuple_of(std::span<const Tensor> tensors) {
  Object t = Object::take(PyTuple_New(Py_ssize_t(tensors.size())));
  for (size_t i = 0; i < tensors.size(); ++i) PyTuple_SET_ITEM(t.get(), Py_ssize_t(i), wrap(Tensor(tensors[i])));
  return t;
}

Tensors results_of(const Op& op, const Object& result, const char* what, size_t expected, bool allow_none) {
  Tensors out;
  const Object items = Object::take(is_tensor(result.get()) || result.get() == Py_None ? PyTuple_Pack(1, result.get())
                                                                                        : PySequence_Tuple(result.get()));
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(items.get()); ++i) {
    PyObject* o = PyTuple_GET_ITEM(items.get(), i);
    if (!is_tensor(o) && !(allow_none && o == Py_None))
      fail(PyExc_TypeError, "[", op.name, "] expected ", what, " to return tensors, got ", type_name(o));
    out.push_back(is_tensor(o) ? tensor_of(o) : Tensor());
  }
  if (out.size() != expected) fail(PyExc_ValueError, "[", op.name, "] expected ", what, " to return ", expected, " tensors, got ", out.size());
  return out;
}

using Part = std::shared_ptr<SharedObject>;
Object call_part(const Part& f, const Object& args) { return Object::take(PyObject_CallObject(f->get(), args.get())); }

DecomposeFn decompose_with(Part f) {
  return [f](const Call& c) {
    GilAcquire gil;
    const Object given = arguments(c.op, c.inputs.size(), c.attrs, [&](size_t i) { return Tensor(c.inputs[i]); });
    return results_of(c.op, call_part(f, given), "the function", c.op.outputs.size(), false);
  };
}

// backward(arguments, outputs, gradients) -> one gradient per input.
GradFn grad_with(Part f) {
  return [f](const Backward& b) {
    GilAcquire gil;
    size_t n = 0;
    while (b.saved.kind(n) != Arg::absent || n < b.op.inputs.size()) ++n;
    if (!(b.op.inputs.size() && b.op.inputs.back().variadic)) n = b.op.inputs.size();
    const Object given = arguments(b.op, n, b.attrs, [&](size_t i) { return b.has(i) ? Tensor(b.input(i)) : Tensor(); });
    Tensors outputs;
    for (size_t i = 0; i < b.op.outputs.size(); ++i) outputs.push_back(b.output(i));
    const Object y = tuple_of(outputs), g = tuple_of(b.grads);
    const Object result = Object::take(PyObject_CallFunctionObjArgs(f->get(), given.get(), y.get(), g.get(), nullptr));
    return results_of(b.op, result, "backward", n, true);
  };
}

// fake(arguments as (shape, dtype)) -> (shape, dtype) of every output.
InferFn infer_with(Part f) {
  return [f](const Inference& c) {
    GilAcquire gil;
    Object specs = Object::take(PyList_New(0));
    for (const TensorSpec* s : c.inputs) {
      const Object shape = Object::take(s ? shape_tuple(concrete(s->shape)) : Py_NewRef(Py_None));
      const Object one = Object::take(s ? PyTuple_Pack(2, shape.get(), dtype_object(s->dtype)) : Py_NewRef(Py_None));
      PyList_Append(specs.get(), one.get());
    }
    Object attrs = Object::take(PyTuple_New(Py_ssize_t(c.attrs.size())));
    for (size_t i = 0; i < c.attrs.size(); ++i) PyTuple_SET_ITEM(attrs.get(), Py_ssize_t(i), attr_object(c.attrs[i]));
    const Object result = Object::take(PyObject_CallFunctionObjArgs(f->get(), specs.get(), attrs.get(), nullptr));
    Specs out;
    for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(result.get()); ++i) {
      PyObject* o = PySequence_Fast_GET_ITEM(result.get(), i);
      out.push_back({to_dtype(PyTuple_GET_ITEM(o, 1)), symbolic(to_ints(PyTuple_GET_ITEM(o, 0), "a shape"))});
    }
    return out;
  };
}

// vmap(size, batched, arguments) -> outputs with the axis in front.
BatchFn batch_with(Part f) {
  return [f](const Batch& b) {
    GilAcquire gil;
    Object batched = Object::take(PyTuple_New(Py_ssize_t(b.batched.size())));
    for (size_t i = 0; i < b.batched.size(); ++i) PyTuple_SET_ITEM(batched.get(), Py_ssize_t(i), PyBool_FromLong(b.batched[i]));
    const Object given = arguments(b.op, b.inputs.size(), b.attrs, [&](size_t i) { return b.has(i) ? Tensor(b.input(i)) : Tensor(); });
    const Object size = Object::take(PyLong_FromLongLong(b.size));
    const Object result = Object::take(PyObject_CallFunctionObjArgs(f->get(), size.get(), batched.get(), given.get(), nullptr));
    return results_of(b.op, result, "the vmap rule", b.op.outputs.size(), false);
  };
}
Attr default_of(PyObject* o, AttrKind kind) {
  switch (kind) {
    case AttrKind::boolean: return PyObject_IsTrue(o) > 0;
    case AttrKind::integer: return to_int(o, "a default");
    case AttrKind::floating: return PyFloat_AsDouble(o);
    case AttrKind::string: return std::string(text_of(o));
    case AttrKind::ints: return to_ints(o, "a default");
    case AttrKind::dtype: return to_dtype(o);
    default: break;
  }
  std::vector<double> v;
  const Object items = Object::take(PySequence_Tuple(o));
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(items.get()); ++i) v.push_back(PyFloat_AsDouble(PyTuple_GET_ITEM(items.get(), i)));
  return v;
}

// register_custom(name, doc, inputs [(name, kind)], attrs [(name, kind, default or ...)], n_outputs, function) -> callable.
PyObject* register_custom(PyObject*, PyObject* args) {
  return guarded([&]() -> PyObject* {
    const char *name, *doc;
    PyObject *inputs, *attrs, *function;
    int n_outputs;
    require(PyArg_ParseTuple(args, "ssO!O!iO", &name, &doc, &PyList_Type, &inputs, &PyList_Type, &attrs, &n_outputs, &function));
    auto op = std::make_unique<Op>();
    op->name = name;
    op->summary = doc;
    op->family = "custom";
    op->file = "custom";
    op->method = false;
    op->batch = batch_by_loop;
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(inputs); ++i) {
      const char *input, *kind;
      require(PyArg_ParseTuple(PyList_GET_ITEM(inputs, i), "ss", &input, &kind));
      op->inputs.push_back({input, "", std::string_view(kind) == "optional", std::string_view(kind) == "list"});
    }
    static const std::pair<const char*, AttrKind> kinds[] = {{"bool", AttrKind::boolean}, {"int", AttrKind::integer},
        {"float", AttrKind::floating}, {"str", AttrKind::string}, {"ints", AttrKind::ints}, {"floats", AttrKind::floats}, {"dtype", AttrKind::dtype}};
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(attrs); ++i) {
      const char *attr, *kind;
      PyObject* value;
      require(PyArg_ParseTuple(PyList_GET_ITEM(attrs, i), "ssO", &attr, &kind, &value));
      AttrSpec spec{attr, "", AttrKind::integer, {}};
      for (auto& [text, k] : kinds)
        if (std::string_view(kind) == text) spec.kind = k;
      if (value == Py_None) spec.optional = true;
      else if (value != Py_Ellipsis) spec.default_value = default_of(value, spec.kind);
      require(!PyErr_Occurred());
      op->attrs.push_back(std::move(spec));
    }
    for (int i = 0; i < n_outputs; ++i) op->outputs.push_back({n_outputs == 1 ? "y" : "y" + std::to_string(i), "a result"});
    op->decompose = decompose_with(std::make_shared<SharedObject>(function));
    return function_of(add_op(std::move(op))).release();
  });
}

// register_part(name, part, function): "grad", "infer", "batch" of a custom op, or "autocast" with the name of a rule.
PyObject* register_part(PyObject*, PyObject* args) {
  return guarded([&]() -> PyObject* {
    const char *name, *part;
    PyObject* function;
    require(PyArg_ParseTuple(args, "ssO", &name, &part, &function));
    Op& op = const_cast<Op&>(require_op(name));
    check(op.family == "custom", "[custom_op] expected a custom op, got ", name);
    const Part f = std::make_shared<SharedObject>(function);
    const std::string_view p = part;
    if (p == "grad") op.grad = grad_with(f), op.transposed = true;
    if (p == "infer") op.infer = infer_with(f);
    if (p == "batch") op.batch = batch_with(f);
    if (p == "autocast") {
      op.amp = Amp::none;
      for (const Amp amp : {Amp::low, Amp::f32, Amp::promote})
        if (text_of(function) == amp_name(amp)) op.amp = amp;
    }
    Py_RETURN_NONE;
  });
}

PyMethodDef functions[] = {
    {"_register_custom", register_custom, METH_VARARGS, nullptr}, {"_register_part", register_part, METH_VARARGS, nullptr}, {},
};

}  // namespace

void add_custom(PyObject* module) { require(PyModule_AddFunctions(module, functions) == 0); }

}  // namespace tg::py
