/* SPDX-License-Identifier: Apache-2.0
 *
 * Every type of kernel_api.h in the debug information of one library, for abidw and abidiff. */
#include <tengen/kernel_api.h>

#define TYPE(type) \
  TG_EXPORT void use_##type(const type* p); \
  void use_##type(const type* p) { (void)p; }
TYPE(tg_error)
TYPE(tg_dtype)
TYPE(tg_device)
TYPE(tg_tensor)
TYPE(tg_attr)
TYPE(tg_map_inst)
TYPE(tg_kernel_row)
TYPE(tg_call)
TYPE(tg_support)
TYPE(tg_plan_info)
TYPE(tg_run)
TYPE(tg_kernel_api)
TYPE(tg_device_info)
TYPE(tg_device_api)
TYPE(tg_host)
TYPE(tg_plugin)

const tg_plugin* tg_plugin_query(uint32_t host_abi, const tg_host* host) {
  (void)host_abi, (void)host;
  return 0;
}
