// SPDX-License-Identifier: Apache-2.0
// The activation that linear and conv take as an attribute, so that plugins may fuse it.
#pragma once
#include "common.h"

namespace tg {

inline constexpr const char* kActivationDoc = "0 none, 1 relu, 2 gelu, 3 gelu (tanh), 4 silu, 5 sigmoid, 6 tanh";

inline void check_activation(const Inference& c) {
  const int64_t a = c.attrs.back().integer();
  c.check(a >= 0 && a <= 6, "expected an activation from 0 to 6, got ", a);
}

inline Tensor activate(const Tensor& x, int64_t kind) {
  switch (kind) {
    case 1:
      return op<"relu">({x});
    case 2:
      return op<"gelu">({x});
    case 3:
      return op<"gelu">({x}, {"tanh"});
    case 4:
      return op<"silu">({x});
    case 5:
      return op<"sigmoid">({x});
    case 6:
      return op<"tanh">({x});
    default:
      return x;
  }
}

// The gradient before the activation, whose operand was x. (It is computed again: an activation that is fused is not
// saved.)
inline Tensor activation_gradient(const Tensor& g, const Tensor& x, int64_t kind) {
  switch (kind) {
    case 1:
      return op<"relu_backward">({g, x});
    case 2:
      return op<"gelu_backward">({g, x}, {"none"});
    case 3:
      return op<"gelu_backward">({g, x}, {"tanh"});
    case 4:
      return op<"silu_backward">({g, x});
    case 5:
      return op<"sigmoid_backward">({g, op<"sigmoid">({x})});
    case 6:
      return op<"tanh_backward">({g, op<"tanh">({x})});
    default:
      return g;
  }
}

}  // namespace tg
