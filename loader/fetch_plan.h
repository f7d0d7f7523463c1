// Which byte ranges to read for a set of tensors, in file order. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "format/index.h"
#include "format/status.h"

namespace nwc {

// Side information or one chunk of a tensor, inside the read that brings it.
struct FetchPiece {
  static constexpr size_t kSideInfo = SIZE_MAX;

  size_t tensor = 0;         // position in the list of wanted tensors
  size_t chunk = 0;          // chunk number, or kSideInfo
  uint64_t read_offset = 0;  // bytes from the start of the read
  uint64_t size_bytes = 0;
};

struct FetchRead {
  uint64_t offset = 0;                    // bytes from the start of the file
  uint64_t size_bytes = 0;                // 0 only for empty side information that stands alone
  size_t piece_begin = 0, piece_end = 0;  // in FetchPlan::pieces
};

// Reads ascend and do not overlap; pieces are in file order, so a tensor's side information comes
// before its chunks.
struct FetchPlan {
  std::vector<FetchRead> reads;
  std::vector<FetchPiece> pieces;
  uint64_t total_bytes = 0;  // of all reads
  uint64_t largest_read_bytes = 0;
  size_t largest_read = 0;  // position in reads
};

// `numbers` are positions in the index, ascending, each once (else kUsage); tensors of an unknown
// profile are kUnsupported. Extents less than 4096 bytes apart share a read of at most
// `read_limit_bytes`; a larger extent is a read by itself.
Result<FetchPlan> PlanFetch(const Index& index, std::span<const size_t> numbers,
                            uint64_t read_limit_bytes);

}  // namespace nwc
