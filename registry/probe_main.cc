// SPDX-License-Identifier: Apache-2.0
//
// tengen-probe LIBRARY [FD]: loads a plugin, opens it, lists its devices, shuts it down, and writes what it saw as
// lines of JSON to FD (1 if not given). The host runs it before it loads a plugin that it does not know. Exit status 0:
// the plugin let itself be tried, whatever it answered; anything else is its doing, but for 2, a wrong command line.
#include <tengen/registry.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#if defined(__linux__)
#include <sys/prctl.h>
#include <csignal>
#endif

int main(int argc, char** argv) {
  char* end = nullptr;
  const long fd = argc == 3 ? std::strtol(argv[2], &end, 10) : 1;
  if (argc < 2 || argc > 3 || (end && *end) || fd < 0 || fd > 1 << 20) {
    std::fprintf(stderr, "usage: tengen-probe LIBRARY [FD]\n");
    return 2;
  }
#if defined(__linux__)
  prctl(PR_SET_PDEATHSIG, SIGKILL);  // no orphan that hangs for ever
#endif
  const int status = tg::registry::probe_child(argv[1], int(fd));
  _exit(status);  // no exit handlers of the plugin
}
