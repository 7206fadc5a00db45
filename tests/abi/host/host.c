/* SPDX-License-Identifier: Apache-2.0
 *
 * A whole host in one file of C: it loads plugins through kernel_api.h alone and makes each add, multiply and sum.
 *
 *   tengen_host LIBRARY...      one line for each; exit status 0: all were right, 3: some were refused, else 1
 *
 * Its binary of each stage is kept in tests/abi/golden, so that a later plugin is tried by an earlier host. So it does
 * what any host must: copies growable structs by min(sizes), walks rows by the plugin's stride, never looks beyond. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tengen/kernel_api.h>

/* ---- what the plugin gets of us ------------------------------------------------------------------------------- */

static void log_line(int32_t level, const char* message) { fprintf(stderr, "plugin (%d): %s\n", level, message); }
static void serial(int64_t n, int64_t grain, int32_t threads, void (*body)(void*, int64_t, int64_t), void* context) {
  (void)grain, (void)threads;
  if (n > 0) body(context, 0, n);
}
static void* scratch(uint64_t bytes) {
  static char block[1 << 20] __attribute__((aligned(64)));
  static uint64_t used;
  if (bytes > sizeof block) return NULL;
  bytes = (bytes + 63) / 64 * 64;
  if (used + bytes > sizeof block) used = 0; /* the calls here are small: what wraps round has long been done with */
  used += bytes;
  return block + used - bytes;
}
static const char* no_directory(void) { return ""; }
static const tg_host host = {sizeof(tg_host), TG_ABI_VERSION, log_line, serial, scratch, no_directory};

/* ---- the plugin, in structs of our own size ------------------------------------------------------------------- */

static struct {
  tg_plugin table;
  tg_kernel_api kernels;
  tg_device_api devices;
  tg_device_info info; /* of device 0 */
  void *instance, *stream, *native_stream;
  int on_device;
} p;
static tg_error error;

/* min(sizes) bytes into zeroes. Every growable struct begins with its size. */
static void take(void* own, uint32_t own_size, const void* theirs) {
  uint32_t size;
  memset(own, 0, own_size);
  if (!theirs) return;
  memcpy(&size, theirs, sizeof size);
  memcpy(own, theirs, size < own_size ? size : own_size);
}

static int fail(const char* what) {
  printf("%s: %s: %s\n", p.table.name ? p.table.name : "?", what, error.message[0] ? error.message : "(no message)");
  return 1;
}

/* ---- memory ----------------------------------------------------------------------------------------------------- */

typedef struct {
  tg_tensor t;
  float* values; /* host side */
  uint64_t bytes;
} buffer;

static const tg_dtype f32 = {TG_CODE_FLOAT, 32, 1};

static int make(buffer* b, const int64_t* shape, const int64_t* strides, int32_t rank, float* values) {
  uint64_t count = 1;
  for (int32_t i = 0; i < rank; ++i) count *= (uint64_t)shape[i];
  b->values = values;
  b->bytes = count * sizeof(float);
  b->t = (tg_tensor){NULL, {p.on_device ? TG_DEVICE_PLUGIN : TG_DEVICE_HOST, 0}, rank, f32, shape, strides, 0};
  if (!p.on_device) {
    b->t.data = aligned_alloc(64, (b->bytes + 63) / 64 * 64);
    if (!b->t.data) return fail("no memory");
    memcpy(b->t.data, values, b->bytes);
    return 0;
  }
  if (p.devices.alloc(p.instance, 0, b->bytes, &b->t.data, &error) != TG_OK) return fail("alloc");
  if (p.devices.copy_to_device(p.instance, 0, p.stream, b->t.data, 0, values, b->bytes, &error) != TG_OK) return fail("copy_to_device");
  return 0;
}

static int fetch(buffer* b) {
  if (!p.on_device) {
    memcpy(b->values, b->t.data, b->bytes);
    return 0;
  }
  if (p.devices.copy_to_host(p.instance, 0, p.stream, b->values, b->t.data, 0, b->bytes, &error) != TG_OK) return fail("copy_to_host");
  if (p.devices.stream_sync(p.instance, 0, p.stream, &error) != TG_OK) return fail("stream_sync");
  return 0;
}

static void drop(buffer* b) {
  if (!p.on_device) free(b->t.data);
  else if (b->t.data) p.devices.free(p.instance, 0, b->t.data, b->bytes);
}

/* ---- one call ---------------------------------------------------------------------------------------------------- */

/* Whether a row may take f32: named, or dtypes that are not named at all. Enough for the rows that are asked here. */
static int may_take_f32(const char* dtypes) { return strstr(dtypes, "f32") || !strpbrk(dtypes, "0123456789"); }

static int serves(const tg_kernel_row* row, const char* op) {
  if (strcmp(row->op, op) != 0 || !may_take_f32(row->dtypes) || (row->features && row->features[0])) return 0;
  if (!strcmp(op, "map") && !(row->map_opcodes >> TG_MAP_ADD & 1)) return 0;
  if (!row->domain) return p.on_device;
  return !strcmp(row->domain, p.on_device ? p.info.domain : "host");
}

/* Runs op on the first row that takes it. */
static int call_op(const char* op, buffer* in, uint32_t n_in, buffer* out, const tg_attr* plan_attrs, uint32_t n_plan_attrs,
                   const tg_attr* run_attrs, uint32_t n_run_attrs) {
  const tg_tensor *inputs[2], *outputs[1] = {&out->t};
  tg_tensor planned[3];
  const tg_tensor *planned_in[2], *planned_out[1];
  for (uint32_t i = 0; i <= n_in; ++i) {
    planned[i] = i < n_in ? in[i].t : out->t;
    planned[i].data = NULL;
    if (i < n_in) inputs[i] = &in[i].t, planned_in[i] = &planned[i];
    else planned_out[0] = &planned[i];
  }
  for (uint32_t r = 0; r < p.table.n_rows; ++r) {
    tg_kernel_row row;
    take(&row, sizeof row, (const char*)p.table.rows + (uint64_t)r * p.table.row_stride);
    if (!serves(&row, op)) continue;
    tg_call call = {.struct_size = sizeof call, .row = r, .op = op, .op_revision = row.op_revision, .n_inputs = n_in, .n_outputs = 1,
                    .n_attrs = n_plan_attrs, .inputs = planned_in, .outputs = planned_out, .attrs = plan_attrs,
                    .inputs_present = (UINT64_C(1) << n_in) - 1, .outputs_wanted = 1, .native_device = p.info.native_device,
                    .native_context = p.info.native_context, .threads = 1};
    if (p.kernels.supports) {
      tg_support support = {0, 0, 0, {0}};
      p.kernels.supports(p.instance, &call, &support);
      if (!support.ok) continue;
    }
    void* plan = NULL;
    if (p.kernels.plan_create(p.instance, &call, &plan, &error) != TG_OK) continue;
    tg_run run = {.launch_id = 1, .stream = p.stream, .native_stream = p.native_stream, .inputs = inputs, .outputs = outputs,
                  .attrs = run_attrs, .inputs_present = call.inputs_present, .outputs_wanted = 1, .n_inputs = n_in, .n_outputs = 1,
                  .n_attrs = n_run_attrs, .threads = 1};
    buffer workspace = {.bytes = 0};
    int bad = 0;
    if (p.kernels.plan_workspace && p.kernels.plan_workspace(plan, &run, &run.workspace_bytes, &error) != TG_OK) bad = fail("plan_workspace");
    if (!bad && run.workspace_bytes) {
      const int64_t count = (int64_t)((run.workspace_bytes + 3) / 4), one = 1;
      float* zeros = calloc((size_t)count, sizeof *zeros);
      bad = !zeros || make(&workspace, &count, &one, 1, zeros);
      free(zeros);
      run.workspace = workspace.t.data;
    }
    if (!bad && p.kernels.plan_run(plan, &run, &error) != TG_OK) bad = fail("plan_run");
    if (!bad) bad = fetch(out);
    if (workspace.t.data) drop(&workspace);
    p.kernels.plan_destroy(plan);
    if (!bad) printf(" %s", row.name ? row.name : op);
    return bad;
  }
  printf(" (no row for %s)", op);
  return 2; /* a plugin need not have it */
}

/* `expected` has out's element count. */
static int check(const char* op, buffer* in, uint32_t n_in, buffer* out, const tg_attr* plan_attrs, uint32_t n_plan_attrs,
                 const tg_attr* run_attrs, uint32_t n_run_attrs, const float* expected, int* done) {
  const int status = call_op(op, in, n_in, out, plan_attrs, n_plan_attrs, run_attrs, n_run_attrs);
  if (status == 1) return 1;
  for (uint64_t i = 0; status == 0 && i < out->bytes / sizeof(float); ++i)
    if (out->values[i] != expected[i]) { /* small integers: exact in any order */
      printf(": %s: element %d: expected %g, got %g\n", op, (int)i, expected[i], out->values[i]);
      return 1;
    }
  *done += status == 0;
  return 0;
}

static int exercise(void) {
  static const int64_t five[] = {5}, one[] = {1}, a_shape[] = {2, 3}, b_shape[] = {3, 2}, y_shape[] = {2, 2}, a_strides[] = {3, 1},
                       two_strides[] = {2, 1}, row_shape[] = {2, 1}, row_strides[] = {1, 1};
  float x[] = {1, 2, 3, 4, 5}, y[] = {10, 20, 30, 40, 50}, sum[5] = {0}, a[] = {1, 2, 3, 4, 5, 6}, b[] = {1, -1, 2, 0, 3, 1},
        product[4] = {0}, rows[2] = {0};
  const float sums[] = {11, 22, 33, 44, 55}, products[] = {14, 2, 32, 2}, row_sums[] = {6, 15};
  const tg_map_inst add = {.opcode = TG_MAP_ADD, .n_operands = 2, .dtype = f32, .operand = {0, 1, 0}};
  const int64_t first = 0, axis = 1;
  const uint64_t none = 0;
  const tg_attr map_plan[] = {{TG_ATTR_PROGRAM, 1, {.program = &add}}, {TG_ATTR_INTS, 1, {.ints = &first}}};
  const tg_attr map_run[] = {{TG_ATTR_BITS, 0, {.bits = &none}}};
  const tg_attr matmul_plan[] = {{TG_ATTR_INT, 1, {.i = 0}}};
  const tg_attr reduce_plan[] = {{TG_ATTR_INT, 1, {.i = TG_REDUCE_SUM}}, {TG_ATTR_INTS, 1, {.ints = &axis}}};
  buffer in[2], ab[2], out[3];
  int done = 0;
  memset(in, 0, sizeof in), memset(ab, 0, sizeof ab), memset(out, 0, sizeof out);
  int bad = make(&in[0], five, one, 1, x) || make(&in[1], five, one, 1, y) || make(&out[0], five, one, 1, sum) ||
            make(&ab[0], a_shape, a_strides, 2, a) || make(&ab[1], b_shape, two_strides, 2, b) ||
            make(&out[1], y_shape, two_strides, 2, product) || make(&out[2], row_shape, row_strides, 2, rows);
  bad = bad || check("map", in, 2, &out[0], map_plan, 2, map_run, 1, sums, &done) ||
        check("matmul", ab, 2, &out[1], matmul_plan, 1, NULL, 0, products, &done) ||
        check("reduce", ab, 1, &out[2], reduce_plan, 2, NULL, 0, row_sums, &done);
  for (int i = 0; i < 2; ++i) drop(&in[i]), drop(&ab[i]);
  for (int i = 0; i < 3; ++i) drop(&out[i]);
  if (!bad && !done) return printf(": none of its rows was asked\n"), 1;
  return bad;
}

static int try_plugin(const char* path) {
  memset(&p, 0, sizeof p);
  memset(&error, 0, sizeof error);
  void* library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!library) return printf("%s\n", dlerror()), 1;
  const tg_plugin_query_fn query = (tg_plugin_query_fn)dlsym(library, "tg_plugin_query");
  if (!query) return printf("%s: no tg_plugin_query\n", path), 1;
  const tg_plugin* theirs = query(TG_ABI_VERSION, &host);
  if (!theirs) return printf("%s: refused: it cannot serve a host of ABI %u.%u\n", path, TG_ABI_MAJOR, TG_ABI_MINOR), 3;
  take(&p.table, sizeof p.table, theirs);
  const uint32_t major = p.table.abi_version >> 16, minor = p.table.abi_version & 0xffff;
  if (major != TG_ABI_MAJOR || (major == 0 && minor != TG_ABI_MINOR))
    return printf("%s: refused: built for ABI %u.%u, this host speaks %u.%u\n", p.table.name, major, minor, TG_ABI_MAJOR, TG_ABI_MINOR), 3;
  take(&p.kernels, sizeof p.kernels, p.table.kernels);
  take(&p.devices, sizeof p.devices, p.table.devices);
  if (!p.table.kernels) return fail("brings no kernels");
  const uint32_t agreed = p.table.abi_version < TG_ABI_VERSION ? p.table.abi_version : TG_ABI_VERSION;
  if (p.table.open && p.table.open(agreed, &host, &p.instance, &error) != TG_OK) return fail("open");
  uint32_t count = 0;
  if (p.table.devices && p.devices.device_count(p.instance, &count, &error) != TG_OK) return fail("device_count");
  if (count) {
    p.on_device = 1;
    p.info.struct_size = sizeof p.info;
    if (p.devices.device_info(p.instance, 0, &p.info, &error) != TG_OK) return fail("device_info");
    if (p.devices.stream_create(p.instance, 0, &p.stream, &p.native_stream, &error) != TG_OK) return fail("stream_create");
  }
  printf("%s %s, ABI %u.%u:", p.table.name, p.table.version, major, minor);
  const int bad = exercise();
  if (p.stream) p.devices.stream_destroy(p.instance, 0, p.stream);
  if (p.table.shutdown) p.table.shutdown(p.instance);
  if (!bad) printf(": right\n");
  return bad; /* the library stays mapped, as in any host */
}

int main(int argc, char** argv) {
  int worst = 0;
  if (argc < 2) return fprintf(stderr, "usage: %s LIBRARY...\n", argv[0]), 2;
  for (int i = 1; i < argc; ++i) {
    const int status = try_plugin(argv[i]);
    fflush(stdout);
    if (status && worst != 1) worst = status;
  }
  return worst;
}
