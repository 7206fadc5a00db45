// SPDX-License-Identifier: Apache-2.0
// The syntax of einsum and orders of contraction. Sets of labels are bit masks: 64 distinct labels at most.
#include <tengen/einsum.h>

#include <bit>
#include <cctype>
#include <limits>

namespace tg {
namespace {

constexpr int64_t kMaxLabels = 64;

struct Term {
  std::string before, after;  // letters around the ellipsis
  bool ellipsis = false;
  int64_t letters() const { return int64_t(before.size() + after.size()); }
};

Term parse_term(std::string_view text, std::string_view equation) {
  Term t;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == ' ') continue;
    if (c == '.') {
      check(!t.ellipsis && text.substr(i, 3) == "...", "[einsum] expected at most one ellipsis '...' in a term, got '",
            text, "' in '", equation, "'");
      t.ellipsis = true;
      i += 2;
      continue;
    }
    check(std::isalpha(static_cast<unsigned char>(c)), "[einsum] expected letters, '...', ',' and '->', got '",
          std::string(1, c), "' in '", equation, "'");
    (t.ellipsis ? t.after : t.before).push_back(c);
  }
  return t;
}

using Mask = uint64_t;

struct Operands {
  std::vector<Mask> terms;
  std::span<const double> sizes;
  double size(Mask m) const {
    double n = 1;
    for (; m; m &= m - 1) n *= sizes[size_t(std::countr_zero(m))];
    return n;
  }
};

Mask mask_of(const Labels& labels) {
  Mask m = 0;
  for (int64_t l : labels) m |= Mask(1) << l;
  return m;
}

// The labels of the product of two operands: those that somebody else, or the output, still asks for.
Mask product(const std::vector<Mask>& terms, size_t a, size_t b, Mask output) {
  Mask others = output;
  for (size_t i = 0; i < terms.size(); ++i)
    if (i != a && i != b) others |= terms[i];
  return (terms[a] | terms[b]) & others;
}

// The pair whose product is cheapest, by multiplications, then by how much smaller the product is than its factors.
std::vector<std::pair<int, int>> greedy(Operands o, Mask output) {
  std::vector<std::pair<int, int>> steps;
  while (o.terms.size() > 1) {
    size_t first = 0, second = 1;
    double best = std::numeric_limits<double>::infinity(), best_growth = best;
    for (size_t i = 0; i < o.terms.size(); ++i)
      for (size_t j = i + 1; j < o.terms.size(); ++j) {
        const double growth = o.size(product(o.terms, i, j, output)) - o.size(o.terms[i]) - o.size(o.terms[j]);
        const double cost = o.size(o.terms[i] | o.terms[j]);
        if (growth < best_growth || (growth == best_growth && cost < best))
          best = cost, best_growth = growth, first = i, second = j;
      }
    const Mask made = product(o.terms, first, second, output);
    steps.emplace_back(int(first), int(second));
    o.terms.erase(o.terms.begin() + int64_t(second));
    o.terms.erase(o.terms.begin() + int64_t(first));
    o.terms.push_back(made);
  }
  return steps;
}

// best[s]: the fewest multiplications that contract the operands of subset s into one.
std::vector<std::pair<int, int>> optimal(const Operands& o, Mask output) {
  const size_t n = o.terms.size(), all = (size_t(1) << n) - 1;
  std::vector<double> best(all + 1, std::numeric_limits<double>::infinity());
  std::vector<size_t> split(all + 1, 0);
  std::vector<Mask> made(all + 1, 0);
  for (size_t s = 1; s <= all; ++s) {
    Mask inside = 0, outside = output;
    for (size_t i = 0; i < n; ++i) (s >> i & 1 ? inside : outside) |= o.terms[i];
    made[s] = std::has_single_bit(s) ? inside : inside & outside;
    if (std::has_single_bit(s)) best[s] = 0;
    for (size_t a = (s - 1) & s; a > (s ^ a); a = (a - 1) & s) {
      const double cost = best[a] + best[s ^ a] + o.size(made[a] | made[s ^ a]);
      if (cost < best[s]) best[s] = cost, split[s] = a;
    }
  }
  // Subsets that are there, in the order of the list of operands; the plan is written from the leaves up.
  std::vector<std::pair<int, int>> steps;
  std::vector<size_t> list;
  for (size_t i = 0; i < n; ++i) list.push_back(size_t(1) << i);
  auto contract = [&](auto&& self, size_t s) -> void {
    if (std::has_single_bit(s)) return;
    const size_t a = split[s], b = s ^ a;
    self(self, std::min(a, b));
    self(self, std::max(a, b));
    const auto place = [&](size_t x) { return int(std::find(list.begin(), list.end(), x) - list.begin()); };
    const auto [first, second] = std::minmax({place(a), place(b)});
    steps.emplace_back(first, second);
    list.erase(list.begin() + second);
    list.erase(list.begin() + first);
    list.push_back(s);
  };
  contract(contract, all);
  return steps;
}

}  // namespace

std::string Einsum::name(int64_t label) const {
  const int64_t first = n_labels - int64_t(names.size());
  return label < first ? "..." : std::string(1, names[size_t(label - first)]);
}

Einsum parse_einsum(std::string_view equation, std::span<const int64_t> ranks) {
  const size_t arrow = equation.find("->");
  const bool explicit_output = arrow != std::string_view::npos;
  std::string_view left = equation.substr(0, arrow);
  std::vector<Term> terms;
  for (size_t comma; (comma = left.find(',')) != std::string_view::npos; left = left.substr(comma + 1))
    terms.push_back(parse_term(left.substr(0, comma), equation));
  terms.push_back(parse_term(left, equation));
  check(terms.size() == ranks.size(), "[einsum] expected ", terms.size(), " operands for '", equation, "', got ",
        ranks.size());

  Einsum e;
  int64_t broadcast = 0;  // axes under the longest ellipsis
  int counts[128] = {};
  for (size_t i = 0; i < terms.size(); ++i) {
    const int64_t rest = ranks[i] - terms[i].letters();
    check(terms[i].ellipsis ? rest >= 0 : rest == 0, "[einsum] expected operand ", i, " to have ",
          terms[i].ellipsis ? "at least " : "", terms[i].letters(), " axes for '", equation, "', got ", ranks[i]);
    broadcast = std::max(broadcast, rest);
    for (const std::string& part : {terms[i].before, terms[i].after})
      for (char c : part) ++counts[int(c)];
  }
  std::string letters;  // upper case before lower case, as sorted
  for (int c = 0; c < 128; ++c)
    if (counts[c]) letters.push_back(char(c));
  e.names = letters;
  e.n_labels = broadcast + int64_t(letters.size());
  check(e.n_labels <= kMaxLabels, "[einsum] expected at most ", kMaxLabels, " distinct axes, got ", e.n_labels);
  const auto append = [&](Labels* out, const std::string& part) {
    for (char c : part) out->push_back(broadcast + int64_t(letters.find(c)));
  };
  const auto labels_of = [&](const Term& t, int64_t under_ellipsis) {
    Labels out;
    append(&out, t.before);
    for (int64_t k = broadcast - under_ellipsis; k < broadcast; ++k) out.push_back(k);  // aligned at the right
    append(&out, t.after);
    return out;
  };
  for (size_t i = 0; i < terms.size(); ++i) e.terms.push_back(labels_of(terms[i], ranks[i] - terms[i].letters()));

  if (!explicit_output) {
    for (int64_t k = 0; k < broadcast; ++k) e.output.push_back(k);
    for (char c : letters)
      if (counts[int(c)] == 1) append(&e.output, std::string(1, c));
    return e;
  }
  const Term t = parse_term(equation.substr(arrow + 2), equation);
  check(t.ellipsis || broadcast == 0, "[einsum] expected '...' in the output of '", equation,
        "', because the operands have ", broadcast, " such axes; got none; to sum over them, give them letters");
  const std::string all = t.before + t.after;
  for (size_t i = 0; i < all.size(); ++i) {
    check(counts[int(all[i])], "[einsum] expected output axes that an operand has, got '", std::string(1, all[i]),
          "' in '", equation, "'");
    check(all.find(all[i]) == i, "[einsum] expected each output axis once, got '", std::string(1, all[i]),
          "' again in '", equation, "'");
  }
  e.output = labels_of(t, broadcast);
  return e;
}

Shape einsum_sizes(const Einsum& e, std::span<const Shape> shapes) {
  Shape sizes(size_t(e.n_labels), Dim(1));
  for (size_t i = 0; i < shapes.size(); ++i)
    for (size_t k = 0; k < shapes[i].size(); ++k) {
      const int64_t label = e.terms[i][k];
      Dim& size = sizes[size_t(label)];
      const Dim got = shapes[i][k];
      for (size_t j = 0; j < k; ++j)
        check(e.terms[i][j] != label || shapes[i][j] == got, "[einsum] expected equal sizes on the repeated axis '",
              e.name(label), "' of operand ", i, ", got ", shapes[i][j], " and ", got);
      if (size == Dim(1))
        size = got;
      else
        check(got == Dim(1) || got == size, "[einsum] expected size ", size, " on axis '", e.name(label),
              "' of operand ", i, ", as in an earlier one, got ", got, " (shape ", str(shapes[i]), ")");
    }
  return sizes;
}

ContractionOrder contraction_order_named(std::string_view name) {
  if (name == "auto") return ContractionOrder::automatic;
  if (name == "optimal") return ContractionOrder::optimal;
  if (name == "greedy") return ContractionOrder::greedy;
  check(name == "left", "[einsum] expected optimize auto, optimal, greedy or left, got ", name);
  return ContractionOrder::left;
}

ContractionPath contraction_order(std::span<const Labels> terms, std::span<const double> sizes, const Labels& output,
                                  ContractionOrder how) {
  Operands o{{}, sizes};
  Mask all = 0;
  for (const Labels& t : terms) o.terms.push_back(mask_of(t)), all |= o.terms.back();
  const Mask out = mask_of(output);
  const bool few = terms.size() <= size_t(how == ContractionOrder::optimal ? 16 : kOptimalOperands);
  ContractionPath path;
  if (how == ContractionOrder::left) {
    // Products go to the end: the first pair, then always the next operand and the last.
    for (size_t n = terms.size(); n > 1; --n) path.steps.emplace_back(0, path.steps.empty() ? 1 : int(n) - 1);
  } else if (how == ContractionOrder::greedy || !few) {
    path.steps = greedy(o, out);
  } else {
    path.steps = optimal(o, out);
  }
  path.naive = o.size(all) * double(std::max<size_t>(terms.size(), 2) - 1);
  if (terms.size() == 1) path.flops = path.naive;
  for (const auto& [a, b] : path.steps) {
    path.flops += o.size(o.terms[size_t(a)] | o.terms[size_t(b)]);
    const Mask made = product(o.terms, size_t(a), size_t(b), out);
    path.largest = std::max(path.largest, o.size(made));
    o.terms.erase(o.terms.begin() + b);
    o.terms.erase(o.terms.begin() + a);
    o.terms.push_back(made);
  }
  return path;
}

ContractionPath einsum_path(std::string_view equation, std::span<const Shape> shapes, ContractionOrder how) {
  Ints ranks;
  for (const Shape& s : shapes) ranks.push_back(int64_t(s.size()));
  const Einsum e = parse_einsum(equation, ranks);
  const Ints sizes = concrete(einsum_sizes(e, shapes));
  std::vector<Labels> terms;
  for (size_t i = 0; i < shapes.size(); ++i) {
    terms.emplace_back();
    for (size_t k = 0; k < shapes[i].size(); ++k)  // axes that broadcast take no part
      if (shapes[i][k] == Dim(sizes[size_t(e.terms[i][k])])) terms.back().push_back(e.terms[i][k]);
  }
  const std::vector<double> lengths(sizes.begin(), sizes.end());
  return contraction_order(terms, lengths, e.output, how);
}

}  // namespace tg
