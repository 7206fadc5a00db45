// SPDX-License-Identifier: Apache-2.0
// What is in a private layout made plain, by its plugin's row "reorder".
#include "runtime/layout.h"

#include "dispatch/call.h"
#include "dispatch/capture.h"

namespace tg {
namespace {

const Op& reorder_op() {
  static const Op& op = *[] {
    auto* o = new Op();
    o->name = o->kernel = "reorder";
    o->inputs.push_back({"x", "in a private layout"});
    o->outputs.push_back({"y", "plain"});
    return o;
  }();
  return op;
}

std::shared_ptr<const PlanEntry> find_reorder(Device* device, const LayoutContent& c, const tg_tensor& x, const tg_tensor& y) {
  std::string key("r");
  const auto add = [&](const auto& v) { key.append(reinterpret_cast<const char*>(&v), sizeof v); };
  add(c.layout), add(int16_t(device->index)), add(int32_t(num_threads())), add(c.dtype);
  for (int64_t n : c.shape) add(n);
  auto& cache = PlanCache::get();
  if (auto entry = cache.find(key)) return entry;
  const tg_tensor *in[] = {&x}, *out[] = {&y};
  KernelRequest q = kernel_request(reorder_op(), device, {}, {}, in, out, {});
  q.layouts = {&c.layout, 1};
  q.exact_layouts = true;
  PlanEntry made;
  made.kernel = select_kernel(q);
  return cache.insert(key, std::move(made));
}

}  // namespace

void make_plain(Storage* storage) {
  const LayoutContent c = Layouts::content(storage);
  if (!c.layout) return;  // another thread was first
  const CaptureScope compute(nullptr);  // its memory is needed now, not when a captured graph runs
  Device* device = storage->device();
  const auto plain = Storage::allocate(device, storage->bytes());
  if (tracing()) trace_step(reorder_op(), {}, Layouts::tag(c.layout).plugin->name);
  if (!NoMemory::on()) {
    const Ints strides = contiguous_strides(c.shape);
    const tg_device place = device->host ? tg_device{TG_DEVICE_HOST, 0} : tg_device{TG_DEVICE_PLUGIN, device->index};
    const tg_tensor x{c.block->data(), place, int32_t(c.shape.size()), abi_dtype(c.dtype), c.shape.data(), strides.data(), 0};
    tg_tensor y = x;
    y.data = plain->data();
    const auto entry = find_reorder(device, c, x, y);
    if (!entry->kernel)
      raise(ErrorKind::runtime, "[reorder] expected ", Layouts::tag(c.layout).plugin->name, " to make its layout ",
            Layouts::tag(c.layout).name, " of ", str(c.shape), " plain, its rows for reorder refused; see TENGEN_DEBUG=1");
    if (!device->host) {
      Stream* stream = current_stream(device);
      c.block->used_on(stream);
      plain->used_on(stream);
    }
    const tg_tensor *in[] = {&x}, *out[] = {&y};
    entry->kernel->run({in, out, nullptr, 1, 1, 0, 1, 1});
    // Reading a tensor is no write: work on other streams may follow without waiting for this one.
    if (!device->host && device->all_streams().size() > 1) synchronize(current_stream(device));
  }
  Layouts::settle(storage, plain.get());
}

}  // namespace tg
