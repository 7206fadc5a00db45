// SPDX-License-Identifier: Apache-2.0
//
// The subcommands: each takes the context and its options, prints its answer and returns the exit code. What goes wrong
// is thrown; app.cc prints it and chooses the code.
#ifndef TENGEN_TOOLS_COMMANDS_H_
#define TENGEN_TOOLS_COMMANDS_H_

#include <tengen/registry.h>

#include <stdexcept>
#include <string>
#include <vector>

#include "output.h"

namespace tg::cli {

// The question makes no sense as asked: exit code 2.
class UsageError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// Where the installation or the build tree lies that the command belongs to.
struct Place {
  std::vector<std::string> plugin_dirs;
  std::string probe;  // tengen-probe; "": beside the program
};
// The command: parses the arguments, runs a subcommand, ends the runtime; its exit code.
int run(int argc, const char* const* argv, Place place);

// How to look for plugins and how to try them, here.
registry::ScanOptions scan_options();
registry::ProbeOptions probe_options();
// What the search finds, with what earlier probes said of it. Runs no plugin code.
std::vector<registry::Candidate> list_plugins();
// What the author of a plugin should hear about its manifest: rows that no call asks for. One sentence each.
std::vector<std::string> manifest_problems(const registry::Candidate& c);
// Prints them on stderr, once each.
void warn_of_manifest(const Context& context, const registry::Candidate& c);
// Tells the core where the plugins are; before its first use.
void prepare_core();

struct PluginsOptions {
  std::string name;    // "": all, as a table
  bool probe = false;  // try each in a subprocess
};
int run_plugins(const Context& c, const PluginsOptions& options);

struct KernelsOptions {
  std::string op, dtype, plugin;
};
int run_kernels(const Context& c, const KernelsOptions& options);

int run_devices(const Context& c);

struct OpsOptions {
  std::string name;       // "": all, as a table
  bool internal = false;  // also those without a Python function
};
int run_ops(const Context& c, const OpsOptions& options);

struct CoverageOptions {
  bool missing = false;  // only ops that some plugin has no kernel for
};
int run_coverage(const Context& c, const CoverageOptions& options);

struct WhyOptions {
  std::string op, device;
  std::vector<std::string> dtypes, shapes, attrs;
  bool all = false;  // the candidates of every step of a decomposition
};
int run_why(const Context& c, const WhyOptions& options);

int run_doctor(const Context& c);

struct RunOptions {
  std::string file, device;
  bool selftest = false;
  double bound = 1e-5;  // of |difference| / (1 + |expected|) in the selftest
  int repeat = 20, warm_up = 3, threads = 0;
};
int run_model(const Context& c, const RunOptions& options);
int run_inspect(const Context& c, const std::string& file, bool graph);

}  // namespace tg::cli
#endif  // TENGEN_TOOLS_COMMANDS_H_
