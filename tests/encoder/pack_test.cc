#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "encoder/encoder.h"
#include "tests/encoder/memory_checkpoint.h"

namespace nwc {
namespace {

class Packing : public testing::Test {
 protected:
  Result<PackReport> PackAll() { return Pack(source_, files_, options_, &sink_); }

  // Everything a container says, decoded.
  void Open() {
    const auto superblock = ParseSuperblock(ByteSpan(sink_.bytes).first(4096), sink_.bytes.size());
    ASSERT_TRUE(superblock.ok()) << superblock.status().ToString();
    const auto index_bytes = std::vector<uint8_t>(
        sink_.bytes.begin() + static_cast<ptrdiff_t>(superblock->index_offset), sink_.bytes.end());
    auto index = ParseIndex(index_bytes, *superblock);
    ASSERT_TRUE(index.ok()) << index.status().ToString();
    index_ = std::move(*index);
  }

  std::vector<uint8_t> Decode(const std::string& name) {
    for (const TensorInfo& t : index_.tensors) {
      if (t.name != name) continue;
      std::shared_ptr<const StreamTables> tables;
      ByteSpan side;
      if (t.stream) {
        tables = std::make_shared<const StreamTables>(index_.codecs[t.stream->codec].tables);
        side = ByteSpan(sink_.bytes).subspan(t.stream->side.offset, t.stream->side.size);
      }
      const auto decoder = ChunkDecoder::Create(t, side, tables);
      EXPECT_TRUE(decoder.ok()) << decoder.status().ToString();
      std::vector<uint8_t> out(t.decoded_bytes());
      for (size_t i = 0; i < t.chunks.size(); ++i) {
        const ByteSpan chunk = ByteSpan(sink_.bytes).subspan(t.chunks[i].offset, t.chunks[i].size);
        const Status status = decoder->Decode(i, chunk, out);
        EXPECT_TRUE(status.ok()) << status.ToString();
      }
      EXPECT_EQ(Hash128Of(out), t.decoded_hash);
      return out;
    }
    ADD_FAILURE() << "no tensor " << name;
    return {};
  }

  [[nodiscard]] const TensorInfo& Tensor(const std::string& name) const {
    return *std::find_if(index_.tensors.begin(), index_.tensors.end(),
                         [&](const TensorInfo& t) { return t.name == name; });
  }

  MemoryCheckpoint source_;
  std::vector<SourceFile> files_;
  PackOptions options_;
  KeepingSink sink_;
  Index index_;
};

TEST_F(Packing, MeetsTheRateOfTheLinearTensors) {
  for (int i = 0; i < 4; ++i) {
    source_.AddGaussian("layers." + std::to_string(i) + ".w.weight", DType::kF32, {512, 384},
                        static_cast<uint32_t>(i), 6.0f);
  }
  for (const double bits : {1.5, 3.0, 4.0, 6.0, 7.0}) {
    sink_ = {};
    options_.bits = bits;
    const auto report = PackAll();
    ASSERT_TRUE(report.ok()) << report.status().ToString();
    EXPECT_NEAR(report->linear_bits_per_weight, bits, 0.01 * bits);
  }
}

TEST_F(Packing, ComesWithinATenthOfABitOfTheGaussianBound) {
  source_.AddGaussian("layers.0.w.weight", DType::kF32, {1024, 1024}, 1);
  options_.bits = 4;
  const auto report = PackAll();
  ASSERT_TRUE(report.ok()) << report.status().ToString();
  // Columns differ in scale by design of the test data, so the bound with one variance is loose.
  EXPECT_LT(4 - 0.5 * std::log2(1 / report->tensors[0].relative_mse), 0.13);
}

TEST_F(Packing, EveryDTypeAndShapeComesBack) {
  const std::vector<uint8_t> noise(64 * 64 * 8, 0x37);
  for (int d = 0; d < kDTypeCount; ++d) {
    const auto dtype = static_cast<DType>(d);
    const size_t bytes = 3 * 5 * 7 * DTypeSize(dtype);
    source_.Add(std::string("odd.") + DTypeName(dtype), dtype, {3, 5, 7},
                {noise.begin(), noise.begin() + static_cast<ptrdiff_t>(bytes)});
  }
  source_.Add("scalar", DType::kF32, {}, {1, 2, 3, 4});
  source_.Add("empty", DType::kBF16, {0, 7}, {});
  source_.AddGaussian("conv.weight", DType::kF16, {64, 16, 3, 3}, 5);
  source_.AddGaussian("long", DType::kBF16, {300001}, 6);
  options_.profile = Profile::kExact;
  ASSERT_TRUE(PackAll().ok());
  Open();
  for (size_t i = 0; i < source_.tensors().size(); ++i) {
    EXPECT_EQ(Decode(source_.tensors()[i].name), source_.bytes(i)) << source_.tensors()[i].name;
  }
}

TEST_F(Packing, SendsValuesItCannotQuantiseToExact) {
  const float bad[] = {std::numeric_limits<float>::quiet_NaN(),
                       std::numeric_limits<float>::infinity(), 1e-40f};
  const char* names[] = {"nan.weight", "inf.weight", "subnormal.weight"};
  for (size_t i = 0; i < 3; ++i) {
    MemoryCheckpoint one;
    one.AddGaussian(names[i], DType::kF32, {64, 64}, 1);
    auto bytes = one.bytes(0);
    StoreLittle(&bytes[4 * 1000], bad[i]);
    source_.Add(names[i], DType::kF32, {64, 64}, bytes);
  }
  const auto report = PackAll();
  ASSERT_TRUE(report.ok()) << report.status().ToString();
  Open();
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(report->tensors[i].profile, Profile::kExact);
    EXPECT_NE(report->tensors[i].note, "");
    EXPECT_EQ(Decode(names[i]), source_.bytes(i));
  }
}

TEST_F(Packing, KeepsOutliersExactly) {
  MemoryCheckpoint one;
  one.AddGaussian("w", DType::kBF16, {256, 128}, 2);
  auto bytes = one.bytes(0);
  const std::vector<size_t> places = {0, 77, 128 * 100 + 5, 256 * 128 - 1};
  for (const size_t at : places) StoreLittle(&bytes[2 * at], FloatToBFloat16(123456.0f));
  source_.Add("layers.0.w.weight", DType::kBF16, {256, 128}, bytes);
  ASSERT_TRUE(PackAll().ok());
  Open();
  const auto decoded = Decode("layers.0.w.weight");
  for (const size_t at : places) {
    EXPECT_EQ(LoadLittle<uint16_t>(&decoded[2 * at]), FloatToBFloat16(123456.0f));
  }
}

TEST_F(Packing, SurvivesZeroRowsColumnsAndMatrices) {
  MemoryCheckpoint one;
  one.AddGaussian("w", DType::kF32, {128, 96}, 2);
  auto bytes = one.bytes(0);
  std::fill(bytes.begin(), bytes.begin() + 96 * 4 * 3, uint8_t{0});
  for (size_t j = 0; j < 128; ++j)
    std::fill_n(bytes.begin() + static_cast<ptrdiff_t>((j * 96 + 9) * 4), 4, uint8_t{0});
  source_.Add("some.weight", DType::kF32, {128, 96}, bytes);
  source_.Add("all.weight", DType::kF32, {128, 96}, std::vector<uint8_t>(128 * 96 * 4, 0));
  options_.bits = 5;
  const auto report = PackAll();
  ASSERT_TRUE(report.ok()) << report.status().ToString();
  Open();
  EXPECT_EQ(Decode("all.weight"), source_.bytes(1));
  Decode("some.weight");
}

TEST_F(Packing, GivesTheSameBytesOnAnyNumberOfThreads) {
  source_.AddGaussian("layers.0.w.weight", DType::kF16, {600, 384}, 1, 20.0f);
  source_.AddGaussian("embed.weight", DType::kF16, {1000, 64}, 2);
  std::vector<std::vector<uint8_t>> files;
  for (const int threads : {1, 2, 5}) {
    sink_ = {};
    options_.threads = threads;
    ASSERT_TRUE(PackAll().ok());
    files.push_back(sink_.bytes);
  }
  EXPECT_EQ(files[0], files[1]);
  EXPECT_EQ(files[0], files[2]);
}

TEST_F(Packing, RoundTripChoiceDoesNotChangeTheBytes) {
  source_.AddGaussian("layers.0.w.weight", DType::kBF16, {128, 100}, 1);
  ASSERT_TRUE(PackAll().ok());
  const auto checked = sink_.bytes;
  sink_ = {};
  options_.roundtrip = false;
  ASSERT_TRUE(PackAll().ok());
  EXPECT_EQ(checked, sink_.bytes);
}

TEST_F(Packing, RefusesRatesItCannotReach) {
  source_.AddGaussian("layers.0.w.weight", DType::kF32, {128, 128}, 1);
  options_.bits = 9;
  EXPECT_EQ(PackAll().status().code(), ErrorCode::kUsage);
  EXPECT_FALSE(sink_.committed);
}

TEST_F(Packing, StopsWhenCancelled) {
  source_.AddGaussian("layers.0.w.weight", DType::kF32, {128, 128}, 1);
  const std::atomic<bool> cancel{true};
  EXPECT_EQ(Pack(source_, files_, options_, &sink_, {}, &cancel).status().code(),
            ErrorCode::kCancelled);
  EXPECT_FALSE(sink_.committed);
}

TEST_F(Packing, VectorsForcedToStreamStayExactAndSaySo) {
  source_.AddGaussian("norm.weight", DType::kF32, {70000}, 3);
  options_.rules = {{"norm", Profile::kStream, 4}};
  const auto report = PackAll();
  ASSERT_TRUE(report.ok()) << report.status().ToString();
  EXPECT_EQ(report->tensors[0].profile, Profile::kExact);
  EXPECT_EQ(report->tensors[0].note, "a vector: exact");
}

}  // namespace
}  // namespace nwc
