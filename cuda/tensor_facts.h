// What a device needs to know of the rows and columns of a tensor, out of its side information.
#pragma once

#include <vector>

#include "format/format.h"
#include "format/stream_chunk.h"

namespace nwc {

// Which tables a chunk meets, or what the codes of some rows or columns add to that.
struct TableReach {
  TableSpan span;
  int middle = 0;  // a mean: most look-ups are near it
};

struct TensorFacts {
  // For the device. stream: LineFacts of the rows, then of the columns. nwc: the columns' factors,
  // as float, then their qualities, as bytes. Other profiles have none.
  std::vector<uint8_t> bytes;
  // stream: of the table codes of each row, and column, of tiles.
  std::vector<TableReach> row_reach, column_reach;
};

// Size of `bytes`.
uint64_t FactBytes(const TensorInfo& tensor);

// `side`: as stored; its hash is checked (R21), then its form (R22). `qualities`: of an nwc
// tensor's codec. Any thread.
Result<TensorFacts> ParseTensorFacts(const TensorInfo& tensor, ByteSpan side, int qualities);

}  // namespace nwc
