// SPDX-License-Identifier: Apache-2.0
// Sampling at given places of a plane or a volume, and grids of affine maps (Jaderberg et al., "Spatial transformer
// networks", 2015). Both are differentiable as they stand, in the values and in the places.
#include "sampling.h"
#include "window.h"

namespace tg {
namespace {

using namespace sampling;

enum class Edge { zeros, border, reflection };

// x bounced between low and high, for any x.
Tensor reflected(const Tensor& x, double low, double high) {
  const double span = high - low;
  if (span <= 0) return mul(x, 0.0);
  const Tensor far = op<"abs">({sub(x, low)}), turns = op<"floor">({op<"div">({far.detach(), span})});
  const Tensor rest = sub(far, mul(turns, span));
  const Tensor odd = op<"ne">({op<"remainder">({turns, 2.0}), 0.0});
  return add(where(odd, sub(span, rest), rest), low);
}
// Where the edge's rule puts a coordinate; for `zeros` it stays.
Tensor ruled(const Tensor& x, Edge edge, bool align, int64_t size) {
  if (edge == Edge::zeros) return x;
  const double last = double(size - 1);
  const Tensor y = edge == Edge::border ? x : align ? reflected(x, 0, last) : reflected(x, -0.5, last + 0.5);
  return clipped(y, 0, last);
}

struct Sampler {
  Tensor x, flat;  // [N, C, s...] in the accumulation dtype; [N, C, s]
  Edge edge;
  bool align;
  Ints size;
  int64_t n, places;

  // The elements at one integer place per axis ([N, places] each, floats); 0 outside where the edge is `zeros`.
  Tensor at(const Tensors& place) const {
    Tensor index, inside;
    for (size_t i = 0; i < place.size(); ++i) {
      const double last = double(size[i] - 1);
      const Tensor p = clipped(place[i].detach(), 0, last);
      if (edge == Edge::zeros) {
        const Tensor here = op<"eq">({p, place[i].detach()});
        inside = inside.defined() ? op<"logical_and">({inside, here}) : here;
      }
      const Tensor k = op<"maximum">({op<"minimum">({p.cast(DType::i64), size[i] - 1}), 0});  // NaN casts to anything
      index = index.defined() ? add(mul(index, size[i]), k) : k;
    }
    const Tensor value = op<"take_along_axis">({flat, reshape(index, {n, 1, places})}, {2});
    return inside.defined() ? where(reshape(inside, {n, 1, places}), value, 0.0) : value;
  }
  Tensor weighted(const Tensor& value, const Tensor& w) const { return mul(value, reshape(w, {n, 1, places})); }
};

Specs infer(const Inference& c) {
  const Shape &x = c.input(0).shape, &g = c.input(1).shape;
  const size_t d = x.size() >= 3 ? x.size() - 2 : 0;
  c.check((d == 2 || d == 3) && g.size() == x.size(),
          "expected x [N, C, H, W] and grid [N, h, w, 2], or x [N, C, D, H, W] and grid [N, d, h, w, 3], got ", str(x),
          " and ", str(g));
  c.check(g[0] == x[0] && g.back() == Dim(int64_t(d)), "expected a grid of ", x[0], " items with ", d,
          " coordinates each, got ", str(g));
  for (size_t i = 0; i < d; ++i)
    c.check(!x[2 + i].is_constant() || x[2 + i].value() > 0, "expected spatial sizes of at least 1, got ", str(x));
  check_type(is_floating(c.input(0).dtype) && c.input(1).dtype == c.input(0).dtype, c.name(),
             "x and grid of one floating dtype", c.input(1).dtype);
  const std::string &mode = c.attr(0).string(), &edge = c.attr(1).string();
  c.check(mode == "bilinear" || mode == "nearest" || mode == "bicubic",
          "expected mode \"bilinear\", \"nearest\" or \"bicubic\", got \"", mode, "\"");
  c.check(edge == "zeros" || edge == "border" || edge == "reflection",
          "expected padding_mode \"zeros\", \"border\" or \"reflection\", got \"", edge, "\"");
  Shape y{x[0], x[1]};
  for (size_t i = 1; i + 1 < g.size(); ++i) y.push_back(g[i]);
  return one({c.input(0).dtype, y});
}

Tensors decompose(const Call& c) {
  const TensorSpec spec = infer_now(c)[0];
  const Ints shape = concrete(spec.shape);
  if (!numel(shape)) return {zeros(shape, spec.dtype, c.device)};
  const DType acc = acc_dtype(spec.dtype);
  const std::string &mode = c.attr(0).string(), &rule = c.attr(1).string();
  Sampler s;
  s.x = c.input(0).cast(acc);
  s.edge = rule == "zeros" ? Edge::zeros : rule == "border" ? Edge::border : Edge::reflection;
  s.align = c.attr(2).boolean();
  s.size = spatial_of(s.x.shape());
  const size_t d = s.size.size();
  s.n = shape[0], s.places = numel(shape) / (shape[0] * shape[1]);
  s.flat = reshape(s.x, {s.n, s.x.size(1), numel(s.size)});
  const Tensor grid = reshape(c.input(1).cast(acc), {s.n, s.places, int64_t(d)});
  Tensors at(d);  // coordinates in elements, by spatial axis; the grid's last axis begins with the last of them
  for (size_t i = 0; i < d; ++i) {
    const double n = double(s.size[i]);
    const Tensor g = op<"select">({grid}, {2, int64_t(d - 1 - i)});
    at[i] = s.align ? mul(add(g, 1.0), (n - 1) / 2) : sub(mul(add(g, 1.0), n / 2), 0.5);
    if (mode != "bicubic") at[i] = ruled(at[i], s.edge, s.align, s.size[i]);
  }
  Tensor y;
  if (mode == "nearest") {
    Tensors place;
    for (const Tensor& p : at) place.push_back(op<"round">({p.detach()}));
    y = s.at(place);
  } else {
    Tensors base, part;
    for (const Tensor& p : at) base.push_back(op<"floor">({p.detach()})), part.push_back(sub(p, base.back()));
    const bool cubic = mode == "bicubic";
    const int64_t taps = cubic ? 4 : 2;
    std::vector<Tensors> weights;
    for (const Tensor& t : part) weights.push_back(cubic ? cubic_weights(t) : Tensors{sub(1.0, t), t});
    int64_t all = 1;
    for (size_t i = 0; i < d; ++i) all *= taps;
    for (int64_t k = 0; k < all; ++k) {
      Tensors place(d);
      Tensor w;
      int64_t rest = k;
      for (size_t i = d; i-- > 0; rest /= taps) {
        const int64_t tap = rest % taps;
        place[i] = add(base[i], double(cubic ? tap - 1 : tap));
        if (cubic) place[i] = ruled(place[i], s.edge, s.align, s.size[i]);
        const Tensor& part_weight = weights[i][size_t(tap)];
        w = w.defined() ? mul(w, part_weight) : part_weight;
      }
      add_to(&y, s.weighted(s.at(place), w));
    }
  }
  return {reshape(y, shape).cast(spec.dtype)};
}

// n coordinates from -1 to 1, at the elements' centres unless the corners are aligned.
Tensor line(int64_t n, bool align, DType t, Device* device) {
  if (n <= 1) return zeros({n}, t, device);
  const double step = align ? 2.0 / double(n - 1) : 2.0 / double(n);
  return iota(n, align ? -1 : -1 + step / 2, step, t, device);
}

}  // namespace

TG_OPS(grid_sample) {
  TG_OP(grid_sample)
      .amp(Amp::promote)
      .family("nn")
      .doc(
          "x at the places of a grid. Coordinates are (x, y) or (x, y, z) between -1 and 1: the borders of the image, "
          "or "
          "with align_corners the centres of its outermost elements. Outside, x is 0, its border, or mirrored. "
          "Errors: ValueError where shapes do not fit or for an unknown mode.")
      .input("x", "[N, C, H, W] or [N, C, D, H, W]")
      .input("grid", "[N, h, w, 2] or [N, d, h, w, 3], x's dtype")
      .attr("mode", AttrKind::string, "bilinear", "bilinear (in a volume: trilinear), nearest or bicubic (tricubic)")
      .attr("padding_mode", AttrKind::string, "zeros", "zeros, border or reflection")
      .attr("align_corners", AttrKind::boolean, false, "-1 and 1 are the outermost elements' centres")
      .output("y", "[N, C, h, w] or [N, C, d, h, w]")
      .function_only()
      .infer(infer)
      .decompose(decompose)
      .bounds(16, "the rounding of a coordinate times the size, relative to the largest |x| times the longest axis")
      .example(
          ">>> x = tg.tensor([[[[1., 2.], [3., 4.]]]])\n>>> tg.grid_sample(x, tg.tensor([[[[0., 0.]]]])).tolist()\n"
          "[[[[2.5]]]]");

  TG_OP(affine_grid)
      .family("nn")
      .doc(
          "The grid of an affine map: theta times (x, y, 1) or (x, y, z, 1) for every place of the output. Errors: "
          "ValueError where shapes do not fit.")
      .input("theta", "[N, 2, 3] or [N, 3, 4]")
      .attr("size", AttrKind::ints, "of the output: (N, C, H, W) or (N, C, D, H, W)")
      .attr("align_corners", AttrKind::boolean, false, "as grid_sample")
      .output("grid", "[N, H, W, 2] or [N, D, H, W, 3]")
      .function_only()
      .infer([](const Inference& c) {
        const Shape& t = c.input(0).shape;
        const Ints& size = c.attr(0).ints();
        check_type(is_floating(c.input(0).dtype), c.name(), "floats", c.input(0).dtype);
        const int64_t d = int64_t(size.size()) - 2;
        c.check(d == 2 || d == 3, "expected a size of 4 or 5 axes, got ", str(size));
        c.check((t == Shape{size[0], d, d + 1}), "expected theta of shape ", str(Ints{size[0], d, d + 1}), ", got ",
                str(t));
        Shape y{size[0]};
        for (size_t i = 2; i < size.size(); ++i) {
          c.check(size[i] >= 0, "expected sizes of 0 or more, got ", str(size));
          y.push_back(size[i]);
        }
        y.push_back(d);
        return one({c.input(0).dtype, y});
      })
      .decompose([](const Call& c) {
        const Ints shape = concrete(infer_now(c)[0].shape);
        const DType t = c.input(0).dtype(), acc = acc_dtype(t);
        const Tensor theta = c.input(0).cast(acc);
        const int64_t d = theta.size(1);
        Ints form(shape.size() - 1, 1);  // [N, H, W]
        form[0] = shape[0];
        Tensors rows;
        for (int64_t r = 0; r < d; ++r) {
          const Tensor row = op<"select">({theta}, {1, r});  // [N, d + 1]
          Tensor y = reshape(op<"select">({row}, {1, d}), form);
          for (int64_t k = 0; k < d; ++k) {
            Ints axis(size_t(k + 1), 1);  // coordinate k runs along the k-th spatial axis from the end
            axis[0] = shape[size_t(d - k)];
            const Tensor place = reshape(line(axis[0], c.attr(1).boolean(), acc, c.device), axis);
            y = add(y, mul(reshape(op<"select">({row}, {1, k}), form), place));
          }
          Ints plane(shape.data(), shape.size() - 1);
          rows.push_back(expand(y, plane));
        }
        const std::vector<Arg> parts(rows.begin(), rows.end());
        const Attr axis[] = {Attr(int64_t(shape.size()) - 1)};
        return Tensors{call_one(op_named<"stack">(), parts, axis).cast(t)};
      })
      .bounds(8, "the coordinates' rounding, products and sums, relative to a row's sum of magnitudes")
      .example(
          ">>> tg.affine_grid(tg.tensor([[[1., 0., 0.], [0., 1., 0.]]]), (1, 1, 1, 2)).tolist()\n"
          "[[[[-0.5, 0.0], [0.5, 0.0]]]]");
}

}  // namespace tg
