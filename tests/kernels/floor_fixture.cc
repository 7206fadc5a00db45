// SPDX-License-Identifier: Apache-2.0
//
// The fixture's account: every matching row, what is mandatory, what is missing.

#include "floor_fixture.h"

namespace tg::test {
namespace {

bool mandatory_dtype(tg_dtype t) {
  static const std::set<std::string> kNames = {"f32", "i32", "i64", "u8", "bool"};
  return kNames.count(plugin::dtype_name(t)) > 0;
}

// What ABI.md demands of a plugin that offers the floor.
bool mandatory(const Call& call) {
  for (const Tensor* t : call.inputs)
    if (t && !mandatory_dtype(t->dtype())) return false;
  for (const Tensor* t : call.outputs)
    if (t && !mandatory_dtype(t->dtype()) && call.op != "random") return false;
  if (call.op == "map")
    for (const tg_map_inst& inst : call.plan_attrs[0].program)
      if (inst.opcode >= TG_MAP_MANDATORY_END || !mandatory_dtype(inst.dtype)) return false;
  return true;
}

std::string describe(const Call& call) {
  std::string s = call.op;
  if (call.op == "map")
    for (const tg_map_inst& inst : call.plan_attrs[0].program) s += " opcode " + std::to_string(inst.opcode);
  for (const Tensor* t : call.inputs) s += std::string(" ") + (t ? plugin::dtype_name(t->dtype()) : "absent");
  s += " ->";
  for (const Tensor* t : call.outputs) s += std::string(" ") + (t ? plugin::dtype_name(t->dtype()) : "unwanted");
  return s;
}

}  // namespace

void FloorTest::each_row(const Call& call, const std::function<void(const Outcome&)>& check) {
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

void FloorTest::each_good_row(const Call& call, const std::function<void()>& check) {
  each_row(call, [&](const Outcome& outcome) {
    ASSERT_EQ(outcome.status, TG_OK) << outcome.message;
    check();
  });
}

void FloorTest::expect_refused(const Call& call) {
  for (uint32_t row : the_plugin().candidates(call)) {
    const Outcome outcome = the_plugin().run(call, row);
    EXPECT_FALSE(outcome.accepted) << describe(call);
    EXPECT_EQ(outcome.breach, "");
    EXPECT_NE(outcome.message, "");
  }
}

void FloorTest::account(const Call& call, int accepted, const std::string& reasons) {
  if (accepted > 0) {
    ++offered_;
    return;
  }
  missing_.insert(describe(call) + reasons);
  if (required() == Require::all || (required() == Require::floor && mandatory(call)))
    ADD_FAILURE() << "not offered: " << describe(call) << reasons;
}

void FloorTest::TearDown() {
  if (missing_.empty()) return;
  std::string list;
  for (const std::string& what : missing_) list += "\n  " + what;
  if (offered_ == 0) GTEST_SKIP() << "never: " << the_plugin().table().name << " promises none of this:" << list;
  std::printf("[  PARTIAL ] %s does not offer:%s\n", the_plugin().table().name, list.c_str());
}

}  // namespace tg::test
