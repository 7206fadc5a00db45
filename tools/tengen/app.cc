// SPDX-License-Identifier: Apache-2.0
//
// tengen: what this installation has and what it would do. The subcommands `plugins` and `kernels` read manifests and
// load nothing; the others start the runtime.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <functional>

#include <tengen/error.h>
#include <tengen/runtime.h>

#include "commands.h"

namespace tg::cli {

namespace {
Place g_place;
}

registry::ProbeOptions probe_options() {
  registry::ProbeOptions o = registry::ProbeOptions::from_environment();
  if (o.executable.empty()) o.executable = g_place.probe;
  return o;
}

registry::ScanOptions scan_options() {
  registry::ScanOptions o;
  o.extra_dirs = g_place.plugin_dirs;
  return o;
}

std::vector<registry::Candidate> list_plugins() {
  const auto probing = probe_options();
  std::vector<registry::Candidate> found = registry::scan(scan_options());
  for (auto& c : found) {
    if (!c.usable()) continue;
    if (const auto verdict = registry::known_verdict(c.library, probing)) registry::take_verdict(c, *verdict);
  }
  return found;
}

void prepare_core() {
  for (const auto& dir : g_place.plugin_dirs) add_plugin_directory(dir);
}

namespace {

// Starts nothing; ends what the subcommand started, in order.
int guarded(const std::function<int()>& command) {
  int code = kInternal;
  try {
    code = command();
  } catch (const UsageError& e) {
    std::fprintf(stderr, "tengen: %s\n", e.what());
    code = kUsage;
  } catch (const Error& e) {
    std::fprintf(stderr, "tengen: %s\n", e.what());
    const bool users = e.kind() == ErrorKind::value || e.kind() == ErrorKind::type || e.kind() == ErrorKind::index;
    code = users ? kUsage : kInternal;
  } catch (const std::exception& e) {
    std::fprintf(stderr, "tengen: internal error: %s\n", e.what());
  }
  std::fflush(stdout);
  try {
    shutdown();
  } catch (const std::exception& e) {
    std::fprintf(stderr, "tengen: at the end: %s\n", e.what());
    if (code == kOk) code = kInternal;
  }
  return code;
}

}  // namespace

int run(int argc, const char* const* argv, Place place) {
  g_place = std::move(place);
  CLI::App app("Tengen: what this installation has, and what it would do.", "tengen");
  app.require_subcommand(1);
  app.set_version_flag("--version", "tengen " TG_CLI_VERSION " (ABI " + registry::abi_text(TG_ABI_VERSION) + ")");
  app.footer(
      "Exit codes: 0 yes or something, 1 no or nothing, 2 a wrong question, 3 the answer could not be found out.\n"
      "Environment: TENGEN_PLUGIN_PATH, TENGEN_PLUGIN, TENGEN_DEVICE, TENGEN_PROBE, NO_COLOR.");
  bool json = false;
  int code = kOk;
  std::function<int(const Context&)> chosen;
  const auto add = [&](const char* name, const char* text) {
    CLI::App* sub = app.add_subcommand(name, text);
    sub->add_flag("--json", json, "answer in JSON");
    return sub;
  };

  PluginsOptions plugins;
  CLI::App* sub = add("plugins", "Plugins found, and why some cannot be used, as far as is known without loading any.");
  sub->add_option("name", plugins.name, "show everything about this one");
  sub->add_flag("--probe", plugins.probe, "also try each in a subprocess");
  sub->callback([&] { chosen = [&](const Context& c) { return run_plugins(c, plugins); }; });

  KernelsOptions kernels;
  sub = add("kernels", "Kernel rows, from the manifests. Loads nothing.");
  sub->add_option("--op", kernels.op, "rows of this op or floor family");
  sub->add_option("--dtype", kernels.dtype, "rows that take this dtype somewhere");
  sub->add_option("--plugin", kernels.plugin, "rows of this plugin");
  sub->callback([&] { chosen = [&](const Context& c) { return run_kernels(c, kernels); }; });

  RunOptions model;
  sub = add("run", "Runs a model file (tg.dump) and times it, or proves its numbers.\nexample: tengen run net.tgm --selftest");
  sub->add_option("file", model.file, "the .tgm file")->required();
  sub->add_flag("--selftest", model.selftest, "run the examples in the file and compare");
  sub->add_option("--bound", model.bound, "largest |difference| / (1 + |expected|) that passes (default 1e-5)");
  sub->add_option("--repeat", model.repeat, "runs that are timed (default 20)");
  sub->add_option("--warm-up", model.warm_up, "runs before (default 3)");
  sub->add_option("--threads", model.threads, "threads (default: as everywhere)");
  sub->add_option("--device", model.device, "the device (default: the one that would be chosen)");
  sub->callback([&] { chosen = [&](const Context& c) { return run_model(c, model); }; });

  std::string inspected;
  bool show_graph = false;
  sub = add("inspect", "What is in a model file, and whether it can run here.");
  sub->add_option("file", inspected, "the .tgm file")->required();
  sub->add_flag("--graph", show_graph, "print the graph");
  sub->callback([&] { chosen = [&](const Context& c) { return run_inspect(c, inspected, show_graph); }; });

  sub = add("devices", "Devices of this machine, usable or not.");
  sub->callback([&] { chosen = [](const Context& c) { return run_devices(c); }; });

  OpsOptions ops;
  sub = add("ops", "The op table, or one op.");
  sub->add_option("name", ops.name, "show everything about this op");
  sub->add_flag("--internal", ops.internal, "list also ops without a function of their own");
  sub->callback([&] { chosen = [&](const Context& c) { return run_ops(c, ops); }; });

  CoverageOptions coverage;
  sub = add("coverage", "Which plugin has a kernel for which op.");
  sub->add_flag("--missing", coverage.missing, "only ops that some plugin has no kernel for");
  sub->callback([&] { chosen = [&](const Context& c) { return run_coverage(c, coverage); }; });

  WhyOptions why;
  sub = add("why",
            "Who would run a call, and why the others would not.\n"
            "example: tengen why matmul --dtype f32 --shape 64x64 --shape 64x64");
  sub->add_option("op", why.op, "the op")->required();
  sub->add_option("--dtype", why.dtypes, "dtype of the inputs, once for all or once for each (default f32)");
  sub->add_option("--shape", why.shapes,
                  "shape of one input, 64x64 or 64,64; scalar for rank 0; 8x4:i64 sets its dtype too");
  sub->add_option("--attr", why.attrs, "name=value; lists as 1,2");
  sub->add_option("--device", why.device, "the device (default: the one that would be chosen)");
  sub->add_flag("--all", why.all, "of a decomposition: who else could run each of its steps (--json always has them)");
  sub->callback([&] { chosen = [&](const Context& c) { return run_why(c, why); }; });

  sub = add("doctor", "Checks this installation and says what to do.");
  sub->callback([&] { chosen = [](const Context& c) { return run_doctor(c); }; });

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? kOk : kUsage;  // --help and --version end here too
  }
  const Context context = Context::detect(json);
  code = guarded([&] { return chosen(context); });
  return code;
}

}  // namespace tg::cli
