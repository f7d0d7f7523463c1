// Which byte ranges to read for tensors or slices of them, in the order of the requests. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "format/index.h"
#include "format/status.h"
#include "loader/tensor_slice.h"

namespace nwc {

// Side information or one chunk of a tensor, inside the read that brings it.
struct FetchPiece {
  static constexpr size_t kSideInfo = SIZE_MAX;

  size_t tensor = 0;         // position in FetchPlan::requests
  size_t chunk = 0;          // chunk number, or kSideInfo
  uint64_t read_offset = 0;  // bytes from the start of the read
  uint64_t size_bytes = 0;
};

struct FetchRead {
  size_t part = 0;                        // which of the joined plans it is of
  uint64_t offset = 0;                    // bytes from the start of the file
  uint64_t size_bytes = 0;                // 0 only for empty side information that stands alone
  size_t piece_begin = 0, piece_end = 0;  // in FetchPlan::pieces
};

// Pieces are in the order of the requests, those of a tensor in file order: its side information
// comes before its chunks. Reads are in the order of their pieces.
struct FetchPlan {
  std::vector<TensorRequest> requests;  // with resolved slices
  std::vector<FetchRead> reads;
  std::vector<FetchPiece> pieces;
  uint64_t total_bytes = 0;  // of all reads
  uint64_t largest_read_bytes = 0;
  size_t largest_read = 0;  // position in reads
};

// Only chunks that a slice touches are wanted; side information is wanted whole. Extents that
// follow each other in the order of the requests and lie at most `gap_bytes` apart share a read of
// at most `read_limit_bytes`; a larger extent is a read by itself. Errors are those of
// ResolveRequests.
Result<FetchPlan> PlanFetch(const Index& index, std::span<const TensorRequest> requests,
                            uint64_t read_limit_bytes, uint64_t gap_bytes = kMaxGapBytes);

// Widens reads to whole blocks of `block_bytes`, as far as the file has them; those that would have
// more than `read_limit_bytes` then, and empty ones, stay as they are.
void AlignReads(uint64_t block_bytes, uint64_t file_bytes, uint64_t read_limit_bytes,
                FetchPlan* plan);

// Puts the reads of `next`, of another file or of the same, behind those of *plan, as its part
// number `part`. Requests keep their numbers.
void AppendPlan(const FetchPlan& next, size_t part, FetchPlan* plan);

}  // namespace nwc
