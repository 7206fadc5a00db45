// SPDX-License-Identifier: Apache-2.0
//
// exp.chaos/1: work of other kernel providers in our streams.

#include <utility>

#include "device.h"

namespace tg::chaos {
namespace {

thread_local Stream* running = nullptr;  // whose worker this thread is, while foreign work runs

Stream& stream_of(tg_chaos_stream* native) {
  if (!native || native->api != &kChaosApi)
    plugin::fail(TG_INVALID_ARGUMENT, "chaos: expected a native stream (tg_run::native_stream), got %p",
                 static_cast<void*>(native));
  return *static_cast<NativeStream*>(native)->stream;
}

class ForeignWork : public Task {
 public:
  using Work = int32_t (*)(void*, tg_error*);
  using Release = void (*)(void*);
  ForeignWork(Stream& stream, uint64_t launch, Work work, Release release, void* context)
      : Task(launch), stream_(stream), work_(work), release_(release), context_(context) {}
  ~ForeignWork() override {
    if (release_) release_(context_);
  }

  void run() override {
    tg_error error{};
    running = &stream_;
    const int32_t status = work_(context_, &error);
    running = nullptr;
    if (status != TG_OK) plugin::fail(status, "%s", error.message[0] ? error.message : "foreign work failed");
  }

 private:
  Stream& stream_;
  const Work work_;
  const Release release_;
  void* const context_;
};

int32_t enqueue(tg_chaos_stream* native, uint64_t launch_id, ForeignWork::Work work, ForeignWork::Release release,
                void* context, tg_error* error) {
  return plugin::guard(
      error,
      [&] {
        Stream& stream = stream_of(native);
        stream.device().check();
        stream.enqueue(std::make_unique<ForeignWork>(stream, launch_id, work, release, context));
      },
      launch_id);
}

int32_t address(tg_chaos_stream* native, const void* data, uint64_t offset, uint64_t bytes, void** address,
                tg_error* error) {
  return plugin::guard(error, [&] {
    Stream& stream = stream_of(native);
    if (running != &stream)
      plugin::fail(TG_FAILED_PRECONDITION, "chaos: address: call it from work that the same stream runs");
    BlockPtr block = stream.device().memory.find(data, offset, bytes, "foreign work");
    *address = block->address() + offset;
    pins().push_back(std::move(block));
  });
}

}  // namespace

const tg_chaos_api kChaosApi = {sizeof(tg_chaos_api), 0, enqueue, address};

}  // namespace tg::chaos
