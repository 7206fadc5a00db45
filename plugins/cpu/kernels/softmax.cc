// SPDX-License-Identifier: Apache-2.0
//
// softmax and log_softmax along one axis, and their gradients. Tensors are contiguous (the rows ask for it), so that
// any call is [outer, axis, inner].
#include <cstring>

#include "kernels/onednn.h"

namespace tg::cpu {
namespace {

// The tensor as [outer, axis] or [outer, axis, inner], and the layout in which oneDNN works on it: the axis has to lie
// innermost, or it falls to scalar loops. Two reorders cost less.
struct Folded {
  Desc user, inner;
  Folded(const tg_tensor& t, int64_t axis) {
    int64_t outer = 1, n = t.shape[axis], rest = 1;
    for (int i = 0; i < t.ndim; ++i) {
      if (i != axis) (i < axis ? outer : rest) *= t.shape[i];
    }
    const auto type = dnnl_type(t.dtype);
    if (rest == 1) {
      user = inner = plain({outer, n}, type);
    } else {
      user = plain({outer, n, rest}, type);
      inner = Desc({outer, n, rest}, type, Dims{n * rest, 1, n});
    }
  }
};

dnnl::algorithm algorithm_of(const tg_call& call) {
  return std::strncmp(call.op, "log_", 4) == 0 ? dnnl::algorithm::softmax_log : dnnl::algorithm::softmax_accurate;
}

class Softmax : public Plan {
 public:
  explicit Softmax(const tg_call& call) : pipeline_(call) {
    const Folded f(*call.outputs[0], call.attrs[0].v.i);
    const Desc& d = f.inner;
    const dnnl::softmax_forward::primitive_desc pd(engine(), dnnl::prop_kind::forward_inference, algorithm_of(call), d,
                                                   d, 1, base_attr(call));
    pipeline_.input(DNNL_ARG_SRC, f.user, d);
    pipeline_.output(DNNL_ARG_DST, f.user, d);
    pipeline_.primitive(pd);
  }
  uint64_t workspace(const tg_run&) override { return pipeline_.workspace(); }
  void run(const tg_run& r) override {
    pipeline_.run({plugin::data<void>(*r.inputs[0]), plugin::data<void>(*r.outputs[0])}, workspace_of(r));
  }

 private:
  Pipeline pipeline_;
};

class SoftmaxBackward : public Plan {
 public:
  explicit SoftmaxBackward(const tg_call& call) : pipeline_(call) {
    const Folded f(*call.outputs[0], call.attrs[0].v.i);
    const Desc& d = f.inner;
    const dnnl::softmax_forward::primitive_desc hint(engine(), dnnl::prop_kind::forward_training, algorithm_of(call), d,
                                                     d, 1, base_attr(call));
    const dnnl::softmax_backward::primitive_desc pd(engine(), algorithm_of(call), d, d, d, 1, hint, base_attr(call));
    pipeline_.input(DNNL_ARG_DIFF_DST, f.user, d);
    pipeline_.input(DNNL_ARG_DST, f.user, d);
    pipeline_.output(DNNL_ARG_DIFF_SRC, f.user, d);
    pipeline_.primitive(pd);
  }
  uint64_t workspace(const tg_run&) override { return pipeline_.workspace(); }
  void run(const tg_run& r) override {
    pipeline_.run(
        {plugin::data<void>(*r.inputs[0]), plugin::data<void>(*r.inputs[1]), plugin::data<void>(*r.outputs[0])},
        workspace_of(r));
  }

 private:
  Pipeline pipeline_;
};

}  // namespace

std::unique_ptr<Plan> make_softmax(Instance&, const tg_call& call) {
  const ThreadScope threads(call.threads);
  return refusing(call, [&] { return std::make_unique<Softmax>(call); });
}
std::unique_ptr<Plan> make_softmax_backward(Instance&, const tg_call& call) {
  const ThreadScope threads(call.threads);
  return refusing(call, [&] { return std::make_unique<SoftmaxBackward>(call); });
}

}  // namespace tg::cpu
