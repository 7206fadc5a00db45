// SPDX-License-Identifier: Apache-2.0
// tengen ops [NAME]: the op table. Exit code 1: no op of that name.
#include <tengen/op.h>
#include <tengen/runtime.h>

#include <cstdio>

#include "commands.h"

namespace tg::cli {
namespace {

const char* kind_name(AttrKind kind) {
  switch (kind) {
    case AttrKind::boolean:
      return "bool";
    case AttrKind::integer:
      return "int";
    case AttrKind::floating:
      return "float";
    case AttrKind::string:
      return "string";
    case AttrKind::ints:
      return "ints";
    case AttrKind::floats:
      return "floats";
    case AttrKind::dtype:
      return "dtype";
  }
  return "?";
}

std::string value_text(const Attr& a) {
  struct Visitor {
    std::string operator()(std::monostate) const { return "None"; }
    std::string operator()(bool v) const { return v ? "True" : "False"; }
    std::string operator()(int64_t v) const { return std::to_string(v); }
    std::string operator()(double v) const {
      char buffer[32];
      std::snprintf(buffer, sizeof buffer, "%g", v);
      return buffer;
    }
    std::string operator()(const std::string& v) const { return "\"" + v + "\""; }
    std::string operator()(const Ints& v) const { return str(v); }
    std::string operator()(const std::vector<double>& v) const {
      std::string out = "(";
      for (double x : v) out += (out.size() > 1 ? ", " : "") + (*this)(x);
      return out + ")";
    }
    std::string operator()(DType v) const { return name_of(v); }
  };
  return std::visit(Visitor{}, a.value());
}

std::string how(const Op& op) {
  if (op.map) return "map";
  if (op.view) return "view";
  if (op.is_floor) return "floor";
  if (!op.kernel.empty()) return op.decompose ? "kernel or decomposes" : "kernel";
  return op.decompose ? "decomposes" : "host";
}

// A gradient of its own, or the one that its parts have.
std::string gradient(const Op& op) {
  if (!op.differentiable) return "";
  return op.grad ? "own" : op.decompose || op.view ? "of its parts" : "";
}

std::string autocast_text(const Op& op) {
  switch (op.amp) {
    case Amp::low:
      return "operands to the region's 16-bit dtype";
    case Amp::f32:
      return "operands to f32";
    case Amp::promote:
      return "operands to the widest dtype among them";
    case Amp::none:
      break;
  }
  return op.decompose && op.kernel.empty() && !op.grad ? "as its parts" : "operands as they are";
}

std::string signature(const Op& op) {
  std::string out = op.name + "(";
  bool first = true;
  const auto add = [&](const std::string& text) {
    out += (first ? "" : ", ") + text;
    first = false;
  };
  for (const auto& in : op.inputs) add(in.variadic ? "*" + in.name : in.optional ? in.name + "=None" : in.name);
  for (const auto& a : op.attrs) {
    add(a.default_value.given() || a.optional ? a.name + "=" + value_text(a.default_value) : a.name);
  }
  return out + ")";
}

void details(const Context& c, const Op& op) {
  std::printf("%s\n  %s\n", paint(c, Style::kBold, signature(op)).c_str(), wrap(c, op.summary, 2).c_str());
  const auto section = [&](const char* title) { std::printf("\n%s\n", paint(c, Style::kBold, title).c_str()); };
  const auto item = [&](const std::string& name, const std::string& text) {
    const std::string head = "  " + name + "  ";
    std::printf("%s\n", wrap(c, head + text, 6).c_str());
  };
  if (!op.inputs.empty()) section("inputs");
  for (const auto& in : op.inputs)
    item(in.name, in.doc + (in.optional ? " (optional)" : in.variadic ? " (any number)" : ""));
  if (!op.attrs.empty()) section("attributes");
  for (const auto& a : op.attrs) item(a.name + ": " + kind_name(a.kind), a.doc + (a.run ? " (run attribute)" : ""));
  section("outputs");
  for (const auto& o : op.outputs) item(o.name, o.doc + (o.hidden ? " (hidden)" : ""));
  section("how it runs");
  item(how(op), op.map ? "an elementwise program on rows of map" : op.kernel.empty() ? "" : "rows of " + op.kernel);
  item("gradient", gradient(op).empty() ? "none" : gradient(op));
  item("autocast", autocast_text(op));
  if (!op.bound_doc.empty()) item("error bound", op.bound_doc);
  item("written in", op.file);
  for (std::string e : op.examples) {
    for (size_t at = e.find('\n'); at != std::string::npos; at = e.find('\n', at + 1)) e.insert(at + 1, "  ");
    std::printf("\n%s\n  %s\n", paint(c, Style::kBold, "example").c_str(), e.c_str());
  }

  const std::string rows_of = op.map ? "map" : op.kernel;
  Table table({{"plugin", "PLUGIN"}, {"kernel", "KERNEL"}, {"dtypes", "DTYPES"}, {"domain", "DOMAIN"}});
  for (const auto& p : list_plugins()) {
    if (!p.usable() || rows_of.empty()) continue;
    for (const auto& r : p.manifest->kernels) {
      if (r.op == rows_of) table.row({p.name, r.name, r.dtypes, r.domain.empty() ? "own" : r.domain});
    }
  }
  if (!table.empty()) std::printf("\n%s", table.text(c).c_str());
}

}  // namespace

int run_ops(const Context& context, const OpsOptions& options) {
  if (!options.name.empty()) {
    const Op* op = find_op(options.name);
    if (!op) {
      try {
        require_op(options.name);  // its message names the nearest op
      } catch (const Error& e) {
        std::fprintf(stderr, "tengen: %s\n", e.what());
      }
      if (context.json) std::printf("null\n");
      return kNone;
    }
    if (!context.json) {
      details(context, *op);
      return kOk;
    }
  }
  Table table({{"name", "OP"},
               {"family", "FAMILY"},
               {"how", "RUNS AS"},
               {"gradient", "GRADIENT"},
               {"signature", ""},
               {"kernel", ""},
               {"internal", ""},
               {"file", ""},
               {"summary", "WHAT"}});
  for (const Op* op : op_table()) {
    if (!options.name.empty() && op->name != options.name) continue;
    if (op->internal && !options.internal && options.name.empty() && !context.json) continue;
    table.row({op->name, op->family, how(*op), gradient(*op), signature(*op), op->map ? "map" : op->kernel,
               Cell("", Style::kPlain, op->internal ? "true" : "false"), op->file, op->summary});
  }
  table.print(context);
  return table.empty() ? kNone : kOk;
}

}  // namespace tg::cli
