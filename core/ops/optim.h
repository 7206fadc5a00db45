// SPDX-License-Identifier: Apache-2.0
// How an optimizer enters the op table: a formula for one tensor gives two ops. `adam_step` is an elementwise program
// over one parameter with its gradient and states; `multi_adam` takes the tensors of all parameters, one after the
// other, and decomposes into the former. A plugin may bring a kernel for the latter. The numbers of a step (learning
// rate, corrections) are scalar operands here and run attributes there: no step after the first makes a plan.
#pragma once
#include "common.h"

namespace tg {

// ---- formulas: x + y * 2, in the dtype of the operands --------------------------------------------------------------

struct X {
  MapBuilder* b;
  Value v;
};
inline X emit(int opcode, X x) { return {x.b, x.b->emit(opcode, x.v)}; }
inline X emit(int opcode, X x, X y) { return {x.b, x.b->emit(opcode, x.v, y.v)}; }
inline X number(X like, double v) { return {like.b, like.b->immediate(v, like.v.dtype)}; }
inline X operator+(X x, X y) { return emit(TG_MAP_ADD, x, y); }
inline X operator-(X x, X y) { return emit(TG_MAP_SUB, x, y); }
inline X operator*(X x, X y) { return emit(TG_MAP_MUL, x, y); }
inline X operator/(X x, X y) { return emit(TG_MAP_DIV, x, y); }
inline X operator-(X x) { return emit(TG_MAP_NEG, x); }
inline X operator-(double x, X y) { return number(y, x) - y; }
inline X sqrt(X x) { return emit(TG_MAP_SQRT, x); }
inline X abs(X x) { return emit(TG_MAP_ABS, x); }
inline X sign(X x) { return emit(TG_MAP_SIGN, x); }
inline X max(X x, X y) { return emit(TG_MAP_MAX, x, y); }
inline X min(X x, X y) { return emit(TG_MAP_MIN, x, y); }
inline X less(X x, X y) { return emit(TG_MAP_LT, x, y); }
inline X select(X condition, X x, X y) { return {x.b, x.b->emit(TG_MAP_WHERE, condition.v, x.v, y.v)}; }

// The operands by position: p, g, states, then the numbers.
struct Operands {
  MapBuilder& b;
  Values in;
  AttrSpan flags;
  X operator[](size_t i) const { return {&b, in[i]}; }
  bool flag(size_t i) const { return flags[i].boolean(); }
};
using Formula = std::vector<X> (*)(const Operands&);  // p, states

// ---- the table ------------------------------------------------------------------------------------------------------

struct Named {
  const char *name, *doc;
};
struct OptimizerSpec {
  const char *file, *name, *doc;
  std::vector<Named> states;   // tensors of p's shape, written over as p is
  std::vector<Named> numbers;  // may differ in every step
  std::vector<Named> flags;
  double bound;
  const char* why;
};

inline const char* const kInterleaved = "the tensors of every parameter, one parameter after the other: ";

// Decompositions of multi-tensor ops: `each(tensors of one parameter, where its results go or nothing)`.
using EachFn = std::function<Tensors(const Call&, std::span<const Tensor> in, std::span<const Tensor> outs)>;
inline Tensors for_each_group(const Call& c, size_t width, size_t results, const EachFn& each) {
  Tensors all;
  all.reserve(c.inputs.size() / width * results);
  for (size_t i = 0; i < c.inputs.size() / width; ++i) {
    const auto outs = c.outs.empty() ? c.outs : c.outs.subspan(i * results, results);
    for (Tensor& t : each(c, c.inputs.subspan(i * width, width), outs)) all.push_back(std::move(t));
  }
  return all;
}
// An op with results in `outs`, or in new tensors where that is empty.
inline Tensors call_to(const Op& op, std::span<const Arg> in, std::span<const Attr> attrs,
                       std::span<const Tensor> outs) {
  return outs.empty() ? call(op, in, attrs, nullptr, ~uint64_t(0)) : call_into(op, in, attrs, outs);
}

// Every parameter's tensors are floating and, but for the last `odd` states, of its shape.
inline InferFn infer_groups(size_t width, std::vector<size_t> results, size_t odd = 0) {
  return [=](const Inference& c) {
    c.check(c.inputs.size() % width == 0, "expected ", width, " tensors for each parameter, got ", c.inputs.size(),
            " in all");
    Specs out;
    out.reserve(c.inputs.size() / width * results.size());
    for (size_t i = 0; i < c.inputs.size(); ++i) {
      const TensorSpec& p = c.input(i - i % width);
      check_type(is_floating(c.input(i).dtype), c.name(), "floats", c.input(i).dtype);
      c.check(i % width >= width - odd || c.input(i).shape == p.shape,
              "expected the gradient and states of a parameter to have its shape ", str(p.shape), ", got ",
              str(c.input(i).shape));
      if (i % width == width - 1)
        for (size_t r : results) out.push_back(c.input(i - i % width + r));
    }
    return out;
  };
}

inline OpBuilder optimizer_op(const char* file, const std::string& name) {
  return OpBuilder(name.c_str(), file).internal().family("optimizer").no_grad();
}
// The multi-tensor op: p, g, states of every parameter in; p, states out.
inline OpBuilder multi_op(const OptimizerSpec& s, const EachFn& each, size_t odd_states = 0) {
  OpBuilder m = optimizer_op(s.file, std::string("multi_") + s.name);
  std::string order = kInterleaved;
  order += "p, its gradient";
  for (const Named& n : s.states) order += std::string(", ") + n.name;
  m.kernel().doc(std::string("Of many parameters at once: ") + s.doc).variadic_input("tensors", order);
  for (const Named& n : s.numbers) m.run_attr(n.name, AttrKind::floating, 0.0, n.doc);
  for (const Named& n : s.flags) m.attr(n.name, AttrKind::boolean, false, n.doc);
  std::vector<size_t> results{0};
  for (size_t i = 0; i < s.states.size(); ++i) results.push_back(2 + i);
  const size_t width = 2 + s.states.size();
  m.output("updated", "for every parameter: p and its states")
      .infer(infer_groups(width, results, odd_states))
      .decompose([width, each](const Call& c) { return for_each_group(c, width, width - 1, each); })
      .bounds(s.bound, s.why);
  return m;
}

inline void add_optimizer(const OptimizerSpec& s, Formula formula) {
  const std::string step = std::string(s.name) + "_step";
  OpBuilder o = optimizer_op(s.file, step);
  o.doc(s.doc).input("p", "parameter").input("g", "its gradient");
  for (const Named& n : s.states) o.input(n.name, n.doc);
  for (const Named& n : s.numbers) o.input(n.name, n.doc);
  for (const Named& n : s.flags) o.attr(n.name, AttrKind::boolean, false, n.doc);
  o.output("p", "parameter");
  for (const Named& n : s.states) o.output(n.name, n.doc);
  o.map(Promotion::common_wide, [formula](MapBuilder& b, Values in, AttrSpan flags) {
     std::vector<X> results = formula({b, in, flags});
     MapResult out{};
     for (size_t i = 0; i < results.size(); ++i)
       out.values.push_back(b.cast(results[i].v, b.input(i ? i + 1 : 0).dtype));
     return out;
   }).bounds(s.bound, s.why);
  const size_t numbers = s.numbers.size();
  multi_op(s, [step, numbers](const Call& c, std::span<const Tensor> in, std::span<const Tensor> outs) {
    std::vector<Arg> args(in.begin(), in.end());
    for (size_t i = 0; i < numbers; ++i) args.emplace_back(c.attr(i).floating());
    return call_to(require_op(step), args, c.attrs.subspan(numbers), outs);
  });
}

// ---- what formulas share --------------------------------------------------------------------------------------------

inline const Named kMaximize{"maximize", "ascend"};
inline const Named kDecoupled{"decoupled", "decay p itself, not through g"};
inline const Named kLr{"lr", "learning rate"}, kDecay{"weight_decay", "decay of p"},
    kEps{"eps", "added to denominators"};
inline const Named kBeta1{"beta1", "share of the first moment that stays"},
    kBeta2{"beta2", "share of the second moment that stays"};
inline const Named kM{"exp_avg", "running mean of g"}, kV{"exp_avg_sq", "running mean of g^2"};

inline X ascent(X g, bool maximize) { return maximize ? -g : g; }
inline X mean_of(X m, X g, X beta) { return m + (1 - beta) * (g - m); }
inline X square_mean_of(X v, X g, X beta) { return beta * v + (1 - beta) * (g * g); }
// Decoupled decay shrinks p, the other kind enters the gradient.
inline void decay(X& p, X& g, X lr, X weight_decay, bool decoupled) {
  if (decoupled)
    p = p * (1 - lr * weight_decay);
  else
    g = g + weight_decay * p;
}

}  // namespace tg
