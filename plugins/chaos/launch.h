// SPDX-License-Identifier: Apache-2.0
//
// A kernel launch as a task: everything that the run block points to is copied when plan_run is called, for the host's
// arrays are gone when the stream's thread gets to it.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <vector>

#include "device.h"

namespace tg::chaos {

class Launch : public Task {
 public:
  enum Fate { kRun, kFail, kLoseDevice };
  Launch(Device& device, const std::string& op, std::shared_ptr<plugin::Plan> plan, const tg_run& run, Fate fate);
  void run() override;

 private:
  // A tensor whose data is still a handle, its block, and room for the shape and strides.
  struct Argument {
    tg_tensor tensor;
    BlockPtr block;
    int64_t dims[2 * TG_MAX_RANK];
  };
  const tg_tensor* keep(const tg_tensor* tensor, bool present, const char* kind, uint32_t index);
  void keep_attrs(const tg_run& run);

  Device& device_;
  const std::string op_;
  const std::shared_ptr<plugin::Plan> plan_;  // the host may destroy its plan while launches are queued
  const Fate fate_;
  tg_run run_;
  std::deque<Argument> arguments_;  // a deque: tensors are pointed to
  std::vector<const tg_tensor*> inputs_, outputs_;
  std::vector<tg_attr> attrs_;
  std::deque<std::vector<uint64_t>> arrays_;  // of attributes
  BlockPtr workspace_;
  std::optional<plugin::Failure> refused_;  // the first bad argument; reported by the stream
};

}  // namespace tg::chaos
