// SPDX-License-Identifier: Apache-2.0
// Promotion against the lattice of the array API standard, written out.
#include <gtest/gtest.h>
#include <tengen/dtype.h>
#include <tengen/error.h>

#include <cmath>

namespace tg {
namespace {

TEST(DType, PromotionIsTheStandardsTable) {
  using enum DType;
  EXPECT_EQ(promote(i8, i8), i8);
  EXPECT_EQ(promote(i8, i16), i16);
  EXPECT_EQ(promote(i32, i64), i64);
  EXPECT_EQ(promote(u8, u16), u16);
  EXPECT_EQ(promote(u32, u64), u64);
  EXPECT_EQ(promote(i8, u8), i16);
  EXPECT_EQ(promote(i8, u16), i32);
  EXPECT_EQ(promote(i8, u32), i64);
  EXPECT_EQ(promote(i64, u8), i64);
  EXPECT_EQ(promote(i64, u32), i64);
  EXPECT_EQ(promote(f32, f64), f64);
  EXPECT_EQ(promote(f16, f32), f32);
  EXPECT_EQ(promote(f16, bf16), f32);
  EXPECT_EQ(promote(boolean, boolean), boolean);
  EXPECT_EQ(promote(boolean, i8), i8);
  EXPECT_EQ(promote(f16, i64), f16);
  EXPECT_EQ(promote(c64, f64), c128);
  EXPECT_EQ(promote(c64, f16), c64);
  EXPECT_EQ(promote(i64, c64), c64);
}

TEST(DType, PromotionIsCommutativeAndIdempotent) {
  for (int a = 0; a < kDTypeCount; ++a)
    for (int b = 0; b < kDTypeCount; ++b) {
      const auto small = [](int t) { return is_small_float(DType(t)) || is_packed(DType(t)); };
      // 8-bit floats and 4-bit integers meet nothing but themselves
      if ((small(a) || small(b)) && a != b) EXPECT_THROW(promote(DType(a), DType(b)), Error);
      else EXPECT_EQ(promote(DType(a), DType(b)), promote(DType(b), DType(a)));
    }
  for (int a = 0; a < kDTypeCount; ++a) EXPECT_EQ(promote(DType(a), DType(a)), DType(a));
}

TEST(DType, ScalarsAreWeak) {
  EXPECT_EQ(promote(DType::f16, Scalar::floating), DType::f16);
  EXPECT_EQ(promote(DType::i8, Scalar::integer), DType::i8);
  EXPECT_EQ(promote(DType::i8, Scalar::floating), DType::f32);
  EXPECT_EQ(promote(DType::boolean, Scalar::integer), DType::i64);
  EXPECT_EQ(promote(DType::boolean, Scalar::boolean), DType::boolean);
}

TEST(DType, ScalarBitsRoundTrip) {
  for (int t = 0; t < kDTypeCount; ++t)
    for (double v : {0.0, 1.0}) {
      char element[16];
      Scalar(v).store(DType(t), element);
      EXPECT_EQ(Scalar::load(DType(t), element).as_double(), v) << name_of(DType(t));
      if (kind_of(DType(t)) == DKind::complex) continue;  // wider than a word of bits
      EXPECT_EQ(Scalar::from_bits(Scalar(v).bits(DType(t)), DType(t)).as_double(), v) << name_of(DType(t));
    }
  const Scalar z = Scalar::of_complex(-2.5, 0.75);
  for (DType t : {DType::c64, DType::c128}) {
    char element[16];
    z.store(t, element);
    EXPECT_EQ(Scalar::load(t, element).f, -2.5);
    EXPECT_EQ(Scalar::load(t, element).im, 0.75);
  }
  EXPECT_EQ(Scalar::from_bits(Scalar(-3).bits(DType::i8), DType::i8).as_int(), -3);
  EXPECT_EQ(Scalar::from_bits(Scalar(65504.0).bits(DType::f16), DType::f16).as_double(), 65504.0);
  EXPECT_TRUE(std::isinf(Scalar::from_bits(Scalar(65520.0).bits(DType::f16), DType::f16).as_double()));
  EXPECT_EQ(Scalar::from_bits(Scalar(0x1p-24).bits(DType::f16), DType::f16).as_double(), 0x1p-24);
  // Half way between 1 and the next bf16: to even.
  EXPECT_EQ(Scalar::from_bits(Scalar(1 + 0x1p-8).bits(DType::bf16), DType::bf16).as_double(), 1.0);
  EXPECT_EQ(Scalar::from_bits(Scalar(1 + 0x1p-7 + 0x1p-8).bits(DType::bf16), DType::bf16).as_double(), 1 + 0x1p-6);
}

TEST(DType, IntegersFitOrDoNot) {
  const struct {
    DType t;
    int64_t low;
    uint64_t high;
  } ranges[] = {{DType::i8, -128, 127},         {DType::u8, 0, 255},         {DType::i16, -32768, 32767}, {DType::u16, 0, 65535},
                {DType::i32, INT32_MIN, INT32_MAX}, {DType::u32, 0, UINT32_MAX}, {DType::i64, INT64_MIN, INT64_MAX}, {DType::u64, 0, UINT64_MAX}};
  for (const auto& r : ranges) {
    EXPECT_TRUE(Scalar(r.low).fits(r.t) && Scalar::unsigned_integer(r.high).fits(r.t)) << name_of(r.t);
    EXPECT_TRUE(r.low == INT64_MIN || !Scalar(r.low - 1).fits(r.t)) << name_of(r.t);
    EXPECT_TRUE(r.high == UINT64_MAX || !Scalar::unsigned_integer(r.high + 1).fits(r.t)) << name_of(r.t);
    EXPECT_FALSE(Scalar::huge_integer(0x1p64).fits(r.t));
    EXPECT_FALSE(Scalar::huge_integer(-0x1p70).fits(r.t));
  }
  EXPECT_TRUE(Scalar(300).fits(DType::f16) && Scalar(300).fits(DType::boolean) && Scalar(300.0).fits(DType::u8));
  EXPECT_EQ(Scalar::unsigned_integer(UINT64_MAX).as_double(), 0x1p64);
  EXPECT_EQ(Scalar::unsigned_integer(UINT64_MAX).bits(DType::u64), UINT64_MAX);
  EXPECT_EQ(Scalar::from_bits(UINT64_MAX, DType::u64).as_double(), 0x1p64);
  EXPECT_EQ(Scalar::huge_integer(0x1p100).bits(DType::f64), Scalar(0x1p100).bits(DType::f64));
  EXPECT_THROW(check_fits("op", 300, DType::u8), Error);
}

TEST(DType, TwoInAByte) {
  EXPECT_EQ(bytes_of(DType::i4, 0), 0u);
  EXPECT_EQ(bytes_of(DType::i4, 5), 3u);
  EXPECT_EQ(bytes_of(DType::f64, 5), 40u);
  EXPECT_EQ(bytes_between(DType::u4, 6), 3);
  EXPECT_THROW(bytes_between(DType::u4, 3), Error);
  for (int v = -8; v < 8; ++v) EXPECT_EQ(Scalar::from_bits(Scalar(v).bits(DType::i4), DType::i4).as_int(), v);
  EXPECT_EQ(Scalar::from_bits(Scalar(15).bits(DType::u4), DType::u4).as_int(), 15);
  EXPECT_TRUE(Scalar(-8).fits(DType::i4) && !Scalar(8).fits(DType::i4) && !Scalar(-1).fits(DType::u4) && Scalar(15).fits(DType::u4));
}

TEST(DType, TheDefaultFloat) {
  set_default_float(DType::f64);
  EXPECT_EQ(promote(DType::i8, Scalar::floating), DType::f64);
  EXPECT_EQ(default_dtype(Scalar::complex), DType::c128);
  EXPECT_EQ(promote(DType::i8, Scalar::complex), DType::c128);
  EXPECT_THROW(set_default_float(DType::i64), Error);
  set_default_float(DType::f32);
  EXPECT_EQ(promote(DType::f32, Scalar::complex), DType::c64);
}

TEST(DType, NamesBothWays) {
  for (int t = 0; t < kDTypeCount; ++t) {
    EXPECT_EQ(dtype_from_name(name_of(DType(t))), DType(t));
    EXPECT_EQ(dtype_from_name(long_name_of(DType(t))), DType(t));
    DType back;
    ASSERT_TRUE(dtype_from_abi(abi_dtype(DType(t)), &back));
    EXPECT_EQ(back, DType(t));
  }
  EXPECT_THROW(dtype_from_name("f33"), Error);
}

}  // namespace
}  // namespace tg
