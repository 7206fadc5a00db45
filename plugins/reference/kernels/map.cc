// SPDX-License-Identifier: Apache-2.0
//
// map: an elementwise program, instruction by instruction over blocks of 256 elements. Per block all inputs are read
// before any output is written, so an output may be the very tensor of an input.

#include <array>

#include "map_loops.h"

namespace tg::reference {
namespace {

constexpr int64_t kBlock = 256;
using BlockBuffer = std::array<uint64_t, kBlock>;  // room for any dtype

// A tensor as the sequence of its elements in row-major order.
class Sequence {
 public:
  explicit Sequence(const tg_tensor& t)
      : base_(data<char>(t)), size_(t.dtype.bits / 8), walk_(t.ndim, t.shape, {t.strides}) {}

  // Elements [begin, begin + n) as one packed block: in place where they are, else copied to `buffer`.
  const void* load(int64_t begin, int64_t n, void* buffer) const {
    if (walk_.packed(0)) return base_ + begin * size_;
    move(begin, n, static_cast<char*>(buffer),
         [](char* element, char* packed, int64_t size) { std::memcpy(packed, element, size_t(size)); });
    return buffer;
  }

  void store(int64_t begin, int64_t n, const void* block) const {
    if (walk_.packed(0)) {
      std::memcpy(base_ + begin * size_, block, size_t(n * size_));
    } else {
      move(begin, n, static_cast<char*>(const_cast<void*>(block)),
           [](char* element, char* packed, int64_t size) { std::memcpy(element, packed, size_t(size)); });
    }
  }

 private:
  template <class Move>
  void move(int64_t begin, int64_t n, char* packed, Move&& one) const {
    switch (size_) {  // a constant size makes the memcpy one instruction
      case 1:
        return move_sized(begin, n, packed, [&](char* e, char* p) { one(e, p, 1); });
      case 2:
        return move_sized(begin, n, packed, [&](char* e, char* p) { one(e, p, 2); });
      case 4:
        return move_sized(begin, n, packed, [&](char* e, char* p) { one(e, p, 4); });
      default:
        return move_sized(begin, n, packed, [&](char* e, char* p) { one(e, p, 8); });
    }
  }

  template <class Move>
  void move_sized(int64_t begin, int64_t n, char* packed, Move&& one) const {
    const int64_t inner = walk_.inner(), step = walk_.step(0) * size_, end = begin + n;
    int64_t row = begin / inner;
    walk_.rows(row, (end + inner - 1) / inner, [&](const int64_t(&offset)[1]) {
      const int64_t lo = std::max(begin - row * inner, int64_t(0)), hi = std::min(end - row * inner, inner);
      char* element = base_ + offset[0] * size_;
      for (int64_t i = lo; i < hi; ++i, packed += size_) one(element + i * step, packed);
      ++row;
    });
  }

  char* base_;
  int64_t size_;
  Walk<1> walk_;
};

struct Instruction {
  MapLoop loop;
  uint16_t n_operands;
  uint16_t operand[3];
};

class Map : public plugin::Plan {
 public:
  Map(const tg_host* host, const tg_call& call) : host_(host), n_inputs_(call.n_inputs) {
    const tg_attr& program = attr("map", call, 0, TG_ATTR_PROGRAM);
    const tg_attr& outputs = attr("map", call, 1, TG_ATTR_INTS);
    if (program.n == 0) fail(TG_INVALID_ARGUMENT, "[map] expected a program of at least one instruction, got none");
    if (outputs.n != call.n_outputs)
      fail(TG_INVALID_ARGUMENT, "[map] expected one output number per output, got %u for %u", outputs.n,
           call.n_outputs);
    for (uint32_t i = 0; i < call.n_inputs; ++i) dtypes_.push_back(call.inputs[i]->dtype);
    for (uint32_t i = 0; i < program.n; ++i) dtypes_.push_back(result_dtype(program.v.program[i]));
    for (uint32_t i = 0; i < program.n; ++i) add(program.v.program[i], i, program.n);
    for (uint32_t i = 0; i < outputs.n; ++i) {
      const int64_t result = outputs.v.ints[i];
      if (result < 0 || result >= int64_t(program.n))
        fail(TG_INVALID_ARGUMENT, "[map] expected output %u to be an instruction below %u, got %" PRId64, i, program.n,
             result);
      outputs_.push_back(uint32_t(result));
      if (call.outputs[i])
        require_dtype("map", "an output of its instruction's result", dtypes_[n_inputs_ + size_t(result)],
                      call.outputs[i]->dtype);
    }
  }

  void run(const tg_run& run) override {
    const size_t results = program_.size(), first_immediate = n_inputs_ + results;
    std::vector<Sequence> inputs, outputs;
    std::vector<uint32_t> sources;  // of `outputs`
    const tg_tensor* shape = nullptr;
    for (uint32_t i = 0; i < run.n_outputs; ++i) {
      if (!run.outputs[i]) continue;  // nobody wants it
      if (!shape) shape = run.outputs[i];
      require_same_shape("map", *shape, *run.outputs[i]);
      outputs.emplace_back(*run.outputs[i]);
      sources.push_back(outputs_[i]);
    }
    if (!shape) return;
    for (uint32_t i = 0; i < run.n_inputs; ++i) {
      require_same_shape("map", *shape, *run.inputs[i]);
      inputs.emplace_back(*run.inputs[i]);
    }
    const size_t immediates = dtypes_.size() - first_immediate;
    const uint64_t* bits = nullptr;
    if (immediates > 0) {
      const tg_attr& given = attr("map", run, 0, TG_ATTR_BITS);
      if (given.n < immediates) fail(TG_INVALID_ARGUMENT, "[map] expected %zu immediates, got %u", immediates, given.n);
      bits = given.v.bits;
    }
    const int64_t n = numel(*shape), blocks = (n + kBlock - 1) / kBlock;
    parallel_rows(host_, run, blocks, kBlock * int64_t(results), [&](int64_t begin, int64_t end) {
      std::vector<BlockBuffer> buffers(dtypes_.size());
      std::vector<const void*> values(dtypes_.size());
      for (size_t v = 0; v < values.size(); ++v) values[v] = &buffers[v];
      for (size_t i = 0; i < immediates; ++i)
        broadcast(bits[i], dtypes_[first_immediate + i], buffers[first_immediate + i]);
      for (int64_t block = begin; block < end; ++block) {
        const int64_t at = block * kBlock, size = std::min(kBlock, n - at);
        for (size_t i = 0; i < inputs.size(); ++i) values[i] = inputs[i].load(at, size, &buffers[i]);
        for (size_t j = 0; j < results; ++j) {
          const Instruction& inst = program_[j];
          const void* operands[3] = {};
          for (int k = 0; k < inst.n_operands; ++k) operands[k] = values[inst.operand[k]];
          inst.loop(operands, &buffers[n_inputs_ + j], size);
        }
        for (size_t i = 0; i < outputs.size(); ++i) outputs[i].store(at, size, values[n_inputs_ + sources[i]]);
      }
    });
  }

 private:
  static constexpr tg_dtype kBool = plugin::dtype_of<boolean>::value;

  static bool is_comparison(uint16_t opcode) { return opcode >= TG_MAP_EQ && opcode <= TG_MAP_LE; }
  static tg_dtype result_dtype(const tg_map_inst& inst) { return is_comparison(inst.opcode) ? kBool : inst.dtype; }
  static uint16_t operand_count(uint16_t opcode) {
    if (opcode == TG_MAP_WHERE || opcode == TG_MAP_FMA || opcode == TG_MAP_CLIP) return 3;
    return opcode >= TG_MAP_ADD && opcode <= TG_MAP_SHR ? 2 : 1;
  }

  void add(const tg_map_inst& inst, uint32_t number, uint32_t count) {
    const bool cast = inst.opcode == TG_MAP_CAST;
    MapLoop loop = cast ? cast_loop(inst.from, inst.dtype) : float_loop(inst.dtype, inst.opcode);
    if (!loop) loop = integer_loop(inst.dtype, inst.opcode);
    if (!loop)
      fail(TG_UNIMPLEMENTED, "[map] instruction %u: opcode %u does not take dtype %s", number, inst.opcode,
           dtype_name(inst.dtype));
    if (inst.n_operands != operand_count(inst.opcode))
      fail(TG_INVALID_ARGUMENT, "[map] instruction %u: opcode %u expects %u operands, got %u", number, inst.opcode,
           operand_count(inst.opcode), inst.n_operands);
    for (uint16_t k = 0; k < inst.n_operands; ++k) {
      const uint32_t v = inst.operand[k];
      const tg_dtype expected = cast ? inst.from : inst.opcode == TG_MAP_WHERE && k == 0 ? kBool : inst.dtype;
      if (v >= n_inputs_ + number && v < n_inputs_ + count)
        fail(TG_INVALID_ARGUMENT, "[map] instruction %u: operand %u is the result of instruction %u, not yet known",
             number, k, v - n_inputs_);
      // An immediate has the dtype of its first reader; one that nobody reads is kept as some dtype.
      while (v >= dtypes_.size()) dtypes_.push_back(tg_dtype{});
      if (v >= n_inputs_ + count && dtypes_[v].lanes == 0) dtypes_[v] = expected;
      if (!(dtypes_[v] == expected))
        fail(TG_INVALID_ARGUMENT, "[map] instruction %u: expected operand %u of dtype %s, got %s", number, k,
             dtype_name(expected), dtype_name(dtypes_[v]));
    }
    program_.push_back({loop, inst.n_operands, {inst.operand[0], inst.operand[1], inst.operand[2]}});
  }

  static void broadcast(uint64_t bits, tg_dtype dtype, BlockBuffer& buffer) {
    if (dtype.lanes == 0) return;  // nobody reads it
    visit(dtype, [&](auto t) {
      using T = typename decltype(t)::type;
      std::fill_n(reinterpret_cast<T*>(buffer.data()), kBlock, plugin::from_bits<T>(bits));
    });
  }

  const tg_host* host_;
  uint32_t n_inputs_;
  std::vector<tg_dtype> dtypes_;  // of the inputs, the results, the immediates
  std::vector<Instruction> program_;
  std::vector<uint32_t> outputs_;
};

}  // namespace

PlanPtr make_map(const tg_host* host, const tg_call& call) { return std::make_unique<Map>(host, call); }

}  // namespace tg::reference
