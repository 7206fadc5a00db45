// SPDX-License-Identifier: Apache-2.0
// DLPack for host memory: other array libraries see a tensor's memory and the other way round, without a copy.
#include <memory>

#include "autograd/node.h"
#include "call.h"
#include "runtime/exports.h"

namespace tg::py {
namespace {

// DLPack's structs (version 1.0); tg_tensor has the layout of DLTensor.
struct Managed {
  tg_tensor tensor;
  void* context;
  void (*deleter)(Managed*);
};
struct ManagedVersioned {
  uint32_t major, minor;
  void* context;
  void (*deleter)(ManagedVersioned*);
  uint64_t flags;  // 1: read-only, 2: a copy, 4: numbers below 8 bits take a byte each (version 1.1)
  tg_tensor tensor;
};
constexpr int kDLCPU = 1;

void keep_error_while(auto&& f) {
  PyObject *type, *value, *trace;
  PyErr_Fetch(&type, &value, &trace);
  f();
  PyErr_Restore(type, value, trace);
}

template <class M>
constexpr const char* capsule_name = "dltensor";
template <>
constexpr const char* capsule_name<ManagedVersioned> = "dltensor_versioned";

// Called when a capsule dies that nobody took.
template <class M>
void capsule_dead(PyObject* capsule) {
  if (!PyCapsule_IsValid(capsule, capsule_name<M>)) return;
  keep_error_while([&] {
    auto* m = static_cast<M*>(PyCapsule_GetPointer(capsule, capsule_name<M>));
    if (m && m->deleter) m->deleter(m);
  });
}

struct Shape {
  explicit Shape(const TensorImpl* impl) : storage(impl->storage), shape(impl->shape), strides(impl->strides) {
    remat::expose(impl);
  }
  ~Shape() { remat::conceal(storage.get()); }
  Ref<Storage> storage;
  Ints shape, strides;
};

template <class M>
PyObject* give(const TensorImpl* impl) {
  auto keep = std::make_unique<Shape>(impl);
  auto m = std::make_unique<M>();
  m->tensor = impl->desc;
  m->tensor.device = tg_device{kDLCPU, 0};
  m->tensor.shape = keep->shape.data();
  m->tensor.strides = keep->strides.data();
  m->context = keep.get();
  m->deleter = [](M* self) {
    delete static_cast<Shape*>(self->context);
    delete self;
  };
  if constexpr (std::is_same_v<M, ManagedVersioned>) m->major = 1, m->minor = 0, m->flags = 0;
  PyObject* capsule = PyCapsule_New(m.get(), capsule_name<M>, capsule_dead<M>);
  if (!capsule) throw PythonError();
  (void)keep.release();
  (void)m.release();
  return capsule;
}

PyObject* to_dlpack(PyObject*, PyObject* args) {
  return guarded([&]() -> PyObject* {
    PyObject* self;
    int versioned;
    require(PyArg_ParseTuple(args, "Op", &self, &versioned));
    if (!is_tensor(self)) fail(PyExc_TypeError, "expected a Tensor, got ", type_name(self));
    const TensorImpl* impl = impl_of(self);
    check_concrete(tensor_of(self), "dlpack");
    if (impl->requires_grad)
      fail(PyExc_BufferError, "a tensor that requires grad cannot be shared through DLPack; use .detach()");
    if (impl->desc.device.type != TG_DEVICE_HOST)
      fail(PyExc_BufferError, "only tensors in host memory can be shared through DLPack, this one is on ",
           device_name(impl->storage->device()), "; use .cpu()");
    return versioned ? give<ManagedVersioned>(impl) : give<Managed>(impl);
  });
}

template <class M>
Tensor take(PyObject* capsule) {
  auto* m = static_cast<M*>(PyCapsule_GetPointer(capsule, capsule_name<M>));
  if (!m) throw PythonError();
  if constexpr (std::is_same_v<M, ManagedVersioned>) {
    if (m->major != 1) fail(PyExc_BufferError, "expected DLPack version 1, got ", m->major);
    if (m->flags & 1) fail(PyExc_BufferError, "the array is read-only; use tg.tensor(array) for a copy");
  }
  const tg_tensor& t = m->tensor;
  if (t.device.type != kDLCPU)
    fail(PyExc_BufferError, "expected an array in host memory, got DLPack device type ", t.device.type,
         "; copy it to the host first");
  DType dtype;
  if (!dtype_from_abi(t.dtype, &dtype))
    fail(PyExc_BufferError, "expected bool, integers, floats or complex numbers, got DLPack type code ", int(t.dtype.code), " of ",
         int(t.dtype.bits), " bits");
  const std::span<const int64_t> shape(t.shape, size_t(t.ndim));
  const Ints strides =
      t.strides ? Ints(std::span<const int64_t>(t.strides, size_t(t.ndim))) : contiguous_strides(shape);
  int64_t last = 0;
  for (size_t i = 0; i < strides.size(); ++i) {
    if (strides[i] < 0)
      fail(PyExc_BufferError, "expected strides of 0 or more, got ", str(strides), "; copy the array first");
    last += (shape[i] ? shape[i] - 1 : 0) * strides[i];
  }
  const uint64_t bytes = numel(shape) ? bytes_of(dtype, last + 1) : 0;
  bool padded = false;  // one 4-bit number a byte
  if constexpr (std::is_same_v<M, ManagedVersioned>) padded = m->flags & 4;
  if (is_packed(dtype) && (padded || !(strides == contiguous_strides(shape))))
    fail(PyExc_BufferError, "expected ", long_name_of(dtype), " without gaps, two in a byte; copy the array first");
  require(PyCapsule_SetName(capsule, std::is_same_v<M, Managed> ? "used_dltensor" : "used_dltensor_versioned") == 0);
  // The producer's deleter may be Python code: it runs with the GIL, when this capsule's turn comes.
  PyObject* holder = PyCapsule_New(m, "tengen.dlpack", [](PyObject* c) {
    keep_error_while([&] {
      auto* dead = static_cast<M*>(PyCapsule_GetPointer(c, "tengen.dlpack"));
      if (dead && dead->deleter) dead->deleter(dead);
    });
  });
  if (!holder) throw PythonError();
  char* data = static_cast<char*>(t.data) + t.byte_offset;
  Ref<Storage> storage = Storage::borrow(
      any_host_device(), data, bytes, [](void* p) { decref_later(static_cast<PyObject*>(p)); }, holder);
  return Tensor(Ref<TensorImpl>::adopt(new TensorImpl(std::move(storage), dtype, shape, strides, 0)));
}

PyObject* from_capsule(PyObject*, PyObject* capsule) {
  return guarded([&]() -> PyObject* {
    if (PyCapsule_IsValid(capsule, "dltensor_versioned")) return wrap(take<ManagedVersioned>(capsule));
    if (PyCapsule_IsValid(capsule, "dltensor")) return wrap(take<Managed>(capsule));
    fail(PyExc_ValueError, "expected a DLPack capsule that nobody has taken yet");
  });
}

PyMethodDef functions[] = {
    {"_to_dlpack", to_dlpack, METH_VARARGS, nullptr},
    {"_from_dlpack", from_capsule, METH_O, nullptr},
    {},
};

}  // namespace

void add_dlpack(PyObject* module) { require(PyModule_AddFunctions(module, functions) == 0); }

}  // namespace tg::py
