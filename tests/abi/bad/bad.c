/* SPDX-License-Identifier: Apache-2.0
 *
 * A small plugin that copies packed f32 tensors, with one thing wrong: what, BAD_CASE says (CMakeLists.txt lists the
 * cases). `good` is the same source with nothing wrong, so that a test which refuses all of them notices. C, so that
 * twenty of them are built in no time; throw_in_open.cc includes it as C++. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <tengen/kernel_api.h>
#include <unistd.h>

#include "tg_rows.inc"

enum {
  BAD_good,
  BAD_abort_in_query,
  BAD_hang_in_query,
  BAD_exit_in_query,
  BAD_crash_in_open,
  BAD_hang_in_open,
  BAD_fail_in_open,
  BAD_throw_in_open,
  BAD_null_query,
  BAD_other_abi, /* the manifest says so as well */
  BAD_other_abi_hidden,
  BAD_name_differs,
  BAD_null_name,
  BAD_small_struct,
  BAD_rows_differ,
  BAD_row_stride,
  BAD_no_functions,
  BAD_cpu_feature, /* from here on the manifest is what is wrong */
  BAD_manifest_json,
  BAD_manifest_differs,
  BAD_no_manifest
};
#define IS(name) (BAD_CASE == BAD_##name)

static int32_t plan_create(void* instance, const tg_call* call, void** plan, tg_error* error) {
  (void)instance, (void)call, (void)error;
  *plan = NULL; /* nothing to remember */
  return TG_OK;
}

static int32_t plan_run(void* plan, const tg_run* run, tg_error* error) {
  (void)plan, (void)error;
  const tg_tensor *x = run->inputs[0], *y = run->outputs[0];
  uint64_t bytes = 4;
  for (int32_t i = 0; i < x->ndim; ++i) bytes *= (uint64_t)x->shape[i];
  memcpy((char*)y->data + y->byte_offset, (const char*)x->data + x->byte_offset, bytes);
  return TG_OK;
}

static void plan_destroy(void* plan) { (void)plan; }

/* Ends the process by SIGSEGV, under a sanitizer too, whose handler would only exit. */
__attribute__((no_sanitize("address"), no_sanitize("undefined"))) static void crash(void) {
  signal(SIGSEGV, SIG_DFL);
  *(volatile int*)NULL = 1;
}

static int32_t open_plugin(uint32_t abi, const tg_host* host, void** instance, tg_error* error) {
  (void)abi, (void)host;
  *instance = NULL;
  if (IS(crash_in_open)) crash();
  while (IS(hang_in_open)) pause();
#ifdef __cplusplus
  if (IS(throw_in_open)) throw BAD_CASE; /* an exception that crosses the interface */
#endif
  if (!IS(fail_in_open)) return TG_OK;
  if (error) {
    error->code = TG_UNAVAILABLE;
    strcpy(error->message, "bad: expected a licence server, found none");
  }
  return TG_UNAVAILABLE;
}

static void shutdown_plugin(void* instance) { (void)instance; }

static const tg_kernel_api kernels = {
    .struct_size = sizeof(tg_kernel_api),
    .plan_create = plan_create,
    .plan_run = IS(no_functions) ? NULL : plan_run,
    .plan_destroy = plan_destroy,
};

static const tg_plugin plugin = {
    .struct_size = IS(small_struct) ? 8 : sizeof(tg_plugin),
    .abi_version = IS(other_abi) || IS(other_abi_hidden) ? 7u << 16 : TG_ABI_VERSION,
    .name = IS(null_name) ? NULL : IS(name_differs) ? "somebody_else" : TG_PLUGIN_NAME,
    .vendor = TG_PLUGIN_VENDOR,
    .version = TG_PLUGIN_VERSION,
    .rows = tg_rows,
    .n_rows = IS(rows_differ) ? 0 : TG_N_ROWS,
    .row_stride = IS(row_stride) ? 4 : sizeof(tg_kernel_row),
    .kernels = &kernels,
    .open = open_plugin,
    .shutdown = shutdown_plugin,
};

const tg_plugin* tg_plugin_query(uint32_t host_abi, const tg_host* host) {
  (void)host_abi, (void)host;
  if (IS(abort_in_query)) abort();
  while (IS(hang_in_query)) pause();
  if (IS(exit_in_query)) exit(0);
  return IS(null_query) ? NULL : &plugin;
}
