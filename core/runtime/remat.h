// SPDX-License-Identifier: Apache-2.0
// Rematerialisation, as dispatch, copies and bindings see it: what a call does to the memory it touches while some device
// has a limit. Internal to core.
#pragma once
#include <tengen/memory_limit.h>
#include <tengen/op.h>

#include "runtime/device.h"

namespace tg::remat {

// Why calls have to look at the memory that they touch: bits of one byte, so that those without a reason test it once.
inline constexpr uint8_t kLimits = 1;   // a limit has been set; stays once a result has been evicted
inline constexpr uint8_t kLayouts = 2;  // some result was in a private layout (layout.h)
extern std::atomic<uint8_t> g_watched;
inline bool watched() { return g_watched.load(std::memory_order_relaxed) != 0; }
inline bool active() { return g_watched.load(std::memory_order_relaxed) & kLimits; }
inline bool layouts() { return g_watched.load(std::memory_order_relaxed) & kLayouts; }
inline void watch(uint8_t what) { g_watched |= what; }

// One lock for all that this knows, entered any number of times by a thread. Held while calls run again. It is taken
// before an allocator's and a stream's, never inside of them.
class Lock {
 public:
  Lock();
  ~Lock();
  Lock(const Lock&) = delete;
  Lock& operator=(const Lock&) = delete;
};

// For the allocator. Under Lock: evicts until `bytes` more fit; MemoryError.
void make_room(Device* device, uint64_t bytes);
// The last reference to a storage with a cell is gone: it is freed, or kept for what was computed from it.
void last_reference(Storage* storage);

// The tensors that a call reads (`in`) and writes into (`out`): they are plain, in memory, and stay there while this lives.
class Use {
 public:
  Use(std::span<const Tensor> in, std::span<const Tensor> out = {}) {
    if (watched()) [[unlikely]] enter(in, out);
  }
  Use(std::span<const Arg> in, std::span<const Tensor> out) {
    if (watched()) [[unlikely]] enter(in, out);
  }
  ~Use() {
    if (pins_) [[unlikely]] leave();
  }
  Use(const Use&) = delete;
  Use& operator=(const Use&) = delete;
  bool on() const { return pins_ != nullptr; }
  void leave();
  void start() {  // the kernel is about to run
    if (pins_) [[unlikely]] start_clock();
  }
  // What the call made, and how it is made again.
  void record(const Op& op, std::span<const Arg> in, std::span<const Attr> attrs, std::span<const Tensor> results,
              Device* device, uint64_t wanted);

 private:
  struct Pins;
  void enter(std::span<const Tensor> in, std::span<const Tensor> out);
  void enter(std::span<const Arg> in, std::span<const Tensor> out);
  void start_clock();
  Pins* pins_ = nullptr;
};

// While a call runs that autograd could keep something of, what its parts make is remembered; in other calls (a backward
// pass, no_grad, in-place ones) it is not. The outermost call decides.
class Recording {
 public:
  explicit Recording(bool on) : on_(active()) {
    if (on_) [[unlikely]] begin(on);
  }
  ~Recording() {
    if (on_) [[unlikely]] end();
  }
  Recording(const Recording&) = delete;
  Recording& operator=(const Recording&) = delete;

 private:
  static void begin(bool on);
  static void end();
  bool on_;
};

bool recording();
// How results of a call are made again; `cost` in ns. Those that a part of the call has recorded, and those whose memory is an
// input's, are left alone.
void record(const Op& op, std::span<const Arg> in, std::span<const Attr> attrs, std::span<const Tensor> results, Device* device,
            uint64_t wanted, double cost);
double now_ns();

// The call again, past autograd; defined by dispatch.
Tensors replay(const Op& op, std::span<const Arg> in, std::span<const Attr> attrs, Device* device, uint64_t wanted);

}  // namespace tg::remat
