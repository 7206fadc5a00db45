// SPDX-License-Identifier: Apache-2.0
// Convolution and its gradients in the cpu plugin.
#include "cpu_nn_fixture.h"

namespace tg::test {
namespace {

struct Conv {
  int64_t n, c, o, groups;
  Shape s, k, stride, padding, dilation;  // padding: begins, then ends

  Shape t() const {
    Shape out;
    for (size_t i = 0; i < s.size(); ++i) {
      out.push_back((s[i] + padding[i] + padding[s.size() + i] - dilation[i] * (k[i] - 1) - 1) / stride[i] + 1);
    }
    return out;
  }
  Shape x_shape() const { return join(n, c, s); }
  Shape w_shape() const { return join(o, c / groups, k); }
  Shape y_shape() const { return join(n, o, t()); }
  std::vector<Attr> attrs(Attr last) const {
    return {Attr::ints(stride), Attr::ints(padding), Attr::ints(dilation), Attr::integer(groups), last};
  }
  std::string name() const {
    return "N" + std::to_string(n) + " C" + std::to_string(c) + " O" + std::to_string(o) + " g" +
           std::to_string(groups) + " s" + text(s) + "k" + text(k) + "stride" + text(stride) + "pad" + text(padding) +
           "dil" + text(dilation);
  }

  // Calls f(x index, w index, y index) for every product in the convolution.
  void each(const std::function<void(int64_t, int64_t, int64_t)>& f) const {
    const Shape to = t();
    const int64_t outs = numel(to), taps = numel(k), ins = numel(s), cg = c / groups, og = o / groups;
    for (int64_t p = 0; p < outs; ++p) {
      for (int64_t tap = 0; tap < taps; ++tap) {
        int64_t at = 0, step = 1, rest_p = p, rest_t = tap;
        bool inside = true;
        for (size_t i = s.size(); i-- > 0;) {
          const int64_t in = rest_p % to[i] * stride[i] - padding[i] + rest_t % k[i] * dilation[i];
          inside = inside && in >= 0 && in < s[i];
          at += in * step, step *= s[i], rest_p /= to[i], rest_t /= k[i];
        }
        if (!inside) continue;
        for (int64_t b = 0; b < n; ++b) {
          for (int64_t oc = 0; oc < o; ++oc) {
            for (int64_t ic = 0; ic < cg; ++ic) {
              f((b * c + oc / og * cg + ic) * ins + at, (oc * cg + ic) * taps + tap, (b * o + oc) * outs + p);
            }
          }
        }
      }
    }
  }
};

void check_conv(tg_dtype dtype, const Conv& c, Order xo, Order yo, int64_t activation, bool with_bias) {
  const std::string what = std::string("conv ") + plugin::dtype_name(dtype) + " " + c.name();
  Tensor x = random(dtype, c.x_shape(), xo), w = random(dtype, c.w_shape()), bias = random(dtype, {c.o}),
         y = make(dtype, c.y_shape(), yo == Order::kExpanded ? Order::kPacked : yo);
  const Values vx = values(x), vw = values(w), vb = values(bias);
  Values sum(size_t(y.size())), bound(sum.size());
  c.each([&](int64_t xi, int64_t wi, int64_t yi) {
    sum[yi] += vx[xi] * vw[wi];
    bound[yi] += std::abs(vx[xi] * vw[wi]);
  });
  const double length = double(numel(c.w_shape()) / c.o + 8);
  const int64_t outs = numel(c.t());
  for (size_t i = 0; i < sum.size(); ++i) {
    const double b = with_bias ? vb[i / outs % c.o] : 0;
    sum[i] = activate(activation, sum[i] + b);
    bound[i] = length * (bound[i] + std::abs(b) + 1);
  }
  Call call{"conv", {&x, &w, with_bias ? &bias : nullptr}, {&y}, c.attrs(Attr::integer(activation)), {}};
  if (run(call, what)) expect_close(y, sum, bound, what);

  // both gradients, with the same orders
  Tensor dy = random(dtype, c.y_shape(), yo),
         dx = make(dtype, c.x_shape(), xo == Order::kExpanded ? Order::kPacked : xo), dw = make(dtype, c.w_shape());
  fill(dx), fill(dw);
  const Values vdy = values(dy);
  Values wdx(size_t(dx.size())), bdx(wdx.size()), wdw(size_t(dw.size())), bdw(wdw.size());
  c.each([&](int64_t xi, int64_t wi, int64_t yi) {
    wdx[xi] += vdy[yi] * vw[wi], bdx[xi] += std::abs(vdy[yi] * vw[wi]);
    wdw[wi] += vdy[yi] * vx[xi], bdw[wi] += std::abs(vdy[yi] * vx[xi]);
  });
  for (double& b : bdx) b *= double(numel(c.k) * c.o / c.groups + 1);
  for (double& b : bdw) b *= double(c.n * outs + 1);
  if (run({"conv_backward_data", {&dy, &w}, {&dx}, c.attrs(Attr::ints(c.s)), {}}, what + " dx")) {
    expect_close(dx, wdx, bdx, what + " dx");
  }
  if (run({"conv_backward_weight", {&x, &dy}, {&dw}, c.attrs(Attr::ints(c.k)), {}}, what + " dw")) {
    expect_close(dw, wdw, bdw, what + " dw");
  }
}

TEST(CpuConv, ChannelCountsAndLayouts) {
  for (const auto& [in, out] :
       {std::pair<int64_t, int64_t>{1, 6}, {3, 16}, {6, 16}, {16, 16}, {64, 3}, {16, 64}, {1, 1}}) {
    const Conv c{2, in, out, 1, {9, 8}, {3, 3}, {1, 1}, {1, 1, 1, 1}, {1, 1}};
    for (const Order xo : {Order::kPacked, Order::kChannelsLast, Order::kPadded, Order::kExpanded}) {
      for (const Order yo : {Order::kPacked, Order::kChannelsLast, Order::kExpanded})
        check_conv(kF32, c, xo, yo, 1, true);
    }
  }
}

TEST(CpuConv, Geometry) {
  const Conv cases[] = {
      {2, 6, 16, 1, {14, 14}, {5, 5}, {1, 1}, {0, 0, 0, 0}, {1, 1}},
      {1, 3, 8, 1, {15, 17}, {7, 7}, {2, 2}, {3, 3, 3, 3}, {1, 1}},
      {2, 16, 16, 1, {11, 12}, {3, 2}, {2, 1}, {1, 0, 2, 1}, {1, 1}},  // asymmetric padding
      {2, 16, 24, 1, {13, 13}, {3, 3}, {1, 2}, {2, 2, 2, 2}, {2, 3}},  // dilation
      {1, 17, 5, 1, {7, 7}, {1, 1}, {1, 1}, {0, 0, 0, 0}, {1, 1}},
      {2, 64, 32, 1, {6, 6}, {1, 1}, {2, 2}, {0, 0, 0, 0}, {1, 1}},
      {2, 4, 8, 2, {7, 6}, {3, 3}, {1, 1}, {1, 1, 1, 1}, {1, 1}},  // groups
      {2, 32, 64, 2, {7, 6}, {3, 3}, {2, 2}, {1, 1, 1, 1}, {1, 1}},
      {2, 16, 16, 16, {9, 9}, {3, 3}, {1, 1}, {1, 1, 1, 1}, {1, 1}},  // depthwise
      {1, 5, 5, 5, {9, 9}, {3, 3}, {2, 2}, {0, 1, 1, 0}, {1, 1}},
      {1, 6, 12, 6, {9, 9}, {3, 3}, {1, 1}, {1, 1, 1, 1}, {1, 1}},  // depthwise, multiplier 2
      {2, 3, 6, 1, {20}, {5}, {2}, {2, 1}, {1}},                    // 1d
      {1, 16, 16, 4, {31}, {3}, {1}, {2, 0}, {2}},
      {1, 2, 3, 1, {5, 6, 7}, {3, 3, 2}, {1, 2, 1}, {1, 1, 0, 1, 0, 1}, {1, 1, 1}},  // 3d
      {1, 16, 16, 1, {4, 5, 5}, {3, 3, 3}, {1, 1, 1}, {1, 1, 1, 1, 1, 1}, {1, 1, 1}},
      {3, 1, 1, 1, {1, 1}, {1, 1}, {1, 1}, {0, 0, 0, 0}, {1, 1}},
  };
  for (const Conv& c : cases) {
    check_conv(kF32, c, Order::kPacked, Order::kPacked, 0, false);
    check_conv(kF32, c, Order::kChannelsLast, Order::kChannelsLast, 4, true);
  }
}

TEST(CpuConv, ActivationsAnd16BitFloats) {
  const Conv c{2, 16, 32, 1, {8, 8}, {3, 3}, {1, 1}, {1, 1, 1, 1}, {1, 1}};
  for (int64_t activation = 0; activation <= 6; ++activation)
    check_conv(kF32, c, Order::kPacked, Order::kPacked, activation, true);
  check_conv(kBf16, c, Order::kPacked, Order::kPacked, 1, true);
  check_conv(kF16, c, Order::kChannelsLast, Order::kChannelsLast, 0, false);
}

}  // namespace
}  // namespace tg::test
