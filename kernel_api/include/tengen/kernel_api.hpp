// SPDX-License-Identifier: Apache-2.0
//
// tengen/kernel_api.hpp - a small C++17 helper for plugin authors over kernel_api.h: an exception wall, dtype dispatch,
// strided iteration, and a class to derive plans from. It holds no kernel loop and no formula of an op; using it is a
// choice, the contract is kernel_api.h alone.
//
//   struct Copy : tg::plugin::Plan { void run(const tg_run& r) override { ... } };
//   std::unique_ptr<Plan> make(void*, const tg_call& call) { return std::make_unique<Copy>(); }
//   static const tg_kernel_api kernels = tg::plugin::kernel_table<make>();
#ifndef TENGEN_KERNEL_API_HPP_
#define TENGEN_KERNEL_API_HPP_

#include <tengen/kernel_api.h>

#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <exception>
#include <memory>
#include <new>
#include <type_traits>

namespace tg::plugin {

// ---- errors: throw inside, a status outside -------------------------------------------------------------------------

class Failure : public std::exception {
 public:
  Failure(int32_t code, const char* message) : code_(code) { std::snprintf(message_, sizeof message_, "%s", message); }
  int32_t code() const { return code_; }
  const char* what() const noexcept override { return message_; }

 private:
  int32_t code_;
  char message_[384];
};

[[noreturn]] __attribute__((format(printf, 2, 3))) inline void fail(int32_t code, const char* format, ...) {
  char text[384];
  va_list args;
  va_start(args, format);
  std::vsnprintf(text, sizeof text, format, args);
  va_end(args);
  throw Failure(code, text);
}

inline int32_t set_error(tg_error* error, int32_t code, const char* message, uint64_t launch_id = 0) {
  if (error) {
    error->code = code;
    error->line = 0;
    error->launch_id = launch_id;
    error->file[0] = 0;
    std::snprintf(error->message, sizeof error->message, "%s", message);
  }
  return code;
}

// Runs `body`; whatever it throws becomes a status and a filled error.
template <class Body>
int32_t guard(tg_error* error, Body&& body, uint64_t launch_id = 0) noexcept {
  try {
    body();
    return TG_OK;
  } catch (const Failure& e) {
    return set_error(error, e.code(), e.what(), launch_id);
  } catch (const std::bad_alloc&) {
    return set_error(error, TG_RESOURCE_EXHAUSTED, "out of host memory", launch_id);
  } catch (const std::exception& e) {
    return set_error(error, TG_INTERNAL, e.what(), launch_id);
  } catch (...) {
    return set_error(error, TG_INTERNAL, "unknown exception", launch_id);
  }
}

// ---- dtypes ---------------------------------------------------------------------------------------------------------

// 16-bit floats as storage: read as float, written with round-to-nearest-even.
struct bfloat16 {
  uint16_t bits;
  bfloat16() = default;
  explicit bfloat16(float f) {
    uint32_t u;
    std::memcpy(&u, &f, 4);
    bits = (u & 0x7fffffffu) > 0x7f800000u ? uint16_t((u >> 16) | 0x40) : uint16_t((u + 0x7fffu + ((u >> 16) & 1)) >> 16);
  }
  explicit operator float() const {
    uint32_t u = uint32_t(bits) << 16;
    float f;
    std::memcpy(&f, &u, 4);
    return f;
  }
};

struct half {
  uint16_t bits;
  half() = default;
  explicit half(float f) {
    uint32_t u;
    std::memcpy(&u, &f, 4);
    const uint16_t sign = uint16_t((u >> 16) & 0x8000);
    u &= 0x7fffffffu;
    if (u > 0x7f800000u) {
      bits = uint16_t(sign | 0x7e00 | ((u >> 13) & 0x3ff));
    } else if (u >= 0x477ff000u) {  // rounds to 65536 or more
      bits = uint16_t(sign | 0x7c00);
    } else if (u < 0x38800000u) {  // subnormal: let the float adder round
      float magic, x;
      const uint32_t m = 0x3f000000u;  // 0.5: its last place is 2^-24
      std::memcpy(&magic, &m, 4);
      std::memcpy(&x, &u, 4);
      x += magic;
      std::memcpy(&u, &x, 4);
      bits = uint16_t(sign | (u - m));
    } else {
      u += 0xc8000fffu + ((u >> 13) & 1);
      bits = uint16_t(sign | (u >> 13));
    }
  }
  explicit operator float() const {
    const uint32_t sign = uint32_t(bits & 0x8000) << 16, e = (bits >> 10) & 31, m = bits & 0x3ff;
    uint32_t u;
    float f;
    if (e == 31) {
      u = sign | 0x7f800000u | (m << 13);
    } else if (e) {
      u = sign | ((e + 112) << 23) | (m << 13);
    } else {
      f = float(m) * 0x1p-24f;
      std::memcpy(&u, &f, 4);
      u |= sign;
    }
    std::memcpy(&f, &u, 4);
    return f;
  }
};

struct boolean {  // a byte, 0 or 1
  uint8_t value;
  boolean() = default;
  explicit boolean(bool b) : value(b) {}
  explicit operator bool() const { return value != 0; }
};

constexpr uint32_t dtype_key(tg_dtype t) { return uint32_t(t.code) << 8 | t.bits; }
constexpr bool operator==(tg_dtype a, tg_dtype b) { return dtype_key(a) == dtype_key(b) && a.lanes == b.lanes; }

template <class T> struct dtype_of;
template <class T> struct tag { using type = T; };
#define TG_PLUGIN_DTYPES(X)                                                                                 \
  X(float, TG_CODE_FLOAT, 32, "f32") X(double, TG_CODE_FLOAT, 64, "f64") X(half, TG_CODE_FLOAT, 16, "f16")  \
  X(bfloat16, TG_CODE_BFLOAT, 16, "bf16") X(int64_t, TG_CODE_INT, 64, "i64") X(int32_t, TG_CODE_INT, 32, "i32") \
  X(int16_t, TG_CODE_INT, 16, "i16") X(int8_t, TG_CODE_INT, 8, "i8") X(uint64_t, TG_CODE_UINT, 64, "u64")   \
  X(uint32_t, TG_CODE_UINT, 32, "u32") X(uint16_t, TG_CODE_UINT, 16, "u16") X(uint8_t, TG_CODE_UINT, 8, "u8") \
  X(boolean, TG_CODE_BOOL, 8, "bool")
#define TG_PLUGIN_DTYPE_OF(T, code, bits, text) \
  template <> struct dtype_of<T> { static constexpr tg_dtype value{code, bits, 1}; };
TG_PLUGIN_DTYPES(TG_PLUGIN_DTYPE_OF)
#undef TG_PLUGIN_DTYPE_OF

inline const char* dtype_name(tg_dtype t) {
  switch (dtype_key(t)) {
#define TG_PLUGIN_NAME(T, code, bits, text) \
  case dtype_key({code, bits, 1}): return text;
    TG_PLUGIN_DTYPES(TG_PLUGIN_NAME)
#undef TG_PLUGIN_NAME
    default: return "?";
  }
}

// Calls f(tag<T>{}) with the C++ type that stores `t`.
template <class F>
decltype(auto) visit(tg_dtype t, F&& f) {
  switch (dtype_key(t)) {
#define TG_PLUGIN_VISIT(T, code, bits, text) \
  case dtype_key({code, bits, 1}): return f(tag<T>{});
    TG_PLUGIN_DTYPES(TG_PLUGIN_VISIT)
#undef TG_PLUGIN_VISIT
    default: fail(TG_UNIMPLEMENTED, "no kernel for dtype code %d, %d bits", t.code, t.bits);
  }
}

// The type in which T is computed: float for the 16-bit floats, else T.
template <class T>
using compute_t = std::conditional_t<std::is_same_v<T, half> || std::is_same_v<T, bfloat16>, float, T>;
template <class T>
inline constexpr bool is_floating = std::is_floating_point_v<compute_t<T>>;

// A scalar from attribute bits (TG_ATTR_BITS).
template <class T>
T from_bits(uint64_t bits) {
  T x;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}

// ---- tensors --------------------------------------------------------------------------------------------------------

// First element, on devices whose data is an address that this code may use.
template <class T>
T* data(const tg_tensor& t) {
  return reinterpret_cast<T*>(static_cast<char*>(t.data) + t.byte_offset);
}

inline int64_t numel(const tg_tensor& t) {
  int64_t n = 1;
  for (int i = 0; i < t.ndim; ++i) n *= t.shape[i];
  return n;
}

inline bool is_contiguous(const tg_tensor& t) {
  int64_t expect = 1;
  for (int i = t.ndim - 1; i >= 0; --i) {
    if (t.shape[i] != 1 && t.strides[i] != expect) return false;
    expect *= t.shape[i];
  }
  return true;
}

// One shape walked with N stride vectors. Axes of size 1 are dropped and neighbours merged where all N allow it, so
// that the last axis is as long as can be. Then rank >= 1, and
//   walk.rows(begin, end, [&](const int64_t (&offset)[N]) { ... walk.inner() elements with walk.step(k) ... });
// visits rows [begin, end) of walk.outer() rows; offsets and steps count elements.
template <int N>
class Walk {
 public:
  Walk(int32_t ndim, const int64_t* shape, const int64_t* const (&strides)[N]) {
    for (int32_t i = 0; i < ndim; ++i) {
      if (shape[i] == 1) continue;
      bool merge = rank_ > 0;
      for (int k = 0; merge && k < N; ++k) merge = stride_[k][rank_ - 1] == strides[k][i] * shape[i];
      if (!merge) {
        shape_[rank_] = 1;
        ++rank_;
      }
      shape_[rank_ - 1] *= shape[i];
      for (int k = 0; k < N; ++k) stride_[k][rank_ - 1] = strides[k][i];
    }
    if (rank_ == 0) {
      shape_[0] = 1;
      for (int k = 0; k < N; ++k) stride_[k][0] = 1;
      rank_ = 1;
    }
    for (int i = 0; i + 1 < rank_; ++i) outer_ *= shape_[i];
  }
  int64_t inner() const { return shape_[rank_ - 1]; }
  int64_t outer() const { return outer_; }
  int64_t step(int k) const { return stride_[k][rank_ - 1]; }
  bool packed(int k) const { return rank_ == 1 && step(k) == 1; }

  template <class Row>
  void rows(int64_t begin, int64_t end, Row&& row) const {
    int64_t index[TG_MAX_RANK] = {}, offset[N] = {};
    int64_t rest = begin;
    for (int i = rank_ - 2; i >= 0; --i) {
      index[i] = rest % shape_[i];
      rest /= shape_[i];
      for (int k = 0; k < N; ++k) offset[k] += index[i] * stride_[k][i];
    }
    for (int64_t r = begin; r < end; ++r) {
      row(offset);
      for (int i = rank_ - 2; i >= 0; --i) {
        for (int k = 0; k < N; ++k) offset[k] += stride_[k][i];
        if (++index[i] < shape_[i]) break;
        for (int k = 0; k < N; ++k) offset[k] -= stride_[k][i] * shape_[i];
        index[i] = 0;
      }
    }
  }

 private:
  int rank_ = 0;
  int64_t outer_ = 1;
  int64_t shape_[TG_MAX_RANK + 1];
  int64_t stride_[N][TG_MAX_RANK + 1];
};

// Calls body(begin, end) over [0, n), in parallel on the host's pool.
template <class Body>
void parallel_for(const tg_host* host, int64_t n, int64_t grain, int32_t threads, Body&& body) {
  if (n <= grain || threads == 1 || !host || !host->parallel_for) return body(int64_t(0), n);
  struct Shared {
    Body& body;
    static void call(void* self, int64_t begin, int64_t end) { static_cast<Shared*>(self)->body(begin, end); }
  } shared{body};
  host->parallel_for(n, grain, threads, &Shared::call, &shared);
}

// ---- plans ----------------------------------------------------------------------------------------------------------

class Plan {
 public:
  virtual ~Plan() = default;
  virtual uint64_t workspace(const tg_run&) { return 0; }
  // Fills in what it has to say: the name of an algorithm, private layouts; what it points to lives as long as the plan.
  virtual void info(tg_plan_info&) {}
  virtual void run(const tg_run&) = 0;
};

// The kernel table over `make(instance, call) -> std::unique_ptr<Plan>`, which throws Failure to refuse a call.
// Set `supports` in the result for calls that can be refused without making a plan.
template <std::unique_ptr<Plan> (*make)(void* instance, const tg_call& call)>
constexpr tg_kernel_api kernel_table() {
  tg_kernel_api t{};
  t.struct_size = sizeof t;
  t.plan_create = [](void* instance, const tg_call* call, void** plan, tg_error* error) -> int32_t {
    return guard(error, [&] { *plan = make(instance, *call).release(); });
  };
  t.plan_info = [](void* plan, tg_plan_info* info) -> int32_t {
    return guard(nullptr, [&] {
      tg_plan_info mine{};
      mine.struct_size = sizeof mine;
      static_cast<Plan*>(plan)->info(mine);
      std::memcpy(info, &mine, info->struct_size < sizeof mine ? info->struct_size : sizeof mine);
    });
  };
  t.plan_workspace = [](void* plan, const tg_run* shapes, uint64_t* bytes, tg_error* error) -> int32_t {
    return guard(error, [&] { *bytes = static_cast<Plan*>(plan)->workspace(*shapes); });
  };
  t.plan_run = [](void* plan, const tg_run* run, tg_error* error) -> int32_t {
    return guard(error, [&] { static_cast<Plan*>(plan)->run(*run); }, run->launch_id);
  };
  t.plan_destroy = [](void* plan) { delete static_cast<Plan*>(plan); };
  return t;
}

}  // namespace tg::plugin
#endif  // TENGEN_KERNEL_API_HPP_
