/* SPDX-License-Identifier: Apache-2.0
 *
 * Must not compile: a field of another width, caught by the layout asserts. */
#include <stddef.h>
#include <stdint.h>
#define uint16_t uint32_t
#include <tengen/kernel_api_layout.h>
