// SPDX-License-Identifier: Apache-2.0
// Which storages are in which layout, and their blocks.
#include "runtime/layout.h"

#include <deque>

#include "runtime/remat.h"

namespace tg {
namespace {

// One lock for all: it is held for a few instructions, by threads that have to do with private layouts at all.
std::mutex& mutex() {
  static std::mutex& m = *new std::mutex();
  return m;
}
std::deque<Layouts::Tag>& tags() {
  static auto& t = *new std::deque<Layouts::Tag>();
  return t;
}

}  // namespace

uint16_t Layouts::number(const registry::LoadedPlugin* plugin, std::string_view tag) {
  std::lock_guard lock(mutex());
  for (size_t i = 0; i < tags().size(); ++i)
    if (tags()[i].plugin == plugin && tags()[i].name == tag) return uint16_t(i + 1);
  ensure(tags().size() < 0xffff, "expected fewer than 65535 layouts");
  tags().push_back({plugin, std::string(tag)});
  return uint16_t(tags().size());
}

const Layouts::Tag& Layouts::tag(uint16_t number) {
  std::lock_guard lock(mutex());
  return tags()[number - 1u];
}

Tensor Layouts::make(uint16_t number, Ref<Storage> block, std::span<const int64_t> shape, DType dtype, Device* device) {
  Stream* stream = device->host ? nullptr : current_stream(device);
  const uint64_t bytes = uint64_t(numel(Ints(shape))) * size_of(dtype);
  auto s = Ref<Storage>::adopt(device->allocator.shell(bytes, stream));
  Allocator::extra(s.get()).content = std::make_shared<LayoutContent>(LayoutContent{number, std::move(block), dtype, Ints(shape)});
  s->layout_.store(number, std::memory_order_release);
  remat::watch(remat::kLayouts);
  return Tensor(Ref<TensorImpl>::adopt(new TensorImpl(std::move(s), dtype, shape, contiguous_strides(shape), 0)));
}

LayoutContent Layouts::content(const Storage* s) {
  std::lock_guard lock(mutex());
  return s->layout() ? *Allocator::find_extra(s)->content : LayoutContent{};
}

LayoutContent Layouts::content(const Tensor& t) {
  LayoutContent c = content(t.storage().get());
  const bool whole = c.layout && t.dtype() == c.dtype && t.shape() == c.shape && t.is_contiguous() && t.impl()->desc.byte_offset == 0;
  return whole ? std::move(c) : LayoutContent{};
}

void Layouts::settle(Storage* s, Storage* plain) {
  std::shared_ptr<LayoutContent> gone;  // after the lock
  std::lock_guard lock(mutex());
  if (!s->layout()) return;
  s->device()->allocator.adopt(s, plain);
  gone = std::move(Allocator::extra(s).content);
  s->layout_.store(0, std::memory_order_release);
}

void Layouts::plain(const TensorImpl* t) {
  Storage* s = t->storage.get();
  if (s->layout()) make_plain(s);
  void*& known = const_cast<TensorImpl*>(t)->desc.data;  // several threads may be here
  if (__atomic_load_n(&known, __ATOMIC_ACQUIRE) != s->data()) __atomic_store_n(&known, s->data(), __ATOMIC_RELEASE);
}

}  // namespace tg
