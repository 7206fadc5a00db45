// SPDX-License-Identifier: Apache-2.0
//
// tengen/registry.h - finds plugins, says what they offer and why one was refused, loads them, ranks them.
//
//   Registry registry;
//   registry.scan({});                                       // reads manifests; loads nothing
//   for (Candidate& c : registry.candidates())
//     if (c.usable()) registry.load(c, &host);               // nullptr: c.status and c.reason say why
//   for (LoadedPlugin* p : registry.loaded()) ...            // tables, rows, instance
//   registry.shutdown_all();                                 // by the host, at exit; libraries stay mapped
//
// Nothing here throws because of a bad plugin: a plugin that cannot serve costs one candidate with a reason sentence.
#ifndef TENGEN_REGISTRY_H_
#define TENGEN_REGISTRY_H_

#include <tengen/kernel_api.h>

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace tg::registry {

// ---- dtypes and dtype patterns
// ----------------------------------------------------------------------------------------

// Position in the masks of rows (TG_DT_*), -1 for a dtype without one. Names as in manifests: "f32", "bool".
int dtype_position(tg_dtype dtype);
const char* dtype_name(int position);  // "?" outside the list
std::optional<int> find_dtype(std::string_view name);
tg_dtype dtype_at(int position);  // position in [0, kDtypeCount)
inline constexpr int kDtypeCount = TG_DT_U4 + 1;

// Name of a TG_MAP_* opcode as manifests write it ("gelu_tanh"), nullptr outside the list.
const char* map_opcode_name(int opcode);
std::optional<int> find_map_opcode(std::string_view name);

// The `dtypes` text of a row (kernel_api.h, section 7), parsed. A repeated token ("T...") stands for one or more
// arguments and is the last of its side. Arguments beyond the tokens match only while absent.
class DtypePattern {
 public:
  // Throws std::invalid_argument with a sentence. `map_row`: the text holds the instruction dtype alone.
  static DtypePattern parse(std::string_view text, bool map_row);

  // The dtypes of a call. Bit i of the masks: argument i is present (wanted); arguments from 64 on always are.
  // `why`, if given, receives the first mismatch as a sentence.
  bool matches(std::span<const tg_dtype> inputs, std::span<const tg_dtype> outputs, uint64_t inputs_present = ~0ull,
               uint64_t outputs_wanted = ~0ull, std::string* why = nullptr) const;
  bool matches_instruction(tg_dtype dtype) const;  // rows of map
  bool is_map() const { return map_row_; }
  uint64_t instruction_mask() const { return inputs_.empty() ? 0 : allowed(inputs_[0]); }
  // True if some argument may have this dtype: for listings.
  bool mentions(int position) const;
  const std::string& text() const { return text_; }

 private:
  struct Token {
    uint64_t mask = 0;  // bit per TG_DT_*; bit 63: dtypes outside the list too
    int letter = -1;    // 0..25: equal dtype wherever the letter stands
  };
  struct Binding;
  uint64_t allowed(const Token& t) const { return t.letter < 0 ? t.mask : letters_[t.letter]; }
  bool match_side(std::span<const tg_dtype> args, uint64_t present, const std::vector<Token>& tokens, bool variadic,
                  const char* side, Binding& binding, std::string* why) const;

  std::string text_;
  std::vector<Token> inputs_, outputs_;
  bool variadic_inputs_ = false, variadic_outputs_ = false, map_row_ = false;
  uint64_t letters_[26] = {};
};

// The `layouts` text of a row, parsed: tags by argument, "" for a plain one. Arguments beyond the words are plain.
struct LayoutPattern {
  // Throws std::invalid_argument with a sentence.
  static LayoutPattern parse(std::string_view text);
  std::vector<std::string> inputs, outputs;
  bool any() const { return !inputs.empty() || !outputs.empty(); }  // some tag is there
  std::string_view input(size_t i) const { return i < inputs.size() ? std::string_view(inputs[i]) : std::string_view(); }
  std::string_view output(size_t i) const { return i < outputs.size() ? std::string_view(outputs[i]) : std::string_view(); }
};

// ---- manifest
// -----------------------------------------------------------------------------------------------------------

struct ManifestRow {
  std::string op, name, dtypes;
  std::string domain, features, layouts;  // "": not given
  uint32_t revision = 1;
  uint64_t bake_dims = 0, bake_strides = 0, packed = 0, alias = 0, opcodes = 0, casts = 0;
  int32_t score = 0;
  uint32_t flags = 0, max_insts = 0, max_rank = 0;
  DtypePattern pattern;
};

struct ManifestDevice {
  std::string kind, summary;
};

struct Manifest {
  std::string name, vendor, version, licence, summary;
  uint32_t abi_min = 0, abi_max = 0;                    // major << 16 | minor, as TG_ABI_VERSION
  std::map<std::string, std::vector<std::string>> cpu;  // architecture -> features that must be present
  std::vector<ManifestDevice> devices;
  std::vector<ManifestRow> kernels;
  bool fallback = false;  // "role": "fallback": ranks behind every other provider unless the user pins it
  std::string text;       // the bytes it was parsed from
};

// The message names file, JSON pointer, what was expected and what was found.
class ManifestError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

Manifest parse_manifest(std::string_view json, const std::string& file);  // throws ManifestError
std::string abi_text(uint32_t version);                                   // "0.9"
// "" if a host of `host` may load a plugin built for [min, max]; else a sentence.
std::string abi_refusal(uint32_t min, uint32_t max, uint32_t host = TG_ABI_VERSION);

// ---- what can be learnt of a library without loading it
// ----------------------------------------------------------------

struct ElfInfo {
  int bits = 0;  // 32 or 64
  bool little_endian = true;
  uint16_t type = 0, machine = 0;       // e_type, e_machine
  bool has_symbols = false;             // a dynamic symbol table was found
  std::vector<std::string> exports;     // defined global dynamic symbols (at most 4096 of them are kept)
  std::optional<std::string> manifest;  // section tg_manifest
  std::vector<std::string> needed;      // libraries that it names (DT_NEEDED)
  std::string runpath;                  // where it wants them looked for: "$ORIGIN/../lib"
};
// Bounds-checked; throws std::runtime_error with a sentence on anything that is not a well-formed ELF file.
ElfInfo read_elf(const std::filesystem::path& file);
// The libraries that a plugin brings along: what it (and they) need and its own search path finds. Links are resolved.
std::vector<std::filesystem::path> origin_dependencies(const std::filesystem::path& library);
std::string machine_name(uint16_t e_machine);
uint16_t native_machine();

// ---- this machine
// -------------------------------------------------------------------------------------------------------

const char* host_kind();                         // what users call the device that host memory is: "cpu"
const char* cpu_architecture();                  // "x86_64", "aarch64", ...
bool cpu_has(std::string_view feature);          // also enabled by the operating system; "avx512_vnni" == "avx512vnni"
const std::vector<std::string>& cpu_features();  // present ones, for people
// The features of a space-separated list that are absent, "" if none.
std::string missing_cpu_features(std::string_view list);

// ---- candidates
// ---------------------------------------------------------------------------------------------------------

enum class Source { kExplicit, kEnvironment, kExtra, kUser, kSystem };
enum class Status {
  kFound,        // passed every check that needs no loading
  kLoaded,       // open has succeeded
  kShadowed,     // an earlier directory has a plugin of that name
  kNotALibrary,  // no file, not ELF, not a shared library, no tg_plugin_query
  kWrongMachine,
  kBadManifest,  // none, or not valid, or beside and embedded differ
  kWrongAbi,
  kMissingCpu,
  kUnsafe,       // one of its files, or a directory above them, is writable by others
  kProbeFailed,  // crashed, hung or exited in the subprocess
  kLoadFailed,   // dlopen, query, table or open
  kClosed,       // shut down
};
const char* to_string(Source source);
const char* to_string(Status status);  // one or two words

struct Candidate {
  std::string name;                     // from the manifest, else from the file
  std::filesystem::path library;        // absolute, links resolved; empty if none was found
  std::filesystem::path manifest_file;  // empty: the embedded one is used
  std::optional<Manifest> manifest;     // absent if it could not be read
  Source source = Source::kExplicit;
  std::string origin;  // the directory or path that led here, as given
  Status status = Status::kFound;
  std::string reason;              // a sentence where status is not kFound or kLoaded
  std::vector<std::string> notes;  // what people should know though the plugin works

  bool usable() const { return status == Status::kFound || status == Status::kLoaded; }
};

struct ScanOptions {
  std::vector<std::string> paths;       // explicit API: libraries or directories
  std::vector<std::string> extra_dirs;  // after TENGEN_PLUGIN_PATH: libraries or directories
  bool environment = true;              // TENGEN_PLUGIN_PATH (never for a setuid process)
  bool user = true;                     // $XDG_DATA_HOME/tengen/plugins, else ~/.local/share/tengen/plugins
  bool system = true;                   // <prefix>/lib/tengen/plugins
};

// Loads nothing, throws nothing on a bad plugin. Order: search order, names sorted within a directory; a name met again
// is kShadowed. The working directory is never searched: relative entries count as refused.
std::vector<Candidate> scan(const ScanOptions& options = {});

// ---- probing
// ------------------------------------------------------------------------------------------------------------

enum class ProbePolicy { kAuto, kAlways, kNever };  // kAuto: only what the cache does not know

struct ProbeOptions {
  ProbePolicy policy = ProbePolicy::kAuto;
  std::filesystem::path executable;  // tengen-probe; empty: a forked child of this process does it
  std::filesystem::path cache;       // probe.json; empty: no cache
  double timeout_seconds = 10;
  // TENGEN_PROBE, TENGEN_PROBE_TIMEOUT, TENGEN_PROBE_EXECUTABLE, $XDG_CACHE_HOME; tengen-probe is also looked for
  // beside this library and this program (., ../bin, ../libexec/tengen).
  static ProbeOptions from_environment();
};

struct ProbedDevice {
  std::string kind, name, domain;
  uint64_t memory_bytes = 0;
};

struct ProbeResult {
  bool safe = false;  // query and open returned (open may have said no: then open_error is set)
  bool cached = false;
  std::string failure;  // if not safe: "was killed by signal 11 (Segmentation fault) in open"
  std::string refusal;  // safe, but it cannot be loaded: dlopen, query or its table said so
  uint32_t abi = 0;
  std::string name, open_error;
  std::vector<ProbedDevice> devices;
  double seconds = 0;
};
ProbeResult probe(const std::filesystem::path& library, const ProbeOptions& options);
// What an earlier probe of this very library said, if the cache has it and it is still believed; runs nothing.
std::optional<ProbeResult> known_verdict(const std::filesystem::path& library, const ProbeOptions& options);
// A probe's verdict becomes the candidate's, as loading would make it.
void take_verdict(Candidate& candidate, const ProbeResult& verdict);
// What tengen-probe runs: writes one JSON object to `fd`, stage by stage. Returns the exit status.
int probe_child(const char* library, int fd);

std::string sha256_hex(std::string_view bytes);
std::string sha256_file(const std::filesystem::path& file);  // throws std::runtime_error

// ---- loaded plugins
// -----------------------------------------------------------------------------------------------------

struct Row {
  tg_kernel_row row{};  // a copy; its strings live in the plugin, for ever. `domain`, `features` may be NULL
  DtypePattern pattern;
  LayoutPattern layouts;
  std::string missing_features;  // row of the domain host: what this processor lacks; then it must not be used
};

class LoadedPlugin {
 public:
  std::string name;
  std::filesystem::path library;
  Manifest manifest;
  tg_plugin table{};  // own copy; its `kernels` and `devices` point at the copies below (or are NULL)
  tg_kernel_api kernels{};
  tg_device_api devices{};
  uint32_t abi = 0;          // negotiated
  void* instance = nullptr;  // open's; NULL after shutdown (and in a plugin without state)
  std::vector<Row> rows;     // index = tg_call::row

  bool brings_devices() const { return table.devices != nullptr; }
  bool brings_kernels() const { return table.kernels != nullptr; }
  // Rows of an op, best score first.
  std::span<const uint32_t> rows_for(std::string_view op) const;
  const std::map<std::string, std::vector<uint32_t>, std::less<>>& rows_by_op() const { return by_op_; }
  const void* extension(const char* extension_name) const {
    return table.extension && open_ ? table.extension(instance, extension_name) : nullptr;
  }
  bool is_open() const { return open_; }
  const std::string& sha256() const;  // of the library; computed on first use

 private:
  friend class Registry;
  std::map<std::string, std::vector<uint32_t>, std::less<>> by_op_;
  mutable std::once_flag sha_once_;
  mutable std::string sha_;
  std::atomic<bool> open_{false};
};

// Thread-safe but for references into candidates(), which the next scan invalidates.
class Registry {
 public:
  explicit Registry(ProbeOptions probe = ProbeOptions::from_environment());
  ~Registry();  // does not shut plugins down: shutdown_all is the host's to call while its threads still run
  Registry(const Registry&) = delete;
  Registry& operator=(const Registry&) = delete;

  // Adds what a scan finds; candidates that are loaded already stay.
  std::vector<Candidate>& scan(const ScanOptions& options = {});
  std::vector<Candidate>& candidates() { return candidates_; }
  // Probe, dlopen, query, validate, open. nullptr on failure, with status and reason set in the candidate. A candidate
  // that is loaded returns its plugin again. `host` outlives shutdown_all.
  LoadedPlugin* load(Candidate& candidate, const tg_host* host);
  std::vector<LoadedPlugin*> loaded() const;  // open ones, in loading order
  LoadedPlugin* find(std::string_view name) const;
  // In reverse order of loading; the libraries stay mapped. A plugin cannot be opened a second time in one process.
  void shutdown_all();

 private:
  LoadedPlugin* load_locked(Candidate& candidate, const tg_host* host);
  mutable std::mutex mutex_;
  ProbeOptions probe_;
  std::vector<Candidate> candidates_;
  std::vector<std::unique_ptr<LoadedPlugin>> plugins_;
};

// ---- ranking
// ------------------------------------------------------------------------------------------------------------

struct Provider {
  std::string name;
  bool fallback = false;  // Manifest::fallback
};

struct RankPolicy {
  std::vector<std::string> pin;     // the user's order, TENGEN_PLUGIN
  bool only = false;                // those alone serve, the others are left out
  std::vector<std::string> prefer;  // the application's order
  std::string device_provider;      // owner of the memory domain; "": host
  // Measured time of a provider for the question at hand; nullopt: not measured. Unmeasured ones follow measured ones.
  std::function<std::optional<double>(const std::string& plugin)> measured;
};

struct Ranked {
  size_t index = 0;    // into the providers given
  std::string reason;  // "pinned by the user (1 of 2)"
  bool left_out = false;  // by RankPolicy::only; such providers come last
};
// Best first: pin > policy > measurement > the device's own provider > name; fallbacks last unless pinned.
std::vector<Ranked> rank(std::span<const Provider> providers, const RankPolicy& policy);

// TENGEN_PLUGIN: "a,b" puts these first, "only:a,b" lets nobody else serve.
struct Pin {
  std::vector<std::string> names;
  bool only = false;
};
Pin pin_from_environment();

}  // namespace tg::registry
#endif  // TENGEN_REGISTRY_H_
