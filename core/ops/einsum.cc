// SPDX-License-Identifier: Apache-2.0
// Einstein summation: pairs of operands become batched matrix products, in an order that needs few multiplications.
// Gradients are those of the parts.
#include <tengen/einsum.h>

#include "common.h"

namespace tg {
namespace {

struct Operand {
  Tensor t;
  Labels labels;  // of each axis, distinct
  bool has(int64_t label) const { return std::find(labels.begin(), labels.end(), label) != labels.end(); }
  int64_t size(int64_t label) const {
    return t.size(int64_t(std::find(labels.begin(), labels.end(), label) - labels.begin()));
  }
};

bool contains(const Labels& labels, int64_t label) {
  return std::find(labels.begin(), labels.end(), label) != labels.end();
}
Labels operator+(Labels a, const Labels& b) {
  for (int64_t l : b) a.push_back(l);
  return a;
}

Operand arranged(const Operand& o, const Labels& order) {
  Ints axes;
  bool moved = false;
  for (int64_t l : order) {
    axes.push_back(int64_t(std::find(o.labels.begin(), o.labels.end(), l) - o.labels.begin()));
    moved |= axes.back() != int64_t(axes.size()) - 1;
  }
  return {moved ? op<"permute">({o.t}, {axes}) : o.t, order};
}

// Repeated labels become diagonals, axes of size 1 that broadcast against longer ones go.
Operand plain(Tensor t, Labels labels, std::span<const int64_t> sizes) {
  for (size_t i = 0; i < labels.size(); ++i)
    for (size_t j = i + 1; j < labels.size();) {
      if (labels[j] != labels[i]) {
        ++j;
        continue;
      }
      t = op<"diagonal">({t}, {0, int64_t(i), int64_t(j)});  // the diagonal is the last axis
      const int64_t label = labels[i];
      labels.erase(j);
      labels.erase(i);
      labels.push_back(label);
      return plain(t, labels, sizes);
    }
  Labels kept;
  Ints gone;
  for (size_t i = 0; i < labels.size(); ++i) {
    if (t.size(int64_t(i)) == 1 && sizes[size_t(labels[i])] != 1)
      gone.push_back(int64_t(i));
    else
      kept.push_back(labels[i]);
  }
  return {gone.empty() ? t : op<"squeeze">({t}, {gone}), kept};
}

// Sums over the labels that `keep` rejects.
template <class F>
Operand summed(const Operand& o, F&& keep) {
  Operand y{o.t, {}};
  Ints axes;
  for (size_t i = 0; i < o.labels.size(); ++i) {
    if (keep(o.labels[i]))
      y.labels.push_back(o.labels[i]);
    else
      axes.push_back(int64_t(i));
  }
  y.t = sum(o.t, axes, false);
  return y;
}

// Elements that have to be copied before these labels can be one axis.
int64_t copied(const Operand& o, const Labels& merged) {
  for (size_t i = 0; i + 1 < merged.size(); ++i) {
    const auto stride = [&](int64_t l) {
      return o.t.strides()[size_t(std::find(o.labels.begin(), o.labels.end(), l) - o.labels.begin())];
    };
    if (stride(merged[i]) != stride(merged[i + 1]) * o.size(merged[i + 1])) return o.t.numel();
  }
  return 0;
}

Ints sizes_of(const Operand& o, const Labels& labels) {
  Ints s;
  for (int64_t l : labels) s.push_back(o.size(l));
  return s;
}

// The product of two operands, summed over the labels that are in both and that nobody else asks for.
Operand contract(Operand a, Operand b, const Labels& wanted) {
  a = summed(a, [&](int64_t l) { return b.has(l) || contains(wanted, l); });
  b = summed(b, [&](int64_t l) { return a.has(l) || contains(wanted, l); });
  Labels batch, inner_a, inner_b, rows, columns;
  for (int64_t l : a.labels) (!b.has(l) ? rows : contains(wanted, l) ? batch : inner_a).push_back(l);
  for (int64_t l : b.labels)
    if (!a.has(l))
      columns.push_back(l);
    else if (!contains(wanted, l))
      inner_b.push_back(l);
  const Labels labels = batch + rows + columns;
  if (inner_a.empty()) {  // nothing to sum: broadcast and multiply
    Tensor x = arranged(a, batch + rows).t;
    if (!columns.empty()) {
      Ints shape = x.shape();
      for (size_t i = 0; i < columns.size(); ++i) shape.push_back(1);
      x = reshape(x, shape);
    }
    Tensor y = arranged(b, batch + columns).t;
    if (!rows.empty()) {
      Ints shape = sizes_of(b, batch);
      for (size_t i = 0; i < rows.size(); ++i) shape.push_back(1);
      for (int64_t n : sizes_of(b, columns)) shape.push_back(n);
      y = reshape(y, shape);
    }
    return {op<"mul">({x, y}), labels};
  }
  // The order of the summed axes is free: the one that copies less.
  const Labels& inner = copied(b, inner_a) <= copied(a, inner_b) ? inner_a : inner_b;
  const auto total = [](const Ints& s) { return numel(s); };
  Ints left = sizes_of(a, batch), right = left, shape = left;
  const Ints m = sizes_of(a, rows), k = sizes_of(a, inner), n = sizes_of(b, columns);
  left.push_back(total(m)), left.push_back(total(k));
  right.push_back(total(k)), right.push_back(total(n));
  const Tensor y = op<"matmul">(
      {reshape(arranged(a, batch + rows + inner).t, left), reshape(arranged(b, batch + inner + columns).t, right)});
  for (int64_t s : m) shape.push_back(s);
  for (int64_t s : n) shape.push_back(s);
  return {reshape(y, shape), labels};
}

Einsum parsed(const std::string& equation, std::span<const Shape> shapes) {
  Ints ranks;
  for (const Shape& s : shapes) ranks.push_back(int64_t(s.size()));
  return parse_einsum(equation, ranks);
}

Tensors decompose_einsum(const Call& c) {
  const DType t = infer_now(c)[0].dtype;
  std::vector<Shape> shapes;
  for (const Tensor& x : c.inputs) shapes.push_back(symbolic(x.shape()));
  const Einsum e = parsed(c.attr(0).string(), shapes);
  const Ints sizes = concrete(einsum_sizes(e, shapes));
  // More than one rounding is more than a 16-bit float bears: only a single product stays in its dtype.
  const DType work = c.inputs.size() == 2 ? t : acc_dtype(t);
  std::vector<Operand> list;
  for (size_t i = 0; i < c.inputs.size(); ++i) list.push_back(plain(c.input(i).cast(work), e.terms[i], sizes));

  const Ints& given = c.attr(2).ints();
  ContractionPath path;
  if (given.empty()) {
    std::vector<Labels> terms;
    for (const Operand& o : list) terms.push_back(o.labels);
    std::vector<double> lengths(sizes.begin(), sizes.end());
    path = contraction_order(terms, lengths, e.output, contraction_order_named(c.attr(1).string()));
  } else {
    check(given.size() == 2 * (list.size() - 1), "[einsum] expected a path of ", list.size() - 1, " pairs, got ",
          given.size(), " positions");
    for (size_t i = 0; i < given.size(); i += 2) {
      const auto [a, b] = std::minmax(given[i], given[i + 1]);
      check(a >= 0 && a < b && b < int64_t(list.size() - i / 2), "[einsum] expected two positions in [0, ",
            list.size() - i / 2, ") at step ", i / 2, " of the path, got ", given[i], " and ", given[i + 1]);
      path.steps.emplace_back(int(a), int(b));
    }
  }
  for (const auto& [i, j] : path.steps) {
    const Operand a = list[size_t(i)], b = list[size_t(j)];
    list.erase(list.begin() + j);
    list.erase(list.begin() + i);
    Labels wanted = e.output;
    for (const Operand& o : list) wanted = wanted + o.labels;
    list.push_back(contract(a, b, wanted));
  }
  const Operand last = summed(list[0], [&](int64_t l) { return contains(e.output, l); });
  Labels there;  // an output axis that only ever had size 1 may have gone
  Ints shape;
  for (int64_t l : e.output) {
    if (last.has(l)) there.push_back(l);
    shape.push_back(sizes[size_t(l)]);
  }
  return {reshape(arranged(last, there).t, shape).cast(t)};
}

}  // namespace

TG_OPS(einsum) {
  TG_OP(einsum)
      .family("linear algebra")
      .doc(
          "Sums of products of operands, axes named by letters: 'ij,jk->ik' is a matrix product. NumPy's syntax: '...' "
          "stands for axes that broadcast, a letter repeated in a term takes a diagonal, without '->' the letters that "
          "occur once are the output's, sorted. Several operands are contracted in pairs. Errors: ValueError for an "
          "equation that does not fit the operands, TypeError for bools.")
      .variadic_input("operands", "tensors")
      .attr("equation", AttrKind::string, "the axes of each operand and, after '->', of the result")
      .attr("optimize", AttrKind::string, "auto",
            "order of contraction: optimal (fewest multiplications; auto takes it up to 8 operands), greedy, or left")
      .attr("path", AttrKind::ints, Ints{}, "an order of one's own: pairs of positions, each product goes to the end")
      .infer([](const Inference& c) {
        c.check(!c.inputs.empty(), "expected at least one operand, got none");
        std::vector<Shape> shapes;
        DType t = c.input(0).dtype;
        for (const TensorSpec* x : c.inputs) {
          shapes.push_back(x->shape);
          t = promote(t, x->dtype);
        }
        check_type(t != DType::boolean, c.name(), "numbers", t);
        const Einsum e = parsed(c.attr(0).string(), shapes);
        contraction_order_named(c.attr(1).string());
        const Shape sizes = einsum_sizes(e, shapes);
        Shape y;
        for (int64_t l : e.output) y.push_back(sizes[size_t(l)]);
        return one({t, y});
      })
      .decompose(decompose_einsum)
      .bounds(1, "the number of terms summed plus the number of operands, relative to the einsum of magnitudes")
      .example(
          ">>> a = tg.tensor([[1, 2], [3, 4]])\n>>> tg.einsum('ij,jk->ik', a, a).tolist()\n[[7, 10], [15, 22]]\n"
          ">>> tg.einsum('ii', a).item()\n5");

  TG_OP(tensordot)
      .family("linear algebra")
      .doc(
          "Products of two tensors, summed over pairs of axes; what is left of a, then of b, are the axes of the "
          "result. "
          "Errors: ValueError for paired axes of different sizes.")
      .input("a", "a tensor")
      .input("b", "a tensor")
      .attr("axes_a", AttrKind::ints, "axes of a to sum over")
      .attr("axes_b", AttrKind::ints, "as many axes of b")
      .infer([](const Inference& c) {
        const Shape &a = c.input(0).shape, &b = c.input(1).shape;
        const Ints &ia = c.attr(0).ints(), &ib = c.attr(1).ints();
        c.check(ia.size() == ib.size(), "expected as many axes of b as of a, got ", ia.size(), " and ", ib.size());
        const DType t = promote(c.input(0).dtype, c.input(1).dtype);
        check_type(t != DType::boolean, c.name(), "numbers", t);
        std::vector<bool> gone_a(a.size()), gone_b(b.size());
        for (size_t i = 0; i < ia.size(); ++i) {
          const size_t p = size_t(normalize_axis(c.name(), ia[i], int64_t(a.size())));
          const size_t q = size_t(normalize_axis(c.name(), ib[i], int64_t(b.size())));
          c.check(!gone_a[p] && !gone_b[q], "expected distinct axes, got ", str(ia), " and ", str(ib));
          c.check(a[p] == b[q], "expected equal sizes on the paired axes ", p, " and ", q, ", got ", a[p], " and ",
                  b[q], " (shapes ", str(a), " and ", str(b), ")");
          gone_a[p] = gone_b[q] = true;
        }
        Shape y;
        for (size_t i = 0; i < a.size(); ++i)
          if (!gone_a[i]) y.push_back(a[i]);
        for (size_t i = 0; i < b.size(); ++i)
          if (!gone_b[i]) y.push_back(b[i]);
        return one({t, y});
      })
      .decompose([](const Call& c) {
        const DType t = infer_now(c)[0].dtype;
        Operand a{c.input(0).cast(t), {}}, b{c.input(1).cast(t), {}};
        Labels wanted;
        int64_t next = 0;
        for (int64_t i = 0; i < a.t.rank(); ++i) a.labels.push_back(next++);
        for (int64_t i = 0; i < b.t.rank(); ++i) b.labels.push_back(next++);
        Labels free_a = a.labels, free_b = b.labels;
        for (size_t i = 0; i < c.attr(0).ints().size(); ++i) {
          const size_t p = size_t(normalize_axis("tensordot", c.attr(0).ints()[i], a.t.rank()));
          const size_t q = size_t(normalize_axis("tensordot", c.attr(1).ints()[i], b.t.rank()));
          b.labels[q] = a.labels[p];
          free_a[p] = free_b[q] = -1;
        }
        for (const Labels& f : {free_a, free_b})
          for (int64_t l : f)
            if (l >= 0) wanted.push_back(l);
        return Tensors{arranged(contract(a, b, wanted), wanted).t};
      })
      .bounds(1, "the number of terms summed, relative to the product of magnitudes")
      .function_only()
      .example(">>> a = tg.ones((2, 3))\n>>> tg.tensordot(a, a, axes=((1,), (1,))).tolist()\n[[3.0, 3.0], [3.0, 3.0]]");
}

}  // namespace tg
