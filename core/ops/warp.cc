// SPDX-License-Identifier: Apache-2.0
// Images read at places that a map gives in elements: remap, and the maps of affine and perspective transformations, which
// lead from the result to the image, as OpenCV's WARP_INVERSE_MAP.
#include "index.h"
#include "sampling.h"

namespace tg {
namespace {

using namespace sampling;

// The element that stands outside for place p (an integer in floats) of an axis.
Tensor bordered(const Tensor& p, const std::string& border, int64_t n) {
  const auto modulo = [&](double m) { return op<"remainder">({p, m}); };
  const double size = double(n), last = double(n - 1);
  if (border == "wrap") return modulo(size);
  if (border == "reflect") {  // the edge twice: cba|abc|cba
    const Tensor r = modulo(2 * size);
    return op<"minimum">({r, sub(2 * size - 1, r)});
  }
  if (border == "reflect_101") {  // the edge once: cb|abc|ba
    if (n == 1) return mul(p, 0.0);
    const Tensor r = modulo(2 * last);
    return op<"minimum">({r, sub(2 * last, r)});
  }
  return clipped(p, 0, last);
}

void check_modes(const Inference& c, size_t at) {
  const std::string &mode = c.attr(at).string(), &border = c.attr(at + 1).string();
  c.check(mode == "linear" || mode == "nearest" || mode == "cubic", "expected mode \"linear\", \"nearest\" or \"cubic\", got \"", mode,
          "\"");
  c.check(border == "replicate" || border == "reflect" || border == "reflect_101" || border == "wrap" || border == "constant",
          "expected border \"replicate\", \"reflect\", \"reflect_101\", \"wrap\" or \"constant\", got \"", border, "\"");
}
// Places are computed in f32 at least.
DType place_dtype(DType x) { return x == DType::f64 ? DType::f64 : DType::f32; }

// Checks x, an index of images at input 2, and that there are `maps` (K) of them; the result [K, C, h, w].
Specs infer_read(const Inference& c, const Dim& maps, const Dim& h, const Dim& w) {
  const Shape& x = c.input(0).shape;
  const DType t = c.input(0).dtype, p = c.input(1).dtype;
  c.check(x.size() == 4, "expected x of shape (N, C, H, W), got ", str(x));
  for (size_t i = 2; i < 4; ++i)
    c.check(!x[i].is_constant() || x[i].value() > 0, "expected an image of at least one element, got ", str(x));
  check_type(is_floating(t) || t == DType::u8, c.name(), "floats or uint8", t);
  check_type(is_floating(p) && (t == DType::u8 || p == t), c.name(), "places of x's dtype (of a float for uint8)", p);
  if (c.has(2)) {
    check_index(c, 2);
    c.check(c.input(2).shape == Shape{maps}, "expected an image's number for each of ", maps, " maps, got shape ", str(c.input(2).shape));
  } else {
    c.check(maps == x[0], "expected a map for each of ", x[0], " images, or their numbers, got ", maps);
  }
  return one({t, Shape{maps, x[1], h, w}});
}

// x at places [K, h, w, 2]; the attributes from `at` on are mode, border and value.
Tensors read(const Call& c, const Tensor& places, size_t at, const TensorSpec& spec) {
  const Ints shape = concrete(spec.shape);
  if (!numel(shape)) return {zeros(shape, spec.dtype, c.device)};
  const std::string &mode = c.attr(at).string(), &border = c.attr(at + 1).string();
  const Pixels pixels(c.input(0).cast(places.dtype()));
  const int64_t size[] = {pixels.height, pixels.width};
  const Tensor images = c.has(2) ? c.input(2).cast(DType::i64) : iota(shape[0], 0, 1, DType::i64, c.device);
  const Tensor start = pixels.start(reshape(images, {shape[0], 1, 1}));
  Tensor base[2];
  std::vector<Tensors> weights(2);  // of the taps on either axis; none where the nearest element is taken
  for (int64_t i = 0; i < 2; ++i) {
    const Tensor p = column(places, 1 - i);
    base[i] = mode == "nearest" ? op<"round">({p.detach()}) : op<"floor">({p.detach()});
    if (mode == "nearest") continue;
    const Tensor part = sub(p, base[i]);
    weights[i] = mode == "cubic" ? cubic_weights(part) : Tensors{sub(1.0, part), part};
  }
  const int64_t taps = mode == "nearest" ? 1 : int64_t(weights[0].size()), first = taps == 4 ? -1 : 0;
  Tensor y;
  for (int64_t k = 0; k < taps * taps; ++k) {
    const int64_t tap[] = {k / taps, k % taps};
    Tensor place[2], inside;
    for (int i = 0; i < 2; ++i) {
      const Tensor p = add(base[i], double(tap[i] + first));
      place[i] = bordered(p, border, size[i]);
      if (border != "constant") continue;
      const Tensor here = op<"eq">({place[i], p});
      inside = inside.defined() ? both(inside, here) : here;
    }
    Tensor v = pixels.at(pixels.row(start, place[0], place[1]));
    if (inside.defined()) v = where(last_axis(inside), v, c.attr(at + 2).floating());
    add_to(&y, taps == 1 ? v : mul(v, last_axis(mul(weights[0][tap[0]], weights[1][tap[1]]))));
  }
  if (spec.dtype == DType::u8) y = clipped(op<"round">({y}), 0, 255);
  return {channels_first(y).cast(spec.dtype)};
}

OpBuilder reading(OpBuilder o, const char* name, const char* doc) {
  return o.family("vision")
      .amp(Amp::promote)
      .input("x", "[N, C, H, W], floats or u8, which is rounded")
      .input(name, doc)
      .optional_input("index", "integers [K]: the image for each; the k-th for the k-th by default")
      .output("y", "[K, C, h, w], x's dtype")
      .function_only();
}
OpBuilder with_modes(OpBuilder o) {
  return o.attr("mode", AttrKind::string, "linear", "linear, nearest or cubic (Keys's kernel, a = -0.75)")
      .attr("border", AttrKind::string, "replicate", "outside: replicate (aa|abc), reflect (ba|abc), reflect_101 (cb|abc), wrap (bc|abc) or constant")
      .attr("value", AttrKind::floating, 0.0, "outside, for constant");
}

// A transformation's rows times (x, y, 1) for every place of h x w: [K, rows, h, w].
Tensor transformed(const Tensor& m, int64_t row, int64_t h, int64_t w) {
  const Tensor r = op<"select">({m}, {1, row});
  const auto entry = [&](int64_t i) { return reshape(op<"select">({r}, {1, i}), {m.size(0), 1, 1}); };
  const Tensor x = line(w, 3, 2, m.dtype(), m.device()), y = line(h, 3, 1, m.dtype(), m.device());
  return add(add(mul(entry(0), x), mul(entry(1), y)), entry(2));
}

template <int rows>
void warping(OpBuilder o, const char* doc, const char* example) {
  with_modes(reading(o, "m", rows == 2 ? "[K, 2, 3]" : "[K, 3, 3]").attr("size", AttrKind::ints, "of the result: height and width"))
      .doc(doc)
      .infer([](const Inference& c) {
        const Shape& m = c.input(1).shape;
        const Ints& size = c.attr(0).ints();
        c.check(m.size() == 3 && m[1] == Dim(rows) && m[2] == Dim(3), "expected matrices (K, ", rows, ", 3), got ", str(m));
        c.check(size.size() == 2 && size[0] >= 0 && size[1] >= 0, "expected a size of height and width, got ", str(size));
        check_modes(c, 1);
        return infer_read(c, m[0], size[0], size[1]);
      })
      .decompose([](const Call& c) {
        const TensorSpec spec = infer_now(c)[0];
        const Tensor m = c.input(1).cast(place_dtype(c.input(0).dtype()));
        const int64_t h = c.attr(0).ints()[0], w = c.attr(0).ints()[1];
        std::vector<Arg> places{transformed(m, 0, h, w), transformed(m, 1, h, w)};
        if (rows == 3) {
          const Tensor depth = transformed(m, 2, h, w);
          for (Arg& p : places) p = div(p, depth);
        }
        const Attr last[] = {Attr(3)};
        return read(c, call_one(op_named<"stack">(), places, last), 1, spec);
      })
      .bounds(16, "a place's rounding times the size, relative to the largest |x| times the places' magnitudes")
      .example(example);
}

}  // namespace

TG_OPS(warp) {
  with_modes(reading(TG_OP(remap), "places", "[K, h, w, 2]: x, then y, in elements from the first one's centre"))
      .doc(
          "x at given places, as OpenCV's remap. Differentiable in x and, but for mode nearest, in the places. Memory: the result's "
          "size for every tap (1, 4 or 16) where gradients are recorded, else for two. Errors: ValueError for shapes and modes, "
          "IndexError for an image that is not there.")
      .infer([](const Inference& c) {
        const Shape& p = c.input(1).shape;
        c.check(p.size() == 4 && p[3] == Dim(2), "expected places of shape (K, h, w, 2), got ", str(p));
        check_modes(c, 0);
        return infer_read(c, p[0], p[1], p[2]);
      })
      .decompose([](const Call& c) {
        return read(c, c.input(1).cast(place_dtype(c.input(0).dtype())), 0, infer_now(c)[0]);
      })
      .bounds(16, "a place's rounding times the size, relative to the largest |x| times the places' magnitudes")
      .example(
          ">>> x = tg.tensor([[[[1., 2.], [3., 4.]]]])\n>>> tg.remap(x, tg.tensor([[[[0.5, 0.], [1., 9.]]]])).tolist()\n"
          "[[[[1.5, 4.0]]]]");

  warping<2>(TG_OP(warp_affine),
             "y(x, y) = x(m00 x + m01 y + m02, m10 x + m11 y + m12): an affine transformation that leads from the result to the image. "
             "Else as remap.",
             ">>> x = tg.tensor([[[[1., 2., 3.]]]])\n"
             ">>> tg.warp_affine(x, tg.tensor([[[1., 0., 1.], [0., 1., 0.]]]), size=(1, 3)).tolist()\n[[[[2.0, 3.0, 3.0]]]]");
  warping<3>(TG_OP(warp_perspective),
             "As warp_affine with a third row, by whose product with (x, y, 1) the place is divided: a perspective transformation that "
             "leads from the result to the image.",
             ">>> x = tg.tensor([[[[1., 2., 3.]]]])\n"
             ">>> tg.warp_perspective(x, tg.tensor([[[2., 0., 2.], [0., 2., 0.], [0., 0., 2.]]]), size=(1, 3)).tolist()\n"
             "[[[[2.0, 3.0, 3.0]]]]");
}

}  // namespace tg
