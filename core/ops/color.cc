// SPDX-License-Identifier: Apache-2.0
// Colour spaces, as OpenCV's cvtColor: a matrix over the channels and an offset.
#include <array>
#include <map>

#include "common.h"

namespace tg {
namespace {

using Row = std::array<double, 4>;  // weights of up to three channels, and of the offset of chroma
struct Conversion {
  int64_t from, to;  // channels
  std::vector<Row> rows;
  std::vector<int64_t> taken = {};  // instead of rows: which channels, -1 for a full alpha
};

// Y'UV and YCrCb after OpenCV's documentation, in terms of RGB; the offset is 1/2 for floats, 128 for bytes.
const Row kGray{0.299, 0.587, 0.114, 0};
Row difference(int channel, double factor) {  // factor * (channel - Y) + offset
  Row r{-kGray[0] * factor, -kGray[1] * factor, -kGray[2] * factor, 1};
  r[size_t(channel)] += factor;
  return r;
}
const std::vector<Row>& yuv_rows(bool crcb) {
  static const std::vector<Row> yuv{kGray, difference(2, 0.492), difference(0, 0.877)};
  static const std::vector<Row> ycc{kGray, difference(0, 0.713), difference(2, 0.564)};
  return crcb ? ycc : yuv;
}
// RGB of (Y, c1, c2): Y + a (c1 - offset) + b (c2 - offset).
Row back(double a, double b) { return {1, a, b, -(a + b)}; }
const std::vector<Row>& rgb_rows(bool crcb) {
  static const std::vector<Row> yuv{back(0, 1.140), back(-0.395, -0.581), back(2.032, 0)};
  static const std::vector<Row> ycc{back(1.403, 0), back(-0.714, -0.344), back(0, 1.773)};
  return crcb ? ycc : yuv;
}
std::vector<Row> swapped_inputs(std::vector<Row> rows) {
  for (Row& r : rows) std::swap(r[0], r[2]);
  return rows;
}
std::vector<Row> swapped_outputs(std::vector<Row> rows) {
  std::swap(rows[0], rows[2]);
  return rows;
}

const std::map<std::string, Conversion>& conversions() {
  static const std::map<std::string, Conversion> all = [] {
    std::map<std::string, Conversion> m;
    for (const bool bgr : {false, true}) {
      const std::string rgb = bgr ? "BGR" : "RGB", other = bgr ? "RGB" : "BGR";
      const std::vector<Row> gray{kGray};
      m[rgb + "2GRAY"] = {3, 1, bgr ? swapped_inputs(gray) : gray};
      m[rgb + "A2GRAY"] = {4, 1, bgr ? swapped_inputs(gray) : gray};
      m["GRAY2" + rgb] = {1, 3, {}, {0, 0, 0}};
      m[rgb + "2" + other] = {3, 3, {}, {2, 1, 0}};
      m[rgb + "2" + rgb + "A"] = {3, 4, {}, {0, 1, 2, -1}};
      m[rgb + "A2" + rgb] = {4, 3, {}, {0, 1, 2}};
      m[rgb + "A2" + other] = {4, 3, {}, {2, 1, 0}};
      for (const bool crcb : {false, true}) {
        const std::string yuv = crcb ? "YCrCb" : "YUV";
        m[rgb + "2" + yuv] = {3, 3, bgr ? swapped_inputs(yuv_rows(crcb)) : yuv_rows(crcb)};
        m[yuv + "2" + rgb] = {3, 3, bgr ? swapped_outputs(rgb_rows(crcb)) : rgb_rows(crcb)};
      }
    }
    return m;
  }();
  return all;
}

// Bytes as cameras give them: a plane of Y, then U and V of every second row and column, two planes or one of pairs.
struct Planar {
  bool pairs, v_first, video;  // video: Y is 16 to 235 (ITU-R BT.601), else all bytes (JPEG)
  int64_t to;
  bool bgr;
};
const std::map<std::string, Planar>& planar_modes() {
  static const std::map<std::string, Planar> all = [] {
    std::map<std::string, Planar> m;
    for (const bool pairs : {false, true})
      for (const bool v_first : {false, true}) {
        const std::string form = pairs ? (v_first ? "_NV21" : "_NV12") : (v_first ? "_YV12" : "_YU12");
        m["YUV2GRAY" + form] = {pairs, v_first, false, 1, false};
        for (const bool bgr : {false, true})
          for (const bool video : {false, true})
            m[(video ? "BT601_YUV2" : "YUV2") + std::string(bgr ? "BGR" : "RGB") + form] = {pairs, v_first, video, 3, bgr};
      }
    return m;
  }();
  return all;
}
const Planar* planar_mode(const std::string& name) {
  const auto found = planar_modes().find(name);
  return found == planar_modes().end() ? nullptr : &found->second;
}

const Conversion& conversion(const Inference& c) {
  const auto& all = conversions();
  const auto found = all.find(c.attr(0).string());
  if (found == all.end()) {
    std::string names;
    for (const auto& [name, unused] : all) names += name + ", ";
    for (const auto& [name, unused] : planar_modes()) names += (names.ends_with(", ") ? "" : ", ") + name;
    c.check(false, "expected one of ", names, ", got \"", c.attr(0).string(), "\"");
  }
  return found->second;
}

// The axes of rows and columns beside that of channels.
std::pair<size_t, size_t> planes(const Inference& c, size_t axis, size_t rank) {
  c.check(rank >= 3 && (axis + 1 == rank || axis + 3 == rank), "expected the channels on axis -1 or -3 for mode \"",
          c.attr(0).string(), "\", got ", c.attr(1).integer(), " of ", rank, " axes");
  return axis + 1 == rank ? std::pair{rank - 3, rank - 2} : std::pair{rank - 2, rank - 1};
}
TensorSpec infer_planar(const Inference& c, const Planar& k) {
  TensorSpec y = c.input(0);
  const int64_t rank = int64_t(y.shape.size());
  const size_t axis = size_t(normalize_axis(c.name(), c.attr(1).integer(), rank));
  const auto [rows, columns] = planes(c, axis, size_t(rank));
  check_type(y.dtype == DType::u8, c.name(), "uint8 for planes of YUV", y.dtype);
  const Dim r = y.shape[rows], w = y.shape[columns];
  c.check(y.shape[axis] == Dim(1) && (!r.is_constant() || r.value() % 3 == 0) && (!w.is_constant() || w.value() % 2 == 0),
          "expected one channel, 3 rows for every 2 of the image, and an even number of columns, got ", str(y.shape));
  y.shape[rows] = floor_div(r, 3) * Dim(2);
  y.shape[axis] = k.to;
  return y;
}
Tensors decompose_planar(const Call& c, const Planar& k, const TensorSpec& spec) {
  const Ints shape = concrete(spec.shape);
  const int64_t rank = int64_t(shape.size()), axis = normalize_axis("cvt_color", c.attr(1).integer(), rank);
  if (!numel(shape)) return {zeros(shape, spec.dtype, c.device)};
  const bool last = axis + 1 == rank;
  const int64_t h = shape[last ? rank - 3 : rank - 2], w = shape[last ? rank - 2 : rank - 1], n = numel(shape) / (h * w * k.to);
  const Tensor all = reshape(c.input(0), {n, h / 2 * 3, w});
  const Tensor gray = slice(all, 1, 0, h);
  if (k.to == 1) return {op<"copy">({reshape(gray, shape)})};
  const Tensor half = slice(all, 1, h, h / 2 * 3).contiguous().cast(DType::f32);
  const Tensor parts = k.pairs ? op<"permute">({reshape(half, {n, h / 2, w / 2, 2})}, {Ints{0, 3, 1, 2}}) : reshape(half, {n, 2, h / 2, w / 2});
  const auto chroma = [&](bool v) {  // of every pixel, around 0
    const Tensor plane = op<"sub">({op<"select">({parts}, {1, int64_t(v != k.v_first)}), 128.0});
    return reshape(expand(reshape(plane, {n, h / 2, 1, w / 2, 1}), {n, h / 2, 2, w / 2, 2}), {n, h, w});
  };
  const Tensor u = chroma(false), v = chroma(true);
  const Tensor y = k.video ? op<"mul">({op<"sub">({gray.cast(DType::f32), 16.0}), 1.164}) : gray.cast(DType::f32);
  const double weights[2][3][2] = {{{0, 1.402}, {-0.344, -0.714}, {1.772, 0}}, {{0, 1.596}, {-0.391, -0.813}, {2.018, 0}}};
  std::vector<Arg> out;
  for (int64_t i = 0; i < 3; ++i) {
    const double* weight = weights[k.video][k.bgr ? 2 - i : i];
    Tensor channel = y;
    if (weight[0] != 0) channel = op<"add">({channel, op<"mul">({u, weight[0]})});
    if (weight[1] != 0) channel = op<"add">({channel, op<"mul">({v, weight[1]})});
    out.push_back(op<"minimum">({op<"maximum">({op<"round">({channel}), 0.0}), 255.0}).cast(DType::u8));
  }
  const Attr at[] = {Attr(last ? 3 : 1)};
  return {reshape(call_one(op_named<"stack">(), out, at), shape)};
}

Specs infer(const Inference& c) {
  if (const Planar* planar = planar_mode(c.attr(0).string())) return one(infer_planar(c, *planar));
  TensorSpec y = c.input(0);
  check_type(is_floating(y.dtype) || y.dtype == DType::u8, c.name(), "floats or uint8", y.dtype);
  const Conversion& k = conversion(c);
  const size_t axis = size_t(normalize_axis(c.name(), c.attr(1).integer(), int64_t(y.shape.size())));
  c.check(y.shape[axis] == Dim(k.from), "expected ", k.from, " channels on axis ", axis, ", got ", str(y.shape));
  y.shape[axis] = k.to;
  return one(y);
}

Tensors decompose(const Call& c) {
  const TensorSpec spec = infer_now(c)[0];
  if (const Planar* planar = planar_mode(c.attr(0).string())) return decompose_planar(c, *planar, spec);
  const Conversion& k = conversions().at(c.attr(0).string());
  const bool bytes = spec.dtype == DType::u8;
  const int64_t axis = normalize_axis("cvt_color", c.attr(1).integer(), c.input(0).rank());
  const Tensor x = k.rows.empty() ? c.input(0) : c.input(0).cast(bytes ? DType::f32 : acc_dtype(spec.dtype));
  const auto channel = [&](int64_t i) { return slice(x, axis, i, i + 1); };
  std::vector<Arg> out;
  for (int64_t i : k.taken) {
    if (i >= 0) out.push_back(channel(i));
    else out.push_back(full(channel(0).shape(), bytes ? 255 : 1, spec.dtype, c.device));
  }
  for (const Row& r : k.rows) {
    Tensor y;
    for (int64_t i = 0; i < 3; ++i) {
      if (r[size_t(i)] == 0) continue;
      const Tensor part = r[size_t(i)] == 1 ? channel(i) : op<"mul">({channel(i), r[size_t(i)]});
      y = y.defined() ? op<"add">({y, part}) : part;
    }
    if (r[3] != 0) y = op<"add">({y, r[3] * (bytes ? 128 : 0.5)});
    if (bytes) y = op<"minimum">({op<"maximum">({op<"round">({y}), 0.0}), 255.0});
    out.push_back(y.cast(spec.dtype));
  }
  const Attr at[] = {Attr(axis)};
  return {out.size() == 1 ? op<"copy">({out[0]}) : call_one(op_named<"concat">(), out, at)};
}

}  // namespace

TG_OPS(color) {
  TG_OP(cvt_color)
      .family("vision")
      .doc(
          "An image in another colour space: RGB, BGR, RGBA, BGRA, GRAY, YUV and YCrCb, by OpenCV's formulas. Floats are 0 to 1 and "
          "are not clipped, bytes are rounded and clipped; chroma is centred at 1/2, or 128. Also bytes in planes, [..., 3 H / 2, W, 1]: Y, then U and V of every second row and "
          "column in pairs (NV12; V first: NV21) or planes (YU12; V first: YV12), by JPEG's formulas or, with BT601_, those of video. "
          "Errors: ValueError for another mode or number of channels.")
      .input("x", "floats or u8, with channels on an axis")
      .attr("mode", AttrKind::string, "such as RGB2GRAY, BGR2RGB, RGB2YUV, YCrCb2BGR, YUV2RGB_NV12, BT601_YUV2BGR_YU12")
      .attr("axis", AttrKind::integer, -1, "the channels': -1 for [..., H, W, C], -3 for [..., C, H, W]")
      .output("y", "x's shape with other channels, x's dtype")
      .function_only()
      .infer(infer)
      .decompose(decompose)
      .bounds(8, "three products and sums, relative to the channels' sum of magnitudes")
      .example(">>> tg.cvt_color(tg.tensor([[[1., 0.5, 0.25]]]), 'RGB2BGR').tolist()\n[[[0.25, 0.5, 1.0]]]");
}

}  // namespace tg
