// SPDX-License-Identifier: Apache-2.0
//
// Loads a plugin by path and runs calls through its table as the host would: rows matched, supports, plan_create,
// plan_workspace, plan_run, plan_destroy, with a small host table of its own. Host-memory plugins only.
//
//   Plugin plugin("libtengen_reference.so");
//   Call call{"reduce", {&x}, {&y}, {Attr::integer(TG_REDUCE_SUM), Attr::ints({1})}, {}};
//   for (uint32_t row : plugin.candidates(call)) Outcome outcome = plugin.run(call, row);
//
// The harness also checks the contract around a call: an error block is written on failure only and carries the status
// and a sentence; a refusal has a reason; inputs, gaps between elements and the workspace's surroundings stay as they
// were. What it finds is in Outcome::breach.
#pragma once

#include <dlfcn.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "test_tensor.h"

namespace tg::test {

using plugin::operator==;  // tg_dtype lives outside every namespace

// ---- attributes and calls ----

struct Attr {
  uint32_t kind = 0;
  int64_t i = 0;
  double f = 0;
  std::vector<int64_t> list;
  std::vector<uint64_t> words;
  std::vector<tg_map_inst> program;

  static Attr integer(int64_t i) {
    Attr a;
    a.kind = TG_ATTR_INT;
    a.i = i;
    return a;
  }
  static Attr ints(std::vector<int64_t> list) {
    Attr a;
    a.kind = TG_ATTR_INTS;
    a.list = std::move(list);
    return a;
  }
  static Attr bits(std::vector<uint64_t> words) {
    Attr a;
    a.kind = TG_ATTR_BITS;
    a.words = std::move(words);
    return a;
  }
  static Attr map_program(std::vector<tg_map_inst> program) {
    Attr a;
    a.kind = TG_ATTR_PROGRAM;
    a.program = std::move(program);
    return a;
  }

  tg_attr view() const {
    tg_attr a{};
    a.kind = kind;
    a.n = 1;
    switch (kind) {
      case TG_ATTR_INT:
        a.v.i = i;
        break;
      case TG_ATTR_FLOAT:
        a.v.f = f;
        break;
      case TG_ATTR_INTS:
        a.n = uint32_t(list.size());
        a.v.ints = list.data();
        break;
      case TG_ATTR_BITS:
        a.n = uint32_t(words.size());
        a.v.bits = words.data();
        break;
      case TG_ATTR_PROGRAM:
        a.n = uint32_t(program.size());
        a.v.program = program.data();
        break;
      default:
        break;
    }
    return a;
  }
};

template <class T>
uint64_t bits_of(T x) {
  uint64_t word = 0;
  std::memcpy(&word, &x, sizeof x);
  return word;
}

struct Call {
  std::string op;
  std::vector<Tensor*> inputs, outputs;  // NULL: absent, unwanted
  std::vector<Attr> plan_attrs, run_attrs;
};

struct Outcome {
  bool accepted = false;  // a plan was made
  int32_t status = TG_OK;
  std::string message;  // of the refusal or the failure
  std::string breach;   // of the contract, "" if none
};

// ---- the host's side ----

namespace host {
inline thread_local std::vector<std::unique_ptr<uint64_t[]>> scratch_blocks;
inline thread_local bool inside_parallel = false;

inline void log(int32_t level, const char* message) { std::fprintf(stderr, "plugin log %d: %s\n", level, message); }

// Two threads whatever the machine has, so that races have a chance.
inline void parallel_for(int64_t n, int64_t grain, int32_t threads, void (*body)(void*, int64_t, int64_t),
                         void* context) {
  if (inside_parallel || threads <= 1 || n <= std::max<int64_t>(grain, 1)) return body(context, 0, n);
  const int64_t half = std::max((n + 1) / 2, std::max<int64_t>(grain, 1));
  std::thread other([&] {
    inside_parallel = true;
    body(context, half, n);
  });
  inside_parallel = true;
  body(context, 0, half);
  inside_parallel = false;
  other.join();
}

inline void* scratch(uint64_t bytes) {
  scratch_blocks.push_back(std::make_unique<uint64_t[]>(bytes / 8 + 9));
  const auto at = reinterpret_cast<uintptr_t>(scratch_blocks.back().get());
  return reinterpret_cast<void*>((at + 63) / 64 * 64);
}
inline const char* cache_directory() { return ""; }

inline const tg_host* table() {
  static const tg_host host = {sizeof(tg_host), TG_ABI_VERSION, log, parallel_for, scratch, cache_directory};
  return &host;
}
}  // namespace host

// ---- dtype patterns ----

inline std::vector<std::string> words(const std::string& text) {
  std::vector<std::string> out;
  std::string word;
  for (char c : text + " ") {
    if (c != ' ') {
      word += c;
    } else if (!word.empty()) {
      out.push_back(std::exchange(word, ""));
    }
  }
  return out;
}

class DtypePattern {
 public:
  explicit DtypePattern(const std::string& text) {
    const size_t colon = text.find(';');
    std::vector<Token>* side = &inputs_;
    for (const std::string& word : words(text.substr(0, colon))) {
      if (word == "->") {
        side = &outputs_;
      } else if (word == "...") {
        side->back().repeats = true;
      } else if (word.size() > 3 && word.ends_with("...")) {
        side->push_back({word.substr(0, word.size() - 3), true});
      } else {
        side->push_back({word, false});
      }
    }
    if (colon == std::string::npos) return;
    char letter = 0;
    for (const std::string& word : words(text.substr(colon + 1))) {
      if (word == ";") continue;
      if (word.size() == 2 && word[1] == ':') {
        letter = word[0];
      } else {
        letters_[letter].push_back(word.back() == ';' ? word.substr(0, word.size() - 1) : word);
      }
    }
  }

  // One dtype name per argument, "" where absent.
  bool matches(const std::vector<std::string>& inputs, const std::vector<std::string>& outputs) const {
    std::map<char, std::string> bound;
    return side(inputs_, inputs, bound) && side(outputs_, outputs, bound);
  }
  // The instruction dtype of a map row.
  bool matches_instruction(const std::string& dtype) const {
    std::map<char, std::string> bound;
    return inputs_.size() == 1 && one(inputs_[0].text, dtype, bound);
  }

 private:
  struct Token {
    std::string text;
    bool repeats;
  };

  bool side(const std::vector<Token>& tokens, const std::vector<std::string>& args,
            std::map<char, std::string>& bound) const {
    const auto repeated = std::count_if(tokens.begin(), tokens.end(), [](const Token& t) { return t.repeats; });
    const int64_t extra = int64_t(args.size()) - int64_t(tokens.size());
    if (extra < (repeated ? -1 : 0) || (extra > 0 && !repeated)) return false;
    size_t at = 0;
    for (const Token& token : tokens) {
      const int64_t count = token.repeats ? extra + 1 : 1;
      for (int64_t i = 0; i < count; ++i)
        if (!one(token.text, args[at++], bound)) return false;
    }
    return true;
  }

  bool one(const std::string& token, const std::string& dtype, std::map<char, std::string>& bound) const {
    if (dtype.empty() || token == "*") return true;
    if (token.size() == 1 && token[0] >= 'A' && token[0] <= 'Z') {
      const auto names = letters_.find(token[0]);
      if (names != letters_.end() &&
          std::find(names->second.begin(), names->second.end(), dtype) == names->second.end())
        return false;
      const auto [at, fresh] = bound.emplace(token[0], dtype);
      return fresh || at->second == dtype;
    }
    return ("|" + token + "|").find("|" + dtype + "|") != std::string::npos;
  }

  std::vector<Token> inputs_, outputs_;
  std::map<char, std::vector<std::string>> letters_;
};

// Position in the bit masks of kernel rows.
inline int dtype_bit(tg_dtype t) {
  static const std::map<std::string, int> kBits = {
      {"f32", TG_DT_F32}, {"f64", TG_DT_F64}, {"f16", TG_DT_F16},  {"bf16", TG_DT_BF16}, {"i64", TG_DT_I64},
      {"i32", TG_DT_I32}, {"i16", TG_DT_I16}, {"i8", TG_DT_I8},    {"u64", TG_DT_U64},   {"u32", TG_DT_U32},
      {"u16", TG_DT_U16}, {"u8", TG_DT_U8},   {"bool", TG_DT_BOOL}};
  return kBits.at(plugin::dtype_name(t));
}

// ---- the plugin ----

class Plugin {
 public:
  explicit Plugin(const std::string& path) {
    handle_ = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);  // kept for ever: plugins are never unloaded
    if (!handle_) throw std::runtime_error(std::string("dlopen: ") + dlerror());
    query_ = reinterpret_cast<tg_plugin_query_fn>(dlsym(handle_, "tg_plugin_query"));
    if (!query_) throw std::runtime_error(path + ": expected the symbol tg_plugin_query, found none");
    table_ = query_(TG_ABI_VERSION, host::table());
    if (!table_) throw std::runtime_error(path + ": does not serve this ABI version");
    tg_error error{};
    if (table_->open && table_->open(TG_ABI_VERSION, host::table(), &instance_, &error) != TG_OK)
      throw std::runtime_error(path + ": open: " + error.message);
    for (uint32_t i = 0; i < table_->n_rows; ++i) {
      const auto* at = reinterpret_cast<const char*>(table_->rows) + size_t(i) * table_->row_stride;
      tg_kernel_row row{};
      std::memcpy(&row, at, std::min<size_t>(sizeof row, table_->row_stride));
      rows_.push_back(row);
      patterns_.emplace_back(row.dtypes);
    }
  }
  ~Plugin() {
    if (table_->shutdown) table_->shutdown(instance_);
  }
  Plugin(const Plugin&) = delete;
  Plugin& operator=(const Plugin&) = delete;

  const tg_plugin& table() const { return *table_; }
  tg_plugin_query_fn query() const { return query_; }
  const std::vector<tg_kernel_row>& rows() const { return rows_; }

  // Rows that match op and dtypes, the plugin's best first.
  std::vector<uint32_t> candidates(const Call& call) const {
    std::vector<uint32_t> found;
    for (uint32_t i = 0; i < rows_.size(); ++i) {
      const tg_kernel_row& row = rows_[i];
      if (call.op != row.op || (row.domain && std::string(row.domain) != "host")) continue;
      if (row.max_rank && rank(call) > row.max_rank) continue;
      if (call.op == "map" ? map_matches(call, i) : patterns_[i].matches(names(call.inputs), names(call.outputs)))
        found.push_back(i);
    }
    std::stable_sort(found.begin(), found.end(),
                     [&](uint32_t a, uint32_t b) { return rows_[a].score > rows_[b].score; });
    return found;
  }

  Outcome run(const Call& call, uint32_t row) const {
    // Where the row wants packed arguments, the host copies, and copies back.
    Call packed = call;
    std::vector<std::unique_ptr<Tensor>> copies;
    const auto pack = [&](std::vector<Tensor*>& list, int shift) {
      for (size_t i = 0; i < list.size() && i < 32; ++i) {
        if (!list[i] || !(rows_[row].packed >> (shift + int(i)) & 1)) continue;
        if (is_packed(*list[i])) continue;
        copies.push_back(std::make_unique<Tensor>(list[i]->dtype(), list[i]->shape()));
        for (int64_t e = 0; e < list[i]->size(); ++e) copies.back()->put_bits(e, list[i]->bits(e));
        list[i] = copies.back().get();
      }
    };
    pack(packed.inputs, 0);
    pack(packed.outputs, 32);
    const Outcome outcome = run_as_given(packed, row);
    for (size_t i = 0; i < call.outputs.size(); ++i)
      if (call.outputs[i] != packed.outputs[i])
        for (int64_t e = 0; e < call.outputs[i]->size(); ++e) call.outputs[i]->put_bits(e, packed.outputs[i]->bits(e));
    return outcome;
  }

  // One plan over several calls of equal rank and attributes; shapes and strides may differ where the row allows it.
  std::vector<Outcome> run_all(const std::vector<Call>& calls, uint32_t row) const {
    std::vector<Outcome> outcomes(calls.size());
    void* plan = make_plan(calls[0], row, outcomes[0]);
    if (!plan) return outcomes;
    for (size_t i = 0; i < calls.size(); ++i) {
      outcomes[i].accepted = true;
      run_plan(plan, calls[i], outcomes[i]);
    }
    table_->kernels->plan_destroy(plan);
    return outcomes;
  }

 private:
  // Arrays of tensors and attributes in the form of the ABI.
  struct Views {
    std::vector<tg_tensor> tensors[2];
    std::vector<const tg_tensor*> pointers[2];
    std::vector<tg_attr> attrs;
    uint64_t present[2] = {0, 0};
    Views(const Call& call, const std::vector<Attr>& attributes, bool planning) {
      for (int side = 0; side < 2; ++side) {
        const auto& list = side ? call.outputs : call.inputs;
        for (Tensor* t : list) tensors[side].push_back(t ? t->view(planning) : tg_tensor{});
        for (size_t i = 0; i < list.size(); ++i) {
          pointers[side].push_back(list[i] ? &tensors[side][i] : nullptr);
          if (list[i] && i < 64) present[side] |= uint64_t(1) << i;
        }
      }
      for (const Attr& a : attributes) attrs.push_back(a.view());
    }
  };

  static bool is_packed(Tensor& t) {
    const tg_tensor view = t.view();
    return plugin::is_contiguous(view);
  }
  static uint32_t rank(const Call& call) {
    size_t rank = 0;
    for (const Tensor* t : call.inputs) rank = std::max(rank, t ? t->shape().size() : 0);
    for (const Tensor* t : call.outputs) rank = std::max(rank, t ? t->shape().size() : 0);
    return uint32_t(rank);
  }
  static std::vector<std::string> names(const std::vector<Tensor*>& list) {
    std::vector<std::string> out;
    for (const Tensor* t : list) out.push_back(t ? plugin::dtype_name(t->dtype()) : "");
    return out;
  }

  bool row_takes(uint32_t i, const tg_map_inst& inst, size_t length) const {
    const bool cast = inst.opcode == TG_MAP_CAST;
    return std::string(rows_[i].op) == "map" && (rows_[i].map_opcodes >> inst.opcode & 1) &&
           (!cast || (rows_[i].map_casts >> dtype_bit(inst.dtype) & 1)) &&
           (rows_[i].map_max_insts == 0 || length <= rows_[i].map_max_insts) &&
           patterns_[i].matches_instruction(plugin::dtype_name(cast ? inst.from : inst.dtype));
  }
  bool map_matches(const Call& call, uint32_t row) const {
    const auto& program = call.plan_attrs.at(0).program;
    if (!row_takes(row, program.at(0), program.size())) return false;
    return std::all_of(program.begin(), program.end(), [&](const tg_map_inst& inst) {
      for (uint32_t i = 0; i < rows_.size(); ++i)
        if (row_takes(i, inst, program.size())) return true;
      return false;
    });
  }

  static void add_breach(Outcome& outcome, const std::string& what) {
    outcome.breach += (outcome.breach.empty() ? "" : "; ") + what;
  }

  // The error block before a call: a pattern that a success must leave alone.
  static tg_error fresh_error() {
    tg_error error;
    std::memset(&error, 0x5A, sizeof error);
    return error;
  }
  static void check_error(const tg_error& error, int32_t status, Outcome& outcome) {
    if (status == TG_OK) {
      const tg_error fresh = fresh_error();
      if (std::memcmp(&error, &fresh, sizeof error) != 0) add_breach(outcome, "the error block was written on success");
    } else {
      outcome.message.assign(error.message, strnlen(error.message, sizeof error.message));
      if (error.code != status) add_breach(outcome, "error.code differs from the status");
      if (outcome.message.empty() || outcome.message.size() == sizeof error.message)
        add_breach(outcome, "expected an error message ending in NUL");
    }
  }

  void* make_plan(const Call& call, uint32_t row, Outcome& outcome) const {
    const Views views(call, call.plan_attrs, true);
    tg_call c{};
    c.struct_size = sizeof c;
    c.row = row;
    c.op = call.op.c_str();
    c.op_revision = 1;
    c.n_inputs = uint32_t(call.inputs.size());
    c.n_outputs = uint32_t(call.outputs.size());
    c.n_attrs = uint32_t(views.attrs.size());
    c.inputs = views.pointers[0].data();
    c.outputs = views.pointers[1].data();
    c.attrs = views.attrs.data();
    c.inputs_present = views.present[0];
    c.outputs_wanted = views.present[1];
    c.threads = 2;
    const tg_kernel_api& api = *table_->kernels;
    if (api.supports) {
      tg_support support{};
      api.supports(instance_, &c, &support);
      if (support.ok != 1) {
        outcome.message = support.reason;
        if (!support.reason[0]) add_breach(outcome, "supports refused without a reason");
        return nullptr;
      }
    }
    tg_error error = fresh_error();
    void* plan = nullptr;
    const int32_t status = api.plan_create(instance_, &c, &plan, &error);
    check_error(error, status, outcome);
    if (status != TG_OK) {
      // A block may be NULL; the answer must be the same.
      void* again = nullptr;
      if (api.plan_create(instance_, &c, &again, nullptr) != status)
        add_breach(outcome, "plan_create answers otherwise without an error block");
      return nullptr;
    }
    outcome.accepted = true;
    if (api.plan_info) {
      tg_plan_info info{};
      info.struct_size = sizeof info;
      if (api.plan_info(plan, &info) != TG_OK) add_breach(outcome, "plan_info failed");
    }
    return plan;
  }

  void run_plan(void* plan, const Call& call, Outcome& outcome) const {
    const Views views(call, call.run_attrs, false);
    tg_run r{};
    r.launch_id = 77;
    r.n_inputs = uint32_t(call.inputs.size());
    r.n_outputs = uint32_t(call.outputs.size());
    r.n_attrs = uint32_t(views.attrs.size());
    r.inputs = views.pointers[0].data();
    r.outputs = views.pointers[1].data();
    r.attrs = views.attrs.data();
    r.inputs_present = views.present[0];
    r.outputs_wanted = views.present[1];
    r.threads = 2;
    const tg_kernel_api& api = *table_->kernels;
    tg_error error = fresh_error();
    uint64_t bytes = 0;
    if (api.plan_workspace) {
      outcome.status = api.plan_workspace(plan, &r, &bytes, &error);
      check_error(error, outcome.status, outcome);
      if (outcome.status != TG_OK) return;
    }
    constexpr size_t kGuard = 64;
    std::vector<uint8_t> workspace;
    if (bytes) {
      workspace.assign(bytes + 2 * kGuard + 64, 0xCD);
      const auto at = reinterpret_cast<uintptr_t>(workspace.data()) + kGuard;
      r.workspace = reinterpret_cast<void*>((at + 63) / 64 * 64);
      r.workspace_bytes = bytes;
    }
    std::vector<std::vector<uint8_t>> inputs_before;
    for (const Tensor* t : call.inputs) inputs_before.push_back(t ? t->bytes() : std::vector<uint8_t>());
    error = fresh_error();
    outcome.status = api.plan_run(plan, &r, &error);
    host::scratch_blocks.clear();
    check_error(error, outcome.status, outcome);
    if (outcome.status != TG_OK && error.launch_id != 77) add_breach(outcome, "the error lacks the run's launch_id");
    for (size_t i = 0; i < call.inputs.size(); ++i) {
      Tensor* t = call.inputs[i];
      const bool also_output = std::find(call.outputs.begin(), call.outputs.end(), t) != call.outputs.end();
      if (t && !also_output && t->bytes() != inputs_before[i])
        add_breach(outcome, "input " + std::to_string(i) + " was written");
    }
    for (size_t i = 0; i < call.outputs.size(); ++i)
      if (call.outputs[i] && !call.outputs[i]->gaps_untouched())
        add_breach(outcome, "memory outside output " + std::to_string(i) + " was written");
    if (bytes) {
      const auto* begin = static_cast<uint8_t*>(r.workspace);
      for (const uint8_t* b = workspace.data(); b < workspace.data() + workspace.size(); ++b)
        if ((b < begin || b >= begin + bytes) && *b != 0xCD) {
          add_breach(outcome, "memory outside the workspace was written");
          break;
        }
    }
  }

  Outcome run_as_given(const Call& call, uint32_t row) const {
    Outcome outcome;
    void* plan = make_plan(call, row, outcome);
    if (!plan) return outcome;
    run_plan(plan, call, outcome);
    table_->kernels->plan_destroy(plan);
    return outcome;
  }

  void* handle_ = nullptr;
  tg_plugin_query_fn query_ = nullptr;
  const tg_plugin* table_ = nullptr;
  void* instance_ = nullptr;
  std::vector<tg_kernel_row> rows_;
  std::vector<DtypePattern> patterns_;
};

}  // namespace tg::test
