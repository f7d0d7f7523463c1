#include "tools/pytorch_globals.h"

#include <array>
#include <string>

#include "tools/display.h"

namespace nwc {
namespace {

struct ElementType {
  std::string_view storage;  // empty: has no storage class of its own
  std::string_view dtype;
  DType type;
};

constexpr std::array<ElementType, 15> kElementTypes = {{
    {"FloatStorage", "float32", DType::kF32},
    {"HalfStorage", "float16", DType::kF16},
    {"BFloat16Storage", "bfloat16", DType::kBF16},
    {"DoubleStorage", "float64", DType::kF64},
    {"LongStorage", "int64", DType::kI64},
    {"IntStorage", "int32", DType::kI32},
    {"ShortStorage", "int16", DType::kI16},
    {"CharStorage", "int8", DType::kI8},
    {"ByteStorage", "uint8", DType::kU8},
    {"BoolStorage", "bool", DType::kBool},
    {"", "uint16", DType::kU16},
    {"", "uint32", DType::kU32},
    {"", "uint64", DType::kU64},
    {"", "float8_e4m3fn", DType::kF8E4M3},
    {"", "float8_e5m2", DType::kF8E5M2},
}};

struct Function {
  std::string_view module, name;
  GlobalKind kind;
};

constexpr std::array<Function, 5> kFunctions = {{
    {"collections", "OrderedDict", GlobalKind::kOrderedDict},
    {"torch._utils", "_rebuild_tensor_v2", GlobalKind::kRebuildTensor},
    {"torch._utils", "_rebuild_tensor_v3", GlobalKind::kRebuildTensor3},
    {"torch._utils", "_rebuild_parameter", GlobalKind::kRebuildParameter},
    {"torch.storage", "UntypedStorage", GlobalKind::kStorageType},
}};

}  // namespace

Result<Global> FindGlobal(std::string_view module, std::string_view name) {
  for (const Function& f : kFunctions) {
    if (f.module == module && f.name == name) return Global{f.kind, std::nullopt};
  }
  const bool torch = module == "torch" && !name.empty();
  for (const ElementType& t : kElementTypes) {
    if (torch && t.storage == name) return Global{GlobalKind::kStorageType, t.type};
    if (torch && t.dtype == name) return Global{GlobalKind::kDType, t.type};
  }
  const std::string full = Quote(std::string(module) + "." + std::string(name));
  const bool type = name.ends_with("Storage") || name.starts_with("complex") ||
                    name.starts_with("float") || name.starts_with("q");
  if (torch && type) {
    return Status(ErrorCode::kUnsupported,
                  full +
                      " has no place in a container, expected tensors of floats, integers or "
                      "booleans; convert or leave out the others in Python");
  }
  return Status(ErrorCode::kUnsupported,
                "asks for " + full +
                    ", which a dict of tensors does not need: to load it, the file would run code; "
                    "where you trust it, load it in Python and save its tensors with "
                    "safetensors.torch.save_file");
}

}  // namespace nwc
