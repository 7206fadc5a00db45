// SPDX-License-Identifier: Apache-2.0
// Recurrent layers, one direction of one layer each, after the input's share of the gates was computed for all steps at
// once.
//
// Sequences are packed: row offset[t] + n is step t of sequence n, and the sequences, longest first, are batch_sizes[t]
// many at step t. A batch of equal lengths is the case of equal sizes. Going backwards (`reverse`) a sequence starts at
// its own end. Gradients go back step by step through what is linear in them; all that the steps' values decide is
// computed for all steps at once.
#include "common.h"

namespace tg {
namespace {

Tensor add(const Arg& a, const Arg& b) { return op<"add">({a, b}); }
Tensor sub(const Arg& a, const Arg& b) { return op<"sub">({a, b}); }
Tensor mul(const Arg& a, const Arg& b) { return op<"mul">({a, b}); }
Tensor matmul(const Tensor& a, const Tensor& b) { return op<"matmul">({a, b}); }
Tensor rows(const Tensor& x, int64_t begin, int64_t count) {
  return begin == 0 && count == x.size(0) ? x : slice(x, 0, begin, begin + count);
}
Tensor concat(const std::vector<Tensor>& parts, int64_t axis = 0) {
  if (parts.size() == 1) return parts[0];
  const std::vector<Arg> in(parts.begin(), parts.end());
  return call_one(op_named<"concat">(), in, std::initializer_list<Attr>{Attr(axis)});
}
// Gate k of n, [M, H].
Tensor gate(const Tensor& x, int64_t k, int64_t n) {
  const int64_t h = x.size(1) / n;
  return slice(x, 1, k * h, (k + 1) * h);
}
Tensor one_minus(const Tensor& x) { return sub(1.0, x); }
Tensor sigmoid_slope(const Tensor& s) { return mul(s, one_minus(s)); }
Tensor tanh_slope(const Tensor& h) { return one_minus(op<"square">({h})); }

// ---- the order of steps ----

// The i-th step taken: `count` rows from `begin` on. The first `kept` continue the rows from `before` on, the others
// start.
struct Step {
  int64_t begin, count, before, kept;
};
std::vector<Step> steps_of(const Ints& sizes, bool reverse) {
  std::vector<Step> out;
  int64_t begin = 0;
  for (int64_t n : sizes) {
    out.push_back({begin, n, 0, 0});
    begin += n;
  }
  if (reverse) std::reverse(out.begin(), out.end());
  for (size_t i = 1; i < out.size(); ++i) {
    out[i].before = out[i - 1].begin;
    out[i].kept = std::min(out[i].count, out[i - 1].count);
  }
  return out;
}
// f(begin, count, state) for the rows of a step that continue, and for those that start from `initial`.
template <class F>
void each_part(const Step& s, const Tensor& initial, const Tensor& state, F f) {
  if (s.kept) f(s.begin, s.kept, rows(state, s.before, s.kept));
  if (s.kept < s.count) f(s.begin + s.kept, s.count - s.kept, rows(initial, s.kept, s.count - s.kept));
}
// The state that every row starts its step from, [M, ...].
Tensor previous(const std::vector<Step>& steps, bool reverse, const Tensor& initial, const Tensor& state) {
  if (steps.front().count == steps.back().count) {  // one shift
    const int64_t n = steps[0].count, more = state.size(0) - n;
    if (!more) return initial;
    return reverse ? concat({rows(state, n, more), initial}) : concat({initial, rows(state, 0, more)});
  }
  std::vector<Tensor> parts;
  for (size_t i = 0; i < steps.size(); ++i)
    each_part(steps[reverse ? steps.size() - 1 - i : i], initial, state,
              [&](int64_t, int64_t, const Tensor& from) { parts.push_back(from); });
  return concat(parts);
}
// Collects what the steps give, last step first, and the gradient of the initial state.
struct Collected {
  std::vector<Tensor> by_step, initial;
  Tensor all(bool reverse) {
    if (!reverse) std::reverse(by_step.begin(), by_step.end());
    return concat(by_step);
  }
  Tensor start() {
    std::reverse(initial.begin(), initial.end());
    return concat(initial);
  }
};
// What arrives at a step: its own gradient (if any) and what the next step gave to the rows that go on.
Tensor arriving(const Tensor& own, const Step& s, const Tensor& carried, int64_t width, const Tensor& like) {
  const Tensor mine = own.defined() ? rows(own, s.begin, s.count) : Tensor();
  const int64_t kept = carried.defined() ? carried.size(0) : 0;
  if (!kept) return mine.defined() ? mine : zeros({s.count, width}, like.dtype(), like.device());
  if (kept == s.count) return mine.defined() ? add(mine, carried) : carried;
  const Tensor rest =
      mine.defined() ? rows(mine, kept, s.count - kept) : zeros({s.count - kept, width}, like.dtype(), like.device());
  return concat({mine.defined() ? add(rows(mine, 0, kept), carried) : carried, rest});
}
// Splits the gradient of a step's start between the step before and the initial state.
Tensor leave(const Step& s, const Tensor& g, Collected& to) {
  if (s.kept < s.count) to.initial.push_back(rows(g, s.kept, s.count - s.kept));
  return s.kept ? rows(g, 0, s.kept) : Tensor();
}

// ---- schema ----

Ints sizes_of(const Attr& a) { return a.ints(); }
void check_sizes(const Inference& c, const Attr& a, const Dim& total, const Dim& batch) {
  const Ints& sizes = a.ints();
  int64_t sum = 0;
  for (size_t i = 0; i < sizes.size(); ++i) {
    c.check(sizes[i] >= 1 && (i == 0 || sizes[i] <= sizes[i - 1]), "expected batch_sizes that do not grow, got ",
            str(sizes));
    sum += sizes[i];
  }
  c.check(!sizes.empty() && total == Dim(sum), "expected gates of as many rows as batch_sizes ", str(sizes),
          " have, got ", total);
  c.check(batch == Dim(sizes[0]), "expected an initial state of ", sizes[0], " rows, got ", batch);
}
// gates [M, n H], h0 [N, P], weight [n H, P]; returns [M, P].
Shape check_scan(const Inference& c, int64_t n, size_t h0, size_t weight) {
  const Shape &g = c.input(0).shape, &h = c.input(h0).shape, &w = c.input(weight).shape;
  for (const TensorSpec* t : c.inputs)
    if (t) check_type(is_floating(t->dtype) && t->dtype == c.input(0).dtype, c.name(), "floats of one dtype", t->dtype);
  c.check(g.size() == 2 && h.size() == 2, "expected gates of shape (rows, ", n, " H) and h0 of shape (N, H), got ",
          str(g), " and ", str(h));
  c.check(w == Shape({g[1], h[1]}), "expected weight_hh of shape (", g[1], ", ", h[1], "), got ", str(w));
  c.check(!g[1].is_constant() || g[1].value() % n == 0, "expected ", n, " gates of one size, got ", g[1]);
  check_sizes(c, c.attr(0), g[0], h[0]);
  return {g[0], h[1]};
}
OpBuilder scan(OpBuilder o) {
  return o.kernel()
      .amp(Amp::low)
      .family("recurrent")
      .attr("batch_sizes", AttrKind::ints, "sequences at every step, not growing")
      .attr("reverse", AttrKind::boolean, false, "from the last step to the first")
      .function_only();
}
OpBuilder scan_backward(OpBuilder o) { return scan(o).internal(); }

Tensor undefined_or_cast(const Call& c, size_t i, DType t) { return c.has(i) ? c.input(i).cast(t) : Tensor(); }
Tensor cast_if(const Tensor& x, DType t) { return x.defined() ? x.cast(t) : x; }

// ---- LSTM ----

MapResult lstm_cell(MapBuilder& b, Values in, AttrSpan) {
  const auto f = [&](int code, Value x) { return b.emit(code, x); };
  const auto times = [&](Value x, Value y) { return b.emit(TG_MAP_MUL, x, y); };
  const Value kept = times(f(TG_MAP_SIGMOID, in[1]), in[4]);
  const Value c = b.emit(TG_MAP_ADD, kept, times(f(TG_MAP_SIGMOID, in[0]), f(TG_MAP_TANH, in[2])));
  return {times(f(TG_MAP_SIGMOID, in[3]), f(TG_MAP_TANH, c)), c};
}

Specs infer_lstm(const Inference& c) {
  Shape y = check_scan(c, 4, 1, 3);
  const Shape &g = c.input(0).shape, &c0 = c.input(2).shape;
  c.check(c0.size() == 2 && c0[0] == c.input(1).shape[0] && c0[1] * 4 == g[1],
          "expected c0 of a row for each of h0's, and a quarter of the ", g[1], " gates, got ", str(c0));
  c.check(!c.has(4) || c.input(4).shape == Shape({y[1], c0[1]}), "expected weight_hr of shape (", y[1], ", ", c0[1],
          "), got ", str(c.has(4) ? c.input(4).shape : Shape{}));
  c.check(c.has(4) || y[1] == c0[1], "expected h0 and c0 of one size without weight_hr, got ", y[1], " and ", c0[1]);
  const DType t = c.input(0).dtype;
  return {{t, y}, {t, {g[0], c0[1]}}, {t, g}};
}

Tensors lstm(const Call& c) {
  infer_now(c);
  const DType t = c.input(0).dtype(), acc = acc_dtype(t);
  const Tensor h0 = c.input(1).cast(acc), c0 = c.input(2).cast(acc), w = transpose(c.input(3).cast(acc));
  const Tensor project = when(c.has(4), [&] { return transpose(c.input(4).cast(acc)); });
  const Tensor gates = op<"copy">({c.input(0).cast(acc)});
  const int64_t m = gates.size(0), hidden = c0.size(1), out = h0.size(1);
  const Tensor y = project.defined() ? zeros({m, out}, acc, c.device) : empty({m, out}, acc, c.device);
  const Tensor cells = empty({m, hidden}, acc, c.device);
  for (const Step& s : steps_of(sizes_of(c.attr(0)), c.attr(1).boolean())) {
    each_part(s, h0, y, [&](int64_t begin, int64_t n, const Tensor& h) { matmul_into(rows(gates, begin, n), h, w); });
    each_part(s, c0, cells, [&](int64_t begin, int64_t n, const Tensor& last) {
      const Tensor g = rows(gates, begin, n), to = rows(y, begin, n);
      const Tensor result = project.defined() ? empty({n, hidden}, acc, c.device) : to;
      const Arg in[] = {gate(g, 0, 4), gate(g, 1, 4), gate(g, 2, 4), gate(g, 3, 4), last};
      const Tensor outs[] = {result, rows(cells, begin, n)};
      call_into(op_named<"lstm_cell">(), in, {}, outs);
      if (project.defined()) matmul_into(to, result, project);
    });
  }
  return {y.cast(t), cells.cast(t), gates.cast(t)};
}

// dy -> dh, dc -> gates: all coefficients are there; see lstm_gradient.
Tensors lstm_backward(const Call& c) {
  const DType t = c.input(0).dtype(), acc = acc_dtype(t);
  const Tensor out_slope = c.input(0).cast(acc), forget = c.input(1).cast(acc), slopes = c.input(2).cast(acc),
               weight = c.input(3).cast(acc);
  const Tensor project = undefined_or_cast(c, 4, acc), dy = undefined_or_cast(c, 5, acc),
               dc = undefined_or_cast(c, 6, acc), dgates = undefined_or_cast(c, 7, acc);
  const bool reverse = c.attr(1).boolean();
  const int64_t hidden = forget.size(1);
  const auto steps = steps_of(sizes_of(c.attr(0)), reverse);
  Collected h, cell, g;
  Tensor carried_h, carried_c;
  for (size_t i = steps.size(); i-- > 0;) {
    const Step& s = steps[i];
    const Tensor dh = arriving(dy, s, carried_h, weight.size(1), weight);
    const Tensor dm = project.defined() ? matmul(dh, project) : dh;
    const Tensor own = arriving(dc, s, carried_c, hidden, weight);
    const Tensor total = op<"addcmul">({own, dm, rows(out_slope, s.begin, s.count), 1.0});
    const Tensor factor = concat({total, total, total, dm}, 1);
    Tensor dg = mul(factor, rows(slopes, s.begin, s.count));
    if (dgates.defined()) dg = add(dg, rows(dgates, s.begin, s.count));
    carried_h = leave(s, matmul(dg, weight), h);
    carried_c = leave(s, mul(total, rows(forget, s.begin, s.count)), cell);
    h.by_step.push_back(dh);
    g.by_step.push_back(dg);
  }
  return {g.all(reverse).cast(t), h.all(reverse).cast(t), h.start().cast(t), cell.start().cast(t)};
}

Tensors lstm_gradient(const Backward& b) {
  const DType t = b.input_dtype(0), acc = acc_dtype(t);
  const bool reverse = b.attr(1).boolean();
  const auto steps = steps_of(sizes_of(b.attr(0)), reverse);
  const Tensor y = b.output(0).cast(acc), c = b.output(1).cast(acc), pre = b.output(2).cast(acc);
  const Tensor h0 = b.input(1).cast(acc), c0 = b.input(2).cast(acc), w = b.input(3).cast(acc);
  const Tensor i = op<"sigmoid">({gate(pre, 0, 4)}), f = op<"sigmoid">({gate(pre, 1, 4)}),
               g = op<"tanh">({gate(pre, 2, 4)}), o = op<"sigmoid">({gate(pre, 3, 4)}), tanh_c = op<"tanh">({c});
  const Tensor last_c = previous(steps, reverse, c0, c);
  const Tensor slopes = concat(
      {mul(g, sigmoid_slope(i)), mul(last_c, sigmoid_slope(f)), mul(i, tanh_slope(g)), mul(tanh_c, sigmoid_slope(o))},
      1);
  const Tensor dy = cast_if(b.grads[0], acc), dc = cast_if(b.grads[1], acc), dpre = cast_if(b.grads[2], acc);
  const Tensor project = when(b.has(4), [&] { return b.input(4).cast(acc); });
  const Tensors d = ops<"lstm_scan_backward">({mul(o, tanh_slope(tanh_c)), f, slopes, w, project, dy, dc, dpre},
                                              {b.attr(0), b.attr(1)});
  Tensors out{d[0].cast(t), d[2].cast(t), d[3].cast(t), Tensor(), Tensor()};
  if (b.need(3)) out[3] = matmul(transpose(d[0]), previous(steps, reverse, h0, y)).cast(t);
  if (b.has(4) && b.need(4)) out[4] = matmul(transpose(d[1]), mul(o, tanh_c)).cast(t);
  return out;
}

// ---- GRU and the plain network ----

MapResult gru_cell(MapBuilder& b, Values in, AttrSpan) {
  const auto plus = [&](Value x, Value y) { return b.emit(TG_MAP_ADD, x, y); };
  const Value r = b.emit(TG_MAP_SIGMOID, plus(in[0], in[3])), z = b.emit(TG_MAP_SIGMOID, plus(in[1], in[4]));
  const Value n = b.emit(TG_MAP_TANH, plus(in[2], b.emit(TG_MAP_MUL, r, in[5])));
  return plus(n, b.emit(TG_MAP_MUL, z, b.emit(TG_MAP_SUB, in[6], n)));
}

Specs infer_gru(const Inference& c) {
  const Shape y = check_scan(c, 3, 1, 2);
  const Shape& g = c.input(0).shape;
  c.check(y[1] * 3 == g[1], "expected h0 of a third of the ", g[1], " gates, got ", y[1]);
  c.check(!c.has(3) || c.input(3).shape == Shape{g[1]}, "expected bias_hh of shape (", g[1], ",), got ",
          str(c.has(3) ? c.input(3).shape : Shape{}));
  return {{c.input(0).dtype, y}, {c.input(0).dtype, g}};
}

Tensors gru(const Call& c) {
  infer_now(c);
  const DType t = c.input(0).dtype(), acc = acc_dtype(t);
  const Tensor x = c.input(0).cast(acc), h0 = c.input(1).cast(acc), w = transpose(c.input(2).cast(acc));
  const Tensor inner =
      c.has(3) ? op<"copy">({expand(c.input(3).cast(acc), x.shape())}) : zeros(x.shape(), acc, c.device);
  const Tensor y = empty({x.size(0), h0.size(1)}, acc, c.device);
  for (const Step& s : steps_of(sizes_of(c.attr(0)), c.attr(1).boolean()))
    each_part(s, h0, y, [&](int64_t begin, int64_t n, const Tensor& h) {
      const Tensor gx = rows(x, begin, n), gh = rows(inner, begin, n);
      matmul_into(gh, h, w);
      const Arg in[] = {
          gate(gx, 0, 3), gate(gx, 1, 3), gate(gx, 2, 3), gate(gh, 0, 3), gate(gh, 1, 3), gate(gh, 2, 3), h};
      const Tensor outs[] = {rows(y, begin, n)};
      call_into(op_named<"gru_cell">(), in, {}, outs);
    });
  return {y.cast(t), inner.cast(t)};
}

// The gradient of y is that of its step, plus z times itself one step later, plus what the weights bring back.
Tensors state_backward(const Call& c) {
  const DType t = c.input(0).dtype(), acc = acc_dtype(t);
  const Tensor slopes = c.input(0).cast(acc), weight = c.input(1).cast(acc), z = undefined_or_cast(c, 2, acc),
               dy = undefined_or_cast(c, 3, acc), dinner = undefined_or_cast(c, 4, acc);
  const bool reverse = c.attr(1).boolean();
  const int64_t hidden = weight.size(1), gates = slopes.size(1) / hidden;
  const auto steps = steps_of(sizes_of(c.attr(0)), reverse);
  Collected h;
  Tensor carried;
  for (size_t i = steps.size(); i-- > 0;) {
    const Step& s = steps[i];
    const Tensor dh = arriving(dy, s, carried, hidden, weight);
    Tensor dg =
        mul(gates == 1 ? dh : concat(std::vector<Tensor>(size_t(gates), dh), 1), rows(slopes, s.begin, s.count));
    if (dinner.defined()) dg = add(dg, rows(dinner, s.begin, s.count));
    Tensor before = matmul(dg, weight);
    if (z.defined()) before = op<"addcmul">({before, dh, rows(z, s.begin, s.count), 1.0});
    carried = leave(s, before, h);
    h.by_step.push_back(dh);
  }
  return {h.all(reverse).cast(t), h.start().cast(t)};
}

Tensors gru_gradient(const Backward& b) {
  const DType t = b.input_dtype(0), acc = acc_dtype(t);
  const bool reverse = b.attr(1).boolean();
  const auto steps = steps_of(sizes_of(b.attr(0)), reverse);
  const Tensor x = b.input(0).cast(acc), inner = b.output(1).cast(acc);
  const Tensor last = previous(steps, reverse, b.input(1).cast(acc), b.output(0).cast(acc));
  const Tensor hn = gate(inner, 2, 3);
  const Tensor r = op<"sigmoid">({add(gate(x, 0, 3), gate(inner, 0, 3))}),
               z = op<"sigmoid">({add(gate(x, 1, 3), gate(inner, 1, 3))}),
               n = op<"tanh">({add(gate(x, 2, 3), mul(r, hn))});
  const Tensor dn = mul(one_minus(z), tanh_slope(n)), dr = mul(mul(dn, hn), sigmoid_slope(r)),
               dz = mul(sub(last, n), sigmoid_slope(z));
  const Tensor slopes = concat({dr, dz, mul(dn, r)}, 1), dinner = cast_if(b.grads[1], acc);
  const Tensors d = ops<"state_scan_backward">({slopes, b.input(2).cast(acc), z, cast_if(b.grads[0], acc), dinner},
                                               {b.attr(0), b.attr(1)});
  const Tensor three = concat({d[0], d[0], d[0]}, 1);
  Tensor g = mul(three, slopes);
  if (dinner.defined()) g = add(g, dinner);
  Tensors out{Tensor(), d[1].cast(t), Tensor(), Tensor()};
  if (b.need(0)) out[0] = mul(three, concat({dr, dz, dn}, 1)).cast(t);
  if (b.need(2)) out[2] = matmul(transpose(g), last).cast(t);
  if (b.has(3) && b.need(3)) out[3] = sum(g, {0}, false).cast(t);
  return out;
}

Tensors rnn(const Call& c) {
  infer_now(c);
  const DType t = c.input(0).dtype(), acc = acc_dtype(t);
  const Tensor h0 = c.input(1).cast(acc), w = transpose(c.input(2).cast(acc)), y = op<"copy">({c.input(0).cast(acc)});
  const Op& activation = c.attr(2).string() == "tanh" ? op_named<"tanh">() : op_named<"relu">();
  for (const Step& s : steps_of(sizes_of(c.attr(0)), c.attr(1).boolean())) {
    each_part(s, h0, y, [&](int64_t begin, int64_t n, const Tensor& h) { matmul_into(rows(y, begin, n), h, w); });
    const Arg in[] = {rows(y, s.begin, s.count)};
    const Tensor outs[] = {in[0].t};
    call_into(activation, in, {}, outs);
  }
  return {y.cast(t)};
}

Tensors rnn_gradient(const Backward& b) {
  const DType t = b.input_dtype(0), acc = acc_dtype(t);
  const bool reverse = b.attr(1).boolean();
  const Tensor y = b.output().cast(acc);
  const Tensor slope = b.attr(2).string() == "tanh" ? tanh_slope(y) : op<"gt">({y, 0.0}).cast(acc);
  const Tensors d = ops<"state_scan_backward">({slope, b.input(2).cast(acc), Tensor(), b.grad().cast(acc), Tensor()},
                                               {b.attr(0), b.attr(1)});
  const Tensor g = mul(d[0], slope);
  Tensors out{g.cast(t), d[1].cast(t), Tensor()};
  if (b.need(2))
    out[2] = matmul(transpose(g), previous(steps_of(sizes_of(b.attr(0)), reverse), reverse, b.input(1).cast(acc), y))
                 .cast(t);
  return out;
}

constexpr const char* kBound = "steps, and the weight's sizes; gates enter through sigmoid and tanh";

}  // namespace

TG_OPS(recurrent) {
  scan(TG_OP(lstm_scan)
           .input("gates", "the input's share of input, forget, cell and output gate, biases included: [M, 4 H]")
           .input("h0", "state before the first step [N, P]")
           .input("c0", "cells before the first step [N, H]")
           .input("weight_hh", "[4 H, P]")
           .optional_input("weight_hr", "projection of the state [P, H]; without it P is H"))
      .doc(
          "A long short-term memory over packed sequences: c' = s(f) c + s(i) tanh(g), h' = s(o) tanh(c'), projected "
          "by "
          "weight_hr if given. Gives the states, and the cells. Errors: ValueError where shapes do not fit.")
      .output("y", "states of all steps [M, P]")
      .output("c", "cells of all steps [M, H]")
      .hidden_output("pre", "all gates before their sigmoids and tanh [M, 4 H]")
      .infer(infer_lstm)
      .decompose(lstm)
      .grad(lstm_gradient)
      .saves(30, 7)
      .bounds(64, kBound)
      .example(
          ">>> z = tg.zeros((1, 1))\n"
          ">>> y, c = tg.lstm_scan(tg.tensor([[0., 0., 0., 0.]]), z, z + 1, tg.zeros((4, 1)), batch_sizes=(1,))\n"
          ">>> c.tolist()\n[[0.5]]");
  TG_OP(lstm_cell)
      .internal()
      .family("recurrent")
      .doc("c' = s(f) c + s(i) tanh(g), h' = s(o) tanh(c').")
      .input("i", "input gate")
      .input("f", "forget gate")
      .input("g", "cell gate")
      .input("o", "output gate")
      .input("c", "cells")
      .output("h", "new states")
      .output("c", "new cells")
      .map(Promotion::common_float, lstm_cell)
      .no_grad()
      .bounds(32, "sigmoid, tanh and five roundings");
  scan_backward(TG_OP(lstm_scan_backward)
                    .input("out_slope", "dc / dh: s(o) (1 - tanh(c)^2)")
                    .input("forget", "s(f)")
                    .input("slopes", "of the gates")
                    .input("weight_hh", "as lstm_scan")
                    .optional_input("weight_hr", "as lstm_scan")
                    .optional_input("dy", "gradient of y")
                    .optional_input("dc", "gradient of c")
                    .optional_input("dpre", "gradient of pre"))
      .doc("The gradients of all gates and states, last step first.")
      .output("dgates", "[M, 4 H]")
      .output("dh", "of the states, all paths [M, P]")
      .output("dh0", "[N, P]")
      .output("dc0", "[N, H]")
      .infer([](const Inference& c) {
        const TensorSpec &f = c.input(1), &slopes = c.input(2), &w = c.input(3);
        const Dim n = c.attr(0).ints()[0];
        return Specs{
            slopes, {f.dtype, {f.shape[0], w.shape[1]}}, {f.dtype, {n, w.shape[1]}}, {f.dtype, {n, f.shape[1]}}};
      })
      .decompose(lstm_backward)
      .bounds(64, kBound);

  scan(TG_OP(gru_scan)
           .input("gates", "the input's share of reset, update and new gate, with its biases: [M, 3 H]")
           .input("h0", "state before the first step [N, H]")
           .input("weight_hh", "[3 H, H]")
           .optional_input("bias_hh", "[3 H]"))
      .doc(
          "Gated recurrent units over packed sequences: with u = h weight_hh^T + bias_hh, r = s(g_r + u_r), "
          "z = s(g_z + u_z), n = tanh(g_n + r u_n), h' = (1 - z) n + z h. Errors: ValueError where shapes do not fit.")
      .output("y", "states of all steps [M, H]")
      .hidden_output("inner", "u of all steps [M, 3 H]")
      .infer(infer_gru)
      .decompose(gru)
      .grad(gru_gradient)
      .saves(7, 3)
      .bounds(64, kBound)
      .example(
          ">>> tg.gru_scan(tg.zeros((2, 3)), tg.tensor([[8.]]), tg.zeros((3, 1)), batch_sizes=(1, 1)).tolist()\n"
          "[[4.0], [2.0]]");
  TG_OP(gru_cell)
      .internal()
      .family("recurrent")
      .doc("r = s(xr + hr), z = s(xz + hz), n = tanh(xn + r hn), n + z (h - n).")
      .input("xr", "the input's share of the reset gate")
      .input("xz", "of the update gate")
      .input("xn", "of the new gate")
      .input("hr", "the state's share of the reset gate")
      .input("hz", "of the update gate")
      .input("hn", "of the new gate")
      .input("h", "states")
      .output("y", "new states")
      .map(Promotion::common_float, gru_cell)
      .no_grad()
      .bounds(32, "sigmoid, tanh and six roundings");

  scan(TG_OP(rnn_scan)
           .input("gates", "the input's share, biases included [M, H]")
           .input("h0", "state before the first step [N, H]")
           .input("weight_hh", "[H, H]"))
      .doc(
          "h' = tanh(gates + h weight_hh^T), or relu, over packed sequences. Errors: ValueError where shapes do not "
          "fit.")
      .attr("nonlinearity", AttrKind::string, "tanh", "\"tanh\" or \"relu\"")
      .output("y", "states of all steps [M, H]")
      .infer([](const Inference& c) {
        const std::string& a = c.attr(2).string();
        c.check(a == "tanh" || a == "relu", "expected nonlinearity to be \"tanh\" or \"relu\", got \"", a, "\"");
        const Shape y = check_scan(c, 1, 1, 2);
        c.check(y[1] == c.input(0).shape[1], "expected gates and h0 of one size, got ", c.input(0).shape[1], " and ",
                y[1]);
        return one({c.input(0).dtype, y});
      })
      .decompose(rnn)
      .grad(rnn_gradient)
      .saves(6, 1)
      .bounds(64, kBound)
      .example(
          ">>> tg.rnn_scan(tg.tensor([[1.], [1.]]), tg.zeros((1, 1)), tg.tensor([[2.]]), batch_sizes=(1, 1), "
          "nonlinearity='relu').tolist()\n[[1.0], [3.0]]");
  scan_backward(TG_OP(state_scan_backward)
                    .input("slopes", "of the state's share of the gates [M, G H]")
                    .input("weight_hh", "[G H, H]")
                    .optional_input("z", "share of a state that goes on [M, H]")
                    .optional_input("dy", "gradient of y")
                    .optional_input("dinner", "gradient of the state's share of the gates"))
      .doc("The gradients of all states, last step first: dy + z dh' + (slopes dh') weight_hh.")
      .output("dh", "of the states, all paths [M, H]")
      .output("dh0", "[N, H]")
      .infer([](const Inference& c) {
        const TensorSpec &s = c.input(0), &w = c.input(1);
        return Specs{{s.dtype, {s.shape[0], w.shape[1]}}, {s.dtype, {Dim(c.attr(0).ints()[0]), w.shape[1]}}};
      })
      .decompose(state_backward)
      .bounds(64, kBound);
}

}  // namespace tg
