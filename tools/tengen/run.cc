// SPDX-License-Identifier: Apache-2.0
// tengen run FILE.tgm: runs a model, times it, or proves its numbers. Exit code 1: the examples came out otherwise.
#include <tengen/model.h>
#include <tengen/program.h>
#include <tengen/random.h>
#include <tengen/runtime.h>

#include <algorithm>
#include <chrono>
#include <cstdio>

#include "commands.h"

namespace tg::cli {
namespace {

// Floats uniform in [0, 1), integers 0.
Tensors made_up(const Graph& graph) {
  manual_seed(0);
  Tensors inputs;
  for (const auto& in : graph.inputs) {
    if (in->kind != GraphInput::argument) continue;
    const GraphValue& v = *in->value;
    const bool floats = is_floating(v.dtype);
    const Tensor values = floats ? op<"uniform">({}, {v.shape, 0.0, 1.0, v.dtype}, in->device) : op<"full">({}, {v.shape, 0.0, v.dtype}, in->device);
    if (in->strides == values.strides()) {
      inputs.push_back(values);
      continue;
    }
    int64_t extent = 1;
    for (size_t i = 0; i < v.shape.size(); ++i) extent += std::max<int64_t>(v.shape[i] - 1, 0) * in->strides[i];
    inputs.push_back(op<"full">({}, {Ints{extent}, 0.0, v.dtype}, in->device).alias(v.shape, in->strides, 0));
  }
  return inputs;
}

int prove(const Context& context, const Model& model, double bound) {
  const SelfTest t = self_test(model);
  const bool ok = t.worst <= bound;
  if (context.json) {
    std::printf("%s\n", json_object({{"samples", std::to_string(t.samples)}, {"identical", std::to_string(t.identical)},
                                     {"worst", detail::concat(t.worst)}, {"ok", ok ? "true" : "false"}}).c_str());
    return ok ? kOk : kNone;
  }
  if (t.identical == t.samples) std::printf("all %zu examples came out bit for bit\n", t.samples);
  else
    std::printf("%zu of %zu examples came out bit for bit; the others differ by up to %.3g of 1 + |expected|, %s the bound of %.3g\n", t.identical, t.samples,
                t.worst, ok ? "within" : "beyond", bound);
  return ok ? kOk : kNone;
}

}  // namespace

int run_model(const Context& context, const RunOptions& options) {
  prepare_core();
  if (options.threads > 0) set_num_threads(options.threads);
  Device* device = options.device.empty() ? nullptr : find_device(options.device);
  const auto start = std::chrono::steady_clock::now();
  const auto since = [&](auto from) { return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - from).count(); };
  const Model model = load_model(options.file, device);
  if (options.selftest) return prove(context, model, options.bound);
  if (model.graph->host_calls) throw UsageError("[run] expected a model that needs no numbers of its caller (it holds an optimizer's step)");
  const auto program = lower(*model.graph);
  const Tensors inputs = model.samples.empty() ? made_up(*model.graph) : model.samples[0].inputs;
  Tensors results = program->run(inputs).outputs;
  if (!results.empty()) synchronize(results[0].device());
  const double first = since(start);
  std::vector<double> ms;
  for (int i = 0; i < options.warm_up + options.repeat; ++i) {
    const auto from = std::chrono::steady_clock::now();
    results = program->run(inputs).outputs;
    if (!results.empty()) synchronize(results[0].device());
    if (i >= options.warm_up) ms.push_back(since(from));
  }
  std::sort(ms.begin(), ms.end());
  const auto at = [&](double q) { return ms.empty() ? 0 : ms[std::min(ms.size() - 1, size_t(q * double(ms.size())))]; };
  const std::vector<std::pair<std::string, double>> figures{
      {"load_and_first_run_ms", first}, {"min_ms", at(0)}, {"median_ms", at(0.5)}, {"p90_ms", at(0.9)}, {"p99_ms", at(0.99)}};
  if (context.json) {
    std::vector<std::pair<std::string, std::string>> fields;
    for (const auto& [name, v] : figures) fields.emplace_back(name, detail::concat(v));
    fields.emplace_back("runs", std::to_string(ms.size()));
    fields.emplace_back("launches", std::to_string(program->launches()));
    fields.emplace_back("arena_bytes", std::to_string(program->arena_bytes()));
    fields.emplace_back("result_bytes", std::to_string(program->result_bytes()));
    std::printf("%s\n", json_object(fields).c_str());
    return kOk;
  }
  Table table({{"figure", "FIGURE"}, {"value", "VALUE"}});
  char text[64];
  const auto row = [&](const char* name, const char* format, double v) {
    std::snprintf(text, sizeof text, format, v);
    table.row({name, text});
  };
  row("load and first run", "%.2f ms", figures[0].second);
  row("fastest run", "%.3f ms", figures[1].second);
  row("median", "%.3f ms", figures[2].second);
  row("90th percentile", "%.3f ms", figures[3].second);
  row("99th percentile", "%.3f ms", figures[4].second);
  row("kernels per run", "%.0f", double(program->launches()));
  table.row({"memory between", bytes_text(program->arena_bytes())});
  table.row({"memory of results", bytes_text(program->result_bytes())});
  table.print(context);
  return kOk;
}

}  // namespace tg::cli
