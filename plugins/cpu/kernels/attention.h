// SPDX-License-Identifier: Apache-2.0
//
// What attention and its gradient share: the operands of a run, and how the work is cut. The rows of a tile are queries
// of all the heads that share a head of keys and values, so that decoding with grouped heads reads a key once.
#ifndef TENGEN_PLUGINS_CPU_ATTENTION_H_
#define TENGEN_PLUGINS_CPU_ATTENTION_H_

#include <algorithm>

#include "kernels/kernels.h"
#include "kernels/random.h"

namespace tg::cpu {

constexpr int64_t kQueryTile = 96, kKeyTile = 192;  // a tile of scores fits the second cache, its operands too

// An operand of up to 4 axes; stride 0 where it is spread.
struct Operand {
  char* data = nullptr;  // NULL: absent
  int64_t step[4] = {};
  Operand() = default;
  explicit Operand(const tg_tensor* t) {
    if (!t) return;
    data = plugin::data<char>(*t);
    for (int i = 0; i < t->ndim; ++i) step[i] = t->shape[i] == 1 ? 0 : t->strides[i];
    if (t->ndim == 4 && t->shape[3] == 1) step[3] = 1;
  }
  template <class T>
  T* at(int64_t i, int64_t j, int64_t k, int64_t l = 0) const {
    return reinterpret_cast<T*>(data) + i * step[0] + j * step[1] + k * step[2] + l * step[3];
  }
};

struct Attention {
  bool causal;
  double scale, dropout;
  int64_t offset = 0, seed = 0, counter = 0;
  int64_t b = 0, kv = 0, g = 0, l = 0, s = 0, e = 0, v = 0;  // as in the schema; g query heads per key head
  Operand q, key, value, y, lse, mask, dy, dlse, dq, dk, dv;
  bool bool_mask = false, wants_dq = false;
  tg_dtype dtype, acc;
  RandomWords words;

  explicit Attention(const tg_call& call)
      : causal(call.attrs[0].v.i != 0),
        scale(call.attrs[1].v.f),
        dropout(call.attrs[2].v.f),
        dtype(call.inputs[0]->dtype),
        acc(dtype.bits == 16 ? plugin::dtype_of<float>::value : dtype),
        words(random_words()) {}

  void set_form(const tg_tensor& query, const tg_tensor& keys, const tg_tensor& values) {
    b = query.shape[0], kv = keys.shape[1], g = query.shape[1] / kv, l = query.shape[2], e = query.shape[3];
    s = keys.shape[2], v = values.shape[3];
  }
  void set_run(const tg_run& r) { offset = r.attrs[0].v.i, seed = r.attrs[1].v.i, counter = r.attrs[2].v.i; }
  void set_mask(const tg_tensor* t) {
    mask = Operand(t);
    if (!t) return;
    if (t->shape[3] == 1) mask.step[3] = 0;
    bool_mask = t->dtype.code == TG_CODE_BOOL;
  }

  // Whether tiles of an operand have to be copied: converted, or their rows made contiguous.
  bool copies(const Operand& x) const { return dtype.bits == 16 || x.step[3] != 1; }
  int64_t rows() const { return g * l; }  // of a head of keys
  int64_t row_tiles() const { return (rows() + kQueryTile - 1) / kQueryTile; }
  int64_t visible(int64_t i) const { return causal ? std::clamp<int64_t>(i + offset + 1, 0, s) : s; }
  // Keys that any of rows [first, last) sees.
  int64_t visible(int64_t first, int64_t last) const {
    int64_t most = 0;
    for (int64_t r = first; r < last; ++r) most = std::max(most, visible(r % l));
    return most;
  }
};

inline const tg_tensor* given(const tg_run& r, uint32_t i) {
  return i < r.n_inputs && (r.inputs_present >> i & 1) ? r.inputs[i] : nullptr;
}
inline const tg_tensor* wanted(const tg_run& r, uint32_t i) {
  return i < r.n_outputs && (r.outputs_wanted >> i & 1) ? r.outputs[i] : nullptr;
}

// The next n elements of a workspace (NULL: only their size is counted).
template <class C>
C* piece(char* workspace, int64_t n, int64_t* used) {
  C* const at = workspace ? reinterpret_cast<C*>(workspace + *used) : nullptr;
  *used += (n * int64_t(sizeof(C)) + 63) / 64 * 64;
  return at;
}

// Tasks are dealt out to as many workers as there are threads, each with a workspace of its own.
template <class Body>
void for_tasks(const tg_host* host, const tg_run& r, int64_t tasks, int64_t workspace, Body&& body) {
  const int64_t workers = std::min<int64_t>(tasks, std::max(r.threads, 1));
  char* const scratch = static_cast<char*>(r.workspace) + r.workspace_offset;
  plugin::parallel_for(host, workers, 1, r.threads, [&](int64_t begin, int64_t end) {
    for (int64_t w = begin; w < end; ++w) {
      for (int64_t task = w; task < tasks; task += workers) body(task, scratch + w * workspace);
    }
  });
}
inline uint64_t workspace_of_tasks(const tg_run& r, int64_t tasks, int64_t workspace) {
  return static_cast<uint64_t>(std::min<int64_t>(tasks, std::max(r.threads, 1)) * workspace);
}

}  // namespace tg::cpu
#endif  // TENGEN_PLUGINS_CPU_ATTENTION_H_
