// SPDX-License-Identifier: Apache-2.0
// Scaled dot-product attention.
#include "common.h"

namespace tg {
namespace {

Specs infer(const Inference& c) {
  const Shape &q = c.input(0).shape, &k = c.input(1).shape, &v = c.input(2).shape;
  c.check(q.size() >= 2 && k.size() == q.size() && v.size() == q.size(),
          "expected query, key and value of one rank of at least 2, got ", str(q), ", ", str(k), " and ", str(v));
  const size_t r = q.size();
  c.check(q[r - 1] == k[r - 1], "expected keys with the query's ", q[r - 1], " features, got ", k[r - 1]);
  c.check(k[r - 2] == v[r - 2], "expected as many values as keys, ", k[r - 2], ", got ", v[r - 2]);
  check_type(is_floating(c.input(0).dtype), c.name(), "floats", c.input(0).dtype);
  Shape y = q;
  y[r - 1] = v[r - 1];
  return one({c.input(0).dtype, y});
}

}  // namespace

TG_OPS(attention) {
  TG_OP(scaled_dot_product_attention)
      .family("nn")
      .doc(
          "softmax(query @ key^T * scale + mask) @ value. A bool mask says where to look (True), a floating one is "
          "added. "
          "Errors: ValueError where shapes do not fit.")
      .input("query", "[..., L, E]")
      .input("key", "[..., S, E]")
      .input("value", "[..., S, V]")
      .optional_input("mask", "bool or floats, broadcasts to [..., L, S]")
      .attr("is_causal", AttrKind::boolean, false, "position i looks at positions up to i only")
      .optional_attr("scale", AttrKind::floating, "1 / sqrt(E) by default")
      .attr("dropout_p", AttrKind::floating, 0.0, "dropout of the weights")
      .output("y", "[..., L, V]")
      .function_only()
      .infer(infer)
      .decompose([](const Call& c) {
        const DType t = infer_now(c)[0].dtype, acc = acc_dtype(t);
        const Tensor q = c.input(0).cast(acc), k = c.input(1).cast(acc), v = c.input(2).cast(acc);
        const double scale =
            c.attr(1).given() ? c.attr(1).floating() : 1 / std::sqrt(double(std::max<int64_t>(q.size(-1), 1)));
        Tensor scores = op<"matmul">({op<"mul">({q, scale}), transpose(k)});
        if (c.attr(0).boolean()) {
          const Tensor row = reshape(iota(q.size(-2), 0, 1, DType::i64, c.device), {q.size(-2), 1});
          scores = op<"where">({op<"ge">({row, iota(k.size(-2), 0, 1, DType::i64, c.device)}), scores, -INFINITY});
        }
        if (c.has(3)) {
          const Tensor& mask = c.input(3);
          scores = mask.dtype() == DType::boolean ? op<"where">({mask, scores, -INFINITY})
                                                  : op<"add">({scores, mask.cast(acc)});
        }
        Tensor weights = op<"softmax">({scores}, {-1});
        if (c.attr(2).floating() > 0) weights = op<"dropout">({weights}, {c.attr(2)});
        return Tensors{op<"matmul">({weights, v}).cast(t)};
      })
      .bounds(32, "E and S, relative to max |value|; scores enter through exp")
      .example(
          ">>> tg.scaled_dot_product_attention(tg.tensor([[0.]]), tg.tensor([[1.], [2.]]), tg.tensor([[1.], "
          "[3.]])).tolist()\n[[2.0]]");
}

}  // namespace tg
