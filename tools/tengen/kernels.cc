// SPDX-License-Identifier: Apache-2.0
// tengen kernels [--op] [--dtype] [--plugin]: the rows of the usable plugins, from their manifests. Exit code 1: none.
#include <cstdio>

#include <tengen/runtime.h>

#include "commands.h"

namespace tg::cli {
namespace {

std::string opcode_text(const registry::ManifestRow& r) {
  const uint64_t all = (uint64_t(1) << TG_MAP_END) - 2, mandatory = (uint64_t(1) << TG_MAP_MANDATORY_END) - 2;
  if (r.opcodes == all) return "all opcodes";
  if (r.opcodes == mandatory) return "the mandatory opcodes";
  return std::to_string(__builtin_popcountll(r.opcodes)) + " opcodes";
}

std::vector<std::string> opcode_names(const registry::ManifestRow& r) {
  std::vector<std::string> out;
  for (int i = 1; i < TG_MAP_END; ++i) {
    if (r.opcodes >> i & 1) out.emplace_back(registry::map_opcode_name(i));
  }
  return out;
}

std::string argument_text(uint64_t mask) {
  if (mask == ~uint64_t(0)) return "all";
  std::string out;
  for (int i = 0; i < 64; ++i) {
    if (mask >> i & 1) out += (out.empty() ? "" : " ") + std::string(i < 32 ? "in" : "out") + std::to_string(i % 32);
  }
  return out;
}

std::string remarks(const registry::ManifestRow& r, const std::string& missing) {
  std::string out;
  const auto add = [&](const std::string& text) { out += (out.empty() ? "" : "; ") + text; };
  if (!missing.empty())
    add("not on this CPU: lacks " + missing);
  else if (!r.features.empty())
    add("needs " + r.features);
  if (const std::string problem = kernel_name_problem(r.op); !problem.empty()) add(problem);
  if (r.op == "map") add(opcode_text(r));
  if (r.max_insts) add("at most " + std::to_string(r.max_insts) + " instructions");
  if (!r.layouts.empty()) add("layouts " + r.layouts);
  if (r.max_rank) add("rank up to " + std::to_string(r.max_rank));
  if (r.packed) add("packed " + argument_text(r.packed));
  if (r.bake_dims) add("a plan per shape");
  if (r.flags & TG_ROW_NONDETERMINISTIC) add("not deterministic");
  if (r.flags & TG_ROW_ASYNC) add("asynchronous");
  return out;
}

}  // namespace

int run_kernels(const Context& context, const KernelsOptions& options) {
  std::optional<int> dtype;
  if (!options.dtype.empty()) {
    dtype = registry::find_dtype(options.dtype);
    if (!dtype) {
      std::string all;
      for (int i = 0; i < registry::kDtypeCount; ++i) all += (i ? " " : "") + std::string(registry::dtype_name(i));
      throw UsageError("expected a dtype (" + all + "), got '" + options.dtype + "'");
    }
  }
  Table table({{"plugin", "PLUGIN"},
               {"op", "OP"},
               {"name", "KERNEL"},
               {"dtypes", "DTYPES"},
               {"domain", "DOMAIN"},
               {"score", "SCORE"},
               {"revision", ""},
               {"features", ""},
               {"cpu_missing", ""},
               {"opcodes", ""},
               {"packed", ""},
               {"bake_dims", ""},
               {"bake_strides", ""},
               {"max_rank", ""},
               {"max_insts", ""},
               {"layouts", ""},
               {"deterministic", ""},
               {"remarks", "REMARKS"}});
  bool plugin_met = options.plugin.empty();
  const auto candidates = list_plugins();
  for (const auto& c : candidates) {
    if (!options.plugin.empty() && c.name != options.plugin) continue;
    if (!c.usable()) {
      if (!options.plugin.empty() && c.status != registry::Status::kShadowed)
        std::fprintf(stderr, "%s cannot be used (%s): %s\n", c.name.c_str(), registry::to_string(c.status),
                     c.reason.c_str());
      continue;
    }
    plugin_met = true;
    for (const auto& r : c.manifest->kernels) {
      if (!options.op.empty() && r.op != options.op) continue;
      if (dtype && !r.pattern.mentions(*dtype)) continue;
      const std::string missing = r.domain == "host" ? registry::missing_cpu_features(r.features) : "";
      table.row({c.name, r.op, r.name, r.dtypes, r.domain.empty() ? Cell("own", Style::kDim, "null") : Cell(r.domain),
                 number(r.score), number(r.revision), r.features, missing, words(opcode_names(r)),
                 argument_text(r.packed), argument_text(r.bake_dims), argument_text(r.bake_strides), number(r.max_rank),
                 number(r.max_insts), r.layouts, Cell("", Style::kPlain, r.flags & TG_ROW_NONDETERMINISTIC ? "false" : "true"),
                 missing.empty() ? dim(remarks(r, missing)) : warn(remarks(r, missing))});
    }
  }
  if (context.json || !table.empty()) table.print(context);
  std::fflush(stdout);
  for (const auto& c : candidates)
    if (options.plugin.empty() || c.name == options.plugin) warn_of_manifest(context, c);
  if (table.empty() && !context.json)
    std::fprintf(stderr, "%s\n",
                 plugin_met ? "no kernel row matches" : ("no usable plugin is named '" + options.plugin + "'").c_str());
  return table.empty() ? kNone : kOk;
}

}  // namespace tg::cli
