// SPDX-License-Identifier: Apache-2.0
// Explanations: who would run a call and why; which plugin covers which op.
#include <tengen/call_log.h>

#include <algorithm>

#include "dispatch/call.h"

namespace tg {
namespace {

// Why the chosen one ranks first.
void explain(std::vector<WhyCandidate>& candidates, const Op& op, Device* device) {
  for (WhyCandidate& c : candidates)
    if (c.chosen)
      for (const auto& [plugin, reason] : device->kernels(op.map ? "map" : op.kernel).ranks)
        if (plugin->name == c.plugin) c.reason += " (" + reason + ")";
}

Why explained(Why w, const Op& op, Device* device) {
  explain(w.candidates, op, device);
  for (WhyStep& s : w.steps)
    if (const Op* o = find_op(s.op)) explain(s.candidates, *o, device);
  return w;
}

Why find_out(const Op& op, std::span<const TensorSpec> inputs, std::span<const Attr> attrs, Device* device) {
  Why out;
  out.op = op.name;
  out.device = device->name;
  // The call itself, on tensors without memory, as plans are made: the choice depends on shapes and dtypes alone.
  GradMode off(false);
  const NoMemory none;
  std::vector<Arg> args;
  Tensors in;
  for (const TensorSpec& s : inputs) {
    in.push_back(Tensor::empty(concrete(s.shape), s.dtype, device));
    args.push_back(in.back());
  }
  while (args.size() < op.inputs.size() && op.inputs[args.size()].optional) args.emplace_back(), in.emplace_back();  // as calls leave them out
  Attrs full = complete_attrs(op, attrs);
  if (op.canonical) op.canonical(args, full);
  if (op.map) {
    auto plan = select_map(device, op.name.c_str(), lower_map(op, args, full), map_shape(args, broadcast_shape(op, args)), &out.candidates);
    out.verdict = plan->stages.empty() ? (device->host ? "none" : "fallback") : "kernel";
    return out;
  }
  if (op.view) {
    out.verdict = "view";
    return out;
  }
  if (!op.kernel.empty()) {
    std::vector<const TensorSpec*> specs;
    for (const TensorSpec& s : inputs) specs.push_back(&s);
    specs.resize(args.size(), nullptr);
    const Specs result = op.infer(Inference{op, specs, full});
    Tensors outs;
    std::vector<const tg_tensor*> in_desc, out_desc;
    for (const Arg& a : args) in_desc.push_back(a.t.defined() ? &a.t.impl()->desc : nullptr);
    for (size_t i = 0; i < result.size(); ++i) outs.push_back(Tensor::empty(concrete(result[i].shape), result[i].dtype, device));
    for (const Tensor& t : outs) out_desc.push_back(&t.impl()->desc);
    AbiAttrs abi;
    marshal(op, full, &abi);
    KernelRequest request = kernel_request(op, device, in, full, in_desc, out_desc, abi.plan);
    request.free_results = true;
    auto plan = select_kernel(request, &out.candidates);
    if (plan) {
      out.verdict = "kernel";
      return out;
    }
  }
  if (!op.decompose) {
    out.verdict = device->host ? "none" : "fallback";
    return out;
  }
  out.verdict = "decomposition";
  Why* old = set_trace(&out);
  try {
    call(op, args, attrs, device, ~uint64_t(0));
  } catch (const Error&) {
    set_trace(old);
    if (!none.was_read()) throw;  // else: how it goes on depends on values
  } catch (...) {
    set_trace(old);
    throw;
  }
  set_trace(old);
  if (!out.steps.empty() && out.steps[0].op == op.name && out.steps[0].how == "decomposition") out.steps.erase(out.steps.begin());
  return out;
}

}  // namespace

Why why(const Op& op, std::span<const TensorSpec> inputs, std::span<const Attr> attrs, Device* device) {
  return explained(find_out(op, inputs, attrs, device), op, device);
}

std::string kernel_name_problem(std::string_view op) {
  if (op == "reorder") return "";  // makes plain what is in a private layout
  std::vector<std::string> names;
  for (const Op* o : op_table()) names.push_back(o->map ? "map" : o->kernel);
  if (std::find(names.begin(), names.end(), op) != names.end()) return "";
  const std::string what = "rows for '" + std::string(op) + "' are never asked for: ";
  if (const Op* o = find_op(op))
    return what + (o->map    ? "the op is a program of opcodes, which rows for 'map' run"
                   : o->view ? "the op only makes a view"
                             : "the op is always made of others");
  const std::string near = nearest_name(op, names);
  return what + "this version has no such op" + (near.empty() ? "" : "; did you mean '" + near + "'?");
}

std::vector<CoverageCell> coverage() {
  std::vector<CoverageCell> out;
  for (const Op* op : op_table())
    for (const registry::LoadedPlugin* plugin : Runtime::get().registry.loaded()) {
      if (!plugin->brings_kernels()) continue;
      const char* state = "no";
      if (op->view) state = "view";
      else if (!plugin->rows_for(op->map ? "map" : op->kernel).empty()) state = "kernel";
      else if (op->decompose) state = "decomposes";
      out.push_back({op->name, plugin->name, state});
    }
  return out;
}

}  // namespace tg
