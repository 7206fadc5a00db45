// SPDX-License-Identifier: Apache-2.0
//
// layer_norm over the last axes, and its gradient, on oneDNN. Tensors are contiguous (the rows ask for it): any call is
// [outer, inner]. An absent weight or bias is a constant; an output that nobody wants goes to the workspace.
#include "kernels/norm.h"

namespace tg::cpu {
namespace {

struct Sizes {
  int64_t outer = 1, inner = 1;
  Sizes(const tg_tensor& x, int64_t inner_axes) {
    for (int i = 0; i < x.ndim; ++i) (i < x.ndim - inner_axes ? outer : inner) *= x.shape[i];
  }
};

class LayerNorm : public NormPlan {
 public:
  explicit LayerNorm(const tg_call& call) : NormPlan(call) {
    const tg_tensor& x = *call.inputs[0];
    const Sizes size(x, call.attrs[0].v.i);
    const Desc d = plain({size.outer, size.inner}, dnnl_type(x.dtype));
    const Desc stats = plain({size.outer}, kF32), scale = plain({size.inner}, kF32);
    const dnnl::layer_normalization_forward::primitive_desc pd(engine(), dnnl::prop_kind::forward_training, d, d, stats,
                                                               static_cast<float>(call.attrs[1].v.f), kFlags,
                                                               base_attr(call));
    input(call, 0, DNNL_ARG_SRC, d);
    input(call, 1, DNNL_ARG_SCALE, scale, 1.f);
    input(call, 2, DNNL_ARG_SHIFT, scale, 0.f);
    output(call, 0, DNNL_ARG_DST, d);
    output(call, 1, DNNL_ARG_MEAN, stats);
    output(call, 2, DNNL_ARG_VARIANCE, stats);
    pipeline_.primitive(pd);
  }
};

class LayerNormBackward : public NormPlan {
 public:
  explicit LayerNormBackward(const tg_call& call) : NormPlan(call) {
    const tg_tensor& x = *call.inputs[1];
    const Sizes size(x, call.attrs[0].v.i);
    const float eps = static_cast<float>(call.attrs[1].v.f);
    const Desc d = plain({size.outer, size.inner}, dnnl_type(x.dtype));
    const Desc stats = plain({size.outer}, kF32), scale = plain({size.inner}, kF32);
    const dnnl::layer_normalization_forward::primitive_desc hint(engine(), dnnl::prop_kind::forward_training, d, d,
                                                                 stats, eps, kFlags, base_attr(call));
    const dnnl::layer_normalization_backward::primitive_desc pd(engine(), dnnl::prop_kind::backward, d, d, d, stats,
                                                                eps, kFlags, hint, base_attr(call));
    input(call, 0, DNNL_ARG_DIFF_DST, d);
    input(call, 1, DNNL_ARG_SRC, d);
    input(call, 2, DNNL_ARG_MEAN, stats);
    input(call, 3, DNNL_ARG_VARIANCE, stats);
    input(call, 4, DNNL_ARG_SCALE, scale, 1.f);
    pipeline_.constant(DNNL_ARG_SHIFT, scale, 0.f);  // not read, but oneDNN refuses to run without it
    output(call, 0, DNNL_ARG_DIFF_SRC, d);
    output(call, 1, DNNL_ARG_DIFF_SCALE, scale);
    output(call, 2, DNNL_ARG_DIFF_SHIFT, scale);
    pipeline_.primitive(pd);
  }
};

}  // namespace

std::unique_ptr<Plan> make_layer_norm(Instance&, const tg_call& call) {
  const ThreadScope threads(call.threads);
  return refusing(call, [&] { return std::make_unique<LayerNorm>(call); });
}
std::unique_ptr<Plan> make_layer_norm_backward(Instance&, const tg_call& call) {
  const ThreadScope threads(call.threads);
  return refusing(call, [&] { return std::make_unique<LayerNormBackward>(call); });
}

}  // namespace tg::cpu
