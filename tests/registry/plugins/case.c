/* SPDX-License-Identifier: Apache-2.0
 *
 * A plugin of the registry's tests; CASE_x chooses the one way in which it is broken. CASE_good is not. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tengen/kernel_api.h>
#include <unistd.h>

#include "tg_rows.inc"

/* Volatile, so that no compiler proves the store away. */
static __attribute__((unused)) void crash(void) { *(volatile int*)16 = 1; }

#ifdef CASE_crash_constructor
__attribute__((constructor)) static void start(void) { crash(); }
#endif

static int32_t plan_create(void* instance, const tg_call* call, void** plan, tg_error* error) {
  (void)instance, (void)call, (void)error;
  *plan = NULL;
  return TG_OK;
}
static int32_t plan_run(void* plan, const tg_run* run, tg_error* error) {
  (void)plan, (void)run, (void)error;
  return TG_OK;
}
static void plan_destroy(void* plan) { (void)plan; }

static const tg_kernel_api kernels = {
    .struct_size = sizeof(tg_kernel_api),
    .plan_create = plan_create,
#ifndef CASE_no_plan_run
    .plan_run = plan_run,
#endif
    .plan_destroy = plan_destroy,
};

#ifdef CASE_devices_b /* another provider of the same kind */
#define CASE_devices
#endif
#if defined(CASE_devices) || defined(CASE_no_device_functions)
static int32_t device_count(void* instance, uint32_t* count, tg_error* error) {
  (void)instance, (void)error;
  *count = 2;
  return TG_OK;
}
static int32_t device_info(void* instance, int32_t device, tg_device_info* info, tg_error* error) {
  (void)instance, (void)error;
  info->kind = "toy";
  info->name = device ? "Toy 1" : "Toy 0";
  info->domain = device ? "toy:1" : "toy:0";
  info->memory_bytes = 4096;
  info->alignment = 64;
  return TG_OK;
}
#endif
#ifdef CASE_devices
/* Never called by these tests; they are there because they are not optional. */
static int32_t never(void) { return TG_UNIMPLEMENTED; }
static void never_void(void) {}
#define NEVER(slot) .slot = (__typeof__(((tg_device_api*)0)->slot))(void (*)(void))never
#define NEVER_VOID(slot) .slot = (__typeof__(((tg_device_api*)0)->slot))never_void
static const tg_device_api devices = {
    .struct_size = sizeof(tg_device_api), .device_count = device_count, .device_info = device_info,
    NEVER(alloc), NEVER_VOID(free), NEVER(stream_create), NEVER_VOID(stream_destroy), NEVER(stream_sync),
    NEVER(stream_query), NEVER(stream_wait), NEVER(event_create), NEVER_VOID(event_destroy), NEVER(event_record),
    NEVER(event_query), NEVER(event_sync), NEVER(copy_to_device), NEVER(copy_to_host), NEVER(copy_on_device)};
#elif defined(CASE_no_device_functions)
static const tg_device_api devices = {
    .struct_size = sizeof(tg_device_api), .device_count = device_count, .device_info = device_info};
#endif

#ifdef CASE_companion
extern int tg_companion(void);
#endif

static int state;
static int32_t open_plugin(uint32_t abi, const tg_host* host, void** instance, tg_error* error) {
  (void)abi, (void)host, (void)error;
#if defined(CASE_crash_open)
  crash();
#elif defined(CASE_hang_open)
  for (;;) pause();
#elif defined(CASE_exit_open)
  fprintf(stderr, "licence server not found\n");
  _exit(7);
#elif defined(CASE_open_fails)
  error->code = TG_UNAVAILABLE;
  strcpy(error->message, "no toy driver on this machine");
  return TG_UNAVAILABLE;
#elif defined(CASE_companion)
  if (tg_companion() != 42) return TG_INTERNAL;
#elif defined(CASE_noisy)
  for (int i = 0; i < 100000; ++i) printf("{\"done\":true} noise %d\n", i);
  fflush(stdout);
#elif defined(CASE_leaves_child)
  if (fork() == 0) {
    sleep(600);
    _exit(0);
  }
#endif
  *instance = &state;
  return TG_OK;
}
static void shut_down(void* instance) {
  (void)instance;
#ifdef CASE_crash_shutdown
  crash();
#endif
}

#ifdef CASE_other_rows
static const tg_kernel_row rows[] = {
    {.struct_size = sizeof(tg_kernel_row), .op_revision = 1, .name = "t_other_rows.copy", .op = "copy", .dtypes = "T -> T; T: f32",
     .domain = "host", .score = 1},
    {.struct_size = sizeof(tg_kernel_row), .op_revision = 1, .name = "t_other_rows.copy_any", .op = "copy", .dtypes = "T -> T",
     .domain = "host", .score = 2},
    {.struct_size = sizeof(tg_kernel_row), .op_revision = 1, .name = "t_other_rows.map", .op = "map", .dtypes = "f32",
     .domain = "host", .features = "no_such_feature", .map_opcodes = UINT64_C(1) << TG_MAP_ADD}};
#define ROWS rows
#elif defined(CASE_wild_rows)
#define ROWS (const tg_kernel_row*)64
#else
#define ROWS tg_rows
#endif

static const tg_plugin table = {
#if defined(CASE_huge_struct)
    .struct_size = 0xfffffff0u,
#elif defined(CASE_small_table)
    .struct_size = (uint32_t)((const char*)&((const tg_plugin*)0)->extension - (const char*)0),
#else
    .struct_size = sizeof(tg_plugin),
#endif
#ifdef CASE_other_abi
    .abi_version = 8,
#else
    .abi_version = TG_ABI_VERSION,
#endif
#ifdef CASE_other_name
    .name = "somebody_else",
#else
    .name = TG_PLUGIN_NAME,
#endif
    .vendor = TG_PLUGIN_VENDOR,
    .version = TG_PLUGIN_VERSION,
    .rows = ROWS,
    .n_rows = TG_N_ROWS,
    .row_stride = sizeof(tg_kernel_row),
#if defined(CASE_devices) || defined(CASE_no_device_functions)
    .devices = &devices,
#endif
#ifndef CASE_no_kernels_table
    .kernels = &kernels,
#endif
    .open = open_plugin,
    .shutdown = shut_down,
#ifdef CASE_small_table
    .extension = (const void* (*)(void*, const char*))(void (*)(void))crash, /* lies beyond struct_size: must not be seen */
#endif
};

TG_EXPORT const tg_plugin* tg_plugin_query(uint32_t host_abi, const tg_host* host) {
  (void)host_abi, (void)host;
  const tg_plugin* t = &table;
  (void)tg_rows, (void)t;
#if defined(CASE_crash_query)
  crash();
#elif defined(CASE_null_query)
  return NULL;
#elif defined(CASE_wild_table)
  return (const tg_plugin*)4096;
#endif
  return t;
}
