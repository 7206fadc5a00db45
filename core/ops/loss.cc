// SPDX-License-Identifier: Apache-2.0
// Losses. `reduction` is "mean", "sum" or "none"; they are computed in f32 for 16-bit floats and follow PyTorch's
// definitions.
#include "common.h"

namespace tg {
namespace {

Tensor mul(const Arg& a, const Arg& b) { return op<"mul">({a, b}); }
Tensor sub(const Arg& a, const Arg& b) { return op<"sub">({a, b}); }
Tensor add(const Arg& a, const Arg& b) { return op<"add">({a, b}); }
Tensor where(const Tensor& m, const Arg& a, const Arg& b) { return op<"where">({m, a, b}); }

constexpr const char* kReductionDoc = "\"mean\", \"sum\" or \"none\"";

void check_reduction(const Inference& c, const Attr& a) {
  const std::string& r = a.string();
  c.check(r == "mean" || r == "sum" || r == "none", "expected reduction to be \"mean\", \"sum\" or \"none\", got \"", r,
          "\"");
}
Tensor reduce(const Tensor& loss, const std::string& reduction) {
  if (reduction == "none") return loss;
  return reduction == "mean" ? op<"mean">({loss}, {Ints{}, false}) : op<"sum">({loss}, {Ints{}, false});
}

// ---- differences between x and a target of its shape ----

Specs infer_pair(const Inference& c) {
  check_reduction(c, c.attr(0));
  check_type(is_floating(c.input(0).dtype), c.name(), "floats", c.input(0).dtype);
  c.check(c.input(0).shape == c.input(1).shape, "expected a target of x's shape ", str(c.input(0).shape), ", got ",
          str(c.input(1).shape));
  return one({c.input(0).dtype, c.attr(0).string() == "none" ? c.input(0).shape : Shape{}});
}
template <class F>
void pair_loss(OpBuilder o, F elementwise) {
  o.infer(infer_pair).decompose([elementwise](const Call& c) {
    infer_now(c);
    const DType t = c.input(0).dtype(), acc = acc_dtype(t);
    return Tensors{reduce(elementwise(c, c.input(0).cast(acc), c.input(1).cast(acc)), c.attr(0).string()).cast(t)};
  });
}
OpBuilder loss(OpBuilder o, const char* x, const char* target) {
  return o.family("loss")
      .input("x", x)
      .input("target", target)
      .attr("reduction", AttrKind::string, "mean", kReductionDoc)
      .function_only()
      .bounds(16, "elements reduced, relative to the mean (sum) of magnitudes");
}

// ---- classes ----

struct Classes {
  Shape outer;  // logits without the class axis
  int64_t axis;
};
Classes check_classes(const Inference& c) {
  const Shape &x = c.input(0).shape, &target = c.input(1).shape;
  c.check(!x.empty(), "expected logits of shape (N, C, ...) or (C,), got ()");
  check_type(is_floating(c.input(0).dtype), c.name(), "floats", c.input(0).dtype);
  check_type(is_index(c.input(1).dtype), c.name(), "integer class indices", c.input(1).dtype);
  Classes k{x, x.size() == 1 ? 0 : 1};
  const Dim n = x[size_t(k.axis)];
  k.outer.erase(size_t(k.axis));
  c.check(target == k.outer, "expected targets of shape ", str(k.outer), " for logits ", str(x), ", got ", str(target));
  c.check(!c.has(2) || c.input(2).shape == Shape{n}, "expected a weight for each of ", n, " classes, got shape ",
          str(c.has(2) ? c.input(2).shape : Shape{}));
  check_reduction(c, c.attr(0));
  return k;
}
Specs infer_classes(const Inference& c) {
  const Classes k = check_classes(c);
  if (c.attrs.size() > 2)
    c.check(c.attr(2).floating() >= 0 && c.attr(2).floating() <= 1, "expected label_smoothing between 0 and 1, got ",
            c.attr(2).floating());
  return one({c.input(0).dtype, c.attr(0).string() == "none" ? k.outer : Shape{}});
}

// The loss of log-probabilities, with a share `smoothing` spread over all classes.
Tensor class_loss(const Call& c, const Tensor& log_p, double smoothing) {
  const int64_t axis = log_p.rank() == 1 ? 0 : 1;
  const Tensor target = c.input(1).cast(DType::i64);
  const Tensor counts = op<"ne">({target, c.attr(1).integer()});
  // A negative index would count from the end: it is made one past the last class, which is out of range.
  const Tensor safe = where(counts, where(op<"lt">({target, 0}), log_p.size(axis), target), 0);
  const Tensor w = c.has(2) ? c.input(2).cast(log_p.dtype()) : Tensor();
  const Tensor picked =
      op<"squeeze">({op<"take_along_axis">({log_p, op<"unsqueeze">({safe}, {Ints{axis}})}, {axis})}, {Ints{axis}});
  const Tensor weight =
      when(w.defined(), [&] { return reshape(op<"index_select">({w, reshape(safe, {safe.numel()})}, {0}), safe.shape()); });
  Tensor each = op<"neg">({w.defined() ? mul(picked, weight) : picked});
  if (smoothing > 0) {
    Ints line(size_t(log_p.rank() - axis), 1);
    line[0] = log_p.size(axis);
    const Tensor all = sum(w.defined() ? mul(log_p, reshape(w, line)) : log_p, {axis}, false);
    each = sub(mul(each, 1 - smoothing), mul(all, smoothing / double(log_p.size(axis))));
  }
  each = where(counts, each, 0.0);  // not a product: what is ignored may be inf
  const std::string& reduction = c.attr(0).string();
  if (reduction == "none") return each;
  const Tensor total = op<"sum">({each}, {Ints{}, false});
  if (reduction == "sum") return total;
  const Tensor share = w.defined() ? where(counts, weight, 0.0) : counts.cast(log_p.dtype());
  return op<"div">({total, op<"sum">({share}, {Ints{}, false})});
}

OpBuilder class_op(OpBuilder o, const char* x) {
  return o.family("loss")
      .input("x", x)
      .input("target", "class indices, integers: x's shape without the class axis")
      .optional_input("weight", "[C], of the classes")
      .attr("reduction", AttrKind::string, "mean", kReductionDoc)
      .attr("ignore_index", AttrKind::integer, -100, "targets of this value do not count")
      .function_only()
      .infer(infer_classes)
      .bounds(24, "classes and items reduced, exp and log, relative to max |x| + 1");
}

}  // namespace

TG_OPS(loss) {
  class_op(TG_OP(cross_entropy), "logits [N, C, ...] or [C]")
      .doc(
          "-log(softmax(x)[target]); the mean is weighted by the targets' classes. "
          "Errors: ValueError where shapes do not fit, IndexError for a target that is no class.")
      .attr("label_smoothing", AttrKind::floating, 0.0, "share of the target spread over all classes")
      .decompose([](const Call& c) {
        infer_now(c);
        const DType t = c.input(0).dtype();
        const Tensor x = c.input(0).cast(acc_dtype(t));
        return Tensors{class_loss(c, op<"log_softmax">({x}, {x.rank() == 1 ? 0 : 1}), c.attr(2).floating()).cast(t)};
      })
      .example(">>> round(tg.cross_entropy(tg.tensor([[0., 0.]]), tg.tensor([1])).item(), 4)\n0.6931");

  class_op(TG_OP(nll_loss), "log-probabilities [N, C, ...] or [C]")
      .doc(
          "-x[target]; the mean is weighted by the targets' classes. "
          "Errors: ValueError where shapes do not fit, IndexError for a target that is no class.")
      .decompose([](const Call& c) {
        infer_now(c);
        const DType t = c.input(0).dtype();
        return Tensors{class_loss(c, c.input(0).cast(acc_dtype(t)), 0).cast(t)};
      })
      .example(">>> tg.nll_loss(tg.tensor([[-1., -2.]]), tg.tensor([1])).item()\n2.0");

  pair_loss(loss(TG_OP(mse_loss), "predictions", "x's shape")
                .doc("(x - target)^2.")
                .example(">>> tg.mse_loss(tg.tensor([1., 2.]), tg.tensor([1., 4.])).item()\n2.0"),
            [](const Call&, const Tensor& x, const Tensor& t) { return op<"square">({sub(x, t)}); });
  pair_loss(loss(TG_OP(l1_loss), "predictions", "x's shape")
                .doc("|x - target|.")
                .example(">>> tg.l1_loss(tg.tensor([1., 2.]), tg.tensor([1., 4.])).item()\n1.0"),
            [](const Call&, const Tensor& x, const Tensor& t) { return op<"abs">({sub(x, t)}); });
  pair_loss(loss(TG_OP(smooth_l1_loss), "predictions", "x's shape")
                .doc("d^2 / (2 beta) for |d| < beta, else |d| - beta / 2, with d = x - target.")
                .attr("beta", AttrKind::floating, 1.0, "where it turns linear")
                .example(">>> tg.smooth_l1_loss(tg.tensor([1., 3.]), tg.tensor([0., 0.])).item()\n1.5"),
            [](const Call& c, const Tensor& x, const Tensor& t) {
              const double beta = c.attr(1).floating();
              check(beta >= 0, "[smooth_l1_loss] expected beta of 0 or more, got ", beta);
              const Tensor d = sub(x, t), a = op<"abs">({d});
              if (beta == 0) return a;
              return where(op<"lt">({a, beta}), mul(op<"square">({d}), 0.5 / beta), sub(a, beta / 2));
            });
  pair_loss(loss(TG_OP(huber_loss), "predictions", "x's shape")
                .doc("d^2 / 2 for |d| <= delta, else delta (|d| - delta / 2), with d = x - target.")
                .attr("delta", AttrKind::floating, 1.0, "where it turns linear")
                .example(">>> tg.huber_loss(tg.tensor([1., 3.]), tg.tensor([0., 0.])).item()\n1.5"),
            [](const Call& c, const Tensor& x, const Tensor& t) {
              const double delta = c.attr(1).floating();
              check(delta > 0, "[huber_loss] expected delta above 0, got ", delta);
              const Tensor d = sub(x, t), a = op<"abs">({d});
              return where(op<"le">({a, delta}), mul(op<"square">({d}), 0.5), mul(sub(a, delta / 2), delta));
            });
  pair_loss(loss(TG_OP(binary_cross_entropy), "probabilities", "x's shape, in [0, 1]")
                .doc("-(t log x + (1 - t) log(1 - x)); logarithms count as at least -100.")
                .example(">>> round(tg.binary_cross_entropy(tg.tensor([0.5]), tg.tensor([1.])).item(), 4)\n0.6931"),
            [](const Call&, const Tensor& x, const Tensor& t) {
              const Tensor a = op<"maximum">({op<"log">({x}), -100.0}),
                           b = op<"maximum">({op<"log1p">({op<"neg">({x})}), -100.0});
              return op<"neg">({add(mul(t, a), mul(sub(1.0, t), b))});
            });
  pair_loss(
      loss(TG_OP(binary_cross_entropy_with_logits), "logits", "x's shape, in [0, 1]")
          .doc("binary_cross_entropy of sigmoid(x), without overflow.")
          .example(
              ">>> round(tg.binary_cross_entropy_with_logits(tg.tensor([0.]), tg.tensor([1.])).item(), 4)\n0.6931"),
      [](const Call&, const Tensor& x, const Tensor& t) {
        return add(mul(sub(1.0, t), x), op<"softplus">({op<"neg">({x})}));
      });
  pair_loss(loss(TG_OP(kl_div), "log-probabilities", "probabilities of x's shape")
                .doc("target (log target - x), 0 where the target is 0.")
                .example(">>> tg.kl_div(tg.tensor([0.]), tg.tensor([1.]), reduction='sum').item()\n0.0"),
            [](const Call&, const Tensor& x, const Tensor& t) {
              const Tensor some = op<"gt">({t, 0.0}), safe = where(some, t, 1.0);
              return where(some, mul(t, sub(op<"log">({safe}), x)), 0.0);
            });
}

}  // namespace tg
