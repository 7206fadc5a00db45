// SPDX-License-Identifier: Apache-2.0
// Programs of the builder, expanded and split: operands come before their use, dtypes stay, and a program in pieces
// computes what the whole does (told by symbols: a value is the hash of its opcode and operands).
#include <vector>

#include "bytes.h"
#include "dispatch/map_program.h"

namespace tg::fuzz {
namespace {

using Program = MapBuilder::Program;
using Value = MapBuilder::Value;

constexpr int kUnary[] = {TG_MAP_COPY, TG_MAP_NEG, TG_MAP_ABS, TG_MAP_SQRT, TG_MAP_EXP, TG_MAP_LOG, TG_MAP_SIN, TG_MAP_TANH, TG_MAP_ERF};
constexpr int kBinary[] = {TG_MAP_ADD, TG_MAP_SUB, TG_MAP_MUL, TG_MAP_DIV, TG_MAP_POW, TG_MAP_MAX, TG_MAP_MIN, TG_MAP_LT, TG_MAP_EQ, TG_MAP_LE};

DType dtype(Bytes& in) { return DType(in.below(kDTypeCount)); }

Program build(Bytes& in) {
  std::vector<DType> inputs(1 + in.below(4));
  for (DType& t : inputs) t = dtype(in);
  MapBuilder b(inputs);
  std::vector<Value> values;
  for (size_t i = 0; i < inputs.size(); ++i) values.push_back(b.input(i));
  const auto pick = [&] { return values[in.below(uint32_t(values.size()))]; };
  const size_t first = values.size();
  for (uint32_t n = 1 + in.below(40); n-- > 0;) {
    Value x = pick();
    switch (in.below(8)) {
      case 0: values.push_back(b.emit(kUnary[in.below(std::size(kUnary))], x)); break;
      case 1: {  // optional opcodes expand, on floats
        const int opcode = TG_MAP_MANDATORY_END + int(in.below(TG_MAP_END - TG_MAP_MANDATORY_END));
        if (!is_floating(x.dtype)) x = b.cast(x, DType::f32);
        values.push_back(b.emit(opcode, x));
        break;
      }
      case 2: {
        const Value y = in.flag() ? b.immediate(Scalar(in.integer()), x.dtype) : b.run_immediate(x.dtype, int32_t(in.below(3)));
        values.push_back(in.flag() ? b.emit(TG_MAP_SUB, x, y) : b.emit(TG_MAP_MUL, y, x));
        break;
      }
      case 3: {
        const Value y = b.cast(pick(), DType::boolean), z = b.cast(pick(), x.dtype);
        values.push_back(b.emit(TG_MAP_WHERE, y, x, z));
        break;
      }
      case 4: {
        const DType to = dtype(in);
        if (to != x.dtype) values.push_back(b.cast(x, to));
        break;
      }
      case 5: {
        const Value y = b.cast(pick(), x.dtype), z = b.cast(pick(), x.dtype);
        values.push_back(b.emit(TG_MAP_CLIP, x, y, z));
        break;
      }
      default: values.push_back(b.emit(kBinary[in.below(std::size(kBinary))], x, b.cast(pick(), x.dtype)));
    }
  }
  std::vector<Value> outputs;
  for (uint32_t n = 1 + in.below(3); n-- > 0;)
    if (values.size() > first) outputs.push_back(values[first + in.below(uint32_t(values.size() - first))]);
  if (outputs.empty()) outputs.push_back(b.emit(TG_MAP_COPY, values[0]));
  return b.finish(outputs);
}

void check(const Program& p) {
  const size_t n_in = p.inputs.size(), n = p.insts.size();
  must(p.outputs.size() == p.output_dtypes.size(), "a dtype for every output");
  for (size_t i = 0; i < n; ++i) {
    const tg_map_inst& inst = p.insts[i];
    must(inst.opcode > 0 && inst.opcode < TG_MAP_END, "an opcode of the list");
    for (size_t k = 0; k < inst.n_operands; ++k) {
      const size_t id = inst.operand[k];
      must(id < n_in + i || (id >= n_in + n && id < n_in + n + p.immediates.size()), "operands come before their use");
    }
  }
  for (int64_t j : p.outputs) must(j >= 0 && size_t(j) < n, "outputs are results");
}

uint64_t mix(uint64_t h, uint64_t v) { return (h ^ (v + 0x9E3779B97F4A7C15ull)) * 0x100000001B3ull ^ (h >> 29); }

uint64_t symbol(const tg_map_inst& inst, const std::vector<uint64_t>& operands) {
  uint64_t h = mix(inst.opcode, uint64_t(inst.dtype.code) << 8 | inst.dtype.bits);
  h = mix(h, uint64_t(inst.from.code) << 8 | inst.from.bits);
  for (uint64_t v : operands) h = mix(h, v);
  return h;
}

// The values of a program's instructions, for values of its inputs and immediates.
std::vector<uint64_t> evaluate(const Program& p, const std::vector<uint64_t>& inputs, const std::vector<uint64_t>& immediates) {
  std::vector<uint64_t> values(inputs);
  const size_t n_in = inputs.size(), n = p.insts.size();
  for (const tg_map_inst& inst : p.insts) {
    std::vector<uint64_t> operands;
    for (size_t k = 0; k < inst.n_operands; ++k) {
      const size_t id = inst.operand[k];
      operands.push_back(id < n_in + n ? values.at(id) : immediates.at(id - n_in - n));
    }
    values.push_back(symbol(inst, operands));
  }
  return values;
}

void check_split(const Program& p) {
  std::vector<uint64_t> inputs, immediates;
  for (size_t i = 0; i < p.inputs.size(); ++i) inputs.push_back(1000 + i);
  for (size_t i = 0; i < p.immediates.size(); ++i) immediates.push_back(2000 + i);
  const std::vector<uint64_t> whole = evaluate(p, inputs, immediates);
  std::vector<uint64_t> values(inputs);
  const auto pieces = split_program(p);
  must(pieces.size() == p.insts.size(), "a piece for every instruction");
  for (const SingleInst& s : pieces) {
    check(s.program);
    must(s.inputs.size() == s.program.inputs.size() && s.immediates.size() == s.program.immediates.size(), "operands of a piece");
    std::vector<uint64_t> in, imm;
    for (uint16_t id : s.inputs) in.push_back(values.at(id));
    for (uint16_t i : s.immediates) imm.push_back(immediates.at(i));
    values.push_back(evaluate(s.program, in, imm).back());
  }
  must(values == whole, "a split program computes what the whole does");
}

}  // namespace
}  // namespace tg::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tg;
  fuzz::Bytes in(data, size);
  MapBuilder::Program p;
  try {
    p = fuzz::build(in);
  } catch (const Error&) {  // arithmetic in a dtype that is only stored, as 4-bit integers
    return 0;
  }
  fuzz::check(p);
  fuzz::check_split(p);
  const uint8_t kept = in.byte();
  const auto keep = [&](const tg_map_inst& inst) { return (inst.opcode * 37u + kept) % 3 == 0; };
  const auto e = expand_program(p, keep);
  fuzz::check(e);
  fuzz::must(e.output_dtypes == p.output_dtypes, "expansion keeps the outputs' dtypes");
  for (const tg_map_inst& inst : e.insts) fuzz::must(!is_optional_opcode(inst.opcode) || keep(inst), "what is not kept is expanded");
  fuzz::check_split(e);
  return 0;
}
