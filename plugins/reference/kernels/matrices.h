// SPDX-License-Identifier: Apache-2.0
//
// What the factorizations share: the matrices of a batch, one after the other, copied into dense rows of doubles, in
// which everything is computed, and back. A matrix on which an algorithm fails is reported in the info output.
#pragma once

#include "common.h"

namespace tg::reference {

// A dense row-major matrix.
struct Dense {
  int64_t m, n;
  std::vector<double> v;
  Dense(int64_t m, int64_t n) : m(m), n(n), v(size_t(m * n), 0.0) {}
  double& operator()(int64_t i, int64_t j) { return v[size_t(i * n + j)]; }
  double operator()(int64_t i, int64_t j) const { return v[size_t(i * n + j)]; }
  bool finite() const {
    return std::all_of(v.begin(), v.end(), [](double x) { return std::isfinite(x); });
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
Dense load(const tg_tensor& t, int64_t batch) {
  const int32_t r = t.ndim - 2, c = t.ndim - 1;
  Dense y(t.shape[r], t.shape[c]);
  const T* p = entry<const T>(t, 2, batch);
  for (int64_t i = 0; i < y.m; ++i)
    for (int64_t j = 0; j < y.n; ++j) y(i, j) = double(p[i * t.strides[r] + j * t.strides[c]]);
  return y;
}

template <class T>
void store(const tg_tensor& t, int64_t batch, const Dense& x) {
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

// The plan of a family for f32 or f64, decided by its first input: Family<T>(host, call).
template <template <class> class Family>
PlanPtr matrix_plan(const tg_host* host, const tg_call& call, uint32_t inputs, uint32_t outputs) {
  require_arguments(call, inputs, outputs);
  const tg_tensor& x = *call.inputs[0];
  if (x.ndim < 2) fail(TG_INVALID_ARGUMENT, "[%s] expected matrices, got %s", call.op, text(x).c_str());
  if (x.dtype == plugin::dtype_of<float>::value) return std::make_unique<Family<float>>(host, call);
  if (x.dtype == plugin::dtype_of<double>::value) return std::make_unique<Family<double>>(host, call);
  fail(TG_UNIMPLEMENTED, "[%s] expected f32 or f64, got %s", call.op, dtype_name(x.dtype));
}

}  // namespace tg::reference
