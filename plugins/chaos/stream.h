// SPDX-License-Identifier: Apache-2.0
//
// A stream is a queue and a thread that works it off in order, with random pauses. What others may know of its
// progress is its Timeline, which lives on while an event refers to it.
//
//   enqueue -> task n          timeline.done() == n once tasks 1..n are over
//   record  -> (timeline, n)   an event is no task: it names the last task enqueued so far
//   wait    -> a task that blocks this stream's thread until (timeline, n) is reached
//
// The first task that fails ends the stream: later tasks are skipped, and every (timeline, n) from there on reports it.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <cstdlib>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "chaos_ext.h"
#include "memory.h"

namespace tg::chaos {

// Why a stream failed. Thrown inside tasks, kept in timelines.
struct Problem {
  int32_t code;
  uint64_t launch_id;
  std::string message;
  int32_t report(tg_error* error) const;
};

class Timeline {
 public:
  void advance(uint64_t n, const std::optional<Problem>& failed);
  int32_t query(uint64_t n, tg_error* error) const;  // as stream_query
  int32_t wait(uint64_t n, tg_error* error) const;
  std::optional<Problem> wait_quietly(uint64_t n) const;
  std::optional<Problem> problem() const;

 private:
  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  uint64_t done_ = 0;
  uint64_t failed_at_ = UINT64_MAX;
  Problem problem_{};
};

class Device;

class Task {
 public:
  explicit Task(uint64_t launch) : launch_id(launch) {}
  virtual ~Task() = default;
  virtual void run() = 0;  // throws Failure or Problem
  const uint64_t launch_id;
};

class Stream;

// What native_stream points to. Not the Stream's own address, so that a host that mixes the two up is caught.
struct NativeStream : tg_chaos_stream {
  Stream* stream;
};

class Stream {
 public:
  Stream(Device& device, uint64_t seed);
  ~Stream();  // works off what is queued

  uint64_t enqueue(std::unique_ptr<Task> task);  // its number
  uint64_t last() const;
  Device& device() const { return device_; }
  const std::shared_ptr<Timeline>& timeline() const { return timeline_; }
  NativeStream* native() { return &native_; }

  // One thread at a time may use a stream; a second one at the same moment is told so.
  class Use {
   public:
    explicit Use(Stream& stream);
    ~Use() { stream_.in_use_.store(false, std::memory_order_release); }

   private:
    Stream& stream_;
  };

 private:
  void work();
  void pause();
  std::optional<Problem> run(Task& task);

  Device& device_;
  NativeStream native_;
  const std::shared_ptr<Timeline> timeline_ = std::make_shared<Timeline>();
  std::mt19937_64 random_;  // of the worker
  std::atomic<bool> in_use_{false};
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::unique_ptr<Task>> queue_;
  uint64_t enqueued_ = 0;
  bool stop_ = false;
  std::thread thread_;  // last: it uses all of the above
};

class Event {
 public:
  struct Point {
    std::shared_ptr<Timeline> timeline;  // null: never recorded, counts as reached
    uint64_t n = 0;
  };
  void record(Point point);
  Point point() const;

 private:
  mutable std::mutex mutex_;
  Point point_;
};

// Of the calling worker thread, until the running task is over: the blocks that it uses (checked then), and host
// memory for its kernel.
std::vector<BlockPtr>& pins();

class Scratch {
 public:
  void* allocate(uint64_t bytes) noexcept;  // 64-byte aligned; null when there is none
  void clear() { pieces_.clear(); }

 private:
  struct Free {
    void operator()(void* p) const { std::free(p); }
  };
  std::vector<std::unique_ptr<void, Free>> pieces_;
};
Scratch& task_scratch();

}  // namespace tg::chaos
