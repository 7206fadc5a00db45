// SPDX-License-Identifier: Apache-2.0
//
// conv, conv_backward_data and conv_backward_weight on oneDNN, in one to three spatial dimensions.
//
// oneDNN is fast in its blocked layouts and in channels-last; on plain N, C, s... data it falls to im2col, at half the
// speed. So channels-last tensors are used as they lie, and plain ones are reordered into what the primitive likes: a
// few images at a time, so that the reordered ones stay in the cache (ImageLoop).
// Scalar kernels are never used: such a call is refused, and the host decomposes it.
#include <exception>

#include "kernels/onednn.h"

namespace tg::cpu {
namespace {

using dnnl::algorithm;

enum class Layout { kAny, kChannelsLast, kPlain };

// What the three ops have in common: x [N, C, s...], w [g, O/g, C/g, k...], y [N, O, t...] and how w moves over x.
struct Geometry {
  Dims x, w, y, stride, dilation, pad_begin, pad_end;
  int64_t groups;
  int spatial;

  // `attrs` holds stride, padding, dilation, groups.
  Geometry(const tg_call& call, const Dims& x_dims, const Dims& w_dims, const Dims& y_dims) : x(x_dims), y(y_dims) {
    const tg_attr* attrs = call.attrs;
    spatial = static_cast<int>(x.size()) - 2;
    groups = attrs[3].v.i;
    if (spatial < 1 || spatial > 3) {
      plugin::fail(TG_UNIMPLEMENTED, "[%s] expected 1 to 3 spatial dimensions, got %d", call.op, spatial);
    }
    if (x.size() != y.size() || x.size() != w_dims.size() || int(attrs[0].n) != spatial ||
        int(attrs[1].n) != 2 * spatial || int(attrs[2].n) != spatial) {
      plugin::fail(TG_INVALID_ARGUMENT, "[%s] expected x, w and y of one rank and an entry per spatial axis", call.op);
    }
    for (int i = 0; i < spatial; ++i) {
      stride.push_back(attrs[0].v.ints[i]);
      pad_begin.push_back(attrs[1].v.ints[i]);
      pad_end.push_back(attrs[1].v.ints[spatial + i]);
      dilation.push_back(attrs[2].v.ints[i] - 1);  // oneDNN counts the gaps
    }
    w = w_dims;
    if (groups > 1) {
      w[0] /= groups;
      w.insert(w.begin(), groups);
    }
  }

  // Every tap of every window is the pixel itself.
  bool pointwise() const {
    for (int i = 0; i < spatial; ++i) {
      if (w[w.size() - 1 - i] != 1 || stride[i] != 1 || pad_begin[i] != 0 || pad_end[i] != 0) return false;
    }
    return groups == 1;
  }

  Tag tag(Layout layout) const {
    constexpr Tag kLast[] = {Tag::nwc, Tag::nhwc, Tag::ndhwc}, kFirst[] = {Tag::ncw, Tag::nchw, Tag::ncdhw};
    if (layout == Layout::kAny) return Tag::any;
    return layout == Layout::kChannelsLast ? kLast[spatial - 1] : kFirst[spatial - 1];
  }
};

Dims with_spatial(const tg_tensor& t, const tg_attr& attr, int64_t channels) {
  Dims dims{t.shape[0], channels};
  dims.insert(dims.end(), attr.v.ints, attr.v.ints + attr.n);
  return dims;
}

// w with its output channels split by group. Owns shape and strides.
struct GroupedWeight {
  tg_tensor t;
  int64_t shape[TG_MAX_RANK + 1], strides[TG_MAX_RANK + 1];
  GroupedWeight(const tg_tensor& w, int64_t groups) : t(w) {
    const int extra = groups > 1 ? 1 : 0;
    for (int i = 0; i < w.ndim; ++i) shape[i + extra] = w.shape[i], strides[i + extra] = w.strides[i];
    if (extra) {
      shape[0] = groups;
      shape[1] = w.shape[0] / groups;
      strides[0] = w.strides[0] * shape[1];
    }
    t.ndim = w.ndim + extra;
    t.shape = shape;
    t.strides = strides;
  }
  GroupedWeight(const GroupedWeight&) = delete;
};

// The layouts to try, best first. `data` is the tensor that the op reads, `first` what measurement found best for plain
// tensors of these sizes.
std::vector<Layout> preferences(const tg_tensor& data, Layout first) {
  if (is_channels_last(data) && !plugin::is_contiguous(data)) {
    return {Layout::kChannelsLast, Layout::kAny, Layout::kPlain};
  }
  if (first == Layout::kPlain) return {Layout::kPlain, Layout::kAny, Layout::kChannelsLast};
  if (first == Layout::kChannelsLast) return {Layout::kChannelsLast, Layout::kAny, Layout::kPlain};
  return {Layout::kAny, Layout::kChannelsLast, Layout::kPlain};
}

// 1x1 convolutions are one product per image. Blocked layouts pad channels to 16: with few of them, channels-last moves
// less memory, and im2col computes less where a gradient has one to three channels.
Layout best_forward(const Geometry& g) {
  if (g.pointwise()) return Layout::kPlain;
  return g.y[1] < 16 ? Layout::kChannelsLast : Layout::kAny;
}
Layout best_backward_data(const Geometry& g) {
  return g.pointwise() || (g.groups == 1 && g.x[1] < 4) ? Layout::kPlain : Layout::kAny;
}
Layout best_backward_weight(const Geometry& g) {
  if (g.pointwise()) return Layout::kPlain;
  return g.y[1] < 16 || (g.x[1] >= 4 && g.x[1] < 16) ? Layout::kChannelsLast : Layout::kAny;
}

// The first layout for which `make(layout)` gives a primitive descriptor that is not a scalar loop.
template <class Make>
auto first_fast(const tg_call& call, const std::vector<Layout>& layouts, Make&& make) {
  using Result = decltype(make(Layout::kAny));
  for (const Layout layout : layouts) {
    try {
      Result pd = make(layout);
      if (!is_reference(pd)) return pd;
    } catch (const dnnl::error&) {  // the next layout may do
    }
  }
  plugin::fail(TG_UNIMPLEMENTED, "[%s] oneDNN has no fast kernel for %s with these sizes on this CPU", call.op,
               plugin::dtype_name(call.inputs[0]->dtype));
}

dnnl::convolution_forward::primitive_desc forward(const Geometry& g, Layout layout, dnnl::memory::data_type type,
                                                  const Desc& bias, const dnnl::primitive_attr& attr,
                                                  dnnl::prop_kind kind) {
  const Desc x(g.x, type, g.tag(layout)), w(g.w, type, Tag::any), y(g.y, type, g.tag(layout));
  if (!bias.is_zero()) {
    return {engine(),  kind, algorithm::convolution_direct, x, w, bias, y, g.stride, g.dilation, g.pad_begin,
            g.pad_end, attr};
  }
  return {engine(), kind, algorithm::convolution_direct, x, w, y, g.stride, g.dilation, g.pad_begin, g.pad_end, attr};
}

// How many images to reorder and convolve at a time, on one thread each; 0: all at once, which is better where the batch
// fits into the caches anyway or where the weights don't.
int64_t images_at_a_time(const tg_tensor& from, const tg_tensor& to, const tg_tensor& w, int threads) {
  constexpr int64_t kSmallBatch = 4 << 20, kManyWeights = 1 << 20, kChunk = 1 << 20;  // bytes
  const auto bytes = [](const tg_tensor& t) { return plugin::numel(t) * t.dtype.bits / 8; };
  const int64_t n = from.shape[0], batch = bytes(from) + bytes(to);
  if (!plugin::is_contiguous(from) || !plugin::is_contiguous(to) || !expressible(w)) return 0;
  if (batch < kSmallBatch || bytes(w) > kManyWeights || (n % threads != 0 && n < 4 * threads)) return 0;
  int64_t images = 1;
  for (int64_t i = 2; i * threads <= n && i * batch / n <= kChunk; ++i) {
    if (n % (i * threads) == 0) images = i;
  }
  return images;
}

// Runs one pipeline on parts of a batch. Ports: the tensor read, the weights in the primitive's layout, the tensor
// written, and a bias if there is one.
class ImageLoop {
 public:
  ImageLoop(const tg_host* host, const tg_call& call, int64_t images, const tg_tensor& from, const tg_tensor& w,
            const tg_tensor& to, const Desc& inner_w)
      : pipeline(alone(call)), host_(host), threads_(std::max(call.threads, 1)), parts_(from.shape[0] / images),
        from_bytes_(plugin::numel(from) / parts_ * from.dtype.bits / 8),
        to_bytes_(plugin::numel(to) / parts_ * to.dtype.bits / 8), weights_(call) {
    const dnnl::reorder::primitive_desc reorder(engine(), strided(w), engine(), inner_w, base_attr(call));
    weights_.input(DNNL_ARG_FROM, strided(w), strided(w));
    weights_.output(DNNL_ARG_TO, inner_w, inner_w);
    weights_.primitive(reorder);
    weights_bytes_ = (inner_w.get_size() + 63) / 64 * 64;
  }

  uint64_t workspace() const {
    return weights_bytes_ + std::max(weights_.workspace(), threads_ * pipeline.workspace());
  }

  void run(char* from, void* w, char* to, void* bias, char* workspace) const {
    weights_.run({w, workspace}, workspace + weights_bytes_);
    std::atomic<int> threads{0};
    std::atomic<bool> failed{false};
    std::exception_ptr error;
    plugin::parallel_for(host_, parts_, 1, threads_, [&](int64_t begin, int64_t end) {
      char* const own = workspace + weights_bytes_ + threads++ * pipeline.workspace();
      try {
        for (int64_t i = begin; i < end; ++i) {
          pipeline.run({from + i * from_bytes_, workspace, to + i * to_bytes_, bias}, own);
        }
      } catch (...) {  // nothing may leave a body that the pool runs
        if (!failed.exchange(true)) error = std::current_exception();
      }
    });
    if (failed) std::rethrow_exception(error);
  }

  Pipeline pipeline;

 private:
  static tg_call alone(tg_call call) {
    call.threads = 1;
    return call;
  }

  const tg_host* host_;
  int threads_;
  int64_t parts_, from_bytes_, to_bytes_;
  Pipeline weights_;
  uint64_t weights_bytes_;
};

class ConvPlan : public Plan {
 public:
  ConvPlan(const tg_host* host, const tg_call& call) : host_(host), pipeline_(call) {}
  uint64_t workspace(const tg_run&) override { return images_ ? images_->workspace() : pipeline_.workspace(); }
  void run(const tg_run& r) override {
    void* pointers[4] = {plugin::data<void>(*r.inputs[0]), plugin::data<void>(*r.inputs[1]),
                         plugin::data<void>(*r.outputs[0]), nullptr};
    if (has_bias_) pointers[3] = plugin::data<void>(*r.inputs[2]);
    if (images_) {
      return images_->run(static_cast<char*>(pointers[0]), pointers[1], static_cast<char*>(pointers[2]), pointers[3],
                          static_cast<char*>(workspace_of(r)));
    }
    pipeline_.run(pointers, workspace_of(r));
  }

  void forward_plan(const tg_call& call) {
    const tg_tensor &x = *call.inputs[0], &w = *call.inputs[1], &y = *call.outputs[0];
    has_bias_ = call.n_inputs > 2 && (call.inputs_present >> 2 & 1);
    const Geometry g(call, dims_of(x), dims_of(w), dims_of(y));
    const GroupedWeight gw(w, g.groups);
    const auto type = dnnl_type(x.dtype);
    const Desc bias = has_bias_ ? plain({y.shape[1]}, dnnl_type(call.inputs[2]->dtype)) : Desc();
    dnnl::post_ops ops;
    append_activation(ops, call.attrs[4].v.i);
    dnnl::primitive_attr attr = base_attr(call);
    attr.set_post_ops(ops);
    const auto pick = [&](const Geometry& part) {
      return first_fast(call, preferences(x, best_forward(part)), [&](Layout layout) {
        return forward(part, layout, type, bias, attr, dnnl::prop_kind::forward_inference);
      });
    };
    const auto pd = pick(g);
    const int64_t images = images_at_a_time(x, y, gw.t, std::max(call.threads, 1));
    if (images > 0 && (pd.src_desc() != plain(g.x, type) || pd.dst_desc() != plain(g.y, type))) {
      Geometry part = g;
      part.x[0] = part.y[0] = images;
      const ThreadScope one(1);
      const auto small = pick(part);
      images_ = std::make_unique<ImageLoop>(host_, call, images, x, gw.t, y, small.weights_desc());
      Pipeline& p = images_->pipeline;
      p.input(DNNL_ARG_SRC, plain(part.x, type), small.src_desc());
      p.input(DNNL_ARG_WEIGHTS, small.weights_desc(), small.weights_desc());
      p.output(DNNL_ARG_DST, plain(part.y, type), small.dst_desc());
      if (has_bias_) p.input(DNNL_ARG_BIAS, *call.inputs[2], bias);
      return p.primitive(small);
    }
    pipeline_.input(DNNL_ARG_SRC, x, pd.src_desc());
    pipeline_.input(DNNL_ARG_WEIGHTS, gw.t, pd.weights_desc());
    pipeline_.output(DNNL_ARG_DST, strided(y), pd.dst_desc());
    if (has_bias_) pipeline_.input(DNNL_ARG_BIAS, *call.inputs[2], bias);
    pipeline_.primitive(pd);
  }

  void backward_data_plan(const tg_call& call) {
    const tg_tensor &dy = *call.inputs[0], &w = *call.inputs[1], &dx = *call.outputs[0];
    const Geometry g(call, with_spatial(dy, call.attrs[4], w.shape[1] * call.attrs[3].v.i), dims_of(w), dims_of(dy));
    const GroupedWeight gw(w, g.groups);
    const auto type = dnnl_type(dy.dtype);
    const dnnl::primitive_attr attr = base_attr(call);
    const auto pick = [&](const Geometry& part) {
      return first_fast(call, preferences(dy, best_backward_data(part)), [&](Layout layout) {
        const auto hint = forward(part, layout, type, Desc(), attr, dnnl::prop_kind::forward_training);
        return dnnl::convolution_backward_data::primitive_desc(
            engine(), algorithm::convolution_direct, Desc(part.x, type, part.tag(layout)),
            Desc(part.w, type, Tag::any), Desc(part.y, type, part.tag(layout)), part.stride, part.dilation,
            part.pad_begin, part.pad_end, hint, attr);
      });
    };
    const auto pd = pick(g);
    const int64_t images = images_at_a_time(dy, dx, gw.t, std::max(call.threads, 1));
    if (images > 0 && (pd.diff_src_desc() != plain(g.x, type) || pd.diff_dst_desc() != plain(g.y, type))) {
      Geometry part = g;
      part.x[0] = part.y[0] = images;
      const ThreadScope one(1);
      const auto small = pick(part);
      images_ = std::make_unique<ImageLoop>(host_, call, images, dy, gw.t, dx, small.weights_desc());
      Pipeline& p = images_->pipeline;
      p.input(DNNL_ARG_DIFF_DST, plain(part.y, type), small.diff_dst_desc());
      p.input(DNNL_ARG_WEIGHTS, small.weights_desc(), small.weights_desc());
      p.output(DNNL_ARG_DIFF_SRC, plain(part.x, type), small.diff_src_desc());
      return p.primitive(small);
    }
    pipeline_.input(DNNL_ARG_DIFF_DST, dy, pd.diff_dst_desc());
    pipeline_.input(DNNL_ARG_WEIGHTS, gw.t, pd.weights_desc());
    pipeline_.output(DNNL_ARG_DIFF_SRC, strided(dx), pd.diff_src_desc());
    pipeline_.primitive(pd);
  }

  void backward_weight_plan(const tg_call& call) {
    const tg_tensor &x = *call.inputs[0], &dy = *call.inputs[1], &dw = *call.outputs[0];
    const Geometry g(call, dims_of(x), dims_of(dw), dims_of(dy));
    const GroupedWeight gw(dw, g.groups);
    const auto type = dnnl_type(x.dtype);
    const dnnl::primitive_attr attr = base_attr(call);
    const auto pd = first_fast(call, preferences(x, best_backward_weight(g)), [&](Layout layout) {
      const auto hint = forward(g, layout, type, Desc(), attr, dnnl::prop_kind::forward_training);
      return dnnl::convolution_backward_weights::primitive_desc(
          engine(), algorithm::convolution_direct, Desc(g.x, type, g.tag(layout)), Desc(g.w, type, Tag::any),
          Desc(g.y, type, g.tag(layout)), g.stride, g.dilation, g.pad_begin, g.pad_end, hint, attr);
    });
    pipeline_.input(DNNL_ARG_SRC, x, pd.src_desc());
    pipeline_.input(DNNL_ARG_DIFF_DST, dy, pd.diff_dst_desc());
    pipeline_.output(DNNL_ARG_DIFF_WEIGHTS, strided(gw.t), pd.diff_weights_desc());
    pipeline_.primitive(pd);
  }

 private:
  const tg_host* host_;
  Pipeline pipeline_;
  std::unique_ptr<ImageLoop> images_;
  bool has_bias_ = false;
};

std::unique_ptr<Plan> make(const Instance& instance, const tg_call& call, void (ConvPlan::*build)(const tg_call&)) {
  const ThreadScope threads(call.threads);
  return refusing(call, [&] {
    auto plan = std::make_unique<ConvPlan>(instance.host, call);
    (plan.get()->*build)(call);
    return plan;
  });
}

}  // namespace

std::unique_ptr<Plan> make_conv(Instance& instance, const tg_call& call) {
  return make(instance, call, &ConvPlan::forward_plan);
}
std::unique_ptr<Plan> make_conv_backward_data(Instance& instance, const tg_call& call) {
  return make(instance, call, &ConvPlan::backward_data_plan);
}
std::unique_ptr<Plan> make_conv_backward_weight(Instance& instance, const tg_call& call) {
  return make(instance, call, &ConvPlan::backward_weight_plan);
}

}  // namespace tg::cpu
