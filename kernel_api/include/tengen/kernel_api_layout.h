/* SPDX-License-Identifier: Apache-2.0
 *
 * tengen/kernel_api_layout.h - where every field of kernel_api.h lies, asserted. Include it anywhere: a compiler that
 * lays the structs out otherwise fails here and not in a user's process. C11 or C++11.
 *
 *   S(struct, size...)  F(struct, field, offset...)    for LP64 | ILP32, int64_t aligned to 8 | ILP32, to 4 (i386)
 */
#ifndef TENGEN_KERNEL_API_LAYOUT_H_
#define TENGEN_KERNEL_API_LAYOUT_H_

#include <stddef.h>

#include <tengen/kernel_api.h>

/* The frozen structs: this list never changes, and neither does its hash within a major version. The hash is FNV-1a
 * (64 bits) of TG_LAYOUT_FROZEN_TEXT. */
#define TG_LAYOUT_FROZEN_HASH UINT64_C(0x8c4d0db290eccb9e)
#define TG_LAYOUT_FROZEN(S, F) \
  S(tg_dtype, 4, 4, 4) \
  F(tg_dtype, code, 0, 0, 0) \
  F(tg_dtype, bits, 1, 1, 1) \
  F(tg_dtype, lanes, 2, 2, 2) \
  S(tg_device, 8, 8, 8) \
  F(tg_device, type, 0, 0, 0) \
  F(tg_device, index, 4, 4, 4) \
  S(tg_tensor, 48, 40, 36) \
  F(tg_tensor, data, 0, 0, 0) \
  F(tg_tensor, device, 8, 4, 4) \
  F(tg_tensor, ndim, 16, 12, 12) \
  F(tg_tensor, dtype, 20, 16, 16) \
  F(tg_tensor, shape, 24, 20, 20) \
  F(tg_tensor, strides, 32, 24, 24) \
  F(tg_tensor, byte_offset, 40, 32, 28) \
  S(tg_attr, 16, 16, 16) \
  F(tg_attr, kind, 0, 0, 0) \
  F(tg_attr, n, 4, 4, 4) \
  F(tg_attr, v, 8, 8, 8) \
  S(tg_map_inst, 24, 24, 24) \
  F(tg_map_inst, opcode, 0, 0, 0) \
  F(tg_map_inst, n_operands, 2, 2, 2) \
  F(tg_map_inst, dtype, 4, 4, 4) \
  F(tg_map_inst, from, 8, 8, 8) \
  F(tg_map_inst, operand, 12, 12, 12) \
  F(tg_map_inst, reserved, 18, 18, 18) \
  S(tg_error, 512, 512, 512) \
  F(tg_error, code, 0, 0, 0) \
  F(tg_error, line, 4, 4, 4) \
  F(tg_error, launch_id, 8, 8, 8) \
  F(tg_error, file, 16, 16, 16) \
  F(tg_error, message, 128, 128, 128) \
  S(tg_support, 256, 256, 256) \
  F(tg_support, ok, 0, 0, 0) \
  F(tg_support, reserved, 4, 4, 4) \
  F(tg_support, est_ns, 8, 8, 8) \
  F(tg_support, reason, 16, 16, 16) \
  S(tg_run, 120, 104, 96) \
  F(tg_run, launch_id, 0, 0, 0) \
  F(tg_run, stream, 8, 8, 8) \
  F(tg_run, native_stream, 16, 12, 12) \
  F(tg_run, inputs, 24, 16, 16) \
  F(tg_run, outputs, 32, 20, 20) \
  F(tg_run, attrs, 40, 24, 24) \
  F(tg_run, inputs_present, 48, 32, 28) \
  F(tg_run, outputs_wanted, 56, 40, 36) \
  F(tg_run, workspace, 64, 48, 44) \
  F(tg_run, workspace_offset, 72, 56, 48) \
  F(tg_run, workspace_bytes, 80, 64, 56) \
  F(tg_run, n_inputs, 88, 72, 64) \
  F(tg_run, n_outputs, 92, 76, 68) \
  F(tg_run, n_attrs, 96, 80, 72) \
  F(tg_run, threads, 100, 84, 76) \
  F(tg_run, reserved, 104, 88, 80)

/* The growable structs as of ABI 0.9: offsets stay, sizes grow. */
#define TG_LAYOUT_GROWABLE(S, F) \
  S(tg_kernel_row, 120, 104, 96) \
  F(tg_kernel_row, struct_size, 0, 0, 0) \
  F(tg_kernel_row, op_revision, 4, 4, 4) \
  F(tg_kernel_row, name, 8, 8, 8) \
  F(tg_kernel_row, op, 16, 12, 12) \
  F(tg_kernel_row, dtypes, 24, 16, 16) \
  F(tg_kernel_row, domain, 32, 20, 20) \
  F(tg_kernel_row, features, 40, 24, 24) \
  F(tg_kernel_row, bake_dims, 48, 32, 28) \
  F(tg_kernel_row, bake_strides, 56, 40, 36) \
  F(tg_kernel_row, packed, 64, 48, 44) \
  F(tg_kernel_row, alias, 72, 56, 52) \
  F(tg_kernel_row, map_opcodes, 80, 64, 60) \
  F(tg_kernel_row, map_casts, 88, 72, 68) \
  F(tg_kernel_row, score, 96, 80, 76) \
  F(tg_kernel_row, flags, 100, 84, 80) \
  F(tg_kernel_row, map_max_insts, 104, 88, 84) \
  F(tg_kernel_row, max_rank, 108, 92, 88) \
  F(tg_kernel_row, layouts, 112, 96, 92) \
  S(tg_call, 104, 80, 80) \
  F(tg_call, struct_size, 0, 0, 0) \
  F(tg_call, row, 4, 4, 4) \
  F(tg_call, op, 8, 8, 8) \
  F(tg_call, op_revision, 16, 12, 12) \
  F(tg_call, math, 20, 16, 16) \
  F(tg_call, n_inputs, 24, 20, 20) \
  F(tg_call, n_outputs, 28, 24, 24) \
  F(tg_call, n_attrs, 32, 28, 28) \
  F(tg_call, device, 36, 32, 32) \
  F(tg_call, inputs, 40, 36, 36) \
  F(tg_call, outputs, 48, 40, 40) \
  F(tg_call, attrs, 56, 44, 44) \
  F(tg_call, inputs_present, 64, 48, 48) \
  F(tg_call, outputs_wanted, 72, 56, 56) \
  F(tg_call, native_device, 80, 64, 64) \
  F(tg_call, native_context, 88, 68, 68) \
  F(tg_call, threads, 96, 72, 72) \
  F(tg_call, reserved, 100, 76, 76) \
  S(tg_layout, 16, 16, 12) \
  F(tg_layout, tag, 0, 0, 0) \
  F(tg_layout, bytes, 8, 8, 4) \
  S(tg_plan_info, 32, 24, 24) \
  F(tg_plan_info, struct_size, 0, 0, 0) \
  F(tg_plan_info, n_algorithms, 4, 4, 4) \
  F(tg_plan_info, algorithm, 8, 8, 8) \
  F(tg_plan_info, n_layouts, 16, 12, 12) \
  F(tg_plan_info, layout_stride, 20, 16, 16) \
  F(tg_plan_info, layouts, 24, 20, 20) \
  S(tg_kernel_api, 56, 32, 32) \
  F(tg_kernel_api, struct_size, 0, 0, 0) \
  F(tg_kernel_api, reserved, 4, 4, 4) \
  F(tg_kernel_api, supports, 8, 8, 8) \
  F(tg_kernel_api, plan_create, 16, 12, 12) \
  F(tg_kernel_api, plan_info, 24, 16, 16) \
  F(tg_kernel_api, plan_workspace, 32, 20, 20) \
  F(tg_kernel_api, plan_run, 40, 24, 24) \
  F(tg_kernel_api, plan_destroy, 48, 28, 28) \
  S(tg_device_info, 72, 48, 48) \
  F(tg_device_info, struct_size, 0, 0, 0) \
  F(tg_device_info, flags, 4, 4, 4) \
  F(tg_device_info, kind, 8, 8, 8) \
  F(tg_device_info, name, 16, 12, 12) \
  F(tg_device_info, domain, 24, 16, 16) \
  F(tg_device_info, features, 32, 20, 20) \
  F(tg_device_info, memory_bytes, 40, 24, 24) \
  F(tg_device_info, alignment, 48, 32, 32) \
  F(tg_device_info, native_device, 56, 40, 40) \
  F(tg_device_info, native_context, 64, 44, 44) \
  S(tg_device_api, 152, 80, 80) \
  F(tg_device_api, struct_size, 0, 0, 0) \
  F(tg_device_api, reserved, 4, 4, 4) \
  F(tg_device_api, device_count, 8, 8, 8) \
  F(tg_device_api, device_info, 16, 12, 12) \
  F(tg_device_api, alloc, 24, 16, 16) \
  F(tg_device_api, free, 32, 20, 20) \
  F(tg_device_api, memory_info, 40, 24, 24) \
  F(tg_device_api, stream_create, 48, 28, 28) \
  F(tg_device_api, stream_destroy, 56, 32, 32) \
  F(tg_device_api, stream_sync, 64, 36, 36) \
  F(tg_device_api, stream_query, 72, 40, 40) \
  F(tg_device_api, stream_wait, 80, 44, 44) \
  F(tg_device_api, event_create, 88, 48, 48) \
  F(tg_device_api, event_destroy, 96, 52, 52) \
  F(tg_device_api, event_record, 104, 56, 56) \
  F(tg_device_api, event_query, 112, 60, 60) \
  F(tg_device_api, event_sync, 120, 64, 64) \
  F(tg_device_api, copy_to_device, 128, 68, 68) \
  F(tg_device_api, copy_to_host, 136, 72, 72) \
  F(tg_device_api, copy_on_device, 144, 76, 76) \
  S(tg_host, 40, 24, 24) \
  F(tg_host, struct_size, 0, 0, 0) \
  F(tg_host, abi_version, 4, 4, 4) \
  F(tg_host, log, 8, 8, 8) \
  F(tg_host, parallel_for, 16, 12, 12) \
  F(tg_host, scratch, 24, 16, 16) \
  F(tg_host, cache_directory, 32, 20, 20) \
  S(tg_plugin, 88, 52, 52) \
  F(tg_plugin, struct_size, 0, 0, 0) \
  F(tg_plugin, abi_version, 4, 4, 4) \
  F(tg_plugin, name, 8, 8, 8) \
  F(tg_plugin, vendor, 16, 12, 12) \
  F(tg_plugin, version, 24, 16, 16) \
  F(tg_plugin, rows, 32, 20, 20) \
  F(tg_plugin, n_rows, 40, 24, 24) \
  F(tg_plugin, row_stride, 44, 28, 28) \
  F(tg_plugin, devices, 48, 32, 32) \
  F(tg_plugin, kernels, 56, 36, 36) \
  F(tg_plugin, open, 64, 40, 40) \
  F(tg_plugin, shutdown, 72, 44, 44) \
  F(tg_plugin, extension, 80, 48, 48)

#define TG_LAYOUT_TEXT_S(s, a, b, c) #s ":" #a "," #b "," #c ";"
#define TG_LAYOUT_TEXT_F(s, f, a, b, c) #s "." #f "@" #a "," #b "," #c ";"
#define TG_LAYOUT_FROZEN_TEXT TG_LAYOUT_FROZEN(TG_LAYOUT_TEXT_S, TG_LAYOUT_TEXT_F)

#if defined(__cplusplus)
#define TG_LAYOUT_ASSERT(condition, text) static_assert(condition, text);
#else
#define TG_LAYOUT_ASSERT(condition, text) _Static_assert(condition, text);
#endif
/* The data model, told by tg_tensor itself: on ILP32 byte_offset follows 28 bytes, at 28 or, aligned to 8, at 32. */
#define TG_LAYOUT_PICK(a, b, c) \
  (sizeof(void*) == 8 ? (a) : offsetof(tg_tensor, byte_offset) % 8 == 0 ? (b) : (c))
#define TG_LAYOUT_CHECK_S(s, a, b, c) TG_LAYOUT_ASSERT(sizeof(s) == TG_LAYOUT_PICK(a, b, c), "size of " #s)
#define TG_LAYOUT_CHECK_F(s, f, a, b, c) \
  TG_LAYOUT_ASSERT(offsetof(s, f) == TG_LAYOUT_PICK(a, b, c), "offset of " #s "." #f)

TG_LAYOUT_FROZEN(TG_LAYOUT_CHECK_S, TG_LAYOUT_CHECK_F)
TG_LAYOUT_GROWABLE(TG_LAYOUT_CHECK_S, TG_LAYOUT_CHECK_F)

#endif /* TENGEN_KERNEL_API_LAYOUT_H_ */
