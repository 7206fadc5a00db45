// SPDX-License-Identifier: Apache-2.0
// Shape inference on symbolic sizes: what a graph that serves all batch sizes asks of every op.
#include <gtest/gtest.h>
#include <tengen/op.h>

namespace tg {
namespace {

const Dim n = Dim::symbol("n"), h = Dim::symbol("h");

// Shapes of the outputs of an op for f32 inputs of these shapes; `given` attributes come first, defaults fill the rest.
std::vector<std::string> infer(const char* name, std::vector<Shape> shapes, Attrs given = {}, DType last = DType::f32) {
  const Op& op = require_op(name);
  std::vector<TensorSpec> specs;
  std::vector<const TensorSpec*> inputs;
  specs.reserve(shapes.size());
  for (size_t i = 0; i < shapes.size(); ++i) {
    specs.push_back({i + 1 == shapes.size() ? last : DType::f32, shapes[i]});
    inputs.push_back(&specs.back());
  }
  for (size_t i = given.size(); i < op.attrs.size(); ++i) given.push_back(op.attrs[i].default_value);
  std::vector<std::string> out;
  for (const TensorSpec& s : op.infer(Inference{op, inputs, given})) {
    std::ostringstream text;
    text << str(s.shape);
    out.push_back(text.str());
  }
  return out;
}
using Texts = std::vector<std::string>;

TEST(SymbolicInference, Views) {
  EXPECT_EQ(infer("permute", {{n, 3, h}}, {Ints{2, 0, 1}}), Texts{"(h, n, 3)"});
  EXPECT_EQ(infer("reshape", {{n, 3, 4}}, {Ints{-1, 12}}), Texts{"(n, 12)"});
  EXPECT_EQ(infer("reshape", {{n, 4}}, {Ints{-1, 2}}), Texts{"(2*n, 2)"});
  EXPECT_EQ(infer("flatten", {{n, 3, 4}}, {1, -1}), Texts{"(n, 12)"});
  EXPECT_EQ(infer("slice", {{n, 3}}, {0, 1}), Texts{"(n - 1, 3)"});
  EXPECT_EQ(infer("select", {{n, 3}}, {1, 2}), Texts{"(n,)"});
  EXPECT_EQ(infer("unsqueeze", {{n}}, {Ints{0}}), Texts{"(1, n)"});
  EXPECT_EQ(infer("expand", {{n, 1}}, {Ints{-1, 5}}), Texts{"(n, 5)"});
}

TEST(SymbolicInference, JoinAndReduce) {
  EXPECT_EQ(infer("concat", {{n, 3}, {4, 3}, {n, 3}}, {0}), Texts{"(2*n + 4, 3)"});
  EXPECT_EQ(infer("stack", {{n, 3}, {n, 3}}, {1}), Texts{"(n, 2, 3)"});
  EXPECT_EQ(infer("pad", {{n, 3}}, {Ints{1, 0, 2, 0}}), Texts{"(n + 3, 3)"});
  EXPECT_EQ(infer("sum", {{n, h}}, {Ints{1}, true}), Texts{"(n, 1)"});
  EXPECT_EQ(infer("topk", {{n, h}}, {2}), (Texts{"(n, 2)", "(n, 2)"}));
  EXPECT_EQ(infer("embedding", {{10, 4}, {n}}, {}, DType::i64), Texts{"(n, 4)"});
}

TEST(SymbolicInference, Layers) {
  EXPECT_EQ(infer("matmul", {{n, 3, 4}, {4, h}}), Texts{"(n, 3, h)"});
  EXPECT_EQ(infer("linear", {{n, 3}, {5, 3}, {5}}), Texts{"(n, 5)"});
  EXPECT_EQ(infer("conv", {{n, 3, h, 8}, {4, 3, 3, 3}}, {Ints{1, 1}, Ints{1, 1, 1, 1}, Ints{1, 1}, 1, 0}),
            Texts{"(n, 4, h, 8)"});
  EXPECT_EQ(infer("max_pool", {{n, 3, h * Dim(2), 8}}, {Ints{2, 2}, Ints{2, 2}, Ints{0, 0, 0, 0}, Ints{1, 1}}),
            (Texts{"(n, 3, h, 4)", "(n, 3, h, 4)"}));
  EXPECT_EQ(infer("batch_norm", {{n, 3, h}}), (Texts{"(n, 3, h)", "(3,)", "(3,)"}));
  EXPECT_EQ(infer("layer_norm", {{n, h}}), (Texts{"(n, h)", "(n,)", "(n,)"}));
  EXPECT_EQ(infer("softmax", {{n, h}}, {1}), Texts{"(n, h)"});
  EXPECT_EQ(infer("cross_entropy", {{n, 10}, {n}}, {"none"}, DType::i64), Texts{"(n,)"});
}

TEST(SymbolicInference, Statistics) {
  EXPECT_EQ(infer("quantile", {{n, h}}, {std::vector<double>{0.25, 0.5}, Ints{1}}), Texts{"(2, n)"});
  EXPECT_EQ(infer("median", {{n, 3}}, {Ints{1}, true}), Texts{"(n, 1)"});
  EXPECT_EQ(infer("max_with_indices", {{n, h}}, {1}), (Texts{"(n,)", "(n,)"}));
  EXPECT_EQ(infer("cummax", {{n, h}}, {0}), (Texts{"(n, h)", "(n, h)"}));
  EXPECT_EQ(infer("diff", {{n, 3}}, {2, 0}), Texts{"(n - 2, 3)"});
  EXPECT_EQ(infer("trapezoid", {{n, h}, {h}}, {1.0, 1}), Texts{"(n,)"});
  EXPECT_EQ(infer("kron", {{n, 3}, {2, 2}}), Texts{"(2*n, 6)"});
  EXPECT_EQ(infer("inner", {{n, 3}, {h, 3}}), Texts{"(n, h)"});
  EXPECT_EQ(infer("dot", {{n}, {n}}), Texts{"()"});
  EXPECT_EQ(infer("cov", {{3, n}}), Texts{"(3, 3)"});
  EXPECT_EQ(infer("searchsorted", {{h}, {n, 3}}), Texts{"(n, 3)"});
  EXPECT_EQ(infer("nonzero_padded", {{n, 3}}), (Texts{"(3*n, 2)", "()"}));
  EXPECT_EQ(infer("multinomial", {{n, 10}}, {4}), Texts{"(n, 4)"});
}

TEST(SymbolicInference, RefusesWhatCannotFit) {
  EXPECT_THROW(infer("dot", {{n}, {h}}), Error);
  EXPECT_THROW(infer("cross", {{n, 4}, {n, 4}}), Error);
  EXPECT_THROW(infer("matmul", {{n, 3}, {h, 4}}), Error);
  EXPECT_THROW(infer("concat", {{n, 3}, {n, 4}}, {0}), Error);
  EXPECT_THROW(infer("linear", {{n, 3}, {5, 4}}), Error);
}

// Whatever runs in a graph has inference, but for elementwise programs (they broadcast).
TEST(SymbolicInference, EveryOpHasIt) {
  for (const Op* op : op_table()) EXPECT_TRUE(op->map || op->infer) << op->name;
}

}  // namespace
}  // namespace tg
