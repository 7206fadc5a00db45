// SPDX-License-Identifier: Apache-2.0
// Elements by index: gather, scatter, embedding. Indices may count from the end; one outside its axis is an error.
#include "common.h"

namespace tg {
namespace {

// The floor takes i32 and i64.
Tensor index_of(const Tensor& i) { return i.dtype() == DType::i32 || i.dtype() == DType::i64 ? i : i.cast(DType::i64); }
void check_index(const Inference& c, size_t i) {
  check_type(is_index(c.input(i).dtype), c.name(), "an index of integers", c.input(i).dtype);
}

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

Specs infer_scatter(const Inference& c) {
  const TensorSpec &x = c.input(0), &index = c.input(1), &u = c.input(2);
  check_index(c, 1);
  check_type(u.dtype == x.dtype, c.name(), (std::string("values of x's dtype ") + long_name_of(x.dtype)).c_str(),
             u.dtype);
  c.check(u.shape == index.shape, "expected values with the index's shape ", str(index.shape), ", got ", str(u.shape));
  c.check(index.shape.size() == x.shape.size(), "expected an index of x's rank ", x.shape.size(), ", got shape ",
          str(index.shape));
  const size_t axis = size_t(normalize_axis(c.name(), c.attr(0).integer(), int64_t(x.shape.size())));
  for (size_t i = 0; i < x.shape.size(); ++i)
    c.check(i == axis || index.shape[i] == x.shape[i], "expected an index with x's sizes off axis ", axis, ", got ",
            str(index.shape), " for x ", str(x.shape));
  return one(x);
}

template <int kind>
Tensors scatter(const Call& c) {
  infer_now(c);
  const Tensor& x = c.input(0);
  const int64_t axis = normalize_axis(c.op.name.c_str(), c.attr(0).integer(), x.rank());
  const Tensor y = op<"copy">({x});
  const Arg in[] = {index_of(c.input(1)), c.input(2)};
  const Attr attrs[] = {Attr(axis), Attr(kind), Attr(x.size(axis))};
  const Tensor out[] = {y};
  if (c.input(1).numel()) call_into(op_named<"floor_scatter">(), in, attrs, out);
  return {y};
}

// A list of rows as an index of x's rank: [n] to [1, n, 1] spread over x's other sizes.
Tensor spread_index(const Tensor& index, const Ints& shape, int64_t axis) {
  Ints line(shape.size(), 1), all = shape;
  line[axis] = all[axis] = index.numel();
  return expand(reshape(index_of(index), line), all);
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

  const auto scattering = [](OpBuilder o) {
    return o.family("index")
        .input("x", "any tensor of at least one axis")
        .input("index", "integers, x's sizes off the axis")
        .input("values", "index's shape, x's dtype")
        .attr("axis", AttrKind::integer, -1, "the axis")
        .infer(infer_scatter);
  };
  scattering(TG_OP(scatter).amp(Amp::promote))
      .doc(
          "A copy of x with y[.., index[.., j, ..], ..] = values[.., j, ..]; of equal indices the last one stays. "
          "Gradients assume that indices are distinct. Errors: IndexError for an index outside the axis.")
      .decompose(scatter<TG_SCATTER_SET>)
      .grad([](const Backward& b) {
        const Tensor& index = b.input(1);
        return Tensors{
            when(b.need(0), [&] { return op<"scatter">({b.grad(), index, zeros(index.shape(), b.input_dtype(0), index.device())}, {b.attr(0)}); }),
            Tensor(), when(b.need(2), [&] { return op<"take_along_axis">({b.grad(), index}, {b.attr(0)}); })};
      })
      .saves(2, 0)
      .bounds(0, "exact")
      .example(">>> tg.scatter(tg.tensor([1, 2, 3]), tg.tensor([0]), tg.tensor([9]), 0).tolist()\n[9, 2, 3]");
  scattering(TG_OP(scatter_add).amp(Amp::promote))
      .doc(
          "A copy of x with values[.., j, ..] added to y[.., index[.., j, ..], ..]. Errors: IndexError for an index "
          "outside the axis.")
      .decompose(scatter<TG_SCATTER_ADD>)
      .grad([](const Backward& b) {
        return Tensors{b.grad(), Tensor(),
                       when(b.need(2), [&] { return op<"take_along_axis">({b.grad(), b.input(1)}, {b.attr(0)}); })};
      })
      .saves(2, 0)
      .bounds(1, "terms added, relative to the sum of magnitudes")
      .example(
          ">>> tg.scatter_add(tg.tensor([1, 2, 3]), tg.tensor([0, 0]), tg.tensor([5, 6]), 0).tolist()\n[12, 2, 3]");

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
