// SPDX-License-Identifier: Apache-2.0
//
// What the reference kernels share: reading and checking a call, dtype classes, and one loop helper.
#pragma once

#include <algorithm>
#include <atomic>
#include <cinttypes>
#include <cmath>
#include <cstdint>
#include <exception>
#include <limits>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "kernels.h"

namespace tg::reference {

using plugin::bfloat16;
using plugin::boolean;
using plugin::compute_t;
using plugin::data;
using plugin::dtype_name;
using plugin::fail;
using plugin::half;
using plugin::is_floating;
using plugin::numel;
using plugin::tag;
using plugin::visit;
using plugin::operator==;  // tg_dtype lives outside every namespace
using plugin::Walk;

// ---- dtype classes ----

template <class T>
inline constexpr bool is_bool = std::is_same_v<T, boolean>;
template <class T>
inline constexpr bool is_integer = std::is_integral_v<T>;

// The oracle accumulates floats in double and rounds once at the end; integers wrap, so they add as unsigned 64-bit.
template <class T>
using sum_t = std::conditional_t<is_floating<T>, double, uint64_t>;

// A double or wrapped integer as a T; 16-bit floats go through float.
template <class T, class Acc>
T round_to(Acc x) {
  if constexpr (is_floating<T> && sizeof(T) == 2) {
    return T(float(x));
  } else {
    return T(x);
  }
}

template <class T>
bool is_nan(T x) {
  if constexpr (is_floating<T>) {
    return std::isnan(compute_t<T>(x));
  } else {
    return false;
  }
}

// Comparable value of an element: 16-bit floats as float, bool as bool.
template <class T>
auto value(T x) {
  if constexpr (is_bool<T>) {
    return bool(x);
  } else {
    return compute_t<T>(x);
  }
}

// max and min as the floor defines them: NaN if either is.
template <class T>
T larger(T a, T b) {
  if (is_nan(a)) return a;
  return is_nan(b) || value(a) < value(b) ? b : a;
}
template <class T>
T smaller(T a, T b) {
  if (is_nan(a)) return a;
  return is_nan(b) || value(b) < value(a) ? b : a;
}

// ---- reading a call ----

inline std::string text(const tg_tensor& t) {
  std::string s = std::string(dtype_name(t.dtype)) + "[";
  for (int i = 0; i < t.ndim; ++i) s += (i ? ", " : "") + std::to_string(t.shape[i]);
  return s + "]";
}

inline void require_arguments(const tg_call& call, uint32_t inputs, uint32_t outputs) {
  if (call.n_inputs != inputs || call.n_outputs != outputs)
    fail(TG_INVALID_ARGUMENT, "[%s] expected %u inputs and %u outputs, got %u and %u", call.op, inputs, outputs,
         call.n_inputs, call.n_outputs);
}

inline void require_dtype(const char* op, const char* what, tg_dtype expected, tg_dtype got) {
  if (!(expected == got))
    fail(TG_INVALID_ARGUMENT, "[%s] expected %s of dtype %s, got %s", op, what, dtype_name(expected), dtype_name(got));
}

inline bool same_shape(const tg_tensor& a, const tg_tensor& b) {
  return a.ndim == b.ndim && std::equal(a.shape, a.shape + a.ndim, b.shape);
}

inline void require_same_shape(const char* op, const tg_tensor& a, const tg_tensor& b) {
  if (!same_shape(a, b))
    fail(TG_INVALID_ARGUMENT, "[%s] expected equal shapes, got %s and %s", op, text(a).c_str(), text(b).c_str());
}

// Attribute i of a call or a run, of the kind that the schema says.
template <class Block>
const tg_attr& attr(const char* op, const Block& block, uint32_t i, uint32_t kind) {
  if (i >= block.n_attrs || block.attrs[i].kind != kind)
    fail(TG_INVALID_ARGUMENT, "[%s] expected attribute %u of kind %u, got %s %u", op, i, kind,
         i >= block.n_attrs ? "a count of" : "kind", i >= block.n_attrs ? block.n_attrs : block.attrs[i].kind);
  return block.attrs[i];
}

// An integer attribute with a default for "not given".
inline int64_t int_attr(const tg_call& call, uint32_t i, int64_t otherwise) {
  if (i >= call.n_attrs || call.attrs[i].kind == 0) return otherwise;
  return attr(call.op, call, i, TG_ATTR_INT).v.i;
}

inline int32_t axis_attr(const tg_call& call, uint32_t i, int32_t ndim) {
  const int64_t axis = attr(call.op, call, i, TG_ATTR_INT).v.i;
  if (axis < 0 || axis >= ndim)
    fail(TG_INVALID_ARGUMENT, "[%s] expected an axis in [0, %d), got %" PRId64, call.op, ndim, axis);
  return int32_t(axis);
}

// ---- loops ----

// Elements that one thread should have at least: below that, a fork costs more than it saves.
constexpr int64_t kGrain = 16384;

// body(begin, end) over rows of `row_size` elements each, shared among threads. No exception may cross the host's
// parallel_for, so the first one waits here until all threads are done.
template <class Body>
void parallel_rows(const tg_host* host, const tg_run& run, int64_t rows, int64_t row_size, Body&& body) {
  std::atomic_flag failed = ATOMIC_FLAG_INIT;
  std::exception_ptr failure;
  const int64_t grain = std::max<int64_t>(1, kGrain / std::max<int64_t>(1, row_size));
  plugin::parallel_for(host, rows, grain, run.threads, [&](int64_t begin, int64_t end) {
    try {
      body(begin, end);
    } catch (...) {
      if (!failed.test_and_set()) failure = std::current_exception();
    }
  });
  if (failure) std::rethrow_exception(failure);
}

// A tensor's shape and strides with one axis shrunk to size 1.
struct WithoutAxis {
  int64_t shape[TG_MAX_RANK];
  int64_t strides[TG_MAX_RANK];
  WithoutAxis(const tg_tensor& t, int32_t axis) {
    for (int32_t i = 0; i < t.ndim; ++i) {
      shape[i] = i == axis ? 1 : t.shape[i];
      strides[i] = i == axis ? 0 : t.strides[i];
    }
  }
};

// Calls line(offsets) for every line along `axis`: one element offset per tensor, in parallel. The tensors agree in
// shape off the axis; `lead` gives it.
template <int N, class Line>
void lines(const tg_host* host, const tg_run& run, int32_t axis, const tg_tensor& lead,
           const tg_tensor* const (&all)[N], Line&& line) {
  const WithoutAxis shape(lead, axis);
  int64_t strides[N][TG_MAX_RANK];
  const int64_t* pointers[N];
  for (int k = 0; k < N; ++k) {
    const WithoutAxis one(*all[k], axis);
    std::copy(one.strides, one.strides + lead.ndim, strides[k]);
    pointers[k] = strides[k];
  }
  const Walk<N> walk(lead.ndim, shape.shape, pointers);
  parallel_rows(host, run, walk.outer(), walk.inner() * lead.shape[axis], [&](int64_t begin, int64_t end) {
    walk.rows(begin, end, [&](const int64_t(&offset)[N]) {
      int64_t at[N];
      for (int64_t i = 0; i < walk.inner(); ++i) {
        for (int k = 0; k < N; ++k) at[k] = offset[k] + i * walk.step(k);
        line(at);
      }
    });
  });
}

}  // namespace tg::reference
