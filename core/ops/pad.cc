// SPDX-License-Identifier: Apache-2.0
// Borders around a tensor: of one value, or of its own elements.
#include "common.h"

namespace tg {
namespace {

enum class Mode { constant, reflect, replicate, circular };

Mode mode_of(const char* op, const Attr& a) {
  const std::string& m = a.string();
  if (m == "constant") return Mode::constant;
  if (m == "reflect") return Mode::reflect;
  if (m == "replicate" || m == "edge") return Mode::replicate;
  check(m == "circular" || m == "wrap", "[", op, "] expected a mode of constant, reflect, replicate or circular, got '", m,
        "'");
  return Mode::circular;
}

// padding: all begins, then all ends.
Specs infer_pad(const Inference& c) {
  TensorSpec y = c.input(0);
  const Ints& p = c.attr(0).ints();
  const size_t r = y.shape.size();
  const Mode mode = mode_of(c.name(), c.attr(2));
  c.check(p.size() == 2 * r, "expected ", 2 * r, " paddings (all begins, then all ends), got ", str(p));
  for (size_t i = 0; i < r; ++i) {
    const Dim n = y.shape[i];
    y.shape[i] = n + Dim(p[i]) + Dim(p[r + i]);
    c.check(!y.shape[i].is_constant() || y.shape[i].value() >= 0, "expected paddings that leave axis ", i, " of size ", n,
            " 0 or more, got ", str(p));
    const bool grows = p[i] > 0 || p[r + i] > 0;
    const int64_t cropped = mode == Mode::circular ? std::max<int64_t>(-p[i], 0) + std::max<int64_t>(-p[r + i], 0) : 0;
    c.check(mode == Mode::constant || !grows || !n.is_constant() || n.value() - cropped > (mode == Mode::reflect ? 1 : 0),
            "expected enough elements on axis ", i, " to fill a border in mode ", c.attr(2).string(), ", got size ", n);
  }
  check_value(c, c.attr(1), y.dtype);
  return one(y);
}

// Which element of an axis of n stands at every place of the padded one. What negative paddings crop does not come round again.
Tensor sources(int64_t n, int64_t before, int64_t after, Mode mode, Device* device) {
  const Tensor i = iota(n + before + after, double(-before), 1, DType::i64, device);
  if (mode == Mode::replicate) return op<"clip">({i, int64_t(0), n - 1});
  if (mode == Mode::circular) {
    const int64_t first = std::max<int64_t>(-before, 0), stay = n - first - std::max<int64_t>(-after, 0);
    return op<"add">({op<"remainder">({op<"sub">({i, first}), std::max<int64_t>(stay, 1)}), first});
  }
  const int64_t period = 2 * n - 2;  // there and back, the ends once
  const Tensor at = op<"remainder">({i, period});
  return op<"minimum">({at, op<"sub">({period, at})});
}

// Calls f(axis, sources) for the axes that change.
template <class F>
void each_axis(const Ints& shape, const Ints& p, Mode mode, Device* device, F&& f) {
  const size_t r = shape.size();
  for (size_t i = 0; i < r; ++i)
    if (p[i] || p[r + i]) f(int64_t(i), sources(shape[i], p[i], p[r + i], mode, device));
}

// The part of the padded tensor that is x's, and of x what stays, along one axis.
Tensor inside(const Tensor& y, const Ints& x_shape, const Ints& p) {
  Tensor t = y;
  for (size_t i = 0, r = x_shape.size(); i < r; ++i)
    if (p[i] || p[r + i])
      t = slice(t, int64_t(i), std::max<int64_t>(p[i], 0), y.shape()[i] - std::max<int64_t>(p[r + i], 0));
  return t;
}
Tensor cropped(const Tensor& x, const Ints& p) {
  Tensor t = x;
  for (size_t i = 0, r = x.shape().size(); i < r; ++i)
    if (p[i] < 0 || p[r + i] < 0)
      t = slice(t, int64_t(i), std::max<int64_t>(-p[i], 0), x.shape()[i] + std::min<int64_t>(p[r + i], 0));
  return t;
}

}  // namespace

TG_OPS(pad) {
  TG_OP(pad)
      .family("shape")
      .doc(
          "x with a border: of `value`, or of x's own elements: mirrored without repeating the edge (reflect), the edge again "
          "(replicate), from the other end (circular). Negative paddings crop. "
          "Errors: ValueError for paddings that leave less than nothing, or where there is nothing to fill a border with.")
      .input("x", "any tensor")
      .attr("padding", AttrKind::ints, "for every axis: all begins, then all ends")
      .attr("value", AttrKind::floating, 0.0, "what is put there in mode constant")
      .attr("mode", AttrKind::string, "constant", "constant, reflect, replicate (edge) or circular (wrap)")
      .infer(infer_pad)
      .decompose([](const Call& c) {
        const Ints shape = concrete(infer_now(c)[0].shape), &p = c.attr(0).ints();
        const Mode mode = mode_of("pad", c.attr(2));
        Tensor y = c.input(0);
        if (mode == Mode::constant) {
          y = op<"full">({}, {shape, c.attr(1), c.input(0).dtype()}, c.device);
          const Tensor x = cropped(c.input(0), p);
          if (x.numel()) copy_into(inside(y, c.input(0).shape(), p), x);
        } else {
          each_axis(c.input(0).shape(), p, mode, c.device,
                    [&](int64_t axis, const Tensor& from) { y = op<"index_select">({y, from}, {axis}); });
        }
        return Tensors{y.storage() == c.input(0).storage() ? op<"copy">({y}) : y};
      })
      .grad([](const Backward& b) {
        const Ints &p = b.attr(0).ints(), &shape = b.input_shape(0);
        const Mode mode = mode_of("pad", b.attr(2));
        Tensor g = b.grad();
        if (mode == Mode::constant) {
          Ints back;
          for (int64_t n : p) back.push_back(-n);
          return Tensors{op<"pad">({g}, {back})};
        }
        each_axis(shape, p, mode, g.device(), [&](int64_t axis, const Tensor& from) {
          Ints s = g.shape();
          s[axis] = shape[axis];
          g = op<"index_update">({zeros(s, g.dtype(), g.device()), g, from}, {Ints{axis}, Attr(), true});
        });
        return Tensors{g};
      })
      .saves(0, 0)
      .jvp([](const Forward& f) { return Tensors{op<"pad">({f.tangent(0)}, {f.attr(0), 0.0, f.attr(2)})}; })
      .batch([](const Batch& b) {
        const Ints& p = b.attr(0).ints();
        Ints padding{0};
        for (size_t i = 0; i < p.size(); ++i) {
          if (i == p.size() / 2) padding.push_back(0);
          padding.push_back(p[i]);
        }
        if (p.empty()) padding.push_back(0);
        return Tensors{op<"pad">({b.whole(0)}, {padding, b.attr(1), b.attr(2)})};
      })
      .bounds(0, "exact")
      .example(
          ">>> tg.pad(tg.tensor([1, 2]), (1, 2)).tolist()\n[0, 1, 2, 0, 0]\n"
          ">>> tg.pad(tg.tensor([1, 2, 3]), (1, 1), mode='reflect').tolist()\n[2, 1, 2, 3, 2]");
}

}  // namespace tg
