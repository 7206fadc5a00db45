// SPDX-License-Identifier: Apache-2.0
// Tensor's attributes and the methods that are not ops: what it is, conversions, gradients. Methods that stand for one
// op come from the op table (function.cc); convenience ones written in Python are in tengen/_methods.py.
#include <cstring>

#include "autograd/node.h"
#include "call.h"
#include "graph/recorder.h"
#include "runtime/exports.h"

namespace tg::py {
namespace {

// ---- attributes
// -------------------------------------------------------------------------------------------------------------

PyObject* get_shape(PyObject* self, void*) {
  return guarded([&] { return shape_tuple(impl_of(self)->shape); });
}
PyObject* get_ndim(PyObject* self, void*) { return PyLong_FromLong(impl_of(self)->desc.ndim); }
PyObject* get_dtype(PyObject* self, void*) { return Py_NewRef(dtype_object(impl_of(self)->dtype)); }
PyObject* get_device(PyObject* self, void*) {
  return guarded([&] { return device_object(impl_of(self)->storage->device()); });
}
PyObject* get_requires_grad(PyObject* self, void*) { return PyBool_FromLong(impl_of(self)->requires_grad); }
int set_requires_grad(PyObject* self, PyObject* value, void*) {
  return guarded_int([&] {
    if (!value) fail(PyExc_TypeError, "requires_grad cannot be deleted");
    const int on = PyObject_IsTrue(value);
    require(on >= 0);
    tensor_of(self).set_requires_grad(on);
  });
}
PyObject* get_is_leaf(PyObject* self, void*) {
  return guarded([&] { return PyBool_FromLong(tensor_of(self).is_leaf()); });
}
PyObject* get_grad(PyObject* self, void*) {
  const TensorImpl* impl = impl_of(self);
  if (!impl->autograd) Py_RETURN_NONE;
  return guarded([&] { return wrap(tensor_of(self).grad()); });
}
int set_grad(PyObject* self, PyObject* value, void*) {
  return guarded_int([&] {
    if (Capture* c = capturing()) [[unlikely]]
      if (auto* recorder = dynamic_cast<Recorder*>(c)) recorder->gradient_dropped(tensor_of(self));
    if (!value || value == Py_None) {
      if (impl_of(self)->autograd) tensor_of(self).set_grad(Tensor());
      return;
    }
    if (!is_tensor(value)) fail(PyExc_TypeError, "expected a Tensor or None for grad, got ", type_name(value));
    const TensorImpl *x = impl_of(self), *g = impl_of(value);
    if (!(x->shape == g->shape))
      fail(PyExc_ValueError, "expected a grad of the tensor's shape ", str(x->shape), ", got ", str(g->shape));
    if (x->storage->device() != g->storage->device())
      fail(PyExc_ValueError, "expected a grad on ", device_name(x->storage->device()), ", got one on ",
           device_name(g->storage->device()));
    tensor_of(self).set_grad(tensor_of(value));
  });
}
PyObject* get_grad_fn(PyObject* self, void*) {
  return guarded([&]() -> PyObject* {
    const std::string name = grad_fn_name(tensor_of(self));
    if (name.empty()) Py_RETURN_NONE;
    const Object module = Object::take(PyImport_ImportModule("tengen._grad_mode"));
    return PyObject_CallMethod(module.get(), "GradFn", "s", name.c_str());
  });
}
// The same storage without the graph, and a way to give a tensor another storage while all who hold it keep it.
PyObject* get_data(PyObject* self, void*) {
  return guarded([&] { return wrap(tensor_of(self).detach()); });
}
int set_data(PyObject* self, PyObject* value, void*) {
  return guarded_int([&] {
    if (!value || !is_tensor(value)) fail(PyExc_TypeError, "expected a Tensor for data");
    TensorImpl *to = impl_of(self), *from = impl_of(value);
    if (!tensor_of(self).is_leaf()) fail(PyExc_RuntimeError, "data of the result of a recorded op cannot be replaced");
    if (to->requires_grad && !is_floating(from->dtype))
      fail(PyExc_TypeError, "expected floating-point data for a tensor that requires grad, got ",
           long_name_of(from->dtype));
    to->storage = from->storage;
    to->dtype = from->dtype;
    to->shape = from->shape;
    to->strides = from->strides;
    to->desc = from->desc;
    to->desc.shape = to->shape.data();
    to->desc.strides = to->strides.data();
  });
}
PyObject* get_version(PyObject* self, void*) { return PyLong_FromUnsignedLong(impl_of(self)->storage->version()); }
PyObject* get_itemsize(PyObject* self, void*) { return PyLong_FromUnsignedLongLong(bytes_of(impl_of(self)->dtype, 1)); }
PyObject* get_nbytes(PyObject* self, void*) { return PyLong_FromUnsignedLongLong(tensor_of(self).nbytes()); }

// int4 as int8, uint4 as uint8: one element a byte.
Tensor unpacked(const Tensor& x) { return x.detach().cast(x.dtype() == DType::i4 ? DType::i8 : DType::u8); }

Tensor permuted(const Tensor& x, const Ints& order) { return op<"permute">({x}, {order}); }
Tensor swapped(const Tensor& x, int64_t a, int64_t b) {
  Ints order;
  for (int64_t i = 0; i < x.rank(); ++i) order.push_back(i == a ? b : i == b ? a : i);
  return permuted(x, order);
}
PyObject* get_T(PyObject* self, void*) {
  return guarded([&] {
    const Tensor x = tensor_of(self);
    Ints order;
    for (int64_t i = x.rank() - 1; i >= 0; --i) order.push_back(i);
    return wrap(permuted(x, order));
  });
}
PyObject* get_real(PyObject* self, void*) {
  return guarded([&] { return wrap(op<"real">({tensor_of(self)})); });
}
PyObject* get_imag(PyObject* self, void*) {
  return guarded([&] { return wrap(op<"imag">({tensor_of(self)})); });
}
template <bool imag>
int set_part(PyObject* self, PyObject* value, void*) {
  return guarded_int([&] {
    if (!value) fail(PyExc_TypeError, "a tensor's parts cannot be deleted");
    const Object part = Object::take(imag ? get_imag(self, nullptr) : get_real(self, nullptr));
    require(PyObject_SetItem(part.get(), Py_Ellipsis, value) == 0);
  });
}
PyObject* get_mT(PyObject* self, void*) {
  return guarded([&] {
    const Tensor x = tensor_of(self);
    if (x.rank() < 2) fail(PyExc_ValueError, "mT expected a tensor of at least 2 axes, got shape ", str(x.shape()));
    return wrap(swapped(x, x.rank() - 2, x.rank() - 1));
  });
}
PyObject* get_mH(PyObject* self, void*) {
  return guarded([&] {
    const Tensor x = tensor_of(self);
    if (x.rank() < 2) fail(PyExc_ValueError, "mH expected a tensor of at least 2 axes, got shape ", str(x.shape()));
    const Tensor y = swapped(x, x.rank() - 2, x.rank() - 1);
    return wrap(tg::is_complex(y.dtype()) ? op<"conj">({y}) : Tensor(y));
  });
}
PyObject* get_H(PyObject* self, void*) {
  return guarded([&]() -> PyObject* {
    const Tensor x = tensor_of(self);
    if (x.rank() > 2) fail(PyExc_ValueError, "H expected a tensor of at most 2 axes, got shape ", str(x.shape()), "; use .mH");
    if (x.rank() == 2) return get_mH(self, nullptr);
    return wrap(tg::is_complex(x.dtype()) ? op<"conj">({x}) : Tensor(x));
  });
}

// ---- plain methods
// ------------------------------------------------------------------------------------------------------------

// The value of keyword `name` among fastcall keywords, or NULL.
PyObject* keyword(PyObject* const* args, Py_ssize_t n, PyObject* kwnames, const char* name) {
  if (!kwnames) return nullptr;
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(kwnames); ++i)
    if (text_of(PyTuple_GET_ITEM(kwnames, i)) == name) return args[n + i];
  return nullptr;
}
void only_keywords(const char* function, PyObject* kwnames, std::initializer_list<const char*> known) {
  if (!kwnames) return;
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(kwnames); ++i) {
    const std::string_view word = text_of(PyTuple_GET_ITEM(kwnames, i));
    bool found = false;
    std::vector<std::string> all;
    for (const char* k : known) {
      found = found || word == k;
      all.push_back(k);
    }
    if (found) continue;
    const std::string near = nearest_name(word, all);
    fail(PyExc_TypeError, function, "() got an unexpected keyword argument '", word, "'",
         near.empty() ? "" : "; did you mean '" + near + "'?");
  }
}

#define METHOD(name) PyObject* name(PyObject* self, PyObject*)
#define FASTCALL(name)                                                                    \
  PyObject* name([[maybe_unused]] PyObject* self, [[maybe_unused]] PyObject* const* args, \
                 [[maybe_unused]] Py_ssize_t n, [[maybe_unused]] PyObject* kwnames)

FASTCALL(size) {
  return guarded([&]() -> PyObject* {
    only_keywords("size", kwnames, {"dim", "axis"});
    PyObject* axis = n ? args[0] : keyword(args, n, kwnames, "dim");
    if (!axis) axis = keyword(args, n, kwnames, "axis");
    const TensorImpl* impl = impl_of(self);
    if (!axis) return shape_tuple(impl->shape);
    return PyLong_FromLongLong(impl->shape[size_t(normalize_axis("size", to_int(axis, "axis"), impl->desc.ndim))]);
  });
}
FASTCALL(stride) {
  return guarded([&]() -> PyObject* {
    const TensorImpl* impl = impl_of(self);
    if (n == 0) return shape_tuple(impl->strides);
    return PyLong_FromLongLong(
        impl->strides[size_t(normalize_axis("stride", to_int(args[0], "axis"), impl->desc.ndim))]);
  });
}
METHOD(numel) { return PyLong_FromLongLong(tensor_of(self).numel()); }
METHOD(dim) { return PyLong_FromLong(impl_of(self)->desc.ndim); }
METHOD(element_size) { return PyLong_FromUnsignedLongLong(bytes_of(impl_of(self)->dtype, 1)); }
METHOD(data_ptr) {
  return guarded([&] {
    const TensorImpl* impl = impl_of(self);
    remat::expose(impl);  // whoever has the address may write
    remat::conceal(impl->storage.get());
    return PyLong_FromVoidPtr(static_cast<char*>(impl->storage->data()) + impl->desc.byte_offset);
  });
}
METHOD(storage_offset) {
  const TensorImpl* impl = impl_of(self);
  return PyLong_FromUnsignedLongLong(impl->desc.byte_offset * 2 / bytes_of(impl->dtype, 2));
}
METHOD(is_floating_point) {
  return PyBool_FromLong(is_floating(impl_of(self)->dtype) || is_small_float(impl_of(self)->dtype));
}
METHOD(is_complex) { return PyBool_FromLong(tg::is_complex(impl_of(self)->dtype)); }
FASTCALL(is_contiguous) {
  return guarded([&]() -> PyObject* {
    only_keywords("is_contiguous", kwnames, {"memory_format"});
    const Tensor x = tensor_of(self);
    PyObject* format = keyword(args, n, kwnames, "memory_format");
    if (format && format != Py_None && text_of(Object::take(PyObject_Str(format)).get()) == "channels_last" &&
        x.rank() > 2) {
      int64_t expect = x.shape()[1];
      bool ok = x.strides()[1] == 1;
      for (int64_t i = x.rank() - 1; i >= 2; --i) {
        ok &= x.strides()[size_t(i)] == expect || x.shape()[size_t(i)] == 1;
        expect *= x.shape()[size_t(i)];
      }
      return PyBool_FromLong(ok);
    }
    return PyBool_FromLong(x.is_contiguous());
  });
}

METHOD(detach) {
  return guarded([&] { return wrap(tensor_of(self).detach()); });
}
METHOD(detach_) {
  return guarded([&]() -> PyObject* {
    TensorImpl* impl = impl_of(self);
    impl->requires_grad = false;
    impl->autograd.reset();
    return Py_NewRef(self);
  });
}
FASTCALL(requires_grad_) {
  return guarded([&]() -> PyObject* {
    only_keywords("requires_grad_", kwnames, {"requires_grad"});
    PyObject* on = n ? args[0] : keyword(args, n, kwnames, "requires_grad");
    const int truth = on ? PyObject_IsTrue(on) : 1;
    require(truth >= 0);
    tensor_of(self).set_requires_grad(truth);
    return Py_NewRef(self);
  });
}

template <class F>
Tensor maybe_released(const Tensor& x, F&& f) {
  if (is_host(x.device()) && x.numel() < 32 * 1024) return f();
  GilRelease release;
  return f();
}

METHOD(clone) {
  return guarded([&] {
    const Tensor x = tensor_of(self);
    return wrap(maybe_released(x, [&] { return op<"copy">({x}); }));
  });
}
FASTCALL(contiguous) {
  return guarded([&]() -> PyObject* {
    only_keywords("contiguous", kwnames, {"memory_format"});
    const Tensor x = tensor_of(self);
    PyObject* format = keyword(args, n, kwnames, "memory_format");
    if (format && format != Py_None && text_of(Object::take(PyObject_Str(format)).get()) == "channels_last") {
      const Object module = Object::take(PyImport_ImportModule("tengen._methods"));
      return PyObject_CallMethod(module.get(), "_channels_last", "O", self);
    }
    return wrap(maybe_released(x, [&] { return x.contiguous(); }));
  });
}

PyObject* cast_to(PyObject* self, DType t) {
  return guarded([&] {
    const Tensor x = tensor_of(self);
    return wrap(maybe_released(x, [&] { return x.cast(t); }));
  });
}
template <DType t>
METHOD(cast) {
  return cast_to(self, t);
}
METHOD(cpu) {
  return guarded([&] {
    const Tensor x = tensor_of(self);
    return wrap(maybe_released(x, [&] { return x.to(host_device()); }));
  });
}
PyObject* type_as(PyObject* self, PyObject* other) {
  if (!is_tensor(other)) {
    PyErr_Format(PyExc_TypeError, "type_as() expected a Tensor, got %s", type_name(other));
    return nullptr;
  }
  return cast_to(self, impl_of(other)->dtype);
}

// to(dtype | device | tensor, ..., dtype=, device=, copy=False, memory_format=)
FASTCALL(to) {
  return guarded([&]() -> PyObject* {
    only_keywords("to", kwnames, {"dtype", "device", "copy", "memory_format", "non_blocking", "other"});
    Tensor x = tensor_of(self);
    bool cast = false;
    DType t{};
    Device* device = nullptr;
    auto take = [&](PyObject* o) {
      if (to_dtype_exact(o, &t)) {
        cast = true;
      } else if (is_tensor(o)) {
        t = impl_of(o)->dtype;
        cast = true;
        device = impl_of(o)->storage->device();
      } else if (PyUnicode_Check(o)) {
        const std::string_view word = text_of(o);
        for (int i = 0; i < kDTypeCount; ++i)
          if (word == name_of(DType(i)) || word == long_name_of(DType(i))) {
            t = DType(i);
            cast = true;
            return;
          }
        device = to_device(o);
      } else if (PyType_Check(o) || PyObject_HasAttrString(o, "itemsize")) {
        t = to_dtype(o);
        cast = true;
      } else if (o != Py_None) {
        device = to_device(o);
      }
    };
    for (Py_ssize_t i = 0; i < n; ++i)
      if (!PyBool_Check(args[i])) take(args[i]);
    if (PyObject* o = keyword(args, n, kwnames, "other")) take(o);
    if (PyObject* o = keyword(args, n, kwnames, "dtype"); o && o != Py_None) {
      t = to_dtype(o);
      cast = true;
    }
    if (PyObject* o = keyword(args, n, kwnames, "device"); o && o != Py_None) device = to_device(o);
    const Tensor before = x;
    x = maybe_released(x, [&] {
      Tensor y = x;
      // The smaller of the two dtypes travels.
      if (cast && bytes_of(t, 2) <= bytes_of(y.dtype(), 2)) y = y.cast(t);
      if (device) y = y.to(device);
      if (cast) y = y.cast(t);
      return y;
    });
    PyObject* copy = keyword(args, n, kwnames, "copy");
    if (copy && PyObject_IsTrue(copy) > 0 && same(x, before)) x = op<"copy">({x});
    PyObject* format = keyword(args, n, kwnames, "memory_format");
    const Object result = Object::take(wrap(std::move(x)));
    if (format && format != Py_None && text_of(Object::take(PyObject_Str(format)).get()) == "channels_last") {
      const Object module = Object::take(PyImport_ImportModule("tengen._methods"));
      return PyObject_CallMethod(module.get(), "_channels_last", "O", result.get());
    }
    return Py_NewRef(result.get());
  });
}

FASTCALL(view) {
  return guarded([&]() -> PyObject* {
    only_keywords("view", kwnames, {"shape", "size"});
    PyObject* shape = keyword(args, n, kwnames, "shape");
    if (!shape) shape = keyword(args, n, kwnames, "size");
    if (!shape && n == 1) shape = args[0];
    Ints sizes;
    if (shape)
      sizes = to_ints(shape, "shape");
    else
      for (Py_ssize_t i = 0; i < n; ++i) sizes.push_back(to_int(args[i], "shape"));
    const Tensor x = tensor_of(self);
    Tensor y = op<"reshape">({x}, {sizes});
    if (!(y.storage() == x.storage()))
      fail(PyExc_ValueError, "view() expected a shape that needs no copy, got ", str(sizes), " for shape ",
           str(x.shape()), " with strides ", str(x.strides()), "; use .reshape()");
    return wrap(std::move(y));
  });
}

// ---- values
// ---------------------------------------------------------------------------------------------------------------------

FASTCALL(item) {
  return guarded([&]() -> PyObject* {
    only_keywords("item", kwnames, {});
    Tensor x = tensor_of(self);
    if (n) {
      const Object part = Object::take(get_item(self, args[0]));
      return PyObject_CallMethod(part.get(), "item", nullptr);
    }
    if (x.numel() != 1) fail(PyExc_ValueError, "item() expected a tensor of one element, got shape ", str(x.shape()));
    alignas(16) char bits[16] = {};
    if (is_packed(x.dtype())) x = unpacked(x);
    if (is_host(x.device())) {
      x.to_host(bits);
    } else {
      GilRelease release;
      x.to_host(bits);
    }
    return element(bits, x.dtype());
  });
}

PyObject* nested_list(const char*& at, std::span<const int64_t> shape, DType t) {
  if (shape.empty()) {
    PyObject* v = element(at, t);
    if (!v) throw PythonError();
    at += size_of(t);
    return v;
  }
  Object list = Object::take(PyList_New(Py_ssize_t(shape[0])));
  for (int64_t i = 0; i < shape[0]; ++i)
    PyList_SET_ITEM(list.get(), Py_ssize_t(i), nested_list(at, shape.subspan(1), t));
  return list.release();
}
METHOD(tolist) {
  return guarded([&] {
    Tensor x = tensor_of(self);
    if (is_packed(x.dtype())) x = unpacked(x);
    const Object bytes = host_copy(x);
    const char* at = PyBytes_AS_STRING(bytes.get());
    return nested_list(at, x.shape(), x.dtype());
  });
}
METHOD(to_bytes) {
  return guarded([&] { return host_copy(tensor_of(self)).release(); });
}

Object numpy_array(PyObject* self) {
  static PyObject* const asarray = [] {
    const Object numpy = Object::take(PyImport_ImportModule("numpy"));
    return Object::take(PyObject_GetAttrString(numpy.get(), "asarray")).release();
  }();
  const TensorImpl* impl = impl_of(self);
  if (is_packed(impl->dtype)) {
    const Object wide = Object::take(wrap(unpacked(tensor_of(self))));
    return numpy_array(wide.get());
  }
  if (impl->dtype != DType::bf16 && !is_small_float(impl->dtype)) {
    const Object view = Object::take(PyMemoryView_FromObject(self));
    return Object::take(PyObject_CallOneArg(asarray, view.get()));
  }
  const Object dtype =
      Object::take(PyObject_GetAttrString(dtype_object(impl->dtype), "numpy"));  // TypeError with advice
  const Object view = Object::take(PyMemoryView_FromObject(self));
  const Object bits = Object::take(PyObject_CallOneArg(asarray, view.get()));
  return Object::take(PyObject_CallMethod(bits.get(), "view", "O", dtype.get()));
}

FASTCALL(numpy) {
  return guarded([&]() -> PyObject* {
    only_keywords("numpy", kwnames, {"force"});
    PyObject* force = n ? args[0] : keyword(args, n, kwnames, "force");
    const bool forced = force && PyObject_IsTrue(force) > 0;
    const TensorImpl* impl = impl_of(self);
    if (impl->requires_grad && !forced)
      fail(PyExc_RuntimeError, "numpy() expected a tensor that does not require grad; use .detach().numpy()");
    if (impl->desc.device.type != TG_DEVICE_HOST && !forced)
      fail(PyExc_TypeError, "numpy() expected a tensor in host memory, got one on ",
           device_name(impl->storage->device()), "; use .cpu().numpy()");
    if (!forced) return numpy_array(self).release();
    const Tensor x = tensor_of(self).detach();
    const Object host = Object::take(wrap(maybe_released(x, [&] { return x.to(host_device()); })));
    return numpy_array(host.get()).release();
  });
}

// np.asarray(tensor, dtype): as numpy(), but a device tensor is copied to the host.
FASTCALL(array) {
  return guarded([&]() -> PyObject* {
    only_keywords("__array__", kwnames, {"dtype", "copy"});
    if (impl_of(self)->requires_grad)
      fail(PyExc_RuntimeError, "a tensor that requires grad does not convert to a NumPy array; use .detach()");
    PyObject* dtype = n ? args[0] : keyword(args, n, kwnames, "dtype");
    PyObject* copy = keyword(args, n, kwnames, "copy");
    const Tensor x = tensor_of(self);
    const bool on_host = is_host(x.device());
    if (copy == Py_False && (!on_host || is_packed(x.dtype())))
      fail(PyExc_ValueError, "a tensor of ", long_name_of(x.dtype()), " on ", device_name(x.device()), " cannot become an array without a copy");
    Object source = Object::borrow(self);
    if (!on_host) source = Object::take(wrap(maybe_released(x, [&] { return x.to(host_device()); })));
    Object result = numpy_array(source.get());
    if (dtype && dtype != Py_None) {
      const Object module = Object::take(PyImport_ImportModule("numpy"));
      result = Object::take(PyObject_CallMethod(module.get(), "asarray", "OO", result.get(), dtype));
    }
    if (copy == Py_True) result = Object::take(PyObject_CallMethod(result.get(), "copy", nullptr));
    return result.release();
  });
}

FASTCALL(format) {
  return guarded([&]() -> PyObject* {
    const std::string_view spec = n ? text_of(args[0]) : std::string_view();
    if (spec.empty()) return PyObject_Str(self);
    if (tensor_of(self).numel() != 1)
      fail(PyExc_TypeError, "a format such as \"", spec, "\" needs a tensor of one element, got shape ",
           str(impl_of(self)->shape));
    const Object value = Object::take(PyObject_CallMethod(self, "item", nullptr));
    return PyObject_Format(value.get(), args[0]);
  });
}

// ---- gradients
// --------------------------------------------------------------------------------------------------------------------

FASTCALL(backward) {
  return guarded([&]() -> PyObject* {
    only_keywords("backward", kwnames, {"gradient", "retain_graph", "create_graph"});
    if (n > 3) fail(PyExc_TypeError, "backward() takes at most 3 arguments, got ", n);
    auto get = [&](Py_ssize_t i, const char* name) {
      PyObject* o = n > i ? args[i] : keyword(args, n, kwnames, name);
      return o == Py_None ? nullptr : o;
    };
    PyObject* gradient = get(0, "gradient");
    PyObject* retain = get(1, "retain_graph");
    PyObject* create = get(2, "create_graph");
    const bool create_graph = create && PyObject_IsTrue(create) > 0;
    const bool keep = retain ? PyObject_IsTrue(retain) > 0 : create_graph;
    const Tensor x = tensor_of(self);
    Tensor g;
    if (gradient) {
      if (!is_tensor(gradient)) fail(PyExc_TypeError, "expected a Tensor for gradient, got ", type_name(gradient));
      g = tensor_of(gradient);
    }
    {
      GilRelease release;
      tg::backward({&x, 1}, g.defined() ? std::span<const Tensor>(&g, 1) : std::span<const Tensor>(), keep,
                   create_graph);
    }
    Py_RETURN_NONE;
  });
}

// ---- in place
// ------------------------------------------------------------------------------------------------------------------------

PyObject* assign_all(PyObject* self, PyObject* value) {
  return guarded([&]() -> PyObject* {
    set_item(self, Py_Ellipsis, value);
    return Py_NewRef(self);
  });
}
METHOD(zero_) {
  const Object zero = Object::take(PyLong_FromLong(0));
  return assign_all(self, zero.get());
}

// A new object of a subclass that shares the storage.
FASTCALL(make_subclass) {
  return guarded([&]() -> PyObject* {
    if (n < 2 || !PyType_Check(args[0]) || !is_tensor(args[1]))
      fail(PyExc_TypeError, "_make_subclass() expected (class, tensor, requires_grad=False)");
    PyTypeObject* type = reinterpret_cast<PyTypeObject*>(args[0]);
    if (!PyType_IsSubtype(type, tensor_type)) fail(PyExc_TypeError, "expected a subclass of Tensor");
    Tensor t = tensor_of(args[1]).detach();
    PyObject* on = n > 2 ? args[2] : keyword(args, n, kwnames, "requires_grad");
    if (on && PyObject_IsTrue(on) > 0) t.set_requires_grad(true);
    return wrap_as(type, std::move(t));
  });
}

}  // namespace

#define FAST(name, function, doc) \
  { name, reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(function)), METH_FASTCALL | METH_KEYWORDS, doc }
PyMethodDef tensor_methods[] = {
    FAST("size", size, "size(axis=None)\n--\n\nThe shape, or the size of one axis."),
    FAST("stride", stride, "stride(axis=None)\n--\n\nThe strides in elements, or one of them."),
    {"numel", numel, METH_NOARGS, "numel()\n--\n\nThe number of elements."},
    {"dim", dim, METH_NOARGS, "dim()\n--\n\nThe number of axes."},
    {"element_size", element_size, METH_NOARGS, "element_size()\n--\n\nBytes of one element."},
    {"data_ptr", data_ptr, METH_NOARGS, "data_ptr()\n--\n\nAddress of the first element, as an integer."},
    {"storage_offset", storage_offset, METH_NOARGS,
     "storage_offset()\n--\n\nWhere in the storage it begins, in elements."},
    {"is_complex", is_complex, METH_NOARGS, "is_complex()\n--\n\nWhether the dtype is complex."},
    {"is_floating_point", is_floating_point, METH_NOARGS, "is_floating_point()\n--\n\nWhether the dtype is a float."},
    FAST("is_contiguous", is_contiguous,
         "is_contiguous(memory_format=None)\n--\n\nWhether elements lie row-major without gaps."),
    {"detach", detach, METH_NOARGS, "detach()\n--\n\nThe same storage without the autograd graph."},
    {"detach_", detach_, METH_NOARGS, "detach_()\n--\n\nTakes the tensor itself out of the autograd graph."},
    FAST("requires_grad_", requires_grad_,
         "requires_grad_(requires_grad=True)\n--\n\nAsks for gradients; returns the tensor."),
    {"clone", clone, METH_NOARGS, "clone()\n--\n\nA copy; differentiable."},
    FAST("contiguous", contiguous, "contiguous(memory_format=None)\n--\n\nItself, or a row-major copy."),
    {"float", cast<DType::f32>, METH_NOARGS, "float()\n--\n\nAs float32."},
    {"double", cast<DType::f64>, METH_NOARGS, "double()\n--\n\nAs float64."},
    {"half", cast<DType::f16>, METH_NOARGS, "half()\n--\n\nAs float16."},
    {"bfloat16", cast<DType::bf16>, METH_NOARGS, "bfloat16()\n--\n\nAs bfloat16."},
    {"long", cast<DType::i64>, METH_NOARGS, "long()\n--\n\nAs int64."},
    {"int", cast<DType::i32>, METH_NOARGS, "int()\n--\n\nAs int32."},
    {"short", cast<DType::i16>, METH_NOARGS, "short()\n--\n\nAs int16."},
    {"byte", cast<DType::u8>, METH_NOARGS, "byte()\n--\n\nAs uint8."},
    {"bool", cast<DType::boolean>, METH_NOARGS, "bool()\n--\n\nAs bool: whether elements differ from 0."},
    {"cpu", cpu, METH_NOARGS, "cpu()\n--\n\nIn host memory: itself, or a copy."},
    {"type_as", type_as, METH_O, "type_as(other)\n--\n\nWith the dtype of another tensor."},
    FAST("to", to,
         "to(*args, dtype=None, device=None, copy=False, memory_format=None)\n--\n\n"
         "With another dtype and on another device; itself when nothing changes and copy is False."),
    FAST("view", view, "view(*shape)\n--\n\nAnother shape of the same memory; ValueError when that needs a copy."),
    FAST("item", item, "item(*index)\n--\n\nThe one element as a Python number."),
    {"tolist", tolist, METH_NOARGS, "tolist()\n--\n\nNested lists of Python numbers."},
    {"_to_bytes", to_bytes, METH_NOARGS, "The elements in row-major order, as bytes."},
    FAST("numpy", numpy,
         "numpy(force=False)\n--\n\n"
         "A NumPy array that shares the memory. force=True detaches and copies from the device first."),
    FAST("__array__", array, nullptr),
    FAST("__format__", format, nullptr),
    FAST("backward", backward,
         "backward(gradient=None, retain_graph=None, create_graph=False)\n--\n\n"
         "Adds the gradients of this tensor to the .grad of the leaves it depends on."),
    {"_register_hook", add_hook, METH_O, nullptr},
    {"_remove_hook", remove_hook_by_id, METH_O, nullptr},
    {"copy_", assign_all, METH_O,
     "copy_(value)\n--\n\nOverwrites the elements with those of a tensor, array or number."},
    {"fill_", assign_all, METH_O, "fill_(value)\n--\n\nOverwrites all elements with a number."},
    {"zero_", zero_, METH_NOARGS, "zero_()\n--\n\nOverwrites all elements with 0."},
    {"_make_subclass", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(make_subclass)),
     METH_FASTCALL | METH_KEYWORDS | METH_STATIC, nullptr},
    {},
};

PyGetSetDef tensor_getset[] = {
    {"shape", get_shape, nullptr, "The sizes of the axes, a tuple.", nullptr},
    {"ndim", get_ndim, nullptr, "The number of axes.", nullptr},
    {"dtype", get_dtype, nullptr, "The element type.", nullptr},
    {"device", get_device, nullptr, "Where the elements are.", nullptr},
    {"requires_grad", get_requires_grad, set_requires_grad, "Whether gradients are computed for it.", nullptr},
    {"is_leaf", get_is_leaf, nullptr, "Whether it was made by the user and not by a recorded op.", nullptr},
    {"grad", get_grad, set_grad, "The gradient that backward() left, or None.", nullptr},
    {"grad_fn", get_grad_fn, nullptr, "What recorded the tensor, or None.", nullptr},
    {"data", get_data, set_data, "The same storage without the graph; assigning gives the tensor another storage.",
     nullptr},
    {"_version", get_version, nullptr, "How often the storage has been written.", nullptr},
    {"itemsize", get_itemsize, nullptr, "Bytes of one element.", nullptr},
    {"nbytes", get_nbytes, nullptr, "Bytes of all elements.", nullptr},
    {"real", get_real, set_part<false>, "The real part; a view.", nullptr},
    {"imag", get_imag, set_part<true>, "The imaginary part of a complex tensor; a view.", nullptr},
    {"T", get_T, nullptr, "The axes in reverse order; a view.", nullptr},
    {"mT", get_mT, nullptr, "The last two axes exchanged; a view.", nullptr},
    {"mH", get_mH, nullptr, "The last two axes exchanged, and conjugate where complex.", nullptr},
    {"H", get_H, nullptr, "A matrix's mH; fewer axes: itself, conjugate.", nullptr},
    {},
};

}  // namespace tg::py
