// SPDX-License-Identifier: Apache-2.0
// Names of dtypes and opcodes; parsing and matching of dtype patterns.
#include "test_util.h"

namespace tg::registry {
namespace {

constexpr tg_dtype f32{TG_CODE_FLOAT, 32, 1}, f64{TG_CODE_FLOAT, 64, 1}, i32{TG_CODE_INT, 32, 1},
    i64{TG_CODE_INT, 64, 1}, odd{TG_CODE_FLOAT, 32, 4};

using List = std::vector<tg_dtype>;

bool match(const char* text, List in, List out, uint64_t present = ~0ull, uint64_t wanted = ~0ull) {
  std::string why;
  const bool ok = DtypePattern::parse(text, false).matches(in, out, present, wanted, &why);
  EXPECT_EQ(ok, why.empty()) << text << ": " << why;
  return ok;
}

TEST(Names, GoAround) {
  for (int i = 0; i < kDtypeCount; ++i) {
    EXPECT_EQ(find_dtype(dtype_name(i)), i);
    EXPECT_EQ(dtype_position(dtype_at(i)), i);
  }
  EXPECT_EQ(dtype_position(odd), -1);
  EXPECT_EQ(dtype_name(TG_DT_BF16), std::string("bf16"));
  EXPECT_FALSE(find_dtype("float"));
  for (int i = 1; i < TG_MAP_END; ++i) EXPECT_EQ(find_map_opcode(map_opcode_name(i)), i);
  EXPECT_EQ(map_opcode_name(TG_MAP_GELU_TANH), std::string("gelu_tanh"));
  EXPECT_EQ(map_opcode_name(TG_MAP_WHERE), std::string("where"));
  EXPECT_EQ(map_opcode_name(0), nullptr);
  EXPECT_EQ(map_opcode_name(TG_MAP_END), nullptr);
}

TEST(Pattern, Letters) {
  EXPECT_TRUE(match("T T -> T; T: f32 f64", {f32, f32}, {f32}));
  EXPECT_TRUE(match("T T -> T; T: f32 f64", {f64, f64}, {f64}));
  EXPECT_FALSE(match("T T -> T; T: f32 f64", {f32, f64}, {f32}));
  EXPECT_FALSE(match("T T -> T; T: f32 f64", {f32, f32}, {f64}));
  EXPECT_FALSE(match("T T -> T; T: f32 f64", {i32, i32}, {i32}));
  EXPECT_TRUE(match("T I -> T; T: f32; I: i32 i64", {f32, i64}, {f32}));
  EXPECT_FALSE(match("T I -> T; T: f32; I: i32 i64", {f32, f32}, {f32}));
  EXPECT_TRUE(match("T -> T", {odd}, {odd})) << "an unbound letter stands for any dtype";
  EXPECT_FALSE(match("T -> T", {odd}, {f32}));
}

TEST(Pattern, Alternatives) {
  for (const char* text : {"f32|f64 -> i64", "(f32|f64) -> i64"}) {
    EXPECT_TRUE(match(text, {f32}, {i64}));
    EXPECT_TRUE(match(text, {f64}, {i64}));
    EXPECT_FALSE(match(text, {i32}, {i64}));
    EXPECT_FALSE(match(text, {f32}, {i32}));
  }
  EXPECT_TRUE(match("* -> *", {odd}, {i32}));
}

TEST(Pattern, CountsAndRepeats) {
  EXPECT_FALSE(match("T T -> T", {f32}, {f32}));
  EXPECT_FALSE(match("T -> T", {f32, f32}, {f32}));
  EXPECT_TRUE(match("-> T", {}, {f32}));
  EXPECT_TRUE(match("T... -> T", {f32}, {f32}));
  EXPECT_TRUE(match("T ... -> T", {f32, f32, f32}, {f32}));
  EXPECT_FALSE(match("T... -> T", {f32, i32}, {f32}));
  EXPECT_FALSE(match("T... -> T", {}, {f32})) << "one or more";
  EXPECT_TRUE(match("i32 T... -> T", {i32, f32, f32}, {f32}));
  EXPECT_FALSE(match("i32 T... -> T", {f32, f32}, {f32}));
  List many(100, f32);
  EXPECT_TRUE(match("T... -> T", many, {f32}));
  many[99] = i32;
  EXPECT_FALSE(match("T... -> T", many, {f32}, 1)) << "arguments from 64 on are always present";
}

TEST(Pattern, AbsentArgumentsMatchAnything) {
  EXPECT_TRUE(match("T T T -> T; T: f32", {f32, f32, i32}, {f32}, 0b011));
  EXPECT_FALSE(match("T T T -> T; T: f32", {f32, f32, i32}, {f32}, 0b111));
  EXPECT_TRUE(match("T -> T i64", {f32}, {f32, f32}, ~0ull, 0b01));
  EXPECT_TRUE(match("T T -> T", {f64, i32}, {i32}, 0b10)) << "the letter is bound by the present one";
  EXPECT_TRUE(match("T -> T", {f32, i32}, {f32}, 0b01)) << "a new optional input, not used";
}

TEST(Pattern, MapRows) {
  const DtypePattern p = DtypePattern::parse("T; T: f32 f64", true);
  EXPECT_TRUE(p.is_map());
  EXPECT_TRUE(p.matches_instruction(f32));
  EXPECT_FALSE(p.matches_instruction(i32));
  EXPECT_FALSE(p.matches_instruction(odd));
  EXPECT_EQ(p.instruction_mask(), 3u);
  EXPECT_TRUE(DtypePattern::parse("i32|i64", true).matches_instruction(i64));
  std::string why;
  EXPECT_FALSE(p.matches({}, {}, ~0ull, ~0ull, &why));
  EXPECT_FALSE(why.empty());
  EXPECT_FALSE(DtypePattern::parse("f32 -> f32", false).matches_instruction(f32));
}

TEST(Pattern, Reasons) {
  std::string why;
  const DtypePattern p = DtypePattern::parse("T T -> T; T: f32 f64", false);
  p.matches(List{f32, i32}, List{f32}, ~0ull, ~0ull, &why);
  EXPECT_EQ(why, "input 1: expected f32|f64 (T T -> T; T: f32 f64), got i32");
  p.matches(List{f32, f64}, List{f32}, ~0ull, ~0ull, &why);
  EXPECT_EQ(why, "input 1: expected f32 as the other arguments of type T (T T -> T; T: f32 f64), got f64");
  EXPECT_TRUE(p.mentions(TG_DT_F64));
  EXPECT_FALSE(p.mentions(TG_DT_I32));
}

TEST(Pattern, Malformed) {
  for (const char* text : {"",
                           "f32",
                           "-> ",
                           "f32 ->",
                           "x -> f32",
                           "f32| -> f32",
                           "(f32 -> f32",
                           "() -> f32",
                           "T... T -> T",
                           "... -> T",
                           "T -> T;",
                           "T -> T; T",
                           "T -> T; T:",
                           "T -> T; U: f32",
                           "T -> T; T: f32; T: f64",
                           "T -> T; T: float",
                           "T -> T; f32: T",
                           "t -> t",
                           "TT -> TT",
                           "T -> T -> T",
                           "T, T -> T"}) {
    EXPECT_THROW(DtypePattern::parse(text, false), std::invalid_argument) << text;
  }
  for (const char* text : {"", "f32 f32", "T...", "f32 -> f32", ";"})
    EXPECT_THROW(DtypePattern::parse(text, true), std::invalid_argument) << text;
}

}  // namespace
}  // namespace tg::registry
