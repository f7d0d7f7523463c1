// How fuzz inputs for chunks are read: two bytes choose the tile, the rest is the chunk.
#pragma once

#include <memory>
#include <vector>

#include "format/format.h"
#include "format/stream_chunk.h"

namespace nwc {

inline constexpr size_t kChunkInputPrefix = 2;

// A tile of rows × columns (1 … 64 each) whose tables run over a few t.
struct StreamCase {
  TensorInfo tensor;
  SideInfo side;
};

inline StreamCase MakeStreamCase(uint8_t first, uint8_t second) {
  StreamCase c;
  c.tensor.rows = c.tensor.tile_rows = 1 + first % 64u;
  c.tensor.columns = c.tensor.tile_columns = 1 + second % 64u;
  c.tensor.dtype = first & 0x40 ? DType::kF32 : (second & 0x40 ? DType::kF16 : DType::kBF16);
  c.tensor.profile_value = static_cast<uint8_t>(Profile::kStream);
  c.tensor.stream.emplace().trellis = static_cast<uint8_t>(1 + (first >> 7));
  const int t = second & 0x80 ? 50 : 30;
  for (uint64_t j = 0; j < c.tensor.rows; ++j) {
    c.side.row_step.push_back(static_cast<int16_t>(j));
    c.side.row_table.push_back(static_cast<int16_t>(t + static_cast<int>(j % 3)));
  }
  c.side.column_step.assign(c.tensor.columns, -20);
  c.side.column_table.assign(c.tensor.columns, 1);
  return c;
}

inline const std::shared_ptr<const StreamTables>& DefaultStreamTables() {
  static const auto tables = std::make_shared<const StreamTables>(DefaultCodec().tables);
  return tables;
}

}  // namespace nwc
