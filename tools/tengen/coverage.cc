// SPDX-License-Identifier: Apache-2.0
// tengen coverage: op by plugin. Exit code 1: some op can run nowhere.
#include <tengen/runtime.h>

#include <cstdio>
#include <map>
#include <set>

#include "commands.h"

namespace tg::cli {

int run_coverage(const Context& context, const CoverageOptions& options) {
  prepare_core();
  devices();  // loads the plugins
  std::map<std::string, std::map<std::string, std::string>> cells;
  std::set<std::string> plugins;
  for (const auto& cell : coverage()) {
    cells[cell.op][cell.plugin] = cell.state;
    plugins.insert(cell.plugin);
  }
  std::vector<Column> columns{{"op", "OP"}};
  for (const auto& p : plugins) columns.push_back({p, p});
  Table table(columns);
  std::map<std::string, int> kernels;
  int nowhere = 0;
  for (const auto& [op, states] : cells) {
    bool lacking = false, runs = false;
    std::vector<Cell> row{op};
    for (const auto& p : plugins) {
      const auto it = states.find(p);
      const std::string state = it == states.end() ? "no" : it->second;
      kernels[p] += state == "kernel";
      lacking |= state == "no" || state == "decomposes";
      runs |= state != "no";
      row.push_back(state == "kernel" ? good(state) : state == "no" ? bad(state) : dim(state));
    }
    nowhere += !runs;
    if (!options.missing || lacking) table.row(std::move(row));
  }
  if (plugins.empty()) {
    if (context.json)
      std::printf("[]\n");
    else
      std::fprintf(stderr, "no plugin with kernels could be loaded; `tengen plugins` says why\n");
    return kNone;
  }
  table.print(context);
  if (!context.json) {
    std::printf("\n%zu ops;", cells.size());
    for (const auto& p : plugins) std::printf(" %s has kernels for %d;", p.c_str(), kernels[p]);
    std::printf(" %d can run nowhere\n", nowhere);
  }
  return nowhere ? kNone : kOk;
}

}  // namespace tg::cli
