// `exact` chunks: lossless coding of F16, BF16 and F32 (spec/codec.md section 8). Pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "format/bytes.h"
#include "format/dtype.h"
#include "format/simd.h"
#include "format/status.h"

namespace nwc {

// `elements` holds whole elements of a coded float dtype, at least one.
std::vector<uint8_t> EncodeExactChunk(ByteSpan elements, DType dtype);

// Decodes into `out`, whose size is the tile's decoded size. Checks R26-R28.
Status DecodeExactChunk(ByteSpan chunk, DType dtype, MutableByteSpan out, Simd simd);

}  // namespace nwc
