// SPDX-License-Identifier: Apache-2.0
// Plugins as programs see them: what was found, and the application's say in which is asked first.
#pragma once
#include <map>
#include <string>
#include <vector>

namespace tg {

// The application's say in which plugin is asked first, behind the user's (TENGEN_PLUGIN) and ahead of the device's own
// provider and the name. Nothing is measured unless somebody measures: `measured_ns` brings the figures of whoever did.
struct PluginPolicy {
  std::vector<std::string> prefer;  // plugins, best first
  // device name -> name of a kernel row's op ("map", "softmax") -> plugin -> nanoseconds of one call
  std::map<std::string, std::map<std::string, std::map<std::string, double>>> measured_ns;
};
void set_plugin_policy(PluginPolicy policy);  // before the first use of a device

struct PluginInfo {
  std::string name, library, status;  // "loaded", "probe failed"
  bool usable = false;
  std::string reason;           // why not usable
  std::string vendor, version;  // of its manifest; "" without one
};
// Every plugin that was found, with what became of it; loads the plugins.
std::vector<PluginInfo> plugins();

// What ran in host memory for want of a kernel, on stderr, once, unless it is nothing. shutdown() and the end of the process
// print it.
void print_fallbacks();

}  // namespace tg
