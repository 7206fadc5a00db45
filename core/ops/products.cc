// SPDX-License-Identifier: Apache-2.0
// Products and sums over few axes: dot, inner, kron, cross, trace; differences, the trapezoidal rule, covariance.
#include "common.h"

namespace tg {
namespace {

DType promoted(const Inference& c) { return promote(c.input(0).dtype, c.input(1).dtype); }

void dot(OpBuilder o, const char* doc, const char* example, bool flattens) {
  o.family("linear algebra")
      .doc(doc)
      .input("x", flattens ? "any shape" : "[n]")
      .input("y", flattens ? "as many elements" : "[n]")
      .infer([flattens](const Inference& c) {
        const Shape &x = c.input(0).shape, &y = c.input(1).shape;
        if (!flattens) {
          c.check(x.size() == 1 && y.size() == 1, "expected two tensors of one axis, got shapes ", str(x), " and ",
                  str(y));
        }
        Dim m = 1, n = 1;
        for (const Dim& d : x) m = m * d;
        for (const Dim& d : y) n = n * d;
        c.check(m == n, "expected as many elements in both, got shapes ", str(x), " and ", str(y));
        check_type(promoted(c) != DType::boolean, c.name(), "numbers", promoted(c));
        return one({promoted(c), {}});
      })
      .decompose([flattens](const Call& c) {
        infer_now(c);
        const Tensor x = flattens && is_complex(c.input(0).dtype()) ? op<"conj">({c.input(0)}) : c.input(0);
        return Tensors{op<"matmul">({reshape(x, {x.numel()}), reshape(c.input(1), {c.input(1).numel()})})};
      })
      .bounds(1, "n, relative to the sum of |x y|")
      .example(example);
}

// x[.., i + 1, ..] - x[.., i, ..], n times; bools by xor.
Tensor differences(Tensor x, int64_t n, int64_t axis) {
  for (; n > 0 && x.size(axis) > 0; --n) {
    const int64_t m = x.size(axis);
    const Tensor a = slice(x, axis, 1, m), b = slice(x, axis, 0, m - 1);
    x = x.dtype() == DType::boolean ? op<"ne">({a, b}) : op<"sub">({a, b});
  }
  return x;
}

// Rows are variables: centred rows, products over n - correction.
Tensor as_rows(const Tensor& x) { return x.rank() < 2 ? reshape(x, {1, x.numel()}) : x; }
Tensor covariance(const Tensor& x, double correction) {
  const Tensor rows = as_rows(x);
  const Tensor centred = op<"sub">({rows, op<"mean">({rows}, {Ints{1}, true})});
  const double n = std::max(0.0, double(rows.size(1)) - correction);
  return op<"div">({op<"matmul">({centred, transpose(centred)}), n});
}
Specs infer_covariance(const Inference& c) {
  const Shape& x = c.input(0).shape;
  check_type(is_floating(c.input(0).dtype), c.name(), "floats (cast integers first)", c.input(0).dtype);
  c.check(x.size() <= 2, "expected [variables, observations] or [observations], got shape ", str(x));
  return one({c.input(0).dtype, x.size() == 2 ? Shape{x[0], x[0]} : Shape{}});
}

}  // namespace

TG_OPS(products) {
  dot(TG_OP(dot).amp(Amp::promote), "The sum of products of two vectors. Errors: ValueError for other shapes.",
      ">>> tg.dot(tg.tensor([1., 2.]), tg.tensor([3., 4.])).item()\n11.0", false);
  dot(TG_OP(vdot).amp(Amp::promote), "dot of both operands flattened, the first one conjugate. Errors: ValueError for different numbers of elements.",
      ">>> tg.vdot(tg.tensor([[1., 2.]]), tg.tensor([[3.], [4.]])).item()\n11.0", true);

  TG_OP(inner)
      .family("linear algebra")
      .doc(
          "Sums of products over the last axes: x's other axes, then y's. Errors: ValueError for last sizes that "
          "differ.")
      .input("x", "[..., k]")
      .input("y", "[..., k]")
      .infer([](const Inference& c) {
        const Shape &x = c.input(0).shape, &y = c.input(1).shape;
        check_type(promoted(c) != DType::boolean, c.name(), "numbers", promoted(c));
        if (x.empty() || y.empty()) return one({promoted(c), x.empty() ? y : x});
        c.check(x.back() == y.back(), "expected equal last sizes, got shapes ", str(x), " and ", str(y));
        Shape z(x.data(), x.size() - 1);
        for (size_t i = 0; i + 1 < y.size(); ++i) z.push_back(y[i]);
        return one({promoted(c), z});
      })
      .decompose([](const Call& c) {
        const Ints shape = concrete(infer_now(c)[0].shape);
        const Tensor &x = c.input(0), &y = c.input(1);
        if (x.rank() == 0 || y.rank() == 0) return Tensors{op<"mul">({x, y})};
        const int64_t k = x.size(-1);
        const auto rows = [](const Tensor& t) { return t.numel() / std::max<int64_t>(t.size(-1), 1); };
        if (k == 0) return Tensors{zeros(shape, promote(x.dtype(), y.dtype()), c.device)};
        return Tensors{reshape(op<"matmul">({reshape(x, {rows(x), k}), transpose(reshape(y, {rows(y), k}))}), shape)};
      })
      .bounds(1, "k, relative to the sums of |x y|")
      .example(">>> tg.inner(tg.tensor([[1., 2.], [0., 1.]]), tg.tensor([3., 4.])).tolist()\n[11.0, 4.0]");

  TG_OP(kron)
      .family("linear algebra")
      .doc("The Kronecker product: blocks x[i, j, ...] y. Missing leading axes count as 1.")
      .input("x", "any tensor")
      .input("y", "any tensor")
      .infer([](const Inference& c) {
        Shape x = c.input(0).shape, y = c.input(1).shape;
        while (x.size() < y.size()) x.insert(0, Dim(1));
        while (y.size() < x.size()) y.insert(0, Dim(1));
        for (size_t i = 0; i < x.size(); ++i) x[i] = x[i] * y[i];
        return one({promoted(c), x});
      })
      .decompose([](const Call& c) {
        const Ints shape = concrete(infer_now(c)[0].shape);
        Ints xs, ys;  // alternating: x's size, y's size
        for (int64_t i = 0, r = int64_t(shape.size()); i < r; ++i) {
          const int64_t a = i - (r - c.input(0).rank()), b = i - (r - c.input(1).rank());
          xs.push_back(a < 0 ? 1 : c.input(0).size(a)), xs.push_back(1);
          ys.push_back(1), ys.push_back(b < 0 ? 1 : c.input(1).size(b));
        }
        return Tensors{reshape(op<"mul">({reshape(c.input(0), xs), reshape(c.input(1), ys)}), shape)};
      })
      .bounds(0.5, "one rounding")
      .example(">>> tg.kron(tg.tensor([1, 2]), tg.tensor([1, 10])).tolist()\n[1, 10, 2, 20]");

  TG_OP(cross).amp(Amp::promote)
      .family("linear algebra")
      .doc(
          "The cross product of vectors of 3 along an axis; the others broadcast. Errors: ValueError for another size.")
      .input("x", "size 3 on the axis")
      .input("y", "size 3 on the axis")
      .attr("axis", AttrKind::integer, -1, "the axis, of the broadcast shape")
      .infer([](const Inference& c) {
        const Shape z = broadcast(c.name(), c.input(0).shape, c.input(1).shape);
        check_type(promoted(c) != DType::boolean, c.name(), "numbers", promoted(c));
        const int64_t from_end = normalize_axis(c.name(), c.attr(0).integer(), int64_t(z.size())) - int64_t(z.size());
        for (int i = 0; i < 2; ++i) {
          const Shape& s = c.input(i).shape;
          c.check(-from_end <= int64_t(s.size()) && s[size_t(int64_t(s.size()) + from_end)] == Dim(3),
                  "expected size 3 along axis ", c.attr(0).integer(), ", got shapes ", str(c.input(0).shape), " and ",
                  str(c.input(1).shape));
        }
        return one({promoted(c), z});
      })
      .decompose([](const Call& c) {
        const TensorSpec z = infer_now(c)[0];
        const Ints shape = concrete(z.shape);
        const int64_t axis = normalize_axis("cross", c.attr(0).integer(), int64_t(shape.size()));
        const Tensor x = expand(c.input(0).cast(acc_dtype(z.dtype)), shape),
                     y = expand(c.input(1), shape).cast(x.dtype());
        const auto from = [&](const Tensor& t, int64_t k) {  // components k, k + 1, k + 2 modulo 3
          return op<"concat">({slice(t, axis, k, 3), slice(t, axis, 0, k)}, {axis});
        };
        return Tensors{
            op<"sub">({op<"mul">({from(x, 1), from(y, 2)}), op<"mul">({from(x, 2), from(y, 1)})}).cast(z.dtype)};
      })
      .bounds(1.5, "three roundings, relative to the two products")
      .example(">>> tg.cross(tg.tensor([1, 0, 0]), tg.tensor([0, 1, 0])).tolist()\n[0, 0, 1]");

  TG_OP(trace)
      .family("linear algebra")
      .doc("The sum of a diagonal; dtypes as sum. Errors: ValueError for less than two axes.")
      .input("x", "at least two axes")
      .attr("offset", AttrKind::integer, 0, "above the main diagonal")
      .attr("axis1", AttrKind::integer, 0, "rows")
      .attr("axis2", AttrKind::integer, 1, "columns")
      .infer([](const Inference& c) {
        const Shape& x = c.input(0).shape;
        c.check(x.size() >= 2, "expected a tensor of at least 2 axes, got shape ", str(x));
        const int64_t r = int64_t(x.size()), a = normalize_axis(c.name(), c.attr(1).integer(), r),
                      b = normalize_axis(c.name(), c.attr(2).integer(), r);
        c.check(a != b, "expected two distinct axes, got ", c.attr(1).integer(), " and ", c.attr(2).integer());
        return one({sum_dtype(c), reduced_shape(x, Ints{std::min(a, b), std::max(a, b)}, false)});
      })
      .decompose([](const Call& c) {
        infer_now(c);
        return Tensors{op<"sum">({op<"diagonal">({c.input(0)}, {c.attr(0), c.attr(1), c.attr(2)})}, {Ints{-1}})};
      })
      .bounds(1, "elements summed, relative to the sum of magnitudes")
      .example(">>> tg.trace(tg.tensor([[1, 2], [3, 4]])).item()\n5");

  TG_OP(diff)
      .family("scan")
      .doc(
          "Differences x[i + 1] - x[i] along an axis, n times; of bools: whether they differ. Errors: ValueError for n "
          "below 0.")
      .input("x", "a tensor of at least one axis")
      .attr("n", AttrKind::integer, 1, "how many times")
      .attr("axis", AttrKind::integer, -1, "the axis")
      .infer([](const Inference& c) {
        const int64_t n = c.attr(0).integer();
        c.check(n >= 0, "expected n of 0 or more, got ", n);
        TensorSpec y = c.input(0);
        Dim& size = y.shape[size_t(normalize_axis(c.name(), c.attr(1).integer(), int64_t(y.shape.size())))];
        size = size.is_constant() ? Dim(std::max<int64_t>(size.value() - n, 0)) : size - n;
        return one(y);
      })
      .decompose([](const Call& c) {
        infer_now(c);
        const Tensor& x = c.input(0);
        if (c.attr(0).integer() == 0) return Tensors{op<"copy">({x})};
        const int64_t axis = normalize_axis("diff", c.attr(1).integer(), x.rank());
        return Tensors{differences(x.cast(acc_dtype(x.dtype())), c.attr(0).integer(), axis).cast(x.dtype())};
      })
      .bounds(1, "n roundings, relative to the sum of binomial multiples of the magnitudes")
      .example(">>> tg.diff(tg.tensor([1, 4, 9])).tolist()\n[3, 5]");

  TG_OP(trapezoid)
      .family("reduction")
      .doc(
          "The integral of y along an axis by the trapezoidal rule. Errors: ValueError for an x of another size, "
          "TypeError for integers.")
      .input("y", "floats of at least one axis")
      .optional_input("x", "the places: [n], or y's shape")
      .attr("dx", AttrKind::floating, 1.0, "the distance of places without x")
      .attr("axis", AttrKind::integer, -1, "the axis")
      .infer([](const Inference& c) {
        check_type(is_floating(c.input(0).dtype), c.name(), "floats (cast integers first)", c.input(0).dtype);
        const Shape& y = c.input(0).shape;
        const int64_t axis = normalize_axis(c.name(), c.attr(1).integer(), int64_t(y.size()));
        DType t = c.input(0).dtype;
        if (c.has(1)) {
          const Shape& x = c.input(1).shape;
          bool fits = x.size() == y.size() ? x[size_t(axis)] == y[size_t(axis)] : x.size() == 1 && x[0] == y[size_t(axis)];
          for (size_t i = 0; fits && x.size() == y.size() && i < y.size(); ++i) fits = x[i] == y[i] || x[i] == Dim(1);
          c.check(fits, "expected x of shape (", y[size_t(axis)], ",) or ", str(y), " (or of size 1 on other axes), got ", str(x));
          t = promote(t, c.input(1).dtype);
        }
        return one({t, reduced_shape(y, Ints{axis}, false)});
      })
      .decompose([](const Call& c) {
        const DType t = infer_now(c)[0].dtype;
        const int64_t axis = normalize_axis("trapezoid", c.attr(1).integer(), c.input(0).rank());
        const Tensor y = c.input(0).cast(acc_dtype(t));
        const int64_t n = y.size(axis);
        const Tensor pairs =
            op<"add">({slice(y, axis, std::min<int64_t>(n, 1), n), slice(y, axis, 0, std::max<int64_t>(n - 1, 0))});
        if (!c.has(1))
          return Tensors{op<"mul">({op<"sum">({pairs}, {Ints{axis}, false}), 0.5 * c.attr(0).floating()}).cast(t)};
        Tensor width = differences(c.input(1).cast(y.dtype()), 1, c.input(1).rank() == 1 ? 0 : axis);
        if (c.input(1).rank() == 1) {
          Ints line(size_t(y.rank()), 1);
          line[axis] = std::max<int64_t>(n - 1, 0);
          width = reshape(width, line);
        }
        return Tensors{op<"mul">({op<"sum">({op<"mul">({pairs, width})}, {Ints{axis}, false}), 0.5}).cast(t)};
      })
      .bounds(1, "elements summed plus three, relative to the sum of magnitudes")
      .example(">>> tg.trapezoid(tg.tensor([1., 2., 4.])).item()\n4.5");

  TG_OP(cov)
      .family("reduction")
      .doc(
          "The covariance matrix; rows are variables. A vector is one variable, and gives its variance. Errors: "
          "TypeError for integers.")
      .input("x", "[variables, observations] or [observations]")
      .attr("correction", AttrKind::floating, 1.0, "1: unbiased; 0: of the population")
      .infer(infer_covariance)
      .decompose([](const Call& c) {
        const Ints shape = concrete(infer_now(c)[0].shape);
        const DType t = c.input(0).dtype();
        return Tensors{reshape(covariance(c.input(0).cast(acc_dtype(t)), c.attr(0).floating()), shape).cast(t)};
      })
      .bounds(4, "observations summed twice, relative to the root of the product of the mean squares")
      .example(">>> tg.cov(tg.tensor([[1., 3.], [2., 0.]])).tolist()\n[[2.0, -2.0], [-2.0, 2.0]]");
  // w = fweights aweights; sum w (x - mean) (x - mean)^T over sum w - correction sum w aweights / sum w.
  TG_OP(weighted_cov)
      .function_only()
      .family("reduction")
      .doc("cov with weights of the observations. Errors: TypeError for integers, ValueError for weights of another shape.")
      .input("x", "[variables, observations] or [observations]")
      .optional_input("fweights", "integers [observations]: how often each one counts")
      .optional_input("aweights", "[observations]: how much each one counts")
      .attr("correction", AttrKind::floating, 1.0, "1: unbiased; 0: of the population")
      .infer([](const Inference& c) {
        const Specs y = infer_covariance(c);
        const Shape& x = c.input(0).shape;
        const Dim n = x.empty() ? Dim(1) : x.back();
        for (size_t i : {1, 2}) {
          if (!c.has(i)) continue;
          const Shape& w = c.input(i).shape;
          c.check((w.size() == 1 && w[0] == n) || (x.empty() && w.empty()), "expected weights of shape (", n, ",), got ", str(w));
        }
        if (c.has(1)) check_type(is_integer(c.input(1).dtype), c.name(), "integers as fweights", c.input(1).dtype);
        if (c.has(2)) check_type(is_floating(c.input(2).dtype), c.name(), "floats as aweights", c.input(2).dtype);
        return y;
      })
      .decompose([](const Call& c) {
        const Ints shape = concrete(infer_now(c)[0].shape);
        const DType t = c.input(0).dtype(), w = acc_dtype(t);
        const Tensor x = as_rows(c.input(0).cast(w)), one = full({x.size(1)}, 1, w, c.device);
        const Tensor a = c.has(2) ? reshape(c.input(2).cast(w), {x.size(1)}) : one;
        const Tensor weights = c.has(1) ? op<"mul">({reshape(c.input(1).cast(w), {x.size(1)}), a}) : a;
        const Tensor total = op<"sum">({weights});
        const Tensor mean = op<"div">({op<"sum">({op<"mul">({x, weights})}, {Ints{1}, true}), total});
        const Tensor centred = op<"sub">({x, mean});
        const double correction = c.attr(0).floating();
        const Tensor lost = c.has(2) && correction != 0 ? op<"div">({op<"sum">({op<"mul">({weights, a})}), total}) : full({}, 1, w, c.device);
        const Tensor n = op<"maximum">({op<"sub">({total, op<"mul">({lost, correction})}), 0.0});
        return Tensors{reshape(op<"div">({op<"matmul">({op<"mul">({centred, weights}), transpose(centred)}), n}), shape).cast(t)};
      })
      .bounds(8, "observations summed three times, relative to the root of the product of the mean squares")
      .example(">>> tg.weighted_cov(tg.tensor([1., 4.]), tg.tensor([2, 1])).item()\n3.0");
  TG_OP(corrcoef)
      .family("reduction")
      .doc(
          "Correlation coefficients: cov over the standard deviations, within [-1, 1]. Errors: TypeError for integers.")
      .input("x", "[variables, observations] or [observations]")
      .infer(infer_covariance)
      .decompose([](const Call& c) {
        const Ints shape = concrete(infer_now(c)[0].shape);
        const DType t = c.input(0).dtype();
        const Tensor v = covariance(c.input(0).cast(acc_dtype(t)), 1);
        const Tensor d = op<"sqrt">({op<"diagonal">({v}, {0, 0, 1})}), n = op<"unsqueeze">({d}, {Ints{1}});
        return Tensors{reshape(op<"clip">({op<"div">({op<"div">({v, n}), d}), -1.0, 1.0}), shape).cast(t)};
      })
      .bounds(8, "as cov, and the deviations")
      .example(">>> tg.corrcoef(tg.tensor([[1., 3., 2.], [2., 4., 3.]])).round().tolist()\n[[1.0, 1.0], [1.0, 1.0]]");
}

}  // namespace tg
