#include "format/freq_table.h"

#include <gtest/gtest.h>

#include <random>

#include "format/default_codec.h"
#include "format/normalize.h"
#include "format/rans.h"

namespace nwc {
namespace {

std::vector<uint16_t> RandomFrequencies(std::mt19937* rng, size_t symbols, double skew) {
  std::vector<uint64_t> counts(symbols);
  std::exponential_distribution<double> d(1.0);
  for (auto& c : counts) c = static_cast<uint64_t>(1e6 * std::pow(d(*rng), skew));
  counts[0] += 1;
  counts[1] += 1;
  return NormalizeFrequencies(counts, 1);
}

class AliasTables : public testing::TestWithParam<int> {};

TEST_P(AliasTables, EncodeInvertsEverySlot) {
  const int bits = GetParam();
  std::mt19937 rng(7);
  for (int trial = 0; trial < 50; ++trial) {
    const size_t symbols = 2 + rng() % ((1u << bits) - 1);
    const auto f = RandomFrequencies(&rng, symbols, trial % 5);
    std::vector<AliasBucket> table(size_t{1} << bits);
    BuildAliasTable(f, bits, 0, table);
    const EncodeTable encode = BuildEncodeTable(f, bits);
    for (uint32_t slot = 0; slot < kProbabilityScale; ++slot) {
      // Not every state with x >> 12 = 16 is one an encoder reaches.
      const uint32_t x = ((rng() & 0xFFFFF000u) | 0x20000u | slot);
      uint32_t decoded = x;
      const uint32_t symbol = DecodeSymbol(table.data(), bits, &decoded);
      ASSERT_LT(symbol, f.size());
      ASSERT_GT(f[symbol], 0);
      std::vector<uint16_t> words;
      if (decoded < kRansLow) decoded = decoded << 16 | 0xBEEF;
      EncodeSymbol(encode, symbol, &decoded, &words);
      ASSERT_EQ(decoded, x) << "bits " << bits << " slot " << slot;
      ASSERT_LE(words.size(), 1u);
    }
  }
}
INSTANTIATE_TEST_SUITE_P(BucketBits, AliasTables, testing::Values(6, 7, 8));

TEST(AliasTables, SurviveOneSymbolThatTakesNearlyAll) {
  std::vector<uint16_t> f(63, 0);
  f[31] = 4095;
  f[0] = 1;
  std::vector<AliasBucket> table(64);
  BuildAliasTable(f, 6, 0, table);
  uint32_t seen = 0;
  for (uint32_t slot = 0; slot < 4096; ++slot) {
    uint32_t x = 0x10000 | slot;
    seen += DecodeSymbol(table.data(), 6, &x) == 31;
  }
  EXPECT_EQ(seen, 4095u);
}

TEST(NormalizeFrequencies, SumsToTheScaleWithSymmetricEntries) {
  std::mt19937 rng(1);
  for (int trial = 0; trial < 200; ++trial) {
    std::vector<uint64_t> counts(2 + rng() % 120);
    for (auto& c : counts) c = 1 + rng() % (1u << (rng() % 20));
    const auto f = NormalizeFrequencies(counts, 2);
    uint32_t sum = f[0];
    for (size_t i = 1; i < f.size(); ++i) sum += 2u * f[i];
    EXPECT_EQ(sum, kProbabilityScale);
  }
}

TEST(CodecTables, RejectsEveryWayToBeWrong) {
  const CodecTables good = DefaultCodec().tables;
  ASSERT_TRUE(good.Validate().ok());
  CodecTables bad = good;
  bad.frequencies[5][0] = static_cast<uint16_t>(bad.frequencies[5][0] + 1);
  EXPECT_EQ(bad.Validate().rule(), 18);
  bad = good;
  bad.frequencies[0].resize(1);
  EXPECT_EQ(bad.Validate().rule(), 18);
  bad = good;
  bad.frequencies[127].resize(129, 1);
  EXPECT_EQ(bad.Validate().rule(), 18);
}

TEST(CodecText, RoundTrips) {
  const CodecTables& tables = DefaultCodec().tables;
  const auto parsed = ParseCodecText(FormatCodecText(tables, "a comment\nof two lines"));
  ASSERT_TRUE(parsed.ok()) << parsed.status().ToString();
  EXPECT_EQ(parsed->frequencies, tables.frequencies);
  EXPECT_FALSE(ParseCodecText("0 0 4096").ok());
  EXPECT_FALSE(ParseCodecText("").ok());
}

}  // namespace
}  // namespace nwc
