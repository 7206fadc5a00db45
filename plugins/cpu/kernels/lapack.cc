// SPDX-License-Identifier: Apache-2.0
//
// Finding and opening OpenBLAS; see lapack.h. TENGEN_LAPACK names a library to take instead, or is "off".
#include "kernels/lapack.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <string>
#include <tengen/kernel_api.hpp>
#include <vector>

namespace tg::cpu {
namespace {

#if defined(__x86_64__)
constexpr const char* kMultiarch = "x86_64-linux-gnu";
#elif defined(__aarch64__)
constexpr const char* kMultiarch = "aarch64-linux-gnu";
#else
constexpr const char* kMultiarch = "";
#endif

// Whether a library file asks for libgomp. Opening one that does not would start its own threads, so it is looked up in
// the file.
bool needs_gomp(const std::string& path) {
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return false;
  struct stat info;
  bool found = false;
  if (fstat(file, &info) == 0 && info.st_size > 0) {
    void* p = mmap(nullptr, size_t(info.st_size), PROT_READ, MAP_PRIVATE, file, 0);
    if (p != MAP_FAILED) {
      static constexpr char kName[] = "libgomp.so";
      found = memmem(p, size_t(info.st_size), kName, sizeof kName - 1) != nullptr;
      munmap(p, size_t(info.st_size));
    }
  }
  close(file);
  return found;
}

struct Library {
  void* handle = nullptr;
  bool wide = false;
  std::string suffix;  // of the symbols
  std::string reason;  // why there is none

  void* symbol(const std::string& name) const { return dlsym(handle, (name + suffix).c_str()); }

  // "" when the library can be used.
  std::string open(const std::string& path) {
    if (!needs_gomp(path)) return path + " is not built for OpenMP (libgomp)";
    void* h = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (!h) return std::string(dlerror());
    for (const char* s : {"", "64_"}) {
      const auto parallel = reinterpret_cast<int (*)()>(dlsym(h, (std::string("openblas_get_parallel") + s).c_str()));
      const auto config = reinterpret_cast<char* (*)()>(dlsym(h, (std::string("openblas_get_config") + s).c_str()));
      if (!parallel || !config) continue;
      if (parallel() != 2) return path + " does not run on OpenMP";
      handle = h;
      suffix = s;
      wide = *s || std::strstr(config(), "USE64BITINT");
      return "";
    }
    return path + " is not OpenBLAS";
  }

  Library() {
    const char* named = std::getenv("TENGEN_LAPACK");
    if (named && !std::strcmp(named, "off")) {
      reason = "TENGEN_LAPACK is off";
      return;
    }
    std::vector<std::string> paths;
    if (named) {
      paths.push_back(named);
    } else {
      const std::string usr = std::string("/usr/lib/") + kMultiarch;
      for (const std::string& folder :
           {usr + "/openblas-openmp", usr + "/openblas64-openmp", usr, std::string("/usr/lib64"),
            std::string("/usr/local/lib"), std::string("/usr/lib")})
        for (const char* name : {"libopenblas.so.0", "libopenblaso.so.0", "libopenblas64.so.0", "libopenblaso64.so.0"})
          paths.push_back(folder + "/" + name);
    }
    for (const std::string& path : paths) {
      if (!named && access(path.c_str(), R_OK) != 0) continue;
      const std::string why = open(path);
      if (why.empty()) return;
      reason += (reason.empty() ? "" : "; ") + why;
    }
    if (reason.empty()) reason = "no OpenBLAS was found";
    reason += "; install its OpenMP build (Debian: libopenblas0-openmp), or name a library in TENGEN_LAPACK";
  }
};

// Kept open: plans refer to it.
const Library& library() {
  static const Library* const l = new Library();
  return *l;
}

template <class T>
struct Table {
  Lapack<T> functions{};
  std::string reason;

  template <class F>
  void find(F* f, const char* name) {
    const std::string symbol = std::string(1, sizeof(T) == 4 ? 's' : 'd') + name + "_";
    *f = reinterpret_cast<F>(library().symbol(symbol));
    if (!*f && reason.empty()) reason = "the library lacks " + symbol;
  }
  Table() {
    reason = library().reason;
    if (!library().handle) return;
    reason.clear();
    functions.wide = library().wide;
    find(&functions.potrf, "potrf"), find(&functions.getrf, "getrf"), find(&functions.gelqf, "gelqf");
    find(&functions.orglq, "orglq"), find(&functions.gesdd, "gesdd"), find(&functions.syevd, "syevd");
    find(&functions.trsm, "trsm");
  }
};

}  // namespace

template <class T>
const Lapack<T>& lapack() {
  static const Table<T>* const table = new Table<T>();
  if (!table->reason.empty()) plugin::fail(TG_UNIMPLEMENTED, "LAPACK: %s", table->reason.c_str());
  return table->functions;
}
template const Lapack<float>& lapack<float>();
template const Lapack<double>& lapack<double>();

}  // namespace tg::cpu
