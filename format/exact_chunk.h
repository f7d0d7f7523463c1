// The byte layout of an `exact` chunk (spec/codec.md section 8), shared by encoder and decoders:
//
//   0 words (4)  4 states (128)  132 present (32)  164 frequencies  words  low16  low8  pad to 4
#pragma once

#include <array>

#include "format/bytes.h"
#include "format/dtype.h"
#include "format/rans.h"

namespace nwc {

inline constexpr size_t kExactHeaderBytes = 164;
inline constexpr int kExactBucketBits = 8;
inline constexpr size_t kExactSymbols = 256;

// A chunk taken apart; spans point into it. Element i of n is symbol << (w - 8) | low bits, rotated
// right by one.
struct ExactChunkView {
  LaneStates states;
  std::array<AliasBucket, kExactSymbols> table;
  ByteSpan words;
  ByteSpan low16;  // 2n bytes for F32, else empty
  ByteSpan low8;   // n bytes
};

// Decode all elements of `dtype` into `out`; the states and words end as R26 demands, or an error.
Status DecodeExactScalar(const ExactChunkView& view, DType dtype, MutableByteSpan out);
Status DecodeExactAvx2(const ExactChunkView& view, DType dtype, MutableByteSpan out);

}  // namespace nwc
