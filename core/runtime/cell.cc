// SPDX-License-Identifier: Apache-2.0
// Cells and recipes: which values hang on which, what is gone, and how it comes back.
#include "runtime/cell.h"

#include <chrono>
#include <cstdlib>
#include <thread>
#include <unordered_set>

namespace tg::remat {
namespace {

std::mutex g_mutex;
thread_local int t_depth = 0;

// Storages whose last reference is gone. Threads that do not hold the lock, and may hold any other, put them here.
std::mutex g_dead_mutex;
std::vector<Storage*> g_dead;
std::atomic<size_t> g_n_dead{0};

// Recipes to be destroyed: one by one, as chains are long.
std::vector<std::shared_ptr<Recipe>> g_trash;
bool g_emptying = false;

void trash(std::shared_ptr<Recipe> recipe) {
  if (!recipe) return;
  g_trash.push_back(std::move(recipe));
  if (std::exchange(g_emptying, true)) return;
  while (!g_trash.empty()) {
    const std::shared_ptr<Recipe> last = std::move(g_trash.back());
    g_trash.pop_back();
  }
  g_emptying = false;
}

// The value of a cell stays as it is: it becomes a leaf.
void drop_recipe(Cell* cell) {
  if (!cell->recipe) return;
  unlist(cell);
  for (Cell*& output : cell->recipe->outputs)
    if (output == cell) output = nullptr;
  trash(std::exchange(cell->recipe, nullptr));
}

// The values that tensors refer to and that are computed from `cell`, through ghosts alone.
std::vector<std::shared_ptr<Cell>> descendants(Cell* cell) {
  std::vector<std::shared_ptr<Cell>> live;
  std::vector<Cell*> stack{cell};
  std::unordered_set<Cell*> seen;
  while (!stack.empty()) {
    Cell* c = stack.back();
    stack.pop_back();
    for (Recipe* r : c->children)
      for (Cell* output : r->outputs) {
        if (!output || !seen.insert(output).second) continue;
        if (output->storage) live.push_back(output->shared_from_this());
        else stack.push_back(output);
      }
  }
  return live;
}

// Nothing can be computed from this leaf any more; what was, stays.
void forget(const std::vector<std::shared_ptr<Cell>>& live) {
  for (const auto& c : live) drop_recipe(c.get());
}

// Whether a leaf to which only recipes refer is worth its memory: not when what it serves is resident and smaller.
bool worth_keeping(const Cell& leaf, const std::vector<std::shared_ptr<Cell>>& live) {
  uint64_t bytes = 0;
  for (const auto& c : live) {
    if (!c->resident()) return true;
    bytes += c->bytes;
  }
  return bytes > leaf.bytes;
}

std::unordered_set<Cell*>& kept_leaves() {
  static auto& leaves = *new std::unordered_set<Cell*>();
  return leaves;
}

void end_of(Storage* s) {
  std::shared_ptr<Cell> c = Allocator::extra(s).cell;
  if (c && c->storage == s) {
    if (!c->children.empty() && !c->recipe) {
      const auto live = c->bytes < kSmall ? std::vector<std::shared_ptr<Cell>>() : descendants(c.get());
      if (c->bytes < kSmall || worth_keeping(*c, live)) {
        Allocator::revive(s);
        c->kept = Ref<Storage>::adopt(s);
        kept_leaves().insert(c.get());
        return;
      }
      forget(live);
    }
    unlist(c.get());
    c->storage = nullptr;
    if (!c->children.empty() && c->recipe && !c->region) mark_gone(c.get());
  }
  Allocator::extra(s).cell = nullptr;
  c = nullptr;
  s->device()->allocator.release(s);
}

// When nobody holds the lock.
void bury_alone() {
  while (g_n_dead.load() && g_mutex.try_lock()) {
    t_depth = 1;
    bury();
    t_depth = 0;
    g_mutex.unlock();
  }
}

const std::shared_ptr<Region>& root(std::shared_ptr<Region>& region) {
  while (region->up) region = region->up->up ? region->up->up : region->up;
  return region;
}

// The regions beside a cell, each once.
template <class F>
void neighbours(const Cell* cell, F&& visit) {
  SmallVec<Region*, 8> seen;
  const auto look = [&](Cell* c) {
    if (!c || c == cell || !c->region) return;
    Region* r = root(c->region).get();
    for (Region* s : seen)
      if (s == r) return;
    seen.push_back(r);
    visit(c->region);
  };
  if (cell->recipe)
    for (const Recipe::Input& in : cell->recipe->inputs) look(in.cell.get());
  for (const Recipe* r : cell->children)
    for (Cell* c : r->outputs) look(c);
}

std::vector<Cell*>& evictable(const Device* device) {
  static auto& lists = *new std::vector<std::vector<Cell*>>();
  if (lists.size() <= size_t(device->index)) lists.resize(size_t(device->index) + 1);
  return lists[size_t(device->index)];
}

}  // namespace

// ---- lock -----------------------------------------------------------------------------------------------------------------

Lock::Lock() {
  if (t_depth == 0) g_mutex.lock();
  ++t_depth;
}
Lock::~Lock() {
  if (t_depth == 1) bury();
  if (--t_depth) return;
  g_mutex.unlock();
  bury_alone();
}

void last_reference(Storage* storage) {
  {
    std::lock_guard lock(g_dead_mutex);
    g_dead.push_back(storage);
    g_n_dead = g_dead.size();
  }
  if (t_depth == 0) bury_alone();  // else at the end of the lock, or where its holder has time
}

void bury() {
  while (g_n_dead.load()) {
    std::vector<Storage*> dead;
    {
      std::lock_guard lock(g_dead_mutex);
      dead.swap(g_dead);
      g_n_dead = 0;
    }
    for (Storage* s : dead) end_of(s);
  }
}

// ---- cells ------------------------------------------------------------------------------------------------------------------

double now_ns() {
  return std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

Recipe::~Recipe() {
  for (Input& in : inputs) {
    if (!in.cell) continue;
    std::erase(in.cell->children, this);
    if (in.cell->children.empty() && in.cell->kept) {
      kept_leaves().erase(in.cell.get());
      in.cell->kept = nullptr;
    }
  }
}

Cell::~Cell() {
  unlist(this);
  mark_back(this);
  drop_recipe(this);
}

Ref<Storage> ref_of(Cell* cell) {
  while (cell->storage) {
    if (Allocator::try_retain(cell->storage)) return Ref<Storage>::adopt(cell->storage);
    bury();  // its last reference goes at this moment
    std::this_thread::yield();
  }
  return {};
}

void list(Cell* cell) {
  if (cell->slot != Cell::npos || !cell->recipe || !cell->resident()) return;
  auto& all = evictable(cell->device);
  cell->slot = all.size();
  all.push_back(cell);
}
void unlist(Cell* cell) {
  if (cell->slot == Cell::npos) return;
  auto& all = evictable(cell->device);
  all[cell->slot] = all.back();
  all[cell->slot]->slot = cell->slot;
  all.pop_back();
  cell->slot = Cell::npos;
}

void mark_gone(Cell* cell) {
  std::shared_ptr<Region> whole;
  neighbours(cell, [&](const std::shared_ptr<Region>& region) {
    if (!whole) whole = region;
    else whole->cost += region->cost, region->up = whole;
  });
  if (!whole) whole = std::make_shared<Region>();
  whole->cost += cell->recipe->cost;
  cell->region = std::move(whole);
}
// The set stays whole, without the cost of this one: an approximation, as taking it apart would mean to walk it.
void mark_back(Cell* cell) {
  if (!cell->region) return;
  Region& region = *root(cell->region);
  if (cell->recipe) region.cost = std::max(0.0, region.cost - cell->recipe->cost);
  cell->region = nullptr;
}
double region_cost(const Cell* cell) {
  double cost = cell->recipe->cost;
  neighbours(cell, [&](const std::shared_ptr<Region>& region) { cost += region->cost; });
  return cost;
}

void drop_all() {
  for (const auto& d : Runtime::get().devices)
    while (!evictable(d.get()).empty()) drop_recipe(evictable(d.get()).back());
}

void before_write(Storage* storage) {
  const std::shared_ptr<Cell> c = Allocator::extra(storage).cell;
  if (!c) return;
  if (c->recipe) {  // the old value becomes a ghost
    unlist(c.get());
    Allocator::extra(storage).cell = nullptr;
    c->storage = nullptr;
    if (!c->children.empty()) mark_gone(c.get());
    return;
  }
  const auto live = descendants(c.get());
  for (const auto& d : live)
    if (d->resident()) drop_recipe(d.get());  // it stays, whatever follows
  for (const auto& d : live)
    if (d->recipe) {
      const Ref<Storage> ref = restore(d);
      drop_recipe(d.get());
    }
}

// ---- eviction -----------------------------------------------------------------------------------------------------------------

namespace {

struct Counts {
  std::mutex mutex;
  std::vector<RematStats> by_device;
};
Counts& counts() {
  static Counts& c = *new Counts();
  return c;
}
template <class F>
void count(const Device* device, F&& change) {
  std::lock_guard lock(counts().mutex);
  auto& all = counts().by_device;
  if (all.size() <= size_t(device->index)) all.resize(size_t(device->index) + 1);
  change(all[size_t(device->index)]);
}

// h = cost / (size * staleness), lowest first.
Cell* cheapest(const Device* device) {
  const double now = now_ns();
  Cell* best = nullptr;
  double lowest = 0;
  for (Cell* c : evictable(device)) {
    if (c->pins) continue;
    const double h = region_cost(c) / (double(c->bytes) * std::max(now - c->used, 1.0));
    if (!best || h < lowest) best = c, lowest = h;
  }
  return best;
}

// Gives up a leaf that only recipes refer to, where what they made is resident.
bool give_up_leaf(const Device* device) {
  for (Cell* leaf : kept_leaves()) {
    if (leaf->device != device || leaf->bytes < kSmall) continue;
    const auto live = descendants(leaf);
    bool all = true;
    for (const auto& c : live) all = all && c->resident();
    if (!all) continue;
    const std::shared_ptr<Cell> hold = leaf->shared_from_this();
    forget(live);
    bury();
    return true;
  }
  return false;
}

// For tests of this and of everything above it: under any limit, nothing outlives an allocation that could be evicted.
bool evict_always() {
  static const bool always = std::getenv("TENGEN_EVICT_ALWAYS") != nullptr;
  return always;
}

}  // namespace

void make_room(Device* device, uint64_t bytes) {
  bury();
  Allocator& allocator = device->allocator;
  uint64_t evicted = 0, freed = 0;
  while (evict_always() || allocator.stats().current + bytes > allocator.limit()) {
    if (Cell* c = cheapest(device)) {
      allocator.evict(c->storage);
      unlist(c);
      mark_gone(c);
      ++evicted;
      freed += c->bytes;
    } else if (!give_up_leaf(device)) {
      break;
    }
  }
  count(device, [&](RematStats& s) { s.evictions += evicted, s.evicted_bytes += freed; });
  const uint64_t current = allocator.stats().current;
  if (current + bytes <= allocator.limit()) return;
  uint64_t pinned = 0, n_pinned = 0;
  for (const Cell* c : evictable(device)) pinned += c->bytes, ++n_pinned;
  raise(ErrorKind::memory, "out of memory on ", device->name, ": expected ", bytes, " bytes more under the limit of ",
        allocator.limit(), " (set_memory_limit), in use ", current, " after everything that could be was evicted (now ", evicted,
        " results, ", freed, " bytes): ", n_pinned, " results of ", pinned, " bytes are in use by calls at hand, the other ",
        current - pinned, " bytes cannot be computed again (parameters, data, tensors changed in place or shared with others); ",
        "about ", current + bytes, " bytes would do for this call; raise the limit, use smaller batches or free tensors");
}

void count_runs(const Device* device, uint64_t runs, double seconds) {
  count(device, [&](RematStats& s) { s.rematerialised += runs, s.seconds += seconds; });
}

}  // namespace tg::remat

namespace tg {
RematStats remat_stats(const Device* device) {
  RematStats stats;
  remat::count(device, [&](RematStats& s) { stats = s; });
  return stats;
}
}  // namespace tg
