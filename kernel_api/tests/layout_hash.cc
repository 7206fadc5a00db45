// SPDX-License-Identifier: Apache-2.0
//
// The frozen structs' hash is that of their list, and the helper header compiles beside it.

#include <tengen/kernel_api_layout.h>
#include <tengen/kernel_api.hpp>

constexpr uint64_t fnv1a(const char* text) {
  uint64_t hash = UINT64_C(0xcbf29ce484222325);
  for (; *text; ++text) hash = (hash ^ static_cast<unsigned char>(*text)) * UINT64_C(0x100000001b3);
  return hash;
}
static_assert(fnv1a("") == UINT64_C(0xcbf29ce484222325) && fnv1a("a") == UINT64_C(0xaf63dc4c8601ec8c), "FNV-1a itself");
static_assert(fnv1a(TG_LAYOUT_FROZEN_TEXT) == TG_LAYOUT_FROZEN_HASH,
              "a frozen struct was edited: that is a new ABI major version, not a new hash");
