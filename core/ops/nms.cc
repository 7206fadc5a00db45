// SPDX-License-Identifier: Apache-2.0
// Non-maximum suppression: of boxes that overlap too much the one with the best score stays. How many stay depends on the
// data, so the result is a buffer and a count; python/tengen/vision.py gives the part that counts.
#include "index.h"

namespace tg {
namespace {

constexpr int64_t kBlock = 64;

// [B, n] and [B, m], each with an axis for the other, so that a pair's operands broadcast.
Tensor rows(const Tensor& t, int64_t first, int64_t last) { return op<"unsqueeze">({slice(t, 1, first, last)}, {Ints{2}}); }
Tensor columns(const Tensor& t, int64_t first, int64_t last) { return op<"unsqueeze">({slice(t, 1, first, last)}, {Ints{1}}); }

struct Boxes {
  Tensor side[4], group;  // [B, n] each; group may be undefined
  double threshold;

  // [B, rows, columns]: do they overlap too much?
  Tensor above(int64_t row, int64_t row_end, int64_t column, int64_t column_end) const {
    std::vector<Arg> in;
    for (const Tensor& s : side) in.push_back(rows(s, row, row_end));
    for (const Tensor& s : side) in.push_back(columns(s, column, column_end));
    in.push_back(threshold);
    const Tensor m = call_one(op_named<"iou_above">(), in);
    if (!group.defined()) return m;
    return op<"logical_and">({m, op<"eq">({rows(group, row, row_end), columns(group, column, column_end)})});
  }
};

void step_into(const Tensor& keep, const Tensor& one, const Tensor& above) {
  const Arg in[] = {keep, one, above};
  const Tensor out[] = {keep};
  call_into(op_named<"nms_step">(), in, {}, out);
}

// Whether a box stays depends on all better ones that stay: there is no shorter chain than one step per box. A step is one
// small map within a block; what a finished block removes from those behind it is one matrix product's worth of maps.
Tensors decompose_keep(const Call& c) {
  const Ints shape = concrete(infer_now(c)[0].shape);
  const int64_t n = shape.back(), b = n ? numel(shape) / n : 0;
  const Tensor keep = full({b, n}, 1, DType::boolean, c.device);
  if (!keep.numel()) return {reshape(keep, shape)};
  Boxes boxes{{}, {}, c.attr(0).floating()};
  const Tensor flat = reshape(c.input(0), {b, n, 4});
  for (int64_t i = 0; i < 4; ++i) boxes.side[i] = op<"select">({flat}, {2, i});
  if (c.has(1)) boxes.group = reshape(c.input(1), {b, n});
  for (int64_t first = 0; first < n; first += kBlock) {
    const int64_t last = std::min(n, first + kBlock);
    const Tensor inside = boxes.above(first, last, first, last), mine = slice(keep, 1, first, last);
    for (int64_t i = 0; i + 1 < last - first; ++i) {
      const Tensor rest = slice(mine, 1, i + 1, last - first), from = op<"select">({inside}, {1, i});
      step_into(rest, slice(mine, 1, i, i + 1), slice(from, 1, i + 1, last - first));
    }
    if (last == n) break;
    const Tensor hit = op<"logical_and">({boxes.above(first, last, last, n), op<"unsqueeze">({mine}, {Ints{2}})});
    step_into(slice(keep, 1, last, n), full({}, 1, DType::boolean, c.device), op<"any">({hit}, {Ints{1}}));
  }
  return {reshape(keep, shape)};
}

Shape infer_rows(const Inference& c) {  // [..., n]
  const Shape& x = c.input(0).shape;
  c.check(x.size() >= 2 && x.back() == Dim(4), "expected boxes of shape (..., n, 4), got ", str(x));
  check_type(is_floating(c.input(0).dtype), c.name(), "boxes of floats", c.input(0).dtype);
  Shape y = x;
  y.erase(y.size() - 1);
  return y;
}
void check_threshold(const Inference& c) {
  const double t = c.attr(0).floating();
  c.check(t >= 0, "expected an iou_threshold of 0 or more, got ", t);
}

Tensors decompose_padded(const Call& c) {
  const Specs spec = infer_now(c);
  const Ints shape = concrete(spec[0].shape);
  const int64_t m = shape.back(), last = int64_t(shape.size()) - 1, n = c.input(0).size(last);
  const DType acc = acc_dtype(c.input(0).dtype());
  const Tensor order = ops<"floor_sort">({c.input(1)}, {last, true})[1];
  const Tensor boxes = op<"take_along_axis">({c.input(0), op<"unsqueeze">({order}, {Ints{-1}})}, {last});
  const Tensor groups = when(c.has(2), [&] { return op<"take_along_axis">({c.input(2).cast(DType::i64), order}, {last}); });
  const Tensor keep = op<"nms_keep">({boxes.cast(acc), groups}, {c.attr(0)});
  const Tensor count = op<"minimum">({op<"sum">({keep}, {Ints{last}, false}), m});
  if (!numel(shape) || !n) return {zeros(shape, DType::i64, c.device), count};
  const Tensor place = op<"sub">({op<"cumsum">({keep}, {last}), 1});
  const Tensor at = op<"minimum">({op<"where">({keep, place, m}), m});  // place m is thrown away
  Ints room = shape;
  room[last] = m + 1;
  return {slice(op<"scatter">({zeros(room, DType::i64, c.device), at, order}, {last}), last, 0, m), count};
}

}  // namespace

TG_OPS(nms) {
  TG_OP(iou_above)
      .internal()
      .family("vision")
      .doc("Whether the intersection over union of two boxes is above a threshold. Every step rounds to the dtype.")
      .input("ax1", "a side").input("ay1", "a side").input("ax2", "a side").input("ay2", "a side")
      .input("bx1", "a side").input("by1", "a side").input("bx2", "a side").input("by2", "a side")
      .input("threshold", "a number")
      .output("y", "bool")
      .map(Promotion::compare,
           [](MapBuilder& b, Values in, AttrSpan) -> MapResult {
             const Value zero = b.immediate(0.0, in[0].dtype);
             const auto sub = [&](Value x, Value y) { return b.emit(TG_MAP_SUB, x, y); };
             const auto mul = [&](Value x, Value y) { return b.emit(TG_MAP_MUL, x, y); };
             const auto inner = [&](size_t lo, size_t hi) {
               return b.emit(TG_MAP_MAX, sub(b.emit(TG_MAP_MIN, in[hi], in[hi + 4]), b.emit(TG_MAP_MAX, in[lo], in[lo + 4])), zero);
             };
             const Value area_a = mul(sub(in[2], in[0]), sub(in[3], in[1])), area_b = mul(sub(in[6], in[4]), sub(in[7], in[5]));
             const Value both = mul(inner(0, 2), inner(1, 3));
             const Value iou = b.emit(TG_MAP_DIV, both, sub(b.emit(TG_MAP_ADD, area_a, area_b), both));
             return b.emit(TG_MAP_LT, in[8], iou);
           })
      .no_grad()
      .bounds(0, "exact");

  TG_OP(nms_step)
      .internal()
      .family("vision")
      .doc("keep and not (one and above).")
      .input("keep", "bool")
      .input("one", "bool: the box that suppresses is there")
      .input("above", "bool: it overlaps too much")
      .output("keep", "bool")
      .map(Promotion::common,
           [](MapBuilder& b, Values in, AttrSpan) -> MapResult {
             return b.emit(TG_MAP_AND, in[0], b.emit(TG_MAP_NOT, b.emit(TG_MAP_AND, in[1], in[2])));
           })
      .no_grad()
      .bounds(0, "exact");

  TG_OP(nms_keep)
      .kernel()
      .internal()
      .family("vision")
      .doc(
          "Of boxes that are ordered by score, best first, those that overlap no better one that stays by more than a threshold. "
          "Memory of the decomposition: 64 n bytes; n small maps, one after the other.")
      .input("boxes", "[..., n, 4], f32 or f64")
      .optional_input("groups", "i64 [..., n]: boxes of other groups do not count")
      .attr("iou_threshold", AttrKind::floating, "more overlap than this suppresses")
      .output("keep", "bool [..., n]")
      .infer([](const Inference& c) {
        const Shape y = infer_rows(c);
        check_threshold(c);
        c.check(!c.has(1) || c.input(1).shape == y, "expected groups of shape ", str(y), ", got ",
                str(c.has(1) ? c.input(1).shape : y));
        return one({DType::boolean, y});
      })
      .decompose(decompose_keep)
      .no_grad()
      .batch_axes({})
      .bounds(0, "exact, but for pairs whose overlap is within rounding of the threshold");

  TG_OP(nms_padded)
      .family("vision")
      .doc(
          "Non-maximum suppression into a buffer: the indices of the boxes that stay, best score first, and how many they are; the "
          "rest of the buffer is 0. A box goes when its intersection over union with a better one that stays is above the "
          "threshold. Equal scores count in their order. vision.nms gives the part that counts. "
          "Errors: ValueError where shapes do not fit.")
      .input("boxes", "[..., n, 4], x1, y1, x2, y2; floats")
      .input("scores", "[..., n]")
      .optional_input("groups", "integers [..., n], such as classes: boxes of other groups do not count")
      .attr("iou_threshold", AttrKind::floating, "0 or more")
      .optional_attr("max_output", AttrKind::integer, "room for so many, the best; n by default")
      .output("index", "i64 [..., max_output]")
      .output("count", "i64 [...]: how many stay")
      .function_only()
      .infer([](const Inference& c) {
        Shape y = infer_rows(c);
        check_threshold(c);
        c.check(c.input(1).shape == y, "expected scores of shape ", str(y), ", got ", str(c.input(1).shape));
        if (c.has(2)) {
          check_index(c, 2);
          c.check(c.input(2).shape == y, "expected groups of shape ", str(y), ", got ", str(c.input(2).shape));
        }
        const Dim n = y.back();
        y.erase(y.size() - 1);
        const TensorSpec count{DType::i64, y};
        y.push_back(n);
        if (c.attr(1).given()) {
          const int64_t m = c.attr(1).integer();
          c.check(m >= 0, "expected a max_output of 0 or more, got ", m);
          if (!n.is_constant() || m < n.value()) y.back() = Dim(m);
        }
        return Specs{{DType::i64, y}, count};
      })
      .decompose(decompose_padded)
      .no_grad()
      .bounds(0, "exact, but for pairs whose overlap is within rounding of the threshold")
      .example(
          ">>> boxes = tg.tensor([[0., 0., 2., 2.], [0., 0., 2., 1.9], [3., 3., 4., 4.]])\n"
          ">>> index, count = tg.nms_padded(boxes, tg.tensor([0.5, 0.9, 0.1]), iou_threshold=0.5)\n"
          ">>> index.tolist(), count.item()\n([1, 2, 0], 2)");
}

}  // namespace tg
