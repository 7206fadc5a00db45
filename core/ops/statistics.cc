// SPDX-License-Identifier: Apache-2.0
// Order statistics and reductions that leave NaN out: quantile, median, mode, nansum, nanmean, extrema with their
// places.
#include "common.h"

namespace tg {
namespace {

Ints axes_of(const Inference& c, size_t at) {
  return normalize_axes(c.name(), c.attr(at).ints(), int64_t(c.input(0).shape.size()));
}
Ints axes_of(const Call& c, size_t at) {
  return normalize_axes(c.op.name.c_str(), c.attr(at).ints(), c.input(0).rank());
}
void check_floats(const Inference& c) {
  check_type(is_floating(c.input(0).dtype), c.name(), "floats (cast integers first)", c.input(0).dtype);
}
void nonempty(const Inference& c, const Ints& axes) {
  for (int64_t a : axes)
    c.check(!(c.input(0).shape[size_t(a)] == Dim(0)), "expected at least one element along axis ", a, ", got shape ",
            str(c.input(0).shape));
}

// The axes moved behind the others and joined: [..., n].
Tensor joined(const Tensor& x, const Ints& axes) {
  Ints order, shape;
  size_t k = 0;
  for (int64_t i = 0; i < x.rank(); ++i) {
    if (k < axes.size() && axes[k] == i)
      ++k;
    else
      order.push_back(i), shape.push_back(x.size(i));
  }
  for (int64_t a : axes) order.push_back(a);
  shape.push_back(count_along(x.shape(), axes));
  return reshape(op<"permute">({x}, {order}), shape);
}

// ---- quantiles -----------------------------------------------------------------------------------------------------

std::vector<double> fractions(const Attr& q) {
  if (const auto* v = std::get_if<std::vector<double>>(&q.value())) return *v;
  return {q.floating()};
}
bool is_list(const Attr& q) { return std::holds_alternative<std::vector<double>>(q.value()); }

void check_interpolation(const Inference& c, const std::string& how) {
  c.check(how == "linear" || how == "lower" || how == "higher" || how == "midpoint" || how == "nearest",
          "expected interpolation linear, lower, higher, midpoint or nearest, got '", how, "'");
}
Specs infer_quantile(const Inference& c) {
  check_floats(c);
  const Ints axes = axes_of(c, 1);
  nonempty(c, axes);
  for (double q : fractions(c.attr(0))) c.check(q >= 0 && q <= 1, "expected q between 0 and 1, got ", q);
  check_interpolation(c, c.attr(3).string());
  Shape y = reduced_shape(c.input(0).shape, axes, c.attr(2).boolean());
  if (is_list(c.attr(0))) y.insert(0, Dim(int64_t(fractions(c.attr(0)).size())));
  return one({c.input(0).dtype, y});
}

template <bool skip>
Tensors decompose_quantile(const Call& c) {
  infer_now(c);
  const std::vector<double> q = fractions(c.attr(0));
  const Ints shape = is_list(c.attr(0)) ? Ints{int64_t(q.size())} : Ints{};
  const Tensor at = Tensor::from_host(q.data(), shape, DType::f64, c.input(0).device());
  return {op<"quantile_at">({c.input(0), at}, {c.attr(1), c.attr(2), c.attr(3), skip})};
}

// Sorted elements at q (count - 1), between two of them by the rule. NaN sorts last, so that the count leaves it out; a
// row without numbers gives NaN, and without skip a row with any NaN does.
Tensors decompose_quantile_at(const Call& c) {
  const Ints shape = concrete(infer_now(c)[0].shape);
  const DType t = c.input(0).dtype();
  const std::string& how = c.attr(2).string();
  const bool skip = c.attr(3).boolean();
  const Tensor line = joined(c.input(0), axes_of(c, 0));
  const int64_t axis = line.rank() - 1, n = line.size(axis), m = c.input(1).numel();
  const Tensor sorted = ops<"floor_sort">({line}, {axis, false})[0];
  const Tensor count = op<"floor_reduce">({op<"logical_not">({op<"isnan">({line})}).cast(DType::i64)}, {TG_REDUCE_SUM, Ints{axis}});
  const Tensor last = op<"maximum">({op<"sub">({count, 1}), 0}).cast(DType::f64);
  const Tensor place = op<"mul">({last, reshape(c.input(1), {m}).cast(DType::f64)});
  const Tensor below = op<"floor">({place}), above = op<"ceil">({place});
  const auto at = [&](const Tensor& i) {
    return op<"take_along_axis">({sorted, op<"clip">({i, 0.0, double(n - 1)}).cast(DType::i64)}, {axis});
  };
  Tensor y;
  if (how == "lower" || how == "higher" || how == "nearest") {
    y = at(how == "lower" ? below : how == "higher" ? above : op<"round">({place}));
  } else {
    const Tensor low = at(below).cast(acc_dtype(t)), high = at(above).cast(acc_dtype(t));
    const Tensor weight = op<"sub">({place, below}).cast(low.dtype());
    const Tensor mixed = how == "linear" ? op<"lerp">({low, high, weight}) : op<"lerp">({low, high, 0.5});
    y = op<"where">({op<"eq">({low, high}), low, mixed}).cast(t);  // equal infinities, too
  }
  y = op<"where">({skip ? op<"gt">({count, 0}) : op<"eq">({count, n}), y, NAN});
  return {reshape(c.input(1).rank() ? op<"movedim">({y}, {Ints{-1}, Ints{0}}) : y, shape)};
}

template <bool skip>
void quantile(OpBuilder o, const char* doc, const char* example) {
  o.family("reduction")
      .doc(doc)
      .input("x", "floats")
      .attr("q", AttrKind::floats, "a number between 0 and 1, or a list of them, which makes a new first axis")
      .attr("axis", AttrKind::ints, Ints{}, "one axis or several; all by default")
      .attr("keepdims", AttrKind::boolean, false, "leave the axes with size 1")
      .attr("interpolation", AttrKind::string, "linear",
            "between two elements: linear, lower, higher, midpoint or nearest")
      .infer(infer_quantile)
      .decompose(decompose_quantile<skip>)
      .bounds(8, "the weight's rounding and lerp's three, relative to the two elements' magnitudes")
      .example(example);
}

template <bool skip>
void median(OpBuilder o, const char* doc, const char* example) {
  o.family("reduction")
      .doc(doc)
      .input("x", "floats")
      .attr("axis", AttrKind::ints, Ints{}, "one axis or several; all by default")
      .attr("keepdims", AttrKind::boolean, false, "leave the axes with size 1")
      .infer([](const Inference& c) {
        check_floats(c);
        const Ints axes = axes_of(c, 0);
        nonempty(c, axes);
        return one({c.input(0).dtype, reduced_shape(c.input(0).shape, axes, c.attr(1).boolean())});
      })
      .decompose([](const Call& c) {
        infer_now(c);
        return Tensors{skip ? op<"nanquantile">({c.input(0)}, {0.5, c.attr(0), c.attr(1), "midpoint"})
                            : op<"quantile">({c.input(0)}, {0.5, c.attr(0), c.attr(1), "midpoint"})};
      })
      .bounds(4, "lerp's three roundings")
      .example(example);
}

// ---- without NaN
// -----------------------------------------------------------------------------------------------------

OpBuilder reduction(OpBuilder o) {
  return o.family("reduction")
      .input("x", "a tensor")
      .attr("axis", AttrKind::ints, Ints{}, "one axis or several; all by default")
      .attr("keepdims", AttrKind::boolean, false, "leave the axes with size 1");
}
Tensor filled(const Tensor& x) { return is_floating(x.dtype()) ? op<"where">({op<"isnan">({x}), 0.0, x}) : x; }

// ---- extrema with places
// ------------------------------------------------------------------------------------------------

OpBuilder along_one(OpBuilder o, const Attr& axis) {
  return o.family("reduction")
      .input("x", "a tensor of at least one axis")
      .attr("axis", AttrKind::integer, axis, "the axis")
      .attr("keepdims", AttrKind::boolean, false, "leave the axis with size 1")
      .output("values", "x's dtype")
      .output("indices", "i64")
      .infer([](const Inference& c) {
        const Ints axes{normalize_axis(c.name(), c.attr(0).integer(), int64_t(c.input(0).shape.size()))};
        nonempty(c, axes);
        const Shape y = reduced_shape(c.input(0).shape, axes, c.attr(1).boolean());
        return Specs{{c.input(0).dtype, y}, {DType::i64, y}};
      });
}

template <int kind>
void with_indices(OpBuilder o, const char* doc, const char* example) {
  along_one(o, Attr())
      .doc(doc)
      .decompose([](const Call& c) {
        const Ints shape = concrete(infer_now(c)[0].shape);
        const int64_t axis = normalize_axis(c.op.name.c_str(), c.attr(0).integer(), c.input(0).rank());
        const Tensor at = op<"floor_reduce">({c.input(0)}, {kind, Ints{axis}});
        return Tensors{reshape(op<"take_along_axis">({c.input(0), at}, {axis}), shape), reshape(at, shape)};
      })
      .bounds(0, "exact")
      .example(example);
}

}  // namespace

TG_OPS(statistics) {
  quantile<false>(TG_OP(quantile),
                  "The element, or the mix of two, below which a share q of the sorted elements lies; NaN if any is. "
                  "Errors: ValueError "
                  "for q outside [0, 1] and over no elements, TypeError for integers.",
                  ">>> tg.quantile(tg.tensor([1., 2., 3., 5.]), 0.5).item()\n2.5");
  quantile<true>(TG_OP(nanquantile),
                 "quantile of the elements that are not NaN; NaN where there is none. Errors: as quantile.",
                 ">>> tg.nanquantile(tg.tensor([1., float('nan'), 3.]), [0.0, 1.0]).tolist()\n[1.0, 3.0]");
  TG_OP(quantile_at)
      .function_only()
      .family("reduction")
      .doc(
          "quantile and nanquantile of fractions in a tensor, differentiable in both; nothing checks that they lie in [0, 1]. "
          "Errors: as quantile.")
      .input("x", "floats")
      .input("q", "floats, a number or [m]")
      .attr("axis", AttrKind::ints, Ints{}, "one axis or several; all by default")
      .attr("keepdims", AttrKind::boolean, false, "leave the axes with size 1")
      .attr("interpolation", AttrKind::string, "linear", "as quantile's")
      .attr("skip", AttrKind::boolean, false, "without NaN")
      .infer([](const Inference& c) {
        check_floats(c);
        const Shape& q = c.input(1).shape;
        check_type(is_floating(c.input(1).dtype), c.name(), "floats as q", c.input(1).dtype);
        c.check(q.size() <= 1, "expected q of at most one axis, got shape ", str(q));
        check_interpolation(c, c.attr(2).string());
        const Ints axes = axes_of(c, 0);
        nonempty(c, axes);
        Shape y = reduced_shape(c.input(0).shape, axes, c.attr(1).boolean());
        if (!q.empty()) y.insert(0, q[0]);
        return one({c.input(0).dtype, y});
      })
      .decompose(decompose_quantile_at)
      .bounds(8, "the weight's rounding and lerp's three, relative to the two elements' magnitudes")
      .example(">>> tg.quantile_at(tg.tensor([1., 2., 4.]), tg.tensor([0.5, 0.75])).tolist()\n[2.0, 3.0]");
  median<false>(
      TG_OP(median),
      "The middle element, or the mean of the two middle ones; NaN if any is. (PyTorch gives the lower of two: that is "
      "quantile(x, 0.5, interpolation='lower').) Errors: ValueError over no elements, TypeError for integers.",
      ">>> tg.median(tg.tensor([1., 2., 3., 5.])).item()\n2.5");
  median<true>(TG_OP(nanmedian), "median of the elements that are not NaN; NaN where there is none. Errors: as median.",
               ">>> tg.nanmedian(tg.tensor([1., float('nan'), 3.])).item()\n2.0");

  reduction(TG_OP(nansum))
      .doc("sum with NaN counting as 0; dtypes as sum.")
      .infer([](const Inference& c) {
        return one({sum_dtype(c), reduced_shape(c.input(0).shape, axes_of(c, 0), c.attr(1).boolean())});
      })
      .decompose([](const Call& c) {
        infer_now(c);
        return Tensors{op<"sum">({filled(c.input(0))}, {c.attr(0), c.attr(1)})};
      })
      .bounds(1, "elements summed, relative to the sum of magnitudes")
      .example(">>> tg.nansum(tg.tensor([1., float('nan'), 3.])).item()\n4.0");
  reduction(TG_OP(nanmean))
      .doc("The mean of the elements that are not NaN; NaN where there is none. Errors: TypeError for integers.")
      .infer([](const Inference& c) {
        check_floats(c);
        return one({c.input(0).dtype, reduced_shape(c.input(0).shape, axes_of(c, 0), c.attr(1).boolean())});
      })
      .decompose([](const Call& c) {
        infer_now(c);
        const DType t = c.input(0).dtype(), acc = acc_dtype(t);
        const Tensor x = c.input(0).cast(acc), there = op<"logical_not">({op<"isnan">({x})}).cast(acc);
        return Tensors{
            op<"div">({op<"sum">({filled(x)}, {c.attr(0), c.attr(1)}), op<"sum">({there}, {c.attr(0), c.attr(1)})})
                .cast(t)};
      })
      .bounds(1, "elements summed plus one, relative to the mean of magnitudes")
      .example(">>> tg.nanmean(tg.tensor([1., float('nan'), 3.])).item()\n2.0");

  with_indices<TG_REDUCE_ARGMAX>(
      TG_OP(max_with_indices),
      "The largest element along an axis and where it is: the first of equals, which has all of the gradient. "
      "PyTorch's "
      "max(x, dim). Errors: ValueError over no elements.",
      ">>> [v.tolist() for v in tg.max_with_indices(tg.tensor([[1, 5], [4, 3]]), axis=1)]\n[[5, 4], [1, 0]]");
  with_indices<TG_REDUCE_ARGMIN>(
      TG_OP(min_with_indices),
      "The smallest element along an axis and where it is: the first of equals, which has all of the gradient. "
      "PyTorch's "
      "min(x, dim). Errors: ValueError over no elements.",
      ">>> [v.tolist() for v in tg.min_with_indices(tg.tensor([[1, 5], [4, 3]]), axis=1)]\n[[1, 3], [0, 1]]");

  reduction(TG_OP(aminmax))
      .doc("The smallest and the largest element over axes, as min and max. Errors: ValueError over no elements.")
      .output("min", "x's dtype")
      .output("max", "x's dtype")
      .infer([](const Inference& c) {
        const Ints axes = axes_of(c, 0);
        nonempty(c, axes);
        const TensorSpec y{c.input(0).dtype, reduced_shape(c.input(0).shape, axes, c.attr(1).boolean())};
        return Specs{y, y};
      })
      .decompose([](const Call& c) {
        infer_now(c);
        return Tensors{op<"min">({c.input(0)}, {c.attr(0), c.attr(1)}),
                       op<"max">({c.input(0)}, {c.attr(0), c.attr(1)})};
      })
      .bounds(0, "exact")
      .example(">>> [v.item() for v in tg.aminmax(tg.tensor([3, 1, 2]))]\n[1, 3]");

  // Sorted, the place of each run's start is a running maximum; the longest run is the first with the most behind its
  // start.
  along_one(TG_OP(mode), -1)
      .doc(
          "The most frequent element along an axis, the smallest of several, and its last place. Errors: ValueError "
          "over no elements.")
      .decompose([](const Call& c) {
        const Ints shape = concrete(infer_now(c)[0].shape);
        const int64_t axis = normalize_axis("mode", c.attr(0).integer(), c.input(0).rank());
        const int64_t n = c.input(0).size(axis);
        const Tensors sorted = ops<"floor_sort">({c.input(0)}, {axis, false});
        Ints line(shape.size() + !c.attr(1).boolean(), 1);
        line[axis] = n;
        const Tensor places = expand(reshape(iota(n, 0, 1, DType::i64, c.device), line), c.input(0).shape());
        const Tensor changed = op<"ne">({slice(sorted[0], axis, 1, n), slice(sorted[0], axis, 0, n - 1)});
        const Tensor starts = op<"where">({changed, slice(places, axis, 1, n), 0});
        const Tensor begin = op<"concat">({slice(places, axis, 0, 1), starts}, {axis});
        const Tensor run = op<"sub">({places, op<"floor_scan">({begin}, {TG_REDUCE_MAX, axis, false, false})});
        const Tensor best = op<"floor_reduce">({run}, {TG_REDUCE_ARGMAX, Ints{axis}});
        const Tensor at = op<"take_along_axis">({sorted[1], best}, {axis});
        return Tensors{reshape(op<"take_along_axis">({c.input(0), at}, {axis}), shape), reshape(at, shape)};
      })
      .bounds(0, "exact")
      .example(">>> [v.item() for v in tg.mode(tg.tensor([1, 2, 2, 3, 3]))]\n[2, 2]");
}

}  // namespace tg
