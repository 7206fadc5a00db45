// SPDX-License-Identifier: Apache-2.0
// The shapes of matmul that take different kernels in the cpu plugin, and linear.
#include "cpu_nn_fixture.h"

namespace tg::test {
namespace {

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

}  // namespace
}  // namespace tg::test
