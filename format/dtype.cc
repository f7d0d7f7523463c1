#include "format/dtype.h"

#include <array>
#include <bit>
#include <cassert>

namespace nwc {
namespace {

struct DTypeFacts {
  const char* name;
  size_t size;
};
constexpr std::array<DTypeFacts, kDTypeCount> kFacts = {{{"BOOL", 1},
                                                         {"U8", 1},
                                                         {"I8", 1},
                                                         {"F8_E5M2", 1},
                                                         {"F8_E4M3", 1},
                                                         {"I16", 2},
                                                         {"U16", 2},
                                                         {"F16", 2},
                                                         {"BF16", 2},
                                                         {"I32", 4},
                                                         {"U32", 4},
                                                         {"F32", 4},
                                                         {"F64", 8},
                                                         {"I64", 8},
                                                         {"U64", 8}}};

// FP8 as binary32: E5M2 is the top byte of a half; E4M3 has no infinity, one NaN, bias 7.
float Float8E4M3ToFloat(uint8_t bits) {
  const int exponent = (bits >> 3) & 15;
  const int mantissa = bits & 7;
  float magnitude;
  if (exponent == 15 && mantissa == 7) {
    magnitude = std::bit_cast<float>(0x7FC00000u);
  } else if (exponent == 0) {
    magnitude = static_cast<float>(mantissa) * 0x1p-9f;
  } else {
    magnitude = std::bit_cast<float>(static_cast<uint32_t>(exponent + 120) << 23 |
                                     static_cast<uint32_t>(mantissa) << 20);
  }
  return (bits & 0x80) != 0 ? -magnitude : magnitude;
}

}  // namespace

size_t DTypeSize(DType dtype) { return kFacts[static_cast<size_t>(dtype)].size; }

const char* DTypeName(DType dtype) { return kFacts[static_cast<size_t>(dtype)].name; }

std::optional<DType> DTypeFromName(std::string_view name) {
  for (size_t i = 0; i < kFacts.size(); ++i) {
    if (name == kFacts[i].name) return static_cast<DType>(i);
  }
  return std::nullopt;
}

bool IsCodedFloat(DType dtype) {
  return dtype == DType::kF16 || dtype == DType::kBF16 || dtype == DType::kF32;
}

float HalfToFloat(uint16_t half) {
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000) << 16;
  const uint32_t exponent = (half >> 10) & 31;
  const uint32_t mantissa = half & 0x3FF;
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7F800000 | (mantissa << 13));
  if (exponent == 0) {
    const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
    return sign != 0 ? -magnitude : magnitude;
  }
  return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (mantissa << 13));
}

float BFloat16ToFloat(uint16_t bits) {
  return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}

void ToFloat(DType dtype, const uint8_t* source, size_t count, float* out) {
  assert(IsCodedFloat(dtype));
  if (dtype == DType::kF32) {
    if (count != 0) std::memcpy(out, source, count * sizeof(float));
    return;
  }
  const bool half = dtype == DType::kF16;
  for (size_t i = 0; i < count; ++i) {
    const auto bits = LoadLittle<uint16_t>(source + 2 * i);
    out[i] = half ? HalfToFloat(bits) : BFloat16ToFloat(bits);
  }
}

void FromFloat(DType dtype, const float* source, size_t count, uint8_t* out) {
  assert(IsCodedFloat(dtype));
  if (dtype == DType::kF32) {
    if (count != 0) std::memcpy(out, source, count * sizeof(float));
    return;
  }
  const bool half = dtype == DType::kF16;
  for (size_t i = 0; i < count; ++i) {
    StoreLittle(out + 2 * i, half ? FloatToHalf(source[i]) : FloatToBFloat16(source[i]));
  }
}

double ElementAsDouble(DType dtype, const uint8_t* p) {
  switch (dtype) {
    case DType::kBool:
    case DType::kU8:
      return *p;
    case DType::kI8:
      return static_cast<int8_t>(*p);
    case DType::kF8E5M2:
      return HalfToFloat(static_cast<uint16_t>(*p << 8));
    case DType::kF8E4M3:
      return Float8E4M3ToFloat(*p);
    case DType::kI16:
      return LoadLittle<int16_t>(p);
    case DType::kU16:
      return LoadLittle<uint16_t>(p);
    case DType::kF16:
      return HalfToFloat(LoadLittle<uint16_t>(p));
    case DType::kBF16:
      return BFloat16ToFloat(LoadLittle<uint16_t>(p));
    case DType::kI32:
      return LoadLittle<int32_t>(p);
    case DType::kU32:
      return LoadLittle<uint32_t>(p);
    case DType::kF32:
      return LoadLittle<float>(p);
    case DType::kF64:
      return LoadLittle<double>(p);
    case DType::kI64:
      return static_cast<double>(LoadLittle<int64_t>(p));
    case DType::kU64:
      return static_cast<double>(LoadLittle<uint64_t>(p));
  }
  return 0;
}

}  // namespace nwc
