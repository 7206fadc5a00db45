// SPDX-License-Identifier: Apache-2.0
// Graphs as text, and back. One statement a line:
//   graph(%x: f32[4, 3]) {
//     state %w: f32[2, 3]
//     %0: f32[4, 2] = linear(%x, %w, _, activation=0)
//     %1: f32[2, 3] = add(%w, 1.0) into (%w)
//     return %0
//     update %w = %1
//   }
#include <tengen/graph.h>
#include <tengen/runtime.h>

#include <algorithm>
#include <charconv>
#include <map>

namespace tg {
namespace {

std::string number_text(double v) {
  char buffer[40];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, v).ptr;
  std::string s(buffer, end);
  if (s.find_first_of(".en") == s.npos) s += ".0";  // inf and nan have an n
  return s;
}

std::string quoted(const std::string& text) {
  std::string s = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') s += '\\';
    s += c;
  }
  return s + '"';
}

std::string scalar_text(const Scalar& v) {
  switch (v.kind) {
    case Scalar::boolean: return v.i ? "true" : "false";
    case Scalar::integer: return v.range == Scalar::word ? std::to_string(v.i) : v.range == Scalar::big ? std::to_string(uint64_t(v.i)) + "u" : "huge " + number_text(v.f);
    case Scalar::floating: return number_text(v.f);
    default: return "complex(" + number_text(v.f) + ", " + number_text(v.im) + ")";
  }
}

template <class V, class F>
std::string list_text(const V& values, F&& each, const char* open, const char* close) {
  std::string s = open;
  for (size_t i = 0; i < values.size(); ++i) s += (i ? ", " : "") + each(values[i]);
  return s + close;
}
std::string ints_text(std::span<const int64_t> v) {
  return list_text(v, [](int64_t i) { return std::to_string(i); }, "(", ")");
}

std::string spec_text(const GraphValue& v) {
  return "%" + v.name + ": " + name_of(v.dtype) + list_text(v.shape, [](int64_t i) { return std::to_string(i); }, "[", "]");
}

std::string operand_text(const GraphOperand& o) {
  return o.kind == Arg::absent ? "_" : o.kind == Arg::scalar ? scalar_text(o.scalar) : "%" + o.value->name;
}

bool equal(const Attr& a, const Attr& b) { return a.value() == b.value(); }

}  // namespace

std::string attr_text(const Attr& a) {
  return std::visit(
      [](const auto& v) -> std::string {
        using T = std::decay_t<decltype(v)>;
        if constexpr (std::is_same_v<T, std::monostate>) return "none";
        else if constexpr (std::is_same_v<T, bool>) return v ? "true" : "false";
        else if constexpr (std::is_same_v<T, int64_t>) return std::to_string(v);
        else if constexpr (std::is_same_v<T, double>) return number_text(v);
        else if constexpr (std::is_same_v<T, std::string>) return quoted(v);
        else if constexpr (std::is_same_v<T, Ints>) return ints_text(v);
        else if constexpr (std::is_same_v<T, DType>) return name_of(v);
        else return list_text(v, number_text, "[", "]");
      },
      a.value());
}

std::string Graph::text() const {
  const auto input_text = [](const GraphInput& in) {
    std::string s = spec_text(*in.value);
    if (!(in.strides == contiguous_strides(in.value->shape))) s += " strides=" + ints_text(in.strides);
    return s;
  };
  std::string s = name + "(";
  bool first = true;
  for (const auto& in : inputs)
    if (in->kind == GraphInput::argument) s += (std::exchange(first, false) ? "" : ", ") + input_text(*in);
  s += ") {\n";
  for (const auto& in : inputs)
    if (in->kind != GraphInput::argument) s += std::string("  ") + (in->kind == GraphInput::state ? "state " : "constant ") + input_text(*in) + "\n";
  for (const auto& n : nodes) {
    s += "  " + list_text(n->outputs, [](const auto& v) { return v ? spec_text(*v) : std::string("_"); }, "", "");
    s += (n->outputs.empty() ? "" : " = ") + n->op->name + "(";
    first = true;
    for (const GraphOperand& o : n->inputs) s += (std::exchange(first, false) ? "" : ", ") + operand_text(o);
    for (size_t i = 0; i < n->attrs.size(); ++i)
      if (!equal(n->attrs[i], n->op->attrs[i].default_value))
        s += (std::exchange(first, false) ? "" : ", ") + n->op->attrs[i].name + "=" + attr_text(n->attrs[i]);
    s += ")";
    if (n->random_at >= 0) s += " random=" + std::to_string(n->random_at);
    if (n->host_call >= 0) s += " host=" + std::to_string(n->host_call);
    if (!n->into.empty()) s += " into " + list_text(n->into, [](const GraphValue* v) { return v ? "%" + v->name : std::string("_"); }, "(", ")");
    s += "\n";
  }
  if (random_blocks) s += "  random " + std::to_string(random_blocks) + "\n";
  if (!outputs.empty()) s += "  return " + list_text(outputs, [](const GraphValue* v) { return "%" + v->name; }, "", "") + "\n";
  for (const GraphUpdate& u : updates) s += "  update %" + u.input->value->name + " = %" + u.value->name + "\n";
  for (const GraphGradient& g : gradients) {
    std::string leaf = "?";
    for (const auto& in : inputs)
      if (in->bound.defined() && same(in->bound, g.leaf)) leaf = in->value->name;
    s += "  gradient of %" + leaf + (g.value ? " = %" + g.value->name : " = none") + "\n";
  }
  return s + "}\n";
}

// ---- parsing -----------------------------------------------------------------------------------------------------------

namespace {

class Parser {
 public:
  Parser(std::string_view text, Graph* graph) : text_(text), g_(graph) {}

  void graph() {
    g_->name = word();
    expect("(");
    while (!accept(")")) {
      input(GraphInput::argument);
      if (!accept(",")) {
        expect(")");
        break;
      }
    }
    expect("{");
    while (!accept("}")) statement();
    skip();
    if (at_ != text_.size()) fail("the end after '}'");
  }

 private:
  [[noreturn]] void fail(const std::string& expected) {
    const size_t line = size_t(std::count(text_.begin(), text_.begin() + std::ptrdiff_t(std::min(at_, text_.size())), '\n')) + 1;
    std::string got(text_.substr(at_, 20));
    got = got.substr(0, got.find('\n'));
    raise(ErrorKind::value, "[Graph.parse] line ", line, ": expected ", expected, ", got ", got.empty() ? "the end of the line" : "'" + got + "'");
  }
  void skip() {
    while (at_ < text_.size() && (std::isspace(static_cast<unsigned char>(text_[at_])) || text_[at_] == '#'))
      if (text_[at_] == '#') at_ = std::min(text_.find('\n', at_), text_.size());
      else ++at_;
  }
  bool accept(std::string_view token) {
    skip();
    if (!text_.substr(at_).starts_with(token)) return false;
    const size_t end = at_ + token.size();
    const auto wordly = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_'; };
    if (wordly(token.back()) && end < text_.size() && wordly(text_[end])) return false;
    at_ = end;
    return true;
  }
  void expect(std::string_view token) {
    if (!accept(token)) fail("'" + std::string(token) + "'");
  }
  std::string word() {
    skip();
    const size_t from = at_;
    while (at_ < text_.size() && (std::isalnum(static_cast<unsigned char>(text_[at_])) || text_[at_] == '_' || text_[at_] == '.')) ++at_;
    if (at_ == from) fail("a name");
    return std::string(text_.substr(from, at_ - from));
  }
  bool number(Attr* out) {
    skip();
    const char *from = text_.data() + at_, *end = text_.data() + text_.size();
    int64_t i = 0;
    const auto whole = std::from_chars(from, end, i);
    double d = 0;
    const auto real = std::from_chars(from, end, d);
    const char* stop = real.ec == std::errc() ? real.ptr : whole.ptr;
    if (stop != end && (std::isalnum(static_cast<unsigned char>(*stop)) || *stop == '_')) return false;  // a name, as infinite=
    if (whole.ec == std::errc() && whole.ptr == real.ptr) *out = i, at_ += size_t(whole.ptr - from);
    else if (real.ec == std::errc()) *out = d, at_ += size_t(real.ptr - from);
    else return false;
    return true;
  }
  int64_t integer() {
    Attr a;
    if (!number(&a) || !std::holds_alternative<int64_t>(a.value())) fail("an integer");
    return a.integer();
  }
  Ints ints(const char* open, const char* close) {
    Ints v;
    expect(open);
    while (!accept(close)) {
      v.push_back(integer());
      if (!accept(",")) {
        expect(close);
        break;
      }
    }
    return v;
  }
  double floating() {
    Attr a;
    if (!number(&a)) fail("a number");
    return a.floating();
  }
  Attr attribute() {
    Attr a;
    if (accept("none")) return {};
    if (accept("true")) return true;
    if (accept("false")) return false;
    if (number(&a)) return a;
    skip();
    if (text_.substr(at_).starts_with("(")) return ints("(", ")");
    if (accept("[")) {
      std::vector<double> v;
      while (!accept("]")) {
        v.push_back(floating());
        if (!accept(",")) {
          expect("]");
          break;
        }
      }
      return v;
    }
    if (accept("\"")) {
      std::string s;
      while (at_ < text_.size() && text_[at_] != '"') {
        if (text_[at_] == '\\') ++at_;
        if (at_ < text_.size()) s += text_[at_++];
      }
      expect("\"");
      return s;
    }
    return dtype_from_name(word());
  }
  struct Spec {
    std::string name;
    DType dtype;
    Ints shape;
  };
  Spec spec() {
    expect("%");
    Spec s;
    s.name = word();
    expect(":");
    s.dtype = dtype_from_name(word());
    if (is_packed(s.dtype)) fail("a dtype that graphs have");
    s.shape = ints("[", "]");
    for (int64_t d : s.shape)
      if (d < 0) fail("sizes of 0 or more");
    return s;
  }
  GraphValue* value() {
    expect("%");
    const std::string name = word();
    const auto it = values_.find(name);
    if (it == values_.end()) fail("a value that comes before, not %" + name);
    return it->second;
  }
  void define(GraphValue* v, const std::string& name) {
    v->name = name;
    if (!values_.emplace(name, v).second) fail("a new name, not %" + name + " again");
  }
  void input(GraphInput::Kind kind) {
    const Spec s = spec();
    const Ints strides = accept("strides=") ? ints("(", ")") : contiguous_strides(s.shape);
    if (strides.size() != s.shape.size()) fail("as many strides as axes");
    define(g_->add_input(kind, s.name, s.dtype, s.shape, strides, default_device()).value.get(), s.name);
  }
  void statement() {
    if (accept("state")) return input(GraphInput::state);
    if (accept("random")) {
      g_->random_blocks = integer();
      return;
    }
    if (accept("constant")) return input(GraphInput::constant);
    if (accept("return")) {
      do g_->outputs.push_back(value());
      while (accept(","));
      return;
    }
    if (accept("update")) {
      GraphValue* target = value();
      expect("=");
      size_t i = 0;
      while (i < g_->inputs.size() && g_->inputs[i]->value.get() != target) ++i;
      if (i == g_->inputs.size()) fail("a state to update, not %" + target->name);
      g_->updates.push_back({g_->inputs[i].get(), value()});
      return;
    }
    node();
  }
  void node() {
    std::vector<std::optional<Spec>> results;
    skip();
    if (at_ < text_.size() && (text_[at_] == '%' || text_[at_] == '_')) {
      do {
        if (accept("_")) results.push_back({});
        else results.push_back(spec());
      } while (accept(","));
      expect("=");
    }
    const Op& op = require_op(word());
    expect("(");
    std::vector<GraphOperand> inputs;
    Attrs attrs(op.attrs.size());
    std::vector<bool> given(op.attrs.size());
    for (size_t i = 0; i < attrs.size(); ++i) attrs[i] = op.attrs[i].default_value;
    while (!accept(")")) {
      operand(op, &inputs, &attrs, &given);
      if (!accept(",")) {
        expect(")");
        break;
      }
    }
    for (size_t i = 0; i < attrs.size(); ++i)
      if (!given[i] && !attrs[i].given() && !op.attrs[i].optional) fail("the attribute " + op.attrs[i].name + " of " + op.name);
    std::vector<std::optional<std::pair<DType, Ints>>> specs;
    for (const auto& r : results) specs.push_back(r ? std::optional(std::pair(r->dtype, r->shape)) : std::nullopt);
    GraphNode& n = g_->add_node(op, std::move(inputs), std::move(attrs), std::move(specs), default_device());
    if (accept("random=")) n.random_at = integer();
    if (accept("host=")) {
      n.host_call = int(integer());
      g_->host_calls = std::max(g_->host_calls, size_t(n.host_call) + 1);
    }
    if (accept("into")) {
      expect("(");
      do n.into.push_back(accept("_") ? nullptr : value());
      while (accept(","));
      expect(")");
    }
    for (size_t i = 0; i < results.size(); ++i)
      if (results[i]) define(n.outputs[i].get(), results[i]->name);
  }
  void operand(const Op& op, std::vector<GraphOperand>* inputs, Attrs* attrs, std::vector<bool>* given) {
    skip();
    GraphOperand o;
    if (at_ < text_.size() && text_[at_] == '%') o.kind = Arg::tensor, o.value = value();
    else if (accept("_")) o.kind = Arg::absent;
    else if (accept("complex(")) {
      const double re = floating();
      expect(",");
      o.kind = Arg::scalar, o.scalar = Scalar::of_complex(re, floating());
      expect(")");
    } else if (accept("true") || accept("false")) o.kind = Arg::scalar, o.scalar = Scalar(text_[at_ - 2] == 'u');
    else if (Attr a; number(&a)) {
      o.kind = Arg::scalar;
      o.scalar = std::holds_alternative<int64_t>(a.value()) ? Scalar(a.integer()) : Scalar(a.floating());
    } else {
      const std::string name = word();
      expect("=");
      for (size_t i = 0; i < op.attrs.size(); ++i)
        if (op.attrs[i].name == name) {
          (*attrs)[i] = attribute();
          (*given)[i] = true;
          return;
        }
      fail("an attribute of " + op.name + ", not " + name);
    }
    inputs->push_back(o);
  }

  std::string_view text_;
  size_t at_ = 0;
  Graph* g_;
  std::map<std::string, GraphValue*> values_;
};

}  // namespace

std::unique_ptr<Graph> Graph::parse(std::string_view text) {
  auto g = std::make_unique<Graph>();
  Parser(text, g.get()).graph();
  // Names made later must be new.
  for (const auto& n : g->nodes)
    for (const auto& v : n->outputs)
      if (int number = 0; v && std::from_chars(v->name.data(), v->name.data() + v->name.size(), number).ec == std::errc())
        g->next_ = std::max(g->next_, number + 1);
  return g;
}

}  // namespace tg
