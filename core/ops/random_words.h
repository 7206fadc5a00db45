// SPDX-License-Identifier: Apache-2.0
// Uniform numbers from Philox words, for the files of random ops.
#pragma once
#include <tengen/random.h>

#include "common.h"

namespace tg {

// Words of `shape`, as i32: every plugin computes with those.
inline Tensor random_words(const Ints& shape, Device* device) {
  const PhiloxSlice s = take_random(numel(shape));
  return op<"bitcast">({op<"floor_random">({Arg()}, {shape, s.seed, s.offset}, device)}, {DType::i32});
}
inline Ints with_lead(int64_t n, const Ints& shape) {
  Ints s = shape;
  s.insert(0, n);
  return s;
}

// Uniform in [0, 1) of a floating dtype: as many bits as it holds exactly; f64 takes two words and has 48.
inline Tensor uniform01(const Ints& shape, DType t, Device* device) {
  const int bits = t == DType::f16 ? 11 : t == DType::bf16 ? 8 : 24;
  if (t != DType::f64) return op<"unit_from_bits">({random_words(shape, device)}, {bits});
  const Tensor w = random_words(with_lead(2, shape), device);
  const Tensor high = op<"unit_from_bits">({op<"select">({w}, {0, 0})}, {24}).cast(t);
  const Tensor low = op<"unit_from_bits">({op<"select">({w}, {0, 1})}, {24}).cast(t);
  return op<"add">({high, op<"mul">({low, std::ldexp(1.0, -24)})});
}

// Where numbers come from tensors of parameters: floats, and the result is as the first.
inline Specs random_like(const Inference& c) {
  check_type(is_floating(c.input(0).dtype), c.name(), "floats", c.input(0).dtype);
  return one(c.input(0));
}
inline Specs random_like_both(const Inference& c) {
  const DType t = promote(c.input(0).dtype, c.input(1).dtype);
  check_type(is_floating(t), c.name(), "floats", t);
  return one({t, broadcast(c.name(), c.input(0).shape, c.input(1).shape)});
}
// A map op between uniform numbers and a distribution's.
inline OpBuilder random_step(OpBuilder o, const char* doc, std::initializer_list<const char*> inputs, MapFn f) {
  o.internal().family("random").doc(doc);
  for (const char* name : inputs) o.input(name, "f32 or f64");
  return o.map(Promotion::none, std::move(f)).bounds(16, "exact_math.h's few ulp");
}

// Ops that make numbers of a shape: attributes shape, ..., dtype.
inline Specs random_shape(const Inference& c, size_t shape, DType t) {
  const Ints& sizes = c.attr(shape).ints();
  for (int64_t d : sizes) c.check(d >= 0, "expected sizes of 0 or more, got shape ", str(sizes));
  return one({t, symbolic(sizes)});
}
inline Specs random_floats(const Inference& c) {
  check_type(is_floating(c.attrs.back().dtype()), c.name(), "a floating dtype", c.attrs.back().dtype());
  return random_shape(c, 0, c.attrs.back().dtype());
}
inline OpBuilder random_source(OpBuilder o) {
  return o.family("random").attr("shape", AttrKind::ints, "sizes").output("y", "the numbers").no_grad().function_only();
}

}  // namespace tg
