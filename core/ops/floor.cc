// SPDX-License-Identifier: Apache-2.0
// The primitives that plugins must bring (kernel_api.h, section 5), with attributes in the ABI's order. They are not
// Python functions; the other ops decompose onto them. `map` is every elementwise op, and `copy` is a public op.
#include "common.h"

namespace tg {
namespace {

Shape off_axis(Shape s, int64_t axis) {
  s.erase(size_t(axis));
  return s;
}

Specs infer_matmul(const Inference& c) {
  const TensorSpec &a = c.input(0), &b = c.input(1);
  const size_t r = a.shape.size();
  c.check(r >= 2 && b.shape.size() == r, "expected operands of one rank of at least 2, got shapes ", str(a.shape),
          " and ", str(b.shape));
  Shape y = a.shape;
  for (size_t i = 0; i + 2 < r; ++i)
    c.check(a.shape[i] == b.shape[i], "expected equal batch sizes, got shapes ", str(a.shape), " and ", str(b.shape));
  c.check(a.shape[r - 1] == b.shape[r - 2], "expected equal inner sizes, got shapes ", str(a.shape), " and ",
          str(b.shape));
  check_type(a.dtype == b.dtype, c.name(), "operands of one dtype", b.dtype);
  y[r - 1] = b.shape[r - 1];
  return one({a.dtype, y});
}

// Along an axis, S[k] = sum over i >= k of g[i] x[k+1] ... x[i]: windows of doubled length, so that zeros need no care.
Tensor suffix_sums(Tensor g, const Tensor& x, int64_t axis) {
  const int64_t n = x.size(axis);
  const auto later = [&](const Tensor& t, int64_t by) {  // t[k + by], 0 beyond the end
    Ints rest = t.shape();
    rest[axis] = std::min(by, n);
    return op<"concat">({slice(t, axis, std::min(by, n), n), zeros(rest, t.dtype(), t.device())}, {axis});
  };
  Tensor window = later(x, 1);  // the product of x[k+1] ... x[k+d]
  for (int64_t d = 1; d < n; d *= 2) {
    g = op<"add">({g, op<"mul">({window, later(g, d)})});
    if (2 * d < n) window = op<"mul">({window, later(window, d)});
  }
  return g;
}

// A running product's gradient: what is before an element times suffix_sums.
Tensor running_product_gradient(const Tensor& g, const Tensor& x, int64_t axis, bool exclusive, bool reverse) {
  if (reverse) {
    const auto turned = [&](const Tensor& t) { return op<"flip">({t}, {Ints{axis}}); };
    return turned(running_product_gradient(turned(g), turned(x), axis, exclusive, false));
  }
  const Tensor before = op<"floor_scan">({x}, {TG_REDUCE_PROD, axis, true, false});
  if (!exclusive) return op<"mul">({before, suffix_sums(g, x, axis)});
  // y[i] leaves x[i] out: the sums begin one element later.
  const int64_t n = x.size(axis);
  Ints last = x.shape();
  last[axis] = std::min<int64_t>(n, 1);
  const Tensor end = zeros(last, g.dtype(), g.device());
  const Tensor next = op<"concat">({slice(g, axis, last[axis], n), end}, {axis});
  return op<"mul">({before, suffix_sums(next, x, axis)});
}

// The product of all other elements: of those before and those after it, the reduced axes in one.
Tensor prod_gradient(const Tensor& g, const Tensor& x, const Ints& axes) {
  Ints order, inverse(size_t(x.rank()), 0);
  for (int64_t i = 0, k = 0; i < x.rank(); ++i) {
    if (k < int64_t(axes.size()) && axes[k] == i)
      ++k;
    else
      order.push_back(i);
  }
  Ints flat;
  for (int64_t a : order) flat.push_back(x.size(a));
  flat.push_back(count_along(x.shape(), axes));
  for (int64_t a : axes) order.push_back(a);
  for (size_t i = 0; i < order.size(); ++i) inverse[order[i]] = int64_t(i);
  const Tensor moved = op<"permute">({x}, {order}), line = reshape(moved, flat);
  const int64_t last = line.rank() - 1;
  const Tensor before = op<"floor_scan">({line}, {TG_REDUCE_PROD, last, true, false});
  const Tensor after = op<"floor_scan">({line}, {TG_REDUCE_PROD, last, true, true});
  const Tensor others = reshape(op<"mul">({before, after}), moved.shape());
  return op<"mul">({g, op<"permute">({others}, {inverse})});
}

Tensors reduce_gradient(const Backward& b) {
  const Ints& axes = b.attr(1).ints();
  switch (b.attr(0).integer()) {
    case TG_REDUCE_SUM:
      return {expand(b.grad(), b.input_shape(0))};
    case TG_REDUCE_PROD:
      return {prod_gradient(b.grad(), b.input(0), axes)};
    case TG_REDUCE_MAX:
    case TG_REDUCE_MIN: {  // equals share
      const Tensor mask = op<"cast">({op<"eq">({b.input(0), b.output()})}, {b.input_dtype(0)});
      return {op<"mul">({op<"div">({b.grad(), sum(mask, axes, true)}), mask})};
    }
    default:
      return {Tensor()};
  }
}

Tensors scan_gradient(const Backward& b) {
  const int64_t axis = b.attr(1).integer();
  const bool exclusive = b.attr(2).boolean(), reverse = b.attr(3).boolean();
  if (b.attr(0).integer() == TG_REDUCE_SUM)
    return {op<"floor_scan">({b.grad()}, {TG_REDUCE_SUM, axis, exclusive, !reverse})};
  if (b.attr(0).integer() != TG_REDUCE_PROD)
    raise(ErrorKind::not_implemented, "[", b.op.name, "] a running maximum or minimum has no gradient yet");
  return {running_product_gradient(b.grad(), b.input(0), axis, exclusive, reverse)};
}

}  // namespace

TG_OPS(floor) {
  TG_OP(floor_fill)
      .floor()
      .kernel("fill")
      .family("floor")
      .doc("A tensor of one value.")
      .attr("shape", AttrKind::ints, "sizes")
      .attr("dtype", AttrKind::dtype, "element type")
      .run_attr("value", AttrKind::floating, 0.0, "the value, a float or an integer")
      .infer([](const Inference& c) { return one({c.attr(1).dtype(), symbolic(c.attr(0).ints())}); })
      .no_grad()
      .bounds(0, "exact");

  TG_OP(floor_iota)
      .floor()
      .kernel("iota")
      .family("floor")
      .doc("y[k] = start + k * step, rank 1.")
      .attr("n", AttrKind::integer, "length")
      .attr("dtype", AttrKind::dtype, "element type")
      .run_attr("start", AttrKind::floating, 0.0, "first value")
      .run_attr("step", AttrKind::floating, 1.0, "difference")
      .infer([](const Inference& c) {
        return one({c.attr(1).dtype(), Shape{c.attr(0).integer()}});
      })
      .no_grad()
      .bounds(1, "exact for integers; one rounding of start + k * step for floats");

  TG_OP(floor_random)
      .floor()
      .kernel("random")
      .family("floor")
      .doc("Philox4x32-10 words, u32.")
      .optional_input("state", "i64[2]: seed and offset, instead of the attributes")
      .attr("shape", AttrKind::ints, "sizes")
      .run_attr("seed", AttrKind::integer, 0, "key")
      .run_attr("offset", AttrKind::integer, 0, "first block of four words")
      .infer([](const Inference& c) { return one({DType::u32, symbolic(c.attr(0).ints())}); })
      .no_grad()
      .bounds(0, "exact");

  TG_OP(floor_reduce)
      .floor()
      .kernel("reduce")
      .family("floor")
      .doc("Reduces over axes, which stay with size 1.")
      .input("x", "any tensor")
      .attr("kind", AttrKind::integer, "TG_REDUCE_*")
      .attr("axes", AttrKind::ints, "normalised, ascending")
      .infer([](const Inference& c) {
        const int64_t kind = c.attr(0).integer();
        TensorSpec y = c.input(0);
        for (int64_t a : c.attr(1).ints()) y.shape[size_t(normalize_axis(c.name(), a, int64_t(y.shape.size())))] = 1;
        if (kind == TG_REDUCE_ARGMAX || kind == TG_REDUCE_ARGMIN) y.dtype = DType::i64;
        return one(y);
      })
      .grad(reduce_gradient)
      .jvp([](const Forward& f) {
        // Every element of x is a part of one element of y: the sum of its slopes times the tangents.
        const Ints& axes = f.attr(1).ints();
        if (f.attr(0).integer() == TG_REDUCE_SUM) return Tensors{op<"floor_reduce">({f.tangent(0)}, {TG_REDUCE_SUM, axes})};
        const Tensor &x = f.input(0), &y = f.output();
        if (f.attr(0).integer() == TG_REDUCE_PROD)
          return Tensors{sum(op<"mul">({prod_gradient(full(y.shape(), 1, y.dtype(), y.device()), x, axes), f.tangent(0)}), axes, true)};
        const Tensor mask = op<"cast">({op<"eq">({x, y})}, {x.dtype()});
        return Tensors{op<"div">({sum(op<"mul">({mask, f.tangent(0)}), axes, true), sum(mask, axes, true)})};
      })
      .batch_axes({"axes"})
      .bounds(1, "the number of elements summed, times eps of the accumulation dtype");

  TG_OP(floor_scan)
      .floor()
      .kernel("scan")
      .family("floor")
      .doc("Running sum, product, maximum or minimum.")
      .input("x", "any tensor")
      .attr("kind", AttrKind::integer, "TG_REDUCE_SUM, PROD, MAX or MIN")
      .attr("axis", AttrKind::integer, "normalised")
      .attr("exclusive", AttrKind::boolean, false, "without the element itself")
      .attr("reverse", AttrKind::boolean, false, "from the end")
      .infer(same_as_first)
      .grad(scan_gradient)
      .linear({{0}}, "kind")
      .batch_axes({"axis"})
      .bounds(1, "position along the axis times eps");

  TG_OP(floor_matmul)
      .floor()
      .kernel("matmul")
      .family("floor")
      .doc("Batched product of equal ranks and batch sizes; with beta = 1 it is added to the output.")
      .input("a", "[..., m, k]")
      .input("b", "[..., k, n]")
      .attr("beta", AttrKind::integer, 0, "0 or 1")
      .infer(infer_matmul)
      .grad([](const Backward& b) {
        return Tensors{when(b.need(0), [&] { return op<"floor_matmul">({b.grad(), transpose(b.input(1))}, {0}); }),
                       when(b.need(1), [&] { return op<"floor_matmul">({transpose(b.input(0)), b.grad()}, {0}); })};
      })
      .saves(3, 0)
      .linear({{0}, {1}})
      .batch_axes({})
      .bounds(1, "k times eps of the accumulation dtype");

  TG_OP(floor_gather)
      .floor()
      .kernel("gather")
      .family("floor")
      .doc("y[.., j, ..] = x[.., index[.., j, ..], ..].")
      .input("x", "any tensor")
      .input("index", "i32 or i64, x's sizes off the axis")
      .attr("axis", AttrKind::integer, "normalised")
      .infer([](const Inference& c) {
        const TensorSpec &x = c.input(0), &index = c.input(1);
        const int64_t axis = c.attr(0).integer();
        c.check(axis >= 0 && axis < int64_t(x.shape.size()), "expected an axis below ", x.shape.size(), ", got ", axis);
        c.check(x.shape.size() == index.shape.size() && off_axis(x.shape, axis) == off_axis(index.shape, axis),
                "expected an index with x's sizes off axis ", axis, ", got ", str(index.shape), " for x ",
                str(x.shape));
        return one({x.dtype, index.shape});
      })
      .grad([](const Backward& b) {
        const Tensor base = zeros(b.input_shape(0), b.input_dtype(0), b.grad().device());
        return Tensors{op<"scatter_add">({base, b.input(1), b.grad()}, {b.attr(0)})};
      })
      .saves(2, 0)
      .linear({{0}})
      .batch_axes({"axis"})
      .bounds(0, "exact");

  TG_OP(floor_scatter)
      .floor()
      .kernel("scatter")
      .family("floor")
      .doc("Updates its output: y[.., index[.., j, ..], ..] gets u[.., j, ..].")
      .input("index", "i32 or i64")
      .input("u", "index's shape")
      .attr("axis", AttrKind::integer, "normalised")
      .attr("kind", AttrKind::integer, "TG_SCATTER_*")
      .run_attr("size", AttrKind::integer, 0, "of y along the axis; for inference, kernels see it in y")
      .infer([](const Inference& c) {
        c.check(c.input(0).shape == c.input(1).shape, "expected u with the index's shape ", str(c.input(0).shape),
                ", got ", str(c.input(1).shape));
        TensorSpec y = c.input(1);
        y.shape[size_t(normalize_axis(c.name(), c.attr(0).integer(), int64_t(y.shape.size())))] = c.attr(2).integer();
        return one(y);
      })
      .no_grad()
      .bounds(1, "the number of terms times eps of the accumulation dtype");

  TG_OP(floor_sort)
      .floor()
      .kernel("sort")
      .family("floor")
      .doc("Stable sort along an axis; NaN last.")
      .input("x", "any tensor of rank 1 or more")
      .attr("axis", AttrKind::integer, "normalised")
      .attr("descending", AttrKind::boolean, false, "largest first")
      .output("values", "x's shape")
      .output("index", "i64: where each came from")
      .infer([](const Inference& c) {
        return Specs{c.input(0), {DType::i64, c.input(0).shape}};
      })
      .grad([](const Backward& b) {
        if (!b.grad(0).defined()) return Tensors{Tensor()};
        const Tensor base = zeros(b.input_shape(0), b.input_dtype(0), b.grad().device());
        return Tensors{op<"scatter">({base, b.output(1), b.grad()}, {b.attr(0)})};
      })
      .saves(0, 2)
      .jvp([](const Forward& f) {
        return Tensors{op<"floor_gather">({f.tangent(0), f.output(1)}, {f.attr(0)}), Tensor()};
      })
      .batch_axes({"axis"})
      .bounds(0, "exact");
}

}  // namespace tg
