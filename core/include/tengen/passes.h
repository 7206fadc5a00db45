// SPDX-License-Identifier: Apache-2.0
// Passes: functions that make a graph better and mean the same.
//
//   auto g = tg::Graph::parse(text);
//   for (const tg::PassResult& r : tg::optimise(*g, 1)) std::cout << r.name << " " << r.changes << "\n";
#pragma once
#include <tengen/graph.h>

namespace tg {

struct Pass {
  const char* name;
  const char* doc;
  int level;             // from which on it runs: 1 changes no bit of any result, 2 may change rounding
  size_t (*run)(Graph&);  // how many things it changed
};
// All, in the order in which they run.
std::span<const Pass> passes();

struct PassResult {
  const char* name;
  size_t changes = 0;
  double ms = 0;
};
// Runs the passes of a level. TENGEN_PASSES names those that may run ("dead_code,fold") or, each with a minus, those that may
// not ("-fold"); ValueError for a name that is none. The graph is verified at the end, and with TENGEN_VERIFY after every pass.
std::vector<PassResult> optimise(Graph& graph, int level);

size_t remove_dead_code(Graph& graph);         // nodes whose results nobody looks at
size_t merge_common_subexpressions(Graph& graph);  // equal calls of equal operands
size_t fold_constants(Graph& graph);           // small results that depend on no input: computed now

}  // namespace tg
