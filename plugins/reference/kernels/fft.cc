// SPDX-License-Identifier: Apache-2.0
//
// fft: x[..., n, 2] -> y[..., n, 2], pairs of real and imaginary parts: y_k = factor * sum over j of x_j exp(-2 pi i j
// k / n). Attribute 0: 1 for exp(+2 pi i j k / n); attribute 1: the factor. Computed in double: Cooley and Tukey's
// recursion (1965) over the prime factors of n, and where one is large a convolution with a chirp (Bluestein 1970) of a
// power of two.

#include <numbers>

#include "matrices.h"

namespace tg::reference {
namespace {

struct Z {
  double re = 0, im = 0;
};
Z operator+(Z a, Z b) { return {a.re + b.re, a.im + b.im}; }
Z operator*(Z a, Z b) { return {a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re}; }
Z conj(Z a) { return {a.re, -a.im}; }

// exp(2 pi i k / n) for 0 <= k < n: the angle is brought below pi / 4 while it is an integer.
Z root(int64_t k, int64_t n) {
  const int64_t quarter = 4 * k / n, rest = 4 * k % n;
  const bool beyond = 2 * rest > n;
  const double angle = std::numbers::pi / 2 * double(beyond ? n - rest : rest) / double(n);
  double c = std::cos(angle), s = std::sin(angle);
  if (beyond) std::swap(c, s);
  switch (quarter) {
    case 0:
      return {c, s};
    case 1:
      return {-s, c};
    case 2:
      return {-c, -s};
    default:
      return {s, -c};
  }
}

constexpr int64_t kDirect = 64;  // prime factors from here on: Bluestein

class Transform {
 public:
  Transform(int64_t n, bool backward) : n_(n), backward_(backward) {
    for (int64_t rest = n, p = 2; rest > 1; ++p) {
      if (p * p > rest) p = rest;
      for (; rest % p == 0; rest /= p) factors_.push_back(p);
    }
    if (!factors_.empty() && factors_.back() >= kDirect) {
      make_chirp();
      return;
    }
    roots_.resize(size_t(n));
    for (int64_t k = 0; k < n; ++k) roots_[size_t(k)] = backward ? root(k, n) : conj(root(k, n));
  }

  void run(const Z* x, Z* y) const {
    if (inner_) return convolve(x, y);
    std::vector<Z> terms(factors_.empty() ? 1 : size_t(factors_.back()));
    part(x, 1, y, n_, factors_.size(), terms.data());
  }

 private:
  // n elements of x, `step` apart, whose number is the product of the first `count` factors.
  void part(const Z* x, int64_t step, Z* y, int64_t n, size_t count, Z* terms) const {
    if (count == 0) {
      *y = *x;
      return;
    }
    const int64_t p = factors_[count - 1], m = n / p;
    for (int64_t r = 0; r < p; ++r) part(x + r * step, step * p, y + r * m, m, count - 1, terms);
    for (int64_t k = 0; k < m; ++k) {
      for (int64_t r = 0; r < p; ++r) terms[r] = y[r * m + k] * roots_[size_t(r * k * step)];
      for (int64_t q = 0; q < p; ++q) {
        Z sum = terms[0];
        for (int64_t r = 1; r < p; ++r) sum = sum + terms[r] * roots_[size_t(q * r % p * m * step)];
        y[q * m + k] = sum;
      }
    }
  }

  // j k = (j^2 + k^2 - (k - j)^2) / 2: with c_j = exp(-pi i j^2 / n), y_k = c_k * sum over j of (x_j c_j) conj(c_(k -
  // j)).
  void make_chirp() {
    int64_t size = 1;
    while (size < 2 * n_ - 1) size *= 2;
    inner_ = std::make_unique<Transform>(size, false);
    std::vector<Z> around(static_cast<size_t>(size));
    for (int64_t j = 0; j < n_; ++j) {
      const Z w = root(int64_t(__int128(j) * j % (2 * n_)), 2 * n_);
      chirp_.push_back(backward_ ? w : conj(w));
      around[size_t(j)] = around[size_t((size - j) % size)] = conj(chirp_.back());
    }
    spectrum_.resize(size_t(size));
    inner_->run(around.data(), spectrum_.data());
  }
  void convolve(const Z* x, Z* y) const {
    const size_t size = spectrum_.size();
    std::vector<Z> a(size), b(size);
    for (size_t j = 0; j < chirp_.size(); ++j) a[j] = x[j] * chirp_[j];
    inner_->run(a.data(), b.data());
    for (size_t k = 0; k < size; ++k) a[k] = conj(b[k] * spectrum_[k]);  // back by the same transform of conjugates
    inner_->run(a.data(), b.data());
    const double scale = 1 / double(size);
    for (size_t k = 0; k < chirp_.size(); ++k) y[k] = Z{b[k].re * scale, -b[k].im * scale} * chirp_[k];
  }

  int64_t n_;
  bool backward_;
  std::vector<int64_t> factors_;
  std::vector<Z> roots_, chirp_, spectrum_;
  std::unique_ptr<Transform> inner_;
};

template <class T>
class Fft : public plugin::Plan {
 public:
  Fft(const tg_host* host, const tg_call& call)
      : host_(host), backward_(int_attr(call, 0, 0) != 0), factor_(attr(call.op, call, 1, TG_ATTR_FLOAT).v.f) {}

  void run(const tg_run& run) override {
    const tg_tensor &x = *run.inputs[0], &y = *run.outputs[0];
    const int32_t axis = x.ndim - 2;
    const int64_t n = x.shape[axis];
    const Transform transform(n, backward_);
    parallel_rows(host_, run, numel(x) / (2 * n), 16 * n, [&](int64_t begin, int64_t end) {
      std::vector<Z> in(static_cast<size_t>(n)), out(static_cast<size_t>(n));
      for (int64_t row = begin; row < end; ++row) {
        const T* from = entry<const T>(x, 2, row);
        for (int64_t j = 0; j < n; ++j, from += x.strides[axis])
          in[size_t(j)] = {double(from[0]), double(from[x.strides[axis + 1]])};
        transform.run(in.data(), out.data());
        T* to = entry<T>(y, 2, row);
        for (int64_t k = 0; k < n; ++k, to += y.strides[axis]) {
          to[0] = T(out[size_t(k)].re * factor_);
          to[y.strides[axis + 1]] = T(out[size_t(k)].im * factor_);
        }
      }
    });
  }

 private:
  const tg_host* host_;
  bool backward_;
  double factor_;
};

}  // namespace

PlanPtr make_fft(const tg_host* host, const tg_call& call) {
  PlanPtr plan = matrix_plan<Fft, false>(host, call, 1, 1);
  const tg_tensor& x = *call.inputs[0];
  if (x.shape[x.ndim - 1] != 2) fail(TG_INVALID_ARGUMENT, "[fft] expected pairs of reals, got %s", text(x).c_str());
  return plan;
}

}  // namespace tg::reference
