// SPDX-License-Identifier: Apache-2.0
// The list of passes, and how they are run.
#include <tengen/passes.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <set>

namespace tg {
namespace {

constexpr Pass kPasses[] = {
    {"fold", "small results that depend on no input are computed now", 1, fold_constants},
    {"cse", "equal calls of equal operands are made once", 1, merge_common_subexpressions},
    {"dead_code", "calls whose results nobody looks at are left out", 1, remove_dead_code},
};

// The names in TENGEN_PASSES, and whether they are the ones to run or to leave.
struct Choice {
  bool given = false, leave = false;
  std::set<std::string> names;
  bool allows(const char* name) const { return !given || names.count(name) != leave; }
};
Choice chosen() {
  Choice c;
  const char* text = std::getenv("TENGEN_PASSES");
  if (!text) return c;
  c.given = true;
  std::string rest(text);
  while (!rest.empty()) {
    const size_t end = std::min(rest.find(','), rest.size());
    std::string name = rest.substr(0, end);
    rest.erase(0, end + 1);
    if (name.empty()) continue;
    if (name[0] == '-') c.leave = true, name.erase(0, 1);
    check(std::any_of(std::begin(kPasses), std::end(kPasses), [&](const Pass& p) { return name == p.name; }),
          "[TENGEN_PASSES] expected names of passes, got ", name, "; there are fold, cse, dead_code");
    c.names.insert(name);
  }
  return c;
}

}  // namespace

std::span<const Pass> passes() { return kPasses; }

std::vector<PassResult> optimise(Graph& graph, int level) {
  const Choice choice = chosen();
  const bool verify = std::getenv("TENGEN_VERIFY") != nullptr;
  std::vector<PassResult> results;
  for (const Pass& p : kPasses) {
    if (p.level > level || !choice.allows(p.name)) continue;
    const auto start = std::chrono::steady_clock::now();
    const size_t changes = p.run(graph);
    results.push_back({p.name, changes, std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count()});
    if (verify) graph.verify();
  }
  graph.verify();
  return results;
}

}  // namespace tg
