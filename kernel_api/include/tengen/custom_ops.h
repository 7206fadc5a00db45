/* SPDX-License-Identifier: Apache-2.0
 *
 * tengen/custom_ops.h - ops of a user's own in a shared library, loaded by tg.library.load(path). C11; stands on
 * kernel_api.h alone and needs no symbol of the host. custom_ops.hpp is the C++ form. The rules of kernel_api.h hold:
 * structs grow at the end and say their size, memory belongs to who made it, no exception crosses. */
#ifndef TENGEN_CUSTOM_OPS_H_
#define TENGEN_CUSTOM_OPS_H_

#include <tengen/kernel_api.h>

#ifdef __cplusplus
extern "C" {
#endif

#define TG_CUSTOM_ABI 1u

typedef struct tg_custom_spec {
  tg_dtype dtype;
  int32_t ndim;
  int64_t shape[TG_MAX_RANK];
} tg_custom_spec;

/* A call: contiguous tensors in host memory, those of a list one by one; NULL where an optional one is absent. Attributes in
 * the signature's order, lists as TG_ATTR_INTS and TG_ATTR_FLOATS; kind 0: None. While inferring, `data` is NULL and so are
 * the outputs. A tensor may have no elements. */
typedef struct tg_custom_call {
  uint32_t struct_size;
  uint32_t n_inputs, n_outputs, n_attrs;
  const tg_tensor* const* inputs;
  tg_tensor* const* outputs;
  const tg_attr* attrs;
} tg_custom_call;

typedef struct tg_custom_op {
  uint32_t struct_size;
  uint32_t reserved;
  const char* name;      /* "namespace::op" */
  const char* signature; /* as Python would write it: "(x: Tensor, w: Optional[Tensor], by: float = 2.0) -> Tensor" */
  const char* doc;
  void* self; /* handed to the functions, which are called from any thread and return TG_OK or fill the error */
  int32_t (*infer)(void* self, const tg_custom_call* call, tg_custom_spec* outputs, tg_error* error);
  int32_t (*run)(void* self, const tg_custom_call* call, tg_error* error);
  /* NULL: no gradient. Inputs: the outputs' gradients, the inputs, the outputs. Outputs: a gradient for every tensor
   * parameter, of its shape and dtype; NULL for those that are absent or not floats. */
  int32_t (*backward)(void* self, const tg_custom_call* call, tg_error* error);
} tg_custom_op;

typedef struct tg_custom_library {
  uint32_t struct_size;
  uint32_t n_ops;
  const tg_custom_op* const* ops;
} tg_custom_library;

/* The one exported symbol. NULL: the library cannot serve a host of that TG_CUSTOM_ABI. */
const tg_custom_library* tg_custom_query(uint32_t host_abi);

#ifdef __cplusplus
}
#endif
#endif /* TENGEN_CUSTOM_OPS_H_ */
