// SPDX-License-Identifier: Apache-2.0
//
// cholesky, lu, qr, svd, eigh, triangular_solve by LAPACK. LAPACK is column-major: rows of ours are its columns, so
// that it sees transposed matrices. What is asked of it is chosen accordingly, and only LU needs a transposed copy.
//
// A batch is shared among threads, one matrix a thread; one matrix, or a large one, has all threads inside LAPACK.
#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/factorize.h"
#include "kernels/lapack.h"
#include "kernels/onednn.h"

namespace tg::cpu {
namespace {

constexpr int64_t kLarge = 256;  // order from which a matrix of a batch gets all threads

template <class T>
T* entry(const tg_tensor& t, int32_t inner, int64_t batch) {
  T* p = plugin::data<T>(t);
  for (int32_t i = t.ndim - inner - 1; i >= 0; --i) {
    p += batch % t.shape[i] * t.strides[i];
    batch /= t.shape[i];
  }
  return p;
}

// y[i * yr + j * yc] = x[i * xr + j * xc], in tiles that both fit into the cache.
template <class T>
void copy(int64_t m, int64_t n, const T* x, int64_t xr, int64_t xc, T* y, int64_t yr, int64_t yc) {
  constexpr int64_t kTile = 32;
  for (int64_t i0 = 0; i0 < m; i0 += kTile)
    for (int64_t j0 = 0; j0 < n; j0 += kTile)
      for (int64_t i = i0; i < std::min(m, i0 + kTile); ++i)
        for (int64_t j = j0; j < std::min(n, j0 + kTile); ++j) y[i * yr + j * yc] = x[i * xr + j * xc];
}

struct Strides {
  int64_t row, column;
  explicit Strides(const tg_tensor& t) : row(t.strides[t.ndim - 2]), column(t.strides[t.ndim - 1]) {}
};

template <class T>
class Factorization : public Plan {
 public:
  Factorization(Instance& instance, const tg_call& call) : l(lapack<T>()), host_(instance.host) {
    const tg_tensor& a = *call.inputs[0];
    if (a.ndim < 2) plugin::fail(TG_INVALID_ARGUMENT, "[%s] expected matrices, got rank %d", call.op, a.ndim);
    m = a.shape[a.ndim - 2], n = a.shape[a.ndim - 1], k = std::min(m, n);
    batches_ = plugin::numel(a) / (m * n);
  }
  uint64_t workspace(const tg_run& r) override { return uint64_t(slots(r.threads)) * floats_ * sizeof(T); }
  void run(const tg_run& r) override {
    T* work = reinterpret_cast<T*>(static_cast<char*>(r.workspace) + r.workspace_offset);
    const int64_t s = slots(r.threads);
    const ThreadScope threads(s > 1 ? 1 : r.threads);
    plugin::parallel_for(host_, s, 1, int32_t(s), [&](int64_t begin, int64_t end) {
      for (int64_t slot = begin; slot < end; ++slot)
        for (int64_t b = slot; b < batches_; b += s) factor(r, b, work + slot * int64_t(floats_));
    });
  }

 protected:
  virtual void factor(const tg_run&, int64_t batch, T* work) = 0;

  // Reserves room for `count` values (or integers) in the work area of a matrix: its offset.
  int64_t reserve(int64_t count, size_t size = sizeof(T)) {
    const uint64_t at = floats_;
    floats_ += (uint64_t(count) * size + 63) / 64 * 64 / sizeof(T);
    return int64_t(at);
  }
  void load(const tg_tensor& t, int64_t batch, T* rows) const {
    const Strides s(t);
    copy<T>(m, n, entry<const T>(t, 2, batch), s.row, s.column, rows, n, 1);
  }
  static void store(const tg_tensor* t, int64_t batch, const T* x, int64_t row, int64_t column) {
    if (!t) return;
    const Strides s(*t);
    copy<T>(t->shape[t->ndim - 2], t->shape[t->ndim - 1], x, row, column, entry<T>(*t, 2, batch), s.row, s.column);
  }
  template <class V, class F>
  static void store_vector(const tg_tensor* t, int64_t batch, F&& value) {
    if (!t) return;
    V* p = entry<V>(*t, 1, batch);
    for (int64_t i = 0; i < t->shape[t->ndim - 1]; ++i) p[i * t->strides[t->ndim - 1]] = V(value(i));
  }
  static void store_info(const tg_tensor* t, int64_t batch, int64_t info) {
    if (t) *entry<int32_t>(*t, 0, batch) = int32_t(info);
  }
  bool all_finite(const T* x, int64_t count) const {
    return std::all_of(x, x + count, [](T v) { return std::isfinite(v); });
  }

  const Lapack<T>& l;
  int64_t m, n, k;

 private:
  int64_t slots(int32_t threads) const { return k >= kLarge ? 1 : std::min<int64_t>(std::max(threads, 1), batches_); }
  const tg_host* host_;
  int64_t batches_;
  uint64_t floats_ = 0;
};

// Lower triangle by rows is LAPACK's upper one; U of U^T U by columns is L by rows.
template <class T>
class Cholesky : public Factorization<T> {
 public:
  Cholesky(Instance& instance, const tg_call& call) : Factorization<T>(instance, call) {
    this->reserve(this->n * this->n);
  }

 protected:
  void factor(const tg_run& r, int64_t batch, T* a) override {
    const int64_t n = this->n;
    this->load(*r.inputs[0], batch, a);
    int64_t info = 0;
    this->l.potrf("U", &n, a, &n, &info, 1);
    info = this->l.integer(&info);
    for (int64_t i = 0; i < n; ++i) {
      if (!info && !(a[i * n + i] > 0 && std::isfinite(a[i * n + i]))) info = i + 1;  // NaN passes some versions
      std::fill(a + i * n + i + 1, a + (i + 1) * n, T(0));
    }
    this->store(r.outputs[0], batch, a, n, 1);
    this->store_info(r.outputs[1], batch, info);
  }
};

template <class T>
class Lu : public Factorization<T> {
 public:
  Lu(Instance& instance, const tg_call& call) : Factorization<T>(instance, call) {
    this->reserve(this->m * this->n);
    pivots_ = this->reserve(this->k, 8);
    order_ = this->reserve(this->m, 8);
  }

 protected:
  void factor(const tg_run& r, int64_t batch, T* a) override {
    const int64_t m = this->m, n = this->n;
    const tg_tensor& x = *r.inputs[0];
    const Strides s(x);
    copy<T>(m, n, entry<const T>(x, 2, batch), s.row, s.column, a, 1, m);
    int64_t* pivots = reinterpret_cast<int64_t*>(a + pivots_);
    int64_t* order = reinterpret_cast<int64_t*>(a + order_);
    int64_t info = 0;
    this->l.getrf(&m, &n, a, &m, pivots, &info);
    for (int64_t i = 0; i < m; ++i) order[i] = i;
    for (int64_t i = 0; i < this->k; ++i) std::swap(order[i], order[this->l.integer(pivots, i) - 1]);
    this->store(r.outputs[0], batch, a, 1, m);
    this->template store_vector<int32_t>(r.outputs[1], batch, [&](int64_t i) { return this->l.integer(pivots, i); });
    this->store_info(r.outputs[2], batch, this->l.integer(&info));
    this->template store_vector<int64_t>(r.outputs[3], batch, [&](int64_t i) { return order[i]; });
  }

 private:
  int64_t pivots_, order_;
};

// A = Q R by rows is A^T = L Q' by columns: LQ, whose factors lie in memory as R and Q do.
template <class T>
class Qr : public Factorization<T> {
 public:
  Qr(Instance& instance, const tg_call& call) : Factorization<T>(instance, call) {
    const int64_t m = this->m, n = this->n, k = this->k;
    q_columns_ = call.n_attrs && call.attrs[0].v.i ? m : k;
    this->reserve(std::max(n, q_columns_) * m);
    tau_ = this->reserve(k);
    T first = 0, second = 0, none = 0;
    const int64_t ask = -1;
    int64_t info = 0;
    this->l.gelqf(&n, &m, &none, &n, &none, &first, &ask, &info);
    this->l.orglq(&q_columns_, &m, &k, &none, &q_columns_, &none, &second, &ask, &info);
    lwork_ = int64_t(std::max(first, second));
    work_ = this->reserve(lwork_);
    r_ = this->reserve(q_columns_ * n);
  }

 protected:
  void factor(const tg_run& r, int64_t batch, T* a) override {
    const int64_t m = this->m, n = this->n, k = this->k, q = q_columns_;
    this->load(*r.inputs[0], batch, a);  // by columns: n rows, m columns
    int64_t info = 0;
    this->l.gelqf(&n, &m, a, &n, a + tau_, a + work_, &lwork_, &info);
    T* upper = a + r_;
    for (int64_t i = 0; i < q; ++i)
      for (int64_t j = 0; j < n; ++j) upper[i * n + j] = i < k && j >= i ? a[i * n + j] : T(0);
    this->store(r.outputs[1], batch, upper, n, 1);
    if (!r.outputs[0]) return;
    // The reflections are in the rows above the diagonal; orglq wants them with q rows a column.
    if (q < n)
      for (int64_t c = 0; c < m; ++c) std::copy(a + c * n, a + c * n + q, a + c * q);
    else if (q > n)
      for (int64_t c = m - 1; c >= 0; --c) std::copy_backward(a + c * n, a + c * n + n, a + c * q + n);
    this->l.orglq(&q, &m, &k, a, &q, a + tau_, a + work_, &lwork_, &info);
    this->store(r.outputs[0], batch, a, q, 1);
  }

 private:
  int64_t q_columns_, tau_, lwork_, work_, r_;
};

// A = U S Vh by rows is A^T = Vh^T S U^T by columns: LAPACK's left vectors lie in memory as Vh does, its right ones as
// U.
template <class T>
class Svd : public Factorization<T> {
 public:
  Svd(Instance& instance, const tg_call& call) : Factorization<T>(instance, call) {
    const int64_t m = this->m, n = this->n, k = this->k;
    const bool full = call.n_attrs && call.attrs[0].v.i;
    job_ = !call.outputs[0] && !call.outputs[2] ? 'N' : full ? 'A' : 'S';
    columns_ = full ? m : k, rows_ = full ? n : k;
    this->reserve(m * n);
    s_ = this->reserve(k);
    u_ = this->reserve(job_ == 'N' ? 1 : m * columns_), vh_ = this->reserve(job_ == 'N' ? 1 : rows_ * n);
    integers_ = this->reserve(8 * k, 8);
    T size = 0, none = 0;
    int64_t ask = -1, info = 0, unused[8];
    this->l.gesdd(&job_, &n, &m, &none, &n, &none, &none, &n, &none, &columns_, &size, &ask, unused, &info, 1);
    lwork_ = int64_t(size) + 1;
    work_ = this->reserve(lwork_);
  }

 protected:
  void factor(const tg_run& r, int64_t batch, T* a) override {
    const int64_t m = this->m, n = this->n;
    this->load(*r.inputs[0], batch, a);
    int64_t info = 0;
    if (this->all_finite(a, m * n))
      this->l.gesdd(&job_, &n, &m, a, &n, a + s_, a + vh_, &n, a + u_, &columns_, a + work_, &lwork_,
                    reinterpret_cast<int64_t*>(a + integers_), &info, 1);
    else
      info = 1;
    if ((info = this->l.integer(&info)) != 0) std::fill(a + s_, a + integers_, std::numeric_limits<T>::quiet_NaN());
    this->store(r.outputs[0], batch, a + u_, columns_, 1);
    this->template store_vector<T>(r.outputs[1], batch, [&](int64_t i) { return a[s_ + i]; });
    this->store(r.outputs[2], batch, a + vh_, n, 1);
    this->store_info(r.outputs[3], batch, info != 0);
  }

 private:
  char job_;
  int64_t columns_, rows_, s_, u_, vh_, integers_, lwork_, work_;
};

template <class T>
class Eigh : public Factorization<T> {
 public:
  Eigh(Instance& instance, const tg_call& call) : Factorization<T>(instance, call) {
    const int64_t n = this->n;
    job_ = call.outputs[1] ? 'V' : 'N';
    this->reserve(n * n);
    w_ = this->reserve(n);
    T size = 0, none = 0;
    int64_t ask = -1, info = 0, integers[1] = {};
    this->l.syevd(&job_, "U", &n, &none, &n, &none, &size, &ask, integers, &ask, &info, 1, 1);
    lwork_ = int64_t(size) + 1;
    liwork_ = this->l.integer(integers);
    work_ = this->reserve(lwork_);
    integers_ = this->reserve(liwork_, 8);
  }

 protected:
  void factor(const tg_run& r, int64_t batch, T* a) override {
    const int64_t n = this->n;
    this->load(*r.inputs[0], batch, a);
    bool finite = true;
    for (int64_t i = 0; i < n; ++i) finite = finite && this->all_finite(a + i * n, i + 1);
    int64_t info = !finite;
    if (finite)
      this->l.syevd(&job_, "U", &n, a, &n, a + w_, a + work_, &lwork_, reinterpret_cast<int64_t*>(a + integers_),
                    &liwork_, &info, 1, 1);
    if ((info = this->l.integer(&info)) != 0) std::fill(a, a + w_ + n, std::numeric_limits<T>::quiet_NaN());
    this->template store_vector<T>(r.outputs[0], batch, [&](int64_t i) { return a[w_ + i]; });
    this->store(r.outputs[1], batch, a, 1, n);  // LAPACK's columns are rows here
    this->store_info(r.outputs[2], batch, info != 0);
  }

 private:
  char job_;
  int64_t w_, lwork_, liwork_, work_, integers_;
};

// A X = B by rows is X^T A^T = B^T by columns. A transposed view of A is taken as it lies, too.
template <class T>
class TriangularSolve : public Factorization<T> {
 public:
  TriangularSolve(Instance& instance, const tg_call& call)
      : Factorization<T>(instance, call), upper_(call.attrs[0].v.i != 0), unit_(call.attrs[1].v.i != 0) {
    const tg_tensor& b = *call.inputs[1];
    columns_ = b.shape[b.ndim - 1];
    this->reserve(this->n * this->n);
    b_ = this->reserve(this->n * columns_);
  }

 protected:
  void factor(const tg_run& r, int64_t batch, T* work) override {
    const int64_t n = this->n;
    const tg_tensor &a = *r.inputs[0], &b = *r.inputs[1];
    const Strides s(a), t(b);
    const T* matrix = entry<const T>(a, 2, batch);
    int64_t lda = n;
    bool transposed = false;  // by columns A itself lies there, not A^T
    if (s.column == 1 && s.row >= n) {
      lda = s.row;
    } else if (s.row == 1 && s.column >= n) {
      lda = s.column, transposed = true;
    } else {
      this->load(a, batch, work);
      matrix = work;
    }
    T* x = work + b_;
    copy<T>(n, columns_, entry<const T>(b, 2, batch), t.row, t.column, x, columns_, 1);
    const T one = 1;
    this->l.trsm("R", upper_ == transposed ? "U" : "L", transposed ? "T" : "N", unit_ ? "U" : "N", &columns_, &n, &one,
                 matrix, &lda, x, &columns_, 1, 1, 1, 1);
    this->store(r.outputs[0], batch, x, columns_, 1);
  }

 private:
  bool upper_, unit_;
  int64_t columns_, b_;
};

template <template <class> class Family>
std::unique_ptr<Plan> make(Instance& instance, const tg_call& call) {
  const tg_dtype t = call.inputs[0]->dtype;
  if (t.bits == 64) return std::make_unique<Family<double>>(instance, call);
  return std::make_unique<Family<float>>(instance, call);
}

}  // namespace

std::unique_ptr<Plan> make_cholesky(Instance& i, const tg_call& c) { return make<Cholesky>(i, c); }
std::unique_ptr<Plan> make_lu(Instance& i, const tg_call& c) { return make<Lu>(i, c); }
std::unique_ptr<Plan> make_qr(Instance& i, const tg_call& c) { return make<Qr>(i, c); }
std::unique_ptr<Plan> make_svd(Instance& i, const tg_call& c) { return make<Svd>(i, c); }
std::unique_ptr<Plan> make_eigh(Instance& i, const tg_call& c) { return make<Eigh>(i, c); }
std::unique_ptr<Plan> make_triangular_solve(Instance& i, const tg_call& c) { return make<TriangularSolve>(i, c); }

}  // namespace tg::cpu
