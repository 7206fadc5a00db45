// SPDX-License-Identifier: Apache-2.0
//
// The cast instruction between any two dtypes (ABI.md, section 4).

#include "map_loops.h"

namespace tg::reference {
namespace {

// Towards zero, out of range to the nearest end, NaN to 0. The ends are compared as floats: min is exact, and
// max + 1, a power of two, is exact where max itself may not be.
template <class To, class From>
To saturate(From x) {
  constexpr From kLowest = From(std::numeric_limits<To>::min());
  constexpr From kEnd = From(std::numeric_limits<To>::max() / 2 + 1) * 2;
  if (std::isnan(x)) return 0;
  if (x < kLowest) return std::numeric_limits<To>::min();
  if (x >= kEnd) return std::numeric_limits<To>::max();
  return To(x);
}

template <class From, class To>
To convert(From from) {
  const auto x = value(from);
  if constexpr (is_bool<To>) {
    return To(x != 0);
  } else if constexpr (is_floating<From> && is_integer<To>) {
    return saturate<To>(x);
  } else {
    return round_to<To>(x);
  }
}

template <class From, class To>
void convert_block(const void* const* x, void* y, int64_t n) {
  const From* __restrict a = static_cast<const From*>(x[0]);
  To* __restrict r = static_cast<To*>(y);
  for (int64_t i = 0; i < n; ++i) r[i] = convert<From, To>(a[i]);
}

}  // namespace

MapLoop cast_loop(tg_dtype from, tg_dtype to) {
  return visit(from, [&](auto f) -> MapLoop {
    return visit(
        to, [](auto t) -> MapLoop { return &convert_block<typename decltype(f)::type, typename decltype(t)::type>; });
  });
}

}  // namespace tg::reference
