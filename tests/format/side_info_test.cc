#include "format/side_info.h"

#include <gtest/gtest.h>

#include <random>

#include "format/synthesis.h"

namespace nwc {
namespace {

SideInfo RandomSide(std::mt19937* rng, size_t rows, size_t columns, int spread) {
  SideInfo side;
  std::normal_distribution<double> d(0, spread);
  const auto fill = [&](std::vector<int16_t>* v, size_t n) {
    for (size_t i = 0; i < n; ++i)
      v->push_back(static_cast<int16_t>(std::clamp(d(*rng), -300., 300.)));
  };
  fill(&side.row_step, rows);
  fill(&side.column_step, columns);
  fill(&side.row_table, rows);
  fill(&side.column_table, columns);
  return side;
}

TEST(SideInfo, RoundTrips) {
  std::mt19937 rng(3);
  for (const int spread : {0, 1, 5, 40, 200}) {
    for (const size_t rows : {1u, 2u, 33u, 700u}) {
      const SideInfo side = RandomSide(&rng, rows, rows * 2 + 1, spread);
      const auto bytes = SerializeSideInfo(side);
      const auto parsed = ParseSideInfo(bytes, rows, rows * 2 + 1, 1.0f);
      ASSERT_TRUE(parsed.ok()) << parsed.status().ToString();
      EXPECT_EQ(parsed->row_step, side.row_step);
      EXPECT_EQ(parsed->column_step, side.column_step);
      EXPECT_EQ(parsed->row_table, side.row_table);
      EXPECT_EQ(parsed->column_table, side.column_table);
    }
  }
}

TEST(SideInfo, RowGainsAreAFifthVectorOnlyWhereAsked) {
  std::mt19937 rng(8);
  SideInfo side = RandomSide(&rng, 20, 30, 9);
  const auto plain = SerializeSideInfo(side);
  for (int16_t j = 0; j < 20; ++j) side.row_gain.push_back(static_cast<int16_t>(j * 53 - 512));
  const auto bytes = SerializeSideInfo(side);
  ASSERT_GT(bytes.size(), plain.size());
  EXPECT_TRUE(std::equal(plain.begin(), plain.end(), bytes.begin()));
  const auto parsed = ParseSideInfo(bytes, 20, 30, 1.0f, /*row_gains=*/true);
  ASSERT_TRUE(parsed.ok()) << parsed.status().ToString();
  EXPECT_EQ(parsed->row_gain, side.row_gain);
  EXPECT_EQ(ParseSideInfo(bytes, 20, 30, 1.0f).status().rule(), 22);
  EXPECT_EQ(ParseSideInfo(plain, 20, 30, 1.0f, /*row_gains=*/true).status().rule(), 22);
}

TEST(SideInfo, RowStepsAreStepsTimesGains) {
  SideInfo side{{0, 8, -3, 5}, {}, {}, {}, {}};
  EXPECT_EQ(RowSteps(side, 1, 3), (std::vector<float>{2.0f, StepOfCode(-3)}));
  side.row_gain = {-512, 511, 0, 1};
  const std::vector<float> steps = {0.5f, 2.0f * (1 + 511 / 1024.0f), StepOfCode(-3),
                                    StepOfCode(5) * (1 + 1 / 1024.0f)};
  EXPECT_EQ(RowSteps(side, 0, 4), steps);
}

TEST(SideInfo, ExtremesTakeTheEscapeCode) {
  SideInfo side{{0, 0, 0, 0, 0, 0, 0, 0, 511}, {-512}, {0, 1, 0, 0, 0, 0, 0, 0, -512}, {5}, {}};
  side.row_step.back() = 200;
  side.column_step[0] = -200;
  const auto parsed = ParseSideInfo(SerializeSideInfo(side), 9, 1, 1.0f);
  ASSERT_TRUE(parsed.ok()) << parsed.status().ToString();
  EXPECT_EQ(parsed->row_table, side.row_table);
  EXPECT_EQ(parsed->row_step, side.row_step);
}

TEST(SideInfo, EveryTruncationIsRejected) {
  std::mt19937 rng(5);
  const auto bytes = SerializeSideInfo(RandomSide(&rng, 20, 30, 9));
  for (size_t n = 0; n < bytes.size(); ++n) {
    EXPECT_EQ(ParseSideInfo(ByteSpan(bytes).first(n), 20, 30, 1.0f).status().rule(), 22) << n;
  }
}

TEST(SideInfo, EveryFlipIsRejectedOrInRange) {
  std::mt19937 rng(6);
  auto bytes = SerializeSideInfo(RandomSide(&rng, 20, 30, 9));
  for (size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
    bytes[bit / 8] ^= static_cast<uint8_t>(1u << (bit % 8));
    const auto parsed = ParseSideInfo(bytes, 20, 30, 1.0f);
    if (parsed.ok()) {
      for (const int16_t v : parsed->row_step) EXPECT_LE(std::abs(v), 512);
    } else {
      EXPECT_EQ(parsed.status().rule(), 22);
    }
    bytes[bit / 8] ^= static_cast<uint8_t>(1u << (bit % 8));
  }
}

TEST(SideInfo, RejectsStepsThatCouldLeaveNormalRange) {
  const SideInfo side{{-500}, {-400}, {0}, {0}, {}};
  EXPECT_EQ(ParseSideInfo(SerializeSideInfo(side), 1, 1, 1.0f).status().rule(), 22);
  EXPECT_TRUE(ParseSideInfo(SerializeSideInfo(side), 1, 1, 0x1p20f).ok());
}

TEST(Steps, AreExactEighthsOfAnOctave) {
  for (int code = kMinStepCode; code <= kMaxStepCode; ++code) {
    EXPECT_NEAR(std::log2(StepOfCode(code)), code / 8.0, 1e-6) << code;
  }
}

}  // namespace
}  // namespace nwc
