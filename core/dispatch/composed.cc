// SPDX-License-Identifier: Apache-2.0
// Primitives on complex numbers and 8-bit floats, done by primitives on reals and bytes: moves see bits of the same size,
// sums a last axis of 2, products real products. See docs/design/008-complex.md.
#include <algorithm>

#include "dispatch/call.h"

namespace tg {
namespace {

Tensor seen_as(const Tensor& t, DType dtype, const Ints& shape, const Ints& strides, uint64_t more_bytes = 0) {
  return Tensor(Ref<TensorImpl>::adopt(
      new TensorImpl(t.storage(), dtype, shape, strides, t.impl()->desc.byte_offset + more_bytes)));
}

// A complex tensor as reals with a last axis of 2.
Tensor pairs(const Tensor& t) {
  Ints shape = t.shape(), strides = t.strides();
  for (size_t i = 0; i < strides.size(); ++i) strides[i] *= 2;
  shape.push_back(2);
  strides.push_back(1);
  return seen_as(t, real_dtype(t.dtype()), shape, strides);
}
Tensor part(const Tensor& t, int which) {
  Ints strides = t.strides();
  for (size_t i = 0; i < strides.size(); ++i) strides[i] *= 2;
  const DType r = real_dtype(t.dtype());
  return seen_as(t, r, t.shape(), strides, uint64_t(which * size_of(r)));
}

// An index without the last axis of 2, repeated along it.
Tensor doubled(const Tensor& index) {
  Ints shape = index.shape(), strides = index.strides();
  shape.push_back(2);
  strides.push_back(0);
  return index.alias(shape, strides, index.impl()->desc.byte_offset);
}

// The bytes of 4-bit integers, in one row.
Tensor bytes_seen(const Tensor& t) {
  const int64_t n = int64_t(t.nbytes());
  return seen_as(t, DType::u8, Ints{n}, Ints{1});
}

Tensor packed(const Tensor& t) {
  const Tensor made = Tensor::empty(t.shape(), t.dtype(), t.device());
  write_into(made, t);
  return made;
}

void run(const Op& op, std::initializer_list<Arg> in, std::span<const Attr> attrs, const Tensor& out, Device* device) {
  const Tensor outs[] = {out};
  call_kernel(op, {in.begin(), in.size()}, attrs, outs, device, 1);
}

Tensor slice_of(const Tensor& t, int64_t axis, int64_t start, int64_t stop, int64_t step = 1) {
  Ints shape = t.shape(), strides = t.strides();
  shape[size_t(axis)] = std::max<int64_t>(0, (stop - start + step - 1) / step);
  strides[size_t(axis)] *= step;
  return t.alias(shape, strides, t.impl()->desc.byte_offset + uint64_t(start * t.strides()[size_t(axis)] * size_of(t.dtype())));
}

// Halves an axis until one product is left.
void product(Tensor x, const Ints& axes, const Tensor& out) {
  for (int64_t axis : axes)
    while (x.shape()[size_t(axis)] > 1) {
      const int64_t n = x.shape()[size_t(axis)], half = n / 2;
      const Tensor y = op<"mul">({slice_of(x, axis, 0, half), slice_of(x, axis, half, 2 * half)});
      if (n % 2) {
        const Tensor first = slice_of(y, axis, 0, 1);
        write_into(first, op<"mul">({first, slice_of(x, axis, n - 1, n)}));
      }
      x = y;
    }
  write_into(out, x);
}

// Running products by doubling: after k rounds an element is the product of the last 2^k.
void running_product(Tensor x, int64_t axis, bool exclusive, bool reverse, const Tensor& out) {
  const int64_t n = x.shape()[size_t(axis)];
  for (int64_t step = 1; step < n; step *= 2) {
    const Tensor next = packed(x);
    const Tensor late = reverse ? slice_of(x, axis, 0, n - step) : slice_of(x, axis, step, n);
    const Tensor early = reverse ? slice_of(x, axis, step, n) : slice_of(x, axis, 0, n - step);
    write_into(reverse ? slice_of(next, axis, 0, n - step) : slice_of(next, axis, step, n), op<"mul">({early, late}));
    x = next;
  }
  if (!exclusive) return write_into(out, x);
  const Tensor edge = reverse ? slice_of(out, axis, n - 1, n) : slice_of(out, axis, 0, 1);
  write_into(edge, op<"full">({}, {edge.shape(), 1.0, out.dtype()}, out.device()));
  if (n == 1) return;
  write_into(reverse ? slice_of(out, axis, 0, n - 1) : slice_of(out, axis, 1, n),
             reverse ? slice_of(x, axis, 1, n) : slice_of(x, axis, 0, n - 1));
}

// (a + bi)(c + di) = ac - bd + (ad + bc)i, accumulated. A real operand has no imaginary products.
void matmul(const Op& op, const Tensor& a, const Tensor& b, bool beta, const Tensor& out, Device* device) {
  const Attrs set{Attr(0)}, add{Attr(1)};
  const DType r = real_dtype(out.dtype());
  Tensor re = Tensor::empty(out.shape(), r, device), im = Tensor::empty(out.shape(), r, device);
  if (beta) write_into(re, part(out, 0)), write_into(im, part(out, 1));
  const Attrs& first = beta ? add : set;
  const Tensor ar = packed(part(a, 0)), ai = packed(part(a, 1)), br = packed(part(b, 0)), bi = packed(part(b, 1));
  run(op, {ar, br}, first, re, device);
  run(op, {ar, bi}, first, im, device);
  run(op, {ai, br}, add, im, device);
  run(op, {tg::op<"neg">({ai}), bi}, add, re, device);
  write_into(part(out, 0), re);
  write_into(part(out, 1), im);
}

[[noreturn]] void refuse(const Op& op, DType t) {
  if (is_small_float(t) || is_packed(t))
    raise(ErrorKind::type, "[", op.name, "] expected a dtype to compute in, got ", long_name_of(t), "; cast it first");
  raise(ErrorKind::type, "[", op.name, "] expected real numbers, got ", long_name_of(t), "; take real(x) or abs(x)");
}

}  // namespace

// To and from 4-bit integers by way of int8 or uint8, whose rules hold: floats saturate (at 4 bits), integers wrap.
Tensor cast_packed(const Tensor& x, DType to) {
  GradMode off(false);
  const DType from = x.dtype();
  if (is_packed(from)) {
    const int64_t n = x.numel(), m = int64_t(x.nbytes());
    const Tensor bytes = bytes_seen(x), both = Tensor::empty(Ints{m, 2}, DType::u8, x.device());
    const auto half = [&](int64_t i) { return both.alias(Ints{m}, Ints{2}, uint64_t(i)); };
    write_into(half(0), op<"bitwise_and">({bytes, 15}));
    write_into(half(1), op<"bitwise_right_shift">({bytes, 4}));
    Tensor y = both.alias(x.shape(), contiguous_strides(x.shape()), 0);
    if (n == 0) y = Tensor::empty(x.shape(), DType::u8, x.device());
    if (from == DType::i4) y = op<"sub">({op<"bitwise_xor">({y, 8}).cast(DType::i8), 8});
    return y.cast(to);
  }
  Tensor y = is_complex(from) ? x.cast(real_dtype(from)) : is_small_float(from) ? x.cast(DType::f32) : x;
  if (is_floating(y.dtype())) y = to == DType::i4 ? op<"clip">({y, -8.0, 7.0}) : op<"clip">({y, 0.0, 15.0});
  y = op<"bitwise_and">({y.cast(DType::i8).cast(DType::u8), 15}).contiguous();
  const Tensor made = Tensor::empty(x.shape(), to, x.device());
  const int64_t n = x.numel(), odd = n % 2, m = n / 2;
  if (n == 0) return made;
  const Tensor bytes = bytes_seen(made);
  const auto every_other = [&](int64_t i, int64_t count) { return y.alias(Ints{count}, Ints{2}, y.impl()->desc.byte_offset + uint64_t(i)); };
  if (m) write_into(bytes.alias(Ints{m}, Ints{1}, 0),
                    op<"bitwise_or">({every_other(0, m), op<"bitwise_left_shift">({every_other(1, m), 4})}));
  if (odd) write_into(bytes.alias(Ints{1}, Ints{1}, uint64_t(m)), every_other(n - 1, 1));
  return made;
}

Tensors composing(const Tensor& t) {
  Tensors out;
  if (is_complex(t.dtype())) {
    out.push_back(part(t, 0));
    out.push_back(part(t, 1));
  } else {
    out.push_back(is_small_float(t.dtype()) ? seen_as(t, DType::u8, t.shape(), t.strides()) : is_packed(t.dtype()) ? bytes_seen(t) : t);
  }
  return out;
}

void call_composed(const Op& op, std::span<const Tensor> in, std::span<const Attr> attrs, std::span<const Tensor> outs,
                   Device* device) {
  GradMode off(false);
  const std::string& kernel = op.kernel;
  const Tensor& out = outs[0];
  const DType t = out.defined() && is_composed(out.dtype()) ? out.dtype() : in[0].dtype();
  const bool bytes = is_small_float(t) || is_packed(t);
  const auto moved = [&](const Tensor& x) { return bytes ? composing(x)[0] : pairs(x); };
  if (kernel == "copy") return run(op, {moved(in[0])}, attrs, moved(out), device);
  if (kernel == "fill") {
    const double value = attrs[2].floating();
    Attrs parts(attrs.begin(), attrs.end());
    if (bytes) {
      parts[1] = DType::u8;
      parts[2] = int64_t(Scalar(value).bits(t)) * (is_packed(t) ? 17 : 1);
      parts[0] = moved(out).shape();
      return run(op, {}, parts, moved(out), device);
    }
    parts[1] = real_dtype(t);
    run(op, {}, parts, part(out, 0), device);
    parts[2] = 0.0;
    return run(op, {}, parts, part(out, 1), device);
  }
  if (is_packed(t)) refuse(op, t);
  if (kernel == "gather") return run(op, {moved(in[0]), bytes ? in[1] : doubled(in[1])}, attrs, moved(out), device);
  if (kernel == "scatter") {
    const int64_t kind = attrs[1].integer();
    if (kind == TG_SCATTER_SET || (!bytes && kind == TG_SCATTER_ADD))
      return run(op, {bytes ? in[0] : doubled(in[0]), moved(in[1])}, attrs, moved(out), device);
  }
  if (bytes) refuse(op, t);
  if (kernel == "reduce" && attrs[0].integer() == TG_REDUCE_SUM) return run(op, {pairs(in[0])}, attrs, pairs(out), device);
  if (kernel == "reduce" && attrs[0].integer() == TG_REDUCE_PROD) return product(in[0], attrs[1].ints(), out);
  if (kernel == "scan" && attrs[0].integer() == TG_REDUCE_SUM) return run(op, {pairs(in[0])}, attrs, pairs(out), device);
  if (kernel == "scan" && attrs[0].integer() == TG_REDUCE_PROD)
    return running_product(in[0], attrs[1].integer(), attrs[2].boolean(), attrs[3].boolean(), out);
  if (kernel == "matmul") return matmul(op, in[0], in[1], attrs[0].boolean(), out, device);
  refuse(op, t);
}

}  // namespace tg
