// SPDX-License-Identifier: Apache-2.0
// Tensors from nothing: filled, counted, triangular.
#include "common.h"

namespace tg {
namespace {

Specs from_shape(const Inference& c) {
  for (int64_t d : c.attr(0).ints()) c.check(d >= 0, "expected sizes of 0 or more, got shape ", str(c.attr(0).ints()));
  return one({c.attrs.back().dtype(), symbolic(c.attr(0).ints())});
}

// As from_shape, for an op whose attribute 1 is a value of that dtype.
Specs from_value(const Inference& c) {
  check_value(c, c.attr(1), c.attrs.back().dtype());
  return from_shape(c);
}

bool whole(const Attr& a) { return !std::holds_alternative<double>(a.value()); }

// arange's length: ceil((stop - start) / step).
int64_t arange_length(const Inference& c) {
  const Attr &start = c.attr(0), &stop = c.attr(1), &step = c.attr(2);
  c.check(step.floating() != 0, "expected a step other than 0, got ", step.floating());
  if (whole(start) && whole(stop) && whole(step)) {
    const bool up = step.integer() > 0;
    const int64_t from = up ? start.integer() : stop.integer(), to = up ? stop.integer() : start.integer();
    if (from >= to) return 0;
    const uint64_t span = uint64_t(to) - uint64_t(from), d = up ? uint64_t(step.integer()) : -uint64_t(step.integer());
    const uint64_t n = (span - 1) / d + 1;
    c.check(n <= uint64_t(INT64_MAX), "expected fewer than 2^63 numbers, got ", n);
    return int64_t(n);
  }
  const double n = std::ceil((stop.floating() - start.floating()) / step.floating());
  c.check(n < 9e18, "expected a finite range, got ", start.floating(), " to ", stop.floating());
  return std::max<int64_t>(0, int64_t(n));
}

Specs infer_arange(const Inference& c) {
  const bool integers = whole(c.attr(0)) && whole(c.attr(1)) && whole(c.attr(2));
  const DType t = c.attr(3).given() ? c.attr(3).dtype() : integers ? DType::i64 : default_float();
  check_type(t != DType::boolean, c.name(), "a numeric dtype", t);
  const int64_t n = arange_length(c);
  if (integers && n > 0) {
    const int64_t first = c.attr(0).integer(), last = int64_t(uint64_t(first) + uint64_t(n - 1) * uint64_t(c.attr(2).integer()));
    check_fits(c.name(), first, t);
    check_fits(c.name(), last, t);
  }
  return one({t, Shape{n}});
}

// True where the column lies left of (lower) or right of the diagonal, the diagonal itself included.
Tensor triangle(int64_t m, int64_t n, int64_t diagonal, bool lower, Device* device) {
  const Tensor rows = reshape(iota(m, double(diagonal), 1, DType::i64, device), {m, 1});
  const Tensor columns = iota(n, 0, 1, DType::i64, device);
  return lower ? op<"le">({columns, rows}) : op<"ge">({columns, rows});
}

template <bool lower>
Tensors keep_triangle(const Call& c) {
  infer_now(c);
  const Tensor& x = c.input(0);
  const Tensor kept = triangle(x.size(-2), x.size(-1), c.attr(0).integer(), lower, x.device());
  if (x.dtype() == DType::boolean) return {op<"logical_and">({kept, x})};  // where would make integers of bools and 0
  return {op<"where">({kept, x, 0})};
}

Specs matrices(const Inference& c) {
  c.check(c.input(0).shape.size() >= 2, "expected a tensor of at least 2 axes, got shape ", str(c.input(0).shape));
  return one(c.input(0));
}

template <int value>
Tensors filled_like(const Call& c) {
  return {op<"floor_fill">({}, {c.input(0).shape(), infer_now(c)[0].dtype, value}, c.device)};
}

Specs like(const Inference& c) {
  TensorSpec y = c.input(0);
  if (c.attrs.back().given()) y.dtype = c.attrs.back().dtype();
  return one(y);
}

}  // namespace

TG_OPS(create) {
  TG_OP(empty)
      .internal()
      .family("creation")
      .doc("An uninitialised tensor.")
      .attr("shape", AttrKind::ints, "sizes")
      .attr("dtype", AttrKind::dtype, DType::f32, "element type")
      .output("y", "the tensor")
      .infer(from_shape)
      .decompose([](const Call& c) { return Tensors{Tensor::empty(c.attr(0).ints(), c.attr(1).dtype(), c.device)}; })
      .no_grad();

  TG_OP(full)
      .family("creation")
      .doc("A tensor of the given shape filled with one value. Errors: ValueError for a negative size, OverflowError for an "
           "integer that the dtype does not hold.")
      .attr("shape", AttrKind::ints, "sizes")
      .attr("value", AttrKind::floating, "the value")
      .attr("dtype", AttrKind::dtype, DType::f32, "element type")
      .output("y", "the tensor")
      .infer(from_value)
      .decompose([](const Call& c) {
        infer_now(c);
        return Tensors{op<"floor_fill">({}, {c.attr(0), c.attr(2), c.attr(1)}, c.device)};
      })
      .no_grad()
      .function_only()
      .bounds(0, "exact")
      .example(">>> tg.full((2, 2), 7.0).tolist()\n[[7.0, 7.0], [7.0, 7.0]]");

  TG_OP(full_like)
      .family("creation")
      .doc("A tensor of x's shape, dtype and device filled with one value.")
      .input("x", "any tensor")
      .attr("value", AttrKind::floating, "the value")
      .optional_attr("dtype", AttrKind::dtype, "element type; x's by default")
      .infer([](const Inference& c) {
        const Specs y = like(c);
        check_value(c, c.attr(0), y[0].dtype);
        return y;
      })
      .decompose([](const Call& c) {
        return Tensors{op<"floor_fill">({}, {c.input(0).shape(), infer_now(c)[0].dtype, c.attr(0)}, c.device)};
      })
      .no_grad()
      .bounds(0, "exact")
      .example(">>> tg.full_like(tg.tensor([1, 2]), 5).tolist()\n[5, 5]");

  TG_OP(zeros_like)
      .family("creation")
      .doc("Zeros of x's shape, dtype and device.")
      .input("x", "any tensor")
      .optional_attr("dtype", AttrKind::dtype, "element type; x's by default")
      .infer(like)
      .decompose(filled_like<0>)
      .no_grad()
      .bounds(0, "exact")
      .example(">>> tg.zeros_like(tg.tensor([1., 2.])).tolist()\n[0.0, 0.0]");
  TG_OP(ones_like)
      .family("creation")
      .doc("Ones of x's shape, dtype and device.")
      .input("x", "any tensor")
      .optional_attr("dtype", AttrKind::dtype, "element type; x's by default")
      .infer(like)
      .decompose(filled_like<1>)
      .no_grad()
      .bounds(0, "exact")
      .example(">>> tg.ones_like(tg.tensor([1., 2.])).tolist()\n[1.0, 1.0]");

  TG_OP(arange)
      .family("creation")
      .doc(
          "start, start + step, ... below stop (above it for a negative step), rank 1. i64 for integer arguments, else "
          "f32. "
          "Errors: ValueError for step 0.")
      .attr("start", AttrKind::floating, "first value")
      .attr("stop", AttrKind::floating, "end, not included")
      .attr("step", AttrKind::floating, 1, "difference")
      .optional_attr("dtype", AttrKind::dtype, "element type")
      .output("y", "[n]")
      .infer(infer_arange)
      .decompose([](const Call& c) {
        const TensorSpec y = infer_now(c)[0];
        return Tensors{op<"floor_iota">({}, {y.shape[0].value(), y.dtype, c.attr(0), c.attr(2)}, c.device)};
      })
      .no_grad()
      .function_only()
      .bounds(2, "one rounding of the product and one of the sum")
      .example(">>> tg.arange(0, 6, 2).tolist()\n[0, 2, 4]");

  TG_OP(linspace)
      .family("creation")
      .doc("n evenly spaced values from start to stop, both included, rank 1.")
      .attr("start", AttrKind::floating, "first value")
      .attr("stop", AttrKind::floating, "last value")
      .attr("n", AttrKind::integer, "how many")
      .attr("dtype", AttrKind::dtype, DType::f32, "a floating dtype")
      .output("y", "[n]")
      .infer([](const Inference& c) {
        c.check(c.attr(2).integer() >= 0, "expected n of 0 or more, got ", c.attr(2).integer());
        check_type(is_floating(c.attr(3).dtype()), c.name(), "a floating dtype", c.attr(3).dtype());
        return one({c.attr(3).dtype(), Shape{c.attr(2).integer()}});
      })
      .decompose([](const Call& c) {
        infer_now(c);
        const int64_t n = c.attr(2).integer();
        const double a = c.attr(0).floating(), z = c.attr(1).floating();
        const DType t = acc_dtype(c.attr(3).dtype());
        // a*(1-w) + z*w: both ends are exact.
        const Tensor w = op<"div">({iota(n, 0, 1, t, c.device), double(std::max<int64_t>(n - 1, 1))});
        const Tensor y = op<"add">({op<"mul">({op<"sub">({1.0, w}), a}), op<"mul">({w, z})});
        return Tensors{y.cast(c.attr(3).dtype())};
      })
      .no_grad()
      .function_only()
      .bounds(4, "four roundings, relative to max(|start|, |stop|)")
      .example(">>> tg.linspace(0., 1., 5).tolist()\n[0.0, 0.25, 0.5, 0.75, 1.0]");

  TG_OP(eye)
      .family("creation")
      .doc("The n by m identity: ones on the k-th diagonal.")
      .attr("n", AttrKind::integer, "rows")
      .optional_attr("m", AttrKind::integer, "columns; n by default")
      .attr("k", AttrKind::integer, 0, "0 main, 1 above it, -1 below")
      .attr("dtype", AttrKind::dtype, DType::f32, "element type")
      .output("y", "[n, m]")
      .infer([](const Inference& c) {
        const int64_t n = c.attr(0).integer(), m = c.attr(1).given() ? c.attr(1).integer() : n;
        c.check(n >= 0 && m >= 0, "expected sizes of 0 or more, got ", n, " and ", m);
        return one({c.attr(3).dtype(), Shape{n, m}});
      })
      .decompose([](const Call& c) {
        const Ints shape = concrete(infer_now(c)[0].shape);
        const Tensor rows =
            reshape(iota(shape[0], double(c.attr(2).integer()), 1, DType::i64, c.device), {shape[0], 1});
        return Tensors{op<"eq">({rows, iota(shape[1], 0, 1, DType::i64, c.device)}).cast(c.attr(3).dtype())};
      })
      .no_grad()
      .function_only()
      .bounds(0, "exact")
      .example(">>> tg.eye(2).tolist()\n[[1.0, 0.0], [0.0, 1.0]]");

  TG_OP(tril)
      .family("creation")
      .doc("The lower triangle of the last two axes, zeros above it.")
      .input("x", "[..., m, n]")
      .attr("k", AttrKind::integer, 0, "the diagonal that is kept last")
      .infer(matrices)
      .decompose(keep_triangle<true>)
      .bounds(0, "exact")
      .example(">>> tg.tril(tg.full((2, 2), 1.0)).tolist()\n[[1.0, 0.0], [1.0, 1.0]]");
  TG_OP(triu)
      .family("creation")
      .doc("The upper triangle of the last two axes, zeros below it.")
      .input("x", "[..., m, n]")
      .attr("k", AttrKind::integer, 0, "the diagonal that is kept first")
      .infer(matrices)
      .decompose(keep_triangle<false>)
      .bounds(0, "exact")
      .example(">>> tg.triu(tg.full((2, 2), 1.0)).tolist()\n[[1.0, 1.0], [0.0, 1.0]]");
}

}  // namespace tg
