// A checkpoint as the encoder sees it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "format/index.h"
#include "format/status.h"

namespace nwc {

struct SourceTensor {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<uint64_t> shape;
  uint16_t shard = 0;  // position in TensorSource::shards()
};

struct SourceFile {
  std::string name;
  std::vector<uint8_t> content;
};

// A checkpoint. Read may be called from many threads at once.
class TensorSource {
 public:
  virtual ~TensorSource() = default;
  [[nodiscard]] virtual const std::vector<SourceTensor>& tensors() const = 0;
  [[nodiscard]] virtual const std::vector<ShardInfo>& shards() const = 0;
  // Whole tensor, row-major, little-endian; destination has exactly its size.
  virtual Status Read(size_t tensor, MutableByteSpan destination) const = 0;
};

}  // namespace nwc
