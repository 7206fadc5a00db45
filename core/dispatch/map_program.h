// SPDX-License-Identifier: Apache-2.0
// Work on map programs. Internal to core.
#pragma once
#include <tengen/op.h>

namespace tg {

// Instructions on complex values, written in reals; TypeError where they make no sense. (complex_builder.cc)
MapBuilder::Value emit_composed(MapBuilder& b, int opcode, MapBuilder::Value a);
MapBuilder::Value emit_composed(MapBuilder& b, int opcode, MapBuilder::Value x, MapBuilder::Value y);
MapBuilder::Value emit_composed(MapBuilder& b, int opcode, MapBuilder::Value c, MapBuilder::Value x, MapBuilder::Value y);
MapBuilder::Value cast_composed(MapBuilder& b, MapBuilder::Value a, DType to);

bool is_optional_opcode(int opcode);
// The program with every optional opcode that `keep` refuses written out in mandatory ones.
MapBuilder::Program expand_program(const MapBuilder::Program& p, const std::function<bool(const tg_map_inst&)>& keep);


// One instruction as a program of its own: result j of the whole is the result of the j-th.
struct SingleInst {
  MapBuilder::Program program;
  std::vector<uint16_t> inputs;      // value ids of the whole: inputs, then results
  std::vector<uint16_t> immediates;  // indices of the whole's
};
std::vector<SingleInst> split_program(const MapBuilder::Program& p);

}  // namespace tg
