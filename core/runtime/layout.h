// SPDX-License-Identifier: Apache-2.0
// Storages in a layout of a plugin's own (docs/design/012-layouts.md). Internal to core.
//
// Such a storage has no memory that others could use: its content is a block, which only kernels of that plugin understand.
// Calls that can hand the block on do so; everything else that touches a tensor's memory goes through remat::Use, whose
// constructor has it made plain.
#pragma once
#include <tengen/tensor.h>

#include "runtime/device.h"

namespace tg {

struct LayoutContent {
  uint16_t layout = 0;  // 0: plain, and the rest is empty
  Ref<Storage> block;
  DType dtype = DType::f32;  // of the tensor that was computed
  Ints shape;
};

class Layouts {
 public:
  struct Tag {
    const registry::LoadedPlugin* plugin;  // the owner
    std::string name;
  };
  // The number of a plugin's layout, from 1.
  static uint16_t number(const registry::LoadedPlugin* plugin, std::string_view tag);
  static const Tag& tag(uint16_t number);

  // A contiguous tensor whose content is `block`.
  static Tensor make(uint16_t number, Ref<Storage> block, std::span<const int64_t> shape, DType dtype, Device* device);
  static LayoutContent content(const Storage* storage);
  // The same for one who wants to hand the block on: empty for a plain tensor and for a view of another shape, dtype or place.
  static LayoutContent content(const Tensor& t);
  // `plain` has the content in plain form; its memory becomes the storage's, unless another thread was first.
  static void settle(Storage* storage, Storage* plain);
  // The storage is plain from here on, and the tensor's description points to its memory.
  static void plain(const TensorImpl* t);
};

// The storage's content in plain form, in memory of its own; by the plugin's row "reorder". Defined by dispatch.
void make_plain(Storage* storage);

}  // namespace tg
