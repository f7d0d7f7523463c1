// The net on tensor cores keeps to the tolerance of spec/codec.md section 11.
#include <algorithm>
#include <cmath>
#include <random>

#include "format/neural_chunk.h"
#include "tests/cuda/device_test.h"
#include "tests/fuzz/neural_input.h"

namespace nwc {
namespace {

constexpr float kTolerance = 0x1p-3f;  // BF16 factors, sums in binary32

// A net with numbers of the size that training gives.
NeuralCodec MakeNet(const NeuralSettings& settings) {
  NeuralCodec codec = MakeNeuralCodec(settings, 5);
  std::mt19937 rng(6);
  const auto spread = [&rng](size_t inputs, std::vector<float>* weights) {
    std::normal_distribution<float> normal(0, 1 / std::sqrt(static_cast<float>(inputs)));
    for (float& w : *weights) w = HalfToFloat(FloatToHalf(normal(rng)));
  };
  spread(codec.latents, &codec.in_weight);
  for (NeuralBlock& block : codec.block) spread(codec.width, &block.weight);
  spread(codec.width, &codec.out_weight);
  return codec;
}

class TensorNet : public DeviceTest {
 protected:
  // Decodes random latents of an F32 tensor both ways; the largest error in units of
  // max(1, |g|).
  float LargestError(const NeuralSettings& settings, uint32_t rows, uint32_t columns) {
    const NeuralCodec net = MakeNet(settings);
    TensorInfo tensor;
    tensor.name = "made";
    tensor.dtype = DType::kF32;
    tensor.profile_value = static_cast<uint8_t>(Profile::kNwc);
    tensor.rows = tensor.tile_rows = rows;
    tensor.columns = tensor.tile_columns = columns;
    NeuralSideInfo side;
    side.column_scale.assign(columns, 0);
    for (uint32_t i = 0; i < columns; ++i) {
      side.column_quality.push_back(static_cast<uint8_t>(i % settings.qualities));
    }
    const std::vector<uint8_t> side_bytes = SerializeNeuralSideInfo(side);
    tensor.neural = NeuralInfo{0, 1, {0, side_bytes.size(), Hash64(side_bytes)}};
    NeuralTile tile = MakeNeuralTile(tensor, settings, false, 7);
    std::mt19937 rng(8);  // latents of the size that the tolerance is for
    for (int16_t& y : tile.latents) y = static_cast<int16_t>(static_cast<int>(rng() % 17) - 8);
    const auto chunk =
        EncodeNeuralChunk(tile, tensor.dtype, side.column_quality, NeuralEncodeTables(net));
    EXPECT_TRUE(chunk.ok()) << chunk.status().ToString();
    tensor.chunks = {{0, Hash64(*chunk), static_cast<uint32_t>(chunk->size())}};

    const auto codec = DeviceNeuralCodec::Upload(runtime(), net, nullptr);
    EXPECT_TRUE(codec.ok());
    const auto decoder = MakeDecoder(tensor, side_bytes, {nullptr, *codec});
    EXPECT_TRUE(decoder.ok());
    const ChunkOnDevice one{decoder->get(), 0, *chunk};
    std::vector<uint8_t> specified, tensor_cores;
    EXPECT_TRUE(Decode({&one, 1}, WholeSlice(tensor), &specified).ok());
    EXPECT_TRUE(
        Decode({&one, 1}, WholeSlice(tensor), &tensor_cores, NeuralArithmetic::kTensorCores).ok());
    float largest = 0;
    for (size_t i = 0; i < specified.size(); i += sizeof(float)) {
      const auto g = LoadLittle<float>(&specified[i]), other = LoadLittle<float>(&tensor_cores[i]);
      EXPECT_TRUE(std::isfinite(other));
      largest = std::max(largest, std::abs(other - g) / std::max(1.0f, std::abs(g)));
    }
    return largest;
  }

  void IsWithinTolerance(const NeuralSettings& settings, uint32_t rows, uint32_t columns) {
    const float error = LargestError(settings, rows, columns);
    EXPECT_LE(error, kTolerance);
    EXPECT_GT(error, 0x1p-16f) << "factors were not rounded to BF16";
  }
};

TEST_P(TensorNet, ThePublishedSize) { IsWithinTolerance({}, 32, 40); }

TEST_P(TensorNet, ThinOnes) {
  IsWithinTolerance({.chunk = 4, .latents = 4, .width = 16, .blocks = 4, .qualities = 4}, 50, 70);
  IsWithinTolerance({.chunk = 7, .latents = 5, .width = 48, .blocks = 2, .qualities = 3}, 40, 33);
}

TEST_P(TensorNet, OtherSizesRunAsSpecified) {
  EXPECT_EQ(
      LargestError({.chunk = 4, .latents = 3, .width = 20, .blocks = 1, .qualities = 2}, 9, 9), 0);
  EXPECT_EQ(
      LargestError({.chunk = 20, .latents = 3, .width = 16, .blocks = 1, .qualities = 2}, 9, 9), 0);
}

NWC_ON_EVERY_DEVICE(TensorNet);

}  // namespace
}  // namespace nwc
