// SPDX-License-Identifier: Apache-2.0
//
// Tries a plugin in a subprocess before it is let into this one, and remembers the answer by the hash of the library and
// of the libraries that it brings along. A plugin that crashes, exits or hangs in query, open or shutdown thus costs one line in a table.
//
// The subprocess is tengen-probe. Where that program is not found a forked child does the same; it inherits locks and
// thread pools of this process, so a plugin that works may appear to hang there: install tengen-probe.
#include <dlfcn.h>
#include <fcntl.h>
#include <poll.h>
#include <pwd.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <nlohmann/json.hpp>

#include "internal.h"

extern char** environ;

namespace tg::registry {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr size_t kMaxReport = 1u << 20;
constexpr size_t kKeptOutput = 300;
constexpr int64_t kBelieveFailures = 24 * 3600;  // seconds; a hang may have been the machine's fault
constexpr int kCacheFormat = 2;
constexpr int kReportFd = 3;

// ---- the subprocess
// ---------------------------------------------------------------------------------------------------

struct Pipe {
  int read = -1, write = -1;
  Pipe() {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0)
      throw std::runtime_error(format("no pipe for the probe: %s", std::strerror(errno)));
    read = ends[0];
    write = ends[1];
  }
  ~Pipe() {
    close_write();
    close(read);
  }
  void close_write() {
    if (write >= 0) close(write);
    write = -1;
  }
};

pid_t spawn_program(const fs::path& program, const fs::path& library, const Pipe& report, const Pipe& output) {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  posix_spawn_file_actions_init(&actions);
  posix_spawnattr_init(&attributes);
  // The report may itself have become descriptor 0..3 of this process: move it out of the way of the others first.
  const int safe_report = fcntl(report.write, F_DUPFD_CLOEXEC, 10),
            safe_output = fcntl(output.write, F_DUPFD_CLOEXEC, 10);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, safe_output, 1);
  posix_spawn_file_actions_adddup2(&actions, safe_output, 2);
  posix_spawn_file_actions_adddup2(&actions, safe_report, kReportFd);
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &all);
  posix_spawnattr_setpgroup(&attributes, 0);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
  std::string name = program.string(), argument = library.string(), fd = std::to_string(kReportFd);
  char* argv[] = {name.data(), argument.data(), fd.data(), nullptr};
  pid_t child = -1;
  const int error = posix_spawn(&child, name.c_str(), &actions, &attributes, argv, environ);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  close(safe_report);
  close(safe_output);
  if (error) throw std::runtime_error("cannot start " + name + ": " + std::strerror(error));
  return child;
}

pid_t spawn_fork(const fs::path& library, const Pipe& report, const Pipe& output) {
  const pid_t child = fork();
  if (child < 0) throw std::runtime_error(format("cannot fork a probe: %s", std::strerror(errno)));
  if (child == 0) {
    setpgid(0, 0);
    const int null = open("/dev/null", O_RDONLY);
    if (null >= 0) dup2(null, 0);
    dup2(output.write, 1);
    dup2(output.write, 2);
    for (int signal : {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGTERM}) std::signal(signal, SIG_DFL);
    _exit(probe_child(library.c_str(), report.write));
  }
  setpgid(child, child);
  return child;
}

// Takes what can be read now; false at the end of the pipe.
bool drain(int fd, std::string& into, size_t keep_last, size_t limit) {
  char buffer[4096];
  while (true) {
    const ssize_t n = read(fd, buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno == EAGAIN;
    if (n == 0) return false;
    if (into.size() < limit) into.append(buffer, size_t(n));
    if (keep_last && into.size() > keep_last) into.erase(0, into.size() - keep_last);
  }
}

struct Finished {
  std::string report, output;
  int status = 0;
  bool known = false;  // status was obtained: somebody else may have reaped the child
  bool timed_out = false;
};

Finished wait_for(pid_t child, Pipe& report, Pipe& output, double timeout) {
  Finished f;
  report.close_write();
  output.close_write();
  for (int fd : {report.read, output.read}) fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
  const auto deadline = Clock::now() + std::chrono::duration<double>(timeout);
  bool report_open = true, output_open = true, exited = false;
  while (!exited) {
    pollfd fds[2] = {{report_open ? report.read : -1, POLLIN, 0}, {output_open ? output.read : -1, POLLIN, 0}};
    // With both pipes at their end the child is about to be gone: look often. Otherwise a pipe wakes us.
    poll(fds, 2, report_open || output_open ? 20 : 1);
    if (report_open) report_open = drain(report.read, f.report, 0, kMaxReport);
    if (output_open) output_open = drain(output.read, f.output, kKeptOutput, kMaxReport);
    const pid_t reaped = waitpid(child, &f.status, WNOHANG);
    exited = reaped != 0 && !(reaped < 0 && errno == EINTR);
    f.known = reaped == child;
    if (!exited && Clock::now() > deadline) {
      f.timed_out = true;
      break;
    }
  }
  // The whole group goes: the plugin may have started processes. The group's leader is ours, alive or just reaped.
  kill(-child, SIGKILL);
  if (!exited) {
    while (waitpid(child, &f.status, 0) < 0 && errno == EINTR) {
    }
  }
  drain(report.read, f.report, 0, kMaxReport);
  drain(output.read, f.output, kKeptOutput, kMaxReport);
  return f;
}

// ---- reading the report
// -----------------------------------------------------------------------------------------------

std::vector<ProbedDevice> devices_of(const json& list) {
  std::vector<ProbedDevice> out;
  for (const json& d : list)
    out.push_back({d.value("kind", ""), d.value("name", ""), d.value("domain", ""), d.value("memory", uint64_t(0))});
  return out;
}

ProbeResult interpret(const Finished& f, double timeout, bool* cacheable) {
  ProbeResult r;
  *cacheable = true;
  std::string stage = "starting";
  json done;
  for (const auto& line : split(f.report, '\n')) {
    const json j = json::parse(line, nullptr, false);
    if (!j.is_object()) continue;
    if (j.contains("stage") && j["stage"].is_string()) stage = j["stage"].get<std::string>();
    if (j.value("done", false)) done = j;
  }
  std::string last = f.output;
  for (char& c : last) {
    if (static_cast<unsigned char>(c) < 0x20) c = ' ';
  }
  while (!last.empty() && last.back() == ' ') last.pop_back();
  const std::string said = last.empty() ? "" : "; it last printed: " + last;
  const bool good_exit = !f.known || (WIFEXITED(f.status) && WEXITSTATUS(f.status) == 0);
  if (f.timed_out) {
    r.failure = format("did not return from %s within %g s%s; TENGEN_PROBE_TIMEOUT sets the limit", stage.c_str(),
                       timeout, said.c_str());
  } else if (f.known && WIFSIGNALED(f.status)) {
    r.failure = format("was killed by signal %d (%s) in %s%s", WTERMSIG(f.status), strsignal(WTERMSIG(f.status)),
                       stage.c_str(), said.c_str());
  } else if (!done.is_object() || !good_exit) {
    r.failure = format("ended the process with status %d in %s%s", f.known ? WEXITSTATUS(f.status) : -1, stage.c_str(),
                       said.c_str());
  } else if (done.contains("exception")) {
    r.failure = "let an exception out of " + stage + ": " + done["exception"].get<std::string>();
  } else {
    r.safe = true;
    r.abi = done.value("abi", 0u);
    r.name = done.value("name", "");
    r.refusal = done.value("refusal", "");
    r.open_error = done.value("open_error", "");
    r.devices = devices_of(done["devices"]);
    *cacheable = !done.value("transient", false);
  }
  return r;
}

// ---- the cache
// --------------------------------------------------------------------------------------------------------

// What tells cheaply that a library and those that it brings along are the files that they were.
std::optional<json> stamp_of(const fs::path& library) {
  json out = json::array();
  std::vector<fs::path> files = origin_dependencies(library);
  files.insert(files.begin(), library);
  for (const fs::path& file : files) {
    struct stat st;
    if (stat(file.c_str(), &st) != 0) return std::nullopt;
    const auto ns = [](const timespec& t) { return int64_t(t.tv_sec) * 1000000000 + t.tv_nsec; };
    out.push_back({{"file", file.string()},
                   {"size", int64_t(st.st_size)},
                   {"mtime_ns", ns(st.st_mtim)},
                   {"ctime_ns", ns(st.st_ctim)},
                   {"inode", uint64_t(st.st_ino)}});
  }
  return out;
}

// Of the contents of the files of a stamp.
std::string hash_of(const json& stamp) {
  std::string all;
  for (const json& file : stamp) all += sha256_file(file.at("file").get<std::string>());
  return stamp.size() == 1 ? all : sha256_hex(all);
}

json to_json(const ProbeResult& r) {
  json devices = json::array();
  for (const auto& d : r.devices)
    devices.push_back({{"kind", d.kind}, {"name", d.name}, {"domain", d.domain}, {"memory", d.memory_bytes}});
  return {{"safe", r.safe}, {"failure", r.failure}, {"refusal", r.refusal},
          {"abi", r.abi},   {"name", r.name},       {"devices", devices}};
}

ProbeResult from_json(const json& j) {
  ProbeResult r;
  r.safe = j.at("safe").get<bool>();
  r.failure = j.at("failure").get<std::string>();
  r.refusal = j.at("refusal").get<std::string>();
  r.abi = j.at("abi").get<uint32_t>();
  r.name = j.at("name").get<std::string>();
  r.devices = devices_of(j.at("devices"));
  r.cached = true;
  return r;
}

// Never throws and never blocks: an unusable cache means one more probe.
class Cache {
 public:
  explicit Cache(const fs::path& file) : file_(file) {
    root_ = fresh();
    if (file_.empty()) return;
    struct stat st;
    if (stat(file_.c_str(), &st) == 0 && (st.st_uid != geteuid() || (st.st_mode & (S_IWOTH | S_IWGRP)))) {
      file_.clear();  // somebody else's word
      return;
    }
    const auto text = read_small_file(file_, 16u << 20, nullptr);
    if (!text) return;
    json j = json::parse(*text, nullptr, false);
    if (j.is_object() && j.value("format", json()) == kCacheFormat && j.value("abi", json()) == TG_ABI_VERSION &&
        j.contains("entries") && j["entries"].is_object()) {
      root_ = std::move(j);
    }
  }

  // The hash is computed only when the stamp differs (a copied or touched file).
  std::optional<ProbeResult> find(const fs::path& library, const json& stamp, std::string& hash) {
    try {
      const auto it = root_["entries"].find(library.string());
      if (it == root_["entries"].end()) return std::nullopt;
      const json& e = *it;
      const bool same = e.at("files") == stamp;
      if (!same) {
        hash = hash_of(stamp);
        if (e.at("sha256") != hash) return std::nullopt;
      }
      ProbeResult r = from_json(e.at("result"));
      if (!r.safe && std::time(nullptr) - e.at("time").get<int64_t>() > kBelieveFailures) return std::nullopt;
      if (!same) store(library, stamp, hash, r, e.at("time").get<int64_t>());
      return r;
    } catch (const std::exception&) {
      return std::nullopt;
    }
  }

  void store(const fs::path& library, const json& stamp, std::string hash, const ProbeResult& result, int64_t when) {
    if (file_.empty()) return;
    try {
      if (hash.empty()) hash = hash_of(stamp);
      root_["entries"][library.string()] = {
          {"files", stamp}, {"sha256", hash}, {"time", when}, {"result", to_json(result)}};
      write();
    } catch (const std::exception&) {
    }
  }

 private:
  static json fresh() { return {{"format", kCacheFormat}, {"abi", TG_ABI_VERSION}, {"entries", json::object()}}; }

  void write() const {
    fs::create_directories(file_.parent_path());
    std::string name = file_.string() + ".XXXXXX";
    const int fd = mkostemp(name.data(), O_CLOEXEC);  // mode 0600
    if (fd < 0) return;
    const std::string text = root_.dump(1, ' ', false, json::error_handler_t::replace);
    size_t done = 0;
    while (done < text.size()) {
      const ssize_t n = ::write(fd, text.data() + done, text.size() - done);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) break;
      done += size_t(n);
    }
    const bool ok = close(fd) == 0 && done == text.size() && rename(name.c_str(), file_.c_str()) == 0;
    if (!ok) unlink(name.c_str());
  }

  fs::path file_;
  json root_;
};

std::mutex& cache_mutex() {
  static std::mutex mutex;
  return mutex;
}

fs::path find_executable() {
  const std::string named = environment("TENGEN_PROBE_EXECUTABLE");
  if (!named.empty()) return named;
  std::vector<fs::path> bases;
  Dl_info info;
  std::error_code error;
  if (dladdr(reinterpret_cast<const void*>(&cache_mutex), &info) && info.dli_fname) {
    const fs::path library = fs::canonical(info.dli_fname, error);
    if (!error) bases.push_back(library.parent_path());
  }
  const fs::path program = fs::read_symlink("/proc/self/exe", error);
  if (!error) bases.push_back(program.parent_path());
  for (const fs::path& base : bases) {
    for (const char* place : {"tengen-probe", "../bin/tengen-probe", "../libexec/tengen/tengen-probe"}) {
      const fs::path candidate = base / place;
      if (access(candidate.c_str(), X_OK) == 0) return candidate;
    }
  }
  return {};
}

}  // namespace

ProbeOptions ProbeOptions::from_environment() {
  ProbeOptions o;
  const std::string policy = environment("TENGEN_PROBE");
  if (policy == "always") o.policy = ProbePolicy::kAlways;
  if (policy == "never") o.policy = ProbePolicy::kNever;
  const std::string timeout = environment("TENGEN_PROBE_TIMEOUT");
  char* end = nullptr;
  const double seconds = std::strtod(timeout.c_str(), &end);
  if (!timeout.empty() && *end == 0 && seconds > 0 && seconds <= 3600) o.timeout_seconds = seconds;
  o.executable = find_executable();
  std::string cache = environment("XDG_CACHE_HOME");
  if (cache.empty() || cache[0] != '/') {
    const std::string home = environment("HOME");
    cache = home.empty() || home[0] != '/' ? "" : home + "/.cache";
  }
  if (!cache.empty()) o.cache = cache + "/tengen/probe.json";
  return o;
}

ProbeResult probe(const fs::path& library, const ProbeOptions& options) {
  ProbeResult result;
  if (options.policy == ProbePolicy::kNever) {
    result.safe = true;
    return result;
  }
  const auto stamp = stamp_of(library);
  if (!stamp) {
    result.failure = "has gone since it was found";
    return result;
  }
  const std::lock_guard lock(cache_mutex());
  Cache cache(options.cache);
  std::string hash;
  if (options.policy == ProbePolicy::kAuto) {
    if (auto known = cache.find(library, *stamp, hash)) return *known;
  }
  const auto begin = Clock::now();
  bool cacheable = false;
  try {
    Pipe report, output;
    const pid_t child = options.executable.empty() ? spawn_fork(library, report, output)
                                                   : spawn_program(options.executable, library, report, output);
    result = interpret(wait_for(child, report, output, options.timeout_seconds), options.timeout_seconds, &cacheable);
  } catch (const std::exception& e) {
    result.failure = std::string("could not be tried: ") + e.what() + "; TENGEN_PROBE=never loads plugins untried";
  }
  result.seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  if (cacheable) cache.store(library, *stamp, hash, result, std::time(nullptr));
  return result;
}

std::optional<ProbeResult> known_verdict(const fs::path& library, const ProbeOptions& options) {
  if (options.policy == ProbePolicy::kNever) return std::nullopt;  // then nothing is tried before it is loaded
  const auto stamp = stamp_of(library);
  if (!stamp) return std::nullopt;
  const std::lock_guard lock(cache_mutex());
  std::string hash;
  return Cache(options.cache).find(library, *stamp, hash);
}

void take_verdict(Candidate& c, const ProbeResult& verdict) {
  if (!verdict.safe) {
    c.status = Status::kProbeFailed;
    c.reason = "tried in a subprocess, it " + verdict.failure;
  } else if (!verdict.refusal.empty() || !verdict.open_error.empty()) {
    c.status = Status::kLoadFailed;
    c.reason = verdict.refusal.empty() ? verdict.open_error : verdict.refusal;
  }
}

}  // namespace tg::registry
