// SPDX-License-Identifier: Apache-2.0
//
// The reference plugin: a host-memory kernel provider and nothing else. The rows come from reference.plugin.json, the
// kernels from kernels/; this file joins the two.

#include <tengen/kernel_api.hpp>

#include "kernels.h"
#include "tg_rows.inc"

namespace {

// The instance: what `open` was given. There is at most one per process.
struct Instance {
  const tg_host* host;
};

std::unique_ptr<tg::plugin::Plan> make(void* instance, const tg_call& call) {
  return tg::reference::make_plan(static_cast<Instance*>(instance)->host, call);
}

int32_t open_plugin(uint32_t, const tg_host* host, void** instance, tg_error* error) {
  return tg::plugin::guard(error, [&] { *instance = new Instance{host}; });
}

void shutdown_plugin(void* instance) { delete static_cast<Instance*>(instance); }

constexpr tg_kernel_api kKernels = tg::plugin::kernel_table<make>();

constexpr tg_plugin kPlugin = {
    sizeof(tg_plugin),     TG_ABI_VERSION, TG_PLUGIN_NAME, TG_PLUGIN_VENDOR, TG_PLUGIN_VERSION, tg_rows, TG_N_ROWS,
    sizeof(tg_kernel_row), nullptr,        &kKernels,      open_plugin,      shutdown_plugin,   nullptr,
};

}  // namespace

extern "C" const tg_plugin* tg_plugin_query(uint32_t host_abi, const tg_host*) {
  // While the major version is 0, host and plugin must agree on the minor.
  return host_abi == TG_ABI_VERSION ? &kPlugin : nullptr;
}
