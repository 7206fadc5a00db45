// SPDX-License-Identifier: Apache-2.0
//
// What the registry's tests share: a private directory, a changed environment, the test plugins.
#ifndef TENGEN_TESTS_REGISTRY_TEST_UTIL_H_
#define TENGEN_TESTS_REGISTRY_TEST_UTIL_H_

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <tengen/registry.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

namespace tg::registry {

namespace fs = std::filesystem;

class TempDir {
 public:
  TempDir() {
    std::string name = (fs::temp_directory_path() / "tg_registry_XXXXXX").string();
    if (!mkdtemp(name.data())) throw std::runtime_error("no temporary directory");
    path_ = fs::canonical(name);
  }
  ~TempDir() { fs::remove_all(path_); }
  const fs::path& path() const { return path_; }
  fs::path operator/(const std::string& name) const { return path_ / name; }

 private:
  fs::path path_;
};

class ScopedEnv {
 public:
  ScopedEnv(const char* name, const std::string& value) : name_(name) {
    if (const char* old = getenv(name)) old_ = old;
    setenv(name, value.c_str(), 1);
  }
  ~ScopedEnv() {
    if (old_)
      setenv(name_, old_->c_str(), 1);
    else
      unsetenv(name_);
  }

 private:
  const char* name_;
  std::optional<std::string> old_;
};

inline void write_file(const fs::path& file, const std::string& text) {
  std::ofstream(file, std::ios::binary) << text;
  chmod(file.c_str(), 0644);
}
inline std::string read_file(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

inline fs::path test_library(const std::string& name) {
  return fs::path(TEST_PLUGIN_DIR) / ("libtengen_" + name + ".so");
}

// Copies the library and the manifest of a test plugin; returns the copied library.
inline fs::path install(const std::string& name, const fs::path& dir, bool with_manifest = true) {
  fs::create_directories(dir);
  chmod(dir.c_str(), 0755);
  const fs::path to = dir / ("libtengen_" + name + ".so");
  fs::copy_file(test_library(name), to, fs::copy_options::overwrite_existing);
  if (with_manifest)
    fs::copy_file(fs::path(TEST_PLUGIN_DIR) / (name + ".plugin.json"), dir / (name + ".plugin.json"),
                  fs::copy_options::overwrite_existing);
  return to;
}

// A scan of these places only.
inline ScanOptions only(std::vector<std::string> paths) {
  ScanOptions o;
  o.paths = std::move(paths);
  o.environment = o.user = o.system = false;
  return o;
}

inline const Candidate* find(const std::vector<Candidate>& list, const std::string& name) {
  for (const auto& c : list) {
    if (c.name == name) return &c;
  }
  return nullptr;
}

inline ProbeOptions probe_program(const fs::path& cache = {}, double timeout = 20) {
  ProbeOptions o;
  o.executable = TEST_PROBE;
  o.cache = cache;
  o.timeout_seconds = timeout;
  return o;
}

inline const tg_host* test_host() {
  static tg_host host = [] {
    tg_host h{};
    h.struct_size = sizeof h;
    h.abi_version = TG_ABI_VERSION;
    h.log = [](int32_t, const char*) {};
    h.cache_directory = [] { return ""; };
    return h;
  }();
  return &host;
}

}  // namespace tg::registry
#endif  // TENGEN_TESTS_REGISTRY_TEST_UTIL_H_
