// SPDX-License-Identifier: Apache-2.0
// Parts of a tensor along several axes at once: what x[1:, ::2] = v changes, windows that overlap, strides by hand, and
// diagonals put into a tensor.
#include "index.h"

namespace tg {
namespace {

struct Part {
  Ints starts, steps, sizes;
};

Tensor part_of(const Tensor& x, const Part& p) {
  Ints strides = x.strides();
  int64_t offset = 0;
  for (size_t i = 0; i < strides.size(); ++i) {
    if (p.sizes[i]) offset += p.starts[i] * strides[i];
    strides[i] *= p.steps[i];
  }
  return x.alias(p.sizes, strides, x.impl()->desc.byte_offset + uint64_t(bytes_between(x.dtype(), offset)));
}

Shape check_part(const Inference& c, const Shape& x, const Ints& starts, const Ints& steps, const Shape& sizes) {
  c.check(starts.size() == x.size() && steps.size() == x.size() && sizes.size() == x.size(),
          "expected a start, a step and a size for every axis of ", str(x), ", got ", str(starts), ", ", str(steps), ", ",
          str(sizes));
  for (size_t i = 0; i < x.size(); ++i) {
    if (!x[i].is_constant() || !sizes[i].is_constant() || sizes[i].value() == 0) continue;
    c.check(starts[i] >= 0 && steps[i] >= 1 && starts[i] + (sizes[i].value() - 1) * steps[i] < x[i].value(),
            "expected a part inside axis ", i, " of size ", x[i], ", got start ", starts[i], ", step ", steps[i], ", size ",
            sizes[i]);
  }
  return sizes;
}

int64_t windows(int64_t n, int64_t size, int64_t step) { return (n - size) / step + 1; }

// Elements from the first to the last that strides reach, both included.
int64_t extent(const Ints& shape, const Ints& strides) {
  int64_t last = 0;
  for (size_t i = 0; i < shape.size(); ++i) {
    if (shape[i] == 0) return 0;
    last += (shape[i] - 1) * strides[i];
  }
  return last + 1;
}

}  // namespace

TG_OPS(parts) {
  TG_OP(strided_slice)
      .internal()
      .family("shape")
      .doc("x from a start by a step, so many times, along every axis: a view.")
      .input("x", "any tensor")
      .attr("starts", AttrKind::ints, "for every axis")
      .attr("steps", AttrKind::ints, "for every axis, at least 1")
      .attr("sizes", AttrKind::ints, "for every axis")
      .infer([](const Inference& c) {
        return one({c.input(0).dtype, check_part(c, c.input(0).shape, c.attr(0).ints(), c.attr(1).ints(),
                                                 symbolic(c.attr(2).ints()))});
      })
      .view([](const Call& c) {
        infer_now(c);
        return Tensors{part_of(c.input(0), {c.attr(0).ints(), c.attr(1).ints(), c.attr(2).ints()})};
      })
      .grad([](const Backward& b) {
        const Tensor base = zeros(b.input_shape(0), b.input_dtype(0), b.grad().device());
        return Tensors{op<"slice_update">({base, b.grad()}, {b.attr(0), b.attr(1)})};
      })
      .saves(0, 0)
      .bounds(0, "exact");

  TG_OP(slice_update)
      .internal()
      .family("shape")
      .doc("A copy of x with values in its part from a start by a step along every axis.")
      .input("x", "any tensor")
      .input("values", "x's rank and dtype; the part's sizes")
      .attr("starts", AttrKind::ints, "for every axis")
      .attr("steps", AttrKind::ints, "for every axis, at least 1")
      .infer([](const Inference& c) {
        check_part(c, c.input(0).shape, c.attr(0).ints(), c.attr(1).ints(), c.input(1).shape);
        check_type(c.input(1).dtype == c.input(0).dtype, c.name(), "values of x's dtype", c.input(1).dtype);
        return one(c.input(0));
      })
      .decompose([](const Call& c) {
        infer_now(c);
        const Tensor y = target_of(c);
        if (c.input(1).numel())
          copy_into(part_of(y, {c.attr(0).ints(), c.attr(1).ints(), c.input(1).shape()}), apart(c.input(1), y));
        return Tensors{y};
      })
      .grad([](const Backward& b) {
        const Ints& sizes = b.input_shape(1);
        return Tensors{when(b.need(0),
                            [&] {
                              const Tensor zero = zeros(sizes, b.input_dtype(0), b.grad().device());
                              return op<"slice_update">({b.grad(), zero}, {b.attr(0), b.attr(1)});
                            }),
                       when(b.need(1), [&] { return op<"strided_slice">({b.grad()}, {b.attr(0), b.attr(1), sizes}); })};
      })
      .saves(0, 0)
      .linear({{0, 1}})
      .batch([](const Batch& b) {  // x may be zeros that no index of vmap owns
        Ints starts = b.attr(0).ints(), steps = b.attr(1).ints();
        starts.insert(0, 0), steps.insert(0, 1);
        return Tensors{op<"slice_update">({b.whole(0), b.whole(1)}, {starts, steps})};
      })
      .bounds(0, "exact");

  TG_OP(sliding_window)
      .family("shape")
      .doc(
          "Windows of `size` elements of an axis, `step` apart: their number stands on the axis, their elements on a new last "
          "one. A view. What PyTorch calls x.unfold. Errors: ValueError for a window larger than the axis.")
      .input("x", "at least one axis")
      .attr("axis", AttrKind::integer, "the axis")
      .attr("size", AttrKind::integer, "of a window")
      .attr("step", AttrKind::integer, 1, "from one window to the next")
      .infer([](const Inference& c) {
        TensorSpec y = c.input(0);
        Dim& n = y.shape[size_t(normalize_axis(c.name(), c.attr(0).integer(), int64_t(y.shape.size())))];
        const int64_t size = c.attr(1).integer(), step = c.attr(2).integer();
        c.check(size >= 1 && step >= 1, "expected a size and a step of at least 1, got ", size, " and ", step);
        c.check(!n.is_constant() || n.value() >= size, "expected a window no larger than the axis of size ", n, ", got ",
                size);
        n = floor_div(n - Dim(size), step) + Dim(1);
        y.shape.push_back(size);
        return one(y);
      })
      .view([](const Call& c) {
        infer_now(c);
        const Tensor& x = c.input(0);
        const int64_t axis = normalize_axis("sliding_window", c.attr(0).integer(), x.rank());
        const int64_t size = c.attr(1).integer(), step = c.attr(2).integer();
        Ints shape = x.shape(), strides = x.strides();
        shape.push_back(size), strides.push_back(strides[axis]);
        shape[axis] = windows(shape[axis], size, step);
        strides[axis] *= step;
        return Tensors{x.alias(shape, strides, x.impl()->desc.byte_offset)};
      })
      .batch_axes({"axis"})
      .grad([](const Backward& b) {
        const Ints& shape = b.input_shape(0);
        const int64_t axis = normalize_axis("sliding_window", b.attr(0).integer(), int64_t(shape.size()));
        const int64_t size = b.attr(1).integer(), step = b.attr(2).integer(), n = windows(shape[axis], size, step);
        Device* device = b.grad().device();
        const Tensor at = op<"add">({reshape(iota(n, 0, double(step), DType::i64, device), {n, 1}),
                                     iota(size, 0, 1, DType::i64, device)});
        const Tensor g = op<"movedim">({b.grad()}, {Ints{-1}, Ints{axis + 1}});
        return Tensors{op<"index_update">({zeros(shape, g.dtype(), device), g, at}, {Ints{axis}, axis, true})};
      })
      .saves(0, 0)
      .bounds(0, "exact")
      .example(">>> tg.sliding_window(tg.arange(4), 0, 3).tolist()\n[[0, 1, 2], [1, 2, 3]]");

  TG_OP(strided_view)
      .internal()
      .family("shape")
      .doc("A view of x's memory by strides and an offset in elements, inside what x itself reaches. x must be contiguous "
           "for its gradient.")
      .input("x", "any tensor")
      .attr("shape", AttrKind::ints, "sizes")
      .attr("strides", AttrKind::ints, "in elements, 0 or more")
      .attr("offset", AttrKind::integer, 0, "from x's first element")
      .infer([](const Inference& c) {
        const Ints &shape = c.attr(0).ints(), &strides = c.attr(1).ints();
        c.check(shape.size() == strides.size(), "expected a stride for every size, got ", str(shape), " and ", str(strides));
        for (size_t i = 0; i < shape.size(); ++i)
          c.check(shape[i] >= 0 && strides[i] >= 0, "expected sizes and strides of 0 or more, got ", str(shape), " and ",
                  str(strides));
        return one({c.input(0).dtype, symbolic(shape)});
      })
      .view([](const Call& c) {
        infer_now(c);
        const Tensor& x = c.input(0);
        const Ints &shape = c.attr(0).ints(), &strides = c.attr(1).ints();
        const int64_t offset = c.attr(2).integer(), have = extent(x.shape(), x.strides()), want = extent(shape, strides);
        check(offset >= 0 && offset + want <= have, "[as_strided] expected a view inside the tensor's ", have,
              " elements, got elements ", offset, " to ", offset + want);
        return Tensors{x.alias(shape, strides, x.impl()->desc.byte_offset + uint64_t(bytes_between(x.dtype(), offset)))};
      })
      .grad([](const Backward& b) {
        const Ints &shape = b.attr(0).ints(), &strides = b.attr(1).ints();
        Device* device = b.grad().device();
        Tensor at = full({}, double(b.attr(2).integer()), DType::i64, device);
        for (size_t i = 0; i < shape.size(); ++i) {
          Ints own(shape.size(), 1);
          own[i] = shape[i];
          at = op<"add">({at, reshape(iota(shape[i], 0, double(strides[i]), DType::i64, device), own)});
        }
        const int64_t n = numel(b.input_shape(0));
        const Tensor g = op<"index_update">({zeros({n}, b.input_dtype(0), device), b.grad(), at}, {Ints{0}, Attr(), true});
        return Tensors{reshape(g, b.input_shape(0))};
      })
      .saves(0, 0)
      .bounds(0, "exact");

  TG_OP(diag_embed)
      .family("shape")
      .doc("Zeros with x's last axis on a diagonal of two new axes.")
      .input("x", "at least one axis")
      .attr("offset", AttrKind::integer, 0, "0 main, above it positive")
      .attr("axis1", AttrKind::integer, -2, "rows, in the result")
      .attr("axis2", AttrKind::integer, -1, "columns, in the result")
      .infer([](const Inference& c) {
        const Shape& x = c.input(0).shape;
        c.check(!x.empty(), "expected at least one axis, got shape ()");
        const int64_t rank = int64_t(x.size()) + 1, offset = c.attr(0).integer();
        const int64_t a = normalize_axis(c.name(), c.attr(1).integer(), rank),
                      z = normalize_axis(c.name(), c.attr(2).integer(), rank);
        c.check(a != z, "expected two different axes, got ", a, " twice");
        const Dim n = x[x.size() - 1] + Dim(std::abs(offset));
        Shape y;
        for (int64_t i = 0, k = 0; i < rank; ++i) y.push_back(i == a || i == z ? n : x[size_t(k++)]);
        return one({c.input(0).dtype, y});
      })
      .decompose([](const Call& c) {
        return Tensors{op<"diagonal_backward">(
            {c.input(0)}, {concrete(infer_now(c)[0].shape), c.attr(0), c.attr(1), c.attr(2)})};
      })
      .bounds(0, "exact")
      .example(">>> tg.diag_embed(tg.tensor([1, 2])).tolist()\n[[1, 0], [0, 2]]");
}

}  // namespace tg
