// SPDX-License-Identifier: Apache-2.0
// tengen.Tensor: the type, its objects' lives, and the operators (type slots). An operator of two tensors costs this
// file two pointer checks per operand and no memory: the op of each slot is looked up once, dead objects are reused.
#include "call.h"

#include <structmember.h>

namespace tg::py {

PyTypeObject* tensor_type = nullptr;

namespace {

// ---- life
// ---------------------------------------------------------------------------------------------------------------

constexpr int kFreeMax = 128;
PyTensor* free_list[kFreeMax];  // of exact Tensors; under the GIL
int free_count = 0;

// The count that t holds.
TensorImpl* release_impl(Tensor& t) { return const_cast<Ref<TensorImpl>&>(t.ref()).detach(); }

void dealloc(PyObject* o) {
  PyTensor* self = reinterpret_cast<PyTensor*>(o);
  PyTypeObject* type = Py_TYPE(o);
  PyObject_GC_UnTrack(o);
  TensorImpl* impl = self->impl;
  if (impl && impl->python == o) impl->python = nullptr;
  if (self->weakrefs) PyObject_ClearWeakRefs(o);
  self->impl = nullptr;
  if (impl) impl->release();
  if (type == tensor_type && free_count < kFreeMax) {
    free_list[free_count++] = self;
  } else {
    type->tp_free(o);
  }
  Py_DECREF(type);
}

PyTensor* allocate(PyTypeObject* type) {
  if (type == tensor_type && free_count > 0) {
    PyTensor* self = free_list[--free_count];
    PyObject_Init(reinterpret_cast<PyObject*>(self), type);
    return self;
  }
  // A plain tensor refers to no Python object until it has a hook: untracked, it costs the collector nothing.
  PyTensor* self = type == tensor_type ? PyObject_GC_New(PyTensor, type)
                                       : reinterpret_cast<PyTensor*>(type->tp_alloc(type, 0));
  if (!self) throw PythonError();
  self->impl = nullptr;
  self->weakrefs = nullptr;
  return self;
}

int traverse(PyObject* o, visitproc visit, void* arg) {
  Py_VISIT(Py_TYPE(o));
  const TensorImpl* impl = impl_of(o);
  return impl ? visit_hooks(impl, visit, arg) : 0;
}
int clear(PyObject* o) {
  if (impl_of(o)) clear_hooks(impl_of(o));
  return 0;
}

// Tensor(data, dtype=None, device=None, requires_grad=None); a subclass that passes a Tensor shares its storage.
PyObject* construct(PyTypeObject* type, PyObject* args, PyObject* kwargs) {
  return guarded([&]() -> PyObject* {
    static const char* names[] = {"data", "dtype", "device", "requires_grad", nullptr};
    PyObject *data = nullptr, *dtype = Py_None, *device = Py_None;
    int requires_grad = 0;
    require(PyArg_ParseTupleAndKeywords(args, kwargs, "|OOOp:Tensor", const_cast<char**>(names), &data, &dtype, &device,
                                        &requires_grad));
    DType dt;
    const DType* want = nullptr;
    if (dtype != Py_None) {
      dt = to_dtype(dtype);
      want = &dt;
    }
    Tensor t;
    if (!data) {
      t = Tensor::empty(Ints{0}, want ? dt : default_float(), to_device(device));
    } else if (is_tensor(data)) {
      GradMode off(false);
      t = tensor_of(data);
      if (want) t = t.cast(dt);
      if (device != Py_None) t = t.to(to_device(device));
      t = t.detach();
    } else {
      t = to_tensor(data, want, device == Py_None ? nullptr : to_device(device));
    }
    if (requires_grad) t.set_requires_grad(true);
    return wrap_as(type, std::move(t));
  });
}

// ---- operators
// ------------------------------------------------------------------------------------------------------------

enum Slot {
  kAdd,
  kSub,
  kMul,
  kDiv,
  kFloorDiv,
  kRem,
  kPow,
  kMatmul,
  kAnd,
  kOr,
  kXor,
  kShl,
  kShr,
  kNeg,
  kAbs,
  kNot,
  kEq,
  kNe,
  kLt,
  kLe,
  kGt,
  kGe,
  kSlots
};
const Op* slot_op[kSlots];
const char* const slot_name[kSlots] = {"add",
                                       "sub",
                                       "mul",
                                       "div",
                                       "floor_div",
                                       "rem",
                                       "pow",
                                       "matmul",
                                       "bitwise_and",
                                       "bitwise_or",
                                       "bitwise_xor",
                                       "bitwise_left_shift",
                                       "bitwise_right_shift",
                                       "neg",
                                       "abs",
                                       "bitwise_not",
                                       "eq",
                                       "ne",
                                       "lt",
                                       "le",
                                       "gt",
                                       "ge"};

const Op& op_of(Slot slot) {
  if (!slot_op[slot]) raise(ErrorKind::not_implemented, "this build has no op \"", slot_name[slot], "\"");
  return *slot_op[slot];
}

Device* device_of_either(PyObject* a, PyObject* b) {
  return (is_tensor(a) ? impl_of(a) : impl_of(b))->storage->device();
}

template <Slot slot>
PyObject* binary(PyObject* a, PyObject* b) {
  return guarded([&]() -> PyObject* {
    ArgList args(2);
    if (Py_TYPE(a) == tensor_type && Py_TYPE(b) == tensor_type) [[likely]] {
      args.borrow(0, impl_of(a));
      args.borrow(1, impl_of(b));
    } else {
      Device* device = device_of_either(a, b);
      args.absent(0);
      args.absent(1);
      if (!args.set(0, a, device) || !args.set(1, b, device)) Py_RETURN_NOTIMPLEMENTED;
    }
    return wrap(run_one(op_of(slot), args.span()));
  });
}

template <Slot slot>
PyObject* power(PyObject* a, PyObject* b, PyObject* modulus) {
  if (modulus != Py_None) Py_RETURN_NOTIMPLEMENTED;
  return binary<slot>(a, b);
}

template <Slot slot>
PyObject* in_place(PyObject* a, PyObject* b) {
  return guarded([&]() -> PyObject* {
    if (!is_tensor(a)) Py_RETURN_NOTIMPLEMENTED;
    ArgList args(2);
    args.borrow(0, impl_of(a));
    args.absent(1);
    if (!args.set(1, b, impl_of(a)->storage->device())) Py_RETURN_NOTIMPLEMENTED;
    run_into(op_of(slot), args.span(), {}, tensor_of(a));
    return Py_NewRef(a);
  });
}
template <Slot slot>
PyObject* in_place_power(PyObject* a, PyObject* b, PyObject*) {
  return in_place<slot>(a, b);
}

template <Slot slot>
PyObject* unary(PyObject* a) {
  return guarded([&] {
    ArgList args(1);
    args.borrow(0, impl_of(a));
    return wrap(run_one(op_of(slot), args.span()));
  });
}

PyObject* positive(PyObject* a) { return Py_NewRef(a); }

PyObject* divmod(PyObject* a, PyObject* b) {
  Object q, r;
  PyObject* p = binary<kFloorDiv>(a, b);
  if (!p || p == Py_NotImplemented) return p;
  q = Object::take(p);
  p = binary<kRem>(a, b);
  if (!p || p == Py_NotImplemented) return p;
  r = Object::take(p);
  return PyTuple_Pack(2, q.get(), r.get());
}

PyObject* compare(PyObject* a, PyObject* b, int how) {
  switch (how) {
    case Py_EQ:
      return binary<kEq>(a, b);
    case Py_NE:
      return binary<kNe>(a, b);
    case Py_LT:
      return binary<kLt>(a, b);
    case Py_LE:
      return binary<kLe>(a, b);
    case Py_GT:
      return binary<kGt>(a, b);
    default:
      return binary<kGe>(a, b);
  }
}

// ---- Python numbers
// -------------------------------------------------------------------------------------------------------

PyObject* item_object(PyObject* self, const char* as) {
  const Tensor t = tensor_of(self);
  if (t.numel() != 1)
    fail(PyExc_ValueError, "only a tensor of one element converts to ", as, ", got shape ", str(t.shape()),
         std::string_view(as) == "bool" ? "; use .any() or .all()" : "");
  alignas(16) char bits[16] = {};
  if (is_host(t.device())) {
    t.to_host(bits);
  } else {
    GilRelease release;
    t.to_host(bits);
  }
  return element(bits, t.dtype());
}

int to_bool(PyObject* self) {
  int result = -1;
  PyObject* ok = guarded([&]() -> PyObject* {
    const Object v = Object::take(item_object(self, "bool"));
    result = PyObject_IsTrue(v.get());
    return Py_NewRef(Py_None);
  });
  Py_XDECREF(ok);
  return ok ? result : -1;
}
PyObject* to_int_number(PyObject* self) {
  return guarded([&] { return PyNumber_Long(Object::take(item_object(self, "int")).get()); });
}
PyObject* to_float_number(PyObject* self) {
  return guarded([&] { return PyNumber_Float(Object::take(item_object(self, "float")).get()); });
}
PyObject* to_index(PyObject* self) {
  return guarded([&]() -> PyObject* {
    const TensorImpl* impl = impl_of(self);
    if (!is_integer(impl->dtype) || impl->desc.ndim != 0)
      fail(PyExc_TypeError, "only a 0-d integer tensor can be an index, got ", long_name_of(impl->dtype), " of shape ",
           str(impl->shape));
    return item_object(self, "int");
  });
}

// ---- sequence, mapping
// ------------------------------------------------------------------------------------------------------

Py_ssize_t length(PyObject* self) {
  const TensorImpl* impl = impl_of(self);
  if (impl->desc.ndim == 0) {
    PyErr_SetString(PyExc_TypeError, "len() of a 0-d tensor");
    return -1;
  }
  return impl->shape[0];
}

PyObject* subscript(PyObject* self, PyObject* index) {
  return guarded([&] { return get_item(self, index); });
}
int assign_subscript(PyObject* self, PyObject* index, PyObject* value) {
  return guarded_int([&] {
    if (!value) fail(PyExc_TypeError, "elements of a tensor cannot be deleted");
    set_item(self, index, value);
  });
}

struct PyIterator {
  PyObject_HEAD PyObject* tensor;
  Py_ssize_t next, end;
};
PyTypeObject* iterator_type = nullptr;
void iterator_dealloc(PyObject* o) {
  PyTypeObject* type = Py_TYPE(o);
  Py_XDECREF(reinterpret_cast<PyIterator*>(o)->tensor);
  type->tp_free(o);
  Py_DECREF(type);
}
PyObject* iterator_next(PyObject* o) {
  PyIterator* it = reinterpret_cast<PyIterator*>(o);
  if (it->next >= it->end) return nullptr;
  PyObject* index = PyLong_FromSsize_t(it->next++);
  if (!index) return nullptr;
  PyObject* result = subscript(it->tensor, index);
  Py_DECREF(index);
  return result;
}
PyObject* iterate(PyObject* self) {
  if (impl_of(self)->desc.ndim == 0) {
    PyErr_SetString(PyExc_TypeError, "iteration over a 0-d tensor");
    return nullptr;
  }
  PyIterator* it = PyObject_New(PyIterator, iterator_type);
  if (!it) return nullptr;
  it->tensor = Py_NewRef(self);
  it->next = 0;
  it->end = impl_of(self)->shape[0];
  return reinterpret_cast<PyObject*>(it);
}
PyType_Slot iterator_slots[] = {
    {Py_tp_dealloc, reinterpret_cast<void*>(iterator_dealloc)},
    {Py_tp_iter, reinterpret_cast<void*>(PyObject_SelfIter)},
    {Py_tp_iternext, reinterpret_cast<void*>(iterator_next)},
    {0, nullptr},
};
PyType_Spec iterator_spec = {"tengen.TensorIterator", sizeof(PyIterator), 0,
                             Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, iterator_slots};

int contains(PyObject* self, PyObject* value) {
  int result = -1;
  PyObject* ok = guarded([&]() -> PyObject* {
    const Object equal = Object::take(binary<kEq>(self, value));
    if (equal.get() == Py_NotImplemented) {
      result = 0;
      return Py_NewRef(Py_None);
    }
    GradMode off(false);
    const Tensor any = op<"any">({tensor_of(equal.get())});
    result = any.item() != 0;
    return Py_NewRef(Py_None);
  });
  Py_XDECREF(ok);
  return ok ? result : -1;
}

Py_hash_t hash(PyObject* self) {
  const uintptr_t p = reinterpret_cast<uintptr_t>(self);
  const Py_hash_t h = Py_hash_t(p >> 4 | p << (8 * sizeof(p) - 4));
  return h == -1 ? -2 : h;
}

PyObject* repr(PyObject* self) {
  return guarded([&]() -> PyObject* {
    const Object module = Object::take(PyImport_ImportModule("tengen._repr"));
    return PyObject_CallMethod(module.get(), "tensor_repr", "O", self);
  });
}

PyMemberDef members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(PyTensor, weakrefs), READONLY, nullptr},
    {},
};

#define SLOT(name, function) \
  { name, reinterpret_cast<void*>(function) }
PyType_Slot slots[] = {
    SLOT(Py_tp_new, construct),
    SLOT(Py_tp_dealloc, dealloc),
    SLOT(Py_tp_traverse, traverse),
    SLOT(Py_tp_clear, clear),
    SLOT(Py_tp_repr, repr),
    SLOT(Py_tp_hash, hash),
    SLOT(Py_tp_richcompare, compare),
    SLOT(Py_tp_iter, iterate),
    {Py_tp_members, members},
    {Py_tp_methods, tensor_methods},
    {Py_tp_getset, tensor_getset},
    SLOT(Py_bf_getbuffer, tensor_getbuffer),
    SLOT(Py_bf_releasebuffer, tensor_releasebuffer),
    SLOT(Py_mp_length, length),
    SLOT(Py_mp_subscript, subscript),
    SLOT(Py_mp_ass_subscript, assign_subscript),
    SLOT(Py_sq_contains, contains),
    SLOT(Py_nb_add, binary<kAdd>),
    SLOT(Py_nb_subtract, binary<kSub>),
    SLOT(Py_nb_multiply, binary<kMul>),
    SLOT(Py_nb_true_divide, binary<kDiv>),
    SLOT(Py_nb_floor_divide, binary<kFloorDiv>),
    SLOT(Py_nb_remainder, binary<kRem>),
    SLOT(Py_nb_divmod, divmod),
    SLOT(Py_nb_power, power<kPow>),
    SLOT(Py_nb_matrix_multiply, binary<kMatmul>),
    SLOT(Py_nb_and, binary<kAnd>),
    SLOT(Py_nb_or, binary<kOr>),
    SLOT(Py_nb_xor, binary<kXor>),
    SLOT(Py_nb_lshift, binary<kShl>),
    SLOT(Py_nb_rshift, binary<kShr>),
    SLOT(Py_nb_negative, unary<kNeg>),
    SLOT(Py_nb_positive, positive),
    SLOT(Py_nb_absolute, unary<kAbs>),
    SLOT(Py_nb_invert, unary<kNot>),
    SLOT(Py_nb_inplace_add, in_place<kAdd>),
    SLOT(Py_nb_inplace_subtract, in_place<kSub>),
    SLOT(Py_nb_inplace_multiply, in_place<kMul>),
    SLOT(Py_nb_inplace_true_divide, in_place<kDiv>),
    SLOT(Py_nb_inplace_floor_divide, in_place<kFloorDiv>),
    SLOT(Py_nb_inplace_remainder, in_place<kRem>),
    SLOT(Py_nb_inplace_power, in_place_power<kPow>),
    SLOT(Py_nb_inplace_and, in_place<kAnd>),
    SLOT(Py_nb_inplace_or, in_place<kOr>),
    SLOT(Py_nb_inplace_xor, in_place<kXor>),
    SLOT(Py_nb_inplace_lshift, in_place<kShl>),
    SLOT(Py_nb_inplace_rshift, in_place<kShr>),
    SLOT(Py_nb_bool, to_bool),
    SLOT(Py_nb_int, to_int_number),
    SLOT(Py_nb_float, to_float_number),
    SLOT(Py_nb_index, to_index),
    {Py_tp_doc,
     const_cast<char*>("Tensor(data, dtype=None, device=None, requires_grad=False)\n--\n\n"
                       "An n-dimensional array on a device. Made by tg.tensor, tg.zeros, tg.from_numpy and the like.")},
    {0, nullptr},
};
#undef SLOT
PyType_Spec spec = {"tengen.Tensor", sizeof(PyTensor), 0,
                    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC, slots};

}  // namespace

PyObject* wrap(Tensor&& t) {
  TensorImpl* impl = t.impl();
  if (!impl) return Py_NewRef(Py_None);
  PyObject* existing = static_cast<PyObject*>(impl->python);
  if (existing && Py_REFCNT(existing) > 0) return Py_NewRef(existing);
  PyTensor* self = allocate(tensor_type);
  self->impl = release_impl(t);
  impl->python = self;
  if (impl->autograd && has_hooks(impl)) [[unlikely]] PyObject_GC_Track(self);
  return reinterpret_cast<PyObject*>(self);
}

PyObject* wrap_as(PyTypeObject* type, Tensor&& t) {
  if (type == tensor_type) return wrap(std::move(t));
  if (t.impl()->python) t = t.detach();
  PyTensor* self = allocate(type);
  self->impl = release_impl(t);
  self->impl->python = self;
  return reinterpret_cast<PyObject*>(self);
}

// An operator's op may carry NumPy's name or the array API's: the first that the table has.
void find_slot_ops() {
  static const std::initializer_list<const char*> names[kSlots] = {{"add"},
                                                                   {"sub", "subtract"},
                                                                   {"mul", "multiply"},
                                                                   {"div", "divide", "true_divide"},
                                                                   {"floor_div", "floor_divide"},
                                                                   {"rem", "remainder"},
                                                                   {"pow", "power"},
                                                                   {"matmul"},
                                                                   {"bitwise_and", "and"},
                                                                   {"bitwise_or", "or"},
                                                                   {"bitwise_xor", "xor"},
                                                                   {"bitwise_left_shift", "left_shift", "shl"},
                                                                   {"bitwise_right_shift", "right_shift", "shr"},
                                                                   {"neg", "negative"},
                                                                   {"abs"},
                                                                   {"bitwise_not", "bitwise_invert", "not", "invert"},
                                                                   {"eq", "equal"},
                                                                   {"ne", "not_equal"},
                                                                   {"lt", "less"},
                                                                   {"le", "less_equal"},
                                                                   {"gt", "greater"},
                                                                   {"ge", "greater_equal"}};
  for (int i = 0; i < kSlots; ++i)
    for (const char* name : names[i])
      if (!slot_op[i]) slot_op[i] = find_op(name);
}

void add_tensor_type(PyObject* module) {
  iterator_type = reinterpret_cast<PyTypeObject*>(Object::take(PyType_FromSpec(&iterator_spec)).release());
  tensor_type = reinterpret_cast<PyTypeObject*>(Object::take(PyType_FromSpec(&spec)).release());
  find_slot_ops();
  // NumPy's operators leave an expression with a tensor to the tensor.
  const Object priority = Object::take(PyFloat_FromDouble(1000));
  require(PyObject_SetAttrString(reinterpret_cast<PyObject*>(tensor_type), "__array_priority__", priority.get()) == 0);
  require(PyModule_AddObjectRef(module, "Tensor", reinterpret_cast<PyObject*>(tensor_type)) == 0);
}

}  // namespace tg::py
