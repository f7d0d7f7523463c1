// From index to value: the arithmetic that must be the same everywhere (spec/codec.md section 5).
#pragma once

#include <array>
#include <bit>
#include <cmath>
#include <cstdint>

#include "format/host_device.h"

namespace nwc {

inline constexpr int kMinStepCode = -512;
inline constexpr int kMaxStepCode = 511;
inline constexpr int kStepCodesPerOctave = 8;
inline constexpr int kOffsetUnit = 64;  // reconstruction offsets count 64ths of a step

inline constexpr std::array<uint32_t, 8> kStepMantissa = {
    0x3F800000, 0x3F8B95C2, 0x3F9837F0, 0x3FA5FED7, 0x3FB504F3, 0x3FC5672A, 0x3FD744FD, 0x3FEAC0C7};

// step(code), kMinStepCode ≤ code ≤ kMaxStepCode; exact.
inline float StepOfCode(int code) {
  const uint32_t mantissa = kStepMantissa[static_cast<size_t>(code & 7)];
  return std::bit_cast<float>(mantissa + (static_cast<uint32_t>(code >> 3) << 23));
}

// What a row's step is multiplied by, kMinStepCode ≤ gain ≤ kMaxStepCode: 0.5 … 1.499; exact.
inline float GainFactor(int gain) { return 1.0f + static_cast<float>(gain) * 0x1p-10f; }

// row_j of the spec.
inline float RowStep(int code, int gain) { return StepOfCode(code) * GainFactor(gain); }

// column_i of the spec: what an integer n is first multiplied by.
inline float ColumnFactor(float scale, int column_code) {
  return (scale * StepOfCode(column_code)) * (1.0f / kOffsetUnit);
}

// n of the spec: index k of quantiser q in 64ths of a step.
NWC_HOST_DEVICE inline int ReconstructionLevel(int k, int q, int offset1, int offset2) {
  if (k == 0) return 0;
  const int magnitude = k < 0 ? -k : k;
  const int level = (2 * magnitude - q) * kOffsetUnit - (magnitude == 1 ? offset1 : offset2);
  return k < 0 ? -level : level;
}

NWC_HOST_DEVICE inline float Reconstruct(int level, float column_factor, float row_step) {
  return (static_cast<float>(level) * column_factor) * row_step;
}

}  // namespace nwc
