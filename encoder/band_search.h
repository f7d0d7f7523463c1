// Codes a band of rows of a `stream` tensor: column after column from the last, each searched by
// the trellis, its error fed forward to the columns before it (LDLQ, encoder/ldl.h), and from each
// row to those below it where rows have a feedback too (encoder/shaped_search.h). Without one,
// bands do not depend on each other.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "encoder/row_feedback.h"
#include "encoder/trellis_search.h"
#include "format/format.h"
#include "format/side_info.h"

namespace nwc {

struct BandInput {
  const TensorInfo* tensor;  // with stream filled in but for the side extent
  const SideInfo* side;
  uint64_t row_begin, row_end;
  ByteSpan elements;             // of these rows, whole
  std::span<const float> lower;  // columns × columns, or empty: no feedback
  MutableByteSpan decoded;       // like elements: what a decoder will give; may be empty
  RowFeedback* rows = nullptr;   // of this band; may be null
};

// How often each |k| of each table was chosen: [2t + q][|k|].
using IndexCounts =
    std::array<std::array<uint64_t, kMaxIndexMagnitude + 1>, kTableCount * kQuantizerCount>;

struct CodedBand {
  uint32_t rows = 0, columns = 0;
  std::vector<int8_t> indices;          // row-major
  std::vector<uint32_t> exact_columns;  // ascending
  std::vector<uint32_t> patches;        // row · columns + column, ascending
  double bits = 0;                      // by the tables, escapes included, chunk headers not
  double squared_error = 0;             // of the decoded values
  double squared_steps = 0;  // of targets, feedback and all, less decoded values, in steps
  // Of weights with |k| = 1 and |k| ≥ 2: how far the target lies inside the level, in steps, and
  // how many.
  double inside[2] = {0, 0};
  uint64_t inside_count[2] = {0, 0};
};

// Adds to `counts` unless it is null.
CodedBand CodeBand(const BandInput& input, const IndexCosts& costs, float lambda,
                   IndexCounts* counts);

// The columns of a band that make up one tile.
StreamTile TileOfBand(const CodedBand& band, const BandInput& input, uint64_t column_begin,
                      uint64_t column_end);

}  // namespace nwc
