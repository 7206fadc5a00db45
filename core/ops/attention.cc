// SPDX-License-Identifier: Apache-2.0
// Scaled dot-product attention and its gradient. The public op brings any ranks to the one form that kernels see
// (docs/design/006-attention.md); the decompositions go through the queries in blocks, so that no L x S buffer exists.
#include <tengen/random.h>

#include "common.h"

namespace tg {
namespace {

Tensor mul(const Arg& a, const Arg& b) { return op<"mul">({a, b}); }
Tensor sub(const Arg& a, const Arg& b) { return op<"sub">({a, b}); }
Tensor where(const Tensor& mask, const Arg& a, const Arg& b) { return op<"where">({mask, a, b}); }

constexpr int64_t kBlock = int64_t(1) << 20;  // scores at a time, where a query has fewer

// ---- the form of kernels --------------------------------------------------------------------------------------------

enum AttrIndex { kCausal, kScale, kDropout, kOffset, kSeed, kCounter };

OpBuilder attrs(OpBuilder o) {
  return o.kernel()
      .internal()
      .family("nn")
      .attr("causal", AttrKind::boolean, "query i sees keys up to i + offset only")
      .attr("scale", AttrKind::floating, "of the products")
      .attr("dropout_p", AttrKind::floating, "how likely a weight is zeroed")
      .run_attr("offset", AttrKind::integer, 0, "position of the first query among the keys")
      .run_attr("seed", AttrKind::integer, 0, "of dropout")
      .run_attr("counter", AttrKind::integer, 0, "of dropout: its first block of four words");
}

// q[B, H, L, E], k[B, K, S, E], v[B, K, S, V] from input `first` on, mask at `mask`.
void check_form(const Inference& c, size_t first, size_t mask) {
  const Shape &q = c.input(first).shape, &k = c.input(first + 1).shape, &v = c.input(first + 2).shape;
  c.check(q.size() == 4 && k.size() == 4 && v.size() == 4, "expected q, k and v of 4 axes, got ", str(q), ", ", str(k),
          " and ", str(v));
  c.check(q[0] == k[0] && q[3] == k[3] && v[0] == k[0] && v[1] == k[1] && v[2] == k[2],
          "expected q [B, H, L, E], k [B, K, S, E] and v [B, K, S, V], got ", str(q), ", ", str(k), " and ", str(v));
  c.check(!q[1].is_constant() || !k[1].is_constant() ||
              (k[1].value() ? q[1].value() % k[1].value() == 0 : q[1].value() == 0),
          "expected query heads divisible by the ", k[1], " key heads, got ", q[1]);
  if (!c.has(mask)) return;
  const Shape &m = c.input(mask).shape, full{q[0], q[1], q[2], k[2]};
  bool fits = m.size() == 4;
  for (size_t i = 0; fits && i < 4; ++i) fits = m[i] == full[i] || m[i] == Dim(1);
  c.check(fits, "expected a mask that spreads to ", str(full), ", got ", str(m));
}

// A call's tensors in the dtype of accumulation, with query heads grouped by key heads: [B, K, G, L, .].
struct Form {
  const Call& c;
  DType acc;
  int64_t b, kv, g, l, s, e, v;
  Tensor q, key, value, mask;
  Form(const Call& call, size_t first, size_t mask_at) : c(call) {
    acc = acc_dtype(c.input(first).dtype());
    key = c.input(first + 1).cast(acc), value = c.input(first + 2).cast(acc);
    const Ints& shape = c.input(first).shape();
    b = shape[0], kv = key.size(1), g = kv ? shape[1] / kv : 1, l = shape[2], s = key.size(2), e = shape[3];
    v = value.size(3);
    q = grouped(c.input(first));
    if (c.has(mask_at)) {
      const Tensor& m = c.input(mask_at);
      const bool heads = m.size(1) != 1;
      mask = reshape(m, {m.size(0), heads ? kv : 1, heads ? g : 1, m.size(2), m.size(3)});
    }
  }
  Tensor grouped(const Tensor& x) const { return reshape(x.cast(acc), {b, kv, g, l, x.size(-1)}); }
  // Queries [i, i + n) of x, with the group's rows together: [B, K, G n, .].
  Tensor rows(const Tensor& x, int64_t i, int64_t n) const {
    return reshape(slice(x, 3, i, i + n), {b, kv, g * n, x.size(-1)});
  }
  bool causal() const { return c.attr(kCausal).boolean(); }
  double scale() const { return c.attr(kScale).floating(); }
  // Keys that queries before `end` can see.
  int64_t visible(int64_t end) const {
    return causal() ? std::clamp<int64_t>(end + c.attr(kOffset).integer(), 0, s) : s;
  }
  int64_t block() const { return std::clamp<int64_t>(kBlock / std::max<int64_t>(b * kv * g * s, 1), 1, l); }

  // Scaled, masked products of query rows [i, i + n) with the first `seen` keys: [B, K, G, n, seen].
  Tensor scores(int64_t i, int64_t n, int64_t seen) const {
    const Tensor product = op<"matmul">({mul(rows(q, i, n), scale()), transpose(slice(key, 2, 0, seen))});
    Tensor x = reshape(product, {b, kv, g, n, seen});
    if (causal() && i + c.attr(kOffset).integer() + 1 < seen) {
      const Tensor last = reshape(iota(n, double(i + c.attr(kOffset).integer()), 1, DType::i64, c.device), {n, 1});
      x = where(op<"ge">({last, iota(seen, 0, 1, DType::i64, c.device)}), x, -INFINITY);
    }
    if (mask.defined()) {
      const Tensor m = slice(mask.size(3) == 1 ? mask : slice(mask, 3, i, i + n), 4, 0, mask.size(4) == 1 ? 1 : seen);
      x = m.dtype() == DType::boolean ? where(m, x, -INFINITY) : op<"add">({x, m.cast(acc)});
    }
    return x;
  }
  // 1 / (1 - p) or 0 for every weight of such a block. Query i has words of its own: b kv g s of them, and up to three
  // that are left out so that the next query begins with a new block of four.
  Tensor kept(int64_t i, int64_t n, int64_t seen) const {
    const int64_t used = b * kv * g * s, blocks = (used + 3) / 4;
    const Tensor words = op<"floor_random">(
        {Arg()}, {Ints{n * blocks * 4}, c.attr(kSeed), c.attr(kCounter).integer() + i * blocks}, c.device);
    const Tensor lines = slice(reshape(op<"bitcast">({words}, {DType::i32}), {n, blocks * 4}), 1, 0, used);
    const Tensor bits = op<"permute">({reshape(lines, {n, b, kv, g, s})}, {Ints{1, 2, 3, 0, 4}});
    return op<"dropout_apply">({full({}, 1, acc, c.device), slice(bits, 4, 0, seen)}, {c.attr(kDropout)});
  }
  bool dropout() const { return c.attr(kDropout).floating() > 0; }
  Tensor joined(const Tensors& blocks, int64_t last) const {  // blocks of queries as [B, H, L, last]
    const std::vector<Arg> parts(blocks.begin(), blocks.end());
    const Attr axis[] = {Attr(3)};
    const Tensor all = blocks.size() == 1 ? blocks[0] : call_one(op_named<"concat">(), parts, axis);
    return reshape(all, {b, kv * g, l, last});
  }
};

Specs infer_attention(const Inference& c) {
  check_form(c, 0, 3);
  const TensorSpec& q = c.input(0);
  Shape y = q.shape;
  y[3] = c.input(2).shape[3];
  return {{q.dtype, y}, {acc_dtype(q.dtype), Shape{y[0], y[1], y[2]}}};
}

Tensors decompose_attention(const Call& c) {
  const Specs spec = infer_now(c);
  const Ints y_shape = concrete(spec[0].shape), lse_shape = concrete(spec[1].shape);
  const Form f(c, 0, 3);
  Tensors y, lse;
  for (int64_t i = 0, n = f.block(); i < f.l && numel(lse_shape); i += n) {
    n = std::min(n, f.l - i);
    const int64_t seen = f.visible(i + n);
    if (!seen) {
      y.push_back(zeros({f.b, f.kv, f.g, n, f.v}, f.acc, c.device));
      lse.push_back(full({f.b, f.kv, f.g, n, 1}, -INFINITY, f.acc, c.device));
      continue;
    }
    const Tensor x = f.scores(i, n, seen), top = op<"floor_reduce">({x}, {TG_REDUCE_MAX, Ints{4}});
    const Tensor shift = where(op<"eq">({top, -INFINITY}), 0.0, top);  // a row that sees nothing
    Tensor weights = op<"exp">({sub(x, shift)});
    const Tensor total = sum(weights, {4}, true);
    if (c.wants(1)) lse.push_back(op<"add">({shift, op<"log">({total})}));
    if (f.dropout()) weights = mul(weights, f.kept(i, n, seen));
    const Tensor part = op<"matmul">({reshape(weights, {f.b, f.kv, f.g * n, seen}), slice(f.value, 2, 0, seen)});
    y.push_back(op<"div">({reshape(part, {f.b, f.kv, f.g, n, f.v}), where(op<"eq">({total, 0.0}), 1.0, total)}));
  }
  if (y.empty()) return {zeros(y_shape, spec[0].dtype, c.device), zeros(lse_shape, spec[1].dtype, c.device)};
  return {f.joined(y, f.v).cast(spec[0].dtype), when(c.wants(1), [&] { return reshape(f.joined(lse, 1), lse_shape); })};
}

// inputs: dy, q, k, v, y, lse, mask?, dlse?; outputs: dq?, dk?, dv?, dmask?
Specs infer_backward(const Inference& c) {
  check_form(c, 1, 6);
  const TensorSpec &q = c.input(1), &k = c.input(2), &v = c.input(3);
  const Shape y{q.shape[0], q.shape[1], q.shape[2], v.shape[3]}, lse{q.shape[0], q.shape[1], q.shape[2]};
  c.check(c.input(0).shape == y && c.input(4).shape == y, "expected dy and y of shape ", str(y), ", got ",
          str(c.input(0).shape), " and ", str(c.input(4).shape));
  c.check(c.input(5).shape == lse && (!c.has(7) || c.input(7).shape == lse), "expected lse of shape ", str(lse),
          ", got ", str(c.input(5).shape));
  return {q, k, v, c.has(6) ? c.input(6) : TensorSpec{acc_dtype(q.dtype), Shape{}}};
}

// x of a block's first `seen` keys along `axis`, with zeros for the others.
Tensor with_unseen(const Tensor& x, int64_t axis, int64_t size) {
  if (x.size(axis) == size) return x;
  Ints padding(size_t(2 * x.rank()), 0);
  padding[size_t(x.rank() + axis)] = size - x.size(axis);
  return op<"pad">({x}, {padding});
}
void add_to(Tensor* total, const Tensor& x) { *total = total->defined() ? op<"add">({*total, x}) : x; }

// The mask's gradient from a block's: summed over the axes along which the mask is spread.
Tensor spread_sum(const Form& f, const Tensor& ds, int64_t n) {
  const Ints& m = f.mask.shape();
  Ints axes;
  for (int64_t i = 0; i < 5; ++i)
    if (m[i] == 1 && ds.size(i) != 1 && !(i == 3 && n == 1)) axes.push_back(i);
  return m[4] == 1 ? sum(ds, axes, true) : with_unseen(sum(ds, axes, true), 4, f.s);
}

Tensors decompose_backward(const Call& c) {
  infer_now(c);
  const Form f(c, 1, 6);
  const DType t = c.input(1).dtype();
  const Tensor dy = f.grouped(c.input(0));
  const Ints line{f.b, f.kv, f.g, f.l, 1};
  const bool by_row = f.mask.defined() && f.mask.size(3) != 1;
  Tensor lse, delta, dk, dv, dmask;
  Tensors dq, dmask_rows;
  if (dy.numel() && f.s) {
    lse = reshape(c.input(5), line);
    lse = where(op<"eq">({lse, -INFINITY}), 0.0, lse);
    delta = sum(mul(dy, f.grouped(c.input(4))), {4}, true);
    if (c.has(7)) delta = sub(delta, reshape(c.input(7), line));
    for (int64_t i = 0, n = f.block(); i < f.l; i += n) {
      n = std::min(n, f.l - i);
      const int64_t seen = std::max<int64_t>(f.visible(i + n), 1);
      const Ints matrix{f.b, f.kv, f.g * n, seen};
      const Tensor keys = slice(f.key, 2, 0, seen), values = slice(f.value, 2, 0, seen), dy_rows = f.rows(dy, i, n);
      const Tensor p = op<"exp">({sub(f.scores(i, n, seen), slice(lse, 3, i, i + n))});
      const Tensor kept = when(f.dropout(), [&] { return f.kept(i, n, seen); });
      if (c.wants(2)) {
        const Tensor w = kept.defined() ? mul(p, kept) : p;
        add_to(&dv, with_unseen(op<"matmul">({transpose(reshape(w, matrix)), dy_rows}), 2, f.s));
      }
      Tensor dp = reshape(op<"matmul">({dy_rows, transpose(values)}), p.shape());
      if (kept.defined()) dp = mul(dp, kept);
      const Tensor ds5 = mul(p, sub(dp, slice(delta, 3, i, i + n))), ds = reshape(ds5, matrix);
      if (c.wants(0)) dq.push_back(reshape(mul(op<"matmul">({ds, keys}), f.scale()), {f.b, f.kv, f.g, n, f.e}));
      if (c.wants(1))
        add_to(&dk, with_unseen(op<"matmul">({transpose(ds), mul(f.rows(f.q, i, n), f.scale())}), 2, f.s));
      if (c.wants(3) && f.mask.defined()) {
        const Tensor part = spread_sum(f, ds5, n);
        if (by_row)
          dmask_rows.push_back(part);
        else
          add_to(&dmask, part);
      }
    }
  }
  const auto finish = [&](const Tensor& x, size_t i) {
    return x.defined() ? reshape(x, c.input(i).shape()).cast(c.input(i).dtype()) : zeros_like(c.input(i));
  };
  Tensors out(4);
  if (c.wants(0)) out[0] = dq.empty() ? zeros_like(c.input(1)) : f.joined(dq, f.e).cast(t);
  if (c.wants(1)) out[1] = finish(dk, 2);
  if (c.wants(2)) out[2] = finish(dv, 3);
  if (c.wants(3) && f.mask.defined()) {
    if (!dmask_rows.empty()) {
      const std::vector<Arg> parts(dmask_rows.begin(), dmask_rows.end());
      const Attr axis[] = {Attr(3)};
      dmask = dmask_rows.size() == 1 ? dmask_rows[0] : call_one(op_named<"concat">(), parts, axis);
    }
    out[3] = finish(dmask, 6);
  }
  return out;
}

// ---- the public op --------------------------------------------------------------------------------------------------

struct Shapes {
  Shape batch, y;  // y's leading axes without those of a query; y
  size_t axes;     // of a query: heads, L, E where heads are grouped; L, E else
};

Shapes shapes_of(const Inference& c) {
  const Shape &q = c.input(0).shape, &k = c.input(1).shape, &v = c.input(2).shape;
  const size_t r = q.size(), own = c.attr(3).boolean() ? 3 : 2;
  c.check(r >= own && k.size() == r && v.size() == r, "expected query, key and value of one rank of at least ", own,
          ", got ", str(q), ", ", str(k), " and ", str(v));
  c.check(q[r - 1] == k[r - 1], "expected keys with the query's ", q[r - 1], " features, got ", k[r - 1]);
  c.check(k[r - 2] == v[r - 2], "expected as many values as keys, ", k[r - 2], ", got ", v[r - 2]);
  Shapes s;
  s.axes = own;
  if (own == 3) {
    c.check(k[r - 3] == v[r - 3], "expected as many heads of values as of keys, ", k[r - 3], ", got ", v[r - 3]);
    c.check(!q[r - 3].is_constant() || !k[r - 3].is_constant() ||
                (k[r - 3].value() ? q[r - 3].value() % k[r - 3].value() == 0 : q[r - 3].value() == 0),
            "expected query heads divisible by the ", k[r - 3], " key heads, got ", q[r - 3]);
  }
  const auto lead = [&](const Shape& x) { return Shape(x.data(), r - own); };
  s.batch = broadcast(c.name(), broadcast(c.name(), lead(q), lead(k)), lead(v));
  s.y = s.batch;
  if (own == 3) s.y.push_back(q[r - 3]);
  s.y.push_back(q[r - 2]), s.y.push_back(v[r - 1]);
  return s;
}

Specs infer(const Inference& c) {
  const DType t = c.input(0).dtype;
  const Shapes s = shapes_of(c);
  for (size_t i = 0; i < 3; ++i)
    check_type(is_floating(c.input(i).dtype) && c.input(i).dtype == t, c.name(),
               "query, key and value of one floating dtype", c.input(i).dtype);
  c.check(c.attr(2).floating() >= 0 && c.attr(2).floating() <= 1, "expected dropout_p between 0 and 1, got ",
          c.attr(2).floating());
  if (c.has(3)) {
    check_type(is_floating(c.input(3).dtype) || c.input(3).dtype == DType::boolean, c.name(),
               "a mask of bool or floats", c.input(3).dtype);
    Shape scores = s.y;
    scores.back() = c.input(1).shape[c.input(1).shape.size() - 2];
    c.check(c.input(3).shape.size() <= scores.size() && broadcast(c.name(), scores, c.input(3).shape) == scores,
            "expected a mask that spreads to ", str(scores), ", got ", str(c.input(3).shape));
  }
  return one({t, s.y});
}

// x[..., heads?, n, m], spread over the batch, as [B, heads, n, m].
Tensor four_axes(const Tensor& x, const Ints& batch, size_t own) {
  Ints all = batch, form;
  for (int64_t i = x.rank() - int64_t(own); i < x.rank(); ++i) all.push_back(x.size(i));
  // Without grouping the last axis of the batch plays the heads.
  const size_t heads = own == 3 ? 1 : std::min<size_t>(batch.size(), 1);
  const size_t lead = all.size() - 2 - heads;
  int64_t b = 1;
  for (size_t i = 0; i < lead; ++i) b *= all[i];
  form = {b, heads ? all[lead] : 1, all[all.size() - 2], all.back()};
  return reshape(expand(x, all), form);
}

// A mask [.., L | 1, S | 1] as [B | 1, H | 1, L | 1, S | 1]; leading axes are written out where only some are 1.
Tensor mask_form(const Tensor& mask, const Ints& scores) {
  Ints shape(scores.size() - size_t(mask.rank()), 1);
  for (int64_t d : mask.shape()) shape.push_back(d);
  Tensor m = reshape(mask, shape);
  const size_t lead = scores.size() > 3 ? scores.size() - 3 : 0;
  int64_t have = 1, want = 1;
  for (size_t i = 0; i < lead; ++i) have *= shape[i], want *= scores[i];
  if (have != 1 && have != want) {
    for (size_t i = 0; i < lead; ++i) shape[i] = scores[i];
    m = expand(m, shape), have = want;
  }
  const size_t n = shape.size();
  return reshape(m, {have, n > 2 ? shape[n - 3] : 1, shape[n - 2], shape[n - 1]});
}

Tensors decompose(const Call& c) {
  const Ints y_shape = concrete(infer_now(c)[0].shape);
  const size_t own = c.attr(3).boolean() ? 3 : 2;
  const Ints batch(y_shape.data(), y_shape.size() - own);
  const Tensor q = four_axes(c.input(0), batch, own), k = four_axes(c.input(1), batch, own),
               v = four_axes(c.input(2), batch, own);
  Tensor mask;
  if (c.has(3)) {
    Ints scores = y_shape;
    scores.back() = k.size(2);
    mask = mask_form(c.input(3), scores);
    if (mask.dtype() != DType::boolean) mask = mask.cast(acc_dtype(q.dtype()));
  }
  const double scale =
      c.attr(1).given() ? c.attr(1).floating() : 1 / std::sqrt(double(std::max<int64_t>(q.size(3), 1)));
  PhiloxSlice random{};
  if (c.attr(2).floating() > 0) random = take_random(q.size(2) * ((q.size(0) * q.size(1) * k.size(2) + 3) / 4) * 4);
  // Beyond these nothing changes, and sums with positions stay in range.
  const int64_t offset = std::clamp(c.attr(4).integer(), -q.size(2), k.size(2));
  const Tensor y =
      op<"attention">({q, k, v, mask}, {c.attr(0), scale, c.attr(2), offset, random.seed, random.offset});
  return {reshape(y, y_shape)};
}

}  // namespace

TG_OPS(attention) {
  TG_OP(scaled_dot_product_attention).amp(Amp::low)
      .family("nn")
      .doc(
          "softmax(query @ key^T * scale + mask) @ value. A bool mask says where to look (True), a floating one is "
          "added. Where is_causal, query i sees keys up to i + causal_offset: 0 aligns both at the first (PyTorch's "
          "way), S - L at the last, and a cache's fill level lets new queries see what came before. A query that sees "
          "nothing gives zeros. Memory beyond the result is bounded: no L x S buffer. Errors: ValueError where shapes "
          "do not fit, TypeError for other dtypes.")
      .input("query", "[..., L, E]; [..., H, L, E] with enable_gqa")
      .input("key", "[..., S, E]; [..., K, S, E] with enable_gqa")
      .input("value", "[..., S, V]; [..., K, S, V] with enable_gqa")
      .optional_input("mask", "bool or floats, broadcasts to [..., L, S]")
      .attr("is_causal", AttrKind::boolean, false, "query i sees keys up to i + causal_offset only")
      .optional_attr("scale", AttrKind::floating, "1 / sqrt(E) by default")
      .attr("dropout_p", AttrKind::floating, 0.0, "dropout of the weights")
      .attr("enable_gqa", AttrKind::boolean, false, "H / K query heads in a row share a head of keys and values")
      .run_attr("causal_offset", AttrKind::integer, 0, "position of the first query among the keys")
      .output("y", "[..., L, V]")
      .function_only()
      .infer(infer)
      .decompose(decompose)
      .bounds(8, "E + S, relative to max |value| times (1 + the largest sum of |q k| scale)")
      .example(
          ">>> tg.scaled_dot_product_attention(tg.tensor([[0.]]), tg.tensor([[1.], [2.]]), tg.tensor([[1.], "
          "[3.]])).tolist()\n[[2.0]]");

  attrs(TG_OP(attention).amp(Amp::low)
            .input("q", "[B, H, L, E]")
            .input("k", "[B, K, S, E]; query head h looks at key head h / (H / K)")
            .input("v", "[B, K, S, V]")
            .optional_input("mask", "bool or lse's dtype; each axis of [B, H, L, S] or 1"))
      .doc("Attention in the form of kernels.")
      .output("y", "[B, H, L, V]")
      .hidden_output("lse", "[B, H, L], the accumulation dtype: log of the sum of exp(scores); -inf where none is seen")
      .infer(infer_attention)
      .decompose(decompose_attention)
      .grad([](const Backward& b) {
        const Tensor& y = b.output(0);
        const Arg in[] = {b.grad(0).defined() ? b.grad(0) : zeros_like(y),
                          b.input(0),
                          b.input(1),
                          b.input(2),
                          y,
                          b.output(1),
                          b.has(3) ? b.arg(3) : Arg(),
                          b.grad(1)};
        return call(op_named<"attention_backward">(), in, b.attrs, nullptr, b.needs & 15);
      })
      .saves(15, 3)
      .bounds(8, "as scaled_dot_product_attention");

  attrs(TG_OP(attention_backward)
            .input("dy", "gradient of y")
            .input("q", "the forward op's")
            .input("k", "the forward op's")
            .input("v", "the forward op's")
            .input("y", "what it gave")
            .input("lse", "what it gave")
            .optional_input("mask", "the forward op's")
            .optional_input("dlse", "gradient of lse"))
      .doc("The gradients of attention.")
      .hidden_output("dq", "gradient of q")
      .hidden_output("dk", "gradient of k")
      .hidden_output("dv", "gradient of v")
      .hidden_output("dmask", "gradient of a floating mask")
      .infer(infer_backward)
      .decompose(decompose_backward)
      .bounds(16, "E + V + L + S, relative to what the products of magnitudes give");
}

}  // namespace tg
