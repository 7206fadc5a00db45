// SPDX-License-Identifier: Apache-2.0
//
// What the oneDNN normalisations share: an absent weight or bias is a constant, an output that nobody wants goes to the
// workspace.
#ifndef TENGEN_PLUGINS_CPU_NORM_H_
#define TENGEN_PLUGINS_CPU_NORM_H_

#include "kernels/onednn.h"

namespace tg::cpu {

constexpr auto kF32 = dnnl::memory::data_type::f32;
const auto kFlags = dnnl::normalization_flags::use_scale | dnnl::normalization_flags::use_shift;

inline bool present(const tg_call& call, uint32_t i) { return i < call.n_inputs && (call.inputs_present >> i & 1); }
inline bool wanted(const tg_call& call, uint32_t i) { return i < call.n_outputs && (call.outputs_wanted >> i & 1); }

// Binds arguments to a pipeline and remembers in which order run() has to pass them. A tensor whose dims differ from
// the primitive's is contiguous and seen under those dims.
class NormPlan : public Plan {
 public:
  explicit NormPlan(const tg_call& call) : pipeline_(call) {}
  uint64_t workspace(const tg_run&) override { return pipeline_.workspace(); }
  void run(const tg_run& r) override {
    void* pointers[8];
    int n = 0;
    for (const int i : inputs_) pointers[n++] = plugin::data<void>(*r.inputs[i]);
    for (const int i : outputs_) pointers[n++] = plugin::data<void>(*r.outputs[i]);
    pipeline_.run(pointers, workspace_of(r));
  }

 protected:
  // All inputs have to be bound before the first output.
  void input(const tg_call& call, int i, int arg, const Desc& inner, float absent = 0) {
    if (!present(call, i)) return pipeline_.constant(arg, inner, absent);
    inputs_.push_back(i);
    const tg_tensor& t = *call.inputs[i];
    if (dims_of(t) == inner.get_dims()) return pipeline_.input(arg, t, inner);
    pipeline_.input(arg, plain(inner.get_dims(), dnnl_type(t.dtype)), inner);
  }
  void output(const tg_call& call, int i, int arg, const Desc& inner) {
    if (!wanted(call, i)) return pipeline_.temp(arg, inner);
    outputs_.push_back(i);
    const tg_tensor& t = *call.outputs[i];
    const bool same = dims_of(t) == inner.get_dims();
    pipeline_.output(arg, same ? strided(t) : plain(inner.get_dims(), dnnl_type(t.dtype)), inner);
  }

  Pipeline pipeline_;

 private:
  std::vector<int> inputs_, outputs_;
};

}  // namespace tg::cpu
#endif  // TENGEN_PLUGINS_CPU_NORM_H_
