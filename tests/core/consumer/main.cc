// SPDX-License-Identifier: Apache-2.0
// Adds two tensors and differentiates: exits with 0 when the numbers are right.
#include <tengen/autograd.h>
#include <tengen/runtime.h>

#include <cstdio>

int main() {
  const float data[] = {1, 2, 3};
  tg::Tensor x = tg::Tensor::from_host(data, tg::Ints{3}, tg::DType::f32, tg::default_device());
  x.set_requires_grad(true);
  const tg::Tensor loss = tg::op<"sum">({tg::op<"mul">({x, x})});
  tg::backward({&loss, 1});
  float grad[3];
  x.grad().to_host(grad);
  std::printf("loss %g, gradient %g %g %g on %s\n", loss.item(), grad[0], grad[1], grad[2], tg::device_name(x.device()).c_str());
  return loss.item() == 14 && grad[0] == 2 && grad[1] == 4 && grad[2] == 6 ? 0 : 1;
}
