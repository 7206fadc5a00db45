// SPDX-License-Identifier: Apache-2.0
// NumPy's advanced indexing: several axes at once by index tensors that broadcast to one another. The indexed axes become
// one, and the indices one number along it: then it is the floor's gather or scatter.
//
//   index(x, [i, j], axes=(0, 2))        y[a, m] = x[i[a], m, j[a]]
#include <bit>

#include "index.h"

namespace tg {
namespace {

// Which axes the indices take, which stay, and before which of those that stay the indices' own axes come.
struct Layout {
  Ints axes, rest;
  int64_t at = 0;
};

Layout layout_of(const char* op, const Attr& axes, const Attr& at, int64_t rank, size_t n) {
  check(n > 0 && axes.ints().size() == n, "[", op, "] expected one axis for every index, got ", n, " indices and axes ",
        str(axes.ints()));
  Layout l;
  uint32_t taken = 0;
  for (int64_t a : axes.ints()) {
    const int64_t axis = normalize_axis(op, a, rank);
    check(!(taken >> axis & 1), "[", op, "] expected distinct axes, got ", str(axes.ints()));
    taken |= 1u << axis;
    l.axes.push_back(axis);
  }
  for (int64_t i = 0; i < rank; ++i)
    if (!(taken >> i & 1)) l.rest.push_back(i);
  const int64_t first = std::countr_zero(taken);
  const bool neighbours = std::popcount(taken) == std::bit_width(taken) - first;
  l.at = at.given() ? at.integer() : neighbours ? first : 0;
  check(l.at >= 0 && l.at <= int64_t(l.rest.size()), "[", op, "] expected `at` between 0 and ", l.rest.size(), ", got ",
        l.at);
  return l;
}

template <class S>
S laid_out(const S& x, const Layout& l, const S& middle) {
  S out;
  for (int64_t i = 0; i < l.at; ++i) out.push_back(x[size_t(l.rest[i])]);
  for (const auto& d : middle) out.push_back(d);
  for (size_t i = size_t(l.at); i < l.rest.size(); ++i) out.push_back(x[size_t(l.rest[i])]);
  return out;
}

// Shape of the indices, broadcast; they are the inputs from `first` on.
Shape index_shape(const Inference& c, size_t first) {
  Shape s;
  for (size_t i = first; i < c.inputs.size(); ++i) {
    check_index(c, i);
    s = broadcast(c.name(), s, c.input(i).shape);
  }
  return s;
}

// x seen with the indexed axes as one (`axis`, of the elements `line` [m] is wanted), or flat.
struct Place {
  Tensor x, line;
  int64_t axis = 0;
};

// Whether the axes lie in memory as one.
bool one_run(const Tensor& x, const Ints& axes) {
  int64_t inner = -1;
  for (size_t i = 0; i < axes.size(); ++i) {
    const int64_t n = x.size(axes[i]), s = x.strides()[axes[i]];
    if (n == 1) continue;
    if (inner >= 0 && inner != s * n) return false;
    inner = s;
  }
  return true;
}

Place place_of(const char* name, const Tensor& x, std::span<const Tensor> indices, const Layout& l, const Ints& shape) {
  const int64_t m = numel(shape);
  for (size_t i = 0; i < indices.size(); ++i)
    if (m && x.size(l.axes[i]) == 0)
      raise(ErrorKind::index, "[", name, "] expected no index of axis ", l.axes[i], " of size 0, got ", m);
  const bool merged = one_run(x, l.axes);
  Ints order, middle;
  for (int64_t a : l.axes) middle.push_back(a);
  for (int64_t i = 0; i < x.rank(); ++i) order.push_back(i);
  order = laid_out(order, l, middle);
  // Strides of the indexed axes among themselves, or of all axes in a dense tensor.
  const Ints dense = contiguous_strides(x.shape());
  int64_t inner = 1;
  Ints strides(l.axes.size(), 1);
  for (size_t i = l.axes.size(); i-- > 0; inner *= x.size(l.axes[i])) strides[i] = merged ? inner : dense[l.axes[i]];
  Tensor line;
  if (indices.size() == 1 && merged) {
    line = index_of(indices[0]);
  } else {
    for (size_t i = 0; i < indices.size(); ++i)
      line = op<"ravel_index">(
          {i ? Arg(line) : Arg(int64_t(0)), indices[i].cast(DType::i64), x.size(l.axes[i]), strides[i]});
  }
  line = expand(line, shape);
  if (merged) {
    return {reshape(op<"permute">({x}, {order}), laid_out(x.shape(), l, Ints{inner})), reshape(line, {m}), l.at};
  }
  // Every element's own number.
  const int64_t rank = int64_t(l.rest.size() + shape.size());
  Ints spread(size_t(rank), 1);
  for (size_t i = 0; i < shape.size(); ++i) spread[size_t(l.at) + i] = shape[i];
  line = reshape(line, spread);
  for (size_t i = 0; i < l.rest.size(); ++i) {
    Ints own(size_t(rank), 1);
    const int64_t n = x.size(l.rest[i]);
    own[int64_t(i) < l.at ? i : i + shape.size()] = n;
    line = op<"add">({line, reshape(iota(n, 0, double(dense[l.rest[i]]), DType::i64, x.device()), own)});
  }
  return {reshape(x, {x.numel()}), reshape(line, {line.numel()}), 0};
}

Tensors tail(std::span<const Tensor> inputs, size_t first) { return {inputs.begin() + int64_t(first), inputs.end()}; }

// index or index_update with the indices of a call that is being differentiated.
Tensor again(const Op& op, const Backward& b, std::initializer_list<Arg> leading, size_t first,
             std::initializer_list<Attr> attrs) {
  std::vector<Arg> in(leading);
  for (size_t i = first; b.has(i); ++i) in.push_back(b.input(i));
  return call_one(op, in, {attrs.begin(), attrs.size()});
}

// Of indices that are equal the last one's value stays: True for those, in the indices' shape.
Tensor last_of_equals(const Backward& b, const Layout& l) {
  Tensor line = op<"full">({}, {Ints{}, int64_t(0), DType::i64}, b.grad().device());
  int64_t size = 1;
  for (size_t i = l.axes.size(); i-- > 0; size *= b.input_shape(0)[l.axes[i]])
    line = op<"ravel_index">({line, b.input(2 + i).cast(DType::i64), b.input_shape(0)[l.axes[i]], size});
  const Tensor own = reshape(iota(line.numel(), 0, 1, DType::i64, line.device()), line.shape());
  const Tensor table = op<"index_update">({zeros({size}, DType::i64, line.device()), own, line}, {Ints{0}});
  return op<"eq">({op<"index">({table, line}, {Ints{0}}), own});
}

}  // namespace

TG_OPS(index_arrays) {
  TG_OP(ravel_index)
      .internal()
      .family("index")
      .doc("acc + i * stride, with i counted from the end when negative; the least i64 once an i was outside its axis.")
      .input("acc", "i64: what earlier axes gave")
      .input("i", "i64: the index of this axis")
      .input("n", "the axis' size")
      .input("stride", "elements from one index to the next")
      .map(Promotion::common,
           [](MapBuilder& b, Values in, AttrSpan) {
             const DType t = in[0].dtype;
             const Value zero = b.immediate(0, t);
             const Value i = b.emit(TG_MAP_WHERE, b.emit(TG_MAP_LT, in[1], zero), b.emit(TG_MAP_ADD, in[1], in[2]), in[1]);
             const Value outside = b.emit(TG_MAP_OR, b.emit(TG_MAP_LT, i, zero), b.emit(TG_MAP_LE, in[2], i));
             return b.emit(TG_MAP_WHERE, b.emit(TG_MAP_OR, outside, b.emit(TG_MAP_LT, in[0], zero)),
                           b.immediate(INT64_MIN, t), b.emit(TG_MAP_ADD, in[0], b.emit(TG_MAP_MUL, i, in[3])));
           })
      .no_grad()
      .bounds(0, "exact");

  TG_OP(index)
      .family("index")
      .function_only()
      .doc(
          "x at index tensors of some of its axes, which broadcast to one another; their axes stand where the indexed "
          "axes were when those are neighbours, else in front (NumPy's rule). What x[i, :, j] does. "
          "Errors: IndexError for an index outside its axis.")
      .input("x", "any tensor of at least one axis")
      .variadic_input("indices", "integers")
      .attr("axes", AttrKind::ints, "the axis of every index")
      .optional_attr("at", AttrKind::integer, "how many of the other axes come before the indices' axes")
      .infer([](const Inference& c) {
        const Shape& x = c.input(0).shape;
        const Layout l = layout_of(c.name(), c.attr(0), c.attr(1), int64_t(x.size()), c.inputs.size() - 1);
        return one({c.input(0).dtype, laid_out(x, l, index_shape(c, 1))});
      })
      .decompose([](const Call& c) {
        const Ints shape = concrete(infer_now(c)[0].shape);
        Tensor x = c.input(0);
        const Tensors indices = tail(c.inputs, 1);
        const Layout l = layout_of("index", c.attr(0), c.attr(1), x.rank(), indices.size());
        const size_t n = shape.size() - l.rest.size();
        const Ints own(shape.data() + l.at, n);
        if (!one_run(x, l.axes)) x = x.contiguous();
        const Place p = place_of("index", x, indices, l, own);
        if (numel(shape) == 0) return Tensors{empty(shape, x.dtype(), c.device)};
        return Tensors{reshape(op<"floor_gather">({p.x, spread_index(p.line, p.x.shape(), p.axis)}, {p.axis}), shape)};
      })
      .grad([](const Backward& b) {
        Tensors out(1);
        const Tensor base = zeros(b.input_shape(0), b.input_dtype(0), b.grad().device());
        out[0] = again(op_named<"index_update">(), b, {base, b.grad()}, 1, {b.attr(0), b.attr(1), true});
        for (size_t i = 1; b.has(i); ++i) out.push_back(Tensor());
        return out;
      })
      .saves(~uint64_t(1), 0)
      .bounds(0, "exact")
      .example(
          ">>> x = tg.arange(6).reshape(2, 3)\n>>> tg.index(x, [tg.tensor([1, 0]), tg.tensor([2, 2])], axes=(0, "
          "1)).tolist()\n[5, 2]");

  TG_OP(index_update)
      .amp(Amp::promote)
      .family("index")
      .function_only()
      .doc(
          "A copy of x with x[indices] = values (or += with accumulate), indices as in index(). Of equal indices the last "
          "one's values stay; accumulate adds them all. Errors: IndexError for an index outside its axis.")
      .input("x", "any tensor of at least one axis")
      .input("values", "broadcasts to the shape that index() gives; cast to x's dtype")
      .variadic_input("indices", "integers")
      .attr("axes", AttrKind::ints, "the axis of every index")
      .optional_attr("at", AttrKind::integer, "how many of the other axes come before the indices' axes")
      .attr("accumulate", AttrKind::boolean, false, "add (bool: or) instead of setting")
      .infer([](const Inference& c) {
        const Shape& x = c.input(0).shape;
        const Layout l = layout_of(c.name(), c.attr(0), c.attr(1), int64_t(x.size()), c.inputs.size() - 2);
        const Shape place = laid_out(x, l, index_shape(c, 2));
        c.check(broadcast(c.name(), place, c.input(1).shape) == place, "expected values that broadcast to ", str(place),
                ", got shape ", str(c.input(1).shape));
        return one(c.input(0));
      })
      .decompose([](const Call& c) {
        infer_now(c);
        const Tensor y = target_of(c);
        Tensors indices;
        Shape own;
        for (const Tensor& i : tail(c.inputs, 2)) {
          indices.push_back(apart(i, y));
          own = broadcast("index_update", own, symbolic(i.shape()));
        }
        const Layout l = layout_of("index_update", c.attr(0), c.attr(1), y.rank(), indices.size());
        const Ints shape = laid_out(y.shape(), l, concrete(own));
        const Tensor x = one_run(y, l.axes) ? y : y.contiguous();
        const Place p = place_of("index_update", x, indices, l, concrete(own));
        if (numel(shape) == 0) return Tensors{y};
        Ints lined = p.x.shape();
        lined[p.axis] = p.line.numel();
        const Tensor u = reshape(expand(apart(c.input(1), y).cast(y.dtype()), shape), lined);
        const int64_t kind = c.attr(2).boolean() ? adding(y.dtype()) : int64_t(TG_SCATTER_SET);
        scatter_into(p.x, spread_index(p.line, lined, p.axis), u, p.axis, kind);
        if (!same(x, y)) copy_into(y, x);
        return Tensors{y};
      })
      .grad([](const Backward& b) {
        const bool accumulate = b.attr(2).boolean();
        Tensors out(2);
        if (b.need(0))
          out[0] = accumulate ? b.grad()
                              : again(op_named<"index_update">(), b,
                                      {b.grad(), zeros({}, b.input_dtype(0), b.grad().device())}, 2,
                                      {b.attr(0), b.attr(1), false});
        size_t n = 2;
        while (b.has(n)) ++n;
        if (b.need(1)) {
          Tensor g = again(op_named<"index">(), b, {b.grad()}, 2, {b.attr(0), b.attr(1)});
          if (!accumulate) {
            const Layout l =
                layout_of("index_update", b.attr(0), b.attr(1), int64_t(b.input_shape(0).size()), n - 2);
            const Tensor last = last_of_equals(b, l);
            Ints spread = last.shape();
            for (size_t i = size_t(l.at); i < l.rest.size(); ++i) spread.push_back(1);
            g = op<"where">({reshape(last, spread), g, 0.0});
          }
          out[1] = g;
        }
        out.resize(n);
        return out;
      })
      .saves(~uint64_t(3), 0)
      .bounds(1, "terms added, relative to the sum of magnitudes")
      .example(
          ">>> tg.index_update(tg.tensor([1, 2, 3]), tg.tensor([5, 6]), [tg.tensor([0, 0])], axes=0, "
          "accumulate=True).tolist()\n[12, 2, 3]");
}

}  // namespace tg
