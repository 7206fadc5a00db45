// SPDX-License-Identifier: Apache-2.0
// What the indexing ops share: index dtypes, an index spread over the other axes, and where an in-place op writes.
#pragma once
#include "common.h"

namespace tg {

// The floor takes i32 and i64.
inline Tensor index_of(const Tensor& i) {
  return i.dtype() == DType::i32 || i.dtype() == DType::i64 ? i : i.cast(DType::i64);
}
inline void check_index(const Inference& c, size_t i) {
  check_type(is_index(c.input(i).dtype), c.name(), "an index of integers", c.input(i).dtype);
}

// A list of rows as an index of x's rank: [n] to [1, n, 1] spread over x's other sizes.
inline Tensor spread_index(const Tensor& index, const Ints& shape, int64_t axis) {
  Ints line(shape.size(), 1), all = shape;
  line[axis] = all[axis] = index.numel();
  return expand(reshape(index_of(index), line), all);
}

// What an op that updates x writes into: the tensor that an in-place call gives, holding x, else a copy of x.
inline Tensor target_of(const Call& c) {
  if (c.outs.empty() || !c.outs[0].defined()) return op<"copy">({c.input(0)});
  if (!same(c.outs[0], c.input(0))) copy_into(c.outs[0], c.input(0));
  return c.outs[0];
}
// An operand of an update; a copy where it lies in the target's memory.
inline Tensor apart(const Tensor& x, const Tensor& target) {
  return shares_memory(x, target) ? op<"copy">({x}) : x;
}
// y[.., index[.., j, ..], ..] is set to, gains or is raised to u[.., j, ..], in y's memory.
inline void scatter_into(const Tensor& y, const Tensor& index, const Tensor& u, int64_t axis, int64_t kind) {
  if (!index.numel()) return;
  if (!y.size(axis)) raise(ErrorKind::index, "[scatter] expected no index of axis ", axis, " of size 0, got ", index.numel());
  const Arg in[] = {index, u};
  const Attr attrs[] = {Attr(axis), Attr(kind), Attr(y.size(axis))};
  const Tensor out[] = {y};
  call_into(op_named<"floor_scatter">(), in, attrs, out);
}
// Adding bools is "or".
inline int64_t adding(DType t) { return t == DType::boolean ? TG_SCATTER_MAX : TG_SCATTER_ADD; }

}  // namespace tg
