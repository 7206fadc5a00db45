// SPDX-License-Identifier: Apache-2.0
// Connectionist temporal classification (Graves et al. 2006): -log of the summed probability of all alignments of a
// target with T steps. The states of a target of S labels are b l1 b l2 ... lS b, L = 2 S + 1 with blanks b; a path
// stays, goes to the next state, or skips the blank between two different labels.
//
// ctc_scan adds up the paths in logarithms, one step after the other; its gradient is a linear scan backwards.
#include "loss.h"

namespace tg {
namespace {

using namespace loss;

// ---- the scan ----

Specs infer_scan(const Inference& c) {
  const Shape& emit = c.input(0).shape;
  c.check(emit.size() == 3, "expected emissions of shape (T, N, L), got ", str(emit));
  c.check(c.input(1).shape == Shape({emit[1], emit[2]}), "expected skips of shape (N, L), got ", str(c.input(1).shape));
  return one(c.input(0));
}

// emit + log(exp a + exp b + exp(c + skip)); -inf where all are.
MapResult step(MapBuilder& b, Values in, AttrSpan) {
  const DType t = in[0].dtype;
  const auto add = [&](Value x, Value y) { return b.emit(TG_MAP_ADD, x, y); };
  const Value two = add(in[2], in[3]);
  const Value m = b.emit(TG_MAP_MAX, in[0], b.emit(TG_MAP_MAX, in[1], two));
  const Value none = b.emit(TG_MAP_EQ, m, b.immediate(-INFINITY, t));
  const Value safe = b.emit(TG_MAP_WHERE, none, b.immediate(0.0, t), m);
  const auto part = [&](Value x) { return b.emit(TG_MAP_EXP, b.emit(TG_MAP_SUB, x, safe)); };
  const Value total = add(add(part(in[0]), part(in[1])), part(two));
  return add(in[4], add(b.emit(TG_MAP_LOG, total), safe));
}

Tensor at(const Tensor& x, int64_t t) { return op<"select">({x}, {0, t}); }

// The states lie behind two of probability 0, so that every state has two before it.
Tensors scan(const Call& c) {
  const Tensor &emit = c.input(0), &skip = c.input(1);
  const int64_t steps = emit.size(0), states = emit.size(2);
  const Tensor all = full({steps, emit.size(1), states + 2}, -INFINITY, emit.dtype(), c.device);
  const Tensor paths = slice(all, 2, 2, states + 2);
  if (!emit.numel()) return {paths};
  const int64_t starts = std::min<int64_t>(states, 2);
  copy_into(slice(at(paths, 0), 1, 0, starts), slice(at(emit, 0), 1, 0, starts));
  for (int64_t t = 1; t < steps; ++t) {
    const Tensor last = at(all, t - 1);
    const Arg in[] = {slice(last, 1, 2, states + 2), slice(last, 1, 1, states + 1), slice(last, 1, 0, states), skip,
                      at(emit, t)};
    const Tensor out[] = {at(paths, t)};
    call_into(op_named<"ctc_step">(), in, {}, out);
  }
  return {paths};
}

Tensor padded(const Tensor& x, int64_t end) {  // zeros behind the last axis
  if (!end) return x;
  Ints padding(size_t(2 * x.rank()), 0);
  padding.back() = end;
  return op<"pad">({x}, {padding});
}

// The shares of the three predecessors in a state: w_k[t, s] is that of state s in state s + k of the next step.
Tensor share(const Tensor& paths, const Tensor& emit, const Tensor& skip, int64_t k) {
  const int64_t steps = emit.size(0), states = emit.size(2);
  const Tensor sums = sub(slice(paths, 0, 1, steps), slice(emit, 0, 1, steps));
  const Tensor alive = op<"isfinite">({sums}), safe = where(alive, sums, 0.0);
  Tensor from = slice(slice(paths, 0, 0, steps - 1), 2, 0, states - k);
  if (k == 2) from = add(from, slice(skip, 1, k, states));
  const Tensor w = op<"exp">({sub(from, slice(safe, 2, k, states))});
  return padded(where(slice(alive, 2, k, states), w, 0.0), k);
}

Tensors scan_backward(const Call& c) {
  const Tensor &grad = c.input(0), &paths = c.input(1), &emit = c.input(2), &skip = c.input(3);
  const int64_t steps = emit.size(0), states = emit.size(2), reach = std::min<int64_t>(states, 3);
  if (!emit.numel()) return {op<"copy">({grad})};
  Tensors shares, out(static_cast<size_t>(steps));
  if (steps > 1)
    for (int64_t k = 0; k < reach; ++k) shares.push_back(share(paths, emit, skip, k));
  Tensor g = at(grad, steps - 1);
  for (int64_t t = steps - 1;; --t) {
    if (t == 0)  // paths begin in the first two states
      g = where(op<"lt">({iota(states, 0, 1, DType::i64, c.device), 2}), g, 0.0);
    out[size_t(t)] = g;
    if (t == 0) break;
    const Tensor next = padded(g, reach - 1);
    g = at(grad, t - 1);
    for (int64_t k = 0; k < reach; ++k)
      g = op<"addcmul">({g, slice(next, 1, k, k + states), at(shares[size_t(k)], t - 1), 1.0});
  }
  std::vector<Arg> parts(out.begin(), out.end());
  return {call_one(op_named<"stack">(), parts, std::initializer_list<Attr>{Attr(0)})};
}

// ---- the loss ----

Specs infer_ctc(const Inference& c) {
  const Shape &x = c.input(0).shape, &target = c.input(1).shape;
  c.check(x.size() == 3 && !(x[0] == Dim(0)), "expected log-probabilities of shape (T, N, C) with T of 1 or more, got ",
          str(x));
  c.check(target.size() == 2 && target[0] == x[1], "expected targets of shape (", x[1], ", S), got ", str(target));
  for (size_t i = 1; i < 4; ++i) {
    check_type(is_index(c.input(i).dtype), c.name(), "integer targets and lengths", c.input(i).dtype);
    c.check(i == 1 || c.input(i).shape == Shape{x[1]}, "expected lengths of shape (", x[1], ",), got ",
            str(c.input(i).shape));
  }
  const int64_t blank = c.attr(1).integer();
  c.check(blank >= 0 && (!x[2].is_constant() || blank < x[2].value()), "expected a blank of the ", x[2],
          " classes, got ", blank);
  return reduced(c, Shape{x[1]});
}

Tensor column(const Tensor& x) { return op<"unsqueeze">({x}, {Ints{-1}}); }

// [N] losses.
Tensor ctc(const Call& c, const Tensor& log_p) {
  const int64_t steps = log_p.size(0), n = log_p.size(1), classes = log_p.size(2), blank = c.attr(1).integer();
  const DType t = log_p.dtype();
  const int64_t labels = std::max<int64_t>(c.input(1).size(1), 1), states = 2 * labels + 1;
  Tensor target = c.input(1).cast(DType::i64);
  if (!c.input(1).size(1)) target = full({n, 1}, double(blank), DType::i64, c.device);
  const Tensor lengths = c.input(2).cast(DType::i64), target_lengths = c.input(3).cast(DType::i64);
  // What is behind a target's length does not count; a label below 0 becomes one past the last class, out of range.
  const Tensor counts = op<"lt">({iota(labels, 0, 1, DType::i64, c.device), column(target_lengths)});
  target = where(counts, where(op<"lt">({target, 0}), classes, target), blank);
  const Tensor between = full({n, labels}, double(blank), DType::i64, c.device);
  const Tensor pairs = reshape(op<"stack">({between, target}, {2}), {n, 2 * labels});
  const Tensor sequence = op<"concat">({pairs, full({n, 1}, double(blank), DType::i64, c.device)}, {1});
  const Tensor two_before =
      op<"concat">({full({n, 2}, double(blank), DType::i64, c.device), slice(sequence, 1, 0, states - 2)}, {1});
  const Tensor may_skip = op<"logical_and">({op<"ne">({sequence, blank}), op<"ne">({sequence, two_before})});
  const Tensor skip = where(may_skip, zeros({}, t, c.device), -INFINITY);
  const Tensor emit =
      op<"take_along_axis">({log_p, expand(reshape(sequence, {1, n, states}), {steps, n, states})}, {2});

  const Tensor paths = op<"ctc_scan">({emit, skip});
  const Tensor when_over = reshape(op<"maximum">({sub(lengths, 1), 0}), {1, n, 1});
  const Tensor last = reshape(op<"take_along_axis">({paths, expand(when_over, {1, n, states})}, {0}), {n, states});
  // The paths that end in the last label or in the blank behind it.
  const Tensor end = mul(target_lengths, 2), before = op<"maximum">({sub(end, 1), 0});
  const Tensor ends = op<"take_along_axis">({last, op<"stack">({end, before}, {1})}, {1});
  const Tensor possible =
      op<"logical_or">({op<"eq">({iota(2, 0, 1, DType::i64, c.device), 0}), column(op<"gt">({end, 0}))});
  Tensor loss = neg(op<"logsumexp">({where(possible, ends, -INFINITY)}, {Ints{1}, false}));
  const Tensor empty = op<"eq">({lengths, 0});
  loss = where(empty, where(op<"eq">({end, 0}), zeros({}, t, c.device), INFINITY), loss);
  return c.attr(2).boolean() ? where(op<"isinf">({loss}), 0.0, loss) : loss;
}

}  // namespace

TG_OPS(loss_ctc) {
  reducing(
      TG_OP(ctc_loss)
          .input("log_probs", "log-probabilities [T, N, C]")
          .input("targets", "labels [N, S], integers other than blank; what is behind a target's length does not count")
          .input("input_lengths", "[N], integers of at most T")
          .input("target_lengths", "[N], integers of at most S"))
      .doc(
          "-log of the summed probability of all alignments of each target with its inputs; inf where there is none "
          "(then its gradient is 0). The mean divides each loss by its target's length first. Memory: T N (2 S + 1) "
          "elements. Errors: ValueError where shapes do not fit, IndexError for lengths and labels out of range.")
      .attr("blank", AttrKind::integer, 0, "the class of no label")
      .attr("zero_infinity", AttrKind::boolean, false, "count infinite losses as 0")
      .infer(infer_ctc)
      .decompose([](const Call& c) {
        infer_now(c);
        const DType t = c.input(0).dtype();
        Tensor loss = ctc(c, c.input(0).cast(acc_dtype(t)));
        const std::string& reduction = c.attr(0).string();
        if (reduction == "mean") loss = div(loss, op<"maximum">({c.input(3).cast(loss.dtype()), 1.0}));
        return Tensors{reduce(loss, reduction).cast(t)};
      })
      .bounds(64, "T steps of exp and log, relative to the largest |log-probability| times T + 1")
      .example(
          ">>> p = tg.log(tg.tensor([[[0.5, 0.5]], [[0.5, 0.5]]]))\n"
          ">>> round(tg.ctc_loss(p, tg.tensor([[1]]), tg.tensor([2]), tg.tensor([1])).exp().item(), 4)  # 1 / "
          "0.75\n1.3333");

  TG_OP(ctc_step)
      .internal()
      .family("loss")
      .doc("emit + log(exp a + exp b + exp(c + skip)).")
      .input("a", "paths that stay")
      .input("b", "from the state before")
      .input("c", "from two states before")
      .input("skip", "0 where that is allowed, else -inf")
      .input("emit", "log-probabilities of the states")
      .output("y", "the paths after the step")
      .map(Promotion::common_float, step)
      .no_grad()
      .bounds(32, "exp, log and six roundings");

  TG_OP(ctc_scan)
      .kernel()
      .internal()
      .family("loss")
      .doc("Log-probabilities of all paths into each state, by step: emit + log-sum-exp over the states before.")
      .input("emit", "log-probabilities of the states [T, N, L]")
      .input("skip", "[N, L]: 0 where a path may come from two states before, else -inf")
      .output("paths", "[T, N, L]")
      .infer(infer_scan)
      .decompose(scan)
      .grad([](const Backward& b) {
        return Tensors{op<"ctc_scan_backward">({b.grad(), b.output(), b.arg(0), b.arg(1)}), Tensor()};
      })
      .jvp_by_grad()
      .saves(3, 1)
      .bounds(32, "T steps of ctc_step");

  TG_OP(ctc_scan_backward)
      .kernel()
      .internal()
      .family("loss")
      .doc("Each step's gradient, plus the next step's by the shares of the states in it.")
      .input("dpaths", "gradient of paths")
      .input("paths", "what ctc_scan gave")
      .input("emit", "its emissions")
      .input("skip", "its skips")
      .output("demit", "gradient of emit")
      .infer(same_as_first)
      .decompose(scan_backward)
      .bounds(32, "T steps of three products");
}

}  // namespace tg
