// SPDX-License-Identifier: Apache-2.0
//
// random: [state] -> y. Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3"): a bijection of a
// 128-bit counter under a 64-bit key, so that any element can be computed on its own.

#include <array>

#include "common.h"

namespace tg::reference {
namespace {

using Block = std::array<uint32_t, 4>;

Block philox4x32_10(uint64_t counter, uint64_t seed) {
  constexpr uint32_t kMultiplier0 = 0xD2511F53, kMultiplier1 = 0xCD9E8D57;
  constexpr uint32_t kWeyl0 = 0x9E3779B9, kWeyl1 = 0xBB67AE85;
  Block x = {uint32_t(counter), uint32_t(counter >> 32), 0, 0};
  uint32_t key0 = uint32_t(seed), key1 = uint32_t(seed >> 32);
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = uint64_t(kMultiplier0) * x[0], p1 = uint64_t(kMultiplier1) * x[2];
    x = {uint32_t(p1 >> 32) ^ x[1] ^ key0, uint32_t(p1), uint32_t(p0 >> 32) ^ x[3] ^ key1, uint32_t(p0)};
    key0 += kWeyl0;
    key1 += kWeyl1;
  }
  return x;
}

class Random : public plugin::Plan {
 public:
  Random(const tg_host* host, bool from_state) : host_(host), from_state_(from_state) {}

  void run(const tg_run& run) override {
    const tg_tensor& y = *run.outputs[0];
    if (!plugin::is_contiguous(y))
      fail(TG_INVALID_ARGUMENT, "[random] expected a contiguous output, got a strided %s", text(y).c_str());
    uint64_t seed, offset;
    if (from_state_) {
      const tg_tensor& state = *run.inputs[0];
      seed = uint64_t(data<const int64_t>(state)[0]);
      offset = uint64_t(data<const int64_t>(state)[state.strides[0]]);
    } else {
      seed = uint64_t(attr("random", run, 0, TG_ATTR_INT).v.i);
      offset = uint64_t(attr("random", run, 1, TG_ATTR_INT).v.i);
    }
    uint32_t* to = data<uint32_t>(y);
    const int64_t n = numel(y), blocks = (n + 3) / 4;
    parallel_rows(host_, run, blocks, 4, [&](int64_t begin, int64_t end) {
      for (int64_t b = begin; b < end; ++b) {
        const Block words = philox4x32_10(offset + uint64_t(b), seed);
        std::copy_n(words.begin(), std::min<int64_t>(4, n - 4 * b), to + 4 * b);
      }
    });
  }

 private:
  const tg_host* host_;
  bool from_state_;
};

}  // namespace

PlanPtr make_random(const tg_host* host, const tg_call& call) {
  require_dtype("random", "the output", plugin::dtype_of<uint32_t>::value, call.outputs[0]->dtype);
  const bool from_state = call.n_inputs > 0 && (call.inputs_present & 1);
  if (from_state) {
    const tg_tensor& state = *call.inputs[0];
    require_dtype("random", "the state", plugin::dtype_of<int64_t>::value, state.dtype);
    if (state.ndim != 1 || state.shape[0] != 2)
      fail(TG_INVALID_ARGUMENT, "[random] expected the state i64[2] (seed, offset), got %s", text(state).c_str());
  }
  return std::make_unique<Random>(host, from_state);
}

}  // namespace tg::reference
