// SPDX-License-Identifier: Apache-2.0
// Dtype tables and promotion (array API 2023.12, "Type Promotion Rules").
#include <tengen/dtype.h>
#include <tengen/error.h>
#include <tengen/kernel_api.hpp>

#include <array>
#include <atomic>
#include <cmath>

namespace tg {
namespace {

struct Row {
  const char *name, *long_name;
  tg_dtype abi;
  DKind kind;
  double eps;
};
// By TG_DT_* number.
constexpr std::array<Row, kDTypeCount> kRows = {{
    {"f32", "float32", {TG_CODE_FLOAT, 32, 1}, DKind::floating, 0x1p-23},
    {"f64", "float64", {TG_CODE_FLOAT, 64, 1}, DKind::floating, 0x1p-52},
    {"f16", "float16", {TG_CODE_FLOAT, 16, 1}, DKind::floating, 0x1p-10},
    {"bf16", "bfloat16", {TG_CODE_BFLOAT, 16, 1}, DKind::floating, 0x1p-7},
    {"i64", "int64", {TG_CODE_INT, 64, 1}, DKind::signed_int, 0},
    {"i32", "int32", {TG_CODE_INT, 32, 1}, DKind::signed_int, 0},
    {"i16", "int16", {TG_CODE_INT, 16, 1}, DKind::signed_int, 0},
    {"i8", "int8", {TG_CODE_INT, 8, 1}, DKind::signed_int, 0},
    {"u64", "uint64", {TG_CODE_UINT, 64, 1}, DKind::unsigned_int, 0},
    {"u32", "uint32", {TG_CODE_UINT, 32, 1}, DKind::unsigned_int, 0},
    {"u16", "uint16", {TG_CODE_UINT, 16, 1}, DKind::unsigned_int, 0},
    {"u8", "uint8", {TG_CODE_UINT, 8, 1}, DKind::unsigned_int, 0},
    {"bool", "bool", {TG_CODE_BOOL, 8, 1}, DKind::boolean, 0},
    {"c64", "complex64", {TG_CODE_COMPLEX, 64, 1}, DKind::complex, 0x1p-23},
    {"c128", "complex128", {TG_CODE_COMPLEX, 128, 1}, DKind::complex, 0x1p-52},
    {"f8e4m3", "float8_e4m3fn", {TG_CODE_FLOAT8_E4M3FN, 8, 1}, DKind::small_float, 0x1p-3},
    {"f8e5m2", "float8_e5m2", {TG_CODE_FLOAT8_E5M2, 8, 1}, DKind::small_float, 0x1p-2},
    {"i4", "int4", {TG_CODE_INT, 4, 1}, DKind::small_int, 0},
    {"u4", "uint4", {TG_CODE_UINT, 4, 1}, DKind::small_int, 0},
}};
const Row& row(DType t) { return kRows[size_t(t)]; }

}  // namespace

int size_of(DType t) {
  ensure(!is_packed(t), "the bytes of one ", row(t).name, " were asked for");
  return row(t).abi.bits / 8;
}
uint64_t bytes_of(DType t, int64_t n) { return is_packed(t) ? uint64_t(n) / 2 + uint64_t(n) % 2 : uint64_t(n) * uint64_t(size_of(t)); }
int64_t bytes_between(DType t, int64_t n) {
  if (!is_packed(t)) return n * size_of(t);
  if (n % 2) raise(ErrorKind::type, "expected a part that begins at a whole byte, got element ", n, " of ", long_name_of(t), "; cast to int8 first");
  return n / 2;
}
const char* name_of(DType t) { return row(t).name; }
const char* long_name_of(DType t) { return row(t).long_name; }
tg_dtype abi_dtype(DType t) { return row(t).abi; }
DKind kind_of(DType t) { return row(t).kind; }
double eps_of(DType t) { return row(t).eps; }

DType dtype_from_name(std::string_view name) {
  for (int i = 0; i < kDTypeCount; ++i)
    if (name == kRows[i].name || name == kRows[i].long_name) return DType(i);
  std::string all;
  for (const Row& r : kRows) all += std::string(all.empty() ? "" : " ") + r.name;
  raise(ErrorKind::value, "expected a dtype (", all, "), got '", name, "'");
}

bool dtype_from_abi(tg_dtype t, DType* out) {
  for (int i = 0; i < kDTypeCount; ++i)
    if (plugin::operator==(t, kRows[i].abi)) return *out = DType(i), true;
  return false;
}

DType promote(DType a, DType b) {
  if (a == b) return a;
  const DKind ka = kind_of(a), kb = kind_of(b);
  if (ka == DKind::small_int || kb == DKind::small_int)
    raise(ErrorKind::type, "expected dtypes that promote, got ", long_name_of(a), " and ", long_name_of(b), "; cast the 4-bit integer first");
  if (ka == DKind::small_float || kb == DKind::small_float)
    raise(ErrorKind::type, "expected dtypes that promote, got ", long_name_of(a), " and ", long_name_of(b), "; cast the 8-bit float first");
  if (ka == DKind::complex || kb == DKind::complex) {  // of the wider real dtype; integers and bools widen nothing
    const bool wide = real_dtype(a) == DType::f64 || real_dtype(b) == DType::f64;
    return wide ? DType::c128 : DType::c64;
  }
  const int sa = size_of(a), sb = size_of(b);
  if (ka == DKind::floating && kb == DKind::floating) {
    if (sa == sb) return DType::f32;  // f16 with bf16
    return sa > sb ? a : b;
  }
  if (ka == DKind::floating) return a;
  if (kb == DKind::floating) return b;
  if (ka == DKind::boolean) return b;
  if (kb == DKind::boolean) return a;
  if (ka == kb) return sa > sb ? a : b;
  const int signed_size = ka == DKind::signed_int ? sa : sb, unsigned_size = ka == DKind::signed_int ? sb : sa;
  if (signed_size > unsigned_size) return ka == DKind::signed_int ? a : b;
  switch (unsigned_size) {
    case 1: return DType::i16;
    case 2: return DType::i32;
    case 4: return DType::i64;
    default: return DType::f32;  // u64 with a signed integer
  }
}

namespace {
std::atomic<DType> g_default_float{DType::f32};
}
DType default_float() { return g_default_float.load(std::memory_order_relaxed); }
void set_default_float(DType t) {
  if (!is_floating(t)) raise(ErrorKind::type, "[set_default_dtype] expected float16, bfloat16, float32 or float64, got ", long_name_of(t));
  g_default_float.store(t, std::memory_order_relaxed);
}

DType default_dtype(Scalar::Kind k) {
  if (k == Scalar::complex) return complex_dtype(default_float());
  return k == Scalar::floating ? default_float() : k == Scalar::integer ? DType::i64 : DType::boolean;
}

DType promote(DType a, Scalar::Kind b) {
  const DKind k = kind_of(a);
  if (k == DKind::small_float || k == DKind::small_int || k == DKind::complex) return a;
  if (b == Scalar::complex) return complex_dtype(k == DKind::floating ? a : default_float());
  if (b == Scalar::floating && k != DKind::floating) return default_float();
  if (b == Scalar::integer && k == DKind::boolean) return DType::i64;
  return a;
}

namespace {
template <class T>
uint64_t to_bits(T v) {
  uint64_t bits = 0;
  std::memcpy(&bits, &v, sizeof v);
  return bits;
}
template <class T>
T convert(const Scalar& s) {
  if (s.kind < Scalar::floating) return T(s.i);
  if (std::isnan(s.f)) return T(0);
  if (s.f >= 9223372036854775808.0) return sizeof(T) == 8 && T(-1) > T(0) ? T(uint64_t(s.f)) : T(INT64_MAX);
  if (s.f <= -9223372036854775808.0) return T(INT64_MIN);
  return T(int64_t(s.f));
}

// OCP 8-bit Floating Point Specification (OFP8) 1.0: nearest, ties to even; `top` is the largest finite code, what lies
// beyond becomes `over` (inf, or NaN where there is no inf).
uint64_t small_float_bits(double x, int mantissa, int bias, int top, int over) {
  const uint64_t sign = std::signbit(x) ? 0x80 : 0;
  if (std::isnan(x)) return sign | 0x7f;
  if (std::isinf(x)) return sign | uint64_t(over);
  if (x == 0) return sign;
  const int e = std::max(std::ilogb(x), 1 - bias);
  const double code = std::nearbyint(std::ldexp(std::fabs(x), mantissa - e)) + std::ldexp(double(e + bias - 1), mantissa);
  return sign | (code > top ? uint64_t(over) : uint64_t(code));
}
double small_float_value(uint64_t bits, int mantissa, int bias, int top) {
  const int code = int(bits & 0x7f), e = code >> mantissa, m = code & ((1 << mantissa) - 1);
  const double v = code <= top                   ? std::ldexp(double(e ? m + (1 << mantissa) : m), std::max(e, 1) - bias - mantissa)
                   : mantissa == 2 && m == 0 ? double(INFINITY)
                                             : double(NAN);
  return bits & 0x80 ? -v : v;
}
}  // namespace

Scalar Scalar::unsigned_integer(uint64_t v) {
  Scalar s{int64_t(v)};
  if (v > uint64_t(INT64_MAX)) s.range = big;
  return s;
}
Scalar Scalar::huge_integer(double v) {
  Scalar s{v};
  s.kind = integer;
  s.range = huge;
  return s;
}

namespace {
struct Bounds {
  int64_t low;
  uint64_t high;
};
Bounds range_of(DType t) {
  const int bits = abi_dtype(t).bits;
  if (kind_of(t) == DKind::unsigned_int || t == DType::u4) return {0, ~uint64_t(0) >> (64 - bits)};
  return {INT64_MIN >> (64 - bits), uint64_t(INT64_MAX) >> (64 - bits)};
}
}  // namespace

bool Scalar::holds(DType t, const Scalar& s) {
  if (!is_integer(t) && !is_packed(t)) return true;
  const Bounds r = range_of(t);
  if (s.range == word && s.i < 0) return s.i >= r.low;
  return s.range != huge && uint64_t(s.i) <= r.high;
}

void check_fits(const char* op, const Scalar& s, DType t) {
  if (s.fits(t)) [[likely]] return;
  const Bounds r = range_of(t);
  const std::string got = s.range == Scalar::huge  ? detail::concat("about ", s.f)
                          : s.range == Scalar::big ? std::to_string(uint64_t(s.i))
                                                   : std::to_string(s.i);
  raise(ErrorKind::overflow, "[", op, "] expected an integer that ", long_name_of(t), " holds (", r.low, " to ", r.high,
        "), got ", got, "; use a wider dtype");
}

uint64_t Scalar::bits(DType t) const {
  switch (t) {
    case DType::f32: return to_bits(float(as_double()));
    case DType::f64: return to_bits(as_double());
    case DType::f16: return to_bits(plugin::half(float(as_double())));
    case DType::bf16: return to_bits(plugin::bfloat16(float(as_double())));
    case DType::i64: return to_bits(convert<int64_t>(*this));
    case DType::i32: return to_bits(convert<int32_t>(*this));
    case DType::i16: return to_bits(convert<int16_t>(*this));
    case DType::i8: return to_bits(convert<int8_t>(*this));
    case DType::u64: return to_bits(convert<uint64_t>(*this));
    case DType::u32: return to_bits(convert<uint32_t>(*this));
    case DType::u16: return to_bits(convert<uint16_t>(*this));
    case DType::u8: return to_bits(convert<uint8_t>(*this));
    case DType::boolean: return kind == complex ? f != 0 || im != 0 : kind == floating ? f != 0 : i != 0;
    case DType::i4:
    case DType::u4: return convert<uint64_t>(*this) & 15;
    case DType::f8e4m3: return small_float_bits(as_double(), 3, 7, 0x7e, 0x7f);
    case DType::f8e5m2: return small_float_bits(as_double(), 2, 15, 0x7b, 0x7c);
    case DType::c64:
    case DType::c128: break;
  }
  ensure(false, "the bits of one part of ", name_of(t), " were asked for");
  return 0;
}

Scalar Scalar::from_bits(uint64_t bits, DType t) {
  if (t == DType::f8e4m3) return Scalar(small_float_value(bits, 3, 7, 0x7e));
  if (t == DType::f8e5m2) return Scalar(small_float_value(bits, 2, 15, 0x7b));
  if (is_packed(t)) return Scalar(int64_t(bits & 15) - (t == DType::i4 && (bits & 8) ? 16 : 0));
  using namespace plugin;
  return visit(abi_dtype(t), [&](auto tag) -> Scalar {
    using T = typename decltype(tag)::type;
    const T v = plugin::from_bits<T>(bits);
    if constexpr (std::is_same_v<T, plugin::boolean>) return Scalar(bool(v));
    else if constexpr (plugin::is_floating<T>) return Scalar(double(compute_t<T>(v)));
    else if constexpr (std::is_same_v<T, uint64_t>) return unsigned_integer(v);
    else return Scalar(int64_t(v));
  });
}

void Scalar::store(DType t, void* at) const {
  const DType r = real_dtype(t);
  const size_t width = size_t(bytes_of(r, 1));
  const uint64_t re = bits(r);
  std::memcpy(at, &re, width);
  if (r == t) return;
  const uint64_t low = Scalar(im).bits(r);
  std::memcpy(static_cast<char*>(at) + width, &low, width);
}

Scalar Scalar::load(DType t, const void* at) {
  const DType r = real_dtype(t);
  const size_t width = size_t(bytes_of(r, 1));
  uint64_t word = 0;
  std::memcpy(&word, at, width);
  const Scalar re = from_bits(word, r);
  if (r == t) return re;
  std::memcpy(&word, static_cast<const char*>(at) + width, width);
  return of_complex(re.f, from_bits(word, r).f);
}

}  // namespace tg
