// Side information of a `stream` tensor: steps and table codes of rows and columns
// (spec/codec.md section 6).
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

}  // namespace nwc
