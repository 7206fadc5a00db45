// SPDX-License-Identifier: Apache-2.0
// tengen inspect FILE.tgm: what is in a model, and whether it can run here. Exit code 1: it cannot.
#include <tengen/model.h>
#include <tengen/program.h>
#include <tengen/runtime.h>

#include <cstdio>
#include <map>

#include "commands.h"

namespace tg::cli {
namespace {

std::string spec(const GraphValue& v) {
  std::string s = "%" + v.name + ": " + name_of(v.dtype) + "[";
  for (size_t i = 0; i < v.shape.size(); ++i) s += (i ? ", " : "") + std::to_string(v.shape[i]);
  return s + "]";
}

}  // namespace

int run_inspect(const Context& context, const std::string& file, bool graph) {
  prepare_core();
  const Model model = load_model(file);
  if (graph && !context.json) {
    std::printf("%s", model.graph->text().c_str());
    return kOk;
  }
  std::map<std::string, int> counts;
  for (const auto& n : model.graph->nodes) ++counts[n->op->name];
  uint64_t weights = 0;
  std::vector<std::string> arguments, results;
  for (const auto& in : model.graph->inputs)
    if (in->kind == GraphInput::argument) arguments.push_back(spec(*in->value));
    else weights += in->bound.nbytes();
  for (const GraphValue* v : model.graph->outputs) results.push_back(spec(*v));
  std::string problem;
  uint64_t arena = 0, launches = 0;
  try {
    const auto program = lower(*model.graph);
    arena = program->arena_bytes();
    launches = program->launches();
  } catch (const Error& e) {
    problem = e.what();
  }
  if (context.json) {
    std::vector<std::pair<std::string, std::string>> ops, metadata;
    for (const auto& [name, n] : counts) ops.emplace_back(name, std::to_string(n));
    for (const auto& [name, value] : model.metadata) metadata.emplace_back(name, json_text(value));
    std::printf("%s\n", json_object({{"arguments", json_list(arguments)}, {"results", json_list(results)}, {"ops", json_object(ops)},
                                     {"metadata", json_object(metadata)}, {"weights_bytes", std::to_string(weights)},
                                     {"arena_bytes", std::to_string(arena)}, {"launches", std::to_string(launches)},
                                     {"examples", std::to_string(model.samples.size())}, {"runs_here", problem.empty() ? "true" : "false"},
                                     {"why_not", json_text(problem)}}).c_str());
    return problem.empty() ? kOk : kNone;
  }
  for (const auto& a : arguments) std::printf("takes    %s\n", a.c_str());
  for (const auto& r : results) std::printf("gives    %s\n", r.c_str());
  std::printf("weights  %s\nexamples %zu\n", bytes_text(weights).c_str(), model.samples.size());
  for (const auto& [name, value] : model.metadata) std::printf("%-8s %s\n", name.c_str(), value.c_str());
  std::printf("\n");
  Table table({{"op", "OP"}, {"count", "COUNT"}});
  for (const auto& [name, n] : counts) table.row({name, number(n)});
  table.print(context);
  if (problem.empty()) std::printf("\nruns here on %s: %llu kernels, %s between arguments and results\n", device_name(default_device()).c_str(),
                                   static_cast<unsigned long long>(launches), bytes_text(arena).c_str());
  else std::printf("\ncannot run here: %s\n", problem.c_str());
  return problem.empty() ? kOk : kNone;
}

}  // namespace tg::cli
