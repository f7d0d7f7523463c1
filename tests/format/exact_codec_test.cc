#include "format/exact_codec.h"

#include <gtest/gtest.h>

#include <random>

#include "format/dtype.h"

namespace nwc {
namespace {

constexpr DType kCoded[] = {DType::kF16, DType::kBF16, DType::kF32};

std::vector<uint8_t> GaussianElements(DType dtype, size_t n, uint32_t seed) {
  std::mt19937 rng(seed);
  std::normal_distribution<float> d(0, 0.04f);
  std::vector<float> values(n);
  for (auto& v : values) v = d(rng);
  std::vector<uint8_t> bytes(n * DTypeSize(dtype));
  FromFloat(dtype, values.data(), n, bytes.data());
  return bytes;
}

void ExpectRoundTrip(const std::vector<uint8_t>& elements, DType dtype) {
  const auto chunk = EncodeExactChunk(elements, dtype);
  for (const Simd simd : UsableSimds()) {
    std::vector<uint8_t> out(elements.size(), 0xAA);
    const Status status = DecodeExactChunk(chunk, dtype, out, simd);
    ASSERT_TRUE(status.ok()) << status.ToString() << " " << SimdName(simd);
    ASSERT_EQ(out, elements) << DTypeName(dtype) << " " << SimdName(simd);
  }
}

TEST(ExactCodec, RoundTripsEveryLength) {
  for (const DType dtype : kCoded) {
    for (size_t n = 1; n < 140; ++n) ExpectRoundTrip(GaussianElements(dtype, n, 1), dtype);
    ExpectRoundTrip(GaussianElements(dtype, 131072, 2), dtype);
    ExpectRoundTrip(GaussianElements(dtype, 100003, 3), dtype);
  }
}

TEST(ExactCodec, RoundTripsConstantsAndNoise) {
  for (const DType dtype : kCoded) {
    ExpectRoundTrip(std::vector<uint8_t>(4000, 0), dtype);
    ExpectRoundTrip(std::vector<uint8_t>(4000, 0xFF), dtype);  // NaN payloads
    std::mt19937 rng(9);
    std::vector<uint8_t> noise(40000);
    for (auto& b : noise) b = static_cast<uint8_t>(rng());
    ExpectRoundTrip(noise, dtype);
  }
}

TEST(ExactCodec, GaussianWeightsShrinkAsTheirExponentsAllow) {
  const size_t n = 131072;
  EXPECT_LT(static_cast<double>(
                EncodeExactChunk(GaussianElements(DType::kBF16, n, 4), DType::kBF16).size()),
            0.67 * 2 * n);
  EXPECT_LT(static_cast<double>(
                EncodeExactChunk(GaussianElements(DType::kF32, n, 4), DType::kF32).size()),
            0.84 * 4 * n);
  EXPECT_LT(static_cast<double>(
                EncodeExactChunk(GaussianElements(DType::kF16, n, 4), DType::kF16).size()),
            0.87 * 2 * n);
}

TEST(ExactCodec, TruncationsAndFlipsNeverCrash) {
  const auto elements = GaussianElements(DType::kBF16, 75, 5);
  const auto chunk = EncodeExactChunk(elements, DType::kBF16);
  for (const Simd simd : UsableSimds()) {
    std::vector<uint8_t> out(elements.size());
    for (size_t n = 0; n < chunk.size(); ++n) {
      const std::vector<uint8_t> cut(chunk.begin(), chunk.begin() + static_cast<ptrdiff_t>(n));
      EXPECT_FALSE(DecodeExactChunk(cut, DType::kBF16, out, simd).ok());
    }
    for (size_t i = 0; i < chunk.size(); ++i) {
      for (const uint8_t flip : {uint8_t{1}, uint8_t{0x80}, uint8_t{0xFF}}) {
        auto bad = chunk;
        bad[i] ^= flip;
        const Status status = DecodeExactChunk(bad, DType::kBF16, out, simd);
        EXPECT_TRUE(status.ok() || (status.rule() >= 26 && status.rule() <= 28))
            << status.ToString();
      }
    }
  }
}

}  // namespace
}  // namespace nwc
