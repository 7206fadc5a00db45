// SPDX-License-Identifier: Apache-2.0
// Rotary position embedding (Su et al., "RoFormer", 2021): pairs of features turned by angles that grow with the
// position.
#include "common.h"

namespace tg {
namespace {

int64_t rotated(AttrSpan a, int64_t features) { return a[2].given() ? a[2].integer() : features; }

Specs infer(const Inference& c) {
  const TensorSpec& x = c.input(0);
  check_type(is_floating(x.dtype), c.name(), "floats", x.dtype);
  const size_t r = x.shape.size();
  c.check(r >= 2, "expected x of shape [..., L, E], got ", str(x.shape));
  c.check(c.attr(0).floating() > 0, "expected a base above 0, got ", c.attr(0).floating());
  if (x.shape[r - 1].is_constant()) {
    const int64_t e = x.shape[r - 1].value(), d = rotated(c.attrs, e);
    c.check(d >= 0 && d <= e && d % 2 == 0, "expected an even number of at most ", e, " features to rotate, got ", d,
            "; give rotary_dim");
  }
  if (c.has(1)) {
    check_type(is_index(c.input(1).dtype), c.name(), "positions of integers", c.input(1).dtype);
    const Shape lead(x.shape.data(), r - 1);
    c.check(c.input(1).shape.size() < r && broadcast(c.name(), lead, c.input(1).shape) == lead,
            "expected positions that spread to ", str(lead), ", got ", str(c.input(1).shape));
  }
  return one(x);
}

Tensors decompose(const Call& c) {
  infer_now(c);
  const Tensor& x = c.input(0);
  const DType acc = acc_dtype(x.dtype());
  const int64_t e = x.size(-1), d = rotated(c.attrs, e), half = d / 2, last = x.rank() - 1;
  if (!d || !x.numel()) return {op<"copy">({x})};
  const double offset = double(c.attr(4).integer());
  const Tensor position =
      c.has(1) ? op<"add">({c.input(1).cast(acc), offset}) : iota(x.size(-2), offset, 1, acc, c.device);
  const Tensor frequency =
      op<"exp">({op<"mul">({iota(half, 0, 1, acc, c.device), -2 * std::log(c.attr(0).floating()) / double(d)})});
  const Tensor angle = op<"mul">({op<"unsqueeze">({position}, {Ints{-1}}), frequency});
  const Tensor cosine = op<"cos">({angle});
  Tensor sine = op<"sin">({angle});
  if (c.attr(3).boolean()) sine = op<"neg">({sine});
  const bool interleaved = c.attr(1).boolean();
  const Tensor turned = slice(x.cast(acc), last, 0, d);
  const Tensor a = interleaved ? slice(turned, last, 0, d, 2) : slice(turned, last, 0, half);
  const Tensor b = interleaved ? slice(turned, last, 1, d, 2) : slice(turned, last, half, d);
  const Tensor p = op<"sub">({op<"mul">({a, cosine}), op<"mul">({b, sine})});
  const Tensor q = op<"add">({op<"mul">({b, cosine}), op<"mul">({a, sine})});
  Tensor y = interleaved ? reshape(op<"stack">({p, q}, {last + 1}), turned.shape()) : op<"concat">({p, q}, {last});
  y = y.cast(x.dtype());
  return {d == e ? y : op<"concat">({y, slice(x, last, d, e)}, {last})};
}

}  // namespace

TG_OPS(rope) {
  TG_OP(rope)
      .family("nn")
      .doc(
          "Rotary position embedding: the pair k of features at position p is turned by p * base^(-2k/d). Pairs are "
          "(k, k + d/2), or (2k, 2k + 1) where interleaved. Errors: ValueError for an odd number of features.")
      .input("x", "[..., L, E]")
      .optional_input("positions", "integers that spread to [..., L]; 0, 1, 2... by default")
      .attr("base", AttrKind::floating, 10000.0, "the longest wave is almost 2 pi times as long")
      .attr("interleaved", AttrKind::boolean, false, "neighbours are pairs, not halves")
      .optional_attr("rotary_dim", AttrKind::integer, "how many of the first features are turned; all by default")
      .attr("inverse", AttrKind::boolean, false, "turn back")
      .run_attr("offset", AttrKind::integer, 0, "added to the positions")
      .output("y", "x's shape and dtype")
      .function_only()
      .infer(infer)
      .decompose(decompose)
      .grad([](const Backward& b) {  // a rotation's transpose is its inverse
        return Tensors{op<"rope">({b.grad(), b.has(1) ? b.arg(1) : Arg()},
                                  {b.attr(0), b.attr(1), b.attr(2), !b.attr(3).boolean(), b.attr(4)}),
                       Tensor()};
      })
      .saves(2, 0)
      .bounds(24, "the rounding of log(base) and of the angle, relative to the pair's |x| (1 + the largest angle)")
      .example(">>> tg.rope(tg.tensor([[1., 0.], [1., 0.]])).round().tolist()\n[[1.0, 0.0], [1.0, 1.0]]");
}

}  // namespace tg
