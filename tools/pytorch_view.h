// Which bytes of a storage a tensor is made of. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "format/status.h"
#include "tools/pytorch_pickle.h"

namespace nwc {

struct PickledStorage {
  std::string key;
  std::optional<DType> dtype;  // nothing: untyped bytes
  uint64_t bytes = 0;
};

// The tensor without a name; offset and strides count elements. kCorrupt where it leaves its
// storage; kUnsupported where it has more elements than that or is too large for a container.
Result<PickledTensor> ViewStorage(const PickledStorage& storage, uint64_t offset,
                                  std::vector<uint64_t> shape, std::vector<uint64_t> strides);

}  // namespace nwc
