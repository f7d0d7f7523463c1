// What the C++ encoder makes of the latents of a golden tensor of profile `nwc` is the golden
// chunk, byte for byte, and so is the codec.
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>

#include "format/format.h"

namespace nwc {
namespace {

// golden_numbers.py: xorshift64*.
class Numbers {
 public:
  explicit Numbers(uint64_t seed) : state_(seed * 0x9E3779B97F4A7C15u) {}
  uint64_t Bits(int count) {
    state_ ^= state_ >> 12;
    state_ ^= state_ << 25;
    state_ ^= state_ >> 27;
    return state_ * 0x2545F4914F6CDD1Du >> (64 - count);
  }
  int Between(int low, int high) {
    return low + static_cast<int>(Bits(40) % static_cast<uint64_t>(high - low + 1));
  }

 private:
  uint64_t state_;
};

// golden_neural.py: Latents(43), in the order latent, chunk row, column.
std::vector<int16_t> LatentsOfF32(size_t latents, size_t chunk_rows, size_t columns) {
  constexpr uint64_t kSeed = 43;
  Numbers numbers(kSeed);
  std::vector<int16_t> values(latents * chunk_rows * columns);
  for (size_t l = 0; l < latents; ++l) {
    for (size_t chunk = 0; chunk < chunk_rows * columns; ++chunk) {
      const int value =
          numbers.Bits(5) == 0 ? numbers.Between(-32768, 32767) : numbers.Between(-3, 3);
      values[chunk * latents + l] = static_cast<int16_t>(value);
    }
  }
  return values;
}

class GoldenThin : public testing::Test {
 protected:
  void SetUp() override {
    std::ifstream in(std::string(GOLDEN_FOLDER) + "/valid/neural_thin.nwc", std::ios::binary);
    const std::vector<char> chars{std::istreambuf_iterator<char>(in), {}};
    file_.assign(chars.begin(), chars.end());
    const auto superblock = ParseSuperblock(ByteSpan(file_).first(kSuperblockSize), file_.size());
    ASSERT_TRUE(superblock.ok()) << superblock.status().ToString();
    auto index = ParseIndex(ByteSpan(file_).subspan(superblock->index_offset), *superblock);
    ASSERT_TRUE(index.ok()) << index.status().ToString();
    index_ = std::move(*index);
    auto codec = ReadNeuralCodec(index_.neural_codecs[0], Bytes(index_.neural_codecs[0].extent));
    ASSERT_TRUE(codec.ok()) << codec.status().ToString();
    codec_ = std::move(*codec);
  }

  [[nodiscard]] ByteSpan Bytes(const Extent& e) const {
    return ByteSpan(file_).subspan(e.offset, e.size);
  }

  std::vector<uint8_t> file_;
  Index index_;
  NeuralCodec codec_;
};

TEST_F(GoldenThin, CodecSerialisesToTheGoldenBytes) {
  const auto bytes = SerializeNeuralCodec(codec_);
  const ByteSpan golden = Bytes(index_.neural_codecs[0].extent);
  ASSERT_TRUE(bytes.ok()) << bytes.status().ToString();
  EXPECT_EQ(*bytes, std::vector<uint8_t>(golden.begin(), golden.end()));
}

TEST_F(GoldenThin, ChunkIsEncodedToTheGoldenBytes) {
  const TensorInfo& tensor = index_.tensors[0];
  ASSERT_EQ(tensor.name, "f32");
  const auto side = ParseNeuralSideInfo(Bytes(*tensor.side()), tensor.columns, codec_.qualities,
                                        tensor.neural->scale);
  ASSERT_TRUE(side.ok()) << side.status().ToString();
  const ByteSpan golden = Bytes({tensor.chunks[0].offset, tensor.chunks[0].size, 0});
  NeuralTile tile;
  tile.rows = static_cast<uint32_t>(tensor.rows);
  tile.columns = static_cast<uint32_t>(tensor.columns);
  tile.latents =
      LatentsOfF32(codec_.latents, DivideRoundingUp(tensor.rows, codec_.chunk), tensor.columns);
  tile.exact_chunks = {0, 38, 110};  // 4, 4 and, in the last chunk row, 3 weights
  const ByteSpan values = golden.last((4 + 4 + 3) * sizeof(float));
  tile.exact_values.assign(values.begin(), values.end());
  const auto chunk =
      EncodeNeuralChunk(tile, tensor.dtype, side->column_quality, NeuralEncodeTables(codec_));
  ASSERT_TRUE(chunk.ok()) << chunk.status().ToString();
  EXPECT_EQ(*chunk, std::vector<uint8_t>(golden.begin(), golden.end()));
}

}  // namespace
}  // namespace nwc
