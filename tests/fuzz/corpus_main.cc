// SPDX-License-Identifier: Apache-2.0
// A fuzz target without a fuzzer: runs the files of the directories and files named, and all their prefixes' halves.
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

int main(int argc, char** argv) {
  namespace fs = std::filesystem;
  std::set<fs::path> files;
  for (int i = 1; i < argc; ++i) {
    if (!fs::is_directory(argv[i])) files.insert(argv[i]);
    else
      for (const auto& entry : fs::directory_iterator(argv[i])) files.insert(entry.path());
  }
  for (const fs::path& file : files) {
    std::ifstream in(file, std::ios::binary);
    const std::vector<char> bytes{std::istreambuf_iterator<char>(in), {}};
    std::printf("%s\n", file.c_str());
    std::fflush(stdout);
    for (size_t n = bytes.size();; n /= 2) {  // the file, and it truncated
      const std::vector<uint8_t> input(bytes.begin(), bytes.begin() + long(n));
      LLVMFuzzerTestOneInput(input.data(), input.size());
      if (n == 0) break;
    }
  }
  std::printf("%zu files\n", files.size());
  return files.empty();
}
