// SPDX-License-Identifier: Apache-2.0
//
// Parses and checks <name>.plugin.json. The published form of the same rules is kernel_api/plugin.schema.json; what a
// schema cannot say (letters of dtype patterns, names used twice) is checked here alone. Keys beginning with "x-" are
// the vendor's own; other unknown keys are mistakes, except in a manifest for an ABI newer than this host's.
#include <nlohmann/json.hpp>
#include <set>

#include "internal.h"

namespace tg::registry {
namespace {

using nlohmann::json;

constexpr size_t kMaxText = 16u << 20;
constexpr size_t kMaxRows = 4096;

class Reader {
 public:
  Reader(const std::string& file, bool lenient) : file_(file), lenient_(lenient) {}

  [[noreturn]] void fail(const std::string& pointer, const std::string& expected, const json& got) const {
    std::string text = got.dump(-1, ' ', false, json::error_handler_t::replace);
    if (text.size() > 80) text = text.substr(0, 77) + "...";
    fail_text(pointer, "expected " + expected + ", got " + text);
  }
  [[noreturn]] void fail_text(const std::string& pointer, const std::string& what) const {
    throw ManifestError(file_ + ": " + (pointer.empty() ? "/" : pointer) + ": " + what);
  }

  const json* get(const json& object, const std::string& pointer, const char* key, bool required) const {
    const auto it = object.find(key);
    if (it != object.end()) return &*it;
    if (required) fail_text(pointer + "/" + key, "expected this key, found none");
    return nullptr;
  }

  // The C file written from a manifest quotes strings verbatim: no quotes, backslashes or control characters.
  std::string string(const json& object, const std::string& pointer, const char* key, bool required) const {
    const json* v = get(object, pointer, key, required);
    if (!v) return "";
    const std::string at = pointer + "/" + key;
    if (!v->is_string()) fail(at, "a string", *v);
    const auto& s = v->get_ref<const std::string&>();
    if (s.empty()) fail(at, "a non-empty string", *v);
    for (unsigned char c : s) {
      if (c < 0x20 || c == 0x7f || c == '"' || c == '\\')
        fail(at, "a string without quotes, backslashes and control characters", *v);
    }
    return s;
  }

  int64_t integer(const json& object, const std::string& pointer, const char* key, int64_t fallback, int64_t lowest,
                  int64_t highest) const {
    const json* v = get(object, pointer, key, false);
    if (!v) return fallback;
    const bool fits = v->is_number_unsigned() ? v->get<uint64_t>() <= uint64_t(highest) : v->is_number_integer();
    if (!fits || v->get<int64_t>() < lowest || v->get<int64_t>() > highest)
      fail(pointer + "/" + key, format("an integer from %lld to %lld", (long long)lowest, (long long)highest), *v);
    return v->get<int64_t>();
  }

  void known_keys(const json& object, const std::string& pointer, std::initializer_list<const char*> keys) const {
    for (const auto& [key, value] : object.items()) {
      if (key.starts_with("x-") || lenient_) continue;
      bool known = false;
      std::string all;
      for (const char* k : keys) {
        known |= key == k;
        all += (all.empty() ? "" : ", ") + std::string(k);
      }
      if (!known) fail_text(pointer + "/" + key, "unknown key; expected one of " + all + " or a key beginning with x-");
    }
  }

  // "a b c" -> words; exactly one space between them, because the build splits them so.
  std::vector<std::string> words(const std::string& text, const std::string& pointer) const {
    std::vector<std::string> out = split(text, ' ');
    if (out.empty() || join(out, " ") != text) fail(pointer, "words with one space between them", json(text));
    return out;
  }

 private:
  std::string file_;
  bool lenient_;
};

bool matches_chars(std::string_view s, const char* allowed) {
  return !s.empty() && s.find_first_not_of(allowed) == std::string_view::npos;
}
constexpr char kNameChars[] = "abcdefghijklmnopqrstuvwxyz0123456789_";

bool valid_op(std::string_view op) {
  const size_t colons = op.find("::");
  if (colons != std::string_view::npos) return valid_name(op.substr(0, colons)) && valid_name(op.substr(colons + 2));
  return valid_name(op);
}

bool valid_version(const std::string& v) {  // major.minor.patch[-pre][+build]
  const size_t tail = v.find_first_of("-+");
  const std::string core = v.substr(0, tail);
  const auto parts = split(core, '.');
  if (parts.size() != 3 || join(parts, ".") != core) return false;
  for (const auto& p : parts) {
    if (!matches_chars(p, "0123456789") || p.size() > 9) return false;
  }
  return tail == std::string::npos ||
         (tail + 1 < v.size() &&
          v.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-+", tail) ==
              std::string::npos);
}

uint32_t abi_version(const Reader& r, const json& abi, const char* key) {
  const std::string text = r.string(abi, "/abi", key, true);
  const auto parts = split(text, '.');
  bool ok = parts.size() == 2 && join(parts, ".") == text;
  for (const auto& p : parts) ok = ok && matches_chars(p, "0123456789") && p.size() <= 4;
  if (!ok) r.fail(std::string("/abi/") + key, "an ABI version like \"0.9\"", abi.at(key));
  return uint32_t(std::stoul(parts[0])) << 16 | uint32_t(std::stoul(parts[1]));
}

// "in0 out1", "inputs", "outputs", "all" -> the masks of tg_kernel_row
uint64_t argument_mask(const Reader& r, const json& row, const std::string& pointer, const char* key) {
  const std::string text = r.string(row, pointer, key, false);
  if (text.empty()) return 0;
  const std::string at = pointer + "/" + key;
  if (text == "all") return ~uint64_t(0);
  uint64_t mask = 0;
  for (const auto& word : r.words(text, at)) {
    if (word == "inputs") {
      mask |= 0xffffffffull;
    } else if (word == "outputs") {
      mask |= 0xffffffff00000000ull;
    } else {
      const int base = word.starts_with("in") ? 2 : word.starts_with("out") ? 3 : 0;
      const std::string digits = base ? word.substr(size_t(base)) : "";
      if (!matches_chars(digits, "0123456789") || digits.size() > 2 || std::stoi(digits) > 31)
        r.fail(at, "in<i> or out<i> with i from 0 to 31, inputs, outputs, or all alone", json(word));
      mask |= uint64_t(1) << (std::stoi(digits) + (base == 3 ? 32 : 0));
    }
  }
  return mask;
}

uint64_t alias_mask(const Reader& r, const json& row, const std::string& pointer) {
  const std::string text = r.string(row, pointer, "alias", false);
  if (text.empty()) return 0;
  uint64_t mask = 0;
  for (const auto& pair : r.words(text, pointer + "/alias")) {
    unsigned out = 8, in = 8;
    if (pair.size() == 8) {
      out = unsigned(pair[3] - '0');
      in = unsigned(pair[7] - '0');
    }
    if (out > 7 || in > 7 || pair != format("out%u=in%u", out, in))
      r.fail(pointer + "/alias", "out<i>=in<j> with i and j from 0 to 7", json(pair));
    mask |= uint64_t(1) << (8 * out + in);
  }
  return mask;
}

uint64_t opcode_mask(const Reader& r, const json& row, const std::string& pointer) {
  const std::string text = r.string(row, pointer, "opcodes", false);
  if (text.empty()) return 0;
  uint64_t mask = 0;
  for (const auto& word : r.words(text, pointer + "/opcodes")) {
    if (word == "all") {
      mask |= (uint64_t(1) << TG_MAP_END) - 2;
    } else if (word == "mandatory") {
      mask |= (uint64_t(1) << TG_MAP_MANDATORY_END) - 2;
    } else if (const auto opcode = find_map_opcode(word)) {
      mask |= uint64_t(1) << *opcode;
    } else {
      r.fail(pointer + "/opcodes", "names of map opcodes in lower case, mandatory, or all", json(word));
    }
  }
  return mask;
}

ManifestRow parse_row(const Reader& r, const json& row, const std::string& at, const std::string& plugin) {
  if (!row.is_object()) r.fail(at, "an object", row);
  r.known_keys(row, at,
               {"op", "name", "revision", "dtypes", "domain", "features", "bake_dims", "bake_strides", "packed",
                "alias", "opcodes", "casts", "score", "flags", "max_insts", "max_rank", "layouts"});
  ManifestRow out;
  out.op = r.string(row, at, "op", true);
  if (!valid_op(out.op)) r.fail(at + "/op", "an op like softmax or vendor::name ([a-z0-9_]+)", row.at("op"));
  out.name = r.string(row, at, "name", false);
  if (out.name.empty()) out.name = plugin + "." + out.op;
  out.dtypes = r.string(row, at, "dtypes", true);
  const bool map = out.op == "map";
  try {
    out.pattern = DtypePattern::parse(out.dtypes, map);
  } catch (const std::invalid_argument& e) {
    r.fail_text(at + "/dtypes", e.what());
  }
  out.domain = r.string(row, at, "domain", false);
  if (!out.domain.empty() && out.domain != "host") {
    const size_t colon = out.domain.find(':');
    if (colon == std::string::npos || !valid_name(out.domain.substr(0, colon)) || out.domain.substr(colon) != ":*")
      r.fail(at + "/domain", "\"host\" or \"<kind>:*\", or no such key for the plugin's own devices", row.at("domain"));
  }
  out.features = r.string(row, at, "features", false);
  if (!out.features.empty()) r.words(out.features, at + "/features");
  out.revision = uint32_t(r.integer(row, at, "revision", 1, 1, 0xffff));
  out.bake_dims = argument_mask(r, row, at, "bake_dims");
  out.bake_strides = argument_mask(r, row, at, "bake_strides");
  out.packed = argument_mask(r, row, at, "packed");
  out.alias = alias_mask(r, row, at);
  out.opcodes = opcode_mask(r, row, at);
  const std::string casts = r.string(row, at, "casts", false);
  if (!casts.empty()) {
    for (const auto& word : r.words(casts, at + "/casts")) {
      const auto dtype = find_dtype(word);
      if (!dtype) r.fail(at + "/casts", "dtype names", json(word));
      out.casts |= uint64_t(1) << *dtype;
    }
  }
  if (map && !out.opcodes) r.fail_text(at + "/opcodes", "expected the opcodes of a row of map, found none");
  if (!map && (out.opcodes || out.casts || row.contains("max_insts")))
    r.fail_text(at, "opcodes, casts and max_insts belong to rows of map; this one is of " + out.op);
  out.score = int32_t(r.integer(row, at, "score", 0, INT32_MIN, INT32_MAX));
  const std::string flags = r.string(row, at, "flags", false);
  if (!flags.empty()) {
    for (const auto& word : r.words(flags, at + "/flags")) {
      if (word == "nondeterministic") {
        out.flags |= TG_ROW_NONDETERMINISTIC;
      } else if (word == "async") {
        out.flags |= TG_ROW_ASYNC;
      } else {
        r.fail(at + "/flags", "nondeterministic or async", json(word));
      }
    }
  }
  out.max_insts = uint32_t(r.integer(row, at, "max_insts", 0, 0, INT32_MAX));
  out.max_rank = uint32_t(r.integer(row, at, "max_rank", 0, 0, TG_MAX_RANK));
  out.layouts = r.string(row, at, "layouts", false);
  if (map && !out.layouts.empty()) r.fail_text(at + "/layouts", "rows of map take plain arguments alone");
  if (!out.layouts.empty()) {
    try {
      LayoutPattern::parse(out.layouts);
    } catch (const std::invalid_argument& e) {
      r.fail_text(at + "/layouts", e.what());
    }
  }
  return out;
}

// A key given twice is a mistake that a parser would otherwise settle silently; deep nesting is refused.
json parse_strict(std::string_view text, const std::string& file) {
  if (text.size() > kMaxText)
    throw ManifestError(file + ": expected at most 16 MiB, got " + std::to_string(text.size()));
  // The parser would take a NUL for the end and leave what follows unread.
  if (text.find('\0') != std::string_view::npos)
    throw ManifestError(file + ": expected valid JSON, found a NUL byte in it");
  std::vector<std::set<std::string>> keys;
  const auto watch = [&](int depth, json::parse_event_t event, json& value) {
    if (depth > 16) throw ManifestError(file + ": values are nested deeper than 16 levels");
    if (event == json::parse_event_t::object_start) keys.emplace_back();
    if (event == json::parse_event_t::object_end && !keys.empty()) keys.pop_back();
    if (event == json::parse_event_t::key && !keys.empty()) {
      const auto& key = value.get_ref<const std::string&>();
      if (!keys.back().insert(key).second)
        throw ManifestError(file + ": key \"" + key + "\" is given twice in one object");
    }
    return true;
  };
  try {
    return json::parse(text, watch);
  } catch (const json::parse_error& e) {
    size_t line = 1, column = 1;
    for (size_t i = 0; i + 1 < e.byte && i < text.size(); ++i) {
      column = text[i] == '\n' ? 1 : column + 1;
      line += text[i] == '\n';
    }
    throw ManifestError(format("%s: line %zu, column %zu: expected valid JSON", file.c_str(), line, column));
  }
}

}  // namespace

bool valid_name(std::string_view name) { return name.size() <= 64 && matches_chars(name, kNameChars); }

std::string abi_text(uint32_t version) { return format("%u.%u", version >> 16, version & 0xffff); }

std::string abi_refusal(uint32_t min, uint32_t max, uint32_t host) {
  const std::string built = min == max ? abi_text(min) : abi_text(min) + " to " + abi_text(max);
  if (host >> 16 == 0) {  // proving time: equal versions only
    if (min <= host && host <= max) return "";
    return "it is built for ABI " + built + ", this Tengen speaks " + abi_text(host) +
           "; while the major is 0 both must be equal: install the plugin's build for ABI " + abi_text(host);
  }
  if (min >> 16 <= host >> 16 && host >> 16 <= max >> 16 && min <= host) return "";
  return "it is built for ABI " + built + ", this Tengen speaks " + abi_text(host) + "; install a matching " +
         (min > host ? "newer Tengen" : "newer build of the plugin");
}

Manifest parse_manifest(std::string_view text, const std::string& file) {
  const json root = parse_strict(text, file);
  const Reader probe(file, true);
  if (!root.is_object()) probe.fail("", "an object", root);
  Manifest m;
  m.text = text;

  const json& abi = *probe.get(root, "", "abi", true);
  if (!abi.is_object()) probe.fail("/abi", "an object {\"min\": \"0.9\", \"max\": \"0.9\"}", abi);
  m.abi_min = abi_version(probe, abi, "min");
  m.abi_max = abi_version(probe, abi, "max");
  if (m.abi_min > m.abi_max) probe.fail_text("/abi", "min is greater than max");

  const Reader r(file, m.abi_max > TG_ABI_VERSION);
  r.known_keys(abi, "/abi", {"min", "max"});
  r.known_keys(
      root, "",
      {"$schema", "name", "vendor", "version", "licence", "summary", "role", "abi", "cpu", "devices", "kernels"});
  m.name = r.string(root, "", "name", true);
  if (!valid_name(m.name)) r.fail("/name", "a name of at most 64 characters [a-z0-9_]", root.at("name"));
  m.vendor = r.string(root, "", "vendor", true);
  m.version = r.string(root, "", "version", true);
  if (!valid_version(m.version)) r.fail("/version", "a semantic version like 1.2.3", root.at("version"));
  m.licence = r.string(root, "", "licence", true);
  m.summary = r.string(root, "", "summary", false);
  const std::string role = r.string(root, "", "role", false);
  if (!role.empty() && role != "fallback") r.fail("/role", "\"fallback\" or no such key", root.at("role"));
  m.fallback = !role.empty();

  if (const json* cpu = r.get(root, "", "cpu", false)) {
    if (!cpu->is_object()) r.fail("/cpu", "an object from architecture to feature lists", *cpu);
    for (const auto& [arch, list] : cpu->items()) {
      const std::string at = "/cpu/" + arch;
      if (arch.starts_with("x-")) continue;
      if (!valid_name(arch)) r.fail_text(at, "expected an architecture like x86_64 or aarch64");
      if (!list.is_array()) r.fail(at, "an array of feature names", list);
      auto& features = m.cpu[arch];
      for (size_t i = 0; i < list.size(); ++i) {
        if (!list[i].is_string() ||
            !matches_chars(list[i].get_ref<const std::string&>(), "abcdefghijklmnopqrstuvwxyz0123456789_."))
          r.fail(at + "/" + std::to_string(i), "a feature name [a-z0-9_.]+", list[i]);
        features.push_back(list[i].get<std::string>());
      }
    }
  }

  if (const json* devices = r.get(root, "", "devices", false)) {
    if (!devices->is_array()) r.fail("/devices", "an array", *devices);
    for (size_t i = 0; i < devices->size(); ++i) {
      const std::string at = "/devices/" + std::to_string(i);
      const json& d = (*devices)[i];
      if (!d.is_object()) r.fail(at, "an object {\"kind\": ..., \"summary\": ...}", d);
      r.known_keys(d, at, {"kind", "summary"});
      ManifestDevice device{r.string(d, at, "kind", true), r.string(d, at, "summary", false)};
      if (!valid_name(device.kind) || device.kind == "host")
        r.fail(at + "/kind", "a device kind [a-z0-9_]+ other than host", d.at("kind"));
      for (const auto& other : m.devices) {
        if (other.kind == device.kind) r.fail_text(at + "/kind", "kind " + device.kind + " is listed twice");
      }
      m.devices.push_back(std::move(device));
    }
  }

  if (const json* kernels = r.get(root, "", "kernels", false)) {
    if (!kernels->is_array()) r.fail("/kernels", "an array", *kernels);
    if (kernels->size() > kMaxRows)
      r.fail_text("/kernels", format("expected at most %zu rows, got %zu", kMaxRows, kernels->size()));
    for (size_t i = 0; i < kernels->size(); ++i)
      m.kernels.push_back(parse_row(r, (*kernels)[i], "/kernels/" + std::to_string(i), m.name));
  }
  if (m.kernels.empty() && m.devices.empty())
    r.fail_text("", "expected kernels, devices or both: the plugin offers nothing");
  for (size_t i = 0; i < m.kernels.size(); ++i) {
    if (m.kernels[i].domain.empty() && m.devices.empty())
      r.fail_text(format("/kernels/%zu/domain", i),
                  "expected \"host\" or \"<kind>:*\": the plugin has no devices of its own");
  }
  return m;
}

}  // namespace tg::registry
