// Rows and tiles of a tensor, and which tensors `stream` cannot hold.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "format/format.h"

namespace nwc {

// Row `row` of a whole tensor.
std::vector<float> RowAsFloat(const TensorInfo& tensor, ByteSpan elements, uint64_t row);

// Why `elements` (a whole tensor) cannot be `stream`, or nothing: NaN, infinite and subnormal
// values (as binary32), row scales beyond 2^±60.
std::string WhyNotStream(const TensorInfo& tensor, ByteSpan elements);

// Copies a tile out of a whole tensor, rows packed.
std::vector<uint8_t> CopyTile(const TensorInfo& tensor, const TileRange& range, ByteSpan elements);

}  // namespace nwc
