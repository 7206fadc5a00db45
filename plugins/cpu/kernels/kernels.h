// SPDX-License-Identifier: Apache-2.0
//
// The families of the CPU plugin: one factory each, defined in kernels/<family>.cc, listed by op name in plugin.cc.
// A factory makes the plan of a call, or throws tg::plugin::Failure to refuse it with a reason.
#ifndef TENGEN_PLUGINS_CPU_KERNELS_H_
#define TENGEN_PLUGINS_CPU_KERNELS_H_

#include <memory>
#include <tengen/kernel_api.hpp>

namespace tg::cpu {

using plugin::Plan;

// What every plan may use for the life of the process.
struct Instance {
  const tg_host* host;
};

using Factory = std::unique_ptr<Plan> (*)(Instance&, const tg_call&);

// the floor
std::unique_ptr<Plan> make_map(Instance&, const tg_call&);
std::unique_ptr<Plan> make_copy(Instance&, const tg_call&);
std::unique_ptr<Plan> make_fill(Instance&, const tg_call&);
std::unique_ptr<Plan> make_iota(Instance&, const tg_call&);
std::unique_ptr<Plan> make_random(Instance&, const tg_call&);
std::unique_ptr<Plan> make_reduce(Instance&, const tg_call&);
std::unique_ptr<Plan> make_scan(Instance&, const tg_call&);
std::unique_ptr<Plan> make_matmul(Instance&, const tg_call&);
std::unique_ptr<Plan> make_gather(Instance&, const tg_call&);
std::unique_ptr<Plan> make_scatter(Instance&, const tg_call&);
std::unique_ptr<Plan> make_sort(Instance&, const tg_call&);

// composite ops
std::unique_ptr<Plan> make_linear(Instance&, const tg_call&);
std::unique_ptr<Plan> make_conv(Instance&, const tg_call&);
std::unique_ptr<Plan> make_conv_backward_data(Instance&, const tg_call&);
std::unique_ptr<Plan> make_conv_backward_weight(Instance&, const tg_call&);
std::unique_ptr<Plan> make_max_pool(Instance&, const tg_call&);
std::unique_ptr<Plan> make_max_pool_backward(Instance&, const tg_call&);
std::unique_ptr<Plan> make_avg_pool(Instance&, const tg_call&);
std::unique_ptr<Plan> make_avg_pool_backward(Instance&, const tg_call&);
std::unique_ptr<Plan> make_batch_norm(Instance&, const tg_call&);
std::unique_ptr<Plan> make_batch_norm_infer(Instance&, const tg_call&);
std::unique_ptr<Plan> make_batch_norm_backward(Instance&, const tg_call&);
std::unique_ptr<Plan> make_layer_norm(Instance&, const tg_call&);
std::unique_ptr<Plan> make_layer_norm_backward(Instance&, const tg_call&);
std::unique_ptr<Plan> make_attention(Instance&, const tg_call&);
std::unique_ptr<Plan> make_attention_backward(Instance&, const tg_call&);
std::unique_ptr<Plan> make_softmax(Instance&, const tg_call&);           // and log_softmax
std::unique_ptr<Plan> make_softmax_backward(Instance&, const tg_call&);  // and log_softmax_backward
std::unique_ptr<Plan> make_nms_keep(Instance&, const tg_call&);

}  // namespace tg::cpu
#endif  // TENGEN_PLUGINS_CPU_KERNELS_H_
