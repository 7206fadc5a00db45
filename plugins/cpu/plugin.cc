// SPDX-License-Identifier: Apache-2.0
//
// The CPU plugin's table: the rows of cpu.plugin.json and, per op name, the factory that makes its plans. Names are
// looked up when a plan is made, never in a run.
#include <cstring>

#include "kernels/factorize.h"
#include "kernels/kernels.h"
#include "tg_rows.inc"

namespace tg::cpu {
namespace {

struct Family {
  const char* op;
  Factory make;
};

// A family is listed once its source is in CMakeLists.txt.
constexpr Family kFamilies[] = {
    // floor
    {"map", make_map},
    {"copy", make_copy},
    {"fill", make_fill},
    {"iota", make_iota},
    {"random", make_random},
    {"reduce", make_reduce},
    {"scan", make_scan},
    {"gather", make_gather},
    {"scatter", make_scatter},
    {"sort", make_sort},
    {"matmul", make_matmul},
    // composite ops
    {"linear", make_linear},
    {"conv", make_conv},
    {"conv_backward_data", make_conv_backward_data},
    {"conv_backward_weight", make_conv_backward_weight},
    {"max_pool", make_max_pool},
    {"max_pool_backward", make_max_pool_backward},
    {"avg_pool", make_avg_pool},
    {"avg_pool_backward", make_avg_pool_backward},
    {"batch_norm", make_batch_norm},
    {"batch_norm_infer", make_batch_norm_infer},
    {"batch_norm_backward", make_batch_norm_backward},
    {"layer_norm", make_layer_norm},
    {"layer_norm_backward", make_layer_norm_backward},
    {"attention", make_attention},
    {"attention_backward", make_attention_backward},
    {"softmax", make_softmax},
    {"softmax_backward", make_softmax_backward},
    {"log_softmax", make_softmax},
    {"log_softmax_backward", make_softmax_backward},
    {"nms_keep", make_nms_keep},
    // leaf ops
    {"cholesky", make_cholesky},
    {"lu", make_lu},
    {"qr", make_qr},
    {"svd", make_svd},
    {"eigh", make_eigh},
    {"triangular_solve", make_triangular_solve},
    {"fft", make_fft},
};

std::unique_ptr<Plan> make_plan(void* instance, const tg_call& call) {
  for (const Family& family : kFamilies) {
    if (std::strcmp(family.op, call.op) == 0) return family.make(*static_cast<Instance*>(instance), call);
  }
  plugin::fail(TG_UNIMPLEMENTED, "[%s] the cpu plugin has no such op; its rows are in cpu.plugin.json", call.op);
}

int32_t open(uint32_t, const tg_host* host, void** instance, tg_error* error) {
  return plugin::guard(error, [&] { *instance = new Instance{host}; });
}

void shutdown(void* instance) { delete static_cast<Instance*>(instance); }

constexpr tg_kernel_api kKernels = plugin::kernel_table<make_plan>();

constexpr tg_plugin make_table() {
  tg_plugin t{};
  t.struct_size = sizeof t;
  t.abi_version = TG_ABI_VERSION;
  t.name = TG_PLUGIN_NAME;
  t.vendor = TG_PLUGIN_VENDOR;
  t.version = TG_PLUGIN_VERSION;
  t.rows = tg_rows;
  t.n_rows = TG_N_ROWS;
  t.row_stride = sizeof(tg_kernel_row);
  t.kernels = &kKernels;
  t.open = open;
  t.shutdown = shutdown;
  return t;
}

const tg_plugin kPlugin = make_table();

}  // namespace
}  // namespace tg::cpu

extern "C" TG_EXPORT const tg_plugin* tg_plugin_query(uint32_t host_abi, const tg_host*) {
  return (host_abi >> 16) == TG_ABI_MAJOR && (host_abi & 0xffff) == TG_ABI_MINOR ? &tg::cpu::kPlugin : nullptr;
}
