// SPDX-License-Identifier: Apache-2.0
//
// Names of dtypes and map opcodes, and the dtype patterns of kernel rows (grammar: kernel_api.h, section 7).
#include <array>
#include <bit>

#include "internal.h"

namespace tg::registry {
namespace {

struct NamedDtype {
  const char* name;
  tg_dtype dtype;
};
// In TG_DT_* order.
constexpr NamedDtype kDtypes[kDtypeCount] = {
    {"f32", {TG_CODE_FLOAT, 32, 1}},
    {"f64", {TG_CODE_FLOAT, 64, 1}},
    {"f16", {TG_CODE_FLOAT, 16, 1}},
    {"bf16", {TG_CODE_BFLOAT, 16, 1}},
    {"i64", {TG_CODE_INT, 64, 1}},
    {"i32", {TG_CODE_INT, 32, 1}},
    {"i16", {TG_CODE_INT, 16, 1}},
    {"i8", {TG_CODE_INT, 8, 1}},
    {"u64", {TG_CODE_UINT, 64, 1}},
    {"u32", {TG_CODE_UINT, 32, 1}},
    {"u16", {TG_CODE_UINT, 16, 1}},
    {"u8", {TG_CODE_UINT, 8, 1}},
    {"bool", {TG_CODE_BOOL, 8, 1}},
    {"c64", {TG_CODE_COMPLEX, 64, 1}},
    {"c128", {TG_CODE_COMPLEX, 128, 1}},
    {"f8e4m3", {TG_CODE_FLOAT8_E4M3FN, 8, 1}},
    {"f8e5m2", {TG_CODE_FLOAT8_E5M2, 8, 1}},
    {"i4", {TG_CODE_INT, 4, 1}},
    {"u4", {TG_CODE_UINT, 4, 1}},
};

// Index = TG_MAP_*.
constexpr const char* kOpcodes[TG_MAP_END] = {
    nullptr,      "copy",  "cast",  "neg",   "abs",  "not",     "sqrt",  "exp",   "log",  "sin",
    "cos",        "tanh",  "erf",   "floor", "ceil", "round",   "trunc", "add",   "sub",  "mul",
    "div",        "rem",   "pow",   "atan2", "max",  "min",     "eq",    "ne",    "lt",   "le",
    "and",        "or",    "xor",   "shl",   "shr",  "where",   "fma",   "clip",  "sign", "rsqrt",
    "reciprocal", "expm1", "log1p", "exp2",  "log2", "sigmoid", "relu",  "silu",  "gelu", "gelu_tanh",
    "softplus",   "tan",   "sinh",  "cosh",  "asin", "acos",    "atan",  "log10", "erfc"};
static_assert(TG_MAP_GELU_TANH == 49 && TG_MAP_CLIP == 37 && TG_MAP_SHR == 34 && TG_MAP_ERFC == 58);

constexpr uint64_t kOther = uint64_t(1) << 63;  // dtypes without a position

uint64_t bit_of(tg_dtype dtype) {
  const int position = dtype_position(dtype);
  return position < 0 ? kOther : uint64_t(1) << position;
}

std::string any_dtype_name(tg_dtype t) {
  const int position = dtype_position(t);
  return position >= 0 ? dtype_name(position) : format("dtype(code %d, %d bits, %d lanes)", t.code, t.bits, t.lanes);
}

std::string mask_text(uint64_t mask) {
  if (mask & kOther) return "any dtype";
  std::string out;
  for (int i = 0; i < kDtypeCount; ++i) {
    if (mask >> i & 1) out += (out.empty() ? "" : "|") + std::string(dtype_name(i));
  }
  return out;
}

std::string_view trim(std::string_view s) {
  while (!s.empty() && s.front() == ' ') s.remove_prefix(1);
  while (!s.empty() && s.back() == ' ') s.remove_suffix(1);
  return s;
}

[[noreturn]] void bad(std::string_view text, const std::string& what) {
  throw std::invalid_argument("dtype pattern '" + std::string(text) + "': " + what);
}

uint64_t alternatives(std::string_view word, std::string_view text) {
  uint64_t mask = 0;
  while (true) {
    const size_t end = word.find('|');
    const std::string_view name = word.substr(0, end);
    const auto position = find_dtype(name);
    if (!position) bad(text, "expected a dtype name, got '" + std::string(name) + "'");
    mask |= uint64_t(1) << *position;
    if (end == std::string_view::npos) return mask;
    word.remove_prefix(end + 1);
  }
}

}  // namespace

int dtype_position(tg_dtype dtype) {
  for (int i = 0; i < kDtypeCount; ++i) {
    const tg_dtype d = kDtypes[i].dtype;
    if (d.code == dtype.code && d.bits == dtype.bits && d.lanes == dtype.lanes) return i;
  }
  return -1;
}

const char* dtype_name(int position) { return position >= 0 && position < kDtypeCount ? kDtypes[position].name : "?"; }

std::optional<int> find_dtype(std::string_view name) {
  for (int i = 0; i < kDtypeCount; ++i) {
    if (name == kDtypes[i].name) return i;
  }
  return std::nullopt;
}

tg_dtype dtype_at(int position) { return kDtypes[position].dtype; }

const char* map_opcode_name(int opcode) { return opcode > 0 && opcode < TG_MAP_END ? kOpcodes[opcode] : nullptr; }

std::optional<int> find_map_opcode(std::string_view name) {
  for (int i = 1; i < TG_MAP_END; ++i) {
    if (name == kOpcodes[i]) return i;
  }
  return std::nullopt;
}

struct DtypePattern::Binding {
  std::array<bool, 26> bound{};
  std::array<tg_dtype, 26> dtype{};
};

DtypePattern DtypePattern::parse(std::string_view text, bool map_row) {
  DtypePattern p;
  p.text_ = text;
  p.map_row_ = map_row;
  for (auto& letter : p.letters_) letter = ~uint64_t(0);

  const size_t semicolon = text.find(';');
  const std::string_view head = text.substr(0, semicolon);
  const size_t arrow = head.find("->");
  if (map_row && arrow != std::string_view::npos)
    bad(text, "a row of map holds the instruction dtype alone, without '->'");
  if (!map_row && arrow == std::string_view::npos) bad(text, "expected 'inputs -> outputs', found no '->'");

  uint32_t used = 0;
  const auto side = [&](std::string_view words, std::vector<Token>& tokens, bool& variadic) {
    for (std::string word : split(words, ' ')) {
      if (variadic) bad(text, "a repeated token must be the last of its side");
      if (word == "...") {
        if (tokens.empty()) bad(text, "'...' repeats a token, but none stands before it");
        variadic = true;
        continue;
      }
      if (word.size() > 3 && word.ends_with("...")) {
        variadic = true;
        word.resize(word.size() - 3);
      }
      Token token;
      if (word == "*") {
        token.mask = ~uint64_t(0);
      } else if (word.size() == 1 && word[0] >= 'A' && word[0] <= 'Z') {
        token.letter = word[0] - 'A';
        used |= 1u << token.letter;
      } else if (word.size() > 2 && word.front() == '(' && word.back() == ')') {
        token.mask = alternatives(std::string_view(word).substr(1, word.size() - 2), text);
      } else {
        token.mask = alternatives(word, text);
      }
      if (tokens.size() == 64) bad(text, "more than 64 arguments on one side");
      tokens.push_back(token);
    }
  };
  if (map_row) {
    side(head, p.inputs_, p.variadic_inputs_);
    if (p.inputs_.size() != 1 || p.variadic_inputs_) bad(text, "a row of map holds exactly one dtype token");
  } else {
    side(head.substr(0, arrow), p.inputs_, p.variadic_inputs_);
    side(head.substr(arrow + 2), p.outputs_, p.variadic_outputs_);
    if (p.outputs_.empty()) bad(text, "expected at least one output after '->'");
  }

  uint32_t bound = 0;
  if (semicolon != std::string_view::npos) {
    std::string_view rest = text.substr(semicolon + 1);
    while (true) {
      const size_t end = rest.find(';');
      const std::string_view clause = trim(rest.substr(0, end));
      const size_t colon = clause.find(':');
      if (colon != 1 || clause[0] < 'A' || clause[0] > 'Z')
        bad(text, "expected a binding like 'T: f32 f64' after ';', got '" + std::string(clause) + "'");
      const int letter = clause[0] - 'A';
      if (!(used >> letter & 1)) bad(text, std::string("letter ") + clause[0] + " is bound but not used");
      if (bound >> letter & 1) bad(text, std::string("letter ") + clause[0] + " is bound twice");
      bound |= 1u << letter;
      uint64_t mask = 0;
      for (const auto& word : split(clause.substr(2), ' ')) mask |= alternatives(word, text);
      if (!mask) bad(text, std::string("letter ") + clause[0] + " is bound to nothing");
      p.letters_[letter] = mask;
      if (end == std::string_view::npos) break;
      rest.remove_prefix(end + 1);
    }
  }
  return p;
}

bool DtypePattern::match_side(std::span<const tg_dtype> args, uint64_t present, const std::vector<Token>& tokens,
                              bool variadic, const char* side, Binding& binding, std::string* why) const {
  const auto is_present = [&](size_t i) { return i >= 64 || (present >> i & 1); };
  if (args.size() < tokens.size()) {
    if (why) *why = format("expected %zu %ss (%s), got %zu", tokens.size(), side, text_.c_str(), args.size());
    return false;
  }
  for (size_t i = 0; i < args.size(); ++i) {
    if (!is_present(i)) continue;
    if (i >= tokens.size() && !variadic) {
      if (why) *why = format("expected at most %zu %ss (%s), got %s %zu", tokens.size(), side, text_.c_str(), side, i);
      return false;
    }
    const Token& token = tokens[std::min(i, tokens.size() - 1)];
    const uint64_t mask = allowed(token);
    if (!(mask & bit_of(args[i]))) {
      if (why) {
        *why = format("%s %zu: expected %s (%s), got %s", side, i, mask_text(mask).c_str(), text_.c_str(),
                      any_dtype_name(args[i]).c_str());
      }
      return false;
    }
    if (token.letter < 0) continue;
    tg_dtype& first = binding.dtype[token.letter];
    if (!binding.bound[token.letter]) {
      binding.bound[token.letter] = true;
      first = args[i];
    } else if (first.code != args[i].code || first.bits != args[i].bits || first.lanes != args[i].lanes) {
      if (why) {
        *why =
            format("%s %zu: expected %s as the other arguments of type %c (%s), got %s", side, i,
                   any_dtype_name(first).c_str(), 'A' + token.letter, text_.c_str(), any_dtype_name(args[i]).c_str());
      }
      return false;
    }
  }
  return true;
}

bool DtypePattern::matches(std::span<const tg_dtype> inputs, std::span<const tg_dtype> outputs, uint64_t inputs_present,
                           uint64_t outputs_wanted, std::string* why) const {
  if (map_row_) {
    if (why) *why = "a row of map matches instructions, not arguments";
    return false;
  }
  Binding binding;
  return match_side(inputs, inputs_present, inputs_, variadic_inputs_, "input", binding, why) &&
         match_side(outputs, outputs_wanted, outputs_, variadic_outputs_, "output", binding, why);
}

bool DtypePattern::matches_instruction(tg_dtype dtype) const {
  return map_row_ && (instruction_mask() & bit_of(dtype)) != 0;
}

LayoutPattern LayoutPattern::parse(std::string_view text) {
  LayoutPattern p;
  const size_t arrow = text.find("->");
  const auto wrong = [&](const std::string& what) {
    throw std::invalid_argument("layouts '" + std::string(text) + "': " + what);
  };
  if (arrow == std::string_view::npos) wrong("expected 'inputs -> outputs', found no '->'");
  bool tagged = false;
  const auto side = [&](std::string_view words, std::vector<std::string>& out) {
    for (const std::string& word : split(words, ' ')) {
      if (word != "-" && !valid_name(word)) wrong("expected '-' or a tag of [a-z0-9_], got '" + word + "'");
      if (out.size() == 32) wrong("more than 32 arguments on one side");
      tagged |= word != "-";
      out.push_back(word == "-" ? "" : word);
    }
  };
  side(text.substr(0, arrow), p.inputs);
  side(text.substr(arrow + 2), p.outputs);
  if (!tagged) wrong("expected a tag; leave the key out where all arguments are plain");
  return p;
}

bool DtypePattern::mentions(int position) const {
  const uint64_t bit = uint64_t(1) << position;
  for (const auto* side : {&inputs_, &outputs_}) {
    for (const Token& token : *side) {
      if (allowed(token) & bit) return true;
    }
  }
  return false;
}

}  // namespace tg::registry
