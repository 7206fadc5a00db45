// SPDX-License-Identifier: Apache-2.0
#include "runtime/unbacked.h"

#include "runtime/device.h"

namespace tg {
namespace {

thread_local bool t_unbacked = false;
thread_local UnbackedLog* t_log = nullptr;
// No address of x86-64 or AArch64 lies here; the places do not overlap, as those of memory do not.
std::atomic<uint64_t> g_next{uint64_t(1) << 62};

void nothing(void*) { captures_open.fetch_sub(1, std::memory_order_relaxed); }

}  // namespace

UnbackedScope::UnbackedScope(bool on, UnbackedLog* log)
    : old_(std::exchange(t_unbacked, on)), old_log_(std::exchange(t_log, log ? log : t_log)) {
  captures_open.fetch_add(1);
}
UnbackedScope::~UnbackedScope() {
  captures_open.fetch_sub(1);
  t_log = old_log_;
  t_unbacked = old_;
}
void note_constant(const Ref<Storage>& storage) {
  if (t_log) t_log->constants.push_back(storage);
}
bool detail::this_thread_makes_unbacked() { return t_unbacked; }

Ref<Storage> unbacked_storage(Device* device, uint64_t bytes) {
  const uint64_t place = g_next.fetch_add(((bytes + 63) / 64 + 1) * 64, std::memory_order_relaxed);
  if (t_log) t_log->made[reinterpret_cast<void*>(place)] = bytes;
  captures_open.fetch_add(1, std::memory_order_relaxed);
  return Storage::borrow(device, reinterpret_cast<void*>(place), bytes, nothing, nullptr);
}

bool is_unbacked(const Storage& storage) {
  const auto* extra = Allocator::find_extra(&storage);
  return extra && extra->deleter == nothing;
}

bool Tensor::has_value() const { return !is_unbacked(*this); }

void back(Storage* storage) {
  ensure(is_unbacked(*storage), "memory for a storage that has some");
  UnbackedScope off(false);
  Ref<Storage> memory = Storage::allocate(storage->device(), storage->bytes());
  nothing(nullptr);
  Allocator::adopt_memory(storage, std::move(memory));
}

void check_backed(const Tensor& t, const char* what) {
  if (!is_unbacked(t)) [[likely]] return;
  raise(ErrorKind::runtime, "[jit] expected operations on tensors only, got ", what, " of a traced tensor of shape ", str(t.shape()),
        ", which has no value while the function is traced; compute with tensors (tg.where), return the tensor and look at it"
        " outside, or pass the value as an argument");
}

}  // namespace tg
