// The functions and classes that the pickle of a dict of tensors may name.
#pragma once

#include <optional>
#include <string_view>

#include "format/dtype.h"
#include "format/status.h"

namespace nwc {

enum class GlobalKind : uint8_t {
  kOrderedDict,       // collections.OrderedDict()
  kRebuildTensor,     // torch._utils._rebuild_tensor_v2(storage, offset, size, stride, ...)
  kRebuildTensor3,    // torch._utils._rebuild_tensor_v3(the same, then dtype)
  kRebuildParameter,  // torch._utils._rebuild_parameter(tensor, ...)
  kStorageType,       // torch.FloatStorage: elements of `dtype`; UntypedStorage: nothing, bytes
  kDType,             // torch.float32: `dtype`
};

struct Global {
  GlobalKind kind;
  std::optional<DType> dtype;
};

// kUnsupported, naming it, for any other.
Result<Global> FindGlobal(std::string_view module, std::string_view name);

}  // namespace nwc
