// SPDX-License-Identifier: Apache-2.0
// What the losses share. `reduction` is "mean", "sum" or "none"; they are computed in f32 for 16-bit floats and follow
// PyTorch's definitions.
#pragma once
#include "common.h"

namespace tg::loss {

inline Tensor add(const Arg& a, const Arg& b) { return op<"add">({a, b}); }
inline Tensor sub(const Arg& a, const Arg& b) { return op<"sub">({a, b}); }
inline Tensor mul(const Arg& a, const Arg& b) { return op<"mul">({a, b}); }
inline Tensor div(const Arg& a, const Arg& b) { return op<"div">({a, b}); }
inline Tensor neg(const Tensor& a) { return op<"neg">({a}); }
inline Tensor where(const Tensor& m, const Arg& a, const Arg& b) { return op<"where">({m, a, b}); }
inline Tensor above_zero(const Tensor& a) { return op<"maximum">({a, 0.0}); }

inline constexpr const char* kReductionDoc = "\"mean\", \"sum\" or \"none\"";
inline constexpr const char* kBoundDoc = "elements reduced, relative to the mean (sum) of magnitudes";

inline void check_reduction(const Inference& c, const Attr& a) {
  const std::string& r = a.string();
  c.check(r == "mean" || r == "sum" || r == "none", "expected reduction to be \"mean\", \"sum\" or \"none\", got \"", r,
          "\"");
}
inline Tensor reduce(const Tensor& loss, const std::string& reduction) {
  if (reduction == "none") return loss;
  return reduction == "mean" ? op<"mean">({loss}, {Ints{}, false}) : op<"sum">({loss}, {Ints{}, false});
}
inline Specs reduced(const Inference& c, const Shape& each) {
  check_reduction(c, c.attr(0));
  check_type(is_floating(c.input(0).dtype), c.name(), "floats", c.input(0).dtype);
  for (const TensorSpec* x : c.inputs)  // a cast would keep their real parts alone
    if (x) check_type(!is_complex(x->dtype), c.name(), "real numbers", x->dtype);
  return one({c.input(0).dtype, c.attr(0).string() == "none" ? each : Shape{}});
}

// A loss of x and further inputs, with `reduction` as its first attribute; `each` gives its elements.
inline OpBuilder reducing(OpBuilder o, const char* reduction = "mean") {
  return o.family("loss")
      .amp(Amp::f32)
      .attr("reduction", AttrKind::string, reduction, kReductionDoc)
      .output("y", "0-d, or of one value per element with \"none\"; x's dtype")
      .function_only()
      .bounds(16, kBoundDoc);
}
template <class F>
void decompose(OpBuilder o, F each) {
  o.decompose([each](const Call& c) {
    infer_now(c);
    return Tensors{reduce(each(c, acc_dtype(c.input(0).dtype())), c.attr(0).string()).cast(c.input(0).dtype())};
  });
}

// A loss of x and a target of its shape: each(call, x, target).
inline Specs infer_pair(const Inference& c) {
  c.check(c.input(0).shape == c.input(1).shape, "expected a target of x's shape ", str(c.input(0).shape), ", got ",
          str(c.input(1).shape));
  return reduced(c, c.input(0).shape);
}
inline OpBuilder pair(OpBuilder o, const char* x, const char* target) {
  return reducing(o.input("x", x).input("target", target)).infer(infer_pair);
}
template <class F>
void decompose_pair(OpBuilder o, F each) {
  decompose(o, [each](const Call& c, DType acc) { return each(c, c.input(0).cast(acc), c.input(1).cast(acc)); });
}

// A weight that must broadcast to x.
inline void check_broadcasts(const Inference& c, size_t i, const Shape& x, const char* what) {
  if (!c.has(i)) return;
  const Shape& w = c.input(i).shape;
  bool ok = w.size() <= x.size();
  for (size_t k = 0; ok && k < w.size(); ++k)
    ok = w[w.size() - 1 - k] == x[x.size() - 1 - k] || w[w.size() - 1 - k] == Dim(1);
  c.check(ok, "expected ", what, " that broadcasts to x's shape ", str(x), ", got ", str(w));
}

}  // namespace tg::loss
