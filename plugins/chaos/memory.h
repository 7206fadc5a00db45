// SPDX-License-Identifier: Apache-2.0
//
// Device memory that the host cannot touch. Every block is mapped twice: once without access, whose address is the
// handle that the host gets, and once readable and writable, where the worker threads compute. A host that reads a
// handle faults at once; a task turns the handle into the real address through Memory::find.
//
//   |no access| 64 canary bytes | bytes ... | canary bytes to the page's end |no access|
//             ^ page boundary   ^ data, 64-byte aligned and no more
//
// New memory is poisoned with 0xCB: as f32, f64 and bf16 large negative numbers, as integers far out of any range.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <string>

namespace tg::chaos {

inline constexpr uint64_t kAlignment = 64;
inline constexpr int kPoison = 0xCB;
inline constexpr int kCanary = 0xA5;

// Pages of the process, unmapped when it goes.
class Pages {
 public:
  Pages() = default;
  Pages(uint64_t bytes, bool accessible);  // accessible, but for a guard page at each end; throws Failure
  Pages(Pages&& other) noexcept : begin_(other.begin_), bytes_(other.bytes_) { other.begin_ = nullptr; }
  Pages& operator=(Pages&& other) noexcept;
  ~Pages();
  char* begin() const { return begin_; }

 private:
  char* begin_ = nullptr;
  uint64_t bytes_ = 0;
};

// One allocation. Tasks share it with Memory, so that a block that is freed too early stays mapped until they end.
class Block {
 public:
  explicit Block(uint64_t bytes);
  uint64_t bytes() const { return bytes_; }
  char* handle() const { return handle_; }
  char* address() const { return address_; }
  bool freed() const { return freed_.load(std::memory_order_acquire); }
  bool canaries_intact() const;

 private:
  friend class Memory;
  uint64_t bytes_;
  uint64_t slack_;  // canary bytes after the last byte
  Pages handles_, pages_;
  char *handle_, *address_;
  std::atomic<bool> freed_{false};
};

using BlockPtr = std::shared_ptr<Block>;

class Memory {
 public:
  Memory(int device, uint64_t limit) : device_(device), limit_(limit) {}

  void* allocate(uint64_t bytes);  // throws Failure(TG_RESOURCE_EXHAUSTED)
  // Empty, or what is wrong: no such block, another size, a canary overwritten.
  std::string release(void* handle, uint64_t bytes);

  // The block whose handle it is; throws Failure that says what the address is instead. [offset, offset + bytes) must
  // lie inside. `what` names the argument in the message.
  BlockPtr find(const void* handle, uint64_t offset, uint64_t bytes, const char* what) const;

  uint64_t limit() const { return limit_; }
  uint64_t used() const;
  size_t blocks() const;

 private:
  const int device_;
  const uint64_t limit_;
  mutable std::mutex mutex_;
  uint64_t used_ = 0;
  std::map<const char*, BlockPtr> live_;  // by handle
  // Handles of freed blocks keep their addresses for a while, so that a late user is told instead of served.
  struct Grave {
    Pages handles;
    const char* handle;
    uint64_t bytes;
  };
  std::deque<Grave> graves_;
};

}  // namespace tg::chaos
