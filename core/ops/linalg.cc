// SPDX-License-Identifier: Apache-2.0
// Factorizations as people call them: checks, other triangles, 16-bit floats (computed in f32) and empty matrices
// around the leaf ops of linalg_leaves.cc. The forms with _ex report in `info`; those without raise LinAlgError.
#include "linalg.h"

namespace tg {
namespace {

using namespace linalg;

constexpr const char* kBound = "n, relative to the norm of the matrix (of the factors' product)";

std::string not_positive(int32_t info) {
  return detail::concat("expected positive-definite matrices, got one whose leading minor of order ", info,
                        " is not positive; add a multiple of the identity, or look at info with cholesky_ex");
}
std::string not_converged(int32_t) {
  return "expected finite matrices, got one for which the iteration did not converge";
}

Tensor work(const Call& c, size_t i = 0) { return c.input(i).cast(acc_dtype(c.input(i).dtype())); }

Tensors cholesky_of(const Call& c) {
  infer_now(c);
  const bool upper = c.attr(0).boolean();
  const Tensor a = work(c);
  const Tensors r = ops<"leaf_cholesky">({upper ? mH(a) : a});
  return {(upper ? mH(r[0]) : r[0]).cast(c.input(0).dtype()), r[1]};
}

Tensors lu_of(const Call& c) {
  infer_now(c);
  Tensors r = ops<"leaf_lu">({work(c)});
  r[0] = r[0].cast(c.input(0).dtype());
  return r;
}

Tensor arange(int64_t n, const Tensor& like) { return iota(n, 0, 1, DType::i64, like.device()); }

// The matrices' svd with vectors; empty ones have none, full=True gives identities.
Tensors svd_of(const Tensor& a, bool full) {
  const int64_t m = a.size(-2), n = a.size(-1);
  Tensors r = ops<"leaf_svd">({a}, {full});
  if (a.numel() == 0 && full) {
    const Ints batch = batch_of(a.shape());
    r[0] = expand(eye(m, m, a), with(batch, {m, m}));
    r[2] = expand(eye(n, n, a), with(batch, {n, n}));
  }
  return r;
}

bool upper_of(const char* op, const Attr& uplo) {
  const std::string& s = uplo.string();
  check(s == "L" || s == "U" || s == "l" || s == "u", "[", op, "] expected UPLO 'L' or 'U', got '", s, "'");
  return s == "U" || s == "u";
}

OpBuilder linear_algebra(OpBuilder o, const char* doc) { return o.family("linear algebra").doc(doc).bounds(8, kBound); }

template <class S>
Specs vector_of_sizes(const Inference& c, S size) {
  const Shape& a = matrices(c);
  return one({real_dtype(c.input(0).dtype), with(batch_of(a), {size(a[a.size() - 2], a.back())})});
}

}  // namespace

TG_OPS(linalg) {
  constexpr const char* kSquare = "[..., n, n]";

  const auto cholesky_shape = [](const Inference& c) {
    const Shape& a = matrices(c, 0, true);
    return Specs{c.input(0), {DType::i32, batch_of(a)}};
  };
  linear_algebra(TG_OP(cholesky_ex).amp(Amp::f32),
                 "As cholesky, but a matrix that is not positive definite does not raise.")
      .input("a", kSquare)
      .attr("upper", AttrKind::boolean, false, "U of A = U^H U instead, from the upper triangle")
      .output("L", "[..., n, n], zeros in the other triangle")
      .output("info", "i32[...]: 0, or the order of the leading minor that is not positive")
      .infer(cholesky_shape)
      .decompose(cholesky_of)
      .function_only()
      .example(">>> tg.cholesky_ex(tg.tensor([[1., 0.], [0., -1.]])).info.item()\n2");
  linear_algebra(
      TG_OP(cholesky).amp(Amp::f32),
      "L of A = L L^H for Hermitian positive-definite matrices; one triangle of A is looked at, the gradient is "
      "Hermitian. Errors: LinAlgError for a matrix that is not positive definite, ValueError for one that is "
      "not square.")
      .input("a", kSquare)
      .attr("upper", AttrKind::boolean, false, "U of A = U^H U instead, from the upper triangle")
      .output("L", "[..., n, n], zeros in the other triangle")
      .infer([cholesky_shape](const Inference& c) { return one(cholesky_shape(c)[0]); })
      .decompose([](const Call& c) {
        const Tensors r = cholesky_of(c);
        check_info(c.op.name, r[1], not_positive);
        return Tensors{r[0]};
      })
      .example(">>> tg.cholesky(tg.tensor([[4., 2.], [2., 5.]])).tolist()\n[[2.0, 0.0], [1.0, 2.0]]");

  const auto lu_shape = [](const Inference& c) {
    const Shape& a = matrices(c);
    return Specs{
        c.input(0), {DType::i32, with(batch_of(a), {smaller(a[a.size() - 2], a.back())})}, {DType::i32, batch_of(a)}};
  };
  constexpr const char* kLu = "[..., m, n]: L below the diagonal, U on and above it";
  constexpr const char* kPivots =
      "i32[..., min(m, n)]: row i was exchanged with row pivots[i], counted from 1, in this order";
  linear_algebra(TG_OP(lu_factor_ex).amp(Amp::f32),
                 "P A = L U with partial pivoting, in one matrix; info says where U is singular.")
      .input("a", "[..., m, n]")
      .output("LU", kLu)
      .output("pivots", kPivots)
      .output("info", "i32[...]: 0, or i where U[i, i] (counted from 1) is the first that is 0")
      .infer(lu_shape)
      .decompose([](const Call& c) {
        const Tensors r = lu_of(c);
        return Tensors{r[0], r[1], r[2]};
      })
      .function_only()
      .example(">>> tg.lu_factor_ex(tg.tensor([[0., 1.], [2., 4.]])).LU.tolist()\n[[2.0, 4.0], [0.0, 1.0]]");
  linear_algebra(TG_OP(lu_factor).amp(Amp::f32),
                 "P A = L U with partial pivoting, in one matrix, for lu_solve. Errors: LinAlgError for a singular "
                 "U.")
      .input("a", "[..., m, n]")
      .output("LU", kLu)
      .output("pivots", kPivots)
      .infer([lu_shape](const Inference& c) {
        const Specs s = lu_shape(c);
        return Specs{s[0], s[1]};
      })
      .decompose([](const Call& c) {
        const Tensors r = lu_of(c);
        check_info(c.op.name, r[2], singular);
        return Tensors{r[0], r[1]};
      })
      .function_only()
      .example(">>> tg.lu_factor(tg.tensor([[0., 1.], [2., 4.]])).pivots.tolist()\n[2, 2]");
  linear_algebra(TG_OP(lu).amp(Amp::f32), "A = P L U with partial pivoting.")
      .input("a", "[..., m, n]")
      .output("P", "[..., m, m], a permutation")
      .output("L", "[..., m, k], k = min(m, n), with a diagonal of ones")
      .output("U", "[..., k, n]")
      .infer([](const Inference& c) {
        const Shape& a = matrices(c);
        const DType t = c.input(0).dtype;
        const Dim m = a[a.size() - 2], n = a.back(), k = smaller(m, n);
        const Shape batch = batch_of(a);
        return Specs{{t, with(batch, {m, m})}, {t, with(batch, {m, k})}, {t, with(batch, {k, n})}};
      })
      .decompose([](const Call& c) {
        const Tensors r = lu_of(c);
        const Tensor& x = r[0];
        const int64_t m = x.size(-2), n = x.size(-1), k = std::min(m, n);
        // Column i of P has its one in row permutation[i].
        const Tensor p = n ? op<"eq">({column(arange(m, x)), row(r[3])})
                           : expand(op<"eq">({column(arange(m, x)), arange(m, x)}), with(batch_of(x.shape()), {m, m}));
        return Tensors{p.cast(x.dtype()), add(tril(slice(x, -1, 0, k), -1), eye(m, k, x)), triu(slice(x, -2, 0, k))};
      })
      .function_only()
      .example(">>> tg.linalg.lu(tg.tensor([[0., 1.], [2., 4.]])).L.tolist()\n[[1.0, 0.0], [0.0, 1.0]]");

  linear_algebra(
      TG_OP(qr).amp(Amp::f32),
      "A = Q R with orthonormal columns in Q and an upper triangular R. The gradient is that of matrices whose "
      "first min(m, n) columns are independent; mode 'complete' of tall ones has none (RuntimeError).")
      .input("a", "[..., m, n]")
      .attr("mode", AttrKind::string, "reduced", "'reduced', or 'complete': a square Q")
      .output("Q", "[..., m, k], k = min(m, n), complete: m")
      .output("R", "[..., k, n]")
      .infer([](const Inference& c) {
        const Shape& a = matrices(c);
        const std::string& mode = c.attr(0).string();
        c.check(mode == "reduced" || mode == "complete", "expected mode 'reduced' or 'complete', got '", mode, "'");
        const Dim m = a[a.size() - 2], n = a.back(), k = mode == "complete" ? m : smaller(m, n);
        return Specs{{c.input(0).dtype, with(batch_of(a), {m, k})}, {c.input(0).dtype, with(batch_of(a), {k, n})}};
      })
      .decompose([](const Call& c) {
        infer_now(c);
        const bool complete = c.attr(0).string() == "complete";
        const Tensor a = work(c);
        Tensors r = ops<"leaf_qr">({a}, {complete});
        const int64_t m = a.size(-2);
        if (a.numel() == 0 && complete) r[0] = expand(eye(m, m, a), with(batch_of(a.shape()), {m, m}));
        return Tensors{r[0].cast(c.input(0).dtype()), r[1].cast(c.input(0).dtype())};
      })
      .example(">>> tg.qr(tg.tensor([[0., 2.], [1., 3.]])).R.abs().tolist()\n[[1.0, 3.0], [0.0, 2.0]]");

  linear_algebra(
      TG_OP(svd).amp(Amp::f32),
      "A = U diag(s) Vh with orthonormal columns in U and rows in Vh; their signs are not fixed. Gradients "
      "through U and Vh need distinct singular values (else they are not finite) and a loss that does not depend "
      "on the signs or on vectors beyond the first min(m, n) (RuntimeError). Errors: LinAlgError for "
      "matrices that are not finite.")
      .input("a", "[..., m, n]")
      .attr("full_matrices", AttrKind::boolean, true, "square U and Vh; False: min(m, n) columns and rows")
      .output("U", "[..., m, m] or [..., m, k]")
      .output("S", "[..., k], k = min(m, n), descending")
      .output("Vh", "[..., n, n] or [..., k, n]")
      .infer([](const Inference& c) {
        const Shape& a = matrices(c);
        const bool full = c.attr(0).boolean();
        const Dim m = a[a.size() - 2], n = a.back(), k = smaller(m, n);
        const DType t = c.input(0).dtype;
        const Shape batch = batch_of(a);
        return Specs{{t, with(batch, {m, full ? m : k})}, {real_dtype(t), with(batch, {k})}, {t, with(batch, {full ? n : k, n})}};
      })
      .decompose([](const Call& c) {
        infer_now(c);
        const DType t = c.input(0).dtype();
        const Tensors r = svd_of(work(c), c.attr(0).boolean());
        check_info(c.op.name, r[3], not_converged);
        return Tensors{r[0].cast(t), r[1].cast(real_dtype(t)), r[2].cast(t)};
      })
      .example(">>> tg.svd(tg.tensor([[0., 2.], [3., 0.]])).S.tolist()\n[3.0, 2.0]");
  linear_algebra(TG_OP(svdvals).amp(Amp::f32),
                 "The singular values, descending. Errors: LinAlgError for matrices that are not finite.")
      .input("a", "[..., m, n]")
      .output("s", "[..., min(m, n)]")
      .infer([](const Inference& c) { return vector_of_sizes(c, smaller); })
      .decompose([](const Call& c) {
        infer_now(c);
        const Arg a[] = {work(c)};
        const Tensors r = call(op_named<"leaf_svd">(), a);  // the vectors only where a gradient wants them
        check_info(c.op.name, r[3], not_converged);
        return Tensors{r[1].cast(real_dtype(c.input(0).dtype()))};
      })
      .example(">>> tg.svdvals(tg.tensor([[0., 2.], [3., 0.]])).tolist()\n[3.0, 2.0]");

  linear_algebra(
      TG_OP(eigh).amp(Amp::f32),
      "A = V diag(w) V^H for Hermitian matrices, of which one triangle is looked at; the signs of the vectors are "
      "not fixed. Gradients through V need distinct eigenvalues (else they are not finite) and a loss that does "
      "not depend on the signs. Errors: LinAlgError for matrices that are not finite.")
      .input("a", kSquare)
      .attr("UPLO", AttrKind::string, "L", "the triangle, 'L' or 'U'")
      .output("eigenvalues", "[..., n], ascending")
      .output("eigenvectors", "[..., n, n], in columns")
      .infer([](const Inference& c) {
        const Shape& a = matrices(c, 0, true);
        upper_of(c.name(), c.attr(0));
        return Specs{{real_dtype(c.input(0).dtype), batch_of(a, 1)}, c.input(0)};
      })
      .decompose([](const Call& c) {
        infer_now(c);
        const DType t = c.input(0).dtype();
        const Tensor a = work(c);
        const Tensors r = ops<"leaf_eigh">({upper_of("eigh", c.attr(0)) ? mH(a) : a});
        check_info(c.op.name, r[2], not_converged);
        return Tensors{r[0].cast(real_dtype(t)), r[1].cast(t)};
      })
      .example(">>> tg.eigh(tg.tensor([[3., 0.], [0., 2.]])).eigenvalues.tolist()\n[2.0, 3.0]");
  linear_algebra(TG_OP(eigvalsh).amp(Amp::f32), "The eigenvalues of Hermitian matrices, ascending; else as eigh.")
      .input("a", kSquare)
      .attr("UPLO", AttrKind::string, "L", "the triangle, 'L' or 'U'")
      .output("eigenvalues", "[..., n]")
      .infer([](const Inference& c) {
        upper_of(c.name(), c.attr(0));
        return one({real_dtype(c.input(0).dtype), batch_of(matrices(c, 0, true), 1)});
      })
      .decompose([](const Call& c) {
        infer_now(c);
        const Tensor a = work(c);
        const Arg in[] = {upper_of("eigvalsh", c.attr(0)) ? mH(a) : a};
        const Tensors r = call(op_named<"leaf_eigh">(), in);
        check_info(c.op.name, r[2], not_converged);
        return Tensors{r[0].cast(real_dtype(c.input(0).dtype()))};
      })
      .example(">>> tg.eigvalsh(tg.tensor([[3., 0.], [0., 2.]])).tolist()\n[2.0, 3.0]");

  linear_algebra(
      TG_OP(eig).amp(Amp::f32),
      "A = V diag(w) V^-1 for square matrices, in complex numbers; vectors have length 1, their phases and the order of the eigenvalues are "
      "not fixed. Gradients need distinct eigenvalues (else they are not finite) and a loss that does not depend on the phases. Errors: "
      "LinAlgError for matrices that are not finite.")
      .input("a", kSquare)
      .output("eigenvalues", "[..., n], complex")
      .output("eigenvectors", "[..., n, n], complex, in columns")
      .infer([](const Inference& c) {
        const Shape& a = matrices(c, 0, true);
        const DType z = complex_dtype(c.input(0).dtype);
        return Specs{{z, batch_of(a, 1)}, {z, a}};
      })
      .decompose([](const Call& c) {
        const DType z = infer_now(c)[0].dtype;
        const Tensors r = ops<"leaf_eig">({c.input(0).cast(z)});
        check_info(c.op.name, r[2], not_converged);
        return Tensors{r[0], r[1]};
      })
      .example(">>> tg.eig(tg.tensor([[0., 1.], [-1., 0.]])).eigenvalues.imag.abs().tolist()\n[1.0, 1.0]");
  linear_algebra(TG_OP(eigvals).amp(Amp::f32), "The eigenvalues of square matrices, complex, in no order; else as eig.")
      .input("a", kSquare)
      .output("eigenvalues", "[..., n], complex")
      .infer([](const Inference& c) {
        return one({complex_dtype(c.input(0).dtype), batch_of(matrices(c, 0, true), 1)});
      })
      .decompose([](const Call& c) {
        const DType z = infer_now(c)[0].dtype;
        const Arg in[] = {c.input(0).cast(z)};
        const Tensors r = call(op_named<"leaf_eig">(), in);
        check_info(c.op.name, r[2], not_converged);
        return Tensors{r[0]};
      })
      .example(">>> tg.eigvals(tg.tensor([[0., 1.], [-1., 0.]])).imag.abs().tolist()\n[1.0, 1.0]");
}

}  // namespace tg
