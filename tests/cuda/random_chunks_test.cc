// Random chunks of every profile, dtype and shape on devices, whole and damaged, against the host's
// decoder: the same bits, or the same broken rule.
#include <algorithm>
#include <random>

#include "format/neural_chunk.h"
#include "format/stream_chunk.h"
#include "format/synthesis.h"
#include "format/trellis.h"
#include "tests/cuda/device_test.h"
#include "tests/fuzz/neural_input.h"

namespace nwc {
namespace {

constexpr DType kDTypes[] = {DType::kF16, DType::kBF16, DType::kF32};

// A tensor of one tile.
struct Case {
  TensorInfo tensor;
  std::vector<uint8_t> side, chunk;
  ChunkCodec host_codec;
};

int Uniform(std::mt19937* rng, int low, int high) {
  return low + static_cast<int>((*rng)() % static_cast<uint32_t>(high - low + 1));
}

uint32_t Below(std::mt19937* rng, uint32_t end) { return static_cast<uint32_t>((*rng)() % end); }

void SetShape(Profile profile, uint32_t rows, uint32_t columns, std::mt19937* rng, Case* c) {
  c->tensor.name = "made";
  c->tensor.dtype = kDTypes[(*rng)() % 3];
  c->tensor.profile_value = static_cast<uint8_t>(profile);
  c->tensor.rows = c->tensor.tile_rows = rows;
  c->tensor.columns = c->tensor.tile_columns = columns;
  c->tensor.shape = {rows, columns};
}

void SetChunk(std::vector<uint8_t> chunk, Case* c) {
  c->chunk = std::move(chunk);
  c->tensor.chunks = {{0, Hash64(c->chunk), static_cast<uint32_t>(c->chunk.size())}};
}

std::shared_ptr<const StreamTables> Tables() {
  static const auto tables = std::make_shared<const StreamTables>(DefaultCodec().tables);
  return tables;
}

SideInfo RandomSide(uint32_t rows, uint32_t columns, std::mt19937* rng) {
  SideInfo side;
  const int t = Uniform(rng, -4, 62), reach = Uniform(rng, 0, 6);
  for (uint32_t j = 0; j < rows; ++j) {
    side.row_step.push_back(static_cast<int16_t>(Uniform(rng, -90, 20)));
    side.row_table.push_back(static_cast<int16_t>(Uniform(rng, t, t + reach)));
  }
  for (uint32_t i = 0; i < columns; ++i) {
    side.column_step.push_back(static_cast<int16_t>(Uniform(rng, -90, 20)));
    side.column_table.push_back(static_cast<int16_t>(Uniform(rng, -2, 2)));
  }
  if ((*rng)() % 2 == 0) {
    for (uint32_t j = 0; j < rows; ++j) {
      side.row_gain.push_back(static_cast<int16_t>(Uniform(rng, -512, 511)));
    }
  }
  return side;
}

StreamTile RandomTile(const Case& c, const SideInfo& side, std::mt19937* rng) {
  StreamTile tile;
  tile.rows = static_cast<uint32_t>(c.tensor.rows);
  tile.columns = static_cast<uint32_t>(c.tensor.columns);
  tile.indices.resize(size_t{tile.rows} * tile.columns);
  const Trellis& trellis = kTrellises[c.tensor.stream->trellis];
  for (uint32_t i = 0; i < tile.columns; ++i) {
    for (uint32_t j = 0, state = 0; j < tile.rows; ++j) {
      const int t = std::clamp(side.row_table[j] + side.column_table[i], 0, 63);
      const int q = trellis.Quantizer(static_cast<int>(state));
      const int alphabet = DefaultCodec().tables.alphabet(t, q);
      const int spread = Uniform(rng, 0, 3) == 0 ? alphabet : std::max(1, alphabet / 3);
      const int k = Uniform(rng, -spread, spread);
      tile.indices[size_t{j} * tile.columns + i] = static_cast<int8_t>(k);
      state = static_cast<uint32_t>(trellis.Next(static_cast<int>(state), k));
    }
  }
  const auto values = [&](size_t count, std::vector<uint8_t>* out) {
    for (size_t n = count * DTypeSize(c.tensor.dtype); n > 0; --n) {
      out->push_back(static_cast<uint8_t>((*rng)()));
    }
  };
  for (uint32_t i = Below(rng, 20); i < tile.columns; i += 1 + Below(rng, 40)) {
    tile.exact_columns.push_back(static_cast<uint16_t>(i));
    values(tile.rows, &tile.exact_values);
  }
  for (uint32_t id = Below(rng, 99); id < tile.indices.size(); id += 1 + Below(rng, 400)) {
    tile.patches.push_back(id);
    values(1, &tile.patch_values);
  }
  return tile;
}

Case RandomStreamCase(uint32_t rows, uint32_t columns, std::mt19937* rng) {
  static const StreamEncodeTables encode_tables(DefaultCodec().tables);
  Case c;
  SetShape(Profile::kStream, rows, columns, rng, &c);
  const SideInfo side = RandomSide(rows, columns, rng);
  StreamInfo& info = c.tensor.stream.emplace();
  info.trellis = static_cast<uint8_t>((*rng)() % kTrellisCount);
  info.scale = 0.37f;
  info.offset1 = static_cast<int8_t>(Uniform(rng, -31, 31));
  info.offset2 = static_cast<int8_t>(Uniform(rng, -31, 31));
  info.row_gains = !side.row_gain.empty();
  c.side = SerializeSideInfo(side);
  info.side = {0, c.side.size(), Hash64(c.side)};
  c.host_codec = Tables();
  SetChunk(EncodeStreamChunk(RandomTile(c, side, rng), info.trellis, side.row_table,
                             side.column_table, encode_tables),
           &c);
  return c;
}

Case RandomExactCase(uint32_t rows, uint32_t columns, std::mt19937* rng) {
  Case c;
  SetShape(Profile::kExact, rows, columns, rng, &c);
  std::vector<uint8_t> elements(c.tensor.decoded_bytes());
  const bool noise = (*rng)() % 4 == 0;
  std::normal_distribution<float> normal(0, 0.02f);
  for (size_t i = 0; i < c.tensor.weights(); ++i) {
    const float value = normal(*rng);
    FromFloat(c.tensor.dtype, &value, 1, &elements[i * DTypeSize(c.tensor.dtype)]);
  }
  for (size_t i = 0; noise && i < elements.size(); ++i) {
    elements[i] = static_cast<uint8_t>((*rng)());
  }
  SetChunk(EncodeExactChunk(elements, c.tensor.dtype), &c);
  return c;
}

const NeuralCodec& TestNet() {
  static const NeuralCodec codec =
      MakeNeuralCodec({.chunk = 4, .latents = 3, .width = 8, .blocks = 1, .qualities = 2}, 1);
  return codec;
}

Case RandomNeuralCase(uint32_t rows, uint32_t columns, std::mt19937* rng) {
  static const auto decode_codec = std::make_shared<const NeuralDecodeCodec>(TestNet());
  static const NeuralEncodeTables encode_tables(TestNet());
  Case c;
  SetShape(Profile::kNwc, rows, columns, rng, &c);
  NeuralInfo& info = c.tensor.neural.emplace();
  info.scale = 0.03f;
  NeuralSideInfo side;
  for (uint32_t i = 0; i < columns; ++i) {
    side.column_scale.push_back(static_cast<int16_t>(Uniform(rng, -9, 9)));
    side.column_quality.push_back(static_cast<uint8_t>((*rng)() % 2));
  }
  c.side = SerializeNeuralSideInfo(side);
  info.side = {0, c.side.size(), Hash64(c.side)};
  c.host_codec = decode_codec;
  const auto chunk =
      EncodeNeuralChunk(MakeNeuralTile(c.tensor, TestNet(), (*rng)() % 2 == 0, Below(rng, 1000)),
                        c.tensor.dtype, side.column_quality, encode_tables);
  EXPECT_TRUE(chunk.ok()) << chunk.status().ToString();
  SetChunk(*chunk, &c);
  return c;
}

Case RandomCase(std::mt19937* rng) {
  // Some of a whole number of stripes, with aligned rows.
  const bool even = (*rng)() % 3 == 0;
  const auto rows = static_cast<uint32_t>(Uniform(rng, 1, 40));
  const auto columns = static_cast<uint32_t>(even ? 32 * Uniform(rng, 1, 2) : Uniform(rng, 1, 70));
  switch ((*rng)() % 4) {
    case 0:
      return RandomExactCase(rows, columns, rng);
    case 1:
      return RandomNeuralCase(rows, columns, rng);
    default:
      return RandomStreamCase(rows, columns, rng);
  }
}

class RandomChunksOnDevice : public DeviceTest {
 protected:
  void SetUp() override {
    DeviceTest::SetUp();
    if (IsSkipped()) return;
    auto stream = DeviceStreamTables::Upload(runtime(), Tables(), nullptr);
    ASSERT_TRUE(stream.ok()) << stream.status().ToString();
    codec_.stream = *stream;
    auto neural = DeviceNeuralCodec::Upload(runtime(), TestNet(), nullptr);
    ASSERT_TRUE(neural.ok()) << neural.status().ToString();
    codec_.neural = *neural;
  }
  void TearDown() override { codec_ = {}; }

  // Decodes c with `chunk` in place of its own.
  Status OnDevice(const Case& c, ByteSpan chunk, const TensorSlice& slice,
                  std::vector<uint8_t>* out) {
    NWC_ASSIGN_OR_RETURN(const auto decoder, MakeDecoder(c.tensor, c.side, codec_));
    const ChunkOnDevice one{decoder.get(), 0, chunk};
    return Decode({&one, 1}, slice, out);
  }

  static Status OnHost(const Case& c, ByteSpan chunk, std::vector<uint8_t>* out) {
    NWC_ASSIGN_OR_RETURN(const ChunkDecoder decoder,
                         ChunkDecoder::Create(c.tensor, c.side, c.host_codec, Simd::kScalar));
    out->assign(c.tensor.decoded_bytes(), 0);
    return decoder.Decode(0, chunk, *out);
  }

  DeviceCodec codec_;
};

TEST_P(RandomChunksOnDevice, TenThousandAreTheHosts) {
  std::mt19937 rng(1);
  for (int i = 0; i < 10000; ++i) {
    const Case c = RandomCase(&rng);
    std::vector<uint8_t> expected, out;
    ASSERT_TRUE(OnHost(c, c.chunk, &expected).ok());
    const Status status = OnDevice(c, c.chunk, WholeSlice(c.tensor), &out);
    ASSERT_TRUE(status.ok()) << i << ": " << status.ToString();
    ASSERT_EQ(out, expected) << i << ": " << ProfileName(c.tensor.profile()) << " "
                             << DTypeName(c.tensor.dtype) << " " << c.tensor.rows << "x"
                             << c.tensor.columns;
  }
}

// Of a broken chunk the device says what the host says, and writes nothing outside the tile: the
// buffers have no room for it (AddressSanitizer; compute-sanitizer on a GPU).
TEST_P(RandomChunksOnDevice, DamagedOnesBreakTheHostsRules) {
  std::mt19937 rng(2);
  int broken = 0;
  for (int i = 0; i < 4000; ++i) {
    const Case c = RandomCase(&rng);
    std::vector<uint8_t> damaged = c.chunk;
    for (int flips = Uniform(&rng, 1, 3); flips > 0; --flips) {
      // Half of them in the header.
      const size_t reach = rng() % 2 == 0 ? std::min<size_t>(200, damaged.size()) : damaged.size();
      damaged[rng() % reach] = static_cast<uint8_t>(rng());
    }
    std::vector<uint8_t> expected, out;
    const Status host = OnHost(c, damaged, &expected);
    const Status device = OnDevice(c, damaged, WholeSlice(c.tensor), &out);
    broken += host.ok() ? 0 : 1;
    ASSERT_EQ(device.rule(), host.rule()) << i << ": " << host.ToString();
    if (!host.ok()) continue;
    ASSERT_EQ(out, expected) << i;
  }
  EXPECT_GT(broken, 2000);
}

TEST_P(RandomChunksOnDevice, SlicesHoldWhatIsWanted) {
  std::mt19937 rng(3);
  for (int i = 0; i < 1000; ++i) {
    const Case c = RandomCase(&rng);
    TensorSlice slice = WholeSlice(c.tensor);
    slice.row_begin = rng() % c.tensor.rows;
    slice.row_end = slice.row_begin + 1 + rng() % (c.tensor.rows - slice.row_begin);
    if (rng() % 2 == 0) {
      slice.column_begin = rng() % c.tensor.columns;
      slice.column_end = slice.column_begin + 1 + rng() % (c.tensor.columns - slice.column_begin);
    }
    std::vector<uint8_t> whole, out;
    ASSERT_TRUE(OnHost(c, c.chunk, &whole).ok());
    ASSERT_TRUE(OnDevice(c, c.chunk, slice, &out).ok());
    const size_t size = DTypeSize(c.tensor.dtype);
    for (uint64_t row = 0; row < slice.rows(); ++row) {
      const uint64_t at = (slice.row_begin + row) * c.tensor.columns + slice.column_begin;
      ASSERT_TRUE(std::equal(&whole[at * size], &whole[at * size] + slice.columns() * size,
                             &out[row * slice.columns() * size]))
          << i;
    }
  }
}

// Long streams of words, tables of every size, many blocks of words.
TEST_P(RandomChunksOnDevice, LargeTilesAreTheHosts) {
  std::mt19937 rng(4);
  for (int i = 0; i < 12; ++i) {
    const Case c = i % 3 == 0   ? RandomExactCase(300, 130, &rng)
                   : i % 3 == 1 ? RandomNeuralCase(250, 130, &rng)
                                : RandomStreamCase(400, 128, &rng);
    std::vector<uint8_t> expected, out;
    ASSERT_TRUE(OnHost(c, c.chunk, &expected).ok());
    ASSERT_TRUE(OnDevice(c, c.chunk, WholeSlice(c.tensor), &out).ok());
    ASSERT_EQ(out, expected) << i;
  }
}

NWC_ON_EVERY_DEVICE(RandomChunksOnDevice);

}  // namespace
}  // namespace nwc
