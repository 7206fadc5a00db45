// SPDX-License-Identifier: Apache-2.0
//
// The composite ops of the cpu plugin (linear, conv, pooling, normalisation, softmax) and the shapes of matmul that
// take different kernels there, against loops in double precision written from docs/design/001-op-schemas.md. A result
// may differ by accumulation length * eps of the accumulation dtype * the sum of magnitudes, and one rounding to its
// dtype.
//
//   cpu_nn_test libtengen_cpu.so
#include <gtest/gtest.h>

#include <functional>

#include "plugin_harness.h"
#include "test_numbers.h"

namespace tg::test {
namespace {

std::unique_ptr<Plugin> g_plugin;
Random g_random(7);

using Values = std::vector<double>;

constexpr tg_dtype kF32 = plugin::dtype_of<float>::value, kF64 = plugin::dtype_of<double>::value,
                   kBf16 = plugin::dtype_of<bfloat16>::value, kF16 = plugin::dtype_of<half>::value,
                   kI32 = plugin::dtype_of<int32_t>::value;

Attr real(double f) {
  Attr a;
  a.kind = TG_ATTR_FLOAT;
  a.f = f;
  return a;
}

double value(const Tensor& t, int64_t i) {
  return plugin::visit(t.dtype(), [&](auto tag) { return double(number(t.get<typename decltype(tag)::type>(i))); });
}

Values values(const Tensor& t) {
  Values all;
  for (int64_t i = 0; i < t.size(); ++i) all.push_back(value(t, i));
  return all;
}

void fill(Tensor& t, double low = -1, double high = 1) {
  std::uniform_real_distribution<double> real(low, high);
  plugin::visit(t.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    if constexpr (!is_bool<T>) {
      for (int64_t i = 0; i < t.size(); ++i) t.put(i, element<T>(real(g_random)));
    }
  });
}

enum class Order { kPacked, kChannelsLast, kPadded, kExpanded };  // kExpanded: stride 0 everywhere (inputs only)

Tensor make(tg_dtype dtype, Shape shape, Order order = Order::kPacked) {
  switch (order) {
    case Order::kPadded:
      return Tensor(dtype, shape, Layout::padded);
    case Order::kExpanded:
      return Tensor(dtype, shape, Shape(shape.size(), 0));
    case Order::kChannelsLast: {
      Shape strides(shape.size());
      strides[1] = 1;
      int64_t step = shape[1];
      for (size_t i = shape.size(); i-- > 2;) strides[i] = step, step *= shape[i];
      strides[0] = step;
      return Tensor(dtype, shape, strides);
    }
    default:
      return Tensor(dtype, shape);
  }
}

Tensor random(tg_dtype dtype, Shape shape, Order order = Order::kPacked, double low = -1, double high = 1) {
  Tensor t = make(dtype, shape, order);
  fill(t, low, high);
  return t;
}

double eps_of(tg_dtype dtype) {
  return plugin::visit(dtype, [](auto tag) {
    using T = typename decltype(tag)::type;
    if constexpr (is_float<T>) return double(eps<T>());
    return 0.0;
  });
}

// Every element of `got` within bound[i] (in units of eps of the accumulation dtype) plus one rounding of want[i].
void expect_close(const Tensor& got, const Values& want, const Values& bound, const std::string& what) {
  ASSERT_EQ(size_t(got.size()), want.size()) << what;
  const double accumulate = plugin::operator==(got.dtype(), kF64) ? eps_of(kF64) : eps_of(kF32);
  const double smallest = plugin::operator==(got.dtype(), kF16) ? 0x1p-24 : 1e-37;  // gap between subnormal numbers
  for (int64_t i = 0; i < got.size(); ++i) {
    const double tolerance = accumulate * bound[i] + 1.01 * eps_of(got.dtype()) * std::abs(want[i]) + smallest;
    const double difference = std::abs(value(got, i) - want[i]);
    ASSERT_TRUE(difference <= tolerance) << what << " element " << i << ": expected " << want[i] << " within "
                                         << tolerance << ", got " << value(got, i);
  }
}

// True if a plan was made and ran. On refusal the test is told why; 16-bit floats need CPU features that may lack.
bool run(const Call& call, const std::string& what) {
  const auto rows = g_plugin->candidates(call);
  if (rows.empty()) {
    ADD_FAILURE() << what << ": no row of " << call.op << " takes these dtypes";
    return false;
  }
  Outcome outcome = g_plugin->run(call, rows[0]);
  EXPECT_EQ(outcome.breach, "") << what;
  if (!outcome.accepted) {
    bool sixteen = false;
    for (const auto* list : {&call.inputs, &call.outputs}) {
      for (const Tensor* t : *list) sixteen |= t && t->dtype().bits == 16;
    }
    EXPECT_TRUE(sixteen) << what << " was refused: " << outcome.message;
    if (sixteen) std::printf("[ refused  ] %s: %s\n", what.c_str(), outcome.message.c_str());
    return false;
  }
  EXPECT_EQ(outcome.status, TG_OK) << what << ": " << outcome.message;
  return outcome.status == TG_OK;
}

std::string text(const Shape& s) {
  std::string t = "[";
  for (int64_t d : s) t += std::to_string(d) + " ";
  return t + "]";
}

// ---- matmul, linear -------------------------------------------------------------------------------------------------

double activate(int64_t kind, double v) {
  switch (kind) {
    case 1:
      return std::max(v, 0.0);
    case 2:
      return 0.5 * v * std::erfc(-v / std::sqrt(2.0));
    case 3:
      return 0.5 * v * (1 + std::tanh(std::sqrt(2 / M_PI) * (v + 0.044715 * v * v * v)));
    case 4:
      return v / (1 + std::exp(-v));
    case 5:
      return 1 / (1 + std::exp(-v));
    case 6:
      return std::tanh(v);
    default:
      return v;
  }
}

struct Product {
  Shape batch;
  int64_t m, n, k;
};

void check_matmul(tg_dtype dtype, const Product& p, bool ta, bool tb, bool ty, int beta, bool broadcast_a,
                  bool broadcast_b) {
  const std::string what = std::string("matmul ") + plugin::dtype_name(dtype) + text(p.batch) + std::to_string(p.m) +
                           "x" + std::to_string(p.n) + "x" + std::to_string(p.k) + (ta ? " ta" : "") +
                           (tb ? " tb" : "") + (ty ? " ty" : "") + (beta ? " beta" : "") + (broadcast_a ? " ba" : "") +
                           (broadcast_b ? " bb" : "");
  const auto tensor = [&](int64_t rows, int64_t columns, bool transposed, bool broadcast) {
    Shape shape = p.batch, strides(p.batch.size());
    int64_t step = rows * columns;
    for (size_t i = p.batch.size(); i-- > 0;) strides[i] = broadcast ? 0 : step, step *= p.batch[i];
    shape.push_back(rows), shape.push_back(columns);
    strides.push_back(transposed ? 1 : columns), strides.push_back(transposed ? rows : 1);
    return Tensor(dtype, shape, strides);
  };
  Tensor a = tensor(p.m, p.k, ta, broadcast_a), b = tensor(p.k, p.n, tb, broadcast_b), y = tensor(p.m, p.n, ty, false);
  const bool integers = eps_of(dtype) == 0;
  fill(a, integers ? -9 : -1, integers ? 9 : 1), fill(b, integers ? -9 : -1, integers ? 9 : 1), fill(y);
  const Values va = values(a), vb = values(b), before = values(y);
  Values want(before.size()), bound(before.size());
  for (int64_t i = 0; i < y.size(); ++i) {
    const int64_t column = i % p.n, row = i / p.n % p.m, batch = i / (p.n * p.m);
    double sum = beta ? before[i] : 0, magnitude = std::abs(sum);
    for (int64_t q = 0; q < p.k; ++q) {
      const double term = va[(batch * p.m + row) * p.k + q] * vb[(batch * p.k + q) * p.n + column];
      sum += term, magnitude += std::abs(term);
    }
    want[i] = sum, bound[i] = double(p.k + 1) * magnitude;
  }
  if (run({"matmul", {&a, &b}, {&y}, {Attr::integer(beta)}, {}}, what)) expect_close(y, want, bound, what);
}

TEST(CpuMatmul, SizesTransposesAndBeta) {
  const Product sizes[] = {{{}, 1, 1, 1},    {{}, 3, 5, 7},   {{}, 16, 16, 16}, {{}, 1, 300, 65},
                           {{}, 130, 1, 33}, {{}, 97, 65, 1}, {{}, 64, 64, 64}, {{}, 129, 201, 270}};
  for (const Product& p : sizes) {
    for (int bits = 0; bits < 16; ++bits) {
      check_matmul(kF32, p, bits & 1, bits & 2, bits & 4, bits >> 3, false, false);
    }
  }
}

TEST(CpuMatmul, BatchAndBroadcast) {
  for (const Shape& batch : {Shape{3}, Shape{2, 3}, Shape{2, 1, 3}, Shape{1}}) {
    for (int bits = 0; bits < 16; ++bits) {
      check_matmul(kF32, {batch, 17, 33, 19}, bits & 1, bits & 2, false, 0, bits & 4, bits & 8);
      check_matmul(kF32, {batch, 2, 3, 4}, bits & 1, bits & 2, false, 1, bits & 4, bits & 8);
    }
  }
}

TEST(CpuMatmul, Dtypes) {
  for (const tg_dtype dtype :
       {kF64, kF16, kBf16, kI32, plugin::dtype_of<int64_t>::value, plugin::dtype_of<int16_t>::value}) {
    for (int bits = 0; bits < 8; ++bits) {
      check_matmul(dtype, {{}, 13, 21, 34}, bits & 1, bits & 2, false, bits >> 2, false, false);
      check_matmul(dtype, {{2}, 100, 203, 300}, bits & 1, bits & 2, false, bits >> 2, false, true);
    }
  }
}

TEST(CpuMatmul, IntegersWrap) {
  Tensor a = Tensor::of<uint8_t>({1, 3}, {200, 3, 255}), b = Tensor::of<uint8_t>({3, 1}, {2, 100, 255});
  Tensor y = Tensor::of<uint8_t>({1, 1}, {9});
  ASSERT_TRUE(run({"matmul", {&a, &b}, {&y}, {Attr::integer(1)}, {}}, "u8"));
  EXPECT_EQ(y.get<uint8_t>(0), uint8_t(400 + 300 + 65025 + 9));
}

TEST(CpuMatmul, StridesThatNoLibraryTakes) {
  for (const Layout layout : kLayouts) {
    for (const Shape& shape : {Shape{5, 6, 7}, Shape{2, 40, 50}}) {
      const int64_t batch = shape[0], m = shape[1], k = shape[2], n = 9;
      Tensor a(kF32, shape, layout), b(kF32, {batch, k, n}, layout), y(kF32, {batch, m, n}, layout);
      fill(a), fill(b), fill(y);
      const Values va = values(a), vb = values(b);
      Values want(size_t(y.size())), bound(want.size());
      for (int64_t i = 0; i < y.size(); ++i) {
        for (int64_t q = 0; q < k; ++q) {
          const double term = va[(i / n) * k + q] * vb[(i / (n * m) * k + q) * n + i % n];
          want[i] += term, bound[i] += double(k) * std::abs(term);
        }
      }
      if (run({"matmul", {&a, &b}, {&y}, {Attr::integer(0)}, {}}, "strided")) expect_close(y, want, bound, "strided");
    }
  }
}

TEST(CpuMatmul, RepeatedElements) {
  for (const Shape& strides : {Shape{0, 0}, Shape{0, 1}, Shape{1, 0}, Shape{1, 1}}) {  // the last: overlapping rows
    for (const int64_t n : {7, 70}) {
      Tensor a(kF32, {33, 40}, strides), b(kF32, {40, n}), y(kF32, {33, n});
      fill(a), fill(b), fill(y);
      const Values va = values(a), vb = values(b);
      Values want(size_t(y.size())), bound(want.size());
      for (int64_t i = 0; i < y.size(); ++i) {
        for (int64_t q = 0; q < 40; ++q) {
          const double term = va[i / n * 40 + q] * vb[q * n + i % n];
          want[i] += term, bound[i] += 40 * std::abs(term);
        }
      }
      const std::string what = "repeated a " + text(strides);
      if (run({"matmul", {&a, &b}, {&y}, {Attr::integer(0)}, {}}, what)) expect_close(y, want, bound, what);
    }
  }
}

void check_linear(tg_dtype dtype, Shape lead, int64_t n, int64_t k, int64_t activation, bool with_bias,
                  bool transposed) {
  const std::string what = std::string("linear ") + plugin::dtype_name(dtype) + text(lead) + std::to_string(n) + "x" +
                           std::to_string(k) + " act " + std::to_string(activation);
  Shape xs = lead, ys = lead;
  xs.push_back(k), ys.push_back(n);
  Tensor x = random(dtype, xs), bias = random(dtype, {n}), y = make(dtype, ys);
  Tensor w(dtype, {n, k}, transposed ? Layout::reversed : Layout::packed);
  fill(w);
  const Values vx = values(x), vw = values(w), vb = values(bias);
  Values want(size_t(y.size())), bound(want.size());
  for (int64_t i = 0; i < y.size(); ++i) {
    double sum = with_bias ? vb[i % n] : 0, magnitude = std::abs(sum);
    for (int64_t q = 0; q < k; ++q) {
      const double term = vx[i / n * k + q] * vw[i % n * k + q];
      sum += term, magnitude += std::abs(term);
    }
    want[i] = activate(activation, sum);
    bound[i] =
        double(k + 8) * (magnitude + 1);  // an activation's slope is at most 1.13; its own error is a few ulp of 1
  }
  Call call{"linear", {&x, &w, with_bias ? &bias : nullptr}, {&y}, {Attr::integer(activation)}, {}};
  if (run(call, what)) expect_close(y, want, bound, what);
}

TEST(CpuLinear, All) {
  for (int64_t activation = 0; activation <= 6; ++activation) {
    for (const bool bias : {false, true}) {
      check_linear(kF32, {5}, 7, 3, activation, bias, false);
      check_linear(kF32, {2, 3, 4}, 65, 130, activation, bias, true);
      check_linear(kBf16, {6}, 32, 48, activation, bias, false);
      check_linear(kF16, {6}, 32, 48, activation, bias, false);
    }
  }
  check_linear(kF32, {}, 10, 20, 1, true, false);
  check_linear(kF32, {64}, 10, 84, 0, true, false);
  check_linear(kF32, {1}, 1, 1, 2, true, false);
}

// ---- convolution ----------------------------------------------------------------------------------------------------

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
  static Shape join(int64_t a, int64_t b, const Shape& rest) {
    Shape all{a, b};
    all.insert(all.end(), rest.begin(), rest.end());
    return all;
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

// ---- pooling --------------------------------------------------------------------------------------------------------

struct Pool {
  int64_t n, c;
  Shape s, k, stride, padding, dilation, t;  // t is given: ceil mode is the caller's business
};

// Calls f(output position, input position) for every tap inside x, in row-major order of taps.
void each_tap(const Pool& p, const std::function<void(int64_t, int64_t)>& f) {
  const int64_t outs = numel(p.t), taps = numel(p.k);
  for (int64_t o = 0; o < outs; ++o) {
    for (int64_t tap = 0; tap < taps; ++tap) {
      int64_t at = 0, step = 1, ro = o, rt = tap;
      bool inside = true;
      for (size_t i = p.s.size(); i-- > 0;) {
        const int64_t in = ro % p.t[i] * p.stride[i] - p.padding[i] + rt % p.k[i] * p.dilation[i];
        inside = inside && in >= 0 && in < p.s[i];
        at += in * step, step *= p.s[i], ro /= p.t[i], rt /= p.k[i];
      }
      if (inside) f(o, at);
    }
  }
}

const Pool kPools[] = {
    {2, 3, {8, 8}, {2, 2}, {2, 2}, {0, 0, 0, 0}, {1, 1}, {4, 4}},
    {2, 70, {9, 7}, {3, 3}, {2, 2}, {1, 1, 1, 1}, {1, 1}, {5, 4}},
    {1, 5, {7, 7}, {2, 3}, {1, 2}, {1, 0, 0, 1}, {2, 1}, {6, 3}},
    {1, 4, {7, 7}, {3, 3}, {2, 2}, {0, 0, 0, 0}, {1, 1}, {3, 3}},
    {1, 4, {8, 8}, {3, 3}, {2, 2}, {0, 0, 0, 0}, {1, 1}, {4, 4}},  // the last window reaches past the end
    {2, 3, {11}, {4}, {3}, {1, 1}, {1}, {4}},
    {1, 2, {4, 5, 6}, {2, 2, 2}, {2, 2, 2}, {0, 1, 0, 0, 0, 0}, {1, 1, 1}, {2, 3, 3}},
};

TEST(CpuPool, Max) {
  for (const Pool& p : kPools) {
    for (const tg_dtype dtype : {kF32, kF64, kBf16, kF16, kI32}) {
      for (const Order order : {Order::kPacked, Order::kChannelsLast, Order::kPadded}) {
        const std::string what = std::string("max_pool ") + plugin::dtype_name(dtype) + text(p.s);
        const bool integers = eps_of(dtype) == 0;
        Tensor x = random(dtype, Conv::join(p.n, p.c, p.s), order, integers ? -3 : -1, integers ? 3 : 1);
        const Shape ys = Conv::join(p.n, p.c, p.t);
        Tensor y = make(dtype, ys, order), index = make(kI32, ys);
        if (plugin::operator==(dtype, kF32)) {
          x.put(1, std::numeric_limits<float>::quiet_NaN());
          x.put(3, std::numeric_limits<float>::quiet_NaN());
          for (int64_t i = 0; i < numel(p.s); ++i) x.put(numel(p.s) + i, -std::numeric_limits<float>::infinity());
        }
        const Values vx = values(x);
        const std::vector<Attr> attrs{Attr::ints(p.k), Attr::ints(p.stride), Attr::ints(p.padding),
                                      Attr::ints(p.dilation)};
        ASSERT_TRUE(run({"max_pool", {&x}, {&y, &index}, attrs, {}}, what));
        const int64_t area = numel(p.s), outs = numel(p.t);
        std::vector<int64_t> where(size_t(y.size()), -1);
        for (int64_t plane = 0; plane < p.n * p.c; ++plane) {
          each_tap(p, [&](int64_t o, int64_t i) {
            int64_t& best = where[plane * outs + o];
            const double v = vx[plane * area + i];
            const double b = best < 0 ? 0 : vx[plane * area + best];
            if (best < 0 || v > b || (std::isnan(v) && !std::isnan(b))) best = i;
          });
        }
        for (int64_t i = 0; i < y.size(); ++i) {
          ASSERT_EQ(index.get<int32_t>(i), where[i]) << what << " element " << i;
          ASSERT_TRUE(same(value(y, i), vx[i / outs * area + where[i]])) << what << " element " << i;
        }
        Tensor alone = make(dtype, ys, order);
        ASSERT_TRUE(run({"max_pool", {&x}, {&alone, nullptr}, attrs, {}}, what + " without index"));
        for (int64_t i = 0; i < y.size(); ++i) ASSERT_TRUE(same(value(y, i), value(alone, i)));

        if (integers) continue;
        Tensor dy = random(dtype, ys, order), dx = random(dtype, Conv::join(p.n, p.c, p.s), order);
        const Values vdy = values(dy);
        Values want(size_t(dx.size())), bound(want.size());
        for (int64_t i = 0; i < y.size(); ++i) {
          want[i / outs * area + where[i]] += vdy[i];
          bound[i / outs * area + where[i]] += 16 * std::abs(vdy[i]);
        }
        std::vector<Attr> back = attrs;
        back.push_back(Attr::ints(p.s));
        ASSERT_TRUE(run({"max_pool_backward", {&dy, &index}, {&dx}, back, {}}, what + " dx"));
        expect_close(dx, want, bound, what + " dx");
      }
    }
  }
}

TEST(CpuPool, Average) {
  for (const Pool& given : kPools) {
    Pool p = given;
    p.dilation.assign(p.s.size(), 1);
    for (const bool include : {false, true}) {
      for (const tg_dtype dtype : {kF32, kF64, kBf16}) {
        for (const Order order : {Order::kPacked, Order::kChannelsLast, Order::kPadded}) {
          const std::string what = std::string("avg_pool ") + plugin::dtype_name(dtype) + text(p.s);
          const Shape xs = Conv::join(p.n, p.c, p.s), ys = Conv::join(p.n, p.c, p.t);
          Tensor x = random(dtype, xs, order), y = make(dtype, ys, order);
          const int64_t area = numel(p.s), outs = numel(p.t);
          Values count(size_t(outs), 0);
          each_tap(p, [&](int64_t o, int64_t) { count[o] += 1; });
          if (include) {  // taps inside the padded input
            for (int64_t o = 0; o < outs; ++o) {
              int64_t rest = o;
              count[o] = 1;
              for (size_t i = p.s.size(); i-- > 0;) {
                const int64_t start = rest % p.t[i] * p.stride[i];
                count[o] *= double(std::min(p.k[i], p.s[i] + p.padding[i] + p.padding[p.s.size() + i] - start));
                rest /= p.t[i];
              }
            }
          }
          const Values vx = values(x);
          Tensor dy = random(dtype, ys, order), dx = make(dtype, xs, order);
          const Values vdy = values(dy);
          Values want(size_t(y.size())), bound(want.size()), wdx(size_t(dx.size())), bdx(wdx.size());
          for (int64_t plane = 0; plane < p.n * p.c; ++plane) {
            each_tap(p, [&](int64_t o, int64_t i) {
              const double term = vx[plane * area + i] / count[o], back = vdy[plane * outs + o] / count[o];
              want[plane * outs + o] += term, bound[plane * outs + o] += 30 * std::abs(term);
              wdx[plane * area + i] += back, bdx[plane * area + i] += 30 * std::abs(back);
            });
          }
          std::vector<Attr> attrs{Attr::ints(p.k), Attr::ints(p.stride), Attr::ints(p.padding), Attr::integer(include)};
          ASSERT_TRUE(run({"avg_pool", {&x}, {&y}, attrs, {}}, what));
          expect_close(y, want, bound, what);
          attrs.push_back(Attr::ints(p.s));
          ASSERT_TRUE(run({"avg_pool_backward", {&dy}, {&dx}, attrs, {}}, what + " dx"));
          expect_close(dx, wdx, bdx, what + " dx");
        }
      }
    }
  }
}

// ---- normalisation --------------------------------------------------------------------------------------------------

// Groups of elements that are normalised together, and the parameter of each element.
struct Grouping {
  int64_t groups, parameters;
  std::function<int64_t(int64_t)> group, parameter;
};

struct Statistics {
  Values mean, var;
};

Statistics statistics(const Values& x, const Grouping& g) {
  Statistics s{Values(size_t(g.groups)), Values(size_t(g.groups))};
  const double n = double(x.size()) / double(g.groups);
  for (size_t i = 0; i < x.size(); ++i) s.mean[g.group(int64_t(i))] += x[i] / n;
  for (size_t i = 0; i < x.size(); ++i)
    s.var[g.group(int64_t(i))] += std::pow(x[i] - s.mean[g.group(int64_t(i))], 2) / n;
  return s;
}

void put_all(Tensor& t, const Values& v) {
  for (int64_t i = 0; i < t.size(); ++i) t.put(i, float(v[i]));
}

// `attrs` of the op; forward op `op`, gradient `op`_backward. Shapes of mean and weight differ between the two
// families.
void check_norm(const std::string& op, tg_dtype dtype, tg_dtype wtype, const Shape& shape, const Shape& stat_shape,
                const Shape& weight_shape, const Grouping& g, std::vector<Attr> attrs, double eps, bool affine,
                Order order) {
  const std::string what = op + " " + plugin::dtype_name(dtype) + text(shape) + (affine ? " affine" : "");
  Tensor x = random(dtype, shape, order, 0.5, 3), w = random(wtype, weight_shape), b = random(wtype, weight_shape);
  Tensor y = make(dtype, shape, order), mean = make(kF32, stat_shape), var = make(kF32, stat_shape);
  const Values vx = values(x), vw = values(w), vb = values(b);
  const Statistics s = statistics(vx, g);
  const double n = double(x.size()) / double(g.groups);
  const auto weight = [&](int64_t i) { return affine ? vw[g.parameter(i)] : 1.0; };
  Values want(vx.size()), bound(vx.size());
  for (int64_t i = 0; i < x.size(); ++i) {
    const int64_t at = g.group(i);
    const double rstd = 1 / std::sqrt(s.var[at] + eps), shift = affine ? vb[g.parameter(i)] : 0;
    want[i] = (vx[i] - s.mean[at]) * rstd * weight(i) + shift;
    bound[i] = (n + 20) * (3 * rstd * (1 + s.var[at] * rstd * rstd) * std::abs(weight(i)) * 3 + std::abs(shift));
  }
  Values mean_bound(size_t(g.groups), (n + 4) * 3), var_bound(size_t(g.groups), (n + 4) * 9);
  Tensor *pw = affine ? &w : nullptr, *pb = affine ? &b : nullptr;
  if (!run({op, {&x, pw, pb}, {&y, &mean, &var}, attrs, {}}, what)) return;
  expect_close(y, want, bound, what);
  expect_close(mean, s.mean, mean_bound, what + " mean");
  expect_close(var, s.var, var_bound, what + " var");
  Tensor alone = make(dtype, shape, order);
  ASSERT_TRUE(run({op, {&x, pw, pb}, {&alone, nullptr, nullptr}, attrs, {}}, what + " y only"));
  expect_close(alone, want, bound, what + " y only");

  // gradient, with the statistics rounded to f32
  Tensor dy = random(dtype, shape, order), dx = make(dtype, shape, order), dw = make(wtype, weight_shape),
         db = make(wtype, weight_shape);
  put_all(mean, s.mean), put_all(var, s.var);
  const Values vdy = values(dy), vm = values(mean), vv = values(var);
  Values sum_dy(size_t(g.groups)), sum_dyx(size_t(g.groups)), wdw(size_t(g.parameters)), bdw(wdw.size()),
      wdb(wdw.size()), bdb(wdw.size());
  const auto xhat = [&](int64_t i) { return (vx[i] - vm[g.group(i)]) / std::sqrt(vv[g.group(i)] + eps); };
  for (int64_t i = 0; i < x.size(); ++i) {
    const double d = vdy[i] * weight(i);
    sum_dy[g.group(i)] += d, sum_dyx[g.group(i)] += d * xhat(i);
    wdw[g.parameter(i)] += vdy[i] * xhat(i), wdb[g.parameter(i)] += vdy[i];
    const double rstd = 1 / std::sqrt(vv[g.group(i)] + eps);
    bdw[g.parameter(i)] += (double(x.size()) / double(g.parameters) + 20) * std::abs(vdy[i]) * rstd * 6;
    bdb[g.parameter(i)] += (double(x.size()) / double(g.parameters) + 20) * std::abs(vdy[i]);
  }
  Values wdx(vx.size()), bdx(vx.size());
  for (int64_t i = 0; i < x.size(); ++i) {
    const int64_t at = g.group(i);
    const double rstd = 1 / std::sqrt(vv[at] + eps);
    wdx[i] = rstd * (vdy[i] * weight(i) - sum_dy[at] / n - xhat(i) * sum_dyx[at] / n);
    bdx[i] = (n + 20) * rstd * 20 * (1 + rstd * 3);
  }
  Tensor *pdw = affine ? &dw : nullptr, *pdb = affine ? &db : nullptr;
  ASSERT_TRUE(run({op + "_backward", {&dy, &x, &mean, &var, pw}, {&dx, pdw, pdb}, attrs, {}}, what + " gradient"));
  expect_close(dx, wdx, bdx, what + " dx");
  if (affine) {
    expect_close(dw, wdw, bdw, what + " dweight");
    expect_close(db, wdb, bdb, what + " dbias");
    Tensor dw2 = make(wtype, weight_shape);
    ASSERT_TRUE(run({op + "_backward", {&dy, &x, &mean, &var, pw}, {nullptr, &dw2, nullptr}, attrs, {}},
                    what + " dweight only"));
    expect_close(dw2, wdw, bdw, what + " dweight only");
  }

  if (op != "batch_norm") return;
  Tensor z = make(dtype, shape, order);
  Values wz(vx.size()), bz(vx.size());
  for (int64_t i = 0; i < x.size(); ++i) {
    wz[i] = xhat(i) * weight(i) + (affine ? vb[g.parameter(i)] : 0);
    bz[i] = 100 / std::sqrt(vv[g.group(i)] + eps) + 20;
  }
  ASSERT_TRUE(run({"batch_norm_infer", {&x, &mean, &var, pw, pb}, {&z}, attrs, {}}, what + " infer"));
  expect_close(z, wz, bz, what + " infer");
}

TEST(CpuNorm, Batch) {
  for (const Shape& shape : {Shape{4, 3, 5, 7}, Shape{2, 16, 8, 8}, Shape{3, 65, 3, 3}, Shape{9, 5}, Shape{3, 6, 11},
                             Shape{2, 4, 3, 4, 5}, Shape{8, 1, 2, 2}, Shape{5, 70}}) {
    const int64_t c = shape[1], area = numel(shape) / shape[0] / c;
    const auto channel = [=](int64_t i) { return i / area % c; };
    for (const bool affine : {true, false}) {
      for (const Order order : {Order::kPacked, Order::kChannelsLast, Order::kPadded}) {
        check_norm("batch_norm", kF32, kF32, shape, {c}, {c}, {c, c, channel, channel}, {real(1e-3)}, 1e-3, affine,
                   order);
      }
      check_norm("batch_norm", kBf16, kF32, shape, {c}, {c}, {c, c, channel, channel}, {real(1e-3)}, 1e-3, affine,
                 Order::kPacked);
      check_norm("batch_norm", kBf16, kBf16, shape, {c}, {c}, {c, c, channel, channel}, {real(1e-3)}, 1e-3, affine,
                 Order::kPacked);
    }
  }
}

TEST(CpuNorm, Layer) {
  for (const auto& [outer, inner] :
       {std::pair<Shape, Shape>{{5}, {7}}, {{2, 3}, {64}}, {{4}, {3, 5}}, {{1}, {384}}, {{9}, {1000}}}) {
    Shape shape = outer;
    shape.insert(shape.end(), inner.begin(), inner.end());
    const int64_t n = numel(inner), rows = numel(outer);
    const Grouping g{rows, n, [=](int64_t i) { return i / n; }, [=](int64_t i) { return i % n; }};
    const std::vector<Attr> attrs{Attr::integer(int64_t(inner.size())), real(1e-5)};
    for (const bool affine : {true, false}) {
      check_norm("layer_norm", kF32, kF32, shape, outer, inner, g, attrs, 1e-5, affine, Order::kPacked);
      check_norm("layer_norm", kBf16, kBf16, shape, outer, inner, g, attrs, 1e-5, affine, Order::kPacked);
    }
    check_norm("layer_norm", kF32, kF32, shape, outer, inner, g, attrs, 1e-5, true, Order::kPadded);
  }
}

void check_softmax(tg_dtype dtype, const Shape& shape, int64_t axis, bool log, bool in_place, Layout layout) {
  const std::string op = log ? "log_softmax" : "softmax", what = op + " " + plugin::dtype_name(dtype) + text(shape);
  Tensor x(dtype, shape, layout), y(dtype, shape, layout);
  fill(x, -9, 9);
  int64_t inner = 1;
  for (size_t i = size_t(axis) + 1; i < shape.size(); ++i) inner *= shape[i];
  const int64_t n = shape[axis];
  const Values vx = values(x);
  Values want(vx.size()), bound(vx.size());
  for (int64_t i = 0; i < x.size(); ++i) {
    const int64_t first = i / (inner * n) * inner * n + i % inner;
    double top = -1e300, sum = 0;
    for (int64_t j = 0; j < n; ++j) top = std::max(top, vx[first + j * inner]);
    for (int64_t j = 0; j < n; ++j) sum += std::exp(vx[first + j * inner] - top);
    want[i] = log ? vx[i] - top - std::log(sum) : std::exp(vx[i] - top) / sum;
    bound[i] = log ? double(n) + 60 : (double(n) + 60) * want[i];
  }
  if (!run({op, {&x}, {in_place ? &x : &y}, {Attr::integer(axis)}, {}}, what)) return;
  expect_close(in_place ? x : y, want, bound, what);
  if (in_place) return;

  Tensor dy(dtype, shape, layout), dx(dtype, shape, layout);
  fill(dy);
  const Values vy = values(y), vdy = values(dy);
  for (int64_t i = 0; i < x.size(); ++i) {
    const int64_t first = i / (inner * n) * inner * n + i % inner;
    double sum = 0, magnitude = 0;
    for (int64_t j = 0; j < n; ++j) {
      const double term = vdy[first + j * inner] * (log ? 1 : vy[first + j * inner]);
      sum += term, magnitude += std::abs(term);
    }
    const double p = log ? std::exp(vy[i]) : vy[i];
    want[i] = log ? vdy[i] - p * sum : p * (vdy[i] - sum);
    bound[i] = (double(n) + 60) * (p * (magnitude + std::abs(vdy[i])) + std::abs(vdy[i]) * (log ? 1 : p));
  }
  if (run({op + "_backward", {&dy, &y}, {&dx}, {Attr::integer(axis)}, {}}, what + " gradient")) {
    expect_close(dx, want, bound, what + " dx");
    ASSERT_TRUE(run({op + "_backward", {&dy, &y}, {&dy}, {Attr::integer(axis)}, {}}, what + " gradient in place"));
    expect_close(dy, want, bound, what + " dx in place");
  }
}

TEST(CpuSoftmax, All) {
  for (const bool log : {false, true}) {
    for (const auto& [shape, axis] : {std::pair<Shape, int64_t>{{5, 10}, 1},
                                      {{7}, 0},
                                      {{3, 4, 1000}, 2},
                                      {{6, 5}, 0},
                                      {{2, 21, 3, 5}, 1},
                                      {{4, 1}, 1},
                                      {{2, 3, 17, 1}, 2},
                                      {{2, 40, 33}, 1}}) {
      for (const Layout layout : kLayouts) check_softmax(kF32, shape, axis, log, false, layout);
      check_softmax(kF32, shape, axis, log, true, Layout::packed);
      check_softmax(kBf16, shape, axis, log, false, Layout::packed);
      check_softmax(kF16, shape, axis, log, false, Layout::packed);
    }
  }
}

// ---- the contract ---------------------------------------------------------------------------------------------------

TEST(CpuContract, OnePlanInManyThreads) {
  // The harness makes one plan per run; here the plan is shared, as the host's cache shares it.
  const tg_plugin& table = g_plugin->table();
  void* instance = nullptr;
  ASSERT_EQ(table.open(TG_ABI_VERSION, host::table(), &instance, nullptr), TG_OK);
  Tensor x = random(kF32, {2, 16, 12, 12}), w = random(kF32, {24, 16, 3, 3});
  Tensor plan_y = make(kF32, {2, 24, 12, 12});
  const std::vector<int64_t> one{1, 1}, pad{1, 1, 1, 1};
  const Attr list[] = {Attr::ints(one), Attr::ints(pad), Attr::ints(one), Attr::integer(1), Attr::integer(0)};
  std::vector<tg_attr> attrs;
  for (const Attr& a : list) attrs.push_back(a.view());
  const tg_tensor vx = x.view(), vw = w.view(), vy = plan_y.view();
  const tg_tensor *inputs[] = {&vx, &vw, nullptr}, *outputs[] = {&vy};
  tg_call call{};
  call.struct_size = sizeof call, call.op = "conv", call.op_revision = 1;
  call.n_inputs = 3, call.n_outputs = 1, call.n_attrs = uint32_t(attrs.size());
  call.inputs = inputs, call.outputs = outputs, call.attrs = attrs.data();
  call.inputs_present = 3, call.outputs_wanted = 1, call.threads = 2;
  void* plan = nullptr;
  ASSERT_EQ(table.kernels->plan_create(instance, &call, &plan, nullptr), TG_OK);
  const auto once = [&](Tensor& y) {
    const tg_tensor out = y.view();
    const tg_tensor* out_list[] = {&out};
    tg_run r{};
    r.inputs = inputs, r.outputs = out_list, r.inputs_present = 3, r.outputs_wanted = 1;
    r.n_inputs = 3, r.n_outputs = 1, r.threads = 2;
    uint64_t bytes = 0;
    if (table.kernels->plan_workspace(plan, &r, &bytes, nullptr) != TG_OK) return false;
    std::vector<char> workspace(bytes + 64);
    r.workspace = reinterpret_cast<void*>((reinterpret_cast<uintptr_t>(workspace.data()) + 63) / 64 * 64);
    r.workspace_bytes = bytes;
    return table.kernels->plan_run(plan, &r, nullptr) == TG_OK;
  };
  Tensor first = make(kF32, {2, 24, 12, 12});
  ASSERT_TRUE(once(first));
  std::vector<std::thread> threads;
  std::atomic<int> wrong{0};
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      Tensor y = make(kF32, {2, 24, 12, 12});
      for (int i = 0; i < 20; ++i) wrong += !once(y) || y.values<float>() != first.values<float>();
    });
  }
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(wrong, 0);
  table.kernels->plan_destroy(plan);
  table.shutdown(instance);
}

TEST(CpuContract, RefusalsSayWhy) {
  Tensor x = random(kF32, {4, 5}), w = random(kF32, {3, 6}), y = make(kF32, {4, 3});
  const Call call{"linear", {&x, &w, nullptr}, {&y}, {Attr::integer(0)}, {}};
  const Outcome outcome = g_plugin->run(call, g_plugin->candidates(call).at(0));
  EXPECT_FALSE(outcome.accepted);
  EXPECT_EQ(outcome.breach, "");
  EXPECT_NE(outcome.message.find("[linear]"), std::string::npos) << outcome.message;
}

}  // namespace
}  // namespace tg::test

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  if (argc != 2) {
    std::fprintf(stderr, "usage: %s libtengen_cpu.so\n", argv[0]);
    return 2;
  }
  tg::test::g_plugin = std::make_unique<tg::test::Plugin>(argv[1]);
  const int result = RUN_ALL_TESTS();
  tg::test::g_plugin.reset();
  return result;
}
