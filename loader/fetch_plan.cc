#include "loader/fetch_plan.h"

#include <algorithm>
#include <string>
#include <utility>

namespace nwc {
namespace {

// Ranges of files that share at most a block with their neighbours: no overflow.
void SumReads(FetchPlan* plan) {
  plan->total_bytes = plan->largest_read_bytes = 0;
  for (size_t i = 0; i < plan->reads.size(); ++i) {
    const uint64_t bytes = plan->reads[i].size_bytes;
    plan->total_bytes += bytes;
    if (bytes > plan->largest_read_bytes) {
      plan->largest_read_bytes = bytes;
      plan->largest_read = i;
    }
  }
}

class PlanBuilder {
 public:
  PlanBuilder(uint64_t read_limit_bytes, uint64_t gap_bytes)
      : limit_(read_limit_bytes), gap_(gap_bytes) {}

  // The next extent. Those of one tensor ascend.
  Status Add(size_t tensor, size_t chunk, uint64_t offset, uint64_t size_bytes) {
    const auto end = CheckedAdd(offset, size_bytes);
    const bool same_tensor = !plan_.pieces.empty() && plan_.pieces.back().tensor == tensor;
    if (!end || (same_tensor && offset < end_)) {
      return Status(ErrorCode::kInternal, "an extent of a validated index is out of order");
    }
    if (!Joins(offset, *end)) Begin(offset);
    FetchRead& read = plan_.reads.back();
    plan_.pieces.push_back({tensor, chunk, offset - read.offset, size_bytes});
    read.size_bytes = *end - read.offset;
    read.piece_end = plan_.pieces.size();
    end_ = *end;
    return {};
  }

  FetchPlan Finish(std::vector<TensorRequest> requests) && {
    plan_.requests = std::move(requests);
    SumReads(&plan_);
    return std::move(plan_);
  }

 private:
  [[nodiscard]] bool Joins(uint64_t offset, uint64_t end) const {
    return !plan_.reads.empty() && offset >= end_ && offset - end_ <= gap_ &&
           end - plan_.reads.back().offset <= limit_;
  }

  void Begin(uint64_t offset) {
    FetchRead read;
    read.offset = offset;
    read.piece_begin = plan_.pieces.size();
    plan_.reads.push_back(read);
  }

  uint64_t limit_;
  uint64_t gap_;
  uint64_t end_ = 0;  // of the extent before
  FetchPlan plan_;
};

// The chunks that `slice`, a resolved one, touches.
Status AddChunks(const TensorInfo& tensor, size_t position, const TensorSlice& slice,
                 PlanBuilder* builder) {
  const uint64_t across = tensor.grid_columns();
  for (uint64_t r = slice.row_begin / tensor.tile_rows; r * tensor.tile_rows < slice.row_end; ++r) {
    for (uint64_t c = slice.column_begin / tensor.tile_columns;
         c * tensor.tile_columns < slice.column_end; ++c) {
      const size_t number = r * across + c;
      const Chunk& chunk = tensor.chunks[number];
      NWC_RETURN_IF_ERROR(builder->Add(position, number, chunk.offset, chunk.size));
    }
  }
  return {};
}

}  // namespace

Result<FetchPlan> PlanFetch(const Index& index, std::span<const TensorRequest> requests,
                            uint64_t read_limit_bytes, uint64_t gap_bytes) {
  NWC_ASSIGN_OR_RETURN(auto resolved, ResolveRequests(index, requests));
  PlanBuilder builder(read_limit_bytes, gap_bytes);
  for (size_t i = 0; i < resolved.size(); ++i) {
    const TensorInfo& tensor = index.tensors[resolved[i].number];
    if (const Extent* side = tensor.side(); side != nullptr) {
      NWC_RETURN_IF_ERROR(builder.Add(i, FetchPiece::kSideInfo, side->offset, side->size));
    }
    NWC_RETURN_IF_ERROR(AddChunks(tensor, i, resolved[i].slice, &builder));
  }
  return std::move(builder).Finish(std::move(resolved));
}

void AlignReads(uint64_t block_bytes, uint64_t file_bytes, uint64_t read_limit_bytes,
                FetchPlan* plan) {
  for (FetchRead& read : plan->reads) {
    const uint64_t begin = read.offset / block_bytes * block_bytes;
    const uint64_t end = std::min(AlignUp(read.offset + read.size_bytes, block_bytes), file_bytes);
    if (read.size_bytes == 0 || end - begin > read_limit_bytes) continue;
    for (size_t p = read.piece_begin; p < read.piece_end; ++p) {
      plan->pieces[p].read_offset += read.offset - begin;
    }
    read.offset = begin;
    read.size_bytes = end - begin;
  }
  SumReads(plan);
}

void AppendPlan(const FetchPlan& next, size_t part, FetchPlan* plan) {
  plan->total_bytes += next.total_bytes;
  if (next.largest_read_bytes > plan->largest_read_bytes) {
    plan->largest_read_bytes = next.largest_read_bytes;
    plan->largest_read = plan->reads.size() + next.largest_read;
  }
  const size_t first_piece = plan->pieces.size(), first_request = plan->requests.size();
  plan->requests.insert(plan->requests.end(), next.requests.begin(), next.requests.end());
  for (FetchPiece piece : next.pieces) {
    piece.tensor += first_request;
    plan->pieces.push_back(piece);
  }
  for (FetchRead read : next.reads) {
    read.part = part;
    read.piece_begin += first_piece;
    read.piece_end += first_piece;
    plan->reads.push_back(read);
  }
}

}  // namespace nwc
