// SPDX-License-Identifier: Apache-2.0
//
// The plugin's state: an Instance (what open returns) has two Devices; each knows its memory and whether it is lost.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>

#include "memory.h"
#include "settings.h"
#include "stream.h"

namespace tg::chaos {

inline constexpr int kDevices = 2;

extern const tg_chaos_api kChaosApi;  // extension.cc

class Device {
 public:
  Device(int index, const Settings& settings)
      : memory(index, settings.memory), native_{&kChaosApi, index, 0}, settings_(settings) {}

  int index() const { return native_.index; }
  const Settings& settings() const { return settings_; }
  const tg_chaos_device* native() const { return &native_; }

  bool lost() const { return lost_.load(std::memory_order_acquire); }
  void lose() { lost_.store(true, std::memory_order_release); }
  std::string lost_message() const {
    return "chaos:" + std::to_string(index()) + " is lost (TENGEN_CHAOS_LOSE_DEVICE)";
  }

  // Damage found when no task was there to blame; every later sync reports it.
  void damage(const std::string& message);
  std::string damage() const;

  void check() const;  // throws when lost or damaged

  Memory memory;

 private:
  const tg_chaos_device native_;
  const Settings settings_;
  std::atomic<bool> lost_{false};
  mutable std::mutex mutex_;
  std::string damage_;
};

class Instance {
 public:
  explicit Instance(const tg_host* host);
  ~Instance();

  // What the kernels are given: they run in a stream's thread, where parallel_for is a plain call and scratch is
  // malloc.
  const tg_host* kernel_host() const { return &kernel_host_; }

  Device& device(int32_t index);  // these three throw Failure for what they don't know
  Stream& stream(int32_t device, void* handle);
  Event& event(int32_t device, void* handle);

  // What a stream has to do, also when it is gone.
  Event::Point end_of(int32_t device, void* handle);
  Stream& make_stream(int32_t device);
  void destroy_stream(int32_t device, void* handle);
  Event& make_event(int32_t device);
  void destroy_event(int32_t device, void* handle);

  uint64_t next_alloc() { return ++allocs_; }
  uint64_t next_launch() { return ++launches_; }
  const Settings& settings() const { return settings_; }
  void log(int32_t level, const std::string& message) const;

 private:
  template <class T>
  struct Owned {
    int32_t device;
    std::unique_ptr<T> it;
  };
  const tg_host* host_;
  tg_host kernel_host_{};
  const Settings settings_;
  Device devices_[kDevices];
  std::atomic<uint64_t> allocs_{0}, launches_{0};
  std::mutex mutex_;
  uint64_t streams_made_ = 0;
  std::unordered_map<const void*, Owned<Event>> events_;
  std::unordered_map<const void*, std::pair<int32_t, Event::Point>> ended_;  // streams that are gone
  std::unordered_map<const void*, Owned<Stream>> streams_;  // last: their threads end before the rest goes
};

}  // namespace tg::chaos
