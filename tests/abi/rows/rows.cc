// SPDX-License-Identifier: Apache-2.0
//
// rows: kernels that hold the host to what their rows say. A plan whose row bakes dims or strides fails when it is run on
// others; one whose row says `packed` fails on anything else; the old kernel of test_scale fails when it is shown what its
// revision does not know.

#include <memory>
#include <tengen/kernel_api.hpp>
#include <vector>

#include "tg_rows.inc"

namespace {

using namespace tg::plugin;

// The dims or strides of a call, to compare a run with.
struct Seen {
  std::vector<int64_t> dims, strides;
  explicit Seen(const tg_tensor& t) : dims(t.shape, t.shape + t.ndim), strides(t.strides, t.strides + t.ndim) {}
};

// One instruction on i16.
struct Map : Plan {
  const tg_map_inst inst;
  const tg_kernel_row& row;
  std::vector<Seen> planned;

  explicit Map(const tg_call& call) : inst(call.attrs[0].v.program[0]), row(tg_rows[call.row]) {
    if (call.attrs[0].n != 1) fail(TG_UNIMPLEMENTED, "rows: expected one instruction, got %u", call.attrs[0].n);
    for (uint32_t i = 0; i < call.n_inputs; ++i) planned.emplace_back(*call.inputs[i]);
    for (uint32_t i = 0; i < call.n_outputs; ++i) planned.emplace_back(*call.outputs[i]);
  }

  void check(const tg_tensor& t, uint32_t argument, uint32_t bit) const {
    const Seen now(t);
    if (row.max_rank && t.ndim > int32_t(row.max_rank)) fail(TG_INTERNAL, "%s: rank %d", row.name, t.ndim);
    if (row.bake_dims >> bit & 1 && now.dims != planned[argument].dims) fail(TG_INTERNAL, "%s: other dims", row.name);
    if (row.bake_strides >> bit & 1 && now.strides != planned[argument].strides)
      fail(TG_INTERNAL, "%s: other strides of argument %u", row.name, argument);
    if (row.packed >> bit & 1 && !is_contiguous(t)) fail(TG_INTERNAL, "%s: argument %u is not packed", row.name, argument);
  }

  void run(const tg_run& r) override {
    for (uint32_t i = 0; i < r.n_inputs; ++i) check(*r.inputs[i], i, i);
    check(*r.outputs[0], r.n_inputs, 32);
    const tg_tensor& y = *r.outputs[0];
    const int64_t none[TG_MAX_RANK] = {};
    const int16_t* x[2] = {};
    const int64_t* strides[2] = {none, none};
    int16_t scalar[2] = {};
    for (int k = 0; k < inst.n_operands; ++k) {
      const uint32_t v = inst.operand[k];
      if (v < r.n_inputs) {
        x[k] = data<int16_t>(*r.inputs[v]);
        strides[k] = r.inputs[v]->strides;
      } else {
        scalar[k] = int16_t(r.attrs[0].v.bits[v - r.n_inputs - 1]);
        x[k] = &scalar[k];
      }
    }
    if (inst.n_operands == 1) x[1] = x[0];
    const Walk<3> walk(y.ndim, y.shape, {strides[0], strides[1], y.strides});
    walk.rows(0, walk.outer(), [&](const int64_t(&at)[3]) {
      for (int64_t i = 0; i < walk.inner(); ++i) {
        const int a = x[0][at[0] + i * walk.step(0)], b = x[1][at[1] + i * walk.step(1)];
        int value = 0;
        switch (inst.opcode) {
          case TG_MAP_ADD: value = a + b; break;
          case TG_MAP_SUB: value = a - b; break;
          case TG_MAP_MUL: value = a * b; break;
          case TG_MAP_ABS: value = a < 0 ? -a : a; break;
          case TG_MAP_MAX: value = a < b ? b : a; break;
          default: fail(TG_INTERNAL, "rows: opcode %d", inst.opcode);
        }
        data<int16_t>(y)[at[2] + i * walk.step(2)] = int16_t(value);
      }
    });
  }
};

// Revision 1 of an op that its host has in revision 2: y = factor * x.
struct Scale : Plan {
  const float factor;
  explicit Scale(const tg_call& call) : factor(float(call.attrs[0].v.f)) {
    if (call.op_revision != 1 || call.n_attrs != 1 || call.n_inputs != 1)
      fail(TG_INTERNAL, "rows.scale_old: expected revision 1 with 1 input and 1 attribute, got revision %u with %u and %u",
           call.op_revision, call.n_inputs, call.n_attrs);
  }
  void run(const tg_run& r) override {
    if (r.n_inputs != 1 || r.n_attrs != 0)
      fail(TG_INTERNAL, "rows.scale_old: a run with %u inputs and %u attributes", r.n_inputs, r.n_attrs);
    for (int64_t i = 0; i < numel(*r.outputs[0]); ++i) data<float>(*r.outputs[0])[i] = factor * data<float>(*r.inputs[0])[i];
  }
};

std::unique_ptr<Plan> make(void*, const tg_call& call) {
  if (std::strcmp(call.op, "map") == 0) return std::make_unique<Map>(call);
  return std::make_unique<Scale>(call);
}

int32_t open_plugin(uint32_t, const tg_host*, void** instance, tg_error*) {
  *instance = nullptr;
  return TG_OK;
}

constexpr tg_kernel_api kKernels = kernel_table<make>();
constexpr tg_plugin kPlugin = {
    sizeof(tg_plugin),     TG_ABI_VERSION, TG_PLUGIN_NAME, TG_PLUGIN_VENDOR, TG_PLUGIN_VERSION, tg_rows, TG_N_ROWS,
    sizeof(tg_kernel_row), nullptr,        &kKernels,      open_plugin,      [](void*) {},      nullptr,
};

}  // namespace

extern "C" const tg_plugin* tg_plugin_query(uint32_t host_abi, const tg_host*) {
  return host_abi == TG_ABI_VERSION ? &kPlugin : nullptr;
}
