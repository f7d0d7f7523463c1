#include "tests/loader/container_builder.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <random>
#include <utility>

#include "format/exact_codec.h"
#include "format/side_info.h"
#include "format/stream_codec.h"
#include "format/synthesis.h"
#include "format/trellis.h"

namespace nwc {
namespace {

const StreamEncodeTables& EncodeTables() {
  static const StreamEncodeTables tables(DefaultCodec().tables);
  return tables;
}

uint32_t SeedOf(const std::string& name) {
  return static_cast<uint32_t>(
      Hash64({reinterpret_cast<const uint8_t*>(name.data()), name.size()}));
}

TensorInfo MakeInfo(const std::string& name, DType dtype, Profile profile,
                    const MatrixShape& shape) {
  TensorInfo info;
  info.name = name;
  info.dtype = dtype;
  info.profile_value = static_cast<uint8_t>(profile);
  info.shape = {shape.rows, shape.columns};
  info.rows = shape.rows;
  info.columns = shape.columns;
  info.tile_rows = shape.tile_rows;
  info.tile_columns = shape.tile_columns;
  return info;
}

std::vector<uint8_t> RandomElements(const TensorInfo& info) {
  std::mt19937 rng(SeedOf(info.name));
  std::normal_distribution<float> normal(0, 0.05f);
  std::vector<uint8_t> bytes(info.decoded_bytes());
  if (IsCodedFloat(info.dtype)) {
    std::vector<float> values(info.weights());
    for (float& v : values) v = normal(rng);
    FromFloat(info.dtype, values.data(), values.size(), bytes.data());
  } else {
    for (uint8_t& b : bytes) b = static_cast<uint8_t>(rng());
  }
  return bytes;
}

// Tiles that span all columns.
std::vector<std::vector<uint8_t>> CutRows(const TensorInfo& info, ByteSpan bytes) {
  std::vector<std::vector<uint8_t>> parts;
  const size_t step = info.tile_rows * info.columns * DTypeSize(info.dtype);
  for (size_t at = 0; at < bytes.size(); at += step) {
    const ByteSpan part = bytes.subspan(at, std::min(step, bytes.size() - at));
    parts.emplace_back(part.begin(), part.end());
  }
  return parts;
}

SideInfo RandomSide(const TensorInfo& info, std::mt19937* rng) {
  std::uniform_int_distribution<int> step(-60, 10), row(14, 30), column(-2, 2);
  SideInfo side;
  for (uint64_t j = 0; j < info.rows; ++j) {
    side.row_step.push_back(static_cast<int16_t>(step(*rng)));
    side.row_table.push_back(static_cast<int16_t>(row(*rng)));
  }
  for (uint64_t i = 0; i < info.columns; ++i) {
    side.column_step.push_back(static_cast<int16_t>(step(*rng)));
    side.column_table.push_back(static_cast<int16_t>(column(*rng)));
  }
  return side;
}

// Random indices for one tile; writes the values they stand for into `decoded`, the whole tensor.
std::vector<uint8_t> EncodeRandomTile(const TensorInfo& info, const SideInfo& side,
                                      const TileRange& range, std::mt19937* rng,
                                      std::vector<uint8_t>* decoded) {
  const StreamInfo& stream = *info.stream;
  const Trellis& trellis = kTrellises[stream.trellis];
  StreamTile tile;
  tile.rows = static_cast<uint32_t>(range.rows());
  tile.columns = static_cast<uint32_t>(range.columns());
  tile.indices.resize(range.weights());
  for (uint64_t i = range.column_begin; i < range.column_end; ++i) {
    int state = 0;
    for (uint64_t j = range.row_begin; j < range.row_end; ++j) {
      const int t = std::clamp(side.row_table[j] + side.column_table[i], 0, kTableCount - 1);
      const int q = trellis.Quantizer(state);
      const int alphabet = DefaultCodec().tables.alphabet(t, q);
      std::uniform_int_distribution<int> index(-std::min(alphabet, 3), std::min(alphabet, 3));
      const int k = index(*rng);
      tile.indices[(j - range.row_begin) * range.columns() + i - range.column_begin] =
          static_cast<int8_t>(k);
      state = trellis.Next(state, k);
      const float value = Reconstruct(ReconstructionLevel(k, q, stream.offset1, stream.offset2),
                                      ColumnFactor(stream.scale, side.column_step[i]),
                                      StepOfCode(side.row_step[j]));
      FromFloat(info.dtype, &value, 1, &(*decoded)[(j * info.columns + i) * DTypeSize(info.dtype)]);
    }
  }
  return EncodeStreamChunk(
      tile, stream.trellis, std::span(side.row_table).subspan(range.row_begin, range.rows()),
      std::span(side.column_table).subspan(range.column_begin, range.columns()), EncodeTables());
}

}  // namespace

ContainerBuilder::ContainerBuilder() : writer_(&sink_) {
  writer_.AddCodec(DefaultCodec());
  writer_.AddShard({"model.safetensors", "{}"});
}

void ContainerBuilder::AddFile(const std::string& name, const std::string& content) {
  const Status status = writer_.AddFile(
      name, ByteSpan(reinterpret_cast<const uint8_t*>(content.data()), content.size()));
  ASSERT_TRUE(status.ok()) << status.ToString();
}

void ContainerBuilder::Add(TensorInfo info, ByteSpan side,
                           const std::vector<std::vector<uint8_t>>& chunks,
                           std::vector<uint8_t> expected) {
  info.decoded_hash = Hash128Of(expected);
  if (std::exchange(spoil_decoded_hash_, false)) info.decoded_hash.low ^= 1;
  const Status status = writer_.AddTensor(std::move(info), side, chunks);
  ASSERT_TRUE(status.ok()) << status.ToString();
  expected_.push_back(std::move(expected));
}

void ContainerBuilder::AddRaw(const std::string& name, DType dtype, const MatrixShape& shape) {
  const TensorInfo info = MakeInfo(name, dtype, Profile::kRaw, shape);
  auto bytes = RandomElements(info);
  const auto chunks = CutRows(info, bytes);
  Add(info, {}, chunks, std::move(bytes));
}

void ContainerBuilder::AddExact(const std::string& name, DType dtype, const MatrixShape& shape) {
  const TensorInfo info = MakeInfo(name, dtype, Profile::kExact, shape);
  auto bytes = RandomElements(info);
  auto chunks = CutRows(info, bytes);
  for (auto& chunk : chunks) chunk = EncodeExactChunk(chunk, dtype);
  Add(info, {}, chunks, std::move(bytes));
}

void ContainerBuilder::AddStream(const std::string& name, DType dtype, const MatrixShape& shape) {
  TensorInfo info = MakeInfo(name, dtype, Profile::kStream, shape);
  info.stream = StreamInfo{};
  info.stream->scale = 0.25f;
  info.stream->offset1 = 3;
  info.stream->offset2 = -2;
  std::mt19937 rng(SeedOf(name));
  const SideInfo side = RandomSide(info, &rng);
  std::vector<uint8_t> decoded(info.decoded_bytes());
  std::vector<std::vector<uint8_t>> chunks;
  for (size_t c = 0; c < info.grid_rows() * info.grid_columns(); ++c) {
    chunks.push_back(EncodeRandomTile(info, side, info.Tile(c), &rng, &decoded));
  }
  auto stored_side = SerializeSideInfo(side);
  if (std::exchange(drop_side_info_, false)) stored_side.clear();
  Add(info, stored_side, chunks, std::move(decoded));
}

void ContainerBuilder::AddScalar(const std::string& name) {
  TensorInfo info = MakeInfo(name, DType::kF32, Profile::kRaw, {1, 1, 1, 1});
  info.shape.clear();
  auto bytes = RandomElements(info);
  Add(info, {}, {bytes}, bytes);
}

void ContainerBuilder::AddEmpty(const std::string& name) {
  Add(MakeInfo(name, DType::kF32, Profile::kRaw, {0, 16, 1, 16}), {}, {}, {});
}

void ContainerBuilder::AddUnknownProfile(const std::string& name) {
  TensorInfo info = MakeInfo(name, DType::kBF16, Profile::kRaw, {8, 8, 8, 8});
  info.profile_value = 77;
  Add(info, {}, {std::vector<uint8_t>(50, 0xAB)}, {});
}

std::vector<uint8_t> ContainerBuilder::Finish() {
  const Status status = writer_.Finish();
  EXPECT_TRUE(status.ok()) << status.ToString();
  return sink_.bytes;
}

void AddMixedTensors(ContainerBuilder* builder) {
  builder->AddFile("config.json", "{\"model_type\": \"test\"}");
  builder->AddRaw("embed.weight", DType::kBF16, {300, 128, 64, 128});
  builder->AddStream("layers.0.q.weight", DType::kBF16, {200, 96, 64, 64});
  builder->AddScalar("layers.0.scale");
  builder->AddExact("layers.0.norm.weight", DType::kF32, {1, 96, 1, 96});
  builder->AddEmpty("layers.0.nothing");
  builder->AddStream("layers.0.k.weight", DType::kF32, {1000, 100, 128, 32});
  builder->AddExact("layers.0.v.weight", DType::kF16, {777, 64, 50, 64});
  builder->AddRaw("layers.0.positions", DType::kI64, {7, 3, 2, 3});
  builder->AddStream("layers.1.q.weight", DType::kF16, {65, 33, 64, 32});
  builder->AddRaw("lm_head.weight", DType::kU8, {300, 1000, 30, 1000});
}

TemporaryFile::TemporaryFile(ByteSpan content) : path_(testing::TempDir() + "nwc_loader_XXXXXX") {
  const int descriptor = mkstemp(path_.data());
  EXPECT_GE(descriptor, 0);
  EXPECT_EQ(write(descriptor, content.data(), content.size()),
            static_cast<ssize_t>(content.size()));
  close(descriptor);
}

TemporaryFile::~TemporaryFile() { unlink(path_.c_str()); }

void TemporaryFile::Truncate(uint64_t size_bytes) const {
  ASSERT_EQ(truncate(path_.c_str(), static_cast<off_t>(size_bytes)), 0);
}

void TemporaryFile::FlipByte(uint64_t offset) const {
  const int descriptor = open(path_.c_str(), O_RDWR | O_CLOEXEC);
  ASSERT_GE(descriptor, 0);
  uint8_t byte = 0;
  EXPECT_EQ(pread(descriptor, &byte, 1, static_cast<off_t>(offset)), 1);
  byte ^= 0x10;
  EXPECT_EQ(pwrite(descriptor, &byte, 1, static_cast<off_t>(offset)), 1);
  close(descriptor);
}

}  // namespace nwc
