// SPDX-License-Identifier: Apache-2.0
// Views of a part: slices along an axis, one index of an axis, diagonals; and what their gradients write into.
#include "common.h"

namespace tg {
namespace {

struct Range {
  int64_t start, size;
};

// As Python slices with a positive step.
Range resolve(int64_t n, int64_t start, int64_t stop, int64_t step) {
  const auto place = [n](int64_t i) { return std::clamp<int64_t>(i < 0 ? i + n : i, 0, n); };
  const int64_t a = place(start), z = place(stop);
  return {a, z > a ? (z - a - 1) / step + 1 : 0};
}

Dim sliced(const Inference& c, Dim n) {
  const int64_t start = c.attr(1).integer(), stop = c.attr(2).integer(), step = c.attr(3).integer();
  if (n.is_constant()) return resolve(n.value(), start, stop, step).size;
  if (start >= 0 && stop == INT64_MAX) return floor_div(n - Dim(start) + Dim(step - 1), step);
  return Dim::symbol("len(range(" + n.str() + ")[" + std::to_string(start) + ":" + std::to_string(stop) + ":" +
                     std::to_string(step) + "])");
}

int64_t checked_index(const char* op, int64_t i, int64_t n, int64_t axis) {
  if (i < -n || i >= n)
    raise(ErrorKind::index, "[", op, "] expected an index in [", -n, ", ", n, ") on axis ", axis, ", got ", i);
  return i < 0 ? i + n : i;
}

Tensor part(const Tensor& x, int64_t axis, Range r, int64_t step) {
  Ints shape = x.shape(), strides = x.strides();
  const uint64_t offset = uint64_t(bytes_between(x.dtype(), r.size ? r.start * strides[axis] : 0));
  shape[axis] = r.size;
  if (r.size > 1) strides[axis] *= step;
  return x.alias(shape, strides, x.impl()->desc.byte_offset + offset);
}

struct Diagonal {
  int64_t offset, a, b;
};
Diagonal diagonal_of(const char* op, AttrSpan attrs, size_t at, int64_t rank) {
  const Diagonal d{attrs[at].integer(), normalize_axis(op, attrs[at + 1].integer(), rank),
                   normalize_axis(op, attrs[at + 2].integer(), rank)};
  check(d.a != d.b, "[", op, "] expected two different axes, got ", d.a, " twice");
  return d;
}
int64_t diagonal_length(Diagonal d, int64_t m, int64_t n) {
  return std::max<int64_t>(0, d.offset >= 0 ? std::min(m, n - d.offset) : std::min(m + d.offset, n));
}
Ints without(Ints s, Diagonal d) {
  s.erase(size_t(std::max(d.a, d.b)));
  s.erase(size_t(std::min(d.a, d.b)));
  return s;
}
Tensor diagonal_view(const Tensor& x, Diagonal d) {
  Ints shape = without(x.shape(), d), strides = without(x.strides(), d);
  const int64_t n = diagonal_length(d, x.size(d.a), x.size(d.b));
  const int64_t start = n == 0 ? 0 : d.offset >= 0 ? d.offset * x.strides()[d.b] : -d.offset * x.strides()[d.a];
  shape.push_back(n);
  strides.push_back(x.strides()[d.a] + x.strides()[d.b]);
  return x.alias(shape, strides, x.impl()->desc.byte_offset + uint64_t(bytes_between(x.dtype(), start)));
}
Specs infer_diagonal(const Inference& c) {
  const Shape& s = c.input(0).shape;
  c.check(s.size() >= 2, "expected at least 2 axes, got shape ", str(s));
  const Diagonal d = diagonal_of(c.name(), c.attrs, 0, int64_t(s.size()));
  Shape out;
  for (size_t i = 0; i < s.size(); ++i)
    if (int64_t(i) != d.a && int64_t(i) != d.b) out.push_back(s[i]);
  out.push_back(diagonal_length(d, s[size_t(d.a)].value(), s[size_t(d.b)].value()));
  return one({c.input(0).dtype, out});
}

}  // namespace

TG_OPS(slicing) {
  TG_OP(slice)
      .family("shape")
      .doc(
          "x[start:stop:step] along one axis: a view. Bounds are clipped as in Python. Errors: ValueError for a step "
          "below 1.")
      .input("x", "any tensor")
      .attr("axis", AttrKind::integer, "the axis")
      .attr("start", AttrKind::integer, 0, "first index; negative: from the end")
      .attr("stop", AttrKind::integer, INT64_MAX, "end, not included")
      .attr("step", AttrKind::integer, 1, "at least 1")
      .infer([](const Inference& c) {
        TensorSpec y = c.input(0);
        c.check(c.attr(3).integer() >= 1, "expected a step of at least 1, got ", c.attr(3).integer(),
                "; use flip to reverse");
        Dim& n = y.shape[size_t(normalize_axis(c.name(), c.attr(0).integer(), int64_t(y.shape.size())))];
        n = sliced(c, n);
        return one(y);
      })
      .view([](const Call& c) {
        const Tensor& x = c.input(0);
        const int64_t axis = normalize_axis("slice", c.attr(0).integer(), x.rank()), step = c.attr(3).integer();
        check(step >= 1, "[slice] expected a step of at least 1, got ", step, "; use flip to reverse");
        return Tensors{part(x, axis, resolve(x.size(axis), c.attr(1).integer(), c.attr(2).integer(), step), step)};
      })
      .grad([](const Backward& b) {
        return Tensors{
            op<"slice_backward">({b.grad()}, {b.input_shape(0), b.attr(0), b.attr(1), b.attr(2), b.attr(3)})};
      })
      .saves(0, 0)
      .batch_axes({"axis"})
      .bounds(0, "exact")
      .example(">>> tg.slice(tg.tensor([0, 1, 2, 3, 4]), 0, 1, 4, 2).tolist()\n[1, 3]");

  TG_OP(slice_backward)
      .internal()
      .family("shape")
      .doc("Zeros of a shape, with dy in a slice of it.")
      .input("dy", "the slice's shape")
      .attr("shape", AttrKind::ints, "of the whole")
      .attr("axis", AttrKind::integer, "the axis")
      .attr("start", AttrKind::integer, "as slice")
      .attr("stop", AttrKind::integer, "as slice")
      .attr("step", AttrKind::integer, "as slice")
      .infer([](const Inference& c) {
        return one({c.input(0).dtype, symbolic(c.attr(0).ints())});
      })
      .decompose([](const Call& c) {
        const Tensor y = zeros(c.attr(0).ints(), c.input(0).dtype(), c.device);
        copy_into(op<"slice">({y}, {c.attr(1), c.attr(2), c.attr(3), c.attr(4)}), c.input(0));
        return Tensors{y};
      })
      .grad([](const Backward& b) {
        return Tensors{op<"slice">({b.grad()}, {b.attr(1), b.attr(2), b.attr(3), b.attr(4)})};
      })
      .saves(0, 0)
      .linear({{0}})
      .bounds(0, "exact");

  TG_OP(select)
      .family("shape")
      .doc("x at one index of an axis, which goes: a view. Errors: IndexError outside the axis.")
      .input("x", "any tensor")
      .attr("axis", AttrKind::integer, "the axis")
      .attr("index", AttrKind::integer, "negative: from the end")
      .infer([](const Inference& c) {
        TensorSpec y = c.input(0);
        const int64_t axis = normalize_axis(c.name(), c.attr(0).integer(), int64_t(y.shape.size()));
        if (y.shape[size_t(axis)].is_constant())
          checked_index(c.name(), c.attr(1).integer(), y.shape[size_t(axis)].value(), axis);
        y.shape.erase(size_t(axis));
        return one(y);
      })
      .view([](const Call& c) {
        const Tensor& x = c.input(0);
        const int64_t axis = normalize_axis("select", c.attr(0).integer(), x.rank());
        const int64_t i = checked_index("select", c.attr(1).integer(), x.size(axis), axis);
        const Tensor y = part(x, axis, {i, 1}, 1);
        Ints shape = y.shape(), strides = y.strides();
        shape.erase(size_t(axis));
        strides.erase(size_t(axis));
        return Tensors{x.alias(shape, strides, y.impl()->desc.byte_offset)};
      })
      .grad([](const Backward& b) {
        const int64_t rank = int64_t(b.input_shape(0).size()),
                      axis = normalize_axis("select", b.attr(0).integer(), rank);
        const int64_t n = b.input_shape(0)[axis], i = b.attr(1).integer(), at = i < 0 ? i + n : i;
        return Tensors{
            op<"slice_backward">({op<"unsqueeze">({b.grad()}, {Ints{axis}})}, {b.input_shape(0), axis, at, at + 1, 1})};
      })
      .saves(0, 0)
      .batch_axes({"axis"})
      .bounds(0, "exact")
      .example(">>> tg.select(tg.tensor([[1, 2], [3, 4]]), 0, -1).tolist()\n[3, 4]");

  TG_OP(diagonal)
      .family("shape")
      .doc("The diagonal of two axes, as a new last axis: a view.")
      .input("x", "at least 2 axes")
      .attr("offset", AttrKind::integer, 0, "0 main, above it positive")
      .attr("axis1", AttrKind::integer, 0, "rows")
      .attr("axis2", AttrKind::integer, 1, "columns")
      .infer(infer_diagonal)
      .view([](const Call& c) {
        check(c.input(0).rank() >= 2, "[diagonal] expected at least 2 axes, got shape ", str(c.input(0).shape()));
        return Tensors{diagonal_view(c.input(0), diagonal_of("diagonal", c.attrs, 0, c.input(0).rank()))};
      })
      .grad([](const Backward& b) {
        return Tensors{op<"diagonal_backward">({b.grad()}, {b.input_shape(0), b.attr(0), b.attr(1), b.attr(2)})};
      })
      .saves(0, 0)
      .batch([](const Batch& b) {
        const Diagonal d = diagonal_of("diagonal", b.attrs, 0, b.rank(0));
        return Tensors{op<"diagonal">({b.whole(0)}, {d.offset, d.a + 1, d.b + 1})};
      })
      .bounds(0, "exact")
      .example(">>> tg.diagonal(tg.tensor([[1, 2], [3, 4]])).tolist()\n[1, 4]");

  TG_OP(diagonal_backward)
      .internal()
      .family("shape")
      .doc("Zeros of a shape, with dy on a diagonal.")
      .input("dy", "the diagonal's shape")
      .attr("shape", AttrKind::ints, "of the whole")
      .attr("offset", AttrKind::integer, "as diagonal")
      .attr("axis1", AttrKind::integer, "as diagonal")
      .attr("axis2", AttrKind::integer, "as diagonal")
      .infer([](const Inference& c) {
        return one({c.input(0).dtype, symbolic(c.attr(0).ints())});
      })
      .decompose([](const Call& c) {
        const Tensor y = zeros(c.attr(0).ints(), c.input(0).dtype(), c.device);
        copy_into(op<"diagonal">({y}, {c.attr(1), c.attr(2), c.attr(3)}), c.input(0));
        return Tensors{y};
      })
      .grad([](const Backward& b) {
        return Tensors{op<"diagonal">({b.grad()}, {b.attr(1), b.attr(2), b.attr(3)})};
      })
      .saves(0, 0)
      .linear({{0}})
      .bounds(0, "exact");
}

}  // namespace tg
