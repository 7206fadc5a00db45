// SPDX-License-Identifier: Apache-2.0
// Models as files (.tgm): a graph, its weights, and examples that prove the numbers. The container is safetensors
// (https://huggingface.co/docs/safetensors), 64-byte aligned; the graph is JSON in its metadata. docs/design/015-model-files.md.
//
//   tg::Model m = tg::load_model("net.tgm");
//   auto program = tg::lower(*m.graph);
//   tg::Tensors y = program->run({x}).outputs;
#pragma once
#include <tengen/graph.h>

#include <map>

namespace tg {

struct ModelSample {
  Tensors inputs, outputs;
};

struct Model {
  std::unique_ptr<Graph> graph;  // states and constants are bound
  std::map<std::string, std::string> metadata;  // the user's own
  std::vector<ModelSample> samples;
  int schema = 1;
};

inline constexpr int kModelSchema = 1;

// Written beside its place, flushed, renamed. ValueError for a graph that cannot be in a file (gradients, Python's ops);
// OSError.
void save_model(const Model& model, const std::string& path);
// Weights in host memory are the file's own pages: processes share them until they write. ValueError for a file that is not
// what it says, with the path; OSError. Nothing is believed: every offset, shape, name and op is checked.
Model load_model(const std::string& path, Device* device = nullptr);
// The same from memory, which is copied.
Model load_model(const void* data, size_t bytes, Device* device, const std::string& name = "memory");

std::string graph_json(const Graph& graph);
// States and constants are left unbound. ValueError.
std::unique_ptr<Graph> graph_from_json(std::string_view json, Device* device);

// What happened to the examples of a model: largest differences in units of the op bounds are not known here, so in absolute
// and relative terms.
struct SelfTest {
  size_t samples = 0, identical = 0;  // bit for bit
  double worst = 0;                   // the largest |difference| / (1 + |expected|)
};
SelfTest self_test(const Model& model);

}  // namespace tg
