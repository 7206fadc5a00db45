// SPDX-License-Identifier: Apache-2.0
// The graph behind rematerialisation: values (cells) and the calls that made them (recipes). All under remat::Lock.
#pragma once
#include "runtime/remat.h"

namespace tg::remat {

// Evicted values that hang together, as disjoint sets: what it costs to compute all of one again.
struct Region {
  std::shared_ptr<Region> up;
  double cost = 0;
};

struct Cell;

struct Recipe {
  struct Input {
    Arg::Kind kind = Arg::absent;
    Scalar s{};
    std::shared_ptr<Cell> cell;
    DType dtype = DType::f32;
    Ints shape, strides;
    uint64_t offset = 0;
  };
  ~Recipe();
  const Op* op = nullptr;
  std::vector<Input> inputs;
  Attrs attrs;
  Device* device = nullptr;
  Stream* stream = nullptr;  // that it ran on
  uint64_t wanted = 0;
  std::vector<Cell*> outputs;  // by result; NULL: none, or gone
  double cost = 0;             // ns
  int depth = 0;               // recorded calls behind it
};

// A value, with its place in memory while it has one:
//   storage, with data      resident
//   storage, without data   evicted; tensors refer to it
//   no storage              a ghost: nobody refers to it but recipes
// Without a recipe it is a leaf: always resident; `kept` when only recipes refer to it.
struct Cell : std::enable_shared_from_this<Cell> {
  ~Cell();
  Device* device = nullptr;
  Storage* storage = nullptr;
  Ref<Storage> kept;
  std::shared_ptr<Recipe> recipe;
  std::vector<Recipe*> children;
  std::shared_ptr<Region> region;  // while not resident
  uint64_t bytes = 0;              // of its block
  double used = 0;                 // when last, ns
  int pins = 0;
  size_t slot = npos;              // in the list of what can be evicted
  static constexpr size_t npos = ~size_t(0);

  bool resident() const { return storage && (storage->data() || !storage->bytes()); }
};

// Results below this stay: they are not worth a recipe, and end the chains of running sums.
inline constexpr uint64_t kSmall = 4096;
// A chain of recipes ends here, so that a loop over one value does not remember all of its past.
inline constexpr int kMaxDepth = 4096;

Ref<Storage> ref_of(Cell* cell);             // empty for a ghost
void list(Cell* cell);                       // it can be evicted
void unlist(Cell* cell);
void mark_gone(Cell* cell);                  // it is not resident any more
void mark_back(Cell* cell);
double region_cost(const Cell* cell);        // of the evicted values around it
void drop_all();                             // what is resident now stays
void bury();                                 // deals with storages whose last reference is gone
Ref<Storage> restore(std::shared_ptr<Cell> cell);  // makes an evicted or ghost cell resident; MemoryError
void count_runs(const Device* device, uint64_t runs, double seconds);
void before_write(Storage* storage);         // resident; its content is about to change
Tensors run_again(const Op& op, std::span<const Arg> in, std::span<const Attr> attrs, Device* device, uint64_t wanted);

}  // namespace tg::remat
