// SPDX-License-Identifier: Apache-2.0
// Function transformations. A call of grad, jvp or vmap opens a level; tensors on it stand for others (Layer, in
// autograd/node.h). An op whose inputs are transformed is given to the innermost of their levels, which turns it into calls
// on what those stand for: a traced level records it, a dual level adds tangents, a batched one an axis.
#pragma once
#include "autograd/node.h"

namespace tg {

enum class Randomness : uint8_t { error, same, different };

struct Level {
  Layer::Kind kind;
  uint64_t id = 0;     // grows inwards
  int64_t size = 0;    // batched: of the hidden axis
  Randomness randomness = Randomness::error;
  bool paused = false;  // traced: nothing is recorded, as when its gradients are taken
};

uint64_t open_level(Level level);  // of this thread, inside the ones that are open; with an id: the closed one again
void close_level(uint64_t id);
Level* find_level(uint64_t id);  // NULL: closed
size_t open_levels();

class LevelScope {
 public:
  explicit LevelScope(Level level) : id(open_level(level)) {}
  ~LevelScope() { close_level(id); }
  LevelScope(const LevelScope&) = delete;
  LevelScope& operator=(const LevelScope&) = delete;
  const uint64_t id;
};

Tensor wrap_traced(uint64_t level, const Tensor& inner);
Tensor wrap_dual(uint64_t level, const Tensor& primal, const Tensor& tangent);
Tensor wrap_batched(uint64_t level, const Tensor& inner);  // inner's first axis is hidden
Tensor unwrap(uint64_t level, const Tensor& t);            // what t stands for on that level, else itself

void strip(uint64_t level, const Tensor& t);               // takes the level out of what t stands for further in

// What `op` makes within a decomposition on a level is on that level, so that it can be written into.
class CreationScope {
 public:
  explicit CreationScope(const Level* level);  // NULL: nothing is
  ~CreationScope();
  CreationScope(const CreationScope&) = delete;
  CreationScope& operator=(const CreationScope&) = delete;

 private:
  friend bool creating();
  friend bool creating_on(uint64_t level);
  friend void place_created(const Op& op, Tensors* results);
  const Level* level_;
  const CreationScope* old_;
  const CreationScope* outer_;  // a decomposition inside another one, of a level further out: what is made is made on both
};
bool creating();
bool creating_on(uint64_t level);
void place_created(const Op& op, Tensors* results);
// Thrown where a decomposition cannot be batched; its op then runs once for every index.
struct NotBatchable {};

// The calls of dispatch.
bool drawn_on_level(const Op& op);  // takes random numbers inside vmap
Tensors call_transformed(const Op& op, std::span<const Arg> inputs, std::span<const Attr> attrs, Device* device, uint64_t wanted);
Tensors call_into_transformed(const Op& op, std::span<const Arg> inputs, std::span<const Attr> attrs, std::span<const Tensor> outs);

// x[view] = value with `view` a view of any tensor of x's shape, as basic indexing makes it.
using ViewFn = std::function<Tensor(const Tensor&)>;
void assign_transformed(const Tensor& x, const ViewFn& view, const Arg& value);

// For bindings. Adds an op while the process runs; ValueError when the name is taken. It stays, as recorded calls refer to it.
const Op& add_op(std::unique_ptr<Op> op);
Tensors batch_by_loop(const Batch& b);  // once for every index, as a rule
// The op's decomposition on plain tensors, whatever kernels there are.
Tensors call_decomposed(const Op& op, std::span<const Arg> inputs, std::span<const Attr> attrs);

// One level's part; attributes are complete.
Tensors call_forward(const Level& level, const Op& op, std::span<const Arg> inputs, std::span<const Attr> attrs, Device* device, uint64_t wanted);
Tensors call_batched(const Level& level, const Op& op, std::span<const Arg> inputs, std::span<const Attr> attrs, Device* device, uint64_t wanted);
void into_forward(const Level& level, const Op& op, std::span<const Arg> inputs, std::span<const Attr> attrs, std::span<const Tensor> outs);
void into_batched(const Level& level, const Op& op, std::span<const Arg> inputs, std::span<const Attr> attrs, std::span<const Tensor> outs);

// The tangent of a dual tensor that will be written into, or of which a view is made.
const Tensor& held_tangent(const Tensor& t);
void make_dual(uint64_t level, const Tensor& t, const char* op);    // a tensor that gets a tangent by a write
void make_traced(uint64_t level, const Tensor& t, const char* op);  // a tensor that gets a history by a write
// Runs the decomposition on the tensors of a level.
Tensors decompose_on(const Level* level, const Op& op, std::span<const Arg> inputs, std::span<const Attr> attrs, Device* device, uint64_t wanted);
// What grad looks at, at hand instead of saved.
class AtHand final : public Backward::SavedValues {
 public:
  AtHand(std::span<const Arg> inputs, std::span<const Tensor> outputs);
  const Arg& arg(size_t i) const override { return inputs_[i]; }
  const Tensor& output(size_t i) const override { return outputs_[i]; }
  Arg::Kind kind(size_t i) const override { return i < inputs_.size() ? inputs_[i].kind : Arg::absent; }
  const Ints& shape(size_t i) const override { return inputs_[i].t.shape(); }
  DType dtype(size_t i) const override { return inputs_[i].t.dtype(); }

 private:
  std::span<const Arg> inputs_;
  std::span<const Tensor> outputs_;
};

}  // namespace tg
