// SPDX-License-Identifier: Apache-2.0
// The leaf ops: factorizations that do not decompose onto the floor, each a kernel row of its name without "leaf_"
// (docs/design/004-linalg.md). They take f32, f64, c64 and c128, never fail on a matrix (info says which ones failed and how), and
// have the gradients; the ops that people call are in linalg.cc.
#include "linalg.h"

namespace tg {
namespace {

using namespace linalg;

TensorSpec info_of(const Shape& batch) { return {DType::i32, batch}; }

void check_leaf(const Inference& c, size_t i) {
  const DType t = c.input(i).dtype;
  check_type(real_dtype(t) == DType::f32 || real_dtype(t) == DType::f64, c.name(), "float32, float64 or complex numbers", t);
  check_type(t == c.input(0).dtype, c.name(), "operands of one dtype", t);
}

// Murray 2016, "Differentiation of the Cholesky decomposition": for A = L L^H, L^-H phi(L^H dL) L^-1, made Hermitian;
// phi takes the lower triangle with half the diagonal.
Tensors cholesky_gradient(const Backward& b) {
  const Tensor& l = b.output(0);
  Tensor p = tril(matmul(mH(l), b.grad()));
  p = sub(p, mul(op<"diagonal_backward">({diagonal(p)}, {p.shape(), 0, -2, -1}), 0.5));
  const Tensor s = solve_triangular(mH(l), mH(solve_triangular(mH(l), mH(p), true)), true);
  return {hermitian(s)};
}

// For P A = L U with A [m, n]: the square case is L^-T (tril(L^T dL, -1) + triu(dU U^T)) U^-T; the columns or rows
// beyond it add to dL or dU first.
Tensors lu_gradient(const Backward& b) {
  const Tensor &lu = b.output(0), &g = b.grad(), &permutation = b.output(3);
  const int64_t m = lu.size(-2), n = lu.size(-1), k = std::min(m, n);
  const auto block = [&](const Tensor& x, int64_t r0, int64_t r1, int64_t c0, int64_t c1) {
    return slice(slice(x, -2, r0, r1), -1, c0, c1);
  };
  const Tensor square = block(lu, 0, k, 0, k), lower = tril(square, -1), upper = triu(square);
  const Tensor g_square = block(g, 0, k, 0, k);
  const Tensor unit = add(lower, eye(k, k, lu));
  Tensor inner_l = matmul(mT(unit), tril(g_square, -1)), inner_u = matmul(triu(g_square), mT(upper)), beyond;
  if (n > k) {  // U2 = L^-1 A2
    const Tensor g2 = block(g, 0, k, k, n);
    beyond = solve_triangular(mT(unit), g2, true, true);
    inner_l = sub(inner_l, matmul(g2, mT(block(lu, 0, k, k, n))));
  } else if (m > k) {  // L2 = A2 U^-1
    const Tensor g2 = block(g, k, m, 0, k);
    beyond = mT(solve_triangular(upper, mT(g2), true));
    inner_u = sub(inner_u, matmul(mT(block(lu, k, m, 0, k)), g2));
  }
  Tensor s = add(tril(inner_l, -1), triu(inner_u));
  s = solve_triangular(mT(unit), s, true, true);  // L^-T s
  s = mT(solve_triangular(upper, mT(s), true));   // s U^-T
  if (beyond.defined()) s = op<"concat">({s, beyond}, {n > k ? -1 : -2});
  return {take_rows(s, inverse_permutation(permutation))};
}

// Walter & Lehmann 2012, Seeger et al. 2017: for A = Q R with R square, (dQ + Q copyltu(R dR^H - dQ^H Q)) R^-H, where
// copyltu mirrors the lower triangle (of a real diagonal, as R's is real). For a wide A = [X Y], R = [U V]: Q and U are X's, V = Q^T Y.
Tensors qr_gradient(const Backward& b) {
  const Tensor &q = b.output(0), &r = b.output(1);
  Tensor gq = b.grads[0], gr = b.grads[1];
  const int64_t m = q.size(-2), k = r.size(-2), n = r.size(-1);
  if (b.attr(0).integer() && m > n)
    raise(ErrorKind::runtime,
          "[qr] expected mode 'reduced' for a gradient of a tall matrix: the columns of Q beyond R's "
          "are not a function of it");
  const bool wide = n > k;
  Tensor u = r, gu = gr, y_gradient;
  if (wide) {
    u = slice(r, -1, 0, k);
    if (gr.defined()) {
      gu = slice(gr, -1, 0, k);
      const Tensor gv = slice(gr, -1, k, n), v = slice(r, -1, k, n);
      // Y = Q V + (I - Q Q^T) Y, and Q is square here: Y = Q V.
      gq = add(gq, matmul(matmul(q, v), mH(gv)));
      y_gradient = matmul(q, gv);
    } else {
      y_gradient = op<"zeros_like">({slice(b.input(0), -1, k, n)});
    }
  }
  Tensor s;
  if (gu.defined()) s = matmul(u, mH(gu));
  if (gq.defined()) s = s.defined() ? sub(s, matmul(mH(gq), q)) : neg(matmul(mH(gq), q));
  const Tensor d = diagonal(s), straight = is_complex(s.dtype()) ? op<"real">({d}) : d;
  s = add(add(tril(s, -1), mH(tril(s, -1))), op<"diagonal_backward">({straight}, {s.shape(), 0, -2, -1}));
  s = matmul(q, s);
  Tensor x_gradient = mH(solve_triangular(u, mH(add(s, gq)), true));
  return {wide ? op<"concat">({x_gradient, y_gradient}, {-1}) : x_gradient};
}

// 1 / (x_j - x_i) off the diagonal, 0 on it: not finite where two are equal, where the gradient is not defined.
Tensor inverse_gaps(const Tensor& x) {
  const Tensor gap = sub(row(x), column(x));
  const Tensor on = op<"cast">({eye(x.size(-1), x.size(-1), x)}, {DType::boolean});
  return op<"where">({on, 0.0, op<"reciprocal">({op<"where">({on, 1.0, gap})})});
}

// Townsend 2016, "Differentiating the singular value decomposition". With F = 1 / (s_j^2 - s_i^2):
// U (F o skew(U^H dU) S + S F o skew(V^H dV) + ds) V^H + (I - U U^H) dU S^-1 V^H + U S^-1 dV^H (I - V V^H); of complex
// matrices also U (i Im diag(U^H dU) S^-1) V^H (Wan & Zhang 2019).
Tensors svd_gradient(const Backward& b) {
  Tensor gu = b.grads[0], gvh = b.grads[2];
  const Tensor& gs = b.grads[1];
  const Ints& shape = b.input_shape(0);
  const int64_t m = shape[shape.size() - 2], n = shape[shape.size() - 1], k = std::min(m, n);
  if (b.attr(0).integer() && m != n) {
    const auto function = [&](const Tensor& g, int64_t axis) {  // of the vectors that A determines
      if (!g.defined() || g.size(axis) == k) return g;
      const Tensor beyond = slice(g, axis, k, g.size(axis)).detach();
      if (beyond.numel() && op<"any">({op<"ne">({beyond, 0.0})}).item() != 0)
        raise(ErrorKind::runtime,
              "[svd] expected a loss of the first ", k, " vectors alone, got a gradient of those beyond the singular values, "
              "which are not a function of the matrix; use full_matrices=False");
      return slice(g, axis, 0, k);
    };
    gu = function(gu, -1), gvh = function(gvh, -2);
  }
  const Tensor u = slice(b.output(0), -1, 0, k), s = b.output(1), vh = slice(b.output(2), -2, 0, k);
  if (!gu.defined() && !gvh.defined()) return {matmul(mul(u, row(gs)), vh)};
  const Tensor f = inverse_gaps(op<"square">({s}));
  const auto skew = [](const Tensor& x) { return sub(x, mH(x)); };
  Tensor inner, result;
  if (gu.defined()) inner = mul(mul(skew(matmul(mH(u), gu)), f), row(s));
  if (gu.defined() && is_complex(u.dtype())) {
    const Tensor turn = op<"div">({op<"imag">({diagonal(matmul(mH(u), gu))}), s});
    inner = add(inner, op<"diagonal_backward">({op<"complex">({zeros_like(turn), turn})}, {inner.shape(), 0, -2, -1}));
  }
  if (gvh.defined()) inner = add(inner, mul(column(s), mul(skew(matmul(vh, mH(gvh))), f)));
  if (gs.defined()) inner = add(inner, op<"diagonal_backward">({gs}, {inner.shape(), 0, -2, -1}));
  result = matmul(matmul(u, inner), vh);
  if (gu.defined() && m > k) {
    const Tensor x = op<"div">({gu, row(s)});
    result = add(result, matmul(sub(x, matmul(u, matmul(mH(u), x))), vh));
  }
  if (gvh.defined() && n > k) {
    const Tensor x = op<"div">({gvh, column(s)});
    result = add(result, matmul(u, sub(x, matmul(matmul(x, mH(vh)), vh))));
  }
  return {result};
}

// Giles 2008: V (dw + V^H dV o 1 / (w_j - w_i)) V^H, made Hermitian.
Tensors eigh_gradient(const Backward& b) {
  const Tensor &gw = b.grads[0], &gv = b.grads[1];
  const Tensor &w = b.output(0), &v = b.output(1);
  if (!gv.defined()) return {matmul(mul(v, row(gw)), mH(v))};
  Tensor inner = mul(matmul(mH(v), gv), inverse_gaps(w));
  if (gw.defined()) inner = add(inner, op<"diagonal_backward">({gw}, {inner.shape(), 0, -2, -1}));
  return {hermitian(matmul(matmul(v, inner), mH(v)))};
}

// Giles 2008: V^-H (diag(dw) + (V^H dV - V^H V diag(Re(V^H dV))) / conj(w_j - w_i)) V^H; columns have length 1.
Tensors eig_gradient(const Backward& b) {
  const Tensor &gw = b.grads[0], &gv = b.grads[1];
  const Tensor &w = b.output(0), &v = b.output(1);
  Tensor inner;
  if (gv.defined()) {
    const Tensor both = matmul(mH(v), gv), along = op<"real">({diagonal(both)});
    inner = mul(sub(both, mul(matmul(mH(v), v), row(along))), conj(inverse_gaps(w)));
  }
  if (gw.defined()) inner = add(inner, op<"diagonal_backward">({gw}, {v.shape(), 0, -2, -1}));
  return {op<"solve">({mH(v), matmul(inner, mH(v))})};
}

Tensors triangular_gradient(const Backward& b) {
  const bool upper = b.attr(0).boolean(), unit = b.attr(1).boolean();
  const Tensor g = solve_triangular(mT(b.input(0)), b.grad(), !upper, unit);
  Tensors out(2);
  if (b.need(0)) {
    const Tensor s = neg(matmul(g, mT(b.output())));
    out[0] = upper ? triu(s, unit ? 1 : 0) : tril(s, unit ? -1 : 0);
  }
  if (b.need(1)) out[1] = g;
  return out;
}

}  // namespace

TG_OPS(linalg_leaves) {
  TG_OP(leaf_cholesky)
      .kernel("cholesky")
      .internal()
      .family("leaf")
      .doc("L of A = L L^H; only A's lower triangle is looked at.")
      .input("a", "[..., n, n]")
      .output("l", "lower triangular, zeros above")
      .output("info", "i32[...]: 0, or the order of the leading minor that is not positive")
      .infer([](const Inference& c) {
        const Shape& a = matrices(c, 0, true);
        check_leaf(c, 0);
        return Specs{c.input(0), info_of(batch_of(a))};
      })
      .grad(cholesky_gradient)
      .own_conj()
      .saves(0, 1)
      .batch_axes({})
      .bounds(4, "n, for L L^T relative to the trace of A");

  TG_OP(leaf_lu)
      .kernel("lu")
      .internal()
      .family("leaf")
      .doc("P A = L U with partial pivoting.")
      .input("a", "[..., m, n]")
      .output("lu", "[..., m, n]: L below the diagonal (its diagonal is 1), U on and above it")
      .output("pivots", "i32[..., min(m, n)]: row i was exchanged with row pivots[i], counted from 1, in this order")
      .output("info", "i32[...]: 0, or i where U[i, i] (counted from 1) is the first that is 0")
      .hidden_output("permutation", "i64[..., m]: row i of P A is row permutation[i] of A")
      .infer([](const Inference& c) {
        const Shape& a = matrices(c);
        check_leaf(c, 0);
        const Dim m = a[a.size() - 2], k = smaller(m, a.back());
        const Shape batch = batch_of(a);
        return Specs{c.input(0), {DType::i32, with(batch, {k})}, info_of(batch), {DType::i64, with(batch, {m})}};
      })
      .grad(lu_gradient)
      .saves(0, 0b1001)
      .batch_axes({})
      .bounds(8, "n times the growth of pivoting, for L U relative to |L| |U|");

  TG_OP(leaf_qr)
      .kernel("qr")
      .internal()
      .family("leaf")
      .doc("A = Q R.")
      .input("a", "[..., m, n]")
      .attr("complete", AttrKind::integer, 0, "1: Q is square")
      .output("q", "[..., m, k], k = min(m, n), complete: m")
      .output("r", "[..., k, n], zeros below the diagonal, which is real")
      .infer([](const Inference& c) {
        const Shape& a = matrices(c);
        check_leaf(c, 0);
        const Dim m = a[a.size() - 2], n = a.back(), k = c.attr(0).integer() ? m : smaller(m, n);
        const DType t = c.input(0).dtype;
        return Specs{{t, with(batch_of(a), {m, k})}, {t, with(batch_of(a), {k, n})}};
      })
      .grad(qr_gradient)
      .own_conj()
      .saves(1, 3)
      .batch_axes({})
      .bounds(8, "m n, for Q R and Q^T Q relative to the norm of A");

  TG_OP(leaf_svd)
      .kernel("svd")
      .internal()
      .family("leaf")
      .doc("A = U diag(s) Vh.")
      .input("a", "[..., m, n]")
      .attr("full", AttrKind::integer, 0, "1: U and Vh are square")
      .hidden_output("u", "[..., m, k], k = min(m, n), full: m")
      .output("s", "[..., min(m, n)], descending, not negative")
      .hidden_output("vh", "[..., k, n], full: k = n; wanted exactly when u is")
      .output("info", "i32[...]: 0, or > 0 where the iteration did not converge")
      .infer([](const Inference& c) {
        const Shape& a = matrices(c);
        check_leaf(c, 0);
        const Dim m = a[a.size() - 2], n = a.back(), k = smaller(m, n);
        const bool full = c.attr(0).integer() != 0;
        const Shape batch = batch_of(a);
        const DType t = c.input(0).dtype;
        return Specs{{t, with(batch, {m, full ? m : k})},
                     {real_dtype(t), with(batch, {k})},
                     {t, with(batch, {full ? n : k, n})},
                     info_of(batch)};
      })
      .grad(svd_gradient)
      .own_conj()
      .saves(0, 7)
      .batch_axes({})
      .bounds(16, "m n, relative to the norm of A");

  TG_OP(leaf_eigh)
      .kernel("eigh")
      .internal()
      .family("leaf")
      .doc("A = V diag(w) V^H of Hermitian matrices; only A's lower triangle is looked at.")
      .input("a", "[..., n, n]")
      .output("w", "[..., n], ascending")
      .hidden_output("v", "[..., n, n]: eigenvectors in columns")
      .output("info", "i32[...]: 0, or > 0 where the iteration did not converge")
      .infer([](const Inference& c) {
        const Shape& a = matrices(c, 0, true);
        check_leaf(c, 0);
        return Specs{{real_dtype(c.input(0).dtype), batch_of(a, 1)}, c.input(0), info_of(batch_of(a))};
      })
      .grad(eigh_gradient)
      .own_conj()
      .saves(0, 3)
      .batch_axes({})
      .bounds(16, "n, relative to the norm of A");

  TG_OP(leaf_eig)
      .kernel("eig")
      .internal()
      .family("leaf")
      .doc("A = V diag(w) V^-1 of complex matrices.")
      .input("a", "[..., n, n], c64 or c128")
      .output("w", "[..., n], in no order")
      .hidden_output("v", "[..., n, n]: eigenvectors of length 1 in columns")
      .output("info", "i32[...]: 0, or > 0 where the iteration did not converge")
      .infer([](const Inference& c) {
        const Shape& a = matrices(c, 0, true);
        check_type(is_complex(c.input(0).dtype), c.name(), "complex numbers", c.input(0).dtype);
        return Specs{{c.input(0).dtype, batch_of(a, 1)}, c.input(0), info_of(batch_of(a))};
      })
      .grad(eig_gradient)
      .own_conj()
      .saves(0, 3)
      .batch_axes({})
      .bounds(16, "n, relative to the norm of A times the condition of V");

  TG_OP(leaf_triangular_solve)
      .kernel("triangular_solve")
      .internal()
      .family("leaf")
      .doc("X of A X = B for triangular A; the other triangle is not looked at.")
      .input("a", "[..., n, n]")
      .input("b", "[..., n, k]")
      .attr("upper", AttrKind::boolean, false, "which triangle")
      .attr("unit", AttrKind::boolean, false, "the diagonal counts as 1 and is not looked at")
      .output("x", "[..., n, k]")
      .infer([](const Inference& c) {
        const Shape &a = matrices(c, 0, true), &b = matrices(c, 1);
        check_leaf(c, 0), check_leaf(c, 1);
        c.check(a.back() == b[b.size() - 2], "expected ", a.back(), " rows in b, got ", str(b));
        c.check(batch_of(a) == batch_of(b), "expected equal batch sizes, got shapes ", str(a), " and ", str(b));
        return one(c.input(1));
      })
      .grad(triangular_gradient)
      .saves(1, 1)
      .batch_axes({})
      .bounds(1, "n, relative to |A^-1| |A| |X|");
}

}  // namespace tg
