// The byte layout of a `stream` chunk (spec/codec.md section 7), shared by encoder and decoders:
//
//   0 nb (1)  1 zero (1)  2 exact_columns (2)  4 patches (4)  8 words (4)  12 states (128)
//   140 words  column_ids  pad to 4  patch_ids  column_values  patch_values  pad to 4
#pragma once

#include <algorithm>
#include <span>
#include <vector>

#include "format/bytes.h"
#include "format/rans.h"
#include "format/status.h"
#include "format/stream_codec.h"
#include "format/trellis.h"

namespace nwc {

inline constexpr size_t kStreamHeaderBytes = 140;

struct StreamChunkHeader {
  uint8_t bucket_bits = 0;
  uint16_t exact_columns = 0;
  uint32_t patches = 0;
  uint32_t words = 0;
  LaneStates states;
};

// A chunk taken apart; spans point into it.
struct StreamChunkView {
  StreamChunkHeader header;
  ByteSpan words, column_ids, patch_ids, column_values, patch_values;
};

std::vector<uint8_t> SerializeStreamChunk(const StreamChunkHeader& header,
                                          std::span<const uint16_t> words, const StreamTile& tile);

// Checks R23 and R25 for a tile of rows × columns.
Result<StreamChunkView> ParseStreamChunk(ByteSpan chunk, uint64_t rows, uint64_t columns,
                                         size_t element_bytes);

// Smallest and largest t a tile can meet, clamped (R24).
struct TableSpan {
  int low = 0, high = 0;
};
TableSpan TableSpanOf(std::span<const int16_t> row_table, std::span<const int16_t> column_table);
// Of tables whose codes lie in these ranges.
TableSpan TableSpanOf(const TableSpan& row_codes, const TableSpan& column_codes);

// What the inner loops of all decoders need of one tile.
struct StreamTileJob {
  StreamStage last_stage = StreamStage::kStore;  // the scalar decoder knows this one only
  DType dtype;
  uint32_t rows, columns;
  int bucket_bits;
  const Trellis* trellis;
  int offset1, offset2;
  const AliasBucket* tables;    // of bucket_bits
  const int16_t* row_table;     // rows
  const int16_t* column_table;  // columns
  const float* row_steps;       // rows
  const float* column_factors;  // columns
  uint8_t* out;
  size_t row_stride_bytes;
};

// Decode all lines; the states and words end as R26 demands, or an error.
Status DecodeStreamScalar(const StreamTileJob& job, const LaneStates& states, ByteSpan words);
Status DecodeStreamAvx2(const StreamTileJob& job, const LaneStates& states, ByteSpan words);
Status DecodeStreamAvx512(const StreamTileJob& job, const LaneStates& states, ByteSpan words);

}  // namespace nwc
