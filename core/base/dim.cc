// SPDX-License-Identifier: Apache-2.0
// Affine dimensions. An expression is a sorted list of (symbol, coefficient), interned so that pointers compare.
#include <tengen/dim.h>

#include <map>
#include <mutex>
#include <set>
#include <sstream>
#include <vector>

namespace tg {
namespace detail {

struct Affine {
  std::map<std::string, int64_t> terms;  // no zero coefficients
  bool operator<(const Affine& o) const { return terms < o.terms; }
};

}  // namespace detail

namespace {

[[noreturn]] void overflow(int64_t a, const char* sign, int64_t b) {
  throw SizeOverflow(detail::concat(a, " ", sign, " ", b));
}

// For the life of the process: the number of distinct expressions is that of a model's shapes.
const detail::Affine* intern(detail::Affine a) {
  static std::mutex mutex;
  static auto& pool = *new std::set<detail::Affine>();
  std::lock_guard lock(mutex);
  return &*pool.insert(std::move(a)).first;
}

}  // namespace

int64_t checked_add(int64_t a, int64_t b) {
  int64_t y;
  if (__builtin_add_overflow(a, b, &y)) [[unlikely]] overflow(a, "+", b);
  return y;
}
int64_t checked_sub(int64_t a, int64_t b) {
  int64_t y;
  if (__builtin_sub_overflow(a, b, &y)) [[unlikely]] overflow(a, "-", b);
  return y;
}
int64_t checked_mul(int64_t a, int64_t b) {
  int64_t y;
  if (__builtin_mul_overflow(a, b, &y)) [[unlikely]] overflow(a, "*", b);
  return y;
}

Dim Dim::make(int64_t constant, const detail::Affine* expr) {
  Dim d(constant);
  d.expr_ = expr && expr->terms.empty() ? nullptr : expr;
  return d;
}

Dim Dim::symbol(const std::string& name) {
  detail::Affine a;
  a.terms[name] = 1;
  return make(0, intern(std::move(a)));
}

Dim Dim::add(Dim a, Dim b, int64_t sign) {
  detail::Affine sum = a.expr_ ? *a.expr_ : detail::Affine{};
  if (b.expr_)
    for (const auto& [name, c] : b.expr_->terms)
      if ((sum.terms[name] = sign > 0 ? checked_add(sum.terms[name], c) : checked_sub(sum.terms[name], c)) == 0)
        sum.terms.erase(name);
  return make(sign > 0 ? checked_add(a.value_, b.value_) : checked_sub(a.value_, b.value_), intern(std::move(sum)));
}

Dim Dim::mul(Dim a, Dim b) {
  if (a.expr_ && b.expr_) {  // not affine: the product is a symbol of its own, its factors in a fixed order
    std::string l = a.str(), r = b.str();
    if (r < l) std::swap(l, r);
    return symbol("(" + l + ")*(" + r + ")");
  }
  if (!a.expr_) std::swap(a, b);
  if (b.value_ == 0) return Dim(0);
  detail::Affine scaled = *a.expr_;
  for (auto& term : scaled.terms) term.second = checked_mul(term.second, b.value_);
  return make(checked_mul(a.value_, b.value_), intern(std::move(scaled)));
}

namespace {
int64_t floor_quotient(int64_t a, int64_t b) { return a / b - (a % b != 0 && (a < 0) != (b < 0)); }
}  // namespace

Dim floor_div(Dim a, int64_t b) {
  ensure(b > 0, "floor_div of a size by ", b);
  if (!a.expr_) return Dim(floor_quotient(a.value_, b));
  bool exact = true;
  for (const auto& term : a.expr_->terms) exact = exact && term.second % b == 0;
  if (!exact) return b == 1 ? a : Dim::symbol("floor((" + a.str() + ")/" + std::to_string(b) + ")");
  detail::Affine q = *a.expr_;
  for (auto& term : q.terms) term.second /= b;
  return Dim::make(floor_quotient(a.value_, b), intern(std::move(q)));
}

std::string Dim::str() const {
  if (!expr_) return std::to_string(value_);
  std::string out;
  for (const auto& [name, c] : expr_->terms) {
    if (!out.empty()) out += c < 0 ? " - " : " + ";
    else if (c < 0) out += "-";
    if (std::abs(c) != 1) out += std::to_string(std::abs(c)) + "*";
    out += name;
  }
  if (value_) out += (value_ < 0 ? " - " : " + ") + std::to_string(std::abs(value_));
  return out;
}

int64_t Dim::evaluate(int64_t (*lookup)(void*, const std::string&), void* context) const {
  int64_t v = value_;
  if (expr_)
    for (const auto& [name, c] : expr_->terms) v = checked_add(v, checked_mul(c, lookup(context, name)));
  return v;
}

template <class T>
TupleText<T>::operator std::string() const {
  std::ostringstream out;
  out << '(';
  for (size_t i = 0; i < values.size(); ++i) out << (i ? ", " : "") << values[i];
  out << (values.size() == 1 ? ",)" : ")");
  return out.str();
}
template struct TupleText<int64_t>;
template struct TupleText<Dim>;

Shape symbolic(std::span<const int64_t> v) {
  Shape s;
  for (int64_t d : v) s.push_back(d);
  return s;
}

Ints concrete(const Shape& v) {
  Ints s;
  for (Dim d : v) s.push_back(d.value());
  return s;
}

int64_t numel(std::span<const int64_t> shape) {
  int64_t n = 1;
  for (int64_t d : shape)
    if (__builtin_mul_overflow(n, d, &n)) {
      for (int64_t e : shape)
        if (e == 0) return 0;
      raise(ErrorKind::memory, "expected fewer than 2^63 elements, got shape ", str(shape));
    }
  return n;
}

Ints contiguous_strides(std::span<const int64_t> shape) {
  Ints s(shape.size(), 1);
  for (int64_t i = int64_t(shape.size()) - 2; i >= 0; --i) s[i] = checked_mul(s[i + 1], std::max<int64_t>(shape[i + 1], 1));
  return s;
}

Shape broadcast(const char* op, const Shape& a, const Shape& b) {
  const Shape& longer = a.size() >= b.size() ? a : b;
  const Shape& shorter = a.size() >= b.size() ? b : a;
  Shape out = longer;
  const size_t lead = longer.size() - shorter.size();
  for (size_t i = 0; i < shorter.size(); ++i) {
    const Dim x = longer[lead + i], y = shorter[i];
    if (x == y || y == Dim(1)) continue;
    if (x == Dim(1)) {
      out[lead + i] = y;
      continue;
    }
    raise(ErrorKind::value, "[", op, "] expected shapes that broadcast (equal sizes or 1, aligned at the right), got ",
          str(a), " and ", str(b));
  }
  return out;
}

int64_t normalize_axis(const char* op, int64_t axis, int64_t rank) {
  if (axis < -rank || axis >= rank)
    raise(ErrorKind::index, "[", op, "] expected an axis in [", -rank, ", ", rank, "), got ", axis);
  return axis < 0 ? axis + rank : axis;
}

Ints normalize_axes(const char* op, std::span<const int64_t> axes, int64_t rank) {
  Ints out;
  if (axes.empty()) {
    for (int64_t i = 0; i < rank; ++i) out.push_back(i);
    return out;
  }
  for (int64_t a : axes) out.push_back(normalize_axis(op, a, rank));
  std::sort(out.begin(), out.end());
  for (size_t i = 1; i < out.size(); ++i)
    check(out[i] != out[i - 1], "[", op, "] expected distinct axes, got ", str(axes));
  return out;
}

}  // namespace tg
