#include "loader/fetch_plan.h"

#include <string>

namespace nwc {
namespace {

class PlanBuilder {
 public:
  explicit PlanBuilder(uint64_t read_limit_bytes) : limit_(read_limit_bytes) {}

  // The next extent in file order.
  Status Add(size_t tensor, size_t chunk, uint64_t offset, uint64_t size_bytes) {
    const auto end = CheckedAdd(offset, size_bytes);
    if (!end || offset < end_) {
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

  FetchPlan Finish() && {
    for (size_t i = 0; i < plan_.reads.size(); ++i) {
      const uint64_t bytes = plan_.reads[i].size_bytes;
      plan_.total_bytes += bytes;  // disjoint ranges of one file: no overflow
      if (bytes > plan_.largest_read_bytes) {
        plan_.largest_read_bytes = bytes;
        plan_.largest_read = i;
      }
    }
    return std::move(plan_);
  }

 private:
  [[nodiscard]] bool Joins(uint64_t offset, uint64_t end) const {
    return !plan_.reads.empty() && offset - end_ <= kMaxGapBytes &&
           end - plan_.reads.back().offset <= limit_;
  }

  void Begin(uint64_t offset) {
    FetchRead read;
    read.offset = offset;
    read.piece_begin = plan_.pieces.size();
    plan_.reads.push_back(read);
  }

  uint64_t limit_;
  uint64_t end_ = 0;
  FetchPlan plan_;
};

Status CheckNumbers(const Index& index, std::span<const size_t> numbers) {
  for (size_t i = 0; i < numbers.size(); ++i) {
    if (numbers[i] >= index.tensors.size()) {
      return Status(ErrorCode::kUsage, "tensor number " + std::to_string(numbers[i]) +
                                           " of a file with " +
                                           std::to_string(index.tensors.size()) + " tensors");
    }
    if (i != 0 && numbers[i] <= numbers[i - 1]) {
      return Status(ErrorCode::kUsage, "tensor numbers must ascend, each once");
    }
    const TensorInfo& tensor = index.tensors[numbers[i]];
    if (!tensor.supported()) {
      return Status(ErrorCode::kUnsupported, "tensor '" + tensor.name + "' has profile " +
                                                 std::to_string(tensor.profile_value) +
                                                 ", which this build does not know: update nwc");
    }
  }
  return {};
}

}  // namespace

Result<FetchPlan> PlanFetch(const Index& index, std::span<const size_t> numbers,
                            uint64_t read_limit_bytes) {
  NWC_RETURN_IF_ERROR(CheckNumbers(index, numbers));
  PlanBuilder builder(read_limit_bytes);
  for (size_t i = 0; i < numbers.size(); ++i) {
    const TensorInfo& tensor = index.tensors[numbers[i]];
    if (const Extent* side = tensor.side(); side != nullptr) {
      NWC_RETURN_IF_ERROR(builder.Add(i, FetchPiece::kSideInfo, side->offset, side->size));
    }
    for (size_t c = 0; c < tensor.chunks.size(); ++c) {
      NWC_RETURN_IF_ERROR(builder.Add(i, c, tensor.chunks[c].offset, tensor.chunks[c].size));
    }
  }
  return std::move(builder).Finish();
}

}  // namespace nwc
