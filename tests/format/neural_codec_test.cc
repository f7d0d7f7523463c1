#include "format/neural_codec.h"

#include <gtest/gtest.h>

#include <cmath>

#include "format/neural_tables.h"
#include "tests/fuzz/neural_input.h"

namespace nwc {
namespace {

constexpr NeuralSettings kThin{.chunk = 4, .latents = 3, .width = 8, .blocks = 2, .qualities = 2};

TEST(NeuralCodec, ComesBackFromItsBytes) {
  const NeuralCodec codec = MakeNeuralCodec(kThin, 3);
  const auto bytes = SerializeNeuralCodec(codec);
  ASSERT_TRUE(bytes.ok()) << bytes.status().ToString();
  EXPECT_GE(bytes->size(), codec.min_stored_bytes());
  EXPECT_LE(bytes->size(), codec.max_stored_bytes());
  const auto parsed = ParseNeuralCodec(kThin, *bytes);
  ASSERT_TRUE(parsed.ok()) << parsed.status().ToString();
  EXPECT_EQ(parsed->in_weight, codec.in_weight);
  EXPECT_EQ(parsed->block[1].embedding, codec.block[1].embedding);
  EXPECT_EQ(parsed->out_bias, codec.out_bias);
  EXPECT_EQ(parsed->tables[3].frequencies, codec.tables[3].frequencies);
  EXPECT_EQ(parsed->tables[3].lowest, codec.tables[3].lowest);
  EXPECT_EQ(*SerializeNeuralCodec(*parsed), *bytes);
}

TEST(NeuralCodec, OfThePublishedShapeHasTheExpectedSize) {
  const NeuralSettings published;
  EXPECT_EQ(published.parameter_count(),
            512u * 17 + 4 * (512 * 512 + 512 * 3 + 4 * 512) + 16 * 513);
}

template <typename Change>
void IsNoCodec(const Change& change) {
  NeuralCodec codec = MakeNeuralCodec(kThin, 3);
  change(&codec);
  const auto bytes = SerializeNeuralCodec(codec);
  ASSERT_FALSE(bytes.ok());
  EXPECT_EQ(bytes.status().code(), ErrorCode::kUsage);
}

TEST(NeuralCodec, TakesFiniteHalvesOnly) {
  IsNoCodec([](NeuralCodec* c) { c->in_bias[0] = 0.1f; });
  IsNoCodec([](NeuralCodec* c) { c->out_bias[3] = INFINITY; });
  IsNoCodec([](NeuralCodec* c) { c->block[0].gain[7] = NAN; });
  IsNoCodec([](NeuralCodec* c) { c->block[1].weight[0] = 1e9f; });
}

TEST(NeuralCodec, HasPartsOfItsSettingsSizes) {
  IsNoCodec([](NeuralCodec* c) { c->in_weight.pop_back(); });
  IsNoCodec([](NeuralCodec* c) { c->block.pop_back(); });
  IsNoCodec([](NeuralCodec* c) { c->tables.pop_back(); });
  IsNoCodec([](NeuralCodec* c) { c->width = 0; });
  IsNoCodec([](NeuralCodec* c) { c->tables[0].frequencies[0] = 0; });
  IsNoCodec([](NeuralCodec* c) { ++c->tables[0].frequencies[0]; });
  IsNoCodec([](NeuralCodec* c) { c->tables[0].frequencies = {4096}; });
}

TEST(NeuralCodec, CutAnywhereIsR35) {
  const auto bytes = SerializeNeuralCodec(MakeNeuralCodec(kThin, 3));
  for (size_t size = 0; size < bytes->size(); ++size) {
    const auto parsed = ParseNeuralCodec(kThin, ByteSpan(*bytes).first(size));
    ASSERT_FALSE(parsed.ok()) << size;
    ASSERT_EQ(parsed.status().rule(), 35) << size;
  }
}

TEST(NeuralTables, BucketBitsHoldAllSymbols) {
  EXPECT_EQ(NeuralBucketBits(2), 6);
  EXPECT_EQ(NeuralBucketBits(64), 6);
  EXPECT_EQ(NeuralBucketBits(65), 7);
  EXPECT_EQ(NeuralBucketBits(512), 9);
  EXPECT_EQ(NeuralBucketBits(1024), 10);
}

TEST(NeuralTables, CostIsTheIdealLength) {
  const NeuralCodec codec = MakeNeuralCodec(kThin, 3);
  const NeuralTables tables(codec);
  const NeuralTable& table = codec.tables[1 * kThin.latents + 2];
  EXPECT_DOUBLE_EQ(tables.Cost(1, 2, table.lowest), -std::log2(table.frequencies[0] / 4096.0));
  const double escape = 16 - std::log2(table.frequencies.back() / 4096.0);
  EXPECT_DOUBLE_EQ(tables.Cost(1, 2, table.lowest - 1), escape);
  EXPECT_DOUBLE_EQ(tables.Cost(1, 2, table.lowest + static_cast<int>(table.frequencies.size()) - 1),
                   escape);
}

}  // namespace
}  // namespace nwc
