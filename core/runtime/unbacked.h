// SPDX-License-Identifier: Apache-2.0
// Storages without memory: what a thread that captures makes (dispatch/capture.h). Their data is a token that no pointer
// can be, different for every one of them. Internal to core and bindings.
#pragma once
#include <tengen/tensor.h>

#include <unordered_map>
#include <vector>

namespace tg {

// Threads that capture, and storages without memory that are alive: what is asked first wherever either makes a difference.
inline std::atomic<int> captures_open{0};

// What was made meanwhile.
struct UnbackedLog {
  std::unordered_map<const void*, uint64_t> made;  // by token: bytes
  std::vector<Ref<Storage>> constants;             // with memory: what came from the host
};
// While one is on, storages that this thread allocates have no memory.
class UnbackedScope {
 public:
  explicit UnbackedScope(bool on, UnbackedLog* log = nullptr);
  ~UnbackedScope();
  UnbackedScope(const UnbackedScope&) = delete;
  UnbackedScope& operator=(const UnbackedScope&) = delete;

 private:
  bool old_;
  UnbackedLog* old_log_;
};
void note_constant(const Ref<Storage>& storage);  // memory made within a scope that is on
namespace detail {
bool this_thread_makes_unbacked();
}
inline bool making_unbacked() {
  return captures_open.load(std::memory_order_relaxed) != 0 && detail::this_thread_makes_unbacked();
}
Ref<Storage> unbacked_storage(Device* device, uint64_t bytes);
bool is_unbacked(const Storage& storage);
inline bool is_unbacked(const Tensor& t) { return is_unbacked(*t.storage()); }
// Gives it memory; tensors that were made before have to be told (desc.data).
void back(Storage* storage);
// RuntimeError when the tensor has no memory: "[jit] ... the value of a traced tensor was looked at by `what`".
void check_backed(const Tensor& t, const char* what);

}  // namespace tg
