// SPDX-License-Identifier: Apache-2.0
// Shapes. `Dim` is a size that is either an integer or an affine expression of named symbols (n, 2*n + 1), so that the
// same shape inference serves concrete and symbolic shapes. A quotient that is not affine becomes a symbol of its own
// whose name is its definition ("floor((n + 1)/2)"): equal definitions are the same symbol.
#pragma once
#include <tengen/error.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>

namespace tg {

// A vector of trivially copyable T with room for N without the heap.
template <class T, int N>
class SmallVec {
 public:
  SmallVec() = default;
  SmallVec(std::initializer_list<T> v) { assign(v.begin(), v.size()); }
  SmallVec(const T* p, size_t n) { assign(p, n); }
  explicit SmallVec(size_t n, T fill) { resize(n, fill); }
  SmallVec(std::span<const T> v) { assign(v.data(), v.size()); }
  SmallVec(const SmallVec& o) { assign(o.data(), o.size()); }
  SmallVec(SmallVec&& o) noexcept : size_(o.size_), capacity_(o.capacity_), heap_(std::move(o.heap_)) {
    if (!heap_) std::copy(o.local_, o.local_ + size_, local_);
    o.size_ = 0;
    o.capacity_ = N;
  }
  SmallVec& operator=(const SmallVec& o) {
    if (this != &o) assign(o.data(), o.size());
    return *this;
  }
  SmallVec& operator=(SmallVec&& o) noexcept {
    if (this != &o) {
      this->~SmallVec();
      new (this) SmallVec(std::move(o));
    }
    return *this;
  }

  T* data() { return heap_ ? heap_.get() : local_; }
  const T* data() const { return heap_ ? heap_.get() : local_; }
  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  T& operator[](size_t i) { return data()[i]; }
  const T& operator[](size_t i) const { return data()[i]; }
  T* begin() { return data(); }
  T* end() { return data() + size_; }
  const T* begin() const { return data(); }
  const T* end() const { return data() + size_; }
  T& back() { return data()[size_ - 1]; }
  const T& back() const { return data()[size_ - 1]; }
  void clear() { size_ = 0; }
  void push_back(T v) {
    if (size_ == capacity_) grow(size_ + 1);
    data()[size_++] = v;
  }
  void pop_back() { --size_; }
  void resize(size_t n, T fill = T{}) {
    if (n > capacity_) grow(n);
    if (n > size_) std::fill(data() + size_, data() + n, fill);
    size_ = n;
  }
  void insert(size_t at, T v) {
    push_back(v);
    for (size_t i = size_ - 1; i > at; --i) data()[i] = data()[i - 1];
    data()[at] = v;
  }
  void erase(size_t at) {
    for (size_t i = at; i + 1 < size_; ++i) data()[i] = data()[i + 1];
    --size_;
  }
  operator std::span<const T>() const { return {data(), size_}; }
  friend bool operator==(const SmallVec& a, const SmallVec& b) {
    return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin());
  }

 private:
  void assign(const T* p, size_t n) {
    if (n > capacity_) grow(n);
    std::copy(p, p + n, data());
    size_ = n;
  }
  void grow(size_t n) {
    const size_t capacity = std::max<size_t>(n, 2 * capacity_);
    std::unique_ptr<T[]> heap(new T[capacity]);
    std::copy(data(), data() + size_, heap.get());
    heap_ = std::move(heap);
    capacity_ = capacity;
  }
  size_t size_ = 0, capacity_ = N;
  T local_[N];
  std::unique_ptr<T[]> heap_;
};

using Ints = SmallVec<int64_t, 6>;  // shapes, strides, axes

namespace detail {
struct Affine;  // interned: equal expressions have equal addresses
}

// Sizes that leave int64; a ValueError, to which an op's inference adds the op's name.
class SizeOverflow : public Error {
 public:
  explicit SizeOverflow(const std::string& what) : Error(ErrorKind::value, "expected sizes below 2^63, got " + what) {}
};
int64_t checked_add(int64_t a, int64_t b);
int64_t checked_sub(int64_t a, int64_t b);
int64_t checked_mul(int64_t a, int64_t b);

class Dim {
 public:
  Dim(int64_t value = 0) : value_(value) {}
  static Dim symbol(const std::string& name);

  bool is_constant() const { return !expr_; }
  int64_t value() const {  // RuntimeError when symbolic
    if (expr_) raise(ErrorKind::runtime, "expected a known size, got the symbolic dimension ", str());
    return value_;
  }
  std::string str() const;
  // The size with symbols replaced: lookup(name) gives each value.
  int64_t evaluate(int64_t (*lookup)(void*, const std::string&), void* context) const;

  friend Dim operator+(Dim a, Dim b) { return !a.expr_ && !b.expr_ ? Dim(checked_add(a.value_, b.value_)) : add(a, b, 1); }
  friend Dim operator-(Dim a, Dim b) { return !a.expr_ && !b.expr_ ? Dim(checked_sub(a.value_, b.value_)) : add(a, b, -1); }
  friend Dim operator*(Dim a, Dim b) { return !a.expr_ && !b.expr_ ? Dim(checked_mul(a.value_, b.value_)) : mul(a, b); }
  friend Dim floor_div(Dim a, int64_t b);
  // Same size for certain: equal numbers or identical expressions.
  friend bool operator==(Dim a, Dim b) { return a.value_ == b.value_ && a.expr_ == b.expr_; }
  friend std::ostream& operator<<(std::ostream& out, Dim d) { return out << d.str(); }

 private:
  static Dim add(Dim a, Dim b, int64_t sign);
  static Dim mul(Dim a, Dim b);
  static Dim make(int64_t constant, const detail::Affine* expr);
  int64_t value_;                         // the constant, or the affine expression's constant part
  const detail::Affine* expr_ = nullptr;  // the rest
};

using Shape = SmallVec<Dim, 5>;

// str(shape) is "(2, 3)" once it is printed or made a string; until then it costs nothing, so that it may stand in the
// arguments of check(). It refers to the shape: do not keep it.
template <class T>
struct TupleText {
  std::span<const T> values;
  operator std::string() const;
  friend std::ostream& operator<<(std::ostream& out, const TupleText& t) { return out << std::string(t); }
  friend std::string operator+(const std::string& a, const TupleText& t) { return a + std::string(t); }
  friend std::string operator+(const TupleText& t, const std::string& a) { return std::string(t) + a; }
};
inline TupleText<int64_t> str(std::span<const int64_t> v) { return {v}; }
inline TupleText<Dim> str(std::span<const Dim> v) { return {v}; }
inline TupleText<int64_t> str(const Ints& v) { return {v}; }
inline TupleText<Dim> str(const Shape& v) { return {v}; }
Shape symbolic(std::span<const int64_t> v);
Ints concrete(const Shape& v);  // RuntimeError when a size is symbolic
int64_t numel(std::span<const int64_t> shape);
Ints contiguous_strides(std::span<const int64_t> shape);
// NumPy's broadcasting; ValueError names `op` and both shapes.
Shape broadcast(const char* op, const Shape& a, const Shape& b);
// An axis in [-rank, rank) to [0, rank); IndexError.
int64_t normalize_axis(const char* op, int64_t axis, int64_t rank);
// Axes normalised, ascending, distinct; an empty list means all.
Ints normalize_axes(const char* op, std::span<const int64_t> axes, int64_t rank);

}  // namespace tg
