// SPDX-License-Identifier: Apache-2.0
// Gated recurrent units, and the plain recurrent network; recurrent.h has how steps are packed.
#include "recurrent.h"

namespace tg {
namespace {

using namespace recurrent;

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

}  // namespace

TG_OPS(recurrent) {
  scan(TG_OP(gru_scan).amp(Amp::low)
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
      .jvp_by_grad()
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

  scan(TG_OP(rnn_scan).amp(Amp::low)
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
      .jvp_by_grad()
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
