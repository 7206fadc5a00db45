// SPDX-License-Identifier: Apache-2.0
//
// A small plugin that copies packed f32 tensors, with one thing wrong: what, BAD_CASE says (bad/CMakeLists.txt lists
// the cases). BAD_good is the same source with nothing wrong, so that a test which refuses all of them notices.

#include <unistd.h>

#include <cstdlib>
#include <stdexcept>
#include <tengen/kernel_api.hpp>

#include "tg_rows.inc"

namespace {

enum Case {
  BAD_good,
  BAD_abort_in_query,
  BAD_hang_in_query,
  BAD_exit_in_query,
  BAD_crash_in_open,
  BAD_hang_in_open,
  BAD_fail_in_open,
  BAD_throw_in_open,
  BAD_null_query,
  BAD_other_abi,  // the manifest says so as well
  BAD_other_abi_hidden,
  BAD_name_differs,
  BAD_small_struct,
  BAD_rows_differ,
  BAD_row_stride,
  BAD_null_name,
  BAD_no_functions,
  BAD_cpu_feature,
  BAD_manifest_json,
  BAD_manifest_differs,
  BAD_no_manifest,
};
constexpr Case kCase = BAD_CASE;

struct Copy : tg::plugin::Plan {
  void run(const tg_run& r) override {
    std::memcpy(tg::plugin::data<void>(*r.outputs[0]), tg::plugin::data<void>(*r.inputs[0]),
                size_t(tg::plugin::numel(*r.inputs[0])) * 4);
  }
};

std::unique_ptr<tg::plugin::Plan> make(void*, const tg_call&) { return std::make_unique<Copy>(); }

int32_t open_plugin(uint32_t, const tg_host*, void** instance, tg_error* error) {
  *instance = nullptr;
  switch (kCase) {
    case BAD_crash_in_open: {
      volatile int* nowhere = nullptr;
      *nowhere = 1;
      break;
    }
    case BAD_hang_in_open:
      for (;;) pause();
    case BAD_fail_in_open:
      return tg::plugin::set_error(error, TG_UNAVAILABLE, "bad: expected a licence server, found none");
    case BAD_throw_in_open:
      throw std::runtime_error("bad: an exception that crosses the interface");
    default:
      break;
  }
  return TG_OK;
}

constexpr tg_kernel_api kernels() {
  tg_kernel_api table = tg::plugin::kernel_table<make>();
  if (kCase == BAD_no_functions) table.plan_run = nullptr;
  return table;
}
constexpr tg_kernel_api kKernels = kernels();

constexpr tg_plugin plugin() {
  tg_plugin table = {
      sizeof(tg_plugin), TG_ABI_VERSION,        TG_PLUGIN_NAME, TG_PLUGIN_VENDOR, TG_PLUGIN_VERSION, tg_rows,
      TG_N_ROWS,         sizeof(tg_kernel_row), nullptr,        &kKernels,        open_plugin,       [](void*) {},
      nullptr,
  };
  if (kCase == BAD_other_abi || kCase == BAD_other_abi_hidden) table.abi_version = 7u << 16;
  if (kCase == BAD_name_differs) table.name = "somebody_else";
  if (kCase == BAD_null_name) table.name = nullptr;
  if (kCase == BAD_small_struct) table.struct_size = 8;
  if (kCase == BAD_rows_differ) table.n_rows = 0;
  if (kCase == BAD_row_stride) table.row_stride = 4;
  return table;
}
constexpr tg_plugin kPlugin = plugin();

}  // namespace

extern "C" const tg_plugin* tg_plugin_query(uint32_t, const tg_host*) {
  switch (kCase) {
    case BAD_abort_in_query: std::abort();
    case BAD_hang_in_query:
      for (;;) pause();
    case BAD_exit_in_query: std::exit(0);
    case BAD_null_query: return nullptr;
    default: return &kPlugin;
  }
}
