// SPDX-License-Identifier: Apache-2.0
// Losses of classes: cross entropy and the negative log-likelihood. The class axis is 1, or 0 of a single item.
#include "loss.h"

namespace tg {
namespace {

using namespace loss;

size_t class_axis(size_t rank) { return rank == 1 ? 0 : 1; }

// Shape of one value per item; checks indices, weights and reduction.
Shape check_classes(const Inference& c) {
  const Shape &x = c.input(0).shape, &target = c.input(1).shape;
  c.check(!x.empty(), "expected logits of shape (N, C, ...) or (C,), got ()");
  const size_t axis = class_axis(x.size());
  const Dim n = x[axis];
  Shape outer = x;
  outer.erase(axis);
  if (!is_floating(c.input(1).dtype)) {
    check_type(is_index(c.input(1).dtype), c.name(), "integer class indices", c.input(1).dtype);
    c.check(target == outer, "expected targets of shape ", str(outer), " for logits ", str(x), ", got ", str(target));
  }
  c.check(!c.has(2) || c.input(2).shape == Shape{n}, "expected a weight for each of ", n, " classes, got shape ",
          str(c.has(2) ? c.input(2).shape : Shape{}));
  return outer;
}

// [C] as a factor of x[N, C, ...].
Tensor along_classes(const Tensor& w, const Tensor& x) {
  Ints line(size_t(x.rank()) - class_axis(size_t(x.rank())), 1);
  line[0] = w.numel();
  return reshape(w, line);
}

// The loss of log-probabilities, with a share `smoothing` spread over all classes.
Tensor class_loss(const Call& c, const Tensor& log_p, double smoothing) {
  const int64_t axis = int64_t(class_axis(size_t(log_p.rank())));
  const Tensor target = c.input(1).cast(DType::i64);
  const Tensor counts = op<"ne">({target, c.attr(1).integer()});
  // A negative index would count from the end: it is made one past the last class, which is out of range.
  const Tensor safe = where(counts, where(op<"lt">({target, 0}), log_p.size(axis), target), 0);
  const Tensor w = c.has(2) ? c.input(2).cast(log_p.dtype()) : Tensor();
  const Tensor picked =
      op<"squeeze">({op<"take_along_axis">({log_p, op<"unsqueeze">({safe}, {Ints{axis}})}, {axis})}, {Ints{axis}});
  const Tensor weight = when(w.defined(), [&] {
    return reshape(op<"index_select">({w, reshape(safe, {safe.numel()})}, {0}), safe.shape());
  });
  Tensor each = neg(w.defined() ? mul(picked, weight) : picked);
  if (smoothing > 0) {
    const Tensor all = sum(w.defined() ? mul(log_p, along_classes(w, log_p)) : log_p, {axis}, false);
    each = sub(mul(each, 1 - smoothing), mul(all, smoothing / double(log_p.size(axis))));
  }
  each = where(counts, each, 0.0);  // not a product: what is ignored may be inf
  const std::string& reduction = c.attr(0).string();
  if (reduction != "mean") return reduce(each, reduction);
  const Tensor share = w.defined() ? where(counts, weight, 0.0) : counts.cast(log_p.dtype());
  return div(reduce(each, "sum"), op<"sum">({share}, {Ints{}, false}));
}

// The loss against probabilities of log_p's shape; its mean is over items, whatever the weights are.
Tensor soft_loss(const Call& c, const Tensor& log_p, double smoothing) {
  const int64_t axis = int64_t(class_axis(size_t(log_p.rank())));
  Tensor target = c.input(1).cast(log_p.dtype());
  if (smoothing > 0)
    target = add(mul(target, 1 - smoothing), smoothing / double(std::max<int64_t>(log_p.size(axis), 1)));
  Tensor each = mul(log_p, target);
  if (c.has(2)) each = mul(each, along_classes(c.input(2).cast(log_p.dtype()), log_p));
  return reduce(neg(sum(each, {axis}, false)), c.attr(0).string());
}

OpBuilder class_op(OpBuilder o, const char* x, const char* target) {
  return reducing(o.input("x", x).input("target", target).optional_input("weight", "[C], of the classes"))
      .attr("ignore_index", AttrKind::integer, -100, "targets of this value do not count")
      .bounds(24, "classes and items reduced, exp and log, relative to max |x| + 1");
}

}  // namespace

TG_OPS(loss_class) {
  class_op(TG_OP(cross_entropy), "logits [N, C, ...] or [C]",
           "class indices, integers: x's shape without the class axis; or probabilities of x's shape")
      .doc(
          "-log(softmax(x)[target]); the mean is weighted by the targets' classes. Of probabilities: "
          "-sum(target weight log(softmax(x))) over classes; the mean is over items. "
          "Errors: ValueError where shapes do not fit, IndexError for a target that is no class.")
      .attr("label_smoothing", AttrKind::floating, 0.0, "share of the target spread over all classes")
      .infer([](const Inference& c) {
        const Shape outer = check_classes(c);
        const double smoothing = c.attr(2).floating();
        c.check(smoothing >= 0 && smoothing <= 1, "expected label_smoothing between 0 and 1, got ", smoothing);
        if (is_floating(c.input(1).dtype)) {
          c.check(c.input(1).shape == c.input(0).shape, "expected probabilities of the logits' shape ",
                  str(c.input(0).shape), ", got ", str(c.input(1).shape), "; class indices are integers");
          c.check(c.attr(1).integer() < 0, "expected no ignore_index with probabilities, got ", c.attr(1).integer());
        }
        return reduced(c, outer);
      })
      .decompose([](const Call& c) {
        infer_now(c);
        const DType t = c.input(0).dtype();
        const Tensor x = c.input(0).cast(acc_dtype(t));
        const Tensor log_p = op<"log_softmax">({x}, {int64_t(class_axis(size_t(x.rank())))});
        const auto f = is_floating(c.input(1).dtype()) ? soft_loss : class_loss;
        return Tensors{f(c, log_p, c.attr(2).floating()).cast(t)};
      })
      .example(">>> round(tg.cross_entropy(tg.tensor([[0., 0.]]), tg.tensor([1])).item(), 4)\n0.6931");

  class_op(TG_OP(nll_loss), "log-probabilities [N, C, ...] or [C]",
           "class indices, integers: x's shape without the class axis")
      .doc(
          "-x[target]; the mean is weighted by the targets' classes. "
          "Errors: ValueError where shapes do not fit, IndexError for a target that is no class.")
      .infer([](const Inference& c) {
        check_type(is_index(c.input(1).dtype), c.name(), "integer class indices", c.input(1).dtype);
        return reduced(c, check_classes(c));
      })
      .decompose([](const Call& c) {
        infer_now(c);
        const DType t = c.input(0).dtype();
        return Tensors{class_loss(c, c.input(0).cast(acc_dtype(t)), 0).cast(t)};
      })
      .example(">>> tg.nll_loss(tg.tensor([[-1., -2.]]), tg.tensor([1])).item()\n2.0");
}

}  // namespace tg
