// SPDX-License-Identifier: Apache-2.0
// PyTorch's gather and scatter: an index of x's rank, which off the axis may be smaller than x and then means x's first part.
#include "index.h"

namespace tg {
namespace {

int64_t axis_of(const char* op, const Attr& axis, int64_t rank) { return normalize_axis(op, axis.integer(), rank); }

// The index fits: x's rank, and no larger off the axis. The normalised axis.
size_t check_place(const Inference& c) {
  const Shape &x = c.input(0).shape, &index = c.input(1).shape;
  check_index(c, 1);
  c.check(index.size() == x.size(), "expected an index of x's rank ", x.size(), ", got shape ", str(index));
  const size_t axis = size_t(axis_of(c.name(), c.attr(0), int64_t(x.size())));
  for (size_t i = 0; i < x.size(); ++i)
    c.check(i == axis || !index[i].is_constant() || !x[i].is_constant() || index[i].value() <= x[i].value(),
            "expected an index no larger than x off axis ", axis, ", got ", str(index), " for x ", str(x));
  return axis;
}

Specs infer_scatter(const Inference& c) {
  const TensorSpec &x = c.input(0), &index = c.input(1), &u = c.input(2);
  check_place(c);
  check_type(u.dtype == x.dtype, c.name(), (std::string("values of x's dtype ") + long_name_of(x.dtype)).c_str(),
             u.dtype);
  bool fits = u.shape.empty() || u.shape.size() == index.shape.size();
  for (size_t i = 0; fits && i < u.shape.size(); ++i)
    fits = u.shape[i] == index.shape[i] ||
           (u.shape[i].is_constant() && index.shape[i].is_constant() && u.shape[i].value() > index.shape[i].value());
  c.check(fits, "expected one value, or values with at least the index's shape ", str(index.shape), ", got ",
          str(u.shape));
  return one(x);
}

// x's first part, of the given sizes off an axis (everywhere for -1).
Tensor corner(Tensor x, const Ints& shape, int64_t axis) {
  for (int64_t i = 0; i < x.rank(); ++i)
    if (i != axis && x.size(i) != shape[i]) x = slice(x, i, 0, shape[i]);
  return x;
}
Tensor values_at(const Tensor& u, const Ints& index_shape) {
  return u.rank() == 0 ? expand(u, index_shape) : corner(u, index_shape, -1);
}
// A gradient of values_at's result for its operand.
Tensor grown(const Tensor& g, const Ints& to) {
  if (to.empty() || g.shape() == to) return g;
  Ints padding(2 * to.size(), 0);
  for (size_t i = 0; i < to.size(); ++i) padding[to.size() + i] = to[i] - g.shape()[i];
  return op<"pad">({g}, {padding});
}

template <int kind>
Tensors scatter(const Call& c) {
  infer_now(c);
  const Tensor y = target_of(c), index = apart(index_of(c.input(1)), y);
  const int64_t axis = axis_of(c.op.name.c_str(), c.attr(0), y.rank());
  scatter_into(corner(y, index.shape(), axis), index, values_at(apart(c.input(2), y), index.shape()), axis,
               kind == TG_SCATTER_ADD ? adding(y.dtype()) : kind);
  return {y};
}

Tensor gather(const Tensor& x, const Tensor& index, const Attr& axis) { return op<"gather">({x, index}, {axis}); }

// Of equal indices the last one's value stays: True for those.
Tensor last_of_equals(const Tensor& index, const Ints& shape, const Attr& axis) {
  const int64_t a = axis_of("scatter", axis, index.rank());
  const Tensor own =
      spread_index(iota(index.size(a), 0, 1, DType::i64, index.device()), index.shape(), a);
  const Tensor table = op<"scatter">({zeros(shape, DType::i64, index.device()), index, own}, {axis});
  return op<"eq">({gather(table, index, axis), own});
}

// The product of the values of every place, where there are any: values sorted by index, products of runs by doubling.
Tensor products(const Tensor& x, const Tensor& index, const Tensor& values, int64_t axis) {
  const Tensor i = index.cast(DType::i64);
  const Tensor counted = op<"where">({op<"lt">({i, 0}), op<"add">({i, x.size(axis)}), i});
  const Tensor order = op<"argsort">({counted}, {axis});
  const Tensor at = op<"take_along_axis">({counted, order}, {axis});
  Tensor v = op<"take_along_axis">({values, order}, {axis});
  const int64_t m = at.size(axis);
  for (int64_t d = 1; d < m; d *= 2) {
    const Tensor equal = op<"eq">({slice(at, axis, d, m), slice(at, axis, 0, m - d)});
    const Tensor before = op<"where">({equal, slice(v, axis, 0, m - d), 1});
    v = op<"concat">({slice(v, axis, 0, d), op<"mul">({slice(v, axis, d, m), before})}, {axis});
  }
  const Tensor ones = full(x.shape(), 1, x.dtype(), x.device());
  return op<"scatter">({ones, at, v}, {axis});  // the last of a run stays: its whole product
}

// Reverses the order of a dtype's values.
Tensor reversed(const Tensor& x) {
  if (is_floating(x.dtype())) return op<"neg">({x});
  return x.dtype() == DType::boolean ? op<"logical_not">({x}) : op<"bitwise_not">({x});
}
Scalar lowest(DType t) {
  if (is_floating(t)) return -INFINITY;
  return kind_of(t) == DKind::signed_int ? Scalar(INT64_MIN >> (64 - 8 * size_of(t))) : Scalar(int64_t(0));
}

Tensors reduce_at(const Call& c) {
  infer_now(c);
  const std::string& how = c.attr(1).string();
  const bool own = c.attr(2).boolean(), least = how == "amin";
  const Tensor& index = c.input(1);
  const Attr axis(axis_of("scatter_reduce", c.attr(0), c.input(0).rank()));
  Tensor x = c.input(0), u = values_at(c.input(2), index.shape());
  if (least) x = reversed(x), u = reversed(u);
  const DType t = x.dtype();
  if (!own) {  // nothing of x where values go
    const Tensor hit = op<"scatter">(
        {full(x.shape(), 0, DType::boolean, c.device), index, full({}, 1, DType::boolean, c.device)}, {axis});
    const Arg start = how == "prod" ? Arg(1) : how == "sum" || how == "mean" ? Arg(0) : Arg(lowest(t));
    x = op<"where">({hit, start, x}).cast(t);
  }
  if (how == "prod") return {op<"mul">({x, products(x, index, u, axis.integer())})};
  if (how == "sum") return {op<"scatter_add">({x, index, u}, {axis})};
  if (how != "mean") {
    const Tensor y = op<"scatter_max">({x, index, u}, {axis});
    return {least ? reversed(y) : y};
  }
  const Tensor total = op<"scatter_add">({x, index, u}, {axis});
  const Tensor count = op<"scatter_add">(
      {full(x.shape(), own, DType::i64, c.device), index, full({}, 1, DType::i64, c.device)}, {axis});
  const Tensor n = op<"maximum">({count, 1}).cast(t);
  return {is_floating(t) ? op<"div">({total, n}) : op<"floor_divide">({total, n})};
}

Tensors batch_scatter(const Batch& b) {
  if (!b.has(2) || b.rank(2) != b.rank(0)) return {};  // one number for all places: through the decomposition
  const Arg in[] = {b.whole(0), b.whole(1), b.whole(2)};
  const Attr axis[] = {Attr(normalize_axis(b.op.name.c_str(), b.attr(0).integer(), b.rank(0)) + 1)};
  return b.call(b.op, in, axis);
}

}  // namespace

TG_OPS(scatter) {
  TG_OP(gather)
      .family("index")
      .doc(
          "y[.., j, ..] = x[.., index[.., j, ..], ..]; off the axis the index may be smaller than x. As torch.gather, "
          "whose order of arguments, (x, axis, index), is understood, too. "
          "Errors: IndexError for an index outside the axis.")
      .input("x", "any tensor of at least one axis")
      .input("index", "integers of x's rank")
      .attr("axis", AttrKind::integer, -1, "the axis")
      .infer([](const Inference& c) {
        check_place(c);
        return one({c.input(0).dtype, c.input(1).shape});
      })
      .decompose([](const Call& c) {
        infer_now(c);
        const Tensor &x = c.input(0), &index = c.input(1);
        const int64_t axis = axis_of("gather", c.attr(0), x.rank());
        return Tensors{op<"floor_gather">({corner(x, index.shape(), axis), index_of(index)}, {axis})};
      })
      .grad([](const Backward& b) {
        const Tensor base = zeros(b.input_shape(0), b.input_dtype(0), b.grad().device());
        return Tensors{op<"scatter_add">({base, b.input(1), b.grad()}, {b.attr(0)}), Tensor()};
      })
      .saves(2, 0)
      .linear({{0}})
      .batch_axes({"axis"})
      .bounds(0, "exact")
      .example(">>> tg.gather(tg.tensor([[1, 2], [3, 4]]), tg.tensor([[1, 0]]), 1).tolist()\n[[2, 1]]");

  const auto scattering = [](OpBuilder o) {
    return o.family("index")
        .input("x", "any tensor of at least one axis")
        .input("index", "integers of x's rank, no larger than x off the axis")
        .input("values", "x's dtype, at least the index's shape, or one number")
        .attr("axis", AttrKind::integer, -1, "the axis");
  };
  scattering(TG_OP(scatter).amp(Amp::promote))
      .doc(
          "A copy of x with y[.., index[.., j, ..], ..] = values[.., j, ..]; of equal indices the last one stays. As "
          "torch.scatter, whose order of arguments, (x, axis, index, values), is understood, too. "
          "Errors: IndexError for an index outside the axis.")
      .infer(infer_scatter)
      .decompose(scatter<TG_SCATTER_SET>)
      .grad([](const Backward& b) {
        const Tensor& index = b.input(1);
        const Tensor zero = zeros({}, b.input_dtype(0), b.grad().device());
        return Tensors{when(b.need(0), [&] { return op<"scatter">({b.grad(), index, zero}, {b.attr(0)}); }), Tensor(),
                       when(b.need(2), [&] {
                         const Tensor last = last_of_equals(index, b.input_shape(0), b.attr(0));
                         return grown(op<"where">({last, gather(b.grad(), index, b.attr(0)), 0.0}), b.input_shape(2));
                       })};
      })
      .saves(2, 0)
      .linear({{0, 2}})
      .batch(batch_scatter)
      .bounds(0, "exact")
      .example(">>> tg.scatter(tg.tensor([1, 2, 3]), tg.tensor([0]), tg.tensor([9]), 0).tolist()\n[9, 2, 3]");
  scattering(TG_OP(scatter_add).amp(Amp::promote))
      .doc(
          "A copy of x with values[.., j, ..] added to y[.., index[.., j, ..], ..]. Errors: IndexError for an index "
          "outside the axis.")
      .infer(infer_scatter)
      .decompose(scatter<TG_SCATTER_ADD>)
      .grad([](const Backward& b) {
        return Tensors{b.grad(), Tensor(), when(b.need(2), [&] {
                         return grown(gather(b.grad(), b.input(1), b.attr(0)), b.input_shape(2));
                       })};
      })
      .saves(2, 0)
      .linear({{0, 2}})
      .batch(batch_scatter)
      .bounds(1, "terms added, relative to the sum of magnitudes")
      .example(
          ">>> tg.scatter_add(tg.tensor([1, 2, 3]), tg.tensor([0, 0]), tg.tensor([5, 6]), 0).tolist()\n[12, 2, 3]");

  scattering(TG_OP(scatter_max).amp(Amp::promote))
      .doc(
          "A copy of x with y[.., index[.., j, ..], ..] raised to values[.., j, ..] where that is larger. Equals share the "
          "gradient. Errors: IndexError for an index outside the axis.")
      .infer(infer_scatter)
      .decompose(scatter<TG_SCATTER_MAX>)
      .grad([](const Backward& b) {
        const Attr& axis = b.attr(0);
        const Tensor &index = b.input(1), &y = b.output();
        const DType t = y.dtype();
        const Tensor of_x = op<"eq">({b.input(0), y}).cast(t);
        const Tensor u = values_at(b.input(2), index.shape());
        const Tensor of_u = op<"eq">({u, gather(y, index, axis)}).cast(t);
        const Tensor share = op<"div">({b.grad(), op<"scatter_add">({of_x, index, of_u}, {axis})});
        return Tensors{op<"mul">({share, of_x}), Tensor(),
                       grown(op<"mul">({gather(share, index, axis), of_u}), b.input_shape(2))};
      })
      .jvp_by_grad()
      .batch(batch_scatter)
      .bounds(0, "exact")
      .example(
          ">>> tg.scatter_max(tg.tensor([1, 2, 3]), tg.tensor([0, 0]), tg.tensor([5, 4]), 0).tolist()\n[5, 2, 3]");

  scattering(TG_OP(scatter_reduce).amp(Amp::promote))
      .doc(
          "x with every y[.., index[.., j, ..], ..] reduced with all values[.., j, ..] that go there: their sum, prod, mean, "
          "amax or amin; without x's own element unless include_self. Integer means are floored. "
          "Errors: IndexError for an index outside the axis, ValueError for another reduction.")
      .attr("reduce", AttrKind::string, "sum", "sum, prod, mean, amax or amin")
      .attr("include_self", AttrKind::boolean, true, "whether x's element takes part where values go")
      .infer([](const Inference& c) {
        const std::string& how = c.attr(1).string();
        c.check(how == "sum" || how == "prod" || how == "mean" || how == "amax" || how == "amin",
                "expected reduce to be sum, prod, mean, amax or amin, got '", how, "'");
        return infer_scatter(c);
      })
      .decompose(reduce_at)
      .bounds(2, "terms combined and, for a mean, one division; relative to the sum (product) of magnitudes")
      .example(
          ">>> tg.scatter_reduce(tg.tensor([1, 2, 3]), tg.tensor([0, 0]), tg.tensor([5, 4]), 0, 'amax', "
          "include_self=False).tolist()\n[5, 2, 3]");
}

}  // namespace tg
