// SPDX-License-Identifier: Apache-2.0
// Element types and weak scalars, with the promotion rules of the Python array API standard (2023.12).
#pragma once
#include <tengen/kernel_api.h>

#include <cstdint>
#include <string_view>

namespace tg {

// Numbered as TG_DT_* of the kernel ABI; what kernels never see comes after those.
enum class DType : uint8_t {
  f32 = TG_DT_F32, f64 = TG_DT_F64, f16 = TG_DT_F16, bf16 = TG_DT_BF16,
  i64 = TG_DT_I64, i32 = TG_DT_I32, i16 = TG_DT_I16, i8 = TG_DT_I8,
  u64 = TG_DT_U64, u32 = TG_DT_U32, u16 = TG_DT_U16, u8 = TG_DT_U8, boolean = TG_DT_BOOL,
  c64 = TG_DT_C64, c128 = TG_DT_C128, f8e4m3 = TG_DT_F8E4M3, f8e5m2 = TG_DT_F8E5M2,
  i4, u4,
};
inline constexpr int kDTypeCount = 19;

// small_float: 8-bit floats, small_int: 4-bit integers, which are stored, moved and cast, but not computed with.
enum class DKind : uint8_t { small_float, small_int, boolean, unsigned_int, signed_int, floating, complex };

int size_of(DType t);                    // bytes; not of packed dtypes
const char* name_of(DType t);            // "f32", "bool"
const char* long_name_of(DType t);       // "float32", "bool"
DType dtype_from_name(std::string_view name);  // either form; ValueError
tg_dtype abi_dtype(DType t);
bool dtype_from_abi(tg_dtype t, DType* out);
DKind kind_of(DType t);
inline bool is_floating(DType t) { return kind_of(t) == DKind::floating; }
inline bool is_complex(DType t) { return kind_of(t) == DKind::complex; }
inline bool is_inexact(DType t) { return is_floating(t) || is_complex(t); }
inline bool is_small_float(DType t) { return kind_of(t) == DKind::small_float; }
// Two elements in a byte, the first in its low half; tensors of them are contiguous (docs/design/013-int4.md).
inline bool is_packed(DType t) { return kind_of(t) == DKind::small_int; }
uint64_t bytes_of(DType t, int64_t elements);       // that many elements side by side
int64_t bytes_between(DType t, int64_t elements);   // a distance in memory; TypeError inside a byte
// Seen by kernels as other numbers (docs/design/008-complex.md): complex as two reals, small floats and integers as bytes.
inline bool is_composed(DType t) { return is_complex(t) || is_small_float(t) || is_packed(t); }
inline DType real_dtype(DType t) { return t == DType::c64 ? DType::f32 : t == DType::c128 ? DType::f64 : t; }
inline DType complex_dtype(DType t) { return t == DType::f64 || t == DType::c128 ? DType::c128 : DType::c64; }
inline bool is_integer(DType t) { return kind_of(t) == DKind::unsigned_int || kind_of(t) == DKind::signed_int; }
double eps_of(DType t);  // distance from 1 to the next number; 0 for integers

// Result dtype of two array operands. u64 with a signed integer gives f32, as no integer holds both. TypeError for 8-bit
// floats and 4-bit integers, which meet no other dtype.
DType promote(DType a, DType b);

// A Python number beside an array: it takes the array's dtype, unless its kind is higher (float beside an int array
// gives the default float; an int beside bool gives i64; a complex number makes f64 c128 and other numbers c64).
struct Scalar {
  enum Kind : uint8_t { boolean, integer, floating, complex };
  // Integers beyond int64: `big` has its bits as uint64 in i; `huge` fits no dtype and is known by its double in f.
  enum Range : uint8_t { word, big, huge };
  Kind kind = floating;
  Range range = word;
  union {
    int64_t i;
    double f = 0;
  };
  double im = 0;  // beside f, where complex
  Scalar() = default;
  Scalar(bool v) : kind(boolean), i(v) {}
  Scalar(int v) : kind(integer), i(v) {}
  Scalar(int64_t v) : kind(integer), i(v) {}
  Scalar(double v) : kind(floating), f(v) {}
  static Scalar of_complex(double re, double im) {
    Scalar s(re);
    s.kind = complex;
    s.im = im;
    return s;
  }
  static Scalar unsigned_integer(uint64_t v);
  static Scalar huge_integer(double v);
  double as_double() const {  // the real part
    return kind >= floating || range == huge ? f : range == big ? double(uint64_t(i)) : double(i);
  }
  int64_t as_int() const { return kind >= floating ? int64_t(f) : i; }
  // The scalar (its real part) as a value of dtype t, which is not complex, in the low end of the word.
  uint64_t bits(DType t) const;
  // False for an integer outside an integer dtype's range.
  bool fits(DType t) const { return kind != integer || holds(t, *this); }
  static Scalar from_bits(uint64_t bits, DType t);
  // Any dtype's element in memory, size_of(t) bytes.
  void store(DType t, void* at) const;
  static Scalar load(DType t, const void* at);

 private:
  static bool holds(DType t, const Scalar& integer);
};
// OverflowError that names `op`, the dtype's range and the value, unless s fits t.
void check_fits(const char* op, const Scalar& s, DType t);
DType promote(DType a, Scalar::Kind b);
DType default_dtype(Scalar::Kind k);  // the default float, i64, bool, its complex
// What Python's floats become, and what integers become where floats are computed: f32 unless set. Of the process; who sets
// it clears the plans (clear_plan_cache).
DType default_float();
void set_default_float(DType t);  // TypeError unless floating

}  // namespace tg
