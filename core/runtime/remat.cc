// SPDX-License-Identifier: Apache-2.0
// Calls under a memory limit: what they read comes back and stays, what they make is remembered.
#include "runtime/remat.h"

#include "runtime/cell.h"
#include "runtime/exports.h"
#include "runtime/layout.h"
#include "runtime/unbacked.h"

namespace tg {
namespace remat {

std::atomic<uint8_t> g_watched{0};

namespace {

thread_local bool t_replaying = false;  // what runs again is not recorded again
thread_local bool t_recording = false;
thread_local int t_calls = 0;

std::shared_ptr<Cell>& cell_of(Storage* s) { return Allocator::extra(s).cell; }
Cell* find_cell(const Storage* s) {
  const auto* extra = Allocator::find_extra(s);
  return extra ? extra->cell.get() : nullptr;
}
// Others see the memory and may write into it unnoticed.
bool shared_with_others(const Storage* s) {
  const auto* extra = Allocator::find_extra(s);
  return extra && (extra->deleter || extra->exports);
}

std::shared_ptr<Cell> make_cell(Storage* s) {
  auto cell = std::make_shared<Cell>();
  cell->device = s->device();
  cell->storage = s;
  cell->bytes = Allocator::block_bytes(s);
  cell->used = now_ns();
  cell_of(s) = cell;
  return cell;
}

void bring_back(Storage* s) {
  if (Cell* c = find_cell(s); c && !c->resident()) restore(c->shared_from_this());
}

}  // namespace

struct Use::Pins {
  std::vector<std::shared_ptr<Cell>> cells;
  double start = 0;
  ~Pins() {
    for (const auto& c : cells) --c->pins;
    cells.clear();
  }
  void take(const Tensor& t, bool present) {
    Cell* c = t.defined() ? find_cell(t.storage().get()) : nullptr;
    if (!c || c->resident() != present) return;
    if (!present) restore(c->shared_from_this());
    c->used = now_ns();
    ++c->pins;
    cells.push_back(c->shared_from_this());
  }
};

void Use::enter(std::span<const Tensor> in, std::span<const Tensor> out) {
  if (layouts())
    for (const auto& tensors : {in, out})
      for (const Tensor& t : tensors)
        if (t.defined()) Layouts::plain(t.impl());
  if (!active()) return;
  const Lock lock;
  auto pins = std::make_unique<Pins>();
  for (const Tensor& t : out)
    if (t.defined() && find_cell(t.storage().get())) {
      bring_back(t.storage().get());
      before_write(t.storage().get());
    }
  for (const Tensor& t : in) pins->take(t, true);
  for (const Tensor& t : in) pins->take(t, false);
  const auto refresh = [](const Tensor& t) {
    if (t.defined() && t.impl()->desc.data != t.storage()->data()) t.impl()->desc.data = t.storage()->data();
  };
  for (const Tensor& t : in) refresh(t);
  for (const Tensor& t : out) refresh(t);
  pins_ = pins.release();
}

void Use::enter(std::span<const Arg> in, std::span<const Tensor> out) {
  Tensors tensors;
  for (const Arg& a : in)
    if (a.kind == Arg::tensor) tensors.push_back(a.t);
  enter(tensors, out);
}

void Recording::begin(bool on) {
  if (t_calls++ == 0) t_recording = on;
}
void Recording::end() {
  if (--t_calls == 0) t_recording = false;
}

void Use::leave() {
  if (!pins_) return;
  const Lock lock;
  delete std::exchange(pins_, nullptr);
}

void Use::start_clock() { pins_->start = now_ns(); }

void Use::record(const Op& op, std::span<const Arg> in, std::span<const Attr> attrs, std::span<const Tensor> results,
                 Device* device, uint64_t wanted) {
  if (recording()) remat::record(op, in, attrs, results, device, wanted, now_ns() - pins_->start);
}

bool recording() { return active() && t_recording && !t_replaying; }

void record(const Op& op, std::span<const Arg> in, std::span<const Attr> attrs, std::span<const Tensor> results, Device* device,
            uint64_t wanted, double cost) {
  if (!device->allocator.limit()) return;
  // An op made for one call, or one of the user's Python functions, which could not run under the lock.
  if (op.id < 0 || size_t(op.id) >= op_table().size() || op_table()[size_t(op.id)] != &op || op.file == "custom") return;
  uint64_t bytes = 0, moved = 0;
  for (const Tensor& t : results) {
    if (!t.defined()) continue;
    bytes = std::max(bytes, t.storage()->bytes());
    moved += t.nbytes();
    for (const Arg& a : in)
      if (a.kind == Arg::tensor && a.t.storage() == t.storage()) return;
  }
  if (bytes < kSmall) return;
  const Lock lock;
  auto recipe = std::make_shared<Recipe>();
  for (const Arg& a : in) {
    if (a.kind != Arg::tensor) continue;
    if (shared_with_others(a.t.storage().get())) return;
    moved += a.t.nbytes();
    if (const Cell* c = find_cell(a.t.storage().get()); c && c->recipe) recipe->depth = std::max(recipe->depth, c->recipe->depth + 1);
  }
  if (recipe->depth > kMaxDepth) return;
  recipe->op = &op;
  recipe->attrs.assign(attrs.begin(), attrs.end());
  recipe->device = device;
  recipe->stream = device->host ? nullptr : current_stream(device);
  recipe->wanted = wanted;
  // Elsewhere a launch takes no time: the time that the memory takes at 100 bytes in a ns, and a launch's.
  recipe->cost = device->host ? std::max(1.0, cost) : 5000 + 0.01 * double(moved);
  recipe->inputs.reserve(in.size());
  for (const Arg& a : in) {
    Recipe::Input input;
    input.kind = a.kind;
    if (a.kind == Arg::scalar) input.s = a.s;
    if (a.kind == Arg::tensor) {
      Storage* s = a.t.storage().get();
      input.cell = find_cell(s) ? cell_of(s) : make_cell(s);
      input.dtype = a.t.dtype();
      input.shape = a.t.shape();
      input.strides = a.t.strides();
      input.offset = a.t.impl()->desc.byte_offset;
      if (std::find(input.cell->children.begin(), input.cell->children.end(), recipe.get()) == input.cell->children.end())
        input.cell->children.push_back(recipe.get());
    }
    recipe->inputs.push_back(std::move(input));
  }
  recipe->outputs.assign(results.size(), nullptr);
  for (size_t i = 0; i < results.size(); ++i) {
    if (!results[i].defined() || results[i].storage()->bytes() < kSmall) continue;
    Storage* s = results[i].storage().get();
    const std::shared_ptr<Cell> c = find_cell(s) ? cell_of(s) : make_cell(s);
    if (c->recipe) continue;
    c->recipe = recipe;
    recipe->outputs[i] = c.get();
    list(c.get());
  }
}

void expose(const TensorImpl* impl) {
  check_backed(Tensor(Ref<TensorImpl>(const_cast<TensorImpl*>(impl))), "the memory");
  if (layouts()) Layouts::plain(impl);
  const Lock lock;
  Storage* s = impl->storage.get();
  if (find_cell(s)) {
    bring_back(s);
    before_write(s);
  }
  if (!s->data()) NoMemory::read(s);
  ++Allocator::extra(s).exports;
  const_cast<TensorImpl*>(impl)->desc.data = s->data();
}
void conceal(Storage* storage) {
  const Lock lock;
  --Allocator::extra(storage).exports;
}

struct Replaying {
  bool old = std::exchange(t_replaying, true);
  ~Replaying() { t_replaying = old; }
};
Tensors run_again(const Op& op, std::span<const Arg> in, std::span<const Attr> attrs, Device* device, uint64_t wanted) {
  const Replaying scope;
  return replay(op, in, attrs, device, wanted);
}

}  // namespace remat

void set_memory_limit(Device* device, uint64_t bytes) {
  const remat::Lock lock;
  device->allocator.set_limit(bytes);
  bool limited = false, evicted = false;
  for (const auto& d : Runtime::get().devices) {
    limited = limited || d->allocator.limit();
    evicted = evicted || remat_stats(d.get()).evictions;  // tensors may know an old place of their memory
  }
  if (!limited) remat::drop_all();
  if (limited || evicted) remat::watch(remat::kLimits);
  else remat::g_watched &= uint8_t(~remat::kLimits);
}
uint64_t memory_limit(const Device* device) { return device->allocator.limit(); }

}  // namespace tg
