#include "format/neural_chunk.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "tests/fuzz/neural_input.h"
#include "tests/support/keeping_sink.h"

namespace nwc {
namespace {

constexpr NeuralSettings kThin{.chunk = 4, .latents = 3, .width = 8, .blocks = 1, .qualities = 2};

const NeuralCodec& Codec() {
  static const NeuralCodec codec = MakeNeuralCodec(kThin, 1);
  return codec;
}

std::vector<uint8_t> Encoded(const NeuralCase& c, const NeuralTile& tile) {
  const auto chunk =
      EncodeNeuralChunk(tile, c.tensor.dtype, c.side.column_quality, NeuralEncodeTables(Codec()));
  EXPECT_TRUE(chunk.ok()) << chunk.status().ToString();
  return *chunk;
}

Status Decoded(const NeuralCase& c, ByteSpan chunk, Simd simd, std::vector<uint8_t>* out) {
  const NeuralDecoder decoder(c.tensor, c.side, c.codec);
  const TileRange tile{0, c.tensor.rows, 0, c.tensor.columns};
  out->assign(c.tensor.decoded_bytes(), 0xAA);
  return decoder.Decode(chunk, tile, out->data(), c.tensor.columns * DTypeSize(c.tensor.dtype),
                        simd);
}

// What the net gives for the tile's latents, chunk by chunk, exact chunks put over it.
std::vector<uint8_t> Expected(const NeuralCase& c, const NeuralTile& tile) {
  const size_t size = DTypeSize(c.tensor.dtype);
  std::vector<uint8_t> out(c.tensor.decoded_bytes());
  const uint8_t* exact = tile.exact_values.data();
  const size_t chunks = tile.latents.size() / kThin.latents;
  for (size_t id = 0; id < chunks; ++id) {
    const size_t column = id % tile.columns, row = id / tile.columns * kThin.chunk;
    std::vector<int16_t> latents(kThin.latents * kNeuralColumns);
    for (size_t l = 0; l < kThin.latents; ++l) {
      latents[l * kNeuralColumns] = tile.latents[id * kThin.latents + l];
    }
    std::vector<float> values(kThin.chunk * kNeuralColumns);
    c.codec->synthesis.Run(latents.data(), &c.side.column_quality[column], 1, values.data());
    const bool is_exact =
        std::binary_search(tile.exact_chunks.begin(), tile.exact_chunks.end(), id);
    const float factor = NeuralColumnFactor(c.tensor.neural->scale, c.side.column_scale[column]);
    for (size_t k = 0; k < kThin.chunk && row + k < tile.rows; ++k) {
      uint8_t* to = &out[((row + k) * tile.columns + column) * size];
      const float value = values[k * kNeuralColumns] * factor;
      if (is_exact) {
        std::copy_n(exact, size, to);
        exact += size;
      } else {
        FromFloat(c.tensor.dtype, &value, 1, to);
      }
    }
  }
  return out;
}

TEST(NeuralChunk, DecodesToWhatTheNetGives) {
  for (int trial = 0; trial < 60; ++trial) {
    const auto first = static_cast<uint8_t>(trial * 37), second = static_cast<uint8_t>(trial * 91);
    const NeuralCase c = MakeNeuralCase(first, second);
    const NeuralTile tile =
        MakeNeuralTile(c.tensor, kThin, trial % 2 == 0, static_cast<uint32_t>(trial));
    const std::vector<uint8_t> chunk = Encoded(c, tile), expected = Expected(c, tile);
    for (const Simd simd : UsableSimds()) {
      std::vector<uint8_t> out;
      const Status status = Decoded(c, chunk, simd, &out);
      ASSERT_TRUE(status.ok()) << status.ToString();
      ASSERT_EQ(out, expected) << trial << " " << SimdName(simd);
    }
  }
}

TEST(NeuralChunk, HasTheLengthThatCostsSay) {
  const NeuralCase c = MakeNeuralCase(63, 63);
  const NeuralTile tile = MakeNeuralTile(c.tensor, kThin, false, 4);
  double bits = 0;
  for (size_t i = 0; i < tile.latents.size(); ++i) {
    const size_t column = i / kThin.latents % tile.columns;
    bits += c.codec->tables.Cost(c.side.column_quality[column], i % kThin.latents, tile.latents[i]);
  }
  // 140 bytes of header, of which the states carry up to 16 bits each; 12-bit probabilities.
  const auto found = static_cast<double>(Encoded(c, tile).size() * 8);
  EXPECT_GE(found, bits);
  EXPECT_LE(found, bits * 1.01 + 140 * 8 + 32);
}

TEST(NeuralChunk, CutOrChangedNeverCrashesAndScalarAgrees) {
  const NeuralCase c = MakeNeuralCase(9, 40);
  const std::vector<uint8_t> chunk = Encoded(c, MakeNeuralTile(c.tensor, kThin, true, 5));
  std::mt19937 rng(6);
  for (int trial = 0; trial < 3000; ++trial) {
    std::vector<uint8_t> broken = chunk;
    if (trial % 3 == 0) broken.resize(rng() % broken.size());
    if (!broken.empty()) broken[rng() % broken.size()] ^= static_cast<uint8_t>(1u << (rng() % 8));
    std::vector<uint8_t> scalar, vectors;
    const Status a = Decoded(c, broken, Simd::kScalar, &scalar);
    const Status b = Decoded(c, broken, BestSimd(), &vectors);
    ASSERT_EQ(a.rule(), b.rule()) << a.ToString() << " " << b.ToString();
    if (a.ok()) {
      ASSERT_EQ(scalar, vectors);
    }
  }
}

template <typename Change>
void IsRefused(const Change& change) {
  NeuralCase c = MakeNeuralCase(9, 40);
  NeuralTile tile = MakeNeuralTile(c.tensor, kThin, true, 5);
  change(&tile, &c.side.column_quality);
  const auto chunk =
      EncodeNeuralChunk(tile, c.tensor.dtype, c.side.column_quality, NeuralEncodeTables(Codec()));
  ASSERT_FALSE(chunk.ok());
  EXPECT_EQ(chunk.status().code(), ErrorCode::kUsage);
}

TEST(NeuralChunk, EncoderRefusesTilesThatDoNotFit) {
  using Quality = std::vector<uint8_t>;
  IsRefused([](NeuralTile* t, Quality*) { t->rows = 0; });
  IsRefused([](NeuralTile* t, Quality*) { t->latents.pop_back(); });
  IsRefused([](NeuralTile* t, Quality*) { t->exact_values.pop_back(); });
  IsRefused([](NeuralTile* t, Quality*) { std::swap(t->exact_chunks[0], t->exact_chunks[1]); });
  IsRefused([](NeuralTile* t, Quality*) { t->exact_chunks[1] = 1 << 20; });
  IsRefused([](NeuralTile*, Quality* q) { q->at(3) = 2; });
  IsRefused([](NeuralTile*, Quality* q) { q->pop_back(); });
}

TEST(NeuralContainer, ComesBackFromTheWriter) {
  KeepingSink sink;
  ContainerWriter writer(&sink);
  writer.AddShard({"model.safetensors", ""});
  const auto position = writer.AddNeuralCodec(Codec());
  ASSERT_TRUE(position.ok()) << position.status().ToString();
  NeuralCase c = MakeNeuralCase(10, 40);
  c.tensor.name = "layers.0.weight";
  c.tensor.neural->codec = *position;
  const std::vector<std::vector<uint8_t>> chunks = {
      Encoded(c, MakeNeuralTile(c.tensor, kThin, true, 5))};
  ASSERT_TRUE(writer.AddTensor(c.tensor, SerializeNeuralSideInfo(c.side), chunks).ok());
  ASSERT_TRUE(writer.Finish().ok());

  const ByteSpan file(sink.bytes);
  const auto superblock = ParseSuperblock(file.first(kSuperblockSize), file.size());
  ASSERT_TRUE(superblock.ok()) << superblock.status().ToString();
  EXPECT_EQ(superblock->required_features, kNeuralFeature);
  EXPECT_EQ(LoadLittle<uint16_t>(&file[10]), 1);  // minor
  const auto index = ParseIndex(file.subspan(superblock->index_offset), *superblock);
  ASSERT_TRUE(index.ok()) << index.status().ToString();
  ASSERT_EQ(index->neural_codecs.size(), 1u);
  const NeuralCodecInfo& info = index->neural_codecs[0];
  EXPECT_EQ(info.name, "made");
  const auto codec = ReadNeuralCodec(info, file.subspan(info.extent.offset, info.extent.size));
  ASSERT_TRUE(codec.ok()) << codec.status().ToString();

  const TensorInfo& tensor = index->tensors[0];
  ASSERT_TRUE(tensor.neural.has_value());
  const Extent& side = *tensor.side();
  const auto decoder = ChunkDecoder::Create(tensor, file.subspan(side.offset, side.size),
                                            std::make_shared<const NeuralDecodeCodec>(*codec));
  ASSERT_TRUE(decoder.ok()) << decoder.status().ToString();
  std::vector<uint8_t> out(tensor.decoded_bytes());
  const Chunk& chunk = tensor.chunks[0];
  EXPECT_TRUE(decoder->Decode(0, file.subspan(chunk.offset, chunk.size), out).ok());
  EXPECT_EQ(out, Expected(c, MakeNeuralTile(c.tensor, kThin, true, 5)));
}

TEST(NeuralSideInfo, ComesBackFromItsBytes) {
  const NeuralSideInfo side{{-512, 511, 0, 3}, {0, 15, 7, 7}};
  const auto parsed = ParseNeuralSideInfo(SerializeNeuralSideInfo(side), 4, 16, 1.0f);
  ASSERT_TRUE(parsed.ok()) << parsed.status().ToString();
  EXPECT_EQ(parsed->column_scale, side.column_scale);
  EXPECT_EQ(parsed->column_quality, side.column_quality);
  const auto bytes = SerializeNeuralSideInfo(side);
  EXPECT_EQ(ParseNeuralSideInfo(bytes, 4, 15, 1.0f).status().rule(), 22);
  EXPECT_EQ(ParseNeuralSideInfo(bytes, 4, 16, 0x1p-40f).status().rule(), 22);
  EXPECT_EQ(ParseNeuralSideInfo(bytes, 5, 16, 1.0f).status().rule(), 22);
}

}  // namespace
}  // namespace nwc
