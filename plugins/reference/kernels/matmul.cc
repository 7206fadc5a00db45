// SPDX-License-Identifier: Apache-2.0
//
// matmul: y[..., m, n] = a[..., m, k] @ b[..., k, n] (+ y with beta 1), any strides. Floats accumulate in double and
// round once; integers wrap.
//
// Sixteen columns of b are packed as accumulators' type; then each row of a meets them with sixteen running sums, which
// the compiler can keep in registers. Nothing is skipped, zeros included: 0 * inf is NaN.

#include "common.h"

namespace tg::reference {
namespace {

constexpr int64_t kColumns = 16;

// One matrix inside a batched tensor.
template <class T>
struct Matrix {
  T* at;
  int64_t row, column;  // strides

  Matrix(const tg_tensor& t, int64_t batch)
      : at(data<T>(t)), row(t.strides[t.ndim - 2]), column(t.strides[t.ndim - 1]) {
    for (int32_t i = t.ndim - 3; i >= 0; --i) {
      at += batch % t.shape[i] * t.strides[i];
      batch /= t.shape[i];
    }
  }
};

template <class T>
class Matmul : public plugin::Plan {
  using Acc = sum_t<T>;

 public:
  Matmul(const tg_host* host, bool add) : host_(host), add_(add) {}

  void run(const tg_run& run) override {
    const tg_tensor &a = *run.inputs[0], &b = *run.inputs[1], &y = *run.outputs[0];
    check_shapes(a, b, y);
    const int64_t m = y.shape[y.ndim - 2], n = y.shape[y.ndim - 1], k = a.shape[a.ndim - 1];
    int64_t batches = 1;
    for (int32_t i = 0; i + 2 < y.ndim; ++i) batches *= y.shape[i];
    // Rows of all batches in one line; packing is repeated per thread, so a thread takes sixteen rows at least.
    parallel_rows(host_, run, batches * m, std::min(n * k, kGrain / 16), [&](int64_t begin, int64_t end) {
      std::vector<Acc> panel(size_t(k * kColumns));
      for (int64_t batch = begin / m; batch * m < end; ++batch) {
        const int64_t first = std::max(begin - batch * m, int64_t(0)), last = std::min(end - batch * m, m);
        const Matrix<const T> ma(a, batch), mb(b, batch);
        const Matrix<T> my(y, batch);
        for (int64_t j = 0; j < n; j += kColumns) {
          const int64_t width = std::min(kColumns, n - j);
          pack(mb, j, width, k, panel.data());
          for (int64_t i = first; i < last; ++i)
            row(ma.at + i * ma.row, ma.column, k, panel.data(), my.at + i * my.row + j * my.column, my.column, width);
        }
      }
    });
  }

 private:
  static void check_shapes(const tg_tensor& a, const tg_tensor& b, const tg_tensor& y) {
    bool ok = a.ndim == y.ndim && b.ndim == y.ndim && y.ndim >= 2;
    for (int32_t i = 0; ok && i + 2 < y.ndim; ++i) ok = a.shape[i] == y.shape[i] && b.shape[i] == y.shape[i];
    if (ok) {
      const int32_t i = y.ndim - 2, j = y.ndim - 1;
      ok = a.shape[i] == y.shape[i] && a.shape[j] == b.shape[i] && b.shape[j] == y.shape[j];
    }
    if (!ok)
      fail(TG_INVALID_ARGUMENT, "[matmul] expected [..., m, k] @ [..., k, n] -> [..., m, n], got %s @ %s -> %s",
           text(a).c_str(), text(b).c_str(), text(y).c_str());
  }

  static void pack(const Matrix<const T>& b, int64_t j, int64_t width, int64_t k, Acc* panel) {
    for (int64_t p = 0; p < k; ++p) {
      const T* from = b.at + p * b.row + j * b.column;
      for (int64_t c = 0; c < kColumns; ++c)
        panel[p * kColumns + c] = c < width ? Acc(compute_t<T>(from[c * b.column])) : Acc(0);
    }
  }

  void row(const T* a, int64_t a_step, int64_t k, const Acc* panel, T* y, int64_t y_step, int64_t width) const {
    Acc sum[kColumns] = {};
    for (int64_t p = 0; p < k; ++p) {
      const Acc x = Acc(compute_t<T>(a[p * a_step]));
      for (int64_t c = 0; c < kColumns; ++c) sum[c] += x * panel[p * kColumns + c];
    }
    for (int64_t c = 0; c < width; ++c) {
      T& out = y[c * y_step];
      out = round_to<T>(add_ ? Acc(compute_t<T>(out)) + sum[c] : sum[c]);
    }
  }

  const tg_host* host_;
  bool add_;
};

}  // namespace

PlanPtr make_matmul(const tg_host* host, const tg_call& call) {
  require_arguments(call, 2, 1);
  const tg_dtype dtype = call.outputs[0]->dtype;
  require_dtype("matmul", "a", dtype, call.inputs[0]->dtype);
  require_dtype("matmul", "b", dtype, call.inputs[1]->dtype);
  const int64_t beta = int_attr(call, 0, 0);
  if (beta != 0 && beta != 1) fail(TG_INVALID_ARGUMENT, "[matmul] expected beta 0 or 1, got %" PRId64, beta);
  return visit(dtype, [&](auto t) -> PlanPtr {
    using T = typename decltype(t)::type;
    if constexpr (is_bool<T>) {
      fail(TG_UNIMPLEMENTED, "[matmul] expected a number dtype, got bool; cast first");
    } else {
      return std::make_unique<Matmul<T>>(host, beta == 1);
    }
  });
}

}  // namespace tg::reference
