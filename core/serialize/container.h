// SPDX-License-Identifier: Apache-2.0
// The container of model files: safetensors, read without trust. Internal to core.
#pragma once
#include <tengen/tensor.h>

#include <map>
#include <string_view>
#include <vector>

namespace tg {

// Bytes of a file, or of memory, for as long as somebody holds them.
class Bytes {
 public:
  static std::shared_ptr<Bytes> map(const std::string& path);  // OSError; private pages: writes are ours alone
  static std::shared_ptr<Bytes> copy(const void* data, size_t n);
  ~Bytes();
  Bytes(const Bytes&) = delete;
  Bytes& operator=(const Bytes&) = delete;
  char* data() const { return data_; }
  size_t size() const { return size_; }

 private:
  Bytes() = default;
  char* data_ = nullptr;
  size_t size_ = 0;
  std::vector<char> own_;
};

struct ContainerEntry {
  DType dtype;
  Ints shape;
  size_t begin, end;  // from the start of the data
};
struct Container {
  std::map<std::string, ContainerEntry> tensors;
  std::map<std::string, std::string> metadata;
  size_t data_start = 0;
};
// ValueError "[where] ...": for a header that is truncated, too large, not JSON, or says what cannot be.
Container read_container(const Bytes& bytes, const std::string& where);
// A tensor of a container; on the host its memory is the file's.
Tensor container_tensor(const std::shared_ptr<Bytes>& bytes, const Container& c, const ContainerEntry& e, Device* device);
void write_container(const std::string& path, const std::vector<std::pair<std::string, Tensor>>& tensors,
                     const std::map<std::string, std::string>& metadata);

}  // namespace tg
