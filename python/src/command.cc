// SPDX-License-Identifier: Apache-2.0
// The command `tengen` (tools/tengen) on behalf of tengen._cli: a wheel holds the core once, so the extension holds both.
#include "py.h"

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#ifdef TENGEN_COMMANDS
#include <commands.h>
#endif

namespace tg::py {

void add_command(PyObject* module) {
#ifdef TENGEN_COMMANDS
  pybind11::reinterpret_borrow<pybind11::module_>(module).def(
      "_command",
      [](const std::vector<std::string>& arguments, const std::vector<std::string>& plugin_dirs,
         const std::string& probe) {
        std::vector<const char*> argv;
        for (const auto& a : arguments) argv.push_back(a.c_str());
        argv.push_back(nullptr);
        GilRelease release;
        return cli::run(int(arguments.size()), argv.data(), {plugin_dirs, probe});
      });
#else
  (void)module;
#endif
}

}  // namespace tg::py
