// SPDX-License-Identifier: Apache-2.0
// Choices read from a fuzzer's bytes; zeros when they run out.
#pragma once
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace tg::fuzz {

class Bytes {
 public:
  Bytes(const uint8_t* data, size_t size) : at_(data), end_(data + size) {}
  bool empty() const { return at_ == end_; }
  uint8_t byte() { return empty() ? 0 : *at_++; }
  uint32_t below(uint32_t n) { return n <= 1 ? 0 : n <= 256 ? byte() % n : (byte() << 8 | byte()) % n; }
  bool flag() { return byte() & 1; }
  // Mostly small, now and then at the ends of the range.
  int64_t integer() {
    const uint8_t kind = byte();
    if (kind < 192) return int64_t(kind % 12) - 2;
    if (kind < 208) return int64_t(1) << (byte() % 63);
    if (kind < 216) return INT64_MAX - byte();
    if (kind < 224) return INT64_MIN + byte();
    uint64_t v = 0;
    for (int i = 0; i < 8; ++i) v = v << 8 | byte();
    return int64_t(v);
  }

 private:
  const uint8_t *at_, *end_;
};

// What must hold whatever the input: abort() is what a fuzzer looks for.
inline void must(bool ok, const char* what) {
  if (ok) return;
  std::fprintf(stderr, "does not hold: %s\n", what);
  std::abort();
}

}  // namespace tg::fuzz
