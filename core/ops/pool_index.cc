// SPDX-License-Identifier: Apache-2.0
// Pools whose users see where the maxima were, and their inverse.
#include "window.h"

namespace tg {
namespace {

Tensor flat_plane(const Tensor& t) {
  int64_t n = 1;
  for (int64_t i = 2; i < t.rank(); ++i) n *= t.size(i);
  return reshape(t, {t.size(0), t.size(1), n});
}

Shape planes(const Inference& c, const Ints& size) {
  const Shape& x = c.input(0).shape;
  c.check(x.size() >= 3 && size.size() + 2 == x.size(),
          "expected x (N, C, spatial...) and a size for every spatial axis, got ", str(x), " and ", str(size));
  Shape y{x[0], x[1]};
  for (int64_t s : size) {
    c.check(s >= 1, "expected sizes of at least 1, got ", str(size));
    y.push_back(s);
  }
  return y;
}

// For every window of an axis its elements, the last one repeated up to `longest`: the first of equals wins.
std::vector<int64_t> window_elements(int64_t in, int64_t out, int64_t* longest) {
  const auto begin = [&](int64_t i) { return i * in / out; };
  const auto end = [&](int64_t i) { return ((i + 1) * in + out - 1) / out; };
  *longest = 0;
  for (int64_t i = 0; i < out; ++i) *longest = std::max(*longest, end(i) - begin(i));
  std::vector<int64_t> all;
  for (int64_t i = 0; i < out; ++i)
    for (int64_t k = 0; k < *longest; ++k) all.push_back(std::min(begin(i) + k, end(i) - 1));
  return all;
}

}  // namespace

TG_OPS(pool_index) {
  TG_OP(max_pool_with_index)
      .family("nn")
      .doc("max_pool with the maxima's flat places in the plane s... (the first of equals). Errors: as max_pool.")
      .input("x", "[N, C, s...]")
      .attr("kernel", AttrKind::ints, "the window")
      .attr("stride", AttrKind::ints, Ints{}, "the windows' distance; the kernel by default")
      .attr("padding", AttrKind::ints, Ints{0}, "as max_pool; never wins")
      .attr("dilation", AttrKind::ints, Ints{1}, "distance of a window's elements")
      .output("y", "[N, C, t...]")
      .output("index", "i64, y's shape")
      .function_only()
      .canonical(
          [](std::span<const Arg> inputs, std::span<Attr> attrs) { op_named<"max_pool">().canonical(inputs, attrs); })
      .infer([](const Inference& c) {
        Specs s = op_named<"max_pool">().infer(c);
        s[1].dtype = DType::i64;
        return s;
      })
      .decompose([](const Call& c) {
        infer_now(c);
        const Tensors out = ops<"max_pool">({c.input(0)}, {c.attr(0), c.attr(1), c.attr(2), c.attr(3)});
        return Tensors{out[0], out[1].cast(DType::i64)};
      })
      .bounds(0, "exact")
      .example(">>> tg.max_pool_with_index(tg.tensor([[[1., 3., 2., 0.]]]), 2).index.tolist()\n[[[1, 2]]]");

  TG_OP(adaptive_max_pool)
      .family("nn")
      .doc(
          "The largest elements of as many windows as asked for, spread evenly over each spatial axis, and their flat "
          "places in the plane. Errors: ValueError for sizes below 1.")
      .input("x", "[N, C, s...]")
      .attr("output_size", AttrKind::ints, "windows: one number, or one for every spatial axis")
      .output("y", "[N, C, output_size...]")
      .output("index", "i64, y's shape")
      .function_only()
      .canonical([](std::span<const Arg> inputs, std::span<Attr> attrs) { spread(attrs[0], spatial_rank(inputs)); })
      .infer([](const Inference& c) {
        const Shape y = planes(c, c.attr(0).ints());
        for (size_t i = 2; i < y.size(); ++i)
          c.check(!c.input(0).shape[i].is_constant() || c.input(0).shape[i].value() > 0,
                  "expected spatial sizes of at least 1, got ", str(c.input(0).shape));
        return Specs{{c.input(0).dtype, y}, {DType::i64, y}};
      })
      .decompose([](const Call& c) {
        const Ints shape = concrete(infer_now(c)[0].shape), in = spatial_of(c.input(0).shape());
        const Tensor flat = flat_plane(c.input(0));
        const size_t d = in.size();
        // The flat places of every window's elements: [outputs, elements], a constant of the sizes.
        std::vector<int64_t> places{0};
        int64_t outputs = 1, elements = 1;
        for (size_t i = 0; i < d; ++i) {
          int64_t longest;
          const std::vector<int64_t> axis = window_elements(in[i], shape[2 + i], &longest);
          std::vector<int64_t> next;
          for (int64_t o = 0; o < outputs; ++o)
            for (int64_t p = 0; p < shape[2 + i]; ++p)
              for (int64_t e = 0; e < elements; ++e)
                for (int64_t k = 0; k < longest; ++k)
                  next.push_back(places[size_t(o * elements + e)] * in[i] + axis[size_t(p * longest + k)]);
          outputs *= shape[2 + i], elements *= longest;
          places = std::move(next);
        }
        if (!numel(shape)) return Tensors{zeros(shape, flat.dtype(), c.device), zeros(shape, DType::i64, c.device)};
        const Tensor place = Tensor::from_host(places.data(), Ints{outputs * elements}, DType::i64, c.device);
        const Ints window{shape[0], shape[1], outputs, elements};
        const Tensor values = reshape(op<"index_select">({flat.detach(), place}, {2}), window);
        const Tensor best = op<"argmax">({values}, {3, true});
        const Tensor index =
            reshape(op<"take_along_axis">({expand(reshape(place, {1, 1, outputs, elements}), window), best}, {3}),
                    {shape[0], shape[1], outputs});
        return Tensors{reshape(op<"take_along_axis">({flat, index}, {2}), shape), reshape(index, shape)};
      })
      .bounds(0, "exact")
      .example(">>> tg.adaptive_max_pool(tg.tensor([[[1., 3., 2., 0.]]]), 2).y.tolist()\n[[[3.0, 2.0]]]");

  TG_OP(max_unpool)
      .family("nn")
      .doc(
          "Zeros with x at its flat places in the plane: max_pool undone but for the others. Of equal places the last "
          "one stays; gradients assume that there are none. Errors: IndexError for a place outside the plane.")
      .input("x", "[N, C, t...]")
      .input("index", "integers, x's shape")
      .attr("size", AttrKind::ints, "spatial sizes of the result")
      .output("y", "[N, C, size...]")
      .function_only()
      .infer([](const Inference& c) {
        c.check(c.input(0).shape == c.input(1).shape, "expected an index of x's shape ", str(c.input(0).shape),
                ", got ", str(c.input(1).shape));
        check_type(is_index(c.input(1).dtype), c.name(), "an index of integers", c.input(1).dtype);
        return one({c.input(0).dtype, planes(c, c.attr(0).ints())});
      })
      .decompose([](const Call& c) {
        const TensorSpec spec = infer_now(c)[0];
        const Ints shape = concrete(spec.shape);
        const Tensor base = flat_plane(zeros(shape, spec.dtype, c.device));
        if (!c.input(0).numel()) return Tensors{reshape(base, shape)};
        return Tensors{reshape(op<"scatter">({base, flat_plane(c.input(1)), flat_plane(c.input(0))}, {2}), shape)};
      })
      .bounds(0, "exact")
      .example(">>> tg.max_unpool(tg.tensor([[[5.]]]), tg.tensor([[[1]]]), size=(2,)).tolist()\n[[[0.0, 5.0]]]");
}

}  // namespace tg
