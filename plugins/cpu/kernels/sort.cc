// SPDX-License-Identifier: Apache-2.0
//
// The floor's `sort`: stable along one axis, NaN last both ways. Elements become unsigned keys in the wanted order
// (descending: complemented), so that sorting (key, position) pairs is stable by itself: 8 bytes a pair for keys of up
// to 32 bits, by radix where the line is long.
#include <algorithm>
#include <cstring>
#include <limits>
#include <type_traits>
#include <vector>

#include "kernels/axes.h"
#include "kernels/kernels.h"

namespace tg::cpu {
namespace {

constexpr int64_t kGrain = 4096;
constexpr int64_t kRadixFrom = 512;

using plugin::boolean;

// Keys compare as the elements do; NaN is the largest key in either direction, and -0 equals +0.
template <class T>
auto key_of(T x, bool descending) {
  using V = std::conditional_t<std::is_same_v<T, boolean>, uint8_t, plugin::compute_t<T>>;
  if constexpr (plugin::is_floating<T>) {
    using K = std::conditional_t<sizeof(V) == 8, uint64_t, uint32_t>;
    constexpr K kSign = K(1) << (sizeof(K) * 8 - 1);
    V v = V(x);
    if (v != v) return std::numeric_limits<K>::max();
    v += V(0);  // -0 becomes +0
    K bits;
    std::memcpy(&bits, &v, sizeof bits);
    bits = bits & kSign ? ~bits : bits | kSign;
    return descending ? K(~bits) : bits;
  } else {
    using K = std::conditional_t<sizeof(T) == 8, uint64_t, uint32_t>;
    K bits;
    if constexpr (std::is_same_v<T, boolean>) {
      bits = x.value;
    } else {
      constexpr K kSign = std::is_signed_v<T> ? K(1) << (sizeof(K) * 8 - 1) : K(0);
      bits = K(x) ^ kSign;
    }
    return descending ? K(~bits) : bits;
  }
}

struct WidePair {
  uint64_t key;
  int64_t position;
  bool operator<(const WidePair& o) const { return key != o.key ? key < o.key : position < o.position; }
};

// Sorts pairs (key << 32 | position), which arrive in order of position, by key.
void radix_sort(std::vector<uint64_t>& pairs, std::vector<uint64_t>& other) {
  other.resize(pairs.size());
  uint32_t count[4][256] = {};
  for (uint64_t p : pairs) {
    for (int b = 0; b < 4; ++b) ++count[b][p >> (32 + 8 * b) & 255];
  }
  for (int b = 0; b < 4; ++b) {
    if (count[b][pairs[0] >> (32 + 8 * b) & 255] == pairs.size()) continue;  // all alike here
    uint32_t at[256], sum = 0;
    for (int v = 0; v < 256; ++v) {
      at[v] = sum;
      sum += count[b][v];
    }
    for (uint64_t p : pairs) other[at[p >> (32 + 8 * b) & 255]++] = p;
    pairs.swap(other);
  }
}

class SortPlan final : public Plan {
 public:
  SortPlan(Instance& instance, const tg_call& call) : host_(instance.host), dtype_(call.inputs[0]->dtype) {
    axis_ = int(call.attrs[0].v.i);
    descending_ = call.n_attrs > 1 && call.attrs[1].kind == TG_ATTR_INT && call.attrs[1].v.i != 0;
    if (axis_ < 0 || axis_ >= call.inputs[0]->ndim)
      plugin::fail(TG_INVALID_ARGUMENT, "[sort] expected an axis in [0, %d), got %d", call.inputs[0]->ndim, axis_);
    plugin::visit(dtype_, [](auto) {});
  }

  void run(const tg_run& r) override {
    plugin::visit(dtype_, [&](auto tag) { go<typename decltype(tag)::type>(r); });
  }

 private:
  template <class T>
  void go(const tg_run& r) const {
    const tg_tensor& x = *r.inputs[0];
    const tg_tensor* values = r.n_outputs > 0 ? r.outputs[0] : nullptr;
    const tg_tensor* index = r.n_outputs > 1 ? r.outputs[1] : nullptr;
    const T* from = plugin::data<const T>(x);
    T* to = values ? plugin::data<T>(*values) : nullptr;
    int64_t* positions = index ? plugin::data<int64_t>(*index) : nullptr;
    bool skip[TG_MAX_RANK] = {};
    skip[axis_] = true;
    const Axes<3> kept(x.ndim, x.shape,
                       {x.strides, values ? values->strides : x.strides, index ? index->strides : x.strides}, skip);
    const int64_t n = x.shape[axis_], xa = x.strides[axis_];
    const int64_t va = values ? values->strides[axis_] : 0, ia = index ? index->strides[axis_] : 0;
    constexpr bool kNarrow = sizeof(key_of(T{}, false)) == 4;
    plugin::parallel_for(host_, kept.count(), std::max<int64_t>(1, kGrain / n), r.threads,
                         [&](int64_t begin, int64_t end) {
                           std::vector<uint64_t> pairs, other;
                           std::vector<WidePair> wide;
                           kept.walk(kept.rank, begin, end, [&](const int64_t(&offset)[3]) {
                             const T* line = from + offset[0];
                             const auto write = [&](int64_t k, int64_t position) {
                               if (to) to[offset[1] + k * va] = line[position * xa];
                               if (positions) positions[offset[2] + k * ia] = position;
                             };
                             if (kNarrow && n <= int64_t(std::numeric_limits<uint32_t>::max())) {
                               pairs.resize(size_t(n));
                               for (int64_t k = 0; k < n; ++k)
                                 pairs[size_t(k)] = uint64_t(key_of(line[k * xa], descending_)) << 32 | uint64_t(k);
                               n >= kRadixFrom ? radix_sort(pairs, other) : std::sort(pairs.begin(), pairs.end());
                               for (int64_t k = 0; k < n; ++k) write(k, int64_t(pairs[size_t(k)] & 0xffffffffu));
                             } else {
                               wide.resize(size_t(n));
                               for (int64_t k = 0; k < n; ++k) wide[size_t(k)] = {key_of(line[k * xa], descending_), k};
                               std::sort(wide.begin(), wide.end());
                               for (int64_t k = 0; k < n; ++k) write(k, wide[size_t(k)].position);
                             }
                           });
                         });
  }

  const tg_host* host_;
  tg_dtype dtype_;
  int axis_;
  bool descending_;
};

}  // namespace

std::unique_ptr<Plan> make_sort(Instance& instance, const tg_call& call) {
  return std::make_unique<SortPlan>(instance, call);
}

}  // namespace tg::cpu
