// SPDX-License-Identifier: Apache-2.0
// Graphs as JSON: names for values, arrays for nodes; the schema is in docs/design/015-model-files.md.
#include <tengen/model.h>

#include <nlohmann/json.hpp>
#include <cmath>
#include <unordered_map>

namespace tg {
namespace {

using nlohmann::json;

// Numbers that JSON has no words for.
json real(double v) { return std::isfinite(v) ? json(v) : json(std::isnan(v) ? "nan" : v > 0 ? "inf" : "-inf"); }

json ints_json(std::span<const int64_t> v) {
  json a = json::array();
  for (int64_t i : v) a.push_back(i);
  return a;
}

json attr_json(const Attr& a) {
  return std::visit(
      [](const auto& v) -> json {
        using T = std::decay_t<decltype(v)>;
        if constexpr (std::is_same_v<T, std::monostate>) return nullptr;
        else if constexpr (std::is_same_v<T, bool>) return {{"bool", v}};
        else if constexpr (std::is_same_v<T, int64_t>) return {{"int", v}};
        else if constexpr (std::is_same_v<T, double>) return {{"float", real(v)}};
        else if constexpr (std::is_same_v<T, std::string>) return {{"string", v}};
        else if constexpr (std::is_same_v<T, Ints>) return {{"ints", ints_json(v)}};
        else if constexpr (std::is_same_v<T, DType>) return {{"dtype", name_of(v)}};
        else {
          json a = json::array();
          for (double d : v) a.push_back(real(d));
          return {{"floats", a}};
        }
      },
      a.value());
}

json operand_json(const GraphOperand& o) {
  if (o.kind == Arg::absent) return nullptr;
  if (o.kind == Arg::tensor) return o.value->name;
  const Scalar& s = o.scalar;
  switch (s.kind) {
    case Scalar::boolean: return {{"bool", s.i != 0}};
    case Scalar::integer:
      return s.range == Scalar::word ? json{{"int", s.i}} : s.range == Scalar::big ? json{{"uint", uint64_t(s.i)}} : json{{"huge", real(s.f)}};
    case Scalar::floating: return {{"float", real(s.f)}};
    default: return {{"complex", {real(s.f), real(s.im)}}};
  }
}

json spec_json(const GraphValue& v) { return {{"name", v.name}, {"dtype", name_of(v.dtype)}, {"shape", ints_json(v.shape)}}; }

// ---- reading -----------------------------------------------------------------------------------------------------------

class Reader {
 public:
  Reader(const json& j, Device* device) : j_(j), device_(device) {}
  std::unique_ptr<Graph> graph();

 private:
  template <class... Parts>
  static void must(bool ok, const Parts&... parts) {
    check(ok, "[graph] expected ", parts...);
  }
  static const json& at(const json& j, const char* key) {
    must(j.is_object() && j.contains(key), "\"", key, "\" in ", j.dump().substr(0, 60));
    return j.at(key);
  }
  static std::string string(const json& j) {
    must(j.is_string(), "a string, got ", j.dump().substr(0, 40));
    return j.get<std::string>();
  }
  static int64_t integer(const json& j) {
    must(j.is_number_integer() && !(j.is_number_unsigned() && j.get<uint64_t>() > uint64_t(INT64_MAX)), "an integer, got ", j.dump().substr(0, 40));
    return j.get<int64_t>();
  }
  static double real(const json& j) {
    if (j.is_string()) {
      const auto& s = j.get_ref<const std::string&>();
      if (s == "nan") return NAN;
      if (s == "inf") return INFINITY;
      if (s == "-inf") return -INFINITY;
    }
    must(j.is_number(), "a number, got ", j.dump().substr(0, 40));
    return j.get<double>();
  }
  static const json& array(const json& j) {
    must(j.is_array(), "a list, got ", j.dump().substr(0, 40));
    return j;
  }
  static Ints ints(const json& j, bool sizes = false) {
    Ints v;
    for (const auto& i : array(j)) {
      v.push_back(integer(i));
      must(!sizes || (v.back() >= 0 && v.back() < (int64_t(1) << 48)), "sizes from 0 to 2^48, got ", v.back());
    }
    must(!sizes || v.size() <= TG_MAX_RANK, "at most ", TG_MAX_RANK, " axes, got ", v.size());
    return v;
  }
  struct Spec {
    std::string name;
    DType dtype;
    Ints shape;
  };
  static Spec spec(const json& j) {
    Spec s{string(at(j, "name")), dtype_from_name(string(at(j, "dtype"))), ints(at(j, "shape"), true)};
    must(!is_packed(s.dtype), "a dtype that graphs have, got ", long_name_of(s.dtype));
    uint64_t bytes = uint64_t(size_of(s.dtype));
    for (int64_t d : s.shape) must(!__builtin_mul_overflow(bytes, uint64_t(d), &bytes) && bytes < (uint64_t(1) << 48), "a tensor of less than 2^48 bytes as ", s.name);
    return s;
  }
  GraphValue* value(const json& j) const {
    const auto it = values_.find(string(j));
    must(it != values_.end(), "a value that comes before, got ", j.dump().substr(0, 40));
    return it->second;
  }
  void define(GraphValue* v) { must(values_.emplace(v->name, v).second, "distinct names, got ", v->name, " twice"); }
  static Attr attr(const json& j);
  GraphOperand operand(const json& j) const;
  void node(const json& j);

  const json& j_;
  Device* device_;
  std::unique_ptr<Graph> g_;
  std::unordered_map<std::string, GraphValue*> values_;
};

Attr Reader::attr(const json& j) {
  if (j.is_null()) return {};
  must(j.is_object() && j.size() == 1, "an attribute, got ", j.dump().substr(0, 40));
  const auto only = j.begin();
  const std::string& kind = only.key();
  const json& v = only.value();
  if (kind == "bool") return must(v.is_boolean(), "true or false"), Attr(v.get<bool>());
  if (kind == "int") return Attr(integer(v));
  if (kind == "float") return Attr(real(v));
  if (kind == "string") return Attr(string(v));
  if (kind == "ints") return Attr(ints(v));
  if (kind == "dtype") return Attr(dtype_from_name(string(v)));
  must(kind == "floats", "a kind of attribute that is known, got ", kind);
  std::vector<double> list;
  for (const auto& d : array(v)) list.push_back(real(d));
  return Attr(std::move(list));
}

GraphOperand Reader::operand(const json& j) const {
  if (j.is_null()) return {};
  if (j.is_string()) return {Arg::tensor, value(j), {}};
  must(j.is_object() && j.size() == 1, "an operand, got ", j.dump().substr(0, 40));
  const auto only = j.begin();
  const std::string& kind = only.key();
  const json& v = only.value();
  GraphOperand o{Arg::scalar, nullptr, {}};
  if (kind == "bool") must(v.is_boolean(), "true or false"), o.scalar = Scalar(v.get<bool>());
  else if (kind == "int") o.scalar = Scalar(integer(v));
  else if (kind == "uint") must(v.is_number_unsigned(), "an integer"), o.scalar = Scalar::unsigned_integer(v.get<uint64_t>());
  else if (kind == "huge") o.scalar = Scalar::huge_integer(real(v));
  else if (kind == "float") o.scalar = Scalar(real(v));
  else must(kind == "complex" && v.is_array() && v.size() == 2, "a kind of number that is known, got ", kind), o.scalar = Scalar::of_complex(real(v[0]), real(v[1]));
  return o;
}

void Reader::node(const json& j) {
  const std::string name = string(at(j, "op"));
  const Op* op = find_op(name);
  must(op != nullptr, "ops that this version has, got ", name, "; a newer version may have it");
  const int64_t revision = integer(at(j, "revision"));
  must(revision <= op->revision, "revision ", op->revision, " of ", name, " or an older one, got ", revision, "; a newer version has it");
  std::vector<GraphOperand> inputs;
  for (const auto& i : array(at(j, "in"))) inputs.push_back(operand(i));
  Attrs attrs(op->attrs.size());
  for (size_t i = 0; i < attrs.size(); ++i) attrs[i] = op->attrs[i].default_value;
  std::vector<bool> given(attrs.size());
  const json& named = at(j, "attrs");
  must(named.is_object(), "attributes by name");
  for (const auto& [key, v] : named.items()) {
    size_t i = 0;
    while (i < attrs.size() && op->attrs[i].name != key) ++i;
    must(i < attrs.size(), "attributes that ", name, " has, got ", key);
    attrs[i] = attr(v);
    given[i] = true;
  }
  for (size_t i = 0; i < attrs.size(); ++i) must(given[i] || attrs[i].given() || op->attrs[i].optional, "the attribute ", op->attrs[i].name, " of ", name);
  std::vector<std::optional<std::pair<DType, Ints>>> results;
  std::vector<std::string> names;
  for (const auto& o : array(at(j, "out"))) {
    names.emplace_back();
    if (o.is_null()) {
      results.push_back({});
      continue;
    }
    const Spec s = spec(o);
    names.back() = s.name;
    results.push_back(std::pair(s.dtype, s.shape));
  }
  GraphNode& n = g_->add_node(*op, std::move(inputs), std::move(attrs), std::move(results), device_);
  if (j.contains("into"))
    for (const auto& v : array(j["into"])) n.into.push_back(v.is_null() ? nullptr : value(v));
  if (j.contains("random")) n.random_at = integer(j["random"]);
  if (j.contains("host")) {
    const int64_t k = integer(j["host"]);
    must(k >= 0 && size_t(k) < g_->host_calls, "a host call that there is, got ", k);
    n.host_call = int(k);
  }
  for (size_t i = 0; i < n.outputs.size(); ++i)
    if (n.outputs[i]) n.outputs[i]->name = names[i], define(n.outputs[i].get());
}

std::unique_ptr<Graph> Reader::graph() {
  const int64_t schema = integer(at(j_, "schema"));
  must(schema >= 1 && schema <= kModelSchema, "a model of schema ", kModelSchema, " or older, got ", schema, "; a newer version of Tengen reads it");
  g_ = std::make_unique<Graph>();
  g_->name = string(at(j_, "name"));
  const int64_t hosts = integer(at(j_, "host_calls")), blocks = integer(at(j_, "random_blocks"));
  must(hosts >= 0 && hosts < 1 << 20 && blocks >= 0, "counts of 0 or more");
  g_->host_calls = size_t(hosts);
  g_->random_blocks = blocks;
  for (const auto& i : array(at(j_, "inputs"))) {
    const Spec s = spec(i);
    const std::string kind = string(at(i, "kind"));
    must(kind == "argument" || kind == "state" || kind == "constant", "an argument, a state or a constant, got ", kind);
    const Ints strides = i.contains("strides") ? ints(i["strides"], true) : contiguous_strides(s.shape);
    must(strides.size() == s.shape.size(), "as many strides as axes for ", s.name);
    uint64_t extent = 0;
    for (size_t k = 0; k < strides.size(); ++k) {
      uint64_t step;
      must(!__builtin_mul_overflow(uint64_t(s.shape[k]), uint64_t(strides[k]), &step) && (extent += step) < (uint64_t(1) << 44), "strides within 2^44 elements for ", s.name);
    }
    GraphInput& in = g_->add_input(kind == "argument" ? GraphInput::argument : kind == "state" ? GraphInput::state : GraphInput::constant, s.name, s.dtype,
                                   s.shape, strides, device_);
    define(in.value.get());
  }
  for (const auto& n : array(at(j_, "nodes"))) node(n);
  for (const auto& v : array(at(j_, "outputs"))) g_->outputs.push_back(value(v));
  for (const auto& u : array(at(j_, "updates"))) {
    must(u.is_array() && u.size() == 2, "a state and its value");
    const GraphValue* target = value(u[0]);
    GraphInput* input = nullptr;
    for (const auto& in : g_->inputs)
      if (in->value.get() == target) input = in.get();
    must(input != nullptr, "updates of states");
    g_->updates.push_back({input, value(u[1])});
  }
  try {
    g_->verify();
  } catch (const Error& e) {
    raise(ErrorKind::value, e.what());
  }
  return std::move(g_);
}

}  // namespace

std::string graph_json(const Graph& g) {
  check(g.gradients.empty(), "[save_model] expected a graph that leaves no gradients in .grad; call zero_grad() at the end of the function");
  json j;
  j["schema"] = kModelSchema;
  j["name"] = g.name;
  j["host_calls"] = g.host_calls;
  j["random_blocks"] = g.random_blocks;
  j["inputs"] = json::array();
  for (const auto& in : g.inputs) {
    json i = spec_json(*in->value);
    i["kind"] = in->kind == GraphInput::argument ? "argument" : in->kind == GraphInput::state ? "state" : "constant";
    if (in->kind == GraphInput::argument && !(in->strides == contiguous_strides(in->value->shape))) i["strides"] = ints_json(in->strides);
    j["inputs"].push_back(std::move(i));
  }
  j["nodes"] = json::array();
  for (const auto& n : g.nodes) {
    json node;
    node["op"] = n->op->name;
    node["revision"] = n->op->revision;
    node["in"] = json::array();
    for (const GraphOperand& o : n->inputs) node["in"].push_back(operand_json(o));
    node["attrs"] = json::object();
    for (size_t i = 0; i < n->attrs.size(); ++i)
      if (!(n->attrs[i].value() == n->op->attrs[i].default_value.value())) node["attrs"][n->op->attrs[i].name] = attr_json(n->attrs[i]);
    node["out"] = json::array();
    for (const auto& v : n->outputs) node["out"].push_back(v ? spec_json(*v) : json(nullptr));
    if (!n->into.empty()) {
      node["into"] = json::array();
      for (const GraphValue* v : n->into) node["into"].push_back(v ? json(v->name) : json(nullptr));
    }
    if (n->random_at >= 0) node["random"] = n->random_at;
    if (n->host_call >= 0) node["host"] = n->host_call;
    j["nodes"].push_back(std::move(node));
  }
  j["outputs"] = json::array();
  for (const GraphValue* v : g.outputs) j["outputs"].push_back(v->name);
  j["updates"] = json::array();
  for (const GraphUpdate& u : g.updates) j["updates"].push_back({u.input->value->name, u.value->name});
  return j.dump();
}

std::unique_ptr<Graph> graph_from_json(std::string_view text, Device* device) {
  const json j = json::parse(text.begin(), text.end(), nullptr, false);
  check(!j.is_discarded(), "[graph] expected JSON");
  return Reader(j, device).graph();
}

}  // namespace tg
