// SPDX-License-Identifier: Apache-2.0
// Graphs as text, what verify refuses, passes on small graphs, places in the arena, programs against eager calls.
#include <gtest/gtest.h>
#include <tengen/passes.h>
#include <tengen/program.h>
#include <tengen/runtime.h>

#include <random>

#include "compile/arena.h"

namespace tg {
namespace {

std::string optimised(size_t (*pass)(Graph&), const std::string& text) {
  auto g = Graph::parse(text);
  g->verify();
  pass(*g);
  g->verify();
  return g->text();
}

std::string error_of(const std::string& text) {
  try {
    Graph::parse(text)->verify();
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

TEST(GraphText, ComesBackAsItWas) {
  const std::string text =
      "net(%x: f32[4, 3], %y: i64[2, 2] strides=(1, 2)) {\n"
      "  state %w.weight: f32[2, 3]\n"
      "  %0: f32[4, 2] = linear(%x, %w.weight, _)\n"
      "  %1: f32[4, 2] = mul(%0, 2.5)\n"
      "  %2: f32[4, 2] = add(%1, -3)\n"
      "  %3: f32[4, 2], _, %4: f32[4] = layer_norm(%2, _, _, eps=0.001)\n"
      "  %5: f32[2, 3] = mul(%w.weight, 0.5) into (%w.weight)\n"
      "  %6: f32[4, 2] = where(true, %2, inf)\n"
      "  %7: f32[4, 2] = dropout(%6, p=0.25) random=0\n"
      "  random 2\n"
      "  return %3, %7\n"
      "  update %w.weight = %5\n"
      "}\n";
  EXPECT_EQ(Graph::parse(text)->text(), text);
  EXPECT_EQ(Graph::parse(text)->clone()->text(), text);
}

TEST(GraphText, ErrorsNameTheLine) {
  EXPECT_NE(error_of("g(%x: f32[2]) {\n  %0: f32[2] = neg(%z)\n}\n").find("line 2"), std::string::npos);
  EXPECT_NE(error_of("g(%x: f32[2]) {\n  %0: f32[2] = nag(%x)\n}\n").find("neg"), std::string::npos);  // the nearest name
  EXPECT_NE(error_of("g(%x: f32[2]) {\n  %0: f32[2] = softmax(%x, axs=0)\n}\n").find("attribute"), std::string::npos);
  EXPECT_NE(error_of("g(%x: f32[2]) {\n  %x: f32[2] = neg(%x)\n}\n").find("again"), std::string::npos);
  EXPECT_NE(error_of("g(%x: f32[-2]) {\n}\n").find("0 or more"), std::string::npos);
  EXPECT_NE(error_of("g(%x: f32[2]) {").find("end"), std::string::npos);
}

TEST(GraphVerify, SpecsAreWhatOpsInfer) {
  EXPECT_EQ(error_of("g(%x: f32[2, 3]) {\n  %0: f32[3, 2] = transpose(%x)\n  return %0\n}\n"), "");
  EXPECT_NE(error_of("g(%x: f32[2, 3]) {\n  %0: f32[2, 3] = transpose(%x)\n  return %0\n}\n").find("f32[3, 2]"), std::string::npos);
  EXPECT_NE(error_of("g(%x: f32[2, 3]) {\n  %0: i64[3, 2] = transpose(%x)\n  return %0\n}\n").find("f32[3, 2]"), std::string::npos);
  EXPECT_NE(error_of("g(%x: f32[2]) {\n  state %s: f32[3]\n  update %s = %x\n}\n").find("update of %s"), std::string::npos);
}

TEST(GraphVerify, UsersComeAfterOperands) {
  auto g = Graph::parse("g(%x: f32[2]) {\n  %0: f32[2] = neg(%x)\n  %1: f32[2] = exp(%0)\n  return %1\n}\n");
  std::swap(g->nodes.front(), g->nodes.back());
  EXPECT_THROW(g->verify(), Error);
}

TEST(Passes, DeadCode) {
  EXPECT_EQ(optimised(remove_dead_code,
                      "g(%x: f32[2]) {\n  state %s: f32[2]\n  %0: f32[2] = neg(%x)\n  %1: f32[2] = exp(%0)\n  %2: f32[2] = abs(%0)\n"
                      "  %3: f32[2] = sin(%x)\n  return %2\n  update %s = %3\n}\n"),
            "g(%x: f32[2]) {\n  state %s: f32[2]\n  %0: f32[2] = neg(%x)\n  %2: f32[2] = abs(%0)\n  %3: f32[2] = sin(%x)\n  return %2\n"
            "  update %s = %3\n}\n");
}

TEST(Passes, DeadRandomCallsLeaveTheOthersTheirNumbers) {
  EXPECT_EQ(optimised(remove_dead_code,
                      "g(%x: f32[8]) {\n  %0: f32[8] = dropout(%x) random=0\n  %1: f32[8] = dropout(%x) random=2\n  random 4\n  return %1\n}\n"),
            "g(%x: f32[8]) {\n  %1: f32[8] = dropout(%x) random=2\n  random 4\n  return %1\n}\n");
}

TEST(Passes, CommonSubexpressions) {
  EXPECT_EQ(optimised(merge_common_subexpressions,
                      "g(%x: f32[2]) {\n  %0: f32[2] = exp(%x)\n  %1: f32[2] = exp(%x)\n  %2: f32[2] = add(%0, %1)\n  %3: f32[2] = add(%0, 1.0)\n"
                      "  %4: f32[2] = add(%0, 2.0)\n  return %2, %3, %4\n}\n"),
            "g(%x: f32[2]) {\n  %0: f32[2] = exp(%x)\n  %2: f32[2] = add(%0, %0)\n  %3: f32[2] = add(%0, 1.0)\n  %4: f32[2] = add(%0, 2.0)\n"
            "  return %2, %3, %4\n}\n");
  const std::string random = "g(%x: f32[8]) {\n  %0: f32[8] = dropout(%x) random=0\n  %1: f32[8] = dropout(%x) random=2\n  random 4\n  return %0, %1\n}\n";
  EXPECT_EQ(optimised(merge_common_subexpressions, random), random);
}

TEST(Passes, Constants) {
  auto g = Graph::parse("g(%x: f32[2]) {\n  %0: f32[] = full(shape=(), value=1.5)\n  %1: f32[1] = reshape(%0, shape=(1))\n"
                        "  %2: f32[2] = expand(%1, shape=(2))\n  %3: f32[2] = mul(%x, %2)\n  return %3\n}\n");
  EXPECT_EQ(fold_constants(*g), 3u);
  ASSERT_EQ(g->nodes.size(), 1u);
  ASSERT_EQ(g->inputs.size(), 2u);
  EXPECT_EQ(g->inputs[1]->bound.shape(), Ints({2}));
  float values[2];
  g->inputs[1]->bound.to_host(values);
  EXPECT_EQ(values[0], 1.5f);
  EXPECT_EQ(values[1], 1.5f);
}

TEST(Arena, BlocksThatLiveTogetherLieApart) {
  std::mt19937 random(1);
  for (int trial = 0; trial < 200; ++trial) {
    const size_t n = 1 + random() % 40, steps = 1 + random() % 30;
    std::vector<ArenaBlock> blocks;
    for (size_t i = 0; i < n; ++i) {
      const size_t a = random() % steps, b = random() % steps;
      blocks.push_back({random() % 500, std::min(a, b), std::max(a, b)});
    }
    const uint64_t size = plan_arena(blocks, 64);
    uint64_t most = 0;  // no plan can do with less
    for (size_t t = 0; t < steps; ++t) {
      uint64_t alive = 0;
      for (const ArenaBlock& b : blocks)
        if (b.first <= t && t <= b.last) alive += (b.bytes + 63) / 64 * 64;
      most = std::max(most, alive);
    }
    EXPECT_GE(size, most);
    EXPECT_LE(size, 2 * most + 64);
    for (size_t i = 0; i < n; ++i) {
      EXPECT_EQ(blocks[i].offset % 64, 0u);
      EXPECT_LE(blocks[i].offset + blocks[i].bytes, size);
      for (size_t j = 0; j < i; ++j) {
        const ArenaBlock &a = blocks[i], &b = blocks[j];
        if (a.last < b.first || b.last < a.first || a.bytes == 0 || b.bytes == 0) continue;
        EXPECT_TRUE(a.offset + a.bytes <= b.offset || b.offset + b.bytes <= a.offset);
      }
    }
  }
}

Tensor filled(const Ints& shape, double start) {
  return op<"add">({op<"reshape">({op<"arange">({}, {0.0, double(numel(shape)), 1.0, DType::f32})}, {shape}), start});
}
std::vector<float> values_of(const Tensor& t) {
  std::vector<float> v(size_t(t.numel()));
  t.to_host(v.data());
  return v;
}

TEST(Programs, RunAsEagerCallsDo) {
  auto g = Graph::parse(
      "g(%x: f32[3, 4]) {\n  state %w: f32[2, 4]\n  %0: f32[3, 2] = linear(%x, %w, _)\n  %1: f32[3, 2] = softmax(%0, axis=1)\n"
      "  %2: f32[2, 4] = mul(%w, 0.5) into (%w)\n  return %1\n  update %w = %2\n}\n");
  const Tensor w = filled({2, 4}, -3), x = filled({3, 4}, 0.25);
  g->inputs[1]->bound = w;
  auto program = lower(*g);
  for (int run = 0; run < 3; ++run) {
    const auto want = values_of(op<"softmax">({op<"linear">({x, w})}, {1}));
    const auto halved = values_of(op<"mul">({w, 0.5}));
    const Program::Results r = program->run({&x, 1});
    EXPECT_EQ(values_of(r.outputs[0]), want);
    EXPECT_EQ(values_of(w), halved);  // written where it is
  }
  EXPECT_EQ(program->calls(), 0u);
}

TEST(Programs, AnOldValueThatIsStillLookedAtIsNotWrittenOver) {
  auto g = Graph::parse(
      "g(%x: f32[4]) {\n  %0: f32[4] = add(%x, 1.0)\n  %1: f32[4] = mul(%0, 2.0) into (%0)\n  %2: f32[4] = add(%0, %1)\n  return %0, %1, %2\n}\n");
  const Tensor x = filled({4}, 0);
  const Program::Results r = lower(*g)->run({&x, 1});
  EXPECT_EQ(values_of(r.outputs[0]), (std::vector<float>{1, 2, 3, 4}));
  EXPECT_EQ(values_of(r.outputs[1]), (std::vector<float>{2, 4, 6, 8}));
  EXPECT_EQ(values_of(r.outputs[2]), (std::vector<float>{3, 6, 9, 12}));
}

TEST(Programs, ArgumentsOfAnotherKindAreErrors) {
  auto g = Graph::parse("g(%x: f32[4]) {\n  %0: f32[4] = neg(%x)\n  return %0\n}\n");
  auto program = lower(*g);
  const Tensor wrong = filled({3}, 0);
  EXPECT_THROW(program->run({&wrong, 1}), Error);
  EXPECT_THROW(program->run({}), Error);
}

TEST(Programs, MemoryIsSharedByWhatDoesNotLiveTogether) {
  std::string text = "g(%x: f32[1000]) {\n  %0: f32[1000] = neg(%x)\n";
  for (int i = 1; i < 20; ++i) text += "  %" + std::to_string(i) + ": f32[1000] = exp(%" + std::to_string(i - 1) + ")\n";
  auto program = lower(*Graph::parse(text + "  return %19\n}\n"));
  EXPECT_EQ(program->launches(), 1u);  // a chain of elementwise calls is one launch, and needs no memory
  EXPECT_EQ(program->arena_bytes(), 0u);
  program = lower(*Graph::parse(text + "  return %19\n}\n"), {}, {.fuse = false});
  EXPECT_LE(program->arena_bytes(), 2 * 4032u);
  EXPECT_EQ(program->result_bytes(), 4000u);
  EXPECT_EQ(program->launches(), 20u);
}

TEST(Fusion, WhatOthersReadStays) {
  const std::string text =
      "g(%x: f32[6], %y: f32[2, 6]) {\n  %0: f32[6] = add(%x, 1.0)\n  %1: f32[6] = mul(%0, %x)\n  %2: f32[] = sum(%0)\n"
      "  %3: f32[2, 6] = add(%1, %y)\n  %4: f32[6] = sub(%1, %2)\n  return %3, %4, %0\n}\n";
  const Tensor x = filled({6}, -2), y = filled({2, 6}, 0.5);
  const Tensor given[] = {x, y};
  const Program::Results plain = lower(*Graph::parse(text), {}, {.fuse = false})->run(given);
  auto program = lower(*Graph::parse(text));
  const Program::Results fused = program->run(given);
  for (size_t i = 0; i < 3; ++i) EXPECT_EQ(values_of(fused.outputs[i]), values_of(plain.outputs[i])) << program->text();
  EXPECT_LT(program->launches(), 5u);
}

TEST(Fusion, AWriteIntoWhatIsReadByAnotherViewIsLeftAlone) {
  // %2 is written over %0, of which %1 is the transpose.
  const std::string text =
      "g(%x: f32[3, 3]) {\n  %0: f32[3, 3] = add(%x, 1.0)\n  %1: f32[3, 3] = transpose(%0)\n  %2: f32[3, 3] = mul(%0, %1) into (%0)\n"
      "  %3: f32[3, 3] = exp(%2) into (%2)\n  return %3\n}\n";
  const Tensor x = filled({3, 3}, -1);
  const Program::Results plain = lower(*Graph::parse(text), {}, {.fuse = false})->run({&x, 1});
  const Program::Results fused = lower(*Graph::parse(text))->run({&x, 1});
  EXPECT_EQ(values_of(fused.outputs[0]), values_of(plain.outputs[0]));
  const Tensor a = op<"add">({x, 1.0});
  EXPECT_EQ(values_of(plain.outputs[0]), values_of(op<"exp">({op<"mul">({a, op<"transpose">({a})})})));
}

}  // namespace
}  // namespace tg
