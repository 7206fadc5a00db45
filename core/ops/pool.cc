// SPDX-License-Identifier: Apache-2.0
// Pooling over spatial axes: the largest or the mean of every window.
#include "window.h"

namespace tg {
namespace {

constexpr const char* kKernelDoc = "the window: one size, or one for every spatial axis";
constexpr const char* kStrideDoc = "the windows' distance; the kernel by default";
constexpr const char* kPaddingDoc = "one size, one for every spatial axis, or all begins and then all ends";

void canonical(std::span<const Arg> inputs, std::span<Attr> attrs) {
  const size_t d = spatial_rank(inputs);
  spread(attrs[0], d);
  if (attrs[1].ints().empty()) attrs[1] = attrs[0];
  spread(attrs[1], d);
  spread_padding(attrs[2], d);
}
void canonical_max(std::span<const Arg> inputs, std::span<Attr> attrs) {
  canonical(inputs, attrs);
  spread(attrs[3], spatial_rank(inputs));
}

Window max_window(AttrSpan a) { return {a[0].ints(), a[1].ints(), a[2].ints(), a[3].ints()}; }
Window avg_window(AttrSpan a) { return {a[0].ints(), a[1].ints(), a[2].ints(), Ints(a[0].ints().size(), 1)}; }

Shape pooled(const Inference& c, const Shape& x, const Window& w) {
  c.check(x.size() >= 3, "expected x of shape (N, C, spatial...), got ", str(x));
  const size_t d = x.size() - 2;
  check_window(c, w, d);
  Shape y{x[0], x[1]};
  for (size_t i = 0; i < d; ++i) {
    c.check(w.padding[i] < w.extent(i) && w.padding[d + i] < w.extent(i),
            "expected paddings below the kernel's extent ", w.extent(i), " on spatial axis ", i, ", got ", w.padding[i],
            " and ", w.padding[d + i]);
    y.push_back(window_count(c, w, i, x[2 + i]));
  }
  return y;
}
// x's shape for a gradient dy, checked.
Shape unpooled(const Inference& c, const Window& w) {
  const Shape& dy = c.input(0).shape;
  const Ints& size = c.attr(4).ints();
  c.check(dy.size() >= 3 && size.size() + 2 == dy.size(),
          "expected dy (N, C, spatial...) and a size for every spatial axis, got ", str(dy), " and ", str(size));
  Shape x{dy[0], dy[1]};
  for (int64_t s : size) x.push_back(s);
  c.check(pooled(c, x, w) == dy, "expected dy of the pooled shape ", str(pooled(c, x, w)), ", got ", str(dy));
  return x;
}

Attr lowest(DType t) {
  if (is_floating(t)) return -INFINITY;
  if (kind_of(t) != DKind::signed_int) return 0;
  return int64_t(uint64_t(-1) << (8 * size_of(t) - 1));
}

// i32 positions in the plane of what one tap touches: starts.. by strides on every axis.
Tensor tap_positions(const Window& w, const Ints& size, const Ints& firsts, const Ints& counts, Device* device) {
  Tensor sum;
  int64_t pitch = 1;
  for (size_t i = w.rank(); i-- > 0; pitch *= size[i]) {
    Ints line(w.rank() - i, 1);
    line[0] = counts[i];
    const Tensor p =
        reshape(iota(counts[i], double(firsts[i] * pitch), double(w.stride[i] * pitch), DType::i32, device), line);
    sum = sum.defined() ? op<"add">({p, sum}) : p;
  }
  return sum;
}

Tensors decompose_max(const Call& c) {
  const Specs spec = infer_now(c);
  const Tensor& x = c.input(0);
  const Window w = max_window(c.attrs);
  const Tensor y = op<"full">({}, {concrete(spec[0].shape), lowest(x.dtype()), x.dtype()}, c.device);
  const Tensor index = when(c.wants(1), [&] { return op<"full">({}, {y.shape(), -1, DType::i32}, c.device); });
  const Ints axes = spatial_axes(w.rank()), size = spatial_of(x.shape());
  if (y.numel())
    for_taps(w, [&](const Ints& tap) {
      Tensor from = x, best = y;
      Ints firsts(w.rank(), 0);
      if (!tap_views(w, tap, axes, axes, &from, &best, &firsts)) return;
      if (!index.defined()) {
        const Arg in[] = {best, from};
        const Tensor out[] = {best};
        call_into(op_named<"maximum">(), in, {}, out);
        return;
      }
      Tensor ignored = x, place = index;
      tap_views(w, tap, axes, axes, &ignored, &place);
      const Arg in[] = {best, place, from, tap_positions(w, size, firsts, spatial_of(from.shape()), c.device)};
      const Tensor out[] = {best, place};
      call_into(op_named<"max_pool_step">(), in, {}, out);
    });
  return {y, index};
}

Tensor flat_plane(const Tensor& t) {
  int64_t n = 1;
  for (int64_t i = 2; i < t.rank(); ++i) n *= t.size(i);
  return reshape(t, {t.size(0), t.size(1), n});
}

// How many elements every window averages over: one number, or a tensor of the output's spatial shape.
Arg divisor(const Call& c, const Window& w, const Ints& in, const Ints& out, DType t) {
  if (c.attr(3).boolean()) {
    double n = 1;
    for (int64_t k : w.kernel) n *= double(k);
    return n;
  }
  Tensor counts;
  for (size_t i = 0; i < w.rank(); ++i) {
    const Tensor start = iota(out[i], double(-w.padding[i]), double(w.stride[i]), DType::i64, c.device);
    const Tensor end = op<"minimum">({op<"add">({start, w.kernel[i]}), in[i]});
    Ints line(w.rank() - i, 1);
    line[0] = out[i];
    const Tensor n = reshape(op<"sub">({end, op<"maximum">({start, 0})}), line);
    counts = counts.defined() ? op<"mul">({counts, n}) : n;
  }
  return counts.cast(t);
}

Tensors decompose_avg(const Call& c) {
  const TensorSpec spec = infer_now(c)[0];
  const DType acc = acc_dtype(spec.dtype);
  const Tensor x = c.input(0).cast(acc), y = zeros(concrete(spec.shape), acc, c.device);
  const Window w = avg_window(c.attrs);
  const Ints axes = spatial_axes(w.rank());
  if (!y.numel()) return {y.cast(spec.dtype)};
  for_taps(w, [&](const Ints& tap) {
    Tensor from = x, into = y;
    if (tap_views(w, tap, axes, axes, &from, &into)) add_into(into, from);
  });
  return {op<"div">({y, divisor(c, w, spatial_of(x.shape()), spatial_of(y.shape()), acc)}).cast(spec.dtype)};
}

Tensors decompose_avg_backward(const Call& c) {
  const TensorSpec spec = infer_now(c)[0];
  const DType acc = acc_dtype(spec.dtype);
  const Tensor dx = zeros(concrete(spec.shape), acc, c.device), dy = c.input(0).cast(acc);
  if (!dy.numel()) return {dx.cast(spec.dtype)};
  const Window w = avg_window(c.attrs);
  const Ints axes = spatial_axes(w.rank());
  const Tensor share = op<"div">({dy, divisor(c, w, c.attr(4).ints(), spatial_of(dy.shape()), acc)});
  for_taps(w, [&](const Ints& tap) {
    Tensor into = dx, from = share;
    if (tap_views(w, tap, axes, axes, &into, &from)) add_into(into, from);
  });
  return {dx.cast(spec.dtype)};
}

void floats(const Inference& c) { check_type(is_floating(c.input(0).dtype), c.name(), "floats", c.input(0).dtype); }

// [n, out]: column i averages x[floor(i n / out)] to x[ceil((i + 1) n / out) - 1].
Tensor bins(int64_t n, int64_t out, DType t, Device* device) {
  const Tensor i = iota(out, 0, 1, DType::i64, device), j = reshape(iota(n, 0, 1, DType::i64, device), {n, 1});
  const Tensor start = op<"floor_divide">({op<"mul">({i, n}), out});
  const Tensor end = op<"floor_divide">({op<"add">({op<"mul">({i, n}), n + out - 1}), out});
  const Tensor inside = op<"logical_and">({op<"ge">({j, start}), op<"lt">({j, end})});
  return op<"div">({inside.cast(t), op<"sub">({end, start}).cast(t)});
}

}  // namespace

TG_OPS(pool) {
  const auto max_attrs = [](OpBuilder o) {
    return o.family("nn")
        .attr("kernel", AttrKind::ints, kKernelDoc)
        .attr("stride", AttrKind::ints, Ints{}, kStrideDoc)
        .attr("padding", AttrKind::ints, Ints{0}, kPaddingDoc)
        .attr("dilation", AttrKind::ints, Ints{1}, "distance of a window's elements")
        .canonical(canonical_max);
  };
  const auto avg_attrs = [](OpBuilder o) {
    return o.family("nn")
        .attr("kernel", AttrKind::ints, kKernelDoc)
        .attr("stride", AttrKind::ints, Ints{}, kStrideDoc)
        .attr("padding", AttrKind::ints, Ints{0}, kPaddingDoc)
        .attr("count_include_pad", AttrKind::integer, 1, "1: padding counts as zeros; 0: it does not count")
        .canonical(canonical);
  };

  max_attrs(TG_OP(max_pool).kernel().keeps_layout().input("x", "[N, C, s...]"))
      .doc(
          "The largest element of every window; NaN if any is. Padding never wins. "
          "Errors: ValueError where sizes do not fit.")
      .output("y", "[N, C, t...]")
      .hidden_output("index", "i32, y's shape: where in the plane s...; the first of equals")
      .infer([](const Inference& c) {
        const Shape y = pooled(c, c.input(0).shape, max_window(c.attrs));
        return Specs{{c.input(0).dtype, y}, {DType::i32, y}};
      })
      .decompose(decompose_max)
      .grad([](const Backward& b) {
        return Tensors{op<"max_pool_backward">(
            {b.grad(), b.output(1)}, {b.attr(0), b.attr(1), b.attr(2), b.attr(3), spatial_of(b.input_shape(0))})};
      })
      .saves(0, 2)
      .jvp([](const Forward& f) {
        const Tensor& index = f.output(1);
        return Tensors{reshape(op<"take_along_axis">({flat_plane(f.tangent(0)), flat_plane(index)}, {2}), index.shape()), Tensor()};
      })
      .batch_fold()
      .bounds(0, "exact")
      .example(">>> tg.max_pool(tg.tensor([[[1., 3., 2., 0.]]]), 2).tolist()\n[[[3.0, 2.0]]]");

  max_attrs(
      TG_OP(max_pool_backward).kernel().keeps_layout().input("dy", "[N, C, t...]").input("index", "i32, dy's shape"))
      .doc("The gradient of max_pool: dy added at index.")
      .attr("size", AttrKind::ints, "spatial sizes of x")
      .output("dx", "[N, C, s...]")
      .function_only()
      .infer([](const Inference& c) {
        c.check(c.input(0).shape == c.input(1).shape, "expected an index of dy's shape ", str(c.input(0).shape),
                ", got ", str(c.input(1).shape));
        check_type(c.input(1).dtype == DType::i32, c.name(), "an index of int32", c.input(1).dtype);
        return one({c.input(0).dtype, unpooled(c, max_window(c.attrs))});
      })
      .decompose([](const Call& c) {
        const TensorSpec spec = infer_now(c)[0];
        const Tensor dx = zeros(concrete(spec.shape), acc_dtype(spec.dtype), c.device),
                     dy = c.input(0).cast(acc_dtype(spec.dtype));
        if (!dy.numel()) return Tensors{dx.cast(spec.dtype)};
        return Tensors{
            reshape(op<"scatter_add">({flat_plane(dx), flat_plane(c.input(1)), flat_plane(dy)}, {2}), dx.shape())
                .cast(spec.dtype)};
      })
      .grad([](const Backward& b) {
        const Tensor& index = b.input(1);
        return Tensors{reshape(op<"take_along_axis">({flat_plane(b.grad()), flat_plane(index)}, {2}), index.shape()),
                       Tensor()};
      })
      .saves(2, 0)
      .linear({{0}})
      .batch_fold()
      .bounds(1, "windows that share an element, relative to the sum of magnitudes")
      .example(
          ">>> tg.max_pool_backward(tg.tensor([[[5.]]]), tg.tensor([[[1]]], dtype=tg.int32), 2, "
          "size=2).tolist()\n[[[0.0, 5.0]]]");

  TG_OP(max_pool_step)
      .internal()
      .family("nn")
      .doc("Takes v and its position where v beats the best so far.")
      .input("best", "so far")
      .input("index", "i32, -1 at first")
      .input("v", "a candidate")
      .input("position", "i32, its place")
      .output("best", "the new best")
      .output("index", "its place")
      .map(Promotion::none,
           [](MapBuilder& b, Values in, AttrSpan) -> MapResult {
             Value better = b.emit(TG_MAP_OR, b.emit(TG_MAP_LT, in[1], b.immediate(0, DType::i32)),
                                   b.emit(TG_MAP_LT, in[0], in[2]));
             if (is_floating(in[0].dtype))
               better = b.emit(TG_MAP_OR, better,
                               b.emit(TG_MAP_AND, b.emit(TG_MAP_NE, in[2], in[2]), b.emit(TG_MAP_EQ, in[0], in[0])));
             return {b.emit(TG_MAP_WHERE, better, in[2], in[0]), b.emit(TG_MAP_WHERE, better, in[3], in[1])};
           })
      .no_grad()
      .bounds(0, "exact");

  avg_attrs(TG_OP(avg_pool).kernel().keeps_layout().input("x", "[N, C, s...]"))
      .doc("The mean of every window. Errors: ValueError where sizes do not fit, TypeError for integers.")
      .output("y", "[N, C, t...]")
      .infer([](const Inference& c) {
        floats(c);
        return one({c.input(0).dtype, pooled(c, c.input(0).shape, avg_window(c.attrs))});
      })
      .decompose(decompose_avg)
      .grad([](const Backward& b) {
        return Tensors{op<"avg_pool_backward">(
            {b.grad()}, {b.attr(0), b.attr(1), b.attr(2), b.attr(3), spatial_of(b.input_shape(0))})};
      })
      .saves(0, 0)
      .linear({{0}})
      .batch_fold()
      .bounds(1, "the kernel's size plus one, relative to the mean of magnitudes")
      .example(">>> tg.avg_pool(tg.tensor([[[1., 3., 2., 0.]]]), 2).tolist()\n[[[2.0, 1.0]]]");

  avg_attrs(TG_OP(avg_pool_backward).kernel().keeps_layout().input("dy", "[N, C, t...]"))
      .doc("The gradient of avg_pool.")
      .attr("size", AttrKind::ints, "spatial sizes of x")
      .output("dx", "[N, C, s...]")
      .function_only()
      .infer([](const Inference& c) {
        floats(c);
        return one({c.input(0).dtype, unpooled(c, avg_window(c.attrs))});
      })
      .decompose(decompose_avg_backward)
      .grad([](const Backward& b) {
        return Tensors{op<"avg_pool">({b.grad()}, {b.attr(0), b.attr(1), b.attr(2), b.attr(3)})};
      })
      .saves(0, 0)
      .linear({{0}})
      .batch_fold()
      .bounds(1, "windows that share an element plus one, relative to the sum of magnitudes")
      .example(">>> tg.avg_pool_backward(tg.tensor([[[4.]]]), 2, size=2).tolist()\n[[[2.0, 2.0]]]");

  TG_OP(adaptive_avg_pool)
      .family("nn")
      .doc(
          "Means of as many windows as asked for, spread evenly over each spatial axis. Errors: ValueError for sizes "
          "below 1.")
      .input("x", "[N, C, s...]")
      .attr("output_size", AttrKind::ints, "windows: one number, or one for every spatial axis")
      .output("y", "[N, C, output_size...]")
      .canonical([](std::span<const Arg> inputs, std::span<Attr> attrs) { spread(attrs[0], spatial_rank(inputs)); })
      .infer([](const Inference& c) {
        floats(c);
        const Shape& x = c.input(0).shape;
        c.check(x.size() >= 3 && c.attr(0).ints().size() + 2 == x.size(),
                "expected x (N, C, spatial...) and a size for every spatial axis, got ", str(x), " and ",
                str(c.attr(0).ints()));
        Shape y{x[0], x[1]};
        for (int64_t s : c.attr(0).ints()) {
          c.check(s >= 1, "expected output sizes of at least 1, got ", str(c.attr(0).ints()));
          y.push_back(s);
        }
        return one({c.input(0).dtype, y});
      })
      .decompose([](const Call& c) {
        infer_now(c);
        const Tensor& x = c.input(0);
        const Ints &out = c.attr(0).ints(), in = spatial_of(x.shape());
        Ints kernel;
        for (size_t i = 0; i < out.size(); ++i)
          if (in[i] % out[i] == 0 && in[i]) kernel.push_back(in[i] / out[i]);
        if (kernel.size() == out.size())
          return Tensors{op<"avg_pool">({x}, {kernel, kernel, Ints(2 * kernel.size(), 0)})};
        Tensor y = x.cast(acc_dtype(x.dtype()));
        for (size_t i = 0; i < out.size(); ++i) {
          const int64_t axis = 2 + int64_t(i);
          if (out[i] == in[i]) continue;
          y = transpose(op<"matmul">({transpose(y, axis, -1), bins(in[i], out[i], y.dtype(), c.device)}), axis, -1);
        }
        return Tensors{y.cast(x.dtype())};
      })
      .bounds(4, "a window's elements and its share's rounding, relative to the mean of magnitudes")
      .example(">>> tg.adaptive_avg_pool(tg.tensor([[[1., 3., 2., 0.]]]), 2).tolist()\n[[[2.0, 1.0]]]");
}

}  // namespace tg
