// SPDX-License-Identifier: Apache-2.0
// A bound on a device's memory. Under one, results of ops are given up when room is needed and computed again when they are
// used (docs/design/010-rematerialisation.md). Without one, nothing is remembered and nothing costs.
#pragma once
#include <cstdint>

namespace tg {

class Device;

struct RematStats {
  uint64_t evictions = 0;       // results given up
  uint64_t evicted_bytes = 0;
  uint64_t rematerialised = 0;  // calls that ran again
  double seconds = 0;           // spent in these, on the calling threads
};

// Bytes that live storages, and the cache beside them, may hold; 0: no bound. Takes effect for calls from now on. An
// allocation that would exceed it evicts, and raises MemoryError where that is not enough.
void set_memory_limit(Device* device, uint64_t bytes);
uint64_t memory_limit(const Device* device);
RematStats remat_stats(const Device* device);

}  // namespace tg
