// SPDX-License-Identifier: Apache-2.0
//
// Finds plugins in the search order and checks what can be checked from outside. No plugin code runs here.
#include <elf.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <set>

#include "internal.h"

namespace tg::registry {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxManifest = 16u << 20;
constexpr char kManifestSuffix[] = ".plugin.json";

struct Place {
  std::string path;
  Source source;
  bool optional;  // need not exist
};

std::vector<Place> places(const ScanOptions& options) {
  std::vector<Place> out;
  for (const auto& p : options.paths) out.push_back({p, Source::kExplicit, false});
  if (options.environment) {
    for (const auto& p : split(environment("TENGEN_PLUGIN_PATH"), ':')) out.push_back({p, Source::kEnvironment, false});
  }
  for (const auto& p : options.extra_dirs) out.push_back({p, Source::kExtra, false});
  if (options.user) {
    std::string data = environment("XDG_DATA_HOME");
    if (data.empty() || data[0] != '/') {
      std::string home = environment("HOME");
      if (home.empty()) {
        const passwd* user = getpwuid(geteuid());
        if (user && user->pw_dir) home = user->pw_dir;
      }
      data = home.empty() || home[0] != '/' ? "" : home + "/.local/share";
    }
    if (!data.empty()) out.push_back({data + "/tengen/plugins", Source::kUser, true});
  }
  if (options.system) out.push_back({TG_SYSTEM_PLUGIN_DIR, Source::kSystem, true});
  return out;
}

// "libtengen_cpu.so" -> "cpu"; "" for other names
std::string plugin_of_library(const std::string& file) {
  if (!file.starts_with("libtengen_") || !file.ends_with(".so")) return "";
  const std::string name = file.substr(10, file.size() - 13);
  return valid_name(name) ? name : "";
}

std::string plugin_of_manifest(const std::string& file) {
  if (!file.ends_with(kManifestSuffix)) return "";
  const std::string name = file.substr(0, file.size() - (sizeof kManifestSuffix - 1));
  return valid_name(name) ? name : "";
}

// A sentence if someone but the owner and his group could replace what lies at `path`.
std::string writable_by_others(const fs::path& path, bool sticky_counts = true) {
  struct stat st;
  if (stat(path.c_str(), &st) != 0) return format("%s cannot be examined (%s)", path.c_str(), std::strerror(errno));
  if ((st.st_mode & S_IWOTH) && (sticky_counts || !(st.st_mode & S_ISVTX))) {
    return format(
        "%s is writable by every user of this machine (mode %03o), so it may hold anybody's code; run "
        "chmod o-w %s if it is yours",
        path.c_str(), unsigned(st.st_mode & 0777), path.c_str());
  }
  return "";
}

// The same of a file and of every directory above it: who may rename a directory replaces all that is in it. Higher up a
// sticky directory (/tmp) will do, because there nobody moves what is another's; beside the file it will not, because
// there anybody may add one.
std::string replaceable_by_others(const fs::path& file) {
  if (std::string why = writable_by_others(file); !why.empty()) return why;
  bool beside = true;
  for (fs::path dir = file.parent_path();; dir = dir.parent_path()) {
    if (std::string why = writable_by_others(dir, beside); !why.empty()) return why;
    if (dir == dir.parent_path()) return "";
    beside = false;
  }
}

class Checker {
 public:
  Checker(Candidate& c, fs::path as_found) : c_(c), as_found_(std::move(as_found)) {}

  void run() {
    if (!resolve()) return;
    ElfInfo elf;
    try {
      elf = read_elf(c_.library);
    } catch (const std::exception& e) {
      read_manifest(nullptr);
      return refuse(Status::kNotALibrary, c_.library.string() + " " + e.what());
    }
    const bool manifest_ok = read_manifest(elf.manifest ? &*elf.manifest : nullptr);
    const Status manifest_status = c_.status;
    const std::string manifest_reason = c_.reason;
    c_.status = Status::kFound;
    c_.reason.clear();

    if (elf.type != ET_DYN)
      return refuse(Status::kNotALibrary, c_.library.string() + " is ELF but not a shared library");
    const int native_bits = int(sizeof(void*)) * 8;
    const bool little = std::endian::native == std::endian::little;
    if (elf.machine != native_machine() || elf.bits != native_bits || elf.little_endian != little) {
      return refuse(Status::kWrongMachine, format("it is built for %s (%d bits, %s endian), this machine is %s",
                                                  machine_name(elf.machine).c_str(), elf.bits,
                                                  elf.little_endian ? "little" : "big", cpu_architecture()));
    }
    if (!elf.has_symbols || std::find(elf.exports.begin(), elf.exports.end(), "tg_plugin_query") == elf.exports.end())
      return refuse(Status::kNotALibrary, c_.library.string() + " does not export tg_plugin_query");
    if (!manifest_ok) return refuse(manifest_status, manifest_reason);
    if (elf.exports.size() > 1) {
      c_.notes.push_back(
          format("it exports %zu symbols; a plugin should export tg_plugin_query alone", elf.exports.size()));
    }

    std::vector<fs::path> files{c_.library, as_found_};
    if (!c_.manifest_file.empty()) files.insert(files.end(), {c_.manifest_file, fs::canonical(c_.manifest_file)});
    for (fs::path& dependency : origin_dependencies(c_.library)) files.push_back(std::move(dependency));
    for (const fs::path& file : files) {
      const std::string why = replaceable_by_others(file);
      if (!why.empty()) return refuse(Status::kUnsafe, why);
    }
    const std::string abi = abi_refusal(c_.manifest->abi_min, c_.manifest->abi_max);
    if (!abi.empty()) return refuse(Status::kWrongAbi, abi);
    const auto cpu = c_.manifest->cpu.find(cpu_architecture());
    if (cpu != c_.manifest->cpu.end()) {
      const std::string missing = missing_cpu_features(join(cpu->second, " "));
      if (!missing.empty())
        return refuse(Status::kMissingCpu,
                      "it needs CPU features that this machine does not have or the system has not "
                      "switched on: " +
                          missing);
    }
  }

 private:
  void refuse(Status status, std::string reason) {
    c_.status = status;
    c_.reason = std::move(reason);
  }

  bool resolve() {
    std::error_code error;
    c_.library = fs::canonical(as_found_, error);
    if (!error) return true;
    c_.library.clear();
    if (!c_.manifest_file.empty()) {
      read_manifest(nullptr);
      refuse(Status::kNotALibrary,
             c_.manifest_file.string() + " has no library libtengen_" + c_.name + ".so beside it");
    } else {
      refuse(Status::kNotALibrary, as_found_.string() + " cannot be found (" + error.message() + ")");
    }
    return false;
  }

  bool read_manifest(const std::string* embedded) {
    std::optional<Manifest> beside, inside;
    try {
      if (!c_.manifest_file.empty()) {
        std::string error;
        const auto text = read_small_file(c_.manifest_file, kMaxManifest, &error);
        if (!text) throw ManifestError(c_.manifest_file.string() + ": cannot be read (" + error + ")");
        beside = parse_manifest(*text, c_.manifest_file.string());
      }
      if (embedded) inside = parse_manifest(*embedded, c_.library.string() + "[tg_manifest]");
    } catch (const ManifestError& e) {
      refuse(Status::kBadManifest, e.what());
      return false;
    }
    if (!beside && !inside) {
      refuse(Status::kBadManifest, "there is no manifest: neither " + c_.name +
                                       ".plugin.json beside the library nor a "
                                       "section tg_manifest in it; build it with tengen_add_plugin()");
      return false;
    }
    const bool differ = beside && inside && beside->text != inside->text;
    c_.manifest = inside ? std::move(inside) : std::move(beside);
    if (differ) {
      refuse(Status::kBadManifest, c_.manifest_file.string() + " differs from the manifest embedded in " +
                                       c_.library.filename().string() +
                                       "; install the two from one build, or remove the file beside the library");
      return false;
    }
    if (c_.manifest->name != c_.name) {
      refuse(Status::kBadManifest, "the manifest's name is '" + c_.manifest->name + "', the file's is '" + c_.name +
                                       "'; a plugin NAME is libtengen_NAME.so with NAME.plugin.json");
      return false;
    }
    return true;
  }

  Candidate& c_;
  fs::path as_found_;  // the library, links not yet resolved
};

class Scanner {
 public:
  std::vector<Candidate> run(const ScanOptions& options) {
    for (const Place& place : places(options)) visit(place);
    return std::move(found_);
  }

 private:
  void visit(const Place& place) {
    const fs::path path(place.path);
    if (!path.is_absolute() && place.source != Source::kExplicit) {
      return report(place, place.path,
                    "relative entries are not searched, because the working directory could then supply code; write an "
                    "absolute path");
    }
    std::error_code error;
    const fs::path absolute = fs::absolute(path, error);
    const fs::file_status status = fs::status(absolute, error);
    // A directory named twice (by the user and by the package that it belongs to) is searched once.
    if (fs::is_directory(status) && !searched_.insert(fs::canonical(absolute, error)).second) return;
    if (!fs::exists(status)) {
      if (!place.optional) report(place, place.path, place.path + " does not exist");
    } else if (fs::is_directory(status)) {
      directory(place, absolute);
    } else {
      library(place, absolute);
    }
  }

  void directory(const Place& place, const fs::path& dir) {
    std::error_code error;
    std::set<std::string> names;
    fs::directory_iterator it(dir, error), end;
    for (; !error && it != end; it.increment(error)) {
      const std::string file = it->path().filename().string();
      for (const auto& name : {plugin_of_library(file), plugin_of_manifest(file)}) {
        if (!name.empty()) names.insert(name);
      }
    }
    if (error) return report(place, place.path, place.path + " cannot be listed (" + error.message() + ")");
    for (const auto& name : names) add(place, name, dir / ("libtengen_" + name + ".so"));
  }

  void library(const Place& place, const fs::path& file) {
    std::string name = plugin_of_library(file.filename().string());
    if (name.empty()) name = plugin_of_manifest(file.filename().string());
    if (name.empty())
      return report(
          place, file.filename().string(),
          file.string() + " is not named like a plugin: expected libtengen_<name>.so with <name> of [a-z0-9_]");
    add(place, name, file.parent_path() / ("libtengen_" + name + ".so"));
  }

  void add(const Place& place, const std::string& name, const fs::path& file) {
    Candidate c;
    c.name = name;
    c.source = place.source;
    c.origin = place.path;
    std::error_code error;
    const fs::path manifest = file.parent_path() / (name + kManifestSuffix);
    if (fs::exists(manifest, error)) c.manifest_file = manifest;
    try {
      Checker(c, file).run();
    } catch (const std::exception& e) {  // no memory, say: still only this candidate's loss
      c.status = Status::kNotALibrary;
      c.reason = e.what();
    }
    shadow(c);
    found_.push_back(std::move(c));
  }

  // The first *usable* plugin of a name wins: a broken copy in front must not hide a good one, and is reported anyway.
  void shadow(Candidate& c) const {
    if (!c.usable()) return;
    for (const Candidate& other : found_) {
      if (other.name != c.name || !other.usable()) continue;
      c.status = Status::kShadowed;
      c.reason = other.library == c.library
                     ? "the same library was found before, through " + other.origin
                     : "found before it: " + other.library.string() + " (" + to_string(other.source) + ")";
      return;
    }
  }

  void report(const Place& place, const std::string& name, const std::string& reason) {
    Candidate c;
    c.name = name;
    c.source = place.source;
    c.origin = place.path;
    c.status = Status::kNotALibrary;
    c.reason = reason;
    found_.push_back(std::move(c));
  }

  std::vector<Candidate> found_;
  std::set<fs::path> searched_;
};

}  // namespace

std::vector<Candidate> scan(const ScanOptions& options) { return Scanner().run(options); }

}  // namespace tg::registry
