// SPDX-License-Identifier: Apache-2.0
//
// map as programs: operands, immediates, several outputs, in-place outputs, broadcast, ranks, sizes, one plan for many
// shapes.

#include "floor_fixture.h"

namespace tg::test {
namespace {

constexpr tg_dtype kF32 = dtype<float>, kI32 = dtype<int32_t>, kBool = dtype<boolean>;

std::vector<float> floats(Random& random, int64_t n) {
  std::uniform_real_distribution<float> uniform(-3, 3);
  std::vector<float> out(static_cast<size_t>(n));
  for (float& x : out) x = uniform(random);
  return out;
}

class MapProgram : public FloorTest {};

TEST_F(MapProgram, EveryInstructionRounds) {
  // (a * b) + c must not be contracted: with a = 1 + 2^-12, a*a rounds, and the rest cancels.
  const float a = 1 + 0x1p-12f, product = a * a;
  Tensor x = Tensor::of<float>({513}, std::vector<float>(513, a)),
         c = Tensor::of<float>({513}, std::vector<float>(513, -product)), y(kF32, {513});
  each_good_row(map_call({&x, &c}, {&y}, {inst(TG_MAP_MUL, kF32, {0, 0}), inst(TG_MAP_ADD, kF32, {2, 1})}, {1}), [&] {
    for (int i = 0; i < 513; ++i) ASSERT_EQ(y.get<float>(i), 0.0f) << i;
  });
  each_good_row(map_call({&x, &c}, {&y}, {inst(TG_MAP_FMA, kF32, {0, 0, 1})}, {0}), [&] {
    for (int i = 0; i < 513; ++i) ASSERT_EQ(y.get<float>(i), std::fma(a, a, -product)) << i;
  });
}

TEST_F(MapProgram, ImmediatesSeveralOutputsMixedDtypes) {
  // y0 = x * 2.5 + i; y1 = x < 0.5; y2 = where(y1, i + 7, i): inputs x f32, i i32.
  const int64_t n = 5000;
  const std::vector<float> xs = floats(random, n);
  std::vector<int32_t> is;
  for (int64_t i = 0; i < n; ++i) is.push_back(int32_t(i * 37 - 9000));
  for (Layout layout : kLayouts) {
    Tensor x = spread(xs, layout), i = spread(is, layout);
    Tensor y0(kF32, x.shape(), layout), y1(kBool, x.shape(), Layout::padded), y2(kI32, x.shape(), layout);
    const std::vector<tg_map_inst> program = {
        inst(TG_MAP_MUL, kF32, {0, 8}),       // 2: x * 2.5
        inst(TG_MAP_CAST, kF32, {1}, kI32),   // 3: float(i)
        inst(TG_MAP_ADD, kF32, {2, 3}),       // 4
        inst(TG_MAP_LT, kF32, {0, 9}),        // 5: x < 0.5
        inst(TG_MAP_ADD, kI32, {1, 10}),      // 6: i + 7
        inst(TG_MAP_WHERE, kI32, {5, 6, 1}),  // 7
    };
    const std::vector<uint64_t> immediates = {bits_of(2.5f), bits_of(0.5f), bits_of(int32_t(7))};
    each_good_row(map_call({&x, &i}, {&y0, &y1, &y2}, program, {2, 3, 5}, immediates), [&] {
      for (int64_t e = 0; e < x.size(); ++e) {
        const float scaled = x.get<float>(e) * 2.5f;
        ASSERT_EQ(y0.get<float>(e), scaled + float(i.get<int32_t>(e))) << e;
        ASSERT_EQ(y1.get<boolean>(e).value, x.get<float>(e) < 0.5f) << e;
        ASSERT_EQ(y2.get<int32_t>(e), i.get<int32_t>(e) + (x.get<float>(e) < 0.5f ? 7 : 0)) << e;
      }
    });
  }
}

TEST_F(MapProgram, OneResultTwiceAndAnUnwantedOutput) {
  Tensor x = Tensor::of<float>({3}, {1, -2, 3}), y0(kF32, {3}), y1(kF32, {3});
  const std::vector<tg_map_inst> program = {inst(TG_MAP_NEG, kF32, {0}), inst(TG_MAP_ABS, kF32, {1})};
  each_good_row(map_call({&x}, {&y0, &y1}, program, {0, 0}), [&] {
    EXPECT_EQ(y0.values<float>(), (std::vector<float>{-1, 2, -3}));
    EXPECT_EQ(y1.values<float>(), (std::vector<float>{-1, 2, -3}));
  });
  each_good_row(map_call({&x}, {nullptr, &y1}, program, {0, 1}), [&] {
    EXPECT_EQ(y1.values<float>(), (std::vector<float>{1, 2, 3}));
  });
}

TEST_F(MapProgram, OutputsMayBeTheInputs) {
  // Momentum step in place: m = m*0.9 + g; p = p - lr*m. Then a swap, where each output is the other's input.
  for (Layout layout : kLayouts) {
    const int64_t n = 40000;
    const std::vector<float> ps = floats(random, n), ms = floats(random, n), gs = floats(random, n);
    Tensor p = spread(ps, layout), m = spread(ms, layout), g = spread(gs, layout);
    const std::vector<tg_map_inst> step = {inst(TG_MAP_MUL, kF32, {1, 7}), inst(TG_MAP_ADD, kF32, {3, 2}),
                                           inst(TG_MAP_MUL, kF32, {4, 8}), inst(TG_MAP_SUB, kF32, {0, 5})};
    each_good_row(map_call({&p, &m, &g}, {&p, &m}, step, {3, 1}, {bits_of(0.9f), bits_of(0.01f)}), [&] {
      for (int64_t i = 0; i < n; ++i) {
        const float decayed = ms[size_t(i)] * 0.9f, moment = decayed + gs[size_t(i)], change = moment * 0.01f;
        ASSERT_EQ(m.get<float>(i), moment) << i;
        ASSERT_EQ(p.get<float>(i), ps[size_t(i)] - change) << i;
      }
    });
    Tensor a = spread(ps, layout), b = spread(ms, layout);
    each_good_row(map_call({&a, &b}, {&a, &b}, {inst(TG_MAP_COPY, kF32, {1}), inst(TG_MAP_COPY, kF32, {0})}, {0, 1}),
                  [&] {
                    for (int64_t i = 0; i < n; ++i) {
                      ASSERT_EQ(a.get<float>(i), ms[size_t(i)]) << i;
                      ASSERT_EQ(b.get<float>(i), ps[size_t(i)]) << i;
                    }
                  });
  }
}

TEST_F(MapProgram, SameBitsWhole_AndOneByOne) {
  // tanh(exp(x) * y - x) + pow(|x|, y), whole and cut into single instructions, by the same plugin.
  const int64_t n = 1999;
  const std::vector<float> xs = floats(random, n), ys = floats(random, n);
  Tensor x = Tensor::of<float>({n}, xs), y = Tensor::of<float>({n}, ys), whole(kF32, {n});
  const std::vector<tg_map_inst> program = {inst(TG_MAP_EXP, kF32, {0}),    inst(TG_MAP_MUL, kF32, {2, 1}),
                                            inst(TG_MAP_SUB, kF32, {3, 0}), inst(TG_MAP_TANH, kF32, {4}),
                                            inst(TG_MAP_ABS, kF32, {0}),    inst(TG_MAP_POW, kF32, {6, 1}),
                                            inst(TG_MAP_ADD, kF32, {5, 7})};
  std::vector<Tensor> values;
  values.push_back(x);
  values.push_back(y);
  bool offered = true;
  for (const tg_map_inst& i : program) {
    std::vector<Tensor*> operands;
    for (int k = 0; k < i.n_operands; ++k) operands.push_back(&values[i.operand[k]]);
    Tensor out(kF32, {n});
    const Call call = single(i.opcode, operands, out, kF32);
    const auto rows = the_plugin().candidates(call);
    if (rows.empty() || !the_plugin().run(call, rows[0]).accepted) offered = false;
    values.push_back(std::move(out));
  }
  each_good_row(map_call({&x, &y}, {&whole}, program, {6}), [&] {
    ASSERT_TRUE(offered) << "the program runs, its instructions alone do not";
    for (int64_t i = 0; i < n; ++i) ASSERT_EQ(whole.bits(i), values.back().bits(i)) << i;
  });
}

TEST_F(MapProgram, ALongProgram) {
  std::vector<tg_map_inst> program;
  for (uint16_t j = 0; j < 64; ++j) program.push_back(inst(TG_MAP_ADD, kI32, {j, uint16_t(65 + j % 2)}));
  Tensor x = Tensor::of<int32_t>({300}, std::vector<int32_t>(300, 5)), y(kI32, {300});
  each_good_row(map_call({&x}, {&y}, program, {63}, {bits_of(int32_t(1)), bits_of(int32_t(100))}), [&] {
    for (int i = 0; i < 300; ++i) ASSERT_EQ(y.get<int32_t>(i), 5 + 32 * 101);
  });
}

template <class T>
class MapShapes : public FloorTest {};
TYPED_TEST_SUITE(MapShapes, AllTypes, TypeNames);

TYPED_TEST(MapShapes, BroadcastRanksOffsetsSizes) {
  using T = TypeParam;
  const std::vector<Shape> shapes = {{},
                                     {1},
                                     {7},
                                     {255},
                                     {256},
                                     {257},
                                     {70001},
                                     {3, 1, 5},
                                     {2, 3, 2, 1, 3, 4},
                                     {1, 1, 1, 1, 1, 1},
                                     {64, 300},
                                     {2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2}};
  for (const Shape& shape : shapes) {
    const int64_t n = numel(shape);
    for (Layout layout : kLayouts) {
      Tensor x(dtype<T>, shape, layout), y(dtype<T>, shape, layout);
      const std::vector<T> values = sample<T>(this->random, size_t(n));
      for (int64_t i = 0; i < n; ++i) x.put(i, values[size_t(i)]);
      this->each_good_row(single(TG_MAP_COPY, {&x}, y, dtype<T>), [&] {
        for (int64_t i = 0; i < n; ++i) ASSERT_TRUE(same(number(x.get<T>(i)), number(y.get<T>(i)))) << i << " of " << n;
      });
    }
    // The same, each axis in turn broadcast (stride 0); compared with itself through a comparison opcode.
    for (size_t axis = 0; axis < std::min<size_t>(shape.size(), 6); ++axis) {
      if (n > 20000) continue;
      Shape strides = packed_strides(shape);
      strides[axis] = 0;
      Tensor x(dtype<T>, shape, strides, 3), z(dtype<T>, shape, Layout::reversed),
          y(dtype<boolean>, shape, Layout::padded);
      const std::vector<T> a = small_sample<T>(this->random, size_t(n)), b = small_sample<T>(this->random, size_t(n));
      for (int64_t i = 0; i < n; ++i) {
        x.put(i, a[size_t(i)]);
        z.put(i, b[size_t(i)]);
      }
      this->each_good_row(single(TG_MAP_LE, {&x, &z}, y, dtype<T>), [&] {
        for (int64_t i = 0; i < n; ++i)
          ASSERT_EQ(y.get<boolean>(i).value, number(x.get<T>(i)) <= number(z.get<T>(i))) << i << " of " << n;
      });
    }
  }
}

TEST_F(MapProgram, OnePlanManyShapes) {
  Tensor x1 = Tensor::of<float>({2, 3}, {1, 2, 3, 4, 5, 6}), y1(kF32, {2, 3});
  Tensor x2 = Tensor::of<float>({1, 4}, {1, 2, 3, 4}, Layout::padded), y2(kF32, {1, 4});
  Tensor x3 = Tensor::of<float>({3, 2}, {1, 2, 3, 4, 5, 6}, Layout::reversed), y3(kF32, {3, 2}, Layout::padded);
  const auto call = [](Tensor& x, Tensor& y) { return map_call({&x}, {&y}, {inst(TG_MAP_NEG, kF32, {0})}, {0}); };
  int polymorphic = 0;
  for (uint32_t row : the_plugin().candidates(call(x1, y1))) {
    const tg_kernel_row& r = the_plugin().rows()[row];
    if (r.bake_dims || r.bake_strides || r.packed) continue;
    ++polymorphic;
    for (const Outcome& outcome : the_plugin().run_all({call(x1, y1), call(x2, y2), call(x3, y3)}, row)) {
      EXPECT_TRUE(outcome.accepted);
      EXPECT_EQ(outcome.status, TG_OK) << outcome.message;
      EXPECT_EQ(outcome.breach, "");
    }
    EXPECT_EQ(y1.values<float>(), (std::vector<float>{-1, -2, -3, -4, -5, -6}));
    EXPECT_EQ(y2.values<float>(), (std::vector<float>{-1, -2, -3, -4}));
    EXPECT_EQ(y3.values<float>(), (std::vector<float>{-1, -2, -3, -4, -5, -6}));
  }
  if (required() != Require::offered) {
    EXPECT_GT(polymorphic, 0);
  } else if (!polymorphic) {
    GTEST_SKIP() << "never: no map row of this plugin promises to serve several shapes with one plan";
  }
}

TEST_F(MapProgram, NonsenseIsRefused) {
  Tensor x = Tensor::of<float>({2}, {1, 2}), y(kF32, {2}), z(dtype<int32_t>, {2});
  expect_refused(map_call({&x}, {&y}, {inst(TG_MAP_ADD, kF32, {0, 1})}, {0}));  // own result
  expect_refused(map_call({&x}, {&y}, {inst(TG_MAP_NEG, kF32, {0})}, {1}));     // no such result
  expect_refused(map_call({&x}, {&z}, {inst(TG_MAP_NEG, kF32, {0})}, {0}));     // output dtype
  expect_refused(
      map_call({&x}, {&y}, {inst(TG_MAP_LT, kF32, {0, 0}), inst(TG_MAP_ADD, kF32, {1, 0})}, {1}));  // bool + f32
}

}  // namespace
}  // namespace tg::test
