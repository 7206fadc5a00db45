// SPDX-License-Identifier: Apache-2.0
// The op table. An op is one place: core/ops/<op>.cc holds one builder expression with its documentation, arguments,
// inference, gradient, decomposition and bounds; everything else (Python functions, stubs, docs, tests, the command) reads
// the table.
//
//   TG_OP(softmax)
//       .doc("exp(x) / sum(exp(x)) along an axis.")
//       .input("x", "any floating tensor").attr("axis", -1, "the axis")
//       .output("y", "x's shape and dtype")
//       .infer([](const Inference& c) { return one(c.input(0)); })
//       .decompose([](const Call& c) { ... return Tensors{y}; })
//       .grad([](const Backward& b) { return Tensors{op<"softmax_backward">({b.grad(0), b.output(0)}, {b.attr(0)})}; });
//
// Three sorts of op: a *map* op is an elementwise program (.map); a *view* op only makes another view of its input
// (.view); the others have kernels in plugins (.kernel: rows are looked up by that name), or decompose, or both.
#pragma once
#include <tengen/tensor.h>

#include <array>
#include <functional>
#include <string>
#include <variant>
#include <vector>

namespace tg {

// ---- attribute values ---------------------------------------------------------------------------------------------

class Attr {
 public:
  using Value = std::variant<std::monostate, bool, int64_t, double, std::string, Ints, std::vector<double>, DType>;
  Attr() = default;
  Attr(bool v) : value_(v) {}
  Attr(int v) : value_(int64_t(v)) {}
  Attr(int64_t v) : value_(v) {}
  Attr(double v) : value_(v) {}
  Attr(const char* v) : value_(std::string(v)) {}
  Attr(std::string v) : value_(std::move(v)) {}
  Attr(Ints v) : value_(std::move(v)) {}
  Attr(std::initializer_list<int64_t> v) : value_(Ints(v)) {}
  Attr(std::vector<double> v) : value_(std::move(v)) {}
  Attr(DType v) : value_(v) {}

  bool given() const { return value_.index() != 0; }
  int64_t integer() const;  // also of bool
  double floating() const;  // also of int
  bool boolean() const;     // also of int
  const std::string& string() const;
  const Ints& ints() const;
  DType dtype() const;
  const Value& value() const { return value_; }

 private:
  Value value_;
};
using Attrs = std::vector<Attr>;

enum class AttrKind : uint8_t { boolean, integer, floating, string, ints, floats, dtype };

// ---- arguments ----------------------------------------------------------------------------------------------------

// A tensor, a weak scalar (map ops; elsewhere it becomes a 0-d tensor), or absent.
struct Arg {
  enum Kind : uint8_t { absent, tensor, scalar };
  Arg() : kind(absent) {}
  Arg(const Tensor& t) : kind(t.defined() ? tensor : absent), t(t) {}
  Arg(Tensor&& v) : kind(v.defined() ? tensor : absent), t(std::move(v)) {}
  Arg(Scalar s) : kind(scalar), s(s) {}
  Arg(double v) : kind(scalar), s(v) {}
  Arg(int v) : kind(scalar), s(v) {}
  Arg(int64_t v) : kind(scalar), s(v) {}
  Arg(bool v) : kind(scalar), s(v) {}
  Kind kind;
  Tensor t;
  Scalar s;
};
using Tensors = std::vector<Tensor>;

// ---- what an op's functions see ------------------------------------------------------------------------------------

struct TensorSpec {
  DType dtype;
  Shape shape;
};
using Specs = std::vector<TensorSpec>;
inline Specs one(TensorSpec s) { return Specs{std::move(s)}; }

class Op;

// For infer: shapes may be symbolic.
class Inference {
 public:
  const Op& op;
  std::span<const TensorSpec* const> inputs;  // NULL: absent
  std::span<const Attr> attrs;                // all of the schema's, defaults filled in
  const TensorSpec& input(size_t i) const { return *inputs[i]; }
  bool has(size_t i) const { return i < inputs.size() && inputs[i]; }
  const Attr& attr(size_t i) const { return attrs[i]; }
  const char* name() const;
  // ValueError "[op] expected ..., got ..."
  template <class... Parts>
  void check(bool ok, const Parts&... parts) const {
    if (!ok) [[unlikely]] throw Error(ErrorKind::value, detail::concat("[", name(), "] ", parts...));
  }
};

// For decompose and view: concrete tensors. Ops that it calls are not recorded when the op has a gradient of its own.
class Call {
 public:
  const Op& op;
  std::span<const Tensor> inputs;  // undefined: absent
  std::span<const Attr> attrs;
  uint64_t wanted;  // bit i: output i is wanted; the others may be returned undefined
  Device* device;   // where the call runs: for ops without tensor inputs
  std::span<const Tensor> outs = {};  // where results are to end up, or empty: may be written and returned as they are
  const Tensor& input(size_t i) const { return inputs[i]; }
  bool has(size_t i) const { return i < inputs.size() && inputs[i].defined(); }
  const Attr& attr(size_t i) const { return attrs[i]; }
  bool wants(size_t output) const { return wanted >> output & 1; }
};

// For grad: returns one gradient per input, undefined where there is none. Gradients of broadcast map operands are
// summed to the operand's shape, and cast to its dtype, by the caller. arg(), input() and output() give what the op saves
// (OpBuilder::saves) and raise RuntimeError when that was changed in place since; shapes and dtypes are always there.
class Backward {
 public:
  const Op& op;
  std::span<const Tensor> grads;  // by output; undefined where nothing flows back
  std::span<const Attr> attrs;
  uint64_t needs;  // bit i: the gradient of input i is wanted
  class SavedValues {
   public:
    virtual ~SavedValues() = default;
    virtual const Arg& arg(size_t i) const = 0;
    virtual const Tensor& output(size_t i) const = 0;
    virtual Arg::Kind kind(size_t i) const = 0;  // absent beyond the arguments
    virtual const Ints& shape(size_t i) const = 0;
    virtual DType dtype(size_t i) const = 0;
  };
  const SavedValues& saved;

  const Tensor& grad(size_t i = 0) const { return grads[i]; }
  const Arg& arg(size_t i) const { return saved.arg(i); }  // tensor or scalar
  const Tensor& input(size_t i) const { return saved.arg(i).t; }
  const Tensor& output(size_t i = 0) const { return saved.output(i); }
  bool has(size_t i) const { return saved.kind(i) == Arg::tensor; }
  const Ints& input_shape(size_t i) const { return saved.shape(i); }
  DType input_dtype(size_t i) const { return saved.dtype(i); }
  const Attr& attr(size_t i) const { return attrs[i]; }
  bool need(size_t i) const { return needs >> i & 1; }
};

// For jvp: returns one tangent per output, undefined where none flows. Written in ops, as grad is.
class Forward {
 public:
  const Op& op;
  std::span<const Arg> inputs;
  std::span<const Tensor> tangents;  // by input, of its shape and dtype; undefined: zero
  std::span<const Tensor> outputs;   // what the op gave, hidden ones too
  std::span<const Attr> attrs;
  const Tensor& input(size_t i) const { return inputs[i].t; }
  const Tensor& tangent(size_t i) const { return tangents[i]; }
  const Tensor& output(size_t i = 0) const { return outputs[i]; }
  bool has(size_t i) const { return i < inputs.size() && inputs[i].kind == Arg::tensor; }
  const Attr& attr(size_t i) const { return attrs[i]; }
};

// For batch: an axis of `size` is hidden from the op's user. It stands in front of the inputs that have it, and in front of
// every output that the rule returns.
class Batch {
 public:
  const Op& op;
  std::span<const Arg> inputs;
  const std::vector<bool>& batched;  // by input
  std::span<const Attr> attrs;       // in terms of the visible axes
  int64_t size;
  uint64_t wanted;
  Device* device;
  const Tensor& input(size_t i) const { return inputs[i].t; }
  bool has(size_t i) const { return i < inputs.size() && inputs[i].kind == Arg::tensor; }
  const Attr& attr(size_t i) const { return attrs[i]; }
  int64_t rank(size_t i) const { return input(i).rank() - batched[i]; }  // visible
  Ints shape(size_t i) const;                                            // visible
  Tensor whole(size_t i) const;  // input i with the axis, spread over it where it has none
  Tensors call(const Op& op, std::span<const Arg> inputs, std::span<const Attr> attrs) const;
};

// ---- map programs ----------------------------------------------------------------------------------------------------

// Writes the instructions of an elementwise op. A Value is an input, a result or an immediate; `cast` is free when the
// dtype is already right. A value of complex dtype is a pair of real ones: emit writes its instructions in reals, and so no
// plugin needs complex numbers; an 8-bit float is a byte that only cast looks into (docs/design/008-complex.md).
class MapBuilder {
 public:
  struct Value {
    int32_t id;  // >= 0: inputs, then results; < 0: immediate ~id; of complex dtype: a pair
    DType dtype;
  };
  explicit MapBuilder(std::span<const DType> inputs, const char* op = "map");
  Value input(size_t i) const { return operands_in_[i]; }
  Value immediate(Scalar s, DType dtype);         // its bits are fixed here
  Value immediate_bits(uint64_t bits, DType dtype);
  Value run_immediate(DType dtype, int32_t slot);  // its bits come with every run: scalar operand `slot`
  Value run_immediate_part(DType dtype, int32_t slot, bool imag);  // its real or imaginary part
  Value emit(int opcode, Value a);
  Value emit(int opcode, Value a, Value b);
  Value emit(int opcode, Value a, Value b, Value c);
  Value cast(Value a, DType to);
  Value pair(Value re, Value im);
  Value real(Value a) const { return is_complex(a.dtype) ? pairs_[size_t(a.id)].first : a; }
  Value imag(Value a);  // 0 of a real value
  const char* op() const { return op_; }
  int32_t n_inputs() const { return int32_t(inputs_.size()); }  // as the program counts them

  struct Immediate {
    DType dtype;
    int32_t slot;   // -1: constant
    bool imag;      // the operand's imaginary part
    uint64_t bits;  // constant's
  };
  struct Program {
    std::vector<tg_map_inst> insts;
    std::vector<Immediate> immediates;
    std::vector<DType> inputs;
    std::vector<int64_t> outputs;      // by output: the instruction that computes it
    std::vector<DType> output_dtypes;
    std::vector<DType> results = {};   // as the op's callers see them: complex where two outputs are one
    bool composed = false;             // some operand or result is not what the program sees
  };
  Program finish(std::span<const Value> outputs) const;

 private:
  Value push(int opcode, DType dtype, DType from, DType result, std::initializer_list<Value> operands);
  const char* op_;
  std::vector<Value> operands_in_;
  std::vector<std::pair<Value, Value>> pairs_;
  std::vector<DType> inputs_;
  std::vector<tg_map_inst> insts_;
  std::vector<std::array<int32_t, 3>> operands_;
  std::vector<Immediate> immediates_;
  std::vector<DType> results_;
};

// How the operands of a map op meet before its program runs.
enum class Promotion : uint8_t {
  common,       // all to the promoted dtype, which is the result's
  common_float, // the same, integers and bool to f32
  common_wide,  // to the promoted dtype, 16-bit floats to f32: the program rounds its results to the operands' dtypes
  compare,      // all to the promoted dtype; the result is bool
  where,        // operand 0 to bool, the others to their promoted dtype
  none,         // the program sees the operands as they are
};

// What autocast (autocast.h) does with an op's floating operands.
enum class Amp : uint8_t {
  none,     // takes them as they are; the parts of a mere decomposition follow their own rules
  low,      // to the region's 16-bit dtype: products of matrices
  f32,      // to f32: sums, exponentials, norms, losses
  promote,  // to the widest among them: operands that must be of one dtype
};
const char* amp_name(Amp amp);

// ---- the table ---------------------------------------------------------------------------------------------------------

struct InputSpec {
  std::string name, doc;
  bool optional = false, variadic = false;
  int since = 1;  // the op's revision that brought it (OpBuilder::revision)
};
struct AttrSpec {
  std::string name, doc;
  AttrKind kind;
  Attr default_value;  // not given: required
  bool run = false;    // a run attribute: may differ in every run without a new plan
  bool optional = false;  // None allowed: stays not given
  int since = 1;
};
struct OutputSpec {
  std::string name, doc;
  bool hidden = false;  // saved statistics, indices: not returned to users
};

using InferFn = std::function<Specs(const Inference&)>;
// Brings attributes into the one form that kernels and plans see (negative axes made positive).
using CanonicalFn = std::function<void(std::span<const Arg> inputs, std::span<Attr> attrs)>;
using DecomposeFn = std::function<Tensors(const Call&)>;
using GradFn = std::function<Tensors(const Backward&)>;
using JvpFn = std::function<Tensors(const Forward&)>;
using BatchFn = std::function<Tensors(const Batch&)>;
// One value per output; a single Value converts.
struct MapResult {
  std::vector<MapBuilder::Value> values;
  MapResult(MapBuilder::Value v) : values{v} {}
  MapResult(std::initializer_list<MapBuilder::Value> v) : values(v) {}
};
using MapFn = std::function<MapResult(MapBuilder&, std::span<const MapBuilder::Value>, std::span<const Attr>)>;

class Op {
 public:
  std::string name;
  std::string summary;    // first argument of doc
  std::string kernel;     // rows are looked up by this name; empty: no kernel can take it
  std::string family;     // for listings: "elementwise", "reduction", "shape", "nn", "loss", "random", "floor", ...
  std::string file;       // core/ops/<file>.cc
  std::vector<InputSpec> inputs;
  std::vector<AttrSpec> attrs;
  std::vector<OutputSpec> outputs;
  std::vector<std::string> examples;  // Python, run as doctests
  InferFn infer;
  CanonicalFn canonical;
  DecomposeFn decompose;
  DecomposeFn view;
  GradFn grad;
  JvpFn jvp;
  BatchFn batch;
  MapFn map;
  std::vector<uint64_t> linear;  // groups of inputs: jointly linear within a group, the op a sum of terms of one group each
  int linear_unless = -1;        // not linear where this attribute is not 0
  bool transposed = false;       // forward mode is grad's transpose, not the decomposition
  bool draws = false;            // takes random numbers from the generator
  Promotion promotion = Promotion::common;
  uint64_t save_inputs = ~uint64_t(0);   // what grad looks at; the rest is not kept alive
  uint64_t save_outputs = ~uint64_t(0);
  int revision = 1;
  int id = -1;             // index in the table
  double bound = 8;        // error bound: multiples of eps * sqrt-free accumulation length, see bounds()
  std::string bound_doc;
  bool keeps_layout = false;  // outputs of input 0's rank take its (dense, permuted) layout, as channels-last
  Amp amp = Amp::none;
  bool differentiable = true;
  bool own_conj = false;   // the gradient rule is right for complex operands as it stands
  bool internal = false;   // no Python function
  bool is_floor = false;   // a primitive: cannot decompose
  bool method = true;      // also a method when the first argument is a tensor
  int required_inputs() const;
};

class OpBuilder {
 public:
  explicit OpBuilder(const char* name, const char* file);
  OpBuilder& doc(std::string text) { op_->summary = std::move(text); return *this; }
  OpBuilder& family(std::string f) { op_->family = std::move(f); return *this; }
  OpBuilder& input(std::string name, std::string doc) { return add(InputSpec{std::move(name), std::move(doc)}); }
  OpBuilder& optional_input(std::string name, std::string doc) { return add(InputSpec{std::move(name), std::move(doc), true}); }
  OpBuilder& variadic_input(std::string name, std::string doc) { return add(InputSpec{std::move(name), std::move(doc), false, true}); }
  // Required attribute, attribute with a default, attribute that may be None.
  OpBuilder& attr(std::string name, AttrKind kind, std::string doc) { return add(AttrSpec{std::move(name), std::move(doc), kind, {}}); }
  OpBuilder& attr(std::string name, AttrKind kind, Attr value, std::string doc) { return add(AttrSpec{std::move(name), std::move(doc), kind, std::move(value)}); }
  OpBuilder& optional_attr(std::string name, AttrKind kind, std::string doc) { return add(AttrSpec{std::move(name), std::move(doc), kind, {}, false, true}); }
  OpBuilder& run_attr(std::string name, AttrKind kind, Attr value, std::string doc) { return add(AttrSpec{std::move(name), std::move(doc), kind, std::move(value), true}); }
  // What follows came with this revision of the op: optional inputs, attributes whose defaults mean what was before, and run
  // attributes that such a plan attribute enables. Rows of older revisions still serve calls that use none of it.
  OpBuilder& revision(int n) { op_->revision = n; return *this; }
  OpBuilder& output(std::string name, std::string doc) { op_->outputs.push_back({std::move(name), std::move(doc)}); return *this; }
  OpBuilder& hidden_output(std::string name, std::string doc) { op_->outputs.push_back({std::move(name), std::move(doc), true}); return *this; }
  OpBuilder& infer(InferFn f);  // sizes that overflow raise ValueError with the op's name
  OpBuilder& canonical(CanonicalFn f) { op_->canonical = std::move(f); return *this; }
  OpBuilder& decompose(DecomposeFn f) { op_->decompose = std::move(f); return *this; }
  OpBuilder& view(DecomposeFn f) { op_->view = std::move(f); return *this; }
  OpBuilder& grad(GradFn f) { op_->grad = std::move(f); return *this; }
  // Forward mode. Map and view ops need nothing; the others say that they are linear, or bring a rule, or are differentiated
  // through their decomposition (else twice through grad). linear({{0}, {1}}) for a product; linear({{0, 2}, {1}}) for one
  // with a bias, which is linear in x and b together. `unless`: only where this attribute is 0.
  OpBuilder& jvp(JvpFn f) { op_->jvp = std::move(f); return *this; }
  OpBuilder& linear(std::initializer_list<std::initializer_list<int>> groups, std::string_view unless = {});
  OpBuilder& jvp_by_grad() { op_->transposed = true; return *this; }  // twice through grad: where the decomposition is unwieldy
  // vmap. Map ops need nothing, ops that decompose need nothing but may bring a rule that keeps their kernel.
  OpBuilder& batch(BatchFn f) { op_->batch = std::move(f); return *this; }
  OpBuilder& batch_axes(std::initializer_list<const char*> attrs);  // the op itself, with these axis attributes moved on by one
  OpBuilder& batch_fold();  // the op itself, with the hidden axis folded into axis 0 of every input (each has it in its outputs)
  OpBuilder& draws() { op_->draws = true; return *this; }
  OpBuilder& map(Promotion p, MapFn f) { op_->promotion = p; op_->map = std::move(f); return *this; }
  OpBuilder& kernel(std::string rows) { op_->kernel = std::move(rows); return *this; }
  OpBuilder& kernel() { op_->kernel = op_->name; return *this; }
  OpBuilder& example(std::string python) { op_->examples.push_back(std::move(python)); return *this; }
  // Error bound against exact arithmetic: `eps_multiple` * eps(dtype), times the accumulation length where one exists.
  OpBuilder& bounds(double eps_multiple, std::string why) { op_->bound = eps_multiple; op_->bound_doc = std::move(why); return *this; }
  // Bit masks of the inputs and outputs whose values grad looks at.
  OpBuilder& saves(uint64_t inputs, uint64_t outputs) { op_->save_inputs = inputs; op_->save_outputs = outputs; return *this; }
  OpBuilder& keeps_layout() { op_->keeps_layout = true; return *this; }
  OpBuilder& amp(Amp rule) { op_->amp = rule; return *this; }
  // For functions of complex numbers that are not holomorphic. The rules of the others are written as for reals (the sum of
  // gradients times derivatives): the engine conjugates what goes in and what comes out, PyTorch's convention.
  OpBuilder& own_conj() { op_->own_conj = true; return *this; }
  OpBuilder& no_grad() { op_->differentiable = false; return *this; }
  OpBuilder& internal() { op_->internal = true; return *this; }
  OpBuilder& floor() { op_->is_floor = true; op_->internal = true; return *this; }
  OpBuilder& function_only() { op_->method = false; return *this; }

 private:
  OpBuilder& add(InputSpec spec) { spec.since = op_->revision; op_->inputs.push_back(std::move(spec)); return *this; }
  OpBuilder& add(AttrSpec spec) { spec.since = op_->revision; op_->attrs.push_back(std::move(spec)); return *this; }
  Op* op_;
};

// All ops, ordered by name; made once.
const std::vector<const Op*>& op_table();
const Op* find_op(std::string_view name);   // NULL
const Op& require_op(std::string_view name);  // ValueError with the nearest name
std::string op_table_json();
// The one of `names` that `word` was probably meant to be, or "" when none is near.
std::string nearest_name(std::string_view word, std::span<const std::string> names);

// In core/ops/<file>.cc: one function of this name holds the file's builder expressions; the build writes the calls.
//   TG_OPS(softmax) { TG_OP(softmax).doc(...)...; TG_OP(softmax_backward)...; }
#define TG_OPS(file) void register_ops_##file()
#define TG_OP(name) ::tg::OpBuilder(#name, __FILE__)

// ---- calling -------------------------------------------------------------------------------------------------------------

// Runs an op on the device of its tensors: infers, finds or makes the plan, allocates, launches, records. `attrs` in the
// schema's order; missing ones take their defaults. `device` is for ops without tensor inputs. Returns all outputs, hidden
// ones undefined unless `wanted` has their bit (or autograd needs them).
Tensors call(const Op& op, std::span<const Arg> inputs, std::span<const Attr> attrs = {}, Device* device = nullptr,
             uint64_t wanted = 0);
// The first output alone; the shortest way for small elementwise calls.
Tensor call_one(const Op& op, std::span<const Arg> inputs, std::span<const Attr> attrs = {}, Device* device = nullptr);
// As call, writing output i into outs[i] (of the inferred shape and dtype; undefined: a new tensor): in-place ops and
// optimizer steps. Recorded as an in-place change of outs[0]; RuntimeError when that is a leaf that requires gradients.
Tensors call_into(const Op& op, std::span<const Arg> inputs, std::span<const Attr> attrs, std::span<const Tensor> outs);

namespace detail {
template <size_t N>
struct FixedString {
  char text[N];
  constexpr FixedString(const char (&s)[N]) { std::copy_n(s, N, text); }
};
}  // namespace detail

// op<"softmax">({x}, {-1}): the first output. The name is looked up once.
template <detail::FixedString name>
const Op& op_named() {
  static const Op& op = require_op(name.text);
  return op;
}
template <detail::FixedString name>
Tensor op(std::initializer_list<Arg> inputs, std::initializer_list<Attr> attrs = {}, Device* device = nullptr) {
  return call_one(op_named<name>(), {inputs.begin(), inputs.size()}, {attrs.begin(), attrs.size()}, device);
}
// f() where it is wanted, else an undefined tensor. In a list of gradients this stands where a conditional expression would:
// GCC 12 destroys the temporaries of a braced list in a conditional twice when something inside throws.
template <class F>
Tensor when(bool wanted, F&& f) {
  if (wanted) return f();
  return Tensor();
}
// All outputs, hidden ones too.
template <detail::FixedString name>
Tensors ops(std::initializer_list<Arg> inputs, std::initializer_list<Attr> attrs = {}, Device* device = nullptr) {
  return call(op_named<name>(), {inputs.begin(), inputs.size()}, {attrs.begin(), attrs.size()}, device, ~uint64_t(0));
}

}  // namespace tg
