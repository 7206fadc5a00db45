// SPDX-License-Identifier: Apache-2.0
#include "memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include <tengen/kernel_api.hpp>

namespace tg::chaos {
namespace {

constexpr size_t kGraves = 1024;

uint64_t page() {
  static const uint64_t size = uint64_t(sysconf(_SC_PAGESIZE));
  return size;
}

// What the canaries and the block take together, in whole pages.
uint64_t padded(uint64_t bytes) { return (kAlignment + bytes + page() - 1) / page() * page(); }

bool all(const char* p, uint64_t n, int value) {
  return std::all_of(p, p + n, [value](char c) { return static_cast<unsigned char>(c) == value; });
}

}  // namespace

Pages::Pages(uint64_t bytes, bool accessible) : bytes_(bytes + 2 * page()) {
  void* p = mmap(nullptr, bytes_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED)
    plugin::fail(TG_RESOURCE_EXHAUSTED, "chaos: mmap of %llu bytes failed", (unsigned long long)bytes);
  begin_ = static_cast<char*>(p) + page();
  if (accessible && mprotect(begin_, bytes, PROT_READ | PROT_WRITE) != 0) {
    munmap(p, bytes_);
    plugin::fail(TG_RESOURCE_EXHAUSTED, "chaos: mprotect of %llu bytes failed", (unsigned long long)bytes);
  }
}

Pages& Pages::operator=(Pages&& other) noexcept {
  std::swap(begin_, other.begin_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

Pages::~Pages() {
  if (begin_) munmap(begin_ - page(), bytes_);
}

Block::Block(uint64_t bytes)
    : bytes_(bytes),
      slack_(padded(bytes) - kAlignment - bytes),
      handles_(padded(bytes), false),
      pages_(padded(bytes), true),
      handle_(handles_.begin() + kAlignment),
      address_(pages_.begin() + kAlignment) {
  std::memset(pages_.begin(), kCanary, kAlignment);
  std::memset(address_, kPoison, bytes);
  std::memset(address_ + bytes, kCanary, slack_);
}

bool Block::canaries_intact() const {
  return all(pages_.begin(), kAlignment, kCanary) && all(address_ + bytes_, slack_, kCanary);
}

void* Memory::allocate(uint64_t bytes) {
  if (bytes == 0) plugin::fail(TG_INVALID_ARGUMENT, "chaos:%d alloc: expected bytes > 0, got 0", device_);
  {
    std::lock_guard lock(mutex_);
    if (bytes > limit_ || used_ > limit_ - bytes)
      plugin::fail(TG_RESOURCE_EXHAUSTED,
                   "chaos:%d alloc: %llu bytes asked, %llu of %llu are free (TENGEN_CHAOS_MEMORY sets the limit)",
                   device_, (unsigned long long)bytes, (unsigned long long)(limit_ - used_),
                   (unsigned long long)limit_);
    used_ += bytes;
  }
  try {
    auto block = std::make_shared<Block>(bytes);  // outside the lock: poisoning takes its time
    std::lock_guard lock(mutex_);
    return (live_[block->handle()] = block)->handle();
  } catch (...) {
    std::lock_guard lock(mutex_);
    used_ -= bytes;
    throw;
  }
}

std::string Memory::release(void* handle, uint64_t bytes) {
  if (!handle) return "";
  BlockPtr block;
  Grave oldest;  // unmapped after the lock is gone
  {
    std::lock_guard lock(mutex_);
    const auto it = live_.find(static_cast<const char*>(handle));
    if (it == live_.end()) {
      const bool twice = std::any_of(graves_.begin(), graves_.end(), [&](auto& g) { return g.handle == handle; });
      return twice ? "the block was freed before" : "expected a pointer that alloc gave, got another one";
    }
    block = std::move(it->second);
    live_.erase(it);
    used_ -= block->bytes();
    block->freed_.store(true, std::memory_order_release);
    graves_.push_back({std::move(block->handles_), block->handle(), block->bytes()});
    if (graves_.size() > kGraves) {
      oldest = std::move(graves_.front());
      graves_.pop_front();
    }
  }
  if (bytes != block->bytes())
    return "expected the size given to alloc, " + std::to_string(block->bytes()) + ", got " + std::to_string(bytes);
  if (block.use_count() == 1 && !block->canaries_intact())
    return "a kernel wrote outside a block of " + std::to_string(bytes) + " bytes";
  return "";
}

BlockPtr Memory::find(const void* handle, uint64_t offset, uint64_t bytes, const char* what) const {
  const char* p = static_cast<const char*>(handle);
  std::lock_guard lock(mutex_);
  auto it = live_.upper_bound(p);
  if (it != live_.begin()) {
    const BlockPtr& block = std::prev(it)->second;
    if (p == block->handle()) {
      if (offset <= block->bytes() && bytes <= block->bytes() - offset) return block;
      plugin::fail(TG_OUT_OF_RANGE, "%s reaches from byte %llu to %llu of a block of %llu bytes", what,
                   (unsigned long long)offset, (unsigned long long)(offset + bytes),
                   (unsigned long long)block->bytes());
    }
    if (p < block->handle() + block->bytes())
      plugin::fail(TG_INVALID_ARGUMENT,
                   "%s is an address %lld bytes inside a block: the host does no arithmetic on device addresses, the "
                   "place goes into byte_offset",
                   what, (long long)(p - block->handle()));
  }
  for (const Grave& grave : graves_)
    if (p >= grave.handle && p < grave.handle + grave.bytes)
      plugin::fail(TG_INVALID_ARGUMENT, "%s lies in a block of %llu bytes that was freed", what,
                   (unsigned long long)grave.bytes);
  plugin::fail(TG_INVALID_ARGUMENT, "%s: expected memory of chaos:%d, got the unknown address %p", what, device_,
               handle);
}

uint64_t Memory::used() const {
  std::lock_guard lock(mutex_);
  return used_;
}

size_t Memory::blocks() const {
  std::lock_guard lock(mutex_);
  return live_.size();
}

}  // namespace tg::chaos
