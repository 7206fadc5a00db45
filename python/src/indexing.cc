// SPDX-License-Identifier: Apache-2.0
// x[index] and x[index] = value. What NumPy calls basic indexing makes one view: a shape, strides and an offset.
#include "indexing.h"
#include "transform/transform.h"

namespace tg::py {
namespace {

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
    if (!PyLong_Check(ndim.get()) || PyLong_AsLong(ndim.get()) != 0) return false;
    const Object dtype = Object::take(PyObject_GetAttrString(o, "dtype"));
    if (!PyObject_HasAttrString(dtype.get(), "kind")) return true;
    const std::string_view kind = text_of(Object::take(PyObject_GetAttrString(dtype.get(), "kind")).get());
    return kind == "i" || kind == "u";
  }
  return true;
}

Part whole(int64_t axis, int64_t n) {
  Part p{Part::slice, axis};
  p.length = p.stop = n;
  return p;
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
  fail(PyExc_IndexError, "expected integers, slices, ..., None, bools or arrays of integers or bools as indices, got ",
       type_name(o));
}

Tensor view_of(const Tensor& x, const Index& r) {
  Tensor t = x.alias(r.shape, r.strides, r.byte_offset);
  note_view(x, t);
  return t;
}

}  // namespace

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
  std::vector<Tensor> arrays;  // in order
  for (Py_ssize_t i = 0; i < n; ++i) {
    PyObject* o = items[i];
    if (o == Py_Ellipsis) {
      ++ellipses;
    } else if (!PyLong_CheckExact(o) && o != Py_None && !PySlice_Check(o) && !is_integer_index(o) && is_index_array(o)) {
      arrays.push_back(index_array(o, x.device()));
      used += arrays.back().dtype() == DType::boolean ? arrays.back().rank() : 1;
    } else if (o != Py_None) {
      ++used;
    }
  }
  if (ellipses > 1) fail(PyExc_IndexError, "an index can have one ellipsis (...) only");
  if (used > rank)
    fail(PyExc_IndexError, "too many indices: expected at most ", rank, " for shape ", str(x.shape()), ", got ", used);
  Parts p;
  p.parts.reserve(size_t(rank) + size_t(n));
  int64_t axis = 0, view_axis = 0;
  size_t next_array = 0;
  // NumPy's rule: the arrays' axes stand where they were if all arrays (and integers beside them) are neighbours.
  enum { none, inside, after } state = none;
  bool neighbours = true;
  int64_t others = 0;  // axes of the view that no array takes
  const auto advanced_item = [&] {
    if (state == none) p.at = others;
    neighbours = neighbours && state != after;
    state = inside;
  };
  const auto basic_item = [&] {
    if (state == inside) state = after;
  };
  const auto whole_axes = [&](int64_t count) {
    for (; count > 0; --count, ++axis, ++view_axis, ++others) p.parts.push_back(whole(axis, x.shape()[size_t(axis)]));
  };
  for (Py_ssize_t i = 0; i < n; ++i) {
    PyObject* o = items[i];
    if (o == Py_Ellipsis) {
      basic_item();
      whole_axes(rank - used);
    } else if (o == Py_None) {
      basic_item();
      p.parts.push_back(Part{Part::new_axis, -1});
      ++view_axis, ++others;
    } else if (PyLong_CheckExact(o) || PySlice_Check(o) || is_integer_index(o) || !is_index_array(o)) {
      p.parts.push_back(part_of(o, axis, x.shape()[size_t(axis)]));
      ++axis;
      if (p.parts.back().kind == Part::integer) {
        advanced_item();
      } else {
        basic_item();
        ++view_axis, ++others;
      }
    } else {
      advanced_item();
      const Tensor& t = arrays[next_array++];
      const bool mask = t.dtype() == DType::boolean;
      p.arrays.push_back({t, view_axis, mask && t.rank() == 0 ? -1 : axis});
      if (mask && t.rank() == 0) {
        p.parts.push_back(Part{Part::new_axis, -1});
        ++view_axis;
        continue;
      }
      if (mask) check_mask(t, x, axis);
      for (int64_t k = mask ? t.rank() : 1; k > 0; --k, ++axis, ++view_axis) {
        p.parts.push_back(whole(axis, x.shape()[size_t(axis)]));
        p.parts.back().kind = Part::array;
      }
    }
  }
  whole_axes(rank - axis);
  if (!neighbours) p.at = 0;
  return p;
}

Index index_of(const Tensor& x, const Parts& p) {
  Index r;
  r.byte_offset = x.impl()->desc.byte_offset;
  for (const Part& part : p.parts) {
    if (part.kind == Part::new_axis) {
      r.shape.push_back(1);
      r.strides.push_back(0);
      continue;
    }
    const int64_t stride = x.strides()[size_t(part.axis)];
    r.byte_offset += uint64_t(bytes_between(x.dtype(), part.start * stride));
    if (part.kind == Part::integer) continue;
    if (part.flip && part.length > 1) r.flipped.push_back(int64_t(r.shape.size()));
    r.shape.push_back(part.length);
    r.strides.push_back(part.length > 1 ? stride * part.step : stride);
  }
  if (r.shape.size() > TG_MAX_RANK) fail(PyExc_IndexError, "expected at most ", TG_MAX_RANK, " axes");
  return r;
}

Tensor trimmed(const Tensor& t, size_t rank) {
  Ints shape = t.shape();
  while (shape.size() > rank && shape[0] == 1) shape.erase(0);
  return shape.size() == t.shape().size() ? t : op<"reshape">({t}, {shape});
}

Tensor flip(const Tensor& t, const Ints& axes) { return axes.empty() ? t : op<"flip">({t}, {axes}); }

// One node per part that changes something.
Tensor recorded_view(Tensor x, const Parts& p) {
  Ints added;
  int64_t place = 0;
  for (const Part& part : p.parts) {
    if (part.kind == Part::new_axis) added.push_back(place);
    if (part.kind != Part::integer) ++place;
  }
  for (size_t i = p.parts.size(); i-- > 0;) {  // from the last axis on, so that the numbers of the others stay
    const Part& part = p.parts[i];
    if (part.kind == Part::integer) x = op<"select">({x}, {part.axis, part.start});
    if (part.kind == Part::slice && part.length != x.shape()[size_t(part.axis)])
      x = op<"slice">({x}, {part.axis, part.start, part.stop, part.step});
  }
  if (!added.empty()) x = op<"unsqueeze">({x}, {added});
  return x;
}

void recorded_write(const Tensor& x, const Parts& p, Tensor value) {
  Ints starts(size_t(x.rank()), 0), steps(size_t(x.rank()), 1), sizes = x.shape();
  for (const Part& part : p.parts) {
    if (part.axis < 0) continue;
    starts[part.axis] = part.start;
    steps[part.axis] = part.kind == Part::integer ? 1 : part.step;
    sizes[part.axis] = part.kind == Part::integer ? 1 : part.length;
  }
  value = op<"reshape">({value.cast(x.dtype())}, {sizes});
  const Arg in[] = {x, value};
  const Attr attrs[] = {starts, steps};
  const Tensor out[] = {x};
  call_into(op_named<"slice_update">(), in, attrs, out);
}

PyObject* get_item(PyObject* self, PyObject* index) {
  const Tensor x = tensor_of(self);
  const bool record = (x.requires_grad() && grad_enabled()) || x.impl()->transformed;
  if (!record && PyLong_CheckExact(index) && x.rank() > 0) [[likely]] {  // x[i]: the way of loops
    const int64_t i = checked_index(to_int(index, "an index"), 0, x.shape()[0]);
    const auto rest = [](const Ints& v) { return std::span<const int64_t>(v.data() + 1, v.size() - 1); };
    Tensor t = x.alias(rest(x.shape()), rest(x.strides()),
                       x.impl()->desc.byte_offset + uint64_t(bytes_between(x.dtype(), i * x.strides()[0])));
    note_view(x, t);
    return wrap(std::move(t));
  }
  const Parts parts = parts_of(x, index);
  if (parts.advanced()) return wrap(read_arrays(x, parts, record));
  const Index r = index_of(x, parts);
  Tensor y = record ? recorded_view(x, parts) : view_of(x, r);
  if (same(x, y)) y = op<"reshape">({x}, {x.shape()});  // x[...]: a view of its own
  return wrap(flip(y, r.flipped));
}

void set_item(PyObject* self, PyObject* index, PyObject* value) {
  const Tensor x = tensor_of(self);
  const Parts parts = parts_of(x, index);
  ArgList args(1);
  args.absent(0);
  if (!args.set(0, value, x.device())) {
    if (!PyList_Check(value) && !PyTuple_Check(value))
      fail(PyExc_TypeError, "expected a tensor, a number or an array to assign, got ", type_name(value));
    const DType t = x.dtype();
    args.own(0, to_tensor(value, &t, x.device()));
  }
  Arg v = args[0];
  if (v.kind == Arg::tensor && v.t.device() != x.device()) v = Arg(v.t.to(x.device()));
  if (parts.advanced()) return write_arrays(x, parts, v);
  const Index r = index_of(x, parts);
  if (x.impl()->transformed || (v.kind == Arg::tensor && v.t.impl()->transformed)) {
    if (v.kind == Arg::tensor && !r.flipped.empty()) v = Arg(flip(op<"expand">({trimmed(v.t, r.shape.size())}, {r.shape}), r.flipped));
    return assign_transformed(x, [parts](const Tensor& t) { return recorded_view(t, parts); }, v);
  }
  if (grad_enabled() && (x.requires_grad() || (v.kind == Arg::tensor && v.t.requires_grad()))) {
    check_in_place(nullptr, x, true);
    const Tensor value_tensor = v.kind == Arg::tensor ? trimmed(v.t, r.shape.size()) : filled(v.s, x.dtype(), x.device());
    return recorded_write(x, parts, flip(op<"expand">({value_tensor}, {r.shape}), r.flipped));
  }
  if (v.kind == Arg::tensor && !r.flipped.empty())
    v = Arg(flip(op<"expand">({trimmed(v.t, r.shape.size())}, {r.shape}), r.flipped));
  const Tensor view = x.alias(r.shape, r.strides, r.byte_offset);
  if (is_big({&v, 1}) || x.impl()->desc.device.type != TG_DEVICE_HOST) {
    GilRelease release;
    assign_view(x, view, v);
  } else {
    assign_view(x, view, v);
  }
}

}  // namespace tg::py
