// SPDX-License-Identifier: Apache-2.0
// Regions of interest: the part of a feature map under each box, in a fixed number of bins. Each sample of a bin is one
// gather of all channels for all bins of all boxes, so the memory is a few times the result's, whatever the number of samples.
#include "sampling.h"

namespace tg {
namespace {

using namespace sampling;

void canonical_size(std::span<const Arg>, std::span<Attr> attrs) {
  if (attrs[0].ints().size() == 1) attrs[0] = Ints(2, attrs[0].ints()[0]);
}

// Checks x [N, C, H, W] and boxes [K, 5]; the result [K, C, *output_size].
Specs infer_roi(const Inference& c) {
  const Shape &x = c.input(0).shape, &boxes = c.input(1).shape;
  c.check(x.size() == 4, "expected x of shape (N, C, H, W), got ", str(x));
  c.check(boxes.size() == 2 && boxes[1] == Dim(5), "expected boxes of shape (K, 5), an image's number and two corners each, got ",
          str(boxes));
  for (size_t i = 2; i < 4; ++i)
    c.check(!x[i].is_constant() || x[i].value() > 0, "expected an image of at least one element, got ", str(x));
  check_type(is_floating(c.input(0).dtype) && c.input(1).dtype == c.input(0).dtype, c.name(), "x and boxes of one floating dtype",
             c.input(1).dtype);
  const Ints& size = c.attr(0).ints();
  c.check(size.size() == 2 && size[0] >= 1 && size[1] >= 1, "expected an output_size of two sizes of 1 or more, got ", str(size));
  return one({c.input(0).dtype, Shape{boxes[0], x[1], size[0], size[1]}});
}
void check_mode(const Inference& c, size_t at) {
  const std::string& mode = c.attr(at).string();
  c.check(mode == "average" || mode == "max", "expected mode \"average\" or \"max\", got \"", mode, "\"");
}

OpBuilder roi(OpBuilder o) {
  return o.family("vision")
      .amp(Amp::promote)
      .input("x", "[N, C, H, W]")
      .input("boxes", "[K, 5], x's dtype: an image's number, x1, y1, x2, y2")
      .attr("output_size", AttrKind::ints, "bins: one number, or height and width")
      .attr("spatial_scale", AttrKind::floating, 1.0, "from a box's units to elements of x")
      .output("y", "[K, C, *output_size]")
      .function_only()
      .canonical(canonical_size);
}

// One axis of roi_align: [K, bins] places of every sample, and which of them count.
struct Samples {
  Tensor at, inside;  // the place, moved into the image; whether it lay in it
  Tensor taken;       // whether the box has so many samples; undefined: yes
};
struct Axis {
  Tensor start, size, count;  // [K, 1]: the box's first side, a bin's size, samples of a bin (undefined: `samples`)
  int64_t bins, samples, length;

  Samples sample(int64_t i) const {
    const Tensor bin = line(bins, 2, 1, start.dtype(), start.device());
    const Tensor part = count.defined() ? div(double(i) + 0.5, op<"maximum">({count, 1.0})) : Tensor();
    const Tensor place = add(start, mul(size, part.defined() ? add(bin, part) : add(bin, (double(i) + 0.5) / double(samples))));
    const Tensor seen = place.detach();
    return {clipped(place, 0, double(length - 1)),
            both(op<"ge">({seen, -1.0}), op<"le">({seen, double(length)})),
            when(count.defined(), [&] { return op<"gt">({count, double(i)}); })};
  }
};

Tensors decompose_align(const Call& c) {
  const TensorSpec spec = infer_now(c)[0];
  const Ints shape = concrete(spec.shape);
  if (!numel(shape)) return {zeros(shape, spec.dtype, c.device)};
  const DType acc = acc_dtype(spec.dtype);
  const Pixels pixels(c.input(0).cast(acc));
  const Tensor boxes = c.input(1).cast(acc);
  const Ints &sampling = c.attr(2).ints(), length{pixels.height, pixels.width};
  const bool adaptive = c.attr(3).boolean(), aligned = c.attr(4).boolean(), most = c.attr(5).string() == "max";
  const auto side = [&](int64_t i) { return sub(mul(slice(boxes, 1, i, i + 1), c.attr(1).floating()), aligned ? 0.5 : 0.0); };
  std::vector<Axis> axes;
  for (int64_t i = 0; i < 2; ++i) {  // y, x
    const Tensor first = side(2 - i);
    Tensor size = sub(side(4 - i), first);
    if (!aligned) size = op<"maximum">({size, 1.0});  // a box has at least one element
    size = div(size, double(shape[2 + i]));
    const Tensor count = when(adaptive, [&] { return clipped(op<"ceil">({size.detach()}), 0, double(sampling[i])); });
    axes.push_back({first, size, count, shape[2 + i], sampling[i], length[i]});
  }
  const auto planes = [](const Tensor& ty, const Tensor& tx, auto f) {  // of [K, h] and [K, w]: [K, h, w]
    return f(op<"unsqueeze">({ty}, {Ints{2}}), op<"unsqueeze">({tx}, {Ints{1}}));
  };
  const Tensor start = op<"unsqueeze">({pixels.start(image_number(slice(boxes, 1, 0, 1)))}, {Ints{2}});
  Tensor share;  // a sample's part of the average
  if (!most && adaptive)
    share = planes(axes[0].count, axes[1].count, [](auto y, auto x) { return div(1.0, op<"maximum">({mul(y, x), 1.0})); });
  Tensor y;
  for (int64_t i = 0; i < sampling[0]; ++i) {
    for (int64_t j = 0; j < sampling[1]; ++j) {
      const Samples sy = axes[0].sample(i), sx = axes[1].sample(j);
      Tensor factor = planes(sy.inside, sx.inside, both).cast(acc);
      Tensor taken;
      if (adaptive) taken = planes(sy.taken, sx.taken, both);
      if (!most && adaptive) factor = mul(factor, mul(taken.cast(acc), share));
      const Tensor v = planes(sy.at, sx.at, [&](auto py, auto px) { return pixels.bilinear(start, py, px, factor, false); });
      if (!most) {
        add_to(&y, v);
      } else {
        const Tensor seen = adaptive ? where(last_axis(taken), v, -INFINITY) : v;
        y = y.defined() ? op<"maximum">({y, seen}) : seen;
      }
    }
  }
  if (!most && !adaptive) y = div(y, double(sampling[0] * sampling[1]));
  if (most && adaptive) y = where(op<"eq">({y.detach(), -INFINITY}), 0.0, y);  // boxes without samples
  return {channels_first(y).cast(spec.dtype)};
}

// The bins of roi_pool: [K, bins] first and last element (not included), in floats.
struct Bins {
  Tensor first, last;
};
Bins bins_of(const Tensor& low, const Tensor& high, int64_t bins, int64_t length) {
  const Tensor size = div(op<"maximum">({add(sub(high, low), 1.0), 1.0}), double(bins));
  const Tensor bin = line(bins, 2, 1, low.dtype(), low.device());
  return {clipped(add(op<"floor">({mul(bin, size)}), low), 0, double(length)),
          clipped(add(op<"ceil">({mul(add(bin, 1.0), size)}), low), 0, double(length))};
}

Tensors decompose_pool(const Call& c) {
  const TensorSpec spec = infer_now(c)[0];
  const Ints shape = concrete(spec.shape);
  if (!numel(shape)) return {zeros(shape, spec.dtype, c.device)};
  const DType acc = acc_dtype(spec.dtype);
  const Pixels pixels(c.input(0).cast(acc));
  const Tensor boxes = c.input(1).detach().cast(acc);
  const auto side = [&](int64_t i) { return rounded(mul(slice(boxes, 1, i, i + 1), c.attr(1).floating())); };
  const Bins rows = bins_of(side(2), side(4), shape[2], pixels.height), columns = bins_of(side(1), side(3), shape[3], pixels.width);
  const auto tall = [](const Tensor& t) { return op<"unsqueeze">({t}, {Ints{2}}); };
  const auto wide = [](const Tensor& t) { return op<"unsqueeze">({t}, {Ints{1}}); };
  const Tensor start = tall(pixels.start(image_number(slice(boxes, 1, 0, 1))));
  const bool most = c.attr(2).string() == "max";
  const Ints& reach = c.attr(3).ints();
  const int64_t height = reach[0] ? reach[0] : pixels.height, width = reach[1] ? reach[1] : pixels.width;
  const Ints places{shape[0], shape[2], shape[3]};
  const Pixels seen = [&] { Pixels p = pixels; p.rows = p.rows.detach(); return p; }();
  Ints all = places;
  all.push_back(shape[1]);
  Tensor best = full(all, -INFINITY, acc, c.device), index = full(all, -1, DType::i32, c.device), total;
  for (int64_t i = 0; i < height; ++i) {
    for (int64_t j = 0; j < width; ++j) {
      const Tensor y = add(rows.first, double(i)), x = add(columns.first, double(j));
      const Tensor inside = last_axis(both(tall(op<"lt">({y, rows.last})), wide(op<"lt">({x, columns.last}))));
      const Tensor row = expand(seen.row(start, tall(y), wide(x)), places);
      if (!most) {
        add_to(&total, where(inside, pixels.at(row), 0.0));
        continue;
      }
      // The best element is found without a record; its gradient flows through one gather at the end.
      const Tensors next = ops<"max_pool_step">({best, index, where(inside, seen.at(row), -INFINITY), last_axis(row).cast(DType::i32)});
      best = next[0], index = next[1];
    }
  }
  const Tensor count = last_axis(mul(tall(op<"maximum">({sub(rows.last, rows.first), 0.0})), wide(op<"maximum">({sub(columns.last, columns.first), 0.0}))));
  const Tensor some = op<"gt">({count, 0.0});
  Tensor y;
  if (most) {
    const Tensor at = reshape(op<"maximum">({index, 0}), {numel(places), shape[1]});
    y = where(some, reshape(op<"take_along_axis">({pixels.rows, at}, {0}), all), 0.0);
  } else {
    y = div(total, op<"maximum">({count, 1.0}));
  }
  return {channels_first(y).cast(spec.dtype)};
}

Tensors decompose_psroi(const Call& c) {
  const TensorSpec spec = infer_now(c)[0];
  const Ints shape = concrete(spec.shape);
  if (!numel(shape)) return {zeros(shape, spec.dtype, c.device)};
  const DType acc = acc_dtype(spec.dtype);
  const int64_t k = shape[0], classes = c.has(2) ? c.input(2).size(1) / 2 : 1, samples = c.attr(2).integer();
  const Pixels pixels(c.input(0).cast(acc), classes);
  const Tensor boxes = c.input(1).detach().cast(acc);
  const Ints length{pixels.height, pixels.width};
  const auto column_of = [&](int64_t i) { return reshape(slice(boxes, 1, i, i + 1), {k, 1, 1, 1}); };
  const auto side = [&](int64_t i, double more) { return sub(mul(add(rounded(column_of(i)), more), c.attr(1).floating()), 0.5); };
  const auto own = [&](int64_t n, int64_t axis, DType t) { return line(n, 4, axis, t, c.device); };
  Tensor first[2], step[2];  // of a bin's samples, [K, h, w, classes] or of sizes 1
  for (int64_t i = 0; i < 2; ++i) {
    const Tensor low = side(2 - i, 0), size = op<"maximum">({sub(side(4 - i, 1), low), 0.1});
    const Tensor bin = div(size, double(shape[2 + i]));
    first[i] = add(low, mul(bin, own(shape[2 + i], 1 + i, acc)));
    step[i] = div(bin, double(samples));
    if (!c.has(2)) continue;
    Tensor moved = reshape(c.input(2).cast(acc), {k, classes, 2, c.input(2).size(2), c.input(2).size(3)});
    moved = op<"select">({moved}, {2, 1 - i});
    for (int64_t axis = 0; axis < 2; ++axis) {
      const int64_t bins = shape[2 + axis];
      const Tensor part = op<"floor_divide">({mul(iota(bins, 0, 1, DType::i64, c.device), moved.size(2 + axis)), bins});
      moved = op<"index_select">({moved, part}, {2 + axis});
    }
    moved = op<"permute">({moved}, {Ints{0, 2, 3, 1}});  // [K, h, w, classes]
    first[i] = add(first[i], mul(mul(moved, c.attr(3).floating()), size));
  }
  const Tensor start = add(pixels.start(image_number(column_of(0))), own(classes, 3, DType::i64));
  const Ints places{k, shape[2], shape[3], classes};
  Tensor total, count;
  for (int64_t s = 0; s < samples * samples; ++s) {
    const int64_t at[] = {s / samples, s % samples};
    Tensor place[2], inside;
    for (int i = 0; i < 2; ++i) {
      const Tensor p = expand(add(first[i], mul(step[i], double(at[i]))), places), seen = p.detach();
      const Tensor here = both(op<"ge">({seen, -0.5}), op<"le">({seen, double(length[i]) - 0.5}));
      inside = inside.defined() ? both(inside, here) : here;
      place[i] = clipped(p, 0, double(length[i] - 1));
    }
    const Tensor factor = inside.cast(acc);
    add_to(&count, factor);
    add_to(&total, pixels.bilinear(start, place[0], place[1], factor, false));
  }
  const Tensor y = div(total, last_axis(op<"maximum">({count, 1.0})));
  return {channels_first(reshape(y, {k, shape[2], shape[3], shape[1]})).cast(spec.dtype)};
}

}  // namespace

TG_OPS(roi) {
  roi(TG_OP(roi_align))
      .doc(
          "The mean (or maximum) of samples in every bin of a box, each read bilinearly (He et al., \"Mask R-CNN\", 2017). Samples "
          "more than one element outside are 0. Differentiable in x and in the boxes. Memory: a few times the result's, per sample "
          "where gradients are recorded. Errors: ValueError for shapes and sizes that do not fit, IndexError for an image that is "
          "not there.")
      .attr("sampling", AttrKind::ints, Ints{2}, "samples of a bin on an axis: one number, or height and width")
      .attr("adaptive", AttrKind::boolean, false, "as many samples as a bin has elements, rounded up, up to `sampling`")
      .attr("aligned", AttrKind::boolean, false, "an element's centre is at half its size; else at its corner, and boxes have at least one element")
      .attr("mode", AttrKind::string, "average", "average or max")
      .canonical([](std::span<const Arg> inputs, std::span<Attr> attrs) {
        canonical_size(inputs, attrs);
        if (attrs[2].ints().size() == 1) attrs[2] = Ints(2, attrs[2].ints()[0]);
      })
      .infer([](const Inference& c) {
        const Ints& s = c.attr(2).ints();
        c.check(s.size() == 2 && s[0] >= 1 && s[1] >= 1, "expected a sampling of 1 or more on both axes, got ", str(s));
        check_mode(c, 5);
        return infer_roi(c);
      })
      .decompose(decompose_align)
      .bounds(16, "a place's rounding and the mean of samples, relative to the largest |x| times the largest coordinate")
      .example(
          ">>> x = tg.arange(16, dtype=tg.float32).reshape(1, 1, 4, 4)\n"
          ">>> tg.roi_align(x, tg.tensor([[0., 0., 0., 2., 2.]]), 1, aligned=True).item()\n2.5");

  roi(TG_OP(roi_pool))
      .doc(
          "The largest element (or the mean) of every bin of a box whose sides are rounded to elements (Girshick, \"Fast R-CNN\", "
          "2015); 0 where a bin is empty. Differentiable in x. Memory: a few times the result's. Errors: ValueError for shapes and "
          "sizes that do not fit, IndexError for an image that is not there.")
      .attr("mode", AttrKind::string, "max", "max or average")
      .attr("reach", AttrKind::ints, Ints{0, 0}, "the most elements of a bin (height, width), if known, which saves time; 0: the image's")
      .infer([](const Inference& c) {
        check_mode(c, 2);
        const Ints& r = c.attr(3).ints();
        c.check(r.size() == 2 && r[0] >= 0 && r[1] >= 0, "expected a reach of two sizes of 0 or more, got ", str(r));
        return infer_roi(c);
      })
      .decompose(decompose_pool)
      .bounds(1, "a bin's elements, relative to the mean of magnitudes; exact for the maximum")
      .example(
          ">>> x = tg.arange(16, dtype=tg.float32).reshape(1, 1, 4, 4)\n"
          ">>> tg.roi_pool(x, tg.tensor([[0., 0., 0., 3., 3.]]), 2).tolist()\n[[[[5.0, 7.0], [13.0, 15.0]]]]");

  TG_OP(deformable_psroi_pooling)
      .family("vision")
      .amp(Amp::promote)
      .doc(
          "The mean of samples in every bin of a box, where bins are moved by offsets (Dai et al., \"Deformable convolutional "
          "networks\", 2017); what lies outside does not count. Differentiable in x and the offsets. Memory: a few times the "
          "result's, per sample where gradients are recorded. Errors: ValueError for shapes and sizes that do not fit.")
      .input("x", "[N, C, H, W]")
      .input("boxes", "[K, 5], x's dtype: an image's number, x1, y1, x2, y2")
      .optional_input("offsets", "[K, 2 classes, parts, parts]: x, then y, of each part of a box for each class; C / classes channels have one class")
      .attr("output_size", AttrKind::ints, "bins: one number, or height and width")
      .attr("spatial_scale", AttrKind::floating, 1.0, "from a box's units to elements of x")
      .attr("samples", AttrKind::integer, 4, "of a bin on either axis")
      .attr("offset_scale", AttrKind::floating, 0.1, "from an offset to parts of the box's size")
      .output("y", "[K, C, *output_size]")
      .function_only()
      .canonical(canonical_size)
      .infer([](const Inference& c) {
        const Specs y = infer_roi(c);
        c.check(c.attr(2).integer() >= 1, "expected 1 sample or more, got ", c.attr(2).integer());
        if (!c.has(2)) return y;
        const Shape &t = c.input(2).shape, &x = c.input(0).shape;
        c.check(t.size() == 4 && t[0] == c.input(1).shape[0], "expected offsets [K, 2 classes, parts, parts] for boxes ",
                str(c.input(1).shape), ", got ", str(t));
        check_type(c.input(2).dtype == c.input(0).dtype, c.name(), "offsets of x's dtype", c.input(2).dtype);
        for (size_t i = 1; i < 4; ++i)
          c.check(!t[i].is_constant() || t[i].value() > 0, "expected offsets of at least one class and part, got ", str(t));
        if (t[1].is_constant() && x[1].is_constant())
          c.check(t[1].value() % 2 == 0 && x[1].value() % (t[1].value() / 2) == 0, "expected channels divisible by classes, got ",
                  x[1], " channels and ", t[1], " offsets");
        return y;
      })
      .decompose(decompose_psroi)
      .bounds(16, "a place's rounding and the mean of samples, relative to the largest |x| times the largest coordinate")
      .example(
          ">>> x = tg.arange(16, dtype=tg.float32).reshape(1, 1, 4, 4)\n"
          ">>> tg.deformable_psroi_pooling(x, tg.tensor([[0., 0., 0., 1., 1.]]), None, 1, samples=2).item()\n1.25");
}

}  // namespace tg
