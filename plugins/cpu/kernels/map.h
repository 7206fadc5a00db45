// SPDX-License-Identifier: Apache-2.0
//
// Inside the map family: how values lie in tiles, and the kernels that run one instruction over many elements. The
// interpreter is map.cc; the kernels are in map_float.cc, map_math.cc, map_int.cc and map_cast.cc, each compiled once
// per instruction set and looked up when a plan is made.
#ifndef TENGEN_PLUGINS_CPU_MAP_H_
#define TENGEN_PLUGINS_CPU_MAP_H_

#include <cstdint>

namespace tg::cpu::map {

// How a value lies in a tile. 16-bit floats are held as f32, already rounded.
enum Rep : uint8_t { kF32, kF64, kI64, kI32, kI16, kI8, kU64, kU32, kU16, kU8, kBool, kReps };

constexpr int rep_size(Rep r) {
  constexpr int size[kReps] = {4, 8, 8, 4, 2, 1, 8, 4, 2, 1, 1};
  return size[r];
}

// out[i] = f(a[i], b[i], c[i]) for n elements, as fast for 16 as for many. Bit i of `scalars`: operand i is one element
// that serves all; never all operands at once unless n is 1. `out` may equal a, b or c where the sizes agree.
using Kernel = void (*)(void* out, const void* a, const void* b, const void* c, int64_t n, uint32_t scalars);

// Each returns null for what is not its own; find_kernel asks them all.
Kernel float_kernel(int opcode, Rep rep);  // exact operations on f32 and f64
Kernel math_kernel(int opcode, Rep rep);   // transcendental functions on f32 and f64
Kernel int_kernel(int opcode, Rep rep);    // integers and bool
Kernel cast_kernel(Rep to, Rep from);

enum Half : uint8_t { kNoHalf, kF16, kBf16 };
Kernel half_load(Half h);   // 16-bit storage -> f32
Kernel half_store(Half h);  // f32 -> 16-bit storage, rounding
Kernel half_round(Half h);  // f32 -> f32, rounded to 16-bit precision

Kernel select_kernel(int size);  // where(bool, x, y) by element size
Kernel copy_kernel(int size);    // also spreads a scalar (scalars = 1)

}  // namespace tg::cpu::map
#endif  // TENGEN_PLUGINS_CPU_MAP_H_
