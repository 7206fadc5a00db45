// SPDX-License-Identifier: Apache-2.0
//
// nms_keep: boxes [..., n, 4], best first, and groups -> which stay. Each box is compared with those kept so far, a block of
// them at a time, until one suppresses it: n times the number kept at most. A row of boxes is sequential; rows are not
// split over threads. The arithmetic is iou_above's, step for step.
#include <algorithm>

#include "kernels/kernels.h"

namespace tg::cpu {
namespace {

constexpr int64_t kBlock = 32;

template <class T>
struct Kept {
  T *x1, *y1, *x2, *y2, *area;
  int64_t* group;
  int64_t count = 0;

  Kept(char* space, int64_t n) {
    T* at = reinterpret_cast<T*>(space + n * int64_t(sizeof(int64_t)));
    group = reinterpret_cast<int64_t*>(space);
    for (T** side : {&x1, &y1, &x2, &y2, &area}) *side = at, at += n;
  }

  bool suppresses(const T* box, T box_area, int64_t box_group, T threshold) const {
    for (int64_t first = 0; first < count; first += kBlock) {
      int hit = 0;
      const int64_t last = std::min(count, first + kBlock);
      for (int64_t i = first; i < last; ++i) {
        const T w = std::max(std::min(x2[i], box[2]) - std::max(x1[i], box[0]), T(0));
        const T h = std::max(std::min(y2[i], box[3]) - std::max(y1[i], box[1]), T(0));
        const T inner = w * h, iou = inner / (area[i] + box_area - inner);
        hit |= int(iou > threshold) & int(group[i] == box_group);
      }
      if (hit) return true;
    }
    return false;
  }

  void add(const T* box, T box_area, int64_t box_group) {
    x1[count] = box[0], y1[count] = box[1], x2[count] = box[2], y2[count] = box[3];
    area[count] = box_area, group[count] = box_group;
    ++count;
  }
};

class NmsKeep final : public Plan {
 public:
  explicit NmsKeep(const tg_call& call) : dtype_(call.inputs[0]->dtype), threshold_(call.attrs[0].v.f) {}

  uint64_t workspace(const tg_run& r) override {
    const tg_tensor& x = *r.inputs[0];
    return uint64_t(x.shape[x.ndim - 2]) * (5 * dtype_.bits / 8 + sizeof(int64_t));
  }

  void run(const tg_run& r) override {
    plugin::visit(dtype_, [&](auto tag) {
      using T = typename decltype(tag)::type;
      if constexpr (std::is_floating_point_v<T>) rows<T>(r);
    });
  }

 private:
  template <class T>
  void rows(const tg_run& r) const {
    const tg_tensor& x = *r.inputs[0];
    const int64_t n = x.shape[x.ndim - 2], all = plugin::numel(x) / 4;
    const T* boxes = plugin::data<T>(x);
    const int64_t* groups = r.n_inputs > 1 && (r.inputs_present >> 1 & 1) ? plugin::data<int64_t>(*r.inputs[1]) : nullptr;
    plugin::boolean* keep = plugin::data<plugin::boolean>(*r.outputs[0]);
    for (int64_t row = 0; row < all; row += n) {
      Kept<T> kept(static_cast<char*>(r.workspace), n);
      for (int64_t i = row; i < row + n; ++i) {
        const T* box = boxes + 4 * i;
        const T area = (box[2] - box[0]) * (box[3] - box[1]);
        const int64_t group = groups ? groups[i] : 0;
        const bool stays = !kept.suppresses(box, area, group, T(threshold_));
        if (stays) kept.add(box, area, group);
        keep[i] = plugin::boolean(stays);
      }
    }
  }

  tg_dtype dtype_;
  double threshold_;
};

}  // namespace

std::unique_ptr<Plan> make_nms_keep(Instance&, const tg_call& call) { return std::make_unique<NmsKeep>(call); }

}  // namespace tg::cpu
