/* SPDX-License-Identifier: Apache-2.0
 *
 * chaos_ext.h - what a kernel provider other than chaos itself needs to compute on a chaos device. C11.
 *
 * The native handles that the host hands on (tg_call::native_device, tg_run::native_stream) point to the two structs
 * below; both begin with the table of functions, so that a provider needs this header alone and no symbol of the
 * plugin. The extension "exp.chaos/1" returns the same table.
 *
 *   int32_t work(void* context, tg_error* error) {            // in the stream's own thread, in order, later
 *     Mine* m = context;
 *     void *x, *y;
 *     int32_t status = m->stream->api->address(m->stream, m->x, m->x_offset, m->bytes, &x, error);
 *     ...
 *   }
 *   stream->api->enqueue(stream, run->launch_id, work, release, mine, error);   // in plan_run
 */
#ifndef TENGEN_PLUGINS_CHAOS_EXT_H_
#define TENGEN_PLUGINS_CHAOS_EXT_H_

#include <tengen/kernel_api.h>

#ifdef __cplusplus
extern "C" {
#endif

#define TG_CHAOS_EXTENSION "exp.chaos/1"

typedef struct tg_chaos_api tg_chaos_api;

typedef struct tg_chaos_device {
  const tg_chaos_api* api;
  int32_t index; /* chaos:index */
  uint32_t reserved;
} tg_chaos_device;

typedef struct tg_chaos_stream {
  const tg_chaos_api* api;
  const tg_chaos_device* device;
} tg_chaos_stream;

struct tg_chaos_api {
  uint32_t struct_size;
  uint32_t reserved;
  /* Appends work(context) to the stream. A status other than TG_OK fails the stream, with launch_id in its error.
   * release(context), where given, follows in every case: after the work, or when a failed stream skipped it. When
   * enqueue itself fails, it has called neither. */
  int32_t (*enqueue)(tg_chaos_stream* stream, uint64_t launch_id, int32_t (*work)(void* context, tg_error* error),
                     void (*release)(void* context), void* context, tg_error* error);
  /* Inside work only: the address of the `bytes` bytes at (data, offset), usable until work returns. Fails when
   * they are not all inside one living block of this device. */
  int32_t (*address)(tg_chaos_stream* stream, const void* data, uint64_t offset, uint64_t bytes, void** address,
                     tg_error* error);
};

#ifdef __cplusplus
}
#endif
#endif /* TENGEN_PLUGINS_CHAOS_EXT_H_ */
