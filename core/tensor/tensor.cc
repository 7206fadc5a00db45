// SPDX-License-Identifier: Apache-2.0
// Tensor: construction, views, copies between host and devices.
#include <tengen/autograd.h>
#include <tengen/op.h>

#include <cstring>
#include <functional>

#include "autograd/node.h"
#include "runtime/device.h"
#include "runtime/remat.h"
#include "runtime/unbacked.h"

namespace tg {
namespace {

// Bodies of dead tensors, reused: a small tensor lives for well under a microsecond.
struct FreeList {
  std::vector<void*> bodies;
  ~FreeList() {
    for (void* p : bodies) ::operator delete(p);
    bodies.clear();
    closed = true;
  }
  bool closed = false;
};
thread_local FreeList t_free;

Tensor transfer(const Tensor& t, Device* device, bool fresh);

}  // namespace

void* TensorImpl::operator new(size_t bytes) {
  if (!t_free.bodies.empty()) {
    void* p = t_free.bodies.back();
    t_free.bodies.pop_back();
    return p;
  }
  return ::operator new(bytes);
}
void TensorImpl::operator delete(void* p) {
  if (!t_free.closed && t_free.bodies.size() < 256) t_free.bodies.push_back(p);
  else ::operator delete(p);
}

TensorImpl::TensorImpl(Ref<Storage> s, DType dtype, std::span<const int64_t> shape, std::span<const int64_t> strides,
                       uint64_t byte_offset)
    : storage(std::move(s)), dtype(dtype), shape(shape), strides(strides) {
  const Device* d = storage->device();
  desc.data = storage->data();
  desc.device = d->host ? tg_device{TG_DEVICE_HOST, 0} : tg_device{TG_DEVICE_PLUGIN, d->index};
  desc.ndim = int32_t(shape.size());
  desc.dtype = abi_dtype(dtype);
  desc.shape = this->shape.data();
  desc.strides = this->strides.data();
  desc.byte_offset = byte_offset;
}
TensorImpl::~TensorImpl() = default;

Tensor Tensor::empty(std::span<const int64_t> shape, DType dtype, Device* device) {
  check(shape.size() <= TG_MAX_RANK, "expected at most ", TG_MAX_RANK, " axes, got ", shape.size());
  for (int64_t d : shape) check(d >= 0, "expected sizes of 0 or more, got shape ", tg::str(shape));
  const int64_t n = tg::numel(shape);
  uint64_t bytes;
  if (is_packed(dtype)) bytes = bytes_of(dtype, n);
  else if (__builtin_mul_overflow(uint64_t(n), uint64_t(size_of(dtype)), &bytes))
    raise(ErrorKind::memory, "out of memory: expected fewer than 2^64 bytes, got shape ", tg::str(shape));
  return Tensor(Ref<TensorImpl>::adopt(
      new TensorImpl(Storage::allocate(device, bytes), dtype, shape, contiguous_strides(shape), 0)));
}

Tensor Tensor::alias(std::span<const int64_t> shape, std::span<const int64_t> strides, uint64_t byte_offset) const {
  ensure(!impl_->transformed, "a view of a transformed tensor was made past the dispatcher");
  Tensor made(Ref<TensorImpl>::adopt(new TensorImpl(impl_->storage, dtype(), shape, strides, byte_offset)));
  if (is_packed(dtype()) && !made.is_contiguous()) [[unlikely]]
    raise(ErrorKind::type, "expected a view without gaps of ", long_name_of(dtype()), ", two of which share a byte, got shape ", tg::str(shape),
          " with strides ", tg::str(strides), "; cast to int8 first");
  return made;
}

bool shares_memory(const Tensor& a, const Tensor& b) {
  const Storage &s = *a.storage(), &t = *b.storage();
  if (&s == &t) return true;
  if (!s.device()->host || !t.device()->host) return false;
  // Arrays that others own may be parts of one buffer.
  const char *p = static_cast<const char*>(s.data()), *q = static_cast<const char*>(t.data());
  if (!p || !q) return false;  // empty or evicted: nobody else's
  return std::less<>()(p, q + t.bytes()) && std::less<>()(q, p + s.bytes());
}

bool Tensor::is_contiguous() const {
  int64_t expect = 1;
  const Ints &s = shape(), &st = strides();
  for (int64_t i = rank() - 1; i >= 0; --i) {
    if (s[i] == 0) return true;
    if (s[i] != 1 && st[i] != expect) return false;
    expect *= s[i];
  }
  return true;
}

Tensor Tensor::from_host(const void* data, std::span<const int64_t> shape, DType dtype, Device* device) {
  const bool constant = making_unbacked();
  UnbackedScope off(false);
  Tensor made = empty(shape, dtype, host_device());
  if (void* memory = made.storage()->data()) std::memcpy(memory, data, made.nbytes());
  if (!device->host) made = transfer(made, device, true);
  if (constant) note_constant(made.storage());
  return made;
}

Tensor copy_to_device(const Tensor& t, Device* device) { return transfer(t, device, false); }

namespace {
// `fresh`: nobody else can write t.
Tensor transfer(const Tensor& t, Device* device, bool fresh) {
  GradMode off(false);
  Device* from = t.device();
  if (from == device) return t;
  if (!from->host && !device->host) return transfer(transfer(t, host_device(), false), device, true);
  const Tensor src = t.contiguous();
  check_backed(src, "a copy on another device");
  const UnbackedScope memory(false);
  Tensor dst = Tensor::empty(src.shape(), src.dtype(), device);
  const uint64_t bytes = src.nbytes();
  if (!dst.storage()->data()) return dst;  // empty, or the call is only looked at
  const remat::Use use({&src, 1});
  Device* d = device->host ? from : device;
  d->check_usable();
  Stream* stream = current_stream(d);
  tg_error error{};
  int32_t status;
  if (device->host) {
    src.storage()->used_on(stream);
    {
      std::lock_guard lock(stream->mutex);
      status = d->api->copy_to_host(d->instance, d->provider_index, stream->living_handle("copy to host"), dst.storage()->data(),
                                    src.storage()->data(), src.impl()->desc.byte_offset, bytes, &error);
    }
    if (status != TG_OK) d->fail(status, error, "copy to host");
    stream->sync();
  } else {
    dst.storage()->used_on(stream);
    {
      std::lock_guard lock(stream->mutex);
      const char* host_data = static_cast<const char*>(src.storage()->data()) + src.impl()->desc.byte_offset;
      status = d->api->copy_to_device(d->instance, d->provider_index, stream->living_handle("copy to device"), dst.storage()->data(), 0,
                                      host_data, bytes, &error);
    }
    if (status != TG_OK) d->fail(status, error, "copy to device");
    // The copy may be late. A source of our own is kept alive; one that others can write is waited for.
    if (fresh || src.storage() != t.storage()) stream->keep_until_done(src.storage());
    else stream->sync();
  }
  return dst;
}
}  // namespace

void Tensor::to_host(void* out) const {
  check_concrete(*this, "reading");
  check_backed(*this, "the value");
  const uint64_t bytes = nbytes();
  if (bytes == 0) return;
  GradMode off(false);
  Device* d = device();
  const Tensor src = contiguous();
  const uint64_t offset = src.impl()->desc.byte_offset;
  const remat::Use use({&src, 1});
  if (NoMemory::on() && !src.storage()->data()) {
    NoMemory::read(nullptr);
    std::memset(out, 0, bytes);
    return;
  }
  if (d->host) {
    std::memcpy(out, static_cast<const char*>(src.storage()->data()) + offset, bytes);
    return;
  }
  d->check_usable();
  Stream* stream = current_stream(d);
  src.storage()->used_on(stream);
  tg_error error{};
  int32_t status;
  {
    std::lock_guard lock(stream->mutex);
    status = d->api->copy_to_host(d->instance, d->provider_index, stream->living_handle("copy to host"), out, src.storage()->data(), offset, bytes, &error);
  }
  if (status != TG_OK) d->fail(status, error, "copy to host");
  stream->sync();
}

Tensor Tensor::contiguous() const { return is_contiguous() ? *this : op<"copy">({*this}); }
Tensor Tensor::cast(DType to) const { return to == dtype() ? *this : op<"cast">({*this}, {to}); }

double Tensor::item() const {
  check(numel() == 1, "[item] expected a tensor of one element, got shape ", tg::str(shape()));
  if (is_complex(dtype()))
    raise(ErrorKind::type, "[item] expected real numbers, got ", long_name_of(dtype()), "; take real(x) and imag(x), or to_host()");
  uint64_t bits = 0;
  to_host(&bits);
  return Scalar::from_bits(bits, dtype()).as_double();
}

}  // namespace tg
