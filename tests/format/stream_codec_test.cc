#include "format/stream_codec.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "format/default_codec.h"
#include "format/synthesis.h"
#include "format/trellis.h"

namespace nwc {
namespace {

// A random stream tensor of one tile with its chunk and the values the spec's arithmetic gives.
struct Case {
  TensorInfo tensor;
  SideInfo side;
  StreamTile tile;
  std::vector<uint8_t> chunk, expected;
};

struct Shape {
  uint32_t rows, columns;
  int t_low, t_high;
  bool escapes;
};

std::shared_ptr<const StreamTables> Tables() {
  static const auto tables = std::make_shared<const StreamTables>(DefaultCodec().tables);
  return tables;
}

const StreamEncodeTables& EncodeTables() {
  static const StreamEncodeTables tables(DefaultCodec().tables);
  return tables;
}

void FillSide(const Shape& shape, std::mt19937* rng, SideInfo* side) {
  std::uniform_int_distribution<int> step(-90, 20), a(shape.t_low, shape.t_high), b(-2, 2);
  for (uint32_t j = 0; j < shape.rows; ++j) {
    side->row_step.push_back(static_cast<int16_t>(step(*rng)));
    side->row_table.push_back(static_cast<int16_t>(a(*rng)));
  }
  for (uint32_t i = 0; i < shape.columns; ++i) {
    side->column_step.push_back(static_cast<int16_t>(step(*rng)));
    side->column_table.push_back(static_cast<int16_t>(b(*rng)));
  }
}

void FillIndices(const Trellis& trellis, std::mt19937* rng, Case* c) {
  const auto& [rows, columns] = std::pair(c->tile.rows, c->tile.columns);
  const size_t size = DTypeSize(c->tensor.dtype);
  c->tile.indices.resize(size_t{rows} * columns);
  c->expected.resize(c->tile.indices.size() * size);
  for (uint32_t i = 0; i < columns; ++i) {
    int state = 0;
    for (uint32_t j = 0; j < rows; ++j) {
      const int t = std::clamp(c->side.row_table[j] + c->side.column_table[i], 0, 63);
      const int q = trellis.Quantizer(state);
      const int alphabet = DefaultCodec().tables.alphabet(t, q);
      std::normal_distribution<double> d(0, alphabet / 3.0);
      const int k = std::clamp(static_cast<int>(std::lround(d(*rng))), -alphabet, alphabet);
      const size_t at = size_t{j} * columns + i;
      c->tile.indices[at] = static_cast<int8_t>(k);
      state = trellis.Next(state, k);
      const StreamInfo& info = *c->tensor.stream;
      const float value = Reconstruct(ReconstructionLevel(k, q, info.offset1, info.offset2),
                                      ColumnFactor(info.scale, c->side.column_step[i]),
                                      StepOfCode(c->side.row_step[j]));
      FromFloat(c->tensor.dtype, &value, 1, &c->expected[at * size]);
    }
  }
}

void AddEscapes(std::mt19937* rng, Case* c) {
  const size_t size = DTypeSize(c->tensor.dtype);
  const auto overwrite = [&](uint32_t row, uint32_t column, std::vector<uint8_t>* values) {
    for (size_t b = 0; b < size; ++b) {
      const auto byte = static_cast<uint8_t>((*rng)());
      values->push_back(byte);
      c->expected[(size_t{row} * c->tile.columns + column) * size + b] = byte;
    }
  };
  for (uint32_t i = 0; i < c->tile.columns; i += 1 + static_cast<uint32_t>((*rng)() % 20)) {
    c->tile.exact_columns.push_back(static_cast<uint16_t>(i));
    for (uint32_t j = 0; j < c->tile.rows; ++j) overwrite(j, i, &c->tile.exact_values);
  }
  for (uint32_t id = 0; id < c->tile.rows * c->tile.columns;
       id += 1 + static_cast<uint32_t>((*rng)() % 50)) {
    c->tile.patches.push_back(id);
    overwrite(id / c->tile.columns, id % c->tile.columns, &c->tile.patch_values);
  }
}

Case MakeCase(const Shape& shape, DType dtype, int trellis, uint32_t seed) {
  std::mt19937 rng(seed);
  Case c;
  c.tensor.dtype = dtype;
  c.tensor.profile_value = static_cast<uint8_t>(Profile::kStream);
  c.tensor.rows = c.tensor.tile_rows = c.tile.rows = shape.rows;
  c.tensor.columns = c.tensor.tile_columns = c.tile.columns = shape.columns;
  c.tensor.stream = StreamInfo{};
  c.tensor.stream->trellis = static_cast<uint8_t>(trellis);
  c.tensor.stream->scale = 0.37f;
  c.tensor.stream->offset1 = -5;
  c.tensor.stream->offset2 = 9;
  FillSide(shape, &rng, &c.side);
  FillIndices(kTrellises[static_cast<size_t>(trellis)], &rng, &c);
  if (shape.escapes) AddEscapes(&rng, &c);
  c.chunk =
      EncodeStreamChunk(c.tile, trellis, c.side.row_table, c.side.column_table, EncodeTables());
  return c;
}

Status DecodeCase(const Case& c, ByteSpan chunk, Simd simd, std::vector<uint8_t>* out) {
  const TileRange tile{0, c.tile.rows, 0, c.tile.columns};
  out->assign(c.expected.size(), 0x55);
  return StreamDecoder(c.tensor, c.side, Tables())
      .Decode(chunk, tile, out->data(), c.tile.columns * DTypeSize(c.tensor.dtype), simd);
}

TEST(StreamCodec, DecodesToTheSpecsValues) {
  const Shape shapes[] = {{1, 1, 16, 16, false},   {1, 32, 20, 20, false}, {512, 128, 30, 36, true},
                          {64, 31, 10, 12, false}, {33, 65, 0, 5, true},   {100, 96, 40, 46, false},
                          {100, 40, 60, 70, true}, {7, 300, -9, 3, false}, {300, 32, 20, 62, true}};
  uint32_t seed = 1;
  for (const Shape& shape : shapes) {
    for (const DType dtype : {DType::kF16, DType::kBF16, DType::kF32}) {
      for (int trellis = 0; trellis < kTrellisCount; ++trellis) {
        const Case c = MakeCase(shape, dtype, trellis, seed++);
        for (const Simd simd : UsableSimds()) {
          std::vector<uint8_t> out;
          const Status status = DecodeCase(c, c.chunk, simd, &out);
          ASSERT_TRUE(status.ok()) << status.ToString() << " " << SimdName(simd);
          ASSERT_EQ(out, c.expected) << shape.rows << "x" << shape.columns << " "
                                     << DTypeName(dtype) << " " << SimdName(simd);
        }
      }
    }
  }
}

TEST(StreamCodec, EveryTruncationIsRejected) {
  const Case c = MakeCase({20, 40, 20, 22, true}, DType::kBF16, 2, 5);
  for (const Simd simd : UsableSimds()) {
    for (size_t n = 0; n < c.chunk.size(); ++n) {
      const std::vector<uint8_t> cut(c.chunk.begin(), c.chunk.begin() + static_cast<ptrdiff_t>(n));
      std::vector<uint8_t> out;
      EXPECT_EQ(DecodeCase(c, cut, simd, &out).rule(), 23);
    }
  }
}

TEST(StreamCodec, EveryFlipIsRejectedOrStaysInsideTheTile) {
  const Case c = MakeCase({12, 40, 20, 22, true}, DType::kF32, 2, 6);
  for (size_t i = 0; i < c.chunk.size(); ++i) {
    for (const uint8_t flip : {uint8_t{1}, uint8_t{0x10}, uint8_t{0x80}, uint8_t{0xFF}}) {
      auto bad = c.chunk;
      bad[i] ^= flip;
      std::vector<uint8_t> scalar, vectors;
      const Status a = DecodeCase(c, bad, Simd::kScalar, &scalar);
      for (const Simd simd : UsableSimds()) {
        const Status b = DecodeCase(c, bad, simd, &vectors);
        EXPECT_EQ(a.rule(), b.rule()) << "byte " << i << " " << SimdName(simd);
        if (a.ok()) {
          EXPECT_EQ(scalar, vectors) << "byte " << i << " " << SimdName(simd);
        }
      }
    }
  }
}

TEST(StreamCodec, TooFewBucketsAreRejected) {
  Case c = MakeCase({40, 64, 44, 48, false}, DType::kBF16, 2, 8);
  ASSERT_GT(c.chunk[0], 6);
  c.chunk[0] = 6;
  std::vector<uint8_t> out;
  EXPECT_EQ(DecodeCase(c, c.chunk, BestSimd(), &out).rule(), 24);
}

}  // namespace
}  // namespace nwc
