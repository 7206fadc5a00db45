// SPDX-License-Identifier: Apache-2.0
//
// The floor's `reduce` over any axes and strides. Where the densest axis is reduced, rows are reduced one by one; where
// it is kept, columns side by side. Large reductions to few elements are cut into pieces whose number depends on the
// shape alone, so that the result is the same for any number of threads.
#include "kernels/reduce.h"

#include <algorithm>
#include <cstring>

#include "kernels/axes.h"

namespace tg::cpu {
namespace reduce {

Element element_of(tg_dtype t) {
  if (t.lanes == 1) {
    switch (plugin::dtype_key(t)) {
      case plugin::dtype_key({TG_CODE_FLOAT, 32, 1}):
        return {map::kF32, map::kNoHalf, 4};
      case plugin::dtype_key({TG_CODE_FLOAT, 64, 1}):
        return {map::kF64, map::kNoHalf, 8};
      case plugin::dtype_key({TG_CODE_FLOAT, 16, 1}):
        return {map::kF32, map::kF16, 2};
      case plugin::dtype_key({TG_CODE_BFLOAT, 16, 1}):
        return {map::kF32, map::kBf16, 2};
      case plugin::dtype_key({TG_CODE_INT, 64, 1}):
        return {map::kI64, map::kNoHalf, 8};
      case plugin::dtype_key({TG_CODE_INT, 32, 1}):
        return {map::kI32, map::kNoHalf, 4};
      case plugin::dtype_key({TG_CODE_INT, 16, 1}):
        return {map::kI16, map::kNoHalf, 2};
      case plugin::dtype_key({TG_CODE_INT, 8, 1}):
        return {map::kI8, map::kNoHalf, 1};
      case plugin::dtype_key({TG_CODE_UINT, 64, 1}):
        return {map::kU64, map::kNoHalf, 8};
      case plugin::dtype_key({TG_CODE_UINT, 32, 1}):
        return {map::kU32, map::kNoHalf, 4};
      case plugin::dtype_key({TG_CODE_UINT, 16, 1}):
        return {map::kU16, map::kNoHalf, 2};
      case plugin::dtype_key({TG_CODE_UINT, 8, 1}):
        return {map::kU8, map::kNoHalf, 1};
      case plugin::dtype_key({TG_CODE_BOOL, 8, 1}):
        return {map::kBool, map::kNoHalf, 1};
      default:
        break;
    }
  }
  plugin::fail(TG_UNIMPLEMENTED, "expected a real or bool dtype, got code %d with %d bits", t.code, t.bits);
}

namespace {

constexpr int64_t kGrain = 32768;
constexpr int64_t kPiece = 65536;  // elements of a piece, at least
constexpr int64_t kMaxPieces = 64;
constexpr int64_t kFewOutputs = 16;  // below this a large reduction is cut into pieces
constexpr int64_t kBatch = 64;       // rows whose states are kept together
constexpr int64_t kGatherRows = 8;

template <class T>
void gather(void* to, const void* from, int64_t n, int64_t step) {
  const T* f = static_cast<const T*>(from);
  T* t = static_cast<T*>(to);
  for (int64_t i = 0; i < n; ++i) t[i] = f[i * step];
}

void gather_bytes(int64_t bytes, void* to, const void* from, int64_t n, int64_t step) {
  switch (bytes) {
    case 1:
      return gather<uint8_t>(to, from, n, step);
    case 2:
      return gather<uint16_t>(to, from, n, step);
    case 4:
      return gather<uint32_t>(to, from, n, step);
    default:
      return gather<uint64_t>(to, from, n, step);
  }
}

template <class T>
void scatter(void* to, const void* from, int64_t n, int64_t step) {
  for (int64_t i = 0; i < n; ++i) static_cast<T*>(to)[i * step] = static_cast<const T*>(from)[i];
}

class ReducePlan final : public Plan {
 public:
  ReducePlan(Instance& instance, const tg_call& call, int kind) : host_(instance.host) {
    e_ = element_of(call.inputs[0]->dtype);
    if (kind == TG_REDUCE_ANY) kind = TG_REDUCE_MAX;
    if (kind == TG_REDUCE_ALL) kind = TG_REDUCE_MIN;
    k_ = find_kernels(kind, e_.rep);
    if (!k_.init) plugin::fail(TG_INVALID_ARGUMENT, "[reduce] expected a TG_REDUCE_ kind, got %d", kind);
    if (e_.half != map::kNoHalf) {
      load_ = map::half_load(e_.half);
      store_ = map::half_store(e_.half);
    }
    const tg_attr& axes = call.attrs[1];
    for (uint32_t i = 0; i < axes.n; ++i) {
      if (axes.v.ints[i] < 0 || axes.v.ints[i] >= call.inputs[0]->ndim)
        plugin::fail(TG_INVALID_ARGUMENT, "[reduce] expected axes in [0, %d), got %lld", call.inputs[0]->ndim,
                     static_cast<long long>(axes.v.ints[i]));
      reduced_[axes.v.ints[i]] = true;
    }
  }

  void run(const tg_run& r) override {
    const tg_tensor& x = *r.inputs[0];
    const tg_tensor& y = *r.outputs[0];
    bool kept[TG_MAX_RANK];
    for (int d = 0; d < TG_MAX_RANK; ++d) kept[d] = !reduced_[d];
    Job job{*this,
            r,
            plugin::data<const char>(x),
            plugin::data<char>(y),
            Axes<2>(x.ndim, x.shape, {x.strides, y.strides}, reduced_),
            Axes<1>(x.ndim, x.shape, {x.strides}, kept)};
    const bool by_columns = job.kept.rank > 0 && (job.red.rank == 0 || job.kept.step[0][job.kept.rank - 1] <
                                                                           job.red.step[0][job.red.rank - 1]);
    job.red.at_least_one();
    by_columns ? columns(job) : rows(job);
  }

 private:
  struct Job {
    const ReducePlan& plan;
    const tg_run& r;
    const char* x;
    char* y;
    Axes<2> kept;  // steps of x, y
    Axes<1> red;
  };

  // States to y at `at`, n of them, `step` elements apart.
  void store(const void* states, int64_t n, char* at, int64_t step) const {
    alignas(64) char buffer[kColumns * 8], narrow[kColumns * 2];
    k_.finish(buffer, states, n);
    const char* from = buffer;
    if (store_) {
      store_(narrow, buffer, nullptr, nullptr, n, 0);
      from = narrow;
    }
    switch (e_.bytes) {
      case 1:
        return scatter<uint8_t>(at, from, n, step);
      case 2:
        return scatter<uint16_t>(at, from, n, step);
      case 4:
        return scatter<uint32_t>(at, from, n, step);
      default:
        return scatter<uint64_t>(at, from, n, step);
    }
  }

  // n elements as the kernels want them: where they are if they lie so, else in `buffer`.
  const void* fetch(const char* from, int64_t n, int64_t step, void* buffer, void* raw) const {
    if (step != 1 && n > 1) {
      void* to = load_ ? raw : buffer;
      gather_bytes(e_.bytes, to, from, n, step);
      from = static_cast<const char*>(to);
    }
    if (!load_) return from;
    load_(buffer, from, nullptr, nullptr, n, 0);
    return buffer;
  }

  // Takes elements [begin, end) of the reduced axes, counted in segments, of the output whose x begins at `x`.
  void take_row(const Job& job, const char* x, int64_t begin, int64_t end, void* state) const {
    const int64_t n = job.red.inner(), step = job.red.step[0][job.red.rank - 1];
    if (job.red.rank == 1 && n <= kSegment && !load_ && (step == 1 || n == 1)) return k_.row(x, n, state);
    alignas(64) char buffer[kSegment * 8], raw[kSegment * 2];
    const int64_t per_row = (n + kSegment - 1) / kSegment;
    for (int64_t s = begin; s < end;) {
      const int64_t row = s / per_row;
      job.red.walk(job.red.rank - 1, row, row + (end - s + per_row - 1) / per_row, [&](const int64_t(&offset)[1]) {
        for (int64_t at = s % per_row; at < per_row && s < end; ++at, ++s) {
          const int64_t i = at * kSegment, m = std::min(kSegment, n - i);
          k_.row(fetch(x + (offset[0] + i * step) * e_.bytes, m, step, buffer, raw), m, state);
        }
      });
    }
  }

  void rows(const Job& job) const {
    const int64_t outputs = job.kept.count(), size = job.red.count();
    const int64_t segments = job.red.count(job.red.rank - 1) * ((job.red.inner() + kSegment - 1) / kSegment);
    if (outputs < kFewOutputs && size >= 4 * kPiece && segments > 1) {
      const int64_t pieces = std::min({kMaxPieces, size / kPiece, segments});
      alignas(64) char states[kFewOutputs * kMaxPieces * kStateBytes];
      k_.init(states, outputs * pieces);
      plugin::parallel_for(host_, outputs * pieces, std::max<int64_t>(1, kGrain * pieces / size), job.r.threads,
                           [&](int64_t begin, int64_t end) {
                             for (int64_t t = begin; t < end; ++t) {
                               const int64_t piece = t % pieces;
                               job.kept.walk(job.kept.rank, t / pieces, t / pieces + 1, [&](const int64_t(&offset)[2]) {
                                 take_row(job, job.x + offset[0] * e_.bytes, segments * piece / pieces,
                                          segments * (piece + 1) / pieces, states + t * k_.state_size);
                               });
                             }
                           });
      job.kept.walk(job.kept.rank, 0, outputs, [&, at = states](const int64_t(&offset)[2]) mutable {
        for (int64_t p = 1; p < pieces; ++p) k_.merge(at, at + p * k_.state_size, 1);
        store(at, 1, job.y + offset[1] * e_.bytes, 1);
        at += pieces * k_.state_size;
      });
      return;
    }
    const bool short_rows =
        job.kept.rank == 1 && job.red.rank == 1 && job.red.step[0][0] == 1 && size <= kSegment && !load_;
    plugin::parallel_for(host_, outputs, std::max<int64_t>(1, kGrain / std::max<int64_t>(size, 8)), job.r.threads,
                         [&](int64_t begin, int64_t end) {
                           alignas(64) char states[kBatch * kStateBytes];
                           int64_t at[kBatch];
                           for (int64_t b = begin; b < end; b += kBatch) {
                             const int64_t count = std::min(kBatch, end - b);
                             k_.init(states, count);
                             if (short_rows) {
                               const int64_t xs = job.kept.step[0][0], ys = job.kept.step[1][0];
                               k_.rows(job.x + b * xs * e_.bytes, count, xs, size, states);
                               store(states, count, job.y + b * ys * e_.bytes, ys);
                               continue;
                             }
                             int64_t i = 0;
                             job.kept.walk(job.kept.rank, b, b + count, [&](const int64_t(&offset)[2]) {
                               at[i] = offset[1];
                               take_row(job, job.x + offset[0] * e_.bytes, 0, segments, states + i++ * k_.state_size);
                             });
                             const bool dense = count > 1 && at[count - 1] - at[0] == (count - 1) * (at[1] - at[0]) &&
                                                job.kept.rank == 1;
                             if (dense) {
                               store(states, count, job.y + at[0] * e_.bytes, at[1] - at[0]);
                             } else {
                               for (i = 0; i < count; ++i)
                                 store(states + i * k_.state_size, 1, job.y + at[i] * e_.bytes, 1);
                             }
                           }
                         });
  }

  // Takes rows [begin, end) of the reduced axes into the states of n columns that begin at `x`.
  void take_columns(const Job& job, const char* x, int64_t begin, int64_t end, int64_t n, void* states) const {
    const int64_t inner = job.red.inner(), step = job.red.step[0][job.red.rank - 1];
    const int64_t column_step = job.kept.step[0][job.kept.rank - 1];
    const bool dense = !load_ && (column_step == 1 || n == 1);
    alignas(64) char buffer[kGatherRows * kColumns * 8], raw[kColumns * 2];
    const int64_t width = map::rep_size(e_.rep) * kColumns;
    for (int64_t row = begin; row < end;) {
      const int64_t outer = row / inner, i = row - outer * inner, count = std::min(inner - i, end - row);
      job.red.walk(job.red.rank - 1, outer, outer + 1, [&](const int64_t(&offset)[1]) {
        const char* at = x + (offset[0] + i * step) * e_.bytes;
        if (dense) return k_.columns(at, count, step, n, states);
        for (int64_t k = 0; k < count; k += kGatherRows) {
          const int64_t m = std::min(kGatherRows, count - k);
          for (int64_t j = 0; j < m; ++j) {
            char* to = buffer + j * width;
            const void* got = fetch(at + (k + j) * step * e_.bytes, n, column_step, to, raw);
            if (got != to) std::memcpy(to, got, size_t(n * e_.bytes));
          }
          k_.columns(buffer, m, kColumns, n, states);
        }
      });
      row += count;
    }
  }

  void columns(Job& job) const {
    const int last = job.kept.rank - 1;
    int64_t width = job.kept.shape[last], rows = job.red.count(), fold = 1;
    // Few dense columns: take several rows at once as one wide row.
    const bool plain = !load_ && job.kept.rank == 1 && job.red.rank == 1 && job.kept.step[0][0] == 1;
    if (plain && width <= kColumns / 4 && job.red.step[0][0] == width && rows >= 16)
      fold = std::min(kColumns / width, rows);
    const int64_t wide_rows = rows / fold, wide = width * fold;
    const int64_t tiles = (wide + kColumns - 1) / kColumns, outer = job.kept.count(last), items = outer * tiles;
    int64_t pieces = 1;
    if (items < kFewOutputs && wide_rows * wide * outer >= 4 * kPiece)
      pieces = std::max<int64_t>(1, std::min({kFewOutputs, wide_rows * wide / kPiece, wide_rows}));
    const int64_t item_bytes = kColumns * kStateBytes;
    char* states = nullptr;
    if (pieces > 1) {
      states = static_cast<char*>(host_->scratch(uint64_t(items * pieces * item_bytes)));
      if (!states)
        plugin::fail(TG_RESOURCE_EXHAUSTED, "[reduce] no scratch memory for %lld partial rows",
                     static_cast<long long>(items * pieces));
    }
    const int64_t work = std::max<int64_t>(1, wide_rows / pieces * std::min(wide, kColumns));
    const auto finish = [&](char* own, int64_t n, int64_t j0, const int64_t(&offset)[2]) {
      if (fold > 1) {
        for (int64_t f = 1; f < fold; ++f) k_.merge(own, own + f * width * k_.state_size, width);
        if (rows > wide_rows * fold)
          k_.columns(job.x + wide_rows * wide * e_.bytes, rows - wide_rows * fold, width, width, own);
        n = width;
      }
      store(own, n, job.y + (offset[1] + j0 * job.kept.step[1][last]) * e_.bytes, job.kept.step[1][last]);
    };
    plugin::parallel_for(host_, items * pieces, std::max<int64_t>(1, kGrain / work), job.r.threads,
                         [&](int64_t begin, int64_t end) {
                           alignas(64) char local[kColumns * kStateBytes];
                           for (int64_t t = begin; t < end; ++t) {
                             const int64_t item = t / pieces, piece = t % pieces, j0 = item % tiles * kColumns;
                             const int64_t n = std::min(kColumns, wide - j0);
                             char* own = states ? states + t * item_bytes : local;
                             k_.init(own, n);
                             job.kept.walk(last, item / tiles, item / tiles + 1, [&](const int64_t(&offset)[2]) {
                               const char* x = job.x + (offset[0] + j0 * job.kept.step[0][last]) * e_.bytes;
                               const int64_t r0 = wide_rows * piece / pieces, r1 = wide_rows * (piece + 1) / pieces;
                               if (fold > 1) {
                                 k_.columns(x + r0 * wide * e_.bytes, r1 - r0, wide, n, own);
                               } else {
                                 take_columns(job, x, r0, r1, n, own);
                               }
                               if (pieces == 1) finish(own, n, j0, offset);
                             });
                           }
                         });
    if (pieces == 1) return;
    for (int64_t item = 0; item < items; ++item) {
      char* own = states + item * pieces * item_bytes;
      const int64_t j0 = item % tiles * kColumns, n = std::min(kColumns, wide - j0);
      for (int64_t p = 1; p < pieces; ++p) k_.merge(own, own + p * item_bytes, n);
      job.kept.walk(last, item / tiles, item / tiles + 1,
                    [&](const int64_t(&offset)[2]) { finish(own, n, j0, offset); });
    }
  }

  const tg_host* host_;
  Element e_;
  Kernels k_;
  map::Kernel load_ = nullptr, store_ = nullptr;
  bool reduced_[TG_MAX_RANK] = {};
};

}  // namespace
}  // namespace reduce

std::unique_ptr<Plan> make_reduce(Instance& instance, const tg_call& call) {
  if (call.n_attrs < 2 || call.attrs[0].kind != TG_ATTR_INT ||
      (call.attrs[1].kind != TG_ATTR_INTS && call.attrs[1].kind != 0))
    plugin::fail(TG_INVALID_ARGUMENT, "[reduce] expected plan attributes int kind and ints axes");
  const int kind = int(call.attrs[0].v.i);
  if (kind == TG_REDUCE_ARGMAX || kind == TG_REDUCE_ARGMIN) {
    if (call.attrs[1].n != 1)
      plugin::fail(TG_INVALID_ARGUMENT, "[reduce] expected exactly one axis for argmax and argmin, got %u",
                   call.attrs[1].n);
    return reduce::make_arg(instance, call, int(call.attrs[1].v.ints[0]), kind == TG_REDUCE_ARGMAX);
  }
  return std::make_unique<reduce::ReducePlan>(instance, call, kind);
}

}  // namespace tg::cpu
