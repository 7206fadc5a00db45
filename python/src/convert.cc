// SPDX-License-Identifier: Apache-2.0
// Python data to tensors and back: numbers, nested lists, NumPy arrays (through the buffer protocol, so that the
// extension does not depend on a NumPy version).
#include <cmath>
#include <cstring>
#include <optional>

#include "autograd/node.h"
#include "call.h"
#include "runtime/exports.h"

namespace tg::py {

// ---- numbers
// --------------------------------------------------------------------------------------------------------------

namespace {
// A Python integer beyond int64.
Scalar large_integer(PyObject* o, int sign) {
  if (sign > 0) {
    const unsigned long long u = PyLong_AsUnsignedLongLong(o);
    if (u != ~0ull || !PyErr_Occurred()) return Scalar::unsigned_integer(u);
    PyErr_Clear();
  }
  double d = PyLong_AsDouble(o);
  if (d == -1 && PyErr_Occurred()) {
    PyErr_Clear();
    d = sign * HUGE_VAL;
  }
  return Scalar::huge_integer(d);
}
}  // namespace

bool to_scalar(PyObject* o, Scalar* out) {
  if (PyFloat_CheckExact(o)) {
    *out = Scalar(PyFloat_AS_DOUBLE(o));
  } else if (PyBool_Check(o)) {
    *out = Scalar(o == Py_True);
  } else if (PyLong_Check(o)) {
    int beyond = 0;
    const long long v = PyLong_AsLongLongAndOverflow(o, &beyond);
    require(v != -1 || !PyErr_Occurred());
    *out = beyond ? large_integer(o, beyond) : Scalar(int64_t(v));
  } else if (PyFloat_Check(o)) {  // numpy.float64 among others
    *out = Scalar(PyFloat_AS_DOUBLE(o));
  } else if (PyComplex_Check(o)) {
    *out = Scalar::of_complex(PyComplex_RealAsDouble(o), PyComplex_ImagAsDouble(o));
  } else {
    return false;
  }
  return true;
}

Attr to_number(PyObject* o, const Scalar& s, const char* what) {
  if (s.kind == Scalar::complex) fail(PyExc_TypeError, "expected a real number for ", what, ", got ", type_name(o));
  if (s.range != Scalar::word) fail(PyExc_OverflowError, "expected a float, or an integer of 64 bits with its sign, for ", what);
  return s.kind == Scalar::floating ? Attr(s.f) : Attr(s.i);
}

Tensor filled(const Scalar& s, DType t, Device* device) {
  if (s.kind == Scalar::complex && !is_complex(t))
    fail(PyExc_TypeError, "expected a real number for a tensor of ", long_name_of(t), ", got a complex one");
  return scalar_tensor(s, t, device);
}

int64_t to_int(PyObject* o, const char* what) {
  if (PyLong_CheckExact(o)) [[likely]] {
    const long long v = PyLong_AsLongLong(o);
    require(v != -1 || !PyErr_Occurred());
    return v;
  }
  if (!PyIndex_Check(o) || PyFloat_Check(o))
    fail(PyExc_TypeError, "expected an integer for ", what, ", got ", type_name(o));
  const Object i = Object::take(PyNumber_Index(o));
  const long long v = PyLong_AsLongLong(i.get());
  require(v != -1 || !PyErr_Occurred());
  return v;
}

Ints to_ints(PyObject* o, const char* what) {
  if (PyLong_Check(o)) return Ints{to_int(o, what)};
  if (PyTuple_Check(o) || PyList_Check(o)) {
    Ints v;
    for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(o); ++i)
      v.push_back(to_int(PySequence_Fast_GET_ITEM(o, i), what));
    return v;
  }
  if (PyIndex_Check(o) && !PySequence_Check(o)) return Ints{to_int(o, what)};
  if (PyUnicode_Check(o) || (!PySequence_Check(o) && !PyIter_Check(o) && !PyObject_HasAttrString(o, "__iter__")))
    fail(PyExc_TypeError, "expected an integer or a sequence of integers for ", what, ", got ", type_name(o));
  const Object list = Object::take(PySequence_List(o));
  return to_ints(list.get(), what);
}

bool is_array(PyObject* o) {
  if (PyUnicode_Check(o) || PyList_Check(o) || PyTuple_Check(o) || o == Py_None) return false;
  static PyObject* const name = intern("__array__");
  return PyObject_HasAttr(reinterpret_cast<PyObject*>(Py_TYPE(o)), name);
}

bool ArgList::set(size_t i, PyObject* o, Device* device) {
  Scalar s;
  if (is_tensor(o)) {
    borrow(i, impl_of(o));
  } else if (to_scalar(o, &s)) {
    scalar(i, s);
  } else if (is_array(o)) {
    own(i, from_array(o, device, true, nullptr));
  } else {
    return false;
  }
  return true;
}

PyObject* shape_tuple(std::span<const int64_t> v) {
  PyObject* t = PyTuple_New(Py_ssize_t(v.size()));
  if (!t) throw PythonError();
  for (size_t i = 0; i < v.size(); ++i) {
    PyObject* n = PyLong_FromLongLong(v[i]);
    if (!n) {
      Py_DECREF(t);
      throw PythonError();
    }
    PyTuple_SET_ITEM(t, Py_ssize_t(i), n);
  }
  return t;
}

PyObject* element(const char* at, DType t) {
  const Scalar value = Scalar::load(t, at);
  uint64_t bits = 0;
  std::memcpy(&bits, at, std::min<size_t>(8, size_t(size_of(t))));
  switch (kind_of(t)) {
    case DKind::boolean:
      return PyBool_FromLong(bits & 0xff);
    case DKind::unsigned_int:
      return PyLong_FromUnsignedLongLong(bits);
    case DKind::signed_int:
      return PyLong_FromLongLong(value.as_int());
    case DKind::small_int:  // unpacked before
    case DKind::small_float:
    case DKind::floating:
      return PyFloat_FromDouble(value.as_double());
    case DKind::complex:
      return PyComplex_FromDoubles(value.f, value.im);
  }
  return nullptr;
}

Object host_copy(const Tensor& t) {
  Object bytes = Object::take(PyBytes_FromStringAndSize(nullptr, Py_ssize_t(t.nbytes())));
  char* to = PyBytes_AS_STRING(bytes.get());
  if (is_host(t.device()) && t.nbytes() < 1 << 16) {
    t.to_host(to);
  } else {
    GilRelease release;
    t.to_host(to);
  }
  return bytes;
}

// ---- NumPy
// ----------------------------------------------------------------------------------------------------------------

namespace {

class Buffer {
 public:
  explicit Buffer(PyObject* o, int flags) { require(PyObject_GetBuffer(o, &view, flags) == 0); }
  ~Buffer() { PyBuffer_Release(&view); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  Py_buffer view;
};

// The dtype of a native-order buffer; false for others.
bool dtype_of_format(const char* format, Py_ssize_t itemsize, DType* out) {
  if (!format) format = "B";
  if (*format == '@' || *format == '=' || *format == '<') ++format;
  if (format[0] == 'Z' && (format[1] == 'f' || format[1] == 'd')) {
    *out = format[1] == 'f' ? DType::c64 : DType::c128;
    return true;
  }
  if (format[0] == 0 || format[1] != 0) return false;
  const auto pick = [&](DType a1, DType a2, DType a4, DType a8) {
    *out = itemsize == 1 ? a1 : itemsize == 2 ? a2 : itemsize == 4 ? a4 : a8;
    return true;
  };
  switch (*format) {
    case '?':
      *out = DType::boolean;
      return true;
    case 'e':
      *out = DType::f16;
      return true;
    case 'f':
      *out = DType::f32;
      return true;
    case 'd':
      *out = DType::f64;
      return true;
    case 'b':
    case 'h':
    case 'i':
    case 'l':
    case 'q':
      return pick(DType::i8, DType::i16, DType::i32, DType::i64);
    case 'B':
    case 'H':
    case 'I':
    case 'L':
    case 'Q':
      return pick(DType::u8, DType::u16, DType::u32, DType::u64);
    default:
      return false;
  }
}

const char* format_of(DType t) {
  switch (t) {
    case DType::f32:
      return "f";
    case DType::f64:
      return "d";
    case DType::f16:
      return "e";
    case DType::bf16:
      return "H";
    case DType::i64:
      return "q";
    case DType::i32:
      return "i";
    case DType::i16:
      return "h";
    case DType::i8:
      return "b";
    case DType::u64:
      return "Q";
    case DType::u32:
      return "I";
    case DType::u16:
      return "H";
    case DType::u8:
      return "B";
    case DType::boolean:
      return "?";
    case DType::c64:
      return "Zf";
    case DType::c128:
      return "Zd";
    case DType::f8e4m3:
    case DType::f8e5m2:
    case DType::i4:
    case DType::u4:
      return "B";
  }
  return "B";
}

// An array that the buffer protocol can give: ml_dtypes' floats seen as unsigned integers, foreign byte orders turned.
struct Readable {
  Object array;
  std::optional<DType> dtype;  // where the buffer's format does not tell
};
Readable readable(PyObject* o, bool copy) {
  static PyObject* const asarray = [] {
    const Object numpy = Object::take(PyImport_ImportModule("numpy"));
    return Object::take(PyObject_GetAttrString(numpy.get(), "asarray")).release();
  }();
  Readable r;
  r.array = Object::take(PyObject_CallOneArg(asarray, o));
  const Object dtype = Object::take(PyObject_GetAttrString(r.array.get(), "dtype"));
  const Object native = Object::take(PyObject_GetAttrString(dtype.get(), "isnative"));
  if (native.get() != Py_True) {
    if (!copy) {
      const Object name = Object::take(PyObject_Str(dtype.get()));
      fail(PyExc_ValueError, "from_numpy() shares memory and needs the machine's byte order, got dtype ",
           text_of(name.get()), "; use tg.tensor(array) for a copy");
    }
    const Object order = Object::take(PyObject_CallMethod(dtype.get(), "newbyteorder", "s", "="));
    r.array = Object::take(PyObject_CallMethod(r.array.get(), "astype", "O", order.get()));
  }
  const Object kind = Object::take(PyObject_GetAttrString(dtype.get(), "kind"));
  const std::string_view k = text_of(kind.get());
  if (k == "V" || k == "f") {
    const Object name = Object::take(PyObject_GetAttrString(dtype.get(), "name"));
    const std::string_view n = text_of(name.get());
    if (n == "bfloat16" || n == "float8_e4m3fn" || n == "float8_e5m2") {
      r.dtype = dtype_from_name(n);
      r.array = Object::take(PyObject_CallMethod(r.array.get(), "view", "s", n == "bfloat16" ? "uint16" : "uint8"));
    } else if (k == "V") {
      fail(PyExc_TypeError, "expected an array of bool, integers, floats or complex numbers, got dtype ", text_of(name.get()));
    }
  } else if (k == "O" || k == "U" || k == "S" || k == "M" || k == "m") {
    const Object name = Object::take(PyObject_Str(dtype.get()));
    fail(PyExc_TypeError, "expected an array of bool, integers, floats or complex numbers, got dtype ", text_of(name.get()),
         k == "O" ? " (ragged lists make such an array)" : "");
  }
  return r;
}

void drop_buffer(void* context) {
  // A buffer can be released with the GIL only: let Python's own object do it.
  decref_later(static_cast<PyObject*>(context));
}

}  // namespace

// Shares memory with the array unless `copy`.
Tensor from_array(PyObject* o, Device* device, bool copy, const DType* dtype) {
  const Readable r = readable(o, copy);
  if (!device) device = copy ? any_default_device() : any_host_device();
  Tensor t;
  {
    Buffer buffer(r.array.get(), copy ? PyBUF_STRIDED_RO | PyBUF_FORMAT : PyBUF_STRIDED | PyBUF_FORMAT);
    const Py_buffer& v = buffer.view;
    DType from;
    if (!dtype_of_format(v.format, v.itemsize, &from))
      fail(PyExc_TypeError, "expected an array of bool, integers, floats or complex numbers, got buffer format \"", v.format, "\"");
    if (r.dtype) from = *r.dtype;
    Ints shape, strides;
    bool strided_ok = true;
    for (int i = 0; i < v.ndim; ++i) {
      shape.push_back(v.shape[i]);
      strides.push_back(v.strides[i] / v.itemsize);
      strided_ok &= v.strides[i] >= 0 && v.strides[i] % v.itemsize == 0;
    }
    if (copy) {
      if (PyBuffer_IsContiguous(&v, 'C')) {
        t = Tensor::from_host(v.buf, shape, from, device);
      } else {
        std::string packed(size_t(v.len), 0);
        require(PyBuffer_ToContiguous(packed.data(), const_cast<Py_buffer*>(&v), v.len, 'C') == 0);
        t = Tensor::from_host(packed.data(), shape, from, device);
      }
    } else {
      if (!strided_ok)
        fail(PyExc_ValueError, "from_numpy() cannot share an array with negative strides; pass array.copy()");
      if (reinterpret_cast<uintptr_t>(v.buf) % uintptr_t(size_of(from)))
        fail(PyExc_ValueError, "from_numpy() shares memory and needs aligned elements; use tg.tensor(array) for a copy");
      int64_t last = 0;
      for (size_t i = 0; i < shape.size(); ++i) last += (shape[i] ? shape[i] - 1 : 0) * strides[i];
      const uint64_t bytes = v.len ? uint64_t(last + 1) * uint64_t(v.itemsize) : 0;
      // A memoryview holds the export for as long as the storage lives.
      PyObject* holder = PyMemoryView_FromObject(r.array.get());
      if (!holder) throw PythonError();
      Ref<Storage> storage = Storage::borrow(any_host_device(), v.buf, bytes, drop_buffer, holder);
      t = Tensor(Ref<TensorImpl>::adopt(new TensorImpl(std::move(storage), from, shape, strides, 0)));
    }
  }
  if (dtype && *dtype != t.dtype()) {
    GradMode off(false);
    t = t.cast(*dtype);
  }
  return t;
}

// ---- nested lists
// ------------------------------------------------------------------------------------------------------------

namespace {

// Numbers of a nested list, row-major. Tensors and arrays inside make the whole go through NumPy.
struct Nested {
  Ints shape;
  Scalar::Kind kind = Scalar::boolean;
  std::vector<Scalar> values;
  bool foreign = false;

  void read(PyObject* o, size_t depth) {
    Scalar s;
    if (PyList_Check(o) || PyTuple_Check(o)) {
      const Py_ssize_t n = PySequence_Fast_GET_SIZE(o);
      if (depth == shape.size() && values.empty() && !closed_) {
        if (shape.size() >= TG_MAX_RANK) fail(PyExc_ValueError, "expected at most ", TG_MAX_RANK, " nested levels");
        shape.push_back(n);
      } else if (depth >= shape.size() || shape[depth] != n) {
        fail(PyExc_ValueError, "expected nested lists of equal lengths, got one of length ", n,
             depth < shape.size() ? detail::concat(" where others have ", shape[depth])
                                  : std::string(" beside a number"),
             " at level ", depth);
      }
      for (Py_ssize_t i = 0; i < n && !foreign; ++i) read(PySequence_Fast_GET_ITEM(o, i), depth + 1);
      if (depth + 1 == shape.size()) closed_ = true;
    } else if (to_scalar(o, &s)) {
      if (depth != shape.size())
        fail(PyExc_ValueError, "expected nested lists of equal depth, got a number at level ", depth, " and lists of ",
             shape.size(), " levels");
      closed_ = true;
      kind = std::max(kind, s.kind);
      values.push_back(s);
    } else if (is_tensor(o) || is_array(o)) {
      foreign = true;
    } else {
      fail(PyExc_TypeError, "expected numbers, nested lists of them, or an array, got ", type_name(o));
    }
  }

 private:
  bool closed_ = false;  // the depth is known
};

}  // namespace

Tensor to_tensor(PyObject* data, const DType* dtype, Device* device) {
  GradMode off(false);
  if (is_tensor(data)) {
    Tensor t = tensor_of(data);
    if (device && t.device() != device) t = t.to(device);
    if (dtype && t.dtype() != *dtype) t = t.cast(*dtype);
    return impl_of(data) == t.impl() ? op<"copy">({t}) : t;
  }
  if (!PyList_Check(data) && !PyTuple_Check(data)) {
    if (is_array(data) && !PyFloat_Check(data))
      return from_array(data, device ? device : any_default_device(), true, dtype);
    if (PyObject_CheckBuffer(data)) return from_array(data, device ? device : any_default_device(), true, dtype);
    if (PySequence_Check(data) && !PyUnicode_Check(data)) {  // range and the like
      const Object list = Object::take(PySequence_List(data));
      return to_tensor(list.get(), dtype, device);
    }
  }
  Nested nested;
  nested.read(data, 0);
  if (!device) device = any_default_device();
  if (nested.foreign) {
    const Object module = Object::take(PyImport_ImportModule("tengen._creation"));
    const Object array = Object::take(PyObject_CallMethod(module.get(), "_array_of_nested", "O", data));
    return from_array(array.get(), device, true, dtype);
  }
  const DType packed_to = dtype ? *dtype : DType::i8;
  if (is_packed(packed_to)) {  // by way of a byte for each
    for (const Scalar& s : nested.values) check_fits("tensor", s, packed_to);
    const DType wide = packed_to == DType::i4 ? DType::i8 : DType::u8;
    if (nested.kind < Scalar::floating) return to_tensor(data, &wide, device).cast(packed_to);
    const DType real = DType::f32;
    return to_tensor(data, &real, device).cast(packed_to);
  }
  const DType t = dtype ? *dtype : nested.values.empty() ? default_float() : default_dtype(nested.kind);
  const size_t width = size_t(size_of(t));
  if (nested.kind == Scalar::complex && !is_complex(t))
    fail(PyExc_TypeError, "expected real numbers for dtype ", long_name_of(t), ", got complex ones");
  std::string packed(nested.values.size() * width, 0);
  char* at = packed.data();
  for (const Scalar& s : nested.values) {
    check_fits("tensor", s, t);
    s.store(t, at);
    at += width;
  }
  return Tensor::from_host(packed.data(), nested.shape, t, device);
}

// ---- Tensor's own buffer
// ---------------------------------------------------------------------------------------------------

namespace {
struct Export {  // keeps the memory, not the tensor: x.data may be replaced meanwhile
  explicit Export(const TensorImpl* impl) : storage(impl->storage) { remat::expose(impl); }
  ~Export() { remat::conceal(storage.get()); }
  Ref<Storage> storage;
  Py_ssize_t shape[TG_MAX_RANK], strides[TG_MAX_RANK];
};
}  // namespace

int tensor_getbuffer(PyObject* self, Py_buffer* view, int flags) {
  const TensorImpl* impl = impl_of(self);
  view->obj = nullptr;
  if (impl->transformed && guarded_int([&] { check_concrete(tensor_of(self), "numpy"); }) < 0) return -1;
  const char* why = nullptr;
  if (impl->desc.device.type != TG_DEVICE_HOST)
    why = "the tensor is not in host memory; use .cpu()";
  else if (impl->requires_grad)
    why = "the tensor requires grad; use .detach()";
  else if (is_packed(impl->dtype))
    why = "two elements share a byte; use .numpy() for a copy, or bitcast to uint8";
  const bool contiguous = tensor_of(self).is_contiguous();
  if (!why && !contiguous && (flags & PyBUF_STRIDES) != PyBUF_STRIDES) why = "the tensor is not contiguous";
  if (why) {
    PyErr_SetString(PyExc_BufferError, why);
    return -1;
  }
  static char nothing[8];
  Export* e = nullptr;
  if (guarded_int([&] { e = new Export(impl); }) < 0) return -1;
  const Py_ssize_t width = size_of(impl->dtype);
  Py_ssize_t bytes = width;
  for (int i = 0; i < impl->desc.ndim; ++i) {
    e->shape[i] = impl->shape[i];
    e->strides[i] = impl->strides[i] * width;
    bytes *= impl->shape[i];
  }
  view->buf = impl->storage->data() ? static_cast<char*>(impl->storage->data()) + impl->desc.byte_offset : nothing;
  view->len = bytes;
  view->readonly = 0;
  view->itemsize = width;
  view->format = flags & PyBUF_FORMAT ? const_cast<char*>(format_of(impl->dtype)) : nullptr;
  view->ndim = impl->desc.ndim;
  view->shape = flags & PyBUF_ND ? e->shape : nullptr;
  view->strides = (flags & PyBUF_STRIDES) == PyBUF_STRIDES ? e->strides : nullptr;
  view->suboffsets = nullptr;
  view->internal = e;
  view->obj = Py_NewRef(self);
  return 0;
}

void tensor_releasebuffer(PyObject*, Py_buffer* view) { delete static_cast<Export*>(view->internal); }

}  // namespace tg::py
