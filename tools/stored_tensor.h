// A tensor as it lies in a file of weights, whatever the file's format.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "format/dtype.h"
#include "format/status.h"
#include "tools/read_at.h"

namespace nwc {

struct StoredTensor {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<uint64_t> shape;
  uint64_t begin = 0, end = 0;    // bytes of the file that hold all its elements
  std::vector<uint64_t> strides;  // elements, one a dimension; empty: row-major without gaps
  std::optional<uint32_t> crc32;  // of the bytes from begin to end
};

// Bytes of the tensor itself: fewer than end - begin when it leaves some out. Nothing when a
// dimension or their product is beyond what a container holds (spec/format.md R10).
std::optional<uint64_t> StoredBytes(DType dtype, const std::vector<uint64_t>& shape);

// kUnsupported for a name that a container cannot hold (spec/format.md R9).
Status CheckTensorName(const std::string& name);

// Row-major into `destination`, which has StoredBytes. Strides must stay within begin and end; with
// them it has all bytes from begin to end in memory while it runs. A wrong CRC is kCorrupt.
Status ReadStored(const ReadAt& read, const StoredTensor& tensor, MutableByteSpan destination);

}  // namespace nwc
