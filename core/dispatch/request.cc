// SPDX-License-Identifier: Apache-2.0
// A call as plugins and the plan cache see it: attributes in the ABI's form, what its rows must know, its key.
#include "dispatch/call.h"

namespace tg {

void marshal(const Op& op, std::span<const Attr> attrs, AbiAttrs* out) {
  // Primitives that make values: their attributes are the shape of the output and scalars in its dtype.
  if (op.is_floor && (op.kernel == "fill" || op.kernel == "iota")) {
    const DType t = attrs[1].dtype();
    size_t n = 0;
    for (size_t i = 2; i < attrs.size(); ++i)
      out->bits[n++] = (std::holds_alternative<double>(attrs[i].value()) ? Scalar(attrs[i].floating()) : Scalar(attrs[i].integer())).bits(real_dtype(t));
    tg_attr a{};
    a.kind = TG_ATTR_BITS;
    a.n = uint32_t(n);
    a.v.bits = out->bits;
    out->run.push_back(a);
    return;
  }
  for (size_t i = 0; i < attrs.size(); ++i) {
    if (op.is_floor && op.kernel == "random" && i == 0) continue;  // the shape
    tg_attr a{};
    a.n = 1;
    std::visit(
        [&](const auto& v) {
          using T = std::decay_t<decltype(v)>;
          if constexpr (std::is_same_v<T, bool> || std::is_same_v<T, int64_t>) a.kind = TG_ATTR_INT, a.v.i = v;
          else if constexpr (std::is_same_v<T, double>) a.kind = TG_ATTR_FLOAT, a.v.f = v;
          else if constexpr (std::is_same_v<T, std::string>) a.kind = TG_ATTR_STRING, a.n = uint32_t(v.size()), a.v.str = v.c_str();
          else if constexpr (std::is_same_v<T, Ints>) a.kind = TG_ATTR_INTS, a.n = uint32_t(v.size()), a.v.ints = v.data();
          else if constexpr (std::is_same_v<T, std::vector<double>>) a.kind = TG_ATTR_FLOATS, a.n = uint32_t(v.size()), a.v.floats = v.data();
          else if constexpr (std::is_same_v<T, DType>) a.kind = TG_ATTR_DTYPE, a.v.dtype = abi_dtype(v);
        },
        attrs[i].value());
    if (op.attrs[i].kind == AttrKind::floating && a.kind == TG_ATTR_INT) a.kind = TG_ATTR_FLOAT, a.v.f = double(a.v.i);
    (op.attrs[i].run ? out->run : out->plan).push_back(a);
  }
}

namespace {

bool same_value(AttrKind kind, const Attr& a, const Attr& b) {
  if (!a.given() || !b.given()) return a.given() == b.given();
  switch (kind) {
    case AttrKind::boolean:
    case AttrKind::integer: return a.integer() == b.integer();
    case AttrKind::floating: return a.floating() == b.floating() || (a.floating() != a.floating() && b.floating() != b.floating());
    default: return a.value() == b.value();
  }
}

}  // namespace

KernelRequest kernel_request(const Op& op, Device* device, std::span<const Tensor> in, std::span<const Attr> attrs,
                             std::span<const tg_tensor* const> in_desc, std::span<const tg_tensor* const> out_desc,
                             std::span<const tg_attr> plan_attrs) {
  KernelRequest q{device, op.name.c_str(), op.kernel.c_str(), &op, 1, "", in_desc, out_desc, plan_attrs};
  if (op.revision == 1) [[likely]] return q;
  const auto needs = [&](int since, const std::string& name) {
    if (since > q.needs) q.needs = since, q.needed_for = name.c_str();
  };
  for (size_t i = 0; i < in.size() && i < op.inputs.size(); ++i)
    if (in[i].defined()) needs(op.inputs[i].since, op.inputs[i].name);
  Attrs before(attrs.begin(), attrs.end());  // as an older version would have asked, in the one form that plans see
  for (size_t i = 0; i < op.attrs.size(); ++i)
    if (op.attrs[i].since > 1) before[i] = op.attrs[i].default_value;
  if (op.canonical) op.canonical(std::vector<Arg>(in.begin(), in.end()), before);
  for (size_t i = 0; i < op.attrs.size(); ++i)  // a run attribute means nothing without the plan attribute that enables it
    if (!op.attrs[i].run && !same_value(op.attrs[i].kind, attrs[i], before[i])) needs(op.attrs[i].since, op.attrs[i].name);
  return q;
}

namespace {

void append(std::string* key, const void* p, size_t n) { key->append(static_cast<const char*>(p), n); }
template <class T>
void append(std::string* key, const T& v) { append(key, &v, sizeof v); }

}  // namespace

std::string plan_key(const Op& op, Device* device, const KernelSet& set, const AbiAttrs& attrs,
                     std::span<const tg_tensor* const> in, std::span<const tg_tensor* const> out,
                     std::span<const uint16_t> layouts, bool free_results) {
  std::string key;
  key.reserve(128);
  append(&key, int16_t(op.id));
  append(&key, int16_t(device->index));
  append(&key, int32_t(num_threads()));
  auto add = [&](const tg_tensor* t) {
    if (!t) {
      key.push_back(char(0xff));
      return;
    }
    key.push_back(char(t->ndim));
    append(&key, t->dtype);
    if (set.bakes_dims) append(&key, t->shape, size_t(t->ndim) * 8);
    if (set.bakes_strides) append(&key, t->strides, size_t(t->ndim) * 8);
  };
  key.push_back(char(in.size()));
  for (auto* t : in) add(t);
  key.push_back(char(out.size()));
  for (auto* t : out) add(t);
  if (set.layouts) {
    key.push_back(char(free_results));
    for (uint16_t layout : layouts) append(&key, layout);
  }
  for (const tg_attr& a : attrs.plan) {
    append(&key, a.kind);
    append(&key, a.n);
    switch (a.kind) {
      case TG_ATTR_INTS: append(&key, a.v.ints, a.n * 8); break;
      case TG_ATTR_FLOATS: append(&key, a.v.floats, a.n * 8); break;
      case TG_ATTR_STRING: append(&key, a.v.str, a.n); break;
      default: append(&key, a.v.word);
    }
  }
  return key;
}

}  // namespace tg
