/* SPDX-License-Identifier: Apache-2.0
 *
 * tengen/kernel_api.h - the contract between Tengen and a kernel plugin. C11, no dependency but <stdint.h>.
 *
 * A plugin is one shared library that exports one function, tg_plugin_query. It returns a constant table that says what
 * the plugin is, which kernels it has (rows of data, listed without running its code) and how to call it. Read this
 * file from top to bottom and you can write one; the shortest plugin that trains a network is in docs/.
 *
 *   1 versions   2 status and errors   3 tensors   4 attributes   5 the floor   6 map programs   7 kernel rows
 *   8 calls, plans, runs   9 devices, memory, streams, events   10 the host's table   11 the plugin's table
 *
 * A kernel plugin for host memory needs sections 1-8 and 11. A plugin that brings a device adds section 9.
 * The exact meaning of the floor's ops and of every map opcode is in ABI.md beside this header.
 */
#ifndef TENGEN_KERNEL_API_H_
#define TENGEN_KERNEL_API_H_

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- 1 versions ------------------------------------------------------------------------------------------------
 * major << 16 | minor. While the major is 0 host and plugin must agree on the minor; from 1.0 on every 1.x host loads
 * every 1.y plugin. How the structs grow:
 *   - A growable struct begins with `uint32_t struct_size`, set by whoever fills it. Fields are only appended. The
 *     receiver copies min(struct_size, its own sizeof) bytes into a zeroed struct of its own; zero always means "as
 *     before the field existed". Arrays of growable structs carry the element stride of the side that made them.
 *   - A frozen struct (tg_tensor, tg_attr, tg_map_inst, tg_error, tg_support, tg_run) never changes and is used in
 *     place. Its `reserved` words are zero.
 *   - A NULL function pointer means "not offered"; the host then does without or emulates it.
 * Booleans, enums, size_t, long and bit-fields do not appear; all padding is written out. */
#define TG_ABI_MAJOR 0u
#define TG_ABI_MINOR 9u
#define TG_ABI_VERSION ((TG_ABI_MAJOR << 16) | TG_ABI_MINOR)

#if defined(_WIN32)
#define TG_EXPORT __declspec(dllexport)
#else
#define TG_EXPORT __attribute__((visibility("default")))
#endif

/* ---- 2 status and errors ---------------------------------------------------------------------------------------
 * Every call that can fail returns a status, TG_OK or one of these (numbered as in absl::StatusCode). No exception,
 * longjmp, abort or exit may cross this interface. */
#define TG_OK 0
#define TG_CANCELLED 1
#define TG_UNKNOWN 2
#define TG_INVALID_ARGUMENT 3
#define TG_DEADLINE_EXCEEDED 4
#define TG_NOT_FOUND 5
#define TG_PERMISSION_DENIED 7
#define TG_RESOURCE_EXHAUSTED 8 /* out of memory; the host frees its caches and tries once more */
#define TG_FAILED_PRECONDITION 9
#define TG_OUT_OF_RANGE 11 /* an index lies outside its axis */
#define TG_UNIMPLEMENTED 12
#define TG_INTERNAL 13
#define TG_UNAVAILABLE 14
#define TG_DEVICE_LOST 64 /* the device is gone for this process; other devices go on */

/* Owned by the caller; may be NULL; written only on failure, so that the path that succeeds costs nothing. */
typedef struct tg_error {
  int32_t code;       /* the same as the status returned */
  int32_t line;       /* where, in `file`; 0 if unknown */
  uint64_t launch_id; /* the run that failed (tg_run::launch_id); 0 if none */
  char file[112];     /* NUL-terminated, truncated at the front if need be */
  char message[384];  /* NUL-terminated UTF-8, one sentence: what was expected, what came */
} tg_error;

/* ---- 3 tensors -------------------------------------------------------------------------------------------------
 * tg_dtype and tg_tensor have the layout of DLPack's DLDataType and DLTensor. */
typedef struct tg_dtype {
  uint8_t code; /* TG_CODE_* */
  uint8_t bits; /* of one lane */
  uint16_t lanes; /* 1 */
} tg_dtype;

#define TG_CODE_INT 0
#define TG_CODE_UINT 1
#define TG_CODE_FLOAT 2
#define TG_CODE_OPAQUE 3
#define TG_CODE_BFLOAT 4
#define TG_CODE_COMPLEX 5 /* bits counts both parts */
#define TG_CODE_BOOL 6    /* 8 bits, 0 or 1; a kernel writes nothing else */
#define TG_CODE_FLOAT8_E4M3FN 10
#define TG_CODE_FLOAT8_E5M2 12

/* Position of a dtype in the bit masks of kernel rows. Append-only. */
#define TG_DT_F32 0
#define TG_DT_F64 1
#define TG_DT_F16 2
#define TG_DT_BF16 3
#define TG_DT_I64 4
#define TG_DT_I32 5
#define TG_DT_I16 6
#define TG_DT_I8 7
#define TG_DT_U64 8
#define TG_DT_U32 9
#define TG_DT_U16 10
#define TG_DT_U8 11
#define TG_DT_BOOL 12
#define TG_DT_C64 13
#define TG_DT_C128 14
#define TG_DT_F8E4M3 15
#define TG_DT_F8E5M2 16
#define TG_DT_I4 17
#define TG_DT_U4 18

typedef struct tg_device {
  int32_t type;  /* TG_DEVICE_HOST or TG_DEVICE_PLUGIN */
  int32_t index; /* the host's number for the device; 0 for host memory */
} tg_device;

#define TG_DEVICE_HOST 1    /* kDLCPU */
#define TG_DEVICE_PLUGIN 12 /* kDLExtDev */
#define TG_MAX_RANK 16

/* Element (i0, i1, ...) lies at data + byte_offset + sizeof(dtype) * (i0*strides[0] + i1*strides[1] + ...).
 * `strides` counts elements, is never NULL and never negative; 0 repeats an element (inputs only). `data` is a host
 * address, a device address, or an opaque handle on devices without addresses: the host does no arithmetic on it.
 * While planning, `data` is NULL. A call never reaches a plugin with a tensor of zero elements. */
typedef struct tg_tensor {
  void* data;
  tg_device device;
  int32_t ndim; /* 0..TG_MAX_RANK */
  tg_dtype dtype;
  const int64_t* shape;
  const int64_t* strides;
  uint64_t byte_offset;
} tg_tensor;

/* ---- 4 attributes ----------------------------------------------------------------------------------------------
 * Attributes arrive typed and in the order of the op's schema: a kernel indexes them and compares no strings.
 * Plan attributes are fixed when a plan is made; run attributes may differ in every run (learning rate, seed, the
 * immediates of a map program). */
#define TG_ATTR_INT 1     /* i; also booleans (0, 1) and enums */
#define TG_ATTR_FLOAT 2   /* f */
#define TG_ATTR_INTS 3    /* ints[0..n) */
#define TG_ATTR_FLOATS 4  /* floats[0..n) */
#define TG_ATTR_STRING 5  /* str, n bytes and a NUL */
#define TG_ATTR_DTYPE 6   /* dtype */
#define TG_ATTR_BITS 7    /* bits[0..n): each a scalar's bits in the low end, the dtype known from the context */
#define TG_ATTR_PROGRAM 8 /* program[0..n) */

typedef struct tg_map_inst tg_map_inst;
typedef struct tg_attr {
  uint32_t kind; /* TG_ATTR_*; 0: not given */
  uint32_t n;    /* element count where there is an array, else 1 */
  union {
    int64_t i;
    double f;
    tg_dtype dtype;
    const int64_t* ints;
    const double* floats;
    const uint64_t* bits;
    const char* str;
    const tg_map_inst* program;
    uint64_t word;
  } v;
} tg_attr;

/* ---- 5 the floor -----------------------------------------------------------------------------------------------
 * Eleven op families. A plugin that offers them for f32, i32, i64, u8 and bool trains any ordinary model, for every
 * other op decomposes onto them. inputs -> outputs; P: plan attributes; R: run attributes, by index. All tensors may
 * have any strides unless the row asks otherwise. Outputs that are "updated" are read, then written.
 *
 *   map      x... -> y...           P[0] program, P[1] ints: by output, the instruction that computes it;
 *                                   R[0] bits: immediates
 *   copy     x -> y                 equal shape and dtype
 *   fill     -> y                   R[0] bits[1]: the value in y's dtype
 *   iota     -> y (rank 1)          R[0] bits[2]: start, step in y's dtype;  y[k] = start + k*step
 *   random   [state] -> y           u32, contiguous. R[0] int seed, R[1] int offset, or both from state: i64[2].
 *                                   Philox4x32-10; y[k] is word k%4 of the block with counter offset + k/4
 *   reduce   x -> y                 P[0] int TG_REDUCE_*, P[1] ints: axes, ascending; y has x's rank, size 1 there
 *   scan     x -> y                 P[0] int TG_REDUCE_SUM|PROD|MAX|MIN, P[1] axis, P[2] exclusive, P[3] reverse
 *   matmul   a, b -> y              P[0] int beta: 1 adds to y (updated). a [..., m, k], b [..., k, n], y [..., m, n]:
 *                                   equal rank >= 2, equal batch dims (stride 0 where broadcast)
 *   gather   x, index -> y          P[0] axis; y has index's shape: y[.., j, ..] = x[.., index[.., j, ..], ..]
 *   scatter  index, u -> y          P[0] axis, P[1] int TG_SCATTER_*; y updated: y[.., index[.., j, ..], ..] gets
 *                                   u[.., j, ..], in row-major order of u
 *   sort     x -> values, index     P[0] axis, P[1] descending. Stable, NaN last; index is i64
 *
 * An index lies in [-n, n); negative counts from the end. Outside: TG_OUT_OF_RANGE from plan_run, or a failed stream on
 * an asynchronous device; memory outside the tensor is never touched. 16-bit floats accumulate in f32. */
#define TG_REDUCE_SUM 0
#define TG_REDUCE_PROD 1
#define TG_REDUCE_MAX 2 /* NaN if any element is */
#define TG_REDUCE_MIN 3
#define TG_REDUCE_ARGMAX 4 /* y is i64; the first of equals; the first NaN wins; exactly one axis */
#define TG_REDUCE_ARGMIN 5
#define TG_REDUCE_ANY 6 /* x and y are bool */
#define TG_REDUCE_ALL 7

#define TG_SCATTER_SET 0
#define TG_SCATTER_ADD 1
#define TG_SCATTER_MAX 2

/* ---- 6 map programs --------------------------------------------------------------------------------------------
 * An elementwise computation: instruction j computes value n_inputs + j, once per output element. Operands number the
 * inputs first, then the results, then the immediates: value v is an input for v < n_inputs, the result of instruction
 * v - n_inputs while that is < n_insts, else immediate v - n_inputs - n_insts. A program is in order: no operand refers
 * to a later result. Immediates are run attributes, raw bits of the dtype in which the instruction reads them.
 * Inputs arrive with the outputs' shape, stride 0 where broadcast. An output may be the very tensor of an input.
 * Every instruction rounds to its dtype: no contraction, no extra precision (build kernels with -ffp-contract=off).
 * 16-bit floats compute in f32 and round after each instruction. */
struct tg_map_inst {
  uint16_t opcode;     /* TG_MAP_* */
  uint16_t n_operands; /* 1..3 */
  tg_dtype dtype;      /* of the operands and the result; comparisons give bool; `where` has a bool first operand */
  tg_dtype from;       /* cast only: the operand's dtype (dtype is the result's) */
  uint16_t operand[3];
  uint16_t reserved[3];
};

/* Mandatory in a plugin that offers the floor: the instruction dtypes f32 i32 i64 u8 bool, each where it makes sense
 * (ABI.md has the table). Append-only. */
#define TG_MAP_COPY 1
#define TG_MAP_CAST 2
#define TG_MAP_NEG 3
#define TG_MAP_ABS 4
#define TG_MAP_NOT 5 /* bool: logical; integers: bitwise */
#define TG_MAP_SQRT 6
#define TG_MAP_EXP 7
#define TG_MAP_LOG 8
#define TG_MAP_SIN 9
#define TG_MAP_COS 10
#define TG_MAP_TANH 11
#define TG_MAP_ERF 12
#define TG_MAP_FLOOR 13
#define TG_MAP_CEIL 14
#define TG_MAP_ROUND 15 /* half to even */
#define TG_MAP_TRUNC 16
#define TG_MAP_ADD 17
#define TG_MAP_SUB 18
#define TG_MAP_MUL 19
#define TG_MAP_DIV 20 /* floats: IEEE; integers: floored quotient, 0 where the divisor is 0 */
#define TG_MAP_REM 21 /* sign of the divisor, as Python's %; integers: 0 where the divisor is 0 */
#define TG_MAP_POW 22
#define TG_MAP_ATAN2 23
#define TG_MAP_MAX 24 /* NaN if either is */
#define TG_MAP_MIN 25
#define TG_MAP_EQ 26
#define TG_MAP_NE 27
#define TG_MAP_LT 28
#define TG_MAP_LE 29
#define TG_MAP_AND 30
#define TG_MAP_OR 31
#define TG_MAP_XOR 32
#define TG_MAP_SHL 33
#define TG_MAP_SHR 34 /* arithmetic on signed integers */
#define TG_MAP_WHERE 35
#define TG_MAP_FMA 36  /* a*b + c, rounded once */
#define TG_MAP_CLIP 37 /* min(max(x, lo), hi) */
#define TG_MAP_MANDATORY_END 38
/* Optional: the host expands what a plugin lacks. */
#define TG_MAP_SIGN 38
#define TG_MAP_RSQRT 39
#define TG_MAP_RECIPROCAL 40
#define TG_MAP_EXPM1 41
#define TG_MAP_LOG1P 42
#define TG_MAP_EXP2 43
#define TG_MAP_LOG2 44
#define TG_MAP_SIGMOID 45
#define TG_MAP_RELU 46 /* max(x, 0) */
#define TG_MAP_SILU 47
#define TG_MAP_GELU 48      /* x * Phi(x), with erf */
#define TG_MAP_GELU_TANH 49 /* the tanh approximation */
#define TG_MAP_SOFTPLUS 50  /* log(1 + exp(x)) */
#define TG_MAP_TAN 51
#define TG_MAP_SINH 52
#define TG_MAP_COSH 53
#define TG_MAP_ASIN 54
#define TG_MAP_ACOS 55
#define TG_MAP_ATAN 56
#define TG_MAP_LOG10 57
#define TG_MAP_ERFC 58
#define TG_MAP_END 59

/* ---- 7 kernel rows ---------------------------------------------------------------------------------------------
 * A row says which calls of one op (or floor family) a kernel takes, as data: the host matches rows, lists them and
 * explains them without running plugin code. In the build they come from the plugin's manifest (JSON), so that the two
 * cannot differ; tengen_add_plugin() of the CMake package writes the array.
 *
 * dtypes   one token per argument, inputs, "->", outputs: a dtype name (f32), alternatives (f32|f64), a letter A-Z that
 *          stands for one dtype in the whole row, or * for any; "..." after a token repeats it. Letters are bound after
 *          a semicolon: "T T -> T; T: f32 f64". An absent optional argument matches any token. Rows of map hold the
 *          instruction dtype alone: "T; T: f32 f64", with the opcodes below.
 * domain   memory domain: "host", "kind:*", or NULL for the plugin's own devices.
 * bake_*   bit i: the plan holds the dims (strides) of argument i, inputs from bit 0, outputs from bit 32; the host makes
 *          another plan for other ones. 0: one plan serves all shapes of equal rank.
 * packed   bit i as above: the argument must be contiguous (row-major); the host copies where it is not.
 * alias    bit 8*i+j: output i may be the very tensor of input j (equal data, shape, strides); i, j < 8. Always
 *          allowed for map.
 * map_opcodes  bit TG_MAP_x. 58 of the 63 usable bits are taken; opcodes from 64 on will get a second word, appended.
 * layouts  NULL: all arguments are plain tensors. Else a word per argument, inputs, "->", outputs: "-" for a plain one, or
 *          the name [a-z0-9_]+ of a layout of the plugin's own: "- - -> blocked8". Not for map. Section 8 says more. */
#define TG_ROW_NONDETERMINISTIC 1u /* equal runs may differ in the last bits */
#define TG_ROW_ASYNC 2u            /* plan_run returns before the work is done (own stream) */

typedef struct tg_kernel_row {
  uint32_t struct_size;
  uint32_t op_revision; /* of the op's schema that the kernel implements; 1 at first */
  const char* name;     /* for people: "onednn.matmul" */
  const char* op;       /* "matmul", "softmax", "vendor::name" */
  const char* dtypes;
  const char* domain;
  const char* features; /* space-separated device or CPU features, "avx512f"; NULL: none */
  uint64_t bake_dims;
  uint64_t bake_strides;
  uint64_t packed;
  uint64_t alias;
  uint64_t map_opcodes; /* map: the opcodes */
  uint64_t map_casts;   /* map: with CAST: bit TG_DT_x for each result dtype */
  int32_t score;        /* orders the rows of one plugin; higher first */
  uint32_t flags;       /* TG_ROW_* */
  uint32_t map_max_insts; /* map: longest program; 0: any */
  uint32_t max_rank;    /* 0: TG_MAX_RANK */
  const char* layouts;  /* private layouts by argument; NULL: none */
} tg_kernel_row;

/* ---- 8 calls, plans, runs --------------------------------------------------------------------------------------
 * supports -> plan_create -> (plan_workspace -> plan_run)* -> plan_destroy. The host caches plans. */
#define TG_MATH_DETERMINISTIC 1u /* the user asked for equal bits run to run */
#define TG_MATH_ALLOW_TF32 2u    /* f32 products may round their factors to tf32 */
#define TG_MATH_ALLOW_BF16 4u    /* ... to bf16 */

/* What is asked for; read-only, valid during the call it is passed to. */
typedef struct tg_call {
  uint32_t struct_size;
  uint32_t row;         /* index of the row that matched */
  const char* op;
  uint32_t op_revision; /* the row's: arguments and attributes that came later are not among n_inputs and n_attrs */
  uint32_t math;        /* TG_MATH_* */
  uint32_t n_inputs;
  uint32_t n_outputs;
  uint32_t n_attrs;
  int32_t device;       /* index among the devices of the provider that owns the memory; 0 for the domain host */
  const tg_tensor* const* inputs;  /* data NULL; an absent one is NULL */
  const tg_tensor* const* outputs; /* an output that nobody wants is NULL */
  const tg_attr* attrs; /* plan attributes */
  uint64_t inputs_present;  /* bit i; arguments from 64 on are always present */
  uint64_t outputs_wanted;
  void* native_device;  /* of the domain: cl_device_id, CUdevice, ...; NULL for the domain host */
  void* native_context;
  int32_t threads;      /* host threads that a run may use */
  uint32_t reserved;
} tg_call;

typedef struct tg_support {
  int32_t ok;        /* 1: yes */
  uint32_t reserved;
  int64_t est_ns;    /* advice, 0: unknown */
  char reason[240];  /* NUL-terminated; required when ok is 0: what was expected, what came */
} tg_support;

/* Private layouts. From one kernel of a plugin to the next a tensor may lie in memory as that plugin likes best. An
 * argument whose word in the row's `layouts` is a tag comes as a block of plan_info's `bytes`: data and byte_offset say
 * where, shape and dtype are the tensor's, strides mean nothing. Its dims count as baked. The host passes a block on to
 * rows of the same plugin with the same tag alone. Before anything else looks at it the host has it made plain by the
 * plugin's row for "reorder" (x -> y of equal shape and dtype, no attributes, layouts "tag -> -"); without such a row no
 * output gets the tag. plan_info has the last word: an output may be plain (tag NULL) although its row names a tag. */
typedef struct tg_layout {
  const char* tag;  /* as in the row; NULL: plain */
  uint64_t bytes;   /* of the block; 0 when plain */
} tg_layout;

/* Asked once, after plan_create. The host sets struct_size; strings and arrays live as long as the plan. */
typedef struct tg_plan_info {
  uint32_t struct_size;
  uint32_t n_algorithms; /* 0 or 1: no choice. The host takes the plugin's own choice; it offers none before 1.0 */
  const char* algorithm; /* name, for people */
  uint32_t n_layouts;     /* 0: all arguments are plain; else n_inputs + n_outputs of the call */
  uint32_t layout_stride; /* sizeof(tg_layout) at the plugin's build */
  const tg_layout* layouts;
} tg_plan_info;

typedef struct tg_run {
  uint64_t launch_id; /* for error reports */
  void* stream;        /* handle of the device's own provider; NULL for the domain host */
  void* native_stream; /* what other providers use: cl_command_queue, CUstream, ... */
  const tg_tensor* const* inputs;
  const tg_tensor* const* outputs;
  const tg_attr* attrs; /* run attributes */
  uint64_t inputs_present;
  uint64_t outputs_wanted;
  void* workspace;      /* as asked for by plan_workspace; 64-byte aligned; contents undefined */
  uint64_t workspace_offset;
  uint64_t workspace_bytes;
  uint32_t n_inputs;
  uint32_t n_outputs;
  uint32_t n_attrs;
  int32_t threads;
  uint64_t reserved[2];
} tg_run;

/* Thread rules: supports and plan_create from any thread. A plan appears immutable and may run in several threads at
 * once, with different workspaces. plan_run never allocates device memory: it has its workspace. */
typedef struct tg_kernel_api {
  uint32_t struct_size;
  uint32_t reserved;
  /* Optional: settles what the row cannot say. Writes *out. */
  void (*supports)(void* instance, const tg_call* call, tg_support* out);
  /* Failure counts as a refusal with its message, and the next candidate is asked. */
  int32_t (*plan_create)(void* instance, const tg_call* call, void** plan, tg_error* error);
  int32_t (*plan_info)(void* plan, tg_plan_info* info); /* optional; rows with private layouts need it */
  int32_t (*plan_workspace)(void* plan, const tg_run* shapes, uint64_t* bytes, tg_error* error);      /* optional */
  int32_t (*plan_run)(void* plan, const tg_run* run, tg_error* error);
  void (*plan_destroy)(void* plan);
} tg_kernel_api;

/* ---- 9 devices, memory, streams, events ------------------------------------------------------------------------
 * A device provider owns the memory and the streams of its devices. Work on one stream runs in order; streams are
 * ordered among themselves only by events. A failed stream stays failed until it is destroyed, and so does a stream
 * that waited on it: sync and query report the earliest failed launch. The host keeps buffers alive until the work
 * that uses them is known to be done. One stream is used by one thread at a time; stream_query and event_query may be
 * called from any thread, also after the stream is gone: a stream that was destroyed answers how its work ended, and so
 * does an event that was recorded on it (the earliest failed launch, else TG_OK). There is no current device. */
#define TG_DEVICE_HOST_ACCESSIBLE 1u /* host code may read and write `data` after a stream_sync; not used before 1.0 */

typedef struct tg_device_info {
  uint32_t struct_size;
  uint32_t flags;      /* TG_DEVICE_* */
  const char* kind;    /* "cuda", "opencl", "chaos"; users write kind:index */
  const char* name;    /* of the product */
  const char* domain;  /* "cuda:<uuid>": equal strings mean the same native context */
  const char* features; /* space-separated, what rows may require */
  uint64_t memory_bytes;
  uint64_t alignment;  /* of alloc, a power of two, at least 64; smaller blocks cost no less, so the host asks for none */
  void* native_device;
  void* native_context;
} tg_device_info;

/* `instance` is open's, `device` an index below device_count. Memory arguments are (data, byte offset). Strings that
 * a plugin returns live until shutdown. */
typedef struct tg_device_api {
  uint32_t struct_size;
  uint32_t reserved;
  int32_t (*device_count)(void* instance, uint32_t* count, tg_error* error);
  int32_t (*device_info)(void* instance, int32_t device, tg_device_info* info, tg_error* error);
  /* bytes > 0. TG_RESOURCE_EXHAUSTED when there is no room. free takes what alloc gave, when no work uses it. */
  int32_t (*alloc)(void* instance, int32_t device, uint64_t bytes, void** data, tg_error* error);
  void (*free)(void* instance, int32_t device, void* data, uint64_t bytes);
  int32_t (*memory_info)(void* instance, int32_t device, uint64_t* free, uint64_t* total, tg_error* error); /* opt. */
  /* A stream and its native handle (may equal it). destroy waits for its work, and never fails. */
  int32_t (*stream_create)(void* instance, int32_t device, void** stream, void** native, tg_error* error);
  void (*stream_destroy)(void* instance, int32_t device, void* stream);
  int32_t (*stream_sync)(void* instance, int32_t device, void* stream, tg_error* error);
  /* TG_OK: all done; TG_UNAVAILABLE: still running; else the failure. */
  int32_t (*stream_query)(void* instance, int32_t device, void* stream, tg_error* error);
  int32_t (*stream_wait)(void* instance, int32_t device, void* stream, void* event, tg_error* error);
  int32_t (*event_create)(void* instance, int32_t device, void** event, tg_error* error);
  void (*event_destroy)(void* instance, int32_t device, void* event);
  int32_t (*event_record)(void* instance, int32_t device, void* event, void* stream, tg_error* error);
  int32_t (*event_query)(void* instance, int32_t device, void* event, tg_error* error); /* as stream_query */
  int32_t (*event_sync)(void* instance, int32_t device, void* event, tg_error* error);
  /* Asynchronous copies on a stream. The host keeps both sides alive and untouched until the copy is known to be done. */
  int32_t (*copy_to_device)(void* instance, int32_t device, void* stream, void* dst, uint64_t dst_offset,
                            const void* host_src, uint64_t bytes, tg_error* error);
  int32_t (*copy_to_host)(void* instance, int32_t device, void* stream, void* host_dst, const void* src,
                          uint64_t src_offset, uint64_t bytes, tg_error* error);
  int32_t (*copy_on_device)(void* instance, int32_t device, void* stream, void* dst, uint64_t dst_offset,
                            const void* src, uint64_t src_offset, uint64_t bytes, tg_error* error);
  /* copy_on_device: of contiguous tensors, where no plugin has a row for the op copy. */
} tg_device_api;

/* ---- 10 the host's table ---------------------------------------------------------------------------------------
 * A plugin has no undefined symbols of the host; what it needs comes here. Valid until shutdown has returned. */
#define TG_LOG_DEBUG 0
#define TG_LOG_INFO 1
#define TG_LOG_WARN 2
#define TG_LOG_ERROR 3

typedef struct tg_host {
  uint32_t struct_size;
  uint32_t abi_version;
  void (*log)(int32_t level, const char* message);
  /* Runs body(context, begin, end) over [0, n) in pieces of at least `grain`, on at most `threads` threads, and waits.
   * Uses the process's one pool; a nested call runs in the calling thread. body must not fail. */
  void (*parallel_for)(int64_t n, int64_t grain, int32_t threads, void (*body)(void* context, int64_t begin, int64_t end),
                       void* context);
  /* Host memory, 64-byte aligned, until the current plan_run returns; NULL when there is none. From the thread that
   * entered plan_run only. */
  void* (*scratch)(uint64_t bytes);
  const char* (*cache_directory)(void); /* for compiled kernels; exists; "" when there is none */
} tg_host;

/* ---- 11 the plugin's table -------------------------------------------------------------------------------------
 * tg_plugin_query is pure: no driver start, no thread, no allocation. It returns a table with static lifetime, or NULL
 * when it cannot serve that host. `open` starts the plugin, at most once per process, and returns the instance that all
 * later calls carry; it is told the negotiated version, min(host, plugin). `shutdown` ends it. */
typedef struct tg_plugin {
  uint32_t struct_size;
  uint32_t abi_version; /* TG_ABI_VERSION at the plugin's build */
  const char* name;     /* [a-z0-9_]+; the file is libtengen_<name>.so */
  const char* vendor;
  const char* version;  /* the plugin's own, semantic versioning */
  const tg_kernel_row* rows;
  uint32_t n_rows;
  uint32_t row_stride;  /* sizeof(tg_kernel_row) at the plugin's build */
  const tg_device_api* devices; /* NULL: brings no device */
  const tg_kernel_api* kernels; /* NULL: brings no kernel */
  int32_t (*open)(uint32_t abi_version, const tg_host* host, void** instance, tg_error* error);
  void (*shutdown)(void* instance);
  /* Named extension tables, each described in a header of its own that its inventor publishes; NULL: not offered. Names
   * that begin with "exp." may vanish, the others never. The host asks for none yet. May be NULL. */
  const void* (*extension)(void* instance, const char* name);
} tg_plugin;

typedef const tg_plugin* (*tg_plugin_query_fn)(uint32_t host_abi, const tg_host* host);
TG_EXPORT const tg_plugin* tg_plugin_query(uint32_t host_abi, const tg_host* host);

#ifdef __cplusplus
}
#endif
#endif /* TENGEN_KERNEL_API_H_ */
