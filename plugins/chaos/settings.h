// SPDX-License-Identifier: Apache-2.0
//
// What the environment can ask of the chaos device. Read once, in open; a value that is no number fails open.
//
//   TENGEN_CHAOS_MEMORY=BYTES       of each device (default 2 GiB)
//   TENGEN_CHAOS_SEED=N             of the random delays (default 1)
//   TENGEN_CHAOS_DELAY_US=N         one task in eight is delayed by up to N microseconds (default 20; 0: no delays)
//   TENGEN_CHAOS_DELAY_EVERY=N      one task in N instead of eight; 1: every task
//   TENGEN_CHAOS_FAIL_LAUNCH=N      the Nth plan_run of the process fails, in its stream
//   TENGEN_CHAOS_FAIL_ALLOC=N       the Nth alloc finds no memory (the one after it does)
//   TENGEN_CHAOS_LOSE_DEVICE=N      the Nth plan_run loses its device, for good
#pragma once

#include <cstdint>
#include <cstdlib>

#include <tengen/kernel_api.hpp>

namespace tg::chaos {

struct Settings {
  uint64_t memory = number("TENGEN_CHAOS_MEMORY", uint64_t(2) << 30);
  uint64_t seed = number("TENGEN_CHAOS_SEED", 1);
  uint64_t delay_us = number("TENGEN_CHAOS_DELAY_US", 20);
  uint64_t delay_every = number("TENGEN_CHAOS_DELAY_EVERY", 8);
  uint64_t fail_launch = number("TENGEN_CHAOS_FAIL_LAUNCH", 0);
  uint64_t fail_alloc = number("TENGEN_CHAOS_FAIL_ALLOC", 0);
  uint64_t lose_device = number("TENGEN_CHAOS_LOSE_DEVICE", 0);

 private:
  static uint64_t number(const char* name, uint64_t otherwise) {
    const char* text = std::getenv(name);
    if (!text || !*text) return otherwise;
    char* end = nullptr;
    const unsigned long long value = std::strtoull(text, &end, 10);
    if (*end || *text == '-') plugin::fail(TG_INVALID_ARGUMENT, "%s: expected a whole number, got '%s'", name, text);
    return value;
  }
};

}  // namespace tg::chaos
