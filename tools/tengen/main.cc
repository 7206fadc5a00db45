// SPDX-License-Identifier: Apache-2.0
// The command as a program of its own, of an installation or a build tree. (The Python package calls the same from its
// extension: tools/tengen/app.cc.)
#include <filesystem>

#include "commands.h"

namespace {

std::vector<std::string> plugin_dirs() {
  namespace fs = std::filesystem;
  std::error_code error;
  const fs::path bin = fs::read_symlink("/proc/self/exe", error).parent_path();
  std::vector<std::string> out;
  if (error) return out;
  // An installation has ../lib/tengen/plugins; a build tree has plugins beside bin, and tengen-probe in it, without
  // which ../plugins could be anybody's.
  const std::pair<fs::path, bool> places[] = {{"../lib/tengen/plugins", true},
                                              {"../plugins", fs::exists(bin / "tengen-probe", error)}};
  for (const auto& [place, ours] : places) {
    const fs::path dir = (bin / place).lexically_normal();
    if (ours && fs::is_directory(dir, error)) out.push_back(dir.string());
  }
  return out;
}

}  // namespace

int main(int argc, char** argv) { return tg::cli::run(argc, argv, {plugin_dirs(), ""}); }
