// SPDX-License-Identifier: Apache-2.0
// Boxes [..., 4]: conversions of their form, and measures of overlap, of all pairs or one by one.
#include <numbers>

#include "common.h"

namespace tg {
namespace {

Tensor mul(const Arg& a, const Arg& b) { return op<"mul">({a, b}); }
Tensor add(const Arg& a, const Arg& b) { return op<"add">({a, b}); }
Tensor sub(const Arg& a, const Arg& b) { return op<"sub">({a, b}); }
Tensor div(const Arg& a, const Arg& b) { return op<"div">({a, b}); }
Tensor least(const Tensor& a, const Arg& b) { return op<"minimum">({a, b}); }
Tensor most(const Tensor& a, const Arg& b) { return op<"maximum">({a, b}); }
Tensor square(const Tensor& x) { return mul(x, x); }

void check_boxes(const Inference& c, size_t i) {
  const Shape& s = c.input(i).shape;
  c.check(!s.empty() && s.back() == Dim(4), "expected boxes of shape (..., 4), got ", str(s));
}

// ---- measures ----

struct Sides {  // of boxes [..., 4]
  Tensor x1, y1, x2, y2;
  explicit Sides(const Tensor& b) {
    const int64_t last = b.rank() - 1;
    Tensor* const to[] = {&x1, &y1, &x2, &y2};
    for (int64_t i = 0; i < 4; ++i) *to[i] = op<"select">({b}, {last, i});
  }
  Tensor width() const { return sub(x2, x1); }
  Tensor height() const { return sub(y2, y1); }
  Tensor area() const { return mul(width(), height()); }
};

Tensors decompose_iou(const Call& c) {
  const DType t = infer_now(c)[0].dtype, acc = acc_dtype(t);
  const std::string& kind = c.attr(0).string();
  const bool pairs = c.attr(1).boolean();
  const auto sides = [&](size_t i, int64_t axis) {
    const Tensor b = c.input(i).cast(acc);
    return Sides(pairs ? op<"unsqueeze">({b}, {Ints{axis}}) : b);
  };
  const Sides a = sides(0, -2), b = sides(1, -3);
  const Tensor inner_w = most(sub(least(a.x2, b.x2), most(a.x1, b.x1)), 0.0);
  const Tensor inner_h = most(sub(least(a.y2, b.y2), most(a.y1, b.y1)), 0.0);
  const Tensor inner = mul(inner_w, inner_h), both = sub(add(a.area(), b.area()), inner);
  const Tensor iou = div(inner, both);
  if (kind == "iou") return {iou.cast(t)};
  const Tensor w = sub(most(a.x2, b.x2), least(a.x1, b.x1)), h = sub(most(a.y2, b.y2), least(a.y1, b.y1));
  if (kind == "giou") {
    const Tensor hull = mul(w, h);
    return {sub(iou, div(sub(hull, both), hull)).cast(t)};
  }
  constexpr double kTiny = 1e-7;  // torchvision's: boxes that are points have no diagonal
  const Tensor dx = mul(sub(add(a.x1, a.x2), add(b.x1, b.x2)), 0.5), dy = mul(sub(add(a.y1, a.y2), add(b.y1, b.y2)), 0.5);
  const Tensor diou = sub(iou, div(add(square(dx), square(dy)), add(add(square(w), square(h)), kTiny)));
  if (kind == "diou") return {diou.cast(t)};
  const auto slope = [](const Sides& s) { return op<"atan">({div(s.width(), s.height())}); };
  const Tensor v = mul(square(sub(slope(a), slope(b))), 4 / (std::numbers::pi * std::numbers::pi));
  // The weight of the shapes' difference is taken as it is: no gradient flows through it (Zheng et al., 2020).
  const Tensor weight = div(v, add(sub(add(v, 1.0), iou), kTiny)).detach();
  return {sub(diou, mul(weight, v)).cast(t)};
}

// ---- forms ----

bool is_form(const std::string& f) { return f == "xyxy" || f == "xywh" || f == "cxcywh"; }

Tensors decompose_convert(const Call& c) {
  const TensorSpec spec = infer_now(c)[0];
  const Tensor& x = c.input(0);
  const std::string &from = c.attr(0).string(), &to = c.attr(1).string();
  if (from == to) return {op<"copy">({x})};
  const Tensor wide = x.cast(acc_dtype(spec.dtype));
  Sides s(wide);  // x1, y1, x2, y2 whatever the form was
  if (from == "cxcywh") {
    const Tensor w = s.x2, h = s.y2;
    s.x1 = sub(s.x1, mul(w, 0.5)), s.y1 = sub(s.y1, mul(h, 0.5));
    s.x2 = add(s.x1, w), s.y2 = add(s.y1, h);
  } else if (from == "xywh") {
    s.x2 = add(s.x1, s.x2), s.y2 = add(s.y1, s.y2);
  }
  std::vector<Arg> parts{s.x1, s.y1, s.x2, s.y2};
  if (to != "xyxy") parts[2] = s.width(), parts[3] = s.height();
  if (to == "cxcywh") parts[0] = mul(add(s.x1, s.x2), 0.5), parts[1] = mul(add(s.y1, s.y2), 0.5);
  const Attr last[] = {Attr(x.rank() - 1)};
  return {call_one(op_named<"stack">(), parts, last).cast(spec.dtype)};
}

}  // namespace

TG_OPS(boxes) {
  TG_OP(box_iou)
      .amp(Amp::f32)
      .family("vision")
      .doc(
          "How much boxes (x1, y1, x2, y2) overlap: intersection over union, of all pairs or, with pairwise=False, one by one. "
          "Two boxes without area give NaN. Memory: a few matrices of the result's size. "
          "Errors: ValueError for another last axis or kind, TypeError for integers.")
      .input("a", "[..., n, 4]; one by one: [..., 4]")
      .input("b", "[..., m, 4], a's dtype; one by one: [..., 4], which broadcasts to a")
      .attr("kind", AttrKind::string, "iou",
            "iou; giou: less the share of the hull outside both; diou: less the centres' squared distance over the hull's "
            "squared diagonal; ciou: diou less a weight times the difference of the shapes")
      .attr("pairwise", AttrKind::boolean, true, "all pairs")
      .output("y", "[..., n, m]; one by one: [...]")
      .function_only()
      .infer([](const Inference& c) {
        check_boxes(c, 0), check_boxes(c, 1);
        check_type(is_floating(c.input(0).dtype) && c.input(1).dtype == c.input(0).dtype, c.name(), "boxes of one floating dtype",
                   is_floating(c.input(0).dtype) ? c.input(1).dtype : c.input(0).dtype);
        const std::string& kind = c.attr(0).string();
        c.check(kind == "iou" || kind == "giou" || kind == "diou" || kind == "ciou",
                "expected kind \"iou\", \"giou\", \"diou\" or \"ciou\", got \"", kind, "\"");
        Shape a = c.input(0).shape, b = c.input(1).shape;
        a.erase(a.size() - 1), b.erase(b.size() - 1);
        if (!c.attr(1).boolean()) return one({c.input(0).dtype, broadcast(c.name(), a, b)});
        c.check(!a.empty() && !b.empty(), "expected boxes [..., n, 4] and [..., m, 4], or pairwise=False, got ",
                str(c.input(0).shape), " and ", str(c.input(1).shape));
        a.push_back(1);
        b.insert(b.size() - 1, Dim(1));
        return one({c.input(0).dtype, broadcast(c.name(), a, b)});
      })
      .decompose(decompose_iou)
      .bounds(48, "two areas, their sum, a quotient and up to two more quotients below 1, relative to 1")
      .example(
          ">>> a, b = tg.tensor([[0., 0., 2., 2.]]), tg.tensor([[0., 1., 2., 3.], [1., 1., 2., 2.]])\n"
          ">>> tg.box_iou(a, b)[0, 1].item()\n0.25");

  TG_OP(box_convert)
      .family("vision")
      .doc(
          "Boxes in another form: xyxy (two corners), xywh (the first corner, width and height) or cxcywh (the centre, width and "
          "height). Errors: ValueError for another last axis or form, TypeError for integers to or from cxcywh.")
      .input("boxes", "[..., 4]")
      .attr("in_fmt", AttrKind::string, "xyxy, xywh or cxcywh")
      .attr("out_fmt", AttrKind::string, "xyxy, xywh or cxcywh")
      .output("y", "boxes's shape and dtype")
      .function_only()
      .infer([](const Inference& c) {
        check_boxes(c, 0);
        const DType t = c.input(0).dtype;
        const std::string &from = c.attr(0).string(), &to = c.attr(1).string();
        for (const std::string& f : {from, to})
          c.check(is_form(f), "expected a form \"xyxy\", \"xywh\" or \"cxcywh\", got \"", f, "\"");
        const bool halves = from != to && (from == "cxcywh" || to == "cxcywh");
        check_type(is_floating(t) || (!halves && is_integer(t)), c.name(), halves ? "floats" : "floats or integers", t);
        return one(c.input(0));
      })
      .decompose(decompose_convert)
      .bounds(4, "two sums and halves, relative to a box's sum of magnitudes")
      .example(">>> tg.box_convert(tg.tensor([1., 2., 5., 8.]), 'xyxy', 'cxcywh').tolist()\n[3.0, 5.0, 4.0, 6.0]");
}

}  // namespace tg
