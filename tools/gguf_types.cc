#include "tools/gguf_types.h"

#include <array>
#include <string_view>

#include "tools/display.h"

namespace nwc {
namespace {

constexpr size_t kMaxGgufName = 63;  // bytes
constexpr size_t kMaxGgufDimensions = 4;

// By number, as in ggml.h; numbers without a name are unused.
constexpr std::array<std::string_view, 40> kNames = {
    "F32",     "F16",    "Q4_0",    "Q4_1",  "",       "",      "Q5_0",  "Q5_1",
    "Q8_0",    "Q8_1",   "Q2_K",    "Q3_K",  "Q4_K",   "Q5_K",  "Q6_K",  "Q8_K",
    "IQ2_XXS", "IQ2_XS", "IQ3_XXS", "IQ1_S", "IQ4_NL", "IQ3_S", "IQ2_S", "IQ4_XS",
    "I8",      "I16",    "I32",     "I64",   "F64",    "IQ1_M", "BF16",  "",
    "",        "",       "TQ1_0",   "TQ2_0", "",       "",      "",      "MXFP4"};

struct Type {
  uint32_t number;
  DType dtype;
};
constexpr std::array<Type, 8> kTypes = {{{0, DType::kF32},
                                         {1, DType::kF16},
                                         {24, DType::kI8},
                                         {25, DType::kI16},
                                         {26, DType::kI32},
                                         {27, DType::kI64},
                                         {28, DType::kF64},
                                         {30, DType::kBF16}}};

}  // namespace

std::optional<DType> DTypeOfGguf(uint32_t type) {
  for (const Type& t : kTypes) {
    if (t.number == type) return t.dtype;
  }
  return std::nullopt;
}

std::optional<uint32_t> GgufTypeOf(DType dtype) {
  for (const Type& t : kTypes) {
    if (t.dtype == dtype) return t.number;
  }
  return std::nullopt;
}

std::string GgufTypeName(uint32_t type) {
  if (type < kNames.size() && !kNames[type].empty()) return std::string(kNames[type]);
  return "number " + std::to_string(type);
}

Status CheckForGguf(const StoredTensor& tensor) {
  const auto fail = [&](const std::string& what) {
    return Status(ErrorCode::kUnsupported, "tensor " + Quote(tensor.name) + ": " + what +
                                               "; unpack with --format safetensors");
  };
  if (!GgufTypeOf(tensor.dtype)) {
    return fail(std::string("GGUF has no dtype ") + DTypeName(tensor.dtype));
  }
  if (tensor.name.size() > kMaxGgufName) {
    return fail("the name has " + std::to_string(tensor.name.size()) +
                " bytes, GGUF allows at most " + std::to_string(kMaxGgufName));
  }
  if (tensor.shape.size() > kMaxGgufDimensions) {
    return fail("has " + std::to_string(tensor.shape.size()) + " dimensions, GGUF allows at most " +
                std::to_string(kMaxGgufDimensions));
  }
  return {};
}

}  // namespace nwc
