// The heat map of a report page: bits a weight by kind of tensor and layer. Pure.
#pragma once

#include <string>

#include "tools/layer_kinds.h"

namespace nwc {

// A figure, and a table with the same numbers. Lossy cells get a colour by their bits; every cell
// has its number.
std::string FormatBitsMap(const BitsGrid& grid);

// "3.99", "13.6"; "-" for no weights.
std::string FormatBits(uint64_t bytes, uint64_t weights);

}  // namespace nwc
