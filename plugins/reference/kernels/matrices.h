// SPDX-License-Identifier: Apache-2.0
//
// What the factorizations share: the matrices of a batch, one after the other, copied into dense rows of doubles (or complex
// ones), in which everything is computed, and back. A matrix on which an algorithm fails is reported in the info output.
#pragma once

#include <complex>

#include "common.h"

namespace tg::reference {

template <class T>
inline constexpr bool is_complex = false;
template <class T>
inline constexpr bool is_complex<std::complex<T>> = true;
// What a T is computed in.
template <class T>
using work_t = std::conditional_t<is_complex<T>, std::complex<double>, double>;

// A T's real and imaginary parts.
template <class T>
struct real_of {
  using type = T;
};
template <class T>
struct real_of<std::complex<T>> {
  using type = T;
};
template <class T>
using real_t = typename real_of<T>::type;

inline double conj(double x) { return x; }
inline std::complex<double> conj(std::complex<double> x) { return std::conj(x); }
// x / |x|, and 1 for 0.
template <class S>
S phase(S x) {
  const double size = std::abs(x);
  return size > 0 ? x / size : S(1);
}

// A dense row-major matrix.
template <class S>
struct Dense {
  int64_t m, n;
  std::vector<S> v;
  Dense(int64_t m, int64_t n) : m(m), n(n), v(size_t(m * n), S(0)) {}
  S& operator()(int64_t i, int64_t j) { return v[size_t(i * n + j)]; }
  S operator()(int64_t i, int64_t j) const { return v[size_t(i * n + j)]; }
  bool finite() const {
    return std::all_of(v.begin(), v.end(), [](S x) { return std::isfinite(std::real(x)) && std::isfinite(std::imag(x)); });
  }
  double largest() const {
    double size = 0;
    for (S x : v) size = std::max(size, std::abs(x));
    return size;
  }
  static Dense identity(int64_t m, int64_t n) {
    Dense y(m, n);
    for (int64_t i = 0; i < std::min(m, n); ++i) y(i, i) = 1;
    return y;
  }
  Dense transposed() const {
    Dense y(n, m);
    for (int64_t i = 0; i < m; ++i)
      for (int64_t j = 0; j < n; ++j) y(j, i) = (*this)(i, j);
    return y;
  }
  Dense conjugate() const {
    Dense y = *this;
    for (S& x : y.v) x = conj(x);
    return y;
  }
};

// First element of entry `batch` of a tensor whose last `inner` axes are one entry.
template <class T>
T* entry(const tg_tensor& t, int32_t inner, int64_t batch) {
  T* p = data<T>(t);
  for (int32_t i = t.ndim - inner - 1; i >= 0; --i) {
    p += batch % t.shape[i] * t.strides[i];
    batch /= t.shape[i];
  }
  return p;
}

template <class T>
Dense<work_t<T>> load(const tg_tensor& t, int64_t batch) {
  const int32_t r = t.ndim - 2, c = t.ndim - 1;
  Dense<work_t<T>> y(t.shape[r], t.shape[c]);
  const T* p = entry<const T>(t, 2, batch);
  for (int64_t i = 0; i < y.m; ++i)
    for (int64_t j = 0; j < y.n; ++j) y(i, j) = work_t<T>(p[i * t.strides[r] + j * t.strides[c]]);
  return y;
}

template <class T>
void store(const tg_tensor& t, int64_t batch, const Dense<work_t<T>>& x) {
  const int32_t r = t.ndim - 2, c = t.ndim - 1;
  T* p = entry<T>(t, 2, batch);
  for (int64_t i = 0; i < x.m; ++i)
    for (int64_t j = 0; j < x.n; ++j) p[i * t.strides[r] + j * t.strides[c]] = T(x(i, j));
}
template <class T, class V>
void store(const tg_tensor& t, int64_t batch, const std::vector<V>& x) {
  T* p = entry<T>(t, 1, batch);
  for (size_t i = 0; i < x.size(); ++i) p[int64_t(i) * t.strides[t.ndim - 1]] = T(x[i]);
}
inline void store_info(const tg_tensor* t, int64_t batch, int64_t info) {
  if (t) *entry<int32_t>(*t, 0, batch) = int32_t(info);
}

// body(batch) for every matrix of x, shared among threads.
template <class Body>
void each_matrix(const tg_host* host, const tg_run& run, const tg_tensor& x, Body&& body) {
  const int64_t m = x.shape[x.ndim - 2], n = x.shape[x.ndim - 1];
  parallel_rows(host, run, numel(x) / (m * n), m * n * std::min(m, n), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) body(i);
  });
}

// The plan of a family for f32 or f64, and where kComplex c64 or c128, decided by its first input: Family<T>(host, call).
template <template <class> class Family, bool kComplex = true>
PlanPtr matrix_plan(const tg_host* host, const tg_call& call, uint32_t inputs, uint32_t outputs) {
  require_arguments(call, inputs, outputs);
  const tg_tensor& x = *call.inputs[0];
  if (x.ndim < 2) fail(TG_INVALID_ARGUMENT, "[%s] expected matrices, got %s", call.op, text(x).c_str());
  if (x.dtype == plugin::dtype_of<float>::value) return std::make_unique<Family<float>>(host, call);
  if (x.dtype == plugin::dtype_of<double>::value) return std::make_unique<Family<double>>(host, call);
  if constexpr (kComplex) {
    if (x.dtype == tg_dtype{TG_CODE_COMPLEX, 64, 1}) return std::make_unique<Family<std::complex<float>>>(host, call);
    if (x.dtype == tg_dtype{TG_CODE_COMPLEX, 128, 1}) return std::make_unique<Family<std::complex<double>>>(host, call);
  }
  fail(TG_UNIMPLEMENTED, "[%s] expected f32 or f64, or complex numbers of them, got %s", call.op, dtype_name(x.dtype));
}

}  // namespace tg::reference
