// What torch.save pickled: a dict of tensors by name. Reads the part of the pickle language that
// such a dict needs and runs nothing: where a file asks for any other function it is refused.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "format/dtype.h"
#include "format/status.h"

namespace nwc {

// A view of a storage, which is an entry of the zip file of its own. Several may share one.
struct PickledTensor {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<uint64_t> shape;
  std::vector<uint64_t> strides;  // elements; empty: row-major without gaps
  uint64_t begin = 0, end = 0;    // bytes of the storage; within storage_bytes
  std::string storage;            // its key
  uint64_t storage_bytes = 0;
};

inline constexpr uint64_t kMaxPickle = 64ull << 20;  // bytes

// The content of data.pkl: a state dict, in its order. kUnsupported, naming it, for any function or
// class that is not torch.save's for tensors, for values that are no tensors and for names, shapes
// and types that a container cannot hold. A tensor has no more elements than its storage.
Result<std::vector<PickledTensor>> ParseStateDict(ByteSpan pickle);

}  // namespace nwc
