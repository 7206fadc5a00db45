// SPDX-License-Identifier: Apache-2.0
//
// The floor's `copy`: bits from any strides to any strides, by element size. Dense runs by memcpy, repeated elements by
// fills, exchanged axes by a transpose through blocks that fit the first-level cache.
#include <algorithm>
#include <cstring>
#include <utility>

#include "kernels/axes.h"
#include "kernels/copy.h"
#include "kernels/kernels.h"

namespace tg::cpu {
namespace {

constexpr int64_t kGrainBytes = 1 << 17;
constexpr int64_t kBlock = 64;  // of a transpose, in elements
// Blocks are visited in squares of this many a side, so that the pages of 512 rows on either side stay in the TLB.
constexpr int64_t kSquare = 8;

// The blocks of one plane of a transpose, in squares; squares at the edges have positions without a block.
struct BlockOrder {
  int64_t row_blocks, column_blocks, side_rows, side_columns, squares_down;
  BlockOrder(int64_t rows, int64_t columns)
      : row_blocks((rows + kBlock - 1) / kBlock),
        column_blocks((columns + kBlock - 1) / kBlock),
        side_rows(std::min(kSquare, row_blocks)),
        side_columns(std::min(kSquare, column_blocks)),
        squares_down((row_blocks + side_rows - 1) / side_rows) {}
  int64_t positions() const {
    return squares_down * side_rows * ((column_blocks + side_columns - 1) / side_columns) * side_columns;
  }
  bool at(int64_t position, int64_t* row_block, int64_t* column_block) const {
    const int64_t area = side_rows * side_columns, square = position / area, inside = position % area;
    *row_block = square % squares_down * side_rows + inside % side_rows;
    *column_block = square / squares_down * side_columns + inside / side_rows;
    return *row_block < row_blocks && *column_block < column_blocks;
  }
};

struct Pair {  // 16-byte elements
  uint64_t a, b;
};

// to[j * to_step + i] = from[i * from_step + j] for i < rows, j < columns.
template <class T>
void transpose_plain(T* to, int64_t to_step, const T* from, int64_t from_step, int64_t rows, int64_t columns) {
  for (int64_t j = 0; j < columns; ++j) {
    for (int64_t i = 0; i < rows; ++i) to[j * to_step + i] = from[i * from_step + j];
  }
}

using V4 = uint32_t __attribute__((vector_size(16)));
inline V4 load4(const uint32_t* p) {
  V4 v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
inline void store4(uint32_t* p, V4 v) { std::memcpy(p, &v, sizeof v); }

inline void transpose_4x4(uint32_t* to, int64_t to_step, const uint32_t* from, int64_t from_step) {
  const V4 r0 = load4(from), r1 = load4(from + from_step), r2 = load4(from + 2 * from_step),
           r3 = load4(from + 3 * from_step);
  const V4 a = __builtin_shufflevector(r0, r1, 0, 4, 1, 5), b = __builtin_shufflevector(r2, r3, 0, 4, 1, 5);
  const V4 c = __builtin_shufflevector(r0, r1, 2, 6, 3, 7), d = __builtin_shufflevector(r2, r3, 2, 6, 3, 7);
  store4(to, __builtin_shufflevector(a, b, 0, 1, 4, 5));
  store4(to + to_step, __builtin_shufflevector(a, b, 2, 3, 6, 7));
  store4(to + 2 * to_step, __builtin_shufflevector(c, d, 0, 1, 4, 5));
  store4(to + 3 * to_step, __builtin_shufflevector(c, d, 2, 3, 6, 7));
}

template <class T>
void transpose_block(T* to, int64_t to_step, const T* from, int64_t from_step, int64_t rows, int64_t columns) {
  if constexpr (std::is_same_v<T, uint32_t>) {
    const int64_t whole_rows = rows & ~3, whole_columns = columns & ~3;
    for (int64_t j = 0; j < whole_columns; j += 4) {
      for (int64_t i = 0; i < whole_rows; i += 4) {
        transpose_4x4(to + j * to_step + i, to_step, from + i * from_step + j, from_step);
      }
    }
    transpose_plain(to + whole_rows, to_step, from + whole_rows * from_step, from_step, rows - whole_rows,
                    whole_columns);
    transpose_plain(to + whole_columns * to_step, to_step, from + whole_columns, from_step, rows,
                    columns - whole_columns);
  } else {
    transpose_plain(to, to_step, from, from_step, rows, columns);
  }
}

// The last axis is dense in `to`, the one before it dense in `from`. Blocks of `from` are first read row by row into a
// buffer whose rows do not share cache sets, as rows of 2^k bytes in memory do.
template <class T>
void transpose(T* to, const T* from, const Axes<2>& axes, int64_t begin, int64_t end) {
  const int r = axes.rank - 1, c = axes.rank - 2;  // r: dense in `to`; c: dense in `from`
  const int64_t rows = axes.shape[r], columns = axes.shape[c];
  const BlockOrder order(rows, columns);
  const int64_t per_plane = order.positions();
  constexpr int64_t kPitch = kBlock + 64 / int64_t(sizeof(T)) / 4 + 1;
  alignas(64) T buffer[kBlock * kPitch];
  for (int64_t b = begin; b < end;) {
    const int64_t plane = b / per_plane, stop = std::min(end, (plane + 1) * per_plane);
    axes.walk(axes.rank - 2, plane, plane + 1, [&](const int64_t(&offset)[2]) {
      for (; b < stop; ++b) {
        int64_t i0, j0;
        if (!order.at(b - plane * per_plane, &i0, &j0)) continue;
        i0 *= kBlock, j0 *= kBlock;
        const int64_t m = std::min(kBlock, rows - i0), n = std::min(kBlock, columns - j0);
        const T* source = from + offset[1] + i0 * axes.step[1][r] + j0;
        for (int64_t i = 0; i < m; ++i)
          std::memcpy(buffer + i * kPitch, source + i * axes.step[1][r], size_t(n) * sizeof(T));
        transpose_block(to + offset[0] + j0 * axes.step[0][c] + i0, axes.step[0][c], buffer, kPitch, m, n);
      }
    });
  }
}

template <class T>
void copy_row(T* to, const T* from, int64_t n, int64_t to_step, int64_t from_step) {
  if (to_step == 1 && from_step == 1) {
    if (n * int64_t(sizeof(T)) >= 64) {
      std::memcpy(to, from, size_t(n) * sizeof(T));
    } else {
      for (int64_t i = 0; i < n; ++i) to[i] = from[i];
    }
  } else if (to_step == 1 && from_step == 0) {
    std::fill_n(to, n, *from);
  } else {
    for (int64_t i = 0; i < n; ++i) to[i * to_step] = from[i * from_step];
  }
}

template <class T>
void move(const tg_host* host, const tg_tensor& x, const tg_tensor& y, int32_t threads) {
  const T* from = plugin::data<const T>(x);
  T* to = plugin::data<T>(y);
  Axes<2> axes(y.ndim, y.shape, {y.strides, x.strides});
  axes.at_least_one();
  constexpr int64_t kGrain = kGrainBytes / int64_t(sizeof(T));
  const int last = axes.rank - 1;
  if (axes.rank == 1) {
    const int64_t to_step = axes.step[0][0], from_step = axes.step[1][0];
    plugin::parallel_for(host, axes.inner(), kGrain, threads, [&](int64_t begin, int64_t end) {
      copy_row(to + begin * to_step, from + begin * from_step, end - begin, to_step, from_step);
    });
    return;
  }
  if (axes.step[0][last] == 1 && axes.step[1][last] > 1 && axes.shape[last] >= 4) {
    for (int i = 0; i < last; ++i) {
      if (axes.step[1][i] != 1 || axes.shape[i] < 4) continue;
      // Bring the axis that is dense in `from` next to the last.
      axes.rotate_to_end(i);
      axes.rotate_to_end(last - 1);
      const int64_t planes = axes.count(last - 1);
      const int64_t blocks = planes * BlockOrder(axes.shape[last], axes.shape[last - 1]).positions();
      const int64_t per_block = std::max<int64_t>(1, axes.count() / blocks);
      plugin::parallel_for(host, blocks, std::max<int64_t>(1, kGrain / per_block), threads,
                           [&](int64_t begin, int64_t end) { transpose(to, from, axes, begin, end); });
      return;
    }
  }
  const int64_t inner = axes.inner();
  plugin::parallel_for(host, axes.count(last), std::max<int64_t>(1, kGrain / inner), threads,
                       [&](int64_t begin, int64_t end) {
                         axes.walk(last, begin, end, [&](const int64_t(&offset)[2]) {
                           copy_row(to + offset[0], from + offset[1], inner, axes.step[0][last], axes.step[1][last]);
                         });
                       });
}

}  // namespace

void copy_elements(const tg_host* host, int bytes, const tg_tensor& x, const tg_tensor& y, int32_t threads) {
  switch (bytes) {
    case 1:
      return move<uint8_t>(host, x, y, threads);
    case 2:
      return move<uint16_t>(host, x, y, threads);
    case 4:
      return move<uint32_t>(host, x, y, threads);
    case 8:
      return move<uint64_t>(host, x, y, threads);
    default:
      return move<Pair>(host, x, y, threads);
  }
}

namespace {

class CopyPlan final : public Plan {
 public:
  CopyPlan(Instance& instance, const tg_call& call) : host_(instance.host) {
    const tg_dtype t = call.inputs[0]->dtype;
    bytes_ = t.bits * t.lanes / 8;
    if (bytes_ * 8 != t.bits * t.lanes || (bytes_ != 1 && bytes_ != 2 && bytes_ != 4 && bytes_ != 8 && bytes_ != 16))
      plugin::fail(TG_UNIMPLEMENTED, "[copy] expected elements of 1, 2, 4, 8 or 16 bytes, got %d bits",
                   t.bits * t.lanes);
  }
  void run(const tg_run& r) override { copy_elements(host_, bytes_, *r.inputs[0], *r.outputs[0], r.threads); }

 private:
  const tg_host* host_;
  int bytes_;
};

}  // namespace

std::unique_ptr<Plan> make_copy(Instance& instance, const tg_call& call) {
  return std::make_unique<CopyPlan>(instance, call);
}

}  // namespace tg::cpu
