// SPDX-License-Identifier: Apache-2.0
//
// A map program made ready for the interpreter: kernels looked up, dead instructions dropped, tile slots assigned.
#ifndef TENGEN_PLUGINS_CPU_MAP_PROGRAM_H_
#define TENGEN_PLUGINS_CPU_MAP_PROGRAM_H_

#include <tengen/kernel_api.hpp>
#include <vector>

#include "kernels/map.h"

namespace tg::cpu::map {

// Where a value comes from, and how it lies.
struct Value {
  Rep rep = kReps;  // kReps: unused
  Half half = kNoHalf;
  int16_t slot = -1;  // its place among the tiles; inputs and outputs have one of their own
};

struct Step {
  Kernel kernel;
  Kernel round;         // applied to the result in place; null where nothing is left to round
  uint16_t operand[3];  // values; those beyond n_operands repeat the first
  uint16_t n_operands;
  uint16_t result;  // value
};

// One wanted output of the call.
struct Output {
  uint16_t index;       // among the call's outputs
  uint16_t value;       // what it receives
  bool first;           // no earlier output has this value: the last step may write it in place
  uint64_t late_reads;  // inputs (bit i; bit 63 stands for all from 63 on) read after the value is made
};

struct Program {
  int n_inputs = 0;
  int n_insts = 0;
  int n_imms = 0;
  std::vector<Value> values;  // inputs, results, immediates
  std::vector<Step> steps;
  std::vector<Output> outputs;
  std::vector<uint16_t> used_inputs;
  int n_slots = 0;      // the last one is for staging
  int value_bytes = 1;  // of the widest value
  int64_t tile = 0;     // elements per tile
  int64_t cost = 0;     // per element; an addition is 1

  int64_t slot_bytes() const { return tile * value_bytes; }
  int imm_begin() const { return n_inputs + n_insts; }
};

Program compile(const tg_call& call);

}  // namespace tg::cpu::map
#endif  // TENGEN_PLUGINS_CPU_MAP_PROGRAM_H_
