// SPDX-License-Identifier: Apache-2.0
//
// max_pool and its gradient. The index of a maximum is its flat position in x's spatial plane: the first of equals, the
// first NaN. A window that lies wholly in the padding gives the lowest value and index -1, which the gradient skips.
#include <limits>
#include <vector>

#include "kernels/pool.h"

namespace tg::cpu {
namespace {

// Where T is compared: 16-bit floats as float.
template <class T>
using Compare = plugin::compute_t<T>;

template <class T>
constexpr Compare<T> lowest() {
  using C = Compare<T>;
  if constexpr (plugin::is_floating<T>) return -std::numeric_limits<C>::infinity();
  return std::numeric_limits<C>::lowest();
}

template <class C>
inline bool is_nan(C v) {
  return v != v;
}

class MaxPool : public Plan {
 public:
  MaxPool(const Instance& instance, const tg_call& call)
      : host_(instance.host),
        window_(call, call.inputs[0]->ndim, &call.attrs[3]),
        x_(*call.inputs[0]),
        y_(*call.outputs[0]),
        dtype_(call.inputs[0]->dtype),
        wants_index_(call.n_outputs > 1 && (call.outputs_wanted >> 1 & 1)) {
    if (wants_index_) index_ = Planes(*call.outputs[1]);
  }

  void run(const tg_run& r) override {
    plugin::visit(dtype_, [&](auto tag) {
      using T = typename decltype(tag)::type;
      if constexpr (!std::is_same_v<T, plugin::boolean>) {
        int32_t* index = wants_index_ ? plugin::data<int32_t>(*r.outputs[1]) : nullptr;
        pool(plugin::data<const T>(*r.inputs[0]), plugin::data<T>(*r.outputs[0]), index, r.threads);
      } else {
        plugin::fail(TG_UNIMPLEMENTED, "[max_pool] expected numbers, got bool; cast x first");
      }
    });
  }

 private:
  template <class T>
  void pool(const T* x, T* y, int32_t* index, int threads) const {
    const int64_t taps = window_.kernel[0] * window_.kernel[1] * window_.kernel[2];
    for_planes(host_, threads, x_, y_.positions() * taps, [&](int64_t n, int64_t c0, int64_t c1) {
      const T* xp = x + n * x_.n_step + c0 * x_.c_step;
      T* yp = y + n * y_.n_step + c0 * y_.c_step;
      int32_t* ip = index ? index + n * index_.n_step + c0 * index_.c_step : nullptr;
      for (int64_t d = 0; d < y_.size[0]; ++d) {
        const Taps td = window_.taps(0, d, x_.size[0]);
        for (int64_t h = 0; h < y_.size[1]; ++h) {
          const Taps th = window_.taps(1, h, x_.size[1]);
          for (int64_t w = 0; w < y_.size[2]; ++w) {
            const Taps tw = window_.taps(2, w, x_.size[2]);
            T* to = yp + d * y_.step[0] + h * y_.step[1] + w * y_.step[2];
            int32_t* ito = ip ? ip + d * index_.step[0] + h * index_.step[1] + w * index_.step[2] : nullptr;
            if (c1 - c0 == 1) {
              one(xp, td, th, tw, d, h, w, to, ito);
            } else {
              many(xp, td, th, tw, d, h, w, to, ito, c1 - c0);
            }
          }
        }
      }
    });
  }

  // One channel: the maximum stays in registers.
  template <class T>
  void one(const T* x, Taps td, Taps th, Taps tw, int64_t d, int64_t h, int64_t w, T* y, int32_t* index) const {
    Compare<T> best = lowest<T>();
    int32_t where = -1;
    for (int64_t a = td.first; a < td.last; ++a) {
      for (int64_t b = th.first; b < th.last; ++b) {
        const int64_t i = window_.at(0, d, a), j = window_.at(1, h, b);
        const T* row = x + i * x_.step[0] + j * x_.step[1];
        const int64_t flat = (i * x_.size[1] + j) * x_.size[2];
        for (int64_t c = tw.first; c < tw.last; ++c) {
          const int64_t k = window_.at(2, w, c);
          const Compare<T> v = Compare<T>(row[k * x_.step[2]]);
          if (v > best || where < 0 || (is_nan(v) && !is_nan(best))) {
            best = v;
            where = static_cast<int32_t>(flat + k);
          }
        }
      }
    }
    *y = T(best);
    if (index) *index = where;
  }

  // Neighbouring channels: a loop over them for each tap.
  template <class T>
  void many(const T* x, Taps td, Taps th, Taps tw, int64_t d, int64_t h, int64_t w, T* y, int32_t* index,
            int64_t channels) const {
    Compare<T> best[64];
    int32_t where[64];
    for (int64_t c = 0; c < channels; ++c) best[c] = lowest<T>(), where[c] = -1;
    for (int64_t a = td.first; a < td.last; ++a) {
      for (int64_t b = th.first; b < th.last; ++b) {
        for (int64_t t = tw.first; t < tw.last; ++t) {
          const int64_t i = window_.at(0, d, a), j = window_.at(1, h, b), k = window_.at(2, w, t);
          const T* from = x + i * x_.step[0] + j * x_.step[1] + k * x_.step[2];
          const int32_t flat = static_cast<int32_t>((i * x_.size[1] + j) * x_.size[2] + k);
          for (int64_t c = 0; c < channels; ++c) {
            const Compare<T> v = Compare<T>(from[c]);
            const bool take = (v > best[c]) | (where[c] < 0) | (is_nan(v) & !is_nan(best[c]));
            best[c] = take ? v : best[c];
            where[c] = take ? flat : where[c];
          }
        }
      }
    }
    for (int64_t c = 0; c < channels; ++c) y[c * y_.c_step] = T(best[c]);
    if (index) {
      for (int64_t c = 0; c < channels; ++c) index[c * index_.c_step] = where[c];
    }
  }

  const tg_host* host_;
  Window window_;
  Planes x_, y_, index_{};
  tg_dtype dtype_;
  bool wants_index_;
};

class MaxPoolBackward : public Plan {
 public:
  MaxPoolBackward(const Instance& instance, const tg_call& call)
      : host_(instance.host),
        dy_(*call.inputs[0]),
        index_(*call.inputs[1]),
        dx_(*call.outputs[0]),
        dtype_(call.inputs[0]->dtype) {}

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
  // Contributions are summed in a plane of the type of computation, one channel at a time.
  template <class T>
  void spread(const T* dy, const int32_t* index, T* dx, int threads) const {
    using C = plugin::compute_t<T>;
    const int64_t area = dx_.positions();
    for_planes(host_, threads, dx_, area, [&](int64_t n, int64_t c0, int64_t c1) {
      thread_local std::vector<C> plane;
      for (int64_t c = c0; c < c1; ++c) {
        plane.assign(area, C(0));
        const T* from = dy + n * dy_.n_step + c * dy_.c_step;
        const int32_t* where = index + n * index_.n_step + c * index_.c_step;
        for (int64_t d = 0; d < dy_.size[0]; ++d) {
          for (int64_t h = 0; h < dy_.size[1]; ++h) {
            const T* row = from + d * dy_.step[0] + h * dy_.step[1];
            const int32_t* irow = where + d * index_.step[0] + h * index_.step[1];
            for (int64_t w = 0; w < dy_.size[2]; ++w) {
              const int64_t at = irow[w * index_.step[2]];
              if (at >= 0 && at < area) plane[at] += C(row[w * dy_.step[2]]);
            }
          }
        }
        T* to = dx + n * dx_.n_step + c * dx_.c_step;
        const C* sum = plane.data();
        for (int64_t d = 0; d < dx_.size[0]; ++d) {
          for (int64_t h = 0; h < dx_.size[1]; ++h) {
            T* row = to + d * dx_.step[0] + h * dx_.step[1];
            for (int64_t w = 0; w < dx_.size[2]; ++w) row[w * dx_.step[2]] = T(*sum++);
          }
        }
      }
    });
  }

  const tg_host* host_;
  Planes dy_, index_, dx_;
  tg_dtype dtype_;
};

}  // namespace

std::unique_ptr<Plan> make_max_pool(Instance& instance, const tg_call& call) {
  return std::make_unique<MaxPool>(instance, call);
}
std::unique_ptr<Plan> make_max_pool_backward(Instance& instance, const tg_call& call) {
  return std::make_unique<MaxPoolBackward>(instance, call);
}

}  // namespace tg::cpu
