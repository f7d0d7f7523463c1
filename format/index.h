// The index of a container as plain values: what is stored where, and how it is coded
// (spec/format.md section 2). Parsing validates everything, so code that holds an Index may trust
// every range in it to lie inside the file.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "format/bytes.h"
#include "format/checksum.h"
#include "format/dtype.h"
#include "format/freq_table.h"
#include "format/layout.h"
#include "format/neural_codec.h"
#include "format/status.h"

namespace nwc {

enum class Profile : uint8_t { kRaw = 0, kExact = 1, kStream = 2, kNwc = 3 };
inline constexpr int kProfileCount = 4;
// "raw", "exact", "stream", "nwc"; "unknown" for others.
const char* ProfileName(Profile profile);

struct Extent {
  uint64_t offset = 0;  // bytes from the start of the file
  uint64_t size = 0;    // bytes
  uint64_t hash = 0;    // XXH3-64
};

struct Chunk {
  uint64_t offset = 0;
  uint64_t hash = 0;
  uint32_t size = 0;
};

// How a `stream` tensor is reconstructed (spec/codec.md section 5).
struct StreamInfo {
  uint16_t codec = 0;   // position in Index::codecs
  uint8_t trellis = 2;  // spec/codec.md section 4
  float scale = 1;
  int8_t offset1 = 0;  // 64ths of a step
  int8_t offset2 = 0;
  Extent side;
  bool row_gains = false;  // whether the side information has them
};

// How an `nwc` tensor is reconstructed (spec/codec.md sections 11 and 12).
struct NeuralInfo {
  uint16_t codec = 0;  // position in Index::neural_codecs
  float scale = 1;
  Extent side;
};

// Half-open ranges of the matrix view.
struct TileRange {
  uint64_t row_begin = 0, row_end = 0;
  uint64_t column_begin = 0, column_end = 0;
  [[nodiscard]] uint64_t rows() const { return row_end - row_begin; }
  [[nodiscard]] uint64_t columns() const { return column_end - column_begin; }
  [[nodiscard]] uint64_t weights() const { return rows() * columns(); }
};

struct TensorInfo {
  std::string name;
  DType dtype = DType::kF32;
  uint8_t profile_value = 0;  // may be one this build does not know
  bool linear = false;
  std::vector<uint64_t> shape;
  uint64_t rows = 0, columns = 0;  // matrix view
  uint32_t tile_rows = 1, tile_columns = 1;
  std::vector<Chunk> chunks;  // one per tile, row-major grid
  Hash128 decoded_hash;
  uint16_t shard = 0;
  std::optional<StreamInfo> stream;
  std::optional<NeuralInfo> neural;

  [[nodiscard]] bool supported() const { return profile_value < kProfileCount; }
  [[nodiscard]] Profile profile() const { return static_cast<Profile>(profile_value); }
  [[nodiscard]] uint64_t weights() const { return rows * columns; }
  [[nodiscard]] uint64_t decoded_bytes() const { return weights() * DTypeSize(dtype); }
  [[nodiscard]] uint64_t grid_rows() const;
  [[nodiscard]] uint64_t grid_columns() const;
  [[nodiscard]] TileRange Tile(size_t chunk) const;  // chunk < chunks.size()
  [[nodiscard]] const Extent* side() const;          // side information, or null
  [[nodiscard]] uint64_t payload_bytes() const;      // chunks and side information
};

struct FileInfo {
  std::string name;
  Extent extent;
};

struct CodecInfo {
  std::string name;
  CodecTables tables;
};

// A codec of profile `nwc`, stored in the payload.
struct NeuralCodecInfo : NeuralSettings {
  std::string name;
  Extent extent;
};

// The codec from its bytes in the payload; checks R34 and R35.
Result<NeuralCodec> ReadNeuralCodec(const NeuralCodecInfo& info, ByteSpan bytes);

struct ShardInfo {
  std::string name;
  std::string metadata;  // JSON object, or empty
};

struct Index {
  std::vector<TensorInfo> tensors;
  std::vector<FileInfo> files;
  std::vector<CodecInfo> codecs;
  std::vector<NeuralCodecInfo> neural_codecs;
  std::vector<ShardInfo> shards;
  std::string producer;
  std::string options;
};

// Deterministic: equal values give equal bytes.
std::vector<uint8_t> SerializeIndex(const Index& index);

// The required_features that a file with this index must state.
uint32_t FeaturesOf(const Index& index);

// `bytes` is the whole index; checks R7-R19, R32, R33 and R38 against `superblock`.
Result<Index> ParseIndex(ByteSpan bytes, const Superblock& superblock);

// The first integer between dots in a tensor's name ("model.layers.11.mlp..." is 11), or nothing.
std::optional<uint64_t> LayerNumber(std::string_view tensor_name);

}  // namespace nwc
