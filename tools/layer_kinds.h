// Tensors by what they are and where they are: "mlp.down_proj" of layer 3. Pure functions.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "format/format.h"

namespace nwc {

// A name without its layer, what stands before it, and ".weight" at the end; other numbers as '*':
// "mlp.experts.*.up_proj" of "model.layers.3.mlp.experts.7.up_proj.weight".
std::string TensorKind(std::string_view name);

// Of the tensors of one kind in one layer.
struct GridCell {
  uint64_t tensors = 0, weights = 0, bytes = 0;
  bool lossy = false;  // any of them
};

// A cell each kind and layer that has tensors.
struct BitsGrid {
  std::vector<std::string> kinds;            // those in layers first, the lossy ones before others
  std::vector<std::string> layers;           // "0", "1", ...; "-" comes first: outside of layers
  std::vector<std::vector<GridCell>> cells;  // [kind][layer]; tensors == 0: there is none
  std::vector<GridCell> of_kind, of_layer;   // sums
  size_t layers_left_out = 0;                // beyond kMostGridLayers
};
inline constexpr size_t kMostGridKinds = 48;  // the last one stands for all others
inline constexpr size_t kMostGridLayers = 256;

BitsGrid MakeBitsGrid(const std::vector<TensorInfo>& tensors);

// Whether the tensor is not stored bit by bit.
bool IsLossy(const TensorInfo& tensor);

}  // namespace nwc
