/* SPDX-License-Identifier: Apache-2.0
 * A shared library that is no plugin. */
int somebody_elses_function(void);
int somebody_elses_function(void) { return 0; }
