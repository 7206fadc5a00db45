/* SPDX-License-Identifier: Apache-2.0
 * What the plugin `counting` has seen: its extension "exp.counting/1". */
#ifndef TENGEN_TESTS_COUNTING_H_
#define TENGEN_TESTS_COUNTING_H_

#define COUNTING_EXTENSION "exp.counting/1"

struct counting {
  int created[2], destroyed[2]; /* plans: of host memory, of devices */
};

#endif
