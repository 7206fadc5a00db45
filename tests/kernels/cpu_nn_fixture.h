// SPDX-License-Identifier: Apache-2.0
//
// What the tests of the cpu plugin's composite ops share: tensors of random numbers, calls, and comparison with results
// in double precision.
#pragma once
#include <gtest/gtest.h>

#include <functional>

#include "plugin_harness.h"
#include "test_numbers.h"

namespace tg::test {

inline std::unique_ptr<Plugin> g_plugin;
inline Random g_random(7);

using Values = std::vector<double>;

inline constexpr tg_dtype kF32 = plugin::dtype_of<float>::value, kF64 = plugin::dtype_of<double>::value,
                          kBf16 = plugin::dtype_of<bfloat16>::value, kF16 = plugin::dtype_of<half>::value,
                          kI32 = plugin::dtype_of<int32_t>::value;

inline Attr real(double f) {
  Attr a;
  a.kind = TG_ATTR_FLOAT;
  a.f = f;
  return a;
}

inline double value(const Tensor& t, int64_t i) {
  return plugin::visit(t.dtype(), [&](auto tag) { return double(number(t.get<typename decltype(tag)::type>(i))); });
}

inline Values values(const Tensor& t) {
  Values all;
  for (int64_t i = 0; i < t.size(); ++i) all.push_back(value(t, i));
  return all;
}

inline void fill(Tensor& t, double low = -1, double high = 1) {
  std::uniform_real_distribution<double> real(low, high);
  plugin::visit(t.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    if constexpr (!is_bool<T>) {
      for (int64_t i = 0; i < t.size(); ++i) t.put(i, element<T>(real(g_random)));
    }
  });
}

enum class Order { kPacked, kChannelsLast, kPadded, kExpanded };  // kExpanded: stride 0 everywhere (inputs only)

inline Tensor make(tg_dtype dtype, Shape shape, Order order = Order::kPacked) {
  switch (order) {
    case Order::kPadded:
      return Tensor(dtype, shape, Layout::padded);
    case Order::kExpanded:
      return Tensor(dtype, shape, Shape(shape.size(), 0));
    case Order::kChannelsLast: {
      Shape strides(shape.size());
      strides[1] = 1;
      int64_t step = shape[1];
      for (size_t i = shape.size(); i-- > 2;) strides[i] = step, step *= shape[i];
      strides[0] = step;
      return Tensor(dtype, shape, strides);
    }
    default:
      return Tensor(dtype, shape);
  }
}

inline Tensor random(tg_dtype dtype, Shape shape, Order order = Order::kPacked, double low = -1, double high = 1) {
  Tensor t = make(dtype, shape, order);
  fill(t, low, high);
  return t;
}

inline double eps_of(tg_dtype dtype) {
  return plugin::visit(dtype, [](auto tag) {
    using T = typename decltype(tag)::type;
    if constexpr (is_float<T>) return double(eps<T>());
    return 0.0;
  });
}

// Every element of `got` within bound[i] (in units of eps of the accumulation dtype) plus one rounding of want[i].
inline void expect_close(const Tensor& got, const Values& want, const Values& bound, const std::string& what) {
  ASSERT_EQ(size_t(got.size()), want.size()) << what;
  const double accumulate = plugin::operator==(got.dtype(), kF64) ? eps_of(kF64) : eps_of(kF32);
  const double smallest = plugin::operator==(got.dtype(), kF16) ? 0x1p-24 : 1e-37;  // gap between subnormal numbers
  for (int64_t i = 0; i < got.size(); ++i) {
    const double tolerance = accumulate * bound[i] + 1.01 * eps_of(got.dtype()) * std::abs(want[i]) + smallest;
    const double difference = std::abs(value(got, i) - want[i]);
    ASSERT_TRUE(difference <= tolerance) << what << " element " << i << ": expected " << want[i] << " within "
                                         << tolerance << ", got " << value(got, i);
  }
}

// True if a plan was made and ran. On refusal the test is told why; 16-bit floats need CPU features that may lack.
inline bool run(const Call& call, const std::string& what) {
  const auto rows = g_plugin->candidates(call);
  if (rows.empty()) {
    ADD_FAILURE() << what << ": no row of " << call.op << " takes these dtypes";
    return false;
  }
  Outcome outcome = g_plugin->run(call, rows[0]);
  EXPECT_EQ(outcome.breach, "") << what;
  if (!outcome.accepted) {
    bool sixteen = false;
    for (const auto* list : {&call.inputs, &call.outputs}) {
      for (const Tensor* t : *list) sixteen |= t && t->dtype().bits == 16;
    }
    EXPECT_TRUE(sixteen) << what << " was refused: " << outcome.message;
    if (sixteen) std::printf("[ refused  ] %s: %s\n", what.c_str(), outcome.message.c_str());
    return false;
  }
  EXPECT_EQ(outcome.status, TG_OK) << what << ": " << outcome.message;
  return outcome.status == TG_OK;
}

inline std::string text(const Shape& s) {
  std::string t = "[";
  for (int64_t d : s) t += std::to_string(d) + " ";
  return t + "]";
}

// A shape of two axes and those of `rest`.
inline Shape join(int64_t a, int64_t b, const Shape& rest) {
  Shape all{a, b};
  all.insert(all.end(), rest.begin(), rest.end());
  return all;
}

// The activations that ops take with them, by number.
inline double activate(int64_t kind, double v) {
  switch (kind) {
    case 1:
      return std::max(v, 0.0);
    case 2:
      return 0.5 * v * std::erfc(-v / std::sqrt(2.0));
    case 3:
      return 0.5 * v * (1 + std::tanh(std::sqrt(2 / M_PI) * (v + 0.044715 * v * v * v)));
    case 4:
      return v / (1 + std::exp(-v));
    case 5:
      return 1 / (1 + std::exp(-v));
    case 6:
      return std::tanh(v);
    default:
      return v;
  }
}

}  // namespace tg::test
