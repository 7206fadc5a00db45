// SPDX-License-Identifier: Apache-2.0
// Several tensors as one, and one tensor several times: concat, stack, tile, flip, roll.
#include "common.h"

namespace tg {
namespace {

DType common_dtype(const Inference& c) {
  DType t = c.input(0).dtype;
  for (const TensorSpec* s : c.inputs) t = promote(t, s->dtype);
  return t;
}

Specs infer_concat(const Inference& c) {
  c.check(!c.inputs.empty(), "expected at least one tensor, got none");
  TensorSpec y{common_dtype(c), c.input(0).shape};
  c.check(!y.shape.empty(), "expected tensors of at least one axis, got shape ()", "; use stack");
  const size_t axis = size_t(normalize_axis(c.name(), c.attr(0).integer(), int64_t(y.shape.size())));
  for (size_t i = 1; i < c.inputs.size(); ++i) {
    Shape s = c.input(i).shape;
    bool fits = s.size() == y.shape.size();
    for (size_t k = 0; fits && k < s.size(); ++k) fits = k == axis || s[k] == y.shape[k];
    c.check(fits, "expected tensors of equal shape off axis ", axis, ", got ", str(c.input(0).shape), " and ", str(s));
    y.shape[axis] = y.shape[axis] + s[axis];
  }
  return one(y);
}

Specs infer_stack(const Inference& c) {
  c.check(!c.inputs.empty(), "expected at least one tensor, got none");
  TensorSpec y{common_dtype(c), c.input(0).shape};
  for (size_t i = 1; i < c.inputs.size(); ++i)
    c.check(c.input(i).shape == y.shape, "expected tensors of equal shape, got ", str(y.shape), " and ",
            str(c.input(i).shape));
  y.shape.insert(size_t(normalize_axis(c.name(), c.attr(0).integer(), int64_t(y.shape.size()) + 1)),
                 Dim(int64_t(c.inputs.size())));
  return one(y);
}

Specs infer_tile(const Inference& c) {
  const Shape& s = c.input(0).shape;
  const Ints& reps = c.attr(0).ints();
  Shape out(std::max(s.size(), reps.size()), Dim(1));
  for (size_t i = 0; i < s.size(); ++i) out[out.size() - s.size() + i] = s[i];
  for (size_t i = 0; i < reps.size(); ++i) {
    c.check(reps[i] >= 0, "expected repetitions of 0 or more, got ", str(reps));
    out[out.size() - reps.size() + i] = out[out.size() - reps.size() + i] * Dim(reps[i]);
  }
  return one({c.input(0).dtype, out});
}

}  // namespace

TG_OPS(join) {
  TG_OP(concat)
      .family("shape")
      .doc(
          "Tensors one after the other along an axis, in their promoted dtype. Errors: ValueError where other sizes "
          "differ.")
      .variadic_input("xs", "tensors of one rank")
      .attr("axis", AttrKind::integer, 0, "the axis")
      .infer(infer_concat)
      .decompose([](const Call& c) {
        const TensorSpec y = infer_now(c)[0];
        const int64_t axis = normalize_axis("concat", c.attr(0).integer(), int64_t(y.shape.size()));
        if (c.inputs.size() == 1) return Tensors{op<"copy">({c.input(0)})};
        const Tensor out = empty(concrete(y.shape), y.dtype, c.device);
        int64_t at = 0;
        for (const Tensor& x : c.inputs) {
          if (x.numel()) copy_into(slice(out, axis, at, at + x.size(axis)), x.cast(y.dtype));
          at += x.size(axis);
        }
        return Tensors{out};
      })
      .grad([](const Backward& b) {
        Tensors out;
        const int64_t axis = normalize_axis("concat", b.attr(0).integer(), b.grad().rank());
        int64_t at = 0;
        for (size_t i = 0; b.has(i); ++i) {
          const int64_t n = b.input_shape(i)[axis];
          out.push_back(i >= 64 || b.need(i) ? slice(b.grad(), axis, at, at + n) : Tensor());
          at += n;
        }
        return out;
      })
      .saves(0, 0)
      .linear({{-1}})
      .batch_axes({"axis"})
      .bounds(0, "exact")
      .example(">>> tg.concat([tg.tensor([1, 2]), tg.tensor([3])]).tolist()\n[1, 2, 3]");

  TG_OP(stack)
      .family("shape")
      .doc("Tensors of one shape along a new axis. Errors: ValueError where shapes differ.")
      .variadic_input("xs", "tensors of one shape")
      .attr("axis", AttrKind::integer, 0, "the new axis of the result")
      .infer(infer_stack)
      .decompose([](const Call& c) {
        const TensorSpec y = infer_now(c)[0];
        const int64_t axis = normalize_axis("stack", c.attr(0).integer(), int64_t(y.shape.size()));
        const Tensor out = empty(concrete(y.shape), y.dtype, c.device);
        for (size_t i = 0; i < c.inputs.size(); ++i)
          if (c.input(i).numel()) copy_into(op<"select">({out}, {axis, int64_t(i)}), c.input(i).cast(y.dtype));
        return Tensors{out};
      })
      .grad([](const Backward& b) {
        Tensors out;
        for (int64_t i = 0; b.has(size_t(i)); ++i)
          out.push_back(i >= 64 || b.need(size_t(i)) ? op<"select">({b.grad()}, {b.attr(0), i}) : Tensor());
        return out;
      })
      .saves(0, 0)
      .linear({{-1}})
      .batch([](const Batch& b) {
        std::vector<Arg> xs;
        for (size_t i = 0; i < b.inputs.size(); ++i) xs.push_back(b.whole(i));
        const Attr axis[] = {Attr(normalize_axis("stack", b.attr(0).integer(), b.rank(0) + 1) + 1)};
        return b.call(b.op, xs, axis);
      })
      .bounds(0, "exact")
      .example(">>> tg.stack([tg.tensor([1, 2]), tg.tensor([3, 4])]).tolist()\n[[1, 2], [3, 4]]");

  TG_OP(tile)
      .family("shape")
      .doc("x repeated along its axes, as a copy.")
      .input("x", "any tensor")
      .attr("reps", AttrKind::ints, "how often, for the last axes; more than x has add axes in front")
      .infer(infer_tile)
      .decompose([](const Call& c) {
        const Ints shape = concrete(infer_now(c)[0].shape), &reps = c.attr(0).ints();
        const Tensor& x = c.input(0);
        Ints split, spread;  // (1, n) to (r, n) for every axis
        for (size_t i = 0; i < shape.size(); ++i) {
          const size_t from_x = shape.size() - size_t(x.rank()), from_reps = shape.size() - reps.size();
          const int64_t n = i >= from_x ? x.shape()[i - from_x] : 1, r = i >= from_reps ? reps[i - from_reps] : 1;
          split.push_back(1), split.push_back(n);
          spread.push_back(r), spread.push_back(n);
        }
        const Tensor y = reshape(expand(reshape(x, split), spread), shape);
        return Tensors{y.storage() == x.storage() ? op<"copy">({y}) : y};
      })
      .bounds(0, "exact")
      .example(">>> tg.tile(tg.tensor([1, 2]), (2,)).tolist()\n[1, 2, 1, 2]");

  TG_OP(repeat_interleave)
      .family("shape")
      .doc("Every index of an axis several times in a row.")
      .input("x", "at least one axis")
      .attr("repeats", AttrKind::integer, "how often")
      .attr("axis", AttrKind::integer, 0, "the axis")
      .infer([](const Inference& c) {
        TensorSpec y = c.input(0);
        c.check(c.attr(0).integer() >= 0, "expected repeats of 0 or more, got ", c.attr(0).integer());
        Dim& n = y.shape[size_t(normalize_axis(c.name(), c.attr(1).integer(), int64_t(y.shape.size())))];
        n = n * Dim(c.attr(0).integer());
        return one(y);
      })
      .decompose([](const Call& c) {
        const Ints shape = concrete(infer_now(c)[0].shape);
        const int64_t axis = normalize_axis("repeat_interleave", c.attr(1).integer(), c.input(0).rank());
        const Tensor x = op<"unsqueeze">({c.input(0)}, {Ints{axis + 1}});
        Ints spread = x.shape();
        spread[axis + 1] = c.attr(0).integer();
        const Tensor y = reshape(expand(x, spread), shape);
        return Tensors{y.storage() == x.storage() ? op<"copy">({y}) : y};
      })
      .bounds(0, "exact")
      .example(">>> tg.repeat_interleave(tg.tensor([1, 2]), 2).tolist()\n[1, 1, 2, 2]");

  TG_OP(flip)
      .family("shape")
      .doc("x with the order along the axes reversed, as a copy.")
      .input("x", "any tensor")
      .attr("axes", AttrKind::ints, Ints{}, "which axes; all by default")
      .infer([](const Inference& c) {
        normalize_axes(c.name(), c.attr(0).ints(), int64_t(c.input(0).shape.size()));
        return one(c.input(0));
      })
      .decompose([](const Call& c) {
        Tensor y = c.input(0);
        for (int64_t axis : normalize_axes("flip", c.attr(0).ints(), y.rank()))
          if (y.size(axis) > 1)
            y = op<"index_select">({y, iota(y.size(axis), double(y.size(axis) - 1), -1, DType::i64, c.device)}, {axis});
        return Tensors{same(y, c.input(0)) ? op<"copy">({y}) : y};
      })
      .grad([](const Backward& b) { return Tensors{op<"flip">({b.grad()}, {b.attr(0)})}; })
      .saves(0, 0)
      .linear({{0}})
      .bounds(0, "exact")
      .example(">>> tg.flip(tg.tensor([1, 2, 3]), 0).tolist()\n[3, 2, 1]");

  TG_OP(roll)
      .family("shape")
      .doc("x moved along axes; what leaves at one end enters at the other. Without axes x is moved as one row.")
      .input("x", "any tensor")
      .attr("shift", AttrKind::ints, "by how much, for every axis; negative: towards the front")
      .attr("axis", AttrKind::ints, Ints{}, "the axes")
      .infer([](const Inference& c) {
        const Ints &shift = c.attr(0).ints(), &axes = c.attr(1).ints();
        c.check(shift.size() == axes.size() || (axes.empty() && shift.size() == 1),
                "expected one shift for every axis, got ", str(shift), " for axes ", str(axes));
        for (int64_t a : axes) normalize_axis(c.name(), a, int64_t(c.input(0).shape.size()));
        return one(c.input(0));
      })
      .decompose([](const Call& c) {
        infer_now(c);
        const Ints &shift = c.attr(0).ints(), &axes = c.attr(1).ints();
        Tensor y = axes.empty() ? reshape(c.input(0), {c.input(0).numel()}) : c.input(0);
        for (size_t i = 0; i < shift.size(); ++i) {
          const int64_t axis = axes.empty() ? 0 : normalize_axis("roll", axes[i], y.rank()), n = y.size(axis);
          const int64_t s = n ? ((shift[i] % n) + n) % n : 0;
          if (s) y = op<"concat">({slice(y, axis, n - s, n), slice(y, axis, 0, n - s)}, {axis});
        }
        return Tensors{reshape(y.storage() == c.input(0).storage() ? op<"copy">({y}) : y, c.input(0).shape())};
      })
      .bounds(0, "exact")
      .example(">>> tg.roll(tg.tensor([1, 2, 3]), 1, 0).tolist()\n[3, 1, 2]");
}

}  // namespace tg
