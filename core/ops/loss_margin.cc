// SPDX-License-Identifier: Apache-2.0
// Losses that ask for a distance between right and wrong.
#include "loss.h"

namespace tg {
namespace {

using namespace loss;

Specs infer_equal(const Inference& c, const Shape& each) {
  for (size_t i = 1; i < c.inputs.size(); ++i)
    c.check(c.input(i).shape == c.input(0).shape, "expected inputs of one shape, ", str(c.input(0).shape), ", got ",
            str(c.input(i).shape));
  return reduced(c, each);
}
Shape without_last(const Inference& c) {
  c.check(!c.input(0).shape.empty(), "expected inputs of at least one axis, got ()");
  Shape s = c.input(0).shape;
  s.pop_back();
  return s;
}
void check_scores(const Inference& c) {
  const Shape& x = c.input(0).shape;
  c.check(x.size() == 1 || x.size() == 2, "expected scores of shape (N, C) or (C,), got ", str(x));
  check_type(is_index(c.input(1).dtype), c.name(), "integer class indices", c.input(1).dtype);
}
double margin(const Call& c) { return c.attr(1).floating(); }

// A negative class, or one past the last, is out of range for the gather.
Tensor no_negative(const Tensor& index, int64_t classes) { return where(op<"lt">({index, 0}), classes, index); }

Tensor norm(const Tensor& d, double p) { return op<"norm">({d}, {Ints{-1}, p, false}); }

}  // namespace

TG_OPS(loss_margin) {
  decompose_pair(
      pair(TG_OP(hinge_embedding_loss), "distances", "x's shape, 1 or -1")
          .doc("x where the target is 1, max(0, margin - x) where it is -1.")
          .attr("margin", AttrKind::floating, 1.0, "least distance of what is different")
          .example(">>> tg.hinge_embedding_loss(tg.tensor([2., 0.5]), tg.tensor([1., -1.])).item()\n1.25"),
      [](const Call& c, const Tensor& x, const Tensor& t) {
        return add(where(op<"ne">({t, -1.0}), x, 0.0), where(op<"ne">({t, 1.0}), above_zero(sub(margin(c), x)), 0.0));
      });

  decompose(reducing(TG_OP(margin_ranking_loss)
                         .input("x1", "scores")
                         .input("x2", "x1's shape")
                         .input("target", "x1's shape; 1: x1 ranks higher, -1: x2 does"))
                .doc("max(0, margin - target (x1 - x2)).")
                .attr("margin", AttrKind::floating, 0.0, "least difference")
                .infer([](const Inference& c) { return infer_equal(c, c.input(0).shape); })
                .example(">>> tg.margin_ranking_loss(tg.tensor([1.]), tg.tensor([3.]), tg.tensor([1.])).item()\n2.0"),
            [](const Call& c, DType acc) {
              const Tensor d = sub(c.input(0).cast(acc), c.input(1).cast(acc));
              return above_zero(sub(margin(c), mul(c.input(2).cast(acc), d)));
            });

  decompose(
      reducing(TG_OP(multi_margin_loss)
                   .input("x", "scores [N, C] or [C]")
                   .input("target", "class indices, integers [N] or []")
                   .optional_input("weight", "[C], of the classes"))
          .doc("The mean over classes i other than the target t of weight[t] max(0, margin - x[t] + x[i])^p (the sum "
               "is divided by C). Errors: IndexError for a target that is no class.")
          .attr("margin", AttrKind::floating, 1.0, "least difference of scores")
          .attr("p", AttrKind::integer, 1, "1 or 2")
          .infer([](const Inference& c) {
            check_scores(c);
            const Shape outer = without_last(c);
            c.check(c.input(1).shape == outer, "expected targets of shape ", str(outer), " for scores ",
                    str(c.input(0).shape), ", got ", str(c.input(1).shape));
            c.check(!c.has(2) || c.input(2).shape == Shape{c.input(0).shape.back()}, "expected a weight for each of ",
                    c.input(0).shape.back(), " classes, got shape ", str(c.has(2) ? c.input(2).shape : Shape{}));
            c.check(c.attr(2).integer() == 1 || c.attr(2).integer() == 2, "expected p of 1 or 2, got ",
                    c.attr(2).integer());
            return reduced(c, outer);
          })
          .example(">>> tg.multi_margin_loss(tg.tensor([[0., 1.]]), tg.tensor([0])).item()\n1.0"),
      [](const Call& c, DType acc) {
        const Tensor x = c.input(0).cast(acc);
        const int64_t classes = x.size(-1);
        const Tensor index = op<"unsqueeze">({no_negative(c.input(1).cast(DType::i64), classes)}, {Ints{-1}});
        const Tensor right = op<"take_along_axis">({x, index}, {-1});
        Tensor y = above_zero(add(sub(x, right), margin(c)));
        if (c.attr(2).integer() == 2) y = op<"square">({y});
        if (c.has(2)) {
          const Tensor flat = op<"index_select">({c.input(2).cast(acc), reshape(index, {index.numel()})}, {0});
          y = mul(y, reshape(flat, index.shape()));
        }
        const Tensor others = op<"ne">({iota(classes, 0, 1, DType::i64, c.device), index});
        return div(sum(where(others, y, 0.0), {-1}, false), double(classes));
      });

  decompose(
      reducing(TG_OP(multilabel_margin_loss)
                   .input("x", "scores [N, C] or [C]")
                   .input("target",
                          "class indices, integers of x's shape; those from the first negative one on do not count"))
          .doc("The sum over targets t and classes i that are no target of max(0, 1 - x[t] + x[i]) / C. "
               "Memory: N C^2 elements. Errors: IndexError for a target of C or more.")
          .infer([](const Inference& c) {
            check_scores(c);
            infer_pair(c);
            return reduced(c, without_last(c));
          })
          .example(">>> tg.multilabel_margin_loss(tg.tensor([[0., 1.]]), tg.tensor([[0, -1]])).item()\n1.0"),
      [](const Call& c, DType acc) {
        const Tensor x = c.input(0).cast(acc), target = c.input(1).cast(DType::i64);
        const int64_t classes = x.size(-1);
        if (!x.numel()) return sum(x, {-1}, false);
        const Tensor places = iota(classes, 0, 1, DType::i64, c.device);
        const Tensor first = op<"min">({where(op<"lt">({target, 0}), places, classes)}, {Ints{-1}, true});
        const Tensor counts = op<"lt">({places, first});  // [.., C] by place in the list
        const Tensor index = where(counts, target, 0);
        const auto column = [](const Tensor& t) { return op<"unsqueeze">({t}, {Ints{-1}}); };
        const Tensor is_target =
            op<"any">({op<"logical_and">({column(counts), op<"eq">({column(index), places})})}, {Ints{-2}, true});
        const Tensor right = op<"take_along_axis">({x, index}, {-1});
        const Tensor pairs = above_zero(add(sub(op<"unsqueeze">({x}, {Ints{-2}}), column(right)), 1.0));
        const Tensor wrong = op<"logical_and">({column(counts), op<"logical_not">({is_target})});
        return div(sum(where(wrong, pairs, 0.0), {-2, -1}, false), double(classes));
      });

  decompose(reducing(TG_OP(cosine_embedding_loss)
                         .input("x1", "[N, D] or [D]")
                         .input("x2", "x1's shape")
                         .input("target", "[N] or [], 1 or -1"))
                .doc("1 - cos(x1, x2) where the target is 1, max(0, cos(x1, x2) - margin) where it is -1.")
                .attr("margin", AttrKind::floating, 0.0, "cosine that different vectors may have")
                .infer([](const Inference& c) {
                  const Shape outer = without_last(c);
                  c.check(c.input(1).shape == c.input(0).shape, "expected x2 of x1's shape ", str(c.input(0).shape),
                          ", got ", str(c.input(1).shape));
                  c.check(c.input(2).shape == outer, "expected targets of shape ", str(outer), ", got ",
                          str(c.input(2).shape));
                  return reduced(c, outer);
                })
                .bounds(32, "D and items reduced, relative to 1 + margin")
                .example(">>> tg.cosine_embedding_loss(tg.tensor([[1., 0.]]), tg.tensor([[0., 1.]]), "
                         "tg.tensor([1.])).item()\n1.0"),
            [](const Call& c, DType acc) {
              constexpr double eps = 1e-12;  // added to both squared lengths
              const Tensor a = c.input(0).cast(acc), b = c.input(1).cast(acc), t = c.input(2).cast(acc);
              const auto dot = [](const Tensor& u, const Tensor& v) { return sum(mul(u, v), {-1}, false); };
              const Tensor lengths = mul(add(dot(a, a), eps), add(dot(b, b), eps));
              const Tensor cosine = div(dot(a, b), op<"sqrt">({lengths}));
              return add(where(op<"eq">({t, 1.0}), sub(1.0, cosine), 0.0),
                         where(op<"eq">({t, -1.0}), above_zero(sub(cosine, margin(c))), 0.0));
            });

  decompose(
      reducing(TG_OP(triplet_margin_loss)
                   .input("anchor", "[N, D] or [D]")
                   .input("positive", "anchor's shape")
                   .input("negative", "anchor's shape"))
          .doc("max(0, margin + d(anchor, positive) - d(anchor, negative)) with d(a, b) = ||a - b + eps||_p; with "
               "`swap` the smaller of d(anchor, negative) and d(positive, negative) counts.")
          .attr("margin", AttrKind::floating, 1.0, "least difference of distances")
          .attr("p", AttrKind::floating, 2.0, "which norm")
          .attr("eps", AttrKind::floating, 1e-6, "added to the differences")
          .attr("swap", AttrKind::boolean, false, "distance swap (Balntas et al. 2016)")
          .infer([](const Inference& c) {
            c.check(c.attr(2).floating() > 0, "expected p above 0, got ", c.attr(2).floating());
            return infer_equal(c, without_last(c));
          })
          .bounds(32, "D and items reduced, relative to the distances' size plus margin")
          .example(">>> round(tg.triplet_margin_loss(tg.tensor([[0.]]), tg.tensor([[3.]]), tg.tensor([[1.]])).item(), "
                   "4)\n3.0"),
      [](const Call& c, DType acc) {
        const double p = c.attr(2).floating(), eps = c.attr(3).floating();
        const Tensor a = c.input(0).cast(acc), positive = c.input(1).cast(acc), negative = c.input(2).cast(acc);
        const auto distance = [&](const Tensor& u, const Tensor& v) { return norm(add(sub(u, v), eps), p); };
        Tensor far = distance(a, negative);
        if (c.attr(4).boolean()) far = op<"minimum">({far, distance(positive, negative)});
        return above_zero(add(sub(distance(a, positive), far), margin(c)));
      });
}

}  // namespace tg
