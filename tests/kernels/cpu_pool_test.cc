// SPDX-License-Identifier: Apache-2.0
// Pooling and its gradients in the cpu plugin.
#include "cpu_nn_fixture.h"

namespace tg::test {
namespace {

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
        Tensor x = random(dtype, join(p.n, p.c, p.s), order, integers ? -3 : -1, integers ? 3 : 1);
        const Shape ys = join(p.n, p.c, p.t);
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
        Tensor dy = random(dtype, ys, order), dx = random(dtype, join(p.n, p.c, p.s), order);
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
          const Shape xs = join(p.n, p.c, p.s), ys = join(p.n, p.c, p.t);
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

}  // namespace
}  // namespace tg::test
