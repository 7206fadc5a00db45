// SPDX-License-Identifier: Apache-2.0
// Recurrent layers, one direction of one layer each, after the input's share of the gates was computed for all steps at
// once.
//
// Sequences are packed: row offset[t] + n is step t of sequence n, and the sequences, longest first, are batch_sizes[t]
// many at step t. A batch of equal lengths is the case of equal sizes. Going backwards (`reverse`) a sequence starts at
// its own end. Gradients go back step by step through what is linear in them; all that the steps' values decide is
// computed for all steps at once.
#pragma once
#include "common.h"

namespace tg::recurrent {

inline Tensor add(const Arg& a, const Arg& b) { return op<"add">({a, b}); }
inline Tensor sub(const Arg& a, const Arg& b) { return op<"sub">({a, b}); }
inline Tensor mul(const Arg& a, const Arg& b) { return op<"mul">({a, b}); }
inline Tensor matmul(const Tensor& a, const Tensor& b) { return op<"matmul">({a, b}); }
inline Tensor rows(const Tensor& x, int64_t begin, int64_t count) {
  return begin == 0 && count == x.size(0) ? x : slice(x, 0, begin, begin + count);
}
inline Tensor concat(const std::vector<Tensor>& parts, int64_t axis = 0) {
  if (parts.size() == 1) return parts[0];
  const std::vector<Arg> in(parts.begin(), parts.end());
  return call_one(op_named<"concat">(), in, std::initializer_list<Attr>{Attr(axis)});
}
// Gate k of n, [M, H].
inline Tensor gate(const Tensor& x, int64_t k, int64_t n) {
  const int64_t h = x.size(1) / n;
  return slice(x, 1, k * h, (k + 1) * h);
}
inline Tensor one_minus(const Tensor& x) { return sub(1.0, x); }
inline Tensor sigmoid_slope(const Tensor& s) { return mul(s, one_minus(s)); }
inline Tensor tanh_slope(const Tensor& h) { return one_minus(op<"square">({h})); }

// ---- the order of steps ----

// The i-th step taken: `count` rows from `begin` on. The first `kept` continue the rows from `before` on, the others
// start.
struct Step {
  int64_t begin, count, before, kept;
};
inline std::vector<Step> steps_of(const Ints& sizes, bool reverse) {
  std::vector<Step> out;
  int64_t begin = 0;
  for (int64_t n : sizes) {
    out.push_back({begin, n, 0, 0});
    begin += n;
  }
  if (reverse) std::reverse(out.begin(), out.end());
  for (size_t i = 1; i < out.size(); ++i) {
    out[i].before = out[i - 1].begin;
    out[i].kept = std::min(out[i].count, out[i - 1].count);
  }
  return out;
}
// f(begin, count, state) for the rows of a step that continue, and for those that start from `initial`.
template <class F>
inline void each_part(const Step& s, const Tensor& initial, const Tensor& state, F f) {
  if (s.kept) f(s.begin, s.kept, rows(state, s.before, s.kept));
  if (s.kept < s.count) f(s.begin + s.kept, s.count - s.kept, rows(initial, s.kept, s.count - s.kept));
}
// The state that every row starts its step from, [M, ...].
inline Tensor previous(const std::vector<Step>& steps, bool reverse, const Tensor& initial, const Tensor& state) {
  if (steps.front().count == steps.back().count) {  // one shift
    const int64_t n = steps[0].count, more = state.size(0) - n;
    if (!more) return initial;
    return reverse ? concat({rows(state, n, more), initial}) : concat({initial, rows(state, 0, more)});
  }
  std::vector<Tensor> parts;
  for (size_t i = 0; i < steps.size(); ++i)
    each_part(steps[reverse ? steps.size() - 1 - i : i], initial, state,
              [&](int64_t, int64_t, const Tensor& from) { parts.push_back(from); });
  return concat(parts);
}
// Collects what the steps give, last step first, and the gradient of the initial state.
struct Collected {
  std::vector<Tensor> by_step, initial;
  Tensor all(bool reverse) {
    if (!reverse) std::reverse(by_step.begin(), by_step.end());
    return concat(by_step);
  }
  Tensor start() {
    std::reverse(initial.begin(), initial.end());
    return concat(initial);
  }
};
// What arrives at a step: its own gradient (if any) and what the next step gave to the rows that go on.
inline Tensor arriving(const Tensor& own, const Step& s, const Tensor& carried, int64_t width, const Tensor& like) {
  const Tensor mine = own.defined() ? rows(own, s.begin, s.count) : Tensor();
  const int64_t kept = carried.defined() ? carried.size(0) : 0;
  if (!kept) return mine.defined() ? mine : zeros({s.count, width}, like.dtype(), like.device());
  if (kept == s.count) return mine.defined() ? add(mine, carried) : carried;
  const Tensor rest =
      mine.defined() ? rows(mine, kept, s.count - kept) : zeros({s.count - kept, width}, like.dtype(), like.device());
  return concat({mine.defined() ? add(rows(mine, 0, kept), carried) : carried, rest});
}
// Splits the gradient of a step's start between the step before and the initial state.
inline Tensor leave(const Step& s, const Tensor& g, Collected& to) {
  if (s.kept < s.count) to.initial.push_back(rows(g, s.kept, s.count - s.kept));
  return s.kept ? rows(g, 0, s.kept) : Tensor();
}

// ---- schema ----

inline Ints sizes_of(const Attr& a) { return a.ints(); }
inline void check_sizes(const Inference& c, const Attr& a, const Dim& total, const Dim& batch) {
  const Ints& sizes = a.ints();
  int64_t sum = 0;
  for (size_t i = 0; i < sizes.size(); ++i) {
    c.check(sizes[i] >= 1 && (i == 0 || sizes[i] <= sizes[i - 1]), "expected batch_sizes that do not grow, got ",
            str(sizes));
    sum += sizes[i];
  }
  c.check(!sizes.empty() && total == Dim(sum), "expected gates of as many rows as batch_sizes ", str(sizes),
          " have, got ", total);
  c.check(batch == Dim(sizes[0]), "expected an initial state of ", sizes[0], " rows, got ", batch);
}
// gates [M, n H], h0 [N, P], weight [n H, P]; returns [M, P].
inline Shape check_scan(const Inference& c, int64_t n, size_t h0, size_t weight) {
  const Shape &g = c.input(0).shape, &h = c.input(h0).shape, &w = c.input(weight).shape;
  for (const TensorSpec* t : c.inputs)
    if (t) check_type(is_floating(t->dtype) && t->dtype == c.input(0).dtype, c.name(), "floats of one dtype", t->dtype);
  c.check(g.size() == 2 && h.size() == 2, "expected gates of shape (rows, ", n, " H) and h0 of shape (N, H), got ",
          str(g), " and ", str(h));
  c.check(w == Shape({g[1], h[1]}), "expected weight_hh of shape (", g[1], ", ", h[1], "), got ", str(w));
  c.check(!g[1].is_constant() || g[1].value() % n == 0, "expected ", n, " gates of one size, got ", g[1]);
  check_sizes(c, c.attr(0), g[0], h[0]);
  return {g[0], h[1]};
}
inline OpBuilder scan(OpBuilder o) {
  return o.kernel()
      .amp(Amp::low)
      .family("recurrent")
      .attr("batch_sizes", AttrKind::ints, "sequences at every step, not growing")
      .attr("reverse", AttrKind::boolean, false, "from the last step to the first")
      .function_only();
}
inline OpBuilder scan_backward(OpBuilder o) { return scan(o).internal(); }

inline Tensor undefined_or_cast(const Call& c, size_t i, DType t) { return c.has(i) ? c.input(i).cast(t) : Tensor(); }
inline Tensor cast_if(const Tensor& x, DType t) { return x.defined() ? x.cast(t) : x; }

inline constexpr const char* kBound = "steps, and the weight's sizes; gates enter through sigmoid and tanh";

}  // namespace tg::recurrent
