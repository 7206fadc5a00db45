// SPDX-License-Identifier: Apache-2.0
// Normalisation: batch, layer, group and root-mean-square. Statistics of 16-bit tensors are f32.
#include "common.h"

namespace tg {
namespace {

Tensor add(const Arg& a, const Arg& b) { return op<"add">({a, b}); }
Tensor sub(const Arg& a, const Arg& b) { return op<"sub">({a, b}); }
Tensor mul(const Arg& a, const Arg& b) { return op<"mul">({a, b}); }

void check_floats(const Inference& c, const TensorSpec& x) {
  check_type(is_floating(x.dtype), c.name(), "floats", x.dtype);
}
// Weight and bias: x's dtype, or that of the statistics.
void check_affine(const Inference& c, size_t i, const TensorSpec& x, const Shape& shape, const char* what) {
  if (!c.has(i)) return;
  c.check(c.input(i).shape == shape, "expected ", what, " of shape ", str(shape), ", got ", str(c.input(i).shape));
  check_type(c.input(i).dtype == x.dtype || c.input(i).dtype == acc_dtype(x.dtype), c.name(),
             (std::string("a ") + what + " of x's dtype " + long_name_of(x.dtype)).c_str(), c.input(i).dtype);
}

// How a normalisation lies in x: over which axes the statistics are taken, and how they and the weights line up with x.
struct Layout {
  Ints axes;         // of the statistics' mean
  Ints stat;         // shape of statistics, against x
  Ints affine;       // shape of weight and bias, against x
  Ints affine_axes;  // summed over for their gradients
  double count;
};
Layout channels(const Ints& x) {
  Layout l;
  l.axes = l.affine_axes = all_axes_but(int64_t(x.size()), 1);
  l.stat = Ints(x.size(), 1);
  l.stat[1] = x[1];
  l.affine = l.stat;
  l.count = double(count_along(x, l.axes));
  return l;
}
Layout inner(const Ints& x, int64_t n) {
  Layout l;
  const int64_t outer = int64_t(x.size()) - n;
  l.stat = Ints(x.size(), 1);
  for (int64_t i = 0; i < int64_t(x.size()); ++i) {
    if (i < outer)
      l.stat[i] = x[i], l.affine_axes.push_back(i);
    else
      l.axes.push_back(i), l.affine.push_back(x[i]);
  }
  l.count = double(count_along(x, l.axes));
  return l;
}

Tensor scaled(const Tensor& x, const Tensor& mean, const Tensor& var, const Tensor& weight, const Tensor& bias,
              const Layout& l, double eps) {
  const DType acc = x.dtype();
  Tensor y = mul(sub(x, reshape(mean.cast(acc), l.stat)), op<"rsqrt">({add(reshape(var.cast(acc), l.stat), eps)}));
  if (weight.defined()) y = mul(y, reshape(weight.cast(acc), l.affine));
  if (bias.defined()) y = add(y, reshape(bias.cast(acc), l.affine));
  return y;
}

// inputs: x, weight?, bias?; outputs: y, mean, var.
Tensors normalize(const Call& c, const Layout& l, const Ints& stat_shape, double eps) {
  const DType t = c.input(0).dtype(), acc = acc_dtype(t);
  const Tensor x = c.input(0).cast(acc);
  const Tensor mean = op<"mean">({x}, {l.axes, true});
  const Tensor var = op<"mean">({op<"square">({sub(x, mean)})}, {l.axes, true});
  const Tensor y = scaled(x, mean, var, c.has(1) ? c.input(1) : Tensor(), c.has(2) ? c.input(2) : Tensor(), l, eps);
  return {y.cast(t), reshape(mean, stat_shape), reshape(var, stat_shape)};
}

// inputs: dy, x, mean, var, weight?; outputs: dx?, dweight?, dbias?.
Tensors normalize_backward(const Call& c, const Layout& l, double eps) {
  const DType t = c.input(1).dtype(), acc = acc_dtype(t), tw = c.has(4) ? c.input(4).dtype() : acc;
  const Tensor dy = c.input(0).cast(acc), x = c.input(1).cast(acc);
  const Tensor rstd = op<"rsqrt">({add(reshape(c.input(3).cast(acc), l.stat), eps)});
  const Tensor xhat = mul(sub(x, reshape(c.input(2).cast(acc), l.stat)), rstd);
  Tensors out(3);
  Ints affine;  // without the axes of size 1 that line it up
  for (size_t i = 0; i < x.shape().size(); ++i)
    if (std::find(l.affine_axes.begin(), l.affine_axes.end(), int64_t(i)) == l.affine_axes.end())
      affine.push_back(x.shape()[i]);
  if (c.wants(1)) out[1] = reshape(sum(mul(dy, xhat), l.affine_axes, true), affine).cast(tw);
  if (c.wants(2)) out[2] = reshape(sum(dy, l.affine_axes, true), affine).cast(tw);
  if (c.wants(0)) {
    const Tensor g = c.has(4) ? mul(dy, reshape(c.input(4).cast(acc), l.affine)) : dy;
    const Tensor mean_g = op<"mean">({g}, {l.axes, true}), mean_gx = op<"mean">({mul(g, xhat)}, {l.axes, true});
    out[0] = mul(rstd, sub(sub(g, mean_g), mul(xhat, mean_gx))).cast(t);
  }
  return out;
}

// The gradient that reaches x through mean and var themselves.
Tensor through_statistics(const Backward& b, const Layout& l) {
  Tensor g;
  if (b.grad(1).defined()) g = expand(reshape(op<"div">({b.grad(1), l.count}), l.stat), b.input_shape(0));
  if (b.grad(2).defined()) {
    const Tensor centred = sub(b.input(0), reshape(b.output(1), l.stat));
    const Tensor v = mul(centred, reshape(mul(b.grad(2), 2 / l.count), l.stat));
    g = g.defined() ? add(g, v) : v;
  }
  return g;
}

Tensors forward_gradient(const Backward& b, const Op& backward, const Layout& l, std::span<const Attr> attrs) {
  Tensors out(3);
  if (b.grad(0).defined()) {
    const Arg in[] = {b.grad(0), b.input(0), b.output(1), b.output(2), b.has(1) ? b.arg(1) : Arg()};
    const Tensors d = call(backward, in, attrs, nullptr, b.needs & 7);
    for (size_t i = 0; i < 3; ++i)
      if (b.need(i)) out[i] = d[i];
  }
  if (b.need(0))
    if (const Tensor g = through_statistics(b, l); g.defined())
      out[0] = out[0].defined() ? add(out[0], g.cast(out[0].dtype())) : g;
  return out;
}

Specs infer_batch_norm(const Inference& c) {
  const TensorSpec& x = c.input(0);
  check_floats(c, x);
  c.check(x.shape.size() >= 2, "expected x of shape (N, C, ...), got ", str(x.shape));
  const Shape channel{x.shape[1]};
  check_affine(c, 1, x, channel, "weight");
  check_affine(c, 2, x, channel, "bias");
  const TensorSpec stat{acc_dtype(x.dtype), channel};
  return {x, stat, stat};
}
Shape outer_shape(const Shape& x, int64_t n) { return Shape(x.data(), x.size() - size_t(n)); }
Specs infer_layer_norm(const Inference& c) {
  const TensorSpec& x = c.input(0);
  const int64_t n = c.attr(0).integer(), rank = int64_t(x.shape.size());
  check_floats(c, x);
  c.check(n >= 1 && n <= rank, "expected between 1 and ", rank, " inner axes, got ", n);
  const Shape in(x.shape.data() + (rank - n), size_t(n));
  check_affine(c, 1, x, in, "weight");
  check_affine(c, 2, x, in, "bias");
  const TensorSpec stat{acc_dtype(x.dtype), outer_shape(x.shape, n)};
  return {x, stat, stat};
}
// dy, x, mean, var, weight?
Specs infer_backward(const Inference& c, const Shape& stat, const Shape& affine) {
  c.check(c.input(0).shape == c.input(1).shape, "expected dy of x's shape ", str(c.input(1).shape), ", got ",
          str(c.input(0).shape));
  for (size_t i = 2; i < 4; ++i)
    c.check(c.input(i).shape == stat, "expected statistics of shape ", str(stat), ", got ", str(c.input(i).shape));
  check_affine(c, 4, c.input(1), affine, "weight");
  const TensorSpec w{c.has(4) ? c.input(4).dtype : c.input(2).dtype, affine};
  return {c.input(1), w, w};
}

OpBuilder backward_of(OpBuilder o) {
  return o.kernel()
      .keeps_layout()
      .internal()
      .family("nn")
      .input("dy", "gradient of y")
      .input("x", "the forward op's")
      .input("mean", "its statistics")
      .input("var", "its statistics")
      .optional_input("weight", "the forward op's")
      .hidden_output("dx", "gradient of x")
      .hidden_output("dweight", "gradient of weight")
      .hidden_output("dbias", "gradient of bias");
}
constexpr const char* kWhy = "elements of a statistic, relative to |weight| (|x| + |mean|) rstd + |bias|";

}  // namespace

TG_OPS(norm) {
  TG_OP(batch_norm)
      .kernel()
      .keeps_layout()
      .family("nn")
      .doc(
          "(x - mean) / sqrt(var + eps) * weight + bias for every channel (axis 1), with the mean and the biased "
          "variance of this "
          "batch, which are returned, too. Errors: ValueError where sizes do not fit, TypeError for integers.")
      .input("x", "[N, C, ...]")
      .optional_input("weight", "[C]")
      .optional_input("bias", "[C]")
      .attr("eps", AttrKind::floating, 1e-5, "added to the variance")
      .output("y", "x's shape and dtype")
      .output("mean", "[C]; f32 for 16-bit x")
      .output("var", "[C], biased")
      .function_only()
      .infer(infer_batch_norm)
      .decompose([](const Call& c) {
        return normalize(c, channels(c.input(0).shape()), {c.input(0).size(1)}, c.attr(0).floating());
      })
      .grad([](const Backward& b) {
        return forward_gradient(b, op_named<"batch_norm_backward">(), channels(b.input_shape(0)), b.attrs);
      })
      .saves(3, 6)
      .bounds(8, kWhy)
      .example(">>> tg.batch_norm(tg.tensor([[1.], [3.]]), eps=0.0).y.tolist()\n[[-1.0], [1.0]]");

  backward_of(TG_OP(batch_norm_backward))
      .doc("The gradients of batch_norm.")
      .attr("eps", AttrKind::floating, "as batch_norm")
      .infer(
          [](const Inference& c) { return infer_backward(c, Shape{c.input(1).shape[1]}, Shape{c.input(1).shape[1]}); })
      .decompose(
          [](const Call& c) { return normalize_backward(c, channels(c.input(1).shape()), c.attr(0).floating()); })
      .bounds(16, kWhy);

  TG_OP(batch_norm_infer)
      .kernel()
      .keeps_layout()
      .family("nn")
      .doc(
          "(x - mean) / sqrt(var + eps) * weight + bias for every channel (axis 1), with given statistics. "
          "Errors: ValueError where sizes do not fit.")
      .input("x", "[N, C, ...]")
      .input("mean", "[C]")
      .input("var", "[C]")
      .optional_input("weight", "[C]")
      .optional_input("bias", "[C]")
      .attr("eps", AttrKind::floating, 1e-5, "added to the variance")
      .output("y", "x's shape and dtype")
      .function_only()
      .infer([](const Inference& c) {
        const TensorSpec& x = c.input(0);
        check_floats(c, x);
        c.check(x.shape.size() >= 2, "expected x of shape (N, C, ...), got ", str(x.shape));
        const char* const names[] = {"", "mean", "var", "weight", "bias"};
        for (size_t i = 1; i < 5; ++i) check_affine(c, i, x, Shape{x.shape[1]}, names[i]);
        return one(x);
      })
      .decompose([](const Call& c) {
        infer_now(c);
        const DType t = c.input(0).dtype();
        return Tensors{scaled(c.input(0).cast(acc_dtype(t)), c.input(1), c.input(2), c.has(3) ? c.input(3) : Tensor(),
                              c.has(4) ? c.input(4) : Tensor(), channels(c.input(0).shape()), c.attr(0).floating())
                           .cast(t)};
      })
      .bounds(8, "five roundings, relative to |weight| (|x| + |mean|) rstd + |bias|")
      .example(
          ">>> tg.batch_norm_infer(tg.tensor([[3.]]), tg.tensor([1.]), tg.tensor([4.]), eps=0.0).tolist()\n[[1.0]]");

  TG_OP(layer_norm).amp(Amp::f32)
      .kernel()
      .family("nn")
      .doc(
          "(x - mean) / sqrt(var + eps) * weight + bias over the last axes. Errors: ValueError where sizes do not fit, "
          "TypeError for integers.")
      .input("x", "[outer..., inner...]")
      .optional_input("weight", "[inner...]")
      .optional_input("bias", "[inner...]")
      .attr("inner_axes", AttrKind::integer, 1, "how many last axes are normalised over")
      .attr("eps", AttrKind::floating, 1e-5, "added to the variance")
      .output("y", "x's shape and dtype")
      .hidden_output("mean", "[outer...]; f32 for 16-bit x")
      .hidden_output("var", "[outer...], biased")
      .function_only()
      .infer(infer_layer_norm)
      .decompose([](const Call& c) {
        const Ints& s = c.input(0).shape();
        const int64_t n = c.attr(0).integer();
        return normalize(c, inner(s, n), Ints(s.data(), s.size() - size_t(n)), c.attr(1).floating());
      })
      .grad([](const Backward& b) {
        return forward_gradient(b, op_named<"layer_norm_backward">(), inner(b.input_shape(0), b.attr(0).integer()),
                                b.attrs);
      })
      .saves(3, 6)
      .bounds(8, kWhy)
      .example(">>> tg.layer_norm(tg.tensor([1., 3.]), eps=0.0).tolist()\n[-1.0, 1.0]");

  backward_of(TG_OP(layer_norm_backward))
      .doc("The gradients of layer_norm.")
      .attr("inner_axes", AttrKind::integer, "as layer_norm")
      .attr("eps", AttrKind::floating, "as layer_norm")
      .infer([](const Inference& c) {
        const Shape& x = c.input(1).shape;
        const int64_t n = c.attr(0).integer(), rank = int64_t(x.size());
        c.check(n >= 1 && n <= rank, "expected between 1 and ", rank, " inner axes, got ", n);
        return infer_backward(c, outer_shape(x, n), Shape(x.data() + (rank - n), size_t(n)));
      })
      .decompose([](const Call& c) {
        return normalize_backward(c, inner(c.input(1).shape(), c.attr(0).integer()), c.attr(1).floating());
      })
      .bounds(16, kWhy);

  TG_OP(group_norm).amp(Amp::f32)
      .family("nn")
      .doc(
          "layer_norm over each of `groups` groups of channels of every item, then * weight + bias per channel. "
          "Errors: ValueError unless groups divide the channels.")
      .input("x", "[N, C, ...]")
      .optional_input("weight", "[C]")
      .optional_input("bias", "[C]")
      .attr("groups", AttrKind::integer, "how many")
      .attr("eps", AttrKind::floating, 1e-5, "added to the variance")
      .function_only()
      .infer([](const Inference& c) {
        const TensorSpec& x = c.input(0);
        check_floats(c, x);
        const int64_t g = c.attr(0).integer();
        c.check(x.shape.size() >= 2, "expected x of shape (N, C, ...), got ", str(x.shape));
        c.check(g >= 1 && (!x.shape[1].is_constant() || x.shape[1].value() % g == 0),
                "expected groups that divide the ", x.shape[1], " channels, got ", g);
        check_affine(c, 1, x, Shape{x.shape[1]}, "weight");
        check_affine(c, 2, x, Shape{x.shape[1]}, "bias");
        return one(x);
      })
      .decompose([](const Call& c) {
        infer_now(c);
        const Tensor& x = c.input(0);
        const DType t = x.dtype(), acc = acc_dtype(t);
        const int64_t g = c.attr(0).integer(), per_item = x.size(0) ? x.numel() / x.size(0) : 0;
        if (!x.numel()) return Tensors{op<"copy">({x})};
        Tensor y = reshape(
            op<"layer_norm">({reshape(x.cast(acc), {x.size(0), g, per_item / g}), Arg(), Arg()}, {1, c.attr(1)}),
            x.shape());
        Ints line(x.shape().size() - 1, 1);
        line[0] = x.size(1);
        if (c.has(1)) y = mul(y, reshape(c.input(1).cast(acc), line));
        if (c.has(2)) y = add(y, reshape(c.input(2).cast(acc), line));
        return Tensors{y.cast(t)};
      })
      .bounds(8, kWhy)
      .example(">>> tg.group_norm(tg.tensor([[1., 3.]]), groups=1, eps=0.0).tolist()\n[[-1.0, 1.0]]");

  TG_OP(rms_norm).amp(Amp::f32)
      .family("nn")
      .doc("x / sqrt(mean(x^2) + eps) * weight over the last axes. Errors: ValueError where sizes do not fit.")
      .input("x", "[outer..., inner...]")
      .optional_input("weight", "[inner...]")
      .attr("inner_axes", AttrKind::integer, 1, "how many last axes are normalised over")
      .attr("eps", AttrKind::floating, 1e-6, "added to the mean square")
      .function_only()
      .infer([](const Inference& c) {
        const TensorSpec& x = c.input(0);
        const int64_t n = c.attr(0).integer(), rank = int64_t(x.shape.size());
        check_floats(c, x);
        c.check(n >= 1 && n <= rank, "expected between 1 and ", rank, " inner axes, got ", n);
        check_affine(c, 1, x, Shape(x.shape.data() + (rank - n), size_t(n)), "weight");
        return one(x);
      })
      .decompose([](const Call& c) {
        infer_now(c);
        const DType t = c.input(0).dtype(), acc = acc_dtype(t);
        const Tensor x = c.input(0).cast(acc);
        const Layout l = inner(x.shape(), c.attr(0).integer());
        Tensor y = mul(x, op<"rsqrt">({add(op<"mean">({op<"square">({x})}, {l.axes, true}), c.attr(1).floating())}));
        if (c.has(1)) y = mul(y, c.input(1).cast(acc));
        return Tensors{y.cast(t)};
      })
      .bounds(8, "inner elements, relative")
      .example(">>> tg.rms_norm(tg.tensor([3., 3.]), eps=0.0).tolist()\n[1.0, 1.0]");
}

}  // namespace tg
