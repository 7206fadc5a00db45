// SPDX-License-Identifier: Apache-2.0
// Whole slices of an axis by index, and elements of a tensor seen flat: index_add, index_copy, index_fill, take, put.
#include "index.h"

namespace tg {
namespace {

Specs infer_update(const Inference& c) {
  const Shape &x = c.input(0).shape, &index = c.input(1).shape, &u = c.input(2).shape;
  check_index(c, 1);
  c.check(index.size() <= 1, "expected an index of one axis, got shape ", str(index));
  const size_t axis = size_t(normalize_axis(c.name(), c.attr(0).integer(), int64_t(x.size())));
  Shape expect = x;
  expect[axis] = index.empty() ? Dim(1) : index[0];
  c.check(u.empty() || u == expect, "expected values of shape ", str(expect), ", got ", str(u));
  return one(c.input(0));
}

Tensor update(const Call& c, const Tensor& x, const Tensor& index, const Tensor& values, int64_t axis, bool accumulate) {
  const Arg in[] = {x, values, index.rank() == 0 ? reshape(index, {1}) : index};
  const Attr attrs[] = {Ints{axis}, Attr(), accumulate};
  if (c.outs.empty() || !c.outs[0].defined() || !same(x, c.input(0)))
    return call_one(op_named<"index_update">(), in, attrs);
  return call_into(op_named<"index_update">(), in, attrs, c.outs)[0];
}

template <bool accumulate>
Tensors along(const Call& c) {
  infer_now(c);
  Tensor values = c.input(2);
  if (accumulate && c.attr(1).floating() != 1) {
    const double alpha = c.attr(1).floating();
    const bool whole = !is_floating(values.dtype()) && std::abs(alpha) < 0x1p53 && alpha == std::trunc(alpha);
    values = op<"mul">({values, whole ? Arg(int64_t(alpha)) : Arg(alpha)});  // integers stay exact
  }
  return {update(c, c.input(0), c.input(1), values, normalize_axis("index", c.attr(0).integer(), c.input(0).rank()),
                 accumulate)};
}

OpBuilder updating(OpBuilder o, const char* values) {
  return o.family("index")
      .input("x", "any tensor of at least one axis")
      .input("index", "integers [n]")
      .input("values", values)
      .attr("axis", AttrKind::integer, 0, "the axis");
}

Tensor flat(const Tensor& x) { return reshape(x, {x.numel()}); }

}  // namespace

TG_OPS(index_axis) {
  updating(TG_OP(index_add).amp(Amp::promote), "x's shape with n on the axis, or one number")
      .doc(
          "A copy of x with alpha * values[j] added to its slice index[j] of the axis. As torch.index_add, whose order of "
          "arguments, (x, axis, index, values), is understood, too. Errors: IndexError for an index outside the axis.")
      .attr("alpha", AttrKind::floating, 1.0, "a factor of the values")
      .infer([](const Inference& c) {
        const double alpha = c.attr(1).floating();
        check_type(is_inexact(c.input(0).dtype) || alpha == std::trunc(alpha), c.name(), "a whole alpha for integers", c.input(0).dtype);
        return infer_update(c);
      })
      .decompose(along<true>)
      .bounds(2, "the product's rounding and the terms added, relative to the sum of magnitudes")
      .example(">>> tg.index_add(tg.tensor([1, 2, 3]), tg.tensor([0, 0]), tg.tensor([5, 6])).tolist()\n[12, 2, 3]");
  updating(TG_OP(index_copy).amp(Amp::promote), "x's shape with n on the axis, or one number")
      .doc(
          "A copy of x with values[j] as its slice index[j] of the axis; of equal indices the last one stays. "
          "Errors: IndexError for an index outside the axis.")
      .infer(infer_update)
      .decompose(along<false>)
      .bounds(0, "exact")
      .example(">>> tg.index_copy(tg.tensor([1, 2, 3]), tg.tensor([2, 0]), tg.tensor([5, 6])).tolist()\n[6, 2, 5]");
  updating(TG_OP(index_fill).amp(Amp::promote), "a number or 0-d tensor")
      .doc("A copy of x with one value in the slices index[j] of the axis. Errors: IndexError for an index outside the axis.")
      .infer([](const Inference& c) {
        c.check(c.input(2).shape.empty(), "expected one value, got shape ", str(c.input(2).shape));
        return infer_update(c);
      })
      .decompose(along<false>)
      .bounds(0, "exact")
      .example(">>> tg.index_fill(tg.tensor([1, 2, 3]), tg.tensor([0, 2]), 7).tolist()\n[7, 2, 7]");

  TG_OP(take)
      .family("index")
      .doc(
          "Elements of x, flat in row-major order or along an axis, at indices of any shape. "
          "Errors: IndexError for an index outside.")
      .input("x", "any tensor")
      .input("index", "integers of any shape")
      .optional_attr("axis", AttrKind::integer, "the axis, where the index's axes come; flat by default")
      .infer([](const Inference& c) {
        check_index(c, 1);
        if (!c.attr(0).given()) return one({c.input(0).dtype, c.input(1).shape});
        const Shape& x = c.input(0).shape;
        const size_t axis = size_t(normalize_axis(c.name(), c.attr(0).integer(), int64_t(x.size())));
        Shape y;
        for (size_t i = 0; i < x.size(); ++i) {
          if (i != axis) y.push_back(x[i]);
          else
            for (Dim d : c.input(1).shape) y.push_back(d);
        }
        return one({c.input(0).dtype, y});
      })
      .decompose([](const Call& c) {
        infer_now(c);
        const bool whole = !c.attr(0).given();
        const Tensor x = whole ? flat(c.input(0)) : c.input(0);
        return Tensors{op<"index">({x, c.input(1)}, {Ints{whole ? 0 : c.attr(0).integer()}})};
      })
      .bounds(0, "exact")
      .example(">>> tg.take(tg.tensor([[1, 2], [3, 4]]), tg.tensor([3, -4])).tolist()\n[4, 1]");

  TG_OP(put)
      .amp(Amp::promote)
      .family("index")
      .doc(
          "A copy of x, seen flat in row-major order, with y[index] = values, or += with accumulate. "
          "Errors: IndexError for an index outside.")
      .input("x", "any tensor")
      .input("index", "integers of any shape")
      .input("values", "of the index's number of elements, or one number")
      .attr("accumulate", AttrKind::boolean, false, "add instead of setting")
      .infer([](const Inference& c) {
        check_index(c, 1);
        Dim n = 1, m = 1;
        for (Dim d : c.input(1).shape) n = n * d;
        for (Dim d : c.input(2).shape) m = m * d;
        c.check(c.input(2).shape.empty() || n == m, "expected ", n, " values, got shape ", str(c.input(2).shape));
        return one(c.input(0));
      })
      .decompose([](const Call& c) {
        infer_now(c);
        const Tensor& u = c.input(2);
        const Tensor y = update(c, flat(c.input(0)), flat(c.input(1)), u.rank() ? flat(u) : u, 0, c.attr(0).boolean());
        return Tensors{reshape(y, c.input(0).shape())};
      })
      .bounds(1, "terms added, relative to the sum of magnitudes")
      .example(">>> tg.put(tg.tensor([[1, 2], [3, 4]]), tg.tensor([3, 0]), tg.tensor([8, 9])).tolist()\n[[9, 2], [3, 8]]");
}

}  // namespace tg
