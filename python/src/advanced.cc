// SPDX-License-Identifier: Apache-2.0
// x[arrays] and x[arrays] = value, as NumPy has them: index tensors and masks over axes of the view that the other parts
// of the index make. Reading and writing are the ops `index` and `index_update`; a write of one number where a mask
// holds is a choice, elementwise.
#include <algorithm>

#include "indexing.h"

namespace tg::py {
namespace {

// Row-major positions of True; waits for the device.
Tensor positions(const Tensor& mask) {
  const Tensors found = ops<"nonzero_padded">({op<"reshape">({mask}, {Ints{mask.numel()}})});
  const int64_t n = int64_t(found[1].item());
  return op<"reshape">({op<"slice">({found[0]}, {0, 0, n, 1})}, {Ints{n}});
}

struct Indices {
  std::vector<Tensor> t;
  Ints axes;  // of the view
};

// Masks as integers, one tensor per axis.
Indices integers(const Parts& p) {
  GradMode off(false);
  Indices r;
  for (const ArrayIndex& a : p.arrays) {
    if (a.t.dtype() != DType::boolean) {
      r.t.push_back(a.t);
      r.axes.push_back(a.axis);
      continue;
    }
    Tensor at = positions(a.t);  // of a 0-d bool: [0] or [], on its new axis
    const int64_t rank = std::max<int64_t>(a.t.rank(), 1);
    std::vector<Tensor> each(static_cast<size_t>(rank));
    for (int64_t k = rank - 1; k > 0; --k) {
      each[size_t(k)] = op<"remainder">({at, a.t.size(k)});
      at = op<"floor_divide">({at, a.t.size(k)});
    }
    each[0] = at;
    for (int64_t k = 0; k < rank; ++k) {
      r.t.push_back(each[size_t(k)]);
      r.axes.push_back(a.axis + k);
    }
  }
  return r;
}

std::vector<Arg> arguments(std::initializer_list<Arg> leading, const Indices& indices) {
  std::vector<Arg> in(leading);
  for (const Tensor& t : indices.t) in.push_back(t);
  return in;
}

// Where flipped axes of the view are in the result.
Ints flipped_in_result(const Parts& p, const Index& r, const Indices& indices) {
  Ints out;
  int64_t own = 0;
  for (const Tensor& t : indices.t) own = std::max(own, t.rank());
  for (int64_t axis : r.flipped) {
    int64_t place = axis;
    for (int64_t a : indices.axes) place -= a < axis;
    out.push_back(place < p.at ? place : place + own);
  }
  return out;
}

// In the caller's words what the ops say of one number along a merged axis.
[[noreturn]] void explain(const Tensor& x, const Parts& p, const Error& e) {
  if (e.kind() != ErrorKind::index) throw e;
  GradMode off(false);
  for (const ArrayIndex& a : p.arrays) {
    if (a.t.dtype() == DType::boolean || a.t.numel() == 0) continue;
    const int64_t n = x.size(a.user_axis);
    const Tensor i = a.t.cast(DType::i64);
    for (const Tensor& end : {op<"min">({i}), op<"max">({i})})
      if (const int64_t v = int64_t(end.item()); v < -n || v >= n)
        raise(ErrorKind::index, "index ", v, " is out of range for axis ", a.user_axis, " of size ", n);
  }
  throw e;
}

template <class F>
auto explained(const Tensor& x, const Parts& p, F&& f) {
  std::vector<Arg> sizes{x};
  for (const ArrayIndex& a : p.arrays) sizes.push_back(a.t);
  try {
    if (!is_big(sizes)) return f();
    GilRelease release;
    return f();
  } catch (const Error& e) {
    explain(x, p, e);
  }
}

Tensor alias_of(const Tensor& x, const Index& r) { return x.alias(r.shape, r.strides, r.byte_offset); }

// x[mask] = one number, or values for the axes behind the mask: a choice.
bool is_choice(const Parts& p, const Index& r, const Arg& value) {
  if (p.arrays.size() != 1 || p.arrays[0].t.dtype() != DType::boolean || p.at != p.arrays[0].axis) return false;
  if (value.kind == Arg::scalar || value.t.numel() == 1) return true;
  const int64_t behind = int64_t(r.shape.size()) - p.arrays[0].axis - std::max<int64_t>(p.arrays[0].t.rank(), 1);
  return value.t.rank() <= behind;
}

void write_choice(const Tensor& x, const Parts& p, const Index& r, const Tensor& value, bool record) {
  const ArrayIndex& a = p.arrays[0];
  Ints shape = a.t.shape(), behind;
  if (shape.empty()) shape.push_back(1);
  const int64_t first = a.axis + int64_t(shape.size());
  for (size_t i = size_t(first); i < r.shape.size(); ++i) shape.push_back(1), behind.push_back(r.shape[i]);
  const Tensor mask = op<"reshape">({a.t}, {shape});
  Tensor v = value.numel() == 1 ? op<"reshape">({value}, {Ints{}}) : value;
  if (v.rank()) {
    Ints axes;
    for (int64_t f : r.flipped)
      if (f >= first) axes.push_back(f - first);
    v = flip(op<"expand">({v}, {behind}), axes);
  }
  if (record) return recorded_write(x, p, op<"where">({mask, v, recorded_view(x, p)}));
  const Tensor view = alias_of(x, r);
  const Arg in[] = {mask, v, view};
  const Tensor out[] = {view};
  call_into(op_named<"where">(), in, {}, out);
}

}  // namespace

bool is_index_array(PyObject* o) {
  return PyBool_Check(o) || PyList_Check(o) || PyTuple_Check(o) || is_tensor(o) || PyRange_Check(o) || is_array(o);
}

Tensor index_array(PyObject* o, Device* device) {
  Tensor t;
  if (is_tensor(o)) {
    t = tensor_of(o);
    if (t.device() != device) t = t.to(device);
  } else {
    t = to_tensor(o, nullptr, device);
    if (t.numel() == 0 && !is_array(o)) t = t.cast(DType::i64);  // []
  }
  if (t.dtype() != DType::boolean && !is_integer(t.dtype()))
    fail(PyExc_IndexError, "expected integers or bools in an index array, got ", long_name_of(t.dtype()));
  return t;
}

void check_mask(const Tensor& mask, const Tensor& x, int64_t axis) {
  for (int64_t k = 0; k < mask.rank(); ++k)
    if (mask.size(k) != x.size(axis + k))
      fail(PyExc_IndexError, "expected a mask of size ", x.size(axis + k), " for axis ", axis + k, " of shape ",
           str(x.shape()), ", got a mask of shape ", str(mask.shape()));
}

Tensor read_arrays(const Tensor& x, const Parts& p, bool record) {
  const Index r = index_of(x, p);
  return explained(x, p, [&] {
    const Tensor view = record ? recorded_view(x, p) : alias_of(x, r);
    const ArrayIndex& first = p.arrays[0];
    if (p.arrays.size() == 1 && first.t.dtype() == DType::boolean && first.t.rank() > 1 && p.at == first.axis) {
      Ints merged(r.shape.data(), size_t(first.axis));  // the mask's axes as one
      merged.push_back(first.t.numel());
      for (size_t i = size_t(first.axis + first.t.rank()); i < r.shape.size(); ++i) merged.push_back(r.shape[i]);
      const Indices one{{[&] { GradMode off(false); return positions(first.t); }()}, Ints{first.axis}};
      const Tensor y = op<"index">({op<"reshape">({view}, {merged}), one.t[0]}, {Ints{first.axis}});
      Ints axes;
      for (int64_t a : r.flipped) axes.push_back(a < first.axis ? a : a - first.t.rank() + 1);
      return flip(y, axes);
    }
    const Indices indices = integers(p);
    const Attr attrs[] = {indices.axes, p.at};
    const Tensor y = call_one(op_named<"index">(), arguments({view}, indices), attrs);
    return flip(y, flipped_in_result(p, r, indices));
  });
}

void write_arrays(const Tensor& x, const Parts& p, Arg value) {
  const Index r = index_of(x, p);
  const bool record = grad_enabled() && (x.requires_grad() || (value.kind == Arg::tensor && value.t.requires_grad()));
  if (record) check_in_place(nullptr, x, true);
  explained(x, p, [&] {
    const bool choice = is_choice(p, r, value);
    Tensor v = value.kind == Arg::scalar ? filled(value.s, x.dtype(), x.device()) : value.t.cast(x.dtype());
    if (choice) return write_choice(x, p, r, v, record);
    const Indices indices = integers(p);
    Ints axes = flipped_in_result(p, r, indices), own;
    for (const Tensor& t : indices.t) own = concrete(broadcast("index", symbolic(own), symbolic(t.shape())));
    Ints rest, shape;  // of the result: the other axes, the indices' between them
    for (size_t i = 0; i < r.shape.size(); ++i)
      if (std::find(indices.axes.begin(), indices.axes.end(), int64_t(i)) == indices.axes.end()) rest.push_back(r.shape[i]);
    for (size_t i = 0; i <= rest.size(); ++i) {
      if (int64_t(i) == p.at)
        for (int64_t d : own) shape.push_back(d);
      if (i < rest.size()) shape.push_back(rest[i]);
    }
    v = trimmed(v, shape.size());
    if (!axes.empty() && v.rank()) v = flip(op<"expand">({v}, {shape}), axes);
    const Attr attrs[] = {indices.axes, p.at};
    if (record) {
      const Tensor y = call_one(op_named<"index_update">(), arguments({recorded_view(x, p), v}, indices), attrs);
      return recorded_write(x, p, y);
    }
    const Tensor view = alias_of(x, r);
    const Tensor out[] = {view};
    call_into(op_named<"index_update">(), arguments({view, v}, indices), attrs, out);
  });
}

}  // namespace tg::py
