// SPDX-License-Identifier: Apache-2.0
// Random numbers from the global generator (tengen/random.h). The bits come from Philox, so that equal seeds give equal
// bits on every plugin. What is recorded holds its own seed and offset: a backward pass or a replay sees the same
// numbers.
#include "random_words.h"

namespace tg {
namespace {

// i64 in [0, 2^63).
Tensor positive63(const Ints& shape, Device* device) {
  const Tensor w = random_words(with_lead(2, shape), device).cast(DType::i64);
  const Tensor high = op<"bitwise_left_shift">({op<"bitwise_and">({op<"select">({w}, {0, 0}), 0x7fffffff}), 32});
  return op<"bitwise_or">({high, op<"bitwise_and">({op<"select">({w}, {0, 1}), int64_t(0xffffffff)})});
}

// A floating dtype: bits of the significand, the exponent of the smallest number, the largest number.
struct Format {
  int digits, lowest;
  double most;
};
Format format_of(DType t) {
  switch (t) {
    case DType::f16: return {11, -24, 65504};
    case DType::bf16: return {8, -133, std::ldexp(255.0, 120)};
    case DType::f32: return {24, -149, std::numeric_limits<float>::max()};
    default: return {53, -1074, std::numeric_limits<double>::max()};
  }
}
// The largest number of a format below v.
double below(double v, const Format& f) {
  int e = 0;
  const bool power = std::frexp(v, &e) == 0.5;  // the numbers below a power of two lie twice as close
  const int step = v == 0 ? f.lowest : std::max(e - f.digits - power, f.lowest);
  return std::ldexp(std::ceil(std::ldexp(v, -step)) - 1, step);
}

}  // namespace

TG_OPS(random) {
  TG_OP(unit_from_bits)
      .internal()
      .family("random")
      .doc("The top bits of i32 words as f32 in [0, 1).")
      .input("bits", "i32")
      .attr("count", AttrKind::integer, "how many bits")
      .map(Promotion::none,
           [](MapBuilder& b, Values in, AttrSpan attrs) {
             const int n = int(attrs[0].integer());
             const Value top = b.emit(TG_MAP_SHR, in[0], b.immediate(32 - n, DType::i32));
             const Value whole = b.emit(TG_MAP_AND, top, b.immediate((1 << n) - 1, DType::i32));
             return b.emit(TG_MAP_MUL, b.cast(whole, DType::f32), b.immediate(std::ldexp(1.0, -n), DType::f32));
           })
      .no_grad()
      .bounds(0, "exact");

  TG_OP(uniform_between)
      .internal()
      .family("random")
      .doc("min((u span + low) scale, top).")
      .input("u", "uniform in [0, 1)")
      .input("span", "a number")
      .input("low", "a number")
      .input("scale", "1 or 2")
      .input("top", "the largest result")
      .map(Promotion::common_float,
           [](MapBuilder& b, Values in, AttrSpan) {
             const Value y = b.emit(TG_MAP_ADD, b.emit(TG_MAP_MUL, in[0], in[1]), in[2]);
             return b.emit(TG_MAP_MIN, b.emit(TG_MAP_MUL, y, in[3]), in[4]);
           })
      .no_grad()
      .bounds(1, "two roundings");

  random_source(TG_OP(random_bits))
      .doc("Uniform 32-bit words, u32.")
      .infer([](const Inference& c) { return random_shape(c, 0, DType::u32); })
      .decompose([](const Call& c) {
        infer_now(c);
        const PhiloxSlice s = take_random(numel(c.attr(0).ints()));
        return Tensors{op<"floor_random">({Arg()}, {c.attr(0), s.seed, s.offset}, c.device)};
      })
      .bounds(0, "exact")
      .example(">>> tg.random_bits((3,)).shape\n(3,)");

  random_source(TG_OP(uniform))
      .doc(
          "Uniform numbers in [low, high). Errors: ValueError for high < low and for bounds that the dtype does not "
          "hold.")
      .attr("low", AttrKind::floating, 0.0, "smallest")
      .attr("high", AttrKind::floating, 1.0, "bound, not reached")
      .attr("dtype", AttrKind::dtype, DType::f32, "a floating dtype")
      .infer([](const Inference& c) {
        c.check(c.attr(1).floating() <= c.attr(2).floating(), "expected low <= high, got ", c.attr(1).floating(),
                " and ", c.attr(2).floating());
        Specs y = random_floats(c);
        const double most = format_of(y[0].dtype).most;
        for (int i : {1, 2})
          c.check(std::abs(c.attr(i).floating()) <= most, "expected bounds that ", long_name_of(y[0].dtype),
                  " holds, at most ", most, ", got ", c.attr(i).floating());
        return y;
      })
      .decompose([](const Call& c) {
        const DType t = infer_now(c)[0].dtype;
        const Tensor u = uniform01(c.attr(0).ints(), t, c.device);
        const double low = c.attr(1).floating(), high = c.attr(2).floating();
        if (low == 0 && high == 1) return Tensors{u.cast(t)};
        // A wider span than the dtype's largest number: half of everything, doubled.
        const double scale = high / 2 - low / 2 > format_of(u.dtype()).most / 2 ? 2 : 1;
        const double top = std::max(below(high, format_of(t)), low);  // rounding could reach high
        return Tensors{op<"uniform_between">({u, high / scale - low / scale, low / scale, scale, top}).cast(t)};
      })
      .bounds(1, "two roundings, relative to |low| + |high|")
      .example(">>> tg.uniform((2, 3)).shape\n(2, 3)");

  TG_OP(randint)
      .family("random")
      .doc("Integers in [low, high). Errors: ValueError for an empty range and for one of 2^63 numbers or more.")
      .attr("low", AttrKind::integer, "smallest")
      .attr("high", AttrKind::integer, "bound, not reached")
      .attr("shape", AttrKind::ints, "sizes")
      .attr("dtype", AttrKind::dtype, DType::i64, "element type")
      .output("y", "the numbers")
      .no_grad()
      .function_only()
      .infer([](const Inference& c) {
        c.check(c.attr(0).integer() < c.attr(1).integer(), "expected low < high, got ", c.attr(0).integer(), " and ",
                c.attr(1).integer());
        int64_t span;
        c.check(!__builtin_sub_overflow(c.attr(1).integer(), c.attr(0).integer(), &span),
                "expected a range of fewer than 2^63 numbers, got ", c.attr(0).integer(), " and ", c.attr(1).integer());
        check_fits(c.name(), c.attr(0).integer(), c.attr(3).dtype());
        check_fits(c.name(), c.attr(1).integer() - 1, c.attr(3).dtype());
        return random_shape(c, 2, c.attr(3).dtype());
      })
      .decompose([](const Call& c) {
        infer_now(c);
        const int64_t low = c.attr(0).integer(), span = c.attr(1).integer() - low;
        const Tensor r = op<"remainder">({positive63(c.attr(2).ints(), c.device), span});
        return Tensors{op<"add">({r, low}).cast(c.attr(3).dtype())};
      })
      .bounds(0, "exact")
      .example(">>> tg.randint(0, 1, (2,)).tolist()\n[0, 0]");

  TG_OP(randperm)
      .family("random")
      .doc("0 .. n-1 in random order.")
      .attr("n", AttrKind::integer, "how many")
      .attr("dtype", AttrKind::dtype, DType::i64, "element type")
      .output("y", "[n]")
      .no_grad()
      .function_only()
      .infer([](const Inference& c) {
        c.check(c.attr(0).integer() >= 0, "expected n of 0 or more, got ", c.attr(0).integer());
        check_fits(c.name(), std::max<int64_t>(c.attr(0).integer() - 1, 0), c.attr(1).dtype());
        return one({c.attr(1).dtype(), Shape{c.attr(0).integer()}});
      })
      .decompose([](const Call& c) {
        infer_now(c);
        return Tensors{op<"argsort">({positive63({c.attr(0).integer()}, c.device)}, {0}).cast(c.attr(1).dtype())};
      })
      .bounds(0, "exact")
      .example(">>> sorted(tg.randperm(4).tolist())\n[0, 1, 2, 3]");

  TG_OP(bernoulli)
      .family("random")
      .doc("1 with probability p of each element, else 0. The values are not looked at: what is outside of [0, 1] counts as the nearer end, NaN as 0.")
      .input("p", "floats in [0, 1]")
      .no_grad()
      .infer(same_as_first)
      .decompose([](const Call& c) {
        const DType t = c.input(0).dtype();
        check_type(is_floating(t), "bernoulli", "floats", t);
        const DType compute = acc_dtype(t);
        return Tensors{op<"lt">({uniform01(c.input(0).shape(), compute, c.device), c.input(0).cast(compute)}).cast(t)};
      })
      .bounds(0, "exact")
      .example(">>> tg.bernoulli(tg.tensor([0., 1.])).tolist()\n[0.0, 1.0]");

  TG_OP(dropout)
      .family("nn")
      .doc(
          "x with elements zeroed with probability p, and the others divided by 1 - p. Errors: ValueError for p "
          "outside [0, 1].")
      .input("x", "floats")
      .attr("p", AttrKind::floating, 0.5, "how likely an element is zeroed")
      .infer([](const Inference& c) {
        const double p = c.attr(0).floating();
        c.check(p >= 0 && p <= 1, "expected p between 0 and 1, got ", p);
        check_type(is_floating(c.input(0).dtype), c.name(), "floats", c.input(0).dtype);
        return one(c.input(0));
      })
      .decompose([](const Call& c) {
        infer_now(c);
        const PhiloxSlice s = take_random(c.input(0).numel());
        return Tensors{op<"dropout_at">({c.input(0)}, {c.attr(0), s.seed, s.offset})};
      })
      .draws()
      .bounds(1, "one rounding")
      .example(">>> tg.dropout(tg.tensor([1., 2.]), 0.0).tolist()\n[1.0, 2.0]");

  // Seed and offset are its own: the mask is made again in the backward pass instead of being kept.
  TG_OP(dropout_at)
      .internal()
      .family("nn")
      .doc("dropout with the mask of a seed and an offset.")
      .input("x", "floats")
      .attr("p", AttrKind::floating, "as dropout")
      .run_attr("seed", AttrKind::integer, 0, "of the generator")
      .run_attr("offset", AttrKind::integer, 0, "of the generator")
      .infer(same_as_first)
      .decompose([](const Call& c) {
        const Tensor bits = op<"bitcast">(
            {op<"floor_random">({Arg()}, {c.input(0).shape(), c.attr(1), c.attr(2)}, c.device)}, {DType::i32});
        return Tensors{op<"dropout_apply">({c.input(0), bits}, {c.attr(0)})};
      })
      .grad([](const Backward& b) {
        return Tensors{op<"dropout_at">({b.grad()}, {b.attr(0), b.attr(1), b.attr(2)})};
      })
      .saves(0, 0)
      .linear({{0}})
      .bounds(1, "one rounding");

  TG_OP(dropout_apply)
      .internal()
      .family("nn")
      .doc("x / (1 - p) where the bits' fraction is at least p, else 0.")
      .input("x", "floats")
      .input("bits", "i32")
      .attr("p", AttrKind::floating, "as dropout")
      .map(Promotion::none,
           [](MapBuilder& b, Values in, AttrSpan attrs) {
             const double p = attrs[0].floating();
             const Value top = b.emit(TG_MAP_AND, b.emit(TG_MAP_SHR, in[1], b.immediate(8, DType::i32)),
                                      b.immediate(0xffffff, DType::i32));
             const Value u = b.emit(TG_MAP_MUL, b.cast(top, DType::f32), b.immediate(std::ldexp(1.0, -24), DType::f32));
             const Value kept = b.emit(TG_MAP_LE, b.immediate(p, DType::f32), u);
             const Value y = b.emit(TG_MAP_MUL, in[0], b.immediate(p < 1 ? 1 / (1 - p) : 0.0, in[0].dtype));
             return b.emit(TG_MAP_WHERE, kept, y, b.immediate(0, in[0].dtype));
           })
      .no_grad()
      .bounds(1, "one rounding");
}

}  // namespace tg
