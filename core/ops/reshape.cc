// SPDX-License-Identifier: Apache-2.0
// Shapes of the same elements: reshape and what follows from it.
#include "common.h"

namespace tg {
namespace {

// The result's sizes, with -1 worked out.
Shape target_shape(const Inference& c, const Shape& from, const Ints& to) {
  Dim have = 1, known = 1;
  for (Dim d : from) have = have * d;
  int64_t open = -1;
  for (size_t i = 0; i < to.size(); ++i) {
    c.check(to[i] >= -1, "expected sizes of 0 or more, or one -1, got ", str(to));
    c.check(to[i] != -1 || open < 0, "expected at most one -1, got ", str(to));
    if (to[i] == -1)
      open = int64_t(i);
    else
      known = known * Dim(to[i]);
  }
  Shape out = symbolic(to);
  if (open >= 0) {
    c.check(known.value() > 0 && (!have.is_constant() || have.value() % known.value() == 0),
            "expected a shape for the ", have, " elements of ", str(from), ", got ", str(to));
    out[size_t(open)] = floor_div(have, known.value());
  } else {
    c.check(!have.is_constant() || have == known, "expected a shape for the ", have, " elements of ", str(from),
            ", got ", str(to));
  }
  return out;
}

// Strides of x's elements under another shape, if there are any: walks groups of axes of equal size on both sides.
bool view_strides(const Tensor& x, const Ints& to, Ints* strides) {
  Ints shape, old;
  for (int64_t i = 0; i < x.rank(); ++i)
    if (x.shape()[i] != 1) shape.push_back(x.shape()[i]), old.push_back(x.strides()[i]);
  *strides = Ints(to.size(), 1);
  size_t i = 0, j = 0;
  while (i < shape.size()) {
    size_t ie = i + 1, je = j;
    int64_t left = shape[i], right = 1;
    while (je < to.size() && right < left) right *= to[je++];
    while (left != right) {
      if (left < right) {
        if (ie == shape.size()) return false;
        left *= shape[ie++];
      } else {
        if (je == to.size()) return false;
        right *= to[je++];
      }
    }
    for (size_t k = i; k + 1 < ie; ++k)  // the group must be one run
      if (old[k] != old[k + 1] * shape[k + 1]) return false;
    int64_t step = old[ie - 1];
    for (size_t k = je; k-- > j;) {
      (*strides)[k] = step;
      step *= to[k];
    }
    i = ie;
    j = je;
  }
  return true;
}

Ints flattened(const char* op, const Ints& shape, int64_t start, int64_t end) {
  const int64_t rank = int64_t(shape.size());
  if (rank == 0) return {1};
  const int64_t a = normalize_axis(op, start, rank), z = normalize_axis(op, end, rank);
  check(a <= z, "[", op, "] expected start_axis <= end_axis, got ", start, " and ", end);
  Ints out;
  int64_t n = 1;
  for (int64_t i = 0; i < rank; ++i) {
    if (i >= a && i <= z) n = checked_mul(n, shape[i]);
    if (i < a || i > z)
      out.push_back(shape[i]);
    else if (i == z)
      out.push_back(n);
  }
  return out;
}

Ints moved(const char* op, const Ints& from, const Ints& to, int64_t rank) {
  check(from.size() == to.size(), "[", op, "] expected as many destinations as sources, got ", str(to), " for ",
        str(from));
  Ints order(size_t(rank), -1);
  uint32_t used = 0;
  for (size_t i = 0; i < from.size(); ++i) {
    int64_t& at = order[size_t(normalize_axis(op, to[i], rank))];
    const int64_t axis = normalize_axis(op, from[i], rank);
    check(at < 0 && !(used >> axis & 1), "[", op, "] expected distinct axes, got ", str(from), " to ", str(to));
    at = axis;
    used |= 1u << axis;
  }
  int64_t next = 0;
  for (int64_t& a : order) {
    if (a >= 0) continue;
    while (used >> next & 1) ++next;
    a = next++;
  }
  return order;
}

}  // namespace

TG_OPS(reshape) {
  TG_OP(reshape)
      .family("shape")
      .doc(
          "The same elements, in row-major order, in another shape: a view where x's strides allow, else a copy. "
          "One size may be -1. Errors: ValueError for another number of elements.")
      .input("x", "any tensor")
      .attr("shape", AttrKind::ints, "sizes of the result")
      .infer([](const Inference& c) {
        return one({c.input(0).dtype, target_shape(c, c.input(0).shape, c.attr(0).ints())});
      })
      .view([](const Call& c) {
        const Tensor& x = c.input(0);
        Ints to = c.attr(0).ints();
        bool plain = true;
        for (int64_t d : to) plain = plain && d >= 0;
        if (!plain || numel(to) != x.numel()) to = concrete(infer_now(c)[0].shape);
        if (x.numel() == 0 || x.is_contiguous())
          return Tensors{x.alias(to, contiguous_strides(to), x.impl()->desc.byte_offset)};
        Ints strides;
        if (view_strides(x, to, &strides)) return Tensors{x.alias(to, strides, x.impl()->desc.byte_offset)};
        return Tensors{op<"copy">({x}).alias(to, contiguous_strides(to), 0)};
      })
      .grad([](const Backward& b) { return Tensors{reshape(b.grad(), b.input_shape(0))}; })
      .saves(0, 0)
      .batch([](const Batch& b) {
        const TensorSpec x{b.input(0).dtype(), symbolic(b.shape(0))};
        const TensorSpec* const specs[] = {&x};
        Ints shape = concrete(target_shape(Inference{b.op, specs, b.attrs}, x.shape, b.attr(0).ints()));
        shape.insert(0, b.size);
        return Tensors{op<"reshape">({b.whole(0)}, {shape})};
      })
      .bounds(0, "exact")
      .example(">>> tg.reshape(tg.tensor([1, 2, 3, 4]), (2, -1)).tolist()\n[[1, 2], [3, 4]]");

  TG_OP(flatten)
      .family("shape")
      .doc("Axes start_axis to end_axis as one.")
      .input("x", "any tensor")
      .attr("start_axis", AttrKind::integer, 0, "first axis")
      .attr("end_axis", AttrKind::integer, -1, "last axis, included")
      .infer([](const Inference& c) {
        const Shape& s = c.input(0).shape;
        const int64_t rank = int64_t(s.size());
        if (rank == 0) return one({c.input(0).dtype, Shape{1}});
        const int64_t a = normalize_axis(c.name(), c.attr(0).integer(), rank),
                      z = normalize_axis(c.name(), c.attr(1).integer(), rank);
        c.check(a <= z, "expected start_axis <= end_axis, got ", a, " and ", z);
        Shape out;
        Dim n = 1;
        for (int64_t i = 0; i < rank; ++i) {
          if (i >= a && i <= z) n = n * s[size_t(i)];
          if (i < a || i > z)
            out.push_back(s[size_t(i)]);
          else if (i == z)
            out.push_back(n);
        }
        return one({c.input(0).dtype, out});
      })
      .decompose([](const Call& c) {
        return Tensors{op<"reshape">(
            {c.input(0)}, {flattened("flatten", c.input(0).shape(), c.attr(0).integer(), c.attr(1).integer())})};
      })
      .bounds(0, "exact")
      .example(">>> tg.flatten(tg.full((2, 3, 4), 0.0), 1).shape\n(2, 12)");

  TG_OP(unflatten)
      .family("shape")
      .doc("One axis as several; one size may be -1.")
      .input("x", "any tensor")
      .attr("axis", AttrKind::integer, "the axis")
      .attr("sizes", AttrKind::ints, "what it becomes")
      .infer([](const Inference& c) {
        const Shape& s = c.input(0).shape;
        const size_t axis = size_t(normalize_axis(c.name(), c.attr(0).integer(), int64_t(s.size())));
        const Shape inner = target_shape(c, Shape{s[axis]}, c.attr(1).ints());
        Shape out;
        for (size_t i = 0; i < s.size(); ++i) {
          if (i != axis)
            out.push_back(s[i]);
          else
            for (Dim d : inner) out.push_back(d);
        }
        return one({c.input(0).dtype, out});
      })
      .decompose([](const Call& c) { return Tensors{op<"reshape">({c.input(0)}, {concrete(infer_now(c)[0].shape)})}; })
      .bounds(0, "exact")
      .example(">>> tg.unflatten(tg.full((2, 12), 0.0), 1, (3, -1)).shape\n(2, 3, 4)");

  TG_OP(movedim)
      .family("shape")
      .doc("Moves axes to other places; the others keep their order.")
      .input("x", "any tensor")
      .attr("source", AttrKind::ints, "which axes")
      .attr("destination", AttrKind::ints, "where to, in the result")
      .infer([](const Inference& c) {
        TensorSpec y = c.input(0);
        const Ints order = moved(c.name(), c.attr(0).ints(), c.attr(1).ints(), int64_t(y.shape.size()));
        for (size_t i = 0; i < order.size(); ++i) y.shape[i] = c.input(0).shape[size_t(order[i])];
        return one(y);
      })
      .decompose([](const Call& c) {
        return Tensors{
            op<"permute">({c.input(0)}, {moved("movedim", c.attr(0).ints(), c.attr(1).ints(), c.input(0).rank())})};
      })
      .bounds(0, "exact")
      .example(">>> tg.movedim(tg.full((2, 3, 4), 0.0), 0, -1).shape\n(3, 4, 2)");
}

}  // namespace tg
