// SPDX-License-Identifier: Apache-2.0
//
// The floor's `gather`: y[.., j, ..] = x[.., index[.., j, ..], ..], by element size. Where one index serves a whole row
// (an embedding), the row is copied at once.
#include "kernels/gather.h"

#include <algorithm>
#include <cstring>

#include "kernels/axes.h"
#include "kernels/kernels.h"

namespace tg::cpu {
namespace {

constexpr int64_t kGrain = 16384;

struct Pair {  // 16-byte elements
  uint64_t a, b;
};

class GatherPlan final : public Plan {
 public:
  GatherPlan(Instance& instance, const tg_call& call) : host_(instance.host) {
    const tg_dtype t = call.inputs[0]->dtype;
    bytes_ = t.bits * t.lanes / 8;
    axis_ = int(call.attrs[0].v.i);
    wide_ = call.inputs[1]->dtype.bits == 64;
    if (!is_index(call.inputs[1]->dtype))
      plugin::fail(TG_INVALID_ARGUMENT, "[gather] expected i32 or i64 indices, got %s",
                   plugin::dtype_name(call.inputs[1]->dtype));
    if (axis_ < 0 || axis_ >= call.outputs[0]->ndim)
      plugin::fail(TG_INVALID_ARGUMENT, "[gather] expected an axis in [0, %d), got %d", call.outputs[0]->ndim, axis_);
    if (bytes_ != 1 && bytes_ != 2 && bytes_ != 4 && bytes_ != 8 && bytes_ != 16)
      plugin::fail(TG_UNIMPLEMENTED, "[gather] expected elements of 1, 2, 4, 8 or 16 bytes, got %d bits",
                   t.bits * t.lanes);
  }

  void run(const tg_run& r) override {
    switch (bytes_) {
      case 1:
        return wide_ ? go<uint8_t, int64_t>(r) : go<uint8_t, int32_t>(r);
      case 2:
        return wide_ ? go<uint16_t, int64_t>(r) : go<uint16_t, int32_t>(r);
      case 4:
        return wide_ ? go<uint32_t, int64_t>(r) : go<uint32_t, int32_t>(r);
      case 8:
        return wide_ ? go<uint64_t, int64_t>(r) : go<uint64_t, int32_t>(r);
      default:
        return wide_ ? go<Pair, int64_t>(r) : go<Pair, int32_t>(r);
    }
  }

 private:
  template <class T, class I>
  void go(const tg_run& r) const {
    const tg_tensor& x = *r.inputs[0];
    const tg_tensor& index = *r.inputs[1];
    const tg_tensor& y = *r.outputs[0];
    const T* from = plugin::data<const T>(x);
    const I* at = plugin::data<const I>(index);
    T* to = plugin::data<T>(y);
    int64_t x_strides[TG_MAX_RANK];  // off the axis
    for (int d = 0; d < y.ndim; ++d) x_strides[d] = d == axis_ ? 0 : x.strides[d];
    Axes<3> axes(y.ndim, y.shape, {y.strides, index.strides, x_strides});
    axes.at_least_one();
    const int last = axes.rank - 1;
    const int64_t along = x.strides[axis_], inner = axes.inner();
    const int64_t ys = axes.step[0][last], is = axes.step[1][last], xs = axes.step[2][last];
    Indices indices(x.shape[axis_]);

    const auto row = [&](T* out, const I* i, const T* in, int64_t n) {
      if (is == 0) {
        const int64_t p = indices.position(int64_t(*i));
        if (p < 0) return;
        in += p * along;
        if (ys == 1 && xs == 1) {
          std::memcpy(out, in, size_t(n) * sizeof(T));
        } else {
          for (int64_t k = 0; k < n; ++k) out[k * ys] = in[k * xs];
        }
        return;
      }
      for (int64_t k = 0; k < n; ++k) {
        const int64_t p = indices.position(int64_t(i[k * is]));
        if (p >= 0) out[k * ys] = in[k * xs + p * along];
      }
    };
    if (last == 0) {
      plugin::parallel_for(host_, inner, kGrain, r.threads, [&](int64_t begin, int64_t end) {
        row(to + begin * ys, at + begin * is, from + begin * xs, end - begin);
      });
    } else {
      plugin::parallel_for(
          host_, axes.count(last), std::max<int64_t>(1, kGrain / inner), r.threads, [&](int64_t begin, int64_t end) {
            axes.walk(last, begin, end,
                      [&](const int64_t(&offset)[3]) { row(to + offset[0], at + offset[1], from + offset[2], inner); });
          });
    }
    indices.check("gather", axis_);
  }

  const tg_host* host_;
  int bytes_, axis_;
  bool wide_;
};

}  // namespace

std::unique_ptr<Plan> make_gather(Instance& instance, const tg_call& call) {
  return std::make_unique<GatherPlan>(instance, call);
}

}  // namespace tg::cpu
