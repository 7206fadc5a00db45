// SPDX-License-Identifier: Apache-2.0
#include <tengen/autograd.h>
#include <tengen/model.h>
#include <tengen/program.h>
#include <tengen/runtime.h>

#include <cmath>
#include <cstring>

#include "serialize/container.h"

namespace tg {
namespace {

constexpr const char *kGraph = "tengen.graph", *kFormat = "tengen.format", *kSums = "tengen.checksum", *kWeights = "w:";

std::string sample_name(size_t k, const char* what, size_t i) {
  return "sample:" + std::to_string(k) + ":" + what + ":" + std::to_string(i);
}

// FNV-1a over words (http://www.isthe.com/chongo/tech/comp/fnv/): finds damage, not malice.
uint64_t checksum(uint64_t h, const char* data, size_t n) {
  while (n) {
    uint64_t word = 0;
    const size_t k = std::min<size_t>(n, 8);
    std::memcpy(&word, data, k);
    h = (h ^ word) * 0x100000001b3ull;
    data += k, n -= k;
  }
  return h;
}
uint64_t checksum_of(const std::vector<std::pair<std::string, Tensor>>& tensors) {
  uint64_t h = 0xcbf29ce484222325ull;
  std::vector<char> bytes;
  for (const auto& [name, t] : tensors) {
    bytes.resize(size_t(t.nbytes()));
    if (!bytes.empty()) t.to_host(bytes.data());
    h = checksum(checksum(h, name.data(), name.size()), bytes.data(), bytes.size());
  }
  return h;
}
std::string hex(uint64_t v) {
  char text[20];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(v));
  return text;
}

Model read(const std::shared_ptr<Bytes>& bytes, Device* device, const std::string& where) {
  if (!device) device = default_device();
  const Container c = read_container(*bytes, where);
  const auto format = c.metadata.find(kFormat), graph = c.metadata.find(kGraph), sum = c.metadata.find(kSums);
  check(format != c.metadata.end() && format->second == "tgm" && graph != c.metadata.end(), "[", where,
        "] expected a Tengen model, got a safetensors file without one; tg.load reads checkpoints");
  Model m;
  try {
    m.graph = graph_from_json(graph->second, device);
  } catch (const Error& e) {
    throw Error(e.kind(), "[" + where + "] " + e.what());
  }
  std::vector<std::pair<std::string, Tensor>> weights;
  for (const auto& in : m.graph->inputs) {
    if (in->kind == GraphInput::argument) continue;
    const GraphValue& v = *in->value;
    const auto it = c.tensors.find(kWeights + v.name);
    check(it != c.tensors.end(), "[", where, "] expected the weights of ", v.name, ", they are not in the file");
    check(it->second.dtype == v.dtype && it->second.shape == v.shape, "[", where, "] expected ", v.name, " to be ", name_of(v.dtype), " ", str(v.shape), ", got ",
          name_of(it->second.dtype), " ", str(it->second.shape));
    in->bound = container_tensor(bytes, c, it->second, device);
    in->strides = in->bound.strides();
    weights.emplace_back(kWeights + v.name, in->bound);
  }
  if (sum != c.metadata.end())
    check(sum->second == hex(checksum_of(weights)), "[", where, "] expected weights whose checksum is ", sum->second, ", got others: the file is damaged");
  for (size_t k = 0; c.tensors.count(sample_name(k, "out", 0)); ++k) {
    ModelSample s;
    const auto take = [&](const char* what, Tensors* list) {
      for (size_t i = 0;; ++i) {
        const auto it = c.tensors.find(sample_name(k, what, i));
        if (it == c.tensors.end()) return;
        list->push_back(container_tensor(bytes, c, it->second, device));
      }
    };
    take("in", &s.inputs);
    take("out", &s.outputs);
    m.samples.push_back(std::move(s));
  }
  for (const auto& [key, value] : c.metadata)
    if (!key.starts_with("tengen.")) m.metadata[key] = value;
  return m;
}

double real_at(const std::vector<char>& bytes, size_t i, DType t) {
  return Scalar::load(t, bytes.data() + i * size_t(size_of(t))).as_double();
}

}  // namespace

void save_model(const Model& m, const std::string& path) {
  std::vector<std::pair<std::string, Tensor>> tensors;
  for (const auto& n : m.graph->nodes)
    check(n->op->name.find("::") == std::string::npos && n->op->name.find('.') == std::string::npos, "[save_model] expected ops of the op table, got ", n->op->name,
          ", which only this process has; a file cannot hold it");
  for (const auto& in : m.graph->inputs) {
    if (in->kind == GraphInput::argument) continue;
    check(in->bound.defined(), "[save_model] expected the state %", in->value->name, " to have a value");
    GradMode off(false);
    tensors.emplace_back(kWeights + in->value->name, in->bound.contiguous());
  }
  std::map<std::string, std::string> metadata = m.metadata;
  for (const auto& [key, value] : metadata) check(!key.starts_with("tengen."), "[save_model] expected names of metadata that do not begin with tengen., got ", key);
  metadata[kFormat] = "tgm";
  metadata[kGraph] = graph_json(*m.graph);
  metadata[kSums] = hex(checksum_of(tensors));
  for (size_t k = 0; k < m.samples.size(); ++k) {
    GradMode off(false);
    for (size_t i = 0; i < m.samples[k].inputs.size(); ++i) tensors.emplace_back(sample_name(k, "in", i), m.samples[k].inputs[i].contiguous());
    for (size_t i = 0; i < m.samples[k].outputs.size(); ++i) tensors.emplace_back(sample_name(k, "out", i), m.samples[k].outputs[i].contiguous());
  }
  write_container(path, tensors, metadata);
}

Model load_model(const std::string& path, Device* device) { return read(Bytes::map(path), device, path); }
Model load_model(const void* data, size_t bytes, Device* device, const std::string& name) { return read(Bytes::copy(data, bytes), device, name); }

SelfTest self_test(const Model& m) {
  check(!m.samples.empty(), "[selftest] expected a model with examples; dump it with selftest=1 or more");
  check(m.graph->updates.empty(), "[selftest] expected a model that changes no state");
  auto program = lower(*m.graph);
  SelfTest result;
  for (const ModelSample& s : m.samples) {
    const Program::Results r = program->run(s.inputs);
    ++result.samples;
    bool identical = r.outputs.size() == s.outputs.size();
    for (size_t i = 0; i < s.outputs.size() && i < r.outputs.size(); ++i) {
      const Tensor &got = r.outputs[i], &want = s.outputs[i];
      check(got.dtype() == want.dtype() && got.shape() == want.shape(), "[selftest] expected result ", i, " of shape ", str(want.shape()), ", got ", str(got.shape()));
      std::vector<char> a(size_t(want.nbytes())), b(size_t(got.nbytes()));
      if (a.empty()) continue;
      want.to_host(a.data());
      got.to_host(b.data());
      if (a == b) continue;
      identical = false;
      for (int64_t k = 0; k < want.numel(); ++k) {
        const double x = real_at(a, size_t(k), want.dtype()), y = real_at(b, size_t(k), want.dtype());
        const double d = x == y || (std::isnan(x) && std::isnan(y)) ? 0 : std::abs(x - y) / (1 + std::abs(x));
        result.worst = std::isnan(d) ? INFINITY : std::max(result.worst, d);
      }
    }
    result.identical += identical;
  }
  return result;
}

}  // namespace tg
