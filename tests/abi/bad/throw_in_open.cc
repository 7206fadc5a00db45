// SPDX-License-Identifier: Apache-2.0
//
// bad.c as C++, for the case that needs an exception.
#include "bad.c"
