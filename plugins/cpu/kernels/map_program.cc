// SPDX-License-Identifier: Apache-2.0
//
// From a call's instructions to map::Program.
#include "kernels/map_program.h"

#include <algorithm>

namespace tg::cpu::map {
namespace {

using plugin::dtype_name;
using plugin::fail;

// Tiles of one program together; with the data that streams through, they stay in a first-level cache of 32 KiB.
constexpr int64_t kTileBytes = 24576;
constexpr int64_t kMaxTile = 1024;
constexpr int64_t kMinTile = 64;

void set_dtype(Value& value, tg_dtype t) {
  value.half = kNoHalf;
  if (t.lanes == 1) {
    switch (plugin::dtype_key(t)) {
      case plugin::dtype_key({TG_CODE_FLOAT, 32, 1}):
        value.rep = kF32;
        return;
      case plugin::dtype_key({TG_CODE_FLOAT, 64, 1}):
        value.rep = kF64;
        return;
      case plugin::dtype_key({TG_CODE_FLOAT, 16, 1}):
        value.rep = kF32, value.half = kF16;
        return;
      case plugin::dtype_key({TG_CODE_BFLOAT, 16, 1}):
        value.rep = kF32, value.half = kBf16;
        return;
      case plugin::dtype_key({TG_CODE_INT, 64, 1}):
        value.rep = kI64;
        return;
      case plugin::dtype_key({TG_CODE_INT, 32, 1}):
        value.rep = kI32;
        return;
      case plugin::dtype_key({TG_CODE_INT, 16, 1}):
        value.rep = kI16;
        return;
      case plugin::dtype_key({TG_CODE_INT, 8, 1}):
        value.rep = kI8;
        return;
      case plugin::dtype_key({TG_CODE_UINT, 64, 1}):
        value.rep = kU64;
        return;
      case plugin::dtype_key({TG_CODE_UINT, 32, 1}):
        value.rep = kU32;
        return;
      case plugin::dtype_key({TG_CODE_UINT, 16, 1}):
        value.rep = kU16;
        return;
      case plugin::dtype_key({TG_CODE_UINT, 8, 1}):
        value.rep = kU8;
        return;
      case plugin::dtype_key({TG_CODE_BOOL, 8, 1}):
        value.rep = kBool;
        return;
      default:
        break;
    }
  }
  fail(TG_UNIMPLEMENTED, "[map] expected a real or bool dtype, got code %d with %d bits and %d lanes", t.code, t.bits,
       t.lanes);
}

bool is_comparison(int opcode) { return opcode >= TG_MAP_EQ && opcode <= TG_MAP_LE; }

// Results that are 16-bit floats already when the operands are.
bool keeps_precision(int opcode) {
  switch (opcode) {
    case TG_MAP_COPY:
    case TG_MAP_NEG:
    case TG_MAP_ABS:
    case TG_MAP_FLOOR:
    case TG_MAP_CEIL:
    case TG_MAP_ROUND:
    case TG_MAP_TRUNC:
    case TG_MAP_MAX:
    case TG_MAP_MIN:
    case TG_MAP_WHERE:
    case TG_MAP_CLIP:
    case TG_MAP_SIGN:
    case TG_MAP_RELU:
      return true;
    default:
      return false;
  }
}

int arity(int opcode) {
  if (opcode >= TG_MAP_ADD && opcode <= TG_MAP_SHR) return 2;
  if (opcode >= TG_MAP_WHERE && opcode <= TG_MAP_CLIP) return 3;
  return 1;
}

Kernel find_kernel(int opcode, Rep rep) {
  if (Kernel k = float_kernel(opcode, rep)) return k;
  if (Kernel k = math_kernel(opcode, rep)) return k;
  return int_kernel(opcode, rep);
}

int cost_of(int opcode, Rep rep) {
  if (rep != kF32 && rep != kF64) return opcode == TG_MAP_DIV || opcode == TG_MAP_REM || opcode == TG_MAP_POW ? 16 : 1;
  switch (opcode) {
    case TG_MAP_REM:
    case TG_MAP_POW:
    case TG_MAP_ATAN2:
      return 32;
    case TG_MAP_SQRT:
    case TG_MAP_DIV:
    case TG_MAP_RSQRT:
    case TG_MAP_RECIPROCAL:
      return 2;
    case TG_MAP_SIGN:
    case TG_MAP_RELU:
      return 1;
    default:
      break;
  }
  if (opcode >= TG_MAP_TAN && opcode != TG_MAP_LOG10) return 32;
  if ((opcode >= TG_MAP_EXP && opcode <= TG_MAP_ERF) || opcode >= TG_MAP_EXPM1) return 8;
  return 1;
}

// The dtype in which instruction `i` reads operand `k`.
tg_dtype operand_dtype(const tg_map_inst& i, int k) {
  if (i.opcode == TG_MAP_CAST) return i.from;
  if (i.opcode == TG_MAP_WHERE && k == 0) return {TG_CODE_BOOL, 8, 1};
  return i.dtype;
}

Step make_step(const tg_map_inst& inst, int j, int result, std::vector<Value>& values) {
  const int n = arity(inst.opcode);
  if (inst.n_operands != n)
    fail(TG_INVALID_ARGUMENT, "[map] instruction %d (opcode %d): expected %d operands, got %d", j, inst.opcode, n,
         inst.n_operands);
  Step step{};
  step.n_operands = uint16_t(n);
  step.result = uint16_t(result);
  for (int k = 0; k < 3; ++k) step.operand[k] = inst.operand[k < n ? k : 0];
  Value operand, own;
  set_dtype(operand, operand_dtype(inst, n - 1));
  set_dtype(own, is_comparison(inst.opcode) ? tg_dtype{TG_CODE_BOOL, 8, 1} : inst.dtype);
  for (int k = 0; k < n; ++k) {
    const int v = inst.operand[k];
    Value read;
    set_dtype(read, operand_dtype(inst, k));
    Value& value = values[size_t(v)];
    if (value.rep == kReps) {
      value = read;  // an immediate takes its reader's dtype
    } else if (value.rep != read.rep || value.half != read.half) {
      fail(TG_INVALID_ARGUMENT, "[map] instruction %d reads operand %d as %s, but value %d has another dtype", j, k,
           dtype_name(operand_dtype(inst, k)), v);
    }
  }
  values[size_t(result)] = own;
  switch (inst.opcode) {
    case TG_MAP_COPY:
      step.kernel = copy_kernel(rep_size(own.rep));
      break;
    case TG_MAP_CAST:
      step.kernel = cast_kernel(own.rep, operand.rep);
      break;
    case TG_MAP_WHERE:
      step.kernel = select_kernel(rep_size(own.rep));
      break;
    default:
      step.kernel = find_kernel(inst.opcode, operand.rep);
      break;
  }
  if (!step.kernel)
    fail(TG_UNIMPLEMENTED, "[map] instruction %d: opcode %d has no meaning for %s (kernel_api/ABI.md, section 3)", j,
         inst.opcode, dtype_name(inst.dtype));
  if (own.half != kNoHalf && !keeps_precision(inst.opcode)) step.round = half_round(own.half);
  return step;
}

}  // namespace

Program compile(const tg_call& call) {
  if (call.n_attrs < 2 || call.attrs[0].kind != TG_ATTR_PROGRAM || call.attrs[1].kind != TG_ATTR_INTS)
    fail(TG_INVALID_ARGUMENT, "[map] expected plan attributes program and ints (outputs)");
  const tg_map_inst* code = call.attrs[0].v.program;
  Program p;
  p.n_inputs = int(call.n_inputs);
  p.n_insts = int(call.attrs[0].n);
  if (call.attrs[1].n != call.n_outputs)
    fail(TG_INVALID_ARGUMENT, "[map] expected %u output numbers, got %u", call.n_outputs, call.attrs[1].n);
  int n_values = p.n_inputs + p.n_insts;
  for (int j = 0; j < p.n_insts; ++j) {
    for (int k = 0; k < arity(code[j].opcode); ++k) n_values = std::max(n_values, code[j].operand[k] + 1);
  }
  p.n_imms = n_values - p.n_inputs - p.n_insts;
  p.values.resize(size_t(n_values));
  for (int i = 0; i < p.n_inputs; ++i) {
    if (call.inputs[i]) set_dtype(p.values[size_t(i)], call.inputs[i]->dtype);
  }

  // What the wanted outputs need, backwards.
  std::vector<char> needed(size_t(n_values), 0);
  std::vector<int> last_use(size_t(n_values), -1);
  for (uint32_t k = 0; k < call.n_outputs; ++k) {
    const int64_t j = call.attrs[1].v.ints[k];
    if (j < 0 || j >= p.n_insts)
      fail(TG_INVALID_ARGUMENT, "[map] output %u: expected an instruction in [0, %d), got %lld", k, p.n_insts,
           static_cast<long long>(j));
    if (call.outputs[k]) needed[size_t(p.n_inputs + j)] = 1;
  }
  const std::vector<char> is_output = needed;
  for (int j = p.n_insts - 1; j >= 0; --j) {
    if (!needed[size_t(p.n_inputs + j)]) continue;
    for (int k = 0; k < arity(code[j].opcode); ++k) {
      const size_t v = code[j].operand[k];
      if (int(v) >= p.n_inputs + j && int(v) < p.imm_begin())
        fail(TG_INVALID_ARGUMENT, "[map] instruction %d reads value %zu, which comes later", j, v);
      needed[v] = 1;
      last_use[v] = std::max(last_use[v], j);
    }
  }
  for (int j = 0; j < p.n_insts; ++j) {
    const int result = p.n_inputs + j;
    if (!needed[size_t(result)]) continue;
    p.steps.push_back(make_step(code[j], j, result, p.values));
    p.cost += cost_of(code[j].opcode, p.values[code[j].operand[0]].rep);
    // What is stored as 16 bits and read by nobody else is rounded by the store.
    if (is_output[size_t(result)] && last_use[size_t(result)] < 0) p.steps.back().round = nullptr;
    p.value_bytes = std::max(p.value_bytes, rep_size(p.values[size_t(result)].rep));
  }
  for (int i = 0; i < p.n_inputs; ++i) {
    if (!needed[size_t(i)]) continue;
    if (!call.inputs[i]) fail(TG_INVALID_ARGUMENT, "[map] the program reads input %d, which is absent", i);
    p.used_inputs.push_back(uint16_t(i));
    p.value_bytes = std::max(p.value_bytes, rep_size(p.values[size_t(i)].rep));
  }
  for (uint32_t k = 0; k < call.n_outputs; ++k) {
    if (!call.outputs[k]) continue;
    const int j = int(call.attrs[1].v.ints[k]);
    Output out{uint16_t(k), uint16_t(p.n_inputs + j), true, 0};
    for (const Output& o : p.outputs) out.first = out.first && o.value != out.value;
    for (int i = 0; i < p.n_inputs; ++i) {
      if (last_use[size_t(i)] > j) out.late_reads |= uint64_t(1) << std::min(i, 63);
    }
    Value want;
    set_dtype(want, call.outputs[k]->dtype);
    const Value& have = p.values[out.value];
    if (want.rep != have.rep || want.half != have.half)
      fail(TG_INVALID_ARGUMENT, "[map] output %u has dtype %s, but instruction %d computes another one", k,
           dtype_name(call.outputs[k]->dtype), j);
    p.outputs.push_back(out);
  }

  // Slots: inputs and outputs keep theirs; a result may take the slot of an operand that dies with it.
  for (uint16_t i : p.used_inputs) p.values[i].slot = int16_t(p.n_slots++);
  std::vector<int> free_slots;
  for (const Step& step : p.steps) {
    const int j = step.result - p.n_inputs;
    Value& result = p.values[step.result];
    for (int k = 0; k < step.n_operands; ++k) {
      const Value& v = p.values[step.operand[k]];
      const bool inner = step.operand[k] >= p.n_inputs && step.operand[k] < p.imm_begin();
      const bool again = (k > 0 && step.operand[k] == step.operand[0]) || (k > 1 && step.operand[k] == step.operand[1]);
      if (!inner || again || is_output[step.operand[k]] || last_use[step.operand[k]] != j) continue;
      if (result.slot < 0 && !is_output[step.result] && rep_size(v.rep) == rep_size(result.rep)) {
        result.slot = v.slot;
      } else {
        free_slots.push_back(v.slot);
      }
    }
    if (result.slot >= 0) continue;
    // A slot freed by this very step must not be written while its operand of another width is read.
    auto usable = std::find_if(free_slots.begin(), free_slots.end(), [&](int s) {
      for (int k = 0; k < step.n_operands; ++k) {
        if (p.values[step.operand[k]].slot == s) return false;
      }
      return true;
    });
    if (!is_output[step.result] && usable != free_slots.end()) {
      result.slot = int16_t(*usable);
      free_slots.erase(usable);
    } else {
      result.slot = int16_t(p.n_slots++);
    }
  }
  ++p.n_slots;  // staging
  const int64_t fit = kTileBytes / (int64_t(p.n_slots) * p.value_bytes);
  p.tile = std::clamp(fit / kMinTile * kMinTile, kMinTile, kMaxTile);
  p.cost = std::max<int64_t>(p.cost, 1);
  return p;
}

}  // namespace tg::cpu::map
