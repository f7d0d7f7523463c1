// Packing with statistics, and resuming a pack.
#include <gtest/gtest.h>

#include <map>

#include "encoder/encoder.h"
#include "encoder/pack_store.h"
#include "tests/encoder/memory_checkpoint.h"
#include "tests/encoder/memory_statistics.h"

namespace nwc {
namespace {

constexpr uint64_t kRows = 192, kColumns = 256;

class CalibratedPack : public testing::Test {
 protected:
  CalibratedPack() {
    for (uint32_t layer = 0; layer < 4; ++layer) {
      const std::string name = "model.layers." + std::to_string(layer) + ".mlp.up_proj.weight";
      model_.AddGaussian(name, DType::kBF16, {kRows, kColumns}, layer + 1);
      LayerStatistics& s = statistics_.layers[name];
      s.input_moment = CorrelatedMoment(kColumns, layer);
      s.output_moment = SpreadMoments(kRows);
    }
    model_.AddGaussian("lm_head.weight", DType::kBF16, {64, 64}, 9);
    options_.statistics = &statistics_;
    options_.bits = 3;
  }

  Result<PackReport> Packed() {
    sink_ = KeepingSink();
    return Pack(model_, {}, options_, &sink_);
  }

  MemoryCheckpoint model_;
  MemoryStatistics statistics_;
  PackOptions options_;
  KeepingSink sink_;
};

TEST_F(CalibratedPack, LandsOnTheRate) {
  for (const double bits : {2.0, 3.0, 5.0}) {
    options_.bits = bits;
    const auto report = Packed();
    ASSERT_TRUE(report.ok()) << report.status().message();
    EXPECT_NEAR(report->linear_bits_per_weight / bits, 1, 0.02);  // small: tables weigh much
  }
}

TEST_F(CalibratedPack, EstimatedKlFallsFourfoldABit) {
  const auto estimate = [&](double bits) {
    options_.bits = bits;
    const auto report = Packed();
    double kl = 0;
    for (const PackedTensor& t : report->tensors) kl += t.kl;
    return kl;
  };
  const double at_four = estimate(4), at_five = estimate(5);
  EXPECT_NEAR(at_four / at_five, 4, 0.5);
}

TEST_F(CalibratedPack, ThreadsDoNotChangeTheBytes) {
  options_.threads = 1;
  ASSERT_TRUE(Packed().ok());
  const auto one = sink_.bytes;
  options_.threads = 3;
  ASSERT_TRUE(Packed().ok());
  EXPECT_EQ(one, sink_.bytes);
}

TEST_F(CalibratedPack, TensorsWithoutStatisticsArePackedFromTheirWeights) {
  statistics_.layers.erase("model.layers.1.mlp.up_proj.weight");
  const auto report = Packed();
  ASSERT_TRUE(report.ok()) << report.status().message();
  EXPECT_NEAR(report->linear_bits_per_weight, 3, 0.12);
  EXPECT_EQ(report->tensors[1].kl, 0);
  EXPECT_GT(report->tensors[0].kl, 0);
}

TEST_F(CalibratedPack, StatisticsWithoutGradientsNameTheWayOut) {
  for (auto& [name, s] : statistics_.layers) s.output_moment.clear();
  const auto report = Packed();
  EXPECT_EQ(report.status().code(), ErrorCode::kUsage);
  EXPECT_NE(report.status().message().find("--importance ldl"), std::string::npos);
  options_.importance.mode = ImportanceMode::kLdl;
  EXPECT_TRUE(Packed().ok());
}

TEST_F(CalibratedPack, StoredPartsGiveTheSameBytesAndAreUsed) {
  ASSERT_TRUE(Packed().ok());
  const auto whole = sink_.bytes;
  std::map<std::string, std::vector<uint8_t>> parts;
  int loads = 0, saves = 0;
  const PackStore store = {
      [&](const std::string& key) -> Result<std::optional<std::vector<uint8_t>>> {
        const auto found = parts.find(key);
        if (found == parts.end()) return std::optional<std::vector<uint8_t>>();
        ++loads;
        return std::optional(found->second);
      },
      [&](const std::string& key, ByteSpan part) -> Status {
        ++saves;
        parts[key].assign(part.begin(), part.end());
        return {};
      }};
  options_.store = &store;
  ASSERT_TRUE(Packed().ok());
  EXPECT_EQ(sink_.bytes, whole);
  EXPECT_EQ(saves, 6);  // five tensors and the choice of steps
  parts.erase(parts.begin());
  parts.rbegin()->second.back() ^= 1;  // a damaged part is made again
  saves = 0;
  ASSERT_TRUE(Packed().ok());
  EXPECT_EQ(sink_.bytes, whole);
  EXPECT_EQ(saves, 2);
  EXPECT_EQ(loads, 5);
}

TEST(PackStore, RefusesChoicesNoEncoderCanUse) {
  StreamChoice choice;
  choice.tables = DefaultCodec().tables;
  EXPECT_TRUE(ParseStreamChoice(SerializeStreamChoice(choice)).ok());
  StreamChoice wide = choice;
  wide.tables.frequencies[3].assign(400, 10);  // beyond the largest alphabet
  EXPECT_EQ(ParseStreamChoice(SerializeStreamChoice(wide)).status().code(), ErrorCode::kCorrupt);
  StreamChoice still = choice;
  still.constant = 0;
  EXPECT_EQ(ParseStreamChoice(SerializeStreamChoice(still)).status().code(), ErrorCode::kCorrupt);
}

TEST(PackStore, RefusesATensorOfOtherTiles) {
  CodedTensor coded;
  coded.info.dtype = DType::kBF16;
  coded.info.profile_value = static_cast<uint8_t>(Profile::kExact);
  coded.info.rows = coded.info.columns = 64;
  coded.info.tile_rows = 64;
  coded.info.tile_columns = 64;
  coded.chunks.resize(1);
  const TensorInfo planned = coded.info;
  EXPECT_TRUE(ParseCodedTensor(SerializeCodedTensor(coded), planned).ok());
  coded.info.tile_rows = 0;
  EXPECT_EQ(ParseCodedTensor(SerializeCodedTensor(coded), planned).status().code(),
            ErrorCode::kCorrupt);
  coded.info.tile_rows = 64;
  coded.chunks.resize(2);
  EXPECT_EQ(ParseCodedTensor(SerializeCodedTensor(coded), planned).status().code(),
            ErrorCode::kCorrupt);
}

}  // namespace
}  // namespace nwc
