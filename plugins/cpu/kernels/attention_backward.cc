// SPDX-License-Identifier: Apache-2.0
//
// attention_backward: the weights are made again tile by tile from the saved log-sums (Dao et al., "FlashAttention",
// 2022, algorithm 4). A task is a head of keys and values with the queries of all heads that share it, so that nothing
// is summed across tasks; it holds the gradient of its queries in the type of accumulation.
#include <limits>

#include "kernels/attention.h"

// clang-format off: the order matters
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/attention_backward.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/attention-inl.h"
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace tg::cpu::HWY_NAMESPACE {
namespace {

template <class C>
struct BackwardSpace {
  int64_t bytes = 0;
  C *q, *dy, *p, *dp, *dk, *dv, *k, *v, *turned_k, *turned_v, *delta, *lse, *dq;
  BackwardSpace(const Attention& a, char* workspace) {
    q = piece<C>(workspace, kQueryTile * a.e, &bytes);
    dy = piece<C>(workspace, kQueryTile * a.v, &bytes);
    p = piece<C>(workspace, kQueryTile * kKeyTile, &bytes);
    dp = piece<C>(workspace, kQueryTile * kKeyTile, &bytes);
    dk = piece<C>(workspace, kKeyTile * a.e, &bytes);
    dv = piece<C>(workspace, kKeyTile * a.v, &bytes);
    k = piece<C>(workspace, a.copies(a.key) ? kKeyTile * a.e : 0, &bytes);
    v = piece<C>(workspace, a.copies(a.value) ? kKeyTile * a.v : 0, &bytes);
    turned_k = piece<C>(workspace, kKeyTile * a.e, &bytes);
    turned_v = piece<C>(workspace, kKeyTile * a.v, &bytes);
    delta = piece<C>(workspace, a.rows(), &bytes);
    lse = piece<C>(workspace, a.rows(), &bytes);
    dq = piece<C>(workspace, a.wants_dq ? a.rows() * a.e : 0, &bytes);
  }
};

// delta = sum(dy * y) - dlse of every row, and lse with 0 for rows that see nothing.
template <class T, class C>
void row_sums(const Attention& a, int64_t n, int64_t kv, const BackwardSpace<C>& w) {
  for (int64_t r = 0; r < a.rows(); ++r) {
    const int64_t h = kv * a.g + r / a.l, i = r % a.l;
    const T *dy = a.dy.at<const T>(n, h, i), *y = a.y.at<const T>(n, h, i);
    C sum = 0;
    for (int64_t j = 0; j < a.v; ++j) sum += C(dy[j * a.dy.step[3]]) * C(y[j * a.y.step[3]]);
    w.delta[r] = a.dlse.data ? sum - *a.dlse.at<const C>(n, h, i) : sum;
    const C lse = *a.lse.at<const C>(n, h, i);
    w.lse[r] = lse == -std::numeric_limits<C>::infinity() ? C(0) : lse;
  }
}

template <class T, class C = plugin::compute_t<T>>
void backward(const Attention& a, int64_t task, char* workspace) {
  const BackwardSpace<C> w(a, workspace);
  const int64_t n = task / a.kv, kv = task % a.kv;
  row_sums<T>(a, n, kv, w);
  if (a.wants_dq) std::fill_n(w.dq, a.rows() * a.e, C(0));
  for (int64_t j0 = 0; j0 < a.s; j0 += kKeyTile) {
    const int64_t keys = std::min(kKeyTile, a.s - j0);
    const Tile<C> k = tile_of<T>(a.key, n, kv, j0, keys, a.e, w.k), v = tile_of<T>(a.value, n, kv, j0, keys, a.v, w.v);
    transpose_tile(k, keys, a.e, w.turned_k);
    transpose_tile(v, keys, a.v, w.turned_v);
    std::fill_n(w.dk, keys * a.e, C(0));
    std::fill_n(w.dv, keys * a.v, C(0));
    for (int64_t first = 0; first < a.rows(); first += kQueryTile) {
      const int64_t rows = std::min(kQueryTile, a.rows() - first);
      const int64_t count = std::min(keys, a.visible(first, first + rows) - j0);
      if (count <= 0) continue;
      const auto head_of = [&](int64_t r) { return kv * a.g + (first + r) / a.l; };
      const auto query_of = [&](int64_t r) { return (first + r) % a.l; };
      for (int64_t r = 0; r < rows; ++r) {
        read_row(a.q.at<const T>(n, head_of(r), query_of(r)), a.q.step[3], a.e, C(a.scale), w.q + r * a.e);
        read_row(a.dy.at<const T>(n, head_of(r), query_of(r)), a.dy.step[3], a.v, C(1), w.dy + r * a.v);
      }
      product(rows, count, a.e, w.q, a.e, int64_t(1), w.turned_k, kKeyTile, w.p, kKeyTile, false);
      product(rows, count, a.v, w.dy, a.v, int64_t(1), w.turned_v, kKeyTile, w.dp, kKeyTile, false);
      for (int64_t r = 0; r < rows; ++r) {
        C *p = w.p + r * kKeyTile, *dp = w.dp + r * kKeyTile;
        mask_row(a, n, head_of(r), query_of(r), j0, count, p);
        exp_row(p, count, w.lse[first + r]);
        const C delta = w.delta[first + r];
        if (a.dropout > 0) {
          drop_row(a, n, head_of(r), query_of(r), j0, count, dp);
          for (int64_t j = 0; j < count; ++j) dp[j] = p[j] * (dp[j] - delta);
          drop_row(a, n, head_of(r), query_of(r), j0, count, p);
        } else {
          for (int64_t j = 0; j < count; ++j) dp[j] = p[j] * (dp[j] - delta);
        }
      }
      if (a.dv.data) product(count, a.v, rows, w.p, int64_t(1), kKeyTile, w.dy, a.v, w.dv, a.v, true);
      if (a.dk.data) product(count, a.e, rows, w.dp, int64_t(1), kKeyTile, w.q, a.e, w.dk, a.e, true);
      if (a.wants_dq)
        product(rows, a.e, count, w.dp, kKeyTile, int64_t(1), k.data, k.row, w.dq + first * a.e, a.e, true);
    }
    for (int64_t j = 0; j < keys; ++j) {
      if (a.dk.data) write_row(w.dk + j * a.e, a.e, C(1), a.dk.at<T>(n, kv, j0 + j), a.dk.step[3]);
      if (a.dv.data) write_row(w.dv + j * a.v, a.v, C(1), a.dv.at<T>(n, kv, j0 + j), a.dv.step[3]);
    }
  }
  if (!a.wants_dq) return;
  for (int64_t r = 0; r < a.rows(); ++r)
    write_row(w.dq + r * a.e, a.e, C(a.scale), a.dq.at<T>(n, kv * a.g + r / a.l, r % a.l), a.dq.step[3]);
}

void AttentionBackwardTask(const Attention& a, int64_t task, char* workspace) {
  plugin::visit(a.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    if constexpr (plugin::is_floating<T>) backward<T>(a, task, workspace);
  });
}

int64_t AttentionBackwardBytes(const Attention& a) {
  return a.acc.bits == 64 ? BackwardSpace<double>(a, nullptr).bytes : BackwardSpace<float>(a, nullptr).bytes;
}

}  // namespace
}  // namespace tg::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace tg::cpu {
HWY_EXPORT(AttentionBackwardTask);
HWY_EXPORT(AttentionBackwardBytes);
namespace {

class AttentionBackwardPlan final : public Plan {
 public:
  AttentionBackwardPlan(const Instance& instance, const tg_call& call) : host_(instance.host), call_(call) {}

  uint64_t workspace(const tg_run& r) override {
    const Attention a = bind(r);
    return workspace_of_tasks(r, a.b * a.kv, HWY_DYNAMIC_DISPATCH(AttentionBackwardBytes)(a));
  }
  void run(const tg_run& r) override {
    const Attention a = bind(r);
    for_tasks(host_, r, a.b * a.kv, HWY_DYNAMIC_DISPATCH(AttentionBackwardBytes)(a),
              [&](int64_t task, char* workspace) {
                HWY_DYNAMIC_DISPATCH(AttentionBackwardTask)
                (a, task, workspace);
              });
  }

 private:
  Attention bind(const tg_run& r) const {
    Attention a = call_;
    a.set_form(*r.inputs[1], *r.inputs[2], *r.inputs[3]);
    a.set_run(r);
    a.set_mask(given(r, 6));
    a.dy = Operand(r.inputs[0]), a.q = Operand(r.inputs[1]), a.key = Operand(r.inputs[2]),
    a.value = Operand(r.inputs[3]);
    a.y = Operand(r.inputs[4]), a.lse = Operand(r.inputs[5]), a.dlse = Operand(given(r, 7));
    a.wants_dq = wanted(r, 0) != nullptr;
    a.dq = Operand(wanted(r, 0)), a.dk = Operand(wanted(r, 1)), a.dv = Operand(wanted(r, 2));
    return a;
  }

  const tg_host* host_;
  Attention call_;
};

}  // namespace

std::unique_ptr<Plan> make_attention_backward(Instance& instance, const tg_call& call) {
  if (call.n_outputs > 3 && (call.outputs_wanted >> 3 & 1))
    plugin::fail(TG_UNIMPLEMENTED, "[attention_backward] a mask's gradient is left to the decomposition");
  return std::make_unique<AttentionBackwardPlan>(instance, call);
}

}  // namespace tg::cpu
#endif
