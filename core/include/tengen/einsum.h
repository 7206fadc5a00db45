// SPDX-License-Identifier: Apache-2.0
// Einstein summation: what an equation says about its operands, and the order in which pairs of them are contracted.
//
//   const Einsum e = parse_einsum("ij,jk->ik", ranks);
//   const auto path = contraction_order(e.terms, sizes, e.output, ContractionOrder::automatic);
#pragma once
#include <tengen/dim.h>

#include <string_view>
#include <utility>
#include <vector>

namespace tg {

// Axes by label: small integers, the same for the same axis. Axes under an ellipsis come first, then the letters.
using Labels = SmallVec<int64_t, 8>;

struct Einsum {
  std::vector<Labels> terms;  // one label for each axis of each operand
  Labels output;
  int64_t n_labels = 0;
  std::string names;  // letters of the labels from n_labels - names.size() on
  std::string name(int64_t label) const;
};

// NumPy's syntax: letters, "...", repeated letters in a term (diagonals), with or without "->". ValueError.
Einsum parse_einsum(std::string_view equation, std::span<const int64_t> ranks);

// Size of each label: operands agree or have size 1, which broadcasts. ValueError.
Shape einsum_sizes(const Einsum& e, std::span<const Shape> shapes);

// An order of pairwise contractions: positions in the current list of operands (first < second); the product goes to
// the list's end. `flops` counts multiplications of the order, `naive` those of one loop over all labels.
struct ContractionPath {
  std::vector<std::pair<int, int>> steps;
  double flops = 0, naive = 0;
  double largest = 0;  // elements of the largest intermediate
};

enum class ContractionOrder : uint8_t {
  automatic,  // optimal up to kOptimalOperands operands, else greedy
  optimal,    // dynamic programming over subsets of operands: the fewest multiplications
  greedy,     // the cheapest pair first
  left,       // from the left, as written
};
constexpr int kOptimalOperands = 8;
ContractionOrder contraction_order_named(std::string_view name);  // "auto", "optimal", "greedy", "left"; ValueError

ContractionPath contraction_order(std::span<const Labels> terms, std::span<const double> sizes, const Labels& output,
                                  ContractionOrder how);
// The order that einsum takes for operands of these shapes.
ContractionPath einsum_path(std::string_view equation, std::span<const Shape> shapes, ContractionOrder how);

}  // namespace tg
