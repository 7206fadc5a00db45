// SPDX-License-Identifier: Apache-2.0
// A graph, ready to run: a list of kernel launches over memory that is planned ahead (docs/design/014-static-graphs.md).
//
//   auto program = tg::lower(*graph);
//   std::cout << program->arena_bytes();
//   tg::Tensors y = program->run({x});
#pragma once
#include <tengen/graph.h>

namespace tg {

class Program {
 public:
  virtual ~Program() = default;
  struct Results {
    Tensors outputs;
    Tensors gradients;  // by Graph::gradients; undefined where there is none
  };
  // `arguments` in the graph's order, of its dtypes, shapes and strides (ValueError); `numbers`: what each host call gives.
  // States are read and written where they are. One run at a time; others wait.
  virtual Results run(std::span<const Tensor> arguments, std::span<const std::vector<double>> numbers = {}) = 0;

  // Whether the states are still of the dtypes, shapes, strides and devices that the program was made for.
  virtual bool fits() const = 0;
  virtual std::vector<Ints> output_strides() const = 0;
  virtual uint64_t arena_bytes() const = 0;   // memory for what is neither argument, state, constant nor result
  virtual uint64_t result_bytes() const = 0;  // memory that a run makes for its results
  virtual size_t launches() const = 0;        // kernels that a run starts
  virtual size_t calls() const = 0;           // eager calls that a run makes beside them
  virtual std::string text() const = 0;       // the list of launches
};

struct LowerOptions {
  bool fuse = true;  // chains of elementwise launches become one; no bit of any result changes
};

// Chooses kernels for every node and plans memory. `numbers`: what host calls gave last, in number. The graph may go; the
// tensors that it is bound to are kept.
std::unique_ptr<Program> lower(const Graph& graph, std::span<const std::vector<double>> numbers = {}, LowerOptions options = {});

}  // namespace tg
