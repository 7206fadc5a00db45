// SPDX-License-Identifier: Apache-2.0
//
// Small common things: names of the enums, the environment, reading a small file.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>

#include "internal.h"

namespace tg::registry {

const char* to_string(Source source) {
  switch (source) {
    case Source::kExplicit:
      return "explicit";
    case Source::kEnvironment:
      return "TENGEN_PLUGIN_PATH";
    case Source::kExtra:
      return "package";
    case Source::kUser:
      return "user";
    case Source::kSystem:
      return "system";
  }
  return "?";
}

const char* to_string(Status status) {
  switch (status) {
    case Status::kFound:
      return "found";
    case Status::kLoaded:
      return "loaded";
    case Status::kShadowed:
      return "shadowed";
    case Status::kNotALibrary:
      return "not a plugin";
    case Status::kWrongMachine:
      return "wrong machine";
    case Status::kBadManifest:
      return "bad manifest";
    case Status::kWrongAbi:
      return "wrong ABI";
    case Status::kMissingCpu:
      return "missing CPU feature";
    case Status::kUnsafe:
      return "unsafe";
    case Status::kProbeFailed:
      return "probe failed";
    case Status::kLoadFailed:
      return "load failed";
    case Status::kClosed:
      return "closed";
  }
  return "?";
}

std::string environment(const char* name) {
  const char* value = secure_getenv(name);
  return value ? value : "";
}

std::optional<std::string> read_small_file(const std::filesystem::path& file, size_t limit, std::string* error) {
  const int fd = open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  const auto fail = [&](const std::string& why) {
    if (error) *error = why;
    if (fd >= 0) close(fd);
    return std::nullopt;
  };
  if (fd < 0) return fail(std::strerror(errno));
  struct stat st;
  if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) return fail("not a regular file");
  if (uint64_t(st.st_size) > limit) return fail(format("%lld bytes, more than %zu", (long long)st.st_size, limit));
  std::string out;
  char buffer[1 << 14];
  while (true) {
    const ssize_t n = read(fd, buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail(std::strerror(errno));
    if (n == 0) break;
    out.append(buffer, size_t(n));
    if (out.size() > limit) return fail(format("more than %zu bytes", limit));
  }
  close(fd);
  return out;
}

}  // namespace tg::registry
