// SPDX-License-Identifier: Apache-2.0
//
// The GoogleTest fixture of the floor's tests: one plugin per process, every matching row tried, and an account of what
// the plugin does not offer.
//
// TENGEN_TEST_REQUIRE says what must be offered: "all" (every dtype and opcode), "floor" (what ABI.md calls mandatory)
// or "offered" (only what rows promise). A test of which nothing is offered reports itself as skipped, with the list.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <set>

#include "plugin_harness.h"
#include "test_numbers.h"

namespace tg::test {

Plugin& the_plugin();  // floor_test.cc
enum class Require { all, floor, offered };
Require required();

class FloorTest : public ::testing::Test {
 protected:
  // Runs the call on every row that matches and accepts, from the same outputs each time, and calls check(outcome).
  void each_row(const Call& call, const std::function<void(const Outcome&)>& check);

  // As above for calls that must succeed; check() then looks at the outputs.
  void each_good_row(const Call& call, const std::function<void()>& check);

  // A call that no row may take: refused at plan time.
  void expect_refused(const Call& call);

  void TearDown() override;

  Random random{12345};

 private:
  void account(const Call& call, int accepted, const std::string& reasons);

  int offered_ = 0;
  std::set<std::string> missing_;
};

// ---- typed suites ----

using FloatTypes = ::testing::Types<float, double, half, bfloat16>;
using IntegerTypes = ::testing::Types<int64_t, int32_t, int16_t, int8_t, uint64_t, uint32_t, uint16_t, uint8_t>;
using NumberTypes = ::testing::Types<float, double, half, bfloat16, int64_t, int32_t, int16_t, int8_t, uint64_t,
                                     uint32_t, uint16_t, uint8_t>;
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
