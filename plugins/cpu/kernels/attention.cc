// SPDX-License-Identifier: Apache-2.0
//
// attention: tiles of scores with a running maximum and sum (Milakov & Gimelshein, "Online normalizer calculation for
// softmax", 2018; Dao et al., "FlashAttention", 2022). No L x S buffer: a worker holds one tile of scores, and keys
// that no query of a tile may see are never read.
#include <limits>

#include "kernels/attention.h"

// clang-format off: the order matters
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/attention.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/attention-inl.h"
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace tg::cpu::HWY_NAMESPACE {
namespace {

constexpr int64_t kFewRows = 4;  // up to here turning the keys would cost more than their products

template <class C>
struct ForwardSpace {
  int64_t bytes = 0;
  C *q, *scores, *y, *k, *v, *turned, *top, *total;
  ForwardSpace(const Attention& a, char* workspace) {
    q = piece<C>(workspace, kQueryTile * a.e, &bytes);
    scores = piece<C>(workspace, kQueryTile * kKeyTile, &bytes);
    y = piece<C>(workspace, kQueryTile * a.v, &bytes);
    k = piece<C>(workspace, a.copies(a.key) ? kKeyTile * a.e : 0, &bytes);
    v = piece<C>(workspace, a.copies(a.value) ? kKeyTile * a.v : 0, &bytes);
    turned = piece<C>(workspace, kKeyTile * a.e, &bytes);
    top = piece<C>(workspace, kQueryTile, &bytes);
    total = piece<C>(workspace, kQueryTile, &bytes);
  }
};

// scores[r, j] = q[r] . k[j], for rows that lie side by side.
template <class C>
void few_scores(int64_t rows, int64_t count, int64_t e, const C* q, Tile<C> k, C* scores) {
  const hn::ScalableTag<C> d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t j = 0; j < count; ++j) {
    const C* key = k.data + j * k.row;
    for (int64_t r = 0; r < rows; ++r) {
      const C* query = q + r * e;
      auto sum = hn::Zero(d);
      int64_t i = 0;
      for (; i + lanes <= e; i += lanes) sum = hn::MulAdd(hn::LoadU(d, query + i), hn::LoadU(d, key + i), sum);
      if (i < e) {
        const size_t rest = size_t(e - i);
        sum = hn::MulAdd(load_first(d, query + i, rest), load_first(d, key + i, rest), sum);
      }
      scores[r * kKeyTile + j] = hn::GetLane(hn::SumOfLanes(d, sum));
    }
  }
}

template <class T, class C = plugin::compute_t<T>>
void forward(const Attention& a, int64_t task, char* workspace) {
  const ForwardSpace<C> w(a, workspace);
  const int64_t head = task / a.row_tiles(), n = head / a.kv, kv = head % a.kv;
  const int64_t first = task % a.row_tiles() * kQueryTile, rows = std::min(kQueryTile, a.rows() - first);
  const auto head_of = [&](int64_t r) { return kv * a.g + (first + r) / a.l; };
  const auto query_of = [&](int64_t r) { return (first + r) % a.l; };
  for (int64_t r = 0; r < rows; ++r)
    read_row(a.q.at<const T>(n, head_of(r), query_of(r)), a.q.step[3], a.e, C(a.scale), w.q + r * a.e);
  std::fill_n(w.top, rows, -std::numeric_limits<C>::infinity());
  std::fill_n(w.total, rows, C(0));
  std::fill_n(w.y, rows * a.v, C(0));
  const int64_t seen = a.visible(first, first + rows);
  const bool few = rows <= kFewRows;
  for (int64_t j0 = 0; j0 < seen; j0 += kKeyTile) {
    const int64_t count = std::min(kKeyTile, seen - j0);
    const Tile<C> k = tile_of<T>(a.key, n, kv, j0, count, a.e, w.k);
    if (few) {
      few_scores(rows, count, a.e, w.q, k, w.scores);
    } else {
      transpose_tile(k, count, a.e, w.turned);
      product(rows, count, a.e, w.q, a.e, int64_t(1), w.turned, kKeyTile, w.scores, kKeyTile, false);
    }
    for (int64_t r = 0; r < rows; ++r) {
      C* x = w.scores + r * kKeyTile;
      mask_row(a, n, head_of(r), query_of(r), j0, count, x);
      const C top = row_top(x, count, w.top[r]);
      const C shift = top == -std::numeric_limits<C>::infinity() ? C(0) : top;
      const C before = std::exp(w.top[r] - shift);
      w.total[r] = w.total[r] * before + exp_row(x, count, shift);
      w.top[r] = top;
      if (before != 1) scale_row(w.y + r * a.v, a.v, before);
      if (a.dropout > 0) drop_row(a, n, head_of(r), query_of(r), j0, count, x);
    }
    const Tile<C> v = tile_of<T>(a.value, n, kv, j0, count, a.v, w.v);
    product(rows, a.v, count, w.scores, kKeyTile, int64_t(1), v.data, v.row, w.y, a.v, true);
  }
  for (int64_t r = 0; r < rows; ++r) {
    const C total = w.total[r];
    write_row(w.y + r * a.v, a.v, total == 0 ? C(0) : 1 / total, a.y.at<T>(n, head_of(r), query_of(r)), a.y.step[3]);
    if (a.lse.data) *a.lse.at<C>(n, head_of(r), query_of(r)) = total == 0 ? w.top[r] : w.top[r] + std::log(total);
  }
}

void AttentionTask(const Attention& a, int64_t task, char* workspace) {
  plugin::visit(a.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    if constexpr (plugin::is_floating<T>) forward<T>(a, task, workspace);
  });
}

int64_t AttentionBytes(const Attention& a) {
  return a.acc.bits == 64 ? ForwardSpace<double>(a, nullptr).bytes : ForwardSpace<float>(a, nullptr).bytes;
}

}  // namespace
}  // namespace tg::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace tg::cpu {
HWY_EXPORT(AttentionTask);
HWY_EXPORT(AttentionBytes);
namespace {

class AttentionPlan final : public Plan {
 public:
  AttentionPlan(const Instance& instance, const tg_call& call) : host_(instance.host), call_(call) {}

  uint64_t workspace(const tg_run& r) override {
    const Attention a = bind(r);
    return workspace_of_tasks(r, a.b * a.kv * a.row_tiles(), HWY_DYNAMIC_DISPATCH(AttentionBytes)(a));
  }
  void run(const tg_run& r) override {
    const Attention a = bind(r);
    for_tasks(host_, r, a.b * a.kv * a.row_tiles(), HWY_DYNAMIC_DISPATCH(AttentionBytes)(a),
              [&](int64_t task, char* workspace) {
                HWY_DYNAMIC_DISPATCH(AttentionTask)
                (a, task, workspace);
              });
  }

 private:
  Attention bind(const tg_run& r) const {
    Attention a = call_;
    a.set_form(*r.inputs[0], *r.inputs[1], *r.inputs[2]);
    a.set_run(r);
    a.set_mask(given(r, 3));
    a.q = Operand(r.inputs[0]), a.key = Operand(r.inputs[1]), a.value = Operand(r.inputs[2]);
    a.y = Operand(r.outputs[0]), a.lse = Operand(wanted(r, 1));
    return a;
  }

  const tg_host* host_;
  Attention call_;
};

}  // namespace

std::unique_ptr<Plan> make_attention(Instance& instance, const tg_call& call) {
  return std::make_unique<AttentionPlan>(instance, call);
}

}  // namespace tg::cpu
#endif
