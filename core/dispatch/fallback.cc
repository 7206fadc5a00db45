// SPDX-License-Identifier: Apache-2.0
// What happens when a device has no kernel for a primitive: the call runs in host memory, with copies, and is counted. It is
// never silent: under each policy but error (TENGEN_FALLBACK) a table follows at exit; warn also says so at the first call.
#include <tengen/plugins.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>

#include "dispatch/call.h"
#include "dispatch/capture.h"

namespace tg {
namespace {

struct State {
  std::mutex mutex;
  std::atomic<FallbackPolicy> policy = FallbackPolicy::warn;
  std::map<std::pair<std::string, std::string>, FallbackRow> rows;
  bool printed = false;
  State() {
    const char* v = std::getenv("TENGEN_FALLBACK");
    if (!v) return;
    if (!std::strcmp(v, "error")) policy = FallbackPolicy::error;
    else if (!std::strcmp(v, "allow")) policy = FallbackPolicy::allow;
    else if (std::strcmp(v, "warn")) std::fprintf(stderr, "tengen warning: TENGEN_FALLBACK: expected error, warn or allow, got %s\n", v);
  }
};
State& state() {
  static State& s = *new State();
  return s;
}

}  // namespace

namespace {

// What the op would give, without memory.
Tensors results_of(const Op& op, std::span<const Arg> inputs, std::span<const Attr> attrs, std::span<const Tensor> outs, Device* device,
                   uint64_t wanted) {
  Specs specs;
  if (op.map) {
    Shape shape;
    for (const Arg& a : inputs)
      if (a.kind == Arg::tensor) shape = broadcast(op.name.c_str(), shape, symbolic(a.t.shape()));
    const auto program = lower_map(op, inputs, complete_attrs(op, attrs));
    for (DType t : program.composed ? program.results : program.output_dtypes) specs.push_back({t, shape});
  } else {
    std::vector<TensorSpec> in(inputs.size());
    std::vector<const TensorSpec*> pointers(inputs.size(), nullptr);
    for (size_t i = 0; i < inputs.size(); ++i)
      if (inputs[i].kind == Arg::tensor) in[i] = {inputs[i].t.dtype(), symbolic(inputs[i].t.shape())}, pointers[i] = &in[i];
    specs = op.infer(Inference{op, pointers, attrs});
  }
  Tensors results(specs.size());
  for (size_t i = 0; i < specs.size(); ++i) {
    if (i < outs.size() && outs[i].defined()) results[i] = outs[i];
    else if (i >= op.outputs.size() || wanted >> i & 1) results[i] = Tensor::empty(concrete(specs[i].shape), specs[i].dtype, device);
  }
  return results;
}

}  // namespace

void set_fallback_policy(FallbackPolicy policy) { state().policy = policy; }
FallbackPolicy fallback_policy() { return state().policy; }
std::vector<FallbackRow> fallback_table() {
  std::lock_guard lock(state().mutex);
  std::vector<FallbackRow> out;
  for (auto& [key, row] : state().rows) out.push_back(row);
  return out;
}

void print_fallbacks() {
  if (forked()) return;  // the rows are the parent's
  std::vector<FallbackRow> rows = fallback_table();
  {
    std::lock_guard lock(state().mutex);
    if (rows.empty() || state().printed) return;
    state().printed = true;
  }
  std::sort(rows.begin(), rows.end(), [](const FallbackRow& a, const FallbackRow& b) { return a.ms > b.ms; });
  std::fprintf(stderr, "tengen: these ran in host memory because their device has no kernel for them:\n  %-24s %-16s %8s %10s %10s\n",
               "op", "device", "calls", "MB copied", "ms");
  for (const FallbackRow& r : rows)
    std::fprintf(stderr, "  %-24s %-16s %8llu %10.2f %10.2f\n", r.op.c_str(), r.device.c_str(), (unsigned long long)r.count,
                 double(r.bytes) / 1e6, r.ms);
}

Tensors call_fallback(const Op& op, std::span<const Arg> inputs, std::span<const Attr> attrs, std::span<const Tensor> outs,
                      Device* device, uint64_t wanted) {
  std::string dtypes;
  for (const Arg& a : inputs)
    if (a.kind == Arg::tensor) dtypes += std::string(dtypes.empty() ? "" : " ") + name_of(a.t.dtype());
  if (device->host)
    raise(ErrorKind::not_implemented, "[", op.name, "] expected a plugin with a kernel for ", dtypes, " in host memory, found none",
          op.map ? "" : " (op " + op.kernel + ")", "; see `tengen why ", op.name, "` and `tengen plugins`");
  const FallbackPolicy policy = fallback_policy();
  if (policy == FallbackPolicy::error)
    raise(ErrorKind::not_implemented, "[", op.name, "] expected a kernel for ", dtypes, " on ", device->name,
          ", found none, and the fallback policy is error; set TENGEN_FALLBACK=warn to run it in host memory");
  if (Capture* capture = capturing()) {
    Tensors results = results_of(op, inputs, attrs, outs, device, wanted);
    capture->fallback(op, inputs, attrs, results);
    return results;
  }
  const auto start = std::chrono::steady_clock::now();
  uint64_t bytes = 0;
  auto to_host = [&](const Tensor& t) {
    bytes += t.nbytes();
    return copy_to_device(t, host_device());
  };
  std::vector<Arg> host_in;
  for (const Arg& a : inputs) host_in.push_back(a.kind == Arg::tensor ? Arg(to_host(a.t)) : a);
  Tensors host_outs;
  for (const Tensor& t : outs) host_outs.push_back(t.defined() ? to_host(t) : Tensor());
  GradMode off(false);
  Tensors results = op.map ? call_map(op, host_in, attrs, host_outs, host_device())
                           : call_kernel(op, host_in, attrs, host_outs, host_device(), wanted);
  for (size_t i = 0; i < results.size(); ++i) {
    if (!results[i].defined()) continue;
    bytes += results[i].nbytes();
    Tensor back = copy_to_device(results[i], device);
    if (i < outs.size() && outs[i].defined()) {
      const bool movable = op.kernel != "copy" || outs[i].is_contiguous();  // else writing needs a copy kernel
      if (movable) write_into(outs[i], back);
      else raise(ErrorKind::not_implemented, "[", op.name, "] expected a copy kernel on ", device->name, "; every plugin with a device must bring one");
      results[i] = outs[i];
    } else {
      results[i] = back;
    }
  }
  const double ms = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
  counters().fallbacks.fetch_add(1, std::memory_order_relaxed);
  bool first;
  {
    std::lock_guard lock(state().mutex);
    FallbackRow& row = state().rows[{op.name, device->name}];
    first = row.count == 0;
    row.op = op.name;
    row.device = device->name;
    ++row.count;
    row.bytes += bytes;
    row.ms += ms;
    // Also for programs that never call shutdown().
    if (static bool registered = false; !registered) registered = std::atexit(print_fallbacks) == 0;
  }
  if (first && policy == FallbackPolicy::warn)
    std::fprintf(stderr, "tengen warning: [%s] %s has no kernel for %s: it runs in host memory, with copies (a table follows at exit)\n",
                 op.name.c_str(), device->name.c_str(), dtypes.c_str());
  return results;
}

}  // namespace tg
