// Side information: of a `stream` tensor steps and table codes of rows and columns, of an `nwc`
// tensor scale and quality of columns (spec/codec.md section 6).
#pragma once

#include <cstdint>
#include <vector>

#include "format/bytes.h"
#include "format/status.h"

namespace nwc {

struct SideInfo {
  std::vector<int16_t> row_step;      // rows
  std::vector<int16_t> column_step;   // columns
  std::vector<int16_t> row_table;     // rows
  std::vector<int16_t> column_table;  // columns
  std::vector<int16_t> row_gain;      // rows, in units of 2^-10; empty: all 0
};

// All values in kMinStepCode … kMaxStepCode. An empty row_gain of a matrix with rows is left out:
// then StreamInfo::row_gains is false.
std::vector<uint8_t> SerializeSideInfo(const SideInfo& side);

// `row_gains` is that of StreamInfo. Checks R22; allocates no more than 6·(rows + columns) bytes,
// and only after `bytes` is seen to be long enough to hold that many codes or constants.
Result<SideInfo> ParseSideInfo(ByteSpan bytes, uint64_t rows, uint64_t columns, float scale,
                               bool row_gains = false);

// The steps of rows begin … end, gains included (spec/codec.md section 5).
std::vector<float> RowSteps(const SideInfo& side, uint64_t begin, uint64_t end);

struct NeuralSideInfo {
  std::vector<int16_t> column_scale;    // columns, kMinStepCode … kMaxStepCode
  std::vector<uint8_t> column_quality;  // columns, below the codec's qualities
};

std::vector<uint8_t> SerializeNeuralSideInfo(const NeuralSideInfo& side);

// Checks R22; allocates as ParseSideInfo does.
Result<NeuralSideInfo> ParseNeuralSideInfo(ByteSpan bytes, uint64_t columns, int qualities,
                                           float scale);

}  // namespace nwc
