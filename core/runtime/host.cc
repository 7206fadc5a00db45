// SPDX-License-Identifier: Apache-2.0
// The host table that plugins get: log, the thread pool, scratch memory, the cache directory.
#include "runtime/device.h"

#include <omp.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

namespace tg {
namespace {

std::atomic<int> g_threads{0};
std::atomic<bool> g_forked{false};

void log_line(int32_t level, const char* message) {
  static const char* const names[] = {"debug", "info", "warning", "error"};
  if (level < TG_LOG_WARN && !debug_enabled()) return;
  std::fprintf(stderr, "tengen %s: %s\n", names[level < 0 || level > 3 ? 3 : level], message ? message : "");
}

void parallel_for(int64_t n, int64_t grain, int32_t threads, void (*body)(void*, int64_t, int64_t), void* context) {
  if (n <= 0) return;
  if (grain < 1) grain = 1;
  int64_t pieces = std::min<int64_t>((n + grain - 1) / grain, threads > 0 ? threads : num_threads());
  // libgomp's pool does not survive a fork.
  if (pieces <= 1 || omp_in_parallel() || forked()) return body(context, 0, n);
#pragma omp parallel num_threads(int(pieces))
  {
    const int64_t count = omp_get_num_threads(), k = omp_get_thread_num();
    const int64_t begin = n * k / count, end = n * (k + 1) / count;
    if (begin < end) body(context, begin, end);
  }
}

// Per thread: blocks handed out during one plan_run. The largest is kept for the next.
struct Scratch {
  std::vector<std::pair<void*, uint64_t>> blocks;
  size_t used = 0;
  ~Scratch() {
    for (auto& b : blocks) std::free(b.first);
  }
};
thread_local Scratch t_scratch;

void* scratch(uint64_t bytes) {
  if (bytes > uint64_t(1) << 62) return nullptr;  // rounding up would wrap
  bytes = (std::max<uint64_t>(bytes, 1) + 63) & ~uint64_t(63);
  Scratch& s = t_scratch;
  for (size_t i = s.used; i < s.blocks.size(); ++i)
    if (s.blocks[i].second >= bytes) {
      std::swap(s.blocks[i], s.blocks[s.used]);
      return s.blocks[s.used++].first;
    }
  void* p = std::aligned_alloc(64, bytes);
  if (!p) return nullptr;
  s.blocks.emplace_back(p, bytes);
  std::swap(s.blocks.back(), s.blocks[s.used]);
  return s.blocks[s.used++].first;
}

const char* cache_directory() {
  static const std::string path = [] {
    const char* xdg = std::getenv("XDG_CACHE_HOME");
    const char* home = std::getenv("HOME");
    std::string base = xdg && *xdg ? xdg : home && *home ? std::string(home) + "/.cache" : "";
    if (base.empty()) return base;
    mkdir(base.c_str(), 0700);
    base += "/tengen";
    mkdir(base.c_str(), 0700);
    struct stat st;
    return stat(base.c_str(), &st) == 0 && S_ISDIR(st.st_mode) ? base : std::string();
  }();
  return path.c_str();
}

constexpr size_t kRing = 4096;
std::atomic<uint64_t> g_launch{0};  // the newest id
std::pair<std::atomic<uint64_t>, std::atomic<const char*>> g_ring[kRing];

}  // namespace

void reset_scratch() {
  Scratch& s = t_scratch;
  if (s.used == 0) return;
  s.used = 0;
  while (s.blocks.size() > 4) {  // keep a few, the largest first
    size_t smallest = 0;
    for (size_t i = 1; i < s.blocks.size(); ++i)
      if (s.blocks[i].second < s.blocks[smallest].second) smallest = i;
    std::free(s.blocks[smallest].first);
    s.blocks.erase(s.blocks.begin() + smallest);
  }
}

bool forked() { return g_forked.load(std::memory_order_relaxed); }

void set_num_threads(int n) {
  check(n >= 1, "[set_num_threads] expected at least 1, got ", n);
  if (g_threads.exchange(n) != n) clear_plan_cache();  // plans are made for a number of threads
  omp_set_num_threads(n);
}
int num_threads() {
  int n = g_threads.load(std::memory_order_relaxed);
  if (n == 0) g_threads = n = std::max(1, omp_get_max_threads());
  return n;
}

uint64_t next_launch_id() { return g_launch.fetch_add(1, std::memory_order_relaxed) + 1; }
uint64_t launches() { return g_launch.load(std::memory_order_relaxed); }
void note_launch(uint64_t id, const char* op) {
  g_ring[id % kRing].second.store(op, std::memory_order_relaxed);
  g_ring[id % kRing].first.store(id, std::memory_order_release);
}
const char* launched_op(uint64_t id) {
  return g_ring[id % kRing].first.load(std::memory_order_acquire) == id
             ? g_ring[id % kRing].second.load(std::memory_order_relaxed) : "";
}

bool debug_enabled() {
  static const bool on = [] {
    const char* v = std::getenv("TENGEN_DEBUG");
    return v && *v && std::string(v) != "0";
  }();
  return on;
}
void debug_line(const std::string& line) { std::fprintf(stderr, "tengen: %s\n", line.c_str()); }

const tg_host* make_host_table() {
  static const tg_host table = {sizeof(tg_host), TG_ABI_VERSION, log_line, parallel_for, scratch, cache_directory};
  static const bool registered = pthread_atfork(nullptr, nullptr, [] {
    g_forked = true;  // libgomp's threads are gone: one thread from here on, in our plans and the plugins'
    g_threads = 1;
    omp_set_num_threads(1);
  }) == 0;
  (void)registered;
  return &table;
}

}  // namespace tg
