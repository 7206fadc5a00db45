// SPDX-License-Identifier: Apache-2.0
// How an evicted value comes back: the calls behind it run again, without recursion.
#include "runtime/cell.h"

namespace tg::remat {
namespace {

struct Pin {  // a resident cell that stays so
  Pin(std::shared_ptr<Cell> c, Ref<Storage> s) : cell(std::move(c)), storage(std::move(s)) { ++cell->pins; }
  Pin(Pin&&) noexcept = default;
  ~Pin() {
    if (cell) --cell->pins;
  }
  std::shared_ptr<Cell> cell;
  Ref<Storage> storage;
};

struct Frame {
  Frame(std::shared_ptr<Cell> c) : cell(std::move(c)), recipe(cell->recipe), own(ref_of(cell.get())) {
    ensure(bool(recipe), "an evicted value has no recipe");
    for (const Recipe::Input& in : recipe->inputs)  // before missing ones are computed
      if (in.cell && in.cell->resident()) pins.emplace_back(in.cell, ref_of(in.cell.get()));
  }
  std::shared_ptr<Cell> cell;
  std::shared_ptr<Recipe> recipe;
  Ref<Storage> own;  // evicted, to be filled; empty for a ghost
  size_t next = 0;   // input
  std::vector<Pin> pins;
};

// Work on `to` from now on comes after what `from` has been given so far.
void order(Stream* from, Stream* to) {
  if (!from || !to || from == to || !from->alive()) return;
  Event* event = record_event(from);
  try {
    wait_event(to, event);
  } catch (...) {
    destroy_event(event);
    throw;
  }
  destroy_event(event);
}

Stream* stream_of(const Recipe& r) {
  if (r.device->host) return nullptr;
  return r.stream && r.stream->alive() ? r.stream : r.device->default_stream();
}

class OnStream {  // the thread's current stream, for a scope
 public:
  OnStream(Device* device, Stream* stream) : device_(stream ? device : nullptr) {
    if (!device_) return;
    old_ = current_stream(device);
    set_current_stream(device, stream);
  }
  ~OnStream() {
    if (device_) set_current_stream(device_, old_);
  }
  OnStream(const OnStream&) = delete;
  OnStream& operator=(const OnStream&) = delete;

 private:
  Device* device_;
  Stream* old_ = nullptr;
};

// Runs a recipe whose inputs are resident; its results take their places.
void run(Frame* f) {
  const Recipe& r = *f->recipe;
  std::vector<Arg> args;
  for (const Recipe::Input& in : r.inputs) {
    if (in.kind == Arg::scalar) args.emplace_back(in.s);
    else if (in.kind == Arg::absent) args.emplace_back();
    else
      args.emplace_back(Tensor(Ref<TensorImpl>::adopt(
          new TensorImpl(Ref<Storage>(in.cell->storage), in.dtype, in.shape, in.strides, in.offset))));
  }
  Tensors results;
  {
    const OnStream scope(r.device, stream_of(r));
    results = run_again(*r.op, args, r.attrs, r.device, r.wanted);
  }
  const double now = now_ns();
  for (size_t i = 0; i < r.outputs.size(); ++i) {
    Cell* c = r.outputs[i];
    if (!c || c->resident() || (!c->storage && c != f->cell.get())) continue;
    ensure(i < results.size() && results[i].defined(), "[", r.op->name, "] run again gave no output ", i);
    const Ref<Storage>& made = results[i].storage();
    ensure(Allocator::block_bytes(made.get()) == c->bytes, "[", r.op->name, "] run again gave an output of another size");
    if (c->storage) {
      r.device->allocator.adopt(c->storage, made.get());
    } else {
      c->storage = made.get();
      Allocator::extra(made.get()).cell = c->shared_from_this();
    }
    if (c == f->cell.get()) f->own = Ref<Storage>(c->storage);
    c->used = now;
    mark_back(c);
    list(c);
  }
}

}  // namespace

Ref<Storage> restore(std::shared_ptr<Cell> target) {
  const double start = now_ns();
  Device* device = target->device;
  uint64_t runs = 0;
  Ref<Storage> made;
  std::vector<Frame> stack;
  stack.emplace_back(std::move(target));
  while (!stack.empty()) {
    Frame& f = stack.back();
    std::shared_ptr<Cell> missing;
    for (; f.next < f.recipe->inputs.size() && !missing; ++f.next) {
      const std::shared_ptr<Cell>& c = f.recipe->inputs[f.next].cell;
      if (!c) continue;
      Ref<Storage> ref = ref_of(c.get());
      if (c->resident()) f.pins.emplace_back(c, std::move(ref));
      else missing = c;
    }
    if (missing) {
      stack.emplace_back(std::move(missing));
      continue;
    }
    run(&f);
    ++runs;
    Frame done = std::move(stack.back());
    stack.pop_back();
    if (stack.empty()) {
      order(stream_of(*done.recipe), device->host ? nullptr : current_stream(device));
      made = std::move(done.own);
    } else {
      order(stream_of(*done.recipe), stream_of(*stack.back().recipe));
      stack.back().pins.emplace_back(done.cell, std::move(done.own));
    }
    done.pins.clear();
    bury();  // ghosts that have served
  }
  count_runs(device, runs, 1e-9 * (now_ns() - start));
  return made;
}

}  // namespace tg::remat
