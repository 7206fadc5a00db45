// SPDX-License-Identifier: Apache-2.0
//
// A small ELF reader: machine, exported names and the embedded manifest of a library, without mapping or running it.
// Every offset and count comes from an untrusted file, so every read goes through File::read, which checks bounds.
#include <elf.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "internal.h"

namespace tg::registry {
namespace {

constexpr uint64_t kMaxTable = 256u << 20;  // symbols or their names
constexpr uint64_t kMaxManifest = 16u << 20;
constexpr uint64_t kMaxSections = 1u << 20;
constexpr size_t kMaxExports = 4096;
constexpr size_t kMaxNeeded = 256;

class File {
 public:
  explicit File(const std::filesystem::path& path) : fd_(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {
    if (fd_ < 0) throw std::runtime_error(format("cannot be read (%s)", std::strerror(errno)));
    struct stat st;
    const bool regular = fstat(fd_, &st) == 0 && S_ISREG(st.st_mode);
    if (!regular) {
      close(fd_);
      throw std::runtime_error("is not a regular file");
    }
    size_ = uint64_t(st.st_size);
  }
  ~File() { close(fd_); }
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  std::string read(uint64_t offset, uint64_t bytes, uint64_t limit, const char* what) const {
    if (bytes > limit || offset > size_ || bytes > size_ - offset)
      throw std::runtime_error(
          format("is not a well-formed ELF file: %s (%llu bytes at %llu) leaves the file (%llu bytes)", what,
                 (unsigned long long)bytes, (unsigned long long)offset, (unsigned long long)size_));
    std::string out(bytes, '\0');
    for (uint64_t done = 0; done < bytes;) {
      const ssize_t n = pread(fd_, out.data() + done, bytes - done, off_t(offset + done));
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) throw std::runtime_error(format("cannot be read: %s", n ? std::strerror(errno) : "it has shrunk"));
      done += uint64_t(n);
    }
    return out;
  }

 private:
  int fd_;
  uint64_t size_ = 0;
};

// Numbers of the file's byte order and word size out of a piece that was read.
struct Fields {
  bool wide, little;
  uint64_t number(const std::string& piece, size_t offset, size_t bytes) const {
    uint64_t value = 0;
    for (size_t i = 0; i < bytes; ++i) {
      const uint64_t byte = static_cast<unsigned char>(piece.at(offset + i));
      value |= byte << (8 * (little ? i : bytes - 1 - i));
    }
    return value;
  }
  // A field that lies elsewhere and is wider in 64-bit files.
  uint64_t word(const std::string& piece, size_t offset32, size_t offset64) const {
    return wide ? number(piece, offset64, 8) : number(piece, offset32, 4);
  }
};

struct Section {
  uint64_t name, type, offset, size, link, entry;
};

std::string_view name_at(const std::string& names, uint64_t offset) {
  if (offset >= names.size()) return {};
  const size_t end = names.find('\0', offset);
  return end == std::string::npos ? std::string_view() : std::string_view(names).substr(offset, end - offset);
}

void read_exports(const File& file, const Fields& f, const std::vector<Section>& sections, const Section& table,
                  ElfInfo& info) {
  if (table.link >= sections.size())
    throw std::runtime_error("is not a well-formed ELF file: no names for its symbols");
  const Section& strings = sections[table.link];
  const std::string symbols = file.read(table.offset, table.size, kMaxTable, "symbol table");
  const std::string names = file.read(strings.offset, strings.size, kMaxTable, "symbol names");
  const size_t entry = f.wide ? sizeof(Elf64_Sym) : sizeof(Elf32_Sym);
  info.has_symbols = true;
  for (size_t at = 0; at + entry <= symbols.size(); at += entry) {
    const uint64_t bind_type = f.number(symbols, at + (f.wide ? 4 : 12), 1);
    const uint64_t other = f.number(symbols, at + (f.wide ? 5 : 13), 1);
    const uint64_t section = f.number(symbols, at + (f.wide ? 6 : 14), 2);
    const uint64_t bind = bind_type >> 4, visibility = other & 3;
    if (section == SHN_UNDEF || (bind != STB_GLOBAL && bind != STB_WEAK && bind != STB_GNU_UNIQUE)) continue;
    if (visibility == STV_HIDDEN || visibility == STV_INTERNAL) continue;
    const std::string_view name = name_at(names, f.number(symbols, at, 4));
    if (!name.empty() && (info.exports.size() < kMaxExports || name == "tg_plugin_query"))
      info.exports.emplace_back(name);
  }
}

// DT_NEEDED and the search path of the library's own (DT_RUNPATH, or the older DT_RPATH).
void read_dynamic(const File& file, const Fields& f, const std::vector<Section>& sections, const Section& table,
                  ElfInfo& info) {
  if (table.link >= sections.size())
    throw std::runtime_error("is not a well-formed ELF file: no names for its dependencies");
  const Section& strings = sections[table.link];
  const std::string entries = file.read(table.offset, table.size, kMaxTable, "dynamic section");
  const std::string names = file.read(strings.offset, strings.size, kMaxTable, "names of its dependencies");
  const size_t word = f.wide ? 8 : 4;
  for (size_t at = 0; at + 2 * word <= entries.size(); at += 2 * word) {
    const uint64_t tag = f.number(entries, at, word);
    if (tag == DT_NULL) break;
    if (tag != DT_NEEDED && tag != DT_RUNPATH && tag != DT_RPATH) continue;
    const std::string_view name = name_at(names, f.number(entries, at + word, word));
    if (name.empty() || info.needed.size() >= kMaxNeeded) continue;
    if (tag == DT_NEEDED) info.needed.emplace_back(name);
    else info.runpath = name;
  }
}

}  // namespace

ElfInfo read_elf(const std::filesystem::path& path) {
  const File file(path);
  std::string ident;
  try {
    ident = file.read(0, EI_NIDENT, EI_NIDENT, "identification");
  } catch (const std::runtime_error&) {
    throw std::runtime_error("is not an ELF file (too short)");
  }
  if (std::memcmp(ident.data(), ELFMAG, SELFMAG) != 0) throw std::runtime_error("is not an ELF file");
  const int file_class = ident[EI_CLASS], data = ident[EI_DATA];
  if ((file_class != ELFCLASS32 && file_class != ELFCLASS64) || (data != ELFDATA2LSB && data != ELFDATA2MSB))
    throw std::runtime_error("is not a well-formed ELF file: unknown class or byte order");

  const Fields f{file_class == ELFCLASS64, data == ELFDATA2LSB};
  ElfInfo info;
  info.bits = f.wide ? 64 : 32;
  info.little_endian = f.little;
  const std::string header = file.read(0, f.wide ? sizeof(Elf64_Ehdr) : sizeof(Elf32_Ehdr), 64, "header");
  info.type = uint16_t(f.number(header, 16, 2));
  info.machine = uint16_t(f.number(header, 18, 2));
  const uint64_t table = f.word(header, 32, 40);
  const uint64_t entry = f.number(header, f.wide ? 58 : 46, 2);
  uint64_t count = f.number(header, f.wide ? 60 : 48, 2);
  uint64_t names_index = f.number(header, f.wide ? 62 : 50, 2);
  if (!table) return info;  // no sections: nothing more can be learnt

  const size_t needed = f.wide ? sizeof(Elf64_Shdr) : sizeof(Elf32_Shdr);
  if (entry < needed) throw std::runtime_error("is not a well-formed ELF file: section entries are too small");
  const auto section_of = [&](const std::string& piece, size_t at) {
    return Section{f.number(piece, at, 4),
                   f.number(piece, at + 4, 4),
                   f.word(piece.substr(at, needed), 16, 24),
                   f.word(piece.substr(at, needed), 20, 32),
                   f.number(piece, at + (f.wide ? 40 : 24), 4),
                   f.word(piece.substr(at, needed), 36, 56)};
  };
  if (!count || names_index == SHN_XINDEX) {  // large counts live in section 0
    const Section zero = section_of(file.read(table, entry, 1 << 16, "section header"), 0);
    if (!count) count = zero.size;
    if (names_index == SHN_XINDEX) names_index = zero.link;
  }
  if (count > kMaxSections) throw std::runtime_error("is not a well-formed ELF file: too many sections");
  const std::string headers = file.read(table, count * entry, kMaxTable, "section headers");
  std::vector<Section> sections;
  for (uint64_t i = 0; i < count; ++i) sections.push_back(section_of(headers, i * entry));

  std::string names;
  if (names_index < sections.size() && sections[names_index].type != SHT_NOBITS)
    names = file.read(sections[names_index].offset, sections[names_index].size, kMaxTable, "section names");
  for (const Section& s : sections) {
    if (s.type == SHT_DYNSYM && !info.has_symbols) read_exports(file, f, sections, s, info);
    if (s.type == SHT_DYNAMIC && info.needed.empty()) read_dynamic(file, f, sections, s, info);
    if (s.type != SHT_NOBITS && name_at(names, s.name) == "tg_manifest" && !info.manifest)
      info.manifest = file.read(s.offset, s.size, kMaxManifest, "section tg_manifest");
  }
  return info;
}

std::vector<std::filesystem::path> origin_dependencies(const std::filesystem::path& library) {
  namespace fs = std::filesystem;
  std::vector<fs::path> out, todo{library};
  while (!todo.empty()) {
    const fs::path file = todo.back();
    todo.pop_back();
    ElfInfo info;
    try {
      info = read_elf(file);
    } catch (const std::exception&) {
      continue;  // the dynamic loader will say what is wrong with it
    }
    for (const std::string& name : info.needed) {
      for (std::string place : split(info.runpath, ':')) {
        for (const char* origin : {"$ORIGIN", "${ORIGIN}"}) {
          if (place.starts_with(origin)) place.replace(0, std::strlen(origin), file.parent_path().string());
        }
        std::error_code error;
        const fs::path found = fs::canonical(fs::path(place) / name, error);
        if (error || place.empty() || place[0] != '/') continue;
        if (found != library && std::find(out.begin(), out.end(), found) == out.end() && out.size() < kMaxNeeded) {
          out.push_back(found);
          todo.push_back(found);
        }
        break;  // the loader takes the first, too
      }
    }
  }
  std::sort(out.begin(), out.end());
  return out;
}

std::string machine_name(uint16_t machine) {
  switch (machine) {
    case EM_X86_64:
      return "x86_64";
    case EM_386:
      return "x86 (32 bits)";
    case EM_AARCH64:
      return "aarch64";
    case EM_ARM:
      return "arm (32 bits)";
    case EM_RISCV:
      return "riscv";
    case EM_PPC64:
      return "ppc64";
    case EM_S390:
      return "s390";
    default:
      return format("machine %u", machine);
  }
}

uint16_t native_machine() {
#if defined(__x86_64__)
  return EM_X86_64;
#elif defined(__i386__)
  return EM_386;
#elif defined(__aarch64__)
  return EM_AARCH64;
#elif defined(__arm__)
  return EM_ARM;
#elif defined(__riscv)
  return EM_RISCV;
#elif defined(__powerpc64__)
  return EM_PPC64;
#elif defined(__s390__)
  return EM_S390;
#else
#error "name this machine's e_machine here"
#endif
}

}  // namespace tg::registry
