// SPDX-License-Identifier: Apache-2.0
// What the files of core/ops share: checks, shapes of reductions, and short names for frequent ops.
#pragma once
#include <tengen/op.h>

#include <cmath>

namespace tg {

using Value = MapBuilder::Value;
using Values = std::span<const MapBuilder::Value>;
using AttrSpan = std::span<const Attr>;

// A wrong dtype is a TypeError: check_type(ok, "sqrt", "floats", got)
inline void check_type(bool ok, const char* op, const char* expected, DType got) {
  if (!ok) [[unlikely]]
    raise(ErrorKind::type, "[", op, "] expected ", expected, ", got ", long_name_of(got));
}
inline void check_type(bool ok, const std::string& op, const char* expected, DType got) {
  check_type(ok, op.c_str(), expected, got);
}

// The dtype in which sums of t are taken.
inline DType acc_dtype(DType t) { return t == DType::f16 || t == DType::bf16 ? DType::f32 : t; }
inline bool is_index(DType t) { return is_integer(t); }

// The op's inference on the tensors of a call: its checks and the shapes of its outputs.
inline Specs infer_now(const Call& c) {
  std::vector<TensorSpec> specs;
  std::vector<const TensorSpec*> pointers;
  specs.reserve(c.inputs.size());
  for (const Tensor& t : c.inputs) {
    specs.push_back(t.defined() ? TensorSpec{t.dtype(), symbolic(t.shape())} : TensorSpec{});
    pointers.push_back(t.defined() ? &specs.back() : nullptr);
  }
  return c.op.infer(Inference{c.op, pointers, c.attrs});
}

// An integer attribute that becomes a value of dtype t: OverflowError where t does not hold it.
inline void check_value(const Inference& c, const Attr& value, DType t) {
  if (const auto* v = std::get_if<int64_t>(&value.value())) check_fits(c.name(), *v, t);
}

// The dtype that an optional attribute asks for, else t.
inline DType cast_dtype(const Inference& c, size_t at, DType t) {
  if (!c.attr(at).given()) return t;
  check_type(c.attr(at).dtype() != DType::boolean, c.name(), "a dtype of numbers", c.attr(at).dtype());
  return c.attr(at).dtype();
}

// 8-bit floats are moved and cast, not computed with.
inline void check_computes(const Inference& c) {
  const DType t = c.input(0).dtype;
  check_type(!is_small_float(t), c.name(), "a dtype to compute in (cast it first)", t);
}
// The dtype of a sum of x: bools and integers widen.
inline DType sum_dtype(const Inference& c) {
  check_computes(c);
  const DType t = c.input(0).dtype;
  return is_inexact(t) ? t : kind_of(t) == DKind::unsigned_int ? DType::u64 : DType::i64;
}
// The same, unless an optional attribute asks for another one.
inline DType sum_dtype(const Inference& c, size_t at) { return c.attr(at).given() ? cast_dtype(c, at, c.input(0).dtype) : sum_dtype(c); }

inline Specs same_as_first(const Inference& c) { return one(c.input(0)); }

// Sizes after a reduction over `axes` (normalised): 1 there, or left out.
template <class S>
S reduced_shape(const S& shape, const Ints& axes, bool keep) {
  S out;
  size_t k = 0;
  for (size_t i = 0; i < shape.size(); ++i) {
    const bool gone = k < axes.size() && axes[k] == int64_t(i);
    if (gone) ++k;
    if (!gone)
      out.push_back(shape[i]);
    else if (keep)
      out.push_back(1);
  }
  return out;
}
inline int64_t count_along(const Ints& shape, const Ints& axes) {
  int64_t n = 1;
  for (int64_t a : axes) n *= shape[a];
  return n;
}

inline Tensor full(const Ints& shape, double value, DType t, Device* device) {
  return op<"full">({}, {shape, value, t}, device);
}
inline Tensor zeros(const Ints& shape, DType t, Device* device) { return full(shape, 0, t, device); }
inline Tensor zeros_like(const Tensor& x) { return zeros(x.shape(), x.dtype(), x.device()); }
inline Tensor empty(const Ints& shape, DType t, Device* device) { return op<"empty">({}, {shape, t}, device); }
inline Tensor iota(int64_t n, double start, double step, DType t, Device* device) {
  if (is_floating(t)) return op<"floor_iota">({}, {n, t, start, step}, device);
  return op<"floor_iota">({}, {n, t, int64_t(start), int64_t(step)}, device);
}
inline Tensor reshape(const Tensor& x, const Ints& shape) {
  return x.shape() == shape ? x : op<"reshape">({x}, {shape});
}
inline Tensor expand(const Tensor& x, const Ints& shape) { return x.shape() == shape ? x : op<"expand">({x}, {shape}); }
inline Tensor transpose(const Tensor& x, int64_t a = -2, int64_t b = -1) { return op<"transpose">({x}, {a, b}); }
inline Tensor slice(const Tensor& x, int64_t axis, int64_t start, int64_t stop, int64_t step = 1) {
  return op<"slice">({x}, {axis, start, stop, step});
}
inline Tensor sum(const Tensor& x, const Ints& axes, bool keep) {
  return axes.empty() ? x : op<"sum">({x}, {axes, keep});
}

// Products, sums, differences and quotients in gradients, whose operands may both be numbers: those stay numbers.
inline Arg times(const Arg& a, const Arg& b) {
  return a.kind == Arg::scalar && b.kind == Arg::scalar ? Arg(a.s.as_double() * b.s.as_double())
                                                        : Arg(op<"mul">({a, b}));
}
inline Arg plus(const Arg& a, const Arg& b) {
  return a.kind == Arg::scalar && b.kind == Arg::scalar ? Arg(a.s.as_double() + b.s.as_double())
                                                        : Arg(op<"add">({a, b}));
}
inline Arg minus(const Arg& a, const Arg& b) {
  return a.kind == Arg::scalar && b.kind == Arg::scalar ? Arg(a.s.as_double() - b.s.as_double())
                                                        : Arg(op<"sub">({a, b}));
}
inline Arg over(const Arg& a, const Arg& b) {
  return a.kind == Arg::scalar && b.kind == Arg::scalar ? Arg(a.s.as_double() / b.s.as_double())
                                                        : Arg(op<"div">({a, b}));
}

// Writes in place inside a decomposition: target = x, target += x.
inline void copy_into(const Tensor& target, const Tensor& x) {
  const Arg in[] = {x};
  const Tensor out[] = {target};
  call_into(op_named<"copy">(), in, {}, out);
}
inline void add_into(const Tensor& target, const Tensor& x) {
  const Arg in[] = {target, x};
  const Tensor out[] = {target};
  call_into(op_named<"add">(), in, {}, out);
}
// target += a @ b, all of equal rank and batch sizes.
inline void matmul_into(const Tensor& target, const Tensor& a, const Tensor& b) {
  const Arg in[] = {a, b};
  const Attr attrs[] = {Attr(1)};
  const Tensor out[] = {target};
  call_into(op_named<"floor_matmul">(), in, attrs, out);
}
inline Ints all_axes_but(int64_t rank, int64_t axis) {
  Ints axes;
  for (int64_t i = 0; i < rank; ++i)
    if (i != axis) axes.push_back(i);
  return axes;
}

}  // namespace tg
