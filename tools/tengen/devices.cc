// SPDX-License-Identifier: Apache-2.0
// tengen devices: all devices, usable or not, and the one that would be chosen. Exit code 1: none is usable.
#include <tengen/runtime.h>

#include <cstdio>

#include "commands.h"

namespace tg::cli {

int run_devices(const Context& context) {
  prepare_core();
  const auto list = devices();
  std::string chosen, reason;
  bool usable = false;
  for (const auto& d : list) usable |= d.usable;
  if (usable) {
    chosen = device_name(default_device());
    reason = default_device_reason();
  }
  Table table({{"name", "DEVICE"},
               {"usable", "USABLE"},
               {"default", ""},
               {"kind", ""},
               {"product", "PRODUCT"},
               {"memory_bytes", ""},
               {"memory_free", ""},
               {"memory", "MEMORY"},
               {"provider", "PROVIDER"},
               {"domain", ""},
               {"reason", "WHY"}});
  for (const auto& d : list) {
    const bool is_default = d.name == chosen;
    table.row({Cell(d.name, is_default ? Style::kBold : Style::kPlain),
               Cell(d.usable ? "yes" : "no", d.usable ? Style::kGood : Style::kBad, d.usable ? "true" : "false"),
               Cell("", Style::kPlain, is_default ? "true" : "false"), d.kind, d.product,
               number((long long)d.memory_bytes), number((long long)d.memory_free),
               (d.memory_free ? bytes_text(d.memory_free) + " free of " : "") +
                   (d.memory_bytes ? bytes_text(d.memory_bytes) : ""),
               d.provider,
               d.domain, d.reason});
  }
  table.print(context);
  if (!context.json && usable) std::printf("\n%s\n", wrap(context, "chosen: " + reason, 2).c_str());
  return usable ? kOk : kNone;
}

}  // namespace tg::cli
