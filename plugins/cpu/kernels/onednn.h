// SPDX-License-Identifier: Apache-2.0
//
// oneDNN inside plans: the process's engine, memory descriptors from tensors, and Pipeline, which runs one primitive on
// tensors of any strides and reorders into and out of the layouts that the primitive likes.
//
//   Pipeline p(call);
//   p.input(DNNL_ARG_SRC, strided(x), pd.src_desc());   // a reorder is added where the two differ
//   p.output(DNNL_ARG_DST, strided(y), pd.dst_desc());
//   p.primitive(pd);                                    // adds the scratchpad
//   ... in plan_run: p.run({x, y}, run.workspace) in the order in which the tensors were added
#ifndef TENGEN_PLUGINS_CPU_ONEDNN_H_
#define TENGEN_PLUGINS_CPU_ONEDNN_H_

#include <atomic>
#include <initializer_list>
#include <oneapi/dnnl/dnnl.hpp>
#include <vector>

#include "kernels/kernels.h"

namespace tg::cpu {

using Desc = dnnl::memory::desc;
using Dims = dnnl::memory::dims;
using Tag = dnnl::memory::format_tag;

const dnnl::engine& engine();

// Makes oneDNN use `threads` threads while it lives: primitives fix their split of the work when they are created.
class ThreadScope {
 public:
  explicit ThreadScope(int threads);
  ~ThreadScope();
  ThreadScope(const ThreadScope&) = delete;
  ThreadScope& operator=(const ThreadScope&) = delete;

 private:
  int before_;
};

dnnl::memory::data_type dnnl_type(tg_dtype type);  // undef where oneDNN has none
Dims dims_of(const tg_tensor& t);
// Row-major strides of `dims`.
Dims packed_strides(const Dims& dims);
// The tensor's own strides, fit for oneDNN. `t` must not repeat elements (see expressible).
Desc strided(const tg_tensor& t);
Desc plain(const Dims& dims, dnnl::memory::data_type type);
Desc any_layout(const Dims& dims, dnnl::memory::data_type type);
// False where elements overlap or repeat (stride 0): such a tensor has to be copied first.
bool expressible(const tg_tensor& t);
// Axes in memory order N, s..., C with C unit-stride: true for conv tensors that PyTorch calls channels_last.
bool is_channels_last(const tg_tensor& t);

// True if a primitive descriptor fell back to oneDNN's scalar loops.
template <class PrimitiveDesc>
bool is_reference(const PrimitiveDesc& pd) {
  const char* name = pd.impl_info_str();
  return name[0] == 'r' && name[1] == 'e' && name[2] == 'f';
}

// Attributes that every primitive here gets: scratchpad from the caller, the user's math mode.
dnnl::primitive_attr base_attr(const tg_call& call);
// Appends the activation that schemas number (0 none .. 6 tanh).
void append_activation(dnnl::post_ops& ops, int64_t activation);

inline void* workspace_of(const tg_run& r) { return static_cast<char*>(r.workspace) + r.workspace_offset; }

class Pipeline {
 public:
  explicit Pipeline(const tg_call& call) : threads_(call.threads) {}
  Pipeline(const Pipeline&) = delete;
  Pipeline& operator=(const Pipeline&) = delete;
  ~Pipeline();

  // Tensors are bound to run()'s pointers in the order of these calls.
  void input(int arg, const tg_tensor& t, const Desc& inner);
  void input(int arg, const Desc& user, const Desc& inner);
  void output(int arg, const Desc& user, const Desc& inner);
  // Memory in the workspace that no tensor backs; contents undefined.
  void temp(int arg, const Desc& inner);
  // The same, holding `value` in every f32 element.
  void constant(int arg, const Desc& inner, float value);
  // Another tensor argument of the primitive that is the memory of the port added `index`-th.
  void share(int arg, int index);

  template <class PrimitiveDesc>
  void primitive(const PrimitiveDesc& pd) {
    if (pd.scratchpad_desc().get_size() > 0) temp(DNNL_ARG_SCRATCHPAD, pd.scratchpad_desc());
    finish(dnnl::primitive(pd.get()));
  }

  uint64_t workspace() const { return workspace_; }
  void run(std::initializer_list<void*> pointers, void* workspace) const { run(pointers.begin(), workspace); }
  void run(void* const* pointers, void* workspace) const;

 private:
  struct Memory {
    Desc desc;
    int pointer;      // which of run()'s pointers; -1: in the workspace
    uint64_t offset;  // in the workspace
  };
  struct Step {
    dnnl::primitive primitive;
    std::vector<std::pair<int, int>> args;  // oneDNN's argument, index of the memory
  };
  struct Pack {  // strides that oneDNN can't express -> row-major
    int pointer;
    uint64_t offset;
    int32_t ndim;
    std::vector<int64_t> shape, from, to;
    int element;
  };
  struct Fill {
    uint64_t offset;
    int64_t count;
    float value;
  };
  struct Context;  // memory objects of one run in progress

  uint64_t reserve(uint64_t bytes);
  int add(const Desc& desc, int pointer, uint64_t offset);
  void finish(const dnnl::primitive& p);
  Context* make_context() const;

  int threads_;
  int n_pointers_ = 0;
  uint64_t workspace_ = 0;
  std::vector<Memory> memories_;
  std::vector<Pack> packs_;
  std::vector<Fill> fills_;
  std::vector<Step> before_, after_;
  std::vector<std::pair<int, int>> args_;
  std::vector<int> ports_;  // memory index of each port's inner side
  std::vector<Step> steps_;
  mutable std::atomic<Context*> idle_{nullptr};  // one context kept, so that a run makes no objects
};

// Runs `body`, turning oneDNN's exceptions into a refusal that names the op.
template <class Body>
auto refusing(const tg_call& call, Body&& body) -> decltype(body()) {
  try {
    return body();
  } catch (const dnnl::error& e) {
    plugin::fail(TG_UNIMPLEMENTED, "[%s] oneDNN has no kernel for these arguments on this CPU (%s)", call.op,
                 e.message);
  }
}

}  // namespace tg::cpu
#endif  // TENGEN_PLUGINS_CPU_ONEDNN_H_
