// Codes one tensor as `stream` without calibration: row-normalised steps, tables that follow row
// and column scale, trellis search, escapes.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "encoder/trellis_search.h"
#include "format/format.h"
#include "format/side_info.h"

namespace nwc {

// Root mean squares that steps and tables follow.
struct TensorScales {
  std::vector<double> row_rms;       // rows
  std::vector<double> column_ratio;  // columns: rms of the row-normalised column
};

// Why `elements` (a whole tensor) cannot be `stream`, or nothing: NaN, infinite and subnormal
// values (as binary32), row scales beyond 2^±60.
std::string WhyNotStream(const TensorInfo& tensor, ByteSpan elements);

TensorScales MeasureScales(const TensorInfo& tensor, ByteSpan elements);

// What a rate group shares: step of a row = step_ratio · its rms.
struct StepChoice {
  double step_ratio = 0.1;
  int offset1 = 0, offset2 = 0;  // reconstruction offsets, 64ths of a step
};

// Codes of steps and tables for those scales; `scale` of the tensor is float(step_ratio).
SideInfo ChooseSideInfo(const TensorInfo& tensor, const TensorScales& scales, double step_ratio);

// A tile searched: indices, escapes, and sums over its weights.
struct SearchedTile {
  StreamTile tile;
  double bits = 0;           // by the tables, escapes included, chunk header not
  double squared_error = 0;  // of the decoded values
  // Of weights with |k| = 1 and |k| ≥ 2: how far the target lies inside the level, in steps, and
  // how many.
  double inside[2] = {0, 0};
  uint64_t inside_count[2] = {0, 0};
};

struct TileInput {
  const TensorInfo* tensor;  // with stream filled in but for the side extent
  const SideInfo* side;
  TileRange range;
  ByteSpan elements;        // of the tile alone, rows packed
  MutableByteSpan decoded;  // the same size: what a decoder will give; may be empty
};

SearchedTile SearchTile(const TileInput& input, const IndexCosts& costs, float lambda);

// Copies a tile out of a whole tensor, rows packed.
std::vector<uint8_t> CopyTile(const TensorInfo& tensor, const TileRange& range, ByteSpan elements);

}  // namespace nwc
