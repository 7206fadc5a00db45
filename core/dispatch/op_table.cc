// SPDX-License-Identifier: Apache-2.0
// The op table: filled once from core/ops, ordered by name, dumped as JSON.
#include "transform/transform.h"

#include <algorithm>
#include <map>
#include <mutex>
#include <shared_mutex>
#include <sstream>

namespace tg {

void register_all_ops();  // written by the build

namespace {

// Read from any thread while another adds an op of its own: the list that readers hold never changes, a longer one takes
// its place.
struct Table {
  using Ops = std::vector<const Op*>;
  std::vector<std::unique_ptr<Op>> owned;
  std::vector<std::unique_ptr<const Ops>> lists;  // all there have been
  std::atomic<const Ops*> ops{nullptr};           // the newest
  std::map<std::string, const Op*, std::less<>> by_name;
  std::shared_mutex mutex;  // of all but `ops`
  void publish(Ops list) {
    lists.push_back(std::make_unique<const Ops>(std::move(list)));
    ops.store(lists.back().get(), std::memory_order_release);
  }
};
Table* g_filling = nullptr;

// What an older revision's rows and files know of an op comes first, and means the same without what came later.
void check_revisions(const Op& op) {
  int last = 1, enabled = 1;
  for (const InputSpec& i : op.inputs) {
    ensure(i.since >= last && (i.since == 1 || i.optional), "op ", op.name, ": the later input ", i.name, " is not optional, or not last");
    last = i.since;
  }
  last = 1;
  for (const AttrSpec& a : op.attrs) {
    ensure(a.since >= last && (a.since == 1 || a.optional || a.default_value.given()), "op ", op.name, ": the later attribute ", a.name,
           " has no default, or is not last");
    if (!a.run) enabled = a.since;
    ensure(!a.run || a.since == enabled || a.since == 1, "op ", op.name, ": no plan attribute of revision ", a.since,
           " enables the run attribute ", a.name);
    last = a.since;
  }
}

Table& table() {
  static Table& filled = []() -> Table& {
    static Table& t = *new Table();
    g_filling = &t;
    register_all_ops();
    g_filling = nullptr;
    std::sort(t.owned.begin(), t.owned.end(), [](auto& a, auto& b) { return a->name < b->name; });
    Table::Ops ops;
    for (auto& op : t.owned) {
      op->id = int(ops.size());
      ensure(t.by_name.emplace(op->name, op.get()).second, "op ", op->name, " is defined twice");
      ensure(op->map || op->infer || op->decompose || op->view, "op ", op->name, " has neither inference nor decomposition");
      ensure(!op->kernel.empty() || op->map || op->decompose || op->view, "op ", op->name, " has no way to run");
      check_revisions(*op);
      if (op->family == "random" && !op->map) op->draws = true;
      if (op->outputs.empty()) op->outputs.push_back({"y", "the result"});
      ops.push_back(op.get());
    }
    t.publish(std::move(ops));
    return t;
  }();
  return filled;
}

size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t above = row[j];
      row[j] = std::min({above + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1])});
      diagonal = above;
    }
  }
  return row[b.size()];
}

std::string quote(std::string_view s) {
  std::string out = "\"";
  for (char c : s) {
    if (c == '"' || c == '\\') out += '\\', out += c;
    else if (c == '\n') out += "\\n";
    else out += c;
  }
  return out + "\"";
}

std::string json(const Attr& a) {
  return std::visit(
      [](const auto& v) -> std::string {
        using T = std::decay_t<decltype(v)>;
        std::ostringstream out;
        if constexpr (std::is_same_v<T, std::monostate>) return "null";
        else if constexpr (std::is_same_v<T, bool>) return v ? "true" : "false";
        else if constexpr (std::is_same_v<T, std::string>) return quote(v);
        else if constexpr (std::is_same_v<T, DType>) return quote(name_of(v));
        else if constexpr (std::is_same_v<T, Ints> || std::is_same_v<T, std::vector<double>>) {
          out << "[";
          for (size_t i = 0; i < v.size(); ++i) out << (i ? "," : "") << v[i];
          out << "]";
          return out.str();
        } else {
          out.precision(17);
          out << v;
          return out.str();
        }
      },
      a.value());
}

}  // namespace

OpBuilder::OpBuilder(const char* name, const char* file) {
  ensure(g_filling != nullptr, "op ", name, " is defined outside the table's registration");
  g_filling->owned.push_back(std::make_unique<Op>());
  op_ = g_filling->owned.back().get();
  op_->name = name;
  const std::string path = file;
  op_->file = path.substr(path.rfind('/') + 1);
}

OpBuilder& OpBuilder::infer(InferFn f) {
  op_->infer = [f = std::move(f)](const Inference& c) {
    try {
      Specs specs = f(c);
      for (const TensorSpec& s : specs)
        for (const Dim& d : s.shape)
          if (d.is_constant() && d.value() < 0) [[unlikely]]
            raise(ErrorKind::value, "[", c.name(), "] expected sizes of 0 or more, got shape ", str(s.shape));
      return specs;
    } catch (const SizeOverflow& e) {
      raise(ErrorKind::value, "[", c.name(), "] ", e.what());
    }
  };
  return *this;
}

OpBuilder& OpBuilder::linear(std::initializer_list<std::initializer_list<int>> groups, std::string_view unless) {
  for (const auto& group : groups) {
    uint64_t mask = 0;
    for (int i : group) mask |= i < 0 ? ~uint64_t(0) : uint64_t(1) << i;  // -1: all
    op_->linear.push_back(mask);
  }
  for (size_t i = 0; i < op_->attrs.size(); ++i)
    if (op_->attrs[i].name == unless) op_->linear_unless = int(i);
  ensure(unless.empty() || op_->linear_unless >= 0, "op ", op_->name, " has no attribute ", unless);
  return *this;
}

int Op::required_inputs() const {
  int n = 0;
  for (const InputSpec& i : inputs) n += !i.optional && !i.variadic;
  return n;
}

const char* Inference::name() const { return op.name.c_str(); }

std::string nearest_name(std::string_view word, std::span<const std::string> names) {
  std::string best;
  size_t distance = std::max<size_t>(1, (word.size() + 2) / 3) + 1;
  for (const std::string& name : names)
    if (const size_t d = edit_distance(word, name); d < distance) distance = d, best = name;
  return best;
}

const std::vector<const Op*>& op_table() { return *table().ops.load(std::memory_order_acquire); }

const Op& add_op(std::unique_ptr<Op> op) {
  Table& t = table();
  const std::unique_lock lock(t.mutex);
  check(!t.by_name.count(op->name), "[custom_op] expected a new name, got ", op->name, ", which is an op already");
  check_revisions(*op);
  Table::Ops ops = *t.ops.load(std::memory_order_relaxed);
  op->id = int(ops.size());
  t.owned.push_back(std::move(op));
  const Op* added = t.owned.back().get();
  t.by_name.emplace(added->name, added);
  ops.push_back(added);
  t.publish(std::move(ops));
  return *added;
}

const Op* find_op(std::string_view name) {
  Table& t = table();
  const std::shared_lock lock(t.mutex);
  const auto it = t.by_name.find(name);
  return it == t.by_name.end() ? nullptr : it->second;
}

const Op& require_op(std::string_view name) {
  if (const Op* op = find_op(name)) return *op;
  std::vector<std::string> names;
  for (const Op* op : op_table()) names.push_back(op->name);
  const std::string near = nearest_name(name, names);
  raise(ErrorKind::value, "expected the name of an op, got '", name, "'", near.empty() ? "" : "; did you mean '" + near + "'?");
}

std::string op_table_json() {
  const auto since = [](int revision) { return revision == 1 ? "" : ",\"since\":" + std::to_string(revision); };
  static const char* const kinds[] = {"bool", "int", "float", "string", "ints", "floats", "dtype"};
  std::string out = "[";
  for (const Op* op : op_table()) {
    if (out.size() > 1) out += ",\n";
    out += "{\"name\":" + quote(op->name) + ",\"family\":" + quote(op->family) + ",\"file\":" + quote(op->file) +
           ",\"doc\":" + quote(op->summary) + ",\"kernel\":" + quote(op->map ? "map" : op->kernel) +
           ",\"revision\":" + std::to_string(op->revision) + ",\"internal\":" + (op->internal ? "true" : "false") +
           ",\"floor\":" + (op->is_floor ? "true" : "false") + ",\"map\":" + (op->map ? "true" : "false") +
           ",\"view\":" + (op->view ? "true" : "false") + ",\"decomposes\":" + (op->decompose ? "true" : "false") +
           ",\"amp\":" + quote(amp_name(op->amp)) + ",\"differentiable\":" + (op->differentiable ? "true" : "false") + ",\"method\":" + (op->method ? "true" : "false") +
           ",\"bound\":" + json(Attr(op->bound)) + ",\"bound_doc\":" + quote(op->bound_doc) + ",\"inputs\":[";
    for (size_t i = 0; i < op->inputs.size(); ++i)
      out += std::string(i ? "," : "") + "{\"name\":" + quote(op->inputs[i].name) + ",\"doc\":" + quote(op->inputs[i].doc) +
             ",\"optional\":" + (op->inputs[i].optional ? "true" : "false") +
             ",\"variadic\":" + (op->inputs[i].variadic ? "true" : "false") + since(op->inputs[i].since) + "}";
    out += "],\"attrs\":[";
    for (size_t i = 0; i < op->attrs.size(); ++i) {
      const AttrSpec& a = op->attrs[i];
      out += std::string(i ? "," : "") + "{\"name\":" + quote(a.name) + ",\"doc\":" + quote(a.doc) + ",\"kind\":" +
             quote(kinds[int(a.kind)]) + ",\"default\":" + json(a.default_value) +
             ",\"required\":" + (!a.default_value.given() && !a.optional ? "true" : "false") +
             ",\"run\":" + (a.run ? "true" : "false") + since(a.since) + "}";
    }
    out += "],\"outputs\":[";
    for (size_t i = 0; i < op->outputs.size(); ++i)
      out += std::string(i ? "," : "") + "{\"name\":" + quote(op->outputs[i].name) + ",\"doc\":" + quote(op->outputs[i].doc) +
             ",\"hidden\":" + (op->outputs[i].hidden ? "true" : "false") + "}";
    out += "],\"examples\":[";
    for (size_t i = 0; i < op->examples.size(); ++i) out += std::string(i ? "," : "") + quote(op->examples[i]);
    out += "]}";
  }
  return out + "]";
}

// ---- attribute values -------------------------------------------------------------------------------------------------

namespace {
template <class T>
const T& expect(const Attr::Value& v, const char* what) {
  if (const T* p = std::get_if<T>(&v)) return *p;
  raise(ErrorKind::type, "expected an attribute of kind ", what, ", got ", v.index() == 0 ? "none" : "another kind");
}
}  // namespace

int64_t Attr::integer() const {
  if (const bool* b = std::get_if<bool>(&value_)) return *b;
  return expect<int64_t>(value_, "int");
}
double Attr::floating() const {
  if (const int64_t* i = std::get_if<int64_t>(&value_)) return double(*i);
  if (const bool* b = std::get_if<bool>(&value_)) return *b;
  return expect<double>(value_, "float");
}
bool Attr::boolean() const {
  if (const int64_t* i = std::get_if<int64_t>(&value_)) return *i != 0;
  return expect<bool>(value_, "bool");
}
const std::string& Attr::string() const { return expect<std::string>(value_, "string"); }
const Ints& Attr::ints() const { return expect<Ints>(value_, "ints"); }
DType Attr::dtype() const { return expect<DType>(value_, "dtype"); }

}  // namespace tg
