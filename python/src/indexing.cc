// SPDX-License-Identifier: Apache-2.0
// Basic indexing: integers, slices, ... and None. All parts together make one view: a shape, strides and an offset.
#include "autograd/node.h"
#include "call.h"

namespace tg::py {
namespace {

// What one part does to one axis of x; a new axis has `axis` -1.
struct Part {
  enum Kind { integer, slice, new_axis } kind;
  int64_t axis;
  int64_t start = 0, stop = 0, step = 1, length = 0;  // step > 0: the elements in ascending order
  bool flip = false;
};
using Parts = std::vector<Part>;

[[noreturn]] void fail_advanced(PyObject* o) {
  const char* what = PyList_Check(o) ? "a list" : is_tensor(o) ? "a tensor" : "an array";
  fail(PyExc_IndexError, "indexing with ", what,
       " is not supported yet: use tg.index_select(x, index, axis) or tg.take_along_axis for integer indices, "
       "tg.masked_fill or tg.where for masks");
}

int64_t checked_index(int64_t i, int64_t axis, int64_t n) {
  if (i < -n || i >= n) fail(PyExc_IndexError, "index ", i, " is out of range for axis ", axis, " of size ", n);
  return i < 0 ? i + n : i;
}

bool is_integer_index(PyObject* o) {
  if (PyLong_Check(o)) return !PyBool_Check(o);
  if (!PyIndex_Check(o) || PyBool_Check(o)) return false;
  if (is_tensor(o)) return impl_of(o)->desc.ndim == 0 && is_integer(impl_of(o)->dtype);
  if (PyObject_HasAttrString(o, "ndim")) {  // NumPy: scalars and 0-d arrays only
    const Object ndim = Object::take(PyObject_GetAttrString(o, "ndim"));
    return PyLong_Check(ndim.get()) && PyLong_AsLong(ndim.get()) == 0;
  }
  return true;
}

Part part_of(PyObject* o, int64_t axis, int64_t n) {
  if (PySlice_Check(o)) {
    Py_ssize_t start, stop, step;
    require(PySlice_Unpack(o, &start, &stop, &step) == 0);
    const Py_ssize_t length = PySlice_AdjustIndices(n, &start, &stop, step);
    Part p{Part::slice, axis};
    p.length = length;
    p.flip = step < 0;
    p.step = step < 0 ? -step : step;
    p.start = step < 0 && length ? start + (length - 1) * step : start;
    if (length == 0) p.start = 0, p.step = 1;
    p.stop = length ? p.start + (p.length - 1) * p.step + 1 : p.start;
    return p;
  }
  if (is_integer_index(o)) {
    Part p{Part::integer, axis};
    p.start = checked_index(to_int(o, "an index"), axis, n);
    return p;
  }
  if (PyList_Check(o) || is_tensor(o) || is_array(o)) fail_advanced(o);
  if (PyBool_Check(o))
    fail(PyExc_IndexError, "indexing with a bool is not supported: use x.unsqueeze(0), tg.where or tg.masked_fill");
  fail(PyExc_IndexError, "expected integers, slices, ... or None as indices, got ", type_name(o));
}

// The parts of an index, one per axis of x (in order) and per new axis.
Parts parts_of(const Tensor& x, PyObject* index) {
  PyObject* single[1] = {index};
  PyObject** items = single;
  Py_ssize_t n = 1;
  if (PyTuple_Check(index)) {
    n = PyTuple_GET_SIZE(index);
    items = n ? &PyTuple_GET_ITEM(index, 0) : nullptr;
  }
  const int64_t rank = x.rank();
  int64_t used = 0, ellipses = 0;
  for (Py_ssize_t i = 0; i < n; ++i) {
    if (items[i] == Py_Ellipsis)
      ++ellipses;
    else if (items[i] != Py_None)
      ++used;
  }
  if (ellipses > 1) fail(PyExc_IndexError, "an index can have one ellipsis (...) only");
  if (used > rank)
    fail(PyExc_IndexError, "too many indices: expected at most ", rank, " for shape ", str(x.shape()), ", got ", used);
  Parts parts;
  parts.reserve(size_t(rank) + size_t(n));
  int64_t axis = 0;
  auto whole_axes = [&](int64_t count) {
    for (; count > 0; --count, ++axis) {
      Part p{Part::slice, axis};
      p.length = p.stop = x.shape()[size_t(axis)];
      parts.push_back(p);
    }
  };
  for (Py_ssize_t i = 0; i < n; ++i) {
    if (items[i] == Py_Ellipsis) {
      whole_axes(rank - used);
    } else if (items[i] == Py_None) {
      parts.push_back(Part{Part::new_axis, -1});
    } else {
      parts.push_back(part_of(items[i], axis, x.shape()[size_t(axis)]));
      ++axis;
    }
  }
  whole_axes(rank - axis);
  return parts;
}

Index index_of(const Tensor& x, const Parts& parts) {
  Index r;
  const uint64_t width = uint64_t(size_of(x.dtype()));
  r.byte_offset = x.impl()->desc.byte_offset;
  for (const Part& p : parts) {
    if (p.kind == Part::new_axis) {
      r.shape.push_back(1);
      r.strides.push_back(0);
      continue;
    }
    const int64_t stride = x.strides()[size_t(p.axis)];
    r.byte_offset += uint64_t(p.start * stride) * width;
    if (p.kind == Part::integer) continue;
    if (p.flip && p.length > 1) r.flipped.push_back(int64_t(r.shape.size()));
    r.shape.push_back(p.length);
    r.strides.push_back(stride * p.step);
  }
  if (r.shape.size() > TG_MAX_RANK) fail(PyExc_IndexError, "expected at most ", TG_MAX_RANK, " axes");
  return r;
}

Tensor flip(const Tensor& t, const Ints& axes) { return axes.empty() ? t : op<"flip">({t}, {axes}); }

// The same view made by ops, so that it is recorded: one node per part that changes something.
Tensor recorded(Tensor x, const Parts& parts) {
  Ints added;
  int64_t place = 0;
  for (const Part& p : parts) {
    if (p.kind == Part::new_axis) added.push_back(place);
    if (p.kind != Part::integer) ++place;
  }
  for (size_t i = parts.size(); i-- > 0;) {  // from the last axis on, so that the numbers of the others stay
    const Part& p = parts[i];
    if (p.kind == Part::integer) x = op<"select">({x}, {p.axis, p.start});
    if (p.kind == Part::slice && p.length != x.shape()[size_t(p.axis)])
      x = op<"slice">({x}, {p.axis, p.start, p.stop, p.step});
  }
  if (!added.empty()) x = op<"unsqueeze">({x}, {added});
  return x;
}

Tensor view_of(const Tensor& x, const Index& r) {
  Tensor t = x.alias(r.shape, r.strides, r.byte_offset);
  note_view(x, t);
  return t;
}

}  // namespace

PyObject* get_item(PyObject* self, PyObject* index) {
  const Tensor x = tensor_of(self);
  const bool record = x.requires_grad() && grad_enabled();
  if (!record && PyLong_CheckExact(index) && x.rank() > 0) [[likely]] {  // x[i]: the way of loops
    const int64_t i = checked_index(to_int(index, "an index"), 0, x.shape()[0]);
    const auto rest = [](const Ints& v) { return std::span<const int64_t>(v.data() + 1, v.size() - 1); };
    Tensor t = x.alias(rest(x.shape()), rest(x.strides()),
                       x.impl()->desc.byte_offset + uint64_t(i * x.strides()[0]) * uint64_t(size_of(x.dtype())));
    note_view(x, t);
    return wrap(std::move(t));
  }
  const Parts parts = parts_of(x, index);
  const Index r = index_of(x, parts);
  Tensor y = record ? recorded(x, parts) : view_of(x, r);
  if (same(x, y)) y = op<"reshape">({x}, {x.shape()});  // x[...]: a view of its own
  return wrap(flip(y, r.flipped));
}

void set_item(PyObject* self, PyObject* index, PyObject* value) {
  const Tensor x = tensor_of(self);
  const Index r = index_of(x, parts_of(x, index));
  ArgList args(1);
  args.absent(0);
  if (!args.set(0, value, x.device())) {
    if (!PyList_Check(value) && !PyTuple_Check(value))
      fail(PyExc_TypeError, "expected a tensor, a number or an array to assign, got ", type_name(value));
    const DType t = x.dtype();
    args.own(0, to_tensor(value, &t, x.device()));
  }
  Arg v = args[0];
  if (v.kind == Arg::tensor && !r.flipped.empty()) {
    const Tensor full = v.t.shape() == r.shape ? v.t : op<"expand">({v.t}, {r.shape});
    v = Arg(flip(full, r.flipped));
  }
  const Tensor view = x.alias(r.shape, r.strides, r.byte_offset);
  if (is_big({&v, 1}) || x.impl()->desc.device.type != TG_DEVICE_HOST) {
    GilRelease release;
    assign_view(x, view, v);
  } else {
    assign_view(x, view, v);
  }
}

}  // namespace tg::py
