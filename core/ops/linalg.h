// SPDX-License-Identifier: Apache-2.0
// What the files of linear algebra share: checks of matrices, reports of kernels that failed on a matrix, short names.
#pragma once
#include <tengen/linalg_error.h>
#include <tengen/whole.h>

#include "common.h"

namespace tg::linalg {

// Floating-point or complex matrices (square ones) as input i; TypeError, ValueError.
inline const Shape& matrices(const Inference& c, size_t i = 0, bool square = false) {
  const TensorSpec& x = c.input(i);
  check_type(is_inexact(x.dtype), c.name(), "floats", x.dtype);
  c.check(x.shape.size() >= 2, "expected a matrix or a batch of them, got shape ", str(x.shape));
  c.check(!square || x.shape.back() == x.shape[x.shape.size() - 2], "expected square matrices, got shape ",
          str(x.shape));
  return x.shape;
}
inline Shape batch_of(const Shape& s, size_t axes = 2) { return Shape(s.data(), s.size() - axes); }
inline Ints batch_of(const Ints& s, size_t axes = 2) { return Ints(s.data(), s.size() - axes); }
template <class S>
S with(S batch, std::initializer_list<decltype(batch[0] + batch[0])> sizes) {
  for (auto n : sizes) batch.push_back(n);
  return batch;
}
inline Dim smaller(Dim a, Dim b) {
  if (a == b || !b.is_constant()) return a;
  if (!a.is_constant()) return b;
  return std::min(a.value(), b.value());
}

inline Tensor matmul(const Tensor& a, const Tensor& b) { return op<"matmul">({a, b}); }
inline Tensor mT(const Tensor& x) { return transpose(x); }
inline Tensor conj(const Tensor& x) { return x.defined() && is_complex(x.dtype()) ? op<"conj">({x}) : x; }
inline Tensor mH(const Tensor& x) { return conj(mT(x)); }
inline Tensor add(const Tensor& a, const Tensor& b) { return !a.defined() ? b : !b.defined() ? a : op<"add">({a, b}); }
inline Tensor sub(const Tensor& a, const Tensor& b) { return op<"sub">({a, b}); }
inline Tensor mul(const Arg& a, const Arg& b) { return op<"mul">({a, b}); }
inline Tensor neg(const Tensor& a) { return op<"neg">({a}); }
inline Tensor tril(const Tensor& x, int64_t k = 0) { return op<"tril">({x}, {k}); }
inline Tensor triu(const Tensor& x, int64_t k = 0) { return op<"triu">({x}, {k}); }
inline Tensor diagonal(const Tensor& x) { return op<"diagonal">({x}, {0, -2, -1}); }
inline Tensor row(const Tensor& x) { return op<"unsqueeze">({x}, {Ints{-2}}); }
inline Tensor column(const Tensor& x) { return op<"unsqueeze">({x}, {Ints{-1}}); }
inline Tensor hermitian(const Tensor& x) { return mul(add(x, mH(x)), 0.5); }
inline Tensor eye(int64_t n, int64_t m, const Tensor& like) {
  return op<"eye">({}, {n, m, 0, like.dtype()}, like.device());
}
// x as one matrix per element of the batch `batch`: a view.
inline Tensor expand_batch(const Tensor& x, const Ints& batch) {
  return expand(x, with(batch, {x.size(-2), x.size(-1)}));
}
inline Ints concrete_batch(const char* op, const Tensor& a, const Tensor& b) {
  return concrete(broadcast(op, symbolic(batch_of(a.shape())), symbolic(batch_of(b.shape()))));
}
// X of A X = B for triangular A (the other triangle is not looked at).
inline Tensor solve_triangular(const Tensor& a, const Tensor& b, bool upper, bool unit = false) {
  const Ints batch = concrete_batch("solve_triangular", a, b);
  return op<"leaf_triangular_solve">({expand_batch(a, batch), expand_batch(b, batch)}, {upper, unit});
}
// Rows of x in the order of index [..., m].
inline Tensor take_rows(const Tensor& x, const Tensor& index) {
  const Ints batch = concrete_batch("take_rows", x, column(index));
  return op<"take_along_axis">(
      {expand_batch(x, batch), expand(column(index), with(batch, {index.size(-1), x.size(-1)}))}, {-2});
}
inline Tensor inverse_permutation(const Tensor& p) { return op<"argsort">({p}, {-1}); }

// What kernels said about each matrix; within vmap, about those of all indices. Reading it waits for the device.
struct Info {
  explicit Info(const Tensor& info) : shape(in_memory(info).shape()), values(size_t(numel(shape))) {
    if (!values.empty() && in_memory(info).has_value()) in_memory(info).to_host(values.data());
  }
  Ints shape;
  std::vector<int32_t> values;
};

// Raises LinAlgError for the first matrix of the batch on which a kernel failed (info > 0): `what(info)` says how.
template <class What>
void check_info(const std::string& op, const Tensor& of, What&& what) {
  const Info info(of);
  for (size_t i = 0; i < info.values.size(); ++i) {
    if (info.values[i] == 0) continue;
    Ints at;
    int64_t rest = int64_t(i);
    for (size_t axis = info.shape.size(); axis-- > 0;) {
      at.insert(0, rest % info.shape[axis]);
      rest /= info.shape[axis];
    }
    throw LinalgError(detail::concat("[", op, "] ", what(info.values[i]),
                                     at.empty() ? "" : " (matrix " + str(at) + " of the batch)"));
  }
}

// Input i of a batched call, its hidden axis in front of `axes` batch axes and `own` of the matrix (or vector).
inline Tensor lined_up(const Batch& b, size_t i, int64_t axes, int64_t own) {
  const Tensor t = b.whole(i);
  Ints shape = t.shape();
  while (int64_t(shape.size()) < 1 + axes + own) shape.insert(1, 1);
  return reshape(t, shape);
}

inline std::string singular(int32_t info) {
  return detail::concat("expected regular matrices, got a singular one: U[", info - 1, ", ", info - 1,
                        "] of P A = L U is 0; pinv and lstsq take such matrices");
}

}  // namespace tg::linalg
