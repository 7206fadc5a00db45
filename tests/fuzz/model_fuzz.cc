// SPDX-License-Identifier: Apache-2.0
// Model files: whatever the bytes are, load_model gives a model whose graph verifies, or one of the named errors.
#include <tengen/model.h>
#include <tengen/runtime.h>

#include <cstdlib>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    const tg::Model m = tg::load_model(data, size, tg::host_device());
    m.graph->verify();
    if (tg::Graph::parse(m.graph->text())->nodes.size() != m.graph->nodes.size()) std::abort();
  } catch (const tg::Error&) {
  }
  return 0;
}
