// SPDX-License-Identifier: Apache-2.0
//
// blocks: a private layout, "secret". A block is 64 bytes of header, then the elements from the last to the first, every bit
// of them flipped: whoever takes it for a plain tensor gets nonsense, and whoever writes into it breaks the header. Calls of
// softmax along the last axis give one and take one; softmax_backward takes its y as one; reorder makes one plain. On the host
// the work is done in plan_run, on chaos by its streams.

#include <algorithm>
#include <cmath>
#include <memory>
#include <string_view>
#include <tengen/kernel_api.hpp>
#include <vector>

#include "chaos_ext.h"
#include "tg_rows.inc"

namespace {

using namespace tg::plugin;

constexpr uint64_t kHeader = 64;
constexpr uint32_t kMagic = 0x5ec2e700;
constexpr int64_t kSmall = 8;  // results of fewer elements are plain

uint64_t block_bytes(int64_t n) { return kHeader + uint64_t(n) * 4; }

// A tensor of n elements, plain or in a block.
class Operand {
 public:
  Operand() = default;
  Operand(void* p, int64_t n, bool block) : p_(static_cast<char*>(p) + (block ? kHeader : 0)), n_(n), block_(block) {}
  float get(int64_t i) const {
    uint32_t bits;
    std::memcpy(&bits, at(i), 4);
    if (block_) bits = ~bits;
    float x;
    std::memcpy(&x, &bits, 4);
    return x;
  }
  void set(int64_t i, float x) const {
    uint32_t bits;
    std::memcpy(&bits, &x, 4);
    if (block_) bits = ~bits;
    std::memcpy(at(i), &bits, 4);
  }
  void begin_block() const {
    if (block_) std::memcpy(p_ - kHeader, &kMagic, 4);
  }
  void check_block(const char* what) const {
    uint32_t magic = 0;
    if (block_) std::memcpy(&magic, p_ - kHeader, 4);
    if (block_ && magic != kMagic) fail(TG_INTERNAL, "blocks.%s: expected one of my blocks", what);
  }

 private:
  char* at(int64_t i) const { return p_ + 4 * (block_ ? n_ - 1 - i : i); }
  char* p_ = nullptr;
  int64_t n_ = 0;
  bool block_ = false;
};

enum class Kind { softmax, backward, reorder };

struct Work {
  Kind kind;
  int64_t n, last;
  uint32_t n_inputs;
  bool block[3];  // inputs, then the output

  void run(void* const (&p)[3]) const {
    Operand in[2], out(p[n_inputs], n, block[n_inputs]);
    for (uint32_t i = 0; i < n_inputs; ++i) (in[i] = Operand(p[i], n, block[i])).check_block("input");
    out.begin_block();
    if (kind == Kind::reorder)
      for (int64_t i = 0; i < n; ++i) out.set(i, in[0].get(i));
    else
      for (int64_t row = 0; row < n; row += last) {
        double most = -INFINITY, sum = 0;
        for (int64_t i = row; i < row + last; ++i) {
          if (kind == Kind::softmax) most = std::max(most, double(in[0].get(i)));
          else sum += double(in[0].get(i)) * in[1].get(i);
        }
        if (kind == Kind::softmax)
          for (int64_t i = row; i < row + last; ++i) sum += std::exp(in[0].get(i) - most);
        for (int64_t i = row; i < row + last; ++i)
          out.set(i, kind == Kind::softmax ? float(std::exp(in[0].get(i) - most) / sum) : float(in[1].get(i) * (in[0].get(i) - sum)));
      }
  }
};

// One launch on a chaos stream: what the run block said, by value.
struct Launch {
  Work work;
  tg_chaos_stream* stream;
  tg_tensor t[3];

  void run() const {
    void* p[3] = {};
    for (uint32_t i = 0; i <= work.n_inputs; ++i) {
      tg_error error{};
      const uint64_t bytes = work.block[i] ? block_bytes(work.n) : uint64_t(work.n) * 4;
      if (stream->api->address(stream, t[i].data, t[i].byte_offset, bytes, &p[i], &error) != TG_OK) fail(TG_INTERNAL, "blocks: %s", error.message);
    }
    work.run(p);
  }
};

struct Kernel : Plan {
  Work work{};
  bool on_chaos;
  std::vector<tg_layout> layouts;

  explicit Kernel(const tg_call& call) : on_chaos(call.native_device != nullptr) {
    const std::string_view op = call.op;
    work.kind = op == "softmax" ? Kind::softmax : op == "reorder" ? Kind::reorder : Kind::backward;
    const tg_tensor& y = *call.outputs[0];
    work.n = numel(y);
    work.last = y.ndim ? y.shape[y.ndim - 1] : 1;
    work.n_inputs = call.n_inputs;
    if (work.kind != Kind::reorder && (y.ndim == 0 || call.attrs[0].v.i != y.ndim - 1))
      fail(TG_UNIMPLEMENTED, "blocks: expected the last axis, got %lld", (long long)call.attrs[0].v.i);
    // The row names the tags; of a small result the plan says that it is plain.
    const std::string_view words = tg_rows[call.row].layouts;
    work.block[0] = words.starts_with("secret");
    if (work.kind == Kind::backward) work.block[1] = true;
    work.block[call.n_inputs] = words.ends_with("secret") && work.n >= kSmall;
    for (uint32_t i = 0; i <= call.n_inputs; ++i)
      layouts.push_back(work.block[i] ? tg_layout{"secret", block_bytes(work.n)} : tg_layout{nullptr, 0});
  }
  void info(tg_plan_info& i) override {
    i.n_algorithms = 1;
    i.algorithm = "reversed";
    i.n_layouts = uint32_t(layouts.size());
    i.layout_stride = sizeof(tg_layout);
    i.layouts = layouts.data();
  }
  void run(const tg_run& r) override {
    if (!on_chaos) {
      void* p[3] = {};
      for (uint32_t i = 0; i < r.n_inputs; ++i) p[i] = data<void>(*r.inputs[i]);
      p[r.n_inputs] = data<void>(*r.outputs[0]);
      return work.run(p);
    }
    auto launch = std::make_unique<Launch>(Launch{work, static_cast<tg_chaos_stream*>(r.native_stream), {}});
    for (uint32_t i = 0; i < r.n_inputs; ++i) launch->t[i] = *r.inputs[i];
    launch->t[r.n_inputs] = *r.outputs[0];
    tg_error error{};
    const int32_t status = launch->stream->api->enqueue(
        launch->stream, r.launch_id,
        [](void* context, tg_error* e) -> int32_t { return guard(e, [&] { static_cast<Launch*>(context)->run(); }); },
        [](void* context) { delete static_cast<Launch*>(context); }, launch.get(), &error);
    if (status != TG_OK) fail(status, "blocks: %s", error.message);
    launch.release();
  }
};

std::unique_ptr<Plan> make(void*, const tg_call& call) { return std::make_unique<Kernel>(call); }

int32_t open_plugin(uint32_t, const tg_host*, void** instance, tg_error*) {
  *instance = nullptr;
  return TG_OK;
}

constexpr tg_kernel_api kKernels = kernel_table<make>();
constexpr tg_plugin kPlugin = {
    sizeof(tg_plugin),     TG_ABI_VERSION, TG_PLUGIN_NAME, TG_PLUGIN_VENDOR, TG_PLUGIN_VERSION, tg_rows, TG_N_ROWS,
    sizeof(tg_kernel_row), nullptr,        &kKernels,      open_plugin,      [](void*) {},      nullptr,
};

}  // namespace

extern "C" const tg_plugin* tg_plugin_query(uint32_t host_abi, const tg_host*) {
  return host_abi == TG_ABI_VERSION ? &kPlugin : nullptr;
}
