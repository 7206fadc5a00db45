// SPDX-License-Identifier: Apache-2.0
//
// eig: a[..., n, n] -> w, V?, info for complex A = V diag(w) V^-1: Householder's reduction to Hessenberg form, the shifted QR
// iteration to Schur's, and vectors by substitution (Golub & Van Loan, 7.4-7.6). Columns of V have length 1.

#include "matrices.h"

namespace tg::reference {
namespace {

using S = std::complex<double>;
constexpr double kEps = std::numeric_limits<double>::epsilon();

// a = q h q^H with nothing below the first subdiagonal.
void to_hessenberg(Dense<S>& a, Dense<S>& q) {
  const int64_t n = a.n;
  std::vector<S> u(static_cast<size_t>(n));
  for (int64_t k = 0; k + 2 < n; ++k) {
    double size = 0;
    for (int64_t i = k + 1; i < n; ++i) size += std::norm(a(i, k));
    size = std::sqrt(size);
    if (size == 0) continue;
    for (int64_t i = k + 1; i < n; ++i) u[size_t(i)] = a(i, k);
    u[size_t(k + 1)] += phase(u[size_t(k + 1)]) * size;
    double square = 0;
    for (int64_t i = k + 1; i < n; ++i) square += std::norm(u[size_t(i)]);
    const auto rows = [&](Dense<S>& x) {  // (1 - 2 u u^H / |u|^2) x
      for (int64_t j = 0; j < n; ++j) {
        S dot = 0;
        for (int64_t i = k + 1; i < n; ++i) dot += std::conj(u[size_t(i)]) * x(i, j);
        for (int64_t i = k + 1; i < n; ++i) x(i, j) -= 2.0 / square * dot * u[size_t(i)];
      }
    };
    const auto columns = [&](Dense<S>& x) {
      for (int64_t i = 0; i < n; ++i) {
        S dot = 0;
        for (int64_t j = k + 1; j < n; ++j) dot += x(i, j) * u[size_t(j)];
        for (int64_t j = k + 1; j < n; ++j) x(i, j) -= 2.0 / square * dot * std::conj(u[size_t(j)]);
      }
    };
    rows(a), columns(a), columns(q);
    for (int64_t i = k + 2; i < n; ++i) a(i, k) = 0;
  }
}

// The eigenvalue of the last two rows' square up to `end` that is nearer to its corner (Wilkinson's shift).
S shift_of(const Dense<S>& h, int64_t end) {
  const S a = h(end - 1, end - 1), b = h(end - 1, end), c = h(end, end - 1), d = h(end, end);
  const S half = 0.5 * (a - d), root = std::sqrt(half * half + b * c);
  const S plus = half + root, minus = half - root, larger = std::abs(plus) > std::abs(minus) ? plus : minus;
  return larger == S(0) ? d : d - b * c / larger;
}

// Makes the Hessenberg matrix h upper triangular, and q h q^H stays what it is. False where it does not converge.
bool to_schur(Dense<S>& h, Dense<S>& q) {
  const int64_t n = h.n;
  int64_t end = n - 1;
  for (int round = 0; end > 0;) {
    int64_t begin = end;
    for (; begin > 0; --begin) {
      const double around = std::abs(h(begin, begin)) + std::abs(h(begin - 1, begin - 1));
      if (std::abs(h(begin, begin - 1)) <= kEps * (around > 0 ? around : 1)) {
        h(begin, begin - 1) = 0;
        break;
      }
    }
    if (begin == end) {
      --end, round = 0;
      continue;
    }
    if (++round > 90) return false;
    // Now and then another shift, against cycles.
    const S shift = round % 11 == 10 ? h(end, end) + S(std::abs(h(end, end - 1)), 0.3) : shift_of(h, end);
    std::vector<std::pair<double, S>> turns;
    for (int64_t i = begin; i <= end; ++i) h(i, i) -= shift;
    for (int64_t i = begin; i < end; ++i) {  // h = q r by Givens' rotations
      const S x = h(i, i), y = h(i + 1, i);
      const double size = std::hypot(std::abs(x), std::abs(y));
      const double c = size > 0 ? std::abs(x) / size : 1;
      const S s = size > 0 ? phase(x) * std::conj(y) / size : S(0);
      for (int64_t j = i; j < n; ++j) {
        const S p = h(i, j), r = h(i + 1, j);
        h(i, j) = c * p + s * r;
        h(i + 1, j) = c * r - std::conj(s) * p;
      }
      turns.emplace_back(c, s);
    }
    for (int64_t i = begin; i < end; ++i) {  // r q
      const auto [c, s] = turns[size_t(i - begin)];
      const auto turn = [&, c = c, s = s](Dense<S>& x, int64_t rows) {
        for (int64_t k = 0; k < rows; ++k) {
          const S p = x(k, i), r = x(k, i + 1);
          x(k, i) = c * p + std::conj(s) * r;
          x(k, i + 1) = c * r - s * p;
        }
      };
      turn(h, std::min(i + 2, end + 1)), turn(q, n);
    }
    for (int64_t i = begin; i <= end; ++i) h(i, i) += shift;
    // The shift came off the diagonal of the active rows alone: what is right and above was not shifted.
  }
  return true;
}

// Eigenvectors of the triangular t, by substitution, turned back by q.
Dense<S> vectors(const Dense<S>& t, const Dense<S>& q) {
  const int64_t n = t.n;
  const double tiny = kEps * std::max(t.largest(), std::numeric_limits<double>::min());
  Dense<S> v(n, n);
  std::vector<S> y(static_cast<size_t>(n));
  for (int64_t k = 0; k < n; ++k) {
    std::fill(y.begin(), y.end(), S(0));
    y[size_t(k)] = 1;
    for (int64_t i = k; i-- > 0;) {
      S sum = 0;
      for (int64_t j = i + 1; j <= k; ++j) sum += t(i, j) * y[size_t(j)];
      S gap = t(i, i) - t(k, k);
      if (std::abs(gap) < tiny) gap = tiny;  // equal ones: a vector of about the same direction
      y[size_t(i)] = -sum / gap;
      const double size = std::abs(y[size_t(i)]);
      if (size > 1e100)
        for (int64_t j = i; j <= k; ++j) y[size_t(j)] /= size;
    }
    double square = 0;
    for (int64_t i = 0; i < n; ++i) {
      S sum = 0;
      for (int64_t j = 0; j <= k; ++j) sum += q(i, j) * y[size_t(j)];
      v(i, k) = sum;
      square += std::norm(sum);
    }
    for (int64_t i = 0; i < n; ++i) v(i, k) /= std::sqrt(square);
  }
  return v;
}

template <class T>
class Eig : public plugin::Plan {
 public:
  Eig(const tg_host* host, const tg_call&) : host_(host) {}

  void run(const tg_run& run) override {
    each_matrix(host_, run, *run.inputs[0], [&](int64_t b) {
      auto a = load<T>(*run.inputs[0], b);
      const double scale = a.largest();
      const bool finite = a.finite();
      if (finite && scale > 0)
        for (S& x : a.v) x /= scale;
      auto q = Dense<S>::identity(a.n, a.n);
      if (finite) to_hessenberg(a, q);
      const bool ok = finite && to_schur(a, q);
      std::vector<S> w(size_t(a.n), std::nan(""));
      Dense<S> v(a.n, a.n);
      if (ok) {
        for (int64_t i = 0; i < a.n; ++i) w[size_t(i)] = a(i, i) * scale;
        if (run.outputs[1]) v = vectors(a, q);
      } else {
        std::fill(v.v.begin(), v.v.end(), std::nan(""));
      }
      if (run.outputs[0]) store<T>(*run.outputs[0], b, w);
      if (run.outputs[1]) store<T>(*run.outputs[1], b, v);
      store_info(run.outputs[2], b, !ok);
    });
  }

 private:
  const tg_host* host_;
};

}  // namespace

PlanPtr make_eig(const tg_host* host, const tg_call& call) {
  require_arguments(call, 1, 3);
  const tg_tensor& x = *call.inputs[0];
  if (x.ndim < 2) fail(TG_INVALID_ARGUMENT, "[%s] expected matrices, got %s", call.op, text(x).c_str());
  if (x.dtype == tg_dtype{TG_CODE_COMPLEX, 64, 1}) return std::make_unique<Eig<std::complex<float>>>(host, call);
  if (x.dtype == tg_dtype{TG_CODE_COMPLEX, 128, 1}) return std::make_unique<Eig<std::complex<double>>>(host, call);
  fail(TG_UNIMPLEMENTED, "[%s] expected complex numbers, got %s", call.op, dtype_name(x.dtype));
}

}  // namespace tg::reference
