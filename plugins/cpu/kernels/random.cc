// SPDX-License-Identifier: Apache-2.0
//
// The floor's `random`: Philox4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel Random Numbers: As Easy as 1, 2, 3", SC
// 2011), a block of four words per counter, as many counters at once as a vector has 64-bit lanes.
#include <algorithm>
#include <cstring>

#include "kernels/kernels.h"
#include "kernels/random.h"

// clang-format off: the order matters
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/random.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace tg::cpu::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

constexpr int kBlocks = 16;

// The words of 16 blocks from `counter` on. Each 64-bit lane is a block; a word is the low half of its lane (what the
// multiplication leaves above does no harm: it reads the low halves, and the shifted high halves are clean).
void philox(uint64_t counter, uint64_t seed, uint32_t* out) {
#if HWY_TARGET == HWY_SCALAR
  for (int i = 0; i < kBlocks; ++i, out += 4) {
    const uint64_t c = counter + uint64_t(i);
    uint32_t x0 = uint32_t(c), x1 = uint32_t(c >> 32), x2 = 0, x3 = 0, k0 = uint32_t(seed), k1 = uint32_t(seed >> 32);
    for (int round = 0; round < 10; ++round, k0 += 0x9E3779B9u, k1 += 0xBB67AE85u) {
      const uint64_t p0 = uint64_t(0xD2511F53u) * x0, p1 = uint64_t(0xCD9E8D57u) * x2;
      x0 = uint32_t(p1 >> 32) ^ x1 ^ k0;
      x1 = uint32_t(p1);
      x2 = uint32_t(p0 >> 32) ^ x3 ^ k1;
      x3 = uint32_t(p0);
    }
    out[0] = x0, out[1] = x1, out[2] = x2, out[3] = x3;
  }
#else
  const hn::CappedTag<uint64_t, kBlocks> d;
  const hn::Repartition<uint32_t, decltype(d)> d32;
  const auto product = [&](auto m, auto x) HWY_ATTR { return hn::MulEven(m, hn::BitCast(d32, x)); };
  const auto m0 = hn::Set(d32, 0xD2511F53u), m1 = hn::Set(d32, 0xCD9E8D57u);
  const auto low = hn::Set(d, uint64_t(0xffffffffu));
  const int lanes = int(hn::Lanes(d));
  for (int i = 0; i < kBlocks; i += lanes) {
    const auto c = hn::Add(hn::Set(d, counter + uint64_t(i)), hn::Iota(d, uint64_t(0)));
    auto x0 = c, x1 = hn::ShiftRight<32>(c), x2 = hn::Zero(d), x3 = hn::Zero(d);
    uint32_t k0 = uint32_t(seed), k1 = uint32_t(seed >> 32);
    for (int round = 0; round < 10; ++round, k0 += 0x9E3779B9u, k1 += 0xBB67AE85u) {
      const auto p0 = product(m0, x0), p1 = product(m1, x2);
      x0 = hn::Xor(hn::Xor(hn::ShiftRight<32>(p1), x1), hn::Set(d, uint64_t(k0)));
      x2 = hn::Xor(hn::Xor(hn::ShiftRight<32>(p0), x3), hn::Set(d, uint64_t(k1)));
      x1 = p1;
      x3 = p0;
    }
    const auto first = hn::Or(hn::And(x0, low), hn::ShiftLeft<32>(x1));
    const auto second = hn::Or(hn::And(x2, low), hn::ShiftLeft<32>(x3));
    hn::StoreInterleaved2(first, second, d, reinterpret_cast<uint64_t*>(out + 4 * i));
  }
#endif
}

// Words [begin, end) of the stream that starts at `offset`; begin is a multiple of 64.
void random_words(uint64_t seed, uint64_t offset, int64_t begin, int64_t end, uint32_t* out) {
  int64_t k = begin;
  for (; k + 4 * kBlocks <= end; k += 4 * kBlocks) philox(offset + uint64_t(k) / 4, seed, out + k);
  if (k < end) {
    uint32_t buffer[4 * kBlocks];
    philox(offset + uint64_t(k) / 4, seed, buffer);
    std::memcpy(out + k, buffer, size_t(end - k) * 4);
  }
}

RandomWords random_words_here() { return random_words; }
}  // namespace
}  // namespace tg::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace tg::cpu {
HWY_EXPORT(random_words_here);
RandomWords random_words() { return HWY_DYNAMIC_DISPATCH(random_words_here)(); }
namespace {

constexpr int64_t kChunk = 64;  // words that one call of philox makes

class RandomPlan final : public Plan {
 public:
  explicit RandomPlan(Instance& instance) : host_(instance.host), words_(random_words()) {}

  void run(const tg_run& r) override {
    const tg_tensor& y = *r.outputs[0];
    uint64_t seed, offset;
    if (r.n_inputs > 0 && r.inputs[0]) {
      const tg_tensor& state = *r.inputs[0];
      const int64_t* s = plugin::data<const int64_t>(state);
      seed = uint64_t(s[0]);
      offset = uint64_t(s[state.strides[0]]);
    } else {
      if (r.n_attrs < 2)
        plugin::fail(TG_INVALID_ARGUMENT, "[random] expected run attributes seed and offset, or a state tensor");
      seed = uint64_t(r.attrs[0].v.i);
      offset = uint64_t(r.attrs[1].v.i);
    }
    uint32_t* out = plugin::data<uint32_t>(y);
    const int64_t n = plugin::numel(y);
    plugin::parallel_for(host_, (n + kChunk - 1) / kChunk, 16384 / kChunk, r.threads, [&](int64_t begin, int64_t end) {
      words_(seed, offset, begin * kChunk, std::min(n, end * kChunk), out);
    });
  }

 private:
  const tg_host* host_;
  RandomWords words_;
};

}  // namespace

std::unique_ptr<Plan> make_random(Instance& instance, const tg_call&) { return std::make_unique<RandomPlan>(instance); }

}  // namespace tg::cpu
#endif
