// SPDX-License-Identifier: Apache-2.0
// Element types and weak scalars, with the promotion rules of the Python array API standard (2023.12).
#pragma once
#include <tengen/kernel_api.h>

#include <cstdint>
#include <string_view>

namespace tg {

// Numbered as TG_DT_* of the kernel ABI.
enum class DType : uint8_t {
  f32 = TG_DT_F32, f64 = TG_DT_F64, f16 = TG_DT_F16, bf16 = TG_DT_BF16,
  i64 = TG_DT_I64, i32 = TG_DT_I32, i16 = TG_DT_I16, i8 = TG_DT_I8,
  u64 = TG_DT_U64, u32 = TG_DT_U32, u16 = TG_DT_U16, u8 = TG_DT_U8, boolean = TG_DT_BOOL,
};
inline constexpr int kDTypeCount = 13;

enum class DKind : uint8_t { boolean, unsigned_int, signed_int, floating };

int size_of(DType t);                    // bytes
const char* name_of(DType t);            // "f32", "bool"
const char* long_name_of(DType t);       // "float32", "bool"
DType dtype_from_name(std::string_view name);  // either form; ValueError
tg_dtype abi_dtype(DType t);
bool dtype_from_abi(tg_dtype t, DType* out);
DKind kind_of(DType t);
inline bool is_floating(DType t) { return kind_of(t) == DKind::floating; }
inline bool is_integer(DType t) { return kind_of(t) == DKind::unsigned_int || kind_of(t) == DKind::signed_int; }
double eps_of(DType t);  // distance from 1 to the next number; 0 for integers

// Result dtype of two array operands. u64 with a signed integer gives f32, as no integer holds both.
DType promote(DType a, DType b);

// A Python number beside an array: it takes the array's dtype, unless its kind is higher (float beside an int array
// gives the default float, f32; an int beside bool gives i64).
struct Scalar {
  enum Kind : uint8_t { boolean, integer, floating };
  // Integers beyond int64: `big` has its bits as uint64 in i; `huge` fits no dtype and is known by its double in f.
  enum Range : uint8_t { word, big, huge };
  Kind kind = floating;
  Range range = word;
  union {
    int64_t i;
    double f = 0;
  };
  Scalar() = default;
  Scalar(bool v) : kind(boolean), i(v) {}
  Scalar(int v) : kind(integer), i(v) {}
  Scalar(int64_t v) : kind(integer), i(v) {}
  Scalar(double v) : kind(floating), f(v) {}
  static Scalar unsigned_integer(uint64_t v);
  static Scalar huge_integer(double v);
  double as_double() const {
    return kind == floating || range == huge ? f : range == big ? double(uint64_t(i)) : double(i);
  }
  int64_t as_int() const { return kind == floating ? int64_t(f) : i; }
  // The scalar's bits as a value of dtype t, in the low end of the word.
  uint64_t bits(DType t) const;
  // False for an integer outside an integer dtype's range.
  bool fits(DType t) const { return kind != integer || holds(t, *this); }
  static Scalar from_bits(uint64_t bits, DType t);

 private:
  static bool holds(DType t, const Scalar& integer);
};
// OverflowError that names `op`, the dtype's range and the value, unless s fits t.
void check_fits(const char* op, const Scalar& s, DType t);
DType promote(DType a, Scalar::Kind b);
DType default_dtype(Scalar::Kind k);  // f32, i64, bool

}  // namespace tg
