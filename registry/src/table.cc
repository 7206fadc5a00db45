// SPDX-License-Identifier: Apache-2.0
//
// Reads the table that a plugin's query returned. It was written by somebody else, so nothing in it is believed: sizes
// are bounded, addresses are tried through the kernel before they are followed, rows must be those of the manifest.
#include <sys/uio.h>
#include <unistd.h>

#include <cstddef>
#include <cstring>

#include "internal.h"

namespace tg::registry {
namespace {

constexpr uint32_t kMaxStruct = 1u << 16;
constexpr uint32_t kMaxRows = 1u << 14;
constexpr size_t kMaxString = 1u << 12;

// Whether [p, p+n) can be read. Where a sandbox forbids the question the answer is yes: the probe has tried it already.
bool readable(const void* p, size_t n) {
  if (!p) return false;
  char buffer[256];
  const char* at = static_cast<const char*>(p);
  while (n) {
    const size_t take = std::min(n, sizeof buffer);
    iovec local{buffer, take}, remote{const_cast<char*>(at), take};
    const ssize_t got = process_vm_readv(getpid(), &local, 1, &remote, 1, 0);
    if (got < 0 && errno != EFAULT) return true;
    if (got != ssize_t(take)) return false;
    at += take;
    n -= take;
  }
  return true;
}

// nullopt: not a readable, terminated string of moderate length.
std::optional<std::string> text_at(const char* p) {
  std::string out;
  while (out.size() < kMaxString) {
    const size_t to_page_end = 256 - reinterpret_cast<uintptr_t>(p) % 256;
    if (!readable(p, to_page_end)) return std::nullopt;
    const size_t n = strnlen(p, to_page_end);
    out.append(p, n);
    if (n < to_page_end) return out;
    p += n;
  }
  return std::nullopt;
}

template <class T>
std::string copy_struct(const char* what, const void* theirs, uint32_t least, T& out) {
  out = T{};
  uint32_t size;
  if (!readable(theirs, sizeof size) || reinterpret_cast<uintptr_t>(theirs) % alignof(T))
    return format("%s lies at an address that cannot be read", what);
  std::memcpy(&size, theirs, sizeof size);
  if (size < least || size > kMaxStruct)
    return format("%s: expected a struct_size from %u to %u, got %u", what, least, kMaxStruct, size);
  const size_t take = std::min<size_t>(size, sizeof(T));
  if (!readable(theirs, take)) return format("%s is shorter in memory than its struct_size %u", what, size);
  std::memcpy(static_cast<void*>(&out), theirs, take);
  return "";
}

std::string missing_functions(const LoadedPlugin& p) {
  std::vector<std::string> missing;
  const auto need = [&](bool there, const char* name) {
    if (!there) missing.emplace_back(name);
  };
  if (p.table.kernels) {
    const tg_kernel_api& k = p.kernels;
    need(k.plan_create, "kernels.plan_create");
    need(k.plan_run, "kernels.plan_run");
    need(k.plan_destroy, "kernels.plan_destroy");
  }
  if (p.table.devices) {
    const tg_device_api& d = p.devices;
    need(d.device_count, "devices.device_count");
    need(d.device_info, "devices.device_info");
    need(d.alloc, "devices.alloc");
    need(d.free, "devices.free");
    need(d.stream_create, "devices.stream_create");
    need(d.stream_destroy, "devices.stream_destroy");
    need(d.stream_sync, "devices.stream_sync");
    need(d.stream_query, "devices.stream_query");
    need(d.stream_wait, "devices.stream_wait");
    need(d.event_create, "devices.event_create");
    need(d.event_destroy, "devices.event_destroy");
    need(d.event_record, "devices.event_record");
    need(d.event_query, "devices.event_query");
    need(d.event_sync, "devices.event_sync");
    need(d.copy_to_device, "devices.copy_to_device");
    need(d.copy_to_host, "devices.copy_to_host");
    need(d.copy_on_device, "devices.copy_on_device");
  }
  return join(missing, ", ");
}

std::string copy_rows(LoadedPlugin& p) {
  const tg_plugin& t = p.table;
  if (t.n_rows > kMaxRows) return format("its table: expected at most %u rows, got %u", kMaxRows, t.n_rows);
  if (!t.n_rows) return "";
  if (!t.kernels) return format("its table has %u rows but no kernel functions", t.n_rows);
  if (t.row_stride < offsetof(tg_kernel_row, max_rank) || t.row_stride > kMaxStruct ||
      t.row_stride % alignof(tg_kernel_row))
    return format("its table: expected a row_stride of about %zu, got %u", sizeof(tg_kernel_row), t.row_stride);
  const char* first = reinterpret_cast<const char*>(t.rows);
  for (uint32_t i = 0; i < t.n_rows; ++i) {
    const std::string what = format("row %u", i);
    Row row;
    const char* theirs = first + uint64_t(i) * t.row_stride;
    std::string why = copy_struct(what.c_str(), theirs, offsetof(tg_kernel_row, bake_dims), row.row);
    if (!why.empty()) return why;
    if (row.row.struct_size > t.row_stride)
      return format("%s: its struct_size %u exceeds the row_stride %u", what.c_str(), row.row.struct_size,
                    t.row_stride);
    const auto name = text_at(row.row.name), op = text_at(row.row.op), dtypes = text_at(row.row.dtypes);
    if (!name || !op || !dtypes) return what + ": name, op or dtypes cannot be read";
    const auto layouts = row.row.layouts ? text_at(row.row.layouts) : std::string();
    if ((row.row.domain && !text_at(row.row.domain)) || (row.row.features && !text_at(row.row.features)) || !layouts)
      return what + ": domain, features or layouts cannot be read";
    if (row.row.max_rank > TG_MAX_RANK)
      return format("%s: expected a max_rank up to %d, got %u", what.c_str(), TG_MAX_RANK, row.row.max_rank);
    try {
      row.pattern = DtypePattern::parse(*dtypes, *op == "map");
      if (!layouts->empty() && *op == "map") return what + " (" + *name + "): rows of map take plain arguments alone";
      if (!layouts->empty()) row.layouts = LayoutPattern::parse(*layouts);
    } catch (const std::invalid_argument& e) {
      return what + " (" + *name + "): " + e.what();
    }
    if (row.row.domain && std::string_view(row.row.domain) == "host" && row.row.features)
      row.missing_features = missing_cpu_features(row.row.features);
    p.rows.push_back(std::move(row));
  }
  return "";
}

}  // namespace

std::string copy_table(const tg_plugin* theirs, LoadedPlugin& p) {
  std::string why = copy_struct("its table", theirs, offsetof(tg_plugin, shutdown), p.table);
  if (!why.empty()) return why;
  tg_plugin& t = p.table;
  const auto name = text_at(t.name), vendor = text_at(t.vendor), version = text_at(t.version);
  if (!name || !vendor || !version) return "its table: name, vendor or version cannot be read";
  if (!valid_name(*name)) return "its table: expected a name of [a-z0-9_], got '" + *name + "'";
  p.name = *name;
  why = abi_refusal(t.abi_version, t.abi_version);
  if (!why.empty()) return why;
  p.abi = std::min(t.abi_version, uint32_t(TG_ABI_VERSION));

  if (t.kernels) {
    why = copy_struct("its kernel functions", t.kernels, offsetof(tg_kernel_api, plan_destroy) + sizeof(void*),
                      p.kernels);
    if (!why.empty()) return why;
    t.kernels = &p.kernels;
  }
  if (t.devices) {
    why = copy_struct("its device functions", t.devices, offsetof(tg_device_api, copy_on_device) + sizeof(void*),
                      p.devices);
    if (!why.empty()) return why;
    t.devices = &p.devices;
  }
  if (!t.open) return "its table has no open function";
  if (!t.kernels && !t.devices) return "its table offers neither kernels nor devices";
  const std::string missing = missing_functions(p);
  if (!missing.empty()) return "its table lacks functions that are not optional: " + missing;
  return copy_rows(p);
}

std::string compare_with_manifest(const LoadedPlugin& p, const Manifest& m) {
  if (p.name != m.name) return "the library calls itself '" + p.name + "', its manifest '" + m.name + "'";
  if (m.version != p.table.version)
    return "the library is version " + std::string(p.table.version) + ", its manifest " + m.version;
  if (p.table.abi_version < m.abi_min || p.table.abi_version > m.abi_max)
    return "the library was built for ABI " + abi_text(p.table.abi_version) + ", which its manifest does not name";
  if (p.rows.size() != m.kernels.size())
    return format("the library has %zu rows, its manifest %zu", p.rows.size(), m.kernels.size());
  for (size_t i = 0; i < p.rows.size(); ++i) {
    const tg_kernel_row& r = p.rows[i].row;
    const ManifestRow& w = m.kernels[i];
    const auto same = [](const char* a, const std::string& b) { return a ? b == a : b.empty(); };
    const char* field = !same(r.op, w.op)                  ? "op"
                        : !same(r.name, w.name)            ? "name"
                        : !same(r.dtypes, w.dtypes)        ? "dtypes"
                        : !same(r.domain, w.domain)        ? "domain"
                        : !same(r.features, w.features)    ? "features"
                        : r.op_revision != w.revision      ? "revision"
                        : r.bake_dims != w.bake_dims       ? "bake_dims"
                        : r.bake_strides != w.bake_strides ? "bake_strides"
                        : r.packed != w.packed             ? "packed"
                        : r.alias != w.alias               ? "alias"
                        : r.map_opcodes != w.opcodes       ? "opcodes"
                        : r.map_casts != w.casts           ? "casts"
                        : r.score != w.score               ? "score"
                        : r.flags != w.flags               ? "flags"
                        : r.map_max_insts != w.max_insts   ? "max_insts"
                        : r.max_rank != w.max_rank         ? "max_rank"
                        : !same(r.layouts, w.layouts)      ? "layouts"
                                                           : nullptr;
    if (field) {
      return format(
          "row %zu (%s) differs from the manifest in '%s'; build the library and its manifest together with "
          "tengen_add_plugin()",
          i, w.name.c_str(), field);
    }
  }
  if (m.devices.empty() != (p.table.devices == nullptr)) {
    return p.table.devices ? "the library brings devices, its manifest names none"
                           : "its manifest names devices, the library brings none";
  }
  return "";
}

}  // namespace tg::registry
