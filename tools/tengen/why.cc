// SPDX-License-Identifier: Apache-2.0
// tengen why OP --dtype f32 --shape 64x64 ...: who would run this call. Exit code 1: nobody.
#include <tengen/op.h>
#include <tengen/runtime.h>

#include <charconv>
#include <cstdio>

#include "commands.h"

namespace tg::cli {
namespace {

template <class T>
T parse_number(std::string_view text, const std::string& what) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size())
    throw UsageError(what + ": expected a number, got '" + std::string(text) + "'");
  return value;
}

template <class F>
void for_pieces(std::string_view text, std::string_view separators, F&& f) {
  while (!text.empty()) {
    const size_t end = std::min(text.find_first_of(separators), text.size());
    f(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
}

TensorSpec parse_shape(const std::string& text, const std::string& dtype) {
  const size_t colon = text.find(':');
  const std::string dims = text.substr(0, colon);
  TensorSpec spec{dtype_from_name(colon == std::string::npos ? dtype : text.substr(colon + 1)), {}};
  if (dims == "scalar" || dims.empty()) return spec;
  for_pieces(dims, "x,", [&](std::string_view piece) {
    const auto n = parse_number<int64_t>(piece, "--shape " + text);
    if (n < 0) throw UsageError("--shape " + text + ": expected sizes of 0 and more, got " + std::string(piece));
    spec.shape.push_back(Dim(n));
  });
  if (spec.shape.size() > TG_MAX_RANK) throw UsageError("--shape " + text + ": expected a rank up to 16");
  return spec;
}

Attr parse_attr(const AttrSpec& spec, const std::string& text) {
  const std::string what = "--attr " + spec.name;
  if (text == "None" || text == "none") return {};
  switch (spec.kind) {
    case AttrKind::boolean:
      if (text == "true" || text == "True" || text == "1") return Attr(true);
      if (text == "false" || text == "False" || text == "0") return Attr(false);
      throw UsageError(what + ": expected true or false, got '" + text + "'");
    case AttrKind::integer:
      return Attr(parse_number<int64_t>(text, what));
    case AttrKind::floating:
      return Attr(parse_number<double>(text, what));
    case AttrKind::string:
      return Attr(text);
    case AttrKind::dtype:
      return Attr(dtype_from_name(text));
    case AttrKind::ints: {
      Ints list;
      for_pieces(text, ",x", [&](std::string_view piece) { list.push_back(parse_number<int64_t>(piece, what)); });
      return Attr(std::move(list));
    }
    case AttrKind::floats: {
      std::vector<double> list;
      for_pieces(text, ",", [&](std::string_view piece) { list.push_back(parse_number<double>(piece, what)); });
      return Attr(std::move(list));
    }
  }
  return {};
}

std::vector<Attr> parse_attrs(const Op& op, const std::vector<std::string>& given) {
  std::vector<Attr> out;
  for (const auto& spec : op.attrs) out.push_back(spec.default_value);
  for (const auto& text : given) {
    const size_t equals = text.find('=');
    if (equals == std::string::npos) throw UsageError("--attr: expected name=value, got '" + text + "'");
    const std::string name = text.substr(0, equals);
    size_t i = 0;
    while (i < op.attrs.size() && op.attrs[i].name != name) ++i;
    if (i == op.attrs.size()) {
      std::string all;
      for (const auto& spec : op.attrs) all += (all.empty() ? "" : ", ") + spec.name;
      throw UsageError("[" + op.name + "] expected an attribute of " + (all.empty() ? "(it has none)" : all) +
                       ", got '" + name + "'");
    }
    out[i] = parse_attr(op.attrs[i], text.substr(equals + 1));
  }
  for (size_t i = 0; i < out.size(); ++i) {
    if (!out[i].given() && !op.attrs[i].optional)
      throw UsageError("[" + op.name + "] expected --attr " + op.attrs[i].name + "=..., which has no default");
  }
  return out;
}

std::string verdict_text(const Why& w) {
  if (w.verdict == "kernel") {
    for (const auto& c : w.candidates) {
      if (c.chosen) return w.op + " on " + w.device + ": the kernel " + c.kernel + " of plugin " + c.plugin;
    }
    return w.op + " on " + w.device + ": kernels of plugins, one for each part of its program";
  }
  if (w.verdict == "view") return w.op + " on " + w.device + ": a view; no kernel runs";
  if (w.verdict == "decomposition")
    return w.op + " on " + w.device + ": made of other ops" +
           (w.candidates.empty() ? "" : ", as no plugin takes it whole:");
  if (w.verdict == "fallback")
    return w.op + " on " + w.device + ": no kernel here; it runs on host memory, with copies";
  return w.op + " on " + w.device + ": nothing can run it";
}

Table candidate_table(const std::vector<WhyCandidate>& candidates) {
  Table table({{"plugin", "PLUGIN"},
               {"kernel", "KERNEL"},
               {"score", "SCORE"},
               {"ok", ""},
               {"chosen", "CHOSEN"},
               {"est_ns", ""},
               {"reason", "WHY"}});
  for (const auto& k : candidates) {
    const Style style = k.chosen ? Style::kGood : k.ok ? Style::kPlain : Style::kDim;
    table.row({Cell(k.plugin, style), Cell(k.kernel, style), number(k.score),
               Cell("", Style::kPlain, k.ok ? "true" : "false"),
               Cell(k.chosen ? "yes"
                    : k.ok   ? "could"
                             : "no",
                    style, k.chosen ? "true" : "false"),
               number(k.est_ns), Cell(k.reason, style)});
  }
  return table;
}

std::string steps_json(const std::vector<WhyStep>& steps) {
  std::string out = "[";
  for (const auto& s : steps)
    out += (out.size() > 1 ? ", " : "") + json_object({{"op", json_text(s.op)},
                                                       {"dtypes", json_text(s.dtypes)},
                                                       {"how", json_text(s.how)},
                                                       {"count", std::to_string(s.count)},
                                                       {"candidates", candidate_table(s.candidates).json()}});
  return out + "]";
}

// The ops that a decomposition calls; with `all`, the candidates of each under it.
void print_steps(const Context& context, const std::vector<WhyStep>& steps, bool all) {
  Table table({{"op", "STEP"}, {"dtypes", "DTYPES"}, {"count", "CALLS"}, {"how", "RUN BY"}});
  for (const auto& s : steps)
    table.row({s.op, s.dtypes, number(s.count), s.how == "decomposition" ? dim("other ops") : Cell(s.how)});
  table.print(context);
  if (!all) {
    std::printf("\n%s\n", paint(context, Style::kDim, "--all shows who else could run each step").c_str());
    return;
  }
  for (const auto& s : steps) {
    if (s.candidates.empty()) continue;
    std::printf("\n%s\n%s", paint(context, Style::kBold, s.op + " of " + s.dtypes).c_str(),
                candidate_table(s.candidates).text(context).c_str());
  }
}

}  // namespace

int run_why(const Context& context, const WhyOptions& options) {
  prepare_core();
  const Op& op = require_op(options.op);
  const size_t n = options.shapes.size();
  if (options.dtypes.size() > 1 && options.dtypes.size() != n)
    throw UsageError("expected one --dtype, or one for each of the " + std::to_string(n) + " shapes; got " +
                     std::to_string(options.dtypes.size()));
  const bool variadic = !op.inputs.empty() && op.inputs.back().variadic;
  if (int(n) < op.required_inputs() || (n > op.inputs.size() && !variadic)) {
    std::string names;
    for (const auto& in : op.inputs)
      names += (names.empty() ? "" : ", ") + in.name + (in.optional ? "?" : in.variadic ? "..." : "");
    throw UsageError("[" + op.name + "] expected one --shape for each input (" + names + "), got " + std::to_string(n));
  }
  std::vector<TensorSpec> specs;
  for (size_t i = 0; i < n; ++i) {
    const std::string dtype = options.dtypes.empty() ? "f32" : options.dtypes[options.dtypes.size() > 1 ? i : 0];
    specs.push_back(parse_shape(options.shapes[i], dtype));
  }
  if (op.map) {  // shapes that do not broadcast: say so rather than answer for a call that cannot be made
    Shape together;
    for (const auto& s : specs) together = broadcast(op.name.c_str(), together, s.shape);
  }
  const std::vector<Attr> attrs = parse_attrs(op, options.attrs);
  Device* device = options.device.empty() ? default_device() : find_device(options.device);
  const Why w = why(op, specs, attrs, device);

  const Table candidates = candidate_table(w.candidates);
  const bool runs = w.verdict != "none";
  if (context.json) {
    std::printf("%s\n", json_object({{"op", json_text(w.op)},
                                     {"device", json_text(w.device)},
                                     {"verdict", json_text(w.verdict)},
                                     {"candidates", candidates.json()},
                                     {"steps", steps_json(w.steps)}})
                            .c_str());
    return runs ? kOk : kNone;
  }
  std::printf("%s\n", wrap(context, paint(context, runs ? Style::kBold : Style::kBad, verdict_text(w)), 2).c_str());
  if (!candidates.empty()) std::printf("\n%s", candidates.text(context).c_str());
  if (!w.steps.empty()) {
    std::printf("\n");
    print_steps(context, w.steps, options.all);
  }
  return runs ? kOk : kNone;
}

}  // namespace tg::cli
