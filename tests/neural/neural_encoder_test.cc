#include "encoder/neural_encoder.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "format/chunk_decoder.h"
#include "format/side_info.h"
#include "tests/neural/test_models.h"

namespace nwc {
namespace {

TensorInfo Matrix(DType dtype, uint64_t rows, uint64_t columns, uint32_t tile_rows,
                  uint32_t tile_columns) {
  TensorInfo info;
  info.name = "w";
  info.dtype = dtype;
  info.profile_value = static_cast<uint8_t>(Profile::kNwc);
  info.shape = {rows, columns};
  info.rows = rows;
  info.columns = columns;
  info.tile_rows = tile_rows;
  info.tile_columns = tile_columns;
  return info;
}

NeuralEncoding Encode(const TensorInfo& info, ByteSpan elements, const float* moment = nullptr,
                      bool feedback = true, int threads = 2) {
  WorkerPool pool(threads);
  auto encoding = EncodeNeural(
      QuickTraining().model,
      {.tensor = &info, .elements = elements, .input_moment = moment, .feedback = feedback}, &pool);
  EXPECT_TRUE(encoding.ok()) << encoding.status().ToString();
  return std::move(*encoding);
}

std::vector<std::vector<uint8_t>> ChunksOf(const TensorInfo& info, const NeuralEncoding& e) {
  const NeuralEncodeTables tables(QuickTraining().model.synthesis);
  TensorInfo grid = info;
  grid.chunks.resize(e.tiles.size());
  std::vector<std::vector<uint8_t>> chunks;
  for (size_t i = 0; i < e.tiles.size(); ++i) {
    const TileRange range = grid.Tile(i);
    const std::span quality(&e.side.column_quality[range.column_begin], range.columns());
    auto chunk = EncodeNeuralChunk(e.tiles[i], info.dtype, quality, tables);
    EXPECT_TRUE(chunk.ok()) << chunk.status().ToString();
    chunks.push_back(std::move(*chunk));
  }
  return chunks;
}

// What a reader of the container gets.
std::vector<uint8_t> Decode(TensorInfo info, const NeuralEncoding& e) {
  const auto chunks = ChunksOf(info, e);
  const std::vector<uint8_t> side = SerializeNeuralSideInfo(e.side);
  info.chunks.resize(chunks.size());
  info.neural = NeuralInfo{0, e.scale, {0, side.size(), Hash64(side)}};
  const auto codec = std::make_shared<const NeuralDecodeCodec>(QuickTraining().model.synthesis);
  const auto decoder = ChunkDecoder::Create(info, side, codec);
  EXPECT_TRUE(decoder.ok()) << decoder.status().ToString();
  std::vector<uint8_t> out(info.decoded_bytes());
  for (size_t i = 0; i < chunks.size(); ++i) {
    const Status status = decoder->Decode(i, chunks[i], out);
    EXPECT_TRUE(status.ok()) << status.ToString();
  }
  return out;
}

// Of inputs with a few strong factors that reach over all columns, and some columns of large power.
std::vector<float> CorrelatedMoment(size_t n) {
  constexpr size_t kFactors = 12;
  const std::vector<float> loads = GaussianValues(kFactors * n, 7);
  std::vector<float> moment(n * n, 0);
  for (size_t i = 0; i < n; ++i) {
    for (size_t j = 0; j < n; ++j) {
      float sum = i == j ? 1.0F : 0.0F;
      for (size_t f = 0; f < kFactors; ++f) sum += loads[f * n + i] * loads[f * n + j];
      const float power = (i % 37 == 0 ? 8.0F : 1.0F) * (j % 37 == 0 ? 8.0F : 1.0F);
      moment[i * n + j] = sum * power;
    }
  }
  return moment;
}

// tr(E H Eᵀ).
double WeightedError(const TensorInfo& info, const std::vector<float>& values,
                     const NeuralEncoding& e, const std::vector<float>& moment) {
  const size_t n = info.columns;
  std::vector<float> decoded(values.size());
  ToFloat(info.dtype, e.decoded.data(), decoded.size(), decoded.data());
  double total = 0;
  for (size_t j = 0; j < info.rows; ++j) {
    for (size_t i = 0; i < n; ++i) {
      double sum = 0;
      for (size_t k = 0; k < n; ++k) {
        sum += static_cast<double>(values[j * n + k] - decoded[j * n + k]) *
               static_cast<double>(moment[k * n + i]);
      }
      total += sum * static_cast<double>(values[j * n + i] - decoded[j * n + i]);
    }
  }
  return total;
}

TEST(EncodeNeural, DecodesToTheBytesItPromised) {
  for (const DType dtype : {DType::kBF16, DType::kF16, DType::kF32}) {
    const TensorInfo info = Matrix(dtype, 203, 301, 64, 96);  // ragged in every way
    const auto elements = ToElements(dtype, GaussianValues(203 * 301, 3, 0.02F));
    const NeuralEncoding e = Encode(info, elements);
    EXPECT_EQ(Decode(info, e), e.decoded);
    EXPECT_EQ(e.exact_chunks, 0U);
  }
}

// Bits by the tables against bytes in chunks, whose fixed parts are 140 bytes.
TEST(EncodeNeural, BitsAreWhatChunksTake) {
  const TensorInfo info = Matrix(DType::kBF16, 512, 256, 512, 256);
  const NeuralEncoding e = Encode(info, ToElements(info.dtype, GaussianValues(512 * 256, 4)));
  double coded = 0;
  for (const auto& chunk : ChunksOf(info, e))
    coded += 8 * (static_cast<double>(chunk.size()) - 140);
  const auto weights = static_cast<double>(info.weights());
  EXPECT_NEAR(coded / weights, e.bits / weights, 0.01);
  const double gap = e.bits / weights - 0.5 * std::log2(weights / e.squared_error);
  EXPECT_LT(gap, 0.29);  // of scalar quantisation 0.255, of scales rounded to an eighth octave 0.01
}

TEST(EncodeNeural, FeedbackLowersTheWeightedError) {
  const TensorInfo info = Matrix(DType::kF32, 128, 384, 128, 384);
  const std::vector<float> values = GaussianValues(info.weights(), 5);
  const auto elements = ToElements(info.dtype, values);
  const std::vector<float> moment = CorrelatedMoment(info.columns);
  const NeuralEncoding with = Encode(info, elements, moment.data(), true);
  const NeuralEncoding without = Encode(info, elements, moment.data(), false);
  EXPECT_EQ(Decode(info, with), with.decoded);
  EXPECT_EQ(with.side.column_quality, without.side.column_quality);
  EXPECT_LT(WeightedError(info, values, with, moment),
            0.8 * WeightedError(info, values, without, moment));
}

TEST(EncodeNeural, ThreadsDoNotChangeBytes) {
  const TensorInfo info = Matrix(DType::kBF16, 260, 200, 128, 64);
  const auto elements = ToElements(info.dtype, GaussianValues(info.weights(), 6));
  const std::vector<float> moment = CorrelatedMoment(info.columns);
  const NeuralEncoding one = Encode(info, elements, moment.data(), true, 1);
  const NeuralEncoding three = Encode(info, elements, moment.data(), true, 3);
  EXPECT_EQ(ChunksOf(info, one), ChunksOf(info, three));
  EXPECT_EQ(one.decoded, three.decoded);
  EXPECT_EQ(one.bits, three.bits);
}

// Each far beyond what the codec was trained on, in a column that is otherwise ordinary.
TEST(EncodeNeural, NothingIsDestroyed) {
  const TensorInfo info = Matrix(DType::kBF16, 128, 96, 64, 96);
  std::vector<float> values = GaussianValues(info.weights(), 8, 0.02F);
  const std::vector<float> strange = {300,
                                      -5e4F,
                                      1e30F,
                                      2.5F,
                                      std::numeric_limits<float>::infinity(),
                                      std::numeric_limits<float>::quiet_NaN()};
  for (size_t k = 0; k < strange.size(); ++k)
    values[(17 * k + 3) * info.columns + 5 * k] = strange[k];
  const auto elements = ToElements(info.dtype, values);
  const std::vector<float> moment = CorrelatedMoment(info.columns);
  const NeuralEncoding e = Encode(info, elements, moment.data());
  EXPECT_EQ(Decode(info, e), e.decoded);
  EXPECT_GE(e.exact_chunks, strange.size() - 1);
  EXPECT_LE(e.exact_chunks, 2 * strange.size());
  std::vector<float> decoded(values.size()), source(values.size());
  ToFloat(info.dtype, elements.data(), source.size(), source.data());
  ToFloat(info.dtype, e.decoded.data(), decoded.size(), decoded.data());
  for (size_t i = 0; i < values.size(); ++i) {
    if (std::isfinite(source[i])) {
      EXPECT_LE(std::fabs(decoded[i] - source[i]), 0.02F + 0.01F * std::fabs(source[i]));
    } else {
      EXPECT_EQ(std::isnan(decoded[i]), std::isnan(source[i]));
      EXPECT_FALSE(std::isfinite(decoded[i]));
    }
  }
}

TEST(EncodeNeural, ZerosAndConstantsAreFine) {
  const TensorInfo info = Matrix(DType::kF32, 64, 64, 64, 64);
  std::vector<float> values(info.weights(), 0);
  for (size_t j = 0; j < 64; ++j) values[j * 64 + 9] = 1;
  const NeuralEncoding e = Encode(info, ToElements(info.dtype, values));
  EXPECT_EQ(Decode(info, e), e.decoded);
}

TEST(EncodeNeural, RefusesTilesThatCutChunks) {
  const TensorInfo info = Matrix(DType::kF32, 64, 64, 30, 64);
  WorkerPool pool(1);
  const auto elements = ToElements(info.dtype, GaussianValues(info.weights(), 1));
  EXPECT_EQ(EncodeNeural(QuickTraining().model, {.tensor = &info, .elements = elements}, &pool)
                .status()
                .code(),
            ErrorCode::kUsage);
}

TEST(ChooseQualities, GivesTheLargestDiagonalsTheHighest) {
  constexpr size_t kColumns = 1000;
  std::vector<float> moment(kColumns * kColumns, 0);
  for (size_t i = 0; i < kColumns; ++i) moment[i * kColumns + i] = static_cast<float>(i);
  const auto quality = ChooseQualities(moment.data(), kColumns, {0.001, 0.01, 0.1}, 4);
  EXPECT_EQ(std::count(quality.begin(), quality.end(), 3), 1);
  EXPECT_EQ(std::count(quality.begin(), quality.end(), 2), 10);
  EXPECT_EQ(std::count(quality.begin(), quality.end(), 1), 100);
  EXPECT_EQ(quality[999], 3);
  EXPECT_EQ(quality[989], 2);
  EXPECT_EQ(quality[889], 1);
  EXPECT_EQ(quality[888], 0);
  const auto flat = ChooseQualities(nullptr, 5, {0.5}, 4);
  EXPECT_EQ(std::count(flat.begin(), flat.end(), 0), 5);
  const auto merged = ChooseQualities(moment.data(), kColumns, {0.001, 0.01, 0.1}, 2);
  EXPECT_EQ(std::count(merged.begin(), merged.end(), 1), 111);
}

}  // namespace
}  // namespace nwc
