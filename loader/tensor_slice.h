// Which part of a tensor is wanted, or held: ranges of rows and columns of its matrix view
// (TensorInfo::rows and columns; dimension 0 by all others where there are two or more). Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "format/index.h"
#include "format/status.h"

namespace nwc {

// Half-open ranges in elements. Left as it is: the whole tensor.
struct TensorSlice {
  static constexpr uint64_t kEnd = UINT64_MAX;  // as an end: up to the last one

  uint64_t row_begin = 0, row_end = kEnd;
  uint64_t column_begin = 0, column_end = kEnd;

  // Of a slice without kEnd.
  [[nodiscard]] uint64_t rows() const { return row_end - row_begin; }
  [[nodiscard]] uint64_t columns() const { return column_end - column_begin; }
  [[nodiscard]] uint64_t weights() const { return rows() * columns(); }
  bool operator==(const TensorSlice&) const = default;
};

struct TensorRequest {
  size_t number = 0;  // position in the index
  TensorSlice slice = {};
};

// All of a tensor, without kEnd; empty only for an empty tensor.
TensorSlice WholeSlice(const TensorInfo& tensor);

// `slice` with kEnd replaced. kUsage, naming tensor, shape and slice, when it is empty (and the
// tensor is not) or outside the tensor.
Result<TensorSlice> ResolveSlice(const TensorInfo& tensor, const TensorSlice& slice);

// The same requests with resolved slices. Numbers that are unknown or come twice are kUsage,
// tensors of a profile this build does not know kUnsupported.
Result<std::vector<TensorRequest>> ResolveRequests(const Index& index,
                                                   std::span<const TensorRequest> requests);

}  // namespace nwc
