// SPDX-License-Identifier: Apache-2.0
// The caching allocator and Storage.
#include <bit>
#include <cstdlib>
#include <cstring>

#include "runtime/unbacked.h"
#include "runtime/remat.h"

namespace tg {
namespace {

// Size class of a request: eight classes to the octave, from 64 bytes.
uint32_t bin_of(uint64_t bytes) {
  if (bytes <= 64) return 0;
  const int octave = 63 - std::countl_zero(bytes - 1);  // 2^octave < bytes <= 2^(octave+1)
  return uint32_t((octave - 6) * 8 + int64_t((bytes - 1) >> (octave - 3)) - 8 + 1);
}
uint64_t bin_bytes(uint32_t bin) {
  if (bin == 0) return 64;
  const uint32_t octave = (bin - 1) / 8, eighth = (bin - 1) % 8 + 1;
  const uint64_t base = uint64_t(64) << octave;
  return (base + base * eighth / 8 + 63) & ~uint64_t(63);
}

thread_local NoMemory* t_no_memory = nullptr;

}  // namespace

void Allocator::set_alignment(uint64_t bytes) { least_bin_ = bin_of(bytes); }
uint32_t Allocator::bin_for(uint64_t bytes) const { return std::max(bin_of(bytes), least_bin_); }

NoMemory::NoMemory() : outer_(std::exchange(t_no_memory, this)) {
  for (auto& d : Runtime::get().devices) ++d->allocator.special_;
}
NoMemory::~NoMemory() {
  t_no_memory = outer_;
  for (auto& d : Runtime::get().devices) --d->allocator.special_;
}
bool NoMemory::on() { return t_no_memory != nullptr; }
void NoMemory::read(Storage* s) {
  if (!t_no_memory || (s && (s->data() || !s->bytes()))) return;
  t_no_memory->read_ = true;
  if (!s) return;  // the reader has made zeros himself
  Device* device = s->device();
  if (!device->host) return;
  const auto block = Ref<Storage>::adopt(device->allocator.take(s->bytes_, s->bin_, nullptr));
  std::memset(block->data(), 0, s->bytes());
  device->allocator.adopt(s, block.get());
}

Allocator::~Allocator() = default;

void* Allocator::raw_allocate(uint64_t bytes, tg_error* error, int32_t* status) {
  void* data = nullptr;
  if (device_->host) {
    data = std::aligned_alloc(64, bytes);
    *status = data ? TG_OK : TG_RESOURCE_EXHAUSTED;
  } else {
    device_->check_usable();
    *status = device_->api->alloc(device_->instance, device_->provider_index, bytes, &data, error);
  }
  return *status == TG_OK ? data : nullptr;
}

void Allocator::raw_free(void* data, uint64_t bytes) {
  if (device_->host) std::free(data);
  else if (device_->takes_back() && !device_->lost) device_->api->free(device_->instance, device_->provider_index, data, bytes);
}

void Allocator::count_locked(uint64_t size) {
  stats_.current += size;
  stats_.peak = std::max(stats_.peak, stats_.current);
  ++stats_.allocations;
}

Storage* Allocator::allocate(uint64_t bytes, Stream* stream) {
  if (bytes == 0) {
    auto* s = new Storage();
    s->device_ = device_;
    s->stream_ = stream;
    return s;
  }
  if (bytes > uint64_t(1) << 62)
    raise(ErrorKind::memory, "out of memory on ", device_->name, ": expected a sensible size, got ", bytes, " bytes");
  const uint32_t bin = bin_for(bytes);
  if (special_.load(std::memory_order_relaxed) == 0) [[likely]] return take(bytes, bin, stream);
  if (t_no_memory) return shell(bytes, stream);
  if (limit() == 0) return take(bytes, bin, stream);
  remat::Lock lock;  // nobody takes the room that is made
  remat::make_room(device_, bin_bytes(bin));
  return take(bytes, bin, stream);
}

Storage* Allocator::shell(uint64_t bytes, Stream* stream) {
  auto* s = new Storage();
  s->device_ = device_;
  s->stream_ = stream;
  s->bytes_ = bytes;
  s->bin_ = bin_for(bytes);
  return s;
}

Storage* Allocator::take(uint64_t bytes, uint32_t bin, Stream* stream) {
  {
    std::lock_guard lock(mutex_);
    if (!pending_.empty()) [[unlikely]] reclaim_locked();
    if (bin >= bins_.size()) bins_.resize(bin + 1);
    auto& cached = bins_[bin];
    for (size_t i = cached.size(); i-- > 0;)
      if (Storage* s = cached[i]; s->stream_ == stream) {
        cached[i] = cached.back();
        cached.pop_back();
        count_locked(bin_bytes(bin));
        s->refs_.store(1, std::memory_order_relaxed);
        s->version_.store(0, std::memory_order_relaxed);
        s->bytes_ = bytes;
        return s;
      }
  }
  return reserve(bytes, bin, stream);
}

// Memory that the device has to give.
Storage* Allocator::reserve(uint64_t bytes, uint32_t bin, Stream* stream) {
  const uint64_t size = bin_bytes(bin);
  auto s = std::unique_ptr<Storage>(new Storage());
  s->device_ = device_;
  s->stream_ = stream;
  s->bytes_ = bytes;
  s->bin_ = bin;
  tg_error error{};
  int32_t status;
  if (limit()) [[unlikely]] trim(size);
  s->data_ = raw_allocate(size, &error, &status);
  if (!s->data_ && status == TG_RESOURCE_EXHAUSTED) {
    empty_cache();
    s->data_ = raw_allocate(size, &error, &status);
  }
  if (!s->data_) {
    if (status != TG_RESOURCE_EXHAUSTED) device_->fail(status, error, "alloc");
    const MemoryStats m = stats();
    raise(ErrorKind::memory, "out of memory on ", device_->name, ": expected ", size, " bytes more, in use ", m.current,
          ", held ", m.reserved, error.message[0] ? " (" : "", error.message, error.message[0] ? ")" : "",
          "; use smaller batches or free tensors");
  }
  std::lock_guard lock(mutex_);
  stats_.reserved += size;
  count_locked(size);
  return s.release();
}

void Allocator::free(Storage* s) {
  if (const auto* e = find_extra(s); e && e->cell) [[unlikely]] remat::last_reference(s);
  else release(s);
}

void Allocator::release(Storage* s) {
  if (const auto* e = find_extra(s); e && e->deleter) {
    e->deleter(e->context);
    delete s;
    return;
  }
  if (!s->data_) {
    delete s;
    return;
  }
  cache(s);
}

// Nobody refers to the storage any more, but work on streams may.
void Allocator::cache(Storage* s) {
  std::vector<Event*> events;
  if (find_extra(s)) [[unlikely]] {
    for (Stream* stream : take_streams(s)) try {
        events.push_back(record_event(stream));
      } catch (const Error&) {
        // A failed stream does no more work; its memory may go.
      }
    s->extra_.reset();
  }
  std::lock_guard lock(mutex_);
  stats_.current -= bin_bytes(s->bin_);
  if (events.empty()) bins_[s->bin_].push_back(s);
  else pending_.push_back({s, std::move(events)});
}

namespace {
bool finished(Event* event) {
  try {
    return query(event);
  } catch (const Error&) {
    return true;  // a failed stream does no more work
  }
}
}  // namespace

void Allocator::reclaim_locked() {
  for (size_t i = 0; i < pending_.size();) {
    Pending& p = pending_[i];
    while (!p.events.empty() && finished(p.events.back())) {
      destroy_event(p.events.back());
      p.events.pop_back();
    }
    if (!p.events.empty()) {
      ++i;
      continue;
    }
    bins_[p.storage->bin_].push_back(p.storage);
    if (i + 1 != pending_.size()) p = std::move(pending_.back());
    pending_.pop_back();
  }
}

void Allocator::empty_cache() {
  // Cached blocks may still be written by work that was enqueued before they were freed. So they are taken first and
  // waited for then: what another thread frees meanwhile stays.
  std::vector<Storage*> cached;
  std::vector<Pending> pending;
  std::lock_guard alone(emptying_);
  {
    std::lock_guard lock(mutex_);
    for (auto& bin : bins_) {
      cached.insert(cached.end(), bin.begin(), bin.end());
      bin.clear();
    }
    pending.swap(pending_);
  }
  std::exception_ptr failure;
  if (!device_->host) try {
      device_->synchronize();
    } catch (const Error&) {
      failure = std::current_exception();  // all has been waited for; a failed stream writes no more
    }
  for (Pending& p : pending) {
    for (Event* event : p.events) destroy_event(event);
    cached.push_back(p.storage);
  }
  uint64_t freed = 0;
  for (Storage* s : cached) {
    raw_free(s->data_, bin_bytes(s->bin_));
    freed += bin_bytes(s->bin_);
    delete s;
  }
  {
    std::lock_guard lock(mutex_);
    stats_.reserved -= freed;
  }
  if (failure) std::rethrow_exception(failure);
}

void Allocator::trim(uint64_t bytes) {
  const auto over = [&] {
    std::lock_guard lock(mutex_);
    return stats_.reserved + bytes > limit();
  };
  if (!over()) return;
  if (!device_->host) return empty_cache();  // its blocks may still be written
  std::lock_guard lock(mutex_);
  for (size_t bin = bins_.size(); bin-- > 0;)
    while (!bins_[bin].empty() && stats_.reserved + bytes > limit()) {
      raw_free(bins_[bin].back()->data_, bin_bytes(uint32_t(bin)));
      delete bins_[bin].back();
      bins_[bin].pop_back();
      stats_.reserved -= bin_bytes(uint32_t(bin));
    }
}

MemoryStats Allocator::stats() {
  std::lock_guard lock(mutex_);
  return stats_;
}
void Allocator::reset_peak() {
  std::lock_guard lock(mutex_);
  stats_.peak = stats_.current;
}

// ---- storages without their memory -------------------------------------------------------------------------------------

Storage::Extra& Allocator::extra(Storage* s) { return s->extra_.make(); }
void Allocator::note_use(Storage* s, Stream* stream) {
  auto& streams = extra(s).streams;
  std::lock_guard lock(mutex_);
  for (Stream* other : streams)
    if (other == stream) return;
  streams.push_back(stream);
}
std::vector<Stream*> Allocator::take_streams(Storage* s) {
  auto& streams = extra(s).streams;
  std::lock_guard lock(mutex_);
  return std::exchange(streams, {});
}
uint64_t Allocator::block_bytes(const Storage* s) { return s->bytes_ ? bin_bytes(s->bin_) : 0; }
bool Allocator::try_retain(Storage* s) {
  uint32_t n = s->refs_.load(std::memory_order_relaxed);
  while (n && !s->refs_.compare_exchange_weak(n, n + 1, std::memory_order_acq_rel)) {
  }
  return n != 0;
}
void Allocator::revive(Storage* s) { s->refs_.store(1, std::memory_order_release); }
void Allocator::evict(Storage* s) {
  Storage* shell = this->shell(s->bytes_, s->stream_);
  shell->data_ = std::exchange(s->data_, nullptr);
  if (auto streams = take_streams(s); !streams.empty()) extra(shell).streams = std::move(streams);
  cache(shell);
}
void Allocator::adopt(Storage* s, Storage* from) {
  s->data_ = std::exchange(from->data_, nullptr);
  s->stream_ = from->stream_;
  auto streams = take_streams(from);
  auto& mine = extra(s).streams;
  std::lock_guard lock(mutex_);
  mine = std::move(streams);
}

void Allocator::adopt_memory(Storage* s, Ref<Storage> from) {
  s->data_ = from->data_;
  s->stream_ = from->stream_;
  s->extra_->deleter = [](void* memory) { static_cast<Storage*>(memory)->release(); };
  s->extra_->context = from.detach();
}

// ---- Storage -----------------------------------------------------------------------------------------------------------

Ref<Storage> Storage::allocate(Device* device, uint64_t bytes) {
  if (making_unbacked()) [[unlikely]] return unbacked_storage(device, bytes);
  Stream* stream = device->host ? nullptr : current_stream(device);
  return Ref<Storage>::adopt(device->allocator.allocate(bytes, stream));
}

Ref<Storage> Storage::borrow(Device* host, void* data, uint64_t bytes, void (*deleter)(void*), void* context) {
  auto* s = new Storage();
  s->device_ = host;
  s->data_ = data;
  s->bytes_ = bytes;
  Extra& extra = Allocator::extra(s);
  extra.deleter = deleter;
  extra.context = context;
  return Ref<Storage>::adopt(s);
}

Storage::~Storage() = default;

void Storage::destroy() { device_->allocator.free(this); }

void Storage::used_on(Stream* stream) {
  if (stream != stream_ && stream) device_->allocator.note_use(this, stream);
}

}  // namespace tg
