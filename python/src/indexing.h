// SPDX-License-Identifier: Apache-2.0
// What an index means: parts, one per axis of the tensor (in order) and per new axis. Integers, slices, ... and None make
// one view: a shape, strides and an offset (indexing.cc). Arrays and masks then index axes of that view (advanced.cc).
#pragma once
#include "autograd/node.h"
#include "call.h"

namespace tg::py {

// What one part does to one axis of x; a new axis has `axis` -1.
struct Part {
  enum Kind { integer, slice, new_axis, array } kind;
  int64_t axis;
  int64_t start = 0, stop = 0, step = 1, length = 0;  // step > 0: the elements in ascending order
  bool flip = false;
};

// One index tensor of integers or bools; it takes the axes of the view from `axis` on (a mask: one per its own axes).
struct ArrayIndex {
  Tensor t;
  int64_t axis;       // of the view
  int64_t user_axis;  // of x; -1: a bool, whose axis is new
};

struct Parts {
  std::vector<Part> parts;
  std::vector<ArrayIndex> arrays;
  int64_t at = 0;  // how many of the view's other axes come before the arrays' own in the result
  bool advanced() const { return !arrays.empty(); }
};
Parts parts_of(const Tensor& x, PyObject* index);

// The view that integers, slices and new axes make.
struct Index {
  Ints shape, strides;
  uint64_t byte_offset = 0;
  Ints flipped;  // axes of the view along which the elements come in reverse
};
Index index_of(const Tensor& x, const Parts& p);
Tensor flip(const Tensor& t, const Ints& axes);
Tensor trimmed(const Tensor& t, size_t rank);  // leading axes of size 1 drop where there are more than `rank`, as in NumPy
Tensor recorded_view(Tensor x, const Parts& p);                      // made by ops
void recorded_write(const Tensor& x, const Parts& p, Tensor value);  // value: the view's shape, not flipped

// Whether the object is an array of indices or a mask: a tensor, array or (nested) list.
bool is_index_array(PyObject* o);
Tensor index_array(PyObject* o, Device* device);
void check_mask(const Tensor& mask, const Tensor& x, int64_t axis);

Tensor read_arrays(const Tensor& x, const Parts& p, bool record);
void write_arrays(const Tensor& x, const Parts& p, Arg value);

}  // namespace tg::py
