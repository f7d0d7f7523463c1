#include "format/dtype.h"

#include <gtest/gtest.h>
#include <immintrin.h>

#include <bit>
#include <cmath>
#include <random>

#include "format/stream_codec.h"

namespace nwc {
namespace {

TEST(DType, NamesRoundTrip) {
  for (int i = 0; i < kDTypeCount; ++i) {
    const auto dtype = static_cast<DType>(i);
    EXPECT_EQ(DTypeFromName(DTypeName(dtype)), dtype);
  }
  EXPECT_FALSE(DTypeFromName("F128").has_value());
}

TEST(Half, EveryPatternSurvivesTheRoundTrip) {
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    const float value = HalfToFloat(static_cast<uint16_t>(bits));
    if (std::isnan(value)) continue;
    EXPECT_EQ(FloatToHalf(value), bits);
  }
}

__attribute__((target("f16c"))) uint16_t HardwareHalf(float value) {
  return static_cast<uint16_t>(
      _mm_extract_epi16(_mm_cvtps_ph(_mm_set1_ps(value), _MM_FROUND_TO_NEAREST_INT), 0));
}

TEST(Half, RoundsAsTheProcessorDoes) {
  if (BestSimd() == Simd::kScalar) GTEST_SKIP() << "no F16C on this processor";
  std::mt19937 rng(1);
  for (int i = 0; i < 2'000'000; ++i) {
    // Every exponent, and mantissas near the ties.
    const uint32_t bits = (rng() & 0xFFFFE000u) | ((rng() % 3 - 1 + 0x1000) & 0x1FFF);
    const float value = std::bit_cast<float>(i % 2 == 0 ? bits : static_cast<uint32_t>(rng()));
    if (std::isnan(value)) continue;
    ASSERT_EQ(FloatToHalf(value), HardwareHalf(value)) << std::hexfloat << value;
  }
}

TEST(BFloat16, RoundsToNearestEven) {
  EXPECT_EQ(FloatToBFloat16(std::bit_cast<float>(0x3F808000u)), 0x3F80);
  EXPECT_EQ(FloatToBFloat16(std::bit_cast<float>(0x3F818000u)), 0x3F82);
  EXPECT_EQ(FloatToBFloat16(std::bit_cast<float>(0x3F808001u)), 0x3F81);
}

TEST(ElementAsDouble, ReadsEightBitFloats) {
  const uint8_t one_e5m2 = 0x3C, one_e4m3 = 0x38, smallest_e4m3 = 0x01, minus_448 = 0xFE;
  EXPECT_EQ(ElementAsDouble(DType::kF8E5M2, &one_e5m2), 1.0);
  EXPECT_EQ(ElementAsDouble(DType::kF8E4M3, &one_e4m3), 1.0);
  EXPECT_EQ(ElementAsDouble(DType::kF8E4M3, &smallest_e4m3), 0x1p-9);
  EXPECT_EQ(ElementAsDouble(DType::kF8E4M3, &minus_448), -448.0);
}

}  // namespace
}  // namespace nwc
