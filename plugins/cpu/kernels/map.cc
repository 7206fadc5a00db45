// SPDX-License-Identifier: Apache-2.0
//
// The floor's `map`: an elementwise program, interpreted over tiles that stay in the first-level cache. One kernel call
// per instruction and tile; inputs and outputs that lie densely are read and written in place, without a tile of their
// own. A program of one instruction on dense data is a single kernel call.
#include <algorithm>
#include <cstring>
#include <memory>

#include "kernels/copy.h"
#include "kernels/kernels.h"
#include "kernels/map_program.h"

namespace tg::cpu {
namespace map {
namespace {

// An array of a size known at run time, without allocation while it is small.
template <class T, int N>
class Small {
 public:
  explicit Small(size_t n) : heap_(n > N ? new T[n] : nullptr), data_(heap_ ? heap_.get() : own_) {}
  T& operator[](size_t i) { return data_[i]; }
  const T& operator[](size_t i) const { return data_[i]; }
  T* data() { return data_; }

 private:
  T own_[N];
  std::unique_ptr<T[]> heap_;
  T* data_;
};

// A fork and join pays from about this many additions on; below, one thread works.
constexpr int64_t kGrain = 32768;
// Rows at least this long are worked on one by one; shorter ones are packed into tiles.
constexpr int64_t kLongRow = 192;
// Elements from which a transposed input is brought into order first.
constexpr int64_t kTransposeFrom = 4096;

// A tensor of the run: a used input or a wanted output.
struct Arg {
  char* base;
  int64_t size;         // of an element, as stored
  const int64_t* step;  // strides over the common axes
  uint16_t value;
  Kernel convert;  // 16-bit floats: from storage, or to it
  bool scalar;     // input: one element serves the whole block
  bool dense;      // a block of it lies densely
  bool constant;   // input: the same elements in every block, gathered once
  bool in_place;   // output: written by the step that computes it
};

// The common axes of all arguments, longest runs merged; axes in the order of the first output's strides.
struct Axes {
  int rank = 0;
  int64_t shape[TG_MAX_RANK];
  int64_t inner() const { return shape[rank - 1]; }
  int64_t rows() const {
    int64_t n = 1;
    for (int i = 0; i + 1 < rank; ++i) n *= shape[i];
    return n;
  }
};

// Walks the rows (all axes but the last).
struct Cursor {
  int64_t index[TG_MAX_RANK] = {};
  void seek(const Axes& axes, int64_t row) {
    for (int i = axes.rank - 2; i >= 0; --i) {
      index[i] = row % axes.shape[i];
      row /= axes.shape[i];
    }
  }
  void next(const Axes& axes) {
    for (int i = axes.rank - 2; i >= 0; --i) {
      if (++index[i] < axes.shape[i]) return;
      index[i] = 0;
    }
  }
  int64_t offset(const Axes& axes, const int64_t* step) const {
    int64_t at = 0;
    for (int i = 0; i + 1 < axes.rank; ++i) at += index[i] * step[i];
    return at;
  }
};

template <class T>
void gather_row(char* to, const char* from, int64_t n, int64_t step) {
  T* t = reinterpret_cast<T*>(to);
  const T* f = reinterpret_cast<const T*>(from);
  for (int64_t i = 0; i < n; ++i) t[i] = f[i * step];
}
template <class T>
void scatter_row(char* to, const char* from, int64_t n, int64_t step) {
  T* t = reinterpret_cast<T*>(to);
  const T* f = reinterpret_cast<const T*>(from);
  for (int64_t i = 0; i < n; ++i) t[i * step] = f[i];
}

using MoveRow = void (*)(char*, const char*, int64_t, int64_t);
MoveRow gather_of(int64_t size) {
  return size == 1   ? gather_row<uint8_t>
         : size == 2 ? gather_row<uint16_t>
         : size == 4 ? gather_row<uint32_t>
                     : gather_row<uint64_t>;
}
MoveRow scatter_of(int64_t size) {
  return size == 1   ? scatter_row<uint8_t>
         : size == 2 ? scatter_row<uint16_t>
         : size == 4 ? scatter_row<uint32_t>
                     : scatter_row<uint64_t>;
}

class MapPlan final : public Plan {
 public:
  MapPlan(Instance& instance, const tg_call& call) : host_(instance.host), p_(compile(call)) {
    grain_ = std::max<int64_t>(kGrain / p_.cost, 512);
    single_ = p_.steps.size() == 1 && p_.outputs.size() == 1;
    if (single_) {
      const Step& s = p_.steps[0];
      single_ = p_.values[s.result].half == kNoHalf;
      for (int k = 0; k < s.n_operands; ++k) single_ = single_ && p_.values[s.operand[k]].half == kNoHalf;
      size_out_ = rep_size(p_.values[s.result].rep);
      for (int k = 0; k < s.n_operands; ++k) size_in_[k] = rep_size(p_.values[s.operand[k]].rep);
    }
  }

  void run(const tg_run& r) override {
    if (single_ && run_dense(r)) return;
    run_general(r);
  }

 private:
  bool run_dense(const tg_run& r);
  void run_general(const tg_run& r);
  struct Job;
  void run_packed(const tg_run& r, const Job& job) const;
  void run_job(const Job& job, int32_t threads) const;

  const tg_host* host_;
  Program p_;
  int64_t grain_;
  bool single_ = false;
  int64_t size_out_ = 0, size_in_[3] = {};
};

// One instruction whose operands lie as the output does, densely, or are one element. False: not so.
bool MapPlan::run_dense(const tg_run& r) {
  const Step& s = p_.steps[0];
  const tg_tensor& y = *r.outputs[p_.outputs[0].index];
  int64_t n = 1;
  for (int d = y.ndim - 1; d >= 0; --d) {
    if (y.strides[d] != n && y.shape[d] != 1) return false;
    n *= y.shape[d];
  }
  const char* in[3] = {};
  uint32_t scalars = 0;
  for (int k = 0; k < s.n_operands; ++k) {
    const int v = s.operand[k];
    if (v >= p_.imm_begin()) {
      in[k] = reinterpret_cast<const char*>(r.attrs[0].v.bits + (v - p_.imm_begin()));
      scalars |= 1u << k;
      continue;
    }
    const tg_tensor& x = *r.inputs[v];
    bool same = true, one = true;
    for (int d = 0; d < y.ndim; ++d) {
      if (y.shape[d] == 1) continue;
      same &= x.strides[d] == y.strides[d];
      one &= x.strides[d] == 0;
    }
    if (!same && !one) return false;
    if (!same) scalars |= 1u << k;
    in[k] = plugin::data<const char>(x);
  }
  if (n == 1) {
    scalars = 0;
  } else if (scalars == (1u << s.n_operands) - 1) {
    return false;
  }
  char* out = plugin::data<char>(y);
  if (n <= grain_ || r.threads == 1) {
    s.kernel(out, in[0], in[1], in[2], n, scalars);
    return true;
  }
  plugin::parallel_for(host_, n, grain_ / 2, r.threads, [&](int64_t begin, int64_t end) {
    const char* at[3];
    for (int k = 0; k < 3; ++k) at[k] = in[k] && !(scalars >> k & 1) ? in[k] + begin * size_in_[k] : in[k];
    s.kernel(out + begin * size_out_, at[0], at[1], at[2], end - begin, scalars);
  });
  return true;
}

// One run of the interpreter: what is the same for all its blocks.
struct MapPlan::Job {
  static constexpr int kArgs = 16, kValues = 96;
  const Program& p;
  size_t n_in, n_args;
  Axes axes;
  Small<int64_t, kArgs * TG_MAX_RANK> strides;
  Small<Arg, kArgs> args;               // used inputs, then outputs
  Small<uint64_t, kValues> immediates;  // as the kernels read them
  Small<uint32_t, kValues> masks;       // per step: operands that are one element
  Small<bool, kValues> scalar;          // per value
  int64_t rows_per_block = 1;
  bool long_rows = true;

  Job(const Program& program, const tg_run& r)
      : p(program),
        n_in(program.used_inputs.size()),
        n_args(n_in + program.outputs.size()),
        strides(n_args * TG_MAX_RANK),
        args(n_args),
        immediates(size_t(program.n_imms)),
        masks(program.steps.size()),
        scalar(program.values.size()) {
    for (size_t a = 0; a < n_args; ++a) {
      const bool input = a < n_in;
      const tg_tensor& t = input ? *r.inputs[p.used_inputs[a]] : *r.outputs[p.outputs[a - n_in].index];
      const uint16_t v = input ? p.used_inputs[a] : p.outputs[a - n_in].value;
      const Half half = p.values[v].half;
      Arg& x = args[a];
      x.base = plugin::data<char>(t);
      x.size = half != kNoHalf ? 2 : rep_size(p.values[v].rep);
      x.value = v;
      x.convert = half == kNoHalf ? nullptr : input ? half_load(half) : half_store(half);
    }
    merge_axes(r);
    place();
    for (int i = 0; i < p.n_imms; ++i) {
      const Value& v = p.values[size_t(p.imm_begin() + i)];
      immediates[size_t(i)] = r.attrs[0].v.bits[i];
      if (v.half != kNoHalf) half_load(v.half)(&immediates[size_t(i)], &r.attrs[0].v.bits[i], nullptr, nullptr, 1, 0);
    }
    for (size_t v = 0; v < p.values.size(); ++v) scalar[v] = int(v) >= p.imm_begin();
    for (size_t a = 0; a < n_in; ++a) scalar[args[a].value] = args[a].scalar;
    for (size_t j = 0; j < p.steps.size(); ++j) {
      const Step& s = p.steps[j];
      masks[j] = 0;
      for (int k = 0; k < s.n_operands; ++k) masks[j] |= uint32_t(scalar[s.operand[k]]) << k;
      scalar[s.result] = masks[j] == (1u << s.n_operands) - 1;
    }
    // An output is computed in place unless an input that it is would be read after it was written.
    for (size_t o = 0; o < p.outputs.size(); ++o) {
      Arg& y = args[n_in + o];
      const Output& output = p.outputs[o];
      y.in_place = y.dense && !y.convert && output.first && !scalar[output.value];
      for (size_t a = 0; a < n_in; ++a) {
        const bool late = output.late_reads >> std::min<int>(args[a].value, 63) & 1;
        y.in_place = y.in_place && !(late && args[a].base == y.base);
      }
    }
  }

  // Fills axes and strides.
  void merge_axes(const tg_run& r) {
    const tg_tensor& y = *r.outputs[p.outputs[0].index];
    int order[TG_MAX_RANK], rank = 0;
    for (int d = 0; d < y.ndim; ++d) {
      if (y.shape[d] == 1) continue;
      int at = rank++;
      for (; at > 0 && y.strides[order[at - 1]] < y.strides[d]; --at) order[at] = order[at - 1];
      order[at] = d;
    }
    Small<const int64_t*, kArgs> from(n_args);
    for (size_t a = 0; a < n_args; ++a) {
      from[a] = (a < n_in ? r.inputs[p.used_inputs[a]] : r.outputs[p.outputs[a - n_in].index])->strides;
      args[a].step = &strides[a * TG_MAX_RANK];
    }
    for (int i = 0; i < rank; ++i) {
      const int d = order[i];
      bool merge = axes.rank > 0;
      for (size_t a = 0; merge && a < n_args; ++a) {
        merge = strides[a * TG_MAX_RANK + size_t(axes.rank) - 1] == from[a][d] * y.shape[d];
      }
      if (!merge) axes.shape[axes.rank++] = 1;
      const size_t last = size_t(axes.rank) - 1;
      axes.shape[last] *= y.shape[d];
      for (size_t a = 0; a < n_args; ++a) strides[a * TG_MAX_RANK + last] = from[a][d];
    }
    if (axes.rank == 0) {
      axes.rank = 1;
      axes.shape[0] = 1;
      for (size_t a = 0; a < n_args; ++a) strides[a * TG_MAX_RANK] = 1;
    }
  }

  // Chooses the blocks, and how each argument is reached in them.
  void place() {
    const int64_t inner = axes.inner(), rows = axes.rows();
    long_rows = rows == 1 || inner >= std::min<int64_t>(kLongRow, p.tile);
    rows_per_block = long_rows ? 1 : std::min<int64_t>(rows, std::max<int64_t>(1, p.tile / inner));
    const int last = axes.rank - 1;
    for (size_t a = 0; a < n_args; ++a) {
      Arg& x = args[a];
      bool dense = x.step[last] == 1, still = true;
      int64_t expect = inner;
      for (int d = last - 1; d >= 0; --d) {
        dense = dense && x.step[d] == expect;
        still = still && x.step[d] == 0;
        expect *= axes.shape[d];
      }
      const bool input = a < n_in;
      x.scalar = input && x.step[last] == 0 && (long_rows || still);
      x.dense = !x.scalar && (long_rows ? x.step[last] == 1 : dense);
      x.constant = input && !long_rows && still && !x.scalar;
      x.in_place = false;
    }
  }

  // Input `a` is dense along another axis than the last.
  bool transposed(size_t a) const {
    const Arg& x = args[a];
    if (x.scalar || x.dense || x.constant || x.step[axes.rank - 1] < 2) return false;
    for (int d = 0; d + 1 < axes.rank; ++d) {
      if (x.step[d] == 1 && axes.shape[d] >= 8) return true;
    }
    return false;
  }
  bool has_transposed() const {
    for (size_t a = 0; a < n_in; ++a) {
      if (transposed(a)) return true;
    }
    return false;
  }

  int64_t blocks_per_row() const { return long_rows ? (axes.inner() + p.tile - 1) / p.tile : 1; }
  int64_t blocks() const {
    return long_rows ? axes.rows() * blocks_per_row() : (axes.rows() + rows_per_block - 1) / rows_per_block;
  }
  void run_blocks(int64_t begin, int64_t end) const;
  void run_steps(int64_t n, const void** at, char* tiles, uint64_t* ones) const;
};

// Runs every step over a block of n elements; at[v] tells where value v lies.
void MapPlan::Job::run_steps(int64_t n, const void** at, char* tiles, uint64_t* ones) const {
  const int64_t slot_bytes = p.slot_bytes();
  for (size_t j = 0; j < p.steps.size(); ++j) {
    const Step& s = p.steps[j];
    const bool one = scalar[s.result];
    void* out = one ? &ones[s.result] : const_cast<void*>(at[s.result]);
    if (!out) out = tiles + p.values[s.result].slot * slot_bytes;
    s.kernel(out, at[s.operand[0]], at[s.operand[1]], at[s.operand[2]], one ? 1 : n, one ? 0 : masks[j]);
    if (s.round) s.round(out, out, nullptr, nullptr, one ? 1 : n, 0);
    at[s.result] = out;
  }
}

void MapPlan::Job::run_blocks(int64_t begin, int64_t end) const {
  alignas(64) char stack[40960];
  const int64_t slot_bytes = p.slot_bytes(), need = slot_bytes * p.n_slots;
  std::unique_ptr<char[]> heap(need > int64_t(sizeof stack) ? new char[size_t(need)] : nullptr);
  char* tiles = heap ? heap.get() : stack;
  char* staging = tiles + (p.n_slots - 1) * slot_bytes;
  Small<const void*, kValues> at(p.values.size());
  Small<uint64_t, kValues> ones(p.values.size());
  for (int i = 0; i < p.n_imms; ++i) at[size_t(p.imm_begin() + i)] = &immediates[size_t(i)];

  const int64_t inner = axes.inner(), rows = axes.rows(), per_row = blocks_per_row();
  const int last = axes.rank - 1;
  Cursor cursor;
  cursor.seek(axes, long_rows ? begin / per_row : begin * rows_per_block);
  for (int64_t b = begin; b < end; ++b) {
    const int64_t row = long_rows ? b / per_row : b * rows_per_block;
    const int64_t column = long_rows ? (b - row * per_row) * p.tile : 0;
    const int64_t count = long_rows ? 1 : std::min(rows_per_block, rows - row);
    const int64_t width = long_rows ? std::min(p.tile, inner - column) : inner;
    const int64_t n = count * width;
    const auto tile_of = [&](uint16_t value) { return tiles + p.values[value].slot * slot_bytes; };
    // Where the block of a dense argument, or the one element, lies.
    const auto start = [&](const Arg& x) {
      if (long_rows) return x.base + (cursor.offset(axes, x.step) + column * x.step[last]) * x.size;
      return x.scalar ? x.base : x.base + row * inner * x.size;
    };
    // Calls move(address, bytes into the block) for each row of the block.
    const auto each_row = [&](const Arg& x, auto&& move) {
      Cursor c = cursor;
      for (int64_t i = 0; i < count; ++i) {
        move(x.base + (c.offset(axes, x.step) + column * x.step[last]) * x.size, i * width * x.size);
        if (count > 1) c.next(axes);
      }
    };

    for (size_t a = 0; a < n_in; ++a) {
      const Arg& x = args[a];
      const char* from = nullptr;
      if (x.scalar || x.dense) {
        from = start(x);
      } else {
        if (x.constant && b != begin) continue;  // still in its tile
        char* to = x.convert ? staging : tile_of(x.value);
        const MoveRow gather = gather_of(x.size);
        each_row(x, [&](char* at_row, int64_t into) { gather(to + into, at_row, width, x.step[last]); });
        from = to;
      }
      if (x.convert) {
        char* to = tile_of(x.value);
        x.convert(to, from, nullptr, nullptr, x.scalar ? 1 : n, 0);
        from = to;
      }
      at[x.value] = from;
    }
    for (const Step& s : p.steps) at[s.result] = nullptr;
    for (size_t a = n_in; a < n_args; ++a) {
      if (args[a].in_place) at[args[a].value] = start(args[a]);
    }
    run_steps(n, at.data(), tiles, ones.data());
    for (size_t a = n_in; a < n_args; ++a) {
      const Arg& y = args[a];
      if (y.in_place) continue;
      const char* from = static_cast<const char*>(at[y.value]);
      if (scalar[y.value]) {
        char* to = tile_of(y.value);
        copy_kernel(rep_size(p.values[y.value].rep))(to, from, nullptr, nullptr, n, n > 1);
        from = to;
      }
      if (y.convert) {
        char* to = y.dense ? start(y) : staging;
        y.convert(to, from, nullptr, nullptr, n, 0);
        from = to;
      } else if (y.dense) {
        std::memcpy(start(y), from, size_t(n * y.size));
      }
      if (!y.dense) {
        const MoveRow scatter = scatter_of(y.size);
        each_row(y, [&](char* at_row, int64_t into) { scatter(at_row, from + into, width, y.step[last]); });
      }
    }
    if (!long_rows || column + width == inner) {
      for (int64_t i = 0; i < count; ++i) cursor.next(axes);
    }
  }
}

void MapPlan::run_general(const tg_run& r) {
  if (p_.outputs.empty()) return;
  const Job job(p_, r);
  if (job.axes.rows() * job.axes.inner() >= kTransposeFrom && job.has_transposed()) return run_packed(r, job);
  run_job(job, r.threads);
}

void MapPlan::run_job(const Job& job, int32_t threads) const {
  const int64_t blocks = job.blocks();
  const int64_t n = job.axes.rows() * job.axes.inner();
  if (n <= grain_) return job.run_blocks(0, blocks);
  plugin::parallel_for(host_, blocks, std::max<int64_t>(1, blocks * (grain_ / 2) / n), threads,
                       [&](int64_t begin, int64_t end) { job.run_blocks(begin, end); });
}

// Inputs that lie across the output's rows are first brought into its order: a transpose through the cache is far
// cheaper than rows gathered from as many cache lines as they have elements.
void MapPlan::run_packed(const tg_run& r, const Job& job) const {
  const tg_tensor& y = *r.outputs[p_.outputs[0].index];
  Small<const tg_tensor*, 16> inputs(r.n_inputs);
  Small<tg_tensor, 16> packed(r.n_inputs);
  for (uint32_t i = 0; i < r.n_inputs; ++i) inputs[i] = r.inputs[i];
  int64_t strides[TG_MAX_RANK], order[TG_MAX_RANK], n = 1;
  for (int d = 0; d < y.ndim; ++d) {
    int at = d;
    for (; at > 0 && y.strides[order[at - 1]] < y.strides[d]; --at) order[at] = order[at - 1];
    order[at] = d;
  }
  for (int i = y.ndim - 1; i >= 0; --i) {
    strides[order[i]] = n;
    n *= y.shape[order[i]];
  }
  for (size_t a = 0; a < job.n_in; ++a) {
    if (!job.transposed(a)) continue;
    const Arg& x = job.args[a];
    tg_tensor& copy = packed[x.value];
    copy = *r.inputs[x.value];
    copy.strides = strides;
    copy.byte_offset = 0;
    copy.data = host_->scratch(uint64_t(n * x.size));
    if (!copy.data) return run_job(job, r.threads);  // slower, but right
    copy_elements(host_, int(x.size), *r.inputs[x.value], copy, r.threads);
    inputs[x.value] = &copy;
  }
  tg_run again = r;
  again.inputs = inputs.data();
  run_job(Job(p_, again), r.threads);
}

}  // namespace
}  // namespace map

std::unique_ptr<Plan> make_map(Instance& instance, const tg_call& call) {
  return std::make_unique<map::MapPlan>(instance, call);
}

}  // namespace tg::cpu
