// SPDX-License-Identifier: Apache-2.0
// Elements by index along one axis. Indices may count from the end; one outside its axis is an error.
#include "index.h"

namespace tg {
namespace {

// Shapes that broadcast off the axis, where each keeps its size.
Shape off_axis_broadcast(const Inference& c, Shape a, const Shape& b, size_t axis) {
  c.check(a.size() == b.size(), "expected x and index of one rank, got shapes ", str(a), " and ", str(b));
  Shape at = b;
  a[axis] = Dim(1);
  at[axis] = Dim(1);
  Shape s = broadcast(c.name(), a, at);
  s[axis] = b[axis];
  return s;
}

}  // namespace

TG_OPS(index) {
  TG_OP(take_along_axis)
      .family("index")
      .doc(
          "y[.., j, ..] = x[.., index[.., j, ..], ..]; x and index broadcast off the axis. "
          "Errors: IndexError for an index outside the axis.")
      .input("x", "any tensor of at least one axis")
      .input("index", "integers, of x's rank")
      .attr("axis", AttrKind::integer, -1, "the axis")
      .infer([](const Inference& c) {
        check_index(c, 1);
        const size_t axis = size_t(normalize_axis(c.name(), c.attr(0).integer(), int64_t(c.input(0).shape.size())));
        return one({c.input(0).dtype, off_axis_broadcast(c, c.input(0).shape, c.input(1).shape, axis)});
      })
      .decompose([](const Call& c) {
        const Ints shape = concrete(infer_now(c)[0].shape);
        const int64_t axis = normalize_axis("take_along_axis", c.attr(0).integer(), c.input(0).rank());
        Ints from = shape;
        from[axis] = c.input(0).size(axis);
        return Tensors{op<"floor_gather">({expand(c.input(0), from), expand(index_of(c.input(1)), shape)}, {axis})};
      })
      .bounds(0, "exact")
      .example(">>> tg.take_along_axis(tg.tensor([[1, 2], [3, 4]]), tg.tensor([[1], [0]]), 1).tolist()\n[[2], [3]]");

  TG_OP(index_select)
      .family("index")
      .doc("The given indices of an axis, in their order. Errors: IndexError for an index outside the axis.")
      .input("x", "any tensor of at least one axis")
      .input("index", "integers [n]")
      .attr("axis", AttrKind::integer, 0, "the axis")
      .infer([](const Inference& c) {
        check_index(c, 1);
        c.check(c.input(1).shape.size() == 1, "expected an index of one axis, got shape ", str(c.input(1).shape));
        TensorSpec y = c.input(0);
        y.shape[size_t(normalize_axis(c.name(), c.attr(0).integer(), int64_t(y.shape.size())))] = c.input(1).shape[0];
        return one(y);
      })
      .decompose([](const Call& c) {
        infer_now(c);
        const int64_t axis = normalize_axis("index_select", c.attr(0).integer(), c.input(0).rank());
        return Tensors{op<"floor_gather">({c.input(0), spread_index(c.input(1), c.input(0).shape(), axis)}, {axis})};
      })
      .grad([](const Backward& b) {
        const int64_t axis = normalize_axis("index_select", b.attr(0).integer(), b.grad().rank());
        const Tensor base = zeros(b.input_shape(0), b.input_dtype(0), b.grad().device());
        return Tensors{op<"scatter_add">({base, spread_index(b.input(1), b.input_shape(0), axis), b.grad()}, {axis}),
                       Tensor()};
      })
      .saves(2, 0)
      .linear({{0}})
      .bounds(0, "exact")
      .example(">>> tg.index_select(tg.tensor([10, 20, 30]), tg.tensor([2, 0]), 0).tolist()\n[30, 10]");

  TG_OP(embedding)
      .family("nn")
      .doc("Rows of a table. Errors: IndexError for an index outside it.")
      .input("weight", "[n, features...]")
      .input("index", "integers of any shape")
      .output("y", "index's shape, then features")
      .infer([](const Inference& c) {
        check_index(c, 1);
        c.check(!c.input(0).shape.empty(), "expected a weight of at least one axis, got shape ()");
        Shape y = c.input(1).shape;
        for (size_t i = 1; i < c.input(0).shape.size(); ++i) y.push_back(c.input(0).shape[i]);
        return one({c.input(0).dtype, y});
      })
      .decompose([](const Call& c) {
        const Ints shape = concrete(infer_now(c)[0].shape);
        return Tensors{
            reshape(op<"index_select">({c.input(0), reshape(c.input(1), {c.input(1).numel()})}, {0}), shape)};
      })
      .bounds(0, "exact")
      .example(">>> tg.embedding(tg.tensor([[1., 2.], [3., 4.]]), tg.tensor([1])).tolist()\n[[3.0, 4.0]]");

  TG_OP(one_hot)
      .family("index")
      .doc("A new last axis of n, 1 at the index and 0 elsewhere, as i64. An index outside gives zeros.")
      .input("index", "integers")
      .attr("n", AttrKind::integer, "number of classes")
      .output("y", "index's shape, then n")
      .infer([](const Inference& c) {
        check_index(c, 0);
        c.check(c.attr(0).integer() >= 0, "expected n of 0 or more, got ", c.attr(0).integer());
        Shape y = c.input(0).shape;
        y.push_back(c.attr(0).integer());
        return one({DType::i64, y});
      })
      .decompose([](const Call& c) {
        infer_now(c);
        const Tensor classes = iota(c.attr(0).integer(), 0, 1, DType::i64, c.device);
        return Tensors{op<"eq">({op<"unsqueeze">({index_of(c.input(0))}, {Ints{-1}}), classes}).cast(DType::i64)};
      })
      .no_grad()
      .bounds(0, "exact")
      .example(">>> tg.one_hot(tg.tensor([1, 0]), 2).tolist()\n[[0, 1], [1, 0]]");
}

}  // namespace tg
