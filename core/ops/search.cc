// SPDX-License-Identifier: Apache-2.0
// Places in sorted sequences, counts of bins, membership.
#include "common.h"

namespace tg {
namespace {

// After NaN-last order: a is before b.
Tensor before(const Tensor& a, const Tensor& b, bool or_equal) {
  const Tensor less = or_equal ? op<"le">({a, b}) : op<"lt">({a, b});
  if (!is_floating(a.dtype())) return less;
  const Tensor nan = op<"isnan">({b});
  if (or_equal) return op<"logical_or">({less, nan});
  return op<"logical_or">({less, op<"logical_and">({nan, op<"logical_not">({op<"isnan">({a})})})});
}

// Bisection: of each value, how many of its row's elements are before it. log2(n) + 1 gathers and comparisons.
Tensor places(const Tensor& sorted, const Tensor& values, bool right) {
  const int64_t axis = sorted.rank() - 1, n = sorted.size(axis);
  const DType t = promote(sorted.dtype(), values.dtype());
  const Tensor rows = sorted.cast(t), v = values.cast(t);
  Tensor low = zeros(v.shape(), DType::i64, v.device());
  if (n == 0 || v.numel() == 0) return low;
  Tensor high = op<"add">({low, n});
  for (int64_t left = n; left > 0; left /= 2) {
    const Tensor middle = op<"floor_divide">({op<"add">({low, high}), 2});
    const Tensor open = op<"lt">({low, high});
    const Tensor here = op<"take_along_axis">({rows, op<"minimum">({middle, n - 1})}, {axis});
    const Tensor go = op<"logical_and">({open, before(here, v, right)});
    low = op<"where">({go, op<"add">({middle, 1}), low});
    high = op<"where">({op<"logical_and">({open, op<"logical_not">({go})}), middle, high});
  }
  return low;
}

Tensors decompose_places(const Tensor& sorted, const Tensor& values, bool right) {
  if (sorted.rank() > 1) return {places(sorted, values, right)};
  return {reshape(places(sorted, reshape(values, {values.numel()}), right), values.shape())};
}

Tensor ones(int64_t n, DType t, Device* device) { return full({n}, 1, t, device); }

// Counts (or sums of weights) by place among `bins`; places outside [0, bins) do not count.
Tensor counted(const Tensor& place, const Tensor& weights, int64_t bins) {
  const Tensor inside = op<"logical_and">({op<"ge">({place, 0}), op<"lt">({place, bins})});
  const Tensor at = op<"where">({inside, place, bins});
  return slice(op<"scatter_add">({zeros({bins + 1}, weights.dtype(), weights.device()), at, weights}, {0}), 0, 0, bins);
}

}  // namespace

TG_OPS(search) {
  TG_OP(searchsorted)
      .family("order")
      .doc(
          "Where each value would enter a sorted sequence, as i64: sorted[i - 1] < value <= sorted[i], on side right "
          "sorted[i - 1] <= value < sorted[i]. NaN comes last. Errors: ValueError for another side and for shapes that "
          "differ off "
          "the last axis.")
      .input("sorted", "ascending along the last axis: [n], or of as many axes as the values")
      .input("values", "any tensor")
      .attr("side", AttrKind::string, "left", "left or right")
      .attr("right", AttrKind::boolean, false, "as side='right'")
      .output("index", "i64, the values' shape")
      .infer([](const Inference& c) {
        const Shape &s = c.input(0).shape, &v = c.input(1).shape;
        const std::string& side = c.attr(0).string();
        c.check(side == "left" || side == "right", "expected side left or right, got '", side, "'");
        c.check(!s.empty(), "expected a sorted sequence of at least one axis, got shape ()");
        if (s.size() > 1) {
          bool same = s.size() == v.size();
          for (size_t i = 0; same && i + 1 < s.size(); ++i) same = s[i] == v[i];
          c.check(same, "expected values with the sequence's sizes off the last axis, got shapes ", str(s), " and ",
                  str(v));
        }
        return one({DType::i64, v});
      })
      .decompose([](const Call& c) {
        infer_now(c);
        return decompose_places(c.input(0), c.input(1), c.attr(1).boolean() || c.attr(0).string() == "right");
      })
      .no_grad()
      .bounds(0, "exact")
      .example(">>> tg.searchsorted(tg.tensor([1, 3, 5]), tg.tensor([3, 4])).tolist()\n[1, 2]");

  TG_OP(bucketize)
      .family("order")
      .doc(
          "The bucket of each value, as i64: boundaries[i - 1] < value <= boundaries[i], with right boundaries[i - 1] "
          "<= value "
          "< boundaries[i]. Errors: ValueError for boundaries of more than one axis.")
      .input("values", "any tensor")
      .input("boundaries", "ascending, [n]")
      .attr("right", AttrKind::boolean, false, "which end belongs to a bucket")
      .output("index", "i64, the values' shape")
      .infer([](const Inference& c) {
        c.check(c.input(1).shape.size() == 1, "expected boundaries of one axis, got shape ", str(c.input(1).shape));
        return one({DType::i64, c.input(0).shape});
      })
      .decompose([](const Call& c) {
        infer_now(c);
        return decompose_places(c.input(1), c.input(0), c.attr(0).boolean());
      })
      .no_grad()
      .bounds(0, "exact")
      .example(">>> tg.bucketize(tg.tensor([3, 4]), tg.tensor([1, 3, 5])).tolist()\n[1, 2]");

  TG_OP(isin)
      .family("order")
      .doc("Whether each element is among the test elements; NaN is among none.")
      .input("elements", "any tensor")
      .input("test_elements", "any tensor")
      .attr("invert", AttrKind::boolean, false, "whether it is not among them")
      .output("y", "bool, the elements' shape")
      .infer([](const Inference& c) {
        return one({DType::boolean, c.input(0).shape});
      })
      .decompose([](const Call& c) {
        const DType t = promote(c.input(0).dtype(), c.input(1).dtype());
        const int64_t n = c.input(1).numel();
        if (n == 0) return Tensors{full(c.input(0).shape(), c.attr(0).boolean(), DType::boolean, c.device)};
        const Tensor x = reshape(c.input(0).cast(t), {c.input(0).numel()});
        const Tensor sorted = ops<"floor_sort">({reshape(c.input(1).cast(t), {n})}, {0, false})[0];
        const Tensor at = op<"minimum">({places(sorted, x, false), n - 1});
        const Tensor there = op<"take_along_axis">({sorted, at}, {0});
        const Tensor y = c.attr(0).boolean() ? op<"ne">({there, x}) : op<"eq">({there, x});
        return Tensors{reshape(y, c.input(0).shape())};
      })
      .no_grad()
      .bounds(0, "exact")
      .example(">>> tg.isin(tg.tensor([1, 2, 3]), tg.tensor([3, 1])).tolist()\n[True, False, True]");

  TG_OP(histogram)
      .family("reduction")
      .doc(
          "How many elements lie in each of equally wide bins, and the bins' edges. A bin takes its lower edge, the "
          "last one its "
          "upper one, too; what lies outside (and NaN) does not count. low = high = 0: from the smallest to the "
          "largest element. "
          "Errors: ValueError for no bins and for high < low, TypeError for integers.")
      .input("x", "floats of any shape")
      .attr("bins", AttrKind::integer, 10, "how many")
      .attr("low", AttrKind::floating, 0.0, "the first edge")
      .attr("high", AttrKind::floating, 0.0, "the last edge")
      .output("counts", "[bins], x's dtype")
      .output("edges", "[bins + 1], x's dtype")
      .infer([](const Inference& c) {
        const int64_t bins = c.attr(0).integer();
        const double low = c.attr(1).floating(), high = c.attr(2).floating();
        check_type(is_floating(c.input(0).dtype), c.name(), "floats (cast integers first)", c.input(0).dtype);
        c.check(bins > 0, "expected at least one bin, got ", bins);
        c.check(std::isfinite(low) && std::isfinite(high) && low <= high, "expected finite low <= high, got ", low,
                " and ", high);
        return Specs{{c.input(0).dtype, Shape{bins}}, {c.input(0).dtype, Shape{bins + 1}}};
      })
      .decompose([](const Call& c) {
        infer_now(c);
        const int64_t bins = c.attr(0).integer();
        const DType t = c.input(0).dtype();
        const Tensor x = reshape(c.input(0), {c.input(0).numel()}).cast(acc_dtype(t));
        const double lower = c.attr(1).floating(), upper = c.attr(2).floating();
        const bool given = lower != 0 || upper != 0 || x.numel() == 0;
        Tensor low = full({}, given ? lower : 0, x.dtype(), c.device);
        Tensor high = full({}, given ? (upper == lower ? upper + 1 : upper) : 0, x.dtype(), c.device);
        if (!given) {
          low = op<"min">({x}), high = op<"max">({x});
        }
        if (!given && !low.impl()->transformed) {
          const double from = low.item(), to = high.item();
          check(std::isfinite(from) && std::isfinite(to), "[", c.op.name, "] expected finite elements, got them from ", from, " to ", to, "; give the range to leave others out");
        }
        const Tensor wide = op<"where">({op<"eq">({low, high}), op<"add">({high, 0.5}), high});
        const Tensor start = op<"where">({op<"eq">({low, high}), op<"sub">({low, 0.5}), low});
        const Tensor steps = op<"div">({iota(bins + 1, 0, 1, x.dtype(), c.device), double(bins)});
        const Tensor edges = op<"lerp">({start, wide, steps});
        const Tensor last = op<"where">({op<"eq">({steps, 1.0}), wide, edges});  // exactly
        return Tensors{op<"histogram_in">({x, last}).cast(t), last.cast(t)};
      })
      .no_grad()
      .bounds(4, "lerp's three roundings of the edges, relative to the largest; the counts are exact")
      .example(
          ">>> [v.tolist() for v in tg.histogram(tg.tensor([0., 0.5, 1., 1.]), 2)]\n[[1.0, 3.0], [0.0, 0.5, 1.0]]");

  TG_OP(histogram_in)
      .amp(Amp::promote)
      .function_only()
      .family("reduction")
      .doc("How many elements lie between neighbouring edges, or the sums of their weights. A bin takes its lower edge, the last "
           "one its upper one, too; what lies outside (and NaN) does not count.")
      .input("x", "floats of any shape")
      .input("edges", "[n + 1], ascending, x's dtype")
      .optional_input("weight", "x's shape and dtype")
      .output("counts", "[n], x's dtype")
      .infer([](const Inference& c) {
        const Shape& edges = c.input(1).shape;
        for (size_t i : {0, 1, 2}) {
          if (!c.has(i)) continue;
          check_type(is_floating(c.input(i).dtype), c.name(), "floats (cast integers first)", c.input(i).dtype);
          check_type(c.input(i).dtype == c.input(0).dtype, c.name(), "operands of one dtype", c.input(i).dtype);
        }
        c.check(edges.size() == 1 && !(edges[0] == Dim(0)), "expected edges of one axis, at least one, got shape ", str(edges));
        if (c.has(2))
          c.check(c.input(2).shape == c.input(0).shape, "expected weights of x's shape ", str(c.input(0).shape), ", got ",
                  str(c.input(2).shape));
        return one({c.input(0).dtype, Shape{edges[0] - Dim(1)}});
      })
      .decompose([](const Call& c) {
        infer_now(c);
        const DType t = c.input(0).dtype(), w = acc_dtype(t);
        const Tensor edges = c.input(1).cast(w);
        const int64_t bins = edges.numel() - 1, n = c.input(0).numel();
        const Tensor x = reshape(c.input(0), {n}).cast(w), top = slice(edges, 0, bins, bins + 1);
        const Tensor place = op<"sub">({places(edges, x, true), op<"eq">({x, top}).cast(DType::i64)});
        const Tensor weights = c.has(2) ? reshape(c.input(2), {n}).cast(w) : ones(n, DType::i64, c.device);
        return Tensors{counted(op<"sub">({place, 1}), weights, bins).cast(t)};
      })
      .no_grad()
      .bounds(1, "weights added, relative to the sum of magnitudes; counts are exact")
      .example(">>> tg.histogram_in(tg.tensor([0., 1., 2., 5.]), tg.tensor([0., 1., 2.])).tolist()\n[1.0, 2.0]");

  TG_OP(histc)
      .family("reduction")
      .doc("histogram's counts. Errors: as histogram.")
      .input("x", "floats of any shape")
      .attr("bins", AttrKind::integer, 100, "how many")
      .attr("min", AttrKind::floating, 0.0, "the first edge")
      .attr("max", AttrKind::floating, 0.0, "the last edge")
      .output("counts", "[bins], x's dtype")
      .infer([](const Inference& c) {
        check_type(is_floating(c.input(0).dtype), c.name(), "floats (cast integers first)", c.input(0).dtype);
        c.check(c.attr(0).integer() > 0, "expected at least one bin, got ", c.attr(0).integer());
        c.check(c.attr(1).floating() <= c.attr(2).floating(), "expected min <= max, got ", c.attr(1).floating(),
                " and ", c.attr(2).floating());
        return one({c.input(0).dtype, Shape{c.attr(0).integer()}});
      })
      .decompose([](const Call& c) {
        infer_now(c);
        return Tensors{ops<"histogram">({c.input(0)}, {c.attr(0), c.attr(1), c.attr(2)})[0]};
      })
      .no_grad()
      .bounds(0, "exact")
      .example(">>> tg.histc(tg.tensor([0., 0.5, 1., 1.]), 2).tolist()\n[1.0, 3.0]");

  TG_OP(bincount_of)
      .internal()
      .family("reduction")
      .doc("bincount with as many counts as said.")
      .input("x", "integers [n]")
      .optional_input("weights", "[n]")
      .attr("size", AttrKind::integer, "how many counts")
      .infer([](const Inference& c) {
        check_type(is_integer(c.input(0).dtype), "bincount", "integers", c.input(0).dtype);
        c.check(c.input(0).shape.size() == 1, "expected one axis, got shape ", str(c.input(0).shape));
        c.check(!c.has(1) || c.input(1).shape == c.input(0).shape, "expected weights of x's shape ",
                str(c.input(0).shape));
        return one({c.has(1) ? c.input(1).dtype : DType::i64, Shape{c.attr(0).integer()}});
      })
      .decompose([](const Call& c) {
        infer_now(c);
        const Tensor weights = c.has(1) ? c.input(1) : ones(c.input(0).numel(), DType::i64, c.device);
        return Tensors{counted(c.input(0).cast(DType::i64), weights, c.attr(0).integer())};
      })
      .bounds(1, "terms added, relative to the sum of magnitudes");
}

}  // namespace tg
