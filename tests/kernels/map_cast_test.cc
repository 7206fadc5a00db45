// SPDX-License-Identifier: Apache-2.0
//
// The cast instruction between all pairs of dtypes: ABI.md, section 4, in long double.

#include "floor_fixture.h"

namespace tg::test {
namespace {

template <class From, class To>
long double expected_cast(From from) {
  const long double x = number(from);
  if constexpr (is_bool<To>) {
    return x != 0;  // NaN too
  } else if constexpr (is_float<To>) {
    return nearest(is_float16<To> ? nearest(x, kSingle) : x, format<To>());
  } else if constexpr (is_float<From>) {
    if (std::isnan(x)) return 0;
    const long double t = std::trunc(x), low = std::numeric_limits<To>::min(), high = std::numeric_limits<To>::max();
    return t < low ? low : t > high ? high : t;
  } else {
    return To(uint64_t(int64_t(x < 0 ? x : 0)) + uint64_t(x < 0 ? 0 : x));  // the low bits
  }
}

template <class From>
std::vector<From> values(Random& random) {
  if constexpr (is_float16<From>) {
    std::vector<From> all(65536);
    for (size_t i = 0; i < all.size(); ++i) all[i].bits = uint16_t(i);
    return all;
  } else {
    std::vector<From> list = sample<From>(random, 3001);
    if constexpr (is_float<From>) {
      // Around every integer type's ends, and halfway points of the narrower floats.
      for (int bits : {7, 8, 15, 16, 31, 32, 63, 64})
        for (long double near : {-1.5L, -1.0L, -0.5L, 0.0L, 0.5L, 1.0L, 1.5L})
          for (long double sign : {1.0L, -1.0L}) list.push_back(element<From>(sign * (std::ldexp(1.0L, bits) + near)));
      for (int e : {-26, -25, -24, -15, -14, -1, 0, 1, 10, 15, 16})
        for (long double m : {1 + 0x1p-11L, 1 + 0x3p-11L, 1 + 0x1p-8L, 1 + 0x3p-8L, 1 + 0x1p-11L + 0x1p-22L,
                              2 - 0x1p-11L, 2 - 0x1p-12L})
          list.push_back(element<From>(std::ldexp(m, e)));
    } else if constexpr (is_int<From>) {
      for (uint64_t x :
           {0x1000001ull, 0x1000003ull, 0x1ffffffull, 0x10100000000ull, 0x20000000000001ull, 0x20000000000003ull,
            0x7fffff7fffffffffull, 0x7fffffbfffffffffull, 0x8000000000000400ull, 65519ull, 65520ull, 257ull, 2049ull})
        list.push_back(From(x));
    }
    return list;
  }
}

template <class From>
class MapCast : public FloorTest {
 protected:
  template <class To>
  void to(const std::vector<From>& list) {
    check(
        list, dtype<To>, [](From x) { return expected_cast<From, To>(x); },
        [](const Tensor& y, int64_t i) { return number(y.get<To>(i)); });
  }

  void check(const std::vector<From>& list, tg_dtype to, long double (*expected)(From),
             long double (*result)(const Tensor&, int64_t)) {
    for (Layout layout : {Layout::packed, Layout::padded}) {
      Tensor x = spread(list, layout), y(to, x.shape(), layout);
      int wrong = 0;
      this->each_good_row(single(TG_MAP_CAST, {&x}, y, to, dtype<From>), [&] {
        for (int64_t i = 0; i < y.size() && wrong < 5; ++i) {
          const long double want = expected(x.get<From>(i)), got = result(y, i);
          if (!same(want, got)) {
            ++wrong;
            ADD_FAILURE() << std::hexfloat << number(x.get<From>(i)) << " to " << plugin::dtype_name(to)
                          << ": expected " << want << ", got " << got;
          }
        }
      });
    }
  }
};
TYPED_TEST_SUITE(MapCast, AllTypes, TypeNames);

TYPED_TEST(MapCast, ToEveryDtype) {
  const std::vector<TypeParam> list = values<TypeParam>(this->random);
  this->template to<float>(list);
  this->template to<double>(list);
  this->template to<half>(list);
  this->template to<bfloat16>(list);
  this->template to<int64_t>(list);
  this->template to<int32_t>(list);
  this->template to<int16_t>(list);
  this->template to<int8_t>(list);
  this->template to<uint64_t>(list);
  this->template to<uint32_t>(list);
  this->template to<uint16_t>(list);
  this->template to<uint8_t>(list);
  this->template to<boolean>(list);
}

}  // namespace
}  // namespace tg::test
