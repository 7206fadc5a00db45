// SPDX-License-Identifier: Apache-2.0
// The parts of a call that several files share. Internal to core.
#pragma once
#include "autograd/node.h"
#include "dispatch/plan.h"

namespace tg {

// Elementwise ops. `outs`: tensors to write into, or empty.
Tensors call_map(const Op& op, std::span<const Arg> inputs, std::span<const Attr> attrs, std::span<const Tensor> outs,
                 Device* device);
// The same for one result in host memory where all operands are contiguous and of one shape, and the plan is at hand;
// false where any of this fails (nothing is done then).
bool call_map_short(const Op& op, std::span<const Arg> inputs, Tensor* result);
// What kernels see of a tensor in map programs: two real views of a complex one, bytes of an 8-bit float, else itself.
Tensors composing(const Tensor& t);
Tensor cast_packed(const Tensor& x, DType to);  // one of the two dtypes is packed
// A primitive on tensors of composed dtype, done by primitives on reals and bytes. TypeError where it makes no sense.
void call_composed(const Op& op, std::span<const Tensor> in, std::span<const Attr> attrs, std::span<const Tensor> outs,
                   Device* device);
// Everything else, with all attributes given. Not recorded.
Tensors call_kernel(const Op& op, std::span<const Arg> inputs, std::span<const Attr> attrs, std::span<const Tensor> outs,
                    Device* device, uint64_t wanted);
// The policy's way out when a primitive has no kernel on `device`.
Tensors call_fallback(const Op& op, std::span<const Arg> inputs, std::span<const Attr> attrs, std::span<const Tensor> outs,
                      Device* device, uint64_t wanted);

// A call whose operands are as they should be, and one inside an autocast region (autocast.cc).
Tensors call_plain(const Op& op, std::span<const Arg> inputs, std::span<const Attr> attrs, Device* device, uint64_t wanted);
Tensors call_autocast(const Op& op, std::span<const Arg> inputs, std::span<const Attr> attrs, Device* device, uint64_t wanted);

// The program of a map op for operands of these dtypes (scalar kinds where `scalars` has a bit).
MapBuilder::Program lower_map(const Op& op, std::span<const Arg> inputs, std::span<const Attr> attrs);

// TypeError for too many inputs, or one that is missing.
void check_arguments(const Op& op, std::span<const Arg> inputs);
// Attributes of the schema's length, defaults filled in. TypeError for a missing one.
Attrs complete_attrs(const Op& op, std::span<const Attr> attrs);
// The one device of all tensor arguments, else `device`, else the default. ValueError when they differ.
Device* common_device(const Op& op, std::span<const Arg> inputs, Device* device);
void write_into(const Tensor& out, const Tensor& value);  // device copy of equal shape and dtype, not recorded
bool dense_permuted(const Tensor& t);  // all elements of its memory once, axes in any order
// Strides of a dense tensor of `shape` whose axes lie in memory in the order of `like`'s.
Ints strides_like(const Tensor& like, std::span<const int64_t> shape);
bool same_place(const Tensor& a, const Tensor& b);        // equal address, shape, strides, dtype
// Inputs as tensors: a scalar becomes a 0-d one of the dtype that it takes beside the first tensor. OverflowError.
Tensors as_tensors(const Op& op, std::span<const Arg> inputs, Device* device);
bool tracing();
// Marshalled attributes: plan and run attributes apart. Points into `attrs`.
struct AbiAttrs {
  SmallVec<tg_attr, 8> plan, run;
  uint64_t bits[4];
};
void marshal(const Op& op, std::span<const Attr> attrs, AbiAttrs* out);

// What is asked of plugins for a call of an op that is not a map.
KernelRequest kernel_request(const Op& op, Device* device, std::span<const Tensor> in, std::span<const Attr> attrs,
                             std::span<const tg_tensor* const> in_desc, std::span<const tg_tensor* const> out_desc,
                             std::span<const tg_attr> plan_attrs);
// `layouts`: private ones of inputs; `free_results`: as in KernelRequest.
std::string plan_key(const Op& op, Device* device, const KernelSet& set, const AbiAttrs& attrs,
                     std::span<const tg_tensor* const> in, std::span<const tg_tensor* const> out,
                     std::span<const uint16_t> layouts, bool free_results);
// The shape that the operands of a map op have together. ValueError.
Ints broadcast_shape(const Op& op, std::span<const Arg> inputs);
// Of the inputs of a map program over `shape`.
MapShape map_shape(std::span<const Arg> inputs, const Ints& shape);
// For why(): what a decomposition called. Returns where to put the candidates of a step that was not there before, or NULL.
std::vector<WhyCandidate>* trace_step(const Op& op, std::span<const Tensor> in, const std::string& how);

}  // namespace tg
