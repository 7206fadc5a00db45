// SPDX-License-Identifier: Apache-2.0
// Reverse mode, through the C++ interface: values against calculus done by hand, and the ways to misuse it.
#include <gtest/gtest.h>
#include <tengen/autograd.h>
#include <tengen/runtime.h>

#include <cmath>

namespace tg {
namespace {

Tensor make(std::vector<double> v, Ints shape = {}) {
  if (shape.empty() && v.size() != 1) shape = Ints{int64_t(v.size())};
  return Tensor::from_host(v.data(), shape, DType::f64, host_device());
}
std::vector<double> values(const Tensor& t) {
  std::vector<double> v(t.numel());
  t.to_host(v.data());
  return v;
}
Tensor leaf(std::vector<double> v, Ints shape = {}) { return make(std::move(v), std::move(shape)).set_requires_grad(true); }
void run_backward(const Tensor& t, bool keep = false) {
  const Tensor outs[] = {t};
  backward(outs, {}, keep);
}
Tensor sum(const Tensor& t) { return op<"sum">({t}); }

TEST(Autograd, ProductRule) {
  Tensor x = leaf({1, 2, 3}), y = leaf({4, 5, 6});
  run_backward(sum(op<"mul">({x, y})));
  EXPECT_EQ(values(x.grad()), (std::vector<double>{4, 5, 6}));
  EXPECT_EQ(values(y.grad()), (std::vector<double>{1, 2, 3}));
}

TEST(Autograd, BroadcastOperandsGetSummedGradients) {
  Tensor x = leaf({1, 2, 3, 4, 5, 6}, {2, 3}), b = leaf({10, 20, 30}), s = leaf({2});
  run_backward(sum(op<"mul">({op<"add">({x, b}), s})));
  EXPECT_EQ(values(b.grad()), (std::vector<double>{4, 4, 4}));
  EXPECT_EQ(values(s.grad()), (std::vector<double>{21 + 2 * 60}));
  EXPECT_EQ(values(x.grad()), std::vector<double>(6, 2.0));
}

TEST(Autograd, LeavesAccumulate) {
  Tensor x = leaf({3});
  run_backward(op<"mul">({x, x}));
  run_backward(op<"mul">({x, x}));
  EXPECT_EQ(values(x.grad()), (std::vector<double>{12}));
  x.set_grad(Tensor());
  EXPECT_FALSE(x.grad().defined());
}

TEST(Autograd, GradientsOfGradients) {
  Tensor x = leaf({2});
  Tensor y = op<"mul">({op<"mul">({x, x}), x});  // x^3
  const Tensor outs[] = {y}, ins[] = {x};
  Tensor d1 = grad(outs, ins, {}, true, true)[0];
  EXPECT_EQ(values(d1), (std::vector<double>{12}));
  const Tensor outs2[] = {d1};
  Tensor d2 = grad(outs2, ins, {}, true, true)[0];
  EXPECT_EQ(values(d2), (std::vector<double>{12}));
  const Tensor outs3[] = {d2};
  EXPECT_EQ(values(grad(outs3, ins)[0]), (std::vector<double>{6}));
}

TEST(Autograd, SecondDerivativeThroughASavedOutput) {
  Tensor x = leaf({0.5});
  Tensor y = op<"exp">({x});
  const Tensor outs[] = {y}, ins[] = {x};
  Tensor d1 = grad(outs, ins, {}, true, true)[0];
  const Tensor outs2[] = {d1};
  Tensor d2 = grad(outs2, ins)[0];
  EXPECT_NEAR(values(d2)[0], std::exp(0.5), 1e-14);
}

TEST(Autograd, NoGradAndDetach) {
  Tensor x = leaf({3});
  {
    GradMode off(false);
    EXPECT_FALSE(op<"mul">({x, x}).requires_grad());
  }
  Tensor d = op<"mul">({x, 2.0}).detach();
  EXPECT_FALSE(d.requires_grad());
  EXPECT_TRUE(d.is_leaf());
  run_backward(op<"mul">({d, x}));
  EXPECT_EQ(values(x.grad()), (std::vector<double>{6}));
}

TEST(Autograd, AFreedGraphSaysSo) {
  Tensor x = leaf({3});
  Tensor y = op<"mul">({x, x});
  run_backward(y, true);
  run_backward(y);
  EXPECT_EQ(values(x.grad()), (std::vector<double>{12}));
  try {
    run_backward(y);
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::runtime);
    EXPECT_NE(std::string(e.what()).find("retain_graph"), std::string::npos);
  }
}

TEST(Autograd, InPlaceChangeOfASavedTensorIsFound) {
  Tensor x = leaf({3});
  Tensor y = op<"mul">({x, 2.0});
  Tensor z = op<"mul">({y, y});
  const Arg in[] = {y, 1.0};
  const Tensor out[] = {y};
  call_into(op_named<"add">(), in, {}, out);
  EXPECT_THROW(run_backward(z), Error);
}

TEST(Autograd, InPlaceOnAnIntermediateIsRecorded) {
  Tensor x = leaf({3});
  Tensor y = op<"mul">({x, 2.0});
  const Arg in[] = {y, x};
  const Tensor out[] = {y};
  call_into(op_named<"add">(), in, {}, out);  // y = 2x + x
  run_backward(op<"mul">({y, 1.0}));
  EXPECT_EQ(values(y), (std::vector<double>{9}));
  EXPECT_EQ(values(x.grad()), (std::vector<double>{3}));
}

TEST(Autograd, InPlaceOnALeafIsRefused) {
  Tensor x = leaf({3});
  const Arg in[] = {x, 1.0};
  const Tensor out[] = {x};
  EXPECT_THROW(call_into(op_named<"add">(), in, {}, out), Error);
  GradMode off(false);
  EXPECT_NO_THROW(call_into(op_named<"add">(), in, {}, out));
  EXPECT_EQ(values(x), (std::vector<double>{4}));
}

TEST(Autograd, AssignmentSendsGradientsToBothSides) {
  Tensor x = leaf({1, 2, 3, 4}), v = leaf({10, 20});
  Tensor y = op<"mul">({x, 1.0});
  assign_view(y, y.alias(Ints{2}, Ints{1}, y.impl()->desc.byte_offset + 8), v);
  EXPECT_EQ(values(y), (std::vector<double>{1, 10, 20, 4}));
  run_backward(sum(op<"mul">({y, make({1, 2, 3, 4})})));
  EXPECT_EQ(values(x.grad()), (std::vector<double>{1, 0, 0, 4}));
  EXPECT_EQ(values(v.grad()), (std::vector<double>{2, 3}));
}

TEST(Autograd, AStaleViewIsRefused) {
  Tensor x = leaf({1, 2, 3});
  Tensor y = op<"mul">({x, 1.0});
  Tensor view = op<"slice">({y}, {0, 0, 2, 1});
  const Arg in[] = {y, 1.0};
  const Tensor out[] = {y};
  call_into(op_named<"add">(), in, {}, out);
  EXPECT_THROW(op<"mul">({view, 2.0}), Error);
}

TEST(Autograd, HooksSeeAndChangeGradients) {
  Tensor x = leaf({3});
  Tensor y = op<"mul">({x, 2.0});
  double seen = 0;
  const int64_t id = register_hook(y, [&](const Tensor& g) {
    seen = g.item();
    return op<"mul">({g, 10.0});
  });
  run_backward(op<"mul">({y, 5.0}), true);
  EXPECT_EQ(seen, 5);
  EXPECT_EQ(values(x.grad()), (std::vector<double>{100}));
  remove_hook(y, id);
}

TEST(Autograd, GradOfUnusedInput) {
  Tensor x = leaf({3}), unused = leaf({1});
  const Tensor outs[] = {op<"mul">({x, x})}, ins[] = {x, unused};
  EXPECT_THROW(grad(outs, ins, {}, true), Error);
  Tensors g = grad(outs, ins, {}, true, false, true);
  EXPECT_TRUE(g[0].defined());
  EXPECT_FALSE(g[1].defined());
  EXPECT_FALSE(x.grad().defined());
}

TEST(Autograd, IntegersHaveNoGradient) {
  EXPECT_THROW(Tensor::empty(Ints{2}, DType::i64, host_device()).set_requires_grad(true), Error);
}

TEST(Autograd, DeepGraphsDoNotRecurse) {
  Tensor x = leaf({1});
  Tensor y = x;
  for (int i = 0; i < 100000; ++i) y = op<"add">({y, 1.0});
  run_backward(y);
  EXPECT_EQ(values(x.grad()), (std::vector<double>{1}));
}

}  // namespace
}  // namespace tg
