// SPDX-License-Identifier: Apache-2.0
//
// max_pool and its gradient. The index of a maximum is its flat position in x's spatial plane: the first of equals, the
// first NaN. A window that lies wholly in the padding gives the lowest value and index -1, which the gradient skips.
//
// The inner loop runs over a row of outputs, or over neighbouring channels, for one tap of the window at a time.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/max_pool.cc"
#include <hwy/foreach_target.h>
//
#include <hwy/highway.h>

#include <limits>

#include "kernels/pool.h"

#ifndef TENGEN_PLUGINS_CPU_MAX_POOL_ARGS_
#define TENGEN_PLUGINS_CPU_MAX_POOL_ARGS_
namespace tg::cpu {
struct MaxPoolArgs {
  Window window;
  Planes x, y, index;
  tg_dtype dtype;
};
}  // namespace tg::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace tg::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

constexpr int64_t kColumns = 128;

template <class C>
constexpr C Lowest() {
  if constexpr (std::is_floating_point_v<C>) return -std::numeric_limits<C>::infinity();
  return std::numeric_limits<C>::lowest();
}

// best[i], where[i] against from[i * step] at position flat + i * flat_step.
template <class T, class C>
HWY_INLINE void Update(const T* HWY_RESTRICT from, int64_t step, int64_t n, int32_t flat, int32_t flat_step,
                       C* HWY_RESTRICT best, int32_t* HWY_RESTRICT where) {
  for (int64_t i = 0; i < n; ++i) {
    const C v = C(from[i * step]), b = best[i];
    const int32_t at = flat + static_cast<int32_t>(i) * flat_step;
    const bool take = (!(v <= b) & (b == b)) | (where[i] < 0);
    best[i] = take ? v : b;
    where[i] = take ? at : where[i];
  }
}

// One channel: outputs of a row side by side.
template <class T>
void Rows(const MaxPoolArgs& p, const T* x, T* y, int32_t* index) {
  using C = plugin::compute_t<T>;
  C best[kColumns];
  int32_t where[kColumns];
  const Window& window = p.window;
  const int64_t step = window.stride[2] * p.x.step[2];
  const int32_t flat_step = static_cast<int32_t>(window.stride[2]);
  for (int64_t d = 0; d < p.y.size[0]; ++d) {
    const Range td = taps_inside(window, 0, d, p.x.size[0]);
    for (int64_t h = 0; h < p.y.size[1]; ++h) {
      const Range th = taps_inside(window, 1, h, p.x.size[1]);
      for (int64_t w0 = 0; w0 < p.y.size[2]; w0 += kColumns) {
        const int64_t n = std::min(kColumns, p.y.size[2] - w0);
        std::fill_n(best, n, Lowest<C>());
        std::fill_n(where, n, -1);
        for (int64_t a = td.first; a < td.last; ++a) {
          for (int64_t b = th.first; b < th.last; ++b) {
            const int64_t i = window.at(0, d, a), j = window.at(1, h, b);
            const T* row = x + i * p.x.step[0] + j * p.x.step[1];
            const int64_t flat = (i * p.x.size[1] + j) * p.x.size[2];
            for (int64_t t = 0; t < window.kernel[2]; ++t) {
              const Range inside = outputs_inside(window, 2, t, p.x.size[2], p.y.size[2]);
              const int64_t first = std::max(inside.first, w0), last = std::min(inside.last, w0 + n);
              if (first >= last) continue;
              const int64_t k = window.at(2, first, t);
              const T* from = row + k * p.x.step[2];
              const int32_t f = static_cast<int32_t>(flat + k);
              C* to = best + (first - w0);
              int32_t* wto = where + (first - w0);
              Update(from, step, last - first, f, flat_step, to, wto);
            }
          }
        }
        T* to = y + d * p.y.step[0] + h * p.y.step[1] + w0 * p.y.step[2];
        for (int64_t i = 0; i < n; ++i) to[i * p.y.step[2]] = T(best[i]);
        if (!index) continue;
        int32_t* ito = index + d * p.index.step[0] + h * p.index.step[1] + w0 * p.index.step[2];
        for (int64_t i = 0; i < n; ++i) ito[i * p.index.step[2]] = where[i];
      }
    }
  }
}

// Neighbouring channels, one output position after the other.
template <class T>
void Channels(const MaxPoolArgs& p, const T* x, T* y, int32_t* index, int64_t channels) {
  using C = plugin::compute_t<T>;
  C best[kPoolChannels];
  int32_t where[kPoolChannels];
  const Window& window = p.window;
  for (int64_t d = 0; d < p.y.size[0]; ++d) {
    const Range td = taps_inside(window, 0, d, p.x.size[0]);
    for (int64_t h = 0; h < p.y.size[1]; ++h) {
      const Range th = taps_inside(window, 1, h, p.x.size[1]);
      for (int64_t w = 0; w < p.y.size[2]; ++w) {
        const Range tw = taps_inside(window, 2, w, p.x.size[2]);
        std::fill_n(best, channels, Lowest<C>());
        std::fill_n(where, channels, -1);
        for (int64_t a = td.first; a < td.last; ++a) {
          for (int64_t b = th.first; b < th.last; ++b) {
            for (int64_t t = tw.first; t < tw.last; ++t) {
              const int64_t i = window.at(0, d, a), j = window.at(1, h, b), k = window.at(2, w, t);
              const T* from = x + i * p.x.step[0] + j * p.x.step[1] + k * p.x.step[2];
              const int64_t flat = (i * p.x.size[1] + j) * p.x.size[2] + k;
              Update(from, 1, channels, static_cast<int32_t>(flat), 0, best, where);
            }
          }
        }
        T* to = y + d * p.y.step[0] + h * p.y.step[1] + w * p.y.step[2];
        for (int64_t c = 0; c < channels; ++c) to[c * p.y.c_step] = T(best[c]);
        if (!index) continue;
        int32_t* ito = index + d * p.index.step[0] + h * p.index.step[1] + w * p.index.step[2];
        for (int64_t c = 0; c < channels; ++c) ito[c * p.index.c_step] = where[c];
      }
    }
  }
}

// f32: a vector of outputs of a row, or of channels, stays in registers while all taps of the window pass.
const hn::ScalableTag<float> kFloats;
const hn::ScalableTag<int32_t> kInts;
using Floats = hn::Vec<decltype(kFloats)>;
using Ints = hn::Vec<decltype(kInts)>;
using Mask = hn::Mask<decltype(kFloats)>;
constexpr int32_t kLoadableStride = HWY_TARGET == HWY_SCALAR ? 1 : 2;

HWY_INLINE void Take(Floats v, Ints at, Mask valid, Floats& best, Ints& where) {
  const Mask first = hn::RebindMask(kFloats, hn::Lt(where, hn::Zero(kInts)));
  const Mask beats = hn::And(hn::Not(hn::Le(v, best)), hn::Eq(best, best));
  const Mask take = hn::And(valid, hn::Or(first, beats));
  best = hn::IfThenElse(take, v, best);
  where = hn::IfThenElse(hn::RebindMask(kInts, take), at, where);
}

// The first n lanes, n of any size and sign; the others are 0.
HWY_INLINE Floats Load(const float* from, int64_t n) {
  if (n >= static_cast<int64_t>(hn::Lanes(kFloats))) return hn::LoadU(kFloats, from);
  if (n <= 0) return hn::Zero(kFloats);
  return hn::MaskedLoad(hn::FirstN(kFloats, static_cast<size_t>(n)), kFloats, from);
}

// Stores the first n lanes `step` elements apart.
template <class D, class T = hn::TFromD<D>>
HWY_INLINE void Put(D d, hn::Vec<D> v, int64_t n, T* to, int64_t step) {
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  if (step == 1) {
    if (n >= lanes) return hn::StoreU(v, d, to);
    return hn::BlendedStore(v, hn::FirstN(d, static_cast<size_t>(n)), d, to);
  }
  HWY_ALIGN T values[HWY_MAX_BYTES / sizeof(T)];
  hn::Store(v, d, values);
  for (int64_t i = 0; i < std::min(n, lanes); ++i) to[i * step] = values[i];
}

void RowsF32(const MaxPoolArgs& p, const float* x, float* y, int32_t* index) {
  const Window& window = p.window;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(kFloats)), width = p.x.size[2];
  const int32_t stride = static_cast<int32_t>(window.stride[2]), step = static_cast<int32_t>(p.x.step[2]);
  const Ints count = hn::Iota(kInts, 0), zero = hn::Zero(kInts), end = hn::Set(kInts, static_cast<int32_t>(width - 1));
  for (int64_t d = 0; d < p.y.size[0]; ++d) {
    const Range td = taps_inside(window, 0, d, p.x.size[0]);
    for (int64_t h = 0; h < p.y.size[1]; ++h) {
      const Range th = taps_inside(window, 1, h, p.x.size[1]);
      for (int64_t w = 0; w < p.y.size[2]; w += lanes) {
        const int64_t n = p.y.size[2] - w;
        const int64_t first = window.at(2, w, 0);  // may lie in the padding
        const Ints column =
            hn::Add(hn::Mul(count, hn::Set(kInts, stride)), hn::Set(kInts, static_cast<int32_t>(first)));
        Floats best = hn::Set(kFloats, Lowest<float>());
        Ints where = hn::Set(kInts, -1);
        for (int64_t a = td.first; a < td.last; ++a) {
          for (int64_t b = th.first; b < th.last; ++b) {
            const int64_t i = window.at(0, d, a), j = window.at(1, h, b);
            const float* row = x + i * p.x.step[0] + j * p.x.step[1];
            const Ints flat = hn::Set(kInts, static_cast<int32_t>((i * p.x.size[1] + j) * width));
            for (int64_t t = 0; t < window.kernel[2]; ++t) {
              const int64_t k = first + t * window.dilation[2];
              const Ints at = hn::Add(column, hn::Set(kInts, static_cast<int32_t>(t * window.dilation[2])));
              const Ints position = hn::Add(flat, at);
              const Ints inside = hn::Min(hn::Max(at, zero), end);
              const Mask valid = hn::RebindMask(kFloats, hn::Eq(inside, at));
              if (k >= 0 && step == 1 && stride <= kLoadableStride) {
                Floats v = Load(row + k, width - k);
#if HWY_TARGET != HWY_SCALAR
                if (stride == 2) v = hn::ConcatEven(kFloats, Load(row + k + lanes, width - k - lanes), v);
#endif
                Take(v, position, valid, best, where);
              } else {  // lanes in the padding or past the row read an element inside, and do not count
                const Floats v = hn::GatherIndex(kFloats, row, hn::Mul(inside, hn::Set(kInts, step)));
                Take(v, position, valid, best, where);
              }
            }
          }
        }
        Put(kFloats, best, n, y + d * p.y.step[0] + h * p.y.step[1] + w * p.y.step[2], p.y.step[2]);
        if (index) {
          Put(kInts, where, n, index + d * p.index.step[0] + h * p.index.step[1] + w * p.index.step[2],
              p.index.step[2]);
        }
      }
    }
  }
}

void ChannelsF32(const MaxPoolArgs& p, const float* x, float* y, int32_t* index, int64_t channels) {
  const Window& window = p.window;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(kFloats));
  for (int64_t d = 0; d < p.y.size[0]; ++d) {
    const Range td = taps_inside(window, 0, d, p.x.size[0]);
    for (int64_t h = 0; h < p.y.size[1]; ++h) {
      const Range th = taps_inside(window, 1, h, p.x.size[1]);
      for (int64_t w = 0; w < p.y.size[2]; ++w) {
        const Range tw = taps_inside(window, 2, w, p.x.size[2]);
        for (int64_t c = 0; c < channels; c += lanes) {
          const int64_t n = channels - c;
          const Mask mask = hn::FirstN(kFloats, static_cast<size_t>(std::min(n, lanes)));
          Floats best = hn::Set(kFloats, Lowest<float>());
          Ints where = hn::Set(kInts, -1);
          for (int64_t a = td.first; a < td.last; ++a) {
            for (int64_t b = th.first; b < th.last; ++b) {
              for (int64_t t = tw.first; t < tw.last; ++t) {
                const int64_t i = window.at(0, d, a), j = window.at(1, h, b), k = window.at(2, w, t);
                const float* from = x + i * p.x.step[0] + j * p.x.step[1] + k * p.x.step[2] + c;
                const int64_t flat = (i * p.x.size[1] + j) * p.x.size[2] + k;
                const Floats v = n >= lanes ? hn::LoadU(kFloats, from) : hn::MaskedLoad(mask, kFloats, from);
                Take(v, hn::Set(kInts, static_cast<int32_t>(flat)), mask, best, where);
              }
            }
          }
          Put(kFloats, best, n, y + d * p.y.step[0] + h * p.y.step[1] + w * p.y.step[2] + c * p.y.c_step, p.y.c_step);
          if (!index) continue;
          Put(kInts, where, n,
              index + d * p.index.step[0] + h * p.index.step[1] + w * p.index.step[2] + c * p.index.c_step,
              p.index.c_step);
        }
      }
    }
  }
}

// Channels [c0, c1) of image n.
void MaxPoolPlanes(const MaxPoolArgs& p, const void* x, void* y, int32_t* index, int64_t n, int64_t c0, int64_t c1) {
  plugin::visit(p.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    if constexpr (!std::is_same_v<T, plugin::boolean>) {
      const T* xp = static_cast<const T*>(x) + n * p.x.n_step + c0 * p.x.c_step;
      T* yp = static_cast<T*>(y) + n * p.y.n_step + c0 * p.y.c_step;
      int32_t* ip = index ? index + n * p.index.n_step + c0 * p.index.c_step : nullptr;
      if constexpr (std::is_same_v<T, float>) {
        c1 - c0 == 1 ? RowsF32(p, xp, yp, ip) : ChannelsF32(p, xp, yp, ip, c1 - c0);
      } else {
        c1 - c0 == 1 ? Rows<T>(p, xp, yp, ip) : Channels<T>(p, xp, yp, ip, c1 - c0);
      }
    }
  });
}

}  // namespace tg::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace tg::cpu {
namespace {

using plugin::operator==;
HWY_EXPORT(MaxPoolPlanes);

class MaxPool : public Plan {
 public:
  MaxPool(const Instance& instance, const tg_call& call)
      : host_(instance.host),
        args_{Window(call, call.inputs[0]->ndim, &call.attrs[3]), Planes(*call.inputs[0]), Planes(*call.outputs[0]),
              Planes(), call.inputs[0]->dtype},
        wants_index_(call.n_outputs > 1 && (call.outputs_wanted >> 1 & 1)) {
    if (args_.dtype == plugin::dtype_of<plugin::boolean>::value) {
      plugin::fail(TG_UNIMPLEMENTED, "[max_pool] expected numbers, got bool; cast x first");
    }
    if (args_.x.positions() > std::numeric_limits<int32_t>::max()) {
      plugin::fail(TG_UNIMPLEMENTED, "[max_pool] expected a plane whose positions fit into i32, got %lld of them",
                   static_cast<long long>(args_.x.positions()));
    }
    if (wants_index_) args_.index = Planes(*call.outputs[1]);
  }

  void run(const tg_run& r) override {
    const void* x = plugin::data<void>(*r.inputs[0]);
    void* y = plugin::data<void>(*r.outputs[0]);
    int32_t* index = wants_index_ ? plugin::data<int32_t>(*r.outputs[1]) : nullptr;
    const int64_t* k = args_.window.kernel;
    for_planes(host_, r.threads, args_.x, args_.y.positions() * k[0] * k[1] * k[2] / 4,
               [&](int64_t n, int64_t c0, int64_t c1) {
                 HWY_DYNAMIC_DISPATCH(MaxPoolPlanes)(args_, x, y, index, n, c0, c1);
               });
  }

 private:
  const tg_host* host_;
  MaxPoolArgs args_;
  bool wants_index_;
};

class MaxPoolBackward : public Plan {
 public:
  MaxPoolBackward(const Instance& instance, const tg_call& call)
      : host_(instance.host),
        dy_(*call.inputs[0]),
        index_(*call.inputs[1]),
        dx_(*call.outputs[0]),
        dtype_(call.inputs[0]->dtype) {
    // Then a flat position is an offset: dx itself can hold the sums.
    even_ = dx_.step[1] == dx_.size[2] * dx_.step[2] && (dx_.size[0] == 1 || dx_.step[0] == dx_.size[1] * dx_.step[1]);
  }

  void run(const tg_run& r) override {
    plugin::visit(dtype_, [&](auto tag) {
      using T = typename decltype(tag)::type;
      if constexpr (plugin::is_floating<T>) {
        spread(plugin::data<const T>(*r.inputs[0]), plugin::data<const int32_t>(*r.inputs[1]),
               plugin::data<T>(*r.outputs[0]), r.threads);
      } else {
        plugin::fail(TG_UNIMPLEMENTED, "[max_pool_backward] expected floats, got %s", plugin::dtype_name(dtype_));
      }
    });
  }

 private:
  template <class T>
  void spread(const T* dy, const int32_t* index, T* dx, int threads) const {
    for_planes(host_, threads, dx_, dx_.positions(), [&](int64_t n, int64_t c0, int64_t c1) {
      const T* from = dy + n * dy_.n_step + c0 * dy_.c_step;
      const int32_t* where = index + n * index_.n_step + c0 * index_.c_step;
      T* to = dx + n * dx_.n_step + c0 * dx_.c_step;
      if constexpr (std::is_same_v<T, plugin::compute_t<T>>) {
        if (even_) return c1 - c0 == 1 ? in_place<true>(from, where, to, 1) : in_place<false>(from, where, to, c1 - c0);
      }
      for (int64_t c = 0; c < c1 - c0; ++c) {
        through_plane(from + c * dy_.c_step, where + c * index_.c_step, to + c * dx_.c_step);
      }
    });
  }

  // Calls f(offset in dy, offset in index) for each output position.
  template <class F>
  void each_output(F&& f) const {
    for (int64_t d = 0; d < dy_.size[0]; ++d) {
      for (int64_t h = 0; h < dy_.size[1]; ++h) {
        for (int64_t w = 0; w < dy_.size[2]; ++w) {
          f(d * dy_.step[0] + h * dy_.step[1] + w * dy_.step[2],
            d * index_.step[0] + h * index_.step[1] + w * index_.step[2]);
        }
      }
    }
  }

  template <bool kOne, class T>
  void in_place(const T* dy, const int32_t* index, T* dx, int64_t channels) const {
    if (kOne) channels = 1;
    const int64_t area = dx_.positions(), step = dx_.step[2];
    for (int64_t i = 0; i < area; ++i) {
      for (int64_t c = 0; c < channels; ++c) dx[i * step + c * dx_.c_step] = T(0);
    }
    each_output([&](int64_t from, int64_t where) {
      for (int64_t c = 0; c < channels; ++c) {
        const int64_t at = index[where + c * index_.c_step];
        if (at >= 0 && at < area) dx[at * step + c * dx_.c_step] += dy[from + c * dy_.c_step];
      }
    });
  }

  // Sums in a plane of the type of computation.
  template <class T>
  void through_plane(const T* dy, const int32_t* index, T* dx) const {
    using C = plugin::compute_t<T>;
    thread_local std::vector<C> plane;
    const int64_t area = dx_.positions();
    plane.assign(static_cast<size_t>(area), C(0));
    C* sums = plane.data();
    each_output([&](int64_t from, int64_t where) {
      const int64_t at = index[where];
      if (at >= 0 && at < area) sums[at] += C(dy[from]);
    });
    for (int64_t d = 0; d < dx_.size[0]; ++d) {
      for (int64_t h = 0; h < dx_.size[1]; ++h) {
        T* row = dx + d * dx_.step[0] + h * dx_.step[1];
        for (int64_t w = 0; w < dx_.size[2]; ++w) row[w * dx_.step[2]] = T(*sums++);
      }
    }
  }

  const tg_host* host_;
  Planes dy_, index_, dx_;
  tg_dtype dtype_;
  bool even_;
};

}  // namespace

std::unique_ptr<Plan> make_max_pool(Instance& instance, const tg_call& call) {
  return std::make_unique<MaxPool>(instance, call);
}
std::unique_ptr<Plan> make_max_pool_backward(Instance& instance, const tg_call& call) {
  return std::make_unique<MaxPoolBackward>(instance, call);
}

}  // namespace tg::cpu
#endif
