// SPDX-License-Identifier: Apache-2.0
// vmap. A batched tensor hides the first axis of the tensor that it holds. Map ops align the hidden axes; other ops bring a
// rule (core/ops: .batch, mostly a word), else an op that decomposes is batched through its decomposition, as an op with a
// gradient of its own, and what is left runs once for every index.
#include <algorithm>
#include <cstdio>
#include <map>
#include <mutex>
#include <set>

#include "dispatch/call.h"
#include "transform/transform.h"

namespace tg {
namespace {

// Inputs of a call on a batched level, without the wrappers.
struct Inner {
  std::vector<Arg> args;
  std::vector<bool> batched;
  bool any = false;
  Inner(const Level& level, std::span<const Arg> inputs) : args(inputs.begin(), inputs.end()), batched(inputs.size()) {
    for (size_t i = 0; i < args.size(); ++i) {
      if (args[i].kind != Arg::tensor || level_of(args[i].t) != level.id) continue;
      args[i].t = Tensor(layer_of(args[i].t)->inner);
      any = batched[i] = true;
    }
  }
};

Tensor spread(const Tensor& t, int64_t size) {  // a hidden axis for a tensor that has none
  Ints shape = t.shape();
  shape.insert(0, size);
  return op<"expand">({t}, {shape});
}
Tensor select(const Tensor& t, int64_t b) { return op<"select">({t}, {0, b}); }

Tensors wrapped(const Level& level, Tensors results) {
  for (Tensor& t : results)
    if (t.defined()) {
      ensure(t.rank() > 0 && t.size(0) == level.size, "a batching rule gave shape ", str(t.shape()), " for ", level.size, " indices");
      t = wrap_batched(level.id, t);
    }
  return results;
}

// [B, 1.., s...]: operands of a map op, whose visible axes align at the right.
void align(const Level&, Inner* x, int64_t rank) {
  for (size_t i = 0; i < x->args.size(); ++i) {
    if (!x->batched[i] || x->args[i].t.rank() - 1 >= rank) continue;
    Ints axes;
    for (int64_t k = x->args[i].t.rank() - 1; k < rank; ++k) axes.push_back(1 + int64_t(axes.size()));
    x->args[i].t = op<"unsqueeze">({x->args[i].t}, {axes});
  }
}
int64_t visible_rank(const Inner& x) {
  int64_t rank = 0;
  for (size_t i = 0; i < x.args.size(); ++i)
    if (x.args[i].kind == Arg::tensor) rank = std::max(rank, x.args[i].t.rank() - x.batched[i]);
  return rank;
}

// ---- an op over a hidden axis, as an op ------------------------------------------------------------------------------------

// What grad looks at, within the level of a batched op.
class SavedOnLevel final : public Backward::SavedValues {
 public:
  SavedOnLevel(const Backward& b, const Op& base, uint64_t level, const std::vector<bool>& batched) : b_(b), base_(base), level_(level), batched_(batched) {}
  const Arg& arg(size_t i) const override {
    const Arg& a = b_.arg(i);
    if (a.kind != Arg::tensor || !batched_[i]) return a;
    return args_.emplace(i, Arg(wrap_batched(level_, a.t))).first->second;
  }
  const Tensor& output(size_t i) const override {
    const Tensor& t = b_.output(i);
    return t.defined() ? outputs_.emplace(i, wrap_batched(level_, t)).first->second : t;
  }
  Arg::Kind kind(size_t i) const override { return b_.saved.kind(i); }
  const Ints& shape(size_t i) const override {
    if (!batched_[i]) return b_.input_shape(i);
    Ints s = b_.input_shape(i);
    s.erase(0);
    return shapes_[i] = s;
  }
  DType dtype(size_t i) const override { return b_.input_dtype(i); }

 private:
  const Backward& b_;
  const Op& base_;
  uint64_t level_;
  const std::vector<bool>& batched_;
  mutable std::map<size_t, Arg> args_;
  mutable std::map<size_t, Tensor> outputs_;
  mutable std::map<size_t, Ints> shapes_;
};

int64_t size_of_batch(std::span<const Tensor> inputs, const std::vector<bool>& batched) {
  for (size_t i = 0; i < batched.size(); ++i)
    if (batched[i]) return inputs[i].size(0);
  return 0;
}

Tensors decompose_batched(const Op& base, const std::vector<bool>& batched, Randomness randomness, const Call& c) {
  const LevelScope scope({Layer::batched, 0, size_of_batch(c.inputs, batched), randomness});
  const Level* level = find_level(scope.id);
  std::vector<Arg> in;
  for (size_t i = 0; i < c.inputs.size(); ++i) in.push_back(batched[i] ? Arg(wrap_batched(scope.id, c.inputs[i])) : Arg(c.inputs[i]));
  Tensors results = decompose_on(level, base, in, c.attrs, c.device, c.wanted);
  for (Tensor& t : results)
    if (t.defined()) t = level_of(t) == scope.id ? Tensor(layer_of(t)->inner) : spread(t, level->size);
  return results;
}

Tensors grad_batched(const Op& base, const std::vector<bool>& batched, const Backward& b) {
  int64_t size = 0;
  for (const Tensor& g : b.grads)
    if (g.defined()) size = g.size(0);
  const LevelScope scope({Layer::batched, 0, size, Randomness::error});
  const SavedOnLevel saved(b, base, scope.id, batched);
  Tensors grads;
  for (const Tensor& g : b.grads) grads.push_back(g.defined() ? wrap_batched(scope.id, g) : g);
  Tensors out = base.grad(Backward{base, grads, b.attrs, b.needs, saved});
  for (size_t i = 0; i < out.size() && i < batched.size(); ++i) {
    if (!out[i].defined()) continue;
    if (saved.kind(i) == Arg::tensor && out[i].shape() != saved.shape(i)) out[i] = sum_to(out[i], saved.shape(i));
    const bool hidden = level_of(out[i]) == scope.id;
    if (hidden) out[i] = Tensor(layer_of(out[i])->inner);
    if (batched[i] && !hidden) out[i] = spread(out[i], size);
    if (!batched[i]) out[i] = hidden ? op<"sum">({out[i]}, {Ints{0}, false}) : op<"mul">({out[i], double(size)});
  }
  return out;
}

// Made once for every op and choice of batched inputs; never freed, as recorded calls refer to it.
const Op& batched_op(const Op& base, const std::vector<bool>& batched, Randomness randomness) {
  static std::mutex mutex;
  static auto& made = *new std::map<std::tuple<const Op*, std::vector<bool>, int>, const Op*>;
  std::lock_guard lock(mutex);
  const Op*& found = made[{&base, batched, int(randomness)}];
  if (!found) {
    Op* o = new Op(base);
    o->kernel.clear();
    o->canonical = nullptr;
    o->jvp = nullptr;
    o->batch = nullptr;
    o->is_floor = false;
    o->decompose = [&base, batched, randomness](const Call& c) { return decompose_batched(base, batched, randomness, c); };
    o->grad = [&base, batched](const Backward& b) { return grad_batched(base, batched, b); };
    found = o;
  }
  return *found;
}

// ---- random numbers, loops --------------------------------------------------------------------------------------------------

size_t attr_named(const Op& op, const char* name) {
  for (size_t i = 0; i < op.attrs.size(); ++i)
    if (op.attrs[i].name == name) return i;
  return op.attrs.size();
}

void note_loop(const Op& op) {
  static std::mutex mutex;
  static std::set<std::string> noted;
  counters().batch_loops.fetch_add(1, std::memory_order_relaxed);
  std::lock_guard lock(mutex);
  if (noted.insert(op.name).second && fallback_policy() != FallbackPolicy::allow)
    std::fprintf(stderr, "tengen warning: [%s] has no batching rule: vmap runs it once for every index (tg.dispatch_stats() counts)\n", op.name.c_str());
}

// Once for every index.
Tensors loop(const Level& level, const Op& op, const Inner& x, std::span<const Attr> attrs, Device* device, uint64_t wanted) {
  std::vector<std::vector<Tensor>> rows(op.outputs.size());
  for (int64_t b = 0; b < level.size; ++b) {
    std::vector<Arg> args = x.args;
    for (size_t i = 0; i < args.size(); ++i)
      if (x.batched[i]) args[i].t = select(args[i].t, b);
    const Tensors one = call(op, args, attrs, device, wanted);
    for (size_t j = 0; j < one.size(); ++j)
      if (one[j].defined()) rows[j].push_back(one[j]);
  }
  Tensors results(op.outputs.size());
  for (size_t j = 0; j < rows.size(); ++j) {
    if (rows[j].empty()) continue;
    std::vector<Arg> parts;
    for (const Tensor& t : rows[j]) {
      check(t.shape() == rows[j][0].shape(), "[", op.name, "] expected results of one shape for every index of vmap, got ",
            str(rows[j][0].shape()), " and ", str(t.shape()), "; ops whose shape depends on the data do not work inside vmap");
      parts.push_back(Arg(t));
    }
    const Attr axis[] = {Attr(0)};
    results[j] = call(op_named<"stack">(), parts, axis)[0];
  }
  return results;
}

// An op that takes numbers from the generator.
Tensors draw(const Level& level, const Op& op, Inner x, std::span<const Attr> attrs, Device* device, uint64_t wanted) {
  if (level.randomness == Randomness::error)
    raise(ErrorKind::runtime, "[", op.name, "] expected vmap(..., randomness=\"same\") or \"different\" around an op that takes random numbers");
  if (level.randomness == Randomness::same) {
    if (!x.any) return call(op, x.args, attrs, device, wanted);
    return {};
  }
  Attrs own(attrs.begin(), attrs.end());
  const size_t shape = attr_named(op, "shape");
  if (x.args.empty() && shape < own.size()) {
    Ints s = own[shape].ints();
    s.insert(0, level.size);
    own[shape] = s;
    return wrapped(level, call(op, x.args, own, device, wanted));
  }
  if (op.name == "dropout" || op.name == "bernoulli") {
    if (!x.any) x.args[0].t = spread(x.args[0].t, level.size);
    return wrapped(level, call(op, x.args, own, device, wanted));
  }
  return wrapped(level, loop(level, op, x, attrs, device, wanted));
}

}  // namespace

// ---- what rules use ----------------------------------------------------------------------------------------------------------

Ints Batch::shape(size_t i) const {
  Ints s = input(i).shape();
  if (batched[i]) s.erase(0);
  return s;
}
Tensor Batch::whole(size_t i) const {
  if (!has(i)) return {};
  return batched[i] ? input(i) : spread(input(i), size);
}
Tensors Batch::call(const Op& op, std::span<const Arg> inputs, std::span<const Attr> attrs) const {
  return tg::call(op, inputs, attrs, device, wanted);
}

Tensors batch_by_loop(const Batch& b) {
  counters().batch_loops.fetch_add(1, std::memory_order_relaxed);
  std::vector<std::vector<Arg>> rows(b.op.outputs.size());
  for (int64_t k = 0; k < b.size; ++k) {
    std::vector<Arg> in(b.inputs.begin(), b.inputs.end());
    for (size_t i = 0; i < in.size(); ++i)
      if (b.batched[i]) in[i] = op<"select">({in[i].t}, {0, k});
    const Tensors one = b.call(b.op, in, b.attrs);
    for (size_t j = 0; j < one.size(); ++j) rows[j].push_back(one[j]);
  }
  Tensors out;
  const Attr axis[] = {Attr(0)};
  for (auto& row : rows) out.push_back(call(op_named<"stack">(), row, axis)[0]);
  return out;
}

OpBuilder& OpBuilder::batch_axes(std::initializer_list<const char*> names) {
  std::vector<size_t> at;
  for (const char* name : names) {
    at.push_back(attr_named(*op_, name));
    ensure(at.back() < op_->attrs.size(), "op ", op_->name, " has no attribute ", name);
  }
  op_->batch = [at](const Batch& b) {
    std::vector<Arg> in(b.inputs.begin(), b.inputs.end());
    int64_t rank = 0;
    for (size_t i = 0; i < in.size(); ++i)
      if (in[i].kind == Arg::tensor) {
        in[i] = b.whole(i);
        rank = std::max(rank, in[i].t.rank() - 1);
      }
    const char* name = b.op.name.c_str();
    Attrs attrs(b.attrs.begin(), b.attrs.end());
    for (size_t k : at) {
      if (!attrs[k].given()) return Tensors{};
      if (b.op.attrs[k].kind != AttrKind::ints) {
        attrs[k] = normalize_axis(name, attrs[k].integer(), rank) + 1;
        continue;
      }
      Ints axes = b.op.is_floor ? attrs[k].ints() : normalize_axes(name, attrs[k].ints(), rank);
      for (int64_t& a : axes) ++a;
      if (axes.empty() && !b.op.is_floor) return Tensors{};  // an empty list would mean all
      attrs[k] = axes;
    }
    return b.call(b.op, in, attrs);
  };
  return *this;
}

OpBuilder& OpBuilder::batch_fold() {
  op_->batch = [](const Batch& b) {
    std::vector<Arg> in(b.inputs.begin(), b.inputs.end());
    int64_t rows = 0;
    for (size_t i = 0; i < in.size(); ++i) {
      if (in[i].kind != Arg::tensor) continue;
      const Tensor t = b.whole(i);
      if (t.rank() < 2) return Tensors{};
      Ints s = t.shape();
      rows = s[1];
      s[1] *= s[0];
      s.erase(0);
      in[i] = tg::op<"reshape">({t}, {s});
    }
    Tensors out = b.call(b.op, in, b.attrs);
    for (Tensor& t : out)
      if (t.defined()) {
        Ints s = t.shape();
        s[0] = rows;
        s.insert(0, b.size);
        t = tg::op<"reshape">({t}, {s});
      }
    return out;
  };
  return *this;
}

// ---- calls ----------------------------------------------------------------------------------------------------------------------

Tensors call_batched(const Level& level, const Op& op, std::span<const Arg> inputs, std::span<const Attr> attrs, Device* device, uint64_t wanted) {
  Inner x(level, inputs);
  if (op.draws) {
    CreationScope none(nullptr);
    if (Tensors drawn = draw(level, op, x, attrs, device, wanted); !drawn.empty()) return drawn;
  } else if (op.map) {
    CreationScope none(nullptr);
    align(level, &x, visible_rank(x));
    return wrapped(level, call(op, x.args, attrs, device, wanted));
  } else if (op.batch) {
    CreationScope none(nullptr);
    Tensors out = op.batch(Batch{op, x.args, x.batched, attrs, level.size, wanted, device});
    if (!out.empty()) return wrapped(level, std::move(out));
  }
  if (op.decompose) {
    try {
      if (!op.grad) return decompose_on(&level, op, inputs, attrs, device, wanted);
      CreationScope none(nullptr);
      return wrapped(level, call(batched_op(op, x.batched, level.randomness), x.args, attrs, device, wanted));
    } catch (const NotBatchable&) {
    }
  }
  CreationScope none(nullptr);
  note_loop(op);
  return wrapped(level, loop(level, op, x, attrs, device, wanted));
}

void into_batched(const Level& level, const Op& op, std::span<const Arg> inputs, std::span<const Attr> attrs, std::span<const Tensor> outs) {
  Inner x(level, inputs);
  Tensors targets;
  for (const Tensor& t : outs) {
    if (x.any && level_of(t) != level.id) {
      if (creating_on(level.id)) throw NotBatchable();
      raise(ErrorKind::value, "[", op.name, "] expected a tensor of the mapped axis to write into, got one of shape ", str(t.shape()),
            " that all indices of vmap share; use the form that returns a new tensor, or make it with zeros_like of a mapped one");
    }
    targets.push_back(Tensor(unwrap(level.id, t)));
  }
  CreationScope none(nullptr);
  if (op.map || op.kernel == "copy") {
    const int64_t rank = outs[0].rank();
    if (op.map && !x.any)  // what is written into has the axis, so one operand must
      for (size_t i = 0; i < x.args.size() && !x.any; ++i)
        if (x.args[i].kind == Arg::tensor) {
          x.args[i].t = spread(x.args[i].t, level.size);
          x.any = x.batched[i] = true;
        }
    align(level, &x, rank);
    if (!op.map && !(x.args[0].kind == Arg::tensor && x.args[0].t.shape() == targets[0].shape())) x.args[0].t = tg::op<"expand">({x.args[0].t}, {targets[0].shape()});
    call_into(op, x.args, attrs, targets);
    return;
  }
  Attrs own(attrs.begin(), attrs.end());
  if (op.is_floor && (op.kernel == "matmul" || op.kernel == "scatter")) {
    for (size_t i = 0; i < x.args.size(); ++i)
      if (!x.batched[i]) x.args[i].t = spread(x.args[i].t, level.size);
    if (op.kernel == "scatter") own[0] = own[0].integer() + 1;
    call_into(op, x.args, own, targets);
    return;
  }
  const Tensors fresh = call(op, inputs, attrs);
  for (size_t i = 0; i < outs.size(); ++i) {
    const Arg in[] = {fresh[i].cast(outs[i].dtype())};
    const Tensor into[] = {outs[i]};
    call_into(op_named<"copy">(), in, {}, into);
  }
}

}  // namespace tg
