// SPDX-License-Identifier: Apache-2.0
//
// avg_pool and its gradient. The divisor of a window counts the taps inside x, or with count_include_pad those inside
// the padded x; taps past the end padding (ceil mode) never count.
//
// Both directions work on one row of x or y at a time, in the type of computation: element (w, c) of a row lies at
// w * channels + c, with one channel or a block of neighbouring ones.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/avg_pool.cc"
#include <hwy/foreach_target.h>
//
#include <hwy/highway.h>

#include "kernels/pool.h"

#ifndef TENGEN_PLUGINS_CPU_AVG_POOL_ARGS_
#define TENGEN_PLUGINS_CPU_AVG_POOL_ARGS_
namespace tg::cpu {
struct AvgPoolArgs {
  Window window;
  Planes x, y;
  tg_dtype dtype;
  std::vector<double> inverse[3];      // per axis and output position: 1 / taps counted; 1 / 0 never multiplies a tap
  std::vector<Range> windows_over[3];  // per axis and input position: the outputs whose window holds it
};
}  // namespace tg::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace tg::cpu::HWY_NAMESPACE {

template <int kStep, class A, class B>
HWY_INLINE void AddStrided(A* HWY_RESTRICT to, int64_t to_step, const B* HWY_RESTRICT from, int64_t from_step,
                           int64_t n) {
  if (kStep) from_step = kStep;
  for (int64_t i = 0; i < n; ++i) to[i * to_step] += A(from[i * from_step]);
}

// With kOne there is one channel, and the compiler knows it.
template <bool kOne, class T>
void Forward(const AvgPoolArgs& p, const T* x, T* y, int64_t channels) {
  using C = plugin::compute_t<T>;
  if (kOne) channels = 1;
  thread_local std::vector<C> sums;
  const Window& window = p.window;
  const int64_t columns = p.y.size[2], step = window.stride[2] * p.x.step[2];
  sums.resize(static_cast<size_t>(columns * channels));
  C* const sum = sums.data();
  for (int64_t d = 0; d < p.y.size[0]; ++d) {
    const Range td = taps_inside(window, 0, d, p.x.size[0]);
    for (int64_t h = 0; h < p.y.size[1]; ++h) {
      const Range th = taps_inside(window, 1, h, p.x.size[1]);
      std::fill_n(sum, columns * channels, C(0));
      for (int64_t a = td.first; a < td.last; ++a) {
        for (int64_t b = th.first; b < th.last; ++b) {
          const T* row = x + window.at(0, d, a) * p.x.step[0] + window.at(1, h, b) * p.x.step[1];
          for (int64_t t = 0; t < window.kernel[2]; ++t) {
            const Range inside = outputs_inside(window, 2, t, p.x.size[2], columns);
            const T* from = row + window.at(2, inside.first, t) * p.x.step[2];
            const int64_t n = inside.last - inside.first;
            if (!kOne) {
              for (int64_t w = 0; w < n; ++w) {
                AddStrided<1>(sum + (inside.first + w) * channels, 1, from + w * step, 1, channels);
              }
            } else if (step == 1) {
              AddStrided<1>(sum + inside.first, 1, from, 1, n);
            } else if (step == 2) {
              AddStrided<2>(sum + inside.first, 1, from, 2, n);
            } else {
              AddStrided<0>(sum + inside.first, 1, from, step, n);
            }
          }
        }
      }
      T* to = y + d * p.y.step[0] + h * p.y.step[1];
      for (int64_t w = 0; w < columns; ++w) {
        const C scale = C(p.inverse[0][d] * p.inverse[1][h] * p.inverse[2][w]);
        for (int64_t c = 0; c < channels; ++c) to[w * p.y.step[2] + c * p.y.c_step] = T(sum[w * channels + c] * scale);
      }
    }
  }
}

// Every row of dx gathers from the rows of dy whose windows reach it, so that 16-bit types round once.
template <bool kOne, class T>
void Backward(const AvgPoolArgs& p, const T* dy, T* dx, int64_t channels) {
  using C = plugin::compute_t<T>;
  if (kOne) channels = 1;
  thread_local std::vector<C> sums, scaled_row;
  const Window& window = p.window;
  const int64_t columns = p.y.size[2], width = p.x.size[2];
  sums.resize(static_cast<size_t>(width * channels));
  scaled_row.resize(static_cast<size_t>(columns * channels));
  C *const sum = sums.data(), *const scaled = scaled_row.data();
  for (int64_t d = 0; d < p.x.size[0]; ++d) {
    const Range od = p.windows_over[0][d];
    for (int64_t h = 0; h < p.x.size[1]; ++h) {
      const Range oh = p.windows_over[1][h];
      std::fill_n(sum, width * channels, C(0));
      for (int64_t i = od.first; i < od.last; ++i) {
        for (int64_t j = oh.first; j < oh.last; ++j) {
          const T* from = dy + i * p.y.step[0] + j * p.y.step[1];
          for (int64_t w = 0; w < columns; ++w) {
            const C scale = C(p.inverse[0][i] * p.inverse[1][j] * p.inverse[2][w]);
            for (int64_t c = 0; c < channels; ++c) {
              scaled[w * channels + c] = C(from[w * p.y.step[2] + c * p.y.c_step]) * scale;
            }
          }
          for (int64_t t = 0; t < window.kernel[2]; ++t) {
            const Range inside = outputs_inside(window, 2, t, width, columns);
            C* to = sum + window.at(2, inside.first, t) * channels;
            const C* at = scaled + inside.first * channels;
            const int64_t n = inside.last - inside.first;
            if (!kOne) {
              for (int64_t w = 0; w < n; ++w) {
                AddStrided<1>(to + w * window.stride[2] * channels, 1, at + w * channels, 1, channels);
              }
            } else {
              window.stride[2] == 2 ? AddStrided<1>(to, 2, at, 1, n) : AddStrided<1>(to, window.stride[2], at, 1, n);
            }
          }
        }
      }
      T* row = dx + d * p.x.step[0] + h * p.x.step[1];
      for (int64_t w = 0; w < width; ++w) {
        for (int64_t c = 0; c < channels; ++c) row[w * p.x.step[2] + c * p.x.c_step] = T(sum[w * channels + c]);
      }
    }
  }
}

// Channels [c0, c1) of image n.
void AvgPoolPlanes(const AvgPoolArgs& p, const void* from, void* to, bool backward, int64_t n, int64_t c0, int64_t c1) {
  plugin::visit(p.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    if constexpr (plugin::is_floating<T>) {
      const int64_t x_at = n * p.x.n_step + c0 * p.x.c_step, y_at = n * p.y.n_step + c0 * p.y.c_step;
      const T* source = static_cast<const T*>(from) + (backward ? y_at : x_at);
      T* target = static_cast<T*>(to) + (backward ? x_at : y_at);
      const bool one = c1 - c0 == 1;
      if (backward) {
        one ? Backward<true>(p, source, target, 1) : Backward<false>(p, source, target, c1 - c0);
      } else {
        one ? Forward<true>(p, source, target, 1) : Forward<false>(p, source, target, c1 - c0);
      }
    }
  });
}

}  // namespace tg::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace tg::cpu {
namespace {

HWY_EXPORT(AvgPoolPlanes);

class AvgPool : public Plan {
 public:
  // `x` and `y` are the tensors on the input's and the output's side of the pooling, whichever way data flows.
  AvgPool(const Instance& instance, const tg_call& call, const tg_tensor& x, const tg_tensor& y, bool backward)
      : host_(instance.host),
        args_{Window(call, x.ndim, nullptr), Planes(x), Planes(y), x.dtype, {}, {}},
        backward_(backward) {
    plugin::visit(x.dtype, [&](auto tag) {
      if (!plugin::is_floating<typename decltype(tag)::type>) {
        plugin::fail(TG_UNIMPLEMENTED, "[%s] expected floats, got %s; cast first", call.op,
                     plugin::dtype_name(x.dtype));
      }
    });
    const bool include_pad = call.attrs[3].v.i != 0;
    const Window& window = args_.window;
    for (int axis = 0; axis < 3; ++axis) {
      const int64_t size = args_.x.size[axis], outputs = args_.y.size[axis], k = window.kernel[axis];
      for (int64_t o = 0; o < outputs; ++o) {
        const Range inside = taps_inside(window, axis, o, size);
        const int64_t padded = std::min(k, size + window.end[axis] - window.at(axis, o, 0));
        args_.inverse[axis].push_back(1.0 / static_cast<double>(include_pad ? padded : inside.last - inside.first));
      }
      for (int64_t i = 0; i < size; ++i) {
        const int64_t p = i + window.begin[axis], s = window.stride[axis], first = p < k ? 0 : (p - k) / s + 1;
        args_.windows_over[axis].push_back({first, std::min(outputs, p / s + 1)});
      }
    }
  }

  void run(const tg_run& r) override {
    const void* from = plugin::data<void>(*r.inputs[0]);
    void* to = plugin::data<void>(*r.outputs[0]);
    const int64_t* k = args_.window.kernel;
    for_planes(host_, r.threads, args_.x, args_.y.positions() * k[0] * k[1] * k[2] / 2,
               [&](int64_t n, int64_t c0, int64_t c1) {
                 HWY_DYNAMIC_DISPATCH(AvgPoolPlanes)(args_, from, to, backward_, n, c0, c1);
               });
  }

 private:
  const tg_host* host_;
  AvgPoolArgs args_;
  bool backward_;
};

}  // namespace

std::unique_ptr<Plan> make_avg_pool(Instance& instance, const tg_call& call) {
  return std::make_unique<AvgPool>(instance, call, *call.inputs[0], *call.outputs[0], false);
}
std::unique_ptr<Plan> make_avg_pool_backward(Instance& instance, const tg_call& call) {
  return std::make_unique<AvgPool>(instance, call, *call.outputs[0], *call.inputs[0], true);
}

}  // namespace tg::cpu
#endif
