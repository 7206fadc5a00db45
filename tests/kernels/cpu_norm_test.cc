// SPDX-License-Identifier: Apache-2.0
// Normalisation and softmax in the cpu plugin.
#include "cpu_nn_fixture.h"

namespace tg::test {
namespace {

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

}  // namespace
}  // namespace tg::test
