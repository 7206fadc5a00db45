// SPDX-License-Identifier: Apache-2.0
// Matrix products.
#include "common.h"

namespace tg {
namespace {

struct Product {
  Shape batch;
  Dim m, n;
};
Product infer_product(const Inference& c) {
  const Shape &a = c.input(0).shape, &b = c.input(1).shape;
  c.check(!a.empty() && !b.empty(), "expected operands of at least one axis, got shapes ", str(a), " and ", str(b),
          "; use mul for scalars");
  const Dim ka = a.back(), kb = b.size() == 1 ? b[0] : b[b.size() - 2];
  c.check(ka == kb, "expected the last size of a to equal the ", b.size() == 1 ? "size" : "second last size",
          " of b, got ", ka, " and ", kb, " (shapes ", str(a), " and ", str(b), ")");
  const DType t = promote(c.input(0).dtype, c.input(1).dtype);
  check_type(t != DType::boolean, c.name(), "numbers", t);
  Shape ba, bb;
  for (size_t i = 0; i + 2 < a.size(); ++i) ba.push_back(a[i]);
  for (size_t i = 0; i + 2 < b.size(); ++i) bb.push_back(b[i]);
  return {broadcast(c.name(), ba, bb), a.size() == 1 ? Dim(1) : a[a.size() - 2], b.size() == 1 ? Dim(1) : b.back()};
}
Specs infer_matmul(const Inference& c) {
  Product p = infer_product(c);
  if (c.input(0).shape.size() > 1) p.batch.push_back(p.m);
  if (c.input(1).shape.size() > 1) p.batch.push_back(p.n);
  return one({promote(c.input(0).dtype, c.input(1).dtype), p.batch});
}

Tensor floor_matmul(const Tensor& a, const Tensor& b) { return op<"floor_matmul">({a, b}, {0}); }

Tensors decompose_matmul(const Call& c) {
  const TensorSpec y = infer_now(c)[0];
  Tensor a = c.input(0).cast(y.dtype), b = c.input(1).cast(y.dtype);
  const Ints shape = concrete(y.shape);
  if (a.rank() == 2 && b.rank() == 2) return {floor_matmul(a, b)};
  if (a.rank() == 1) a = op<"unsqueeze">({a}, {Ints{0}});
  if (b.rank() == 1) b = op<"unsqueeze">({b}, {Ints{1}});
  if (b.rank() == 2 && a.rank() > 2) {  // one tall product
    int64_t rows = 1;
    for (int64_t i = 0; i + 1 < a.rank(); ++i) rows *= a.size(i);
    const Tensor flat = floor_matmul(reshape(a, {rows, a.size(-1)}), b);
    return {reshape(flat, shape)};
  }
  Ints batch = shape;
  batch.resize(size_t(std::max(a.rank(), b.rank()) - 2));
  Ints as = batch, bs = batch;
  as.push_back(a.size(-2)), as.push_back(a.size(-1));
  bs.push_back(b.size(-2)), bs.push_back(b.size(-1));
  return {reshape(floor_matmul(expand(a, as), expand(b, bs)), shape)};
}

// Gradients in at least two dimensions; the dispatcher sums over batch axes that were broadcast.
Tensors matmul_gradient(const Backward& b) {
  Tensors out(2);
  const bool va = b.input_shape(0).size() == 1, vb = b.input_shape(1).size() == 1;
  Tensor g = b.grad();
  if (vb) g = op<"unsqueeze">({g}, {Ints{-1}});
  if (va) g = op<"unsqueeze">({g}, {Ints{-2}});
  if (b.need(0)) {
    const Tensor w = vb ? op<"unsqueeze">({b.input(1)}, {Ints{1}}) : b.input(1);
    out[0] = op<"matmul">({g, transpose(w)});
    if (va) out[0] = op<"squeeze">({out[0]}, {Ints{-2}});
  }
  if (b.need(1)) {
    const Tensor x = va ? op<"unsqueeze">({b.input(0)}, {Ints{0}}) : b.input(0);
    if (b.input_shape(1).size() <= 2 && x.rank() > 2 && x.numel() > 0) {  // no batch of products to be summed
      const int64_t rows = x.numel() / x.size(-1);
      out[1] = op<"matmul">({transpose(reshape(x, {rows, x.size(-1)})), reshape(g, {rows, g.size(-1)})});
    } else {
      out[1] = op<"matmul">({transpose(x), g});
    }
    if (vb) out[1] = op<"squeeze">({out[1]}, {Ints{-1}});
  }
  return out;
}

}  // namespace

TG_OPS(matmul) {
  TG_OP(matmul).amp(Amp::low)
      .family("linear algebra")
      .doc(
          "The matrix product over the last two axes; other axes broadcast. A vector counts as a row on the left, as a "
          "column on the right, and its axis goes. 16-bit floats accumulate in f32. Errors: ValueError for inner sizes "
          "that differ, TypeError for bools.")
      .input("a", "[..., m, k] or [k]")
      .input("b", "[..., k, n] or [k]")
      .infer(infer_matmul)
      .decompose(decompose_matmul)
      .grad(matmul_gradient)
      .saves(3, 0)
      .linear({{0}, {1}})
      .batch([](const Batch& b) {
        const int64_t ra = b.rank(0), rb = b.rank(1);
        if (ra < 2 || rb < 2) return Tensors{};  // vectors: through the decomposition
        if (!b.batched[1] && rb == 2) return Tensors{op<"matmul">({b.input(0), b.input(1)})};
        if (!b.batched[0] && ra == 2) return Tensors{op<"matmul">({b.input(0), b.input(1)})};
        const auto aligned = [&](size_t i) {  // [B, 1.., m, k]
          Ints shape = b.shape(i);
          while (int64_t(shape.size()) < std::max(ra, rb)) shape.insert(0, 1);
          shape.insert(0, b.batched[i] ? b.size : 1);
          return reshape(b.input(i), shape);
        };
        return Tensors{op<"matmul">({aligned(0), aligned(1)})};
      })
      .bounds(1, "k, relative to |a| @ |b|")
      .example(">>> tg.matmul(tg.tensor([[1., 2.]]), tg.tensor([[3.], [4.]])).tolist()\n[[11.0]]");

  TG_OP(outer).amp(Amp::low)
      .family("linear algebra")
      .doc("All products x[i] * y[j]. Errors: ValueError unless both have one axis.")
      .input("x", "[m]")
      .input("y", "[n]")
      .infer([](const Inference& c) {
        const Shape &x = c.input(0).shape, &y = c.input(1).shape;
        c.check(x.size() == 1 && y.size() == 1, "expected two tensors of one axis, got shapes ", str(x), " and ",
                str(y));
        return one({promote(c.input(0).dtype, c.input(1).dtype), Shape{x[0], y[0]}});
      })
      .decompose([](const Call& c) {
        infer_now(c);
        return Tensors{op<"mul">({op<"unsqueeze">({c.input(0)}, {Ints{1}}), c.input(1)})};
      })
      .bounds(0.5, "one rounding")
      .example(">>> tg.outer(tg.tensor([1, 2]), tg.tensor([3, 4])).tolist()\n[[3, 4], [6, 8]]");
}

}  // namespace tg
