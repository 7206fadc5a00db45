// SPDX-License-Identifier: Apache-2.0
// Work on map programs. Internal to core.
#pragma once
#include <tengen/op.h>

namespace tg {

bool is_optional_opcode(int opcode);
// The program with every optional opcode that `keep` refuses written out in mandatory ones.
MapBuilder::Program expand_program(const MapBuilder::Program& p, const std::function<bool(const tg_map_inst&)>& keep);

}  // namespace tg
