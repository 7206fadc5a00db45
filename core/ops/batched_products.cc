// SPDX-License-Identifier: Apache-2.0
// Batched products of vectors and matrices with names of their own, and their sums with a third operand. Each is a
// matmul of reshaped operands; gradients are its.
#include "common.h"

namespace tg {
namespace {

DType numbers(const Inference& c) {
  const DType t = promote(c.input(0).dtype, c.input(1).dtype);
  check_type(t != DType::boolean, c.name(), "numbers", t);
  return t;
}

// Inference of products over the last axes: `rows` and `columns` axes of x and y stay behind the broadcast ones.
Specs infer_batched(const Inference& c, size_t x_axes, size_t y_axes, size_t x_inner, size_t y_inner) {
  const Shape &x = c.input(0).shape, &y = c.input(1).shape;
  c.check(x.size() >= x_axes && y.size() >= y_axes, "expected operands of at least ", x_axes, " and ", y_axes,
          " axes, got shapes ", str(x), " and ", str(y));
  const Dim a = x[x.size() - x_inner], b = y[y.size() - y_inner];
  c.check(a == b, "expected equal sizes on the axes that are summed over, got ", a, " and ", b, " (shapes ", str(x),
          " and ", str(y), ")");
  Shape out = broadcast(c.name(), Shape(x.data(), x.size() - x_axes), Shape(y.data(), y.size() - y_axes));
  if (x_axes == 2) out.push_back(x[x.size() - 3 + x_inner]);
  if (y_axes == 2) out.push_back(y[y.size() - 3 + y_inner]);
  return one({numbers(c), out});
}

Tensor row(const Tensor& x) { return op<"unsqueeze">({x}, {Ints{-2}}); }
Tensor column(const Tensor& x) { return op<"unsqueeze">({x}, {Ints{-1}}); }
Tensor without(const Tensor& x, Ints axes) { return op<"squeeze">({x}, {axes}); }

OpBuilder product(OpBuilder o, const char* doc, const char* x, const char* y) {
  return o.family("linear algebra")
      .doc(doc)
      .input("x", x)
      .input("y", y)
      .bounds(1, "the number of terms summed, relative to the product of magnitudes");
}

Tensor vector_product(const Tensor& x, const Tensor& y) { return without(op<"matmul">({row(x), column(y)}), {-2, -1}); }

// beta * c + alpha * p. With beta 0, c is not looked at, so that its NaNs go.
Tensor blended(const Tensor& c, const Tensor& p, const Attr& beta, const Attr& alpha, const Ints& shape) {
  const auto scaled = [](const Tensor& t, const Attr& f) {
    if (f.floating() == 1) return t;
    return std::holds_alternative<double>(f.value()) ? op<"mul">({t, f.floating()}) : op<"mul">({t, f.integer()});
  };
  const Tensor y = scaled(p, alpha);
  if (beta.floating() == 0) return y.cast(c.dtype());
  return expand(op<"add">({scaled(c, beta), y}), shape);
}

struct Blend {
  const char *name, *doc, *a, *b, *out, *example;
  size_t rank_a, rank_b;
};

// The shape of the product of an addmm-like op; rank 3 operands that give a matrix are summed over the batch.
Shape blend_shape(const Inference& c, const Blend& f) {
  const Shape &a = c.input(1).shape, &b = c.input(2).shape;
  c.check(a.size() == f.rank_a && b.size() == f.rank_b, "expected operands of ", f.rank_a, " and ", f.rank_b,
          " axes, got shapes ", str(a), " and ", str(b));
  if (f.rank_a == 1) return Shape{a[0], b[0]};
  if (f.rank_a == 3) c.check(a[0] == b[0], "expected equal batch sizes, got ", a[0], " and ", b[0]);
  const size_t k = f.rank_a - 1, l = f.rank_a == 3 ? 1 : 0;
  c.check(a[k] == b[l], "expected equal inner sizes, got ", a[k], " and ", b[l], " (shapes ", str(a), " and ", str(b),
          ")");
  if (f.rank_b == 1) return Shape{a[0]};
  if (f.rank_a == 2) return Shape{a[0], b[1]};
  return std::string_view(f.name) == "baddbmm" ? Shape{a[0], a[1], b[2]} : Shape{a[1], b[2]};
}

void blend(OpBuilder o, Blend f) {
  o.family("linear algebra")
      .doc(std::string("beta * c + alpha * ") + f.doc +
           "; c broadcasts to the product's shape, and is not looked at when beta is 0. Errors: ValueError for shapes "
           "that do not fit, TypeError for operands of different dtypes.")
      .input("c", "broadcasts to the result")
      .input("a", f.a)
      .input("b", f.b)
      .attr("beta", AttrKind::floating, Attr(1), "factor of c")
      .attr("alpha", AttrKind::floating, Attr(1), "factor of the product")
      .output("y", f.out)
      .infer([f](const Inference& c) {
        const DType t = c.input(0).dtype;
        check_type(t != DType::boolean, c.name(), "numbers", t);
        for (size_t i = 1; i < 3; ++i)
          check_type(c.input(i).dtype == t, c.name(), (std::string("operands of c's dtype ") + long_name_of(t)).c_str(),
                     c.input(i).dtype);
        const bool fraction =
            std::holds_alternative<double>(c.attr(0).value()) || std::holds_alternative<double>(c.attr(1).value());
        check_type(is_floating(t) || !fraction, c.name(), "integer factors for integers", t);
        const Shape y = blend_shape(c, f);
        c.check(broadcast(c.name(), c.input(0).shape, y) == y, "expected c to broadcast to the product's shape ",
                str(y), ", got ", str(c.input(0).shape));
        return one({t, y});
      })
      .decompose([f](const Call& c) {
        const Ints shape = concrete(infer_now(c)[0].shape);
        const DType t = c.input(0).dtype(), work = acc_dtype(t);
        const Tensor base = c.input(0).cast(work), a = c.input(1).cast(work), b = c.input(2).cast(work);
        Tensor p;
        if (f.rank_a == 1)
          p = op<"mul">({column(a), b});
        else
          p = op<"matmul">({a, b});
        if (p.rank() > int64_t(shape.size())) p = sum(p, {0}, false);
        return Tensors{blended(base, p, c.attr(0), c.attr(1), shape).cast(t)};
      })
      .bounds(1, "the number of terms summed plus 3, relative to |beta c| + |alpha| |a| @ |b|")
      .example(f.example);
}

}  // namespace

TG_OPS(batched_products) {
  product(TG_OP(vecdot),
          "Inner products over the last axes of x (conjugate) and y; the other axes broadcast. Errors: ValueError for last axes of "
          "different sizes.",
          "[..., n]", "[..., n]")
      .attr("axis", AttrKind::integer, -1, "the axis, counted from the end")
      .infer([](const Inference& c) {
        TensorSpec x = c.input(0), y = c.input(1);
        const int64_t axis = c.attr(0).integer();
        c.check(axis < 0, "expected an axis counted from the end (negative), got ", axis);
        for (TensorSpec* s : {&x, &y}) {
          const size_t at = size_t(normalize_axis(c.name(), axis, int64_t(s->shape.size())));
          const Dim n = s->shape[at];
          s->shape.erase(at);
          s->shape.push_back(n);
        }
        const TensorSpec* moved[] = {&x, &y};
        return infer_batched(Inference{c.op, moved, c.attrs}, 1, 1, 1, 1);
      })
      .decompose([](const Call& c) {
        infer_now(c);
        const auto last = [&](const Tensor& t) {
          return c.attr(0).integer() == -1 ? t : op<"movedim">({t}, {Ints{c.attr(0).integer()}, Ints{-1}});
        };
        const Tensor x = is_complex(c.input(0).dtype()) ? op<"conj">({c.input(0)}) : c.input(0);
        return Tensors{vector_product(last(x), last(c.input(1)))};
      })
      .example(">>> tg.vecdot(tg.tensor([[1, 2], [3, 4]]), tg.tensor([1, 1])).tolist()\n[3, 7]");

  product(TG_OP(matvec), "Matrices times vectors, over the last axes; other axes broadcast.", "[..., m, n]", "[..., n]")
      .infer([](const Inference& c) { return infer_batched(c, 2, 1, 1, 1); })
      .decompose([](const Call& c) {
        infer_now(c);
        return Tensors{without(op<"matmul">({c.input(0), column(c.input(1))}), {-1})};
      })
      .example(">>> tg.matvec(tg.tensor([[1, 2], [3, 4]]), tg.tensor([1, 1])).tolist()\n[3, 7]");

  product(TG_OP(vecmat), "Vectors times matrices, over the last axes; other axes broadcast.", "[..., m]", "[..., m, n]")
      .infer([](const Inference& c) { return infer_batched(c, 1, 2, 1, 2); })
      .decompose([](const Call& c) {
        infer_now(c);
        return Tensors{without(op<"matmul">({row(c.input(0)), c.input(1)}), {-2})};
      })
      .example(">>> tg.vecmat(tg.tensor([1, 1]), tg.tensor([[1, 2], [3, 4]])).tolist()\n[4, 6]");

  TG_OP(bilinear).amp(Amp::low)
      .family("nn")
      .doc("y[..., o] = x1 . w[o] . x2 + b[o]. Errors: ValueError where sizes differ.")
      .input("x1", "[..., i]")
      .input("x2", "[..., j]")
      .input("w", "[o, i, j]")
      .optional_input("b", "[o]")
      .infer([](const Inference& c) {
        const Shape &x = c.input(0).shape, &y = c.input(1).shape, &w = c.input(2).shape;
        const DType t = c.input(0).dtype;
        c.check(w.size() == 3, "expected w of shape (o, i, j), got ", str(w));
        c.check(!x.empty() && !y.empty() && x.back() == w[1] && y.back() == w[2],
                "expected last sizes of x1 and x2 to be those of w ", str(w), ", got ", str(x), " and ", str(y));
        c.check(!c.has(3) || c.input(3).shape == Shape{w[0]}, "expected b of shape (", w[0], ",), got ",
                str(c.has(3) ? c.input(3).shape : Shape{}));
        for (size_t i = 0; i < 4; ++i)
          if (c.has(i))
            check_type(is_floating(t) && c.input(i).dtype == t, c.name(), "floats of one dtype", c.input(i).dtype);
        Shape out = broadcast(c.name(), Shape(x.data(), x.size() - 1), Shape(y.data(), y.size() - 1));
        out.push_back(w[0]);
        return one({t, out});
      })
      .decompose([](const Call& c) {
        infer_now(c);
        const DType t = c.input(0).dtype(), work = acc_dtype(t);
        const Tensor y = op<"einsum">({c.input(0).cast(work), c.input(2).cast(work), c.input(1).cast(work)},
                                      {"...i,oij,...j->...o", "left"});
        return Tensors{(c.has(3) ? op<"add">({y, c.input(3).cast(work)}) : y).cast(t)};
      })
      .bounds(1, "i * j + 2, relative to the same of magnitudes")
      .example(">>> x = tg.tensor([[1., 2.]])\n>>> tg.bilinear(x, x, tg.ones((1, 2, 2))).tolist()\n[[9.0]]");

  const char* example =
      ">>> a = tg.tensor([[1., 2.]])\n>>> tg.addmm(tg.tensor(1.), a, a.T, alpha=2).tolist()\n[[11.0]]";
  blend(TG_OP(addmm).amp(Amp::low), {"addmm", "a @ b", "[m, k]", "[k, n]", "[m, n]", example, 2, 2});
  blend(TG_OP(addmv).amp(Amp::low), {"addmv", "a @ b", "[m, k]", "[k]", "[m]",
                       ">>> a = tg.tensor([[1., 2.]])\n>>> tg.addmv(tg.tensor([1.]), a, a[0]).tolist()\n[6.0]", 2, 1});
  blend(TG_OP(addr).amp(Amp::low),
        {"addr", "the outer product of a and b", "[m]", "[n]", "[m, n]",
         ">>> tg.addr(tg.tensor(0.), tg.tensor([1., 2.]), tg.tensor([3.])).tolist()\n[[3.0], [6.0]]", 1, 1});
  blend(TG_OP(baddbmm).amp(Amp::low), {"baddbmm", "a @ b, batched", "[B, m, k]", "[B, k, n]", "[B, m, n]",
                         ">>> a = tg.ones((2, 1, 3))\n>>> tg.baddbmm(tg.tensor(1.), a, a.mT).tolist()\n"
                         "[[[4.0]], [[4.0]]]",
                         3, 3});
  blend(TG_OP(addbmm).amp(Amp::low), {"addbmm", "the sum over the batch of a @ b", "[B, m, k]", "[B, k, n]", "[m, n]",
                        ">>> a = tg.ones((2, 1, 3))\n>>> tg.addbmm(tg.tensor(1.), a, a.mT).tolist()\n[[7.0]]", 3, 3});
}

}  // namespace tg
