// SPDX-License-Identifier: Apache-2.0
// Formulas of map ops (tengen/map_expr.h): f16 and bf16 are computed in f32 and rounded once at the end.
//
//   const Expr x = computing(b, in[0]);
//   return back(where(x < 0.0, -x, sqrt(x)), in[0].dtype);
#pragma once
#include <tengen/map_expr.h>

#include <vector>

#include "common.h"

namespace tg {

inline Expr computing(MapBuilder& b, Value v) { return {&b, b.cast(v, acc_dtype(v.dtype))}; }
inline Value back(Expr y, DType t) { return y.b->cast(y.v, t); }

}  // namespace tg
