// SPDX-License-Identifier: Apache-2.0
// What rows say beyond dtypes holds: their revision of the op, and for map rows max_rank, baked dims and strides, and packed in
// every part of a program that is cut up. The plugin `rows` fails where it does not.
#include <gtest/gtest.h>
#include <tengen/op.h>
#include <tengen/runtime.h>

#include <algorithm>

#include "transform/transform.h"

namespace tg {
namespace {

// factor * x + shift * (sign of x's last axis as the op counts it) + bias, at revision 2: revision 1 had x and factor.
const Op& scale() {
  static const Op& op = [&]() -> const Op& {
    auto o = std::make_unique<Op>();
    o->name = o->kernel = "test_scale";
    o->inputs = {{"x", "f32"}, {"bias", "f32", true, false, 2}};
    AttrSpec factor{"factor", "", AttrKind::floating, Attr(2.0)}, axis{"axis", "", AttrKind::integer, Attr(-1)},
        shift{"shift", "", AttrKind::floating, Attr(0.0)}, speed{"speed", "", AttrKind::floating, Attr(1.0), true};
    axis.since = shift.since = speed.since = 2;
    o->attrs = {factor, axis, shift, speed};
    o->outputs = {{"y", ""}};
    o->revision = 2;
    o->infer = [](const Inference& c) { return one(c.input(0)); };
    o->canonical = [](std::span<const Arg> in, std::span<Attr> attrs) {
      if (attrs[1].integer() < 0) attrs[1] = Attr(attrs[1].integer() + in[0].t.rank());
    };
    o->decompose = [](const Call& c) {
      Tensor y = tg::op<"add">({tg::op<"mul">({c.input(0), c.attr(0).floating()}), c.attr(2).floating() * double(c.attr(1).integer() + 1)});
      if (c.has(1)) y = tg::op<"add">({y, c.input(1)});
      return Tensors{y};
    };
    return add_op(std::move(o));
  }();
  return op;
}

Tensor floats(std::vector<float> v) { return Tensor::from_host(v.data(), Ints{int64_t(v.size())}, DType::f32, host_device()); }
std::vector<float> values(const Tensor& t) {
  std::vector<float> v(size_t(t.numel()));
  t.to_host(v.data());
  return v;
}
Tensor shorts(std::vector<int16_t> v, const Ints& shape) { return Tensor::from_host(v.data(), shape, DType::i16, host_device()); }
std::vector<int16_t> short_values(const Tensor& t) {
  std::vector<int16_t> v(size_t(t.numel()));
  t.to_host(v.data());
  return v;
}
Tensor counting(const Ints& shape) {
  std::vector<int16_t> v(size_t(numel(shape)));
  for (size_t i = 0; i < v.size(); ++i) v[i] = int16_t(int(i) % 41 - 20);
  return shorts(v, shape);
}
// The kernel that runs a call, and the reason of a candidate that does not.
std::string chosen(const Why& w) {
  for (const WhyCandidate& c : w.candidates)
    if (c.chosen) return c.kernel;
  return w.verdict;
}
std::string reason(const Why& w, const std::string& kernel) {
  for (const WhyCandidate& c : w.candidates)
    if (c.kernel == kernel || c.reason.find(kernel) != std::string::npos) return c.reason;
  return "";
}
Why ask(const Op& op, std::vector<Ints> shapes, DType t, std::vector<Attr> attrs = {}) {
  std::vector<TensorSpec> specs;
  for (const Ints& s : shapes) specs.push_back({t, symbolic(s)});
  return why(op, specs, attrs, host_device());
}

TEST(Revisions, AnOlderRowServesCallsThatUseNothingNewer) {
  const Why w = ask(scale(), {{3}}, DType::f32);
  EXPECT_EQ(chosen(w), "rows.scale_old");
  EXPECT_NE(reason(w, "rows.scale_new").find("implements revision 3 of the op, this version has 2"), std::string::npos) << reason(w, "rows.scale_new");
  const Arg x[] = {floats({1, -2, 3})};
  const uint64_t before = dispatch_stats().decompositions;
  EXPECT_EQ(values(call(scale(), x)[0]), (std::vector<float>{2, -4, 6}));
  const Attr three[] = {Attr(3.0)};
  EXPECT_EQ(values(call(scale(), x, three)[0]), (std::vector<float>{3, -6, 9}));
  // Newer attributes given, with the values that they have anyhow: -1 is axis 0 here. A run attribute alone changes nothing.
  const Attr same[] = {Attr(3.0), Attr(0), Attr(0.0), Attr(7.0)};
  EXPECT_EQ(values(call(scale(), x, same)[0]), (std::vector<float>{3, -6, 9}));
  EXPECT_EQ(dispatch_stats().decompositions, before);
}

TEST(Revisions, NewerAttributesAndInputsPassItBy) {
  const Arg x[] = {floats({1, -2, 3})};
  const uint64_t before = dispatch_stats().decompositions;
  const Attr shifted[] = {Attr(2.0), Attr(-1), Attr(0.5)};
  EXPECT_EQ(values(call(scale(), x, shifted)[0]), (std::vector<float>{2.5, -3.5, 6.5}));
  EXPECT_EQ(dispatch_stats().decompositions, before + 1);
  const Arg with_bias[] = {x[0], floats({10, 20, 30})};
  EXPECT_EQ(values(call(scale(), with_bias)[0]), (std::vector<float>{12, 16, 36}));
  EXPECT_EQ(dispatch_stats().decompositions, before + 2);
  const Arg absent[] = {x[0], Arg()};
  EXPECT_EQ(values(call(scale(), absent)[0]), (std::vector<float>{2, -4, 6}));
  EXPECT_EQ(dispatch_stats().decompositions, before + 2);
  EXPECT_NE(reason(ask(scale(), {{3}}, DType::f32, {shifted[0], shifted[1], shifted[2]}), "rows.scale_old")
                .find("implements revision 1 of the op, the call uses shift of revision 2"), std::string::npos);
}

TEST(Revisions, TheTableRefusesWhatOldRowsCouldNotIgnore) {
  auto broken = [](auto&& change) {
    auto o = std::make_unique<Op>();
    o->name = "test_broken";
    o->revision = 2;
    o->decompose = [](const Call&) { return Tensors{}; };
    change(*o);
    return o;
  };
  AttrSpec later{"a", "", AttrKind::floating, {}};
  later.since = 2;
  EXPECT_ANY_THROW(add_op(broken([&](Op& o) { o.attrs = {later}; })));  // no default
  later.default_value = Attr(1.0);
  AttrSpec first{"b", "", AttrKind::floating, Attr(1.0)};
  EXPECT_ANY_THROW(add_op(broken([&](Op& o) { o.attrs = {later, first}; })));  // not last
  later.run = true;
  EXPECT_ANY_THROW(add_op(broken([&](Op& o) { o.attrs = {first, later}; })));  // nothing enables it
  EXPECT_ANY_THROW(add_op(broken([&](Op& o) { o.inputs = {{"x", "", false, false, 2}}; })));  // not optional
}

TEST(MapRows, BakedDimsGetAPlanEach) {
  const Op& add = require_op("add");
  EXPECT_EQ(chosen(ask(add, {{4, 3}, {4, 3}}, DType::i16)), "rows.dims");
  for (const Ints& shape : {Ints{4, 3}, Ints{2, 6}, Ints{4, 3}, Ints{1, 5}}) {
    const Tensor x = counting(shape);
    std::vector<int16_t> twice = short_values(x);
    for (int16_t& v : twice) v = int16_t(2 * v);
    EXPECT_EQ(short_values(op<"add">({x, x})), twice);
    EXPECT_EQ(short_values(op<"add">({x, counting({1})})), [&] {  // broadcast
      std::vector<int16_t> v = short_values(x);
      for (int16_t& e : v) e = int16_t(e - 20);
      return v;
    }());
  }
  const uint64_t plans = dispatch_stats().plans_created;
  const Tensor x = counting({4, 3});
  for (int i = 0; i < 5; ++i) op<"add">({x, x});
  EXPECT_EQ(dispatch_stats().plans_created, plans);
  op<"add">({counting({5, 3}), counting({5, 3})});
  EXPECT_EQ(dispatch_stats().plans_created, plans + 1);
}

TEST(MapRows, BakedStridesGetAPlanEach) {
  EXPECT_EQ(chosen(ask(require_op("sub"), {{4, 3}, {4, 3}}, DType::i16)), "rows.strides");
  const Tensor x = counting({6, 4}), y = counting({4, 6});
  const Tensor yt = op<"permute">({y}, {Ints{1, 0}});
  const std::vector<int16_t> a = short_values(x), b = short_values(yt);
  std::vector<int16_t> expected(a.size());
  for (size_t i = 0; i < a.size(); ++i) expected[i] = int16_t(a[i] - b[i]);
  EXPECT_EQ(short_values(op<"sub">({x, yt})), expected);                      // a transposed operand
  EXPECT_EQ(short_values(op<"sub">({x, op<"copy">({yt})})), expected);        // a contiguous one
  EXPECT_EQ(short_values(op<"permute">({op<"sub">({op<"permute">({x}, {Ints{1, 0}}), y})}, {Ints{1, 0}})), expected);
  const Tensor into = op<"permute">({counting({4, 6})}, {Ints{1, 0}});       // a strided result
  const Arg in[] = {x, yt};
  const Tensor out[] = {into};
  call_into(require_op("sub"), in, {}, out);
  EXPECT_EQ(short_values(into), expected);
}

TEST(MapRows, RanksBeyondMaxRankGoElsewhere) {
  const Op& mul = require_op("mul");
  EXPECT_EQ(chosen(ask(mul, {{4, 3}, {4, 3}}, DType::i16)), "rows.small");
  const Why w = ask(mul, {{2, 2, 3}, {2, 2, 3}}, DType::i16);
  EXPECT_NE(chosen(w), "rows.small");
  EXPECT_NE(chosen(w), "none");
  EXPECT_NE(reason(w, "takes rank up to 2").find("of rank 3"), std::string::npos);
  const Tensor x = counting({2, 2, 3});
  std::vector<int16_t> square = short_values(x);
  for (int16_t& v : square) v = int16_t(v * v);
  EXPECT_EQ(short_values(op<"mul">({x, x})), square);
}

TEST(MapRows, NewerRevisionsGoElsewhere) {
  const Why w = ask(require_op("floor_divide"), {{4}, {4}}, DType::i16);
  EXPECT_NE(chosen(w), "rows.later");
  EXPECT_NE(chosen(w), "none");
}

// max(abs(x), z): the first part takes any strides, the second packed ones alone.
TEST(MapRows, EveryPartGetsItsOperandsPacked) {
  auto o = std::make_unique<Op>();
  o->name = "test_abs_max";
  o->inputs = {{"x", ""}, {"z", ""}};
  o->outputs = {{"y", ""}};
  o->map = [](MapBuilder& b, auto in, auto) -> MapResult { return b.emit(TG_MAP_MAX, b.emit(TG_MAP_ABS, in[0]), in[1]); };
  const Op& op = add_op(std::move(o));
  EXPECT_EQ(chosen(ask(op, {{4, 6}, {4, 6}}, DType::i16)), "rows.loose");
  const Tensor x = counting({4, 6}), z = tg::op<"permute">({counting({6, 4})}, {Ints{1, 0}}), row = counting({6});
  const auto expect = [&](const Tensor& second) {
    const std::vector<int16_t> a = short_values(x), b = short_values(tg::op<"copy">({tg::op<"expand">({second}, {Ints{4, 6}})}));
    std::vector<int16_t> v(a.size());
    for (size_t i = 0; i < a.size(); ++i) v[i] = std::max<int16_t>(int16_t(std::abs(a[i])), b[i]);
    return v;
  };
  const auto run = [&](const Tensor& second) {
    const Arg in[] = {x, second};
    return short_values(call(op, in)[0]);
  };
  EXPECT_EQ(run(z), expect(z));
  EXPECT_EQ(run(row), expect(row));
  const Arg in[] = {x, z};  // into a strided tensor
  const Tensor out[] = {tg::op<"permute">({counting({6, 4})}, {Ints{1, 0}})};
  call_into(op, in, {}, out);
  EXPECT_EQ(short_values(out[0]), expect(z));
}

TEST(Layouts, ARowThatCannotKeepItsWordIsPassedBy) {
  const Why lost = ask(require_op("softmax"), {{4, 4}}, DType::f64);
  EXPECT_NE(reason(lost, "rows.lost").find("has no row for reorder that makes it plain"), std::string::npos) << reason(lost, "rows.lost");
  const Why silent = ask(require_op("softmax"), {{4, 4}}, DType::f16);
  EXPECT_NE(reason(silent, "rows.silent").find("expected the layouts of 2 arguments, got 0"), std::string::npos) << reason(silent, "rows.silent");
  for (DType t : {DType::f64, DType::f16}) {
    const float x[] = {0, 0, 0, 0};
    const Tensor y = op<"softmax">({Tensor::from_host(x, Ints{4}, DType::f32, host_device()).cast(t)}, {-1});
    EXPECT_EQ(y.storage()->layout(), 0);
    EXPECT_EQ(values(y.cast(DType::f32)), (std::vector<float>{0.25, 0.25, 0.25, 0.25}));
  }
}

}  // namespace
}  // namespace tg
