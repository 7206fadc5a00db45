// SPDX-License-Identifier: Apache-2.0
// Signatures and docstrings of op functions, written from the schema when somebody asks.
#include "function.h"

namespace tg::py {
namespace {

std::string shown(const Attr& a) {
  return std::visit(
      [](const auto& v) -> std::string {
        using T = std::decay_t<decltype(v)>;
        if constexpr (std::is_same_v<T, std::monostate>)
          return "None";
        else if constexpr (std::is_same_v<T, bool>)
          return v ? "True" : "False";
        else if constexpr (std::is_same_v<T, int64_t>)
          return std::to_string(v);
        else if constexpr (std::is_same_v<T, double>) {
          const Object f = Object::take(PyFloat_FromDouble(v));
          const Object r = Object::take(PyObject_Repr(f.get()));
          const std::string_view s = text_of(r.get());
          if (s == "inf" || s == "-inf" || s == "nan") return "float('" + std::string(s) + "')";
          return std::string(s);
        } else if constexpr (std::is_same_v<T, std::string>)
          return "'" + v + "'";
        else if constexpr (std::is_same_v<T, DType>)
          return std::string("'") + long_name_of(v) + "'";
        else {
          std::string s = "(";
          for (size_t i = 0; i < v.size(); ++i) s += (i ? ", " : "") + detail::concat(v[i]);
          return s + (v.size() == 1 ? ",)" : ")");
        }
      },
      a.value());
}

const char* type_of(AttrKind k) {
  switch (k) {
    case AttrKind::boolean:
      return "bool";
    case AttrKind::integer:
      return "int";
    case AttrKind::floating:
      return "float";
    case AttrKind::string:
      return "str";
    case AttrKind::ints:
      return "int or sequence of int";
    case AttrKind::floats:
      return "sequence of float";
    case AttrKind::dtype:
      return "dtype";
  }
  return "";
}

void entry(std::string* out, const std::string& name, const std::string& type, const std::string& doc) {
  *out += name + " : " + type + "\n    " + doc + "\n";
}

}  // namespace

std::string Binding::signature() const {
  std::string s = "(";
  const char* sep = "";
  bool optional_seen = false;
  for (const InputSpec& i : op->inputs) {
    s += sep + i.name;
    if (i.optional || optional_seen) {
      s += "=None";
      optional_seen = true;
    }
    sep = ", ";
  }
  for (const AttrSpec& a : op->attrs) {
    s += sep + a.name;
    if (a.default_value.given())
      s += "=" + shown(a.default_value);
    else if (a.optional || optional_seen)
      s += "=None";
    optional_seen |= a.default_value.given() || a.optional;
    sep = ", ";
  }
  if (op->inputs.empty())
    s += detail::concat(sep, "*, device=None, requires_grad=False");
  else if (!in_place && visible.size() == 1)
    s += detail::concat(sep, "*, out=None");
  return s + ")";
}

std::string Binding::doc() const {
  std::string s = op->summary + "\n";
  if (in_place) s += "\nWrites the result into the first argument and returns it.\n";
  s += "\nParameters\n----------\n";
  for (const InputSpec& i : op->inputs)
    entry(&s, i.name,
          i.variadic   ? "sequence of Tensor"
          : op->map    ? "Tensor or number"
          : i.optional ? "Tensor, optional"
                       : "Tensor",
          i.doc);
  for (const AttrSpec& a : op->attrs) {
    std::string type = type_of(a.kind);
    if (a.default_value.given())
      type += ", default " + shown(a.default_value);
    else if (a.optional)
      type += ", optional";
    entry(&s, a.name, type, a.doc);
  }
  if (op->inputs.empty())
    entry(&s, "device", "device, optional", "where the result lives; the default device if not given");
  s += "\nReturns\n-------\n";
  for (size_t i : visible) entry(&s, op->outputs[i].name, "Tensor", op->outputs[i].doc);
  s += "\nRaises\n------\nTypeError\n    for arguments of the wrong type\n"
       "ValueError\n    for shapes, dtypes or values that do not fit; the message says which\n";
  if (!op->bound_doc.empty()) s += "\nNotes\n-----\n" + op->bound_doc + "\n";
  if (!op->examples.empty()) {
    s += "\nExamples\n--------\n";
    for (const std::string& e : op->examples) s += e + (e.empty() || e.back() != '\n' ? "\n" : "");
  }
  return s;
}

}  // namespace tg::py
