// SPDX-License-Identifier: Apache-2.0
// Resampling of spatial axes. Every mode is linear and separable: along one axis, each output is a weighted sum of a
// few inputs, whose places and weights follow from the sizes alone and are made on the host in double precision.
#include "window.h"

namespace tg {
namespace {

struct Taps {
  int64_t out, count;          // of each output
  std::vector<int64_t> place;  // [count, out]
  std::vector<double> weight;  // [count, out]; empty: all 1
  bool identity = false;
};

enum class Mode { nearest, nearest_exact, linear, cubic };

Mode mode_of(const std::string& m) {
  check(m == "nearest" || m == "nearest-exact" || m == "linear" || m == "cubic",
        "[interpolate] expected mode \"nearest\", \"nearest-exact\", \"linear\" or \"cubic\", got \"", m, "\"");
  return m == "nearest"  ? Mode::nearest
         : m == "linear" ? Mode::linear
         : m == "cubic"  ? Mode::cubic
                         : Mode::nearest_exact;
}

// Keys's kernel, "Cubic convolution interpolation for digital image processing", 1981.
double cubic_kernel(double x, double a) {
  x = std::abs(x);
  if (x <= 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? ((x - 5) * x + 8) * x * a - 4 * a : 0;
}

// `ratio`: inputs per output, from a scale factor; 0: from the sizes.
Taps taps_of(Mode mode, int64_t in, int64_t out, bool align, bool antialias, double ratio) {
  Taps t;
  t.out = out;
  t.count = mode == Mode::linear ? 2 : mode == Mode::cubic ? 4 : 1;
  t.identity = in == out && (ratio == 0 || ratio == 1);
  const bool by_size = ratio == 0;
  if (align)
    ratio = out > 1 ? double(in - 1) / double(out - 1) : 0;
  else if (by_size)
    ratio = double(in) / double(out);
  const auto inside = [&](int64_t i) { return std::clamp<int64_t>(i, 0, in - 1); };
  if (mode == Mode::nearest || mode == Mode::nearest_exact) {
    const bool exact = mode == Mode::nearest_exact;
    for (int64_t i = 0; i < out; ++i) {  // by the sizes in integers: no rounding decides
      const int64_t at = by_size ? (exact ? (2 * i + 1) * in / (2 * out) : i * in / out)
                                 : int64_t(std::floor((double(i) + (exact ? 0.5 : 0)) * ratio));
      t.place.push_back(inside(at));
    }
    return t;
  }
  if (antialias) {
    const double stretch = std::max(ratio, 1.0), reach = (mode == Mode::linear ? 1 : 2) * stretch;
    std::vector<int64_t> first;
    std::vector<std::vector<double>> rows;
    t.count = 1;
    for (int64_t i = 0; i < out; ++i) {
      const double centre = ratio * (double(i) + 0.5);
      const int64_t begin = std::max<int64_t>(int64_t(centre - reach + 0.5), 0);
      const int64_t end = std::min<int64_t>(int64_t(centre + reach + 0.5), in);
      std::vector<double> row;
      double total = 0;
      for (int64_t j = begin; j < end; ++j) {
        const double x = (double(j) - centre + 0.5) / stretch;
        row.push_back(mode == Mode::linear ? std::max(1 - std::abs(x), 0.0) : cubic_kernel(x, -0.5));
        total += row.back();
      }
      for (double& w : row) w /= total != 0 ? total : 1;
      t.count = std::max(t.count, int64_t(row.size()));
      first.push_back(begin), rows.push_back(std::move(row));
    }
    for (int64_t k = 0; k < t.count; ++k)
      for (int64_t i = 0; i < out; ++i) {
        t.place.push_back(inside(first[size_t(i)] + k));
        t.weight.push_back(k < int64_t(rows[size_t(i)].size()) ? rows[size_t(i)][size_t(k)] : 0);
      }
    return t;
  }
  for (int64_t k = 0; k < t.count; ++k)
    for (int64_t i = 0; i < out; ++i) {
      double at = align ? ratio * double(i) : ratio * (double(i) + 0.5) - 0.5;
      if (mode == Mode::linear) at = std::max(at, 0.0);
      const double base = std::floor(at), part = at - base;
      const int64_t offset = mode == Mode::linear ? k : k - 1;
      t.place.push_back(inside(int64_t(base) + offset));
      t.weight.push_back(mode == Mode::linear ? (k ? part : 1 - part) : cubic_kernel(part - double(offset), -0.75));
    }
  return t;
}

Tensor on_device(const std::vector<double>& values, const Ints& shape, DType t, Device* device) {
  if (t == DType::f64) return Tensor::from_host(values.data(), shape, t, device);
  const std::vector<float> narrow(values.begin(), values.end());
  return Tensor::from_host(narrow.data(), shape, DType::f32, device);
}

// A few taps are gathered one after the other; many are one product with a matrix.
Tensor resampled(const Tensor& x, int64_t axis, const Taps& t) {
  const int64_t in = x.size(axis);
  if (t.count > 4) {
    std::vector<double> matrix(size_t(in * t.out), 0.0);
    for (size_t k = 0; k < t.place.size(); ++k) matrix[size_t(t.place[k] * t.out + int64_t(k) % t.out)] += t.weight[k];
    const Tensor m = on_device(matrix, {in, t.out}, x.dtype(), x.device());
    return transpose(op<"matmul">({transpose(x, axis, -1), m}), axis, -1);
  }
  Ints line(size_t(x.rank() - axis), 1);
  line[0] = t.out;
  Tensor y;
  for (int64_t k = 0; k < t.count; ++k) {
    const Tensor place = Tensor::from_host(t.place.data() + k * t.out, Ints{t.out}, DType::i64, x.device());
    Tensor part = op<"index_select">({x, place}, {axis});
    if (!t.weight.empty()) {
      const std::vector<double> w(t.weight.begin() + k * t.out, t.weight.begin() + (k + 1) * t.out);
      part = op<"mul">({part, on_device(w, line, x.dtype(), x.device())});
    }
    y = y.defined() ? op<"add">({y, part}) : part;
  }
  return y;
}

std::vector<double> scales_of(AttrSpan a) {
  if (!a[4].given()) return {};
  const auto* scales = std::get_if<std::vector<double>>(&a[4].value());
  check(scales, "[interpolate] expected a list of floats as scales, got another kind of attribute");
  return *scales;
}

Specs infer(const Inference& c) {
  const TensorSpec& x = c.input(0);
  const Ints& size = c.attr(0).ints();
  const Mode mode = mode_of(c.attr(1).string());
  const bool smooth = mode == Mode::linear || mode == Mode::cubic;
  c.check(x.shape.size() >= 3 && size.size() + 2 == x.shape.size(),
          "expected x (N, C, spatial...) and a size for every spatial axis, got ", str(x.shape), " and ", str(size));
  if (smooth) check_type(is_floating(x.dtype), c.name(), "floats", x.dtype);
  c.check(smooth || (!c.attr(2).boolean() && !c.attr(3).boolean()),
          "expected align_corners and antialias with modes \"linear\" and \"cubic\" only, got \"", c.attr(1).string(),
          "\"");
  const std::vector<double> scales = scales_of(c.attrs);
  c.check(scales.empty() || scales.size() == size.size(), "expected a scale for every spatial axis, got ",
          scales.size());
  for (double v : scales) c.check(v > 0, "expected scales above 0, got ", v);
  Shape y{x.shape[0], x.shape[1]};
  for (size_t i = 0; i < size.size(); ++i) {
    c.check(size[i] >= 1 && (!x.shape[2 + i].is_constant() || x.shape[2 + i].value() >= 1),
            "expected sizes of at least 1, got ", str(x.shape), " and ", str(size));
    y.push_back(size[i]);
  }
  return one({x.dtype, y});
}

}  // namespace

TG_OPS(interpolate) {
  TG_OP(interpolate)
      .family("nn")
      .doc(
          "Resamples the spatial axes: the nearest element, or a linear or cubic (a = -0.75) blend of the nearest two "
          "or "
          "four along each axis, as PyTorch does. With antialias the blend is as wide as an output's share of the "
          "input "
          "(cubic: a = -0.5). Errors: ValueError for sizes below 1 or an unknown mode.")
      .input("x", "[N, C, s...]")
      .attr("size", AttrKind::ints, "of the spatial axes: one number, or one for each")
      .attr("mode", AttrKind::string, "nearest", "nearest, nearest-exact, linear, cubic")
      .attr("align_corners", AttrKind::boolean, false, "the first and last elements keep their places, not the borders")
      .attr("antialias", AttrKind::boolean, false, "average over what an output covers when it shrinks")
      .optional_attr("scales", AttrKind::floats, "outputs per input of each axis; by the sizes if not given")
      .output("y", "[N, C, size...]")
      .function_only()
      .canonical([](std::span<const Arg> inputs, std::span<Attr> attrs) { spread(attrs[0], spatial_rank(inputs)); })
      .infer(infer)
      .decompose([](const Call& c) {
        const Specs spec = infer_now(c);
        const Mode mode = mode_of(c.attr(1).string());
        const std::vector<double> scales = scales_of(c.attrs);
        const Tensor& x = c.input(0);
        if (!x.numel()) return Tensors{zeros(concrete(spec[0].shape), x.dtype(), c.device)};
        const bool smooth = mode == Mode::linear || mode == Mode::cubic;
        Tensor y = smooth ? x.cast(acc_dtype(x.dtype())) : x;
        for (size_t i = 0; i < c.attr(0).ints().size(); ++i) {
          const int64_t axis = int64_t(i) + 2;
          const Taps t = taps_of(mode, x.size(axis), c.attr(0).ints()[i], c.attr(2).boolean(), c.attr(3).boolean(),
                                 scales.empty() ? 0 : 1 / scales[i]);
          if (!t.identity) y = resampled(y, axis, t);
        }
        return Tensors{same(y, x) ? op<"copy">({x}) : y.cast(x.dtype())};
      })
      .bounds(4, "taps of an output plus two for each axis, relative to the blend of magnitudes")
      .example(">>> tg.interpolate(tg.tensor([[[1., 3.]]]), 4, \"linear\").tolist()\n[[[1.0, 1.5, 2.5, 3.0]]]");
}

}  // namespace tg
