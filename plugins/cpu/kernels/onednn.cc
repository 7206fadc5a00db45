// SPDX-License-Identifier: Apache-2.0
//
// Pipeline and the small bridges between tensors and oneDNN; see onednn.h.
#include "kernels/onednn.h"

#include <omp.h>

#include <algorithm>
#include <numeric>

namespace tg::cpu {

// The engine and the streams live as long as the process: oneDNN's own statics may be gone before ours.
const dnnl::engine& engine() {
  static const dnnl::engine* const e = new dnnl::engine(dnnl::engine::kind::cpu, 0);
  return *e;
}

namespace {

dnnl_stream_t thread_stream() {
  thread_local const dnnl::stream stream(engine());
  return stream.get();
}

void copy_rows(const char* from, char* to, int element, const plugin::Walk<2>& walk) {
  const auto rows = [&](auto tag) {
    using T = typename decltype(tag)::type;
    const T* x = reinterpret_cast<const T*>(from);
    T* y = reinterpret_cast<T*>(to);
    walk.rows(0, walk.outer(), [&](const int64_t(&offset)[2]) {
      for (int64_t i = 0; i < walk.inner(); ++i) {
        y[offset[1] + i * walk.step(1)] = x[offset[0] + i * walk.step(0)];
      }
    });
  };
  switch (element) {
    case 1:
      return rows(plugin::tag<uint8_t>{});
    case 2:
      return rows(plugin::tag<uint16_t>{});
    case 4:
      return rows(plugin::tag<uint32_t>{});
    default:
      return rows(plugin::tag<uint64_t>{});
  }
}

}  // namespace

ThreadScope::ThreadScope(int threads) : before_(omp_get_max_threads()) {
  if (threads > 0 && threads != before_) {
    omp_set_num_threads(threads);
  } else {
    before_ = 0;
  }
}

ThreadScope::~ThreadScope() {
  if (before_ > 0) omp_set_num_threads(before_);
}

dnnl::memory::data_type dnnl_type(tg_dtype type) {
  using T = dnnl::memory::data_type;
  switch (plugin::dtype_key(type)) {
    case plugin::dtype_key(plugin::dtype_of<float>::value):
      return T::f32;
    case plugin::dtype_key(plugin::dtype_of<plugin::bfloat16>::value):
      return T::bf16;
    case plugin::dtype_key(plugin::dtype_of<plugin::half>::value):
      return T::f16;
    case plugin::dtype_key(plugin::dtype_of<int32_t>::value):
      return T::s32;
    case plugin::dtype_key(plugin::dtype_of<int8_t>::value):
      return T::s8;
    case plugin::dtype_key(plugin::dtype_of<uint8_t>::value):
      return T::u8;
    default:
      return T::undef;
  }
}

Dims dims_of(const tg_tensor& t) { return Dims(t.shape, t.shape + t.ndim); }

Dims packed_strides(const Dims& dims) {
  Dims strides(dims.size());
  int64_t step = 1;
  for (size_t i = dims.size(); i-- > 0;) {
    strides[i] = step;
    step *= dims[i];
  }
  return strides;
}

Desc strided(const tg_tensor& t) {
  Dims strides(t.strides, t.strides + t.ndim);
  // An axis of size 1 may carry any stride; give it one that a dense layout could have.
  for (int i = t.ndim - 1; i >= 0; --i) {
    if (t.shape[i] == 1 && strides[i] == 0) strides[i] = i + 1 < t.ndim ? strides[i + 1] * t.shape[i + 1] : 1;
  }
  return Desc(dims_of(t), dnnl_type(t.dtype), strides);
}

Desc plain(const Dims& dims, dnnl::memory::data_type type) { return Desc(dims, type, packed_strides(dims)); }

Desc any_layout(const Dims& dims, dnnl::memory::data_type type) { return Desc(dims, type, Tag::any); }

bool expressible(const tg_tensor& t) {
  int order[TG_MAX_RANK];
  int n = 0;
  for (int i = 0; i < t.ndim; ++i) {
    if (t.shape[i] > 1) order[n++] = i;
  }
  std::sort(order, order + n, [&](int a, int b) { return t.strides[a] < t.strides[b]; });
  int64_t span = 1;
  for (int i = 0; i < n; ++i) {
    if (t.strides[order[i]] < span) return false;
    span = t.strides[order[i]] * t.shape[order[i]];
  }
  return true;
}

bool is_channels_last(const tg_tensor& t) {
  if (t.ndim < 3) return false;
  int64_t expect = t.shape[1];
  if (t.shape[1] != 1 && t.strides[1] != 1) return false;
  for (int i = t.ndim - 1; i >= 2; --i) {
    if (t.shape[i] != 1 && t.strides[i] != expect) return false;
    expect *= t.shape[i];
  }
  return t.shape[0] == 1 || t.strides[0] == expect;
}

dnnl::primitive_attr base_attr(const tg_call& call) {
  dnnl::primitive_attr attr;
  attr.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  if (call.math & TG_MATH_ALLOW_BF16) {
    attr.set_fpmath_mode(dnnl::fpmath_mode::bf16);
  } else if (call.math & TG_MATH_ALLOW_TF32) {
    attr.set_fpmath_mode(dnnl::fpmath_mode::tf32);
  }
  return attr;
}

void append_activation(dnnl::post_ops& ops, int64_t activation) {
  using A = dnnl::algorithm;
  switch (activation) {
    case 0:
      return;
    case 1:
      return ops.append_eltwise(A::eltwise_relu, 0.f, 0.f);
    case 2:
      return ops.append_eltwise(A::eltwise_gelu_erf, 0.f, 0.f);
    case 3:
      return ops.append_eltwise(A::eltwise_gelu_tanh, 0.f, 0.f);
    case 4:
      return ops.append_eltwise(A::eltwise_swish, 1.f, 0.f);
    case 5:
      return ops.append_eltwise(A::eltwise_logistic, 0.f, 0.f);
    case 6:
      return ops.append_eltwise(A::eltwise_tanh, 0.f, 0.f);
    default:
      plugin::fail(TG_INVALID_ARGUMENT,
                   "activation: expected 0..6 (none relu gelu gelu_tanh silu sigmoid tanh), got %lld",
                   static_cast<long long>(activation));
  }
}

// ---- Pipeline -------------------------------------------------------------------------------------------------------

struct Pipeline::Context {
  std::vector<dnnl::memory> memories;
  std::vector<std::vector<dnnl_exec_arg_t>> args;  // per step
};

Pipeline::~Pipeline() { delete idle_.load(std::memory_order_acquire); }

uint64_t Pipeline::reserve(uint64_t bytes) {
  const uint64_t at = workspace_;
  workspace_ += (bytes + 63) / 64 * 64;
  return at;
}

int Pipeline::add(const Desc& desc, int pointer, uint64_t offset) {
  memories_.push_back({desc, pointer, offset});
  return static_cast<int>(memories_.size()) - 1;
}

void Pipeline::input(int arg, const tg_tensor& t, const Desc& inner) {
  if (expressible(t)) return input(arg, strided(t), inner);
  Pack pack;
  pack.pointer = n_pointers_++;
  pack.ndim = t.ndim;
  pack.shape.assign(t.shape, t.shape + t.ndim);
  pack.from.assign(t.strides, t.strides + t.ndim);
  pack.to = packed_strides(pack.shape);
  pack.element = t.dtype.bits / 8;
  pack.offset = reserve(static_cast<uint64_t>(plugin::numel(t)) * pack.element);
  packs_.push_back(pack);
  const Desc dense(dims_of(t), dnnl_type(t.dtype), pack.to);
  const int user = add(dense, -1, pack.offset);
  int memory = user;
  if (dense != inner) {
    memory = add(inner, -1, reserve(inner.get_size()));
    before_.push_back({dnnl::reorder(dnnl::reorder::primitive_desc(engine(), dense, engine(), inner)),
                       {{DNNL_ARG_FROM, user}, {DNNL_ARG_TO, memory}}});
  }
  args_.push_back({arg, memory});
  ports_.push_back(memory);
}

void Pipeline::input(int arg, const Desc& user, const Desc& inner) {
  const int outside = add(user, n_pointers_++, 0);
  int memory = outside;
  if (user != inner) {
    memory = add(inner, -1, reserve(inner.get_size()));
    before_.push_back({dnnl::reorder(dnnl::reorder::primitive_desc(engine(), user, engine(), inner)),
                       {{DNNL_ARG_FROM, outside}, {DNNL_ARG_TO, memory}}});
  }
  args_.push_back({arg, memory});
  ports_.push_back(memory);
}

void Pipeline::output(int arg, const Desc& user, const Desc& inner) {
  const int outside = add(user, n_pointers_++, 0);
  int memory = outside;
  if (user != inner) {
    memory = add(inner, -1, reserve(inner.get_size()));
    after_.push_back({dnnl::reorder(dnnl::reorder::primitive_desc(engine(), inner, engine(), user)),
                      {{DNNL_ARG_FROM, memory}, {DNNL_ARG_TO, outside}}});
  }
  args_.push_back({arg, memory});
  ports_.push_back(memory);
}

void Pipeline::temp(int arg, const Desc& inner) {
  const int memory = add(inner, -1, reserve(inner.get_size()));
  args_.push_back({arg, memory});
  ports_.push_back(memory);
}

void Pipeline::constant(int arg, const Desc& inner, float value) {
  temp(arg, inner);
  fills_.push_back({memories_.back().offset, static_cast<int64_t>(inner.get_size() / sizeof(float)), value});
}

void Pipeline::share(int arg, int index) { args_.push_back({arg, ports_.at(index)}); }

void Pipeline::finish(const dnnl::primitive& p) {
  steps_ = before_;
  steps_.push_back({p, args_});
  steps_.insert(steps_.end(), after_.begin(), after_.end());
}

Pipeline::Context* Pipeline::make_context() const {
  auto context = std::make_unique<Context>();
  for (const Memory& m : memories_) context->memories.emplace_back(m.desc, engine(), nullptr);
  for (const Step& step : steps_) {
    auto& list = context->args.emplace_back();
    for (const auto& [arg, memory] : step.args) list.push_back({arg, context->memories[memory].get()});
  }
  return context.release();
}

void Pipeline::run(void* const* pointers, void* workspace) const {
  const ThreadScope threads(threads_);
  char* const base = static_cast<char*>(workspace);
  std::unique_ptr<Context> context(idle_.exchange(nullptr, std::memory_order_acquire));
  if (!context) context.reset(make_context());
  for (const Pack& p : packs_) {
    const int64_t* const strides[2] = {p.from.data(), p.to.data()};
    copy_rows(static_cast<const char*>(pointers[p.pointer]), base + p.offset, p.element,
              plugin::Walk<2>(p.ndim, p.shape.data(), strides));
  }
  for (const Fill& f : fills_) std::fill_n(reinterpret_cast<float*>(base + f.offset), f.count, f.value);
  for (size_t i = 0; i < memories_.size(); ++i) {
    const Memory& m = memories_[i];
    dnnl_memory_set_data_handle(context->memories[i].get(), m.pointer >= 0 ? pointers[m.pointer] : base + m.offset);
  }
  const dnnl_stream_t stream = thread_stream();
  for (size_t i = 0; i < steps_.size(); ++i) {
    const auto& args = context->args[i];
    const dnnl_status_t status =
        dnnl_primitive_execute(steps_[i].primitive.get(), stream, static_cast<int>(args.size()), args.data());
    if (status != dnnl_success) {
      plugin::fail(status == dnnl_out_of_memory ? TG_RESOURCE_EXHAUSTED : TG_INTERNAL,
                   "oneDNN failed with status %d in step %zu of %zu", static_cast<int>(status), i, steps_.size());
    }
  }
  delete idle_.exchange(context.release(), std::memory_order_acq_rel);
}

}  // namespace tg::cpu
