// SPDX-License-Identifier: Apache-2.0
//
// Which CPU features this machine has and its operating system has switched on. Names are those of /proc/cpuinfo;
// underscores and dots do not count, so that avx512_vnni, avx512vnni and sse4.1, sse4_1 mean the same.
#include "internal.h"

#if defined(__x86_64__) || defined(__i386__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#elif defined(__aarch64__)
#include <sys/auxv.h>
#endif

#include <algorithm>

namespace tg::registry {
namespace {

std::string plain(std::string_view feature) {
  std::string out;
  for (char c : feature) {
    if (c != '_' && c != '.') out += (c >= 'A' && c <= 'Z') ? char(c + 32) : c;
  }
  return out;
}

#if defined(__x86_64__) || defined(__i386__)

struct Bit {
  const char* name;
  unsigned leaf, subleaf;
  char reg;
  int bit;
  uint64_t state;  // bits of XCR0 that the operating system must have set
};
constexpr uint64_t kYmm = 0x6, kZmm = 0xe6, kTile = 0x60000;
constexpr Bit kBits[] = {
    {"sse2", 1, 0, 'd', 26, 0},
    {"sse3", 1, 0, 'c', 0, 0},
    {"ssse3", 1, 0, 'c', 9, 0},
    {"sse4_1", 1, 0, 'c', 19, 0},
    {"sse4_2", 1, 0, 'c', 20, 0},
    {"popcnt", 1, 0, 'c', 23, 0},
    {"pclmulqdq", 1, 0, 'c', 1, 0},
    {"aes", 1, 0, 'c', 25, 0},
    {"cx16", 1, 0, 'c', 13, 0},
    {"movbe", 1, 0, 'c', 22, 0},
    {"avx", 1, 0, 'c', 28, kYmm},
    {"f16c", 1, 0, 'c', 29, kYmm},
    {"fma", 1, 0, 'c', 12, kYmm},
    {"bmi1", 7, 0, 'b', 3, 0},
    {"bmi2", 7, 0, 'b', 8, 0},
    {"avx2", 7, 0, 'b', 5, kYmm},
    {"adx", 7, 0, 'b', 19, 0},
    {"sha_ni", 7, 0, 'b', 29, 0},
    {"gfni", 7, 0, 'c', 8, 0},
    {"vaes", 7, 0, 'c', 9, kYmm},
    {"vpclmulqdq", 7, 0, 'c', 10, kYmm},
    {"avx512f", 7, 0, 'b', 16, kZmm},
    {"avx512dq", 7, 0, 'b', 17, kZmm},
    {"avx512ifma", 7, 0, 'b', 21, kZmm},
    {"avx512cd", 7, 0, 'b', 28, kZmm},
    {"avx512bw", 7, 0, 'b', 30, kZmm},
    {"avx512vl", 7, 0, 'b', 31, kZmm},
    {"avx512vbmi", 7, 0, 'c', 1, kZmm},
    {"avx512_vbmi2", 7, 0, 'c', 6, kZmm},
    {"avx512_vnni", 7, 0, 'c', 11, kZmm},
    {"avx512_bitalg", 7, 0, 'c', 12, kZmm},
    {"avx512_vpopcntdq", 7, 0, 'c', 14, kZmm},
    {"avx512_fp16", 7, 0, 'd', 23, kZmm},
    {"avx512_bf16", 7, 1, 'a', 5, kZmm},
    {"avx_vnni", 7, 1, 'a', 4, kYmm},
    {"amx_tile", 7, 0, 'd', 24, kTile},
    {"amx_int8", 7, 0, 'd', 25, kTile},
    {"amx_bf16", 7, 0, 'd', 22, kTile},
    {"amx_fp16", 7, 1, 'a', 21, kTile},
    {"lzcnt", 0x80000001u, 0, 'c', 5, 0},
};

uint64_t enabled_state() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (!__get_cpuid(1, &a, &b, &c, &d) || !(c >> 27 & 1)) return 0;  // OSXSAVE
  unsigned low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  uint64_t state = uint64_t(high) << 32 | low;
  // Linux lends AMX tile data (XCR0 bit 18) per process, on request: it counts as present if the kernel would lend it.
  if (state & kTile) {
    constexpr int kGetSupported = 0x1021;  // ARCH_GET_XCOMP_SUPP
    uint64_t supported = 0;
    if (syscall(SYS_arch_prctl, kGetSupported, &supported) != 0 || !(supported >> 18 & 1)) state &= ~kTile;
  }
  return state;
}

std::vector<std::string> detect() {
  std::vector<std::string> out;
  const uint64_t state = enabled_state();
  for (const Bit& f : kBits) {
    unsigned r[4] = {};
    if (!__get_cpuid_count(f.leaf, f.subleaf, &r[0], &r[1], &r[2], &r[3])) continue;
    if ((r[f.reg - 'a'] >> f.bit & 1) && (state & f.state) == f.state) out.emplace_back(f.name);
  }
  return out;
}

#elif defined(__aarch64__)

struct Bit {
  const char* name;
  unsigned long kind;
  int bit;
};
// Bits of AT_HWCAP and AT_HWCAP2 as Linux defines them for arm64; old headers lack the newer names.
constexpr Bit kBits[] = {
    {"asimd", AT_HWCAP, 1},    {"neon", AT_HWCAP, 1},     {"fp", AT_HWCAP, 0},        {"aes", AT_HWCAP, 3},
    {"crc32", AT_HWCAP, 7},    {"atomics", AT_HWCAP, 8},  {"lse", AT_HWCAP, 8},       {"fphp", AT_HWCAP, 9},
    {"asimdhp", AT_HWCAP, 10}, {"fp16", AT_HWCAP, 10},    {"asimdrdm", AT_HWCAP, 12}, {"fcma", AT_HWCAP, 14},
    {"asimddp", AT_HWCAP, 20}, {"dotprod", AT_HWCAP, 20}, {"sve", AT_HWCAP, 22},      {"asimdfhm", AT_HWCAP, 23},
    {"sve2", AT_HWCAP2, 1},    {"svei8mm", AT_HWCAP2, 9}, {"svebf16", AT_HWCAP2, 12}, {"i8mm", AT_HWCAP2, 13},
    {"bf16", AT_HWCAP2, 14},   {"sme", AT_HWCAP2, 23},
};

std::vector<std::string> detect() {
  std::vector<std::string> out;
  for (const Bit& f : kBits) {
    if (getauxval(f.kind) >> f.bit & 1) out.emplace_back(f.name);
  }
  return out;
}

#else

std::vector<std::string> detect() { return {}; }

#endif

}  // namespace

const char* host_kind() { return "cpu"; }

const char* cpu_architecture() {
#if defined(__x86_64__)
  return "x86_64";
#elif defined(__i386__)
  return "x86";
#elif defined(__aarch64__)
  return "aarch64";
#elif defined(__arm__)
  return "arm";
#elif defined(__riscv)
  return "riscv64";
#elif defined(__powerpc64__)
  return "ppc64";
#else
  return "unknown";
#endif
}

const std::vector<std::string>& cpu_features() {
  static const std::vector<std::string> features = detect();
  return features;
}

bool cpu_has(std::string_view feature) {
  const std::string wanted = plain(feature);
  return std::any_of(cpu_features().begin(), cpu_features().end(),
                     [&](const std::string& f) { return plain(f) == wanted; });
}

std::string missing_cpu_features(std::string_view list) {
  std::vector<std::string> missing;
  for (auto& feature : split(list, ' ')) {
    if (!cpu_has(feature)) missing.push_back(feature);
  }
  return join(missing, " ");
}

}  // namespace tg::registry
