// SPDX-License-Identifier: Apache-2.0
// MapBuilder, and the expansion of optional opcodes into mandatory ones (the formulas are those of ABI.md).
#include <cmath>
#include <numbers>

#include "dispatch/map_program.h"

namespace tg {

MapBuilder::MapBuilder(std::span<const DType> inputs, const char* op) : op_(op) {
  const auto add = [&](DType t) {
    inputs_.push_back(t);
    return Value{int32_t(inputs_.size() - 1), t};
  };
  for (DType t : inputs) {
    if (is_packed(t)) raise(ErrorKind::type, "[", op, "] expected a dtype to compute in, got ", long_name_of(t), "; cast it first");
    if (is_complex(t)) {
      const Value re = add(real_dtype(t));
      operands_in_.push_back(pair(re, add(real_dtype(t))));
    } else if (is_small_float(t)) {
      operands_in_.push_back({add(DType::u8).id, t});
    } else {
      operands_in_.push_back(add(t));
    }
  }
}

MapBuilder::Value MapBuilder::pair(Value re, Value im) {
  ensure(re.dtype == im.dtype && is_floating(re.dtype), "a pair of ", name_of(re.dtype), " and ", name_of(im.dtype));
  pairs_.emplace_back(re, im);
  return {int32_t(pairs_.size() - 1), complex_dtype(re.dtype)};
}
MapBuilder::Value MapBuilder::imag(Value a) {
  return is_complex(a.dtype) ? pairs_[size_t(a.id)].second : immediate(Scalar(0.0), a.dtype);
}

MapBuilder::Value MapBuilder::immediate(Scalar s, DType dtype) {
  if (!is_complex(dtype)) return immediate_bits(s.bits(dtype), dtype);
  const Value re = immediate_bits(s.bits(real_dtype(dtype)), real_dtype(dtype));
  return pair(re, immediate_bits(Scalar(s.im).bits(real_dtype(dtype)), real_dtype(dtype)));
}

MapBuilder::Value MapBuilder::immediate_bits(uint64_t bits, DType dtype) {
  for (size_t i = 0; i < immediates_.size(); ++i)
    if (immediates_[i].slot < 0 && immediates_[i].dtype == dtype && immediates_[i].bits == bits) return {~int32_t(i), dtype};
  immediates_.push_back({dtype, -1, false, bits});
  return {~int32_t(immediates_.size() - 1), dtype};
}

MapBuilder::Value MapBuilder::run_immediate(DType dtype, int32_t slot) {
  if (!is_complex(dtype)) return run_immediate_part(dtype, slot, false);
  const Value re = run_immediate_part(real_dtype(dtype), slot, false);
  return pair(re, run_immediate_part(real_dtype(dtype), slot, true));
}

MapBuilder::Value MapBuilder::run_immediate_part(DType dtype, int32_t slot, bool imag) {
  for (size_t i = 0; i < immediates_.size(); ++i)
    if (immediates_[i].slot == slot && immediates_[i].imag == imag && immediates_[i].dtype == dtype)
      return {~int32_t(i), dtype};
  immediates_.push_back({dtype, slot, imag, 0});
  return {~int32_t(immediates_.size() - 1), dtype};
}

MapBuilder::Value MapBuilder::push(int opcode, DType dtype, DType from, DType result, std::initializer_list<Value> operands) {
  tg_map_inst inst{};
  inst.opcode = uint16_t(opcode);
  inst.n_operands = uint16_t(operands.size());
  inst.dtype = abi_dtype(dtype);
  if (opcode == TG_MAP_CAST) inst.from = abi_dtype(from);
  std::array<int32_t, 3> ids{};
  size_t i = 0;
  for (const Value& v : operands) ids[i++] = v.id;
  insts_.push_back(inst);
  operands_.push_back(ids);
  results_.push_back(result);
  return {int32_t(inputs_.size() + insts_.size() - 1), result};
}

namespace {
bool is_comparison(int opcode) { return opcode >= TG_MAP_EQ && opcode <= TG_MAP_LE; }
}  // namespace

MapBuilder::Value MapBuilder::emit(int opcode, Value a) {
  if (is_composed(a.dtype)) return emit_composed(*this, opcode, a);
  return push(opcode, a.dtype, a.dtype, a.dtype, {a});
}
MapBuilder::Value MapBuilder::emit(int opcode, Value a, Value b) {
  if (is_composed(a.dtype) || is_composed(b.dtype)) return emit_composed(*this, opcode, a, b);
  ensure(opcode == TG_MAP_SHL || opcode == TG_MAP_SHR || a.dtype == b.dtype, "map opcode ", opcode, " of ", name_of(a.dtype),
         " and ", name_of(b.dtype));
  return push(opcode, a.dtype, a.dtype, is_comparison(opcode) ? DType::boolean : a.dtype, {a, b});
}
MapBuilder::Value MapBuilder::emit(int opcode, Value a, Value b, Value c) {
  if (is_composed(b.dtype) || is_composed(c.dtype)) return emit_composed(*this, opcode, a, b, c);
  ensure(b.dtype == c.dtype && (opcode == TG_MAP_WHERE ? a.dtype == DType::boolean : a.dtype == b.dtype), "map opcode ",
         opcode, " of ", name_of(a.dtype), ", ", name_of(b.dtype), ", ", name_of(c.dtype));
  return push(opcode, b.dtype, b.dtype, b.dtype, {a, b, c});
}
MapBuilder::Value MapBuilder::cast(Value a, DType to) {
  if (a.dtype == to) return a;
  if (is_composed(a.dtype) || is_composed(to)) return cast_composed(*this, a, to);
  return push(TG_MAP_CAST, to, a.dtype, to, {a});
}

MapBuilder::Program MapBuilder::finish(std::span<const Value> outputs) const {
  Program p;
  p.inputs = inputs_;
  p.immediates = immediates_;
  p.insts = insts_;
  const int32_t base = int32_t(inputs_.size() + insts_.size());
  for (size_t i = 0; i < insts_.size(); ++i)
    for (size_t k = 0; k < insts_[i].n_operands; ++k)
      p.insts[i].operand[k] = uint16_t(operands_[i][k] >= 0 ? operands_[i][k] : base + ~operands_[i][k]);
  const auto add = [&](Value v) {
    p.output_dtypes.push_back(is_small_float(v.dtype) ? DType::u8 : v.dtype);
    ensure(v.id >= int32_t(inputs_.size()), "a map program's output is not the result of an instruction");
    p.outputs.push_back(v.id - int32_t(inputs_.size()));
  };
  for (Value v : operands_in_) p.composed = p.composed || is_composed(v.dtype);
  for (Value v : outputs) {
    p.composed = p.composed || is_composed(v.dtype);
    p.results.push_back(v.dtype);
    add(real(v));
    if (is_complex(v.dtype)) add(pairs_[size_t(v.id)].second);
  }
  return p;
}

// ---- expansion -----------------------------------------------------------------------------------------------------------

bool is_optional_opcode(int opcode) { return opcode >= TG_MAP_MANDATORY_END; }

namespace {

using V = MapBuilder::Value;

V expand(MapBuilder& b, int opcode, V x) {
  const DType t = x.dtype;
  auto c = [&](double v) { return b.immediate(Scalar(v), t); };
  auto u = [&](int op, V a) { return b.emit(op, a); };
  auto bin = [&](int op, V a, V d) { return b.emit(op, a, d); };
  auto sigmoid = [&](V a) { return bin(TG_MAP_DIV, c(1), bin(TG_MAP_ADD, c(1), u(TG_MAP_EXP, u(TG_MAP_NEG, a)))); };
  switch (opcode) {
    case TG_MAP_SIGN: {
      const V positive = b.cast(bin(TG_MAP_LT, c(0), x), t), negative = b.cast(bin(TG_MAP_LT, x, c(0)), t);
      const V sign = bin(TG_MAP_SUB, positive, negative);
      if (!is_floating(t)) return sign;
      return b.emit(TG_MAP_WHERE, bin(TG_MAP_NE, x, x), x, sign);
    }
    case TG_MAP_RSQRT: return bin(TG_MAP_DIV, c(1), u(TG_MAP_SQRT, x));
    case TG_MAP_RECIPROCAL: return bin(TG_MAP_DIV, c(1), x);
    case TG_MAP_EXPM1: {  // Kahan: (u - 1) * x / log(u) with u = exp(x)
      const V e = u(TG_MAP_EXP, x), one = bin(TG_MAP_EQ, e, c(1));
      const V d = bin(TG_MAP_SUB, e, c(1));
      const V kahan = bin(TG_MAP_DIV, bin(TG_MAP_MUL, d, x), u(TG_MAP_LOG, e));
      const V inf = bin(TG_MAP_LT, c(1e30), e), low = bin(TG_MAP_LT, x, c(-30));
      return b.emit(TG_MAP_WHERE, one, x, b.emit(TG_MAP_WHERE, inf, e, b.emit(TG_MAP_WHERE, low, c(-1), kahan)));
    }
    case TG_MAP_LOG1P: {  // Kahan: log(u) * x / (u - 1) with u = 1 + x
      const V w = bin(TG_MAP_ADD, c(1), x), one = bin(TG_MAP_EQ, w, c(1));
      const V d = bin(TG_MAP_SUB, w, c(1));
      const V kahan = bin(TG_MAP_DIV, bin(TG_MAP_MUL, u(TG_MAP_LOG, w), x), d);
      const V inf = bin(TG_MAP_EQ, x, c(INFINITY));
      return b.emit(TG_MAP_WHERE, one, x, b.emit(TG_MAP_WHERE, inf, x, kahan));
    }
    case TG_MAP_EXP2: return bin(TG_MAP_POW, c(2), x);
    case TG_MAP_LOG2: return bin(TG_MAP_MUL, u(TG_MAP_LOG, x), c(std::numbers::log2e));
    case TG_MAP_LOG10: return bin(TG_MAP_MUL, u(TG_MAP_LOG, x), c(std::numbers::log10e));
    case TG_MAP_SIGMOID: return sigmoid(x);
    case TG_MAP_RELU: return bin(TG_MAP_MAX, x, c(0));
    case TG_MAP_SILU: return bin(TG_MAP_MUL, x, sigmoid(x));
    case TG_MAP_GELU: {
      const V phi = bin(TG_MAP_ADD, c(1), u(TG_MAP_ERF, bin(TG_MAP_MUL, x, c(std::numbers::sqrt2 / 2))));
      return bin(TG_MAP_MUL, bin(TG_MAP_MUL, x, c(0.5)), phi);
    }
    case TG_MAP_GELU_TANH: {
      const V cube = bin(TG_MAP_MUL, bin(TG_MAP_MUL, x, x), x);
      const V inner = bin(TG_MAP_MUL, c(std::sqrt(2 / std::numbers::pi)), bin(TG_MAP_ADD, x, bin(TG_MAP_MUL, c(0.044715), cube)));
      return bin(TG_MAP_MUL, bin(TG_MAP_MUL, x, c(0.5)), bin(TG_MAP_ADD, c(1), u(TG_MAP_TANH, inner)));
    }
    case TG_MAP_SOFTPLUS:  // max(x, 0) + log1p(exp(-|x|))
      return bin(TG_MAP_ADD, bin(TG_MAP_MAX, x, c(0)), expand(b, TG_MAP_LOG1P, u(TG_MAP_EXP, u(TG_MAP_NEG, u(TG_MAP_ABS, x)))));
    case TG_MAP_TAN: return bin(TG_MAP_DIV, u(TG_MAP_SIN, x), u(TG_MAP_COS, x));
    case TG_MAP_SINH: {  // (expm1(x) + expm1(x) / (expm1(x) + 1)) / 2
      const V e = expand(b, TG_MAP_EXPM1, u(TG_MAP_ABS, x));
      const V inf = bin(TG_MAP_LT, c(1e30), e);
      const V ratio = b.emit(TG_MAP_WHERE, inf, c(1), bin(TG_MAP_DIV, e, bin(TG_MAP_ADD, e, c(1))));
      const V half = bin(TG_MAP_MUL, c(0.5), bin(TG_MAP_ADD, e, ratio));
      return b.emit(TG_MAP_WHERE, bin(TG_MAP_LT, x, c(0)), u(TG_MAP_NEG, half), half);
    }
    case TG_MAP_COSH: {
      const V e = u(TG_MAP_EXP, u(TG_MAP_ABS, x));
      return bin(TG_MAP_ADD, bin(TG_MAP_MUL, c(0.5), e), bin(TG_MAP_DIV, c(0.5), e));
    }
    case TG_MAP_ATAN: return bin(TG_MAP_ATAN2, x, c(1));
    case TG_MAP_ASIN:  // atan2(x, sqrt((1 - x) * (1 + x)))
      return bin(TG_MAP_ATAN2, x, u(TG_MAP_SQRT, bin(TG_MAP_MUL, bin(TG_MAP_SUB, c(1), x), bin(TG_MAP_ADD, c(1), x))));
    case TG_MAP_ACOS:
      return bin(TG_MAP_ATAN2, u(TG_MAP_SQRT, bin(TG_MAP_MUL, bin(TG_MAP_SUB, c(1), x), bin(TG_MAP_ADD, c(1), x))), x);
    case TG_MAP_ERFC: return bin(TG_MAP_SUB, c(1), u(TG_MAP_ERF, x));
    default: raise(ErrorKind::not_implemented, "map opcode ", opcode, " has no expansion; the plugin must bring it");
  }
}

}  // namespace

MapBuilder::Program expand_program(const MapBuilder::Program& p, const std::function<bool(const tg_map_inst&)>& keep) {
  MapBuilder b(p.inputs);
  std::vector<V> values;
  for (size_t i = 0; i < p.inputs.size(); ++i) values.push_back(b.input(i));
  const size_t n_in = p.inputs.size(), n = p.insts.size();
  auto value = [&](size_t id) -> V {
    if (id < n_in + n) return values[id];
    const auto& imm = p.immediates[id - n_in - n];
    if (imm.slot >= 0) return b.run_immediate_part(imm.dtype, imm.slot, imm.imag);
    return b.immediate_bits(imm.bits, imm.dtype);
  };
  for (const tg_map_inst& inst : p.insts) {
    V a = value(inst.operand[0]);
    DType to = DType::f32;
    dtype_from_abi(inst.dtype, &to);
    if (inst.opcode == TG_MAP_CAST) values.push_back(b.cast(a, to));
    else if (is_optional_opcode(inst.opcode) && !keep(inst)) {
      // 16-bit floats are expanded in f32: their range is too small for the intermediate values.
      const bool small = to == DType::f16 || to == DType::bf16;
      values.push_back(small ? b.cast(expand(b, inst.opcode, b.cast(a, DType::f32)), to) : expand(b, inst.opcode, a));
    }
    else if (inst.n_operands == 1) values.push_back(b.emit(inst.opcode, a));
    else if (inst.n_operands == 2) values.push_back(b.emit(inst.opcode, a, value(inst.operand[1])));
    else values.push_back(b.emit(inst.opcode, a, value(inst.operand[1]), value(inst.operand[2])));
  }
  std::vector<V> outs;
  for (int64_t j : p.outputs) outs.push_back(value(n_in + size_t(j)));
  MapBuilder::Program made = b.finish(outs);
  made.results = p.results;
  made.composed = p.composed;
  return made;
}

// ---- splitting -----------------------------------------------------------------------------------------------------------

std::vector<SingleInst> split_program(const MapBuilder::Program& p) {
  const size_t n_in = p.inputs.size(), n = p.insts.size();
  std::vector<DType> types(p.inputs);
  std::vector<SingleInst> out;
  for (tg_map_inst inst : p.insts) {
    SingleInst s;
    std::array<bool, 3> is_value{};
    for (size_t k = 0; k < inst.n_operands; ++k) {
      const size_t id = inst.operand[k];
      is_value[k] = id < n_in + n;
      if (is_value[k]) {
        s.inputs.push_back(uint16_t(id));
        s.program.inputs.push_back(types[id]);
      } else {
        s.immediates.push_back(uint16_t(id - n_in - n));
        s.program.immediates.push_back(p.immediates[id - n_in - n]);
      }
    }
    size_t value = 0, immediate = s.inputs.size() + 1;
    for (size_t k = 0; k < inst.n_operands; ++k) inst.operand[k] = uint16_t(is_value[k] ? value++ : immediate++);
    DType t = DType::f32;
    dtype_from_abi(inst.dtype, &t);
    types.push_back(is_comparison(inst.opcode) ? DType::boolean : t);
    s.program.insts = {inst};
    s.program.outputs = {0};
    s.program.output_dtypes = {types.back()};
    out.push_back(std::move(s));
  }
  return out;
}

}  // namespace tg
