// SPDX-License-Identifier: Apache-2.0
// Comparisons, logic and bits.
#include "common.h"

namespace tg {
namespace {

void compare(OpBuilder o, const char* doc, int opcode, bool swapped, const char* example) {
  o.family("elementwise")
      .doc(doc)
      .input("x", "a tensor or a number")
      .input("y", "a tensor or a number; broadcasts with x")
      .output("z", "bool")
      .map(Promotion::compare,
           [opcode, swapped](MapBuilder& b, Values in, AttrSpan) {
             return swapped ? b.emit(opcode, in[1], in[0]) : b.emit(opcode, in[0], in[1]);
           })
      .no_grad()
      .bounds(0, "exact")
      .example(example);
}

Value truth(MapBuilder& b, Value v) { return b.cast(v, DType::boolean); }

void logical(OpBuilder o, const char* doc, int opcode, const char* example) {
  o.family("elementwise")
      .doc(doc)
      .input("x", "a tensor or a number")
      .input("y", "a tensor or a number; broadcasts with x")
      .output("z", "bool")
      .map(Promotion::none,
           [opcode](MapBuilder& b, Values in, AttrSpan) { return b.emit(opcode, truth(b, in[0]), truth(b, in[1])); })
      .no_grad()
      .bounds(0, "exact")
      .example(example);
}

void bitwise(OpBuilder o, const char* name, const char* doc, int opcode, bool bools, const char* example) {
  o.family("elementwise")
      .doc(doc)
      .input("x", "integers or bools")
      .input("y", "integers or bools; broadcasts with x")
      .output("z", "the promoted dtype")
      .map(Promotion::common,
           [opcode, bools, name](MapBuilder& b, Values in, AttrSpan) {
             const DType t = in[0].dtype;
             check_type(!is_floating(t) && (bools || t != DType::boolean), name,
                        bools ? "integers or bools" : "integers", t);
             return b.emit(opcode, in[0], in[1]);
           })
      .no_grad()
      .bounds(0, "exact")
      .example(example);
}

// Tests of floats; integers answer the same for all values.
void test(OpBuilder o, const char* doc, bool integers, Value (*f)(MapBuilder&, Value), const char* example) {
  o.family("elementwise")
      .doc(doc)
      .input("x", "any tensor")
      .output("y", "bool")
      .map(Promotion::none,
           [integers, f](MapBuilder& b, Values in, AttrSpan) {
             if (is_floating(in[0].dtype)) return f(b, in[0]);
             if (is_complex(in[0].dtype))  // finite: both parts; the others: either
               return b.emit(integers ? TG_MAP_AND : TG_MAP_OR, f(b, b.real(in[0])), f(b, b.imag(in[0])));
             return b.emit(integers ? TG_MAP_EQ : TG_MAP_NE, in[0], in[0]);
           })
      .no_grad()
      .bounds(0, "exact")
      .example(example);
}

Value infinity(MapBuilder& b, Value x) { return b.immediate(INFINITY, x.dtype); }

}  // namespace

TG_OPS(logic) {
  compare(TG_OP(eq), "x == y; NaN equals nothing.", TG_MAP_EQ, false,
          ">>> tg.eq(tg.tensor([1, 2]), 2).tolist()\n[False, True]");
  compare(TG_OP(ne), "x != y.", TG_MAP_NE, false, ">>> tg.ne(tg.tensor([1, 2]), 2).tolist()\n[True, False]");
  compare(TG_OP(lt), "x < y.", TG_MAP_LT, false, ">>> tg.lt(tg.tensor([1, 2]), 2).tolist()\n[True, False]");
  compare(TG_OP(le), "x <= y.", TG_MAP_LE, false, ">>> tg.le(tg.tensor([1, 3]), 2).tolist()\n[True, False]");
  compare(TG_OP(gt), "x > y.", TG_MAP_LT, true, ">>> tg.gt(tg.tensor([1, 3]), 2).tolist()\n[False, True]");
  compare(TG_OP(ge), "x >= y.", TG_MAP_LE, true, ">>> tg.ge(tg.tensor([1, 2]), 2).tolist()\n[False, True]");

  logical(TG_OP(logical_and), "Both are not 0.", TG_MAP_AND,
          ">>> tg.logical_and(tg.tensor([True, False]), True).tolist()\n[True, False]");
  logical(TG_OP(logical_or), "Either is not 0.", TG_MAP_OR,
          ">>> tg.logical_or(tg.tensor([True, False]), False).tolist()\n[True, False]");
  logical(TG_OP(logical_xor), "Exactly one is not 0.", TG_MAP_XOR,
          ">>> tg.logical_xor(tg.tensor([True, False]), True).tolist()\n[False, True]");
  TG_OP(logical_not)
      .family("elementwise")
      .doc("x is 0.")
      .input("x", "any tensor")
      .output("y", "bool")
      .map(Promotion::none, [](MapBuilder& b, Values in, AttrSpan) { return b.emit(TG_MAP_NOT, truth(b, in[0])); })
      .no_grad()
      .bounds(0, "exact")
      .example(">>> tg.logical_not(tg.tensor([0, 3])).tolist()\n[True, False]");

  bitwise(TG_OP(bitwise_and), "bitwise_and", "x & y. Errors: TypeError for floats.", TG_MAP_AND, true,
          ">>> tg.bitwise_and(tg.tensor([6]), 3).tolist()\n[2]");
  bitwise(TG_OP(bitwise_or), "bitwise_or", "x | y. Errors: TypeError for floats.", TG_MAP_OR, true,
          ">>> tg.bitwise_or(tg.tensor([6]), 3).tolist()\n[7]");
  bitwise(TG_OP(bitwise_xor), "bitwise_xor", "x ^ y. Errors: TypeError for floats.", TG_MAP_XOR, true,
          ">>> tg.bitwise_xor(tg.tensor([6]), 3).tolist()\n[5]");
  bitwise(TG_OP(bitwise_left_shift), "bitwise_left_shift",
          "x * 2^y, wrapping; 0 from the width on. Errors: TypeError for floats and bools.", TG_MAP_SHL, false,
          ">>> tg.bitwise_left_shift(tg.tensor([3]), 2).tolist()\n[12]");
  bitwise(TG_OP(bitwise_right_shift), "bitwise_right_shift",
          "x / 2^y rounded down. Errors: TypeError for floats and bools.", TG_MAP_SHR, false,
          ">>> tg.bitwise_right_shift(tg.tensor([12]), 2).tolist()\n[3]");
  TG_OP(bitwise_not)
      .family("elementwise")
      .doc("All bits of integers turned; of bools, logical. Errors: TypeError for floats.")
      .input("x", "integers or bools")
      .map(Promotion::common,
           [](MapBuilder& b, Values in, AttrSpan) {
             check_type(!is_floating(in[0].dtype), "bitwise_not", "integers or bools", in[0].dtype);
             return b.emit(TG_MAP_NOT, in[0]);
           })
      .no_grad()
      .bounds(0, "exact")
      .example(">>> tg.bitwise_not(tg.tensor([0, 5])).tolist()\n[-1, -6]");

  test(
      TG_OP(isnan), "x is not a number.", false, [](MapBuilder& b, Value x) { return b.emit(TG_MAP_NE, x, x); },
      ">>> tg.isnan(tg.tensor([1., float('nan')])).tolist()\n[False, True]");
  test(
      TG_OP(isinf), "x is an infinity.", false,
      [](MapBuilder& b, Value x) { return b.emit(TG_MAP_EQ, b.emit(TG_MAP_ABS, x), infinity(b, x)); },
      ">>> tg.isinf(tg.tensor([1., float('inf')])).tolist()\n[False, True]");
  test(
      TG_OP(isfinite), "x is neither NaN nor an infinity.", true,
      [](MapBuilder& b, Value x) { return b.emit(TG_MAP_LT, b.emit(TG_MAP_ABS, x), infinity(b, x)); },
      ">>> tg.isfinite(tg.tensor([1., float('inf')])).tolist()\n[True, False]");
}

}  // namespace tg
