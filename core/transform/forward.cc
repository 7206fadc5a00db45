// SPDX-License-Identifier: Apache-2.0
// Forward mode. A dual tensor is a value and its tangent. Ops get tangents from the first of these that they have: a rule of
// their own, linearity, a diagonal Jacobian (map ops: grad's rule at the tangent), their decomposition, grad's transpose.
#include <algorithm>

#include "dispatch/call.h"
#include "transform/transform.h"

namespace tg {
namespace {

// Inputs of a call on a dual level, apart.
struct Apart {
  std::vector<Arg> primals;
  Tensors tangents;
  Apart(const Level& level, std::span<const Arg> inputs) : primals(inputs.begin(), inputs.end()), tangents(inputs.size()) {
    for (size_t i = 0; i < primals.size(); ++i) {
      if (primals[i].kind != Arg::tensor) continue;
      const Layer* l = layer_of(primals[i].t);
      if (!l || l->level != level.id) continue;
      tangents[i] = l->tangent;
      primals[i].t = Tensor(l->inner);
    }
  }
  bool any() const {
    return std::any_of(tangents.begin(), tangents.end(), [](const Tensor& t) { return t.defined(); });
  }
};

Tensor plus(const Tensor& a, const Tensor& b) { return !a.defined() ? b : !b.defined() ? a : op<"add">({a, b}); }

bool is_linear(const Op& op, std::span<const Attr> attrs) {
  if (op.linear.empty()) return false;
  return op.linear_unless < 0 || !attrs[size_t(op.linear_unless)].given() || attrs[size_t(op.linear_unless)].floating() == 0;
}
bool in_group(uint64_t group, size_t i) { return i >= 64 ? group >> 63 & 1 : group >> i & 1; }

// The arguments of the term of one group; false where the group has no tangent.
bool term(const Op& op, uint64_t group, const Apart& x, std::vector<Arg>* args) {
  bool any = false;
  for (size_t i = 0; i < x.tangents.size(); ++i) any = any || (in_group(group, i) && x.tangents[i].defined());
  if (!any) return false;
  *args = x.primals;
  for (size_t i = 0; i < args->size(); ++i) {
    Arg& a = (*args)[i];
    const bool optional = i < op.inputs.size() && op.inputs[i].optional;
    if (in_group(group, i)) {
      if (x.tangents[i].defined()) a = x.tangents[i];
      else if (optional) a = Arg();
      else if (a.kind == Arg::tensor) a = Arg(tg::op<"zeros_like">({a.t}));
      else if (a.kind == Arg::scalar) a = Arg(0.0);
      continue;
    }
    if (!optional) continue;
    for (uint64_t other : op.linear)
      if (in_group(other, i)) a = Arg();
  }
  return true;
}

Tensors linear_tangents(const Op& op, const Apart& x, std::span<const Attr> attrs, Device* device, uint64_t wanted) {
  Tensors sum(op.outputs.size());
  for (uint64_t group : op.linear) {
    std::vector<Arg> args;
    if (!term(op, group, x, &args)) continue;
    const Tensors part = call(op, args, attrs, device, wanted);
    for (size_t i = 0; i < part.size(); ++i) sum[i] = plus(sum[i], part[i]);
  }
  return sum;
}

// The derivative along t of a function that is not holomorphic, from grad's rule v, which is its transpose on pairs of reals: the
// inner product <v(1), t> and, where the result is complex, <v(i), t> i.
template <class Rule>
Tensor real_linear(const Rule& v, const Tensor& t, const Tensor& output) {
  const auto along = [&](const Arg& unit) {
    const Tensor seed = tg::op<"full">({}, {output.shape(), 1.0, output.dtype()}, output.device());
    const Tensor g = v(unit.kind == Arg::scalar ? tg::op<"mul">({seed, unit}) : seed);
    return g.defined() ? tg::op<"real">({tg::op<"mul">({tg::op<"conj">({g}), t})}) : Tensor();
  };
  const Tensor re = along(Arg());
  if (!re.defined() || !is_complex(output.dtype())) return re;
  return tg::op<"complex">({re, along(Scalar::of_complex(0, 1))});
}

// Every element of an output depends on the elements at its place alone.
Tensors map_tangents(const Op& op, const Apart& x, std::span<const Attr> attrs, std::span<const Tensor> outputs) {
  const AtHand saved(x.primals, outputs);
  Tensors sum(outputs.size());
  for (size_t j = 0; j < outputs.size(); ++j) {
    if (!outputs[j].defined() || !is_inexact(outputs[j].dtype())) continue;
    for (size_t i = 0; i < x.tangents.size(); ++i) {
      if (!x.tangents[i].defined()) continue;
      const auto rule = [&](const Tensor& seed) {
        Tensors seeds(outputs.size());
        seeds[j] = seed;
        const Tensors g = op.grad(Backward{op, seeds, attrs, uint64_t(1) << i, saved});
        return i < g.size() ? g[i] : Tensor();
      };
      const Tensor &t = x.tangents[i], &y = outputs[j];
      const bool pairs = op.own_conj && (is_complex(t.dtype()) || is_complex(y.dtype()));
      Tensor part = pairs ? real_linear(rule, t, y) : rule(t.cast(y.dtype()));
      if (!part.defined()) continue;
      part = part.cast(y.dtype());
      if (part.shape() != outputs[j].shape()) part = tg::op<"expand">({part}, {outputs[j].shape()});
      sum[j] = plus(sum[j], part);
    }
  }
  return sum;
}

// J t as the derivative of <J^T g, t> along g: grad's rule is linear in g.
Tensors transposed_tangents(const Op& op, const Apart& x, std::span<const Attr> attrs, std::span<const Tensor> outputs) {
  const bool outer = grad_enabled();
  // The engine transposes and conjugates; a rule that is written as for reals is only transposed.
  const auto turned = [&](const Tensor& t) { return !op.own_conj && is_complex(t.dtype()) ? tg::op<"conj">({t}) : t; };
  const GradMode on(true);
  const LevelScope scope({Layer::traced});
  Tensors seeds(outputs.size()), pulled, directions;
  std::vector<size_t> from;
  uint64_t needs = 0;
  for (size_t j = 0; j < outputs.size(); ++j) {
    if (!outputs[j].defined() || !is_inexact(outputs[j].dtype())) continue;
    seeds[j] = wrap_traced(scope.id, tg::op<"zeros_like">({outputs[j]}));
    seeds[j].impl()->requires_grad = true;
    from.push_back(j);
  }
  for (size_t i = 0; i < x.tangents.size() && i < 64; ++i) needs |= uint64_t(x.tangents[i].defined()) << i;
  const AtHand saved(x.primals, outputs);
  const Tensors g = op.grad(Backward{op, seeds, attrs, needs, saved});
  for (size_t i = 0; i < x.tangents.size() && i < g.size(); ++i)
    if (x.tangents[i].defined() && g[i].defined() && needs_grad(g[i])) {
      Tensor back = g[i];
      if (back.shape() != x.primals[i].t.shape()) back = sum_to(back, x.primals[i].t.shape());
      pulled.push_back(back);
      directions.push_back(turned(x.tangents[i].cast(back.dtype())));
    }
  Tensors out(outputs.size());
  if (pulled.empty()) return out;
  find_level(scope.id)->paused = true;
  Tensors ends;
  for (size_t j : from) ends.push_back(seeds[j]);
  const Tensors t = grad(pulled, ends, directions, false, true, true);
  for (size_t k = 0; k < from.size(); ++k)
    if (t[k].defined()) {
      const Tensor found = turned(unwrap(scope.id, t[k]));
      out[from[k]] = outer || level_of(found) ? found : shallow(found);
    }
  return out;
}

bool any_inexact(std::span<const Tensor> tensors) {
  return std::any_of(tensors.begin(), tensors.end(), [](const Tensor& t) { return t.defined() && is_inexact(t.dtype()); });
}

Tensors with_tangents(const Level& level, Tensors values, const Tensors& tangents) {
  for (size_t i = 0; i < values.size(); ++i)
    if (values[i].defined() && i < tangents.size() && tangents[i].defined()) {
      ensure(tangents[i].shape() == values[i].shape(), "a tangent of shape ", str(tangents[i].shape()), " for ", str(values[i].shape()));
      values[i] = wrap_dual(level.id, values[i], tangents[i].cast(values[i].dtype()));
    }
  return values;
}

}  // namespace

const Tensor& held_tangent(const Tensor& t) {
  Layer& l = *t.impl()->autograd->layer;
  if (!l.tangent.defined()) l.tangent = tg::op<"zeros_like">({l.inner});
  return l.tangent;
}

void make_dual(uint64_t level, const Tensor& t, const char* op) {
  if (level_of(t) == level || !is_inexact(t.dtype())) return;
  if (t.impl()->autograd && t.impl()->autograd->base)
    raise(ErrorKind::runtime, "[", op, "] expected a tensor that is not a view of one without a tangent; clone it first");
  const Tensor inner = shallow(t);
  autograd_meta(t).layer = std::make_unique<Layer>(Layer{Layer::dual, level, inner, {}});
  t.impl()->transformed = true;
}

Tensors call_forward(const Level& level, const Op& op, std::span<const Arg> inputs, std::span<const Attr> attrs, Device* device, uint64_t wanted) {
  if (op.view && level_of(inputs[0].t) == level.id && is_inexact(inputs[0].t.dtype())) held_tangent(inputs[0].t);
  const Apart x(level, inputs);
  const bool flows = x.any() && op.differentiable;
  const bool composite = flows && !op.jvp && !op.view && !(op.map && op.grad) && !is_linear(op, attrs) && op.decompose && !op.transposed;
  if (composite) {
    Tensors made = decompose_on(&level, op, inputs, attrs, device, wanted);
    // A decomposition of parts without derivatives, under an op that has one.
    const bool lost = op.grad && std::none_of(made.begin(), made.end(), [&](const Tensor& t) { return t.defined() && level_of(t) == level.id; });
    if (!lost || !any_inexact(made)) return made;
  }
  CreationScope none(nullptr);
  if (flows)  // rules look at hidden outputs too
    for (size_t i = 0; i < op.outputs.size(); ++i)
      if (op.outputs[i].hidden && !is_linear(op, attrs)) wanted |= uint64_t(1) << i;
  Tensors values = call(op, x.primals, attrs, device, wanted);
  if (!flows || !any_inexact(values)) return values;
  Tensors tangents;
  if (op.jvp) tangents = op.jvp(Forward{op, x.primals, x.tangents, values, attrs});
  else if (is_linear(op, attrs)) tangents = linear_tangents(op, x, attrs, device, wanted);
  else if (op.view) {
    std::vector<Arg> args = x.primals;
    args[0] = is_complex(values[0].dtype()) && !is_complex(x.tangents[0].dtype()) ? x.tangents[0].contiguous() : x.tangents[0];
    tangents = call(op, args, attrs, device, wanted);
  } else if (op.map && op.grad) tangents = map_tangents(op, x, attrs, values);
  else if (op.grad) tangents = transposed_tangents(op, x, attrs, values);
  else raise(ErrorKind::not_implemented, "[", op.name, "] has no forward-mode derivative");
  return with_tangents(level, std::move(values), tangents);
}

void into_forward(const Level& level, const Op& op, std::span<const Arg> inputs, std::span<const Attr> attrs, std::span<const Tensor> outs) {
  const Apart x(level, inputs);
  CreationScope none(nullptr);
  Tensors targets;
  for (const Tensor& t : outs) targets.push_back(Tensor(unwrap(level.id, t)));
  bool dual_target = false;
  for (const Tensor& t : outs) dual_target = dual_target || level_of(t) == level.id;
  if (!x.any() && !dual_target) {
    call_into(op, x.primals, attrs, targets);
    return;
  }
  for (const Tensor& t : outs) make_dual(level.id, t, op.name.c_str());
  const bool adds = op.is_floor && op.kernel == "matmul" && attrs[0].integer();
  if (adds || (op.is_floor && op.kernel == "scatter")) {
    if (!adds && attrs[1].integer() != TG_SCATTER_SET && attrs[1].integer() != TG_SCATTER_ADD)
      raise(ErrorKind::not_implemented, "[", op.name, "] has no forward-mode derivative of a scattered maximum or minimum");
    const Tensor into[] = {held_tangent(outs[0])};
    if (adds) {
      for (uint64_t group : op.linear)
        if (std::vector<Arg> args; term(op, group, x, &args)) call_into(op, args, attrs, into);
    } else {
      const Arg args[] = {x.primals[0], x.tangents[1].defined() ? x.tangents[1] : tg::op<"zeros_like">({x.primals[1].t})};
      if (attrs[1].integer() == TG_SCATTER_SET || x.tangents[1].defined()) call_into(op, args, attrs, into);
    }
    call_into(op, x.primals, attrs, targets);
    return;
  }
  const Tensors fresh = call(op, inputs, attrs);
  for (size_t i = 0; i < outs.size(); ++i) {
    const Layer* made = layer_of(fresh[i]);
    const bool dual = made && made->level == level.id;
    const auto write = [](const Tensor& to, const Tensor& value) {
      const Arg in[] = {value.cast(to.dtype())};
      const Tensor into[] = {to};
      call_into(op_named<"copy">(), in, {}, into);
    };
    if (is_inexact(outs[i].dtype()) && (layer_of(outs[i])->tangent.defined() || (dual && made->tangent.defined())))
      write(held_tangent(outs[i]), dual && made->tangent.defined() ? made->tangent : tg::op<"zeros_like">({targets[i]}));
    write(targets[i], unwrap(level.id, fresh[i]));
  }
}

}  // namespace tg
