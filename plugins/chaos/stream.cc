// SPDX-License-Identifier: Apache-2.0
#include "stream.h"

#include <chrono>
#include <cstring>

#include "device.h"

namespace tg::chaos {

int32_t Problem::report(tg_error* error) const { return plugin::set_error(error, code, message.c_str(), launch_id); }

std::vector<BlockPtr>& pins() {
  thread_local std::vector<BlockPtr> blocks;
  return blocks;
}

Scratch& task_scratch() {
  thread_local Scratch scratch;
  return scratch;
}

void* Scratch::allocate(uint64_t bytes) noexcept {
  if (bytes == 0 || bytes > PTRDIFF_MAX - kAlignment) return nullptr;
  void* p = std::aligned_alloc(kAlignment, (bytes + kAlignment - 1) / kAlignment * kAlignment);
  if (!p) return nullptr;
  std::memset(p, kPoison, bytes);
  try {
    pieces_.emplace_back(p);
  } catch (const std::bad_alloc&) {
    std::free(p);
    return nullptr;
  }
  return p;
}

// ---- Timeline -------------------------------------------------------------------------------------------------------

void Timeline::advance(uint64_t n, const std::optional<Problem>& failed) {
  {
    std::lock_guard lock(mutex_);
    done_ = n;
    if (failed && failed_at_ == UINT64_MAX) {
      failed_at_ = n;
      problem_ = *failed;
    }
  }
  changed_.notify_all();
}

int32_t Timeline::query(uint64_t n, tg_error* error) const {
  std::lock_guard lock(mutex_);
  if (failed_at_ <= n) return problem_.report(error);
  if (done_ >= n) return TG_OK;
  return plugin::set_error(error, TG_UNAVAILABLE, "still running");
}

std::optional<Problem> Timeline::wait_quietly(uint64_t n) const {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return done_ >= n; });
  return failed_at_ <= n ? std::optional(problem_) : std::nullopt;
}

int32_t Timeline::wait(uint64_t n, tg_error* error) const {
  const std::optional<Problem> problem = wait_quietly(n);
  return problem ? problem->report(error) : TG_OK;
}

std::optional<Problem> Timeline::problem() const {
  std::lock_guard lock(mutex_);
  return failed_at_ != UINT64_MAX ? std::optional(problem_) : std::nullopt;
}

// ---- Event ----------------------------------------------------------------------------------------------------------

void Event::record(Point point) {
  std::lock_guard lock(mutex_);
  point_ = std::move(point);
}

Event::Point Event::point() const {
  std::lock_guard lock(mutex_);
  return point_;
}

// ---- Stream ---------------------------------------------------------------------------------------------------------

Stream::Use::Use(Stream& stream) : stream_(stream) {
  if (stream.in_use_.exchange(true, std::memory_order_acquire))
    plugin::fail(TG_FAILED_PRECONDITION,
                 "chaos:%d: two threads use one stream at the same moment; expected one thread at a time",
                 stream.device_.index());
}

Stream::Stream(Device& device, uint64_t seed)
    : device_(device), native_{{&kChaosApi, device.native()}, this}, random_(seed), thread_([this] { work(); }) {}

Stream::~Stream() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

uint64_t Stream::enqueue(std::unique_ptr<Task> task) {
  uint64_t n;
  {
    std::lock_guard lock(mutex_);
    queue_.push_back(std::move(task));
    n = ++enqueued_;
  }
  wake_.notify_one();
  return n;
}

uint64_t Stream::last() const {
  std::lock_guard lock(mutex_);
  return enqueued_;
}

void Stream::pause() {
  const Settings& s = device_.settings();
  if (s.delay_us == 0 || s.delay_every == 0 || random_() % s.delay_every != 0) return;
  std::this_thread::sleep_for(std::chrono::microseconds(random_() % s.delay_us + 1));
}

// Runs one task and checks what it did to the blocks that it used.
std::optional<Problem> Stream::run(Task& task) {
  std::optional<Problem> problem;
  try {
    if (device_.lost()) throw plugin::Failure(TG_DEVICE_LOST, device_.lost_message().c_str());
    task.run();
    for (const BlockPtr& block : pins()) {
      if (block->freed())
        plugin::fail(TG_FAILED_PRECONDITION, "a block of %llu bytes was freed before the work that uses it was done",
                     (unsigned long long)block->bytes());
      if (!block->canaries_intact())
        plugin::fail(TG_INTERNAL, "the kernel wrote outside a block of %llu bytes", (unsigned long long)block->bytes());
    }
  } catch (Problem& p) {
    problem = std::move(p);
  } catch (const plugin::Failure& e) {
    problem = Problem{e.code(), task.launch_id, e.what()};
  } catch (const std::exception& e) {
    problem = Problem{TG_INTERNAL, task.launch_id, e.what()};
  }
  pins().clear();
  task_scratch().clear();
  return problem;
}

void Stream::work() {
  std::optional<Problem> failed;
  for (uint64_t n = 1;; ++n) {
    std::unique_ptr<Task> task;
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [&] { return stop_ || !queue_.empty(); });
      if (queue_.empty()) return;
      task = std::move(queue_.front());
      queue_.pop_front();
    }
    if (!failed) {
      pause();
      failed = run(*task);
    }
    task.reset();  // before the timeline advances: what the task held is free once it is known to be done
    timeline_->advance(n, failed);
  }
}

}  // namespace tg::chaos
