// SPDX-License-Identifier: Apache-2.0
#include "serialize/container.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <tengen/runtime.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>

namespace tg {
namespace {

using nlohmann::json;

constexpr size_t kMostHeader = 100'000'000, kAlign = 64;

struct Name {
  const char* text;
  DType dtype;
};
constexpr Name kNames[] = {{"F64", DType::f64}, {"F32", DType::f32}, {"F16", DType::f16}, {"BF16", DType::bf16}, {"I64", DType::i64}, {"I32", DType::i32},
                           {"I16", DType::i16}, {"I8", DType::i8}, {"U64", DType::u64}, {"U32", DType::u32}, {"U16", DType::u16}, {"U8", DType::u8},
                           {"BOOL", DType::boolean}, {"C64", DType::c64}, {"C128", DType::c128}, {"F8_E4M3", DType::f8e4m3}, {"F8_E5M2", DType::f8e5m2}};

[[noreturn]] void fail_io(const std::string& path, const char* what) {
  raise(ErrorKind::io, "[", path, "] could not ", what, ": ", std::strerror(errno));
}

struct Descriptor {
  int fd = -1;
  ~Descriptor() {
    if (fd >= 0) ::close(fd);
  }
};

}  // namespace

std::shared_ptr<Bytes> Bytes::map(const std::string& path) {
  Descriptor d{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  if (d.fd < 0) fail_io(path, "be opened");
  struct stat info {};
  if (::fstat(d.fd, &info) != 0) fail_io(path, "be looked at");
  check(S_ISREG(info.st_mode), "[", path, "] expected a file");
  auto b = std::shared_ptr<Bytes>(new Bytes());
  b->size_ = size_t(info.st_size);
  if (b->size_ == 0) return b;
  void* p = ::mmap(nullptr, b->size_, PROT_READ | PROT_WRITE, MAP_PRIVATE, d.fd, 0);
  if (p == MAP_FAILED) fail_io(path, "be mapped");
  b->data_ = static_cast<char*>(p);
  return b;
}
std::shared_ptr<Bytes> Bytes::copy(const void* data, size_t n) {
  auto b = std::shared_ptr<Bytes>(new Bytes());
  b->own_.resize(n + kAlign);  // begins where a mapping would
  const size_t skip = (kAlign - reinterpret_cast<uintptr_t>(b->own_.data()) % kAlign) % kAlign;
  b->data_ = b->own_.data() + skip;
  b->size_ = n;
  if (n) std::memcpy(b->data_, data, n);
  return b;
}
Bytes::~Bytes() {
  if (own_.empty() && data_) ::munmap(data_, size_);
}

Container read_container(const Bytes& bytes, const std::string& where) {
  const auto must = [&](bool ok, const auto&... parts) { check(ok, "[", where, "] ", parts...); };
  must(bytes.size() >= 8, "expected a model file, got ", bytes.size(), " bytes");
  uint64_t n;
  std::memcpy(&n, bytes.data(), 8);
  must(n <= kMostHeader && n <= bytes.size() - 8, "expected a header within the file and of at most ", kMostHeader, " bytes, it says ", n);
  Container c;
  c.data_start = 8 + size_t(n);
  const size_t data = bytes.size() - c.data_start;
  const json header = json::parse(bytes.data() + 8, bytes.data() + 8 + n, nullptr, false);
  must(header.is_object(), "expected a header in JSON, got something else (truncated?)");
  std::vector<std::pair<size_t, size_t>> ranges;
  for (const auto& [name, entry] : header.items()) {
    must(entry.is_object(), "expected an object for ", name);
    if (name == "__metadata__") {
      for (const auto& [key, value] : entry.items()) {
        must(value.is_string(), "expected strings as metadata, got something else for ", key);
        c.metadata[key] = value.get<std::string>();
      }
      continue;
    }
    ContainerEntry e{};
    const auto dtype = entry.find("dtype"), shape = entry.find("shape"), offsets = entry.find("data_offsets");
    must(dtype != entry.end() && dtype->is_string() && shape != entry.end() && shape->is_array() && offsets != entry.end() && offsets->is_array() &&
             offsets->size() == 2 && (*offsets)[0].is_number_unsigned() && (*offsets)[1].is_number_unsigned(),
         "expected dtype, shape and data_offsets for ", name);
    const auto known = std::find_if(std::begin(kNames), std::end(kNames), [&](const Name& k) { return dtype->get_ref<const std::string&>() == k.text; });
    must(known != std::end(kNames), "expected a dtype that is known for ", name, ", got ", dtype->get_ref<const std::string&>());
    e.dtype = known->dtype;
    must(shape->size() <= TG_MAX_RANK, "expected at most ", TG_MAX_RANK, " axes for ", name);
    uint64_t count = uint64_t(size_of(e.dtype));
    for (const auto& d : *shape) {
      must(d.is_number_unsigned() && d.get<uint64_t>() < (uint64_t(1) << 62), "expected sizes below 2^62 for ", name);
      e.shape.push_back(d.get<int64_t>());
      must(!__builtin_mul_overflow(count, d.get<uint64_t>(), &count), "expected a size below 2^64 for ", name);
    }
    const uint64_t begin = (*offsets)[0].get<uint64_t>(), end = (*offsets)[1].get<uint64_t>();
    must(begin <= end && end <= data && end - begin == count, "expected ", count, " bytes within the file for ", name, ", its offsets are ", begin, " and ", end,
         " of ", data);
    e.begin = size_t(begin), e.end = size_t(end);
    if (begin != end) ranges.emplace_back(e.begin, e.end);
    c.tensors[name] = e;
  }
  std::sort(ranges.begin(), ranges.end());
  for (size_t i = 1; i < ranges.size(); ++i) must(ranges[i].first >= ranges[i - 1].second, "expected tensors that do not overlap");
  return c;
}

Tensor container_tensor(const std::shared_ptr<Bytes>& bytes, const Container& c, const ContainerEntry& e, Device* device) {
  char* at = bytes->data() + c.data_start + e.begin;
  const bool aligned = reinterpret_cast<uintptr_t>(at) % kAlign == 0;
  if (device != host_device() || !aligned) return Tensor::from_host(at, e.shape, e.dtype, device);
  auto* hold = new std::shared_ptr<Bytes>(bytes);
  const auto storage = Storage::borrow(device, at, e.end - e.begin, [](void* h) { delete static_cast<std::shared_ptr<Bytes>*>(h); }, hold);
  return Tensor(Ref<TensorImpl>::adopt(new TensorImpl(storage, e.dtype, e.shape, contiguous_strides(e.shape), 0)));
}

void write_container(const std::string& path, const std::vector<std::pair<std::string, Tensor>>& tensors,
                     const std::map<std::string, std::string>& metadata) {
  nlohmann::ordered_json header;
  header["__metadata__"] = metadata;
  // Every tensor begins at a multiple of 64; the format allows no holes, so what fills them has names.
  std::string data;
  size_t at = 0, pads = 0;
  std::vector<std::pair<size_t, const Tensor*>> places;
  const auto entry = [&](const char* dtype, const json& shape, size_t n) {
    nlohmann::ordered_json e;
    e["dtype"] = dtype;
    e["shape"] = shape;
    e["data_offsets"] = {at, at + n};
    at += n;
    return e;
  };
  for (const auto& [name, t] : tensors) {
    if (const size_t gap = (kAlign - at % kAlign) % kAlign) header["tengen.pad." + std::to_string(pads++)] = entry("U8", json::array({gap}), gap);
    const auto known = std::find_if(std::begin(kNames), std::end(kNames), [&](const Name& k) { return k.dtype == t.dtype(); });
    check(known != std::end(kNames), "[save_model] expected a dtype that the format has for ", name, ", got ", name_of(t.dtype()));
    places.emplace_back(at, &t);
    json shape = json::array();
    for (int64_t d : t.shape()) shape.push_back(d);
    header[name] = entry(known->text, shape, size_t(t.nbytes()));
  }
  std::string text = header.dump();
  text.resize((text.size() + 8 + kAlign - 1) / kAlign * kAlign - 8, ' ');
  std::string whole(8, '\0');
  const uint64_t n = text.size();
  std::memcpy(whole.data(), &n, 8);
  whole += text;
  const size_t start = whole.size();
  whole.resize(start + at);
  for (const auto& [place, t] : places)
    if (t->nbytes()) t->to_host(whole.data() + start + place);
  const std::string beside = path + ".tmp" + std::to_string(::getpid());
  {
    Descriptor d{::open(beside.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666)};
    if (d.fd < 0) fail_io(beside, "be made");
    for (size_t done = 0; done < whole.size();) {
      const ssize_t k = ::write(d.fd, whole.data() + done, std::min<size_t>(whole.size() - done, size_t(1) << 30));
      if (k < 0 && errno == EINTR) continue;
      if (k < 0) {
        const int error = errno;
        ::unlink(beside.c_str());
        errno = error;
        fail_io(path, "be written");
      }
      done += size_t(k);
    }
    if (::fsync(d.fd) != 0) {
      const int error = errno;
      ::unlink(beside.c_str());
      errno = error;
      fail_io(path, "be flushed");
    }
  }
  if (::rename(beside.c_str(), path.c_str()) != 0) {
    const int error = errno;
    ::unlink(beside.c_str());
    errno = error;
    fail_io(path, "be renamed");
  }
}

}  // namespace tg
