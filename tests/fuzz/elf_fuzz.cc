// SPDX-License-Identifier: Apache-2.0
// Any bytes are an ELF file or a sentence.
#include <sys/mman.h>
#include <tengen/registry.h>
#include <unistd.h>

#include "bytes.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tg::registry;
  static const int file = memfd_create("fuzz", MFD_CLOEXEC);
  static const std::string path = "/proc/self/fd/" + std::to_string(file);
  tg::fuzz::must(ftruncate(file, 0) == 0 && pwrite(file, data, size, 0) == ssize_t(size), "a file in memory");
  try {
    const ElfInfo elf = read_elf(path);
    tg::fuzz::must(elf.bits == 32 || elf.bits == 64, "32 or 64 bits");
    tg::fuzz::must(elf.exports.size() <= 4096, "at most 4096 names");
    tg::fuzz::must(!elf.manifest || elf.manifest->size() <= size, "a manifest inside the file");
    machine_name(elf.machine);
  } catch (const std::runtime_error& e) {
    tg::fuzz::must(e.what()[0] != 0, "a sentence");
  }
  return 0;
}
