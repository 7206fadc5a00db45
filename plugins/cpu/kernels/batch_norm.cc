// SPDX-License-Identifier: Apache-2.0
//
// batch_norm (statistics of the batch), batch_norm_infer and batch_norm_backward. f32 in the plain layout is done by
// batch_norm_planes.cc, the rest by oneDNN in the layout in which x lies.
#include "kernels/batch_norm_planes.h"
#include "kernels/norm.h"

namespace tg::cpu {
namespace {

using Kind = dnnl::prop_kind;

Desc data_desc(const tg_tensor& x) {
  if (x.ndim < 2 || x.ndim > 5) {
    plugin::fail(TG_UNIMPLEMENTED, "[batch_norm] expected rank 2 to 5, got %d", x.ndim);
  }
  if (is_channels_last(x)) return strided(x);
  return plain(dims_of(x), dnnl_type(x.dtype));
}

dnnl::batch_normalization_forward::primitive_desc forward(const tg_call& call, const Desc& d, Kind kind,
                                                          dnnl::normalization_flags flags) {
  return {engine(), kind, d, d, static_cast<float>(call.attrs[0].v.f), flags, base_attr(call)};
}

class BatchNorm : public NormPlan {
 public:
  explicit BatchNorm(const tg_call& call) : NormPlan(call) {
    const Desc d = data_desc(*call.inputs[0]), c = plain({call.inputs[0]->shape[1]}, kF32);
    const auto pd = forward(call, d, Kind::forward_training, kFlags);
    input(call, 0, DNNL_ARG_SRC, d);
    input(call, 1, DNNL_ARG_SCALE, c, 1.f);
    input(call, 2, DNNL_ARG_SHIFT, c, 0.f);
    output(call, 0, DNNL_ARG_DST, d);
    output(call, 1, DNNL_ARG_MEAN, c);
    output(call, 2, DNNL_ARG_VARIANCE, c);
    pipeline_.primitive(pd);
  }
};

class BatchNormInfer : public NormPlan {
 public:
  explicit BatchNormInfer(const tg_call& call) : NormPlan(call) {
    const Desc d = data_desc(*call.inputs[0]), c = plain({call.inputs[0]->shape[1]}, kF32);
    const auto pd = forward(call, d, Kind::forward_inference, kFlags | dnnl::normalization_flags::use_global_stats);
    input(call, 0, DNNL_ARG_SRC, d);
    input(call, 1, DNNL_ARG_MEAN, c);
    input(call, 2, DNNL_ARG_VARIANCE, c);
    input(call, 3, DNNL_ARG_SCALE, c, 1.f);
    input(call, 4, DNNL_ARG_SHIFT, c, 0.f);
    output(call, 0, DNNL_ARG_DST, d);
    pipeline_.primitive(pd);
  }
};

class BatchNormBackward : public NormPlan {
 public:
  explicit BatchNormBackward(const tg_call& call) : NormPlan(call) {
    const Desc d = data_desc(*call.inputs[1]), c = plain({call.inputs[1]->shape[1]}, kF32);
    const auto hint = forward(call, d, Kind::forward_training, kFlags);
    const dnnl::batch_normalization_backward::primitive_desc pd(
        engine(), Kind::backward, d, d, d, static_cast<float>(call.attrs[0].v.f), kFlags, hint, base_attr(call));
    input(call, 0, DNNL_ARG_DIFF_DST, d);
    input(call, 1, DNNL_ARG_SRC, d);
    input(call, 2, DNNL_ARG_MEAN, c);
    input(call, 3, DNNL_ARG_VARIANCE, c);
    input(call, 4, DNNL_ARG_SCALE, c, 1.f);
    output(call, 0, DNNL_ARG_DIFF_SRC, d);
    output(call, 1, DNNL_ARG_DIFF_SCALE, c);
    output(call, 2, DNNL_ARG_DIFF_SHIFT, c);
    pipeline_.primitive(pd);
  }
};

template <class P>
std::unique_ptr<Plan> make(const tg_call& call) {
  const ThreadScope threads(call.threads);
  return refusing(call, [&] { return std::make_unique<P>(call); });
}

}  // namespace

std::unique_ptr<Plan> make_batch_norm(Instance& instance, const tg_call& call) {
  if (auto plan = batch_norm_planes(instance, call)) return plan;
  return make<BatchNorm>(call);
}
std::unique_ptr<Plan> make_batch_norm_infer(Instance& instance, const tg_call& call) {
  if (auto plan = batch_norm_infer_planes(instance, call)) return plan;
  return make<BatchNormInfer>(call);
}
std::unique_ptr<Plan> make_batch_norm_backward(Instance& instance, const tg_call& call) {
  if (auto plan = batch_norm_backward_planes(instance, call)) return plan;
  return make<BatchNormBackward>(call);
}

}  // namespace tg::cpu
