// SPDX-License-Identifier: Apache-2.0
// From Python objects to a call of an op, without memory of its own for ordinary calls.
#pragma once
#include "py.h"

namespace tg::py {

// The arguments of one call. A tensor that has a Python object is borrowed (the caller of the Python function keeps it
// alive), so that neither its count nor the heap is touched.
class ArgList {
 public:
  explicit ArgList(size_t n) : data_(n <= kInline ? local() : heap(n)), size_(n) {}
  ~ArgList() {
    for (size_t i = 0; i < size_; ++i)
      if (i >= 64 || owned_ >> i & 1) data_[i].~Arg();
    if (data_ != local()) ::operator delete(data_);
  }
  ArgList(const ArgList&) = delete;
  ArgList& operator=(const ArgList&) = delete;

  // Each slot is set once, in order of need; unset ones must be set to absent before the call.
  void absent(size_t i) { put(i, false); }
  void borrow(size_t i, TensorImpl* t) { put(i, false, Tensor(Ref<TensorImpl>::adopt(t))); }
  void own(size_t i, Tensor t) { put(i, true, std::move(t)); }
  void scalar(size_t i, Scalar s) { put(i, false, s); }
  // A tensor, a Python number, or something NumPy-like; false for anything else.
  bool set(size_t i, PyObject* o, Device* device_for_arrays);
  std::span<const Arg> span() const { return {data_, size_}; }
  size_t size() const { return size_; }
  const Arg& operator[](size_t i) const { return data_[i]; }
  // The first tensor among slots [0, n), or NULL.
  TensorImpl* first_tensor(size_t n) const {
    for (size_t i = 0; i < n; ++i)
      if (data_[i].kind == Arg::tensor) return data_[i].t.impl();
    return nullptr;
  }

 private:
  static constexpr size_t kInline = 8;
  template <class... A>
  void put(size_t i, bool own, A&&... a) {
    new (data_ + i) Arg(std::forward<A>(a)...);
    if (own || i >= 64) owned_ |= uint64_t(own) << (i & 63);
    if (i >= 64 && !own && data_[i].kind == Arg::tensor) data_[i].t.impl()->retain();  // the destructor drops it
  }
  Arg* local() { return reinterpret_cast<Arg*>(raw_); }
  static Arg* heap(size_t n) { return static_cast<Arg*>(::operator new(n * sizeof(Arg))); }

  alignas(Arg) std::byte raw_[kInline * sizeof(Arg)];
  Arg* data_;
  size_t size_;
  uint64_t owned_ = 0;
};

// The attributes of one call, likewise.
class AttrList {
 public:
  AttrList() = default;
  ~AttrList() {
    for (size_t i = 0; i < size_; ++i) data_[i].~Attr();
    if (data_ != local()) ::operator delete(data_);
  }
  AttrList(const AttrList&) = delete;
  AttrList& operator=(const AttrList&) = delete;
  void reserve(size_t n) {
    if (n > kInline) data_ = static_cast<Attr*>(::operator new(n * sizeof(Attr)));
  }
  template <class... A>
  void push(A&&... a) {
    new (data_ + size_) Attr(std::forward<A>(a)...);
    ++size_;
  }
  std::span<const Attr> span() const { return {data_, size_}; }

 private:
  static constexpr size_t kInline = 6;
  Attr* local() { return reinterpret_cast<Attr*>(raw_); }
  alignas(Attr) std::byte raw_[kInline * sizeof(Attr)];
  Attr* data_ = local();
  size_t size_ = 0;
};

// Work worth letting other threads run for: more than a few microseconds, or a device to talk to.
inline bool is_big(std::span<const Arg> args) {
  constexpr int64_t kElements = 32 * 1024;
  int64_t total = 0;
  for (const Arg& a : args) {
    if (a.kind != Arg::tensor) continue;
    const tg_tensor& d = a.t.impl()->desc;
    if (d.device.type != TG_DEVICE_HOST) return true;
    int64_t n = 1;
    for (int i = 0; i < d.ndim; ++i) n *= d.shape[i];
    total += n;
  }
  return total > kElements;
}

inline Tensors run(const Op& op, std::span<const Arg> args, std::span<const Attr> attrs = {},
                   Device* device = nullptr) {
  if (is_big(args) || (args.empty() && device)) {
    GilRelease release;
    return call(op, args, attrs, device);
  }
  return call(op, args, attrs, device);
}
// The first output alone: the operators' way.
inline Tensor run_one(const Op& op, std::span<const Arg> args) {
  if (is_big(args)) {
    GilRelease release;
    return call_one(op, args);
  }
  return call_one(op, args);
}
inline Tensors run_into(const Op& op, std::span<const Arg> args, std::span<const Attr> attrs, const Tensor& out) {
  if (is_big(args)) {
    GilRelease release;
    return call_into(op, args, attrs, {&out, 1});
  }
  return call_into(op, args, attrs, {&out, 1});
}

// ---- conversions
// --------------------------------------------------------------------------------------------------------

bool to_scalar(PyObject* o, Scalar* out);  // bool, int, float or complex; no subclass of a tensor or array
// An attribute: TypeError for a complex number.
Attr to_number(PyObject* o, const Scalar& s, const char* what);
// A 0-d tensor. TypeError for a complex number where t is real.
Tensor filled(const Scalar& s, DType t, Device* device);
int64_t to_int(PyObject* o, const char* what);
Ints to_ints(PyObject* o, const char* what);  // an integer, or a sequence of integers
bool is_array(PyObject* o);                   // a NumPy array or NumPy scalar, or has __array__
Tensor from_array(PyObject* array, Device* device, bool copy, const DType* dtype);
Tensor to_tensor(PyObject* data, const DType* dtype, Device* device);  // always a copy; not differentiable
PyObject* shape_tuple(std::span<const int64_t> v);
PyObject* element(const char* at, DType t);  // one element as a Python number
Object host_copy(const Tensor& t);           // bytes object, contiguous row-major

// x[index] and x[index] = value (indexing.cc).
PyObject* get_item(PyObject* self, PyObject* index);
void set_item(PyObject* self, PyObject* index, PyObject* value);

// Slots of the tensor type, filled in tensor_number.cc and tensor_methods.cc.
extern PyMethodDef tensor_methods[];
extern PyGetSetDef tensor_getset[];
PyObject* add_hook(PyObject* self, PyObject* function);
PyObject* remove_hook_by_id(PyObject* self, PyObject* id);
int tensor_getbuffer(PyObject* self, Py_buffer* view, int flags);
void tensor_releasebuffer(PyObject* self, Py_buffer* view);
void find_slot_ops();

// Hooks for Python's collector (hooks.cc).
bool has_hooks(const TensorImpl* impl);
int visit_hooks(const TensorImpl* impl, visitproc visit, void* arg);
void clear_hooks(TensorImpl* impl);

}  // namespace tg::py
