// SPDX-License-Identifier: Apache-2.0
// Any bytes are a manifest or a ManifestError; a manifest keeps its promises.
#include <tengen/registry.h>

#include "bytes.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tg::registry;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    const Manifest m = parse_manifest(text, "fuzz.plugin.json");
    tg::fuzz::must(m.text == text, "a manifest knows its bytes");
    tg::fuzz::must(!m.name.empty() && m.name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_") == std::string::npos, "a name");
    tg::fuzz::must(m.abi_min <= m.abi_max, "abi.min <= abi.max");
    for (const ManifestRow& r : m.kernels) {
      tg::fuzz::must(!r.op.empty() && DtypePattern::parse(r.dtypes, r.op == "map").text() == r.pattern.text(), "a row's dtypes parse");
      r.pattern.mentions(0);
      const tg_dtype some[] = {dtype_at(0), dtype_at(1), dtype_at(0)};
      std::string why;
      if (!r.pattern.is_map()) r.pattern.matches({some, size % 4}, {some, 1}, ~0ull, ~0ull, &why);
      missing_cpu_features(r.features);
    }
    abi_refusal(m.abi_min, m.abi_max);
  } catch (const ManifestError& e) {
    tg::fuzz::must(std::string_view(e.what()).starts_with("fuzz.plugin.json: "), "an error names the file");
  }
  return 0;
}
