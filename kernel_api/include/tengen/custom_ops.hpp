// SPDX-License-Identifier: Apache-2.0
//
// tengen/custom_ops.hpp - custom_ops.h as a builder, C++17. Throw tg::plugin::Failure (or call fail()) for bad input.
//
//   TG_CUSTOM_OPS(ops) {
//     ops.add("mine::cube", "(x: Tensor) -> Tensor").doc("x^3.").run([](const tg::custom::Call& c) {
//       tg::plugin::visit(c.input(0).dtype, [&](auto t) { ... c.data<T>(c.output(0)) ... });
//     });
//   }
//
//   c++ -std=c++17 -O2 -shared -fPIC -fvisibility=hidden $(python -m tengen.library) mine.cc -o mine.so
#ifndef TENGEN_CUSTOM_OPS_HPP_
#define TENGEN_CUSTOM_OPS_HPP_

#include <tengen/custom_ops.h>
#include <tengen/kernel_api.hpp>

#include <algorithm>
#include <deque>
#include <functional>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

namespace tg::custom {

class Call {
 public:
  explicit Call(const tg_custom_call& c) : c_(c) {}
  size_t inputs() const { return c_.n_inputs; }
  bool has(size_t i) const { return i < c_.n_inputs && c_.inputs[i]; }
  const tg_tensor& input(size_t i) const { return *c_.inputs[i]; }
  bool wants(size_t i) const { return i < c_.n_outputs && c_.outputs[i]; }
  const tg_tensor& output(size_t i = 0) const { return *c_.outputs[i]; }
  bool given(size_t i) const { return c_.attrs[i].kind != 0; }
  int64_t integer(size_t i) const { return c_.attrs[i].v.i; }  // also of bool
  double floating(size_t i) const { return c_.attrs[i].v.f; }
  std::string string(size_t i) const { return {c_.attrs[i].v.str, c_.attrs[i].n}; }
  std::vector<int64_t> ints(size_t i) const { return {c_.attrs[i].v.ints, c_.attrs[i].v.ints + c_.attrs[i].n}; }
  // The elements; an error where T is not what the tensor holds.
  template <class T>
  static T* data(const tg_tensor& t) {
    const bool size = t.dtype.bits == 8 * sizeof(T);
    const bool kind = std::is_floating_point_v<T> ? t.dtype.code == 2 : std::is_same_v<T, bool> ? t.dtype.code == 6 : t.dtype.code != 2 || !std::is_signed_v<T>;
    if (!size || !kind)
      throw std::invalid_argument("expected elements of the C++ type that data<T>() was asked for, got a tensor of " +
                                  std::to_string(int(t.dtype.bits)) + " bits (type code " + std::to_string(int(t.dtype.code)) + "); look at t.dtype first");
    return plugin::data<T>(t);
  }

 private:
  const tg_custom_call& c_;
};

inline tg_custom_spec spec(tg_dtype dtype, const std::vector<int64_t>& shape) {
  tg_custom_spec s{dtype, int32_t(shape.size()), {}};
  std::copy(shape.begin(), shape.end(), s.shape);
  return s;
}
inline tg_custom_spec like(const tg_tensor& t) { return spec(t.dtype, {t.shape, t.shape + t.ndim}); }

class Op {
 public:
  using Infer = std::function<std::vector<tg_custom_spec>(const Call&)>;
  using Run = std::function<void(const Call&)>;
  Op(std::string name, std::string signature) : name_(std::move(name)), signature_(std::move(signature)) {}
  Op& doc(std::string text) { return doc_ = std::move(text), *this; }
  Op& infer(Infer f) { return infer_ = std::move(f), *this; }  // default: every output is like the first input
  Op& run(Run f) { return run_ = std::move(f), *this; }
  Op& backward(Run f) { return backward_ = std::move(f), *this; }

  const tg_custom_op* table() {
    table_ = {sizeof table_, 0, name_.c_str(), signature_.c_str(), doc_.c_str(), this, &Op::call_infer, &Op::call_run,
              backward_ ? &Op::call_backward : nullptr};
    return &table_;
  }

 private:
  static int32_t call_infer(void* self, const tg_custom_call* call, tg_custom_spec* outputs, tg_error* error) {
    return plugin::guard(error, [&] {
      const Call c(*call);
      const Infer& f = static_cast<Op*>(self)->infer_;
      if (!f && !c.has(0)) plugin::fail(TG_INVALID_ARGUMENT, "expected an op without tensors to infer its outputs");
      const auto specs = f ? f(c) : std::vector<tg_custom_spec>(call->n_outputs, like(c.input(0)));
      if (specs.size() != call->n_outputs)
        plugin::fail(TG_INTERNAL, "expected infer to give %u outputs, got %zu", call->n_outputs, specs.size());
      std::copy(specs.begin(), specs.end(), outputs);
    });
  }
  static int32_t call_run(void* self, const tg_custom_call* call, tg_error* error) {
    return plugin::guard(error, [&] { static_cast<Op*>(self)->run_(Call(*call)); });
  }
  static int32_t call_backward(void* self, const tg_custom_call* call, tg_error* error) {
    return plugin::guard(error, [&] { static_cast<Op*>(self)->backward_(Call(*call)); });
  }

  std::string name_, signature_, doc_;
  Infer infer_;
  Run run_, backward_;
  tg_custom_op table_{};
};

class Library {
 public:
  Op& add(std::string name, std::string signature) { return ops_.emplace_back(std::move(name), std::move(signature)); }
  const tg_custom_library* table() {
    for (Op& op : ops_) tables_.push_back(op.table());
    table_ = {sizeof table_, uint32_t(tables_.size()), tables_.data()};
    return &table_;
  }

 private:
  std::deque<Op> ops_;
  std::vector<const tg_custom_op*> tables_;
  tg_custom_library table_{};
};

}  // namespace tg::custom

#define TG_CUSTOM_OPS(ops)                                                                                      \
  static void tg_register_custom_ops(tg::custom::Library& ops);                                                 \
  extern "C" __attribute__((visibility("default"))) const tg_custom_library* tg_custom_query(uint32_t host_abi) { \
    if (host_abi != TG_CUSTOM_ABI) return nullptr;                                                              \
    static const tg_custom_library* made = [] {                                                                 \
      static tg::custom::Library library;                                                                       \
      tg_register_custom_ops(library);                                                                          \
      return library.table();                                                                                   \
    }();                                                                                                        \
    return made;                                                                                                \
  }                                                                                                             \
  static void tg_register_custom_ops(tg::custom::Library& ops)

#endif  // TENGEN_CUSTOM_OPS_HPP_
