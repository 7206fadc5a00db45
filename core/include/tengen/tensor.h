// SPDX-License-Identifier: Apache-2.0
// Tensor: a counted handle to a strided view of a storage on a device, with its place in the autograd graph.
//
//   tg::Tensor x = tg::full({2, 3}, 1.0, tg::DType::f32, tg::default_device());
//   tg::Tensor y = tg::op<"add">({x, 2.0});
#pragma once
#include <tengen/dim.h>
#include <tengen/dtype.h>

#include <atomic>
#include <memory>
#include <string>
#include <utility>

namespace tg {

class Device;
class Stream;
class Node;

// An intrusive counted pointer: T has retain() and release().
template <class T>
class Ref {
 public:
  Ref() = default;
  Ref(std::nullptr_t) {}
  explicit Ref(T* p) : p_(p) {
    if (p_) p_->retain();
  }
  static Ref adopt(T* p) {  // takes over one count
    Ref r;
    r.p_ = p;
    return r;
  }
  Ref(const Ref& o) : Ref(o.p_) {}
  Ref(Ref&& o) noexcept : p_(std::exchange(o.p_, nullptr)) {}
  Ref& operator=(Ref o) noexcept {
    std::swap(p_, o.p_);
    return *this;
  }
  ~Ref() {
    if (p_) p_->release();
  }
  T* get() const { return p_; }
  T* operator->() const { return p_; }
  T& operator*() const { return *p_; }
  explicit operator bool() const { return p_ != nullptr; }
  T* detach() { return std::exchange(p_, nullptr); }
  friend bool operator==(const Ref& a, const Ref& b) { return a.p_ == b.p_; }

 private:
  T* p_ = nullptr;
};

// What few objects need: made by whichever thread needs it first, looked up without a lock.
template <class T>
class Lazy {
 public:
  Lazy() = default;
  Lazy(const Lazy&) = delete;
  Lazy& operator=(const Lazy&) = delete;
  ~Lazy() { delete get(); }
  T* get() const { return p_.load(std::memory_order_acquire); }
  T* operator->() const { return get(); }
  T& operator*() const { return *get(); }
  explicit operator bool() const { return get() != nullptr; }
  T& make() {
    if (T* p = get()) [[likely]] return *p;
    auto fresh = std::make_unique<T>();
    T* other = nullptr;
    return p_.compare_exchange_strong(other, fresh.get(), std::memory_order_acq_rel) ? *fresh.release() : *other;
  }
  void reset() { delete p_.exchange(nullptr, std::memory_order_acq_rel); }

 private:
  std::atomic<T*> p_{nullptr};
};

// Memory on a device. Every write through any tensor raises `version`.
class Storage {
 public:
  // Memory of the device's caching allocator; MemoryError.
  static Ref<Storage> allocate(Device* device, uint64_t bytes);
  // Host memory that somebody else owns; `deleter(context)` gives it back.
  static Ref<Storage> borrow(Device* host, void* data, uint64_t bytes, void (*deleter)(void*), void* context);

  ~Storage();
  void retain() { refs_.fetch_add(1, std::memory_order_relaxed); }
  void release() {
    if (refs_.fetch_sub(1, std::memory_order_acq_rel) == 1) destroy();
  }
  bool unique() const { return refs_.load(std::memory_order_acquire) == 1; }

  void* data() const { return data_; }  // NULL: none, evicted, or in a private layout
  // 0: plain. Else the content lies in a block as a plugin likes it, and whoever wants data() has it made plain first
  // (runtime/layout.h). Such a storage has no views.
  uint16_t layout() const { return layout_.load(std::memory_order_acquire); }
  uint64_t bytes() const { return bytes_; }
  Device* device() const { return device_; }
  uint32_t version() const { return version_.load(std::memory_order_relaxed); }
  void bump_version() { version_.fetch_add(1, std::memory_order_relaxed); }
  // Tells the allocator that `stream` uses this memory (only work on a stream other than the allocating one matters).
  void used_on(Stream* stream);

 private:
  friend class Allocator;
  friend class NoMemory;
  friend class Layouts;
  Storage() = default;
  void destroy();
  std::atomic<uint32_t> refs_{1};
  std::atomic<uint32_t> version_{0};
  void* data_ = nullptr;
  uint64_t bytes_ = 0;
  Device* device_ = nullptr;
  Stream* stream_ = nullptr;         // allocated on
  struct Extra;                      // foreign owner, other streams: rarely there
  Lazy<Extra> extra_;
  uint32_t bin_ = 0;                 // the allocator's
  std::atomic<uint16_t> layout_{0};
};

class Tensor;
struct AutogradMeta;

// The body of a tensor. `desc` is what plugins see: its shape and strides point into this object.
class TensorImpl {
 public:
  TensorImpl(Ref<Storage> storage, DType dtype, std::span<const int64_t> shape, std::span<const int64_t> strides,
             uint64_t byte_offset);
  ~TensorImpl();
  TensorImpl(const TensorImpl&) = delete;
  TensorImpl& operator=(const TensorImpl&) = delete;
  static void* operator new(size_t bytes);
  static void operator delete(void* p);

  void retain() { refs_.fetch_add(1, std::memory_order_relaxed); }
  void release() {
    if (refs_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
  }
  uint32_t use_count() const { return refs_.load(std::memory_order_relaxed); }

  tg_tensor desc;
  Ref<Storage> storage;
  DType dtype;
  bool requires_grad = false;  // a leaf that asked, or the result of a recorded op
  bool transformed = false;    // stands for another tensor within jvp, vmap or a nested gradient (autograd/node.h: Layer)
  Ints shape, strides;
  Lazy<AutogradMeta> autograd;
  void* python = nullptr;                  // the Python object while one exists (owned by the binding)

 private:
  std::atomic<uint32_t> refs_{1};
};

class Tensor {
 public:
  Tensor() = default;
  explicit Tensor(Ref<TensorImpl> impl) : impl_(std::move(impl)) {}
  // Uninitialised, contiguous.
  static Tensor empty(std::span<const int64_t> shape, DType dtype, Device* device);
  static Tensor empty(const Ints& shape, DType dtype, Device* device) {
    return empty(std::span<const int64_t>(shape), dtype, device);
  }
  // A view of the same storage: metadata only, no autograd record. TypeError for one of a packed dtype with gaps.
  Tensor alias(std::span<const int64_t> shape, std::span<const int64_t> strides, uint64_t byte_offset) const;
  // From host memory (contiguous, copied).
  static Tensor from_host(const void* data, std::span<const int64_t> shape, DType dtype, Device* device);

  explicit operator bool() const { return bool(impl_); }
  bool defined() const { return bool(impl_); }
  TensorImpl* impl() const { return impl_.get(); }
  const Ref<TensorImpl>& ref() const { return impl_; }
  friend bool same(const Tensor& a, const Tensor& b) { return a.impl_ == b.impl_; }
  // Whether a write through one may show in the other: one storage, or storages that others own and that overlap.
  friend bool shares_memory(const Tensor& a, const Tensor& b);

  DType dtype() const { return impl_->dtype; }
  const Ints& shape() const { return impl_->shape; }
  const Ints& strides() const { return impl_->strides; }
  int64_t rank() const { return impl_->desc.ndim; }
  int64_t size(int64_t axis) const { return impl_->shape[axis < 0 ? axis + rank() : axis]; }
  int64_t numel() const { return tg::numel(impl_->shape); }
  uint64_t nbytes() const { return bytes_of(dtype(), numel()); }
  bool is_contiguous() const;
  Device* device() const { return impl_->storage->device(); }
  const Ref<Storage>& storage() const { return impl_->storage; }
  uint32_t version() const { return impl_->storage->version(); }

  // autograd (autograd.h has the rest)
  bool requires_grad() const { return impl_->requires_grad; }
  Tensor& set_requires_grad(bool on);  // RuntimeError on a result of a recorded op, TypeError on an integer tensor
  bool is_leaf() const;
  Tensor grad() const;  // undefined when there is none
  void set_grad(Tensor g);
  Tensor detach() const;  // shares storage, is not recorded

  // Copies to host memory (contiguous, row-major), waiting for the device. `out` has nbytes().
  void to_host(void* out) const;
  Tensor to(Device* device) const;      // differentiable; itself when already there
  Tensor cast(DType dtype) const;       // differentiable; itself when already so
  Tensor contiguous() const;            // differentiable; itself when already so
  double item() const;                  // the one element; waits; ValueError, TypeError for a complex one
  bool has_value() const;               // false for what stands for a value while a function is traced

 private:
  Ref<TensorImpl> impl_;
};

}  // namespace tg
