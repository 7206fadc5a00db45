// SPDX-License-Identifier: Apache-2.0
//
// The vendor's plugin of outside/, after outside_test.cmake has built it against the installed package: what its rows
// promise it computes. Its path is the first argument.

#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <fstream>
#include <iterator>

#include "../kernels/plugin_harness.h"

namespace tg::test {
namespace {

using plugin::boolean;

std::string path;

const Plugin& tiny() {
  static const Plugin plugin(path);
  return plugin;
}

// Runs a call on the plugin's best row; every mistake fails the test.
void run(const Call& call) {
  const std::vector<uint32_t> rows = tiny().candidates(call);
  ASSERT_FALSE(rows.empty()) << call.op << ": no row matches";
  const Outcome outcome = tiny().run(call, rows[0]);
  ASSERT_TRUE(outcome.accepted) << outcome.message;
  ASSERT_EQ(outcome.status, TG_OK) << outcome.message;
  ASSERT_EQ(outcome.breach, "");
}

tg_map_inst inst(uint16_t opcode, tg_dtype dtype, std::vector<uint16_t> operands, tg_dtype from = {}) {
  tg_map_inst i{opcode, uint16_t(operands.size()), dtype, from, {0, 0, 0}, {0, 0, 0}};
  std::copy(operands.begin(), operands.end(), i.operand);
  return i;
}

template <class T>
constexpr tg_dtype kType = plugin::dtype_of<T>::value;

// One binary instruction on x and y, in every layout.
template <class T, class Result = T>
void expect_binary(uint16_t opcode, std::vector<T> x, std::vector<T> y, std::vector<Result> expected) {
  for (Layout layout : kLayouts) {
    const Shape shape{2, int64_t(x.size()) / 2};
    Tensor tx = Tensor::of(shape, x, layout), ty = Tensor::of(shape, y), out(kType<Result>, shape, layout);
    run({"map",
         {&tx, &ty},
         {&out},
         {Attr::map_program({inst(opcode, kType<T>, {0, 1})}), Attr::ints({0})},
         {Attr::bits({})}});
    if (::testing::Test::HasFatalFailure()) return;
    for (int64_t i = 0; i < out.size(); ++i)
      EXPECT_EQ(out.bits(i), bits_of(expected[size_t(i)])) << "opcode " << opcode << ", element " << i;
  }
}

template <class From, class To>
void expect_cast(std::vector<From> x, std::vector<To> expected) {
  const Shape shape{int64_t(x.size())};
  Tensor tx = Tensor::of(shape, x), out(kType<To>, shape);
  run({"map",
       {&tx},
       {&out},
       {Attr::map_program({inst(TG_MAP_CAST, kType<To>, {0}, kType<From>)}), Attr::ints({0})},
       {Attr::bits({})}});
  if (::testing::Test::HasFatalFailure()) return;
  for (int64_t i = 0; i < out.size(); ++i) EXPECT_EQ(out.bits(i), bits_of(expected[size_t(i)])) << "element " << i;
}

const float kInf = INFINITY, kNan = NAN;
const boolean F{false}, T{true};

TEST(Outside, Arithmetic) {
  expect_binary<float>(TG_MAP_ADD, {1, 2, 3, 4}, {10, 20, 30, kInf}, {11, 22, 33, kInf});
  expect_binary<float>(TG_MAP_SUB, {1, 2, 3, 4}, {10, 20, 30, 40}, {-9, -18, -27, -36});
  expect_binary<float>(TG_MAP_DIV, {1, 2, 3, -4}, {2, 4, 0, 0}, {0.5f, 0.5f, kInf, -kInf});
  expect_binary<int64_t>(TG_MAP_MUL, {3, -4, INT64_MAX, 5}, {7, 8, 2, 0}, {21, -32, -2, 0});
  expect_binary<int32_t>(TG_MAP_ADD, {1, INT32_MAX}, {2, 1}, {3, INT32_MIN});
  expect_binary<uint8_t>(TG_MAP_SUB, {1, 200}, {2, 100}, {255, 100});
  expect_binary<float>(TG_MAP_MAX, {1, -2, 3, -4}, {0, 0, 7, 0}, {1, 0, 7, 0});
}

TEST(Outside, NanIsLargestAndSmallest) {
  for (const uint16_t opcode : {TG_MAP_MAX, TG_MAP_MIN}) {
    Tensor x = Tensor::of<float>({2}, {kNan, 1}), y = Tensor::of<float>({2}, {1, kNan}), out(kType<float>, {2});
    run({"map",
         {&x, &y},
         {&out},
         {Attr::map_program({inst(opcode, kType<float>, {0, 1})}), Attr::ints({0})},
         {Attr::bits({})}});
    EXPECT_TRUE(std::isnan(out.get<float>(0)) && std::isnan(out.get<float>(1)));
  }
}

TEST(Outside, ComparisonsAndLogic) {
  expect_binary<float, boolean>(TG_MAP_LT, {1, 2, kNan, 2}, {2, 2, 1, 1}, {T, F, F, F});
  expect_binary<float, boolean>(TG_MAP_LE, {1, 2, kNan, 2}, {2, 2, 1, 1}, {T, T, F, F});
  expect_binary<float, boolean>(TG_MAP_NE, {1, 2, kNan, 2}, {2, 2, kNan, 1}, {T, F, T, T});
  expect_binary<int64_t, boolean>(TG_MAP_EQ, {1, 2}, {1, 3}, {T, F});
  expect_binary<boolean>(TG_MAP_AND, {T, T, F, F}, {T, F, T, F}, {T, F, F, F});
  expect_binary<boolean>(TG_MAP_XOR, {T, T, F, F}, {T, F, T, F}, {F, T, T, F});
}

TEST(Outside, Casts) {
  expect_cast<float, int32_t>({1.9f, -1.9f, kNan, 1e20f, -1e20f}, {1, -1, 0, INT32_MAX, INT32_MIN});
  expect_cast<float, uint8_t>({3.7f, -5, 300}, {3, 0, 255});
  expect_cast<float, int64_t>({1e30f, -2}, {INT64_MAX, -2});
  expect_cast<float, boolean>({0, -0.0f, 0.25f, kNan}, {F, F, T, T});
  expect_cast<boolean, float>({T, F}, {1, 0});
  expect_cast<int64_t, float>({3, -7}, {3, -7});
  expect_cast<int64_t, uint8_t>({257, -1}, {1, 255});
  expect_cast<int64_t, boolean>({256, 0}, {T, F});
}

TEST(Outside, ImmediatesAndBroadcasting) {
  // relu(x) = where(0 < x, x, 0): two calls, as the host cuts the program; the row vector is repeated by stride 0
  Tensor x(kType<float>, {2, 3}, Shape{0, 1});
  for (int64_t i = 0; i < 3; ++i) x.put(i, float(i) - 1);
  Tensor positive(kType<boolean>, {2, 3}), y(kType<float>, {2, 3});
  run({"map",
       {&x},
       {&positive},
       {Attr::map_program({inst(TG_MAP_LT, kType<float>, {2, 0})}), Attr::ints({0})},
       {Attr::bits({0})}});
  run({"map",
       {&positive, &x},
       {&y},
       {Attr::map_program({inst(TG_MAP_WHERE, kType<float>, {0, 1, 3})}), Attr::ints({0})},
       {Attr::bits({0})}});
  EXPECT_EQ(y.values<float>(), (std::vector<float>{0, 0, 1, 0, 0, 1}));
}

TEST(Outside, TakesOneInstructionAtATime) {
  Tensor x = Tensor::of<float>({2}, {1, 2});
  const Call call{
      "map",
      {&x},
      {&x},
      {Attr::map_program({inst(TG_MAP_NEG, kType<float>, {0}), inst(TG_MAP_EXP, kType<float>, {1})}), Attr::ints({1})},
      {Attr::bits({})}};
  EXPECT_TRUE(tiny().candidates(call).empty());
}

TEST(Outside, CopiesAnyDtypeBetweenLayouts) {
  for (Layout from : kLayouts)
    for (Layout to : kLayouts) {
      Tensor x = Tensor::of<double>({2, 3}, {1, 2, 3, 4, 5, 6}, from), y(kType<double>, {2, 3}, to);
      run({"copy", {&x}, {&y}, {}, {}});
      EXPECT_EQ(y.values<double>(), x.values<double>());
      Tensor small = Tensor::of<uint16_t>({3, 1}, {7, 8, 9}, from), out(kType<uint16_t>, {3, 1}, to);
      run({"copy", {&small}, {&out}, {}, {}});
      EXPECT_EQ(out.values<uint16_t>(), small.values<uint16_t>());
    }
}

TEST(Outside, Reduces) {
  for (Layout layout : kLayouts) {
    const auto reduce = [&](int64_t kind, std::vector<int64_t> axes, Shape shape) {
      Tensor x = Tensor::of<float>({2, 2, 3}, {1, 9, 3, 4, 5, 6, -1, -2, -3, 8, kNan, 8}, layout);
      Tensor y(kType<float>, shape, layout);
      run({"reduce", {&x}, {&y}, {Attr::integer(kind), Attr::ints(axes)}, {}});
      return y.values<float>();
    };
    EXPECT_EQ(reduce(TG_REDUCE_SUM, {0}, {1, 2, 3})[0], 0);
    EXPECT_EQ(reduce(TG_REDUCE_SUM, {0}, {1, 2, 3})[3], 12);
    EXPECT_EQ(reduce(TG_REDUCE_SUM, {1, 2}, {2, 1, 1})[0], 28);
    EXPECT_TRUE(std::isnan(reduce(TG_REDUCE_SUM, {1, 2}, {2, 1, 1})[1]));
    EXPECT_EQ(reduce(TG_REDUCE_MAX, {1}, {2, 1, 3})[1], 9);
    EXPECT_TRUE(std::isnan(reduce(TG_REDUCE_MAX, {1}, {2, 1, 3})[4]));
    EXPECT_EQ(reduce(TG_REDUCE_MIN, {2}, {2, 2, 1})[2], -3);
    EXPECT_TRUE(std::isnan(reduce(TG_REDUCE_MIN, {2}, {2, 2, 1})[3]));

    Tensor logits = Tensor::of<float>({3, 4}, {1, 7, 7, 2, kNan, 9, kNan, 0, -1, -5, -1, -2}, layout);
    Tensor classes(kType<int64_t>, {3, 1});
    run({"reduce", {&logits}, {&classes}, {Attr::integer(TG_REDUCE_ARGMAX), Attr::ints({1})}, {}});
    EXPECT_EQ(classes.values<int64_t>(), (std::vector<int64_t>{1, 0, 0}));
    Tensor counts = Tensor::of<int64_t>({4}, {1, INT64_MAX, 3, -2}, layout), total(kType<int64_t>, {1});
    run({"reduce", {&counts}, {&total}, {Attr::integer(TG_REDUCE_SUM), Attr::ints({0})}, {}});
    EXPECT_EQ(total.get<int64_t>(0), INT64_MIN + 1);
  }
}

TEST(Outside, RefusesWithAReason) {
  Tensor x = Tensor::of<float>({2}, {2, 3}), y(kType<float>, {1});
  const Call call{"reduce", {&x}, {&y}, {Attr::integer(TG_REDUCE_PROD), Attr::ints({0})}, {}};
  const Outcome outcome = tiny().run(call, tiny().candidates(call).at(0));
  EXPECT_FALSE(outcome.accepted);
  EXPECT_EQ(outcome.message, "tiny.reduce: expected sum, max, min or argmax, got kind 1");
}

TEST(Outside, Multiplies) {
  for (Layout layout : kLayouts)
    for (const int64_t beta : {0, 1}) {
      Tensor a(kType<float>, {2, 3, 5}, layout), y(kType<float>, {2, 3, 4}, layout);
      Tensor b(kType<float>, {2, 5, 4}, Shape{0, 4, 1});  // one matrix for the whole batch
      std::vector<float> expected(24, beta ? 0.5f : 0.0f);
      for (int64_t i = 0; i < 30; ++i) a.put(i, float(i % 7) - 3);
      for (int64_t i = 0; i < 20; ++i) b.put(i, float(i % 5) - 1);
      for (int64_t i = 0; i < 24; ++i) y.put(i, 0.5f);
      for (int64_t i = 0; i < 24; ++i)
        for (int64_t l = 0; l < 5; ++l)
          expected[size_t(i)] += a.get<float>(i / 4 * 5 + l) * b.get<float>(l * 4 + i % 4);
      run({"matmul", {&a, &b}, {&y}, {Attr::integer(beta)}, {}});
      EXPECT_EQ(y.values<float>(), expected);
    }
}

TEST(Outside, RowsAreTheManifests) {
  EXPECT_EQ(std::string(tiny().table().name), "tiny");
  EXPECT_EQ(tiny().rows().size(), 8u);
  EXPECT_EQ(tiny().table().devices, nullptr);
  EXPECT_EQ(tiny().query()(TG_ABI_VERSION + 1, host::table()), nullptr);
  // The bytes beside the library are also in it, where stripping leaves them.
  std::ifstream manifest(path.substr(0, path.rfind('/')) + "/tiny.plugin.json", std::ios::binary);
  std::ifstream library(path, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(manifest), {}},
      bytes{std::istreambuf_iterator<char>(library), {}};
  ASSERT_GT(text.size(), 100u);
  EXPECT_NE(bytes.find(text), std::string::npos);
}

}  // namespace
}  // namespace tg::test

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  if (argc != 2) {
    std::fprintf(stderr, "usage: %s libtengen_tiny.so\n", argv[0]);
    return 2;
  }
  tg::test::path = argv[1];
  return RUN_ALL_TESTS();
}
