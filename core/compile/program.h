// SPDX-License-Identifier: Apache-2.0
// The body of a program: slots of memory, and steps that refer to them. Internal to core.
#pragma once
#include <tengen/program.h>

#include <deque>

#include <tengen/random.h>

#include "dispatch/plan.h"

namespace tg {

struct Slot {
  enum Kind : uint8_t { arena, argument, state, constant, result } kind = arena;
  size_t index = 0;     // of the graph's input; of the result
  uint64_t bytes = 0;
  uint64_t offset = 0;  // in the arena
  size_t first = ~size_t(0), last = 0;  // steps that touch it
  Ref<Storage> held;    // constant
  Tensor bound;         // state
  DType dtype = DType::f32;  // as the program takes it
  Ints shape, strides;
  bool requires_grad = false;  // when it was made
  Tensor gradient_of;   // state: the .grad of this
};

// A tensor that steps use: what kernels see, and the slot that its memory is in.
struct Operand {
  tg_tensor desc{};
  Ints shape, strides;
  DType dtype = DType::f32;
  size_t slot = 0;
  uint64_t offset = 0;  // within the slot
};

// A word of an attribute that is known when the program runs.
struct Patch {
  enum Source : uint8_t { number, seed, counter } source;
  size_t step;
  size_t attr, word;  // which attribute of the step, which word of its bits
  size_t host_call = 0, index = 0;
  DType dtype = DType::f64;
  int64_t base = 0;   // counter: blocks drawn before
};

struct Step {
  std::shared_ptr<const KernelPlan> plan;
  std::vector<Operand*> inputs, outputs;  // NULL: absent
  std::vector<const tg_tensor*> in, out;
  std::vector<tg_attr> attrs;
  std::deque<std::vector<uint64_t>> words;  // what attributes point to
  std::deque<std::string> texts;
  tg_run run{};
  int workspace = -1;  // slot
  std::string name;    // of the ops that were joined
  std::shared_ptr<const MapBuilder::Program> map;  // what it is, where it is an elementwise program
  // An eager call instead of a launch.
  const Op* op = nullptr;
  std::vector<GraphOperand> operands;  // scalars; tensors are `inputs`
  Attrs call_attrs;
  int host_call = -1;
};

// Where a result of the run is.
struct ResultView {
  size_t slot = 0;
  Ints shape, strides;
  DType dtype = DType::f32;
  uint64_t offset = 0;
  bool defined = true;
};

class PlannedProgram final : public Program {
 public:
  Results run(std::span<const Tensor> arguments, std::span<const std::vector<double>> numbers) override;
  bool fits() const override;
  std::vector<Ints> output_strides() const override {
    std::vector<Ints> all;
    for (const ResultView& v : outputs) all.push_back(v.strides);
    return all;
  }
  uint64_t arena_bytes() const override { return arena_size; }
  uint64_t result_bytes() const override;
  size_t launches() const override;
  size_t calls() const override;
  std::string text() const override;
  void finish();  // after the last step: plans memory

  Device* device = nullptr;
  std::deque<Slot> slots;
  std::deque<Operand> operands;
  std::deque<Step> steps;
  std::vector<Patch> patches;
  struct Argument {
    DType dtype;
    Ints shape, strides;
    Device* device;
    std::string name;
  };
  std::vector<Argument> arguments;
  std::vector<ResultView> outputs, gradients;
  std::vector<size_t> numbers_of;  // host call: how many
  std::vector<size_t> written;  // slots of states and arguments that a run changes
  size_t n_results = 0, host_calls = 0;
  int64_t random_blocks = 0;
  uint64_t arena_size = 0;

 private:
  bool same_kind(const Slot& s) const;
  void patch(std::span<const std::vector<double>> numbers);
  void call(const Step& step, std::span<const Ref<Storage>> memory, std::span<const std::vector<double>> numbers);
  std::mutex mutex_;
  PhiloxSlice random_{};  // of the run at hand
  std::vector<std::vector<Operand*>> users_;  // by slot
  std::vector<void*> data_;                   // by slot: what its operands have now
};

// Joins elementwise launches of which one reads what the other wrote (fusion.cc). Before finish().
void fuse_maps(PlannedProgram& program);

}  // namespace tg
