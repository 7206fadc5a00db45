// SPDX-License-Identifier: Apache-2.0
#include "launch.h"

#include <cstring>

namespace tg::chaos {
namespace {

// Bytes from the first element to the end of the last.
uint64_t extent(const tg_tensor& t) {
  uint64_t last = 0;
  for (int32_t i = 0; i < t.ndim; ++i) last += uint64_t(t.shape[i] - 1) * uint64_t(t.strides[i]);
  return ((last + 1) * t.dtype.bits * t.dtype.lanes + 7) / 8;
}

uint64_t array_bytes(const tg_attr& a) {
  switch (a.kind) {
    case TG_ATTR_INTS:
    case TG_ATTR_FLOATS:
    case TG_ATTR_BITS:
      return uint64_t(a.n) * 8;
    case TG_ATTR_STRING:
      return uint64_t(a.n) + 1;
    case TG_ATTR_PROGRAM:
      return uint64_t(a.n) * sizeof(tg_map_inst);
    default:
      return 0;  // the value lies in the attribute itself
  }
}

bool present(uint64_t mask, uint32_t i) { return i >= 64 || (mask >> i & 1); }

}  // namespace

Launch::Launch(Device& device, const std::string& op, std::shared_ptr<plugin::Plan> plan, const tg_run& run, Fate fate)
    : Task(run.launch_id), device_(device), op_(op), plan_(std::move(plan)), fate_(fate), run_(run) {
  try {
    for (uint32_t i = 0; i < run.n_inputs; ++i)
      inputs_.push_back(keep(run.inputs[i], present(run.inputs_present, i), "input", i));
    for (uint32_t i = 0; i < run.n_outputs; ++i)
      outputs_.push_back(keep(run.outputs[i], present(run.outputs_wanted, i), "output", i));
    if (run.workspace_bytes) {
      const std::string what = op_ + ": workspace";
      workspace_ = device.memory.find(run.workspace, run.workspace_offset, run.workspace_bytes, what.c_str());
      if (run.workspace_offset % kAlignment)
        plugin::fail(TG_INVALID_ARGUMENT, "%s: expected an offset that is a multiple of 64, got %llu", what.c_str(),
                     (unsigned long long)run.workspace_offset);
    }
  } catch (const plugin::Failure& e) {
    refused_ = e;
  }
  keep_attrs(run);
  run_.inputs = inputs_.data();
  run_.outputs = outputs_.data();
  run_.attrs = attrs_.data();
  run_.threads = 1;
  if (workspace_) run_.workspace = workspace_->address();
}

const tg_tensor* Launch::keep(const tg_tensor* tensor, bool present, const char* kind, uint32_t index) {
  if (!present) return nullptr;
  const std::string what = op_ + ": " + kind + " " + std::to_string(index);
  if (!tensor) plugin::fail(TG_INVALID_ARGUMENT, "%s is NULL but the mask says it is there", what.c_str());
  if (tensor->ndim < 0 || tensor->ndim > TG_MAX_RANK)
    plugin::fail(TG_INVALID_ARGUMENT, "%s: expected a rank of 0 to 16, got %d", what.c_str(), tensor->ndim);
  if (plugin::numel(*tensor) <= 0) plugin::fail(TG_INVALID_ARGUMENT, "%s has no elements", what.c_str());
  Argument& a = arguments_.emplace_back();
  a.tensor = *tensor;
  for (int32_t i = 0; i < tensor->ndim; ++i) {
    a.dims[i] = tensor->shape[i];
    a.dims[TG_MAX_RANK + i] = tensor->strides[i];
  }
  a.tensor.shape = a.dims;
  a.tensor.strides = a.dims + TG_MAX_RANK;
  a.block = device_.memory.find(tensor->data, tensor->byte_offset, extent(*tensor), what.c_str());
  return &a.tensor;
}

void Launch::keep_attrs(const tg_run& run) {
  attrs_.assign(run.attrs, run.attrs + run.n_attrs);
  for (tg_attr& a : attrs_) {
    const uint64_t bytes = array_bytes(a);
    if (bytes == 0) continue;
    auto& array = arrays_.emplace_back((bytes + 7) / 8);
    std::memcpy(array.data(), a.v.ints, bytes);  // the union's pointers are one
    a.v.bits = array.data();
  }
}

void Launch::run() {
  if (fate_ == kLoseDevice) {
    device_.lose();
    throw plugin::Failure(TG_DEVICE_LOST, device_.lost_message().c_str());
  }
  if (fate_ == kFail) plugin::fail(TG_INTERNAL, "%s: failure asked for by TENGEN_CHAOS_FAIL_LAUNCH", op_.c_str());
  if (refused_) throw *refused_;
  for (Argument& a : arguments_) {
    if (a.block->freed())
      plugin::fail(TG_FAILED_PRECONDITION, "%s: a block of %llu bytes was freed before the launch that uses it ran",
                   op_.c_str(), (unsigned long long)a.block->bytes());
    a.tensor.data = a.block->address();
    pins().push_back(std::move(a.block));
  }
  if (workspace_) {
    std::memset(workspace_->address() + run_.workspace_offset, kPoison, run_.workspace_bytes);
    pins().push_back(std::move(workspace_));
  }
  plan_->run(run_);
}

}  // namespace tg::chaos
