// SPDX-License-Identifier: Apache-2.0
//
// fft: pairs of reals x[..., n, 2] -> y[..., n, 2], y_k = factor * sum over j of x_j exp(-+ 2 pi i j k / n). Stockham's
// autosort passes of radix 4, 2, 3, 5 and any other prime below 64, with one row per SIMD lane, so that every pass is
// dense whatever n is; larger primes by a convolution with a chirp (Bluestein 1970); few long rows as columns and rows
// of a matrix (Bailey 1990). Backward is forward with real and imaginary parts exchanged on both sides.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/fft.cc"
#include <hwy/foreach_target.h>
//
#include <hwy/aligned_allocator.h>
#include <hwy/highway.h>

#include <cmath>
#include <numbers>
#include <utility>
#include <vector>

#include "kernels/factorize.h"

#ifndef TENGEN_PLUGINS_CPU_FFT_TABLES_
#define TENGEN_PLUGINS_CPU_FFT_TABLES_
namespace tg::cpu {

struct Split {
  std::vector<double> re, im;
  explicit Split(int64_t n = 0) : re(size_t(n)), im(size_t(n)) {}
};
template <class T>
struct Rounded {  // a Split in the kernel's type
  std::vector<T> re, im;
  Rounded() = default;
  explicit Rounded(const Split& s) : re(s.re.begin(), s.re.end()), im(s.im.begin(), s.im.end()) {}
};

template <class T>
struct FftTables {
  int64_t n = 1;
  std::vector<int> radices;
  Rounded<T> roots;  // exp(-2 pi i k / n)
  std::unique_ptr<FftTables<T>>
      inner;  // Bluestein: the convolution's transform, the chirp and its conjugate's spectrum
  Rounded<T> chirp, spectrum;
  int64_t padded() const { return inner ? inner->n : n; }
};

// Where rows lie: their first elements, and the distances of elements and of an element's parts.
template <class T>
struct Side {
  T* const* rows;
  int64_t step, part;
};
}  // namespace tg::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace tg::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

template <class D>
struct Z {
  hn::Vec<D> re, im;
  Z operator+(Z o) const { return {hn::Add(re, o.re), hn::Add(im, o.im)}; }
  Z operator-(Z o) const { return {hn::Sub(re, o.re), hn::Sub(im, o.im)}; }
  Z operator*(hn::Vec<D> k) const { return {hn::Mul(re, k), hn::Mul(im, k)}; }
  Z operator*(Z o) const {
    return {hn::NegMulAdd(im, o.im, hn::Mul(re, o.re)), hn::MulAdd(im, o.re, hn::Mul(re, o.im))};
  }
  Z plus_i(Z o) const { return {hn::Sub(re, o.im), hn::Add(im, o.re)}; }
  Z minus_i(Z o) const { return {hn::Add(re, o.im), hn::Sub(im, o.re)}; }
};

// The transform of p numbers. kRadix 0: any p, by its sum.
template <int kRadix, class D, class T>
HWY_INLINE void Butterfly(D d, const Z<D>* a, Z<D>* y, int p, const T* re, const T* im, int64_t stride) {
  if constexpr (kRadix == 2) {
    y[0] = a[0] + a[1], y[1] = a[0] - a[1];
  } else if constexpr (kRadix == 3) {
    const Z<D> t = a[1] + a[2], u = a[0] - t * hn::Set(d, T(0.5)),
               v = (a[1] - a[2]) * hn::Set(d, T(std::numbers::sqrt3 / 2));
    y[0] = a[0] + t, y[1] = u.minus_i(v), y[2] = u.plus_i(v);
  } else if constexpr (kRadix == 4) {
    const Z<D> s = a[0] + a[2], t = a[0] - a[2], u = a[1] + a[3], v = a[1] - a[3];
    y[0] = s + u, y[1] = t.minus_i(v), y[2] = s - u, y[3] = t.plus_i(v);
  } else if constexpr (kRadix == 5) {
    const auto c1 = hn::Set(d, T(0.30901699437494742410)), c2 = hn::Set(d, T(-0.80901699437494742410));
    const auto s1 = hn::Set(d, T(0.95105651629515357212)), s2 = hn::Set(d, T(0.58778525229247312917));
    const Z<D> t1 = a[1] + a[4], t2 = a[2] + a[3], t3 = a[1] - a[4], t4 = a[2] - a[3];
    const Z<D> u = a[0] + t1 * c1 + t2 * c2, v = a[0] + t1 * c2 + t2 * c1, w = t3 * s1 + t4 * s2, z = t3 * s2 - t4 * s1;
    y[0] = a[0] + t1 + t2, y[1] = u.minus_i(w), y[2] = v.minus_i(z), y[3] = v.plus_i(z), y[4] = u.plus_i(w);
  } else {
    for (int q = 0; q < p; ++q) {
      Z<D> sum = a[0];
      for (int r = 1; r < p; ++r) {
        const int64_t at = int64_t(q * r % p) * stride;
        sum = sum + a[r] * Z<D>{hn::Set(d, re[at]), hn::Set(d, im[at])};
      }
      y[q] = sum;
    }
  }
}

// One pass: s sequences of p m elements each, elements of all sequences side by side, become p s sequences of m.
template <int kRadix, class D, class T>
void Pass(D d, const FftTables<T>& t, int p_, int64_t m, int64_t s, const T* HWY_RESTRICT xr, const T* HWY_RESTRICT xi,
          T* HWY_RESTRICT yr, T* HWY_RESTRICT yi) {
  constexpr int kMost = kRadix ? kRadix : 64;
  const int p = kRadix ? kRadix : p_;
  const int64_t lanes = int64_t(hn::Lanes(d));
  const T *re = t.roots.re.data(), *im = t.roots.im.data();
  Z<D> a[kMost], y[kMost], w[kMost];
  for (int64_t q = 0; q < m; ++q) {
    for (int r = 1; r < p; ++r) w[r] = {hn::Set(d, re[q * r * s]), hn::Set(d, im[q * r * s])};
    for (int64_t k = 0; k < s; ++k) {
      for (int r = 0; r < p; ++r) {
        const int64_t at = lanes * (k + s * (q + r * m));
        a[r] = {hn::Load(d, xr + at), hn::Load(d, xi + at)};
      }
      Butterfly<kRadix>(d, a, y, p, re, im, t.n / p);
      for (int r = 0; r < p; ++r) {
        const Z<D> v = r && q ? y[r] * w[r] : y[r];
        const int64_t at = lanes * (k + s * (p * q + r));
        hn::Store(v.re, d, yr + at);
        hn::Store(v.im, d, yi + at);
      }
    }
  }
}

// The transform of t.n elements of one row per lane; a[0], a[1] hold the parts, and the results, a[2], a[3] are
// scratch.
template <class D, class T>
void Passes(D d, const FftTables<T>& t, T** a) {
  int64_t m = t.n, s = 1;
  for (int p : t.radices) {
    m /= p;
    switch (p) {
      case 2:
        Pass<2>(d, t, p, m, s, a[0], a[1], a[2], a[3]);
        break;
      case 3:
        Pass<3>(d, t, p, m, s, a[0], a[1], a[2], a[3]);
        break;
      case 4:
        Pass<4>(d, t, p, m, s, a[0], a[1], a[2], a[3]);
        break;
      case 5:
        Pass<5>(d, t, p, m, s, a[0], a[1], a[2], a[3]);
        break;
      default:
        Pass<0>(d, t, p, m, s, a[0], a[1], a[2], a[3]);
    }
    s *= p;
    std::swap(a[0], a[2]), std::swap(a[1], a[3]);
  }
}

// `count` rows, at most one per lane.
template <class D, class T>
void Group(D d, const FftTables<T>& t, Side<const T> x, Side<T> y, int64_t count, bool backward, T factor) {
  const int64_t lanes = int64_t(hn::Lanes(d)), size = t.padded() * lanes;
  const auto memory = hwy::AllocateAligned<T>(size_t(4 * size));
  T* a[4] = {memory.get(), memory.get() + size, memory.get() + 2 * size, memory.get() + 3 * size};
  const int64_t x_re = backward ? x.part : 0, x_im = backward ? 0 : x.part;
  for (int64_t l = 0; l < lanes; ++l) {
    const T* row = x.rows[l < count ? l : 0];
    for (int64_t j = 0; j < t.n; ++j)
      a[0][j * lanes + l] = row[j * x.step + x_re], a[1][j * lanes + l] = row[j * x.step + x_im];
  }
  const auto times = [&](const Rounded<T>& by, int64_t n, T k, bool conjugate) {
    for (int64_t j = 0; j < n; ++j) {
      const Z<D> z{hn::Load(d, a[0] + j * lanes), hn::Load(d, a[1] + j * lanes)};
      const Z<D> v = z * Z<D>{hn::Set(d, by.re[size_t(j)] * k), hn::Set(d, by.im[size_t(j)] * k)};
      hn::Store(v.re, d, a[conjugate] + j * lanes);
      hn::Store(v.im, d, a[!conjugate] + j * lanes);
    }
  };
  if (t.inner) {
    times(t.chirp, t.n, T(1), false);
    std::fill(a[0] + t.n * lanes, a[0] + size, T(0)), std::fill(a[1] + t.n * lanes, a[1] + size, T(0));
    Passes(d, *t.inner, a);
    times(t.spectrum, t.inner->n, T(1), true);  // parts exchanged: back
    Passes(d, *t.inner, a);
    std::swap(a[0], a[1]);
    times(t.chirp, t.n, T(1) / T(t.inner->n), false);
  } else {
    Passes(d, t, a);
  }
  const int64_t y_re = backward ? y.part : 0, y_im = backward ? 0 : y.part;
  for (int64_t l = 0; l < count; ++l)
    for (int64_t k = 0; k < t.n; ++k) {
      y.rows[l][k * y.step + y_re] = a[0][k * lanes + l] * factor;
      y.rows[l][k * y.step + y_im] = a[1][k * lanes + l] * factor;
    }
}

template <class T>
void Rows(const FftTables<T>& t, Side<const T> x, Side<T> y, int64_t count, bool backward, T factor) {
  if (count == 1) return Group(hn::CappedTag<T, 1>(), t, x, y, 1, backward, factor);
  const hn::ScalableTag<T> d;
  const int64_t lanes = int64_t(hn::Lanes(d));
  for (int64_t i = 0; i < count; i += lanes)
    Group(d, t, {x.rows + i, x.step, x.part}, {y.rows + i, y.step, y.part}, std::min(lanes, count - i), backward,
          factor);
}
void RowsF32(const FftTables<float>& t, Side<const float> x, Side<float> y, int64_t count, bool backward,
             float factor) {
  Rows(t, x, y, count, backward, factor);
}
void RowsF64(const FftTables<double>& t, Side<const double> x, Side<double> y, int64_t count, bool backward,
             double factor) {
  Rows(t, x, y, count, backward, factor);
}

}  // namespace tg::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace tg::cpu {
namespace {

HWY_EXPORT(RowsF32);
HWY_EXPORT(RowsF64);

void transform(const FftTables<float>& t, Side<const float> x, Side<float> y, int64_t count, bool backward,
               float factor) {
  HWY_DYNAMIC_DISPATCH(RowsF32)(t, x, y, count, backward, factor);
}
void transform(const FftTables<double>& t, Side<const double> x, Side<double> y, int64_t count, bool backward,
               double factor) {
  HWY_DYNAMIC_DISPATCH(RowsF64)(t, x, y, count, backward, factor);
}

// exp(-2 pi i k / n) for 0 <= k < n: the angle is brought below pi / 4 while it is an integer.
void set_root(Split& to, int64_t at, int64_t k, int64_t n) {
  const int64_t quarter = 4 * k / n, rest = 4 * k % n;
  const bool beyond = 2 * rest > n;
  const double angle = std::numbers::pi / 2 * double(beyond ? n - rest : rest) / double(n);
  double c = std::cos(angle), s = std::sin(angle);
  if (beyond) std::swap(c, s);
  to.re[size_t(at)] = quarter == 0 ? c : quarter == 1 ? -s : quarter == 2 ? -c : s;
  to.im[size_t(at)] = quarter == 0 ? -s : quarter == 1 ? -c : quarter == 2 ? s : c;
}

std::vector<int64_t> factors_of(int64_t n) {
  std::vector<int64_t> out;
  for (; n % 4 == 0; n /= 4) out.push_back(4);
  for (int64_t p = 2; n > 1; ++p) {
    if (p * p > n) p = n;
    for (; n % p == 0; n /= p) out.push_back(p);
  }
  return out;
}

template <class T>
std::unique_ptr<FftTables<T>> make_tables(int64_t n) {
  auto t = std::make_unique<FftTables<T>>();
  t->n = n;
  const std::vector<int64_t> factors = factors_of(n);
  if (factors.empty() || factors.back() < 64) {
    t->radices.assign(factors.begin(), factors.end());
    Split roots(n);
    for (int64_t k = 0; k < n; ++k) set_root(roots, k, k, n);
    t->roots = Rounded<T>(roots);
    return t;
  }
  // j k = (j^2 + k^2 - (k - j)^2) / 2: with c_j = exp(-pi i j^2 / n), y_k = c_k * sum over j of (x_j c_j) conj(c_(k -
  // j)).
  int64_t size = 1;
  while (size < 2 * n - 1) size *= 2;
  t->inner = make_tables<T>(size);
  Split chirp(n);
  std::vector<double> around(size_t(2 * size)), spectrum(size_t(2 * size));
  for (int64_t j = 0; j < n; ++j) {
    set_root(chirp, j, int64_t(__int128(j) * j % (2 * n)), 2 * n);
    for (int64_t at : {j, (size - j) % size}) {
      around[size_t(2 * at)] = chirp.re[size_t(j)];
      around[size_t(2 * at + 1)] = -chirp.im[size_t(j)];
    }
  }
  const double* from[] = {around.data()};
  double* to[] = {spectrum.data()};
  transform(*make_tables<double>(size), {from, 2, 1}, {to, 2, 1}, 1, false, 1.0);
  Split s(size);
  for (int64_t k = 0; k < size; ++k)
    s.re[size_t(k)] = spectrum[size_t(2 * k)], s.im[size_t(k)] = spectrum[size_t(2 * k + 1)];
  t->chirp = Rounded<T>(chirp), t->spectrum = Rounded<T>(s);
  return t;
}

constexpr int64_t kWork = 1 << 15;  // elements that a thread should have at least
constexpr int64_t kLong = 4096;     // from here on a lonely row is a matrix
constexpr int64_t kSide = 16;       // rows given to a call of the kernel

template <class T>
class Fft final : public Plan {
 public:
  Fft(Instance& instance, const tg_call& call)
      : host_(instance.host), backward_(call.attrs[0].v.i != 0), factor_(T(call.attrs[1].v.f)) {
    const tg_tensor& x = *call.inputs[0];
    n_ = x.shape[x.ndim - 2];
    rows_ = plugin::numel(x) / (2 * n_);
    if (rows_ < kSide && n_ >= kLong) {
      std::vector<int64_t> factors = factors_of(n_);
      int64_t columns = 1;
      for (size_t i = factors.size(); i-- > 0;)
        if (columns * columns * factors[i] <= n_ * 2) columns *= factors[i];
      if (factors.back() < 64 && columns >= kSide && n_ / columns >= kSide) {
        columns_ = columns;
        down_ = make_tables<T>(n_ / columns), across_ = make_tables<T>(columns);
        Split twiddles(n_);
        for (int64_t k = 0; k < n_; ++k) set_root(twiddles, k, k, n_);
        twiddles_ = Rounded<T>(twiddles);
        return;
      }
    }
    whole_ = make_tables<T>(n_);
  }

  void run(const tg_run& r) override {
    const tg_tensor &x = *r.inputs[0], &y = *r.outputs[0];
    const int32_t axis = x.ndim - 2;
    const Side<const T> from{nullptr, x.strides[axis], x.strides[axis + 1]};
    const Side<T> to{nullptr, y.strides[axis], y.strides[axis + 1]};
    if (!whole_) {
      for (int64_t row = 0; row < rows_; ++row) matrix(r, from, at<const T>(x, row), to, at<T>(y, row));
      return;
    }
    const int64_t groups = (rows_ + kSide - 1) / kSide;
    plugin::parallel_for(
        host_, groups, std::max<int64_t>(1, kWork / (kSide * n_)), r.threads, [&](int64_t begin, int64_t end) {
          for (int64_t g = begin; g < end; ++g) {
            const int64_t count = std::min(kSide, rows_ - g * kSide);
            const T* in[kSide];
            T* out[kSide];
            for (int64_t l = 0; l < count; ++l) in[l] = at<const T>(x, g * kSide + l), out[l] = at<T>(y, g * kSide + l);
            transform(*whole_, {in, from.step, from.part}, {out, to.step, to.part}, count, backward_, factor_);
          }
        });
  }

 private:
  template <class P>
  static P* at(const tg_tensor& t, int64_t row) {
    P* p = plugin::data<P>(t);
    for (int32_t i = t.ndim - 3; i >= 0; --i) {
      p += row % t.shape[i] * t.strides[i];
      row /= t.shape[i];
    }
    return p;
  }

  // j = columns j1 + j2, k = k1 + rows k2: transforms of the columns, a twiddle exp(-2 pi i j2 k1 / n), transforms of
  // the rows.
  void matrix(const tg_run& r, const Side<const T>& from, const T* x, const Side<T>& to, T* y) const {
    const int64_t columns = columns_, height = n_ / columns;
    std::vector<T> middle(size_t(2 * n_));
    const auto groups = [&](int64_t count, int64_t length, auto&& body) {
      plugin::parallel_for(host_, (count + kSide - 1) / kSide, std::max<int64_t>(1, kWork / (kSide * length)),
                           r.threads, [&](int64_t begin, int64_t end) {
                             for (int64_t g = begin; g < end; ++g) body(g * kSide, std::min(kSide, count - g * kSide));
                           });
    };
    const T* const re = twiddles_.re.data();
    const T* const im = twiddles_.im.data();
    groups(columns, height, [&](int64_t first, int64_t count) {
      const T* in[kSide];
      T* out[kSide];
      for (int64_t l = 0; l < count; ++l)
        in[l] = x + (first + l) * from.step, out[l] = &middle[size_t(2 * (first + l))];
      transform(*down_, {in, columns * from.step, from.part}, {out, 2 * columns, 1}, count, backward_, factor_);
      for (int64_t k1 = 0; k1 < height; ++k1)
        for (int64_t l = 0; l < count; ++l) {
          T* z = out[l] + 2 * columns * k1;
          const T c = re[(first + l) * k1], s = backward_ ? -im[(first + l) * k1] : im[(first + l) * k1];
          const T a = z[0], b = z[1];
          z[0] = a * c - b * s, z[1] = a * s + b * c;
        }
    });
    groups(height, columns, [&](int64_t first, int64_t count) {
      const T* in[kSide];
      T* out[kSide];
      for (int64_t l = 0; l < count; ++l)
        in[l] = &middle[size_t(2 * columns * (first + l))], out[l] = y + (first + l) * to.step;
      transform(*across_, {in, 2, 1}, {out, height * to.step, to.part}, count, backward_, T(1));
    });
  }

  const tg_host* host_;
  bool backward_;
  T factor_;
  int64_t n_, rows_, columns_ = 0;
  std::unique_ptr<FftTables<T>> whole_, down_, across_;
  Rounded<T> twiddles_;
};

}  // namespace

std::unique_ptr<Plan> make_fft(Instance& instance, const tg_call& call) {
  using plugin::operator==;
  if (call.inputs[0]->dtype == plugin::dtype_of<float>::value) return std::make_unique<Fft<float>>(instance, call);
  return std::make_unique<Fft<double>>(instance, call);
}

}  // namespace tg::cpu
#endif  // HWY_ONCE
