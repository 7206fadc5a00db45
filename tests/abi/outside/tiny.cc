// SPDX-License-Identifier: Apache-2.0
//
// tiny - a whole Tengen plugin in one file: elementwise programs, copies, reductions and matrix products on host
// memory. Built against the package TengenKernelApi; what it does not offer, other plugins do. Read it from the end:
// the table that tg_plugin_query returns names `make`, and `make` turns a call into one of the four plans above it.
//
//   kernel_api.h     the contract (C). ABI.md beside it says exactly what each op means.
//   kernel_api.hpp   a helper: exceptions become statuses, Plan and Walk, dtype tags.
//   tg_rows.inc      written by the build from tiny.plugin.json: the kernel rows and the plugin's name.

#include <algorithm>
#include <cmath>
#include <limits>
#include <tengen/kernel_api.hpp>
#include <vector>

#include "tg_rows.inc"

namespace {

using namespace tg::plugin;

const tg_host* host;  // the host's services, from open

// clang-format off
// Calls f(tag<T>{}) for the dtypes of our map rows. The host checked the rows, so nothing else arrives.
template <class F>
void with_type(tg_dtype t, F&& f) {
  switch (dtype_key(t)) {
    case dtype_key({TG_CODE_FLOAT, 32, 1}): return f(tag<float>{});
    case dtype_key({TG_CODE_INT, 64, 1}): return f(tag<int64_t>{});
    case dtype_key({TG_CODE_INT, 32, 1}): return f(tag<int32_t>{});
    case dtype_key({TG_CODE_UINT, 8, 1}): return f(tag<uint8_t>{});
    case dtype_key({TG_CODE_BOOL, 8, 1}): return f(tag<boolean>{});
    default: fail(TG_UNIMPLEMENTED, "tiny: expected f32, i64, i32, u8 or bool, got %s", dtype_name(t));
  }
}
// clang-format on

// ---- map: one instruction on every element --------------------------------------------------------------------------
// Programs may be long; our rows say max_insts 1, so the host cuts them up. An operand is an input or an immediate (a
// scalar in the run attributes, which is an input with stride 0).

struct Elementwise {
  const void* x[3];
  void* y;
  Walk<4> walk;  // one shape, the strides of three operands and the result

  template <class Y, class A, class B, class C, class F>
  void run(F f) const {
    walk.rows(0, walk.outer(), [&](const int64_t(&at)[4]) {
      const A* a = static_cast<const A*>(x[0]) + at[0];
      const B* b = static_cast<const B*>(x[1]) + at[1];
      const C* c = static_cast<const C*>(x[2]) + at[2];
      Y* out = static_cast<Y*>(y) + at[3];
      for (int64_t i = 0; i < walk.inner(); ++i)
        out[i * walk.step(3)] = Y(f(a[i * walk.step(0)], b[i * walk.step(1)], c[i * walk.step(2)]));
    });
  }
};

// NaN if either is; plain max and min otherwise.
template <class T>
T larger(T a, T b) {
  return a != a ? a : (b != b || a < b) ? b : a;
}
template <class T>
T smaller(T a, T b) {
  return a != a ? a : (b != b || b < a) ? b : a;
}

template <class From, class To>
To cast(From x) {
  if constexpr (std::is_same_v<From, boolean>) {
    return To(x.value != 0);
  } else if constexpr (std::is_same_v<To, boolean>) {
    return boolean(x != From(0));  // NaN is true
  } else if constexpr (std::is_floating_point_v<From> && std::is_integral_v<To>) {
    if (x != x) return 0;  // out of range saturates
    if (double(x) >= double(std::numeric_limits<To>::max())) return std::numeric_limits<To>::max();
    return double(x) <= double(std::numeric_limits<To>::min()) ? std::numeric_limits<To>::min() : To(x);
  } else {
    return To(x);
  }
}

// clang-format off
template <class T>
void compute(uint16_t opcode, const Elementwise& e) {
  auto values = [&](auto f) { e.run<T, T, T, T>(f); };
  auto truths = [&](auto f) { e.run<boolean, T, T, T>(f); };
  if (opcode == TG_MAP_COPY) return values([](T a, T, T) { return a; });
  if (opcode == TG_MAP_WHERE) return e.run<T, boolean, T, T>([](boolean c, T a, T b) { return c.value ? a : b; });
  if constexpr (std::is_same_v<T, boolean>) {
    switch (opcode) {
      case TG_MAP_NOT: return values([](T a, T, T) { return !a.value; });
      case TG_MAP_AND: return values([](T a, T b, T) { return a.value && b.value; });
      case TG_MAP_OR: return values([](T a, T b, T) { return a.value || b.value; });
      case TG_MAP_EQ: return values([](T a, T b, T) { return a.value == b.value; });
      case TG_MAP_XOR: case TG_MAP_NE: return values([](T a, T b, T) { return a.value != b.value; });
    }
  } else {
    using W = std::conditional_t<std::is_integral_v<T>, uint64_t, T>;  // integers wrap, as unsigned ones do in C++
    switch (opcode) {
      case TG_MAP_ADD: return values([](T a, T b, T) { return W(a) + W(b); });
      case TG_MAP_SUB: return values([](T a, T b, T) { return W(a) - W(b); });
      case TG_MAP_MUL: return values([](T a, T b, T) { return W(a) * W(b); });
      case TG_MAP_MAX: return values([](T a, T b, T) { return larger(a, b); });
      case TG_MAP_MIN: return values([](T a, T b, T) { return smaller(a, b); });
      case TG_MAP_CLIP: return values([](T a, T low, T high) { return smaller(larger(a, low), high); });
      case TG_MAP_EQ: return truths([](T a, T b, T) { return a == b; });
      case TG_MAP_NE: return truths([](T a, T b, T) { return a != b; });
      case TG_MAP_LT: return truths([](T a, T b, T) { return a < b; });
      case TG_MAP_LE: return truths([](T a, T b, T) { return a <= b; });
    }
  }
  if constexpr (std::is_floating_point_v<T>) {
    switch (opcode) {
      case TG_MAP_NEG: return values([](T a, T, T) { return -a; });
      case TG_MAP_ABS: return values([](T a, T, T) { return std::fabs(a); });
      case TG_MAP_SQRT: return values([](T a, T, T) { return std::sqrt(a); });
      case TG_MAP_EXP: return values([](T a, T, T) { return std::exp(a); });
      case TG_MAP_LOG: return values([](T a, T, T) { return std::log(a); });
      case TG_MAP_TANH: return values([](T a, T, T) { return std::tanh(a); });
      case TG_MAP_FLOOR: return values([](T a, T, T) { return std::floor(a); });
      case TG_MAP_DIV: return values([](T a, T b, T) { return a / b; });
      case TG_MAP_POW: return values([](T a, T b, T) { return std::pow(a, b); });
    }
  }
  fail(TG_UNIMPLEMENTED, "tiny.map: opcode %d is in none of our rows", opcode);
}
// clang-format on

struct Map : Plan {
  const tg_map_inst inst;
  explicit Map(const tg_call& call) : inst(call.attrs[0].v.program[0]) {
    if (call.n_outputs != 1) fail(TG_UNIMPLEMENTED, "tiny.map: expected one output, got %u", call.n_outputs);
  }

  void run(const tg_run& r) override {
    static constexpr int64_t kNoStrides[TG_MAX_RANK] = {};
    const tg_tensor& y = *r.outputs[0];
    const void* x[3] = {&r, &r, &r};  // anything readable, for operands that do not exist
    const int64_t* strides[3] = {kNoStrides, kNoStrides, kNoStrides};
    for (int k = 0; k < inst.n_operands; ++k) {
      const uint32_t v = inst.operand[k];  // numbered: inputs, the result, immediates
      if (v < r.n_inputs) {
        x[k] = data<void>(*r.inputs[v]);
        strides[k] = r.inputs[v]->strides;
      } else {
        x[k] = &r.attrs[0].v.bits[v - r.n_inputs - 1];  // the low end of the word, on little-endian machines
      }
    }
    const Walk<4> walk(y.ndim, y.shape, {strides[0], strides[1], strides[2], y.strides});
    const Elementwise e = {{x[0], x[1], x[2]}, data<void>(y), walk};
    if (inst.opcode != TG_MAP_CAST)
      return with_type(inst.dtype, [&](auto t) { compute<typename decltype(t)::type>(inst.opcode, e); });
    with_type(inst.from, [&](auto from) {
      with_type(inst.dtype, [&](auto to) {
        using From = typename decltype(from)::type;
        using To = typename decltype(to)::type;
        e.run<To, From, char, char>([](From a, char, char) { return cast<From, To>(a); });
      });
    });
  }
};

// ---- copy: any strides to any strides -------------------------------------------------------------------------------

struct Copy : Plan {
  void run(const tg_run& r) override {
    const tg_tensor &x = *r.inputs[0], &y = *r.outputs[0];
    const int64_t size = x.dtype.bits / 8;  // bits are kept, so the size is all that matters
    const Walk<2> walk(x.ndim, x.shape, {x.strides, y.strides});
    walk.rows(0, walk.outer(), [&](const int64_t(&at)[2]) {
      for (int64_t i = 0; i < walk.inner(); ++i)
        std::memcpy(data<char>(y) + (at[1] + i * walk.step(1)) * size,
                    data<char>(x) + (at[0] + i * walk.step(0)) * size, size_t(size));
    });
  }
};

// ---- reduce ---------------------------------------------------------------------------------------------------------

template <class T>
struct Reduce : Plan {
  const int64_t kind;
  const std::vector<int64_t> axes;
  explicit Reduce(const tg_call& call)
      : kind(call.attrs[0].v.i), axes(call.attrs[1].v.ints, call.attrs[1].v.ints + call.attrs[1].n) {
    if (kind != TG_REDUCE_SUM && kind != TG_REDUCE_MAX && kind != TG_REDUCE_MIN && kind != TG_REDUCE_ARGMAX)
      fail(TG_UNIMPLEMENTED, "tiny.reduce: expected sum, max, min or argmax, got kind %d", int(kind));
  }

  void run(const tg_run& r) override {
    const tg_tensor &x = *r.inputs[0], &y = *r.outputs[0];
    int64_t reduced[TG_MAX_RANK];  // x's size on the reduced axes, 1 elsewhere; y's shape is the counterpart
    for (int i = 0; i < x.ndim; ++i) reduced[i] = std::count(axes.begin(), axes.end(), i) ? x.shape[i] : 1;
    const Walk<2> outer(x.ndim, y.shape, {x.strides, y.strides});
    const Walk<1> inner(x.ndim, reduced, {x.strides});
    outer.rows(0, outer.outer(), [&](const int64_t(&at)[2]) {
      for (int64_t i = 0; i < outer.inner(); ++i)
        one(data<T>(x) + at[0] + i * outer.step(0), inner, y, at[1] + i * outer.step(1));
    });
  }

  void one(const T* x, const Walk<1>& inner, const tg_tensor& y, int64_t to) const {
    using Sum = std::conditional_t<std::is_floating_point_v<T>, double, uint64_t>;
    Sum sum = 0;
    T best = *x;
    int64_t position = 0, best_position = 0;
    inner.rows(0, inner.outer(), [&](const int64_t(&at)[1]) {
      for (int64_t i = 0; i < inner.inner(); ++i, ++position) {
        const T value = x[at[0] + i * inner.step(0)];
        if (kind == TG_REDUCE_SUM) {
          sum += Sum(value);
        } else if (kind == TG_REDUCE_MIN) {
          best = smaller(best, value);
        } else if (value > best || (value != value && best == best)) {  // the first of equals, or the first NaN
          best = value;
          best_position = position;
        }
      }
    });
    if (kind == TG_REDUCE_ARGMAX) {
      data<int64_t>(y)[to] = best_position;
    } else {
      data<T>(y)[to] = kind == TG_REDUCE_SUM ? T(sum) : best;
    }
  }
};

// ---- matmul: y[i, :] += a[i, l] * b[l, :], the rows of y in parallel -----------------------------------------------

struct Matmul : Plan {
  const bool accumulate;
  explicit Matmul(const tg_call& call) : accumulate(call.attrs[0].v.i == 1) {}

  void run(const tg_run& r) override {
    const tg_tensor &a = *r.inputs[0], &b = *r.inputs[1], &y = *r.outputs[0];
    const int d = y.ndim - 2;  // the last two axes are the matrices
    const int64_t m = y.shape[d], n = y.shape[d + 1], k = a.shape[d + 1], batch = numel(y) / (m * n);
    const int64_t grain = std::max<int64_t>(1, (1 << 20) / (n * k));  // rows that are worth waking a thread
    parallel_for(host, batch * m, grain, r.threads, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        int64_t at[3] = {row % m * a.strides[d], 0, row % m * y.strides[d]}, rest = row / m;
        for (int i = d - 1; i >= 0; rest /= y.shape[i--]) {
          at[0] += rest % y.shape[i] * a.strides[i];
          at[1] += rest % y.shape[i] * b.strides[i];
          at[2] += rest % y.shape[i] * y.strides[i];
        }
        const float *pa = data<float>(a) + at[0], *pb = data<float>(b) + at[1];
        float* py = data<float>(y) + at[2];
        const int64_t sa = a.strides[d + 1], sb = b.strides[d + 1], sy = y.strides[d + 1];
        for (int64_t j = 0; !accumulate && j < n; ++j) py[j * sy] = 0;
        for (int64_t l = 0; l < k; ++l)
          for (int64_t j = 0; j < n; ++j) py[j * sy] += pa[l * sa] * pb[l * b.strides[d] + j * sb];
      }
    });
  }
};

// ---- from a call to a plan ------------------------------------------------------------------------------------------
// call.row is the index of the row that matched; nothing of `call` may be kept, so plans copy. Throwing refuses the
// call with a reason, and the host asks the next plugin.

// clang-format off
std::unique_ptr<Plan> make(void*, const tg_call& call) {
  switch (call.row) {
    case TG_ROW_0_tiny_map_f32: case TG_ROW_1_tiny_map_integer:
    case TG_ROW_2_tiny_map_bool: return std::make_unique<Map>(call);
    case TG_ROW_3_tiny_copy: return std::make_unique<Copy>();
    case TG_ROW_4_tiny_reduce_f32: case TG_ROW_5_tiny_reduce_arg: return std::make_unique<Reduce<float>>(call);
    case TG_ROW_6_tiny_reduce_i64: return std::make_unique<Reduce<int64_t>>(call);
    case TG_ROW_7_tiny_matmul: return std::make_unique<Matmul>(call);
  }
  fail(TG_INTERNAL, "tiny has no row %u", call.row);
}

int32_t open_plugin(uint32_t, const tg_host* table, void**, tg_error*) { return host = table, TG_OK; }

constexpr tg_kernel_api kKernels = kernel_table<make>();

constexpr tg_plugin kPlugin = {
    sizeof(tg_plugin), TG_ABI_VERSION, TG_PLUGIN_NAME, TG_PLUGIN_VENDOR, TG_PLUGIN_VERSION,
    tg_rows, TG_N_ROWS, sizeof(tg_kernel_row),
    nullptr, &kKernels,  // no devices: the host's memory is the host's
    open_plugin, [](void*) {},
    nullptr,  // no extensions
};
// clang-format on

}  // namespace

// The one exported symbol.
extern "C" const tg_plugin* tg_plugin_query(uint32_t host_abi, const tg_host*) {
  return host_abi == TG_ABI_VERSION ? &kPlugin : nullptr;
}
