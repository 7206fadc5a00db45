// SPDX-License-Identifier: Apache-2.0
// Binary arithmetic. Operands broadcast and meet in their promoted dtype; integers stay integers except in div.
#include "common.h"

namespace tg {
namespace {

void numeric(const char* op, Value v, const char* hint) { check_type(v.dtype != DType::boolean, op, hint, v.dtype); }

MapFn simple(int opcode) {
  return [opcode](MapBuilder& b, Values in, AttrSpan) { return b.emit(opcode, in[0], in[1]); };
}

Tensor select(const Tensor& mask, const Arg& a, const Arg& b) { return op<"where">({mask, a, b}); }

Tensors pow_gradient(const Backward& b) {
  const Arg &x = b.arg(0), &y = b.arg(1);
  Tensors out(2);
  if (b.need(0)) {
    if (y.kind == Arg::scalar && y.s.kind == Scalar::complex) {
      const Scalar less = Scalar::of_complex(y.s.f - 1, y.s.im);
      out[0] = op<"mul">({b.grad(), op<"mul">({op<"pow">({x, less}), y})});
    } else if (y.kind == Arg::scalar) {
      const double p = y.s.as_double();
      out[0] = p == 0   ? zeros_like(b.grad())
               : p == 1 ? b.grad()
               : p == 2 ? op<"mul">({b.grad(), op<"mul">({x, 2.0})})
                        : op<"mul">({b.grad(), op<"mul">({op<"pow">({x, p - 1}), p})});
    } else {  // y = 0 has gradient 0 at x = 0, too
      const Tensor safe = select(op<"eq">({y, 0.0}), 1.0, op<"sub">({y, 1.0}));
      out[0] = op<"mul">({b.grad(), op<"mul">({y, op<"pow">({x, safe})})});
    }
  }
  if (b.need(1)) {
    if (is_complex(b.output().dtype())) {
      const Tensor zero = op<"eq">({x, 0.0}), safe = select(zero, 1.0, x);
      out[1] = op<"mul">({b.grad(), select(zero, 0.0, op<"mul">({b.output(), op<"log">({safe.cast(b.output().dtype())})}))});
    } else if (x.kind == Arg::scalar) {
      const double v = x.s.as_double();
      const Tensor slope = op<"mul">({b.output(), std::log(v)});
      out[1] = op<"mul">({b.grad(), v == 0 ? select(op<"ge">({y, 0.0}), 0.0, slope) : slope});
    } else {
      const Tensor zero = op<"logical_and">({op<"eq">({x, 0.0}), op<"ge">({y, 0.0}, {}, b.grad().device())});
      out[1] = op<"mul">({b.grad(), select(zero, 0.0, op<"mul">({b.output(), op<"log">({x})}))});
    }
  }
  return out;
}

// Where a > b all of the gradient is a's; equals share it.
template <bool greater>
Tensors extremum_gradient(const Backward& b) {
  const auto share = [&](const Arg& mine, const Arg& other) {
    return op<"mul">({b.grad(), greater ? op<"greater_share">({mine, other}) : op<"greater_share">({other, mine})});
  };
  return {b.need(0) ? share(b.arg(0), b.arg(1)) : Tensor(), b.need(1) ? share(b.arg(1), b.arg(0)) : Tensor()};
}

MapResult floor_divide(MapBuilder& b, Values in, AttrSpan) {
  const Value x = in[0], y = in[1];
  numeric("floor_divide", x, "numbers");
  check_type(!is_complex(x.dtype), "floor_divide", "real numbers", x.dtype);
  if (!is_floating(x.dtype)) return b.emit(TG_MAP_DIV, x, y);
  // The truncated quotient is found exactly from C's remainder, then lowered by one where the signs differ.
  const auto c = [&](double v) { return b.immediate(v, x.dtype); };
  const Value ax = b.emit(TG_MAP_ABS, x), r = b.emit(TG_MAP_REM, ax, b.emit(TG_MAP_ABS, y));
  const Value negative = b.emit(TG_MAP_LT, x, c(0));
  const Value f = b.emit(TG_MAP_WHERE, negative, b.emit(TG_MAP_NEG, r), r);
  const Value q = b.emit(TG_MAP_ROUND, b.emit(TG_MAP_DIV, b.emit(TG_MAP_SUB, x, f), y));
  const Value differ = b.emit(TG_MAP_XOR, negative, b.emit(TG_MAP_LT, y, c(0)));
  const Value lower = b.emit(TG_MAP_AND, differ, b.emit(TG_MAP_NE, f, c(0)));
  const Value floored = b.emit(TG_MAP_WHERE, lower, b.emit(TG_MAP_SUB, q, c(1)), q);
  return b.emit(TG_MAP_WHERE, b.emit(TG_MAP_EQ, y, c(0)), b.emit(TG_MAP_DIV, x, y), floored);
}

MapResult fmod(MapBuilder& b, Values in, AttrSpan) {
  numeric("fmod", in[0], "numbers");
  const Value r = b.emit(TG_MAP_REM, b.emit(TG_MAP_ABS, in[0]), b.emit(TG_MAP_ABS, in[1]));
  return b.emit(TG_MAP_WHERE, b.emit(TG_MAP_LT, in[0], b.immediate(0, in[0].dtype)), b.emit(TG_MAP_NEG, r), r);
}

OpBuilder binary(OpBuilder o) {
  return o.family("elementwise")
      .input("x", "a tensor or a number")
      .input("y", "a tensor or a number; broadcasts with x")
      .output("z", "the broadcast shape, the promoted dtype");
}

}  // namespace

TG_OPS(arithmetic) {
  binary(TG_OP(add))
      .doc("x + y; of bools: x or y.")
      .map(Promotion::common,
           [](MapBuilder& b, Values in, AttrSpan) {
             return b.emit(in[0].dtype == DType::boolean ? TG_MAP_OR : TG_MAP_ADD, in[0], in[1]);
           })
      .grad([](const Backward& b) {
        return Tensors{b.grad(), b.grad()};
      })
      .saves(0, 0)
      .bounds(0.5, "one rounding")
      .example(">>> tg.add(tg.tensor([1., 2.]), 1.0).tolist()\n[2.0, 3.0]");

  binary(TG_OP(sub))
      .doc("x - y. Errors: TypeError for bools.")
      .map(Promotion::common,
           [](MapBuilder& b, Values in, AttrSpan) {
             numeric("sub", in[0], "numbers (of bools, use bitwise_xor or logical_and)");
             return b.emit(TG_MAP_SUB, in[0], in[1]);
           })
      .grad([](const Backward& b) {
        return Tensors{b.grad(), when(b.need(1), [&] { return op<"neg">({b.grad()}); })};
      })
      .saves(0, 0)
      .bounds(0.5, "one rounding")
      .example(">>> tg.sub(tg.tensor([1., 2.]), 1.0).tolist()\n[0.0, 1.0]");

  binary(TG_OP(mul))
      .doc("x * y; of bools: x and y.")
      .map(Promotion::common,
           [](MapBuilder& b, Values in, AttrSpan) {
             return b.emit(in[0].dtype == DType::boolean ? TG_MAP_AND : TG_MAP_MUL, in[0], in[1]);
           })
      .grad([](const Backward& b) {
        return Tensors{when(b.need(0), [&] { return op<"mul">({b.grad(), b.arg(1)}); }),
                       when(b.need(1), [&] { return op<"mul">({b.grad(), b.arg(0)}); })};
      })
      .saves(3, 0)
      .bounds(0.5, "one rounding")
      .example(">>> tg.mul(tg.tensor([1., 2.]), 3.0).tolist()\n[3.0, 6.0]");

  binary(TG_OP(div))
      .doc("x / y, as floats: integers become f32. x / 0 is inf or nan.")
      .map(Promotion::common_float, simple(TG_MAP_DIV))
      .grad([](const Backward& b) {
        const Tensor gx = op<"div">({b.grad(), b.arg(1)});
        return Tensors{gx, when(b.need(1), [&] { return op<"neg">({op<"mul">({gx, op<"div">({b.arg(0), b.arg(1)})})}); })};
      })
      .saves(3, 0)
      .bounds(0.5, "one rounding")
      .example(">>> tg.div(tg.tensor([1, 2]), 4).tolist()\n[0.25, 0.5]");

  binary(TG_OP(floor_divide))
      .doc("The quotient rounded down; integers by zero give 0. Errors: TypeError for bools.")
      .map(Promotion::common, floor_divide)
      .no_grad()
      .bounds(0.5, "one rounding of the exact integral quotient")
      .example(">>> tg.floor_divide(tg.tensor([7, -7]), 2).tolist()\n[3, -4]");

  binary(TG_OP(remainder))
      .doc("x modulo y with the sign of y, as Python's %. Errors: TypeError for bools.")
      .map(Promotion::common,
           [](MapBuilder& b, Values in, AttrSpan) {
             numeric("remainder", in[0], "numbers");
             return b.emit(TG_MAP_REM, in[0], in[1]);
           })
      .grad([](const Backward& b) {
        return Tensors{b.grad(), when(b.need(1), [&] { return op<"neg">({op<"mul">({b.grad(), op<"floor_divide">({b.arg(0), b.arg(1)})})}); })};
      })
      .saves(3, 0)
      .bounds(0.5, "one rounding")
      .example(">>> tg.remainder(tg.tensor([7, -7]), 3).tolist()\n[1, 2]");

  binary(TG_OP(fmod))
      .doc("x modulo y with the sign of x, as C's fmod. Errors: TypeError for bools.")
      .map(Promotion::common, fmod)
      .grad([](const Backward& b) {
        return Tensors{
            b.grad(),
            when(b.need(1), [&] { return op<"neg">({op<"mul">({b.grad(), op<"trunc">({op<"div">({b.arg(0), b.arg(1)})})})}); })};
      })
      .saves(3, 0)
      .bounds(0, "exact")
      .example(">>> tg.fmod(tg.tensor([7, -7]), 3).tolist()\n[1, -1]");

  binary(TG_OP(pow).amp(Amp::f32))
      .doc("x to the power y. Integers wrap; a negative integer exponent gives 0 unless x is 1 or -1.")
      .map(Promotion::common,
           [](MapBuilder& b, Values in, AttrSpan) {
             numeric("pow", in[0], "numbers");
             return b.emit(TG_MAP_POW, in[0], in[1]);
           })
      .grad(pow_gradient)
      .saves(3, 1)
      .bounds(16, "16 ulp (ABI)")
      .example(">>> tg.pow(tg.tensor([2., 3.]), 2.0).tolist()\n[4.0, 9.0]");

  binary(TG_OP(maximum))
      .doc("The larger of x and y; NaN if either is. Equal elements share the gradient.")
      .map(Promotion::common, simple(TG_MAP_MAX))
      .grad(extremum_gradient<true>)
      .saves(3, 0)
      .bounds(0, "exact")
      .example(">>> tg.maximum(tg.tensor([1., 5.]), 3.0).tolist()\n[3.0, 5.0]");
  binary(TG_OP(minimum))
      .doc("The smaller of x and y; NaN if either is. Equal elements share the gradient.")
      .map(Promotion::common, simple(TG_MAP_MIN))
      .grad(extremum_gradient<false>)
      .saves(3, 0)
      .bounds(0, "exact")
      .example(">>> tg.minimum(tg.tensor([1., 5.]), 3.0).tolist()\n[1.0, 3.0]");

  binary(TG_OP(atan2))
      .doc("The angle of the point (y, x), in (-pi, pi]; the first argument is the ordinate.")
      .map(Promotion::common_float, simple(TG_MAP_ATAN2))
      .grad([](const Backward& b) {
        const Arg r2 = plus(times(b.arg(0), b.arg(0)), times(b.arg(1), b.arg(1)));
        const Tensor g = op<"div">({b.grad(), r2});
        return Tensors{op<"mul">({g, b.arg(1)}), when(b.need(1), [&] { return op<"neg">({op<"mul">({g, b.arg(0)})}); })};
      })
      .saves(3, 0)
      .bounds(6, "6 ulp (ABI)")
      .example(">>> tg.atan2(tg.tensor([0.0]), 1.0).tolist()\n[0.0]");

  binary(TG_OP(greater_share))
      .internal()
      .doc("1 where x > y, 1/2 where they are equal, else 0: a maximum's gradient.")
      .map(Promotion::common,
           [](MapBuilder& b, Values in, AttrSpan) {
             const auto c = [&](double v) { return b.immediate(v, in[0].dtype); };
             const Value rest = b.emit(TG_MAP_WHERE, b.emit(TG_MAP_EQ, in[0], in[1]), c(0.5), c(0));
             return b.emit(TG_MAP_WHERE, b.emit(TG_MAP_LT, in[1], in[0]), c(1), rest);
           })
      .no_grad()
      .bounds(0, "exact");
}

}  // namespace tg
