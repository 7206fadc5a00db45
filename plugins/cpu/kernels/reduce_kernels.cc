// SPDX-License-Identifier: Apache-2.0
//
// Reductions of dense rows and columns. Sums of f32 run in f32 lanes over at most a segment or 64 rows, and in f64
// above that: many short sums, so the error hardly grows with the length. The order depends on the shape alone.
#include <algorithm>
#include <cmath>
#include <limits>
#include <type_traits>

#include "kernels/reduce.h"

// clang-format off: the order matters
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/reduce_kernels.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/simd-inl.h"
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace tg::cpu::reduce::HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;
using namespace tg::cpu::HWY_NAMESPACE;

template <class T>
inline constexpr bool kFloat = std::is_floating_point_v<T>;

constexpr int64_t kRowsAtOnce = 64;

// ---- sum ----

template <class T>
struct Sum {
  using State = std::conditional_t<kFloat<T>, double, uint64_t>;
  static constexpr State kFirst = 0;
  static HWY_INLINE State merge(State a, State b) { return a + b; }
  static HWY_INLINE T finish(State s) { return T(s); }

  static HWY_INLINE State row(const T* x, int64_t n) {
    if constexpr (kFloat<T>) {
      const hn::ScalableTag<T> d;
      const int64_t lanes = int64_t(hn::Lanes(d));
      auto a = hn::Zero(d), b = a, c = a, e = a;
      int64_t i = 0;
      for (; i + 4 * lanes <= n; i += 4 * lanes) {
        a = hn::Add(a, hn::LoadU(d, x + i));
        b = hn::Add(b, hn::LoadU(d, x + i + lanes));
        c = hn::Add(c, hn::LoadU(d, x + i + 2 * lanes));
        e = hn::Add(e, hn::LoadU(d, x + i + 3 * lanes));
      }
      for (; i + lanes <= n; i += lanes) a = hn::Add(a, hn::LoadU(d, x + i));
      if (i < n) b = hn::Add(b, load_first(d, x + i, size_t(n - i)));
      a = hn::Add(hn::Add(a, b), hn::Add(c, e));
      return State(hn::GetLane(hn::SumOfLanes(d, a)));
    } else {
      State s = 0;
      for (int64_t i = 0; i < n; ++i) s += State(x[i]);
      return s;
    }
  }

  static void columns(const T* x, int64_t rows, int64_t stride, int64_t n, State* state) {
    using Part = std::conditional_t<
        kFloat<T>, T,
        std::conditional_t<(sizeof(T) < 4), uint32_t, std::make_unsigned_t<std::conditional_t<kFloat<T>, int, T>>>>;
    alignas(64) Part part[kColumns];
    for (int64_t r0 = 0; r0 < rows; r0 += kRowsAtOnce) {
      const int64_t r1 = std::min(rows, r0 + kRowsAtOnce);
      for (int64_t i = 0; i < n; ++i) part[i] = 0;
      int64_t r = r0;
      for (; r + 4 <= r1; r += 4) {
        const T *p = x + r * stride, *q = p + stride, *s = q + stride, *t = s + stride;
        for (int64_t i = 0; i < n; ++i) part[i] += (Part(p[i]) + Part(q[i])) + (Part(s[i]) + Part(t[i]));
      }
      for (; r < r1; ++r) {
        const T* p = x + r * stride;
        for (int64_t i = 0; i < n; ++i) part[i] += Part(p[i]);
      }
      for (int64_t i = 0; i < n; ++i) state[i] += State(part[i]);
    }
  }
};

// ---- product ----

template <class T>
struct Prod {
  using State = std::conditional_t<kFloat<T>, double, uint64_t>;
  static constexpr State kFirst = 1;
  static HWY_INLINE State merge(State a, State b) { return a * b; }
  static HWY_INLINE T finish(State s) { return T(s); }
  static HWY_INLINE State row(const T* x, int64_t n) {
    State s[4] = {1, 1, 1, 1};
    int64_t i = 0;
    for (; i + 4 <= n; i += 4) {
      for (int k = 0; k < 4; ++k) s[k] *= State(x[i + k]);
    }
    for (; i < n; ++i) s[0] *= State(x[i]);
    return (s[0] * s[1]) * (s[2] * s[3]);
  }
  static void columns(const T* x, int64_t rows, int64_t stride, int64_t n, State* state) {
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t i = 0; i < n; ++i) state[i] *= State(x[r * stride + i]);
    }
  }
};

// ---- max, min ----

template <class T, bool kMax>
struct Extreme {
  using State = T;
  using Limits = std::numeric_limits<T>;
  static constexpr T kFirst =
      kMax ? (kFloat<T> ? -Limits::infinity() : Limits::lowest()) : (kFloat<T> ? Limits::infinity() : Limits::max());
  // The new element wins if it is beyond, or NaN; a NaN that is there already stays.
  static HWY_INLINE T merge(T a, T b) {
    const bool beyond = kMax ? b > a : b < a;
    return beyond | (b != b) ? b : a;
  }
  static HWY_INLINE T finish(T s) { return s; }

  template <class D, class V>
  static HWY_INLINE V vmerge(D, V a, V b) {
    return hn::IfThenElse(hn::Or(kMax ? hn::Gt(b, a) : hn::Lt(b, a), hn::IsNaN(b)), b, a);
  }
  static HWY_INLINE T row(const T* x, int64_t n) {
    if constexpr (kFloat<T>) {
      const hn::ScalableTag<T> d;
      const int64_t lanes = int64_t(hn::Lanes(d));
      T best = kFirst;
      int64_t i = 0;
      if (n >= lanes) {
        auto a = hn::Set(d, kFirst), b = a;
        for (; i + 2 * lanes <= n; i += 2 * lanes) {
          a = vmerge(d, a, hn::LoadU(d, x + i));
          b = vmerge(d, b, hn::LoadU(d, x + i + lanes));
        }
        for (; i + lanes <= n; i += lanes) a = vmerge(d, a, hn::LoadU(d, x + i));
        a = vmerge(d, a, b);
        HWY_ALIGN T last[HWY_MAX_BYTES / sizeof(T)];
        hn::Store(a, d, last);
        for (int64_t k = 0; k < lanes; ++k) best = merge(best, last[k]);
      }
      if (i < n && kMaskedAccess<T>) {
        const auto rest = hn::FirstN(d, size_t(n - i));
        const auto last = hn::IfThenElse(rest, load_first(d, x + i, size_t(n - i)), hn::Set(d, kFirst));
        HWY_ALIGN T lane[HWY_MAX_BYTES / sizeof(T)];
        const auto nan = hn::IsNaN(last);
        if (hn::AllFalse(d, nan)) {
          hn::Store(kMax ? hn::MaxOfLanes(d, last) : hn::MinOfLanes(d, last), d, lane);
          return merge(best, lane[0]);
        }
      }
      for (; i < n; ++i) best = merge(best, x[i]);
      return best;
    } else {
      T best = kFirst;
      for (int64_t i = 0; i < n; ++i) best = (kMax ? x[i] > best : x[i] < best) ? x[i] : best;
      return best;
    }
  }
  static void columns(const T* x, int64_t rows, int64_t stride, int64_t n, T* state) {
    for (int64_t r = 0; r < rows; ++r) {
      const T* p = x + r * stride;
      if constexpr (kFloat<T>) {
        const hn::ScalableTag<T> d;
        const int64_t lanes = int64_t(hn::Lanes(d));
        int64_t i = 0;
        for (; i + lanes <= n; i += lanes) {
          hn::StoreU(vmerge(d, hn::LoadU(d, state + i), hn::LoadU(d, p + i)), d, state + i);
        }
        for (; i < n; ++i) state[i] = merge(state[i], p[i]);
      } else {
        for (int64_t i = 0; i < n; ++i) state[i] = merge(state[i], p[i]);
      }
    }
  }
};

// ---- tables ----

template <class T, class Op>
struct Table {
  using State = typename Op::State;
  static void init(void* state, int64_t n) { std::fill_n(static_cast<State*>(state), n, Op::kFirst); }
  static void row(const void* x, int64_t n, void* state) {
    State& s = *static_cast<State*>(state);
    s = Op::merge(s, Op::row(static_cast<const T*>(x), n));
  }
  static void rows(const void* x, int64_t rows, int64_t stride, int64_t n, void* state) {
    State* s = static_cast<State*>(state);
    for (int64_t r = 0; r < rows; ++r) s[r] = Op::merge(s[r], Op::row(static_cast<const T*>(x) + r * stride, n));
  }
  static void columns(const void* x, int64_t rows, int64_t stride, int64_t n, void* state) {
    Op::columns(static_cast<const T*>(x), rows, stride, n, static_cast<State*>(state));
  }
  static void merge(void* into, const void* from, int64_t n) {
    State* a = static_cast<State*>(into);
    const State* b = static_cast<const State*>(from);
    for (int64_t i = 0; i < n; ++i) a[i] = Op::merge(a[i], b[i]);
  }
  static void finish(void* out, const void* state, int64_t n) {
    for (int64_t i = 0; i < n; ++i) static_cast<T*>(out)[i] = Op::finish(static_cast<const State*>(state)[i]);
  }
  static Kernels kernels() { return {init, row, rows, columns, merge, finish, sizeof(State)}; }
};

template <class T>
Kernels by_kind(int kind) {
  switch (kind) {
    case TG_REDUCE_SUM:
      return Table<T, Sum<T>>::kernels();
    case TG_REDUCE_PROD:
      return Table<T, Prod<T>>::kernels();
    case TG_REDUCE_MAX:
      return Table<T, Extreme<T, true>>::kernels();
    case TG_REDUCE_MIN:
      return Table<T, Extreme<T, false>>::kernels();
    default:
      return {};
  }
}

Kernels lookup(int kind, Rep rep) {
  switch (rep) {
    case map::kF32:
      return by_kind<float>(kind);
    case map::kF64:
      return by_kind<double>(kind);
    case map::kI64:
      return by_kind<int64_t>(kind);
    case map::kI32:
      return by_kind<int32_t>(kind);
    case map::kI16:
      return by_kind<int16_t>(kind);
    case map::kI8:
      return by_kind<int8_t>(kind);
    case map::kU64:
      return by_kind<uint64_t>(kind);
    case map::kU32:
      return by_kind<uint32_t>(kind);
    case map::kU16:
      return by_kind<uint16_t>(kind);
    case map::kU8:
    case map::kBool:
      return by_kind<uint8_t>(kind);
    default:
      return {};
  }
}
}  // namespace
}  // namespace tg::cpu::reduce::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace tg::cpu::reduce {
HWY_EXPORT(lookup);
Kernels find_kernels(int kind, Rep rep) { return HWY_DYNAMIC_DISPATCH(lookup)(kind, rep); }
}  // namespace tg::cpu::reduce
#endif
