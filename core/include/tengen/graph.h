// SPDX-License-Identifier: Apache-2.0
// Static graphs: calls of ops as data. A graph is functional; writes into memory that it found are listed as updates.
//
//   graph(%x: f32[4, 3]) {
//     state %w: f32[2, 3]
//     %0: f32[4, 2] = linear(%x, %w, _)
//     %1: f32[4, 2] = mul(%0, 2.0)
//     return %1
//   }
//
//   auto g = tg::Graph::parse(text);  g->verify();  std::cout << g->text();
//   for (auto& node : g->nodes) ...
#pragma once
#include <tengen/op.h>

#include <list>
#include <optional>

namespace tg {

struct GraphNode;

// A tensor in a graph: a result of a node, or an input.
struct GraphValue {
  std::string name;  // without %
  DType dtype = DType::f32;
  Ints shape;
  GraphNode* producer = nullptr;  // NULL: an input
  size_t index = 0;               // among the producer's results
};

struct GraphOperand {
  Arg::Kind kind = Arg::absent;
  GraphValue* value = nullptr;
  Scalar scalar{};
};

// One call. Attributes are complete, in the schema's order.
struct GraphNode {
  const Op* op = nullptr;
  std::vector<GraphOperand> inputs;
  Attrs attrs;
  std::vector<std::unique_ptr<GraphValue>> outputs;  // NULL: not wanted
  std::vector<GraphValue*> into;  // by output: whose memory the call writes over, or NULL; empty: nobody's
  Device* device = nullptr;
  int64_t random_at = -1;  // it draws random numbers: from here on, in blocks after where the generator is when a run begins
  int host_call = -1;  // the first attributes are numbers that this host call gives anew in every run
  uint64_t wanted() const;
};

struct GraphInput {
  enum Kind : uint8_t { argument, state, constant } kind = argument;
  std::unique_ptr<GraphValue> value;
  Ints strides;
  Device* device = nullptr;
  Tensor bound;        // state and constants: the tensor
  Tensor gradient_of;  // state that is found as the .grad of this tensor
};

// What holds after a run besides the results.
struct GraphUpdate {
  GraphInput* input;  // a state or an argument, whose memory gets
  GraphValue* value;  // this
};
struct GraphGradient {
  Tensor leaf;        // whose .grad becomes
  GraphValue* value;  // this; NULL: none
};

class Graph {
 public:
  std::string name = "graph";
  std::vector<std::unique_ptr<GraphInput>> inputs;
  std::list<std::unique_ptr<GraphNode>> nodes;  // in the order of execution
  std::vector<GraphValue*> outputs;
  std::vector<GraphUpdate> updates;
  std::vector<GraphGradient> gradients;
  size_t host_calls = 0;
  int64_t random_blocks = 0;  // that a run takes from the generator

  GraphInput& add_input(GraphInput::Kind kind, std::string name, DType dtype, const Ints& shape, const Ints& strides, Device* device);
  // Before `where` (default: at the end). Results are inferred by whoever calls: one spec per output, dtype and shape.
  GraphNode& add_node(const Op& op, std::vector<GraphOperand> inputs, Attrs attrs, std::vector<std::optional<std::pair<DType, Ints>>> results,
                      Device* device);
  std::string text() const;
  static std::unique_ptr<Graph> parse(std::string_view text);  // ValueError with the line
  std::unique_ptr<Graph> clone() const;
  // RuntimeError for the first thing that does not hold: operands come before their users, specs are what ops infer, ...
  void verify() const;
  void replace(GraphValue* value, GraphValue* by);  // everywhere
  // Cuts the graph in two: the first `n` nodes, and the rest. `n_outputs` of the results and the first `n_arguments`
  // arguments stay with the first part, which gives besides what the second needs (`saved` values: results of the first,
  // arguments of the second, in that order before its own arguments). States go where they are used; updates stay.
  std::pair<std::unique_ptr<Graph>, std::unique_ptr<Graph>> cut(size_t n, size_t n_arguments, size_t n_outputs, size_t* saved) const;
  std::vector<GraphNode*> users(const GraphValue* value) const;
  std::string fresh_name();

 private:
  int next_ = 0;
};

std::string attr_text(const Attr& a);

}  // namespace tg
