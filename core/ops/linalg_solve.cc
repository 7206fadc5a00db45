// SPDX-License-Identifier: Apache-2.0
// Linear systems, inverses and determinants, over the factorizations.
#include "linalg.h"

namespace tg {
namespace {

using namespace linalg;

constexpr const char* kBound = "n, relative to |A^-1| |A| |X|";

OpBuilder linear_algebra(OpBuilder o, const char* doc) { return o.family("linear algebra").doc(doc).bounds(8, kBound); }

// b of A X = B may be a vector: only with one axis (as in NumPy 2 and the array API).
struct System {
  Shape x;
  bool vector;
};
System system(const Inference& c, size_t a_at, size_t b_at, bool left, bool square = true) {
  const Shape &a = matrices(c, a_at, square), &b = c.input(b_at).shape;
  check_type(c.input(b_at).dtype == c.input(a_at).dtype, c.name(),
             (std::string("operands of one dtype, ") + long_name_of(c.input(a_at).dtype)).c_str(), c.input(b_at).dtype);
  c.check(!b.empty(), "expected a vector or matrices on the right-hand side, got a 0-d tensor");
  const bool vector = b.size() == 1;
  c.check(left || !vector, "expected matrices with left=False, got shape ", str(b));
  const Dim rows = vector || !left ? b.back() : b[b.size() - 2];
  c.check(rows == a.back(), "expected ", a.back(), left ? " rows" : " columns", " in b, got ", rows, " (shapes ",
          str(a), " and ", str(b), ")");
  if (vector) return {with(batch_of(a), {a.back()}), true};
  const Shape batch = broadcast(c.name(), batch_of(a), batch_of(b));
  return {with(batch, {b[b.size() - 2], b.back()}), false};
}

// f(A, B) as a system of matrices from the left, in at least f32.
template <class F>
Tensor solved(const Tensor& a, const Tensor& b, bool left, F&& f) {
  const DType t = b.dtype(), w = acc_dtype(t);
  if (b.rank() == 1) return op<"squeeze">({f(a.cast(w), column(b).cast(w))}, {Ints{-1}}).cast(t);
  if (left) return f(a.cast(w), b.cast(w)).cast(t);
  return mT(f(mT(a).cast(w), mT(b).cast(w))).cast(t);
}

Tensor with_lu(const Tensor& lu, const Tensor& permutation, const Tensor& b) {
  return solve_triangular(lu, solve_triangular(lu, take_rows(b, permutation), false, true), true);
}

// Pivots as exchanges of rows, in host memory, to the order of the rows.
Tensor permutation_of(const Tensor& pivots, int64_t m) {
  const Ints batch = batch_of(pivots.shape(), 1);
  const int64_t k = pivots.size(-1), n = tg::numel(batch);
  std::vector<int32_t> p(size_t(n * k));
  pivots.cast(DType::i32).to_host(p.data());
  std::vector<int64_t> order(size_t(n * m));
  for (int64_t b = 0; b < n; ++b) {
    int64_t* rows = order.data() + b * m;
    for (int64_t i = 0; i < m; ++i) rows[i] = i;
    for (int64_t i = 0; i < k; ++i) {
      const int64_t j = p[size_t(b * k + i)] - 1;
      check(j >= 0 && j < m, "[lu_solve] expected pivots between 1 and ", m, ", got ", j + 1);
      std::swap(rows[i], rows[j]);
    }
  }
  return Tensor::from_host(order.data(), with(batch, {m}), DType::i64, pivots.device());
}

// The cofactors of singular matrices, too: det(U) det(Vh) conj(U) diag(products of the other singular values) conj(Vh).
Tensor cofactors(const Tensor& a) {
  const Tensors r = ops<"svd">({a}, {true});
  const int64_t n = a.size(-1);
  const Tensor on = op<"cast">({eye(n, n, a)}, {DType::boolean});
  const Tensor others = op<"prod">({op<"where">({on, 1.0, expand(row(r[1]), a.shape())})}, {Ints{-1}, false});
  const Tensor sign = mul(op<"det">({r[0]}), op<"det">({r[2]}));
  return mul(column(column(sign)), matmul(mul(conj(r[0]), row(others)), conj(r[2])));
}

// (sign of the permutation, diagonal of U)
Tensors determinant_parts(const Tensor& a) {
  const Tensors r = ops<"leaf_lu">({a});
  const int64_t n = a.size(-1);
  const Tensor moved = op<"ne">({r[1], iota(n, 1, 1, DType::i32, a.device())});
  const Tensor odd = op<"remainder">({op<"sum">({op<"cast">({moved}, {DType::i32})}, {Ints{-1}, false}), 2});
  return {op<"sub">({1.0, mul(odd.cast(a.dtype()), 2.0)}), diagonal(r[0])};
}

Specs scalars(const Inference& c, size_t n) {
  return Specs(n, TensorSpec{c.input(0).dtype, batch_of(matrices(c, 0, true))});
}
Tensor each(const Tensor& g) { return column(column(g)); }  // one number per matrix, to multiply it with

// e^A by scaling and squaring (Higham 2005) of the Taylor polynomial of degree 16, evaluated in powers of A^4: at norms
// of 1/2 and less its truncation error is 2^-17/17! < 1e-19.
Tensor exponential(const Tensor& a) {
  const int64_t n = a.size(-1);
  Tensor norm, scale;
  int64_t most = 0;
  {
    const Tensor x = a.detach();  // squarings for each matrix: none for norms up to 1/2
    norm = op<"max">({op<"sum">({op<"abs">({x})}, {Ints{-2}, false})}, {Ints{-1}, false});
    const Tensor s = op<"ceil">({op<"log2">({op<"maximum">({norm, 0.5})})});
    scale = op<"add">({op<"where">({op<"isfinite">({s}), s, 0.0}), 1.0});
    const Tensor top = op<"max">({in_memory(scale)}, {Ints{}, false});
    most = int64_t(top.item());
  }
  const Tensor x = mul(a, each(op<"exp2">({neg(scale)})));
  const Tensor x2 = matmul(x, x), x3 = matmul(x2, x), x4 = matmul(x2, x2), one = expand(eye(n, n, a), a.shape());
  double f[17] = {1};
  for (int i = 1; i <= 16; ++i) f[i] = f[i - 1] / i;
  const auto cubic = [&](int i) {  // terms i to i + 3, over x^i
    return add(add(mul(one, f[i]), mul(x, f[i + 1])), add(mul(x2, f[i + 2]), mul(x3, f[i + 3])));
  };
  Tensor y = add(cubic(12), mul(x4, f[16]));
  for (int i = 8; i >= 0; i -= 4) y = add(cubic(i), matmul(x4, y));
  for (int64_t i = 0; i < most; ++i) y = op<"where">({each(op<"gt">({scale, double(i)})), matmul(y, y), y});
  return y;
}

}  // namespace

TG_OPS(linalg_solve) {
  constexpr const char* kSquare = "[..., n, n]";

  linear_algebra(
      TG_OP(solve_triangular).amp(Amp::f32),
      "X of A X = B for triangular A; the other triangle is not looked at. Zeros on the diagonal give inf and "
      "nan. Errors: ValueError for shapes that do not fit.")
      .input("a", kSquare)
      .input("b", "[..., n, k]; left=False: [..., k, n]")
      .attr("upper", AttrKind::boolean, "which triangle")
      .attr("left", AttrKind::boolean, true, "False: X A = B")
      .attr("unitriangular", AttrKind::boolean, false, "the diagonal counts as 1 and is not looked at")
      .infer([](const Inference& c) {
        c.check(c.input(1).shape.size() >= 2, "expected matrices on the right-hand side, got shape ",
                str(c.input(1).shape));
        return one({c.input(0).dtype, system(c, 0, 1, c.attr(1).boolean()).x});
      })
      .decompose([](const Call& c) {
        infer_now(c);
        const bool left = c.attr(1).boolean(), upper = c.attr(0).boolean() == left;
        return Tensors{solved(c.input(0), c.input(1), left, [&](const Tensor& a, const Tensor& b) {
          return solve_triangular(a, b, upper, c.attr(2).boolean());
        })};
      })
      .function_only()
      .example(
          ">>> a = tg.tensor([[2., 0.], [1., 1.]])\n"
          ">>> tg.solve_triangular(a, tg.tensor([[2.], [3.]]), upper=False).tolist()\n[[1.0], [2.0]]");

  const auto solve_grad = [](const Backward& b) {
    const bool left = b.attr(0).boolean();
    Tensor g = b.grad();
    const Tensor& x = b.output();
    const bool vector = b.input_shape(1).size() == 1;
    if (vector) g = column(g);
    const Tensor gb = op<"solve_ex">({mT(b.input(0)), g}, {left});
    Tensors out(2);
    if (b.need(0)) {
      const Tensor s = vector ? column(x) : x;
      out[0] = neg(left ? matmul(gb, mT(s)) : matmul(mT(s), gb));
    }
    if (b.need(1)) out[1] = vector ? op<"squeeze">({gb}, {Ints{-1}}) : gb;
    return out;
  };
  linear_algebra(TG_OP(solve_ex).amp(Amp::f32),
                 "As solve, but a singular matrix does not raise: its result is not finite.")
      .input("a", kSquare)
      .input("b", "[..., n, k] or [n]; left=False: [..., k, n]")
      .attr("left", AttrKind::boolean, true, "False: X A = B")
      .output("result", "b's shape, batches broadcast")
      .output("info", "i32[...]: 0, or i where U[i, i] of P A = L U is the first that is 0")
      .infer([](const Inference& c) {
        const System s = system(c, 0, 1, c.attr(0).boolean());
        return Specs{{c.input(0).dtype, s.x}, {DType::i32, batch_of(c.input(0).shape)}};
      })
      .decompose([](const Call& c) {
        infer_now(c);
        Tensor info;
        const Tensor x = solved(c.input(0), c.input(1), c.attr(0).boolean(), [&](const Tensor& a, const Tensor& b) {
          const Tensors r = ops<"leaf_lu">({a});
          info = r[2];
          return with_lu(r[0], r[3], b);
        });
        return Tensors{x, info};
      })
      .grad(solve_grad)
      .saves(1, 1)
      .function_only()
      .example(">>> tg.solve_ex(tg.tensor([[1., 1.], [1., 1.]]), tg.ones(2)).info.item()\n2");
  linear_algebra(TG_OP(solve).amp(Amp::f32),
                 "X of A X = B for square A, by LU with partial pivoting. A right-hand side of one axis is a vector. "
                 "Errors: LinAlgError for a singular matrix, ValueError for shapes that do not fit.")
      .input("a", kSquare)
      .input("b", "[..., n, k] or [n]; left=False: [..., k, n]")
      .attr("left", AttrKind::boolean, true, "False: X A = B")
      .output("result", "b's shape, batches broadcast")
      .infer([](const Inference& c) {
        return one({c.input(0).dtype, system(c, 0, 1, c.attr(0).boolean()).x});
      })
      .decompose([](const Call& c) {
        infer_now(c);
        const Tensors r = ops<"solve_ex">({c.input(0), c.input(1)}, {c.attr(0)});
        check_info(c.op.name, r[1], singular);
        return Tensors{r[0]};
      })
      .function_only()
      .example(">>> tg.solve(tg.tensor([[2., 0.], [0., 4.]]), tg.tensor([2., 4.])).tolist()\n[1.0, 1.0]");

  linear_algebra(TG_OP(lu_solve).amp(Amp::f32),
                 "X of A X = B from the factors that lu_factor gives. Pivots are read in host memory.")
      .input("lu", kSquare)
      .input("pivots", "i32[..., n]")
      .input("b", "[..., n, k] or [n]; left=False: [..., k, n]")
      .attr("left", AttrKind::boolean, true, "False: X A = B")
      .attr("adjoint", AttrKind::boolean, false, "A^H instead of A")
      .infer([](const Inference& c) {
        check_type(is_integer(c.input(1).dtype), c.name(), "integers as pivots", c.input(1).dtype);
        c.check(c.input(0).shape.size() >= 2, "expected factors of shape (..., n, n), got ", str(c.input(0).shape));
        c.check(c.input(1).shape == batch_of(c.input(0).shape, 1), "expected pivots of shape ",
                str(batch_of(c.input(0).shape, 1)), ", got ", str(c.input(1).shape));
        return one({c.input(0).dtype, system(c, 0, 2, c.attr(0).boolean()).x});
      })
      .decompose([](const Call& c) {
        infer_now(c);
        const bool left = c.attr(0).boolean(), transposed = c.attr(1).boolean() == left;
        const Tensor &lu = c.input(0), b = c.input(2);
        const Tensor order = permutation_of(c.input(1), lu.size(-1));
        return Tensors{solved(left ? lu : mT(lu), b, left, [&](const Tensor& f, const Tensor& b) {
          if (!transposed) return with_lu(c.attr(1).boolean() ? conj(f) : f, order, b);
          // A^H = U^H L^H P, and of the transposed system A^T
          const Tensor ft = c.attr(1).boolean() ? mH(f) : mT(f);
          const Tensor y = solve_triangular(ft, solve_triangular(ft, b, false), true, true);
          return take_rows(y, inverse_permutation(order));
        })};
      })
      .batch([](const Batch& b) {  // its pivots are read
        const bool vector = b.rank(2) == 1;
        const int64_t axes = std::max(b.rank(0) - 2, vector ? 0 : b.rank(2) - 2);
        const Tensor right = vector ? column(lined_up(b, 2, axes, 1)) : lined_up(b, 2, axes, 2);
        const Arg in[] = {lined_up(b, 0, axes, 2), lined_up(b, 1, axes, 1), right};
        Tensors out = b.call(b.op, in, b.attrs);
        if (vector) out[0] = op<"squeeze">({out[0]}, {Ints{-1}});
        return out;
      })
      .function_only()
      .example(
          ">>> f = tg.lu_factor(tg.tensor([[0., 1.], [2., 4.]]))\n"
          ">>> tg.lu_solve(f.LU, f.pivots, tg.tensor([1., 6.])).tolist()\n[1.0, 1.0]");

  linear_algebra(TG_OP(cholesky_solve).amp(Amp::f32), "X of A X = B from the factor that cholesky gives.")
      .input("b", "[..., n, k] or [n]")
      .input("l", kSquare)
      .attr("upper", AttrKind::boolean, false, "the factor is U of A = U^H U")
      .infer([](const Inference& c) {
        return one({c.input(1).dtype, system(c, 1, 0, true).x});
      })
      .decompose([](const Call& c) {
        infer_now(c);
        return Tensors{solved(c.input(1), c.input(0), true, [&](const Tensor& a, const Tensor& b) {
          const Tensor l = c.attr(0).boolean() ? mH(a) : a;
          return solve_triangular(mH(l), solve_triangular(l, b, false), true);
        })};
      })
      .function_only()
      .example(
          ">>> l = tg.cholesky(tg.tensor([[4., 0.], [0., 9.]]))\n"
          ">>> tg.cholesky_solve(tg.tensor([4., 9.]), l).tolist()\n[1.0, 1.0]");

  linear_algebra(TG_OP(inv_ex).amp(Amp::f32), "As inv, but a singular matrix does not raise: its result is not finite.")
      .input("a", kSquare)
      .output("inverse", kSquare)
      .output("info", "i32[...]: 0, or i where U[i, i] of P A = L U is the first that is 0")
      .infer([](const Inference& c) {
        return Specs{c.input(0), {DType::i32, batch_of(matrices(c, 0, true))}};
      })
      .decompose([](const Call& c) {
        infer_now(c);
        const Tensor a = c.input(0).cast(acc_dtype(c.input(0).dtype()));
        const Tensors r = ops<"solve_ex">({a, eye(a.size(-1), a.size(-1), a)}, {true});
        return Tensors{r[0].cast(c.input(0).dtype()), r[1]};
      })
      .grad([](const Backward& b) {
        const Tensor y = mT(b.output());
        return Tensors{neg(matmul(matmul(y, b.grad()), y))};
      })
      .saves(0, 1)
      .function_only()
      .example(">>> tg.inv_ex(tg.tensor([[0.]])).info.item()\n1");
  linear_algebra(
      TG_OP(inv).amp(Amp::f32),
      "The inverse of square matrices; to multiply with it, solve is faster and more exact. Errors: LinAlgError "
      "for a singular matrix.")
      .input("a", kSquare)
      .output("inverse", kSquare)
      .infer([](const Inference& c) {
        matrices(c, 0, true);
        return one(c.input(0));
      })
      .decompose([](const Call& c) {
        infer_now(c);
        const Tensors r = ops<"inv_ex">({c.input(0)});
        check_info(c.op.name, r[1], singular);
        return Tensors{r[0]};
      })
      .example(">>> tg.inv(tg.tensor([[2., 0.], [0., 4.]])).tolist()\n[[0.5, 0.0], [0.0, 0.25]]");

  linear_algebra(TG_OP(det).amp(Amp::f32),
                 "The determinant of square matrices, 0 for singular ones (where the gradient is right, too).")
      .input("a", kSquare)
      .output("det", "[...]")
      .infer([](const Inference& c) { return scalars(c, 1); })
      .decompose([](const Call& c) {
        infer_now(c);
        const Tensors r = determinant_parts(c.input(0).cast(acc_dtype(c.input(0).dtype())));
        return Tensors{mul(r[0], op<"prod">({r[1]}, {Ints{-1}, false})).cast(c.input(0).dtype())};
      })
      .grad([](const Backward& b) {
        const Tensor& a = b.input(0);
        const Tensors r = ops<"inv_ex">({a});
        const auto info = Info(r[1]).values;
        const bool any_singular = std::any_of(info.begin(), info.end(), [](int32_t i) { return i != 0; });
        return Tensors{any_singular ? mul(each(b.grad()), cofactors(a))
                                    : mul(each(mul(b.grad(), b.output())), mT(r[0]))};
      })
      .saves(1, 1)
      .example(">>> tg.det(tg.tensor([[2., 1.], [0., 3.]])).item()\n6.0");
  linear_algebra(TG_OP(slogdet).amp(Amp::f32),
                 "Sign and logarithm of the magnitude of the determinant; 0 and -inf for singular matrices.")
      .input("a", kSquare)
      .output("sign", "[...]: -1, 0 or 1, no gradient; complex: on the unit circle or 0")
      .output("logabsdet", "[...]")
      .infer([](const Inference& c) {
        Specs s = scalars(c, 2);
        s[1].dtype = real_dtype(s[1].dtype);
        return s;
      })
      .decompose([](const Call& c) {
        infer_now(c);
        const DType t = c.input(0).dtype();
        const Tensors r = determinant_parts(c.input(0).cast(acc_dtype(t)));
        const Tensor sign = op<"prod">({op<"sign">({r[1]})}, {Ints{-1}, false});
        const Tensor log = op<"sum">({op<"log">({op<"abs">({r[1]})})}, {Ints{-1}, false});
        return Tensors{mul(r[0], sign).cast(t), log.cast(real_dtype(t))};
      })
      .grad([](const Backward& b) {
        // d log|det| = Re t and d sign = i sign Im t with t = tr(A^-1 dA); the sign of real numbers does not move
        Tensor g = b.grad(1);
        if (b.grad(0).defined() && is_complex(b.grad(0).dtype())) {
          const Tensor turn = op<"imag">({mul(b.grad(0), conj(b.output(0)))});
          g = op<"complex">({g.defined() ? g : zeros_like(turn), turn});
        }
        return Tensors{g.defined() ? mul(each(g), mH(op<"inv_ex">({b.input(0)}))) : Tensor()};
      })
      .own_conj()
      .saves(1, 1)
      .example(">>> tg.slogdet(tg.tensor([[1., 0.], [0., -1.]])).sign.item()\n-1.0");

  linear_algebra(
      TG_OP(pinv).amp(Amp::f32),
      "The Moore-Penrose pseudoinverse, from the singular values above max(atol, rtol * the largest). The gradient "
      "is that of matrices of constant rank (Golub & Pereyra 1973).")
      .input("a", "[..., m, n]")
      .optional_attr("atol", AttrKind::floating, "0 if not given")
      .optional_attr("rtol", AttrKind::floating, "max(m, n) * eps if atol is not given or 0, else 0")
      .attr("hermitian", AttrKind::boolean, false, "A is Hermitian: eigenvalues (of the lower triangle) instead")
      .output("p", "[..., n, m]")
      .infer([](const Inference& c) {
        const Shape& a = matrices(c, 0, c.attr(2).boolean());
        return one({c.input(0).dtype, with(batch_of(a), {a.back(), a[a.size() - 2]})});
      })
      .decompose([](const Call& c) {
        const Ints shape = concrete(infer_now(c)[0].shape);
        const DType t = c.input(0).dtype();
        const Tensor a = c.input(0).cast(acc_dtype(t));
        if (a.numel() == 0) return Tensors{zeros(shape, t, a.device())};
        const double eps = real_dtype(a.dtype()) == DType::f64 ? 0x1p-52 : 0x1p-23;
        const double atol = c.attr(0).given() ? c.attr(0).floating() : 0;
        const double rtol = c.attr(1).given() ? c.attr(1).floating()
                            : atol > 0        ? 0
                                              : eps * double(std::max(a.size(-1), a.size(-2)));
        Tensor left, values, right;  // A^+ = left diag(1 / values) right
        if (c.attr(2).boolean()) {
          const Tensors r = ops<"eigh">({a});
          left = r[1], values = r[0], right = mH(r[1]);
        } else {
          const Tensors r = ops<"svd">({a}, {false});
          left = mH(r[2]), values = r[1], right = mH(r[0]);
        }
        const Tensor size = op<"abs">({values});
        const Tensor cut = op<"maximum">({mul(op<"max">({size}, {Ints{-1}, true}), rtol), atol});
        const Tensor kept = op<"gt">({size, cut});
        const Tensor inverse = op<"where">({kept, op<"reciprocal">({op<"where">({kept, values, 1.0})}), 0.0});
        return Tensors{matmul(mul(left, row(inverse)), right).cast(t)};
      })
      .grad([](const Backward& b) {
        const Tensor &a = b.input(0), &p = b.output(), &g = b.grad();
        const Tensor pt = mH(p), gt = mH(g);
        const Tensor x = matmul(gt, matmul(p, pt)), y = matmul(matmul(pt, p), gt);  // (I - A P) x, y (I - P A)
        Tensor s = neg(matmul(matmul(pt, g), pt));
        s = add(s, sub(x, matmul(a, matmul(p, x))));
        return Tensors{add(s, sub(y, matmul(matmul(y, p), a)))};
      })
      .own_conj()
      .saves(1, 1)
      .example(">>> tg.pinv(tg.tensor([[2., 0.], [0., 0.]])).tolist()\n[[0.5, 0.0], [0.0, 0.0]]");

  linear_algebra(TG_OP(matrix_exp).amp(Amp::f32),
                 "e^A of square matrices, by scaling and squaring. Its largest norm is read in host memory.")
      .input("a", kSquare)
      .infer([](const Inference& c) {
        matrices(c, 0, true);
        return one(c.input(0));
      })
      .decompose([](const Call& c) {
        infer_now(c);
        const Tensor& a = c.input(0);
        return Tensors{a.numel() ? exponential(a.cast(acc_dtype(a.dtype()))).cast(a.dtype()) : op<"zeros_like">({a})};
      })
      .bounds(8, "n^1.5 (1 + 4 |A|), relative to e^|A|: each of log2(4 |A|) squarings doubles the error")
      .example(">>> tg.matrix_exp(tg.zeros((2, 2))).tolist()\n[[1.0, 0.0], [0.0, 1.0]]");
}

}  // namespace tg
