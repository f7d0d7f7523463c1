#include "loader/tensor_slice.h"

#include <string>

namespace nwc {
namespace {

std::string ShapeText(const std::vector<uint64_t>& shape) {
  std::string text = "[";
  for (const uint64_t d : shape) text += (text.size() > 1 ? ", " : "") + std::to_string(d);
  return text + "]";
}

std::string RangeText(uint64_t begin, uint64_t end) {
  return std::to_string(begin) + ".." + std::to_string(end);
}

bool IsPart(uint64_t begin, uint64_t end, uint64_t size) { return begin < end && end <= size; }

}  // namespace

TensorSlice WholeSlice(const TensorInfo& tensor) { return {0, tensor.rows, 0, tensor.columns}; }

Result<TensorSlice> ResolveSlice(const TensorInfo& tensor, const TensorSlice& slice) {
  TensorSlice resolved = slice;
  if (resolved.row_end == TensorSlice::kEnd) resolved.row_end = tensor.rows;
  if (resolved.column_end == TensorSlice::kEnd) resolved.column_end = tensor.columns;
  if (resolved == WholeSlice(tensor)) return resolved;
  if (IsPart(resolved.row_begin, resolved.row_end, tensor.rows) &&
      IsPart(resolved.column_begin, resolved.column_end, tensor.columns)) {
    return resolved;
  }
  return Status(ErrorCode::kUsage,
                "tensor '" + tensor.name + "' of shape " + ShapeText(tensor.shape) + " has " +
                    std::to_string(tensor.rows) + " rows and " + std::to_string(tensor.columns) +
                    " columns, asked for rows " + RangeText(resolved.row_begin, resolved.row_end) +
                    " and columns " + RangeText(resolved.column_begin, resolved.column_end) +
                    ": expected half-open ranges inside it that are not empty");
}

Result<std::vector<TensorRequest>> ResolveRequests(const Index& index,
                                                   std::span<const TensorRequest> requests) {
  std::vector<TensorRequest> resolved;
  resolved.reserve(requests.size());
  std::vector<bool> seen(index.tensors.size());
  for (const TensorRequest& request : requests) {
    if (request.number >= index.tensors.size()) {
      return Status(ErrorCode::kUsage, "tensor number " + std::to_string(request.number) +
                                           " of a file with " +
                                           std::to_string(index.tensors.size()) + " tensors");
    }
    const TensorInfo& tensor = index.tensors[request.number];
    if (seen[request.number]) {
      return Status(ErrorCode::kUsage,
                    "tensor '" + tensor.name + "' is asked for twice: expected each tensor once");
    }
    seen[request.number] = true;
    if (!tensor.supported()) {
      return Status(ErrorCode::kUnsupported, "tensor '" + tensor.name + "' has profile " +
                                                 std::to_string(tensor.profile_value) +
                                                 ", which this build does not know: update nwc");
    }
    NWC_ASSIGN_OR_RETURN(const TensorSlice slice, ResolveSlice(tensor, request.slice));
    resolved.push_back({request.number, slice});
  }
  return resolved;
}

}  // namespace nwc
