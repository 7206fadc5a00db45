// SPDX-License-Identifier: Apache-2.0
//
// See batch_norm_planes.h. A task handles one channel: its planes stay in the second-level cache between the passes.
// Sums run in f32 within a plane and in f64 across planes.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/batch_norm_planes.cc"
#include <hwy/foreach_target.h>
//
#include <hwy/highway.h>

#include <cmath>

#include "kernels/batch_norm_planes.h"

HWY_BEFORE_NAMESPACE();
namespace tg::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using D = hn::ScalableTag<float>;
using V = hn::Vec<D>;

// f(vector index of accumulator, offset, count): calls it for whole vectors (count = lanes) and once for the rest.
template <class F>
HWY_INLINE void Each(int64_t n, F&& f) {
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(D()));
  int64_t i = 0;
  for (; i + 2 * lanes <= n; i += 2 * lanes) {
    f(0, i, lanes);
    f(1, i + lanes, lanes);
  }
  for (; i < n; i += lanes) f(0, i, std::min(lanes, n - i));
}

HWY_INLINE V Load(const float* from, int64_t n) {
  const D d;
  return n == static_cast<int64_t>(hn::Lanes(d)) ? hn::LoadU(d, from)
                                                 : hn::MaskedLoad(hn::FirstN(d, static_cast<size_t>(n)), d, from);
}

HWY_INLINE void Store(V v, float* to, int64_t n) {
  const D d;
  if (n == static_cast<int64_t>(hn::Lanes(d))) return hn::StoreU(v, d, to);
  hn::BlendedStore(v, hn::FirstN(d, static_cast<size_t>(n)), d, to);
}

HWY_INLINE double Total(V a, V b) {
  const D d;
  return static_cast<double>(hn::GetLane(hn::SumOfLanes(d, hn::Add(a, b))));
}

double SumPlane(const float* x, int64_t n) {
  V sum[2] = {hn::Zero(D()), hn::Zero(D())};
  Each(n, [&](int k, int64_t i, int64_t count) { sum[k] = hn::Add(sum[k], Load(x + i, count)); });
  return Total(sum[0], sum[1]);
}

// Sum of (x - mean)^2.
double SquarePlane(const float* x, int64_t n, float mean) {
  const D d;
  const V m = hn::Set(d, mean);
  V sum[2] = {hn::Zero(d), hn::Zero(d)};
  Each(n, [&](int k, int64_t i, int64_t count) {
    V v = hn::Sub(Load(x + i, count), m);
    if (count != static_cast<int64_t>(hn::Lanes(d))) {
      v = hn::IfThenElseZero(hn::FirstN(d, static_cast<size_t>(count)), v);
    }
    sum[k] = hn::MulAdd(v, v, sum[k]);
  });
  return Total(sum[0], sum[1]);
}

// y = (x - mean) * scale + shift
void ScalePlane(const float* x, float* y, int64_t n, float mean, float scale, float shift) {
  const D d;
  const V m = hn::Set(d, mean), s = hn::Set(d, scale), t = hn::Set(d, shift);
  Each(n,
       [&](int, int64_t i, int64_t count) { Store(hn::MulAdd(hn::Sub(Load(x + i, count), m), s, t), y + i, count); });
}

// Adds the sums of dy and of dy * (x - mean).
void GradientSums(const float* dy, const float* x, int64_t n, float mean, double* sum_dy, double* sum_dyx) {
  const D d;
  const V m = hn::Set(d, mean);
  V a[2] = {hn::Zero(d), hn::Zero(d)}, b[2] = {hn::Zero(d), hn::Zero(d)};
  Each(n, [&](int k, int64_t i, int64_t count) {
    const V g = Load(dy + i, count);  // 0 past the end
    a[k] = hn::Add(a[k], g);
    b[k] = hn::MulAdd(g, hn::Sub(Load(x + i, count), m), b[k]);
  });
  *sum_dy += Total(a[0], a[1]);
  *sum_dyx += Total(b[0], b[1]);
}

// dx = dy * scale - (x - mean) * slope - offset
void GradientPlane(const float* dy, const float* x, float* dx, int64_t n, float mean, float scale, float slope,
                   float offset) {
  const D d;
  const V m = hn::Set(d, mean), s = hn::Set(d, scale), p = hn::Set(d, slope), o = hn::Set(d, offset);
  Each(n, [&](int, int64_t i, int64_t count) {
    const V centred = hn::Sub(Load(x + i, count), m);
    Store(hn::NegMulAdd(centred, p, hn::MulSub(Load(dy + i, count), s, o)), dx + i, count);
  });
}

}  // namespace tg::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace tg::cpu {
namespace {

using plugin::operator==;
HWY_EXPORT(SumPlane);
HWY_EXPORT(SquarePlane);
HWY_EXPORT(ScalePlane);
HWY_EXPORT(GradientSums);
HWY_EXPORT(GradientPlane);

bool present(const tg_call& call, uint32_t i) { return i < call.n_inputs && (call.inputs_present >> i & 1); }
bool wanted(const tg_call& call, uint32_t i) { return i < call.n_outputs && (call.outputs_wanted >> i & 1); }

// Contiguous planes of f32, long enough to be worth a vector loop.
bool has_planes(const tg_tensor& t) {
  if (!(t.dtype == plugin::dtype_of<float>::value) || t.ndim < 3) return false;
  int64_t expect = 1;
  for (int i = t.ndim - 1; i >= 2; --i) {
    if (t.shape[i] != 1 && t.strides[i] != expect) return false;
    expect *= t.shape[i];
  }
  return expect >= 16;
}

struct PlaneTensor {
  int64_t n_step, c_step;
  PlaneTensor() = default;
  explicit PlaneTensor(const tg_tensor& t) : n_step(t.strides[0]), c_step(t.strides[1]) {}
};

struct Geometry {
  int64_t n, c, area;
  double count, eps;
  Geometry(const tg_tensor& x, const tg_call& call)
      : n(x.shape[0]),
        c(x.shape[1]),
        area(plugin::numel(x) / x.shape[0] / x.shape[1]),
        count(static_cast<double>(n * area)),
        eps(call.attrs[0].v.f) {}
  int64_t grain() const { return std::max<int64_t>(1, 16384 / (n * area)); }
};

// A value per channel, in f32; absent: a constant.
struct Parameter {
  bool given;
  int index;
  int64_t step;
  float absent;
  Parameter(const tg_tensor* const* list, bool is_given, int i, float otherwise)
      : given(is_given), index(i), step(is_given ? list[i]->strides[0] : 0), absent(otherwise) {}
  float get(const tg_run& r, int64_t c) const {
    return given ? plugin::data<float>(*r.inputs[index])[c * step] : absent;
  }
  void put(const tg_run& r, int64_t c, double v) const {
    if (given) plugin::data<float>(*r.outputs[index])[c * step] = static_cast<float>(v);
  }
};

class Forward : public Plan {
 public:
  Forward(const Instance& instance, const tg_call& call)
      : host_(instance.host),
        g_(*call.inputs[0], call),
        x_(*call.inputs[0]),
        y_(*call.outputs[0]),
        weight_(call.inputs, present(call, 1), 1, 1.f),
        bias_(call.inputs, present(call, 2), 2, 0.f),
        mean_(call.outputs, wanted(call, 1), 1, 0.f),
        var_(call.outputs, wanted(call, 2), 2, 0.f) {}

  void run(const tg_run& r) override {
    const float* x = plugin::data<float>(*r.inputs[0]);
    float* y = plugin::data<float>(*r.outputs[0]);
    plugin::parallel_for(host_, g_.c, g_.grain(), r.threads, [&](int64_t begin, int64_t end) {
      for (int64_t c = begin; c < end; ++c) {
        const float* xc = x + c * x_.c_step;
        double sum = 0, squares = 0;
        for (int64_t n = 0; n < g_.n; ++n) sum += HWY_DYNAMIC_DISPATCH(SumPlane)(xc + n * x_.n_step, g_.area);
        const double mean = sum / g_.count;
        const float m = static_cast<float>(mean);
        for (int64_t n = 0; n < g_.n; ++n) squares += HWY_DYNAMIC_DISPATCH(SquarePlane)(xc + n * x_.n_step, g_.area, m);
        // The squares were taken about the rounded mean.
        const double var = std::max(0.0, squares / g_.count - (mean - m) * (mean - m));
        const float scale = static_cast<float>(weight_.get(r, c) / std::sqrt(var + g_.eps));
        for (int64_t n = 0; n < g_.n; ++n) {
          HWY_DYNAMIC_DISPATCH(ScalePlane)
          (xc + n * x_.n_step, y + n * y_.n_step + c * y_.c_step, g_.area, m, scale, bias_.get(r, c));
        }
        mean_.put(r, c, mean);
        var_.put(r, c, var);
      }
    });
  }

 private:
  const tg_host* host_;
  Geometry g_;
  PlaneTensor x_, y_;
  Parameter weight_, bias_, mean_, var_;
};

class Infer : public Plan {
 public:
  Infer(const Instance& instance, const tg_call& call)
      : host_(instance.host),
        g_(*call.inputs[0], call),
        x_(*call.inputs[0]),
        y_(*call.outputs[0]),
        mean_(call.inputs, true, 1, 0.f),
        var_(call.inputs, true, 2, 0.f),
        weight_(call.inputs, present(call, 3), 3, 1.f),
        bias_(call.inputs, present(call, 4), 4, 0.f) {}

  void run(const tg_run& r) override {
    const float* x = plugin::data<float>(*r.inputs[0]);
    float* y = plugin::data<float>(*r.outputs[0]);
    plugin::parallel_for(host_, g_.n * g_.c, g_.grain() * g_.n, r.threads, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t n = i / g_.c, c = i % g_.c;
        const float scale = static_cast<float>(weight_.get(r, c) / std::sqrt(var_.get(r, c) + g_.eps));
        HWY_DYNAMIC_DISPATCH(ScalePlane)
        (x + n * x_.n_step + c * x_.c_step, y + n * y_.n_step + c * y_.c_step, g_.area, mean_.get(r, c), scale,
         bias_.get(r, c));
      }
    });
  }

 private:
  const tg_host* host_;
  Geometry g_;
  PlaneTensor x_, y_;
  Parameter mean_, var_, weight_, bias_;
};

class Backward : public Plan {
 public:
  Backward(const Instance& instance, const tg_call& call)
      : host_(instance.host),
        g_(*call.inputs[1], call),
        dy_(*call.inputs[0]),
        x_(*call.inputs[1]),
        mean_(call.inputs, true, 2, 0.f),
        var_(call.inputs, true, 3, 0.f),
        weight_(call.inputs, present(call, 4), 4, 1.f),
        dweight_(call.outputs, wanted(call, 1), 1, 0.f),
        dbias_(call.outputs, wanted(call, 2), 2, 0.f),
        wants_dx_(wanted(call, 0)) {
    if (wants_dx_) dx_ = PlaneTensor(*call.outputs[0]);
  }

  void run(const tg_run& r) override {
    const float* dy = plugin::data<float>(*r.inputs[0]);
    const float* x = plugin::data<float>(*r.inputs[1]);
    float* dx = wants_dx_ ? plugin::data<float>(*r.outputs[0]) : nullptr;
    plugin::parallel_for(host_, g_.c, g_.grain(), r.threads, [&](int64_t begin, int64_t end) {
      for (int64_t c = begin; c < end; ++c) {
        const float *dyc = dy + c * dy_.c_step, *xc = x + c * x_.c_step;
        const float mean = mean_.get(r, c);
        const double rstd = 1 / std::sqrt(var_.get(r, c) + g_.eps);
        double sum_dy = 0, sum_dyx = 0;
        for (int64_t n = 0; n < g_.n; ++n) {
          HWY_DYNAMIC_DISPATCH(GradientSums)
          (dyc + n * dy_.n_step, xc + n * x_.n_step, g_.area, mean, &sum_dy, &sum_dyx);
        }
        dweight_.put(r, c, sum_dyx * rstd);
        dbias_.put(r, c, sum_dy);
        if (!dx) continue;
        const double scale = weight_.get(r, c) * rstd;
        const float slope = static_cast<float>(scale * rstd * rstd * sum_dyx / g_.count);
        const float offset = static_cast<float>(scale * sum_dy / g_.count);
        for (int64_t n = 0; n < g_.n; ++n) {
          HWY_DYNAMIC_DISPATCH(GradientPlane)
          (dyc + n * dy_.n_step, xc + n * x_.n_step, dx + n * dx_.n_step + c * dx_.c_step, g_.area, mean,
           static_cast<float>(scale), slope, offset);
        }
      }
    });
  }

 private:
  const tg_host* host_;
  Geometry g_;
  PlaneTensor dy_, x_, dx_{};
  Parameter mean_, var_, weight_, dweight_, dbias_;
  bool wants_dx_;
};

}  // namespace

std::unique_ptr<Plan> batch_norm_planes(const Instance& instance, const tg_call& call) {
  if (!has_planes(*call.inputs[0]) || !has_planes(*call.outputs[0])) return nullptr;
  return std::make_unique<Forward>(instance, call);
}

std::unique_ptr<Plan> batch_norm_infer_planes(const Instance& instance, const tg_call& call) {
  if (!has_planes(*call.inputs[0]) || !has_planes(*call.outputs[0])) return nullptr;
  return std::make_unique<Infer>(instance, call);
}

std::unique_ptr<Plan> batch_norm_backward_planes(const Instance& instance, const tg_call& call) {
  if (!has_planes(*call.inputs[0]) || !has_planes(*call.inputs[1])) return nullptr;
  if (wanted(call, 0) && !has_planes(*call.outputs[0])) return nullptr;
  return std::make_unique<Backward>(instance, call);
}

}  // namespace tg::cpu
#endif
