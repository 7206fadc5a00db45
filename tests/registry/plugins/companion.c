/* SPDX-License-Identifier: Apache-2.0
 *
 * The library that the plugin t_companion brings along. */
__attribute__((visibility("default"))) int tg_companion(void) { return 42; }
