// SPDX-License-Identifier: Apache-2.0
// The ELF reader on good files, on foreign ones, and on thousands of damaged ones.
#include <elf.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <random>

#include "test_util.h"

namespace tg::registry {
namespace {

TEST(Elf, ReadsAPlugin) {
  const ElfInfo info = read_elf(test_library("t_good"));
  EXPECT_EQ(info.bits, int(sizeof(void*)) * 8);
  EXPECT_EQ(info.machine, native_machine());
  EXPECT_EQ(info.type, ET_DYN);
  ASSERT_TRUE(info.has_symbols);
  EXPECT_EQ(std::count(info.exports.begin(), info.exports.end(), "tg_plugin_query"), 1);
  ASSERT_TRUE(info.manifest);
  EXPECT_EQ(*info.manifest, read_file(fs::path(TEST_PLUGIN_DIR) / "t_good.plugin.json"));
}

TEST(Elf, RefusesWhatIsNone) {
  TempDir dir;
  const auto why = [&](const std::string& bytes) {
    write_file(dir / "x", bytes);
    try {
      read_elf(dir / "x");
    } catch (const std::runtime_error& e) {
      return std::string(e.what());
    }
    return std::string("accepted");
  };
  EXPECT_EQ(why(""), "is not an ELF file (too short)");
  EXPECT_EQ(why(std::string(4096, 'a')), "is not an ELF file");
  EXPECT_NE(why("\177ELF" + std::string(12, '\3')).find("unknown class"), std::string::npos);
  EXPECT_NE(why(std::string("\177ELF\2\1\1", 7) + std::string(9, '\0')).find("header"), std::string::npos);
  EXPECT_THROW(read_elf(dir / "absent"), std::runtime_error);
  EXPECT_THROW(read_elf(dir.path()), std::runtime_error);
  mkfifo((dir / "fifo").c_str(), 0600);
  EXPECT_THROW(read_elf(dir / "fifo"), std::runtime_error) << "and does not wait for a writer";
}

// A minimal file of the given class and byte order: header, section names, tg_manifest; written field by field.
std::string tiny_elf(bool wide, bool little, uint16_t machine, const std::string& manifest) {
  std::string out;
  const auto number = [&](uint64_t v, size_t bytes) {
    for (size_t i = 0; i < bytes; ++i) out += char(v >> (8 * (little ? i : bytes - 1 - i)));
  };
  const size_t word = wide ? 8 : 4, header = wide ? 64 : 52, entry = wide ? 64 : 40;
  const std::string names("\0.shstrtab\0tg_manifest\0", 23);
  out = std::string("\177ELF") + char(wide ? 2 : 1) + char(little ? 1 : 2) + char(1) + std::string(9, '\0');
  number(ET_DYN, 2), number(machine, 2), number(1, 4), number(0, word), number(0, word);
  number(header + names.size() + manifest.size(), word);  // section headers
  number(0, 4), number(header, 2), number(0, 2), number(0, 2), number(entry, 2), number(3, 2), number(1, 2);
  out += names + manifest;
  const auto section = [&](uint64_t name, uint64_t type, uint64_t offset, uint64_t size) {
    number(name, 4), number(type, 4), number(0, word), number(0, word), number(offset, word), number(size, word);
    number(0, 4), number(0, 4), number(0, word), number(0, word);
  };
  section(0, 0, 0, 0);
  section(1, SHT_STRTAB, header, names.size());
  section(11, SHT_PROGBITS, header + names.size(), manifest.size());
  return out;
}

TEST(Elf, AllClassesAndByteOrders) {
  TempDir dir;
  for (bool wide : {false, true}) {
    for (bool little : {false, true}) {
      write_file(dir / "x", tiny_elf(wide, little, EM_S390, "{\"name\": 1}"));
      const ElfInfo info = read_elf(dir / "x");
      EXPECT_EQ(info.bits, wide ? 64 : 32);
      EXPECT_EQ(info.little_endian, little);
      EXPECT_EQ(info.machine, EM_S390);
      EXPECT_EQ(info.manifest.value_or("none"), "{\"name\": 1}");
      EXPECT_FALSE(info.has_symbols);
    }
  }
}

// Damage in the header, in the section headers and anywhere. Either outcome is right; a crash, a hang or an allocation
// of what a damaged count says is not.
TEST(Elf, SurvivesDamage) {
  const int fd = memfd_create("elf", MFD_CLOEXEC);  // thousands of files on a slow disk would take their time
  ASSERT_GE(fd, 0);
  const fs::path file = "/proc/self/fd/" + std::to_string(fd);
  const std::string whole = read_file(test_library("t_good"));
  uint64_t table;
  std::memcpy(&table, whole.data() + (sizeof(void*) == 8 ? 40 : 32), sizeof(void*));
  std::mt19937 random(20240229);
  int refused = 0, accepted = 0;
  for (int round = 0; round < 4000; ++round) {
    std::string bytes = whole;
    const int changes = 1 + int(random() % 4);
    for (int i = 0; i < changes; ++i) {
      const size_t at = round % 3 == 0   ? random() % 64
                        : round % 3 == 1 ? table + random() % (bytes.size() - table)
                                         : random() % bytes.size();
      const size_t width = size_t(1) << random() % 4;
      const uint64_t interesting[] = {
          0, ~uint64_t(0), uint64_t(1) << 63, uint64_t(random()) << 32 | random(), bytes.size(), 0x7fffffff};
      const uint64_t value = interesting[random() % 6];
      if (at + width <= bytes.size()) std::memcpy(bytes.data() + at, &value, width);
    }
    if (random() % 4 == 0) bytes.resize(random() % bytes.size());
    ASSERT_EQ(ftruncate(fd, off_t(bytes.size())), 0);
    ASSERT_EQ(pwrite(fd, bytes.data(), bytes.size(), 0), ssize_t(bytes.size()));
    try {
      const ElfInfo info = read_elf(file);
      EXPECT_LE(info.exports.size(), 4097u);
      ++accepted;
    } catch (const std::runtime_error& e) {
      EXPECT_NE(std::string(e.what()), "");
      ++refused;
    }
  }
  close(fd);
  EXPECT_GT(refused, 500);
  EXPECT_GT(accepted, 100);
}

TEST(Elf, SparseHugeFileCostsNothing) {
  TempDir dir;
  std::string bytes = tiny_elf(sizeof(void*) == 8, true, native_machine(), "");
  write_file(dir / "x", bytes);
  fs::resize_file(dir / "x", uintmax_t(1) << 40);
  EXPECT_NO_THROW(read_elf(dir / "x"));
}

}  // namespace
}  // namespace tg::registry
