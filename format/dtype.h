// Element types (spec/format.md section 3) and conversions to and from binary32.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "format/bytes.h"
#include "format/host_device.h"

namespace nwc {

enum class DType : uint8_t {
  kBool = 0,
  kU8,
  kI8,
  kF8E5M2,
  kF8E4M3,
  kI16,
  kU16,
  kF16,
  kBF16,
  kI32,
  kU32,
  kF32,
  kF64,
  kI64,
  kU64,
};
inline constexpr int kDTypeCount = 15;

size_t DTypeSize(DType dtype);       // bytes an element
const char* DTypeName(DType dtype);  // as in safetensors: "BF16"
std::optional<DType> DTypeFromName(std::string_view name);

// F16, BF16 and F32: what `exact` and `stream` apply to.
bool IsCodedFloat(DType dtype);

// IEEE 754 conversions, nearest, ties to even. Bit patterns stand for the 16-bit types.
NWC_HOST_DEVICE inline uint16_t FloatToHalf(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint32_t sign = (bits >> 16) & 0x8000;
  const uint32_t magnitude = bits & 0x7FFFFFFF;
  if (magnitude > 0x7F800000) {  // NaN stays a (quiet) NaN
    return static_cast<uint16_t>(sign | 0x7E00 | ((magnitude >> 13) & 0x3FF));
  }
  if (magnitude >= 0x477FF000) return static_cast<uint16_t>(sign | 0x7C00);  // rounds to ∞
  if (magnitude < 0x38800000) {  // subnormal half: let float addition do the rounding
    const float shifted = std::bit_cast<float>(magnitude) + 0.5f;
    return static_cast<uint16_t>(sign | (std::bit_cast<uint32_t>(shifted) - 0x3F000000));
  }
  const uint32_t rounded = magnitude + 0xFFF + ((magnitude >> 13) & 1);
  return static_cast<uint16_t>(sign | ((rounded - 0x38000000) >> 13));
}
float HalfToFloat(uint16_t bits);
// Finite or infinite input.
NWC_HOST_DEVICE inline uint16_t FloatToBFloat16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  return static_cast<uint16_t>((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
}
float BFloat16ToFloat(uint16_t bits);

// count elements of a coded float dtype, from or to binary32. Buffers do not overlap.
void ToFloat(DType dtype, const uint8_t* source, size_t count, float* out);
void FromFloat(DType dtype, const float* source, size_t count, uint8_t* out);

// Any of F16, BF16, F32, F64 and the integers as a double, for comparing files.
double ElementAsDouble(DType dtype, const uint8_t* element);

}  // namespace nwc
