// SPDX-License-Identifier: Apache-2.0
//
// Indices, as gather and scatter read them: negative ones count from the end; the first bad one is remembered and
// reported when all threads are done.
#ifndef TENGEN_PLUGINS_CPU_GATHER_H_
#define TENGEN_PLUGINS_CPU_GATHER_H_

#include <atomic>
#include <tengen/kernel_api.hpp>

namespace tg::cpu {

class Indices {
 public:
  explicit Indices(int64_t size) : size_(size) {}

  // The position, or -1 for an index outside [-size, size).
  int64_t position(int64_t index) {
    const int64_t at = index < 0 ? index + size_ : index;
    if (uint64_t(at) < uint64_t(size_)) return at;
    bad_index_.store(index, std::memory_order_relaxed);
    bad_.store(true, std::memory_order_release);
    return -1;
  }

  void check(const char* op, int axis) const {
    if (!bad_.load(std::memory_order_acquire)) return;
    plugin::fail(TG_OUT_OF_RANGE, "[%s] expected indices in [%lld, %lld) for axis %d of size %lld, got %lld", op,
                 static_cast<long long>(-size_), static_cast<long long>(size_), axis, static_cast<long long>(size_),
                 static_cast<long long>(bad_index_.load(std::memory_order_relaxed)));
  }

 private:
  int64_t size_;
  std::atomic<bool> bad_{false};
  std::atomic<int64_t> bad_index_{0};
};

inline bool is_index(tg_dtype t) { return t.code == TG_CODE_INT && (t.bits == 32 || t.bits == 64) && t.lanes == 1; }

}  // namespace tg::cpu
#endif  // TENGEN_PLUGINS_CPU_GATHER_H_
