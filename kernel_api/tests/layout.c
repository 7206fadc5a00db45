/* SPDX-License-Identifier: Apache-2.0
 *
 * Compiled as C11, C++17 and C++20 by every compiler at hand: the header alone, then its layout. */
#include <tengen/kernel_api.h>
#include <tengen/kernel_api.h> /* twice: the guard */
#include <tengen/kernel_api_layout.h>

/* A program needs something; -pedantic says so. */
int tg_layout_is_checked(void);
int tg_layout_is_checked(void) { return TG_ABI_VERSION == 9; }
