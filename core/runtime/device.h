// SPDX-License-Identifier: Apache-2.0
// A device with its memory, streams and kernel candidates. Internal to core.
#pragma once
#include <tengen/error.h>
#include <tengen/registry.h>
#include <tengen/runtime.h>

#include <deque>
#include <map>
#include <mutex>

namespace tg {

class Device;
namespace remat {
struct Cell;
}
bool forked();  // this process is a fork of the one that opened the devices

// Throws what a plugin's status means: "[op] message (launch 12, op), status 13".
[[noreturn]] void raise_status(int32_t status, const tg_error& error, const std::string& where);

// ---- memory ---------------------------------------------------------------------------------------------------------
// Freed storages are kept whole, with their memory, in size classes (eight to the octave: at most 12.5 % is lost) and
// handed out again: at once on the stream they were used on, after an event on others.
class Allocator {
 public:
  explicit Allocator(Device* device) : device_(device) {}
  // Blocks are aligned to this on the device: smaller ones would cost as much. A power of two.
  void set_alignment(uint64_t bytes);
  ~Allocator();
  Storage* allocate(uint64_t bytes, Stream* stream);
  void free(Storage* storage);
  void empty_cache();
  MemoryStats stats();
  void reset_peak();

  // For rematerialisation (remat.h): a limit, and storages without their memory.
  uint64_t limit() const { return limit_.load(std::memory_order_relaxed); }  // 0: none
  void set_limit(uint64_t bytes) { special_ += int(bytes != 0) - int(limit_.exchange(bytes) != 0); }
  static Storage::Extra& extra(Storage* storage);
  static const Storage::Extra* find_extra(const Storage* storage) { return storage->extra_.get(); }
  static uint64_t block_bytes(const Storage* storage);
  static bool try_retain(Storage* storage);          // false when the last reference is gone
  static void revive(Storage* storage);              // one reference again, after the last
  void evict(Storage* storage);                      // gives its memory back
  void adopt(Storage* storage, Storage* from);       // takes the memory of another one of its size
  void note_use(Storage* storage, Stream* stream);   // by a stream other than the allocating one
  void release(Storage* storage);                    // the end of it
  static void adopt_memory(Storage* storage, Ref<Storage> from);  // becomes a storage with from's memory, which it keeps
  uint32_t bin_for(uint64_t bytes) const;
  // A storage of that size without memory, which adopt may give it.
  Storage* shell(uint64_t bytes, Stream* stream);

 private:
  struct Pending {  // freed while other streams may still use it
    Storage* storage;
    std::vector<Event*> events;
  };
  Storage* reserve(uint64_t bytes, uint32_t bin, Stream* stream);
  Storage* take(uint64_t bytes, uint32_t bin, Stream* stream);
  void cache(Storage* storage);
  void trim(uint64_t bytes);  // gives cached storages back until `bytes` more may be taken from the device
  void* raw_allocate(uint64_t bytes, tg_error* error, int32_t* status);
  void raw_free(void* data, uint64_t bytes);
  void reclaim_locked();
  std::vector<Stream*> take_streams(Storage* storage);
  void count_locked(uint64_t size);
  Device* device_;
  uint32_t least_bin_ = 0;
  std::mutex emptying_;  // taken before mutex_: who finds no memory waits for what another thread gives back
  std::mutex mutex_;
  std::vector<std::vector<Storage*>> bins_;
  std::vector<Pending> pending_;
  MemoryStats stats_;
  std::atomic<uint64_t> limit_{0};
  std::atomic<int> special_{0};  // reasons to look twice at an allocation: a limit, threads that are within NoMemory
  friend class NoMemory;
};

// While it lives, what this thread allocates has no memory, on any device: calls are looked at and not run. Reading such a
// tensor gives zeros.
class NoMemory {
 public:
  NoMemory();
  ~NoMemory();
  NoMemory(const NoMemory&) = delete;
  NoMemory& operator=(const NoMemory&) = delete;
  static bool on();
  static void read(Storage* storage);  // its bytes are asked for: zeros, in memory where this is the host's
  bool was_read() const { return read_; }

 private:
  NoMemory* outer_;
  bool read_ = false;
};

struct Storage::Extra {
  void (*deleter)(void*) = nullptr;  // this and its context: set before anybody else sees the storage
  void* context = nullptr;
  std::vector<Stream*> streams;      // besides the allocating one; under the allocator's lock
  std::shared_ptr<struct LayoutContent> content;  // in a private layout (layout.h)
  std::shared_ptr<remat::Cell> cell; // under remat::Lock, as are the
  uint32_t exports = 0;              // pointers to the memory that others hold
};

// ---- streams ---------------------------------------------------------------------------------------------------------

// The object lives as long as the process, as storages, recipes and threads name it; its handle may go (destroy_stream,
// the end of the runtime): then nothing is enqueued any more, and it counts as idle.
class Stream {
 public:
  Stream(Device* device, bool own) : device(device), own(own) {}
  Device* device;
  // NULL: none, or no more. Written under both mutexes, so read under either.
  void* handle = nullptr;
  void* native = nullptr;
  bool own;
  std::recursive_mutex mutex;  // a stream is used by one thread at a time
  void sync();
  bool idle();   // asks the device even while another thread waits in sync
  bool alive();  // has a handle
  void check_fork() const;  // throws in a forked process, where a thread that is gone may hold the mutexes
  void close();  // waits for its work and gives the handle back
  void* living_handle(const char* what) const;  // under `mutex`; RuntimeError for a stream that was destroyed
  // A failed stream stays failed until it is destroyed. Once the failure has been reported, a new one takes its place, so
  // that the process can go on; what the failed one did not finish is lost.
  void recover();
  // Keeps host memory alive until the work enqueued so far is done.
  void keep_until_done(Ref<Storage> host_memory);

 private:
  friend class Device;
  void drop_finished();
  void drop_kept();
  std::mutex handle_mutex_;
  std::deque<std::pair<Event*, Ref<Storage>>> kept_;
};

struct Event {
  Device* device;
  void* handle;
};

// ---- kernels of a device ------------------------------------------------------------------------------------------------

struct RowRef {
  const registry::LoadedPlugin* plugin;
  const registry::Row* row;
  uint32_t index;
  bool native;  // the plugin owns the device: it gets its own stream handle
};

// What a plan says of an argument: the number of a private layout and the size of its block, or zeros.
struct ArgLayout {
  uint16_t layout = 0;
  uint64_t bytes = 0;
};

struct KernelSet {              // the rows of one op name on one device, best plugin and score first
  std::vector<RowRef> rows;
  std::vector<std::pair<RowRef, std::string>> unusable;  // with reasons
  std::map<const registry::LoadedPlugin*, std::string> ranks;  // why a plugin has its place
  bool bakes_dims = false, bakes_strides = false, layouts = false;
};

class Device {
 public:
  Device(std::string kind, int kind_index, int index);
  ~Device();
  std::string kind, name, product, domain, provider_name, reason;
  std::string features;
  int index;                // in Runtime::devices
  int32_t provider_index = 0;  // among its provider's
  bool usable = true, host = false, fallback = false;
  uint64_t memory_bytes = 0;
  uint64_t alignment = 64;
  registry::LoadedPlugin* provider = nullptr;  // NULL: host memory
  const tg_device_api* api = nullptr;
  void* instance = nullptr;
  void *native_device = nullptr, *native_context = nullptr;
  std::atomic<bool> lost{false}, ended{false};  // ended: its plugin is shut down, or about to be
  Allocator allocator;

  Stream* default_stream();
  Stream* new_stream();
  void synchronize();  // waits for all streams, then throws the first failure
  // Throws when the device cannot be used now (lost, shut down, or the process has forked).
  void check_usable() const;
  // Whether what it handed out may be given back to it.
  bool takes_back() const { return !ended.load(std::memory_order_acquire) && !forked(); }
  const KernelSet& kernels(const std::string& op);  // cached
  bool served_by(std::span<registry::LoadedPlugin* const> plugins) const;  // some row of theirs is for this device
  void forget_kernels();
  std::vector<Stream*> all_streams();
  void end();  // no call reaches the provider from here on
  [[noreturn]] void fail(int32_t status, const tg_error& error, const std::string& where);

 private:
  std::mutex mutex_;
  std::vector<std::unique_ptr<Stream>> streams_;
  std::map<std::string, std::unique_ptr<KernelSet>> kernels_;
};

// ---- the process -----------------------------------------------------------------------------------------------------------

class Runtime {
 public:
  static Runtime& get();  // loads the plugins at first use
  std::vector<std::unique_ptr<Device>> devices;
  Device* host = nullptr;
  registry::Registry registry;
  std::vector<registry::LoadedPlugin*> ranked;  // kernel providers of the domain host, best first
  const tg_host* host_table;

  Device* find(std::string_view name);
  Device* default_device();
  void set_default(Device* d) { default_ = d; }
  std::string default_reason();
  void end();
  // Plugins that may serve a device, best first, each with the reason for its place; those that TENGEN_PLUGIN=only:...
  // keeps out come last. `op`: rows of this op are asked for ("": of any).
  struct Place {
    registry::LoadedPlugin* plugin;
    std::string reason;
    bool left_out;
  };
  std::vector<Place> ranking(const Device& device, const std::string& op = "");
  std::vector<registry::LoadedPlugin*> providers_for(const Device& device);  // those that are not left out

 private:
  Runtime();
  void add_devices(registry::LoadedPlugin* plugin);
  Device* pick_default(std::string* reason);
  std::atomic<Device*> default_{nullptr};
  std::mutex default_mutex_;
  std::string default_reason_;  // under default_mutex_
  std::atomic<bool> ended_{false};
};

uint64_t next_launch_id();                      // 1, 2, ...: the newest is the number of launches so far
uint64_t launches();
void note_launch(uint64_t id, const char* op);  // for reports of asynchronous failures
const char* launched_op(uint64_t id);           // "" when long ago
void end_plans();                               // of dispatch: forgets all plans, and ends those that threads still hold
void reset_scratch();                           // ends the lifetime of the calling thread's host-table scratch
const tg_host* make_host_table();
bool debug_enabled();                           // TENGEN_DEBUG
void debug_line(const std::string& line);

}  // namespace tg
