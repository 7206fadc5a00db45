// SPDX-License-Identifier: Apache-2.0
// tengen plugins [NAME] [--probe]: what the search finds, and what earlier probes said of it. Exit code 1 where nothing is usable.
#include <cstdio>
#include <map>
#include <set>

#include <tengen/runtime.h>

#include "commands.h"

namespace tg::cli {
namespace {

using registry::Candidate;
using registry::Status;

Cell status_cell(const Candidate& c) {
  const std::string text = registry::to_string(c.status);
  if (c.usable()) return good(text);
  return c.status == Status::kShadowed ? dim(text) : bad(text);
}

std::vector<std::string> device_kinds(const Candidate& c) {
  std::vector<std::string> out;
  if (c.manifest) {
    for (const auto& d : c.manifest->devices) out.push_back(d.kind);
  }
  return out;
}

std::string abi_range(const registry::Manifest& m) {
  return m.abi_min == m.abi_max ? registry::abi_text(m.abi_min)
                                : registry::abi_text(m.abi_min) + "-" + registry::abi_text(m.abi_max);
}

std::string manifest_json(const Candidate& c) {
  if (!c.manifest) return "null";
  const auto& m = *c.manifest;
  std::string rows = "[";
  for (const auto& r : m.kernels)
    rows += (rows.size() > 1 ? ", " : "") +
            json_object({{"op", json_text(r.op)}, {"name", json_text(r.name)}, {"dtypes", json_text(r.dtypes)}});
  return json_object({{"vendor", json_text(m.vendor)},
                      {"version", json_text(m.version)},
                      {"licence", json_text(m.licence)},
                      {"summary", json_text(m.summary)},
                      {"abi", json_text(abi_range(m))},
                      {"fallback", m.fallback ? "true" : "false"},
                      {"kernels", rows + "]"}});
}

void details(const Context& c, const Candidate& p, const std::vector<registry::ProbedDevice>& devices) {
  const auto line = [&](const char* key, const std::string& value, Style style = Style::kPlain) {
    if (value.empty()) return;
    const std::string head = std::string(key) + std::string(12 - std::min<size_t>(11, std::string(key).size()), ' ');
    std::printf("%s%s\n", paint(c, Style::kBold, head).c_str(), paint(c, style, wrap(c, value, 12)).c_str());
  };
  const Cell status = status_cell(p);
  line("name", p.name);
  line("status", status.text, status.style);
  line("reason", p.reason);
  for (const auto& note : p.notes) line("note", note, Style::kWarn);
  if (p.manifest) {
    const auto& m = *p.manifest;
    line("summary", m.summary);
    line("vendor", m.vendor);
    line("version", m.version);
    line("licence", m.licence);
    line("abi", abi_range(m));
    line("role", m.fallback ? "fallback: ranks behind every other plugin" : "");
    for (const auto& [arch, features] : m.cpu) {
      std::string text;
      for (const auto& f : features) text += (text.empty() ? "" : " ") + f;
      line("cpu", arch + ": " + (text.empty() ? "any" : text));
    }
    for (const auto& d : m.devices) line("device", d.kind + (d.summary.empty() ? "" : ": " + d.summary));
    std::map<std::string, int> ops;
    for (const auto& r : m.kernels) ++ops[r.op];
    std::string text;
    for (const auto& [op, n] : ops)
      text += (text.empty() ? "" : ", ") + op + (n > 1 ? " (" + std::to_string(n) + ")" : "");
    line("kernels", std::to_string(m.kernels.size()) + " rows: " + text);
  }
  for (const auto& d : devices) line("found", d.kind + ": " + d.name + ", " + bytes_text(d.memory_bytes));
  line("library", p.library.string());
  line("manifest", p.manifest_file.empty() ? "embedded in the library" : p.manifest_file.string());
  line("through", std::string(registry::to_string(p.source)) + " (" + p.origin + ")");
}

}  // namespace

std::vector<std::string> manifest_problems(const Candidate& c) {
  std::vector<std::string> out;
  if (!c.manifest || !c.usable()) return out;
  std::set<std::string> seen;
  for (const auto& row : c.manifest->kernels) {
    if (!seen.insert(row.op).second) continue;
    if (std::string problem = kernel_name_problem(row.op); !problem.empty()) out.push_back(std::move(problem));
  }
  return out;
}

void warn_of_manifest(const Context& context, const Candidate& c) {
  for (const auto& problem : manifest_problems(c))
    std::fprintf(stderr, "%s\n", wrap(context, "warning: plugin " + c.name + ": " + problem, 2).c_str());
}

int run_plugins(const Context& context, const PluginsOptions& options) {
  const auto probing = probe_options();
  Table table({{"name", "NAME"},
               {"version", "VERSION"},
               {"status", "STATUS"},
               {"kernels", "KERNELS"},
               {"devices", "DEVICES"},
               {"source", "FROM"},
               {"usable", ""},
               {"reason", ""},
               {"library", ""},
               {"notes", ""},
               {"manifest", ""},
               {"probed", ""},
               {"tried", ""},
               {"where", "LIBRARY OR REASON"}});
  bool any_usable = false, met = false;
  int untried = 0;
  std::vector<Candidate> candidates = registry::scan(scan_options());
  for (Candidate& c : candidates) {
    if (!options.name.empty() && c.name != options.name) continue;
    std::vector<registry::ProbedDevice> devices;
    bool tried = false;
    if (c.usable()) {  // what an earlier probe said is known without running anything
      const auto verdict = options.probe ? std::optional(registry::probe(c.library, probing))
                                         : registry::known_verdict(c.library, probing);
      tried = verdict.has_value();
      untried += !tried;
      if (verdict) {
        devices = verdict->devices;
        registry::take_verdict(c, *verdict);
      }
    }
    any_usable |= c.usable();
    for (auto& problem : manifest_problems(c)) c.notes.push_back(std::move(problem));
    if (!options.name.empty() && !context.json) {
      if (met) std::printf("\n");
      details(context, c, devices);
    }
    met = true;
    std::string found = "[";
    for (const auto& d : devices)
      found += (found.size() > 1 ? ", " : "") + json_object({{"kind", json_text(d.kind)},
                                                             {"name", json_text(d.name)},
                                                             {"domain", json_text(d.domain)},
                                                             {"memory_bytes", std::to_string(d.memory_bytes)}});
    table.row({c.name, c.manifest ? c.manifest->version : "", status_cell(c),
               c.manifest ? number((long long)c.manifest->kernels.size()) : Cell("", Style::kPlain, "null"),
               words(device_kinds(c)), registry::to_string(c.source),
               Cell("", Style::kPlain, c.usable() ? "true" : "false"), c.reason, c.library.string(), words(c.notes),
               Cell("", Style::kPlain, manifest_json(c)), Cell("", Style::kPlain, found + "]"),
               Cell("", Style::kPlain, tried ? "true" : "false"),
               c.usable() ? dim(c.library.string()) : Cell(c.reason)});
  }
  if (context.json || options.name.empty()) table.print(context);
  if (!context.json && options.name.empty()) {
    std::fflush(stdout);
    for (const Candidate& c : candidates) warn_of_manifest(context, c);
    if (untried)
      std::fprintf(stderr, "%s\n", wrap(context, std::to_string(untried) + (untried == 1 ? " plugin has" : " plugins have") +
          " not been tried on this machine yet; `tengen plugins --probe` tries them in a subprocess, as does their first use", 2).c_str());
  }
  if (!met && !context.json) {
    std::fprintf(stderr, "%s\n",
                 options.name.empty()
                     ? "no plugin was found; TENGEN_PLUGIN_PATH names directories to search"
                     : ("no plugin is named '" + options.name + "'; `tengen plugins` lists what there is").c_str());
  }
  return any_usable ? kOk : kNone;
}

}  // namespace tg::cli
