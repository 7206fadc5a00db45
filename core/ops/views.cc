// SPDX-License-Identifier: Apache-2.0
// Ops that only make another view of their input: no copy, the result shares storage.
#include "common.h"

namespace tg {
namespace {

Tensor view(const Tensor& x, const Ints& shape, const Ints& strides, int64_t elements = 0) {
  return x.alias(shape, strides, x.impl()->desc.byte_offset + uint64_t(bytes_between(x.dtype(), elements)));
}

// ---- permute, transpose ----

Ints checked_order(const char* op, const Ints& order, int64_t rank) {
  check(int64_t(order.size()) == rank, "[", op, "] expected an order of ", rank, " axes, got ", str(order));
  Ints out;
  uint32_t seen = 0;
  for (int64_t a : order) {
    out.push_back(normalize_axis(op, a, rank));
    check(!(seen >> out.back() & 1), "[", op, "] expected distinct axes, got ", str(order));
    seen |= 1u << out.back();
  }
  return out;
}
template <class S>
S pick(const S& s, const Ints& order) {
  S out;
  for (int64_t a : order) out.push_back(s[size_t(a)]);
  return out;
}
Ints swapped(const char* op, const Attr& a, const Attr& b, int64_t rank) {
  Ints order;
  for (int64_t i = 0; i < rank; ++i) order.push_back(i);
  std::swap(order[normalize_axis(op, a.integer(), rank)], order[normalize_axis(op, b.integer(), rank)]);
  return order;
}
Tensors permuted(const Tensor& x, const Ints& order) {
  return {view(x, pick(x.shape(), order), pick(x.strides(), order))};
}

// ---- expand ----

template <class S>
S expanded_shape(const char* op, const S& from, const Ints& to) {
  const size_t lead = to.size() - from.size();
  check(to.size() >= from.size(), "[", op, "] expected a shape of at least ", from.size(), " axes to broadcast ",
        str(from), " to, got ", str(to));
  S out;
  for (size_t i = 0; i < to.size(); ++i) {
    if (i < lead) {
      check(to[i] >= 0, "[", op, "] expected a size for new axis ", i, ", got ", to[i]);
      out.push_back(to[i]);
      continue;
    }
    const auto have = from[i - lead];
    check(to[i] == -1 || have == decltype(have)(1) || have == decltype(have)(to[i]), "[", op,
          "] expected a shape that ", str(from), " broadcasts to, got ", str(to));
    out.push_back(to[i] == -1 || !(have == decltype(have)(1)) ? have : decltype(have)(to[i]));
  }
  return out;
}

// ---- squeeze, unsqueeze ----

Ints squeezed_axes(const char* op, const Attr& a, const Shape& shape) {
  Ints axes;
  if (a.ints().empty()) {
    for (size_t i = 0; i < shape.size(); ++i)
      if (shape[i] == Dim(1)) axes.push_back(int64_t(i));
    return axes;
  }
  axes = normalize_axes(op, a.ints(), int64_t(shape.size()));
  for (int64_t i : axes)
    check(shape[size_t(i)] == Dim(1), "[", op, "] expected size 1 on axis ", i, ", got shape ", str(shape));
  return axes;
}
Ints new_axes(const char* op, const Ints& axes, size_t rank) {
  check(!axes.empty(), "[", op, "] expected at least one axis, got none");
  return normalize_axes(op, axes, int64_t(rank + axes.size()));
}
template <class S>
S with_axes(const S& s, const Ints& axes, typename std::decay<decltype(s[0])>::type fill) {
  S out = s;
  for (int64_t a : axes) out.insert(size_t(a), fill);
  return out;
}

// Elements of x's memory, counted from x's first; ValueError outside of it.
Tensor strided(const Tensor& x, const Ints& shape, const Ints& strides, int64_t offset) {
  const uint64_t size = uint64_t(size_of(x.dtype()));
  for (int64_t s : strides) check(s >= 0, "[as_strided] expected strides of 0 or more, got ", str(strides));
  int64_t last = offset;
  for (size_t i = 0; i < shape.size(); ++i) last = checked_add(last, checked_mul(std::max<int64_t>(shape[i] - 1, 0), strides[i]));
  const uint64_t start = x.impl()->desc.byte_offset / size;
  check(shape.size() == strides.size() && int64_t(start) + offset >= 0 && (numel(shape) == 0 || (start + uint64_t(last) + 1) * size <= x.storage()->bytes()),
        "[as_strided] expected a view within the tensor's memory, got shape ", str(shape), ", strides ", str(strides), " and offset ", offset);
  return x.alias(shape, strides, (start + uint64_t(offset)) * size);
}
bool same_memory(const Tensor& a, const Tensor& b) {
  return a.storage() == b.storage() && a.impl()->desc.byte_offset == b.impl()->desc.byte_offset && a.strides() == b.strides();
}

}  // namespace

TG_OPS(views) {
  TG_OP(permute)
      .family("shape")
      .doc("x with its axes in another order. Errors: ValueError unless the order names every axis once.")
      .input("x", "any tensor")
      .attr("axes", AttrKind::ints, "for every axis of the result, which of x's it is")
      .infer([](const Inference& c) {
        const Shape& s = c.input(0).shape;
        return one({c.input(0).dtype, pick(s, checked_order(c.name(), c.attr(0).ints(), int64_t(s.size())))});
      })
      .view([](const Call& c) {
        return permuted(c.input(0), checked_order("permute", c.attr(0).ints(), c.input(0).rank()));
      })
      .grad([](const Backward& b) {
        const Ints order = checked_order("permute", b.attr(0).ints(), int64_t(b.input_shape(0).size()));
        Ints inverse(order.size(), 0);
        for (size_t i = 0; i < order.size(); ++i) inverse[size_t(order[i])] = int64_t(i);
        return Tensors{op<"permute">({b.grad()}, {inverse})};
      })
      .saves(0, 0)
      .batch([](const Batch& b) {
        Ints order{0};
        for (int64_t a : checked_order("permute", b.attr(0).ints(), b.rank(0))) order.push_back(a + 1);
        return Tensors{op<"permute">({b.whole(0)}, {order})};
      })
      .bounds(0, "exact")
      .example(">>> tg.permute(tg.full((2, 3, 4), 0.0), (2, 0, 1)).shape\n(4, 2, 3)");

  TG_OP(transpose)
      .family("shape")
      .doc("x with two axes swapped.")
      .input("x", "any tensor")
      .attr("axis0", AttrKind::integer, -2, "one axis")
      .attr("axis1", AttrKind::integer, -1, "the other")
      .infer([](const Inference& c) {
        const Shape& s = c.input(0).shape;
        return one({c.input(0).dtype, pick(s, swapped(c.name(), c.attr(0), c.attr(1), int64_t(s.size())))});
      })
      .view([](const Call& c) {
        return permuted(c.input(0), swapped("transpose", c.attr(0), c.attr(1), c.input(0).rank()));
      })
      .grad([](const Backward& b) {
        return Tensors{op<"transpose">({b.grad()}, {b.attr(0), b.attr(1)})};
      })
      .saves(0, 0)
      .batch_axes({"axis0", "axis1"})
      .bounds(0, "exact")
      .example(">>> tg.transpose(tg.tensor([[1, 2], [3, 4]]), 0, 1).tolist()\n[[1, 3], [2, 4]]");

  TG_OP(expand)
      .family("shape")
      .doc(
          "x repeated along axes of size 1 and new leading ones, without a copy. -1 keeps a size. "
          "Errors: ValueError where x's shape does not broadcast.")
      .input("x", "any tensor")
      .attr("shape", AttrKind::ints, "sizes of the result")
      .infer([](const Inference& c) {
        return one({c.input(0).dtype, expanded_shape(c.name(), c.input(0).shape, c.attr(0).ints())});
      })
      .view([](const Call& c) {
        const Tensor& x = c.input(0);
        const Ints shape = expanded_shape("expand", x.shape(), c.attr(0).ints());
        Ints strides(shape.size(), 0);
        const size_t lead = shape.size() - x.shape().size();
        for (size_t i = 0; i < x.shape().size(); ++i)
          if (x.shape()[i] == shape[lead + i]) strides[lead + i] = x.strides()[i];
        return Tensors{view(x, shape, strides)};
      })
      .grad([](const Backward& b) {
        Ints axes;  // where x was repeated
        const size_t lead = b.grad().shape().size() - b.input_shape(0).size();
        for (size_t i = 0; i < b.grad().shape().size(); ++i)
          if (i < lead || (b.input_shape(0)[i - lead] == 1 && b.grad().shape()[i] != 1)) axes.push_back(int64_t(i));
        return Tensors{reshape(sum(b.grad(), axes, true), b.input_shape(0))};
      })
      .saves(0, 0)
      .batch([](const Batch& b) {
        Ints shape = expanded_shape("expand", b.shape(0), b.attr(0).ints()), line = b.shape(0);
        while (line.size() < shape.size()) line.insert(0, 1);
        line.insert(0, b.size), shape.insert(0, b.size);
        return Tensors{op<"expand">({reshape(b.whole(0), line)}, {shape})};
      })
      .bounds(0, "exact")
      .example(">>> tg.expand(tg.tensor([[1], [2]]), (2, 3)).tolist()\n[[1, 1, 1], [2, 2, 2]]");

  TG_OP(as_strided)
      .internal()
      .family("shape")
      .doc("Any view of x's memory, from x's first element on. For static graphs.")
      .input("x", "any tensor")
      .attr("shape", AttrKind::ints, "sizes")
      .attr("strides", AttrKind::ints, "in elements")
      .attr("offset", AttrKind::integer, 0, "in elements")
      .infer([](const Inference& c) { return one({c.input(0).dtype, symbolic(c.attr(0).ints())}); })
      .view([](const Call& c) { return Tensors{strided(c.input(0), c.attr(0).ints(), c.attr(1).ints(), c.attr(2).integer())}; })
      .no_grad()
      .bounds(0, "exact");

  TG_OP(as_strided_update)
      .internal()
      .family("shape")
      .doc("x with the elements of a view of it replaced. For static graphs.")
      .input("x", "any tensor")
      .input("value", "of the view's shape, and x's dtype")
      .attr("shape", AttrKind::ints, "the view's sizes")
      .attr("strides", AttrKind::ints, "in elements")
      .attr("offset", AttrKind::integer, 0, "in elements")
      .infer([](const Inference& c) { return one(c.input(0)); })
      .decompose([](const Call& c) {
        const bool in_place = !c.outs.empty() && c.outs[0].defined();
        const Tensor y = in_place ? c.outs[0] : op<"copy">({c.input(0)});
        if (in_place && !same_memory(y, c.input(0))) copy_into(y, c.input(0));
        copy_into(strided(y, c.attr(0).ints(), c.attr(1).ints(), c.attr(2).integer()), c.input(1));
        return Tensors{y};
      })
      .no_grad()
      .bounds(0, "exact");

  TG_OP(squeeze)
      .family("shape")
      .doc("x without axes of size 1. Errors: ValueError where a given axis has another size.")
      .input("x", "any tensor")
      .attr("axis", AttrKind::ints, Ints{}, "which axes; all of size 1 by default")
      .infer([](const Inference& c) {
        return one({c.input(0).dtype,
                    reduced_shape(c.input(0).shape, squeezed_axes(c.name(), c.attr(0), c.input(0).shape), false)});
      })
      .view([](const Call& c) {
        const Tensor& x = c.input(0);
        const Ints axes = squeezed_axes("squeeze", c.attr(0), symbolic(x.shape()));
        return Tensors{view(x, reduced_shape(x.shape(), axes, false), reduced_shape(x.strides(), axes, false))};
      })
      .grad([](const Backward& b) { return Tensors{reshape(b.grad(), b.input_shape(0))}; })
      .saves(0, 0)
      .batch([](const Batch& b) {
        Ints axes = squeezed_axes("squeeze", b.attr(0), symbolic(b.shape(0)));
        for (int64_t& a : axes) ++a;
        return Tensors{axes.empty() ? op<"expand">({b.whole(0)}, {b.whole(0).shape()}) : op<"squeeze">({b.whole(0)}, {axes})};
      })
      .bounds(0, "exact")
      .example(">>> tg.squeeze(tg.full((1, 3, 1), 0.0)).shape\n(3,)");

  TG_OP(unsqueeze)
      .family("shape")
      .doc("x with new axes of size 1 at the given places of the result.")
      .input("x", "any tensor")
      .attr("axis", AttrKind::ints, "places in the result")
      .infer([](const Inference& c) {
        return one(
            {c.input(0).dtype,
             with_axes(c.input(0).shape, new_axes(c.name(), c.attr(0).ints(), c.input(0).shape.size()), Dim(1))});
      })
      .view([](const Call& c) {
        const Tensor& x = c.input(0);
        const Ints axes = new_axes("unsqueeze", c.attr(0).ints(), size_t(x.rank()));
        return Tensors{view(x, with_axes(x.shape(), axes, 1), with_axes(x.strides(), axes, 1))};
      })
      .grad([](const Backward& b) { return Tensors{reshape(b.grad(), b.input_shape(0))}; })
      .saves(0, 0)
      .batch([](const Batch& b) {
        Ints axes = new_axes("unsqueeze", b.attr(0).ints(), size_t(b.rank(0)));
        for (int64_t& a : axes) ++a;
        return Tensors{op<"unsqueeze">({b.whole(0)}, {axes})};
      })
      .bounds(0, "exact")
      .example(">>> tg.unsqueeze(tg.tensor([1, 2]), 0).shape\n(1, 2)");
}

}  // namespace tg
