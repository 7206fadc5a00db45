// SPDX-License-Identifier: Apache-2.0
//
// A tensor for tests: its own storage, any strides and offset, and a check that nothing outside its elements changed.
#pragma once

#include <cstdint>
#include <cstring>
#include <numeric>
#include <string>
#include <vector>

#include <tengen/kernel_api.hpp>

namespace tg::test {

using Shape = std::vector<int64_t>;

inline int64_t numel(const Shape& shape) {
  return std::accumulate(shape.begin(), shape.end(), int64_t(1), [](int64_t a, int64_t b) { return a * b; });
}

inline Shape packed_strides(const Shape& shape) {
  Shape strides(shape.size());
  int64_t step = 1;
  for (size_t i = shape.size(); i-- > 0;) {
    strides[i] = step;
    step *= shape[i];
  }
  return strides;
}

// Ways to lay a shape out in memory.
enum class Layout {
  packed,
  padded,    // gaps between elements and between rows, and a byte offset
  reversed,  // first axis fastest
};
inline constexpr Layout kLayouts[] = {Layout::packed, Layout::padded, Layout::reversed};

class Tensor {
 public:
  Tensor(tg_dtype dtype, Shape shape, Layout layout = Layout::packed) : dtype_(dtype), shape_(std::move(shape)) {
    strides_ = packed_strides(shape_);
    if (layout == Layout::padded) {
      int64_t step = 2;
      for (size_t i = shape_.size(); i-- > 0;) {
        strides_[i] = step;
        step = step * shape_[i] + 3;
      }
      offset_ = 5;
    } else if (layout == Layout::reversed) {
      int64_t step = 1;
      for (size_t i = 0; i < shape_.size(); ++i) {
        strides_[i] = step;
        step *= shape_[i];
      }
    }
    allocate();
  }

  // Any strides; 0 repeats an element.
  Tensor(tg_dtype dtype, Shape shape, Shape strides, int64_t offset = 0)
      : dtype_(dtype), shape_(std::move(shape)), strides_(std::move(strides)), offset_(offset) {
    allocate();
  }

  template <class T>
  static Tensor of(Shape shape, const std::vector<T>& values, Layout layout = Layout::packed) {
    Tensor t(plugin::dtype_of<T>::value, std::move(shape), layout);
    t.set(values);
    return t;
  }

  tg_dtype dtype() const { return dtype_; }
  const Shape& shape() const { return shape_; }
  const Shape& strides() const { return strides_; }
  int64_t size() const { return numel(shape_); }
  int64_t item() const { return dtype_.bits / 8; }

  // Element number `flat` in row-major order.
  template <class T>
  T get(int64_t flat) const {
    T x;
    std::memcpy(&x, bytes_.data() + position(flat), sizeof x);
    return x;
  }
  template <class T>
  void put(int64_t flat, T x) {
    std::memcpy(bytes_.data() + position(flat), &x, sizeof x);
  }
  template <class T>
  void set(const std::vector<T>& values) {
    for (int64_t i = 0; i < size(); ++i) put(i, values[size_t(i)]);
  }
  template <class T>
  std::vector<T> values() const {
    std::vector<T> all;
    for (int64_t i = 0; i < size(); ++i) all.push_back(get<T>(i));
    return all;
  }
  uint64_t bits(int64_t flat) const {
    uint64_t x = 0;
    std::memcpy(&x, bytes_.data() + position(flat), size_t(item()));
    return x;
  }
  void put_bits(int64_t flat, uint64_t x) { std::memcpy(bytes_.data() + position(flat), &x, size_t(item())); }

  // The tensor for a run, or (data NULL) for planning. Valid while this object is neither moved nor destroyed.
  tg_tensor view(bool planning = false) {
    tg_tensor t{};
    // byte_offset carries the guard zone and the offset: a kernel that forgets it writes into the guard.
    t.data = planning ? nullptr : bytes_.data() + base_;
    t.device = {TG_DEVICE_HOST, 0};
    t.ndim = int32_t(shape_.size());
    t.dtype = dtype_;
    t.shape = shape_.data();
    t.strides = strides_.data();
    t.byte_offset = uint64_t(offset_ * item());
    return t;
  }

  // Bytes that belong to no element still hold the pattern.
  bool gaps_untouched() const {
    std::vector<bool> element(bytes_.size());
    for (int64_t i = 0; i < size(); ++i)
      for (int64_t b = 0; b < item(); ++b) element[size_t(position(i) + b)] = true;
    for (size_t i = 0; i < bytes_.size(); ++i)
      if (!element[i] && bytes_[i] != kPattern) return false;
    return true;
  }

  const std::vector<uint8_t>& bytes() const { return bytes_; }

 private:
  static constexpr uint8_t kPattern = 0xA5;
  static constexpr int64_t kGuard = 256;

  void allocate() {
    int64_t last = offset_;
    for (size_t i = 0; i < shape_.size(); ++i) last += (shape_[i] - 1) * strides_[i];
    bytes_.assign(size_t((last + 1) * item() + 2 * kGuard + 64), kPattern);
    // data is 64-byte aligned, as the host's buffers are.
    base_ = kGuard + (64 - int64_t(reinterpret_cast<uintptr_t>(bytes_.data() + kGuard) % 64)) % 64;
  }

  int64_t position(int64_t flat) const {
    int64_t at = offset_;
    for (size_t i = shape_.size(); i-- > 0;) {
      at += flat % shape_[i] * strides_[i];
      flat /= shape_[i];
    }
    return base_ + at * item();
  }

  tg_dtype dtype_;
  Shape shape_, strides_;
  int64_t offset_ = 0, base_ = 0;
  std::vector<uint8_t> bytes_;

 public:
  // Copies would change the alignment of the data: copy the elements instead.
  Tensor(const Tensor& other)
      : dtype_(other.dtype_), shape_(other.shape_), strides_(other.strides_), offset_(other.offset_) {
    allocate();
    for (int64_t i = 0; i < size(); ++i) put_bits(i, other.bits(i));
  }
  Tensor(Tensor&&) = default;
  Tensor& operator=(const Tensor&) = delete;
  Tensor& operator=(Tensor&&) = default;
};

}  // namespace tg::test
