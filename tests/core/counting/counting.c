/* SPDX-License-Identifier: Apache-2.0
 * A plugin without state (open gives no instance) that counts the plans it makes and ends. Its kernel in host memory asks
 * the host for absurd amounts of scratch when the value is negative; that on chaos does nothing. It knows a kind of device
 * that is never there. */
#include "counting.h"

#include <stdlib.h>
#include <string.h>
#include <tengen/kernel_api.h>

#include "tg_rows.inc"

static struct counting counts;
static const tg_host* host;

struct plan {
  int on_device, neg;
};

static int32_t plan_create(void* instance, const tg_call* call, void** plan, tg_error* error) {
  (void)instance, (void)error;
  struct plan* p = malloc(sizeof *p);
  if (!p) return TG_RESOURCE_EXHAUSTED;
  p->on_device = call->native_device != NULL;
  p->neg = strcmp(call->op, "map") == 0;
  __atomic_fetch_add(&counts.created[p->on_device], 1, __ATOMIC_RELAXED);
  *plan = p;
  return TG_OK;
}

static float* at(const tg_tensor* t) { return (float*)(void*)((char*)t->data + t->byte_offset); }

static int32_t plan_run(void* plan, const tg_run* run, tg_error* error) {
  const struct plan* p = plan;
  if (p->on_device) return TG_OK;
  float* y = at(run->outputs[0]);
  int64_t n = 1;
  for (int32_t i = 0; i < run->outputs[0]->ndim; ++i) n *= run->outputs[0]->shape[i];
  if (p->neg) {
    for (int64_t i = 0; i < n; ++i) y[i] = -at(run->inputs[0])[i];
    return TG_OK;
  }
  const int negative = run->attrs[0].v.bits[0] >> 31 & 1;
  for (uint64_t i = 0; negative && i < 130; ++i)
    if (host->scratch(UINT64_MAX - i)) {
      strcpy(error->message, "scratch gave a block for 2^64 bytes");
      return error->code = TG_INTERNAL;
    }
  for (int64_t i = 0; i < n; ++i) memcpy(y + i, &run->attrs[0].v.bits[0], 4);
  return TG_OK;
}

static void plan_destroy(void* plan) {
  __atomic_fetch_add(&counts.destroyed[((struct plan*)plan)->on_device], 1, __ATOMIC_RELAXED);
  free(plan);
}

static const tg_kernel_api kernels = {
    .struct_size = sizeof(tg_kernel_api), .plan_create = plan_create, .plan_run = plan_run, .plan_destroy = plan_destroy};

static int32_t device_count(void* instance, uint32_t* count, tg_error* error) {
  (void)instance, (void)error;
  *count = 0;
  return TG_OK;
}
/* Never called, as there is no device; they are not optional. */
static int32_t never(void) { return TG_UNIMPLEMENTED; }
static void never_void(void) {}
#define NEVER(slot) .slot = (__typeof__(((tg_device_api*)0)->slot))(void (*)(void))never
#define NEVER_VOID(slot) .slot = (__typeof__(((tg_device_api*)0)->slot))never_void
static const tg_device_api devices = {
    .struct_size = sizeof(tg_device_api), .device_count = device_count, NEVER(device_info), NEVER(alloc), NEVER_VOID(free),
    NEVER(stream_create), NEVER_VOID(stream_destroy), NEVER(stream_sync), NEVER(stream_query), NEVER(stream_wait),
    NEVER(event_create), NEVER_VOID(event_destroy), NEVER(event_record), NEVER(event_query), NEVER(event_sync),
    NEVER(copy_to_device), NEVER(copy_to_host), NEVER(copy_on_device)};

static int32_t open_plugin(uint32_t abi, const tg_host* h, void** instance, tg_error* error) {
  (void)abi, (void)error;
  host = h;
  *instance = NULL;
  return TG_OK;
}

static const void* extension(void* instance, const char* name) {
  (void)instance;
  return strcmp(name, COUNTING_EXTENSION) ? NULL : &counts;
}

static const tg_plugin table = {
    .struct_size = sizeof(tg_plugin),
    .abi_version = TG_ABI_VERSION,
    .name = TG_PLUGIN_NAME,
    .vendor = TG_PLUGIN_VENDOR,
    .version = TG_PLUGIN_VERSION,
    .rows = tg_rows,
    .n_rows = TG_N_ROWS,
    .row_stride = sizeof(tg_kernel_row),
    .devices = &devices,
    .kernels = &kernels,
    .open = open_plugin,
    .extension = extension,
};

const tg_plugin* tg_plugin_query(uint32_t host_abi, const tg_host* h) {
  (void)h;
  return host_abi == TG_ABI_VERSION ? &table : NULL;
}
