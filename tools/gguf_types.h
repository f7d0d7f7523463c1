// Element types of GGUF files and ours.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "format/dtype.h"
#include "format/status.h"
#include "tools/stored_tensor.h"

namespace nwc {

// Nothing for quantised and unknown types.
std::optional<DType> DTypeOfGguf(uint32_t type);
// Nothing for dtypes that GGUF does not have.
std::optional<uint32_t> GgufTypeOf(DType dtype);
// "Q4_0"; "number 99" where the name is not known.
std::string GgufTypeName(uint32_t type);

// kUnsupported, naming the tensor, for a name, shape or dtype that llama.cpp would refuse.
Status CheckForGguf(const StoredTensor& tensor);

}  // namespace nwc
