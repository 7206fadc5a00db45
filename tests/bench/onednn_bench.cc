// SPDX-License-Identifier: Apache-2.0
// oneDNN's own speed: primitives, memory and layouts made beforehand, nothing but execute timed. See timing.h for how to
// ask.
//   matmul1024     1024 x 1024 x 1024 f32, plain row-major operands
//   conv_blocked   3x3, 64 -> 64 channels, 8 x 56 x 56 f32, all in the layouts that oneDNN picks
//   conv_nhwc      the same on channels-last activations
//   conv_nchw      the same from contiguous NCHW to contiguous NCHW: with the reorders into and out of its layouts
#include <oneapi/dnnl/dnnl.hpp>
#include <unordered_map>

#include "timing.h"

namespace {

using dnnl::memory;
using Tag = memory::format_tag;

memory filled(const memory::desc& desc, const dnnl::engine& engine) {
  memory m(desc, engine);
  std::fill_n(static_cast<float*>(m.get_data_handle()), desc.get_size() / sizeof(float), 0.5f);
  return m;
}

memory::desc f32(const memory::dims& dims, Tag tag) { return {dims, memory::data_type::f32, tag}; }

}  // namespace

int main() {
  const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  dnnl::stream stream(engine);
  const auto work = [&](const char* name, const dnnl::primitive& primitive, const memory::desc& x, const memory::desc& w,
                        const memory::desc& y) {
    const std::unordered_map<int, memory> args = {{DNNL_ARG_SRC, filled(x, engine)},
                                                  {DNNL_ARG_WEIGHTS, filled(w, engine)},
                                                  {DNNL_ARG_DST, filled(y, engine)}};
    return bench::Work{name, [&stream, primitive, args] {
                         primitive.execute(stream, args);
                         stream.wait();
                       }};
  };
  const auto matmul = [&] {
    const memory::desc square = f32({1024, 1024}, Tag::ab);
    const dnnl::matmul::primitive_desc pd(engine, square, square, square);
    return work("matmul1024", dnnl::matmul(pd), square, square, square);
  };
  const auto conv = [&](const char* name, Tag tag) {
    const memory::desc x = f32({8, 64, 56, 56}, tag), w = f32({64, 64, 3, 3}, Tag::any);
    const dnnl::convolution_forward::primitive_desc pd(engine, dnnl::prop_kind::forward_inference,
                                                       dnnl::algorithm::convolution_direct, x, w, x, {1, 1}, {1, 1},
                                                       {1, 1});
    return work(name, dnnl::convolution_forward(pd), pd.src_desc(), pd.weights_desc(), pd.dst_desc());
  };
  const auto conv_nchw = [&] {
    const memory::desc x = f32({8, 64, 56, 56}, Tag::nchw), w = f32({64, 64, 3, 3}, Tag::oihw);
    const memory::desc any = f32({8, 64, 56, 56}, Tag::any), any_w = f32({64, 64, 3, 3}, Tag::any);
    const dnnl::convolution_forward::primitive_desc pd(engine, dnnl::prop_kind::forward_inference,
                                                       dnnl::algorithm::convolution_direct, any, any_w, any, {1, 1}, {1, 1},
                                                       {1, 1});
    const memory plain_x = filled(x, engine), plain_w = filled(w, engine), plain_y = filled(x, engine);
    const memory src = filled(pd.src_desc(), engine), weights = filled(pd.weights_desc(), engine), dst = filled(pd.dst_desc(), engine);
    const dnnl::reorder in(plain_x, src), in_w(plain_w, weights), out(dst, plain_y);
    const dnnl::convolution_forward convolution(pd);
    return bench::Work{"conv_nchw", [=, &stream]() mutable {
                         in.execute(stream, {{DNNL_ARG_FROM, plain_x}, {DNNL_ARG_TO, src}});
                         in_w.execute(stream, {{DNNL_ARG_FROM, plain_w}, {DNNL_ARG_TO, weights}});
                         convolution.execute(stream, {{DNNL_ARG_SRC, src}, {DNNL_ARG_WEIGHTS, weights}, {DNNL_ARG_DST, dst}});
                         out.execute(stream, {{DNNL_ARG_FROM, dst}, {DNNL_ARG_TO, plain_y}});
                         stream.wait();
                       }};
  };
  return bench::serve({matmul(), conv_nchw(), conv("conv_blocked", Tag::any), conv("conv_nhwc", Tag::nhwc)});
}
