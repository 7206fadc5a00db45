// SPDX-License-Identifier: Apache-2.0
//
// A foreign kernel provider: it owns no device and offers matmul on the devices of the chaos plugin. All it knows of
// them is chaos_ext.h and the native handles that the host passes on, as a library of kernels for CUDA knows
// cudaStream_t.

#include <memory>
#include <tengen/kernel_api.hpp>

#include "chaos_ext.h"
#include "tg_rows.inc"

namespace {

using tg::plugin::fail;

// One launch: what the run block said, by value.
struct Launch {
  tg_chaos_stream* stream;
  tg_tensor a, b, y;
  int64_t batch, m, k, n;
  bool accumulate;

  float* address(const tg_tensor& t, int64_t elements) const {
    void* p = nullptr;
    tg_error error{};
    const int32_t status = stream->api->address(stream, t.data, t.byte_offset, uint64_t(elements) * 4, &p, &error);
    if (status != TG_OK) fail(status, "foreign.matmul: %s", error.message);
    return static_cast<float*>(p);
  }

  void run() const {
    const float* pa = address(a, batch * m * k);
    const float* pb = address(b, batch * k * n);
    float* py = address(y, batch * m * n);
    for (int64_t i = 0; i < batch * m; ++i) {
      const float* b0 = pb + i / m * k * n;
      for (int64_t j = 0; j < n; ++j) {
        float sum = 0;
        for (int64_t l = 0; l < k; ++l) sum += pa[i * k + l] * b0[l * n + j];
        py[i * n + j] = accumulate ? py[i * n + j] + sum : sum;
      }
    }
  }
};

struct Matmul : tg::plugin::Plan {
  bool accumulate = false;

  void run(const tg_run& r) override {
    auto launch = std::make_unique<Launch>();
    launch->stream = static_cast<tg_chaos_stream*>(r.native_stream);
    launch->a = *r.inputs[0];
    launch->b = *r.inputs[1];
    launch->y = *r.outputs[0];
    const int32_t rank = launch->a.ndim;
    launch->m = launch->a.shape[rank - 2];
    launch->k = launch->a.shape[rank - 1];
    launch->n = launch->b.shape[rank - 1];
    launch->batch = tg::plugin::numel(launch->a) / (launch->m * launch->k);
    launch->accumulate = accumulate;
    const auto work = [](void* context, tg_error* error) -> int32_t {
      return tg::plugin::guard(error, [&] { static_cast<Launch*>(context)->run(); });
    };
    const auto release = [](void* context) { delete static_cast<Launch*>(context); };
    tg_error error{};
    const int32_t status =
        launch->stream->api->enqueue(launch->stream, r.launch_id, work, release, launch.get(), &error);
    if (status != TG_OK) fail(status, "foreign.matmul: %s", error.message);
    launch.release();
  }
};

std::unique_ptr<tg::plugin::Plan> make(void*, const tg_call& call) {
  const auto* device = static_cast<const tg_chaos_device*>(call.native_device);
  if (!device || !device->api || device->api->struct_size < sizeof(tg_chaos_api))
    fail(TG_UNIMPLEMENTED, "foreign.matmul: expected a chaos device that offers %s", TG_CHAOS_EXTENSION);
  auto plan = std::make_unique<Matmul>();
  plan->accumulate = call.n_attrs > 0 && call.attrs[0].kind == TG_ATTR_INT && call.attrs[0].v.i == 1;
  return plan;
}

int32_t open_plugin(uint32_t, const tg_host*, void** instance, tg_error*) {
  *instance = nullptr;
  return TG_OK;
}

constexpr tg_kernel_api kKernels = tg::plugin::kernel_table<make>();
constexpr tg_plugin kPlugin = {
    sizeof(tg_plugin),     TG_ABI_VERSION, TG_PLUGIN_NAME, TG_PLUGIN_VENDOR, TG_PLUGIN_VERSION, tg_rows, TG_N_ROWS,
    sizeof(tg_kernel_row), nullptr,        &kKernels,      open_plugin,      [](void*) {},      nullptr,
};

}  // namespace

extern "C" const tg_plugin* tg_plugin_query(uint32_t host_abi, const tg_host*) {
  return host_abi == TG_ABI_VERSION ? &kPlugin : nullptr;
}
