// SPDX-License-Identifier: Apache-2.0
// What the benchmark programs share: they sit on stdin and time one of their works when asked, so that run.py can take
// turns between them and Python within one run.
// With BENCH_CPU_TIME set, seconds are the process's CPU time: with one thread, that is what other programs on the machine
// disturb least.
//   in:  "<work> <seconds>\n"    out: {"best": seconds, "median": seconds, "n": timings}
#pragma once
#include <time.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

namespace bench {

struct Work {
  std::string name;
  std::function<void()> run;
  int inner = 1;  // runs within one timing, for works near the clock's resolution
};

inline int serve(const std::vector<Work>& works) {
  const clockid_t clock = std::getenv("BENCH_CPU_TIME") ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC;
  const auto now = [clock] {
    timespec t;
    clock_gettime(clock, &t);
    return double(t.tv_sec) + 1e-9 * double(t.tv_nsec);
  };
  char line[128], name[64];
  double seconds;
  while (std::fgets(line, sizeof line, stdin)) {
    const bool understood = std::sscanf(line, "%63s %lf", name, &seconds) == 2;
    const auto work = std::find_if(works.begin(), works.end(), [&](const Work& w) { return w.name == name; });
    if (!understood || work == works.end()) {
      std::fprintf(stderr, "expected '<work> <seconds>' with a work of this program, got: %s", line);
      return 2;
    }
    work->run();  // warm
    std::vector<double> times;
    for (const double start = now(); times.size() < 5 || now() - start < seconds;) {
      const double begin = now();
      for (int i = 0; i < work->inner; ++i) work->run();
      times.push_back((now() - begin) / work->inner);
    }
    std::sort(times.begin(), times.end());
    std::printf("{\"best\": %.9g, \"median\": %.9g, \"n\": %zu}\n", times[0], times[times.size() / 2], times.size());
    std::fflush(stdout);
  }
  return 0;
}

}  // namespace bench
