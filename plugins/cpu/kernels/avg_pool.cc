// SPDX-License-Identifier: Apache-2.0
//
// avg_pool and its gradient. The divisor of a window counts the taps inside x, or with count_include_pad those inside the
// padded x; taps past the end padding (ceil mode) never count.
#include "kernels/pool.h"

namespace tg::cpu {
namespace {

class AvgPool : public Plan {
 public:
  // `x` and `y` are the tensors on the input's and the output's side of the pooling, whichever way data flows.
  AvgPool(const Instance& instance, const tg_call& call, const tg_tensor& x, const tg_tensor& y, bool backward)
      : host_(instance.host),
        window_(call, x.ndim, nullptr),
        x_(x),
        y_(y),
        dtype_(x.dtype),
        include_pad_(call.attrs[3].v.i != 0),
        backward_(backward) {}

  void run(const tg_run& r) override {
    plugin::visit(dtype_, [&](auto tag) {
      using T = typename decltype(tag)::type;
      if constexpr (plugin::is_floating<T>) {
        const T* from = plugin::data<const T>(*r.inputs[0]);
        T* to = plugin::data<T>(*r.outputs[0]);
        backward_ ? spread(from, to, r.threads) : pool(from, to, r.threads);
      } else {
        plugin::fail(TG_UNIMPLEMENTED, "[avg_pool] expected floats, got %s; cast x first", plugin::dtype_name(dtype_));
      }
    });
  }

 private:
  int64_t counted(int axis, int64_t o, Taps inside) const {
    if (!include_pad_) return inside.last - inside.first;
    const int64_t start = window_.at(axis, o, 0);
    return std::min(window_.kernel[axis], x_.size[axis] + window_.end[axis] - start);
  }

  template <class T>
  void pool(const T* x, T* y, int threads) const {
    using C = plugin::compute_t<T>;
    const int64_t work = y_.positions() * window_.kernel[0] * window_.kernel[1] * window_.kernel[2];
    for_planes(host_, threads, x_, work, [&](int64_t n, int64_t c0, int64_t c1) {
      const int64_t channels = c1 - c0;
      const T* xp = x + n * x_.n_step + c0 * x_.c_step;
      T* yp = y + n * y_.n_step + c0 * y_.c_step;
      C sum[64];
      for (int64_t d = 0; d < y_.size[0]; ++d) {
        const Taps td = window_.taps(0, d, x_.size[0]);
        for (int64_t h = 0; h < y_.size[1]; ++h) {
          const Taps th = window_.taps(1, h, x_.size[1]);
          for (int64_t w = 0; w < y_.size[2]; ++w) {
            const Taps tw = window_.taps(2, w, x_.size[2]);
            std::fill_n(sum, channels, C(0));
            for (int64_t a = td.first; a < td.last; ++a) {
              for (int64_t b = th.first; b < th.last; ++b) {
                const T* row = xp + window_.at(0, d, a) * x_.step[0] + window_.at(1, h, b) * x_.step[1];
                for (int64_t t = tw.first; t < tw.last; ++t) {
                  const T* at = row + window_.at(2, w, t) * x_.step[2];
                  for (int64_t c = 0; c < channels; ++c) sum[c] += C(at[c]);
                }
              }
            }
            const int64_t count = counted(0, d, td) * counted(1, h, th) * counted(2, w, tw);
            T* to = yp + d * y_.step[0] + h * y_.step[1] + w * y_.step[2];
            for (int64_t c = 0; c < channels; ++c) to[c * y_.c_step] = T(sum[c] / C(count));
          }
        }
      }
    });
  }

  // Every element of dx gathers from the windows that hold it, so that 16-bit types round once.
  template <class T>
  void spread(const T* dy, T* dx, int threads) const {
    using C = plugin::compute_t<T>;
    const int64_t work = x_.positions() * window_.kernel[0] * window_.kernel[1] * window_.kernel[2];
    for_planes(host_, threads, x_, work, [&](int64_t n, int64_t c0, int64_t c1) {
      const int64_t channels = c1 - c0;
      const T* from = dy + n * y_.n_step + c0 * y_.c_step;
      T* to = dx + n * x_.n_step + c0 * x_.c_step;
      C sum[64];
      for (int64_t d = 0; d < x_.size[0]; ++d) {
        const Taps od = windows_of(0, d);
        for (int64_t h = 0; h < x_.size[1]; ++h) {
          const Taps oh = windows_of(1, h);
          for (int64_t w = 0; w < x_.size[2]; ++w) {
            const Taps ow = windows_of(2, w);
            std::fill_n(sum, channels, C(0));
            for (int64_t i = od.first; i < od.last; ++i) {
              for (int64_t j = oh.first; j < oh.last; ++j) {
                for (int64_t k = ow.first; k < ow.last; ++k) {
                  const T* at = from + i * y_.step[0] + j * y_.step[1] + k * y_.step[2];
                  const C count = C(count_at(0, i) * count_at(1, j) * count_at(2, k));
                  for (int64_t c = 0; c < channels; ++c) sum[c] += C(at[c * y_.c_step]) / count;
                }
              }
            }
            T* x = to + d * x_.step[0] + h * x_.step[1] + w * x_.step[2];
            for (int64_t c = 0; c < channels; ++c) x[c] = T(sum[c]);
          }
        }
      }
    });
  }

  int64_t count_at(int axis, int64_t o) const { return counted(axis, o, window_.taps(axis, o, x_.size[axis])); }

  // The output positions [first, last) whose window holds input position i.
  Taps windows_of(int axis, int64_t i) const {
    const int64_t p = i + window_.begin[axis], k = window_.kernel[axis], s = window_.stride[axis];
    const int64_t first = p < k ? 0 : (p - k) / s + 1;
    return {first, std::min(y_.size[axis], p / s + 1)};
  }

  const tg_host* host_;
  Window window_;
  Planes x_, y_;
  tg_dtype dtype_;
  bool include_pad_, backward_;
};

}  // namespace

std::unique_ptr<Plan> make_avg_pool(Instance& instance, const tg_call& call) {
  return std::make_unique<AvgPool>(instance, call, *call.inputs[0], *call.outputs[0], false);
}
std::unique_ptr<Plan> make_avg_pool_backward(Instance& instance, const tg_call& call) {
  return std::make_unique<AvgPool>(instance, call, *call.outputs[0], *call.inputs[0], true);
}

}  // namespace tg::cpu
