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
};

// All values in kMinStepCode … kMaxStepCode.
std::vector<uint8_t> SerializeSideInfo(const SideInfo& side);

// Checks R22; allocates no more than 4·(rows + columns) bytes, and only after `bytes` is seen to be
// long enough to hold that many codes or constants.
Result<SideInfo> ParseSideInfo(ByteSpan bytes, uint64_t rows, uint64_t columns, float scale);

struct NeuralSideInfo {
  std::vector<int16_t> column_scale;    // columns, kMinStepCode … kMaxStepCode
  std::vector<uint8_t> column_quality;  // columns, below the codec's qualities
};

std::vector<uint8_t> SerializeNeuralSideInfo(const NeuralSideInfo& side);

// Checks R22; allocates as ParseSideInfo does.
Result<NeuralSideInfo> ParseNeuralSideInfo(ByteSpan bytes, uint64_t columns, int qualities,
                                           float scale);

}  // namespace nwc
