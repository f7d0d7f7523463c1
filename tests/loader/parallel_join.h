// A tensor put together again from what the ranks of a tensor-parallel group load. For tests.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "loader/tensor_parallel.h"
#include "tests/loader/slice_support.h"

namespace nwc {

// Adds to *touched_bytes what the ranks may read for it, all together.
inline std::vector<uint8_t> JoinedRanks(const Loader& loader, size_t number, size_t world,
                                        uint64_t* touched_bytes) {
  const TensorInfo& info = loader.index().tensors[number];
  const auto kind = ParallelKindOf(info.name);
  EXPECT_TRUE(kind.ok()) << kind.status().ToString();
  const size_t size = DTypeSize(info.dtype);
  std::vector<uint8_t> joined(info.decoded_bytes());
  uint64_t weights = 0;
  for (size_t rank = 0; rank < world; ++rank) {
    const auto slice = SliceOf(info, {rank, world}, *kind);
    EXPECT_TRUE(slice.ok()) << slice.status().ToString();
    const auto part = loader.Load(number, *slice);
    EXPECT_TRUE(part.ok()) << part.status().ToString();
    const uint8_t* from = part->bytes.data();
    for (uint64_t row = slice->row_begin; row < slice->row_end; ++row) {
      std::copy_n(from, slice->columns() * size,
                  &joined[(row * info.columns + slice->column_begin) * size]);
      from += slice->columns() * size;
    }
    weights += slice->weights();
    *touched_bytes += TouchedBytes(info, *slice);
  }
  EXPECT_EQ(weights, info.weights() * (*kind == ParallelKind::kReplicated ? world : 1));
  return joined;
}

}  // namespace nwc
