// SPDX-License-Identifier: Apache-2.0
//
// What the registry's sources share and its users do not see.
#ifndef TENGEN_REGISTRY_INTERNAL_H_
#define TENGEN_REGISTRY_INTERNAL_H_

#include <tengen/registry.h>

#include <cstdarg>
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

namespace tg::registry {

__attribute__((format(printf, 1, 2))) inline std::string format(const char* text, ...) {
  va_list args, again;
  va_start(args, text);
  va_copy(again, args);
  const int n = std::vsnprintf(nullptr, 0, text, args);
  va_end(args);
  std::string s(n > 0 ? n : 0, '\0');
  if (n > 0) std::vsnprintf(s.data(), s.size() + 1, text, again);
  va_end(again);
  return s;
}

// Pieces between separators; empty pieces are left out.
inline std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> out;
  while (!text.empty()) {
    const size_t end = text.find(separator);
    const std::string_view piece = text.substr(0, end);
    if (!piece.empty()) out.emplace_back(piece);
    if (end == std::string_view::npos) break;
    text.remove_prefix(end + 1);
  }
  return out;
}

inline std::string join(const std::vector<std::string>& words, const char* separator) {
  std::string out;
  for (const auto& w : words) out += (out.empty() ? "" : separator) + w;
  return out;
}

// "" outside a setuid process and where the variable is unset.
std::string environment(const char* name);

// "[a-z0-9_]+"
bool valid_name(std::string_view name);

// Whole small file, or nullopt with the reason in *error. Refuses more than `limit` bytes.
std::optional<std::string> read_small_file(const std::filesystem::path& file, size_t limit, std::string* error);

// dlopen by absolute path, RTLD_NOW | RTLD_LOCAL. The handle is kept for ever: unloading code that may have started
// threads or registered exit handlers is never safe. Throws std::runtime_error with the loader's sentence.
tg_plugin_query_fn open_library(const std::filesystem::path& library);

// Copies the table, its function tables and rows into `out`, each by min(sizes) into zeroed structs. "" or what is
// wrong.
std::string copy_table(const tg_plugin* theirs, LoadedPlugin& out);

// Compares what the library says with what its manifest says. "" or what differs.
std::string compare_with_manifest(const LoadedPlugin& plugin, const Manifest& manifest);

// Calls the plugin's open. "" or its refusal.
std::string call_open(LoadedPlugin& plugin, const tg_host* host);

}  // namespace tg::registry
#endif  // TENGEN_REGISTRY_INTERNAL_H_
