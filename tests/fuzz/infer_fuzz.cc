// SPDX-License-Identifier: Apache-2.0
// The attributes of a call are bound and its shapes inferred, for every op, any attributes, and shapes of any size: the
// answer is shapes without negative sizes, or an error that is the user's.
#include <tengen/runtime.h>

#include <cmath>

#include "bytes.h"
#include "dispatch/call.h"

namespace tg::fuzz {
namespace {

Ints ints(Bytes& in) {
  Ints v;
  for (uint32_t n = in.below(6); n-- > 0;) v.push_back(in.integer());
  return v;
}

double floating(Bytes& in) {
  const int64_t v = in.integer();
  switch (in.below(6)) {
    case 0: return double(v) / 3;
    case 1: return INFINITY;
    case 2: return NAN;
    case 3: return -INFINITY;
    default: return double(v);
  }
}

Attr attr(Bytes& in, AttrKind kind) {
  if (in.below(16) == 0) kind = AttrKind(in.below(7));  // C++ callers may give the wrong kind
  switch (kind) {
    case AttrKind::boolean: return Attr(in.flag());
    case AttrKind::integer: return Attr(in.integer());
    case AttrKind::floating: return in.flag() ? Attr(floating(in)) : Attr(in.integer());
    case AttrKind::string: return Attr(std::string(size_t(in.below(3)), char('a' + in.below(26))));
    case AttrKind::ints: return Attr(ints(in));
    case AttrKind::floats: {
      std::vector<double> v(in.below(4));
      for (double& x : v) x = floating(in);
      return Attr(std::move(v));
    }
    case AttrKind::dtype: return Attr(DType(in.below(kDTypeCount)));
  }
  return {};
}

// A tensor of any shape without memory of that size: one element, seen again and again.
Tensor tensor(Bytes& in) {
  static const Tensor one = Tensor::empty(Ints{1}, DType::f64, host_device());
  Ints shape;
  for (uint32_t n = in.below(6); n-- > 0;) shape.push_back(std::max<int64_t>(in.integer(), 0));
  return Tensor(Ref<TensorImpl>::adopt(new TensorImpl(one.storage(), DType(in.below(kDTypeCount)), shape, Ints(shape.size(), 0), 0)));
}

// By a key, so that a file of the corpus means the same op when others are added.
const Op& pick_op(Bytes& in) {
  const uint64_t key = uint64_t(in.byte()) << 8 | in.byte();
  const Op* best = nullptr;
  uint64_t most = 0;
  for (const Op* op : op_table()) {
    uint64_t h = 0xCBF29CE484222325ull ^ key * 0x9E3779B97F4A7C15ull;
    for (char c : op->name) h = (h ^ uint64_t(c)) * 0x100000001B3ull;
    h ^= h >> 32;
    if (!best || h > most) most = h, best = op;
  }
  return *best;
}

void one_call(Bytes& in) {
  const Op& op = pick_op(in);
  std::vector<Arg> inputs;
  Attrs attrs;
  size_t n = op.inputs.size();
  if (n && op.inputs.back().variadic) n += in.below(4);
  for (size_t i = 0; i < n; ++i) {
    const InputSpec& spec = op.inputs[std::min(i, op.inputs.size() - 1)];
    inputs.push_back(spec.optional && in.flag() ? Arg() : Arg(tensor(in)));
  }
  for (const AttrSpec& spec : op.attrs) attrs.push_back((spec.optional || spec.default_value.given()) && in.flag() ? Attr() : attr(in, spec.kind));
  const bool symbolic_sizes = in.below(4) == 0;
  try {
    Attrs full = complete_attrs(op, attrs);
    if (op.canonical) op.canonical(inputs, full);
    if (!op.infer) return;
    std::vector<TensorSpec> specs;
    std::vector<const TensorSpec*> pointers;
    specs.reserve(inputs.size());
    for (const Arg& a : inputs) {
      if (a.kind != Arg::tensor) {
        pointers.push_back(nullptr);
        continue;
      }
      specs.push_back({a.t.dtype(), symbolic(a.t.shape())});
      if (symbolic_sizes)
        for (Dim& d : specs.back().shape)
          if (in.below(3) == 0) d = Dim::symbol(in.flag() ? "n" : "m") * Dim(1 + in.below(3));
      pointers.push_back(&specs.back());
    }
    for (const TensorSpec& s : op.infer(Inference{op, pointers, full}))
      for (const Dim& d : s.shape)
        if (d.is_constant() && d.value() < 0) {
          std::fprintf(stderr, "[%s] %s\n", op.name.c_str(), std::string(str(s.shape)).c_str());
          must(false, "sizes are 0 or more");
        }
  } catch (const Error& e) {
    if (std::string_view(e.what()).starts_with("internal error")) {
      std::fprintf(stderr, "[%s] %s\n", op.name.c_str(), e.what());
      must(false, "an error is the user's");
    }
  }
}

}  // namespace
}  // namespace tg::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  tg::fuzz::Bytes in(data, size);
  while (!in.empty()) tg::fuzz::one_call(in);
  return 0;
}
