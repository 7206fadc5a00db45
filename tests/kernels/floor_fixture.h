// SPDX-License-Identifier: Apache-2.0
//
// The GoogleTest fixture of the floor's tests: one plugin per process, every matching row tried, and an account of what
// the plugin does not offer.
//
// TENGEN_TEST_REQUIRE says what must be offered: "all" (every dtype and opcode), "floor" (what ABI.md calls mandatory)
// or "offered" (only what rows promise). A test of which nothing is offered reports itself as skipped, with the list.
#pragma once

#include <gtest/gtest.h>

#include <set>

#include "plugin_harness.h"
#include "test_numbers.h"

namespace tg::test {

Plugin& the_plugin();  // floor_test.cc
enum class Require { all, floor, offered };
Require required();

inline bool mandatory_dtype(tg_dtype t) {
  static const std::set<std::string> kNames = {"f32", "i32", "i64", "u8", "bool"};
  return kNames.count(plugin::dtype_name(t)) > 0;
}

inline bool mandatory(const Call& call) {
  for (const Tensor* t : call.inputs)
    if (t && !mandatory_dtype(t->dtype())) return false;
  for (const Tensor* t : call.outputs)
    if (t && !mandatory_dtype(t->dtype()) && call.op != "random") return false;
  if (call.op == "map")
    for (const tg_map_inst& inst : call.plan_attrs[0].program)
      if (inst.opcode >= TG_MAP_MANDATORY_END || !mandatory_dtype(inst.dtype)) return false;
  return true;
}

inline std::string describe(const Call& call) {
  std::string s = call.op;
  if (call.op == "map")
    for (const tg_map_inst& inst : call.plan_attrs[0].program) s += " opcode " + std::to_string(inst.opcode);
  for (const Tensor* t : call.inputs) s += std::string(" ") + (t ? plugin::dtype_name(t->dtype()) : "absent");
  s += " ->";
  for (const Tensor* t : call.outputs) s += std::string(" ") + (t ? plugin::dtype_name(t->dtype()) : "unwanted");
  return s;
}

class FloorTest : public ::testing::Test {
 protected:
  // Runs the call on every row that matches and accepts, from the same outputs each time, and calls check(outcome).
  template <class Check>
  void each_row(const Call& call, Check&& check) {
    std::vector<std::vector<uint64_t>> before;
    for (Tensor* t : call.outputs) {
      before.emplace_back();
      for (int64_t i = 0; t && i < t->size(); ++i) before.back().push_back(t->bits(i));
    }
    int accepted = 0;
    std::string reasons;
    for (uint32_t row : the_plugin().candidates(call)) {
      for (size_t o = 0; o < before.size(); ++o)
        for (size_t i = 0; i < before[o].size(); ++i) call.outputs[o]->put_bits(int64_t(i), before[o][i]);
      const std::string name = the_plugin().rows()[row].name;
      SCOPED_TRACE("row " + name + ": " + describe(call));
      const Outcome outcome = the_plugin().run(call, row);
      EXPECT_EQ(outcome.breach, "");
      if (!outcome.accepted) {
        reasons += "; " + name + " refused: " + outcome.message;
        continue;
      }
      ++accepted;
      check(outcome);
    }
    account(call, accepted, reasons);
  }

  // As above for calls that must succeed; check() then looks at the outputs.
  template <class Check>
  void each_good_row(const Call& call, Check&& check) {
    each_row(call, [&](const Outcome& outcome) {
      ASSERT_EQ(outcome.status, TG_OK) << outcome.message;
      check();
    });
  }

  // A call that no row may take: refused at plan time.
  void expect_refused(const Call& call) {
    for (uint32_t row : the_plugin().candidates(call)) {
      const Outcome outcome = the_plugin().run(call, row);
      EXPECT_FALSE(outcome.accepted) << describe(call);
      EXPECT_EQ(outcome.breach, "");
      EXPECT_NE(outcome.message, "");
    }
  }

  void TearDown() override {
    if (offered_ > 0 || missing_.empty()) return;
    std::string list;
    for (const std::string& what : missing_) list += "\n  " + what;
    GTEST_SKIP() << the_plugin().table().name << " does not offer:" << list;
  }

  Random random{12345};

 private:
  void account(const Call& call, int accepted, const std::string& reasons) {
    if (accepted > 0) {
      ++offered_;
      return;
    }
    missing_.insert(describe(call) + reasons);
    if (required() == Require::all || (required() == Require::floor && mandatory(call)))
      ADD_FAILURE() << "not offered: " << describe(call) << reasons;
  }

  int offered_ = 0;
  std::set<std::string> missing_;
};

// ---- typed suites ----

using FloatTypes = ::testing::Types<float, double, half, bfloat16>;
using IntegerTypes = ::testing::Types<int64_t, int32_t, int16_t, int8_t, uint64_t, uint32_t, uint16_t, uint8_t>;
using NumberTypes = ::testing::Types<float, double, half, bfloat16, int64_t, int32_t, int16_t, int8_t, uint64_t, uint32_t,
                                     uint16_t, uint8_t>;
using AllTypes = ::testing::Types<float, double, half, bfloat16, int64_t, int32_t, int16_t, int8_t, uint64_t, uint32_t,
                                  uint16_t, uint8_t, boolean>;
struct TypeNames {
  template <class T>
  static std::string GetName(int) {
    return plugin::dtype_name(plugin::dtype_of<T>::value);
  }
};

template <class T>
class FloorTypedTest : public FloorTest {};
template <class T>
inline constexpr tg_dtype dtype = plugin::dtype_of<T>::value;

// ---- map programs ----

inline tg_map_inst inst(uint16_t opcode, tg_dtype type, std::vector<uint16_t> operands, tg_dtype from = {}) {
  tg_map_inst i{};
  i.opcode = opcode;
  i.dtype = type;
  i.from = from;
  i.n_operands = uint16_t(operands.size());
  std::copy(operands.begin(), operands.end(), i.operand);
  return i;
}

inline Call map_call(std::vector<Tensor*> inputs, std::vector<Tensor*> outputs, std::vector<tg_map_inst> program,
                     std::vector<int64_t> results, std::vector<uint64_t> immediates = {}) {
  return {"map",
          std::move(inputs),
          std::move(outputs),
          {Attr::map_program(std::move(program)), Attr::ints(std::move(results))},
          {Attr::bits(std::move(immediates))}};
}

// One instruction over all its operands as tensors.
inline Call single(uint16_t opcode, std::vector<Tensor*> inputs, Tensor& output, tg_dtype type, tg_dtype from = {}) {
  std::vector<uint16_t> operands(inputs.size());
  std::iota(operands.begin(), operands.end(), uint16_t(0));
  return map_call(std::move(inputs), {&output}, {inst(opcode, type, operands, from)}, {0});
}

// Values as a tensor: rank 1 packed, else rank 2 (the last value is repeated to fill it).
template <class T>
Tensor spread(std::vector<T> values, Layout layout) {
  if (layout == Layout::packed) return Tensor::of<T>({int64_t(values.size())}, values);
  while (values.size() % 4) values.push_back(values.back());
  return Tensor::of<T>({4, int64_t(values.size() / 4)}, values, layout);
}

}  // namespace tg::test
