// SPDX-License-Identifier: Apache-2.0
// Results whose size depends on the data: a buffer with room for the most, and a count. Python gives the part that
// counts (python/tengen/_dynamic.py).
#include "common.h"

namespace tg {
namespace {

Tensor flat(const Tensor& x) { return reshape(x, {x.numel()}); }
Tensor places(int64_t n, Device* device) { return iota(n, 0, 1, DType::i64, device); }

// values[i] where at[i] is its place in a buffer of n; place n is thrown away.
Tensor placed(const Tensor& values, const Tensor& at, int64_t n) {
  const Tensor room = zeros({n + 1}, values.dtype(), values.device());
  return slice(op<"scatter">({room, at, values}, {0}), 0, 0, n);
}

Specs infer_groups(const Inference& c) {
  Dim n = 1;
  for (const Dim& d : c.input(0).shape) n = n * d;
  const TensorSpec places{DType::i64, Shape{n}};
  return {{c.input(0).dtype, Shape{n}}, places, {DType::i64, c.input(0).shape}, places, {DType::i64, {}}};
}

// Groups of n elements in an order, the i-th of which was the origin[i]-th: index of each group's first, inverse,
// counts, count. starts[i]: a group begins there.
Tensors grouping(const Tensor& starts, const Tensor& origin) {
  const int64_t n = starts.numel();
  Device* device = starts.device();
  const Tensor none = zeros({n}, DType::i64, device);
  if (n == 0) return {none, none, none, zeros({}, DType::i64, device)};
  const Tensor group = op<"sub">({op<"cumsum">({starts}, {0}), 1});
  const Tensor at = op<"where">({starts, group, n});
  const Tensor counts = op<"scatter_add">({none, group, full({n}, 1, DType::i64, device)}, {0});
  const Tensor count = op<"add">({reshape(slice(group, 0, n - 1, n), {}), 1});
  return {placed(origin, at, n), op<"scatter">({none, origin, group}, {0}), counts, count};
}

// Whether x[i] along axis 0 differs from x[i - 1] (anywhere); the first does.
Tensor changes(const Tensor& x) {
  const int64_t n = x.size(0), some = std::min<int64_t>(n, 1);
  Tensor differs = op<"ne">({slice(x, 0, some, n), slice(x, 0, 0, n - some)});
  if (x.rank() > 1) differs = op<"any">({differs}, {Ints{1}});
  return op<"concat">({full({some}, 1, DType::boolean, x.device()), differs}, {0});
}

// Runs of equal neighbours of `line`.
Tensors groups(const Tensor& line, const Tensor& origin, const Ints& shape) {
  const Tensors g = grouping(changes(line), origin);
  const int64_t n = line.numel();
  if (n == 0) return {line, g[0], reshape(g[1], shape), g[2], g[3]};
  const Tensor back = op<"scatter">({zeros({n}, DType::i64, line.device()), origin, places(n, line.device())}, {0});
  const Tensor first = op<"minimum">({op<"take_along_axis">({back, g[0]}, {0}), n - 1});
  return {op<"take_along_axis">({line, first}, {0}), g[0], reshape(g[1], shape), g[2], g[3]};
}

OpBuilder grouped(OpBuilder o) {
  return o.internal()
      .family("order")
      .input("x", "any tensor")
      .output("values", "[numel], those in front count")
      .output("index", "i64 [numel]: where each value is first")
      .output("inverse", "i64, x's shape: the place of each element's value")
      .output("counts", "i64 [numel]: how many are equal to each value")
      .output("count", "i64: how many values there are")
      .infer(infer_groups)
      .no_grad()
      .bounds(0, "exact");
}

OpBuilder grouped_rows(OpBuilder o) {
  return o.internal()
      .family("order")
      .input("x", "[n, m]")
      .output("index", "i64 [n], those in front count: where each row is first")
      .output("inverse", "i64 [n]: the place of each row")
      .output("counts", "i64 [n]: how many are equal to each")
      .output("count", "i64: how many there are")
      .infer([](const Inference& c) {
        const TensorSpec rows{DType::i64, Shape{c.input(0).shape[0]}};
        return Specs{rows, rows, rows, {DType::i64, {}}};
      })
      .no_grad()
      .bounds(0, "exact");
}

}  // namespace

TG_OPS(unique) {
  grouped(TG_OP(unique_padded))
      .doc("The distinct elements of x, ascending; NaN differs from NaN.")
      .decompose([](const Call& c) {
        const Tensors sorted = ops<"floor_sort">({flat(c.input(0))}, {0, false});
        return groups(sorted[0], sorted[1], c.input(0).shape());
      });
  grouped(TG_OP(unique_consecutive_padded))
      .doc("The first of each run of equal elements of x.")
      .decompose([](const Call& c) {
        return groups(flat(c.input(0)), places(c.input(0).numel(), c.device), c.input(0).shape());
      });

  // Stable sorts by each column, the last one first, leave the rows in lexicographic order.
  grouped_rows(TG_OP(unique_rows_padded))
      .doc("The distinct rows of a matrix, in lexicographic order.")
      .decompose([](const Call& c) {
        const Tensor& x = c.input(0);
        Tensor order = places(x.size(0), c.device);
        for (int64_t j = x.size(1); j-- > 0;) {
          const Tensor column = op<"index_select">({op<"select">({x}, {1, j}), order}, {0});
          order = op<"index_select">({order, op<"argsort">({column}, {0})}, {0});
        }
        return grouping(changes(op<"index_select">({x, order}, {0})), order);
      });
  grouped_rows(TG_OP(unique_consecutive_rows_padded))
      .doc("The first of each run of equal rows of a matrix.")
      .decompose([](const Call& c) { return grouping(changes(c.input(0)), places(c.input(0).size(0), c.device)); });

  TG_OP(nonzero_padded)
      .internal()
      .family("index")
      .doc("The index of each element that is not 0, in row-major order.")
      .input("x", "any tensor")
      .output("index", "i64 [numel, rank], those in front count")
      .output("count", "i64: how many there are")
      .infer([](const Inference& c) {
        Dim n = 1;
        for (const Dim& d : c.input(0).shape) n = n * d;
        return Specs{{DType::i64, Shape{n, Dim(int64_t(c.input(0).shape.size()))}}, {DType::i64, {}}};
      })
      .decompose([](const Call& c) {
        const Tensor mask = flat(c.input(0).cast(DType::boolean));
        const int64_t n = mask.numel(), rank = c.input(0).rank();
        const Tensor count = op<"sum">({mask});
        if (n == 0 || rank == 0) return Tensors{zeros({n, rank}, DType::i64, c.device), count};
        const Tensor at = op<"where">({mask, op<"sub">({op<"cumsum">({mask}, {0}), 1}), n});
        Tensor rest = placed(places(n, c.device), at, n);
        std::vector<Arg> columns(static_cast<size_t>(rank));
        for (int64_t i = rank; i-- > 0; rest = op<"floor_divide">({rest, c.input(0).size(i)}))
          columns[i] = op<"remainder">({rest, c.input(0).size(i)});
        const Attr last[] = {Attr(1)};
        return Tensors{call_one(op_named<"stack">(), columns, last), count};
      })
      .no_grad()
      .bounds(0, "exact");
}

}  // namespace tg
