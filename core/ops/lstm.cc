// SPDX-License-Identifier: Apache-2.0
// Long short-term memory; recurrent.h has how steps are packed.
#include "recurrent.h"

namespace tg {
namespace {

using namespace recurrent;

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

}  // namespace

TG_OPS(lstm) {
  scan(TG_OP(lstm_scan).amp(Amp::low)
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
      .jvp_by_grad()
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
}

}  // namespace tg
