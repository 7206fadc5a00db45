// SPDX-License-Identifier: Apache-2.0
//
// linear: y = activation(x @ w^T + b) with the leading axes of x taken as one. Bias and activation are oneDNN's
// epilogue.
#include "kernels/onednn.h"

namespace tg::cpu {
namespace {

class Linear : public Plan {
 public:
  explicit Linear(const tg_call& call) : pipeline_(call) {
    const tg_tensor &x = *call.inputs[0], &w = *call.inputs[1], &y = *call.outputs[0];
    const tg_tensor* bias = call.n_inputs > 2 && (call.inputs_present >> 2 & 1) ? call.inputs[2] : nullptr;
    has_bias_ = bias != nullptr;
    const int64_t k = x.shape[x.ndim - 1], m = plugin::numel(x) / k, n = w.shape[0];
    if (w.ndim != 2 || w.shape[1] != k || y.shape[y.ndim - 1] != n || plugin::numel(y) != m * n) {
      plugin::fail(TG_INVALID_ARGUMENT, "[linear] expected x [..., %lld] with w [n, %lld], got w [%lld, %lld]",
                   (long long)k, (long long)k, (long long)n, (long long)w.shape[w.ndim - 1]);
    }
    const auto type = dnnl_type(x.dtype);
    const Desc dx = plain({m, k}, type), dy = plain({m, n}, type);
    const int64_t shape[2] = {k, n}, strides[2] = {w.strides[1], w.strides[0]};
    tg_tensor wt = w;
    wt.shape = shape;
    wt.strides = strides;
    // w as it lies where oneDNN can read it so, else a packed copy.
    const bool direct = expressible(wt) && (strides[0] == 1 || strides[1] == 1);
    const Desc dw = direct ? strided(wt) : Desc({k, n}, type, Dims{1, k});
    dnnl::post_ops ops;
    append_activation(ops, call.attrs[0].v.i);
    dnnl::primitive_attr attr = base_attr(call);
    attr.set_post_ops(ops);
    const auto pd =
        bias ? dnnl::matmul::primitive_desc(engine(), dx, dw, plain({1, n}, dnnl_type(bias->dtype)), dy, attr)
             : dnnl::matmul::primitive_desc(engine(), dx, dw, dy, attr);
    if (is_reference(pd)) {
      plugin::fail(TG_UNIMPLEMENTED, "[linear] oneDNN has only its scalar kernel for %s on this CPU",
                   plugin::dtype_name(x.dtype));
    }
    pipeline_.input(DNNL_ARG_SRC, dx, dx);
    pipeline_.input(DNNL_ARG_WEIGHTS, wt, dw);
    pipeline_.output(DNNL_ARG_DST, dy, dy);
    if (bias) {
      const Desc db = plain({1, n}, dnnl_type(bias->dtype));
      pipeline_.input(DNNL_ARG_BIAS, db, db);
    }
    pipeline_.primitive(pd);
  }
  uint64_t workspace(const tg_run&) override { return pipeline_.workspace(); }
  void run(const tg_run& r) override {
    pipeline_.run({plugin::data<void>(*r.inputs[0]), plugin::data<void>(*r.inputs[1]),
                   plugin::data<void>(*r.outputs[0]), has_bias_ ? plugin::data<void>(*r.inputs[2]) : nullptr},
                  workspace_of(r));
  }

 private:
  Pipeline pipeline_;
  bool has_bias_;
};

}  // namespace

std::unique_ptr<Plan> make_linear(Instance&, const tg_call& call) {
  const ThreadScope threads(call.threads);
  return refusing(call, [&] { return std::make_unique<Linear>(call); });
}

}  // namespace tg::cpu
