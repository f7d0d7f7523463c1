// The order in which a model runs its tensors, for callers that begin before all of them are there.
// Pure.
#pragma once

#include <cstddef>
#include <vector>

#include "format/index.h"

namespace nwc {

// All tensor numbers: embeddings, then layer after layer (LayerNumber), then what is left (final
// norm, head); in file order among equals. A file that nwc-pack wrote lies in this order already.
std::vector<size_t> LayerOrder(const Index& index);

}  // namespace nwc
