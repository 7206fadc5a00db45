// SPDX-License-Identifier: Apache-2.0
//
// matmul: y (+)= a @ b, batched, any strides, stride 0 where a batch axis is broadcast. Large f32, bf16 and f16
// products go to oneDNN; tiny ones, other dtypes and strides that oneDNN can't express to the kernels of gemm.h.
#include <algorithm>

#include "kernels/gemm.h"
#include "kernels/onednn.h"

namespace tg::cpu {
namespace {

using plugin::operator==;

// m*n*k up to which a direct loop beats the cost of a call into oneDNN.
constexpr int64_t kTinyWork = 8192;

// The product after simplification: batch axes without size 1, merged where all three tensors allow it.
struct Problem {
  Gemm g;
  bool swapped = false;  // a and b exchanged their places
  int batch_rank = 0;
  int64_t batch[TG_MAX_RANK], a[TG_MAX_RANK], b[TG_MAX_RANK], y[TG_MAX_RANK];

  int64_t batches() const {
    int64_t n = 1;
    for (int i = 0; i < batch_rank; ++i) n *= batch[i];
    return n;
  }
};

void swap_roles(Problem& p) {  // y^T = b^T a^T
  Gemm& g = p.g;
  std::swap(g.m, g.n);
  std::swap(g.a_row, g.b_col);
  std::swap(g.a_col, g.b_row);
  std::swap(g.y_row, g.y_col);
  std::swap(p.a, p.b);
  p.swapped = !p.swapped;
}

Problem simplify(const tg_call& call) {
  const tg_tensor &a = *call.inputs[0], &b = *call.inputs[1], &y = *call.outputs[0];
  const int rank = y.ndim;
  if (rank < 2 || a.ndim != rank || b.ndim != rank) {
    plugin::fail(TG_INVALID_ARGUMENT, "[matmul] expected operands of one rank >= 2, got ranks %d, %d -> %d", a.ndim,
                 b.ndim, rank);
  }
  const int r = rank - 2, c = rank - 1;
  Problem p;
  p.g = {a.shape[r],   b.shape[c],   a.shape[c],   a.strides[r],           a.strides[c], b.strides[r],
         b.strides[c], y.strides[r], y.strides[c], call.attrs[0].v.i != 0, y.dtype};
  if (b.shape[r] != p.g.k || y.shape[r] != p.g.m || y.shape[c] != p.g.n) {
    plugin::fail(TG_INVALID_ARGUMENT,
                 "[matmul] expected [m, k] @ [k, n] -> [m, n], got [%lld, %lld] @ [%lld, %lld] -> [%lld, %lld]",
                 (long long)a.shape[r], (long long)a.shape[c], (long long)b.shape[r], (long long)b.shape[c],
                 (long long)y.shape[r], (long long)y.shape[c]);
  }
  for (int i = 0; i < r; ++i) {
    const int64_t n = y.shape[i];
    if (n == 1) continue;
    // A batch axis of size 1 in an operand repeats, whatever its stride says.
    const int64_t sa = a.shape[i] == 1 ? 0 : a.strides[i], sb = b.shape[i] == 1 ? 0 : b.strides[i];
    const int last = p.batch_rank - 1;
    if (last >= 0 && p.a[last] == sa * n && p.b[last] == sb * n && p.y[last] == y.strides[i] * n) {
      p.batch[last] *= n;
      p.a[last] = sa, p.b[last] = sb, p.y[last] = y.strides[i];
    } else {
      p.batch[p.batch_rank] = n;
      p.a[p.batch_rank] = sa, p.b[p.batch_rank] = sb, p.y[p.batch_rank] = y.strides[i];
      ++p.batch_rank;
    }
  }
  if (p.g.y_col != 1 && p.g.y_row == 1 && p.g.n > 1) swap_roles(p);
  // One b for all of the innermost batch: its rows are rows of one larger product.
  if (p.batch_rank > 0) {
    const int last = p.batch_rank - 1;
    const bool joins = p.g.m == 1 || (p.a[last] == p.g.m * p.g.a_row && p.y[last] == p.g.m * p.g.y_row);
    if (p.b[last] == 0 && joins) {
      if (p.g.m == 1) p.g.a_row = p.a[last], p.g.y_row = p.y[last];
      p.g.m *= p.batch[last];
      --p.batch_rank;
    }
  }
  // Axes of size 1 may have any stride; give them one that keeps the operand dense.
  Gemm& g = p.g;
  if (g.k == 1) g.a_col = g.a_row == 1 && g.m > 1 ? g.m : 1, g.b_row = g.b_col == 1 ? g.n : 1;
  if (g.m == 1) g.a_row = g.a_col == 1 ? g.k : 1, g.y_row = g.n * g.y_col;
  if (g.n == 1) g.b_col = g.b_row == 1 ? g.k : 1, g.y_col = 1;
  return p;
}

// ---- own kernels ----------------------------------------------------------------------------------------------------

class OwnMatmul : public Plan {
 public:
  OwnMatmul(const Instance& instance, const Problem& p) : host_(instance.host), p_(p), tiles_(gemm_tiles(p.g)) {
    const int64_t work = p.g.m * p.g.n * p.g.k / tiles_;
    grain_ = std::max<int64_t>(1, (1 << 16) / std::max<int64_t>(1, work));
  }

  void run(const tg_run& r) override {
    const char* a = plugin::data<const char>(*r.inputs[p_.swapped]);
    const char* b = plugin::data<const char>(*r.inputs[!p_.swapped]);
    char* y = plugin::data<char>(*r.outputs[0]);
    const int64_t size = p_.g.dtype.bits / 8;
    plugin::parallel_for(host_, p_.batches() * tiles_, grain_, r.threads, [&](int64_t begin, int64_t end) {
      while (begin < end) {
        const int64_t batch = begin / tiles_, first = begin % tiles_, last = std::min(tiles_, first + end - begin);
        int64_t oa = 0, ob = 0, oy = 0, rest = batch;
        for (int i = p_.batch_rank - 1; i >= 0; --i) {
          const int64_t index = rest % p_.batch[i];
          rest /= p_.batch[i];
          oa += index * p_.a[i], ob += index * p_.b[i], oy += index * p_.y[i];
        }
        gemm_run(p_.g, a + oa * size, b + ob * size, y + oy * size, first, last);
        begin += last - first;
      }
    });
  }

 private:
  const tg_host* host_;
  Problem p_;
  int64_t tiles_, grain_;
};

class TinyMatmul : public Plan {
 public:
  explicit TinyMatmul(const Problem& p) : g_(p.g), swapped_(p.swapped) {}

  void run(const tg_run& r) override {
    const float* a = plugin::data<const float>(*r.inputs[swapped_]);
    const float* b = plugin::data<const float>(*r.inputs[!swapped_]);
    float* y = plugin::data<float>(*r.outputs[0]);
    if (g_.b_col == 1) return gemm_tiny(g_, a, b, y);
    float rows[kTinyWork];
    Gemm g = g_;
    for (int64_t j = 0; j < g.n; ++j) {
      for (int64_t p = 0; p < g.k; ++p) rows[p * g.n + j] = b[p * g.b_row + j * g.b_col];
    }
    g.b_row = g.n;
    g.b_col = 1;
    gemm_tiny(g, a, rows, y);
  }

 private:
  Gemm g_;
  bool swapped_;
};

// ---- oneDNN ---------------------------------------------------------------------------------------------------------

class DnnMatmul : public Plan {
 public:
  DnnMatmul(const tg_call& call, const Problem& p) : pipeline_(call), swapped_(p.swapped) {
    const Gemm& g = p.g;
    const auto type = dnnl_type(g.dtype);
    const Desc a = operand(p, p.a, g.m, g.k, g.a_row, g.a_col, type);
    const Desc b = operand(p, p.b, g.k, g.n, g.b_row, g.b_col, type);
    const Desc y = operand(p, p.y, g.m, g.n, g.y_row, g.y_col, type);
    dnnl::primitive_attr attr = base_attr(call);
    if (g.accumulate) {
      dnnl::post_ops ops;
      ops.append_sum(1.f);
      attr.set_post_ops(ops);
    }
    const dnnl::matmul::primitive_desc pd(engine(), a, b, y, attr);
    if (is_reference(pd)) plugin::fail(TG_UNIMPLEMENTED, "[matmul] oneDNN has only its scalar kernel here");
    pipeline_.input(DNNL_ARG_SRC, a, a);
    pipeline_.input(DNNL_ARG_WEIGHTS, b, b);
    pipeline_.output(DNNL_ARG_DST, y, y);
    pipeline_.primitive(pd);
  }
  uint64_t workspace(const tg_run&) override { return pipeline_.workspace(); }
  void run(const tg_run& r) override {
    pipeline_.run({plugin::data<void>(*r.inputs[swapped_]), plugin::data<void>(*r.inputs[!swapped_]),
                   plugin::data<void>(*r.outputs[0])},
                  workspace_of(r));
  }

 private:
  static Desc operand(const Problem& p, const int64_t* batch, int64_t rows, int64_t columns, int64_t row,
                      int64_t column, dnnl::memory::data_type type) {
    if (row != 1 && column != 1) plugin::fail(TG_UNIMPLEMENTED, "[matmul] no unit stride");
    if ((column == 1 && row < columns) || (column != 1 && column < rows)) {
      plugin::fail(TG_UNIMPLEMENTED, "[matmul] rows overlap");
    }
    Dims dims, strides;
    for (int i = 0; i < p.batch_rank; ++i) {
      dims.push_back(batch[i] == 0 ? 1 : p.batch[i]);
      strides.push_back(batch[i] == 0 ? rows * columns : batch[i]);
    }
    dims.push_back(rows), dims.push_back(columns);
    strides.push_back(row), strides.push_back(column);
    return Desc(dims, type, strides);
  }

  Pipeline pipeline_;
  bool swapped_;
};

}  // namespace

std::unique_ptr<Plan> make_matmul(Instance& instance, const tg_call& call) {
  const Problem p = simplify(call);
  const bool f32 = p.g.dtype == plugin::dtype_of<float>::value;
  if (f32 && p.batch_rank == 0 && p.g.y_col == 1 && p.g.m * p.g.n * p.g.k <= kTinyWork) {
    return std::make_unique<TinyMatmul>(p);
  }
  const bool f16 = p.g.dtype == plugin::dtype_of<plugin::half>::value;
  if (f32 || f16 || p.g.dtype == plugin::dtype_of<plugin::bfloat16>::value) {
    try {
      const ThreadScope threads(call.threads);
      return std::make_unique<DnnMatmul>(call, p);
    } catch (const dnnl::error&) {  // whatever oneDNN refuses, our kernel does
    } catch (const plugin::Failure&) {
    }
  }
  return std::make_unique<OwnMatmul>(instance, p);
}

}  // namespace tg::cpu
